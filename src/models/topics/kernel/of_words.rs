//! Word by word, topics side by side in registers: counts added up, topics moved, their table made.

use pulp::{Simd, WithSimd};

use super::{Documents, stride};
use crate::models::topics::plan::Plan;
use crate::simd;

/// Adds to `sums`, a row for each word of a range, ratios times shares of the documents from place
/// `start` on.
pub(in crate::models::topics) struct Scatter<'a> {
    pub(in crate::models::topics) documents: Documents<'a>,
    pub(in crate::models::topics) plan: &'a Plan,
    pub(in crate::models::topics) range: usize,
    pub(in crate::models::topics) start: usize,
    /// Where the ratios of each document begin.
    pub(in crate::models::topics) offsets: &'a [usize],
    pub(in crate::models::topics) ratios: &'a [f64],
    pub(in crate::models::topics) shares: &'a [f64],
    pub(in crate::models::topics) sums: &'a mut [f64],
}

impl WithSimd for Scatter<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Scatter { documents, plan, range, start, offsets, ratios, shares, sums } = self;
        let (stride, from) = (stride(documents.k), plan.words[range]);
        for (i, shares) in shares.chunks_exact(stride).enumerate() {
            let d = documents.at(start + i);
            let entries = plan.entries(d, range);
            let words = &documents.corpus.document(d).0[entries.clone()];
            let ratios = &ratios[offsets[i]..][entries];
            let (shares, _) = S::as_simd_f64s(shares);
            for (&word, &ratio) in words.iter().zip(ratios) {
                let ratio = s.splat_f64s(ratio);
                let row = &mut sums[(word as usize - from) * stride..][..stride];
                for (sum, share) in S::as_mut_simd_f64s(row).0.iter_mut().zip(shares) {
                    *sum = s.mul_add_e_f64s(ratio, *share, *sum);
                }
            }
        }
    }
}

/// `exp(psi(lambda) - total)` over the largest of its word.
pub(in crate::models::topics) struct Expect<'a> {
    pub(in crate::models::topics) lambda: &'a [f64],
    /// `psi` of the sums of the topics, and [`NO_TOPIC`].
    pub(in crate::models::topics) totals: &'a [f64],
    pub(in crate::models::topics) table: &'a mut [f64],
}

impl WithSimd for Expect<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Expect { lambda, totals, table } = self;
        let (totals, _) = S::as_simd_f64s(totals);
        let wide = totals.len();
        let (lambda, table) = (S::as_simd_f64s(lambda).0, S::as_mut_simd_f64s(table).0);
        for (row, out) in lambda.chunks_exact(wide).zip(table.chunks_exact_mut(wide)) {
            let mut top = s.splat_f64s(f64::NEG_INFINITY);
            for ((out, lambda), total) in out.iter_mut().zip(row).zip(totals) {
                *out = s.sub_f64s(simd::digamma(s, *lambda), *total);
                top = s.max_f64s(top, *out);
            }
            let top = s.splat_f64s(s.reduce_max_f64s(top));
            for x in out {
                *x = simd::exp(s, s.sub_f64s(*x, top));
            }
        }
    }
}

/// Moves `lambda` the fraction `rate` of the way to `eta + scale table sums`, and adds up what the
/// ELBO needs, topic by topic.
pub(in crate::models::topics) struct Move<'a> {
    pub(in crate::models::topics) rate: f64,
    pub(in crate::models::topics) eta: f64,
    pub(in crate::models::topics) scale: f64,
    pub(in crate::models::topics) table: &'a [f64],
    pub(in crate::models::topics) counts: &'a [f64],
    pub(in crate::models::topics) lambda: &'a mut [f64],
    pub(in crate::models::topics) sums: &'a mut [f64],
}

/// How many sums a topic a [`Move`] leaves: of `lambda`, of counts, of counts times `psi(lambda)`, of
/// `psi(lambda)`, of `ln Gamma(lambda)`, of counts times the log of the table, of what is left of the
/// way, `eta + counts - lambda`, and of that times `psi(lambda)`.
pub(in crate::models::topics) const SUMS: usize = 8;

impl WithSimd for Move<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Move { rate, eta, scale, table, counts, lambda, sums } = self;
        let (sums, _) = S::as_mut_simd_f64s(sums);
        let wide = sums.len() / SUMS;
        sums.fill(s.splat_f64s(0.0));
        let (table, counts) = (S::as_simd_f64s(table).0, S::as_simd_f64s(counts).0);
        let (lambda, _) = S::as_mut_simd_f64s(lambda);
        let (rate, stay) = (s.splat_f64s(rate), s.splat_f64s(1.0 - rate));
        let (eta, scale) = (s.splat_f64s(eta), s.splat_f64s(scale));
        let least = s.splat_f64s(f64::MIN_POSITIVE);
        let each = lambda
            .chunks_exact_mut(wide)
            .zip(table.chunks_exact(wide))
            .zip(counts.chunks_exact(wide));
        for ((lambda, table), counts) in each {
            for j in 0..wide {
                let count = s.mul_f64s(s.mul_f64s(scale, table[j]), counts[j]);
                let best = s.add_f64s(eta, count);
                let new = s.mul_add_e_f64s(stay, lambda[j], s.mul_f64s(rate, best));
                lambda[j] = new;
                let left = s.sub_f64s(best, new);
                let (psi, log_gamma) = simd::digamma_and_log_gamma(s, new);
                let log_table = simd::ln(s, s.max_f64s(table[j], least));
                let terms = [
                    new,
                    count,
                    s.mul_f64s(count, psi),
                    psi,
                    log_gamma,
                    s.mul_f64s(count, log_table),
                    left,
                    s.mul_f64s(left, psi),
                ];
                for (at, term) in terms.into_iter().enumerate() {
                    sums[at * wide + j] = s.add_f64s(sums[at * wide + j], term);
                }
            }
        }
    }
}
