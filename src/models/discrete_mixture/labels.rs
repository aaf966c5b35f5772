//! `Labels`: the distribution of the labels of the rows, kept as what a row's label depends on.

use std::sync::Arc;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::tally::{Table, Tally, tally};
use crate::bijector::Support;
use crate::data::Observations;
use crate::family::Family;
use crate::lossless;
use crate::models::components::InMemory;
use crate::scratch::with_buffer;

/// Independent labels, one a row: `q(z_n = k) = rho_k(x_n) / sum_j rho_j(x_n)` with `ln rho_k` linear
/// in what the cells of the row are.
///
/// Every such `q` is the posterior of some mixture. It keeps the coefficients and, after an E-step,
/// the sums over rows that the M-step needs; not the probabilities of single rows, which
/// [`Labels::responsibilities`] makes anew from the data. Read back from a file it has no data until
/// the next E-step: until then draws and densities are NaN.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Labels {
    #[serde(skip)]
    data: Option<Arc<Observations>>,
    n: usize,
    layout: Layout,
    pub(super) table: Table,
    pub(super) tally: Tally,
    /// Of the rows that were summed over.
    #[serde(with = "lossless::one")]
    pub(super) entropy: f64,
    #[serde(skip)]
    fresh: Tally,
}

/// `sum_n w_n ln rho_(z_n)(x_n)`
pub(super) fn log_joint(data: &Observations, layout: &Layout, table: &Table, z: &[f64]) -> f64 {
    let term = |(i, &z): (usize, &f64)| match label(z, table.len()) {
        Some(k) => data.weight(i) * table.log_rho(layout, k, data.row(i)),
        None => f64::NEG_INFINITY,
    };
    z.iter().enumerate().map(term).sum()
}

fn label(z: f64, k: usize) -> Option<usize> {
    (z >= 0.0 && z < k as f64 && z.fract() == 0.0).then_some(z as usize)
}

impl Labels {
    pub(super) fn new(data: Arc<Observations>, layout: Layout, table: Table) -> Labels {
        let (n, data) = (data.len(), Some(data));
        let (tally, fresh) = Default::default();
        Labels { data, n, layout, table, tally, entropy: f64::NAN, fresh }
    }

    /// Labels rows by a table and moves the sums the fraction `rate` of the way to theirs, which
    /// stand for `total` rows.
    pub(super) fn move_to(
        &mut self,
        data: &Arc<Observations>,
        table: &Table,
        rows: InMemory<'_>,
        rate: f64,
    ) {
        self.data.get_or_insert_with(|| Arc::clone(data));
        self.table.copy_from(table);
        tally(table, &self.layout, rows, &mut self.fresh);
        if rows.len() != data.len() {
            self.fresh.scale(data.total_weight() / rows.weight());
        }
        let entropy = self.fresh.log_normalizer - self.fresh.expected_log_rho(table);
        match (self.tally.is_empty(), rate >= 1.0) {
            // room for both from the first step on
            (true, _) => self.tally = self.fresh.clone(),
            (false, true) => std::mem::swap(&mut self.tally, &mut self.fresh),
            (false, false) => {
                self.tally.blend(rate, &self.fresh);
                self.entropy += rate * (entropy - self.entropy);
                return;
            }
        }
        self.entropy = entropy;
    }

    /// The probabilities of the labels of all rows, `K x n`: those of one row side by side.
    pub fn responsibilities(&self) -> Vec<f64> {
        let k = self.table.len();
        let mut out = vec![f64::NAN; self.n * k];
        if let Some(data) = &self.data {
            for (row, out) in data.rows().zip(out.chunks_exact_mut(k)) {
                self.table.probabilities(&self.layout, row, out);
            }
        }
        out
    }

    /// `N_k`: how many rows, by weight, are expected in component `k`; NaN before an E-step.
    pub fn expected_count(&self, k: usize) -> f64 {
        self.tally.count.get(k).copied().unwrap_or(f64::NAN)
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

impl Family for Labels {
    fn dim(&self) -> usize {
        self.n
    }
    fn support(&self, _: usize) -> Support {
        Support::Category(u32::try_from(self.len()).unwrap_or(u32::MAX))
    }
    fn n_params(&self) -> usize {
        self.table.constant.len() + self.table.coefficient.len()
    }
    fn params(&self, out: &mut [f64]) {
        let all = self.table.constant.iter().chain(&self.table.coefficient);
        out.iter_mut().zip(all).for_each(|(out, x)| *out = *x);
    }
    fn set_params(&mut self, params: &[f64]) {
        let all = self.table.constant.iter_mut().chain(&mut self.table.coefficient);
        all.zip(params).for_each(|(x, p)| *x = *p);
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        let Some(data) = &self.data else { return z.fill(f64::NAN) };
        with_buffer(self.len(), |p| {
            for (i, row) in data.rows().enumerate() {
                self.table.probabilities(&self.layout, row, p);
                for draw in z.chunks_exact_mut(self.n) {
                    let mut left: f64 = rng.random();
                    let hit = p.iter().position(|p| {
                        left -= p;
                        left < 0.0
                    });
                    draw[i] = hit.unwrap_or(p.len() - 1) as f64;
                }
            }
        });
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let Some(data) = &self.data else { return f64::NAN };
        with_buffer(self.len(), |p| {
            let one = |(row, &z): (&[f64], &f64)| match label(z, self.len()) {
                Some(k) => {
                    let normalizer = self.table.probabilities(&self.layout, row, p);
                    self.table.log_rho(&self.layout, k, row) - normalizer
                }
                None => f64::NEG_INFINITY,
            };
            data.rows().zip(z).map(one).sum()
        })
    }
    fn entropy(&self) -> Option<f64> {
        self.entropy.is_finite().then_some(self.entropy)
    }
}
