//! Networks, and the variational autoencoder made of two of them: [`Decoder`] is a model and
//! [`Encoder`] is a family, so that the loop, the estimators and the optimizers are those of
//! everything else.
//!
//! ```text
//! log p_theta(x, z) = sum_i [ log p_theta(x_i | z_i) + log p(z_i) ]     theta: weights of the decoder
//! q_lambda(z)       = prod_i q(z_i; g_lambda(x_i))                      lambda: weights of the encoder
//! ```
//!
//! A [`Likelihood`] says how pixels spread around what the decoder says, a [`Prior`] where `z` is
//! expected, a [`Head`] what the numbers of the encoder mean: normals, with or without covariances, or
//! numbers between 0 and 1.
//!
//! One datum has `latent` coordinates of `z`; all data that are shown are one draw, datum after
//! datum (`latent x rows`). Some rows at a time ([`Minibatch`](crate::Minibatch)) stand for all:
//! both sides scale what belongs to a datum by `n_data / rows`.
//!
//! Inside, data go through a network a few at a time, a *panel*: for each number of a datum in turn
//! its value at all data of the panel, so that products read memory in one stream.

mod activation;
mod bayesian;
#[cfg(feature = "burn")]
mod burn;
mod collapse;
mod decoder;
mod encoder;
mod encoding;
mod head;
mod likelihood;
mod mlp;
mod panel;
mod prior;
mod product;
mod refine;
mod vae;

pub use activation::Activation;
pub use bayesian::{BayesianNeuralNetwork, LocalReparameterization, Prediction, UnitDraws};
#[cfg(feature = "burn")]
pub use burn::{BurnNetwork, BurnTape};
pub use decoder::Decoder;
pub use encoder::{Encoder, Encoding};
pub use head::{FullCovariance, Head, LogisticNormal, MeanField};
pub use likelihood::{Likelihood, Noise};
pub use mlp::{Layer, Mlp, MlpTape};
pub use prior::Prior;
pub use refine::FixedDecoder;
pub use vae::{ACTIVE, Evaluation, Vae};

use crate::scalar::Scalar;

/// A function with parameters, `y = f_w(x)`, and its transpose derivative, over the columns of a
/// panel: what a neural backend implements.
///
/// A panel of `columns` data holds, for each number of a datum in turn, its value at every datum:
/// number `i` at datum `j` stands at `i * columns + j`.
pub trait Network<T: Scalar = f32>: Send + Sync {
    /// What the way forward keeps for the way back; reused from step to step.
    type Tape: Default + Send + 'static;

    /// How many numbers a datum has on the way in.
    fn inputs(&self) -> usize;
    /// How many it has on the way out.
    fn outputs(&self) -> usize;
    /// How many parameters.
    fn n_params(&self) -> usize;
    /// Writes the parameters.
    fn params(&self, out: &mut [T]);
    /// Replaces the parameters.
    fn set_params(&mut self, params: &[T]);
    /// The parameters themselves, where they are kept as one slice: a step then need not copy them.
    fn lent_params(&self) -> Option<&[T]> {
        None
    }
    /// [`Network::set_params`] by an exchange, where that saves a copy: what `params` holds
    /// afterwards, of the same length, is nobody's.
    fn swap_params(&mut self, params: &mut Vec<T>) {
        self.set_params(params);
    }
    /// The architecture in a few words, such as `784-500-40 tanh`: networks with the same words and
    /// the same parameters are the same function.
    fn describe(&self) -> String;

    /// How many data a panel may have, at most.
    fn panel(&self) -> usize {
        64
    }

    /// Writes `f_w` of each column of `x` (`columns x inputs`) into `y` (`columns x outputs`).
    fn forward(&self, x: &[T], columns: usize, y: &mut [T], tape: &mut Self::Tape);

    /// After [`Network::forward`] on the same `x`: adds the gradient in the parameters of
    /// `<dy, f_w(x)>` to `grad`, and writes its gradient in `x` into `dx`; either is empty where
    /// nobody asks for it. `dy` may be overwritten.
    fn backward(
        &self,
        x: &[T],
        columns: usize,
        dy: &mut [T],
        dx: &mut [T],
        tape: &mut Self::Tape,
        grad: &mut [T],
    );
}

/// The first `n` numbers of a buffer that grows where it is too short.
pub(crate) fn room<T: Scalar>(buffer: &mut Vec<T>, n: usize) -> &mut [T] {
    if buffer.len() < n {
        buffer.resize(n, T::default());
    }
    &mut buffer[..n]
}
