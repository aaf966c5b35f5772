//! The log evidence is the bound plus the divergence from the posterior, for every `q`.

mod book;

use book::{Figure, grid, integrate};
use elbo::{
    Adam, Averaged, Error, Family, GradientAscent, MeanFieldGaussian, Model, Options, Purpose,
    Real, Space, StickingTheLanding, Stop, density, fit, from_fn, stream,
};
use rand::RngExt;

// ANCHOR: model
/// Seven heads in ten flips, every bias equally likely before; `constant` is added to the log joint.
fn coin(constant: f64) -> impl elbo::Differentiable {
    let mut space = Space::new();
    let bias = space.unit("bias");
    let log_joint = from_fn(space, move |z| {
        density::beta(z[bias], 1.0, 1.0) + z[bias].ln() * 7.0 + (-z[bias]).ln_1p() * 3.0 + constant
    });
    log_joint.unconstrained() // from here on the coordinate is u = log(bias / (1 - bias))
}
// ANCHOR_END: model

/// The log density of the exact posterior, Beta(8, 4), in the coordinate `u`.
fn log_posterior(u: f64) -> f64 {
    let (bias, other) = (1.0 / (1.0 + (-u).exp()), 1.0 / (1.0 + u.exp()));
    8.0 * bias.ln() + 4.0 * other.ln() - LOG_BETA_8_4
}

/// `log B(8, 4) = log(7! 3! / 11!)`: the evidence of seven heads in ten flips.
const LOG_BETA_8_4: f64 = -7.185387015580416;

/// The mean of `f` under `q`, by quadrature over ten standard deviations to each side.
fn mean(q: &MeanFieldGaussian, f: impl Fn(f64) -> f64) -> f64 {
    let (m, s) = (q.mean()[0], q.sd()[0]);
    integrate(m - 10.0 * s, m + 10.0 * s, 401, |u| q.log_prob(&[u]).exp() * f(u))
}

fn main() -> Result<(), Error> {
    println!("Is the log evidence always the bound plus the divergence from the posterior?");
    let model = coin(0.0);

    // ANCHOR: identity
    let log_evidence = integrate(-30.0, 30.0, 3001, |u| model.log_joint(&[u]).exp()).ln();
    let mut rng = stream(1, Purpose::Data, 0);
    let (mut worst, mut smallest) = (0.0_f64, f64::INFINITY);
    let (mut bounds, mut gaps) = (Vec::new(), Vec::new());
    for _ in 0..1000 {
        let (m, s) = (rng.random_range(-1.0..2.5), rng.random_range(-1.5_f64..0.5).exp());
        let q = MeanFieldGaussian::new(vec![m], &[s])?;
        let elbo = mean(&q, |u| model.log_joint(&[u]) - q.log_prob(&[u]));
        let kl = mean(&q, |u| q.log_prob(&[u]) - log_posterior(u));
        let off = (log_evidence - (elbo + kl)).abs();
        assert!(off < 1e-9 && kl > 0.0, "N({m}, {s}): off by {off:e}, KL {kl}");
        worst = worst.max(off);
        smallest = smallest.min(kl);
        bounds.push(elbo);
        gaps.push(kl);
    }
    // ANCHOR_END: identity
    let off = (log_evidence - LOG_BETA_8_4).abs();
    assert!(off < 1e-10, "the quadrature is off by {off:e}");
    println!("log evidence by quadrature {log_evidence:.6}, in closed form {LOG_BETA_8_4:.6}");
    println!("1000 random q: largest |log evidence - (ELBO + KL)| = {worst:.1e}");
    println!(
        "smallest KL among them {smallest:.4}, largest {:.2}",
        gaps.iter().fold(0.0, |a: f64, b| a.max(*b))
    );

    // The posterior itself as q: the divergence is zero.
    let at_posterior = integrate(-30.0, 30.0, 3001, |u| {
        log_posterior(u).exp() * (model.log_joint(&[u]) - log_posterior(u))
    });
    assert!((at_posterior - log_evidence).abs() < 1e-9);

    // ANCHOR: ladder
    let q = MeanFieldGaussian::new(vec![0.3], &[1.2])?;
    let ladder = [1, 2, 5, 10, 50].map(|k| importance_weighted_bound(&model, &q, k, 400_000 / k));
    // ANCHOR_END: ladder
    let exact = mean(&q, |u| model.log_joint(&[u]) - q.log_prob(&[u]));
    assert!((ladder[0].0 - exact).abs() < 4.0 * ladder[0].1, "K = 1 is the ELBO");
    for pair in ladder.windows(2) {
        assert!(pair[1].0 > pair[0].0, "more draws, a tighter bound");
    }
    assert!(ladder[4].0 < log_evidence + 4.0 * ladder[4].1);
    println!("a poor q, importance weighted: {:.3?}", ladder.map(|(bound, _)| bound));

    // ANCHOR: constant
    let fitted = |constant| {
        let ascent =
            GradientAscent::new(StickingTheLanding { draws: 8 }, Averaged::new(Adam::rate(0.05)));
        let options = Options { steps: 1000, stop: Stop::Budget, ..Options::default() };
        fit(coin(constant), MeanFieldGaussian::standard(1), ascent, options)
    };
    let (plain, shifted) = (fitted(0.0)?, fitted(100.0)?);
    assert!((plain.q.mean()[0] - shifted.q.mean()[0]).abs() < 1e-9);
    assert!((plain.q.sd()[0] - shifted.q.sd()[0]).abs() < 1e-9);
    // ANCHOR_END: constant
    let last = |trace: &[elbo::Step]| trace.last().and_then(|s| s.elbo).unwrap_or(f64::NAN);
    let shift = last(&shifted.trace) - last(&plain.trace);
    assert!((shift - 100.0).abs() < 1e-9);
    println!("adding 100 to the log joint moves the ELBO by {shift:.6} and q not at all");

    draw(&bounds[..20], log_evidence, &ladder);
    let rows: String = [1, 2, 5, 10, 50]
        .iter()
        .zip(&ladder)
        .map(|(k, (bound, _))| format!("| {k} | ${bound:.3}$ |\n"))
        .collect();
    book::fragment(
        "identity",
        &format!("| draws $K$ | bound (log evidence ${log_evidence:.3}$) |\n|---|---|\n{rows}"),
    );
    println!("OK: log evidence = ELBO + KL for every q, and KL is zero only at the posterior");
    Ok(())
}

