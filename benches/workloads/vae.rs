//! w5: a variational autoencoder of MNIST, 784-500-2x20-500-784, one epoch from common weights; and
//! twenty epochs, climbing the ELBO or the bound of 50 draws weighed image by image, with the bound of
//! 500 draws at the test images. `--recommended` takes the divergence in closed form and four draws.

use std::hint::black_box;
use std::sync::Arc;

use elbo::data::Images;
use elbo::nn::{Activation, Decoder, Encoder, Evaluation, Layer, Likelihood, Mlp, Vae};
use elbo::noise::fill_normal;
use elbo::{
    Adam, ClosedFormKl, DoublyReparameterized, GradientAscent, GradientEstimator, Minibatch,
    Options, PerDatum, Purpose, Reparameterization, Run, Stop, stream,
};
use nalgebra::DMatrix;
use serde_json::json;

use super::failure::Failure;
use super::line::{digits, quantile};
use super::npy::Array;
use super::process::{Stopwatch, load, peak_rss_mb};
use super::work::{Job, Move};

/// What a run leaves.
type Pair = (Decoder<Mlp>, Encoder<Mlp>);

/// Seconds of preparation, and wall and CPU milliseconds a step, chunk by chunk.
type Times = (f64, Vec<f64>, Vec<f64>);

pub fn run(job: &Job) -> Result<(), Failure> {
    let (shape, pixels) = job.bytes("train")?;
    let images = Arc::new(Images::from_levels(pixels, 28, shape[1] / 28, 1)?);
    let rss_data = peak_rss_mb();
    // The inputs are weights, row by row of the inputs, as a layer has them.
    let layer = |names: &[&str], activation| -> Result<Layer, Failure> {
        let parts: Result<Vec<Array>, Failure> = names.iter().map(|n| job.input(n)).collect();
        let parts = parts?;
        let (mut weights, inputs) = (Vec::new(), parts[0].shape[0]);
        for i in 0..inputs {
            for part in &parts {
                let row = &part.values[i * part.columns()..(i + 1) * part.columns()];
                weights.extend(row.iter().map(|&w| w as f32));
            }
        }
        let bias = vec![0.0; weights.len() / inputs];
        Ok(Layer { weights, bias, activation })
    };
    let (tanh, linear) = (Activation::Tanh, Activation::Linear);
    let encoder = Mlp::from_layers(vec![layer(&["e1"], tanh)?, layer(&["e2m", "e2s"], linear)?])?;
    let decoder = Mlp::from_layers(vec![layer(&["d1"], tanh)?, layer(&["d2"], linear)?])?;
    let model = Decoder::new(decoder, images.clone(), Likelihood::Bernoulli)?;
    let q = Encoder::new(encoder, images)?;

    let pool = rayon::ThreadPoolBuilder::new().num_threads(job.threads).build();
    let pool = pool.map_err(|e| Failure::new(e.to_string()))?;
    let work = &job.work;
    let climb = || match (work.draws, job.moves) {
        (1, Move::Adam) => fit(job, model, q, Reparameterization { draws: 1 }),
        (1, Move::Recommended) => fit(job, model, q, ClosedFormKl::new(4)),
        (draws, _) => fit(job, model, q, PerDatum(DoublyReparameterized { draws, alpha: 0.0 })),
    };
    let (pair, (prepare, wall, cpu)) = match job.threads {
        1 => climb()?,
        _ => pool.install(climb)?,
    };
    let (peak, process) = (peak_rss_mb(), job.begun.elapsed().as_secs_f64());
    let elbo = test_elbo(job, &pair)?;
    let bound = match work.evaluation {
        0 | 1 => None,
        draws => Some(pool.install(|| test_bound(job, &pair, draws))?.bound),
    };
    let total: f64 = wall.iter().sum::<f64>() * work.chunk as f64 / 1e3;
    println!(
        "{}",
        json!({
            "peer": "elbo", "version": env!("CARGO_PKG_VERSION"), "workload": work.name, "threads": job.threads,
            "config": { "closed_form_four_draws": job.moves == Move::Recommended, "steps": work.steps, "chunk": work.chunk, "batch": work.batch, "lr": work.rate, "data": work.folder },
            "jit_s": digits(prepare, 5), "wall_s": digits(total, 4), "wall_total_s": digits(total + prepare, 4),
            "steps": work.steps, "ms_step_median": digits(quantile(&wall, 0.5), 6),
            "ms_step_min": digits(quantile(&wall, 0.0), 6), "ms_step_p25": digits(quantile(&wall, 0.25), 6),
            "cpu_ms_step_median": digits(quantile(&cpu, 0.5), 6), "cpu_ms_step_min": digits(quantile(&cpu, 0.0), 6),
            "process_to_fit_s": digits(process, 4), "load": load(), "peak_rss_mb": peak, "rss_data_mb": rss_data,
            "elbo": digits(elbo, 4), "bound_draws": work.evaluation,
            "bound": bound.map(|b| digits(b.value, 5)), "bound_mcse": bound.map(|b| digits(b.mcse, 2)),
        })
    );
    Ok(())
}

