//! `FixedDecoder`: a decoder that learns no more, so that a family of its own can be fitted to the `z`
//! of each image.

use super::{Decoder, Network};
use crate::model::{Differentiable, Model, Subsample};
use crate::scalar::Scalar;
use crate::space::Space;

/// The log joint of a [`Decoder`] whose weights stay as they are: a model without `theta`.
#[derive(Debug)]
pub struct FixedDecoder<N: Network<T>, T: Scalar = f32>(Decoder<N, T>);

impl<N: Network<T>, T: Scalar> FixedDecoder<N, T> {
    /// The decoder as it is now.
    pub fn new(decoder: Decoder<N, T>) -> FixedDecoder<N, T> {
        FixedDecoder(decoder)
    }
}

impl<N: Network<T>, T: Scalar> Model<T> for FixedDecoder<N, T> {
    fn space(&self) -> Space {
        self.0.space()
    }
    fn dim(&self) -> usize {
        self.0.dim()
    }
    fn log_joint(&self, z: &[T]) -> f64 {
        self.0.log_joint(z)
    }
    fn log_joint_batch(&self, z: &[T], out: &mut [f64]) {
        self.0.log_joint_batch(z, out);
    }
    fn architecture(&self) -> String {
        self.0.architecture()
    }
}

/// Gradients in `z` alone: the decoder is asked for none in its weights.
impl<N: Network<T>, T: Scalar> Differentiable<T> for FixedDecoder<N, T> {
    fn log_joint_grad(&self, z: &[T], grad: &mut [T]) -> f64 {
        self.0.log_joint_grad(z, grad)
    }
    fn log_joint_grad_batch(&self, z: &[T], out: &mut [f64], grad_z: &mut [T], _: &mut [T]) {
        self.0.log_joint_grad_batch(z, out, grad_z, &mut []);
    }
    fn grad_batch(&self, z: &[T], draws: usize, grad_z: &mut [T], _: &mut [T]) {
        self.0.grad_batch(z, draws, grad_z, &mut []);
    }
}

impl<N: Network<T>, T: Scalar> Subsample for FixedDecoder<N, T> {
    fn n_data(&self) -> usize {
        self.0.n_data()
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.0.subsample(rows);
    }
    fn whole(&mut self) {
        self.0.whole();
    }
}
