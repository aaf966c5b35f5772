//! Densities of one real number, and of many independent ones.

use std::f64::consts::{FRAC_2_PI, LN_2, PI};

use super::{log_beta_function, log_gamma_ratio};
use crate::autodiff::Real;
use crate::special::LN_SQRT_2PI;

/// 0 for `x >= 0`, otherwise negative infinity.
fn not_negative<T: Real>(x: T) -> T {
    x.log_indicator(0.0, f64::INFINITY)
}

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

/// `sum_i log N(x_i; mean, sd)`: independent unknowns with one mean and one sd, such as `&z[eta]`.
///
/// ```
/// use elbo::density;
/// let (x, sum) = ([0.3, -1.0], density::normals(&[0.3, -1.0], 0.5, 2.0));
/// assert!((sum - density::normal(x[0], 0.5, 2.0) - density::normal(x[1], 0.5, 2.0)).abs() < 1e-15);
/// ```
pub fn normals<T: Real>(x: &[T], mean: impl Into<T>, sd: impl Into<T>) -> T {
    let (mean, sd) = (mean.into(), sd.into());
    let squares: T = x.iter().map(|&x| ((x - mean) / sd).square()).sum();
    squares * -0.5 - (sd.ln() + LN_SQRT_2PI) * x.len() as f64
}

/// `sum_i log N(y_i; mean_i, sd_i)`: data `y` with a mean and a sd each, or one for all (a slice of
/// one). With one of both it costs no more than a single observation.
///
/// ```
/// use elbo::density;
/// let all = density::normals_observed(&[1.0, 2.0, 4.0], &[1.5], &[0.5]);
/// let by_hand: f64 = [1.0, 2.0, 4.0].iter().map(|&y| density::normal(y, 1.5, 0.5)).sum();
/// assert!((all - by_hand).abs() < 1e-13);
/// ```
///
/// # Panics
/// If there are neither one nor `y.len()` means or sds.
pub fn normals_observed<T: Real>(y: &[f64], mean: &[T], sd: &[T]) -> T {
    let n = y.len();
    for (what, len) in [("means", mean.len()), ("sds", sd.len())] {
        assert!(
            len == n || len == 1,
            "normals_observed: {n} observations but {len} {what}; give one, or one for each"
        );
    }
    let (one_mean, one_sd) = (mean.len() == 1, sd.len() == 1);
    if one_mean && one_sd && n > 0 {
        let center = y.iter().sum::<f64>() / n as f64;
        let scatter: f64 = y.iter().map(|y| (y - center).powi(2)).sum();
        let off = -mean[0] + center;
        let squares = (off.square() * n as f64 + scatter) / sd[0].square();
        return squares * -0.5 - (sd[0].ln() + LN_SQRT_2PI) * n as f64;
    }
    let at = |v: &[T], i: usize| if v.len() == 1 { v[0] } else { v[i] };
    let squares: T = (0..n).map(|i| ((-at(mean, i) + y[i]) / at(sd, i)).square()).sum();
    let logs = if one_sd { sd[0].ln() * n as f64 } else { sd.iter().map(|sd| sd.ln()).sum() };
    squares * -0.5 - logs - LN_SQRT_2PI * n as f64
}

/// `log StudentT(x; dof, location, scale)`: `c / scale (1 + u^2 / dof)^(-(dof + 1) / 2)` with
/// `u = (x - location) / scale`.
///
/// ```
/// use elbo::density;
/// // one degree of freedom is Cauchy; far out nothing overflows
/// let far = density::student_t(1e200, 1.0, 0.0, 1.0);
/// assert!((far - density::cauchy(1e200, 0.0, 1.0)).abs() < 1e-12 * far.abs());
/// ```
pub fn student_t<T: Real>(
    x: T,
    dof: impl Into<T>,
    location: impl Into<T>,
    scale: impl Into<T>,
) -> T {
    let (dof, scale) = (dof.into(), scale.into());
    let u = (x - location.into()) / scale;
    log_gamma_ratio(dof * 0.5, T::from(0.5))
        - (dof * PI).ln() * 0.5
        - scale.ln()
        - (dof + 1.0) * 0.5 * (u / dof.sqrt()).ln_1p_square()
}

/// `log Cauchy(x; location, scale)`: `1 / (pi scale (1 + u^2))`.
pub fn cauchy<T: Real>(x: T, location: impl Into<T>, scale: impl Into<T>) -> T {
    let scale = scale.into();
    let u = (x - location.into()) / scale;
    -u.ln_1p_square() - scale.ln() - PI.ln()
}

