//! `Tile`: the part of the table that the words of one document have.

use pulp::Simd;

use super::stride;
use crate::simd;

/// The part of the table that a document's words have, turned so that words lie side by side.
pub(super) struct Tile<'a, S: Simd> {
    /// Topic by topic.
    table: &'a [S::f64s],
    counts: &'a [S::f64s],
    ratios: &'a mut [f64],
}

impl<'a, S: Simd> Tile<'a, S> {
    #[inline(always)]
    pub(super) fn new(
        _: S,
        room: &'a mut [f64],
        words: &[u32],
        counts: &[u32],
        table: &[f64],
        k: usize,
    ) -> Self {
        let (n, stride) = (words.len(), stride(k));
        let width = n.next_multiple_of(S::F64_LANES);
        let (tile, room) = room.split_at_mut(k * width);
        let (own_counts, room) = room.split_at_mut(width);
        for (i, (&word, &count)) in words.iter().zip(counts).enumerate() {
            let row = &table[word as usize * stride..][..k];
            for (k, &x) in row.iter().enumerate() {
                tile[k * width + i] = x;
            }
            own_counts[i] = f64::from(count);
        }
        // What fills the last register is expected once, and never counted.
        for row in tile.chunks_exact_mut(width) {
            row[n..].fill(1.0);
        }
        own_counts[n..].fill(0.0);
        let ratios = &mut room[..width];
        Tile { table: S::as_simd_f64s(tile).0, counts: S::as_simd_f64s(own_counts).0, ratios }
    }

    /// Count over expectation of each word.
    #[inline(always)]
    pub(super) fn predict(&mut self, s: S, shares: &[f64]) {
        let wide = self.counts.len();
        let (ratios, _) = S::as_mut_simd_f64s(self.ratios);
        let mut at = 0;
        while at + 4 <= wide {
            let sums = expect::<S, 4>(s, shares, self.table, wide, at);
            for c in 0..4 {
                ratios[at + c] = s.div_f64s(self.counts[at + c], sums[c]);
            }
            at += 4;
        }
        for at in at..wide {
            let [sum] = expect::<S, 1>(s, shares, self.table, wide, at);
            ratios[at] = s.div_f64s(self.counts[at], sum);
        }
    }

    /// The same, and the sum of counts times the logarithm of the expectation.
    #[inline(always)]
    pub(super) fn predict_last(&mut self, s: S, shares: &[f64]) -> f64 {
        let wide = self.counts.len();
        let (ratios, _) = S::as_mut_simd_f64s(self.ratios);
        let mut total = s.splat_f64s(0.0);
        for at in 0..wide {
            let [sum] = expect::<S, 1>(s, shares, self.table, wide, at);
            ratios[at] = s.div_f64s(self.counts[at], sum);
            total = s.mul_add_e_f64s(self.counts[at], simd::ln(s, sum), total);
        }
        s.reduce_sum_f64s(total)
    }

    /// The sum over the words of ratio times table, for each topic.
    #[inline(always)]
    pub(super) fn add_up(&self, s: S, out: &mut [f64]) {
        let wide = self.counts.len();
        let (ratios, _) = S::as_simd_f64s(self.ratios);
        let mut groups = out.chunks_exact_mut(4);
        let mut table = self.table;
        for out in &mut groups {
            gather::<S, 4>(s, ratios, table, out);
            table = &table[4 * wide..];
        }
        for out in groups.into_remainder() {
            gather::<S, 1>(s, ratios, table, std::slice::from_mut(out));
            table = &table[wide..];
        }
    }

    /// The ratios times the weight of the document.
    #[inline(always)]
    pub(super) fn write(&self, weight: f64, out: &mut [f64]) {
        for (out, ratio) in out.iter_mut().zip(&*self.ratios) {
            *out = weight * ratio;
        }
    }
}

/// `sum_k share_k table_kw` for `N` registers of words.
#[inline(always)]
fn expect<S: Simd, const N: usize>(
    s: S,
    shares: &[f64],
    table: &[S::f64s],
    wide: usize,
    at: usize,
) -> [S::f64s; N] {
    let mut sums = [s.splat_f64s(0.0); N];
    for (row, &share) in table.chunks_exact(wide).zip(shares) {
        let (row, share) = (&row[at..at + N], s.splat_f64s(share));
        for c in 0..N {
            sums[c] = s.mul_add_e_f64s(share, row[c], sums[c]);
        }
    }
    sums
}

/// `sum_w ratio_w table_kw` for `N` topics.
#[inline(always)]
fn gather<S: Simd, const N: usize>(s: S, ratios: &[S::f64s], table: &[S::f64s], out: &mut [f64]) {
    let wide = ratios.len();
    let table = &table[..N * wide];
    let mut sums = [s.splat_f64s(0.0); N];
    for (i, ratio) in ratios.iter().enumerate() {
        for c in 0..N {
            sums[c] = s.mul_add_e_f64s(*ratio, table[c * wide + i], sums[c]);
        }
    }
    for c in 0..N {
        out[c] = s.reduce_sum_f64s(sums[c]);
    }
}
