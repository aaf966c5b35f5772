//! The flow of the Nile, a level that wanders seen through noise: how much of each?
//!
//! EM for the two variances. The filter and the smoother are checked against one large normal
//! distribution, in which there is no recursion at all.

mod book;

use book::Figure;
use elbo::data::{NILE, Observations};
use elbo::models::HiddenMarkov;
use elbo::models::hidden_markov::Sequences;
use elbo::models::state_space::LocalLevel;
use elbo::{Conjugate, EStep, Error, MStep, Options, Squarem, fit};
use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

/// Before 1871 next to nothing was known of the level.
const BEFORE: (f64, f64) = (1000.0, 1e6);
const YEAR: usize = 1871;

fn main() -> Result<(), Error> {
    println!("How fast does the level of the Nile wander?");
    let (model, elbo) = variances(&NILE)?;
    let (noise, drift) = (model.noise().sqrt(), model.drift()[0].sqrt());
    println!("sd of the noise {noise:.1}, of a year's step {drift:.1} (10^8 m^3)");
    let dense = Dense::new(&model, &NILE);
    println!(
        "one normal distribution of 100 years says {:.6}, the ELBO {elbo:.6}",
        dense.log_density
    );
    assert!((dense.log_density - elbo).abs() < 1e-9 * elbo.abs());
    let level = model.smoothed();
    dense.check(&level, 1e-8);
    println!("and the same of every year's level and sd");

    let (gap, forgotten) = without_two_decades(&model)?;
    let (change, jump) = two_states()?;
    println!("with two states instead: from {:.0} to {:.0} in {change}", jump[0], jump[1]);
    assert_eq!(change, 1899);
    let fall = level[1891 - YEAR].0 - level[1907 - YEAR].0;
    println!("the level falls by {fall:.0} between 1891 and 1907");
    book::fragment(
        "local_level",
        &format!(
            "| | |\n|---|---|\n| sd of the noise | {noise:.1} |\n| sd of a year's step | {drift:.1} |\n| log likelihood | {elbo:.4} |\n| by one normal distribution | {:.4} |\n| sd of the level in 1900 | {:.1} |\n| the same, if 1891 to 1910 had not been measured | {forgotten:.1} |\n",
            dense.log_density,
            level[1900 - YEAR].1
        ),
    );
    draw(&level, &gap, change, jump);
    println!(
        "OK: filter, smoother and ELBO are those of one normal distribution of a hundred years"
    );
    Ok(())
}

// ANCHOR: variances
fn variances(flows: &[f64]) -> Result<(LocalLevel, f64), Error> {
    let model = LocalLevel::level(flows)?.starting_at([BEFORE.0], [BEFORE.1])?;
    let q = model.start();
    let mut found = fit(model, q, Squarem::new((EStep, MStep)), Options::exact())?;
    // the ELBO after one more E-step
    let elbo = found.model.natural_step(&mut found.q, 1.0)?;
    Ok((found.model, elbo))
}
// ANCHOR_END: variances

// ANCHOR: dense
/// `level_t = level_0 + steps`, so that `cov(level_s, level_t) = v + q min(s, t)`; the flows that were
/// measured are levels and noise.
struct Dense {
    log_density: f64,
    mean: Vec<f64>,
    sd: Vec<f64>,
}

