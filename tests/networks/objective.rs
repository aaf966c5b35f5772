//! The divergence in closed form, its weight and free nats; and what is refined image by image.

use std::sync::Arc;

use elbo::data::Images;
use elbo::nn::{Activation, Decoder, Encoder, Layer, Likelihood, Mlp, Noise, Vae};
use elbo::{
    Adam, ClosedFormKl, Error, Family, GradientAscent, GradientEstimator, Minibatch, Model,
    Options, Purpose, Schedule, Stop, Subsample, fit, stream,
};

use super::support::assert_close;
use super::{decoder, encoder, normals, pictures, slopes};

const V: f64 = 0.5;

type Pair = (Decoder<Mlp<f64>, f64>, Encoder<Mlp<f64>, f64>);

/// Four images of two pixels, a linear decoder and a linear encoder with one latent number.
fn linear() -> (Arc<Images>, Pair) {
    let numbers = normals(8, 12).iter().map(|&x| x as f32).collect();
    let images = Arc::new(Images::new(numbers, 1, 2).expect("finite"));
    let network =
        |widths: &[usize], seed| Mlp::new(widths, Activation::Tanh, seed).expect("widths");
    let likelihood = Likelihood::Gaussian(Noise::Fixed(V));
    let model = Decoder::new(network(&[1, 2], 5), images.clone(), likelihood).expect("it fits");
    let q = Encoder::new(network(&[2, 2], 6), images.clone()).expect("it fits");
    (images, (model, q))
}

/// `E log p(x | z)` without constants, and the divergence, by the moments of `q`.
fn exact(images: &Images, theta: &[f64], lambda: &[f64]) -> (f64, f64) {
    let (mut reconstruction, mut kl) = (0.0, 0.0);
    for i in 0..4 {
        let x = [images.pixel(i, 0), images.pixel(i, 1)];
        let mean = lambda[0] * x[0] + lambda[2] * x[1] + lambda[4];
        let raw = lambda[1] * x[0] + lambda[3] * x[1] + lambda[5];
        let v = (10.0 * (raw / 10.0).tanh()).exp();
        for k in 0..2 {
            let off = x[k] - theta[2 + k] - theta[k] * mean;
            reconstruction -= 0.5 * (off * off + theta[k] * theta[k] * v) / V;
        }
        kl += 0.5 * (mean * mean + v - 1.0 - v.ln());
    }
    (reconstruction, kl)
}

/// The mean of many estimates, minibatch by minibatch, is the slope of `E log p - weight KL`.
fn is_unbiased(mut estimator: ClosedFormKl, weight: f64) {
    let (images, (mut model, mut q)) = linear();
    let (mut theta, mut lambda) = (vec![0.0; 4], vec![0.0; 6]);
    model.theta(&mut theta);
    q.params(&mut lambda);
    let want = slopes(&[theta, lambda].concat(), |both| {
        let (reconstruction, kl) = exact(&images, &both[..4], &both[4..]);
        reconstruction - weight * kl
    });
    const ROUNDS: usize = 20_000;
    let mut sums = [[0.0; 2]; 10];
    let mut rng = stream(2, Purpose::Step, 0);
    let mut scratch = Default::default();
    for round in 0..ROUNDS {
        let rows = [[0, 1], [2, 3], [0, 3], [1, 2]][round % 4];
        model.subsample(&rows);
        q.subsample(&rows);
        let mut grad = vec![0.0; 10];
        let (in_theta, in_lambda) = grad.split_at_mut(4);
        let done = estimator.estimate(&model, &q, &mut rng, &mut scratch, in_theta, in_lambda);
        let elbo = done.expect("finite");
        let kl: f64 = estimator.terms().kl.iter().sum();
        assert_close("terms", elbo, estimator.terms().reconstruction - kl, 1e-12);
        for (sum, g) in sums.iter_mut().zip(grad) {
            sum[0] += g;
            sum[1] += g * g;
        }
    }
    for (i, [sum, square]) in sums.iter().enumerate() {
        let mean = sum / ROUNDS as f64;
        let se = ((square / ROUNDS as f64 - mean * mean) / ROUNDS as f64).sqrt();
        // 4.5 standard errors: one comparison in 150 000 fails by chance, of 30
        let off = (mean - want[i]).abs();
        assert!(off <= 4.5 * se + 1e-9, "{i}: {mean} ± {se}, want {}", want[i]);
    }
}

#[test]
fn estimates_are_unbiased_for_every_weight() {
    is_unbiased(ClosedFormKl::new(2), 1.0);
    is_unbiased(ClosedFormKl::new(1).beta(3.0), 3.0);
    // more is free than there is: nothing is paid
    is_unbiased(ClosedFormKl::new(1).free(100.0), 0.0);
}

