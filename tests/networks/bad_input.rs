//! What is wrong is said, before any step: what, where and what to do.

use std::sync::Arc;

use elbo::Error;
use elbo::data::Images;
use elbo::nn::{
    Activation, Decoder, Encoder, Encoding, Layer, Likelihood, Mlp, Network, Noise, Vae,
};

use super::{decoder, encoder, pictures};

fn message<T>(result: Result<T, Error>) -> String {
    result.err().map(|e| e.to_string()).expect("an error")
}

fn mlp(widths: &[usize]) -> Mlp {
    Mlp::new(widths, Activation::Tanh, 1).expect("widths")
}

#[test]
fn widths_that_do_not_chain_are_named() {
    let layer = |inputs: usize, outputs: usize, activation| Layer::<f64> {
        weights: vec![0.1; inputs * outputs],
        bias: vec![0.0; outputs],
        activation,
    };
    let (tanh, linear) = (Activation::Tanh, Activation::Linear);
    assert_eq!(
        message(Mlp::from_layers(vec![layer(3, 5, tanh), layer(4, 2, linear)])),
        "E03 the input of layer 1 has 4 values but the output of layer 0 has 5; make them agree"
    );
    let images = pictures(2);
    assert_eq!(
        message(Encoder::new(mlp(&[7, 5, 4]), images.clone())),
        "E03 the input of the encoder (7-5-4 tanh) has 7 values but an image of 2 x 3 pixels has 6; make them agree"
    );
    assert_eq!(
        message(Encoder::new(mlp(&[6, 5, 3]), images.clone())),
        "E03 the output of the encoder (6-5-3 tanh) has 3 values but what the mean field head reads of 2 latent numbers has 4; make them agree"
    );
    assert_eq!(
        message(Decoder::new(mlp(&[2, 5, 7]), images.clone(), Likelihood::Bernoulli)),
        "E03 the output of the decoder (2-5-7 tanh) has 7 values but what Bernoulli takes for 2 x 3 pixels has 6; make them agree"
    );
    let per_pixel = Likelihood::Gaussian(Noise::PerPixel);
    assert!(message(Decoder::new(mlp(&[2, 6]), images, per_pixel)).contains("has 12"));
}

#[test]
fn no_latent_number_and_no_layer() {
    assert_eq!(
        message(Mlp::<f32>::new(&[6, 5, 0], Activation::Tanh, 1)),
        "E10 widths[2] is 0; every layer has at least one unit"
    );
    assert!(message(Mlp::<f32>::new(&[6], Activation::Tanh, 1)).starts_with("E10 widths is [6]"));
    assert_eq!(
        message(Mlp::<f32>::new(&[0, 5, 6], Activation::Tanh, 1)),
        "E10 widths[0] is 0; every layer has at least one unit"
    );
    assert_eq!(
        message(Mlp::<f32>::from_layers(vec![])),
        "E10 layers is 0; give at least one layer"
    );
}

#[test]
fn pixels_and_variances_that_a_likelihood_cannot_take() {
    let gray = Arc::new(Images::new(vec![0.0, 1.0, 0.5, -0.25], 1, 2).expect("finite"));
    let network = || mlp(&[1, 2]);
    assert_eq!(
        message(Decoder::new(network(), gray.clone(), Likelihood::Bernoulli)),
        "E01 pixel 1 of image 1 is -0.25 (1 of 2 images). A Bernoulli likelihood takes pixels from 0 to 1: rescale them, or use a Gaussian one"
    );
    assert!(
        message(Decoder::new(network(), gray.clone(), Likelihood::Categorical))
            .starts_with("E10 likelihood is Categorical; it takes images of fixed levels")
    );
    for v in [0.0, -1.0, f64::NAN, 1e9] {
        let fixed = Likelihood::Gaussian(Noise::Fixed(v));
        let said = message(Decoder::new(network(), gray.clone(), fixed));
        assert!(said.starts_with(&format!("E10 sigma^2 is {v}; the variance must lie")), "{said}");
    }
    let nan = Images::new(vec![0.0, f32::NAN], 1, 2);
    assert!(message(nan).starts_with("E01 pixel 1 of image 0 is NaN (1 of 1 images)"));
    assert!(message(Images::new(vec![], 1, 2)).starts_with("E02 the set of images"));
}

/// A network without inputs or outputs.
#[derive(Debug)]
struct Nothing(usize, usize);

