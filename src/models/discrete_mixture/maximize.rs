//! The exact moves on the mixture: the posterior of the labels, and the best parameters.

use super::column::{Kind, Levels};
use super::tally::Tally;
use super::{DiscreteMixture, Labels};
use crate::error::Error;
use crate::model::{Conjugate, Maximize};
use crate::scratch::with_buffer;

/// The share of a row below which a component has no rows left.
const EMPTY: f64 = 1e-10;

impl Conjugate<Labels> for DiscreteMixture {
    fn natural_step(&self, q: &mut Labels, rate: f64) -> Result<f64, Error> {
        q.move_to(&self.data, &self.table, self.rows(), rate);
        Ok(self.elbo(q))
    }
}

impl Maximize<Labels> for DiscreteMixture {
    fn maximize(&mut self, q: &Labels) -> Result<f64, Error> {
        if q.tally.is_empty() {
            let reason = "no E-step has been made yet; use the pair (EStep, MStep)".to_string();
            return Err(Error::Ascent { block: "MStep".to_string(), reason });
        }
        self.maximize_from(&q.tally)?;
        Ok(self.elbo(q))
    }
}

impl DiscreteMixture {
    fn elbo(&self, q: &Labels) -> f64 {
        q.tally.expected_log_rho(&self.table) + q.entropy + self.base() + self.log_prior()
    }

    /// Sets the parameters to their best values.
    pub(super) fn maximize_from(&mut self, tally: &Tally) -> Result<(), Error> {
        let k = self.len();
        let prior = self.prior.as_ref();
        if let Some(c) = (0..k).find(|&c| tally.count[c] < EMPTY)
            && prior.is_none()
        {
            let reason = format!(
                "component {c} has emptied: it has {:.1e} rows of {} left; take fewer components, or \
                 another start, or a prior, under which that cannot be, `.with_prior(Prior::flat())`",
                tally.count[c],
                self.data.len()
            );
            return Err(Error::Ascent { block: "MStep".to_string(), reason });
        }
        let layout = &self.layout;
        with_buffer(k.max(layout.features), |room| {
            for (c, n) in room[..k].iter_mut().enumerate() {
                *n = tally.count[c] + prior.map_or(0.0, |p| p.weights - 1.0);
            }
            let (weights, _) = self.parameters.split(0, layout);
            Levels(k).best(&room[..k], weights);
            for c in 0..k {
                let (_, theta) = self.parameters.split(c, layout);
                for (kind, place) in layout.kinds() {
                    let features = place.features(&*kind);
                    for (at, f) in features.clone().enumerate() {
                        let worth = prior.map_or(0.0, |p| p.numbers[f] - kind.less(at));
                        room[f] = tally.of(c, f) + worth;
                    }
                    kind.best(&room[features], &mut theta[place.free(&*kind)]);
                }
            }
        });
        self.settle();
        Ok(())
    }
}
