//! How the cost of a step grows with rows, with draws and with the dimension: one JSON line a point.
//!
//! `cargo bench --bench slopes [-- --up-to ROWS]` (10 million rows of 10 numbers take 2 GB)

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
    let mut arguments = std::env::args().skip_while(|a| a != "--up-to");
    let most = arguments.nth(1).map_or(Ok(10_000_000), |n| n.parse());
    let Ok(most) = most else {
        eprintln!("--up-to takes a number of rows");
        return ExitCode::FAILURE;
    };
    match slopes(most) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn slopes(most: usize) -> Result<(), Error> {
    for n in [10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000] {
        if n <= most {
            point("rows", n, 10, &logistic(n, 10)?)?;
        }
    }
    let model = logistic(10_000, 50)?;
    for draws in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
        point("draws", draws, draws, &model)?;
    }
    for d in [10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000] {
        point("dimension", d, 10, &normals(d))?;
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

/// The least CPU time of a step: over chunks of steps of at least 20 ms, for half a second.
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
    let (mut least, mut steps) = (f64::INFINITY, 0);
    let mut chunk = 1;
    let all = process::Stopwatch::start();
    while all.read().1 < 0.5 || steps < 4 * chunk {
        let watch = process::Stopwatch::start();
        for _ in 0..chunk {
            run.step()?;
        }
        let (_, cpu) = watch.read();
        steps += chunk;
        let per_step = cpu / chunk as f64;
        if cpu < 0.02 {
            chunk *= 2;
        }
        least = least.min(per_step);
    }
    println!(
        "{}",
        json!({"slope": slope, "x": at, "draws": draws, "cpu_ms_step_min": least * 1e3})
    );
    Ok(())
}
