//! Two normals from two words of random bits (Box and Muller 1958).
//!
//! `sqrt(-2 ln u) (cos a, sin a)` with `u` uniform in (0, 1) and `a` on the circle. Only `+ - * /`,
//! `sqrt` and moves of bits are used, each rounded as IEEE 754 says and none of them fused: the same
//! numbers on every machine and at every register width. No branches, so a loop of it is vectorised.

/// The bits of 1, and those of `sqrt(1/2)`.
const ONE: u64 = 0x3ff0_0000_0000_0000;
const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;

/// The two normals.
#[inline(always)]
pub(super) fn box_muller(radius: u64, angle: u64) -> (f64, f64) {
    let (cos, sin) = octants(angle);
    // One bit more: the circle's other half.
    let r = f64::from_bits((-2.0 * ln_uniform(radius)).sqrt().to_bits() | (angle << 62) & 1 << 63);
    (r * cos, r * sin)
}

/// `ln u` for `u` the odd multiples of `2^-53` below 1, equally likely: so `sqrt(-2 ln u)` reaches
/// from 1.5e-8 to 8.57.
#[inline(always)]
pub(super) fn ln_uniform(bits: u64) -> f64 {
    // (2 atanh(t) - 2 t) / t^3 in powers of t^2 for |t| <= 0.1716, to 2e-18 of atanh t
    const ATANH: [f64; 7] = [
        0.666_666_666_666_673_5,
        0.399_999_999_994_128_9,
        0.285_714_287_428_245_56,
        0.222_221_985_246_376,
        0.181_835_670_308_289_87,
        0.153_139_769_368_197_73,
        0.147_967_285_231_925_93,
    ];
    let u = f64::from_bits(bits >> 12 | ONE) - (1.0 - f64::EPSILON / 2.0);
    // u = 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt 2
    let shifted = u.to_bits() + (ONE - SQRT_HALF);
    let k = f64::from_bits(shifted >> 52 | 0x433 << 52) - ((1u64 << 52) + 1023) as f64;
    let f = f64::from_bits((shifted & ((1 << 52) - 1)) + SQRT_HALF) - 1.0;
    let t = f / (2.0 + f);
    let (z, p) = (t * t, ATANH);
    let square = z * z;
    let even = ((p[6] * square + p[4]) * square + p[2]) * square + p[0];
    let odd = (p[5] * square + p[3]) * square + p[1];
    let series = t * (z * (odd * z + even));
    k * std::f64::consts::LN_2 + (series + (t + t))
}

/// A point on one half of the circle: a right angle about the x axis or, by the lowest bit, the y
/// axis.
#[inline(always)]
pub(super) fn octants(bits: u64) -> (f64, f64) {
    // (sin(pi w / 2) / w - pi / 2) / w^2 and (cos(pi w / 2) - 1) / w^2 in powers of w^2 for
    // |w| <= 1/2, to 6e-17 of the result
    const SIN: [f64; 6] = [
        -0.645_964_097_506_245,
        0.079_692_626_246_062_73,
        -0.004_681_754_132_616_261,
        0.000_160_441_152_598_432_66,
        -3.598_649_340_378_966e-6,
        5.634_675_039_344_617e-8,
    ];
    const COS: [f64; 6] = [
        -1.233_700_550_136_157,
        0.253_669_507_900_052_94,
        -0.020_863_480_737_573_912,
        0.000_919_259_967_759_536_6,
        -2.520_019_241_871_377_8e-5,
        4.656_003_823_564_167e-7,
    ];
    // The odd multiples of 2^-52 between -1/2 and 1/2.
    let w = f64::from_bits(bits >> 12 | ONE | 1) - 1.5;
    let z = w * w;
    let square = z * z;
    let in_pairs = |p: &[f64; 6]| {
        let even = (p[4] * square + p[2]) * square + p[0];
        let odd = (p[5] * square + p[3]) * square + p[1];
        odd * z + even
    };
    let sin = w * (in_pairs(&SIN) * z + std::f64::consts::FRAC_PI_2);
    let cos = in_pairs(&COS) * z + 1.0;
    if bits & 1 == 0 { (cos, sin) } else { (sin, cos) }
}
