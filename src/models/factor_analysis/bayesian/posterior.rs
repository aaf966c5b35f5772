//! `FactorPosterior`: the distribution of factors, loadings, means and precisions.

use std::sync::Arc;

use nalgebra::{DMatrix, DVector};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::super::FactorAnalysis;
use super::super::gaps::{Columns, Gaps, Sums};
use crate::bijector::Support;
use crate::data::Observations;
use crate::family::{Family, Gamma};
use crate::noise::fill_normal;
use crate::scratch::with_buffer;
use crate::special::LN_SQRT_2PI;
use crate::triangle::{self, Lower};

/// Columns, factors, and how many noises there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sizes {
    pub(super) d: usize,
    pub(super) q: usize,
    pub(super) noises: usize,
    /// Whether cells are missing: then columns differ in the rows that have them.
    #[serde(default)]
    pub(super) gaps: bool,
}

/// The mean square of the loadings of a factor that is off at the start.
const OFF: f64 = 1e-6;

impl Sizes {
    /// How many numbers `(mu, W)`, `alpha` and `tau` are.
    pub(super) fn parameters(self) -> usize {
        self.d * (self.q + 1) + self.q + self.noises
    }

    /// How many precisions mean and loadings have: one a column where columns differ.
    pub(super) fn precisions(self) -> usize {
        if self.gaps { self.d } else { self.noises }
    }
}

/// `q(z) q(mu, W) q(alpha) q(tau)`: the factors of row `n` are `Normal(B x_n - h, M^-1)`, with the
/// row in units; mean and loadings of column `j` are normal, `alpha` and `tau` gamma.
///
/// Where cells are missing `M` and `h` are sums over the columns that a row has, and so is `M B x_n`;
/// the parameters are what each column adds.
///
/// It does not grow with the number of rows, and knows which rows are meant only while it has the
/// data: read back from a file, from the next step on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FactorPosterior {
    pub(super) sizes: Sizes,
    /// `B`, `q` numbers a column of the data; with gaps of `M B`.
    pub(super) beta: Vec<f64>,
    /// `h`; with gaps what each column adds to `M h`.
    pub(super) shift: Vec<f64>,
    /// The Cholesky factor of `M`; with gaps that of what each column adds to it.
    pub(super) z_factor: Vec<f64>,
    /// `E[mu_j], E[W_j]`, a column of the data after another.
    pub(super) w: Vec<f64>,
    /// The Cholesky factor of the precision of a column's mean and loadings, one a noise; with gaps one
    /// a column.
    pub(super) w_factor: Vec<f64>,
    pub(super) alpha: Gamma,
    pub(super) tau: Gamma,
    #[serde(skip)]
    rows: Option<Rows>,
    #[serde(skip)]
    pub(super) room: (Columns, Sums),
}

/// The data, and what rows are moved and divided by.
#[derive(Clone, Debug)]
struct Rows {
    data: Arc<Observations>,
    gaps: Option<Arc<Gaps>>,
    mean: DVector<f64>,
    unit: DVector<f64>,
}

fn gamma(shape: &[f64], rate: &[f64]) -> Gamma {
    Gamma::new(shape, rate).unwrap_or_else(|_| unreachable!("shapes and rates are positive"))
}

impl FactorPosterior {
    /// About these loadings, as sure as `rows` rows make it, with noise of this precision. The
    /// factors are not known yet.
    pub(super) fn at(
        sizes: Sizes,
        loadings: &DMatrix<f64>,
        tau: f64,
        rows: f64,
    ) -> FactorPosterior {
        let Sizes { d, q, noises, gaps } = sizes;
        let each = if gaps { d } else { 1 };
        let mut w = vec![0.0; d * (q + 1)];
        for (j, w) in w.chunks_exact_mut(q + 1).enumerate() {
            (0..q).for_each(|k| w[1 + k] = loadings[(j, k)]);
        }
        let diagonal = |dim: usize, x: f64| -> Vec<f64> {
            (0..dim).flat_map(|i| (0..=i).map(move |j| if i == j { x } else { 0.0 })).collect()
        };
        let squares = |k: usize| loadings.column(k).norm_squared();
        let alpha: Vec<f64> = (0..q).map(|k| (squares(k) / d as f64).max(OFF)).collect();
        FactorPosterior {
            sizes,
            beta: vec![0.0; d * q],
            shift: vec![0.0; each * q],
            z_factor: diagonal(q, 1.0).repeat(each),
            w,
            w_factor: diagonal(q + 1, (rows * tau).sqrt()).repeat(sizes.precisions()),
            alpha: gamma(&vec![1.0; q], &alpha),
            tau: gamma(&vec![1.0; noises], &vec![1.0 / tau; noises]),
            rows: None,
            room: Default::default(),
        }
    }

