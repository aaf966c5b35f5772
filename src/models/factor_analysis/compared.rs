//! What EM says of a factor analysis, for comparisons: what no rotation of the factors changes.

use super::{FactorAnalysis, Scores};
use crate::compare::{Compared, Entry, Parameter, Quantity};
use crate::error::Error;
use crate::fit::Fit;

/// The points `uniqueness[column]`, the variance that no factor explains, and `communality[column]`,
/// the share that factors do explain; the log likelihood at them.
impl Compared for Fit<FactorAnalysis, Scores> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let (model, data) = (&self.model, self.model.data());
        let (own, whole, d) = (model.uniquenesses(), model.covariance(), data.dim());
        let point = |what: &str, j: usize, x: f64| {
            Parameter::point(&format!("{what}[{}]", data.names()[j]), x, None)
        };
        let explained = |j: usize| 1.0 - own[j] / whole[j * d + j];
        let entry = Entry::new(method).of(data.fingerprint())?.spent(self);
        Ok(entry
            .reached(Quantity::LogLikelihood, model.log_likelihood())
            .with((0..d).map(|j| point("uniqueness", j, own[j])))
            .with((0..d).map(|j| point("communality", j, explained(j)))))
    }
}
