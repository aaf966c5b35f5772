//! Bayesian PCA and factor analysis: the bound, and how many factors there are.

use elbo::data::{IRIS, Observations};
use elbo::models::factor_analysis::FactorPosterior;
use elbo::models::{BayesianFactors, FactorAnalysis};
use elbo::{
    EStep, Family, Fit, Model, NaturalStep, Options, Purpose, Run, Squarem, Stop, fit, stream,
};
use rand_distr::{Distribution, StandardNormal};

use crate::moves::{elbo_is_the_mean_of_its_draws, last, message, never_descends};
use crate::support::{assert_all_close, assert_close};

/// Rows of `d` columns by `q` factors of falling size, and noise of sd 0.5 (or rising from column
/// to column).
fn planted(n: usize, d: usize, q: usize, each: bool) -> Observations {
    let mut rng = stream(21, Purpose::Data, 0);
    let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
    let w: Vec<f64> = (0..d * q).map(|at| normal() * 2.0 / (1.0 + 0.5 * (at % q) as f64)).collect();
    let mut cells = Vec::with_capacity(n * d);
    for _ in 0..n {
        let z: Vec<f64> = (0..q).map(|_| normal()).collect();
        for (j, w) in w.chunks_exact(q).enumerate() {
            let noise = if each { 0.2 + 0.1 * j as f64 } else { 0.5 };
            let through: f64 = w.iter().zip(&z).map(|(w, z)| w * z).sum();
            cells.push(3.0 * j as f64 + through + noise * normal());
        }
    }
    Observations::new(cells, d).expect("fine")
}

fn iris() -> Observations {
    Observations::new(IRIS.iter().flatten().copied().collect(), 4).expect("numbers")
}

fn best(model: BayesianFactors) -> Fit<BayesianFactors, FactorPosterior> {
    let q = model.start();
    never_descends(model, q, Squarem::new(EStep))
}

fn both(data: Observations, q: usize) -> [FactorAnalysis; 2] {
    [FactorAnalysis::principal(data.clone(), q), FactorAnalysis::new(data, q)]
        .map(|m| m.expect("fine"))
}

#[test]
fn the_planted_number_of_factors_is_found() {
    for planted_factors in [0, 1, 3, 5] {
        let data = match planted_factors {
            0 => {
                let mut rng = stream(9, Purpose::Data, 0);
                let cells = (0..3000).map(|_| StandardNormal.sample(&mut rng)).collect();
                Observations::new(cells, 10).expect("fine")
            }
            q => planted(300, 10, q, false),
        };
        for point in both(data.clone(), 9) {
            let fit = best(point.bayesian());
            assert_eq!(fit.q.relevant().len(), planted_factors, "{:?}", fit.q.signal());
        }
    }
    let fit = best(FactorAnalysis::new(planted(400, 8, 2, true), 6).expect("fine").bayesian());
    assert_eq!(fit.q.relevant().len(), 2, "{:?}", fit.q.signal());
    // the noise of each column, within 5 of the standard errors a known mean would leave
    for (j, psi) in fit.model.uniquenesses(&fit.q).iter().enumerate() {
        let want = (0.2 + 0.1 * j as f64).powi(2);
        assert!((psi / want - 1.0).abs() < 5.0 * (2.0f64 / 400.0).sqrt(), "{j}: {psi} {want}");
    }
}

