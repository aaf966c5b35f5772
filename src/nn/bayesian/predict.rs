//! `Prediction`: what uncertain weights say about the next outcomes.

use super::BayesianNeuralNetwork;
use crate::error::Error;

/// What the next outcomes will be: a mixture of normals over draws of the weights, summed up.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// `E[y]` at each row.
    pub mean: Vec<f64>,
    /// The sd of `y` at each row: of the function and of the noise together.
    pub sd: Vec<f64>,
    /// The sd of the function alone.
    pub function_sd: Vec<f64>,
    /// Below it `y` lies with probability `(1 - level) / 2`.
    pub low: Vec<f64>,
    /// Above it `y` lies with probability `(1 - level) / 2`.
    pub high: Vec<f64>,
}

impl BayesianNeuralNetwork {
    /// The predictive distribution at rows `x`: the mixture of `Normal(f_w(x), noise^2)` over draws
    /// of `z` on the natural scale, and the interval that holds `level` of it.
    ///
    /// # Errors
    /// No draws or one of another length, a level outside `(0, 1)`, or cells that are no whole
    /// number of rows.
    pub fn predict<'a>(
        &self,
        draws: impl IntoIterator<Item = &'a [f64]>,
        x: &[f64],
        level: f64,
    ) -> Result<Prediction, Error> {
        if !(level > 0.0 && level < 1.0) {
            return Err(Error::option("level", level, "it is a probability, such as 0.9"));
        }
        let (mut functions, mut noises) = (Vec::new(), Vec::new());
        for z in draws {
            functions.push(self.function(z, x)?);
            noises.push(z[self.noise]);
        }
        let Some(first) = functions.first() else {
            return Err(Error::option("draws", 0, "give some, such as the rows of `Draws`"));
        };
        let s = functions.len() as f64;
        let mut prediction = Prediction {
            mean: Vec::new(),
            sd: Vec::new(),
            function_sd: Vec::new(),
            low: Vec::new(),
            high: Vec::new(),
        };
        let noise = noises.iter().map(|noise| noise * noise).sum::<f64>() / s;
        for n in 0..first.len() {
            let parts: Vec<(f64, f64)> =
                functions.iter().zip(&noises).map(|(f, noise)| (f[n], *noise)).collect();
            let mean = parts.iter().map(|(f, _)| f).sum::<f64>() / s;
            let spread = parts.iter().map(|(f, _)| (f - mean) * (f - mean)).sum::<f64>() / s;
            prediction.mean.push(mean);
            prediction.function_sd.push(spread.sqrt());
            prediction.sd.push((spread + noise).sqrt());
            prediction.low.push(quantile(&parts, 0.5 * (1.0 - level)));
            prediction.high.push(quantile(&parts, 0.5 * (1.0 + level)));
        }
        Ok(prediction)
    }
}

/// The number below which an equal mixture of normals (mean, sd) has probability `p`.
fn quantile(parts: &[(f64, f64)], p: f64) -> f64 {
    use statrs::function::erf::erfc;
    let below = |y: f64| {
        let each = parts.iter().map(|(mean, sd)| 0.5 * erfc((mean - y) / (sd * 2f64.sqrt())));
        each.sum::<f64>() / parts.len() as f64
    };
    let reach = |sign: f64| {
        let ends = parts.iter().map(move |(mean, sd)| mean + sign * 40.0 * sd);
        ends.fold(-sign * f64::INFINITY, |a, b| if sign < 0.0 { a.min(b) } else { a.max(b) })
    };
    let (mut low, mut high) = (reach(-1.0), reach(1.0));
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if below(middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}
