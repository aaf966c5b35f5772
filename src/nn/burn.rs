//! `BurnNetwork`: a module of the burn framework as a [`Network`]: convolutions, pretrained weights,
//! whatever it has.

use std::fmt;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Shape, Tensor, TensorData};

use super::Network;
use crate::error::Error;

/// A burn module and the function it is, `rows x inputs` to `rows x outputs`.
///
/// Its parameters are the module's floating-point tensors, in the order in which burn visits them.
/// What a module does at random (dropout) or keeps of what it has seen (batch normalisation) is no
/// function of its parameters: leave it out.
///
/// ```
/// use burn::nn::{Linear, LinearConfig};
/// use burn::tensor::{Device, Tensor};
/// use elbo::nn::{BurnNetwork, Network};
/// let device = Device::default().autodiff();
/// let linear: Linear = LinearConfig::new(3, 2).init(&device);
/// let forward = |linear: &Linear, x: Tensor<2>| linear.forward(x);
/// let network = BurnNetwork::new(linear, (3, 2), &device, "linear 3-2", forward)?;
/// assert_eq!(network.n_params(), 3 * 2 + 2);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone)]
pub struct BurnNetwork<M> {
    module: M,
    /// The parameters of `module`.
    params: Vec<f32>,
    inputs: usize,
    outputs: usize,
    device: Device,
    name: String,
    forward: fn(&M, Tensor<2>) -> Tensor<2>,
}

impl<M: fmt::Debug> fmt::Debug for BurnNetwork<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BurnNetwork").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<M: Module + Sync> BurnNetwork<M> {
    /// A module on a device with autodiff; `name` says its architecture, and a checkpoint of
    /// another name is refused.
    ///
    /// # Errors
    /// No inputs, no outputs or no parameters; a device without autodiff; a function that does not
    /// give `outputs` numbers for `inputs`.
    pub fn new(
        module: M,
        (inputs, outputs): (usize, usize),
        device: &Device,
        name: &str,
        forward: fn(&M, Tensor<2>) -> Tensor<2>,
    ) -> Result<BurnNetwork<M>, Error> {
        if inputs == 0 || outputs == 0 {
            let shape = format!("({inputs}, {outputs})");
            return Err(Error::option("inputs and outputs", shape, "give at least one of each"));
        }
        if !device.is_autodiff() {
            let remedy = "make the module and the network on `Device::default().autodiff()`";
            return Err(Error::option("device", format!("{device:?}"), remedy));
        }
        let n = module.num_params();
        if n == 0 {
            return Err(Error::option("module", name, "it has no parameters to learn"));
        }
        let given = forward(&module, Tensor::zeros([1, inputs], device)).dims();
        if given != [1, outputs] {
            return Err(Error::Length {
                left: format!("what `{name}` gives for one row"),
                left_len: given.iter().product(),
                right: "its outputs".to_string(),
                right_len: outputs,
            });
        }
        let mut params = vec![0.0; n];
        module.visit(&mut Reader { params: &mut params, at: 0 });
        let (device, name) = (device.clone(), name.to_string());
        let mut network =
            BurnNetwork { module, params: Vec::new(), inputs, outputs, device, name, forward };
        network.set_params(&params);
        Ok(network)
    }

    /// The module with the parameters it has now.
    pub fn module(&self) -> &M {
        &self.module
    }

    /// A panel as a tensor, a row for each datum.
    fn rows(&self, panel: &[f32], size: usize, columns: usize) -> Tensor<2> {
        let data = TensorData::new(panel.to_vec(), [size, columns]);
        Tensor::<2>::from_data(data, &self.device).transpose()
    }
}

/// The numbers of a tensor.
fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data()
        .try_to_vec::<f32>()
        .unwrap_or_else(|e| panic!("burn tensors here are f32: {e:?}"))
}

/// The panel of a tensor with a row for each datum.
fn panel_of(rows: Tensor<2>) -> Vec<f32> {
    numbers(rows.transpose())
}

struct Reader<'a> {
    params: &'a mut [f32],
    at: usize,
}

impl ModuleVisitor for Reader<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = numbers(param.val().detach());
        self.params[self.at..self.at + values.len()].copy_from_slice(&values);
        self.at += values.len();
    }
}

struct Writer<'a> {
    params: &'a [f32],
    at: usize,
    device: &'a Device,
}

impl ModuleMapper for Writer<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|old| {
            let shape: Shape = old.shape();
            let n = shape.num_elements();
            let data = TensorData::new(self.params[self.at..self.at + n].to_vec(), shape);
            self.at += n;
            Tensor::from_data(data, self.device).require_grad()
        })
    }
}

/// Adds gradients.
struct Adder<'a> {
    grad: &'a mut [f32],
    at: usize,
    from: Gradients,
}

impl ModuleVisitor for Adder<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let param = param.val();
        let n = param.shape().num_elements();
        if let Some(grad) = param.grad_remove(&mut self.from) {
            let own = &mut self.grad[self.at..self.at + n];
            own.iter_mut().zip(numbers(grad)).for_each(|(own, grad)| *own += grad);
        }
        self.at += n;
    }
}

/// What the way back starts from: the inputs and the outputs, recorded.
#[derive(Default)]
pub struct BurnTape(Option<(Tensor<2>, Tensor<2>)>);

impl<M: Module + Sync> Network<f32> for BurnNetwork<M> {
    type Tape = BurnTape;

    fn inputs(&self) -> usize {
        self.inputs
    }
    fn outputs(&self) -> usize {
        self.outputs
    }
    fn n_params(&self) -> usize {
        self.params.len()
    }
    fn params(&self, out: &mut [f32]) {
        out.copy_from_slice(&self.params);
    }
    fn set_params(&mut self, params: &[f32]) {
        self.params.clear();
        self.params.extend_from_slice(params);
        let mut writer = Writer { params, at: 0, device: &self.device };
        self.module = self.module.clone().map(&mut writer);
    }
    fn lent_params(&self) -> Option<&[f32]> {
        Some(&self.params)
    }
    fn describe(&self) -> String {
        self.name.clone()
    }
    /// Tensor programs pay for each call: many data at once.
    fn panel(&self) -> usize {
        256
    }
    fn forward(&self, x: &[f32], columns: usize, y: &mut [f32], tape: &mut BurnTape) {
        let x = self.rows(x, self.inputs, columns).require_grad();
        let rows = (self.forward)(&self.module, x.clone());
        y.copy_from_slice(&panel_of(rows.clone().detach()));
        tape.0 = Some((x, rows));
    }
    fn backward(
        &self,
        _x: &[f32],
        columns: usize,
        dy: &mut [f32],
        dx: &mut [f32],
        tape: &mut BurnTape,
        grad: &mut [f32],
    ) {
        let Some((x, rows)) = tape.0.take() else {
            panic!("the way back follows the way forward");
        };
        let dy = self.rows(dy, self.outputs, columns);
        let mut from = (rows * dy).sum().backward();
        if !dx.is_empty() {
            match x.grad_remove(&mut from) {
                Some(slope) => dx.copy_from_slice(&panel_of(slope)),
                None => dx.fill(0.0),
            }
        }
        self.module.visit(&mut Adder { grad, at: 0, from });
    }
}
