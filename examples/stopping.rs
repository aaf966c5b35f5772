//! Rates, averages, the paired test, and what the end of a run does and does not say.

mod book;

use book::{Figure, grid};
use elbo::warning::Code;
use elbo::{
    Adam, Ascent, Averaged, DoWG, Error, Estimate, GradientAscent, MeanFieldGaussian, Optimizer,
    Options, Outcome, Purpose, Run, Schedule, Scheduled, Sgd, Space, StickingTheLanding, Stop, Var,
    Verdict, density, fit, from_fn, stream,
};

const D: usize = 10;

// ANCHOR: model
/// Ten numbers around 3 that follow one another: each has sd 1, neighbours have correlation `rho`.
fn chain(rho: f64) -> impl elbo::Differentiable + Clone {
    let mut space = Space::new();
    let z = space.reals("z", D);
    let noise = (1.0 - rho * rho).sqrt();
    from_fn(space, move |all| {
        let next = |w: &[Var]| density::normal(w[1], (w[0] - 3.0) * rho + 3.0, noise);
        density::normal(all[z][0], 3.0, 1.0) + all[z].windows(2).map(next).sum::<Var>()
    })
}

/// The sd of coordinate `i` in the best approximation by independent normals.
fn best_sd(i: usize, rho: f64) -> f64 {
    let inner = if i == 0 || i == D - 1 { 1.0 } else { 1.0 + rho * rho };
    ((1.0 - rho * rho) / inner).sqrt()
}

/// The ELBO of independent normals, in closed form, up to a constant.
fn exact(mean: &[f64], sd: &[f64], rho: f64) -> f64 {
    let term = |i: usize| {
        let off = |i: usize| mean[i] - 3.0;
        let (pulled, spread, var) = match i {
            0 => (0.0, 0.0, 1.0),
            i => (rho * off(i - 1), rho * sd[i - 1], 1.0 - rho * rho),
        };
        sd[i].ln() - ((off(i) - pulled).powi(2) + sd[i].powi(2) + spread * spread) / (2.0 * var)
    };
    (0..D).map(term).sum()
}

/// How many nats `q` is below the best of its family.
fn to_go(q: &MeanFieldGaussian, rho: f64) -> f64 {
    let sd: Vec<f64> = (0..D).map(|i| best_sd(i, rho)).collect();
    exact(&[3.0; D], &sd, rho) - exact(q.mean(), q.sd(), rho)
}
// ANCHOR_END: model

type Move<O> = GradientAscent<StickingTheLanding, O>;

fn climb<O>(optimizer: O) -> Move<O> {
    GradientAscent::new(StickingTheLanding { draws: 8 }, optimizer)
}

fn start() -> MeanFieldGaussian {
    MeanFieldGaussian::standard(D)
}

// ANCHOR: rates
/// Nats to go after 1 000 steps, at the last iterate and at the average: mean of 10 seeds.
fn last_and_average<O: Optimizer + Clone>(optimizer: O) -> Result<[Estimate; 2], Error> {
    let (mut last, mut average) = (Vec::new(), Vec::new());
    for seed in 0..10 {
        let options = Options { steps: 1_000, seed, stop: Stop::Budget, ..Options::default() };
        let ascent = climb(Averaged::new(optimizer.clone()));
        let mut run = Run::new(chain(0.9), start(), ascent, options)?;
        while run.step()?.is_none() {}
        last.push(to_go(&run.q, 0.9));
        run.ascent.answer(&mut run.model, &mut run.q);
        average.push(to_go(&run.q, 0.9));
    }
    Ok([Estimate::mean(&last), Estimate::mean(&average)])
}
// ANCHOR_END: rates

/// Whether `a` is smaller than `b` by more than four standard errors.
fn clearly_less(a: &Estimate, b: &Estimate) -> bool {
    b.value - a.value > 4.0 * a.mcse.hypot(b.mcse)
}

