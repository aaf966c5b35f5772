//! `Laplace` and the search for a mode: exact where the posterior is normal, robust where the road
//! is hard, plain about what does not exist.

use crate::support::{assert_all_close, assert_close, exact_cases, numbers};
use elbo::laplace::{ModeOptions, curvature, mode, start};
use elbo::{
    DMatrix, DifferencedHessian, Differentiable, Error, FullRankGaussian, Laplace, Model, Options,
    Outcome, Real, Space, TwiceDifferentiable, Var, density, fit, from_fn,
};

fn find(model: &impl TwiceDifferentiable) -> Result<elbo::laplace::Mode, Error> {
    let from = start(model, None, 1)?;
    mode(model, &from, &ModeOptions::default())
}

/// `y ~ N(X beta, sd)`, `beta ~ N(0, prior_sd)`, `X` by rows.
fn regression(x: Vec<Vec<f64>>, y: Vec<f64>, sd: f64, prior_sd: f64) -> impl TwiceDifferentiable {
    let mut space = Space::new();
    let beta = space.reals("beta", x[0].len());
    from_fn(space, move |z| {
        let mut lp = Var::from(0.0);
        for &b in &z[beta] {
            lp += density::normal(b, 0.0, prior_sd);
        }
        for (row, &y) in x.iter().zip(&y) {
            let mut mean = Var::from(0.0);
            for (&x, &b) in row.iter().zip(&z[beta]) {
                mean += b * x;
            }
            lp += density::normal(Var::from(y), mean, sd);
        }
        lp
    })
}

/// Posterior mean and covariance of that regression.
fn answer(x: &[Vec<f64>], y: &[f64], sd: f64, prior_sd: f64) -> (Vec<f64>, DMatrix<f64>) {
    let d = x[0].len();
    let entry = |i: usize, j: usize| {
        let sum: f64 = x.iter().map(|row| row[i] * row[j]).sum();
        sum / (sd * sd) + if i == j { prior_sd.powi(-2) } else { 0.0 }
    };
    let covariance = DMatrix::from_fn(d, d, entry).try_inverse().unwrap();
    let right = DMatrix::from_fn(d, 1, |i, _| {
        x.iter().zip(y).map(|(row, y)| row[i] * y).sum::<f64>() / (sd * sd)
    });
    let mean = &covariance * right;
    (mean.as_slice().to_vec(), covariance)
}

/// Noise without a generator.
fn wobble(i: usize) -> f64 {
    ((i * 7919 + 13) % 101) as f64 / 50.0 - 1.0
}

#[test]
fn years_as_they_come_are_no_trouble() {
    // intercept and slope are correlated by -0.99996
    let x: Vec<Vec<f64>> = (1952..2014).map(|year| vec![1.0, f64::from(year)]).collect();
    let y: Vec<f64> = (0..62).map(|i| 8.0 + 0.02 * i as f64 + wobble(i)).collect();
    let (mean, covariance) = answer(&x, &y, 1.1, 50.0);
    let correlation = covariance[(0, 1)] / (covariance[(0, 0)] * covariance[(1, 1)]).sqrt();
    assert!(correlation < -0.9999, "{correlation}");
    let model = regression(x, y, 1.1, 50.0);
    let fit = fit(model, FullRankGaussian::standard(2), Laplace::default(), Options::default());
    let fit = fit.unwrap();
    for i in 0..2 {
        let sd = covariance[(i, i)].sqrt();
        assert!((fit.q.mean()[i] - mean[i]).abs() < 1e-5 * sd, "{:?}", fit.q.mean());
        assert_close("sd", fit.q.sd()[i], sd, 1e-8);
    }
    let Outcome::Converged { rule } = &fit.outcome else { panic!("{:?}", fit.outcome) };
    assert!(rule.contains("Newton decrement"), "{rule}");
    assert!(rule.contains("Laplace log evidence"), "{rule}");
}

#[test]
fn columns_of_any_size_are_solved() {
    // scales from 1e-4 to 1e4, so curvatures over sixteen orders of magnitude
    let x: Vec<Vec<f64>> = (0..60)
        .map(|n| (0..9).map(|k| 10f64.powi(k - 4) * wobble(n * 9 + k as usize)).collect())
        .collect();
    let y: Vec<f64> = (0..60).map(|n| 3.0 * wobble(n * n + 5)).collect();
    let (mean, covariance) = answer(&x, &y, 0.5, 1e5);
    let found = find(&regression(x, y, 0.5, 1e5)).unwrap();
    assert!(found.arrived, "{}", found.reason);
    for i in 0..9 {
        let sd = covariance[(i, i)].sqrt();
        let off = (found.z[i] - mean[i]).abs() / sd;
        assert!(off < 1e-5, "beta[{i}] is {off:e} sd off; {}", found.reason);
    }
}

