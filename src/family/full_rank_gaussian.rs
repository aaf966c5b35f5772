//! `FullRankGaussian`: a normal with any covariance, by its Cholesky factor.

use nalgebra::DMatrix;
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Divergence, Family, Reparameterized, Scored, Smooth};
use crate::error::Error;
use crate::noise::fill_normal;
use crate::scratch::with_buffer;
use crate::simd;
use crate::special::LN_SQRT_2PI;
use crate::triangle::{self, Lower};

/// Points that are drawn or looked at together, so that the parameters are read once for all.
const AT_ONCE: usize = 40;

/// `q(z) = N(z; mean, L L^T)`, `L = diag(e^s) U` with `U` unit lower triangular:
/// `lambda = [mean | s | U below its diagonal, row by row]` (Kucukelbir and others 2017).
///
/// `s` is the logarithm of the diagonal of `L`, and `U` has no unit, so that a step of an optimizer
/// means the same whatever the scale of `z`.
///
/// ```
/// use elbo::{DMatrix, Family, FullRankGaussian};
/// let covariance = DMatrix::from_row_slice(2, 2, &[4.0, 1.2, 1.2, 1.0]);
/// let q = FullRankGaussian::new(vec![1.0, -1.0], &covariance)?;
/// assert!((q.covariance() - covariance).amax() < 1e-14);
/// assert!((q.sd()[0] - 2.0).abs() < 1e-14);
/// // (1/2) ln det(2 pi e covariance)
/// assert!((q.entropy().unwrap() - (0.5 * 2.56f64.ln() + 2.8378770664093453)).abs() < 1e-12);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct FullRankGaussian {
    dim: usize,
    lambda: Vec<f64>,
    /// `e^s`, the diagonal of `L`: a function of `lambda`, kept beside it
    scale: Vec<f64>,
}

/// What a file keeps.
#[derive(Serialize, Deserialize)]
struct Saved {
    dim: usize,
    lambda: Vec<f64>,
}

impl From<FullRankGaussian> for Saved {
    fn from(q: FullRankGaussian) -> Saved {
        Saved { dim: q.dim, lambda: q.lambda }
    }
}

impl TryFrom<Saved> for FullRankGaussian {
    type Error = Error;

    fn try_from(saved: Saved) -> Result<FullRankGaussian, Error> {
        let mut q = FullRankGaussian::standard(saved.dim);
        let (n, m) = (saved.lambda.len(), q.lambda.len());
        Error::expect_len("the saved lambda", n, "a full-rank Gaussian of its dimension", m)?;
        q.set_params(&saved.lambda);
        Ok(q)
    }
}

impl FullRankGaussian {
    /// Mean 0, covariance the identity.
    pub fn standard(dim: usize) -> Self {
        let lambda = vec![0.0; dim + triangle::len(dim)];
        FullRankGaussian { dim, lambda, scale: vec![1.0; dim] }
    }

    /// Mean and covariance (`d x d`).
    ///
    /// # Errors
    /// Shapes that do not agree; a covariance that is not symmetric or not positive definite.
    pub fn new(mean: Vec<f64>, covariance: &DMatrix<f64>) -> Result<Self, Error> {
        let factor = triangle::from_covariance("the covariance", mean.len(), covariance)?;
        FullRankGaussian::from_triangle(mean, &factor)
    }

    /// Mean and the lower triangular `L` (`d x d`) of `covariance = L L^T`.
    ///
    /// # Errors
    /// Shapes that do not agree; an entry above the diagonal that is not zero; a diagonal that is
    /// not positive.
    pub fn from_cholesky(mean: Vec<f64>, factor: &DMatrix<f64>) -> Result<Self, Error> {
        let factor = triangle::from_factor("the Cholesky factor", mean.len(), factor)?;
        FullRankGaussian::from_triangle(mean, &factor)
    }

