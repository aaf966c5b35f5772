//! The exact moves on the mixture: the posterior of the labels, and the best parameters.

use super::{GaussianMixture, Labels};
use crate::error::Error;
use crate::model::{Conjugate, Maximize};
use crate::models::components;

impl Conjugate<Labels> for GaussianMixture {
    fn natural_step(&self, q: &mut Labels, rate: f64) -> Result<f64, Error> {
        q.data = Some(self.data.clone());
        q.components.copy_from(&self.components);
        let rows = self.rows();
        components::moments(&q.components, rows, &mut q.fresh)?;
        if self.shown.is_some() {
            q.fresh.scale(self.data().total_weight() / rows.weight());
        }
        let entropy = q.fresh.log_normalizer - self.components.expected_log_rho(&q.fresh);
        if rate >= 1.0 || q.moments.is_empty() {
            match q.moments.is_empty() {
                // room for both from the first step on
                true => q.moments = q.fresh.clone(),
                false => std::mem::swap(&mut q.moments, &mut q.fresh),
            }
            q.entropy = entropy;
            return Ok(q.moments.log_normalizer + self.log_prior());
        }
        q.moments.blend(rate, &q.fresh);
        q.entropy += rate * (entropy - q.entropy);
        Ok(self.components.expected_log_rho(&q.moments) + q.entropy + self.log_prior())
    }
}

impl Maximize<Labels> for GaussianMixture {
    fn maximize(&mut self, q: &Labels) -> Result<f64, Error> {
        self.maximize_from(q)?;
        Ok(self.components.expected_log_rho(&q.moments) + q.entropy + self.log_prior())
    }
}
