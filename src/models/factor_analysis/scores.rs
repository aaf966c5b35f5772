//! `Scores`: normal factors of every row, their means linear in the row, their covariance shared.

use std::sync::Arc;

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::posterior;
use crate::data::Observations;
use crate::family::Family;
use crate::noise::fill_normal;
use crate::special::LN_SQRT_2PI;

/// `q(z) = prod_n N(z_n; beta (x_n - mu), M^-1)`, rows in units: the posterior of the factors at some
/// `(W, psi)`, which are its parameters; it does not grow with the number of rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct Scores {
    loadings: DMatrix<f64>,
    log_noise: DVector<f64>,
    beta: DMatrix<f64>,
    /// `M^-1`
    covariance: DMatrix<f64>,
    log_det: f64,
    /// The rows; attached anew by the first E-step after a checkpoint.
    rows: Option<Rows>,
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
}

impl From<Scores> for Saved {
    fn from(q: Scores) -> Saved {
        Saved { loadings: q.loadings, log_noise: q.log_noise }
    }
}

impl From<Saved> for Scores {
    fn from(saved: Saved) -> Scores {
        Scores::at(saved.loadings, saved.log_noise)
    }
}

impl Scores {
    pub(super) fn at(loadings: DMatrix<f64>, log_noise: DVector<f64>) -> Scores {
        let (d, k) = loadings.shape();
        let (beta, covariance) = (DMatrix::zeros(k, d), DMatrix::zeros(k, k));
        let mut q = Scores { loadings, log_noise, beta, covariance, log_det: 0.0, rows: None };
        q.refresh();
        q
    }

    fn refresh(&mut self) {
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

    pub(super) fn attach(
        &mut self,
        data: &Arc<Observations>,
        mean: &DVector<f64>,
        unit: &DVector<f64>,
    ) {
        let rows = || Rows { data: Arc::clone(data), mean: mean.clone(), unit: unit.clone() };
        self.rows.get_or_insert_with(rows);
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
        self.loadings.len() + self.log_noise.len()
    }
    fn params(&self, out: &mut [f64]) {
        let (w, noise) = out.split_at_mut(self.loadings.len());
        w.copy_from_slice(self.loadings.as_slice());
        noise.copy_from_slice(self.log_noise.as_slice());
    }
    fn set_params(&mut self, params: &[f64]) {
        let (w, noise) = params.split_at(self.loadings.len());
        self.loadings.copy_from_slice(w);
        self.log_noise.copy_from_slice(noise);
        self.refresh();
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        let k = self.beta.nrows();
        let n = self.dim() / k.max(1);
        fill_normal(rng, z);
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
        Some(n as f64 * (k as f64 * (0.5 + LN_SQRT_2PI) - 0.5 * self.log_det))
    }
}
