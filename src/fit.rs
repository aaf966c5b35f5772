//! The one loop: `fit`, `fit_with`, and `Run`, the loop by hand.

use std::cell::RefCell;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::ascent::{Ascent, Step, not_below};
use crate::caught::Caught;
use crate::checkpoint::Fingerprint;
use crate::clock::Clock;
use crate::error::Error;
use crate::family::Family;
use crate::model::Model;
use crate::noise::{Purpose, stream};
pub use crate::outcome::Outcome;
use crate::runaway::Runaway;
use crate::scalar::Scalar;
use crate::stop::{Parts, Stop, StopState};
use crate::warning::{Code, Warning};
use crate::witness::Witness;

/// What a fit may be told. Every field has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// The most steps to take.
    pub steps: usize,
    /// Where all randomness comes from.
    pub seed: u64,
    /// When to stop before the steps run out.
    pub stop: Stop,
    /// How many steps in a row may be rejected before the run ends as diverged.
    pub patience: usize,
    /// The ELBO of a step is evaluated every so many steps: with 1 at each. At the others a move is
    /// free not to (`Step::elbo` is then `None`), which saves a gradient ascent the values of the
    /// model; the steps are the same to the last bit. Whatever this says, the last of the `steps`
    /// knows its ELBO, and so does every step whose ELBO the loop itself looks at: those of exact
    /// moves and under [`Stop::Exact`], and one in 64 of the others.
    #[serde(default = "one")]
    pub elbo_every: usize,
}

fn one() -> usize {
    1
}

impl Default for Options {
    fn default() -> Self {
        Options { steps: 20_000, seed: 0, stop: Stop::default(), patience: 50, elbo_every: 1 }
    }
}

impl Options {
    /// For moves that are exact, such as EM: stop when nothing is gained any more.
    pub fn exact() -> Options {
        Options { steps: 10_000, stop: Stop::exact(), ..Options::default() }
    }

    fn check(&self) -> Result<(), Error> {
        if self.steps == 0 {
            return Err(Error::option("steps", 0, "take at least one step"));
        }
        if self.patience == 0 {
            return Err(Error::option("patience", 0, "allow at least one rejected step"));
        }
        if self.elbo_every == 0 {
            let remedy = "evaluate the ELBO every 1 step or more; a large number spares it";
            return Err(Error::option("elbo_every", 0, remedy));
        }
        Ok(())
    }
}

/// A run under way: the loop by hand, one [`Run::step`] at a time.
#[derive(Debug)]
pub struct Run<M, Q, A> {
    /// The model, with its current `theta`.
    pub model: M,
    /// The current approximation.
    pub q: Q,
    /// The move.
    pub ascent: A,
    /// What the run was told.
    pub options: Options,
    /// One entry a step.
    pub trace: Vec<Step>,
    /// How many steps were rejected.
    pub rejected: usize,
    pub(crate) history: History,
    pub(crate) fingerprint: Fingerprint,
    /// Copies `theta` out of the model, whatever its scalar.
    pub(crate) theta: fn(&M) -> Vec<f64>,
    pub(crate) warnings: RefCell<Vec<Warning>>,
    dim: usize,
}

/// What a run remembers besides its parts and its trace; part of a checkpoint.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct History {
    in_a_row: usize,
    first_rejected: Option<Witness>,
    stop: StopState,
    runaway: Runaway,
    /// The ELBO after the last step of an exact move.
    #[serde(default, with = "crate::lossless::maybe")]
    climbed: Option<f64>,
    ended: Option<Outcome>,
}

/// A fit that has ended.
#[derive(Clone, Debug)]
pub struct Fit<M, Q> {
    /// The model, with its learned `theta`.
    pub model: M,
    /// The approximation.
    pub q: Q,
    /// How the run ended.
    pub outcome: Outcome,
    /// One entry a step.
    pub trace: Vec<Step>,
    /// How many steps were rejected because a draw was not finite.
    pub rejected: usize,
    /// The seed of the run.
    pub seed: u64,
    /// Wall-clock seconds the loop took.
    pub seconds: f64,
    /// What the loop noticed on the way.
    pub warnings: Vec<Warning>,
}

/// How many entries of the trace are made room for at once.
const ROOM: usize = 1 << 20;

