//! Chapter 19.

use elbo::diagnostics::{elbo, iwae_bound};
use elbo::{
    Adam, Bernoulli, Enumeration, Error, Family, GradientAscent, GradientEstimator, GumbelSoftmax,
    Model, OneHot, Options, Purpose, Real, Relaxed, Schedule, Space, Stop, Support, Var, Vimco,
    fit, from_fn, stream,
};

pub fn solutions() -> Result<(), Error> {
    a_step_between_labels()?;
    one_sixth()?;
    another_bound()
}

/// One coin, with a log joint in the weight of its label 1.
fn coin(f: impl Fn(Var) -> Var + Clone) -> Result<impl Relaxed + Clone, Error> {
    let mut space = Space::new();
    let y = space.block("coin", 2, Support::Simplex);
    OneHot::new(from_fn(space, move |z| f(z[y][1])))
}

/// Mean and standard error of the gradient in the logit of a fair coin, over 20 000 estimates.
fn slope<M: Model, E: GradientEstimator<M, Bernoulli>>(model: &M, mut estimator: E) -> (f64, f64) {
    let (q, mut scratch) = (Bernoulli::even(1), E::Scratch::default());
    let mut one = |t: u64| {
        let (mut grad, mut rng) = ([0.0], stream(1, Purpose::Data, t));
        let elbo = estimator.estimate(model, &q, &mut rng, &mut scratch, &mut [], &mut grad);
        elbo.map(|_| grad[0]).expect("these log joints are finite everywhere")
    };
    let all: Vec<f64> = (0..20_000).map(&mut one).collect();
    let mean = all.iter().sum::<f64>() / 2e4;
    (mean, all.iter().map(|g| (g - mean).powi(2)).sum::<f64>().sqrt() / 2e4)
}

// ANCHOR: one
fn a_step_between_labels() -> Result<(), Error> {
    // worth 2 where more than half of the weight is on label 1
    let model = coin(|y| (y - 0.5).if_positive(Var::from(2.0), Var::from(0.0)))?;
    // at the labels: 2 p + H(p), whose slope in the logit is 2 p (1 - p) at one half
    assert!((slope(&model, Enumeration).0 - 0.5).abs() < 1e-12);
    // between them: flat, at every temperature
    let (relaxed, _) = slope(&model, GumbelSoftmax::new(1, Schedule::Fixed(0.1)));
    assert!(relaxed.abs() < 1e-12);
    Ok(())
}
// ANCHOR_END: one

// ANCHOR: two
fn one_sixth() -> Result<(), Error> {
    let model = coin(|y| y)?;
    let (exact, none) = slope(&model, Enumeration);
    assert!((exact - 0.25).abs() < 1e-12 && none < 1e-12);
    let (relaxed, se) = slope(&model, GumbelSoftmax::new(1, Schedule::Fixed(1.0)));
    assert!((relaxed - 1.0 / 6.0).abs() < 4.0 * se, "{relaxed} ± {se}");
    Ok(())
}
// ANCHOR_END: two

// ANCHOR: three
/// Two coins that mostly differ; the log evidence is 0.
#[derive(Clone)]
struct Differ;

impl Model for Differ {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.block("coin", 2, Support::Category(2));
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        f64::ln(if z[0] == z[1] { 0.01 } else { 0.49 })
    }
}

fn another_bound() -> Result<(), Error> {
    let start = Bernoulli::new(&[0.6, 0.4])?;
    let options = Options { steps: 1_000, stop: Stop::Budget, ..Options::default() };
    let sums = GradientAscent::new(Enumeration, Adam::rate(0.02));
    let one = fit(Differ, start.clone(), sums, options.clone())?.q;
    let weighted = GradientAscent::new(Vimco { draws: 4 }, Adam::rate(0.02));
    let both = fit(Differ, start, weighted, options)?.q;
    let bound = |q: &Bernoulli| iwae_bound(&Differ, q, 4, 20_000, 1);
    let bound_of_labels = |q: &Bernoulli| elbo(&Differ, q, 20_000, 1);
    assert!(bound_of_labels(&one)?.value > bound_of_labels(&both)?.value + 0.1);
    assert!(bound(&both)?.value > bound(&one)?.value + 0.1);
    // the ELBO settles on one of the two ways to differ, the weighted bound keeps both open
    assert!(one.entropy() < Some(0.5) && both.entropy() > Some(1.0));
    Ok(())
}
// ANCHOR_END: three
