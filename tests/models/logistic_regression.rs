//! Logistic regression by coordinate ascent, against exact answers and the black-box fit.

use elbo::models::LogisticRegression;
use elbo::{
    Averaged, Differentiable, Divergence, DoWG, EStep, Error, Fit, FullRankGaussian,
    GradientAscent, Minibatch, Model, NaturalStep, Options, Run, Squarem, StickingTheLanding, Stop,
    fit, stream,
};
use elbo::{Family, Purpose};
use rand::RngExt;

use crate::moves::{last, message, never_descends};
use crate::support::{assert_all_close, assert_close, exact_cases, numbers};

/// Three columns, of which the last does nothing, and up to four trials a row.
fn counts(n: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let mut rng = stream(3, Purpose::Data, 0);
    let (mut x, mut y, mut trials) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..n {
        let row: [f64; 3] = std::array::from_fn(|_| 4.0 * rng.random::<f64>() - 2.0);
        let chance = 1.0 / (1.0 + (0.5 - row[0] + 0.7 * row[1]).exp());
        let m = 1 + i % 4;
        y.push((0..m).filter(|_| rng.random::<f64>() < chance).count() as f64);
        trials.push(m as f64);
        x.extend(row);
    }
    (x, y, trials)
}

fn binomial(n: usize) -> LogisticRegression {
    let (x, y, trials) = counts(n);
    LogisticRegression::binomial(&x, 3, &y, &trials, 1.5)
        .and_then(|m| m.with_intercept(2.0))
        .expect("fine")
}

type Fitted = Fit<LogisticRegression, FullRankGaussian>;

fn exactly(model: LogisticRegression) -> Result<Fitted, Error> {
    let q = model.start();
    let options = Options { stop: Stop::Exact { gain: 1e-14 }, ..Options::exact() };
    fit(model, q, EStep, options)
}

#[test]
fn the_references_lie_between_the_bound_and_the_evidence() -> Result<(), Error> {
    for case in exact_cases("logistic_2d") {
        let input = |name: &str| numbers(&case["inputs"][name]);
        let want = |name: &str| numbers(&case["expected"][name]);
        let sd = input("prior_sd")[0];
        let model = LogisticRegression::new(&input("x"), 1, &input("y"), sd)?.with_intercept(sd)?;
        let fit = never_descends(model.clone(), model.start(), EStep);
        let (bound, elbo, evidence) = (last(&fit), model.elbo(&fit.q), want("log_evidence")[0]);
        let best = numbers(&case["expected"]["full_rank_vi"]["elbo"])[0];
        assert!(bound < elbo && elbo < best + 1e-5 && best < evidence, "{bound} {elbo} {best}");
        // KL(q || posterior) <= evidence - bound, and a normal's mean is off by at most
        // sqrt(2 KL) sd where the posterior were normal too
        let (covariance, mean) = (want("post_cov"), want("post_mean"));
        for j in 0..2 {
            let far = (2.0 * (evidence - bound)).sqrt() * covariance[3 * j].sqrt();
            assert!((fit.q.mean()[j] - mean[j]).abs() < far, "{:?} {mean:?}", fit.q.mean());
        }
        // the best normal, told of by others, has that ELBO in ours
        let vi = &case["expected"]["full_rank_vi"];
        let cov = nalgebra::DMatrix::from_row_slice(2, 2, &numbers(&vi["cov"]));
        let q = FullRankGaussian::new(numbers(&vi["mean"]), &cov)?;
        assert_close("ELBO of the best normal", model.elbo(&q), best, 1e-8);
    }
    Ok(())
}

