//! `MeanField`: each latent number a normal of its own.

use super::{Head, log_normal, normal_divergence, spread};
use crate::scalar::Scalar;
use crate::special::LN_SQRT_2PI;

/// `q(z) = prod_k N(z_k; mean_k, sd_k^2)`, `y = [mean | raw]`, `ln sd^2 = 10 tanh(raw / 10)` (Kingma
/// and Welling 2014).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeanField;

impl<T: Scalar> Head<T> for MeanField {
    fn name(&self) -> &'static str {
        "mean field"
    }
    fn outputs(&self, latent: usize) -> usize {
        2 * latent
    }

    fn transport(&self, y: &[T], eps: &[T], z: &mut [T]) -> f64 {
        let (mean, raw) = y.split_at(z.len());
        let mut log_q = 0.0;
        for (((z, &eps), &mean), &raw) in z.iter_mut().zip(eps).zip(mean).zip(raw) {
            let (log_variance, _, sd) = spread(raw);
            *z = mean + sd * eps;
            log_q += log_normal(eps, log_variance);
        }
        log_q
    }

    fn pull_back(&self, y: &[T], eps: &[T], dz: &[T], dlog_q: T, dy: &mut [T]) {
        let (k, half) = (dz.len(), T::from_f64(0.5));
        let raw = &y[k..];
        let (dmean, draw) = dy.split_at_mut(k);
        for i in 0..k {
            let (_, slope, sd) = spread(raw[i]);
            dmean[i] += dz[i];
            draw[i] += half * (dz[i] * eps[i] * sd - dlog_q) * slope;
        }
    }

    fn log_prob(&self, y: &[T], z: &[T]) -> f64 {
        let (mean, raw) = y.split_at(z.len());
        let term = |((&z, &mean), &raw): ((&T, &T), &T)| {
            let (log_variance, _, sd) = spread(raw);
            log_normal((z - mean) / sd, log_variance)
        };
        z.iter().zip(mean).zip(raw).map(term).sum()
    }

    fn log_prob_grad(&self, y: &[T], eps: &[T], _z: &[T], grad: &mut [T]) {
        let raw = &y[grad.len()..];
        for ((g, &eps), &raw) in grad.iter_mut().zip(eps).zip(raw) {
            *g = -eps / spread(raw).2;
        }
    }

    fn moments(&self, y: &[T], mean: &mut [T], sd: &mut [T]) {
        let (means, raw) = y.split_at(mean.len());
        mean.copy_from_slice(means);
        sd.iter_mut().zip(raw).for_each(|(sd, &raw)| *sd = spread(raw).2);
    }

    fn entropy(&self, y: &[T]) -> Option<f64> {
        let raw = &y[y.len() / 2..];
        Some(raw.iter().map(|&raw| 0.5 * spread(raw).0.to_f64() + LN_SQRT_2PI + 0.5).sum())
    }

    fn divergence(&self, y: &[T], prior: (&[T], &[T]), out: &mut [f64]) -> bool {
        let (mean, raw) = y.split_at(out.len());
        for (k, out) in out.iter_mut().enumerate() {
            let (log_variance, _, sd) = spread(raw[k]);
            *out += normal_divergence((mean[k], sd * sd, log_variance), (prior.0[k], prior.1[k]));
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
            if !dprior.is_empty() {
                dprior[i] += weights[i] * off;
                let square = (y[i] - m[i]) * off + sd * sd * precision;
                dprior[k + i] += half * weights[i] * (square - one);
            }
        }
    }
}
