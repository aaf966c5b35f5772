//! The inner loops: blocks of rows, a lane a row, on registers.
//!
//! Numbers of a block stand column after column, `BLOCK` rows a column, so that a register holds
//! the same column of neighbouring rows whatever its width.

use pulp::bytemuck::{cast_slice, cast_slice_mut};
use pulp::{Simd, WithSimd};

use super::Shape;
use super::packed::{Pairs, stride};
use super::rows::Reader;
use crate::simd;

/// Rows in a block: with some ten columns all of it stays in the nearest cache.
pub(super) const BLOCK: usize = 64;

/// Registers side by side in the products: enough to hide how long one takes.
const SIDE: usize = 4;

/// The least `ln(rho / max rho)` told apart from nothing, so that no exponential leaves the range.
const LEAST: f64 = -700.0;

/// What becomes of the cells of a block that are missing.
pub(super) trait Cells {
    /// Looks at a block that has been read.
    fn look(&mut self, x: &[f64]);
    /// Writes what component `k` expects of them.
    fn fill(&self, k: usize, x: &mut [f64]);
    /// Makes the `ln rho_k` of completed rows those of what is there.
    fn adjust(&self, k: usize, log_rho: &mut [f64]);
    /// Adds how far they spread about what is expected, given the labels, to the sums: a lane of
    /// each.
    fn spread(&mut self, labels: &[f64], sums: &mut [f64], lanes: usize);
}

/// No cell is missing.
pub(super) struct Whole;

impl Cells for Whole {
    #[inline(always)]
    fn look(&mut self, _: &[f64]) {}
    #[inline(always)]
    fn fill(&self, _: usize, _: &mut [f64]) {}
    #[inline(always)]
    fn adjust(&self, _: usize, _: &mut [f64]) {}
    #[inline(always)]
    fn spread(&mut self, _: &[f64], _: &mut [f64], _: usize) {}
}

/// What the kernel knows of the components.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) shape: Shape,
    pub(super) dim: usize,
    pub(super) constant: &'a [f64],
    pub(super) mean: &'a [f64],
    /// In the order of [`super::packed`].
    pub(super) factor: &'a [f64],
}

impl Known<'_> {
    pub(super) fn len(&self) -> usize {
        self.constant.len()
    }
    /// Columns of a block: of a triangle an even number.
    fn columns(&self) -> usize {
        match self.shape {
            Shape::Full => Pairs::new(self.dim).dim,
            Shape::Diagonal => self.dim,
        }
    }
    /// Sums a component: its count, first and second moments.
    pub(super) fn sums(&self) -> usize {
        1 + self.dim + stride(self.shape, self.dim)
    }
    /// How many sums there are: the first is that of the log normalisers, the last the entropy of
    /// missing cells.
    pub(super) fn total(&self) -> usize {
        2 + self.len() * self.sums()
    }
    /// How many numbers a block needs for itself: data, deviations, the same times their
    /// probabilities, weights, and the labels.
    fn block(&self) -> usize {
        BLOCK * (3 * self.columns() + 1 + self.len())
    }
    /// How many numbers a [`Pass`] over rows works with.
    pub(super) fn room(&self) -> usize {
        // lanes are at most 8, and the start moves to a line of the cache
        8 + self.block() + 8 * self.total()
    }
}

/// The slice from the first number at the start of a cache line on.
#[inline(always)]
fn aligned(room: &mut [f64]) -> &mut [f64] {
    let skip = room.as_ptr().align_offset(64).min(8);
    &mut room[skip..]
}

/// Sums over the rows `start..end`: the log normalisers, then for each component its moments.
pub(super) struct Pass<'a, 'r, C> {
    pub(super) known: Known<'a>,
    pub(super) cells: C,
    pub(super) rows: &'a mut Reader<'r>,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) room: &'a mut [f64],
    pub(super) out: &'a mut [f64],
}

