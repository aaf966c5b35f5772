//! `Design`: the columns, groups and offset of a linear predictor, checked when the outcomes come.

use std::borrow::Cow;
use std::sync::Arc;

use super::kernel::{Data, Link, Node};
use super::panels::Panels;
use super::shared::Shared;
use super::{Likelihood, NormalLikelihood};
use crate::error::Error;
use crate::special::{LN_SQRT_2PI, log_choose, log_gamma};

/// What a linear predictor is made of. The method named after the likelihood takes the outcomes,
/// checks everything and ends the chain.
///
/// ```
/// use elbo::density::glm::Design;
/// let (age, income) = ([31.0, 45.0, 28.0], [2.1, f64::NAN, 1.4]);
/// let bad = Design::columns(&[&age, &income]).named(["age", "income"]).poisson_log(&[0, 3, 1]);
/// assert_eq!(
///     bad.unwrap_err().to_string(),
///     "E01 data[1, \"income\"] is NaN (1 of 3 rows). Drop or impute row 1 (rows count from 0)."
/// );
/// ```
#[derive(Clone, Debug)]
#[must_use = "a design becomes a likelihood by `bernoulli_logit`, `poisson_log`, `binomial_logit` or `normal`"]
pub struct Design<'a> {
    x: Columns<'a>,
    names: Vec<String>,
    intercept: bool,
    offset: Option<&'a [f64]>,
    groups: Option<(&'a [usize], usize)>,
    slopes: Option<(&'a [f64], usize)>,
}

#[derive(Clone, Debug)]
enum Columns<'a> {
    /// Row by row, so many in a row.
    Rows(Cow<'a, [f64]>, usize),
    Columns(Vec<&'a [f64]>),
}

impl<'a> Design<'a> {
    /// A matrix row by row, with `n_columns` numbers a row.
    pub fn rows(x: &'a [f64], n_columns: usize) -> Design<'a> {
        Design::new(Columns::Rows(Cow::Borrowed(x), n_columns))
    }

    /// The same, taken over: for data so large that there should not be a second copy. Without groups
    /// the likelihood lays the numbers out anew where they are.
    ///
    /// ```
    /// use elbo::density::glm::Design;
    /// let x = vec![1.0, 0.1, 1.0, 0.4, 1.0, 0.9];
    /// let likelihood = Design::owned_rows(x, 2).bernoulli_logit(&[false, true, true])?;
    /// assert!(likelihood.log_prob(&[-2.0, 3.0]).is_finite());
    /// # Ok::<(), elbo::Error>(())
    /// ```
    pub fn owned_rows(x: Vec<f64>, n_columns: usize) -> Design<'a> {
        Design::new(Columns::Rows(Cow::Owned(x), n_columns))
    }

    /// One slice a column: `Design::columns(&[&age, &income])`. Without any, groups or an intercept
    /// must make the predictor.
    pub fn columns<C: AsRef<[f64]> + ?Sized>(columns: &[&'a C]) -> Design<'a> {
        Design::new(Columns::Columns(columns.iter().map(|c| (*c).as_ref()).collect()))
    }

    fn new(x: Columns<'a>) -> Design<'a> {
        Design { x, names: Vec::new(), intercept: false, offset: None, groups: None, slopes: None }
    }

    /// Names the columns, for error messages.
    pub fn named<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Design<'a> {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Puts a column of ones in front: `beta[0]` is the intercept.
    pub fn intercept(mut self) -> Design<'a> {
        self.intercept = true;
        self
    }

    /// Adds a known number to each row's predictor, such as the log of an exposure.
    pub fn offset(mut self, offset: &'a [f64]) -> Design<'a> {
        self.offset = Some(offset);
        self
    }

    /// The group of each row, counted from 0 to `n_groups - 1`; each group has an intercept.
    pub fn groups(mut self, group: &'a [usize], n_groups: usize) -> Design<'a> {
        self.groups = Some((group, n_groups));
        self
    }

    /// What the groups have slopes for: `w` row by row, `n_slopes` numbers a row.
    pub fn slopes(mut self, w: &'a [f64], n_slopes: usize) -> Design<'a> {
        self.slopes = Some((w, n_slopes));
        self
    }

    /// The likelihood of outcomes that are `bool`, 0 or 1.
    ///
    /// # Errors
    /// See [`bernoulli_logit`](super::bernoulli_logit).
    pub fn bernoulli_logit<Y: Into<f64> + Copy>(self, y: &[Y]) -> Result<Likelihood, Error> {
        let y = numbers(y);
        let data = self.data(Link::BernoulliLogit, &y)?;
        check(
            "y",
            &y,
            |y| y == 0.0 || y == 1.0,
            "An outcome must be 0 or 1; for shares of \
            successes give counts to `binomial_logit`",
        )?;
        finish(Data { y, ..data })
    }

    /// The likelihood of counts with log mean `eta`.
    ///
    /// # Errors
    /// See [`poisson_log`](super::poisson_log).
    pub fn poisson_log<Y: Into<f64> + Copy>(self, y: &[Y]) -> Result<Likelihood, Error> {
        let y = numbers(y);
        let data = self.data(Link::PoissonLog, &y)?;
        check("y", &y, is_count, COUNT)?;
        let constants = y.iter().map(|y| -log_gamma(y + 1.0)).collect();
        finish(Data { y, constants, ..data })
    }

    /// The likelihood of `y` successes in so many trials.
    ///
    /// # Errors
    /// See [`binomial_logit`](super::binomial_logit).
    pub fn binomial_logit<Y: Into<f64> + Copy, N: Into<f64> + Copy>(
        self,
        y: &[Y],
        trials: &[N],
    ) -> Result<Likelihood, Error> {
        let (y, trials) = (numbers(y), numbers(trials));
        let data = self.data(Link::BinomialLogit, &y)?;
        Error::expect_len("trials", trials.len(), "y", y.len())?;
        check("trials", &trials, is_count, COUNT)?;
        check("y", &y, is_count, COUNT)?;
        if let Some(i) = (0..y.len()).find(|&i| y[i] > trials[i]) {
            return Err(Error::Data {
                place: format!("y[{i}]"),
                value: y[i].to_string(),
                count: format!(" in {} trials", trials[i]),
                remedy: "There cannot be more successes than trials; are the two columns swapped?"
                    .to_string(),
            });
        }
        let constants = y.iter().zip(&trials).map(|(&y, &n)| log_choose(n, y)).collect();
        finish(Data { y, trials, constants, ..data })
    }

    /// The likelihood of real outcomes with normal errors.
    ///
    /// # Errors
    /// See [`normal`](super::normal).
    pub fn normal(self, y: &[f64]) -> Result<NormalLikelihood, Error> {
        let y = y.to_vec();
        let data = self.data(Link::Normal, &y)?;
        let constants = vec![-LN_SQRT_2PI; y.len()];
        let node = Arc::new(Shared::new(Node::new(Data { y, constants, ..data })));
        Ok(NormalLikelihood { node })
    }

    /// Everything but the outcomes, checked; of those, that they are finite and as many as rows.
    fn data(self, link: Link, y: &[f64]) -> Result<Data, Error> {
        let n = y.len();
        if n == 0 {
            return Err(Error::NoData { what: format!("the {} likelihood", link.name()) });
        }
        let columns = self.check_shape(n)?;
        let n_columns = columns + usize::from(self.intercept);
        let label = |j: usize| match self.names.get(j) {
            Some(name) => format!("\"{name}\""),
            None => j.to_string(),
        };
        match &self.x {
            Columns::Rows(x, _) => check_matrix("data", &[x], n, label)?,
            Columns::Columns(columns) => check_matrix("data", columns, n, label)?,
        }
        check("y", y, f64::is_finite, "")?;
        let offset = self.offset.unwrap_or(&[]);
        if self.offset.is_some() {
            Error::expect_len("the offset", offset.len(), "y", n)?;
            check("offset", offset, f64::is_finite, "")?;
        }
        let (group, n_groups) = self.groups.unwrap_or((&[], 0));
        if self.groups.is_some() {
            Error::expect_len("the group index", group.len(), "y", n)?;
        }
        if let Some(i) = group.iter().position(|&g| g >= n_groups) {
            return Err(Error::Data {
                place: format!("groups[{i}]"),
                value: group[i].to_string(),
                count: format!(" of {n_groups} groups"),
                remedy: "Groups count from 0; give a larger number of groups or renumber them."
                    .to_string(),
            });
        }
        let (w, n_slopes) = self.slopes.unwrap_or((&[], 0));
        if self.slopes.is_some() {
            if self.groups.is_none() {
                return Err(Error::option("slopes", n_slopes, "they vary by group: call `groups`"));
            }
            let rows = format!("{n} rows of {n_slopes} slopes");
            Error::expect_len("the matrix of slopes", w.len(), &rows, n * n_slopes)?;
            check_matrix("slopes", &[w], n, |k| k.to_string())?;
        }
        let offset = offset.to_vec();
        let group = group.iter().map(|&g| g as u32).collect();
        let w = w.to_vec();
        let (x, panels) = match self.groups {
            None => (Vec::new(), matrix(self.x, n, self.intercept)),
            Some(_) => (rows(self.x, n, self.intercept), Panels::default()),
        };
        Ok(Data {
            link,
            x,
            panels,
            n_columns,
            offset,
            group,
            n_groups,
            w,
            n_slopes,
            y: Vec::new(),
            trials: Vec::new(),
            constants: Vec::new(),
        })
    }

    /// That the matrix has `n` rows, and names for its columns if any: how many columns it has.
    fn check_shape(&self, n: usize) -> Result<usize, Error> {
        let columns = match &self.x {
            Columns::Rows(x, columns) => {
                let want = format!("{n} rows (as many as y) of {columns} columns");
                Error::expect_len("the matrix", x.len(), &want, n * columns)?;
                *columns
            }
            Columns::Columns(columns) => {
                for (j, column) in columns.iter().enumerate() {
                    let name = match self.names.get(j) {
                        Some(name) => format!("column \"{name}\""),
                        None => format!("column {j}"),
                    };
                    Error::expect_len(&name, column.len(), "y", n)?;
                }
                columns.len()
            }
        };
        if !self.names.is_empty() {
            Error::expect_len("the list of names", self.names.len(), "the matrix", columns)?;
        }
        Ok(columns)
    }
}

/// The matrix in panels, with the intercept.
fn matrix(x: Columns<'_>, n: usize, intercept: bool) -> Panels {
    let ones = usize::from(intercept);
    match x {
        Columns::Rows(Cow::Owned(x), p) => Panels::in_place(x, n, p, intercept),
        Columns::Rows(Cow::Borrowed(x), p) => {
            Panels::new(n, p + ones, |i, j| if j < ones { 1.0 } else { x[i * p + j - ones] })
        }
        Columns::Columns(c) => {
            Panels::new(n, c.len() + ones, |i, j| if j < ones { 1.0 } else { c[j - ones][i] })
        }
    }
}

/// The matrix row by row, with the intercept.
fn rows(x: Columns<'_>, n: usize, intercept: bool) -> Vec<f64> {
    let mut all = Vec::new();
    match x {
        Columns::Rows(x, _) if !intercept => all = x.into_owned(),
        Columns::Rows(x, p) => {
            for i in 0..n {
                all.push(1.0);
                all.extend_from_slice(&x[i * p..(i + 1) * p]);
            }
        }
        Columns::Columns(columns) => {
            for i in 0..n {
                all.extend(intercept.then_some(1.0));
                all.extend(columns.iter().map(|c| c[i]));
            }
        }
    }
    all
}

fn finish(data: Data) -> Result<Likelihood, Error> {
    Ok(Likelihood { node: Arc::new(Shared::new(Node::new(data))) })
}

fn numbers<Y: Into<f64> + Copy>(y: &[Y]) -> Vec<f64> {
    y.iter().map(|&y| y.into()).collect()
}

const COUNT: &str = "A count must be a whole number from 0 on";

fn is_count(k: f64) -> bool {
    k >= 0.0 && k.fract() == 0.0 && k < 9e15
}

/// An error about the first entry that is not fine, and how many there are.
fn check(what: &str, values: &[f64], fine: fn(f64) -> bool, rule: &str) -> Result<(), Error> {
    let bad: Vec<usize> = (0..values.len()).filter(|&i| !fine(values[i])).collect();
    let Some(&i) = bad.first() else { return Ok(()) };
    Err(bad_data(format!("{what}[{i}]"), values[i], &bad, values.len(), rule))
}

/// The same for a matrix of `n` rows, all of which must be finite: one slice row by row, or one slice
/// a column.
fn check_matrix(
    what: &str,
    x: &[&[f64]],
    n: usize,
    label: impl Fn(usize) -> String,
) -> Result<(), Error> {
    if x.iter().all(|x| x.iter().all(|x| x.is_finite())) {
        return Ok(());
    }
    let numbers = x.iter().map(|x| x.len()).sum::<usize>();
    let (columns, wide) = (numbers / n, numbers / n / x.len());
    let at = |i: usize, j: usize| x[j / wide][i * wide + j % wide];
    let column = |i: usize| (0..columns).find(|&j| !at(i, j).is_finite());
    let bad: Vec<usize> = (0..n).filter(|&i| column(i).is_some()).collect();
    let (i, j) = bad.first().and_then(|&i| Some((i, column(i)?))).unwrap_or_default();
    Err(bad_data(format!("{what}[{i}, {}]", label(j)), at(i, j), &bad, n, ""))
}

fn bad_data(place: String, value: f64, bad: &[usize], n: usize, rule: &str) -> Error {
    const SHOWN: usize = 5;
    let mut rows = bad.iter().take(SHOWN).map(usize::to_string).collect::<Vec<_>>().join(", ");
    if bad.len() > SHOWN {
        rows += ", ...";
    }
    let plural = if bad.len() == 1 { "row" } else { "rows" };
    let rows = format!("{plural} {rows} (rows count from 0).");
    let remedy = match rule {
        "" => format!("Drop or impute {rows}"),
        rule => format!("{rule}: look at {rows}"),
    };
    let count = format!(" ({} of {n} rows)", bad.len());
    Error::Data { place, value: value.to_string(), count, remedy }
}
