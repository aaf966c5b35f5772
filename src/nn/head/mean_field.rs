//! `MeanField`: each latent number a normal of its own.

use super::{Head, log_normal, normal, normal_divergence, pull_back_normals, read_normals};
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
    fn kept(&self, latent: usize) -> usize {
        4 * latent
    }
    fn read(&self, y: &[T], said: &mut [T]) {
        read_normals(y.len() / 2, y, said);
    }

    fn transport(&self, said: &[T], eps: &[T], z: &mut [T]) -> f64 {
        let k = z.len();
        let mut log_q = 0.0;
        for i in 0..k {
            let (mean, log_variance, _, sd) = normal(said, k, i);
            z[i] = mean + sd * eps[i];
            log_q += log_normal(eps[i], log_variance);
        }
        log_q
    }

    fn pull_back(&self, said: &[T], eps: &[T], dz: &[T], dlog_q: T, dy: &mut [T]) {
        let (k, half) = (dz.len(), T::from_f64(0.5));
        for i in 0..k {
            let (_, _, slope, sd) = normal(said, k, i);
            dy[i] += dz[i];
            dy[k + i] += half * (dz[i] * eps[i] * sd - dlog_q) * slope;
        }
    }

    fn log_prob(&self, said: &[T], z: &[T]) -> f64 {
        let term = |(i, &z): (usize, &T)| {
            let (mean, log_variance, _, sd) = normal(said, said.len() / 4, i);
            log_normal((z - mean) / sd, log_variance)
        };
        z.iter().enumerate().map(term).sum()
    }

    fn log_prob_grad(&self, said: &[T], eps: &[T], _z: &[T], grad: &mut [T]) {
        let k = grad.len();
        grad.iter_mut().enumerate().for_each(|(i, g)| *g = -eps[i] / normal(said, k, i).3);
    }

    fn moments(&self, said: &[T], mean: &mut [T], sd: &mut [T]) {
        let k = mean.len();
        mean.copy_from_slice(&said[..k]);
        sd.copy_from_slice(&said[3 * k..]);
    }

    fn entropy(&self, said: &[T]) -> Option<f64> {
        let k = said.len() / 4;
        Some(said[k..2 * k].iter().map(|v| 0.5 * v.to_f64() + LN_SQRT_2PI + 0.5).sum())
    }

    fn divergence(&self, said: &[T], prior: (&[T], &[T]), out: &mut [f64]) -> bool {
        let k = out.len();
        for (i, out) in out.iter_mut().enumerate() {
            let (mean, log_variance, _, sd) = normal(said, k, i);
            *out += normal_divergence((mean, sd * sd, log_variance), (prior.0[i], prior.1[i]));
        }
        true
    }

    fn pull_back_divergence(
        &self,
        said: &[T],
        prior: (&[T], &[T]),
        weights: &[T],
        dy: &mut [T],
        dprior: &mut [T],
    ) {
        let variance = |i: usize| {
            let sd = normal(said, weights.len(), i).3;
            sd * sd
        };
        pull_back_normals(said, prior, weights, dy, dprior, variance, |_, _| ());
    }
}
