//! `Mlp`: layers of a product, a bias and an activation, one after another.

use serde::{Deserialize, Serialize};

use super::activation::{Activation, add_sums};
use super::product::{Into, Matrix, multiply};
use super::{Network, room};
use crate::error::Error;
use crate::noise::{Purpose, fill_normal, stream};
use crate::scalar::Scalar;

/// One layer: `y = f(W x + b)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layer<T = f32> {
    /// `W`, `outputs x inputs`: the weights of one input after another.
    pub weights: Vec<T>,
    /// `b`, one number for each output.
    pub bias: Vec<T>,
    /// `f`
    pub activation: Activation,
}

/// Where a layer lies among the parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub inputs: usize,
    pub outputs: usize,
    pub activation: Activation,
    /// The first of its weights, after which comes its bias.
    pub start: usize,
}

impl Plan {
    pub fn weights(&self) -> usize {
        self.inputs * self.outputs
    }
}

/// A multilayer perceptron (Rumelhart, Hinton and Williams 1986): `x -> W x + b`, then the
/// activation, layer after layer; the last layer is linear.
///
/// Weights start as normals of variance `2 / (inputs + outputs)` (Glorot and Bengio 2010), after an
/// activation that is zero on one side `2 / inputs` (He and others 2015); biases start at 0.
///
/// ```
/// use elbo::nn::{Activation, Mlp, Network};
/// let mlp = Mlp::<f64>::new(&[3, 8, 2], Activation::Tanh, 1)?;
/// assert_eq!((mlp.inputs(), mlp.outputs(), mlp.n_params()), (3, 2, 3 * 8 + 8 + 8 * 2 + 2));
/// assert_eq!(mlp.describe(), "3-8-2 tanh");
/// let (x, mut y) = ([0.1, -0.2, 0.3], [0.0; 2]);
/// mlp.forward(&x, 1, &mut y, &mut Default::default());
/// assert!(y.iter().all(|y| y.is_finite()));
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mlp<T = f32> {
    plan: Vec<Plan>,
    /// Layer after layer: weights, then bias.
    params: Vec<T>,
}

impl<T: Scalar> Mlp<T> {
    /// Layers of these widths, the first being the inputs, with random weights made from the seed.
    ///
    /// # Errors
    /// Fewer than two widths, or one that is 0.
    pub fn new(widths: &[usize], hidden: Activation, seed: u64) -> Result<Mlp<T>, Error> {
        if widths.len() < 2 {
            let remedy = "give at least the number of inputs and the number of outputs";
            return Err(Error::option("widths", format!("{widths:?}"), remedy));
        }
        if let Some(i) = widths.iter().position(|&w| w == 0) {
            let remedy = "every layer has at least one unit";
            return Err(Error::option(&format!("widths[{i}]"), 0, remedy));
        }
        let last = widths.len() - 2;
        let mut layers = Vec::new();
        for (l, pair) in widths.windows(2).enumerate() {
            let activation = if l == last { Activation::Linear } else { hidden };
            let one_sided = matches!(activation, Activation::Relu | Activation::Gelu);
            let fan = if one_sided { pair[0] } else { pair[0] + pair[1] };
            let sd = T::from_f64((2.0 / fan as f64).sqrt());
            let mut weights = vec![T::default(); pair[0] * pair[1]];
            fill_normal(&mut stream(seed, Purpose::Start, 1 << 32 | l as u64), &mut weights);
            weights.iter_mut().for_each(|w| *w *= sd);
            layers.push(Layer { weights, bias: vec![T::default(); pair[1]], activation });
        }
        Mlp::from_layers(layers)
    }

    /// The given layers, each taking what the one before gives.
    ///
    /// # Errors
    /// No layers, weights that are no whole number of inputs, a number that is not finite, or
    /// layers whose widths do not chain, by their numbers; a last layer that is not linear.
    pub fn from_layers(layers: Vec<Layer<T>>) -> Result<Mlp<T>, Error> {
        let (mut plan, mut params) = (Vec::<Plan>::new(), Vec::new());
        for (l, layer) in layers.into_iter().enumerate() {
            let Layer { weights, bias, activation } = layer;
            let outputs = bias.len();
            if outputs == 0 || weights.is_empty() || !weights.len().is_multiple_of(outputs) {
                return Err(Error::Length {
                    left: format!("weights of layer {l}"),
                    left_len: weights.len(),
                    right: format!("its {outputs} outputs times a whole number of inputs"),
                    right_len: weights.len() / outputs.max(1) * outputs,
                });
            }
            if let Some(i) = weights.iter().chain(&bias).position(|w| !w.is_finite()) {
                return Err(Error::Data {
                    place: format!("parameter {i} of layer {l}"),
                    value: weights
                        .iter()
                        .chain(&bias)
                        .nth(i)
                        .map_or(0.0, |w| w.to_f64())
                        .to_string(),
                    count: String::new(),
                    remedy: "Weights must be finite; use an earlier checkpoint".to_string(),
                });
            }
            let inputs = weights.len() / outputs;
            if let Some(before) = plan.last()
                && before.outputs != inputs
            {
                return Err(Error::Length {
                    left: format!("the input of layer {l}"),
                    left_len: inputs,
                    right: format!("the output of layer {}", l - 1),
                    right_len: before.outputs,
                });
            }
            plan.push(Plan { inputs, outputs, activation, start: params.len() });
            params.extend(weights);
            params.extend(bias);
        }
        match plan.last() {
            None => return Err(Error::option("layers", 0, "give at least one layer")),
            Some(last) if last.activation != Activation::Linear => {
                let remedy = "the last layer must be linear: what reads it maps it itself";
                return Err(Error::option("the last activation", last.activation.name(), remedy));
            }
            Some(_) => {}
        }
        Ok(Mlp { plan, params })
    }

