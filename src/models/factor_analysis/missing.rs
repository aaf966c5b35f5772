//! Factor analysis of rows with missing cells: what they say of the factors, their likelihood, and EM.

use nalgebra::{DMatrix, DVector};

use super::gaps::{Columns, Gaps, Sums, quadratic};
use super::{FactorAnalysis, LEAST, Scores, Uniqueness};
use crate::data::Observations;
use crate::error::Error;
use crate::scratch::with_buffer;
use crate::special::LN_SQRT_2PI;
use crate::triangle::{self, Lower, factorize, len};
use crate::warning::{Code, Warning};

/// The covariance of the data about `mean`, divisor the weight of the rows; where cells are missing
/// that of the cells there are, each over the root of the product of both columns' weights: with the
/// mean in place of a gap, but for the variances, which are those of the cells.
pub(super) fn covariance(data: &Observations, mean: &DVector<f64>) -> DMatrix<f64> {
    let d = data.dim();
    let mut covariance = DMatrix::zeros(d, d);
    let mut off = DVector::zeros(d);
    let mut seen = DVector::<f64>::zeros(d);
    for (i, row) in data.rows().enumerate() {
        off.copy_from_slice(row);
        off -= mean;
        let weight = data.weight(i) / data.total_weight();
        if data.has_missing() {
            for j in 0..d {
                if row[j].is_nan() {
                    off[j] = 0.0;
                } else {
                    seen[j] += weight;
                }
            }
        }
        covariance.syger(weight, &off, &off, 1.0);
    }
    covariance.fill_upper_triangle_with_lower_triangle();
    if data.has_missing() {
        for i in 0..d {
            for j in 0..d {
                covariance[(i, j)] /= (seen[i] * seen[j]).sqrt();
            }
        }
    }
    covariance
}

fn not_positive(block: &str, what: &str) -> Error {
    Error::Ascent {
        block: block.to_string(),
        reason: format!("{what} not positive definite; look at the data for extreme values"),
    }
}

impl FactorAnalysis {
    /// Moves the mean to this many units from where they begin.
    pub(super) fn set_shift(&mut self, shift: impl Fn(usize) -> f64) {
        for j in 0..self.mean.len() {
            self.shift[j] = shift(j);
            self.mean[j] = self.centre[j] + self.unit[j] * self.shift[j];
        }
    }

    /// What each column says of the factors of a row that has it.
    pub(super) fn columns(&self) -> Columns {
        let mut columns = Columns::default();
        columns.of(&self.loadings, &self.log_noise, &self.shift);
        columns
    }

    /// A row in units, NaN where a cell is missing.
    fn in_units(&self, row: &[f64], out: &mut [f64]) {
        (0..row.len()).for_each(|j| out[j] = (row[j] - self.centre[j]) / self.unit[j]);
    }

    /// The log density of the cells that a row has.
    pub(super) fn score_of_part(&self, columns: &Columns, row: &[f64]) -> f64 {
        let (d, k) = self.loadings.shape();
        with_buffer(d + k + len(k), |room| {
            let (x, room) = room.split_at_mut(d);
            let (mean, factor) = room.split_at_mut(k);
            self.in_units(row, x);
            columns.of_row(x, mean, factor);
            let one = |j: usize| {
                let off = x[j] - self.shift[j];
                let through: f64 = (0..k).map(|i| self.loadings[(j, i)] * mean[i]).sum();
                let quadratic = off * (off - through) * (-self.log_noise[j]).exp();
                -LN_SQRT_2PI - 0.5 * (self.log_noise[j] + quadratic) - self.unit[j].ln()
            };
            let cells = (0..d).filter(|&j| !x[j].is_nan()).map(one);
            cells.sum::<f64>() - triangle::log_det(factor)
        })
    }

    /// The expected factors of rows of which cells are missing.
    pub(super) fn factors_of_parts(&self, data: &Observations) -> Vec<f64> {
        let mut out = vec![0.0; data.len() * self.loadings.ncols()];
        self.factors_by(&self.columns(), data, &mut out);
        out
    }

    /// The same by what these columns say.
    pub(super) fn factors_by(&self, columns: &Columns, data: &Observations, out: &mut [f64]) {
        let (d, k) = self.loadings.shape();
        with_buffer(d + len(k), |room| {
            let (x, factor) = room.split_at_mut(d);
            for (row, out) in data.rows().zip(out.chunks_exact_mut(k)) {
                self.in_units(row, x);
                columns.of_row(x, out, factor);
            }
        });
    }

    /// The rows with what is missing replaced by `mu + W z`.
    pub(super) fn filled(&self, data: &Observations, z: &[f64]) -> Vec<f64> {
        let (d, k) = self.loadings.shape();
        let mut cells = data.values().to_vec();
        for (row, z) in cells.chunks_exact_mut(d).zip(z.chunks_exact(k)) {
            for (j, x) in row.iter_mut().enumerate().filter(|(_, x)| x.is_nan()) {
                let through: f64 = self.loadings.row(j).iter().zip(z).map(|(w, z)| w * z).sum();
                *x = self.mean[j] + self.unit[j] * through;
            }
        }
        cells
    }

    /// A row less the centre, in units.
    pub(super) fn off_centre(&self, row: &[f64]) -> DVector<f64> {
        DVector::from_fn(row.len(), |j, _| (row[j] - self.centre[j]) / self.unit[j])
    }

