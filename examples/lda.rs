//! What are ten thousand postcards about, and how many of them must be read before one knows?
//!
//! The cards are simulated from six themes, so that what is found can be held against what was
//! planted, word by word.

mod book;

use std::ops::ControlFlow;

use book::Figure;
use elbo::data::{Corpus, Planted, postcards};
use elbo::models::{Topics, TopicsPosterior};
use elbo::{Ascent, EStep, Error, Minibatch, NaturalStep, Options, Outcome, Stop, fit_with};
use statrs::function::gamma::ln_gamma;

/// Themes, starts of each method, and cards of a minibatch.
const THEMES: usize = 6;
const STARTS: u64 = 5;
const BATCH: usize = 100;
/// Passes over all cards, and after how many it is looked how well new cards are predicted.
const PASSES: usize = 10;
const LOOKS: [f64; 18] = [
    0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0,
];

fn main() -> Result<(), Error> {
    println!("What are ten thousand postcards about, and how many must be read before one knows?");
    let cards = postcards()?;
    themes(&cards)?;
    how_many(&cards)?;
    race(&cards)?;
    println!(
        "OK: both find the planted topics, and minibatches know after half a pass what takes three passes otherwise"
    );
    Ok(())
}

// ANCHOR: match
/// The total variation between two distributions: the most by which they differ on any event.
fn apart(p: &[f64], q: &[f64]) -> f64 {
    0.5 * p.iter().zip(q).map(|(p, q)| (p - q).abs()).sum::<f64>()
}

/// For each planted topic the nearest of those found, and how far it is.
fn matched(planted: &[Vec<f64>], q: &TopicsPosterior) -> Vec<(usize, f64)> {
    let found: Vec<Vec<f64>> = (0..q.len()).map(|k| q.topic(k)).collect();
    let nearest = |topic: &Vec<f64>| {
        let each = found.iter().map(|f| apart(topic, f)).enumerate();
        each.min_by(|a, b| a.1.total_cmp(&b.1)).expect("there are topics")
    };
    planted.iter().map(nearest).collect()
}

fn mean_distance(matched: &[(usize, f64)]) -> f64 {
    matched.iter().map(|m| m.1).sum::<f64>() / matched.len() as f64
}
// ANCHOR_END: match

fn themes(cards: &Planted) -> Result<(), Error> {
    // ANCHOR: fit
    let best = Topics::new(cards.corpus.clone(), THEMES)?.fit(1)?;
    let (model, q) = (&best.fit.model, &best.fit.q);
    assert!(matches!(best.fit.outcome, Outcome::Converged { .. }));
    let matched = matched(&cards.topics, q);
    assert!(mean_distance(&matched) < 0.15);
    let mut own: Vec<usize> = matched.iter().map(|m| m.0).collect();
    own.sort_unstable();
    assert_eq!(own, [0, 1, 2, 3, 4, 5]); // each theme has a topic to itself
    // ANCHOR_END: fit
    let mut table =
        String::from("| its words | of all words | from the planted |\n|---|---|---|\n");
    let words = model.corpus().n_words() as f64;
    for &(k, distance) in &matched {
        let count = q.concentrations(k).iter().sum::<f64>() - words * model.eta();
        let share = count / model.corpus().n_tokens() as f64;
        let top = model.top_words(q, k, 6).join(", ");
        println!("  {top}: {distance:.3} from the planted");
        table += &format!("| {top} | {:.0} % | {distance:.3} |\n", 100.0 * share);
    }
    book::fragment("lda_topics", &table);
    // the first words of each theme, and those on every card
    let shown: Vec<usize> = (0..THEMES).flat_map(|k| 12 * k..12 * k + 5).chain(72..77).collect();
    let names: Vec<&str> = shown.iter().map(|&w| model.corpus().vocabulary()[w].as_str()).collect();
    let found: Vec<Vec<f64>> = matched.iter().map(|m| q.topic(m.0)).collect();
    let rows = |topics: &[Vec<f64>]| -> Vec<Vec<f64>> {
        let row = |&w: &usize| topics.iter().map(|topic| topic[w] / 0.2).collect();
        shown.iter().map(row).collect()
    };
    book::heat(
        "lda_topics",
        "The probability of words, theme by theme",
        (&names, &["sea", "mountain", "food", "music", "sights", "travel"]),
        &[("planted", rows(&cards.topics)), ("found", rows(&found))],
    );
    Ok(())
}

