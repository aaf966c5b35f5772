//! Chapter 2.

use crate::book::integrate;
use elbo::{Divergence, MeanFieldGaussian, Purpose, Real, stream};
use rand::Rng;

pub fn solutions() {
    forgotten_jacobian();
    too_narrow_or_too_wide();
    gap_of_many_draws();
}

// ANCHOR: one
fn forgotten_jacobian() {
    // log joint of seven heads in ten flips in u = log odds, without and with log(bias (1 - bias))
    let without = |u: f64| 7.0 * u - 10.0 * u.softplus();
    let with = |u: f64| without(u) + u - 2.0 * u.softplus();
    let evidence = |f: &dyn Fn(f64) -> f64| integrate(-30.0, 30.0, 3001, |u| f(u).exp());
    assert!((evidence(&with) - 1.0 / 1320.0).abs() < 1e-12); // B(8, 4)
    assert!((evidence(&without) - 1.0 / 252.0).abs() < 1e-12); // B(7, 3): another prior
}
// ANCHOR_END: one

// ANCHOR: two
fn too_narrow_or_too_wide() {
    let gap = |sd: f64| {
        let q = MeanFieldGaussian::new(vec![0.0], &[sd]).expect("a positive sd");
        q.kl(&MeanFieldGaussian::standard(1))
    };
    assert!((gap(0.5) - (2f64.ln() - 0.375)).abs() < 1e-12); // half as wide
    assert!((gap(2.0) - (1.5 - 2f64.ln())).abs() < 1e-12); // twice as wide: worse
    assert!(gap(2.0) > 2.0 * gap(0.5));
}
// ANCHOR_END: two

// ANCHOR: three
fn gap_of_many_draws() {
    let mut rng = stream(1, Purpose::Data, 0);
    let mut uniform = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    // draws of the prior: the weight is the likelihood
    let mut likelihood = || {
        let bias = uniform();
        bias.powi(7) * (1.0 - bias).powi(3)
    };
    let (k, repeats) = (50, 200_000);
    let mut bound = || ((0..k).map(|_| likelihood()).sum::<f64>() / k as f64).ln();
    let gap = -1320f64.ln() - (0..repeats).map(|_| bound()).sum::<f64>() / repeats as f64;
    // E[w^2] / E[w]^2 - 1 = B(15, 7) / B(8, 4)^2 - 1
    let relative_variance = 1320f64.powi(2) / 813_960.0 - 1.0;
    let predicted = relative_variance / (2.0 * k as f64);
    assert!((gap / predicted - 1.0).abs() < 0.15, "gap {gap}, predicted {predicted}");
}
// ANCHOR_END: three
