//! The beta distribution's integral in logs: its quantile, and how the quantile moves with the
//! shapes, in double precision from shapes of 1e-4 to shapes of 1e13. Where one shape is large and the
//! other small the slopes lose as many digits as the large one has.
//!
//! Points are given as `w = ln(x / (1 - x))`, so that neither end of the unit interval is lost.

use crate::special::{LN_SQRT_2PI, log_gamma, log_normal_cdf, polygamma};

/// Both shapes above this: the quantile by its expansion (Cornish and Fisher 1938), whose error
/// is of the order `shape^(-3/2)` standard deviations, in place of a long continued fraction.
const LARGE: f64 = 1e6;
/// More terms than any shape below `LARGE` needs.
const MOST_TERMS: usize = 20_000;

/// `ln sigmoid(w)`
pub(crate) fn log_sigmoid(w: f64) -> f64 {
    if w < 0.0 { w - w.exp().ln_1p() } else { -(-w).exp().ln_1p() }
}

fn sigmoid(w: f64) -> f64 {
    if w < 0.0 { w.exp() / (1.0 + w.exp()) } else { 1.0 / (1.0 + (-w).exp()) }
}

/// `ln Gamma(x) - ((x - 1/2) ln x - x + ln sqrt(2 pi))` for `x >= 10`: Stirling's series.
pub(crate) fn stirling(x: f64) -> f64 {
    let u = 1.0 / (x * x);
    let tail = 1.0 / 1188.0 - u * (691.0 / 360_360.0 - u / 156.0);
    let series =
        1.0 / 12.0 - u * (1.0 / 360.0 - u * (1.0 / 1260.0 - u * (1.0 / 1680.0 - u * tail)));
    series / x
}

/// `ln B(a, b)`
pub(crate) fn log_beta(a: f64, b: f64) -> f64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    let s = a + b;
    if large < 10.0 {
        return log_gamma(a) + log_gamma(b) - log_gamma(s);
    }
    if small < 10.0 {
        // ln Gamma(large) - ln Gamma(s), without their common size
        let ratio = -(large - 0.5) * (small / large).ln_1p() - small * s.ln() + small;
        return log_gamma(small) + ratio + stirling(large) - stirling(s);
    }
    a * (a / s).ln() + b * (b / s).ln() - 0.5 * (a / s * b).ln()
        + LN_SQRT_2PI
        + stirling(a)
        + stirling(b)
        - stirling(s)
}

/// `a ln x + b ln(1 - x) - ln B(a, b)` given the two logarithms.
pub(crate) fn log_kernel(a: f64, b: f64, ln_x: f64, ln_y: f64) -> f64 {
    if a.min(b) < 10.0 {
        return a * ln_x + b * ln_y - log_beta(a, b);
    }
    // relative to the mean, so that large terms do not cancel
    let s = a + b;
    a * (ln_x - (a / s).ln()) + b * (ln_y - (b / s).ln()) + 0.5 * (a / s * b).ln()
        - LN_SQRT_2PI
        - stirling(a)
        - stirling(b)
        + stirling(s)
}

/// `psi(x + by) - psi(x)`, without losing what is small against `psi`.
fn digamma_gain(mut x: f64, by: f64) -> f64 {
    let mut shifted = 0.0;
    while x < 12.0 || x + by < 12.0 {
        shifted += by / (x * (x + by));
        x += 1.0;
    }
    // psi(x) = ln x - 1 / (2 x) - sum_k B_2k / (2 k x^2k)
    let s = x + by;
    let series = |u: f64| {
        u * (1.0 / 12.0
            - u * (1.0 / 120.0
                - u * (1.0 / 252.0 - u * (1.0 / 240.0 - u * (1.0 / 132.0 - u * 691.0 / 32760.0)))))
    };
    let tails = series(1.0 / (x * x)) - series(1.0 / (s * s));
    (by / x).ln_1p() + 0.5 * by / (x * s) + tails + shifted
}

/// Coefficient `k >= 1` of the fraction `1 / (1 + d_1 / (1 + d_2 / ...))`, and its slopes in `a`
/// and `b` (Abramowitz and Stegun 1964, 26.5.8).
fn coefficient(k: usize, a: f64, b: f64, x: f64) -> [f64; 3] {
    let m = (k / 2) as f64;
    if k % 2 == 1 {
        let (p, q) = (a + 2.0 * m, a + 2.0 * m + 1.0);
        let common = -x / (p * q);
        let (u, v) = (a + m, a + b + m);
        let d = common * u * v;
        return [d, common * (u + v) - d * (1.0 / p + 1.0 / q), common * u];
    }
    let (p, q) = (a + 2.0 * m - 1.0, a + 2.0 * m);
    let common = m * x / (p * q);
    let d = common * (b - m);
    [d, -d * (1.0 / p + 1.0 / q), common]
}