/// In two dimensions the evidence is a sum over a grid: bound, ELBO and evidence are in order, and the
/// means are the posterior's up to a share of its sd, which the bound takes for smaller than it is.
#[test]
fn the_evidence_on_a_grid_lies_above_the_bound() -> Result<(), Error> {
    let n = 40;
    let x: Vec<f64> = (0..n).map(|i| (1.7 * f64::from(i)).sin() + 0.3).collect();
    let trials: Vec<f64> = (0..n).map(|i| f64::from(1 + i % 3)).collect();
    let successes: Vec<f64> =
        (0..n).map(|i| f64::from((i * i % 5) * (1 + i % 3) / 5)).map(f64::floor).collect();
    let weights: Vec<f64> = (0..n).map(|i| 0.5 + 0.5 * f64::from(i % 2)).collect();
    for sd in [0.5, 2.0, 10.0] {
        let model = LogisticRegression::binomial(&x, 1, &successes, &trials, sd)?;
        let model = model.weighted(&weights)?.with_intercept(sd)?;
        let fit = never_descends(model.clone(), model.start(), EStep);
        let (bound, elbo) = (last(&fit), model.elbo(&fit.q));
        // midpoints out to 9 sds of q, where nothing is left: exact to 1e-9
        const SIDE: i32 = 160;
        let (mean, reach) = (fit.q.mean(), fit.q.sd().iter().map(|s| 9.0 * s).collect::<Vec<_>>());
        let step = |j: usize| 2.0 * reach[j] / f64::from(SIDE);
        let at = |j: usize, i: i32| mean[j] - reach[j] + (f64::from(i) + 0.5) * step(j);
        let points = (0..SIDE * SIDE).map(|i| [at(0, i / SIDE), at(1, i % SIDE)]);
        let logs: Vec<([f64; 2], f64)> = points.map(|z| (z, model.log_joint(&z))).collect();
        let top = logs.iter().map(|(_, l)| *l).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().map(|(_, l)| (l - top).exp()).sum();
        let evidence = top + sum.ln() + (step(0) * step(1)).ln();
        assert!(bound < elbo && elbo < evidence, "{bound} {elbo} {evidence}");
        assert!(evidence - elbo < 0.1, "a normal is near: {elbo} {evidence}");
        for j in 0..2 {
            let expect = |f: &dyn Fn(f64) -> f64| -> f64 {
                logs.iter().map(|(z, l)| (l - top).exp() * f(z[j])).sum::<f64>() / sum
            };
            let centre = expect(&|z| z);
            let spread = expect(&|z| (z - centre) * (z - centre)).sqrt();
            assert!((mean[j] - centre).abs() < 0.15 * spread, "{mean:?} {centre} {spread}");
            let ratio = fit.q.sd()[j] / spread;
            assert!((0.7..1.01).contains(&ratio), "sd {j}: {ratio}");
        }
    }
    Ok(())
}

#[test]
fn the_black_box_ends_higher_and_not_far_away() -> Result<(), Error> {
    let model = binomial(60);
    let cavi = exactly(model.clone())?;
    let ascent = GradientAscent::new(StickingTheLanding { draws: 20 }, Averaged::new(DoWG::new()));
    let options = Options { steps: 3000, stop: Stop::Budget, ..Options::default() };
    let black_box = fit(model.clone(), model.start(), ascent, options)?;
    let (bound, same, higher) = (last(&cavi), model.elbo(&cavi.q), model.elbo(&black_box.q));
    assert!(bound < same && same < higher, "{bound} {same} {higher}");
    let (a, b) = (cavi.q.mean(), black_box.q.mean());
    let sd = black_box.q.sd();
    let off = (0..4).map(|j| (a[j] - b[j]).abs() / sd[j]).fold(0.0, f64::max);
    // observed: 0.14 of an sd apart
    assert!(off < 0.2, "{a:?} {b:?}");
    Ok(())
}

