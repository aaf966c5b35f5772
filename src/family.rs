//! What approximates: `Family`, and what more a family may be able to do.

mod bernoulli;
mod beta;
mod categorical;
mod delta;
mod dirichlet;
mod full_rank_gaussian;
mod gamma;
mod local;
mod low_rank_gaussian;
mod mean_field_gaussian;
mod product;
mod transformed;

pub use bernoulli::Bernoulli;
pub use beta::{Beta, Paths};
pub use categorical::Categorical;
pub use delta::Delta;
pub use dirichlet::Dirichlet;
pub use full_rank_gaussian::FullRankGaussian;
pub use gamma::Gamma;
pub use local::LocalFamily;
pub use low_rank_gaussian::LowRankGaussian;
pub use mean_field_gaussian::MeanFieldGaussian;
pub use product::{Both, Product};
pub use transformed::{Affine, Bijection, Kept, NaturalScale, Transformed};

use rand::Rng;

use crate::bijector::Support;
use crate::noise::fill_normal;
use crate::scalar::Scalar;

/// A distribution over `z` with parameters `lambda` in `R^p`, every value of which is valid.
///
/// Batches of points are slices, one draw after another: `dim x S`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a family of distributions",
    label = "this is not a `Family`",
    note = "give the model first and the family second, such as `MeanFieldGaussian::standard(dim)`; to make a family of your own, implement `Family`"
)]
pub trait Family<T: Scalar = f64> {
    /// How many coordinates `z` has.
    fn dim(&self) -> usize;
    /// Where coordinate `i` lives.
    fn support(&self, _i: usize) -> Support {
        Support::Real
    }
    /// `p`: how many parameters.
    fn n_params(&self) -> usize;
    /// Writes `lambda`.
    fn params(&self, out: &mut [T]);
    /// Replaces `lambda`. Every value in `R^p` is valid.
    fn set_params(&mut self, params: &[T]);
    /// `lambda` itself, where the family keeps it as one slice: a step then need not copy it.
    fn lent_params(&self) -> Option<&[T]> {
        None
    }
    /// [`Family::set_params`] by an exchange, where that saves a copy: what `params` holds
    /// afterwards, of the same length, is nobody's.
    fn swap_params(&mut self, params: &mut Vec<T>) {
        self.set_params(params);
    }
    /// Fills `z` (`dim x S`) with draws.
    fn sample(&self, rng: &mut dyn Rng, z: &mut [T]);
    /// `log q_lambda(z)`
    fn log_prob(&self, z: &[T]) -> f64;
    /// Writes `log q_lambda` of each draw in `z` (`dim x S`) into `out` (`S`).
    fn log_prob_batch(&self, z: &[T], out: &mut [f64]) {
        for (z, out) in z.chunks_exact(self.dim().max(1)).zip(out) {
            *out = self.log_prob(z);
        }
    }
    /// The entropy in nats, where it has a closed form: for reports, never for gradients.
    fn entropy(&self) -> Option<f64> {
        None
    }
    /// What tells it from others with as many parameters, in a few words: a checkpoint keeps them
    /// and refuses to go on where they differ. Nothing unless overridden.
    fn architecture(&self) -> String {
        String::new()
    }
    /// Attends to these rows of the data only; families without local parameters ignore it.
    fn subsample(&mut self, _rows: &[usize]) {}
    /// Back to all rows.
    fn whole(&mut self) {}
}

/// A family whose log density has a gradient in `lambda`, the score.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no score",
    label = "this family is not `Scored`",
    note = "use the `Reparameterization` estimator if the family is `Reparameterized`, or implement `Scored` for it: the gradient of `log_prob` in the parameters"
)]
pub trait Scored<T: Scalar = f64>: Family<T> {
    /// Adds `weight * grad_lambda log q_lambda(z)` to `grad`.
    fn add_score(&self, z: &[T], weight: T, grad: &mut [T]);
}

/// A family whose draws are a differentiable function of noise: `z = T_lambda(eps)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be reparameterized",
    label = "this family is not `Reparameterized`",
    note = "use the `ScoreFunction` estimator, which needs only `Scored`; for labels `Enumeration`, `Vimco` or `GumbelSoftmax` serve as well"
)]
pub trait Reparameterized<T: Scalar = f64>: Family<T> {
    /// What the forward pass keeps for the backward pass; reused from step to step.
    type Residuals: Default + Send + 'static;
    /// How many numbers of noise make one draw.
    fn noise_dim(&self) -> usize {
        self.dim()
    }
    /// Fills `eps` (`noise_dim x S`) with noise: standard normal unless overridden.
    fn draw_noise(&self, rng: &mut dyn Rng, eps: &mut [T]) {
        fill_normal(rng, eps);
    }
    /// Writes `z_s = T_lambda(eps_s)` and `log q_lambda(z_s)` for each of the `S = log_q.len()`
    /// draws.
    fn transport(&self, eps: &[T], z: &mut [T], log_q: &mut [f64], residuals: &mut Self::Residuals);
    /// The transpose of `transport`: adds to `grad` the gradient in `lambda` of
    /// `sum_s <dz_s, z_s> + sum_s dlog_q[s] * log q(z_s)`, where `z` and `log q` are functions of
    /// `lambda` through `T_lambda(eps)`.
    fn pull_back(
        &self,
        eps: &[T],
        residuals: &Self::Residuals,
        dz: &[T],
        dlog_q: &[T],
        grad: &mut [T],
    );
}

/// A reparameterized family whose log density has a gradient in `z`.
#[diagnostic::on_unimplemented(
    message = "the log density of `{Self}` has no gradient in `z`",
    label = "this family is not `Smooth`",
    note = "use the `Reparameterization` estimator, which needs only `Reparameterized`"
)]
pub trait Smooth<T: Scalar = f64>: Reparameterized<T> {
    /// Writes `grad_z log q_lambda(z_s)` for each draw (`dim x S`), where `z` is what `transport`
    /// made of `eps`.
    fn log_prob_grad(&self, eps: &[T], residuals: &Self::Residuals, z: &[T], grad: &mut [T]);
}

/// A family of independent labels, each coordinate on a [`Support::Category`], whose probabilities
/// are known: its draws are an argmax of noise, which can be relaxed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a family of independent labels",
    label = "this family is not `Discrete`",
    note = "relaxed labels are for `Categorical` and `Bernoulli`; a `Reparameterized` family needs no relaxation (`Reparameterization`), any other takes `ScoreFunction`"
)]
pub trait Discrete<T: Scalar = f64>: Family<T> {
    /// The log probability of each label of each coordinate, one coordinate after another:
    /// `sum_i n_i` numbers.
    fn log_masses(&self) -> &[T];
    /// Adds to `grad` the gradient in `lambda` of `sum_k weights[k] log_masses()[k]`.
    fn add_masses_grad(&self, weights: &[T], grad: &mut [T]);
}

/// A family of independent coins: labels 0 and 1, parameter `i` the logit of coordinate `i`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a family of coins",
    label = "this family is not `Binary`",
    note = "`Disarm` is for `Bernoulli`, whose latents are 0 or 1; use `ScoreFunction` or `Vimco`, which need only `Scored`, or `Enumeration` where the labels are few"
)]
pub trait Binary<T: Scalar = f64>: Discrete<T> {
    /// The probability of label 1 of coordinate `i`.
    fn chance(&self, i: usize) -> f64;
}

/// `KL(q || p)` in nats between two members of a family, where it has a closed form.
pub trait Divergence: Family {
    /// `E_q[log q - log p]`, `q` being `self`.
    fn kl(&self, p: &Self) -> f64;
}