/// The fraction `h` with `I_x(a, b) = x^a (1 - x)^b h / (a B(a, b))`, for `x` below
/// `(a + 1) / (a + b + 2)`, and how many terms it took (Lentz 1976).
fn fraction(a: f64, b: f64, x: f64) -> (f64, usize) {
    const TINY: f64 = 1e-300;
    let away = |v: f64| if v.abs() < TINY { TINY } else { v };
    let (mut h, mut c, mut d) = (1.0, 1.0, 0.0);
    for k in 1..MOST_TERMS {
        let [term, ..] = coefficient(k, a, b, x);
        d = 1.0 / away(1.0 + term * d);
        c = away(1.0 + term / c);
        let factor = c * d;
        h *= factor;
        if (factor - 1.0).abs() < 1e-16 || !h.is_finite() {
            return (1.0 / h, k);
        }
    }
    (1.0 / h, MOST_TERMS)
}

/// The same fraction `h` with every second term taken into the others (its even part), in which
/// `y = 1 - x` is written as such: no digits are lost where one shape is large and the other is not,
/// and `x` is 1 but for little (DiDonato and Morris 1992, equation 10).
fn even_part(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let first = a * y - b * x + 1.0;
    let level = |m: f64| {
        m + m * (b - m) * x / (a + 2.0 * m - 1.0)
            + (a + m) * (first + m * (1.0 + y)) / (a + 2.0 * m + 1.0)
    };
    let mut whole = a * first / (a + 1.0);
    let (mut c, mut d) = (whole, 0.0);
    for m in 1..MOST_TERMS {
        let m = m as f64;
        let root = x / (a + 2.0 * m - 1.0);
        let term = (a + m - 1.0) * root * ((a + b + m - 1.0) * root) * m * (b - m);
        d = 1.0 / (level(m) + term * d);
        c = level(m) + term / c;
        whole *= c * d;
        if (c * d - 1.0).abs() < 1e-16 || !whole.is_finite() {
            break;
        }
    }
    a / whole
}

/// `h` with the slopes of `ln h` in `a` and `b`, carried along with every term. The slopes need a
/// count of their own: at a whole `b` the value ends after `2 b` terms, its slope does not.
fn fraction_slopes(a: f64, b: f64, x: f64) -> [f64; 3] {
    let [mut c, mut ca, mut cb] = [1.0, 0.0, 0.0];
    let [mut d, mut da, mut db] = [0.0; 3];
    let [mut ln_h, mut ln_ha, mut ln_hb] = [0.0; 3];
    let mut settled = 0;
    for k in 1..MOST_TERMS {
        let [t, ta, tb] = coefficient(k, a, b, x);
        let below = 1.0 + t * d;
        (da, db) = (-(ta * d + t * da) / (below * below), -(tb * d + t * db) / (below * below));
        d = 1.0 / below;
        (ca, cb) = ((ta - t * ca / c) / c, (tb - t * cb / c) / c);
        c = 1.0 + t / c;
        let factor = c * d;
        let (grow_a, grow_b) = (ca / c + da / d, cb / c + db / d);
        ln_h += factor.ln();
        ln_ha += grow_a;
        ln_hb += grow_b;
        let small = |grow: f64, sum: f64| grow.abs() <= 1e-15 * (1e-3 + f64::abs(sum));
        let done = (factor - 1.0).abs() < 1e-15 && small(grow_a, ln_ha) && small(grow_b, ln_hb);
        settled = if done { settled + 1 } else { 0 };
        if settled == 2 || !ln_h.is_finite() {
            break;
        }
    }
    [(-ln_h).exp(), -ln_ha, -ln_hb]
}

/// `ln I_x(a, b)` and its slope in `w`.
fn log_cdf(a: f64, b: f64, w: f64) -> (f64, f64) {
    let (ln_x, ln_y) = (log_sigmoid(w), log_sigmoid(-w));
    let kernel = log_kernel(a, b, ln_x, ln_y);
    let of = |a: f64, b: f64, x: f64, y: f64| match a.max(b) > LARGE {
        true => even_part(a, b, x, y),
        false => fraction(a, b, x).0,
    };
    if sigmoid(w) < (a + 1.0) / (a + b + 2.0) {
        let h = of(a, b, sigmoid(w), sigmoid(-w));
        return (kernel - a.ln() + h.ln(), a / h);
    }
    let h = of(b, a, sigmoid(-w), sigmoid(w));
    let upper = (kernel - b.ln() + h.ln()).exp();
    let log_cdf = (-upper).ln_1p();
    (log_cdf, (kernel - log_cdf).exp())
}

