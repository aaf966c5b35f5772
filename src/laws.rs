//! What every family owes, as functions: a broken law comes back as a sentence with its numbers.
//!
//! | the family is | ask |
//! |---|---|
//! | any [`Family`] | [`family`], [`parameters`] |
//! | [`Scored`] | [`scored`] |
//! | [`Reparameterized`] | [`reparameterized`], [`transported`] |
//! | [`Smooth`] | [`smooth`] |
//! | [`Discrete`] | [`discrete`] |
//! | [`Divergence`] | [`divergence`] |
//!
//! Each is asked at several random parameters, from fixed seeds: what passes today passes tomorrow.
//! Means of random numbers are held to their exact values at 4 standard errors, which a right
//! family fails in one comparison of 16 000; slopes to central differences with step `1e-5`, whose
//! truncation and rounding lie far below the tolerance of `1e-6`.
//!
//! ```
//! use elbo::{Beta, laws};
//! let q = Beta::uniform(1);
//! laws::family(&q)?;
//! laws::scored(&q)?;
//! laws::reparameterized(&q)?;
//! laws::smooth(&q)?;
//! # Ok::<(), laws::Broken>(())
//! ```

use std::fmt;

use nalgebra::DMatrix;
use rand::Rng;

use crate::bijector::Support;
use crate::family::{Discrete, Divergence, Family, Reparameterized, Scored, Smooth};
use crate::noise::{Purpose, fill_normal, stream};

const SIGMA: f64 = 4.0;
const H: f64 = 1e-5;
const SLOPE: f64 = 1e-6;
const DRAWS: usize = 20_000;

/// A law that does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// What was compared, such as `score[2]`.
    pub what: String,
    /// What was found, and what should have been.
    pub seen: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.seen)
    }
}

impl std::error::Error for Broken {}

fn broken<T>(what: &str, seen: String) -> Result<T, Broken> {
    Err(Broken { what: what.to_string(), seen })
}

fn close(what: &str, got: f64, want: f64, tol: f64) -> Result<(), Broken> {
    let off = (got - want).abs();
    if off <= tol * (1.0 + want.abs()) {
        return Ok(());
    }
    broken(what, format!("got {got}, want {want}, off by {off:e}"))
}

fn all_close(what: &str, got: &[f64], want: &[f64]) -> Result<(), Broken> {
    let pair = |(i, (g, w)): (usize, (&f64, &f64))| close(&format!("{what}[{i}]"), *g, *w, SLOPE);
    got.iter().zip(want).enumerate().try_for_each(pair)
}

/// Fails unless the mean of the values is `want`; returns its standard error.
fn mean_is(what: &str, values: impl Iterator<Item = f64>, want: f64) -> Result<f64, Broken> {
    let (mut n, mut mean, mut square) = (0.0, 0.0, 0.0);
    for v in values {
        n += 1.0;
        let off = v - mean;
        mean += off / n;
        square += off * (v - mean);
    }
    let se = f64::sqrt(square / (n - 1.0) / n);
    if (mean - want).abs() <= SIGMA * se + 1e-12 {
        return Ok(se);
    }
    broken(what, format!("mean {mean} ± {se}, want {want}"))
}

fn normals(rng: &mut dyn Rng, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n];
    fill_normal(rng, &mut out);
    out
}

fn params<Q: Family>(q: &Q) -> Vec<f64> {
    let mut lambda = vec![f64::NAN; q.n_params()];
    q.params(&mut lambda);
    lambda
}

fn with_params<Q: Family + Clone>(q: &Q, params: &[f64]) -> Q {
    let mut q = q.clone();
    q.set_params(params);
    q
}

/// The family at parameters drawn from `N(0, sd^2)`.
fn at_random<Q: Family + Clone>(q: &Q, seed: u64, sd: f64) -> Q {
    let mut lambda = normals(&mut stream(seed, Purpose::Start, 0), q.n_params());
    lambda.iter_mut().for_each(|l| *l *= sd);
    with_params(q, &lambda)
}

