//! `Curvature`: the covariance that the Hessian of the log joint stands for.

use nalgebra::{DMatrix, SymmetricEigen};

use crate::bijector::Support;
use crate::error::Error;
use crate::model::{Model, TwiceDifferentiable};
use crate::special::LN_SQRT_2PI;
use crate::triangle::{self, Lower};

/// Pivots of the matrix scaled to a unit diagonal below this are rounding.
const PIVOT: f64 = 1e-13;
/// The least eigenvalue a repaired matrix has, relative to the largest.
const FLOOR: f64 = 1e-6;

/// The normal that fits the log joint at a point: `covariance = (-H)^-1 = L L^T`.
#[derive(Clone, Debug, PartialEq)]
pub struct Curvature {
    /// `L`, lower triangular with a positive diagonal, row by row: `d (d + 1) / 2` numbers.
    pub factor: Vec<f64>,
    /// What had to be changed to make `-H` positive definite; `None` if nothing.
    pub repaired: Option<String>,
    dim: usize,
}

impl Curvature {
    /// `L` as a `d x d` matrix.
    pub fn cholesky(&self) -> DMatrix<f64> {
        let d = self.dim;
        DMatrix::from_fn(d, d, |i, j| if j <= i { self.factor[i * (i + 1) / 2 + j] } else { 0.0 })
    }

    /// `log det L`
    pub fn log_det(&self) -> f64 {
        (0..self.dim).map(|i| self.factor[i * (i + 3) / 2].ln()).sum()
    }

    /// Laplace's approximation to the log evidence, in nats, if the point is a mode with this log
    /// joint: `log p(x, z) + (d / 2) log 2 pi + log det L`.
    pub fn log_evidence(&self, log_joint: f64) -> f64 {
        log_joint + self.dim as f64 * LN_SQRT_2PI + self.log_det()
    }
}

/// The normal with the curvature of the log joint at `z`, from `d` Hessian products.
///
/// Where minus the Hessian is not positive definite, it is scaled to a unit diagonal and its
/// eigenvalues are replaced by their sizes, at least `1e-6` of the largest; `repaired` says so.
///
/// # Errors
/// E08 names a coordinate whose row of the Hessian is zero; E15 names one where it is not finite.
pub fn curvature<M: TwiceDifferentiable>(model: &M, z: &[f64]) -> Result<Curvature, Error> {
    let d = model.dim();
    Error::expect_len("the point", z.len(), "the model", d)?;
    let names = || model.space().coordinate_names();
    let mut grad = vec![0.0; d];
    let precision = precision(model, z, &mut grad);
    for i in 0..d {
        let row = precision.row(i);
        if row.iter().any(|h| !h.is_finite()) {
            let reason = format!(
                "the Hessian of the log joint is not finite in `{}` at the mode; look for a kink \
                 or an overflow there",
                names().swap_remove(i)
            );
            return Err(Error::Ascent { block: "Laplace".to_string(), reason });
        }
        if row.iter().all(|&h| h == 0.0) {
            let name = names().swap_remove(i);
            if !depends_on(model, z, i) {
                return Err(Error::Improper { name });
            }
            let reason = format!(
                "the Hessian of the log joint is 0 in `{name}`, which it does depend on; look for \
                 a kink, such as |{name}|, or a plateau there"
            );
            return Err(Error::Ascent { block: "Laplace".to_string(), reason });
        }
    }
    let (factor, repaired) = factor_of_inverse(precision, &names);
    Ok(Curvature { factor, repaired, dim: d })
}

/// Whether the log joint changes anywhere along coordinate `i`, near or far; slope and curvature are
/// zero at a kink and on a plateau too.
pub(super) fn depends_on<M: Model>(model: &M, z: &[f64], i: usize) -> bool {
    let here = model.log_joint(z);
    let on_the_line = matches!(model.space().coordinate(i), Some((Support::Real, _)));
    let far: &[f64] = if on_the_line { &[1.0, 30.0, 1e8] } else { &[1.0, 30.0] };
    let mut there = z.to_vec();
    far.iter().flat_map(|by| [z[i] - by, z[i] + by]).any(|to| {
        there[i] = to;
        (model.log_joint(&there) - here).abs() > 1e-9 * here.abs().max(1.0)
    })
}

/// Minus the Hessian of the log joint, symmetric, and the gradient of the log joint.
pub(crate) fn precision<M: TwiceDifferentiable>(
    model: &M,
    z: &[f64],
    grad: &mut [f64],
) -> DMatrix<f64> {
    let d = z.len();
    let mut hessian = DMatrix::zeros(d, d);
    let mut v = vec![0.0; d];
    for (i, mut column) in hessian.column_iter_mut().enumerate() {
        v[i] = 1.0;
        model.hess_vec(z, &v, grad, column.as_mut_slice());
        v[i] = 0.0;
    }
    -0.5 * (&hessian + hessian.transpose())
}

