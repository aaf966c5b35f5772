//! `Topics`: latent Dirichlet allocation, by coordinate ascent and by stochastic variational inference.

mod compared;
mod held_out;
mod kernel;
mod parts;
mod plan;
mod posterior;
mod prior;
mod start;
mod step;

use std::sync::Arc;

pub use held_out::Completion;
pub use posterior::{Bound, TopicsPosterior};

use crate::ascent::EStep;
use crate::bijector::Support;
use crate::data::Corpus;
use crate::error::Error;
use crate::family::{Dirichlet, Family};
use crate::fit::{Options, fit};
use crate::model::{Model, Subsample};
use crate::restarts::{Restarted, restarts};
use crate::scratch::with_buffer;
use crate::space::Space;
use crate::warning::{Code, Warning};
use plan::Plan;

/// The least prior of a topic: below it `E log beta` of a word leaves the range of exponentials.
pub(crate) const LEAST_ETA: f64 = 0.002;

/// How many starts.
const STARTS: usize = 5;
/// How many documents a signature looks at.
const LOOKED: usize = 100;

/// When the search for the proportions of a document ends.
#[derive(Clone, Copy, Debug)]
struct Search {
    tolerance: f64,
    rounds: usize,
}

/// Latent Dirichlet allocation (Blei, Ng and Jordan 2003): each word of a document comes from one of
/// `K` topics, and documents mix topics in proportions of their own:
///
/// ```text
/// beta_k ~ Dirichlet(eta)        the words of topic k, on the simplex of the V words
/// theta_d ~ Dirichlet(alpha)     the proportions of document d, on the simplex of the K topics
/// z_dn ~ theta_d                 the topic of its n-th word
/// x_dn ~ beta_(z_dn)             the word
/// ```
///
/// The evidence is that of documents as sequences of words, whose order does not matter. The best `q`
/// that factorizes, a [`TopicsPosterior`], is found by coordinate ascent, [`EStep`]:
/// for each document its proportions and labels in turn until they move little, from an even mixture
/// and, where that ends lower than the last step did, from where that left them; then the topics.
/// `Minibatch::new(256, NaturalStep::decaying(10.0, 0.7))` is stochastic variational inference
/// (Hoffman, Blei, Wang and Paisley 2013). The delay, here 10, keeps something of a start that is
/// worth keeping: with a delay of 1 the first step forgets it, and with one as long as the run the
/// topics hardly leave it. `(EStep, MStep)` learns the prior too, `alpha` topic by topic and one
/// `eta`: `theta` is their logarithms. The ELBO is exact, with every constant, and the topics' part
/// is counted once, whatever the batch ([`TopicsPosterior::bound`] tells the parts apart).
///
/// A step costs `O(K)` a word of a document and round of its search, and `O(K V)` for the topics.
/// Memory is `K (N + 3 V)` numbers beside the documents, and for up to 8192 of them at a time one
/// number a word and `2 K`.
///
/// ```
/// use elbo::data::Corpus;
/// use elbo::models::Topics;
/// let (sea, snow) = ("sea sun sand sail", "snow ice ski sledge");
/// let letters = [sea, snow, sea, snow, sea, snow, "sea sand ice sail"].map(|t| format!("{t} ").repeat(5));
/// let model = Topics::new(Corpus::from_texts(&letters, &[])?, 2)?;
/// let fit = model.fit(1)?.fit;
/// let mut words = fit.model.top_words(&fit.q, 0, 4);
/// words.sort();
/// assert!(words == ["ice", "ski", "sledge", "snow"] || words == ["sail", "sand", "sea", "sun"]);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Topics {
    corpus: Arc<Corpus>,
    plan: Arc<Plan>,
    /// Those a minibatch shows.
    shown: Option<Vec<usize>>,
    /// The logarithms of `alpha` and `eta`, what these are made of.
    theta: Vec<f64>,
    alpha: Vec<f64>,
    eta: f64,
    search: Search,
}

