//! `Vimco`: the importance-weighted bound from values of the model alone.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::score_function::ScoredDraws;
use super::weights::leave_one_out;
use super::{GradientEstimator, NonFinite, Objective, check_draws};
use crate::error::Error;
use crate::family::Scored;
use crate::model::Model;
use crate::scalar::Scalar;

/// The gradient of the importance-weighted bound `E[L]`, `L = log mean_k w_k`, by the score function
/// with a baseline for each draw from the others (Mnih and Rezende 2016). With `L_k` the bound where
/// the mean of the other log weights stands for `log w_k`, and `v_k = w_k / sum_j w_j`,
///
/// `grad_lambda = sum_k (L - L_k - v_k) grad_lambda log q(z_k)`,
/// `grad_theta = sum_k v_k grad_theta log p(x, z_k)`.
///
/// Needs any [`Model`] and a [`Scored`] family: labels, or coordinates without a gradient. All `L_k`
/// together cost as much as `L`. What it climbs is not the ELBO: see
/// [`Step::objective`](crate::Step).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vimco {
    /// Draws a step, two or more, all in one logarithm.
    pub draws: usize,
}

impl<T, M, Q> GradientEstimator<M, Q, T> for Vimco
where
    T: Scalar,
    M: Model<T>,
    Q: Scored<T>,
{
    type Scratch = ScoredDraws<T>;

    fn check(&self, _: &M, _: &Q) -> Result<(), Error> {
        let why = "VIMCO compares each draw with the others, so take 2 or more";
        check_draws(self.draws, 2, why)
    }

    fn objective(&self) -> Objective {
        Objective::Weighted { draws: self.draws, alpha: 0.0 }
    }

    fn last_objective(&self, scratch: &Self::Scratch) -> Option<f64> {
        Some(scratch.objective)
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
        b.log_w.clear();
        b.log_w.extend(b.log_p.iter().zip(&b.log_q).map(|(p, q)| p - q));
        b.shares.resize(draws, T::default());
        b.objective = leave_one_out(&b.log_w, |k, gain, share| {
            b.shares[k] = T::from_f64(share);
            q.add_score(&b.z[k * d..(k + 1) * d], T::from_f64(gain - share), grad_lambda);
        });
        if model.n_theta() > 0 {
            model.add_theta_grad(&b.z, &b.shares, grad_theta);
        }
        Ok(b.log_w.iter().sum::<f64>() / draws as f64)
    }
}
