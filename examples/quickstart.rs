//! How much did coaching help in eight schools? One model, one call, and a word on whether to trust
//! the answer; then the same mean by quadrature.

use elbo::{Error, Space, Var, Verdict, density, from_fn, infer};

// ANCHOR: data
/// Estimated effects of coaching on test scores, and their standard errors (Rubin 1981).
const EFFECT: [f64; 8] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
const SD: [f64; 8] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];
// ANCHOR_END: data

fn main() -> Result<(), Error> {
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

    // ANCHOR: check
    let (mean, sd) = exact_mu();
    let off = (posterior.row("mu")?.mean - mean).abs() / sd;
    assert!(off < 0.1, "mu is off by {off:.2} posterior sd from {mean:.3}");
    println!(
        "OK: the mean effect is within 0.1 posterior sd of {mean:.2}, its value by quadrature"
    );
    // ANCHOR_END: check
    Ok(())
}

// ANCHOR: exact
/// Mean and sd of mu: given tau everything is normal, and tau is integrated out on a grid.
fn exact_mu() -> (f64, f64) {
    let (mut total, mut first, mut second) = (0.0, 0.0, 0.0);
    for k in 1..20_000 {
        let tau = k as f64 * 0.01;
        let (mut precision, mut pull, mut log_weight) = (1.0 / 25.0, 0.0, 0.0);
        for (y, s) in EFFECT.iter().zip(SD) {
            let variance = s * s + tau * tau;
            precision += 1.0 / variance;
            pull += y / variance;
            log_weight -= 0.5 * (variance.ln() + y * y / variance);
        }
        let mean = pull / precision;
        log_weight += 0.5 * (pull * mean - precision.ln()) - (tau / 5.0).powi(2).ln_1p();
        let weight = log_weight.exp();
        total += weight;
        first += weight * mean;
        second += weight * (mean * mean + 1.0 / precision);
    }
    let mean = first / total;
    (mean, (second / total - mean * mean).sqrt())
}
// ANCHOR_END: exact
