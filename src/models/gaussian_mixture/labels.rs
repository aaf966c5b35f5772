//! `Labels`: the distribution of the labels of the rows, kept as what a row's label depends on.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::bijector::Support;
use crate::data::Source;
use crate::family::Family;
use crate::lossless;
use crate::models::components::{self, Components, Moments, Rows};
use crate::scratch::with_buffer;

/// Independent labels, one a row:
///
/// ```text
/// q(z_n = k) = rho_k(x_n) / sum_j rho_j(x_n),   ln rho_k(x) = constant_k - |W_k (x - mean_k)|^2 / 2
/// ```
///
/// with the missing cells of a row integrated out of `rho_k`. Every such `q` is the posterior of some
/// mixture. It keeps the constants, means and factors, and, after an E-step, the sums over rows that
/// the M-step needs; not the probabilities of single rows, which [`Labels::responsibilities`] makes
/// anew from the data.
///
/// Read back from a file it has no data until the next E-step: until then draws and densities are
/// NaN, as they are where the rows' own file ([`RowFile`](crate::data::RowFile)) cannot be read.
/// After a step of [`NaturalStep`](crate::NaturalStep) with a rate below 1 the sums are running
/// averages over steps (Cappe and Moulines 2009); draws and densities are those of the last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Labels {
    #[serde(skip)]
    pub(in crate::models) data: Option<Source>,
    n: usize,
    pub(in crate::models) components: Components,
    pub(in crate::models) moments: Moments,
    /// Of the rows that made the moments: of the labels, and of missing cells given the labels.
    #[serde(with = "lossless::one")]
    pub(in crate::models) entropy: f64,
    #[serde(skip)]
    pub(super) fresh: Moments,
}

impl Labels {
    pub(in crate::models) fn new(data: Source, components: Components) -> Labels {
        let n = data.view().len();
        let (moments, fresh) = Default::default();
        Labels { data: Some(data), n, components, moments, entropy: f64::NAN, fresh }
    }

    /// The probabilities of the labels of all rows, `K x n`: those of one row side by side.
    pub fn responsibilities(&self) -> Vec<f64> {
        let k = self.components.len();
        let mut out = vec![f64::NAN; self.n * k];
        if let Some(data) = &self.data {
            self.write(Rows::new(data, None), &mut out);
        }
        out
    }

    /// The same for the rows listed.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn responsibilities_of(&self, rows: &[usize]) -> Vec<f64> {
        let k = self.components.len();
        let mut out = vec![f64::NAN; rows.len() * k];
        if let Some(data) = &self.data
            && !rows.is_empty()
        {
            self.write(Rows::new(data, Some(rows)), &mut out);
        }
        out
    }

    /// The probabilities of the labels of these rows; NaN if a file cannot be read.
    fn write(&self, rows: Rows<'_>, out: &mut [f64]) {
        if components::labels(&self.components, rows, out, &mut []).is_err() {
            out.fill(f64::NAN);
        }
    }

    /// `N_k`: how many rows, by weight, are expected in component `k`; NaN before an E-step.
    pub fn expected_count(&self, k: usize) -> f64 {
        if self.moments.is_empty() { f64::NAN } else { self.moments.count(k) }
    }
}

impl Family for Labels {
    fn dim(&self) -> usize {
        self.n
    }
    fn support(&self, _: usize) -> Support {
        Support::Category(u32::try_from(self.components.len()).unwrap_or(u32::MAX))
    }
    fn n_params(&self) -> usize {
        let c = &self.components;
        c.constant.len() + c.mean.len() + c.factor.len()
    }
    fn params(&self, out: &mut [f64]) {
        let c = &self.components;
        let all = c.constant.iter().chain(&c.mean).chain(&c.factor);
        out.iter_mut().zip(all).for_each(|(out, x)| *out = *x);
    }
    fn set_params(&mut self, params: &[f64]) {
        let c = &mut self.components;
        let all = c.constant.iter_mut().chain(&mut c.mean).chain(&mut c.factor);
        all.zip(params).for_each(|(x, p)| *x = *p);
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        let Some(data) = &self.data else { return z.fill(f64::NAN) };
        with_buffer(self.components.len(), |p| {
            let read = data.view().each_row(|i, x| {
                self.components.probabilities(x, p);
                for draw in z.chunks_exact_mut(self.n) {
                    let mut left: f64 = rng.random();
                    let label = p.iter().position(|p| {
                        left -= p;
                        left < 0.0
                    });
                    draw[i] = label.unwrap_or(p.len() - 1) as f64;
                }
                true
            });
            if read.is_err() {
                z.fill(f64::NAN);
            }
        });
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let mut out = [0.0];
        self.log_prob_batch(z, &mut out);
        out[0]
    }
    fn log_prob_batch(&self, z: &[f64], out: &mut [f64]) {
        let Some(data) = &self.data else { return out.fill(f64::NAN) };
        out.fill(0.0);
        with_buffer(self.components.len(), |p| {
            let read = data.view().each_row(|i, x| {
                let normalizer = self.components.probabilities(x, p);
                for (z, out) in z.chunks_exact(self.n).zip(out.iter_mut()) {
                    let label = z[i] as usize;
                    let fits = z[i] >= 0.0 && z[i].fract() == 0.0 && label < p.len();
                    *out += match fits {
                        true => self.components.log_rho(label, x) - normalizer,
                        false => f64::NEG_INFINITY,
                    };
                }
                true
            });
            if read.is_err() {
                out.fill(f64::NAN);
            }
        });
    }
    fn entropy(&self) -> Option<f64> {
        self.entropy.is_finite().then_some(self.entropy - self.moments.entropy_of_missing)
    }
}
