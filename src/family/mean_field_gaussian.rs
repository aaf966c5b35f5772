//! `MeanFieldGaussian`: independent normals, one for each coordinate.

use pulp::{Simd, WithSimd};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Divergence, Family, Reparameterized, Scored, Smooth};
use crate::error::Error;
use crate::noise::fill_normal;
use crate::scalar::Scalar;
use crate::simd::dispatch;
use crate::special::LN_SQRT_2PI;

/// `q(z) = prod_i N(z_i; mean_i, e^(2 log_sd_i))`, `lambda = [mean | log_sd]`
/// (Kucukelbir and others 2017).
///
/// ```
/// use elbo::{Family, MeanFieldGaussian};
/// let q = MeanFieldGaussian::new(vec![1.0, 2.0], &[0.5, 3.0])?;
/// assert!((q.entropy().unwrap() - (1.5f64.ln() + 2.8378770664093453)).abs() < 1e-12);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanFieldGaussian<T = f64> {
    lambda: Vec<T>,
    /// `e^log_sd`, kept beside it
    sd: Vec<T>,
}

impl<T: Scalar> MeanFieldGaussian<T> {
    /// Mean 0 and sd 1 in every coordinate.
    pub fn standard(dim: usize) -> Self {
        let (zero, one) = (T::default(), T::from_f64(1.0));
        MeanFieldGaussian { lambda: vec![zero; 2 * dim], sd: vec![one; dim] }
    }

    /// Means and standard deviations.
    ///
    /// # Errors
    /// Different lengths, or a standard deviation that is not a positive number.
    pub fn new(mean: Vec<T>, sd: &[T]) -> Result<Self, Error> {
        Error::expect_len("mean", mean.len(), "sd", sd.len())?;
        if let Some(i) = sd.iter().position(|s| !(s.is_finite() && *s > T::default())) {
            let remedy = "a standard deviation must be positive and finite";
            return Err(Error::option(&format!("sd[{i}]"), sd[i].to_f64(), remedy));
        }
        let mut lambda = mean;
        lambda.extend(sd.iter().map(|s| s.ln()));
        Ok(MeanFieldGaussian { lambda, sd: sd.to_vec() })
    }

    /// The means.
    pub fn mean(&self) -> &[T] {
        &self.lambda[..self.sd.len()]
    }

    fn log_sd(&self) -> &[T] {
        &self.lambda[self.sd.len()..]
    }

    /// The standard deviations.
    pub fn sd(&self) -> &[T] {
        &self.sd
    }
}

impl<T: Scalar> Family<T> for MeanFieldGaussian<T> {
    fn dim(&self) -> usize {
        self.sd.len()
    }
    fn n_params(&self) -> usize {
        self.lambda.len()
    }
    fn params(&self, out: &mut [T]) {
        out.copy_from_slice(&self.lambda);
    }
    fn set_params(&mut self, params: &[T]) {
        self.lambda.copy_from_slice(params);
        T::exp_to(&params[self.sd.len()..], &mut self.sd);
    }
    fn lent_params(&self) -> Option<&[T]> {
        Some(&self.lambda)
    }
    fn swap_params(&mut self, params: &mut Vec<T>) {
        std::mem::swap(&mut self.lambda, params);
        T::exp_to(&self.lambda[self.sd.len()..], &mut self.sd);
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [T]) {
        fill_normal(rng, z);
        for z in z.chunks_exact_mut(self.dim().max(1)) {
            for ((z, &m), &s) in z.iter_mut().zip(self.mean()).zip(&self.sd) {
                *z = m + s * *z;
            }
        }
    }
    fn log_prob(&self, z: &[T]) -> f64 {
        let (mean, log_sd) = (self.mean(), self.log_sd());
        let mut sum = 0.0;
        for i in 0..self.dim() {
            let u = ((z[i] - mean[i]) / self.sd[i]).to_f64();
            sum -= 0.5 * u * u + log_sd[i].to_f64() + LN_SQRT_2PI;
        }
        sum
    }
    fn entropy(&self) -> Option<f64> {
        Some(self.log_sd().iter().map(|s| s.to_f64() + LN_SQRT_2PI + 0.5).sum())
    }
}

