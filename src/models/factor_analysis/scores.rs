//! `Scores`: normal factors of every row, their means linear in the row, their covariance shared by
//! rows that have the same cells.

use std::sync::Arc;

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::gaps::{Columns, Gaps, Sums};
use super::{FactorAnalysis, posterior};
use crate::data::Observations;
use crate::family::Family;
use crate::noise::fill_normal;
use crate::special::LN_SQRT_2PI;
use crate::triangle::{self, Lower};

/// `q(z) = prod_n N(z_n; beta (x_n - mu), M^-1)`, rows in units: the posterior of the factors at some
/// `(W, psi)`, which are its parameters; it does not grow with the number of rows.
///
/// A row with missing cells has the posterior given those it has, and the parameters are `(W, psi, mu)`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct Scores {
    loadings: DMatrix<f64>,
    log_noise: DVector<f64>,
    beta: DMatrix<f64>,
    /// `M^-1`
    covariance: DMatrix<f64>,
    log_det: f64,
    /// `mu` less the centre of the units, where cells are missing.
    shift: Option<DVector<f64>>,
    /// The rows; attached anew by the first E-step after a checkpoint.
    rows: Option<Rows>,
    partial: Option<Partial>,
}

/// Rows with missing cells, what columns say of their factors, and what those add up to.
#[derive(Clone, Debug)]
struct Partial {
    gaps: Arc<Gaps>,
    columns: Columns,
    sums: Sums,
    /// Whether the sums are those of the columns: not before an E-step, nor after `q` was moved.
    current: bool,
}

/// The data, and what rows are moved and divided by.
#[derive(Clone, Debug)]
struct Rows {
    data: Arc<Observations>,
    mean: DVector<f64>,
    unit: DVector<f64>,
}

/// What a file keeps.
#[derive(Serialize, Deserialize)]
struct Saved {
    loadings: DMatrix<f64>,
    log_noise: DVector<f64>,
    #[serde(default)]
    shift: Option<DVector<f64>>,
}

impl From<Scores> for Saved {
    fn from(q: Scores) -> Saved {
        Saved { loadings: q.loadings, log_noise: q.log_noise, shift: q.shift }
    }
}

impl From<Saved> for Scores {
    fn from(saved: Saved) -> Scores {
        Scores::at(saved.loadings, saved.log_noise, saved.shift)
    }
}

impl Scores {
    pub(super) fn at(
        loadings: DMatrix<f64>,
        log_noise: DVector<f64>,
        shift: Option<DVector<f64>>,
    ) -> Scores {
        let (d, k) = loadings.shape();
        let (beta, covariance, log_det) = (DMatrix::zeros(k, d), DMatrix::zeros(k, k), 0.0);
        let (rows, partial) = (None, None);
        let mut q = Scores { loadings, log_noise, beta, covariance, log_det, shift, rows, partial };
        q.refresh();
        q
    }

    fn refresh(&mut self) {
        if let (Some(partial), Some(shift)) = (&mut self.partial, &self.shift) {
            partial.columns.of(&self.loadings, &self.log_noise, shift);
            partial.current = false;
        }
        // Not finite where the parameters are not: then every number made of it says so.
        match posterior(&self.loadings, &self.log_noise) {
            Ok(p) => {
                self.covariance = p.factor.inverse();
                self.log_det = super::log_det(&p.factor);
                self.beta = p.beta;
            }
            Err(_) => self.beta.fill(f64::NAN),
        }
    }

    pub(super) fn attach(&mut self, model: &FactorAnalysis) {
        self.rows.get_or_insert_with(|| Rows {
            data: Arc::clone(&model.data),
            mean: model.mean.clone(),
            unit: model.unit.clone(),
        });
        if let (None, Some(gaps)) = (&self.partial, &model.gaps) {
            let shift = self.shift.get_or_insert_with(|| model.shift.clone());
            let mut columns = Columns::default();
            columns.of(&self.loadings, &self.log_noise, shift);
            let (gaps, sums, current) = (Arc::clone(gaps), Sums::default(), false);
            self.partial = Some(Partial { gaps, columns, sums, current });
        }
    }

    /// The posterior of rows with missing cells at these parameters; what it adds up to is the sums.
    pub(super) fn replace_with_gaps(
        &mut self,
        loadings: &DMatrix<f64>,
        log_noise: &DVector<f64>,
        shift: &DVector<f64>,
    ) -> &Sums {
        self.loadings.copy_from(loadings);
        self.log_noise.copy_from(log_noise);
        let own = self.shift.get_or_insert_with(|| shift.clone());
        own.copy_from(shift);
        let Some(Partial { gaps, columns, sums, current }) = &mut self.partial else {
            unreachable!("rows were attached")
        };
        columns.of(loadings, log_noise, shift);
        gaps.sums(columns, loadings.ncols(), sums);
        *current = true;
        sums
    }

    /// Lends what the rows add up to: as the last E-step left it, or made anew where `q` is not of its
    /// making.
    pub(super) fn with_sums<R>(&self, gaps: &Gaps, f: impl FnOnce(&Sums) -> R) -> R {
        if let Some(Partial { sums, current: true, .. }) = &self.partial {
            return f(sums);
        }
        let (mut columns, mut sums) = (Columns::default(), Sums::default());
        match &self.shift {
            Some(shift) => columns.of(&self.loadings, &self.log_noise, shift),
            // of whole rows, whose mean is the centre
            None => {
                let shift = DVector::zeros(self.log_noise.len());
                columns.of(&self.loadings, &self.log_noise, &shift);
            }
        }
        gaps.sums(&columns, self.loadings.ncols(), &mut sums);
        f(&sums)
    }

