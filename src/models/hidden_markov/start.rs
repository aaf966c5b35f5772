//! Where a climb starts: the states are like the components at a start of the mixture of the same
//! kind, the steps between them likely to stay or drawn at random; or the user's own parameters.

use std::sync::Arc;

use nalgebra::DMatrix;
use rand::Rng;
use rand_distr::{Distribution, Gamma};

use super::HiddenMarkov;
use super::densities::Form;
use crate::data::Observations;
use crate::error::Error;
use crate::models::components::has_gap;
use crate::models::discrete_mixture::{Column, DiscreteMixture};
use crate::models::gaussian_mixture::Start;
use crate::models::{Covariance, GaussianMixture};
use crate::noise::{Purpose, stream};
use crate::triangle;

/// Apart from the streams of the mixtures' starts.
const STREAM: u64 = 1 << 33;
/// What is dealt evenly in probabilities drawn at random: none is 0, which it would stay.
const EVEN: f64 = 0.05;

/// The mixture, whose labels know nothing of time.
#[derive(Clone, Debug)]
pub(super) enum Starts {
    Normal(GaussianMixture),
    Discrete(DiscreteMixture),
}

impl Starts {
    pub(super) fn new(
        rows: &Observations,
        shared: Arc<Observations>,
        states: usize,
        form: &Form,
    ) -> Result<Starts, Error> {
        let some = |row: &[f64]| row.iter().any(|x| !x.is_nan());
        match form {
            Form::Discrete(layout) => {
                let data = subset(rows, shared, some)?;
                let columns: Vec<Column> = layout.places.iter().map(|p| p.column).collect();
                let n = data.len();
                if states > n {
                    let remedy = format!("the data have only {n} rows; take at most {n}");
                    return Err(Error::option("states", states, &remedy));
                }
                // states may differ in what comes next alone: there may be more than different rows
                let most = (1..=states).rev().find(|&k| data.has_distinct(k)).unwrap_or(1);
                let mixture = DiscreteMixture::new(data, most, &columns);
                Ok(Starts::Discrete(mixture.map_err(as_states)?))
            }
            Form::Full(_) | Form::Diagonal(_) => {
                let data = match mostly_whole(rows) {
                    true => subset(rows, shared, |row| !has_gap(row))?,
                    false => filled(rows)?,
                };
                let kind = match form {
                    Form::Diagonal(_) => Covariance::Diagonal,
                    _ => Covariance::Full,
                };
                let mixture = GaussianMixture::of_kind(data, states, kind);
                Ok(Starts::Normal(mixture.map_err(as_states)?))
            }
        }
    }
}

/// What a mixture calls components are states here.
fn as_states(e: Error) -> Error {
    match e {
        Error::Option { option, value, remedy } if option == "components" => {
            Error::Option { option: "states".to_string(), value, remedy }
        }
        e => e,
    }
}

/// Whether half or more of the rows of which something is known are whole.
pub(super) fn mostly_whole(rows: &Observations) -> bool {
    let some = rows.rows().filter(|row| row.iter().any(|x| !x.is_nan())).count();
    let whole = rows.rows().filter(|row| !has_gap(row)).count();
    2 * whole >= some && whole > 0
}

/// The rows of which something is known, with the mean of its column for what is missing: good enough
/// to start from.
fn filled(rows: &Observations) -> Result<Arc<Observations>, Error> {
    let mean = rows.mean();
    if let Some(j) = mean.iter().position(|m| m.is_nan()) {
        return Err(missing_everywhere(&format!("column {}", rows.label(j))));
    }
    let fill = |(j, x): (usize, &f64)| if x.is_nan() { mean[j] } else { *x };
    let kept: Vec<usize> =
        (0..rows.len()).filter(|&i| rows.row(i).iter().any(|x| !x.is_nan())).collect();
    let cells = kept.iter().flat_map(|&i| rows.row(i).iter().enumerate().map(fill)).collect();
    let data = Observations::new(cells, rows.dim())?.named(rows.names().to_vec())?;
    Ok(Arc::new(data.weighted(kept.iter().map(|&i| rows.weight(i)).collect())?))
}

fn missing_everywhere(place: &str) -> Error {
    Error::Data {
        place: place.to_string(),
        value: "missing in every row".to_string(),
        count: String::new(),
        remedy: "Give some rows where it is not, or drop it".to_string(),
    }
}

