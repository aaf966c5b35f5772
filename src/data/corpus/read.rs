//! Documents from counts, words, texts and CSV.

use std::collections::HashMap;
use std::io::Read;

use super::{Corpus, bad};
use crate::error::Error;

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
