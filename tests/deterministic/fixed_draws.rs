//! `FixedDraws` and its linear response: against answers in closed form, with given draws, and on
//! normal posteriors, where matched draws make everything exact.

use crate::support::{assert_all_close, assert_close, exact_cases, numbers};
use elbo::{
    Autodiff, DMatrix, Divergence, Error, Family, Fit, FixedDraws, FixedNoise, FullRankGaussian,
    LogJoint, MeanFieldGaussian, Model, Options, Outcome, Purpose, Real, Reparameterized, Run,
    Space, density, fit, from_fn, stream,
};

/// `-(1/2) (z - mean)^T P (z - mean)`, not normalized.
#[derive(Clone, Debug)]
struct Target {
    mean: Vec<f64>,
    precision: DMatrix<f64>,
}

impl LogJoint for Target {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("z", self.mean.len());
        space
    }
    fn log_joint<T: Real>(&self, z: &[T]) -> T {
        let mut sum = T::from(0.0);
        for (i, &zi) in z.iter().enumerate() {
            for (j, &zj) in z.iter().enumerate() {
                let by = -0.5 * self.precision[(i, j)];
                sum += (zi - self.mean[i]) * (zj - self.mean[j]) * by;
            }
        }
        sum
    }
}

/// Correlated, with scales that differ.
fn target(d: usize) -> (Target, DMatrix<f64>) {
    let scale = |i: usize| 0.3 + (i % 4) as f64;
    let correlation = |i: usize, j: usize| 0.7f64.powi((i as i32 - j as i32).abs());
    let covariance = DMatrix::from_fn(d, d, |i, j| scale(i) * scale(j) * correlation(i, j));
    let mean = (0..d).map(|i| i as f64 - 1.5).collect();
    let precision = covariance.clone().try_inverse().unwrap();
    (Target { mean, precision }, covariance)
}

fn matched(draws: usize) -> FixedDraws {
    FixedDraws { noise: FixedNoise::MomentMatched, ..FixedDraws::new(draws) }
}

fn reason<M, Q>(fit: &Fit<M, Q>) -> &str {
    let Outcome::Converged { rule } = &fit.outcome else { panic!("{:?}", fit.outcome) };
    rule
}

#[test]
fn the_optimum_for_given_draws_as_known() {
    for case in exact_cases("dadvi_gaussian") {
        let (given, want) = (&case["inputs"], &case["expected"]);
        let mean = numbers(&given["mean"]);
        let d = mean.len();
        let precision = DMatrix::from_row_slice(d, d, &numbers(&given["precision"]));
        let eps = numbers(&given["fixed_draws"]);
        let ascent = FixedDraws::with_draws(&eps, eps.len() / d);
        let model = Autodiff::new(Target { mean, precision });
        let q = MeanFieldGaussian::standard(d);
        let fit = fit(model, q, ascent.clone(), Options::default()).unwrap();
        assert_all_close("mean", fit.q.mean(), &numbers(&want["q_mean"]), 1e-7);
        assert_all_close("sd", fit.q.sd(), &numbers(&want["q_sd"]), 1e-7);
        // the reference leaves the constant of the entropy out and is minimized
        let constant = 0.5 * d as f64 * (1.0 + (2.0 * std::f64::consts::PI).ln());
        let elbo = constant - want["objective"].as_f64().unwrap();
        assert_close("ELBO", fit.trace.last().unwrap().elbo.unwrap(), elbo, 1e-9);
        let response = ascent.linear_response(&fit.model, &fit.q).unwrap();
        assert_eq!(response.repaired, None);
        let covariance = numbers(&want["lr_cov"]);
        assert_all_close("covariance", response.covariance.as_slice(), &covariance, 1e-7);
    }
}

#[test]
fn gaussian_targets_as_known() {
    for case in exact_cases("gaussian_mean_field") {
        let (given, want) = (&case["inputs"], &case["expected"]);
        let (mean, d) = (numbers(&given["mean"]), numbers(&given["mean"]).len());
        let covariance = numbers(&given["cov"]);
        let precision = DMatrix::from_row_slice(d, d, &covariance).try_inverse().unwrap();
        let model = Autodiff::new(Target { mean: mean.clone(), precision });
        let ascent = matched(d + 2).draw(d, 3);
        let q = MeanFieldGaussian::standard(d);
        let fit = fit(model.clone(), q, ascent.clone(), Options::default()).unwrap();
        assert_all_close("mean", fit.q.mean(), &mean, 1e-6);
        let mean_field = &want["mean_field"];
        assert_all_close("sd", fit.q.sd(), &numbers(&mean_field["sd"]), 1e-6);
        let elbo = mean_field["elbo"].as_f64().unwrap();
        assert_close("ELBO", fit.trace.last().unwrap().elbo.unwrap(), elbo, 1e-8);
        let response = ascent.linear_response(&fit.model, &fit.q).unwrap();
        let exact = numbers(&want["lrvb_cov"]);
        assert_all_close("covariance", response.covariance.as_slice(), &exact, 1e-6);

        let q = FullRankGaussian::standard(d);
        let full = elbo::fit(model, q, ascent, Options::default()).unwrap();
        let top = want["full_rank"]["elbo"].as_f64().unwrap();
        assert_close("full-rank ELBO", full.trace.last().unwrap().elbo.unwrap(), top, 1e-7);
    }
}

