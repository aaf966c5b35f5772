//! What every family obeys, at random parameters: `Family`, `Scored`, `Reparameterized`, `Smooth`,
//! `Divergence`. A new family adds its lines in a file of its own.
//!
//! Random tests compare a mean with its exact value at `SIGMA` standard errors: 6e-5 false alarms a
//! comparison were the seeds not fixed. Finite differences are central with step `H`: truncation
//! `H^2`, rounding `1e-16 / H`, both far below the tolerance of `SLOPE`.

use crate::support::{assert_all_close, assert_close};
use elbo::{
    DMatrix, Divergence, Family, Purpose, Reparameterized, Scored, Smooth, Support, stream,
};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const SIGMA: f64 = 4.0;
const H: f64 = 1e-5;
pub const SLOPE: f64 = 1e-6;
const DRAWS: usize = 20_000;

pub fn normals(rng: &mut ChaCha8Rng, n: usize, sd: f64) -> Vec<f64> {
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
pub fn slopes(x: &[f64], f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    slopes_by(x, &vec![H; x.len()], f)
}

/// Central differences with a step for each coordinate.
pub fn slopes_by(x: &[f64], steps: &[f64], mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let (mut x, n) = (x.to_vec(), x.len());
    let slope = |i: usize| {
        let centre = x[i];
        x[i] = centre + steps[i];
        let up = f(&x);
        x[i] = centre - steps[i];
        let down = f(&x);
        x[i] = centre;
        (up - down) / (2.0 * steps[i])
    };
    (0..n).map(slope).collect()
}

/// Mean and its standard error.
pub fn mean_se(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut n, mut mean, mut square) = (0.0, 0.0, 0.0);
    for v in values {
        n += 1.0;
        let off = v - mean;
        mean += off / n;
        square += off * (v - mean);
    }
    (mean, (square / (n - 1.0) / n).sqrt())
}

#[track_caller]
pub fn assert_mean(what: &str, values: impl Iterator<Item = f64>, want: f64) -> f64 {
    let (mean, se) = mean_se(values);
    let off = (mean - want).abs();
    assert!(off <= SIGMA * se + 1e-12, "{what}: mean {mean} ± {se}, want {want}");
    se
}

/// Draws through `sample`, and their log densities.
pub fn draws<Q: Family>(q: &Q, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let (mut z, mut log_q) = (vec![0.0; q.dim() * DRAWS], vec![0.0; DRAWS]);
    q.sample(&mut stream(seed, Purpose::Data, 0), &mut z);
    q.log_prob_batch(&z, &mut log_q);
    (z, log_q)
}

/// `log r` at each draw, `r` independent normals in the unconstrained coordinates of each support,
/// centred on the draws and narrow enough that `r / q` has a variance. `r` is normalized by itself,
/// so a constant missing from `log q` is seen.
pub fn log_narrow(supports: &[Support], z: &[f64]) -> Vec<f64> {
    let d = supports.len();
    let n = z.len() / d;
    let mut u = DMatrix::<f64>::zeros(d, n);
    let mut log_det = vec![0.0; n];
    for s in 0..n {
        for i in 0..d {
            let (mut free, mut back) = ([0.0], [0.0]);
            supports[i].unconstrain(&z[s * d + i..s * d + i + 1], &mut free);
            u[(i, s)] = free[0];
            log_det[s] += supports[i].constrain(&free, &mut back);
        }
    }
    let mean = u.column_mean();
    u.column_iter_mut().for_each(|mut column| column -= &mean);
    let covariance = &u * u.transpose() / n as f64;
    let precision = covariance.try_inverse().expect("draws are not degenerate");
    let log_r = |s: usize| -> f64 {
        let term = |i: usize| {
            let sd = 0.8 / precision[(i, i)].sqrt();
            let x: f64 = u[(i, s)] / sd;
            -0.5 * x * x - sd.ln() - 0.9189385332046727
        };
        (0..d).map(term).sum::<f64>() - log_det[s]
    };
    (0..n).map(log_r).collect()
}

