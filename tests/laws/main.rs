//! Laws: what every implementor of a trait obeys. A new implementor adds one line.

#[path = "../support/mod.rs"]
mod support;

mod adapters;
mod beta;
mod bijector;
mod broken;
mod composed;
mod conjugate;
mod discrete;
mod estimator;
mod family;
mod gaussians;
mod gradient;
mod labels;
mod optimizer;
mod relaxed;
mod weighted;
