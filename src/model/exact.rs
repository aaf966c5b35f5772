//! What the exact moves ask of a model: `Conjugate` for the best `q`, `Maximize` for the best `theta`.

use crate::error::Error;

/// A model for which the best `q`, all else fixed, is known in closed form.
///
/// [`EStep`](crate::EStep) and [`NaturalStep`](crate::NaturalStep) are moves on every such model.
#[diagnostic::on_unimplemented(
    message = "the best `{Q}` for `{Self}` is not known in closed form",
    label = "this model is not `Conjugate` to this family",
    note = "`EStep` and `NaturalStep` need a model that implements `Conjugate<Q>`; `GradientAscent` moves any family uphill by its gradient"
)]
pub trait Conjugate<Q> {
    /// Moves the natural parameters of `q` the fraction `rate` of the way to their optimum and
    /// returns the ELBO there, with every constant. `rate = 1` is exact coordinate ascent; smaller
    /// ones are steps along the natural gradient (Hoffman, Blei, Wang and Paisley 2013).
    ///
    /// # Errors
    /// A block that cannot go on, by name.
    fn natural_step(&self, q: &mut Q, rate: f64) -> Result<f64, Error>;
}

/// A model for which the best `theta`, given `q`, is known in closed form.
///
/// [`MStep`](crate::MStep) is a move on every such model.
#[diagnostic::on_unimplemented(
    message = "the best parameters of `{Self}` for a given `{Q}` are not known in closed form",
    label = "this model is not `Maximize` for this family",
    note = "`MStep` needs a model that implements `Maximize<Q>`; `GradientAscent` moves `theta` uphill by its gradient"
)]
pub trait Maximize<Q> {
    /// Replaces `theta` by its best value given `q` and returns the ELBO there, with every
    /// constant.
    ///
    /// # Errors
    /// A block that has no best value, such as a component that has collapsed, by name.
    fn maximize(&mut self, q: &Q) -> Result<f64, Error>;
}
