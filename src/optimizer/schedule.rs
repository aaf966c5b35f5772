//! `Schedule`: a number that changes with the step; `Scheduled`: an optimizer whose steps follow it.

use serde::{Deserialize, Serialize};

use super::{Optimizer, check_last, check_positive};
use crate::error::Error;
use crate::scalar::Scalar;

/// A number that changes from step to step: a factor on a rate, a temperature, a weight.
///
/// ```
/// use elbo::Schedule;
/// let annealed = Schedule::Anneal { from: 1.0, rate: 1e-3, floor: 0.5 };
/// assert_eq!(annealed.value(0), 1.0);
/// assert!((annealed.value(500) - (-0.5f64).exp()).abs() < 1e-12);
/// assert_eq!(annealed.value(1_000), 0.5);
/// assert_eq!(Schedule::Fixed(4.0).value(7), 4.0);
/// let cosine = Schedule::Cosine { steps: 100, floor: 0.1 };
/// assert_eq!(cosine.value(0), 1.0);
/// assert!((cosine.value(50) - 0.55).abs() < 1e-12);
/// assert_eq!(cosine.value(1_000), 0.1);
/// let decaying = Schedule::InverseTime { delay: 10.0, power: 1.0 };
/// assert_eq!(decaying.value(10), 0.5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Schedule {
    /// 1 at every step.
    Constant,
    /// This number at every step: a temperature that stays, the weight of a term.
    Fixed(f64),
    /// `max(floor, from e^(-rate t))`, as temperatures are lowered (Jang, Gu and Poole 2017).
    Anneal {
        /// The value at step 0.
        from: f64,
        /// By which share it falls in a step.
        rate: f64,
        /// Below which it does not fall.
        floor: f64,
    },
    /// A straight line from `from` at step 0 to `to` at step `steps`, and `to` from there on.
    Linear {
        /// Over how many steps.
        steps: u64,
        /// The value at step 0.
        from: f64,
        /// The value at the end.
        to: f64,
    },
    /// `floor + (1 - floor) (1 + cos(pi t / steps)) / 2`, and `floor` from step `steps` on
    /// (Loshchilov and Hutter 2017).
    Cosine {
        /// Over how many steps.
        steps: u64,
        /// The value at the end.
        floor: f64,
    },
    /// `factor^k` after `k` periods of `every` steps.
    Step {
        /// Steps between changes.
        every: u64,
        /// What a change multiplies by.
        factor: f64,
    },
    /// `(1 + t / delay)^-power`. With `power` in `(1/2, 1]` a rate that follows it satisfies the
    /// conditions of Robbins and Monro (1951): noisy steps converge.
    InverseTime {
        /// After about how many steps the fall begins.
        delay: f64,
        /// How fast it is in the end.
        power: f64,
    },
}

impl Schedule {
    /// The value at step `t`, counted from 0.
    pub fn value(&self, t: u64) -> f64 {
        let done = |steps: u64| t as f64 / steps.max(1) as f64;
        match *self {
            Schedule::Constant => 1.0,
            Schedule::Fixed(value) => value,
            Schedule::Anneal { from, rate, floor } => (from * (-rate * t as f64).exp()).max(floor),
            Schedule::Linear { steps, to, .. } if t >= steps => to,
            Schedule::Linear { steps, from, to } => from + (to - from) * done(steps),
            Schedule::Cosine { steps, floor } if t >= steps => floor,
            Schedule::Cosine { steps, floor } => {
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * done(steps)).cos())
            }
            Schedule::Step { every, factor } => factor.powf((t / every.max(1)) as f64),
            Schedule::InverseTime { delay, power } => (1.0 + t as f64 / delay).powf(-power),
        }
    }

    /// Where the value ends up: what it is after more steps than any run has.
    pub fn limit(&self) -> f64 {
        self.value(u64::MAX)
    }

    /// Says what is wrong with a schedule whose every value must be above 0: a temperature, a weight.
    ///
    /// # Errors
    /// Settings that make no sense, or a value that is 0: named `what`.
    pub fn check_positive(&self, what: &str) -> Result<(), Error> {
        self.check()?;
        let least = match *self {
            // it falls towards 0 without reaching it, or rises
            Schedule::Step { .. } | Schedule::InverseTime { .. } => return Ok(()),
            _ => self.value(0).min(self.limit()),
        };
        check_positive(what, least)
    }

    /// Says what is wrong with the settings.
    ///
    /// # Errors
    /// A length of no steps, or values that are negative or not finite.
    pub fn check(&self) -> Result<(), Error> {
        let some = |name: &str, steps: u64| match steps {
            0 => Err(Error::option(name, 0, "it must be at least one step")),
            _ => Ok(()),
        };
        let level = |name: &str, value: f64| match value >= 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(Error::option(name, value, "it must be 0 or more, and finite")),
        };
        match *self {
            Schedule::Constant => Ok(()),
            Schedule::Fixed(value) => level("Fixed", value),
            Schedule::Anneal { from, rate, floor } => {
                level("Anneal from", from)?;
                level("Anneal rate", rate)?;
                level("Anneal floor", floor)
            }
            Schedule::Linear { steps, from, to } => {
                some("Linear steps", steps)?;
                level("Linear from", from)?;
                level("Linear to", to)
            }
            Schedule::Cosine { steps, floor } => {
                some("Cosine steps", steps)?;
                level("Cosine floor", floor)
            }
            Schedule::Step { every, factor } => {
                some("Step every", every)?;
                check_positive("Step factor", factor)
            }
            Schedule::InverseTime { delay, power } => {
                check_positive("InverseTime delay", delay)?;
                level("InverseTime power", power)
            }
        }
    }
}

/// An optimizer whose steps are multiplied by a [`Schedule`]: `Schedule::value(t)` at its `t`-th
/// step, counted from 0. Rejected steps do not count. To average the iterates as well, put
/// [`Averaged`](super::Averaged) outside.
///
/// ```
/// use elbo::{Optimizer, Schedule, Scheduled, Sgd};
/// let halving = Schedule::Step { every: 1, factor: 0.5 };
/// let mut sgd = Scheduled::new(Sgd::rate(1.0), halving);
/// let (mut first, mut second) = ([1.0], [1.0]);
/// sgd.step(&[0.0], &mut first);
/// sgd.step(&[1.0], &mut second);
/// assert_eq!((first, second), ([1.0], [0.5]));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scheduled<O> {
    /// The optimizer that makes the steps.
    pub inner: O,
    /// What they are multiplied by.
    pub schedule: Schedule,
    steps: u64,
}

impl<O> Scheduled<O> {
    /// Multiplies the steps of `inner` by `schedule`.
    pub fn new(inner: O, schedule: Schedule) -> Scheduled<O> {
        Scheduled { inner, schedule, steps: 0 }
    }
}

impl<T: Scalar, O: Optimizer<T>> Optimizer<T> for Scheduled<O> {
    fn step(&mut self, params: &[T], step: &mut [T]) {
        self.inner.step(params, step);
        let factor = T::from_f64(self.schedule.value(self.steps));
        self.steps += 1;
        step.iter_mut().for_each(|s| *s *= factor);
    }
    fn check(&self) -> Result<(), Error> {
        check_last(&self.inner, "Scheduled")?;
        self.inner.check()?;
        self.schedule.check()
    }
}
