//! When a run may stop: a budget, exact moves that gain no more, and the paired test.

mod left;
mod walk;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::ascent::{Ascent, Step};
use left::left;
use walk::Walk;

use crate::error::Error;
use crate::family::Family;
use crate::lossless;
use crate::model::Model;
use crate::noise::{Purpose, stream};
use crate::outcome::Outcome;
use crate::scalar::Scalar;

/// When to stop before the steps run out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Stop {
    /// Never: all steps are taken.
    Budget,
    /// For exact moves: when no more is left to gain than `gain` times what has been climbed since
    /// the first step (at least 1 nat), or than rounding. What is left is estimated from how the gains
    /// of the steps so far have become smaller (Boehning et al. 1994): a move that crawls gains next to
    /// nothing a step long before it arrives. Constants in the ELBO, and with them the units of the
    /// data, do not matter. An exact move never descends; one that does, by more than rounding, is an
    /// error.
    Exact {
        /// The share of the climb so far.
        gain: f64,
    },
    /// For stochastic moves: a paired test on common random numbers. Every so often the current
    /// answer and the one at the check before are compared draw by draw, on the same noise, which
    /// makes the difference far less noisy than either ELBO. Stops when in three checks in a row
    /// `mean + 2 se` of the gain is within the tolerance of zero and the answer is not still walking
    /// straight on, as it does under a rate that is far too small; gives up when in two checks in a row the
    /// ELBO lies more than five standard errors below its best.
    Paired(Paired),
}

/// Settings of the paired test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Steps before the first check and, at least, between checks.
    pub every: usize,
    /// Draws a check.
    pub draws: usize,
    /// Gain in nats between two checks that is not worth going on for; `None` takes
    /// `0.01 sqrt(dim)`, at most 0.1.
    pub tolerance: Option<f64>,
}

impl Default for Paired {
    fn default() -> Self {
        Paired { every: 100, draws: 256, tolerance: None }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Stop::Paired(Paired::default())
    }
}

/// How many checks in a row must pass.
const CHECKS: u32 = 3;
/// After how many checks the noise is renewed.
const RENEW: u64 = 10;
/// How many standard errors below its best the ELBO may not be, twice.
const FALL: f64 = 5.0;
/// By how much of `max(1, |ELBO|)` rounding may lower an exact ELBO.
const ROUNDING: f64 = 1e-10;
/// How many units in the last place of an ELBO are nothing.
const NOTHING: f64 = 8.0;

/// What a stop rule remembers; part of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StopState {
    #[serde(with = "lossless::maybe")]
    last_elbo: Option<f64>,
    /// The ELBO after the first step.
    #[serde(default, with = "lossless::maybe")]
    first_elbo: Option<f64>,
    next_check: usize,
    checks: u64,
    passed: u32,
    fallen: u32,
    /// ELBO and standard error at the best check.
    best: Option<(f64, f64)>,
    walk: Walk,
    #[serde(with = "lossless::many")]
    base: Vec<f64>,
    #[serde(skip)]
    now: Vec<f64>,
}

impl Stop {
    /// For exact moves: 1e-9 of the climb is left.
    pub fn exact() -> Stop {
        Stop::Exact { gain: 1e-9 }
    }

    /// Refuses settings that make no sense, and a paired test on a move that cannot be probed.
    pub(crate) fn check(&self, name: &str, can_probe: bool, ends: bool) -> Result<(), Error> {
        match self {
            Stop::Paired(_) if !can_probe && !ends => Err(Error::option(
                "stop",
                "Paired",
                &format!(
                    "the paired test compares draws, and `{name}` has none; use Stop::exact() for an exact move (Options::exact()) or Stop::Budget"
                ),
            )),
            Stop::Budget => Ok(()),
            Stop::Exact { gain } if *gain >= 0.0 => Ok(()),
            Stop::Exact { gain } => Err(Error::option("gain", gain, "it must be 0 or more")),
            Stop::Paired(p) if p.every == 0 => {
                Err(Error::option("every", 0, "check every 1 step or more"))
            }
            Stop::Paired(p) if p.draws < 2 => {
                Err(Error::option("draws of the paired test", p.draws, "take 2 or more"))
            }
            Stop::Paired(p) => match p.tolerance {
                Some(t) if t.is_nan() || t <= 0.0 => {
                    Err(Error::option("tolerance", t, "it must be positive"))
                }
                _ => Ok(()),
            },
        }
    }
}

/// The parts of a run that a stop rule may touch.
pub(crate) struct Parts<'a, M, Q, A> {
    pub model: &'a mut M,
    pub q: &'a mut Q,
    pub ascent: &'a mut A,
}

