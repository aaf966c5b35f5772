//! Some of the documents, and halves of their words.

use rand::RngExt;

use super::Corpus;
use crate::error::Error;
use crate::noise::{Purpose, stream};

impl Corpus {
    /// Some of its documents, in this order, over the same vocabulary.
    ///
    /// # Errors
    /// None, or a document that is not there.
    pub fn select(&self, documents: impl IntoIterator<Item = usize>) -> Result<Corpus, Error> {
        let (mut all, mut names, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let mut n = 0;
        for d in documents {
            if d >= self.len() {
                let remedy = format!("there are {}: its number is below that", self.len());
                return Err(Error::option("document", d, &remedy));
            }
            let (words, counts) = self.document(d);
            all.extend(words.iter().zip(counts).map(|(&w, &c)| (n, w, c)));
            names.push(self.label(d));
            weights.push(self.weight(d));
            n += 1;
        }
        if self.names.is_empty() {
            names.clear();
        }
        let corpus = Corpus::new(all, n, self.vocabulary.clone(), names)?;
        if self.weights.is_empty() { Ok(corpus) } else { corpus.weighted(weights) }
    }

    /// Deals the words of each document at random into two halves, which differ by at most one word:
    /// what is seen of it, and what is to be predicted. Documents of a single word are left out.
    ///
    /// ```
    /// use elbo::data::Corpus;
    /// let corpus = Corpus::from_tokens([vec!["sea", "sun", "sea", "sea"], vec!["sun", "snow"]])?;
    /// let (seen, hidden) = corpus.halves(1)?;
    /// assert_eq!((seen.length(0), hidden.length(0)), (2, 2));
    /// assert_eq!(seen.n_tokens() + hidden.n_tokens(), corpus.n_tokens());
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A corpus in which every document has a single word.
    pub fn halves(&self, seed: u64) -> Result<(Corpus, Corpus), Error> {
        let mut rng = stream(seed, Purpose::Data, 0);
        let (mut seen, mut hidden, mut n, mut kept) = (Vec::new(), Vec::new(), 0, Vec::new());
        for d in (0..self.len()).filter(|&d| self.length(d) > 1) {
            let (mut wanted, mut left) = (self.length(d) / 2, self.length(d));
            let (words, counts) = self.document(d);
            for (&word, &count) in words.iter().zip(counts) {
                let mut taken = 0;
                for _ in 0..count {
                    // each token is as likely as any other to be among those still wanted
                    let take = rng.random_range(0..left) < wanted;
                    (wanted, left) = (wanted - u64::from(take), left - 1);
                    taken += u32::from(take);
                }
                seen.extend((taken > 0).then_some((n, word, taken)));
                hidden.extend((taken < count).then_some((n, word, count - taken)));
            }
            kept.push(d);
            n += 1;
        }
        let half = |all: Vec<(usize, u32, u32)>| -> Result<Corpus, Error> {
            let names = if self.names.is_empty() {
                Vec::new()
            } else {
                kept.iter().map(|&d| self.label(d)).collect()
            };
            let corpus = Corpus::new(all, n, self.vocabulary.clone(), names)?;
            match self.weights.is_empty() {
                true => Ok(corpus),
                false => corpus.weighted(kept.iter().map(|&d| self.weight(d)).collect()),
            }
        };
        Ok((half(seen)?, half(hidden)?))
    }
}
