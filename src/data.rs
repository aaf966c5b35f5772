//! Data: the tables models see, and small data sets for examples, each with its source and terms.

mod bad_cells;
mod corpus;
mod csv;
mod digits;
mod faithful;
mod fingerprint;
mod idx;
mod images;
mod iris;
mod nile;
mod npy;
mod observations;
mod postcards;
mod row_file;
mod source;

pub(crate) use bad_cells::number;
pub use corpus::Corpus;
pub use csv::Csv;
pub use digits::digits;
pub use faithful::OLD_FAITHFUL;
pub use fingerprint::Fingerprint;
pub use idx::read_idx_labels;
pub use images::Images;
pub use iris::IRIS;
pub use nile::NILE;
pub use observations::Observations;
pub use postcards::{Planted, postcards};
pub use row_file::RowFile;
pub use source::{Source, View};

use crate::error::Error;

/// How a message names column `j`: quoted, or its number where it has no name.
fn label(names: &[String], j: usize) -> String {
    if names[j] == j.to_string() { names[j].clone() } else { format!("\"{}\"", names[j]) }
}

/// The error about a row of which nothing is known.
fn missing_altogether(i: usize) -> Error {
    Error::Data {
        place: format!("data[{i}]"),
        value: "missing altogether".to_string(),
        count: String::new(),
        remedy: format!(
            "Drop row {i} (rows count from 0); in a series, where it is a time that was not \
             looked at, take `Observations::with_gaps`"
        ),
    }
}

/// A launch of the Space Shuttle before the accident of the Challenger, with what was found on the
/// rubber rings of its boosters afterwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Launch {
    /// The mission.
    pub mission: &'static str,
    /// Temperature of the joints at launch, degrees Fahrenheit.
    pub fahrenheit: f64,
    /// Whether any of the six primary rings was eroded or let gas pass.
    pub distress: bool,
}

const fn launch(mission: &'static str, fahrenheit: f64, distress: bool) -> Launch {
    Launch { mission, fahrenheit, distress }
}

/// The 23 launches whose boosters were recovered, up to January 1986.
///
/// From the Report of the Presidential Commission on the Space Shuttle Challenger Accident (1986), a
/// work of the United States government and in the public domain; analysed by Dalal, Fowlkes and
/// Hoadley (1989), "Risk analysis of the space shuttle", Journal of the American Statistical
/// Association 84.
pub const CHALLENGER: [Launch; 23] = [
    launch("STS-1", 66.0, false),
    launch("STS-2", 70.0, true),
    launch("STS-3", 69.0, false),
    launch("STS-5", 68.0, false),
    launch("STS-6", 67.0, false),
    launch("STS-7", 72.0, false),
    launch("STS-8", 73.0, false),
    launch("STS-9", 70.0, false),
    launch("STS 41-B", 57.0, true),
    launch("STS 41-C", 63.0, true),
    launch("STS 41-D", 70.0, true),
    launch("STS 41-G", 78.0, false),
    launch("STS 51-A", 67.0, false),
    launch("STS 51-C", 53.0, true),
    launch("STS 51-D", 67.0, false),
    launch("STS 51-B", 75.0, false),
    launch("STS 51-G", 70.0, false),
    launch("STS 51-F", 81.0, false),
    launch("STS 51-I", 76.0, false),
    launch("STS 51-J", 79.0, false),
    launch("STS 61-A", 75.0, true),
    launch("STS 61-B", 76.0, false),
    launch("STS 61-C", 58.0, true),
];

#[cfg(test)]
mod tests {
    use super::{CHALLENGER, IRIS, OLD_FAITHFUL};

    #[test]
    fn eruptions_and_flowers_have_their_known_means() {
        let mean = |x: &mut dyn Iterator<Item = f64>, n: usize| x.sum::<f64>() / n as f64;
        // R: colMeans(faithful), colMeans(iris[, 1:4])
        assert!((mean(&mut OLD_FAITHFUL.iter().map(|r| r[0]), 272) - 3.487783).abs() < 1e-6);
        assert!((mean(&mut OLD_FAITHFUL.iter().map(|r| r[1]), 272) - 70.897059).abs() < 1e-6);
        for (j, want) in [5.843333, 3.057333, 3.758, 1.199333].into_iter().enumerate() {
            assert!((mean(&mut IRIS.iter().map(|r| r[j]), 150) - want).abs() < 1e-6);
        }
    }

    #[test]
    fn the_launches_have_their_known_totals() {
        let temperature = |l: &super::Launch| l.fahrenheit;
        assert_eq!(CHALLENGER.iter().map(temperature).sum::<f64>(), 1600.0);
        assert_eq!(CHALLENGER.iter().filter(|l| l.distress).count(), 7);
    }

    /// Logistic regression of these data is in many textbooks: intercept 15.0429, slope -0.2322,
    /// deviance 20.315 on 21 degrees of freedom, and 28.267 without the temperature.
    #[test]
    fn the_launches_give_the_published_regression() {
        let (mut a, mut b) = (0.0f64, 0.0f64);
        for _ in 0..50 {
            let (mut g, mut h) = ([0.0; 2], [0.0; 3]);
            for l in &CHALLENGER {
                let x = l.fahrenheit - 70.0;
                let p = 1.0 / (1.0 + (-(a + b * x)).exp());
                let (r, w) = (f64::from(l.distress) - p, p * (1.0 - p));
                g = [g[0] + r, g[1] + r * x];
                h = [h[0] + w, h[1] + w * x, h[2] + w * x * x];
            }
            let det = h[0] * h[2] - h[1] * h[1];
            a += (h[2] * g[0] - h[1] * g[1]) / det;
            b += (h[0] * g[1] - h[1] * g[0]) / det;
        }
        let deviance = |a: f64, b: f64| -> f64 {
            let one = |l: &super::Launch| {
                let eta = a + b * (l.fahrenheit - 70.0);
                let sign = if l.distress { -1.0 } else { 1.0 };
                2.0 * (sign * eta).exp().ln_1p()
            };
            CHALLENGER.iter().map(one).sum()
        };
        assert!((a - 70.0 * b - 15.0429).abs() < 5e-5, "{}", a - 70.0 * b);
        assert!((b + 0.2322).abs() < 5e-5, "{b}");
        assert!((deviance(a, b) - 20.315).abs() < 5e-4, "{}", deviance(a, b));
        let without = deviance((7.0f64 / 16.0).ln(), 0.0);
        assert!((without - 28.267).abs() < 5e-4, "{without}");
    }
}
