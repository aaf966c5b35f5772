//! Draws in proportion to weights, for starts.

use rand::{Rng, RngExt};

/// A number drawn in proportion to its weight; the first where all are zero.
pub(crate) fn pick(weights: &[f64], rng: &mut dyn Rng) -> usize {
    let total: f64 = weights.iter().sum();
    let mut left = rng.random::<f64>() * total;
    let hit = weights.iter().position(|w| {
        left -= w;
        left < 0.0
    });
    hit.unwrap_or(0)
}
