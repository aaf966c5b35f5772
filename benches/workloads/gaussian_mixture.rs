//! w4_em and w4_vb: a mixture of eight normal distributions in ten dimensions, 100 000 rows, by EM and
//! by variational Bayes from a common start.

use std::f64::consts::PI;
use std::hint::black_box;

use elbo::data::{Observations, View};
use elbo::models::gaussian_mixture::Prior;
use elbo::models::{BayesianMixture, GaussianMixture};
use elbo::{Ascent, EStep, Family, MStep, Model, Options, Run, Stop};
use nalgebra::{DMatrix, DVector};
use serde_json::json;

use super::failure::Failure;
use super::line::{digits, quantile};
use super::process::{Stopwatch, load, peak_rss_mb};
use super::work::Job;

/// The mixture at the common start.
fn start(job: &Job) -> Result<GaussianMixture, Failure> {
    let x = job.input("x")?;
    let dim = x.columns();
    let (weights, means) = (job.input("init_weights")?.values, job.input("init_means")?.values);
    let covariances = job.input("init_cov")?.values;
    let model = GaussianMixture::new(Observations::new(x.values, dim)?, weights.len())?;
    Ok(model.with_parameters(&weights, &means, &covariances)?)
}

pub fn em(job: &Job) -> Result<(), Failure> {
    let prepare = Stopwatch::start();
    let model = start(job)?;
    let q = model.labels();
    measure(job, prepare, model, q, (EStep, MStep), |run| {
        let model = &run.model;
        let covariances = (0..model.len()).map(|k| model.covariance(k)).collect();
        let means = (0..model.len()).map(|k| model.mean(k).to_vec()).collect();
        log_likelihood(model.data(), model.weights(), means, covariances)
    })
}

/// The likelihood is that of the expected weights, means and precisions.
pub fn vb(job: &Job) -> Result<(), Failure> {
    let prepare = Stopwatch::start();
    let model = start(job)?;
    let prior = Prior { concentration: 1.0, ..Prior::one_row(model.data(), model.len()) };
    let model = BayesianMixture::of(model)?.with_prior(prior)?;
    let q = model.posterior();
    measure(job, prepare, model, q, EStep, |run| {
        let q = &run.q;
        let covariances = (0..q.len()).map(|k| q.covariance(k)).collect();
        let means = (0..q.len()).map(|k| q.mean(k).to_vec()).collect();
        log_likelihood(run.model.data(), &q.weights(), means, covariances)
    })
}

/// Takes the steps of the workload and prints its line.
fn measure<M: Model, Q: Family, A: Ascent<M, Q>>(
    job: &Job,
    prepare: Stopwatch,
    model: M,
    q: Q,
    ascent: A,
    quality: impl Fn(&Run<M, Q, A>) -> Result<f64, Failure>,
) -> Result<(), Failure> {
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
    let total: f64 = wall.iter().sum::<f64>() * work.chunk as f64 / 1e3;
    println!(
        "{}",
        json!({
            "peer": "elbo", "version": env!("CARGO_PKG_VERSION"), "workload": work.name, "threads": job.threads,
            "config": { "steps": work.steps, "chunk": work.chunk, "data": work.folder },
            "jit_s": digits(prepare, 5), "wall_s": digits(total, 4), "wall_total_s": digits(total + prepare, 4),
            "steps": work.steps, "ms_step_median": digits(quantile(&wall, 0.5), 6),
            "ms_step_min": digits(quantile(&wall, 0.0), 6), "ms_step_p25": digits(quantile(&wall, 0.25), 6),
            "cpu_ms_step_median": digits(quantile(&cpu, 0.5), 6), "cpu_ms_step_min": digits(quantile(&cpu, 0.0), 6),
            "process_to_fit_s": digits(process, 4), "load": load(), "peak_rss_mb": peak,
            "elbo": run.trace.last().and_then(|step| step.elbo), "loglik_mean": quality(&run)?,
        })
    );
    Ok(())
}

/// The mean log density of the rows, by the definition, row after row.
fn log_likelihood(
    data: View<'_>,
    weights: &[f64],
    means: Vec<Vec<f64>>,
    covariances: Vec<Vec<f64>>,
) -> Result<f64, Failure> {
    let d = data.dim();
    let mut components = Vec::new();
    for (k, (mean, covariance)) in means.into_iter().zip(covariances).enumerate() {
        let covariance = DMatrix::from_row_slice(d, d, &covariance);
        let Some(cholesky) = covariance.cholesky() else {
            return Err(Failure::new(format!("the covariance of component {k} has no factor")));
        };
        let log_det: f64 = cholesky.l_dirty().diagonal().iter().map(|l| l.ln()).sum();
        let constant = weights[k].ln() - log_det - 0.5 * d as f64 * (2.0 * PI).ln();
        components.push((constant, cholesky.inverse(), DVector::from_vec(mean)));
    }
    let row = |x: &[f64]| {
        let x = DVector::from_column_slice(x);
        let logs = components.iter().map(|(constant, precision, mean)| {
            let y = &x - mean;
            constant - 0.5 * y.dot(&(precision * &y))
        });
        let logs: Vec<f64> = logs.collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln()
    };
    let mut sum = 0.0;
    data.each_row(|_, x| {
        sum += row(x);
        true
    })?;
    Ok(sum / data.len() as f64)
}
