//! `MixturePosterior`: what is believed of labels, weights, means and covariances.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::belief::Belief;
use super::{Layout, Weights};
use crate::bijector::Support;
use crate::data::{Observations, Source};
use crate::error::Error;
use crate::family::Family;
use crate::lossless;
use crate::models::Covariance;
use crate::models::components::Components;
use crate::models::gaussian_mixture::Labels;
use crate::quantile::{beta_quantile, student_t_quantile};

/// `q(labels) q(weights) prod_k q(mean_k | covariance_k) q(covariance_k)`:
///
/// ```text
/// weights ~ Dirichlet, or sticks of Betas
/// mean_k | covariance_k ~ Normal(mean, covariance_k / shrinkage)
/// precision_k ~ Wishart(degrees, scale^-1), or Gammas, one a column or one in all
/// ```
///
/// with the [`Labels`] that the last step gave the rows. Its parameters `lambda` are those of the
/// second line on, free of units; [`Family::set_params`] gives the rows the best labels for them.
///
/// What a row held out looks like is a mixture of Student's t: [`MixturePosterior::score`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MixturePosterior {
    pub(super) labels: Labels,
    pub(super) belief: Belief,
    /// What the next labels follow from.
    pub(super) expected: Components,
    /// How many rows the prior of a mean is worth.
    pub(super) prior_worth: f64,
    /// Mean and standard deviation of each column: where `lambda` has its zeros, and its units.
    pub(super) centre: Vec<f64>,
    pub(super) unit: Vec<f64>,
    /// What [`Family::set_params`] was given, until the next step.
    #[serde(with = "lossless::many")]
    pub(super) lambda: Vec<f64>,
}

impl MixturePosterior {
    pub(super) fn new(data: &Source, belief: Belief, prior_worth: f64) -> Self {
        let layout = belief.layout;
        let mut expected = Components::new(belief.len(), layout.dim, layout.shape());
        belief.write_components(&mut expected);
        let variance = data.view().variance();
        let common = (variance.iter().sum::<f64>() / layout.dim as f64).sqrt();
        let unit = match layout.covariance {
            Covariance::Spherical => vec![common; layout.dim],
            _ => variance.iter().map(|v| v.sqrt()).collect(),
        };
        let labels = Labels::new(data.clone(), expected.clone());
        let centre = data.view().mean();
        let lambda = Vec::new();
        MixturePosterior { labels, belief, expected, prior_worth, centre, unit, lambda }
    }

    /// `K`: how many components there are, those that have emptied included.
    pub fn len(&self) -> usize {
        self.belief.len()
    }

    /// Never: there is at least one component.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How the covariances are restricted.
    pub fn covariance_kind(&self) -> Covariance {
        self.belief.layout.covariance
    }

    /// How the weights are distributed.
    pub fn weights_kind(&self) -> Weights {
        self.belief.weights
    }

    /// The labels of the rows, as the last step left them.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// `N_k`: how many rows, by weight, are expected in component `k`. One that the data do not need
    /// has less than a row.
    pub fn expected_count(&self, k: usize) -> f64 {
        self.belief.worth[k] - self.prior_worth
    }

    /// The components that hold a row or more, the largest first.
    pub fn occupied(&self) -> Vec<usize> {
        let mut all: Vec<usize> =
            (0..self.len()).filter(|&k| self.expected_count(k) >= 1.0).collect();
        all.sort_by(|&a, &b| self.expected_count(b).total_cmp(&self.expected_count(a)));
        all
    }

    /// The expected weights; they add up to 1.
    pub fn weights(&self) -> Vec<f64> {
        let mut out = vec![0.0; self.len()];
        self.belief.weights.mean(&self.belief.concentration, &mut out);
        out
    }

