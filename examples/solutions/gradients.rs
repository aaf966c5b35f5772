//! Chapter 5.

use elbo::{
    Error, Family, GradientEstimator, MeanFieldGaussian, Model, Purpose, Real, Reparameterization,
    ScoreFunction, Space, StickingTheLanding, Var, density, from_fn, stream,
};

pub fn solutions() -> Result<(), Error> {
    a_jump()?;
    too_narrow()?;
    a_score_that_counts()
}

/// Mean and variance of coordinate `i` of the gradient, over 20 000 estimates.
fn moments<M: Model, E: GradientEstimator<M, MeanFieldGaussian>>(
    mut estimator: E,
    model: &M,
    q: &MeanFieldGaussian,
    i: usize,
) -> (f64, f64) {
    let (mut rng, mut scratch) = (stream(1, Purpose::Data, 0), E::Scratch::default());
    let mut one = || {
        let mut grad = vec![0.0; q.n_params()];
        let elbo = estimator.estimate(model, q, &mut rng, &mut scratch, &mut [], &mut grad);
        elbo.map(|_| grad[i]).expect("these log joints are finite everywhere")
    };
    let all: Vec<f64> = (0..20_000).map(|_| one()).collect();
    let mean = all.iter().sum::<f64>() / 20_000.0;
    (mean, all.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / 19_999.0)
}

/// A standard normal, times `e^3` where `z > 0` if it is to jump.
fn model(jumps: bool) -> impl elbo::Differentiable {
    let mut space = Space::new();
    let z = space.real("z");
    from_fn(space, move |all| {
        let jump = all[z].if_positive(Var::from(3.0), Var::from(0.0));
        density::normal(all[z], 0.0, 1.0) + if jumps { jump } else { Var::from(0.0) }
    })
}

// ANCHOR: one
fn a_jump() -> Result<(), Error> {
    // q = N(m, 1): ELBO = 3 Phi(m) - m^2 / 2 + constant, so its slope at m = 0 is 3 phi(0)
    let exact = 3.0 / std::f64::consts::TAU.sqrt();
    let (model, q) = (model(true), MeanFieldGaussian::standard(1));
    let near = |(mean, variance): (f64, f64), slope: f64| {
        (mean - slope).abs() < 4.0 * (variance / 20_000.0).sqrt()
    };
    assert!(near(moments(ScoreFunction { draws: 8 }, &model, &q, 0), exact));
    assert!(near(moments(Reparameterization { draws: 8 }, &model, &q, 0), 0.0)); // no slope at all
    Ok(())
}
// ANCHOR_END: one

// ANCHOR: two
fn too_narrow() -> Result<(), Error> {
    // posterior N(0, 1), q = N(0, s^2), one draw, slope in log s:
    // reparameterized 1 - s^2 eps^2, path alone (1 - s^2) eps^2
    let model = model(false);
    for s in [0.5, 2.0] {
        let q = MeanFieldGaussian::new(vec![0.0], &[s])?;
        let (mean, full) = moments(Reparameterization { draws: 1 }, &model, &q, 1);
        let (same, path) = moments(StickingTheLanding { draws: 1 }, &model, &q, 1);
        let s2 = s * s;
        for (mean, variance) in [(mean, full), (same, path)] {
            assert!((mean - (1.0 - s2)).abs() < 4.0 * (variance / 20_000.0).sqrt());
        }
        // a variance of eps^2 from 20 000 estimates has a relative error of sqrt(14 / 20 000)
        assert!((full / (2.0 * s2 * s2) - 1.0).abs() < 0.11);
        assert!((path / (2.0 * (1.0 - s2).powi(2)) - 1.0).abs() < 0.11);
        assert_eq!(path > full, s2 < 0.5, "where q is narrow, the path has more noise");
    }
    Ok(())
}
// ANCHOR_END: two

// ANCHOR: three
fn a_score_that_counts() -> Result<(), Error> {
    // K = 2, p = N(0, 1), q = N(1, 1): mean of w_1 score(z_1) + w_2 score(z_2), w_1 + w_2 = 1
    let q = MeanFieldGaussian::new(vec![1.0], &[1.0])?;
    let (mut rng, mut z) = (stream(2, Purpose::Data, 0), [0.0; 2]);
    let mut one = || {
        q.sample(&mut rng, &mut z);
        // log p / q = 1/2 - z, and the score in the mean is z - 1
        let w = [(-z[0]).exp(), (-z[1]).exp()];
        (w[0] * (z[0] - 1.0) + w[1] * (z[1] - 1.0)) / (w[0] + w[1])
    };
    let all: Vec<f64> = (0..100_000).map(|_| one()).collect();
    let mean = all.iter().sum::<f64>() / 1e5;
    let se = (all.iter().map(|g| (g - mean).powi(2)).sum::<f64>()).sqrt() / 1e5;
    assert!(mean < -20.0 * se, "far from zero: {mean} ± {se}");
    Ok(())
}
// ANCHOR_END: three