#[test]
fn the_elbo_is_the_mean_of_its_draws() {
    for point in both(planted(12, 3, 1, false), 2) {
        let model = point.bayesian().with_priors((2.0, 1.0), (3.0, 0.5)).expect("fine");
        let q = model.start();
        let options = Options { steps: 3, stop: Stop::Budget, ..Options::default() };
        let fit = fit(model, q, EStep, options).expect("it climbs");
        elbo_is_the_mean_of_its_draws(&fit.model, &fit.q, last(&fit));
        assert_eq!(fit.model.dim(), fit.model.space().dim());
        assert_eq!(fit.model.dim(), fit.q.dim());
        (0..fit.q.dim()).for_each(|i| assert_eq!(fit.q.support(i), fit.model.space().support(i)));
        // the entropy it states is that of its draws
        let (mut z, n) = (vec![0.0; fit.q.dim()], 4000);
        let mut rng = stream(3, Purpose::Data, 0);
        let mut terms = vec![0.0; n];
        for term in &mut terms {
            fit.q.sample(&mut rng, &mut z);
            *term = -fit.q.log_prob(&z);
        }
        let mean = terms.iter().sum::<f64>() / n as f64;
        let variance = terms.iter().map(|t| (t - mean) * (t - mean)).sum::<f64>() / n as f64;
        let off = mean - fit.q.entropy().expect("known");
        assert!(off.abs() < 4.0 * (variance / n as f64).sqrt(), "{off}");
    }
}

#[test]
fn the_bound_has_no_slope_where_a_climb_ends() {
    for point in both(iris(), 2) {
        let model = point.bayesian().with_priors((2.0, 1.0), (3.0, 0.5)).expect("fine");
        let q = model.start();
        // no more than rounding is left to gain after so many
        let options = Options { steps: 3000, stop: Stop::Budget, ..Options::default() };
        let fit = fit(model, q, Squarem::new(EStep), options).expect("it climbs");
        assert_close("ELBO", fit.model.elbo(&fit.q), last(&fit), 1e-12);
        let mut params = vec![0.0; fit.q.n_params()];
        fit.q.params(&mut params);
        let mut moved = fit.q.clone();
        moved.set_params(&params);
        assert_close("ELBO", fit.model.elbo(&moved), last(&fit), 1e-12);
        for j in 0..params.len() {
            const STEP: f64 = 1e-5;
            let mut at = |step: f64| {
                let mut params = params.clone();
                params[j] += step;
                moved.set_params(&params);
                fit.model.elbo(&moved)
            };
            let (up, down) = (at(STEP), at(-STEP));
            let slope = (up - down) / (2.0 * STEP);
            let bend = (up - 2.0 * last(&fit) + down) / (STEP * STEP);
            // a Newton step along this coordinate would gain slope^2 / 2 bend: next to nothing
            assert!(bend < 1.0, "the bound is not at a top in {j}: {bend}");
            let gain = 0.5 * slope * slope / bend.abs().max(1.0);
            assert!(gain < 1e-6, "slope {slope:e}, bend {bend:e} in {j}");
        }
    }
}

#[test]
fn the_bound_lies_below_the_highest_likelihood_and_the_answer_near_it() {
    for data in [iris(), planted(300, 6, 2, false)] {
        let point = FactorAnalysis::principal(data, 2).expect("fine");
        let exact = point.closed_form().expect("no cell is missing");
        let fit = best(point.bayesian());
        assert!(last(&fit) < exact.log_likelihood());
        // many rows: the posterior's mean is at the maximum, up to what the prior and a factor of
        // 1 / n change
        let (a, b) = (fit.model.uniquenesses(&fit.q)[0], exact.uniquenesses()[0]);
        assert!((a / b - 1.0).abs() < 0.05, "{a} {b}");
        assert_all_close("mean", &fit.model.mean(&fit.q), exact.mean(), 1e-3);
        let at = fit.model.score(&fit.q, &data_of(&fit.model)).expect("fine");
        let lost = exact.log_likelihood() - at.iter().sum::<f64>();
        // a dozen parameters within a fraction of their standard errors
        assert!((0.0..2.0).contains(&lost), "{lost}");
    }
}

fn data_of(model: &BayesianFactors) -> Observations {
    model.point().data().clone()
}

#[test]
fn steps_never_descend_sped_up_or_not() {
    for point in both(iris(), 3) {
        let model = point.bayesian();
        let plain = never_descends(model.clone(), model.start(), EStep);
        let fast = best(model);
        // plain steps crawl, and stop a little below
        assert!(last(&fast) > last(&plain) - 1e-6, "{} {}", last(&fast), last(&plain));
        assert!(fast.trace.len() < plain.trace.len());
    }
}