    /// The interval that holds the weight of component `k` with probability `level`, with equal
    /// tails: a quantile of a Beta. Under sticks only the first weight is a Beta; the others have
    /// none (NaN): draw them.
    ///
    /// # Panics
    /// If there is no such component.
    pub fn weight_interval(&self, k: usize, level: f64) -> [f64; 2] {
        let numbers = &self.belief.concentration;
        let (a, b) = match self.belief.weights {
            _ if self.len() == 1 => return [1.0; 2],
            Weights::Dirichlet => (numbers[k], numbers.iter().sum::<f64>() - numbers[k]),
            Weights::StickBreaking if k == 0 => (numbers[0], numbers[1]),
            Weights::StickBreaking => return [f64::NAN; 2],
        };
        let tail = 0.5 * (1.0 - level);
        let quantile = |p: f64| beta_quantile(p, a, b);
        [quantile(tail), quantile(1.0 - tail)]
    }

    /// The expected mean of component `k`.
    ///
    /// # Panics
    /// If there is no such component.
    pub fn mean(&self, k: usize) -> &[f64] {
        self.belief.mean(k)
    }

    /// The interval that holds the mean of component `k` in column `j` with probability `level`,
    /// with equal tails: that of a Student's t.
    ///
    /// # Panics
    /// If there is no such component or column.
    pub fn mean_interval(&self, k: usize, j: usize, level: f64) -> [f64; 2] {
        let (scale, freedom) = self.mean_scale(k, j);
        let reach = scale * student_t_quantile(0.5 * (1.0 + level), freedom);
        [self.mean(k)[j] - reach, self.mean(k)[j] + reach]
    }

    /// Scale and degrees of freedom of the Student t of the mean of component `k` in column `j`.
    pub(super) fn mean_scale(&self, k: usize, j: usize) -> (f64, f64) {
        let layout = self.belief.layout;
        let degrees = self.degrees(k) + 1.0 - layout.block() as f64;
        let scale = self.scatter(k)[j * layout.dim + j];
        ((scale / (self.belief.worth[k] * degrees)).sqrt(), degrees)
    }

    /// Shape and rate of the Gamma of the inverse of the variance of component `k` in column `j`: what
    /// a Wishart makes of one entry of the diagonal of a covariance.
    pub(super) fn variance_numbers(&self, k: usize, j: usize) -> (f64, f64) {
        let layout = self.belief.layout;
        let degrees = self.degrees(k) + 1.0 - layout.block() as f64;
        (0.5 * degrees, 0.5 * self.scatter(k)[j * layout.dim + j])
    }

    /// The inverse of the expected precision of component `k`, `d x d`, row by row.
    ///
    /// # Panics
    /// If there is no such component.
    pub fn covariance(&self, k: usize) -> Vec<f64> {
        let degrees = self.degrees(k);
        self.scatter(k).into_iter().map(|s| s / degrees).collect()
    }

    /// How many rows the mean of component `k` is worth, those of the prior included.
    ///
    /// # Panics
    /// If there is no such component.
    pub fn shrinkage(&self, k: usize) -> f64 {
        self.belief.worth[k]
    }

    /// The degrees of freedom of the precision of component `k`.
    ///
    /// # Panics
    /// If there is no such component.
    pub fn degrees(&self, k: usize) -> f64 {
        self.belief.degrees[self.belief.layout.group(k)]
    }

    /// The numbers of the distribution of the weights: concentrations of a Dirichlet, or the two
    /// shapes of the Beta of each stick but the last.
    pub fn concentration(&self) -> &[f64] {
        &self.belief.concentration
    }

    /// The scale of component `k`, row by row.
    fn scatter(&self, k: usize) -> Vec<f64> {
        let layout = self.belief.layout;
        let (g, len) = (layout.group(k), layout.len());
        layout.matrix(&self.belief.scale[g * len..(g + 1) * len])
    }
}