/// The ELBO by draws of `q` is the one by quadrature.
#[test]
fn the_elbo_is_the_mean_of_its_draws() -> Result<(), Error> {
    let fit = exactly(binomial(60))?;
    let mut rng = stream(7, Purpose::Data, 0);
    let n = 20_000;
    let mut z = vec![0.0; 4 * n];
    fit.q.sample(&mut rng, &mut z);
    let term = |z: &[f64]| fit.model.log_joint(z) - fit.q.log_prob(z);
    let terms: Vec<f64> = z.chunks_exact(4).map(term).collect();
    let mean = terms.iter().sum::<f64>() / n as f64;
    let variance = terms.iter().map(|t| (t - mean) * (t - mean)).sum::<f64>() / n as f64;
    let off = mean - fit.model.elbo(&fit.q);
    assert!(off.abs() < 4.0 * (variance / n as f64).sqrt(), "{off}");
    Ok(())
}

/// The reported bound, by its formula.
fn bound(model: &LogisticRegression, n: usize, q: &FullRankGaussian, c: &[f64]) -> f64 {
    let (x, y, trials) = counts(n);
    let covariance = q.covariance();
    let mean = nalgebra::DVector::from_column_slice(q.mean());
    let one = |i: usize| {
        let row = [&[1.0], &x[3 * i..3 * i + 3]].concat();
        let row = nalgebra::DVector::from_vec(row);
        let (at, spread) = (row.dot(&mean), row.dot(&(&covariance * &row)));
        let (m, c) = (trials[i], c[i]);
        let omega = m * (0.5 * c).tanh() / (2.0 * c);
        let ways = statrs::function::factorial::ln_binomial(m as u64, y[i] as u64);
        ways + (y[i] - 0.5 * m) * at
            - m * (2.0 * (0.5 * c).cosh()).ln()
            - 0.5 * omega * (spread + at * at - c * c)
    };
    (0..n).map(one).sum::<f64>() - q.kl(&model.start())
}

/// `c` of each row under `q`.
fn roots(n: usize, q: &FullRankGaussian) -> Vec<f64> {
    let (x, _, _) = counts(n);
    let (l, mean) = (q.cholesky(), nalgebra::DVector::from_column_slice(q.mean()));
    let one = |i: usize| {
        let row = nalgebra::DVector::from_vec([&[1.0], &x[3 * i..3 * i + 3]].concat());
        (row.dot(&mean).powi(2) + (l.transpose() * row).norm_squared()).sqrt()
    };
    (0..n).map(one).collect()
}

#[test]
fn every_step_reports_the_formula_and_the_end_has_no_slope() -> Result<(), Error> {
    let n = 70; // more than a block
    let model = binomial(n);
    let options = Options { steps: 40, stop: Stop::Budget, ..Options::default() };
    let mut run = Run::new(model.clone(), model.start(), EStep, options)?;
    for _ in 0..30 {
        let c = roots(n, &run.q);
        run.step()?;
        let reported = run.trace.last().and_then(|s| s.elbo).expect("exact");
        assert_close("bound", reported, bound(&model, n, &run.q, &c), 1e-12);
    }
    let mut params = vec![0.0; run.q.n_params()];
    run.q.params(&mut params);
    let c = roots(n, &run.q);
    let mut moved = run.q.clone();
    for j in 0..params.len() {
        const STEP: f64 = 1e-5;
        let mut at = |step: f64| {
            let mut params = params.clone();
            params[j] += step;
            moved.set_params(&params);
            bound(&model, n, &moved, &c)
        };
        // rounding of 1e-14 of a bound of 100, over 1e-5; thirty steps are enough to arrive
        let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        assert!(slope.abs() < 1e-6, "slope {slope:e} in {j}");
    }
    Ok(())
}

#[test]
fn the_gradient_is_the_slope() {
    let model = binomial(20);
    let at = [0.3, -0.4, 0.9, 0.1];
    let mut grad = [0.0; 4];
    let value = model.log_joint_grad(&at, &mut grad);
    assert_close("value", value, model.log_joint(&at), 1e-14);
    for j in 0..4 {
        let off = |step: f64| {
            let mut at = at;
            at[j] += step;
            model.log_joint(&at)
        };
        let slope = (off(1e-5) - off(-1e-5)) / 2e-5;
        assert_close("slope", grad[j], slope, 1e-7);
    }
}

