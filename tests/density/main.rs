//! What models are written with: densities, likelihoods as one node, and the special functions below
//! them.

#[path = "../support/mod.rs"]
mod support;

mod dense;
mod gaussian;
mod glm;
mod grouped;
mod plain;
mod special;
