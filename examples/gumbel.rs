//! What does it cost to soften a label until it can be differentiated, and what does it buy?

mod book;

use book::Figure;
use elbo::diagnostics::Estimate;
use elbo::{
    Adam, Categorical, Enumeration, Error, Family, Fit, GradientAscent, GradientEstimator,
    GumbelSoftmax, Model, OneHot, Options, Purpose, Relaxed, Schedule, ScoreFunction, Space, Stop,
    Support, Var, Vimco, density, fit, from_fn, stream,
};

// ANCHOR: reading
/// A label with three values, known through one noisy reading of its one-hot vector.
fn reading() -> Result<impl Relaxed + Clone, Error> {
    let mut space = Space::new();
    let kind = space.block("kind", 3, Support::Simplex);
    OneHot::new(from_fn(space, move |y| {
        let seen = [0.1, 0.3, 0.6].map(Var::from);
        seen.iter().zip(&y[kind]).map(|(s, y)| density::normal(*s, *y, 0.5f64.sqrt())).sum()
    }))
}
// ANCHOR_END: reading

/// Mean and summed variance of the gradient from one draw, over many draws.
fn moments<M: Model, E: GradientEstimator<M, Categorical>>(
    mut estimator: E,
    (model, q): (&M, &Categorical),
    repeats: u64,
) -> (Vec<f64>, f64) {
    let mut scratch = E::Scratch::default();
    let (mut mean, mut square, mut grad) = (vec![0.0; 3], 0.0, vec![0.0; 3]);
    for t in 0..repeats {
        grad.fill(0.0);
        let mut rng = stream(1, Purpose::Report, t);
        estimator
            .estimate(model, q, &mut rng, &mut scratch, &mut [], &mut grad)
            .expect("a normal log density is finite everywhere");
        for (mean, g) in mean.iter_mut().zip(&grad) {
            let off = g - *mean;
            *mean += off / (t + 1) as f64;
            square += off * (g - *mean);
        }
    }
    (mean, square / (repeats - 1) as f64)
}

// ANCHOR: switches
/// Four switches with three positions each; what they let through is read as a sum.
fn switches() -> Result<OneHot<impl elbo::Differentiable + Clone>, Error> {
    let mut space = Space::new();
    let all: Vec<_> =
        (1..=4).map(|i| space.block(&format!("switch {i}"), 3, Support::Simplex)).collect();
    OneHot::new(from_fn(space, move |y| {
        let passes = |i: usize| y[all[i]][1] * (1.0 + i as f64) + y[all[i]][2] * (2.5 - i as f64);
        let sum: Var = (0..4).map(passes).sum();
        let prior = -4.0 * 3f64.ln();
        density::normal(Var::from(4.2), sum, 0.7) + prior
    }))
}

/// A fit of the switches; all have the same steps of the same size.
fn climb<M, E>(model: M, estimator: E, seed: u64) -> Result<Fit<M, Categorical>, Error>
where
    M: Model,
    E: GradientEstimator<M, Categorical>,
{
    // not quite even: from the middle no switch knows which way to turn
    let start = Categorical::new(&[&[0.36, 0.34, 0.3][..]; 4])?;
    let ascent = GradientAscent::new(estimator, Adam::rate(0.02));
    let options = Options { steps: STEPS, seed, stop: Stop::Budget, ..Options::default() };
    fit(model, start, ascent, options)
}
// ANCHOR_END: switches

const STEPS: usize = 1_500;
const SEEDS: u64 = 24;

/// The exact ELBO of the labels.
fn exact<M: Model>(model: &M, q: &Categorical) -> f64 {
    let (mut rng, mut grad) = (stream(0, Purpose::Report, 0), vec![0.0; q.n_params()]);
    let elbo =
        Enumeration.estimate(model, q, &mut rng, &mut Default::default(), &mut [], &mut grad);
    elbo.expect("every state is possible")
}

/// The ELBO at the end, over seeds.
fn ends<M, E>(model: &M, estimator: &E) -> Result<Estimate, Error>
where
    M: Model + Clone,
    E: GradientEstimator<M, Categorical> + Clone,
{
    let one = |seed| Ok(exact(model, &climb(model.clone(), estimator.clone(), seed)?.q));
    Ok(Estimate::mean(&(0..SEEDS).map(one).collect::<Result<Vec<_>, Error>>()?))
}

