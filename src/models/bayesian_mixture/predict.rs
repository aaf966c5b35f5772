//! What is believed of rows, old or new: a mixture of Student's t.

use rand::{Rng, RngExt};

use super::MixturePosterior;
use crate::data::Observations;
use crate::error::Error;
use crate::models::components::{Components, Shape, has_gap};
use crate::models::shares::{most_probable, share};
use crate::noise::fill_normal;
use crate::scratch::with_buffer;
use crate::special::{LN_SQRT_2PI, log_gamma};
use crate::triangle;

/// The predictive density of each component: Student's t, one over all columns or one a column.
struct Students {
    /// `ln weight_k` and the normaliser; a square of 0.
    constant: Vec<f64>,
    /// `ln weight_k`, less the logarithm of the determinant of the scale.
    bare: Vec<f64>,
    /// Degrees of freedom, one a component.
    degrees: Vec<f64>,
    /// Half the sum of degrees and columns.
    power: Vec<f64>,
    /// Whitens a row, but for the degrees.
    white: Components,
    /// Whether columns are independent given the label.
    apart: bool,
}

impl Students {
    fn new(q: &MixturePosterior) -> Students {
        let belief = &q.belief;
        let (layout, k) = (belief.layout, belief.len());
        let (dim, block) = (layout.dim, layout.block() as f64);
        let mut white = Components::new(k, dim, layout.shape());
        white.mean.copy_from_slice(&belief.mean);
        let (each, len) = (layout.shape().len(dim), layout.len());
        let (mut constant, mut bare) = (q.weights(), vec![0.0; k]);
        let (mut degrees, mut power) = (vec![0.0; k], vec![0.0; k]);
        let blocks = len / triangle::len(layout.block());
        // columns of one t
        let joint = block * layout.repeats();
        for k in 0..k {
            let g = layout.group(k);
            let freedom = belief.degrees[g] + 1.0 - block;
            let spread = (1.0 + 1.0 / belief.worth[k]) / freedom;
            let root = &belief.root[g * len..(g + 1) * len];
            let w = &mut white.factor[k * each..(k + 1) * each];
            layout.write_precision(root, w);
            w.iter_mut().for_each(|w| *w /= spread.sqrt());
            (degrees[k], power[k]) = (freedom, 0.5 * (freedom + joint));
            let log_det = layout.log_det(root) + 0.5 * dim as f64 * spread.ln();
            bare[k] = constant[k].ln() - log_det;
            constant[k] = constant[k].ln() + blocks as f64 * normalizer(freedom, joint) - log_det;
        }
        Students { constant, bare, degrees, power, white, apart: blocks > 1 }
    }

    /// Writes `ln weight_k t_k(x)`.
    fn logs(&self, x: &[f64], out: &mut [f64]) {
        let gap = has_gap(x);
        for (k, out) in out.iter_mut().enumerate() {
            if gap {
                *out = self.log_of_cells(k, x);
                continue;
            }
            let tail = |square: f64| (square / self.degrees[k]).ln_1p();
            let (mean, w) = (self.white.mean(k), self.white.factor(k));
            let tails = match (self.apart, self.white.shape) {
                (true, Shape::Diagonal) => {
                    let columns = x.iter().zip(mean).zip(w);
                    columns.map(|((x, m), w)| tail(((x - m) * w).powi(2))).sum()
                }
                _ => tail(-2.0 * self.white.log_rho(k, x)),
            };
            *out = self.constant[k] - self.power[k] * tails;
        }
    }

    /// The same of the cells that are there: those of a Student's t have one, with the same degrees
    /// of freedom and their part of the scale.
    fn log_of_cells(&self, k: usize, x: &[f64]) -> f64 {
        let freedom = self.degrees[k];
        let there = x.iter().filter(|x| !x.is_nan()).count() as f64;
        self.white.partial(k, x, |at| {
            // the determinant of the part is that of all times that of the missing part's precision
            let log_det = at.gain() - at.missing.len() as f64 * LN_SQRT_2PI;
            if self.apart {
                let w = self.white.factor(k);
                let tails = at.y.iter().zip(w).map(|(y, w)| ((y * w).powi(2) / freedom).ln_1p());
                // what is expected of a missing cell adds nothing
                let tails = self.power[k] * tails.sum::<f64>();
                return self.bare[k] + log_det + there * normalizer(freedom, 1.0) - tails;
            }
            let tail = 0.5 * (freedom + there) * (at.square / freedom).ln_1p();
            self.bare[k] + log_det + normalizer(freedom, there) - tail
        })
    }
}

