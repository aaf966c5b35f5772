//! Models whose moves are exact: fitted by `EStep` and `MStep` in the loop that fits everything else.

pub(crate) mod components;
pub mod factor_analysis;
pub mod gaussian_mixture;
pub mod linear_regression;
pub mod normal;
pub mod state_space;

pub use gaussian_mixture::{Covariance, GaussianMixture};