impl<C: Cells> WithSimd for Pass<'_, '_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Pass { known, mut cells, rows, start, end, room, out } = self;
        let lanes = S::F64_LANES;
        let (block, sums) = aligned(room).split_at_mut(known.block());
        let (sums, _) = S::as_mut_simd_f64s(&mut sums[..known.total() * lanes]);
        sums.fill(s.splat_f64s(0.0));
        let mut block = Block::<S>::new(s, &known, block);
        for first in (start..end).step_by(BLOCK) {
            rows.load((first, BLOCK.min(end - first)), BLOCK, block.x, block.weights);
            cells.look(block.x);
            block.log_rho(s, &known, &cells);
            sums[0] = s.add_f64s(sums[0], block.normalise(s, known.len(), true));
            for (k, sums) in sums[1..].chunks_exact_mut(known.sums()).enumerate() {
                cells.fill(k, block.x);
                block.add_moments(s, &known, k, sums);
            }
            cells.spread(cast_slice(block.labels), cast_slice_mut(sums), lanes);
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = s.reduce_sum_f64s(*sum);
        }
    }
}

/// Writes, for the rows `start..start + BLOCK` or fewer, the probabilities of the labels
/// (`BLOCK` a component) and the log normalisers (`BLOCK`).
pub(super) struct Look<'a, 'r, C> {
    pub(super) known: Known<'a>,
    pub(super) cells: &'a mut C,
    pub(super) rows: &'a mut Reader<'r>,
    pub(super) start: usize,
    pub(super) count: usize,
    pub(super) room: &'a mut [f64],
    /// The probabilities and the normalisers.
    pub(super) out: (&'a mut [f64], &'a mut [f64]),
}

impl<C: Cells> WithSimd for Look<'_, '_, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Look { known, cells, rows, start, count, room, out } = self;
        let (probabilities, normalizers) = out;
        let block = &mut aligned(room)[..known.block()];
        let mut block = Block::<S>::new(s, &known, block);
        rows.load((start, count), BLOCK, block.x, block.weights);
        cells.look(block.x);
        block.log_rho(s, &known, cells);
        block.normalise(s, known.len(), false);
        let labels = S::as_simd_f64s(block.weights).0; // now the normalisers
        let (out, _) = S::as_mut_simd_f64s(&mut normalizers[..BLOCK]);
        out.copy_from_slice(labels);
        let (out, _) = S::as_mut_simd_f64s(&mut probabilities[..BLOCK * known.len()]);
        out.copy_from_slice(block.labels);
    }
}

/// The numbers of one block.
struct Block<'a, S: Simd> {
    x: &'a mut [f64],
    weights: &'a mut [f64],
    deviation: &'a mut [S::f64s],
    weighted: &'a mut [S::f64s],
    labels: &'a mut [S::f64s],
}

impl<'a, S: Simd> Block<'a, S> {
    /// Registers a column.
    const WIDE: usize = BLOCK / S::F64_LANES;

    #[inline(always)]
    fn new(s: S, known: &Known<'_>, room: &'a mut [f64]) -> Self {
        let columns = BLOCK * known.columns();
        let (x, rest) = room.split_at_mut(columns);
        let (deviation, rest) = rest.split_at_mut(columns);
        let (weighted, rest) = rest.split_at_mut(columns);
        let (weights, labels) = rest.split_at_mut(BLOCK);
        let (deviation, _) = S::as_mut_simd_f64s(deviation);
        let (weighted, _) = S::as_mut_simd_f64s(weighted);
        let (labels, _) = S::as_mut_simd_f64s(labels);
        // the column that makes their number even stays zero
        deviation.fill(s.splat_f64s(0.0));
        weighted.fill(s.splat_f64s(0.0));
        Block { x, weights, deviation, weighted, labels }
    }

