//! A figure of the book: plain slices in, an SVG that follows the reader's theme out.

use plotters::coord::Shift;
use plotters::prelude::*;

/// Colours are drawn as marks and replaced by names that the book's style sheet defines, so that
/// one drawing serves light and dark pages. Seen outside the book, the colour after the comma holds.
const PALETTE: [(&str, &str); 6] = [
    ("#000001", "var(--figure-1, #3366bb)"),
    ("#000002", "var(--figure-2, #cc5522)"),
    ("#000003", "var(--figure-3, #228855)"),
    ("#000004", "var(--figure-4, #884499)"),
    ("#000005", "var(--figure-5, #998811)"),
    ("#000006", "var(--figure-6, #777777)"),
];
const INK: RGBColor = RGBColor(0, 0, 9);
const INK_MARK: &str = "#000009";

const WIDTH: u32 = 1500;
const HEIGHT: u32 = 840;
const FONT: u32 = 30;

enum Shape {
    Line,
    Dashed,
    Points,
    /// Filled between the first and the second half of the points.
    Area,
    /// Rectangles: two corners each.
    Boxes,
}

struct Series {
    name: String,
    shape: Shape,
    points: Vec<(f64, f64)>,
    colour: usize,
}

/// A figure under construction: series are drawn in the order they are given.
pub struct Figure {
    title: String,
    x: String,
    y: String,
    log: (bool, bool),
    limits: [Option<(f64, f64)>; 2],
    categories: Vec<String>,
    equal: bool,
    series: Vec<Series>,
}

impl Figure {
    /// An empty figure. The title is also what a screen reader says.
    pub fn new(title: &str) -> Figure {
        let limits = [None, None];
        let (title, x, y) = (title.to_string(), String::new(), String::new());
        let (categories, series) = (Vec::new(), Vec::new());
        Figure { title, x, y, log: (false, false), limits, categories, equal: false, series }
    }

    /// What the axes show.
    pub fn axes(mut self, x: &str, y: &str) -> Self {
        (self.x, self.y) = (x.to_string(), y.to_string());
        self
    }
    /// A logarithmic horizontal axis.
    pub fn log_x(mut self) -> Self {
        self.log.0 = true;
        self
    }
    /// A logarithmic vertical axis.
    pub fn log_y(mut self) -> Self {
        self.log.1 = true;
        self
    }
    /// Fixes the range of the horizontal axis.
    pub fn x_from(mut self, low: f64, high: f64) -> Self {
        self.limits[0] = Some((low, high));
        self
    }
    /// Fixes the range of the vertical axis.
    pub fn y_from(mut self, low: f64, high: f64) -> Self {
        self.limits[1] = Some((low, high));
        self
    }
    /// Names instead of the numbers 0, 1, 2, .. on the horizontal axis.
    pub fn categories(mut self, names: &[&str]) -> Self {
        self.categories = names.iter().map(|n| n.to_string()).collect();
        self
    }
    /// A square figure, for pictures of a plane.
    pub fn square(mut self) -> Self {
        self.equal = true;
        self
    }

    /// A line through `(x[i], y[i])`.
    pub fn line(self, name: &str, x: &[f64], y: &[f64]) -> Self {
        self.add(name, Shape::Line, zip(x, y))
    }
    /// A dashed line, for what is known or would be ideal.
    pub fn dashed(self, name: &str, x: &[f64], y: &[f64]) -> Self {
        self.add(name, Shape::Dashed, zip(x, y))
    }
    /// Dots at `(x[i], y[i])`.
    pub fn points(self, name: &str, x: &[f64], y: &[f64]) -> Self {
        self.add(name, Shape::Points, zip(x, y))
    }
    /// A band between `low[i]` and `high[i]`.
    pub fn band(self, name: &str, x: &[f64], low: &[f64], high: &[f64]) -> Self {
        let mut points = zip(x, low);
        points.extend(zip(x, high));
        self.add(name, Shape::Area, points)
    }
    /// A bar at each `x[i]` from `from[i]` to `to[i]`, of this width: stack them by their ends.
    pub fn bars(self, name: &str, x: &[f64], width: f64, from: &[f64], to: &[f64]) -> Self {
        let half = width / 2.0;
        let corners = x.iter().zip(from).zip(to);
        let points = corners.flat_map(|((x, a), b)| [(x - half, *a), (x + half, *b)]).collect();
        self.add(name, Shape::Boxes, points)
    }
    /// The ellipse of all points `radius` standard deviations from `mean`, for a covariance
    /// `[xx, xy, yy]`.
    pub fn ellipse(self, name: &str, mean: [f64; 2], cov: [f64; 3], radius: f64) -> Self {
        let l11 = cov[0].sqrt();
        let l21 = cov[1] / l11;
        let l22 = (cov[2] - l21 * l21).max(0.0).sqrt();
        let point = |k: usize| {
            let (s, c) = (k as f64 / 80.0 * std::f64::consts::TAU).sin_cos();
            (mean[0] + radius * l11 * c, mean[1] + radius * (l21 * c + l22 * s))
        };
        self.add(name, Shape::Line, (0..=80).map(point).collect())
    }
    /// Gives the series added last the colour `1..=6` (by default they take turns; 6 is grey).
    pub fn colour(mut self, number: usize) -> Self {
        if let Some(last) = self.series.last_mut() {
            last.colour = number - 1;
        }
        self
    }

