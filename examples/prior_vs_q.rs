//! Draws from the prior against draws from `q`: how many of them count, and how noisy the gradient
//! of the log evidence is.

mod book;

use book::{Figure, grid};
use elbo::{Error, Family, MeanFieldGaussian, Purpose, density, stream};
use rand::Rng;

// ANCHOR: model
/// `z ~ N(0, I)`, `x_i ~ N(z_i + theta_i, NOISE^2)`: every question has an exact answer.
const NOISE: f64 = 0.1;
const DATA: [f64; 6] = [1.5, -1.0, 0.5, 1.2, -0.7, 0.3];

/// The exact posterior at `theta = 0`, which is mean field.
fn posterior(d: usize) -> Result<MeanFieldGaussian, Error> {
    let precision = 1.0 + 1.0 / (NOISE * NOISE);
    let mean = DATA[..d].iter().map(|x| x / (NOISE * NOISE) / precision).collect();
    MeanFieldGaussian::new(mean, &vec![precision.sqrt().recip(); d])
}

fn log_likelihood(z: &[f64]) -> f64 {
    z.iter().zip(DATA).map(|(&z, x)| density::normal(x, z, NOISE)).sum()
}
// ANCHOR_END: model

// ANCHOR: fraction
/// `(sum w)^2 / (n sum w^2)`: the share of the draws that counts; 1 when all weigh the same.
fn effective_fraction(log_weights: &[f64]) -> f64 {
    let top = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (mut sum, mut squares) = (0.0, 0.0);
    for w in log_weights.iter().map(|w| (w - top).exp()) {
        sum += w;
        squares += w * w;
    }
    sum * sum / (log_weights.len() as f64 * squares)
}

/// The same in the limit of many draws from the prior: `E[w]^2 / E[w^2]`, by completing squares.
fn exact_fraction(d: usize) -> f64 {
    let normal = |x: f64, variance: f64| density::normal(x, 0.0, variance.sqrt()).exp();
    let one = |x: f64| {
        let mean = normal(x, 1.0 + NOISE * NOISE);
        let square =
            normal(x, 1.0 + NOISE * NOISE / 2.0) / (2.0 * NOISE * std::f64::consts::PI.sqrt());
        mean * mean / square
    };
    DATA[..d].iter().map(|&x| one(x)).product()
}
// ANCHOR_END: fraction

// ANCHOR: gradients
/// The gradient of `log p(x)` in `theta`, from `S` draws of the prior, weighted by how well each
/// explains the data.
fn from_prior(d: usize, draws: usize, rng: &mut dyn Rng, z: &mut [f64], grad: &mut [f64]) {
    MeanFieldGaussian::standard(d).sample(rng, z);
    let weights: Vec<f64> = z.chunks(d).map(log_likelihood).collect();
    let top = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = weights.iter().map(|w| (w - top).exp()).sum();
    grad.fill(0.0);
    for s in 0..draws {
        let share = (weights[s] - top).exp() / total;
        for i in 0..d {
            grad[i] += share * (DATA[i] - z[s * d + i]) / (NOISE * NOISE);
        }
    }
}

/// The gradient of the ELBO in `theta`, from `S` draws of `q`: all weigh the same.
fn from_q(q: &MeanFieldGaussian, draws: usize, rng: &mut dyn Rng, z: &mut [f64], grad: &mut [f64]) {
    let d = q.dim();
    q.sample(rng, z);
    grad.fill(0.0);
    for s in 0..draws {
        for i in 0..d {
            grad[i] += (DATA[i] - z[s * d + i]) / (NOISE * NOISE) / draws as f64;
        }
    }
}
// ANCHOR_END: gradients

/// The total variance of a gradient over repeats.
fn variance(d: usize, repeats: usize, mut estimate: impl FnMut(&mut [f64])) -> f64 {
    let (mut grad, mut sum, mut squares) = (vec![0.0; d], vec![0.0; d], 0.0);
    for _ in 0..repeats {
        estimate(&mut grad);
        for i in 0..d {
            sum[i] += grad[i];
            squares += grad[i] * grad[i];
        }
    }
    let n = repeats as f64;
    squares / n - sum.iter().map(|s| (s / n).powi(2)).sum::<f64>()
}

