//! A fit, chunk of steps after chunk of steps, with a stopwatch.

use elbo::{
    Adam, Ascent, Averaged, ClipOutliers, Differentiable, DoWG, Family, GradientAscent, Minibatch,
    Model, Options, Reparameterization, Run, Smooth, StickingTheLanding, Stop, Subsample,
};

use super::failure::Failure;
use super::process::{Stopwatch, peak_rss_mb};
use super::work::{Job, Move};

/// What was seen of a fit.
pub struct Record<Q> {
    /// Seconds until the first step could be taken, data in memory.
    pub prepare: f64,
    /// Wall seconds of each chunk.
    pub wall: Vec<f64>,
    /// CPU seconds of each chunk.
    pub cpu: Vec<f64>,
    /// Where the fit was after so many chunks.
    pub checkpoints: Vec<(usize, Q)>,
    /// Before anything was evaluated.
    pub peak_rss_mb: Option<f64>,
    /// Seconds from the start of the process to the end of the fit.
    pub process: f64,
}

/// Fits with all rows a step.
pub fn all_rows<M, Q>(job: &Job, model: M, q: Q) -> Result<Record<Q>, Failure>
where
    M: Differentiable,
    Q: Smooth + Clone,
{
    let (draws, rate) = (job.work.draws, job.work.rate);
    match job.moves {
        Move::Adam => {
            let ascent = GradientAscent::new(Reparameterization { draws }, Adam::rate(rate));
            chunks(job, model, q, ascent)
        }
        Move::Recommended => {
            let steps = (ClipOutliers::new(), Averaged::new(DoWG::new()));
            chunks(job, model, q, GradientAscent::new(StickingTheLanding { draws }, steps))
        }
    }
}

/// Fits with `batch` rows a step.
pub fn some_rows<M, Q>(job: &Job, model: M, q: Q, batch: usize) -> Result<Record<Q>, Failure>
where
    M: Differentiable + Subsample,
    Q: Smooth + Clone,
{
    let (draws, rate) = (job.work.draws, job.work.rate);
    match job.moves {
        Move::Adam => {
            let inner = GradientAscent::new(Reparameterization { draws }, Adam::rate(rate));
            chunks(job, model, q, Minibatch::new(batch, inner))
        }
        Move::Recommended => {
            let steps = (ClipOutliers::new(), Averaged::new(DoWG::new()));
            let inner = GradientAscent::new(StickingTheLanding { draws }, steps);
            chunks(job, model, q, Minibatch::new(batch, inner))
        }
    }
}

fn chunks<M, Q, A>(job: &Job, model: M, q: Q, ascent: A) -> Result<Record<Q>, Failure>
where
    M: Model,
    Q: Family + Clone,
    A: Ascent<M, Q>,
{
    let work = &job.work;
    // Steps that do not know their ELBO, but for twelve: the others evaluate theirs afterwards.
    let (steps, elbo_every) = (work.steps, work.steps.div_ceil(12));
    let options = Options { steps, elbo_every, stop: Stop::Budget, ..Options::default() };
    let started = Stopwatch::start();
    let mut run = Run::new(model, q, ascent, options)?;
    let (prepare, _) = started.read();
    let n = work.steps / work.chunk;
    let (mut wall, mut cpu, mut checkpoints) = (Vec::new(), Vec::new(), Vec::new());
    for k in 1..=n {
        let chunk = Stopwatch::start();
        for _ in 0..work.chunk {
            run.step()?;
        }
        let (w, c) = chunk.read();
        wall.push(w);
        cpu.push(c);
        if job.checkpoints || is_evaluated(k, n, job.evaluations) {
            let mut q = run.q.clone();
            run.ascent.answer(&mut run.model, &mut q);
            checkpoints.push((k, q));
        }
    }
    if run.rejected > 0 {
        return Err(Failure::new(format!("{}: {} steps were rejected", work.name, run.rejected)));
    }
    let process = job.begun.elapsed().as_secs_f64();
    Ok(Record { prepare, wall, cpu, checkpoints, peak_rss_mb: peak_rss_mb(), process })
}

/// Whether chunk `k` of `n` is one of `m` spread evenly, the last included.
fn is_evaluated(k: usize, n: usize, m: usize) -> bool {
    let m = m.clamp(1, n);
    k * m / n > (k - 1) * m / n
}
