//! `States`: the posterior of the states of all rows, a Markov chain, kept as what it follows from.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::chain::Chain;
use super::densities::Densities;
use super::logs::log_sum;
use super::sums::{self, Sums};
use super::{Sequences, log_joint, state};
use crate::bijector::Support;
use crate::error::Error;
use crate::family::Family;
use crate::lossless;
use crate::scratch::with_buffer;

/// The states of each sequence, given its rows:
///
/// ```text
/// q(z) = rho(z) / sum rho,   ln rho(z) = ln initial_(z_1) + sum_t ln transition_(z_t z_(t+1)) + sum_t ln density_(z_t)(x_t)
/// ```
///
/// Every such `q` is the posterior of some hidden Markov model. It keeps the logarithms on the right
/// and, after an E-step, the expected counts and the sums over rows that the M-step needs; not the
/// probabilities of single rows, which [`States::marginals`] makes anew from the data.
///
/// Read back from a file it has no data until the next E-step: until then draws, densities and
/// marginals are NaN.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct States {
    #[serde(skip)]
    data: Option<Sequences>,
    n: usize,
    chain: Chain,
    densities: Densities,
    pub(super) sums: Sums,
    /// Of the states, and of missing cells that are latent.
    #[serde(with = "lossless::one")]
    pub(super) entropy: f64,
}

impl States {
    pub(super) fn new(data: Sequences, chain: Chain, densities: Densities) -> States {
        let (n, data) = (data.rows().len(), Some(data));
        States { data, n, chain, densities, sums: Sums::default(), entropy: f64::NAN }
    }

    /// The posterior under these, and its entropy.
    pub(super) fn replace(
        &mut self,
        data: &Sequences,
        chain: &Chain,
        densities: &Densities,
    ) -> Result<(), Error> {
        if self.data.is_none() {
            self.data = Some(data.clone());
        }
        self.chain.copy_from(chain);
        self.densities.numbers.copy_from_slice(&densities.numbers);
        sums::sums(chain, densities, data, &mut self.sums)?;
        let expected = self.sums.expected_log_joint(chain, densities);
        self.entropy = self.sums.log_normalizer - expected;
        Ok(())
    }

    /// Those under these, of which nothing is summed yet.
    pub(super) fn follow(&mut self, chain: &Chain, densities: &Densities) {
        self.chain.copy_from(chain);
        self.densities.numbers.copy_from_slice(&densities.numbers);
        self.entropy = f64::NAN;
    }

    pub(super) fn k(&self) -> usize {
        self.chain.k
    }

    /// The probabilities of the states of all rows, `K x n`: those of one row side by side.
    pub fn marginals(&self) -> Vec<f64> {
        let mut out = vec![f64::NAN; self.n * self.k()];
        if let Some(data) = &self.data {
            sums::marginals(&self.chain, &self.densities, data, &mut out);
        }
        out
    }

    /// How many rows, by weight, are expected in state `k`; NaN before an E-step.
    pub fn expected_count(&self, k: usize) -> f64 {
        self.sums.occupancy.get(k).copied().unwrap_or(f64::NAN)
    }

    /// How often, by weight, sequences are expected to start in each state; empty before an E-step.
    pub fn expected_starts(&self) -> &[f64] {
        &self.sums.first
    }

    /// How often, by weight, a state is expected to be followed by each, `K x K`: those that follow
    /// one state side by side; empty before an E-step.
    pub fn expected_transitions(&self) -> &[f64] {
        &self.sums.steps
    }

    /// Fills `z` with the states of one sequence, drawn from the last to the first (Scott 2002).
    fn draw(&self, data: &Sequences, i: usize, rng: &mut dyn Rng, z: &mut [f64]) {
        let (k, rows, range) = (self.k(), data.rows(), data.range(i));
        with_buffer((range.len() + 1) * k, |room| {
            let (a, p) = room.split_at_mut(range.len() * k);
            for t in 0..range.len() {
                for j in 0..k {
                    let ahead = match t {
                        0 => self.chain.log_initial[j],
                        _ => log_sum((0..k).map(|i| a[(t - 1) * k + i] + self.chain.step(i, j))),
                    };
                    a[t * k + j] = ahead + self.densities.log_density(j, rows.row(range.start + t));
                }
            }
            let mut next = None;
            for t in (0..range.len()).rev() {
                for (i, p) in p.iter_mut().enumerate() {
                    *p = a[t * k + i] + next.map_or(0.0, |j| self.chain.step(i, j));
                }
                let total = log_sum(p.iter().copied());
                let mut left: f64 = rng.random();
                let drawn = p.iter().position(|p| {
                    left -= (p - total).exp();
                    left < 0.0
                });
                let drawn = drawn.unwrap_or(k - 1);
                z[t] = drawn as f64;
                next = Some(drawn);
            }
        });
    }
}

impl Family for States {
    fn dim(&self) -> usize {
        self.n
    }
    fn support(&self, _: usize) -> Support {
        Support::Category(u32::try_from(self.k()).unwrap_or(u32::MAX))
    }
    fn n_params(&self) -> usize {
        let c = &self.chain;
        c.log_initial.len() + c.log_transition.len() + self.densities.numbers.len()
    }
    fn params(&self, out: &mut [f64]) {
        let c = &self.chain;
        let all = c.log_initial.iter().chain(&c.log_transition).chain(&self.densities.numbers);
        out.iter_mut().zip(all).for_each(|(out, x)| *out = *x);
    }
    fn set_params(&mut self, params: &[f64]) {
        let c = &mut self.chain;
        let logs = c.log_initial.iter_mut().chain(&mut c.log_transition);
        let all = logs.chain(&mut self.densities.numbers);
        all.zip(params).for_each(|(x, p)| *x = *p);
        c.settle();
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        let Some(data) = &self.data else { return z.fill(f64::NAN) };
        for z in z.chunks_exact_mut(self.n) {
            for i in 0..data.len() {
                self.draw(data, i, rng, &mut z[data.range(i)]);
            }
        }
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let mut out = [0.0];
        self.log_prob_batch(z, &mut out);
        out[0]
    }
    fn log_prob_batch(&self, z: &[f64], out: &mut [f64]) {
        let Some(data) = &self.data else { return out.fill(f64::NAN) };
        let (chain, densities) = (&self.chain, &self.densities);
        out.fill(0.0);
        for i in 0..data.len() {
            let range = data.range(i);
            let normalizer = sums::log_likelihood(chain, densities, data, i);
            for (z, out) in z.chunks_exact(self.n).zip(&mut *out) {
                let z = &z[range.clone()];
                if z.iter().all(|z| state(*z, chain.k).is_some()) {
                    let joint = log_joint(chain, densities, data.rows(), range.start, z);
                    *out += joint - normalizer;
                } else {
                    *out = f64::NEG_INFINITY;
                }
            }
        }
    }
    fn entropy(&self) -> Option<f64> {
        let data = self.data.as_ref().filter(|_| self.entropy.is_finite())?;
        Some(self.entropy - sums::entropy_of_missing(&self.chain, &self.densities, data))
    }
}
