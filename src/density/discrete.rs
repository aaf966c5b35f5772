//! Probabilities of counts and outcomes.

use super::log_gamma_ratio;
use crate::autodiff::Real;
use crate::special::{log_choose, log_gamma};

/// Negative infinity unless `k` is a whole number from 0 to `most`; 0 there.
fn whole(k: f64, most: f64) -> f64 {
    if k.is_nan() {
        f64::NAN
    } else if k.fract() == 0.0 && (0.0..=most).contains(&k) {
        0.0
    } else {
        f64::NEG_INFINITY
    }
}

/// `log Bernoulli(y; p)`: `p` for `y = 1`, `1 - p` for `y = 0`.
///
/// ```
/// use elbo::density;
/// assert_eq!(density::bernoulli(true, 0.25), 0.25f64.ln());
/// assert_eq!(density::bernoulli(false, 0.0), 0.0);
/// ```
pub fn bernoulli<T: Real>(y: impl Into<f64>, p: T) -> T {
    binomial(y, 1.0, p)
}

/// `log Bernoulli(y; sigmoid(logit))`, for any `logit` without overflow.
///
/// ```
/// use elbo::density;
/// assert_eq!(density::bernoulli_logit(false, 700.0), -700.0);
/// ```
pub fn bernoulli_logit<T: Real>(y: impl Into<f64>, logit: T) -> T {
    let y = y.into();
    let outside = whole(y, 1.0);
    // y = 0 gives log sigmoid(-logit), y = 1 log sigmoid(logit)
    if outside == 0.0 { (logit * (2.0 * y - 1.0)).log_sigmoid() } else { logit * 0.0 + outside }
}

/// `log Binomial(k; n, p)`: `k` successes in `n` trials.
pub fn binomial<T: Real>(k: impl Into<f64>, n: impl Into<f64>, p: T) -> T {
    let (k, n) = (k.into(), n.into());
    // times_ln holds 0 ln 0 = 0; p outside [0, 1] has no probabilities.
    let inside = p.log_indicator(0.0, 1.0);
    T::from(k).times_ln(p)
        + T::from(n - k).times_ln_1p(-p)
        + inside
        + (log_choose(n, k) + whole(k, n))
}

/// `log Binomial(k; n, sigmoid(logit))`, for any `logit` without overflow.
pub fn binomial_logit<T: Real>(k: impl Into<f64>, n: impl Into<f64>, logit: T) -> T {
    let (k, n) = (k.into(), n.into());
    let mut lp = T::from(log_choose(n, k) + whole(k, n));
    if k > 0.0 {
        lp += logit.log_sigmoid() * k;
    }
    if k < n {
        lp += (-logit).log_sigmoid() * (n - k);
    }
    lp
}

/// `log Poisson(k; rate)`, `rate >= 0`.
pub fn poisson<T: Real>(k: impl Into<f64>, rate: T) -> T {
    let k = k.into();
    T::from(k).times_ln(rate) - rate
        + rate.log_indicator(0.0, f64::INFINITY)
        + (whole(k, f64::MAX) - log_gamma(k + 1.0))
}

/// `log Poisson(k; e^log_rate)`
pub fn poisson_log<T: Real>(k: impl Into<f64>, log_rate: T) -> T {
    let k = k.into();
    let constant = whole(k, f64::MAX) - log_gamma(k + 1.0);
    // Without the product where k = 0, so that a log rate of negative infinity is fine there.
    if k == 0.0 { -log_rate.exp() } else { log_rate * k - log_rate.exp() + constant }
}

