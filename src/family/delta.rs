//! `Delta`: all mass at one point, for maximum a posteriori and for teaching.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Family, Reparameterized, Smooth};

/// All mass at the point `lambda`: its ELBO is `log p(x, lambda)`, without an entropy term, and
/// climbing it finds the maximum a posteriori.
///
/// A point has no density. `log_prob` counts points instead: 0 at the point, negative infinity
/// elsewhere, so that `log p - log q` at a draw is `log p`. The entropy on the scale of every other
/// family is negative infinity, and [`Family::entropy`] says so: the ELBO of a `Delta` is no bound
/// on the evidence and cannot be compared with that of a distribution that has a width.
///
/// ```
/// use elbo::{Delta, Family};
/// let q = Delta::new(vec![1.0, 2.0]);
/// assert_eq!(q.log_prob(&[1.0, 2.0]), 0.0);
/// assert_eq!(q.log_prob(&[1.0, 2.5]), f64::NEG_INFINITY);
/// assert_eq!(q.entropy(), Some(f64::NEG_INFINITY));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    point: Vec<f64>,
}

impl Delta {
    /// All mass at `point`.
    pub fn new(point: Vec<f64>) -> Self {
        Delta { point }
    }

    /// Where the mass is.
    pub fn point(&self) -> &[f64] {
        &self.point
    }

    fn copy(&self, z: &mut [f64]) {
        for z in z.chunks_exact_mut(self.point.len().max(1)) {
            z.copy_from_slice(&self.point);
        }
    }
}

impl Family for Delta {
    fn dim(&self) -> usize {
        self.point.len()
    }
    fn n_params(&self) -> usize {
        self.point.len()
    }
    fn params(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.point);
    }
    fn set_params(&mut self, params: &[f64]) {
        self.point.copy_from_slice(params);
    }
    fn sample(&self, _rng: &mut dyn Rng, z: &mut [f64]) {
        self.copy(z);
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        if z == self.point { 0.0 } else { f64::NEG_INFINITY }
    }
    fn entropy(&self) -> Option<f64> {
        Some(f64::NEG_INFINITY)
    }
}

impl Reparameterized for Delta {
    type Residuals = ();

    fn noise_dim(&self) -> usize {
        0
    }
    fn transport(&self, _eps: &[f64], z: &mut [f64], log_q: &mut [f64], _: &mut ()) {
        self.copy(z);
        log_q.fill(0.0);
    }
    fn pull_back(&self, _eps: &[f64], _: &(), dz: &[f64], _dlog_q: &[f64], grad: &mut [f64]) {
        for dz in dz.chunks_exact(self.point.len().max(1)) {
            grad.iter_mut().zip(dz).for_each(|(g, dz)| *g += dz);
        }
    }
}

impl Smooth for Delta {
    /// Zero: at the point, counting points, `log q` is flat.
    fn log_prob_grad(&self, _eps: &[f64], _: &(), _z: &[f64], grad: &mut [f64]) {
        grad.fill(0.0);
    }
}