#[test]
fn matched_draws_are_exact_on_a_normal_posterior() {
    let (d, n) = (6, 9);
    let (target, covariance) = target(d);
    let model = Autodiff::new(target.clone());
    let ascent = matched(n).draw(d, 5);
    let start = MeanFieldGaussian::standard(d);
    let fit_mean_field = fit(model.clone(), start, ascent.clone(), Options::default()).unwrap();
    let q = &fit_mean_field.q;
    assert!(reason(&fit_mean_field).contains("9 fixed draws: Solver converged (L-BFGS"));
    // mean field at its best: the mean, and one over the root of the precision's diagonal
    for i in 0..d {
        assert_close("mean", q.mean()[i], target.mean[i], 1e-6);
        assert_close("sd", q.sd()[i], target.precision[(i, i)].sqrt().recip(), 1e-6);
    }
    let response = ascent.linear_response(&model, q).unwrap();
    for j in 0..d {
        let mut weights = vec![0.0; d];
        weights[j] = 1.0;
        let column = ascent.linear_response_of(&model, q, &weights).unwrap();
        for i in 0..d {
            assert_close("response", response.covariance[(i, j)], covariance[(i, j)], 1e-6);
            assert_close("one column", column[i], covariance[(i, j)], 1e-6);
        }
    }
    let start = FullRankGaussian::standard(d);
    let full = fit(model, start, ascent, Options::default()).unwrap();
    let exact = FullRankGaussian::new(target.mean, &covariance).unwrap();
    assert!(full.q.kl(&exact) < 1e-12, "{:e}", full.q.kl(&exact));
}

#[test]
fn matched_noise_has_the_moments_it_promises() {
    for (k, n) in [(3, 4), (3, 40), (1, 2)] {
        let eps = matched(n).draw(k, 1).eps;
        for i in 0..k {
            let mean: f64 = (0..n).map(|s| eps[s * k + i]).sum::<f64>() / n as f64;
            assert!(mean.abs() < 1e-13, "{mean}");
            for j in 0..k {
                let product = (0..n).map(|s| eps[s * k + i] * eps[s * k + j]);
                let want = if i == j { 1.0 } else { 0.0 };
                assert_close("moment", product.sum::<f64>() / n as f64, want, 1e-13);
            }
        }
    }
    let eps = matched(6).draw(50, 1).eps;
    for i in 0..50 {
        let column = || (0..6).map(|s| eps[s * 50 + i]);
        assert!(column().sum::<f64>().abs() < 1e-13);
        assert_close("second moment", column().map(|e| e * e).sum::<f64>() / 6.0, 1.0, 1e-13);
    }
}

#[test]
fn standard_errors_say_how_far_independent_draws_are_off() {
    // each refit's error over its predicted sd: mean square 1; 2 * 60 * 4 values in blocks of
    // correlated coordinates, so between 0.7 and 1.4 but for one in a thousand
    let d = 4;
    let (target, _) = target(d);
    let model = Autodiff::new(target.clone());
    let refits = 60;
    let (mut means, mut log_sds) = (0.0, 0.0);
    for seed in 0..refits {
        let ascent = FixedDraws::new(100).draw(d, seed);
        let start = MeanFieldGaussian::standard(d);
        let fit = fit(model.clone(), start, ascent.clone(), Options::default()).unwrap();
        let response = ascent.linear_response(&model, &fit.q).unwrap();
        for i in 0..d {
            let off = (fit.q.mean()[i] - target.mean[i]) / response.mean_error[i];
            means += off * off / (refits * d as u64) as f64;
            let best = -0.5 * target.precision[(i, i)].ln();
            let off = (fit.q.sd()[i].ln() - best) / response.log_sd_error[i];
            log_sds += off * off / (refits * d as u64) as f64;
        }
    }
    assert!((0.7..1.4).contains(&means), "{means}");
    assert!((0.7..1.4).contains(&log_sds), "{log_sds}");
}

