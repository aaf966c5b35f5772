//! One move uphill on the ELBO: `Ascent`, and two moves in turn.

mod anderson;
mod exact;
mod fixed_draws;
mod gradient;
mod laplace;
mod minibatch;
mod squarem;

pub use anderson::Anderson;
pub use exact::{EStep, MStep, NaturalStep};
pub use fixed_draws::{FixedDraws, FixedNoise, LinearResponse};
pub use gradient::GradientAscent;
pub use laplace::Laplace;
pub use minibatch::Minibatch;
pub use squarem::Squarem;

use std::any::Any;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::estimator::NonFinite;
use crate::lossless;
use crate::scalar::Scalar;
use crate::warning::Warning;

/// What one step did, as the trace keeps it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The ELBO in nats: exact, or an estimate from the step's own draws; `None` where the move
    /// does not know it or was not asked ([`Options::elbo_every`](crate::Options::elbo_every)).
    #[serde(with = "lossless::maybe")]
    pub elbo: Option<f64>,
    /// What was climbed, an estimate from the step's own draws, where that is not the ELBO: a bound
    /// of weighted draws, a relaxation ([`Objective`](crate::Objective)).
    #[serde(default, with = "lossless::maybe")]
    pub objective: Option<f64>,
    /// The ELBO between the two moves of a pair, where the first knows it: after the E-step of EM.
    #[serde(default, with = "lossless::maybe")]
    pub between: Option<f64>,
    /// An estimate of what is still to be gained, in nats, where the move knows more of that than its
    /// ELBOs tell: a move that looks ahead sees how fast the parameters slow down.
    #[serde(default, with = "lossless::maybe")]
    pub left: Option<f64>,
    /// Euclidean length of the gradient, where there is one.
    #[serde(with = "lossless::maybe")]
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

    /// Looks at the place where the run would start, once, before the first step.
    ///
    /// # Errors
    /// A log joint that is finite at no draw of `q`, or does not depend on a coordinate.
    fn start(&mut self, _model: &mut M, _q: &mut Q, _rng: &mut dyn Rng) -> Result<(), Error> {
        Ok(())
    }

    /// What to tell the user about the pairing that is no reason to refuse it.
    fn warnings(&self, _model: &M, _q: &Q) -> Vec<Warning> {
        Vec::new()
    }

    /// What to tell the user once the run is over.
    fn closing_warnings(&self) -> Vec<Warning> {
        Vec::new()
    }

    /// What the move is called in a message.
    fn name(&self) -> String {
        short_name::<Self>()
    }

    /// Whether the move says by itself when it has arrived (`Step::converged`), so that it needs
    /// no stop rule.
    fn finishes(&self) -> bool {
        false
    }

    /// Whether the move is exact: it says what the ELBO is and never lowers it. The loop checks
    /// that after every step, whatever the stop rule.
    fn exact(&self) -> bool {
        false
    }

    /// What the first block of the move is called in a message: of a pair, its first move.
    fn first_name(&self) -> String {
        self.name()
    }

    /// Whether [`Ascent::probe`] can compare two answers, as the paired stop rule needs.
    fn can_probe(&self) -> bool {
        false
    }

    /// Moves `model` and `q` uphill once.
    ///
    /// # Errors
    /// An exact move that cannot go on, with the reason.
    fn step(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<Step, Error>;

    /// Moves exactly as [`Ascent::step`] would, to the same bits, but need not say what the ELBO is:
    /// for steps whose ELBO nobody reads. Override where that is less work.
    ///
    /// # Errors
    /// As [`Ascent::step`].
    fn step_without_elbo(
        &mut self,
        model: &mut M,
        q: &mut Q,
        rng: &mut dyn Rng,
    ) -> Result<Step, Error> {
        self.step(model, q, rng)
    }

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
    fn start(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<(), Error> {
        self.0.start(model, q, rng)?;
        self.1.start(model, q, rng)
    }
    fn warnings(&self, model: &M, q: &Q) -> Vec<Warning> {
        let mut all = self.0.warnings(model, q);
        all.append(&mut self.1.warnings(model, q));
        all
    }
    fn closing_warnings(&self) -> Vec<Warning> {
        let mut all = self.0.closing_warnings();
        all.append(&mut self.1.closing_warnings());
        all
    }
    fn name(&self) -> String {
        format!("({}, {})", self.0.name(), self.1.name())
    }
    fn finishes(&self) -> bool {
        self.0.finishes() && self.1.finishes()
    }
    fn exact(&self) -> bool {
        self.0.exact() && self.1.exact()
    }
    fn first_name(&self) -> String {
        self.0.first_name()
    }
    fn can_probe(&self) -> bool {
        self.0.can_probe() || self.1.can_probe()
    }
    fn step(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<Step, Error> {
        let first = self.0.step(model, q, rng)?;
        let second = self.1.step(model, q, rng)?;
        joined(self, first, second)
    }
    fn step_without_elbo(
        &mut self,
        model: &mut M,
        q: &mut Q,
        rng: &mut dyn Rng,
    ) -> Result<Step, Error> {
        let first = self.0.step_without_elbo(model, q, rng)?;
        let second = self.1.step_without_elbo(model, q, rng)?;
        joined(self, first, second)
    }
    fn answer(&self, model: &mut M, q: &mut Q) {
        self.0.answer(model, q);
        self.1.answer(model, q);
    }
    fn probe(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng, terms: &mut [f64]) -> bool {
        self.0.probe(model, q, rng, terms) || self.1.probe(model, q, rng, terms)
    }
}

/// What two moves one after the other did.
fn joined<T: Scalar, M, Q, A: Ascent<M, Q, T>, B: Ascent<M, Q, T>>(
    pair: &(A, B),
    first: Step,
    second: Step,
) -> Result<Step, Error> {
    if pair.1.exact()
        && let (Some(before), Some(now)) = (first.elbo, second.elbo)
        && pair.0.exact()
    {
        not_below(before, now, || pair.1.name())?;
    }
    Ok(Step {
        elbo: second.elbo.or(first.elbo),
        objective: second.objective.or(first.objective),
        between: first.elbo,
        left: second.left.or(first.left),
        grad_norm: second.grad_norm.or(first.grad_norm),
        rejected: second.rejected.or(first.rejected),
        converged: first.converged.and(second.converged),
    })
}

impl<T: Scalar, M, Q> Ascent<M, Q, T> for Box<dyn Ascent<M, Q, T>> {
    fn check(&self, model: &M, q: &Q) -> Result<(), Error> {
        (**self).check(model, q)
    }
    fn start(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<(), Error> {
        (**self).start(model, q, rng)
    }
    fn warnings(&self, model: &M, q: &Q) -> Vec<Warning> {
        (**self).warnings(model, q)
    }
    fn closing_warnings(&self) -> Vec<Warning> {
        (**self).closing_warnings()
    }
    fn name(&self) -> String {
        (**self).name()
    }
    fn finishes(&self) -> bool {
        (**self).finishes()
    }
    fn exact(&self) -> bool {
        (**self).exact()
    }
    fn first_name(&self) -> String {
        (**self).first_name()
    }
    fn can_probe(&self) -> bool {
        (**self).can_probe()
    }
    fn step(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<Step, Error> {
        (**self).step(model, q, rng)
    }
    fn step_without_elbo(
        &mut self,
        model: &mut M,
        q: &mut Q,
        rng: &mut dyn Rng,
    ) -> Result<Step, Error> {
        (**self).step_without_elbo(model, q, rng)
    }
    fn answer(&self, model: &mut M, q: &mut Q) {
        (**self).answer(model, q);
    }
    fn probe(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng, terms: &mut [f64]) -> bool {
        (**self).probe(model, q, rng, terms)
    }
}

/// By how much of `max(1, |ELBO|)` rounding may lower an exact ELBO.
const ROUNDING: f64 = 1e-10;

/// An error that names the block unless the ELBO is as high as it was.
pub(crate) fn not_below(
    before: f64,
    now: f64,
    block: impl FnOnce() -> String,
) -> Result<(), Error> {
    if now >= before - ROUNDING * before.abs().max(1.0) {
        return Ok(());
    }
    let reason = format!(
        "the ELBO went from {before} to {now}, and an exact move never descends: its update is wrong, or the data are too extreme for it"
    );
    Err(Error::Ascent { block: block(), reason })
}

/// The name of a type without the paths of its modules.
pub(crate) fn short_name<A: ?Sized>() -> String {
    let full = std::any::type_name::<A>();
    let mut name = String::new();
    for part in full.split_inclusive(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        name += part.rsplit("::").next().unwrap_or(part);
    }
    name
}

/// The buffers of the right type, made when there are none yet.
pub(crate) fn buffers_of<B: Default + Send + 'static>(
    slot: &mut Option<Box<dyn Any + Send>>,
) -> &mut B {
    if !slot.as_ref().is_some_and(|b| b.is::<B>()) {
        *slot = Some(Box::new(B::default()));
    }
    match slot.as_mut().and_then(|b| b.downcast_mut::<B>()) {
        Some(buffers) => buffers,
        None => unreachable!("the buffers were just made"),
    }
}
