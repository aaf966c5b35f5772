//! Bad input: each kind is an error or a warning with code, place, value and remedy; never a panic.

use elbo::{
    Adam, Ascent, Averaged, Error, Fit, GradientAscent, MeanFieldGaussian, Model, Options, Outcome,
    Paired, Real, Run, Space, Step, StickingTheLanding, Stop, density, fit, from_fn,
};

type Move = GradientAscent<StickingTheLanding, Averaged<Adam>>;

fn ascent(draws: usize, rate: f64) -> Move {
    GradientAscent::new(StickingTheLanding { draws }, Averaged::new(Adam::rate(rate)))
}

fn budget(steps: usize) -> Options {
    Options { steps, stop: Stop::Budget, ..Options::default() }
}

/// One real coordinate `x` under a hand-written density.
#[derive(Clone)]
struct OnLine<F>(F);

impl<F: Fn(f64) -> f64> Model for OnLine<F> {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("x");
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        (self.0)(z[0])
    }
}

impl<F: Fn(f64) -> f64> elbo::Differentiable for OnLine<F> {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        let h = 1e-6;
        grad[0] = ((self.0)(z[0] + h) - (self.0)(z[0] - h)) / (2.0 * h);
        (self.0)(z[0])
    }
}

fn on_line<F: Fn(f64) -> f64>(f: F) -> OnLine<F> {
    OnLine(f)
}

fn normal(x: f64) -> f64 {
    -0.5 * x * x
}

#[track_caller]
fn expect_error<T>(result: Result<T, Error>, parts: &[&str]) {
    let Err(error) = result else { panic!("there was no error; wanted {parts:?}") };
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(text.starts_with(parts[0]) && error.code() == parts[0], "{text}");
}

#[track_caller]
fn expect_warning<M, Q>(fit: &Fit<M, Q>, code: &str, parts: &[&str]) {
    let found = fit.warnings.iter().find(|w| w.code.as_str() == code);
    let Some(warning) = found else { panic!("no {code} among {:?}", fit.warnings) };
    let text = warning.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(!warning.actions.is_empty(), "{code} says nothing to try");
}

#[test]
fn wrong_dimensions() {
    let result = fit(on_line(normal), MeanFieldGaussian::standard(3), ascent(2, 0.1), budget(5));
    expect_error(result, &["E03", "the family has 3 values but the model has 1"]);
}

#[test]
fn wrong_support() {
    let mut space = Space::new();
    let p = space.unit("bias");
    let model = from_fn(space, move |z| density::beta(z[p], 2.0, 2.0));
    let result = fit(model, MeanFieldGaussian::standard(1), ascent(2, 0.1), budget(5));
    expect_error(result, &["E06", "`bias` lives on Unit", ".unconstrained()"]);
}

#[test]
fn nowhere_finite_at_the_start() {
    let q = || MeanFieldGaussian::standard(1);
    let result = fit(on_line(|_| f64::NAN), q(), ascent(2, 0.1), budget(5));
    expect_error(result, &["E05", "log_joint is NaN at the start", "x = ", "or start q elsewhere"]);
    let result = fit(on_line(|_| f64::NEG_INFINITY), q(), ascent(2, 0.1), budget(5));
    expect_error(result, &["E05", "-inf", "x = ", "declare the supports"]);
    let result = fit(on_line(|_| f64::INFINITY), q(), ascent(2, 0.1), budget(5));
    expect_error(result, &["E05", "is inf", "never infinite"]);
}

#[test]
fn the_start_is_named_on_the_natural_scale() {
    let mut space = Space::new();
    let tau = space.positive("tau");
    let model = from_fn(space, move |z| (z[tau] * 0.0 - 1.0).ln()).unconstrained();
    let result = fit(model, MeanFieldGaussian::standard(1), ascent(2, 0.1), budget(5));
    expect_error(result, &["E05", "z = tau = "]);
}

#[test]
fn not_finite_now_and_then() {
    // about one draw in 160
    let model = on_line(|x: f64| if x > 2.5 { f64::NAN } else { normal(x) });
    let fit = fit(model, MeanFieldGaussian::standard(1), ascent(4, 0.01), budget(400)).unwrap();
    assert_eq!(fit.outcome, Outcome::StepLimit);
    assert!(fit.rejected > 0 && fit.rejected < 100, "{} rejected", fit.rejected);
    assert_eq!(fit.rejected, fit.trace.iter().filter(|s| s.rejected.is_some()).count());
    expect_warning(&fit, "W03", &["of 400 steps were rejected", "log_joint is NaN at x = "]);
}

