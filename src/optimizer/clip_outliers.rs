//! `ClipOutliers`: no gradient far out of line with those before it; put it first in a pair.

use serde::{Deserialize, Serialize};

use pulp::{Simd, WithSimd};

use super::{Optimizer, check_positive};
use crate::error::Error;
use crate::scalar::Scalar;
use crate::simd::dispatch;

/// How fast what is usual is forgotten.
const DECAY: f64 = 0.9;

/// Shortens each coordinate of the gradient to at most `times` its own running root mean square:
/// a bound that needs no scale, learned as the run goes on (after Seetharaman and others 2020).
///
/// For optimizers that remember every gradient, as [`DoWG`](super::DoWG) does: one that is a
/// million times too long, from a draw far out in a funnel, would leave them with steps of no
/// length. Ordinary noise is far below ten times its root mean square and passes unchanged.
///
/// ```
/// use elbo::{ClipOutliers, Optimizer};
/// let mut clip = ClipOutliers::new();
/// for gradient in [1.0, -1.0, 1.0] {
///     let mut step = [gradient];
///     clip.step(&[0.0], &mut step);
///     assert_eq!(step, [gradient]);
/// }
/// let mut step = [1e6];
/// clip.step(&[0.0], &mut step);
/// assert!((step[0] - 10.0f64).abs() < 1e-12);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipOutliers {
    /// How many times its usual size a gradient may have.
    pub times: f64,
    /// Running sums of the weights and of the weighted squares.
    weight: f64,
    squares: Vec<f64>,
}

impl Default for ClipOutliers {
    fn default() -> Self {
        ClipOutliers::new()
    }
}

impl ClipOutliers {
    /// At most ten times the usual size.
    pub fn new() -> ClipOutliers {
        ClipOutliers { times: 10.0, weight: 0.0, squares: Vec::new() }
    }
}

/// One pass over the parameters.
struct Clip<'a, T> {
    times: f64,
    weight: f64,
    squares: &'a mut [f64],
    step: &'a mut [T],
}

impl<T: Scalar> WithSimd for Clip<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (g, sum) in self.step.iter_mut().zip(self.squares) {
            let bound = self.times * (*sum / self.weight).sqrt();
            // Where nothing has moved yet, nothing is known to be unusual.
            let far = *sum > 0.0 && g.to_f64().abs() > bound;
            let clipped = T::from_f64(bound.copysign(g.to_f64()));
            *g = if far { clipped } else { *g };
            *sum = DECAY * *sum + g.to_f64() * g.to_f64();
        }
    }
}

impl<T: Scalar> Optimizer<T> for ClipOutliers {
    fn step(&mut self, _params: &[T], step: &mut [T]) {
        self.squares.resize(step.len(), 0.0);
        let (times, weight) = (self.times, self.weight);
        dispatch(Clip { times, weight, squares: &mut self.squares, step });
        self.weight = DECAY * self.weight + 1.0;
    }
    fn check(&self) -> Result<(), Error> {
        check_positive("ClipOutliers times", self.times)
    }
}
