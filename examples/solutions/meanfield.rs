//! Chapter 10.

use elbo::{
    Error, FixedDraws, FixedNoise, MeanFieldGaussian, Options, Space, Var, density, fit, from_fn,
};

pub fn solutions() -> Result<(), Error> {
    a_difference()?;
    other_coordinates()?;
    a_growing_crowd();
    Ok(())
}

// ANCHOR: one
fn a_difference() -> Result<(), Error> {
    let rho: f64 = 0.95;
    let mut space = Space::new();
    let (a, b) = (space.real("a"), space.real("b"));
    let model = from_fn(space, move |z| {
        density::normal(z[a], 0.0, 1.0)
            + density::normal(z[b], z[a] * rho, (1.0 - rho * rho).sqrt())
    });
    let ascent = FixedDraws { noise: FixedNoise::MomentMatched, ..FixedDraws::new(16) };
    let found = fit(model, MeanFieldGaussian::standard(2), ascent, Options::default())?;
    let bound = found.trace.last().and_then(|step| step.elbo).unwrap_or(f64::NAN);
    assert!((bound - 0.5 * (1.0 - rho * rho).ln()).abs() < 1e-6);
    let variance = found.q.sd()[0].powi(2) + found.q.sd()[1].powi(2);
    assert!((variance / (2.0 * (1.0 - rho)) - (1.0 + rho)).abs() < 1e-3); // nearly twice the truth
    Ok(())
}
// ANCHOR_END: one

// ANCHOR: two
fn other_coordinates() -> Result<(), Error> {
    let rho: f64 = 0.95;
    let mut space = Space::new();
    let (s, t) = (space.real("s"), space.real("t"));
    let model = from_fn(space, move |z| {
        let half = 0.5f64.sqrt();
        let (a, b): (Var, Var) = ((z[s] + z[t]) * half, (z[s] - z[t]) * half);
        density::normal(a, 0.0, 1.0) + density::normal(b, a * rho, (1.0 - rho * rho).sqrt())
    });
    let ascent = FixedDraws { noise: FixedNoise::MomentMatched, ..FixedDraws::new(16) };
    let found = fit(model, MeanFieldGaussian::standard(2), ascent, Options::default())?;
    let bound = found.trace.last().and_then(|step| step.elbo).unwrap_or(f64::NAN);
    assert!(bound.abs() < 1e-6); // the log evidence
    assert!((found.q.sd()[0] - (1.0 + rho).sqrt()).abs() < 1e-4);
    Ok(())
}
// ANCHOR_END: two

// ANCHOR: three
fn a_growing_crowd() {
    let rho: f64 = 0.5;
    // gap, and by which factor the sd of the sum is too small
    let loss = |d: f64| {
        let precision = (1.0 - rho / (1.0 + (d - 1.0) * rho)) / (1.0 - rho);
        let log_det = (d - 1.0) * (1.0 - rho).ln() + (1.0 + (d - 1.0) * rho).ln();
        (0.5 * (d * precision.ln() + log_det), ((1.0 + (d - 1.0) * rho) * precision).sqrt())
    };
    for d in [1e3, 1e4, 1e6] {
        let (gap, factor) = loss(d);
        let ratio = d * rho / (1.0 - rho);
        assert!((gap - 0.5 * (ratio.ln() - 1.0)).abs() < 2.0 / d);
        assert!((factor / ratio.sqrt() - 1.0).abs() < 2.0 / d);
    }
    let (gap, factor) = loss(1e6);
    assert!(gap < 7.0 && factor > 900.0);
}
// ANCHOR_END: three
