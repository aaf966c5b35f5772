//! Where EM starts: k-means++, random rows, random labels, or the user's own parameters.

use nalgebra::DMatrix;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Covariance, GaussianMixture};
use crate::error::Error;
use crate::models::choose::pick;
use crate::noise::{Purpose, stream};
use crate::triangle;

/// Where a fit may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// Centres by k-means++ (Arthur and Vassilvitskii 2007), moved by Lloyd's algorithm, all with
    /// the covariance of the rows about their centres. Distances are by the cells that are there.
    #[default]
    KMeans,
    /// Means at rows drawn at random, all with the covariance of the rows about the nearest of
    /// them.
    Rows,
    /// Rows dealt to components at random.
    Labels,
}

/// The most rows a start looks at.
const LOOK: usize = 20_000;
/// The most rounds of Lloyd's algorithm.
const ROUNDS: usize = 50;
/// The share of the whole covariance in that of a start, which keeps it regular.
const SHARE: f64 = 1e-3;
/// The weight of a component without a group.
const SPARE: f64 = 1e-30;
/// Apart from the stream that a run looks at its start with.
const STREAM: u64 = 1 << 32;

impl GaussianMixture {
    /// The same mixture at another start: a function of the data, the kind and the seed alone.
    ///
    /// # Errors
    /// A file that has changed, or cannot be read any more; with data in memory none that a mixture
    /// that could be made has not met.
    pub fn started(self, start: Start, seed: u64) -> Result<GaussianMixture, Error> {
        self.started_at(start, seed, 0)
    }

    /// Start `index` of those of a seed.
    pub(in crate::models) fn started_at(
        mut self,
        start: Start,
        seed: u64,
        index: u64,
    ) -> Result<GaussianMixture, Error> {
        let mut rng = stream(seed, Purpose::Start, STREAM + index);
        let sample = Sample::draw(&self, &mut rng)?;
        let groups = sample.groups(start, self.len(), &mut rng);
        sample.write(&groups, &mut self);
        Ok(self)
    }

    /// The same with the rows in `k` groups, which are no more than there are components, the largest
    /// first: components without a group have next to no weight.
    pub(in crate::models) fn grouped_at(
        mut self,
        start: Start,
        seed: u64,
        index: u64,
        k: usize,
    ) -> Result<GaussianMixture, Error> {
        let mut rng = stream(seed, Purpose::Start, STREAM + index);
        let sample = Sample::draw(&self, &mut rng)?;
        let groups = sample.by_size(k, sample.groups(start, k, &mut rng));
        sample.write(&groups, &mut self);
        if k < self.len() {
            let weights = &mut self.parameters.weights;
            weights[k..].fill(SPARE);
            let total: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|w| *w /= total);
            self.settle();
        }
        Ok(self)
    }
}

impl Sample {
    /// The group of each row.
    fn groups(&self, start: Start, k: usize, rng: &mut dyn Rng) -> Vec<usize> {
        match start {
            Start::KMeans => self.lloyd(self.plus_plus(k, rng)),
            Start::Rows => self.nearest(&self.distinct(k, rng)),
            Start::Labels => (0..self.len()).map(|_| rng.random_range(0..k)).collect(),
        }
    }

    /// The same with the groups in the order of their size.
    fn by_size(&self, k: usize, groups: Vec<usize>) -> Vec<usize> {
        let mut counts = vec![0.0; k];
        groups.iter().zip(&self.weight).for_each(|(&k, w)| counts[k] += w);
        let mut order: Vec<usize> = (0..k).collect();
        order.sort_by(|&a, &b| f64::total_cmp(&counts[b], &counts[a]));
        let mut place = vec![0; k];
        order.iter().enumerate().for_each(|(at, &k)| place[k] = at);
        groups.into_iter().map(|k| place[k]).collect()
    }
}

