//! `Gamma`: independent gamma distributions on the positive numbers.

use rand::Rng;
use rand_distr::Distribution;
use serde::{Deserialize, Serialize};

use super::{Divergence, Family, Scored};
use crate::bijector::Support;
use crate::error::Error;
use crate::special::{log_gamma, polygamma};

/// `q(z) = prod_i b_i^a_i z_i^(a_i - 1) e^(-b_i z_i) / Gamma(a_i)` on `z_i > 0`, with shapes `a` and
/// rates `b`: `lambda = [ln a | ln b]`.
///
/// The conjugate family of precisions and of rates. Draws that underflow to 0, as small shapes
/// make them, are moved to the smallest positive number.
///
/// ```
/// use elbo::{Family, Gamma};
/// let q = Gamma::new(&[3.0], &[2.0])?;
/// assert_eq!((q.mean()[0], q.shape(0), q.rate(0)), (1.5, 3.0, 2.0));
/// // E[ln z] = digamma(3) - ln 2
/// assert!((q.mean_log()[0] - (0.9227843350984671 - 2f64.ln())).abs() < 1e-14);
/// assert!((q.log_prob(&[1.0]) - (4f64.ln() - 2.0)).abs() < 1e-14);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gamma {
    lambda: Vec<f64>,
    /// `[a | b]`: kept beside their logarithms so that what was given is what is told.
    numbers: Vec<f64>,
}

impl Gamma {
    /// Shape and rate of each coordinate.
    ///
    /// # Errors
    /// Different lengths, or a number that is not positive and finite.
    pub fn new(shape: &[f64], rate: &[f64]) -> Result<Gamma, Error> {
        Error::expect_len("the shapes", shape.len(), "the rates", rate.len())?;
        for (name, numbers) in [("shape", shape), ("rate", rate)] {
            if let Some(i) = numbers.iter().position(|x| !(*x > 0.0 && x.is_finite())) {
                let remedy = "it must be positive and finite";
                return Err(Error::option(&format!("{name}[{i}]"), numbers[i], remedy));
            }
        }
        let numbers = [shape, rate].concat();
        Ok(Gamma { lambda: numbers.iter().map(|x| x.ln()).collect(), numbers })
    }

    /// The shape `a` of coordinate `i`.
    ///
    /// # Panics
    /// Where there is no coordinate `i`.
    pub fn shape(&self, i: usize) -> f64 {
        self.numbers[i]
    }

    /// The rate `b` of coordinate `i`.
    ///
    /// # Panics
    /// Where there is no coordinate `i`.
    pub fn rate(&self, i: usize) -> f64 {
        self.numbers[self.dim() + i]
    }

    /// The means, `a / b`.
    pub fn mean(&self) -> Vec<f64> {
        self.pairs().map(|(a, b)| a / b).collect()
    }

    /// The standard deviations, `sqrt(a) / b`.
    pub fn sd(&self) -> Vec<f64> {
        self.pairs().map(|(a, b)| a.sqrt() / b).collect()
    }

    /// `E[ln z] = digamma(a) - ln b`
    pub fn mean_log(&self) -> Vec<f64> {
        self.pairs().map(|(a, b)| polygamma(0, a) - b.ln()).collect()
    }

    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> {
        let (a, b) = self.numbers.split_at(self.dim());
        a.iter().copied().zip(b.iter().copied())
    }
}

impl Family for Gamma {
    fn dim(&self) -> usize {
        self.numbers.len() / 2
    }
    fn support(&self, _i: usize) -> Support {
        Support::Positive
    }
    fn n_params(&self) -> usize {
        self.lambda.len()
    }
    fn params(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.lambda);
    }
    fn set_params(&mut self, params: &[f64]) {
        self.lambda.copy_from_slice(params);
        for (x, l) in self.numbers.iter_mut().zip(params) {
            *x = l.exp().clamp(f64::MIN_POSITIVE, f64::MAX);
        }
    }
    fn sample(&self, mut rng: &mut dyn Rng, z: &mut [f64]) {
        for z in z.chunks_exact_mut(self.dim().max(1)) {
            for (z, (a, b)) in z.iter_mut().zip(self.pairs()) {
                // Shapes and rates are positive and finite, so there is such a distribution.
                let unit = rand_distr::Gamma::new(a, 1.0).map_or(f64::NAN, |g| g.sample(&mut rng));
                *z = (unit / b).max(f64::MIN_POSITIVE);
            }
        }
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let one = |(&z, (a, b)): (&f64, (f64, f64))| match z > 0.0 {
            true => a * b.ln() + (a - 1.0) * z.ln() - b * z - log_gamma(a),
            false => f64::NEG_INFINITY,
        };
        z.iter().zip(self.pairs()).map(one).sum()
    }
    fn entropy(&self) -> Option<f64> {
        let one = |(a, b): (f64, f64)| a - b.ln() + log_gamma(a) + (1.0 - a) * polygamma(0, a);
        Some(self.pairs().map(one).sum())
    }
}

impl Scored for Gamma {
    fn add_score(&self, z: &[f64], weight: f64, grad: &mut [f64]) {
        let d = self.dim();
        for (i, (&z, (a, b))) in z.iter().zip(self.pairs()).enumerate() {
            grad[i] += weight * a * (b.ln() - polygamma(0, a) + z.ln());
            grad[d + i] += weight * (a - b * z);
        }
    }
}

impl Divergence for Gamma {
    fn kl(&self, p: &Gamma) -> f64 {
        let one = |((a, b), (pa, pb)): ((f64, f64), (f64, f64))| {
            (a - pa) * polygamma(0, a) - log_gamma(a)
                + log_gamma(pa)
                + pa * (b / pb).ln()
                + a * (pb / b - 1.0)
        };
        self.pairs().zip(p.pairs()).map(one).sum()
    }
}
