//! Factor analysis and probabilistic PCA: reference optima, the laws of EM, held-out rows.

use crate::moves::{elbo_is_the_mean_of_its_draws, last, message, never_descends};
use crate::support::{assert_all_close, assert_close, exact_cases, numbers, table};
use elbo::data::Observations;
use elbo::models::factor_analysis::{FactorAnalysis, Scores};
use elbo::{Anderson, EStep, Family, MStep, Maximize, Model, Options, Outcome, Run, Squarem, Stop};
use rand_distr::{Distribution, StandardNormal};

/// Rows of four columns by one factor and noise of several sizes.
fn rows(n: usize) -> Vec<f64> {
    let mut state = 99u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    let mut normal = || (0..12).map(|_| uniform()).sum::<f64>();
    (0..n)
        .flat_map(|_| {
            let z = normal();
            [
                1.0 + 2.0 * z + 0.3 * normal(),
                -z + normal(),
                5.0 + 0.1 * normal(),
                z + 0.5 * normal(),
            ]
        })
        .collect()
}

fn data() -> Observations {
    Observations::with_names(rows(40), ["a", "b", "c", "d"]).expect("fine")
}

/// The data of a reference case, or nothing where a file is not present.
fn reference(case: &serde_json::Value) -> Option<(Observations, usize)> {
    let q = case["inputs"]["q"].as_u64().expect("a number") as usize;
    let x = match case["inputs"]["dataset"].as_str() {
        Some("iris") => table("exact/data/iris.csv", 4)?,
        _ => numbers(&case["inputs"]["X"]),
    };
    let d = match case["inputs"]["X"].as_array() {
        Some(rows) => x.len() / rows.len(),
        None => 4,
    };
    Some((Observations::new(x, d).expect("fine"), q))
}

fn best(model: FactorAnalysis) -> elbo::Fit<FactorAnalysis, Scores> {
    let q = model.start();
    never_descends(model, q, Squarem::new((EStep, MStep)))
}

#[test]
fn principal_components_meet_their_closed_form() {
    for case in exact_cases("ppca") {
        let Some((data, q)) = reference(&case) else { continue };
        let want = &case["expected"];
        let number = |name: &str| want[name].as_f64().expect("a number");
        let model = FactorAnalysis::principal(data, q).expect("fine");
        let exact = model.closed_form().expect("no cell is missing");
        assert_close("log likelihood", exact.log_likelihood(), number("log_likelihood"), 1e-8);
        assert_all_close("mean", exact.mean(), &numbers(&want["mean"]), 1e-8);
        assert_close("sigma2", exact.uniquenesses()[0], number("sigma2"), 1e-8);
        assert_all_close("covariance", &exact.covariance(), &numbers(&want["model_cov"]), 1e-8);
        let fit = best(model);
        assert_close("by EM", last(&fit), number("log_likelihood"), 1e-8);
        assert_all_close("by EM", &fit.model.covariance(), &numbers(&want["model_cov"]), 1e-4);
    }
}

/// Where an eigenvalue is next to the noise EM crawls: it gains less than 1e-9 of its climb a step long
/// before the loadings have the size they should. `Converged` must not mean that.
#[test]
fn a_slow_climb_has_converged_where_it_says_so() {
    // orthogonal columns of known variances, some of them nearly equal
    let sizes = [4.0f64, 2.0, 1.02, 1.0, 0.99, 0.98];
    let sign =
        |i: usize, j: usize| if (i & (j + 1)).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
    let cells: Vec<f64> =
        (0..8).flat_map(|i| (0..6).map(move |j| sizes[j].sqrt() * sign(i, j))).collect();
    let data = Observations::new(cells.repeat(50), 6).expect("fine");
    for seed in 0..3 {
        let mut model = FactorAnalysis::principal(data.clone(), 3).expect("fine");
        model.restart(seed);
        let top = model.closed_form().expect("no cell is missing").log_likelihood();
        let q = model.start();
        for fit in [
            elbo::fit(model.clone(), q.clone(), (EStep, MStep), Options::exact()),
            elbo::fit(model.clone(), q.clone(), Squarem::new((EStep, MStep)), Options::exact()),
            elbo::fit(model, q, Anderson::new((EStep, MStep)), Options::exact()),
        ] {
            let fit = fit.expect("it climbs");
            assert!(matches!(fit.outcome, Outcome::Converged { .. }), "{}", fit.outcome);
            let short = top - last(&fit);
            assert!(short.abs() < 1e-6, "{short:e} nats short after {} steps", fit.trace.len());
        }
    }
}

