//! Solutions of the exercises of the chapter on the price of amortization.

use std::sync::Arc;

use elbo::data::Images;
use elbo::nn::{Activation, Decoder, Encoder, FixedDecoder, Likelihood, Mlp, Noise, Vae};
use elbo::noise::fill_normal;
use elbo::{
    Adam, Error, Fit, GradientAscent, MeanFieldGaussian, Minibatch, Options, Purpose, Schedule,
    Scheduled, Space, StickingTheLanding, Stop, density, fit, from_fn, stream,
};

use super::book::integrate;

pub fn solutions() -> Result<(), Error> {
    head_start()?;
    two_answers()?;
    held_back()
}

type Pair = Fit<Decoder<Mlp<f64>, f64>, Encoder<Mlp<f64>, f64>>;

/// The wave of the example, with the autoencoder fitted to it.
fn learn(hidden: &[usize]) -> Result<(Arc<Images>, Pair), Error> {
    let mut noise = vec![0.0f64; 3 * 300];
    fill_normal(&mut stream(1, Purpose::Data, 0), &mut noise);
    let numbers = noise
        .chunks_exact(3)
        .flat_map(|e| [0.5 * e[0] + 0.2 * e[1], (1.5 * e[0]).sin() + 0.2 * e[2]])
        .map(|x| x as f32)
        .collect();
    let rows = Arc::new(Images::new(numbers, 1, 2)?);
    let network = Mlp::<f64>::new(&[1, 16, 2], Activation::Tanh, 1)?;
    let noise = Likelihood::Gaussian(Noise::Fixed(0.04));
    let decoder = Decoder::new(network, rows.clone(), noise)?;
    let widths = [&[2], hidden, &[2]].concat();
    let encoder = Encoder::new(Mlp::new(&widths, Activation::Tanh, 2)?, rows.clone())?;
    let (ascent, options) = climb(3_000, 1e-2);
    Ok((rows, fit(decoder, encoder, Minibatch::new(100, ascent), options)?))
}

type Ascent = GradientAscent<StickingTheLanding, Scheduled<Adam<f64>>>;

fn climb(steps: usize, rate: f64) -> (Ascent, Options) {
    let falling = Schedule::Cosine { steps: steps as u64, floor: 0.01 };
    let optimizer = Scheduled::new(Adam::rate(rate), falling);
    let ascent = GradientAscent::new(StickingTheLanding { draws: 4 }, optimizer);
    (ascent, Options { steps, stop: Stop::Budget, ..Options::default() })
}

/// From the encoder's answer a climb for each row is ahead at first; in the end it is not.
fn head_start() -> Result<(), Error> {
    // ANCHOR: start
    let (rows, fitted) = learn(&[4])?;
    let vae = Vae { decoder: &fitted.model, encoder: &fitted.q };
    let said = vae.encode(&rows)?;
    let climbed = |start: MeanFieldGaussian, steps| {
        let (ascent, options) = climb(steps, 0.05);
        let q = fit(FixedDecoder::new(fitted.model.clone()), start, ascent, options)?.q;
        let q = elbo::nn::Encoding { latent: 1, mean: q.mean().to_vec(), sd: q.sd().to_vec() };
        vae.evaluate_at(&rows, &q, 500, 1).map(|seen| seen.elbo.value)
    };
    let prior = || MeanFieldGaussian::standard(300);
    let encoder = || MeanFieldGaussian::new(said.mean.clone(), &said.sd);
    let (early, late) =
        ((climbed(prior(), 20)?, climbed(encoder()?, 20)?), climbed(encoder()?, 600)?);
    assert!(early.1 > early.0 + 0.5 && (climbed(prior(), 600)? - late).abs() < 0.02);
    // ANCHOR_END: start
    Ok(())
}

/// Where two `z` explain a row, the approximation gap is the logarithm of two, whatever the encoder.
fn two_answers() -> Result<(), Error> {
    // ANCHOR: two
    let log_joint = |z: f64| density::normal(z, 0.0, 1.0) + density::normal(2.0, z * z, 0.2);
    let evidence = integrate(-4.0, 4.0, 2_001, |z| log_joint(z).exp()).ln();
    let mut space = Space::new();
    let z = space.real("z");
    for side in [-1.0, 1.0] {
        let model = from_fn(space.clone(), move |all| {
            density::normal(all[z], 0.0, 1.0) + density::normal(all[z] * all[z], 2.0, 0.2)
        });
        let (ascent, options) = climb(2_000, 0.02);
        let q = fit(model, MeanFieldGaussian::new(vec![side], &[0.1])?, ascent, options)?.q;
        let (mean, sd) = (q.mean()[0], q.sd()[0]);
        let bound = integrate(-4.0, 4.0, 8_001, |z| {
            let log_q = density::normal(z, mean, sd);
            log_q.exp() * (log_joint(z) - log_q)
        });
        assert!(mean * side > 0.0 && (evidence - bound - 2f64.ln()).abs() < 0.01);
    }
    // ANCHOR_END: two
    Ok(())
}

/// A decoder that is learned with an encoder of few means is itself worse.
fn held_back() -> Result<(), Error> {
    // ANCHOR: held
    let evidence = |hidden: &[usize]| {
        let (rows, fitted) = learn(hidden)?;
        let vae = Vae { decoder: &fitted.model, encoder: &fitted.q };
        // of the best q there is for each row, so that the decoder alone is judged
        let best = vae.refine(&rows, 500, 1)?;
        vae.evaluate_at(&rows, &best, 500, 1).map(|seen| seen.bound.value)
    };
    let (linear, wide) = (evidence(&[])?, evidence(&[32])?);
    assert!(linear < wide - 0.01);
    // ANCHOR_END: held
    Ok(())
}