impl Dense {
    fn new(model: &LocalLevel, flows: &[f64]) -> Dense {
        let (n, r, q) = (flows.len(), model.noise(), model.drift()[0]);
        let cov = |s: usize, t: usize| BEFORE.1 + q * s.min(t) as f64;
        let seen: Vec<usize> = (0..n).filter(|&t| !flows[t].is_nan()).collect();
        let m = seen.len();
        let v = DMatrix::from_fn(m, m, |i, j| cov(seen[i], seen[j]) + if i == j { r } else { 0.0 });
        let off = DVector::from_fn(m, |i, _| flows[seen[i]] - BEFORE.0);
        let factor: Cholesky<f64, Dyn> = v.cholesky().expect("variances are positive");
        let log_det: f64 = 2.0 * factor.l_dirty().diagonal().iter().map(|l| l.ln()).sum::<f64>();
        let square = off.dot(&factor.solve(&off));
        let ln_2pi = (2.0 * std::f64::consts::PI).ln();
        let log_density = -0.5 * (m as f64 * ln_2pi + log_det + square);
        // each level given all flows
        let (mut mean, mut sd) = (Vec::new(), Vec::new());
        for t in 0..n {
            let c = DVector::from_fn(m, |i, _| cov(t, seen[i]));
            let weights = factor.solve(&c);
            mean.push(BEFORE.0 + weights.dot(&off));
            sd.push((cov(t, t) - weights.dot(&c)).sqrt());
        }
        Dense { log_density, mean, sd }
    }

    fn check(&self, level: &[(f64, f64)], tolerance: f64) {
        for (t, (mean, sd)) in level.iter().enumerate() {
            let year = YEAR + t;
            assert!((mean / self.mean[t] - 1.0).abs() < tolerance, "{year}: {mean}");
            assert!((sd / self.sd[t] - 1.0).abs() < tolerance, "{year}: {sd}");
        }
    }
}
// ANCHOR_END: dense

// ANCHOR: gap
/// What is known of the level if nothing had been measured from 1891 to 1910; and its sd in 1900.
fn without_two_decades(model: &LocalLevel) -> Result<(Vec<(f64, f64)>, f64), Error> {
    let mut flows = NILE.to_vec();
    flows[1891 - YEAR..=1910 - YEAR].fill(f64::NAN);
    let gappy = LocalLevel::level(&flows)?
        .starting_at([BEFORE.0], [BEFORE.1])?
        .with_variances(model.noise(), model.drift())?;
    let dense = Dense::new(&gappy, &flows);
    assert!((dense.log_density / gappy.log_likelihood() - 1.0).abs() < 1e-9);
    let level = gappy.smoothed();
    dense.check(&level, 1e-8);
    let sd = level[1900 - YEAR].1;
    println!("without 1891 to 1910 the level of 1900 is known to {sd:.1}");
    assert!(sd > 1.5 * model.smoothed()[1900 - YEAR].1);
    Ok((level, sd))
}
// ANCHOR_END: gap

// ANCHOR: two
/// The same flows from two states, each with a level of its own: the year of the change.
fn two_states() -> Result<(usize, [f64; 2]), Error> {
    let flows = Sequences::one(Observations::new(NILE.to_vec(), 1)?)?;
    let model = HiddenMarkov::gaussian(flows.clone(), 2)?.fit(1)?.fit.model;
    let path = model.path(&flows)?;
    let change = (1..path.len()).find(|&t| path[t] != path[0]).unwrap_or(0);
    Ok((YEAR + change, [model.mean(path[0])[0], model.mean(path[99])[0]]))
}
// ANCHOR_END: two

fn draw(level: &[(f64, f64)], gap: &[(f64, f64)], change: usize, jump: [f64; 2]) {
    let years: Vec<f64> = (0..NILE.len()).map(|t| (YEAR + t) as f64).collect();
    let column =
        |of: &[(f64, f64)], z: f64| of.iter().map(|(m, s)| m + z * s).collect::<Vec<f64>>();
    let change = change as f64 - 0.5;
    let steps = ([years[0], change, change, years[99]], [jump[0], jump[0], jump[1], jump[1]]);
    Figure::new("The Nile at Aswan")
        .axes("year", "flow, 10^8 m^3")
        .y_from(400.0, 1500.0)
        .band("without 1891 to 1910, 2 sd", &years, &column(gap, -2.0), &column(gap, 2.0))
        .band("level, 2 sd", &years, &column(level, -2.0), &column(level, 2.0))
        .points("measured", &years, &NILE)
        .line("level", &years, &column(level, 0.0))
        .dashed("two states", &steps.0, &steps.1)
        .save_or_check("local_level");
}