#[test]
fn a_weight_of_two_is_a_row_twice_and_scale_and_origin_do_not_matter() {
    let data = planted(40, 4, 1, true);
    let weights = (0..40).map(|i| f64::from(1 + i % 2)).collect();
    let twice: Vec<f64> = data.rows().enumerate().flat_map(|(i, x)| x.repeat(1 + i % 2)).collect();
    let ends = |data: Observations| {
        let model = FactorAnalysis::new(data, 2).expect("fine").bayesian();
        let q = model.start();
        let options = Options { steps: 60, stop: Stop::Budget, ..Options::default() };
        fit(model, q, EStep, options).expect("it climbs")
    };
    let twice = Observations::new(twice, 4).expect("fine");
    let (a, b) = (ends(data.weighted(weights).expect("fine")), ends(twice.clone()));
    assert_close("ELBO", last(&a), last(&b), 1e-10);
    let squares = |fit: &Fit<BayesianFactors, FactorPosterior>, scale: f64| -> Vec<f64> {
        fit.model.loadings(&fit.q).iter().map(|w| (w / scale).powi(2)).collect()
    };
    assert_all_close("loadings", &squares(&a, 1.0), &squares(&b, 1.0), 1e-8);
    for (scale, shift) in [(1e12, 0.0), (1e-12, 0.0), (1.0, 1e5)] {
        let cells = twice.values().iter().map(|x| x * scale + shift).collect();
        let c = ends(Observations::new(cells, 4).expect("fine"));
        let elbo = last(&c) + 60.0 * 4.0 * f64::ln(scale);
        assert_close("ELBO", elbo, last(&b), 1e-8);
        assert_all_close("loadings", &squares(&c, scale), &squares(&b, 1.0), 1e-6);
    }
}

#[test]
fn new_rows_are_explained_and_drawn() {
    let data = planted(300, 5, 1, false);
    let fit = best(FactorAnalysis::principal(data.clone(), 3).expect("fine").bayesian());
    let [top] = fit.q.relevant()[..] else { panic!("one factor was planted") };
    let z = fit.model.predict(&fit.q, &data).expect("fine");
    // the factor is normal of variance about 1, and the others are next to nothing
    let square = |k: usize| z.chunks_exact(3).map(|z| z[k] * z[k]).sum::<f64>() / 300.0;
    assert!((square(top) - 1.0).abs() < 0.2, "{}", square(top));
    assert!((0..3).filter(|&k| k != top).all(|k| square(k) < 1e-2));
    let x = fit.model.sample(&fit.q, 20_000, &mut stream(1, Purpose::Data, 5));
    let x = Observations::new(x, 5).expect("fine");
    // each mean and variance within 5 standard errors of what 300 rows tell
    for j in 0..5 {
        let (mean, variance) = (data.mean()[j], data.variance()[j]);
        assert!((x.mean()[j] - mean).abs() < 5.0 * (variance / 300.0).sqrt());
        assert!((x.variance()[j] / variance - 1.0).abs() < 5.0 * (2.0f64 / 300.0).sqrt());
    }
}

#[test]
fn a_resumed_run_ends_with_the_same_bits() {
    let model = FactorAnalysis::new(iris(), 3).expect("fine").bayesian();
    let options = Options { steps: 40, stop: Stop::Budget, ..Options::default() };
    let start = || {
        Run::new(model.clone(), model.start(), Squarem::new(EStep), options.clone()).expect("fine")
    };
    let whole = start().finish().expect("fine");
    let mut run = start();
    (0..17).for_each(|_| assert_eq!(run.step().expect("fine"), None));
    let file = std::env::temp_dir().join(format!("elbo-bayes-fa-{}.json", std::process::id()));
    run.save(&file).expect("written");
    let resumed: Run<BayesianFactors, FactorPosterior, Squarem<EStep>> =
        Run::resume(&file, model.clone()).expect("read");
    let resumed = resumed.finish().expect("fine");
    std::fs::remove_file(&file).expect("it was there");
    assert_eq!(resumed.trace, whole.trace);
    assert_eq!(model.loadings(&resumed.q), model.loadings(&whole.q));
}

