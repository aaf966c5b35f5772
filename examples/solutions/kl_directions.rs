//! Chapter 9.

use elbo::diagnostics::{moment_match, quadrature};
use elbo::{
    Adam, Differentiable, Error, Family, GradientAscent, MeanFieldGaussian, Model, Options, Scored,
    Space, StickingTheLanding, Stop, density, fit, from_fn,
};

use crate::book::integrate;

pub fn solutions() -> Result<(), Error> {
    a_proposal_that_misses()?;
    the_price_of_one_mode()?;
    no_score_on_average()
}

/// `weight` of a normal at `at`, the rest at `-at`, both with standard deviation 1.
fn two_modes(weight: f64, at: f64) -> impl Differentiable + Clone {
    let mut space = Space::new();
    let z = space.real("z");
    from_fn(space, move |x| {
        let parts = [density::normal(x[z], at, 1.0), density::normal(x[z], -at, 1.0)];
        density::mixture(&[weight.ln().into(), (1.0 - weight).ln().into()], &parts)
    })
}

// ANCHOR: one
fn a_proposal_that_misses() -> Result<(), Error> {
    let model = two_modes(0.5, 5.0);
    let narrow = MeanFieldGaussian::new(vec![5.0], &[1.0])?;
    let wrong = moment_match(&model, &narrow, 4_000, 1)?;
    // no draw comes near the other mode: mean 5 instead of 0, and the weights are all alike
    assert!((wrong.q.mean()[0] - 5.0).abs() < 0.1 && wrong.ess > 0.95 * 4_000.0);
    assert!(quadrature(&model)?.mean[0].abs() < 1e-6);
    Ok(())
}
// ANCHOR_END: one

// ANCHOR: two
fn the_price_of_one_mode() -> Result<(), Error> {
    let model = two_modes(0.8, 5.0);
    for (side, weight) in [(5.0, 0.8), (-5.0, 0.2f64)] {
        let start = MeanFieldGaussian::new(vec![side], &[1.0])?;
        let ascent = GradientAscent::new(StickingTheLanding { draws: 8 }, Adam::rate(0.01));
        let options = Options { steps: 500, stop: Stop::Budget, ..Options::default() };
        let q = fit(model.clone(), start, ascent, options)?.q;
        let log_ratio = |z: f64| q.log_prob(&[z]) - model.log_joint(&[z]);
        let kl = integrate(-30.0, 30.0, 6_001, |z| q.log_prob(&[z]).exp() * log_ratio(z));
        assert!((kl + weight.ln()).abs() < 1e-3, "{kl} for a mode of weight {weight}");
    }
    Ok(())
}
// ANCHOR_END: two

// ANCHOR: three
fn no_score_on_average() -> Result<(), Error> {
    let model = two_modes(0.8, 3.0);
    let exact = quadrature(&model)?; // mean 1.8, variance 1 + 9 - 1.8^2
    let q = MeanFieldGaussian::new(exact.mean.clone(), &exact.sd)?;
    for i in 0..2 {
        let score = |z: f64| {
            let mut grad = [0.0; 2];
            q.add_score(&[z], 1.0, &mut grad);
            grad[i]
        };
        let mean = integrate(-30.0, 30.0, 6_001, |z| model.log_joint(&[z]).exp() * score(z));
        assert!(mean.abs() < 1e-7, "{mean}");
    }
    Ok(())
}
// ANCHOR_END: three