/// Central differences of `f` at `x`, with a step for each coordinate.
fn slopes_by(x: &[f64], steps: &[f64], mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
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

fn slopes(x: &[f64], f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    slopes_by(x, &vec![H; x.len()], f)
}

/// Draws through `sample`, and their log densities.
fn draws<Q: Family>(q: &Q, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let (mut z, mut log_q) = (vec![0.0; q.dim() * DRAWS], vec![0.0; DRAWS]);
    q.sample(&mut stream(seed, Purpose::Data, 0), &mut z);
    q.log_prob_batch(&z, &mut log_q);
    (z, log_q)
}

/// `log r` at each draw, `r` independent normals in the unconstrained coordinates of each support,
/// centred on the draws and cut off at two of their sds, so that `r / q` is bounded whatever the
/// tails of `q`; labels are uniform. `r` is normalized by itself, so a constant missing from `log q`
/// is seen.
fn log_narrow(supports: &[Support], z: &[f64]) -> Result<Vec<f64>, Broken> {
    let labels =
        |s: &Support| if let Support::Category(n) = s { Some(f64::from(*n)) } else { None };
    let log_labels: f64 = supports.iter().filter_map(labels).map(f64::ln).sum();
    let plain: Vec<usize> =
        (0..supports.len()).filter(|&i| labels(&supports[i]).is_none()).collect();
    if plain.is_empty() {
        return Ok(vec![-log_labels; z.len() / supports.len().max(1)]);
    }
    if plain.len() < supports.len() {
        let all = z.chunks_exact(supports.len()).flat_map(|z| plain.iter().map(|&i| z[i]));
        let rest: Vec<Support> = plain.iter().map(|&i| supports[i]).collect();
        let mut log_r = log_narrow(&rest, &all.collect::<Vec<f64>>())?;
        log_r.iter_mut().for_each(|r| *r -= log_labels);
        return Ok(log_r);
    }
    let d = supports.len();
    let n = z.len() / d.max(1);
    // A simplex is moved as a whole, other supports coordinate by coordinate.
    let blocks: Vec<(Support, usize)> = match supports.first() {
        Some(Support::Simplex) => vec![(Support::Simplex, d)],
        _ => supports.iter().map(|s| (*s, 1)).collect(),
    };
    let free_dim: usize = blocks.iter().map(|(s, len)| s.free_len(*len)).sum();
    let mut u = DMatrix::<f64>::zeros(free_dim, n);
    let (mut log_det, mut back) = (vec![0.0; n], vec![0.0; d]);
    for s in 0..n {
        let mut column = u.column_mut(s);
        let (mut from, mut to) = (s * d, 0);
        for &(support, len) in &blocks {
            let free = &mut column.as_mut_slice()[to..to + support.free_len(len)];
            support.unconstrain(&z[from..from + len], free);
            log_det[s] += support.constrain(free, &mut back[..len]);
            (from, to) = (from + len, to + support.free_len(len));
        }
    }
    let mean = u.column_mean();
    u.column_iter_mut().for_each(|mut column| column -= &mean);
    let covariance = &u * u.transpose() / n as f64;
    let Some(precision) = covariance.try_inverse() else {
        return broken("sample", "the draws lie in a plane: no density".to_string());
    };
    let log_r = |s: usize| -> f64 {
        let term = |i: usize| {
            let sd = 0.8 / precision[(i, i)].sqrt();
            let x: f64 = u[(i, s)] / sd;
            // ln of the mass within two sds, 0.9544997361036416
            let inside = if x.abs() < 2.0 { 0.046567912292390164 } else { f64::NEG_INFINITY };
            -0.5 * x * x - sd.ln() - 0.9189385332046727 + inside
        };
        (0..free_dim).map(term).sum::<f64>() - log_det[s]
    };
    Ok((0..n).map(log_r).collect())
}

/// `E_q[r / q] = 1` for a density `r` that is known.
fn normalized<Q: Family>(what: &str, q: &Q, z: &[f64], log_q: &[f64]) -> Result<(), Broken> {
    let supports: Vec<Support> = (0..q.dim()).map(|i| q.support(i)).collect();
    let log_r = log_narrow(&supports, z)?;
    let ratio = log_r.iter().zip(log_q).map(|(r, q)| (r - q).exp());
    match mean_is(what, ratio, 1.0)? {
        se if se < 0.05 => Ok(()),
        se => broken(what, format!("a standard error of {se} proves nothing")),
    }
}

/// `log q` integrates to one and is the density of `sample`; a batch gives what single draws give;
/// the entropy, where known, is `-E[log q]`; and [`parameters`] holds.
///
/// # Errors
/// The law that is broken.
pub fn family<Q: Family + Clone>(q: &Q) -> Result<(), Broken> {
    for seed in 0..3 {
        let q = at_random(q, seed, 0.5);
        let (z, log_q) = draws(&q, seed);
        normalized("E_q[r / q]", &q, &z, &log_q)?;
        for (z, log_q) in z.chunks_exact(q.dim()).zip(&log_q).take(10) {
            close("log_prob in a batch", *log_q, q.log_prob(z), 1e-12)?;
        }
        if let Some(entropy) = q.entropy() {
            mean_is("-E[log q]", log_q.iter().map(|l| -l), entropy)?;
        }
    }
    parameters(q)
}

/// Any `lambda`, small or large, comes back as it was set and gives draws with finite log densities
/// (or minus infinity where a draw was rounded to the edge of its support).
///
/// # Errors
/// The law that is broken.
pub fn parameters<Q: Family + Clone>(q: &Q) -> Result<(), Broken> {
    for seed in 0..20 {
        let sd = if seed < 10 { 1.0 } else { 8.0 };
        let mut lambda = normals(&mut stream(seed, Purpose::Start, 1), q.n_params());
        lambda.iter_mut().for_each(|l| *l *= sd);
        let q = with_params(q, &lambda);
        let back = params(&q);
        if back != lambda {
            return broken("params after set_params", format!("got {back:?}, want {lambda:?}"));
        }
        let mut z = vec![0.0; q.dim() * 50];
        q.sample(&mut stream(seed, Purpose::Data, 1), &mut z);
        for z in z.chunks_exact(q.dim()) {
            let log_q = q.log_prob(z);
            let rounded = log_q == f64::NEG_INFINITY && on_the_edge(&q, z);
            if !(log_q.is_finite() || rounded) {
                return broken("log_prob", format!("{log_q} at its own draw {z:?}"));
            }
        }
    }
    Ok(())
}

/// Whether a draw was rounded to the boundary of its support, where the density is zero.
fn on_the_edge<Q: Family>(q: &Q, z: &[f64]) -> bool {
    let edge = |(i, z): (usize, &f64)| {
        let mut free = [0.0];
        q.support(i).unconstrain(&[*z], &mut free);
        !free[0].is_finite()
    };
    z.iter().enumerate().any(edge)
}

/// The score is the slope of `log_prob` in `lambda`, added with its weight, and has mean 0.
///
/// # Errors
/// The law that is broken.
pub fn scored<Q: Scored + Clone>(q: &Q) -> Result<(), Broken> {
    for seed in 0..3 {
        let q = at_random(q, seed, 0.5);
        let (z, _) = draws(&q, seed);
        let (d, p, lambda) = (q.dim(), q.n_params(), params(&q));
        for z in z.chunks_exact(d).take(5) {
            let mut score = vec![1.0; p];
            q.add_score(z, -0.7, &mut score);
            let slope = slopes(&lambda, |lambda| with_params(&q, lambda).log_prob(z));
            let want: Vec<f64> = slope.iter().map(|s| 1.0 - 0.7 * s).collect();
            all_close("score", &score, &want)?;
        }
        let mut scores = vec![0.0; p * DRAWS];
        for (z, score) in z.chunks_exact(d).zip(scores.chunks_exact_mut(p)) {
            q.add_score(z, 1.0, score);
        }
        for i in 0..p {
            mean_is(&format!("score[{i}]"), (0..DRAWS).map(|s| scores[s * p + i]), 0.0)?;
        }
    }
    Ok(())
}

/// The probabilities of the labels of each coordinate sum to 1, their product is `log_prob`, and
/// `add_masses_grad` is the slope of their logarithms in `lambda`.
///
/// # Errors
/// The law that is broken.
pub fn discrete<Q: Discrete + Clone>(q: &Q) -> Result<(), Broken> {
    for seed in 0..3 {
        let q = at_random(q, seed, 0.8);
        let mut starts = vec![0];
        for i in 0..q.dim() {
            let Support::Category(n) = q.support(i) else {
                return broken("support", format!("coordinate {i} is no label"));
            };
            let start = starts[i];
            starts.push(start + n as usize);
            let Some(masses) = q.log_masses().get(start..start + n as usize) else {
                return broken("log_masses", format!("too short for coordinate {i}"));
            };
            let sum: f64 = masses.iter().map(|m| m.exp()).sum();
            close(&format!("the probabilities of coordinate {i}"), sum, 1.0, 1e-14)?;
        }
        close("length of log_masses", q.log_masses().len() as f64, starts[q.dim()] as f64, 0.0)?;
        let (z, log_q) = draws(&q, seed);
        for (z, log_q) in z.chunks_exact(q.dim()).zip(&log_q).take(20) {
            let own = |(z, start): (&f64, &usize)| q.log_masses()[start + *z as usize];
            close("log_prob", *log_q, z.iter().zip(&starts).map(own).sum(), 1e-14)?;
        }
        let weights = normals(&mut stream(seed, Purpose::Data, 5), q.log_masses().len());
        let mut grad = vec![0.5; q.n_params()];
        q.add_masses_grad(&weights, &mut grad);
        let sum = |lambda: &[f64]| {
            let moved = with_params(&q, lambda);
            moved.log_masses().iter().zip(&weights).map(|(m, w)| m * w).sum()
        };
        let want: Vec<f64> = slopes(&params(&q), sum).iter().map(|g| g + 0.5).collect();
        all_close("add_masses_grad", &grad, &want)?;
    }
    Ok(())
}

/// `pull_back` is the transpose of the slope of `transport`, whose `log_q` is `log_prob`.
///
/// # Errors
/// The law that is broken.
pub fn reparameterized<Q: Reparameterized + Clone>(q: &Q) -> Result<(), Broken> {
    for seed in 0..3 {
        let q = at_random(q, seed, 0.5);
        let (d, s) = (q.dim(), 4);
        let mut rng = stream(seed, Purpose::Data, 2);
        let mut eps = vec![0.0; q.noise_dim() * s];
        q.draw_noise(&mut rng, &mut eps);
        let (dz, dlog_q) = (normals(&mut rng, d * s), normals(&mut rng, s));
        let mut residuals = Q::Residuals::default();
        let (mut z, mut log_q) = (vec![0.0; d * s], vec![0.0; s]);
        q.transport(&eps, &mut z, &mut log_q, &mut residuals);
        for (z, log_q) in z.chunks_exact(d).zip(&log_q) {
            close("log_q of transport", *log_q, q.log_prob(z), 1e-10)?;
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
        all_close("pull_back", &grad, &want)?;
    }
    Ok(())
}

/// Draws made by `transport` have the density that `log_q` says.
///
/// # Errors
/// The law that is broken.
pub fn transported<Q: Reparameterized + Clone>(q: &Q) -> Result<(), Broken> {
    let q = at_random(q, 7, 0.5);
    let (mut z, mut log_q) = (vec![0.0; q.dim() * DRAWS], vec![0.0; DRAWS]);
    let mut eps = vec![0.0; q.noise_dim() * DRAWS];
    q.draw_noise(&mut stream(7, Purpose::Data, 3), &mut eps);
    q.transport(&eps, &mut z, &mut log_q, &mut Q::Residuals::default());
    normalized("E_q[r / q] of transported noise", &q, &z, &log_q)
}

/// `log_prob_grad` is the slope of `log_prob` in `z`.
///
/// # Errors
/// The law that is broken.
pub fn smooth<Q: Smooth + Clone>(q: &Q) -> Result<(), Broken> {
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
            all_close("log_prob_grad", grad, &want)?;
        }
    }
    Ok(())
}

/// `KL(q || q) = 0`, and `KL(q || p)` is the mean of `log q - log p`.
///
/// # Errors
/// The law that is broken.
pub fn divergence<Q: Divergence + Clone>(q: &Q) -> Result<(), Broken> {
    for seed in 0..3 {
        let (q, p) = (at_random(q, seed, 0.4), at_random(q, seed + 50, 0.4));
        close("KL(q || q)", q.kl(&q), 0.0, 1e-12)?;
        let (z, log_q) = draws(&q, seed);
        let mut log_p = vec![0.0; DRAWS];
        p.log_prob_batch(&z, &mut log_p);
        mean_is("KL(q || p)", log_q.iter().zip(&log_p).map(|(q, p)| q - p), q.kl(&p))?;
    }
    Ok(())
}
