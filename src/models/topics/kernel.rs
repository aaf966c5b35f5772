//! The inner loops: words of a document lane by lane while its proportions are found, topics lane by
//! lane where words are added up.
//!
//! A matrix of words and topics has a row a word, `stride` numbers of which the first `K` count.

mod local;
mod of_words;
mod tile;

pub(super) use local::Local;
pub(super) use of_words::{Expect, Move, SUMS, Scatter};

use crate::data::Corpus;

/// What is subtracted in the lanes that hold no topic, so that nothing of them is left.
pub(super) const NO_TOPIC: f64 = 1e6;

/// Numbers a word: topics, up to whole registers of any width.
pub(super) fn stride(k: usize) -> usize {
    k.next_multiple_of(8)
}

/// Documents whose proportions are to be found.
#[derive(Clone, Copy)]
pub(super) struct Documents<'a> {
    pub(super) corpus: &'a Corpus,
    /// Those looked at, or all.
    pub(super) shown: Option<&'a [usize]>,
    pub(super) k: usize,
    /// `exp(E log topic_kw)` up to a factor of each word.
    pub(super) table: &'a [f64],
    /// `alpha`, a stride.
    pub(super) prior: &'a [f64],
    /// `mean_k |change of gamma|` that ends the search, and the most rounds.
    pub(super) tolerance: f64,
    pub(super) rounds: usize,
    /// The most words of a document.
    pub(super) longest: usize,
}

impl<'a> Documents<'a> {
    /// The same search in all documents of another corpus.
    pub(super) fn of(self, corpus: &'a Corpus, longest: usize) -> Documents<'a> {
        Documents { corpus, shown: None, longest, ..self }
    }
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.shown.map_or(self.corpus.len(), <[usize]>::len)
    }
    /// The number of the document at this place.
    pub(super) fn at(&self, i: usize) -> usize {
        self.shown.map_or(i, |shown| shown[i])
    }
    /// How many numbers a [`Local`] works with.
    pub(super) fn room(&self) -> usize {
        8 + (self.k + 2) * self.longest.next_multiple_of(8) + 3 * stride(self.k)
    }
    /// How many sums it leaves.
    pub(super) fn sums(&self) -> usize {
        stride(self.k) + 2
    }
}
