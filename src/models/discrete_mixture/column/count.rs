//! Cells that count: `x ~ Poisson(rate)`, with `rate ~ Gamma(shape, rate)` as a prior.

use rand::Rng;
use rand_distr::Distribution;

use super::{Kind, LEAST};
use crate::bijector::Support;
use crate::error::Error;
use crate::family::{Family, Gamma};
use crate::special::{log_gamma, polygamma};

/// Features: the count, and 1. Coefficients `ln rate`, `-rate`; the coordinate is `ln rate`; a
/// prior `(shape, rate)`. `-ln x!` belongs to the row, not to the component.
pub(in super::super) struct Count;

impl Kind for Count {
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
        "rate"
    }
    fn support(&self) -> Support {
        Support::Positive
    }
    fn holds(&self, x: f64) -> bool {
        x >= 0.0 && x.fract() == 0.0
    }
    fn must(&self) -> String {
        "a count, a whole number that is 0 or more".to_string()
    }
    fn fits(&self, values: &[f64]) -> bool {
        values[0] > 0.0 && values[0].is_finite()
    }
    fn best(&self, statistics: &[f64], theta: &mut [f64]) {
        let (events, rows) = (statistics[0], statistics[1]);
        if rows > 0.0 {
            theta[0] = (events / rows).max(LEAST).ln();
        }
    }
    fn natural(&self, theta: &[f64], coefficients: &mut [f64], values: &mut [f64]) {
        values[0] = theta[0].exp();
        (coefficients[0], coefficients[1]) = (theta[0], -values[0]);
    }
    fn coordinates(&self, values: &[f64], theta: &mut [f64]) {
        theta[0] = values[0].ln();
    }
    fn coefficients(&self, values: &[f64], out: &mut [f64]) {
        (out[0], out[1]) = (values[0].ln(), -values[0]);
    }
    fn less(&self, feature: usize) -> f64 {
        if feature == 0 { 1.0 } else { 0.0 }
    }
    fn log_constant(&self, prior: &[f64]) -> f64 {
        prior[0] * prior[1].ln() - log_gamma(prior[0])
    }
    fn expected(&self, prior: &[f64], out: &mut [f64]) {
        (out[0], out[1]) = (polygamma(0, prior[0]) - prior[1].ln(), -prior[0] / prior[1]);
    }
    fn summary(&self, prior: &[f64], mean: &mut [f64], sd: &mut [f64]) {
        (mean[0], sd[0]) = (prior[0] / prior[1], prior[0].sqrt() / prior[1]);
    }
    fn draw(&self, prior: &[f64], rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        Gamma::new(&prior[..1], &prior[1..])?.sample(rng, values);
        Ok(())
    }
    /// A negative binomial.
    fn log_predictive(&self, prior: &[f64], x: f64) -> f64 {
        let (a, b) = (prior[0], prior[1]);
        let ways = log_gamma(a + x) - log_gamma(a) - log_gamma(x + 1.0);
        ways - a * b.recip().ln_1p() - x * b.ln_1p()
    }
    fn cell(&self, values: &[f64], mut rng: &mut dyn Rng) -> f64 {
        // not a number where a rate is larger than any that can be drawn from
        rand_distr::Poisson::new(values[0]).map_or(f64::NAN, |p| p.sample(&mut rng))
    }
    /// Of the roots, whose variance is the same at every rate.
    fn distance(&self, a: f64, b: f64) -> f64 {
        (a.sqrt() - b.sqrt()).powi(2)
    }
}