/// `log HalfNormal(x; sd)`, `x >= 0`: twice the normal density with mean 0.
pub fn half_normal<T: Real>(x: T, sd: impl Into<T>) -> T {
    normal(x, 0.0, sd) + LN_2 + not_negative(x)
}

/// `log HalfCauchy(x; scale)`, `x >= 0`: `2 / (pi scale (1 + (x / scale)^2))`.
pub fn half_cauchy<T: Real>(x: T, scale: impl Into<T>) -> T {
    let scale = scale.into();
    let u = x / scale;
    -u.ln_1p_square() - scale.ln() + FRAC_2_PI.ln() + not_negative(x)
}

/// `log HalfStudentT(x; dof, scale)`, `x >= 0`: twice the Student density with location 0.
pub fn half_student_t<T: Real>(x: T, dof: impl Into<T>, scale: impl Into<T>) -> T {
    student_t(x, dof, 0.0, scale) + LN_2 + not_negative(x)
}

/// `log LogNormal(x; mean, sd)`, `x > 0`: `mean` and `sd` are those of `ln x`.
pub fn log_normal<T: Real>(x: T, mean: impl Into<T>, sd: impl Into<T>) -> T {
    let sd = sd.into();
    // Outside, the formula is that of a point inside, and the indicator decides.
    let log = x.if_positive(x, T::from(1.0)).ln();
    let u = (log - mean.into()) / sd;
    let inside = x.log_indicator(f64::from_bits(1), f64::INFINITY);
    u.square() * -0.5 - log - sd.ln() - LN_SQRT_2PI + inside
}

/// `log Exponential(x; rate)`, `x >= 0`.
pub fn exponential<T: Real>(x: T, rate: impl Into<T>) -> T {
    let rate = rate.into();
    rate.ln() - rate * x + not_negative(x)
}

/// `log Gamma(x; shape, rate)`, `x >= 0`: mean `shape / rate`.
///
/// ```
/// use elbo::density;
/// // shape 1 is exponential, at 0 too
/// assert_eq!(density::gamma(0.0, 1.0, 3.0), density::exponential(0.0, 3.0));
/// assert_eq!(density::gamma(-1.0, 2.0, 3.0), f64::NEG_INFINITY);
/// ```
pub fn gamma<T: Real>(x: T, shape: impl Into<T>, rate: impl Into<T>) -> T {
    let (shape, rate) = (shape.into(), rate.into());
    shape * rate.ln() - shape.log_gamma() + (shape - 1.0).times_ln(x) - rate * x
}

/// `log InverseGamma(x; shape, scale)`, `x > 0`: the density of `1 / g`, `g ~ Gamma(shape, scale)`.
pub fn inverse_gamma<T: Real>(x: T, shape: impl Into<T>, scale: impl Into<T>) -> T {
    let (shape, scale) = (shape.into(), scale.into());
    let inside = x.log_indicator(f64::from_bits(1), f64::INFINITY);
    let x = x.if_positive(x, T::from(1.0));
    shape * scale.ln() - shape.log_gamma() - (shape + 1.0) * x.ln() - scale / x + inside
}

/// `log Beta(x; a, b)`, `0 <= x <= 1`.
///
/// ```
/// use elbo::density;
/// assert_eq!(density::beta(0.0, 1.0, 1.0), 0.0);
/// assert_eq!(density::beta(1.5, 2.0, 2.0), f64::NEG_INFINITY);
/// ```
pub fn beta<T: Real>(x: T, a: impl Into<T>, b: impl Into<T>) -> T {
    let (a, b) = (a.into(), b.into());
    (a - 1.0).times_ln(x) + (b - 1.0).times_ln_1p(-x) - log_beta_function(a, b)
}

/// `log Uniform(x; low, high)`: `1 / (high - low)` between the limits, which are constants.
pub fn uniform<T: Real>(x: T, low: f64, high: f64) -> T {
    x.log_indicator(low, high) - (high - low).ln()
}

/// `log Laplace(x; location, scale)`: `exp(-|x - location| / scale) / (2 scale)`.
pub fn laplace<T: Real>(x: T, location: impl Into<T>, scale: impl Into<T>) -> T {
    let scale = scale.into();
    -(x - location.into()).abs() / scale - scale.ln() - LN_2
}
