//! Where does a variational autoencoder go if it is linear? To probabilistic principal component
//! analysis, whose answer is known in closed form; and units that the noise drowns collapse.

mod book;

use std::f64::consts::PI;
use std::sync::Arc;

use book::{Figure, grid};
use elbo::data::Images;
use elbo::nn::{Activation, Decoder, Encoder, Likelihood, Mlp, Noise, Vae};
use elbo::{
    Adam, Error, GradientAscent, Options, Schedule, Scheduled, StickingTheLanding, Stop, fit,
};

/// The eigenvalues of the covariance of the data.
const SPECTRUM: [f64; 6] = [9.0, 4.0, 2.0, 0.8, 0.3, 0.1];

/// Twelve rows with exactly this spectrum: two on each axis of a rotated frame.
fn rows() -> Result<Arc<Images>, Error> {
    let d = SPECTRUM.len();
    let mut axes = vec![vec![0.0; d]; d];
    for (i, axis) in axes.iter_mut().enumerate() {
        // the discrete cosine transform is a rotation
        for (j, a) in axis.iter_mut().enumerate() {
            let size = if i == 0 { 1.0 } else { 2.0 } / d as f64;
            *a = size.sqrt() * (PI * i as f64 * (j as f64 + 0.5) / d as f64).cos();
        }
    }
    let mut numbers = Vec::new();
    for (axis, value) in axes.iter().zip(SPECTRUM) {
        for side in [1.0, -1.0] {
            numbers.extend(axis.iter().map(|a| (side * (d as f64 * value).sqrt() * a) as f32));
        }
    }
    Ok(Arc::new(Images::new(numbers, 1, d)?))
}

/// The log likelihood of a row at the best probabilistic principal components with this noise
/// (Tipping and Bishop 1999): directions above the noise have the variance of the data.
fn closed_form(noise: f64) -> f64 {
    let term = |value: f64| match value > noise {
        true => value.ln() + 1.0,
        false => noise.ln() + value / noise,
    };
    -0.5 * SPECTRUM.iter().map(|&v| (2.0 * PI).ln() + term(v)).sum::<f64>()
}

fn main() -> Result<(), Error> {
    println!("Where does a variational autoencoder go if it is linear?");
    let rows = rows()?;
    let mut table = String::from(
        "| $\\sigma^2$ | eigenvalues above | active units | bound of a row | closed form |\n|---|---|---|---|---|",
    );
    let noises = [0.05, 0.2, 0.5, 1.0, 3.0, 5.0];
    let mut counts = Vec::new();
    for noise in noises {
        // ANCHOR: linear
        let d = SPECTRUM.len();
        let layer = |widths: &[usize], seed| Mlp::<f64>::new(widths, Activation::Linear, seed);
        let likelihood = Likelihood::Gaussian(Noise::Fixed(noise));
        let decoder = Decoder::new(layer(&[d, d], 1)?, rows.clone(), likelihood)?;
        let encoder = Encoder::new(layer(&[d, 2 * d], 2)?, rows.clone())?;
        let steps = 10_000;
        let falling = Schedule::Cosine { steps: steps as u64, floor: 1e-3 };
        let ascent = GradientAscent::new(
            StickingTheLanding { draws: 8 },
            Scheduled::new(Adam::rate(0.02), falling),
        );
        let options = Options { steps, stop: Stop::Budget, ..Options::default() };
        let fit = fit(decoder, encoder, ascent, options)?;
        let vae = Vae { decoder: &fit.model, encoder: &fit.q };
        let seen = vae.evaluate(&rows, 4_000, 1)?;

        let active = seen.kl.iter().filter(|&&kl| kl > 0.01).count();
        let above = SPECTRUM.iter().filter(|&&value| value > noise).count();
        assert_eq!(active, above);
        // at a posterior that is exact, every weight says the evidence
        assert!((seen.bound.value - closed_form(noise)).abs() < 5e-4 * closed_form(noise).abs());
        // the others are named
        let w10 = format!("W10 {} of {d} latent units carr", d - above);
        let said = seen.warnings().iter().any(|w| w.to_string().starts_with(&w10));
        assert_eq!(said, above < d);
        // ANCHOR_END: linear
        counts.push(active as f64);
        table += &format!(
            "\n| {noise} | {above} | {active} | {:.2} | {:.2} |",
            seen.bound.value,
            closed_form(noise)
        );
        println!(
            "sigma^2 {noise:<4}: {active} of {d} units active, {:.4} where the closed form says {:.4}",
            seen.bound.value,
            closed_form(noise)
        );
    }
    book::fragment("linear_vae", &table);
    let all: Vec<f64> = grid(0.03f64.ln(), 8f64.ln(), 800).iter().map(|l| l.exp()).collect();
    let above = |noise: &f64| SPECTRUM.iter().filter(|&value| value > noise).count() as f64;
    Figure::new("How many units are worth their price")
        .axes("variance of the noise", "units")
        .log_x()
        .line("eigenvalues above the noise", &all, &all.iter().map(above).collect::<Vec<_>>())
        .points("active units of the fit", &noises, &counts)
        .save_or_check("linear_vae");
    println!(
        "OK: a linear autoencoder finds the principal components, and collapse is the best answer below the noise"
    );
    Ok(())
}
