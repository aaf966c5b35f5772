//! The page on factors.

use elbo::data::Observations;
use elbo::models::FactorAnalysis;
use elbo::{EStep, Error, Options, Purpose, Squarem, Stop, fit, stream};
use rand_distr::{Distribution, StandardNormal};

pub fn solutions() -> Result<(), Error> {
    by_hand()?;
    factors_of_noise()?;
    other_units()
}

// ANCHOR: one
fn by_hand() -> Result<(), Error> {
    // four rows whose covariance has the eigenvalues 4 along (1, 1) and 1 along (1, -1)
    let (a, b) = (2.0, 1.0);
    let data = Observations::new(vec![a, a, -a, -a, b, -b, -b, b], 2)?;
    let exact = FactorAnalysis::principal(data, 1)?.closed_form()?;
    assert!((exact.uniquenesses()[0] - 1.0).abs() < 1e-12); // the eigenvalue left over
    let w = exact.loadings();
    assert!((w[0] * w[0] - (4.0 - 1.0) / 2.0).abs() < 1e-12 && (w[0] - w[1]).abs() < 1e-12);
    Ok(())
}
// ANCHOR_END: one

fn noise(rows: usize, columns: usize) -> Result<Observations, Error> {
    let mut rng = stream(3, Purpose::Data, 7);
    let cells = (0..rows * columns).map(|_| StandardNormal.sample(&mut rng)).collect();
    Observations::new(cells, columns)
}

// ANCHOR: two
fn factors_of_noise() -> Result<(), Error> {
    let (rows, columns) = (200, 10);
    let model = FactorAnalysis::principal(noise(rows, columns)?, 1)?;
    // the largest eigenvalue of the covariance of noise: not 1, but nearly (1 + sqrt(d / n))^2
    let exact = model.closed_form()?;
    let length: f64 = exact.loadings().iter().map(|w| w * w).sum();
    let top = length + exact.uniquenesses()[0];
    let edge = (1.0 + (columns as f64 / rows as f64).sqrt()).powi(2);
    assert!((top / edge - 1.0).abs() < 0.1);
    // so the likelihood finds a factor of noise
    assert!(length > 0.25, "{length}");
    // a climb that starts with it may keep it, but with a signal that a real one would exceed
    let bayes = model.bayesian();
    let q = bayes.start();
    let options = Options { stop: Stop::Exact { gain: 1e-12 }, ..Options::exact() };
    let found = fit(bayes, q, Squarem::new(EStep), options)?;
    assert!(found.q.signal()[0] < 10.0, "{:?}", found.q.signal());
    Ok(())
}
// ANCHOR_END: two

// ANCHOR: three
fn other_units() -> Result<(), Error> {
    let mut cells = noise(300, 4)?.values().to_vec();
    for row in cells.chunks_exact_mut(4) {
        let z = row[3];
        (row[1], row[2]) = (row[1] + z, row[2] + z);
        row[3] = 0.5 * row[0] + z;
    }
    let share = |scale: f64| -> Result<[f64; 2], Error> {
        let mut cells = cells.clone();
        cells.chunks_exact_mut(4).for_each(|row| row[0] *= scale);
        let data = Observations::new(cells, 4)?;
        let pca = FactorAnalysis::principal(data.clone(), 1)?.closed_form()?;
        let fit = FactorAnalysis::new(data, 1)?.fit(1)?.fit;
        // how much of the first column the factor explains
        let of = |model: &FactorAnalysis| model.loadings()[0].powi(2) / model.covariance()[0];
        Ok([of(&pca), of(&fit.model)])
    };
    let ([pca, factors], [scaled_pca, scaled_factors]) = (share(1.0)?, share(100.0)?);
    assert!(pca < 0.5 && scaled_pca > 0.999); // the factor is now that column
    // the top is flat: so little a difference costs a millionth of a nat, and there the climb stops
    assert!((factors - scaled_factors).abs() < 1e-4, "{factors} and {scaled_factors}");
    Ok(())
}
// ANCHOR_END: three