// ANCHOR: iwae
/// `E[log (1/K) sum_k p(x, z_k) / q(z_k)]`, and the standard error over `repeats`.
fn importance_weighted_bound(
    model: &impl Model,
    q: &MeanFieldGaussian,
    k: usize,
    repeats: usize,
) -> (f64, f64) {
    let mut rng = stream(2, Purpose::Data, k as u64);
    let (mut z, mut sum, mut squares) = (vec![0.0; k], 0.0, 0.0);
    for _ in 0..repeats {
        q.sample(&mut rng, &mut z);
        let weight = |&z: &f64| (model.log_joint(&[z]) - q.log_prob(&[z])).exp();
        let bound = (z.iter().map(weight).sum::<f64>() / k as f64).ln();
        sum += bound;
        squares += bound * bound;
    }
    let n = repeats as f64;
    let mean = sum / n;
    (mean, ((squares / n - mean * mean) / n).sqrt())
}
// ANCHOR_END: iwae

fn draw(bounds: &[f64], log_evidence: f64, ladder: &[(f64, f64)]) {
    let floor = bounds.iter().copied().fold(log_evidence, f64::min) - 0.5;
    let (at, top) = (grid(0.0, 19.0, 20), vec![log_evidence; 20]);
    Figure::new("Evidence = bound + divergence, for 20 random approximations")
        .axes("approximation", "nats")
        .y_from(floor, log_evidence + 0.3)
        .bars("ELBO", &at, 0.8, &[floor; 20], bounds)
        .bars("KL to the posterior", &at, 0.8, bounds, &top)
        .dashed("log evidence", &[-0.8, 19.8], &[log_evidence; 2])
        .colour(6)
        .save_or_check("identity");

    let draws = [1.0, 2.0, 5.0, 10.0, 50.0];
    let bound: Vec<f64> = ladder.iter().map(|l| l.0).collect();
    Figure::new("Averaging importance weights tightens the bound")
        .axes("draws inside the logarithm", "nats")
        .log_x()
        .line("importance-weighted bound", &draws, &bound)
        .points("", &draws, &bound)
        .colour(1)
        .dashed("log evidence", &[1.0, 50.0], &[log_evidence; 2])
        .colour(6)
        .save_or_check("identity_ladder");
}
