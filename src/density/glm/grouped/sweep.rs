//! One pass over a chunk of rows at several points: predictors, means, residuals and their sums.
//!
//! The numbers at the points (`lanes`) of one row stand side by side, in registers of `W` or, where
//! they do not fill the last, in registers that overlap. The means are computed over a block of rows
//! at once, so that only there no lane is lost.

mod columns;

use pulp::{Simd, WithSimd};

use super::super::kernel::{Link, Shape};
use super::rows::{Rows, Segment};
use super::tiles::{Tiles, over_tiles};
use crate::simd;
use crate::threads::Cut;

/// At least as many lanes as any register has.
const WIDEST: usize = 16;
/// Numbers in a block: what stays in a core's first cache.
const BLOCK: usize = 1024;

/// How a chunk falls into blocks, and what it leaves behind: its part. It depends on the data and the
/// number of points alone.
///
/// A part holds (each times `lanes`) the value in two terms, the sum of squared residuals, the sums
/// for each column, and for each segment with rows in the chunk those of its intercept and slopes.
/// Every sum goes from row to row, so that it does not depend on the number of points.
#[derive(Debug)]
pub(super) struct Layout {
    lanes: usize,
    block: usize,
    /// Sums of a chunk that are not those of a segment.
    fixed: usize,
    /// Sums of a segment.
    each: usize,
}

impl Layout {
    pub(super) fn new(shape: &Shape, rows: &Rows, lanes: usize) -> Layout {
        let block = (BLOCK / lanes).next_multiple_of(8).clamp(8, rows.chunk());
        let fixed = (3 + shape.n_columns) * lanes;
        let each = (1 + shape.n_slopes) * lanes;
        Layout { lanes, block, fixed, each }
    }

    pub(super) fn cut(&self, rows: &Rows) -> Cut {
        // An exponential a row and point; two multiplications for whatever is linear.
        let per_row = 0.8 + 0.06 * (self.fixed + self.each) as f64 / self.lanes as f64;
        Cut {
            chunks: rows.chunks(),
            part: self.fixed + rows.most_segments * self.each,
            nanoseconds: per_row * (rows.len() * self.lanes) as f64,
        }
    }

    /// Numbers of a block, and a register more.
    fn room(&self) -> usize {
        self.block * self.lanes + WIDEST
    }

    pub(super) fn block_len(&self) -> usize {
        2 * self.room()
    }

    /// Adds the part of a chunk to value, squares and gradient.
    pub(super) fn add(
        &self,
        shape: &Shape,
        segments: &[Segment],
        part: &[f64],
        out: &mut [f64],
        squares: &mut [f64],
        grad: &mut [f64],
    ) {
        let lanes = self.lanes;
        let (linear, rest) = part.split_at(lanes);
        let (normalizer, rest) = rest.split_at(lanes);
        let (own_squares, rest) = rest.split_at(lanes);
        let (columns, sums) = rest.split_at(shape.n_columns * lanes);
        add(linear, out);
        add(normalizer, out);
        add(own_squares, squares);
        let (grad_columns, groups) = grad.split_at_mut(columns.len());
        add(columns, grad_columns);
        let (intercepts, slopes) = groups.split_at_mut(shape.n_groups * lanes);
        let q = self.each - lanes;
        for (s, sums) in segments.iter().zip(sums.chunks_exact(self.each)) {
            add(&sums[..lanes], &mut intercepts[s.group * lanes..]);
            add(&sums[lanes..], &mut slopes[s.group * q..]);
        }
    }
}

fn add(x: &[f64], sum: &mut [f64]) {
    sum.iter_mut().zip(x).for_each(|(s, x)| *s += x);
}

/// The pass over one chunk: writes `part`.
pub(super) struct Sweep<'a, const VALUE: bool> {
    pub shape: &'a Shape,
    pub rows: &'a Rows,
    pub layout: &'a Layout,
    pub chunk: usize,
    /// Coefficients, intercepts and slopes, each at every point.
    pub x: &'a [f64],
    pub block: &'a mut [f64],
    pub part: &'a mut [f64],
}

impl<const VALUE: bool> WithSimd for Sweep<'_, VALUE> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Sweep { shape, rows, layout, chunk, x, block, part } = self;
        let lanes = layout.lanes;
        let (from, to) = rows.range(chunk);
        let segments = rows.segments_of(chunk);
        part[..layout.fixed + segments.len() * layout.each].fill(0.0);
        let (linear, part) = part.split_at_mut(lanes);
        let (normalizer, part) = part.split_at_mut(lanes);
        let (squares, part) = part.split_at_mut(lanes);
        let (columns, sums) = part.split_at_mut(shape.n_columns * lanes);
        let (eta, rest) = block.split_at_mut(layout.room());
        let mut chunk =
            Chunk::<VALUE> { shape, rows, lanes, x, linear, normalizer, squares, columns, sums };
        for lo in (from..to).step_by(layout.block) {
            let hi = to.min(lo + layout.block);
            chunk.block(s, segments, lo, hi, eta, rest);
        }
    }
}

