//! What is fitted: `Model`, and what more a model may be able to do.

mod differenced;
mod exact;
mod from_fn;
mod known_prior;
mod local;
mod one_hot;
mod parallel;
mod unconstrained;
mod whitened;

pub use differenced::DifferencedHessian;
pub use exact::{Conjugate, Maximize};
pub use from_fn::{FromFn, from_fn};
pub use known_prior::KnownPrior;
pub use local::{LocalModel, Shares, Weighed};
pub use one_hot::OneHot;
pub use parallel::Parallel;
pub use unconstrained::Unconstrained;
pub use whitened::Whitened;

use crate::autodiff::Recordable;
use crate::caught::AtDraw;
use crate::scalar::Scalar;
use crate::scratch::with_buffer;
use crate::space::Space;

/// A joint density `p_theta(x, z)` with the data `x` inside.
///
/// Batches of points are slices, one draw after another: `dim x S`, draw `s` at
/// `s * dim .. (s + 1) * dim`.
///
/// ```
/// use elbo::{density, Model, Space};
/// struct Coin { heads: f64, tails: f64 }
/// impl Model for Coin {
///     fn space(&self) -> Space {
///         let mut space = Space::new();
///         space.unit("bias");
///         space
///     }
///     fn log_joint(&self, z: &[f64]) -> f64 {
///         density::beta(z[0], 1.0, 1.0) + self.heads * z[0].ln() + self.tails * (-z[0]).ln_1p()
///     }
/// }
/// let coin = Coin { heads: 7.0, tails: 3.0 };
/// assert!((coin.log_joint(&[0.5]) - 10.0 * 0.5f64.ln()).abs() < 1e-12);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a model",
    label = "this is not a `Model`",
    note = "wrap a `LogJoint` in `Autodiff::new`, or give a closure to `from_fn`; or implement `Model` by hand"
)]
pub trait Model<T: Scalar = f64> {
    /// Names, sizes and supports of the coordinates of `z`.
    fn space(&self) -> Space;
    /// How many coordinates `z` has.
    fn dim(&self) -> usize {
        self.space().dim()
    }
    /// `log p_theta(x, z)`; negative infinity outside the support.
    fn log_joint(&self, z: &[T]) -> f64;

    /// Writes one value for each draw in `z` (`dim x S`) into `out` (`S`). Override to share work
    /// between draws.
    fn log_joint_batch(&self, z: &[T], out: &mut [f64]) {
        let d = (z.len() / out.len().max(1)).max(1);
        for (s, (z, out)) in z.chunks_exact(d).zip(out).enumerate() {
            let _here = AtDraw(s, z);
            *out = self.log_joint(z);
        }
    }

    /// The point on the natural scale that `z` stands for, in the order of `space().names()`.
    /// Override where `z` is not in the coordinates of [`Model::space`].
    fn natural(&self, z: &[T]) -> Vec<f64> {
        let space = self.space();
        let u: Vec<f64> = z.iter().map(|z| z.to_f64()).collect();
        let mut natural = vec![0.0; space.natural_dim()];
        space.constrain(&u, &mut natural);
        natural
    }

    /// What tells it from others with as many parameters, in a few words: a checkpoint keeps them
    /// and refuses to go on where they differ. Nothing unless overridden.
    fn architecture(&self) -> String {
        String::new()
    }
    /// The number of the model's own parameters, learned together with `q`.
    fn n_theta(&self) -> usize {
        0
    }
    /// Writes the model's own parameters.
    fn theta(&self, _out: &mut [T]) {}
    /// Replaces the model's own parameters.
    fn set_theta(&mut self, _theta: &[T]) {}
    /// The model's own parameters themselves, where it keeps them as one slice: a step then need
    /// not copy them.
    fn lent_theta(&self) -> Option<&[T]> {
        None
    }
    /// [`Model::set_theta`] by an exchange, where that saves a copy: what `theta` holds afterwards,
    /// of the same length, is nobody's.
    fn swap_theta(&mut self, theta: &mut Vec<T>) {
        self.set_theta(theta);
    }
    /// Adds `sum_s weights[s] * grad_theta log p_theta(x, z_s)` to `grad`.
    fn add_theta_grad(&self, _z: &[T], _weights: &[T], _grad: &mut [T]) {}

    /// The model moved to `R^k`: see [`Unconstrained`].
    fn unconstrained(self) -> Unconstrained<Self>
    where
        Self: Sized + Model<f64>,
    {
        Unconstrained::new(self)
    }

    /// The model with its batches spread over threads: see [`Parallel`].
    fn parallel(self) -> Parallel<Self>
    where
        Self: Sized + Model<f64>,
    {
        Parallel::new(self)
    }

    /// The formula behind a model that is recorded, so that an adapter can record what it puts
    /// around it along with it.
    #[doc(hidden)]
    fn formula(&self) -> Option<&dyn Recordable> {
        None
    }
}

/// A model whose log joint has a gradient in `z`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no gradient in `z`",
    label = "this model is not `Differentiable`",
    note = "wrap a `LogJoint` in `Autodiff::new`, or give a closure to `from_fn`; or implement `Differentiable` by hand; or use the `ScoreFunction` estimator, which needs only `Model`"
)]
pub trait Differentiable<T: Scalar = f64>: Model<T> {
    /// Writes `grad_z log p_theta(x, z)` into `grad` and returns `log p_theta(x, z)`.
    fn log_joint_grad(&self, z: &[T], grad: &mut [T]) -> f64;

