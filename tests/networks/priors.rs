//! Priors: densities, slopes, draws, and where a learned one goes.

use elbo::nn::{Likelihood, Noise, Prior, Vae};
use elbo::{
    Adam, ClosedFormKl, Differentiable, Error, GradientAscent, GradientEstimator, Model, Options,
    Purpose, Schedule, Scheduled, Stop, Subsample, fit, stream,
};

use super::support::{assert_all_close, assert_close};
use super::{decoder, encoder, normals, pictures, slopes};

const MIXTURE: Prior = Prior::Mixture { components: 3, seed: 5 };
const ALL: [Prior; 4] = [Prior::StandardNormal, Prior::Normal, MIXTURE, Prior::Uniform];

/// A decoder with this prior at parameters that are not those of the start.
fn moved(images: usize, prior: Prior, noise: Noise) -> super::Both {
    let images = pictures(images);
    let model = decoder(&images, Likelihood::Gaussian(noise)).with_prior(prior);
    let mut model = model.expect("a prior");
    let mut theta = vec![0.0; model.n_theta()];
    model.theta(&mut theta);
    theta.iter_mut().zip(normals(1_000, 40)).for_each(|(t, x)| *t += 0.3 * x);
    model.set_theta(&theta);
    (model, encoder(&images))
}

#[test]
fn gradients_are_slopes() {
    for prior in ALL {
        for noise in [Noise::Learned(0.4), Noise::Fixed(0.4)] {
            let (mut model, _) = moved(5, prior, noise);
            model.subsample(&[4, 0, 2]);
            let d = model.dim();
            let unit = |x: f64| 1.0 / (1.0 + (-x).exp());
            let z: Vec<f64> = normals(2 * d, 41).into_iter().map(unit).collect();
            let mut theta = vec![0.0; model.n_theta()];
            model.theta(&mut theta);
            let (mut out, mut in_z) = ([0.0; 2], vec![0.0; 2 * d]);
            let mut grad = vec![0.25; theta.len()];
            model.log_joint_grad_batch(&z, &mut out, &mut in_z, &mut grad);
            for s in 0..2 {
                let want = slopes(&z[s * d..(s + 1) * d], |z| model.log_joint(z));
                assert_all_close(&format!("{prior:?} in z"), &in_z[s * d..][..d], &want, 1e-7);
            }
            let mut other = model.clone();
            other.subsample(&[4, 0, 2]);
            let want = slopes(&theta, |theta| {
                other.set_theta(theta);
                0.5 * (other.log_joint(&z[..d]) + other.log_joint(&z[d..]))
            });
            grad.iter_mut().for_each(|g| *g -= 0.25);
            assert_all_close(&format!("{prior:?} in theta"), &grad, &want, 1e-7);
            let mut weighted = vec![0.0; theta.len()];
            model.add_theta_grad(&z, &[0.5, 0.5], &mut weighted);
            assert_all_close("weighted", &weighted, &want, 1e-7);
        }
    }
}

/// Densities integrate to one, and draws have the mean that the density has.
#[test]
fn densities_are_those_of_their_draws() {
    for prior in ALL {
        let (model, _) = moved(1, prior, Noise::Fixed(0.4));
        let (low, high, cells) = match prior {
            Prior::Uniform => (0.0, 1.0, 10),
            _ => (-9.0, 9.0, 360),
        };
        let h = (high - low) / f64::from(cells);
        let at = |i: i32| low + (f64::from(i) + 0.5) * h;
        let (mut total, mut mean) = (0.0, [0.0; 2]);
        for i in 0..cells {
            for j in 0..cells {
                let z = [at(i), at(j)];
                let w = h * h * model.log_prior(&z).expect("two numbers").exp();
                total += w;
                (0..2).for_each(|k| mean[k] += w * z[k]);
            }
        }
        assert_close(&format!("{prior:?}"), total, 1.0, 1e-6);
        const N: usize = 40_000;
        let mut z = vec![0.0; 2 * N];
        model.sample_prior(&mut stream(1, Purpose::Data, 7), &mut z);
        for k in 0..2 {
            let own = || z.iter().skip(k).step_by(2);
            let centre = own().sum::<f64>() / N as f64;
            let sd = (own().map(|z| (z - centre).powi(2)).sum::<f64>() / N as f64).sqrt();
            // 4.5 standard errors, eight comparisons
            assert!((centre - mean[k]).abs() < 4.5 * sd / (N as f64).sqrt(), "{prior:?}: {centre}");
        }
    }
}

