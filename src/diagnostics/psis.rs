//! Pareto-smoothed importance sampling: what weights from `q` to the posterior are worth.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What the tail shape k-hat says about importance weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WeightClass {
    /// k-hat below 0.5: the weights have finite variance, averages over them converge as usual.
    Good,
    /// k-hat below the threshold for this many draws: smoothed averages are still accurate.
    Usable,
    /// k-hat above the threshold: no average over these weights can be relied on.
    Unreliable,
}

/// Smoothed importance weights and what they say.
#[derive(Clone, Debug, PartialEq)]
pub struct Psis {
    /// Logs of the smoothed weights, normalised: `sum_s exp(log_weights[s]) = 1`.
    pub log_weights: Vec<f64>,
    /// The shape of the generalised Pareto distribution of the largest weights; negative infinity
    /// where all weights are equal, infinity where the tail has too few distinct values for a fit.
    pub khat: f64,
    /// `1 / sum_s w_s^2`: how many equally weighted draws would do as well.
    pub ess: f64,
    /// `min(1 - 1 / log10 S, 0.7)`: above this the weights are unreliable.
    pub threshold: f64,
    /// What follows from `khat` and `threshold`.
    pub class: WeightClass,
}

impl Psis {
    /// The smoothed, normalised weights.
    pub fn weights(&self) -> Vec<f64> {
        self.log_weights.iter().map(|w| w.exp()).collect()
    }

    /// `10^(1 / (1 - khat))`: about how many draws would bring these weights below the threshold;
    /// infinity where no number would (`khat` of 1 or more).
    pub fn draws_needed(&self) -> f64 {
        if self.khat < 1.0 { 10f64.powf(1.0 / (1.0 - self.khat.max(0.0))) } else { f64::INFINITY }
    }
}

/// The fewest weights a tail can be judged by.
const FEWEST: usize = 100;
/// Weights this close to each other in their logs are equal but for rounding.
const ROUNDING: f64 = 1e-8;

/// `min(1 - 1 / log10 S, 0.7)`: the k-hat above which `S` weights are unreliable.
pub fn khat_threshold(draws: usize) -> f64 {
    (1.0 - 1.0 / (draws as f64).log10()).min(0.7)
}

/// Fits a generalised Pareto distribution to the `ceil(min(S / 5, 3 sqrt(S)))` largest weights,
/// replaces them by its quantiles, cut off at the largest raw weight, and normalises
/// (Vehtari, Simpson, Gelman, Yao and Gabry 2024; the fit is that of Zhang and Stephens 2009 with a
/// weak prior towards 0.5).
///
/// `log_ratios` are `log p(x, z_s) - log q(z_s)`, up to a constant; negative infinity is a weight
/// of 0. One set of 4000 draws leaves k-hat uncertain by about 0.1: judge by several.
///
/// # Errors
/// Fewer than 100 values, one that is NaN or plus infinity, or all of them minus infinity.
///
/// ```
/// use elbo::diagnostics::{WeightClass, psis};
/// // weights u^-0.3: a Pareto tail of shape 0.3
/// let n = 4000;
/// let ratios: Vec<f64> = (0..n).map(|i| -0.3 * ((i as f64 + 0.5) / n as f64).ln()).collect();
/// let psis = psis(&ratios)?;
/// assert!((psis.khat - 0.3).abs() < 0.05);
/// assert_eq!(psis.class, WeightClass::Good);
/// # Ok::<(), elbo::Error>(())
/// ```
pub fn psis(log_ratios: &[f64]) -> Result<Psis, Error> {
    let n = log_ratios.len();
    if n < FEWEST {
        return Err(Error::option("draws", n, "the tail of the weights needs at least 100 draws"));
    }
    if let Some(s) = log_ratios.iter().position(|r| r.is_nan() || *r == f64::INFINITY) {
        let remedy = "the log joint must be a number wherever q draws; look at this draw";
        return Err(Error::option(&format!("log_ratios[{s}]"), log_ratios[s], remedy));
    }
    let max = log_ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        let remedy = "at least one draw must lie where the log joint is finite";
        return Err(Error::option("log_ratios", "-inf at every draw", remedy));
    }
    let mut log_weights: Vec<f64> = log_ratios.iter().map(|r| r - max).collect();
    let threshold = khat_threshold(n);
    let smallest = log_weights.iter().copied().fold(f64::INFINITY, f64::min);
    let khat = if smallest > -ROUNDING { f64::NEG_INFINITY } else { smooth_tail(&mut log_weights) };
    let log_total = log_sum_exp(&log_weights);
    log_weights.iter_mut().for_each(|w| *w -= log_total);
    let ess = 1.0 / log_weights.iter().map(|w| (2.0 * w).exp()).sum::<f64>();
    let class = match khat {
        k if k < 0.5 => WeightClass::Good,
        k if k < threshold => WeightClass::Usable,
        _ => WeightClass::Unreliable,
    };
    Ok(Psis { log_weights, khat, ess, threshold, class })
}

