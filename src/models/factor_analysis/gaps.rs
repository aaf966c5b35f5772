//! `Gaps`: rows with missing cells, those that have the same ones together, and one pass over them.

use std::collections::BTreeMap;
use std::ops::Range;

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use crate::data::Observations;
use crate::models::components::each_chunk;
use crate::scratch::with_buffer;
use crate::triangle::{self, Lower, add_scaled, factorize, len};

/// The most rows that are worked on at once.
const BLOCK: usize = 256;
/// The most parts that work may be shared by, and the least rows of one: a function of the data
/// alone, so that sums have the same bits on any number of threads.
const PARTS: usize = 16;
const ROWS: usize = 256;

/// Rows that have the same cells.
#[derive(Clone, Debug, PartialEq)]
struct Block {
    /// The columns there are.
    there: Vec<usize>,
    /// Where the rows are in the order of blocks.
    rows: Range<usize>,
}

/// The cells in units, rows with the same gaps next to each other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gaps {
    dim: usize,
    /// 0 where one is missing.
    cells: Vec<f64>,
    weights: Vec<f64>,
    /// The number of each row in the data.
    order: Vec<usize>,
    blocks: Vec<Block>,
    /// The blocks of each part.
    parts: Vec<Range<usize>>,
    /// The weight of the cells of each column, and the weighted sum of their squares.
    pub(super) count: Vec<f64>,
    pub(super) square: Vec<f64>,
}

/// What each column that is there says of a row's factors: their precision is `I + sum_j G_j`, and
/// precision times mean is `sum_j x_j b_j - h_j`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Columns {
    /// `b_j`, `k` numbers a column.
    pub(super) beta: Vec<f64>,
    /// `h_j`
    pub(super) shift: Vec<f64>,
    /// `G_j`, a lower triangle a column.
    pub(super) square: Vec<f64>,
}

impl Columns {
    pub(super) fn resize(&mut self, dim: usize, k: usize) {
        self.beta.resize(dim * k, 0.0);
        self.shift.resize(dim * k, 0.0);
        self.square.resize(dim * len(k), 0.0);
    }

    /// Those of normal noise of variance `psi_j` about `mu_j + W_j z`, whose logarithm `log_noise` has
    /// and `shift` the `mu_j`.
    pub(super) fn of(
        &mut self,
        loadings: &DMatrix<f64>,
        log_noise: &DVector<f64>,
        shift: &DVector<f64>,
    ) {
        let (d, k) = loadings.shape();
        self.resize(d, k);
        with_buffer(k, |w| {
            for j in 0..d {
                let precision = (-log_noise[j]).exp();
                for i in 0..k {
                    w[i] = loadings[(j, i)];
                    self.beta[j * k + i] = precision * w[i];
                    self.shift[j * k + i] = precision * shift[j] * w[i];
                }
                outer(precision, w, &mut self.square[j * len(k)..(j + 1) * len(k)]);
            }
        });
    }

    /// Writes the factor of the precision of a row's factors, and the sum of the `h_j`.
    pub(super) fn precision(
        &self,
        there: impl Iterator<Item = usize>,
        factor: &mut [f64],
        shift: &mut [f64],
    ) {
        let k = shift.len();
        factor.fill(0.0);
        shift.fill(0.0);
        (0..k).for_each(|i| factor[len(i + 1) - 1] = 1.0);
        for j in there {
            add_scaled(1.0, &self.square[j * len(k)..(j + 1) * len(k)], factor);
            add_scaled(1.0, &self.shift[j * k..(j + 1) * k], shift);
        }
        factorize(factor);
    }

    /// Writes mean and factor of the precision of the factors of a row in units, NaN where a cell is
    /// missing.
    pub(super) fn of_row(&self, row: &[f64], mean: &mut [f64], factor: &mut [f64]) {
        let k = mean.len();
        let there = || (0..row.len()).filter(|&j| !row[j].is_nan());
        self.precision(there(), factor, mean);
        mean.iter_mut().for_each(|m| *m = -*m);
        there().for_each(|j| add_scaled(row[j], &self.beta[j * k..(j + 1) * k], mean));
        Lower::new(k, factor).solve(mean);
        Lower::new(k, factor).solve_transposed(mean);
    }
}

