//! The logistic function and its logarithm, each from one exponential of `-|x|`.

use pulp::Simd;

use super::exponential::exp;

/// `(2 atanh(s) - 2 s) / s^3` in powers of `z = s^2` for `|s| <= 1/3`, to 2e-18 of `atanh s`
/// (a minimax polynomial).
const ATANH: [f64; 10] = [
    0.666_666_666_666_663_1,
    0.400_000_000_001_572_43,
    0.285_714_285_478_541_05,
    0.222_222_239_697_198_23,
    0.181_817_439_252_421_7,
    0.153_865_599_178_093_48,
    0.133_009_736_393_517,
    0.121_060_859_329_358_42,
    0.083_401_025_607_150_44,
    0.170_185_738_885_297_03,
];

/// `e^(-|x|)`
#[inline(always)]
fn decay<S: Simd>(s: S, x: S::f64s) -> S::f64s {
    exp(s, s.or_f64s(x, s.splat_f64s(-0.0)))
}

/// `1 / (1 + e^-x)`, to three units in the last place.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::f64s) -> S::f64s {
    let one = s.splat_f64s(1.0);
    let e = decay(s, x);
    let negative = s.less_than_f64s(x, s.splat_f64s(0.0));
    s.div_f64s(s.select_f64s(negative, e, one), s.add_f64s(one, e))
}

/// `(ln(1 / (1 + e^-u)), 1 / (1 + e^u))`: the logistic log likelihood of a success at `u` and its
/// slope, from one exponential; each to three units in the last place.
#[inline(always)]
pub(crate) fn log_sigmoid_pair<S: Simd>(s: S, u: S::f64s) -> (S::f64s, S::f64s) {
    let (zero, one) = (s.splat_f64s(0.0), s.splat_f64s(1.0));
    let e = decay(s, u);
    let negative = s.less_than_f64s(u, zero);
    let slope = s.div_f64s(s.select_f64s(negative, one, e), s.add_f64s(one, e));
    let (t, p) = ln_1p_parts(s, e);
    (s.negate_mul_add_e_f64s(t, p, s.select_f64s(negative, u, zero)), slope)
}

/// `ln(1 + e^x)`, without overflow, to three units in the last place.
#[inline(always)]
pub(crate) fn softplus<S: Simd>(s: S, x: S::f64s) -> S::f64s {
    let zero = s.splat_f64s(0.0);
    let (t, p) = ln_1p_parts(s, decay(s, x));
    s.mul_add_e_f64s(t, p, s.select_f64s(s.greater_than_f64s(x, zero), x, zero))
}

/// Two factors of `ln(1 + e) = 2 atanh t` for `0 <= e <= 1`: `t = e / (2 + e)`, and a polynomial.
#[inline(always)]
fn ln_1p_parts<S: Simd>(s: S, e: S::f64s) -> (S::f64s, S::f64s) {
    let two = s.splat_f64s(2.0);
    let t = s.div_f64s(e, s.add_f64s(two, e));
    let z = s.mul_f64s(t, t);
    let square = s.mul_f64s(z, z);
    let (mut even, mut odd) = (s.splat_f64s(ATANH[8]), s.splat_f64s(ATANH[9]));
    for k in (0..4).rev() {
        even = s.mul_add_e_f64s(even, square, s.splat_f64s(ATANH[2 * k]));
        odd = s.mul_add_e_f64s(odd, square, s.splat_f64s(ATANH[2 * k + 1]));
    }
    (t, s.mul_add_e_f64s(s.mul_add_e_f64s(odd, z, even), z, two))
}
