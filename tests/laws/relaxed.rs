//! Relaxed labels: right for what is climbed, the ELBO of the labels beside it, and the bias stated.

use elbo::{
    Adam, Bernoulli, Categorical, Enumeration, Error, Family, GradientAscent, GradientEstimator,
    GumbelSoftmax, Model, OneHot, Options, Purpose, Real, Relaxed, Run, Schedule, Space, Stop,
    Support, Var, density, fit, from_fn, stream,
};

use crate::discrete::{means_are, moments};
use crate::estimator::at_random;
use crate::family::{message, slopes};
use crate::support::{assert_all_close, assert_close, exact_cases, numbers};

/// Three labels whose log joint bends between them.
fn three() -> impl Relaxed + Clone {
    let mut space = Space::new();
    let y = space.block("y", 3, Support::Simplex);
    let inner = from_fn(space, move |z| {
        let at = z[y][0] * -1.0 + z[y][1] * 0.5 + z[y][2] * 2.0;
        density::normal(at, 0.8, 0.7) - z[y][0] * 0.3
    });
    OneHot::new(inner).expect("one simplex")
}

/// Two coins that depend on each other.
fn coins() -> OneHot<impl elbo::Differentiable + Clone> {
    let mut space = Space::new();
    let (a, b) = (space.block("a", 2, Support::Simplex), space.block("b", 2, Support::Simplex));
    let inner = from_fn(space, move |z: &[Var]| {
        let (a, b) = (z[a][1], z[b][1]);
        (a * 1.2 - b * 0.7).sin() + a * b * 0.8 - (a - 0.3).square()
    });
    OneHot::new(inner).expect("two simplexes")
}

#[test]
fn one_hot_is_the_inner_model() {
    let model = coins();
    assert_eq!(model.space().names(), ["a", "b"]);
    assert_eq!((model.dim(), model.space().support(1)), (2, Support::Category(2)));
    let (mut out, mut grad) = ([0.0; 2], [0.0; 8]);
    model.log_joint_batch(&[0.0, 1.0, 1.0, 1.0], &mut out);
    let y = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0];
    let inner: Vec<f64> = y.chunks_exact(4).map(|y| model.inner().log_joint(y)).collect();
    assert_eq!(out[..], inner[..]);
    let mut again = [0.0; 2];
    model.relaxed_grad_batch(&y, &mut again, &mut grad, &mut []);
    assert_all_close("between labels", &again, &out, 1e-14);
    let y = [0.3, 0.7, 0.6, 0.4];
    let mut grad = [0.0; 4];
    model.relaxed_grad(&y, &mut grad);
    assert_all_close("slope", &grad, &slopes(&y, |y| model.inner().log_joint(y)), 1e-7);
    assert!(model.log_joint(&[0.5, 1.0]).is_nan(), "half a label is no label");
    let mut space = Space::new();
    space.real("x");
    message(
        OneHot::new(from_fn(space, |z| z[0])),
        &["E14 `x` lives on Real", "space.block(\"x\", n, Support::Simplex)"],
    );
}

/// The mean over many draws is the gradient of the relaxed objective, exact by quadrature over the
/// logistic noise of two coins; the ELBO it returns is that of the labels.
#[test]
fn unbiased_for_what_it_climbs() {
    let model = coins();
    for (seed, tau) in [(1, 0.5), (2, 1.0), (3, 2.0)] {
        let q = at_random(&Bernoulli::even(2), seed);
        let mut lambda = [0.0; 2];
        q.params(&mut lambda);
        // trapezoid rule: the density of the noise dies out like e^-|x|
        let grid: Vec<(f64, f64)> = (-320..=320)
            .map(|k| {
                let x = 0.125 * f64::from(k);
                let s = 1.0 / (1.0 + (-x.abs()).exp());
                (x, 0.125 * s * (1.0 - s))
            })
            .collect();
        let objective = |lambda: &[f64]| {
            let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
            let mut sum = 0.0;
            for (x, wx) in &grid {
                for (y, wy) in &grid {
                    let (a, b) = (sigmoid((lambda[0] + x) / tau), sigmoid((lambda[1] + y) / tau));
                    sum += wx * wy * model.inner().log_joint(&[1.0 - a, a, 1.0 - b, b]);
                }
            }
            let p = [sigmoid(lambda[0]), sigmoid(lambda[1])];
            sum - p.iter().map(|p| p * p.ln() + (1.0 - p) * (1.0 - p).ln()).sum::<f64>()
        };
        let states = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]];
        let term = |z: &[f64; 2]| q.log_prob(z).exp() * (model.log_joint(z) - q.log_prob(z));
        let mut want = vec![states.iter().map(term).sum(), objective(&lambda)];
        want.extend(slopes(&lambda, objective));
        let mut estimator = GumbelSoftmax::new(2, Schedule::Fixed(tau));
        means_are(&moments(&model, &q, &mut estimator, seed), &want, &format!("tau = {tau}"));
    }
}

