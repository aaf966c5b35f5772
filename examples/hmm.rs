//! A casino uses a fair die, and now and then a loaded one. Nobody says when.
//!
//! EM finds both dice from the throws alone; the likelihood and the states of single throws are
//! checked by hand, and what is said of them against what was hidden.

mod book;

use book::Figure;
use elbo::data::Observations;
use elbo::models::HiddenMarkov;
use elbo::models::hidden_markov::{Sequences, States};
use elbo::restarts::Restarted;
use elbo::{Conjugate, Error, Purpose, stream};

/// Evenings, and throws of each.
const EVENINGS: usize = 4;
const THROWS: usize = 1_000;

fn main() -> Result<(), Error> {
    println!("Which throws were made with the loaded die?");
    let (throws, loaded) = casino()?;
    let best = find(throws.clone())?;
    let model = &best.fit.model;
    println!("EM from {} starts:\n{}", best.attempts.len(), table(&best));
    check_likelihood(model, &throws)?;
    let (heavy, numbers) = check_recovery(model);
    let (states, said) = check_states(model, &throws, &loaded, heavy)?;
    let bounds = how_many_dice(&throws)?;
    book::fragment("hmm", &format!("{numbers}{said}"));
    book::fragment("hmm_states", &bounds);
    draw(&states, &loaded);
    println!(
        "OK: the dice are found, and a throw called loaded with probability p is so in p of all cases"
    );
    Ok(())
}

// ANCHOR: casino
/// The truth: 0 is the fair die, 1 the loaded one, which shows a six half of the time. Levels count
/// from 0.
fn truth() -> Result<HiddenMarkov, Error> {
    let any = Sequences::one(Observations::new(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 1)?)?;
    let dice = [[1.0 / 6.0; 6], [0.1, 0.1, 0.1, 0.1, 0.1, 0.5]].concat();
    HiddenMarkov::categorical(any, 2, &[6])?.with_parameters(
        &[1.0, 1.0],
        &[0.95, 0.05, 0.1, 0.9],
        &dice,
    )
}

fn casino() -> Result<(Sequences, Vec<usize>), Error> {
    let (truth, mut rng) = (truth()?, stream(1, Purpose::Data, 0));
    let evenings: Vec<_> = (0..EVENINGS).map(|_| truth.sample(THROWS, &mut rng)).collect();
    let (throws, dice): (Vec<_>, Vec<_>) = evenings.into_iter().unzip();
    let sequences = Sequences::new(Observations::new(throws.concat(), 1)?, &[THROWS; EVENINGS])?;
    Ok((sequences, dice.concat()))
}
// ANCHOR_END: casino

// ANCHOR: fit
type Best = Restarted<HiddenMarkov, States>;

fn find(throws: Sequences) -> Result<Best, Error> {
    HiddenMarkov::categorical(throws, 2, &[6])?.fit(1)
}
// ANCHOR_END: fit

fn table(best: &Best) -> String {
    let reached = best.attempts.iter().filter_map(|a| a.elbo.as_ref().ok());
    let top = reached.clone().copied().fold(f64::NEG_INFINITY, f64::max);
    let same = reached.filter(|e| top - **e < 0.01).count();
    format!("  {same} of them end at {top:.3} nats")
}

// ANCHOR: likelihood
/// After an E-step the ELBO is the log likelihood: here it is by the definition, throw after throw.
fn check_likelihood(model: &HiddenMarkov, throws: &Sequences) -> Result<(), Error> {
    let mut total = 0.0;
    for evening in throws.ranges() {
        // p(state | throws before), then times p(throw | state), whose sum is p(throw | before)
        let mut ahead = model.initial().to_vec();
        for t in evening {
            let face = throws.rows().row(t)[0] as usize;
            let joint = [0, 1].map(|k| ahead[k] * model.values(k, 0)[face]);
            let likelihood = joint[0] + joint[1];
            total += likelihood.ln();
            let into = |j: usize| {
                (0..2).map(|i| joint[i] / likelihood * model.transition(i)[j]).sum::<f64>()
            };
            ahead = vec![into(0), into(1)];
        }
    }
    let mut q = model.states();
    let elbo = model.natural_step(&mut q, 1.0)?; // the E-step
    println!("by hand {total:.6}, the ELBO {elbo:.6}");
    assert!((total - elbo).abs() < 1e-9 * total.abs());
    Ok(())
}
// ANCHOR_END: likelihood

