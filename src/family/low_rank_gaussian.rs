//! `LowRankGaussian`: a normal whose covariance is a diagonal plus a few directions.

use nalgebra::DMatrix;
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Divergence, Family, Reparameterized, Scored, Smooth};
use crate::error::Error;
use crate::noise::{Purpose, fill_normal, stream};
use crate::scratch::with_buffer;
use crate::special::LN_SQRT_2PI;
use crate::triangle::{self, Lower};

/// `q(z) = N(z; mean, D (I + W W^T) D)`, `D = diag(e^s)`, `W` of size `d x r`:
/// `lambda = [mean | s | W row by row]` (Ong, Nott and Smith 2018).
///
/// A draw is `z = mean + D (eps_1 + W eps_2)` with `d + r` numbers of noise. No `d x d` matrix is
/// formed: with `C = I + W^T W`, Woodbury's identity makes a draw and its density `O(d r)` and a
/// change of parameters `O(d r^2)`.
///
/// `W = 0` is a stationary point of the ELBO for every target, so no constructor starts there.
///
/// ```
/// use elbo::{Family, LowRankGaussian};
/// let q = LowRankGaussian::standard(100);
/// assert_eq!(q.rank(), 10);
/// assert_eq!(q.n_params(), 100 + 100 + 1000);
/// assert!(q.sd().iter().all(|sd| (sd - 1.0).abs() < 1e-12));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct LowRankGaussian {
    dim: usize,
    rank: usize,
    lambda: Vec<f64>,
    /// `e^s`
    scale: Vec<f64>,
    /// Cholesky factor of `C`, row by row
    inner: Vec<f64>,
}

/// What a file keeps.
#[derive(Serialize, Deserialize)]
struct Saved {
    dim: usize,
    rank: usize,
    lambda: Vec<f64>,
}

impl From<LowRankGaussian> for Saved {
    fn from(q: LowRankGaussian) -> Saved {
        Saved { dim: q.dim, rank: q.rank, lambda: q.lambda }
    }
}

impl TryFrom<Saved> for LowRankGaussian {
    type Error = Error;

    fn try_from(saved: Saved) -> Result<LowRankGaussian, Error> {
        let mut q = LowRankGaussian::zero(saved.dim, saved.rank);
        let (n, m) = (saved.lambda.len(), q.lambda.len());
        Error::expect_len("the saved lambda", n, "a low-rank Gaussian of its size", m)?;
        q.set_params(&saved.lambda);
        Ok(q)
    }
}

/// Length of a row of `W` where nothing better is known.
const START: f64 = 0.1;

/// What a point is in terms of the family: `b = D^-1 (z - mean)`, `y = C^-1 W^T b`,
/// `v = b - W y = (I + W W^T)^-1 b`, so that `y = W^T v` and `b^T v = |v|^2 + |y|^2`.
struct Parts<'a> {
    b: &'a mut [f64],
    v: &'a mut [f64],
    y: &'a mut [f64],
}

impl LowRankGaussian {
    /// Mean 0, sd 1 in every coordinate, rank `sqrt(dim)` rounded up.
    pub fn standard(dim: usize) -> Self {
        LowRankGaussian::with_rank(dim, (dim as f64).sqrt().ceil() as usize)
    }

    /// Mean 0, sd 1 in every coordinate. The directions `W` start small and random, the same for
    /// the same `dim` and `rank`.
    pub fn with_rank(dim: usize, rank: usize) -> Self {
        let mut q = LowRankGaussian::zero(dim, rank);
        let directions = &mut q.lambda[2 * dim..];
        fill_normal(&mut stream(0, Purpose::Start, rank as u64), directions);
        directions.iter_mut().for_each(|w| *w *= START / (rank as f64).sqrt());
        for i in 0..dim {
            q.lambda[dim + i] = -0.5 * q.row_square(i).ln_1p();
        }
        q.refresh();
        q
    }

    /// Means and standard deviations; small random directions as in
    /// [`LowRankGaussian::with_rank`].
    ///
    /// # Errors
    /// Different lengths, a mean that is not finite, a standard deviation that is not positive.
    pub fn new(mean: &[f64], sd: &[f64], rank: usize) -> Result<Self, Error> {
        LowRankGaussian::with_rank(mean.len(), rank).scaled(mean, sd)
    }

