//! What does each knob of a variational autoencoder turn: the weight of the divergence, the noise of
//! the pixels, the number of draws, the spread of the code?

mod book;

use std::ops::ControlFlow;
use std::sync::Arc;

use book::Figure;
use elbo::data::{Images, digits};
use elbo::nn::{Activation, Decoder, Encoder, Encoding, Likelihood, Mlp, Noise, Vae};
use elbo::{
    Adam, ClosedFormKl, Error, Family, Fit, GradientAscent, GradientEstimator, Minibatch, Model,
    Options, Purpose, Stop, Subsample, fit_with, stream,
};
use rand::RngExt;

const UNITS: usize = 8;
const BATCH: usize = 100;
/// Every so many steps the terms are looked at.
const EVERY: usize = 50;

type Pair = Fit<Decoder<Mlp>, Encoder<Mlp>>;

/// The terms along the way, in nats an image.
#[derive(Default)]
struct Watched {
    step: Vec<f64>,
    reconstruction: Vec<f64>,
    divergence: Vec<f64>,
}

// ANCHOR: learn
/// The autoencoder of the last chapter, a little smaller; its two terms are watched.
fn learn(images: &Arc<Images>, estimator: ClosedFormKl) -> Result<(Pair, Watched), Error> {
    let network = Mlp::new(&[UNITS, 64, 64], Activation::Tanh, 1)?;
    let decoder = Decoder::new(network, images.clone(), Likelihood::Bernoulli)?;
    let network = Mlp::new(&[64, 64, 2 * UNITS], Activation::Tanh, 2)?;
    let encoder = Encoder::new(network, images.clone())?;
    let ascent = Minibatch::new(BATCH, GradientAscent::new(estimator, Adam::rate(2e-3)));
    let options =
        Options { steps: 3_000, stop: Stop::Budget, elbo_every: EVERY, ..Options::default() };
    let mut watched = Watched::default();
    let fit = fit_with(decoder, encoder, ascent, options, |run| {
        let step = run.trace.len() - 1;
        if step.is_multiple_of(EVERY) {
            let terms = run.ascent.inner.estimator.terms();
            let n = terms.data as f64;
            watched.step.push(step as f64);
            watched.reconstruction.push(terms.reconstruction / n);
            watched.divergence.push(terms.kl.iter().sum::<f64>() / n);
        }
        ControlFlow::Continue(())
    })?;
    Ok((fit, watched))
}
// ANCHOR_END: learn

fn vae(fit: &Pair) -> Vae<'_, Mlp, Mlp> {
    Vae { decoder: &fit.model, encoder: &fit.q }
}

fn warns(fit: &Pair, code: &str) -> bool {
    fit.warnings.iter().any(|w| w.code.as_str() == code)
}

fn main() -> Result<(), Error> {
    println!("What does each knob of a variational autoencoder turn?");
    let images = Arc::new(digits().0.select(0..1500)?.binarised(1));
    let plain = weight(&images)?;
    noise_of_pixels()?;
    number_of_draws(&images, &plain)?;
    spread(&images, &plain)?;
    println!(
        "OK: beta trades one term for the other and is the noise of the pixels by another name; draws are noise, not a bound; a code without spread costs without end"
    );
    Ok(())
}

