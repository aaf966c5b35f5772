//! `Weights`: how the weights of the components are distributed, before and after the data.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::family::{Dirichlet, Family};
use crate::special::{log_gamma, polygamma};

/// How the weights of the components are distributed before the data are seen, `a` being the
/// concentration of the prior.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Weights {
    /// `Dirichlet(a, .., a)`: all components alike. With `a` below 1 components that are not needed
    /// empty themselves.
    #[default]
    Dirichlet,
    /// A Dirichlet process by its sticks, cut off after `K` (Ishwaran and James 2001; Blei and
    /// Jordan 2006): `weight_k = v_k prod_{j<k} (1 - v_j)`, `v_k ~ Beta(1, a)`, `v_K = 1`. Early
    /// components are expected to be the large ones, about `a ln(n / a)` of them in use.
    StickBreaking,
}

/// `ln prod Gamma(a) / Gamma(sum a)`
fn log_beta(a: &[f64]) -> f64 {
    a.iter().map(|&a| log_gamma(a)).sum::<f64>() - log_gamma(a.iter().sum())
}

fn dirichlet_kl(q: &[f64], p: &[f64]) -> f64 {
    let common = polygamma(0, q.iter().sum());
    let moved = q.iter().zip(p).map(|(&a, &b)| (a - b) * (polygamma(0, a) - common));
    log_beta(p) - log_beta(q) + moved.sum::<f64>()
}

/// Of one or more numbers: with one of them the only weight is 1.
fn dirichlet(a: &[f64]) -> Option<Dirichlet> {
    Dirichlet::new(a).ok()
}

impl Weights {
    /// The numbers of the prior: the concentrations, or the two shapes of each stick but the last.
    pub(super) fn prior(self, k: usize, concentration: f64) -> Vec<f64> {
        match self {
            Weights::Dirichlet => vec![concentration; k],
            Weights::StickBreaking => [1.0, concentration].repeat(k - 1),
        }
    }

    /// Adds `share` of what these counts of rows add.
    pub(super) fn add_counts(self, share: f64, count: impl Fn(usize) -> f64, numbers: &mut [f64]) {
        match self {
            Weights::Dirichlet => {
                numbers.iter_mut().enumerate().for_each(|(k, a)| *a += share * count(k));
            }
            Weights::StickBreaking => {
                let mut after = count(numbers.len() / 2);
                for (k, shapes) in numbers.chunks_exact_mut(2).enumerate().rev() {
                    shapes[0] += share * count(k);
                    shapes[1] += share * after;
                    after += count(k);
                }
            }
        }
    }

    /// Writes `E ln weight_k`.
    pub(super) fn mean_log(self, numbers: &[f64], out: &mut [f64]) {
        match self {
            Weights::Dirichlet => {
                let common = polygamma(0, numbers.iter().sum());
                let logs = out.iter_mut().zip(numbers);
                logs.for_each(|(out, &a)| *out = polygamma(0, a) - common);
            }
            Weights::StickBreaking => {
                let mut rest = 0.0;
                let (last, first) = out.split_last_mut().unwrap_or_else(|| unreachable!("K > 0"));
                for (out, shapes) in first.iter_mut().zip(numbers.chunks_exact(2)) {
                    let common = polygamma(0, shapes[0] + shapes[1]);
                    *out = rest + polygamma(0, shapes[0]) - common;
                    rest += polygamma(0, shapes[1]) - common;
                }
                *last = rest;
            }
        }
    }

    /// Writes `E weight_k`.
    pub(super) fn mean(self, numbers: &[f64], out: &mut [f64]) {
        match self {
            Weights::Dirichlet => {
                let total: f64 = numbers.iter().sum();
                out.iter_mut().zip(numbers).for_each(|(out, a)| *out = a / total);
            }
            Weights::StickBreaking => {
                let mut rest = 1.0;
                let (last, first) = out.split_last_mut().unwrap_or_else(|| unreachable!("K > 0"));
                for (out, shapes) in first.iter_mut().zip(numbers.chunks_exact(2)) {
                    let total = shapes[0] + shapes[1];
                    *out = rest * shapes[0] / total;
                    rest *= shapes[1] / total;
                }
                *last = rest;
            }
        }
    }

    /// `KL(q || p)`, both by their numbers.
    pub(super) fn kl(self, q: &[f64], p: &[f64]) -> f64 {
        match self {
            Weights::Dirichlet => dirichlet_kl(q, p),
            Weights::StickBreaking => {
                let sticks = q.chunks_exact(2).zip(p.chunks_exact(2));
                sticks.map(|(q, p)| dirichlet_kl(q, p)).sum()
            }
        }
    }

    /// The log density of weights, with respect to all but the last.
    pub(super) fn log_density(self, numbers: &[f64], weights: &[f64]) -> f64 {
        match self {
            Weights::Dirichlet => dirichlet(numbers).map_or(0.0, |q| q.log_prob(weights)),
            Weights::StickBreaking => {
                let (mut rest, mut sum) = (weights[weights.len() - 1], 0.0);
                for (shapes, w) in numbers.chunks_exact(2).zip(weights).rev() {
                    let whole = w + rest;
                    sum += (shapes[0] - 1.0) * (w / whole).ln();
                    sum += (shapes[1] - 1.0) * (rest / whole).ln();
                    // a share of what is left, for a share of the whole
                    sum -= log_beta(shapes) + whole.ln();
                    rest = whole;
                }
                let inside = weights.iter().all(|w| *w > 0.0) && (rest - 1.0).abs() < 1e-6;
                if inside { sum } else { f64::NEG_INFINITY }
            }
        }
    }

    /// Writes a draw of the weights.
    pub(super) fn sample(self, numbers: &[f64], rng: &mut dyn Rng, out: &mut [f64]) {
        match self {
            Weights::Dirichlet => match dirichlet(numbers) {
                Some(q) => q.sample(rng, out),
                None => out.fill(1.0),
            },
            Weights::StickBreaking => {
                let mut rest = 1.0;
                let (last, first) = out.split_last_mut().unwrap_or_else(|| unreachable!("K > 0"));
                for (out, shapes) in first.iter_mut().zip(numbers.chunks_exact(2)) {
                    let mut share = [0.5; 2];
                    if let Some(q) = dirichlet(shapes) {
                        q.sample(rng, &mut share);
                    }
                    *out = (rest * share[0]).max(f64::MIN_POSITIVE);
                    rest = (rest * share[1]).max(f64::MIN_POSITIVE);
                }
                *last = rest;
            }
        }
    }
}
