//! What is believed of topics, for comparisons: the probabilities of their top words.

use super::{Topics, TopicsPosterior};
use crate::compare::{Compared, Entry, Parameter, Quantity};
use crate::error::Error;
use crate::fit::Fit;
use crate::quantile::beta_quantile;

/// How many words of a topic are told.
const TOP: usize = 10;

/// Each topic is a component: `alpha`, the prior of its share of a document, as a point, and
/// `word[sea]`, the probability of a word. Told are the words that are among the ten most probable of
/// some topic, in every topic; that is what topics are matched by, and a vocabulary is too long to
/// read. A word that is not among its own topic's ten has an interval and no density. The ELBO is
/// that of the last step: of steps on batches of documents, an estimate.
impl Compared for Fit<Topics, TopicsPosterior> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let (model, q) = (&self.model, &self.q);
        let corpus = model.corpus();
        let mut entry = Entry::new(method)
            .of(corpus.fingerprint())?
            .reached(Quantity::Elbo, q.bound().total())
            .spent(self);
        let tops: Vec<Vec<usize>> = (0..q.len()).map(|k| q.top_words(k, TOP)).collect();
        let mut told: Vec<usize> = Vec::new();
        for word in tops.iter().flatten() {
            if !told.contains(word) {
                told.push(*word);
            }
        }
        for (k, top) in tops.iter().enumerate() {
            let numbers = q.concentrations(k);
            let total: f64 = numbers.iter().sum();
            let word = |&w: &usize| {
                let (a, b) = (numbers[w], total - numbers[w]);
                let name = format!("word[{}]", corpus.vocabulary()[w]);
                if top.contains(&w) {
                    return Parameter::beta(&name, a, b).of_component(k);
                }
                let mut new = Parameter::point(&name, a / total, None);
                new.sd = Some((a * b / (total + 1.0)).sqrt() / total);
                new.q05 = Some(beta_quantile(0.05, a, b));
                new.q95 = Some(beta_quantile(0.95, a, b));
                new.of_component(k)
            };
            entry = entry.with([Parameter::point("alpha", model.alpha()[k], None).of_component(k)]);
            entry = entry.with(told.iter().map(word));
        }
        Ok(entry)
    }
}
