//! What a register's bits are taken apart and put together with.

use pulp::{Simd, bytemuck};

/// `1.5 2^52`: adding it rounds to an integer, whose bits are then the lowest of the sum.
pub(super) const ROUND: f64 = 6_755_399_441_055_744.0;

/// The bits of 1.
const ONE: u64 = 0x3ff0_0000_0000_0000;

/// Whether a mask holds anywhere.
#[inline(always)]
pub(crate) fn any<S: Simd>(s: S, mask: S::m64s) -> bool {
    if size_of::<S::m64s>() == size_of::<S::u64s>() {
        let lanes: S::u64s = bytemuck::cast(mask);
        let lanes = bytemuck::cast_slice::<S::u64s, u64>(std::slice::from_ref(&lanes));
        lanes.iter().fold(0, |or, &lane| or | lane) != 0
    } else {
        s.first_true_m64s(mask) != S::F64_LANES
    }
}

/// `a b + c`, rounded once where that is as fast.
#[inline(always)]
pub(super) fn fma<S: Simd>(s: S, a: S::f64s, b: S::f64s, c: f64) -> S::f64s {
    s.mul_add_e_f64s(a, b, s.splat_f64s(c))
}

/// The power of two whose exponent the lowest bits hold, `-1023 < exponent < 1024`.
#[inline(always)]
pub(super) fn power_of_two<S: Simd>(s: S, exponent: S::u64s) -> S::f64s {
    let shifted = s.mul_u64s(exponent, s.splat_u64s(1 << 52));
    s.transmute_f64s_u64s(s.add_u64s(shifted, s.splat_u64s(ONE)))
}

/// A positive number with `low` as the bits of a number in `(1/2, 1)` taken apart: `k` and `f` with
/// `x = 2^k (1 + f)` and `low <= 1 + f < 2 low`, and the power of two `2^-k`, all exact.
#[inline(always)]
pub(super) fn split<S: Simd>(s: S, x: S::f64s, low: u64) -> (S::f64s, S::f64s, S::f64s) {
    let bits = s.add_u64s(s.transmute_u64s_f64s(x), s.splat_u64s(ONE - low));
    let exponent = s.and_u64s(bits, s.splat_u64s(0x7ff << 52));
    let mantissa = s.and_u64s(bits, s.splat_u64s((1 << 52) - 1));
    let mantissa = s.transmute_f64s_u64s(s.add_u64s(mantissa, s.splat_u64s(low)));
    let inverse = s.sub_u64s(s.splat_u64s(2046 << 52), exponent);
    (unbiased(s, exponent), s.sub_f64s(mantissa, s.splat_f64s(1.0)), s.transmute_f64s_u64s(inverse))
}

/// The exponent, less 1023, as a number.
#[inline(always)]
fn unbiased<S: Simd>(s: S, exponent: S::u64s) -> S::f64s {
    if size_of::<S::u32s>() == size_of::<S::u64s>() {
        // Shifted within the upper half, and put into the fraction of 2^52.
        let halves: S::u32s = bytemuck::cast(exponent);
        let halves = s.wrapping_dyn_shr_u32s(halves, s.splat_u32s(20));
        let fraction: S::u64s = bytemuck::cast(halves);
        let number = s.or_u64s(fraction, s.splat_u64s(0x433 << 52));
        let bias = (1u64 << 52) as f64 + 1023.0 * (1u64 << 32) as f64;
        let number = s.sub_f64s(s.transmute_f64s_u64s(number), s.splat_f64s(bias));
        s.mul_f64s(number, s.splat_f64s(1.0 / (1u64 << 32) as f64))
    } else {
        let lane: u64 = bytemuck::cast(exponent);
        bytemuck::cast((lane >> 52) as f64 - 1023.0)
    }
}

/// `x` with the sign of `of`, where `x` has it already or is a zero.
#[inline(always)]
pub(super) fn with_sign_of<S: Simd>(s: S, x: S::f64s, of: S::f64s) -> S::f64s {
    s.or_f64s(x, s.and_f64s(of, s.splat_f64s(-0.0)))
}