#[test]
fn factor_analysis_meets_the_reference_optimum() {
    for case in exact_cases("factor_analysis") {
        let Some((data, q)) = reference(&case) else { continue };
        let want = &case["expected"];
        let number = |name: &str| want[name].as_f64().expect("a number");
        let fit = best(FactorAnalysis::new(data, q).expect("fine"));
        let off = (last(&fit) - number("log_likelihood")).abs();
        assert!(off < 1e-3, "{off}");
        let noise = numbers(&want["uniquenesses"]);
        assert_all_close("uniquenesses", &fit.model.uniquenesses(), &noise, 0.01);
    }
}

/// Four columns that are nearly one, and six that share half of their variance: one factor can explain
/// either group, and the likelihood has a maximum at each. The search finds the higher one.
#[test]
fn of_several_maxima_the_highest_is_found() {
    let n = 300;
    let mut rng = elbo::stream(8, elbo::Purpose::Data, 0);
    let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
    let mut cells = Vec::new();
    for _ in 0..n {
        let (a, b) = (normal(), normal());
        cells.extend((0..4).map(|_| a + 0.2 * normal()));
        cells.extend((0..7).map(|_| b + 0.9 * normal()));
    }
    let data = Observations::new(cells, 11).expect("fine");
    let model = FactorAnalysis::new(data, 1).expect("fine");
    let climbs: Vec<f64> = (0..12)
        .map(|seed| {
            let mut model = model.clone();
            model.restart(seed);
            last(&best(model))
        })
        .collect();
    let top = climbs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert!(climbs.iter().any(|end| *end < top - 100.0), "all random starts agree: {climbs:?}");
    let found = model.fit(1).expect("fine");
    assert!(last(&found.fit) > top - 1e-4, "{} {top}", last(&found.fit));
}

#[test]
fn the_e_step_touches_and_its_draws_say_the_same() {
    let mut model = FactorAnalysis::new(data(), 2).expect("fine");
    let mut q = model.start();
    let elbo = elbo::Conjugate::natural_step(&model, &mut q, 1.0).expect("fine");
    assert_close("log likelihood", elbo, model.log_likelihood(), 1e-12);
    let rows: f64 = model.score(&data()).expect("fine").iter().sum();
    assert_close("sum over rows", elbo, rows, 1e-12);
    elbo_is_the_mean_of_its_draws(&model, &q, elbo);
    // q is that of the old parameters: the bound is below the likelihood now, and as reported
    let after = model.maximize(&q).expect("fine");
    assert!(after > elbo && after < model.log_likelihood());
    elbo_is_the_mean_of_its_draws(&model, &q, after);
    let entropy = q.entropy().expect("known");
    let mut z = vec![0.0; q.dim() * 400];
    q.sample(&mut elbo::stream(3, elbo::Purpose::Data, 0), &mut z);
    let mean = z.chunks_exact(q.dim()).map(|z| -q.log_prob(z)).sum::<f64>() / 400.0;
    // the sd of log q is that of half a chi-square of 80 degrees of freedom
    assert!((mean - entropy).abs() < 4.0 * 40f64.sqrt() / 20.0, "{mean} {entropy}");
}

/// Central differences of the bound in every parameter, at the M-step's answer.
#[test]
fn the_m_step_stands_where_the_bound_is_level() {
    for shared in [false, true] {
        let model = |x| match shared {
            true => FactorAnalysis::principal(x, 2),
            false => FactorAnalysis::new(x, 2),
        };
        let mut model = model(data()).expect("fine");
        let mut q = model.start();
        elbo::Conjugate::natural_step(&model, &mut q, 1.0).expect("fine");
        let top = model.maximize(&q).expect("fine");
        let mut theta = vec![0.0; model.n_theta()];
        model.theta(&mut theta);
        // the mean of log p - log q over the same draws, as a function of theta
        let mut z = vec![0.0; q.dim() * 2];
        q.sample(&mut elbo::stream(3, elbo::Purpose::Data, 0), &mut z);
        for i in 0..theta.len() {
            let h = 1e-4;
            let bound = |to: f64| {
                let mut moved = theta.clone();
                moved[i] += to;
                let mut other = model.clone();
                other.set_theta(&moved);
                // maximize reports the bound of (q, best theta): nothing is above it
                other.log_likelihood() - gap(&other, &q)
            };
            let slope = (bound(h) - bound(-h)) / (2.0 * h);
            assert!(slope.abs() < 1e-4, "slope {slope} in {i}");
            assert!(bound(h) <= top + 1e-9 && bound(-h) <= top + 1e-9);
        }
    }
}

