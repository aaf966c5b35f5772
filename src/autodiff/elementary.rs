//! Functions of one number over registers, each with its slope.

use pulp::{Simd, WithSimd, bytemuck};

use super::program::{Op, Replay, Want};
use super::real::Real;
use crate::simd;

/// `value_i = f(x_i)` and `slope_i = f'(x_i)`; one that is not asked for may be left as it was. The
/// slope alone is not finite where the value is not.
pub(super) struct Elementary<'a, S: Simd> {
    pub op: Op,
    pub param: f64,
    pub want: Want,
    pub x: &'a [S::f64s],
    pub value: &'a mut [S::f64s],
    pub slope: &'a mut [S::f64s],
}

/// The same in a function of its own: called, not copied, wherever it is needed.
#[inline(always)]
pub(super) fn elementary<S: Simd>(s: S, e: Elementary<'_, S>) {
    struct Call<'a, S: Simd>(S, Elementary<'a, S>);
    impl<S: Simd> WithSimd for Call<'_, S> {
        type Output = ();
        #[inline(always)]
        fn with_simd<Same: Simd>(self, _: Same) {
            self.1.run(self.0);
        }
    }
    s.vectorize(Call(s, e));
}

impl<S: Simd> Elementary<'_, S> {
    #[inline(always)]
    fn run(self, s: S) {
        let Elementary { op, param, want, x, value, slope } = self;
        macro_rules! each {
            ($x:ident => $pair:expr) => {
                for ((value, slope), &$x) in value.iter_mut().zip(slope).zip(x) {
                    (*value, *slope) = $pair;
                }
            };
        }
        let splat = |c: f64| s.splat_f64s(c);
        let (one, two) = (splat(1.0), splat(2.0));
        let nan_below = |x: S::f64s, limit: S::f64s, y: S::f64s| {
            s.select_f64s(s.less_than_f64s(x, limit), splat(f64::NAN), y)
        };
        match op {
            Op::Square => each!(x => (s.mul_f64s(x, x), s.add_f64s(x, x))),
            Op::ConstantOver => each!(x => {
                let y = s.div_f64s(splat(param), x);
                (y, s.neg_f64s(s.div_f64s(y, x)))
            }),
            Op::Exp => each!(x => {
                let y = simd::exp(s, x);
                (y, y)
            }),
            Op::Ln if want == Want::Gradients => {
                each!(x => (x, nan_below(x, splat(0.0), s.div_f64s(one, x))));
            }
            Op::Ln => each!(x => (simd::ln(s, x), nan_below(x, splat(0.0), s.div_f64s(one, x)))),
            Op::Ln1p if want == Want::Gradients => {
                each!(x => (x, nan_below(x, splat(-1.0), s.div_f64s(one, s.add_f64s(one, x)))));
            }
            Op::Ln1p => each!(x => {
                let slope = s.div_f64s(one, s.add_f64s(one, x));
                (simd::ln_1p(s, x), nan_below(x, splat(-1.0), slope))
            }),
            Op::ExpM1 if want == Want::Values => each!(x => (simd::exp_m1(s, x), x)),
            Op::ExpM1 => each!(x => (simd::exp_m1(s, x), simd::exp(s, x))),
            Op::Sqrt => each!(x => {
                let y = s.sqrt_f64s(x);
                (y, s.div_f64s(splat(0.5), y))
            }),
            Op::Tanh => each!(x => {
                let y = simd::tanh(s, x);
                (y, s.negate_mul_add_e_f64s(y, y, one))
            }),
            Op::Sigmoid if want == Want::Values => each!(x => (simd::sigmoid(s, x), x)),
            Op::Sigmoid => each!(x => {
                let (y, rest) = (simd::sigmoid(s, x), simd::sigmoid(s, s.neg_f64s(x)));
                (y, s.mul_f64s(y, rest))
            }),
            Op::Softplus => match want {
                Want::Values => each!(x => (simd::softplus(s, x), x)),
                // the same bits as with the value, which the compiler drops
                Want::Gradients => each!(x => (x, simd::log_sigmoid_pair(s, s.neg_f64s(x)).1)),
                Want::Both => each!(x => {
                    let (y, slope) = simd::log_sigmoid_pair(s, s.neg_f64s(x));
                    (s.neg_f64s(y), slope)
                }),
            },
            Op::Abs => each!(x => {
                let zero = s.equal_f64s(x, splat(0.0));
                let negative = s.less_than_f64s(x, splat(0.0));
                let sign = s.select_f64s(negative, splat(-1.0), one);
                // NaN stays NaN
                let sign = s.add_f64s(sign, s.sub_f64s(x, x));
                (s.abs_f64s(x), s.select_f64s(zero, x, sign))
            }),
            Op::Ln1pSquare => each!(x => {
                let size = s.abs_f64s(x);
                let far = s.greater_than_f64s(size, splat(1e8));
                let square = s.mul_f64s(x, x);
                let mut y = x;
                if want.values() {
                    y = simd::ln_1p(s, square);
                    if s.first_true_m64s(far) < S::F64_LANES {
                        y = s.select_f64s(far, s.mul_f64s(two, simd::ln(s, size)), y);
                    }
                }
                // 2 x / (1 + x^2)
                let under = s.select_f64s(far, x, s.add_f64s(one, square));
                let over = s.select_f64s(far, two, s.add_f64s(x, x));
                (y, s.div_f64s(over, under))
            }),
            Op::Sin => lanes(s, x, value, slope, |x| (x.sin(), x.cos())),
            Op::Cos => lanes(s, x, value, slope, |x| (x.cos(), -x.sin())),
            Op::Atan => lanes(s, x, value, slope, |x| (x.atan(), 1.0 / (x * x + 1.0))),
            Op::Power => lanes(s, x, value, slope, |x| {
                let slope = if param == 0.0 { 0.0 } else { x.powf(param - 1.0) * param };
                (x.powf(param), slope)
            }),
            Op::LogNormalCdf => {
                lanes(s, x, value, slope, |x| (x.log_normal_cdf(), Replay::inverse_mills(x)));
            }
            Op::LogGamma => lanes(s, x, value, slope, |x| (x.log_gamma(), x.polygamma(0))),
            Op::Polygamma => {
                let n = param as u32;
                lanes(s, x, value, slope, |x| (x.polygamma(n), x.polygamma(n + 1)));
            }
            _ => unreachable!("{op:?} is no function of one number"),
        }
    }
}

/// Number by number, for functions that have no form on registers.
#[inline(always)]
fn lanes<S: Simd>(
    _: S,
    x: &[S::f64s],
    value: &mut [S::f64s],
    slope: &mut [S::f64s],
    f: impl Fn(f64) -> (f64, f64),
) {
    let x: &[f64] = bytemuck::cast_slice(x);
    let value: &mut [f64] = bytemuck::cast_slice_mut(value);
    let slope: &mut [f64] = bytemuck::cast_slice_mut(slope);
    for ((value, slope), &x) in value.iter_mut().zip(slope).zip(x) {
        let (y, dy) = f(x);
        (*value, *slope) = (y, if y.is_finite() { dy } else { f64::NAN });
    }
}