fn main() -> Result<(), Error> {
    println!("What does softening a label cost, and what does it buy?");

    // ANCHOR: bias
    let (model, q) = (reading()?, Categorical::new(&[&[0.5, 0.3, 0.2]])?);
    let (truth, none) = moments(Enumeration, (&model, &q), 2);
    assert!(none == 0.0, "a sum over the labels has no noise");
    // and is the slope of the ELBO, up to what a difference quotient is good for
    for i in 0..3 {
        let beside = |h: f64| {
            let mut moved = q.clone();
            let mut params = vec![0.0; 3];
            moved.params(&mut params);
            params[i] += h;
            moved.set_params(&params);
            exact(&model, &moved)
        };
        assert!(((beside(1e-5) - beside(-1e-5)) / 2e-5 - truth[i]).abs() < 1e-8);
    }
    let temperatures = [5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05];
    let (mut bias, mut sd) = (Vec::new(), Vec::new());
    for tau in temperatures {
        // each estimate is the mean of 500 relaxed draws
        let relaxed = GumbelSoftmax::new(500, Schedule::Fixed(tau));
        let (mean, variance) = moments(relaxed, (&model, &q), 2_000);
        let off = mean.iter().zip(&truth).map(|(m, t)| (m - t).powi(2)).sum::<f64>().sqrt();
        bias.push(off);
        sd.push((500.0 * variance).sqrt());
    }
    let at = |tau: f64| temperatures.iter().position(|t| *t == tau).unwrap_or(0);
    assert!(bias[at(5.0)] > 10.0 * bias[at(0.05)]);
    assert!(sd[at(0.05)] > 50.0 * sd[at(5.0)]);
    // in between the bias is not monotone
    assert!(bias[at(1.0)] < bias[at(0.5)] && bias[at(1.0)] < bias[at(2.0)]);
    // ANCHOR_END: bias
    println!("temperature   bias   sd of one draw");
    let mut rows = String::from("| temperature | bias | sd of one draw |\n|---|---|---|");
    for ((tau, bias), sd) in temperatures.iter().zip(&bias).zip(&sd) {
        println!("{tau:11}  {bias:.3}  {sd:8.3}");
        rows += &format!("\n| {tau} | {bias:.3} | {sd:.2} |");
    }
    let score = moments(ScoreFunction { draws: 2 }, (&model, &q), 100_000).1;
    let two = (2.0 * score).sqrt();
    println!("score function with baseline: no bias, sd {two:.3} a draw");
    rows += &format!("\n| score function, baseline | 0 | {two:.2} |");
    book::fragment("gumbel", &rows);
    Figure::new("Bias and noise of a relaxed gradient")
        .axes("temperature", "size, against the exact gradient")
        .log_x()
        .log_y()
        .line("bias", &temperatures, &bias)
        .colour(1)
        .points("", &temperatures, &bias)
        .colour(1)
        .line("sd of one draw", &temperatures, &sd)
        .colour(2)
        .points("", &temperatures, &sd)
        .colour(2)
        .save_or_check("gumbel");

    // ANCHOR: anneal
    let model = switches()?;
    let mut rows = String::from("| estimator | ELBO of the labels at the end |\n|---|---|");
    let mut tell = |name: &str, elbo: Estimate| {
        println!("{name:24} {elbo}");
        rows += &format!("\n| {name} | {:.2} |", elbo.value);
        elbo
    };
    println!("four switches, ELBO of the labels after {STEPS} steps, {SEEDS} seeds:");
    let mut best: Option<Estimate> = None;
    for tau in [5.0, 2.0, 1.0, 0.5, 0.2] {
        let fixed = GumbelSoftmax::new(4, Schedule::Fixed(tau));
        let end = tell(&format!("temperature {tau}"), ends(&model, &fixed)?);
        if best.is_none_or(|b| end.value > b.value) {
            best = Some(end);
        }
    }
    let lowered = Schedule::Anneal { from: 2.0, rate: 3e-3, floor: 0.1 };
    let annealed = tell("annealed, 2 to 0.1", ends(&model, &GumbelSoftmax::new(4, lowered))?);
    let best = best.unwrap_or(annealed);
    let noise = best.mcse.hypot(annealed.mcse);
    assert!(annealed.value >= best.value - 2.0 * noise, "{annealed} against {best}");
    // ANCHOR_END: anneal
    let through = GumbelSoftmax::new(4, lowered).straight_through();
    tell("the same, straight through", ends(&model, &through)?);
    tell("score function, 4 draws", ends(&model, &ScoreFunction { draws: 4 })?);
    tell("VIMCO, 4 draws", ends(&model, &Vimco { draws: 4 })?);
    tell("sum over all 81 states", ends(&model, &Enumeration)?);
    book::fragment("gumbel_anneal", &rows);

    // ANCHOR: beside
    let run = climb(model, GumbelSoftmax::new(4, lowered), 1)?;
    let window = 50;
    let smooth = |of: fn(&elbo::Step) -> Option<f64>| -> Vec<f64> {
        let means = run.trace.chunks(window).map(|steps| {
            let values: Vec<f64> = steps.iter().filter_map(of).collect();
            values.iter().sum::<f64>() / values.len() as f64
        });
        means.collect()
    };
    let (climbed, labels) = (smooth(|s| s.objective), smooth(|s| s.elbo));
    // soft labels explain the reading better than any label can
    assert!(climbed[0] > labels[0] + 1.0);
    assert!((climbed[climbed.len() - 1] - labels[labels.len() - 1]).abs() < 0.5);
    // ANCHOR_END: beside
    let steps: Vec<f64> = (0..climbed.len()).map(|k| (k * window + window / 2) as f64).collect();
    Figure::new("What is climbed, and the bound")
        .axes("step", "nats")
        .line("climbed: relaxed labels", &steps, &climbed)
        .colour(2)
        .line("ELBO of the labels", &steps, &labels)
        .colour(1)
        .save_or_check("gumbel_beside");
    println!(
        "OK: hot is quiet and wrong, cold is right and noisy, and lowering the temperature is as good as the best of both"
    );
    Ok(())
}
