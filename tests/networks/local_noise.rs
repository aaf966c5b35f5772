//! Noise for each unit and datum: slopes, the mean of the estimate, what has no noise, how much less.

use elbo::nn::{Activation, BayesianNeuralNetwork, LocalReparameterization, Mlp, Network};
use elbo::{
    Adam, Error, Family, GradientAscent, GradientEstimator, MeanFieldGaussian, Minibatch, Model,
    Options, Purpose, Reparameterization, StickingTheLanding, Stop, Subsample, Unconstrained, fit,
    stream,
};

use super::support::assert_close;
use super::{normals, slopes};

const ROWS: usize = 150;

type Bnn = Unconstrained<BayesianNeuralNetwork>;

fn model(widths: &[usize], activation: Activation) -> Bnn {
    let network = Mlp::new(widths, activation, 2).expect("widths");
    BayesianNeuralNetwork::new(network, &normals(widths[0] * ROWS, 2), &normals(ROWS, 3))
        .and_then(|m| m.wider(1.5))
        .and_then(|m| m.noise_scale(0.7))
        .expect("finite rows")
        .unconstrained()
}

/// Means around 0 and sds between 0.1 and 1.
fn family(model: &Bnn) -> MeanFieldGaussian {
    let sd: Vec<f64> = normals(model.dim(), 5).iter().map(|x| (0.4 * x - 1.2).exp()).collect();
    let mean = normals(model.dim(), 4).iter().map(|x| 0.6 * x).collect();
    MeanFieldGaussian::new(mean, &sd).expect("positive sds")
}

/// One estimate, from the noise of this number: the gradient, and the ELBO.
fn once<E: GradientEstimator<Bnn, MeanFieldGaussian>>(
    mut estimator: E,
    model: &Bnn,
    q: &MeanFieldGaussian,
    index: u64,
) -> (Vec<f64>, f64) {
    let mut grad = vec![0.0; q.n_params()];
    let mut rng = stream(3, Purpose::Step, index);
    let scratch = &mut E::Scratch::default();
    let elbo = estimator.estimate(model, q, &mut rng, scratch, &mut [], &mut grad);
    (grad, elbo.expect("finite"))
}

fn lambda(q: &MeanFieldGaussian) -> Vec<f64> {
    let mut lambda = vec![0.0; q.n_params()];
    q.params(&mut lambda);
    lambda
}

/// With the noise held fixed the ELBO is a function of the parameters, and the estimate its slope: one
/// hidden layer and two, every activation, some rows for all.
#[test]
fn the_estimate_is_the_slope_of_the_elbo_at_fixed_noise() {
    for (widths, activation, draws) in [
        (&[3, 5, 4, 1][..], Activation::Tanh, 3),
        (&[3, 5, 4, 1], Activation::Gelu, 1),
        (&[2, 6, 1], Activation::Softplus, 2),
        (&[1, 7, 3, 3, 1], Activation::Relu, 2),
        (&[4, 1], Activation::Linear, 5),
    ] {
        let mut model = model(widths, activation);
        for rows in [(0..ROWS).collect(), vec![3, 77, 140, 4]] {
            model.subsample(&rows);
            let q = family(&model);
            let estimator = LocalReparameterization { draws };
            let (grad, elbo) = once(estimator, &model, &q, 1);
            let slope = slopes(&lambda(&q), |at| {
                let mut moved = q.clone();
                moved.set_params(at);
                once(estimator, &model, &moved, 1).1
            });
            for (i, (g, slope)) in grad.iter().zip(slope).enumerate() {
                // differences of numbers of size |elbo|, over steps of 1e-5
                let tolerance = 2e-6 * (1.0 + g.abs()) + 1e-10 * elbo.abs();
                assert!((g - slope).abs() < tolerance, "{widths:?} {i}: {g} against {slope}");
            }
        }
    }
}

