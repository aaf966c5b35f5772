//! Bounds of weighted draws: unbiased for Renyi's bound of two draws, exact by quadrature, in
//! `lambda` and in `theta`; the ELBO's estimators at `alpha = 1`; less noise reparameterized twice.

use elbo::{
    Beta, DoublyReparameterized, Error, Family, FullRankGaussian, GradientEstimator,
    ImportanceWeighted, MeanFieldGaussian, Model, Objective, Purpose, Reparameterization, Smooth,
    Space, StickingTheLanding, Vimco, density, from_fn, stream,
};

use crate::discrete::{means_are, moments};
use crate::estimator::{Coupled, SIGMA, at_random, grid};
use crate::support::{assert_close, exact_cases};

/// `E[log mean_k w_k^(1 - alpha)] / (1 - alpha)` of two draws; the ELBO at `alpha = 1`.
fn exact<Q: Family>(
    model: &Coupled,
    q: &Q,
    alpha: f64,
    (points, weights): &(Vec<f64>, Vec<f64>),
) -> f64 {
    let each: Vec<(f64, f64)> = points
        .iter()
        .zip(weights)
        .map(|(z, weight)| {
            let log_q = q.log_prob(&[*z]);
            (weight * log_q.exp(), model.log_joint(&[*z]) - log_q)
        })
        .filter(|(mass, _)| *mass > 0.0)
        .collect();
    if alpha == 1.0 {
        return each.iter().map(|(mass, log_w)| mass * log_w).sum();
    }
    let power = 1.0 - alpha;
    let mut sum = 0.0;
    for (mass, first) in &each {
        for (other, second) in &each {
            let top = f64::max(power * first, power * second);
            let mean = ((power * first - top).exp() + (power * second - top).exp()) / 2.0;
            sum += mass * other * (top + mean.ln()) / power;
        }
    }
    sum
}

/// The gradient in `[theta | lambda]` by central differences.
fn exact_gradient<Q: Family + Clone>(model: &Coupled, q: &Q, alpha: f64) -> Vec<f64> {
    const STEP: f64 = 1e-4;
    let (grid, mut lambda) = (grid(q), vec![0.0; q.n_params()]);
    q.params(&mut lambda);
    let at = |i: usize, by: f64| {
        let (mut model, mut q, mut lambda) = (model.clone(), q.clone(), lambda.clone());
        match i {
            0 | 1 => model.theta[i] += by,
            _ => lambda[i - 2] += by,
        }
        q.set_params(&lambda);
        exact(&model, &q, alpha, &grid)
    };
    (0..2 + q.n_params()).map(|i| (at(i, STEP) - at(i, -STEP)) / (2.0 * STEP)).collect()
}

/// The law, at two random points.
#[track_caller]
fn unbiased<Q, E>(q: &Q, alpha: f64, mut estimator: E)
where
    Q: Family + Clone,
    E: GradientEstimator<Coupled, Q>,
{
    for seed in 1..=2 {
        let q = at_random(q, seed);
        let model = Coupled::on(&q, [0.3 + 0.1 * seed as f64, -0.4]);
        let grid = grid(&q);
        let mut want = vec![exact(&model, &q, 1.0, &grid), exact(&model, &q, alpha, &grid)];
        want.extend(exact_gradient(&model, &q, alpha));
        let got = moments(&model, &q, &mut estimator, seed);
        means_are(&got, &want, &format!("alpha = {alpha}, point {seed}"));
    }
}

#[track_caller]
fn both_kinds<Q: Smooth + Clone>(q: &Q) {
    for alpha in [0.0, 0.5, 1.0, 2.0, -0.5] {
        unbiased(q, alpha, ImportanceWeighted { draws: 2, alpha });
        unbiased(q, alpha, DoublyReparameterized { draws: 2, alpha });
    }
}

#[test]
fn mean_field_gaussian() {
    both_kinds(&MeanFieldGaussian::standard(1));
}

#[test]
fn full_rank_gaussian() {
    both_kinds(&FullRankGaussian::standard(1));
}

#[test]
fn beta() {
    both_kinds(&Beta::new(&[3.0], &[2.5]).expect("shapes"));
}

#[test]
fn vimco_on_numbers() {
    unbiased(&MeanFieldGaussian::standard(1), 0.0, Vimco { draws: 2 });
    unbiased(&Beta::new(&[3.0], &[2.5]).expect("shapes"), 0.0, Vimco { draws: 2 });
}

