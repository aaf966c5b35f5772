//! `Dirichlet`: distributions on the simplex, side by side.

use rand::Rng;
use rand_distr::{Distribution, Gamma};
use serde::{Deserialize, Serialize};

use super::{Divergence, Family, Scored};
use crate::bijector::Support;
use crate::error::Error;
use crate::special::{log_gamma, polygamma};

/// `q(z) = Gamma(sum_k a_k) / prod_k Gamma(a_k) prod_k z_k^(a_k - 1)` on the simplex, with respect to
/// the first `n - 1` coordinates: `lambda = ln a`.
///
/// The conjugate family of the weights of a mixture and of the rows of a transition matrix.
///
/// ```
/// use elbo::{Dirichlet, Family};
/// let q = Dirichlet::new(&[2.0, 3.0, 5.0])?;
/// assert_eq!(q.mean(), [0.2, 0.3, 0.5]);
/// let uniform = Dirichlet::new(&[1.0; 3])?;
/// assert!((uniform.log_prob(&[0.2, 0.5, 0.3]) - 2f64.ln()).abs() < 1e-14);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dirichlet {
    lambda: Vec<f64>,
    concentration: Vec<f64>,
}

impl Dirichlet {
    /// From the concentrations `a`.
    ///
    /// # Errors
    /// Fewer than two, or one that is not positive and finite.
    pub fn new(concentration: &[f64]) -> Result<Dirichlet, Error> {
        if concentration.len() < 2 {
            let remedy = "a simplex has at least 2 coordinates";
            return Err(Error::option("concentrations", concentration.len(), remedy));
        }
        if let Some(i) = concentration.iter().position(|a| !(*a > 0.0 && a.is_finite())) {
            let remedy = "it must be positive and finite";
            return Err(Error::option(&format!("concentration[{i}]"), concentration[i], remedy));
        }
        let lambda = concentration.iter().map(|a| a.ln()).collect();
        Ok(Dirichlet { lambda, concentration: concentration.to_vec() })
    }

    /// The concentrations `a`.
    pub fn concentration(&self) -> &[f64] {
        &self.concentration
    }

    /// `sum_k a_k`
    pub fn total(&self) -> f64 {
        self.concentration.iter().sum()
    }

    /// The means, `a_k / sum a`.
    pub fn mean(&self) -> Vec<f64> {
        let total = self.total();
        self.concentration.iter().map(|a| a / total).collect()
    }

    /// The standard deviations.
    pub fn sd(&self) -> Vec<f64> {
        let total = self.total();
        let variance = |m: f64| m * (1.0 - m) / (total + 1.0);
        self.mean().into_iter().map(|m| variance(m).sqrt()).collect()
    }

    /// `E[ln z_k] = digamma(a_k) - digamma(sum a)`
    pub fn mean_log(&self) -> Vec<f64> {
        let common = polygamma(0, self.total());
        self.concentration.iter().map(|&a| polygamma(0, a) - common).collect()
    }

    /// `sum_k ln Gamma(a_k) - ln Gamma(sum a)`
    fn log_beta(&self) -> f64 {
        let each = self.concentration.iter().map(|&a| log_gamma(a));
        each.sum::<f64>() - log_gamma(self.total())
    }
}

impl Family for Dirichlet {
    fn dim(&self) -> usize {
        self.concentration.len()
    }
    fn support(&self, _i: usize) -> Support {
        Support::Simplex
    }
    fn n_params(&self) -> usize {
        self.lambda.len()
    }
    fn params(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.lambda);
    }
    fn set_params(&mut self, params: &[f64]) {
        self.lambda.copy_from_slice(params);
        for (a, l) in self.concentration.iter_mut().zip(params) {
            *a = l.exp().clamp(f64::MIN_POSITIVE, f64::MAX);
        }
    }
    /// A gamma draw of shape `a < 1` is `G_(a+1) U^(1/a)`; in logs none of them underflows.
    fn sample(&self, mut rng: &mut dyn Rng, z: &mut [f64]) {
        for z in z.chunks_exact_mut(self.dim()) {
            for (z, &a) in z.iter_mut().zip(&self.concentration) {
                let above = Gamma::new(a + 1.0, 1.0).map_or(f64::NAN, |g| g.sample(&mut rng));
                let unit: f64 = rand_distr::OpenClosed01.sample(&mut rng);
                *z = above.ln() + unit.ln() / a;
            }
            let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = z.iter().map(|z| (z - top).exp()).sum();
            for z in z.iter_mut() {
                *z = ((*z - top).exp() / total).max(f64::MIN_POSITIVE);
            }
        }
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let off = (z.iter().sum::<f64>() - 1.0).abs() > 1e-6;
        if off || z.iter().any(|z| *z <= 0.0) {
            return f64::NEG_INFINITY;
        }
        let powers = z.iter().zip(&self.concentration).map(|(z, a)| (a - 1.0) * z.ln());
        powers.sum::<f64>() - self.log_beta()
    }
    fn entropy(&self) -> Option<f64> {
        let (n, total) = (self.dim() as f64, self.total());
        let each = self.concentration.iter().map(|&a| (a - 1.0) * polygamma(0, a));
        Some(self.log_beta() + (total - n) * polygamma(0, total) - each.sum::<f64>())
    }
}

impl Scored for Dirichlet {
    fn add_score(&self, z: &[f64], weight: f64, grad: &mut [f64]) {
        let common = polygamma(0, self.total());
        for ((g, &a), z) in grad.iter_mut().zip(&self.concentration).zip(z) {
            *g += weight * a * (z.ln() + common - polygamma(0, a));
        }
    }
}

impl Divergence for Dirichlet {
    fn kl(&self, p: &Dirichlet) -> f64 {
        let common = polygamma(0, self.total());
        let each = self.concentration.iter().zip(&p.concentration);
        let moved: f64 = each.map(|(&a, &b)| (a - b) * (polygamma(0, a) - common)).sum();
        p.log_beta() - self.log_beta() + moved
    }
}