/// Means and variances of each coordinate over so many estimates; the ELBO is the last.
fn moments<E: GradientEstimator<Bnn, MeanFieldGaussian> + Copy>(
    estimator: E,
    model: &Bnn,
    q: &MeanFieldGaussian,
    estimates: u64,
) -> (Vec<f64>, Vec<f64>) {
    let n = q.n_params() + 1;
    let (mut mean, mut variance) = (vec![0.0; n], vec![0.0; n]);
    for k in 0..estimates {
        let (mut all, elbo) = once(estimator, model, q, k);
        all.push(elbo);
        for ((mean, variance), x) in mean.iter_mut().zip(&mut variance).zip(all) {
            let off = x - *mean;
            *mean += off / (k + 1) as f64;
            *variance += off * (x - *mean);
        }
    }
    variance.iter_mut().for_each(|variance| *variance /= (estimates - 1) as f64);
    (mean, variance)
}

/// Its mean is that of draws of the weights, for gradient and ELBO.
#[test]
fn the_estimate_is_unbiased() {
    const ESTIMATES: u64 = 20_000;
    for (widths, activation) in
        [(&[2, 4, 3, 1][..], Activation::Tanh), (&[2, 3, 1], Activation::Gelu)]
    {
        let model = model(widths, activation);
        let q = family(&model);
        let weights = moments(Reparameterization { draws: 1 }, &model, &q, ESTIMATES);
        let units = moments(LocalReparameterization { draws: 1 }, &model, &q, ESTIMATES);
        for i in 0..weights.0.len() {
            let se = ((weights.1[i] + units.1[i]) / ESTIMATES as f64).sqrt();
            let off = (weights.0[i] - units.0[i]) / se;
            // of about 100 normals all lie within 5 but once in 20 000 times
            assert!(off.abs() < 5.0, "{widths:?} {i}: {off} standard errors");
        }
    }
}

/// Without hidden layers the ELBO has a closed form, and no estimate differs from it.
#[test]
fn without_hidden_layers_there_is_no_noise() {
    let model = model(&[2, 1], Activation::Linear);
    let q = family(&model);
    let (mean, sd) = (q.mean(), q.sd());
    let (x, y) = (normals(2 * ROWS, 2), normals(ROWS, 3));
    let squares: f64 = x
        .chunks_exact(2)
        .zip(&y)
        .map(|(x, y)| {
            let f = x[0] * mean[0] + x[1] * mean[1] + mean[2];
            let v = (x[0] * sd[0]).powi(2) + (x[1] * sd[1]).powi(2) + sd[2] * sd[2];
            (y - f) * (y - f) + v
        })
        .sum();
    let log_2pi = (2.0 * std::f64::consts::PI).ln();
    let (m, v) = (mean[3], sd[3] * sd[3]);
    let likelihood =
        -(ROWS as f64) * (0.5 * log_2pi + m) - 0.5 * squares * (2.0 * v - 2.0 * m).exp();
    // minus the divergence of the weights; E log of the half-normal, and of the map, and the entropy
    let mut expected = likelihood;
    for (i, sd_prior) in [1.5 / 2f64.sqrt(), 1.5 / 2f64.sqrt(), 1.5].into_iter().enumerate() {
        let ratio = sd[i] / sd_prior;
        expected += 0.5 - 0.5 * (ratio * ratio + (mean[i] / sd_prior).powi(2)) + ratio.ln();
    }
    expected += 2f64.ln() - 0.5 * log_2pi - 0.7f64.ln() - 0.5 * (2.0 * (m + v)).exp() / 0.49;
    expected += m + 0.5 * (log_2pi + 1.0) + 0.5 * v.ln();
    let first = once(LocalReparameterization { draws: 1 }, &model, &q, 1);
    assert_close("the ELBO", first.1, expected, 1e-12);
    for (draws, index) in [(1, 2), (7, 3)] {
        assert_eq!(once(LocalReparameterization { draws }, &model, &q, index), first);
    }
}

