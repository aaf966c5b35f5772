//! `KnownPrior`: a likelihood and a prior, told apart, where the divergence from the prior is known.

use super::Differentiable;
use crate::error::Error;
use crate::family::Reparameterized;
use crate::scalar::Scalar;

/// A model whose log joint is `log p(x | z) + log p(z)`, and a family `Q` whose divergence from that
/// prior is known in closed form, as a sum over groups of coordinates (the latent units of an
/// autoencoder).
///
/// What belongs to a datum is scaled by `n_data / rows`, as in the log joint.
#[diagnostic::on_unimplemented(
    message = "the divergence of `{Q}` from the prior of `{Self}` is not known in closed form",
    label = "this model is not `KnownPrior` with this family",
    note = "use the `Reparameterization` estimator, which samples it"
)]
pub trait KnownPrior<Q: Reparameterized<T>, T: Scalar = f64>: Differentiable<T> {
    /// Says why the divergence is not known after all, where that depends on settings.
    ///
    /// # Errors
    /// As said.
    fn known(&self, _q: &Q) -> Result<(), Error> {
        Ok(())
    }

    /// How many groups there are.
    fn groups(&self, q: &Q) -> usize;

    /// Over how many data the divergence of a group is summed.
    fn n_terms(&self, q: &Q) -> usize;

    /// [`Differentiable::log_joint_grad_batch`] of `log p(x | z)` alone; `out` may be empty.
    fn likelihood_grad_batch(
        &self,
        z: &[T],
        draws: usize,
        out: &mut [f64],
        grad_z: &mut [T],
        grad_theta: &mut [T],
    );

    /// Writes `KL_g(q || p)` for each group, after [`Reparameterized::transport`].
    fn divergences(&self, q: &Q, kept: &Q::Residuals, out: &mut [f64]);

    /// [`Reparameterized::pull_back`] of `dz`, together with the gradients in `lambda` and in `theta`,
    /// which may be empty, of `-sum_g weights[g] KL_g(q || p)`.
    fn pull_back_with(
        &self,
        q: &Q,
        noise: (&[T], &Q::Residuals),
        dz: &[T],
        weights: &[T],
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    );
}