/// The ELBO and both gradients of one estimate.
fn estimate<M: Model, Q: Family, E: GradientEstimator<M, Q>>(
    model: &M,
    q: &Q,
    mut estimator: E,
) -> (f64, Vec<f64>) {
    let n = model.n_theta();
    let mut grad = vec![0.0; n + q.n_params()];
    let (theta, lambda) = grad.split_at_mut(n);
    let mut rng = stream(6, Purpose::Step, 3);
    let mut scratch = E::Scratch::default();
    let elbo = estimator.estimate(model, q, &mut rng, &mut scratch, theta, lambda);
    (elbo.expect("finite"), grad)
}

/// `alpha = 1` is the ELBO: the same numbers as its own estimators, whatever the number of draws.
#[test]
fn the_elbo_bit_for_bit() {
    let q = at_random(&FullRankGaussian::standard(3), 1);
    let model = Coupled::on(&q, [0.4, -0.3]);
    for draws in [1, 2, 7, 49, 100] {
        let (path, weighted) = (
            estimate(&model, &q, StickingTheLanding { draws }),
            estimate(&model, &q, DoublyReparameterized { draws, alpha: 1.0 }),
        );
        assert_eq!(path, weighted);
        let (both, weighted) = (
            estimate(&model, &q, Reparameterization { draws }),
            estimate(&model, &q, ImportanceWeighted { draws, alpha: 1.0 }),
        );
        assert_eq!(both, weighted);
    }
}

/// With one draw every order is the ELBO.
#[test]
fn one_draw_is_the_elbo() {
    let q = at_random(&MeanFieldGaussian::standard(2), 1);
    let model = Coupled::on(&q, [0.4, -0.3]);
    let path = estimate(&model, &q, StickingTheLanding { draws: 1 });
    for alpha in [0.0, 0.5, 2.0] {
        let weighted = estimate(&model, &q, DoublyReparameterized { draws: 1, alpha });
        crate::support::assert_all_close("gradient", &weighted.1, &path.1, 1e-13);
    }
}

/// Reparameterized twice the gradient has several times less variance, the more so with more draws.
/// A variance over 40 000 estimates is known to a few percent.
#[test]
fn less_noise_reparameterized_twice() {
    let q = at_random(&MeanFieldGaussian::standard(2), 3);
    let model = Coupled::on(&q, [0.4, -0.3]);
    let mut last = 0.0;
    for draws in [2, 8, 32] {
        let variance = |all: Vec<(f64, f64)>| all[4..].iter().map(|m| m.1).sum::<f64>();
        let plain = moments(&model, &q, &mut ImportanceWeighted { draws, alpha: 0.0 }, 1);
        let doubly = moments(&model, &q, &mut DoublyReparameterized { draws, alpha: 0.0 }, 1);
        for (a, b) in plain[2..].iter().zip(&doubly[2..]) {
            let se = ((a.1 + b.1) / 40_000.0).sqrt();
            assert!((a.0 - b.0).abs() <= SIGMA * se, "the same mean");
        }
        let ratio = variance(plain) / variance(doubly);
        assert!(ratio > 1.5 && ratio > last, "{draws} draws: {ratio}, before {last}");
        last = ratio;
    }
    assert!(last > 4.0, "{last}");
}

/// Where `q` is the posterior all weights are equal: no noise, and every bound is the evidence.
#[test]
fn no_noise_at_the_answer() {
    let q = MeanFieldGaussian::new(vec![0.4, -1.0], &[0.6, 2.0]).expect("positive");
    let mut space = Space::new();
    let z = space.reals("z", 2);
    let model = from_fn(space, move |x| {
        density::normal(x[z][0], 0.4, 0.6) + density::normal(x[z][1], -1.0, 2.0) - 3.0
    });
    for alpha in [0.0, 0.5, 2.0] {
        let mut estimator = DoublyReparameterized { draws: 5, alpha };
        let got = moments(&model, &q, &mut estimator, 1);
        for (i, (mean, variance)) in got.iter().enumerate() {
            let want = if i < 2 { -3.0 } else { 0.0 };
            assert!((mean - want).abs() < 1e-12 && variance.sqrt() < 1e-12, "[{i}] {mean}");
        }
    }
}

