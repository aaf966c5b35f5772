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

use crate::error::Error;
use crate::scalar::Scalar;

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
    x.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>().sqrt()
}
