//! What a mixture says of rows, old or new: labels, densities, draws.

use rand::{Rng, RngExt};

use super::GaussianMixture;
use crate::data::View;
use crate::error::Error;
use crate::models::components::{self, Rows};
use crate::models::shares::most_probable;
use crate::noise::fill_normal;
use crate::scratch::with_buffer;
use crate::triangle;

impl GaussianMixture {
    /// The probabilities of the labels of these rows under the parameters, `K x n`: those of one
    /// row side by side. Of a row with missing cells, as the cells that are there have it.
    ///
    /// # Errors
    /// Rows of another length, or a file that cannot be read any more.
    pub fn responsibilities<'a>(&self, rows: impl Into<View<'a>>) -> Result<Vec<f64>, Error> {
        let rows = self.expect(rows)?;
        let mut out = vec![0.0; rows.len() * self.len()];
        components::labels(&self.components, Rows::new(rows, None), &mut out, &mut [])?;
        Ok(out)
    }

    /// The most probable label of each row.
    ///
    /// # Errors
    /// As [`GaussianMixture::responsibilities`].
    pub fn predict<'a>(&self, rows: impl Into<View<'a>>) -> Result<Vec<usize>, Error> {
        Ok(most_probable(&self.responsibilities(rows)?, self.len()))
    }

    /// The log density of each row in nats, whatever its weight: of rows held out, how well they
    /// are predicted. Of a row with missing cells, that of the cells it has.
    ///
    /// ```
    /// use elbo::data::{OLD_FAITHFUL, Observations};
    /// use elbo::models::GaussianMixture;
    /// let rows = |part: &[[f64; 2]]| Observations::new(part.iter().flatten().copied().collect(), 2);
    /// let (seen, held_out) = OLD_FAITHFUL.split_at(200);
    /// let best = GaussianMixture::new(rows(seen)?, 2)?.fit(1)?;
    /// let score = best.fit.model.score(&rows(held_out)?)?;
    /// let mean = score.iter().sum::<f64>() / score.len() as f64;
    /// assert!((mean + 4.108).abs() < 0.01, "{mean}");
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`GaussianMixture::responsibilities`].
    pub fn score<'a>(&self, rows: impl Into<View<'a>>) -> Result<Vec<f64>, Error> {
        let rows = self.expect(rows)?;
        let (mut p, mut out) = (vec![0.0; rows.len() * self.len()], vec![0.0; rows.len()]);
        components::labels(&self.components, Rows::new(rows, None), &mut p, &mut out)?;
        Ok(out)
    }

    /// `ln p(x)` of a single row, or of the cells it has; NaN where it has another length.
    pub fn log_density(&self, x: &[f64]) -> f64 {
        if x.len() != self.components.dim {
            return f64::NAN;
        }
        with_buffer(self.len(), |p| self.components.probabilities(x, p))
    }

    /// Draws `n` rows, one after another, and their labels.
    ///
    /// ```
    /// use elbo::data::{IRIS, Observations};
    /// use elbo::models::GaussianMixture;
    /// use elbo::{Purpose, stream};
    /// let data = Observations::new(IRIS.iter().flatten().copied().collect(), 4)?;
    /// let model = GaussianMixture::new(data, 3)?;
    /// let (rows, labels) = model.sample(5, &mut stream(1, Purpose::Data, 0));
    /// assert_eq!((rows.len(), labels.len()), (20, 5));
    /// # Ok::<(), elbo::Error>(())
    /// ```
    pub fn sample(&self, n: usize, rng: &mut dyn Rng) -> (Vec<f64>, Vec<usize>) {
        let dim = self.components.dim;
        let (mut rows, mut labels) = (vec![0.0; n * dim], Vec::with_capacity(n));
        let mut noise = vec![0.0; dim];
        for row in rows.chunks_exact_mut(dim) {
            let mut left: f64 = rng.random();
            let label = self.weights().iter().position(|w| {
                left -= w;
                left < 0.0
            });
            let k = label.unwrap_or(self.len() - 1);
            labels.push(k);
            fill_normal(rng, &mut noise);
            let factor = self.parameters.factor(k);
            for (i, x) in row.iter_mut().enumerate() {
                let off = match factor.len() {
                    1 => factor[0] * noise[i],
                    n if n == dim => factor[i] * noise[i],
                    _ => {
                        triangle::dot(&factor[triangle::len(i)..triangle::len(i + 1)], &noise[..=i])
                    }
                };
                *x = self.mean(k)[i] + off;
            }
        }
        (rows, labels)
    }

    fn expect<'a>(&self, rows: impl Into<View<'a>>) -> Result<View<'a>, Error> {
        let rows = rows.into();
        Error::expect_len("a row", rows.dim(), "a row of the data", self.components.dim)?;
        Ok(rows)
    }
}