#[test]
fn fewer_rows_than_columns_are_enough() {
    let data = planted(8, 12, 1, false);
    let fit = best(FactorAnalysis::principal(data, 5).expect("fine").bayesian());
    assert!(last(&fit).is_finite() && fit.q.relevant().len() <= 5);
    assert!(fit.model.uniquenesses(&fit.q)[0] > 0.0);
}

#[test]
fn bad_input_is_named() {
    let model = FactorAnalysis::principal(iris(), 2).expect("fine").bayesian();
    let bad = model.clone().with_priors((0.0, 1.0), (1.0, 1.0));
    assert_eq!(message(bad), "E10 the shape of alpha is 0; it must be positive and finite");
    let bad = model.clone().with_priors((1.0, 1.0), (1.0, f64::NAN));
    assert_eq!(message(bad), "E10 the rate of tau is NaN; it must be positive and finite");
    let q = model.start();
    let bad = model.predict(&q, &Observations::new(vec![1.0], 1).expect("fine"));
    assert!(message(bad).starts_with("E03 a row has 1 values"));
    let bad = fit(model, q, NaturalStep::constant(0.5), Options::exact());
    assert!(message(bad).contains("factors belong to single rows: use EStep"));
}

/// Rows of noise of sd 1 and `factors` factors with normal loadings.
fn drawn(seed: u64, (n, d): (usize, usize), factors: usize) -> Observations {
    let mut rng = stream(seed, Purpose::Data, 5);
    let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
    let w: Vec<f64> = (0..d * factors).map(|_| normal()).collect();
    let mut cells = Vec::with_capacity(n * d);
    for _ in 0..n {
        let z: Vec<f64> = (0..factors).map(|_| normal()).collect();
        for j in 0..d {
            let own = &w[j * factors..(j + 1) * factors];
            cells.push(normal() + own.iter().zip(&z).map(|(w, z)| w * z).sum::<f64>());
        }
    }
    Observations::new(cells, d).expect("fine")
}

/// Relevance alone keeps a factor of noise now and then; the bound of a start without it is higher.
#[test]
fn noise_has_no_factors_and_true_ones_are_kept() {
    let found = |data: Observations, at: usize| {
        let model = both(data, 7)[at].bayesian();
        let alone = best(model.clone());
        let several = model.fit().expect("fine");
        assert!(last(&several.fit) > last(&alone) - 1e-3, "{several}");
        (alone.q.relevant().len(), several.fit.q.relevant().len())
    };
    for at in 0..2 {
        let mut alone = 0;
        for seed in 0..40 {
            let (one, several) = found(drawn(seed, (100, 8), 0), at);
            assert_eq!(several, 0, "set {seed}");
            alone += usize::from(one > 0);
        }
        // of sets of pure noise a start with all factors on keeps one in a tenth
        assert!(alone > 0, "there was something to mend");
        for seed in 0..20 {
            let (_, several) = found(drawn(seed, (300, 8), 3), at);
            assert_eq!(several, 3, "set {seed}");
        }
    }
}

#[test]
fn factors_that_are_off_at_the_start_stay_off() {
    for model in both(iris(), 3).map(|point| point.bayesian()) {
        let q = model.start_with(1).expect("fine");
        let fit = never_descends(model.clone(), q, Squarem::new(EStep));
        assert_eq!(fit.q.relevant().len(), 1);
        let w = model.loadings(&fit.q);
        assert!(w.chunks_exact(3).all(|w| w[0] != 0.0 && w[1] == 0.0 && w[2] == 0.0));
        let text = message(model.start_with(4));
        assert_eq!(text, "E10 factors that are on is 4; the model has 3 factors");
    }
}
