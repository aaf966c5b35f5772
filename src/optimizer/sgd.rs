//! `Sgd`: plain gradient steps, with momentum if wanted.

use serde::{Deserialize, Serialize};

use super::{Optimizer, check_decay, check_positive};
use crate::error::Error;
use crate::scalar::Scalar;

/// Gradient ascent: `v <- momentum v + g`, step `rate v` (Robbins and Monro 1951, Polyak 1964).
///
/// The rate must suit the curvature; [`Adam`](super::Adam) and [`DoWG`](super::DoWG) find the scale
/// themselves.
///
/// ```
/// use elbo::{Optimizer, Sgd};
/// let mut sgd = Sgd::rate(0.1).momentum(0.5);
/// let (mut first, mut second) = ([2.0], [2.0]);
/// sgd.step(&[0.0], &mut first);
/// sgd.step(&[0.2], &mut second);
/// assert!((first[0] - 0.2f64).abs() < 1e-15 && (second[0] - 0.3f64).abs() < 1e-15);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sgd<T = f64> {
    /// Step size.
    pub rate: f64,
    /// How much of the last step's velocity is kept, in `[0, 1)`.
    pub momentum: f64,
    velocity: Vec<T>,
}

impl<T: Scalar> Sgd<T> {
    /// Gradient ascent with a constant rate and no momentum.
    pub fn rate(rate: f64) -> Sgd<T> {
        Sgd { rate, momentum: 0.0, velocity: Vec::new() }
    }

    /// The same with momentum, usually 0.9.
    pub fn momentum(self, momentum: f64) -> Sgd<T> {
        Sgd { momentum, ..self }
    }
}

impl<T: Scalar> Optimizer<T> for Sgd<T> {
    fn step(&mut self, _params: &[T], step: &mut [T]) {
        self.velocity.resize(step.len(), T::default());
        let [rate, momentum] = [self.rate, self.momentum].map(T::from_f64);
        for (g, v) in step.iter_mut().zip(&mut self.velocity) {
            *v = momentum * *v + *g;
            *g = rate * *v;
        }
    }
    fn check(&self) -> Result<(), Error> {
        check_positive("Sgd rate", self.rate)?;
        check_decay("Sgd momentum", self.momentum)
    }
}
