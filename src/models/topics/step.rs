//! The move: proportions of the documents, then the topics, and the ELBO with every constant.

use std::ops::Range;
use std::sync::Arc;

use super::Topics;
use super::kernel::{Documents, Expect, Local, Move, NO_TOPIC, SUMS, Scatter, stride};
use super::parts::{Pieces, cut, each};
use super::plan::Plan;
use super::posterior::TopicsPosterior;
use crate::error::Error;
use crate::model::Conjugate;
use crate::scratch::with_buffer;
use crate::simd::{digamma_slice, dispatch};
use crate::special::{log_gamma, polygamma};

/// Documents looked at before the topics hear of them: what is kept of each in between is two strides
/// and a number a word.
const BLOCK: usize = 8192;
/// The most parts a block falls into, and the least documents of one.
const PARTS: usize = 64;
const LEAST: usize = 16;

/// What a step works with; made again after a checkpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    gamma: Vec<f64>,
    shares: Vec<f64>,
    ratios: Vec<f64>,
    /// Where the ratios of each document of the block begin, and where the last end.
    offsets: Vec<usize>,
    sums: Vec<f64>,
    counts: Vec<f64>,
    of_words: Vec<f64>,
    totals: Vec<f64>,
}

fn fit(buffer: &mut Vec<f64>, len: usize) -> &mut [f64] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// What parts of a block of documents write.
struct OfDocuments<'a> {
    /// The first document of the first part.
    start: usize,
    size: usize,
    stride: usize,
    len: usize,
    offsets: &'a [usize],
    gamma: &'a mut [f64],
    shares: &'a mut [f64],
    ratios: &'a mut [f64],
    sums: &'a mut [f64],
}

impl Pieces for OfDocuments<'_> {
    fn split(self, at: usize) -> (Self, Self) {
        let OfDocuments { start, size, stride, len, offsets, gamma, shares, ratios, sums } = self;
        let middle = at * size;
        let gamma = cut(gamma, start * stride, middle * stride);
        let shares = cut(shares, start * stride, middle * stride);
        let ratios = cut(ratios, offsets[start], offsets[middle]);
        let sums = cut(sums, start / size * len, at * len);
        let piece = |start, gamma, shares, ratios, sums| OfDocuments {
            start,
            size,
            stride,
            len,
            offsets,
            gamma,
            shares,
            ratios,
            sums,
        };
        (
            piece(start, gamma.0, shares.0, ratios.0, sums.0),
            piece(middle, gamma.1, shares.1, ratios.1, sums.1),
        )
    }
}

/// What ranges of words write: rows of a matrix, and sums.
struct OfWords<'a> {
    plan: &'a Plan,
    stride: usize,
    /// The first range.
    range: usize,
    len: usize,
    rows: &'a mut [f64],
    sums: &'a mut [f64],
}

impl Pieces for OfWords<'_> {
    fn split(self, at: usize) -> (Self, Self) {
        let OfWords { plan, stride, range, len, rows, sums } = self;
        let rows = cut(rows, plan.words[range] * stride, plan.words[at] * stride);
        let sums = cut(sums, range * len, at * len);
        let piece = |range, rows, sums| OfWords { plan, stride, range, len, rows, sums };
        (piece(range, rows.0, sums.0), piece(at, rows.1, sums.1))
    }
}

/// `psi` of the sum over the words, for each of `k` topics.
pub(super) fn psi_of_totals(k: usize, lambda: &[f64], out: &mut [f64]) {
    out.fill(0.0);
    for row in lambda.chunks_exact(out.len()) {
        out.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    digamma_slice(&mut out[..k]);
    out[k..].fill(NO_TOPIC);
}

impl Topics {
    /// Makes the table of `exp(E log topic)`.
    pub(super) fn expect(&self, lambda: &[f64], table: &mut [f64]) {
        let stride = stride(self.len());
        with_buffer(stride, |totals| {
            psi_of_totals(self.len(), lambda, totals);
            let totals = &*totals;
            let plan = &*self.plan;
            let pieces = OfWords { plan, stride, range: 0, len: 0, rows: table, sums: &mut [] };
            each(0..plan.len(), pieces, &|r, pieces: OfWords<'_>| {
                let lambda = &lambda[plan.words[r] * stride..plan.words[r + 1] * stride];
                dispatch(Expect { lambda, totals, table: pieces.rows });
            });
        });
    }

    /// What a search for proportions needs to know.
    pub(super) fn documents<'a>(&'a self, table: &'a [f64], prior: &'a [f64]) -> Documents<'a> {
        Documents {
            corpus: &self.corpus,
            shown: self.shown.as_deref(),
            k: self.len(),
            table,
            prior,
            tolerance: self.search.tolerance,
            rounds: self.search.rounds,
            longest: self.plan.longest,
        }
    }

    /// `alpha`, up to a stride with ones.
    pub(super) fn padded<R>(&self, f: impl FnOnce(&[f64]) -> R) -> R {
        let (k, stride) = (self.len(), stride(self.len()));
        with_buffer(stride, |prior| {
            prior[..k].copy_from_slice(&self.alpha);
            prior[k..].fill(1.0);
            f(prior)
        })
    }
}

