//! The variational autoencoder in the loop of everything else: it climbs, it is saved and resumed to
//! the same bits, it ends with a witness where it explodes; and what is reported of it is right.

use std::f64::consts::PI;
use std::sync::Arc;

use elbo::data::{Images, digits};
use elbo::nn::{Activation, Decoder, Encoder, Layer, Likelihood, Mlp, Network, Noise, Vae};
use elbo::{
    Adam, ClipNorm, Error, Family, GradientAscent, Minibatch, Model, Options, Outcome,
    Reparameterization, Run, Sgd, StickingTheLanding, Stop, fit,
};

use super::support::{assert_all_close, assert_close};
use super::{decoder, encoder, normals, pictures};

type Pair = (Decoder<Mlp>, Encoder<Mlp>);

fn pair(images: &Arc<Images>, hidden: usize, latent: usize) -> Result<Pair, Error> {
    let size = images.size();
    let decoder = Mlp::new(&[latent, hidden, size], Activation::Tanh, 1)?;
    let encoder = Mlp::new(&[size, hidden, 2 * latent], Activation::Tanh, 2)?;
    Ok((
        Decoder::new(decoder, images.clone(), Likelihood::Bernoulli)?,
        Encoder::new(encoder, images.clone())?,
    ))
}

fn adam(batch: usize) -> Minibatch<GradientAscent<Reparameterization, Adam<f32>>> {
    Minibatch::new(batch, GradientAscent::new(Reparameterization { draws: 1 }, Adam::rate(2e-3)))
}

fn budget(steps: usize) -> Options {
    Options { steps, stop: Stop::Budget, elbo_every: 20, ..Options::default() }
}

/// The first 1500 digits are learned from, the others are new, and better explained than by pixels
/// that are independent of each other.
#[test]
fn it_learns_digits() -> Result<(), Error> {
    let all = digits().0;
    let images = Arc::new(all.select(0..1500)?);
    let new = all.select(1500..1797)?;
    let (model, q) = pair(&images, 48, 4)?;
    let before = Vae { decoder: &model, encoder: &q }.evaluate(&new, 5, 1)?;
    let fit = fit(model, q, adam(100), budget(900))?;
    let vae = Vae { decoder: &fit.model, encoder: &fit.q };
    let after = vae.evaluate(&new, 20, 1)?;
    let mean = |p: usize| (0..1500).map(|i| images.pixel(i, p)).sum::<f64>() / 1500.0;
    let means: Vec<f64> = (0..64).map(mean).collect();
    let alone = |i: usize, p: usize| {
        let (x, m) = (new.pixel(i, p), means[p].clamp(1e-3, 0.999));
        x * m.ln() + (1.0 - x) * (1.0 - m).ln()
    };
    let n = new.len();
    let alone: f64 =
        (0..n).map(|i| (0..64).map(|p| alone(i, p)).sum::<f64>()).sum::<f64>() / n as f64;
    assert!(before.elbo.value < alone, "{before:?}");
    assert!(after.elbo.value - 5.0 * after.elbo.mcse > alone, "{alone} {after:?}");
    // the terms add up, and more draws give a higher bound
    let terms = after.reconstruction.value - after.kl_total();
    assert_close("terms", after.elbo.value, terms, 1e-9);
    assert!(after.bound.value > after.elbo.value);
    assert_eq!(vae.active_units(&new)?, [0, 1, 2, 3]);
    // the trace is of all data: per image it is near the ELBO of new ones
    let last =
        fit.trace.iter().rev().find_map(|s| s.elbo).expect("the last step knows it") / 1500.0;
    assert!((last - after.elbo.value).abs() < 3.0, "{last} {after:?}");
    // what is reconstructed is nearer to the image than the mean image is
    let (seen, size) = (vae.reconstruct(&new)?, 64);
    let (mut near, mut far) = (0.0, 0.0);
    for i in 0..new.len() {
        for p in 0..size {
            let x = new.pixel(i, p);
            near += (x - f64::from(seen[i * size + p])).powi(2);
            far += (x - means[p]).powi(2);
        }
    }
    assert!(near < 0.6 * far, "{near} {far}");
    let line = vae.interpolate(&new, 0, 1, 5)?;
    assert_all_close(
        "the ends are reconstructions",
        &line[..size].iter().map(|&x| f64::from(x)).collect::<Vec<_>>(),
        &seen[..size].iter().map(|&x| f64::from(x)).collect::<Vec<_>>(),
        1e-5,
    );
    assert_eq!(line.len(), 5 * size);
    Ok(())
}

