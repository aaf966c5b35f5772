//! Elementary functions of one `f32`, written without branches so that a loop over them is vectorised:
//! sixteen at a time where there is AVX-512.
//!
//! Products and sums are rounded one by one, so that every machine gives the same bits. Each is
//! within a few units in the last place where it says nothing else; NaN in is NaN out.

/// `ln 2` in two parts, the first short enough for exact multiples.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `1.5 2^23`: adding it rounds to an integer, whose bits are then the lowest of the sum.
const ROUND: f32 = 12_582_912.0;

/// `x = n ln 2 + r`: the bits of `2^n`, and `e^r - 1`.
#[inline(always)]
fn parts(x: f32) -> (u32, f32) {
    let sum = x * std::f32::consts::LOG2_E + ROUND;
    let n = sum - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    // Taylor's series: what is left out is below r^8 / 8! < 6e-9 for |r| <= ln 2 / 2.
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    (sum.to_bits().wrapping_shl(23).wrapping_add(0x3f80_0000), p * r * r + r)
}

/// `e^x`; beyond `[-87, 88]` as at the nearer end, which is `1.6e-38` or `1.7e38`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let (power, p) = parts(x.clamp(-87.0, 88.0));
    let power = f32::from_bits(power);
    power * p + power
}

/// `tanh x`
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    // t = e^(-2 |x|) - 1, and tanh |x| = -t / (2 + t)
    let (power, p) = parts((-2.0 * x.abs()).clamp(-87.0, 0.0));
    let power = f32::from_bits(power);
    let t = power * p + (power - 1.0);
    (-t / (2.0 + t)).copysign(x)
}

/// `(1 / (1 + e^-x), e^-|x|)`
#[inline(always)]
fn sigmoid_and_decay(x: f32) -> (f32, f32) {
    let e = exp(-x.abs());
    let near = 1.0 / (1.0 + e);
    (if x < 0.0 { e * near } else { near }, e)
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    sigmoid_and_decay(x).0
}

/// `ln(1 + e)` for `0 <= e <= 1`.
#[inline(always)]
fn ln_1p(e: f32) -> f32 {
    // 2 atanh t for t = e / (2 + e) <= 1/3, whose series leaves out z^8 / 17 < 2e-9
    let t = e / (2.0 + e);
    let z = t * t;
    let p = 1.0 / 15.0;
    let p = p * z + 1.0 / 13.0;
    let p = p * z + 1.0 / 11.0;
    let p = p * z + 1.0 / 9.0;
    let p = p * z + 1.0 / 7.0;
    let p = p * z + 0.2;
    let p = p * z + 1.0 / 3.0;
    2.0 * t + 2.0 * t * z * p
}

/// `ln(1 + e^x)`
#[inline(always)]
pub(crate) fn softplus(x: f32) -> f32 {
    x.max(0.0) + ln_1p(exp(-x.abs()))
}

/// `(1 / (1 + e^-x), ln(1 + e^x))`, from one exponential.
#[inline(always)]
pub(crate) fn sigmoid_softplus(x: f32) -> (f32, f32) {
    let (sigmoid, e) = sigmoid_and_decay(x);
    (sigmoid, x.max(0.0) + ln_1p(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over the whole range, at 400 000 points, against `f64`.
    #[test]
    fn single_precision_functions_are_right() {
        let check = |name: &str, f: fn(f32) -> f32, g: fn(f64) -> f64, ulps: f64| {
            for i in -200_000..=200_000 {
                let x = i as f32 * 4e-4 + 1e-5 * (i % 7) as f32;
                let (got, want) = (f64::from(f(x)), g(f64::from(x)));
                let unit = f64::from(f32::EPSILON) * want.abs().max(f64::from(f32::MIN_POSITIVE));
                assert!((got - want).abs() <= ulps * unit, "{name}({x}) = {got}, not {want}");
            }
        };
        check("exp", exp, f64::exp, 3.0);
        check("tanh", tanh, f64::tanh, 4.0);
        check("sigmoid", sigmoid, |x| 1.0 / (1.0 + (-x).exp()), 4.0);
        check("softplus", softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), 4.0);
        check(
            "softplus",
            |x| sigmoid_softplus(x).1,
            |x| x.max(0.0) + (-x.abs()).exp().ln_1p(),
            4.0,
        );
    }

    #[test]
    fn not_a_number_stays_not_a_number_and_the_ends_are_finite() {
        for f in [exp, tanh, sigmoid, softplus] {
            assert!(f(f32::NAN).is_nan());
        }
        assert!(sigmoid_softplus(f32::NAN).0.is_nan() && sigmoid_softplus(f32::NAN).1.is_nan());
        let inf = f32::INFINITY;
        assert_eq!((tanh(inf), tanh(-inf), sigmoid(inf)), (1.0, -1.0, 1.0));
        assert!(sigmoid(-inf) < 2e-38 && exp(inf) > 1e38 && exp(inf).is_finite());
        assert_eq!(tanh(-1e-20), -1e-20);
    }
}