    /// `ln rho_k` of each row, for all `k`.
    #[inline(always)]
    fn log_rho(&mut self, s: S, known: &Known<'_>, cells: &impl Cells) {
        let (wide, dim) = (Self::WIDE, known.dim);
        let half = s.splat_f64s(-0.5);
        let strides = stride(known.shape, dim);
        let each = known.mean.chunks_exact(dim).zip(known.factor.chunks_exact(strides));
        let each = each.zip(known.constant).zip(self.labels.chunks_exact_mut(wide));
        for (k, (((mean, factor), &constant), out)) in each.enumerate() {
            cells.fill(k, self.x);
            let (x, _) = S::as_simd_f64s(self.x);
            let constant = s.splat_f64s(constant);
            match known.shape {
                Shape::Diagonal => {
                    out.fill(constant);
                    let columns = x.chunks_exact(wide).zip(mean).zip(factor);
                    for ((x, &mean), &w) in columns {
                        let (mean, w) = (s.splat_f64s(mean), s.splat_f64s(w));
                        for (x, out) in x.iter().zip(&mut *out) {
                            let z = s.mul_f64s(s.sub_f64s(*x, mean), w);
                            *out = s.mul_add_e_f64s(s.mul_f64s(z, half), z, *out);
                        }
                    }
                }
                Shape::Full => {
                    let columns = x.chunks_exact(wide).zip(self.deviation.chunks_exact_mut(wide));
                    for ((x, y), &mean) in columns.zip(mean) {
                        let mean = s.splat_f64s(mean);
                        x.iter().zip(y).for_each(|(x, y)| *y = s.sub_f64s(*x, mean));
                    }
                    for (at, out) in out.chunks_exact_mut(SIDE).enumerate() {
                        let square = squares(s, factor, &self.deviation[at * SIDE..], wide);
                        for (square, out) in square.into_iter().zip(out) {
                            *out = s.mul_add_e_f64s(square, half, constant);
                        }
                    }
                }
            }
            cells.adjust(k, cast_slice_mut(out));
        }
    }

    /// Turns the `ln rho` into probabilities, times the rows' weights where wanted; returns the
    /// weighted log normalisers, a lane a row. Without weights, leaves the normalisers in their
    /// place.
    #[inline(always)]
    fn normalise(&mut self, s: S, k: usize, weighted: bool) -> S::f64s {
        let wide = Self::WIDE;
        let mut total = s.splat_f64s(0.0);
        let (weights, _) = S::as_mut_simd_f64s(self.weights);
        let least = s.splat_f64s(LEAST);
        for (p, weight) in weights.iter_mut().enumerate() {
            let labels = &mut self.labels[p..];
            let mut top = labels[0];
            for label in labels.iter().step_by(wide).take(k).skip(1) {
                top = s.max_f64s(top, *label);
            }
            let mut sum = s.splat_f64s(0.0);
            for label in labels.iter_mut().step_by(wide).take(k) {
                *label = simd::exp(s, s.max_f64s(least, s.sub_f64s(*label, top)));
                sum = s.add_f64s(sum, *label);
            }
            let normalizer = s.add_f64s(top, simd::ln(s, sum));
            let mut share = s.div_f64s(s.splat_f64s(1.0), sum);
            if weighted {
                share = s.mul_f64s(share, *weight);
                total = s.mul_add_e_f64s(normalizer, *weight, total);
            } else {
                *weight = normalizer;
            }
            for label in labels.iter_mut().step_by(wide).take(k) {
                *label = s.mul_f64s(*label, share);
            }
        }
        total
    }

    /// Adds the moments of component `k`.
    #[inline(always)]
    fn add_moments(&mut self, s: S, known: &Known<'_>, k: usize, sums: &mut [S::f64s]) {
        let (wide, dim) = (Self::WIDE, known.dim);
        let (x, _) = S::as_simd_f64s(self.x);
        let labels = &self.labels[k * wide..(k + 1) * wide];
        sums[0] = labels.iter().fold(sums[0], |sum, r| s.add_f64s(sum, *r));
        let (first, second) = sums[1..].split_at_mut(dim);
        let mean = &known.mean[k * dim..(k + 1) * dim];
        for j in 0..dim {
            let mean = s.splat_f64s(mean[j]);
            let x = &x[j * wide..(j + 1) * wide];
            let mut sum = first[j];
            match known.shape {
                Shape::Diagonal => {
                    let mut square = second[j];
                    for (x, r) in x.iter().zip(labels) {
                        let y = s.sub_f64s(*x, mean);
                        let ry = s.mul_f64s(*r, y);
                        sum = s.add_f64s(sum, ry);
                        square = s.mul_add_e_f64s(ry, y, square);
                    }
                    second[j] = square;
                }
                Shape::Full => {
                    let y = &mut self.deviation[j * wide..(j + 1) * wide];
                    let ry = &mut self.weighted[j * wide..(j + 1) * wide];
                    for (((x, r), y), ry) in x.iter().zip(labels).zip(y).zip(ry) {
                        *y = s.sub_f64s(*x, mean);
                        *ry = s.mul_f64s(*r, *y);
                        sum = s.add_f64s(sum, *ry);
                    }
                }
            }
            first[j] = sum;
        }
        if known.shape == Shape::Full {
            products(s, self.weighted, self.deviation, wide, second);
        }
    }
}