impl Topics {
    /// A model of `topics` topics, with priors `alpha = eta = 1 / K`, and `eta` at least 0.002.
    ///
    /// # Errors
    /// No topics, or more than there are different words in the documents.
    pub fn new(corpus: impl Into<Arc<Corpus>>, topics: usize) -> Result<Topics, Error> {
        if topics == 0 {
            return Err(Error::option("topics", 0, "take at least one"));
        }
        let corpus = corpus.into();
        let different = corpus.n_different_words();
        if topics > different {
            let remedy = format!(
                "topics differ in their words, and the documents have {different} different ones: take \
                 at most {different}"
            );
            return Err(Error::option("topics", topics, &remedy));
        }
        let each = 1.0 / topics as f64;
        let model = Topics {
            plan: Arc::new(Plan::new(&corpus)),
            corpus,
            shown: None,
            theta: vec![0.0; topics + 1],
            alpha: vec![1.0; topics],
            eta: 1.0,
            search: Search { tolerance: 1e-2, rounds: 20 },
        };
        model.with_prior(&[each], each.max(LEAST_ETA))
    }

    /// The same with another prior: `alpha`, one number for all topics or one for each, and `eta`.
    ///
    /// # Errors
    /// A number that is not positive and finite, `eta` below 0.002, another number of them than
    /// topics.
    pub fn with_prior(mut self, alpha: &[f64], eta: f64) -> Result<Topics, Error> {
        let k = self.len();
        let alpha = if let [one] = alpha { vec![*one; k] } else { alpha.to_vec() };
        Error::expect_len("alpha", alpha.len(), "the list of topics", k)?;
        let fine = |x: f64| (1e-100..=1e100).contains(&x);
        if let Some(k) = alpha.iter().position(|a| !fine(*a)) {
            let remedy = "a concentration is positive and finite";
            return Err(Error::option(&format!("alpha[{k}]"), alpha[k], remedy));
        }
        if !(fine(eta) && eta >= LEAST_ETA) {
            let remedy = "take 0.002 or more, and a finite number: below, the logarithms of words \
                          that a topic lacks leave the range of exponentials";
            return Err(Error::option("eta", eta, remedy));
        }
        self.set_prior(&alpha, eta);
        Ok(self)
    }

    /// Sets the prior by its logarithms, so that these say all of it.
    fn set_prior(&mut self, alpha: &[f64], eta: f64) {
        with_buffer(alpha.len() + 1, |theta| {
            let all = alpha.iter().chain(std::iter::once(&eta));
            theta.iter_mut().zip(all).for_each(|(t, x)| *t = x.ln());
            self.set_theta(theta);
        });
    }

    /// The same with another end for the search for the proportions of a document: when the mean
    /// change of its concentrations in a round is below `tolerance` (0.01), or after so many rounds
    /// (20). However short it is, no step descends.
    ///
    /// # Errors
    /// A tolerance that is not a number of 0 or more, or no rounds.
    pub fn with_search(mut self, tolerance: f64, rounds: usize) -> Result<Topics, Error> {
        if !(tolerance >= 0.0 && tolerance.is_finite()) {
            return Err(Error::option("tolerance", tolerance, "it must be 0 or more, and finite"));
        }
        if rounds == 0 {
            return Err(Error::option("rounds", 0, "take at least one"));
        }
        self.search = Search { tolerance, rounds };
        Ok(self)
    }

    /// A first `q` from a seed: topics made from documents that lie far apart, and documents that mix
    /// them evenly. Different seeds may end at different tops: the ELBO says which is higher.
    pub fn start(&self, seed: u64) -> TopicsPosterior {
        self.start_at(seed, 0)
    }

    fn start_at(&self, seed: u64, index: u64) -> TopicsPosterior {
        let lambda = start::far_apart(&self.corpus, self.len(), (seed, index));
        TopicsPosterior::new(&self.corpus, self.len(), lambda.into_iter(), self.even())
    }