fn main() -> Result<(), Error> {
    println!("How large should a step be, and how many are enough?");
    let falling = Schedule::Cosine { steps: 1_000, floor: 0.0 };
    // ANCHOR: compare
    let rows = [
        ("Adam, rate 0.3", last_and_average(Adam::rate(0.3))?),
        ("Adam, rate 0.03", last_and_average(Adam::rate(0.03))?),
        ("Adam, rate 0.003", last_and_average(Adam::rate(0.003))?),
        ("Adam, 0.3 falling to 0", last_and_average(Scheduled::new(Adam::rate(0.3), falling))?),
        ("DoWG, no rate to choose", last_and_average(DoWG::new())?),
    ];
    let [large, middle, small, scheduled, dowg] = rows.map(|(_, both)| both);
    assert!(clearly_less(&middle[0], &large[0]), "the last iterate is as noisy as its rate");
    assert!(clearly_less(&large[1], &large[0]) && clearly_less(&dowg[1], &dowg[0]), "an average");
    assert!(clearly_less(&scheduled[0], &large[0]), "a rate that falls");
    assert!(clearly_less(&large[1], &small[1]), "too small a rate has not arrived");
    // ANCHOR_END: compare
    println!("nats to go after 1000 steps         last iterate             average");
    for (name, [last, average]) in &rows {
        println!("  {name:24} {:>20} {:>19}", last.to_string(), average.to_string());
    }

    // ANCHOR: paired
    let options = Options { steps: 4_000, seed: 1, ..Options::default() };
    let mut run =
        Run::new(chain(0.9), start(), climb(Averaged::new(Adam::rate(0.03))), options.clone())?;
    while run.trace.len() < 400 {
        run.step()?;
    }
    let (before, q) = (terms(&mut run, 0), answer(&run));
    while run.trace.len() < 500 {
        run.step()?;
    }
    let (now, other_noise) = (terms(&mut run, 0), terms(&mut run, 1));
    let gain = to_go(&q, 0.9) - to_go(&answer(&run), 0.9); // exact
    let minus = |a: &[f64]| a.iter().zip(&before).map(|(a, b)| a - b).collect::<Vec<f64>>();
    let (same, fresh) = (Estimate::mean(&minus(&now)), Estimate::mean(&minus(&other_noise)));
    for estimate in [&same, &fresh] {
        assert!((estimate.value - gain).abs() < 4.0 * estimate.mcse);
    }
    let fewer = fresh.mcse / same.mcse;
    assert!(fewer > 10.0, "{fewer} times less noise");
    // ANCHOR_END: paired
    let (sd, sd_difference) = (Estimate::mean(&now).mcse * 16.0, same.mcse * 16.0);
    println!("from step 400 to 500 the answer gains {gain:.3} nats; 256 draws say");
    println!("  {same} on the same noise, {fresh} on fresh noise");
    println!("  sd of one draw: {sd:.2} of the ELBO, {sd_difference:.2} of the difference");

    // ANCHOR: stop
    let ended = |seed| {
        let options = Options { seed, ..options.clone() };
        fit(chain(0.9), start(), climb(Averaged::new(Adam::rate(0.03))), options)
    };
    let tolerance = 0.01 * (D as f64).sqrt();
    let (mut worst, mut fired) = (0.0f64, 0);
    for seed in 0..20 {
        let fit = ended(seed)?;
        if matches!(fit.outcome, Outcome::Converged { .. }) {
            fired += 1;
            worst = worst.max(to_go(&fit.q, 0.9));
        } else {
            assert!(matches!(fit.outcome, Outcome::StepLimit), "{}", fit.outcome);
        }
    }
    assert!(fired >= 17, "it fires within 4000 steps for nearly every seed: {fired} of 20");
    assert!(worst < 4.0 * tolerance, "{worst} nats were left");
    // What is to go bounds the error of each log sd by its square root: 0.32 e^0.36 = 0.46.
    assert!(ended(0)?.q.sd()[5] < 0.5, "and yet the posterior's sd is 1");
    // ANCHOR_END: stop
    println!("20 fits: the paired test fired in {fired}, {worst:.3} nats to go or less");
    println!("one of them {}", show(options.clone())?);

    // ANCHOR: flagged
    let too_large = fit(chain(0.9), start(), climb(Adam::rate(3.0)), options.clone())?;
    assert!(matches!(too_large.outcome, Outcome::Descended { .. }));
    assert_eq!(too_large.warnings[0].code, Code::StepTooLarge);
    let far_too_large = fit(chain(0.9), start(), climb(Sgd::rate(0.3)), options.clone())?;
    assert!(matches!(far_too_large.outcome, Outcome::Diverged { .. }));
    let too_small = fit(chain(0.9), start(), climb(Adam::rate(1e-4)), options.clone())?;
    assert!(matches!(too_small.outcome, Outcome::StepLimit));
    assert_eq!(too_small.warnings[0].code, Code::NotConverged);
    // ANCHOR_END: flagged
    for (name, fit) in
        [("Adam 3", &too_large), ("SGD 0.3", &far_too_large), ("Adam 0.0001", &too_small)]
    {
        let outcome: String = fit.outcome.to_string().chars().take(70).collect();
        println!("{name}: {outcome} ..");
    }

    // ANCHOR: stuck
    // Steps so small that nothing is gained: but they all point one way, so the rule does not fire.
    let crawling = fit(chain(0.9), start(), climb(Adam::rate(1e-6)), options.clone())?;
    assert!(matches!(crawling.outcome, Outcome::StepLimit) && to_go(&crawling.q, 0.9) > 10.0);
    // A plateau cannot be told from a top by walking on it. The report can tell.
    assert_eq!(crawling.posterior()?.verdict(), Verdict::DoNotUse);
    // ANCHOR_END: stuck

    // ANCHOR: axes
    let judged = |rho: f64, options: &Options| {
        let fit =
            fit(chain(rho), start(), climb(Averaged::new(Adam::rate(0.03))), options.clone())?;
        Ok::<_, Error>(fit.posterior()?.examined()?.clone())
    };
    let budget = |steps| Options { steps, stop: Stop::Budget, ..options.clone() };
    let cases = [
        ("0.3, stopped after 20 steps", judged(0.3, &budget(20))?),
        ("0.3, until the test fires", judged(0.3, &options)?),
        ("0.9, until the test fires", judged(0.9, &options)?),
        ("0, stopped after 1 000 steps", judged(0.0, &budget(1_000))?),
    ];
    let words = cases.each_ref().map(|(_, report)| report.judgement.verdict);
    assert!(words[0] > Verdict::Good && words[2] > Verdict::Good);
    assert_eq!([words[1], words[3]], [Verdict::Good; 2]);
    // ANCHOR_END: axes
    println!("rho and run: arrived | ELBO known | q close | verdict");
    for (name, report) in &cases {
        let j = &report.judgement;
        let axes = format!("{} | {} | {}", j.optimisation, j.monte_carlo, j.fidelity);
        println!("  {name}: {axes} | {}", j.verdict);
    }

    let line = |(name, [last, average]): &(&str, [Estimate; 2])| {
        format!("| {name} | {last} | {average} |\n")
    };
    let head = "| 1 000 steps | last iterate | average |\n|---|---|---|\n";
    book::fragment("stopping", &(head.to_string() + &rows.iter().map(line).collect::<String>()));
    let draws = format!("| {gain:.3} | {same} | {fresh} |");
    let head = "| exact gain | 256 draws, same noise | 256 draws, fresh noise |\n|---|---|---|\n";
    book::fragment("stopping_paired", &(head.to_string() + &draws));
    let line = |(name, report): &(&str, elbo::Report)| {
        let j = &report.judgement;
        let axes = format!("{} | {} | {}", j.optimisation, j.monte_carlo, j.fidelity);
        format!("| {name} | {axes} | **{}** |\n", j.verdict)
    };
    let head = "| correlation, run | arrived? | ELBO known? | q close? | verdict |\n|---|---|---|---|---|\n";
    let lines: String = cases.iter().map(line).collect();
    book::fragment("stopping_axes", &(head.to_string() + &lines));
    println!("OK: averages and paired draws beat the noise; having arrived is not being close");
    Ok(())
}