/// The logarithm of the normaliser of a Student's t of so many columns, with a scale of 1.
fn normalizer(freedom: f64, columns: f64) -> f64 {
    log_gamma(0.5 * (freedom + columns))
        - log_gamma(0.5 * freedom)
        - 0.5 * columns * (freedom * std::f64::consts::PI).ln()
}

impl MixturePosterior {
    /// The probabilities that a further row like each of these belongs to the components, `K x n`:
    /// those of one row side by side. For the rows of the data, [`MixturePosterior::labels`] has
    /// what the fit says of them.
    ///
    /// # Errors
    /// Rows of another length.
    pub fn responsibilities(&self, rows: &Observations) -> Result<Vec<f64>, Error> {
        self.expect(rows)?;
        let (students, k) = (Students::new(self), self.len());
        let mut out = vec![0.0; rows.len() * k];
        for (x, out) in rows.rows().zip(out.chunks_exact_mut(k)) {
            students.logs(x, out);
            share(out);
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

    /// The log predictive density of each row in nats, whatever its weight: parameters are averaged
    /// over, not plugged in. Of a row with missing cells, that of the cells it has.
    ///
    /// ```
    /// use elbo::data::{OLD_FAITHFUL, Observations};
    /// use elbo::models::BayesianMixture;
    /// let rows = |part: &[[f64; 2]]| Observations::new(part.iter().flatten().copied().collect(), 2);
    /// let (seen, held_out) = OLD_FAITHFUL.split_at(200);
    /// let best = BayesianMixture::new(rows(seen)?, 6)?.fit(1)?;
    /// let score = best.fit.q.score(&rows(held_out)?)?;
    /// let mean = score.iter().sum::<f64>() / score.len() as f64;
    /// assert!((mean + 4.13).abs() < 0.05, "{mean}");
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`MixturePosterior::responsibilities`].
    pub fn score(&self, rows: &Observations) -> Result<Vec<f64>, Error> {
        self.expect(rows)?;
        let (students, mut logs) = (Students::new(self), vec![0.0; self.len()]);
        let score = |x: &[f64]| {
            students.logs(x, &mut logs);
            share(&mut logs)
        };
        Ok(rows.rows().map(score).collect())
    }

    /// The log predictive density of a single row, or of the cells it has; NaN where it has another
    /// length.
    pub fn log_density(&self, x: &[f64]) -> f64 {
        if x.len() != self.belief.layout.dim {
            return f64::NAN;
        }
        let mut logs = vec![0.0; self.len()];
        Students::new(self).logs(x, &mut logs);
        share(&mut logs)
    }

    /// Draws `n` rows from the predictive density, one after another, and their labels: parameters
    /// anew for each.
    ///
    /// ```
    /// use elbo::data::{IRIS, Observations};
    /// use elbo::models::BayesianMixture;
    /// use elbo::{Purpose, stream};
    /// let data = Observations::new(IRIS.iter().flatten().copied().collect(), 4)?;
    /// let q = BayesianMixture::new(data, 3)?.posterior();
    /// let (rows, labels) = q.predictive_sample(5, &mut stream(1, Purpose::Data, 0));
    /// assert_eq!((rows.len(), labels.len()), (20, 5));
    /// # Ok::<(), elbo::Error>(())
    /// ```
    pub fn predictive_sample(&self, n: usize, rng: &mut dyn Rng) -> (Vec<f64>, Vec<usize>) {
        let (layout, weights) = (self.belief.layout, self.weights());
        let dim = layout.dim;
        let (mut rows, mut labels) = (vec![0.0; n * dim], Vec::with_capacity(n));
        let block = triangle::len(layout.block());
        with_buffer(dim + layout.len(), |buffer| {
            let (noise, factor) = buffer.split_at_mut(dim);
            for row in rows.chunks_exact_mut(dim) {
                let mut left: f64 = rng.random();
                let label = weights.iter().position(|w| {
                    left -= w;
                    left < 0.0
                });
                let k = label.unwrap_or(self.len() - 1);
                labels.push(k);
                let blocks = self.belief.blocks(layout.group(k));
                blocks.zip(factor.chunks_exact_mut(block)).for_each(|(q, out)| q.sample(rng, out));
                fill_normal(rng, noise);
                let spread = (1.0 + 1.0 / self.belief.worth[k]).sqrt();
                for (j, x) in row.iter_mut().enumerate() {
                    *x = self.mean(k)[j] + spread * layout.times(factor, noise, j);
                }
            }
        });
        (rows, labels)
    }
}