    /// A first `q` of the user's own: topics with these concentrations, `V` of one topic after
    /// another.
    ///
    /// # Errors
    /// Another number of them than `K V`, or one that is not positive and finite.
    pub fn start_from(&self, concentrations: &[f64]) -> Result<TopicsPosterior, Error> {
        let (k, v) = (self.len(), self.corpus.n_words());
        Error::expect_len("the concentrations", concentrations.len(), "the topics", k * v)?;
        if let Some(i) = concentrations.iter().position(|c| !(*c >= LEAST_ETA && *c <= 1e100)) {
            let option = format!("concentration of word {} in topic {}", i % v, i / v);
            return Err(Error::option(
                &option,
                concentrations[i],
                "take 0.002 or more, and finite",
            ));
        }
        let lambda = (0..v).flat_map(|w| (0..k).map(move |k| concentrations[k * v + w]));
        Ok(TopicsPosterior::new(&self.corpus, k, lambda, self.even()))
    }

    /// `gamma` where every document mixes the topics evenly.
    fn even(&self) -> impl Iterator<Item = f64> {
        let each = |d: usize| self.corpus.length(d) as f64 / self.len() as f64;
        (0..self.corpus.len()).flat_map(move |d| self.alpha.iter().map(move |a| a + each(d)))
    }

    /// Coordinate ascent from five starts, the best kept, by [`restarts`].
    ///
    /// # Errors
    /// None but for data too extreme.
    pub fn fit(&self, seed: u64) -> Result<Restarted<Topics, TopicsPosterior>, Error> {
        self.fit_with(STARTS, &Options { seed, ..Options::exact() })
    }

    /// The same from as many starts as wanted, each climb ending as the options say; their seed is
    /// that of the starts, too.
    ///
    /// # Errors
    /// As [`Topics::fit`]; no starts.
    pub fn fit_with(
        &self,
        starts: usize,
        options: &Options,
    ) -> Result<Restarted<Topics, TopicsPosterior>, Error> {
        let one = |start: usize| {
            let q = self.start_at(options.seed, start as u64);
            fit(self.clone(), q, EStep, options.clone())
        };
        let mut best = restarts(starts, one, |fit| self.signature(&fit.q))?;
        best.fit.warnings.extend(self.warnings());
        Ok(best)
    }

    /// What the documents cannot tell: more topics than documents (W12). It is among the warnings of
    /// [`Topics::fit`].
    pub fn warnings(&self) -> Vec<Warning> {
        let (k, n) = (self.len(), self.corpus.len());
        if k <= n {
            return Vec::new();
        }
        let message = format!(
            "there are {k} topics and {n} document{}: topics are told apart by words that documents \
             share, and some will hold a single document or nothing",
            if n == 1 { "" } else { "s" }
        );
        let cut = "cut long documents into parts, such as paragraphs";
        let warning = Warning::new(Code::CollapsedComponent, message);
        vec![warning.try_this(format!("at most {n}")).try_this(cut)]
    }

    /// The log probabilities of some documents, in nats.
    fn signature(&self, q: &TopicsPosterior) -> Vec<f64> {
        let topics: Vec<Vec<f64>> = (0..self.len()).map(|k| q.topic(k)).collect();
        let step = self.corpus.len().div_ceil(LOOKED);
        let document = |d: usize| {
            let theta = q.proportions(d);
            let (words, counts) = self.corpus.document(d);
            let word = |(&w, &n): (&u32, &u32)| {
                let p = theta.iter().zip(&topics).map(|(t, topic)| t * topic[w as usize]);
                f64::from(n) * p.sum::<f64>().ln()
            };
            words.iter().zip(counts).map(word).sum()
        };
        (0..self.corpus.len()).step_by(step).map(document).collect()
    }

    /// `K`: how many topics there may be.
    pub fn len(&self) -> usize {
        self.alpha.len()
    }

    /// Never: there is at least one topic.
    pub fn is_empty(&self) -> bool {
        self.alpha.is_empty()
    }

