//! What is wrong is said, before any step: what, where and what to do.

use std::sync::Arc;

use elbo::Error;
use elbo::data::Images;
use elbo::nn::{Activation, Decoder, Encoder, Layer, Likelihood, Mlp, Noise};

use super::pictures;

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
        "E03 the output of the encoder (6-5-3 tanh) has 3 values but a mean and a variance for each latent number has 4; make them agree"
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
