//! Factor analysis of rows with missing cells: the density of what is there, and EM to its maximum.

use crate::moves::{elbo_is_the_mean_of_its_draws, last, message, never_descends};
use crate::support::{assert_all_close, assert_close};
use elbo::data::Observations;
use elbo::models::factor_analysis::{FactorAnalysis, Scores};
use elbo::{
    Anderson, Conjugate, DMatrix, EStep, Error, Family, Fit, MStep, Maximize, Model, Options,
    Outcome, Purpose, Run, Stop, fit, stream,
};
use rand_distr::{Distribution, StandardNormal};

/// Rows of five columns by two factors, of which a share of the cells is missing.
pub fn cells(n: usize, share: f64) -> (Vec<f64>, Vec<f64>) {
    use rand::RngExt;
    let mut rng = stream(7, Purpose::Data, 0);
    let w = [[2.0, 0.0], [-1.0, 0.5], [0.3, 1.5], [1.0, 1.0], [0.5, -1.0]];
    let (mut whole, mut seen) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let z: [f64; 2] = [StandardNormal.sample(&mut rng), StandardNormal.sample(&mut rng)];
        let first = whole.len();
        for (j, w) in w.iter().enumerate() {
            let e: f64 = StandardNormal.sample(&mut rng);
            let noise = 0.3 + 0.1 * j as f64;
            whole.push(3.0 * j as f64 - 4.0 + w[0] * z[0] + w[1] * z[1] + noise * e);
        }
        let kept = rng.random_range(0..5);
        for j in 0..5 {
            let gone = rng.random::<f64>() < share && j != kept;
            seen.push(if gone { f64::NAN } else { whole[first + j] });
        }
    }
    (whole, seen)
}

pub fn gappy(n: usize) -> Observations {
    let (_, seen) = cells(n, 0.3);
    Observations::with_missing(seen, 5).expect("every row has a cell")
}

pub fn both(data: &Observations, factors: usize) -> [FactorAnalysis; 2] {
    [FactorAnalysis::new(data.clone(), factors), FactorAnalysis::principal(data.clone(), factors)]
        .map(|model| model.expect("fine"))
}

fn best(model: FactorAnalysis) -> Fit<FactorAnalysis, Scores> {
    let q = model.start();
    never_descends(model, q, Anderson::new((EStep, MStep)))
}

fn steps(model: FactorAnalysis, steps: usize) -> Fit<FactorAnalysis, Scores> {
    let (q, stop) = (model.start(), Stop::Budget);
    fit(model, q, (EStep, MStep), Options { steps, stop, ..Options::exact() }).expect("it climbs")
}

/// Mean and covariance of what is expected of `ask` given `know`, and the log density of the latter,
/// all by the covariance of the model.
fn brute(model: &FactorAnalysis, row: &[f64]) -> (f64, Vec<f64>) {
    let d = row.len();
    let (know, ask): (Vec<usize>, Vec<usize>) = (0..d).partition(|&j| !row[j].is_nan());
    let whole = DMatrix::from_row_slice(d, d, &model.covariance());
    let mean = model.mean();
    let own = DMatrix::from_fn(know.len(), know.len(), |i, j| whole[(know[i], know[j])]);
    let off = DMatrix::from_fn(know.len(), 1, |i, _| row[know[i]] - mean[know[i]]);
    let factor = own.cholesky().expect("positive");
    let solved = factor.solve(&off);
    let log_det: f64 = factor.l().diagonal().iter().map(|l| 2.0 * l.ln()).sum();
    let ln_2pi = (2.0 * std::f64::consts::PI).ln();
    let density = -0.5 * (know.len() as f64 * ln_2pi + log_det + off.dot(&solved));
    let mut filled = row.to_vec();
    for j in ask {
        let through: f64 = know.iter().enumerate().map(|(i, &k)| whole[(j, k)] * solved[i]).sum();
        filled[j] = mean[j] + through;
    }
    (density, filled)
}

