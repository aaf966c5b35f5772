//! Chapter 3.

use crate::book::{grid, integrate};
use elbo::{Divergence, Error, Family, MeanFieldGaussian, Real, density};

pub fn solutions() -> Result<(), Error> {
    no_data()?;
    twice_the_data()?;
    all_in_closed_form()
}

/// The mean of `f` under `q`.
fn mean(q: &MeanFieldGaussian, f: impl Fn(f64) -> f64) -> f64 {
    let (m, s) = (q.mean()[0], q.sd()[0]);
    integrate(m - 10.0 * s, m + 10.0 * s, 201, |u| q.log_prob(&[u]).exp() * f(u))
}

// ANCHOR: one
fn no_data() -> Result<(), Error> {
    let prior = MeanFieldGaussian::standard(1);
    // Without data the likelihood is 1: the ELBO is minus the divergence from the prior.
    for (m, s) in [(0.0, 0.9), (0.0, 1.1), (0.1, 1.0), (-2.0, 0.3)] {
        assert!(-MeanFieldGaussian::new(vec![m], &[s])?.kl(&prior) < 0.0);
    }
    assert_eq!(-prior.kl(&prior), 0.0); // log evidence of no data: log 1
    Ok(())
}
// ANCHOR_END: one

// ANCHOR: two
/// The best normal for `heads` in `flips` on a grid, and its divergence from the prior.
fn best(heads: f64, flips: f64) -> Result<(MeanFieldGaussian, f64), Error> {
    let prior = MeanFieldGaussian::standard(1);
    let mut best = (f64::NEG_INFINITY, prior.clone());
    for m in grid(0.0, 1.5, 61) {
        for s in grid(0.2, 1.0, 41) {
            let q = MeanFieldGaussian::new(vec![m], &[s])?;
            let elbo = mean(&q, |u| heads * u - flips * u.softplus()) - q.kl(&prior);
            if elbo > best.0 {
                best = (elbo, q);
            }
        }
    }
    let kl = best.1.kl(&prior);
    Ok((best.1, kl))
}

fn twice_the_data() -> Result<(), Error> {
    let ((few, kl_few), (many, kl_many)) = (best(7.0, 10.0)?, best(14.0, 20.0)?);
    assert!(many.sd()[0] < few.sd()[0]);
    assert!(kl_many > kl_few + 0.2, "more was learned: {kl_few} then {kl_many} nats");
    Ok(())
}
// ANCHOR_END: two

// ANCHOR: three
fn all_in_closed_form() -> Result<(), Error> {
    let x = 1.3; // u ~ N(0, 1), x | u ~ N(u, 1): the posterior is N(x / 2, 1 / 2)
    let (m, s) = (x / 2.0, 0.5_f64.sqrt());
    let q = MeanFieldGaussian::new(vec![m], &[s])?;
    let reconstruction = density::normal(x, m, 1.0) - 0.5 * s * s;
    let elbo = reconstruction - q.kl(&MeanFieldGaussian::standard(1));
    assert!((elbo - density::normal(x, 0.0, 2f64.sqrt())).abs() < 1e-14);
    Ok(())
}
// ANCHOR_END: three
