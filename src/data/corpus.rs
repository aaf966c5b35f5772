//! `Corpus`: documents as counts of words, for models of topics, checked once.

use std::collections::HashMap;
use std::io::Read;

use rand::RngExt;

use crate::error::Error;
use crate::noise::{Purpose, stream};

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

/// What a count must be.
const WHOLE: &str = "A count is a whole number of occurrences, 1 or more: leave words out that do not occur, and give frequencies as counts";

impl Corpus {
    /// From the counts of a sparse matrix, a row a document: document `d` has the words
    /// `words[starts[d]..starts[d + 1]]`, numbers below `vocabulary`, with these counts.
    ///
    /// ```
    /// use elbo::data::Corpus;
    /// let corpus = Corpus::from_rows(&[0, 2, 3], &[4, 0, 1], &[1.0, 3.0, 2.0], 5)?;
    /// assert_eq!(corpus.document(0), (&[0, 4][..], &[3, 1][..]));
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// No documents, starts that do not rise or do not fit, an empty document, a count that is not a
    /// positive whole number, a word beyond the vocabulary, each by document and word.
    pub fn from_rows(
        starts: &[usize],
        words: &[usize],
        counts: &[f64],
        vocabulary: usize,
    ) -> Result<Corpus, Error> {
        Error::expect_len("the counts", counts.len(), "the list of words", words.len())?;
        let end = starts.last().copied().unwrap_or(0);
        Error::expect_len("the list of words", words.len(), "the last of the starts", end)?;
        if let Some(d) = starts.windows(2).position(|s| s[0] > s[1]) {
            let remedy = format!("it must not lie before starts[{d}], {}", starts[d]);
            return Err(Error::option(&format!("starts[{}]", d + 1), starts[d + 1], &remedy));
        }
        let triples = starts
            .windows(2)
            .enumerate()
            .flat_map(|(d, s)| (s[0]..s[1]).map(move |i| (d, words[i], counts[i])));
        let documents = starts.len().saturating_sub(1);
        Corpus::from_triples(triples, documents, vocabulary)
    }

