//! What EM and variational Bayes say of a discrete mixture, for comparisons.

use super::{BayesianDiscreteMixture, Column, DiscreteMixture, Labels, MixturePosterior};
use crate::compare::{Compared, Entry, Parameter, Quantity};
use crate::data::Observations;
use crate::error::Error;
use crate::fit::Fit;

/// The names of what column `j` is like: `value[column]`, or `value[column, level]`.
fn names(data: &Observations, j: usize, values: usize) -> Vec<String> {
    let column = &data.names()[j];
    match values {
        1 => vec![format!("value[{column}]")],
        n => (0..n).map(|level| format!("value[{column}, {level}]")).collect(),
    }
}

/// Column `j` of a component or state by its values, as points.
pub(in crate::models) fn points(data: &Observations, j: usize, values: &[f64]) -> Vec<Parameter> {
    let named = names(data, j, values.len()).into_iter().zip(values);
    named.map(|(name, x)| Parameter::point(&name, *x, None)).collect()
}

/// The same by the numbers of the distribution of these values.
pub(in crate::models) fn posteriors(
    data: &Observations,
    column: Column,
    j: usize,
    numbers: &[f64],
) -> Vec<Parameter> {
    let total: f64 = numbers.iter().sum();
    let one = |(at, name): (usize, String)| match column {
        Column::Binary => Parameter::beta(&name, numbers[1], numbers[0]),
        Column::Count => Parameter::gamma(&name, numbers[0], numbers[1]),
        Column::Levels(_) => Parameter::beta(&name, numbers[at], total - numbers[at]),
    };
    let values = column.kind().values();
    names(data, j, values).into_iter().enumerate().map(one).collect()
}

/// Points, and the log likelihood at them, the prior not counted: `weight` and `value[column]` of
/// each component, the probability of a 1 or the rate, or `value[column, level]`.
impl Compared for Fit<DiscreteMixture, Labels> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let (model, data) = (&self.model, self.model.data());
        let mut entry = Entry::new(method)
            .of(data.fingerprint())?
            .reached(Quantity::LogLikelihood, model.criteria().log_likelihood)
            .spent(self);
        for k in 0..model.len() {
            let point = |name: &str, x: f64| Parameter::point(name, x, None).of_component(k);
            entry = entry.with([point("weight", model.weights()[k])]);
            for j in 0..data.dim() {
                let told = points(data, j, model.values(k, j));
                entry = entry.with(told.into_iter().map(|p| p.of_component(k)));
            }
        }
        Ok(entry)
    }
}

/// The same as posteriors, of the components that hold a row or more, the largest first, and the
/// ELBO of the last step.
impl Compared for Fit<BayesianDiscreteMixture, MixturePosterior> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let (q, data) = (&self.q, self.model.data());
        let mut entry = Entry::new(method).of(data.fingerprint())?.spent(self);
        if let Some(elbo) = self.trace.iter().rev().find_map(|step| step.elbo) {
            entry = entry.reached(Quantity::Elbo, elbo);
        }
        let mut held: Vec<usize> = (0..q.len()).filter(|&k| q.expected_count(k) >= 1.0).collect();
        held.sort_by(|&a, &b| q.expected_count(b).total_cmp(&q.expected_count(a)));
        for (place, k) in held.into_iter().enumerate() {
            let all = q.concentrations();
            let weight = Parameter::beta("weight", all[k], all.iter().sum::<f64>() - all[k]);
            entry = entry.with([weight.of_component(place)]);
            for j in 0..data.dim() {
                let told = posteriors(data, self.model.columns()[j], j, &q.hyperparameters(k, j));
                entry = entry.with(told.into_iter().map(|p| p.of_component(place)));
            }
        }
        Ok(entry)
    }
}
