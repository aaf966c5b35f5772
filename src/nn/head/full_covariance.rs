//! `FullCovariance`: the latent numbers of a datum vary together.

use super::{Head, log_normal, normal, normal_divergence, pull_back_normals, read_normals};
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

/// How many numbers stand below the diagonal in the rows before row `i`.
fn before(i: usize) -> usize {
    i * i.saturating_sub(1) / 2
}

/// How many latent numbers `numbers` numbers are of, `each` of them and those below the diagonal.
fn latent(numbers: usize, each: usize) -> usize {
    (0..).find(|&k| each * k + before(k) >= numbers).unwrap_or(0)
}

/// Row `i` of what was read below the diagonal of `L`.
fn row<T>(said: &[T], k: usize, i: usize) -> &[T] {
    &said[4 * k + before(i)..][..i]
}

/// The variance of `z_i`.
fn variance<T: Scalar>(said: &[T], k: usize, i: usize) -> T {
    let sd = normal(said, k, i).3;
    row(said, k, i).iter().fold(sd * sd, |sum, &l| sum + l * l)
}

impl<T: Scalar> Head<T> for FullCovariance {
    fn name(&self) -> &'static str {
        "full covariance"
    }
    fn outputs(&self, latent: usize) -> usize {
        2 * latent + before(latent)
    }
    fn kept(&self, latent: usize) -> usize {
        4 * latent + before(latent)
    }
    fn read(&self, y: &[T], said: &mut [T]) {
        read_normals(latent(y.len(), 2), y, said);
    }

    fn transport(&self, said: &[T], eps: &[T], z: &mut [T]) -> f64 {
        let k = z.len();
        let mut log_q = 0.0;
        for (i, z) in z.iter_mut().enumerate() {
            let (mean, log_variance, _, sd) = normal(said, k, i);
            let start = mean + sd * eps[i];
            *z = row(said, k, i).iter().zip(eps).fold(start, |z, (&l, &eps)| z + l * eps);
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
            let below = &mut dy[2 * k + before(i)..][..i];
            below.iter_mut().zip(eps).for_each(|(d, &eps)| *d += dz[i] * eps);
        }
    }

    fn log_prob(&self, said: &[T], z: &[T]) -> f64 {
        let k = z.len();
        // eps by forward substitution
        let mut eps: Vec<T> = Vec::with_capacity(k);
        let mut log_q = 0.0;
        for i in 0..k {
            let (mean, log_variance, _, sd) = normal(said, k, i);
            let each = row(said, k, i).iter().zip(&eps);
            let off = each.fold(z[i] - mean, |off, (&l, &e)| off - l * e);
            eps.push(off / sd);
            log_q += log_normal(eps[i], log_variance);
        }
        log_q
    }

    /// `-L'^-1 eps`, by back substitution.
    fn log_prob_grad(&self, said: &[T], eps: &[T], _z: &[T], grad: &mut [T]) {
        let k = grad.len();
        grad.iter_mut().zip(eps).for_each(|(g, &eps)| *g = -eps);
        for i in (0..k).rev() {
            let (before, here) = grad.split_at_mut(i);
            here[0] = here[0] / normal(said, k, i).3;
            before.iter_mut().zip(row(said, k, i)).for_each(|(g, &l)| *g -= l * here[0]);
        }
    }

    fn moments(&self, said: &[T], mean: &mut [T], sd: &mut [T]) {
        let k = mean.len();
        mean.copy_from_slice(&said[..k]);
        sd.iter_mut().enumerate().for_each(|(i, sd)| *sd = variance(said, k, i).sqrt());
    }

    fn entropy(&self, said: &[T]) -> Option<f64> {
        let k = latent(said.len(), 4);
        Some(said[k..2 * k].iter().map(|v| 0.5 * v.to_f64() + LN_SQRT_2PI + 0.5).sum())
    }

    fn divergence(&self, said: &[T], prior: (&[T], &[T]), out: &mut [f64]) -> bool {
        let k = out.len();
        for (i, out) in out.iter_mut().enumerate() {
            let (mean, log_variance, ..) = normal(said, k, i);
            let q = (mean, variance(said, k, i), log_variance);
            *out += normal_divergence(q, (prior.0[i], prior.1[i]));
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
        let k = weights.len();
        let (own, rest) = dy.split_at_mut(2 * k);
        let of = |i: usize| variance(said, k, i);
        pull_back_normals(said, prior, weights, own, dprior, of, |i, pull| {
            let below = &mut rest[before(i)..][..i];
            below.iter_mut().zip(row(said, k, i)).for_each(|(d, &l)| *d -= pull * l);
        });
    }
}