    pub(super) fn replace(
        &mut self,
        loadings: &DMatrix<f64>,
        log_noise: &DVector<f64>,
        beta: &DMatrix<f64>,
        factor: &Cholesky<f64, Dyn>,
    ) {
        self.loadings.copy_from(loadings);
        self.log_noise.copy_from(log_noise);
        self.beta.copy_from(beta);
        self.covariance = factor.inverse();
        self.log_det = super::log_det(factor);
    }

    pub(super) fn beta(&self) -> &DMatrix<f64> {
        &self.beta
    }

    pub(super) fn covariance(&self) -> &DMatrix<f64> {
        &self.covariance
    }

    /// `ln |M|`
    pub(super) fn log_det(&self) -> f64 {
        self.log_det
    }

    /// The mean of the factors of row `i`.
    fn mean_of(&self, i: usize) -> DVector<f64> {
        match &self.rows {
            Some(Rows { data, mean, unit }) => {
                let off = DVector::from_column_slice(data.row(i)) - mean;
                &self.beta * off.component_div(unit)
            }
            None => DVector::from_element(self.beta.nrows(), f64::NAN),
        }
    }
}

impl Family for Scores {
    fn dim(&self) -> usize {
        self.rows.as_ref().map_or(0, |rows| rows.data.len()) * self.beta.nrows()
    }
    fn n_params(&self) -> usize {
        let means = self.shift.as_ref().map_or(0, |shift| shift.len());
        self.loadings.len() + self.log_noise.len() + means
    }
    fn params(&self, out: &mut [f64]) {
        let (w, rest) = out.split_at_mut(self.loadings.len());
        let (noise, shift) = rest.split_at_mut(self.log_noise.len());
        w.copy_from_slice(self.loadings.as_slice());
        noise.copy_from_slice(self.log_noise.as_slice());
        if let Some(own) = &self.shift {
            shift.copy_from_slice(own.as_slice());
        }
    }
    fn set_params(&mut self, params: &[f64]) {
        let (w, rest) = params.split_at(self.loadings.len());
        let (noise, shift) = rest.split_at(self.log_noise.len());
        self.loadings.copy_from_slice(w);
        self.log_noise.copy_from_slice(noise);
        if let Some(own) = &mut self.shift {
            own.copy_from_slice(shift);
        }
        self.refresh();
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        let k = self.beta.nrows();
        let n = self.dim() / k.max(1);
        fill_normal(rng, z);
        if let Some(Partial { gaps, columns, .. }) = &self.partial {
            gaps.each_row(columns, k, |i, mean, factor| {
                for draw in z.chunks_exact_mut(n * k) {
                    let z = &mut draw[i * k..(i + 1) * k];
                    Lower::new(k, factor).solve_transposed(z);
                    z.iter_mut().zip(mean).for_each(|(z, m)| *z += m);
                }
            });
            return;
        }
        let Some(factor) = Cholesky::new(self.covariance.clone()) else {
            return z.fill(f64::NAN);
        };
        for (i, z) in z.chunks_exact_mut(k).enumerate() {
            let draw = self.mean_of(i % n) + factor.l() * DVector::from_column_slice(z);
            z.copy_from_slice(draw.as_slice());
        }
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let k = self.beta.nrows();
        if let Some(Partial { gaps, columns, .. }) = &self.partial {
            let mut sum = 0.0;
            let (mut off, mut along) = (vec![0.0; k], vec![0.0; k]);
            gaps.each_row(columns, k, |i, mean, factor| {
                for (at, off) in off.iter_mut().enumerate() {
                    *off = z[i * k + at] - mean[at];
                }
                along.fill(0.0);
                Lower::new(k, factor).add_transposed(&off, &mut along);
                let square = triangle::dot(&along, &along);
                sum += triangle::log_det(factor) - 0.5 * square - k as f64 * LN_SQRT_2PI;
            });
            return sum;
        }
        let Some(factor) = Cholesky::new(self.covariance.clone()) else { return f64::NAN };
        let one = |(i, z): (usize, &[f64])| {
            let off = DVector::from_column_slice(z) - self.mean_of(i);
            let quadratic = off.dot(&factor.solve(&off));
            0.5 * (self.log_det - quadratic) - k as f64 * LN_SQRT_2PI
        };
        z.chunks_exact(k).enumerate().map(one).sum()
    }
    fn entropy(&self) -> Option<f64> {
        let k = self.beta.nrows();
        let n = self.dim() / k.max(1);
        if let Some(Partial { gaps, columns, .. }) = &self.partial {
            let mut log_det = 0.0;
            gaps.each_row(columns, k, |_, _, factor| log_det += triangle::log_det(factor));
            return Some(n as f64 * k as f64 * (0.5 + LN_SQRT_2PI) - log_det);
        }
        Some(n as f64 * (k as f64 * (0.5 + LN_SQRT_2PI) - 0.5 * self.log_det))
    }
}
