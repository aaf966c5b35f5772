//! Heads: the laws of families, densities and divergences against dense formulas and quadrature.

use elbo::nn::{
    Activation, Decoder, Encoder, FullCovariance, Head, Likelihood, LogisticNormal, MeanField, Mlp,
    Noise, Prior, Vae,
};
use elbo::{
    Adam, ClosedFormKl, Error, Family, GradientAscent, Options, Reparameterization,
    StickingTheLanding, Stop, fit, laws,
};
use nalgebra::{DMatrix, DVector};

use super::support::{assert_all_close, assert_close};
use super::{decoder, normals, pictures, slopes};

fn with_head<H: Head<f64>>(images: usize, k: usize, head: H) -> Encoder<Mlp<f64>, f64, H> {
    let network = Mlp::new(&[6, 7, head.outputs(k)], Activation::Softplus, 4).expect("widths");
    Encoder::with_head(network, pictures(images), head).expect("it fits")
}

fn obeys<H: Head<f64>>(head: H) -> Result<(), laws::Broken> {
    // one image: with some rows shown of several, log q is scaled and integrates to something else
    let q = with_head(1, 2, head.clone());
    laws::parameters(&q)?;
    laws::family(&q)?;
    laws::transported(&q)?;
    for q in [q, with_head(3, 3, head)] {
        laws::reparameterized(&q)?;
        laws::smooth(&q)?;
    }
    Ok(())
}

#[test]
fn encoders_with_any_head_obey_the_laws_of_families() -> Result<(), laws::Broken> {
    obeys(MeanField)?;
    obeys(FullCovariance)?;
    obeys(LogisticNormal)
}

/// What a head reads of what a network says of three latent numbers.
fn read(head: &impl Head<f64>, y: &[f64]) -> Vec<f64> {
    let mut said = vec![0.0; head.kept(3)];
    head.read(y, &mut said);
    said
}

/// Mean, covariance and what the network says of it, for three latent numbers.
fn dense(y: &[f64]) -> (DVector<f64>, DMatrix<f64>) {
    let mut l = DMatrix::zeros(3, 3);
    for i in 0..3 {
        l[(i, i)] = (5.0 * (y[3 + i] / 10.0).tanh()).exp();
    }
    (l[(1, 0)], l[(2, 0)], l[(2, 1)]) = (y[6], y[7], y[8]);
    (DVector::from_column_slice(&y[..3]), &l * l.transpose())
}

#[test]
fn a_full_covariance_is_the_dense_normal() {
    let (y, z) = (normals(9, 30), normals(3, 31));
    let (mean, covariance) = dense(&y);
    let off = DVector::from_column_slice(&z) - &mean;
    let inverse = covariance.clone().try_inverse().expect("positive definite");
    let log_det = covariance.determinant().ln();
    let ln_two_pi = (2.0 * std::f64::consts::PI).ln();
    let want = -0.5 * (off.dot(&(&inverse * &off)) + log_det + 3.0 * ln_two_pi);
    let (head, said) = (FullCovariance, read(&FullCovariance, &y));
    assert_close("log q", head.log_prob(&said, &z), want, 1e-12);
    let entropy = 0.5 * (log_det + 3.0 * (1.0 + ln_two_pi));
    assert_close("entropy", head.entropy(&said).expect("closed form"), entropy, 1e-12);
    let (mut means, mut sds) = ([0.0; 3], [0.0; 3]);
    head.moments(&said, &mut means, &mut sds);
    let want: Vec<f64> = (0..3).map(|i| covariance[(i, i)].sqrt()).collect();
    assert_all_close("sd", &sds, &want, 1e-12);
    assert_eq!(means, y[..3]);

    // KL(N(mean, C) || N(m, diag(v))) = (tr V^-1 C + off' V^-1 off - 3 + ln det V - ln det C) / 2
    let (m, log_v) = (normals(3, 32), normals(3, 33));
    let mut parts = [0.0; 3];
    assert!(head.divergence(&said, (&m, &log_v), &mut parts));
    let mut want = -3.0 - log_det;
    for i in 0..3 {
        let square = (y[i] - m[i]).powi(2) + covariance[(i, i)];
        want += square * (-log_v[i]).exp() + log_v[i];
    }
    assert_close("divergence", parts.iter().sum(), 0.5 * want, 1e-12);
    assert!(parts.iter().all(|kl| *kl >= 0.0), "each part is a divergence: {parts:?}");
}