    /// The documents.
    pub fn corpus(&self) -> &Corpus {
        &self.corpus
    }

    /// The prior of the proportions, one number a topic.
    pub fn alpha(&self) -> &[f64] {
        &self.alpha
    }

    /// The prior of the topics.
    pub fn eta(&self) -> f64 {
        self.eta
    }

    /// The `n` most probable words of topic `k`, the first the most.
    ///
    /// # Panics
    /// If there is no such topic, or `q` is of another corpus.
    pub fn top_words(&self, q: &TopicsPosterior, k: usize, n: usize) -> Vec<&str> {
        let words = self.corpus.vocabulary();
        q.top_words(k, n).into_iter().map(|w| words[w].as_str()).collect()
    }

    /// `sum_k ln Gamma(alpha_k) - ln Gamma(sum alpha)`
    fn log_beta(&self) -> f64 {
        prior::log_beta(&self.alpha)
    }

    /// The same for the words of one topic.
    fn log_beta_of_topic(&self) -> f64 {
        prior::log_beta_equal(self.eta, self.corpus.n_words() as f64)
    }

    fn n_tokens(&self) -> usize {
        self.corpus.n_tokens() as usize
    }
}

impl Model for Topics {
    fn space(&self) -> Space {
        let (k, v) = (self.len(), self.corpus.n_words());
        let mut space = Space::new();
        space.block(
            "label",
            self.n_tokens(),
            Support::Category(u32::try_from(k).unwrap_or(u32::MAX)),
        );
        if k > 1 {
            space.block("proportion", self.corpus.len() * k, Support::Simplexes(k));
        }
        space.block("topic", k * v, Support::Simplexes(v));
        space
    }
    fn dim(&self) -> usize {
        let (k, v) = (self.len(), self.corpus.n_words());
        self.n_tokens() + if k > 1 { self.corpus.len() * k } else { 0 } + k * v
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let (k, v) = (self.len(), self.corpus.n_words());
        let (labels, rest) = z.split_at(self.n_tokens());
        let (proportions, topics) = rest.split_at(rest.len() - k * v);
        let mut labels = labels.iter();
        let of_document = Dirichlet::new(&self.alpha).ok();
        let mut sum = 0.0;
        for d in 0..self.corpus.len() {
            let theta = if k > 1 { &proportions[d * k..(d + 1) * k] } else { &[1.0] };
            let mut own = of_document.as_ref().map_or(0.0, |p| p.log_prob(theta));
            let (words, counts) = self.corpus.document(d);
            for (&word, &count) in words.iter().zip(counts) {
                for &label in labels.by_ref().take(count as usize) {
                    if !(label >= 0.0 && label < k as f64 && label.fract() == 0.0) {
                        return f64::NEG_INFINITY;
                    }
                    let label = label as usize;
                    own += theta[label].ln() + topics[label * v + word as usize].ln();
                }
            }
            sum += self.corpus.weight(d) * own;
        }
        let of_topic = Dirichlet::new(&vec![self.eta; v]).ok();
        sum + of_topic.map_or(0.0, |p| topics.chunks_exact(v).map(|t| p.log_prob(t)).sum())
    }
    fn n_theta(&self) -> usize {
        self.len() + 1
    }
    fn theta(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.theta);
    }
    fn set_theta(&mut self, theta: &[f64]) {
        self.theta.copy_from_slice(theta);
        for (alpha, t) in self.alpha.iter_mut().zip(theta) {
            *alpha = t.exp().clamp(1e-100, 1e100);
        }
        self.eta = theta[self.alpha.len()].exp().clamp(LEAST_ETA, 1e100);
    }
}

impl Subsample for Topics {
    fn n_data(&self) -> usize {
        self.corpus.len()
    }
    fn subsample(&mut self, rows: &[usize]) {
        let shown = self.shown.get_or_insert_default();
        shown.clear();
        shown.extend_from_slice(rows);
    }
    fn whole(&mut self) {
        self.shown = None;
    }
}