    /// Mean, `D` (`d` positive numbers) and `W` (`d x r`) of the covariance `D (I + W W^T) D`.
    ///
    /// # Errors
    /// Shapes that do not agree, numbers that are not finite, a scale that is not positive.
    pub fn from_parts(mean: &[f64], scale: &[f64], w: &DMatrix<f64>) -> Result<Self, Error> {
        let (d, rank) = (mean.len(), w.ncols());
        Error::expect_len("the mean", d, "a column of W", w.nrows())?;
        if let Some(k) = w.iter().position(|w| !w.is_finite()) {
            let (i, j) = (k % d, k / d);
            let remedy = "its entries must be finite";
            return Err(Error::option(&format!("W[{i}, {j}]"), w[(i, j)], remedy));
        }
        let mut q = LowRankGaussian::zero(d, rank);
        (0..d).for_each(|i| (0..rank).for_each(|j| q.lambda[2 * d + i * rank + j] = w[(i, j)]));
        q.scaled(mean, scale)
    }

    fn zero(dim: usize, rank: usize) -> Self {
        let mut q = LowRankGaussian {
            dim,
            rank,
            lambda: vec![0.0; 2 * dim + dim * rank],
            scale: vec![0.0; dim],
            inner: vec![0.0; triangle::len(rank)],
        };
        q.refresh();
        q
    }

    /// The distribution of `shift + scale z`, coordinate by coordinate: low-rank again, exactly.
    ///
    /// # Errors
    /// Different lengths, a shift that is not finite, a scale that is not positive.
    pub fn scaled(&self, shift: &[f64], scale: &[f64]) -> Result<Self, Error> {
        Error::expect_len("the mean", shift.len(), "the scale", scale.len())?;
        Error::expect_len("the mean", shift.len(), "the family", self.dim)?;
        if let Some(i) = shift.iter().position(|m| !m.is_finite()) {
            return Err(Error::option(&format!("mean[{i}]"), shift[i], "a mean must be finite"));
        }
        if let Some(i) = scale.iter().position(|s| !(s.is_finite() && *s > 0.0)) {
            let remedy = "a scale must be positive and finite";
            return Err(Error::option(&format!("scale[{i}]"), scale[i], remedy));
        }
        let mut q = self.clone();
        for i in 0..self.dim {
            q.lambda[i] = shift[i] + scale[i] * self.lambda[i];
            q.lambda[self.dim + i] += scale[i].ln();
        }
        q.refresh();
        Ok(q)
    }

    /// The mean.
    pub fn mean(&self) -> &[f64] {
        &self.lambda[..self.dim]
    }

    /// `r`: how many directions.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// `D`, the diagonal.
    pub fn scale(&self) -> &[f64] {
        &self.scale
    }

    /// `W`, `d x r`: the directions in units of `D`.
    pub fn directions(&self) -> DMatrix<f64> {
        DMatrix::from_row_slice(self.dim, self.rank, self.w())
    }

    /// The standard deviation of each coordinate.
    pub fn sd(&self) -> Vec<f64> {
        (0..self.dim).map(|i| self.scale[i] * (1.0 + self.row_square(i)).sqrt()).collect()
    }

    /// The covariance, `d x d`: the one method that forms it.
    pub fn covariance(&self) -> DMatrix<f64> {
        let w = self.directions();
        let mut m = &w * w.transpose() + DMatrix::identity(self.dim, self.dim);
        (0..self.dim).for_each(|i| {
            (0..self.dim).for_each(|j| m[(i, j)] *= self.scale[i] * self.scale[j]);
        });
        m
    }

    fn log_scale(&self) -> &[f64] {
        &self.lambda[self.dim..2 * self.dim]
    }

    fn w(&self) -> &[f64] {
        &self.lambda[2 * self.dim..]
    }

    fn w_row(&self, i: usize) -> &[f64] {
        &self.w()[i * self.rank..(i + 1) * self.rank]
    }

    fn row_square(&self, i: usize) -> f64 {
        triangle::dot(self.w_row(i), self.w_row(i))
    }

    /// `ln det C / 2`
    fn half_log_det(&self) -> f64 {
        triangle::log_det(&self.inner)
    }