/// The rows that can be used, or all of them, shared, where they all can.
fn subset(
    rows: &Observations,
    shared: Arc<Observations>,
    fine: impl Fn(&[f64]) -> bool,
) -> Result<Arc<Observations>, Error> {
    if rows.rows().all(&fine) {
        return Ok(shared);
    }
    let kept: Vec<usize> = (0..rows.len()).filter(|&i| fine(rows.row(i))).collect();
    if kept.is_empty() {
        return Err(missing_everywhere("data"));
    }
    let cells = kept.iter().flat_map(|&i| rows.row(i).iter().copied()).collect();
    let data = Observations::with_missing(cells, rows.dim())?.named(rows.names().to_vec())?;
    let weights = kept.iter().map(|&i| rows.weight(i)).collect();
    Ok(Arc::new(data.weighted(weights)?))
}

/// Probabilities from `Dirichlet(1 / k, .., 1 / k)`, most of them on few of `k`.
fn deal(row: &mut [f64], rng: &mut dyn Rng) {
    let k = row.len() as f64;
    if let Ok(gamma) = Gamma::new(1.0 / k, 1.0) {
        row.iter_mut().for_each(|p| *p = gamma.sample(&mut &mut *rng));
    }
    let total: f64 = row.iter().sum();
    // all may be too small for a number
    let share = if total > 0.0 { (1.0 - EVEN) / total } else { 0.0 };
    row.iter_mut().for_each(|p| *p = share * *p + EVEN / k);
    let total: f64 = row.iter().sum();
    row.iter_mut().for_each(|p| *p /= total);
}

impl HiddenMarkov {
    /// The same model at another start: a function of the data and the seed alone.
    ///
    /// # Errors
    /// None that a model that could be made has not met.
    pub fn started(self, seed: u64) -> Result<HiddenMarkov, Error> {
        self.started_at(seed, 0)
    }

    /// Start `index` of those of a seed: at every other a state is likely to stay, at those between the
    /// steps are drawn at random. In 70 fits of 33 data sets by normal states, with and without
    /// covariances, ten starts of both kinds fall short of the best of sixty-four by three fifths of what
    /// ten of the first kind do.
    pub(super) fn started_at(mut self, seed: u64, index: u64) -> Result<HiddenMarkov, Error> {
        let (k, d) = (self.len(), self.sequences.rows().dim());
        let mut values = Vec::new();
        match self.starts.clone() {
            Starts::Normal(mixture) => {
                let mixture = mixture.started_at(Start::KMeans, seed, index)?;
                for c in 0..k {
                    values.extend_from_slice(mixture.mean(c));
                    let covariance = mixture.covariance(c);
                    match &self.parameters.form {
                        Form::Full(_) => {
                            let matrix = DMatrix::from_row_slice(d, d, &covariance);
                            let what = format!("the covariance of state {c}");
                            values.extend(triangle::from_covariance(&what, d, &matrix)?);
                        }
                        _ => values.extend((0..d).map(|j| covariance[j * d + j].sqrt())),
                    }
                }
            }
            Starts::Discrete(mixture) => {
                let mixture = mixture.started_at(seed, index);
                let most = mixture.len();
                for (c, j) in (0..k).flat_map(|c| (0..d).map(move |j| (c, j))) {
                    // where there are not as many components, again and again a bit nearer to all
                    let nearer = 0.8f64.powi((c / most) as i32);
                    let own = mixture.values(c % most, j);
                    let common = |at: usize| {
                        let each = (0..most).map(|c| mixture.values(c, j)[at]);
                        each.sum::<f64>() / most as f64
                    };
                    let moved = own.iter().enumerate();
                    values.extend(moved.map(|(at, v)| common(at) + nearer * (v - common(at))));
                }
            }
        }
        let stay = |i: usize, j: usize| if i == j { 0.5 } else { 0.0 } + 0.5 / k as f64;
        let mut probabilities = vec![1.0 / k as f64; k];
        probabilities.extend((0..k * k).map(|at| stay(at / k, at % k)));
        if index % 2 == 1 {
            let mut rng = stream(seed, Purpose::Start, STREAM + index);
            probabilities.chunks_exact_mut(k).for_each(|row| deal(row, &mut rng));
        }
        self.parameters.set(&probabilities, &values);
        self.settle();
        Ok(self)
    }

