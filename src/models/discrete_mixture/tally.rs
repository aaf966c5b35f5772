//! `Table` and `Tally`: what a row's label depends on, and one pass that sums over the rows.

use pulp::{Simd, WithSimd};
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use crate::models::components::{InMemory, chunk, each_chunk};
use crate::scratch::with_buffer;
use crate::simd;

/// Components side by side: a register of any width holds some of them.
const SIDE: usize = 8;
/// Rows in a block.
const BLOCK: usize = 64;

/// `ln rho_k(x) = constant_k + sum_f feature_f(x) coefficient_fk`, so that a row has label `k` with
/// probability `rho_k(x) / sum_j rho_j(x)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Table {
    /// One a component.
    pub(super) constant: Vec<f64>,
    /// `stride` a feature, those of the components first.
    pub(super) coefficient: Vec<f64>,
}

/// How far apart features stand.
pub(super) fn stride(k: usize) -> usize {
    k.next_multiple_of(SIDE)
}

/// Sums over rows of weight `w` and labels of probability `r_k`: `sum w r_k`,
/// `sum w r_k feature_f`, and `sum w ln sum_k rho_k`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) log_normalizer: f64,
    /// `stride` of them.
    pub(super) count: Vec<f64>,
    /// `stride` a feature.
    pub(super) sum: Vec<f64>,
}

impl Table {
    pub(super) fn new(k: usize, features: usize) -> Table {
        Table { constant: vec![0.0; k], coefficient: vec![0.0; features * stride(k)] }
    }

    pub(super) fn len(&self) -> usize {
        self.constant.len()
    }

    pub(super) fn copy_from(&mut self, other: &Table) {
        self.constant.copy_from_slice(&other.constant);
        self.coefficient.copy_from_slice(&other.coefficient);
    }

    pub(super) fn coefficient(&self, k: usize, feature: usize) -> f64 {
        self.coefficient[feature * stride(self.len()) + k]
    }

    pub(super) fn set(&mut self, k: usize, feature: usize, value: f64) {
        let at = feature * stride(self.len()) + k;
        self.coefficient[at] = value;
    }

    /// `ln rho_k(x)`
    pub(super) fn log_rho(&self, layout: &Layout, k: usize, row: &[f64]) -> f64 {
        let mut sum = self.constant[k];
        layout.each(row, |f, x| sum += x * self.coefficient(k, f));
        sum
    }

    /// Writes the probability of each label of a row, and returns `ln sum_k rho_k(x)`.
    pub(super) fn probabilities(&self, layout: &Layout, row: &[f64], out: &mut [f64]) -> f64 {
        out.copy_from_slice(&self.constant);
        layout.each(row, |f, x| {
            let coefficients = &self.coefficient[f * stride(self.len())..];
            out.iter_mut().zip(coefficients).for_each(|(out, c)| *out += x * c);
        });
        let top = out.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        out.iter_mut().for_each(|l| *l = (*l - top).exp());
        let sum: f64 = out.iter().sum();
        out.iter_mut().for_each(|p| *p /= sum);
        top + sum.ln()
    }
}

impl Tally {
    /// Makes room; does nothing where there is room.
    pub(super) fn resize(&mut self, k: usize, features: usize) {
        self.count.resize(stride(k), 0.0);
        self.sum.resize(features * stride(k), 0.0);
    }

    /// Whether no rows have been seen yet.
    pub(super) fn is_empty(&self) -> bool {
        self.count.is_empty()
    }

    /// The sum of feature `f` in component `k`.
    pub(super) fn of(&self, k: usize, f: usize) -> f64 {
        self.sum[f * self.count.len() + k]
    }

    /// `sum_k E[r_k ln rho_k]`
    pub(super) fn expected_log_rho(&self, table: &Table) -> f64 {
        let counts: f64 = self.count.iter().zip(&table.constant).map(|(n, c)| n * c).sum();
        let sums: f64 = self.sum.iter().zip(&table.coefficient).map(|(s, c)| s * c).sum();
        counts + sums
    }

    /// Adds a row of which the probabilities of the labels, times its weight, are known.
    pub(super) fn add(&mut self, layout: &Layout, row: &[f64], labels: &[f64]) {
        let stride = self.count.len();
        self.count.iter_mut().zip(labels).for_each(|(n, r)| *n += r);
        layout.each(row, |f, x| {
            let sums = &mut self.sum[f * stride..];
            sums.iter_mut().zip(labels).for_each(|(s, r)| *s += x * r);
        });
    }

