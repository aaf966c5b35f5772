//! `BayesianNeuralNetwork`: a model whose latent variables are the weights of a network.

mod local;
mod moments;
mod predict;

pub use local::{LocalReparameterization, UnitDraws};
pub use predict::Prediction;

use super::panel::{Spare, to_panel};
use super::{Mlp, Network, room};
use crate::error::Error;
use crate::model::{Differentiable, Model, Subsample};
use crate::space::{Block, Coordinate, Space};
use crate::special::LN_SQRT_2PI;

/// Regression by a network with uncertain weights and uncertain noise (MacKay 1992; Neal 1996):
///
/// ```text
/// w_i   ~ Normal(0, sd_i^2)              sd_i = 1 / sqrt(inputs of the layer), of biases 1
/// noise ~ HalfNormal(noise_scale)
/// y_n   ~ Normal(f_w(x_n), noise^2)
/// ```
///
/// `z` holds the weights, layer after layer as in [`Network::params`], and then the noise: move it
/// to the real line with [`Model::unconstrained`]. With priors of this scale the outputs of every
/// layer have a variance of about 1: give inputs and outcomes that do too. `x` is `inputs x n`, one
/// row of the data after another, and `y` has `n` numbers.
///
/// ```
/// use elbo::nn::{Activation, BayesianNeuralNetwork, Mlp};
/// use elbo::Model;
/// let network = Mlp::new(&[1, 4, 1], Activation::Tanh, 1)?;
/// let (x, y) = ([-1.0, 0.0, 1.0], [0.8, 0.1, -0.9]);
/// let model = BayesianNeuralNetwork::new(network, &x, &y)?;
/// assert_eq!(model.dim(), 4 + 4 + 4 + 1 + 1);
/// let mut z = vec![0.0; model.dim()]; // all weights 0
/// z[13] = 0.5; // the noise
/// // 13 weights at the mode of their priors, the noise, and three outcomes around 0
/// let outcomes: f64 = y.iter().map(|y| elbo::density::normal(*y, 0.0, 0.5)).sum();
/// let noise: f64 = elbo::density::half_normal(0.5, 1.0);
/// let weights: f64 = 9.0 * elbo::density::normal(0.0, 0.0, 1.0)
///     + 4.0 * elbo::density::normal(0.0, 0.0, 0.5);
/// assert!((model.log_joint(&z) - outcomes - noise - weights).abs() < 1e-12);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BayesianNeuralNetwork {
    network: Mlp<f64>,
    x: Vec<f64>,
    y: Vec<f64>,
    /// Of each weight's prior.
    sds: Vec<f64>,
    noise_scale: f64,
    /// The rows that are shown, in panels.
    shown: Shown,
    weights: Block,
    noise: Coordinate,
    spare: Spare<Scratch>,
}

/// Rows in panels: of each as many inputs as its outcomes ask for.
#[derive(Clone, Debug, Default)]
struct Shown {
    x: Vec<f64>,
    y: Vec<f64>,
    /// `n_data / rows`
    scale: f64,
}

#[derive(Debug, Default)]
struct Scratch {
    network: Option<Mlp<f64>>,
    f: Vec<f64>,
    grad: Vec<f64>,
    tape: <Mlp<f64> as Network<f64>>::Tape,
}