    /// The log density at the mean.
    fn log_peak(&self) -> f64 {
        let diagonal: f64 = self.log_scale().iter().sum();
        -diagonal - self.half_log_det() - self.dim as f64 * LN_SQRT_2PI
    }

    /// Makes `scale` and `inner` from `lambda`.
    fn refresh(&mut self) {
        let (d, r) = (self.dim, self.rank);
        let (_, rest) = self.lambda.split_at(d);
        let (log_scale, w) = rest.split_at(d);
        self.scale.iter_mut().zip(log_scale).for_each(|(d, s)| *d = s.exp());
        self.inner.fill(0.0);
        for w in w.chunks_exact(r.max(1)) {
            for j in 0..r {
                let row = &mut self.inner[triangle::len(j)..triangle::len(j + 1)];
                triangle::add_scaled(w[j], &w[..=j], row);
            }
        }
        (0..r).for_each(|j| self.inner[triangle::len(j) + j] += 1.0);
        triangle::factorize(&mut self.inner);
    }

    /// Fills `v` and `y` from `b`.
    fn whiten(&self, p: &mut Parts) {
        p.y.fill(0.0);
        (0..self.dim).for_each(|i| triangle::add_scaled(p.b[i], self.w_row(i), p.y));
        Lower::new(self.rank, &self.inner).solve(p.y);
        Lower::new(self.rank, &self.inner).solve_transposed(p.y);
        for i in 0..self.dim {
            p.v[i] = p.b[i] - triangle::dot(self.w_row(i), p.y);
        }
    }

    /// The parts of the point `z`, lent to `f`.
    fn with_parts<T>(&self, z: &[f64], f: impl FnOnce(Parts) -> T) -> T {
        with_buffer(2 * self.dim + self.rank, |buffer| {
            let mut parts = self.split(buffer);
            for i in 0..self.dim {
                parts.b[i] = (z[i] - self.lambda[i]) / self.scale[i];
            }
            self.whiten(&mut parts);
            f(parts)
        })
    }

    fn split<'a>(&self, buffer: &'a mut [f64]) -> Parts<'a> {
        let (b, rest) = buffer.split_at_mut(self.dim);
        let (v, y) = rest.split_at_mut(self.dim);
        Parts { b, v, y }
    }

    /// Writes `eps_1 + W eps_2`.
    fn mix(&self, eps: &[f64], b: &mut [f64]) {
        let (own, shared) = eps.split_at(self.dim);
        for i in 0..self.dim {
            b[i] = own[i] + triangle::dot(self.w_row(i), shared);
        }
    }

    /// Adds `-weight W C^-1`, the slope of `-weight ln det C / 2` in `W`.
    fn add_log_det(&self, weight: f64, grad: &mut [f64]) {
        let rows = grad[2 * self.dim..].chunks_exact_mut(self.rank.max(1));
        with_buffer(self.rank, |row| {
            for (i, grad) in rows.enumerate() {
                row.copy_from_slice(self.w_row(i));
                Lower::new(self.rank, &self.inner).solve(row);
                Lower::new(self.rank, &self.inner).solve_transposed(row);
                triangle::add_scaled(-weight, row, grad);
            }
        });
    }
}

fn quadratic(p: &Parts) -> f64 {
    triangle::dot(p.v, p.v) + triangle::dot(p.y, p.y)
}

impl Family for LowRankGaussian {
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
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        with_buffer(self.dim + self.rank, |eps| {
            for z in z.chunks_exact_mut(self.dim.max(1)) {
                fill_normal(rng, eps);
                self.mix(eps, z);
                for i in 0..self.dim {
                    z[i] = self.lambda[i] + self.scale[i] * z[i];
                }
            }
        });
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        self.with_parts(z, |p| self.log_peak() - 0.5 * quadratic(&p))
    }
    fn entropy(&self) -> Option<f64> {
        Some(0.5 * self.dim as f64 - self.log_peak())
    }
}

impl Scored for LowRankGaussian {
    fn add_score(&self, z: &[f64], weight: f64, grad: &mut [f64]) {
        let (d, r) = (self.dim, self.rank);
        self.with_parts(z, |p| {
            for i in 0..d {
                grad[i] += weight * p.v[i] / self.scale[i];
                grad[d + i] += weight * (p.v[i] * p.b[i] - 1.0);
                let row = &mut grad[2 * d + i * r..2 * d + (i + 1) * r];
                triangle::add_scaled(weight * p.v[i], p.y, row);
            }
        });
        self.add_log_det(weight, grad);
    }
}

