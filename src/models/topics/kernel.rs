//! The inner loops: words of a document lane by lane while its proportions are found, topics lane by
//! lane where words are added up.
//!
//! A matrix of words and topics has a row a word, `stride` numbers of which the first `K` count.

use pulp::{Simd, WithSimd};

use super::plan::Plan;
use crate::data::Corpus;
use crate::simd;

/// What is subtracted in the lanes that hold no topic, so that nothing of them is left.
pub(super) const NO_TOPIC: f64 = 1e6;

/// Numbers a word: topics, up to whole registers of any width.
pub(super) fn stride(k: usize) -> usize {
    k.next_multiple_of(8)
}

/// Documents whose proportions are to be found.
#[derive(Clone, Copy)]
pub(super) struct Documents<'a> {
    pub(super) corpus: &'a Corpus,
    /// Those looked at, or all.
    pub(super) shown: Option<&'a [usize]>,
    pub(super) k: usize,
    /// `exp(E log topic_kw)` up to a factor of each word.
    pub(super) table: &'a [f64],
    /// `alpha`, a stride.
    pub(super) prior: &'a [f64],
    /// `mean_k |change of gamma|` that ends the search, and the most rounds.
    pub(super) tolerance: f64,
    pub(super) rounds: usize,
    /// The most words of a document.
    pub(super) longest: usize,
}

impl<'a> Documents<'a> {
    /// The same search in all documents of another corpus.
    pub(super) fn of(self, corpus: &'a Corpus, longest: usize) -> Documents<'a> {
        Documents { corpus, shown: None, longest, ..self }
    }
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.shown.map_or(self.corpus.len(), <[usize]>::len)
    }
    /// The number of the document at this place.
    pub(super) fn at(&self, i: usize) -> usize {
        self.shown.map_or(i, |shown| shown[i])
    }
    /// How many numbers a [`Local`] works with.
    pub(super) fn room(&self) -> usize {
        8 + (self.k + 2) * self.longest.next_multiple_of(8) + 3 * stride(self.k)
    }
    /// How many sums it leaves.
    pub(super) fn sums(&self) -> usize {
        stride(self.k) + 2
    }
}

/// For the documents from place `start` on, as many as `gamma` has rows: a `gamma` that is as good,
/// given the topics, as the one that is there or better; then `e^psi(gamma)`; for each of its words count
/// over expectation; and sums: of `E log theta`, of what it adds to the ELBO, of rounds.
pub(super) struct Local<'a> {
    pub(super) documents: Documents<'a>,
    pub(super) start: usize,
    pub(super) gamma: &'a mut [f64],
    pub(super) shares: &'a mut [f64],
    pub(super) ratios: &'a mut [f64],
    pub(super) sums: &'a mut [f64],
    pub(super) room: &'a mut [f64],
}

impl WithSimd for Local<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Local { documents, start, gamma, shares, ratios, sums, room } = self;
        let (k, stride) = (documents.k, stride(documents.k));
        let (prior, _) = S::as_simd_f64s(documents.prior);
        let prior_total: f64 = documents.prior[..k].iter().sum();
        let skip = room.as_ptr().align_offset(64).min(8);
        let (inner, room) = room[skip..].split_at_mut(3 * stride);
        let (gradient, inner) = inner.split_at_mut(stride);
        let (terms, saved) = inner.split_at_mut(stride);
        gradient.fill(0.0);
        sums.fill(0.0);
        let (of_topics, of_all) = sums.split_at_mut(stride);
        let mut rest = ratios;
        let each = gamma.chunks_exact_mut(stride).zip(shares.chunks_exact_mut(stride));
        for (i, (gamma, shares)) in each.enumerate() {
            let d = documents.at(start + i);
            let weight = documents.corpus.weight(d);
            let (words, counts) = documents.corpus.document(d);
            let mut tile = Tile::<S>::new(s, room, words, counts, documents.table, k);
            let tokens: f64 = counts.iter().map(|&n| f64::from(n)).sum();
            let mut at = Place { gamma, shares, gradient, terms, prior, k, tokens, prior_total };
            // One round from where the last step left off: whatever is taken, it is no less.
            let mut rounds = at.search(s, &mut tile, documents.tolerance, 1);
            let kept = at.bound(s, &mut tile);
            saved.copy_from_slice(at.gamma);
            // Topics that have moved may have left that place the lesser of two: look from an even
            // mixture, too, and go back where that ends no higher.
            let each = tokens / k as f64;
            for (gamma, prior) in at.gamma[..k].iter_mut().zip(documents.prior) {
                *gamma = prior + each;
            }
            rounds += at.search(s, &mut tile, documents.tolerance, documents.rounds);
            let mut bound = at.bound(s, &mut tile);
            if bound <= kept {
                at.gamma.copy_from_slice(saved);
                rounds += at.search(s, &mut tile, documents.tolerance, documents.rounds - 1);
                bound = at.bound(s, &mut tile);
            }
            let (own, others) = rest.split_at_mut(words.len());
            tile.write(weight, own);
            rest = others;
            let (gamma, total) = (&*at.gamma, at.gamma[..k].iter().sum());
            let psi_total = simd::digamma(s, s.splat_f64s(total));
            let each = S::as_simd_f64s(gamma).0.iter().zip(S::as_mut_simd_f64s(of_topics).0);
            for (gamma, of_topic) in each {
                let log_theta = s.sub_f64s(simd::digamma(s, *gamma), psi_total);
                *of_topic = s.mul_add_e_f64s(s.splat_f64s(weight), log_theta, *of_topic);
            }
            of_all[0] += weight * bound;
            of_all[1] += f64::from(rounds as u32);
        }
    }
}