impl GaussianMixture {
    /// The same mixture at parameters of the user's own: `K` weights, `d` numbers a mean, and
    /// covariances, row by row: `d x d` each where full, one `d x d` where tied, `d` variances each
    /// where diagonal, one variance each where spherical. Weights are made to add up to 1.
    ///
    /// # Errors
    /// Lengths that do not fit, weights that are not positive, means that are not finite,
    /// covariances that are not positive definite.
    pub fn with_parameters(
        mut self,
        weights: &[f64],
        means: &[f64],
        covariances: &[f64],
    ) -> Result<GaussianMixture, Error> {
        let (k, dim) = (self.len(), self.components.dim);
        let each = match self.covariance {
            Covariance::Full => k * dim * dim,
            Covariance::Tied => dim * dim,
            Covariance::Diagonal => k * dim,
            Covariance::Spherical => k,
        };
        Error::expect_len("the weights", weights.len(), "the list of components", k)?;
        Error::expect_len("the means", means.len(), "K * d", k * dim)?;
        Error::expect_len("the covariances", covariances.len(), "what they need", each)?;
        if let Some(k) = weights.iter().position(|w| !(*w > 0.0 && w.is_finite())) {
            let remedy = "a weight must be positive and finite";
            return Err(Error::option(&format!("weights[{k}]"), weights[k], remedy));
        }
        if let Some(at) = means.iter().position(|m| !m.is_finite()) {
            let place = format!("means[{}, {}]", at / dim, at % dim);
            return Err(Error::option(&place, means[at], "a mean must be finite"));
        }
        let total: f64 = weights.iter().sum();
        let parameters = &mut self.parameters;
        parameters.weights.iter_mut().zip(weights).for_each(|(w, given)| *w = given / total);
        parameters.mean.copy_from_slice(means);
        match self.covariance {
            Covariance::Full | Covariance::Tied => {
                let matrices = covariances.chunks_exact(dim * dim);
                let factors = parameters.factor.chunks_exact_mut(triangle::len(dim));
                for (k, (matrix, factor)) in matrices.zip(factors).enumerate() {
                    let matrix = DMatrix::from_row_slice(dim, dim, matrix);
                    let what = format!("covariance {k}");
                    factor.copy_from_slice(&triangle::from_covariance(&what, dim, &matrix)?);
                }
            }
            Covariance::Diagonal | Covariance::Spherical => {
                if let Some(at) = covariances.iter().position(|v| !(*v > 0.0 && v.is_finite())) {
                    let remedy = "a variance must be positive and finite";
                    return Err(Error::option("a variance", covariances[at], remedy));
                }
                let sds = parameters.factor.iter_mut().zip(covariances);
                sds.for_each(|(sd, v)| *sd = v.sqrt());
            }
        }
        self.settle();
        Ok(self)
    }
}

/// Rows in units of their columns' standard deviations, NaN where cells are missing.
struct Sample {
    dim: usize,
    x: Vec<f64>,
    weight: Vec<f64>,
}

impl Sample {
    fn draw(model: &GaussianMixture, rng: &mut dyn Rng) -> Result<Sample, Error> {
        let (data, unit) = (model.data(), &model.parameters.unit);
        let (mean, rows) = (data.mean(), data.some_rows(LOOK, rng));
        let mut x = data.gather(&rows)?;
        for row in x.chunks_exact_mut(data.dim()) {
            let each = row.iter_mut().zip(&mean).zip(unit);
            each.for_each(|((x, m), u)| *x = (*x - m) / u);
        }
        let weight = rows.iter().map(|&i| data.weight(i)).collect();
        Ok(Sample { dim: data.dim(), x, weight })
    }

    fn len(&self) -> usize {
        self.weight.len()
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.x[i * self.dim..(i + 1) * self.dim]
    }

    /// A row as a centre: what is missing is at the mean of its column.
    fn centre(&self, i: usize) -> impl Iterator<Item = f64> {
        self.row(i).iter().map(|&x| if x.is_nan() { 0.0 } else { x })
    }

    /// The cells of a row that are there.
    fn cells(&self, i: usize) -> impl Iterator<Item = (usize, f64)> {
        self.row(i).iter().copied().enumerate().filter(|(_, x)| !x.is_nan())
    }

    /// Rows drawn in proportion to their weight times the squared distance to the nearest centre
    /// so far; of several candidates the one that leaves the least.
    fn plus_plus(&self, k: usize, rng: &mut dyn Rng) -> Vec<f64> {
        let candidates = 2 + (k as f64).ln() as usize;
        let mut centres = Vec::with_capacity(k * self.dim);
        centres.extend(self.centre(pick(&self.weight, rng)));
        let far = |i: usize, c: &[f64]| self.weight[i] * distance(self.row(i), c);
        let mut left: Vec<f64> = (0..self.len()).map(|i| far(i, &centres)).collect();
        for _ in 1..k {
            let (mut best, mut best_left, mut least) = (0, Vec::new(), f64::INFINITY);
            for _ in 0..candidates {
                let at = pick(&left, rng);
                let after: Vec<f64> =
                    left.iter().enumerate().map(|(i, l)| l.min(far(i, self.row(at)))).collect();
                let sum = after.iter().sum();
                if sum < least {
                    (best, best_left, least) = (at, after, sum);
                }
            }
            centres.extend(self.centre(best));
            left = best_left;
        }
        centres
    }

    /// Different rows, or as good as that.
    fn distinct(&self, k: usize, rng: &mut dyn Rng) -> Vec<f64> {
        let mut left = self.weight.clone();
        let mut centres = Vec::with_capacity(k * self.dim);
        for _ in 0..k {
            let at = pick(&left, rng);
            centres.extend(self.centre(at));
            left[at] = 0.0;
            for i in 0..self.len() {
                if self.row(i) == self.row(at) {
                    left[i] = 0.0;
                }
            }
        }
        centres
    }

