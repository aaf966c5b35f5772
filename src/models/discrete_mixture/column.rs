//! `Column`: what a column of a discrete mixture holds, and what a component knows of it.

mod binary;
mod count;
mod levels;

use std::ops::Deref;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::bijector::Support;
use crate::error::Error;

pub(crate) use levels::Levels;

/// No probability and no rate is smaller: where the likelihood is highest at 0 they stay here, so
/// that a row unlike all others is unlikely rather than impossible.
pub(super) const LEAST: f64 = 1e-10;

/// What a column holds, and how its cells are distributed in a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Column {
    /// 0 or 1: `Bernoulli(p)`.
    Binary,
    /// One of the numbers `0, 1, .., n - 1`: `Categorical(p_0, .., p_(n - 1))`.
    Levels(usize),
    /// A whole number, 0 or more: `Poisson(rate)`.
    Count,
}

/// What a kind of column can do.
///
/// In a component the log probability of a cell is a sum of features of the cell times
/// coefficients; the sums of the features over rows are the statistics of the component. A prior
/// has a number for each feature, too, and `ln p` at a point is its constant plus the sum of
/// (number less [`Kind::less`]) times coefficient.
pub(crate) trait Kind {
    /// How many features a cell has.
    fn features(&self) -> usize;
    /// How many numbers describe the column in a component: probabilities, or a rate.
    fn values(&self) -> usize;
    /// How many of them are free.
    fn free(&self) -> usize;
    /// What such a number is called.
    fn name(&self) -> &'static str;
    /// Where the values live.
    fn support(&self) -> Support;
    /// Whether such a cell may be.
    fn holds(&self, x: f64) -> bool;
    /// What a cell must be, in words.
    fn must(&self) -> String;
    /// Whether these are values.
    fn fits(&self, values: &[f64]) -> bool;
    /// Writes the coordinates of the best values for these statistics; leaves them as they are
    /// where nothing has been seen.
    fn best(&self, statistics: &[f64], theta: &mut [f64]);
    /// Writes the coefficients and the values that the coordinates stand for.
    fn natural(&self, theta: &[f64], coefficients: &mut [f64], values: &mut [f64]);
    /// Writes the coordinates of the values.
    fn coordinates(&self, values: &[f64], theta: &mut [f64]);
    /// Writes the coefficients of the values.
    fn coefficients(&self, values: &[f64], out: &mut [f64]);
    /// What is taken off the number of a prior for a feature.
    fn less(&self, feature: usize) -> f64;
    /// What the log density of the prior has besides.
    fn log_constant(&self, prior: &[f64]) -> f64;
    /// Writes the expected coefficients under a distribution of the form of the prior.
    fn expected(&self, prior: &[f64], out: &mut [f64]);
    /// Writes mean and sd of each value.
    fn summary(&self, prior: &[f64], mean: &mut [f64], sd: &mut [f64]);
    /// Fills `values` with a draw.
    ///
    /// # Errors
    /// None where the numbers are positive and finite.
    fn draw(&self, prior: &[f64], rng: &mut dyn Rng, values: &mut [f64]) -> Result<(), Error>;
    /// The log probability of a cell with the values integrated out.
    fn log_predictive(&self, prior: &[f64], x: f64) -> f64;
    /// Draws a cell.
    fn cell(&self, values: &[f64], rng: &mut dyn Rng) -> f64;
    /// How far apart two cells are, squared.
    fn distance(&self, a: f64, b: f64) -> f64;

    /// The log density of the prior, or what is expected of it, at these coefficients.
    fn log_density(&self, prior: &[f64], coefficients: &[f64]) -> f64 {
        let each = prior.iter().zip(coefficients).enumerate();
        let sum: f64 = each.map(|(f, (p, c))| (p - self.less(f)) * c).sum();
        self.log_constant(prior) + sum
    }
}

/// Any kind.
pub(crate) enum AnyKind {
    Binary,
    Levels(Levels),
    Count,
}

impl Deref for AnyKind {
    type Target = dyn Kind;
    fn deref(&self) -> &Self::Target {
        match self {
            AnyKind::Binary => &binary::Binary,
            AnyKind::Levels(levels) => levels,
            AnyKind::Count => &count::Count,
        }
    }
}

impl Column {
    pub(crate) fn kind(self) -> AnyKind {
        match self {
            Column::Binary => AnyKind::Binary,
            Column::Levels(n) => AnyKind::Levels(Levels(n)),
            Column::Count => AnyKind::Count,
        }
    }
}
