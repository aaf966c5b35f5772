//! `Belief`: a distribution of initial and transition probabilities and of what the rows look like,
//! before or after the data.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::chain::Chain;
use super::densities::{Densities, Form};
use super::sums::Sums;
use crate::bijector::Support;
use crate::models::bayesian_mixture::Wishart;
use crate::models::components::invert;
use crate::models::discrete_mixture::{Kind, Levels};
use crate::noise::fill_normal;
use crate::scratch::with_buffer;
use crate::special::LN_SQRT_2PI;
use crate::triangle;

/// Initial probabilities and those of the steps from each state are Dirichlet. A normal state is in
/// blocks, one of all columns or one a column:
///
/// ```text
/// mean | covariance ~ Normal(mean, covariance / worth),   covariance^-1 ~ Wishart(degrees, scale^-1)
/// ```
///
/// A state of discrete columns has a number for each feature. A point is flat: probabilities where
/// there are several states, then for each state means and factors, or values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Belief {
    pub(super) k: usize,
    pub(super) form: Form,
    /// Concentrations: of the initial probabilities, then of the steps from each state.
    pub(super) concentration: Vec<f64>,
    /// One a block.
    pub(super) worth: Vec<f64>,
    pub(super) degrees: Vec<f64>,
    /// `d` a state.
    pub(super) mean: Vec<f64>,
    /// Cholesky factors of the scales, block after block.
    pub(super) root: Vec<f64>,
    /// `features` a state.
    pub(super) numbers: Vec<f64>,
}

impl Form {
    /// Blocks of a normal state, and their dimension.
    pub(super) fn blocks(&self) -> (usize, usize) {
        match self {
            Form::Full(d) => (1, *d),
            Form::Diagonal(d) => (*d, 1),
            Form::Discrete(_) => (0, 0),
        }
    }

    /// Where the probabilities and values of a state live.
    pub(super) fn supports(&self) -> Vec<Support> {
        let lower = |i: usize, j: usize| if i == j { Support::Positive } else { Support::Real };
        let means = |d: usize| std::iter::repeat_n(Support::Real, d);
        match self {
            Form::Full(d) => {
                let entries = (0..*d).flat_map(|i| (0..=i).map(move |j| lower(i, j)));
                means(*d).chain(entries).collect()
            }
            Form::Diagonal(d) => {
                means(*d).chain(std::iter::repeat_n(Support::Positive, *d)).collect()
            }
            Form::Discrete(layout) => {
                let each = layout.kinds();
                each.flat_map(|(kind, _)| vec![kind.support(); kind.values()]).collect()
            }
        }
    }
}

impl Belief {
    /// The numbers of the simplex that is row `at` of the probabilities.
    fn simplex(&self, at: usize) -> &[f64] {
        &self.concentration[at * self.k..(at + 1) * self.k]
    }

