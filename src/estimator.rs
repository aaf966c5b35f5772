//! How the gradient of the ELBO is estimated: `GradientEstimator`.

mod closed_form_kl;
mod disarm;
mod enumeration;
mod gumbel_softmax;
mod importance_weighted;
mod objective;
mod per_datum;
mod reparameterization;
mod score_function;
mod vimco;
mod weights;

pub use closed_form_kl::{ClosedFormKl, KlDraws, Terms};
pub use disarm::{Disarm, PairedDraws};
pub use enumeration::{Enumeration, States};
pub use gumbel_softmax::{GumbelSoftmax, RelaxedDraws};
pub use importance_weighted::{DoublyReparameterized, ImportanceWeighted, WeightedDraws};
pub use objective::Objective;
pub use per_datum::{LocalDraws, PerDatum, Weighting};
pub use reparameterization::{Draws, Reparameterization, StickingTheLanding};
pub use score_function::{ScoreFunction, ScoredDraws};
pub use vimco::Vimco;

use pulp::{Simd, WithSimd};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::lossless;
use crate::scalar::Scalar;
use crate::simd::dispatch;
use crate::warning::Warning;

/// Estimates `grad_(theta, lambda)` of what it climbs, the ELBO unless [`GradientEstimator::objective`]
/// says otherwise, and the ELBO itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not estimate gradients for this model and this family",
    label = "the first part of this move is not a `GradientEstimator`",
    note = "give `GradientAscent::new` an estimator first (`Reparameterization`, `StickingTheLanding` or `ScoreFunction`) and an optimizer second"
)]
pub trait GradientEstimator<M, Q, T: Scalar = f64> {
    /// Buffers, made at the first step and reused.
    type Scratch: Default + Send + 'static;

    /// Says what is wrong with the settings, before any step is taken.
    ///
    /// # Errors
    /// Settings that make no sense, such as no draws.
    fn check(&self, _model: &M, _q: &Q) -> Result<(), Error> {
        Ok(())
    }

    /// What is climbed. The paired stop rule compares answers by it.
    fn objective(&self) -> Objective {
        Objective::Elbo
    }

    /// What the last estimate found the objective to be, where that is not the ELBO.
    fn last_objective(&self, _scratch: &Self::Scratch) -> Option<f64> {
        None
    }

    /// Fills `terms` with independent estimates of what is climbed, whose means a comparison of answers
    /// looks at, and returns true; false where draws and [`GradientEstimator::objective`] say enough.
    fn compare(
        &mut self,
        _model: &M,
        _q: &Q,
        _rng: &mut dyn Rng,
        _scratch: &mut Self::Scratch,
        _terms: &mut [f64],
    ) -> bool {
        false
    }

    /// What to tell the user about the settings that is no reason to refuse them.
    fn warnings(&self, _model: &M, _q: &Q) -> Vec<Warning> {
        Vec::new()
    }

    /// What to tell the user about the settings once the run is over.
    fn closing_warnings(&self) -> Vec<Warning> {
        Vec::new()
    }

    /// Adds the estimate to the two gradients, which arrive zeroed, and returns the ELBO's: an
    /// estimate of the ELBO also where something else is climbed.
    ///
    /// # Errors
    /// The draw at which the model was not finite.
    fn estimate(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        scratch: &mut Self::Scratch,
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    ) -> Result<f64, NonFinite>;

    /// The gradients of [`GradientEstimator::estimate`] to the same bits, from the same randomness,
    /// without the ELBO: for steps whose ELBO nobody reads. Override where that is less work.
    ///
    /// # Errors
    /// The draw at which the model was not finite, with all that `estimate` would say of it.
    fn gradient(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        scratch: &mut Self::Scratch,
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    ) -> Result<(), NonFinite> {
        self.estimate(model, q, rng, scratch, grad_theta, grad_lambda).map(drop)
    }
}

/// The draw that spoiled a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NonFinite {
    /// Which of the step's draws.
    pub draw: usize,
    /// The point in the model's own coordinates; empty where every draw was finite and only the
    /// gradient summed over them was not.
    #[serde(with = "lossless::many")]
    pub z: Vec<f64>,
    /// `log p(x, z)` there.
    #[serde(with = "lossless::one")]
    pub log_joint: f64,
    /// `log q(z)` there.
    #[serde(with = "lossless::one")]
    pub log_q: f64,
    /// The first coordinate of the gradient that is not finite, where the log joint is; of the
    /// gradient in `[theta | lambda]` where `z` is empty.
    pub coordinate: Option<usize>,
}

impl NonFinite {
    /// The first draw whose log joint, log density or gradient is not finite; `grad` may be empty.
    pub fn find<T: Scalar>(
        dim: usize,
        z: &[T],
        log_p: &[f64],
        log_q: &[f64],
        grad: &[T],
    ) -> Option<NonFinite> {
        let values = || log_p.iter().chain(log_q).all(|value| value.is_finite());
        if all_finite(grad) && values() {
            return None;
        }
        let dim = dim.max(1);
        for s in 0..log_p.len() {
            let slope = grad.get(s * dim..(s + 1) * dim).unwrap_or(&[]);
            let coordinate = slope.iter().position(|g| !g.is_finite());
            if log_p[s].is_finite() && log_q[s].is_finite() && coordinate.is_none() {
                continue;
            }
            return Some(NonFinite {
                draw: s,
                z: z[s * dim..(s + 1) * dim].iter().map(|z| z.to_f64()).collect(),
                log_joint: log_p[s],
                log_q: log_q[s],
                coordinate,
            });
        }
        None
    }
}

/// Whether every number is finite.
pub(crate) fn all_finite<T: Scalar>(x: &[T]) -> bool {
    dispatch(Finite(x))
}

struct Finite<'a, T>(&'a [T]);

impl<T: Scalar> WithSimd for Finite<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        self.0.iter().fold(true, |finite, x| finite & x.is_finite())
    }
}

/// Refuses an estimator without draws.
pub(crate) fn check_draws(draws: usize, least: usize, why: &str) -> Result<(), Error> {
    if draws >= least {
        return Ok(());
    }
    Err(Error::option("draws", draws, why))
}
