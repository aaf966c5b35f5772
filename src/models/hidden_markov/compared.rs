//! What EM and variational Bayes say of a hidden Markov model, for comparisons.

use super::densities::Form;
use super::{BayesianHiddenMarkov, HiddenMarkov, HiddenMarkovPosterior, States};
use crate::compare::{Compared, Entry, Parameter, Quantity};
use crate::data::Observations;
use crate::error::Error;
use crate::fit::Fit;
use crate::models::discrete_mixture::compared::{points, posteriors};

fn mean(rows: &Observations, j: usize) -> String {
    format!("mean[{}]", rows.names()[j])
}

fn covariance(rows: &Observations, i: usize, j: usize) -> String {
    format!("covariance[{}, {}]", rows.names()[i], rows.names()[j])
}

/// Points, and the log likelihood at them: `initial`, and `transition` to each state; then
/// `mean[column]` and `covariance[column, column]` of normal states, or `value[column]` (and
/// `value[column, level]`), as mixtures call them. A chain has no standard errors in closed form.
impl Compared for Fit<HiddenMarkov, States> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let model = &self.model;
        let (rows, k) = (model.sequences().rows(), model.len());
        let d = rows.dim();
        let mut entry = Entry::new(method)
            .of(model.sequences().fingerprint())?
            .reached(Quantity::LogLikelihood, model.criteria()?.log_likelihood)
            .spent(self);
        for c in 0..k {
            let point = |name: &str, x: f64| Parameter::point(name, x, None);
            let step = |to: usize| point("transition", model.transition(c)[to]).of_step(c, to);
            entry = entry.with([point("initial", model.initial()[c]).of_component(c)]);
            entry = entry.with((0..k).map(step));
            let mut told = Vec::new();
            match (&model.parameters.form, model.covariance(c)) {
                (Form::Full(_), Some(spread)) => {
                    let means = model.mean(c);
                    told.extend((0..d).map(|j| point(&mean(rows, j), means[j])));
                    for (i, j) in (0..d).flat_map(|i| (0..=i).map(move |j| (i, j))) {
                        told.push(point(&covariance(rows, j, i), spread[i * d + j]));
                    }
                }
                (Form::Diagonal(_), Some(spread)) => {
                    let means = model.mean(c);
                    told.extend((0..d).map(|j| point(&mean(rows, j), means[j])));
                    told.extend((0..d).map(|j| point(&covariance(rows, j, j), spread[j * d + j])));
                }
                _ => (0..d).for_each(|j| told.extend(points(rows, j, &model.values(c, j)))),
            }
            entry = entry.with(told.into_iter().map(|p| p.of_component(c)));
        }
        Ok(entry)
    }
}

/// The same as posteriors, of the states that hold a row or more, the largest first, and the ELBO of
/// the last step; of covariances the variances.
impl Compared for Fit<BayesianHiddenMarkov, HiddenMarkovPosterior> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let (q, model) = (&self.q, self.model.model());
        let rows = model.sequences().rows();
        let mut entry = Entry::new(method).of(model.sequences().fingerprint())?.spent(self);
        if let Some(elbo) = self.trace.iter().rev().find_map(|step| step.elbo) {
            entry = entry.reached(Quantity::Elbo, elbo);
        }
        let held = q.occupied();
        let share = |name: &str, numbers: &[f64], k: usize| {
            Parameter::beta(name, numbers[k], numbers.iter().sum::<f64>() - numbers[k])
        };
        for (place, &k) in held.iter().enumerate() {
            let step = |(to, &j): (usize, &usize)| {
                share("transition", q.concentrations(k), j).of_step(place, to)
            };
            let initial = share("initial", q.initial_concentrations(), k);
            entry = entry.with([initial.of_component(place)]);
            entry = entry.with(held.iter().enumerate().map(step));
            let mut told = Vec::new();
            if let Form::Discrete(layout) = &q.belief.form {
                for (j, (kind, place)) in layout.kinds().enumerate() {
                    let numbers = &q.belief.own(k)[place.features(&*kind)];
                    told.extend(posteriors(rows, place.column, j, numbers));
                }
            } else {
                for j in 0..rows.dim() {
                    let (at, scale, freedom) = q.belief.mean_of(k, j);
                    told.push(Parameter::student(&mean(rows, j), at, scale, freedom));
                }
                for j in 0..rows.dim() {
                    let (shape, rate) = q.belief.variance_of(k, j);
                    told.push(Parameter::inverse_gamma(&covariance(rows, j, j), shape, rate));
                }
            }
            entry = entry.with(told.into_iter().map(|p| p.of_component(place)));
        }
        Ok(entry)
    }
}