#[test]
fn a_row_counts_by_the_density_of_its_cells_and_gaps_are_filled_by_what_they_expect() {
    let weights = (0..60).map(|i| f64::from(i % 3)).collect();
    let data = gappy(60).weighted(weights).expect("fine");
    for model in both(&data, 2) {
        let model = steps(model, 20).model;
        let scores = model.score(&data).expect("fine");
        let filled = model.reconstruct(&data).expect("fine");
        let mut total = 0.0;
        for (i, row) in data.rows().enumerate() {
            let (density, cells) = brute(&model, row);
            assert_close("density", scores[i], density, 1e-9);
            assert_all_close("cells", &filled[5 * i..5 * i + 5], &cells, 1e-9);
            total += data.weight(i) * density;
        }
        assert_close("log likelihood", model.log_likelihood(), total, 1e-10);
    }
}

#[test]
fn the_bound_touches_after_the_e_step_and_is_what_its_draws_say() {
    for mut model in both(&gappy(30), 2) {
        let mut q = model.start();
        for _ in 0..3 {
            let touched = model.natural_step(&mut q, 1.0).expect("fine");
            assert_close("log likelihood", touched, model.log_likelihood(), 1e-12);
            elbo_is_the_mean_of_its_draws(&model, &q, touched);
            let after = model.maximize(&q).expect("fine");
            assert!(after > touched && after < model.log_likelihood());
            elbo_is_the_mean_of_its_draws(&model, &q, after);
        }
        let entropy = q.entropy().expect("known");
        let mut z = vec![0.0; q.dim() * 400];
        q.sample(&mut stream(3, Purpose::Data, 0), &mut z);
        let mean = z.chunks_exact(q.dim()).map(|z| -q.log_prob(z)).sum::<f64>() / 400.0;
        // the sd of log q is that of half a chi-square of 60 degrees of freedom
        assert!((mean - entropy).abs() < 4.0 * 30f64.sqrt() / 20.0, "{mean} {entropy}");
    }
}

#[test]
fn em_ends_where_the_likelihood_has_no_slope() {
    for model in both(&gappy(200), 2) {
        let fit = best(model);
        assert!(matches!(fit.outcome, Outcome::Converged { .. }), "{}", fit.outcome);
        let top = fit.model.log_likelihood();
        assert_close("bound", last(&fit), top, 1e-9);
        let mut theta = vec![0.0; fit.model.n_theta()];
        fit.model.theta(&mut theta);
        let mut model = fit.model.clone();
        for i in 0..theta.len() {
            const STEP: f64 = 1e-4;
            let mut at = |step: f64| {
                let mut moved = theta.clone();
                moved[i] += step;
                model.set_theta(&moved);
                model.log_likelihood()
            };
            let (up, down) = (at(STEP), at(-STEP));
            let (slope, bend) =
                ((up - down) / (2.0 * STEP), (up - 2.0 * top + down) / (STEP * STEP));
            // a Newton step along this coordinate would gain slope^2 / 2 bend: next to nothing
            assert!(bend < 1e-2, "not at a top in {i}: {bend}");
            assert!(0.5 * slope * slope / bend.abs().max(1.0) < 1e-6, "slope {slope:e} in {i}");
        }
    }
}

