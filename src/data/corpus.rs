//! `Corpus`: documents as counts of words, for models of topics, checked once.

mod parts;
mod read;
#[cfg(test)]
mod tests;

use crate::error::Error;

/// Documents, each a list of words with how often they occur in it, and the vocabulary the words are
/// numbers of. The order of words within a document is not kept.
///
/// Only words that occur are stored, eight bytes each, a document after another and by word within a
/// document. Every document has at least one word. A weight `w` counts a document as `w` of them;
/// without weights each counts once.
///
/// ```
/// use elbo::data::Corpus;
/// let letters = [vec!["sea", "sun", "sea"], vec!["snow", "sun"]];
/// let corpus = Corpus::from_tokens(&letters)?;
/// assert_eq!((corpus.len(), corpus.n_words(), corpus.n_tokens()), (2, 3, 5));
/// assert_eq!(corpus.document(0), (&[0, 1][..], &[2, 1][..])); // "sea" twice, "sun" once
/// let none: [&str; 0] = [];
/// assert_eq!(
///     Corpus::from_tokens([&none[..], &["sea", "sun"]]).unwrap_err().to_string(),
///     "E01 document 0 is empty (1 of 2 documents). Drop it: it says nothing of the topics"
/// );
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Corpus {
    /// Where documents begin, and where the last ends.
    starts: Vec<usize>,
    words: Vec<u32>,
    counts: Vec<u32>,
    vocabulary: Vec<String>,
    /// What documents are called; none where they go by number.
    names: Vec<String>,
    /// One a document, or none where each counts once.
    weights: Vec<f64>,
}

impl Corpus {
    /// Sorts the triples into documents.
    fn new(
        mut all: Vec<(usize, u32, u32)>,
        documents: usize,
        vocabulary: Vec<String>,
        names: Vec<String>,
    ) -> Result<Corpus, Error> {
        if documents == 0 {
            return Err(Error::NoData { what: "the corpus".to_string() });
        }
        if vocabulary.len() < 2 {
            let remedy = "topics differ in their words: there must be at least 2 different ones";
            return Err(Error::option("words of the vocabulary", vocabulary.len(), remedy));
        }
        if u32::try_from(vocabulary.len()).is_err() {
            let remedy = "there may be at most 4294967295";
            return Err(Error::option("words of the vocabulary", vocabulary.len(), remedy));
        }
        all.sort_by_key(|&(d, word, _)| (d, word));
        let (mut starts, mut words, mut counts) = (vec![0], Vec::new(), Vec::<u32>::new());
        for (d, word, count) in all {
            while starts.len() <= d {
                starts.push(words.len());
            }
            // the same word of the same document again
            if words.len() > starts[d] && words.last() == Some(&word) {
                let last = counts.len() - 1;
                counts[last] = counts[last].saturating_add(count);
                continue;
            }
            words.push(word);
            counts.push(count);
        }
        starts.resize(documents + 1, words.len());
        let corpus = Corpus { starts, words, counts, vocabulary, names, weights: Vec::new() };
        let empty = |d: &usize| corpus.starts[*d] == corpus.starts[*d + 1];
        if let Some(d) = (0..documents).find(empty) {
            let count =
                format!(" ({} of {documents} documents)", (0..documents).filter(empty).count());
            return Err(Error::Data {
                place: format!("document {}", corpus.label(d)),
                value: "empty".to_string(),
                count,
                remedy: "Drop it: it says nothing of the topics".to_string(),
            });
        }
        Ok(corpus)
    }

    /// The same with names for its words.
    ///
    /// # Errors
    /// Another number of names than words.
    pub fn with_vocabulary<W: Into<String>>(
        mut self,
        words: impl IntoIterator<Item = W>,
    ) -> Result<Corpus, Error> {
        let words: Vec<String> = words.into_iter().map(Into::into).collect();
        Error::expect_len(
            "the vocabulary",
            words.len(),
            "the words of the corpus",
            self.n_words(),
        )?;
        self.vocabulary = words;
        Ok(self)
    }

    /// Counts document `d` as `weights[d]` of them.
    ///
    /// # Errors
    /// Another number of weights than documents, a weight that is negative or not finite, or
    /// weights that are all zero.
    pub fn weighted(mut self, weights: Vec<f64>) -> Result<Corpus, Error> {
        Error::expect_len("the weights", weights.len(), "the corpus", self.len())?;
        if let Some(d) = weights.iter().position(|w| !(*w >= 0.0 && w.is_finite())) {
            let remedy = "A weight must be 0 or more, and finite";
            return Err(bad(format!("weights[{d}]"), weights[d].to_string(), remedy));
        }
        if weights.iter().sum::<f64>() <= 0.0 {
            return Err(bad(
                "weights".to_string(),
                "0".to_string(),
                "All weights are 0: nothing counts",
            ));
        }
        self.weights = weights;
        Ok(self)
    }

    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Never: there is at least one document.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many different words there may be: the size of the vocabulary.
    pub fn n_words(&self) -> usize {
        self.vocabulary.len()
    }

    /// How many words of the vocabulary occur in some document.
    pub fn n_different_words(&self) -> usize {
        let mut seen = vec![false; self.n_words()];
        self.words.iter().for_each(|&w| seen[w as usize] = true);
        seen.into_iter().filter(|seen| *seen).count()
    }

    /// How many words there are in all documents, each as often as it occurs.
    pub fn n_tokens(&self) -> u64 {
        self.counts.iter().map(|&n| u64::from(n)).sum()
    }

    /// How many pairs of a document and a word in it there are.
    pub fn n_entries(&self) -> usize {
        self.words.len()
    }

    /// The words of document `d`, by number and in order, and how often each occurs in it.
    ///
    /// # Panics
    /// If there is no such document.
    pub fn document(&self, d: usize) -> (&[u32], &[u32]) {
        let range = self.starts[d]..self.starts[d + 1];
        (&self.words[range.clone()], &self.counts[range])
    }

    /// How many words document `d` has, each as often as it occurs.
    pub fn length(&self, d: usize) -> u64 {
        self.document(d).1.iter().map(|&n| u64::from(n)).sum()
    }

    /// What words are called.
    pub fn vocabulary(&self) -> &[String] {
        &self.vocabulary
    }

    /// What document `d` is called: its number where it has no name.
    pub fn label(&self, d: usize) -> String {
        self.names.get(d).cloned().unwrap_or_else(|| d.to_string())
    }

    /// How many documents document `d` counts as.
    pub fn weight(&self, d: usize) -> f64 {
        self.weights.get(d).copied().unwrap_or(1.0)
    }

    /// The sum of the weights: the number of documents where each counts once.
    pub fn total_weight(&self) -> f64 {
        if self.weights.is_empty() { self.len() as f64 } else { self.weights.iter().sum() }
    }
}

fn bad(place: String, value: String, remedy: &str) -> Error {
    Error::Data { place, value, count: String::new(), remedy: remedy.to_string() }
}
