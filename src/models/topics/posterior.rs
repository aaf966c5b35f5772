//! `TopicsPosterior`: the distribution of labels, proportions and topics.

use std::sync::Arc;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::kernel::{Expect, stride};
use super::step::{Room, psi_of_totals};
use crate::bijector::Support;
use crate::data::Corpus;
use crate::family::{Dirichlet, Family};
use crate::scratch::with_buffer;
use crate::simd::dispatch;
use crate::special::polygamma;

/// `q(labels) prod_d q(theta_d) prod_k q(beta_k)`: the proportions of each document and the words of
/// each topic are Dirichlet, `gamma_d` and `lambda_k`; the label of a word is independent of the
/// others,
///
/// ```text
/// q(z_dn = k) in proportion to exp(E log theta_dk + E log beta_kw)
/// ```
///
/// with the topics as they were when the last step began: that is the best for them, and what the
/// topics were then counted by. Kept are `K (V + N)` numbers, each topic's and each document's,
/// and nothing a word of a document.
///
/// `z` is the label of each word, document after document and by word within a document, the
/// proportions of one document after another (where there are two topics or more), and the words of
/// one topic after another. A document of weight `w` counts as `w` of them in its density, as it does
/// in that of the model. Read back from a file it has no documents until the next step: until then
/// draws and densities are NaN.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TopicsPosterior {
    #[serde(skip)]
    pub(super) corpus: Option<Arc<Corpus>>,
    k: usize,
    n_words: usize,
    n_tokens: usize,
    /// A stride a word.
    pub(super) lambda: Vec<f64>,
    /// A stride a document.
    pub(super) gamma: Vec<f64>,
    pub(super) seen: Seen,
    /// `exp(E log beta)` that the labels are made with, up to a factor of each word.
    #[serde(skip)]
    pub(super) table: Vec<f64>,
    #[serde(skip)]
    pub(super) room: Room,
}

/// What the last step saw, as an M-step needs it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Seen {
    /// `sum_d w_d E log theta_d`, and the sum of the weights; of no documents before the first step.
    pub(super) log_theta: Vec<f64>,
    pub(super) weight: f64,
    /// `sum_kw E log beta_kw`
    pub(super) log_topic: f64,
    pub(super) bound: Bound,
    /// The prior it was seen with.
    pub(super) alpha: Vec<f64>,
    pub(super) eta: f64,
    pub(super) rounds: f64,
}

/// The ELBO in two parts, in nats.
///
/// The second does not depend on how many documents there are: a bound a word that contains it
/// cannot be compared between corpora, nor between steps on batches and steps on everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// What the documents add: `E log p(words, labels, proportions | topics) - E log q(labels,
    /// proportions)`.
    pub documents: f64,
    /// What the topics add: `-KL(q(topics) || p(topics))`.
    pub topics: f64,
}

impl Bound {
    /// The ELBO.
    pub fn total(&self) -> f64 {
        self.documents + self.topics
    }
}

impl TopicsPosterior {
    /// From `lambda`, `K` a word, and the start of `gamma`, `K` a document.
    pub(super) fn new(
        corpus: &Arc<Corpus>,
        k: usize,
        lambda: impl Iterator<Item = f64>,
        gamma: impl Iterator<Item = f64>,
    ) -> TopicsPosterior {
        let (n, n_words) = (corpus.len(), corpus.n_words());
        let spread = |rows: usize, values: &mut dyn Iterator<Item = f64>| {
            let mut all = vec![1.0; rows * stride(k)];
            for row in all.chunks_exact_mut(stride(k)) {
                row[..k].iter_mut().zip(&mut *values).for_each(|(x, value)| *x = value);
            }
            all
        };
        let (mut lambda, mut gamma) = (lambda, gamma);
        let mut q = TopicsPosterior {
            corpus: Some(Arc::clone(corpus)),
            k,
            n_words,
            n_tokens: corpus.n_tokens() as usize,
            lambda: spread(n_words, &mut lambda),
            gamma: spread(n, &mut gamma),
            seen: Seen::default(),
            table: Vec::new(),
            room: Room::default(),
        };
        q.label();
        q
    }

    /// Makes the labels anew, the best for the rest.
    fn label(&mut self) {
        self.table.resize(self.lambda.len(), 0.0);
        with_buffer(stride(self.k), |totals| {
            psi_of_totals(self.k, &self.lambda, totals);
            dispatch(Expect { lambda: &self.lambda, totals, table: &mut self.table });
        });
    }

