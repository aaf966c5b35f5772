//! Figures as SVG, by plotters: a panel a parameter, posterior densities with points on them.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::compare::{Comparison, Entry, Parameter};
use crate::error::Error;
use crate::posterior::file_error;

/// Told apart with any colour vision (Okabe and Ito 2008), readable on light pages and dark ones.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(122, 122, 122),
];
/// Letters and axes: as far from white as from black. The figure has no ground of its own.
const INK: RGBColor = RGBColor(122, 122, 122);
/// What is drawn lies on whole numbers: this many of them are a pixel, so that curves are smooth.
const FINE: u32 = 4;
const PANEL: (u32, u32) = (460 * FINE, 300 * FINE);
const LEGEND_ROW: u32 = 30 * FINE;
const FONT: u32 = 17 * FINE;
/// Of lines, and of the intervals at their feet.
const LINE: u32 = 3 * FINE;
const FOOT: u32 = 5 * FINE;

impl Comparison {
    /// How many panels [`Comparison::to_svg`] draws where it is not told which.
    pub const PANELS: usize = 12;

    /// A figure with a panel for each of these parameters, or for the first
    /// [`Comparison::PANELS`] where none are named. A posterior is drawn as its density, a point as a
    /// vertical line with its 5 to 95 % interval, where it has one, across its foot.
    ///
    /// ```
    /// use elbo::compare::{Entry, Parameter, compare};
    /// use elbo::data::Fingerprint;
    /// let data = Fingerprint::of(&[[1.0, 2.0]]);
    /// let em = Entry::new("EM").of(data)?.with([Parameter::point("mu", 1.5, Some(0.3))]);
    /// let vb = Entry::new("VB").of(data)?.with([Parameter::normal("mu", 1.4, 0.4)]);
    /// let svg = compare([em, vb])?.to_svg(&["mu"])?;
    /// assert!(svg.starts_with("<svg") && svg.contains("mu") && svg.contains("VB"));
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A parameter that no method names.
    pub fn to_svg(&self, parameters: &[&str]) -> Result<String, Error> {
        let known = self.parameters();
        let names: Vec<String> = match parameters {
            [] => known.into_iter().take(Comparison::PANELS).collect(),
            some => {
                if let Some(name) = some.iter().find(|name| !known.iter().any(|k| k == *name)) {
                    let there = format!(
                        "the parameters begin with {}",
                        known[..known.len().min(12)].join(", ")
                    );
                    return Err(Error::option("parameter", format!("`{name}`"), &there));
                }
                some.iter().map(|name| name.to_string()).collect()
            }
        };
        let across = match names.len() {
            0..=3 => names.len().max(1),
            4 => 2,
            _ => 3,
        };
        let down = names.len().div_ceil(across).max(1);
        let width = across as u32 * PANEL.0;
        let rows = legend(&self.entries, width as i32);
        let head = rows.len() as u32 * LEGEND_ROW + 10 * FINE;
        let size = (width, head + down as u32 * PANEL.1);
        let mut svg = String::new();
        let draw = |svg: &mut String| -> Result<(), Box<dyn std::error::Error>> {
            let root = SVGBackend::with_string(svg, size).into_drawing_area();
            let (top, body) = root.split_vertically(head);
            for (y, row) in rows.iter().enumerate() {
                for &(at, x) in row {
                    let (entry, fine) = (&self.entries[at], FINE as i32);
                    let middle = (y as u32 * LEGEND_ROW + 20 * FINE) as i32;
                    let (foot, ends) = (middle + 7 * fine, (x, x + 30 * fine));
                    let mark = |line: [(i32, i32); 2], wide: u32| {
                        top.draw(&PathElement::new(line, colour(at).stroke_width(wide)))
                    };
                    // a point on its interval, or a curve
                    if entry.parameters.iter().all(|p| p.x.is_empty()) {
                        let point = x + 15 * fine;
                        mark([(point, middle - 9 * fine), (point, foot)], LINE)?;
                        mark([(ends.0, foot), (ends.1, foot)], FOOT)?;
                    } else {
                        mark([(ends.0, middle), (ends.1, middle)], LINE)?;
                    }
                    let style = ("sans-serif", FONT, &INK).into_text_style(&top);
                    let style = style.pos(Pos::new(HPos::Left, VPos::Center));
                    top.draw(&Text::new(entry.method.clone(), (x + 38 * fine, middle), style))?;
                }
            }
            for (area, name) in body.split_evenly((down, across)).iter().zip(&names) {
                self.panel(area, name)?;
            }
            Ok(root.present()?)
        };
        draw(&mut svg).map_err(|e| file_error("the figure", e))?;
        // the size it is seen at
        let (was, now) = (size, (size.0 / FINE, size.1 / FINE));
        let sized = |(w, h): (u32, u32)| format!("width=\"{w}\" height=\"{h}\"");
        Ok(svg.replacen(&sized(was), &sized(now), 1))
    }

