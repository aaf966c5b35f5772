//! Latent units that collapse are named where a user meets them: in the warnings of the fit, in its
//! verdict, and in what is reported of an autoencoder.

use std::sync::Arc;

use elbo::data::Images;
use elbo::nn::{Activation, Decoder, Encoder, Likelihood, Mlp, Noise, Vae};
use elbo::{Adam, ClosedFormKl, Error, Fit, GradientAscent, Minibatch, Options, Stop, fit};

use super::normals;

type Pair = Fit<Decoder<Mlp<f64>, f64>, Encoder<Mlp<f64>, f64>>;

/// Rows of two numbers with variances 4 and 0.09, and a linear autoencoder with two units.
fn linear(noise: f64, estimator: ClosedFormKl) -> Result<(Arc<Images>, Pair), Error> {
    let rows = normals(400, 77).chunks_exact(2).flat_map(|x| [2.0 * x[0], 0.3 * x[1]]).collect();
    let rows: Vec<f64> = rows;
    let rows = Arc::new(Images::new(rows.iter().map(|&x| x as f32).collect(), 1, 2)?);
    let layer = |outputs, seed| Mlp::new(&[2, outputs], Activation::Linear, seed);
    let likelihood = Likelihood::Gaussian(Noise::Fixed(noise));
    let decoder = Decoder::new(layer(2, 1)?, rows.clone(), likelihood)?;
    let encoder = Encoder::new(layer(4, 2)?, rows.clone())?;
    let ascent = Minibatch::new(50, GradientAscent::new(estimator, Adam::rate(0.02)));
    let options = Options { steps: 2_500, stop: Stop::Budget, ..Options::default() };
    Ok((rows, fit(decoder, encoder, ascent, options)?))
}

fn w10(fit: &Pair) -> Vec<String> {
    let of_units = fit.warnings.iter().filter(|w| w.code.as_str() == "W10");
    of_units.map(ToString::to_string).collect()
}

/// Noise of 0.5 drowns the variance of 0.09: one unit of two. The fit says so by itself, and so does
/// the evaluation, which names the same one.
#[test]
fn a_unit_below_the_noise_is_named() -> Result<(), Error> {
    let (rows, fit) = linear(0.5, ClosedFormKl::new(1))?;
    let seen = Vae { decoder: &fit.model, encoder: &fit.q }.evaluate(&rows, 20, 1)?;
    let [unit] = seen.collapsed()[..] else { panic!("{seen:?}") };
    let start = format!("W10 1 of 2 latent units carries no information: {unit}; the divergence");
    let said = w10(&fit);
    assert!(said.len() == 1 && said[0].starts_with(&start), "{said:?}");
    assert!(said[0].contains("\n    try: a warm-up: ClosedFormKl::new(draws)"), "{said:?}");
    assert_eq!(seen.warnings().len(), 1);
    let shown = seen.to_string();
    assert!(shown.starts_with("ELBO ") && shown.contains(&start), "{shown}");
    Ok(())
}

/// With little noise both are used, and nothing is said. Free nats keep a unit that would collapse.
#[test]
fn units_that_are_used_are_not() -> Result<(), Error> {
    let (rows, fit) = linear(0.02, ClosedFormKl::new(1))?;
    assert_eq!(w10(&fit), [""; 0]);
    let seen = Vae { decoder: &fit.model, encoder: &fit.q }.evaluate(&rows, 20, 1)?;
    assert!(seen.warnings().is_empty() && !seen.to_string().contains('\n'), "{seen}");
    let (_, kept) = linear(0.5, ClosedFormKl::new(1).free(0.1))?;
    assert_eq!(w10(&kept), [""; 0]);
    Ok(())
}

/// A weight of 100 collapses everything.
#[test]
fn all_of_them() -> Result<(), Error> {
    let (_, fit) = linear(0.5, ClosedFormKl::new(1).beta(100.0))?;
    let said = w10(&fit);
    assert!(said[0].starts_with("W10 all 2 latent units carry no information: 0, 1"), "{said:?}");
    Ok(())
}