#[test]
fn no_step_descends_sped_up_or_not_and_small_ones_arrive_too() -> Result<(), Error> {
    let model = binomial(60);
    let plain = never_descends(model.clone(), model.start(), EStep);
    let fast = never_descends(model.clone(), model.start(), Squarem::new(EStep));
    assert_close("ELBO", last(&fast), last(&plain), 1e-10);
    let options = Options { steps: 300, stop: Stop::Budget, ..Options::default() };
    let small = fit(model.clone(), model.start(), NaturalStep::constant(0.3), options.clone())?;
    assert_close("ELBO", last(&small), last(&plain), 1e-10);
    let all = Minibatch::new(60, NaturalStep::constant(1.0));
    let shuffled = fit(model.clone(), model.start(), all, options.clone())?;
    assert_close("ELBO", last(&shuffled), last(&plain), 1e-10);
    let batches = Minibatch::new(12, NaturalStep::decaying(2.0, 0.8));
    let online = fit(model.clone(), model.start(), batches, options)?;
    // 14 numbers within half a nat each
    let lost = model.elbo(&plain.q) - model.elbo(&online.q);
    assert!(lost < 1.0, "{lost}");
    Ok(())
}

#[test]
fn trials_are_rows_and_a_weight_of_two_is_a_row_twice() -> Result<(), Error> {
    let x = [0.5, -1.0, 2.0];
    let together = LogisticRegression::binomial(&x, 1, &[1.0, 0.0, 3.0], &[2.0, 1.0, 3.0], 2.0)?;
    let rows = [0.5, 0.5, -1.0, 2.0, 2.0, 2.0];
    let apart = LogisticRegression::new(&rows, 1, &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0], 2.0)?;
    let weighted = LogisticRegression::new(&[0.5, 0.5, -1.0, 2.0], 1, &[1.0, 0.0, 0.0, 1.0], 2.0)?;
    let weighted = weighted.weighted(&[1.0, 1.0, 1.0, 3.0])?;
    let (a, b, c) = (exactly(together)?, exactly(apart)?, exactly(weighted)?);
    assert_close("mean", a.q.mean()[0], b.q.mean()[0], 1e-12);
    // in how many orders the first row's success may have come
    assert_close("bound", last(&a) - 2f64.ln(), last(&b), 1e-12);
    assert_close("mean", c.q.mean()[0], b.q.mean()[0], 1e-12);
    assert_close("bound", last(&c), last(&b), 1e-12);
    Ok(())
}

#[test]
fn predictions_average_over_the_posterior() -> Result<(), Error> {
    let fit = exactly(binomial(60))?;
    let new = [0.5, 0.5, -1.0, 2.0, 0.0, 1.0];
    let chances = fit.model.predict(&fit.q, &new)?;
    let mut rng = stream(5, Purpose::Data, 0);
    let n = 40_000;
    let mut z = vec![0.0; 4 * n];
    fit.q.sample(&mut rng, &mut z);
    for (row, chance) in new.chunks_exact(3).zip(chances) {
        let linear = |z: &[f64]| z[0] + z[1..].iter().zip(row).map(|(b, x)| b * x).sum::<f64>();
        let each = z.chunks_exact(4).map(|z| 1.0 / (1.0 + (-linear(z)).exp()));
        let mean = each.sum::<f64>() / n as f64;
        // a chance varies by less than 1/2: 4 standard errors are below 1e-2
        assert!((mean - chance).abs() < 1e-2, "{mean} {chance}");
    }
    Ok(())
}