    /// `K`: how many topics there may be.
    pub fn len(&self) -> usize {
        self.k
    }

    /// Never: there is at least one topic.
    pub fn is_empty(&self) -> bool {
        self.k == 0
    }

    /// How many documents there are.
    pub fn n_documents(&self) -> usize {
        self.gamma.len() / stride(self.k)
    }

    /// How many words the vocabulary has.
    pub fn n_words(&self) -> usize {
        self.n_words
    }

    pub(super) fn lambda(&self, k: usize) -> impl Iterator<Item = f64> {
        self.lambda.iter().skip(k).step_by(stride(self.k)).copied()
    }

    /// `lambda_k`: the concentrations of topic `k`, one a word.
    ///
    /// # Panics
    /// If there is no such topic.
    pub fn concentrations(&self, k: usize) -> Vec<f64> {
        assert!(k < self.k, "there is no topic {k}");
        self.lambda(k).collect()
    }

    /// The mean of topic `k`: the probability of each word.
    ///
    /// # Panics
    /// If there is no such topic.
    pub fn topic(&self, k: usize) -> Vec<f64> {
        let mut topic = self.concentrations(k);
        let total: f64 = topic.iter().sum();
        topic.iter_mut().for_each(|p| *p /= total);
        topic
    }

    /// The `n` most probable words of topic `k` by number, the first the most.
    ///
    /// # Panics
    /// If there is no such topic.
    pub fn top_words(&self, k: usize, n: usize) -> Vec<usize> {
        let lambda = self.concentrations(k);
        let mut words: Vec<usize> = (0..lambda.len()).collect();
        words.sort_by(|&a, &b| lambda[b].total_cmp(&lambda[a]));
        words.truncate(n);
        words
    }

    /// `gamma_d`: the concentrations of document `d`, one a topic.
    ///
    /// # Panics
    /// If there is no such document.
    pub fn of_document(&self, d: usize) -> &[f64] {
        &self.gamma[d * stride(self.k)..][..self.k]
    }

    /// The mean proportions of the topics in document `d`.
    ///
    /// # Panics
    /// If there is no such document.
    pub fn proportions(&self, d: usize) -> Vec<f64> {
        let gamma = self.of_document(d);
        let total: f64 = gamma.iter().sum();
        gamma.iter().map(|g| g / total).collect()
    }

    /// The ELBO after the last step, in two parts, for the prior that step was taken with; NaN before
    /// the first. Of a step on a batch of documents, an estimate.
    pub fn bound(&self) -> Bound {
        match self.seen.log_theta.is_empty() {
            true => Bound { documents: f64::NAN, topics: f64::NAN },
            false => self.seen.bound,
        }
    }

    /// How often the proportions of a document were made anew in the last step, on average.
    pub fn rounds(&self) -> f64 {
        self.seen.rounds
    }

    /// Calls `f` for each word of each document: number of the document, word, how often it occurs,
    /// and the probabilities of its labels.
    fn each_word(&self, corpus: &Corpus, mut f: impl FnMut(usize, u32, u32, &[f64])) {
        let (k, stride) = (self.k, stride(self.k));
        let mut p = vec![0.0; k];
        for d in 0..corpus.len() {
            let (words, counts) = corpus.document(d);
            let shares: Vec<f64> =
                self.of_document(d).iter().map(|g| polygamma(0, *g).exp()).collect();
            for (&word, &count) in words.iter().zip(counts) {
                let row = &self.table[word as usize * stride..][..k];
                p.iter_mut().zip(&shares).zip(row).for_each(|((p, s), b)| *p = s * b);
                let total: f64 = p.iter().sum();
                p.iter_mut().for_each(|p| *p /= total);
                f(d, word, count, &p);
            }
        }
    }

    /// How many of the coordinates are proportions.
    fn n_proportions(&self) -> usize {
        if self.k > 1 { self.n_documents() * self.k } else { 0 }
    }

    /// `z` in parts: labels, proportions, topics.
    fn parts<'a>(&self, z: &'a [f64]) -> [&'a [f64]; 3] {
        let (labels, rest) = z.split_at(self.n_tokens);
        let (proportions, topics) = rest.split_at(self.n_proportions());
        [labels, proportions, topics]
    }

    /// The Dirichlet distributions of the proportions, where there are any, and of the topics.
    fn dirichlets(&self) -> (Vec<Dirichlet>, Vec<Dirichlet>) {
        let make = |a: &[f64]| Dirichlet::new(a).ok();
        let documents = 0..if self.k > 1 { self.n_documents() } else { 0 };
        (
            documents.filter_map(|d| make(self.of_document(d))).collect(),
            (0..self.k).filter_map(|k| make(&self.concentrations(k))).collect(),
        )
    }
}

