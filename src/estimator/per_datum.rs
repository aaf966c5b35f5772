//! `PerDatum`: importance weights for each datum by itself.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::importance_weighted::{check, warn};
use super::weights::renyi;
use super::{
    DoublyReparameterized, GradientEstimator, ImportanceWeighted, NonFinite, Objective, all_finite,
};
use crate::error::Error;
use crate::family::{LocalFamily, Smooth};
use crate::model::{LocalModel, Weighed};
use crate::scalar::Scalar;
use crate::warning::Warning;

/// The weighted estimators where each datum has coordinates of its own (Burda, Grosse and
/// Salakhutdinov 2016): the draws of a datum share a logarithm, those of different data do not. With
/// `w_ik = p(x_i, z_ik) / q(z_ik)` it climbs
///
/// `(n_data / rows) sum_i log mean_k w_ik`, with `alpha` Renyi's bound of that order,
///
/// by [`ImportanceWeighted`], or, with far less noise, by [`DoublyReparameterized`]. Weights of whole
/// data sets, without `PerDatum`, are as uneven as the product over data: one draw has all the
/// weight, and nothing is gained.
///
/// ```
/// use std::sync::Arc;
/// use elbo::{Adam, DoublyReparameterized, GradientAscent, Minibatch, Options, PerDatum, Stop, fit};
/// use elbo::{data::digits, nn::{Activation, Decoder, Encoder, Likelihood, Mlp}};
/// let images = Arc::new(digits().0);
/// let decoder = Mlp::<f32>::new(&[2, 16, 64], Activation::Tanh, 1)?;
/// let encoder = Mlp::<f32>::new(&[64, 16, 4], Activation::Tanh, 2)?;
/// let decoder = Decoder::new(decoder, images.clone(), Likelihood::Bernoulli)?;
/// let encoder = Encoder::new(encoder, images)?;
/// let weighted = PerDatum(DoublyReparameterized { draws: 5, alpha: 0.0 });
/// let ascent = Minibatch::new(100, GradientAscent::new(weighted, Adam::rate(1e-3)));
/// let options = Options { steps: 20, stop: Stop::Budget, ..Options::default() };
/// let fit = fit(decoder, encoder, ascent, options)?;
/// let last = &fit.trace[19];
/// assert!(last.objective > last.elbo); // the bound of five draws is above that of one
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerDatum<E>(pub E);

/// Buffers.
#[derive(Debug, Default)]
pub struct LocalDraws<T, R> {
    eps: Vec<T>,
    z: Vec<T>,
    dz: Vec<T>,
    score: Vec<T>,
    log_q: Vec<f64>,
    log_w: Vec<f64>,
    shares: Vec<f64>,
    dlog_q: Vec<T>,
    objective: f64,
    residuals: R,
}

impl<T: Scalar, R: Default + Send + 'static> LocalDraws<T, R> {
    /// Draws, weighs, and gives `theta` its gradient; the mean over draws of `log w`.
    fn weigh<M: LocalModel<T>, Q: LocalFamily<T, Residuals = R>>(
        &mut self,
        (draws, alpha): (usize, f64),
        (model, q): (&M, &Q),
        rng: &mut dyn Rng,
        grad_theta: &mut [T],
    ) -> Result<f64, NonFinite> {
        let (d, cells) = (q.dim(), model.rows() * draws);
        self.eps.resize(q.noise_dim() * draws, T::default());
        for buffer in [&mut self.z, &mut self.dz] {
            buffer.resize(d * draws, T::default());
        }
        for buffer in [&mut self.log_q, &mut self.log_w, &mut self.shares] {
            buffer.resize(cells, 0.0);
        }
        q.draw_noise(rng, &mut self.eps);
        q.transport_each(&self.eps, &mut self.z, &mut self.log_q, &mut self.residuals);
        let shares =
            |log_w: &[f64], out: &mut [f64]| renyi(log_w, alpha, |k, share| out[k] = share);
        let out =
            Weighed { log_w: &mut self.log_w, shares: &mut self.shares, grad_z: &mut self.dz };
        self.objective = model.weighted_grad_batch(&self.z, &self.log_q, &shares, out, grad_theta);
        if self.log_w.iter().any(|w| !w.is_finite()) || !all_finite(&self.dz) {
            return Err(self.bad(d, draws));
        }
        Ok(model.scale() * self.log_w.iter().sum::<f64>() / draws as f64)
    }

    /// The first draw with a weight or a gradient that is not finite.
    fn bad(&self, d: usize, draws: usize) -> NonFinite {
        let rows = self.log_w.len() / draws;
        let sums = |of: &dyn Fn(usize) -> f64| -> Vec<f64> {
            (0..draws).map(|s| (s * rows..(s + 1) * rows).map(of).sum()).collect()
        };
        let log_q = sums(&|at| self.log_q[at]);
        let log_p = sums(&|at| self.log_w[at] + self.log_q[at]);
        NonFinite::find(d, &self.z, &log_p, &log_q, &self.dz).unwrap_or(NonFinite {
            draw: 0,
            z: Vec::new(),
            log_joint: f64::NAN,
            log_q: f64::NAN,
            coordinate: None,
        })
    }

    /// Independent estimates of the bound of all data.
    fn compare<M: LocalModel<T>, Q: LocalFamily<T, Residuals = R>>(
        &mut self,
        settings: (usize, f64),
        pair: (&M, &Q),
        rng: &mut dyn Rng,
        terms: &mut [f64],
    ) {
        for term in terms {
            let weighed = self.weigh(settings, pair, rng, &mut []);
            *term = weighed.map_or(f64::NAN, |_| self.objective);
        }
    }
}

