//! The path estimators: `Reparameterization`, and `StickingTheLanding` with no noise at the answer.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{GradientEstimator, NonFinite, all_finite, check_draws};
use crate::error::Error;
use crate::family::{Reparameterized, Smooth};
use crate::model::Differentiable;
use crate::scalar::Scalar;

/// The gradient through the draws: `z = T_lambda(eps)`, mean of
/// `grad_lambda [log p(x, z) - log q_lambda(z)]` (Kingma and Welling 2014).
///
/// Needs a [`Differentiable`] model and a [`Reparameterized`] family.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reparameterization {
    /// Draws a step.
    pub draws: usize,
}

/// The path gradient alone: the score of `q`, whose mean is zero, is left out, so that the noise
/// vanishes where `q` is the posterior (Roeder, Wu and Duvenaud 2017).
///
/// Needs a [`Differentiable`] model and a [`Smooth`] family.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StickingTheLanding {
    /// Draws a step.
    pub draws: usize,
}

/// Buffers of the path estimators.
#[derive(Debug, Default)]
pub struct Draws<T, R> {
    pub(super) eps: Vec<T>,
    pub(super) z: Vec<T>,
    pub(super) dz: Vec<T>,
    pub(super) dlog_q: Vec<T>,
    score: Vec<T>,
    pub(super) log_p: Vec<f64>,
    pub(super) log_q: Vec<f64>,
    residuals: R,
}

impl<T: Scalar, R: Default + Send + 'static> Draws<T, R> {
    /// Draws, and says where.
    pub(super) fn draw<Q: Reparameterized<T, Residuals = R>>(
        &mut self,
        draws: usize,
        q: &Q,
        rng: &mut dyn Rng,
    ) {
        let d = q.dim();
        self.eps.resize(q.noise_dim() * draws, T::default());
        self.z.resize(d * draws, T::default());
        self.dz.resize(d * draws, T::default());
        self.dlog_q.resize(draws, T::default());
        self.log_q.resize(draws, 0.0);
        q.draw_noise(rng, &mut self.eps);
        q.transport(&self.eps, &mut self.z, &mut self.log_q, &mut self.residuals);
    }

    /// Values and gradients of the model at the draws; the mean of `log p - log q`.
    pub(super) fn evaluate<M: Differentiable<T>>(
        &mut self,
        model: &M,
        grad_theta: &mut [T],
    ) -> Result<f64, NonFinite> {
        let draws = self.log_q.len();
        self.log_p.resize(draws, 0.0);
        model.log_joint_grad_batch(&self.z, &mut self.log_p, &mut self.dz, grad_theta);
        let dim = self.z.len() / draws.max(1);
        if let Some(bad) = NonFinite::find(dim, &self.z, &self.log_p, &self.log_q, &self.dz) {
            return Err(bad);
        }
        let total: f64 = self.log_p.iter().zip(&self.log_q).map(|(p, q)| p - q).sum();
        Ok(total / draws as f64)
    }

    /// Gradients of the model at the draws, and nothing else unless something is not finite.
    fn differentiate<M: Differentiable<T>>(
        &mut self,
        model: &M,
        grad_theta: &mut [T],
    ) -> Result<(), NonFinite> {
        model.grad_batch(&self.z, self.log_q.len(), &mut self.dz, grad_theta);
        if all_finite(&self.dz) && self.log_q.iter().all(|q| q.is_finite()) {
            return Ok(());
        }
        grad_theta.fill(T::default());
        self.evaluate(model, grad_theta).map(drop)
    }
}

impl<T: Scalar, R: Default + Send + 'static> Draws<T, R> {
    /// Takes the mean over the draws to `lambda`, and divides by their number where fewer numbers
    /// have to be: `grad_lambda` arrives zeroed.
    pub(super) fn pull_back<Q: Reparameterized<T, Residuals = R>>(
        &mut self,
        q: &Q,
        grad_lambda: &mut [T],
    ) {
        let share = T::from_f64(1.0 / self.dlog_q.len() as f64);
        let after = grad_lambda.len() < self.dz.len();
        if !after {
            self.dz.iter_mut().for_each(|g| *g *= share);
            self.dlog_q.iter_mut().for_each(|g| *g *= share);
        }
        q.pull_back(&self.eps, &self.residuals, &self.dz, &self.dlog_q, grad_lambda);
        if after {
            grad_lambda.iter_mut().for_each(|g| *g *= share);
        }
    }
}

impl<T: Scalar, R: Default + Send + 'static> Draws<T, R> {
    /// Makes of the gradients at the draws those of `log p - log q` along the path alone.
    pub(super) fn leave_path<Q: Smooth<T, Residuals = R>>(&mut self, q: &Q) {
        self.score.resize(self.dz.len(), T::default());
        q.log_prob_grad(&self.eps, &self.residuals, &self.z, &mut self.score);
        self.dz.iter_mut().zip(&self.score).for_each(|(g, score)| *g -= *score);
        self.dlog_q.fill(T::default());
    }
}

impl Reparameterization {
    /// Takes the gradients at the draws to those in `lambda`.
    fn finish<T: Scalar, Q: Reparameterized<T>>(
        self,
        q: &Q,
        s: &mut Draws<T, Q::Residuals>,
        grad_lambda: &mut [T],
    ) {
        s.dlog_q.fill(T::from_f64(-1.0));
        s.pull_back(q, grad_lambda);
    }
}

impl StickingTheLanding {
    /// The same, without the score of `q`.
    fn finish<T: Scalar, Q: Smooth<T>>(
        self,
        q: &Q,
        s: &mut Draws<T, Q::Residuals>,
        grad_lambda: &mut [T],
    ) {
        s.leave_path(q);
        s.pull_back(q, grad_lambda);
    }
}

impl<T, M, Q> GradientEstimator<M, Q, T> for Reparameterization
where
    T: Scalar,
    M: Differentiable<T>,
    Q: Reparameterized<T>,
{
    type Scratch = Draws<T, Q::Residuals>;

    fn check(&self, _: &M, _: &Q) -> Result<(), Error> {
        check_draws(self.draws, 1, "a gradient needs at least one draw")
    }

    fn estimate(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        s: &mut Self::Scratch,
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    ) -> Result<f64, NonFinite> {
        s.draw(self.draws, q, rng);
        let elbo = s.evaluate(model, grad_theta)?;
        self.finish(q, s, grad_lambda);
        Ok(elbo)
    }

    fn gradient(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        s: &mut Self::Scratch,
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    ) -> Result<(), NonFinite> {
        s.draw(self.draws, q, rng);
        s.differentiate(model, grad_theta)?;
        self.finish(q, s, grad_lambda);
        Ok(())
    }
}

impl<T, M, Q> GradientEstimator<M, Q, T> for StickingTheLanding
where
    T: Scalar,
    M: Differentiable<T>,
    Q: Smooth<T>,
{
    type Scratch = Draws<T, Q::Residuals>;

    fn check(&self, _: &M, _: &Q) -> Result<(), Error> {
        check_draws(self.draws, 1, "a gradient needs at least one draw")
    }

    fn estimate(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        s: &mut Self::Scratch,
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    ) -> Result<f64, NonFinite> {
        s.draw(self.draws, q, rng);
        let elbo = s.evaluate(model, grad_theta)?;
        self.finish(q, s, grad_lambda);
        Ok(elbo)
    }

    fn gradient(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        s: &mut Self::Scratch,
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    ) -> Result<(), NonFinite> {
        s.draw(self.draws, q, rng);
        s.differentiate(model, grad_theta)?;
        self.finish(q, s, grad_lambda);
        Ok(())
    }
}