fn how_many(cards: &Planted) -> Result<(), Error> {
    // ANCHOR: how_many
    let mut bounds = Vec::new();
    for k in 3..=9 {
        let best = Topics::new(cards.corpus.clone(), k)?.with_prior(&[0.2], 0.1)?.fit(1)?;
        // the topics have k! orders, and q knows one
        bounds.push((k, best.fit.q.bound().total() + ln_gamma(k as f64 + 1.0)));
    }
    let top = bounds.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|b| b.0);
    assert_eq!(top, Some(THEMES));
    // ANCHOR_END: how_many
    let row = |of: &dyn Fn(&(usize, f64)) -> String| {
        bounds.iter().map(of).collect::<Vec<_>>().join(" | ")
    };
    let best = bounds[THEMES - 3].1;
    let below = row(&|b| format!("{:.0}", best - b.1));
    println!("nats below the best with 3 to 9 topics: {}", below.replace(" |", ""));
    book::fragment(
        "lda_how_many",
        &format!(
            "| topics | {} |\n|---|{}\n| nats below the best | {below} |",
            row(&|b| b.0.to_string()),
            "---|".repeat(bounds.len())
        ),
    );
    Ok(())
}

/// A run: how well it predicts after so many passes, where it ended, and how many of the starts it is
/// the best of ended there.
struct Climb {
    starts: usize,
    passes: Vec<f64>,
    predicted: Vec<f64>,
    elbo: f64,
    q: TopicsPosterior,
}

impl Climb {
    /// What was predicted after so many passes.
    fn after(&self, passes: f64) -> f64 {
        let at = self.passes.iter().position(|p| (p - passes).abs() < 1e-9);
        at.map_or(f64::NAN, |i| self.predicted[i])
    }
}

// ANCHOR: climb
/// Climbs from a start, and looks now and then how well the cards that ship are predicted.
fn climb(
    model: &Topics,
    test: &Corpus,
    start: u64,
    steps_a_pass: usize,
    moves: impl Ascent<Topics, TopicsPosterior>,
) -> Result<Climb, Error> {
    let score = |q: &TopicsPosterior| model.completion(q, test, 1).map(|c| c.per_word());
    let is = |look: f64, step: usize| (look * steps_a_pass as f64 - step as f64).abs() < 1e-6;
    let (mut passes, mut predicted, mut step) = (Vec::new(), Vec::new(), 0);
    let options = Options {
        steps: PASSES * steps_a_pass,
        stop: Stop::Budget,
        seed: start,
        ..Options::default()
    };
    let fit = fit_with(model.clone(), model.start(start), moves, options, |run| {
        step += 1;
        if let Some(&look) = LOOKS.iter().find(|&&look| is(look, step)) {
            passes.push(look);
            predicted.push(score(&run.q).unwrap_or(f64::NAN));
        }
        ControlFlow::Continue(())
    })?;
    // of all cards, for both: the trace of a run by minibatches has estimates
    let elbo = model.bound(&fit.q)?.total();
    Ok(Climb { starts: 1, passes, predicted, elbo, q: fit.q })
}
// ANCHOR_END: climb

/// The climb with the highest ELBO, and how many end within a thousandth of it.
fn best(climbs: impl Iterator<Item = Result<Climb, Error>>) -> Result<Climb, Error> {
    let climbs = climbs.collect::<Result<Vec<_>, _>>()?;
    let top = climbs.iter().map(|c| c.elbo).fold(f64::NEG_INFINITY, f64::max);
    let starts = climbs.iter().filter(|c| top - c.elbo < 1e-3 * top.abs()).count();
    let best = climbs.into_iter().find(|c| c.elbo == top);
    let best = best.ok_or(Error::NoData { what: "the starts".to_string() })?;
    Ok(Climb { starts, ..best })
}

