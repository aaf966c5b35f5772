//! How the cost of a step grows with rows, with draws and with the dimension: one JSON line a point.
//!
//! `cargo bench --bench slopes [-- [--up-to ROWS] [rows draws dimension mixture]]`
//!
//! Ten million rows of ten numbers take 2 GB; those of the mixture are in a file of 0.8 GB in the
//! folder for temporary files, and in memory as far as three million.

mod mixture;
#[path = "../workloads/process.rs"]
#[allow(dead_code)] // it also knows of memory and load
mod process;

use std::process::ExitCode;

use elbo::density::{self, glm};
use elbo::{
    Adam, Differentiable, Error, GradientAscent, MeanFieldGaussian, Options, Purpose, Real,
    Reparameterization, Run, Space, Stop, from_fn, stream,
};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use serde_json::json;

fn main() -> ExitCode {
    let (mut most, mut wanted) = (10_000_000, Vec::new());
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    while let Some(argument) = arguments.next() {
        if argument != "--up-to" {
            wanted.push(argument);
            continue;
        }
        let Some(Ok(rows)) = arguments.next().map(|n| n.parse()) else {
            eprintln!("--up-to takes a number of rows");
            return ExitCode::FAILURE;
        };
        most = rows;
    }
    if let Some(other) = wanted.iter().find(|w| !SLOPES.contains(&w.as_str())) {
        eprintln!("{other} is none of {}", SLOPES.join(", "));
        return ExitCode::FAILURE;
    }
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build_global();
    match one.map_err(|e| e.to_string()).and_then(|()| slopes(most, &wanted)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What may be asked for; all of them otherwise.
const SLOPES: [&str; 4] = ["rows", "draws", "dimension", "mixture"];
const ROWS: [usize; 7] = [10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000];

fn slopes(most: usize, wanted: &[String]) -> Result<(), String> {
    let fail = |e: Error| e.to_string();
    let wants = |slope: &str| wanted.is_empty() || wanted.iter().any(|w| w == slope);
    let rows = || ROWS.into_iter().filter(|&n| n <= most);
    if wants("mixture") {
        // first, while the process has needed little memory
        rows().try_for_each(mixture::streamed).map_err(fail)?;
        rows().filter(|&n| n <= 3_000_000).try_for_each(mixture::in_memory).map_err(fail)?;
    }
    if wants("rows") {
        let one = |n| logistic(n, 10).and_then(|model| point("rows", n, 10, &model));
        rows().try_for_each(one).map_err(fail)?;
    }
    if wants("draws") {
        let model = logistic(10_000, 50).map_err(fail)?;
        for draws in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
            point("draws", draws, draws, &model).map_err(fail)?;
        }
    }
    if wants("dimension") {
        for d in [10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000] {
            point("dimension", d, 10, &normals(d)).map_err(fail)?;
        }
    }
    Ok(())
}

/// Logistic regression of `n` rows on `d` columns.
fn logistic(n: usize, d: usize) -> Result<impl Differentiable + Clone, Error> {
    let mut rng = stream(n as u64, Purpose::Data, 0);
    let x: Vec<f64> = (0..n * d).map(|_| StandardNormal.sample(&mut rng)).collect();
    let y: Vec<bool> = (0..n).map(|_| rng.random()).collect();
    let likelihood = glm::bernoulli_logit(&x, d, &y)?;
    let mut space = Space::new();
    let beta = space.reals("beta", d);
    Ok(from_fn(space, move |z| {
        density::normals(&z[beta], 0.0, 1.0) + likelihood.log_prob(&z[beta])
    }))
}

/// A scale and `d - 1` normals of that scale, by autodiff.
fn normals(d: usize) -> impl Differentiable + Clone {
    let mut space = Space::new();
    let (log_sd, x) = (space.real("log_sd"), space.reals("x", d - 1));
    from_fn(space, move |z| {
        density::normal(z[log_sd], 0.0, 1.0) + density::normals(&z[x], 0.0, z[log_sd].exp())
    })
}

fn point(
    slope: &str,
    at: usize,
    draws: usize,
    model: &(impl Differentiable + Clone),
) -> Result<(), Error> {
    let d = model.dim();
    let ascent = GradientAscent::new(Reparameterization { draws }, Adam::rate(0.01));
    let (steps, stop) = (usize::MAX, Stop::Budget);
    let options = Options { steps, stop, elbo_every: usize::MAX, ..Options::default() };
    let q = MeanFieldGaussian::new(vec![0.0; d], &vec![0.1; d])?;
    let mut run = Run::new(model.clone(), q, ascent, options)?;
    let ms = least(|| run.step().map(drop))?;
    println!("{}", json!({"slope": slope, "x": at, "draws": draws, "cpu_ms_step_min": ms}));
    Ok(())
}

/// The least CPU time of a step in milliseconds: over chunks of steps of at least 20 ms, for half a
/// second.
fn least(mut step: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let (mut least, mut steps) = (f64::INFINITY, 0);
    let mut chunk = 1;
    let all = process::Stopwatch::start();
    while all.read().1 < 0.5 || steps < 4 * chunk {
        let watch = process::Stopwatch::start();
        for _ in 0..chunk {
            step()?;
        }
        let (_, cpu) = watch.read();
        least = least.min(cpu / chunk as f64);
        steps += chunk;
        if cpu < 0.02 {
            chunk *= 2;
        }
    }
    Ok(1e3 * least)
}