/// The gradient of the divergence, in what the network says and in the prior.
#[test]
fn divergences_have_their_slopes() {
    fn check(head: &impl Head<f64>) {
        let outputs = head.outputs(3);
        let (all, weights) = (normals(outputs + 6, 34), [0.7, 1.3, 0.2]);
        let want = slopes(&all, |all| {
            let (y, prior) = all.split_at(outputs);
            let mut parts = [0.0; 3];
            assert!(head.divergence(&read(head, y), prior.split_at(3), &mut parts));
            -parts.iter().zip(weights).map(|(kl, w)| kl * w).sum::<f64>()
        });
        let (y, prior) = all.split_at(outputs);
        let mut grad = vec![0.0; outputs + 6];
        let (dy, dprior) = grad.split_at_mut(outputs);
        head.pull_back_divergence(&read(head, y), prior.split_at(3), &weights, dy, dprior);
        assert_all_close(head.name(), &grad, &want, 1e-7);
    }
    check(&MeanField);
    check(&FullCovariance);
}

/// Mean and standard deviation between 0 and 1 against a fine rule over the noise.
#[test]
fn logistic_normals_have_their_moments() {
    let y = [0.8f64, -1.5, 0.3, -2.0];
    let (mut mean, mut sd) = ([0.0; 2], [0.0; 2]);
    let mut said = [0.0; 8];
    LogisticNormal.read(&y, &mut said);
    LogisticNormal.moments(&said, &mut mean, &mut sd);
    for i in 0..2 {
        let spread = (5.0f64 * (y[2 + i] / 10.0).tanh()).exp();
        let (mut sums, h) = ([0.0; 3], 1e-3);
        for at in -10_000..=10_000 {
            let eps = f64::from(at) * h;
            let z = 1.0 / (1.0 + (-y[i] - spread * eps).exp());
            let w = h * (-0.5 * eps * eps).exp() / (2.0 * std::f64::consts::PI).sqrt();
            sums = [sums[0] + w, sums[1] + w * z, sums[2] + w * z * z];
        }
        assert_close("weights", sums[0], 1.0, 1e-12);
        assert_close("mean", mean[i], sums[1], 1e-10);
        assert_close("sd", sd[i], (sums[2] - sums[1] * sums[1]).sqrt(), 1e-10);
    }
}

fn options(steps: usize) -> Options {
    Options { steps, stop: Stop::Budget, ..Options::default() }
}

/// Latent numbers between 0 and 1: the bound rises to the evidence, which is an integral over `(0, 1)`.
#[test]
fn the_family_is_free() -> Result<(), Error> {
    let images = pictures(40);
    let network = Mlp::new(&[1, 5, 6], Activation::Tanh, 3)?;
    let likelihood = Likelihood::Gaussian(Noise::Fixed(0.05));
    let model = Decoder::new(network, images.clone(), likelihood)?.with_prior(Prior::Uniform)?;
    let network = Mlp::new(&[6, 7, 2], Activation::Tanh, 4)?;
    let q = Encoder::with_head(network, images.clone(), LogisticNormal)?;
    let before = Vae { decoder: &model, encoder: &q }.evaluate(&images, 200, 1)?;
    let ascent = GradientAscent::new(Reparameterization { draws: 2 }, Adam::rate(0.01));
    let fit = fit(model, q, ascent, options(800))?;
    let vae = Vae { decoder: &fit.model, encoder: &fit.q };
    let after = vae.evaluate(&images, 2_000, 1)?;
    assert!(after.elbo.value > before.elbo.value + 1.0, "{before:?} {after:?}");

    // the evidence of each image by the midpoint rule
    const CELLS: usize = 2_000;
    let grid: Vec<f64> = (0..CELLS).map(|i| (i as f64 + 0.5) / CELLS as f64).collect();
    let means = fit.model.mean(&grid)?;
    let mut evidence = 0.0;
    for i in 0..images.len() {
        let at = |mean: &[f64]| -> f64 {
            let pixel = |p: usize| {
                let off = images.pixel(i, p) - mean[p];
                -0.5 * (off * off / 0.05 + (2.0 * std::f64::consts::PI * 0.05).ln())
            };
            (0..6).map(pixel).sum::<f64>().exp()
        };
        evidence += (means.chunks_exact(6).map(at).sum::<f64>() / CELLS as f64).ln();
    }
    evidence /= images.len() as f64;
    assert!(after.elbo.value < evidence, "{} {evidence}", after.elbo.value);
    // log of a mean of 2 000 weights is below by half their relative variance over 2 000
    assert!((after.bound.value - evidence).abs() < 0.01, "{} {evidence}", after.bound.value);
    let drawn = vae.generate(5, 1)?;
    assert_eq!(drawn.len(), 30);
    let message = vae.refine(&images, 3, 1).expect_err("refused").to_string();
    assert!(message.contains("logistic normal"), "{message}");
    Ok(())
}

