//! `ScoreFunction`: the gradient that needs only values of the model, with a baseline for free.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{GradientEstimator, NonFinite, check_draws};
use crate::error::Error;
use crate::family::Scored;
use crate::model::Model;
use crate::scalar::Scalar;

/// The score-function gradient (Ranganath, Gerrish and Blei 2014) with the other draws as baseline
/// (Kool, van Hoof and Welling 2019): with `f_s = log p(x, z_s) - log q(z_s)`,
///
/// `grad_lambda = 1/(S - 1) sum_s (f_s - mean f) grad_lambda log q(z_s)`.
///
/// Needs any [`Model`] and a [`Scored`] family: no gradient in `z`. `theta` follows
/// [`Model::add_theta_grad`]. Where `q` is the posterior all `f_s` are equal and the noise vanishes;
/// elsewhere it grows with the dimension, far faster than that of the path estimators.
///
/// ```
/// use elbo::{density, from_fn, GradientEstimator, MeanFieldGaussian, Purpose, ScoreFunction, Space};
/// let mut space = Space::new();
/// let x = space.real("x");
/// let model = from_fn(space, move |z| density::normal(z[x], 1.0, 2.0));
/// let answer = MeanFieldGaussian::new(vec![1.0], &[2.0])?;
/// let (mut estimator, mut scratch) = (ScoreFunction { draws: 8 }, Default::default());
/// let (mut grad, mut rng) = ([0.0; 2], elbo::stream(1, Purpose::Step, 0));
/// let elbo = estimator.estimate(&model, &answer, &mut rng, &mut scratch, &mut [], &mut grad);
/// assert!(elbo.is_ok_and(|e| e.abs() < 1e-12) && grad.iter().all(|g| g.abs() < 1e-12));
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreFunction {
    /// Draws a step, two or more.
    pub draws: usize,
}

/// Buffers of the score-function estimator.
#[derive(Debug, Default)]
pub struct ScoredDraws<T> {
    pub(super) z: Vec<T>,
    pub(super) log_p: Vec<f64>,
    pub(super) log_q: Vec<f64>,
    pub(super) log_w: Vec<f64>,
    pub(super) shares: Vec<T>,
    pub(super) objective: f64,
}

impl<T: Scalar> ScoredDraws<T> {
    /// Draws from `q`, with both log densities.
    pub(super) fn draw<M: Model<T>, Q: Scored<T>>(
        &mut self,
        draws: usize,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
    ) -> Result<(), NonFinite> {
        let d = q.dim();
        self.z.resize(d * draws, T::default());
        self.log_p.resize(draws, 0.0);
        self.log_q.resize(draws, 0.0);
        q.sample(rng, &mut self.z);
        model.log_joint_batch(&self.z, &mut self.log_p);
        q.log_prob_batch(&self.z, &mut self.log_q);
        match NonFinite::find(d, &self.z, &self.log_p, &self.log_q, &[]) {
            Some(bad) => Err(bad),
            None => Ok(()),
        }
    }
}

impl<T, M, Q> GradientEstimator<M, Q, T> for ScoreFunction
where
    T: Scalar,
    M: Model<T>,
    Q: Scored<T>,
{
    type Scratch = ScoredDraws<T>;

    fn check(&self, _: &M, _: &Q) -> Result<(), Error> {
        check_draws(
            self.draws,
            2,
            "the score function compares each draw with the others, so take 2 or more",
        )
    }

    fn estimate(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        b: &mut Self::Scratch,
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    ) -> Result<f64, NonFinite> {
        let (d, draws) = (q.dim(), self.draws);
        b.draw(draws, model, q, rng)?;
        let total: f64 = b.log_p.iter().zip(&b.log_q).map(|(p, q)| p - q).sum();
        let elbo = total / draws as f64;
        for s in 0..draws {
            let above = b.log_p[s] - b.log_q[s] - elbo;
            let weight = T::from_f64(above / (draws as f64 - 1.0));
            q.add_score(&b.z[s * d..(s + 1) * d], weight, grad_lambda);
        }
        if model.n_theta() > 0 {
            b.shares.clear();
            b.shares.resize(draws, T::from_f64(1.0 / draws as f64));
            model.add_theta_grad(&b.z, &b.shares, grad_theta);
        }
        Ok(elbo)
    }
}