    pub(super) fn attach(&mut self, point: &FactorAnalysis) {
        self.rows.get_or_insert_with(|| Rows {
            data: Arc::clone(&point.data),
            gaps: point.gaps.clone(),
            mean: point.centre.clone(),
            unit: point.unit.clone(),
        });
    }

    /// What each column says of the factors of a row that has it: the parameters of `q(z)`.
    pub(super) fn columns(&self) -> Columns {
        let (q, len) = (self.sizes.q, triangle::len(self.sizes.q));
        let mut square = vec![0.0; self.z_factor.len()];
        for (factor, out) in self.z_factor.chunks_exact(len).zip(square.chunks_exact_mut(len)) {
            for i in 0..q {
                for j in 0..=i {
                    let (a, b) = (triangle::len(i), triangle::len(j));
                    out[a + j] = triangle::dot(&factor[a..=a + j], &factor[b..=b + j]);
                }
            }
        }
        Columns { beta: self.beta.clone(), shift: self.shift.clone(), square }
    }

    /// Makes these the parameters of `q(z)`.
    pub(super) fn keep(&mut self, columns: &Columns) {
        self.beta.copy_from_slice(&columns.beta);
        self.shift.copy_from_slice(&columns.shift);
        self.z_factor.copy_from_slice(&columns.square);
        let len = triangle::len(self.sizes.q);
        self.z_factor.chunks_exact_mut(len).for_each(triangle::factorize);
    }

    /// `E[mu_j], E[W_j]` in units.
    pub(super) fn row(&self, j: usize) -> &[f64] {
        let r = self.sizes.q + 1;
        &self.w[j * r..(j + 1) * r]
    }

    /// The factor of the precision of that.
    pub(super) fn row_factor(&self, j: usize) -> &[f64] {
        let len = triangle::len(self.sizes.q + 1);
        let at = j.min(self.sizes.precisions() - 1);
        &self.w_factor[at * len..(at + 1) * len]
    }

    /// `E[tau_j]`, in units.
    pub(super) fn tau(&self, j: usize) -> f64 {
        let at = j.min(self.sizes.noises - 1);
        self.tau.shape(at) / self.tau.rate(at)
    }

    /// `E[alpha]`: the precision of the loadings of each factor, in units. The larger, the less the
    /// factor matters.
    pub fn precisions(&self) -> Vec<f64> {
        self.alpha.mean()
    }

    /// For each factor the sum of squares of its loadings' means, over that of their standard
    /// deviations: what is known of it over what is not.
    pub fn signal(&self) -> Vec<f64> {
        let Sizes { d, q, .. } = self.sizes;
        let (mut known, mut unknown) = (vec![0.0; q], vec![0.0; q]);
        for j in 0..d {
            let inverse = Lower::new(q + 1, self.row_factor(j)).inverse_of_square();
            for k in 0..q {
                known[k] += self.row(j)[1 + k].powi(2);
                unknown[k] += inverse[triangle::len(k + 2) - 1];
            }
        }
        known.iter().zip(unknown).map(|(a, b)| a / b).collect()
    }

    /// The factors that explain something, the one with the largest loadings first: those of which
    /// more is known than not.
    pub fn relevant(&self) -> Vec<usize> {
        let (signal, alpha) = (self.signal(), self.precisions());
        let mut order: Vec<usize> = (0..self.sizes.q).filter(|&k| signal[k] > 1.0).collect();
        order.sort_by(|&a, &b| alpha[a].total_cmp(&alpha[b]));
        order
    }

