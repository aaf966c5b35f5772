//! `ClosedFormKl`: the divergence from the prior exactly, with a weight, a warm-up and free nats.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{GradientEstimator, NonFinite, all_finite, check_draws};
use crate::collapse;
use crate::error::Error;
use crate::family::Reparameterized;
use crate::model::KnownPrior;
use crate::optimizer::{Schedule, check_positive};
use crate::scalar::Scalar;
use crate::warning::{Code, Warning};

/// Climbs `E_q[log p(x | z)] - beta KL(q || p(z))`, the likelihood by draws and the divergence in
/// closed form (Kingma and Welling 2014). With `beta = 1` that is the ELBO.
///
/// - `beta` weighs the divergence (Higgins and others 2017), a constant or times a schedule: a
///   schedule that begins below 1 is a warm-up (Bowman and others 2016; Sonderby and others 2016).
///   Above 1 the objective is a lower bound still, below 1 it is none.
/// - free nats: a group of coordinates whose divergence is below so many nats a datum does not pay
///   for it (Kingma and others 2016), so that it need not collapse.
///
/// Whatever is climbed, the ELBO of the step is that with `beta = 1` and nothing free. Groups whose
/// divergence is below 0.01 nats a datum at the end of a fit are named by warning W10.
///
/// ```
/// use elbo::{ClosedFormKl, Schedule};
/// let plain = ClosedFormKl::new(1);
/// let warming = ClosedFormKl::new(1).scheduled(Schedule::Linear { steps: 1000, from: 0.0, to: 1.0 });
/// assert_eq!((plain.weight(), warming.weight()), (1.0, 0.0));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClosedFormKl {
    /// Draws a step.
    pub draws: usize,
    /// The weight of the divergence.
    pub beta: f64,
    /// What `beta` is multiplied by.
    pub schedule: Schedule,
    /// Nats a datum and group that cost nothing.
    pub free: f64,
    /// Steps taken.
    steps: u64,
    #[serde(skip)]
    terms: Terms,
}

/// The two terms of the ELBO at the last step whose ELBO was asked for, for all data, in nats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// `E_q[log p(x | z)]`, from the draws of the step.
    pub reconstruction: f64,
    /// `KL(q || p)` of each group.
    pub kl: Vec<f64>,
    /// Over how many data they are summed.
    pub data: usize,
}

impl ClosedFormKl {
    /// The ELBO, with so many draws a step.
    pub fn new(draws: usize) -> ClosedFormKl {
        ClosedFormKl {
            draws,
            beta: 1.0,
            schedule: Schedule::Constant,
            free: 0.0,
            steps: 0,
            terms: Terms::default(),
        }
    }

    /// The same with another weight of the divergence.
    #[must_use]
    pub fn beta(self, beta: f64) -> ClosedFormKl {
        ClosedFormKl { beta, ..self }
    }

    /// The same with `beta` times a schedule of the steps.
    #[must_use]
    pub fn scheduled(self, schedule: Schedule) -> ClosedFormKl {
        ClosedFormKl { schedule, ..self }
    }

    /// The same with nats a datum and group that cost nothing.
    #[must_use]
    pub fn free(self, nats: f64) -> ClosedFormKl {
        ClosedFormKl { free: nats, ..self }
    }

    /// The weight of the divergence at the next step.
    pub fn weight(&self) -> f64 {
        self.beta * self.schedule.value(self.steps)
    }

    /// The terms of the ELBO at the last step whose ELBO was asked for.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }
}

/// Buffers.
#[derive(Debug, Default)]
pub struct KlDraws<T, R> {
    eps: Vec<T>,
    z: Vec<T>,
    dz: Vec<T>,
    log_p: Vec<f64>,
    log_q: Vec<f64>,
    kl: Vec<f64>,
    weights: Vec<T>,
    objective: f64,
    residuals: R,
}

