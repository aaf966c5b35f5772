//! Special functions that models and families need, to the last digits and in the tails.

/// `ln(sqrt(2 pi))`
pub(crate) const LN_SQRT_2PI: f64 = 0.918_938_533_204_672_8;

/// `ln Gamma(x)` for `x > 0`; NaN below 0. The power series about 2 (Abramowitz and Stegun 1964,
/// 6.1.33) where the value is small, so that its digits are not lost, and statrs elsewhere.
pub(crate) fn log_gamma(x: f64) -> f64 {
    if x.is_nan() || x < 0.0 {
        return f64::NAN;
    }
    if x < 0.5 {
        return log_gamma_about_two(x) - x.ln_1p() - x.ln();
    }
    if x < 1.5 {
        return log_gamma_about_two(x - 1.0) - (x - 1.0).ln_1p();
    }
    if x < 2.5 {
        return log_gamma_about_two(x - 2.0);
    }
    if x > 1e300 {
        // x ln x may overflow while the whole does not.
        return x * (x.ln() - 1.0);
    }
    statrs::function::gamma::ln_gamma(x)
}

/// `ln Gamma(2 + t)` for `|t| <= 1/2`.
fn log_gamma_about_two(t: f64) -> f64 {
    // (-1)^k (zeta(k) - 1) / k for k = 2, 3, ...
    const SERIES: [f64; 30] = [
        0.322_467_033_424_113_2,
        -0.067_352_301_053_198_1,
        0.020_580_808_427_784_548,
        -0.007_385_551_028_673_985,
        0.002_890_510_330_741_523,
        -0.001_192_753_911_703_261,
        0.000_509_669_524_743_042_4,
        -0.000_223_154_758_453_579_38,
        9.945_751_278_180_853e-5,
        -4.492_623_673_813_314e-5,
        2.050_721_277_567_069e-5,
        -9.439_488_275_268_396e-6,
        4.374_866_789_907_488e-6,
        -2.039_215_753_801_366e-6,
        9.551_412_130_407_42e-7,
        -4.492_469_198_764_566e-7,
        2.120_718_480_555_466_6e-7,
        -1.004_322_482_396_81e-7,
        4.769_810_169_363_980_6e-8,
        -2.271_109_460_894_316_5e-8,
        1.083_865_921_489_695_4e-8,
        -5.183_475_041_970_047e-9,
        2.483_674_543_802_478_3e-9,
        -1.192_140_140_586_091_2e-9,
        5.731_367_241_678_862e-10,
        -2.759_522_885_124_233e-10,
        1.330_476_437_424_449e-10,
        -6.422_964_563_838_1e-11,
        3.104_424_774_732_227_3e-11,
        -1.502_138_408_075_414_2e-11,
    ];
    const ONE_MINUS_EULER: f64 = 0.422_784_335_098_467_1;
    t * (ONE_MINUS_EULER + t * SERIES.iter().rev().fold(0.0, |sum, c| c + t * sum))
}

/// `ln Gamma(x)` less `(x - 1/2) ln x - x + ln sqrt(2 pi)`, for `x >= 8`: Stirling's series.
fn stirling_error(x: f64) -> f64 {
    // B_2k / (2k (2k - 1))
    const SERIES: [f64; 8] = [
        1.0 / 12.0,
        -1.0 / 360.0,
        1.0 / 1260.0,
        -1.0 / 1680.0,
        1.0 / 1188.0,
        -691.0 / 360_360.0,
        1.0 / 156.0,
        -3617.0 / 122_400.0,
    ];
    let square = (x * x).recip();
    SERIES.iter().rev().fold(0.0, |sum, c| c + square * sum) / x
}

/// `ln (n choose k)` for whole `0 <= k <= n`; negative infinity for other `k`.
pub(crate) fn log_choose(n: f64, k: f64) -> f64 {
    if n.is_nan() || k.is_nan() {
        return f64::NAN;
    }
    if k < 0.0 || k > n {
        return f64::NEG_INFINITY;
    }
    let k = k.min(n - k);
    if k < 30.0 {
        // the product itself: exact to rounding where the logs of Gamma would cancel
        return (1..=k as u32).map(|i| ((n - k + f64::from(i)) / f64::from(i)).ln()).sum();
    }
    // Stirling's formula with the large parts cancelled by hand
    let m = n - k;
    let errors = stirling_error(n) - stirling_error(k) - stirling_error(m);
    k * (n / k).ln() + m * (k / m).ln_1p() + 0.5 * (n / (k * m)).ln() - LN_SQRT_2PI + errors
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

/// `ln Phi(x)`: a series in the centre, a continued fraction in both tails.
pub(crate) fn log_normal_cdf(x: f64) -> f64 {
    if x < -2.0 {
        return -0.5 * x * x - LN_SQRT_2PI - mills_denominator(-x).ln();
    }
    if x > 2.0 {
        return (-normal_density(x) / mills_denominator(x)).ln_1p();
    }
    normal_cdf_center(x).ln()
}

/// `phi(x) / Phi(x)`, the slope of `ln Phi`.
pub(crate) fn inverse_mills(x: f64) -> f64 {
    if x < -2.0 {
        return mills_denominator(-x);
    }
    let density = normal_density(x);
    if x > 2.0 {
        return density / (1.0 - density / mills_denominator(x));
    }
    density / normal_cdf_center(x)
}

fn normal_density(x: f64) -> f64 {
    (-0.5 * x * x - LN_SQRT_2PI).exp()
}

/// `Phi(x)` for `|x| <= 2`: `1/2 + phi(x) (x + x^3 / 3 + x^5 / (3 5) + ...)` (Marsaglia 2004).
fn normal_cdf_center(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for k in 1..30 {
        term *= x * x / f64::from(2 * k + 1);
        sum += term;
    }
    0.5 + normal_density(x) * sum
}

/// `x + 1/(x + 2/(x + 3/(...)))` for `x >= 2`: Laplace's continued fraction of the normal tail, as
/// many levels as a double can show.
fn mills_denominator(x: f64) -> f64 {
    let levels = 10 + (200.0 / (x * x)) as i32;
    (1..=levels).rev().fold(x, |tail, k| x + f64::from(k) / tail)
}