/// The same rows with one more of which nothing is known take the way of rows with gaps.
#[test]
fn a_row_without_cells_says_nothing_and_both_ways_agree() {
    let (whole, _) = cells(80, 0.0);
    let complete = Observations::new(whole.clone(), 5).expect("fine");
    let mut more = whole;
    more.extend([f64::NAN; 5]);
    let more = Observations::with_gaps(more, 5).expect("fine");
    for (a, b) in both(&complete, 2).into_iter().zip(both(&more, 2)) {
        let (a, b) = (steps(a, 30), steps(b, 30));
        for (a, b) in a.trace.iter().zip(&b.trace) {
            assert_close("ELBO", b.elbo.expect("known"), a.elbo.expect("known"), 1e-11);
        }
        assert_all_close("mean", b.model.mean(), a.model.mean(), 1e-9);
        assert_all_close("loadings", &b.model.loadings(), &a.model.loadings(), 1e-9);
        assert_all_close("noise", &b.model.uniquenesses(), &a.model.uniquenesses(), 1e-9);
        assert_eq!(b.model.score(&more).expect("fine")[80], 0.0);
        let z = b.model.predict(&more).expect("fine");
        assert_eq!(z[160..], [0.0; 2]);
        assert_all_close(
            "filled",
            &b.model.reconstruct(&more).expect("fine")[400..],
            b.model.mean(),
            1e-12,
        );
        // a model of complete rows says the same of rows with gaps
        let (x, y) = (a.model.score(&gappy(20)), b.model.score(&gappy(20)));
        assert_all_close("scores", &x.expect("fine"), &y.expect("fine"), 1e-8);
    }
}

#[test]
fn a_weight_of_two_is_a_row_twice_and_units_do_not_matter() {
    let data = gappy(40);
    let weights = (0..40).map(|i| f64::from(1 + i % 2)).collect();
    let twice = data.rows().enumerate().flat_map(|(i, x)| x.repeat(1 + i % 2)).collect();
    let twice = Observations::with_missing(twice, 5).expect("fine");
    let weighted = data.weighted(weights).expect("fine");
    for (a, b) in both(&weighted, 2).into_iter().zip(both(&twice, 2)) {
        let (a, b) = (steps(a, 60), steps(b, 60));
        assert_close("ELBO", last(&a), last(&b), 1e-10);
        assert_all_close("covariance", &a.model.covariance(), &b.model.covariance(), 1e-8);
        assert_all_close("mean", a.model.mean(), b.model.mean(), 1e-8);
    }
    let seen = twice.values().iter().filter(|x| !x.is_nan()).count() as f64;
    for (scale, origin) in [(1e12, 0.0), (1e-12, 0.0), (1.0, 1e4)] {
        let moved = twice.values().iter().map(|x| x * scale + origin).collect();
        let moved = Observations::with_missing(moved, 5).expect("fine");
        for (a, b) in both(&moved, 2).into_iter().zip(both(&twice, 2)) {
            let (a, b) = (steps(a, 60), steps(b, 60));
            assert_close("ELBO", last(&a) + seen * scale.ln(), last(&b), 1e-8);
            let back: Vec<f64> = a.model.covariance().iter().map(|c| c / (scale * scale)).collect();
            assert_all_close("covariance", &back, &b.model.covariance(), 1e-6);
            let back: Vec<f64> = a.model.mean().iter().map(|m| (m - origin) / scale).collect();
            assert_all_close("mean", &back, b.model.mean(), 1e-7);
        }
    }
}

#[test]
fn filled_gaps_are_nearer_than_means() {
    let (whole, seen) = cells(300, 0.3);
    let data = Observations::with_missing(seen.clone(), 5).expect("fine");
    for model in both(&data, 2) {
        let model = best(model).model;
        let (filled, mean) = (model.reconstruct(&data).expect("fine"), data.mean());
        let gaps = || (0..seen.len()).filter(|&i| seen[i].is_nan());
        let off = |guess: &dyn Fn(usize) -> f64| -> f64 {
            gaps().map(|i| (guess(i) - whole[i]).powi(2)).sum()
        };
        let (by_factors, by_means) = (off(&|i| filled[i]), off(&|i| mean[i % 5]));
        // factors explain most of every column, and most rows know theirs
        assert!(by_factors < 0.4 * by_means, "{by_factors} {by_means}");
        assert!((0..seen.len()).all(|i| seen[i].is_nan() || filled[i] == seen[i]));
    }
}