/// `KL(q || p(z | x, theta))`: both are normal in each row, with shared covariances.
fn gap(model: &FactorAnalysis, q: &Scores) -> f64 {
    use elbo::{DMatrix, FullRankGaussian};
    let one = |q: &Scores, rows: usize| {
        // mean and covariance by 2 k + 1 evaluations of the log density would be slow: read them
        // off draws' exact moments instead
        let k = q.dim() / rows;
        let mut params = vec![0.0; q.n_params()];
        q.params(&mut params);
        let d = (params.len()) / (k + 1);
        let w = DMatrix::from_column_slice(d, k, &params[..d * k]);
        let noise =
            DMatrix::from_fn(d, d, |i, j| if i == j { (-params[d * k + i]).exp() } else { 0.0 });
        let m = w.transpose() * &noise * &w + DMatrix::identity(k, k);
        let v = m.try_inverse().expect("positive");
        let beta = &v * w.transpose() * noise;
        (beta, v)
    };
    let data = data();
    let rows = data.len();
    let p = model.start();
    let ((bq, vq), (bp, vp)) = (one(q, rows), one(&p, rows));
    let mean = model.mean();
    let variance = data.variance();
    let shared = variance.iter().sum::<f64>() / 4.0;
    let same = model.uniquenesses().windows(2).all(|w| w[0] == w[1]);
    let unit: Vec<f64> = variance.iter().map(|v| if same { shared } else { *v }.sqrt()).collect();
    data.rows()
        .map(|x| {
            let off = DMatrix::from_fn(4, 1, |j, _| (x[j] - mean[j]) / unit[j]);
            let a = FullRankGaussian::new((&bq * &off).as_slice().to_vec(), &vq).expect("fine");
            let b = FullRankGaussian::new((&bp * &off).as_slice().to_vec(), &vp).expect("fine");
            elbo::Divergence::kl(&a, &b)
        })
        .sum()
}

#[test]
fn a_weight_of_two_is_a_row_twice_and_scale_does_not_matter() {
    let x = rows(15);
    let weights: Vec<f64> = (0..15).map(|i| f64::from(1 + i % 2)).collect();
    let twice: Vec<f64> = (0..15).flat_map(|i| x[4 * i..4 * i + 4].repeat(1 + i % 2)).collect();
    let weighted = Observations::new(x.clone(), 4).and_then(|x| x.weighted(weights)).expect("fine");
    let repeated = Observations::new(twice, 4).expect("fine");
    // as many steps each: where a run stops is a matter of rounding
    let ends = |data| {
        let model = FactorAnalysis::new(data, 1).expect("fine");
        let (q, stop) = (model.start(), Stop::Budget);
        let options = Options { steps: 100, stop, ..Options::exact() };
        elbo::fit(model, q, (EStep, MStep), options).expect("it climbs").model.covariance()
    };
    let (a, b) = (ends(weighted), ends(repeated.clone()));
    assert_all_close("weights", &a, &b, 1e-6);
    for scale in [1e12, 1e-12] {
        let scaled = repeated.values().iter().map(|x| x * scale).collect();
        let c = ends(Observations::new(scaled, 4).expect("fine"));
        let back: Vec<f64> = c.iter().map(|c| c / (scale * scale)).collect();
        assert_all_close("scale", &back, &b, 1e-6);
    }
}

