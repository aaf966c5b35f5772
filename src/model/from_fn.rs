//! `from_fn`: a differentiable model out of a `Space` and a closure.

use std::fmt;

use crate::autodiff::{Autodiff, Recordable, Var};
use crate::space::Space;

/// The formula behind [`from_fn`].
#[derive(Clone)]
pub struct FromFn<F> {
    space: Space,
    log_joint: F,
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn").field("space", &self.space).finish_non_exhaustive()
    }
}

impl<F: Fn(&[Var]) -> Var> Recordable for FromFn<F> {
    fn space(&self) -> Space {
        self.space.clone()
    }
    fn record(&self, z: &[Var]) -> Var {
        (self.log_joint)(z)
    }
}

/// A model with gradients out of the space of `z` and `log p(x, z)`.
///
/// ```
/// use elbo::{density, from_fn, Differentiable, Space};
/// let mut space = Space::new();
/// let (mu, x) = (space.real("mu"), space.real("x"));
/// let model = from_fn(space, move |z| {
///     density::normal(z[mu], 0.0, 1.0) + density::normal(z[x], z[mu], 1.0)
/// });
/// let mut grad = [0.0; 2];
/// model.log_joint_grad(&[1.0, 3.0], &mut grad);
/// assert_eq!(grad, [1.0, -2.0]);
/// ```
pub fn from_fn<F: Fn(&[Var]) -> Var>(space: Space, log_joint: F) -> Autodiff<FromFn<F>> {
    Autodiff::new(FromFn { space, log_joint })
}
