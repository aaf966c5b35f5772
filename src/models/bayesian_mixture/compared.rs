//! What is believed of a mixture, for comparisons: posteriors of weights and means.

use super::{BayesianMixture, MixturePosterior, Weights};
use crate::compare::{Compared, Entry, Parameter, Quantity};
use crate::error::Error;
use crate::fit::Fit;
use crate::special::beta_quantile;

/// `weight` and `mean[column]` of the components that hold a row or more, and the ELBO of the last
/// step. Under sticks the weights but the first are given by their means alone.
impl Compared for Fit<BayesianMixture, MixturePosterior> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let (q, data) = (&self.q, self.model.data());
        let mut entry = Entry::new(method).of(data.fingerprint()?)?.spent(self);
        if let Some(elbo) = self.trace.iter().rev().find_map(|step| step.elbo) {
            entry = entry.reached(Quantity::Elbo, elbo);
        }
        let weights = q.weights();
        for (place, k) in q.occupied().into_iter().enumerate() {
            let numbers = q.concentration();
            let shapes = match q.weights_kind() {
                _ if q.len() == 1 => None,
                Weights::Dirichlet => Some((numbers[k], numbers.iter().sum::<f64>() - numbers[k])),
                Weights::StickBreaking => (k == 0).then(|| (numbers[0], numbers[1])),
            };
            let weight = match shapes {
                None => Parameter::point("weight", weights[k], None),
                Some((a, b)) => {
                    let sd = (a * b / (a + b + 1.0)).sqrt() / (a + b);
                    Parameter::quantiles("weight", a / (a + b), sd, |p| beta_quantile(p, a, b))
                }
            };
            entry = entry.with([weight.of_component(place)]);
            let mean = |j: usize| {
                let (scale, freedom) = q.mean_scale(k, j);
                let name = format!("mean[{}]", data.names()[j]);
                Parameter::student(&name, q.mean(k)[j], scale, freedom).of_component(place)
            };
            entry = entry.with((0..data.dim()).map(mean));
        }
        Ok(entry)
    }
}
