//! Bayesian factors of rows with missing cells: the bound, and that both ways agree.

use crate::factor_analysis_missing::{both, cells, gappy};
use crate::moves::{elbo_is_the_mean_of_its_draws, last, never_descends};
use crate::support::{assert_all_close, assert_close};
use elbo::data::Observations;
use elbo::models::factor_analysis::FactorPosterior;
use elbo::models::{BayesianFactors, FactorAnalysis};
use elbo::{
    Anderson, EStep, Family, Fit, MStep, Model, Options, Purpose, Run, Squarem, Stop, fit, stream,
};

fn steps(model: BayesianFactors, steps: usize) -> Fit<BayesianFactors, FactorPosterior> {
    let (q, stop) = (model.start(), Stop::Budget);
    fit(model, q, EStep, Options { steps, stop, ..Options::exact() }).expect("it climbs")
}

#[test]
fn the_elbo_is_the_mean_of_its_draws() {
    for point in both(&gappy(12), 2) {
        let model = point.bayesian().with_priors((2.0, 1.0), (3.0, 0.5)).expect("fine");
        let fit = steps(model, 3);
        elbo_is_the_mean_of_its_draws(&fit.model, &fit.q, last(&fit));
        assert_close("ELBO", fit.model.elbo(&fit.q), last(&fit), 1e-12);
        assert_eq!(fit.model.dim(), fit.q.dim());
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
    for point in both(&gappy(40), 2) {
        let model = point.bayesian().with_priors((2.0, 1.0), (3.0, 0.5)).expect("fine");
        let fit = never_descends(model.clone(), model.start(), Anderson::new(EStep));
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
fn a_row_without_cells_says_nothing_and_both_ways_agree() {
    let (whole, _) = cells(80, 0.0);
    let complete = Observations::new(whole.clone(), 5).expect("fine");
    let mut more = whole;
    more.extend([f64::NAN; 5]);
    let more = Observations::with_gaps(more, 5).expect("fine");
    for (a, b) in both(&complete, 3).into_iter().zip(both(&more, 3)) {
        // the precision at the start is that of as many rows
        let (a, b) = (a.bayesian(), b.bayesian());
        let (a, b) = (
            never_descends(a.clone(), a.start(), Anderson::new(EStep)),
            never_descends(b.clone(), b.start(), Anderson::new(EStep)),
        );
        assert_close("ELBO", last(&a), last(&b), 1e-10);
        let (am, bm) = (&a.model, &b.model);
        assert_all_close("mean", &am.mean(&a.q), &bm.mean(&b.q), 1e-5);
        assert_all_close("noise", &am.uniquenesses(&a.q), &bm.uniquenesses(&b.q), 1e-4);
        assert_eq!(bm.score(&b.q, &more).expect("fine")[80], 0.0);
        let filled = bm.reconstruct(&b.q, &more).expect("fine");
        assert_all_close("filled", &filled[400..], &bm.mean(&b.q), 1e-3);
    }
}

#[test]
fn weights_units_interruptions_and_threads_change_nothing() {
    let data = gappy(60);
    let weights = (0..60).map(|i| f64::from(1 + i % 2)).collect();
    let twice = data.rows().enumerate().flat_map(|(i, x)| x.repeat(1 + i % 2)).collect();
    let twice = Observations::with_missing(twice, 5).expect("fine");
    let weighted = data.weighted(weights).expect("fine");
    let seen = twice.values().iter().filter(|x| !x.is_nan()).count() as f64;
    for at in 0..2 {
        let ends = |data: &Observations| steps(both(data, 3)[at].bayesian(), 40);
        let (a, b) = (ends(&weighted), ends(&twice));
        assert_close("ELBO", last(&a), last(&b), 1e-10);
        for (scale, origin) in [(1e12, 0.0), (1e-12, 0.0), (1.0, 1e4)] {
            let moved = twice.values().iter().map(|x| x * scale + origin).collect();
            let c = ends(&Observations::with_missing(moved, 5).expect("fine"));
            assert_close("ELBO", last(&c) + seen * scale.ln(), last(&b), 1e-8);
        }
        for threads in [1, 2, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let other = pool.expect("threads").install(|| ends(&twice));
            assert_eq!(other.trace, b.trace, "{threads} threads");
        }
        let model = both(&twice, 3)[at].bayesian();
        let options = Options { steps: 40, stop: Stop::Budget, ..Options::exact() };
        let start = || {
            Run::new(model.clone(), model.start(), Squarem::new(EStep), options.clone())
                .expect("fine")
        };
        let whole = start().finish().expect("fine");
        let mut run = start();
        (0..11).for_each(|_| assert_eq!(run.step().expect("fine"), None));
        let file = std::env::temp_dir().join(format!("elbo-gappy-b-{}.json", std::process::id()));
        run.save(&file).expect("written");
        let resumed: Run<BayesianFactors, FactorPosterior, Squarem<EStep>> =
            Run::resume(&file, model.clone()).expect("read");
        assert_eq!(resumed.finish().expect("fine").trace, whole.trace);
        std::fs::remove_file(&file).expect("it was there");
    }
}

#[test]
fn the_true_factors_are_found_and_fill_the_gaps_as_those_of_em_do() {
    let (whole, seen) = cells(300, 0.3);
    let data = Observations::with_missing(seen.clone(), 5).expect("fine");
    let off = |filled: &[f64]| -> f64 {
        let gaps = (0..seen.len()).filter(|&i| seen[i].is_nan());
        gaps.map(|i| (filled[i] - whole[i]).powi(2)).sum()
    };
    for (at, point) in both(&data, 3).into_iter().enumerate() {
        let em = never_descends(point.clone(), point.start(), Anderson::new((EStep, MStep)));
        let best = point.bayesian().fit().expect("fine").fit;
        // columns differ in their noise, which one noise for all takes for a factor more
        assert_eq!(best.q.relevant().len(), 2 + at, "{:?}", best.q.signal());
        // no evidence is above the highest likelihood
        assert!(last(&best) < last(&em));
        let vb = best.model.reconstruct(&best.q, &data).expect("fine");
        assert!((0..seen.len()).all(|i| seen[i].is_nan() || vb[i] == seen[i]));
        let two = FactorAnalysis::principal(data.clone(), 2).expect("fine");
        let two = never_descends(two.clone(), two.start(), Anderson::new((EStep, MStep)));
        let by_em = off(&two.model.reconstruct(&data).expect("fine"));
        assert!(off(&vb) < 1.1 * by_em, "{} {by_em}", off(&vb));
    }
}
