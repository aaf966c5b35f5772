//! `Affine`: the map `z = shift + A y`, with `A` a lower triangle or a diagonal.

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use super::Bijection;
use crate::error::Error;
use crate::family::FullRankGaussian;
use crate::triangle::{self, Lower};

/// `z = shift + A y`, `A` lower triangular with a positive diagonal, or diagonal: the way back
/// from the coordinates of a [`Whitened`](crate::Whitened) model.
///
/// ```
/// use elbo::{Affine, DMatrix, FullRankGaussian};
/// let a = DMatrix::from_row_slice(2, 2, &[2.0, 0.0, 1.0, 3.0]);
/// let map = Affine::new(vec![1.0, -1.0], &a)?;
/// // the image of a Gaussian is a Gaussian
/// let q = FullRankGaussian::standard(2).affine_image(&map)?;
/// assert_eq!(q.mean(), [1.0, -1.0]);
/// assert!((q.covariance() - &a * a.transpose()).amax() < 1e-14);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Affine {
    shift: Vec<f64>,
    scale: Scale,
    log_det: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Scale {
    Diagonal(Vec<f64>),
    /// Row by row.
    Triangle(Vec<f64>),
}

impl Affine {
    /// Shift and lower triangular `A` (`d x d`).
    ///
    /// # Errors
    /// Shapes that do not agree, an entry above the diagonal that is not zero, a diagonal that is
    /// not positive, numbers that are not finite.
    pub fn new(shift: Vec<f64>, a: &DMatrix<f64>) -> Result<Affine, Error> {
        let rows = triangle::from_factor("the matrix", shift.len(), a)?;
        Affine::from_rows(shift, rows)
    }

    /// Shift and the lower triangle of `A` row by row, each row ending at the diagonal
    /// (`d (d + 1) / 2` numbers).
    ///
    /// # Errors
    /// Lengths that do not agree, a diagonal that is not positive, numbers that are not finite.
    pub fn from_rows(shift: Vec<f64>, rows: Vec<f64>) -> Result<Affine, Error> {
        let want = triangle::len(shift.len());
        Error::expect_len("the triangle", rows.len(), "a triangle of the shift's length", want)?;
        check_shift(&shift)?;
        for (i, row) in triangle::rows(&rows).enumerate() {
            if let Some(j) = (0..=i).find(|&j| !row[j].is_finite()) {
                return Err(Error::option(&format!("A[{i}, {j}]"), row[j], "it must be finite"));
            }
            check_positive(i, row[i])?;
        }
        let log_det = triangle::log_det(&rows);
        Ok(Affine { shift, scale: Scale::Triangle(rows), log_det })
    }

    /// Shift and the diagonal of `A`.
    ///
    /// # Errors
    /// Lengths that do not agree, a scale that is not positive, numbers that are not finite.
    pub fn diagonal(shift: Vec<f64>, scale: &[f64]) -> Result<Affine, Error> {
        Error::expect_len("the shift", shift.len(), "the scale", scale.len())?;
        check_shift(&shift)?;
        for (i, &s) in scale.iter().enumerate() {
            check_positive(i, s)?;
        }
        let log_det = scale.iter().map(|s| s.ln()).sum();
        Ok(Affine { shift, scale: Scale::Diagonal(scale.to_vec()), log_det })
    }

    /// What 0 is mapped to.
    pub fn shift(&self) -> &[f64] {
        &self.shift
    }

    /// Writes `A y` of every point, one after another.
    pub(crate) fn turn(&self, y: &[f64], z: &mut [f64]) {
        let d = self.shift.len().max(1);
        match &self.scale {
            Scale::Diagonal(a) => {
                for (y, z) in y.chunks_exact(d).zip(z.chunks_exact_mut(d)) {
                    z.iter_mut().zip(a).zip(y).for_each(|((z, a), y)| *z = a * y);
                }
            }
            Scale::Triangle(a) => Lower::new(self.shift.len(), a).multiply(y, z),
        }
    }

    /// Adds `A^T dz` of every point to `dy`.
    pub(crate) fn add_turned_back(&self, dz: &[f64], dy: &mut [f64]) {
        let d = self.shift.len().max(1);
        match &self.scale {
            Scale::Diagonal(a) => {
                for (dz, dy) in dz.chunks_exact(d).zip(dy.chunks_exact_mut(d)) {
                    dy.iter_mut().zip(a).zip(dz).for_each(|((dy, a), dz)| *dy += a * dz);
                }
            }
            Scale::Triangle(a) => Lower::new(self.shift.len(), a).add_transposed(dz, dy),
        }
    }

