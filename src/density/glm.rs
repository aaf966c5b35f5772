//! Likelihoods of generalized linear models: all rows of the data as one node, with its own gradient
//! and Hessian products.
//!
//! Row `i` of the data has the linear predictor
//!
//! ```text
//! eta_i = offset_i + x_i . beta + a[g_i] + w_i . b[g_i]
//! ```
//!
//! where everything but `x_i . beta` is optional: an intercept `a` and slopes `b` for each group,
//! gathered by the group `g_i` of the row. A likelihood is built once, where the data are checked,
//! and evaluated in a log joint over any [`Real`].
//!
//! ```
//! use elbo::density::{self, glm};
//! use elbo::{from_fn, Error, Model, Space};
//!
//! # fn main() -> Result<(), Error> {
//! // four rows of (1, dose), and whether each responded
//! let x = [1.0, 0.1, 1.0, 0.4, 1.0, 0.9, 1.0, 1.5];
//! let likelihood = glm::bernoulli_logit(&x, 2, &[false, false, true, true])?;
//!
//! let mut space = Space::new();
//! let beta = space.reals("beta", 2);
//! let model = from_fn(space, move |z| {
//!     density::normals(&z[beta], 0.0, 2.5) + likelihood.log_prob(&z[beta])
//! });
//! assert!(model.log_joint(&[-2.0, 3.0]).is_finite());
//! # Ok(())
//! # }
//! ```
//!
//! Groups, offsets and names go through [`Design`]:
//!
//! ```
//! use elbo::density::{self, glm::Design};
//! use elbo::{from_fn, Error, Model, Space};
//!
//! # fn main() -> Result<(), Error> {
//! let (floor, county) = ([0.0, 1.0, 0.0, 1.0, 0.0], [0, 0, 1, 2, 2]);
//! let likelihood = Design::columns(&[&floor])
//!     .named(["floor"])
//!     .groups(&county, 3)
//!     .normal(&[1.1, 0.3, 0.8, -0.2, 1.0])?;
//!
//! let mut space = Space::new();
//! let (beta, county, sd) = (space.reals("beta", 1), space.reals("county", 3), space.positive("sd"));
//! let model = from_fn(space, move |z| {
//!     density::normals(&z[county], 0.0, 1.0)
//!         + density::half_normal(z[sd], 1.0)
//!         + likelihood.at(&z[beta], z[sd]).intercepts(&z[county]).log_prob()
//! });
//! assert!(model.log_joint(&[0.0, 1.0, 1.0, 0.0, 0.5]).is_finite());
//! # Ok(())
//! # }
//! ```

mod dense;
mod design;
mod grouped;
mod kernel;
mod link;
mod panels;
mod product;
mod residual;
mod shared;

use std::sync::Arc;

pub use design::Design;
use shared::Shared;

use crate::autodiff::Real;
use crate::error::Error;
use crate::model::Subsample;

/// `sum_i log Bernoulli(y_i; sigmoid(x_i . beta))`: `x` row by row with `n_columns` columns, `y` of
/// `bool`, 0 or 1. Groups and offsets: [`Design`].
///
/// # Errors
/// No rows; lengths that disagree; a number that is not finite; an outcome that is not 0 or 1.
pub fn bernoulli_logit<Y: Into<f64> + Copy>(
    x: &[f64],
    n_columns: usize,
    y: &[Y],
) -> Result<Likelihood, Error> {
    Design::rows(x, n_columns).bernoulli_logit(y)
}

/// `sum_i log Poisson(y_i; e^(x_i . beta))`: `x` row by row with `n_columns` columns, `y` whole
/// numbers from 0 on. An exposure is an offset, its log: [`Design::offset`].
///
/// # Errors
/// No rows; lengths that disagree; a number that is not finite; a count that is negative or broken.
pub fn poisson_log<Y: Into<f64> + Copy>(
    x: &[f64],
    n_columns: usize,
    y: &[Y],
) -> Result<Likelihood, Error> {
    Design::rows(x, n_columns).poisson_log(y)
}

/// `sum_i log Binomial(y_i; trials_i, sigmoid(x_i . beta))`: `x` row by row with `n_columns` columns.
///
/// # Errors
/// No rows; lengths that disagree; a number that is not finite; a count that is not a whole number
/// from 0 to its trials.
pub fn binomial_logit<Y: Into<f64> + Copy, N: Into<f64> + Copy>(
    x: &[f64],
    n_columns: usize,
    y: &[Y],
    trials: &[N],
) -> Result<Likelihood, Error> {
    Design::rows(x, n_columns).binomial_logit(y, trials)
}

/// `sum_i log N(y_i; x_i . beta, sd)`: `x` row by row with `n_columns` columns; `sd` may be unknown.
///
/// # Errors
/// No rows; lengths that disagree; a number that is not finite.
pub fn normal(x: &[f64], n_columns: usize, y: &[f64]) -> Result<NormalLikelihood, Error> {
    Design::rows(x, n_columns).normal(y)
}

