//! `Prior`: what keeps every covariance regular, and makes EM find the posterior mode.

use statrs::function::gamma::ln_gamma;

use super::parameters::Parameters;
use super::{Covariance, GaussianMixture};
use crate::data::View;
use crate::error::Error;
use crate::models::components::Components;
use crate::triangle;

const LN_PI: f64 = 1.144_729_885_849_400_2;
const LN_2PI: f64 = 1.837_877_066_409_345_3;

/// A prior on the parameters of a mixture, conjugate to it:
///
/// ```text
/// weights ~ Dirichlet(concentration, .., concentration)
/// mean_k | covariance_k ~ Normal(mean, covariance_k / shrinkage)
/// covariance_k ~ InverseWishart(degrees, scale)                        full, tied
/// variance ~ InverseGamma(degrees / 2, scale / 2)                      diagonal, spherical
/// ```
///
/// where the scale of a diagonal covariance is that column's entry of the diagonal of `scale`, and
/// of a spherical one the mean of the diagonal. With it no component can collapse, and EM climbs to
/// the mode of the posterior (Fraley and Raftery 2007, "Bayesian regularization for normal mixture
/// estimation and model-based clustering", Journal of Classification 24).
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    /// Of the weights: 1 is flat.
    pub concentration: f64,
    /// Where means are expected.
    pub mean: Vec<f64>,
    /// How many rows that expectation is worth.
    pub shrinkage: f64,
    /// How many rows the expected covariance is worth; more than `d - 1`.
    pub degrees: f64,
    /// `d x d`, row by row: roughly `degrees` times the expected covariance.
    pub scale: Vec<f64>,
}

impl Prior {
    /// The weak prior of Fraley and Raftery (2007): means about the mean of the data with the
    /// weight of a hundredth of a row, covariances about that of the data divided by
    /// `components^(2 / d)` with `d + 2` degrees of freedom, flat weights.
    ///
    /// Where a file cannot be read any more the scale is NaN, which no mixture takes.
    pub fn weak<'a>(data: impl Into<View<'a>>, components: usize) -> Prior {
        let data = data.into();
        let (dim, mean) = (data.dim(), data.mean());
        let share = (components.max(1) as f64).powf(-2.0 / dim as f64);
        let mut scale = data.covariance().unwrap_or_else(|_| vec![f64::NAN; dim * dim]);
        scale.iter_mut().for_each(|s| *s *= share);
        Prior { concentration: 1.0, mean, shrinkage: 0.01, degrees: dim as f64 + 2.0, scale }
    }
}

/// A prior, checked, with what is needed of it at every step.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub(super) prior: Prior,
    /// The lower triangle of the scale.
    pub(super) lower: Vec<f64>,
    /// Its Cholesky factor.
    factor: Vec<f64>,
}

impl Prior {
    pub(super) fn checked(self, dim: usize) -> Result<Checked, Error> {
        Error::expect_len("the mean of the prior", self.mean.len(), "a row", dim)?;
        Error::expect_len("the scale of the prior", self.scale.len(), "dim * dim", dim * dim)?;
        if let Some(j) = self.mean.iter().position(|m| !m.is_finite()) {
            let place = format!("mean[{j}] of the prior");
            return Err(Error::option(&place, self.mean[j], "it must be finite"));
        }
        let at_least = |name: &str, x: f64, least: f64, strict: bool, remedy: &str| {
            let fine = x.is_finite() && if strict { x > least } else { x >= least };
            if fine { Ok(()) } else { Err(Error::option(name, x, remedy)) }
        };
        at_least("concentration", self.concentration, 1.0, false, "1 or more has a mode")?;
        at_least("shrinkage", self.shrinkage, 0.0, true, "take more than 0")?;
        let least = dim as f64 - 1.0;
        at_least("degrees", self.degrees, least, true, "take more than the dimension less one")?;
        let matrix = nalgebra::DMatrix::from_row_slice(dim, dim, &self.scale);
        let factor = triangle::from_covariance("the scale of the prior", dim, &matrix)?;
        let lower = (0..dim).flat_map(|i| self.scale[i * dim..=i * dim + i].to_vec()).collect();
        Ok(Checked { prior: self, lower, factor })
    }
}

impl Checked {
    /// The scale of the prior of a diagonal covariance, column `j`.
    pub(super) fn variance(&self, j: usize) -> f64 {
        self.lower[triangle::len(j + 1) - 1]
    }

    /// That of a spherical one.
    pub(super) fn mean_variance(&self) -> f64 {
        let dim = self.prior.mean.len();
        (0..dim).map(|j| self.variance(j)).sum::<f64>() / dim as f64
    }