fn main() -> Result<(), Error> {
    println!("Why not draw z from the prior and average the likelihood?");
    coin()?;

    let (draws, repeats) = (100, 1000);
    let mut rows = String::new();
    let (mut prior_variance, mut q_variance) = (Vec::new(), Vec::new());
    for d in 1..=6 {
        let q = posterior(d)?;
        let mut rng = stream(1, Purpose::Data, d as u64);
        let mut z = vec![0.0; d * draws];
        let by_prior = variance(d, repeats, |g| from_prior(d, draws, &mut rng, &mut z, g));
        let by_q = variance(d, repeats, |g| from_q(&q, draws, &mut rng, &mut z, g));
        let (share, ratio) = (exact_fraction(d), by_prior / by_q);
        println!("d = {d}: share of prior draws that count {share:.1e}, variance ratio {ratio:.0}");
        rows += &format!("| {d} | {:.4} % | {:.1} |\n", 100.0 * share, ratio.log10());
        // ANCHOR: claim
        match d {
            1 => assert!(ratio > 10.0),
            2 => assert!(ratio > 100.0),
            5 => assert!(ratio > 1000.0),
            _ => {}
        }
        // ANCHOR_END: claim
        prior_variance.push(by_prior);
        q_variance.push(by_q);
    }

    // The share measured on draws agrees with the formula where there are enough of them.
    let mut z = vec![0.0; 200_000];
    MeanFieldGaussian::standard(1).sample(&mut stream(2, Purpose::Data, 0), &mut z);
    let weights: Vec<f64> = z.chunks(1).map(log_likelihood).collect();
    let (measured, exact) = (effective_fraction(&weights), exact_fraction(1));
    assert!((measured / exact - 1.0).abs() < 0.05, "{measured} against {exact}");

    let table = format!(
        "| dimension | prior draws that count | $\\log_{{10}}$ of the variance ratio |\n|---|---|---|\n{rows}"
    );
    book::fragment("prior_vs_q", &table);
    draw(&prior_variance, &q_variance);
    println!("OK: the gradient from prior draws is 10, 100, 1000 times noisier at d = 1, 2, 5");
    Ok(())
}

// ANCHOR: coin
/// Seven heads in ten flips, `u` the log odds of heads, the bias uniform before: the share of draws
/// that count, for draws of the prior and of the best normal in `u`.
fn coin() -> Result<(), Error> {
    let log_prior = |u: f64| -u - 2.0 * (-u).exp().ln_1p();
    let log_likelihood = |u: f64| 7.0 * u - 10.0 * u.exp().ln_1p();
    let mut rng = stream(4, Purpose::Data, 0);

    // The prior of u is the logistic distribution: draw a uniform bias, take its log odds.
    let uniform = |rng: &mut dyn Rng| (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let log_odds = |p: f64| p.ln() - (-p).ln_1p();
    let weights: Vec<f64> =
        (0..10_000).map(|_| log_likelihood(log_odds(uniform(&mut rng)))).collect();
    let from_prior = effective_fraction(&weights);
    let exact = 813_960.0 / 1320.0_f64.powi(2); // B(8, 4)^2 / B(15, 7)
    assert!((from_prior / exact - 1.0).abs() < 0.03, "{from_prior} against {exact}");

    let q = MeanFieldGaussian::new(vec![0.755], &[0.64])?;
    let mut u = vec![0.0; 10_000];
    q.sample(&mut rng, &mut u);
    let weights: Vec<f64> =
        u.iter().map(|&u| log_prior(u) + log_likelihood(u) - q.log_prob(&[u])).collect();
    let from_q = effective_fraction(&weights);
    // Far out the weights grow, since q has lighter tails than the posterior: a share a little lower
    // where a draw falls there.
    assert!(from_q > 0.9, "{from_q}");
    println!("coin: {from_prior:.2} of the prior's draws count, {from_q:.2} of those of q");
    Ok(())
}
// ANCHOR_END: coin

fn draw(prior_variance: &[f64], q_variance: &[f64]) {
    let d = grid(1.0, 6.0, 6);
    Figure::new("Noise of the gradient of the log evidence, 100 draws each")
        .axes("dimension of z", "total variance")
        .log_y()
        .line("draws from the prior", &d, prior_variance)
        .points("", &d, prior_variance)
        .colour(1)
        .line("draws from q", &d, q_variance)
        .colour(2)
        .points("", &d, q_variance)
        .colour(2)
        .save_or_check("prior_vs_q");

    // Weights of one hundred draws, from the heaviest down, as far as they can be drawn.
    let mut figure = Figure::new("How the likelihood is shared among 100 draws of the prior")
        .axes("draw, heaviest first", "share of the total")
        .log_y()
        .x_from(0.0, 100.0)
        .y_from(1e-12, 2.0);
    for (d, name) in [(1, "one dimension"), (2, "two"), (3, "three")] {
        let mut z = vec![0.0; 100 * d];
        MeanFieldGaussian::standard(d).sample(&mut stream(3, Purpose::Data, 0), &mut z);
        let mut weights: Vec<f64> = z.chunks(d).map(|z| log_likelihood(z).exp()).collect();
        let total: f64 = weights.iter().sum();
        weights.sort_by(|a, b| b.total_cmp(a));
        let shares: Vec<f64> = weights.iter().map(|w| w / total).filter(|w| *w > 1e-12).collect();
        figure = figure.points(name, &grid(1.0, 100.0, 100)[..shares.len()], &shares);
    }
    figure
        .dashed("draws of the posterior: all equal", &[1.0, 100.0], &[0.01; 2])
        .colour(6)
        .save_or_check("prior_vs_q_weights");
}