/// Replaces the largest weights by quantiles of the fitted tail and returns its shape. The largest
/// log weight is 0.
fn smooth_tail(log_weights: &mut [f64]) -> f64 {
    let n = log_weights.len();
    let length = (n as f64 / 5.0).min(3.0 * (n as f64).sqrt()).ceil() as usize;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| log_weights[a].total_cmp(&log_weights[b]));
    let cutoff = log_weights[order[n - length - 1]].exp();
    let tail = &order[n - length..];
    let excess: Vec<f64> = tail.iter().map(|&s| log_weights[s].exp() - cutoff).collect();
    let distinct = 1 + excess.windows(2).filter(|w| w[1] > w[0]).count();
    if distinct < 5 {
        return f64::INFINITY;
    }
    let (shape, scale) = generalised_pareto(&excess);
    if !shape.is_finite() {
        return f64::INFINITY;
    }
    for (z, &s) in tail.iter().enumerate() {
        let upper = -(-(z as f64 + 0.5) / length as f64).ln_1p();
        // quantile: scale ((1 - p)^-shape - 1) / shape
        let quantile = if shape.abs() < 1e-12 {
            scale * upper
        } else {
            scale * (shape * upper).exp_m1() / shape
        };
        log_weights[s] = (cutoff + quantile).ln().min(0.0);
    }
    shape
}

/// Shape and scale of a generalised Pareto distribution for ascending `x >= 0`: the mean of a
/// profile posterior over a grid (Zhang and Stephens 2009), the shape shrunk towards 0.5 by the
/// weight of 10 observations.
fn generalised_pareto(x: &[f64]) -> (f64, f64) {
    let n = x.len() as f64;
    let largest = x[x.len() - 1];
    let quartile = x[((n / 4.0 + 0.5).floor() as usize).max(1) - 1].max(f64::MIN_POSITIVE);
    let grid = 30 + n.sqrt().floor() as usize;
    let shape_at = |b: f64| x.iter().map(|x| (-b * x).ln_1p()).sum::<f64>() / n;
    let points: Vec<f64> = (1..=grid)
        .map(|j| {
            let spread = 1.0 - (grid as f64 / (j as f64 - 0.5)).sqrt();
            1.0 / largest + spread / (3.0 * quartile)
        })
        .collect();
    let profile: Vec<f64> = points
        .iter()
        .map(|&b| {
            let k = shape_at(b);
            n * ((-b / k).ln() - k - 1.0)
        })
        .collect();
    let usable = || profile.iter().zip(&points).filter(|(l, _)| l.is_finite());
    let best = usable().map(|(l, _)| *l).fold(f64::NEG_INFINITY, f64::max);
    let (mut total, mut b) = (0.0, 0.0);
    for (l, point) in usable() {
        let weight = (l - best).exp();
        total += weight;
        b += weight * point;
    }
    b /= total;
    let k = shape_at(b);
    ((k * n + 5.0) / (n + 10.0), -k / b)
}

/// `ln sum_s exp(x_s)`
pub(crate) fn log_sum_exp(x: &[f64]) -> f64 {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return max;
    }
    max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}
