//! `Observations`: the data of models that see row after row of numbers, checked once.

use super::bad_cells::BadCells;
use crate::error::Error;
use crate::warning::{Code, Warning};

/// `n` observations of `dim` numbers each, kept one observation after another (`dim x n`), with
/// the names of the numbers and a weight for each observation.
///
/// A weight `w` counts an observation as `w` of them; without weights each counts once. Missing
/// numbers, written NaN, are refused unless [`Observations::with_missing`] lets them in; a model
/// that has no use for them says so.
///
/// ```
/// use elbo::data::Observations;
/// let cells = vec![3.6, 79.0, 1.8, 54.0, 3.3, 74.0];
/// let waits = Observations::with_names(cells, ["eruption", "waiting"])?;
/// assert_eq!((waits.len(), waits.dim()), (3, 2));
/// assert_eq!(waits.row(1), [1.8, 54.0]);
/// let bad = Observations::new(vec![1.0, f64::NAN], 1).unwrap_err();
/// assert_eq!(
///     bad.to_string(),
///     "E01 data[1, 0] is NaN (1 of 2 rows). Drop or impute row 1 (rows count from 0)."
/// );
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Observations {
    values: Vec<f64>,
    dim: usize,
    names: Vec<String>,
    /// One an observation, or none where each counts once.
    weights: Vec<f64>,
    total: f64,
    missing: bool,
}

/// The squares of such numbers, and sums of them, are finite.
const LARGEST: f64 = 1e150;

impl Observations {
    /// Takes the numbers, one observation after another.
    ///
    /// # Errors
    /// No observations, a length that is no multiple of `dim`, or a number that is not finite, by
    /// row and column.
    pub fn new(values: Vec<f64>, dim: usize) -> Result<Observations, Error> {
        let data = Observations::unchecked(values, dim)?;
        data.refuse(|x| !x.is_finite())?;
        Ok(data)
    }

    /// The same with the names of the columns, which messages then use.
    ///
    /// # Errors
    /// As [`Observations::new`], the column by its name.
    pub fn with_names<N: Into<String>>(
        values: Vec<f64>,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Observations, Error> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let data = Observations::unchecked(values, names.len())?.named(names)?;
        data.refuse(|x| !x.is_finite())?;
        Ok(data)
    }

    /// The same with NaN for what is missing.
    ///
    /// # Errors
    /// As [`Observations::new`], but for NaN; an observation of which nothing is known is refused.
    pub fn with_missing(values: Vec<f64>, dim: usize) -> Result<Observations, Error> {
        Observations::unchecked(values, dim)?.let_missing_in()
    }

    /// The same with names.
    pub(super) fn named_with_missing(
        values: Vec<f64>,
        names: Vec<String>,
    ) -> Result<Observations, Error> {
        Observations::unchecked(values, names.len())?.named(names)?.let_missing_in()
    }

    fn let_missing_in(mut self) -> Result<Observations, Error> {
        self.refuse(f64::is_infinite)?;
        if let Some(i) = self.rows().position(|row| row.iter().all(|x| x.is_nan())) {
            return Err(super::missing_altogether(i));
        }
        self.missing = self.values.iter().any(|x| x.is_nan());
        Ok(self)
    }

    /// The same with rows of which nothing is known: times at which a series was not looked at.
    ///
    /// ```
    /// use elbo::data::Observations;
    /// let series = Observations::with_gaps(vec![1.0, f64::NAN, 3.0], 1)?;
    /// assert!(series.has_missing() && series.mean() == [2.0]);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Observations::new`], but for NaN.
    pub fn with_gaps(values: Vec<f64>, dim: usize) -> Result<Observations, Error> {
        let mut data = Observations::unchecked(values, dim)?;
        data.refuse(f64::is_infinite)?;
        data.missing = data.values.iter().any(|x| x.is_nan());
        Ok(data)
    }

    /// The same from columns, one slice a column.
    ///
    /// # Errors
    /// Columns of unequal length, and as [`Observations::new`].
    pub fn from_columns<C: AsRef<[f64]>>(columns: &[C]) -> Result<Observations, Error> {
        let n = columns.first().map_or(0, |c| c.as_ref().len());
        for (j, column) in columns.iter().enumerate() {
            Error::expect_len(&format!("column {j}"), column.as_ref().len(), "column 0", n)?;
        }
        let values = (0..n).flat_map(|i| columns.iter().map(move |c| c.as_ref()[i])).collect();
        Observations::new(values, columns.len())
    }

    fn unchecked(values: Vec<f64>, dim: usize) -> Result<Observations, Error> {
        if values.is_empty() || dim == 0 {
            return Err(Error::NoData { what: "the data".to_string() });
        }
        if !values.len().is_multiple_of(dim) {
            let whole = format!("{} rows of {dim} columns", values.len() / dim);
            return Err(Error::Length {
                left: "the data".to_string(),
                left_len: values.len(),
                right: whole,
                right_len: values.len() / dim * dim,
            });
        }
        let total = (values.len() / dim) as f64;
        let (names, weights) = ((0..dim).map(|j| j.to_string()).collect(), Vec::new());
        Ok(Observations { values, dim, names, weights, total, missing: false })
    }