/// Gradients alone have the same bits, and the next step has the next weight of the schedule.
#[test]
fn gradients_alone_are_the_same() {
    let (_, (model, q)) = linear();
    let warming = Schedule::Linear { steps: 4, from: 0.0, to: 1.0 };
    for estimator in [ClosedFormKl::new(3).scheduled(warming), ClosedFormKl::new(2).free(0.2)] {
        let (mut with, mut without) = (estimator.clone(), estimator);
        for step in 0..3 {
            let mut grads = [vec![0.0; 10], vec![0.0; 10]];
            let [a, b] = &mut grads;
            let (a_theta, a_lambda) = a.split_at_mut(4);
            let (b_theta, b_lambda) = b.split_at_mut(4);
            let rng = || stream(3, Purpose::Step, step);
            let (mut s, mut t) = (Default::default(), Default::default());
            with.estimate(&model, &q, &mut rng(), &mut s, a_theta, a_lambda).expect("finite");
            without.gradient(&model, &q, &mut rng(), &mut t, b_theta, b_lambda).expect("finite");
            assert_eq!(grads[0], grads[1]);
            assert_eq!(with.weight(), without.weight());
        }
    }
}

fn options(steps: usize) -> Options {
    Options { steps, stop: Stop::Budget, ..Options::default() }
}

/// A heavier divergence is smaller, a reconstruction with it worse; what is below 1 is no bound and
/// said to be none; what was climbed is in the trace beside the ELBO.
#[test]
fn the_weight_trades_one_term_for_the_other() -> Result<(), Error> {
    let images = pictures(60);
    let mut terms = Vec::new();
    for beta in [0.25, 1.0, 4.0] {
        let (model, q) = (decoder(&images, Likelihood::Bernoulli), encoder(&images));
        let estimator = ClosedFormKl::new(1).beta(beta);
        let ascent = Minibatch::new(20, GradientAscent::new(estimator, Adam::rate(0.01)));
        let fit = fit(model, q, ascent, options(1500))?;
        let said = fit.warnings.iter().any(|w| w.code.as_str() == "W11");
        assert_eq!(said, beta < 1.0, "{:?}", fit.warnings);
        let last = fit.trace.last().expect("steps");
        assert_eq!(last.objective.is_some(), beta != 1.0);
        let seen = Vae { decoder: &fit.model, encoder: &fit.q }.evaluate(&images, 200, 1)?;
        terms.push((seen.kl_total(), seen.reconstruction.value));
    }
    assert!(terms[0].0 > terms[1].0 && terms[1].0 > terms[2].0, "{terms:?}");
    assert!(terms[0].1 > terms[1].1 && terms[1].1 > terms[2].1, "{terms:?}");
    Ok(())
}

#[test]
fn weights_that_make_no_sense_are_refused() {
    let (_, (model, q)) = linear();
    let says = |estimator: ClosedFormKl| {
        let ascent = GradientAscent::new(estimator, Adam::rate(0.01));
        fit(model.clone(), q.clone(), ascent, options(3))
            .map(drop)
            .expect_err("refused")
            .to_string()
    };
    for beta in [0.0, -1.0, f64::NAN] {
        let said = says(ClosedFormKl::new(1).beta(beta));
        assert_eq!(said, format!("E10 beta is {beta}; it must be a positive, finite number"));
    }
    assert!(says(ClosedFormKl::new(0)).starts_with("E10 draws is 0"));
    assert!(says(ClosedFormKl::new(1).free(-0.1)).starts_with("E10 free is -0.1; it must be 0"));
    let schedule = Schedule::Linear { steps: 0, from: 0.0, to: 1.0 };
    assert!(says(ClosedFormKl::new(1).scheduled(schedule)).starts_with("E10 Linear steps is 0"));
}

/// From an encoder that knows nothing to the exact posterior of a linear decoder, where the ELBO is
/// the log evidence.
#[test]
fn refined_is_the_exact_posterior() -> Result<(), Error> {
    let (images, (model, _)) = linear();
    let mut theta = vec![0.0; 4];
    model.theta(&mut theta);
    let ignorant =
        Layer { weights: vec![0.0; 4], bias: vec![0.0; 2], activation: Activation::Linear };
    let q = Encoder::new(Mlp::from_layers(vec![ignorant])?, images.clone())?;
    let vae = Vae { decoder: &model, encoder: &q };
    let refined = vae.refine(&images, 1500, 3)?;
    let precision = theta[0] * theta[0] + theta[1] * theta[1] + V;
    for i in 0..4 {
        let off = |k: usize| images.pixel(i, k) - theta[2 + k];
        let mean = (theta[0] * off(0) + theta[1] * off(1)) / precision;
        // the noise of sticking the landing vanishes there; what is left is the rate at the end
        assert_close("mean", refined.mean[i], mean, 2e-3);
        assert_close("sd", refined.sd[i], (V / precision).sqrt(), 2e-3);
    }
    let before = vae.evaluate(&images, 50, 1)?;
    let after = vae.evaluate_at(&images, &refined, 50, 1)?;
    assert!(after.elbo.value > before.elbo.value, "{before:?} {after:?}");
    // at the posterior every weight is the evidence, so that bounds of any number of draws agree
    let one = vae.evaluate_at(&images, &refined, 1, 7)?;
    assert_close("bound", one.bound.value, after.bound.value, 2e-3);
    Ok(())
}
