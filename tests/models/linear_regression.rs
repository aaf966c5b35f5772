//! Linear regression: exact posteriors and evidence, and relevance by EM and by coordinate ascent.

use crate::moves::{elbo_is_the_mean_of_its_draws, last, message, never_descends};
use crate::support::{assert_all_close, assert_close, exact_cases, numbers};
use elbo::models::linear_regression::{Ard, BayesianArd, LinearRegression};
use elbo::{EStep, MStep, Model, NaturalStep, Options, Squarem, Stop, fit};

/// Six columns of which two matter, by a simple generator.
fn planted(n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut state = 12345u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    let mut normal = || (0..12).map(|_| uniform()).sum::<f64>();
    let x: Vec<f64> = (0..6 * n).map(|_| normal()).collect();
    let y = x.chunks_exact(6).map(|x| 2.0 * x[1] - 1.0 * x[4] + 0.5 * normal()).collect();
    (x, y)
}

fn regression() -> LinearRegression {
    let (x, y) = planted(60);
    LinearRegression::new(&x, 6, &y).expect("fine")
}

#[test]
fn reference_answers() {
    for case in exact_cases("linear_regression") {
        let input = |name: &str| case["inputs"][name].as_f64().expect("a number");
        let y = numbers(&case["inputs"]["y"]);
        let x = numbers(&case["inputs"]["X"]);
        let data = LinearRegression::new(&x, x.len() / y.len(), &y).expect("fine");
        let want = &case["expected"]["known_noise"];
        let known = data.known_noise(input("noise_sd"), input("prior_sd")).expect("fine");
        assert_all_close("mean", &known.mean, &numbers(&want["post_mean"]), 1e-9);
        assert_all_close("covariance", &known.covariance, &numbers(&want["post_cov"]), 1e-9);
        let evidence = want["log_evidence"].as_f64().expect("a number");
        assert_close("evidence", known.log_evidence, evidence, 1e-9);
        let want = &case["expected"]["nig"];
        let number = |name: &str| want[name].as_f64().expect("a number");
        let unknown = data.unknown_noise(input("prior_sd"), input("nig_a0"), input("nig_b0"));
        let unknown = unknown.expect("fine");
        assert_all_close("mean", &unknown.mean, &numbers(&want["post_mean"]), 1e-9);
        assert_all_close("P", &unknown.precision, &numbers(&want["post_prec_scale"]), 1e-9);
        assert_all_close("covariance", &unknown.covariance, &numbers(&want["beta_cov"]), 1e-9);
        assert_close("a", unknown.a, number("a_n"), 1e-9);
        assert_close("b", unknown.b, number("b_n"), 1e-9);
        assert_close("evidence", unknown.log_evidence, number("log_evidence"), 1e-9);
    }
}

/// With one precision and noise held fixed, the E-step's ELBO is the evidence of known noise.
#[test]
fn the_e_step_of_relevance_gives_the_evidence() {
    let data = regression();
    let mut model = Ard::new(data.clone());
    let mut theta = vec![0.25f64.ln(); 6];
    theta.push(4f64.ln());
    model.set_theta(&theta);
    let q = model.start();
    let options = Options { steps: 1, stop: Stop::Budget, ..Options::exact() };
    let fit = fit(model, q, EStep, options).expect("fine");
    let exact = data.known_noise(0.5, 2.0).expect("fine");
    assert_close("ELBO", last(&fit), exact.log_evidence, 1e-10);
    assert_all_close("mean", fit.q.mean(), &exact.mean, 1e-10);
    elbo_is_the_mean_of_its_draws(&fit.model, &fit.q, last(&fit));
}

#[test]
fn em_finds_the_columns_that_matter() {
    let model = Ard::new(regression());
    let q = model.start();
    let fit = never_descends(model, q, Squarem::new((EStep, MStep)));
    let (mean, sd) = (fit.q.mean(), fit.q.sd());
    assert!((mean[1] - 2.0).abs() < 4.0 * sd[1] && (mean[4] + 1.0).abs() < 4.0 * sd[4]);
    let noise = fit.model.noise_sd();
    assert!((noise - 0.5).abs() < 0.15, "{noise}");
    let alpha = fit.model.precisions();
    for j in [0, 2, 3, 5] {
        assert!(alpha[j] > 20.0 * alpha[4], "column {j}: {alpha:?}");
    }
}