    /// Names the columns.
    ///
    /// # Errors
    /// Another number of names than columns.
    pub fn named<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Observations, Error> {
        self.names = names.into_iter().map(Into::into).collect();
        Error::expect_len("the list of names", self.names.len(), "a row", self.dim)?;
        Ok(self)
    }

    /// Counts observation `i` as `weights[i]` of them.
    ///
    /// # Errors
    /// Another number of weights than observations, a weight that is negative or not finite, or
    /// weights that are all zero.
    pub fn weighted(mut self, weights: Vec<f64>) -> Result<Observations, Error> {
        Error::expect_len("the weights", weights.len(), "the data", self.len())?;
        if let Some(i) = weights.iter().position(|w| !(*w >= 0.0 && w.is_finite())) {
            let remedy = "A weight must be 0 or more, and finite";
            return Err(self.bad(format!("weights[{i}]"), weights[i], remedy));
        }
        self.total = weights.iter().sum();
        if self.total <= 0.0 {
            return Err(self.bad("weights".to_string(), 0.0, "All weights are 0: nothing counts"));
        }
        self.weights = weights;
        Ok(self)
    }

    fn bad(&self, place: String, value: f64, remedy: &str) -> Error {
        let (value, remedy) = (value.to_string(), remedy.to_string());
        Error::Data { place, value, count: String::new(), remedy }
    }

    /// An error about the first number for which `bad` holds, and how many rows have one.
    fn refuse(&self, bad: impl Fn(f64) -> bool) -> Result<(), Error> {
        self.refuse_cells(|_, x| bad(x), |_, rows| format!("Drop or impute {rows}"))?;
        let remedy = "Its square is next to infinite: give the column another unit";
        self.refuse_cells(|_, x| x.abs() > LARGEST, |_, _| remedy.to_string())
    }

    /// Refuses cells of column `j` for which `fine(j, x)` does not hold; `must(j)` says what such a
    /// cell must be. What is missing passes.
    pub(crate) fn expect_cells(
        &self,
        fine: impl Fn(usize, f64) -> bool,
        must: impl Fn(usize) -> String,
    ) -> Result<(), Error> {
        let remedy = |j, rows: &str| format!("A cell here must be {}: recode {rows}", must(j));
        self.refuse_cells(|j, x| !x.is_nan() && !fine(j, x), remedy)
    }

    /// The same with what to do, given the column and the rows.
    fn refuse_cells(
        &self,
        bad: impl Fn(usize, f64) -> bool,
        remedy: impl Fn(usize, &str) -> String,
    ) -> Result<(), Error> {
        let mut cells = BadCells::default();
        self.rows().enumerate().for_each(|(i, row)| cells.look(i, row, &bad));
        cells.refuse(self.len(), |j| self.label(j), remedy)
    }

    /// How a message names column `j`: quoted, or its number where it has no name.
    pub fn label(&self, j: usize) -> String {
        super::label(&self.names, j)
    }