impl BayesianNeuralNetwork {
    /// The network's weights given rows `x` and outcomes `y`; noise of a scale of 1 or less is
    /// expected.
    ///
    /// # Errors
    /// A network that does not end in one output, cells of `x` that are no whole number of rows or
    /// not as many rows as outcomes, no rows, or a number that is not finite, named by row and column.
    pub fn new(network: Mlp<f64>, x: &[f64], y: &[f64]) -> Result<BayesianNeuralNetwork, Error> {
        let inputs = network.inputs();
        if network.outputs() != 1 {
            let remedy = "regression has one outcome: let the last layer have one unit";
            return Err(Error::option("outputs of the network", network.outputs(), remedy));
        }
        if x.len() != inputs * y.len() {
            return Err(Error::Length {
                left: "cells of x".to_string(),
                left_len: x.len(),
                right: format!("{inputs} inputs of the network times {} outcomes", y.len()),
                right_len: inputs * y.len(),
            });
        }
        if y.is_empty() {
            return Err(Error::option("y", "no outcomes", "give at least one row of data"));
        }
        let wrong = |place: String, value: f64| Error::Data {
            place,
            value: value.to_string(),
            count: String::new(),
            remedy: "Every cell must be finite; drop or impute the row".to_string(),
        };
        if let Some(i) = x.iter().position(|x| !x.is_finite()) {
            return Err(wrong(format!("x at row {}, column {}", i / inputs, i % inputs), x[i]));
        }
        if let Some(i) = y.iter().position(|y| !y.is_finite()) {
            return Err(wrong(format!("y at row {i}"), y[i]));
        }
        let mut sds = Vec::with_capacity(network.n_params());
        for layer in network.layers() {
            let width = layer.weights.len() / layer.bias.len();
            sds.resize(sds.len() + layer.weights.len(), 1.0 / (width as f64).sqrt());
            sds.resize(sds.len() + layer.bias.len(), 1.0);
        }
        let mut space = Space::new();
        let (weights, noise) = (space.reals("weight", sds.len()), space.positive("noise"));
        let mut model = BayesianNeuralNetwork {
            network,
            x: x.to_vec(),
            y: y.to_vec(),
            sds,
            noise_scale: 1.0,
            shown: Shown::default(),
            weights,
            noise,
            spare: Spare::default(),
        };
        model.whole();
        Ok(model)
    }

