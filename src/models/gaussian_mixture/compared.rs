//! What EM says of a mixture, for comparisons: points with their standard errors.

use super::{Covariance, GaussianMixture, Labels};
use crate::compare::{Compared, Entry, Parameter, Quantity};
use crate::error::Error;
use crate::fit::Fit;

/// Points, with [standard errors](GaussianMixture::standard_errors) where the rows suffice, and the
/// log likelihood at them, the prior not counted: `weight`, `mean[column]` and
/// `covariance[column, column]` of each component; one covariance for all where tied.
impl Compared for Fit<GaussianMixture, Labels> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let model = &self.model;
        let (d, data) = (model.data().dim(), model.data());
        let errors = model.standard_errors().ok();
        let mut entry = Entry::new(method)
            .of(data.fingerprint()?)?
            .reached(Quantity::LogLikelihood, model.criteria().log_likelihood)
            .spent(self);
        let names = data.names();
        let covariance = |k: usize| {
            let (now, errors) = (model.covariance(k), &errors);
            let cells = cells(model.covariance_kind(), d);
            let one = move |(i, j): (usize, usize)| {
                let se = errors.as_ref().map(|e| e.covariances[k * d * d + i * d + j]);
                let name = format!("covariance[{}, {}]", names[j], names[i]);
                Parameter::point(&name, now[i * d + j], se)
            };
            cells.into_iter().map(one).collect::<Vec<_>>()
        };
        for k in 0..model.len() {
            let weight = Parameter::point(
                "weight",
                model.weights()[k],
                errors.as_ref().map(|e| e.weights[k]),
            );
            entry = entry.with([weight.of_component(k)]);
            let mean = |j: usize| {
                let se = errors.as_ref().map(|e| e.means[k * d + j]);
                let name = format!("mean[{}]", names[j]);
                Parameter::point(&name, model.mean(k)[j], se).of_component(k)
            };
            entry = entry.with((0..d).map(mean));
            if model.covariance_kind() != Covariance::Tied {
                entry = entry.with(covariance(k).into_iter().map(|p| p.of_component(k)));
            }
        }
        if model.covariance_kind() == Covariance::Tied {
            entry = entry.with(covariance(0));
        }
        Ok(entry)
    }
}

/// The entries of a covariance that are free, each once.
fn cells(kind: Covariance, d: usize) -> Vec<(usize, usize)> {
    match kind {
        Covariance::Full | Covariance::Tied => {
            (0..d).flat_map(|i| (0..=i).map(move |j| (i, j))).collect()
        }
        Covariance::Diagonal => (0..d).map(|i| (i, i)).collect(),
        Covariance::Spherical => vec![(0, 0)],
    }
}
