//! Chapter 1.

use crate::book::integrate;
use elbo::{
    Adam, Averaged, Beta, Error, Family, GradientAscent, MeanFieldGaussian, Model, Options, Real,
    ScoreFunction, Space, StickingTheLanding, Stop, density, fit, from_fn,
};

pub fn solutions() -> Result<(), Error> {
    every_count_is_equally_likely();
    more_data()?;
    another_prior()
}

/// `heads` and `tails` seen, Beta(a, b) before.
fn coin(heads: f64, tails: f64, a: f64, b: f64) -> impl elbo::Differentiable {
    let mut space = Space::new();
    let bias = space.unit("bias");
    from_fn(space, move |z| {
        density::beta(z[bias], a, b) + z[bias].ln() * heads + (-z[bias]).ln_1p() * tails
    })
}

fn ascent<E>(estimator: E, rate: f64) -> GradientAscent<E, Averaged<Adam>> {
    GradientAscent::new(estimator, Averaged::new(Adam::rate(rate)))
}

fn options() -> Options {
    Options { steps: 3000, stop: Stop::Budget, ..Options::default() }
}

// ANCHOR: one
fn every_count_is_equally_likely() {
    let mut ways = 1.0; // to choose which of the ten flips are heads
    for heads in 0..=10 {
        let k = heads as f64;
        let joint = |b: f64| ways * b.powi(heads) * (1.0 - b).powi(10 - heads);
        let evidence = integrate(0.0, 1.0, 20_001, joint);
        assert!((evidence - 1.0 / 11.0).abs() < 1e-7, "{heads} heads: {evidence}");
        ways *= (10.0 - k) / (k + 1.0);
    }
}
// ANCHOR_END: one

// ANCHOR: two
fn more_data() -> Result<(), Error> {
    let model = coin(70.0, 30.0, 1.0, 1.0).unconstrained();
    let q = MeanFieldGaussian::standard(1);
    let fit = fit(model, q, ascent(StickingTheLanding { draws: 64 }, 0.01), options())?;
    let (m, s) = (fit.q.mean()[0], fit.q.sd()[0]);
    let joint = |u: f64| fit.model.log_joint(&[u]);
    let log_evidence = integrate(-5.0, 5.0, 2001, |u| joint(u).exp()).ln();
    let elbo = integrate(m - 10.0 * s, m + 10.0 * s, 201, |u| {
        let log_q = fit.q.log_prob(&[u]);
        log_q.exp() * (joint(u) - log_q)
    });
    let gap = log_evidence - elbo;
    assert!(gap > 0.0 && gap < 0.003738 / 5.0, "ten times the data, a gap of {gap}");
    Ok(())
}
// ANCHOR_END: two

// ANCHOR: three
fn another_prior() -> Result<(), Error> {
    let model = coin(13.0, 7.0, 2.0, 2.0);
    let fit = fit(model, Beta::uniform(1), ascent(ScoreFunction { draws: 16 }, 0.03), options())?;
    let (a, b) = fit.q.shapes(0);
    assert!((a - 15.0).abs() < 1e-3 && (b - 9.0).abs() < 1e-3, "Beta({a}, {b})");
    Ok(())
}
// ANCHOR_END: three