/// Bias and noise of the relaxed gradient as one of the ELBO, at one temperature.
fn bias_and_sd(tau: f64) -> (f64, f64) {
    let (model, q) = (three(), Categorical::new(&[&[0.5, 0.3, 0.2]]).expect("probabilities"));
    let mut exact = [0.0; 3];
    let mut rng = stream(1, Purpose::Step, 0);
    Enumeration
        .estimate(&model, &q, &mut rng, &mut Default::default(), &mut [], &mut exact)
        .expect("finite");
    let got = moments(&model, &q, &mut GumbelSoftmax::new(1, Schedule::Fixed(tau)), 1);
    let bias = got[2..].iter().zip(&exact).map(|(m, e)| (m.0 - e).powi(2)).sum::<f64>().sqrt();
    (bias, got[2..].iter().map(|m| m.1).sum::<f64>().sqrt())
}

/// At the ends: much bias and little noise at a high temperature, the other way round at a low one.
#[test]
fn temperature_trades_bias_for_noise() {
    let (hot, cold) = (bias_and_sd(5.0), bias_and_sd(0.05));
    // the bias at the low end is known to about sd / 200
    let noise = 4.0 * cold.1 / 200.0;
    assert!(hot.0 > 10.0 * (cold.0 - noise).max(0.0), "{hot:?} {cold:?}");
    assert!(cold.1 > 20.0 * hot.1, "{hot:?} {cold:?}");
}

/// The gradient, the ELBO and the objective of one estimate.
fn estimate<M: Model, E: GradientEstimator<M, Categorical>>(
    model: &M,
    q: &Categorical,
    mut estimator: E,
) -> ([f64; 3], f64, f64) {
    let (mut grad, mut scratch) = ([0.0; 3], E::Scratch::default());
    let mut rng = stream(4, Purpose::Step, 0);
    let elbo = estimator.estimate(model, q, &mut rng, &mut scratch, &mut [], &mut grad);
    (grad, elbo.expect("finite"), estimator.last_objective(&scratch).expect("known"))
}

/// Where the log joint is linear between its labels the slope is the same everywhere, and seeing
/// labels changes nothing.
#[test]
fn straight_through_differs_only_where_the_model_looks() {
    let mut space = Space::new();
    let y = space.block("y", 3, Support::Simplex);
    let linear = from_fn(space, move |z| z[y][0] * 0.3 - z[y][1] * 1.1 + z[y][2] * 0.7);
    let model = OneHot::new(linear).expect("one simplex");
    let q = Categorical::new(&[&[0.5, 0.3, 0.2]]).expect("probabilities");
    let soft = GumbelSoftmax::new(4, Schedule::Fixed(0.7));
    let (grad, elbo, objective) = estimate(&model, &q, soft.clone());
    let (through, same, label) = estimate(&model, &q, soft.straight_through());
    assert_eq!(grad, through);
    assert_close("the ELBO of the same labels", same, elbo, 1e-14);
    assert_eq!(label, same, "what is climbed straight through is seen at the labels");
    assert!(objective != elbo);
}

