//! `Gaps`: cells that are missing in a block of rows, which each component completes in its own way.

use super::Shape;
use super::kernel::{BLOCK, Cells, Known};
use super::packed::Pairs;
use super::patterns::{Patterns, column};
use crate::special::LN_SQRT_2PI;
use crate::triangle::dot;

/// The missing cells of a block: of each row with some, what the components expect of them. With
/// `P = W' W` and the missing columns `m` of a row
///
/// ```text
/// E[y_m] = -P_mm^-1 P_mo y_o,   C = P_mm^-1,   ln rho(x_o) = ln rho(x) + |m| ln sqrt(2 pi) - ln|P_mm| / 2
/// ```
///
/// where `x` is the row completed by `mean + E[y]`, and `C` is what second moments have more. Rows
/// in which the same columns are missing share the factors of `P_mm`.
pub(super) struct Gaps<'a> {
    known: Known<'a>,
    /// The rows of the block that have gaps, and where their cells end.
    rows: [(usize, usize); BLOCK],
    count: usize,
    /// Where the cells stand in the block.
    cells: &'a mut [f64],
    /// What is expected there, component after component.
    filled: &'a mut [f64],
    /// What the logarithm of the density of a row has more, component after component.
    gain: &'a mut [f64],
    /// The cells of a row that are there, and their deviations.
    there: &'a mut [f64],
    /// Of a diagonal, what a missing cell adds to the logarithm of the density, and its variance:
    /// both for each column, component after component.
    columns: &'a mut [f64],
    patterns: Patterns<'a>,
}

impl<'a> Gaps<'a> {
    /// How many numbers it works with.
    pub(super) fn room(known: &Known<'_>) -> usize {
        let (k, dim) = (known.len(), known.dim);
        BLOCK * dim * (1 + k) + BLOCK * k + 2 * dim + 2 * k * dim + Patterns::room(known)
    }

    pub(super) fn new(known: Known<'a>, room: &'a mut [f64]) -> Gaps<'a> {
        let (k, dim) = (known.len(), known.dim);
        let (cells, room) = room.split_at_mut(BLOCK * dim);
        let (filled, room) = room.split_at_mut(BLOCK * dim * k);
        let (gain, room) = room.split_at_mut(BLOCK * k);
        let (there, room) = room.split_at_mut(2 * dim);
        let (columns, room) = room.split_at_mut(2 * k * dim);
        if known.shape == Shape::Diagonal {
            for (out, w) in columns.chunks_exact_mut(2).zip(known.factor) {
                out.copy_from_slice(&[LN_SQRT_2PI - w.ln(), 1.0 / (w * w)]);
            }
        }
        let patterns = Patterns::new(&known, room);
        let rows = [(0, 0); BLOCK];
        Gaps { known, rows, count: 0, cells, filled, gain, there, columns, patterns }
    }

    /// How many cells are missing.
    fn len(&self) -> usize {
        if self.count == 0 { 0 } else { self.rows[self.count - 1].1 }
    }

    /// The rows with gaps, and where their cells begin and end.
    fn each(&self) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> + use<'a> {
        let (rows, count) = (self.rows, self.count);
        (0..count).map(move |g| {
            let start = if g == 0 { 0 } else { rows[g - 1].1 };
            (rows[g].0, start..rows[g].1)
        })
    }
}

