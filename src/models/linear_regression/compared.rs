//! What regressions say, for comparisons: `beta[1]`, .., as a `Space` numbers them, `noise_sd`, and the
//! precisions `alpha[1]`, ..

use super::{Ard, BayesianArd, Coefficients, UnknownNoise};
use crate::compare::{Compared, Entry, Parameter, Quantity};
use crate::error::Error;
use crate::family::{FullRankGaussian, Gamma, Product};
use crate::fit::Fit;
use crate::incomplete_beta::log_beta;
use crate::quantile::gamma_quantile;

/// `beta[1]`, .., normal.
fn coefficients<'a>(
    mean: &'a [f64],
    variance: impl Fn(usize) -> f64 + 'a,
) -> impl Iterator<Item = Parameter> + 'a {
    let one = move |(j, m): (usize, &f64)| {
        Parameter::normal(&format!("beta[{}]", j + 1), *m, variance(j).sqrt())
    };
    mean.iter().enumerate().map(one)
}

/// The sd of noise whose precision is a Gamma of this shape and rate.
fn noise_sd(shape: f64, rate: f64) -> Parameter {
    // ln(Gamma(a - 1/2) / Gamma(a)), without the size of either
    let ratio = || log_beta(shape - 0.5, 0.5) - 0.5 * std::f64::consts::PI.ln();
    let mean = if shape > 0.5 { rate.sqrt() * ratio().exp() } else { f64::INFINITY };
    // E[sd^2] = b / (a - 1) is larger than the square of the mean by about 1 in 4 a
    let sd = match shape > 1.0 {
        true => mean * (-(shape - 1.0).ln() - 2.0 * ratio()).exp_m1().max(0.0).sqrt(),
        false => f64::INFINITY,
    };
    let at = |p: f64| gamma_quantile(1.0 - p, shape, rate).powf(-0.5);
    Parameter::quantiles("noise_sd", mean, sd, at)
}

fn last_elbo<M, Q>(fit: &Fit<M, Q>) -> f64 {
    fit.trace.iter().rev().find_map(|step| step.elbo).unwrap_or(f64::NAN)
}

/// The exact posterior; say of which data by [`Entry::of`] and
/// [`LinearRegression::fingerprint`](super::LinearRegression::fingerprint).
impl Compared for Coefficients {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let p = self.mean.len();
        let entry = Entry::new(method).reached(Quantity::LogEvidence, self.log_evidence);
        Ok(entry.with(coefficients(&self.mean, |j| self.covariance[j * p + j])))
    }
}

/// The exact posterior, coefficients Student t; say of which data as for [`Coefficients`].
impl Compared for UnknownNoise {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let p = self.mean.len();
        let inverse = nalgebra::DMatrix::from_row_slice(p, p, &self.precision)
            .cholesky()
            .map(|c| c.inverse())
            .ok_or_else(super::singular)?;
        let beta = |j: usize| {
            let scale = (inverse[(j, j)] * self.b / self.a).sqrt();
            Parameter::student(&format!("beta[{}]", j + 1), self.mean[j], scale, 2.0 * self.a)
        };
        let entry = Entry::new(method).reached(Quantity::LogEvidence, self.log_evidence);
        Ok(entry.with((0..p).map(beta)).with([noise_sd(self.a, self.b)]))
    }
}

/// EM: the coefficients given the learned precisions, which are points, and the evidence there.
impl Compared for Fit<Ard, FullRankGaussian> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let covariance = self.q.covariance();
        let entry = Entry::new(method).of(self.model.data.data)?.spent(self);
        let alpha = self.model.precisions();
        let alpha = alpha.iter().enumerate();
        Ok(entry
            .reached(Quantity::LogLikelihood, last_elbo(self))
            .with(coefficients(self.q.mean(), |j| covariance[(j, j)]))
            .with([Parameter::point("noise_sd", self.model.noise_sd(), None)])
            .with(alpha.map(|(j, a)| Parameter::point(&format!("alpha[{}]", j + 1), *a, None))))
    }
}

/// Coordinate ascent: coefficients normal, precisions Gammas.
impl Compared for Fit<BayesianArd, Product<FullRankGaussian, Gamma>> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let (beta, precisions) = (self.q.first(), self.q.second());
        let (p, covariance) = (beta.mean().len(), beta.covariance());
        let gamma = |j: usize| (precisions.shape(j), precisions.rate(j));
        let alpha = |j: usize| {
            let (shape, rate) = gamma(j);
            Parameter::gamma(&format!("alpha[{}]", j + 1), shape, rate)
        };
        let (shape, rate) = gamma(p);
        let entry = Entry::new(method).of(self.model.data.data)?.spent(self);
        Ok(entry
            .reached(Quantity::Elbo, last_elbo(self))
            .with(coefficients(beta.mean(), |j| covariance[(j, j)]))
            .with([noise_sd(shape, rate)])
            .with((0..p).map(alpha)))
    }
}