/// Finds the proportions of the documents at these places; what is left behind is in `room`, and the
/// sums of all parts are added to `total`.
pub(super) fn search(
    documents: Documents<'_>,
    places: Range<usize>,
    lookup: impl Fn(usize) -> usize,
    gamma: &mut [f64],
    room: &mut Room,
    total: &mut [f64],
) {
    let (stride, len, n) = (stride(documents.k), documents.sums(), places.len());
    let size = n.div_ceil(PARTS).max(LEAST);
    let parts = n.div_ceil(size);
    room.offsets.clear();
    room.offsets.push(0);
    let mut end = 0;
    for i in places.clone() {
        end += documents.corpus.document(documents.at(i)).0.len();
        room.offsets.push(end);
    }
    let own = fit(&mut room.gamma, n * stride);
    for (own, i) in own.chunks_exact_mut(stride).zip(places.clone()) {
        own.copy_from_slice(&gamma[lookup(i) * stride..][..stride]);
    }
    let pieces = OfDocuments {
        start: 0,
        size,
        stride,
        len,
        offsets: &room.offsets,
        gamma: own,
        shares: fit(&mut room.shares, n * stride),
        ratios: fit(&mut room.ratios, end),
        sums: fit(&mut room.sums, parts * len),
    };
    each(0..parts, pieces, &|_, piece: OfDocuments<'_>| {
        with_buffer(documents.room(), |room| {
            let OfDocuments { start, gamma, shares, ratios, sums, .. } = piece;
            let start = places.start + start;
            dispatch(Local { documents, start, gamma, shares, ratios, sums, room });
        });
    });
    for (own, i) in room.gamma.chunks_exact(stride).zip(places) {
        gamma[lookup(i) * stride..][..stride].copy_from_slice(own);
    }
    for part in room.sums[..parts * len].chunks_exact(len) {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
}

impl Conjugate<TopicsPosterior> for Topics {
    fn natural_step(&self, q: &mut TopicsPosterior, rate: f64) -> Result<f64, Error> {
        let (k, stride, plan) = (self.len(), stride(self.len()), &*self.plan);
        q.corpus.get_or_insert_with(|| Arc::clone(&self.corpus));
        let TopicsPosterior { lambda, gamma, table, room, seen, .. } = q;
        let table = fit(table, lambda.len());
        self.expect(lambda, table);
        fit(&mut room.counts, lambda.len()).fill(0.0);
        self.padded(|prior| {
            let documents = self.documents(table, prior);
            let n = documents.len();
            let (len, lookup) = (documents.sums(), |i: usize| documents.at(i));
            with_buffer(len, |total| {
                total.fill(0.0);
                for start in (0..n).step_by(BLOCK) {
                    let places = start..(start + BLOCK).min(n);
                    search(documents, places.clone(), lookup, gamma, room, total);
                    let Room { offsets, ratios, shares, counts, .. } = room;
                    let (shares, ratios) = (&shares[..places.len() * stride], &ratios[..]);
                    let pieces =
                        OfWords { plan, stride, range: 0, len: 0, rows: counts, sums: &mut [] };
                    each(0..plan.len(), pieces, &|range, piece: OfWords<'_>| {
                        let sums = piece.rows;
                        dispatch(Scatter {
                            documents,
                            plan,
                            range,
                            start,
                            offsets,
                            ratios,
                            shares,
                            sums,
                        });
                    });
                }
                let scale = self.corpus.len() as f64 / n as f64;
                let weight: f64 = (0..n).map(|i| self.corpus.weight(documents.at(i))).sum();
                seen.log_theta.clear();
                seen.log_theta.extend(total[..k].iter().map(|x| scale * x));
                seen.weight = scale * weight;
                seen.rounds = total[stride + 1] / n as f64;
                seen.bound.documents = scale * total[stride] - seen.weight * self.log_beta();
            });
        });
        // The topics.
        let Room { counts, of_words, totals, .. } = room;
        let len = SUMS * stride;
        let scale = self.corpus.len() as f64
            / self.shown.as_ref().map_or(self.corpus.len(), Vec::len) as f64;
        let of_words = fit(of_words, plan.len() * len);
        let pieces = OfWords { plan, stride, range: 0, len, rows: lambda, sums: of_words };
        let (table, counts) = (&*table, &*counts);
        each(0..plan.len(), pieces, &|r, piece: OfWords<'_>| {
            let rows = plan.words[r] * stride..plan.words[r + 1] * stride;
            let (table, counts) = (&table[rows.clone()], &counts[rows]);
            let OfWords { rows: lambda, sums, .. } = piece;
            with_buffer(len + 8, |room| {
                // the sums of one range may not begin with a line of the cache
                let room = &mut room[..len];
                dispatch(Move { rate, eta: self.eta, scale, table, counts, lambda, sums: room });
                sums.copy_from_slice(room);
            });
        });
        let totals = fit(totals, len);
        totals.fill(0.0);
        for part in of_words.chunks_exact(len) {
            totals.iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
        let sum = |at: usize, k: usize| totals[at * stride + k];
        let words = self.corpus.n_words() as f64;
        seen.log_topic = 0.0;
        seen.bound.topics = -(k as f64) * self.log_beta_of_topic();
        for k in 0..k {
            let psi = polygamma(0, sum(0, k));
            let counted = sum(2, k) - sum(1, k) * psi;
            seen.bound.documents += counted - sum(5, k);
            let normaliser = sum(4, k) - log_gamma(sum(0, k));
            seen.bound.topics += normaliser + sum(7, k) - sum(6, k) * psi - counted;
            seen.log_topic += sum(3, k) - words * psi;
        }
        seen.alpha.clone_from(&self.alpha);
        seen.eta = self.eta;
        Ok(seen.bound.total())
    }
}
