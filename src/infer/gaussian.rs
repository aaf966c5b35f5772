//! `Gaussian`: the normal that `infer` answers with, in whichever form fits the dimension.

use nalgebra::DMatrix;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::family::{Affine, Bijection, Family, FullRankGaussian, LowRankGaussian, Transformed};

/// A normal over unconstrained coordinates, in the form that [`infer`](crate::infer()) chose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Gaussian {
    /// Any covariance: up to 50 coordinates.
    FullRank(FullRankGaussian),
    /// Of low rank on top of the scale that was found at the start: above that.
    LowRank(Transformed<LowRankGaussian, Affine>),
}

impl Gaussian {
    /// What to call it.
    pub fn name(&self) -> &'static str {
        match self {
            Gaussian::FullRank(_) => "full-rank Gaussian",
            Gaussian::LowRank(_) => "low-rank Gaussian",
        }
    }

    /// The mean, over unconstrained coordinates.
    pub fn mean(&self) -> Vec<f64> {
        match self {
            Gaussian::FullRank(q) => q.mean().to_vec(),
            Gaussian::LowRank(q) => {
                let mut mean = vec![0.0; q.dim()];
                q.map().forward(q.base().mean(), &mut mean);
                mean
            }
        }
    }

    /// The covariance over unconstrained coordinates, `d x d`.
    pub fn covariance(&self) -> DMatrix<f64> {
        match self {
            Gaussian::FullRank(q) => q.covariance(),
            Gaussian::LowRank(q) => {
                // A S A^T: A on the columns, twice
                let turned = |m: DMatrix<f64>| {
                    let mut out = m.clone();
                    for (from, mut to) in m.column_iter().zip(out.column_iter_mut()) {
                        q.map().turn(from.as_slice(), to.as_mut_slice());
                    }
                    out.transpose()
                };
                turned(turned(q.base().covariance()))
            }
        }
    }

    fn form(&self) -> &dyn Family {
        match self {
            Gaussian::FullRank(q) => q,
            Gaussian::LowRank(q) => q,
        }
    }
}

impl Family for Gaussian {
    fn dim(&self) -> usize {
        self.form().dim()
    }
    fn n_params(&self) -> usize {
        self.form().n_params()
    }
    fn params(&self, out: &mut [f64]) {
        self.form().params(out);
    }
    fn set_params(&mut self, params: &[f64]) {
        match self {
            Gaussian::FullRank(q) => q.set_params(params),
            Gaussian::LowRank(q) => q.set_params(params),
        }
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        self.form().sample(rng, z);
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        self.form().log_prob(z)
    }
    fn log_prob_batch(&self, z: &[f64], out: &mut [f64]) {
        self.form().log_prob_batch(z, out);
    }
    fn entropy(&self) -> Option<f64> {
        self.form().entropy()
    }
}