    /// Start `index` of a model with `alive` states; the others are never entered.
    pub(super) fn started_with(
        mut self,
        alive: usize,
        seed: u64,
        index: u64,
    ) -> Result<HiddenMarkov, Error> {
        let k = self.len();
        if alive >= k {
            return self.started_at(seed, index);
        }
        let fewer = HiddenMarkov::new(self.sequences.clone(), alive, self.emission.clone())?;
        let fewer = fewer.started_at(seed, index)?.parameters;
        let mut probabilities = vec![0.0; k + k * k];
        for (at, row) in probabilities.chunks_exact_mut(k).enumerate() {
            let from = if at <= alive { at } else { 0 };
            row[..alive].copy_from_slice(&fewer.probabilities[from * alive..(from + 1) * alive]);
        }
        let values: Vec<f64> =
            (0..k).flat_map(|c| fewer.values(if c < alive { c } else { 0 }).to_vec()).collect();
        self.parameters.set(&probabilities, &values);
        self.settle();
        Ok(self)
    }

    /// The same model at parameters of the user's own: `K` initial probabilities, `K x K` transition
    /// probabilities, those that follow one state side by side, and for each state
    ///
    /// - normal: `d` means, then the covariance, `d x d` row by row;
    /// - independent normal columns: `d` means, then `d` variances;
    /// - other columns: what [`HiddenMarkov::values`] gives, column after column.
    ///
    /// Probabilities are made to add up to 1. Those that are 0 stay 0 in a fit: a state that cannot
    /// be entered, a step that cannot be made.
    ///
    /// # Errors
    /// Lengths that do not fit, probabilities that are negative, not finite or all 0, values that are
    /// none.
    pub fn with_parameters(
        mut self,
        initial: &[f64],
        transitions: &[f64],
        states: &[f64],
    ) -> Result<HiddenMarkov, Error> {
        let (k, d) = (self.len(), self.sequences.rows().dim());
        Error::expect_len("the initial probabilities", initial.len(), "the list of states", k)?;
        let steps = transitions.len();
        Error::expect_len("the transition probabilities", steps, "K * K", k * k)?;
        let mut probabilities = Vec::with_capacity(k + k * k);
        for (at, row) in std::iter::once(initial).chain(transitions.chunks_exact(k)).enumerate() {
            let place = |j: usize| match at {
                0 => format!("initial[{j}]"),
                i => format!("transitions[{}, {j}]", i - 1),
            };
            if let Some(j) = row.iter().position(|p| !(*p >= 0.0 && p.is_finite())) {
                let remedy = "a probability must be 0 or more, and finite";
                return Err(Error::option(&place(j), row[j], remedy));
            }
            let total: f64 = row.iter().sum();
            if total <= 0.0 {
                let remedy = "some state must be possible: all probabilities are 0";
                return Err(Error::option(&place(0), 0, remedy));
            }
            probabilities.extend(row.iter().map(|p| p / total));
        }
        let each = match &self.parameters.form {
            Form::Full(_) => d + d * d,
            Form::Diagonal(_) => 2 * d,
            Form::Discrete(layout) => layout.values,
        };
        Error::expect_len("the numbers of the states", states.len(), "what they need", k * each)?;
        let mut values = Vec::new();
        for (c, numbers) in states.chunks_exact(each).enumerate() {
            match &self.parameters.form {
                Form::Discrete(layout) => {
                    for (j, (kind, place)) in layout.kinds().enumerate() {
                        let these = &numbers[place.values(&*kind)];
                        if !kind.fits(these) {
                            let option = format!("{} of column {j} in state {c}", kind.name());
                            let remedy = "probabilities lie between 0 and 1 and add up to 1; rates \
                                          are positive and finite";
                            return Err(Error::option(&option, format!("{these:?}"), remedy));
                        }
                    }
                    values.extend_from_slice(numbers);
                }
                form => {
                    let (mean, spread) = numbers.split_at(d);
                    if let Some(j) = mean.iter().position(|m| !m.is_finite()) {
                        let option = format!("the mean of state {c} in column {j}");
                        return Err(Error::option(&option, mean[j], "a mean must be finite"));
                    }
                    values.extend_from_slice(mean);
                    if let Form::Full(_) = form {
                        let matrix = DMatrix::from_row_slice(d, d, spread);
                        let what = format!("the covariance of state {c}");
                        values.extend(triangle::from_covariance(&what, d, &matrix)?);
                        continue;
                    }
                    if let Some(j) = spread.iter().position(|v| !(*v > 0.0 && v.is_finite())) {
                        let option = format!("the variance of state {c} in column {j}");
                        let remedy = "a variance must be positive and finite";
                        return Err(Error::option(&option, spread[j], remedy));
                    }
                    values.extend(spread.iter().map(|v| v.sqrt()));
                }
            }
        }
        self.parameters.set(&probabilities, &values);
        self.settle();
        Ok(self)
    }
}
