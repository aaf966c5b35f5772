//! Can a network of another framework be the encoder and the decoder? Convolutions from burn, in the
//! loop of everything else.

use std::sync::Arc;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d, ConvTranspose2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor};
use elbo::data::digits;
use elbo::nn::{BurnNetwork, Decoder, Encoder, Likelihood, Network, Vae};
use elbo::{Adam, Error, GradientAscent, Minibatch, Options, Reparameterization, Stop, fit};

const LATENT: usize = 4;
const CHANNELS: usize = 8;

// ANCHOR: modules
/// 8 x 8 pixels to `CHANNELS` maps of 4 x 4, to mean and spread of the latent numbers.
#[derive(Module, Debug)]
struct Look {
    convolution: Conv2d,
    linear: Linear,
}

/// The way back.
#[derive(Module, Debug)]
struct Paint {
    linear: Linear,
    convolution: ConvTranspose2d,
}

fn look(module: &Look, x: Tensor<2>) -> Tensor<2> {
    let [n, _] = x.dims();
    let maps = gelu(module.convolution.forward(x.reshape([n, 1, 8, 8])));
    module.linear.forward(maps.reshape([n, CHANNELS * 16]))
}

fn paint(module: &Paint, z: Tensor<2>) -> Tensor<2> {
    let [n, _] = z.dims();
    let maps = gelu(module.linear.forward(z)).reshape([n, CHANNELS, 4, 4]);
    module.convolution.forward(maps).reshape([n, 64])
}
// ANCHOR_END: modules

fn main() -> Result<(), Error> {
    println!("Can a network of another framework be the encoder and the decoder?");
    let all = digits().0;
    let images = Arc::new(all.select(0..1500)?);
    let new = all.select(1500..1797)?;

    // ANCHOR: networks
    let device = Device::default().autodiff();
    device.seed(1);
    let module = Look {
        convolution: Conv2dConfig::new([1, CHANNELS], [3, 3])
            .with_stride([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init(&device),
        linear: LinearConfig::new(CHANNELS * 16, 2 * LATENT).init(&device),
    };
    let looking = BurnNetwork::new(module, (64, 2 * LATENT), &device, "convolution-linear", look)?;
    let module = Paint {
        linear: LinearConfig::new(LATENT, CHANNELS * 16).init(&device),
        convolution: ConvTranspose2dConfig::new([CHANNELS, 1], [4, 4])
            .with_stride([2, 2])
            .with_padding([1, 1])
            .init(&device),
    };
    let painting = BurnNetwork::new(module, (LATENT, 64), &device, "linear-convolution", paint)?;
    println!("{} weights look, {} paint", looking.n_params(), painting.n_params());
    // ANCHOR_END: networks

    // ANCHOR: fit
    let decoder = Decoder::new(painting, images.clone(), Likelihood::Bernoulli)?;
    let encoder = Encoder::new(looking, images)?;
    let ascent = GradientAscent::new(Reparameterization { draws: 1 }, Adam::rate(3e-3));
    let options = Options { steps: 900, stop: Stop::Budget, elbo_every: 50, ..Options::default() };
    let before = Vae { decoder: &decoder, encoder: &encoder }.evaluate(&new, 5, 1)?;
    let found = fit(decoder, encoder, Minibatch::new(100, ascent), options)?;
    // ANCHOR_END: fit
    let vae = Vae { decoder: &found.model, encoder: &found.q };
    let after = vae.evaluate(&new, 20, 1)?;
    println!(
        "new digits: ELBO {:.1} nats a digit before, {:.1} ± {:.1} after",
        before.elbo.value, after.elbo.value, after.elbo.mcse
    );

    // ANCHOR: claim
    // What pixels would say that know nothing of each other.
    let n = new.len() as f64;
    let alone: f64 = (0..64)
        .map(|p| {
            let mean = (0..1500).map(|i| all.pixel(i, p)).sum::<f64>() / 1500.0;
            let mean = mean.clamp(1e-3, 0.999);
            let lit = (0..new.len()).map(|i| new.pixel(i, p)).sum::<f64>();
            lit * mean.ln() + (n - lit) * (1.0 - mean).ln()
        })
        .sum::<f64>()
        / n;
    assert!(after.elbo.value - 5.0 * after.elbo.mcse > alone, "{alone} for pixels alone");
    // ANCHOR_END: claim
    println!(
        "OK: convolutions from burn explain new digits better than independent pixels ({alone:.1})"
    );
    Ok(())
}