    /// `log p(x_o, z)` of a row of weight 1.
    pub(super) fn log_joint_of_part(&self, row: &[f64], z: &DVector<f64>) -> f64 {
        let one = |j: usize| {
            let off = (row[j] - self.mean[j]) / self.unit[j];
            let off =
                off - self.loadings.row(j).iter().zip(z.iter()).map(|(w, z)| w * z).sum::<f64>();
            let quadratic = off * off * (-self.log_noise[j]).exp();
            -LN_SQRT_2PI - 0.5 * (self.log_noise[j] + quadratic) - self.unit[j].ln()
        };
        let cells: f64 = (0..row.len()).filter(|&j| !row[j].is_nan()).map(one).sum();
        cells - z.len() as f64 * LN_SQRT_2PI - 0.5 * z.norm_squared()
    }

    pub(super) fn log_likelihood_with_gaps(&self, gaps: &Gaps) -> f64 {
        let mut sums = Sums::default();
        gaps.sums(&self.columns(), self.loadings.ncols(), &mut sums);
        self.bound(gaps, &sums)
    }

    /// `E[|x_j - mu_j - W_j z|^2]` over the rows that have column `j`.
    fn residual(&self, gaps: &Gaps, sums: &Sums, j: usize) -> f64 {
        let (k, r) = (self.loadings.ncols(), self.loadings.ncols() + 1);
        with_buffer(r, |w| {
            w[0] = self.shift[j];
            (0..k).for_each(|i| w[i + 1] = self.loadings[(j, i)]);
            let cross = triangle::dot(w, &sums.cross[j * r..(j + 1) * r]);
            gaps.square[j] - 2.0 * cross + quadratic(&sums.square[j * len(r)..(j + 1) * len(r)], w)
        })
    }

    /// The bound at the model's parameters, with factors that have these sums.
    fn bound(&self, gaps: &Gaps, sums: &Sums) -> f64 {
        let column = |j: usize| {
            let peak = LN_SQRT_2PI + 0.5 * self.log_noise[j] + self.unit[j].ln();
            let residual = self.residual(gaps, sums, j);
            -gaps.count[j] * peak - 0.5 * residual * (-self.log_noise[j]).exp()
        };
        (0..self.mean.len()).map(column).sum::<f64>() + sums.own
    }

    pub(super) fn step_with_gaps(&self, gaps: &Gaps, q: &mut Scores) -> Result<f64, Error> {
        let sums = q.replace_with_gaps(&self.loadings, &self.log_noise, &self.shift);
        if !sums.own.is_finite() {
            return Err(not_positive("EStep", "the precision of the factors is"));
        }
        Ok(self.bound(gaps, sums))
    }

    /// Regresses each column on `(1, z)` over the rows that have it.
    pub(super) fn maximize_with_gaps(&mut self, gaps: &Gaps, q: &Scores) -> Result<f64, Error> {
        q.with_sums(gaps, |sums| self.maximize_by(gaps, sums))
    }

    fn maximize_by(&mut self, gaps: &Gaps, sums: &Sums) -> Result<f64, Error> {
        let (d, k) = self.loadings.shape();
        let r = k + 1;
        let mut left = 0.0;
        for j in 0..d {
            let own = with_buffer(len(r) + r, |room| {
                let (factor, w) = room.split_at_mut(len(r));
                factor.copy_from_slice(&sums.square[j * len(r)..(j + 1) * len(r)]);
                factorize(factor);
                let cross = &sums.cross[j * r..(j + 1) * r];
                w.copy_from_slice(cross);
                Lower::new(r, factor).solve(w);
                Lower::new(r, factor).solve_transposed(w);
                self.shift[j] = w[0];
                (0..k).for_each(|i| self.loadings[(j, i)] = w[i + 1]);
                gaps.square[j] - triangle::dot(w, cross)
            });
            if !own.is_finite() {
                let what = format!(
                    "the expected squares of the factors of the rows that have column {} are",
                    self.data.label(j)
                );
                return Err(not_positive("MStep", &what));
            }
            // The bound falls on either side of its best psi: the limit is the best of those allowed.
            self.log_noise[j] = (own / gaps.count[j]).max(LEAST).ln();
            left += own;
        }
        if self.uniqueness == Uniqueness::Shared {
            self.log_noise.fill((left / gaps.count.iter().sum::<f64>()).max(LEAST).ln());
        }
        for j in 0..d {
            self.mean[j] = self.centre[j] + self.unit[j] * self.shift[j];
        }
        Ok(self.bound(gaps, sums))
    }

    /// A warning for each column that has fewer cells than it takes numbers.
    pub(super) fn thin_columns(&self) -> Vec<Warning> {
        let least = self.loadings.ncols() + 2;
        let there = |j: usize| self.data.rows().filter(|row| !row[j].is_nan()).count();
        let thin = (0..self.mean.len()).filter(|_| self.gaps.is_some()).map(|j| (j, there(j)));
        thin.filter(|(_, there)| *there < least)
            .map(|(j, there)| {
                let message = format!(
                    "column {} has {there} cells, where mean, loadings and noise are {least} numbers",
                    self.data.label(j)
                );
                Warning::new(Code::AtBoundary, message).try_this("drop the column, or fewer factors")
            })
            .collect()
    }
}