#[test]
fn no_finite_step_any_more() {
    let model = on_line(|x: f64| if x > 0.0 { f64::NAN } else { normal(x) });
    let options = Options { patience: 7, ..budget(400) };
    let start = MeanFieldGaussian::standard(1);
    let fit = fit(model, start.clone(), ascent(40, 0.1), options).unwrap();
    let Outcome::Diverged { witness } = &fit.outcome else { panic!("{}", fit.outcome) };
    assert_eq!((fit.rejected, fit.trace.len()), (7, 7));
    assert_eq!(fit.q, start, "the last good iterate is the start");
    assert!(witness.log_joint.is_nan() && witness.z[0] > 0.0);
    assert!(witness.replay(&fit.model).is_nan());
    assert!(fit.outcome.to_string().starts_with("diverged: step 6, draw "), "{}", fit.outcome);
    let json = serde_json::to_string(&fit.outcome).unwrap();
    let back: Outcome = serde_json::from_str(&json).unwrap();
    assert_eq!(back.to_string(), fit.outcome.to_string());
}

#[test]
fn outside_the_support_half_the_time() {
    let model = on_line(|x: f64| if x < 0.0 { f64::NEG_INFINITY } else { -x });
    let result = fit(model, MeanFieldGaussian::standard(1), ascent(40, 0.1), budget(400)).unwrap();
    let text = result.outcome.to_string();
    assert!(text.contains("log_joint is -inf at x = -") && text.contains("positive"), "{text}");
}

#[test]
fn an_objective_without_limit() {
    // a sign error
    let model = on_line(|x: f64| 0.5 * x * x);
    let result = fit(model, MeanFieldGaussian::standard(1), ascent(4, 0.05), budget(20_000));
    expect_error(result, &["E07", "unbounded", "`x` has run to", "sign error"]);
    // a scale that shrinks onto a data point
    let mut space = Space::new();
    let (mu, tau) = (space.real("mu"), space.positive("tau"));
    let model = from_fn(space, move |z| density::normal(z[mu], 0.0, 1.0) - z[tau].ln() * 2.0)
        .unconstrained();
    let result = fit(model, MeanFieldGaussian::standard(2), ascent(4, 0.1), budget(20_000));
    expect_error(result, &["E07", "`log(tau)` has run to -"]);
}

#[test]
fn a_posterior_that_is_none() {
    for unconstrained in [false, true] {
        let mut space = Space::new();
        let (a, _b) = (space.real("a"), space.real("b"));
        let model = from_fn(space, move |z| density::normal(z[a], 0.0, 1.0));
        let q = MeanFieldGaussian::standard(2);
        let parts = ["E08", "does not depend on `b`", "give it a prior"];
        if unconstrained {
            expect_error(fit(model.unconstrained(), q, ascent(4, 0.1), budget(5)), &parts);
        } else {
            expect_error(fit(model, q, ascent(4, 0.1), budget(5)), &parts);
        }
    }
    let mut space = Space::new();
    let (a, _rate) = (space.real("a"), space.positive("rate"));
    let model = from_fn(space, move |z| density::normal(z[a], 0.0, 1.0)).unconstrained();
    let result = fit(model, MeanFieldGaussian::standard(2), ascent(4, 0.1), budget(5));
    expect_error(result, &["E08", "does not depend on `rate`"]);
}

#[test]
fn a_flat_but_proper_posterior_is_let_through() {
    let mut space = Space::new();
    let (_p, b) = (space.unit("p"), space.real("b"));
    let model = from_fn(space, move |z| density::normal(z[b], 0.0, 1e6)).unconstrained();
    let q = MeanFieldGaussian::new(vec![0.0, 0.0], &[1.0, 1e5]).unwrap();
    assert!(fit(model, q, ascent(4, 0.1), budget(5)).is_ok());
}

