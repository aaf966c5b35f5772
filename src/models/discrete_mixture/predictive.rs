//! What is believed of rows, old or new, with the parameters integrated out.

use rand::Rng;

use super::MixturePosterior;
use super::column::{Kind, Levels};
use super::layout::Place;
use super::posterior::each;
use crate::data::Observations;
use crate::error::Error;
use crate::models::shares::{most_probable, share};
use crate::scratch::with_buffer;

impl MixturePosterior {
    /// The probabilities that a further row like each of these belongs to the components, `K x n`:
    /// those of one row side by side. For the rows of the data, [`MixturePosterior::labels`] has
    /// what the fit says of them.
    ///
    /// # Errors
    /// Rows of another length, or a cell that is not of its column's kind.
    pub fn responsibilities(&self, rows: &Observations) -> Result<Vec<f64>, Error> {
        self.layout().check(rows)?;
        let mut out = vec![0.0; rows.len() * self.len()];
        for (row, out) in rows.rows().zip(out.chunks_exact_mut(self.len())) {
            share(self.logs(row, out));
        }
        Ok(out)
    }

    /// The most probable component of each row.
    ///
    /// # Errors
    /// As [`MixturePosterior::responsibilities`].
    pub fn predict(&self, rows: &Observations) -> Result<Vec<usize>, Error> {
        Ok(most_probable(&self.responsibilities(rows)?, self.len()))
    }

    /// The log probability of each row in nats with the parameters integrated out: of rows held out,
    /// how well they are predicted. Of a row with missing cells, that of the cells it has.
    ///
    /// # Errors
    /// As [`MixturePosterior::responsibilities`].
    pub fn score(&self, rows: &Observations) -> Result<Vec<f64>, Error> {
        self.layout().check(rows)?;
        Ok(rows.rows().map(|row| self.log_predictive(row)).collect())
    }

    /// `ln sum_k E[weight_k] prod_j E[p(x_j | value_kj)]`
    pub(super) fn log_predictive(&self, row: &[f64]) -> f64 {
        with_buffer(self.len(), |logs| share(self.logs(row, logs)))
    }

    /// Writes the logarithms that are added up.
    fn logs<'a>(&self, row: &[f64], logs: &'a mut [f64]) -> &'a mut [f64] {
        let weights = self.concentrations();
        let total: f64 = weights.iter().sum();
        logs.iter_mut().zip(weights).for_each(|(log, a)| *log = (a / total).ln());
        each(self.layout(), self.len(), &self.numbers, |k, kind, place, own| {
            let x = row[self.column_of(place)];
            if !x.is_nan() {
                logs[k] += kind.log_predictive(own, x);
            }
        });
        logs
    }

    fn column_of(&self, place: Place) -> usize {
        self.layout().places.partition_point(|p| p.feature < place.feature)
    }

    /// Draws `n` rows from what is predicted, one after another, and their labels: parameters anew
    /// for each.
    ///
    /// ```
    /// use elbo::data::Observations;
    /// use elbo::models::DiscreteMixture;
    /// use elbo::{Purpose, stream};
    /// let data = Observations::new(vec![0.0, 2.0, 1.0, 0.0, 2.0, 2.0], 2)?;
    /// let q = DiscreteMixture::categorical(data, 2)?.bayesian().fit(1)?.fit.q;
    /// let (rows, labels) = q.predictive_sample(5, &mut stream(1, Purpose::Data, 0));
    /// assert_eq!((rows.len(), labels.len()), (10, 5));
    /// # Ok::<(), elbo::Error>(())
    /// ```
    pub fn predictive_sample(&self, n: usize, rng: &mut dyn Rng) -> (Vec<f64>, Vec<usize>) {
        let (layout, weights) = (self.layout(), self.mean_weights());
        let mut rows = vec![0.0; n * layout.places.len()];
        let mut labels = Vec::with_capacity(n);
        let mut values = vec![0.0; layout.values];
        for row in rows.chunks_exact_mut(layout.places.len()) {
            let label = Levels(weights.len()).cell(&weights, rng) as usize;
            labels.push(label);
            each(layout, self.len(), &self.numbers, |k, kind, place, own| {
                if k == label {
                    let values = &mut values[place.values(&**kind)];
                    row[self.column_of(place)] = match kind.draw(own, rng, values) {
                        Ok(()) => kind.cell(values, rng),
                        Err(_) => f64::NAN,
                    };
                }
            });
        }
        (rows, labels)
    }
}
