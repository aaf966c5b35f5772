//! What is believed of a mixture, for comparisons: posteriors of weights and means.

use super::{BayesianMixture, Covariance, MixturePosterior, Weights};
use crate::compare::{Compared, Entry, Parameter, Quantity};
use crate::error::Error;
use crate::fit::Fit;

/// `weight`, `mean[column]` and the variances `covariance[column, column]` of the components that hold
/// a row or more, and the ELBO of the last step. Under sticks the weights but the first are given by
/// their means alone; where tied there is one variance a column for all.
impl Compared for Fit<BayesianMixture, MixturePosterior> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let (q, data) = (&self.q, self.model.data());
        let mut entry = Entry::new(method).of(data.fingerprint()?)?.spent(self);
        if let Some(elbo) = self.trace.iter().rev().find_map(|step| step.elbo) {
            entry = entry.reached(Quantity::Elbo, elbo);
        }
        let (weights, kind) = (q.weights(), q.covariance_kind());
        let columns = if kind == Covariance::Spherical { 0..1 } else { 0..data.dim() };
        let variance = |k: usize, j: usize| {
            let (shape, rate) = q.variance_numbers(k, j);
            let name = &data.names()[j];
            Parameter::inverse_gamma(&format!("covariance[{name}, {name}]"), shape, rate)
        };
        for (place, k) in q.occupied().into_iter().enumerate() {
            let numbers = q.concentration();
            let shapes = match q.weights_kind() {
                _ if q.len() == 1 => None,
                Weights::Dirichlet => Some((numbers[k], numbers.iter().sum::<f64>() - numbers[k])),
                Weights::StickBreaking => (k == 0).then(|| (numbers[0], numbers[1])),
            };
            let weight = match shapes {
                None => Parameter::point("weight", weights[k], None),
                Some((a, b)) => Parameter::beta("weight", a, b),
            };
            entry = entry.with([weight.of_component(place)]);
            let mean = |j: usize| {
                let (scale, freedom) = q.mean_scale(k, j);
                let name = format!("mean[{}]", data.names()[j]);
                Parameter::student(&name, q.mean(k)[j], scale, freedom).of_component(place)
            };
            entry = entry.with((0..data.dim()).map(mean));
            if kind != Covariance::Tied {
                entry = entry.with(columns.clone().map(|j| variance(k, j).of_component(place)));
            }
        }
        if kind == Covariance::Tied {
            entry = entry.with(columns.map(|j| variance(0, j)));
        }
        Ok(entry)
    }
}