impl<T: Scalar> Scored<T> for MeanFieldGaussian<T> {
    fn add_score(&self, z: &[T], weight: T, grad: &mut [T]) {
        let d = self.dim();
        for i in 0..d {
            let u = (z[i] - self.lambda[i]) / self.sd[i];
            grad[i] += weight * u / self.sd[i];
            grad[d + i] += weight * (u * u - T::from_f64(1.0));
        }
    }
}

/// Coordinates that all draws go through together: what is kept for each stays in the first cache.
const BLOCK: usize = 512;
/// Sums that run side by side, added up at the end: the same order on every machine.
const LANES: usize = 8;

struct Transport<'a, T> {
    q: &'a MeanFieldGaussian<T>,
    eps: &'a [T],
    z: &'a mut [T],
    log_q: &'a mut [f64],
}

impl<T: Scalar> WithSimd for Transport<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Transport { q, eps, z, log_q } = self;
        let d = q.sd.len();
        let scales = sum(q.log_sd(), |log_sd| log_sd);
        log_q.fill(-scales - d as f64 * LN_SQRT_2PI);
        for from in (0..d).step_by(BLOCK) {
            let to = (from + BLOCK).min(d);
            let (mean, sd) = (&q.lambda[from..to], &q.sd[from..to]);
            for (s, log_q) in log_q.iter_mut().enumerate() {
                let (eps, z) = (&eps[s * d + from..s * d + to], &mut z[s * d + from..s * d + to]);
                for (((z, &e), &m), &sd) in z.iter_mut().zip(eps).zip(mean).zip(sd) {
                    *z = m + sd * e;
                }
                *log_q -= 0.5 * sum(eps, |e| e * e);
            }
        }
    }
}

/// `sum_i f(x_i)`
#[inline(always)]
fn sum<T: Scalar>(x: &[T], f: impl Fn(T) -> T) -> f64 {
    let (groups, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for x in groups {
        for l in 0..LANES {
            sums[l] += f(x[l]).to_f64();
        }
    }
    for (sum, &x) in sums.iter_mut().zip(rest) {
        *sum += f(x).to_f64();
    }
    sums.iter().sum()
}

struct PullBack<'a, T> {
    sd: &'a [T],
    eps: &'a [T],
    dz: &'a [T],
    dlog_q: &'a [T],
    grad: &'a mut [T],
}

impl<T: Scalar> WithSimd for PullBack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let PullBack { sd, eps, dz, dlog_q, grad } = self;
        let d = sd.len();
        let (mean, log_sd) = grad.split_at_mut(d);
        // log q(T(eps)) depends on lambda through -sum log_sd only
        let total: T = dlog_q.iter().copied().sum();
        for from in (0..d).step_by(BLOCK) {
            let to = (from + BLOCK).min(d);
            let (mean, log_sd) = (&mut mean[from..to], &mut log_sd[from..to]);
            let sd = &sd[from..to];
            for s in 0..dlog_q.len() {
                let (eps, dz) = (&eps[s * d + from..s * d + to], &dz[s * d + from..s * d + to]);
                let sums = mean.iter_mut().zip(log_sd.iter_mut());
                for (((mean, log_sd), (&e, &dz)), &sd) in sums.zip(eps.iter().zip(dz)).zip(sd) {
                    *mean += dz;
                    *log_sd += dz * e * sd;
                }
            }
            log_sd.iter_mut().for_each(|g| *g -= total);
        }
    }
}

struct Score<'a, T> {
    sd: &'a [T],
    eps: &'a [T],
    grad: &'a mut [T],
}

