//! `Averaged`: reports a running average of the iterates instead of the last, noisy one.

use serde::{Deserialize, Serialize};

use super::Optimizer;
use crate::error::Error;
use crate::scalar::Scalar;

/// Polynomial-decay averaging with weight `(eta + 1) / (t + eta)`, `eta = 8`, so that early
/// iterates are forgotten (Shamir and Zhang 2013). The average is the answer; the steps are those
/// of the optimizer inside. Outermost, or last in a pair: it must see the steps that are taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Averaged<O, T = f64> {
    /// The optimizer that makes the steps.
    pub inner: O,
    steps: u64,
    average: Vec<T>,
}

impl<O, T: Scalar> Averaged<O, T> {
    /// Averages the iterates of `inner`.
    pub fn new(inner: O) -> Averaged<O, T> {
        Averaged { inner, steps: 0, average: Vec::new() }
    }
}

impl<T: Scalar, O: Optimizer<T>> Optimizer<T> for Averaged<O, T> {
    fn step(&mut self, params: &[T], step: &mut [T]) {
        const ETA: f64 = 8.0;
        self.inner.step(params, step);
        if params.iter().zip(step.iter()).any(|(&p, &s)| !(p + s).is_finite()) {
            return; // will not be taken
        }
        self.average.resize(params.len(), T::default());
        self.steps += 1;
        let weight = T::from_f64(((ETA + 1.0) / (self.steps as f64 + ETA)).min(1.0));
        for ((a, &p), &s) in self.average.iter_mut().zip(params).zip(step.iter()) {
            *a += weight * (p + s - *a);
        }
    }
    fn check(&self) -> Result<(), Error> {
        self.inner.check()
    }
    fn answer(&self) -> Option<&[T]> {
        (self.steps > 0).then_some(&self.average)
    }
    fn follows(&self) -> bool {
        true
    }
}
