//! Laws: what every implementor of a trait obeys. A new implementor adds one line.

#[path = "../support/mod.rs"]
mod support;

mod estimator;
mod family;
mod gradient;
mod optimizer;
