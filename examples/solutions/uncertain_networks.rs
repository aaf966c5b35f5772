//! Chapter 20.

use elbo::models::linear_regression::LinearRegression;
use elbo::nn::{Activation, BayesianNeuralNetwork, Mlp, Network};
use elbo::{
    Adam, Averaged, ClipNorm, DMatrix, Draws, Error, FullRankGaussian, GradientAscent,
    MeanFieldGaussian, Model, Options, Posterior, StickingTheLanding, fit,
};

pub fn solutions() -> Result<(), Error> {
    bounded_units()?;
    no_hidden_layer()?;
    all_alike()
}

/// Rows in `(-1.5, -0.5)` and `(0.5, 1.5)`, and a wave at them.
fn wave() -> (Vec<f64>, Vec<f64>) {
    let x: Vec<f64> = (0..60)
        .map(|i| {
            let u = f64::from(i / 2) / 30.0;
            if i % 2 == 0 { 0.5 + u } else { -0.5 - u }
        })
        .collect();
    // a fixed ripple in place of noise
    let y = x.iter().enumerate().map(|(i, &x)| (2.5 * x).sin() + 0.1 * (37.0 * i as f64).sin());
    let y = y.collect();
    (x, y)
}

fn mean_field(model: &BayesianNeuralNetwork, start: Vec<f64>) -> Result<Draws, Error> {
    let sd = vec![0.02; start.len()];
    let optimizer = (ClipNorm(1000.0), Averaged::new(Adam::rate(0.01)));
    let ascent = GradientAscent::new(StickingTheLanding { draws: 8 }, optimizer);
    let options = Options { steps: 2_000, ..Options::default() };
    let q = MeanFieldGaussian::new(start, &sd)?;
    let found = fit(model.clone().unconstrained(), q, ascent, options)?;
    Posterior::new(found.model.space(), found.q)?.draws(200, 1)
}

fn random_start(model: &BayesianNeuralNetwork) -> Vec<f64> {
    let mut start = vec![-1.8; model.dim()];
    model.network().params(&mut start[..model.dim() - 1]);
    start
}

// ANCHOR: one
fn bounded_units() -> Result<(), Error> {
    let (x, y) = wave();
    let mut ratios = Vec::new();
    for activation in [Activation::Tanh, Activation::Gelu] {
        let network = Mlp::new(&[1, 20, 1], activation, 1)?;
        let model = BayesianNeuralNetwork::new(network, &x, &y)?.wider(2.0)?;
        let draws = mean_field(&model, random_start(&model))?;
        let at = model.predict(draws.rows(), &[1.5, 4.0], 0.9)?;
        ratios.push(at.function_sd[1] / at.function_sd[0]);
    }
    assert!(ratios[0] < 1.5 && ratios[1] > 2.0, "{ratios:?}");
    Ok(())
}
// ANCHOR_END: one

// ANCHOR: two
fn no_hidden_layer() -> Result<(), Error> {
    let (x, _) = wave();
    let y: Vec<f64> =
        x.iter().enumerate().map(|(i, x)| 0.8 * x - 0.3 + 0.2 * (37.0 * i as f64).sin()).collect();
    let network = Mlp::new(&[1, 1], Activation::Linear, 1)?;
    let model = BayesianNeuralNetwork::new(network, &x, &y)?;
    let optimizer = (ClipNorm(1000.0), Averaged::new(Adam::rate(0.01)));
    let ascent = GradientAscent::new(StickingTheLanding { draws: 16 }, optimizer);
    let options = Options { steps: 4_000, ..Options::default() };
    let q = FullRankGaussian::new(vec![0.0, 0.0, -1.0], &(DMatrix::identity(3, 3) * 0.01))?;
    let found = fit(model.unconstrained(), q, ascent, options)?;
    let draws = Posterior::new(found.model.space(), found.q)?.draws(4_000, 1)?;
    let noise = draws.mean_of(|z| z[2]);

    // the prior sd is 1 for the slope (one input) and 1 for the bias
    let design: Vec<f64> = x.iter().flat_map(|&x| [x, 1.0]).collect();
    let exact = LinearRegression::new(&design, 2, &y)?.known_noise(noise, 1.0)?;
    for i in 0..2 {
        let (mean, sd) = (draws.mean_of(|z| z[i]), exact.covariance[3 * i].sqrt());
        assert!((mean - exact.mean[i]).abs() < 0.1 * sd, "{mean} against {}", exact.mean[i]);
        let spread = draws.mean_of(|z| (z[i] - mean).powi(2)).sqrt();
        assert!((spread / sd - 1.0).abs() < 0.1, "{spread} against {sd}");
    }
    Ok(())
}
// ANCHOR_END: two

// ANCHOR: three
fn all_alike() -> Result<(), Error> {
    let (x, y) = wave();
    let network = Mlp::new(&[1, 20, 1], Activation::Gelu, 1)?;
    let model = BayesianNeuralNetwork::new(network, &x, &y)?.wider(2.0)?;
    let noise = |draws: Draws| draws.column("noise").map(|n| n.iter().sum::<f64>() / 200.0);
    let alike = noise(mean_field(&model, vec![0.0; model.dim()])?)?;
    let apart = noise(mean_field(&model, random_start(&model))?)?;
    assert!(alike > 2.0 * apart, "noise {alike} against {apart}");
    Ok(())
}
// ANCHOR_END: three
