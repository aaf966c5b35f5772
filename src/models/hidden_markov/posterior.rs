//! `HiddenMarkovPosterior`: what is believed of the states of all rows and of all parameters.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::States;
use super::belief::Belief;
use super::chain::Chain;
use super::densities::{Densities, Form};
use crate::bijector::Support;
use crate::family::Family;
use crate::triangle;

/// `q(states) q(initial) prod_i q(transition_i) prod_k q(emission_k)`: the [`States`] that the last
/// step found; Dirichlet distributions of initial probabilities and of the steps from each state;
/// and for each state a normal and a Wishart, or what suits its columns (Beta, Dirichlet, Gamma).
///
/// Its parameters `lambda` are those of all but the states, free of units; [`Family::set_params`]
/// gives the rows the best states for them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HiddenMarkovPosterior {
    pub(super) states: States,
    pub(super) belief: Belief,
    /// What the next states follow from.
    pub(super) chain: Chain,
    pub(super) densities: Densities,
    /// Mean and standard deviation of each column: where `lambda` has its zeros, and its units.
    pub(super) centre: Vec<f64>,
    pub(super) unit: Vec<f64>,
}

impl HiddenMarkovPosterior {
    /// `K`: how many states there are, those that have emptied included.
    pub fn len(&self) -> usize {
        self.belief.k
    }

    /// Never: there is at least one state.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The states of the rows, as the last step found them.
    pub fn states(&self) -> &States {
        &self.states
    }

    /// How many rows, by weight, are expected in state `k`. One that the data do not need has next to
    /// none.
    pub fn expected_count(&self, k: usize) -> f64 {
        self.states.expected_count(k)
    }

    /// The states that hold a row or more, the largest first.
    pub fn occupied(&self) -> Vec<usize> {
        let mut all: Vec<usize> =
            (0..self.len()).filter(|&k| self.expected_count(k) >= 1.0).collect();
        all.sort_by(|&a, &b| self.expected_count(b).total_cmp(&self.expected_count(a)));
        all
    }

    /// The expected initial probabilities.
    pub fn initial(&self) -> Vec<f64> {
        mean_of(&self.belief.concentration[..self.len()])
    }

    /// The expected probabilities of the steps from state `i`.
    ///
    /// # Panics
    /// If there is no such state.
    pub fn transition(&self, i: usize) -> Vec<f64> {
        mean_of(self.concentrations(i))
    }

    /// The concentrations of the Dirichlet distribution of the initial probabilities.
    pub fn initial_concentrations(&self) -> &[f64] {
        &self.belief.concentration[..self.len()]
    }

    /// The concentrations of the Dirichlet distribution of the steps from state `i`.
    ///
    /// # Panics
    /// If there is no such state.
    pub fn concentrations(&self, i: usize) -> &[f64] {
        let k = self.len();
        assert!(i < k, "there is no state {i}");
        &self.belief.concentration[(1 + i) * k..(2 + i) * k]
    }

    /// What is expected of the values of state `k`: of a normal state the means, and then the
    /// covariance that is the inverse of the expected precision, `d x d`, or `d` variances; of
    /// others the means of probabilities and rates, column after column.
    ///
    /// # Panics
    /// If there is no such state.
    pub fn values(&self, k: usize) -> Vec<f64> {
        let belief = &self.belief;
        let (blocks, dim) = belief.form.blocks();
        if let Form::Discrete(layout) = &belief.form {
            let own = &belief.numbers[k * layout.features..(k + 1) * layout.features];
            let (mut mean, mut sd) = (vec![0.0; layout.values], vec![0.0; layout.values]);
            for (kind, place) in layout.kinds() {
                let at = place.values(&*kind);
                let numbers = &own[place.features(&*kind)];
                kind.summary(numbers, &mut mean[at.clone()], &mut sd[at]);
            }
            return mean;
        }
        let (d, len) = (blocks * dim, triangle::len(dim));
        let mut out = belief.mean[k * d..(k + 1) * d].to_vec();
        for b in 0..blocks {
            let at = k * blocks + b;
            let root = &belief.root[at * len..(at + 1) * len];
            let row = |i: usize| &root[triangle::len(i)..triangle::len(i + 1)];
            for i in 0..dim {
                for j in 0..dim {
                    let least = i.min(j);
                    let square = triangle::dot(&row(i)[..=least], &row(j)[..=least]);
                    out.push(square / belief.degrees[at]);
                }
            }
        }
        out
    }

