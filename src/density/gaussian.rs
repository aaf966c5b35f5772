//! `Gaussian`: a normal of many coordinates with everything known, as one node.

use std::sync::Arc;

use nalgebra::DMatrix;

use crate::autodiff::{Primitive, Real};
use crate::error::Error;
use crate::special::LN_SQRT_2PI;
use crate::symmetric;
use crate::triangle::{self, Lower};

/// `log N(x; mean, P^-1) = (1/2) ln det P - (d/2) ln 2 pi - (1/2) (x - mean)' P (x - mean)` for a known
/// mean and a known precision, covariance or Cholesky factor.
///
/// Built once, where the matrix is checked and factorized; evaluated in a log joint over any [`Real`],
/// at all draws in one pass over the lower triangle of `P`. Cheap to clone. Where mean or factor
/// depend on `z`, use [`multivariate_normal`](super::multivariate_normal).
///
/// ```
/// use elbo::{density, from_fn, DMatrix, Model, Space};
/// let covariance = DMatrix::from_row_slice(2, 2, &[4.0, 2.0, 2.0, 2.0]);
/// let prior = density::Gaussian::from_covariance(vec![0.5, 0.0], &covariance)?;
///
/// let mut space = Space::new();
/// let x = space.reals("x", 2);
/// let model = from_fn(space, move |z| prior.log_prob(&z[x]));
/// // x_0 ~ N(0.5, 2), x_1 given x_0 ~ N((x_0 - 0.5) / 2, 1)
/// let by_hand = density::normal(1.5, 0.5, 2.0) + density::normal(0.0, 0.5, 1.0);
/// assert!((model.log_joint(&[1.5, 0.0]) - by_hand).abs() < 1e-14);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gaussian {
    node: Arc<Node>,
}

#[derive(Debug)]
struct Node {
    mean: Vec<f64>,
    /// The lower triangle of the precision, row by row.
    precision: Vec<f64>,
    /// The log density at the mean.
    peak: f64,
}

impl Gaussian {
    /// Mean and precision, the inverse of the covariance (`d x d`).
    ///
    /// # Errors
    /// E03 for shapes that do not agree; E04 for a precision that is not symmetric or not positive
    /// definite; E10 for a mean that is not finite.
    pub fn from_precision(mean: Vec<f64>, precision: &DMatrix<f64>) -> Result<Gaussian, Error> {
        let d = mean.len();
        let factor = triangle::from_covariance("the precision", d, precision)?;
        let half = |i: usize, j: usize| 0.5 * (precision[(i, j)] + precision[(j, i)]);
        let lower = (0..d).flat_map(|i| (0..=i).map(move |j| half(i, j))).collect();
        Gaussian::checked(mean, lower, triangle::log_det(&factor))
    }

    /// Mean and covariance (`d x d`).
    ///
    /// # Errors
    /// As [`Gaussian::from_precision`], of the covariance.
    pub fn from_covariance(mean: Vec<f64>, covariance: &DMatrix<f64>) -> Result<Gaussian, Error> {
        let factor = triangle::from_covariance("the covariance", mean.len(), covariance)?;
        Gaussian::from_triangle(mean, &factor)
    }

    /// Mean and the lower triangular `L` (`d x d`) of `covariance = L L'`.
    ///
    /// # Errors
    /// E03 for shapes that do not agree; E04 for an entry above the diagonal that is not zero or a
    /// diagonal that is not positive; E10 for a mean that is not finite.
    pub fn from_cholesky(mean: Vec<f64>, factor: &DMatrix<f64>) -> Result<Gaussian, Error> {
        let factor = triangle::from_factor("the Cholesky factor", mean.len(), factor)?;
        Gaussian::from_triangle(mean, &factor)
    }

    fn from_triangle(mean: Vec<f64>, factor: &[f64]) -> Result<Gaussian, Error> {
        let inverse = Lower::new(mean.len(), factor).inverse_of_square();
        Gaussian::checked(mean, inverse, -triangle::log_det(factor))
    }

    fn checked(mean: Vec<f64>, precision: Vec<f64>, half_log_det: f64) -> Result<Gaussian, Error> {
        if let Some(i) = mean.iter().position(|m| !m.is_finite()) {
            return Err(Error::option(&format!("mean[{i}]"), mean[i], "a mean must be finite"));
        }
        let peak = half_log_det - mean.len() as f64 * LN_SQRT_2PI;
        Ok(Gaussian { node: Arc::new(Node { mean, precision, peak }) })
    }

    /// The mean.
    pub fn mean(&self) -> &[f64] {
        &self.node.mean
    }

    /// `log N(x; mean, P^-1)`
    ///
    /// # Panics
    /// If `x` is not as long as the mean.
    pub fn log_prob<T: Real>(&self, x: &[T]) -> T {
        let (got, want) = (x.len(), self.node.mean.len());
        assert!(got == want, "the Gaussian has {want} coordinates but was given {got}");
        T::primitive(x, &self.node)
    }
}

impl Primitive for Node {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        let mut out = [0.0];
        self.value_grad_lanes(1, x, &mut out, grad);
        out[0]
    }

    fn value_grad_lanes(&self, lanes: usize, x: &[f64], out: &mut [f64], grad: &mut [f64]) {
        symmetric::multiply(&self.precision, Some(&self.mean), lanes, x, grad);
        out.fill(0.0);
        let rows = x.chunks_exact(lanes).zip(grad.chunks_exact_mut(lanes));
        for ((x, grad), mean) in rows.zip(&self.mean) {
            for l in 0..lanes {
                out[l] -= 0.5 * (x[l] - mean) * grad[l];
                grad[l] = -grad[l];
            }
        }
        out.iter_mut().for_each(|o| *o += self.peak);
    }

    /// `-P v`
    fn hess_vec(&self, _x: &[f64], v: &[f64], out: &mut [f64]) {
        symmetric::multiply(&self.precision, None, 1, v, out);
        out.iter_mut().for_each(|o| *o = -*o);
    }
}