/// Where latent numbers vary together given an image, a covariance finds a higher bound; the decoder
/// does not move.
#[test]
fn a_covariance_is_worth_its_numbers() -> Result<(), Error> {
    let images = pictures(30);
    let model = decoder(&images, Likelihood::Gaussian(Noise::Fixed(0.05)));
    let ascent = || GradientAscent::new(StickingTheLanding { draws: 4 }, Adam::rate(0.02));
    let still = || elbo::nn::FixedDecoder::new(model.clone());
    let plain = fit(still(), with_head(30, 2, MeanField), ascent(), options(1_500))?;
    let full = fit(still(), with_head(30, 2, FullCovariance), ascent(), options(1_500))?;
    let elbo = |seen: elbo::nn::Evaluation| seen.elbo.value;
    let plain = elbo(Vae { decoder: &model, encoder: &plain.q }.evaluate(&images, 500, 1)?);
    let full = elbo(Vae { decoder: &model, encoder: &full.q }.evaluate(&images, 500, 1)?);
    assert!(full > plain + 0.01, "{full} {plain}");
    Ok(())
}

/// The divergence in closed form is climbed with covariances too, and refused where there is none.
#[test]
fn closed_forms_are_known_or_refused() -> Result<(), Error> {
    let images = pictures(20);
    let model = || decoder(&images, Likelihood::Bernoulli);
    let ascent = || GradientAscent::new(ClosedFormKl::new(1), Adam::rate(0.01));
    let fitted = fit(model(), with_head(20, 2, FullCovariance), ascent(), options(200))?;
    assert!(fitted.trace[199].elbo > fitted.trace[0].elbo);
    let says = |error: Error| error.to_string();
    let unit = model().with_prior(Prior::Uniform)?;
    let refused = fit(unit, with_head(20, 2, LogisticNormal), ascent(), options(3));
    assert!(says(refused.expect_err("refused")).contains("unknown for Uniform"));
    let mixed = model().with_prior(Prior::Mixture { components: 3, seed: 1 })?;
    let refused =
        says(fit(mixed, with_head(20, 2, MeanField), ascent(), options(3)).expect_err("no"));
    assert!(refused.contains("sample it: the estimators Reparameterization"), "{refused}");
    // a prior on the line and numbers between 0 and 1 do not go together
    let reparameterized = GradientAscent::new(Reparameterization { draws: 1 }, Adam::rate(0.01));
    let refused = fit(model(), with_head(20, 2, LogisticNormal), reparameterized, options(3));
    let message = says(refused.expect_err("refused"));
    assert!(message.contains("z[1]"), "{message}");
    Ok(())
}

/// Checkpoints tell heads apart: as many parameters are not the same family.
#[test]
fn heads_are_part_of_the_architecture() {
    let (plain, unit) = (with_head(2, 2, MeanField), with_head(2, 2, LogisticNormal));
    assert_eq!(plain.n_params(), unit.n_params());
    assert_ne!(plain.architecture(), unit.architecture());
}