#[test]
fn options_that_make_no_sense() {
    let q = || MeanFieldGaussian::standard(1);
    let with = |options| fit(on_line(normal), q(), ascent(2, 0.1), options);
    expect_error(with(budget(0)), &["E10", "steps is 0"]);
    expect_error(with(Options { patience: 0, ..budget(5) }), &["E10", "patience is 0"]);
    expect_error(with(Options { elbo_every: 0, ..budget(5) }), &["E10", "elbo_every is 0"]);
    let paired = |p: Paired| Options { stop: Stop::Paired(p), ..budget(5) };
    expect_error(with(paired(Paired { every: 0, ..Paired::default() })), &["E10", "every is 0"]);
    expect_error(with(paired(Paired { draws: 1, ..Paired::default() })), &["E10", "draws of the"]);
    let tolerance = Some(f64::NAN);
    expect_error(with(paired(Paired { tolerance, ..Paired::default() })), &["E10", "tolerance"]);
    let exact = Options { stop: Stop::Exact { gain: -1.0 }, ..budget(5) };
    expect_error(with(exact), &["E10", "gain is -1"]);
    let no_draws = fit(on_line(normal), q(), ascent(0, 0.1), budget(5));
    expect_error(no_draws, &["E10", "draws is 0"]);
    for rate in [0.0, -1.0, f64::NAN] {
        expect_error(fit(on_line(normal), q(), ascent(2, rate), budget(5)), &["E10", "Adam rate"]);
    }
}

/// An "exact" move that reports what it is told to.
struct Reports(Vec<Option<f64>>, usize);

impl<M, Q> Ascent<M, Q> for Reports {
    fn step(&mut self, _: &mut M, _: &mut Q, _: &mut dyn rand::Rng) -> Result<Step, Error> {
        self.1 += 1;
        Ok(Step { elbo: self.0[(self.1 - 1).min(self.0.len() - 1)], ..Step::default() })
    }
}

#[test]
fn stop_rules_that_do_not_fit_the_move() {
    let q = || MeanFieldGaussian::standard(1);
    let result = fit(on_line(normal), q(), Reports(vec![], 0), Options::default());
    expect_error(result, &["E10", "stop is Paired", "`Reports`", "Stop::exact()"]);
    let result = fit(on_line(normal), q(), Reports(vec![None], 0), Options::exact());
    expect_error(result, &["E10", "stop is Exact", "does not say what its ELBO is"]);
}

#[test]
fn an_exact_move_that_descends() {
    let q = || MeanFieldGaussian::standard(1);
    let elbos = |last: f64| Reports(vec![Some(-200.0), Some(-100.0), Some(last)], 0);
    let result = fit(on_line(normal), q(), elbos(-100.0 - 2e-8), Options::exact());
    expect_error(result, &["E15", "Reports", "from -100 to -100.00000002 at step 2"]);
    // within rounding
    let fit = fit(on_line(normal), q(), elbos(-100.0 - 0.5e-8), Options::exact()).unwrap();
    assert!(matches!(fit.outcome, Outcome::Converged { .. }), "{}", fit.outcome);
}

#[test]
fn a_fall_of_the_elbo_ends_a_stochastic_run() {
    // It starts at the answer and wanders off.
    #[derive(Clone)]
    struct Wanders;
    impl elbo::Optimizer for Wanders {
        fn step(&mut self, _: &[f64], step: &mut [f64]) {
            step.copy_from_slice(&[0.01, 0.0]);
        }
    }
    let ascent = GradientAscent::new(StickingTheLanding { draws: 4 }, Wanders);
    let stop = Stop::Paired(Paired { every: 25, draws: 64, tolerance: Some(1e-12) });
    let options = Options { steps: 2_000, stop, ..Options::default() };
    let fit = fit(on_line(normal), MeanFieldGaussian::standard(1), ascent, options).unwrap();
    let text = fit.outcome.to_string();
    assert!(matches!(fit.outcome, Outcome::Descended { .. }), "{text}");
    assert!(text.contains("the ELBO fell to") && text.contains("smaller steps"), "{text}");
    expect_warning(&fit, "W05", &["the ELBO fell"]);
}

#[test]
fn steps_that_do_not_suffice() {
    let options = Options { steps: 120, ..Options::default() };
    let q = MeanFieldGaussian::new(vec![30.0], &[1.0]).unwrap();
    let fit = fit(on_line(normal), q, ascent(4, 0.01), options).unwrap();
    assert_eq!(fit.outcome.to_string(), "not converged: the steps ran out");
    expect_warning(&fit, "W01", &["has not fired in 120 steps", "steps: 480"]);
}

