//! `Head`: what the numbers that an encoder says of a datum mean for its `z`.

mod full_covariance;
mod logistic_normal;
mod mean_field;

pub use full_covariance::FullCovariance;
pub use logistic_normal::LogisticNormal;
pub use mean_field::MeanField;

use std::fmt;

use super::likelihood::bounded;
use crate::bijector::Support;
use crate::scalar::Scalar;
use crate::special::LN_SQRT_2PI;

/// The distribution of the `k` latent numbers of one datum, `q(z; y)`, given what the network says of
/// it, `y = g_lambda(x)`: the family that an [`Encoder`](super::Encoder) amortizes. Every `y` is valid.
///
/// | head | `q(z; y)` | numbers of `y` |
/// |---|---|---|
/// | [`MeanField`] | `N(mean, diag(sd^2))` | `2 k` |
/// | [`FullCovariance`] | `N(mean, L L')` | `2 k + k (k - 1) / 2` |
/// | [`LogisticNormal`] | each `z` in `(0, 1)`, its logit `N(mean, sd^2)` | `2 k` |
///
/// A draw is a differentiable function of `k` standard normal numbers, `z = T_y(eps)`. What `y` says is
/// read once a datum ([`Head::read`]), however many draws there are; the other methods take what was
/// read as `said`, and give gradients in `y`.
pub trait Head<T: Scalar = f32>: Clone + Default + fmt::Debug + Send + Sync + 'static {
    /// A name, by which checkpoints tell it from others.
    fn name(&self) -> &'static str;

    /// How many numbers of `y` say where `latent` numbers are; grows with `latent`.
    fn outputs(&self, latent: usize) -> usize;

    /// How many numbers are kept of what is read of `latent` numbers.
    fn kept(&self, latent: usize) -> usize;

    /// Reads `y` (`outputs` numbers) into `said` (`kept` numbers).
    fn read(&self, y: &[T], said: &mut [T]);

    /// Where each latent number lives.
    fn support(&self) -> Support {
        Support::Real
    }

    /// Writes `z = T_y(eps)` and returns `log q(z)`.
    fn transport(&self, said: &[T], eps: &[T], z: &mut [T]) -> f64;

    /// Adds to `dy` the gradient in `y` of `<dz, T_y(eps)> + dlog_q * log q_y(T_y(eps))`.
    fn pull_back(&self, said: &[T], eps: &[T], dz: &[T], dlog_q: T, dy: &mut [T]);

    /// `log q(z)`
    fn log_prob(&self, said: &[T], z: &[T]) -> f64;

    /// Writes `grad_z log q(z)`, where `z = T_y(eps)`.
    fn log_prob_grad(&self, said: &[T], eps: &[T], z: &[T], grad: &mut [T]);

    /// Writes the mean and the standard deviation of each latent number.
    fn moments(&self, said: &[T], mean: &mut [T], sd: &mut [T]);

    /// The entropy in nats, where it has a closed form.
    fn entropy(&self, _said: &[T]) -> Option<f64> {
        None
    }

    /// Where `KL(q || prod_k N(m_k, v_k))` has a closed form, adds the part of each latent number to
    /// `out` and returns true. `prior` is made of the `m_k` and the `ln v_k`.
    fn divergence(&self, _said: &[T], _prior: (&[T], &[T]), _out: &mut [f64]) -> bool {
        false
    }

    /// Adds the gradient of `-sum_k weights[k] KL_k`: that in `y` to `dy`, that in the `m_k` and the
    /// `ln v_k` to `dprior` unless it is empty.
    fn pull_back_divergence(
        &self,
        _said: &[T],
        _prior: (&[T], &[T]),
        _weights: &[T],
        _dy: &mut [T],
        _dprior: &mut [T],
    ) {
    }
}

/// Reads `y = [mean | raw | ..]` as `[mean | ln sd^2 | its slope in raw | sd | ..]`.
fn read_normals<T: Scalar>(k: usize, y: &[T], said: &mut [T]) {
    said[..k].copy_from_slice(&y[..k]);
    for i in 0..k {
        let (log_variance, slope) = bounded(y[k + i]);
        said[k + i] = log_variance;
        said[2 * k + i] = slope;
        said[3 * k + i] = (T::from_f64(0.5) * log_variance).quick_exp();
    }
    said[4 * k..].copy_from_slice(&y[2 * k..]);
}

/// What was read of one normal: mean, `ln sd^2`, its slope and `sd`.
#[inline(always)]
fn normal<T: Scalar>(said: &[T], k: usize, i: usize) -> (T, T, T, T) {
    (said[i], said[k + i], said[2 * k + i], said[3 * k + i])
}

/// `log N(z; mean, sd^2)` from noise and `ln sd^2`.
#[inline(always)]
pub(super) fn log_normal<T: Scalar>(eps: T, log_variance: T) -> f64 {
    let eps = eps.to_f64();
    -0.5 * (eps * eps + log_variance.to_f64()) - LN_SQRT_2PI
}

/// The part of one latent number: `q` has this mean, this second central moment, and this log
/// variance given the numbers before it.
pub(super) fn normal_divergence<T: Scalar>(q: (T, T, T), prior: (T, T)) -> f64 {
    let (mean, variance, given) = (q.0.to_f64(), q.1.to_f64(), q.2.to_f64());
    let (m, log_v) = (prior.0.to_f64(), prior.1.to_f64());
    let off = mean - m;
    0.5 * ((off * off + variance) * (-log_v).exp() - 1.0 + log_v - given)
}

/// Adds the slopes of the weighted sum of those parts: to those in means and raw numbers, and to those
/// in the prior's means and log variances where they are wanted. `variance` has the second central
/// moment of `z_i`, and `pull` gets what pulls at its factor: the weight over the prior's variance.
pub(super) fn pull_back_normals<T: Scalar>(
    said: &[T],
    (m, log_v): (&[T], &[T]),
    weights: &[T],
    dy: &mut [T],
    dprior: &mut [T],
    variance: impl Fn(usize) -> T,
    mut pull: impl FnMut(usize, T),
) {
    let (k, half, one) = (weights.len(), T::from_f64(0.5), T::from_f64(1.0));
    for i in 0..k {
        let (mean, _, slope, sd) = normal(said, k, i);
        let precision = (-log_v[i]).quick_exp();
        let off = (mean - m[i]) * precision;
        dy[i] -= weights[i] * off;
        dy[k + i] += half * weights[i] * (one - sd * sd * precision) * slope;
        pull(i, weights[i] * precision);
        if !dprior.is_empty() {
            dprior[i] += weights[i] * off;
            let square = (mean - m[i]) * off + variance(i) * precision;
            dprior[k + i] += half * weights[i] * (square - one);
        }
    }
}
