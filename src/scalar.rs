//! `Scalar`: the two floating-point types parameters may have; statistics use `f64`, networks `f32`.

use crate::simd::{self, single};
use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// `f64`, or `f32` for networks. Whoever writes an ordinary model or family never meets it: every
/// trait that has it defaults to `f64`.
///
/// ```
/// use elbo::Scalar;
/// assert_eq!(f32::from_f64(0.5).to_f64(), 0.5);
/// ```
pub trait Scalar:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + Sum
{
    /// Rounds to this type.
    fn from_f64(x: f64) -> Self;
    /// Widens to `f64`.
    fn to_f64(self) -> f64;
    /// `e^x`
    fn exp(self) -> Self;
    /// `out_i = e^(x_i)` for each `i`, several at a time.
    #[doc(hidden)]
    fn exp_to(x: &[Self], out: &mut [Self]);
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Whether this is neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Size without sign.
    fn abs(self) -> Self;
    /// `e^x`, where overflow cannot be: for `f32` of limited range, and vectorised in a loop.
    #[doc(hidden)]
    fn quick_exp(self) -> Self;
    /// `tanh x`, for `f32` vectorised in a loop.
    #[doc(hidden)]
    fn quick_tanh(self) -> Self;
    /// `(1 / (1 + e^-x), ln(1 + e^x))`, for `f32` vectorised in a loop.
    #[doc(hidden)]
    fn sigmoid_softplus(self) -> (Self, Self);
}

macro_rules! scalar {
    ($t:ty, $exp_to:expr, $exp:expr, $tanh:expr, $pair:expr) => {
        impl Scalar for $t {
            fn from_f64(x: f64) -> $t {
                x as $t
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn exp(self) -> $t {
                <$t>::exp(self)
            }
            fn exp_to(x: &[$t], out: &mut [$t]) {
                $exp_to(x, out);
            }
            fn ln(self) -> $t {
                <$t>::ln(self)
            }
            fn sqrt(self) -> $t {
                <$t>::sqrt(self)
            }
            fn is_finite(self) -> bool {
                <$t>::is_finite(self)
            }
            #[inline(always)]
            fn abs(self) -> $t {
                <$t>::abs(self)
            }
            #[inline(always)]
            fn quick_exp(self) -> $t {
                $exp(self)
            }
            #[inline(always)]
            fn quick_tanh(self) -> $t {
                $tanh(self)
            }
            #[inline(always)]
            fn sigmoid_softplus(self) -> ($t, $t) {
                $pair(self)
            }
        }
    };
}
scalar!(
    f32,
    |x: &[f32], out: &mut [f32]| {
        out.iter_mut().zip(x).for_each(|(out, x)| *out = x.exp());
    },
    single::exp,
    single::tanh,
    single::sigmoid_softplus
);
scalar!(f64, simd::exp_to, f64::exp, f64::tanh, logistic_pair);

fn logistic_pair(x: f64) -> (f64, f64) {
    let e = (-x.abs()).exp();
    let near = 1.0 / (1.0 + e);
    (if x < 0.0 { e * near } else { near }, x.max(0.0) + e.ln_1p())
}
