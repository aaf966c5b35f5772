//! `infer`: exact answers, the same bits for the same seed, and what it says where it cannot know.

mod support;

use elbo::warning::Code;
use elbo::{Error, InferOptions, Model, Real, Space, Verdict, density, from_fn, infer, infer_with};
use support::assert_close;

/// A normal with unequal scales and neighbours correlated by 1/2.
fn chain(d: usize) -> impl elbo::TwiceDifferentiable {
    let mut space = Space::new();
    let x = space.reals("x", d);
    from_fn(space, move |z| {
        let mut lp = density::normal(z[x][0], 1.0, 2.0);
        for i in 1..d {
            let slope = 1.0 / 3f64.sqrt();
            lp += density::normal(z[x][i], z[x][i - 1] * slope, 2.0);
        }
        lp
    })
}

#[test]
fn a_normal_is_found_exactly() {
    let posterior = infer(chain(5)).unwrap();
    let report = posterior.report.as_ref().unwrap();
    // all constants kept: the evidence of a normalised density is 1
    assert_close("ELBO", report.elbo.value, 0.0, 1e-3);
    assert_close("mean of x[1]", posterior.row("x[1]").unwrap().mean, 1.0, 0.05);
    assert_close("sd of x[1]", posterior.row("x[1]").unwrap().sd, 2.0, 0.05);
    posterior.require(Verdict::Good).unwrap();
}

#[test]
fn low_rank_above_fifty_coordinates() {
    let posterior = infer(chain(60)).unwrap();
    assert_eq!(posterior.q.name(), "low-rank Gaussian");
    assert!(posterior.report.as_ref().unwrap().elbo.value > -0.3);
    // its moments are those of its draws: 20 000 of them, 5 standard errors
    let (mean, covariance) = (posterior.q.mean(), posterior.q.covariance());
    let draws = posterior.draws(20_000, 1).unwrap();
    let both = draws.mean_of(|x| (x[3] - mean[3]) * (x[4] - mean[4]));
    let sd = (covariance[(3, 3)] * covariance[(4, 4)] + covariance[(3, 4)].powi(2)).sqrt();
    assert_close("covariance", both, covariance[(3, 4)], 5.0 * sd / 20_000f64.sqrt());
    let first = draws.mean_of(|x| x[3]);
    assert_close("mean", first, mean[3], 5.0 * (covariance[(3, 3)] / 20_000.0).sqrt());
    posterior.require(Verdict::Good).unwrap();
}

#[test]
fn above_a_thousand_coordinates_nothing_square_is_formed() {
    let mut space = Space::new();
    let x = space.reals("x", 1_200);
    let model = from_fn(space, move |z| {
        z[x].iter().enumerate().map(|(i, &x)| density::normal(x, 3.0, 1.0 + (i % 7) as f64)).sum()
    });
    let options = InferOptions { draws: Some(4), steps: 600, ..InferOptions::default() };
    let posterior = infer_with(model, options).unwrap();
    let worst = posterior.summary().unwrap().rows.iter().enumerate().map(|(i, row)| {
        let sd = 1.0 + (i % 7) as f64;
        ((row.mean - 3.0) / sd).abs()
    });
    assert!(worst.fold(0.0, f64::max) < 0.3);
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let fit = |seed| {
        let posterior = infer_with(chain(3), InferOptions { seed, ..InferOptions::default() });
        let draws = posterior.unwrap().draws(2, 0).unwrap();
        draws.row(1).iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(fit(7), fit(7));
}

#[test]
fn two_modes_are_named() {
    let mut space = Space::new();
    let x = space.real("x");
    let model = from_fn(space, move |z| {
        let modes = [density::normal(z[x], -3.0, 1.0), density::normal(z[x], 3.0, 1.0)];
        Real::log_sum_exp(&modes)
    });
    let posterior = infer(model).unwrap();
    let codes: Vec<Code> = posterior.warnings().iter().map(|w| w.code).collect();
    assert!(codes.contains(&Code::Multimodal), "warnings: {codes:?}");
    assert!(posterior.verdict() > Verdict::Good);
}

#[test]
fn most_of_the_mass_is_found_far_away() {
    let mut space = Space::new();
    let x = space.real("x");
    let model = from_fn(space, move |z| {
        let near = density::normal(z[x], 0.0, 1.0) + 0.1f64.ln();
        let far = density::normal(z[x], 25.0, 1.0) + 0.9f64.ln();
        Real::log_sum_exp(&[near, far])
    });
    let posterior = infer(model).unwrap();
    assert_close("mean of x", posterior.row("x").unwrap().mean, 25.0, 0.01);
    assert!(posterior.warnings().iter().any(|w| w.code == Code::Multimodal), "{posterior}");
    assert!(posterior.verdict() > Verdict::Good);
}

const EFFECT: [f64; 8] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
const SD: [f64; 8] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];

