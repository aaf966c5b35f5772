//! Models whose moves are exact: fitted by `EStep` and `MStep` in the loop that fits everything else.

pub mod bayesian_mixture;
pub(crate) mod choose;
pub(crate) mod components;
pub mod discrete_mixture;
pub mod factor_analysis;
pub mod gaussian_mixture;
pub mod hidden_markov;
pub mod linear_regression;
pub mod logistic_regression;
pub mod normal;
pub(crate) mod shares;
pub mod state_space;
pub mod topics;

pub use bayesian_mixture::BayesianMixture;
pub use discrete_mixture::{BayesianDiscreteMixture, DiscreteMixture};
pub use factor_analysis::{BayesianFactors, FactorAnalysis};
pub use gaussian_mixture::{Covariance, GaussianMixture};
pub use hidden_markov::{BayesianHiddenMarkov, HiddenMarkov};
pub use logistic_regression::LogisticRegression;
pub use topics::{Topics, TopicsPosterior};
