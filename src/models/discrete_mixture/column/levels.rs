//! Cells that are one of `n` levels: `x ~ Categorical(p)`, with `p ~ Dirichlet(a)` as a prior.

use rand::{Rng, RngExt};

use super::{Kind, LEAST};
use crate::bijector::Support;
use crate::error::Error;
use crate::family::{Dirichlet, Family};
use crate::special::{log_gamma, polygamma};

/// Features: whether the cell is level `l`. Coefficients `ln p_l`; coordinates `ln(p_l / p_last)`;
/// a prior `a`. The weights of the components are such a `p`, too.
pub(crate) struct Levels(pub(crate) usize);

impl Kind for Levels {
    fn features(&self) -> usize {
        self.0
    }
    fn values(&self) -> usize {
        self.0
    }
    fn free(&self) -> usize {
        self.0 - 1
    }
    fn name(&self) -> &'static str {
        "probability"
    }
    fn support(&self) -> Support {
        Support::Simplex
    }
    fn holds(&self, x: f64) -> bool {
        x >= 0.0 && x < self.0 as f64 && x.fract() == 0.0
    }
    fn must(&self) -> String {
        format!("a level, one of the whole numbers 0 to {}", self.0 - 1)
    }
    fn fits(&self, values: &[f64]) -> bool {
        let total: f64 = values.iter().sum();
        values.iter().all(|p| *p > 0.0) && (total - 1.0).abs() < 1e-6
    }
    /// The shares of the levels, none below the least: those that would be stay at it, and the
    /// others share the rest. The bound is concave, so this is the best of all that are allowed.
    fn best(&self, statistics: &[f64], theta: &mut [f64]) {
        let total: f64 = statistics.iter().sum();
        if total <= 0.0 {
            return;
        }
        let (mut least, mut above) = (0.0, total);
        loop {
            // what is above keeps its proportions
            let scale = (1.0 - least * LEAST) / above;
            let low = |s: f64| s * scale < LEAST;
            let count = statistics.iter().filter(|s| low(**s)).count() as f64;
            if count <= least {
                break;
            }
            least = count;
            above = statistics.iter().filter(|s| !low(**s)).sum();
        }
        let scale = (1.0 - least * LEAST) / above;
        let log_share = |s: f64| (s * scale).max(LEAST).ln();
        let last = log_share(statistics[self.0 - 1]);
        theta.iter_mut().zip(statistics).for_each(|(t, s)| *t = log_share(*s) - last);
    }
    fn natural(&self, theta: &[f64], coefficients: &mut [f64], values: &mut [f64]) {
        let top = theta.iter().copied().fold(0.0, f64::max);
        let sum: f64 = theta.iter().map(|t| (t - top).exp()).sum::<f64>() + (-top).exp();
        let log_sum = top + sum.ln();
        let each = theta.iter().copied().chain([0.0]);
        for ((c, v), t) in coefficients.iter_mut().zip(values).zip(each) {
            *c = t - log_sum;
            *v = c.exp();
        }
    }
    fn coordinates(&self, values: &[f64], theta: &mut [f64]) {
        let last = values[self.0 - 1].ln();
        theta.iter_mut().zip(values).for_each(|(t, v)| *t = v.ln() - last);
    }
    fn coefficients(&self, values: &[f64], out: &mut [f64]) {
        out.iter_mut().zip(values).for_each(|(c, v)| *c = v.ln());
    }
    fn less(&self, _feature: usize) -> f64 {
        1.0
    }
    fn log_constant(&self, prior: &[f64]) -> f64 {
        log_gamma(prior.iter().sum()) - prior.iter().map(|a| log_gamma(*a)).sum::<f64>()
    }
    fn expected(&self, prior: &[f64], out: &mut [f64]) {
        let common = polygamma(0, prior.iter().sum());
        out.iter_mut().zip(prior).for_each(|(c, a)| *c = polygamma(0, *a) - common);
    }
    fn summary(&self, prior: &[f64], mean: &mut [f64], sd: &mut [f64]) {
        let total: f64 = prior.iter().sum();
        for ((m, s), a) in mean.iter_mut().zip(sd).zip(prior) {
            *m = a / total;
            *s = (*m * (1.0 - *m) / (total + 1.0)).sqrt();
        }
    }
    fn draw(&self, prior: &[f64], rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error> {
        Dirichlet::new(prior)?.sample(rng, values);
        Ok(())
    }
    fn log_predictive(&self, prior: &[f64], x: f64) -> f64 {
        (prior[x as usize] / prior.iter().sum::<f64>()).ln()
    }
    fn cell(&self, values: &[f64], rng: &mut dyn Rng) -> f64 {
        let mut left: f64 = rng.random();
        let hit = values.iter().position(|p| {
            left -= p;
            left < 0.0
        });
        hit.unwrap_or(self.0 - 1) as f64
    }
    fn distance(&self, a: f64, b: f64) -> f64 {
        if a == b { 0.0 } else { 1.0 }
    }
}
