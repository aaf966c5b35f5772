//! One move uphill on the ELBO: `Ascent`, and two moves in turn.

mod fixed_draws;
mod gradient;
mod laplace;

pub use fixed_draws::{FixedDraws, FixedNoise, LinearResponse};
pub use gradient::GradientAscent;
pub use laplace::Laplace;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::estimator::NonFinite;
use crate::scalar::Scalar;

/// What one step did, as the trace keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The ELBO in nats: exact, or an estimate from the step's own draws; `None` where the move
    /// does not know it.
    pub elbo: Option<f64>,
    /// Euclidean length of the gradient, where there is one.
    pub grad_norm: Option<f64>,
    /// The draw that was not finite, if one was: then nothing has moved.
    pub rejected: Option<Box<NonFinite>>,
    /// The reason of a move that knows by itself when it has arrived.
    pub converged: Option<String>,
}

/// One move uphill on the ELBO, exact or stochastic, in `theta`, in `q` or in both.
///
/// A pair of moves is a move: first one, then the other.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a move on this model and this family",
    label = "this is not an `Ascent`",
    note = "an estimator and an optimizer make a move: `GradientAscent::new(StickingTheLanding {{ draws: 10 }}, Averaged::new(DoWG::new()))`"
)]
pub trait Ascent<M, Q, T: Scalar = f64> {
    /// Says what is wrong with the pairing, before any step is taken.
    ///
    /// # Errors
    /// Dimensions or supports that do not match, settings that make no sense.
    fn check(&self, _model: &M, _q: &Q) -> Result<(), Error> {
        Ok(())
    }

    /// Moves `model` and `q` uphill once.
    ///
    /// # Errors
    /// An exact move that cannot go on, with the reason.
    fn step(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<Step, Error>;

    /// Puts into `model` and `q` what the move would answer now, where that is not simply the last
    /// step (an average of the iterates).
    fn answer(&self, _model: &mut M, _q: &mut Q) {}

    /// Writes `log p - log q` of the current answer at `terms.len()` draws of `q` made from `rng`,
    /// and returns whether it could: the same `rng` at another time gives draws from the same
    /// noise, so that two answers can be compared draw by draw.
    fn probe(
        &mut self,
        _model: &mut M,
        _q: &mut Q,
        _rng: &mut dyn Rng,
        _terms: &mut [f64],
    ) -> bool {
        false
    }
}

impl<T: Scalar, M, Q, A: Ascent<M, Q, T>, B: Ascent<M, Q, T>> Ascent<M, Q, T> for (A, B) {
    fn check(&self, model: &M, q: &Q) -> Result<(), Error> {
        self.0.check(model, q)?;
        self.1.check(model, q)
    }
    fn step(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<Step, Error> {
        let first = self.0.step(model, q, rng)?;
        let second = self.1.step(model, q, rng)?;
        Ok(Step {
            elbo: second.elbo.or(first.elbo),
            grad_norm: second.grad_norm.or(first.grad_norm),
            rejected: second.rejected.or(first.rejected),
            converged: first.converged.and(second.converged),
        })
    }
    fn answer(&self, model: &mut M, q: &mut Q) {
        self.0.answer(model, q);
        self.1.answer(model, q);
    }
    fn probe(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng, terms: &mut [f64]) -> bool {
        self.0.probe(model, q, rng, terms) || self.1.probe(model, q, rng, terms)
    }
}

impl<T: Scalar, M, Q> Ascent<M, Q, T> for Box<dyn Ascent<M, Q, T>> {
    fn check(&self, model: &M, q: &Q) -> Result<(), Error> {
        (**self).check(model, q)
    }
    fn step(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<Step, Error> {
        (**self).step(model, q, rng)
    }
    fn answer(&self, model: &mut M, q: &mut Q) {
        (**self).answer(model, q);
    }
    fn probe(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng, terms: &mut [f64]) -> bool {
        (**self).probe(model, q, rng, terms)
    }
}
