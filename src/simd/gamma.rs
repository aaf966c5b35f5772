//! The gamma function's logarithm and its slope, for positive numbers up to 1e30: eight steps up by
//! the recurrence, all in one division, then the asymptotic series (Abramowitz and Stegun 1964,
//! 6.1.41 and 6.3.18).

use pulp::Simd;

use super::exponential::exp;
use super::logarithm::ln;
use crate::special::LN_SQRT_2PI;

/// `B_2k / (2k)` with the sign of the series: the first left out is below 2e-16 from 8 on.
const DIGAMMA: [f64; 8] = [
    -1.0 / 12.0,
    1.0 / 120.0,
    -1.0 / 252.0,
    1.0 / 240.0,
    -1.0 / 132.0,
    691.0 / 32_760.0,
    -1.0 / 12.0,
    3_617.0 / 8_160.0,
];

/// `B_2k / (2k (2k - 1))`: the first left out is below 1e-16 from 8 on.
const STIRLING: [f64; 8] = [
    1.0 / 12.0,
    -1.0 / 360.0,
    1.0 / 1260.0,
    -1.0 / 1680.0,
    1.0 / 1188.0,
    -691.0 / 360_360.0,
    1.0 / 156.0,
    -3617.0 / 122_400.0,
];

/// `x (x + 1) .. (x + 7)` and the sum of the reciprocals of its factors. With `u = x (x + 7)` the
/// factors pair up: the product is `u (u + 6) (u + 10) (u + 12)`, the sum `2 x + 7` times the
/// logarithmic slope of that in `u`. Nothing cancels.
#[inline(always)]
fn rise<S: Simd>(s: S, x: S::f64s) -> (S::f64s, S::f64s) {
    let c = |c: f64| s.splat_f64s(c);
    let u = s.mul_f64s(x, s.add_f64s(x, c(7.0)));
    let product = s.mul_f64s(
        s.mul_f64s(u, s.add_f64s(u, c(6.0))),
        s.mul_f64s(s.add_f64s(u, c(10.0)), s.add_f64s(u, c(12.0))),
    );
    let slope = s.mul_add_e_f64s(u, c(4.0), c(84.0));
    let slope = s.mul_add_e_f64s(u, slope, c(504.0));
    let slope = s.mul_add_e_f64s(u, slope, c(720.0));
    let sum = s.mul_f64s(s.mul_add_e_f64s(x, c(2.0), c(7.0)), slope);
    (product, s.div_f64s(sum, product))
}

/// `z p(z)` less its first factor, in powers of `z`.
#[inline(always)]
fn series<S: Simd>(s: S, z: S::f64s, p: &[f64; 8]) -> S::f64s {
    let mut sum = s.splat_f64s(p[7]);
    for &c in p[..7].iter().rev() {
        sum = s.mul_add_e_f64s(sum, z, s.splat_f64s(c));
    }
    sum
}

/// `y = x + 8`, `1 / y`, and `psi(x) - ln y`.
#[inline(always)]
fn digamma_parts<S: Simd>(s: S, x: S::f64s, reciprocals: S::f64s) -> [S::f64s; 3] {
    let y = s.add_f64s(x, s.splat_f64s(8.0));
    let inverse = s.div_f64s(s.splat_f64s(1.0), y);
    let square = s.mul_f64s(inverse, inverse);
    let rest = s.mul_add_e_f64s(
        inverse,
        s.splat_f64s(-0.5),
        s.mul_f64s(square, series(s, square, &DIGAMMA)),
    );
    [y, inverse, s.sub_f64s(rest, reciprocals)]
}

/// `psi(x)`, the slope of `ln Gamma`, and `ln Gamma(x)`: to 1e-14 absolute below 10, and to four
/// units of `x ln x` above.
#[inline(always)]
pub(crate) fn digamma_and_log_gamma<S: Simd>(s: S, x: S::f64s) -> (S::f64s, S::f64s) {
    let (product, reciprocals) = rise(s, x);
    let [y, inverse, rest] = digamma_parts(s, x, reciprocals);
    let log = ln(s, y);
    let error = s.mul_f64s(inverse, series(s, s.mul_f64s(inverse, inverse), &STIRLING));
    let large = s.sub_f64s(s.mul_f64s(s.sub_f64s(y, s.splat_f64s(0.5)), log), y);
    let small = s.add_f64s(error, s.splat_f64s(LN_SQRT_2PI));
    let value = s.sub_f64s(s.add_f64s(large, small), ln(s, product));
    (s.add_f64s(log, rest), value)
}

/// `psi(x)`
#[inline(always)]
pub(crate) fn digamma<S: Simd>(s: S, x: S::f64s) -> S::f64s {
    let (_, reciprocals) = rise(s, x);
    let [y, _, rest] = digamma_parts(s, x, reciprocals);
    s.add_f64s(ln(s, y), rest)
}

/// `ln Gamma(x)`
#[inline(always)]
pub(crate) fn log_gamma<S: Simd>(s: S, x: S::f64s) -> S::f64s {
    digamma_and_log_gamma(s, x).1
}

/// `e^psi(x)`: 0 where that is below the smallest number.
#[inline(always)]
pub(crate) fn exp_digamma<S: Simd>(s: S, x: S::f64s) -> S::f64s {
    let (_, reciprocals) = rise(s, x);
    let [y, _, rest] = digamma_parts(s, x, reciprocals);
    s.mul_f64s(y, exp(s, rest))
}