fn race(cards: &Planted) -> Result<(), Error> {
    let test = &cards.corpus;
    // ANCHOR: race
    let train = cards.more(10_000, 1)?;
    let model = Topics::new(train.corpus, THEMES)?.with_prior(&[0.2], 0.1)?;
    let steps = model.corpus().len() / BATCH;
    let batch = best((0..STARTS).map(|s| climb(&model, test, s, 1, EStep)))?;
    let online = best((0..STARTS).map(|s| {
        let moves = Minibatch::new(BATCH, NaturalStep::decaying(10.0, 0.7));
        climb(&model, test, s, steps, moves)
    }))?;
    let short = (batch.elbo - online.elbo) / batch.elbo.abs();
    assert!(short < 0.02); // of the batch ELBO
    for found in [&batch, &online] {
        assert!(mean_distance(&matched(&cards.topics, &found.q)) < 0.15);
    }
    assert!(online.after(0.5) > batch.after(3.0)); // passes
    // ANCHOR_END: race
    let sharp: Vec<f64> = cards.topics.iter().flatten().map(|p| 0.002 + 1e9 * p).collect();
    let truth = model.completion(&model.start_from(&sharp)?, test, 1)?.per_word();
    let at = [0.01, 0.1, 0.5, 1.0, 2.0, 3.0, 10.0];
    let cell = |x: f64| if x.is_nan() { "–".to_string() } else { format!("{x:.3}") };
    let row = |name: &str, of: &dyn Fn(f64) -> f64| {
        let cells: Vec<String> = at.iter().map(|&p| cell(of(p))).collect();
        format!("| {name} | {} |\n", cells.join(" | "))
    };
    let table = [
        format!(
            "| passes | {} |\n|---|{}\n",
            at.map(|p| format!("{p}")).join(" | "),
            "---|".repeat(at.len())
        ),
        row("minibatches of 100", &|p| online.after(p)),
        row("all cards in each step", &|p| batch.after(p)),
    ];
    book::fragment("lda_race", &table.concat());
    println!("nats a hidden word, planted topics: {truth:.3}");
    for (name, run) in [("all cards", &batch), ("minibatches", &online)] {
        let last = run.predicted.last().copied().unwrap_or(f64::NAN);
        println!("  {name}: {last:.3}, ELBO {:.0}", run.elbo);
    }
    println!("  minibatches after half a pass: {:.3}", online.after(0.5));
    book::fragment(
        "lda_ends",
        &format!(
            "| | ELBO | starts that end there | nats a hidden word | mean distance from the planted topics |\n|---|---|---|---|---|\n{}{}| planted topics | – | – | {truth:.3} | 0 |",
            end("all cards in each step", &batch, cards),
            end("minibatches of 100", &online, cards)
        ),
    );
    Figure::new("New postcards, predicted from half of their words")
        .axes("passes over 10 000 cards", "nats a hidden word")
        .log_x()
        .dashed("the planted topics", &[0.01, PASSES as f64], &[truth; 2])
        .colour(6)
        .line("minibatches of 100", &online.passes, &online.predicted)
        .colour(1)
        .line("all cards in each step", &batch.passes, &batch.predicted)
        .colour(2)
        .points("", &batch.passes, &batch.predicted)
        .colour(2)
        .save_or_check("lda_race");
    Ok(())
}

/// A row of the table of where the runs ended.
fn end(name: &str, run: &Climb, cards: &Planted) -> String {
    let last = run.predicted.last().copied().unwrap_or(f64::NAN);
    let distance = mean_distance(&matched(&cards.topics, &run.q));
    format!(
        "| {name} | {:.0} | {} of {STARTS} | {last:.3} | {distance:.3} |\n",
        run.elbo, run.starts
    )
}