/// The proportions of a document, and where they are looked for.
struct Place<'a, 'b, S: Simd> {
    gamma: &'a mut [f64],
    shares: &'a mut [f64],
    gradient: &'b mut [f64],
    terms: &'b mut [f64],
    prior: &'a [S::f64s],
    k: usize,
    tokens: f64,
    prior_total: f64,
}

impl<S: Simd> Place<'_, '_, S> {
    /// Climbs until the concentrations move little; returns how many rounds it took.
    #[inline(always)]
    fn search(&mut self, s: S, tile: &mut Tile<'_, S>, tolerance: f64, most: usize) -> usize {
        let k = self.k;
        for round in 1..=most {
            share(s, self.gamma, self.shares);
            tile.predict(s, &self.shares[..k]);
            tile.add_up(s, &mut self.gradient[..k]);
            let each = S::as_mut_simd_f64s(self.gamma).0.iter_mut();
            let each = each.zip(S::as_simd_f64s(self.shares).0);
            let each = each.zip(S::as_simd_f64s(self.gradient).0).zip(self.prior);
            let mut moved = s.splat_f64s(0.0);
            for (((gamma, share), gradient), prior) in each {
                let new = s.mul_add_e_f64s(*share, *gradient, *prior);
                moved = s.add_f64s(moved, s.abs_f64s(s.sub_f64s(new, *gamma)));
                *gamma = new;
            }
            if s.reduce_sum_f64s(moved) < tolerance * k as f64 {
                return round;
            }
        }
        most
    }

    /// What the document adds to the ELBO under the best labels, but for the normaliser of its prior.
    #[inline(always)]
    fn bound(&mut self, s: S, tile: &mut Tile<'_, S>) -> f64 {
        let k = self.k;
        share(s, self.gamma, self.shares);
        let predicted = tile.predict_last(s, &self.shares[..k]);
        let total: f64 = self.gamma[..k].iter().sum();
        let (psi_total, log_gamma_total) = simd::digamma_and_log_gamma(s, s.splat_f64s(total));
        let each = S::as_simd_f64s(self.gamma).0.iter().zip(self.prior);
        for ((gamma, prior), term) in each.zip(S::as_mut_simd_f64s(self.terms).0) {
            let (psi, log_gamma) = simd::digamma_and_log_gamma(s, *gamma);
            *term = s.mul_add_e_f64s(s.sub_f64s(*prior, *gamma), psi, log_gamma);
        }
        let terms: f64 = self.terms[..k].iter().sum();
        let left = (total - self.prior_total - self.tokens) * first::<S>(psi_total);
        predicted + terms + left - first::<S>(log_gamma_total)
    }
}

/// The first lane.
#[inline(always)]
fn first<S: Simd>(x: S::f64s) -> f64 {
    let lanes: &[f64] = pulp::bytemuck::cast_slice(std::slice::from_ref(&x));
    lanes[0]
}

/// `e^psi(gamma)`
#[inline(always)]
fn share<S: Simd>(s: S, gamma: &[f64], shares: &mut [f64]) {
    // a loop: what is handed to `for_each` is not compiled for the registers
    for (gamma, share) in S::as_simd_f64s(gamma).0.iter().zip(S::as_mut_simd_f64s(shares).0) {
        *share = simd::exp_digamma(s, *gamma);
    }
}

/// The part of the table that a document's words have, turned so that words lie side by side.
struct Tile<'a, S: Simd> {
    /// Topic by topic.
    table: &'a [S::f64s],
    counts: &'a [S::f64s],
    ratios: &'a mut [f64],
}

impl<'a, S: Simd> Tile<'a, S> {
    #[inline(always)]
    fn new(
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
    fn predict(&mut self, s: S, shares: &[f64]) {
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
    fn predict_last(&mut self, s: S, shares: &[f64]) -> f64 {
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
    fn add_up(&self, s: S, out: &mut [f64]) {
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
    fn write(&self, weight: f64, out: &mut [f64]) {
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

/// Adds to `sums`, a row for each word of a range, ratios times shares of the documents from place
/// `start` on.
pub(super) struct Scatter<'a> {
    pub(super) documents: Documents<'a>,
    pub(super) plan: &'a Plan,
    pub(super) range: usize,
    pub(super) start: usize,
    /// Where the ratios of each document begin.
    pub(super) offsets: &'a [usize],
    pub(super) ratios: &'a [f64],
    pub(super) shares: &'a [f64],
    pub(super) sums: &'a mut [f64],
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
pub(super) struct Expect<'a> {
    pub(super) lambda: &'a [f64],
    /// `psi` of the sums of the topics, and [`NO_TOPIC`].
    pub(super) totals: &'a [f64],
    pub(super) table: &'a mut [f64],
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
pub(super) struct Move<'a> {
    pub(super) rate: f64,
    pub(super) eta: f64,
    pub(super) scale: f64,
    pub(super) table: &'a [f64],
    pub(super) counts: &'a [f64],
    pub(super) lambda: &'a mut [f64],
    pub(super) sums: &'a mut [f64],
}

/// How many sums a topic a [`Move`] leaves: of `lambda`, of counts, of counts times `psi(lambda)`, of
/// `psi(lambda)`, of `ln Gamma(lambda)`, of counts times the log of the table, of what is left of the
/// way, `eta + counts - lambda`, and of that times `psi(lambda)`.
pub(super) const SUMS: usize = 8;

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