    /// From triples of document, word and count, in any order; counts of the same document and word
    /// are added up.
    ///
    /// ```
    /// use elbo::data::Corpus;
    /// let corpus = Corpus::from_triples([(1, 0, 2.0), (0, 1, 1.0), (1, 0, 1.0)], 2, 2)?;
    /// assert_eq!(corpus.document(1), (&[0][..], &[3][..]));
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Corpus::from_rows`].
    pub fn from_triples(
        triples: impl IntoIterator<Item = (usize, usize, f64)>,
        documents: usize,
        vocabulary: usize,
    ) -> Result<Corpus, Error> {
        let mut all = Vec::new();
        for (d, word, count) in triples {
            if d >= documents {
                let remedy = format!("there are {documents}: its number is below that");
                return Err(Error::option("document of a triple", d, &remedy));
            }
            if word >= vocabulary {
                let remedy = format!(
                    "Numbers of its {vocabulary} words run from 0 to {}",
                    vocabulary.saturating_sub(1)
                );
                return Err(bad(
                    format!("a word of document {d}"),
                    format!("{word}, beyond the vocabulary"),
                    &remedy,
                ));
            }
            let whole = count >= 1.0 && count.fract() == 0.0 && count <= f64::from(u32::MAX);
            if !whole {
                let place = format!("the count of word {word} in document {d}");
                return Err(bad(place, count.to_string(), WHOLE));
            }
            all.push((d, word as u32, count as u32));
        }
        let words = (0..vocabulary).map(|w| w.to_string()).collect();
        Corpus::new(all, documents, words, Vec::new())
    }

    /// From the words of each document, as often as they occur. The vocabulary is in the order in
    /// which words are first seen.
    ///
    /// # Errors
    /// No documents, an empty document by number, fewer than two different words.
    pub fn from_tokens<D, W>(documents: impl IntoIterator<Item = D>) -> Result<Corpus, Error>
    where
        D: IntoIterator<Item = W>,
        W: AsRef<str>,
    {
        let (mut known, mut all, mut n) = (Dictionary::default(), Vec::new(), 0);
        for (d, document) in documents.into_iter().enumerate() {
            all.extend(document.into_iter().map(|w| (d, known.number(w.as_ref()) as u32, 1)));
            n += 1;
        }
        Corpus::new(all, n, known.words, Vec::new())
    }

    /// From texts: words are what stands between characters that are no letters, in lower case.
    /// Words in `skip` are left out.
    ///
    /// ```
    /// use elbo::data::Corpus;
    /// let corpus = Corpus::from_texts(["The sea, the sun!", "Snow."], &["the"])?;
    /// assert_eq!(corpus.vocabulary(), ["sea", "sun", "snow"]);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Corpus::from_tokens`].
    pub fn from_texts<T: AsRef<str>>(
        texts: impl IntoIterator<Item = T>,
        skip: &[&str],
    ) -> Result<Corpus, Error> {
        let words = |text: T| {
            let lower = text.as_ref().to_lowercase();
            let words = lower.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty());
            words.filter(|w| !skip.contains(w)).map(str::to_string).collect::<Vec<_>>()
        };
        Corpus::from_tokens(texts.into_iter().map(words))
    }

    /// From CSV with a heading and three columns: document, word, count. Documents and words are
    /// named by any text, and numbered in the order in which they are first seen.
    ///
    /// ```
    /// use elbo::data::Corpus;
    /// let csv = "document,word,count\nMay,sea,2\nMay,sun,1\nJune,sun,4\n";
    /// let corpus = Corpus::from_csv(csv.as_bytes())?;
    /// assert_eq!((corpus.label(1), corpus.document(1)), ("June".to_string(), (&[1][..], &[4][..])));
    /// let bad = Corpus::from_csv("document,word,count\nMay,sea,-2\n".as_bytes());
    /// assert!(bad.unwrap_err().to_string().starts_with("E01 the count on line 2 is \"-2\""));
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A line of another length, or a count that is no positive whole number, by line.
    pub fn from_csv(csv: impl Read) -> Result<Corpus, Error> {
        let (mut documents, mut words) = (Dictionary::default(), Dictionary::default());
        let mut all = Vec::new();
        let mut reader = csv::Reader::from_reader(csv);
        for record in reader.records() {
            let record = record.map_err(|e| {
                bad("the table".to_string(), e.to_string(), "A line is document,word,count")
            })?;
            let line = record.position().map_or(0, |p| p.line());
            let [document, word, count] =
                [0, 1, 2].map(|j| record.get(j).unwrap_or_default().trim());
            if record.len() != 3 || document.is_empty() || word.is_empty() {
                let value = format!("\"{}\"", record.iter().collect::<Vec<_>>().join(","));
                return Err(bad(format!("line {line}"), value, "A line is document,word,count"));
            }
            let number = count.parse::<u32>().ok().filter(|n| *n > 0);
            let Some(number) = number else {
                return Err(bad(
                    format!("the count on line {line}"),
                    format!("\"{count}\""),
                    WHOLE,
                ));
            };
            all.push((documents.number(document), words.number(word) as u32, number));
        }
        let n = documents.words.len();
        Corpus::new(all, n, words.words, documents.words)
    }

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

fn bad(place: String, value: String, remedy: &str) -> Error {
    Error::Data { place, value, count: String::new(), remedy: remedy.to_string() }
}