impl Network for Nothing {
    type Tape = ();
    fn inputs(&self) -> usize {
        self.0
    }
    fn outputs(&self) -> usize {
        self.1
    }
    fn n_params(&self) -> usize {
        0
    }
    fn params(&self, _: &mut [f32]) {}
    fn set_params(&mut self, _: &[f32]) {}
    fn describe(&self) -> String {
        "nothing".to_string()
    }
    fn forward(&self, _: &[f32], _: usize, y: &mut [f32], _: &mut ()) {
        y.fill(0.0);
    }
    fn backward(
        &self,
        _: &[f32],
        _: usize,
        _: &mut [f32],
        dx: &mut [f32],
        _: &mut (),
        _: &mut [f32],
    ) {
        dx.fill(0.0);
    }
}

#[test]
fn networks_of_others_without_latent_numbers() {
    let images = pictures(2);
    assert_eq!(
        message(Decoder::new(Nothing(0, 6), images.clone(), Likelihood::Bernoulli)),
        "E10 the latent dimension is 0; the decoder needs at least one latent number an image"
    );
    assert_eq!(
        message(Encoder::new(Nothing(6, 0), images)),
        "E10 the latent dimension is 0; the encoder needs at least one latent number an image"
    );
}

#[test]
fn weights_that_are_not_finite_are_named() {
    let weights = vec![0.1, f64::NAN, 0.3];
    let layer = Layer { weights, bias: vec![0.0], activation: Activation::Linear };
    assert_eq!(
        message(Mlp::from_layers(vec![layer])),
        "E01 parameter 1 of layer 0 is NaN. Weights must be finite; use an earlier checkpoint"
    );
}

/// What is asked of an autoencoder about images that are not its own.
#[test]
fn images_that_do_not_fit_the_autoencoder() -> Result<(), Error> {
    let images = pictures(5);
    let (model, q) = (decoder(&images, Likelihood::Bernoulli), encoder(&images));
    let vae = Vae { decoder: &model, encoder: &q };
    let smaller = Images::new(vec![0.5; 8], 2, 2)?;
    let says = "E03 the input of the encoder (6-7-4 softplus) has 6 values but an image has 4; make them agree";
    assert_eq!(message(vae.encode(&smaller)), says);
    assert_eq!(message(vae.reconstruct(&smaller)), says);
    assert_eq!(message(vae.evaluate(&smaller, 3, 1)), says);
    assert_eq!(message(vae.active_units(&smaller)), says);
    assert_eq!(message(vae.refine(&Arc::new(smaller), 3, 1)), says);
    let bright = Images::new(vec![2.0; 6], 2, 3)?;
    assert!(message(vae.evaluate(&bright, 3, 1)).starts_with("E01 pixel 0 of image 0 is 2 "));
    assert_eq!(
        message(vae.evaluate(&images, 0, 1)),
        "E10 draws is 0; an estimate needs at least one draw"
    );
    assert_eq!(
        message(vae.interpolate(&images, 0, 1, 1)),
        "E10 steps is 1; both ends are shown: take at least 2"
    );
    assert_eq!(
        message(vae.interpolate(&images, 0, 5, 4)),
        "E10 image is 5; there are images 0 to 4"
    );
    assert_eq!(
        message(model.mean(&[0.0; 3])),
        "E03 z has 3 values but 1 latent points of 2 numbers has 2; make them agree"
    );
    assert_eq!(message(vae.refine(&images, 0, 1)), "E10 steps is 0; take at least one step");
    let other = encoder(&images);
    let three = Mlp::<f64>::new(&[6, 6], Activation::Tanh, 4)?;
    let three = Vae { decoder: &model, encoder: &Encoder::new(three, images.clone())? };
    assert_eq!(
        message(three.reconstruct(&images)),
        "E03 a point of the decoder has 2 values but one of the encoder has 3; make them agree"
    );
    // an encoding that somebody else has made
    let right = other.encode(&images)?;
    let says = |encoding: Encoding<f64>| message(vae.evaluate_at(&images, &encoding, 3, 1));
    assert_eq!(
        says(Encoding { latent: 0, ..right.clone() }),
        "E03 a point of the encoding has 0 values but a point of the decoder has 2; make them agree"
    );
    let mut short = right.clone();
    short.sd.pop();
    assert_eq!(
        says(short),
        "E03 the standard deviations of the encoding has 9 values but 5 images with 2 latent numbers has 10; make them agree"
    );
    for (sd, mean) in [(0.0, 1.0), (-1.0, 1.0), (f64::NAN, 1.0), (1.0, f64::INFINITY)] {
        let mut wrong = right.clone();
        (wrong.sd[3], wrong.mean[3]) = (sd, mean);
        let start =
            format!("E01 latent number 1 of image 1 of the encoding is N({mean}, sd {sd}). Means");
        let said = says(wrong);
        assert!(said.starts_with(&start), "{said}");
    }
    Ok(())
}