#[test]
fn noise_learned_with_a_line_through_years() {
    let mut space = Space::new();
    let (a, b, sigma) = (space.real("alpha"), space.real("beta"), space.positive("sigma"));
    let model = from_fn(space, move |z| {
        let mut lp = density::normal(z[a], 0.0, 100.0)
            + density::normal(z[b], 0.0, 10.0)
            + density::half_cauchy(z[sigma], 5.0);
        for i in 0..62 {
            let y = Var::from(8.0 + 0.02 * i as f64 + wobble(i));
            lp += density::normal(y, z[a] + z[b] * (1952.0 + i as f64), z[sigma]);
        }
        lp
    })
    .unconstrained();
    let found = find(&model).unwrap();
    assert!(found.arrived && found.decrement.unwrap() < 1e-6, "{}", found.reason);
    // the same top from elsewhere
    let other = mode(&model, &[40.0, -3.0, 2.0], &ModeOptions::default()).unwrap();
    assert_close("log joint", other.log_joint, found.log_joint, 1e-12);
    let around = curvature(&model, &found.z).unwrap().cholesky();
    for i in 0..3 {
        let sd = around.row(i).norm();
        assert!((other.z[i] - found.z[i]).abs() < 1e-5 * sd, "{i}: {:?} {:?}", other.z, found.z);
    }
}

#[test]
fn the_bottom_of_a_funnel_is_found() {
    // y ~ N(0, 3), x_i ~ N(0, e^(y/2)): with x = 0 the log joint is -y^2/18 - 9 y/2, top at -40.5
    let mut space = Space::new();
    let (y, x) = (space.real("y"), space.reals("x", 9));
    let model = from_fn(space, move |z| {
        let mut lp = density::normal(z[y], 0.0, 3.0);
        for &x in &z[x] {
            lp += density::normal(x, 0.0, (z[y] * 0.5).exp());
        }
        lp
    });
    let from = [1.0, 0.3, -0.2, 0.9, 1.1, -0.7, 0.1, 0.2, 0.5, -0.4];
    let found = mode(&model, &from, &ModeOptions::default()).unwrap();
    assert!(found.arrived, "{}", found.reason);
    assert_close("y", found.z[0], -40.5, 1e-6);
    let around = curvature(&model, &found.z).unwrap();
    assert_eq!(around.repaired, None);
    assert_close("sd of y", around.cholesky().row(0).norm(), 3.0, 1e-6);
}

#[test]
fn a_mode_that_does_not_exist_is_named() {
    // schools with their effects uncoupled from their scale: the density is infinite at tau = 0
    let effects = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
    let mut space = Space::new();
    let (mu, tau) = (space.real("mu"), space.positive("tau"));
    let theta = space.reals("theta", 8);
    let centred = from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
        for (j, &theta) in z[theta].iter().enumerate() {
            lp += density::normal(theta, z[mu], z[tau]);
            lp += density::normal(Var::from(effects[j]), theta, 12.0);
        }
        lp
    })
    .unconstrained();
    let error = find(&centred).unwrap_err();
    assert_eq!(error.code(), "E07", "{error}");
    assert!(error.to_string().contains("`log(tau)` runs away"), "{error}");

    // two groups a line separates, no prior on the slope
    let mut space = Space::new();
    let slope = space.real("slope");
    let separable = from_fn(space, move |z| {
        let mut lp = Var::from(0.0);
        for x in [-2.0, -1.0, 1.5, 3.0f64] {
            lp -= (z[slope] * -x.abs()).exp().ln_1p();
        }
        lp
    });
    let error = find(&separable).unwrap_err();
    assert_eq!(error.code(), "E07", "{error}");
    assert!(error.to_string().contains("`slope` runs away"), "{error}");

    let mut space = Space::new();
    let (used, unused) = (space.real("used"), space.real("unused"));
    let _ = unused;
    let improper = from_fn(space, move |z| density::normal(z[used], 0.0, 1.0));
    let error = find(&improper).unwrap_err();
    assert_eq!(error.code(), "E08", "{error}");
    assert!(error.to_string().contains("`unused`"), "{error}");
}

#[test]
fn a_ridge_is_repaired_and_said_so() {
    // only the sum is known; a - b is not
    let mut space = Space::new();
    let (a, b, c) = (space.real("a"), space.real("b"), space.real("c"));
    let ridge = from_fn(space, move |z| {
        density::normal(z[a] + z[b], 3.0, 0.5) + density::normal(z[c], 0.0, 1.0)
    });
    let around = curvature(&ridge, &[1.0, 2.0, 0.0]).unwrap();
    let words = around.repaired.clone().unwrap();
    assert!(words.contains("not positive definite"), "{words}");
    assert!(words.contains("`a`") && words.contains("`b`") && !words.contains("`c`"), "{words}");
    let l = around.cholesky();
    assert!(l.iter().all(|x| x.is_finite()) && (0..3).all(|i| l[(i, i)] > 0.0), "{l}");
    // what is known stays what it is
    let covariance = &l * l.transpose();
    assert_close("var c", covariance[(2, 2)], 1.0, 1e-9);
    let sum = covariance[(0, 0)] + 2.0 * covariance[(0, 1)] + covariance[(1, 1)];
    assert_close("var of a + b", sum, 0.25, 1e-6);
}

