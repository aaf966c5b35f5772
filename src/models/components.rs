//! Components that are quadratic in a row, and one fused pass over the rows: labels, their
//! normalisers, weighted moments.

mod gaps;
mod kernel;
mod moments;
mod packed;
mod partial;
mod pass;
mod patterns;
mod rows;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::data::View;
use crate::triangle;

pub(crate) use moments::Moments;
pub(crate) use partial::{Partial, has_gap, partial};
pub(crate) use pass::{chunk, each_chunk, labels, moments};
pub(crate) use rows::{InMemory, Rows};

/// What a factor looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Shape {
    /// A lower triangle, row by row.
    Full,
    /// A diagonal.
    Diagonal,
}

impl Shape {
    /// How many numbers a factor, or a matrix of second moments, holds.
    pub(crate) fn len(self, dim: usize) -> usize {
        match self {
            Shape::Full => triangle::len(dim),
            Shape::Diagonal => dim,
        }
    }
}

/// `ln rho_k(x) = constant_k - |W_k (x - mean_k)|^2 / 2`, so that a row has label `k` with
/// probability `rho_k(x) / sum_j rho_j(x)`.
///
/// For a mixture of Gaussians the constant holds `ln weight_k` and the normaliser of the density,
/// and `W_k' W_k` is the precision; in a variational Bayes the expectations of both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Components {
    pub(crate) dim: usize,
    pub(crate) shape: Shape,
    /// One a component.
    pub(crate) constant: Vec<f64>,
    /// `dim` a component.
    pub(crate) mean: Vec<f64>,
    /// `W`, a component after another.
    pub(crate) factor: Vec<f64>,
}

impl Components {
    /// Components whose numbers are all zero.
    pub(crate) fn new(k: usize, dim: usize, shape: Shape) -> Components {
        let (mean, factor) = (vec![0.0; k * dim], vec![0.0; k * shape.len(dim)]);
        Components { dim, shape, constant: vec![0.0; k], mean, factor }
    }

    /// Takes over the numbers of components of the same size.
    pub(crate) fn copy_from(&mut self, other: &Components) {
        self.constant.copy_from_slice(&other.constant);
        self.mean.copy_from_slice(&other.mean);
        self.factor.copy_from_slice(&other.factor);
    }

    /// How many components there are.
    pub(crate) fn len(&self) -> usize {
        self.constant.len()
    }

    /// The mean of component `k`.
    pub(crate) fn mean(&self, k: usize) -> &[f64] {
        &self.mean[k * self.dim..(k + 1) * self.dim]
    }

    /// `W` of component `k`.
    pub(crate) fn factor(&self, k: usize) -> &[f64] {
        let len = self.shape.len(self.dim);
        &self.factor[k * len..(k + 1) * len]
    }

    /// `ln rho_k(x)`; of a row with missing cells, that of the cells it has.
    pub(crate) fn log_rho(&self, k: usize, x: &[f64]) -> f64 {
        if has_gap(x) {
            return self.partial(k, x, |at| self.constant[k] + at.gain() - 0.5 * at.square);
        }
        let (mean, factor) = (self.mean(k), self.factor(k));
        let deviation = |j: usize| x[j] - mean[j];
        let square: f64 = match self.shape {
            Shape::Full => triangle::rows(factor)
                .take(self.dim)
                .map(|row| row.iter().enumerate().map(|(j, w)| w * deviation(j)).sum::<f64>())
                .map(|z| z * z)
                .sum(),
            Shape::Diagonal => {
                factor.iter().enumerate().map(|(j, w)| (w * deviation(j)).powi(2)).sum()
            }
        };
        self.constant[k] - 0.5 * square
    }

    /// Calls `f` with what component `k` makes of a row with missing cells.
    pub(crate) fn partial<R>(&self, k: usize, x: &[f64], f: impl FnOnce(Partial<'_>) -> R) -> R {
        let (mean, factor) = (self.mean(k), self.factor(k));
        let w = |i: usize, j: usize| match self.shape {
            Shape::Full => factor[triangle::len(i) + j],
            Shape::Diagonal if i == j => factor[i],
            Shape::Diagonal => 0.0,
        };
        partial(x, |j| mean[j], w, f)
    }

    /// `sum_n w_n ln rho_{z_n}(x_n)`; negative infinity where a label is none, NaN if the rows
    /// cannot be read.
    pub(crate) fn log_joint(&self, data: View<'_>, z: &[f64]) -> f64 {
        let mut sum = 0.0;
        let read = data.each_row(|i, x| {
            let label = z[i] >= 0.0 && z[i] < self.len() as f64 && z[i].fract() == 0.0;
            sum += match label {
                true => data.weight(i) * self.log_rho(z[i] as usize, x),
                false => f64::NEG_INFINITY,
            };
            label
        });
        read.map_or(f64::NAN, |()| sum)
    }

    /// Writes the probability of each label of a row, and returns `ln sum_k rho_k(x)`.
    pub(crate) fn probabilities(&self, x: &[f64], out: &mut [f64]) -> f64 {
        for (k, out) in out.iter_mut().enumerate() {
            *out = self.log_rho(k, x);
        }
        let top = out.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        out.iter_mut().for_each(|l| *l = (*l - top).exp());
        let sum: f64 = out.iter().sum();
        out.iter_mut().for_each(|p| *p /= sum);
        top + sum.ln()
    }

    /// `sum_k E[r_k ln rho_k]` from the moments of the rows.
    pub(crate) fn expected_log_rho(&self, moments: &Moments) -> f64 {
        (0..self.len())
            .map(|k| {
                let square = moments.square(k, self.mean(k), self.factor(k));
                moments.count(k) * self.constant[k] - 0.5 * square
            })
            .sum()
    }
}

/// Writes the inverse of a lower triangle.
pub(crate) fn invert(dim: usize, l: &[f64], out: &mut [f64]) {
    let at = |i: usize, j: usize| triangle::len(i) + j;
    for j in 0..dim {
        out[at(j, j)] = 1.0 / l[at(j, j)];
        for i in j + 1..dim {
            let sum: f64 = (j..i).map(|m| l[at(i, m)] * out[at(m, j)]).sum();
            out[at(i, j)] = -sum / l[at(i, i)];
        }
    }
}