    /// Replaces every point in `x` by `A^-1 x`.
    fn solve(&self, x: &mut [f64]) {
        match &self.scale {
            Scale::Diagonal(a) => self.divide(a, x),
            Scale::Triangle(a) => Lower::new(self.shift.len(), a).solve(x),
        }
    }

    fn divide(&self, a: &[f64], x: &mut [f64]) {
        for x in x.chunks_exact_mut(a.len().max(1)) {
            x.iter_mut().zip(a).for_each(|(x, a)| *x /= a);
        }
    }

    /// Replaces every point in `x` by `A^-T x`.
    pub(super) fn solve_transposed(&self, x: &mut [f64]) {
        match &self.scale {
            Scale::Diagonal(a) => self.divide(a, x),
            Scale::Triangle(a) => Lower::new(self.shift.len(), a).solve_transposed(x),
        }
    }
}

fn check_shift(shift: &[f64]) -> Result<(), Error> {
    match shift.iter().position(|s| !s.is_finite()) {
        Some(i) => Err(Error::option(&format!("shift[{i}]"), shift[i], "it must be finite")),
        None => Ok(()),
    }
}

fn check_positive(i: usize, a: f64) -> Result<(), Error> {
    if a > 0.0 && a.is_finite() {
        return Ok(());
    }
    Err(Error::option(&format!("A[{i}, {i}]"), a, "the diagonal must be positive and finite"))
}

impl Bijection for Affine {
    fn dim(&self) -> usize {
        self.shift.len()
    }
    fn forward(&self, y: &[f64], z: &mut [f64]) -> f64 {
        let mut log_det = [0.0];
        self.forward_batch(y, z, &mut log_det);
        log_det[0]
    }
    fn forward_batch(&self, y: &[f64], z: &mut [f64], log_det: &mut [f64]) {
        self.turn(y, z);
        for z in z.chunks_exact_mut(self.dim().max(1)) {
            triangle::add_scaled(1.0, &self.shift, z);
        }
        log_det.fill(self.log_det);
    }
    fn inverse(&self, z: &[f64], y: &mut [f64]) -> Option<f64> {
        let mut log_det = [0.0];
        self.inverse_batch(z, y, &mut log_det);
        Some(log_det[0])
    }
    fn inverse_batch(&self, z: &[f64], y: &mut [f64], log_det: &mut [f64]) {
        let d = self.dim().max(1);
        for (z, y) in z.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
            y.iter_mut().zip(z).zip(&self.shift).for_each(|((y, z), s)| *y = z - s);
        }
        self.solve(y);
        log_det.fill(self.log_det);
    }
    fn pull_back(&self, _y: &[f64], dz: &[f64], _weight: f64, dy: &mut [f64]) {
        self.add_turned_back(dz, dy);
    }
    fn constant_log_det(&self) -> Option<f64> {
        Some(self.log_det)
    }
}

impl FullRankGaussian {
    /// The distribution of `shift + A z`: a Gaussian again, exactly.
    ///
    /// # Errors
    /// Dimensions that do not agree; an image whose numbers overflow.
    pub fn affine_image(&self, map: &Affine) -> Result<FullRankGaussian, Error> {
        let d = self.mean().len();
        Error::expect_len("the family", d, "the map", map.dim())?;
        let mut mean = vec![0.0; d];
        map.forward(self.mean(), &mut mean);
        let own = self.triangle();
        let mut product = vec![0.0; triangle::len(d)];
        for i in 0..d {
            let to = &mut product[triangle::len(i)..triangle::len(i + 1)];
            match &map.scale {
                Scale::Diagonal(a) => {
                    let row = &own[triangle::len(i)..triangle::len(i + 1)];
                    triangle::add_scaled(a[i], row, to);
                }
                Scale::Triangle(a) => {
                    let a = &a[triangle::len(i)..triangle::len(i + 1)];
                    for (a, row) in a.iter().zip(triangle::rows(&own)) {
                        triangle::add_scaled(*a, row, to);
                    }
                }
            }
        }
        FullRankGaussian::from_triangle(mean, &product)
    }
}