/// The point `w` below which the beta distribution has the mass `Phi(eps)`.
pub(crate) fn quantile(a: f64, b: f64, eps: f64) -> f64 {
    if a.min(b) > LARGE {
        return expansion(a, b, eps)[0];
    }
    if eps > 0.0 {
        return -quantile(b, a, -eps);
    }
    // ln I is concave in w, so Newton's steps stay to the left of the answer from the second on.
    let target = log_normal_cdf(eps);
    let mut w = a.ln() - b.ln();
    for _ in 0..100 {
        let (value, slope) = log_cdf(a, b, w);
        let step = (target - value) / slope;
        if !step.is_finite() {
            break;
        }
        w += step;
        if step.abs() <= 1e-10 * (1.0 + w.abs()) {
            break;
        }
    }
    w
}

/// `dw/da` and `dw/db` of [`quantile`] at `w`, `eps` held fixed: `-(dI/da) / (dI/dw)` (Figurnov,
/// Mohamed and Mnih 2018), all in logs.
pub(crate) fn quantile_slopes(a: f64, b: f64, eps: f64, w: f64) -> [f64; 2] {
    if a.min(b) > LARGE {
        let [_, da, db] = expansion(a, b, eps);
        return [da, db];
    }
    let (ln_x, ln_y) = (log_sigmoid(w), log_sigmoid(-w));
    if sigmoid(w) < (a + 1.0) / (a + b + 2.0) {
        let [h, ha, hb] = fraction_slopes(a, b, sigmoid(w));
        let da = ln_x + digamma_gain(a + 1.0, b - 1.0) + ha;
        let db = ln_y + digamma_gain(b, a) + hb;
        return [-da * h / a, -db * h / a];
    }
    // the upper tail, with the shapes in the other order
    let [h, hb, ha] = fraction_slopes(b, a, sigmoid(-w));
    let da = ln_x + digamma_gain(a, b) + ha;
    let db = ln_y + digamma_gain(b + 1.0, a - 1.0) + hb;
    [da * h / b, db * h / b]
}

/// The quantile at `eps` standard deviations of a number of these first four cumulants (Cornish and
/// Fisher 1938).
pub(crate) fn cornish_fisher([mean, variance, third, fourth]: [f64; 4], eps: f64) -> f64 {
    let (e2, sd) = (eps * eps, variance.sqrt());
    let (p1, p2, p3) = (e2 - 1.0, (e2 - 3.0) * eps, (2.0 * e2 - 5.0) * eps);
    let (sd2, sd3, sd5) = (variance, variance * sd, variance * variance * sd);
    mean + sd * eps + third * p1 / (6.0 * sd2) + fourth * p2 / (24.0 * sd3)
        - third * third * p3 / (36.0 * sd5)
}

