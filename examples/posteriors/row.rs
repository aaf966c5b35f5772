//! `Row`: one line about one posterior, and the line below all of them.

use std::fmt;

use serde::Serialize;

/// What is said about one posterior; `None` (null) where it is not known.
#[derive(Serialize)]
pub struct Row {
    pub name: &'static str,
    /// Unconstrained dimension.
    pub d: usize,
    pub family: &'static str,
    pub seconds: f64,
    pub gradient_evaluations: usize,
    /// In nats, with its Monte Carlo standard error.
    pub elbo: f64,
    pub elbo_mcse: f64,
    /// The log normaliser less the ELBO, `KL(q || posterior)`.
    pub kl_gap: Option<f64>,
    pub z_mean: f64,
    pub z_max: f64,
    pub r_mean: f64,
    pub r_abs: f64,
    pub khat: f64,
    pub verdict: String,
}

impl Row {
    /// The row as a JSON object on one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers and text are JSON")
    }
}

/// The titles of the columns.
pub fn header() -> String {
    format!(
        "{:<20} {:>3} {:<19} {:>7} {:>7} {:>9} {:>6} {:>7} {:>6} {:>6} {:>6} {:>6} {:>6}  verdict",
        "posterior",
        "d",
        "family",
        "seconds",
        "grads",
        "elbo",
        "mcse",
        "kl_gap",
        "z_mean",
        "z_max",
        "r_mean",
        "r_abs",
        "khat"
    )
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |x: Option<f64>| x.map_or("-".to_string(), |x| format!("{x:.3}"));
        write!(
            f,
            "{:<20} {:>3} {:<19} {:>7.3} {:>7} {:>9.3} {:>6.3} {:>7} {:>6.3} {:>6.3} {:>6.3} {:>6.3} {:>6}  {}",
            self.name,
            self.d,
            self.family,
            self.seconds,
            self.gradient_evaluations,
            self.elbo,
            self.elbo_mcse,
            known(self.kl_gap),
            self.z_mean,
            self.z_max,
            self.r_mean,
            self.r_abs,
            known(Some(self.khat).filter(|k| k.is_finite())),
            self.verdict
        )
    }
}

/// Medians and 90th percentiles over the rows.
pub fn summary(rows: &[Row]) -> String {
    let line = |title: &str, of: &dyn Fn(&Row) -> f64| {
        let mut values: Vec<f64> = rows.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        format!("{title} {:.3} / {:.3}", quantile(&values, 0.5), quantile(&values, 0.9))
    };
    format!(
        "{} fits, median / 90th percentile: {}, {}, {}, {}",
        rows.len(),
        line("z_mean", &|row| row.z_mean),
        line("z_max", &|row| row.z_max),
        line("r_abs", &|row| row.r_abs),
        line("seconds", &|row| row.seconds),
    )
}

/// The quantile of sorted values, linear between neighbours.
fn quantile(sorted: &[f64], p: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = p * last as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}
