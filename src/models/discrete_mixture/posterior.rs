//! `MixturePosterior`: the distribution of labels, weights and values of a discrete mixture.

use std::sync::Arc;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::Labels;
use super::column::{AnyKind, Kind, Levels};
use super::layout::{Layout, Place};
use super::prior::Checked;
use super::tally::{Table, Tally, stride};
use crate::bijector::Support;
use crate::data::Observations;
use crate::family::Family;
use crate::models::components::InMemory;
use crate::scratch::with_buffer;

/// `q(labels) q(weights) prod_kj q(value_kj)`: labels as [`Labels`] are, Dirichlet weights, and Beta,
/// Dirichlet or Gamma values. `z` is labels, weights (where there are two components or more), and
/// the values of one component after another.
///
/// It does not grow with the number of rows, and knows which rows are meant only while it has the
/// data: read back from a file, from the next step on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MixturePosterior {
    labels: Labels,
    /// Of the Dirichlet of the weights.
    weights: Vec<f64>,
    /// What a prior has, in the order of a table: of the values.
    pub(super) numbers: Vec<f64>,
    /// The expected coefficients.
    #[serde(skip)]
    table: Table,
}

/// Calls `f` with each component, kind of column and place, and the numbers of the features.
pub(super) fn each(
    layout: &Layout,
    k: usize,
    numbers: &[f64],
    mut f: impl FnMut(usize, &AnyKind, Place, &[f64]),
) {
    with_buffer(layout.features, |own| {
        for c in 0..k {
            for (at, own) in own.iter_mut().enumerate() {
                *own = numbers[at * stride(k) + c];
            }
            for (kind, place) in layout.kinds() {
                let features = place.features(&*kind);
                f(c, &kind, place, &own[features]);
            }
        }
    });
}

impl MixturePosterior {
    pub(super) fn new(labels: Labels) -> MixturePosterior {
        let (k, features) = (labels.len(), labels.layout().features);
        let (weights, numbers) = (vec![1.0; k], vec![1.0; features * stride(k)]);
        MixturePosterior { labels, weights, numbers, table: Table::default() }
    }

    pub(super) fn layout(&self) -> &Layout {
        self.labels.layout()
    }

    /// `K`: how many components there may be.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Never: there is at least one component.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// The labels.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// `N_k`: how many rows, by weight, are expected in component `k`; NaN before the first step.
    pub fn expected_count(&self, k: usize) -> f64 {
        self.labels.expected_count(k)
    }

    /// The concentrations of the Dirichlet distribution of the weights.
    pub fn concentrations(&self) -> &[f64] {
        &self.weights
    }

    /// The means of the weights.
    pub fn mean_weights(&self) -> Vec<f64> {
        let total: f64 = self.weights.iter().sum();
        self.weights.iter().map(|a| a / total).collect()
    }

    /// Mean and sd of the values of column `j` in component `k`: the probability of a 1, those of
    /// the levels, or the rate.
    ///
    /// # Panics
    /// If there is no such component or column.
    pub fn values(&self, k: usize, j: usize) -> (Vec<f64>, Vec<f64>) {
        let numbers = self.hyperparameters(k, j);
        let kind = self.layout().places[j].column.kind();
        let (mut mean, mut sd) = (vec![0.0; kind.values()], vec![0.0; kind.values()]);
        kind.summary(&numbers, &mut mean, &mut sd);
        (mean, sd)
    }

    /// What the distribution of those values is: `(b, a)` of a `Beta(a, b)`, the concentrations of a
    /// Dirichlet, or shape and rate of a Gamma.
    ///
    /// # Panics
    /// If there is no such component or column.
    pub fn hyperparameters(&self, k: usize, j: usize) -> Vec<f64> {
        assert!(k < self.len(), "there is no component {k}");
        let place = self.layout().places[j];
        let features = place.features(&*place.column.kind());
        features.map(|f| self.numbers[f * stride(self.len()) + k]).collect()
    }

    /// Makes the labels anew, from the expected coefficients.
    pub(super) fn label(&mut self, data: &Arc<Observations>, rows: InMemory<'_>) {
        self.refresh();
        self.labels.move_to(data, &self.table, rows, 1.0);
    }

    fn refresh(&mut self) {
        let k = self.len();
        if self.table.len() != k {
            self.table = Table::new(k, self.layout().features);
        }
        Levels(k).expected(&self.weights, &mut self.table.constant);
        let (table, layout) = (&mut self.table, self.labels.layout());
        with_buffer(layout.features, |expected| {
            each(layout, k, &self.numbers, |c, kind, place, own| {
                let features = place.features(&**kind);
                kind.expected(own, &mut expected[features.clone()]);
                features.for_each(|f| table.set(c, f, expected[f]));
            });
        });
    }

    /// Moves weights and values the fraction `rate` of the way to the best for the labels.
    pub(super) fn update(&mut self, prior: &Checked, rate: f64) {
        let tally = std::mem::take(&mut self.labels.tally);
        self.move_to(prior, &tally, rate);
        self.labels.tally = tally;
    }