/// Eight schools (Rubin 1981), not centred.
fn schools() -> impl elbo::TwiceDifferentiable {
    let mut space = Space::new();
    let (mu, tau) = (space.real("mu"), space.positive("tau"));
    let eta = space.reals("eta", 8);
    from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
        for (j, &eta) in z[eta].iter().enumerate() {
            lp += density::normal(eta, 0.0, 1.0);
            lp += density::normal(z[mu] + z[tau] * eta, EFFECT[j], SD[j]);
        }
        lp
    })
}

#[test]
fn a_funnel_is_flagged_and_its_non_centred_form_is_not() {
    let mut space = Space::new();
    let (mu, tau) = (space.real("mu"), space.positive("tau"));
    let theta = space.reals("theta", 8);
    let centred = from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
        for (j, &theta) in z[theta].iter().enumerate() {
            lp += density::normal(theta, z[mu], z[tau]);
            lp += density::normal(theta, EFFECT[j], SD[j]);
        }
        lp
    });
    let centred = infer(centred).unwrap();
    assert!(centred.verdict() > Verdict::Good, "{centred}");
    assert!(centred.warnings().iter().any(|w| w.code == Code::HeavyWeights), "{centred}");
    let other = infer(schools()).unwrap();
    let heavy = other.warnings().iter().any(|w| w.code == Code::HeavyWeights);
    assert!(!heavy && other.verdict() < Verdict::DoNotUse, "{other}");
}

#[test]
fn no_seed_is_led_astray() {
    // In a funnel one draw in many thousands has a gradient a million times too long.
    for seed in 0..20 {
        let posterior = infer_with(schools(), InferOptions { seed, ..InferOptions::default() });
        let elbo = posterior.unwrap().report.unwrap().elbo;
        // a normal with any covariance reaches -31.53 of a log evidence of -31.31
        assert!(elbo.value > -31.65, "seed {seed}: {elbo}");
    }
}

#[test]
fn a_coordinate_without_a_prior_is_named() {
    let mut space = Space::new();
    let (a, _b) = (space.real("a"), space.real("b"));
    let error = infer(from_fn(space, move |z| density::normal(z[a], 0.0, 1.0))).unwrap_err();
    assert_eq!(error.code(), "E08", "{error}");
    assert!(error.to_string().contains("`b`"), "{error}");
}

#[test]
fn level_ground_far_out_is_no_missing_prior() {
    // a narrow peak on a floor of no weight: almost every point that is looked at lies on the floor
    let mut space = Space::new();
    let x = space.reals("x", 4);
    let model = from_fn(space, move |z| {
        let square: elbo::Var = z[x].iter().map(|&x| x * x).sum();
        let walls: elbo::Var = z[x].iter().map(|&x| density::uniform(x, -50.0, 50.0)).sum();
        walls + Real::log_sum_exp(&[square * -200.0, elbo::Var::from(-60.0)])
    });
    let posterior = infer(model).unwrap();
    assert_close("sd of x[1]", posterior.row("x[1]").unwrap().sd, 0.05, 0.002);
}

#[test]
fn an_objective_without_a_top_is_refused_or_not_trusted() {
    let mut space = Space::new();
    let (a, s) = (space.real("a"), space.positive("s"));
    // one observation and its own sd to choose, without a prior: the density grows as 1 / s
    let model = from_fn(space, move |z| {
        density::normal(z[a], 0.0, 1.0) + density::normal(z[a], z[a], z[s])
    });
    match infer(model) {
        Err(error) => assert!(["E07", "E08"].contains(&&error.code()[..]), "{error}"),
        Ok(posterior) => assert_eq!(posterior.verdict(), Verdict::DoNotUse, "{posterior}"),
    }
}

#[test]
fn nonsense_is_refused_at_the_door() {
    let none = infer_with(chain(2), InferOptions { draws: Some(0), ..InferOptions::default() });
    assert_eq!(none.unwrap_err().code(), "E10");
    let empty = infer(from_fn(Space::new(), |_| elbo::Var::from(0.0))).unwrap_err();
    assert!(matches!(empty, Error::Space { .. }), "{empty}");
    let mut space = Space::new();
    let x = space.real("x");
    let nan = from_fn(space, move |z| (z[x] * 0.0 - 1.0).ln()).unconstrained();
    let error = infer(nan).unwrap_err();
    assert!(error.to_string().starts_with("E05 log_joint is NaN"), "{error}");
}