impl Family for TopicsPosterior {
    fn dim(&self) -> usize {
        self.n_tokens + self.n_proportions() + self.k * self.n_words
    }
    fn support(&self, i: usize) -> Support {
        match i.checked_sub(self.n_tokens) {
            None => Support::Category(u32::try_from(self.k).unwrap_or(u32::MAX)),
            Some(i) if i < self.n_proportions() => Support::Simplexes(self.k),
            Some(_) => Support::Simplexes(self.n_words),
        }
    }
    /// The logarithms of `lambda`, a word after another, and of `gamma`, a document after another.
    fn n_params(&self) -> usize {
        self.k * (self.n_words + self.n_documents())
    }
    fn params(&self, out: &mut [f64]) {
        let rows =
            self.lambda.chunks_exact(stride(self.k)).chain(self.gamma.chunks_exact(stride(self.k)));
        let all = rows.flat_map(|row| &row[..self.k]);
        out.iter_mut().zip(all).for_each(|(out, x)| *out = x.ln());
    }
    /// The labels become the best for the rest.
    fn set_params(&mut self, params: &[f64]) {
        let stride = stride(self.k);
        let rows = self.lambda.chunks_exact_mut(stride).chain(self.gamma.chunks_exact_mut(stride));
        let all = rows.flat_map(|row| &mut row[..self.k]);
        all.zip(params).for_each(|(x, p)| *x = p.exp().clamp(f64::MIN_POSITIVE, f64::MAX));
        self.label();
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        let Some(corpus) = &self.corpus else { return z.fill(f64::NAN) };
        let (of_documents, of_topics) = self.dirichlets();
        for z in z.chunks_exact_mut(self.dim()) {
            let (labels, rest) = z.split_at_mut(self.n_tokens);
            let (proportions, topics) = rest.split_at_mut(self.n_proportions());
            let mut labels = labels.iter_mut();
            self.each_word(corpus, |_, _, count, p| {
                for label in labels.by_ref().take(count as usize) {
                    let mut left: f64 = rng.random();
                    let hit = p.iter().position(|p| {
                        left -= p;
                        left < 0.0
                    });
                    *label = hit.unwrap_or(p.len() - 1) as f64;
                }
            });
            for (q, theta) in of_documents.iter().zip(proportions.chunks_exact_mut(self.k)) {
                q.sample(rng, theta);
            }
            for (q, topic) in of_topics.iter().zip(topics.chunks_exact_mut(self.n_words)) {
                q.sample(rng, topic);
            }
        }
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let Some(corpus) = &self.corpus else { return f64::NAN };
        let [labels, proportions, topics] = self.parts(z);
        let (mut sum, mut labels) = (0.0, labels.iter());
        self.each_word(corpus, |d, _, count, p| {
            for &label in labels.by_ref().take(count as usize) {
                let whole = label >= 0.0 && label.fract() == 0.0;
                let p = p.get(label as usize).filter(|_| whole);
                sum += corpus.weight(d) * p.map_or(f64::NEG_INFINITY, |p| p.ln());
            }
        });
        let (of_documents, of_topics) = self.dirichlets();
        for (d, (q, theta)) in of_documents.iter().zip(proportions.chunks_exact(self.k)).enumerate()
        {
            sum += corpus.weight(d) * q.log_prob(theta);
        }
        sum + of_topics
            .iter()
            .zip(topics.chunks_exact(self.n_words))
            .map(|(q, z)| q.log_prob(z))
            .sum::<f64>()
    }
    fn entropy(&self) -> Option<f64> {
        let corpus = self.corpus.as_ref()?;
        let mut sum = 0.0;
        self.each_word(corpus, |d, _, count, p| {
            let each = p.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>();
            sum -= corpus.weight(d) * f64::from(count) * each;
        });
        let (of_documents, of_topics) = self.dirichlets();
        for (d, q) in of_documents.iter().enumerate() {
            sum += corpus.weight(d) * q.entropy()?;
        }
        of_topics.iter().try_fold(sum, |sum, q| Some(sum + q.entropy()?))
    }
}