    /// Multiplies all sums by `a`.
    pub(super) fn scale(&mut self, a: f64) {
        self.count.iter_mut().chain(&mut self.sum).for_each(|x| *x *= a);
        self.log_normalizer *= a;
    }

    /// Moves the fraction `rate` of the way to `other`.
    pub(super) fn blend(&mut self, rate: f64, other: &Tally) {
        let mix = |(a, b): (&mut f64, &f64)| *a += rate * (b - *a);
        self.count.iter_mut().zip(&other.count).for_each(mix);
        self.sum.iter_mut().zip(&other.sum).for_each(mix);
        self.log_normalizer += rate * (other.log_normalizer - self.log_normalizer);
    }
}

/// Gives each row its labels and sums what follows from them: one pass, in memory that does not
/// grow with the number of rows, in chunks whose size is a function of their number alone.
pub(super) fn tally(table: &Table, layout: &Layout, rows: InMemory<'_>, out: &mut Tally) {
    out.resize(table.len(), layout.features);
    let (n, chunk) = (rows.len(), chunk(rows.len()));
    let stride = stride(table.len());
    let total = 1 + stride * (1 + layout.features);
    with_buffer(n.div_ceil(chunk) * total, |parts| {
        let work = |(c, out): (usize, &mut [f64])| {
            let (start, end) = (c * chunk, ((c + 1) * chunk).min(n));
            with_buffer(BLOCK * (stride + 1), |room| {
                simd::dispatch(Pass { table, layout, rows, start, end, room, out });
            });
        };
        each_chunk(parts, total, &work);
        let (sums, rest) = parts.split_at_mut(total);
        for part in rest.chunks_exact(total) {
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        out.log_normalizer = sums[0];
        out.count.copy_from_slice(&sums[1..=stride]);
        out.sum.copy_from_slice(&sums[1 + stride..]);
    });
}

/// Sums over the rows `start..end`.
struct Pass<'a> {
    table: &'a Table,
    layout: &'a Layout,
    rows: InMemory<'a>,
    start: usize,
    end: usize,
    room: &'a mut [f64],
    out: &'a mut [f64],
}

impl WithSimd for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Pass { table, layout, rows, start, end, room, out } = self;
        let (k, stride) = (table.len(), stride(table.len()));
        out.fill(0.0);
        let (normalizer, sums) = out.split_at_mut(1);
        let (count, sum) = sums.split_at_mut(stride);
        let (labels, tops) = room.split_at_mut(BLOCK * stride);
        for first in (start..end).step_by(BLOCK) {
            let len = BLOCK.min(end - first);
            for (r, logs) in labels.chunks_exact_mut(stride).take(len).enumerate() {
                let row = rows.get(first + r).0;
                for (group, logs) in logs.chunks_exact_mut(SIDE).enumerate() {
                    let from = group * SIDE;
                    // what fills the last register up is impossible
                    let mut acc = [f64::NEG_INFINITY; SIDE];
                    let here = SIDE.min(k - from);
                    acc[..here].copy_from_slice(&table.constant[from..from + here]);
                    layout.each(row, |f, x| {
                        let c = &table.coefficient[f * stride + from..][..SIDE];
                        acc.iter_mut().zip(c).for_each(|(a, c)| *a += x * c);
                    });
                    logs.copy_from_slice(&acc);
                }
                let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                logs.iter_mut().for_each(|l| *l -= top);
                tops[r] = top;
            }
            let (vectors, _) = S::as_mut_simd_f64s(&mut labels[..len * stride]);
            vectors.iter_mut().for_each(|l| *l = simd::exp(s, *l));
            for (r, labels) in labels.chunks_exact_mut(stride).take(len).enumerate() {
                let (row, weight) = rows.get(first + r);
                let total: f64 = labels.iter().sum();
                normalizer[0] += weight * (tops[r] + total.ln());
                let share = weight / total;
                labels.iter_mut().zip(&mut *count).for_each(|(l, n)| {
                    *l *= share;
                    *n += *l;
                });
                for (group, labels) in labels.chunks_exact(SIDE).enumerate() {
                    layout.each(row, |f, x| {
                        let sums = &mut sum[f * stride + group * SIDE..][..SIDE];
                        sums.iter_mut().zip(labels).for_each(|(s, l)| *s += x * l);
                    });
                }
            }
        }
    }
}
