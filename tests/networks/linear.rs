//! A linear autoencoder with learned noise is probabilistic principal component analysis: its bound at
//! the maximum is the closed form's log likelihood.

use std::sync::Arc;

use elbo::data::{IRIS, Images, Observations};
use elbo::models::FactorAnalysis;
use elbo::nn::{Activation, Decoder, Encoder, Likelihood, Mlp, Noise, Vae};
use elbo::{Adam, GradientAscent, Options, Schedule, Scheduled, StickingTheLanding, Stop, fit};

use super::support::{exact_cases, numbers, table};

/// The bound of all rows that a linear autoencoder with `q` latent numbers reaches.
fn linear(rows: &[f64], columns: usize, q: usize) -> f64 {
    // around their mean, which moves nothing but where the climb begins
    let n = (rows.len() / columns) as f64;
    let mean = |j: usize| rows.iter().skip(j).step_by(columns).sum::<f64>() / n;
    let means: Vec<f64> = (0..columns).map(mean).collect();
    let numbers = rows.iter().zip(means.iter().cycle()).map(|(x, m)| (x - m) as f32).collect();
    let rows = Arc::new(Images::new(numbers, 1, columns).expect("finite"));
    let layer =
        |widths: &[usize], seed| Mlp::<f64>::new(widths, Activation::Linear, seed).expect("widths");
    let likelihood = Likelihood::Gaussian(Noise::Learned(1.0));
    let model = Decoder::new(layer(&[q, columns], 1), rows.clone(), likelihood).expect("it fits");
    let encoder = Encoder::new(layer(&[columns, 2 * q], 2), rows.clone()).expect("it fits");
    let steps = 8_000;
    let falling = Schedule::Cosine { steps: steps as u64, floor: 1e-3 };
    let ascent = GradientAscent::new(
        StickingTheLanding { draws: 4 },
        Scheduled::new(Adam::rate(0.02), falling),
    );
    let options = Options { steps, stop: Stop::Budget, elbo_every: 100, ..Options::default() };
    let fit = fit(model, encoder, ascent, options).expect("it runs");
    let vae = Vae { decoder: &fit.model, encoder: &fit.q };
    rows.len() as f64 * vae.evaluate(&rows, 2_000, 1).expect("it fits").elbo.value
}

#[test]
fn it_meets_the_closed_form() {
    let x: Vec<f64> = IRIS.concat();
    let data = Observations::new(x.clone(), 4).expect("iris");
    let model = FactorAnalysis::principal(data, 2).expect("fine");
    let want = model.closed_form().expect("no cell is missing").log_likelihood();
    let elbo = linear(&x, 4, 2);
    assert!((elbo / want - 1.0).abs() < 1e-3, "{elbo} {want}");
}

#[test]
fn it_meets_the_reference_cases() {
    for case in exact_cases("ppca") {
        let q = case["inputs"]["q"].as_u64().expect("a number") as usize;
        let (x, columns) = match case["inputs"]["dataset"].as_str() {
            Some("iris") => match table("exact/data/iris.csv", 4) {
                Some(x) => (x, 4),
                None => continue,
            },
            _ => {
                let rows = case["inputs"]["X"].as_array().expect("rows");
                let x = numbers(&case["inputs"]["X"]);
                (x.clone(), x.len() / rows.len())
            }
        };
        let want = case["expected"]["log_likelihood"].as_f64().expect("a number");
        let elbo = linear(&x, columns, q);
        assert!((elbo / want - 1.0).abs() < 1e-3, "{}: {elbo} {want}", case["id"]);
    }
}