/// Words by number, in the order in which they are first seen.
#[derive(Default)]
struct Dictionary {
    words: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Dictionary {
    fn number(&mut self, word: &str) -> usize {
        if let Some(&number) = self.numbers.get(word) {
            return number;
        }
        let number = self.words.len();
        self.words.push(word.to_string());
        self.numbers.insert(word.to_string(), number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(corpus: Result<Corpus, Error>) -> String {
        corpus.map(|_| "fine".to_string()).unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn bad_documents_are_named() {
        let triples = |t: &[(usize, usize, f64)]| text(Corpus::from_triples(t.to_vec(), 3, 4));
        assert_eq!(
            triples(&[(0, 0, 1.0), (1, 2, -2.0)]),
            "E01 the count of word 2 in document 1 is -2. A count is a whole number of occurrences, \
             1 or more: leave words out that do not occur, and give frequencies as counts"
        );
        for count in [0.0, 0.5, f64::NAN, f64::INFINITY] {
            let said = triples(&[(2, 3, count)]);
            assert!(
                said.starts_with(&format!("E01 the count of word 3 in document 2 is {count}."))
            );
        }
        assert_eq!(
            triples(&[(0, 4, 1.0)]),
            "E01 a word of document 0 is 4, beyond the vocabulary. Numbers of its 4 words run from 0 to 3"
        );
        assert!(triples(&[(3, 0, 1.0)]).starts_with("E10 document of a triple is 3; there are 3"));
        assert_eq!(
            triples(&[(2, 0, 1.0)]),
            "E01 document 0 is empty (2 of 3 documents). Drop it: it says nothing of the topics"
        );
        assert!(text(Corpus::from_triples([], 0, 4)).starts_with("E02 the corpus has no"));
        assert!(text(Corpus::from_triples([(0, 0, 1.0)], 1, 1)).contains("at least 2 different"));
        let rows = |starts: &[usize]| text(Corpus::from_rows(starts, &[0, 1], &[1.0; 2], 3));
        assert_eq!(rows(&[0, 1, 2]), "fine");
        assert!(rows(&[0, 1]).starts_with("E03 the list of words has 2 values but the last of"));
        assert!(rows(&[1, 0, 2]).starts_with("E10 starts[1] is 0; it must not lie before"));
        let csv = |table: &str| text(Corpus::from_csv(table.as_bytes()));
        assert!(csv("d,w,n\na,b,1\na,c\n").starts_with("E01 the table is CSV error: record 2"));
        assert!(csv("d,w,n\na,,1\n").starts_with("E01 line 2 is \"a,,1\". A line is"));
        assert!(csv("d,w,n\na,b,1.5\n").starts_with("E01 the count on line 2 is \"1.5\""));
    }

    #[test]
    fn weights_names_and_parts() {
        let corpus = || Corpus::from_csv("d,w,n\nx,a,2\nx,b,1\ny,c,1\nz,a,4\n".as_bytes());
        let all = corpus().and_then(|c| c.weighted(vec![1.0, 2.0, 0.5])).expect("fine");
        assert_eq!(all.total_weight(), 3.5);
        let two = all.select([2, 0]).expect("they are there");
        assert_eq!((two.label(0), two.weight(0), two.length(1)), ("z".to_string(), 0.5, 3));
        assert!(text(all.select([3])).starts_with("E10 document is 3"));
        assert!(text(all.select([])).starts_with("E02"));
        // the document of one word has no halves
        let (seen, hidden) = all.halves(3).expect("two have");
        assert_eq!((seen.label(0), seen.length(1), hidden.length(1)), ("x".to_string(), 2, 2));
        assert_eq!((seen.length(0), hidden.length(0), seen.weight(1)), (1, 2, 0.5));
        let weigh = |w: Vec<f64>| text(corpus().and_then(|c| c.weighted(w)));
        assert!(weigh(vec![1.0]).starts_with("E03 the weights has 1"));
        assert!(weigh(vec![1.0, -1.0, 1.0]).starts_with("E01 weights[1] is -1"));
        assert!(weigh(vec![0.0; 3]).contains("nothing counts"));
        let named = corpus().and_then(|c| c.with_vocabulary(["one"]));
        assert!(text(named).starts_with("E03 the vocabulary has 1 values"));
    }

    /// Each of four tokens is in the first half as often as any other.
    #[test]
    fn halves_are_fair() {
        let corpus = Corpus::from_rows(&[0, 2], &[0, 1], &[1.0, 3.0], 2).expect("fine");
        let taken = (0..4000).filter(|&s| {
            let (seen, _) = corpus.halves(s).expect("four words");
            seen.document(0).0[0] == 0
        });
        // half of the time: 5 standard errors are 158
        assert!(taken.count().abs_diff(2000) < 158);
    }
}
