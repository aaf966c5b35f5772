//! What a mixture says of rows, old or new: labels, probabilities, draws, and how well it fits.

use rand::Rng;

use super::DiscreteMixture;
use super::column::{Kind, Levels};
use super::tally::{Tally, tally};
use crate::data::Observations;
use crate::error::Error;
use crate::models::components::InMemory;
use crate::models::gaussian_mixture::Criteria;
use crate::models::shares::most_probable;
use crate::scratch::with_buffer;

impl DiscreteMixture {
    /// The probabilities of the labels of these rows under the parameters, `K x n`: those of one
    /// row side by side.
    ///
    /// # Errors
    /// Rows of another length, or a cell that is not of its column's kind.
    pub fn responsibilities(&self, rows: &Observations) -> Result<Vec<f64>, Error> {
        self.layout.check(rows)?;
        let mut out = vec![0.0; rows.len() * self.len()];
        for (row, out) in rows.rows().zip(out.chunks_exact_mut(self.len())) {
            self.table.probabilities(&self.layout, row, out);
        }
        Ok(out)
    }

    /// The most probable label of each row.
    ///
    /// # Errors
    /// As [`DiscreteMixture::responsibilities`].
    pub fn predict(&self, rows: &Observations) -> Result<Vec<usize>, Error> {
        Ok(most_probable(&self.responsibilities(rows)?, self.len()))
    }

    /// The log probability of each row in nats, whatever its weight: of rows held out, how well they
    /// are predicted. Of a row with missing cells, that of the cells it has.
    ///
    /// ```
    /// use elbo::data::Observations;
    /// use elbo::models::DiscreteMixture;
    /// let model = DiscreteMixture::bernoulli(Observations::new(vec![0.0, 1.0, 1.0], 1)?, 1)?;
    /// let best = model.fit(1)?.fit.model;
    /// let score = best.score(&Observations::new(vec![1.0], 1)?)?;
    /// assert!((score[0] - (2.0f64 / 3.0).ln()).abs() < 1e-9);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`DiscreteMixture::responsibilities`].
    pub fn score(&self, rows: &Observations) -> Result<Vec<f64>, Error> {
        self.layout.check(rows)?;
        Ok(rows.rows().map(|row| self.log_probability(row)).collect())
    }

    /// `ln p(x)` of a row of the right cells.
    pub(super) fn log_probability(&self, row: &[f64]) -> f64 {
        with_buffer(self.len(), |p| {
            self.table.probabilities(&self.layout, row, p) + self.layout.base(row)
        })
    }

    /// Draws `n` rows, one after another, and their labels.
    ///
    /// ```
    /// use elbo::data::Observations;
    /// use elbo::models::DiscreteMixture;
    /// use elbo::{Purpose, stream};
    /// let data = Observations::new(vec![0.0, 2.0, 1.0, 0.0, 2.0, 2.0], 2)?;
    /// let model = DiscreteMixture::categorical(data, 2)?;
    /// let (rows, labels) = model.sample(5, &mut stream(1, Purpose::Data, 0));
    /// assert_eq!((rows.len(), labels.len()), (10, 5));
    /// # Ok::<(), elbo::Error>(())
    /// ```
    pub fn sample(&self, n: usize, rng: &mut dyn Rng) -> (Vec<f64>, Vec<usize>) {
        let dim = self.layout.places.len();
        let (mut rows, mut labels) = (Vec::with_capacity(n * dim), Vec::with_capacity(n));
        for _ in 0..n {
            let k = Levels(self.len()).cell(self.weights(), rng) as usize;
            labels.push(k);
            for (j, place) in self.layout.places.iter().enumerate() {
                rows.push(place.column.kind().cell(self.values(k, j), rng));
            }
        }
        (rows, labels)
    }

    /// `p`: weights less one, and what is free in the values.
    pub fn n_parameters(&self) -> usize {
        self.parameters.theta.len()
    }

    /// Looks at all rows once and says how well the parameters fit: BIC, AIC, ICL.
    pub fn criteria(&self) -> Criteria {
        let mut sums = Tally::default();
        tally(&self.table, &self.layout, InMemory::of(&self.data, None), &mut sums);
        let entropy = sums.log_normalizer - sums.expected_log_rho(&self.table);
        let log_likelihood = sums.log_normalizer + self.base;
        let n = self.data.total_weight();
        Criteria::new(log_likelihood, entropy.max(0.0), self.n_parameters(), n)
    }
}
