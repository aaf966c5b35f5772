//! `LogisticNormal`: latent numbers between 0 and 1.

use super::{Head, log_normal, normal, read_normals};
use crate::bijector::Support;
use crate::scalar::Scalar;

/// Each `z` in `(0, 1)` with `ln(z / (1 - z)) ~ N(mean, sd^2)`, `y = [mean | raw]`,
/// `ln sd^2 = 10 tanh(raw / 10)` (Aitchison and Shen 1980). Its prior is
/// [`Prior::Uniform`](super::super::Prior::Uniform), from which its divergence has no closed form: the
/// estimators that sample it serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogisticNormal;

/// `z`, `1 - z` and `ln z (1 - z)` of a logit. What rounds to 0 or to 1 is the number next to it
/// inside, so that every draw has a density.
fn squash<T: Scalar>(u: T) -> (T, T, f64) {
    let ((z, up), (rest, down)) = (u.sigmoid_softplus(), (-u).sigmoid_softplus());
    let log_slope = -(up.to_f64() + down.to_f64());
    let (zero, one) = (T::default(), T::from_f64(1.0));
    let inside = |fine: f64, coarse: f64| {
        let fine = T::from_f64(fine);
        if fine > zero && fine < one { fine } else { T::from_f64(coarse) }
    };
    if z >= one {
        return (
            inside(1.0 - f64::EPSILON / 2.0, 1.0 - f64::from(f32::EPSILON) / 2.0),
            rest,
            log_slope,
        );
    }
    if z <= zero {
        return (inside(f64::MIN_POSITIVE, f64::from(f32::MIN_POSITIVE)), rest, log_slope);
    }
    (z, rest, log_slope)
}

/// Nodes of a trapezoid rule over the noise: its error is of the order `exp(-158 / sd)`, below 1e-6 up
/// to a standard deviation of 11.
fn nodes() -> impl Iterator<Item = (f64, f64)> {
    const HALF: i32 = 64;
    const STEP: f64 = 0.125;
    (-HALF..=HALF).map(|i| {
        let eps = f64::from(i) * STEP;
        (eps, STEP * log_normal(eps, 0.0).exp())
    })
}

impl<T: Scalar> Head<T> for LogisticNormal {
    fn name(&self) -> &'static str {
        "logistic normal"
    }
    fn outputs(&self, latent: usize) -> usize {
        2 * latent
    }
    fn kept(&self, latent: usize) -> usize {
        4 * latent
    }
    fn read(&self, y: &[T], said: &mut [T]) {
        read_normals(y.len() / 2, y, said);
    }
    fn support(&self) -> Support {
        Support::Unit
    }

    fn transport(&self, said: &[T], eps: &[T], z: &mut [T]) -> f64 {
        let k = z.len();
        let mut log_q = 0.0;
        for i in 0..k {
            let (mean, log_variance, _, sd) = normal(said, k, i);
            let (here, _, log_slope) = squash(mean + sd * eps[i]);
            z[i] = here;
            log_q += log_normal(eps[i], log_variance) - log_slope;
        }
        log_q
    }

    fn pull_back(&self, said: &[T], eps: &[T], dz: &[T], dlog_q: T, dy: &mut [T]) {
        let (k, half) = (dz.len(), T::from_f64(0.5));
        for i in 0..k {
            let (mean, _, slope, sd) = normal(said, k, i);
            let (z, rest, _) = squash(mean + sd * eps[i]);
            // of z, and of -ln z (1 - z), in the logit
            let du = dz[i] * z * rest - dlog_q * (rest - z);
            dy[i] += du;
            dy[k + i] += half * (du * eps[i] * sd - dlog_q) * slope;
        }
    }

    fn log_prob(&self, said: &[T], z: &[T]) -> f64 {
        let term = |(i, z): (usize, &T)| {
            let (mean, log_variance, _, sd) = normal(said, said.len() / 4, i);
            let (log_z, log_rest) = (z.to_f64().ln(), (-z.to_f64()).ln_1p());
            let eps = (log_z - log_rest - mean.to_f64()) / sd.to_f64();
            log_normal(eps, log_variance.to_f64()) - log_z - log_rest
        };
        z.iter().enumerate().map(term).sum()
    }

    fn log_prob_grad(&self, said: &[T], eps: &[T], _z: &[T], grad: &mut [T]) {
        let k = grad.len();
        for (i, g) in grad.iter_mut().enumerate() {
            let (mean, _, _, sd) = normal(said, k, i);
            let (z, rest, _) = squash(mean + sd * eps[i]);
            *g = -(eps[i] / sd + rest - z) / (z * rest);
        }
    }

    fn moments(&self, said: &[T], mean: &mut [T], sd: &mut [T]) {
        let k = mean.len();
        for i in 0..k {
            let (centre, _, _, spread) = normal(said, k, i);
            let at = |eps: f64| squash(centre.to_f64() + spread.to_f64() * eps).0;
            let first: f64 = nodes().map(|(eps, w)| w * at(eps)).sum();
            let second: f64 = nodes().map(|(eps, w)| w * (at(eps) - first).powi(2)).sum();
            (mean[i], sd[i]) = (T::from_f64(first), T::from_f64(second.sqrt()));
        }
    }
}
