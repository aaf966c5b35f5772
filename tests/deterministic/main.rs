//! Moves without noise against answers known in closed form.

#[path = "../support/mod.rs"]
mod support;

mod fixed_draws;
mod laplace;
