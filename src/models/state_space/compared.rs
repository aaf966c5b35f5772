//! What EM says of a state space model, for comparisons: its variances.

use super::{Path, StateSpace};
use crate::compare::{Compared, Entry, Parameter, Quantity};
use crate::data::Fingerprint;
use crate::error::Error;
use crate::fit::Fit;

/// The points `variance[noise]`, `variance[level]` and, of a trend, `variance[slope]`, and the log
/// likelihood at them.
impl<const M: usize> Compared for Fit<StateSpace<M>, Path<M>> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let model = &self.model;
        let drift = ["level", "slope"].into_iter().zip(model.drift());
        let all = std::iter::once(("noise", model.noise())).chain(drift);
        let point = |(name, v)| Parameter::point(&format!("variance[{name}]"), v, None);
        let entry = Entry::new(method).of(Fingerprint::of(&[&model.data.y]))?.spent(self);
        Ok(entry.reached(Quantity::LogLikelihood, model.log_likelihood()).with(all.map(point)))
    }
}