#[test]
fn a_step_that_runs_out_goes_on_with_the_same_draws() {
    let (target, _) = target(5);
    let model = Autodiff::new(target);
    let whole = FixedDraws::new(20);
    let pieces = FixedDraws { iterations: 8, ..FixedDraws::new(20) };
    let start = || MeanFieldGaussian::standard(5);
    let at_once = fit(model.clone(), start(), whole, Options::default()).unwrap();
    assert_eq!(at_once.trace.len(), 1);
    let mut run = Run::new(model, start(), pieces, Options::default()).unwrap();
    let mut last = f64::NEG_INFINITY;
    let mut steps = 0;
    loop {
        let ended = run.step().unwrap();
        steps += 1;
        let now = run.trace.last().unwrap().elbo.unwrap();
        assert!(now >= last - 1e-12, "{now} after {last}");
        last = now;
        if let Some(outcome) = ended {
            assert!(matches!(outcome, Outcome::Converged { .. }), "{outcome:?}");
            break;
        }
    }
    assert!(steps > 2);
    assert_all_close("mean", run.q.mean(), at_once.q.mean(), 1e-6);
    assert_all_close("sd", run.q.sd(), at_once.q.sd(), 1e-6);
    // and it was the first step's noise throughout
    let mut noise = vec![0.0; 100];
    start().draw_noise(&mut stream(0, Purpose::Step, 0), &mut noise);
    assert_eq!(run.ascent.eps, noise);
}

#[test]
fn the_models_own_parameters_are_learned_too() {
    // x ~ N(z, 1), z ~ N(theta, 1): log p(x) is highest at theta = x, where z ~ N(x, 1/2)
    struct Prior(f64);
    impl Model for Prior {
        fn space(&self) -> Space {
            let mut space = Space::new();
            space.real("z");
            space
        }
        fn log_joint(&self, z: &[f64]) -> f64 {
            density::normal(z[0], self.0, 1.0) + density::normal(3.0, z[0], 1.0)
        }
        fn n_theta(&self) -> usize {
            1
        }
        fn theta(&self, out: &mut [f64]) {
            out[0] = self.0;
        }
        fn set_theta(&mut self, theta: &[f64]) {
            self.0 = theta[0];
        }
        fn add_theta_grad(&self, z: &[f64], weights: &[f64], grad: &mut [f64]) {
            grad[0] += z.iter().zip(weights).map(|(z, w)| w * (z - self.0)).sum::<f64>();
        }
    }
    impl elbo::Differentiable for Prior {
        fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
            grad[0] = self.0 - z[0] + 3.0 - z[0];
            self.log_joint(z)
        }
    }
    let start = MeanFieldGaussian::standard(1);
    let fit = fit(Prior(0.0), start, matched(10), Options::default()).unwrap();
    assert_close("theta", fit.model.0, 3.0, 1e-7);
    assert_close("mean", fit.q.mean()[0], 3.0, 1e-7);
    assert_close("sd", fit.q.sd()[0], 0.5f64.sqrt(), 1e-7);
    let evidence = density::normal(3.0, 3.0, 2f64.sqrt());
    assert_close("ELBO", fit.trace.last().unwrap().elbo.unwrap(), evidence, 1e-9);
}

/// Points of equal weight that stand for a normal in the plane: quantiles of the radius times
/// directions, brought to variance 1.
fn plane(radii: usize, directions: usize) -> Vec<f64> {
    let mut eps = Vec::new();
    for r in 0..radii {
        let radius = (-2.0 * (1.0 - (r as f64 + 0.5) / radii as f64).ln()).sqrt();
        for k in 0..directions {
            let angle =
                2.0 * std::f64::consts::PI * (k as f64 + 0.5 * (r % 2) as f64) / directions as f64;
            eps.extend([radius * angle.cos(), radius * angle.sin()]);
        }
    }
    let square: f64 = eps.iter().map(|e| e * e).sum();
    let scale = (eps.len() as f64 / square).sqrt();
    eps.iter().map(|e| e * scale).collect()
}

