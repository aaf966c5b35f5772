//! `DoWG`: steps without a learning rate, from the distance travelled.

use serde::{Deserialize, Serialize};

use super::{Optimizer, check_positive, norm};
use crate::error::Error;
use crate::scalar::Scalar;

/// Distance over weighted gradients (Khaled, Mishchenko and Jin 2023): there is no rate to choose.
///
/// With `r` the largest distance from the start so far, at least [`DoWG::first`],
/// `v <- v + r^2 g^2` and the step is `r^2 / sqrt(v) g`. [`DoWG::new`] does so for each parameter by
/// itself, so that parameters of very different scales do not wait for one another;
/// [`DoWG::whole`] is the published form, with one distance and one sum for all of them, and
/// falls behind as soon as scales differ.
///
/// The steps stay noisy: report the average, `Averaged::new(DoWG::new())`.
///
/// ```
/// use elbo::{DoWG, Optimizer};
/// // the top of -(a - 1)^2 - 10^4 (b - 0.01)^2
/// let (mut dowg, mut at) = (DoWG::new(), [0.0, 0.0]);
/// for _ in 0..500 {
///     let mut step = [-2.0 * (at[0] - 1.0), -2e4 * (at[1] - 0.01)];
///     dowg.step(&at, &mut step);
///     at = [at[0] + step[0], at[1] + step[1]];
/// }
/// assert!((at[0] - 1.0f64).abs() < 1e-3 && (at[1] - 0.01f64).abs() < 1e-5);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DoWG<T = f64> {
    /// Length of the first step. It grows by itself: too small costs a few steps, no more.
    pub first: f64,
    /// Whether all parameters share one distance.
    whole: bool,
    start: Vec<T>,
    distance: Vec<f64>,
    weighted: Vec<f64>,
}

impl<T: Scalar> Default for DoWG<T> {
    fn default() -> Self {
        DoWG::new()
    }
}

impl<T: Scalar> DoWG<T> {
    /// A distance for each parameter; the first step has length 0.001 in each.
    pub fn new() -> DoWG<T> {
        DoWG { first: 1e-3, whole: false, start: vec![], distance: vec![], weighted: vec![] }
    }

    /// One distance for all parameters; the first step has length 0.001.
    pub fn whole() -> DoWG<T> {
        DoWG { whole: true, ..DoWG::new() }
    }
}

impl<T: Scalar> Optimizer<T> for DoWG<T> {
    fn step(&mut self, params: &[T], step: &mut [T]) {
        let size = if self.whole { params.len().max(1) } else { 1 };
        if self.start.len() != params.len() {
            self.start = params.to_vec();
            self.distance = vec![self.first; params.len().div_ceil(size)];
            self.weighted = vec![0.0; self.distance.len()];
        }
        let blocks = params.chunks(size).zip(self.start.chunks(size)).zip(step.chunks_mut(size));
        let state = self.distance.iter_mut().zip(&mut self.weighted);
        for (((params, start), step), (distance, weighted)) in blocks.zip(state) {
            let square = |(&p, &s): (&T, &T)| (p - s).to_f64() * (p - s).to_f64();
            let moved = params.iter().zip(start).map(square).sum::<f64>().sqrt();
            *distance = distance.max(moved);
            *weighted += (*distance * norm(step)).powi(2);
            if *weighted > 0.0 {
                let rate = T::from_f64(*distance * *distance / weighted.sqrt());
                step.iter_mut().for_each(|g| *g *= rate);
            }
        }
    }
    fn check(&self) -> Result<(), Error> {
        check_positive("DoWG first", self.first)
    }
}
