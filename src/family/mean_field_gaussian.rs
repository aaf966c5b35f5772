//! `MeanFieldGaussian`: independent normals, one for each coordinate.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Divergence, Family, Reparameterized, Scored, Smooth};
use crate::error::Error;
use crate::noise::fill_normal;
use crate::scalar::Scalar;
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
    mean: Vec<T>,
    log_sd: Vec<T>,
    /// `e^log_sd`, kept beside it
    sd: Vec<T>,
}

impl<T: Scalar> MeanFieldGaussian<T> {
    /// Mean 0 and sd 1 in every coordinate.
    pub fn standard(dim: usize) -> Self {
        let (zero, one) = (T::default(), T::from_f64(1.0));
        MeanFieldGaussian { mean: vec![zero; dim], log_sd: vec![zero; dim], sd: vec![one; dim] }
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
        let log_sd = sd.iter().map(|s| s.ln()).collect();
        Ok(MeanFieldGaussian { mean, log_sd, sd: sd.to_vec() })
    }

    /// The means.
    pub fn mean(&self) -> &[T] {
        &self.mean
    }

    /// The standard deviations.
    pub fn sd(&self) -> &[T] {
        &self.sd
    }
}

impl<T: Scalar> Family<T> for MeanFieldGaussian<T> {
    fn dim(&self) -> usize {
        self.mean.len()
    }
    fn n_params(&self) -> usize {
        2 * self.mean.len()
    }
    fn params(&self, out: &mut [T]) {
        let (mean, log_sd) = out.split_at_mut(self.mean.len());
        mean.copy_from_slice(&self.mean);
        log_sd.copy_from_slice(&self.log_sd);
    }
    fn set_params(&mut self, params: &[T]) {
        let (mean, log_sd) = params.split_at(self.mean.len());
        self.mean.copy_from_slice(mean);
        self.log_sd.copy_from_slice(log_sd);
        for (sd, log_sd) in self.sd.iter_mut().zip(log_sd) {
            *sd = log_sd.exp();
        }
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [T]) {
        fill_normal(rng, z);
        for z in z.chunks_exact_mut(self.dim().max(1)) {
            for ((z, &m), &s) in z.iter_mut().zip(&self.mean).zip(&self.sd) {
                *z = m + s * *z;
            }
        }
    }
    fn log_prob(&self, z: &[T]) -> f64 {
        let mut sum = 0.0;
        for i in 0..self.dim() {
            let u = ((z[i] - self.mean[i]) / self.sd[i]).to_f64();
            sum -= 0.5 * u * u + self.log_sd[i].to_f64() + LN_SQRT_2PI;
        }
        sum
    }
    fn entropy(&self) -> Option<f64> {
        Some(self.log_sd.iter().map(|s| s.to_f64() + LN_SQRT_2PI + 0.5).sum())
    }
}

impl<T: Scalar> Scored<T> for MeanFieldGaussian<T> {
    fn add_score(&self, z: &[T], weight: T, grad: &mut [T]) {
        let d = self.dim();
        for i in 0..d {
            let u = (z[i] - self.mean[i]) / self.sd[i];
            grad[i] += weight * u / self.sd[i];
            grad[d + i] += weight * (u * u - T::from_f64(1.0));
        }
    }
}

impl<T: Scalar> Reparameterized<T> for MeanFieldGaussian<T> {
    type Residuals = ();

    fn transport(&self, eps: &[T], z: &mut [T], log_q: &mut [f64], _: &mut ()) {
        let d = self.dim().max(1);
        let at_mean: f64 = self.log_sd.iter().map(|s| -s.to_f64() - LN_SQRT_2PI).sum();
        for ((eps, z), log_q) in eps.chunks_exact(d).zip(z.chunks_exact_mut(d)).zip(log_q) {
            let mut square = 0.0;
            for i in 0..d {
                z[i] = self.mean[i] + self.sd[i] * eps[i];
                square += (eps[i] * eps[i]).to_f64();
            }
            *log_q = at_mean - 0.5 * square;
        }
    }

    fn pull_back(&self, eps: &[T], _: &(), dz: &[T], dlog_q: &[T], grad: &mut [T]) {
        let d = self.dim();
        let (mean, log_sd) = grad.split_at_mut(d);
        for (eps, dz) in eps.chunks_exact(d.max(1)).zip(dz.chunks_exact(d.max(1))) {
            for i in 0..d {
                mean[i] += dz[i];
                log_sd[i] += dz[i] * eps[i] * self.sd[i];
            }
        }
        // log q(T(eps)) depends on lambda through -sum log_sd only
        let total: T = dlog_q.iter().copied().sum();
        log_sd.iter_mut().for_each(|g| *g -= total);
    }
}

impl<T: Scalar> Smooth<T> for MeanFieldGaussian<T> {
    fn log_prob_grad(&self, eps: &[T], _: &(), _z: &[T], grad: &mut [T]) {
        let d = self.dim().max(1);
        for (eps, grad) in eps.chunks_exact(d).zip(grad.chunks_exact_mut(d)) {
            for i in 0..d {
                grad[i] = -eps[i] / self.sd[i];
            }
        }
    }
}

impl Divergence for MeanFieldGaussian {
    fn kl(&self, p: &Self) -> f64 {
        let term = |i: usize| {
            let ratio = self.sd[i] / p.sd[i];
            let shift = (self.mean[i] - p.mean[i]) / p.sd[i];
            0.5 * (ratio * ratio + shift * shift - 1.0) - ratio.ln()
        };
        (0..self.dim()).map(term).sum()
    }
}
