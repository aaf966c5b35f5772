//! State space models: the reference filter and smoother on the Nile, and the laws of EM.

use crate::moves::{elbo_is_the_mean_of_its_draws, last, message, never_descends};
use crate::support::{assert_close, exact_cases, numbers};
use elbo::data::NILE;
use elbo::models::state_space::{LocalLevel, LocalTrend, Path};
use elbo::{
    Anderson, Conjugate, EStep, MStep, Maximize, Model, Options, Outcome, Run, Squarem, Stop,
};

#[test]
fn the_filter_and_the_smoother_meet_the_reference() {
    for case in exact_cases("local_level_nile") {
        let input = |name: &str| case["inputs"][name].as_f64().expect("a number");
        let model = LocalLevel::level(&NILE)
            .and_then(|m| m.starting_at([input("level0_mean")], [input("level0_var")]))
            .and_then(|m| m.with_variances(input("r"), [input("q")]))
            .expect("fine");
        let want = |name: &str| numbers(&case["expected"][name]);
        assert_close("log p(y)", model.log_likelihood(), want("log_likelihood")[0], 1e-10);
        let (filtered, smoothed) = (model.filtered_level(), model.smoothed());
        for (k, t) in [0, 9, 49, 99].into_iter().enumerate() {
            assert_close("filtered mean", filtered[t].0, want("filtered_mean")[k], 1e-8);
            assert_close("filtered var", filtered[t].1.powi(2), want("filtered_var")[k], 1e-8);
            assert_close("smoothed mean", smoothed[t].0, want("smoothed_mean")[k], 1e-8);
            assert_close("smoothed var", smoothed[t].1.powi(2), want("smoothed_var")[k], 1e-8);
        }
    }
}

/// The maximum of the likelihood of the Nile: 15 099 and 1 469.1 (Durbin and Koopman 2012, section
/// 2.10), with next to nothing known of the first level.
#[test]
fn em_finds_the_variances_of_the_nile() {
    let model = LocalLevel::level(&NILE).and_then(|m| m.starting_at([0.0], [1e7])).expect("fine");
    let q = model.start();
    let fit = never_descends(model, q, Squarem::new((EStep, MStep)));
    assert!((fit.model.noise() / 15_099.0 - 1.0).abs() < 2e-3, "{}", fit.model.noise());
    assert!((fit.model.drift()[0] / 1_469.1 - 1.0).abs() < 5e-3, "{:?}", fit.model.drift());
}

fn gappy() -> Vec<f64> {
    let mut y: Vec<f64> = NILE[..40].to_vec();
    (10..15).for_each(|t| y[t] = f64::NAN);
    y[39] = f64::NAN;
    y
}

#[test]
fn the_bound_is_what_its_draws_say_at_every_half_step() {
    fn check<const M: usize>(mut model: elbo::models::state_space::StateSpace<M>) {
        let mut q = model.start();
        let touched = model.natural_step(&mut q, 1.0).expect("fine");
        assert_close("log likelihood", touched, model.log_likelihood(), 1e-12);
        elbo_is_the_mean_of_its_draws(&model, &q, touched);
        let after = model.maximize(&q).expect("fine");
        assert!(after > touched && after < model.log_likelihood());
        elbo_is_the_mean_of_its_draws(&model, &q, after);
        // level in every variance: the expected log joint is that of the draws, so look at the bound
        let mut theta = vec![0.0; model.n_theta()];
        model.theta(&mut theta);
        for i in 0..theta.len() {
            for h in [-1e-3, 1e-3] {
                let mut moved = theta.clone();
                moved[i] += h;
                model.set_theta(&moved);
                let below = bound(&model, &q);
                assert!(below < after && below > after - 1e-3, "{below} {after}");
            }
        }
    }
    check(LocalLevel::level(&gappy()).expect("fine"));
    check(LocalTrend::trend(&gappy()).expect("fine"));
}

