//! `Categorical`: independent labels, with logits as parameters.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Discrete, Divergence, Family, Scored};
use crate::bijector::Support;
use crate::error::Error;
use crate::noise::uniform;
use crate::scalar::Scalar;

/// `q(z) = prod_i pi_i[z_i]` over labels `z_i` in `0, 1, .., n_i - 1`, `pi_i = softmax(lambda_i)`:
/// `lambda` holds `n_i` logits for each coordinate, one coordinate after another.
///
/// Adding one number to all logits of a coordinate changes nothing: one direction of `lambda` for
/// each coordinate has gradient 0 and stays where it started.
///
/// ```
/// use elbo::{Categorical, Family};
/// let q = Categorical::new(&[&[0.2, 0.3, 0.5], &[0.9, 0.1]])?;
/// assert!((q.log_prob(&[2.0, 0.0]) - (0.5f64 * 0.9).ln()).abs() < 1e-15);
/// assert!((q.probabilities(0)[1] - 0.3).abs() < 1e-15);
/// assert_eq!(q.mode(), [2, 0]);
/// assert!((Categorical::<f64>::uniform(2, 3)?.entropy().unwrap() - 9f64.ln()).abs() < 1e-15);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved<T>", into = "Saved<T>")]
#[serde(bound(serialize = "T: Scalar + Serialize", deserialize = "T: Scalar + Deserialize<'de>"))]
pub struct Categorical<T = f64> {
    lambda: Vec<T>,
    /// `ln pi`, a function of `lambda`
    log_masses: Vec<T>,
    /// where the labels of each coordinate end
    ends: Vec<usize>,
}

/// What a file keeps.
#[derive(Serialize, Deserialize)]
struct Saved<T> {
    lambda: Vec<T>,
    labels: Vec<usize>,
}

impl<T: Scalar> From<Categorical<T>> for Saved<T> {
    fn from(q: Categorical<T>) -> Saved<T> {
        Saved { labels: (0..q.ends.len()).map(|i| q.range(i).len()).collect(), lambda: q.lambda }
    }
}

impl<T: Scalar> TryFrom<Saved<T>> for Categorical<T> {
    type Error = Error;

    fn try_from(saved: Saved<T>) -> Result<Categorical<T>, Error> {
        let mut q = Categorical::with_labels(&saved.labels)?;
        let (n, m) = (saved.lambda.len(), q.lambda.len());
        Error::expect_len("the saved lambda", n, "one logit for each label", m)?;
        q.set_params(&saved.lambda);
        Ok(q)
    }
}

impl<T: Scalar> Categorical<T> {
    /// `dim` coordinates of `labels` labels each, all of them equally likely.
    ///
    /// # Errors
    /// Fewer than two labels.
    pub fn uniform(dim: usize, labels: usize) -> Result<Self, Error> {
        Categorical::with_labels(&vec![labels; dim])
    }

    /// One coordinate for each number of labels, all labels equally likely.
    ///
    /// # Errors
    /// A coordinate with fewer than two labels.
    pub fn with_labels(labels: &[usize]) -> Result<Self, Error> {
        if let Some(i) = labels.iter().position(|&n| n < 2 || u32::try_from(n).is_err()) {
            let remedy = "a label needs at least 2 values to choose from";
            return Err(Error::option(&format!("labels[{i}]"), labels[i], remedy));
        }
        let ends: Vec<usize> = labels
            .iter()
            .scan(0, |end, n| {
                *end += n;
                Some(*end)
            })
            .collect();
        let n = ends.last().copied().unwrap_or(0);
        let zeros = vec![T::default(); n];
        let mut q = Categorical { lambda: zeros.clone(), log_masses: zeros, ends };
        q.refresh();
        Ok(q)
    }

    /// From the probabilities of the labels of each coordinate, up to a factor.
    ///
    /// # Errors
    /// A coordinate with fewer than two labels, or a probability that is not positive and finite.
    pub fn new(probabilities: &[&[f64]]) -> Result<Self, Error> {
        let labels: Vec<usize> = probabilities.iter().map(|p| p.len()).collect();
        let mut q = Categorical::with_labels(&labels)?;
        for (i, p) in probabilities.iter().enumerate() {
            if let Some(k) = p.iter().position(|p| !(p.is_finite() && *p > 0.0)) {
                let remedy = "a probability must be positive and finite; a label that cannot be \
                              belongs into the model, not into the start";
                return Err(Error::option(&format!("probabilities[{i}][{k}]"), p[k], remedy));
            }
        }
        let logits: Vec<T> =
            probabilities.iter().flat_map(|p| p.iter()).map(|p| T::from_f64(p.ln())).collect();
        q.set_params(&logits);
        Ok(q)
    }

