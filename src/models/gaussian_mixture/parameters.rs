//! Weights, means and covariances, and the flat `theta` they stand for.

use super::Covariance;
use crate::bijector::Support;
use crate::data::View;
use crate::models::components::{Components, Shape, invert};
use crate::triangle;

/// `ln(2 pi)`
const LN_2PI: f64 = 1.837_877_066_409_345_3;

/// What is learned, in the units of the data.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parameters {
    pub(super) covariance: Covariance,
    dim: usize,
    /// What the numbers below are made from, to the last bit.
    theta: Vec<f64>,
    pub(super) weights: Vec<f64>,
    /// `dim` a component.
    pub(super) mean: Vec<f64>,
    /// Cholesky factors or standard deviations, as many as there are to learn.
    pub(super) factor: Vec<f64>,
    /// Where the coordinates of `theta` have their zero, and their unit: mean and standard
    /// deviation of each column.
    centre: Vec<f64>,
    pub(super) unit: Vec<f64>,
}

impl Parameters {
    /// Equal weights, all means at the mean of the data and unit covariances.
    pub(super) fn new(data: View<'_>, components: usize, covariance: Covariance) -> Self {
        let (dim, centre) = (data.dim(), data.mean());
        let variance = data.variance();
        let common = (variance.iter().sum::<f64>() / dim as f64).sqrt();
        let unit = match covariance {
            Covariance::Spherical => vec![common; dim],
            _ => variance.iter().map(|v| v.sqrt()).collect(),
        };
        let mut new = Parameters {
            covariance,
            dim,
            theta: Vec::new(),
            weights: vec![0.0; components],
            mean: vec![0.0; components * dim],
            factor: vec![0.0; covariance.n_parameters(components, dim)],
            centre,
            unit,
        };
        let theta = vec![0.0; new.n_theta()];
        new.theta = theta.clone();
        new.set_theta(&theta);
        new
    }

    pub(super) fn len(&self) -> usize {
        self.weights.len()
    }

    /// How many numbers are free.
    pub(super) fn n_theta(&self) -> usize {
        self.len() - 1 + self.mean.len() + self.factor.len()
    }

    pub(super) fn theta(&self) -> &[f64] {
        &self.theta
    }

    /// Makes `theta` from the numbers, and these from it again: a run that is resumed, which knows
    /// `theta` alone, then has the same bits.
    pub(super) fn settle(&mut self) {
        let mut theta = std::mem::take(&mut self.theta);
        self.flatten(&mut theta);
        self.natural(&theta);
        self.theta = theta;
    }

    pub(super) fn set_theta(&mut self, theta: &[f64]) {
        self.theta.copy_from_slice(theta);
        self.natural(theta);
    }

    fn flatten(&self, out: &mut [f64]) {
        let (weights, rest) = out.split_at_mut(self.len() - 1);
        let (mean, factor) = rest.split_at_mut(self.mean.len());
        if !weights.is_empty() {
            Support::Simplex.unconstrain(&self.weights, weights);
        }
        for (at, out) in mean.iter_mut().enumerate() {
            let j = at % self.dim;
            *out = (self.mean[at] - self.centre[j]) / self.unit[j];
        }
        let mut factor = factor.iter_mut();
        self.each_factor(|entry, unit, positive| {
            if let Some(out) = factor.next() {
                *out = if positive { (entry / unit).ln() } else { entry / unit };
            }
        });
    }

    /// Calls `f` with each number of the factors, its unit, and whether it must be positive.
    fn each_factor(&self, mut f: impl FnMut(f64, f64, bool)) {
        let dim = self.dim;
        match self.covariance {
            Covariance::Full | Covariance::Tied => {
                for l in self.factor.chunks_exact(triangle::len(dim)) {
                    for (i, row) in triangle::rows(l).take(dim).enumerate() {
                        row.iter().enumerate().for_each(|(j, &x)| f(x, self.unit[i], i == j));
                    }
                }
            }
            _ => {
                let sds = self.factor.iter().enumerate();
                // the units of a ball are all the same
                sds.for_each(|(at, &sd)| f(sd, self.unit[at % dim], true));
            }
        }
    }

