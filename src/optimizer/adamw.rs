//! `AdamW`: Adam with weight decay that its moments do not see; for networks.

use serde::{Deserialize, Serialize};

use super::{Adam, Optimizer};
use crate::error::Error;
use crate::scalar::Scalar;

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019): the step of [`Adam`] minus
/// `rate * decay * params`.
///
/// For the weights of networks. Parameters of a family should not be drawn towards zero: use
/// [`Adam`].
///
/// ```
/// use elbo::{AdamW, Optimizer};
/// let mut step = [0.0];
/// AdamW::rate(0.1).step(&[2.0], &mut step);
/// assert!((step[0] + 0.1 * 0.01 * 2.0f64).abs() < 1e-15);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdamW<T = f64> {
    /// The rule of the steps, with its rate and decays.
    pub adam: Adam<T>,
    /// The fraction of a parameter lost a step is `rate * decay`.
    pub decay: f64,
}

impl<T: Scalar> AdamW<T> {
    /// A constant rate and weight decay 0.01.
    pub fn rate(rate: f64) -> AdamW<T> {
        AdamW { adam: Adam::rate(rate), decay: 0.01 }
    }

    /// The same with another weight decay.
    pub fn decay(self, decay: f64) -> AdamW<T> {
        AdamW { decay, ..self }
    }
}

impl<T: Scalar> Optimizer<T> for AdamW<T> {
    fn step(&mut self, params: &[T], step: &mut [T]) {
        self.adam.pass::<false, 1>(self.adam.rate * self.decay, [params], [step]);
    }
    fn advance(&mut self, params: &[T], next: &mut [T]) -> bool {
        self.adam.pass::<true, 1>(self.adam.rate * self.decay, [params], [next])
    }
    fn advance_pieces(&mut self, params: [&[T]; 2], next: [&mut [T]; 2]) -> Option<bool> {
        Some(self.adam.pass::<true, 2>(self.adam.rate * self.decay, params, next))
    }
    fn check(&self) -> Result<(), Error> {
        self.adam.check()?;
        if self.decay >= 0.0 && self.adam.rate * self.decay < 1.0 {
            return Ok(());
        }
        let remedy = "it must be 0 or more, and rate * decay below 1";
        Err(Error::option("AdamW decay", self.decay, remedy))
    }
}