/// Returns the fit whose weight is 1.
fn weight(images: &Arc<Images>) -> Result<Pair, Error> {
    // ANCHOR: weight
    let betas = [0.25, 0.5, 1.0, 2.0, 4.0];
    let (mut fits, mut seen, mut paths) = (Vec::new(), Vec::new(), Vec::new());
    for beta in betas {
        let (fit, watched) = learn(images, ClosedFormKl::new(1).beta(beta))?;
        seen.push(vae(&fit).evaluate(images, 20, 1)?);
        paths.push(watched);
        assert_eq!(warns(&fit, "W11"), beta < 1.0, "below 1 it is no bound");
        assert_eq!(warns(&fit, "W10"), beta > 1.0, "above 1 units collapse");
        fits.push(fit);
    }
    let one = &seen[2];
    for pair in seen.windows(2) {
        assert!(pair[1].kl_total() < pair[0].kl_total());
        assert!(pair[1].reconstruction.value < pair[0].reconstruction.value);
    }
    assert!(seen.iter().all(|s| s.elbo.value <= one.elbo.value), "only beta = 1 climbs the ELBO");
    // ANCHOR_END: weight

    let mut rows = String::from(
        "| $\\beta$ | reconstruction | divergence | ELBO | collapsed units |\n|---|---|---|---|---|",
    );
    println!("beta   reconstruction  divergence    ELBO  collapsed units");
    for (beta, s) in betas.iter().zip(&seen) {
        let (fit, kl, elbo) = (s.reconstruction.value, s.kl_total(), s.elbo.value);
        println!("{beta:<4} {fit:16.2} {kl:11.2} {elbo:7.2}  {:?}", s.collapsed());
        let gone = s.collapsed().len();
        rows += &format!("\n| {beta} | ${fit:.1}$ | {kl:.1} | ${elbo:.1}$ | {gone} of {UNITS} |");
    }
    book::fragment("vae_knobs_beta", &rows);
    if let Some(warning) = fits[3].warnings.first() {
        println!("{} {}", warning.code, warning.message);
        book::fragment("vae_knobs_w10", &format!("```text\n{warning}\n```"));
    }

    let rate: Vec<f64> = seen.iter().map(|s| s.kl_total()).collect();
    let distortion: Vec<f64> = seen.iter().map(|s| -s.reconstruction.value).collect();
    let ends = [0.0, rate[0]];
    let mut figure = Figure::new("What a weight buys, and what it pays")
        .axes("divergence, nats an image", "minus reconstruction, nats")
        .line("", &rate, &distortion)
        .colour(6)
        .dashed("equal ELBO, that of 1", &ends, &ends.map(|r| -one.elbo.value - r))
        .colour(6);
    for (k, beta) in betas.iter().enumerate() {
        let name = format!("beta {beta}");
        figure = figure.points(&name, &rate[k..=k], &distortion[k..=k]).colour(k + 1);
    }
    figure.save_or_check("vae_knobs_rate");

    // ANCHOR: war
    let [light, even, heavy] = [0, 2, 4].map(|k| &paths[k]);
    let last = |numbers: &[f64]| numbers.iter().rev().take(10).sum::<f64>() / 10.0;
    // a unit is worth its price: both terms rise, and the better reconstruction pays
    assert!(last(&even.divergence) > even.divergence[1] + 1.0);
    let gain = last(&even.reconstruction) - even.reconstruction[1];
    assert!(gain > last(&even.divergence) - even.divergence[1]);
    // at four times the price none is: the divergence pulls everything to the prior
    assert!(last(&heavy.divergence) < 0.01 * last(&even.divergence));
    // ANCHOR_END: war
    let minus = |numbers: &[f64]| numbers.iter().map(|x| -x).collect::<Vec<_>>();
    let mut figure =
        Figure::new("Two terms that pull against each other").axes("step", "nats an image");
    for (k, (name, path)) in [("0.25", light), ("1", even), ("4", heavy)].iter().enumerate() {
        figure = figure
            .line(&format!("reconstruction, beta {name}"), &path.step, &path.reconstruction)
            .colour(k + 1)
            .dashed("", &path.step, &minus(&path.divergence))
            .colour(k + 1);
    }
    figure.y_from(-35.0, 0.0).save_or_check("vae_knobs_terms");
    Ok(fits.swap_remove(2))
}

/// The noise of the pixels is the weight by another name.
fn noise_of_pixels() -> Result<(), Error> {
    // ANCHOR: identity
    let images = Arc::new(digits().0.select(0..200)?);
    let gradient = |beta: f64, variance: f64| -> Result<Vec<f64>, Error> {
        let network = Mlp::<f64>::new(&[4, 32, 64], Activation::Tanh, 1)?;
        let likelihood = Likelihood::Gaussian(Noise::Fixed(variance));
        let decoder = Decoder::new(network, images.clone(), likelihood)?;
        let encoder = Encoder::new(Mlp::new(&[64, 32, 8], Activation::Tanh, 2)?, images.clone())?;
        let mut grad = vec![0.0; decoder.n_theta() + encoder.n_params()];
        let (in_theta, in_lambda) = grad.split_at_mut(decoder.n_theta());
        let (mut rng, mut scratch) = (stream(1, Purpose::Step, 0), Default::default());
        ClosedFormKl::new(2)
            .beta(beta)
            .gradient(&decoder, &encoder, &mut rng, &mut scratch, in_theta, in_lambda)
            .expect("a normal log density is finite");
        Ok(grad)
    };
    let mut worst = 0.0_f64;
    for beta in [0.25, 4.0, 30.0] {
        let (weighted, noisier) = (gradient(beta, 0.1)?, gradient(1.0, beta * 0.1)?);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let lengths = dot(&weighted, &weighted).sqrt() / dot(&noisier, &noisier).sqrt();
        let off = 1.0 - dot(&weighted, &noisier) / dot(&noisier, &noisier) / lengths;
        assert!(off < 1e-9, "parallel");
        assert!((lengths - beta).abs() < 1e-9 * beta, "and {beta} times as long");
        worst = worst.max(off.abs());
    }
    // ANCHOR_END: identity
    println!("beta at sigma^2 against 1 at beta sigma^2: the cosine is 1 to {worst:.0e}");
    Ok(())
}