    fn natural(&mut self, theta: &[f64]) {
        let (weights, rest) = theta.split_at(self.len() - 1);
        let (mean, factor) = rest.split_at(self.mean.len());
        if weights.is_empty() {
            self.weights.fill(1.0);
        } else {
            Support::Simplex.constrain(weights, &mut self.weights);
        }
        for (at, &theta) in mean.iter().enumerate() {
            let j = at % self.dim;
            self.mean[at] = self.centre[j] + self.unit[j] * theta;
        }
        self.factor.copy_from_slice(factor);
        let dim = self.dim;
        let natural = |x: &mut f64, unit: f64, positive: bool| {
            *x = unit * if positive { x.exp() } else { *x };
        };
        match self.covariance {
            Covariance::Full | Covariance::Tied => {
                let each = triangle::len(dim);
                for l in self.factor.chunks_exact_mut(each) {
                    for i in 0..dim {
                        let row = &mut l[triangle::len(i)..triangle::len(i + 1)];
                        for (j, x) in row.iter_mut().enumerate() {
                            natural(x, self.unit[i], i == j);
                        }
                    }
                }
            }
            _ => {
                let sds = self.factor.iter_mut().enumerate();
                // the units of a ball are all the same
                sds.for_each(|(at, x)| natural(x, self.unit[at % dim], true));
            }
        }
    }

    /// The Cholesky factor or the standard deviations of component `k`.
    pub(super) fn factor(&self, k: usize) -> &[f64] {
        let each = match self.covariance {
            Covariance::Tied => return &self.factor,
            Covariance::Full => triangle::len(self.dim),
            Covariance::Diagonal => self.dim,
            Covariance::Spherical => 1,
        };
        &self.factor[k * each..(k + 1) * each]
    }

    /// Half the log determinant of the covariance of component `k`.
    pub(super) fn log_det(&self, k: usize) -> f64 {
        let factor = self.factor(k);
        match self.covariance {
            Covariance::Full | Covariance::Tied => triangle::log_det(factor),
            Covariance::Diagonal => factor.iter().map(|sd| sd.ln()).sum(),
            Covariance::Spherical => self.dim as f64 * factor[0].ln(),
        }
    }

    /// The covariance of component `k`, row by row.
    pub(super) fn covariance(&self, k: usize) -> Vec<f64> {
        let (dim, factor) = (self.dim, self.factor(k));
        let mut out = vec![0.0; dim * dim];
        for i in 0..dim {
            for j in 0..=i {
                let entry = match self.covariance {
                    Covariance::Full | Covariance::Tied => {
                        let row = |i: usize| &factor[triangle::len(i)..triangle::len(i + 1)];
                        triangle::dot(&row(i)[..=j], row(j))
                    }
                    _ if i != j => 0.0,
                    Covariance::Diagonal => factor[i] * factor[i],
                    Covariance::Spherical => factor[0] * factor[0],
                };
                (out[i * dim + j], out[j * dim + i]) = (entry, entry);
            }
        }
        out
    }

    /// The components these parameters make.
    pub(super) fn components(&self) -> Components {
        let shape = self.covariance.shape(self.dim);
        let mut out = Components::new(self.len(), self.dim, shape);
        self.write_components(&mut out);
        out
    }

    pub(super) fn write_components(&self, out: &mut Components) {
        let (dim, shape) = (self.dim, out.shape);
        let len = shape.len(dim);
        out.mean.copy_from_slice(&self.mean);
        for k in 0..self.len() {
            let w = &mut out.factor[k * len..(k + 1) * len];
            let factor = self.factor(k);
            match shape {
                Shape::Diagonal => {
                    (0..dim).for_each(|j| w[j] = 1.0 / factor[j.min(factor.len() - 1)]);
                }
                Shape::Full => invert(dim, factor, w),
            }
            let constant = self.weights[k].ln() - self.log_det(k);
            out.constant[k] = constant - 0.5 * dim as f64 * LN_2PI;
        }
    }
}