    /// How many observations there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Never: there is at least one observation.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many numbers an observation has.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The names of the columns; their numbers where they have none.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Observation `i`.
    ///
    /// # Panics
    /// If there is no such observation.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.dim..(i + 1) * self.dim]
    }

    /// One observation after another.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.dim)
    }

    /// All numbers, one observation after another.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// How many observations observation `i` counts as.
    pub fn weight(&self, i: usize) -> f64 {
        self.weights.get(i).copied().unwrap_or(1.0)
    }

    /// The weights, if there are any.
    pub fn weights(&self) -> Option<&[f64]> {
        (!self.weights.is_empty()).then_some(&self.weights)
    }

    /// The sum of the weights: the number of observations where each counts once.
    pub fn total_weight(&self) -> f64 {
        self.total
    }

    /// Whether a number is missing.
    pub fn has_missing(&self) -> bool {
        self.missing
    }

    /// Refuses missing numbers, for a model that has no use for them.
    ///
    /// # Errors
    /// The first missing number, by row and column.
    pub fn complete(&self) -> Result<(), Error> {
        if self.missing { self.refuse(f64::is_nan) } else { Ok(()) }
    }

    /// The weighted mean of each column, over what is not missing.
    pub fn mean(&self) -> Vec<f64> {
        self.average(|x, _| x)
    }

    /// The weighted variance of each column, with divisor `n`, over what is not missing.
    pub fn variance(&self) -> Vec<f64> {
        let mean = self.mean();
        self.average(|x, j| (x - mean[j]) * (x - mean[j]))
    }

    fn average(&self, f: impl Fn(f64, usize) -> f64) -> Vec<f64> {
        let (mut sums, mut counts) = (vec![0.0; self.dim], vec![0.0; self.dim]);
        for (i, row) in self.rows().enumerate() {
            let w = self.weight(i);
            for (j, &x) in row.iter().enumerate().filter(|(_, x)| !x.is_nan()) {
                sums[j] += w * f(x, j);
                counts[j] += w;
            }
        }
        sums.iter().zip(counts).map(|(s, n)| s / n).collect()
    }

    /// Whether there are at least `k` different observations of positive weight.
    pub fn has_distinct(&self, k: usize) -> bool {
        let mut seen: Vec<&[f64]> = Vec::with_capacity(k);
        for (i, row) in self.rows().enumerate() {
            if seen.len() >= k {
                break;
            }
            if self.weight(i) > 0.0 && !seen.contains(&row) {
                seen.push(row);
            }
        }
        seen.len() >= k
    }

    /// Columns that are constant (W13), that repeat another (W13), or whose scales differ by more
    /// than a million (W14).
    pub fn warnings(&self) -> Vec<Warning> {
        let (mean, variance) = (self.mean(), self.variance());
        let rounding = |j: usize| 1e-14 * mean[j].abs();
        let constant = |j: usize| variance[j].sqrt() <= rounding(j);
        let mut all = Vec::new();
        for j in (0..self.dim).filter(|&j| constant(j)) {
            let message = format!("column {} is constant, {}", self.label(j), mean[j]);
            all.push(Warning::new(Code::Collinear, message).try_this("drop the column"));
        }
        for j in 0..self.dim {
            let same = |&k: &usize| self.rows().all(|row| row[k] == row[j] || row[k].is_nan());
            if let Some(k) = (0..j).filter(|&k| !constant(k)).find(same) {
                let message = format!("column {} repeats column {}", self.label(j), self.label(k));
                all.push(Warning::new(Code::Collinear, message).try_this("drop one of the two"));
            }
        }
        let free = || (0..self.dim).filter(|&j| !constant(j));
        let by_sd = |a: &usize, b: &usize| variance[*a].total_cmp(&variance[*b]);
        if let (Some(small), Some(large)) = (free().min_by(by_sd), free().max_by(by_sd)) {
            let ratio = (variance[large] / variance[small]).sqrt();
            if ratio > 1e6 {
                let message = format!(
                    "the spread of column {} is {ratio:.0e} times that of column {}",
                    self.label(large),
                    self.label(small)
                );
                all.push(Warning::new(Code::DataScale, message).try_this("rescale the columns"));
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data: Result<Observations, Error>) -> String {
        data.map(|_| "fine".to_string()).unwrap_or_else(|e| e.to_string())
    }

    #[test]
    fn bad_numbers_are_named_by_row_and_column() {
        assert!(text(Observations::new(vec![], 2)).starts_with("E02 the data has no observations"));
        assert_eq!(
            text(Observations::new(vec![1.0; 5], 2)),
            "E03 the data has 5 values but 2 rows of 2 columns has 4; make them agree"
        );
        let mut cells = vec![0.0; 20];
        (0..7).for_each(|i| cells[2 * i + 1] = f64::INFINITY);
        assert_eq!(
            text(Observations::with_missing(cells.clone(), 2)),
            "E01 data[0, 1] is inf (7 of 10 rows). Drop or impute rows 0, 1, 2, 3, 4, ... (rows count from 0)."
        );
        let gone = vec![1.0, f64::NAN, f64::NAN, f64::NAN];
        assert!(
            text(Observations::with_missing(gone, 2)).contains("data[1] is missing altogether")
        );
        let some = Observations::with_missing(vec![1.0, f64::NAN, 3.0, 4.0], 2).expect("fine");
        assert!(some.has_missing());
        assert!(text(some.complete().map(|()| some.clone())).starts_with("E01 data[0, 1] is NaN"));
        assert_eq!(some.mean(), [2.0, 4.0]);
    }

    #[test]
    fn weights_count_and_bad_ones_are_refused() {
        let data = || Observations::new(vec![1.0, 2.0, 6.0], 1).expect("fine");
        let twice = data().weighted(vec![1.0, 2.0, 0.0]).expect("fine");
        assert_eq!((twice.total_weight(), twice.mean()), (3.0, vec![5.0 / 3.0]));
        assert!((twice.variance()[0] - 2.0 / 9.0).abs() < 1e-15);
        assert!(text(data().weighted(vec![1.0])).starts_with("E03 the weights has 1 values"));
        let negative = text(data().weighted(vec![1.0, -1.0, 1.0]));
        assert!(negative.starts_with("E01 weights[1] is -1. A weight must be 0 or more"));
        assert!(text(data().weighted(vec![0.0; 3])).contains("All weights are 0"));
    }

    #[test]
    fn columns_that_carry_nothing_are_noticed() {
        let columns = [vec![1.0, 2.0, 3.0], vec![5.0; 3], vec![1.0, 2.0, 3.0], vec![1e9, 0.0, 3e9]];
        let data = Observations::from_columns(&columns).expect("fine");
        let data = data.named(["a", "b", "c", "d"]).expect("four names");
        let said: Vec<String> = data.warnings().iter().map(|w| w.message.clone()).collect();
        assert_eq!(said[0], "column \"b\" is constant, 5");
        assert_eq!(said[1], "column \"c\" repeats column \"a\"");
        assert!(said[2].starts_with("the spread of column \"d\" is 2e9 times that of column"));
        assert!(data.has_distinct(3) && !data.has_distinct(4));
    }
}
