//! Importance weights for each datum: slopes, the mean of one estimator against the other, noise.

use elbo::nn::{Likelihood, Noise, Prior};
use elbo::{
    Adam, DoublyReparameterized, Error, Family, GradientAscent, GradientEstimator,
    ImportanceWeighted, Minibatch, Model, Options, PerDatum, Purpose, Reparameterization,
    StickingTheLanding, Stop, Subsample, fit, stream,
};

use super::support::{assert_all_close, assert_close};
use super::{Both, decoder, encoder, pictures, slopes};

fn pair(n: usize, likelihood: Likelihood, prior: Prior) -> Both {
    let images = pictures(n);
    (decoder(&images, likelihood).with_prior(prior).expect("a prior"), encoder(&images))
}

fn all(pair: &Both) -> Vec<f64> {
    let (mut theta, mut lambda) = (vec![0.0; pair.0.n_theta()], vec![0.0; pair.1.n_params()]);
    pair.0.theta(&mut theta);
    pair.1.params(&mut lambda);
    [theta, lambda].concat()
}

/// One estimate from fixed noise: gradient, ELBO and objective.
fn once<E: GradientEstimator<M, Q, f64>, M: Model, Q: Family>(
    mut estimator: E,
    (model, q): (&M, &Q),
    step: u64,
) -> (Vec<f64>, f64, Option<f64>) {
    let mut grad = vec![0.0; model.n_theta() + q.n_params()];
    let (theta, lambda) = grad.split_at_mut(model.n_theta());
    let (mut rng, mut s) = (stream(3, Purpose::Step, step), E::Scratch::default());
    let elbo = estimator.estimate(model, q, &mut rng, &mut s, theta, lambda).expect("finite");
    let objective = estimator.last_objective(&s);
    (grad, elbo, objective)
}

/// With the noise held fixed the objective is a function of the parameters, and the estimate its slope:
/// for every likelihood, with a learned prior, some rows, and more draws than a panel has columns.
#[test]
fn the_estimate_is_the_slope_of_the_objective() {
    let learned = Likelihood::Gaussian(Noise::Learned(0.3));
    let mixture = Prior::Mixture { components: 2, seed: 2 };
    let per_pixel = Likelihood::Gaussian(Noise::PerPixel);
    for (likelihood, prior, draws, alpha) in [
        (Likelihood::Bernoulli, Prior::StandardNormal, 3, 0.0),
        (learned, mixture, 5, 0.0),
        (per_pixel, Prior::Normal, 4, 0.5),
        (Likelihood::Categorical, Prior::StandardNormal, 70, 0.0),
    ] {
        let mut both = pair(7, likelihood, prior);
        for rows in [vec![0, 1, 2, 3, 4, 5, 6], vec![6, 2]] {
            both.0.subsample(&rows);
            both.1.subsample(&rows);
            let estimator = PerDatum(ImportanceWeighted { draws, alpha });
            let here = all(&both);
            let (grad, elbo, objective) = once(estimator, (&both.0, &both.1), 0);
            assert!(objective.is_some_and(|bound| bound > elbo));
            let mut moved = both.clone();
            moved.0.subsample(&rows);
            moved.1.subsample(&rows);
            let split = moved.0.n_theta();
            let want = slopes(&here, |all| {
                moved.0.set_theta(&all[..split]);
                moved.1.set_params(&all[split..]);
                once(estimator, (&moved.0, &moved.1), 0).2.expect("an objective")
            });
            assert_all_close(&format!("{likelihood:?}"), &grad, &want, 1e-6);
        }
    }
}

/// Of order 1 they are the estimators of the ELBO.
#[test]
fn order_one_is_the_elbo() {
    let both = pair(9, Likelihood::Bernoulli, Prior::StandardNormal);
    let both = (&both.0, &both.1);
    let plain = once(Reparameterization { draws: 4 }, both, 1);
    let weighed = once(PerDatum(ImportanceWeighted { draws: 4, alpha: 1.0 }), both, 1);
    assert_all_close("path", &weighed.0, &plain.0, 1e-10);
    assert_close("ELBO", weighed.1, plain.1, 1e-10);
    let plain = once(StickingTheLanding { draws: 4 }, both, 1);
    let weighed = once(PerDatum(DoublyReparameterized { draws: 4, alpha: 1.0 }), both, 1);
    assert_all_close("sticking", &weighed.0, &plain.0, 1e-10);
}