#[test]
fn coordinate_ascent_gives_what_its_draws_say_and_agrees_on_the_columns() {
    let model = BayesianArd::new(regression()).with_priors((0.5, 0.1), (2.0, 1.0)).expect("fine");
    let q = model.start();
    let fit = never_descends(model, q, EStep);
    elbo_is_the_mean_of_its_draws(&fit.model, &fit.q, last(&fit));
    let beta = fit.q.first();
    assert!((beta.mean()[1] - 2.0).abs() < 4.0 * beta.sd()[1]);
    let precision = fit.q.second().mean();
    assert!([0, 2, 3, 5].iter().all(|&j| precision[j] > precision[4]), "{precision:?}");
}

#[test]
fn small_natural_steps_arrive_where_whole_ones_do() {
    let arrive = |step: NaturalStep| {
        let model = BayesianArd::new(regression()).with_priors((0.5, 0.1), (2.0, 1.0));
        let model = model.expect("fine");
        let q = model.start();
        let options = Options { steps: 400, stop: Stop::Budget, ..Options::exact() };
        last(&fit(model, q, step, options).expect("fine"))
    };
    let whole = arrive(NaturalStep::constant(1.0));
    assert_close("ELBO", arrive(NaturalStep::constant(0.3)), whole, 1e-10);
}

#[test]
fn a_weight_of_two_is_a_row_twice() {
    let (x, y) = planted(20);
    let weights: Vec<f64> = (0..20).map(|i| (i % 3) as f64).collect();
    let twice: Vec<usize> = (0..20).flat_map(|i| vec![i; i % 3]).collect();
    let xs: Vec<f64> = twice.iter().flat_map(|&i| x[6 * i..6 * i + 6].to_vec()).collect();
    let ys: Vec<f64> = twice.iter().map(|&i| y[i]).collect();
    let weighted = LinearRegression::weighted(&x, 6, &y, &weights).expect("fine");
    let repeated = LinearRegression::new(&xs, 6, &ys).expect("fine");
    let (a, b) = (weighted.known_noise(0.5, 2.0), repeated.known_noise(0.5, 2.0));
    let (a, b) = (a.expect("fine"), b.expect("fine"));
    assert_all_close("mean", &a.mean, &b.mean, 1e-10);
    assert_close("evidence", a.log_evidence, b.log_evidence, 1e-10);
}

#[test]
fn the_scale_of_the_data_does_not_matter() {
    let (x, y) = planted(60);
    let at = |scale: f64| {
        let y: Vec<f64> = y.iter().map(|y| y * scale).collect();
        let model = Ard::new(LinearRegression::new(&x, 6, &y).expect("fine"));
        let q = model.start();
        let fit = never_descends(model, q, Squarem::new((EStep, MStep)));
        fit.q.mean().iter().map(|m| m / scale).collect::<Vec<_>>()
    };
    let one = at(1.0);
    assert_all_close("1e12", &at(1e12), &one, 1e-6);
    assert_all_close("1e-12", &at(1e-12), &one, 1e-6);
}

#[test]
fn bad_input_is_named() {
    let bad = LinearRegression::new(&[1.0, 2.0, 3.0], 2, &[1.0]);
    assert!(message(bad).starts_with("E03 the matrix has 3 values but 1 rows (as many as y)"));
    let bad = LinearRegression::new(&[1.0, f64::NAN], 2, &[1.0]);
    assert!(message(bad).starts_with("E01 data[0, 1] is NaN"));
    let bad = LinearRegression::new(&[1.0, 2.0], 1, &[1.0, f64::INFINITY]);
    assert!(message(bad).starts_with("E01 data[1, \"y\"] is inf"));
    let bad = regression().known_noise(0.0, 1.0);
    assert_eq!(message(bad), "E10 noise_sd is 0; it must be positive and finite");
    let bad = LinearRegression::weighted(&[1.0, 2.0], 1, &[1.0, 2.0], &[0.0, 0.0]);
    assert!(message(bad).contains("All weights are 0"));
}
