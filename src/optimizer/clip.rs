//! `ClipNorm` and `ClipValue`: no gradient longer than a bound; put them first in a pair.

use serde::{Deserialize, Serialize};

use super::{Optimizer, check_positive, norm};
use crate::error::Error;
use crate::scalar::Scalar;

/// Shortens a gradient whose Euclidean length is above the bound to that length; its direction is
/// kept (Pascanu, Mikolov and Bengio 2013). First in a pair: `(ClipNorm(10.0), Adam::rate(0.01))`.
///
/// ```
/// use elbo::{ClipNorm, Optimizer};
/// let mut step = [6.0, 8.0];
/// ClipNorm(5.0).step(&[0.0, 0.0], &mut step);
/// assert_eq!(step, [3.0, 4.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipNorm(pub f64);

impl<T: Scalar> Optimizer<T> for ClipNorm {
    fn step(&mut self, _params: &[T], step: &mut [T]) {
        let length = norm(step);
        if length > self.0 {
            let factor = T::from_f64(self.0 / length);
            step.iter_mut().for_each(|g| *g *= factor);
        }
    }
    fn check(&self) -> Result<(), Error> {
        check_positive("ClipNorm", self.0)
    }
}

/// Moves each coordinate of the gradient into `[-bound, bound]`; the direction may change. First in
/// a pair: `(ClipValue(1.0), Adam::rate(0.01))`.
///
/// ```
/// use elbo::{ClipValue, Optimizer};
/// let mut step = [6.0, -0.5];
/// ClipValue(1.0).step(&[0.0, 0.0], &mut step);
/// assert_eq!(step, [1.0, -0.5]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipValue(pub f64);

impl<T: Scalar> Optimizer<T> for ClipValue {
    fn step(&mut self, _params: &[T], step: &mut [T]) {
        let bound = T::from_f64(self.0);
        for g in step {
            if *g > bound {
                *g = bound;
            } else if *g < -bound {
                *g = -bound;
            }
        }
    }
    fn check(&self) -> Result<(), Error> {
        check_positive("ClipValue", self.0)
    }
}
