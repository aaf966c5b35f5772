//! Quantiles of the normal, Gamma, Beta and Student t distributions, to ten digits at any shape.

use crate::incomplete_beta::{self, cornish_fisher, log_sigmoid, stirling};
use crate::special::{LN_SQRT_2PI, inverse_mills, log_gamma, log_normal_cdf, polygamma};

/// Above this shape the quantile of a Gamma by its expansion (Cornish and Fisher 1938), whose error is
/// of the order `shape^(-3/2)` standard deviations, in place of a long series.
const LARGE: f64 = 1e5;
/// More terms than any shape below `LARGE` needs.
const MOST_TERMS: usize = 20_000;

/// The number below which a standard normal lies with probability `p`.
fn normal_quantile(p: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF, Normal};
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    let x = Normal::standard().inverse_cdf(p);
    // a step of Newton's for the last digits
    let better = x - (log_normal_cdf(x) - p.ln()) / inverse_mills(x);
    if better.is_finite() { better } else { x }
}

/// The number below which Student's t of so many degrees of freedom lies with probability `p`: its
/// square over the degrees is the odds of a Beta.
pub(crate) fn student_t_quantile(p: f64, freedom: f64) -> f64 {
    let side = p.min(1.0 - p);
    if side == 0.5 {
        return 0.0;
    }
    let w = incomplete_beta::quantile(0.5 * freedom, 0.5, normal_quantile(2.0 * side));
    let size = (0.5 * (freedom.ln() - w)).exp();
    if p < 0.5 { -size } else { size }
}

/// The number below which a Beta of these shapes lies with probability `p`.
pub(crate) fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    log_sigmoid(incomplete_beta::quantile(a, b, normal_quantile(p))).exp()
}

/// The number below which a Gamma of this shape and rate lies with probability `p`.
pub(crate) fn gamma_quantile(p: f64, shape: f64, rate: f64) -> f64 {
    let eps = normal_quantile(p);
    if shape > LARGE {
        let cumulant = |n: u32| polygamma(n, shape);
        let all = [cumulant(0), cumulant(1), cumulant(2), cumulant(3)];
        return cornish_fisher(all, eps).exp() / rate;
    }
    // The logarithms of both tails are concave in w = ln x: Newton's steps stay on one side of the
    // answer from the second on.
    let target = log_normal_cdf(-eps.abs());
    let mut w = shape.ln();
    for _ in 0..200 {
        let tails = tails(shape, w);
        let step = match eps < 0.0 {
            true => (target - tails.lower) * (tails.lower - tails.log_slope).exp(),
            false => (tails.upper - target) * (tails.upper - tails.log_slope).exp(),
        };
        if !step.is_finite() {
            break;
        }
        w += step;
        if step.abs() <= 1e-12 * (1.0 + w.abs()) {
            break;
        }
    }
    w.exp() / rate
}

/// `ln P(X < e^w)`, `ln P(X > e^w)`, and the log density of `ln X` there, of a Gamma of rate 1.
struct Tails {
    lower: f64,
    upper: f64,
    log_slope: f64,
}