#[test]
fn separable_data_stay_finite_and_scale_does_not_matter() -> Result<(), Error> {
    let x = [-2.0, -1.0, -0.5, 0.5, 1.0, 3.0];
    let y = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0];
    let at = |scale: f64| {
        let x: Vec<f64> = x.iter().map(|x| x * scale).collect();
        exactly(LogisticRegression::new(&x, 1, &y, 10.0 / scale)?.with_intercept(3.0)?)
    };
    let one = at(1.0)?;
    assert!(one.q.mean()[1] > 1.0 && one.q.mean()[1] < 30.0, "{:?}", one.q.mean());
    for scale in [1e12, 1e-12] {
        let other = at(scale)?;
        assert_close("bound", last(&other), last(&one), 1e-9);
        let back = [other.q.mean()[0], other.q.mean()[1] * scale];
        assert_all_close("mean", &back, one.q.mean(), 1e-6);
    }
    // more columns than rows
    let wide: Vec<f64> = (0..60).map(|i| ((i * 37 % 23) as f64 - 11.0) / 11.0).collect();
    let fit = exactly(LogisticRegression::new(&wide, 10, &y, 1.0)?)?;
    assert!(fit.q.sd().iter().all(|sd| *sd > 0.0 && *sd <= 1.0));
    Ok(())
}

#[test]
fn a_resumed_run_and_any_number_of_threads_give_the_same_bits() -> Result<(), Error> {
    let model = binomial(4000);
    let options = Options { steps: 20, stop: Stop::Budget, ..Options::default() };
    let start = || Run::new(model.clone(), model.start(), EStep, options.clone());
    let whole = start()?.finish()?;
    let path = std::env::temp_dir().join(format!("elbo-logistic-{}.json", std::process::id()));
    let mut half = start()?;
    (0..7).try_for_each(|_| half.step().map(drop))?;
    half.save(&path)?;
    let resumed: Run<LogisticRegression, FullRankGaussian, EStep> =
        Run::resume(&path, model.clone())?;
    std::fs::remove_file(&path).expect("the checkpoint was written");
    let resumed = resumed.finish()?;
    assert_eq!((&resumed.trace, &resumed.q), (&whole.trace, &whole.q));
    for threads in [1, 2, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let again = pool.expect("threads").install(|| start().and_then(Run::finish))?;
        assert_eq!(again.trace, whole.trace, "{threads} threads");
    }
    Ok(())
}

#[test]
fn bad_input_is_named() -> Result<(), Error> {
    let text = message(LogisticRegression::new(&[1.0, 2.0, 3.0], 2, &[1.0], 1.0));
    assert!(text.starts_with("E03 the matrix has 3 values but 1 rows (as many as outcomes)"));
    let text = message(LogisticRegression::new(&[1.0, f64::NAN], 2, &[1.0], 1.0));
    assert!(text.starts_with("E01 data[0, 1] is NaN"), "{text}");
    let text = message(LogisticRegression::new(&[1.0, 2.0], 1, &[1.0, 0.5], 1.0));
    assert_eq!(
        text,
        "E01 data[1, \"outcome\"] is 0.5 (1 of 2 rows). A cell here must be 0 or 1: recode row 1 (rows count from 0)."
    );
    let text = message(LogisticRegression::binomial(&[1.0], 1, &[1.0], &[0.0], 1.0));
    assert!(text.starts_with("E01 data[0, \"trials\"] is 0"), "{text}");
    let text = message(LogisticRegression::binomial(&[1.0, 2.0], 1, &[1.0, 2.0], &[4.0, 1.0], 1.0));
    assert_eq!(text, "E10 successes[1] is 2; row 1 has 1 trials");
    let text = message(LogisticRegression::new(&[1.0], 1, &[1.0], 0.0));
    assert_eq!(text, "E10 prior_sd is 0; it must be positive and finite");
    let model = LogisticRegression::new(&[1.0, 2.0], 1, &[1.0, 0.0], 1.0)?;
    let text = message(model.clone().weighted(&[1.0, -1.0]));
    assert!(text.starts_with("E01 weights[1] is -1"), "{text}");
    let text = message(model.clone().with_intercept(1.0).and_then(|m| m.with_intercept(1.0)));
    assert!(text.contains("has an intercept already"), "{text}");
    let text = message(model.predict(&model.start(), &[f64::INFINITY]));
    assert!(text.starts_with("E01 data[0, 0] is inf"), "{text}");
    Ok(())
}
