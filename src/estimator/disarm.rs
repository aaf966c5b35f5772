//! `Disarm`: pairs of opposite coins, for latents that are 0 or 1.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{GradientEstimator, NonFinite};
use crate::error::Error;
use crate::family::Binary;
use crate::model::Model;
use crate::noise::uniform;
use crate::scalar::Scalar;

/// The gradient from antithetic pairs of independent coins (DisARM: Dong, Mnih and Tucker 2020;
/// U2G: Yin and others 2020). With uniform `u_i`, logits `phi_i`, `b_i = [1 - u_i < sigmoid(phi_i)]`,
/// `c_i = [u_i < sigmoid(phi_i)]` and `f = log p(x, .) - log q`,
///
/// `grad_i = (f(b) - f(c)) / 2 * (-1)^(c_i) [b_i != c_i] sigmoid(|phi_i|)`,
///
/// the mean over `pairs`. Each pair evaluates the model twice. Coordinates whose two coins agree
/// add no noise, which is where it gains on [`ScoreFunction`](super::ScoreFunction).
///
/// Needs any [`Model`] over labels 0 and 1 and a [`Binary`] family. `theta` follows
/// [`Model::add_theta_grad`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disarm {
    /// Pairs of draws a step.
    pub pairs: usize,
}

/// Buffers of the paired estimator: draw `2 s` is `b` and `2 s + 1` is `c`.
#[derive(Debug, Default)]
pub struct PairedDraws<T> {
    z: Vec<T>,
    log_p: Vec<f64>,
    log_q: Vec<f64>,
    shares: Vec<T>,
}

impl<T, M, Q> GradientEstimator<M, Q, T> for Disarm
where
    T: Scalar,
    M: Model<T>,
    Q: Binary<T>,
{
    type Scratch = PairedDraws<T>;

    fn check(&self, _: &M, _: &Q) -> Result<(), Error> {
        if self.pairs > 0 {
            return Ok(());
        }
        Err(Error::option("pairs", self.pairs, "a gradient needs at least one pair of draws"))
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
        let (d, draws) = (q.dim(), 2 * self.pairs);
        b.z.resize(d * draws, T::default());
        b.log_p.resize(draws, 0.0);
        b.log_q.resize(draws, 0.0);
        let coin = |heads: bool| T::from_f64(f64::from(u8::from(heads)));
        for pair in b.z.chunks_exact_mut(2 * d.max(1)) {
            let (first, second) = pair.split_at_mut(d);
            for (i, (b, c)) in first.iter_mut().zip(second).enumerate() {
                let (u, p) = (uniform(rng), q.chance(i));
                *b = coin(1.0 - u < p);
                *c = coin(u < p);
            }
        }
        model.log_joint_batch(&b.z, &mut b.log_p);
        q.log_prob_batch(&b.z, &mut b.log_q);
        if let Some(bad) = NonFinite::find(d, &b.z, &b.log_p, &b.log_q, &[]) {
            return Err(bad);
        }
        let f = |s: usize| b.log_p[s] - b.log_q[s];
        for (s, pair) in b.z.chunks_exact(2 * d.max(1)).enumerate() {
            let half = 0.5 * (f(2 * s) - f(2 * s + 1)) / self.pairs as f64;
            let (first, second) = pair.split_at(d);
            for (i, (b, c)) in first.iter().zip(second).enumerate() {
                if b != c {
                    let p = q.chance(i);
                    let sign = if *c > T::default() { -1.0 } else { 1.0 };
                    grad_lambda[i] += T::from_f64(half * sign * p.max(1.0 - p));
                }
            }
        }
        if model.n_theta() > 0 {
            b.shares.clear();
            b.shares.resize(draws, T::from_f64(1.0 / draws as f64));
            model.add_theta_grad(&b.z, &b.shares, grad_theta);
        }
        Ok((0..draws).map(f).sum::<f64>() / draws as f64)
    }
}
