//! w8: topics of 2 000 documents, 20 topics over 5 000 words, by coordinate ascent (20 passes) and by
//! stochastic variational inference (5 passes of batches of 128); six fits from different starts, and
//! as many as others do it: from topics that are all alike but for noise, and with a longer search for
//! the proportions of each document.

use std::hint::black_box;

use elbo::data::Corpus;
use elbo::models::{Topics, TopicsPosterior};
use elbo::{Ascent, EStep, Minibatch, NaturalStep, Options, Purpose, Run, Stop, stream};
use rand_distr::{Distribution, Gamma};
use serde_json::json;

use super::failure::Failure;
use super::line::{digits, quantile};
use super::npy::Array;
use super::process::{Stopwatch, load, peak_rss_mb};
use super::work::Job;

const TOPICS: usize = 20;
const WORDS: usize = 5_000;
/// The prior everyone is measured with.
const ALPHA: f64 = 0.15;
const ETA: f64 = 0.05;
const FITS: u64 = 6;
/// Where peers end the search for the proportions of a document.
const THEIR_TOLERANCE: f64 = 1e-3;
const THEIR_ROUNDS: usize = 100;
/// Deals of the test documents' words into what is seen and what is predicted.
const DEALS: u64 = 5;

pub fn run(job: &Job) -> Result<(), Failure> {
    let test = corpus(job, "te")?;
    let truth = job.input("true_topics")?;
    let watch = Stopwatch::start();
    let model = Topics::new(corpus(job, "tr")?, TOPICS)?.with_prior(&[ALPHA], ETA)?;
    let (prepare, _) = watch.read();
    let passes = match job.work.batch {
        None => job.work.steps,
        Some(batch) => job.work.steps / model.corpus().len().div_ceil(batch),
    };
    let (mut wall, mut cpu, mut predicted) = (Vec::new(), Vec::new(), Vec::new());
    let mut elbo = None;
    let climb = |model: &Topics, q: TopicsPosterior, seed: u64| match job.work.batch {
        None => fit(job, model, (q, seed), EStep),
        Some(batch) => {
            fit(job, model, (q, seed), Minibatch::new(batch, NaturalStep::decaying(10.0, 0.7)))
        }
    };
    let topics = |q: &TopicsPosterior| (0..TOPICS).map(|k| q.topic(k)).collect::<Vec<_>>();
    for seed in 0..FITS {
        let (w, c, q, last) = climb(&model, model.start(seed), seed)?;
        wall.push(1e3 * w / passes as f64);
        cpu.push(1e3 * c / passes as f64);
        elbo = last;
        predicted.push(completion(&topics(&q), &test)?);
    }
    let theirs = model.clone().with_search(THEIR_TOLERANCE, THEIR_ROUNDS)?;
    let (mut their_cpu, mut their_words) = (Vec::new(), Vec::new());
    for seed in 0..FITS {
        let (_, c, q, _) = climb(&theirs, alike(&theirs, seed)?, seed)?;
        their_cpu.push(1e3 * c / passes as f64);
        their_words.push(completion(&topics(&q), &test)?);
    }
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
    let peak = peak_rss_mb();
    let truth: Vec<Vec<f64>> = truth.values.chunks_exact(WORDS).map(<[f64]>::to_vec).collect();
    println!(
        "{}",
        json!({
            "peer": "elbo", "version": env!("CARGO_PKG_VERSION"), "workload": job.work.name, "threads": job.threads,
            "config": { "passes": passes, "batch": job.work.batch, "data": job.work.folder, "fits": FITS },
            "jit_s": digits(prepare, 5), "steps": passes,
            "ms_step_median": digits(quantile(&wall, 0.5), 6), "ms_step_min": digits(quantile(&wall, 0.0), 6),
            "cpu_ms_step_median": digits(quantile(&cpu, 0.5), 6), "cpu_ms_step_min": digits(quantile(&cpu, 0.0), 6),
            "process_to_fit_s": digits(job.begun.elapsed().as_secs_f64(), 4), "load": load(), "peak_rss_mb": peak,
            "cpu_ms_step_as_peers": digits(quantile(&their_cpu, 0.5), 6),
            "predictive_ll_word_as_peers": digits(mean(&their_words), 4),
            "elbo": elbo, "predictive_ll_word": digits(mean(&predicted), 4), "predictive_ll_words": predicted,
            "true_predictive_ll_word": digits(completion(&truth, &test)?, 4),
        })
    );
    Ok(())
}

/// A start as peers have it: every concentration from a Gamma distribution about one.
fn alike(model: &Topics, seed: u64) -> Result<TopicsPosterior, Failure> {
    let near_one = Gamma::new(100.0, 0.01).map_err(|e| Failure::new(e.to_string()))?;
    let mut rng = stream(seed, Purpose::Start, 0);
    let all: Vec<f64> = (0..TOPICS * WORDS).map(|_| near_one.sample(&mut rng)).collect();
    Ok(model.start_from(&all)?)
}

/// Wall and CPU seconds of a fit, its `q` and its last ELBO.
type Timed = (f64, f64, TopicsPosterior, Option<f64>);

fn fit(
    job: &Job,
    model: &Topics,
    (q, seed): (TopicsPosterior, u64),
    ascent: impl Ascent<Topics, TopicsPosterior>,
) -> Result<Timed, Failure> {
    let options = Options { steps: job.work.steps, stop: Stop::Budget, seed, ..Options::default() };
    let mut run = Run::new(model.clone(), q, ascent, options)?;
    let watch = Stopwatch::start();
    for _ in 0..job.work.steps {
        black_box(run.step()?);
    }
    let (wall, cpu) = watch.read();
    let last = run.trace.last().and_then(|s| s.elbo);
    Ok((wall, cpu, run.q, last))
}

fn corpus(job: &Job, part: &str) -> Result<Corpus, Failure> {
    let input = |name: &str| job.input(&format!("{part}_{name}"));
    let whole = |array: Array| array.values.iter().map(|x| *x as usize).collect::<Vec<_>>();
    let (starts, words) = (whole(input("ptr")?), whole(input("idx")?));
    Ok(Corpus::from_rows(&starts, &words, &input("data")?.values, WORDS)?)
}

/// The log probability of a word on average: the proportions of each document by 100 rounds of EM
/// on half of its words, the other half predicted.
fn completion(topics: &[Vec<f64>], test: &Corpus) -> Result<f64, Failure> {
    let (mut sum, mut n) = (0.0, 0.0);
    for deal in 0..DEALS {
        let (seen, hidden) = test.halves(deal)?;
        for d in 0..seen.len() {
            let (words, counts) = seen.document(d);
            let mut theta = vec![1.0 / topics.len() as f64; topics.len()];
            for _ in 0..100 {
                let mut next = vec![ALPHA; topics.len()];
                for (&w, &count) in words.iter().zip(counts) {
                    let r = theta.iter().zip(topics).map(|(t, topic)| t * topic[w as usize]);
                    let r: Vec<f64> = r.collect();
                    let total: f64 = r.iter().sum();
                    let each = next.iter_mut().zip(&r);
                    each.for_each(|(next, r)| *next += f64::from(count) * r / total);
                }
                let total: f64 = next.iter().sum();
                theta = next.iter().map(|t| t / total).collect();
            }
            let (words, counts) = hidden.document(d);
            for (&w, &count) in words.iter().zip(counts) {
                let p: f64 = theta.iter().zip(topics).map(|(t, topic)| t * topic[w as usize]).sum();
                sum += f64::from(count) * p.ln();
                n += f64::from(count);
            }
        }
    }
    Ok(sum / n)
}
