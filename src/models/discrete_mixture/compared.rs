//! What EM and variational Bayes say of a discrete mixture, for comparisons.

use super::{BayesianDiscreteMixture, Column, DiscreteMixture, Labels, MixturePosterior};
use crate::compare::{Compared, Entry, Parameter, Quantity};
use crate::data::Observations;
use crate::error::Error;
use crate::fit::Fit;
use crate::special::beta_quantile;

/// The names of what column `j` is like: `value[column]`, or `value[column, level]`.
fn names(data: &Observations, j: usize, values: usize) -> Vec<String> {
    let column = &data.names()[j];
    match values {
        1 => vec![format!("value[{column}]")],
        n => (0..n).map(|level| format!("value[{column}, {level}]")).collect(),
    }
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
                let values = model.values(k, j);
                let named = names(data, j, values.len()).into_iter().zip(values);
                entry = entry.with(named.map(|(name, x)| point(&name, *x)));
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
            let weight = beta("weight", all[k], all.iter().sum::<f64>() - all[k]);
            entry = entry.with([weight.of_component(place)]);
            for j in 0..data.dim() {
                let numbers = q.hyperparameters(k, j);
                let values = q.values(k, j).0.len();
                let one = |(at, name): (usize, String)| {
                    let value = match self.model.columns()[j] {
                        Column::Binary => beta(&name, numbers[1], numbers[0]),
                        Column::Count => Parameter::gamma(&name, numbers[0], numbers[1]),
                        Column::Levels(_) => {
                            beta(&name, numbers[at], numbers.iter().sum::<f64>() - numbers[at])
                        }
                    };
                    value.of_component(place)
                };
                entry = entry.with(names(data, j, values).into_iter().enumerate().map(one));
            }
        }
        Ok(entry)
    }
}

/// A probability that is a Beta of these shapes; 1 where the second is none.
fn beta(name: &str, a: f64, b: f64) -> Parameter {
    if b <= 0.0 {
        return Parameter::point(name, 1.0, None);
    }
    let sd = (a * b / (a + b + 1.0)).sqrt() / (a + b);
    Parameter::quantiles(name, a / (a + b), sd, |p| beta_quantile(p, a, b))
}
