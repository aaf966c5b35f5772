//! Log densities over any `Real`, for writing models.

use crate::autodiff::Real;
use crate::special::LN_SQRT_2PI;

/// `log N(x; mean, sd)`
///
/// ```
/// use elbo::density;
/// assert!((density::normal(0.0, 0.0, 1.0) + 0.9189385332046728).abs() < 1e-15);
/// ```
pub fn normal<T: Real>(x: T, mean: impl Into<T>, sd: impl Into<T>) -> T {
    let sd = sd.into();
    let u = (x - mean.into()) / sd;
    u.square() * -0.5 - sd.ln() - LN_SQRT_2PI
}

/// `log HalfCauchy(x; scale)`, `x > 0`: `2 / (pi scale (1 + (x / scale)^2))`.
pub fn half_cauchy<T: Real>(x: T, scale: impl Into<T>) -> T {
    let scale = scale.into();
    let u = x / scale;
    -u.square().ln_1p() - scale.ln()
        + std::f64::consts::FRAC_2_PI.ln()
        + x.log_indicator(0.0, f64::INFINITY)
}

/// `log Exponential(x; rate)`, `x > 0`.
pub fn exponential<T: Real>(x: T, rate: impl Into<T>) -> T {
    let rate = rate.into();
    rate.ln() - rate * x + x.log_indicator(0.0, f64::INFINITY)
}

/// `log Beta(x; a, b)`, `0 < x < 1`.
pub fn beta<T: Real>(x: T, a: impl Into<T>, b: impl Into<T>) -> T {
    let (a, b) = (a.into(), b.into());
    (a - 1.0) * x.ln() + (b - 1.0) * (-x).ln_1p() + (a + b).log_gamma()
        - a.log_gamma()
        - b.log_gamma()
}