/// What rows say of each column: over those where it is there, `sum w E[(1, z)(1, z)']` and
/// `sum w x_j E[(1, z)]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sums {
    /// A lower triangle a column.
    pub(super) square: Vec<f64>,
    pub(super) cross: Vec<f64>,
    /// What rows have by themselves: `sum w (E[ln p(z)] + entropy)`.
    pub(super) own: f64,
}

impl Gaps {
    /// Rows less `centre`, divided by `unit`.
    pub(super) fn new(data: &Observations, centre: &DVector<f64>, unit: &DVector<f64>) -> Gaps {
        let dim = data.dim();
        let mut alike: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
        for (i, row) in data.rows().enumerate() {
            let there = (0..dim).filter(|&j| !row[j].is_nan()).collect();
            alike.entry(there).or_default().push(i);
        }
        let n = data.len();
        let (mut cells, mut weights) = (Vec::with_capacity(n * dim), Vec::with_capacity(n));
        let (mut count, mut square) = (vec![0.0; dim], vec![0.0; dim]);
        let (mut order, mut blocks) = (Vec::with_capacity(n), Vec::new());
        for (there, rows) in alike {
            for rows in rows.chunks(BLOCK) {
                let start = order.len();
                for &i in rows {
                    let (from, w) = (cells.len(), data.weight(i));
                    cells.resize(from + dim, 0.0);
                    for &j in &there {
                        let x = (data.row(i)[j] - centre[j]) / unit[j];
                        cells[from + j] = x;
                        count[j] += w;
                        square[j] += w * x * x;
                    }
                    weights.push(w);
                    order.push(i);
                }
                blocks.push(Block { there: there.clone(), rows: start..order.len() });
            }
        }
        let least = n.div_ceil(PARTS).max(ROWS);
        let (mut parts, mut first): (Vec<Range<usize>>, usize) = (Vec::new(), 0);
        for b in 0..blocks.len() {
            let rows = blocks[b].rows.end - blocks[first].rows.start;
            if rows >= least || b + 1 == blocks.len() {
                parts.push(first..b + 1);
                first = b + 1;
            }
        }
        Gaps { dim, cells, weights, order, blocks, parts, count, square }
    }

    /// Calls `f` with each row's number, its mean and the factor of its precision.
    pub(super) fn each_row(
        &self,
        columns: &Columns,
        k: usize,
        mut f: impl FnMut(usize, &[f64], &[f64]),
    ) {
        with_buffer(len(k) + 2 * k, |room| {
            let (factor, room) = room.split_at_mut(len(k));
            let (shift, mean) = room.split_at_mut(k);
            for block in &self.blocks {
                columns.precision(block.there.iter().copied(), factor, shift);
                for at in block.rows.clone() {
                    self.mean(columns, block, at, shift, mean);
                    Lower::new(k, factor).solve(mean);
                    Lower::new(k, factor).solve_transposed(mean);
                    f(self.order[at], mean, factor);
                }
            }
        });
    }

    /// Precision times mean of a row's factors.
    fn mean(&self, columns: &Columns, block: &Block, at: usize, shift: &[f64], out: &mut [f64]) {
        let k = out.len();
        let x = &self.cells[at * self.dim..(at + 1) * self.dim];
        out.iter_mut().zip(shift).for_each(|(out, h)| *out = -h);
        for &j in &block.there {
            add_scaled(x[j], &columns.beta[j * k..(j + 1) * k], out);
        }
    }

