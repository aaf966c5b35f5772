//! w7_em, w7_vb: a hidden Markov model of eight states with normal rows in two dimensions, one
//! sequence of 100 000 rows, by EM and by variational Bayes from a common start.

use std::f64::consts::PI;
use std::hint::black_box;

use elbo::data::Observations;
use elbo::models::HiddenMarkov;
use elbo::models::hidden_markov::Sequences;
use elbo::{Ascent, EStep, Family, MStep, Model, Options, Run, Step, Stop};
use nalgebra::{DMatrix, DVector};
use serde_json::json;

use super::failure::Failure;
use super::line::{digits, quantile};
use super::process::{Stopwatch, load, peak_rss_mb};
use super::work::Job;

pub fn run(job: &Job) -> Result<(), Failure> {
    let x = job.input("x")?;
    let dim = x.columns();
    let (initial, steps) = (job.input("init_start")?.values, job.input("init_trans")?.values);
    let (means, covariances) = (job.input("init_means")?.values, job.input("init_cov")?.values);
    let each = means.chunks_exact(dim).zip(covariances.chunks_exact(dim * dim));
    let states: Vec<f64> = each.flat_map(|(m, c)| [m, c].concat()).collect();
    let data = Observations::new(x.values, dim)?;
    let prepare = Stopwatch::start();
    let model = HiddenMarkov::gaussian(Sequences::one(data)?, initial.len())?;
    let model = model.with_parameters(&initial, &steps, &states)?;
    if job.work.name == "w7_vb" {
        let bayesian = model.bayesian();
        let q = bayesian.start_from(&model)?;
        let run = climb(job, prepare, bayesian, q, EStep)?;
        let bound = run.trace.last().and_then(|step| step.elbo);
        return print(job, &run.seen, &run.model.at_mean(&run.q)?, bound);
    }
    let q = model.states();
    let run = climb(job, prepare, model, q, (EStep, MStep))?;
    print(job, &run.seen, &run.model, None)
}

/// What a climb took.
struct Seen {
    prepare: f64,
    /// Milliseconds a step, chunk by chunk.
    wall: Vec<f64>,
    cpu: Vec<f64>,
    peak: Option<f64>,
    process: f64,
}

/// Where it ended.
struct Ended<M, Q> {
    model: M,
    q: Q,
    trace: Vec<Step>,
    seen: Seen,
}

fn climb<M, Q, A>(
    job: &Job,
    prepare: Stopwatch,
    model: M,
    q: Q,
    ascent: A,
) -> Result<Ended<M, Q>, Failure>
where
    M: Model,
    Q: Family,
    A: Ascent<M, Q>,
{
    let work = &job.work;
    let options = Options { steps: work.steps, stop: Stop::Budget, ..Options::default() };
    let mut run = Run::new(model, q, ascent, options)?;
    let (prepare, _) = prepare.read();
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..work.steps / work.chunk {
        let watch = Stopwatch::start();
        for _ in 0..work.chunk {
            black_box(run.step()?);
        }
        let (w, c) = watch.read();
        wall.push(1e3 * w / work.chunk as f64);
        cpu.push(1e3 * c / work.chunk as f64);
    }
    let (peak, process) = (peak_rss_mb(), job.begun.elapsed().as_secs_f64());
    let Run { model, q, trace, .. } = run;
    Ok(Ended { model, q, trace, seen: Seen { prepare, wall, cpu, peak, process } })
}

fn print(job: &Job, seen: &Seen, model: &HiddenMarkov, bound: Option<f64>) -> Result<(), Failure> {
    let (work, Seen { prepare, wall, cpu, .. }) = (&job.work, seen);
    let per_row = log_likelihood(model)? / model.sequences().rows().len() as f64;
    let total: f64 = wall.iter().sum::<f64>() * work.chunk as f64 / 1e3;
    println!(
        "{}",
        json!({
            "peer": "elbo", "version": env!("CARGO_PKG_VERSION"), "workload": work.name, "threads": job.threads,
            "config": { "steps": work.steps, "chunk": work.chunk, "data": work.folder },
            "jit_s": digits(*prepare, 5), "wall_s": digits(total, 4), "wall_total_s": digits(total + prepare, 4),
            "steps": work.steps, "ms_step_median": digits(quantile(wall, 0.5), 6),
            "ms_step_min": digits(quantile(wall, 0.0), 6), "ms_step_p25": digits(quantile(wall, 0.25), 6),
            "cpu_ms_step_median": digits(quantile(cpu, 0.5), 6), "cpu_ms_step_min": digits(quantile(cpu, 0.0), 6),
            "process_to_fit_s": digits(seen.process, 4), "load": load(), "peak_rss_mb": seen.peak,
            "loglik_mean": per_row, "lower_bound": bound,
        })
    );
    Ok(())
}

/// By the definition: how likely each row is, given those before it.
fn log_likelihood(model: &HiddenMarkov) -> Result<f64, Failure> {
    let (k, rows) = (model.len(), model.sequences().rows());
    let d = rows.dim();
    let mut densities = Vec::new();
    for c in 0..k {
        let covariance = model.covariance(c).unwrap_or_default();
        let Some(cholesky) = DMatrix::from_row_slice(d, d, &covariance).cholesky() else {
            return Err(Failure::new(format!("the covariance of state {c} has no factor")));
        };
        let log_det: f64 = cholesky.l_dirty().diagonal().iter().map(|l| l.ln()).sum();
        let constant = -log_det - 0.5 * d as f64 * (2.0 * PI).ln();
        densities.push((constant, cholesky.inverse(), DVector::from_vec(model.mean(c))));
    }
    let (mut ahead, mut total) = (model.initial().to_vec(), 0.0);
    for row in rows.rows() {
        let x = DVector::from_column_slice(row);
        for (p, (constant, precision, mean)) in ahead.iter_mut().zip(&densities) {
            let y = &x - mean;
            *p *= (constant - 0.5 * y.dot(&(precision * &y))).exp();
        }
        let likelihood: f64 = ahead.iter().sum();
        total += likelihood.ln();
        let into = |j: usize| (0..k).map(|i| ahead[i] / likelihood * model.transition(i)[j]).sum();
        ahead = (0..k).map(into).collect();
    }
    Ok(total)
}