impl StopState {
    /// Whether the run should stop after this step, which is not yet in the trace, and why.
    pub(crate) fn done<T: Scalar, M: Model<T>, Q: Family<T>, A: Ascent<M, Q, T>>(
        &mut self,
        stop: &Stop,
        (seed, dim, trace): (u64, usize, &[Step]),
        step: &Step,
        parts: Parts<'_, M, Q, A>,
    ) -> Result<Option<Outcome>, Error> {
        let steps = trace.len() + 1;
        match stop {
            Stop::Budget => Ok(None),
            _ if step.rejected.is_some() => Ok(None),
            Stop::Exact { gain } => self.exact(*gain, trace, step, || parts.ascent.name()),
            Stop::Paired(paired) => {
                if steps < self.next_check.max(paired.every) {
                    return Ok(None);
                }
                self.next_check = steps + paired.every.max(steps / 4);
                Ok(self.paired(paired, (seed, dim, steps), parts))
            }
        }
    }

    fn exact(
        &mut self,
        gain: f64,
        trace: &[Step],
        step: &Step,
        name: impl Fn() -> String,
    ) -> Result<Option<Outcome>, Error> {
        let Some(now) = step.elbo else {
            let remedy = format!(
                "`{}` does not say what its ELBO is; use Stop::Budget, or, for a move that knows when it has arrived, say so in `Ascent::finishes`",
                name()
            );
            return Err(Error::option("stop", "Exact", &remedy));
        };
        let Some(before) = self.last_elbo.replace(now) else { return Ok(None) };
        let size = before.abs().max(1.0);
        if now.is_nan() || now < before - ROUNDING * size {
            let reason = format!(
                "the ELBO went from {before} to {now} at step {}, and an exact move never descends; \
                 if the move is stochastic use Stop::Paired or Stop::Budget, otherwise its update is wrong",
                trace.len()
            );
            return Err(Error::Ascent { block: name(), reason });
        }
        let climbed = now - *self.first_elbo.get_or_insert(before);
        let rounding = NOTHING * f64::EPSILON * size;
        let tolerance = (gain * climbed.max(1.0)).max(rounding);
        if (now - before).abs() > tolerance {
            return Ok(None);
        }
        let elbo = |t: usize| if t == trace.len() { Some(now) } else { trace[t].elbo };
        let left = left(elbo, trace.len(), 2.0 * rounding).max(step.left.unwrap_or(0.0));
        Ok((left <= tolerance).then(|| Outcome::Converged {
            rule: format!(
                "no more than {gain:e} of the climb is left to gain, after {} steps",
                trace.len() + 1
            ),
        }))
    }

    fn paired<T: Scalar, M: Model<T>, Q: Family<T>, A: Ascent<M, Q, T>>(
        &mut self,
        paired: &Paired,
        (seed, dim, steps): (u64, usize, usize),
        Parts { model, q, ascent }: Parts<'_, M, Q, A>,
    ) -> Option<Outcome> {
        let tolerance = paired.tolerance.unwrap_or((0.01 * (dim as f64).sqrt()).min(0.1));
        let noise = |checks: u64| stream(seed, Purpose::Probe, checks / RENEW);
        self.now.resize(paired.draws, 0.0);
        let walking = self.walk.look(steps, (model, q, ascent));
        let mut probe = |rng: &mut dyn Rng, terms: &mut [f64]| ascent.probe(model, q, rng, terms);
        if self.base.len() == paired.draws {
            if !probe(&mut noise(self.checks), &mut self.now) {
                return None;
            }
            self.checks += 1;
            // Not a number where a draw is outside the support: then nothing is passed.
            let (gain, se) = mean_and_se(self.now.iter().zip(&self.base).map(|(a, b)| a - b));
            let small = (gain + 2.0 * se).abs() < tolerance;
            self.passed = if small && !walking { self.passed + 1 } else { 0 };
            if self.passed >= CHECKS {
                let rule = format!(
                    "paired test: gain {gain:.2e} ± {se:.1e} nats below {tolerance:.2e}, \
                     {CHECKS} times in a row, after {steps} steps"
                );
                return Some(Outcome::Converged { rule });
            }
            if let Some(rule) = self.fall(steps) {
                return Some(Outcome::Descended { rule });
            }
        }
        if self.base.len() != paired.draws || self.checks.is_multiple_of(RENEW) {
            self.base.resize(paired.draws, 0.0);
            probe(&mut noise(self.checks), &mut self.base);
        } else {
            self.base.copy_from_slice(&self.now);
        }
        None
    }

    /// Compares the ELBO at this check with the best so far.
    fn fall(&mut self, steps: usize) -> Option<String> {
        let (now, se) = mean_and_se(self.now.iter().copied());
        if !now.is_finite() || !se.is_finite() {
            return None;
        }
        let (best, best_se) = *self.best.get_or_insert((now, se));
        if now > best {
            self.best = Some((now, se));
        }
        let fallen = best - now > FALL * se.hypot(best_se);
        self.fallen = if fallen { self.fallen + 1 } else { 0 };
        (self.fallen >= 2).then(|| {
            format!(
                "the ELBO fell to {now:.4} ± {se:.1e} from {best:.4} ± {best_se:.1e}, twice in a \
                 row, after {steps} steps; take smaller steps"
            )
        })
    }
}

/// Mean and standard error.
fn mean_and_se(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let (sum, n) = values.clone().fold((0.0, 0.0), |(sum, n), x| (sum + x, n + 1.0));
    let mean = sum / n;
    let variance = values.map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}