    /// Gives each row its factors, and sums what follows from them. What a row has by itself is not
    /// a number where its precision is not positive definite.
    pub(super) fn sums(&self, columns: &Columns, k: usize, out: &mut Sums) {
        let r = k + 1;
        out.square.resize(self.dim * len(r), 0.0);
        out.cross.resize(self.dim * r, 0.0);
        let total = self.dim * (len(r) + r) + 1;
        with_buffer(self.parts.len() * total, |parts| {
            parts.fill(0.0);
            each_chunk(parts, total, &|(p, out): (usize, &mut [f64])| {
                let (square, rest) = out.split_at_mut(self.dim * len(r));
                let (cross, own) = rest.split_at_mut(self.dim * r);
                for block in &self.blocks[self.parts[p].clone()] {
                    self.add(columns, block, square, cross, &mut own[0]);
                }
            });
            let (sums, rest) = parts.split_at_mut(total);
            rest.chunks_exact(total).for_each(|part| add_scaled(1.0, part, sums));
            let (square, rest) = sums.split_at(self.dim * len(r));
            let (cross, own) = rest.split_at(self.dim * r);
            out.square.copy_from_slice(square);
            out.cross.copy_from_slice(cross);
            out.own = own[0];
        });
    }

    fn add(
        &self,
        columns: &Columns,
        block: &Block,
        square: &mut [f64],
        cross: &mut [f64],
        own: &mut f64,
    ) {
        let r = cross.len() / self.dim;
        let k = r - 1;
        with_buffer(2 * len(k) + k + len(r) + block.rows.len() * k, |room| {
            let (factor, room) = room.split_at_mut(len(k));
            let (inverse, room) = room.split_at_mut(len(k));
            let (shift, room) = room.split_at_mut(k);
            let (sum, means) = room.split_at_mut(len(r));
            columns.precision(block.there.iter().copied(), factor, shift);
            for (at, mean) in block.rows.clone().zip(means.chunks_exact_mut(k)) {
                self.mean(columns, block, at, shift, mean);
            }
            Lower::new(k, factor).solve(means);
            Lower::new(k, factor).solve_transposed(means);
            sum.fill(0.0);
            for (at, mean) in block.rows.clone().zip(means.chunks_exact(k)) {
                let w = self.weights[at];
                sum[0] += w;
                for i in 0..k {
                    let row = &mut sum[len(i + 1)..len(i + 2)];
                    row[0] += w * mean[i];
                    add_scaled(w * mean[i], &mean[..=i], &mut row[1..]);
                }
                for &j in &block.there {
                    let x = w * self.cells[at * self.dim + j];
                    let cross = &mut cross[j * r..(j + 1) * r];
                    cross[0] += x;
                    add_scaled(x, mean, &mut cross[1..]);
                }
            }
            let weight = sum[0];
            inverse_of_square(k, factor, inverse);
            for (i, row) in triangle::rows(inverse).enumerate() {
                add_scaled(weight, row, &mut sum[len(i + 1) + 1..len(i + 2)]);
            }
            let squares: f64 = (0..k).map(|i| sum[len(i + 2) - 1]).sum();
            *own += weight * (0.5 * k as f64 - triangle::log_det(factor)) - 0.5 * squares;
            for &j in &block.there {
                add_scaled(1.0, sum, &mut square[j * len(r)..(j + 1) * len(r)]);
            }
        });
    }
}

/// Writes `(L L')^-1`, a lower triangle.
pub(super) fn inverse_of_square(dim: usize, factor: &[f64], out: &mut [f64]) {
    with_buffer(factor.len(), |inverse| {
        inverse.copy_from_slice(factor);
        triangle::invert(dim, inverse);
        for i in 0..dim {
            for j in 0..=i {
                let both = (i..dim).map(|m| inverse[len(m) + i] * inverse[len(m) + j]);
                out[len(i) + j] = both.sum();
            }
        }
    });
}

/// Writes `scale x x'`, a lower triangle.
fn outer(scale: f64, x: &[f64], out: &mut [f64]) {
    for i in 0..x.len() {
        for j in 0..=i {
            out[len(i) + j] = scale * x[i] * x[j];
        }
    }
}

/// `x' A x` of a symmetric matrix by its lower triangle.
pub(super) fn quadratic(a: &[f64], x: &[f64]) -> f64 {
    let row = |(i, row): (usize, &[f64])| {
        x[i] * (2.0 * triangle::dot(&row[..i], &x[..i]) + row[i] * x[i])
    };
    triangle::rows(a).enumerate().map(row).sum()
}