#[test]
fn a_resumed_run_ends_with_the_same_bits() {
    let model = || FactorAnalysis::new(data(), 2).expect("fine");
    let options = Options { steps: 40, stop: Stop::Budget, ..Options::exact() };
    let whole = {
        let (m, q) = (model(), model().start());
        elbo::fit(m, q, (EStep, MStep), options.clone()).expect("fine")
    };
    let (m, q) = (model(), model().start());
    let mut run = Run::new(m, q, (EStep, MStep), options).expect("fine");
    (0..17).for_each(|_| assert_eq!(run.step().expect("fine"), None));
    let file = std::env::temp_dir().join(format!("elbo-factors-{}.json", std::process::id()));
    run.save(&file).expect("written");
    let resumed: Run<_, Scores, (EStep, MStep)> = Run::resume(&file, model()).expect("read");
    let resumed = resumed.finish().expect("fine");
    std::fs::remove_file(&file).expect("it was there");
    assert_eq!(resumed.trace, whole.trace);
    assert_eq!(resumed.model.loadings(), whole.model.loadings());
}

#[test]
fn new_rows_are_explained_and_drawn() {
    let fit = best(FactorAnalysis::new(data(), 1).expect("fine"));
    let z = fit.model.predict(&data()).expect("fine");
    assert_eq!(z.len(), 40);
    let mean = z.iter().sum::<f64>() / 40.0;
    assert!(mean.abs() < 1e-9, "{mean}");
    let x = Observations::new(fit.model.sample(20_000, 1), 4).expect("fine");
    // each mean within 4 standard errors
    let spread = fit.model.covariance();
    for j in 0..4 {
        let se = (spread[5 * j] / 20_000.0).sqrt();
        assert!((x.mean()[j] - fit.model.mean()[j]).abs() < 4.0 * se);
        // and each variance: its standard error is variance sqrt(2 / n)
        let off = x.variance()[j] / spread[5 * j] - 1.0;
        assert!(off.abs() < 4.0 * (2.0f64 / 20_000.0).sqrt(), "{off}");
    }
}

#[test]
fn bad_input_is_named() {
    let four = || data();
    assert_eq!(
        message(FactorAnalysis::new(four(), 4)),
        "E10 factors is 4; 4 columns can be explained by 1 to 3 factors"
    );
    assert!(message(FactorAnalysis::new(four(), 0)).starts_with("E10 factors is 0"));
    let one = Observations::new(vec![1.0, 2.0, 1.0, 2.0], 2).expect("fine");
    assert!(message(FactorAnalysis::new(one, 1)).contains("nothing varies"));
    let names = ["a", "b", "flat"];
    let flat = vec![1.0, 2.0, 7.0, 3.0, 1.0, 7.0, 2.0, 5.0, 7.0];
    let flat = Observations::with_names(flat, names).expect("fine");
    assert_eq!(
        message(FactorAnalysis::new(flat, 1)),
        "E01 column \"flat\" is constant, 7. Drop it: it has no variance to explain"
    );
    let model = FactorAnalysis::new(four(), 1).expect("fine");
    let narrow = Observations::new(vec![1.0, 2.0], 2).expect("fine");
    assert!(message(model.score(&narrow)).starts_with("E03 a row has 2 values"));
}

/// Two columns that repeat each other: the factors explain them wholly.
#[test]
fn a_repeated_column_is_noticed() {
    let x: Vec<f64> = rows(40).chunks_exact(4).flat_map(|r| [r[0], r[0], r[1], r[3]]).collect();
    let model = FactorAnalysis::new(Observations::new(x, 4).expect("fine"), 1).expect("fine");
    assert!(model.warnings().iter().any(|w| w.message == "column 1 repeats column 0"));
    let q = model.start();
    let options = Options { steps: 3_000, stop: Stop::Budget, ..Options::exact() };
    let fit = elbo::fit(model, q, Squarem::new((EStep, MStep)), options).expect("it climbs");
    let said = fit.model.warnings();
    assert!(said.iter().any(|w| w.message.contains("(a Heywood case)")), "{said:?}");
}

/// Three columns on a plane: two components leave no noise, and rounding is not taken for any.
#[test]
fn a_closed_form_without_noise_has_no_likelihood() {
    let cells = rows(40).chunks_exact(4).flat_map(|r| [r[0], r[1], r[0] - 2.0 * r[1]]).collect();
    let data = Observations::new(cells, 3).expect("fine");
    let model = FactorAnalysis::principal(data, 2).expect("fine");
    assert!(!model.closed_form().expect("no cell is missing").log_likelihood().is_finite());
}