#[test]
fn bad_starts_and_options_are_named() {
    let mut space = Space::new();
    let (x, tau) = (space.real("x"), space.positive("tau"));
    let hole = from_fn(space, move |z| (z[x] - 5.0).ln() - z[tau]).unconstrained();
    let error = start(&hole, None, 1).unwrap_err();
    assert_eq!(error.code(), "E05", "{error}");
    assert!(error.to_string().contains("(x = 0, tau = 1)"), "{error}");
    assert_eq!(start(&hole, Some(&[6.0, 0.0]), 1).unwrap(), [6.0, 0.0]);
    let error = start(&hole, Some(&[f64::NAN, 0.0]), 1).unwrap_err();
    assert!(error.to_string().contains("x = NaN"), "{error}");
    assert_eq!(start(&hole, Some(&[1.0]), 1).unwrap_err().code(), "E03");
    let error = mode(&hole, &[0.0, 0.0], &ModeOptions::default()).unwrap_err();
    assert_eq!(error.code(), "E05", "{error}");
    let error = fit(hole, FullRankGaussian::standard(2), Laplace::default(), Options::default());
    assert_eq!(error.unwrap_err().code(), "E05");

    // not finite at the origin, finite nearby
    let mut space = Space::new();
    let x = space.real("x");
    let pole = from_fn(space, move |z| density::normal(z[x].ln(), 0.0, 1.0));
    let from = start(&pole, None, 1).unwrap();
    assert!(from[0] > 0.0 && from[0] < 2.0, "{from:?}");
    assert_eq!(start(&pole, None, 1).unwrap(), from);
    for decrement in [f64::NAN, 0.0, -1.0] {
        let options = ModeOptions { decrement, ..ModeOptions::default() };
        let error = mode(&pole, &[1.0], &options).unwrap_err();
        assert_eq!(error.code(), "E10", "{error}");
        assert!(error.to_string().contains("decrement"), "{error}");
    }
    let lazy = ModeOptions { iterations: 1, newton_steps: 1, ..ModeOptions::default() };
    let short = mode(&pole, &[1.9], &lazy).unwrap();
    assert!(!short.arrived && short.reason.contains("ran out"), "{}", short.reason);
}

#[test]
fn differences_stand_in_for_the_hessian() {
    let mut space = Space::new();
    let (mu, tau, eta) = (space.real("mu"), space.positive("tau"), space.reals("eta", 3));
    let model = from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
        for (j, &eta) in z[eta].iter().enumerate() {
            lp += density::normal(eta, 0.0, 1.0);
            lp += density::normal(Var::from(4.0 * j as f64), z[mu] + z[tau] * eta, 3.0);
        }
        lp
    })
    .unconstrained();
    let exact = find(&model).unwrap();
    let differenced = DifferencedHessian::new(model.clone());
    let found = find(&differenced).unwrap();
    assert!(found.arrived, "{}", found.reason);
    assert_all_close("mode", &found.z, &exact.z, 1e-6);
    let (a, b) = (curvature(&model, &exact.z).unwrap(), curvature(&differenced, &exact.z).unwrap());
    // central differences with a step of 6e-6: relative error about 1e-9
    assert_all_close("factor", &b.factor, &a.factor, 1e-7);
    let (mut grad, mut again) = (vec![0.0; 5], vec![0.0; 5]);
    let mut product = vec![0.0; 5];
    differenced.hess_vec(&exact.z, &[0.0; 5], &mut grad, &mut product);
    assert_eq!(product, [0.0; 5]);
    model.log_joint_grad(&exact.z, &mut again);
    assert_eq!(grad, again);
    assert_eq!(differenced.log_joint(&exact.z), model.log_joint(&exact.z));
}

#[test]
fn logistic_regression_as_known() {
    for case in exact_cases("logistic_2d") {
        let (x, y) = (numbers(&case["inputs"]["x"]), numbers(&case["inputs"]["y"]));
        let prior_sd = case["inputs"]["prior_sd"].as_f64().unwrap();
        let mut space = Space::new();
        let b = space.reals("b", 2);
        let model = from_fn(space, move |z| {
            let mut lp = density::normal(z[b][0], 0.0, prior_sd);
            lp += density::normal(z[b][1], 0.0, prior_sd);
            for (&x, &y) in x.iter().zip(&y) {
                let logit = z[b][0] + z[b][1] * x;
                lp += logit * y - logit.softplus();
            }
            lp
        });
        let want = &case["expected"];
        let top = find(&model).unwrap();
        assert_all_close("mode", &top.z, &numbers(&want["map"]), 1e-6);
        let around = curvature(&model, &top.z).unwrap();
        let l = around.cholesky();
        let covariance = &l * l.transpose();
        assert_all_close("covariance", covariance.as_slice(), &numbers(&want["laplace_cov"]), 1e-6);
        let evidence = want["laplace_log_evidence"].as_f64().unwrap();
        assert_close("evidence", around.log_evidence(top.log_joint), evidence, 1e-8);
    }
}
