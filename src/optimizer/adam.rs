//! `Adam`: steps scaled by running moments of the gradient.

use serde::{Deserialize, Serialize};

use super::{Optimizer, check_decay, check_positive};
use crate::error::Error;
use crate::scalar::Scalar;

/// Adam (Kingma and Ba 2015), with its usual decays 0.9 and 0.999 and `epsilon` 1e-8.
///
/// ```
/// use elbo::{Adam, Optimizer};
/// let mut step = [3.0f64, -0.001];
/// Adam::rate(0.1).step(&[0.0, 0.0], &mut step);
/// assert!((step[0] - 0.1).abs() < 1e-6 && (step[1] + 0.1).abs() < 1e-5);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam<T = f64> {
    /// Step size: about how far a parameter moves in one step.
    pub rate: f64,
    /// Decay of the running mean of the gradient.
    pub beta1: f64,
    /// Decay of the running mean of its square.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    steps: u64,
    first: Vec<T>,
    second: Vec<T>,
}

impl<T: Scalar> Adam<T> {
    /// Adam with a constant rate.
    pub fn rate(rate: f64) -> Adam<T> {
        let (first, second) = (Vec::new(), Vec::new());
        Adam { rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, steps: 0, first, second }
    }
}

impl<T: Scalar> Optimizer<T> for Adam<T> {
    fn step(&mut self, _params: &[T], step: &mut [T]) {
        self.first.resize(step.len(), T::default());
        self.second.resize(step.len(), T::default());
        self.steps += 1;
        let t = self.steps as f64;
        let rate = T::from_f64(self.rate / (1.0 - self.beta1.powf(t)));
        let unbias = T::from_f64((1.0 / (1.0 - self.beta2.powf(t))).sqrt());
        let [b1, b2, epsilon] = [self.beta1, self.beta2, self.epsilon].map(T::from_f64);
        let one = T::from_f64(1.0);
        for ((g, m), v) in step.iter_mut().zip(&mut self.first).zip(&mut self.second) {
            *m = b1 * *m + (one - b1) * *g;
            *v = b2 * *v + (one - b2) * *g * *g;
            *g = rate * *m / (v.sqrt() * unbias + epsilon);
        }
    }
    fn check(&self) -> Result<(), Error> {
        check_positive("Adam rate", self.rate)?;
        check_decay("Adam beta1", self.beta1)?;
        check_decay("Adam beta2", self.beta2)?;
        check_positive("Adam epsilon", self.epsilon)
    }
}