// ANCHOR: jitter
/// The variance of a step's gradient, summed over all weights: at the same rows every time, so that
/// draws alone are noise, or at new ones.
fn jitter(fit: &Pair, draws: usize, anew: bool) -> f64 {
    const REPEATS: u64 = 300;
    let (mut decoder, mut encoder) = (fit.model.clone(), fit.q.clone());
    let sizes = (decoder.n_theta(), encoder.n_params());
    let (mut scratch, mut rows) = (Default::default(), (0..BATCH).collect::<Vec<usize>>());
    let (mut sum, mut square) = (vec![0.0; sizes.0 + sizes.1], 0.0);
    for t in 0..REPEATS {
        let mut rng = stream(1, Purpose::Report, t);
        if anew {
            rows.iter_mut().for_each(|row| *row = rng.random_range(0..1500));
        }
        decoder.subsample(&rows);
        encoder.subsample(&rows);
        let mut grad = vec![0.0; sum.len()];
        let (in_theta, in_lambda) = grad.split_at_mut(sizes.0);
        ClosedFormKl::new(draws)
            .gradient(&decoder, &encoder, &mut rng, &mut scratch, in_theta, in_lambda)
            .expect("logits that a fit has found are finite");
        sum.iter_mut().zip(&grad).for_each(|(sum, g)| *sum += f64::from(*g));
        square += grad.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
    }
    let n = REPEATS as f64;
    (square - sum.iter().map(|s| s * s).sum::<f64>() / n) / (n - 1.0)
}
// ANCHOR_END: jitter

fn number_of_draws(images: &Arc<Images>, plain: &Pair) -> Result<(), Error> {
    // ANCHOR: draws
    let all = [1, 4, 16];
    let (alone, batch) =
        (all.map(|l| jitter(plain, l, false)), all.map(|l| jitter(plain, l, true)));
    for k in 1..3 {
        let ratio = alone[0] / alone[k];
        assert!((ratio / all[k] as f64 - 1.0).abs() < 0.15, "noise of the draws falls like 1/L");
    }
    assert!(batch[0] / batch[2] < 8.0, "the noise of the rows stays");
    let (sixteen, _) = learn(images, ClosedFormKl::new(16))?;
    let ends = [plain, &sixteen].map(|fit| vae(fit).evaluate(images, 20, 1));
    let [one, sixteen] = ends.map(|seen| seen.map(|s| s.elbo.value).unwrap_or(f64::NAN));
    assert!((one - sixteen).abs() < 0.5, "the same bound in the end: {one} {sixteen}");
    // ANCHOR_END: draws
    let mut rows = String::from(
        "| draws a step | variance at the same rows | variance at new rows |\n|---|---|---|",
    );
    println!("draws  variance at the same rows, at new rows, of that of one draw");
    for (k, l) in all.iter().enumerate() {
        let (a, b) = (alone[k] / alone[0], batch[k] / batch[0]);
        println!("{l:5}  {a:.3} {b:.3}");
        rows += &format!("\n| {l} | {a:.2} | {b:.2} |");
    }
    rows += &format!(
        "\n\nAfter as many steps the ELBO is ${one:.1}$ with one draw a step and ${sixteen:.1}$ with sixteen."
    );
    book::fragment("vae_knobs_draws", &rows);
    println!("ELBO after as many steps: {one:.2} with 1 draw, {sixteen:.2} with 16");
    Ok(())
}

fn spread(images: &Images, plain: &Pair) -> Result<(), Error> {
    // ANCHOR: spread
    let sds = [0.1f32, 0.03, 0.01, 1e-3, 1e-4];
    let mut seen = Vec::new();
    for sd in sds {
        let Encoding { latent, mean, .. } = vae(plain).encode(images)?;
        let narrow = Encoding { latent, sd: vec![sd; mean.len()], mean };
        seen.push(vae(plain).evaluate_at(images, &narrow, 20, 1)?);
    }
    for (pair, sds) in seen.windows(2).zip(sds.windows(2)) {
        let risen = (pair[1].kl_total() - pair[0].kl_total()) / UNITS as f64;
        let slope = risen / f64::from(sds[0] / sds[1]).ln();
        assert!((slope - 1.0).abs() < 0.01, "one nat a unit for each factor e");
        assert!(pair[1].reconstruction.value - pair[0].reconstruction.value < 0.2);
    }
    // ANCHOR_END: spread
    let mut rows = String::from(
        "| sd of the code | reconstruction | divergence | ELBO | with the wrong sign |\n|---|---|---|---|---|",
    );
    for (sd, s) in sds.iter().zip(&seen) {
        let (fit, kl) = (s.reconstruction.value, s.kl_total());
        println!("sd {sd:<6}: reconstruction {fit:.2}, divergence {kl:5.2}, ELBO {:.2}", fit - kl);
        rows +=
            &format!("\n| {sd} | ${fit:.1}$ | {kl:.1} | ${:.1}$ | ${:.1}$ |", fit - kl, fit + kl);
    }
    book::fragment("vae_knobs_spread", &rows);
    Ok(())
}
