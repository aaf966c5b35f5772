//! How a gradient becomes a step: `Optimizer`.

mod adam;
mod adamw;
mod average;
mod clip;
mod clip_outliers;
mod dowg;
mod only;
mod schedule;
mod sgd;

pub use adam::Adam;
pub use adamw::AdamW;
pub use average::Averaged;
pub use clip::{ClipNorm, ClipValue};
pub use clip_outliers::ClipOutliers;
pub use dowg::DoWG;
pub use only::Only;
pub use schedule::{Schedule, Scheduled};
pub use sgd::Sgd;

use pulp::{Simd, WithSimd};

use crate::error::Error;
use crate::pool::both;
use crate::scalar::Scalar;
use crate::simd::dispatch;

/// Turns a gradient into a step uphill.
///
/// A pair is an optimizer: the first transforms the gradient, the second what the first made of
/// it. `(ClipNorm(10.0), Adam::rate(0.01))`
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an optimizer",
    label = "the second part of this move is not an `Optimizer`",
    note = "give `GradientAscent::new` an estimator first and an optimizer second: `Averaged::new(DoWG::new())` needs no rate, `Adam::rate(0.01)` has one"
)]
pub trait Optimizer<T: Scalar = f64> {
    /// `step` holds the gradient at `params` on entry, and what to add to `params` on return.
    fn step(&mut self, params: &[T], step: &mut [T]);

    /// Takes the step: `next` holds the gradient at `params` on entry and the new parameters on
    /// return. Returns whether all of them are finite; if one is not, the step will not be taken.
    /// Override where that saves a pass over the parameters.
    fn advance(&mut self, params: &[T], next: &mut [T]) -> bool {
        self.step(params, next);
        dispatch(Add { params, next })
    }

    /// [`Optimizer::advance`] where parameters and gradient lie in two pieces, to the same bits;
    /// `None`, with nothing done, where it wants them in one.
    fn advance_pieces(&mut self, params: [&[T]; 2], next: [&mut [T]; 2]) -> Option<bool> {
        match (params, next) {
            ([[], params], [[], next]) => Some(self.advance(params, next)),
            _ => None,
        }
    }

    /// Says what is wrong with the settings, before any step is taken.
    ///
    /// # Errors
    /// A rate that is not a positive number, and the like.
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The parameters to report, where they are not those of the last step but an average.
    fn answer(&self) -> Option<&[T]> {
        None
    }

    /// Whether [`Optimizer::answer`] follows the iterates: such an optimizer must see the steps as
    /// they are taken, with nothing after it.
    fn follows(&self) -> bool {
        false
    }
}

/// Refuses an average of iterates that what comes after it will change.
pub(crate) fn check_last<T: Scalar>(first: &impl Optimizer<T>, after: &str) -> Result<(), Error> {
    if !first.follows() {
        return Ok(());
    }
    let remedy = "it would average steps that are not taken; put Averaged::new around the whole";
    Err(Error::option("Averaged", format!("inside {after}"), remedy))
}

impl<T: Scalar, A: Optimizer<T>, B: Optimizer<T>> Optimizer<T> for (A, B) {
    fn step(&mut self, params: &[T], step: &mut [T]) {
        self.0.step(params, step);
        self.1.step(params, step);
    }
    fn advance(&mut self, params: &[T], next: &mut [T]) -> bool {
        self.0.step(params, next);
        self.1.advance(params, next)
    }
    fn check(&self) -> Result<(), Error> {
        check_last(&self.0, "the first of a pair")?;
        self.0.check()?;
        self.1.check()
    }
    fn answer(&self) -> Option<&[T]> {
        self.1.answer()
    }
    fn follows(&self) -> bool {
        self.1.follows()
    }
}

/// Refuses a setting that is not a positive, finite number.
pub(crate) fn check_positive(name: &str, value: f64) -> Result<(), Error> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::option(name, value, "it must be a positive, finite number"))
}

/// Refuses a decay that keeps everything or less than nothing.
pub(crate) fn check_decay(name: &str, value: f64) -> Result<(), Error> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(Error::option(name, value, "it must lie in [0, 1)"))
}

/// Euclidean length.
pub(crate) fn norm<T: Scalar>(x: &[T]) -> f64 {
    square(x).sqrt()
}

/// The sum of the squares, in an order that does not depend on the machine.
pub(crate) fn square<T: Scalar>(x: &[T]) -> f64 {
    if x.len() > LONG {
        let (a, b) = x.split_at(x.len() / 2);
        let (a, b) = both(|| square(a), || square(b));
        return a + b;
    }
    dispatch(Square(x))
}

/// Sets all to 0.
pub(crate) fn clear<T: Scalar>(x: &mut [T]) {
    if x.len() > LONG {
        let (a, b) = x.split_at_mut(x.len() / 2);
        both(|| clear(a), || clear(b));
        return;
    }
    x.fill(T::default());
}

/// Longer passes over the parameters are shared among the threads of the pool.
pub(crate) const LONG: usize = 1 << 16;

struct Square<'a, T>(&'a [T]);

impl<T: Scalar> WithSimd for Square<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        const LANES: usize = 16;
        let (groups, rest) = self.0.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for group in groups {
            for (sum, x) in sums.iter_mut().zip(group) {
                *sum += x.to_f64() * x.to_f64();
            }
        }
        for (sum, x) in sums.iter_mut().zip(rest) {
            *sum += x.to_f64() * x.to_f64();
        }
        sums.iter().sum()
    }
}

/// `next = params + next`, and whether that is finite everywhere.
struct Add<'a, T> {
    params: &'a [T],
    next: &'a mut [T],
}

impl<T: Scalar> WithSimd for Add<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        let mut finite = true;
        for (next, &p) in self.next.iter_mut().zip(self.params) {
            *next = p + *next;
            finite &= next.is_finite();
        }
        finite
    }
}
