//! `Local`: the proportions of documents, one after another, with their words side by side in registers.

use pulp::{Simd, WithSimd};

use super::tile::Tile;
use super::{Documents, stride};
use crate::simd;

/// For the documents from place `start` on, as many as `gamma` has rows: a `gamma` that is as good,
/// given the topics, as the one that is there or better; then `e^psi(gamma)`; for each of its words count
/// over expectation; and sums: of `E log theta`, of what it adds to the ELBO, of rounds.
pub(in crate::models::topics) struct Local<'a> {
    pub(in crate::models::topics) documents: Documents<'a>,
    pub(in crate::models::topics) start: usize,
    pub(in crate::models::topics) gamma: &'a mut [f64],
    pub(in crate::models::topics) shares: &'a mut [f64],
    pub(in crate::models::topics) ratios: &'a mut [f64],
    pub(in crate::models::topics) sums: &'a mut [f64],
    pub(in crate::models::topics) room: &'a mut [f64],
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