/// A linear decoder with its exact encoder: every draw says the log evidence, which is that of a
/// normal distribution with covariance `w w' + sigma^2`.
#[test]
fn at_the_exact_posterior_every_draw_says_the_evidence() -> Result<(), Error> {
    let (w, v) = ([0.9, -0.7], 0.25f64);
    let numbers: Vec<f32> = normals(20, 30).iter().map(|&x| x as f32).collect();
    let images = Arc::new(Images::new(numbers, 1, 2)?);
    // z | x ~ N(w'x / (w'w + v), v / (w'w + v))
    let precision = w[0] * w[0] + w[1] * w[1] + v;
    let log_variance: f64 = (v / precision).ln();
    let raw = 10.0 * (log_variance / 10.0).atanh();
    let linear = |weights: Vec<f64>, bias: Vec<f64>| {
        Mlp::from_layers(vec![Layer { weights, bias, activation: Activation::Linear }])
    };
    let network = linear(w.to_vec(), vec![0.0, 0.0])?;
    let decoder = Decoder::new(network, images.clone(), Likelihood::Gaussian(Noise::Fixed(v)))?;
    let weights = vec![w[0] / precision, 0.0, w[1] / precision, 0.0];
    let encoder = Encoder::new(linear(weights, vec![0.0, raw])?, images.clone())?;
    let vae = Vae { decoder: &decoder, encoder: &encoder };
    let seen = vae.evaluate(&images, 3, 5)?;
    let det = v * precision;
    let evidence = |i: usize| {
        let (x, y) = (images.pixel(i, 0), images.pixel(i, 1));
        let along = w[0] * x + w[1] * y;
        let square = (x * x + y * y - along * along / precision) / v;
        -0.5 * (square + det.ln()) - (2.0 * PI).ln()
    };
    let want = (0..10).map(evidence).sum::<f64>() / 10.0;
    assert_close("bound", seen.bound.value, want, 1e-6);
    // the ELBO of few draws is noisy in its reconstruction; of the whole log weight it is not
    let mut out = [0.0; 4];
    let z = normals(40, 31);
    let (mut draws, mut log_q) = (vec![0.0; 40], [0.0; 4]);
    elbo::Reparameterized::transport(&encoder, &z, &mut draws, &mut log_q, &mut Default::default());
    decoder.log_joint_batch(&draws, &mut out);
    for s in 0..4 {
        assert_close("a draw", out[s] - log_q[s], 10.0 * want, 1e-6);
    }
    Ok(())
}

