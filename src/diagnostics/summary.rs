//! The summary table: a row for each parameter, on the scale the model was written on.

use std::fmt;
use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::posterior::{any_number, file_error};

/// What the importance weights would change about one parameter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// Corrected mean less the mean under `q`, in corrected standard deviations.
    #[serde(with = "any_number")]
    pub shift: f64,
    /// Monte Carlo standard error of `shift`.
    #[serde(with = "any_number")]
    pub shift_mcse: f64,
    /// Corrected standard deviation over that of `q`: 1.3 says that `q` is too narrow.
    #[serde(with = "any_number")]
    pub sd_ratio: f64,
    /// Monte Carlo standard error of `ln sd_ratio`.
    #[serde(with = "any_number")]
    pub log_sd_mcse: f64,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name, such as `theta[3]`.
    pub name: String,
    /// Mean under `q`.
    #[serde(with = "any_number")]
    pub mean: f64,
    /// Standard deviation under `q`.
    #[serde(with = "any_number")]
    pub sd: f64,
    /// Monte Carlo standard error of `mean`.
    #[serde(with = "any_number")]
    pub mcse: f64,
    /// 5 % quantile.
    #[serde(with = "any_number")]
    pub q05: f64,
    /// Median.
    #[serde(with = "any_number")]
    pub q50: f64,
    /// 95 % quantile.
    #[serde(with = "any_number")]
    pub q95: f64,
    /// What importance weights say, where there was a model to weigh with.
    pub correction: Option<Correction>,
}

impl Row {
    /// The summary of a column of equally weighted draws.
    pub(crate) fn of(name: &str, mut column: Vec<f64>) -> Row {
        let n = column.len() as f64;
        let mean = column.iter().sum::<f64>() / n;
        let square: f64 = column.iter().map(|x| (x - mean) * (x - mean)).sum();
        let sd = (square / (n - 1.0)).sqrt();
        column.sort_by(f64::total_cmp);
        Row {
            name: name.to_string(),
            mean,
            sd,
            mcse: sd / n.sqrt(),
            q05: quantile(&column, 0.05),
            q50: quantile(&column, 0.5),
            q95: quantile(&column, 0.95),
            correction: None,
        }
    }
}

/// The quantile `p` of ascending values: linear between order statistics, the `(n - 1) p`-th.
pub(crate) fn quantile(sorted: &[f64], p: f64) -> f64 {
    let at = p * (sorted.len().max(1) - 1) as f64;
    let (low, share) = (at.floor() as usize, at.fract());
    match (sorted.get(low), sorted.get(low + 1)) {
        (Some(a), Some(b)) if share > 0.0 => a + share * (b - a),
        (Some(a), _) => *a,
        (None, _) => f64::NAN,
    }
}

/// A row for each parameter on the natural scale. `Display` prints the table; rows past
/// [`Summary::SHOWN`] are counted, not printed.
///
/// ```
/// use elbo::{MeanFieldGaussian, Posterior, Space};
/// let mut space = Space::new();
/// space.positive("rate");
/// let q = MeanFieldGaussian::new(vec![0.0], &[0.5])?;
/// let posterior = Posterior::new(space.unconstrained(), q)?;
/// let summary = posterior.draws(4000, 0)?.summary();
/// let rate = summary.row("rate")?;
/// // log-normal: median 1, mean e^(1/8)
/// assert!((rate.q50 - 1.0).abs() < 0.05 && (rate.mean - 0.125f64.exp()).abs() < 4.0 * rate.mcse);
/// assert!(summary.to_string().contains("rate"));
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// From how many draws the means and standard deviations are.
    pub draws: usize,
    /// One a parameter.
    pub rows: Vec<Row>,
}

impl Summary {
    /// How many rows are printed.
    pub const SHOWN: usize = 40;

    /// The row of a parameter.
    ///
    /// # Errors
    /// No parameter has this name.
    pub fn row(&self, name: &str) -> Result<&Row, Error> {
        self.rows.iter().find(|r| r.name == name).ok_or_else(|| {
            let there: Vec<&str> = self.rows.iter().take(12).map(|r| r.name.as_str()).collect();
            let there = format!("the parameters begin with {}", there.join(", "));
            Error::option("row", format!("`{name}`"), &there)
        })
    }

    /// Writes a header and one line a parameter, all digits.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_csv(&self, to: impl Write) -> Result<(), Error> {
        let mut csv = csv::Writer::from_writer(to);
        let mut write = || -> Result<(), csv::Error> {
            csv.write_record([
                "name", "mean", "sd", "mcse", "q05", "q50", "q95", "shift", "sd_ratio",
            ])?;
            for r in &self.rows {
                let numbers = [r.mean, r.sd, r.mcse, r.q05, r.q50, r.q95].map(|x| x.to_string());
                let correction = match r.correction {
                    Some(c) => [c.shift.to_string(), c.sd_ratio.to_string()],
                    None => [String::new(), String::new()],
                };
                let name = std::iter::once(r.name.clone());
                csv.write_record(name.chain(numbers).chain(correction))?;
            }
            Ok(csv.flush()?)
        };
        write().map_err(|e| file_error("the summary", e))
    }
}

/// A number with as many decimals as its row needs.
pub(crate) fn number(x: f64, decimals: usize) -> String {
    if !x.is_finite() {
        return x.to_string();
    }
    let plain = format!("{x:.decimals$}");
    // the last decimal there is room for says nothing about it
    let lost = decimals == 7 && x != 0.0 && x.abs() < 1e-5;
    if plain.len() <= 9 && !lost { plain } else { format!("{x:.2e}") }
}

/// The name in at most `width` characters, its end kept: that is where the index is.
pub(crate) fn fitted(name: &str, width: usize) -> String {
    let n = name.chars().count();
    if n <= width {
        return name.to_string();
    }
    let head: String = name.chars().take(width / 2).collect();
    let tail: String = name.chars().skip(n - (width - width / 2 - 2)).collect();
    format!("{head}..{tail}")
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WIDEST: usize = 24;
        let shown = &self.rows[..self.rows.len().min(Summary::SHOWN)];
        let names: Vec<String> = shown.iter().map(|r| fitted(&r.name, WIDEST)).collect();
        let width = names.iter().map(|n| n.chars().count()).max().unwrap_or(0).max(4);
        let corrected = shown.iter().any(|r| r.correction.is_some());
        write!(f, "{:width$}", "")?;
        for head in ["mean", "sd", "5%", "50%", "95%", "mcse"] {
            write!(f, " {head:>9}")?;
        }
        if corrected {
            write!(f, " {:>6} {:>5}", "shift", "sd x")?;
        }
        for (row, name) in shown.iter().zip(&names) {
            let spread = if row.sd > 0.0 { row.sd } else { 1.0 };
            let decimals = (2.0 - spread.log10().floor()).clamp(0.0, 7.0) as usize;
            let fine = (1.0 - row.mcse.max(1e-12).log10().floor()).clamp(0.0, 7.0) as usize;
            write!(f, "\n{name:width$}")?;
            for x in [row.mean, row.sd, row.q05, row.q50, row.q95] {
                write!(f, " {:>9}", number(x, decimals))?;
            }
            write!(f, " {:>9}", number(row.mcse, fine))?;
            if let Some(c) = row.correction {
                write!(f, " {:>+6.2} {:>5.2}", c.shift, c.sd_ratio)?;
            }
        }
        if self.rows.len() > shown.len() {
            write!(f, "\n... and {} more rows", self.rows.len() - shown.len())?;
        }
        Ok(())
    }
}