impl Cells for Gaps<'_> {
    #[inline(always)]
    fn look(&mut self, x: &[f64]) {
        let (known, dim) = (self.known, self.known.dim);
        let mut gaps = 0u64;
        for column in x.chunks_exact(BLOCK).take(dim) {
            for (r, x) in column.iter().enumerate() {
                gaps |= u64::from(x.is_nan()) << r;
            }
        }
        (self.count, gaps) = (0, gaps);
        let mut end = 0;
        while gaps != 0 {
            let r = gaps.trailing_zeros() as usize;
            gaps &= gaps - 1;
            for at in (r..BLOCK * dim).step_by(BLOCK).filter(|&at| x[at].is_nan()) {
                self.cells[end] = at as f64;
                end += 1;
            }
            self.rows[self.count] = (r, end);
            self.count += 1;
        }
        for (g, (r, own)) in self.each().enumerate() {
            let cells = &self.cells[own.clone()];
            let m = cells.len();
            if known.shape == Shape::Diagonal {
                for k in 0..known.len() {
                    let filled = &mut self.filled[k * BLOCK * dim..][own.clone()];
                    let mut gain = 0.0;
                    for (filled, cell) in filled.iter_mut().zip(cells) {
                        let at = k * dim + column(*cell);
                        *filled = known.mean[at];
                        gain += self.columns[2 * at];
                    }
                    self.gain[k * BLOCK + g] = gain;
                }
                continue;
            }
            let slot = self.patterns.get(known.len(), cells);
            let (missing, there) = self.patterns.columns(slot, m);
            let (own_cells, y) = self.there.split_at_mut(dim);
            let (own_cells, y) = (&mut own_cells[..dim - m], &mut y[..dim - m]);
            own_cells
                .iter_mut()
                .zip(there)
                .for_each(|(cell, j)| *cell = x[*j as usize * BLOCK + r]);
            for k in 0..known.len() {
                let mean = &known.mean[k * dim..(k + 1) * dim];
                let filled = &mut self.filled[k * BLOCK * dim..][own.clone()];
                let on = self.patterns.of(slot, k, m);
                for ((y, cell), j) in y.iter_mut().zip(&*own_cells).zip(there) {
                    *y = cell - mean[*j as usize];
                }
                for (a, (filled, j)) in filled.iter_mut().zip(missing).enumerate() {
                    let slopes = &on.slopes[a * (dim - m)..(a + 1) * (dim - m)];
                    *filled = mean[*j as usize] + dot(slopes, y);
                }
                self.gain[k * BLOCK + g] = on.gain;
            }
        }
    }

    #[inline(always)]
    fn fill(&self, k: usize, x: &mut [f64]) {
        let filled = &self.filled[k * BLOCK * self.known.dim..];
        for (cell, filled) in self.cells[..self.len()].iter().zip(filled) {
            x[*cell as usize] = *filled;
        }
    }

    #[inline(always)]
    fn adjust(&self, k: usize, log_rho: &mut [f64]) {
        let gain = &self.gain[k * BLOCK..(k + 1) * BLOCK];
        for ((r, _), gain) in self.rows[..self.count].iter().zip(gain) {
            log_rho[*r] += gain;
        }
    }

    #[inline(always)]
    fn spread(&mut self, labels: &[f64], sums: &mut [f64], lanes: usize) {
        let (known, each) = (self.known, self.known.sums());
        let dim = known.dim;
        let entropy = (known.total() - 1) * lanes;
        for (g, (r, own)) in self.each().enumerate() {
            let cells = &self.cells[own];
            let m = cells.len();
            let slot = match known.shape {
                Shape::Full => Some(self.patterns.get(known.len(), cells)),
                Shape::Diagonal => None,
            };
            for k in 0..known.len() {
                let share = labels[k * BLOCK + r];
                if share == 0.0 {
                    continue;
                }
                sums[entropy] += share * (0.5 * m as f64 + self.gain[k * BLOCK + g]);
                let second = &mut sums[(1 + k * each + 1 + dim) * lanes..];
                match slot {
                    None => {
                        for j in cells.iter().map(|c| column(*c)) {
                            second[j * lanes] += share * self.columns[2 * (k * dim + j) + 1];
                        }
                    }
                    Some(slot) => {
                        let covariance = self.patterns.of(slot, k, m).covariance;
                        let (missing, _) = self.patterns.columns(slot, m);
                        let mut entries = covariance.iter();
                        for (a, &i) in missing.iter().enumerate() {
                            for (j, entry) in missing[..=a].iter().zip(&mut entries) {
                                let at = Pairs::at(i as usize, *j as usize);
                                second[at * lanes] += share * entry;
                            }
                        }
                    }
                }
            }
        }
    }
}