    fn nearest(&self, centres: &[f64]) -> Vec<usize> {
        let nearest = |i: usize| {
            let far = centres.chunks_exact(self.dim).map(|c| distance(self.row(i), c));
            far.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(k, _)| k)
        };
        (0..self.len()).map(nearest).collect()
    }

    /// Moves the centres to the means of the rows nearest to them, until no row changes sides.
    fn lloyd(&self, mut centres: Vec<f64>) -> Vec<usize> {
        let mut nearest = self.nearest(&centres);
        for _ in 0..ROUNDS {
            let (mut sums, mut counts) = (vec![0.0; centres.len()], vec![0.0; centres.len()]);
            for (i, &k) in nearest.iter().enumerate() {
                for (j, x) in self.cells(i) {
                    sums[k * self.dim + j] += self.weight[i] * x;
                    counts[k * self.dim + j] += self.weight[i];
                }
            }
            for (at, c) in centres.iter_mut().enumerate().filter(|(at, _)| counts[*at] > 0.0) {
                *c = sums[at] / counts[at];
            }
            let now = self.nearest(&centres);
            if now == nearest {
                break;
            }
            nearest = now;
        }
        nearest
    }

    /// Sets the mixture to the shares and means of these groups of rows, and to the covariance
    /// within them.
    fn write(&self, group: &[usize], model: &mut GaussianMixture) {
        let (k, dim) = (model.len(), self.dim);
        let (mut counts, mut means) = (vec![0.0; k], vec![0.0; k * dim]);
        // rows that have a cell, by group and in all
        let (mut there, mut known) = (vec![0.0; k * dim], vec![0.0; dim]);
        for (i, &k) in group.iter().enumerate() {
            counts[k] += self.weight[i];
            for (j, x) in self.cells(i) {
                means[k * dim + j] += self.weight[i] * x;
                there[k * dim + j] += self.weight[i];
                known[j] += self.weight[i];
            }
        }
        let total: f64 = counts.iter().sum();
        means.iter_mut().zip(&there).for_each(|(m, n)| *m /= n.max(1e-300));
        let (mut within, mut whole) =
            (vec![0.0; triangle::len(dim)], vec![0.0; triangle::len(dim)]);
        let (mut x, mut y) = (vec![0.0; dim], vec![0.0; dim]);
        for (i, &k) in group.iter().enumerate() {
            y.fill(0.0);
            x.iter_mut().zip(self.centre(i)).for_each(|(x, own)| *x = own);
            self.cells(i).for_each(|(j, x)| y[j] = x - means[k * dim + j]);
            let w = self.weight[i] / total;
            for r in 0..dim {
                let at = triangle::len(r)..triangle::len(r + 1);
                triangle::add_scaled(w * y[r], &y[..=r], &mut within[at.clone()]);
                triangle::add_scaled(w * x[r], &x[..=r], &mut whole[at]);
            }
        }
        if model.data().has_missing() {
            // as many rows as have both cells
            for i in 0..dim {
                for j in 0..=i {
                    let more = total / (known[i] * known[j]).sqrt().max(1e-300);
                    within[triangle::len(i) + j] *= more;
                    whole[triangle::len(i) + j] *= more;
                }
                if known[i] == 0.0 {
                    // of more rows than are looked at
                    within[triangle::len(i + 1) - 1] = 1.0;
                }
            }
        }
        triangle::add_scaled(SHARE, &whole, &mut within);
        // no group without a share
        let share = |n: f64| (n + 0.5) / (total + 0.5 * k as f64);
        let centre = model.data().mean();
        let parameters = &mut model.parameters;
        parameters.weights.iter_mut().zip(&counts).for_each(|(w, n)| *w = share(*n));
        for at in 0..k * dim {
            let j = at % dim;
            parameters.mean[at] = centre[j] + parameters.unit[j] * means[at];
        }
        let variance = |j: usize| within[triangle::len(j + 1) - 1];
        let unit = parameters.unit.clone();
        match model.covariance {
            Covariance::Full | Covariance::Tied => {
                triangle::factorize(&mut within);
                for i in 0..dim {
                    let row = &mut within[triangle::len(i)..triangle::len(i + 1)];
                    row.iter_mut().for_each(|l| *l *= unit[i]);
                }
                let factors = parameters.factor.chunks_exact_mut(within.len());
                factors.for_each(|l| l.copy_from_slice(&within));
            }
            Covariance::Diagonal => {
                let sds = parameters.factor.iter_mut().enumerate();
                sds.for_each(|(at, sd)| *sd = unit[at % dim] * variance(at % dim).sqrt());
            }
            Covariance::Spherical => {
                let mean = (0..dim).map(variance).sum::<f64>() / dim as f64;
                parameters.factor.fill(unit[0] * mean.sqrt());
            }
        }
        model.settle();
    }
}

/// The squared distance; where cells are missing that by the columns that both have, as much more as
/// there are columns.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let squares = || a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
    let whole: f64 = squares().sum();
    if !whole.is_nan() {
        return whole;
    }
    let both = squares().filter(|s| !s.is_nan()).count();
    let sum: f64 = squares().filter(|s| !s.is_nan()).sum();
    sum * (a.len() as f64 / both.max(1) as f64)
}