impl ClosedFormKl {
    /// The gradients, and with `values` the ELBO.
    fn climb<T: Scalar, M: KnownPrior<Q, T>, Q: Reparameterized<T>>(
        &mut self,
        (model, q): (&M, &Q),
        rng: &mut dyn Rng,
        s: &mut KlDraws<T, Q::Residuals>,
        (grad_theta, grad_lambda): (&mut [T], &mut [T]),
        values: bool,
    ) -> Result<Option<f64>, NonFinite> {
        let (draws, d) = (self.draws, q.dim());
        s.eps.resize(q.noise_dim() * draws, T::default());
        s.z.resize(d * draws, T::default());
        s.dz.resize(d * draws, T::default());
        s.log_q.resize(draws, 0.0);
        s.log_p.resize(if values { draws } else { 0 }, 0.0);
        q.draw_noise(rng, &mut s.eps);
        q.transport(&s.eps, &mut s.z, &mut s.log_q, &mut s.residuals);
        model.likelihood_grad_batch(&s.z, draws, &mut s.log_p, &mut s.dz, grad_theta);
        if !all_finite(&s.dz) || s.log_p.iter().chain(&s.log_q).any(|x| !x.is_finite()) {
            let mut log_p = s.log_q.clone();
            model.log_joint_batch(&s.z, &mut log_p);
            return Err(NonFinite::find(d, &s.z, &log_p, &s.log_q, &s.dz).unwrap_or(NonFinite {
                draw: 0,
                z: Vec::new(),
                log_joint: f64::NAN,
                log_q: f64::NAN,
                coordinate: None,
            }));
        }
        let share = T::from_f64(1.0 / draws as f64);
        s.dz.iter_mut().for_each(|g| *g *= share);
        let groups = model.groups(q);
        let floored = self.free > 0.0;
        if values || floored {
            s.kl.resize(groups, 0.0);
            model.divergences(q, &s.residuals, &mut s.kl);
        }
        let floor = self.free * model.n_terms(q) as f64;
        let weight = self.weight();
        s.weights.clear();
        s.weights.extend((0..groups).map(|g| {
            let free = floored && s.kl[g] < floor;
            T::from_f64(if free { 0.0 } else { weight })
        }));
        let noise = (&s.eps[..], &s.residuals);
        model.pull_back_with(q, noise, &s.dz, &s.weights, grad_theta, grad_lambda);
        self.steps += 1;
        if !values {
            return Ok(None);
        }
        let Terms { reconstruction, kl, data } = &mut self.terms;
        *data = model.n_terms(q);
        *reconstruction = s.log_p.iter().sum::<f64>() / draws as f64;
        kl.clear();
        kl.extend_from_slice(&s.kl);
        let paid = |kl: &f64| if floored { kl.max(floor) } else { *kl };
        s.objective = *reconstruction - weight * kl.iter().map(paid).sum::<f64>();
        Ok(Some(*reconstruction - kl.iter().sum::<f64>()))
    }
}

impl<T, M, Q> GradientEstimator<M, Q, T> for ClosedFormKl
where
    T: Scalar,
    M: KnownPrior<Q, T>,
    Q: Reparameterized<T>,
{
    type Scratch = KlDraws<T, Q::Residuals>;

    fn check(&self, model: &M, q: &Q) -> Result<(), Error> {
        model.known(q)?;
        check_draws(self.draws, 1, "a gradient needs at least one draw")?;
        check_positive("beta", self.beta)?;
        self.schedule.check()?;
        if self.free >= 0.0 && self.free.is_finite() {
            return Ok(());
        }
        Err(Error::option("free", self.free, "it must be 0 or more nats, and finite"))
    }

    fn last_objective(&self, scratch: &Self::Scratch) -> Option<f64> {
        let plain = self.beta == 1.0 && self.schedule == Schedule::Constant && self.free == 0.0;
        (!plain).then_some(scratch.objective)
    }

    fn warnings(&self, _: &M, _: &Q) -> Vec<Warning> {
        const LATE: u64 = 1 << 40;
        let last = self.beta * self.schedule.value(LATE);
        if last >= 1.0 {
            return Vec::new();
        }
        let message = format!(
            "with beta = {} in the end the objective is no lower bound of the log evidence; the reported ELBO is that with beta = 1",
            last
        );
        let action = "ClosedFormKl::new(draws), or a schedule that ends at 1";
        vec![Warning::new(Code::NotABound, message).try_this(action)]
    }

    /// Groups that carry no information in the end, by their numbers.
    fn closing_warnings(&self) -> Vec<Warning> {
        let Terms { kl, data, .. } = &self.terms;
        let each: Vec<f64> = kl.iter().map(|kl| kl / *data as f64).collect();
        collapse::warning(&each).into_iter().collect()
    }

    fn estimate(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        scratch: &mut Self::Scratch,
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    ) -> Result<f64, NonFinite> {
        let elbo = self.climb((model, q), rng, scratch, (grad_theta, grad_lambda), true)?;
        Ok(elbo.unwrap_or(f64::NAN))
    }

    fn gradient(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        scratch: &mut Self::Scratch,
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    ) -> Result<(), NonFinite> {
        self.climb((model, q), rng, scratch, (grad_theta, grad_lambda), false).map(drop)
    }
}
