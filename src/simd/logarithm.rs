//! `ln x`: `x = 2^k (1 + f)` and a polynomial in `s = f / (2 + f)`, since
//! `ln(1 + f) = 2 atanh s = 2 s + 2 s^3 / 3 + ...`.

use pulp::Simd;

use super::bits::{any, split};
use super::exponential::{LN_2_HIGH, LN_2_LOW};

/// `(2 atanh(s) - 2 s) / s^3` in powers of `z = s^2` for `|s| <= 0.1716`, to 2e-18 of `atanh s`
/// (a minimax polynomial).
const ATANH: [f64; 7] = [
    0.666_666_666_666_673_5,
    0.399_999_999_994_128_9,
    0.285_714_287_428_245_56,
    0.222_221_985_246_376,
    0.181_835_670_308_289_87,
    0.153_139_769_368_197_73,
    0.147_967_285_231_925_93,
];

/// The bits of `sqrt(1/2)`.
const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;

/// `k ln 2 + ln(1 + f)` for `sqrt(1/2) <= 1 + f < sqrt 2`.
#[inline(always)]
fn ln_of_parts<S: Simd>(s: S, k: S::f64s, f: S::f64s) -> S::f64s {
    let half_square = s.mul_f64s(s.mul_f64s(f, s.splat_f64s(0.5)), f);
    let t = s.div_f64s(f, s.add_f64s(s.splat_f64s(2.0), f));
    let z = s.mul_f64s(t, t);
    let square = s.mul_f64s(z, z);
    let c = |k: usize| s.splat_f64s(ATANH[k]);
    let even = s.mul_add_e_f64s(c(6), square, c(4));
    let even = s.mul_add_e_f64s(even, square, c(2));
    let even = s.mul_add_e_f64s(even, square, c(0));
    let odd = s.mul_add_e_f64s(c(5), square, c(3));
    let odd = s.mul_add_e_f64s(odd, square, c(1));
    let series = s.mul_f64s(z, s.mul_add_e_f64s(odd, z, even));
    // f - f^2 / 2 leads and is nearly exact; what remains is small.
    let low = s.mul_f64s(k, s.splat_f64s(LN_2_LOW));
    let rest = s.mul_add_e_f64s(t, s.add_f64s(half_square, series), low);
    let small = s.sub_f64s(f, s.sub_f64s(half_square, rest));
    s.mul_add_e_f64s(k, s.splat_f64s(LN_2_HIGH), small)
}

/// Natural logarithm: negative infinity at 0, NaN below.
#[inline(always)]
pub(crate) fn ln<S: Simd>(s: S, x: S::f64s) -> S::f64s {
    let normal = s.and_m64s(
        s.greater_than_or_equal_f64s(x, s.splat_f64s(f64::MIN_POSITIVE)),
        s.less_than_or_equal_f64s(x, s.splat_f64s(f64::MAX)),
    );
    if any(s, s.not_m64s(normal)) {
        return ln_anywhere(s, x);
    }
    let (k, f, _) = split(s, x, SQRT_HALF);
    ln_of_parts(s, k, f)
}

/// [`ln`] with all its cases.
#[inline(always)]
fn ln_anywhere<S: Simd>(s: S, x: S::f64s) -> S::f64s {
    let zero = s.splat_f64s(0.0);
    let subnormal = s.less_than_f64s(x, s.splat_f64s(f64::MIN_POSITIVE));
    let scaled = s.mul_f64s(x, s.splat_f64s((1u64 << 54) as f64));
    let (k, f, _) = split(s, s.select_f64s(subnormal, scaled, x), SQRT_HALF);
    let k = s.sub_f64s(k, s.select_f64s(subnormal, s.splat_f64s(54.0), zero));
    let y = ln_of_parts(s, k, f);
    // Infinity and NaN are themselves.
    let finite = s.less_than_or_equal_f64s(x, s.splat_f64s(f64::MAX));
    let y = s.select_f64s(finite, y, x);
    let y = s.select_f64s(s.equal_f64s(x, zero), s.splat_f64s(f64::NEG_INFINITY), y);
    s.select_f64s(s.less_than_f64s(x, zero), s.splat_f64s(f64::NAN), y)
}

/// `ln(1 + x)`, accurate near 0: negative infinity at -1, NaN below.
#[inline(always)]
pub(crate) fn ln_1p<S: Simd>(s: S, x: S::f64s) -> S::f64s {
    const LARGE: f64 = 1e300;
    let one = s.splat_f64s(1.0);
    let ordinary = s.and_m64s(
        s.greater_than_f64s(x, s.splat_f64s(-1.0)),
        s.less_than_f64s(x, s.splat_f64s(LARGE)),
    );
    // u + lost = 1 + x exactly
    let u = s.add_f64s(one, x);
    let back = s.sub_f64s(u, one);
    let lost = s.add_f64s(s.sub_f64s(one, s.sub_f64s(u, back)), s.sub_f64s(x, back));
    let (k, f, inverse) = split(s, u, SQRT_HALF);
    let f = s.mul_add_e_f64s(lost, inverse, f);
    // The sign of a zero, which k ln 2 would lose.
    let y = super::bits::with_sign_of(s, ln_of_parts(s, k, f), x);
    if any(s, s.not_m64s(ordinary)) {
        let minus_one = s.splat_f64s(-1.0);
        let large = s.greater_than_or_equal_f64s(x, s.splat_f64s(LARGE));
        let y = s.select_f64s(large, ln_anywhere(s, x), y);
        let pole = s.equal_f64s(x, minus_one);
        let y = s.select_f64s(pole, s.splat_f64s(f64::NEG_INFINITY), y);
        // What is not ordered with -1 is NaN, as what is below it becomes.
        let inside = s.greater_than_or_equal_f64s(x, minus_one);
        return s.select_f64s(inside, y, s.splat_f64s(f64::NAN));
    }
    y
}
