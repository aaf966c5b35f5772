//! `Decoder` is a model: its gradients, its batches, some rows at a time, its likelihoods.

use elbo::nn::{Likelihood, Noise};
use elbo::{Differentiable, Model, Subsample};

use super::support::{assert_all_close, assert_close};
use super::{decoder, normals, pictures, slopes};

const ALL: [Likelihood; 5] = [
    Likelihood::Bernoulli,
    Likelihood::Gaussian(Noise::Fixed(0.3)),
    Likelihood::Gaussian(Noise::Learned(0.2)),
    Likelihood::Gaussian(Noise::PerPixel),
    Likelihood::Categorical,
];

#[test]
fn gradients_are_slopes() {
    let images = pictures(5);
    for likelihood in ALL {
        let mut model = decoder(&images, likelihood);
        for rows in [None, Some([4, 0])] {
            if let Some(rows) = rows {
                model.subsample(&rows);
            }
            let d = model.dim();
            let z = normals(2 * d, 6);
            let mut theta = vec![0.0; model.n_theta()];
            model.theta(&mut theta);
            let (mut out, mut grad_z) = ([0.0; 2], vec![9.0; 2 * d]);
            let mut grad = vec![0.25; theta.len()];
            model.log_joint_grad_batch(&z, &mut out, &mut grad_z, &mut grad);
            for s in 0..2 {
                let z = &z[s * d..(s + 1) * d];
                assert_close("value", out[s], model.log_joint(z), 1e-12);
                let want = slopes(z, |z| model.log_joint(z));
                assert_all_close(
                    &format!("{likelihood:?} in z"),
                    &grad_z[s * d..][..d],
                    &want,
                    1e-7,
                );
            }
            let mut moved = model.clone();
            if let Some(rows) = rows {
                moved.subsample(&rows);
            }
            let want = slopes(&theta, |theta| {
                moved.set_theta(theta);
                0.5 * (moved.log_joint(&z[..d]) + moved.log_joint(&z[d..]))
            });
            grad.iter_mut().for_each(|g| *g -= 0.25);
            assert_all_close(&format!("{likelihood:?} in theta"), &grad, &want, 1e-7);
            let mut weighted = vec![0.0; theta.len()];
            model.add_theta_grad(&z, &[0.5, 0.5], &mut weighted);
            assert_all_close("weighted", &weighted, &want, 1e-7);
            let mut alone = vec![0.0; 2 * d];
            let mut grad_alone = vec![0.25; theta.len()];
            model.grad_batch(&z, 2, &mut alone, &mut grad_alone);
            assert_eq!(alone, grad_z, "the same bits without values");
            grad_alone.iter_mut().for_each(|g| *g -= 0.25);
            assert_eq!(grad_alone, grad);
        }
    }
}

/// The log joint written down: a sum over images of a sum over pixels, and the prior.
#[test]
fn likelihoods_are_their_formulas() {
    let images = pictures(1);
    let z = [0.4, -1.1];
    let prior = -0.5 * (0.4f64 * 0.4 + 1.1 * 1.1) - (2.0 * std::f64::consts::PI).ln();
    for likelihood in ALL {
        let model = decoder(&images, likelihood);
        let mut y = vec![0.0; likelihood.outputs(&images)];
        let network = model.network();
        elbo::nn::Network::forward(network, &z, 1, &mut y, &mut Default::default());
        let normal = |x: f64, mean: f64, v: f64| {
            -0.5 * ((x - mean) * (x - mean) / v + (2.0 * std::f64::consts::PI * v).ln())
        };
        let pixel = |p: usize| {
            let x = images.pixel(0, p);
            match likelihood {
                Likelihood::Bernoulli => {
                    let s = 1.0 / (1.0 + (-y[p]).exp());
                    x * s.ln() + (1.0 - x) * (1.0 - s).ln()
                }
                Likelihood::Gaussian(Noise::Fixed(v) | Noise::Learned(v)) => normal(x, y[p], v),
                Likelihood::Gaussian(Noise::PerPixel) => {
                    normal(x, y[p], (10.0 * (y[6 + p] / 10.0).tanh()).exp())
                }
                _ => {
                    let logits = &y[5 * p..5 * (p + 1)];
                    let sum: f64 = logits.iter().map(|l| l.exp()).sum();
                    logits[(x * 4.0) as usize] - sum.ln()
                }
            }
        };
        let want = prior + (0..6).map(pixel).sum::<f64>();
        assert_close(&format!("{likelihood:?}"), model.log_joint(&z), want, 1e-12);
    }
}

/// Some rows at a time, the mean over an epoch is what all rows say.
#[test]
fn an_epoch_of_batches_is_the_whole() {
    let images = pictures(6);
    let mut model = decoder(&images, Likelihood::Gaussian(Noise::Learned(0.5)));
    let z = normals(12, 7);
    let whole = model.log_joint(&z);
    let mut mean = 0.0;
    for rows in [[0, 3], [5, 1], [2, 4]] {
        model.subsample(&rows);
        let z: Vec<f64> = rows.iter().flat_map(|&i| z[2 * i..2 * i + 2].to_vec()).collect();
        mean += model.log_joint(&z) / 3.0;
    }
    assert_close("mean over the epoch", mean, whole, 1e-12);
    model.whole();
    assert_eq!(model.log_joint(&z), whole);
}

/// What an image is on average, by the definition of each likelihood.
#[test]
fn means_are_those_of_the_likelihood() {
    let images = pictures(2);
    for likelihood in ALL {
        let model = decoder(&images, likelihood);
        let z = normals(2 * 70, 8);
        let mean = model.mean(&z).expect("whole points");
        assert_eq!(mean.len(), 70 * 6);
        let mut y = vec![0.0; likelihood.outputs(&images)];
        elbo::nn::Network::forward(model.network(), &z[138..], 1, &mut y, &mut Default::default());
        for p in 0..6 {
            let want = match likelihood {
                Likelihood::Bernoulli => 1.0 / (1.0 + (-y[p]).exp()),
                Likelihood::Gaussian(_) => y[p],
                _ => {
                    let e: Vec<f64> = y[5 * p..5 * (p + 1)].iter().map(|y| y.exp()).collect();
                    let first: f64 = e.iter().enumerate().map(|(k, e)| k as f64 * e).sum();
                    first / e.iter().sum::<f64>() / 4.0
                }
            };
            assert_close("mean", mean[69 * 6 + p], want, 1e-12);
        }
    }
}