/// A wave with noise in 60 rows, 20 hidden units: after a fit the gradient has a tenth of the variance.
#[test]
fn the_variance_is_a_tenth_of_that_of_drawn_weights() -> Result<(), Error> {
    let x: Vec<f64> = (0..60).map(|i| -2.0 + f64::from(i) / 15.0).collect();
    let noise = normals(60, 6);
    let y: Vec<f64> = x.iter().zip(noise).map(|(x, e)| (2.0 * x).sin() + 0.1 * e).collect();
    let network = Mlp::new(&[1, 20, 1], Activation::Gelu, 1)?;
    let model = BayesianNeuralNetwork::new(network, &x, &y)?.wider(2.0)?;
    let mut start = vec![-1.8; model.dim()];
    let weights = model.dim() - 1;
    model.network().params(&mut start[..weights]);
    let q = MeanFieldGaussian::new(start, &vec![0.02; model.dim()])?;
    let ascent = GradientAscent::new(LocalReparameterization { draws: 1 }, Adam::rate(0.01));
    let options = Options { steps: 1500, stop: Stop::Budget, ..Options::default() };
    let found = fit(model.unconstrained(), q, ascent, options)?;
    let (model, q) = (found.model, found.q);
    let of = |variance: Vec<f64>| {
        let d = weights + 1;
        let sum = |range: std::ops::Range<usize>| variance[range].iter().sum::<f64>();
        [sum(0..weights), sum(d..d + weights)]
    };
    let units = of(moments(LocalReparameterization { draws: 1 }, &model, &q, 1000).1);
    for drawn in [
        of(moments(Reparameterization { draws: 1 }, &model, &q, 1000).1),
        of(moments(StickingTheLanding { draws: 1 }, &model, &q, 1000).1),
    ] {
        let ratios = [drawn[0] / units[0], drawn[1] / units[1]];
        println!("variance of means and log sds, drawn weights against drawn units: {ratios:?}");
        assert!(ratios.iter().all(|ratio| *ratio > 10.0), "{ratios:?}");
    }
    Ok(())
}

/// In the loop, some rows at a time, the noise of the data is found.
#[test]
fn some_rows_at_a_time_find_the_noise() -> Result<(), Error> {
    let (x, e) = (normals(2 * ROWS, 2), normals(ROWS, 7));
    let y: Vec<f64> =
        x.chunks_exact(2).zip(e).map(|(x, e)| 0.8 * x[0] - 0.5 * x[1] + 0.2 * e).collect();
    let network = Mlp::new(&[2, 1], Activation::Linear, 1)?;
    let model = BayesianNeuralNetwork::new(network, &x, &y)?.unconstrained();
    let q = MeanFieldGaussian::new(vec![0.0; 4], &[0.1; 4])?;
    let inner = GradientAscent::new(LocalReparameterization { draws: 1 }, Adam::rate(0.02));
    let ascent = Minibatch::new(30, inner);
    let options = Options { steps: 2000, stop: Stop::Budget, ..Options::default() };
    let found = fit(model, q, ascent, options)?;
    let means = found.q.mean();
    // the sd of the least squares estimate is 0.2 / sqrt(150) = 0.016, that of log noise 0.06
    assert_close("slope", means[0], 0.8, 0.08);
    assert_close("slope", means[1], -0.5, 0.08);
    assert_close("noise", means[3].exp(), 0.2, 0.04);
    Ok(())
}

#[test]
fn bad_input_is_named() {
    let model = model(&[3, 4, 1], Activation::Tanh);
    let ascent = |draws| GradientAscent::new(LocalReparameterization { draws }, Adam::rate(0.01));
    let said = fit(model.clone(), family(&model), ascent(0), Options::default())
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(said.contains("draws") && said.contains("at least one"), "{said}");
    // e^(2 sd^2) of an sd of 30 is no number of f64
    let q = MeanFieldGaussian::new(vec![0.0; model.dim()], &vec![30.0; model.dim()]);
    let ascent = ascent(1);
    let found = fit(model, q.expect("positive"), ascent, Options::default()).expect("it starts");
    let said = found.outcome.to_string();
    assert!(
        said.starts_with("diverged") && said.contains("gradient of the ELBO was not"),
        "{said}"
    );
    assert!(found.q.mean().iter().all(|mean| mean.is_finite()));
}
