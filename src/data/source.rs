//! `Source` and `View`: rows in memory or in a file, to keep and to look at.

use std::collections::HashMap;
use std::sync::Arc;

use rand::{Rng, RngExt};

use super::{Fingerprint, Observations, RowFile};
use crate::error::Error;
use crate::warning::{Code, Warning};

/// Where a model has its rows from: memory, or a file that is read again in each pass.
///
/// ```
/// use elbo::data::{Observations, Source};
/// let rows = Source::from(Observations::new(vec![1.0, 2.0, 3.0], 1)?);
/// assert_eq!((rows.view().len(), rows.view().mean()), (3, vec![2.0]));
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum Source {
    /// All rows in memory.
    Memory(Arc<Observations>),
    /// Rows in a file.
    File(Arc<RowFile>),
}

/// The rows of a [`Source`], to look at.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// All rows in memory.
    Memory(&'a Observations),
    /// Rows in a file, each of which counts once.
    File(&'a RowFile),
}

impl From<Observations> for Source {
    fn from(data: Observations) -> Source {
        Source::Memory(Arc::new(data))
    }
}

impl From<Arc<Observations>> for Source {
    fn from(data: Arc<Observations>) -> Source {
        Source::Memory(data)
    }
}

impl From<RowFile> for Source {
    fn from(file: RowFile) -> Source {
        Source::File(Arc::new(file))
    }
}

impl From<Arc<RowFile>> for Source {
    fn from(file: Arc<RowFile>) -> Source {
        Source::File(file)
    }
}

impl Source {
    /// The rows, to look at.
    pub fn view(&self) -> View<'_> {
        match self {
            Source::Memory(data) => View::Memory(data),
            Source::File(file) => View::File(file),
        }
    }
}

impl<'a> From<&'a Source> for View<'a> {
    fn from(source: &'a Source) -> View<'a> {
        source.view()
    }
}

impl<'a> From<&'a Observations> for View<'a> {
    fn from(data: &'a Observations) -> View<'a> {
        View::Memory(data)
    }
}

impl<'a> From<&'a Arc<Observations>> for View<'a> {
    fn from(data: &'a Arc<Observations>) -> View<'a> {
        View::Memory(data)
    }
}

impl<'a> From<&'a RowFile> for View<'a> {
    fn from(file: &'a RowFile) -> View<'a> {
        View::File(file)
    }
}