/// `log q` is normalized and is the density of `sample`; parameters come back; the entropy, where
/// known, is `-E[log q]`.
#[track_caller]
pub fn family<Q: Family + Clone>(q: &Q) {
    for seed in 0..3 {
        let q = at_random(q, seed, 0.5);
        let (z, log_q) = draws(&q, seed);
        let supports: Vec<Support> = (0..q.dim()).map(|i| q.support(i)).collect();
        let log_r = log_narrow(&supports, &z);
        let ratio = log_r.iter().zip(&log_q).map(|(r, q)| (r - q).exp());
        let se = assert_mean("E_q[r / q]", ratio, 1.0);
        assert!(se < 0.05, "E_q[r / q]: a standard error of {se} proves nothing");
        for s in 0..10 {
            let one = q.log_prob(&z[s * q.dim()..(s + 1) * q.dim()]);
            assert_close("log_prob in a batch", log_q[s], one, 1e-12);
        }
        if let Some(entropy) = q.entropy() {
            assert_mean("-E[log q]", log_q.iter().map(|l| -l), entropy);
        }
    }
    every_vector_is_valid(q);
}

/// Whether a draw was rounded to the boundary of its support, where the density is zero.
pub fn on_the_edge<Q: Family>(q: &Q, z: &[f64]) -> bool {
    let edge = |(i, z): (usize, &f64)| {
        let mut free = [0.0];
        q.support(i).unconstrain(&[*z], &mut free);
        !free[0].is_finite()
    };
    z.iter().enumerate().any(edge)
}

