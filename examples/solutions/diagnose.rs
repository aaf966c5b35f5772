//! Chapter 11.

use elbo::diagnostics::{self, Checks, examine};
use elbo::{Error, MeanFieldGaussian, Purpose, Space, Var, density, from_fn, noise, stream};

pub fn solutions() -> Result<(), Error> {
    a_narrow_normal()?;
    two_modes()?;
    hump_and_slope();
    Ok(())
}

// ANCHOR: one
fn a_narrow_normal() -> Result<(), Error> {
    let mut space = Space::new();
    let z = space.real("z");
    let model = from_fn(space, move |all| density::normal(all[z], 0.0, 1.0));
    let q = MeanFieldGaussian::new(vec![0.0], &[0.8])?;
    let khat = examine(&model, &q, Checks { draws: 4000, repeats: 20 }, 1)?.fidelity.khat;
    assert!((0.22..0.4).contains(&khat), "1 - 0.8^2 = 0.36, and a little less: {khat}");
    Ok(())
}
// ANCHOR_END: one

// ANCHOR: two
fn two_modes() -> Result<(), Error> {
    let mut space = Space::new();
    let z = space.real("z");
    let model = from_fn(space, move |all| {
        let modes = [-6.0, 6.0].map(|mean| density::normal(all[z], mean, 1.0));
        <Var as elbo::Real>::log_sum_exp(&modes) - 2f64.ln()
    });
    let mut evidence = 0.0;
    for mean in [-6.0, 6.0] {
        let q = MeanFieldGaussian::new(vec![mean], &[1.0])?;
        evidence += diagnostics::elbo(&model, &q, 1000, 1)?.value.exp();
    }
    assert!((evidence - 1.0).abs() < 1e-6, "the evidence is 1: {evidence}");
    Ok(())
}
// ANCHOR_END: two

// ANCHOR: three
fn hump_and_slope() {
    // whatever the data, the truth is a standard normal in units of the posterior
    let ranks = |shift: f64, width: f64| {
        let mut bins = [0; 10];
        for k in 0..1000 {
            let mut drawn = [0.0; 100];
            noise::fill_normal(&mut stream(1, Purpose::Data, k), &mut drawn);
            let below = drawn[1..].iter().filter(|e| shift + width * **e < drawn[0]).count();
            bins[below / 10] += 1;
        }
        bins
    };
    // tails of the normal: 10 and 388 are expected; 4 standard errors are 13 and 62
    let hump = ranks(0.0, 2.0);
    assert!(hump[0] + hump[9] < 10 + 13 + 10, "{hump:?}");
    let slope = ranks(1.0, 1.0);
    assert!((slope[0] - 388_i32).abs() < 62 && slope[9] < 30, "{slope:?}");
}
// ANCHOR_END: three
