//! `LocalFamily`: a family whose draws and densities come apart datum by datum.

use super::Reparameterized;
use crate::scalar::Scalar;

/// A product over data, `q(z) = prod_i q(z_i)`, that can tell what belongs to which datum: what
/// weights for each datum need ([`PerDatum`](crate::PerDatum)).
///
/// `rows` below is how many data are shown; `log q(z_i)` is that of one datum, without the factor
/// `n_data / rows` that [`Family::log_prob`](super::Family::log_prob) has.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot tell what belongs to which datum",
    label = "this family is not a `LocalFamily`",
    note = "use `ImportanceWeighted` or `DoublyReparameterized` without `PerDatum`, which weigh whole draws"
)]
pub trait LocalFamily<T: Scalar = f64>: Reparameterized<T> {
    /// [`Reparameterized::transport`] with `log q(z_i)` of each draw and datum: `rows x S`.
    fn transport_each(
        &self,
        eps: &[T],
        z: &mut [T],
        log_q: &mut [f64],
        residuals: &mut Self::Residuals,
    );

    /// [`Reparameterized::pull_back`] with a factor of `log q(z_i)` for each draw and datum
    /// (`rows x S`); that of `dz` stays as it is, that of `log q` has the factor `n_data / rows`.
    fn pull_back_each(
        &self,
        eps: &[T],
        residuals: &Self::Residuals,
        dz: &[T],
        dlog_q: &[T],
        grad: &mut [T],
    );
}