/// Which of the two states is the loaded die, and how well the numbers came back.
fn check_recovery(model: &HiddenMarkov) -> (usize, String) {
    let six = |k: usize| model.values(k, 0)[5];
    let (heavy, fair) = if six(1) > six(0) { (1, 0) } else { (0, 1) };
    let rows = [
        ("the loaded die shows a six", six(heavy), 0.5),
        ("the fair die shows a six", six(fair), 1.0 / 6.0),
        ("it is swapped for the loaded one", model.transition(fair)[heavy], 0.05),
        ("and back", model.transition(heavy)[fair], 0.1),
    ];
    let mut text = "| probability that | truth | found |\n|---|---|---|\n".to_string();
    for (what, truth, found) in rows.map(|(what, found, truth)| (what, truth, found)) {
        assert!((found - truth).abs() < 0.04, "{what}: {found}, not {truth}");
        println!("{what}: {found:.3}, in truth {truth:.3}");
        text += &format!("| {what} | {truth:.3} | {found:.3} |\n");
    }
    (heavy, text)
}

// ANCHOR: states
/// What is said of single throws, against what was hidden.
fn check_states(
    model: &HiddenMarkov,
    throws: &Sequences,
    loaded: &[usize],
    heavy: usize,
) -> Result<(Vec<f64>, String), Error> {
    let marginals = model.marginals(throws)?;
    let p: Vec<f64> = marginals.chunks_exact(2).map(|row| row[heavy]).collect();
    let path: Vec<usize> = model.path(throws)?.iter().map(|z| usize::from(*z == heavy)).collect();
    let n = p.len() as f64;
    let share = |f: &dyn Fn(usize) -> bool| (0..p.len()).filter(|&t| f(t)).count() as f64 / n;
    let by_state = share(&|t| usize::from(p[t] > 0.5) == loaded[t]);
    let by_path = share(&|t| path[t] == loaded[t]);
    // the best that can be said of a throw by itself: never loaded
    let alone = share(&|t| loaded[t] == 0);
    // what the probabilities promise for themselves, and its standard error if throws were apart
    let promised = p.iter().map(|p| p.max(1.0 - p)).sum::<f64>() / n;
    let se = (p.iter().map(|p| p * (1.0 - p)).sum::<f64>()).sqrt() / n;
    println!("right: {by_state:.3} by state, {by_path:.3} by path, {alone:.3} without the others");
    println!("promised: {promised:.3} ± {se:.3}");
    // neighbours go wrong together, some ten at a time: ten times the variance
    assert!((by_state - promised).abs() < 4.0 * se * 10f64.sqrt());
    assert!(by_state > alone + 0.08 && by_path > alone + 0.08);
    // and of those called loaded with probability p
    for low in [0.0, 0.2, 0.4, 0.6, 0.8] {
        let some: Vec<usize> = (0..p.len()).filter(|&t| (low..low + 0.2).contains(&p[t])).collect();
        let said = some.iter().map(|&t| p[t]).sum::<f64>() / some.len() as f64;
        let true_share = some.iter().filter(|&&t| loaded[t] == 1).count() as f64;
        let true_share = true_share / some.len() as f64;
        let se = (said * (1.0 - said) * 10.0 / some.len() as f64).sqrt();
        assert!((said - true_share).abs() < 4.0 * se, "{said} {true_share} ± {se}");
    }
    let text = format!(
        "| the state of a throw is found, by the most probable state | {promised:.3} promised | {by_state:.3} |\n| the same, by the most probable path | | {by_path:.3} |\n| the same, without the throws around it | | {alone:.3} |\n"
    );
    Ok((p, text))
}
// ANCHOR_END: states

// ANCHOR: dice
/// The bound of the variational posterior, for one to four dice.
fn how_many_dice(throws: &Sequences) -> Result<String, Error> {
    let mut text =
        "| dice | bound on the log evidence | dice in use |\n|---|---|---|\n".to_string();
    let mut bounds = Vec::new();
    for dice in 1..=4 {
        let model = HiddenMarkov::categorical(throws.clone(), dice, &[6])?.bayesian();
        let best = model.fit(1)?.fit;
        let bound = best.trace.last().and_then(|step| step.elbo).unwrap_or(f64::NAN);
        text += &format!("| {dice} | {bound:.1} | {} |\n", best.q.occupied().len());
        bounds.push(bound);
    }
    let top = bounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    println!("bounds for one to four dice, below the best: {:.1?}", {
        bounds.iter().map(|b| top - b).collect::<Vec<_>>()
    });
    assert!([0, 2, 3].iter().all(|&k| top - bounds[k] > 5.0));
    Ok(text)
}
// ANCHOR_END: dice

fn draw(p: &[f64], loaded: &[usize]) {
    const SHOWN: usize = 300;
    let x: Vec<f64> = (0..SHOWN).map(|t| t as f64).collect();
    let truth: Vec<f64> = loaded[..SHOWN].iter().map(|z| *z as f64).collect();
    Figure::new("Which die is it?")
        .axes("throw", "probability of the loaded die")
        .y_from(0.0, 1.0)
        .band("it was loaded", &x, &[0.0; SHOWN], &truth)
        .line("what the throws say", &x, &p[..SHOWN])
        .save_or_check("hmm");
}
