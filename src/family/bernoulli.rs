//! `Bernoulli`: independent coins, labels 0 and 1, with logits as parameters.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::categorical::label;
use super::{Binary, Discrete, Divergence, Family, Scored};
use crate::bijector::Support;
use crate::error::Error;
use crate::noise::uniform;
use crate::scalar::Scalar;

/// `q(z) = prod_i p_i^(z_i) (1 - p_i)^(1 - z_i)` over `z_i` in `{0, 1}`, `p_i = sigmoid(lambda_i)`.
///
/// A coordinate is a label of two values ([`Support::Category`]), as in a model that declares
/// `space.one("on", Support::Category(2))`.
///
/// ```
/// use elbo::{Bernoulli, Family};
/// let q = Bernoulli::new(&[0.8, 0.5])?;
/// assert!((q.log_prob(&[1.0, 0.0]) - 0.4f64.ln()).abs() < 1e-15);
/// assert!((q.chances()[0] - 0.8).abs() < 1e-15);
/// assert!((Bernoulli::<f64>::even(3).entropy().unwrap() - 8f64.ln()).abs() < 1e-15);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Saved<T>", into = "Saved<T>")]
#[serde(bound(serialize = "T: Scalar + Serialize", deserialize = "T: Scalar + Deserialize<'de>"))]
pub struct Bernoulli<T = f64> {
    lambda: Vec<T>,
    /// `[ln(1 - p_i), ln p_i]`, coordinate after coordinate: a function of `lambda`
    log_masses: Vec<T>,
}

/// What a file keeps.
#[derive(Serialize, Deserialize)]
struct Saved<T> {
    lambda: Vec<T>,
}

impl<T: Scalar> From<Bernoulli<T>> for Saved<T> {
    fn from(q: Bernoulli<T>) -> Saved<T> {
        Saved { lambda: q.lambda }
    }
}

impl<T: Scalar> From<Saved<T>> for Bernoulli<T> {
    fn from(saved: Saved<T>) -> Bernoulli<T> {
        Bernoulli::from_logits(saved.lambda)
    }
}

/// `ln sigmoid(x)`
fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

impl<T: Scalar> Bernoulli<T> {
    /// Both labels equally likely in every coordinate.
    pub fn even(dim: usize) -> Self {
        Bernoulli::from_logits(vec![T::default(); dim])
    }

    /// From the probabilities of label 1.
    ///
    /// # Errors
    /// A probability that is not strictly between 0 and 1.
    pub fn new(chances: &[f64]) -> Result<Self, Error> {
        if let Some(i) = chances.iter().position(|p| !(*p > 0.0 && *p < 1.0)) {
            let remedy = "a probability must lie strictly between 0 and 1; a label that cannot be \
                          belongs into the model, not into the start";
            return Err(Error::option(&format!("chances[{i}]"), chances[i], remedy));
        }
        let logit = |p: &f64| T::from_f64(p.ln() - (-p).ln_1p());
        Ok(Bernoulli::from_logits(chances.iter().map(logit).collect()))
    }

    fn from_logits(lambda: Vec<T>) -> Self {
        let log_masses = vec![T::default(); 2 * lambda.len()];
        let mut q = Bernoulli { lambda, log_masses };
        q.refresh();
        q
    }

    /// The probabilities of label 1.
    pub fn chances(&self) -> Vec<f64> {
        (0..self.lambda.len()).map(|i| self.chance(i)).collect()
    }

    /// Makes `log_masses` from `lambda`.
    fn refresh(&mut self) {
        for (masses, l) in self.log_masses.chunks_exact_mut(2).zip(&self.lambda) {
            masses[0] = T::from_f64(log_sigmoid(-l.to_f64()));
            masses[1] = T::from_f64(log_sigmoid(l.to_f64()));
        }
    }
}

impl<T: Scalar> Family<T> for Bernoulli<T> {
    fn dim(&self) -> usize {
        self.lambda.len()
    }
    fn support(&self, _i: usize) -> Support {
        Support::Category(2)
    }
    fn n_params(&self) -> usize {
        self.lambda.len()
    }
    fn params(&self, out: &mut [T]) {
        out.copy_from_slice(&self.lambda);
    }
    fn set_params(&mut self, params: &[T]) {
        self.lambda.copy_from_slice(params);
        self.refresh();
    }
    fn lent_params(&self) -> Option<&[T]> {
        Some(&self.lambda)
    }
    fn swap_params(&mut self, params: &mut Vec<T>) {
        std::mem::swap(&mut self.lambda, params);
        self.refresh();
    }
    /// One word of the stream a coin: the same noise at near parameters gives mostly the same coins.
    fn sample(&self, rng: &mut dyn Rng, z: &mut [T]) {
        for z in z.chunks_exact_mut(self.dim().max(1)) {
            for (i, z) in z.iter_mut().enumerate() {
                *z = T::from_f64(f64::from(u8::from(uniform(rng) < self.chance(i))));
            }
        }
    }
    fn log_prob(&self, z: &[T]) -> f64 {
        let one = |(z, masses): (&T, &[T])| {
            label(*z, 2).map_or(f64::NEG_INFINITY, |k| masses[k].to_f64())
        };
        z.iter().zip(self.log_masses.chunks_exact(2)).map(one).sum()
    }
    fn entropy(&self) -> Option<f64> {
        Some(self.log_masses.iter().map(|l| -l.to_f64().exp() * l.to_f64()).sum())
    }
}

impl<T: Scalar> Scored<T> for Bernoulli<T> {
    fn add_score(&self, z: &[T], weight: T, grad: &mut [T]) {
        let masses = self.log_masses.chunks_exact(2);
        for ((z, masses), g) in z.iter().zip(masses).zip(grad) {
            // z - p, without loss where p is near 1
            match label(*z, 2) {
                Some(1) => *g += weight * masses[0].exp(),
                Some(_) => *g -= weight * masses[1].exp(),
                None => {}
            }
        }
    }
}

impl<T: Scalar> Discrete<T> for Bernoulli<T> {
    fn log_masses(&self) -> &[T] {
        &self.log_masses
    }
    fn add_masses_grad(&self, weights: &[T], grad: &mut [T]) {
        let pairs = weights.chunks_exact(2).zip(self.log_masses.chunks_exact(2));
        for ((w, masses), g) in pairs.zip(grad) {
            *g += w[1] * masses[0].exp() - w[0] * masses[1].exp();
        }
    }
}

impl<T: Scalar> Binary<T> for Bernoulli<T> {
    fn chance(&self, i: usize) -> f64 {
        self.log_masses[2 * i + 1].to_f64().exp()
    }
}

impl Divergence for Bernoulli {
    fn kl(&self, p: &Self) -> f64 {
        let pairs = self.log_masses.iter().zip(&p.log_masses);
        pairs.map(|(q, p)| q.exp() * (q - p)).sum()
    }
}
