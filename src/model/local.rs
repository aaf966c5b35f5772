//! `LocalModel`: a model whose log joint is a sum over data with coordinates of their own.

use super::Differentiable;
use crate::scalar::Scalar;

/// From the log weights of the draws of one datum: writes their shares, and returns what the datum
/// adds to the objective.
pub type Shares<'a> = dyn Fn(&[f64], &mut [f64]) -> f64 + Sync + 'a;

/// What [`LocalModel::weighted_grad_batch`] writes, each `rows x S`, but for what data add up to.
#[derive(Debug)]
pub struct Weighed<'a, T> {
    /// `log p(x_i, z_i) - log q(z_i)` of each draw and datum.
    pub log_w: &'a mut [f64],
    /// Its share.
    pub shares: &'a mut [f64],
    /// `n_data / rows` times the share times `grad_z log p(x_i, z_i)`: `dim x S`.
    pub grad_z: &'a mut [T],
}

/// `log p(x, z) = (n_data / rows) sum_i log p(x_i, z_i)` over the rows that are shown, where each
/// datum has coordinates of its own and nothing else is shared but `theta`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sum over data with coordinates of their own",
    label = "this model is not a `LocalModel`",
    note = "use `ImportanceWeighted` or `DoublyReparameterized` without `PerDatum`, which weigh whole draws"
)]
pub trait LocalModel<T: Scalar = f64>: Differentiable<T> {
    /// How many data are shown.
    fn rows(&self) -> usize;

    /// `n_data / rows`
    fn scale(&self) -> f64;

    /// At `S` draws `z` (`dim x S`) whose `log q(z_i)` are given (`rows x S`): the weights of each
    /// datum, their shares, and gradients weighed by them. Adds
    /// `(n_data / rows) sum_i sum_s share_is grad_theta log p(x_i, z_is)` to `grad_theta`, and returns
    /// `(n_data / rows)` times the sum of what `shares` returns.
    fn weighted_grad_batch(
        &self,
        z: &[T],
        log_q: &[f64],
        shares: &Shares<'_>,
        out: Weighed<'_, T>,
        grad_theta: &mut [T],
    ) -> f64;
}
