//! `Averaged`: reports a running average of the iterates instead of the last, noisy one.

use serde::{Deserialize, Serialize};

use pulp::{Simd, WithSimd};

use super::Optimizer;
use crate::error::Error;
use crate::scalar::Scalar;
use crate::simd::dispatch;

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

impl<O, T: Scalar> Averaged<O, T> {
    /// The weight of the next iterate, counted as seen.
    fn weight(&mut self, params: usize) -> T {
        const ETA: f64 = 8.0;
        self.average.resize(params, T::default());
        self.steps += 1;
        T::from_f64(((ETA + 1.0) / (self.steps as f64 + ETA)).min(1.0))
    }
}

/// The average, some way on to the next iterate.
struct Towards<'a, T> {
    average: &'a mut [T],
    weight: T,
    next: &'a [T],
}

impl<T: Scalar> WithSimd for Towards<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (a, &x) in self.average.iter_mut().zip(self.next) {
            *a += self.weight * (x - *a);
        }
    }
}

impl<T: Scalar, O: Optimizer<T>> Optimizer<T> for Averaged<O, T> {
    fn step(&mut self, params: &[T], step: &mut [T]) {
        self.inner.step(params, step);
        if params.iter().zip(step.iter()).any(|(&p, &s)| !(p + s).is_finite()) {
            return; // will not be taken
        }
        let weight = self.weight(params.len());
        for ((a, &p), &s) in self.average.iter_mut().zip(params).zip(step.iter()) {
            *a += weight * (p + s - *a);
        }
    }
    fn advance(&mut self, params: &[T], next: &mut [T]) -> bool {
        let taken = self.inner.advance(params, next);
        if taken {
            let weight = self.weight(next.len());
            dispatch(Towards { average: &mut self.average, weight, next });
        }
        taken
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
