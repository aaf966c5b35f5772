//! `Dual`: a number with its derivative in one direction, for small problems and Hessian products.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};
use std::sync::Arc;

use super::real::{Primitive, Real};

/// `re + eps * e` with `e^2 = 0`: carries the derivative of a formula along with its value.
///
/// ```
/// use elbo::autodiff::{Dual, Real};
/// let x = Dual::variable(2.0);
/// assert_eq!((x * x + 1.0).eps, 4.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dual {
    /// The value.
    pub re: f64,
    /// The derivative.
    pub eps: f64,
}

impl Dual {
    /// The number the derivative is taken in: slope 1.
    pub fn variable(re: f64) -> Dual {
        Dual { re, eps: 1.0 }
    }

    /// `f(self)` given the value and slope of `f` at `self.re`. A zero direction stays zero even
    /// where the slope is infinite.
    fn chain(self, value: f64, slope: f64) -> Dual {
        Dual { re: value, eps: if self.eps == 0.0 { 0.0 } else { self.eps * slope } }
    }
}

impl From<f64> for Dual {
    fn from(re: f64) -> Dual {
        Dual { re, eps: 0.0 }
    }
}

impl Neg for Dual {
    type Output = Dual;
    fn neg(self) -> Dual {
        Dual { re: -self.re, eps: -self.eps }
    }
}
impl Add for Dual {
    type Output = Dual;
    fn add(self, o: Dual) -> Dual {
        Dual { re: self.re + o.re, eps: self.eps + o.eps }
    }
}
impl Sub for Dual {
    type Output = Dual;
    fn sub(self, o: Dual) -> Dual {
        Dual { re: self.re - o.re, eps: self.eps - o.eps }
    }
}
impl Mul for Dual {
    type Output = Dual;
    fn mul(self, o: Dual) -> Dual {
        Dual { re: self.re * o.re, eps: self.eps * o.re + self.re * o.eps }
    }
}
impl Div for Dual {
    type Output = Dual;
    fn div(self, o: Dual) -> Dual {
        let re = self.re / o.re;
        Dual { re, eps: (self.eps - re * o.eps) / o.re }
    }
}
impl Add<f64> for Dual {
    type Output = Dual;
    fn add(self, o: f64) -> Dual {
        Dual { re: self.re + o, ..self }
    }
}
impl Sub<f64> for Dual {
    type Output = Dual;
    fn sub(self, o: f64) -> Dual {
        Dual { re: self.re - o, ..self }
    }
}
impl Mul<f64> for Dual {
    type Output = Dual;
    fn mul(self, o: f64) -> Dual {
        Dual { re: self.re * o, eps: self.eps * o }
    }
}
impl Div<f64> for Dual {
    type Output = Dual;
    fn div(self, o: f64) -> Dual {
        Dual { re: self.re / o, eps: self.eps / o }
    }
}
impl AddAssign for Dual {
    fn add_assign(&mut self, o: Dual) {
        *self = *self + o;
    }
}
impl SubAssign for Dual {
    fn sub_assign(&mut self, o: Dual) {
        *self = *self - o;
    }
}
impl MulAssign for Dual {
    fn mul_assign(&mut self, o: Dual) {
        *self = *self * o;
    }
}
impl AddAssign<f64> for Dual {
    fn add_assign(&mut self, o: f64) {
        self.re += o;
    }
}
impl Sum for Dual {
    fn sum<I: Iterator<Item = Dual>>(iter: I) -> Dual {
        iter.fold(Dual::from(0.0), |a, b| a + b)
    }
}

