//! `Patterns`: what components make of the columns that are missing in a row, kept for the rows that
//! lack the same.

use super::Shape;
use super::kernel::{BLOCK, Known};
use super::packed::Pairs;
use super::partial::{gain, write_covariance, write_factor};
use crate::special::LN_SQRT_2PI;
use crate::triangle::len;

/// Numbers kept in all: two megabytes.
const KEPT: usize = 1 << 18;
/// The most patterns that are kept.
const PATTERNS: usize = 512;
/// Places where a pattern may stand.
const WAYS: usize = 4;

/// What a component makes of a pattern of `m` missing columns.
pub(super) struct Pattern<'a> {
    /// `|m| ln sqrt(2 pi) - ln|P_mm| / 2`
    pub(super) gain: f64,
    /// `-P_mm^-1 P_mo`, row by row.
    pub(super) slopes: &'a [f64],
    /// The lower triangle of `P_mm^-1`.
    pub(super) covariance: &'a [f64],
}

/// The patterns met last. What they hold depends on the components alone: whether a pattern is
/// still there changes no bit.
pub(super) struct Patterns<'a> {
    dim: usize,
    /// Numbers a component of a pattern.
    each: usize,
    /// Of each pattern a number that nearly tells it from others.
    tags: &'a mut [f64],
    /// How many columns are missing, which, which not, and the numbers of the components.
    kept: &'a mut [f64],
    stride: usize,
    /// Places where a pattern may stand, and where the next one goes.
    ways: usize,
    next: usize,
    /// The precisions of the components, and room for the factor of a block and its inverse.
    work: &'a mut [f64],
}

/// The column of a cell of a block.
#[inline(always)]
pub(super) fn column(cell: f64) -> usize {
    cell as usize / BLOCK
}

/// A number that nearly tells the columns of these cells from others: no two patterns of up to 53
/// columns have the same.
fn tag(cells: &[f64]) -> u64 {
    let bits = cells.iter().fold(0u64, |sum, cell| {
        let j = column(*cell) as u32;
        sum.wrapping_add((1u64 << (j % 53)).wrapping_mul(u64::from(j / 53) + 1))
    });
    bits & ((1 << 53) - 1)
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
        let most = (KEPT / Patterns::stride(known)).clamp(1, PATTERNS);
        most / WAYS.min(most) * WAYS.min(most)
    }

    /// How many numbers they work with: none where columns are independent.
    pub(super) fn room(known: &Known<'_>) -> usize {
        match known.shape {
            Shape::Diagonal => 0,
            Shape::Full => {
                let kept = Patterns::slots(known) * (1 + Patterns::stride(known));
                kept + (known.len() + 2) * len(known.dim)
            }
        }
    }

    /// None yet.
    pub(super) fn new(known: &Known<'_>, room: &'a mut [f64]) -> Patterns<'a> {
        let (dim, stride) = (known.dim, Patterns::stride(known));
        let slots = match known.shape {
            Shape::Diagonal => 0,
            Shape::Full => Patterns::slots(known),
        };
        let (tags, room) = room.split_at_mut(slots);
        let (kept, work) = room.split_at_mut(slots * stride);
        tags.fill(-1.0);
        for (k, precision) in work.chunks_exact_mut(len(dim)).take(known.len()).enumerate() {
            let factor = &known.factor[k * Pairs::new(dim).len()..];
            let w = |i: usize, j: usize| factor[Pairs::at(i, j)];
            for i in 0..dim {
                for j in 0..=i {
                    precision[len(i) + j] = (i..dim).map(|q| w(q, i) * w(q, j)).sum();
                }
            }
        }
        let each = Patterns::each(dim);
        Patterns { dim, each, tags, kept, stride, ways: WAYS.min(slots), next: 0, work }
    }

    /// Where the pattern of these cells of a row is kept.
    #[inline(always)]
    pub(super) fn get(&mut self, components: usize, cells: &[f64]) -> usize {
        let tag = tag(cells);
        let sets = self.tags.len() / self.ways;
        let first = (tag.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % sets * self.ways;
        for slot in first..first + self.ways {
            if self.tags[slot] == tag as f64 {
                let (count, columns) = self.kept[slot * self.stride..][..1 + self.dim].split_at(1);
                let mut each = columns.iter().zip(cells);
                if count[0] == cells.len() as f64 && each.all(|(j, c)| *j == column(*c) as f64) {
                    return slot;
                }
            }
        }
        let slot = first + self.next;
        self.next = (self.next + 1) % self.ways;
        self.tags[slot] = tag as f64;
        self.make(components, slot, cells);
        slot
    }

    #[inline(never)]
    fn make(&mut self, components: usize, slot: usize, cells: &[f64]) {
        let (dim, m) = (self.dim, cells.len());
        let kept = &mut self.kept[slot * self.stride..(slot + 1) * self.stride];
        let (head, numbers) = kept.split_at_mut(1 + dim);
        head[0] = m as f64;
        let (missing, there) = head[1..].split_at_mut(m);
        let mut next = 0;
        for (at, (out, cell)) in missing.iter_mut().zip(cells).enumerate() {
            *out = column(*cell) as f64;
            while next + at < column(*cell) {
                there[next] = (next + at) as f64;
                next += 1;
            }
        }
        (next..dim - m).for_each(|o| there[o] = (o + m) as f64);
        let (precisions, room) = self.work.split_at_mut(components * len(dim));
        let (factor, inverse) = room.split_at_mut(len(dim));
        let (factor, inverse) = (&mut factor[..len(m)], &mut inverse[..len(m)]);
        for (k, out) in numbers.chunks_exact_mut(self.each).enumerate() {
            let precision = &precisions[k * len(dim)..(k + 1) * len(dim)];
            let entry = |i: usize, j: usize| precision[len(i.max(j)) + i.min(j)];
            let (gained, out) = out.split_at_mut(1);
            let (slopes, out) = out.split_at_mut(m * (dim - m));
            let covariance = &mut out[..len(m)];
            if let [only] = *missing {
                let own = entry(only as usize, only as usize);
                (gained[0], covariance[0]) = (LN_SQRT_2PI - 0.5 * own.ln(), 1.0 / own);
                for (slope, o) in slopes.iter_mut().zip(&*there) {
                    *slope = -entry(only as usize, *o as usize) / own;
                }
                continue;
            }
            write_factor(missing, entry, factor);
            gained[0] = gain(m, factor);
            write_covariance(m, factor, inverse, covariance);
            slopes.fill(0.0);
            for (c, &i) in missing.iter().enumerate() {
                for (o, &j) in there.iter().enumerate() {
                    let p = entry(i as usize, j as usize);
                    for a in 0..m {
                        slopes[a * (dim - m) + o] -= covariance[len(a.max(c)) + a.min(c)] * p;
                    }
                }
            }
        }
    }

    /// The columns that are missing in the pattern in a slot, of `m` missing columns, and the others.
    #[inline(always)]
    pub(super) fn columns(&self, slot: usize, m: usize) -> (&[f64], &[f64]) {
        self.kept[slot * self.stride + 1..][..self.dim].split_at(m)
    }

    /// What component `k` makes of that pattern.
    #[inline(always)]
    pub(super) fn of(&self, slot: usize, k: usize, m: usize) -> Pattern<'_> {
        let from = slot * self.stride + 1 + self.dim + k * self.each;
        let (gain, rest) = self.kept[from..from + self.each].split_at(1);
        let (slopes, rest) = rest.split_at(m * (self.dim - m));
        Pattern { gain: gain[0], slopes, covariance: &rest[..len(m)] }
    }
}
