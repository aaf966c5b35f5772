//! `Layout`: of which blocks the covariances are made, and which components share one.

use serde::{Deserialize, Serialize};

use crate::bijector::Support;
use crate::models::Covariance;
use crate::models::components::{Shape, invert};
use crate::space::Space;
use crate::triangle;

/// The blocks of the covariance of a group of components: one triangle (full, tied), a number a
/// column (diagonal), or one number for all columns (spherical).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    pub(super) covariance: Covariance,
    pub(super) dim: usize,
}

impl Layout {
    /// Columns of a block.
    pub(super) fn block(self) -> usize {
        match self.covariance {
            Covariance::Full | Covariance::Tied => self.dim,
            Covariance::Diagonal | Covariance::Spherical => 1,
        }
    }

    /// How many numbers a group has.
    pub(super) fn len(self) -> usize {
        match self.covariance {
            Covariance::Full | Covariance::Tied => triangle::len(self.dim),
            Covariance::Diagonal => self.dim,
            Covariance::Spherical => 1,
        }
    }

    /// How many columns a block stands for, each of its columns as often.
    pub(super) fn repeats(self) -> f64 {
        if self.covariance == Covariance::Spherical { self.dim as f64 } else { 1.0 }
    }

    /// How many groups `k` components make.
    pub(super) fn groups(self, k: usize) -> usize {
        if self.covariance == Covariance::Tied { 1 } else { k }
    }

    /// The group of component `k`.
    pub(super) fn group(self, k: usize) -> usize {
        if self.covariance == Covariance::Tied { 0 } else { k }
    }

    /// Where number `at` of the factors lives.
    pub(super) fn support(self, at: usize) -> Support {
        let on_diagonal = |at: usize| (0..self.dim).any(|i| triangle::len(i + 1) == at + 1);
        match self.block() == 1 || on_diagonal(at % self.len()) {
            true => Support::Positive,
            false => Support::Real,
        }
    }

    /// Declares the factors of the covariances of `groups` groups: standard deviations, or the
    /// lower triangles of Cholesky factors.
    pub(super) fn declare(self, groups: usize, space: &mut Space) {
        if self.block() == 1 {
            space.positives("sd", groups * self.len());
            return;
        }
        let mut at = 0;
        for g in 1..=groups {
            for i in 1..=self.dim {
                for j in 1..=i {
                    space.one(&format!("factor[{g},{i},{j}]"), self.support(at));
                    at += 1;
                }
            }
        }
    }

    /// What the kernel takes.
    pub(super) fn shape(self) -> Shape {
        if self.block() > 1 { Shape::Full } else { Shape::Diagonal }
    }

    /// Adds `a m`, as far as the blocks know of it.
    pub(super) fn add_matrix(self, a: f64, m: impl Fn(usize, usize) -> f64, out: &mut [f64]) {
        match self.covariance {
            Covariance::Full | Covariance::Tied => {
                for i in 0..self.dim {
                    (0..=i).for_each(|j| out[triangle::len(i) + j] += a * m(i, j));
                }
            }
            Covariance::Diagonal => (0..self.dim).for_each(|j| out[j] += a * m(j, j)),
            Covariance::Spherical => out[0] += a * (0..self.dim).map(|j| m(j, j)).sum::<f64>(),
        }
    }

    /// Adds `a x x'`.
    pub(super) fn add_outer(self, a: f64, x: impl Fn(usize) -> f64, out: &mut [f64]) {
        self.add_matrix(a, |i, j| x(i) * x(j), out);
    }

    /// Adds `a` times a scatter of this shape.
    pub(super) fn add_scatter(self, a: f64, shape: Shape, scatter: &[f64], out: &mut [f64]) {
        match shape {
            Shape::Full => self.add_matrix(a, |i, j| scatter[triangle::len(i) + j], out),
            Shape::Diagonal => self.add_matrix(a, |i, _| scatter[i], out),
        }
    }

    /// Coordinate `i` of the factor of a covariance times `x`.
    pub(super) fn times(self, factor: &[f64], x: &[f64], i: usize) -> f64 {
        match self.covariance {
            Covariance::Full | Covariance::Tied => {
                triangle::dot(&factor[triangle::len(i)..triangle::len(i + 1)], &x[..=i])
            }
            Covariance::Diagonal => factor[i] * x[i],
            Covariance::Spherical => factor[0] * x[i],
        }
    }

    /// The logarithm of the determinant of the factor of a covariance.
    pub(super) fn log_det(self, factor: &[f64]) -> f64 {
        let blocks = factor.chunks_exact(triangle::len(self.block()));
        self.repeats() * blocks.map(triangle::log_det).sum::<f64>()
    }

    /// Writes the inverse of the factor of a covariance in the kernel's shape.
    pub(super) fn write_precision(self, factor: &[f64], out: &mut [f64]) {
        match self.shape() {
            Shape::Full => invert(self.dim, factor, out),
            Shape::Diagonal => {
                let last = factor.len() - 1;
                out.iter_mut().enumerate().for_each(|(j, w)| *w = 1.0 / factor[j.min(last)]);
            }
        }
    }

    /// Row by row, the matrix whose blocks these are.
    pub(super) fn matrix(self, blocks: &[f64]) -> Vec<f64> {
        let dim = self.dim;
        let mut out = vec![0.0; dim * dim];
        for i in 0..dim {
            for j in 0..=i {
                let entry = match self.covariance {
                    Covariance::Full | Covariance::Tied => blocks[triangle::len(i) + j],
                    _ if i != j => 0.0,
                    Covariance::Diagonal => blocks[i],
                    Covariance::Spherical => blocks[0],
                };
                (out[i * dim + j], out[j * dim + i]) = (entry, entry);
            }
        }
        out
    }
}
