//! `BayesianHiddenMarkov`: the model with priors on its parameters, by coordinate ascent.

use super::belief::Belief;
use super::chain::Chain;
use super::densities::{Densities, Form};
use super::prior::default_belief;
use super::search::{failures, options};
use super::sums::Sums;
use super::{HiddenMarkov, HiddenMarkovPosterior, Prior, log_joint};
use crate::ascent::{EStep, Squarem};
use crate::bijector::Support;
use crate::error::Error;
use crate::fit::{Fit, Options, fit};
use crate::model::{Conjugate, Model};
use crate::models::choose::groups;
use crate::restarts::{Restarted, restarts};
use crate::space::Space;

/// How many starts.
const STARTS: usize = 16;

/// The model of a [`HiddenMarkov`] whose probabilities and emissions have a [`Prior`] and are latent,
/// as the states are: `z = (states, initial, transitions, emissions)`.
///
/// The best `q(states) q(the rest)`, a [`HiddenMarkovPosterior`], is found by coordinate ascent
/// (MacKay 1997; Beal 2003, chapter 3): [`EStep`] on this model. First the states are made anew, from
/// expected logarithms in place of logarithms, then the rest; the ELBO is exact, every constant kept,
/// so that it may be compared between numbers of states. With a small prior on the steps, such as the
/// default `1 / K`, states that are not needed empty themselves.
///
/// ```
/// use elbo::data::Observations;
/// use elbo::models::hidden_markov::{HiddenMarkov, Sequences};
/// let counts = [[1., 0., 2., 1., 0., 1., 1., 0.], [8., 11., 7., 9., 12., 8., 10., 9.]].concat();
/// let sequences = Sequences::one(Observations::new(counts.repeat(4), 1)?)?;
/// let model = HiddenMarkov::poisson(sequences, 4)?.bayesian();
/// let best = model.fit(1)?;
/// assert_eq!(best.fit.q.occupied().len(), 2); // there was room for four
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BayesianHiddenMarkov {
    model: HiddenMarkov,
    prior: Belief,
}

impl HiddenMarkov {
    /// The same model with a posterior for its parameters too. Prior: `1 / K` on probabilities; of
    /// normal states means about that of the data with the weight of one row, `d` degrees and the
    /// covariance of the data as scale; flat on probabilities of columns, and on their rates
    /// `Gamma(1, 1 / mean)`. Every step is possible, whatever it is here.
    pub fn bayesian(&self) -> BayesianHiddenMarkov {
        BayesianHiddenMarkov { prior: default_belief(self), model: self.clone() }
    }
}

impl BayesianHiddenMarkov {
    /// The same with another prior.
    ///
    /// # Errors
    /// A prior for another kind of states, lengths that do not fit, numbers out of range, a scale
    /// that is no covariance.
    pub fn with_prior(mut self, prior: Prior) -> Result<BayesianHiddenMarkov, Error> {
        self.prior = prior.belief(&self.model)?;
        Ok(self)
    }

    /// `K`: how many states there may be.
    pub fn len(&self) -> usize {
        self.model.len()
    }

    /// Never: there is at least one state.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The model of states and rows, without the prior.
    pub fn model(&self) -> &HiddenMarkov {
        &self.model
    }

    /// A first `q`: the posterior for the states at a start of the model
    /// ([`HiddenMarkov::started`]).
    ///
    /// # Errors
    /// None that a model that could be made has not met.
    pub fn start(&self, seed: u64) -> Result<HiddenMarkovPosterior, Error> {
        self.start_from(&self.model.clone().started(seed)?)
    }

    /// A first `q`: the posterior for the states of a model of the same data, such as one fitted by
    /// EM.
    ///
    /// # Errors
    /// Another number of states, or rows to which that model gives probability 0.
    pub fn start_from(&self, model: &HiddenMarkov) -> Result<HiddenMarkovPosterior, Error> {
        Error::expect_len("the model to start from", model.len(), "this one", self.len())?;
        let mut sums = Sums::default();
        super::sums::sums(&model.chain, &model.densities, &self.model.sequences, &mut sums)?;
        let mut belief = self.prior.clone();
        belief.update(&self.prior, &sums);
        let (chain, densities) = (model.chain.clone(), model.densities.clone());
        let (centre, unit) = (model.parameters.centre.clone(), model.parameters.unit.clone());
        let mut q = HiddenMarkovPosterior {
            states: self.model.states(),
            belief,
            chain,
            densities,
            centre,
            unit,
        };
        q.refresh();
        q.states.follow(&q.chain, &q.densities);
        Ok(q)
    }

    /// The model at expected parameters, for paths, scores and predictions.
    ///
    /// # Errors
    /// A `q` of another number of states.
    pub fn at_mean(&self, q: &HiddenMarkovPosterior) -> Result<HiddenMarkov, Error> {
        let k = q.len();
        let steps: Vec<f64> = (0..k).flat_map(|i| q.transition(i)).collect();
        let values: Vec<f64> = (0..k).flat_map(|c| q.values(c)).collect();
        self.model.clone().with_parameters(&q.initial(), &steps, &values)
    }

