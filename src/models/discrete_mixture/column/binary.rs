//! Cells that are 0 or 1: `x ~ Bernoulli(p)`, with `p ~ Beta(a, b)` as a prior.

use rand::{Rng, RngExt};

use super::{Kind, LEAST, Levels};
use crate::bijector::Support;
use crate::error::Error;

/// Features: whether the cell is 0, whether it is 1. Coefficients `ln(1 - p)`, `ln p`; the
/// coordinate is `ln(p / (1 - p))`; a prior `(b, a)`.
pub(in super::super) struct Binary;

/// `ln(1 + e^x)`
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl Kind for Binary {
    fn features(&self) -> usize {
        2
    }
    fn values(&self) -> usize {
        1
    }
    fn free(&self) -> usize {
        1
    }
    fn name(&self) -> &'static str {
        "probability"
    }
    fn support(&self) -> Support {
        Support::Unit
    }
    fn holds(&self, x: f64) -> bool {
        x == 0.0 || x == 1.0
    }
    fn must(&self) -> String {
        "0 or 1".to_string()
    }
    fn fits(&self, values: &[f64]) -> bool {
        values[0] > 0.0 && values[0] < 1.0
    }
    fn best(&self, statistics: &[f64], theta: &mut [f64]) {
        let (zeros, ones) = (statistics[0], statistics[1]);
        if zeros + ones > 0.0 {
            let most = (-LEAST).ln_1p() - LEAST.ln();
            theta[0] = (ones / zeros).ln().clamp(-most, most);
        }
    }
    fn natural(&self, theta: &[f64], coefficients: &mut [f64], values: &mut [f64]) {
        coefficients[0] = -softplus(theta[0]);
        coefficients[1] = -softplus(-theta[0]);
        values[0] = coefficients[1].exp();
    }
    fn coordinates(&self, values: &[f64], theta: &mut [f64]) {
        theta[0] = values[0].ln() - (-values[0]).ln_1p();
    }
    fn coefficients(&self, values: &[f64], out: &mut [f64]) {
        (out[0], out[1]) = ((-values[0]).ln_1p(), values[0].ln());
    }
    fn less(&self, _feature: usize) -> f64 {
        1.0
    }
    fn log_constant(&self, prior: &[f64]) -> f64 {
        Levels(2).log_constant(prior)
    }
    fn expected(&self, prior: &[f64], out: &mut [f64]) {
        Levels(2).expected(prior, out);
    }
    fn summary(&self, prior: &[f64], mean: &mut [f64], sd: &mut [f64]) {
        let (b, a) = (prior[0], prior[1]);
        mean[0] = a / (a + b);
        sd[0] = (mean[0] * (b / (a + b)) / (a + b + 1.0)).sqrt();
    }
    fn draw(&self, prior: &[f64], rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        let mut both = [0.0; 2];
        Levels(2).draw(prior, rng, &mut both)?;
        values[0] = both[1].min(1.0 - 0.5 * f64::EPSILON);
        Ok(())
    }
    fn log_predictive(&self, prior: &[f64], x: f64) -> f64 {
        Levels(2).log_predictive(prior, x)
    }
    fn cell(&self, values: &[f64], rng: &mut dyn Rng) -> f64 {
        if rng.random::<f64>() < values[0] { 1.0 } else { 0.0 }
    }
    fn distance(&self, a: f64, b: f64) -> f64 {
        if a == b { 0.0 } else { 1.0 }
    }
}
