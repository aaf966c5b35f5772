//! When a run may stop: a budget, exact moves that gain no more, and the paired test.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::ascent::{Ascent, Step};
use crate::error::Error;
use crate::noise::{Purpose, stream};
use crate::scalar::Scalar;

/// When to stop before the steps run out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Stop {
    /// Never: all steps are taken.
    Budget,
    /// For exact moves: when a step gains less than `gain * max(1, |ELBO|)` nats.
    Exact {
        /// The relative gain.
        gain: f64,
    },
    /// For stochastic moves: a paired test on common random numbers. Every so often the current
    /// answer and the one at the check before are compared draw by draw, on the same noise, which
    /// makes the difference far less noisy than either ELBO. Stops when in three checks in a row
    /// `mean + 2 se` of the gain is below the tolerance.
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

/// What a stop rule remembers; part of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StopState {
    last_elbo: Option<f64>,
    next_check: usize,
    checks: u64,
    passed: u32,
    base: Vec<f64>,
    #[serde(skip)]
    now: Vec<f64>,
}

impl Stop {
    /// For exact moves: relative gain 1e-9.
    pub fn exact() -> Stop {
        Stop::Exact { gain: 1e-9 }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
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

impl StopState {
    /// Whether the run should stop after this step, and by which rule.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn done<T: Scalar, M, Q, A: Ascent<M, Q, T>>(
        &mut self,
        stop: &Stop,
        seed: u64,
        dim: usize,
        steps: usize,
        step: &Step,
        (model, q, ascent): (&mut M, &mut Q, &mut A),
    ) -> Option<String> {
        match stop {
            Stop::Budget => None,
            Stop::Exact { gain } => {
                let now = step.elbo?;
                let before = self.last_elbo.replace(now)?;
                let limit = gain * before.abs().max(1.0);
                ((now - before).abs() < limit)
                    .then(|| format!("relative gain below {gain:e} after {steps} steps"))
            }
            Stop::Paired(paired) => {
                if steps < self.next_check.max(paired.every) {
                    return None;
                }
                let tolerance = paired.tolerance.unwrap_or((0.01 * (dim as f64).sqrt()).min(0.1));
                let noise = |checks: u64| stream(seed, Purpose::Probe, checks / RENEW);
                self.now.resize(paired.draws, 0.0);
                let mut probe =
                    |rng: &mut dyn Rng, terms: &mut [f64]| ascent.probe(model, q, rng, terms);
                if self.base.len() == paired.draws {
                    if !probe(&mut noise(self.checks), &mut self.now) {
                        return None;
                    }
                    let (gain, se) = paired_gain(&self.base, &self.now);
                    let small = gain + 2.0 * se < tolerance;
                    self.passed = if small { self.passed + 1 } else { 0 };
                    self.checks += 1;
                    if self.passed >= CHECKS {
                        return Some(format!(
                            "paired test: gain {gain:.2e} ± {se:.1e} nats below {tolerance:.2e}, \
                             {CHECKS} times in a row, after {steps} steps"
                        ));
                    }
                }
                if self.base.len() != paired.draws || self.checks.is_multiple_of(RENEW) {
                    self.base.resize(paired.draws, 0.0);
                    probe(&mut noise(self.checks), &mut self.base);
                } else {
                    self.base.copy_from_slice(&self.now);
                }
                self.next_check = steps + paired.every.max(steps / 4);
                None
            }
        }
    }
}

/// Mean and standard error of `now - before`, draw by draw.
fn paired_gain(before: &[f64], now: &[f64]) -> (f64, f64) {
    let n = now.len() as f64;
    let gains = || now.iter().zip(before).map(|(a, b)| a - b);
    let mean = gains().sum::<f64>() / n;
    let variance = gains().map(|g| (g - mean) * (g - mean)).sum::<f64>() / (n - 1.0);
    (mean, (variance / n).sqrt())
}