    /// What is added to the number of rows (`rows`, in `groups` components) to divide a scatter by.
    pub(super) fn extra(&self, covariance: Covariance, groups: usize) -> f64 {
        let dim = self.prior.mean.len() as f64;
        let nu = self.prior.degrees;
        match covariance {
            Covariance::Full => nu + dim + 2.0,
            Covariance::Tied => nu + dim + 1.0 + groups as f64,
            Covariance::Diagonal => nu + 3.0,
            Covariance::Spherical => nu + 2.0 + dim,
        }
    }

    /// `ln p(weights, means, covariances)`, with every constant.
    pub(super) fn log_density(&self, at: &Parameters, components: &Components) -> f64 {
        let (k, dim) = (at.len(), components.dim);
        let (kf, d) = (k as f64, dim as f64);
        let (alpha, nu, kappa) =
            (self.prior.concentration, self.prior.degrees, self.prior.shrinkage);
        let log_weights: f64 = at.weights.iter().map(|w| w.ln()).sum();
        let flat = if alpha == 1.0 { 0.0 } else { (alpha - 1.0) * log_weights };
        let mut sum = ln_gamma(kf * alpha) - kf * ln_gamma(alpha) + flat;
        for k in 0..k {
            // of a mean: the quadratic form is that of the component
            let log_det = at.log_det(k);
            let square = 2.0 * (components.constant[k] - components.log_rho(k, &self.prior.mean));
            sum += 0.5 * d * (kappa.ln() - LN_2PI) - log_det - 0.5 * kappa * square;
        }
        let inverse_gamma = |variance: f64, scale: f64| {
            let (a, b) = (0.5 * nu, 0.5 * scale);
            a * b.ln() - ln_gamma(a) - (a + 1.0) * variance.ln() - b / variance
        };
        match at.covariance {
            Covariance::Full | Covariance::Tied => {
                let copies = if at.covariance == Covariance::Tied { 1 } else { k };
                let multigamma = 0.25 * d * (d - 1.0) * LN_PI
                    + (0..dim).map(|j| ln_gamma(0.5 * (nu - j as f64))).sum::<f64>();
                let constant =
                    nu * triangle::log_det(&self.factor) - 0.5 * nu * d * 2f64.ln() - multigamma;
                for k in 0..copies {
                    // tr(scale covariance^-1) = |W L|^2
                    let l = triangle::to_matrix(dim, &self.factor);
                    let trace = match at.factor(k).len() {
                        1 => (l[(0, 0)] / at.factor(k)[0]).powi(2),
                        _ => (triangle::to_matrix(dim, components.factor(k)) * l).norm_squared(),
                    };
                    sum += constant - (nu + d + 1.0) * at.log_det(k) - 0.5 * trace;
                }
            }
            Covariance::Diagonal => {
                for (i, sd) in at.factor.iter().enumerate() {
                    sum += inverse_gamma(sd * sd, self.variance(i % dim));
                }
            }
            Covariance::Spherical => {
                for sd in &at.factor {
                    sum += inverse_gamma(sd * sd, self.mean_variance());
                }
            }
        }
        sum
    }
}

impl GaussianMixture {
    /// The same with a prior: the fit is the mode of the posterior, and the ELBO after an E-step
    /// the log likelihood plus the log density of the prior at the parameters.
    ///
    /// ```
    /// use elbo::data::Observations;
    /// use elbo::models::GaussianMixture;
    /// use elbo::models::gaussian_mixture::Prior;
    /// use elbo::{EStep, MStep, Options, fit};
    /// // three rows at one place would be a component of variance 0
    /// let data = Observations::new(vec![0.0, 0.0, 0.0, 1.0, 1.5, 2.0, 2.5, 3.0], 1)?;
    /// let prior = Prior::weak(&data, 2);
    /// let model = GaussianMixture::new(data, 2)?.with_prior(prior)?;
    /// let q = model.labels();
    /// let fit = fit(model, q, (EStep, MStep), Options::exact())?;
    /// assert!((0..2).all(|k| fit.model.covariance(k)[0] > 0.01));
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// Numbers of the wrong length or out of range, a scale that is no covariance.
    pub fn with_prior(mut self, prior: Prior) -> Result<GaussianMixture, Error> {
        self.prior = Some(prior.checked(self.components.dim)?);
        Ok(self)
    }

    /// The log density of the prior at the parameters; 0 without one.
    pub fn log_prior(&self) -> f64 {
        let prior = self.prior.as_ref();
        prior.map_or(0.0, |prior| prior.log_density(&self.parameters, &self.components))
    }
}