/// Calls `f` with each number of the roots of the scales, its group, its unit and whether it must be
/// positive.
fn each_root(
    layout: Layout,
    groups: usize,
    unit: &[f64],
    mut f: impl FnMut(usize, usize, f64, bool),
) {
    let mut at = 0..;
    let mut tell = |g: usize, unit: f64, positive: bool| {
        at.next().into_iter().for_each(|at| f(at, g, unit, positive));
    };
    for g in 0..groups {
        if layout.block() > 1 {
            for i in 0..layout.dim {
                (0..=i).for_each(|j| tell(g, unit[i], i == j));
            }
        } else {
            unit[..layout.len()].iter().for_each(|&unit| tell(g, unit, true));
        }
    }
}

/// Positive numbers stay so.
fn positive(x: f64) -> f64 {
    x.exp().clamp(f64::MIN_POSITIVE, f64::MAX)
}

impl Family for MixturePosterior {
    fn dim(&self) -> usize {
        self.labels.dim() + self.belief.dim()
    }
    fn support(&self, i: usize) -> Support {
        let n = self.labels.dim();
        if i < n {
            return self.labels.support(i);
        }
        let means = self.belief.mean.len();
        let weights = self.belief.dim() - means - self.belief.scale.len();
        match i - n {
            at if at < weights => Support::Simplex,
            at if at < weights + means => Support::Real,
            at => self.belief.layout.support(at - weights - means),
        }
    }
    fn n_params(&self) -> usize {
        let b = &self.belief;
        b.concentration.len() + b.worth.len() + b.mean.len() + b.degrees.len() + b.root.len()
    }
    fn params(&self, out: &mut [f64]) {
        if !self.lambda.is_empty() {
            return out.copy_from_slice(&self.lambda);
        }
        let b = &self.belief;
        let (dim, least) = (b.layout.dim, b.layout.block() as f64 - 1.0);
        let mut out = out.iter_mut();
        let mut put = |x: f64| out.next().into_iter().for_each(|out| *out = x);
        b.concentration.iter().chain(&b.worth).for_each(|x| put(x.ln()));
        for (at, m) in b.mean.iter().enumerate() {
            put((m - self.centre[at % dim]) / self.unit[at % dim]);
        }
        b.degrees.iter().for_each(|nu| put((nu - least).ln()));
        each_root(b.layout, b.degrees.len(), &self.unit, |at, g, unit, positive| {
            let x = b.root[at] / (unit * b.degrees[g].sqrt());
            put(if positive { x.ln() } else { x });
        });
    }
    fn set_params(&mut self, params: &[f64]) {
        self.lambda.clear();
        self.lambda.extend_from_slice(params);
        let (dim, least) = (self.belief.layout.dim, self.belief.layout.block() as f64 - 1.0);
        let mut params = params.iter().copied();
        let mut next = || params.next().unwrap_or(f64::NAN);
        let b = &mut self.belief;
        b.concentration.iter_mut().chain(&mut b.worth).for_each(|x| *x = positive(next()));
        for (at, m) in b.mean.iter_mut().enumerate() {
            *m = self.centre[at % dim] + self.unit[at % dim] * next();
        }
        b.degrees.iter_mut().for_each(|nu| *nu = least + positive(next()));
        each_root(b.layout, b.degrees.len(), &self.unit, |at, g, unit, is_positive| {
            let x = next();
            b.root[at] = unit * b.degrees[g].sqrt() * if is_positive { positive(x) } else { x };
        });
        b.multiply();
        b.write_components(&mut self.expected);
        self.labels.components.copy_from(&self.expected);
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        let n = self.labels.dim();
        for z in z.chunks_exact_mut(self.dim()) {
            let (labels, point) = z.split_at_mut(n);
            self.labels.sample(rng, labels);
            self.belief.sample(rng, point);
        }
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let (labels, point) = z.split_at(self.labels.dim());
        self.labels.log_prob(labels) + self.belief.log_density(point)
    }
}

impl MixturePosterior {
    /// The error about rows that do not fit.
    pub(super) fn expect(&self, rows: &Observations) -> Result<(), Error> {
        Error::expect_len("a row", rows.dim(), "a row of the data", self.belief.layout.dim)
    }
}