impl<T: Scalar> WithSimd for Score<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let d = self.sd.len().max(1);
        for (eps, grad) in self.eps.chunks_exact(d).zip(self.grad.chunks_exact_mut(d)) {
            for ((g, &e), &sd) in grad.iter_mut().zip(eps).zip(self.sd) {
                *g = -e / sd;
            }
        }
    }
}

impl<T: Scalar> Reparameterized<T> for MeanFieldGaussian<T> {
    type Residuals = ();

    fn transport(&self, eps: &[T], z: &mut [T], log_q: &mut [f64], _: &mut ()) {
        dispatch(Transport { q: self, eps, z, log_q });
    }

    fn pull_back(&self, eps: &[T], _: &(), dz: &[T], dlog_q: &[T], grad: &mut [T]) {
        dispatch(PullBack { sd: &self.sd, eps, dz, dlog_q, grad });
    }
}

impl<T: Scalar> Smooth<T> for MeanFieldGaussian<T> {
    fn log_prob_grad(&self, eps: &[T], _: &(), _z: &[T], grad: &mut [T]) {
        dispatch(Score { sd: &self.sd, eps, grad });
    }
}

impl Divergence for MeanFieldGaussian {
    fn kl(&self, p: &Self) -> f64 {
        let term = |i: usize| {
            let ratio = self.sd[i] / p.sd[i];
            let shift = (self.lambda[i] - p.lambda[i]) / p.sd[i];
            0.5 * (ratio * ratio + shift * shift - 1.0) - ratio.ln()
        };
        (0..self.dim()).map(term).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{Purpose, stream};

    /// What is done in blocks and several coordinates at a time is what the formulas say.
    #[test]
    fn blocks_are_the_formulas() {
        for (d, draws) in
            [(1, 1), (7, 17), (8, 2), (9, 9), (511, 3), (512, 7), (513, 2), (1000, 10)]
        {
            let mut rng = stream(d as u64, Purpose::Data, 0);
            let mut normals = |n: usize| {
                let mut x = vec![0.0; n];
                fill_normal(&mut rng, &mut x);
                x
            };
            let sd: Vec<f64> = normals(d).iter().map(|x| (0.5 * x).exp()).collect();
            let q = MeanFieldGaussian::new(normals(d), &sd).unwrap();
            let (eps, dz, dlog_q) = (normals(d * draws), normals(d * draws), normals(draws));
            let (mut z, mut log_q, mut score) =
                (vec![0.0; d * draws], vec![0.0; draws], dz.clone());
            let (start, mut grad) = (0.25, vec![0.25; 2 * d]);
            q.transport(&eps, &mut z, &mut log_q, &mut ());
            q.pull_back(&eps, &(), &dz, &dlog_q, &mut grad);
            q.log_prob_grad(&eps, &(), &z, &mut score);
            for s in 0..draws {
                let want = q.log_prob(&z[s * d..(s + 1) * d]);
                // u = (z - mean) / sd gives eps back to a few units in the last place of z / sd
                let slack = 1e-12 * (1.0 + want.abs()) * d as f64;
                assert!((log_q[s] - want).abs() <= slack, "{d} x {draws}: {} {want}", log_q[s]);
            }
            let total: f64 = dlog_q.iter().sum();
            for i in 0..d {
                let (mut mean, mut log_sd, mut size) = (start, start, 1.0 + total.abs());
                for k in (0..draws).map(|s| s * d + i) {
                    assert_eq!(z[k], q.mean()[i] + sd[i] * eps[k]);
                    assert_eq!(score[k], -eps[k] / sd[i]);
                    mean += dz[k];
                    log_sd += dz[k] * eps[k] * sd[i];
                    size += dz[k].abs() * (1.0 + eps[k].abs() * sd[i]);
                }
                let slack = 4.0 * draws as f64 * f64::EPSILON * size;
                assert!((grad[i] - mean).abs() <= slack, "{d} x {draws}");
                assert!((grad[d + i] - (log_sd - total)).abs() <= slack, "{d} x {draws}");
            }
        }
    }
}