impl<'a> View<'a> {
    /// The rows that are in memory, if they are.
    pub fn memory(self) -> Option<&'a Observations> {
        match self {
            View::Memory(data) => Some(data),
            View::File(_) => None,
        }
    }

    /// How many rows there are.
    pub fn len(self) -> usize {
        match self {
            View::Memory(data) => data.len(),
            View::File(file) => file.len(),
        }
    }

    /// Never: there is at least one row.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// How many numbers a row has.
    pub fn dim(self) -> usize {
        match self {
            View::Memory(data) => data.dim(),
            View::File(file) => file.dim(),
        }
    }

    /// The columns' names.
    pub fn names(self) -> &'a [String] {
        match self {
            View::Memory(data) => data.names(),
            View::File(file) => file.names(),
        }
    }

    /// Which data these are; a file's are those of the same rows in memory.
    ///
    /// # Errors
    /// A file that cannot be read, or has changed.
    pub fn fingerprint(self) -> Result<Fingerprint, Error> {
        match self {
            View::Memory(data) => Ok(data.fingerprint()),
            View::File(file) => {
                let mut seen = Fingerprint::begun(file.len() * file.dim());
                file.each_row(|_, row| {
                    row.iter().for_each(|x| seen.see(*x));
                    true
                })?;
                Ok(seen)
            }
        }
    }

    /// What is odd about the columns: see [`Observations::warnings`]. Of a file only columns that
    /// are constant are found.
    pub fn warnings(self) -> Vec<Warning> {
        let View::File(file) = self else {
            return self.memory().map_or_else(Vec::new, Observations::warnings);
        };
        let columns = file.mean().iter().zip(file.variance()).enumerate();
        columns
            .filter(|(_, (mean, variance))| variance.sqrt() <= 1e-14 * mean.abs())
            .map(|(j, (mean, _))| {
                let message = format!("column {} is constant, {mean}", file.label(j));
                Warning::new(Code::Collinear, message).try_this("drop the column")
            })
            .collect()
    }

    /// How a message names column `j`.
    pub fn label(self, j: usize) -> String {
        match self {
            View::Memory(data) => data.label(j),
            View::File(file) => file.label(j),
        }
    }

    /// How many rows row `i` counts as.
    pub fn weight(self, i: usize) -> f64 {
        self.memory().map_or(1.0, |data| data.weight(i))
    }

    /// The sum of the weights.
    pub fn total_weight(self) -> f64 {
        match self {
            View::Memory(data) => data.total_weight(),
            View::File(file) => file.len() as f64,
        }
    }

    /// The weighted mean of each column, over what is not missing.
    pub fn mean(self) -> Vec<f64> {
        match self {
            View::Memory(data) => data.mean(),
            View::File(file) => file.mean().to_vec(),
        }
    }

    /// The weighted variance of each column, with divisor `n`, over what is not missing.
    pub fn variance(self) -> Vec<f64> {
        match self {
            View::Memory(data) => data.variance(),
            View::File(file) => file.variance().to_vec(),
        }
    }

    /// Refuses missing numbers, for a model that has no use for them.
    ///
    /// # Errors
    /// The first missing number, by row and column; a file that cannot be read any more.
    pub fn complete(self) -> Result<(), Error> {
        match self {
            View::Memory(data) => data.complete(),
            View::File(file) => file.complete(),
        }
    }

    /// Whether a number is missing.
    pub fn has_missing(self) -> bool {
        match self {
            View::Memory(data) => data.has_missing(),
            View::File(file) => file.has_missing(),
        }
    }

    /// Refuses columns of which nothing is known.
    pub(crate) fn known_columns(self) -> Result<(), Error> {
        match self.mean().iter().position(|m| m.is_nan()) {
            None => Ok(()),
            Some(j) => Err(Error::Data {
                place: format!("column {}", self.label(j)),
                value: "missing in every row that counts".to_string(),
                count: String::new(),
                remedy: "Drop it: it says nothing".to_string(),
            }),
        }
    }

    /// Refuses rows and columns of which nothing is known.
    pub(crate) fn known(self) -> Result<(), Error> {
        if !self.has_missing() {
            return Ok(());
        }
        self.known_columns()?;
        self.known_rows()
    }

    /// Refuses rows of which nothing is known.
    pub(crate) fn known_rows(self) -> Result<(), Error> {
        let mut empty = None;
        self.each_row(|i, row| {
            empty = row.iter().all(|x| x.is_nan()).then_some(i);
            empty.is_none()
        })?;
        empty.map_or(Ok(()), |i| Err(super::missing_altogether(i)))
    }

    /// Calls `f` with each row and its number, until it returns false.
    ///
    /// # Errors
    /// A file that has changed, or cannot be read any more.
    pub fn each_row(self, mut f: impl FnMut(usize, &[f64]) -> bool) -> Result<(), Error> {
        match self {
            View::Memory(data) => {
                let mut rows = data.rows().enumerate();
                rows.all(|(i, row)| f(i, row));
                Ok(())
            }
            View::File(file) => file.each_row(f),
        }
    }

    /// The rows listed, one after another.
    ///
    /// # Errors
    /// A file that has changed, or cannot be read any more.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn gather(self, rows: &[usize]) -> Result<Vec<f64>, Error> {
        let dim = self.dim();
        let mut out = vec![0.0; rows.len() * dim];
        match self {
            View::Memory(data) => {
                let each = out.chunks_exact_mut(dim).zip(rows);
                each.for_each(|(out, &i)| out.copy_from_slice(data.row(i)));
            }
            View::File(file) => {
                file.unchanged()?;
                // in the order of the file
                let mut order: Vec<usize> = (0..rows.len()).collect();
                order.sort_unstable_by_key(|&at| rows[at]);
                for at in order {
                    file.read(rows[at], &mut out[at * dim..(at + 1) * dim])?;
                }
            }
        }
        Ok(out)
    }

    /// The weighted covariance of the columns, with divisor `n`: `dim x dim`. Where numbers are
    /// missing, entry `(i, j)` is the sum over the rows that have both, divided by
    /// `sqrt(n_i n_j)`, `n_j` being the rows that have `j`: variances are those of what is there, and
    /// the matrix is a covariance.
    ///
    /// # Errors
    /// A file that has changed, or cannot be read any more.
    pub fn covariance(self) -> Result<Vec<f64>, Error> {
        let (dim, mean, total) = (self.dim(), self.mean(), self.total_weight());
        let (mut out, mut known) = (vec![0.0; dim * dim], vec![0.0; dim]);
        let mut u = vec![0.0; dim];
        self.each_row(|n, row| {
            let share = self.weight(n) / total;
            for j in 0..dim {
                let gap = row[j].is_nan();
                u[j] = if gap { 0.0 } else { row[j] - mean[j] };
                known[j] += if gap { 0.0 } else { share };
            }
            for i in 0..dim {
                for j in 0..dim {
                    out[i * dim + j] += share * u[i] * u[j];
                }
            }
            true
        })?;
        if self.has_missing() {
            for (at, out) in out.iter_mut().enumerate() {
                *out /= (known[at / dim] * known[at % dim]).sqrt();
            }
        }
        Ok(out)
    }

    /// How many different rows of positive weight there are, as far as `most`.
    ///
    /// # Errors
    /// A file that has changed, or cannot be read any more.
    pub fn distinct(self, most: usize) -> Result<usize, Error> {
        let same = |a: &f64, b: &f64| a == b || (a.is_nan() && b.is_nan());
        let mut seen: Vec<Vec<f64>> = Vec::with_capacity(most);
        self.each_row(|i, row| {
            let again = |s: &Vec<f64>| s.iter().zip(row).all(|(a, b)| same(a, b));
            if self.weight(i) > 0.0 && !seen.iter().any(again) {
                seen.push(row.to_vec());
            }
            seen.len() < most
        })?;
        Ok(seen.len())
    }

    /// The numbers of `most` rows of positive weight drawn without replacement, or of all in their
    /// order where there are no more; in memory that does not grow with the rows of a file.
    pub(crate) fn some_rows(self, most: usize, rng: &mut dyn Rng) -> Vec<usize> {
        let weighted = self.memory().and_then(Observations::weights);
        let positive: Option<Vec<usize>> =
            weighted.map(|w| (0..w.len()).filter(|&i| w[i] > 0.0).collect());
        let n = positive.as_ref().map_or(self.len(), Vec::len);
        let row = |i: usize| positive.as_ref().map_or(i, |rows| rows[i]);
        if n <= most {
            return (0..n).map(row).collect();
        }
        // a shuffle of which only the first places, and what was moved there, are kept
        let mut moved: HashMap<usize, usize> = HashMap::new();
        let mut chosen = Vec::with_capacity(most);
        for i in 0..most {
            let j = rng.random_range(i..n);
            let here = moved.get(&i).copied().unwrap_or(i);
            let there = moved.insert(j, here).unwrap_or(j);
            chosen.push(row(there));
        }
        chosen
    }
}