    /// Coordinate ascent from sixteen starts, sped up, the best kept: `fit` with [`Squarem`] of
    /// [`EStep`] from each, by [`restarts`]. Half of the starts are those of [`HiddenMarkov::fit`]; at
    /// the others some of the states are empty, from one of them to all but two, since states that are
    /// not needed are slow to empty themselves.
    ///
    /// # Errors
    /// None but for data too extreme.
    pub fn fit(
        &self,
        seed: u64,
    ) -> Result<Restarted<BayesianHiddenMarkov, HiddenMarkovPosterior>, Error> {
        self.fit_with(STARTS, &options(seed))
    }

    /// The same from as many starts as wanted, each climb ending as the options say; their seed is
    /// that of the starts, too.
    ///
    /// # Errors
    /// As [`BayesianHiddenMarkov::fit`].
    pub fn fit_with(
        &self,
        starts: usize,
        options: &Options,
    ) -> Result<Restarted<BayesianHiddenMarkov, HiddenMarkovPosterior>, Error> {
        let one = |start: usize| {
            // of the fuller starts, and of the emptier ones, every second has random steps
            let (alive, round) = (groups(start, self.len()), start as u64 / 2);
            let model = self.model.clone().started_with(alive, options.seed, round)?;
            fit(self.clone(), self.start_from(&model)?, Squarem::new(EStep), options.clone())
        };
        let signature = |fit: &Fit<BayesianHiddenMarkov, HiddenMarkovPosterior>| {
            let point = self.at_mean(&fit.q);
            point.and_then(|m| m.score(&self.model.sequences)).unwrap_or_default()
        };
        let mut best = restarts(starts, one, signature)?;
        failures(&mut best);
        Ok(best)
    }
}

impl Model for BayesianHiddenMarkov {
    fn space(&self) -> Space {
        let k = self.len();
        let mut space = self.model.space();
        if k > 1 {
            space.block("initial", k, Support::Simplex);
            for i in 0..k {
                space.block(&format!("transition({i})"), k, Support::Simplex);
            }
        }
        let names = self.model.sequences.rows().names();
        for c in 0..k {
            match &self.prior.form {
                Form::Discrete(layout) => {
                    for ((kind, _), name) in layout.kinds().zip(names) {
                        let name = format!("{}({name}, {c})", kind.name());
                        match kind.values() {
                            1 => drop(space.one(&name, kind.support())),
                            n => drop(space.block(&name, n, kind.support())),
                        }
                    }
                }
                form => {
                    let (blocks, dim) = form.blocks();
                    space.reals(&format!("mean({c})"), blocks * dim);
                    let supports = form.supports();
                    for (at, support) in supports[blocks * dim..].iter().enumerate() {
                        space.one(&format!("factor({c}, {at})"), *support);
                    }
                }
            }
        }
        space
    }
    fn dim(&self) -> usize {
        self.model.dim() + self.prior.dim()
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let (states, point) = z.split_at(self.model.dim());
        let prior = self.prior.log_density(point);
        if prior == f64::NEG_INFINITY {
            return prior;
        }
        let (k, form) = (self.len(), &self.prior.form);
        let (mut chain, mut densities) = (Chain::new(k), Densities::new(form.clone(), k));
        let (probabilities, values) = self.prior.split(point);
        if k > 1 {
            let logs = chain.log_initial.iter_mut().chain(&mut chain.log_transition);
            logs.zip(probabilities).for_each(|(log, p)| *log = p.ln());
        }
        for (c, values) in values.chunks_exact(form.values()).enumerate() {
            densities.set_values(c, values);
        }
        let rows = self.model.sequences.rows();
        let one = |range: std::ops::Range<usize>| {
            let (weight, first) = (rows.weight(range.start), range.start);
            weight * log_joint(&chain, &densities, rows, first, &states[range])
        };
        self.model.sequences.ranges().map(one).sum::<f64>() + self.model.base + prior
    }
}

impl Conjugate<HiddenMarkovPosterior> for BayesianHiddenMarkov {
    /// # Errors
    /// A rate other than 1.
    fn natural_step(&self, q: &mut HiddenMarkovPosterior, rate: f64) -> Result<f64, Error> {
        if rate != 1.0 {
            let remedy = "the states are made anew from the parameters: use EStep";
            return Err(Error::option("rate of NaturalStep", rate, remedy));
        }
        let HiddenMarkovPosterior { states, belief, chain, densities, .. } = q;
        states.replace(&self.model.sequences, chain, densities)?;
        belief.update(&self.prior, &states.sums);
        belief.write(chain, densities);
        let rows = states.sums.expected_log_joint(chain, densities) + states.entropy;
        Ok(rows + self.model.base - belief.kl(&self.prior, chain, densities))
    }
}
