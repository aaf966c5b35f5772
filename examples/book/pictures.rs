//! Rows of small grey pictures, and labels in a plane, as SVG that follows the reader's theme.

use std::fmt::Write as _;

/// Shades of grey that are told apart.
const SHADES: usize = 8;
/// One picture is so wide, with the gap after it.
const CELL: f64 = 60.0;
const LEFT: f64 = 150.0;

/// Writes or checks `book/src/figures/<name>.svg`: rows of pictures of `side x side` pixels from 0 to
/// 1, drawn in the page's ink, each row with its name.
#[track_caller]
pub fn pictures(name: &str, title: &str, side: usize, rows: &[(&str, Vec<Vec<f64>>)]) {
    let most = rows.iter().map(|(_, row)| row.len()).max().unwrap_or(0);
    let (width, height) = (LEFT + CELL * most as f64, 40.0 + CELL * rows.len() as f64);
    let mut svg = head(title, width, height);
    let pixel = 50.0 / side as f64;
    for (r, (label, row)) in rows.iter().enumerate() {
        let top = 36.0 + CELL * r as f64;
        let _ = writeln!(
            svg,
            "<text x=\"6\" y=\"{}\" font-family=\"sans-serif\" font-size=\"15\" fill=\"currentColor\">{label}</text>",
            top + 30.0
        );
        let mut shades = vec![String::new(); SHADES + 1];
        for (k, picture) in row.iter().enumerate() {
            let left = LEFT + CELL * k as f64;
            for (p, &x) in picture.iter().enumerate() {
                let shade = (x.clamp(0.0, 1.0) * SHADES as f64).round() as usize;
                let at = |k: usize, from: f64| from + pixel * k as f64;
                let (x, y) = (at(p % side, left), at(p / side, top));
                let _ = write!(shades[shade], "M{x} {y}h{pixel}v{pixel}h-{pixel}z");
            }
        }
        for (shade, path) in shades.iter().enumerate().skip(1).filter(|(_, p)| !p.is_empty()) {
            let opacity = shade as f64 / SHADES as f64;
            let _ = writeln!(
                svg,
                "<path fill=\"currentColor\" fill-opacity=\"{opacity}\" d=\"{path}\"/>"
            );
        }
    }
    svg += "</svg>\n";
    super::settle(&format!("figures/{name}.svg"), &svg);
}

/// Writes or checks `book/src/figures/<name>.svg`: tables of numbers from 0 to 1 as shades of the
/// page's ink, side by side, each with its name. All have the same rows, whose names stand on the left,
/// and the same columns, whose names stand above.
#[track_caller]
pub fn heat(
    name: &str,
    title: &str,
    (rows, columns): (&[&str], &[&str]),
    tables: &[(&str, Vec<Vec<f64>>)],
) {
    const CELL: (f64, f64) = (52.0, 15.0);
    const TOP: f64 = 78.0;
    let left = |table: usize| 92.0 + (CELL.0 * columns.len() as f64 + 26.0) * table as f64;
    let (width, height) = (left(tables.len()), TOP + CELL.1 * rows.len() as f64 + 6.0);
    let mut svg = head(title, width, height);
    let mut text = |x: f64, y: f64, anchor: &str, size: u32, text: &str| {
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" font-family=\"sans-serif\" font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"currentColor\">{text}</text>"
        );
    };
    for (i, row) in rows.iter().enumerate() {
        text(84.0, TOP + CELL.1 * i as f64 + 12.0, "end", 13, row);
    }
    for (t, (name, _)) in tables.iter().enumerate() {
        text(left(t), 48.0, "start", 15, name);
        for (j, column) in columns.iter().enumerate() {
            text(left(t) + CELL.0 * (j as f64 + 0.5), 70.0, "middle", 12, column);
        }
    }
    for (t, (_, table)) in tables.iter().enumerate() {
        for (i, row) in table.iter().enumerate() {
            for (j, &x) in row.iter().enumerate() {
                let (x0, y0) = (left(t) + CELL.0 * j as f64, TOP + CELL.1 * i as f64);
                let _ = writeln!(
                    svg,
                    "<rect x=\"{x0}\" y=\"{y0}\" width=\"{}\" height=\"{}\" fill=\"currentColor\" fill-opacity=\"{:.2}\"/>",
                    CELL.0 - 2.0,
                    CELL.1 - 2.0,
                    0.04 + 0.96 * x.clamp(0.0, 1.0)
                );
            }
        }
    }
    svg += "</svg>\n";
    super::settle(&format!("figures/{name}.svg"), &svg);
}

/// Writes or checks `book/src/figures/<name>.svg`: a label from 0 to 9 at each point of a plane.
#[track_caller]
pub fn labels_in_a_plane(name: &str, title: &str, points: &[[f64; 2]], labels: &[u8]) {
    const SIZE: f64 = 560.0;
    let mut svg = head(title, SIZE, SIZE + 40.0);
    let extent = |k: usize| {
        let values = || points.iter().map(|p| p[k]);
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
    };
    let (xs, ys) = (extent(0), extent(1));
    let place = |v: f64, (low, high): (f64, f64)| 15.0 + (SIZE - 30.0) * (v - low) / (high - low);
    for digit in 0..10 {
        let colour = digit % 5 + 1;
        let (weight, shade) = if digit < 5 { ("normal", 1.0) } else { ("bold", 0.75) };
        let _ = writeln!(
            svg,
            "<g font-family=\"sans-serif\" font-size=\"13\" text-anchor=\"middle\" font-weight=\"{weight}\" fill=\"var(--figure-{colour}, #3366bb)\" fill-opacity=\"{shade}\">"
        );
        for (p, _) in points.iter().zip(labels).filter(|(_, l)| usize::from(**l) == digit) {
            let (x, y) = (place(p[0], xs), 35.0 + SIZE - place(p[1], ys));
            let _ = writeln!(svg, "<text x=\"{x:.0}\" y=\"{y:.0}\">{digit}</text>");
        }
        svg += "</g>\n";
    }
    svg += "</svg>\n";
    super::settle(&format!("figures/{name}.svg"), &svg);
}

fn head(title: &str, width: f64, height: f64) -> String {
    format!(
        "<svg class=\"figure\" role=\"img\" aria-label=\"{title}\" viewBox=\"0 0 {width} {height}\" xmlns=\"http://www.w3.org/2000/svg\">\n<text x=\"6\" y=\"20\" font-family=\"sans-serif\" font-size=\"16\" fill=\"currentColor\">{title}</text>\n"
    )
}
