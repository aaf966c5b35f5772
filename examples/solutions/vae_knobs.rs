//! Solutions of the exercises of the chapter on the knobs of an autoencoder.

use std::f64::consts::PI;
use std::sync::Arc;

use elbo::data::{Images, digits};
use elbo::nn::{Activation, Decoder, Encoder, Evaluation, Likelihood, Mlp, Noise, Vae};
use elbo::noise::fill_normal;
use elbo::{
    Adam, ClosedFormKl, Error, GradientAscent, Minibatch, Options, Purpose, Schedule, Stop, fit,
    stream,
};

pub fn solutions() -> Result<(), Error> {
    warmed()?;
    freed()?;
    learned()
}

// ANCHOR: rows
/// A linear autoencoder with two units, on rows of two numbers whose variances are 4 and 0.1, under
/// noise of 0.5: one unit is worth its price.
fn linear(estimator: ClosedFormKl) -> Result<Evaluation, Error> {
    let mut numbers = vec![0.0f32; 2 * 300];
    fill_normal(&mut stream(1, Purpose::Data, 0), &mut numbers);
    for row in numbers.chunks_exact_mut(2) {
        row[0] *= 2.0;
        row[1] *= 0.1f32.sqrt();
    }
    let rows = Arc::new(Images::new(numbers, 1, 2)?);
    let network = Mlp::<f64>::new(&[2, 2], Activation::Linear, 1)?;
    let decoder = Decoder::new(network, rows.clone(), Likelihood::Gaussian(Noise::Fixed(0.5)))?;
    let encoder = Encoder::new(Mlp::new(&[2, 4], Activation::Linear, 2)?, rows.clone())?;
    let ascent = Minibatch::new(100, GradientAscent::new(estimator, Adam::rate(0.01)));
    let options = Options { steps: 4_000, stop: Stop::Budget, ..Options::default() };
    let fit = fit(decoder, encoder, ascent, options)?;
    Vae { decoder: &fit.model, encoder: &fit.q }.evaluate(&rows, 100, 1)
}
// ANCHOR_END: rows

/// A warm-up cannot save a unit that the noise drowns.
fn warmed() -> Result<(), Error> {
    // ANCHOR: warmed
    let warming = Schedule::Linear { steps: 2_000, from: 0.0, to: 1.0 };
    let cold = linear(ClosedFormKl::new(1))?;
    let warm = linear(ClosedFormKl::new(1).scheduled(warming))?;
    assert_eq!((cold.collapsed().len(), warm.collapsed().len()), (1, 1));
    assert!((cold.elbo.value - warm.elbo.value).abs() < 0.02);
    // ANCHOR_END: warmed
    Ok(())
}

/// Free nats keep the unit, and lower the bound.
fn freed() -> Result<(), Error> {
    // ANCHOR: freed
    let plain = linear(ClosedFormKl::new(1))?;
    let freed = linear(ClosedFormKl::new(1).free(0.3))?;
    assert!(freed.collapsed().is_empty() && freed.kl.iter().all(|&kl| kl > 0.2));
    assert!(freed.elbo.value < plain.elbo.value - 0.05);
    // ANCHOR_END: freed
    Ok(())
}

/// A learned variance of the pixels ends where it is the mean square of what is left.
fn learned() -> Result<(), Error> {
    // ANCHOR: learned
    let images = Arc::new(digits().0);
    let network = Mlp::<f32>::new(&[4, 32, 64], Activation::Tanh, 1)?;
    let noise = Likelihood::Gaussian(Noise::Learned(0.05));
    let decoder = Decoder::new(network, images.clone(), noise)?;
    let encoder = Encoder::new(Mlp::new(&[64, 32, 8], Activation::Tanh, 2)?, images.clone())?;
    let ascent = GradientAscent::new(ClosedFormKl::new(1), Adam::rate(2e-3));
    let options = Options { steps: 3_000, stop: Stop::Budget, ..Options::default() };
    let fit = fit(decoder, encoder, Minibatch::new(100, ascent), options)?;
    let seen = Vae { decoder: &fit.model, encoder: &fit.q }.evaluate(&images, 20, 1)?;
    let variance = fit.model.variance().unwrap_or(f64::NAN);
    // the reconstruction is -32 (ln(2 pi sigma^2) + left / sigma^2): what is left, a pixel
    let left = -variance * ((2.0 * PI * variance).ln() + seen.reconstruction.value / 32.0);
    assert!((left / variance - 1.0).abs() < 0.05, "{left} {variance}");
    // ANCHOR_END: learned
    Ok(())
}