    pub(super) fn refresh(&mut self) {
        self.belief.write(&mut self.chain, &mut self.densities);
    }
}

fn mean_of(concentration: &[f64]) -> Vec<f64> {
    let total: f64 = concentration.iter().sum();
    concentration.iter().map(|a| a / total).collect()
}

impl Family for HiddenMarkovPosterior {
    fn dim(&self) -> usize {
        self.states.dim() + self.belief.dim()
    }
    fn support(&self, i: usize) -> Support {
        match i.checked_sub(self.states.dim()) {
            None => self.states.support(i),
            Some(i) => self.belief.support(i),
        }
    }
    fn n_params(&self) -> usize {
        let b = &self.belief;
        let normal = b.worth.len() + b.degrees.len() + b.mean.len() + b.root.len();
        b.concentration.len() + normal + b.numbers.len()
    }
    fn params(&self, out: &mut [f64]) {
        let b = &self.belief;
        let (blocks, dim) = b.form.blocks();
        let (d, len) = (blocks * dim, triangle::len(dim));
        let least = dim as f64 - 1.0;
        let mut out = out.iter_mut();
        let mut put = |x: f64| {
            if let Some(out) = out.next() {
                *out = x;
            }
        };
        b.concentration.iter().chain(&b.numbers).chain(&b.worth).for_each(|x| put(x.ln()));
        b.degrees.iter().for_each(|x| put((x - least).ln()));
        let means = b.mean.iter().enumerate();
        means.for_each(|(at, m)| put((m - self.centre[at % d]) / self.unit[at % d]));
        for (at, root) in b.root.chunks_exact(len.max(1)).enumerate() {
            for (i, row) in triangle::rows(root).take(dim).enumerate() {
                let unit = self.unit[(at % blocks) * dim + i];
                row[..i].iter().for_each(|x| put(x / unit));
                put((row[i] / unit).ln());
            }
        }
    }
    fn set_params(&mut self, params: &[f64]) {
        let b = &mut self.belief;
        let (blocks, dim) = b.form.blocks();
        let (d, len) = (blocks * dim, triangle::len(dim));
        let least = dim as f64 - 1.0;
        let positive = |p: f64| p.exp().clamp(f64::MIN_POSITIVE, f64::MAX);
        let mut params = params.iter().copied();
        let mut take = || params.next().unwrap_or(f64::NAN);
        let logs = b.concentration.iter_mut().chain(&mut b.numbers).chain(&mut b.worth);
        logs.for_each(|x| *x = positive(take()));
        b.degrees.iter_mut().for_each(|x| *x = least + positive(take()));
        let means = b.mean.iter_mut().enumerate();
        means.for_each(|(at, m)| *m = self.centre[at % d] + self.unit[at % d] * take());
        for (at, root) in b.root.chunks_exact_mut(len.max(1)).enumerate() {
            for i in 0..dim {
                let unit = self.unit[(at % blocks) * dim + i];
                let row = &mut root[triangle::len(i)..triangle::len(i + 1)];
                row[..i].iter_mut().for_each(|x| *x = unit * take());
                row[i] = unit * positive(take());
            }
        }
        self.refresh();
        self.states.follow(&self.chain, &self.densities);
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        let n = self.states.dim();
        for z in z.chunks_exact_mut(self.dim()) {
            let (states, parameters) = z.split_at_mut(n);
            self.states.sample(rng, states);
            self.belief.sample(rng, parameters);
        }
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let mut out = [0.0];
        self.log_prob_batch(z, &mut out);
        out[0]
    }
    fn log_prob_batch(&self, z: &[f64], out: &mut [f64]) {
        let n = self.states.dim();
        let states: Vec<f64> =
            z.chunks_exact(self.dim()).flat_map(|z| z[..n].iter().copied()).collect();
        self.states.log_prob_batch(&states, out);
        for (z, out) in z.chunks_exact(self.dim()).zip(out) {
            *out += self.belief.log_density(&z[n..]);
        }
    }
}
