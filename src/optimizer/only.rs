//! `Only`: some parameters move, the others stay.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Optimizer;
use crate::error::Error;
use crate::scalar::Scalar;

/// Lets the parameters in a range of `[theta | lambda]` move and holds the others.
///
/// First in a pair it also hides the others from what follows, so that a norm or a distance is
/// that of the range alone: `(Only(0..3), Adam::rate(0.01))`. An optimizer that moves a parameter
/// without a gradient ([`AdamW`](super::AdamW)) wants it last: `(AdamW::rate(0.01), Only(0..3))`.
///
/// ```
/// use elbo::{Adam, Only, Optimizer};
/// let mut step = [1.0, 1.0, 1.0];
/// (Only(1..2), Adam::rate(0.1)).step(&[0.0; 3], &mut step);
/// assert!(step[0] == 0.0 && step[1] > 0.09 && step[2] == 0.0);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Only(pub Range<usize>);

impl<T: Scalar> Optimizer<T> for Only {
    fn step(&mut self, _params: &[T], step: &mut [T]) {
        for (i, g) in step.iter_mut().enumerate() {
            if !self.0.contains(&i) {
                *g = T::default();
            }
        }
    }
    fn check(&self) -> Result<(), Error> {
        if !self.0.is_empty() {
            return Ok(());
        }
        let range = format!("{}..{}", self.0.start, self.0.end);
        Err(Error::option("Only", range, "the range must hold a parameter, or nothing moves"))
    }
}