impl<M, Q, A> Run<M, Q, A> {
    /// A run that has taken no step yet.
    ///
    /// # Errors
    /// Whatever is wrong with the options, the pairing or the start, before any step is taken.
    pub fn new<T>(model: M, q: Q, ascent: A, options: Options) -> Result<Self, Error>
    where
        T: Scalar,
        M: Model<T>,
        Q: Family<T>,
        A: Ascent<M, Q, T>,
    {
        let mut run = Run::unstarted(model, q, ascent, options)?;
        let warnings = run.ascent.warnings(&run.model, &run.q);
        warnings.into_iter().for_each(|w| run.warn(w));
        let mut rng = stream(run.options.seed, Purpose::Start, 0);
        Caught::by(|| run.ascent.start(&mut run.model, &mut run.q, &mut rng))
            .unwrap_or_else(|caught| Err(caught.at_step(0)))?;
        Ok(run)
    }

    /// The same without a look at the start.
    pub(crate) fn unstarted<T>(model: M, q: Q, ascent: A, options: Options) -> Result<Self, Error>
    where
        T: Scalar,
        M: Model<T>,
        Q: Family<T>,
        A: Ascent<M, Q, T>,
    {
        options.check()?;
        options.stop.check(&ascent.name(), ascent.can_probe(), ascent.finishes())?;
        ascent.check(&model, &q)?;
        let fingerprint = Fingerprint::of(&model, &q);
        Ok(Run {
            trace: Vec::with_capacity(options.steps.min(ROOM)),
            rejected: 0,
            history: History::default(),
            fingerprint,
            theta: |model| {
                let mut theta = vec![T::default(); model.n_theta()];
                model.theta(&mut theta);
                theta.into_iter().map(T::to_f64).collect()
            },
            warnings: RefCell::default(),
            dim: q.dim(),
            model,
            q,
            ascent,
            options,
        })
    }

