//! The weighted path estimators: `ImportanceWeighted`, and `DoublyReparameterized` with far less
//! noise.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::weights::renyi;
use super::{Draws, GradientEstimator, NonFinite, Objective, check_draws};
use crate::error::Error;
use crate::family::{Reparameterized, Smooth};
use crate::model::Differentiable;
use crate::scalar::Scalar;
use crate::warning::{Code, Warning};

/// The gradient of Renyi's bound of order `alpha` through the draws (Li and Turner 2016), at
/// `alpha = 0` the importance-weighted bound `E[log mean_k w_k]` (Burda, Grosse and Salakhutdinov
/// 2016). With `v_k` proportional to `w_k^(1 - alpha)`, of sum 1,
///
/// `grad = sum_k v_k grad [log p(x, z_k) - log q(z_k)]`, `z_k = T_lambda(eps_k)`.
///
/// Needs a [`Differentiable`] model and a [`Reparameterized`] family; where the family is
/// [`Smooth`], [`DoublyReparameterized`] has less noise. With `alpha = 1` it is
/// [`Reparameterization`](super::Reparameterization), bit for bit. What it climbs is not the ELBO:
/// see [`Step::objective`](crate::Step). `alpha < 0` is no bound, and warned of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportanceWeighted {
    /// Draws a step, all in one logarithm.
    pub draws: usize,
    /// The order: 0 for the importance-weighted bound, 1 for the ELBO.
    pub alpha: f64,
}

/// The same gradient reparameterized twice (Tucker, Lawson, Gu and Maddison 2019, for `alpha = 0`):
/// the score inside the weights is taken along the path as well,
///
/// `grad_lambda = sum_k [alpha v_k + (1 - alpha) v_k^2] dz_k/dlambda grad_z [log p(x, z) - log q(z)]`
///
/// with the parameters inside `log q` held fixed, and `grad_theta = sum_k v_k grad_theta log p(x, z_k)`.
/// Its noise vanishes where `q` is the posterior, and does not drown the gradient as draws are added,
/// as that of [`ImportanceWeighted`] does (Rainforth and others 2018).
///
/// Needs a [`Differentiable`] model and a [`Smooth`] family. With `alpha = 1` it is
/// [`StickingTheLanding`](super::StickingTheLanding), bit for bit.
///
/// ```
/// use elbo::{density, fit, from_fn, Adam, DoublyReparameterized, GradientAscent};
/// use elbo::{MeanFieldGaussian, Options, Space};
/// let mut space = Space::new();
/// let x = space.real("x");
/// let model = from_fn(space, move |z| density::student_t(z[x], 5.0, 1.0, 1.0));
/// let ascent =
///     GradientAscent::new(DoublyReparameterized { draws: 8, alpha: 0.0 }, Adam::rate(0.02));
/// let fit = fit(model, MeanFieldGaussian::standard(1), ascent, Options { steps: 2_000, ..Options::default() })?;
/// // the weights want tails: wider than the normal that is best for the ELBO
/// let step = &fit.trace[fit.trace.len() - 1];
/// assert!(step.objective > step.elbo && fit.q.sd()[0] > 1.1);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DoublyReparameterized {
    /// Draws a step, all in one logarithm.
    pub draws: usize,
    /// The order: 0 for the importance-weighted bound, 1 for the ELBO.
    pub alpha: f64,
}

/// Buffers of the weighted estimators.
#[derive(Debug, Default)]
pub struct WeightedDraws<T, R> {
    inner: Draws<T, R>,
    log_w: Vec<f64>,
    shares: Vec<f64>,
    weights: Vec<T>,
    unweighted: Vec<T>,
    objective: f64,
}

