//! `Plan`: which words are summed over together, and where they stand in each document.

use crate::data::Corpus;

/// Words next to each other are summed over together, in ranges with about as many entries of the
/// corpus each. How many there are depends on the corpus alone.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Where ranges of words begin, and where the last ends.
    pub(super) words: Vec<usize>,
    /// For each document, where each range begins among its words, and where the last ends.
    cuts: Vec<u32>,
    /// The most words of a document.
    pub(super) longest: usize,
}

/// The most ranges there are.
const RANGES: usize = 16;
/// The least words worth a range of their own.
const WORDS: usize = 128;

impl Plan {
    pub(super) fn new(corpus: &Corpus) -> Plan {
        let mut entries = vec![0usize; corpus.n_words()];
        let documents = || (0..corpus.len()).map(|d| corpus.document(d).0);
        documents().flatten().for_each(|&w| entries[w as usize] += 1);
        let ranges = (corpus.n_words() / WORDS).clamp(1, RANGES);
        let all = corpus.n_entries();
        let (mut words, mut seen) = (vec![0], 0);
        for (w, n) in entries.iter().enumerate() {
            // a range ends where its share of the entries does
            if seen >= words.len() * all / ranges && words.len() < ranges && w > 0 {
                words.push(w);
            }
            seen += n;
        }
        words.push(corpus.n_words());
        words.dedup();
        let mut cuts = Vec::with_capacity(corpus.len() * words.len());
        for document in documents() {
            let at = |&first: &usize| document.partition_point(|&w| (w as usize) < first) as u32;
            cuts.extend(words.iter().map(at));
        }
        let longest = documents().map(<[u32]>::len).max().unwrap_or(0);
        Plan { words, cuts, longest }
    }

    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.words.len() - 1
    }

    /// Where the words of a range stand in document `d`.
    pub(super) fn entries(&self, d: usize, range: usize) -> std::ops::Range<usize> {
        let cuts = &self.cuts[d * self.words.len() + range..];
        cuts[0] as usize..cuts[1] as usize
    }
}
