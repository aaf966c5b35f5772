//! `Belief`: a distribution of weights, means and covariances, before or after the data.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::wishart::Wishart;
use super::{Layout, Weights};
use crate::models::components::{Components, Moments, Shape, invert};
use crate::noise::fill_normal;
use crate::scratch::with_buffer;
use crate::special::LN_SQRT_2PI;
use crate::triangle;

/// Weights by their [`Weights`], and for each component
///
/// ```text
/// mean_k | covariance_k ~ Normal(mean, covariance_k / worth),   precision_k ~ Wishart(degrees, scale^-1)
/// ```
///
/// with the precision in the blocks of a [`Layout`]. A point is flat: the weights where there are
/// several, the means, then the factors of the covariances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Belief {
    pub(super) layout: Layout,
    pub(super) weights: Weights,
    /// The numbers of the distribution of the weights.
    pub(super) concentration: Vec<f64>,
    /// How many rows a mean is worth, one a component.
    pub(super) worth: Vec<f64>,
    /// `dim` a component.
    pub(super) mean: Vec<f64>,
    /// One a group of components that share a precision.
    pub(super) degrees: Vec<f64>,
    /// Lower triangles, block after block, group after group.
    pub(super) scale: Vec<f64>,
    /// Their Cholesky factors.
    pub(super) root: Vec<f64>,
}

impl Belief {
    /// How many components.
    pub(super) fn len(&self) -> usize {
        self.worth.len()
    }

    pub(super) fn mean(&self, k: usize) -> &[f64] {
        &self.mean[k * self.layout.dim..(k + 1) * self.layout.dim]
    }