    /// Writes the mean of the factors of a row.
    pub(super) fn factors(
        &self,
        mean: &DVector<f64>,
        unit: &DVector<f64>,
        row: &[f64],
        out: &mut [f64],
    ) {
        out.iter_mut().zip(&self.shift).for_each(|(out, h)| *out = -h);
        for (j, beta) in self.beta.chunks_exact(self.sizes.q).enumerate() {
            triangle::add_scaled((row[j] - mean[j]) / unit[j], beta, out);
        }
    }

    /// Draws of `(mu, W)`, `alpha` and `tau`.
    pub(super) fn sample_parameters(&self, rng: &mut dyn Rng, out: &mut [f64]) {
        let Sizes { d, q, .. } = self.sizes;
        let (w, precisions) = out.split_at_mut(d * (q + 1));
        fill_normal(rng, w);
        for (j, w) in w.chunks_exact_mut(q + 1).enumerate() {
            Lower::new(q + 1, self.row_factor(j)).solve_transposed(w);
            w.iter_mut().zip(self.row(j)).for_each(|(w, mean)| *w += mean);
        }
        let (alpha, tau) = precisions.split_at_mut(q);
        self.alpha.sample(rng, alpha);
        self.tau.sample(rng, tau);
    }

    /// The parts of `lambda` that may be any number, and factors, by the rows of which the last
    /// number is positive.
    fn factors_mut(&mut self) -> impl Iterator<Item = &mut [f64]> {
        let [z, w] = [self.sizes.q, self.sizes.q + 1].map(triangle::len);
        self.z_factor.chunks_exact_mut(z).chain(self.w_factor.chunks_exact_mut(w))
    }
}

/// `ln Normal(x; mean, (L L')^-1)` less its constant: `x` less its mean is overwritten.
fn log_normal(factor: &[f64], off: &mut [f64]) -> f64 {
    with_buffer(off.len(), |out| {
        out.fill(0.0);
        Lower::new(off.len(), factor).add_transposed(off, out);
        triangle::log_det(factor) - 0.5 * triangle::dot(out, out) - off.len() as f64 * LN_SQRT_2PI
    })
}

fn entropy(dim: usize, factor: &[f64]) -> f64 {
    dim as f64 * (0.5 + LN_SQRT_2PI) - triangle::log_det(factor)
}

