//! `GradientAscent`: an estimator and an optimizer make a move.

use std::any::Any;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Ascent, Step, buffers_of};
use crate::bijector::Support;
use crate::error::Error;
use crate::estimator::{GradientEstimator, NonFinite, Objective};
use crate::family::Family;
use crate::model::Model;
use crate::optimizer::{Optimizer, clear, square};
use crate::scalar::Scalar;
use crate::start;
use crate::warning::Warning;

/// Moves `[theta | lambda]` along an estimate of the gradient of the ELBO.
///
/// A step whose estimate is not finite moves nothing and says so.
#[derive(Debug, Serialize, Deserialize)]
pub struct GradientAscent<E, O> {
    /// Where the gradient comes from.
    pub estimator: E,
    /// What is made of it.
    pub optimizer: O,
    #[serde(skip)]
    buffers: Option<Box<dyn Any + Send>>,
}

impl<E: Clone, O: Clone> Clone for GradientAscent<E, O> {
    fn clone(&self) -> Self {
        GradientAscent::new(self.estimator.clone(), self.optimizer.clone())
    }
}

/// Buffers of the move and, in `scratch`, of its estimator.
struct Buffers<T, S> {
    params: Vec<T>,
    /// Gradients in `theta` and in `lambda`, then the parameters they lead to.
    next: [Vec<T>; 2],
    /// The same side by side, for an optimizer that wants them so.
    joint: Vec<T>,
    z: Vec<T>,
    log_p: Vec<f64>,
    log_q: Vec<f64>,
    scratch: S,
}

impl<T, S: Default> Default for Buffers<T, S> {
    fn default() -> Self {
        Buffers {
            params: Vec::new(),
            next: Default::default(),
            joint: Vec::new(),
            z: Vec::new(),
            log_p: Vec::new(),
            log_q: Vec::new(),
            scratch: S::default(),
        }
    }
}

impl<E, O> GradientAscent<E, O> {
    /// Gradients from `estimator`, steps from `optimizer`.
    pub fn new(estimator: E, optimizer: O) -> Self {
        GradientAscent { estimator, optimizer, buffers: None }
    }
}

/// Copies `[theta | lambda]` out.
pub(super) fn read<T: Scalar, M: Model<T>, Q: Family<T>>(model: &M, q: &Q, params: &mut Vec<T>) {
    params.resize(model.n_theta() + q.n_params(), T::default());
    let (theta, lambda) = params.split_at_mut(model.n_theta());
    model.theta(theta);
    q.params(lambda);
}

/// Copies `[theta | lambda]` in.
pub(super) fn write<T: Scalar, M: Model<T>, Q: Family<T>>(model: &mut M, q: &mut Q, params: &[T]) {
    let (theta, lambda) = params.split_at(model.n_theta());
    if !theta.is_empty() {
        model.set_theta(theta);
    }
    q.set_params(lambda);
}

impl<E, O> GradientAscent<E, O> {
    /// One step along what `estimate` makes of the zeroed gradients in `theta` and in `lambda`.
    fn climb<T, M, Q>(
        &mut self,
        model: &mut M,
        q: &mut Q,
        estimate: impl FnOnce(
            &mut E,
            &M,
            &Q,
            &mut E::Scratch,
            &mut [T],
            &mut [T],
        ) -> Result<Option<f64>, NonFinite>,
    ) -> Step
    where
        T: Scalar,
        M: Model<T>,
        Q: Family<T>,
        E: GradientEstimator<M, Q, T>,
        O: Optimizer<T>,
    {
        let b = buffers_of::<Buffers<T, E::Scratch>>(&mut self.buffers);
        let n_theta = model.n_theta();
        let sizes = [n_theta, q.n_params()];
        for (next, size) in b.next.iter_mut().zip(sizes) {
            next.resize(size, T::default());
            clear(next);
        }
        let [grad_theta, grad_lambda] = &mut b.next;
        let estimate =
            estimate(&mut self.estimator, model, q, &mut b.scratch, grad_theta, grad_lambda);
        let reject = |bad| Step { rejected: Some(Box::new(bad)), ..Step::default() };
        let elbo = match estimate {
            Ok(elbo) => elbo,
            Err(bad) => return reject(bad),
        };
        let square = square(grad_theta) + square(grad_lambda);
        if !square.is_finite() || elbo.is_some_and(|elbo| !elbo.is_finite()) {
            return reject(sum_not_finite(elbo, &b.next));
        }
        let theta = if n_theta == 0 { Some(&[][..]) } else { model.lent_theta() };
        let lent = theta.zip(q.lent_params()).and_then(|(theta, lambda)| {
            self.optimizer.advance_pieces([theta, lambda], [grad_theta, grad_lambda])
        });
        let taken = lent.unwrap_or_else(|| {
            read(model, q, &mut b.params);
            if n_theta == 0 {
                return self.optimizer.advance(&b.params, grad_lambda);
            }
            b.joint.clear();
            b.joint.extend_from_slice(grad_theta);
            b.joint.extend_from_slice(grad_lambda);
            let taken = self.optimizer.advance(&b.params, &mut b.joint);
            grad_theta.copy_from_slice(&b.joint[..n_theta]);
            grad_lambda.copy_from_slice(&b.joint[n_theta..]);
            taken
        });
        if !taken {
            return reject(sum_not_finite(elbo, &b.next));
        }
        if n_theta > 0 {
            model.swap_theta(grad_theta);
        }
        q.swap_params(grad_lambda);
        let objective = self.estimator.last_objective(&b.scratch).filter(|_| elbo.is_some());
        Step { elbo, objective, grad_norm: Some(square.sqrt()), ..Step::default() }
    }
}