impl Real for Dual {
    fn exp(self) -> Dual {
        let e = self.re.exp();
        self.chain(e, e)
    }
    fn ln(self) -> Dual {
        self.chain(self.re.ln(), 1.0 / self.re)
    }
    fn ln_1p(self) -> Dual {
        self.chain(self.re.ln_1p(), 1.0 / (1.0 + self.re))
    }
    fn exp_m1(self) -> Dual {
        self.chain(self.re.exp_m1(), self.re.exp())
    }
    fn sqrt(self) -> Dual {
        let r = self.re.sqrt();
        self.chain(r, 0.5 / r)
    }
    fn sin(self) -> Dual {
        self.chain(self.re.sin(), self.re.cos())
    }
    fn cos(self) -> Dual {
        self.chain(self.re.cos(), -self.re.sin())
    }
    fn tanh(self) -> Dual {
        let t = self.re.tanh();
        self.chain(t, 1.0 - t * t)
    }
    fn atan(self) -> Dual {
        self.chain(self.re.atan(), 1.0 / (1.0 + self.re * self.re))
    }
    fn powf(self, p: f64) -> Dual {
        self.chain(self.re.powf(p), if p == 0.0 { 0.0 } else { p * self.re.powf(p - 1.0) })
    }
    fn sigmoid(self) -> Dual {
        let s = self.re.sigmoid();
        self.chain(s, s * (-self.re).sigmoid())
    }
    fn softplus(self) -> Dual {
        self.chain(self.re.softplus(), self.re.sigmoid())
    }
    fn log_normal_cdf(self) -> Dual {
        self.chain(self.re.log_normal_cdf(), crate::special::inverse_mills(self.re))
    }
    fn log_gamma(self) -> Dual {
        self.chain(self.re.log_gamma(), self.re.polygamma(0))
    }
    fn polygamma(self, n: u32) -> Dual {
        self.chain(self.re.polygamma(n), self.re.polygamma(n + 1))
    }
    fn abs(self) -> Dual {
        self.chain(self.re.abs(), if self.re == 0.0 { 0.0 } else { self.re.signum() })
    }
    fn max(self, o: Dual) -> Dual {
        if self.re >= o.re || self.re.is_nan() { self } else { o }
    }
    fn min(self, o: Dual) -> Dual {
        if self.re <= o.re || self.re.is_nan() { self } else { o }
    }
    fn if_positive(self, yes: Dual, no: Dual) -> Dual {
        if self.re > 0.0 { yes } else { no }
    }
    fn log_indicator(self, low: f64, high: f64) -> Dual {
        Dual::from(self.re.log_indicator(low, high))
    }
    fn ln_1p_square(self) -> Dual {
        self.chain(self.re.ln_1p_square(), 2.0 * over_one_plus_square(self.re))
    }
    fn times_ln(self, x: Dual) -> Dual {
        let slope = if x.re > 0.0 { self.eps * x.re.ln() + x.eps * self.re / x.re } else { 0.0 };
        Dual { re: self.re.times_ln(x.re), eps: slope }
    }
    fn times_ln_1p(self, x: Dual) -> Dual {
        let inside = 1.0 + x.re;
        let slope =
            if inside > 0.0 { self.eps * x.re.ln_1p() + x.eps * self.re / inside } else { 0.0 };
        Dual { re: self.re.times_ln_1p(x.re), eps: slope }
    }
    fn primitive<P: Primitive + 'static>(x: &[Dual], operation: &Arc<P>) -> Dual {
        let point: Vec<f64> = x.iter().map(|x| x.re).collect();
        let mut grad = vec![0.0; x.len()];
        let re = operation.value_grad(&point, &mut grad);
        Dual { re, eps: x.iter().zip(&grad).map(|(x, g)| x.eps * g).sum() }
    }
    fn log_sum_exp(x: &[Dual]) -> Dual {
        let values: Vec<f64> = x.iter().map(|x| x.re).collect();
        let re = f64::log_sum_exp(&values);
        // What is not there, or does not move, adds nothing, whatever the sum is.
        let moves = x.iter().filter(|x| x.eps != 0.0 && x.re != f64::NEG_INFINITY);
        Dual { re, eps: moves.map(|x| x.eps * (x.re - re).exp()).sum() }
    }
}

/// `x / (1 + x^2)`, without overflow.
fn over_one_plus_square(x: f64) -> f64 {
    if x.abs() > 1.0 { 1.0 / (x + 1.0 / x) } else { x / (1.0 + x * x) }
}
