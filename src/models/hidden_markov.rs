//! `HiddenMarkov`: sequences whose rows depend on a state that goes its way unseen; by EM.

mod bayesian;
mod belief;
mod chain;
mod compared;
mod densities;
mod emission;
mod kernel;
mod logs;
mod mode;
mod moves;
mod parameters;
mod posterior;
mod predict;
mod prior;
mod registers;
mod search;
mod sequences;
mod start;
mod states;
mod sums;
#[cfg(test)]
mod tests;

pub use bayesian::BayesianHiddenMarkov;
pub use emission::Emission;
pub use posterior::HiddenMarkovPosterior;
pub use prior::{Prior, StatePrior};
pub use sequences::Sequences;
pub use states::States;

use crate::bijector::Support;
use crate::data::Observations;
use crate::error::Error;
use crate::model::Model;
use crate::models::discrete_mixture::Column;
use crate::space::Space;
use crate::triangle;
use belief::Belief;
use chain::Chain;
use densities::{Densities, Form};
use parameters::Parameters;
use start::Starts;

/// A hidden Markov model of `K` states (Baum, Petrie, Soules and Weiss 1970; Rabiner 1989):
///
/// ```text
/// p(z_1 = k) = initial_k,   p(z_(t+1) = j | z_t = i) = transition_ij,   x_t | z_t = k ~ emission_k
/// ```
///
/// for each of the [`Sequences`]. What a row looks like in a state is an [`Emission`]: normal, or
/// independent columns of counts, levels or binary cells. Missing rows, and missing cells of
/// independent columns, are passed over: their factor is 1. Missing cells of rows whose columns
/// depend on each other are latent as the states are: integrated out of the likelihood, and in the
/// sums of the M-step by what is expected of them and of their squares (Ghahramani and Jordan 1994):
/// after an E-step the ELBO is the log likelihood of the cells that are there, and after an M-step the
/// bound of states and missing cells together.
///
/// `z` are the states of all rows and `theta` the probabilities and what the rows look like.
/// `(EStep, MStep)` is the algorithm of Baum and Welch, EM: after the E-step `q`, the [`States`], is
/// the posterior of the states, a Markov chain itself, and the ELBO is the log likelihood. `q` keeps
/// expected counts and moments, nothing of size `n x K`; [`States::marginals`] are made when asked
/// for.
///
/// A probability that is 0 stays 0 ([`HiddenMarkov::with_parameters`]); others stay at 1e-10 or
/// above. The coordinates of Gaussian states are free of units. [`HiddenMarkov::fit`] climbs from
/// several starts and keeps the best; under a prior ([`HiddenMarkov::with_prior`]) no state can
/// collapse, and [`HiddenMarkov::bayesian`] is the same model with a posterior for its parameters too.
///
/// ```
/// use elbo::data::Observations;
/// use elbo::models::hidden_markov::{HiddenMarkov, Sequences};
/// use elbo::{EStep, MStep, Options, fit};
/// // quiet, then busy, then quiet again
/// let counts = vec![1., 0., 2., 1., 0., 1., 8., 11., 7., 9., 12., 8., 1., 2., 0., 1., 1., 0.];
/// let sequences = Sequences::one(Observations::new(counts, 1)?)?;
/// let model = HiddenMarkov::poisson(sequences, 2)?;
/// let q = model.states();
/// let fit = fit(model, q, (EStep, MStep), Options::exact())?;
/// let path = fit.model.path(fit.model.sequences())?;
/// assert!(path[0] == path[17] && path[0] != path[8]);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct HiddenMarkov {
    sequences: Sequences,
    emission: Emission,
    parameters: Parameters,
    chain: Chain,
    densities: Densities,
    /// What rows have in every state.
    base: f64,
    starts: Starts,
    prior: Option<Belief>,
}

