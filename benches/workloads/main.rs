//! Whole workloads, measured: what a step of a fit costs and how good the fit is, one JSON line each.
//!
//! `cargo bench --bench workloads -- --data DIR --threads 1 [--check] w1 w2a w2b w3 w4_em w4_vb w5 w5_elbo w5_iwae w6a w6b w7_em w7_vb w8_batch w8_online w9_256 w9_1000`
//!
//! `DIR` holds the inputs as NPY files, a folder a workload. Each workload does a fixed amount of
//! work (draws, steps, rate, start: [`work`]) through the public API, with the model a user would
//! write. Its ELBO is evaluated afterwards by plain formulas of the bench, not by the library.

mod arguments;
mod check;
mod eight_schools;
mod failure;
mod gaussian;
mod gaussian_mixture;
mod groups;
mod hidden_markov;
mod line;
mod logistic;
mod measure;
mod npy;
mod process;
mod quality;
mod topics;
mod vae;
mod work;

use std::process::{Command, ExitCode};

use arguments::Arguments;
use failure::Failure;

/// A workload by name, and what runs it and prints its line.
type Entry = (&'static str, fn(&work::Job) -> Result<(), Failure>);

/// Every workload: a new one is a module with a `run`, its row in [`work`] and a line here.
const WORKLOADS: [Entry; 17] = [
    ("w1", eight_schools::run),
    ("w2a", logistic::run),
    ("w2b", logistic::run),
    ("w3", groups::run),
    ("w4_em", gaussian_mixture::em),
    ("w4_vb", gaussian_mixture::vb),
    ("w5", vae::run),
    ("w5_elbo", vae::run),
    ("w5_iwae", vae::run),
    ("w6a", gaussian::run),
    ("w6b", gaussian::run),
    ("w7_em", hidden_markov::run),
    ("w7_vb", hidden_markov::run),
    ("w8_batch", topics::run),
    ("w8_online", topics::run),
    ("w9_256", logistic::run),
    ("w9_1000", logistic::run),
];

fn main() -> ExitCode {
    match Arguments::parse().and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// One workload here; several in a process each, so that each has a peak memory of its own.
fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let [name] = &arguments.names[..] {
        let known = WORKLOADS.iter().find(|(known, _)| known == name);
        let (_, run) = known.ok_or_else(|| Failure::unknown(name, &WORKLOADS.map(|w| w.0)))?;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads.max(1));
        pool.build_global().map_err(|e| Failure::new(format!("{e}")))?;
        return run(&arguments.job(name)?);
    }
    for name in &arguments.names {
        let here = std::env::current_exe().map_err(|e| Failure::new(format!("{e}")))?;
        let status = Command::new(here).args(&arguments.options).arg(name).status();
        let status = status.map_err(|e| Failure::new(format!("{name}: {e}")))?;
        if !status.success() {
            return Err(Failure::new(format!("{name} failed: {status}")));
        }
    }
    Ok(())
}
