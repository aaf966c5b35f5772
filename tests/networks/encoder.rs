//! `Encoder` is a family: the laws, what it says against its formula, some rows at a time.

use std::sync::Arc;

use elbo::data::Images;
use elbo::nn::{Activation, Encoder, Likelihood, Mlp, Network};
use elbo::{
    Family, GradientEstimator, Model, Purpose, Reparameterization, Reparameterized,
    StickingTheLanding, Subsample, laws, stream,
};

use super::support::{assert_all_close, assert_close};
use super::{encoder, normals, pictures, slopes};

#[test]
fn it_obeys_the_laws_of_families() -> Result<(), laws::Broken> {
    // one image: with some rows shown of several, log q is scaled and integrates to something else
    let q = encoder(&pictures(1));
    laws::parameters(&q)?;
    laws::family(&q)?;
    for q in [q, encoder(&pictures(3))] {
        laws::reparameterized(&q)?;
        laws::smooth(&q)?;
    }
    Ok(())
}

#[test]
fn it_says_what_its_network_says() {
    let images = pictures(70);
    let q = encoder(&images);
    let codes = q.encode(&images).expect("the same size");
    let mut y = [0.0; 4];
    let x: Vec<f64> = (0..6).map(|p| images.pixel(69, p)).collect();
    q.network().forward(&x, 1, &mut y, &mut Default::default());
    assert_all_close("mean", &codes.mean[138..], &y[..2], 1e-12);
    let sd = [y[2], y[3]].map(|raw| (0.5 * 10.0 * (raw / 10.0).tanh()).exp());
    assert_all_close("sd", &codes.sd[138..], &sd, 1e-12);
    // entropy: of a normal, for each number
    let want: f64 =
        codes.sd.iter().map(|sd| sd.ln() + 0.5 * (1.0 + (2.0 * std::f64::consts::PI).ln())).sum();
    assert_close("entropy", q.entropy().expect("closed form"), want, 1e-12);
}

/// With some rows shown, draws, noise and log density are those of the rows, scaled; and the
/// pull-back is the slope of all that.
#[test]
fn some_rows_stand_for_all() {
    let images = pictures(6);
    let mut q = encoder(&images);
    let z = normals(12, 9);
    let whole = q.log_prob(&z);
    let mut mean = 0.0;
    for rows in [[0, 3], [5, 1], [2, 4]] {
        q.subsample(&rows);
        let z: Vec<f64> = rows.iter().flat_map(|&i| z[2 * i..2 * i + 2].to_vec()).collect();
        mean += q.log_prob(&z) / 3.0;
    }
    assert_close("mean over the epoch", mean, whole, 1e-12);

    let (eps, dz, dlog_q) = (normals(8, 10), normals(8, 11), [0.7, -0.4]);
    let mut lambda = vec![0.0; q.n_params()];
    q.params(&mut lambda);
    let mut kept = Default::default();
    let (mut z, mut log_q) = (vec![0.0; 8], [0.0; 2]);
    q.transport(&eps, &mut z, &mut log_q, &mut kept);
    for s in 0..2 {
        assert_close("log q", log_q[s], q.log_prob(&z[4 * s..4 * s + 4]), 1e-9);
    }
    let mut grad = vec![0.0; lambda.len()];
    q.pull_back(&eps, &kept, &dz, &dlog_q, &mut grad);
    let want = slopes(&lambda, |lambda| {
        q.set_params(lambda);
        q.transport(&eps, &mut z, &mut log_q, &mut kept);
        let draws: f64 = z.iter().zip(&dz).map(|(z, d)| z * d).sum();
        draws + log_q.iter().zip(&dlog_q).map(|(l, d)| l * d).sum::<f64>()
    });
    assert_all_close("pull-back", &grad, &want, 1e-6);
}

/// The mean of many estimates of the gradient, minibatch by minibatch, is the slope of the ELBO of
/// all data, which for a linear decoder and encoder is known: `E log p` and the entropy are
/// polynomials in the moments of `q`.
#[test]
fn estimates_are_unbiased_for_all_data() {
    let numbers = normals(8, 12).iter().map(|&x| x as f32).collect();
    let images = Arc::new(Images::new(numbers, 1, 2).expect("finite"));
    let linear =
        |widths: &[usize], seed| Mlp::<f64>::new(widths, Activation::Tanh, seed).expect("widths");
    let likelihood = Likelihood::Gaussian(elbo::nn::Noise::Fixed(0.5));
    let mut model =
        elbo::nn::Decoder::new(linear(&[1, 2], 5), images.clone(), likelihood).expect("it fits");
    let mut q = Encoder::new(linear(&[2, 2], 6), images.clone()).expect("it fits");
    let exact = |theta: &[f64], lambda: &[f64]| {
        // w0 w1 b0 b1 | mean: a0 x0 + a1 x1, raw: c0 x0 + c1 x1, weights of one input after another
        (0..4)
            .map(|i| {
                let x = [images.pixel(i, 0), images.pixel(i, 1)];
                let mean = lambda[0] * x[0] + lambda[2] * x[1] + lambda[4];
                let raw = lambda[1] * x[0] + lambda[3] * x[1] + lambda[5];
                let v = (10.0 * (raw / 10.0).tanh()).exp();
                let fit = |k: usize| {
                    let off = x[k] - theta[2 + k] - theta[k] * mean;
                    -0.5 * (off * off + theta[k] * theta[k] * v) / 0.5
                };
                fit(0) + fit(1) - 0.5 * (mean * mean + v) + 0.5 * v.ln()
            })
            .sum::<f64>()
    };
    let (mut theta, mut lambda) = (vec![0.0; 4], vec![0.0; 6]);
    model.theta(&mut theta);
    q.params(&mut lambda);
    let both = [theta.clone(), lambda.clone()].concat();
    let want = slopes(&both, |both| exact(&both[..4], &both[4..]));

    const ROUNDS: usize = 20_000;
    let mut sums = [vec![[0.0; 2]; 10], vec![[0.0; 2]; 10]];
    let mut rng = stream(2, Purpose::Step, 0);
    for round in 0..ROUNDS {
        let rows = [[0, 1], [2, 3], [0, 3], [1, 2]][round % 4];
        model.subsample(&rows);
        q.subsample(&rows);
        for (k, sums) in sums.iter_mut().enumerate() {
            let mut grad = vec![0.0; 10];
            let (in_theta, in_lambda) = grad.split_at_mut(4);
            let (mut a, mut b) = (Default::default(), Default::default());
            let done = if k == 0 {
                let mut estimator = Reparameterization { draws: 2 };
                estimator.estimate(&model, &q, &mut rng, &mut a, in_theta, in_lambda)
            } else {
                let mut estimator = StickingTheLanding { draws: 2 };
                estimator.estimate(&model, &q, &mut rng, &mut b, in_theta, in_lambda)
            };
            done.expect("finite");
            for (sum, g) in sums.iter_mut().zip(grad) {
                sum[0] += g;
                sum[1] += g * g;
            }
        }
    }
    for sums in &sums {
        for (i, [sum, square]) in sums.iter().enumerate() {
            let mean = sum / ROUNDS as f64;
            let se = ((square / ROUNDS as f64 - mean * mean) / ROUNDS as f64).sqrt();
            // 4.5 standard errors: one comparison in 150 000 fails by chance, of 20
            let off = (mean - want[i]).abs();
            assert!(off <= 4.5 * se + 1e-9, "{i}: {mean} ± {se}, want {}", want[i]);
        }
    }
}
