//! `Sequences`: rows in the order of time, one sequence of them or several.

use std::ops::Range;
use std::sync::Arc;

use crate::data::{Fingerprint, Observations};
use crate::error::Error;

/// Observations in the order of time: the rows of one sequence stand together, and sequences one
/// after another.
///
/// A row of which nothing is known, all NaN ([`Observations::with_gaps`]), is a time that was not
/// looked at. A weight counts a sequence as that many: all rows of a sequence have the same.
///
/// ```
/// use elbo::data::Observations;
/// use elbo::models::hidden_markov::Sequences;
/// let data = Observations::new(vec![0.1, 0.2, 0.1, 3.0, 3.1], 1)?;
/// let sequences = Sequences::new(data, &[3, 2])?;
/// assert_eq!((sequences.len(), sequences.range(1)), (2, 3..5));
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sequences {
    data: Arc<Observations>,
    /// Where each sequence starts, and where the last one ends.
    starts: Vec<usize>,
}

impl Sequences {
    /// Sequences of these lengths.
    ///
    /// # Errors
    /// Lengths that do not add up to the number of rows, a sequence of fewer than two rows, or rows
    /// of one sequence with different weights.
    pub fn new(data: impl Into<Arc<Observations>>, lengths: &[usize]) -> Result<Sequences, Error> {
        let data = data.into();
        let mut starts = vec![0];
        for (i, &length) in lengths.iter().enumerate() {
            if length < 2 {
                let remedy = "a sequence needs at least 2 rows: drop it, or join it to another";
                return Err(Error::option(&format!("the length of sequence {i}"), length, remedy));
            }
            starts.push(starts[i] + length);
        }
        let total = starts[lengths.len()];
        Error::expect_len("the data", data.len(), "all sequences together", total)?;
        for (i, range) in starts.windows(2).map(|w| w[0]..w[1]).enumerate() {
            let own = data.weight(range.start);
            if let Some(row) = range.clone().find(|&row| data.weight(row) != own) {
                return Err(Error::Data {
                    place: format!("weights[{row}]"),
                    value: data.weight(row).to_string(),
                    count: String::new(),
                    remedy: format!(
                        "Row {} of the same sequence, {i}, has {own}: a sequence counts as a whole",
                        range.start
                    ),
                });
            }
        }
        Ok(Sequences { data, starts })
    }

    /// A single sequence.
    ///
    /// # Errors
    /// As [`Sequences::new`].
    pub fn one(data: impl Into<Arc<Observations>>) -> Result<Sequences, Error> {
        let data = data.into();
        let length = data.len();
        Sequences::new(data, &[length])
    }

    /// How many sequences.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Never: there is at least one sequence.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows of sequence `i`, by number.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn range(&self, i: usize) -> Range<usize> {
        self.starts[i]..self.starts[i + 1]
    }

    /// The rows of each sequence, by number.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        self.starts.windows(2).map(|w| w[0]..w[1])
    }

    /// The rows of all sequences.
    pub fn rows(&self) -> &Observations {
        &self.data
    }

    /// How many sequences sequence `i` counts as.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn weight(&self, i: usize) -> f64 {
        self.data.weight(self.starts[i])
    }

    /// Which data these are: the rows with their weights, and where there are several sequences their
    /// lengths. A single sequence is the same data as its rows, so that models that know nothing of time
    /// may stand beside it.
    pub fn fingerprint(&self) -> Fingerprint {
        if self.len() == 1 {
            return self.data.fingerprint();
        }
        let lengths: Vec<f64> = self.ranges().map(|range| range.len() as f64).collect();
        Fingerprint::weighted(&[self.data.values(), &lengths], self.data.weights())
    }

    /// The sequences whose first row is in a stretch of rows.
    pub(super) fn starting_in(&self, rows: Range<usize>) -> Range<usize> {
        let all = &self.starts[..self.len()];
        all.partition_point(|s| *s < rows.start)..all.partition_point(|s| *s < rows.end)
    }

    /// The same rows, shared.
    pub(super) fn shared(&self) -> Arc<Observations> {
        Arc::clone(&self.data)
    }
}