    /// Writes [`Comparison::to_svg`] to a file.
    ///
    /// # Errors
    /// As there, and a file that cannot be written.
    pub fn save_svg(
        &self,
        path: impl AsRef<std::path::Path>,
        parameters: &[&str],
    ) -> Result<(), Error> {
        let (path, svg) = (path.as_ref(), self.to_svg(parameters)?);
        let write = std::fs::write(path, svg);
        write.map_err(|e| file_error(&path.display().to_string(), format!("cannot write: {e}")))
    }

    fn panel(
        &self,
        area: &DrawingArea<SVGBackend, Shift>,
        name: &str,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let told = self.told(name);
        let ((low, high), top) = extent(&told);
        let mut chart = ChartBuilder::on(area)
            .caption(name, ("sans-serif", FONT + 2 * FINE, &INK))
            .margin(12 * FINE)
            .margin_left(26 * FINE)
            .margin_right(26 * FINE)
            .x_label_area_size(32 * FINE)
            .build_cartesian_2d(low..high, 0.0..1.08 * top)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_labels(5)
            .x_label_formatter(&label)
            .set_all_tick_mark_size(5 * FINE)
            .axis_style(INK.stroke_width(FINE))
            .light_line_style(TRANSPARENT)
            .bold_line_style(INK.mix(0.3).stroke_width(FINE))
            .label_style(("sans-serif", FONT - 2 * FINE, &INK))
            .draw()?;
        for (entry, p) in told {
            let at = self.entries.iter().position(|e| e.method == entry.method).unwrap_or(0);
            let style = colour(at).stroke_width(LINE);
            if !p.x.is_empty() {
                let points = p.x.iter().copied().zip(p.density.iter().copied());
                let inside = points.filter(|(x, y)| (low..=high).contains(x) && y.is_finite());
                chart.draw_series(LineSeries::new(inside, style))?;
            } else if p.estimate.is_finite() {
                let line = vec![(p.estimate, 0.0), (p.estimate, top)];
                chart.draw_series([PathElement::new(line, style)])?;
                if let (Some(a), Some(b)) = (p.q05, p.q95)
                    && a.is_finite()
                    && b.is_finite()
                {
                    let foot = vec![(a, 0.02 * top), (b, 0.02 * top)];
                    chart.draw_series([PathElement::new(foot, colour(at).stroke_width(FOOT))])?;
                }
            }
        }
        Ok(())
    }
}

/// A number at an axis, without the noughts and the rounding behind its last digit.
fn label(x: &f64) -> String {
    if *x != 0.0 && !(1e-4..1e7).contains(&x.abs()) {
        return format!("{x:.3e}").replace(".000e", "e");
    }
    let text = format!("{x:.6}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_string() } else { short.to_string() }
}

fn colour(at: usize) -> RGBColor {
    COLOURS[at % COLOURS.len()]
}

/// Where each entry stands in the legend: rows of entry and left edge that fit the width.
fn legend(entries: &[Entry], width: i32) -> Vec<Vec<(usize, i32)>> {
    let fine = FINE as i32;
    let (mut rows, mut left) = (vec![Vec::new()], 26 * fine);
    for (at, entry) in entries.iter().enumerate() {
        let text = entry.method.chars().count() as f64 * f64::from(FONT) * 0.5;
        let needs = 62 * fine + text as i32;
        if left + needs > width && left > 26 * fine {
            rows.push(Vec::new());
            left = 26 * fine;
        }
        rows.last_mut().into_iter().for_each(|row| row.push((at, left)));
        left += needs;
    }
    rows
}

/// The range of a panel, with a little air, and the highest density in it.
fn extent(told: &[(&Entry, &Parameter)]) -> ((f64, f64), f64) {
    let mut all = Vec::new();
    for (_, p) in told {
        all.push(p.estimate);
        all.extend([p.q05, p.q95].into_iter().flatten());
        // a density as far as it can be seen
        let most = p.density.iter().copied().fold(0.0, f64::max);
        let seen = p.x.iter().zip(&p.density).filter(|(_, d)| **d > 0.004 * most);
        all.extend(seen.map(|(x, _)| *x));
    }
    let finite = all.into_iter().filter(|x| x.is_finite());
    let start = (f64::INFINITY, f64::NEG_INFINITY);
    let (low, high) = finite.fold(start, |(a, b), x| (a.min(x), b.max(x)));
    let room = match high - low {
        w if w > 0.0 => 0.04 * w,
        _ => (0.05 * high.abs()).max(1e-9),
    };
    let densities = told.iter().flat_map(|(_, p)| p.density.iter().copied());
    let top = densities.filter(|d| d.is_finite()).fold(0.0, f64::max);
    let range = if low <= high { (low - room, high + room) } else { (0.0, 1.0) };
    (range, if top > 0.0 { top } else { 1.0 })
}
