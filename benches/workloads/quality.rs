//! How good an answer is, by plain formulas: its ELBO, and how far it is from a reference.

use elbo::{MeanFieldGaussian, Purpose, stream};
use rand_distr::{Distribution, StandardNormal};
use serde_json::Value;

use super::failure::Failure;
use super::work::Job;

/// A log joint on the unconstrained scale, written out plainly, every constant kept.
pub trait Plain {
    fn dim(&self) -> usize;
    /// One value for each draw in `z` (`dim x S`).
    fn log_joint(&self, z: &[f64], out: &mut [f64]);
}

/// `ln sqrt(2 pi)`
pub const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_8;

/// `log N(x; mean, sd)`
pub fn log_normal(x: f64, mean: f64, sd: f64) -> f64 {
    let u = (x - mean) / sd;
    -0.5 * u * u - sd.ln() - LN_SQRT_2PI
}

/// `E_q[log p] + H(q)` by antithetic draws, the same normals whatever `q` is.
pub fn elbo(plain: &impl Plain, q: &MeanFieldGaussian, draws: usize) -> f64 {
    let (d, half) = (plain.dim(), draws.div_ceil(2));
    let mut rng = stream(12_345, Purpose::Report, 0);
    let eps: Vec<f64> = (0..half * d).map(|_| StandardNormal.sample(&mut rng)).collect();
    let at = |sign: f64| {
        let place = move |(i, e): (usize, &f64)| q.mean()[i % d] + sign * q.sd()[i % d] * e;
        eps.iter().enumerate().map(place)
    };
    let z: Vec<f64> = at(1.0).chain(at(-1.0)).collect();
    let mut terms = vec![0.0; 2 * half];
    plain.log_joint(&z, &mut terms);
    let entropy: f64 = q.sd().iter().map(|s| s.ln() + LN_SQRT_2PI + 0.5).sum();
    terms.iter().sum::<f64>() / terms.len() as f64 + entropy
}

/// Mean and sd of every coordinate, known well.
pub struct Reference {
    pub mean: Vec<f64>,
    pub sd: Vec<f64>,
}

impl Reference {
    /// From `reference/NAME.json` beside the data, or beside the project; `None` where there is none.
    pub fn read(job: &Job) -> Result<Option<Reference>, Failure> {
        let file = format!("reference/{}.json", job.work.folder);
        let project = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let places = [job.data.join("..").join(&file), project.join("../shared/peers").join(&file)];
        let Some(place) = places.iter().find(|p| p.exists()) else { return Ok(None) };
        let broken = |e: String| Failure::new(format!("{file}: {e}"));
        let text = std::fs::read_to_string(place).map_err(|e| broken(e.to_string()))?;
        let json: Value = serde_json::from_str(&text).map_err(|e| broken(e.to_string()))?;
        let numbers = |key: &str| -> Option<Vec<f64>> {
            json[key].as_array()?.iter().map(Value::as_f64).collect()
        };
        let (mean, sd) = (numbers("mean"), numbers("sd"));
        let (Some(mean), Some(sd)) = (mean, sd) else { return Err(broken("no mean or sd".into())) };
        Ok(Some(Reference { mean, sd }))
    }

    /// `|mean - reference|` in reference sds, on average and at worst; `|log sd ratio|` on average,
    /// and with its sign.
    pub fn errors(&self, mean: &[f64], sd: &[f64]) -> [(&'static str, f64); 4] {
        let n = mean.len() as f64;
        let off = || (0..mean.len()).map(|i| (mean[i] - self.mean[i]).abs() / self.sd[i]);
        let log = || (0..sd.len()).map(|i| (sd[i] / self.sd[i]).ln());
        [
            ("mean_err_sd", off().sum::<f64>() / n),
            ("mean_err_sd_max", off().fold(0.0, f64::max)),
            ("logsd_err", log().map(f64::abs).sum::<f64>() / n),
            ("logsd_bias", log().sum::<f64>() / n),
        ]
    }
}
