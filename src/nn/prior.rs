//! `Prior`: where a decoder expects the `z` of a datum before it has seen it.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::likelihood::bounded;
use crate::bijector::Support;
use crate::error::Error;
use crate::noise::{Purpose, fill_normal, stream};
use crate::scalar::Scalar;
use crate::special::LN_SQRT_2PI;

/// `p(z)` of the `k` latent numbers of one datum. What it learns is part of `theta`, after the weights
/// of the network and the raw number of a learned variance.
///
/// | prior | `p(z)` | in `theta` |
/// |---|---|---|
/// | `StandardNormal` | `N(0, I)` | nothing |
/// | `Normal` | `N(m, diag(v))` | `m`, raw numbers with `ln v = 10 tanh(raw / 10)` |
/// | `Mixture` | `sum_c w_c N(m_c, diag(v_c))` (Tomczak and Welling 2018) | logits of `w`, all `m_c`, all raw numbers |
/// | `Uniform` | 1 on `(0, 1)^k` | nothing |
///
/// The divergence from a mixture, or from a uniform, has no closed form:
/// [`Reparameterization`](crate::Reparameterization) and
/// [`StickingTheLanding`](crate::StickingTheLanding) sample it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Prior {
    /// The standard normal.
    #[default]
    StandardNormal,
    /// A normal with learned means and variances, which starts at the standard normal.
    Normal,
    /// A mixture of normals with learned weights, means and variances. It starts with even weights,
    /// variances of 1 and means drawn from the standard normal.
    Mixture {
        /// How many normals.
        components: usize,
        /// What the means at the start are drawn from.
        seed: u64,
    },
    /// Any number between 0 and 1 is as likely as any other.
    Uniform,
}

/// A prior of `k` latent numbers with what it has learned.
#[derive(Clone, Debug, Default)]
pub(super) struct Learned<T> {
    pub kind: Prior,
    pub params: Vec<T>,
    /// Means, where it is one normal with independent numbers.
    means: Vec<T>,
    log_variances: Vec<T>,
}

impl<T: Scalar> Learned<T> {
    pub fn new(kind: Prior, k: usize) -> Learned<T> {
        let normal = match kind {
            Prior::StandardNormal | Prior::Normal => k,
            Prior::Mixture { .. } | Prior::Uniform => 0,
        };
        let (means, log_variances) = (vec![T::default(); normal], vec![T::default(); normal]);
        Learned { kind, params: kind.start(k), means, log_variances }
    }

    /// Replaces what it has learned.
    pub fn set(&mut self, params: &[T]) {
        self.params.copy_from_slice(params);
        if self.kind == Prior::Normal {
            let (means, raws) = params.split_at(self.means.len());
            self.means.copy_from_slice(means);
            self.log_variances.iter_mut().zip(raws).for_each(|(v, &raw)| *v = bounded(raw).0);
        }
    }

    /// Means and log variances, empty where it is not one normal.
    pub fn normal(&self) -> (&[T], &[T]) {
        (&self.means, &self.log_variances)
    }

    pub fn log_density(&self, z: &[T]) -> f64 {
        self.kind.log_density(&self.params, z)
    }

    /// Adds the gradient in what is learned, from that in means and log variances.
    pub fn pull_back_normal(&self, dprior: &[T], grad: &mut [T]) {
        let k = self.means.len();
        for (i, g) in grad.iter_mut().enumerate() {
            let slope = if i < k { T::from_f64(1.0) } else { bounded(self.params[i]).1 };
            *g += slope * dprior[i];
        }
    }
}

/// What is computed of a component of a mixture, in nats.
fn log_normal<T: Scalar>(z: &[T], mean: &[T], raw: &[T]) -> f64 {
    let term = |((&z, &mean), &raw): ((&T, &T), &T)| {
        let (off, log_variance) = ((z - mean).to_f64(), bounded(raw).0.to_f64());
        -0.5 * (off * off * (-log_variance).exp() + log_variance) - LN_SQRT_2PI
    };
    z.iter().zip(mean).zip(raw).map(term).sum()
}

impl Prior {
    /// Where each latent number lives.
    pub(super) fn support(self) -> Support {
        match self {
            Prior::Uniform => Support::Unit,
            _ => Support::Real,
        }
    }

    /// Refuses a mixture of nothing.
    pub(super) fn check(self) -> Result<(), Error> {
        match self {
            Prior::Mixture { components: 0, .. } => {
                Err(Error::option("components", 0, "a mixture needs at least one"))
            }
            _ => Ok(()),
        }
    }

    /// What it learns, at the start.
    fn start<T: Scalar>(self, k: usize) -> Vec<T> {
        match self {
            Prior::StandardNormal | Prior::Uniform => Vec::new(),
            Prior::Normal => vec![T::default(); 2 * k],
            Prior::Mixture { components, seed } => {
                let mut start = vec![T::default(); components * (1 + 2 * k)];
                let means = &mut start[components..components * (1 + k)];
                fill_normal(&mut stream(seed, Purpose::Start, 1), means);
                start
            }
        }
    }