/// The bound of `q` at the model's variances: an M-step from there says what it was, less its gain,
/// so read it as the mean over draws of one fixed noise, corrected by the bound that is known.
fn bound<const M: usize>(model: &elbo::models::state_space::StateSpace<M>, q: &Path<M>) -> f64 {
    // E log p is linear in the expected squares: recover them from three evaluations of maximize
    let mut best = model.clone();
    let top = best.maximize(q).expect("fine");
    let (mut at, mut to) = (vec![0.0; 1 + M], vec![0.0; 1 + M]);
    model.theta(&mut at);
    best.theta(&mut to);
    let n = model.space().dim() as f64 / M as f64;
    let missing = 6.0;
    // a normal's expected log density loses n/2 (e^d - 1 - d) for a log variance off by -d
    let loss = |i: usize| {
        let d = to[i] - at[i];
        let count = if i == 0 { n - missing } else { n - 1.0 };
        0.5 * count * (d.exp() - 1.0 - d)
    };
    top - (0..=M).map(loss).sum::<f64>()
}

#[test]
fn what_is_missing_is_passed_over_and_known_with_less_certainty() {
    let model = LocalLevel::level(&gappy()).expect("fine");
    let q = model.start();
    let fit = never_descends(model, q, Squarem::new((EStep, MStep)));
    let level = fit.model.smoothed();
    assert!(level[12].1 > level[5].1 && level[12].1 > level[20].1);
    let ahead = fit.model.forecast(3);
    assert!(ahead[2].1 > ahead[0].1);
    assert_eq!(ahead[0].0, ahead[2].0);
}

#[test]
fn a_trend_is_followed() {
    let y: Vec<f64> = (0..60).map(|t| 3.0 * f64::from(t) + NILE[t as usize] / 50.0).collect();
    let model = LocalTrend::trend(&y).expect("fine");
    let q = model.start();
    let fit = never_descends(model, q, Squarem::new((EStep, MStep)));
    let ahead = fit.model.forecast(10);
    assert!((ahead[9].0 - ahead[0].0 - 27.0).abs() < 9.0, "{ahead:?}");
    assert!(!fit.model.warnings().is_empty(), "a straight line needs no drift");
}

#[test]
fn the_scale_of_the_data_does_not_matter() {
    let at = |scale: f64| {
        let y: Vec<f64> = NILE.iter().map(|y| y * scale).collect();
        let model = LocalLevel::level(&y).expect("fine");
        let q = model.start();
        let fit = never_descends(model, q, Squarem::new((EStep, MStep)));
        (fit.model.noise() / (scale * scale), fit.model.drift()[0] / (scale * scale))
    };
    let (noise, drift) = at(1.0);
    for scale in [1e12, 1e-12] {
        let (a, b) = at(scale);
        assert!((a / noise - 1.0).abs() < 1e-6 && (b / drift - 1.0).abs() < 1e-6, "{a} {b}");
    }
}

/// A trend has a variance that vanishes, which EM approaches ever more slowly: where a run says that
/// it has arrived, it has, whatever the units.
#[test]
fn the_scale_of_a_trend_does_not_matter() {
    let at = |scale: f64| {
        let y: Vec<f64> = NILE.iter().map(|y| y * scale).collect();
        let model = LocalTrend::trend(&y).expect("fine");
        let q = model.start();
        let ascent = Anderson::new((EStep, MStep));
        let fit = elbo::fit(model, q, ascent, Options::exact()).expect("it climbs");
        assert!(matches!(fit.outcome, Outcome::Converged { .. }), "{}", fit.outcome);
        let unit = scale * scale;
        (fit.model.noise() / unit, fit.model.drift()[0] / unit, fit.model.drift()[1] / unit)
    };
    let (noise, level, slope) = at(1.0);
    assert!(slope < 1e-9 * noise, "{slope}");
    for scale in [1e12, 1e-12] {
        let (a, b, c) = at(scale);
        assert!((a / noise - 1.0).abs() < 1e-6 && (b / level - 1.0).abs() < 1e-6, "{a} {b}");
        assert!(c < 1e-9 * noise, "{c}");
    }
}