/// A weighted estimator as [`PerDatum`] needs it: its settings, and how weighed gradients reach
/// `lambda`.
pub trait Weighting<T: Scalar, Q: LocalFamily<T>> {
    /// Draws, and the order.
    fn settings(&self) -> (usize, f64);

    /// Takes what was weighed to `lambda`.
    fn finish(&self, q: &Q, s: &mut LocalDraws<T, Q::Residuals>, grad_lambda: &mut [T]);
}

impl<T: Scalar, Q: LocalFamily<T>> Weighting<T, Q> for ImportanceWeighted {
    fn settings(&self) -> (usize, f64) {
        (self.draws, self.alpha)
    }

    fn finish(&self, q: &Q, s: &mut LocalDraws<T, Q::Residuals>, grad_lambda: &mut [T]) {
        s.dlog_q.clear();
        s.dlog_q.extend(s.shares.iter().map(|&share| T::from_f64(-share)));
        q.pull_back_each(&s.eps, &s.residuals, &s.dz, &s.dlog_q, grad_lambda);
    }
}

impl<T: Scalar, Q: LocalFamily<T> + Smooth<T>> Weighting<T, Q> for DoublyReparameterized {
    fn settings(&self) -> (usize, f64) {
        (self.draws, self.alpha)
    }

    fn finish(&self, q: &Q, s: &mut LocalDraws<T, Q::Residuals>, grad_lambda: &mut [T]) {
        s.score.resize(s.dz.len(), T::default());
        q.log_prob_grad(&s.eps, &s.residuals, &s.z, &mut s.score);
        let k = (s.dz.len() / s.shares.len().max(1)).max(1);
        let each = s.dz.chunks_exact_mut(k).zip(s.score.chunks_exact(k));
        for ((dz, score), &share) in each.zip(&s.shares) {
            // the gradient of log p has the share already
            let more = T::from_f64(self.alpha + (1.0 - self.alpha) * share);
            let share = T::from_f64(share);
            dz.iter_mut().zip(score).for_each(|(g, &score)| *g = more * (*g - share * score));
        }
        s.dlog_q.clear();
        s.dlog_q.resize(s.shares.len(), T::default());
        q.pull_back_each(&s.eps, &s.residuals, &s.dz, &s.dlog_q, grad_lambda);
    }
}

impl<T, M, Q, E> GradientEstimator<M, Q, T> for PerDatum<E>
where
    T: Scalar,
    M: LocalModel<T>,
    Q: LocalFamily<T>,
    E: Weighting<T, Q>,
{
    type Scratch = LocalDraws<T, Q::Residuals>;

    fn check(&self, _: &M, _: &Q) -> Result<(), Error> {
        let (draws, alpha) = self.0.settings();
        check(draws, alpha)
    }
    fn objective(&self) -> Objective {
        let (draws, alpha) = self.0.settings();
        Objective::WeightedPerDatum { draws, alpha }
    }
    fn last_objective(&self, scratch: &Self::Scratch) -> Option<f64> {
        Some(scratch.objective)
    }
    fn compare(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        scratch: &mut Self::Scratch,
        terms: &mut [f64],
    ) -> bool {
        scratch.compare(self.0.settings(), (model, q), rng, terms);
        true
    }
    fn warnings(&self, _: &M, _: &Q) -> Vec<Warning> {
        warn(self.0.settings().1)
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
        let elbo = s.weigh(self.0.settings(), (model, q), rng, grad_theta)?;
        self.0.finish(q, s, grad_lambda);
        Ok(elbo)
    }
}
