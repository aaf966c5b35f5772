//! Which parts of an autoencoder can be changed, and what does each gain? The family of an image, the
//! prior and the bound are changed one at a time; the loop stays as it is.

mod book;

use std::sync::Arc;

use elbo::data::{Images, digits};
use elbo::nn::{
    Activation, Decoder, Encoder, Evaluation, FullCovariance, Head, Likelihood, LogisticNormal,
    MeanField, Mlp, Prior, Vae,
};
use elbo::{
    Adam, DoublyReparameterized, Error, GradientAscent, GradientEstimator, Minibatch, Options,
    PerDatum, Reparameterization, StickingTheLanding, Stop, fit,
};

const LEARNED: usize = 1500;
const LATENT: usize = 2;

/// Fits, and says how well new images are explained.
// ANCHOR: fit
fn learn<H: Head, E>(
    (images, new): (&Arc<Images>, &Images),
    (prior, head): (Prior, H),
    estimator: E,
) -> Result<Evaluation, Error>
where
    E: GradientEstimator<Decoder<Mlp>, Encoder<Mlp, f32, H>, f32>,
{
    let network = Mlp::new(&[LATENT, 100, 64], Activation::Tanh, 1)?;
    let decoder =
        Decoder::new(network, images.clone(), Likelihood::Bernoulli)?.with_prior(prior)?;
    let network = Mlp::new(&[64, 100, head.outputs(LATENT)], Activation::Tanh, 2)?;
    let encoder = Encoder::with_head(network, images.clone(), head)?;
    let ascent = Minibatch::new(100, GradientAscent::new(estimator, Adam::rate(2e-3)));
    let steps = 3_000;
    let options = Options { steps, stop: Stop::Budget, elbo_every: 100, ..Options::default() };
    let fit = fit(decoder, encoder, ascent, options)?;
    Vae { decoder: &fit.model, encoder: &fit.q }.evaluate(new, 500, 1)
}
// ANCHOR_END: fit

fn main() -> Result<(), Error> {
    println!("Which parts of an autoencoder can be changed, and what does each gain?");
    let (all, _) = digits();
    let images = Arc::new(all.select(0..LEARNED)?.binarised_anew(1));
    let new = all.select(LEARNED..all.len())?.binarised(2);
    let data = (&images, &new);

    // ANCHOR: parts
    let normal = Prior::StandardNormal;
    let path = StickingTheLanding { draws: 1 };
    let plain = learn(data, (normal, MeanField), path)?;
    let full = learn(data, (normal, FullCovariance), path)?;
    let mixture = Prior::Mixture { components: 20, seed: 3 };
    let mixed = learn(data, (mixture, MeanField), path)?;
    let unit = learn(data, (Prior::Uniform, LogisticNormal), Reparameterization { draws: 1 })?;
    let weights = PerDatum(DoublyReparameterized { draws: 10, alpha: 0.0 });
    let weighted = learn(data, (normal, MeanField), weights)?;
    // ANCHOR_END: parts

    // ANCHOR: claim
    // over four seeds of the networks the first gain was 0.35 to 0.54, the loss 0.36 to 0.65 and the
    // second gain 0.15 to 0.24; the images are the same, so that their spread does not count
    assert!(weighted.bound.value > plain.bound.value + 0.2, "{weighted:?} {plain:?}");
    assert!(weighted.elbo.value < plain.elbo.value - 0.2, "{weighted:?} {plain:?}");
    assert!(mixed.bound.value > plain.bound.value, "{mixed:?} {plain:?}");
    // ANCHOR_END: claim

    let mut table =
        String::from("| what is changed | ELBO | weighted bound, 500 draws |\n|---|---|---|");
    for (name, seen) in [
        ("nothing: independent normals, a standard normal prior, the ELBO", &plain),
        ("the family: normals with a covariance for each image", &full),
        ("the family and the prior: numbers between 0 and 1, uniform", &unit),
        ("the prior: a learned mixture of 20 normals", &mixed),
        ("the bound: 10 draws weighed image by image", &weighted),
    ] {
        println!("{name}: ELBO {}, bound {}", seen.elbo, seen.bound);
        table += &format!("\n| {name} | {:.1} | {:.1} |", seen.elbo.value, seen.bound.value);
    }
    book::fragment("vae_parts", &table);
    println!(
        "OK: family, prior and bound are changed by a line each, and all are compared by one bound"
    );
    Ok(())
}
