//! The one loop: `fit`, `fit_with`, and `Run`, the loop by hand.

use std::ops::ControlFlow;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::ascent::{Ascent, Step};
use crate::error::Error;
use crate::estimator::NonFinite;
use crate::noise::{Purpose, stream};
use crate::scalar::Scalar;
use crate::stop::{Stop, StopState};
use crate::warning::Warning;

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
}

impl Default for Options {
    fn default() -> Self {
        Options { steps: 20_000, seed: 0, stop: Stop::default(), patience: 50 }
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
        self.stop.check()
    }
}

/// How a run ended. Whether `q` is any good is another question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outcome {
    /// A stop rule fired, or the move knew by itself that it had arrived.
    Converged {
        /// Which rule, with its numbers.
        rule: String,
    },
    /// The steps ran out.
    StepLimit,
    /// The observer said stop.
    Stopped,
    /// Too many steps in a row were not finite; `q` is the last good iterate.
    Diverged {
        /// Where it happened.
        witness: Witness,
    },
}

/// A step that was not finite, in enough detail to look at it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Witness {
    /// The step, counted from 0.
    pub step: usize,
    /// The draw that spoiled it.
    pub draw: NonFinite,
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
    in_a_row: usize,
    dim: usize,
    stop: StopState,
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

impl<M, Q, A> Run<M, Q, A> {
    /// A run that has taken no step yet.
    ///
    /// # Errors
    /// Whatever is wrong with the options or the pairing, before any work is done.
    pub fn new<T>(model: M, q: Q, ascent: A, options: Options) -> Result<Self, Error>
    where
        T: Scalar,
        A: Ascent<M, Q, T>,
        Q: crate::family::Family<T>,
    {
        options.check()?;
        ascent.check(&model, &q)?;
        let (trace, dim) = (Vec::with_capacity(options.steps), q.dim());
        let stop = StopState::default();
        Ok(Run { model, q, ascent, options, trace, rejected: 0, in_a_row: 0, dim, stop })
    }

    /// Takes one step; says how the run ended if it did.
    ///
    /// # Errors
    /// An exact move that cannot go on, or a model that panicked.
    pub fn step<T: Scalar>(&mut self) -> Result<Option<Outcome>, Error>
    where
        A: Ascent<M, Q, T>,
    {
        let t = self.trace.len();
        if t >= self.options.steps {
            return Ok(Some(Outcome::StepLimit));
        }
        let mut rng = stream(self.options.seed, Purpose::Step, t as u64);
        let step = self.ascent.step(&mut self.model, &mut self.q, &mut rng)?;
        if let Some(bad) = &step.rejected {
            self.rejected += 1;
            self.in_a_row += 1;
            if self.in_a_row >= self.options.patience {
                let witness = Witness { step: t, draw: (**bad).clone() };
                self.trace.push(step);
                return Ok(Some(Outcome::Diverged { witness }));
            }
        } else {
            self.in_a_row = 0;
        }
        let mut done = step.converged.clone();
        if done.is_none() {
            let parts = (&mut self.model, &mut self.q, &mut self.ascent);
            let Options { seed, stop, .. } = &self.options;
            done = self.stop.done(stop, *seed, self.dim, t + 1, &step, parts);
        }
        self.trace.push(step);
        Ok(done.map(|rule| Outcome::Converged { rule }))
    }
}

/// Repeats a move until a stop rule fires or the steps run out.
///
/// # Errors
/// What could not start (options, dimensions, supports), or a model that is broken.
pub fn fit<M, Q, A, T>(model: M, q: Q, ascent: A, options: Options) -> Result<Fit<M, Q>, Error>
where
    T: Scalar,
    A: Ascent<M, Q, T>,
    Q: crate::family::Family<T>,
{
    fit_with(model, q, ascent, options, |_| ControlFlow::Continue(()))
}

/// [`fit`] with an observer that sees the run after every step and may stop it.
///
/// # Errors
/// As [`fit`].
pub fn fit_with<M, Q, A, T>(
    model: M,
    q: Q,
    ascent: A,
    options: Options,
    mut observe: impl FnMut(&Run<M, Q, A>) -> ControlFlow<()>,
) -> Result<Fit<M, Q>, Error>
where
    T: Scalar,
    A: Ascent<M, Q, T>,
    Q: crate::family::Family<T>,
{
    let start = Instant::now();
    let mut run = Run::new(model, q, ascent, options)?;
    let outcome = loop {
        if let Some(outcome) = run.step()? {
            break outcome;
        }
        if observe(&run).is_break() {
            break Outcome::Stopped;
        }
    };
    let Run { mut model, mut q, ascent, trace, rejected, options, .. } = run;
    ascent.answer(&mut model, &mut q);
    let (seed, seconds) = (options.seed, start.elapsed().as_secs_f64());
    let warnings = Vec::new();
    Ok(Fit { model, q, outcome, trace, rejected, seed, seconds, warnings })
}