    /// The layers, from the first to the last.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = Layer<T>> + '_ {
        self.plan.iter().map(|plan| Layer {
            weights: self.weights(plan).to_vec(),
            bias: self.bias(plan).to_vec(),
            activation: plan.activation,
        })
    }

    /// Where each layer lies among the parameters.
    pub(super) fn plan(&self) -> &[Plan] {
        &self.plan
    }

    fn weights(&self, plan: &Plan) -> &[T] {
        &self.params[plan.start..plan.start + plan.weights()]
    }

    fn bias(&self, plan: &Plan) -> &[T] {
        &self.params[plan.start + plan.weights()..][..plan.outputs]
    }
}

/// What the layers before the last gave, and room for the way back.
#[derive(Debug, Default)]
pub struct MlpTape<T> {
    after: Vec<Vec<T>>,
    before: Vec<Vec<T>>,
    /// Gradients in what a layer gave, by turns.
    deltas: [Vec<T>; 2],
}

impl<T: Scalar> Network<T> for Mlp<T> {
    type Tape = MlpTape<T>;

    fn inputs(&self) -> usize {
        self.plan[0].inputs
    }
    fn outputs(&self) -> usize {
        self.plan[self.plan.len() - 1].outputs
    }
    fn n_params(&self) -> usize {
        self.params.len()
    }
    fn params(&self, out: &mut [T]) {
        out.copy_from_slice(&self.params);
    }
    fn set_params(&mut self, params: &[T]) {
        self.params.copy_from_slice(params);
    }
    fn lent_params(&self) -> Option<&[T]> {
        Some(&self.params)
    }
    fn swap_params(&mut self, params: &mut Vec<T>) {
        assert_eq!(self.params.len(), params.len(), "as many parameters as there were");
        std::mem::swap(&mut self.params, params);
    }
    fn describe(&self) -> String {
        let mut words = self.inputs().to_string();
        for plan in &self.plan {
            words += &format!("-{}", plan.outputs);
        }
        let mut names = self.plan.iter().map(|p| p.activation.name()).collect::<Vec<_>>();
        if names.last() == Some(&"linear") && names.len() > 1 {
            names.pop();
        }
        names.dedup();
        format!("{words} {}", names.join(" "))
    }

    fn forward(&self, x: &[T], columns: usize, y: &mut [T], tape: &mut MlpTape<T>) {
        let hidden = self.plan.len() - 1;
        tape.after.resize_with(hidden, Vec::new);
        tape.before.resize_with(hidden, Vec::new);
        for (l, plan) in self.plan.iter().enumerate() {
            let (done, rest) = tape.after.split_at_mut(l);
            let input = done.last().map_or(x, |after| after);
            let size = columns * plan.outputs;
            let output = match rest.first_mut() {
                Some(after) => room(after, size),
                None => &mut y[..size],
            };
            let left = Matrix { numbers: input, down: 1, across: columns };
            let right = Matrix { numbers: self.weights(plan), down: plan.outputs, across: 1 };
            multiply((columns, plan.outputs, plan.inputs), Into::Replace, left, right, output);
            let needed = if l < hidden && plan.activation.needs_before() { size } else { 0 };
            let before = match tape.before.get_mut(l) {
                Some(before) => room(before, needed),
                None => &mut [],
            };
            plan.activation.forward(output, columns, self.bias(plan), before);
        }
    }

    fn backward(
        &self,
        x: &[T],
        columns: usize,
        dy: &mut [T],
        dx: &mut [T],
        tape: &mut MlpTape<T>,
        grad: &mut [T],
    ) {
        let MlpTape { after, before, deltas: [above, below] } = tape;
        for (l, plan) in self.plan.iter().enumerate().rev() {
            let last = l + 1 == self.plan.len();
            let delta = if last { &mut dy[..] } else { room(above, columns * plan.outputs) };
            if !last {
                plan.activation.backward(delta, &after[l], &before[l]);
            }
            let input = if l > 0 { &after[l - 1][..] } else { x };
            if !grad.is_empty() {
                let here = &mut grad[plan.start..][..plan.weights() + plan.outputs];
                let (weights, bias) = here.split_at_mut(plan.weights());
                let left = Matrix { numbers: delta, down: columns, across: 1 };
                let right = Matrix { numbers: input, down: 1, across: columns };
                multiply((plan.outputs, plan.inputs, columns), Into::Add, left, right, weights);
                add_sums(delta, columns, bias);
            }
            let target = match l {
                0 if dx.is_empty() => continue,
                0 => &mut dx[..],
                _ => room(below, columns * plan.inputs),
            };
            let left = Matrix { numbers: delta, down: 1, across: columns };
            let right = Matrix { numbers: self.weights(plan), down: 1, across: plan.outputs };
            multiply((columns, plan.inputs, plan.outputs), Into::Replace, left, right, target);
            std::mem::swap(above, below);
        }
    }
}