/// The quantile of `w` by its first four cumulants, and its slopes in `a` and `b`.
fn expansion(a: f64, b: f64, eps: f64) -> [f64; 3] {
    let (mean, variance) = (a.ln() - b.ln() - 0.5 / a + 0.5 / b, polygamma(1, a) + polygamma(1, b));
    let (third, fourth) = (polygamma(2, a) - polygamma(2, b), polygamma(3, a) + polygamma(3, b));
    let sd = variance.sqrt();
    let e2 = eps * eps;
    let (p1, p2, p3) = (e2 - 1.0, (e2 - 3.0) * eps, (2.0 * e2 - 5.0) * eps);
    let (sd2, sd3, sd5) = (variance, variance * sd, variance * variance * sd);
    let w = cornish_fisher([mean, variance, third, fourth], eps);
    let slope = |x: f64, sign: f64| {
        let dsd = 0.5 * polygamma(2, x) / sd;
        let (d3, d4) = (sign * polygamma(3, x), polygamma(4, x));
        let third_term = (d3 - 2.0 * third * dsd / sd) * p1 / (6.0 * sd2);
        let fourth_term = (d4 - 3.0 * fourth * dsd / sd) * p2 / (24.0 * sd3);
        let square = third * (2.0 * d3 - 5.0 * third * dsd / sd) * p3 / (36.0 * sd5);
        sign * polygamma(1, x) + dsd * eps + third_term + fourth_term - square
    };
    [w, slope(a, 1.0), slope(b, -1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_close(got: f64, want: f64, tol: f64) {
        assert!((got - want).abs() <= tol * want.abs(), "got {got}, want {want}");
    }

    /// `I_x(a, 1) = x^a` and `I_x(1, b) = 1 - (1 - x)^b`, quantiles and slopes by hand.
    #[test]
    fn one_shape_is_one() {
        for a in [1e-4, 0.05, 0.7, 3.0, 40.0, 2000.0, 3e7, 1e12] {
            for eps in [-3.0, -0.4, 0.3, 2.5] {
                let ln_u = log_normal_cdf(eps);
                // ln x = ln u / a, w = ln x - ln(1 - x)
                let ln_x = ln_u / a;
                let want = ln_x - (-ln_x.exp_m1()).ln();
                let w = quantile(a, 1.0, eps);
                assert!((w - want).abs() <= 1e-11 * (1.0 + want.abs()), "{a} {eps}: {w} {want}");
                assert!((quantile(1.0, a, -eps) + w).abs() <= 1e-12 * (1.0 + want.abs()));
                if a > LARGE {
                    continue;
                }
                // dw/dln x = 1 / (1 - x)
                let slope = -ln_x / a / -ln_x.exp_m1();
                let [da, _] = quantile_slopes(a, 1.0, eps, want);
                assert_close(da, slope, 1e-10);
                let [_, db] = quantile_slopes(1.0, a, -eps, -want);
                assert_close(db, -slope, 1e-10);
            }
        }
    }

    /// The quantile undoes the integral, and moves with the shapes as its slopes say.
    #[test]
    fn slopes_are_those_of_the_quantile() {
        let shapes = [0.05, 0.3, 1.0, 5.0, 200.0, 1e4];
        for a in shapes {
            for b in shapes {
                for eps in [-4.0, -1.2, 0.1, 0.9, 3.0] {
                    let w = quantile(a, b, eps);
                    let (log_cdf, _) = if eps < 0.0 { log_cdf(a, b, w) } else { log_cdf(b, a, -w) };
                    let target = log_normal_cdf(-eps.abs());
                    assert!((log_cdf - target).abs() <= 1e-11 * (1.0 + target.abs()));
                    let [da, db] = quantile_slopes(a, b, eps, w);
                    // rounding 1e-13 / h, truncation h^2: both below 1e-7 of the slope's size
                    let (ha, hb) = (1e-4 * a, 1e-4 * b);
                    let along_a = (quantile(a + ha, b, eps) - quantile(a - ha, b, eps)) / 2.0 / ha;
                    let along_b = (quantile(a, b + hb, eps) - quantile(a, b - hb, eps)) / 2.0 / hb;
                    let size = 1e-6 * (da.abs() + w.abs() / a);
                    assert!((da - along_a).abs() < size, "{a} {b} {eps}: {da} {along_a}");
                    let size = 1e-6 * (db.abs() + w.abs() / b);
                    assert!((db - along_b).abs() < size, "{a} {b} {eps}: {db} {along_b}");
                }
            }
        }
    }

    /// Every second term taken into the others is the same fraction.
    #[test]
    fn the_even_part_is_the_whole() {
        for (a, b) in [(0.3, 2.0), (3.0, 40.0), (500.0, 0.7), (2e4, 3e3)] {
            for share in [0.2, 0.9] {
                let x = share * (a + 1.0) / (a + b + 2.0);
                assert_close(even_part(a, b, x, 1.0 - x), fraction(a, b, x).0, 1e-12);
            }
        }
    }

    /// Just above `LARGE` the expansion agrees with the continued fraction.
    #[test]
    fn the_expansion_joins_on() {
        let (a, b) = (0.9 * LARGE, 0.4 * LARGE);
        let sd = (1.0 / a + 1.0 / b).sqrt();
        for eps in [-3.0, -1.0, 0.5, 2.0] {
            let w = quantile(a, b, eps);
            let [expanded, da, db] = expansion(a, b, eps);
            assert!((w - expanded).abs() < 1e-8 * sd, "{}", (w - expanded) / sd);
            let [exact_a, exact_b] = quantile_slopes(a, b, eps, w);
            assert_close(da, exact_a, 1e-8);
            assert_close(db, exact_b, 1e-8);
        }
    }

    #[test]
    fn log_beta_of_every_size() {
        // B(a, n) = (n - 1)! / (a (a + 1) ... (a + n - 1))
        for a in [1e-4, 0.3, 2.0, 9.9, 10.1, 77.0] {
            for n in [1, 3, 9, 10, 11, 60] {
                let product: f64 =
                    (0..n).map(|k| (f64::from(k.max(1)) / (a + f64::from(k))).ln()).sum();
                let got = log_beta(a, f64::from(n));
                assert!((got - product).abs() < 1e-12 * (1.0 + product.abs()), "{a} {n}: {got}");
            }
        }
        // ln B(a, 1) = -ln a at any size
        assert_close(log_beta(1e12, 1.0), -1e12f64.ln(), 1e-13);
    }
}
