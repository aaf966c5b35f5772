//! How much did coaching help in eight schools? One model, one call, and a word on whether to trust
//! the answer; then the same mean by quadrature.

mod book;

use book::{Figure, grid};
use elbo::{Error, Gaussian, Posterior, Space, Var, Verdict, density, from_fn, infer};

// ANCHOR: data
/// Estimated effects of coaching on test scores, and their standard errors (Rubin 1981).
const EFFECT: [f64; 8] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
const SD: [f64; 8] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];
// ANCHOR_END: data

fn main() -> Result<(), Error> {
    sigpipe::reset();
    println!("How much did coaching raise test scores in eight schools?");
    // ANCHOR: model
    let mut space = Space::new();
    let (mu, tau, eta) = (space.real("mu"), space.positive("tau"), space.reals("eta", 8));
    let model = from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
        for (j, &eta) in z[eta].iter().enumerate() {
            lp += density::normal(eta, 0.0, 1.0);
            lp += density::normal(Var::from(EFFECT[j]), z[mu] + z[tau] * eta, SD[j]);
        }
        lp
    });
    // ANCHOR_END: model

    // ANCHOR: fit
    let posterior = infer(model)?;
    println!("{posterior}");
    posterior.require(Verdict::UseWithCare)?;
    // ANCHOR_END: fit

    // ANCHOR: derived
    let draws = posterior.draws(10_000, 1)?;
    let first_school = draws.mean_of(|z| z[mu] + z[tau] * z[eta][0]);
    println!("effect in the first school alone: {first_school:.1} on average");
    // ANCHOR_END: derived

    let exact = exact();
    draw(&posterior, &exact);
    compare(&posterior, &exact)?;
    // ANCHOR: check
    let (mean, sd) = mean_and_sd(&exact);
    let off = (posterior.row("mu")?.mean - mean).abs() / sd;
    assert!(off < 0.1, "mu is off by {off:.2} posterior sd from {mean:.3}");
    println!(
        "OK: the mean effect is within 0.1 posterior sd of {mean:.2}, its value by quadrature"
    );
    // ANCHOR_END: check
    Ok(())
}

// ANCHOR: exact
/// What is known of mu where tau has this value, and how much this value of tau counts.
struct Slice {
    tau: f64,
    weight: f64,
    mean: f64,
    variance: f64,
}

/// Given tau everything is normal and is integrated by hand; the weights add up to one.
fn exact() -> Vec<Slice> {
    let mut slices: Vec<Slice> = (1..4_000).map(|k| slice(k as f64 * 0.05)).collect();
    let total: f64 = slices.iter().map(|s| s.weight).sum();
    slices.iter_mut().for_each(|s| s.weight /= total);
    slices
}

fn slice(tau: f64) -> Slice {
    let (mut precision, mut pull, mut log_weight) = (1.0 / 25.0, 0.0, 0.0);
    for (y, s) in EFFECT.iter().zip(SD) {
        let variance = s * s + tau * tau;
        precision += 1.0 / variance;
        pull += y / variance;
        log_weight -= 0.5 * (variance.ln() + y * y / variance);
    }
    let (mean, variance) = (pull / precision, 1.0 / precision);
    log_weight += 0.5 * (pull * mean - precision.ln()) - (tau / 5.0).powi(2).ln_1p();
    Slice { tau, weight: log_weight.exp(), mean, variance }
}

/// Mean and standard deviation of mu.
fn mean_and_sd(exact: &[Slice]) -> (f64, f64) {
    let mean: f64 = exact.iter().map(|s| s.weight * s.mean).sum();
    let square = |s: &Slice| s.weight * (s.variance + (s.mean - mean) * (s.mean - mean));
    (mean, exact.iter().map(square).sum::<f64>().sqrt())
}
// ANCHOR_END: exact

/// The numbers for the book.
fn compare(posterior: &Posterior<Gaussian>, exact: &[Slice]) -> Result<(), Error> {
    let mean: f64 = exact.iter().map(|s| s.weight * s.tau).sum();
    let square: f64 = exact.iter().map(|s| s.weight * (s.tau - mean).powi(2)).sum();
    let mut rows =
        String::from("| | fitted: mean, sd | exact: mean, sd | sd × |\n|---|---|---|---|");
    for (name, (mean, sd)) in [("mu", mean_and_sd(exact)), ("tau", (mean, square.sqrt()))] {
        let row = posterior.row(name)?;
        let ratio = row.correction.map_or(f64::NAN, |c| c.sd_ratio);
        rows += &format!(
            "\n| `{name}` | {:.1}, {:.1} | {mean:.1}, {sd:.1} | {ratio:.1} |",
            row.mean, row.sd
        );
    }
    book::fragment("quickstart", &rows);
    Ok(())
}

/// The densities of mu and tau: fitted, and exact.
fn draw(posterior: &Posterior<Gaussian>, exact: &[Slice]) {
    let Gaussian::FullRank(q) = &posterior.q else { return };
    let (mean, sd) = (q.mean(), q.sd());
    let normal = |x: f64, mean: f64, sd: f64| density::normal(x, mean, sd).exp();
    let mu = grid(-10.0, 20.0, 121);
    let fitted: Vec<f64> = mu.iter().map(|x| normal(*x, mean[0], sd[0])).collect();
    let slice = |x: f64, s: &Slice| s.weight * normal(x, s.mean, s.variance.sqrt());
    let sum: Vec<f64> = mu.iter().map(|x| exact.iter().map(|s| slice(*x, s)).sum()).collect();
    Figure::new("The mean effect mu: fitted and exact")
        .axes("mu", "density")
        .line("fitted", &mu, &fitted)
        .colour(1)
        .dashed("exact, by quadrature", &mu, &sum)
        .colour(6)
        .save_or_check("quickstart_mu");
    // what is fitted is log(tau); its density changes by d log(tau) / d tau = 1 / tau
    let shown: Vec<&Slice> = exact.iter().take_while(|s| s.tau <= 20.0).step_by(2).collect();
    let tau: Vec<f64> = shown.iter().map(|s| s.tau).collect();
    let fitted: Vec<f64> = tau.iter().map(|t| normal(t.ln(), mean[1], sd[1]) / t).collect();
    let sum: Vec<f64> = shown.iter().map(|s| s.weight / 0.05).collect();
    Figure::new("The spread between schools tau: fitted and exact")
        .axes("tau", "density")
        .line("fitted", &tau, &fitted)
        .colour(1)
        .dashed("exact, by quadrature", &tau, &sum)
        .colour(6)
        .save_or_check("quickstart_tau");
}