impl Family for FactorPosterior {
    fn dim(&self) -> usize {
        let rows = self.rows.as_ref().map_or(0, |rows| rows.data.len());
        self.sizes.q * rows + self.sizes.parameters()
    }
    fn support(&self, i: usize) -> Support {
        let Sizes { q, noises, .. } = self.sizes;
        if i + q + noises >= self.dim() { Support::Positive } else { Support::Real }
    }
    fn n_params(&self) -> usize {
        let parts = [&self.beta, &self.shift, &self.w, &self.z_factor, &self.w_factor];
        parts.iter().map(|p| p.len()).sum::<usize>() + self.alpha.n_params() + self.tau.n_params()
    }
    /// The numbers, but of factors the logarithms of their diagonals.
    fn params(&self, out: &mut [f64]) {
        let mut rest = out;
        for part in [&self.beta, &self.shift, &self.w] {
            let (to, after) = rest.split_at_mut(part.len());
            to.copy_from_slice(part);
            rest = after;
        }
        let [z, w] = [self.sizes.q, self.sizes.q + 1].map(triangle::len);
        for factor in self.z_factor.chunks_exact(z).chain(self.w_factor.chunks_exact(w)) {
            let (to, after) = rest.split_at_mut(factor.len());
            to.copy_from_slice(factor);
            let mut end = 0;
            for row in triangle::rows(factor) {
                end += row.len();
                to[end - 1] = factor[end - 1].ln();
            }
            rest = after;
        }
        let (alpha, tau) = rest.split_at_mut(self.alpha.n_params());
        self.alpha.params(alpha);
        self.tau.params(tau);
    }
    fn set_params(&mut self, params: &[f64]) {
        let mut rest = params;
        for part in [&mut self.beta, &mut self.shift, &mut self.w] {
            let (from, after) = rest.split_at(part.len());
            part.copy_from_slice(from);
            rest = after;
        }
        for factor in self.factors_mut() {
            let (from, after) = rest.split_at(factor.len());
            factor.copy_from_slice(from);
            let mut end = 0;
            for row in triangle::rows(from) {
                end += row.len();
                factor[end - 1] = from[end - 1].exp();
            }
            rest = after;
        }
        let (alpha, tau) = rest.split_at(self.alpha.n_params());
        self.alpha.set_params(alpha);
        self.tau.set_params(tau);
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        let (dim, q) = (self.dim(), self.sizes.q);
        let Some(Rows { data, gaps, mean, unit }) = &self.rows else { return z.fill(f64::NAN) };
        if let Some(gaps) = gaps {
            let factors = q * data.len();
            for z in z.chunks_exact_mut(dim) {
                fill_normal(rng, &mut z[..factors]);
                gaps.each_row(&self.columns(), q, |i, mean, factor| {
                    let z = &mut z[i * q..(i + 1) * q];
                    Lower::new(q, factor).solve_transposed(z);
                    z.iter_mut().zip(mean).for_each(|(z, m)| *z += m);
                });
                self.sample_parameters(rng, &mut z[factors..]);
            }
            return;
        }
        let mut centre = vec![0.0; q];
        for z in z.chunks_exact_mut(dim) {
            let (factors, parameters) = z.split_at_mut(q * data.len());
            fill_normal(rng, factors);
            for (row, z) in data.rows().zip(factors.chunks_exact_mut(q)) {
                Lower::new(q, &self.z_factor).solve_transposed(z);
                self.factors(mean, unit, row, &mut centre);
                z.iter_mut().zip(&centre).for_each(|(z, m)| *z += m);
            }
            self.sample_parameters(rng, parameters);
        }
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let Sizes { d, q, .. } = self.sizes;
        let Some(Rows { data, gaps, mean, unit }) = &self.rows else { return f64::NAN };
        let (factors, rest) = z.split_at(q * data.len());
        let (w, precisions) = rest.split_at(d * (q + 1));
        let (alpha, tau) = precisions.split_at(q);
        let mut off = vec![0.0; q];
        let rows: f64 = if let Some(gaps) = gaps {
            let mut sum = 0.0;
            gaps.each_row(&self.columns(), q, |i, mean, factor| {
                (0..q).for_each(|at| off[at] = factors[i * q + at] - mean[at]);
                sum += log_normal(factor, &mut off);
            });
            sum
        } else {
            let of_rows = data.rows().zip(factors.chunks_exact(q)).map(|(row, z)| {
                self.factors(mean, unit, row, &mut off);
                off.iter_mut().zip(z).for_each(|(o, z)| *o = z - *o);
                log_normal(&self.z_factor, &mut off)
            });
            of_rows.sum()
        };
        let mut off = vec![0.0; q + 1];
        let of_columns = w.chunks_exact(q + 1).enumerate().map(|(j, w)| {
            for ((o, w), m) in off.iter_mut().zip(w).zip(self.row(j)) {
                *o = w - m;
            }
            log_normal(self.row_factor(j), &mut off)
        });
        let columns: f64 = of_columns.sum();
        rows + columns + self.alpha.log_prob(alpha) + self.tau.log_prob(tau)
    }
    fn entropy(&self) -> Option<f64> {
        let Sizes { d, q, .. } = self.sizes;
        let Rows { data, gaps, .. } = self.rows.as_ref()?;
        let columns: f64 = (0..d).map(|j| entropy(q + 1, self.row_factor(j))).sum();
        let factors = if let Some(gaps) = gaps {
            let mut sum = 0.0;
            gaps.each_row(&self.columns(), q, |_, _, factor| sum += entropy(q, factor));
            sum
        } else {
            data.len() as f64 * entropy(q, &self.z_factor)
        };
        Some(factors + columns + self.alpha.entropy()? + self.tau.entropy()?)
    }
}