/// The answer of a run as it is now: the average, where the optimizer has one.
fn answer<M: elbo::Model + Clone, A: Ascent<M, MeanFieldGaussian>>(
    run: &Run<M, MeanFieldGaussian, A>,
) -> MeanFieldGaussian {
    let (mut model, mut q) = (run.model.clone(), run.q.clone());
    run.ascent.answer(&mut model, &mut q);
    q
}

/// `log p - log q` at 256 draws of the current answer, made of noise number `noise`.
fn terms<M, A: Ascent<M, MeanFieldGaussian>>(
    run: &mut Run<M, MeanFieldGaussian, A>,
    noise: u64,
) -> Vec<f64> {
    let mut terms = vec![0.0; 256];
    let mut noise = stream(7, Purpose::Probe, noise);
    run.ascent.probe(&mut run.model, &mut run.q, &mut noise, &mut terms);
    terms
}

/// A fit by hand until the rule fires, with what a picture needs.
fn show(options: Options) -> Result<Outcome, Error> {
    let mut run = Run::new(chain(0.9), start(), climb(Averaged::new(Adam::rate(0.03))), options)?;
    let best = -0.5 * (8.0 * 1.81_f64.ln() - 0.19_f64.ln()); // minus the divergence that is left
    let (mut at, mut line, mut low, mut high) = (vec![], vec![], vec![], vec![]);
    let outcome = loop {
        if run.trace.len() % 50 == 25 {
            at.push(run.trace.len() as f64);
            line.push(best - to_go(&answer(&run), 0.9));
            let estimate = Estimate::mean(&terms(&mut run, at.len() as u64));
            low.push(estimate.value - 2.0 * estimate.mcse);
            high.push(estimate.value + 2.0 * estimate.mcse);
        }
        if let Some(outcome) = run.step()? {
            break outcome;
        }
    };
    let end = run.trace.len() as f64;
    let steps = grid(5.0, 5.0 + 15.0 * (end / 15.0 - 1.0).floor(), (end / 15.0) as usize);
    let elbo = |step: &f64| run.trace[*step as usize].elbo.unwrap_or(f64::NAN);
    let clipped: Vec<f64> = steps.iter().map(|step| elbo(step).max(-9.0)).collect();
    Figure::new("One fit, until a check says that no more is gained")
        .axes("step", "ELBO, nats")
        .y_from(-9.0, -1.0)
        .points("8 draws of a step", &steps, &clipped)
        .colour(6)
        .band("256 draws of the average, 2 standard errors", &at, &low, &high)
        .colour(1)
        .line("exact", &at, &line)
        .colour(2)
        .dashed("best of the family", &[0.0, end], &[best; 2])
        .colour(3)
        .dashed("the rule fires", &[end; 2], &[-9.0, -1.0])
        .colour(4)
        .save_or_check("stopping");
    Ok(outcome)
}