impl HiddenMarkov {
    /// A model of `states` states, which starts where the components of a mixture start with seed 0;
    /// a state is left half of the time, for any.
    ///
    /// # Errors
    /// No states, more than there are rows, or different rows where emissions are normal; a cell that
    /// the emission does not allow (by row and column); where emissions are normal a column that is
    /// constant.
    pub fn new(
        sequences: Sequences,
        states: usize,
        emission: Emission,
    ) -> Result<HiddenMarkov, Error> {
        if states == 0 {
            return Err(Error::option("states", 0, "take at least one"));
        }
        let rows = sequences.rows();
        let form = emission.form(rows)?;
        let starts = Starts::new(rows, sequences.shared(), states, &form)?;
        let (centre, unit) = match &form {
            Form::Discrete(_) => (Vec::new(), Vec::new()),
            _ => (rows.mean(), rows.variance().iter().map(|v| v.sqrt()).collect()),
        };
        let base = base(&form, &sequences);
        let densities = Densities::new(form.clone(), states);
        let parameters = Parameters::new(states, form, centre, unit);
        let chain = Chain::new(states);
        let prior = None;
        let model =
            HiddenMarkov { sequences, emission, parameters, chain, densities, base, starts, prior };
        model.started_at(0, 0)
    }

    /// States whose rows are normal, each with a covariance of its own.
    ///
    /// # Errors
    /// As [`HiddenMarkov::new`].
    pub fn gaussian(sequences: Sequences, states: usize) -> Result<HiddenMarkov, Error> {
        HiddenMarkov::new(sequences, states, Emission::Gaussian)
    }

    /// States whose rows are normal with independent columns.
    ///
    /// # Errors
    /// As [`HiddenMarkov::new`].
    pub fn diagonal(sequences: Sequences, states: usize) -> Result<HiddenMarkov, Error> {
        HiddenMarkov::new(sequences, states, Emission::DiagonalGaussian)
    }

    /// States whose rows are counts.
    ///
    /// # Errors
    /// As [`HiddenMarkov::new`].
    pub fn poisson(sequences: Sequences, states: usize) -> Result<HiddenMarkov, Error> {
        let emission = Emission::poisson(sequences.rows().dim());
        HiddenMarkov::new(sequences, states, emission)
    }

    /// States whose rows are levels, numbers `0, 1, .., levels - 1`; as many of them as are given for
    /// each column.
    ///
    /// # Errors
    /// As [`HiddenMarkov::new`]; a number of levels for another number of columns.
    pub fn categorical(
        sequences: Sequences,
        states: usize,
        levels: &[usize],
    ) -> Result<HiddenMarkov, Error> {
        let columns = levels.iter().map(|n| Column::Levels(*n)).collect();
        HiddenMarkov::new(sequences, states, Emission::Columns(columns))
    }

    /// The posterior of the states, not yet known: the `q` to fit with.
    pub fn states(&self) -> States {
        States::new(self.sequences.clone(), self.chain.clone(), self.densities.clone())
    }

    /// `K`: how many states there are.
    pub fn len(&self) -> usize {
        self.chain.k
    }

    /// Never: there is at least one state.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The data.
    pub fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    /// What the rows look like in a state.
    pub fn emission(&self) -> &Emission {
        &self.emission
    }

    /// How likely a sequence is to start in each state.
    pub fn initial(&self) -> &[f64] {
        &self.parameters.probabilities[..self.len()]
    }

    /// How likely state `i` is to be followed by each state.
    ///
    /// # Panics
    /// If there is no such state.
    pub fn transition(&self, i: usize) -> &[f64] {
        let k = self.len();
        assert!(i < k, "there is no state {i}");
        &self.parameters.probabilities[(1 + i) * k..(2 + i) * k]
    }

    /// What row state `k` is expected to show: means, rates, probabilities of a 1; of a column of
    /// levels the mean level.
    ///
    /// # Panics
    /// If there is no such state.
    pub fn mean(&self, k: usize) -> Vec<f64> {
        let values = self.parameters.values(k);
        match &self.parameters.form {
            Form::Full(d) | Form::Diagonal(d) => values[..*d].to_vec(),
            Form::Discrete(layout) => {
                let one = |values: &[f64]| {
                    let levels = values.iter().enumerate().map(|(l, p)| l as f64 * p);
                    if values.len() > 1 { levels.sum() } else { values[0] }
                };
                layout.kinds().map(|(kind, place)| one(&values[place.values(&*kind)])).collect()
            }
        }
    }