/// Stopped, saved and resumed it gives the same bits as without a stop, in single precision; and a
/// checkpoint of another architecture is refused.
#[test]
fn resumed_is_uninterrupted() -> Result<(), Error> {
    let images = Arc::new(digits().0.select(0..300)?.binarised_anew(4));
    let path = std::env::temp_dir().join(format!("elbo-vae-{}.json", std::process::id()));
    let (model, q) = pair(&images, 8, 2)?;
    let whole = fit(model, q, adam(64), budget(60))?;
    let (model, q) = pair(&images, 8, 2)?;
    let mut run = Run::new(model, q, adam(64), budget(60))?;
    (0..23).try_for_each(|_| run.step().map(drop))?;
    run.save(&path)?;
    drop(run);
    let (model, q) = pair(&images, 8, 2)?;
    let resumed = Run::<_, Encoder<Mlp>, Minibatch<GradientAscent<Reparameterization, Adam<f32>>>>::resume_into(&path, model, q)?;
    let resumed = resumed.finish()?;
    let bits = |model: &Decoder<Mlp>, q: &Encoder<Mlp>| {
        let (mut theta, mut lambda) = (vec![0.0f32; model.n_theta()], vec![0.0f32; q.n_params()]);
        model.theta(&mut theta);
        q.params(&mut lambda);
        theta.iter().chain(&lambda).map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    assert!(bits(&whole.model, &whole.q) == bits(&resumed.model, &resumed.q));
    assert_eq!(whole.trace, resumed.trace);

    type Saved =
        Run<Decoder<Mlp>, Encoder<Mlp>, Minibatch<GradientAscent<Reparameterization, Adam<f32>>>>;
    let refused = |model, q| Saved::resume_into(&path, model, q).map(drop).expect_err("refused");
    let (model, q) = pair(&images, 9, 2)?;
    assert_eq!(
        refused(model, q).to_string(),
        "E12 the architecture of the family differs between the checkpoint and this run: 64-8-4 tanh (556 parameters) there, 64-9-4 tanh (625 parameters) here; resume with the same model, data and options"
    );
    let (_, q) = pair(&images, 8, 2)?;
    let relu = Mlp::new(&[2, 8, 64], Activation::Relu, 1)?;
    let model = Decoder::new(relu, images.clone(), Likelihood::Bernoulli)?;
    let said = refused(model, q).to_string();
    assert!(said.starts_with("E12 the architecture of the model differs"), "{said}");
    assert!(said.contains("2-8-64 tanh, Bernoulli there, 2-8-64 relu, Bernoulli here"), "{said}");
    std::fs::remove_file(&path).expect("it is there");
    Ok(())
}

/// A rate that is far too large: the weights fly apart, the run says where and keeps the last that
/// were finite.
#[test]
fn an_explosion_ends_with_a_witness_and_finite_weights() -> Result<(), Error> {
    let images = Arc::new(digits().0.select(0..200)?);
    let decoder = Mlp::new(&[2, 8, 64], Activation::Relu, 1)?;
    let encoder = Mlp::new(&[64, 8, 4], Activation::Relu, 2)?;
    let model = Decoder::new(decoder, images.clone(), Likelihood::Gaussian(Noise::Fixed(1e-4)))?;
    let q = Encoder::new(encoder, images)?;
    let ascent =
        Minibatch::new(50, GradientAscent::new(Reparameterization { draws: 1 }, Sgd::rate(1e3)));
    let fit = fit(model, q, ascent, Options { patience: 5, ..budget(200) })?;
    let Outcome::Diverged { witness } = &fit.outcome else { panic!("{:?}", fit.outcome) };
    assert!(
        witness.to_string().contains("not finite") || witness.to_string().contains("log_joint"),
        "{witness}"
    );
    assert!(fit.warnings.iter().any(|w| w.code.as_str() == "W03"), "{:?}", fit.warnings);
    let mut theta = vec![0.0f32; fit.model.n_theta()];
    fit.model.theta(&mut theta);
    let mut lambda = vec![0.0f32; fit.q.n_params()];
    fit.q.params(&mut lambda);
    assert!(theta.iter().chain(&lambda).all(|x| x.is_finite()));
    Ok(())
}

/// What is saved on the way to an explosion, after each step, are weights that are finite; and steps
/// whose length is limited do not explode at the same rate.
#[test]
fn no_weight_that_is_not_finite_is_saved() -> Result<(), Error> {
    let images = Arc::new(digits().0.select(0..200)?);
    let parts = || -> Result<Pair, Error> {
        let decoder = Mlp::new(&[2, 8, 64], Activation::Relu, 1)?;
        let encoder = Mlp::new(&[64, 8, 4], Activation::Relu, 2)?;
        let noise = Likelihood::Gaussian(Noise::Fixed(1e-4));
        Ok((Decoder::new(decoder, images.clone(), noise)?, Encoder::new(encoder, images.clone())?))
    };
    let path = std::env::temp_dir().join(format!("elbo-explosion-{}.json", std::process::id()));
    type Plain = Minibatch<GradientAscent<Reparameterization, Sgd<f32>>>;
    let ascent: Plain =
        Minibatch::new(50, GradientAscent::new(Reparameterization { draws: 1 }, Sgd::rate(1e3)));
    let (model, q) = parts()?;
    let mut run = Run::new(model, q, ascent, Options { patience: 5, ..budget(200) })?;
    let mut ended = None;
    while ended.is_none() {
        ended = run.step()?;
        run.save(&path)?;
        let (model, q) = parts()?;
        let saved = Run::<_, Encoder<Mlp>, Plain>::resume_into(&path, model, q)?;
        let mut theta = vec![0.0f32; saved.model.n_theta()];
        saved.model.theta(&mut theta);
        let mut lambda = vec![0.0f32; saved.q.n_params()];
        saved.q.params(&mut lambda);
        assert!(theta.iter().chain(&lambda).all(|x| x.is_finite()));
    }
    assert!(matches!(ended, Some(Outcome::Diverged { .. })), "{ended:?}");
    std::fs::remove_file(&path).expect("it is there");

    let (model, q) = parts()?;
    // at most 0.01 a step
    let clipped = (ClipNorm(1e-5), Sgd::rate(1e3));
    let ascent = Minibatch::new(50, GradientAscent::new(Reparameterization { draws: 1 }, clipped));
    let fit = fit(model, q, ascent, budget(200))?;
    assert_eq!((fit.outcome, fit.rejected), (Outcome::StepLimit, 0));
    Ok(())
}

/// A batch that is larger than the data is noticed and is all data.
#[test]
fn a_batch_larger_than_the_data_is_said() -> Result<(), Error> {
    let images = Arc::new(digits().0.select(0..30)?);
    let (model, q) = pair(&images, 4, 2)?;
    let fit = fit(model, q, adam(1000), budget(3))?;
    let said = fit.warnings.iter().map(ToString::to_string).collect::<String>();
    assert!(said.starts_with("W20 a batch of 1000 rows was asked for, the data have 30"), "{said}");
    Ok(())
}

/// Decoder and encoder with different numbers of latents are no pair.
#[test]
fn latent_numbers_must_agree() -> Result<(), Error> {
    let images = Arc::new(digits().0.select(0..30)?);
    let ((model, _), (_, q)) = (pair(&images, 4, 2)?, pair(&images, 4, 3)?);
    let said = fit(model, q, adam(10), budget(3)).map(drop).expect_err("no pair").to_string();
    assert!(said.starts_with("E03 the family has 90 values but the model has 60"), "{said}");
    Ok(())
}

/// Every path estimator climbs with double precision as well.
#[test]
fn sticking_the_landing_climbs() -> Result<(), Error> {
    let images = pictures(40);
    let (model, q) = (decoder(&images, Likelihood::Categorical), encoder(&images));
    let vae = Vae { decoder: &model.clone(), encoder: &q.clone() };
    let before = vae.evaluate(&images, 200, 2)?;
    let inner = GradientAscent::new(StickingTheLanding { draws: 2 }, Adam::rate(0.01));
    let fit = fit(model, q, Minibatch::new(10, inner), budget(600))?;
    let vae = Vae { decoder: &fit.model, encoder: &fit.q };
    let after = vae.evaluate(&images, 200, 2)?;
    assert!(after.elbo.value > before.elbo.value + 1.0, "{before:?} {after:?}");
    assert_eq!(fit.model.network().outputs(), 30);
    Ok(())
}