/// Any `lambda` comes back as it was set and gives draws with finite log densities.
#[track_caller]
pub fn every_vector_is_valid<Q: Family + Clone>(q: &Q) {
    for seed in 0..20 {
        let sd = if seed < 10 { 1.0 } else { 8.0 };
        let lambda = normals(&mut stream(seed, Purpose::Start, 1), q.n_params(), sd);
        let q = with_params(q, &lambda);
        assert_eq!(params(&q), lambda, "params after set_params");
        let mut z = vec![0.0; q.dim() * 50];
        q.sample(&mut stream(seed, Purpose::Data, 1), &mut z);
        for z in z.chunks_exact(q.dim()) {
            let log_q = q.log_prob(z);
            let rounded = on_the_edge(&q, z) && log_q == f64::NEG_INFINITY;
            assert!(log_q.is_finite() || rounded, "log q is {log_q} at its draw {z:?}");
        }
    }
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

/// The score is the slope of `log_prob` in `lambda`, and has mean 0.
#[track_caller]
pub fn scored<Q: Scored + Clone>(q: &Q) {
    for seed in 0..3 {
        let q = at_random(q, seed, 0.5);
        let (z, _) = draws(&q, seed);
        let (d, p, lambda) = (q.dim(), q.n_params(), params(&q));
        for z in z.chunks_exact(d).take(5) {
            let mut score = vec![1.0; p];
            q.add_score(z, -0.7, &mut score);
            let slope = slopes(&lambda, |lambda| with_params(&q, lambda).log_prob(z));
            let want: Vec<f64> = slope.iter().map(|s| 1.0 - 0.7 * s).collect();
            assert_all_close("score", &score, &want, SLOPE);
        }
        let mut scores = vec![0.0; p * DRAWS];
        for (z, score) in z.chunks_exact(d).zip(scores.chunks_exact_mut(p)) {
            q.add_score(z, 1.0, score);
        }
        for i in 0..p {
            assert_mean(&format!("score[{i}]"), (0..DRAWS).map(|s| scores[s * p + i]), 0.0);
        }
    }
}

/// `pull_back` is the transpose of the slope of `transport`, whose `log_q` is `log_prob`.
#[track_caller]
pub fn reparameterized<Q: Reparameterized + Clone>(q: &Q) {
    for seed in 0..3 {
        let q = at_random(q, seed, 0.5);
        let (d, s) = (q.dim(), 4);
        let mut rng = stream(seed, Purpose::Data, 2);
        let mut eps = vec![0.0; q.noise_dim() * s];
        q.draw_noise(&mut rng, &mut eps);
        let (dz, dlog_q) = (normals(&mut rng, d * s, 1.0), normals(&mut rng, s, 1.0));
        let mut residuals = Q::Residuals::default();
        let (mut z, mut log_q) = (vec![0.0; d * s], vec![0.0; s]);
        q.transport(&eps, &mut z, &mut log_q, &mut residuals);
        for (z, log_q) in z.chunks_exact(d).zip(&log_q) {
            assert_close("log_q of transport", *log_q, q.log_prob(z), 1e-10);
        }
        let mut grad = vec![0.5; q.n_params()];
        q.pull_back(&eps, &residuals, &dz, &dlog_q, &mut grad);
        let objective = |lambda: &[f64]| {
            let (mut z, mut log_q) = (vec![0.0; d * s], vec![0.0; s]);
            let mut residuals = Q::Residuals::default();
            with_params(&q, lambda).transport(&eps, &mut z, &mut log_q, &mut residuals);
            let along: f64 = z.iter().zip(&dz).map(|(z, g)| z * g).sum();
            along + log_q.iter().zip(&dlog_q).map(|(l, g)| l * g).sum::<f64>()
        };
        let want: Vec<f64> = slopes(&params(&q), objective).iter().map(|g| g + 0.5).collect();
        assert_all_close("pull_back", &grad, &want, SLOPE);
    }
}

/// Draws made by `transport` have the density `log_q` says.
#[track_caller]
pub fn transported<Q: Reparameterized + Clone>(q: &Q) {
    let q = at_random(q, 7, 0.5);
    let (mut z, mut log_q) = (vec![0.0; q.dim() * DRAWS], vec![0.0; DRAWS]);
    let mut eps = vec![0.0; q.noise_dim() * DRAWS];
    q.draw_noise(&mut stream(7, Purpose::Data, 3), &mut eps);
    q.transport(&eps, &mut z, &mut log_q, &mut Q::Residuals::default());
    let supports: Vec<Support> = (0..q.dim()).map(|i| q.support(i)).collect();
    let log_r = log_narrow(&supports, &z);
    let ratio = log_r.iter().zip(&log_q).map(|(r, q)| (r - q).exp());
    let se = assert_mean("E_q[r / q] of transported noise", ratio, 1.0);
    assert!(se < 0.05, "a standard error of {se} proves nothing");
}

/// `log_prob_grad` is the slope of `log_prob` in `z`.
#[track_caller]
pub fn smooth<Q: Smooth + Clone>(q: &Q) {
    for seed in 0..3 {
        let q = at_random(q, seed, 0.5);
        let (d, s) = (q.dim(), 3);
        let mut eps = vec![0.0; q.noise_dim() * s];
        q.draw_noise(&mut stream(seed, Purpose::Data, 4), &mut eps);
        let (mut z, mut log_q) = (vec![0.0; d * s], vec![0.0; s]);
        let mut residuals = Q::Residuals::default();
        q.transport(&eps, &mut z, &mut log_q, &mut residuals);
        let mut grad = vec![f64::NAN; d * s];
        q.log_prob_grad(&eps, &residuals, &z, &mut grad);
        for (z, grad) in z.chunks_exact(d).zip(grad.chunks_exact(d)) {
            // on the unit interval, in proportion to the nearer end
            let step = |(i, z): (usize, &f64)| match q.support(i) {
                Support::Unit => H * z * (1.0 - z),
                _ => H,
            };
            let steps: Vec<f64> = z.iter().enumerate().map(step).collect();
            let want = slopes_by(z, &steps, |z| q.log_prob(z));
            assert_all_close("log_prob_grad", grad, &want, SLOPE);
        }
    }
}

/// `KL(q || q) = 0`, and `KL(q || p)` is the mean of `log q - log p`.
#[track_caller]
pub fn divergence<Q: Divergence + Clone>(q: &Q) {
    for seed in 0..3 {
        let (q, p) = (at_random(q, seed, 0.4), at_random(q, seed + 50, 0.4));
        assert_close("KL(q || q)", q.kl(&q), 0.0, 1e-12);
        let (z, log_q) = draws(&q, seed);
        let mut log_p = vec![0.0; DRAWS];
        p.log_prob_batch(&z, &mut log_p);
        assert_mean("KL(q || p)", log_q.iter().zip(&log_p).map(|(q, p)| q - p), q.kl(&p));
    }
}

/// Fails unless the error's message has all the parts.
#[track_caller]
pub fn message<T: std::fmt::Debug>(result: Result<T, elbo::Error>, parts: &[&str]) {
    let text = result.expect_err("this is wrong input").to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}