    /// Adds a warning to what the fit will report, unless it is there already.
    pub fn warn(&self, warning: Warning) {
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// Takes one step; says how the run ended if it did.
    ///
    /// # Errors
    /// An exact move that cannot go on or descends, an objective without limit, or a model that
    /// panicked.
    pub fn step<T>(&mut self) -> Result<Option<Outcome>, Error>
    where
        T: Scalar,
        M: Model<T>,
        Q: Family<T>,
        A: Ascent<M, Q, T>,
    {
        let t = self.trace.len();
        if self.history.ended.is_some() {
            return Ok(self.history.ended.clone());
        }
        if t >= self.options.steps {
            return Ok(Some(Outcome::StepLimit));
        }
        let ended = Caught::by(|| self.step_uncaught(t)).unwrap_or_else(|c| Err(c.at_step(t)))?;
        self.history.ended.clone_from(&ended);
        Ok(ended)
    }

    /// Whether anybody will look at the ELBO of step `t`.
    fn reads_elbo<T>(&self, t: usize) -> bool
    where
        T: Scalar,
        M: Model<T>,
        Q: Family<T>,
        A: Ascent<M, Q, T>,
    {
        let Options { steps, elbo_every, stop, .. } = &self.options;
        t.is_multiple_of(*elbo_every)
            || t + 1 == *steps
            || Runaway::looks_at(t + 1)
            || matches!(stop, Stop::Exact { .. })
            || self.ascent.exact()
    }

    fn step_uncaught<T>(&mut self, t: usize) -> Result<Option<Outcome>, Error>
    where
        T: Scalar,
        M: Model<T>,
        Q: Family<T>,
        A: Ascent<M, Q, T>,
    {
        let Options { seed, patience, .. } = self.options;
        let mut rng = stream(seed, Purpose::Step, t as u64);
        let step = if self.reads_elbo::<T>(t) {
            self.ascent.step(&mut self.model, &mut self.q, &mut rng)?
        } else {
            self.ascent.step_without_elbo(&mut self.model, &mut self.q, &mut rng)?
        };
        let history = &mut self.history;
        if self.ascent.exact()
            && let Some(first) = step.between.or(step.elbo)
            && let Some(before) = std::mem::replace(&mut history.climbed, step.elbo)
        {
            not_below(before, first, || format!("{} at step {t}", self.ascent.first_name()))?;
        }
        let mut ended = None;
        if let Some(bad) = &step.rejected {
            self.rejected += 1;
            history.in_a_row += 1;
            let witness = || Witness::new(t, bad, &self.model);
            history.first_rejected.get_or_insert_with(witness);
            if history.in_a_row >= patience {
                ended = Some(Outcome::Diverged { witness: witness() });
            }
        } else {
            history.in_a_row = 0;
        }
        if ended.is_none() {
            ended = step.converged.clone().map(|rule| Outcome::Converged { rule });
        }
        if ended.is_none() {
            let parts = Parts { model: &mut self.model, q: &mut self.q, ascent: &mut self.ascent };
            let stop = &self.options.stop;
            ended = history.stop.done(stop, (seed, self.dim, &self.trace), &step, parts)?;
        }
        if ended.is_none() && self.ascent.can_probe() {
            history.runaway.look((t + 1, seed), step.elbo, &self.model, &self.q)?;
        }
        self.trace.push(step);
        Ok(ended)
    }

    /// Goes on until the run ends.
    ///
    /// # Errors
    /// As [`Run::step`].
    pub fn finish<T>(self) -> Result<Fit<M, Q>, Error>
    where
        T: Scalar,
        M: Model<T>,
        Q: Family<T>,
        A: Ascent<M, Q, T>,
    {
        self.finish_with(|_| ControlFlow::Continue(()))
    }

    /// [`Run::finish`] with an observer that sees the run after every step and may stop it.
    ///
    /// # Errors
    /// As [`Run::step`].
    pub fn finish_with<T>(
        mut self,
        mut observe: impl FnMut(&Run<M, Q, A>) -> ControlFlow<()>,
    ) -> Result<Fit<M, Q>, Error>
    where
        T: Scalar,
        M: Model<T>,
        Q: Family<T>,
        A: Ascent<M, Q, T>,
    {
        let clock = Clock::start();
        let outcome = loop {
            let before = self.trace.len();
            let ended = self.step()?;
            let seen = self.trace.len() > before;
            let stopped = seen && observe(&self).is_break();
            if let Some(outcome) = ended {
                break outcome;
            }
            if stopped {
                break Outcome::Stopped;
            }
        };
        self.warn_of(&outcome, self.ascent.exact().then(|| self.ascent.name()));
        self.ascent.closing_warnings().into_iter().for_each(|w| self.warn(w));
        let Run { mut model, mut q, ascent, trace, rejected, options, warnings, .. } = self;
        ascent.answer(&mut model, &mut q);
        let (seed, seconds, warnings) = (options.seed, clock.seconds(), warnings.into_inner());
        Ok(Fit { model, q, outcome, trace, rejected, seed, seconds, warnings })
    }

    /// What the way the run went gives reason to say; `exact` is the name of a move that is.
    fn warn_of(&self, outcome: &Outcome, exact: Option<String>) {
        let steps = self.trace.len();
        if *outcome == Outcome::StepLimit && self.options.stop != Stop::Budget {
            let message = format!("the stop rule has not fired in {steps} steps");
            let more = format!("Options {{ steps: {}, .. }}", steps.saturating_mul(4));
            let more = match exact {
                Some(name) if !name.starts_with("Anderson") => {
                    format!("an exact move that crawls less, Anderson::new(..), or {more}")
                }
                _ => more,
            };
            self.warn(Warning::new(Code::NotConverged, message).try_this(more));
        }
        if let Outcome::Descended { rule } = outcome {
            let warning = Warning::new(Code::StepTooLarge, rule.clone());
            self.warn(warning.try_this("a smaller rate, or an averaged optimizer"));
        }
        if let Some(first) = &self.history.first_rejected {
            let message = format!(
                "{} of {steps} steps were rejected because something was not finite; the first: {first}",
                self.rejected
            );
            let look = "witness.replay(&model), in a debugger";
            self.warn(Warning::new(Code::Rejected, message).try_this(look));
        }
    }

    /// The first step that was rejected, if any was.
    pub fn first_rejected(&self) -> Option<&Witness> {
        self.history.first_rejected.as_ref()
    }
}

/// Repeats a move until a stop rule fires or the steps run out.
///
/// # Errors
/// What could not start (options, dimensions, supports, a density that is nowhere finite), or a
/// model that is broken.
pub fn fit<M, Q, A, T>(model: M, q: Q, ascent: A, options: Options) -> Result<Fit<M, Q>, Error>
where
    T: Scalar,
    M: Model<T>,
    Q: Family<T>,
    A: Ascent<M, Q, T>,
{
    Run::new(model, q, ascent, options)?.finish()
}

/// [`fit`] with an observer that sees the run after every step and may stop it; [`crate::observe`]
/// has some.
///
/// # Errors
/// As [`fit`].
pub fn fit_with<M, Q, A, T>(
    model: M,
    q: Q,
    ascent: A,
    options: Options,
    observe: impl FnMut(&Run<M, Q, A>) -> ControlFlow<()>,
) -> Result<Fit<M, Q>, Error>
where
    T: Scalar,
    M: Model<T>,
    Q: Family<T>,
    A: Ascent<M, Q, T>,
{
    Run::new(model, q, ascent, options)?.finish_with(observe)
}