/// Steps without their ELBO are the same; the temperature counts steps and is part of a checkpoint.
#[test]
fn the_temperature_follows_the_steps() {
    let annealed = Schedule::Anneal { from: 1.0, rate: 0.1, floor: 0.3 };
    let estimator = GumbelSoftmax::new(2, annealed);
    let options = Options { steps: 40, stop: Stop::Budget, elbo_every: 1, ..Options::default() };
    let go = |options: Options| {
        let q = Categorical::uniform(1, 3).expect("labels");
        let ascent = GradientAscent::new(estimator.clone(), Adam::rate(0.05));
        fit(three(), q, ascent, options).expect("a run")
    };
    let each = go(options.clone());
    let rare = go(Options { elbo_every: 1000, ..options.clone() });
    assert_eq!(each.q, rare.q);
    let step = &each.trace[39];
    assert!(step.objective.is_some() && step.elbo != step.objective);
    assert!(each.warnings.is_empty(), "e^-4 is below the floor: {:?}", each.warnings);
    let hot = go(Options { steps: 5, ..options });
    let warning = hot.warnings.first().expect("it was still hot").to_string();
    assert!(warning.starts_with("W16 the temperature was still 0.61 after 5 steps"), "{warning}");
    let mut estimator = estimator;
    let q = Categorical::uniform(1, 3).expect("labels");
    let mut rng = stream(1, Purpose::Step, 0);
    estimator
        .gradient(&three(), &q, &mut rng, &mut Default::default(), &mut [], &mut [0.0; 3])
        .expect("finite");
    let text = serde_json::to_string(&estimator).expect("it can be saved");
    let again: GumbelSoftmax = serde_json::from_str(&text).expect("and read");
    assert_eq!((again.now(), &again), ((-0.1f64).exp(), &estimator));
}

/// A report has the ELBO of the labels, and beside it what was climbed.
#[test]
fn a_report_gives_both() {
    let q = Categorical::uniform(1, 3).expect("labels");
    let hot = GumbelSoftmax::new(4, Schedule::Fixed(2.0));
    let options = Options { steps: 600, stop: Stop::Budget, ..Options::default() };
    let fit = fit(three(), q, GradientAscent::new(hot, Adam::rate(0.05)), options).expect("a run");
    let posterior = fit.posterior().expect("examined");
    let report = posterior.examined().expect("it has been");
    let exact: f64 = (0..3)
        .map(|k| {
            let (z, log_q) = ([f64::from(k)], fit.q.log_prob(&[f64::from(k)]));
            log_q.exp() * (fit.model.log_joint(&z) - log_q)
        })
        .sum();
    assert!((report.elbo.value - exact).abs() < 4.0 * report.elbo.mcse, "{}", report.elbo);
    let climbed = report.objective.expect("it was not the ELBO");
    assert!((climbed.value - exact).abs() > 10.0 * climbed.mcse, "{climbed}, {exact}");
    let text = posterior.to_string();
    assert!(text.contains("\nclimbed, not the ELBO: "), "{text}");
    assert!(text.contains("(mean over 256 last steps)"), "{text}");
    // three weights, each seen many times: there is no tail for k-hat to judge
    assert!(report.fidelity.khat == f64::NEG_INFINITY && !text.contains("W07"), "{text}");
}

/// The paired stop rule works on labels, and on bounds of weighted draws.
#[test]
fn the_paired_rule_stops() {
    let q = Categorical::uniform(1, 3).expect("labels");
    let stops = |outcome: elbo::Outcome| {
        let text = outcome.to_string();
        assert!(text.starts_with("converged: paired test"), "{text}");
    };
    let ascent = GradientAscent::new(Enumeration, Adam::rate(0.05));
    let run = fit(three(), q.clone(), ascent, Options::default()).expect("a run");
    stops(run.outcome);
    let scored = GradientAscent::new(elbo::ScoreFunction { draws: 16 }, Adam::rate(0.02));
    stops(fit(three(), q.clone(), scored, Options::default()).expect("a run").outcome);
    let vimco = GradientAscent::new(elbo::Vimco { draws: 16 }, Adam::rate(0.02));
    stops(fit(three(), q, vimco, Options::default()).expect("a run").outcome);
    let mut space = Space::new();
    let x = space.real("x");
    let model = from_fn(space, move |z| density::student_t(z[x], 4.0, 1.0, 2.0));
    let estimator = elbo::DoublyReparameterized { draws: 8, alpha: 0.0 };
    let ascent = GradientAscent::new(estimator, Adam::rate(0.02));
    let q = elbo::MeanFieldGaussian::standard(1);
    stops(fit(model, q, ascent, Options::default()).expect("a run").outcome);
}