fn tails(a: f64, w: f64) -> Tails {
    let x = w.exp();
    // ln(x^a e^-x / Gamma(a + 1))
    let kernel = if a < 10.0 {
        a * w - x - log_gamma(a + 1.0)
    } else {
        let off = w - a.ln();
        a * (off - off.exp_m1()) - LN_SQRT_2PI - 0.5 * a.ln() - stirling(a)
    };
    let log_slope = kernel + a.ln();
    if x < a + 1.0 {
        // 1 + x / (a + 1) + x^2 / ((a + 1) (a + 2)) + .. (Abramowitz and Stegun 1964, 6.5.29)
        let (mut term, mut sum) = (1.0, 1.0);
        for n in 1..MOST_TERMS {
            term *= x / (a + n as f64);
            sum += term;
            if term < 1e-17 * sum {
                break;
            }
        }
        let lower = kernel + sum.ln();
        return Tails { lower, upper: (-lower.exp()).ln_1p(), log_slope };
    }
    // 1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ..)) (6.5.31), by Lentz (1976)
    let mut below = x + 1.0 - a;
    let (mut c, mut d) = (1e300, 1.0 / below);
    let mut fraction = d;
    for n in 1..MOST_TERMS {
        let n = n as f64;
        let term = -n * (n - a);
        below += 2.0;
        d = 1.0 / (below + term * d);
        c = below + term / c;
        fraction *= c * d;
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    let upper = log_slope + fraction.ln();
    Tails { lower: (-upper.exp()).ln_1p(), upper, log_slope }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_close(what: &str, got: f64, want: f64) {
        assert!((got - want).abs() <= 1e-9 * want.abs(), "{what}: got {got:e}, want {want:e}");
    }

    const SHARES: [f64; 7] = [1e-4, 0.05, 0.3, 0.5, 0.7, 0.95, 0.9999];

    /// `1 - e^-x`, and a square of a normal.
    #[test]
    fn gammas_of_known_quantiles() {
        for p in SHARES {
            assert_close("exponential", gamma_quantile(p, 1.0, 2.0), -0.5 * (-p).ln_1p());
            // half the square of a normal is Gamma(1/2, 1)
            let z = normal_quantile(0.5 + 0.5 * p);
            assert_close("square", gamma_quantile(p, 0.5, 1.0), 0.5 * z * z);
        }
        // x^a / Gamma(a + 1) where x is next to nothing
        let want = ((0.05f64.ln() + log_gamma(1.01)) / 0.01).exp();
        assert_close("tiny shape", gamma_quantile(0.05, 0.01, 1.0), want);
        assert_eq!(gamma_quantile(0.05, 1e-3, 1.0), 0.0); // below 1e-1000
    }

    /// A Gamma of a whole shape `n` is above `x` where a Poisson count of mean `x` is below `n`.
    #[test]
    fn gammas_of_whole_shapes() {
        for n in [2u32, 9, 11, 40, 300] {
            for p in SHARES {
                let x = gamma_quantile(p, f64::from(n), 1.0);
                let log = |k: u32| f64::from(k) * x.ln() - x - log_gamma(f64::from(k) + 1.0);
                let upper: f64 = (0..n).map(|k| log(k).exp()).sum();
                assert!((upper - (1.0 - p)).abs() < 1e-11, "{n} {p}: {upper}");
            }
        }
    }

    /// Above `LARGE` the expansion joins on.
    #[test]
    fn gammas_of_large_shapes() {
        for p in SHARES {
            let (below, above) = (LARGE, LARGE * (1.0 + 1e-12));
            let (a, b) = (gamma_quantile(p, below, 1.0), gamma_quantile(p, above, 1.0));
            assert!((a - b).abs() < 1e-6 * LARGE.sqrt(), "{p}: {a} {b}");
        }
        // the middle is the shape less a third
        let middle = gamma_quantile(0.5, 1e9, 1.0);
        assert!((middle - (1e9 - 1.0 / 3.0)).abs() < 1e-5, "{middle}");
    }

    /// Cauchy, two degrees of freedom, and the normal they end in.
    #[test]
    fn students_of_known_quantiles() {
        for p in SHARES {
            let cauchy = (std::f64::consts::PI * (p - 0.5)).tan();
            let two = (2.0 * p - 1.0) / (2.0 * p * (1.0 - p)).sqrt();
            for (freedom, want) in [(1.0, cauchy), (2.0, two)] {
                let got = student_t_quantile(p, freedom);
                assert!((got - want).abs() <= 1e-9 * want.abs() + 1e-15, "{p}: {got} {want}");
            }
            let (t, z) = (student_t_quantile(p, 1e12), normal_quantile(p));
            assert!((t - z).abs() < 1e-9, "{t} {z}");
        }
    }

    #[test]
    fn betas_of_known_quantiles() {
        for p in SHARES {
            for a in [0.01, 0.5, 3.0, 1e4, 1e9] {
                assert_close("x^a", beta_quantile(p, a, 1.0), (p.ln() / a).exp());
                let upper = -((-p).ln_1p() / a).exp_m1();
                assert_close("1 - (1 - x)^b", beta_quantile(p, 1.0, a), upper);
            }
        }
    }
}