/// On a line nothing is left beside it: no variance has a maximum, and nothing else is to blame.
#[test]
fn a_straight_line_is_said_to_have_no_noise() {
    for off in [0.0, 1e-13, 1e-10] {
        let y: Vec<f64> =
            (0..60).map(|t| 5.0 + 3.0 * f64::from(t) + off * NILE[t as usize]).collect();
        let model = LocalTrend::trend(&y).expect("fine");
        let q = model.start();
        for bad in [
            message(elbo::fit(model.clone(), q.clone(), (EStep, MStep), Options::exact())),
            message(elbo::fit(
                model.clone(),
                q.clone(),
                Squarem::new((EStep, MStep)),
                Options::exact(),
            )),
            message(elbo::fit(model.clone(), q, Anderson::new((EStep, MStep)), Options::exact())),
        ] {
            let want = "E15 MStep: the noise has vanished, and all drift: to eight digits the series is a straight line";
            assert!(bad.starts_with(want), "{bad}");
        }
        // with variances that are known there is nothing wrong with it
        let known = model.with_variances(1.0, [1e-3, 1e-3]).expect("fine");
        assert!((known.forecast(1)[0].0 - 185.0).abs() < 0.1, "{:?}", known.forecast(1));
    }
}

/// A little noise about a long line is found, though at first next to nothing is known of either.
#[test]
fn a_little_noise_about_a_line_is_found() {
    let at = |off: f64| {
        let y: Vec<f64> =
            (0..60).map(|t| 5.0 + 3.0 * f64::from(t) + off * NILE[t as usize]).collect();
        let model = LocalTrend::trend(&y).expect("fine");
        let q = model.start();
        let options = Options { steps: 200, stop: Stop::Budget, ..Options::exact() };
        elbo::fit(model, q, (EStep, MStep), options).expect("it climbs").model.noise()
    };
    let noise = at(1e-2) / 1e-4;
    assert!((at(1e-4) / 1e-8 / noise - 1.0).abs() < 0.01, "{} {noise}", at(1e-4) / 1e-8);
}

#[test]
fn a_resumed_run_ends_with_the_same_bits() {
    let model = || LocalTrend::trend(&NILE).expect("fine");
    let options = Options { steps: 30, stop: Stop::Budget, ..Options::exact() };
    let (m, q) = (model(), model().start());
    let whole = elbo::fit(m, q, (EStep, MStep), options.clone()).expect("fine");
    let (m, q) = (model(), model().start());
    let mut run = Run::new(m, q, (EStep, MStep), options).expect("fine");
    (0..11).for_each(|_| assert_eq!(run.step().expect("fine"), None));
    let file = std::env::temp_dir().join(format!("elbo-path-{}.json", std::process::id()));
    run.save(&file).expect("written");
    let resumed: Run<_, Path<2>, (EStep, MStep)> = Run::resume(&file, model()).expect("read");
    let resumed = resumed.finish().expect("fine");
    std::fs::remove_file(&file).expect("it was there");
    assert_eq!(resumed.trace, whole.trace);
    assert_eq!(last(&resumed), last(&whole));
}

#[test]
fn a_drawn_series_has_the_variances_it_was_drawn_with() {
    let long = [0.0, 1.0].repeat(4_000);
    let model = LocalLevel::level(&long).and_then(|m| m.with_variances(4.0, [1.0])).expect("fine");
    let drawn = LocalLevel::level(&model.sample(1)).expect("fine");
    let q = drawn.start();
    let fit = never_descends(drawn, q, Squarem::new((EStep, MStep)));
    // the sd of log r is about sqrt(5 / n), of log q about sqrt(16 / n): four of them
    assert!((fit.model.noise() / 4.0).ln().abs() < 0.1, "{}", fit.model.noise());
    assert!(fit.model.drift()[0].ln().abs() < 0.18, "{:?}", fit.model.drift());
}

#[test]
fn bad_input_is_named() {
    let bad = message(LocalLevel::level(&[1.0, f64::INFINITY, 2.0]));
    assert_eq!(bad, "E01 y[1] is inf. Write NaN for what is missing (times count from 0)");
    let bad = message(LocalLevel::level(&[1.0, f64::NAN, 2.0]));
    assert!(bad.starts_with("E10 observations of the series is 2; a level, its drift"), "{bad}");
    assert!(message(LocalLevel::level(&[5.0; 9])).starts_with("E01 y is constant, 5."));
    let model = || LocalLevel::level(&NILE).expect("fine");
    assert!(message(model().starting_at([0.0], [0.0])).starts_with("E10 variance[0] is 0"));
    let bad = message(model().with_variances(-1.0, [1.0]));
    assert!(bad.starts_with("E10 the variance of the noise is -1"), "{bad}");
}
