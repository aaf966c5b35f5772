//! `FullCovariance`: the latent numbers of a datum vary together.

use super::{Head, log_normal, normal_divergence, spread};
use crate::scalar::Scalar;
use crate::special::LN_SQRT_2PI;

/// `q(z) = N(z; mean, L L')` with a covariance for each datum, `y = [mean | raw | below]`: `L` has
/// `ln L_ii^2 = 10 tanh(raw_i / 10)` on its diagonal and the numbers `below` under it, row by row
/// (Kingma and Welling 2019, section 2.5.1).
///
/// The divergence of latent number `i` is that of `z_i` given the numbers before it, in expectation;
/// together they are the divergence of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FullCovariance;

/// Row `i` of what stands below the diagonal of `L`.
fn row<T>(y: &[T], k: usize, i: usize) -> &[T] {
    &y[2 * k + i * i.saturating_sub(1) / 2..][..i]
}

/// The variance of `z_i`.
fn variance<T: Scalar>(y: &[T], k: usize, i: usize) -> T {
    let sd = spread(y[k + i]).2;
    row(y, k, i).iter().fold(sd * sd, |sum, &l| sum + l * l)
}

impl<T: Scalar> Head<T> for FullCovariance {
    fn name(&self) -> &'static str {
        "full covariance"
    }
    fn outputs(&self, latent: usize) -> usize {
        2 * latent + latent * latent.saturating_sub(1) / 2
    }

    fn transport(&self, y: &[T], eps: &[T], z: &mut [T]) -> f64 {
        let k = z.len();
        let mut log_q = 0.0;
        for (i, z) in z.iter_mut().enumerate() {
            let (log_variance, _, sd) = spread(y[k + i]);
            let start = y[i] + sd * eps[i];
            *z = row(y, k, i).iter().zip(eps).fold(start, |z, (&l, &eps)| z + l * eps);
            log_q += log_normal(eps[i], log_variance);
        }
        log_q
    }

    fn pull_back(&self, y: &[T], eps: &[T], dz: &[T], dlog_q: T, dy: &mut [T]) {
        let (k, half) = (dz.len(), T::from_f64(0.5));
        for i in 0..k {
            let (_, slope, sd) = spread(y[k + i]);
            dy[i] += dz[i];
            dy[k + i] += half * (dz[i] * eps[i] * sd - dlog_q) * slope;
            let below = &mut dy[2 * k + i * i.saturating_sub(1) / 2..][..i];
            below.iter_mut().zip(eps).for_each(|(d, &eps)| *d += dz[i] * eps);
        }
    }

    fn log_prob(&self, y: &[T], z: &[T]) -> f64 {
        let k = z.len();
        // eps by forward substitution
        let mut eps: Vec<T> = Vec::with_capacity(k);
        let mut log_q = 0.0;
        for i in 0..k {
            let (log_variance, _, sd) = spread(y[k + i]);
            let off = row(y, k, i).iter().zip(&eps).fold(z[i] - y[i], |off, (&l, &e)| off - l * e);
            eps.push(off / sd);
            log_q += log_normal(eps[i], log_variance);
        }
        log_q
    }

    /// `-L'^-1 eps`, by back substitution.
    fn log_prob_grad(&self, y: &[T], eps: &[T], _z: &[T], grad: &mut [T]) {
        let k = grad.len();
        grad.iter_mut().zip(eps).for_each(|(g, &eps)| *g = -eps);
        for i in (0..k).rev() {
            let (before, here) = grad.split_at_mut(i);
            here[0] = here[0] / spread(y[k + i]).2;
            before.iter_mut().zip(row(y, k, i)).for_each(|(g, &l)| *g -= l * here[0]);
        }
    }

    fn moments(&self, y: &[T], mean: &mut [T], sd: &mut [T]) {
        let k = mean.len();
        mean.copy_from_slice(&y[..k]);
        sd.iter_mut().enumerate().for_each(|(i, sd)| *sd = variance(y, k, i).sqrt());
    }

    fn entropy(&self, y: &[T]) -> Option<f64> {
        let outputs = |k: usize| <FullCovariance as Head<T>>::outputs(self, k);
        let k = (0..).find(|&k| outputs(k) >= y.len())?;
        Some(y[k..2 * k].iter().map(|&r| 0.5 * spread(r).0.to_f64() + LN_SQRT_2PI + 0.5).sum())
    }

    fn divergence(&self, y: &[T], prior: (&[T], &[T]), out: &mut [f64]) -> bool {
        let k = out.len();
        for (i, out) in out.iter_mut().enumerate() {
            let q = (y[i], variance(y, k, i), spread(y[k + i]).0);
            *out += normal_divergence(q, (prior.0[i], prior.1[i]));
        }
        true
    }

    fn pull_back_divergence(
        &self,
        y: &[T],
        (m, log_v): (&[T], &[T]),
        weights: &[T],
        dy: &mut [T],
        dprior: &mut [T],
    ) {
        let (k, half, one) = (weights.len(), T::from_f64(0.5), T::from_f64(1.0));
        for i in 0..k {
            let (_, slope, sd) = spread(y[k + i]);
            let precision = (-log_v[i]).exp();
            let off = (y[i] - m[i]) * precision;
            dy[i] -= weights[i] * off;
            dy[k + i] += half * weights[i] * (one - sd * sd * precision) * slope;
            let below = &mut dy[2 * k + i * i.saturating_sub(1) / 2..][..i];
            let pull = weights[i] * precision;
            below.iter_mut().zip(row(y, k, i)).for_each(|(d, &l)| *d -= pull * l);
            if !dprior.is_empty() {
                dprior[i] += weights[i] * off;
                let square = (y[i] - m[i]) * off + variance(y, k, i) * precision;
                dprior[k + i] += half * weights[i] * (square - one);
            }
        }
    }
}
