//! w5: a variational autoencoder of MNIST, 784-500-2x20-500-784, one epoch from common weights.

use std::hint::black_box;
use std::sync::Arc;

use elbo::data::Images;
use elbo::nn::{Activation, Decoder, Encoder, Layer, Likelihood, Mlp};
use elbo::noise::fill_normal;
use elbo::{
    Adam, GradientAscent, Minibatch, Options, Purpose, Reparameterization, Run, Stop, stream,
};
use nalgebra::DMatrix;
use serde_json::json;

use super::failure::Failure;
use super::line::{digits, quantile};
use super::npy::Array;
use super::process::{Stopwatch, load, peak_rss_mb};
use super::work::Job;

type Vae =
    Run<Decoder<Mlp>, Encoder<Mlp>, Minibatch<GradientAscent<Reparameterization, Adam<f32>>>>;

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
    let (run, (prepare, wall, cpu)) = match job.threads {
        1 => fit(job, model, q)?,
        _ => pool.install(|| fit(job, model, q))?,
    };
    let (peak, process) = (peak_rss_mb(), job.begun.elapsed().as_secs_f64());
    let elbo = test_elbo(job, &run)?;
    let work = &job.work;
    let total: f64 = wall.iter().sum::<f64>() * work.chunk as f64 / 1e3;
    println!(
        "{}",
        json!({
            "peer": "elbo", "version": env!("CARGO_PKG_VERSION"), "workload": work.name, "threads": job.threads,
            "config": { "steps": work.steps, "chunk": work.chunk, "batch": work.batch, "lr": work.rate, "data": work.folder },
            "jit_s": digits(prepare, 5), "wall_s": digits(total, 4), "wall_total_s": digits(total + prepare, 4),
            "steps": work.steps, "ms_step_median": digits(quantile(&wall, 0.5), 6),
            "ms_step_min": digits(quantile(&wall, 0.0), 6), "ms_step_p25": digits(quantile(&wall, 0.25), 6),
            "cpu_ms_step_median": digits(quantile(&cpu, 0.5), 6), "cpu_ms_step_min": digits(quantile(&cpu, 0.0), 6),
            "process_to_fit_s": digits(process, 4), "load": load(), "peak_rss_mb": peak, "rss_data_mb": rss_data,
            "elbo": digits(elbo, 4),
        })
    );
    Ok(())
}

fn fit(job: &Job, model: Decoder<Mlp>, q: Encoder<Mlp>) -> Result<(Vae, Times), Failure> {
    let work = &job.work;
    let inner =
        GradientAscent::new(Reparameterization { draws: work.draws }, Adam::rate(work.rate));
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
    Ok((run, (prepare, wall, cpu)))
}

/// The mean over the test images of `log p(x | z) - KL`, one draw each, by matrices.
fn test_elbo(job: &Job, run: &Vae) -> Result<f64, Failure> {
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
    let (encoder, decoder) = (layers(run.q.network()), layers(run.model.network()));
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