/// `log NegativeBinomial(k; mean, dispersion)`: a Poisson whose rate is
/// `Gamma(dispersion, dispersion / mean)`; variance `mean + mean^2 / dispersion`, so that a large
/// dispersion is Poisson again.
///
/// ```
/// use elbo::density;
/// let nearly_poisson = density::negative_binomial(3u32, 2.0, 1e12);
/// assert!((nearly_poisson - density::poisson(3u32, 2.0)).abs() < 1e-11);
/// ```
pub fn negative_binomial<T: Real>(k: impl Into<f64>, mean: T, dispersion: impl Into<T>) -> T {
    let (k, dispersion) = (k.into(), dispersion.into());
    let constant = whole(k, f64::MAX) - log_gamma(k + 1.0);
    if constant.is_nan() || constant == f64::NEG_INFINITY {
        return mean * 0.0 + constant;
    }
    // (mean / (mean + d))^k (1 + mean / d)^-d, the first as (mean / d)^k (1 + mean / d)^-k
    let odds = (mean / dispersion).ln_1p();
    log_gamma_ratio(dispersion, T::from(k)) - dispersion.ln() * k + T::from(k).times_ln(mean)
        - odds * k
        - odds * dispersion
        + mean.log_indicator(0.0, f64::INFINITY)
        + constant
}

/// `log Categorical(k; p)`: `ln p_k` for an outcome `k` counted from 0; negative infinity beyond the
/// last.
pub fn categorical<T: Real>(k: usize, p: &[T]) -> T {
    match p.get(k) {
        Some(p) => T::from(1.0).times_ln(*p),
        None => T::from(f64::NEG_INFINITY),
    }
}

/// `log Categorical(k; softmax(logits))` for an outcome `k` counted from 0.
///
/// ```
/// use elbo::density;
/// assert!((density::categorical_logit(1, &[0.0, 800.0, 0.0])).abs() < 1e-300);
/// ```
pub fn categorical_logit<T: Real>(k: usize, logits: &[T]) -> T {
    match logits.get(k) {
        Some(logit) => *logit - T::log_sum_exp(logits),
        None => T::from(f64::NEG_INFINITY),
    }
}

/// `log` density of the relaxed label `y = softmax((logits + G) / temperature)`, `G` Gumbel noise, on
/// the simplex, with respect to the first `n - 1` weights (Jang, Gu and Poole 2017; Maddison, Mnih and
/// Teh 2017):
///
/// `log (n - 1)! + (n - 1) log t + sum_k (l_k - (t + 1) log y_k) - n log sum_k e^(l_k) y_k^(-t)`.
///
/// ```
/// use elbo::density;
/// // two labels: one weight has the density of a relaxed coin
/// let lp = density::gumbel_softmax(&[0.7, 0.3], &[1.0, 0.4], 0.5);
/// assert!((lp - density::relaxed_bernoulli(0.7, 0.6, 0.5)).abs() < 1e-12);
/// ```
///
/// # Panics
/// If there are not as many logits as weights.
pub fn gumbel_softmax<T: Real, L: Into<T> + Copy>(
    y: &[T],
    logits: &[L],
    temperature: impl Into<T>,
) -> T {
    let (n, m) = (y.len(), logits.len());
    assert!(n == m, "gumbel_softmax: {n} weights but {m} logits; give one for each");
    let t: T = temperature.into();
    let terms: Vec<T> = y.iter().zip(logits).map(|(y, l)| (*l).into() - t * y.ln()).collect();
    let sum: T = terms.iter().zip(y).map(|(term, y)| *term - y.ln()).sum();
    sum + t.ln() * (n as f64 - 1.0) - T::log_sum_exp(&terms) * n as f64
        + crate::special::log_gamma(n as f64)
}

/// `log` density of the relaxed coin `x = sigmoid((logit + L) / temperature)`, `L` logistic noise, on
/// `0 < x < 1` (Maddison, Mnih and Teh 2017).
pub fn relaxed_bernoulli<T: Real>(x: T, logit: impl Into<T>, temperature: impl Into<T>) -> T {
    let t: T = temperature.into();
    let (ln_x, ln_y) = (x.ln(), (-x).ln_1p());
    // the noise behind x
    let noise = t * (ln_x - ln_y) - logit.into();
    t.ln() + noise.log_sigmoid() + (-noise).log_sigmoid() - ln_x - ln_y
}