impl Reparameterized for LowRankGaussian {
    /// `b`, `v` and `y` of each draw: with `b = D^-1 (z - mean)`, `v = (I + W W^T)^-1 b` and
    /// `y = W^T v`.
    type Residuals = Vec<f64>;

    fn noise_dim(&self) -> usize {
        self.dim + self.rank
    }

    fn transport(&self, eps: &[f64], z: &mut [f64], log_q: &mut [f64], parts: &mut Vec<f64>) {
        let (d, r) = (self.dim, self.rank);
        let peak = self.log_peak();
        let width = (2 * d + r).max(1);
        parts.resize(width * log_q.len(), 0.0);
        let draws = eps.chunks_exact((d + r).max(1)).zip(z.chunks_exact_mut(d.max(1)));
        for (((eps, z), buffer), log_q) in draws.zip(parts.chunks_exact_mut(width)).zip(log_q) {
            let mut p = self.split(buffer);
            self.mix(eps, p.b);
            self.whiten(&mut p);
            for i in 0..d {
                z[i] = self.lambda[i] + self.scale[i] * p.b[i];
            }
            *log_q = peak - 0.5 * quadratic(&p);
        }
    }

    fn pull_back(
        &self,
        eps: &[f64],
        parts: &Vec<f64>,
        dz: &[f64],
        dlog_q: &[f64],
        grad: &mut [f64],
    ) {
        let (d, r) = (self.dim, self.rank);
        let draws = eps.chunks_exact((d + r).max(1)).zip(parts.chunks_exact((2 * d + r).max(1)));
        for (((eps, parts), dz), &c) in draws.zip(dz.chunks_exact(d.max(1))).zip(dlog_q) {
            let (b, rest) = parts.split_at(d);
            let (v, y) = rest.split_at(d);
            let shared = &eps[d..];
            for i in 0..d {
                let dz = dz[i];
                let pull = dz * self.scale[i];
                grad[i] += dz;
                grad[d + i] += pull * b[i] - c;
                // -b^T (I + W W^T)^-1 b / 2 moves through b and through W
                let row = &mut grad[2 * d + i * r..2 * d + (i + 1) * r];
                triangle::add_scaled(pull - c * v[i], shared, row);
                triangle::add_scaled(c * v[i], y, row);
            }
        }
        let total: f64 = dlog_q.iter().sum();
        if total != 0.0 {
            self.add_log_det(total, grad);
        }
    }
}

impl Smooth for LowRankGaussian {
    fn log_prob_grad(&self, _eps: &[f64], parts: &Vec<f64>, _z: &[f64], grad: &mut [f64]) {
        let d = self.dim;
        let draws = parts.chunks_exact((2 * d + self.rank).max(1));
        for (parts, grad) in draws.zip(grad.chunks_exact_mut(d.max(1))) {
            for i in 0..d {
                grad[i] = -parts[d + i] / self.scale[i];
            }
        }
    }
}

impl Divergence for LowRankGaussian {
    fn kl(&self, p: &Self) -> f64 {
        let d = self.dim;
        // E_q[b_p^T (I + W_p W_p^T)^-1 b_p] = the same at q's mean, plus a trace: the sum over the
        // columns of D_p^-1 D_q [I, W_q]. For I: (I + W W^T)^-1_ii = 1 - |L_C^-1 w_i|^2.
        let mut square = p.with_parts(self.mean(), |parts| quadratic(&parts));
        with_buffer(p.rank, |row| {
            for i in 0..d {
                row.copy_from_slice(p.w_row(i));
                Lower::new(p.rank, &p.inner).solve(row);
                let ratio = self.scale[i] / p.scale[i];
                square += ratio * ratio * (1.0 - triangle::dot(row, row));
            }
        });
        with_buffer(2 * d + p.rank, |buffer| {
            for j in 0..self.rank {
                let mut parts = p.split(buffer);
                for i in 0..d {
                    parts.b[i] = self.scale[i] / p.scale[i] * self.w_row(i)[j];
                }
                p.whiten(&mut parts);
                square += quadratic(&parts);
            }
        });
        self.log_peak() - p.log_peak() + 0.5 * (square - d as f64)
    }
}