    /// The blocks of group `g`.
    pub(super) fn blocks(&self, g: usize) -> impl Iterator<Item = Wishart<'_>> {
        let (dim, len) = (self.layout.block(), self.layout.len());
        let roots = self.root[g * len..(g + 1) * len].chunks_exact(triangle::len(dim));
        roots.map(move |root| Wishart { dim, degrees: self.degrees[g], root })
    }

    /// Makes the roots from the scales.
    pub(super) fn factorize(&mut self) {
        self.root.copy_from_slice(&self.scale);
        let blocks = self.root.chunks_exact_mut(triangle::len(self.layout.block()));
        blocks.for_each(triangle::factorize);
    }

    /// Makes the scales from the roots.
    pub(super) fn multiply(&mut self) {
        let len = triangle::len(self.layout.block());
        for (s, l) in self.scale.chunks_exact_mut(len).zip(self.root.chunks_exact(len)) {
            let row = |i: usize| &l[triangle::len(i)..triangle::len(i + 1)];
            for i in 0..self.layout.block() {
                for j in 0..=i {
                    s[triangle::len(i) + j] = triangle::dot(&row(i)[..=j], row(j));
                }
            }
        }
    }

    /// Adds `count` rows about `mean` with this covariance to component `k`.
    pub(super) fn add_rows(&mut self, k: usize, count: f64, mean: &[f64], covariance: &[f64]) {
        let (layout, dim, g) = (self.layout, self.layout.dim, self.layout.group(k));
        let share = self.worth[k] * count / (self.worth[k] + count);
        let scale = &mut self.scale[g * layout.len()..(g + 1) * layout.len()];
        let own = &mut self.mean[k * dim..(k + 1) * dim];
        layout.add_outer(share, |j| mean[j] - own[j], scale);
        layout.add_matrix(count, |i, j| covariance[i * dim + j], scale);
        for j in 0..dim {
            own[j] += count / (self.worth[k] + count) * (mean[j] - own[j]);
        }
        self.worth[k] += count;
        self.degrees[g] += layout.repeats() * count;
    }

    /// Moves the natural parameters the fraction `rate` of the way to those of the prior and these
    /// rows.
    pub(super) fn natural_step(&mut self, prior: &Belief, rows: &Moments, rate: f64) {
        let (layout, dim) = (self.layout, self.layout.dim);
        let keep = 1.0 - rate;
        let blend = |mine: &mut [f64], prior: &[f64]| {
            mine.iter_mut()
                .zip(prior)
                .for_each(|(mine, prior)| *mine = keep * *mine + rate * prior);
        };
        blend(&mut self.concentration, &prior.concentration);
        self.weights.add_counts(rate, |k| rows.count(k), &mut self.concentration);
        blend(&mut self.degrees, &prior.degrees);
        blend(&mut self.scale, &prior.scale);
        with_buffer(dim + rows.shape().len(dim), |buffer| {
            let (best, scatter) = buffer.split_at_mut(dim);
            for k in 0..self.len() {
                let (g, count) = (layout.group(k), rows.count(k));
                self.degrees[g] += rate * layout.repeats() * count;
                let (pull, centre) = (prior.worth[k], prior.mean(k));
                rows.mean(k, (pull, centre), best);
                rows.scatter(k, best, scatter);
                let scale = &mut self.scale[g * layout.len()..(g + 1) * layout.len()];
                layout.add_scatter(rate, rows.shape(), scatter, scale);
                layout.add_outer(rate * pull, |j| best[j] - centre[j], scale);
                // what lies between the two means is spread
                let (old, new) = (keep * self.worth[k], rate * (pull + count));
                let worth = old + new;
                let own = &mut self.mean[k * dim..(k + 1) * dim];
                if keep > 0.0 {
                    layout.add_outer(old * new / worth, |j| best[j] - own[j], scale);
                    own.iter_mut().zip(&*best).for_each(|(m, b)| *m += new / worth * (b - *m));
                } else {
                    own.copy_from_slice(best);
                }
                self.worth[k] = worth;
            }
        });
        self.factorize();
    }

    /// Writes the components whose `ln rho` is the expected log joint of a row and its label.
    pub(super) fn write_components(&self, out: &mut Components) {
        let (layout, dim) = (self.layout, self.layout.dim);
        let shape = out.shape;
        let len = shape.len(dim);
        out.mean.copy_from_slice(&self.mean);
        self.weights.mean_log(&self.concentration, &mut out.constant);
        for k in 0..self.len() {
            let g = layout.group(k);
            let log_det: f64 = self.blocks(g).map(|block| block.mean_log_det()).sum();
            let spread = dim as f64 / self.worth[k];
            out.constant[k] +=
                0.5 * (layout.repeats() * log_det - spread) - dim as f64 * LN_SQRT_2PI;
            let w = &mut out.factor[k * len..(k + 1) * len];
            let sd = self.degrees[g].sqrt();
            match shape {
                Shape::Full => {
                    self.blocks(g).for_each(|block| invert(dim, block.root, w));
                    w.iter_mut().for_each(|w| *w *= sd);
                }
                Shape::Diagonal => {
                    let root = &self.root[g * layout.len()..(g + 1) * layout.len()];
                    (0..dim).for_each(|j| w[j] = sd / root[j.min(root.len() - 1)]);
                }
            }
        }
    }

    /// `KL(self || prior)`; `expected` are the components of [`Belief::write_components`].
    pub(super) fn kl(&self, prior: &Belief, expected: &Components) -> f64 {
        let d = self.layout.dim as f64;
        let mut sum = self.weights.kl(&self.concentration, &prior.concentration);
        for k in 0..self.len() {
            let share = prior.worth[k] / self.worth[k];
            let square = 2.0 * (expected.constant[k] - expected.log_rho(k, prior.mean(k)));
            sum += 0.5 * (d * (share - 1.0 - share.ln()) + prior.worth[k] * square);
        }
        for g in 0..self.degrees.len() {
            let blocks = self.blocks(g).zip(prior.blocks(g));
            sum += blocks.map(|(q, p)| q.kl(&p)).sum::<f64>();
        }
        sum
    }

    /// How many numbers a point has.
    pub(super) fn dim(&self) -> usize {
        let weights = if self.len() > 1 { self.len() } else { 0 };
        weights + self.mean.len() + self.scale.len()
    }

    /// Writes a draw.
    pub(super) fn sample(&self, rng: &mut dyn Rng, out: &mut [f64]) {
        let (dim, len) = (self.layout.dim, self.layout.len());
        let (weights, means, factors) = self.split_mut(out);
        if !weights.is_empty() {
            self.weights.sample(&self.concentration, rng, weights);
        }
        for (g, factor) in factors.chunks_exact_mut(len).enumerate() {
            let each = factor.chunks_exact_mut(triangle::len(self.layout.block()));
            self.blocks(g).zip(each).for_each(|(block, out)| block.sample(rng, out));
        }
        with_buffer(dim, |noise| {
            for (k, mean) in means.chunks_exact_mut(dim).enumerate() {
                fill_normal(rng, noise);
                let g = self.layout.group(k);
                let factor = &factors[g * len..(g + 1) * len];
                let share = self.worth[k].sqrt().recip();
                for j in 0..dim {
                    mean[j] = self.mean(k)[j] + share * self.layout.times(factor, noise, j);
                }
            }
        });
    }

    /// The log density of a point.
    pub(super) fn log_density(&self, point: &[f64]) -> f64 {
        let (dim, len) = (self.layout.dim, self.layout.len());
        let (weights, means, factors) = self.split(point);
        let mut sum = match weights.is_empty() {
            true => 0.0,
            false => self.weights.log_density(&self.concentration, weights),
        };
        for (g, factor) in factors.chunks_exact(len).enumerate() {
            let each = factor.chunks_exact(triangle::len(self.layout.block()));
            sum += self.blocks(g).zip(each).map(|(block, l)| block.log_density(l)).sum::<f64>();
        }
        if sum == f64::NEG_INFINITY {
            return sum;
        }
        let mut spread = Components::new(1, dim, self.layout.shape());
        for (k, mean) in means.chunks_exact(dim).enumerate() {
            let g = self.layout.group(k);
            let factor = &factors[g * len..(g + 1) * len];
            self.layout.write_precision(factor, &mut spread.factor);
            spread.mean.copy_from_slice(mean);
            // ln rho is minus half the square
            sum += self.worth[k] * spread.log_rho(0, self.mean(k));
            sum += dim as f64 * (0.5 * self.worth[k].ln() - LN_SQRT_2PI);
            sum -= self.layout.log_det(factor);
        }
        sum
    }

    /// The weights (none where there is one component), the means and the factors of a point.
    pub(super) fn split<'a>(&self, point: &'a [f64]) -> (&'a [f64], &'a [f64], &'a [f64]) {
        let (weights, rest) = point.split_at(self.dim() - self.mean.len() - self.scale.len());
        let (means, factors) = rest.split_at(self.mean.len());
        (weights, means, factors)
    }

    fn split_mut<'a>(&self, point: &'a mut [f64]) -> (&'a mut [f64], &'a mut [f64], &'a mut [f64]) {
        let (weights, rest) = point.split_at_mut(self.dim() - self.mean.len() - self.scale.len());
        let (means, factors) = rest.split_at_mut(self.mean.len());
        (weights, means, factors)
    }
}
