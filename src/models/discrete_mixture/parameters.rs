//! Weights and values, and the flat `theta` they stand for.

use super::column::{Kind, Levels};
use super::layout::Layout;
use super::tally::Table;

/// What is learned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parameters {
    /// `K - 1` coordinates of the weights, then those of each component.
    pub(super) theta: Vec<f64>,
    pub(super) weights: Vec<f64>,
    /// `values` a component.
    pub(super) values: Vec<f64>,
    /// Coefficients of one component.
    coefficients: Vec<f64>,
}

impl Parameters {
    pub(super) fn new(k: usize, layout: &Layout) -> Parameters {
        Parameters {
            theta: vec![0.0; k - 1 + k * layout.free],
            weights: vec![0.0; k],
            values: vec![0.0; k * layout.values],
            coefficients: vec![0.0; layout.features],
        }
    }

    /// The coordinates of the weights, and those of component `k`.
    pub(super) fn split(&mut self, k: usize, layout: &Layout) -> (&mut [f64], &mut [f64]) {
        let (weights, rest) = self.theta.split_at_mut(self.weights.len() - 1);
        (weights, &mut rest[k * layout.free..(k + 1) * layout.free])
    }

    /// Makes `theta` from numbers.
    pub(super) fn set(&mut self, layout: &Layout, weights: &[f64], values: &[f64]) {
        for (k, values) in values.chunks_exact(layout.values).enumerate() {
            let (of_weights, theta) = self.split(k, layout);
            Levels(weights.len()).coordinates(weights, of_weights);
            for (kind, place) in layout.kinds() {
                let values = &values[place.values(&*kind)];
                kind.coordinates(values, &mut theta[place.free(&*kind)]);
            }
        }
    }

    /// Makes the numbers, and the table of coefficients, from `theta`.
    pub(super) fn write(&mut self, layout: &Layout, table: &mut Table) {
        let k = self.weights.len();
        let (weights, rest) = self.theta.split_at(k - 1);
        Levels(k).natural(weights, &mut table.constant, &mut self.weights);
        for c in 0..k {
            let theta = &rest[c * layout.free..(c + 1) * layout.free];
            let values = &mut self.values[c * layout.values..(c + 1) * layout.values];
            for (kind, place) in layout.kinds() {
                let coefficients = &mut self.coefficients[place.features(&*kind)];
                let values = &mut values[place.values(&*kind)];
                kind.natural(&theta[place.free(&*kind)], coefficients, values);
            }
            for (f, c_f) in self.coefficients.iter().enumerate() {
                table.set(c, f, *c_f);
            }
        }
    }
}