impl<T, M, Q, E, O> Ascent<M, Q, T> for GradientAscent<E, O>
where
    T: Scalar,
    M: Model<T>,
    Q: Family<T>,
    E: GradientEstimator<M, Q, T>,
    O: Optimizer<T>,
{
    fn check(&self, model: &M, q: &Q) -> Result<(), Error> {
        check_pair(model, q)?;
        self.estimator.check(model, q)?;
        self.optimizer.check()
    }

    fn start(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<(), Error> {
        start::look(model, q, rng)
    }

    fn warnings(&self, model: &M, q: &Q) -> Vec<Warning> {
        self.estimator.warnings(model, q)
    }

    fn closing_warnings(&self) -> Vec<Warning> {
        self.estimator.closing_warnings()
    }

    fn can_probe(&self) -> bool {
        true
    }

    fn step(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<Step, Error> {
        Ok(self.climb(model, q, |estimator, m, q, scratch, theta, lambda| {
            estimator.estimate(m, q, rng, scratch, theta, lambda).map(Some)
        }))
    }

    fn step_without_elbo(
        &mut self,
        model: &mut M,
        q: &mut Q,
        rng: &mut dyn Rng,
    ) -> Result<Step, Error> {
        Ok(self.climb(model, q, |estimator, m, q, scratch, theta, lambda| {
            estimator.gradient(m, q, rng, scratch, theta, lambda).map(|()| None)
        }))
    }

    fn answer(&self, model: &mut M, q: &mut Q) {
        if let Some(params) = self.optimizer.answer() {
            write(model, q, params);
        }
    }

    fn probe(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng, terms: &mut [f64]) -> bool {
        let b = buffers_of::<Buffers<T, E::Scratch>>(&mut self.buffers);
        read(model, q, &mut b.params);
        if let Some(params) = self.optimizer.answer() {
            write(model, q, params);
        }
        if self.estimator.compare(model, q, rng, &mut b.scratch, terms) {
            write(model, q, &b.params);
            return true;
        }
        let objective = self.estimator.objective();
        let one_by_one = matches!(objective, Objective::Weighted { .. });
        // the ELBO of all draws together, a bound of weighted draws group by group
        let group = if one_by_one { objective.draws() } else { terms.len() };
        b.z.resize(q.dim() * group, T::default());
        b.log_p.resize(group, 0.0);
        b.log_q.resize(group, 0.0);
        for terms in terms.chunks_mut(if one_by_one { 1 } else { group.max(1) }) {
            q.sample(rng, &mut b.z);
            model.log_joint_batch(&b.z, &mut b.log_p);
            q.log_prob_batch(&b.z, &mut b.log_q);
            b.log_p.iter_mut().zip(&b.log_q).for_each(|(p, q)| *p -= q);
            match one_by_one {
                true => terms[0] = objective.of(&b.log_p),
                false => terms.copy_from_slice(&b.log_p),
            }
        }
        write(model, q, &b.params);
        true
    }
}

/// The first parameter whose gradient or value is not finite.
fn sum_not_finite<T: Scalar>(elbo: Option<f64>, pieces: &[Vec<T>; 2]) -> NonFinite {
    let elbo = elbo.unwrap_or(f64::NAN);
    let coordinate = pieces.iter().flatten().position(|g| !g.is_finite());
    NonFinite { draw: 0, z: Vec::new(), log_joint: elbo, log_q: 0.0, coordinate }
}

/// Dimension and support of model and family must agree.
///
/// # Errors
/// Names the first coordinate that does not.
pub(crate) fn check_pair<T: Scalar, M: Model<T>, Q: Family<T>>(
    model: &M,
    q: &Q,
) -> Result<(), Error> {
    let space = model.space();
    space.check()?;
    Error::expect_len("the family", q.dim(), "the model", space.dim())?;
    for i in 0..space.dim() {
        let (model, family) = (space.support(i), q.support(i));
        let same =
            model == family || (model == Support::Interval(0.0, 1.0) && family == Support::Unit);
        if !same {
            return Err(Error::SupportMismatch {
                name: space.coordinate_names()[i].clone(),
                support: model.name(),
                family: family.name(),
            });
        }
    }
    Ok(())
}