    /// The same with another scale of the noise's prior.
    ///
    /// # Errors
    /// One that is not positive and finite.
    pub fn noise_scale(mut self, scale: f64) -> Result<BayesianNeuralNetwork, Error> {
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(Error::option("noise_scale", scale, "it is a positive number"));
        }
        self.noise_scale = scale;
        Ok(self)
    }

    /// The same with all prior sds of the weights so many times as large: larger weights make
    /// rougher functions.
    ///
    /// # Errors
    /// A factor that is not positive and finite.
    pub fn wider(mut self, factor: f64) -> Result<BayesianNeuralNetwork, Error> {
        if !(factor > 0.0 && factor.is_finite()) {
            return Err(Error::option("factor", factor, "it is a positive number"));
        }
        self.sds.iter_mut().for_each(|sd| *sd *= factor);
        Ok(self)
    }

    /// The network, its weights where a fit may start.
    pub fn network(&self) -> &Mlp<f64> {
        &self.network
    }

    /// What a draw of `z`, on the natural scale, says at rows `x` (`inputs x n`), without noise.
    ///
    /// # Errors
    /// A draw of another length, or cells that are no whole number of rows.
    pub fn function(&self, z: &[f64], x: &[f64]) -> Result<Vec<f64>, Error> {
        let (d, inputs) = (self.dim(), self.network.inputs());
        let length = |left: &str, got: usize, right: String, wanted: usize| Error::Length {
            left: left.to_string(),
            left_len: got,
            right,
            right_len: wanted,
        };
        if z.len() != d {
            return Err(length("the draw", z.len(), "weights and noise".to_string(), d));
        }
        if !x.len().is_multiple_of(inputs) {
            let whole = x.len() / inputs * inputs;
            return Err(length("cells of x", x.len(), format!("rows of {inputs}"), whole));
        }
        let mut f = vec![0.0; x.len() / inputs];
        self.with_network(z, |network, scratch| {
            let width = network.panel();
            for (x, f) in x.chunks(width * inputs).zip(f.chunks_mut(width)) {
                let panel = room(&mut scratch.grad, x.len());
                to_panel(x, inputs, panel);
                network.forward(panel, f.len(), f, &mut scratch.tape);
            }
        });
        Ok(f)
    }

    /// Lends a network with the weights of `z`.
    fn with_network<R>(&self, z: &[f64], f: impl FnOnce(&Mlp<f64>, &mut Scratch) -> R) -> R {
        self.spare.lend(|scratch| {
            let mut network = scratch.network.take().unwrap_or_else(|| self.network.clone());
            network.set_params(&z[self.weights]);
            let result = f(&network, scratch);
            scratch.network = Some(network);
            result
        })
    }

    /// The value, and the gradient where there is room for it.
    fn evaluate(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        let noise = z[self.noise];
        // Outside the support, as everywhere: minus infinity, and no slope.
        if noise.is_nan() || noise <= 0.0 {
            grad.fill(f64::NAN);
            return if noise.is_nan() { f64::NAN } else { f64::NEG_INFINITY };
        }
        let (inputs, precision) = (self.network.inputs(), 1.0 / (noise * noise));
        let wanted = !grad.is_empty();
        let squares = self.with_network(z, |network, scratch| {
            let width = network.panel();
            let mut squares = 0.0;
            if wanted {
                room(&mut scratch.grad, self.sds.len()).fill(0.0);
            }
            let panels = self.shown.x.chunks(width * inputs).zip(self.shown.y.chunks(width));
            for (x, y) in panels {
                let f = room(&mut scratch.f, y.len());
                network.forward(x, y.len(), f, &mut scratch.tape);
                for (f, y) in f.iter_mut().zip(y) {
                    let off = y - *f;
                    squares += off * off;
                    *f = off * precision * self.shown.scale;
                }
                if wanted {
                    let g = &mut scratch.grad[..self.sds.len()];
                    network.backward(x, y.len(), f, &mut [], &mut scratch.tape, g);
                }
            }
            if wanted {
                grad[..self.sds.len()].copy_from_slice(&scratch.grad[..self.sds.len()]);
            }
            squares
        });
        let (rows, scale) = (self.shown.y.len() as f64, self.shown.scale);
        let each = rows * (LN_SQRT_2PI + noise.ln());
        let mut value = -scale * (each + 0.5 * squares * precision);
        for (w, sd) in z[self.weights].iter().zip(&self.sds) {
            let u = w / sd;
            value -= LN_SQRT_2PI + sd.ln() + 0.5 * u * u;
        }
        let u = noise / self.noise_scale;
        value += std::f64::consts::LN_2 - LN_SQRT_2PI - self.noise_scale.ln() - 0.5 * u * u;
        if wanted {
            let (weights, last) = grad.split_at_mut(self.sds.len());
            for ((g, w), sd) in weights.iter_mut().zip(&z[self.weights]).zip(&self.sds) {
                *g -= w / (sd * sd);
            }
            last[0] = scale * (squares * precision - rows) / noise - u / self.noise_scale;
        }
        value
    }
}

impl Model for BayesianNeuralNetwork {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("weight", self.sds.len());
        space.positive("noise");
        space
    }
    fn dim(&self) -> usize {
        self.sds.len() + 1
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        self.evaluate(z, &mut [])
    }
}

impl Differentiable for BayesianNeuralNetwork {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        self.evaluate(z, grad)
    }
}

impl Subsample for BayesianNeuralNetwork {
    fn n_data(&self) -> usize {
        self.y.len()
    }
    fn subsample(&mut self, rows: &[usize]) {
        let (inputs, width) = (self.network.inputs(), self.network.panel());
        self.shown.x.resize(rows.len() * inputs, 0.0);
        for (rows, panel) in rows.chunks(width).zip(self.shown.x.chunks_mut(width * inputs)) {
            for (j, &row) in rows.iter().enumerate() {
                for i in 0..inputs {
                    panel[i * rows.len() + j] = self.x[row * inputs + i];
                }
            }
        }
        self.shown.y.clear();
        self.shown.y.extend(rows.iter().map(|&row| self.y[row]));
        self.shown.scale = self.y.len() as f64 / rows.len().max(1) as f64;
    }
    fn whole(&mut self) {
        let all: Vec<usize> = (0..self.y.len()).collect();
        self.subsample(&all);
    }
}
