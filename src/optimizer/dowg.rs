//! `DoWG`: steps without a learning rate, from the distance travelled.

use serde::{Deserialize, Serialize};

use pulp::{Simd, WithSimd};

use super::{Optimizer, check_positive, norm};
use crate::error::Error;
use crate::scalar::Scalar;
use crate::simd::dispatch;

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

/// One pass over the parameters, a distance for each.
struct Each<'a, T> {
    params: &'a [T],
    start: &'a [T],
    step: &'a mut [T],
    distance: &'a mut [f64],
    weighted: &'a mut [f64],
}

impl<T: Scalar> WithSimd for Each<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let n = self.step.len();
        let (params, start) = (&self.params[..n], &self.start[..n]);
        let (distance, weighted) = (&mut self.distance[..n], &mut self.weighted[..n]);
        for i in 0..n {
            let far = distance[i].max((params[i] - start[i]).to_f64().abs());
            let weighed = far * self.step[i].to_f64();
            let sum = weighted[i] + weighed * weighed;
            // Without any gradient so far there is no step either, and 0/0 is none.
            let rate = if sum > 0.0 { far * far / sum.sqrt() } else { 1.0 };
            self.step[i] *= T::from_f64(rate);
            distance[i] = far;
            weighted[i] = sum;
        }
    }
}

impl<T: Scalar> Optimizer<T> for DoWG<T> {
    fn step(&mut self, params: &[T], step: &mut [T]) {
        if self.start.len() != params.len() {
            self.start = params.to_vec();
            self.distance = vec![self.first; if self.whole { 1 } else { params.len() }];
            self.weighted = vec![0.0; self.distance.len()];
        }
        let DoWG { start, distance, weighted, .. } = self;
        if !self.whole {
            return dispatch(Each { params, start, step, distance, weighted });
        }
        let square = |(&p, &s): (&T, &T)| (p - s).to_f64() * (p - s).to_f64();
        let moved = params.iter().zip(&*start).map(square).sum::<f64>().sqrt();
        distance[0] = distance[0].max(moved);
        weighted[0] += (distance[0] * norm(step)).powi(2);
        if weighted[0] > 0.0 {
            let rate = T::from_f64(distance[0] * distance[0] / weighted[0].sqrt());
            step.iter_mut().for_each(|g| *g *= rate);
        }
    }
    fn check(&self) -> Result<(), Error> {
        check_positive("DoWG first", self.first)
    }
}