    fn add(mut self, name: &str, shape: Shape, points: Vec<(f64, f64)>) -> Self {
        let colour = self.series.len() % (PALETTE.len() - 1);
        self.series.push(Series { name: name.to_string(), shape, points, colour });
        self
    }

    /// Writes or checks `book/src/figures/<name>.svg`.
    #[track_caller]
    pub fn save_or_check(&self, name: &str) {
        super::settle(&format!("figures/{name}.svg"), &self.svg());
    }

    /// The drawing, without a blank line in it, ready to stand inside a page.
    pub fn svg(&self) -> String {
        let (width, height) = if self.equal { (940, 940) } else { (WIDTH, HEIGHT) };
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
            self.draw(&root).expect("drawing into a string cannot fail");
            root.present().expect("drawing into a string cannot fail");
        }
        for (mark, name) in PALETTE {
            svg = svg.replace(mark, name);
        }
        svg = svg.replace(INK_MARK, "currentColor");
        let head = format!(
            "<svg class=\"figure\" role=\"img\" aria-label=\"{}\" viewBox=\"0 0 {width} {height}\" xmlns=\"http://www.w3.org/2000/svg\">",
            self.title
        );
        let body = svg.split_once('>').map_or("", |(_, body)| body);
        let lines = body.lines().map(str::trim_end).filter(|line| !line.is_empty());
        let mut text = head + "\n" + &lines.collect::<Vec<_>>().join("\n");
        text.push('\n');
        text
    }

    fn draw(
        &self,
        root: &DrawingArea<SVGBackend, Shift>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let text = |size: u32| ("sans-serif", size).into_font().color(&INK);
        let legend_rows = self.legend_rows();
        let top = FONT + 26 + legend_rows.len() as u32 * (FONT + 14);
        let (head, body) = root.split_vertically(top);
        head.draw(&Text::new(self.title.clone(), (16, 8), text(FONT + 4)))?;
        for (row, entries) in legend_rows.iter().enumerate() {
            let mut left = 20;
            let y = (FONT + 34) as i32 + row as i32 * (FONT + 14) as i32;
            for series in entries {
                self.key(&head, series, left, y)?;
                head.draw(&Text::new(series.name.clone(), (left + 66, y), text(FONT - 2)))?;
                left += legend_width(&series.name);
            }
        }
        let (xs, ys) = self.ranges();
        let mut chart = ChartBuilder::on(&body)
            .margin(12)
            .margin_right(36)
            .x_label_area_size(84)
            .y_label_area_size(140)
            .build_cartesian_2d(xs.0..xs.1, ys.0..ys.1)?;
        let label_x = |v: &f64| self.label(*v, self.log.0, true);
        let label_y = |v: &f64| self.label(*v, self.log.1, false);
        let decades = |on: bool, range: (f64, f64)| {
            if on { ((range.1 - range.0).ceil() as usize + 1).min(10) } else { 8 }
        };
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(&self.x)
            .y_desc(&self.y)
            .axis_style(INK.mix(0.6).stroke_width(2))
            .light_line_style(INK.mix(0.0))
            .bold_line_style(INK.mix(0.12).stroke_width(2))
            .label_style(text(FONT - 4))
            .axis_desc_style(text(FONT - 2))
            .x_labels(match self.categories.len() {
                0 => decades(self.log.0, xs),
                n => n + 2,
            })
            .y_labels(decades(self.log.1, ys))
            .x_label_formatter(&label_x)
            .y_label_formatter(&label_y);
        if !self.categories.is_empty() {
            mesh.disable_x_mesh();
        }
        mesh.draw()?;
        for series in &self.series {
            let colour = colour(series.colour);
            let points: Vec<(f64, f64)> = series.points.iter().map(|&p| self.place(p)).collect();
            match series.shape {
                Shape::Line => {
                    chart.draw_series(LineSeries::new(points, colour.stroke_width(5)))?;
                }
                Shape::Dashed => {
                    let style = colour.stroke_width(4);
                    chart.draw_series(DashedLineSeries::new(points, 16, 12, style))?;
                }
                Shape::Points => {
                    let dot = |p| Circle::new(p, 7, colour.mix(0.7).filled());
                    chart.draw_series(points.into_iter().map(dot))?;
                }
                Shape::Area => {
                    let (low, high) = points.split_at(points.len() / 2);
                    let outline: Vec<_> = low.iter().chain(high.iter().rev()).copied().collect();
                    chart.draw_series([Polygon::new(outline, colour.mix(0.25))])?;
                }
                Shape::Boxes => {
                    let bar =
                        |c: &[(f64, f64)]| Rectangle::new([c[0], c[1]], colour.mix(0.8).filled());
                    chart.draw_series(points.chunks_exact(2).map(bar))?;
                }
            }
        }
        Ok(())
    }

    /// The little sign before a name in the legend.
    fn key(
        &self,
        head: &DrawingArea<SVGBackend, Shift>,
        series: &Series,
        left: i32,
        top: i32,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let (colour, middle) = (colour(series.colour), top + FONT as i32 / 2);
        let ends = [(left, middle), (left + 52, middle)];
        match series.shape {
            Shape::Line => head.draw(&PathElement::new(ends, colour.stroke_width(5)))?,
            Shape::Dashed => {
                for k in 0..2 {
                    let from = left + 30 * k;
                    let dash = [(from, middle), (from + 20, middle)];
                    head.draw(&PathElement::new(dash, colour.stroke_width(4)))?;
                }
            }
            Shape::Points => {
                head.draw(&Circle::new((left + 26, middle), 8, colour.mix(0.7).filled()))?
            }
            Shape::Area | Shape::Boxes => {
                let opacity = if matches!(series.shape, Shape::Area) { 0.25 } else { 0.8 };
                let corners = [(left, middle - 12), (left + 52, middle + 12)];
                head.draw(&Rectangle::new(corners, colour.mix(opacity).filled()))?
            }
        }
        Ok(())
    }

    /// Named series, in rows that fit the width.
    fn legend_rows(&self) -> Vec<Vec<&Series>> {
        let mut rows: Vec<Vec<&Series>> = Vec::new();
        let mut used = i32::MAX / 2;
        for series in self.series.iter().filter(|s| !s.name.is_empty()) {
            let width = legend_width(&series.name);
            if used + width > if self.equal { 920 } else { WIDTH as i32 - 20 } {
                rows.push(Vec::new());
                used = 20;
            }
            used += width;
            rows.last_mut().expect("a row was just made").push(series);
        }
        rows
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (if self.log.0 { x.log10() } else { x }, if self.log.1 { y.log10() } else { y })
    }

    /// The ranges of both axes: as fixed, or what the data take with a little air around.
    fn ranges(&self) -> ((f64, f64), (f64, f64)) {
        let points = || self.series.iter().flat_map(|s| s.points.iter().map(|&p| self.place(p)));
        let xs =
            extent(points().map(|p| p.0), if self.categories.is_empty() { 0.02 } else { 0.05 });
        let ys = extent(points().map(|p| p.1), 0.05);
        let fixed = |range: Option<(f64, f64)>, log: bool| {
            range.map(|(a, b)| if log { (a.log10(), b.log10()) } else { (a, b) })
        };
        (
            fixed(self.limits[0], self.log.0).unwrap_or(xs),
            fixed(self.limits[1], self.log.1).unwrap_or(ys),
        )
    }

    /// What stands at a tick.
    fn label(&self, value: f64, log: bool, horizontal: bool) -> String {
        let whole = (value - value.round()).abs() < 1e-9;
        if horizontal && !self.categories.is_empty() {
            let name = (whole && value > -0.5).then(|| self.categories.get(value.round() as usize));
            return name.flatten().cloned().unwrap_or_default();
        }
        if log {
            return match value.round() as i32 {
                _ if !whole => String::new(),
                k @ -2..=3 => format!("{}", 10f64.powi(k)),
                k => format!("1e{k}"),
            };
        }
        let text = format!("{value:.4}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        (if text == "-0" { "0" } else { text }).replace('-', "\u{2212}")
    }
}

fn zip(x: &[f64], y: &[f64]) -> Vec<(f64, f64)> {
    assert_eq!(x.len(), y.len(), "a series needs as many x as y");
    x.iter().copied().zip(y.iter().copied()).collect()
}

/// The mark that stands for colour `number` of the palette until the drawing is done.
fn colour(number: usize) -> RGBColor {
    RGBColor(0, 0, number as u8 + 1)
}

fn legend_width(name: &str) -> i32 {
    100 + (name.chars().count() as f64 * f64::from(FONT) * 0.5) as i32
}

fn extent(values: impl Iterator<Item = f64>, air: f64) -> (f64, f64) {
    let (low, high) = values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    if low > high {
        return (0.0, 1.0);
    }
    let room = ((high - low) * air).max(1e-9);
    (low - room, high + room)
}
