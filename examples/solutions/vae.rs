//! Solutions of the exercises of the chapter on the variational autoencoder.

use std::sync::Arc;

use elbo::data::{Images, digits};
use elbo::nn::{Activation, Decoder, Encoder, Likelihood, Mlp, Vae};
use elbo::{Adam, ClosedFormKl, Error, Fit, GradientAscent, Minibatch, Options, Stop, fit};

pub fn solutions() -> Result<(), Error> {
    weight()?;
    certainty();
    by_itself()
}

type Pair = Fit<Decoder<Mlp>, Encoder<Mlp>>;

fn learn(images: &Arc<Images>, beta: f64) -> Result<Pair, Error> {
    let network = Mlp::new(&[4, 32, 64], Activation::Tanh, 1)?;
    let decoder = Decoder::new(network, images.clone(), Likelihood::Bernoulli)?;
    let network = Mlp::new(&[64, 32, 8], Activation::Tanh, 2)?;
    let encoder = Encoder::new(network, images.clone())?;
    let ascent = GradientAscent::new(ClosedFormKl::new(1).beta(beta), Adam::rate(2e-3));
    let options = Options { steps: 1_200, stop: Stop::Budget, ..Options::default() };
    fit(decoder, encoder, Minibatch::new(100, ascent), options)
}

/// A heavier divergence is smaller, and the reconstruction with it worse.
fn weight() -> Result<(), Error> {
    // ANCHOR: weight
    let images = Arc::new(digits().0);
    let mut terms = Vec::new();
    for beta in [0.25, 1.0, 4.0] {
        let fit = learn(&images, beta)?;
        let seen = Vae { decoder: &fit.model, encoder: &fit.q }.evaluate(&images, 5, 1)?;
        terms.push((seen.kl_total(), seen.reconstruction.value));
    }
    assert!(terms[0].0 > terms[1].0 && terms[1].0 > terms[2].0);
    assert!(terms[0].1 > terms[1].1 && terms[1].1 > terms[2].1);
    // ANCHOR_END: weight
    Ok(())
}

/// The divergence of a normal whose standard deviation goes to zero grows like minus its logarithm.
fn certainty() {
    // ANCHOR: certainty
    let kl = |sd: f64| 0.5 * (sd * sd - 1.0) - sd.ln();
    for sd in [0.1, 0.01, 0.001] {
        let slope = (kl(sd / 1.1) - kl(sd)) / 1.1f64.ln();
        assert!((slope - 1.0).abs() < 0.01);
    }
    // ANCHOR_END: certainty
}

/// What the encoder gives away is there to be had, image by image.
fn by_itself() -> Result<(), Error> {
    // ANCHOR: itself
    let images = Arc::new(digits().0.select(0..300)?);
    let fit = learn(&images, 1.0)?;
    let vae = Vae { decoder: &fit.model, encoder: &fit.q };
    let few = Arc::new(images.select(0..50)?);
    let refined = vae.refine(&few, 300, 1)?;
    let encoder = vae.evaluate(&few, 200, 2)?;
    let best = vae.evaluate_at(&few, &refined, 200, 2)?;
    assert!(best.elbo.value > encoder.elbo.value);
    // ANCHOR_END: itself
    Ok(())
}
