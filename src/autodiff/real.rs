//! `Real`: the scalar a model is written over, and `Primitive`: an operation with its own gradient.

use std::cell::Cell;
use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};
use std::sync::Arc;

use crate::scratch::with_buffer;

/// A real number that may be watched: `f64`, [`Dual`](super::Dual) (forward mode) or
/// [`Var`](super::Var) (recorded, for reverse mode).
///
/// There are no comparisons on purpose: a log joint is recorded once and replayed at many points,
/// so its control flow must not depend on `z`. Use [`Real::max`], [`Real::min`], [`Real::abs`],
/// [`Real::if_positive`] or [`Real::log_indicator`] where a formula has cases.
///
/// ```
/// use elbo::autodiff::{Dual, Real};
/// fn f<T: Real>(x: T) -> T { x * x.exp() }
/// let y = f(Dual::variable(1.0));
/// assert!((y.re - 1f64.exp()).abs() < 1e-15);
/// assert!((y.eps - 2.0 * 1f64.exp()).abs() < 1e-14);
/// ```
pub trait Real:
    Copy
    + Debug
    + 'static
    + From<f64>
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Add<f64, Output = Self>
    + Sub<f64, Output = Self>
    + Mul<f64, Output = Self>
    + Div<f64, Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + AddAssign<f64>
    + Sum
{
    /// `e^x`
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// `ln(1 + x)`, accurate near 0.
    fn ln_1p(self) -> Self;
    /// `e^x - 1`, accurate near 0.
    fn exp_m1(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Sine.
    fn sin(self) -> Self;
    /// Cosine.
    fn cos(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Inverse tangent.
    fn atan(self) -> Self;
    /// `x^p` for a constant power.
    fn powf(self, p: f64) -> Self;
    /// `1 / (1 + e^-x)`
    fn sigmoid(self) -> Self;
    /// `ln(1 + e^x)`, without overflow.
    fn softplus(self) -> Self;
    /// `ln Phi(x)`, the log of the standard normal distribution function, accurate in both tails.
    fn log_normal_cdf(self) -> Self;
    /// `ln Gamma(x)`, `x > 0`.
    fn log_gamma(self) -> Self;
    /// The polygamma function of order `n`: 0 is digamma, 1 trigamma; `x > 0`.
    fn polygamma(self, n: u32) -> Self;
    /// `|x|`; its derivative at 0 is taken as 0.
    fn abs(self) -> Self;
    /// The larger of two numbers; NaN if either is, so that no error is hidden.
    fn max(self, other: Self) -> Self;
    /// The smaller of two numbers; NaN if either is.
    fn min(self, other: Self) -> Self;
    /// `yes` where `self > 0`, otherwise `no`. Both are computed; only the chosen one is watched.
    fn if_positive(self, yes: Self, no: Self) -> Self;
    /// 0 where `low <= x <= high`, otherwise negative infinity; its derivative is 0.
    fn log_indicator(self, low: f64, high: f64) -> Self;

    /// `ln(1 + x^2)`, without overflow.
    fn ln_1p_square(self) -> Self;
    /// `a ln x` for `a = self`, continued to where logs of densities need it: at `x = 0` the limit,
    /// with `0 ln 0 = 0`, and negative infinity for `x < 0`.
    fn times_ln(self, x: Self) -> Self;
    /// `a ln(1 + x)` for `a = self`, accurate near `x = 0` and continued like [`Real::times_ln`].
    fn times_ln_1p(self, x: Self) -> Self;

    /// The result of an operation with a hand-written gradient, recorded as one node.
    fn primitive<P: Primitive + 'static>(x: &[Self], operation: &Arc<P>) -> Self;

    /// `x^2`
    fn square(self) -> Self {
        self * self
    }
    /// `1 / x`
    fn recip(self) -> Self {
        Self::from(1.0) / self
    }
    /// `ln(1 / (1 + e^-x))`
    fn log_sigmoid(self) -> Self {
        -(-self).softplus()
    }
    /// `ln sum_i e^(x_i)`, without overflow; negative infinity for an empty slice.
    fn log_sum_exp(x: &[Self]) -> Self;
    /// `sum_i a_i x_i`; where `a_i` is 0 nothing is added, whatever `x_i` is.
    fn dot(a: &[f64], x: &[Self]) -> Self {
        a.iter().zip(x).filter(|(a, _)| **a != 0.0).map(|(&a, &x)| x * a).sum()
    }
}

thread_local! {
    /// A point and a gradient for primitives that take one point at a time; a nested call finds
    /// none and makes its own.
    static ONE_POINT: Cell<Vec<f64>> = const { Cell::new(Vec::new()) };
}

/// A real function of several variables that brings its own gradient, for [`Real::primitive`].
///
/// Closures `Fn(&[f64], &mut [f64]) -> f64` (write the gradient, return the value) are primitives.
///
/// ```
/// use elbo::{from_fn, Model, Space, Var, autodiff::Real};
/// use std::sync::Arc;
/// let mut space = Space::new();
/// let x = space.reals("x", 2);
/// let norm = Arc::new(|x: &[f64], grad: &mut [f64]| {
///     let r = x[0].hypot(x[1]);
///     grad.copy_from_slice(&[x[0] / r, x[1] / r]);
///     r
/// });
/// let model = from_fn(space, move |z| -Var::primitive(&z[x], &norm));
/// assert_eq!(model.log_joint(&[3.0, 4.0]), -5.0);
/// ```
pub trait Primitive: Send + Sync {
    /// Writes the gradient at `x` into `grad` and returns the value.
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64;

    /// The same at `lanes` points at once. `x` and `grad` are (inputs x lanes): input `i` of point
    /// `l` is at `i * lanes + l`. Override to share work between points.
    fn value_grad_lanes(&self, lanes: usize, x: &[f64], out: &mut [f64], grad: &mut [f64]) {
        let n = x.len() / lanes.max(1);
        let mut buffer = ONE_POINT.take();
        buffer.resize(2 * n, 0.0);
        let (point, slope) = buffer.split_at_mut(n);
        for l in 0..lanes {
            for i in 0..n {
                point[i] = x[i * lanes + l];
            }
            out[l] = self.value_grad(point, slope);
            for i in 0..n {
                grad[i * lanes + l] = slope[i];
            }
        }
        ONE_POINT.set(buffer);
    }

    /// The values of [`Primitive::value_grad_lanes`], the same bits, without the gradients: asked for
    /// where no gradient is taken. Override where the gradient costs something.
    fn value_lanes(&self, lanes: usize, x: &[f64], out: &mut [f64]) {
        with_buffer(x.len(), |grad| self.value_grad_lanes(lanes, x, out, grad));
    }

    /// The gradients of [`Primitive::value_grad_lanes`], the same bits, without the values: asked
    /// for where nobody reads the value. Override where the value costs something.
    ///
    /// At a point whose value is not finite, at least one entry of the gradient must not be finite
    /// either.
    fn grad_lanes(&self, lanes: usize, x: &[f64], grad: &mut [f64]) {
        with_buffer(lanes, |out| {
            self.value_grad_lanes(lanes, x, out, grad);
            for (l, _) in out.iter().enumerate().filter(|(_, out)| !out.is_finite()) {
                grad.iter_mut().skip(l).step_by(lanes).for_each(|g| *g = f64::NAN);
            }
        });
    }

    /// Whether it reads so much data of its own that threads had better not each take some of the
    /// points, as every one would read the data again.
    fn keeps_together(&self) -> bool {
        false
    }

    /// Writes `H(x) v`, the Hessian times a vector. The provided method differences the gradient
    /// (central, step `eps^(1/3)` relative to `x` and `v`), good to about 8 digits.
    fn hess_vec(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        let size = |a: &[f64]| a.iter().map(|a| a * a).sum::<f64>().sqrt();
        let length = size(v);
        if length == 0.0 {
            return out.fill(0.0);
        }
        let h = f64::EPSILON.cbrt() * (1.0 + size(x)) / length;
        let mut low = vec![0.0; x.len()];
        let at = |h: f64| x.iter().zip(v).map(|(x, v)| x + h * v).collect::<Vec<_>>();
        self.value_grad(&at(h), out);
        self.value_grad(&at(-h), &mut low);
        for (o, l) in out.iter_mut().zip(&low) {
            *o = (*o - l) / (2.0 * h);
        }
    }
}

impl<F: Fn(&[f64], &mut [f64]) -> f64 + Send + Sync> Primitive for F {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        self(x, grad)
    }
}

impl Real for f64 {
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    fn ln(self) -> f64 {
        f64::ln(self)
    }
    fn ln_1p(self) -> f64 {
        f64::ln_1p(self)
    }
    fn exp_m1(self) -> f64 {
        f64::exp_m1(self)
    }
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
    fn sin(self) -> f64 {
        f64::sin(self)
    }
    fn cos(self) -> f64 {
        f64::cos(self)
    }
    fn tanh(self) -> f64 {
        f64::tanh(self)
    }
    fn atan(self) -> f64 {
        f64::atan(self)
    }
    fn powf(self, p: f64) -> f64 {
        f64::powf(self, p)
    }
    fn sigmoid(self) -> f64 {
        if self >= 0.0 {
            1.0 / (1.0 + (-self).exp())
        } else {
            let e = self.exp();
            e / (1.0 + e)
        }
    }
    fn softplus(self) -> f64 {
        f64::max(self, 0.0) + (-f64::abs(self)).exp().ln_1p()
    }
    fn log_normal_cdf(self) -> f64 {
        crate::special::log_normal_cdf(self)
    }
    fn log_gamma(self) -> f64 {
        crate::special::log_gamma(self)
    }
    fn polygamma(self, n: u32) -> f64 {
        crate::special::polygamma(n, self)
    }
    fn abs(self) -> f64 {
        f64::abs(self)
    }
    fn max(self, other: f64) -> f64 {
        if self >= other || self.is_nan() { self } else { other }
    }
    fn min(self, other: f64) -> f64 {
        if self <= other || self.is_nan() { self } else { other }
    }
    fn if_positive(self, yes: f64, no: f64) -> f64 {
        if self > 0.0 { yes } else { no }
    }
    fn log_indicator(self, low: f64, high: f64) -> f64 {
        if self.is_nan() {
            f64::NAN
        } else if (low..=high).contains(&self) {
            0.0
        } else {
            f64::NEG_INFINITY
        }
    }
    fn ln_1p_square(self) -> f64 {
        let x = f64::abs(self);
        if x > 1e8 { 2.0 * x.ln() } else { (x * x).ln_1p() }
    }
    fn times_ln(self, x: f64) -> f64 {
        times_log(self, x, f64::ln(x), x)
    }
    fn times_ln_1p(self, x: f64) -> f64 {
        times_log(self, x, f64::ln_1p(x), x + 1.0)
    }
    fn primitive<P: Primitive + 'static>(x: &[f64], operation: &Arc<P>) -> f64 {
        let mut out = [0.0];
        operation.value_lanes(1, x, &mut out);
        out[0]
    }
    fn log_sum_exp(x: &[f64]) -> f64 {
        let top = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if !top.is_finite() {
            // All terms vanish, one is infinite, or one is NaN: the plain sum says which.
            return x.iter().map(|x| x.exp()).sum::<f64>().ln();
        }
        top + x.iter().map(|x| (x - top).exp()).sum::<f64>().ln()
    }
}

/// `a log` where `inside > 0`, its limit where `inside = 0`, negative infinity below.
fn times_log(a: f64, x: f64, log: f64, inside: f64) -> f64 {
    if a.is_nan() || x.is_nan() {
        f64::NAN
    } else if inside < 0.0 {
        f64::NEG_INFINITY
    } else if a == 0.0 {
        0.0
    } else {
        a * log
    }
}
