//! Documents that were not fitted: their proportions, their bound, and the completion of half of
//! their words from the other half.

use super::kernel::stride;
use super::plan::Plan;
use super::step::{Room, search};
use super::{Bound, Topics, TopicsPosterior};
use crate::data::Corpus;
use crate::error::Error;
use crate::special::{log_gamma, polygamma};

/// How well the hidden words of documents are predicted from those seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Completion {
    /// The log probability in nats of all hidden words.
    pub log_likelihood: f64,
    /// How many they are.
    pub n_tokens: u64,
}

impl Completion {
    /// The log probability of a hidden word on average, in nats. Its negative exponential is the
    /// perplexity.
    pub fn per_word(&self) -> f64 {
        self.log_likelihood / self.n_tokens as f64
    }
}

/// What was found of documents.
struct Found {
    gamma: Vec<f64>,
    /// `sum_d w_d` of what they add to the ELBO.
    bound: f64,
}

impl Topics {
    /// The mean proportions of documents that may be new, given the topics of `q`: `K` a document.
    ///
    /// # Errors
    /// Documents over another vocabulary.
    pub fn proportions(
        &self,
        q: &TopicsPosterior,
        documents: &Corpus,
    ) -> Result<Vec<Vec<f64>>, Error> {
        let found = self.find(q, documents)?;
        let k = self.len();
        let rows = found.gamma.chunks_exact(stride(k)).map(|gamma| {
            let total: f64 = gamma[..k].iter().sum();
            gamma[..k].iter().map(|g| g / total).collect()
        });
        Ok(rows.collect())
    }

    /// What documents that may be new add to the ELBO, given the topics of `q`: a lower bound on
    /// `E log p(documents | topics)`, in nats. The topics' own part is not in it.
    ///
    /// # Errors
    /// Documents over another vocabulary.
    pub fn bound_of(&self, q: &TopicsPosterior, documents: &Corpus) -> Result<f64, Error> {
        Ok(self.find(q, documents)?.bound)
    }

    /// The ELBO of the topics of `q`, in two parts, with the proportions of every document that a search
    /// from an even mixture finds, and the best labels for them. After steps on minibatches
    /// [`TopicsPosterior::bound`] is an estimate from the last of them; this is of all documents, and
    /// can be compared with coordinate ascent.
    ///
    /// ```
    /// use elbo::{Minibatch, NaturalStep, Options, Stop, data::postcards, fit, models::Topics};
    /// let model = Topics::new(postcards()?.corpus, 6)?;
    /// let moves = Minibatch::new(50, NaturalStep::decaying(10.0, 0.7));
    /// let options = Options { steps: 30, stop: Stop::Budget, ..Options::default() };
    /// let online = fit(model.clone(), model.start(1), moves, options)?;
    /// let batch = model.fit(1)?.fit;
    /// let short = batch.q.bound().total() - online.model.bound(&online.q)?.total();
    /// assert!(short > 0.0 && short < 0.02 * batch.q.bound().total().abs());
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A `q` of another model.
    pub fn bound(&self, q: &TopicsPosterior) -> Result<Bound, Error> {
        let documents = self.bound_of(q, &self.corpus)?;
        let of_topic = |k: usize| {
            let total: f64 = q.lambda(k).sum();
            let psi = polygamma(0, total);
            let each = q.lambda(k).map(|l| log_gamma(l) + (self.eta - l) * (polygamma(0, l) - psi));
            each.sum::<f64>() - log_gamma(total) - self.log_beta_of_topic()
        };
        Ok(Bound { documents, topics: (0..self.len()).map(of_topic).sum() })
    }

    /// Finds the proportions of documents by half of their words, and predicts the other half
    /// ([`Corpus::halves`] deals them by the seed): a word `w` of document `d` has probability
    /// `sum_k E[theta_dk] E[beta_kw]`. Documents of a single word are left out.
    ///
    /// This is the measure to compare topic models by (Wallach, Murray, Salakhutdinov and Mimno 2009
    /// call it document completion): no part of the bound is in it.
    ///
    /// # Errors
    /// Documents over another vocabulary, or of a single word each.
    pub fn completion(
        &self,
        q: &TopicsPosterior,
        documents: &Corpus,
        seed: u64,
    ) -> Result<Completion, Error> {
        let (seen, hidden) = documents.halves(seed)?;
        let proportions = self.proportions(q, &seen)?;
        let totals: Vec<f64> = (0..self.len()).map(|k| q.lambda(k).sum()).collect();
        let (mut log_likelihood, mut n_tokens) = (0.0, 0);
        for (d, theta) in proportions.iter().enumerate() {
            let (words, counts) = hidden.document(d);
            for (&word, &count) in words.iter().zip(counts) {
                let row = &q.lambda[word as usize * stride(self.len())..];
                let each = theta.iter().zip(row).zip(&totals);
                let p: f64 = each.map(|((theta, lambda), total)| theta * lambda / total).sum();
                log_likelihood += f64::from(count) * p.ln();
                n_tokens += u64::from(count);
            }
        }
        Ok(Completion { log_likelihood, n_tokens })
    }

    fn find(&self, q: &TopicsPosterior, documents: &Corpus) -> Result<Found, Error> {
        let own = self.corpus.n_words();
        Error::expect_len("the vocabulary", documents.n_words(), "that of the topics", own)?;
        Error::expect_len("the list of topics of q", q.len(), "the model", self.len())?;
        let mut table = vec![0.0; q.lambda.len()];
        self.expect(&q.lambda, &mut table);
        let (k, stride) = (self.len(), stride(self.len()));
        let mut gamma = vec![1.0; documents.len() * stride];
        for (d, gamma) in gamma.chunks_exact_mut(stride).enumerate() {
            let each = documents.length(d) as f64 / k as f64;
            gamma.iter_mut().zip(&self.alpha).for_each(|(g, a)| *g = a + each);
        }
        let longest = Plan::new(documents).longest;
        let bound = self.padded(|prior| {
            let view = self.documents(&table, prior).of(documents, longest);
            let mut total = vec![0.0; view.sums()];
            search(view, 0..documents.len(), |i| i, &mut gamma, &mut Room::default(), &mut total);
            total[stride]
        });
        // The table has a factor of each word taken out: put back what that takes from the bound.
        let scale = self.log_scale(&q.lambda, &table);
        let mut lost = 0.0;
        for d in 0..documents.len() {
            let (words, counts) = documents.document(d);
            let each = words.iter().zip(counts).map(|(&w, &n)| f64::from(n) * scale[w as usize]);
            lost += documents.weight(d) * each.sum::<f64>();
        }
        let bound = bound + lost - documents.total_weight() * self.log_beta();
        Ok(Found { gamma, bound })
    }

    /// The logarithm of the factor of each word that the table lacks.
    fn log_scale(&self, lambda: &[f64], table: &[f64]) -> Vec<f64> {
        let (k, stride) = (self.len(), stride(self.len()));
        let psi = |x: f64| polygamma(0, x);
        let totals: Vec<f64> =
            (0..k).map(|k| psi(lambda.iter().skip(k).step_by(stride).sum())).collect();
        let rows = lambda.chunks_exact(stride).zip(table.chunks_exact(stride));
        let one = |(lambda, table): (&[f64], &[f64])| {
            let top = (0..k).max_by(|&a, &b| table[a].total_cmp(&table[b])).unwrap_or(0);
            psi(lambda[top]) - totals[top] - table[top].ln()
        };
        rows.map(one).collect()
    }
}
