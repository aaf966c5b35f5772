//! `Adam`: steps scaled by running moments of the gradient.

use serde::{Deserialize, Serialize};

use pulp::{Simd, WithSimd};

use super::{LONG, Optimizer, check_decay, check_positive};
use crate::error::Error;
use crate::pool::both;
use crate::scalar::Scalar;
use crate::simd::dispatch;

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

impl<T: Scalar> Adam<T> {
    /// The step, or with `MOVED` the new parameters, less `loss` of the old ones; and whether that
    /// is finite everywhere. Parameters and gradient may lie in several pieces.
    pub(super) fn pass<const MOVED: bool, const N: usize>(
        &mut self,
        loss: f64,
        params: [&[T]; N],
        step: [&mut [T]; N],
    ) -> bool {
        let n = step.iter().map(|piece| piece.len()).sum();
        self.first.resize(n, T::default());
        self.second.resize(n, T::default());
        self.steps += 1;
        let t = self.steps as f64;
        let rate = T::from_f64(self.rate / (1.0 - self.beta1.powf(t)));
        let unbias = T::from_f64((1.0 / (1.0 - self.beta2.powf(t))).sqrt());
        let decays = [self.beta1, self.beta2].map(T::from_f64);
        let (epsilon, loss) = (T::from_f64(self.epsilon), T::from_f64(loss));
        let numbers = Numbers { rate, unbias, decays, epsilon, loss };
        let (mut first, mut second) = (&mut self.first[..], &mut self.second[..]);
        let mut finite = true;
        for (params, step) in params.into_iter().zip(step) {
            let (a, rest) = std::mem::take(&mut first).split_at_mut(step.len());
            let (b, others) = std::mem::take(&mut second).split_at_mut(step.len());
            (first, second) = (rest, others);
            finite &= Pass::<T, MOVED> { numbers, params, step, first: a, second: b }.run();
        }
        finite
    }
}

/// What a pass is told.
#[derive(Clone, Copy)]
struct Numbers<T> {
    rate: T,
    unbias: T,
    decays: [T; 2],
    epsilon: T,
    loss: T,
}

/// One pass over the parameters.
struct Pass<'a, T, const MOVED: bool> {
    numbers: Numbers<T>,
    params: &'a [T],
    step: &'a mut [T],
    first: &'a mut [T],
    second: &'a mut [T],
}

impl<T: Scalar, const MOVED: bool> Pass<'_, T, MOVED> {
    /// A long one in halves side by side.
    fn run(self) -> bool {
        if self.step.len() <= LONG {
            return dispatch(self);
        }
        let Pass { numbers, params, step, first, second } = self;
        let half = step.len() / 2;
        let (p, params) = params.split_at(half);
        let (s, step) = step.split_at_mut(half);
        let (f, first) = first.split_at_mut(half);
        let (v, second) = second.split_at_mut(half);
        let before = Pass::<T, MOVED> { numbers, params: p, step: s, first: f, second: v };
        let after = Pass::<T, MOVED> { numbers, params, step, first, second };
        let (a, b) = both(|| before.run(), || after.run());
        a && b
    }
}

impl<T: Scalar, const MOVED: bool> WithSimd for Pass<'_, T, MOVED> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        let Pass { numbers, params, step, first, second } = self;
        let Numbers { rate, unbias, decays: [b1, b2], epsilon, loss } = numbers;
        let n = step.len();
        let (params, first, second) = (&params[..n], &mut first[..n], &mut second[..n]);
        let (new1, new2) = (T::from_f64(1.0) - b1, T::from_f64(1.0) - b2);
        let mut finite = true;
        for i in 0..n {
            let g = step[i];
            let m = b1 * first[i] + new1 * g;
            let v = b2 * second[i] + new2 * g * g;
            first[i] = m;
            second[i] = v;
            let mut moved = rate * m / (v.sqrt() * unbias + epsilon) - loss * params[i];
            if MOVED {
                moved = params[i] + moved;
            }
            step[i] = moved;
            finite &= moved.is_finite();
        }
        finite
    }
}

impl<T: Scalar> Optimizer<T> for Adam<T> {
    fn step(&mut self, params: &[T], step: &mut [T]) {
        self.pass::<false, 1>(0.0, [params], [step]);
    }
    fn advance(&mut self, params: &[T], next: &mut [T]) -> bool {
        self.pass::<true, 1>(0.0, [params], [next])
    }
    fn advance_pieces(&mut self, params: [&[T]; 2], next: [&mut [T]; 2]) -> Option<bool> {
        Some(self.pass::<true, 2>(0.0, params, next))
    }
    fn check(&self) -> Result<(), Error> {
        check_positive("Adam rate", self.rate)?;
        check_decay("Adam beta1", self.beta1)?;
        check_decay("Adam beta2", self.beta2)?;
        check_positive("Adam epsilon", self.epsilon)
    }
}