/// A chunk at work.
struct Chunk<'a, const VALUE: bool> {
    shape: &'a Shape,
    rows: &'a Rows,
    lanes: usize,
    x: &'a [f64],
    /// `sum y eta`
    linear: &'a mut [f64],
    /// The rest of the value.
    normalizer: &'a mut [f64],
    squares: &'a mut [f64],
    columns: &'a mut [f64],
    /// Intercept and slopes of each segment.
    sums: &'a mut [f64],
}

/// The rows of a segment within a block.
#[derive(Clone, Copy)]
struct Piece {
    /// Which of the chunk's segments.
    index: usize,
    group: usize,
    /// Rows of the data.
    start: usize,
    end: usize,
    /// The first row of the block.
    block: usize,
}

impl<const VALUE: bool> Chunk<'_, VALUE> {
    #[inline(always)]
    fn block<S: Simd>(
        &mut self,
        s: S,
        segments: &[Segment],
        lo: usize,
        hi: usize,
        eta: &mut [f64],
        rest: &mut [f64],
    ) {
        let (p, q) = (self.shape.n_columns, self.shape.n_slopes);
        let first = segments.partition_point(|s| s.end <= lo);
        let pieces = || {
            let within = segments[first..].iter().take_while(|s| s.start < hi);
            within.enumerate().map(|(k, s)| Piece {
                index: first + k,
                group: s.group,
                start: s.start.max(lo),
                end: s.end.min(hi),
                block: lo,
            })
        };
        let (offset, used) = (&self.rows.offset[..], (hi - lo) * self.lanes);
        // What is more than an intercept and a slope comes first and goes last.
        let more = p > 0 || q > 1;
        let begun = more || !offset.is_empty();
        if begun {
            for (i, eta) in (lo..hi).zip(eta.chunks_exact_mut(self.lanes)) {
                eta.fill(offset.get(i).copied().unwrap_or(0.0));
            }
        }
        if more {
            over_tiles!(S, self.lanes, tiles => {
                self.predict_columns(s, tiles, lo, &mut eta[..used]);
                for piece in pieces() {
                    for j in 1..q {
                        self.predict_slope(s, tiles, piece, j, eta);
                    }
                }
            });
        }
        over_tiles!(S, self.lanes, tiles => {
            for piece in pieces() {
                if q == 0 {
                    self.predict::<S, _, false>(s, tiles, piece, begun, eta);
                } else {
                    self.predict::<S, _, true>(s, tiles, piece, begun, eta);
                }
            }
        });
        self.means(s, &mut eta[..used], &mut rest[..used]);
        over_tiles!(S, self.lanes, tiles => {
            for piece in pieces() {
                if q == 0 {
                    self.pull_back::<S, _, false>(s, tiles, piece, more, eta, rest);
                } else {
                    self.pull_back::<S, _, true>(s, tiles, piece, more, eta, rest);
                }
            }
        });
        if more {
            over_tiles!(S, self.lanes, tiles => {
                for piece in pieces() {
                    for j in 1..q {
                        self.pull_back_slope(s, tiles, piece, j, eta);
                    }
                }
                self.pull_back_columns(s, tiles, lo, &eta[..used]);
            });
        }
    }

    /// Where in `x` the intercept of a group starts.
    #[inline(always)]
    fn intercept(&self, group: usize) -> &[f64] {
        &self.x[(self.shape.n_columns + group) * self.lanes..]
    }

    /// The same for slope `j`.
    #[inline(always)]
    fn slope(&self, group: usize, j: usize) -> &[f64] {
        let Shape { n_columns, n_groups, n_slopes, .. } = *self.shape;
        &self.x[(n_columns + n_groups + group * n_slopes + j) * self.lanes..]
    }

    /// The sums of a segment, from that of its intercept (0) or of slope `j - 1` on.
    #[inline(always)]
    fn sums(&mut self, index: usize, j: usize) -> &mut [f64] {
        &mut self.sums[(index * (1 + self.shape.n_slopes) + j) * self.lanes..]
    }

    /// `eta = a[g] + w_0 b_0[g]`, added to what is there if it was `begun`; adds `y eta` to the value.
    ///
    /// Of registers that reach into the next rows, what lies there is 0: it changes nothing, or is
    /// written again with the next row.
    #[inline(always)]
    fn predict<S: Simd, const T: usize, const SLOPE: bool>(
        &mut self,
        s: S,
        tiles: Tiles<T>,
        piece: Piece,
        begun: bool,
        eta: &mut [f64],
    ) {
        let (lanes, q) = (self.lanes, self.shape.n_slopes);
        let value_too = VALUE && self.shape.link != Link::Normal;
        let a = tiles.load(s, self.intercept(piece.group));
        let b = if SLOPE { tiles.load(s, self.slope(piece.group, 0)) } else { a };
        let mut value = tiles.load(s, self.linear);
        for i in piece.start..piece.end {
            let row = (i - piece.block) * lanes;
            let mut sum = a;
            if SLOPE {
                let w = s.splat_f64s(self.rows.w[i * q]);
                for t in 0..T {
                    sum[t] = s.mul_add_e_f64s(w, b[t], sum[t]);
                }
            }
            if begun {
                let before = tiles.load_row::<S>(eta, row);
                for t in 0..T {
                    sum[t] = s.add_f64s(sum[t], before[t]);
                }
            }
            tiles.store_row::<S>(sum, eta, row);
            if value_too {
                let y = s.splat_f64s(self.rows.y[i]);
                for t in 0..T {
                    value[t] = s.mul_add_e_f64s(y, sum[t], value[t]);
                }
            }
        }
        if value_too {
            tiles.store(s, value, self.linear);
        }
    }

    /// Turns predictors into means, and writes to `rest` what a trial adds to the value besides
    /// `y eta`: less the log of what normalizes it.
    #[inline(always)]
    fn means<S: Simd>(&self, s: S, eta: &mut [f64], rest: &mut [f64]) {
        // Means are bounded where predictors need not be: zero times what is not finite says so.
        let zero = s.splat_f64s(0.0);
        macro_rules! each {
            ($eta:ident, $rest:ident => $body:expr) => {
                let (eta, eta_tail) = S::as_mut_simd_f64s(eta);
                let (rest, rest_tail) = S::as_mut_simd_f64s(rest);
                for ($eta, $rest) in eta.iter_mut().zip(rest.iter_mut()) {
                    $body;
                }
                if !eta_tail.is_empty() {
                    let (mut last, mut last_rest) = (s.partial_load_f64s(eta_tail), zero);
                    let ($eta, $rest) = (&mut last, &mut last_rest);
                    $body;
                    s.partial_store_f64s(eta_tail, last);
                    s.partial_store_f64s(rest_tail, last_rest);
                }
            };
        }
        match self.shape.link {
            Link::PoissonLog => {
                each!(eta, _rest => *eta = s.mul_add_e_f64s(*eta, zero, simd::exp(s, *eta)));
            }
            Link::BernoulliLogit | Link::BinomialLogit if VALUE => {
                each!(eta, rest => {
                    (*rest, _) = simd::log_sigmoid_pair(s, s.neg_f64s(*eta));
                    *eta = s.mul_add_e_f64s(*eta, zero, simd::sigmoid(s, *eta));
                });
            }
            Link::BernoulliLogit | Link::BinomialLogit => {
                each!(eta, _rest => *eta = s.mul_add_e_f64s(*eta, zero, simd::sigmoid(s, *eta)));
            }
            Link::Normal => {}
        }
    }

    /// Adds residuals, and residuals times the first slope's `w`, to the sums of the piece; leaves the
    /// residuals in `eta` if there is `more`.
    #[inline(always)]
    fn pull_back<S: Simd, const T: usize, const SLOPE: bool>(
        &mut self,
        s: S,
        tiles: Tiles<T>,
        piece: Piece,
        more: bool,
        eta: &mut [f64],
        rest: &[f64],
    ) {
        let (lanes, q, link) = (self.lanes, self.shape.n_slopes, self.shape.link);
        let mut a = tiles.load(s, self.sums(piece.index, 0));
        let mut b = if SLOPE { tiles.load(s, self.sums(piece.index, 1)) } else { a };
        let mut value = tiles.load(s, self.normalizer);
        let mut squares = tiles.load(s, self.squares);
        let trials = &self.rows.trials[..];
        for i in piece.start..piece.end {
            let row = (i - piece.block) * lanes;
            let mean = tiles.load_row::<S>(eta, row);
            let y = s.splat_f64s(self.rows.y[i]);
            let mut residual = mean;
            if trials.is_empty() {
                for t in 0..T {
                    residual[t] = s.sub_f64s(y, mean[t]);
                }
            } else {
                let n = s.splat_f64s(trials[i]);
                for t in 0..T {
                    residual[t] = s.negate_mul_add_e_f64s(n, mean[t], y);
                }
            }
            for t in 0..T {
                a[t] = s.add_f64s(a[t], residual[t]);
            }
            if SLOPE {
                let w = s.splat_f64s(self.rows.w[i * q]);
                for t in 0..T {
                    b[t] = s.mul_add_e_f64s(w, residual[t], b[t]);
                }
            }
            if more {
                tiles.store(s, residual, &mut eta[row..row + lanes]);
            }
            if link == Link::Normal {
                for t in 0..T {
                    squares[t] = s.mul_add_e_f64s(residual[t], residual[t], squares[t]);
                }
            } else if VALUE && link == Link::PoissonLog {
                for t in 0..T {
                    value[t] = s.sub_f64s(value[t], mean[t]);
                }
            } else if VALUE {
                let rest = tiles.load_row::<S>(rest, row);
                let n = s.splat_f64s(trials.get(i).copied().unwrap_or(1.0));
                for t in 0..T {
                    value[t] = s.mul_add_e_f64s(n, rest[t], value[t]);
                }
            }
        }
        if link == Link::Normal {
            tiles.store(s, squares, self.squares);
        } else if VALUE {
            tiles.store(s, value, self.normalizer);
        }
        tiles.store(s, a, self.sums(piece.index, 0));
        if SLOPE {
            tiles.store(s, b, self.sums(piece.index, 1));
        }
    }
}
