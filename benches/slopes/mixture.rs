//! The mixture of eight normal distributions in ten dimensions: whole passes over rows in memory
//! and in a file, and an epoch of minibatches from the file.

use std::path::PathBuf;

use elbo::data::{Observations, RowFile, Source};
use elbo::models::GaussianMixture;
use elbo::models::gaussian_mixture::Labels;
use elbo::{
    Ascent, EStep, Error, MStep, Minibatch, NaturalStep, Options, Purpose, Rng, Run, Stop, stream,
};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use serde_json::json;

use super::least;
use super::process::peak_rss_mb;

const DIM: usize = 10;
const COMPONENTS: usize = 8;
/// Rows a step, and neighbours that are read together.
const BATCH: usize = 10_000;
const TOGETHER: usize = 100;

/// From a file: one EM step, and one epoch of online EM. What the process ever needed is said with
/// each.
pub fn streamed(n: usize) -> Result<(), Error> {
    let file = Temporary::new(n);
    let rows = RowFile::create(&file.0, DIM, rows(n))?;
    let model = GaussianMixture::new(rows, COMPONENTS)?;
    point("mixture_file", n, 1, &model, (EStep, MStep))?;
    let moves = (NaturalStep::decaying(1.0, 0.6), MStep);
    let online = Minibatch::new(BATCH, moves).in_runs_of(TOGETHER);
    point("mixture_epoch", n, n.div_ceil(BATCH), &model, online)
}

/// In memory: one EM step.
pub fn in_memory(n: usize) -> Result<(), Error> {
    let rows = rows(n).flatten().collect();
    let model = GaussianMixture::new(Source::from(Observations::new(rows, DIM)?), COMPONENTS)?;
    point("mixture", n, 1, &model, (EStep, MStep))
}

fn point(
    slope: &str,
    n: usize,
    steps: usize,
    model: &GaussianMixture,
    ascent: impl Ascent<GaussianMixture, Labels>,
) -> Result<(), Error> {
    let (all, stop) = (usize::MAX, Stop::Budget);
    let options = Options { steps: all, stop, elbo_every: usize::MAX, ..Options::default() };
    let mut run = Run::new(model.clone(), model.labels(), ascent, options)?;
    let ms = least(|| (0..steps).try_for_each(|_| run.step().map(drop)))?;
    println!(
        "{}",
        json!({
            "slope": slope, "x": n, "steps": steps, "cpu_ms_step_min": ms, "peak_rss_mb": peak_rss_mb()
        })
    );
    Ok(())
}

/// Eight clusters, each with a spread of its own, in random order.
fn rows(n: usize) -> impl Iterator<Item = [f64; DIM]> {
    let mut rng = stream(n as u64, Purpose::Data, 1);
    let normal = move |rng: &mut dyn Rng| -> f64 { StandardNormal.sample(rng) };
    let centres: [[f64; DIM]; COMPONENTS] =
        std::array::from_fn(|_| std::array::from_fn(|_| 2.0 * normal(&mut rng)));
    (0..n).map(move |_| {
        let k = rng.random_range(0..COMPONENTS);
        let spread = 0.5 + 0.2 * k as f64;
        centres[k].map(|c| c + spread * normal(&mut rng))
    })
}

/// The file, gone afterwards.
struct Temporary(PathBuf);

impl Temporary {
    fn new(n: usize) -> Temporary {
        let name = format!("elbo-slopes-{}-{n}.npy", std::process::id());
        Temporary(std::env::temp_dir().join(name))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}