    /// `log p(z)`
    fn log_density<T: Scalar>(self, learned: &[T], z: &[T]) -> f64 {
        match self {
            Prior::StandardNormal => {
                z.iter().map(|z| -0.5 * z.to_f64() * z.to_f64() - LN_SQRT_2PI).sum()
            }
            Prior::Normal => {
                let (mean, raw) = learned.split_at(z.len());
                log_normal(z, mean, raw)
            }
            Prior::Mixture { components, .. } => {
                let (mut total, mut all) = (LogSum::default(), LogSum::default());
                for c in 0..components {
                    let (logit, mean, raw) = component(learned, components, z.len(), c);
                    all.add(logit.to_f64());
                    total.add(logit.to_f64() + log_normal(z, mean, raw));
                }
                total.value() - all.value()
            }
            Prior::Uniform => 0.0,
        }
    }

    /// Adds `weight` times the gradient of `log p(z)`: that in `z_i` through `pull(i, ..)`, that in
    /// what is learned to `grad` unless it is empty.
    pub(super) fn add_grad<T: Scalar>(
        self,
        learned: &[T],
        z: &[T],
        weight: T,
        mut pull: impl FnMut(usize, T),
        grad: &mut [T],
    ) {
        let k = z.len();
        match self {
            Prior::StandardNormal => {
                z.iter().enumerate().for_each(|(i, &z)| pull(i, -(weight * z)));
            }
            Prior::Normal => {
                let (mean, raw) = learned.split_at(k);
                let grad = if grad.is_empty() { None } else { Some(grad.split_at_mut(k)) };
                add_normal_grad(z, (mean, raw), weight, pull, grad);
            }
            Prior::Mixture { components, .. } => {
                let whole = self.log_density(learned, z);
                let mut all = LogSum::default();
                (0..components).for_each(|c| all.add(learned[c].to_f64()));
                for c in 0..components {
                    let (logit, mean, raw) = component(learned, components, k, c);
                    let log_weight = logit.to_f64() - all.value();
                    let share = (log_weight + log_normal(z, mean, raw) - whole).exp();
                    let pulled = weight * T::from_f64(share);
                    if grad.is_empty() {
                        add_normal_grad(z, (mean, raw), pulled, &mut pull, None);
                        continue;
                    }
                    let (logits, rest) = grad.split_at_mut(components);
                    logits[c] += weight * T::from_f64(share - log_weight.exp());
                    let (means, raws) = rest.split_at_mut(components * k);
                    let own = (&mut means[c * k..][..k], &mut raws[c * k..][..k]);
                    add_normal_grad(z, (mean, raw), pulled, &mut pull, Some(own));
                }
            }
            Prior::Uniform => {}
        }
    }

    /// Fills `z` (`k` numbers a point) with draws.
    pub(super) fn sample<T: Scalar>(self, learned: &[T], k: usize, rng: &mut dyn Rng, z: &mut [T]) {
        if self == Prior::Uniform {
            z.iter_mut().for_each(|z| *z = T::from_f64(rng.random::<f64>()));
            return;
        }
        fill_normal(rng, z);
        for z in z.chunks_exact_mut(k.max(1)) {
            let (mean, raw) = match self {
                Prior::Normal => learned.split_at(k),
                Prior::Mixture { components, .. } => {
                    let top = (0..components).fold(f64::MIN, |top, c| top.max(learned[c].to_f64()));
                    let weight = |c: usize| (learned[c].to_f64() - top).exp();
                    let mut left = rng.random::<f64>() * (0..components).map(weight).sum::<f64>();
                    let mut c = 0;
                    while c + 1 < components && left >= weight(c) {
                        left -= weight(c);
                        c += 1;
                    }
                    let (_, mean, raw) = component(learned, components, k, c);
                    (mean, raw)
                }
                _ => return,
            };
            for ((z, &mean), &raw) in z.iter_mut().zip(mean).zip(raw) {
                *z = mean + (T::from_f64(0.5) * bounded(raw).0).quick_exp() * *z;
            }
        }
    }
}

/// Logit, means and raw numbers of component `c`.
fn component<T: Scalar>(learned: &[T], components: usize, k: usize, c: usize) -> (T, &[T], &[T]) {
    let (means, raws) = learned[components..].split_at(components * k);
    (learned[c], &means[c * k..][..k], &raws[c * k..][..k])
}

/// Adds `weight` times the gradient of `log N(z; mean, diag(v))`.
fn add_normal_grad<T: Scalar>(
    z: &[T],
    (mean, raw): (&[T], &[T]),
    weight: T,
    mut pull: impl FnMut(usize, T),
    mut grad: Option<(&mut [T], &mut [T])>,
) {
    let (half, one) = (T::from_f64(0.5), T::from_f64(1.0));
    for i in 0..z.len() {
        let (log_variance, slope) = bounded(raw[i]);
        let off = z[i] - mean[i];
        let pulled = off * (-log_variance).quick_exp();
        pull(i, -(weight * pulled));
        if let Some((in_mean, in_raw)) = &mut grad {
            in_mean[i] += weight * pulled;
            in_raw[i] += half * weight * (off * pulled - one) * slope;
        }
    }
}

/// The logarithm of a sum of exponentials.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogSum {
    top: f64,
    sum: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        LogSum { top: f64::NEG_INFINITY, sum: 0.0 }
    }
}

impl LogSum {
    pub fn add(&mut self, log: f64) {
        if log > self.top {
            self.sum = self.sum * (self.top - log).exp() + 1.0;
            self.top = log;
        } else {
            self.sum += (log - self.top).exp();
        }
    }

    pub fn value(&self) -> f64 {
        self.top + self.sum.ln()
    }
}
