//! What is believed of factors, for comparisons: what no rotation of them changes.

use super::{BayesianFactors, FactorPosterior};
use crate::compare::{Compared, Entry, Parameter, Quantity};
use crate::error::Error;
use crate::fit::Fit;
use crate::noise::{Purpose, stream};

/// How many draws the shares are known by.
const DRAWS: usize = 4_000;

/// `uniqueness[column]`, the variance that no factor explains, whose inverse is a Gamma, and
/// `communality[column]`, the share that factors do explain, by draws; the ELBO.
impl Compared for Fit<BayesianFactors, FactorPosterior> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let (model, q) = (&self.model, &self.q);
        let (data, unit, sizes) = (&model.point.data, &model.point.unit, q.sizes);
        let mut rng = stream(self.seed, Purpose::Report, 0);
        let mut numbers = vec![0.0; sizes.parameters()];
        let mut shares = vec![Vec::with_capacity(DRAWS); sizes.d];
        for _ in 0..DRAWS {
            q.sample_parameters(&mut rng, &mut numbers);
            let (w, precisions) = numbers.split_at(sizes.d * (sizes.q + 1));
            for ((j, w), shares) in w.chunks_exact(sizes.q + 1).enumerate().zip(&mut shares) {
                let explained: f64 = w[1..].iter().map(|w| w * w).sum();
                let own = 1.0 / precisions[sizes.q + j.min(sizes.noises - 1)];
                shares.push(explained / (explained + own));
            }
        }
        let name = |what: &str, j: usize| format!("{what}[{}]", data.names()[j]);
        let uniqueness = |j: usize| {
            let at = j.min(sizes.noises - 1);
            let (shape, rate) = (q.tau.shape(at), q.tau.rate(at));
            Parameter::inverse_gamma(&name("uniqueness", j), shape, unit[j] * unit[j] * rate)
        };
        let communality = |j: usize| Parameter::draws(&name("communality", j), &shares[j]);
        let entry = Entry::new(method).of(data.fingerprint())?.spent(self);
        Ok(entry
            .reached(Quantity::Elbo, model.elbo(q))
            .with((0..sizes.d).map(uniqueness))
            .with((0..sizes.d).map(communality)))
    }
}
