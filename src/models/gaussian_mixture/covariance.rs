//! `Covariance`: how the covariances of the components are restricted.

use serde::{Deserialize, Serialize};

use crate::data::View;
use crate::error::Error;
use crate::models::components::Shape;
use crate::triangle;

/// How the covariances of the components are restricted; in brackets the name of the same in the R
/// package mclust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Covariance {
    /// One of its own for each component (VVV).
    Full,
    /// The same for all (EEE).
    Tied,
    /// Columns independent within a component, variances of its own for each (VVI).
    Diagonal,
    /// A ball of its own size for each component (VII).
    Spherical,
}

impl Covariance {
    /// All of them, the richest first.
    pub const ALL: [Covariance; 4] =
        [Covariance::Full, Covariance::Tied, Covariance::Diagonal, Covariance::Spherical];

    /// How many numbers the covariances of `components` components in `dim` dimensions have.
    pub fn n_parameters(self, components: usize, dim: usize) -> usize {
        match self {
            Covariance::Full => components * triangle::len(dim),
            Covariance::Tied => triangle::len(dim),
            Covariance::Diagonal => components * dim,
            Covariance::Spherical => components,
        }
    }

    /// The form of a single factor.
    pub(super) fn shape(self, dim: usize) -> Shape {
        match self {
            Covariance::Full | Covariance::Tied if dim > 1 => Shape::Full,
            _ => Shape::Diagonal,
        }
    }

    /// Refuses data under which such a covariance is singular for whatever labels.
    pub(super) fn check(self, data: View<'_>) -> Result<(), Error> {
        let (mean, variance) = (data.mean(), data.variance());
        let dim = data.dim();
        let constant = |j: usize| variance[j].sqrt() <= 1e-14 * mean[j].abs();
        if let Some(j) = (0..dim).find(|&j| constant(j))
            && self != Covariance::Spherical
        {
            return Err(Error::Data {
                place: format!("column {}", data.label(j)),
                value: format!("constant, {}", mean[j]),
                count: String::new(),
                remedy: "Drop it: no normal distribution has variance 0".to_string(),
            });
        }
        if self.shape(dim) == Shape::Diagonal {
            return Ok(());
        }
        let mut l = correlation(data, &mean, &variance)?;
        triangle::factorize(&mut l);
        for (i, row) in triangle::rows(&l).enumerate() {
            // what is left of a column's variance, given the columns before it
            let left = row[i] * row[i];
            if left.is_nan() || left < SINGULAR {
                let reason = format!(
                    "the columns before it determine column {} up to {:.0e} of its variance",
                    data.label(i),
                    left.max(0.0)
                );
                return Err(Error::NotPositiveDefinite {
                    what: "the covariance of the data".to_string(),
                    reason,
                    remedy: "drop that column, or start with independent columns: \
                             `GaussianMixture::of_kind(data, K, Covariance::Diagonal)`, or \
                             `HiddenMarkov::diagonal`"
                        .to_string(),
                });
            }
        }
        Ok(())
    }
}

/// The share of a variance below which there is none.
const SINGULAR: f64 = 1e-12;

/// Missing cells are taken at the mean of their column.
fn correlation(data: View<'_>, mean: &[f64], variance: &[f64]) -> Result<Vec<f64>, Error> {
    let dim = data.dim();
    let mut sums = vec![0.0; triangle::len(dim)];
    let mut u = vec![0.0; dim];
    data.each_row(|n, row| {
        for j in 0..dim {
            u[j] = if row[j].is_nan() { 0.0 } else { (row[j] - mean[j]) / variance[j].sqrt() };
        }
        for i in 0..dim {
            let a = data.weight(n) * u[i] / data.total_weight();
            let row = &mut sums[triangle::len(i)..triangle::len(i + 1)];
            triangle::add_scaled(a, &u[..=i], row);
        }
        true
    })?;
    Ok(sums)
}
