//! The JSON line of a workload.

use elbo::MeanFieldGaussian;
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::measure::Record;
use super::process::load;
use super::quality::{self, Plain, Reference};
use super::work::{Job, Move};

/// The answer of a checkpoint.
pub trait Answer {
    fn mean(&self) -> Vec<f64>;
    fn sd(&self) -> Vec<f64>;
}

impl Answer for MeanFieldGaussian {
    fn mean(&self) -> Vec<f64> {
        self.mean().to_vec()
    }
    fn sd(&self) -> Vec<f64> {
        self.sd().to_vec()
    }
}

/// The line of a mean-field fit.
pub fn mean_field(
    job: &Job,
    record: &Record<MeanFieldGaussian>,
    plain: &impl Plain,
) -> Result<(), Failure> {
    let reference = Reference::read(job)?;
    print(job, record, reference, |q| quality::elbo(plain, q, job.work.evaluation))
}

/// Evaluates what is to be evaluated and prints the line.
pub fn print<Q: Answer>(
    job: &Job,
    record: &Record<Q>,
    reference: Option<Reference>,
    elbo: impl Fn(&Q) -> f64,
) -> Result<(), Failure> {
    let work = &job.work;
    let seconds = |chunks: usize| record.wall[..chunks].iter().sum::<f64>();
    if job.checkpoints {
        for (k, q) in &record.checkpoints {
            let cpu: f64 = record.cpu[..*k].iter().sum();
            let log_sd: Vec<f64> = q.sd().iter().map(|s| s.ln()).collect();
            let (step, t) = (k * work.chunk, seconds(*k));
            println!(
                "{}",
                json!({"step": step, "t": t, "cpu": cpu, "mu": q.mean(), "logsd": log_sd})
            );
        }
    }
    let trace: Vec<Value> = match job.evaluations {
        0 => Vec::new(),
        _ => (record.checkpoints.iter())
            .map(|(k, q)| json!([k * work.chunk, digits(seconds(*k), 5), digits(elbo(q), 4)]))
            .collect(),
    };
    let chunk = work.chunk as f64;
    let wall: Vec<f64> = record.wall.iter().map(|s| 1e3 * s / chunk).collect();
    let cpu: Vec<f64> = record.cpu.iter().map(|s| 1e3 * s / chunk).collect();
    let total = seconds(record.wall.len());
    let optimizer = match job.moves {
        Move::Adam => "Adam",
        Move::Recommended => "ClipOutliers, Averaged DoWG",
    };
    let mut line = json!({
        "peer": "elbo", "version": env!("CARGO_PKG_VERSION"), "workload": work.name, "threads": job.threads,
        "config": {
            "S": work.draws, "steps": work.steps, "chunk": work.chunk, "lr": work.rate,
            "data": work.folder, "batch": work.batch, "optimizer": optimizer,
        },
        "jit_s": digits(record.prepare, 5), "wall_s": digits(total, 4),
        "wall_total_s": digits(total + record.prepare, 4), "steps": wall.len() * work.chunk,
        "ms_step_median": digits(quantile(&wall, 0.5), 6), "ms_step_min": digits(quantile(&wall, 0.0), 6),
        "ms_step_p25": digits(quantile(&wall, 0.25), 6),
        "cpu_ms_step_median": digits(quantile(&cpu, 0.5), 6), "cpu_ms_step_min": digits(quantile(&cpu, 0.0), 6),
        "cpu_ms_step_mean": digits(cpu.iter().sum::<f64>() / cpu.len() as f64, 6),
        "process_to_fit_s": digits(record.process, 4),
        "load": load(), "peak_rss_mb": record.peak_rss_mb,
        "elbo": trace.last().map(|last| last[2].clone()), "elbo_trace": trace,
    });
    let empty = &mut Map::new();
    let line_map = line.as_object_mut().unwrap_or(empty);
    if let (Some(reference), Some((_, q))) = (reference, record.checkpoints.last()) {
        for (name, value) in reference.errors(&q.mean(), &q.sd()) {
            line_map.insert(name.to_string(), json!(value));
        }
    }
    println!("{line}");
    Ok(())
}

/// Rounded to so many places.
pub fn digits(x: f64, places: i32) -> f64 {
    let unit = 10f64.powi(places);
    (x * unit).round() / unit
}

/// The `p` quantile, linear between neighbours.
pub fn quantile(x: &[f64], p: f64) -> f64 {
    let mut sorted = x.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = p * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}