    /// Block `b` of state `k`: worth, mean and precision.
    pub(super) fn block(&self, k: usize, b: usize) -> (f64, &[f64], Wishart<'_>) {
        let (blocks, dim) = self.form.blocks();
        let (at, len) = (k * blocks + b, triangle::len(dim));
        let mean = &self.mean[at * dim..(at + 1) * dim];
        let root = &self.root[at * len..(at + 1) * len];
        (self.worth[at], mean, Wishart { dim, degrees: self.degrees[at], root })
    }

    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (k, (blocks, _)) = (self.k, self.form.blocks());
        (0..k).flat_map(move |k| (0..blocks).map(move |b| (k, b)))
    }

    /// Location, scale and degrees of freedom of the Student t of a mean: column `j` of normal state
    /// `k`.
    pub(super) fn mean_of(&self, k: usize, j: usize) -> (f64, f64, f64) {
        let (shape, rate) = self.variance_of(k, j);
        let (_, dim) = self.form.blocks();
        let (worth, mean, _) = self.block(k, j / dim);
        (mean[j % dim], (rate / (worth * shape)).sqrt(), 2.0 * shape)
    }

    /// Shape and rate of the Gamma of the inverse of its variance.
    pub(super) fn variance_of(&self, k: usize, j: usize) -> (f64, f64) {
        let (_, dim) = self.form.blocks();
        let (_, _, precision) = self.block(k, j / dim);
        let row = &precision.root[triangle::len(j % dim)..triangle::len(j % dim + 1)];
        let degrees = precision.degrees + 1.0 - dim as f64;
        (0.5 * degrees, 0.5 * triangle::dot(row, row))
    }

    pub(super) fn own(&self, k: usize) -> &[f64] {
        let n = self.numbers.len() / self.k;
        &self.numbers[k * n..(k + 1) * n]
    }

    /// The best given the sums over rows and states: conjugate.
    pub(super) fn update(&mut self, prior: &Belief, sums: &Sums) {
        let counts = sums.first.iter().chain(&sums.steps);
        let all = self.concentration.iter_mut().zip(&prior.concentration);
        all.zip(counts).for_each(|((a, prior), n)| *a = prior + n);
        if let Form::Discrete(layout) = &self.form {
            for k in 0..self.k {
                for f in 0..layout.features {
                    let at = k * layout.features + f;
                    self.numbers[at] = prior.numbers[at] + sums.row(f, k);
                }
            }
            return;
        }
        let (blocks, dim) = self.form.blocks();
        let (d, len) = (blocks * dim, triangle::len(dim));
        for (k, b) in self.blocks() {
            let at = k * blocks + b;
            let (pull, centre, before) = prior.block(k, b);
            // in a full state there is one count, in another one a column
            let (first, second) =
                if dim > 1 || blocks == 1 && d > 1 { (1, 1 + d) } else { (d + b, 2 * d + b) };
            let n = match &self.form {
                Form::Full(_) => sums.row(0, k),
                _ => sums.row(b, k),
            };
            self.worth[at] = pull + n;
            self.degrees[at] = before.degrees + n;
            let mean = &mut self.mean[at * dim..(at + 1) * dim];
            for j in 0..dim {
                let about = sums.reference(b + j, k);
                let shift = sums.row(first + j, k) + pull * (centre[j] - about);
                mean[j] = about + shift / (pull + n);
            }
            let root = &mut self.root[at * len..(at + 1) * len];
            for i in 0..dim {
                for j in 0..=i {
                    let step = |j: usize| sums.reference(b + j, k) - mean[j];
                    let off = |j: usize| centre[j] - mean[j];
                    let lower = |i: usize| &before.root[triangle::len(i)..triangle::len(i + 1)];
                    let cross = sums.row(first + i, k) * step(j) + step(i) * sums.row(first + j, k);
                    root[triangle::len(i) + j] = triangle::dot(&lower(i)[..=j], lower(j))
                        + sums.row(second + triangle::len(i) + j, k)
                        + cross
                        + n * step(i) * step(j)
                        + pull * off(i) * off(j);
                }
            }
            triangle::factorize(root);
        }
    }

    /// Writes what is expected of the logarithms.
    pub(super) fn write(&self, chain: &mut Chain, densities: &mut Densities) {
        let k = self.k;
        for at in 0..=k {
            let out = match at {
                0 => &mut chain.log_initial[..],
                i => &mut chain.log_transition[(i - 1) * k..i * k],
            };
            Levels(k).expected(self.simplex(at), out);
        }
        chain.settle();
        let (blocks, dim) = self.form.blocks();
        match &self.form {
            Form::Discrete(layout) => with_buffer(layout.features, |expected| {
                for c in 0..k {
                    for (kind, place) in layout.kinds() {
                        let features = place.features(&*kind);
                        kind.expected(&self.own(c)[features.clone()], &mut expected[features]);
                    }
                    densities.set(c, expected.iter().copied());
                }
            }),
            _ => with_buffer(2 * blocks + blocks * triangle::len(dim), |room| {
                let (constants, factors) = room.split_at_mut(blocks);
                for c in 0..k {
                    for b in 0..blocks {
                        let (worth, _, precision) = self.block(c, b);
                        let log_det = precision.mean_log_det();
                        let spread = dim as f64 / worth;
                        constants[b] = 0.5 * (log_det - spread) - dim as f64 * LN_SQRT_2PI;
                        let len = triangle::len(dim);
                        let w = &mut factors[b * len..(b + 1) * len];
                        invert(dim, precision.root, w);
                        w.iter_mut().for_each(|w| *w *= precision.degrees.sqrt());
                    }
                    let d = blocks * dim;
                    let means = &self.mean[c * d..(c + 1) * d];
                    let all = constants.iter().chain(means).chain(&*factors);
                    densities.set(c, all.copied());
                }
            }),
        }
        densities.fill_up();
    }

    /// `KL(self || prior)`; the rest is what [`Belief::write`] has made.
    pub(super) fn kl(&self, prior: &Belief, chain: &Chain, densities: &Densities) -> f64 {
        let k = self.k;
        let mut sum = 0.0;
        for at in 0..=k {
            let logs = match at {
                0 => &chain.log_initial[..],
                i => &chain.log_transition[(i - 1) * k..i * k],
            };
            let kind = Levels(k);
            sum += kind.log_density(self.simplex(at), logs);
            sum -= kind.log_density(prior.simplex(at), logs);
        }
        if let Form::Discrete(layout) = &self.form {
            with_buffer(layout.features, |expected| {
                for c in 0..k {
                    (0..layout.features).for_each(|f| expected[f] = densities.get(f, c));
                    for (kind, place) in layout.kinds() {
                        let features = place.features(&*kind);
                        let at = &expected[features.clone()];
                        sum += kind.log_density(&self.own(c)[features.clone()], at);
                        sum -= kind.log_density(&prior.own(c)[features], at);
                    }
                }
            });
        }
        for (c, b) in self.blocks() {
            let (worth, mean, precision) = self.block(c, b);
            let (pull, centre, before) = prior.block(c, b);
            let (share, dim) = (pull / worth, precision.dim as f64);
            let square = precision.degrees * square(&precision, mean, centre);
            sum += 0.5 * (dim * (share - 1.0 - share.ln()) + pull * square);
            sum += precision.kl(&before);
        }
        sum
    }

    /// How many numbers a point has.
    pub(super) fn dim(&self) -> usize {
        self.n_probabilities() + self.k * self.form.values()
    }

    fn n_probabilities(&self) -> usize {
        if self.k > 1 { self.concentration.len() } else { 0 }
    }

    pub(super) fn support(&self, i: usize) -> Support {
        match i.checked_sub(self.n_probabilities()) {
            None => Support::Simplex,
            Some(i) => self.form.supports()[i % self.form.values()],
        }
    }

    /// Writes a draw.
    pub(super) fn sample(&self, rng: &mut dyn Rng, out: &mut [f64]) {
        let (probabilities, states) = out.split_at_mut(self.n_probabilities());
        for (at, p) in probabilities.chunks_exact_mut(self.k).enumerate() {
            if Levels(self.k).draw(self.simplex(at), rng, p).is_err() {
                p.fill(f64::NAN);
            }
        }
        let (blocks, dim) = self.form.blocks();
        let (d, len) = (blocks * dim, triangle::len(dim));
        for (k, values) in states.chunks_exact_mut(self.form.values()).enumerate() {
            if let Form::Discrete(layout) = &self.form {
                for (kind, place) in layout.kinds() {
                    let own = &self.own(k)[place.features(&*kind)];
                    let values = &mut values[place.values(&*kind)];
                    if kind.draw(own, rng, values).is_err() {
                        values.fill(f64::NAN);
                    }
                }
                continue;
            }
            let (means, factors) = values.split_at_mut(d);
            for b in 0..blocks {
                let (worth, mean, precision) = self.block(k, b);
                let factor = &mut factors[b * len..(b + 1) * len];
                precision.sample(rng, factor);
                with_buffer(dim, |noise| {
                    fill_normal(rng, noise);
                    for (j, row) in triangle::rows(factor).take(dim).enumerate() {
                        let off = triangle::dot(row, &noise[..=j]) / worth.sqrt();
                        means[b + j] = mean[j] + off;
                    }
                });
            }
        }
    }

    /// The log density of a point.
    pub(super) fn log_density(&self, point: &[f64]) -> f64 {
        let (probabilities, states) = point.split_at(self.n_probabilities());
        let mut sum = 0.0;
        let mut simplex = |kind: &dyn Kind, numbers: &[f64], values: &[f64]| {
            with_buffer(kind.features(), |coefficients| {
                sum += match kind.fits(values) {
                    true => {
                        kind.coefficients(values, coefficients);
                        kind.log_density(numbers, coefficients)
                    }
                    false => f64::NEG_INFINITY,
                };
            });
        };
        for (at, p) in probabilities.chunks_exact(self.k).enumerate() {
            simplex(&Levels(self.k), self.simplex(at), p);
        }
        if let Form::Discrete(layout) = &self.form {
            for (k, values) in states.chunks_exact(layout.values).enumerate() {
                for (kind, place) in layout.kinds() {
                    let own = &self.own(k)[place.features(&*kind)];
                    simplex(&*kind, own, &values[place.values(&*kind)]);
                }
            }
        }
        let (blocks, dim) = self.form.blocks();
        let (d, len, n) = (blocks * dim, triangle::len(dim), self.form.values());
        for (k, b) in self.blocks() {
            let (means, factors) = states[k * n..(k + 1) * n].split_at(d);
            let factor = &factors[b * len..(b + 1) * len];
            sum += self.log_density_of_block((k, b), &means[b..b + dim], factor);
            if sum == f64::NEG_INFINITY {
                return sum;
            }
        }
        sum
    }

    /// That of the mean and the Cholesky factor of the covariance of block `b` of state `k`.
    pub(super) fn log_density_of_block(
        &self,
        (k, b): (usize, usize),
        means: &[f64],
        factor: &[f64],
    ) -> f64 {
        let (worth, mean, precision) = self.block(k, b);
        let own = precision.log_density(factor);
        if own == f64::NEG_INFINITY {
            return own;
        }
        let dim = precision.dim;
        let at = Wishart { dim, degrees: f64::NAN, root: factor };
        let peak = dim as f64 * (0.5 * worth.ln() - LN_SQRT_2PI) - triangle::log_det(factor);
        own + peak - 0.5 * worth * square(&at, means, mean)
    }

    /// Probabilities and values of a point, where one state has probability 1.
    pub(super) fn split<'a>(&self, point: &'a [f64]) -> (&'a [f64], &'a [f64]) {
        point.split_at(self.n_probabilities())
    }
}

/// `|root^-1 (a - b)|^2`
fn square(at: &Wishart<'_>, a: &[f64], b: &[f64]) -> f64 {
    with_buffer(at.dim, |z| {
        let mut sum = 0.0;
        for (i, row) in triangle::rows(at.root).take(at.dim).enumerate() {
            let known = triangle::dot(&row[..i], &z[..i]);
            z[i] = (a[i] - b[i] - known) / row[i];
            sum += z[i] * z[i];
        }
        sum
    })
}
