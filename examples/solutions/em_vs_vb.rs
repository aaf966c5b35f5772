//! Chapter 14.

use elbo::data::Observations;
use elbo::models::bayesian_mixture::Weights;
use elbo::models::gaussian_mixture::Prior;
use elbo::models::{BayesianMixture, GaussianMixture};
use elbo::{Error, Minibatch, NaturalStep, Options, Purpose, Stop, fit, stream};
use rand::RngExt;

pub fn solutions() -> Result<(), Error> {
    a_firm_belief()?;
    no_normal()?;
    other_ways()
}

/// 600 rows from three round heaps.
fn heaps() -> Result<Observations, Error> {
    let any = Observations::new((0..12).map(f64::from).map(|x| x * x).collect(), 2)?;
    let means = [0.0, 0.0, 5.0, 1.0, 1.0, 6.0];
    let truth = GaussianMixture::new(any, 3)?;
    let truth = truth.with_parameters(&[0.5, 0.3, 0.2], &means, &[1.0, 0.0, 0.0, 1.0].repeat(3))?;
    Observations::new(truth.sample(600, &mut stream(1, Purpose::Data, 0)).0, 2)
}

// ANCHOR: one
fn a_firm_belief() -> Result<(), Error> {
    let prior = Prior { concentration: 10.0, ..Prior::one_row(&heaps()?, 8) };
    let vb = BayesianMixture::new(heaps()?, 8)?.with_prior(prior)?.fit(1)?.fit;
    assert_eq!(vb.q.occupied().len(), 8);
    Ok(())
}
// ANCHOR_END: one

// ANCHOR: two
fn no_normal() -> Result<(), Error> {
    let mut rng = stream(2, Purpose::Data, 0);
    let square: Vec<f64> = (0..2000).map(|_| rng.random()).collect();
    let vb = BayesianMixture::new(Observations::new(square, 2)?, 8)?.fit(1)?.fit;
    assert!(vb.q.occupied().len() > 1);
    Ok(())
}
// ANCHOR_END: two

// ANCHOR: three
fn other_ways() -> Result<(), Error> {
    // a Dirichlet process
    let model = BayesianMixture::new(heaps()?, 8)?.with_weights(Weights::StickBreaking)?;
    assert_eq!(model.fit(1)?.fit.q.occupied().len(), 3);
    // a hundred rows at a time
    let model = BayesianMixture::new(heaps()?, 8)?;
    let kept = |step: NaturalStep| {
        let options = Options { steps: 2000, stop: Stop::Budget, ..Options::default() };
        let moves = Minibatch::new(100, step);
        fit(model.clone(), model.posterior(), moves, options).map(|fit| fit.q.occupied().len())
    };
    assert_eq!(kept(NaturalStep::constant(0.2))?, 3); // rates that add up to 400
    assert!(kept(NaturalStep::decaying(1.0, 0.9))? > 3); // to 11
    Ok(())
}
// ANCHOR_END: three