    /// From a packed factor with a positive diagonal.
    pub(crate) fn from_triangle(mean: Vec<f64>, factor: &[f64]) -> Result<Self, Error> {
        if let Some(i) = mean.iter().position(|m| !m.is_finite()) {
            return Err(Error::option(&format!("mean[{i}]"), mean[i], "a mean must be finite"));
        }
        let d = mean.len();
        let mut q = FullRankGaussian::standard(d);
        let (to_mean, rest) = q.lambda.split_at_mut(d);
        let (log_diagonal, mut below) = rest.split_at_mut(d);
        to_mean.copy_from_slice(&mean);
        for (i, row) in triangle::rows(factor).enumerate() {
            log_diagonal[i] = row[i].ln();
            let (to, after) = below.split_at_mut(i);
            to.iter_mut().zip(row).for_each(|(u, l)| *u = l / row[i]);
            below = after;
        }
        q.refresh();
        Ok(q)
    }

    /// The mean.
    pub fn mean(&self) -> &[f64] {
        &self.lambda[..self.dim]
    }

    /// The covariance, `d x d`.
    pub fn covariance(&self) -> DMatrix<f64> {
        let l = self.cholesky();
        &l * l.transpose()
    }

    /// The Cholesky factor `L` of the covariance: lower triangular, its diagonal positive.
    pub fn cholesky(&self) -> DMatrix<f64> {
        triangle::to_matrix(self.dim, &self.triangle())
    }

    /// The standard deviation of each coordinate.
    pub fn sd(&self) -> Vec<f64> {
        triangle::rows(&self.triangle()).map(|row| triangle::dot(row, row).sqrt()).collect()
    }

    /// `L` row by row.
    pub(crate) fn triangle(&self) -> Vec<f64> {
        let lower = self.lower();
        let row = |i: usize| lower.row(i).iter().chain(&[1.0]).map(move |u| self.scale[i] * u);
        (0..self.dim).flat_map(row).collect()
    }

    /// `L`
    fn lower(&self) -> Lower<'_> {
        Lower::scaled(&self.scale, &self.lambda[2 * self.dim..])
    }

    /// `s`, the logarithm of the diagonal of `L`.
    fn log_diagonal(&self) -> &[f64] {
        &self.lambda[self.dim..2 * self.dim]
    }

    /// `-ln |L| - (d / 2) ln 2 pi`: the log density at the mean.
    fn log_peak(&self) -> f64 {
        -self.log_diagonal().iter().sum::<f64>() - self.dim as f64 * LN_SQRT_2PI
    }

    /// Writes `L^-1 (z - mean)` of every point.
    fn whiten(&self, z: &[f64], u: &mut [f64]) {
        let d = self.dim.max(1);
        for (z, u) in z.chunks_exact(d).zip(u.chunks_exact_mut(d)) {
            u.iter_mut().zip(z).zip(self.mean()).for_each(|((u, z), m)| *u = z - m);
        }
        self.lower().solve(u);
    }

    /// Makes `scale` from `lambda`.
    fn refresh(&mut self) {
        simd::exp_to(&self.lambda[self.dim..2 * self.dim], &mut self.scale);
    }
}

impl Family for FullRankGaussian {
    fn dim(&self) -> usize {
        self.dim
    }
    fn n_params(&self) -> usize {
        self.lambda.len()
    }
    fn params(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.lambda);
    }
    fn set_params(&mut self, params: &[f64]) {
        self.lambda.copy_from_slice(params);
        self.refresh();
    }
    fn lent_params(&self) -> Option<&[f64]> {
        Some(&self.lambda)
    }
    fn swap_params(&mut self, params: &mut Vec<f64>) {
        std::mem::swap(&mut self.lambda, params);
        self.refresh();
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        let d = self.dim.max(1);
        for z in z.chunks_mut(AT_ONCE * d) {
            with_buffer(z.len(), |eps| {
                fill_normal(rng, eps);
                self.lower().multiply(eps, z);
            });
            z.chunks_exact_mut(d).for_each(|z| triangle::add_scaled(1.0, self.mean(), z));
        }
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let mut out = [0.0];
        self.log_prob_batch(z, &mut out);
        out[0]
    }
    fn log_prob_batch(&self, z: &[f64], out: &mut [f64]) {
        let d = self.dim.max(1);
        let peak = self.log_peak();
        for (z, out) in z.chunks(AT_ONCE * d).zip(out.chunks_mut(AT_ONCE)) {
            with_buffer(z.len(), |u| {
                self.whiten(z, u);
                let squares = u.chunks_exact(d).map(|u| triangle::dot(u, u));
                out.iter_mut().zip(squares).for_each(|(o, square)| *o = peak - 0.5 * square);
            });
        }
        if self.dim == 0 {
            out.fill(peak);
        }
    }
    fn entropy(&self) -> Option<f64> {
        Some(0.5 * self.dim as f64 - self.log_peak())
    }
}

