//! Chapter 21.

use elbo::compare::{Entry, Parameter};
use elbo::data::OLD_FAITHFUL;
use elbo::models::linear_regression::LinearRegression;
use elbo::{Compared, Error, compare};

pub fn solutions() -> Result<(), Error> {
    centred()?;
    other_units()?;
    another_program()
}

/// The regression of chapter 21 on these minutes, waiting times in these units.
fn line(minutes: impl Fn(f64) -> f64, unit: f64) -> Result<LinearRegression, Error> {
    let x: Vec<f64> = OLD_FAITHFUL.iter().flat_map(|r| [1.0, minutes(r[0])]).collect();
    LinearRegression::new(&x, 2, &OLD_FAITHFUL.map(|r| unit * r[1]))
}

// ANCHOR: one
fn centred() -> Result<(), Error> {
    // how much narrower mean field is: 1 / (P_jj C_jj), with P the inverse of the covariance C
    let factor = |c: &[f64]| ((c[0] * c[3] - c[1] * c[2]) / (c[0] * c[3])).sqrt();
    let mean = OLD_FAITHFUL.iter().map(|r| r[0]).sum::<f64>() / 272.0;
    let plain = line(|minutes| minutes, 1.0)?.known_noise(6.0, 50.0)?;
    let centred = line(|minutes| minutes - mean, 1.0)?.known_noise(6.0, 50.0)?;
    assert!(factor(&plain.covariance) < 0.35);
    assert!((factor(&centred.covariance) - 1.0).abs() < 1e-9);
    // the slope is the same, but for what the prior of the intercept has to do with it
    assert!((plain.mean[1] - centred.mean[1]).abs() < 0.01);
    Ok(())
}
// ANCHOR_END: one

// ANCHOR: two
fn other_units() -> Result<(), Error> {
    let (minutes, seconds) = (line(|m| m, 1.0)?, line(|m| m, 60.0)?);
    let a = minutes.known_noise(6.0, 50.0)?;
    let b = seconds.known_noise(360.0, 3000.0)?;
    assert!((a.log_evidence - b.log_evidence - 272.0 * 60f64.ln()).abs() < 1e-8);
    let a = a.entry("minutes")?.of(minutes.fingerprint())?;
    let b = b.entry("seconds")?.of(seconds.fingerprint())?;
    let refused = compare([a, b]).expect_err("different data").to_string();
    assert!(refused.contains("they are fits of different data"), "{refused}");
    Ok(())
}
// ANCHOR_END: two

// ANCHOR: three
fn another_program() -> Result<(), Error> {
    let line = line(|minutes| minutes, 1.0)?;
    let exact = line.known_noise(6.0, 50.0)?.entry("exact")?.of(line.fingerprint())?;
    // `summary(lm(waiting ~ eruptions, faithful))` in R
    let least_squares = Entry::new("lm").of(line.fingerprint())?.with([
        Parameter::point("beta[1]", 33.4744, Some(1.1549)),
        Parameter::point("beta[2]", 10.7296, Some(0.3148)),
    ]);
    let both = compare([exact, least_squares])?;
    for name in both.parameters() {
        let (a, b) = (both.find("exact", &name)?, both.find("lm", &name)?);
        let (a_sd, b_sd) = (a.sd.unwrap_or(f64::NAN), b.sd.unwrap_or(f64::NAN));
        assert!((a.estimate - b.estimate).abs() < 0.1 * b_sd, "{both}");
        // its noise is estimated, 5.91, and ours was given, 6
        assert!((a_sd / b_sd - 6.0 / 5.914).abs() < 0.005, "{both}");
    }
    Ok(())
}
// ANCHOR_END: three