#[test]
fn logistic_regression_reaches_the_best_elbo_known() {
    for case in exact_cases("logistic_2d") {
        let (x, y) = (numbers(&case["inputs"]["x"]), numbers(&case["inputs"]["y"]));
        let prior_sd = case["inputs"]["prior_sd"].as_f64().unwrap();
        let mut space = Space::new();
        let b = space.reals("b", 2);
        let (rows, labels) = (x.clone(), y.clone());
        let model = from_fn(space, move |z| {
            let mut lp = density::normal(z[b][0], 0.0, prior_sd);
            lp += density::normal(z[b][1], 0.0, prior_sd);
            for (&x, &y) in rows.iter().zip(&labels) {
                let logit = z[b][0] + z[b][1] * x;
                lp += logit * y - logit.softplus();
            }
            lp
        });
        // the ELBO of a normal without noise: each term is an expectation in one dimension
        let elbo_of = |mean: &[f64], covariance: &DMatrix<f64>| {
            let mut sum =
                1.0 + (2.0 * std::f64::consts::PI).ln() + 0.5 * covariance.determinant().ln();
            for i in 0..2 {
                sum += density::normal(mean[i], 0.0, prior_sd);
                sum -= 0.5 * covariance[(i, i)] / (prior_sd * prior_sd);
            }
            for (&x, &y) in x.iter().zip(&y) {
                let m = mean[0] + mean[1] * x;
                let cross = covariance[(0, 1)] + covariance[(1, 0)];
                let sd = (covariance[(0, 0)] + x * cross + x * x * covariance[(1, 1)]).sqrt();
                let h = 0.01;
                for k in -1000..=1000 {
                    let e = k as f64 * h;
                    let logit = m + sd * e;
                    sum += h * density::normal(e, 0.0, 1.0).exp() * (logit * y - logit.softplus());
                }
            }
            sum
        };
        let eps = plane(200, 16);
        let ascent = FixedDraws::with_draws(&eps, eps.len() / 2);
        let want = |family: &str| case["expected"][family]["elbo"].as_f64().unwrap();
        let start = FullRankGaussian::standard(2);
        let full = fit(model.clone(), start, ascent.clone(), Options::default()).unwrap();
        let got = elbo_of(full.q.mean(), &full.q.covariance());
        assert!((got - want("full_rank_vi")).abs() < 1e-5, "{got} {}", want("full_rank_vi"));
        let start = MeanFieldGaussian::standard(2);
        let mean_field = fit(model, start, ascent, Options::default()).unwrap();
        let variance = mean_field.q.sd().iter().map(|s| s * s);
        let covariance = DMatrix::from_diagonal(&variance.collect::<Vec<f64>>().into());
        let got = elbo_of(mean_field.q.mean(), &covariance);
        assert!((got - want("mean_field_vi")).abs() < 1e-5, "{got} {}", want("mean_field_vi"));
    }
}

#[test]
fn what_cannot_work_is_refused_in_words() {
    let (target, _) = target(3);
    let model = || Autodiff::new(target.clone());
    let refuse = |ascent: FixedDraws| {
        let q = MeanFieldGaussian::standard(3);
        fit(model(), q, ascent, Options::default()).unwrap_err()
    };
    let expect = |error: Error, code: &str, words: &str| {
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    expect(refuse(FixedDraws::new(0)), "E10", "draws is 0; take 2 or more");
    expect(refuse(FixedDraws::new(1)), "E10", "draws is 1; take 2 or more");
    expect(refuse(FixedDraws::with_draws(&[0.1; 7], 3)), "E03", "3 draws of dimension 3");
    let mut eps = [0.5; 9];
    eps[4] = f64::NAN;
    expect(refuse(FixedDraws::with_draws(&eps, 3)), "E01", "draw 2, coordinate 2");
    for tolerance in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
        let ascent = FixedDraws { tolerance, ..FixedDraws::default() };
        expect(refuse(ascent), "E10", "tolerance");
    }
    expect(refuse(FixedDraws { iterations: 0, ..FixedDraws::default() }), "E10", "iterations");

    let full = fit(model(), FullRankGaussian::standard(3), FixedDraws::new(3), Options::default());
    expect(full.unwrap_err(), "E07", "take more than 3 draws");

    // a starting q whose draws leave the support
    let mut space = Space::new();
    let x = space.real("x");
    let log = from_fn(space, move |z| density::normal(z[x].ln(), 0.0, 1.0));
    let start = MeanFieldGaussian::new(vec![0.1], &[1.0]).unwrap();
    let error = fit(log, start, FixedDraws::default(), Options::default()).unwrap_err();
    expect(error, "E05", "of the starting q");

    let q = MeanFieldGaussian::standard(3);
    let error = FixedDraws::default().linear_response(&model(), &q).unwrap_err();
    expect(error, "E10", "draw them first");
    let drawn = FixedDraws::default().draw(2, 1);
    expect(drawn.linear_response(&model(), &q).unwrap_err(), "E03", "30 draws of dimension 3");
    let drawn = FixedDraws::default().draw(3, 1);
    let error = drawn.linear_response_of(&model(), &q, &[1.0]).unwrap_err();
    expect(error, "E03", "weights");
    assert_eq!(q.dim(), 3);
}
