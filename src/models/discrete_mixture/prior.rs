//! `Prior`: conjugate priors on weights, probabilities and rates.

use super::DiscreteMixture;
use super::column::{Column, Kind, Levels};
use super::layout::Layout;
use crate::error::Error;
use crate::scratch::with_buffer;

/// A prior on the parameters of a discrete mixture, conjugate to it:
///
/// ```text
/// weights ~ Dirichlet(weights, .., weights)
/// probability of a 1 ~ Beta(probabilities, probabilities)
/// probabilities of the levels ~ Dirichlet(probabilities, .., probabilities)
/// rate ~ Gamma(rates.0, rates.1)                       shape and rate: mean rates.0 / rates.1
/// ```
///
/// the same in every component.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// Of the weights.
    pub weights: f64,
    /// Of probabilities.
    pub probabilities: f64,
    /// Of rates.
    pub rates: (f64, f64),
}

impl Prior {
    /// Flat on weights and probabilities, and nearly so on rates: `Gamma(1, 1e-3)`. The mode of the
    /// posterior then hardly differs from the maximum of the likelihood.
    pub fn flat() -> Prior {
        Prior { weights: 1.0, probabilities: 1.0, rates: (1.0, 1e-3) }
    }

    /// A number for each feature.
    pub(super) fn checked(&self, layout: &Layout) -> Result<Checked, Error> {
        let named = [
            ("weights", self.weights),
            ("probabilities", self.probabilities),
            ("the shape of rates", self.rates.0),
            ("the rate of rates", self.rates.1),
        ];
        if let Some((name, x)) = named.into_iter().find(|(_, x)| !(*x > 0.0 && x.is_finite())) {
            let remedy = "a number of a prior must be positive and finite";
            return Err(Error::option(&format!("{name} of the prior"), x, remedy));
        }
        let mut numbers = vec![self.probabilities; layout.features];
        for place in layout.places.iter().filter(|p| p.column == Column::Count) {
            (numbers[place.feature], numbers[place.feature + 1]) = self.rates;
        }
        Ok(Checked { weights: self.weights, numbers })
    }
}

/// A prior, checked.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Checked {
    pub(super) weights: f64,
    /// One a feature.
    pub(super) numbers: Vec<f64>,
}

impl DiscreteMixture {
    /// The same with a prior: the fit is the mode of the posterior, in probabilities and rates, and
    /// the ELBO after an E-step the log likelihood plus the log density of the prior.
    ///
    /// ```
    /// use elbo::data::Observations;
    /// use elbo::models::DiscreteMixture;
    /// use elbo::models::discrete_mixture::Prior;
    /// // two ones of two: a probability of 1, but with a Beta(2, 2) prior (2 + 1) / (2 + 2)
    /// let model = DiscreteMixture::bernoulli(Observations::new(vec![1.0, 1.0], 1)?, 1)?;
    /// let prior = Prior { probabilities: 2.0, ..Prior::flat() };
    /// let best = model.with_prior(prior)?.fit(1)?;
    /// assert!((best.fit.model.values(0, 0)[0] - 0.75).abs() < 1e-9);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A number that is not positive and finite, or below 1 for weights, probabilities or shapes,
    /// which have no mode then.
    pub fn with_prior(mut self, prior: Prior) -> Result<DiscreteMixture, Error> {
        let checked = prior.checked(&self.layout)?;
        let shapes = [
            ("weights", prior.weights),
            ("probabilities", prior.probabilities),
            ("the shape of rates", prior.rates.0),
        ];
        if let Some((name, x)) = shapes.into_iter().find(|(_, x)| *x < 1.0) {
            let remedy = "1 or more has a mode";
            return Err(Error::option(&format!("{name} of the prior"), x, remedy));
        }
        self.prior = Some(checked);
        Ok(self)
    }

    /// The log density of the prior at the parameters; 0 without one.
    pub fn log_prior(&self) -> f64 {
        let Some(prior) = &self.prior else { return 0.0 };
        let (k, layout) = (self.len(), &self.layout);
        with_buffer(k + layout.features, |room| {
            let (weights, coefficients) = room.split_at_mut(k);
            weights.fill(prior.weights);
            let mut sum = Levels(k).log_density(weights, &self.table.constant);
            for c in 0..k {
                for (f, out) in coefficients.iter_mut().enumerate() {
                    *out = self.table.coefficient(c, f);
                }
                for (kind, place) in layout.kinds() {
                    let features = place.features(&*kind);
                    let numbers = &prior.numbers[features.clone()];
                    sum += kind.log_density(numbers, &coefficients[features]);
                }
            }
            sum
        })
    }
}
