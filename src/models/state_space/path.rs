//! `Path`: the posterior of all states together, normal, each state given the next one.

use std::sync::Arc;

use nalgebra::{SMatrix, SVector};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::Series;
use super::kalman::{Filtered, Sums, filter};
use crate::family::Family;
use crate::noise::fill_normal;
use crate::special::LN_SQRT_2PI;

/// `q(states) = p(states | y)` at some variances, which are its parameters: `(ln r, ln q)`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct Path<const M: usize> {
    log_noise: f64,
    log_drift: [f64; M],
    run: Filtered<M>,
    entropy: f64,
    /// The series; attached anew by the first E-step after a checkpoint.
    data: Option<Arc<Series<M>>>,
}

/// What a file keeps.
#[derive(Serialize, Deserialize)]
struct Saved {
    log_noise: f64,
    log_drift: Vec<f64>,
}

impl<const M: usize> From<Path<M>> for Saved {
    fn from(q: Path<M>) -> Saved {
        Saved { log_noise: q.log_noise, log_drift: q.log_drift.to_vec() }
    }
}

impl<const M: usize> From<Saved> for Path<M> {
    fn from(saved: Saved) -> Path<M> {
        let mut log_drift = [f64::NAN; M];
        log_drift.iter_mut().zip(saved.log_drift).for_each(|(to, from)| *to = from);
        Path::at(saved.log_noise, log_drift)
    }
}

/// A normal of the state's dimension, as its mean and the factor of its covariance.
type Normal<const M: usize> = (SVector<f64, M>, SMatrix<f64, M, M>);

impl<const M: usize> Path<M> {
    pub(super) fn at(log_noise: f64, log_drift: [f64; M]) -> Path<M> {
        let (run, entropy) = (Filtered::default(), f64::NAN);
        Path { log_noise, log_drift, run, entropy, data: None }
    }

    pub(super) fn replace(&mut self, data: &Arc<Series<M>>, log_noise: f64, log_drift: [f64; M]) {
        if self.data.is_none() {
            self.data = Some(Arc::clone(data));
        }
        (self.log_noise, self.log_drift) = (log_noise, log_drift);
        self.refresh();
    }

    fn refresh(&mut self) {
        if let Some(data) = &self.data {
            let (noise, drift) = (self.log_noise.exp(), self.log_drift.map(f64::exp));
            filter(data, noise, &drift, &mut self.run);
            self.run.smooth(data, noise, &drift);
        }
    }

    pub(super) fn set_entropy(&mut self, by: impl FnOnce(f64, &Sums<M>) -> f64) {
        self.entropy = by(self.run.log_likelihood, &self.run.sums);
    }

    pub(super) fn known_entropy(&self) -> f64 {
        self.entropy
    }

    pub(super) fn log_likelihood(&self) -> f64 {
        self.run.log_likelihood
    }

    /// The logarithms of the variances it is the posterior at: of the noise, and of the drift.
    pub(super) fn at_variances(&self) -> (f64, [f64; M]) {
        (self.log_noise, self.log_drift)
    }

    pub(super) fn sums(&self) -> &Sums<M> {
        &self.run.sums
    }

    /// State `t` given the one after it, if there is one.
    fn given(&self, t: usize, next: Option<SVector<f64, M>>) -> Normal<M> {
        let broken = || (SVector::repeat(f64::NAN), SMatrix::repeat(f64::NAN));
        let Some(data) = &self.data else { return broken() };
        let now = self.run.steps[t];
        let (mean, covariance) = match next {
            None => (now.mean, now.covariance),
            Some(next) => {
                let follow = self.run.follow(t, &data.transition);
                let after = &self.run.steps[t + 1];
                // P - F S F', written as a sum of squares: (I - F T) P (I - F T)' + F Q F'
                let keep = SMatrix::<f64, M, M>::identity() - follow * data.transition;
                let wander = SMatrix::from_diagonal(&SVector::from(self.log_drift.map(f64::exp)));
                let left =
                    keep * now.covariance * keep.transpose() + follow * wander * follow.transpose();
                (now.mean + follow * (next - after.ahead), left)
            }
        };
        covariance.cholesky().map_or_else(broken, |factor| (mean, factor.l()))
    }
}

impl<const M: usize> Family for Path<M> {
    fn dim(&self) -> usize {
        M * self.data.as_ref().map_or(0, |data| data.y.len())
    }
    fn n_params(&self) -> usize {
        1 + M
    }
    fn params(&self, out: &mut [f64]) {
        out[0] = self.log_noise;
        out[1..].copy_from_slice(&self.log_drift);
    }
    fn set_params(&mut self, params: &[f64]) {
        self.log_noise = params[0];
        self.log_drift.copy_from_slice(&params[1..]);
        self.refresh();
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        let dim = self.dim();
        fill_normal(rng, z);
        for z in z.chunks_exact_mut(dim.max(1)) {
            let mut next = None;
            for (t, z) in z.chunks_exact_mut(M).enumerate().rev() {
                let (mean, factor) = self.given(t, next);
                let state = mean + factor * SVector::<f64, M>::from_column_slice(z);
                z.copy_from_slice(state.as_slice());
                next = Some(state);
            }
        }
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let mut next = None;
        let mut sum = 0.0;
        for (t, z) in z.chunks_exact(M).enumerate().rev() {
            let (mean, factor) = self.given(t, next);
            let state = SVector::<f64, M>::from_column_slice(z);
            let mut u = state - mean;
            if !factor.solve_lower_triangular_mut(&mut u) {
                return f64::NAN;
            }
            let log_det: f64 = factor.diagonal().iter().map(|l| l.ln()).sum();
            sum -= M as f64 * LN_SQRT_2PI + log_det + 0.5 * u.norm_squared();
            next = Some(state);
        }
        sum
    }
    fn entropy(&self) -> Option<f64> {
        (!self.entropy.is_nan()).then_some(self.entropy)
    }
}
