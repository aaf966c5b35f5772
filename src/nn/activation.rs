//! `Activation`: what a layer does to each number, with its bias in the same pass; and the way back.

use pulp::{Simd, WithSimd};
use serde::{Deserialize, Serialize};

use crate::scalar::Scalar;
use crate::simd::dispatch;

/// A function applied to each number that leaves a layer.
///
/// ```
/// use elbo::nn::Activation;
/// assert_eq!(Activation::Relu.value(-2.0f64), 0.0);
/// assert!((Activation::Softplus.value(0.0f64) - 2f64.ln()).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Activation {
    /// `x`: of a last layer.
    Linear,
    /// `tanh x`
    Tanh,
    /// `max(x, 0)` (Nair and Hinton 2010); its slope at 0 is taken to be 0.
    Relu,
    /// `ln(1 + e^x)` (Dugas and others 2001)
    Softplus,
    /// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, close to `x` times the normal
    /// distribution function (Hendrycks and Gimpel 2016)
    Gelu,
}

impl Activation {
    /// The name, in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Linear => "linear",
            Activation::Tanh => "tanh",
            Activation::Relu => "relu",
            Activation::Softplus => "softplus",
            Activation::Gelu => "gelu",
        }
    }

    /// The function at `x`.
    pub fn value<T: Scalar>(self, x: T) -> T {
        let mut y = [x];
        self.forward(&mut y, 1, &[T::default()], &mut []);
        y[0]
    }

    /// Whether the slope needs the number before, not only the one after.
    pub(super) fn needs_before(self) -> bool {
        self == Activation::Gelu
    }

    /// `y = f(y + bias)` for `columns` numbers of each unit; also what came before `f` where the way
    /// back needs it.
    pub(super) fn forward<T: Scalar>(
        self,
        y: &mut [T],
        columns: usize,
        bias: &[T],
        before: &mut [T],
    ) {
        if self.needs_before() && !before.is_empty() {
            dispatch(Forward { y, columns, bias, f: Identity });
            before.copy_from_slice(y);
            let none = &[T::default()];
            return dispatch(Forward { columns: y.len(), y, bias: none, f: Gelu });
        }
        match self {
            Activation::Linear => dispatch(Forward { y, columns, bias, f: Identity }),
            Activation::Tanh => dispatch(Forward { y, columns, bias, f: Tanh }),
            Activation::Relu => dispatch(Forward { y, columns, bias, f: Relu }),
            Activation::Softplus => dispatch(Forward { y, columns, bias, f: Softplus }),
            Activation::Gelu => dispatch(Forward { y, columns, bias, f: Gelu }),
        }
    }

    /// `dy = f'(..) dy`, from what came after `f`, or before it where that is needed.
    pub(super) fn backward<T: Scalar>(self, dy: &mut [T], after: &[T], before: &[T]) {
        match self {
            Activation::Linear => {}
            Activation::Tanh => dispatch(Backward { dy, at: after, f: Tanh }),
            Activation::Relu => dispatch(Backward { dy, at: after, f: Relu }),
            Activation::Softplus => dispatch(Backward { dy, at: after, f: Softplus }),
            Activation::Gelu => dispatch(Backward { dy, at: before, f: Gelu }),
        }
    }
}

/// A function and its slope.
trait Function: Copy {
    fn value<T: Scalar>(self, x: T) -> T;
    /// The slope, from the value (or, for those that need it, from what came before).
    fn slope<T: Scalar>(self, y: T) -> T;
}

#[derive(Clone, Copy)]
struct Identity;
#[derive(Clone, Copy)]
struct Tanh;
#[derive(Clone, Copy)]
struct Relu;
#[derive(Clone, Copy)]
struct Softplus;
#[derive(Clone, Copy)]
struct Gelu;

impl Function for Identity {
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        x
    }
    #[inline(always)]
    fn slope<T: Scalar>(self, _: T) -> T {
        T::from_f64(1.0)
    }
}

impl Function for Tanh {
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        x.quick_tanh()
    }
    #[inline(always)]
    fn slope<T: Scalar>(self, y: T) -> T {
        T::from_f64(1.0) - y * y
    }
}

impl Function for Relu {
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        // keeps NaN
        if x < T::default() { T::default() } else { x }
    }
    #[inline(always)]
    fn slope<T: Scalar>(self, y: T) -> T {
        if y > T::default() { T::from_f64(1.0) } else { T::default() }
    }
}

impl Function for Softplus {
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        x.sigmoid_softplus().1
    }
    #[inline(always)]
    fn slope<T: Scalar>(self, y: T) -> T {
        // y = ln(1 + e^x): the slope is 1 - e^-y
        T::from_f64(1.0) - (-y).quick_exp()
    }
}

/// `sqrt(2 / pi)`, and the weight of the cube.
const GELU: [f64; 2] = [0.797_884_560_802_865_4, 0.044_715];

impl Function for Gelu {
    #[inline(always)]
    fn value<T: Scalar>(self, x: T) -> T {
        let [a, b] = GELU.map(T::from_f64);
        let t = (a * (x + b * x * x * x)).quick_tanh();
        T::from_f64(0.5) * x * (T::from_f64(1.0) + t)
    }
    #[inline(always)]
    fn slope<T: Scalar>(self, x: T) -> T {
        let ([a, b], one, half) = (GELU.map(T::from_f64), T::from_f64(1.0), T::from_f64(0.5));
        let t = (a * (x + b * x * x * x)).quick_tanh();
        let inner = a * (one + T::from_f64(3.0) * b * x * x);
        half * (one + t) + half * x * (one - t * t) * inner
    }
}

struct Forward<'a, T, F> {
    y: &'a mut [T],
    columns: usize,
    bias: &'a [T],
    f: F,
}

impl<T: Scalar, F: Function> WithSimd for Forward<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (y, &bias) in self.y.chunks_exact_mut(self.columns.max(1)).zip(self.bias) {
            for y in y {
                *y = self.f.value(*y + bias);
            }
        }
    }
}

struct Backward<'a, T, F> {
    dy: &'a mut [T],
    at: &'a [T],
    f: F,
}

impl<T: Scalar, F: Function> WithSimd for Backward<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (dy, &at) in self.dy.iter_mut().zip(self.at) {
            *dy *= self.f.slope(at);
        }
    }
}

/// Adds to `sums` the sum over the columns of each unit.
pub(super) fn add_sums<T: Scalar>(dy: &[T], columns: usize, sums: &mut [T]) {
    dispatch(Sums { dy, columns, sums });
}

struct Sums<'a, T> {
    dy: &'a [T],
    columns: usize,
    sums: &'a mut [T],
}

impl<T: Scalar> WithSimd for Sums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        const LANES: usize = 16;
        for (dy, sum) in self.dy.chunks_exact(self.columns.max(1)).zip(self.sums) {
            let (groups, rest) = dy.as_chunks::<LANES>();
            let mut lanes = [T::default(); LANES];
            for group in groups {
                for l in 0..LANES {
                    lanes[l] += group[l];
                }
            }
            let mut width = LANES / 2;
            while width > 0 {
                for l in 0..width {
                    lanes[l] += lanes[l + width];
                }
                width /= 2;
            }
            *sum += rest.iter().fold(lanes[0], |sum, &x| sum + x);
        }
    }
}