    /// The covariance of a normal state, `d x d`, row by row; nothing where states are not normal.
    ///
    /// # Panics
    /// If there is no such state.
    pub fn covariance(&self, k: usize) -> Option<Vec<f64>> {
        let values = self.parameters.values(k);
        let d = self.sequences.rows().dim();
        let mut out = vec![0.0; d * d];
        match &self.parameters.form {
            Form::Discrete(_) => return None,
            Form::Diagonal(_) => (0..d).for_each(|j| out[j * d + j] = values[d + j].powi(2)),
            Form::Full(_) => {
                let row = |i: usize| &values[d + triangle::len(i)..d + triangle::len(i + 1)];
                for i in 0..d {
                    for j in 0..=i {
                        let entry = triangle::dot(&row(i)[..=j], row(j));
                        (out[i * d + j], out[j * d + i]) = (entry, entry);
                    }
                }
            }
        }
        Some(out)
    }

    /// What column `j` is like in state `k`: the probability of a 1, those of the levels, or the
    /// rate; mean and sd where states are normal.
    ///
    /// # Panics
    /// If there is no such state or column.
    pub fn values(&self, k: usize, j: usize) -> Vec<f64> {
        match &self.parameters.form {
            Form::Discrete(layout) => {
                let place = layout.places[j];
                self.parameters.values(k)[place.values(&*place.column.kind())].to_vec()
            }
            _ => {
                let d = self.sequences.rows().dim();
                let variance = self.covariance(k).map_or(f64::NAN, |c| c[j * d + j]);
                vec![self.mean(k)[j], variance.sqrt()]
            }
        }
    }

    /// Makes the numbers and what the passes need from `theta`.
    fn settle(&mut self) {
        self.parameters.write(&mut self.chain, &mut self.densities);
    }
}

/// `sum w h(x)`, what rows have in every state.
fn base(form: &Form, sequences: &Sequences) -> f64 {
    let Form::Discrete(layout) = form else { return 0.0 };
    let rows = sequences.rows();
    rows.rows().enumerate().map(|(i, row)| rows.weight(i) * layout.base(row)).sum()
}

/// The state that a number stands for, if it stands for one.
fn state(z: f64, k: usize) -> Option<usize> {
    (z >= 0.0 && z < k as f64 && z.fract() == 0.0).then_some(z as usize)
}

/// `ln p(x, z)` of one sequence, but for what rows have in every state.
fn log_joint(
    chain: &Chain,
    densities: &Densities,
    rows: &Observations,
    first: usize,
    z: &[f64],
) -> f64 {
    let mut before = None;
    let mut sum = 0.0;
    for (t, &z) in z.iter().enumerate() {
        let Some(now) = state(z, chain.k) else { return f64::NEG_INFINITY };
        sum += before.map_or(chain.log_initial[now], |before| chain.step(before, now));
        sum += densities.log_density(now, rows.row(first + t));
        before = Some(now);
    }
    sum
}

impl Model for HiddenMarkov {
    fn space(&self) -> Space {
        let mut space = Space::new();
        let kinds = u32::try_from(self.len()).unwrap_or(u32::MAX);
        space.block("state", self.dim(), Support::Category(kinds));
        space
    }
    fn dim(&self) -> usize {
        self.sequences.rows().len()
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let rows = self.sequences.rows();
        let one = |range: std::ops::Range<usize>| {
            let weight = rows.weight(range.start);
            let first = range.start;
            weight * log_joint(&self.chain, &self.densities, rows, first, &z[range])
        };
        self.sequences.ranges().map(one).sum::<f64>() + self.base + self.log_prior()
    }
    fn n_theta(&self) -> usize {
        self.parameters.theta.len()
    }
    fn theta(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.parameters.theta);
    }
    fn set_theta(&mut self, theta: &[f64]) {
        self.parameters.theta.copy_from_slice(theta);
        self.settle();
    }
}
