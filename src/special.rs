//! Special functions that models and families need: statrs where it has them, ours where not.

use std::f64::consts::{PI, SQRT_2};

/// `ln(sqrt(2 pi))`
pub(crate) const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_8;

/// `ln Gamma(x)` for `x > 0`; NaN below 0.
pub(crate) fn log_gamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::INFINITY;
    }
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x == f64::INFINITY {
        return x;
    }
    statrs::function::gamma::ln_gamma(x)
}

/// The polygamma function of order `n` for `x > 0`: shift to large `x` by the recurrence, then the
/// asymptotic series (Abramowitz and Stegun 1964, 6.3.18 and 6.4.11).
pub(crate) fn polygamma(n: u32, mut x: f64) -> f64 {
    // Bernoulli numbers B_2, B_4, ...
    const BERNOULLI: [f64; 9] = [
        1.0 / 6.0,
        -1.0 / 30.0,
        1.0 / 42.0,
        -1.0 / 30.0,
        5.0 / 66.0,
        -691.0 / 2730.0,
        7.0 / 6.0,
        -3617.0 / 510.0,
        43867.0 / 798.0,
    ];
    if x.is_nan() || x <= 0.0 {
        return f64::NAN;
    }
    let order = n as i32;
    let factorial = |k: i32| (1..=k).map(f64::from).product::<f64>();
    let mut shifted = 0.0;
    while x < 12.0 + f64::from(n) {
        shifted += if n == 0 { -1.0 / x } else { x.powi(-order - 1) };
        x += 1.0;
    }
    if n == 0 {
        let mut sum = x.ln() - 0.5 / x;
        for (k, b) in BERNOULLI.iter().enumerate() {
            let two_k = 2 * (k as i32 + 1);
            sum -= b / (f64::from(two_k) * x.powi(two_k));
        }
        return sum + shifted;
    }
    let mut sum =
        factorial(order - 1) * x.powi(-order) + 0.5 * factorial(order) * x.powi(-order - 1);
    for (k, b) in BERNOULLI.iter().enumerate() {
        let two_k = 2 * (k as i32 + 1);
        // (2k + n - 1)! / (2k)!
        let ratio: f64 = (two_k + 1..two_k + order).map(f64::from).product();
        sum += b * ratio * x.powi(-two_k - order);
    }
    let sign = if n % 2 == 1 { 1.0 } else { -1.0 };
    sign * (sum + factorial(order) * shifted)
}

/// `ln Phi(x)`: the complementary error function in the centre, a continued fraction below -8.
pub(crate) fn log_normal_cdf(x: f64) -> f64 {
    if x > 5.0 {
        return (-0.5 * statrs::function::erf::erfc(x / SQRT_2)).ln_1p();
    }
    if x > -8.0 {
        return (0.5 * statrs::function::erf::erfc(-x / SQRT_2)).ln();
    }
    -0.5 * x * x - LN_SQRT_2PI - mills_denominator(-x).ln()
}

/// `phi(x) / Phi(x)`, the slope of `ln Phi`.
pub(crate) fn inverse_mills(x: f64) -> f64 {
    if x > -8.0 {
        return (-0.5 * x * x).exp()
            / (2.0 * PI).sqrt()
            / (0.5 * statrs::function::erf::erfc(-x / SQRT_2));
    }
    mills_denominator(-x)
}

/// `x + 1/(x + 2/(x + 3/(...)))` for `x >= 8`: Laplace's continued fraction of the normal tail.
fn mills_denominator(x: f64) -> f64 {
    (1..=60).rev().fold(x, |tail, k| x + f64::from(k) / tail)
}
