//! The page on time series.

use elbo::data::{NILE, Observations};
use elbo::models::HiddenMarkov;
use elbo::models::hidden_markov::Sequences;
use elbo::{Error, Purpose, stream};

pub fn solutions() -> Result<(), Error> {
    the_year_of_the_change()?;
    a_long_gap()?;
    products_that_vanish()
}

fn log_normal(x: f64, mean: f64, sd: f64) -> f64 {
    let z = (x - mean) / sd;
    -0.5 * (2.0 * std::f64::consts::PI).ln() - sd.ln() - 0.5 * z * z
}

// ANCHOR: one
fn the_year_of_the_change() -> Result<(), Error> {
    let flows = Sequences::one(Observations::new(NILE.to_vec(), 1)?)?;
    // the first state is left once, and never entered again
    let line = HiddenMarkov::gaussian(flows.clone(), 2)?.with_parameters(
        &[1.0, 0.0],
        &[0.99, 0.01, 0.0, 1.0],
        &[1100.0, 125f64.powi(2), 850.0, 125f64.powi(2)],
    )?;
    // a path is the year of its change: a hundred of them, the last one never
    let log = |change: usize| {
        let rows = NILE.iter().enumerate();
        let level = |t: usize| if t < change { 1100.0 } else { 850.0 };
        let rows: f64 = rows.map(|(t, y)| log_normal(*y, level(t), 125.0)).sum();
        let stayed = (change - 1) as f64 * f64::ln(0.99);
        rows + stayed + if change < 100 { f64::ln(0.01) } else { 0.0 }
    };
    let logs: Vec<f64> = (1..=100).map(log).collect();
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total = top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln();
    assert!((line.score(&flows)?[0] - total).abs() < 1e-9);
    // the probability of the first state in a year: that of a later change
    let marginals = line.marginals(&flows)?;
    for t in 0..100 {
        let later: f64 = (t + 1..=100).map(|change| (logs[change - 1] - total).exp()).sum();
        assert!((marginals[2 * t] - later).abs() < 1e-9);
    }
    let best = (1..=100).max_by(|a, b| logs[a - 1].total_cmp(&logs[b - 1]));
    assert_eq!(best, Some(28)); // 1899
    assert_eq!(line.path(&flows)?.iter().filter(|z| **z == 0).count(), 28);
    Ok(())
}
// ANCHOR_END: one

// ANCHOR: two
fn a_long_gap() -> Result<(), Error> {
    let mut counts = vec![2.0, 3.0, 1.0, 2.0];
    counts.extend([f64::NAN; 400]);
    counts.extend([9.0, 11.0, 10.0]);
    let gappy = Sequences::one(Observations::with_gaps(counts, 1)?)?;
    let steps = [0.9, 0.1, 0.2, 0.8];
    let model = HiddenMarkov::poisson(gappy.clone(), 2)?;
    let model = model.with_parameters(&[0.5, 0.5], &steps, &[2.0, 10.0])?;
    let marginals = model.marginals(&gappy)?;
    // the second eigenvalue of the steps, 0.7, to the power of 200: both ends are forgotten
    let middle = &marginals[2 * 204..][..2];
    let stationary = [2.0 / 3.0, 1.0 / 3.0];
    assert!((0..2).all(|k| (middle[k] - stationary[k]).abs() < 1e-12));
    // and it fades by that factor a row
    let off = |t: usize| marginals[2 * t] - stationary[0];
    assert!((off(21) / off(20) - 0.7).abs() < 1e-9);
    Ok(())
}
// ANCHOR_END: two

// ANCHOR: three
fn products_that_vanish() -> Result<(), Error> {
    let flows = Sequences::one(Observations::new(NILE.to_vec(), 1)?)?;
    let model = HiddenMarkov::gaussian(flows, 2)?.fit(1)?.fit.model;
    let (rows, _) = model.sample(5_000, &mut stream(1, Purpose::Data, 0));
    let long = Sequences::one(Observations::new(rows.clone(), 1)?)?;
    let values = [0, 1].map(|k| model.values(k, 0));
    // without scaling
    let (mut a, mut last, mut log, mut scaled) = ([0.0; 2], 0, 0.0, [0.0; 2]);
    for (t, y) in rows.iter().enumerate() {
        let step = |from: &[f64; 2], k: usize| -> f64 {
            let ahead = match t {
                0 => model.initial()[k],
                _ => (0..2).map(|i| from[i] * model.transition(i)[k]).sum(),
            };
            ahead * log_normal(*y, values[k][0], values[k][1]).exp()
        };
        a = [step(&a, 0), step(&a, 1)];
        if a[0] + a[1] > 0.0 {
            last = t + 1;
        }
        // and with
        scaled = [step(&scaled, 0), step(&scaled, 1)];
        let sum = scaled[0] + scaled[1];
        log += sum.ln();
        scaled = scaled.map(|a| a / sum);
    }
    assert!(last < 200 && a == [0.0; 2]); // some hundred years, and the product is 0
    assert!((log - model.score(&long)?[0]).abs() < 1e-8 * log.abs());
    Ok(())
}
// ANCHOR_END: three
