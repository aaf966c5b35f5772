//! `e^x` and what comes of it at once: `x = n ln 2 + r`, a polynomial in `r`, a power of two.

use std::f64::consts::LOG2_E;

use pulp::Simd;

use super::bits::{ROUND, any, fma, power_of_two, with_sign_of};

/// `ln 2` in two parts; the first has 32 bits, so that a multiple by an exponent is exact.
pub(super) const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
pub(super) const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// `(e^r - 1 - r) / r^2` for `|r| <= ln 2 / 2`, to 4e-18 of `e^r` (a minimax polynomial).
const EXP: [f64; 10] = [
    0.500_000_000_000_001_1,
    0.166_666_666_666_664_1,
    0.041_666_666_666_529_725,
    0.008_333_333_333_494_985,
    0.001_388_888_894_376_000_8,
    0.000_198_412_695_057_585_49,
    2.480_149_294_954_780_8e-5,
    2.755_758_681_647_723e-6,
    2.763_030_628_930_775_5e-7,
    2.500_001_506_541_835e-8,
];

/// The same to 3e-19 of `e^r - 1`.
const EXP_M1: [f64; 11] = [
    0.5,
    0.166_666_666_666_666_77,
    0.041_666_666_666_666_505,
    0.008_333_333_333_321_653,
    0.001_388_888_888_896_26,
    0.000_198_412_698_860_735_34,
    2.480_158_717_224_052_5e-5,
    2.755_724_425_408_015_5e-6,
    2.755_740_276_689_168e-7,
    2.510_902_450_712_043e-8,
    2.087_533_151_363_491e-9,
];

/// Beyond this size a power of two or the result may leave the normal range.
const ORDINARY: f64 = 708.0;

/// `x = n ln 2 + r` with an integer `n`, which comes as a number and as lowest bits.
#[inline(always)]
fn reduce<S: Simd>(s: S, x: S::f64s) -> (S::f64s, S::u64s, S::f64s) {
    let sum = fma(s, x, s.splat_f64s(LOG2_E), ROUND);
    let n = s.sub_f64s(sum, s.splat_f64s(ROUND));
    let r = s.negate_mul_add_e_f64s(n, s.splat_f64s(LN_2_HIGH), x);
    let r = s.negate_mul_add_e_f64s(n, s.splat_f64s(LN_2_LOW), r);
    (n, s.transmute_u64s_f64s(sum), r)
}

/// `e^r - 1` for a reduced `r`: `r + r^2 p(r)`, in two chains of multiplications.
#[inline(always)]
fn reduced_exp_m1<S: Simd, const N: usize>(s: S, r: S::f64s, p: &[f64; N]) -> S::f64s {
    let square = s.mul_f64s(r, r);
    let (mut even, mut odd) = (s.splat_f64s(p[N - 1]), s.splat_f64s(p[N - 2]));
    for k in (0..N - 2).rev() {
        (even, odd) = (odd, fma(s, even, square, p[k]));
    }
    // `odd` holds the terms from p[0], `even` those from p[1].
    let sum = s.mul_add_e_f64s(even, r, odd);
    s.mul_add_e_f64s(square, sum, r)
}

/// `e^x`
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::f64s) -> S::f64s {
    let (n, bits, r) = reduce(s, x);
    let p = s.add_f64s(reduced_exp_m1(s, r, &EXP), s.splat_f64s(1.0));
    let extreme = s.greater_than_f64s(s.abs_f64s(x), s.splat_f64s(ORDINARY));
    if any(s, extreme) {
        return scale_in_two(s, x, n, bits, p);
    }
    s.mul_f64s(p, power_of_two(s, bits))
}

/// `2^n p` in two steps, each of which stays in range; infinity and 0 where `x` is far out.
#[inline(always)]
fn scale_in_two<S: Simd>(s: S, x: S::f64s, n: S::f64s, bits: S::u64s, p: S::f64s) -> S::f64s {
    let half = s.transmute_u64s_f64s(fma(s, n, s.splat_f64s(0.5), ROUND));
    let other = s.sub_u64s(bits, half);
    let y = s.mul_f64s(s.mul_f64s(p, power_of_two(s, half)), power_of_two(s, other));
    let high = s.greater_than_f64s(x, s.splat_f64s(710.0));
    let low = s.less_than_f64s(x, s.splat_f64s(-746.0));
    let y = s.select_f64s(high, s.splat_f64s(f64::INFINITY), y);
    s.select_f64s(low, s.splat_f64s(0.0), y)
}

/// `e^x - 1`, accurate near 0.
#[inline(always)]
pub(crate) fn exp_m1<S: Simd>(s: S, x: S::f64s) -> S::f64s {
    let (n, bits, r) = reduce(s, x);
    let p = reduced_exp_m1(s, r, &EXP_M1);
    let extreme = s.greater_than_f64s(s.abs_f64s(x), s.splat_f64s(ORDINARY));
    let power = power_of_two(s, bits);
    let one = s.splat_f64s(1.0);
    let y = with_sign_of(s, s.mul_add_e_f64s(power, p, s.sub_f64s(power, one)), x);
    if any(s, extreme) {
        let large = scale_in_two(s, x, n, bits, s.add_f64s(p, one));
        return s.select_f64s(extreme, s.sub_f64s(large, one), y);
    }
    y
}

/// `tanh x`, to four units in the last place.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::f64s) -> S::f64s {
    // t = e^(-2 |x|) - 1, and tanh |x| = -t / (2 + t)
    let t = exp_m1(s, s.mul_f64s(s.abs_f64s(x), s.splat_f64s(-2.0)));
    let y = s.div_f64s(s.abs_f64s(t), s.add_f64s(s.splat_f64s(2.0), t));
    with_sign_of(s, y, x)
}
