//! A layer whose weights are independent normals: the mean and the variance of what enters each unit.

use crate::nn::activation::add_sums;
use crate::nn::mlp::Plan;
use crate::nn::product::{Into, Matrix, multiply};
use crate::nn::room;

/// Two numbers for each weight of a network, or for each unit at each column of a panel: what
/// belongs to means, and what belongs to variances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair<'a> {
    pub mean: &'a [f64],
    pub variance: &'a [f64],
}

/// A pair to write to.
#[derive(Debug)]
pub(super) struct PairMut<'a> {
    pub mean: &'a mut [f64],
    pub variance: &'a mut [f64],
}

/// The squares of what enters a layer, and room for a product.
#[derive(Debug, Default)]
pub(super) struct Squares {
    squares: Vec<f64>,
    product: Vec<f64>,
}

impl Squares {
    /// With `x` the panel that enters the layer, `w_ij ~ N(mean, variance)` its weights and biases:
    /// of `sum_i x_i w_ij + b_j`, at each column, the mean `sum_i x_i E[w_ij] + E[b_j]` and the
    /// variance `sum_i x_i^2 Var[w_ij] + Var[b_j]`.
    pub fn forward(
        &mut self,
        plan: &Plan,
        weights: Pair<'_>,
        x: &[f64],
        columns: usize,
        out: &mut PairMut<'_>,
    ) {
        let squares = room(&mut self.squares, x.len());
        squares.iter_mut().zip(x).for_each(|(square, x)| *square = x * x);
        let parts = [(x, weights.mean, &mut *out.mean), (squares, weights.variance, out.variance)];
        for (x, weights, out) in parts {
            let (weights, bias) = of_layer(plan, weights);
            let left = Matrix { numbers: x, down: 1, across: columns };
            let right = Matrix { numbers: weights, down: plan.outputs, across: 1 };
            multiply((columns, plan.outputs, plan.inputs), Into::Replace, left, right, out);
            for (out, bias) in out.chunks_exact_mut(columns).zip(bias) {
                out.iter_mut().for_each(|out| *out += bias);
            }
        }
    }

    /// After [`Squares::forward`]: adds the gradient in the means and variances of the weights, from
    /// that in the means and variances `d` of what enters the units.
    pub fn weights(
        &self,
        plan: &Plan,
        x: &[f64],
        columns: usize,
        d: Pair<'_>,
        grad: &mut PairMut<'_>,
    ) {
        let parts = [
            (x, d.mean, &mut *grad.mean),
            (&self.squares[..x.len()], d.variance, &mut *grad.variance),
        ];
        for (x, d, grad) in parts {
            let here = &mut grad[plan.start..][..plan.weights() + plan.outputs];
            let (weights, bias) = here.split_at_mut(plan.weights());
            let left = Matrix { numbers: d, down: columns, across: 1 };
            let right = Matrix { numbers: x, down: 1, across: columns };
            multiply((plan.outputs, plan.inputs, columns), Into::Add, left, right, weights);
            add_sums(d, columns, bias);
        }
    }

    /// Writes the gradient in what enters the layer into `dx`.
    pub fn inputs(
        &mut self,
        plan: &Plan,
        weights: Pair<'_>,
        x: &[f64],
        columns: usize,
        d: Pair<'_>,
        dx: &mut [f64],
    ) {
        let product = room(&mut self.product, x.len());
        let parts = [(d.mean, weights.mean, &mut *dx), (d.variance, weights.variance, product)];
        for (d, weights, out) in parts {
            let left = Matrix { numbers: d, down: 1, across: columns };
            let right =
                Matrix { numbers: of_layer(plan, weights).0, down: 1, across: plan.outputs };
            multiply((columns, plan.inputs, plan.outputs), Into::Replace, left, right, out);
        }
        for ((dx, product), x) in dx.iter_mut().zip(&self.product).zip(x) {
            *dx += 2.0 * x * product;
        }
    }
}

/// The numbers of one layer: weights, biases.
fn of_layer<'a>(plan: &Plan, all: &'a [f64]) -> (&'a [f64], &'a [f64]) {
    all[plan.start..][..plan.weights() + plan.outputs].split_at(plan.weights())
}
