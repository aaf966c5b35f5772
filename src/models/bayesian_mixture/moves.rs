//! The exact move: labels by what is believed of the components, then the components by the rows.

use super::{BayesianMixture, MixturePosterior};
use crate::error::Error;
use crate::model::Conjugate;
use crate::models::components;

impl Conjugate<MixturePosterior> for BayesianMixture {
    fn natural_step(&self, q: &mut MixturePosterior, rate: f64) -> Result<f64, Error> {
        let MixturePosterior { labels, belief, expected, lambda, .. } = q;
        lambda.clear();
        labels.data = Some(self.mixture.source().clone());
        labels.components.copy_from(expected);
        let rows = self.rows();
        components::moments(&labels.components, rows, &mut labels.moments)?;
        let moments = &mut labels.moments;
        if self.shown.is_some() {
            moments.scale(self.data().total_weight() / rows.weight());
        }
        labels.entropy = moments.log_normalizer - labels.components.expected_log_rho(moments);
        belief.natural_step(&self.belief, moments, rate);
        belief.write_components(expected);
        let rows = expected.expected_log_rho(moments) + labels.entropy;
        Ok(rows - belief.kl(&self.belief, expected))
    }
}