impl<T: Scalar, R: Default + Send + 'static> WeightedDraws<T, R> {
    /// Draws, weighs, and gives `theta` its gradient; the mean of `log w`.
    fn weigh<M: Differentiable<T>, Q: Reparameterized<T, Residuals = R>>(
        &mut self,
        (draws, alpha): (usize, f64),
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        grad_theta: &mut [T],
    ) -> Result<f64, NonFinite> {
        self.inner.draw(draws, q, rng);
        let even = alpha == 1.0 || grad_theta.is_empty();
        let elbo = if even {
            self.inner.evaluate(model, grad_theta)?
        } else {
            self.unweighted.clear();
            self.unweighted.resize(grad_theta.len(), T::default());
            self.inner.evaluate(model, &mut self.unweighted)?
        };
        let Draws { log_p, log_q, .. } = &self.inner;
        self.log_w.clear();
        self.log_w.extend(log_p.iter().zip(log_q).map(|(p, q)| p - q));
        self.shares.resize(draws, 0.0);
        self.objective = renyi(&self.log_w, alpha, |k, share| self.shares[k] = share);
        if !even {
            self.weights.clear();
            self.weights.extend(self.shares.iter().map(|v| T::from_f64(*v)));
            model.add_theta_grad(&self.inner.z, &self.weights, grad_theta);
        }
        Ok(elbo)
    }

    /// Multiplies what is at each draw by `factor(v_k)`, in units of one share of the draws.
    fn scale(&mut self, alpha: f64, factor: impl Fn(f64) -> f64) {
        if alpha == 1.0 {
            return;
        }
        let draws = self.shares.len();
        let d = (self.inner.z.len() / draws.max(1)).max(1);
        let columns = self.inner.dz.chunks_exact_mut(d).zip(&mut self.inner.dlog_q);
        for ((dz, dlog_q), share) in columns.zip(&self.shares) {
            let by = T::from_f64(draws as f64 * factor(*share));
            dz.iter_mut().for_each(|g| *g *= by);
            *dlog_q *= by;
        }
    }
}

pub(super) fn check(draws: usize, alpha: f64) -> Result<(), Error> {
    check_draws(draws, 1, "a gradient needs at least one draw")?;
    if alpha.is_finite() {
        return Ok(());
    }
    Err(Error::option("alpha", alpha, "it must be finite: 0 for IWAE, 1 for the ELBO"))
}

/// Renyi's bound of negative order tends to something above the evidence.
pub(super) fn warn(alpha: f64) -> Vec<Warning> {
    if alpha >= 0.0 {
        return Vec::new();
    }
    let message =
        format!("alpha is {alpha}: what is climbed may lie above log p(x), and is no bound");
    let action = "alpha: 0.0 for the tightest bound of this kind, 1.0 for the ELBO";
    vec![Warning::new(Code::NotABound, message).try_this(action)]
}

impl<T, M, Q> GradientEstimator<M, Q, T> for ImportanceWeighted
where
    T: Scalar,
    M: Differentiable<T>,
    Q: Reparameterized<T>,
{
    type Scratch = WeightedDraws<T, Q::Residuals>;

    fn check(&self, _: &M, _: &Q) -> Result<(), Error> {
        check(self.draws, self.alpha)
    }
    fn objective(&self) -> Objective {
        Objective::Weighted { draws: self.draws, alpha: self.alpha }
    }
    fn last_objective(&self, scratch: &Self::Scratch) -> Option<f64> {
        Some(scratch.objective)
    }
    fn warnings(&self, _: &M, _: &Q) -> Vec<Warning> {
        warn(self.alpha)
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
        let elbo = s.weigh((self.draws, self.alpha), model, q, rng, grad_theta)?;
        s.inner.dlog_q.fill(T::from_f64(-1.0));
        s.scale(self.alpha, |v| v);
        s.inner.pull_back(q, grad_lambda);
        Ok(elbo)
    }
}

impl<T, M, Q> GradientEstimator<M, Q, T> for DoublyReparameterized
where
    T: Scalar,
    M: Differentiable<T>,
    Q: Smooth<T>,
{
    type Scratch = WeightedDraws<T, Q::Residuals>;

    fn check(&self, _: &M, _: &Q) -> Result<(), Error> {
        check(self.draws, self.alpha)
    }
    fn objective(&self) -> Objective {
        Objective::Weighted { draws: self.draws, alpha: self.alpha }
    }
    fn last_objective(&self, scratch: &Self::Scratch) -> Option<f64> {
        Some(scratch.objective)
    }
    fn warnings(&self, _: &M, _: &Q) -> Vec<Warning> {
        warn(self.alpha)
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
        let alpha = self.alpha;
        let elbo = s.weigh((self.draws, alpha), model, q, rng, grad_theta)?;
        s.inner.leave_path(q);
        s.scale(alpha, |v| alpha * v + (1.0 - alpha) * v * v);
        s.inner.pull_back(q, grad_lambda);
        Ok(elbo)
    }
}
