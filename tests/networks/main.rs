//! Networks and the variational autoencoder: gradients against finite differences, the laws of models
//! and families, exact answers, and bad input.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod bayesian;
#[cfg(feature = "burn")]
mod burn;
mod collapse;
mod decoder;
mod encoder;
mod heads;
mod linear;
mod local_noise;
mod mlp;
mod objective;
mod priors;
mod threads;
mod vae;
mod weighted;

use std::sync::Arc;

use elbo::data::Images;
use elbo::nn::{Activation, Decoder, Encoder, Likelihood, Mlp};
use elbo::{Purpose, noise::fill_normal, stream};

/// A model and a family.
pub type Both = (Decoder<Mlp<f64>, f64>, Encoder<Mlp<f64>, f64>);

/// Standard normals.
pub fn normals(n: usize, index: u64) -> Vec<f64> {
    let mut x = vec![0.0; n];
    fill_normal(&mut stream(11, Purpose::Data, index), &mut x);
    x
}

/// Pictures of 2 x 3 pixels of five levels.
pub fn pictures(n: usize) -> Arc<Images> {
    let levels =
        normals(6 * n, 1).iter().map(|x| (2.0 + x).round().clamp(0.0, 4.0) as u8).collect();
    Arc::new(Images::from_levels(levels, 2, 3, 4).expect("levels from 0 to 4"))
}

/// A decoder with two latent numbers, in double precision.
pub fn decoder(images: &Arc<Images>, likelihood: Likelihood) -> Decoder<Mlp<f64>, f64> {
    let widths = [2, 5, likelihood.outputs(images)];
    let network = Mlp::new(&widths, Activation::Tanh, 3).expect("widths");
    Decoder::new(network, images.clone(), likelihood).expect("it fits")
}

/// Its encoder.
pub fn encoder(images: &Arc<Images>) -> Encoder<Mlp<f64>, f64> {
    let network = Mlp::new(&[6, 7, 4], Activation::Softplus, 4).expect("widths");
    Encoder::new(network, images.clone()).expect("it fits")
}

/// Central differences of `f`, with truncation and rounding far below `1e-7` for functions of size 1.
pub fn slopes(x: &[f64], mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    const H: f64 = 1e-5;
    let (mut x, n) = (x.to_vec(), x.len());
    let slope = |i: usize| {
        let here = x[i];
        x[i] = here + H;
        let up = f(&x);
        x[i] = here - H;
        let down = f(&x);
        x[i] = here;
        (up - down) / (2.0 * H)
    };
    (0..n).map(slope).collect()
}