#[test]
fn wrong_settings_are_refused_and_warned_of() {
    let q = MeanFieldGaussian::standard(1);
    let model = Coupled::on(&q, [0.0, 0.0]);
    let said = |e: Result<(), Error>| e.map_or_else(|e| e.to_string(), |()| "accepted".to_string());
    let none = "E10 draws is 0; a gradient needs at least one draw";
    assert_eq!(said(ImportanceWeighted { draws: 0, alpha: 0.0 }.check(&model, &q)), none);
    assert_eq!(said(DoublyReparameterized { draws: 0, alpha: 0.0 }.check(&model, &q)), none);
    assert_eq!(
        said(DoublyReparameterized { draws: 2, alpha: f64::NAN }.check(&model, &q)),
        "E10 alpha is NaN; it must be finite: 0 for IWAE, 1 for the ELBO"
    );
    let warned = |alpha: f64| DoublyReparameterized { draws: 2, alpha }.warnings(&model, &q);
    assert!(warned(0.0).is_empty() && warned(2.0).is_empty());
    assert_eq!(
        warned(-0.5)[0].to_string(),
        "W11 alpha is -0.5: what is climbed may lie above log p(x), and is no bound\n    try: \
         alpha: 0.0 for the tightest bound of this kind, 1.0 for the ELBO"
    );
}

/// `z ~ N(0, 1)`, `y | z ~ N(z, s^2)`: known bounds and gradients at a given normal `q`.
#[test]
fn exact_bounds() {
    for case in exact_cases("elbo_identity") {
        let input = |what: &str| case["inputs"][what].as_f64().expect("a number");
        let expected = &case["expected"];
        let (y, s, t) = (input("y"), input("s"), input("t"));
        let mut space = Space::new();
        let z = space.real("z");
        let model =
            from_fn(space, move |x| density::normal(x[z], 0.0, 1.0) + density::normal(x[z], y, s));
        let q = MeanFieldGaussian::new(vec![input("m")], &[t]).expect("positive");
        let elbo = expected["elbo"].as_f64().expect("a number");
        for (k, bound) in expected["iwae_bounds"].as_object().expect("bounds") {
            let draws = k.parse().expect("a number of draws");
            let mut estimator = DoublyReparameterized { draws, alpha: 0.0 };
            let got = moments(&model, &q, &mut estimator, 1);
            let near = |(mean, variance): (f64, f64), want: f64| {
                let se = (variance / 40_000.0).sqrt();
                assert!((mean - want).abs() < 4.0 * se + 2e-5, "K = {k}: {mean} ± {se}, {want}");
            };
            near(got[0], elbo);
            near(got[1], bound.as_f64().expect("a number"));
        }
        let slope = |what: &str| expected["grad_elbo"][what].as_f64().expect("a number");
        // lambda holds the log of the standard deviation
        let want = [elbo, elbo, slope("d_m"), t * slope("d_t")];
        means_are(
            &moments(&model, &q, &mut DoublyReparameterized { draws: 2, alpha: 1.0 }, 1),
            &want,
            "the ELBO",
        );
        // many draws in one logarithm: Renyi's bound itself
        let n = 200_000;
        let (mut draws, mut rng) = (vec![0.0; n], stream(1, Purpose::Report, 0));
        q.sample(&mut rng, &mut draws);
        let log_w: Vec<f64> =
            draws.iter().map(|z| model.log_joint(&[*z]) - q.log_prob(&[*z])).collect();
        for (alpha, bound) in expected["renyi_alpha_bounds"].as_object().expect("bounds") {
            let Some(want) = bound.as_f64() else { continue };
            let alpha: f64 = alpha.parse().expect("an order");
            let got = Objective::Weighted { draws: n, alpha }.of(&log_w);
            let power = 1.0 - alpha;
            let terms: Vec<f64> = log_w.iter().map(|w| (power * (w - got)).exp()).collect();
            let mean = terms.iter().sum::<f64>() / n as f64;
            assert_close("the definition", mean, 1.0, 1e-10);
            let variance = terms.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
            let se = (variance / n as f64).sqrt() / power.abs();
            assert!((got - want).abs() < 4.0 * se + 2e-5, "alpha {alpha}: {got} ± {se}, {want}");
        }
    }
}
