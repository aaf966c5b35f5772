//! `Gaps`: cells that are missing in a block of rows, which each component completes in its own way.

use super::Shape;
use super::kernel::{BLOCK, Cells, Known};
use super::packed::Pairs;
use super::partial::{gain, write_covariance, write_factor};
use crate::special::LN_SQRT_2PI;
use crate::triangle::{self, dot, len};

/// Numbers kept of patterns of missing cells: what stays in the second cache.
const KEPT: usize = 1 << 17;
/// The most patterns that are kept.
const PATTERNS: usize = 64;

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
    /// Deviations of the cells that are there.
    there: &'a mut [f64],
    patterns: Patterns<'a>,
}

impl<'a> Gaps<'a> {
    /// How many numbers it works with.
    pub(super) fn room(known: &Known<'_>) -> usize {
        let (k, dim) = (known.len(), known.dim);
        BLOCK * dim * (1 + k) + BLOCK * k + dim + Patterns::room(known)
    }

    pub(super) fn new(known: Known<'a>, room: &'a mut [f64]) -> Gaps<'a> {
        let (k, dim) = (known.len(), known.dim);
        let (cells, room) = room.split_at_mut(BLOCK * dim);
        let (filled, room) = room.split_at_mut(BLOCK * dim * k);
        let (gain, room) = room.split_at_mut(BLOCK * k);
        let (there, room) = room.split_at_mut(dim);
        let patterns = Patterns::new(&known, room);
        Gaps { known, rows: [(0, 0); BLOCK], count: 0, cells, filled, gain, there, patterns }
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

/// The column of a cell of a block.
fn column(cell: f64) -> usize {
    cell as usize / BLOCK
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
            let pattern = match known.shape {
                Shape::Full => Some(self.patterns.get(&known, cells)),
                Shape::Diagonal => None,
            };
            for k in 0..known.len() {
                let mean = &known.mean[k * dim..(k + 1) * dim];
                let filled = &mut self.filled[k * BLOCK * dim..][own.clone()];
                self.gain[k * BLOCK + g] = match pattern {
                    None => {
                        let w = &known.factor[k * dim..(k + 1) * dim];
                        let each = filled.iter_mut().zip(cells).map(|(filled, cell)| {
                            let j = column(*cell);
                            *filled = mean[j];
                            LN_SQRT_2PI - w[j].ln()
                        });
                        each.sum()
                    }
                    Some(slot) => {
                        let on = self.patterns.of(slot, k, m);
                        let there = &mut self.there[..dim - m];
                        let (mut next, mut j) = (0, 0);
                        for cell in cells.iter().map(|c| column(*c)).chain([dim]) {
                            for j in j..cell {
                                there[next] = x[j * BLOCK + r] - mean[j];
                                next += 1;
                            }
                            j = cell + 1;
                        }
                        let each = filled.iter_mut().zip(cells).enumerate();
                        for (a, (filled, cell)) in each {
                            let slopes = &on.slopes[a * (dim - m)..(a + 1) * (dim - m)];
                            *filled = mean[column(*cell)] + dot(slopes, there);
                        }
                        on.gain
                    }
                };
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
                Shape::Full => Some(self.patterns.get(&known, cells)),
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
                            let w = known.factor[k * dim + j];
                            second[j * lanes] += share / (w * w);
                        }
                    }
                    Some(slot) => {
                        let covariance = self.patterns.of(slot, k, m).covariance;
                        for (a, row) in triangle::rows(covariance).take(m).enumerate() {
                            for (c, entry) in row.iter().enumerate() {
                                let at = Pairs::at(column(cells[a]), column(cells[c]));
                                second[at * lanes] += share * entry;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A number that nearly tells the columns of these cells from others.
fn tag(cells: &[f64]) -> f64 {
    let bits = cells.iter().fold(0u64, |sum, cell| {
        let j = column(*cell) as u32;
        sum.wrapping_add((1u64 << (j % 53)).wrapping_mul(u64::from(j / 53) + 1))
    });
    (bits & ((1 << 53) - 1)) as f64
}

/// What a component makes of a pattern of missing cells.
struct Pattern<'a> {
    gain: f64,
    /// `-P_mm^-1 P_mo`, row by row.
    slopes: &'a [f64],
    /// The lower triangle of `P_mm^-1`.
    covariance: &'a [f64],
}

/// The patterns met last. What they hold depends on the components alone: whether a pattern is
/// still there changes no bit.
struct Patterns<'a> {
    dim: usize,
    /// Numbers a component of a pattern.
    each: usize,
    /// Of each pattern a number that nearly tells it from others.
    tags: &'a mut [f64],
    /// How many columns are missing, which, and the numbers of the components.
    kept: &'a mut [f64],
    stride: usize,
    slots: usize,
    held: usize,
    next: usize,
    /// The precision of a component, and room for the factor of a block of it and its inverse.
    work: &'a mut [f64],
}

impl<'a> Patterns<'a> {
    /// A gain, and slopes and a covariance, which are the most where all columns are missing.
    fn each(dim: usize) -> usize {
        1 + len(dim)
    }
    fn stride(known: &Known<'_>) -> usize {
        1 + known.dim + known.len() * Patterns::each(known.dim)
    }
    fn slots(known: &Known<'_>) -> usize {
        (KEPT / Patterns::stride(known)).clamp(1, PATTERNS)
    }
    fn room(known: &Known<'_>) -> usize {
        match known.shape {
            Shape::Diagonal => 0,
            Shape::Full => {
                let kept = Patterns::slots(known) * (1 + Patterns::stride(known));
                kept + (known.len() + 2) * len(known.dim)
            }
        }
    }

    fn new(known: &Known<'_>, room: &'a mut [f64]) -> Patterns<'a> {
        let (dim, stride, slots) = (known.dim, Patterns::stride(known), Patterns::slots(known));
        let each = Patterns::each(dim);
        if known.shape == Shape::Diagonal {
            let (tags, room) = room.split_at_mut(0);
            let (kept, work) = room.split_at_mut(0);
            return Patterns { dim, each, tags, kept, stride, slots: 0, held: 0, next: 0, work };
        }
        let (tags, room) = room.split_at_mut(slots);
        let (kept, work) = room.split_at_mut(slots * stride);
        for (k, precision) in work.chunks_exact_mut(len(dim)).take(known.len()).enumerate() {
            let factor = &known.factor[k * Pairs::new(dim).len()..];
            let w = |i: usize, j: usize| factor[Pairs::at(i, j)];
            for i in 0..dim {
                for j in 0..=i {
                    precision[len(i) + j] = (i..dim).map(|q| w(q, i) * w(q, j)).sum();
                }
            }
        }
        Patterns { dim, each, tags, kept, stride, slots, held: 0, next: 0, work }
    }

    /// Where the pattern of these cells of a row is kept.
    fn get(&mut self, known: &Known<'_>, cells: &[f64]) -> usize {
        let tag = tag(cells);
        for slot in (0..self.held).filter(|&slot| self.tags[slot] == tag) {
            let (count, columns) = self.kept[slot * self.stride..][..1 + self.dim].split_at(1);
            let mut each = columns.iter().zip(cells);
            if count[0] == cells.len() as f64 && each.all(|(j, c)| *j == column(*c) as f64) {
                return slot;
            }
        }
        let slot = self.next;
        self.next = (self.next + 1) % self.slots;
        self.held = self.slots.min(self.held + 1);
        self.tags[slot] = tag;
        self.make(known.len(), slot, cells);
        slot
    }

    #[inline(never)]
    fn make(&mut self, components: usize, slot: usize, cells: &[f64]) {
        let (dim, m) = (self.dim, cells.len());
        let kept = &mut self.kept[slot * self.stride..(slot + 1) * self.stride];
        let (head, numbers) = kept.split_at_mut(1 + dim);
        head[0] = m as f64;
        head[1..].iter_mut().zip(cells).for_each(|(j, c)| *j = column(*c) as f64);
        let missing = &head[1..1 + m];
        let (precisions, room) = self.work.split_at_mut(components * len(dim));
        let (factor, inverse) = room.split_at_mut(len(dim));
        let (factor, inverse) = (&mut factor[..len(m)], &mut inverse[..len(m)]);
        for (k, out) in numbers.chunks_exact_mut(self.each).enumerate() {
            let precision = &precisions[k * len(dim)..(k + 1) * len(dim)];
            let entry = |i: usize, j: usize| precision[len(i.max(j)) + i.min(j)];
            write_factor(missing, entry, factor);
            let (gained, out) = out.split_at_mut(1);
            gained[0] = gain(m, factor);
            let (slopes, out) = out.split_at_mut(m * (dim - m));
            let covariance = &mut out[..len(m)];
            write_covariance(m, factor, inverse, covariance);
            let there = |i: &usize| !missing.contains(&(*i as f64));
            for (o, i) in (0..dim).filter(there).enumerate() {
                for a in 0..m {
                    let terms = (0..m).map(|c| {
                        let own = covariance[len(a.max(c)) + a.min(c)];
                        own * entry(missing[c] as usize, i)
                    });
                    slopes[a * (dim - m) + o] = -terms.sum::<f64>();
                }
            }
        }
    }

    /// What component `k` makes of the pattern in a slot, of `m` missing columns.
    fn of(&self, slot: usize, k: usize, m: usize) -> Pattern<'_> {
        let from = slot * self.stride + 1 + self.dim + k * self.each;
        let (gain, rest) = self.kept[from..from + self.each].split_at(1);
        let (slopes, rest) = rest.split_at(m * (self.dim - m));
        Pattern { gain: gain[0], slopes, covariance: &rest[..len(m)] }
    }
}