/// Both estimators have the same mean, the doubly reparameterized one with less noise in `lambda`; the
/// more draws, the more so.
#[test]
fn both_have_the_same_mean() {
    const ROUNDS: u64 = 4_000;
    let mut ratios = Vec::new();
    for (draws, alpha) in [(4, 0.0), (16, 0.0), (4, 0.5)] {
        let both = pair(3, Likelihood::Gaussian(Noise::Fixed(0.2)), Prior::StandardNormal);
        let split = both.0.n_theta();
        let n = split + both.1.n_params();
        let mut sums = [vec![[0.0; 2]; n], vec![[0.0; 2]; n]];
        for round in 0..ROUNDS {
            let one = PerDatum(ImportanceWeighted { draws, alpha });
            let two = PerDatum(DoublyReparameterized { draws, alpha });
            let grads = [
                once(one, (&both.0, &both.1), 2 * round).0,
                once(two, (&both.0, &both.1), 2 * round + 1).0,
            ];
            for (sums, grad) in sums.iter_mut().zip(grads) {
                for (sum, g) in sums.iter_mut().zip(grad) {
                    *sum = [sum[0] + g, sum[1] + g * g];
                }
            }
        }
        let (mut noise, rounds) = ([0.0; 2], ROUNDS as f64);
        for i in 0..n {
            let [a, b] = [0, 1].map(|k: usize| {
                let mean = sums[k][i][0] / rounds;
                (mean, (sums[k][i][1] / rounds - mean * mean) / rounds)
            });
            // 5 standard errors: one comparison in two million fails by chance, of 600
            let se = (a.1 + b.1).max(0.0).sqrt();
            assert!((a.0 - b.0).abs() <= 5.0 * se + 1e-9, "{i}: {a:?} {b:?}");
            if i >= split {
                noise = [noise[0] + a.1, noise[1] + b.1];
            }
        }
        ratios.push(noise[1] / noise[0]);
    }
    assert!(ratios[1] < ratios[0] && ratios.iter().all(|r| *r < 1.0), "{ratios:?}");
}

#[cfg(feature = "parallel")]
#[test]
fn threads_do_not_matter() {
    let both = pair(150, Likelihood::Gaussian(Noise::Learned(0.3)), Prior::Normal);
    let run =
        || once(PerDatum(DoublyReparameterized { draws: 5, alpha: 0.0 }), (&both.0, &both.1), 0);
    let alone = run();
    for threads in [1, 2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        assert!(pool.install(run) == alone, "{threads} threads");
    }
}

/// The paired stop rule compares answers by the bound that is climbed, and comes to an end.
#[test]
fn the_paired_rule_looks_at_the_bound() -> Result<(), Error> {
    let both = pair(8, Likelihood::Gaussian(Noise::Fixed(0.5)), Prior::StandardNormal);
    let mut estimator = PerDatum(DoublyReparameterized { draws: 6, alpha: 0.0 });
    let (mut terms, mut s) = (vec![0.0; 400], Default::default());
    let mut rng = stream(5, Purpose::Probe, 0);
    assert!(estimator.compare(&both.0, &both.1, &mut rng, &mut s, &mut terms));
    let mean = terms.iter().sum::<f64>() / terms.len() as f64;
    let images = pictures(8);
    let seen = elbo::nn::Vae { decoder: &both.0, encoder: &both.1 };
    // of six draws: between the ELBO and the bound of very many, for all eight images
    let (low, high) = {
        let seen = seen.evaluate(&images, 4_000, 1)?;
        (8.0 * seen.elbo.value, 8.0 * seen.bound.value)
    };
    assert!(low < mean && mean < high, "{low} {mean} {high}");
    Ok(())
}

/// What is climbed rises above what the ELBO alone reaches, and settings without sense are refused.
#[test]
fn weights_reach_a_higher_bound() -> Result<(), Error> {
    let options = || Options { steps: 1_500, stop: Stop::Budget, ..Options::default() };
    let likelihood = Likelihood::Gaussian(Noise::Fixed(0.05));
    let start = || pair(60, likelihood, Prior::StandardNormal);
    let (model, q) = start();
    let ascent = GradientAscent::new(StickingTheLanding { draws: 1 }, Adam::rate(0.01));
    let plain = fit(model, q, Minibatch::new(20, ascent), options())?;
    let (model, q) = start();
    let weighted = PerDatum(DoublyReparameterized { draws: 10, alpha: 0.0 });
    let ascent = GradientAscent::new(weighted, Adam::rate(0.01));
    let weighted = fit(model, q, Minibatch::new(20, ascent), options())?;
    let images = pictures(60);
    let bound = |model, q| -> Result<f64, Error> {
        let vae = elbo::nn::Vae { decoder: model, encoder: q };
        Ok(vae.evaluate(&images, 500, 1)?.bound.value)
    };
    let (plain, weighted) = (bound(&plain.model, &plain.q)?, bound(&weighted.model, &weighted.q)?);
    assert!(weighted > plain, "{weighted} {plain}");

    let (model, q) = start();
    let none = PerDatum(DoublyReparameterized { draws: 0, alpha: 0.0 });
    let refused = fit(model, q, GradientAscent::new(none, Adam::rate(0.01)), options());
    assert!(refused.map(drop).expect_err("refused").to_string().contains("draws is 0"));
    Ok(())
}