/// A run that was stopped and resumed has the temperatures of one that was not.
#[test]
fn the_temperature_resumes() {
    let annealed = Schedule::Anneal { from: 1.0, rate: 0.02, floor: 0.1 };
    let options = Options { steps: 100, stop: Stop::Budget, ..Options::default() };
    let start = || {
        let q = Categorical::uniform(1, 3).expect("labels");
        let ascent = GradientAscent::new(GumbelSoftmax::new(2, annealed), Adam::rate(0.05));
        Run::new(three(), q, ascent, options.clone()).expect("a run")
    };
    let whole = start().finish().expect("finite");
    let mut run = start();
    for _ in 0..37 {
        run.step().expect("finite");
    }
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("temperature.json");
    run.save(&file).expect("a file");
    let resumed: Run<_, Categorical, GradientAscent<GumbelSoftmax, Adam>> =
        Run::resume(&file, three()).expect("the same model");
    let resumed = resumed.finish().expect("finite");
    assert_eq!((resumed.q, resumed.trace), (whole.q, whole.trace));
}

#[test]
fn wrong_temperatures_are_refused() {
    let (model, q) = (three(), Categorical::uniform(1, 3).expect("labels"));
    let said = |e: GumbelSoftmax| {
        let checked: Result<(), Error> = e.check(&model, &q);
        checked.expect_err("wrong").to_string()
    };
    assert_eq!(
        said(GumbelSoftmax::new(1, Schedule::Fixed(0.0))),
        "E10 temperature is 0; it must be a positive, finite number"
    );
    assert_eq!(
        said(GumbelSoftmax::new(1, Schedule::Fixed(-1.0))),
        "E10 Fixed is -1; it must be 0 or more, and finite"
    );
    assert_eq!(
        said(GumbelSoftmax::new(1, Schedule::Anneal { from: 1.0, rate: 0.1, floor: 0.0 })),
        "E10 temperature is 0; it must be a positive, finite number"
    );
    assert_eq!(
        said(GumbelSoftmax::new(0, Schedule::Constant)),
        "E10 draws is 0; a gradient needs at least one draw"
    );
}

#[test]
fn exact_relaxed_densities() {
    for case in exact_cases("gumbel_softmax") {
        let (inputs, want) = (&case["inputs"], numbers(&case["expected"]["log_density"]));
        let (logits, tau) = (numbers(&inputs["logits"]), inputs["temperature"].as_f64());
        let points = inputs["points"].as_array().expect("points");
        for (y, want) in points.iter().zip(want) {
            let got = density::gumbel_softmax(&numbers(y), &logits, tau.expect("a number"));
            assert_close("gumbel_softmax", got, want, 1e-10);
        }
        let odds: Vec<f64> = logits.iter().map(|l| l.exp()).collect();
        let p = Categorical::<f64>::new(&[&odds]).expect("probabilities").probabilities(0);
        let want = numbers(&case["expected"]["argmax_probabilities"]);
        assert_all_close("probabilities of the argmax", &p, &want, 1e-14);
    }
    for case in exact_cases("relaxed_bernoulli") {
        let (inputs, want) = (&case["inputs"], numbers(&case["expected"]["log_density"]));
        let of = |what: &str| inputs[what].as_f64().expect("a number");
        for (x, want) in numbers(&inputs["points"]).iter().zip(want) {
            let got = density::relaxed_bernoulli(*x, of("logit"), of("temperature"));
            assert_close("relaxed_bernoulli", got, want, 1e-10);
        }
    }
}