#[test]
fn a_resumed_run_and_one_on_more_threads_have_the_same_bits() {
    let data = gappy(700);
    for model in both(&data, 2) {
        let whole = steps(model.clone(), 12);
        let options = Options { steps: 12, stop: Stop::Budget, ..Options::exact() };
        let mut run =
            Run::new(model.clone(), model.start(), (EStep, MStep), options).expect("fine");
        (0..5).for_each(|_| assert_eq!(run.step().expect("fine"), None));
        let file = std::env::temp_dir().join(format!("elbo-gappy-{}.json", std::process::id()));
        run.save(&file).expect("written");
        let resumed: Run<FactorAnalysis, Scores, (EStep, MStep)> =
            Run::resume(&file, model.clone()).expect("read");
        let resumed = resumed.finish().expect("fine");
        std::fs::remove_file(&file).expect("it was there");
        assert_eq!(resumed.trace, whole.trace);
        assert_eq!(resumed.model.mean(), whole.model.mean());
        for threads in [1, 2, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let other = pool.expect("threads").install(|| steps(model.clone(), 12));
            assert_eq!(other.trace, whole.trace, "{threads} threads");
            assert_eq!(other.model.loadings(), whole.model.loadings());
        }
    }
}

/// The M-step asks `q` and no one else: one that no E-step has made, and one that was moved since, say
/// what an E-step at their parameters would.
#[test]
fn an_m_step_takes_any_q_at_its_word() {
    for model in both(&gappy(60), 2) {
        let mut made = model.start();
        model.natural_step(&mut made, 1.0).expect("fine");
        let after = |q: &Scores| {
            let mut next = model.clone();
            let bound = next.maximize(q).expect("fine");
            let mut theta = vec![0.0; next.n_theta()];
            next.theta(&mut theta);
            (bound, theta)
        };
        let want = after(&made);
        assert_eq!(after(&model.start()), want);
        let (mut params, mut moved) = (vec![0.0; made.n_params()], steps(model.clone(), 5).q);
        made.params(&mut params);
        assert_ne!(after(&moved), want);
        moved.set_params(&params);
        assert_eq!(after(&moved), want);
    }
}

#[test]
fn bad_input_is_named() -> Result<(), Error> {
    let gone = Observations::with_missing(vec![1.0, f64::NAN, 2.0, f64::NAN], 2)?;
    let gone = gone.named(["a", "b"])?;
    let text = message(FactorAnalysis::principal(gone, 1));
    assert_eq!(text, "E01 column \"b\" is missing in every row. Drop it: nothing is known of it");
    let flat = vec![1.0, f64::NAN, 5.0, 2.0, 3.0, 5.0, 4.0, 1.0, f64::NAN];
    let text = message(FactorAnalysis::new(Observations::with_missing(flat, 3)?, 1));
    assert!(text.starts_with("E01 column 2 is constant, 5. Drop it"), "{text}");
    let nothing = vec![1.0, f64::NAN, f64::NAN, 2.0, 1.0, 2.0];
    let text = message(FactorAnalysis::principal(Observations::with_missing(nothing, 2)?, 1));
    assert!(text.contains("nothing varies"), "{text}");
    let text = message(both(&gappy(30), 1)[1].closed_form());
    assert!(
        text.starts_with("E10 the closed form is asked for; there is none where cells"),
        "{text}"
    );
    let narrow = Observations::with_missing(vec![1.0, f64::NAN], 2)?;
    assert!(message(both(&gappy(30), 1)[0].reconstruct(&narrow)).starts_with("E03 a row has 2"));
    // two cells of a column are too few for its mean, its loading and its noise
    let mut thin = gappy(30).values().to_vec();
    (2..30).for_each(|i| thin[5 * i + 4] = f64::NAN);
    thin[4] = 1.0;
    thin[9] = 2.0;
    let said = FactorAnalysis::new(Observations::with_gaps(thin, 5)?, 1)?.warnings();
    let want = "column 4 has 2 cells, where mean, loadings and noise are 3 numbers";
    assert!(said.iter().any(|w| w.message == want), "{said:?}");
    Ok(())
}
