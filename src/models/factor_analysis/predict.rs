//! What factors say of rows, old or new: how well they fit, their factors, gaps filled, draws.

use nalgebra::DVector;

use super::{FactorAnalysis, log_det, posterior};
use crate::data::Observations;
use crate::error::Error;
use crate::noise::{Purpose, fill_normal, stream};
use crate::special::LN_SQRT_2PI;

impl FactorAnalysis {
    /// A row, less its mean, in units.
    pub(super) fn off(&self, row: &[f64]) -> DVector<f64> {
        DVector::from_fn(row.len(), |j, _| (row[j] - self.mean[j]) / self.unit[j])
    }

    /// The log likelihood of each row of other data, in nats; where cells are missing that of the
    /// others, 0 where all are.
    ///
    /// # Errors
    /// Another number of columns.
    pub fn score(&self, data: &Observations) -> Result<Vec<f64>, Error> {
        Error::expect_len("a row", data.dim(), "a row of the model", self.mean.len())?;
        let p = posterior(&self.loadings, &self.log_noise)?;
        let peak = -(self.mean.len() as f64) * LN_SQRT_2PI
            - 0.5 * (log_det(&p.factor) + self.log_noise.sum())
            - self.log_units();
        let columns = data.has_missing().then(|| self.columns());
        let one = |row: &[f64]| {
            if let Some(columns) = &columns
                && row.iter().any(|x| x.is_nan())
            {
                return self.score_of_part(columns, row);
            }
            let off = self.off(row);
            let through = &off - &self.loadings * (&p.beta * &off);
            let terms = (0..off.len()).map(|j| off[j] * through[j] * (-self.log_noise[j]).exp());
            peak - 0.5 * terms.sum::<f64>()
        };
        Ok(data.rows().map(one).collect())
    }

    /// What the factors of each row of data are expected to be, given the cells it has, one row after
    /// another (`q x n`).
    ///
    /// # Errors
    /// Another number of columns.
    pub fn predict(&self, data: &Observations) -> Result<Vec<f64>, Error> {
        Error::expect_len("a row", data.dim(), "a row of the model", self.mean.len())?;
        if data.has_missing() {
            return Ok(self.factors_of_parts(data));
        }
        let p = posterior(&self.loadings, &self.log_noise)?;
        let one = |row: &[f64]| &p.beta * self.off(row);
        Ok(data.rows().flat_map(|row| one(row).as_slice().to_vec()).collect())
    }

    /// The rows with their gaps filled, one row after another (`d x n`): a cell that is missing by what
    /// it is expected to be given those of its row that are there, `mu + W E[z | x_o]`; the others as
    /// they are.
    ///
    /// # Errors
    /// Another number of columns.
    pub fn reconstruct(&self, data: &Observations) -> Result<Vec<f64>, Error> {
        let z = self.predict(data)?;
        Ok(self.filled(data, &z))
    }

    /// Draws `n` new rows, one after another.
    pub fn sample(&self, n: usize, seed: u64) -> Vec<f64> {
        let (d, q) = self.loadings.shape();
        let mut noise = vec![0.0; n * (d + q)];
        fill_normal(&mut stream(seed, Purpose::Data, 0), &mut noise);
        let one = |noise: &[f64]| {
            let mut row = &self.loadings * DVector::from_column_slice(&noise[..q]);
            for j in 0..d {
                row[j] += (0.5 * self.log_noise[j]).exp() * noise[q + j];
                row[j] = self.mean[j] + self.unit[j] * row[j];
            }
            row.as_slice().to_vec()
        };
        noise.chunks_exact(d + q).flat_map(one).collect()
    }
}