/// `|W y|^2` for `SIDE` registers of rows, whose column `j` stands at `j * wide`.
#[inline(always)]
fn squares<S: Simd>(s: S, factor: &[f64], y: &[S::f64s], wide: usize) -> [S::f64s; SIDE] {
    let zero = s.splat_f64s(0.0);
    let mut total = [zero; SIDE];
    let mut rest = factor;
    let mut width = 2;
    while let Some((pair, after)) = rest.split_at_checked(2 * width) {
        let (mut upper, mut lower) = ([zero; SIDE], [zero; SIDE]);
        for (w, y) in pair.chunks_exact(2).zip(y.chunks(wide)) {
            let (a, b) = (s.splat_f64s(w[0]), s.splat_f64s(w[1]));
            let y = &y[..SIDE];
            for c in 0..SIDE {
                upper[c] = s.mul_add_e_f64s(a, y[c], upper[c]);
                lower[c] = s.mul_add_e_f64s(b, y[c], lower[c]);
            }
        }
        for c in 0..SIDE {
            total[c] = s.mul_add_e_f64s(upper[c], upper[c], total[c]);
            total[c] = s.mul_add_e_f64s(lower[c], lower[c], total[c]);
        }
        (rest, width) = (after, width + 2);
    }
    total
}

/// Adds the lower triangle of `sum_rows a a_r y_r'`, in the order of [`Pairs`].
#[inline(always)]
fn products<S: Simd>(s: S, ry: &[S::f64s], y: &[S::f64s], wide: usize, sums: &mut [S::f64s]) {
    let mut rest = sums;
    for (t, pair) in ry.chunks_exact(2 * wide).enumerate() {
        let (here, after) = rest.split_at_mut(2 * (2 * t + 2));
        let (a, b) = pair.split_at(wide);
        let mut tiles = here.chunks_exact_mut(2 * SIDE);
        let mut columns = y;
        for sums in &mut tiles {
            tile::<S, SIDE>(s, a, b, columns, wide, sums);
            columns = &columns[SIDE * wide..];
        }
        let sums = tiles.into_remainder();
        if !sums.is_empty() {
            tile::<S, 2>(s, a, b, columns, wide, sums);
        }
        rest = after;
    }
}

/// Two rows of the triangle and `N` of its columns.
#[inline(always)]
fn tile<S: Simd, const N: usize>(
    s: S,
    a: &[S::f64s],
    b: &[S::f64s],
    y: &[S::f64s],
    wide: usize,
    sums: &mut [S::f64s],
) {
    let zero = s.splat_f64s(0.0);
    let (mut upper, mut lower) = ([zero; N], [zero; N]);
    for c in 0..N {
        (upper[c], lower[c]) = (sums[2 * c], sums[2 * c + 1]);
    }
    let (a, b, y) = (&a[..wide], &b[..wide], &y[..N * wide]);
    for p in 0..wide {
        for c in 0..N {
            upper[c] = s.mul_add_e_f64s(a[p], y[c * wide + p], upper[c]);
            lower[c] = s.mul_add_e_f64s(b[p], y[c * wide + p], lower[c]);
        }
    }
    for c in 0..N {
        (sums[2 * c], sums[2 * c + 1]) = (upper[c], lower[c]);
    }
}