/// With the noise held fixed the estimate is a function, and its gradient its slope: the divergence
/// from a learned prior pulls on that too.
#[test]
fn a_learned_prior_is_pulled_in_closed_form() {
    let (mut model, mut q) = moved(6, Prior::Normal, Noise::Learned(0.4));
    for rows in [vec![0, 1, 2, 3, 4, 5], vec![3, 5]] {
        model.subsample(&rows);
        elbo::Family::subsample(&mut q, &rows);
        let (mut theta, mut lambda) =
            (vec![0.0; model.n_theta()], vec![0.0; elbo::Family::n_params(&q)]);
        model.theta(&mut theta);
        elbo::Family::params(&q, &mut lambda);
        let mut estimator = ClosedFormKl::new(2);
        let (mut in_theta, mut in_lambda) = (vec![0.0; theta.len()], vec![0.0; lambda.len()]);
        let mut climb = |model: &_, q: &_, theta: &mut [f64], lambda: &mut [f64]| {
            let (mut rng, mut s) = (stream(3, Purpose::Step, 0), Default::default());
            estimator.estimate(model, q, &mut rng, &mut s, theta, lambda).expect("finite")
        };
        climb(&model, &q, &mut in_theta, &mut in_lambda);
        let want = slopes(&[theta.clone(), lambda.clone()].concat(), |all| {
            model.set_theta(&all[..theta.len()]);
            elbo::Family::set_params(&mut q, &all[theta.len()..]);
            climb(&model, &q, &mut vec![0.0; theta.len()], &mut vec![0.0; lambda.len()])
        });
        model.set_theta(&theta);
        elbo::Family::set_params(&mut q, &lambda);
        assert_all_close("gradient", &[in_theta, in_lambda].concat(), &want, 1e-6);
    }
}

/// The best normal prior has the mean and the variance of the aggregate posterior, the mixture of the
/// `q(z | x)` of all data.
#[test]
fn the_best_prior_is_the_aggregate_posterior() -> Result<(), Error> {
    let images = pictures(40);
    let likelihood = Likelihood::Gaussian(Noise::Fixed(0.1));
    let model = decoder(&images, likelihood).with_prior(Prior::Normal)?;
    let falling = Schedule::Cosine { steps: 4_000, floor: 1e-3 };
    let ascent =
        GradientAscent::new(ClosedFormKl::new(4), Scheduled::new(Adam::rate(0.02), falling));
    let options = Options { steps: 4_000, stop: Stop::Budget, ..Options::default() };
    let fit = fit(model, encoder(&images), ascent, options)?;
    let codes = fit.q.encode(&images)?;
    let mut theta = vec![0.0; fit.model.n_theta()];
    fit.model.theta(&mut theta);
    let learned = &theta[theta.len() - 4..];
    for k in 0..2 {
        let n = images.len() as f64;
        let of = |numbers: &[f64]| numbers.iter().skip(k).step_by(2).copied().collect::<Vec<_>>();
        let (means, sds) = (of(&codes.mean), of(&codes.sd));
        let mean = means.iter().sum::<f64>() / n;
        let each = means.iter().zip(&sds).map(|(m, sd)| (m - mean).powi(2) + sd * sd);
        let variance = each.sum::<f64>() / n;
        assert!((learned[k] - mean).abs() < 0.02 * variance.sqrt(), "{learned:?} {mean}");
        let found = (10.0 * (learned[2 + k] / 10.0).tanh()).exp();
        assert!((found / variance - 1.0).abs() < 0.04, "{found} {variance}");
    }
    // sampled and in closed form, the ELBO is the same
    let vae = Vae { decoder: &fit.model, encoder: &fit.q };
    assert_eq!(vae.evaluate(&images, 10, 1)?.kl.len(), 2);
    Ok(())
}

/// What a mixture pays is known by draws only, one number for all.
#[test]
fn a_mixture_is_sampled() -> Result<(), Error> {
    let images = pictures(40);
    let model = decoder(&images, Likelihood::Bernoulli).with_prior(MIXTURE)?;
    let ascent = GradientAscent::new(elbo::Reparameterization { draws: 2 }, Adam::rate(0.01));
    let options = Options { steps: 400, stop: Stop::Budget, ..Options::default() };
    let fit = fit(model, encoder(&images), ascent, options)?;
    let seen = Vae { decoder: &fit.model, encoder: &fit.q }.evaluate(&images, 400, 1)?;
    assert_eq!(seen.kl.len(), 1);
    assert!(seen.kl_total() > 0.0 && seen.bound.value > seen.elbo.value);
    assert!(fit.trace[399].elbo > fit.trace[0].elbo);
    let none = decoder(&images, Likelihood::Bernoulli)
        .with_prior(Prior::Mixture { components: 0, seed: 1 });
    let message = none.map(drop).expect_err("refused").to_string();
    assert_eq!(message, "E10 components is 0; a mixture needs at least one");
    Ok(())
}
