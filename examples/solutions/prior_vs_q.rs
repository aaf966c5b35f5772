//! Chapter 4.

use crate::book::integrate;
use elbo::{Error, Family, MeanFieldGaussian, Purpose, Real, density, stream};

pub fn solutions() -> Result<(), Error> {
    half_the_noise();
    tails();
    twice_as_wide()
}

// ANCHOR: one
fn half_the_noise() {
    // E[w]^2 / E[w^2] for z ~ N(0, 1), x ~ N(z, noise^2), x = 1
    let fraction = |noise: f64| {
        let moment = |power: f64| {
            integrate(-10.0, 10.0, 20_001, |z| {
                (density::normal(z, 0.0, 1.0) + power * density::normal(1.0, z, noise)).exp()
            })
        };
        moment(1.0).powi(2) / moment(2.0)
    };
    let ratio = fraction(0.05) / fraction(0.1);
    assert!((ratio - 0.5).abs() < 0.01, "half as many draws count: {ratio}");
}
// ANCHOR_END: one

// ANCHOR: two
fn tails() {
    // w^2 q = p(x, u)^2 / q(u) for the coin, u the log odds; p falls like e^(-4 u), q like e^(-u^2)
    let log_joint = |u: f64| 8.0 * u - 12.0 * u.softplus();
    let second_moment = |limit: f64| {
        integrate(-limit, limit, 20_001, |u| {
            (2.0 * log_joint(u) - density::normal(u, 0.755, 0.64)).exp()
        })
    };
    let [near, far, farther] = [4.0, 8.0, 12.0].map(second_moment);
    assert!(far > 10.0 * near && farther > 1e10 * far, "there is no limit");
}
// ANCHOR_END: two

// ANCHOR: three
fn twice_as_wide() -> Result<(), Error> {
    // posterior N(0, 1), q = N(0, c^2): E_q[w^2] = c^2 / sqrt(2 c^2 - 1) in each dimension
    let fraction = |c: f64, d: i32| ((2.0 * c * c - 1.0).sqrt() / (c * c)).powi(d);
    assert!((fraction(2.0, 1) - 0.661).abs() < 0.001);
    let (posterior, q) =
        (MeanFieldGaussian::standard(10), MeanFieldGaussian::new(vec![0.0; 10], &[2.0; 10])?);
    let mut z = vec![0.0; 10 * 100_000];
    q.sample(&mut stream(1, Purpose::Data, 0), &mut z);
    let weight = |z: &[f64]| (posterior.log_prob(z) - q.log_prob(z)).exp();
    let (mut sum, mut squares) = (0.0, 0.0);
    z.chunks(10).map(weight).for_each(|w| {
        sum += w;
        squares += w * w;
    });
    let measured = sum * sum / (100_000.0 * squares);
    assert!((measured / fraction(2.0, 10) - 1.0).abs() < 0.1, "{measured}");
    Ok(())
}
// ANCHOR_END: three