/// The likelihood of a Bernoulli, binomial or Poisson model: cheap to clone, the data are shared.
///
/// It is [`Subsample`]: told to look at some rows, it multiplies their log likelihood by
/// `n_data / rows.len()`, also where it has been recorded before: a model whose own
/// [`Subsample`] does nothing but tell its likelihoods may say
/// [`keeps_formula`](Subsample::keeps_formula). Clones look at rows of their own.
#[derive(Debug)]
pub struct Likelihood {
    node: Arc<Shared>,
}

/// The likelihood of a linear model with normal errors of one, possibly unknown, sd.
#[derive(Debug)]
pub struct NormalLikelihood {
    node: Arc<Shared>,
}

/// A likelihood with its parameters, to which those of the groups can be added.
#[derive(Clone, Debug)]
#[must_use = "a likelihood at a point is evaluated by `log_prob`"]
pub struct At<'a, T> {
    node: &'a Arc<Shared>,
    coefficients: &'a [T],
    intercepts: &'a [T],
    slopes: &'a [T],
    sd: Option<T>,
}

impl Likelihood {
    /// `sum_i log p(y_i | eta_i)` at the coefficients `beta`, for a design without groups.
    ///
    /// # Panics
    /// If the number of coefficients is not the number of columns, or there are groups.
    pub fn log_prob<T: Real>(&self, coefficients: &[T]) -> T {
        self.at(coefficients).log_prob()
    }

    /// The likelihood at the coefficients `beta`; goes on with [`At::intercepts`] and
    /// [`At::slopes`].
    pub fn at<'a, T: Real>(&'a self, coefficients: &'a [T]) -> At<'a, T> {
        At { node: &self.node, coefficients, intercepts: &[], slopes: &[], sd: None }
    }
}

impl NormalLikelihood {
    /// `sum_i log N(y_i; eta_i, sd)` at the coefficients `beta`, for a design without groups.
    ///
    /// # Panics
    /// If the number of coefficients is not the number of columns, or there are groups.
    pub fn log_prob<T: Real>(&self, coefficients: &[T], sd: impl Into<T>) -> T {
        self.at(coefficients, sd).log_prob()
    }

    /// The likelihood at the coefficients `beta`; goes on with [`At::intercepts`] and
    /// [`At::slopes`].
    pub fn at<'a, T: Real>(&'a self, coefficients: &'a [T], sd: impl Into<T>) -> At<'a, T> {
        let sd = Some(sd.into());
        At { node: &self.node, coefficients, intercepts: &[], slopes: &[], sd }
    }
}

impl<'a, T: Real> At<'a, T> {
    /// Adds `a`: an intercept for each group.
    pub fn intercepts(self, intercepts: &'a [T]) -> At<'a, T> {
        At { intercepts, ..self }
    }

    /// Adds `b`: slopes for each group, group after group; `b[g]` is
    /// `g * n_slopes .. (g + 1) * n_slopes`.
    pub fn slopes(self, slopes: &'a [T]) -> At<'a, T> {
        At { slopes, ..self }
    }

    /// `sum_i log p(y_i | eta_i)`, times `n_data / rows` under [`Subsample::subsample`].
    ///
    /// # Panics
    /// If a number of parameters is not the one the design calls for.
    pub fn log_prob(self) -> T {
        let shape = self.node.node().shape();
        for (what, got, want) in [
            ("coefficients", self.coefficients.len(), shape.n_columns),
            ("intercepts of groups", self.intercepts.len(), shape.n_groups),
            ("slopes of groups", self.slopes.len(), shape.n_groups * shape.n_slopes),
        ] {
            assert!(
                got == want,
                "the likelihood of {} needs {want} {what} but was given {got}",
                shape.link.name()
            );
        }
        let mut parameters = Vec::with_capacity(shape.n_inputs());
        parameters.extend_from_slice(self.coefficients);
        parameters.extend_from_slice(self.intercepts);
        parameters.extend_from_slice(self.slopes);
        parameters.extend(self.sd);
        T::primitive(&parameters, self.node)
    }
}

macro_rules! rows {
    ($likelihood:ident) => {
        impl Clone for $likelihood {
            fn clone(&self) -> Self {
                let node = self.node.node().clone();
                $likelihood { node: Arc::new(Shared::new(node)) }
            }
        }

        impl Subsample for $likelihood {
            fn n_data(&self) -> usize {
                self.node.node().shape().n_rows
            }
            fn subsample(&mut self, rows: &[usize]) {
                self.node.node_mut().subsample(rows);
            }
            fn whole(&mut self) {
                self.node.node_mut().whole();
            }
            fn arrange(&mut self, order: &[usize]) -> bool {
                self.node.node_mut().arrange(order)
            }
        }
    };
}
rows!(Likelihood);
rows!(NormalLikelihood);