impl Scored for FullRankGaussian {
    fn add_score(&self, z: &[f64], weight: f64, grad: &mut [f64]) {
        let d = self.dim;
        with_buffer(2 * d, |buffer| {
            // u = L^-1 (z - mean), pull = weight L^-T u
            let (u, pull) = buffer.split_at_mut(d);
            self.whiten(z, u);
            pull.iter_mut().zip(&*u).for_each(|(p, u)| *p = weight * u);
            self.lower().solve_transposed(pull);
            for i in 0..d {
                grad[i] += pull[i];
                grad[d + i] += pull[i] * (z[i] - self.mean()[i]) - weight;
            }
            self.lower().add_outer(pull, u, &mut grad[2 * d..]);
        });
    }
}

impl Reparameterized for FullRankGaussian {
    /// `L eps` of each draw.
    type Residuals = Vec<f64>;

    fn transport(&self, eps: &[f64], z: &mut [f64], log_q: &mut [f64], shift: &mut Vec<f64>) {
        let d = self.dim.max(1);
        let peak = self.log_peak();
        shift.resize(z.len(), 0.0);
        self.lower().multiply(eps, shift);
        for (z, shift) in z.chunks_exact_mut(d).zip(shift.chunks_exact(d)) {
            z.iter_mut().zip(shift).zip(self.mean()).for_each(|((z, s), m)| *z = m + s);
        }
        log_q.fill(peak);
        for (eps, log_q) in eps.chunks_exact(d).zip(log_q) {
            *log_q -= 0.5 * triangle::dot(eps, eps);
        }
    }

    fn pull_back(
        &self,
        eps: &[f64],
        shift: &Vec<f64>,
        dz: &[f64],
        dlog_q: &[f64],
        grad: &mut [f64],
    ) {
        let d = self.dim;
        let (mean, rest) = grad.split_at_mut(d);
        let (log_diagonal, below) = rest.split_at_mut(d);
        for (dz, shift) in dz.chunks_exact(d.max(1)).zip(shift.chunks_exact(d.max(1))) {
            for i in 0..d {
                mean[i] += dz[i];
                log_diagonal[i] += dz[i] * shift[i];
            }
        }
        self.lower().add_outer(dz, eps, below);
        // log q(T(eps)) depends on lambda through -sum s only
        let total: f64 = dlog_q.iter().sum();
        log_diagonal.iter_mut().for_each(|g| *g -= total);
    }
}

impl Smooth for FullRankGaussian {
    fn log_prob_grad(&self, eps: &[f64], _: &Vec<f64>, _z: &[f64], grad: &mut [f64]) {
        grad.iter_mut().zip(eps).for_each(|(g, e)| *g = -e);
        self.lower().solve_transposed(grad);
    }
}

impl Divergence for FullRankGaussian {
    fn kl(&self, p: &Self) -> f64 {
        let d = self.dim;
        let log_ratio: f64 =
            p.log_diagonal().iter().zip(self.log_diagonal()).map(|(p, q)| p - q).sum();
        // |L_p^-1 (m_q - m_p)|^2 + |L_p^-1 L_q|^2
        let mut square = with_buffer(d, |u| {
            p.whiten(self.mean(), u);
            triangle::dot(u, u)
        });
        let factor = self.triangle();
        for from in (0..d).step_by(AT_ONCE) {
            let count = AT_ONCE.min(d - from);
            with_buffer(count * d, |columns| {
                columns.fill(0.0);
                for (j, column) in columns.chunks_exact_mut(d).enumerate() {
                    let j = from + j;
                    (j..d).for_each(|i| column[i] = factor[triangle::len(i) + j]);
                }
                p.lower().solve(columns);
                square += triangle::dot(columns, columns);
            });
        }
        log_ratio + 0.5 * (square - d as f64)
    }
}