fn fit<E>(
    job: &Job,
    model: Decoder<Mlp>,
    q: Encoder<Mlp>,
    estimator: E,
) -> Result<(Pair, Times), Failure>
where
    E: GradientEstimator<Decoder<Mlp>, Encoder<Mlp>, f32>,
{
    let work = &job.work;
    let inner = GradientAscent::new(estimator, Adam::rate(work.rate));
    let ascent = Minibatch::new(work.batch.unwrap_or(128), inner);
    let options = Options {
        steps: work.steps,
        elbo_every: work.steps,
        stop: Stop::Budget,
        ..Options::default()
    };
    let prepare = Stopwatch::start();
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
    if run.rejected > 0 {
        return Err(Failure::new(format!("{}: {} steps were rejected", work.name, run.rejected)));
    }
    Ok(((run.model, run.q), (prepare, wall, cpu)))
}

/// The weighted bound of so many draws at the test images, by the library.
fn test_bound(job: &Job, (model, q): &Pair, draws: usize) -> Result<Evaluation, Failure> {
    let (shape, pixels) = job.bytes("test")?;
    let images = Images::from_levels(pixels, 28, shape[1] / 28, 1)?;
    Ok(Vae { decoder: model, encoder: q }.evaluate(&images, draws, 99)?)
}

/// The mean over the test images of `log p(x | z) - KL`, one draw each, by matrices.
fn test_elbo(job: &Job, (model, q): &Pair) -> Result<f64, Failure> {
    let (shape, pixels) = job.bytes("test")?;
    let (n, size) = (shape[0], shape[1]);
    let layers = |mlp: &Mlp| -> Vec<(DMatrix<f32>, Vec<f32>)> {
        let matrix = |layer: Layer| {
            let outputs = layer.bias.len();
            let inputs = layer.weights.len() / outputs;
            (DMatrix::from_vec(outputs, inputs, layer.weights), layer.bias)
        };
        mlp.layers().map(matrix).collect()
    };
    let affine = |(w, b): &(DMatrix<f32>, Vec<f32>), x: &DMatrix<f32>| {
        let mut y = w * x;
        y.column_iter_mut().for_each(|mut c| c.iter_mut().zip(b).for_each(|(y, b)| *y += b));
        y
    };
    let (encoder, decoder) = (layers(q.network()), layers(model.network()));
    let x = DMatrix::from_iterator(size, n, pixels.iter().map(|&p| f32::from(p)));
    let heads = affine(&encoder[1], &affine(&encoder[0], &x).map(f32::tanh));
    let latent = heads.nrows() / 2;
    let mut z = DMatrix::<f32>::zeros(latent, n);
    fill_normal(&mut stream(99, Purpose::Report, 0), z.as_mut_slice());
    let mut kl = 0.0;
    for j in 0..n {
        for i in 0..latent {
            let mean = heads[(i, j)];
            let log_variance = 10.0 * (heads[(latent + i, j)] / 10.0).tanh();
            z[(i, j)] = mean + (0.5 * log_variance).exp() * z[(i, j)];
            kl += 0.5 * f64::from(log_variance.exp() + mean * mean - 1.0 - log_variance);
        }
    }
    let logits = affine(&decoder[1], &affine(&decoder[0], &z).map(f32::tanh));
    let term = |(&x, &l): (&f32, &f32)| {
        let (x, l) = (f64::from(x), f64::from(l));
        x * l - l.max(0.0) - (-l.abs()).exp().ln_1p()
    };
    let fit: f64 = x.iter().zip(logits.iter()).map(term).sum();
    Ok((fit - kl) / n as f64)
}
