//! `Replay`: the scalars a program can be replayed over, and what of it is wanted.

use crate::autodiff::dual::Dual;
use crate::autodiff::real::{Primitive, Real};

/// Scalars a program can be replayed over: `f64` for values and gradients, `Dual` for their
/// derivatives in one direction.
pub(crate) trait Replay: Real + Default {
    fn re(self) -> f64;
    /// No value and no direction: what an adjoint is where nothing arrives.
    fn is_zero(self) -> bool;
    /// `phi(x) / Phi(x)`, the slope of `ln Phi`.
    fn inverse_mills(self) -> Self;
    fn primitive_lanes(
        operation: &dyn Primitive,
        lanes: usize,
        x: &[Self],
        out: Option<&mut [Self]>,
        slopes: Option<&mut [Self]>,
    );
}

impl Replay for f64 {
    fn re(self) -> f64 {
        self
    }
    fn is_zero(self) -> bool {
        self == 0.0
    }
    fn inverse_mills(self) -> f64 {
        crate::special::inverse_mills(self)
    }
    fn primitive_lanes(
        operation: &dyn Primitive,
        lanes: usize,
        x: &[f64],
        out: Option<&mut [f64]>,
        slopes: Option<&mut [f64]>,
    ) {
        match (out, slopes) {
            (Some(out), Some(slopes)) => operation.value_grad_lanes(lanes, x, out, slopes),
            (Some(out), None) => operation.value_lanes(lanes, x, out),
            (None, Some(slopes)) => operation.grad_lanes(lanes, x, slopes),
            (None, None) => {}
        }
    }
}

impl Replay for Dual {
    fn re(self) -> f64 {
        self.re
    }
    fn is_zero(self) -> bool {
        self.re == 0.0 && self.eps == 0.0
    }
    fn inverse_mills(self) -> Dual {
        let m = crate::special::inverse_mills(self.re);
        Dual { re: m, eps: if self.eps == 0.0 { 0.0 } else { -m * (self.re + m) * self.eps } }
    }
    fn primitive_lanes(
        operation: &dyn Primitive,
        lanes: usize,
        x: &[Dual],
        mut out: Option<&mut [Dual]>,
        mut slopes: Option<&mut [Dual]>,
    ) {
        let n = x.len() / lanes.max(1);
        let (mut point, mut direction) = (vec![0.0; n], vec![0.0; n]);
        let (mut grad, mut turned) = (vec![0.0; n], vec![0.0; n]);
        for l in 0..lanes {
            for i in 0..n {
                point[i] = x[i * lanes + l].re;
                direction[i] = x[i * lanes + l].eps;
            }
            let re = operation.value_grad(&point, &mut grad);
            operation.hess_vec(&point, &direction, &mut turned);
            if let Some(out) = &mut out {
                out[l] = Dual { re, eps: grad.iter().zip(&direction).map(|(g, d)| g * d).sum() };
            }
            if let Some(slopes) = &mut slopes {
                for i in 0..n {
                    slopes[i * lanes + l] = Dual { re: grad[i], eps: turned[i] };
                }
            }
        }
    }
}

/// What a forward pass prepares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Want {
    Values,
    Gradients,
    Both,
}

impl Want {
    /// Whether values are asked for.
    pub fn values(self) -> bool {
        self != Want::Gradients
    }

    /// Whether gradients are asked for.
    pub fn gradients(self) -> bool {
        self != Want::Values
    }
}
