//! The exact moves: `EStep`, `MStep` and `NaturalStep`; `(EStep, MStep)` is EM, `EStep` alone is CAVI.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Ascent, Step};
use crate::error::Error;
use crate::model::{Conjugate, Maximize};
use crate::optimizer::Schedule;
use crate::scalar::Scalar;

/// Replaces `q` by the best there is, all else fixed: `q = argmax_q ELBO(theta, q)`.
///
/// Where `q` may be any distribution of the latent variables this is the E-step of EM (Dempster,
/// Laird and Rubin 1977) and the ELBO becomes `log p_theta(x)`; where it must factorize it is one
/// round of coordinate ascent (CAVI). In a pair with [`MStep`] it is EM (Neal and Hinton 1998).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EStep;

/// Replaces `theta` by the best there is for the `q` at hand: `theta = argmax_theta ELBO(theta, q)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MStep;

/// Moves the natural parameters of `q` a fraction of the way to their optimum: a step along the
/// natural gradient. In a [`Minibatch`](crate::Minibatch) with a decaying rate it is stochastic
/// variational inference (Hoffman, Blei, Wang and Paisley 2013).
///
/// ```
/// use elbo::NaturalStep;
/// let step = NaturalStep::decaying(64.0, 0.7);
/// assert_eq!(step.rate_at(0), 64f64.powf(-0.7));
/// assert!((step.rate_at(36) - 100f64.powf(-0.7)).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NaturalStep {
    /// The rate at the first step, in `(0, 1]`.
    pub rate: f64,
    /// What multiplies it at later ones.
    pub schedule: Schedule,
    steps: u64,
}

impl NaturalStep {
    /// The same fraction at every step.
    pub fn constant(rate: f64) -> NaturalStep {
        NaturalStep { rate, schedule: Schedule::Constant, steps: 0 }
    }

    /// `(delay + t)^-power` at step `t`: with `power` in `(1/2, 1]` the noise of minibatches
    /// averages out (Robbins and Monro 1951).
    pub fn decaying(delay: f64, power: f64) -> NaturalStep {
        let schedule = Schedule::InverseTime { delay, power };
        NaturalStep { rate: delay.powf(-power), schedule, steps: 0 }
    }

    /// The rate at step `t`, counted from 0.
    pub fn rate_at(&self, t: u64) -> f64 {
        self.rate * self.schedule.value(t)
    }
}

/// An exact ELBO that is not a number is an error, not a step.
fn finite(block: &str, elbo: f64) -> Result<Step, Error> {
    if elbo.is_finite() {
        return Ok(Step { elbo: Some(elbo), ..Step::default() });
    }
    let reason = format!(
        "the ELBO after the step is {elbo}; look at the data for extreme values and at the start"
    );
    Err(Error::Ascent { block: block.to_string(), reason })
}

impl<T: Scalar, M: Conjugate<Q>, Q> Ascent<M, Q, T> for EStep {
    fn exact(&self) -> bool {
        true
    }
    fn step(&mut self, model: &mut M, q: &mut Q, _: &mut dyn Rng) -> Result<Step, Error> {
        finite("EStep", model.natural_step(q, 1.0)?)
    }
}

impl<T: Scalar, M: Maximize<Q>, Q> Ascent<M, Q, T> for MStep {
    fn exact(&self) -> bool {
        true
    }
    fn step(&mut self, model: &mut M, q: &mut Q, _: &mut dyn Rng) -> Result<Step, Error> {
        finite("MStep", model.maximize(q)?)
    }
}

impl<T: Scalar, M: Conjugate<Q>, Q> Ascent<M, Q, T> for NaturalStep {
    fn check(&self, _: &M, _: &Q) -> Result<(), Error> {
        if !(self.rate > 0.0 && self.rate <= 1.0) {
            let remedy = "a fraction of the way is more than 0 and at most 1";
            return Err(Error::option("rate of NaturalStep", self.rate, remedy));
        }
        self.schedule.check()
    }
    fn step(&mut self, model: &mut M, q: &mut Q, _: &mut dyn Rng) -> Result<Step, Error> {
        let rate = self.rate_at(self.steps).min(1.0);
        self.steps += 1;
        finite("NaturalStep", model.natural_step(q, rate)?)
    }
}
