//! Chapter 24.

use std::sync::Arc;

use crate::book::integrate;
use elbo::{Error, Purpose, Real, Space, TwiceDifferentiable, Var, from_fn, stream};
use rand_distr::{Distribution, Exp1};

pub fn solutions() -> Result<(), Error> {
    without_the_scale();
    pairs_of_exponentials();
    a_closure();
    Ok(())
}

// ANCHOR: one
fn without_the_scale() {
    let forgetful = |z: f64, s: f64| (z / s).log_sigmoid() + (-z / s).log_sigmoid();
    for s in [0.5, 1.0, 2.0] {
        let mass = integrate(-100.0, 100.0, 40_001, |z| forgetful(z, s).exp());
        assert!((mass - s).abs() < 1e-9, "the mass is the scale: {mass}");
    }
}
// ANCHOR_END: one

// ANCHOR: two
fn pairs_of_exponentials() {
    let mut rng = stream(1, Purpose::Data, 0);
    let (mut single, mut paired) = (0.0, 0.0);
    for _ in 0..10_000 {
        let eps: f64 = Exp1.sample(&mut rng);
        single += eps / 10_000.0;
        paired += 0.5 * (eps + -eps) / 10_000.0;
    }
    // the sd of exponential noise is 1: a standard error of 0.01
    assert!((single - 1.0_f64).abs() < 0.04 && paired == 0.0, "{single}, {paired}");
}
// ANCHOR_END: two

// ANCHOR: three
fn a_closure() {
    let quartic = Arc::new(|x: &[f64], grad: &mut [f64]| {
        grad[0] = -4.0 * x[0].powi(3);
        -x[0].powi(4)
    });
    let mut space = Space::new();
    let x = space.real("x");
    let model = from_fn(space, move |z| Var::primitive(&[z[x]], &quartic));
    let (mut grad, mut curvature) = ([0.0], [0.0]);
    model.hess_vec(&[1.5], &[1.0], &mut grad, &mut curvature);
    assert_eq!(grad[0], -13.5);
    assert!((curvature[0] + 27.0).abs() < 1e-6, "-12 x^2: {}", curvature[0]);
}
// ANCHOR_END: three
