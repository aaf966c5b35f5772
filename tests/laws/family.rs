//! The laws of families (`elbo::laws`) as assertions, and what the tests of families share.
//!
//! A new family adds its lines in a file of its own.

use elbo::laws::{self, Broken};
use elbo::{Discrete, Divergence, Family, Purpose, Reparameterized, Scored, Smooth, stream};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const H: f64 = 1e-5;
pub const SLOPE: f64 = 1e-6;
const DRAWS: usize = 20_000;

fn normals(rng: &mut ChaCha8Rng, n: usize, sd: f64) -> Vec<f64> {
    (0..n).map(|_| Distribution::<f64>::sample(&StandardNormal, rng) * sd).collect()
}

/// The family at parameters drawn from `N(0, sd^2)`.
pub fn at_random<Q: Family + Clone>(q: &Q, seed: u64, sd: f64) -> Q {
    let mut q = q.clone();
    let params = normals(&mut stream(seed, Purpose::Start, 0), q.n_params(), sd);
    q.set_params(&params);
    q
}

pub fn params<Q: Family>(q: &Q) -> Vec<f64> {
    let mut lambda = vec![f64::NAN; q.n_params()];
    q.params(&mut lambda);
    lambda
}

pub fn with_params<Q: Family + Clone>(q: &Q, params: &[f64]) -> Q {
    let mut q = q.clone();
    q.set_params(params);
    q
}

/// Central differences of `f` at `x`, coordinate by coordinate.
pub fn slopes(x: &[f64], mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let (mut x, n) = (x.to_vec(), x.len());
    let slope = |i: usize| {
        let centre = x[i];
        x[i] = centre + H;
        let up = f(&x);
        x[i] = centre - H;
        let down = f(&x);
        x[i] = centre;
        (up - down) / (2.0 * H)
    };
    (0..n).map(slope).collect()
}

/// Draws through `sample`, and their log densities.
pub fn draws<Q: Family>(q: &Q, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let (mut z, mut log_q) = (vec![0.0; q.dim() * DRAWS], vec![0.0; DRAWS]);
    q.sample(&mut stream(seed, Purpose::Data, 0), &mut z);
    q.log_prob_batch(&z, &mut log_q);
    (z, log_q)
}

#[track_caller]
fn holds(law: Result<(), Broken>) {
    if let Err(broken) = law {
        panic!("{broken}");
    }
}

#[track_caller]
pub fn family<Q: Family + Clone>(q: &Q) {
    holds(laws::family(q));
}

#[track_caller]
pub fn every_vector_is_valid<Q: Family + Clone>(q: &Q) {
    holds(laws::parameters(q));
}

#[track_caller]
pub fn scored<Q: Scored + Clone>(q: &Q) {
    holds(laws::scored(q));
}

#[track_caller]
pub fn reparameterized<Q: Reparameterized + Clone>(q: &Q) {
    holds(laws::reparameterized(q));
}

#[track_caller]
pub fn transported<Q: Reparameterized + Clone>(q: &Q) {
    holds(laws::transported(q));
}

#[track_caller]
pub fn smooth<Q: Smooth + Clone>(q: &Q) {
    holds(laws::smooth(q));
}

#[track_caller]
pub fn discrete<Q: Discrete + Clone>(q: &Q) {
    holds(laws::discrete(q));
}

#[track_caller]
pub fn divergence<Q: Divergence + Clone>(q: &Q) {
    holds(laws::divergence(q));
}

/// A family that went through JSON is the same family.
#[track_caller]
pub fn saved<Q>(q: &Q)
where
    Q: Family + Clone + PartialEq + std::fmt::Debug,
    Q: serde::Serialize + serde::de::DeserializeOwned,
{
    let q = at_random(q, 5, 0.7);
    let text = serde_json::to_string(&q).expect("a family can be saved");
    assert_eq!(serde_json::from_str::<Q>(&text).expect("and read"), q);
}

/// Fails unless the error's message has all the parts.
#[track_caller]
pub fn message<T: std::fmt::Debug>(result: Result<T, elbo::Error>, parts: &[&str]) {
    let text = result.expect_err("this is wrong input").to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}