    /// The same for each draw in `z` (`dim x S`): writes `out` (`S`) and `grad_z` (`dim x S`).
    /// Also adds the mean over the draws of the gradient in `theta` to `grad_theta`.
    fn log_joint_grad_batch(
        &self,
        z: &[T],
        out: &mut [f64],
        grad_z: &mut [T],
        grad_theta: &mut [T],
    ) {
        let d = (z.len() / out.len().max(1)).max(1);
        let columns = z.chunks_exact(d).zip(grad_z.chunks_exact_mut(d)).zip(out.iter_mut());
        for (s, ((z, grad), out)) in columns.enumerate() {
            let _here = AtDraw(s, z);
            *out = self.log_joint_grad(z, grad);
        }
        if self.n_theta() > 0 {
            let shares = [T::from_f64(1.0 / out.len() as f64); 64];
            for z in z.chunks(64 * d) {
                self.add_theta_grad(z, &shares[..z.len() / d], grad_theta);
            }
        }
    }

    /// The gradients of [`Differentiable::log_joint_grad_batch`] for `draws` points, the same bits,
    /// without the values. Override where the values cost something.
    ///
    /// At a draw whose log joint is not finite, at least one coordinate of the gradient must not be
    /// finite either: a step that does not ask for values notices by it that a draw is spoiled.
    fn grad_batch(&self, z: &[T], draws: usize, grad_z: &mut [T], grad_theta: &mut [T]) {
        with_buffer(draws, |out| {
            self.log_joint_grad_batch(z, out, grad_z, grad_theta);
            spoil(out, grad_z);
        });
    }
}

/// Makes the gradient not a number at every draw whose value is not finite.
pub(crate) fn spoil<T: Scalar>(values: &[f64], grad: &mut [T]) {
    let d = (grad.len() / values.len().max(1)).max(1);
    for (value, grad) in values.iter().zip(grad.chunks_exact_mut(d)) {
        if !value.is_finite() {
            grad.fill(T::from_f64(f64::NAN));
        }
    }
}

/// A model over labels whose log joint goes on between them, with a gradient: instead of a label
/// with `n` values it takes `n` weights that sum to 1, all of it on one label where the two agree.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not defined between its labels",
    label = "this model is not `Relaxed`",
    note = "write it in one-hot vectors (blocks on `Support::Simplex`) and wrap it in `OneHot::new`; or use `ScoreFunction`, `Vimco`, `Disarm` or `Enumeration`, which need only `Model`"
)]
pub trait Relaxed<T: Scalar = f64>: Model<T> {
    /// Writes the gradient of `log p(x, y)` in the weights `y` into `grad` and returns `log p(x, y)`.
    /// Both hold `n_i` numbers for each label, one label after another.
    fn relaxed_grad(&self, y: &[T], grad: &mut [T]) -> f64;

    /// The same for each of the `S = out.len()` draws in `y`: writes `out` and `grad_y`. Also adds
    /// the mean over the draws of the gradient in `theta` to `grad_theta`.
    fn relaxed_grad_batch(&self, y: &[T], out: &mut [f64], grad_y: &mut [T], grad_theta: &mut [T]);
}

/// A model whose Hessian can be multiplied with a vector.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no Hessian-vector products",
    label = "this model is not `TwiceDifferentiable`",
    note = "`Autodiff` models have exact ones; wrap a hand-written gradient in `DifferencedHessian`"
)]
pub trait TwiceDifferentiable: Differentiable {
    /// Writes the gradient of the log joint at `z` into `grad`, and its Hessian times `v` into
    /// `out`.
    fn hess_vec(&self, z: &[f64], v: &[f64], grad: &mut [f64], out: &mut [f64]);
}

/// A model that can be told to look at some rows of its data only.
pub trait Subsample {
    /// How many rows the data have.
    fn n_data(&self) -> usize;
    /// Uses these rows from now on, and scales their log likelihood by `n_data / rows.len()`.
    fn subsample(&mut self, rows: &[usize]);
    /// Back to all rows, for the final ELBO and the verdict.
    fn whole(&mut self);
    /// Whether `subsample` and `whole` change no formula: so it is where they do nothing but tell
    /// the likelihoods of [`density::glm`](crate::density::glm) that the log joint is made of. Then
    /// [`Autodiff`](crate::Autodiff) need not record it anew at every step.
    fn keeps_formula(&self) -> bool {
        false
    }
    /// Keeps the rows in another order: from now on row `i` is the one that was row `order[i]` when
    /// the model was made, whatever was called before. Returns whether it did.
    ///
    /// A minibatch asks for a random order once, and from then on shows rows in runs of eight that
    /// lie side by side, `8 k .. 8 k + 8`, which memory delivers faster than rows from anywhere; a
    /// run may be cut short where a batch begins or ends. Without this it shows single rows. A
    /// model of several parts over the same rows must arrange all of them or none.
    fn arrange(&mut self, _order: &[usize]) -> bool {
        false
    }
}