    /// The same for sums over rows of any labels.
    pub(super) fn move_to(&mut self, prior: &Checked, tally: &Tally, rate: f64) {
        let mix = |old: &mut f64, new: f64| *old = (1.0 - rate) * *old + rate * new;
        for (a, n) in self.weights.iter_mut().zip(&tally.count) {
            mix(a, prior.weights + n);
        }
        let stride = tally.count.len();
        let features = self.numbers.chunks_exact_mut(stride).zip(tally.sum.chunks_exact(stride));
        for ((numbers, sums), prior) in features.zip(&prior.numbers) {
            numbers.iter_mut().zip(sums).for_each(|(a, s)| mix(a, prior + s));
        }
        self.refresh();
    }

    /// The ELBO, but for what the log probabilities of the rows have in every component.
    pub(super) fn elbo(&self, prior: &Checked) -> f64 {
        let k = self.len();
        let labels = self.labels.tally.expected_log_rho(&self.table) + self.labels.entropy;
        let weights = with_buffer(k, |flat| {
            flat.fill(prior.weights);
            let at = &self.table.constant;
            Levels(k).log_density(flat, at) - Levels(k).log_density(&self.weights, at)
        });
        let mut values = 0.0;
        with_buffer(self.layout().features, |expected| {
            each(self.layout(), k, &self.numbers, |c, kind, place, own| {
                let features = place.features(&**kind);
                let expected = &mut expected[features.clone()];
                expected.iter_mut().zip(features.clone()).for_each(|(e, f)| {
                    *e = self.table.coefficient(c, f);
                });
                let prior = &prior.numbers[features];
                values += kind.log_density(prior, expected) - kind.log_density(own, expected);
            });
        });
        labels + weights + values
    }

    /// How many coordinates the weights have.
    fn n_weights(&self) -> usize {
        if self.len() > 1 { self.len() } else { 0 }
    }

    /// `z` in parts: labels, weights, values.
    fn parts<'a>(&self, z: &'a [f64]) -> (&'a [f64], &'a [f64], &'a [f64]) {
        let (labels, rest) = z.split_at(self.labels.dim());
        let (weights, values) = rest.split_at(self.n_weights());
        (labels, weights, values)
    }
}

impl Family for MixturePosterior {
    fn dim(&self) -> usize {
        self.labels.dim() + self.n_weights() + self.len() * self.layout().values
    }
    fn support(&self, i: usize) -> Support {
        let Some(i) = i.checked_sub(self.labels.dim()) else { return self.labels.support(i) };
        let Some(i) = i.checked_sub(self.n_weights()) else { return Support::Simplex };
        let (within, places) = (i % self.layout().values, &self.layout().places);
        let after = places.partition_point(|p| p.value <= within);
        places[after - 1].column.kind().support()
    }
    /// The logarithms of what describes weights and values, and what describes the labels.
    fn n_params(&self) -> usize {
        self.weights.len() + self.numbers.len() + self.labels.n_params()
    }
    fn params(&self, out: &mut [f64]) {
        let (own, labels) = out.split_at_mut(self.weights.len() + self.numbers.len());
        let all = self.weights.iter().chain(&self.numbers);
        own.iter_mut().zip(all).for_each(|(out, x)| *out = x.ln());
        self.labels.params(labels);
    }
    fn set_params(&mut self, params: &[f64]) {
        let (own, labels) = params.split_at(self.weights.len() + self.numbers.len());
        let all = self.weights.iter_mut().chain(&mut self.numbers);
        all.zip(own).for_each(|(x, p)| *x = p.exp().clamp(f64::MIN_POSITIVE, f64::MAX));
        self.labels.set_params(labels);
        self.refresh();
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        let (n, w) = (self.labels.dim(), self.n_weights());
        for z in z.chunks_exact_mut(self.dim()) {
            let (labels, rest) = z.split_at_mut(n);
            let (weights, values) = rest.split_at_mut(w);
            self.labels.sample(rng, labels);
            if w > 0 && Levels(w).draw(&self.weights, rng, weights).is_err() {
                weights.fill(f64::NAN);
            }
            each(self.layout(), self.len(), &self.numbers, |k, kind, place, own| {
                let values = &mut values[k * self.layout().values..][place.values(&**kind)];
                if kind.draw(own, rng, values).is_err() {
                    values.fill(f64::NAN);
                }
            });
        }
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let (labels, weights, values) = self.parts(z);
        let mut sum = self.labels.log_prob(labels);
        let mut density = |kind: &dyn Kind, numbers: &[f64], values: &[f64]| {
            with_buffer(kind.features(), |coefficients| {
                sum += match kind.fits(values) {
                    true => {
                        kind.coefficients(values, coefficients);
                        kind.log_density(numbers, coefficients)
                    }
                    false => f64::NEG_INFINITY,
                };
            });
        };
        if !weights.is_empty() {
            density(&Levels(weights.len()), &self.weights, weights);
        }
        each(self.layout(), self.len(), &self.numbers, |k, kind, place, own| {
            let values = &values[k * self.layout().values..][place.values(&**kind)];
            density(&**kind, own, values);
        });
        sum
    }
    fn entropy(&self) -> Option<f64> {
        let mut sum = self.labels.entropy()?;
        let mut add = |kind: &dyn Kind, numbers: &[f64]| {
            with_buffer(kind.features(), |expected| {
                kind.expected(numbers, expected);
                sum -= kind.log_density(numbers, expected);
            });
        };
        add(&Levels(self.len()), &self.weights);
        each(self.layout(), self.len(), &self.numbers, |_, kind, _, own| add(&**kind, own));
        Some(sum)
    }
}