/// The factor that brings a symmetric matrix to unit diagonal.
pub(super) fn unit_diagonal(matrix: &DMatrix<f64>) -> Vec<f64> {
    let largest = matrix.amax().max(f64::MIN_POSITIVE);
    let size =
        |i: usize| matrix[(i, i)].abs().max(1e-14 * matrix.row(i).amax()).max(1e-300 * largest);
    (0..matrix.nrows()).map(|i| size(i).max(f64::MIN_POSITIVE).sqrt().recip()).collect()
}

/// Scales row and column `i` by `scale[i]`.
pub(super) fn rescale(matrix: &mut DMatrix<f64>, scale: &[f64]) {
    let d = scale.len();
    for j in 0..d {
        for i in 0..d {
            matrix[(i, j)] *= scale[i] * scale[j];
        }
    }
}

/// `L` of `matrix^-1 = L L^T`, packed row by row, and what was repaired on the way.
pub(crate) fn factor_of_inverse(
    mut matrix: DMatrix<f64>,
    names: &dyn Fn() -> Vec<String>,
) -> (Vec<f64>, Option<String>) {
    let d = matrix.nrows();
    let scale = unit_diagonal(&matrix);
    rescale(&mut matrix, &scale);
    let (mut factor, repaired) = match lower_of_inverse(&matrix, PIVOT) {
        Some(lower) => (lower, None),
        None => {
            let (mended, words) = mend(matrix, names);
            // Its eigenvalues are bounded away from zero: the second try cannot fail.
            let unit = || triangle::lower_of(d, &DMatrix::identity(d, d));
            let lower = lower_of_inverse(&mended, 0.0).unwrap_or_else(unit);
            (lower, Some(words))
        }
    };
    for i in 0..d {
        factor[triangle::len(i)..triangle::len(i + 1)].iter_mut().for_each(|l| *l *= scale[i]);
    }
    (factor, repaired)
}

/// `L` of `matrix^-1 = L L^T`, row by row; `None` where a pivot is not above `least`.
fn lower_of_inverse(matrix: &DMatrix<f64>, least: f64) -> Option<Vec<f64>> {
    let d = matrix.nrows();
    let flip = |i: usize| d - 1 - i;
    // With rows and columns reversed, C C^T = J M J gives M = U U^T, U = J C J upper triangular;
    // then M^-1 = U^-T U^-1, and U^-T is lower triangular already.
    let mut c: Vec<f64> =
        (0..d).flat_map(|i| (0..=i).map(move |j| matrix[(flip(i), flip(j))])).collect();
    triangle::factorize(&mut c);
    let pivot = triangle::least_pivot(d, &c);
    if pivot <= least || pivot == 0.0 {
        return None;
    }
    let entry = |i: usize, j: usize| c[triangle::len(flip(j)) + flip(i)];
    let u: Vec<f64> = (0..d).flat_map(|i| (0..=i).map(move |j| entry(i, j))).collect();
    Some(Lower::new(d, &u).inverse())
}

/// The same eigenvectors with positive eigenvalues, and a sentence about it.
fn mend(matrix: DMatrix<f64>, names: &dyn Fn() -> Vec<String>) -> (DMatrix<f64>, String) {
    let d = matrix.nrows();
    let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(matrix);
    let largest = eigenvalues.amax().max(f64::MIN_POSITIVE);
    let mended = eigenvalues.map(|e| e.abs().max(FLOOR * largest));
    let changed = (0..d).filter(|&i| mended[i] != eigenvalues[i]).count();
    let worst = eigenvalues.imin();
    let along = eigenvectors.column(worst);
    let mut order: Vec<usize> = (0..d).collect();
    order.sort_by(|&i, &j| along[j].abs().total_cmp(&along[i].abs()));
    let names = names();
    let share = |&&i: &&usize| along[i].abs() > 0.3 * along.amax();
    let most: Vec<String> =
        order.iter().take(3).filter(share).map(|&i| format!("`{}`", names[i])).collect();
    let words = format!(
        "minus the Hessian is not positive definite there (smallest eigenvalue {:.1e} with a unit \
         diagonal, mostly along {}): {changed} of {d} eigenvalues were replaced by their sizes, at \
         least {FLOOR:e} of the largest",
        eigenvalues[worst],
        most.join(", ")
    );
    let scaled = DMatrix::from_fn(d, d, |i, j| eigenvectors[(i, j)] * mended[j]);
    (scaled * eigenvectors.transpose(), words)
}
