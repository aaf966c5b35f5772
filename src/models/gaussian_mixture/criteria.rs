//! `Criteria`: the log likelihood, what it costs in parameters, and how clear the labels are.

use super::{Covariance, GaussianMixture};
use crate::models::components::{self, Moments, Rows};

/// How well a mixture fits, less what its parameters cost. Of `bic`, `aic` and `icl` lower is
/// better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Criteria {
    /// `ln p(x)` at the parameters, without the prior.
    pub log_likelihood: f64,
    /// How many numbers are free.
    pub n_parameters: usize,
    /// `-2 ln p(x) + 2 p` (Akaike 1974).
    pub aic: f64,
    /// `-2 ln p(x) + p ln n`, `n` being the sum of the weights (Schwarz 1978).
    pub bic: f64,
    /// `bic` plus twice the entropy of the labels: also asks that components lie apart (Biernacki,
    /// Celeux and Govaert 2000; McLachlan and Peel 2000).
    pub icl: f64,
    /// The entropy of the labels in nats, which rows weigh as they count.
    pub entropy: f64,
}

impl Criteria {
    /// From the log likelihood, the entropy of the labels, how many numbers are free, and `n`.
    pub(crate) fn new(log_likelihood: f64, entropy: f64, n_parameters: usize, n: f64) -> Criteria {
        let p = n_parameters as f64;
        let bic = p * n.ln() - 2.0 * log_likelihood;
        let aic = 2.0 * (p - log_likelihood);
        Criteria { log_likelihood, n_parameters, aic, bic, icl: bic + 2.0 * entropy, entropy }
    }
}

impl GaussianMixture {
    /// `p`: weights less one, means, and covariances.
    ///
    /// ```
    /// use elbo::models::Covariance;
    /// assert_eq!(Covariance::Full.n_parameters(3, 4) + 3 * 4 + 2, 44);
    /// ```
    pub fn n_parameters(&self) -> usize {
        self.parameters.n_theta()
    }

    /// Looks at all rows once and says how well the parameters fit; NaN where they are in a file that
    /// cannot be read any more.
    ///
    /// ```
    /// use elbo::data::{OLD_FAITHFUL, Observations};
    /// use elbo::models::{Covariance, GaussianMixture};
    /// let cells = OLD_FAITHFUL.iter().flatten().copied().collect();
    /// let model = GaussianMixture::new(Observations::new(cells, 2)?, 3)?;
    /// let best = model.with_covariance(Covariance::Tied)?.fit(1)?;
    /// let criteria = best.fit.model.criteria();
    /// assert_eq!(criteria.n_parameters, 11);
    /// assert!((criteria.bic - 2314.296).abs() < 2e-3); // R's mclust, which stops earlier: 2314.316
    /// # Ok::<(), elbo::Error>(())
    /// ```
    pub fn criteria(&self) -> Criteria {
        let mut moments = Moments::default();
        let rows = Rows::new(&self.data, None);
        let read = components::moments(&self.components, rows, &mut moments);
        let (log_likelihood, entropy) = read.map_or((f64::NAN, f64::NAN), |()| {
            let log_likelihood = moments.log_normalizer;
            let entropy = log_likelihood
                - self.components.expected_log_rho(&moments)
                - moments.entropy_of_missing;
            (log_likelihood, entropy.max(0.0))
        });
        Criteria::new(log_likelihood, entropy, self.n_parameters(), self.data().total_weight())
    }
}

impl Covariance {
    /// What the covariance is called in a table.
    pub fn name(self) -> &'static str {
        match self {
            Covariance::Full => "full",
            Covariance::Tied => "tied",
            Covariance::Diagonal => "diagonal",
            Covariance::Spherical => "spherical",
        }
    }
}