    /// The probabilities of the labels of coordinate `i`.
    ///
    /// # Panics
    /// Where there is no coordinate `i`.
    pub fn probabilities(&self, i: usize) -> Vec<f64> {
        self.log_masses[self.range(i)].iter().map(|l| l.to_f64().exp()).collect()
    }

    /// The most likely label of each coordinate.
    pub fn mode(&self) -> Vec<usize> {
        let best = |i: usize| {
            let masses = &self.log_masses[self.range(i)];
            (0..masses.len()).fold(0, |best, k| if masses[k] > masses[best] { k } else { best })
        };
        (0..self.ends.len()).map(best).collect()
    }

    /// Where the labels of coordinate `i` lie in `lambda`.
    fn range(&self, i: usize) -> std::ops::Range<usize> {
        (if i == 0 { 0 } else { self.ends[i - 1] })..self.ends[i]
    }

    /// Makes `log_masses` from `lambda`.
    fn refresh(&mut self) {
        for i in 0..self.ends.len() {
            let range = self.range(i);
            let logits = &self.lambda[range.clone()];
            let top = logits.iter().fold(logits[0], |top, l| if *l > top { *l } else { top });
            let sum: f64 = logits.iter().map(|l| (*l - top).to_f64().exp()).sum();
            let log_sum = T::from_f64(sum.ln());
            for (mass, l) in self.log_masses[range].iter_mut().zip(logits) {
                *mass = *l - top - log_sum;
            }
        }
    }
}

/// The label that a coordinate stands for, if it is one.
pub(super) fn label<T: Scalar>(z: T, n: usize) -> Option<usize> {
    let z = z.to_f64();
    (z >= 0.0 && z < n as f64 && z.fract() == 0.0).then_some(z as usize)
}

impl<T: Scalar> Family<T> for Categorical<T> {
    fn dim(&self) -> usize {
        self.ends.len()
    }
    fn support(&self, i: usize) -> Support {
        Support::Category(u32::try_from(self.range(i).len()).unwrap_or(u32::MAX))
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
    /// By the inverse of the cumulated probabilities, one word of the stream a label: the same
    /// noise at near parameters gives mostly the same labels.
    fn sample(&self, rng: &mut dyn Rng, z: &mut [T]) {
        for z in z.chunks_exact_mut(self.dim().max(1)) {
            for (i, z) in z.iter_mut().enumerate() {
                let (u, mut below) = (uniform(rng), 0.0);
                let masses = &self.log_masses[self.range(i)];
                let last = masses.len() - 1;
                let chosen = masses[..last].iter().position(|mass| {
                    below += mass.to_f64().exp();
                    u < below
                });
                *z = T::from_f64(chosen.unwrap_or(last) as f64);
            }
        }
    }
    fn log_prob(&self, z: &[T]) -> f64 {
        let one = |(i, z): (usize, &T)| {
            let masses = &self.log_masses[self.range(i)];
            label(*z, masses.len()).map_or(f64::NEG_INFINITY, |k| masses[k].to_f64())
        };
        z.iter().enumerate().map(one).sum()
    }
    fn entropy(&self) -> Option<f64> {
        Some(self.log_masses.iter().map(|l| -l.to_f64().exp() * l.to_f64()).sum())
    }
}

impl<T: Scalar> Scored<T> for Categorical<T> {
    fn add_score(&self, z: &[T], weight: T, grad: &mut [T]) {
        for (i, z) in z.iter().enumerate() {
            let range = self.range(i);
            let (masses, grad) = (&self.log_masses[range.clone()], &mut grad[range]);
            let Some(k) = label(*z, masses.len()) else { continue };
            grad[k] += weight;
            grad.iter_mut().zip(masses).for_each(|(g, mass)| *g -= weight * mass.exp());
        }
    }
}

impl<T: Scalar> Discrete<T> for Categorical<T> {
    fn log_masses(&self) -> &[T] {
        &self.log_masses
    }
    fn add_masses_grad(&self, weights: &[T], grad: &mut [T]) {
        for i in 0..self.dim() {
            let range = self.range(i);
            let (masses, weights) = (&self.log_masses[range.clone()], &weights[range.clone()]);
            let total: T = weights.iter().copied().sum();
            for ((g, mass), w) in grad[range].iter_mut().zip(masses).zip(weights) {
                *g += *w - total * mass.exp();
            }
        }
    }
}

impl Divergence for Categorical {
    fn kl(&self, p: &Self) -> f64 {
        let pairs = self.log_masses.iter().zip(&p.log_masses);
        pairs.map(|(q, p)| q.exp() * (q - p)).sum()
    }
}
