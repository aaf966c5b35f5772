//! Models fitted by exact moves, against exact answers and the laws of their moves.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod bayesian_factors;
mod bayesian_factors_missing;
mod bayesian_mixture;
mod bayesian_mixture_missing;
mod compare;
mod compared;
mod discrete_mixture;
mod factor_analysis;
mod factor_analysis_missing;
mod gaussian_mixture;
mod gaussian_mixture_missing;
mod held_out;
mod hidden_markov;
mod hidden_markov_missing;
mod hidden_markov_prior;
mod hidden_markov_search;
mod linear_regression;
mod logistic_regression;
mod moves;
mod normal;
mod promises;
mod row_file;
mod select;
mod state_space;
mod topics;
mod weighted;