#[test]
fn a_panic_in_the_density() {
    let model = on_line(|x: f64| {
        assert!(x < 2.0, "x is too large");
        normal(x)
    });
    let q = || MeanFieldGaussian::standard(1);
    let result = fit(model, q(), ascent(4, 0.1), budget(400));
    expect_error(result, &["E13", "panicked at step", "x is too large", "(draw ", "z = ["]);
    // in groups of the adapter too
    let result = fit(
        on_line(|x: f64| if x < 2.0 { normal(x) } else { panic!("{x} is too large") })
            .unconstrained(),
        q(),
        ascent(40, 0.1),
        budget(400),
    );
    let Err(Error::Panicked { message, .. }) = result else { panic!("there was no panic") };
    let z = message.split(" is too large").next().unwrap();
    assert!(message.contains(&format!("z = [{}", &z[..4])), "{message}");
    let result = fit(on_line(|_| panic!("always")), q(), ascent(4, 0.1), budget(5));
    expect_error(result, &["E13", "at step 0", "always"]);
}

fn saved_run(file: &std::path::Path) -> String {
    let mut run =
        Run::new(on_line(normal), MeanFieldGaussian::standard(1), ascent(2, 0.1), budget(20))
            .unwrap();
    for _ in 0..10 {
        run.step().unwrap();
    }
    run.save(file).unwrap();
    std::fs::read_to_string(file).unwrap()
}

fn scratch_file(name: &str) -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("errors");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

fn resume<M: Model>(
    file: &std::path::Path,
    model: M,
) -> Result<Run<M, MeanFieldGaussian, Move>, Error>
where
    Move: Ascent<M, MeanFieldGaussian>,
{
    Run::resume(file, model)
}

#[test]
fn checkpoints_that_cannot_be_read() {
    let file = scratch_file("damaged.json");
    let text = saved_run(&file);
    assert!(resume(&file, on_line(normal)).is_ok());
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    for cut in [0, 1, text.len() / 3, text.len() / 2, text.len() - 1] {
        write(&text[..cut]);
        let place = format!("damaged at byte {cut} of {cut}");
        expect_error(resume(&file, on_line(normal)), &["E11", "damaged.json", &place, "earlier"]);
    }
    write("{\"a\": 1}");
    expect_error(resume(&file, on_line(normal)), &["E11", "is no elbo checkpoint"]);
    write("[1, 2]");
    expect_error(resume(&file, on_line(normal)), &["E11", "is no elbo checkpoint"]);
    write(&text.replacen("\"version\":1", "\"version\":7", 1));
    expect_error(resume(&file, on_line(normal)), &["E11", "version 7", "update elbo"]);
    let rejected = text.find("\"rejected\":0").unwrap();
    write(&text.replacen("\"rejected\":0", "\"rejected\":x", 1));
    let place = format!("damaged at byte {} of", rejected + "\"rejected\":x".len());
    expect_error(resume(&file, on_line(normal)), &["E11", &place]);
    let absent = scratch_file("absent.json");
    expect_error(resume(&absent, on_line(normal)), &["E11", "absent.json: cannot be read"]);
}

#[test]
fn checkpoints_of_something_else() {
    let file = scratch_file("foreign.json");
    saved_run(&file);
    let other_data = on_line(|x| normal(x - 1e-3));
    expect_error(resume(&file, other_data), &["E12", "the data or the density"]);
    let mut space = Space::new();
    let y = space.real("y");
    let other_names = from_fn(space, move |z| density::normal(z[y], 0.0, 1.0));
    expect_error(resume(&file, other_names), &["E12", "coordinates", "1 (x) there, 1 (y) here"]);
    type Other = GradientAscent<StickingTheLanding, Adam>;
    let other_move: Result<Run<_, MeanFieldGaussian, Other>, _> =
        Run::resume(&file, on_line(normal));
    expect_error(
        other_move,
        &["E12", "the move differs", "Averaged<", "GradientAscent<StickingTheLanding, Adam>"],
    );
    let with = |options| {
        let run: Result<Run<_, MeanFieldGaussian, Move>, _> =
            Run::resume_with(&file, on_line(normal), options);
        run
    };
    assert!(with(budget(500)).is_ok());
    expect_error(
        with(Options { seed: 9, ..budget(20) }),
        &["E12", "the options differ", "seed: 9"],
    );
}

#[test]
fn errors_about_numbers_that_are_none_can_be_kept() {
    let point = "(x = 0)".to_string();
    let start = Error::Start { value: f64::NEG_INFINITY, point, remedy: "look".to_string() };
    let text = serde_json::to_string(&start).unwrap();
    assert_eq!(serde_json::from_str::<Error>(&text).unwrap(), start);
}
