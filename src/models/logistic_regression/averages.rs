//! Averages of the logistic function and of softplus over a normal.

use crate::special::{LN_SQRT_2PI, log_normal_cdf};

/// The normal is cut off here, in standard deviations: 1e-19 lies outside.
const FAR: f64 = 9.0;
/// From this sd on the logistic function is a step of a width next to nothing.
const STEEP: f64 = 500.0;

/// `E f(mean + sd z)`, `z` standard normal, for a function with its poles at distance `pi` from the
/// real line. The trapezoidal rule converges like `e^(-2 pi d / h)` where the nearest pole, `pi / sd`,
/// or what the normal itself allows, is `d` away (Trefethen and Weideman 2014).
fn average(mean: f64, sd: f64, f: impl Fn(f64) -> f64) -> f64 {
    let step = (0.8 / sd).min(0.4);
    let count = (FAR / step).ceil() as i64;
    let weight = |z: f64| (-0.5 * z * z - LN_SQRT_2PI).exp() * step;
    (-count..=count).map(|i| i as f64 * step).map(|z| weight(z) * f(mean + sd * z)).sum()
}

/// `E 1 / (1 + e^-x)` for `x ~ Normal(mean, sd)`.
pub(super) fn mean_sigmoid(mean: f64, sd: f64) -> f64 {
    if sd > STEEP {
        // P(x + logistic noise > 0), and noise of variance pi^2 / 3 is as good as normal
        let spread = sd.hypot(std::f64::consts::PI / 3f64.sqrt());
        return log_normal_cdf(mean / spread).exp();
    }
    average(mean, sd, |x| (-super::softplus(-x)).exp())
}

/// `E ln(1 + e^x)` for `x ~ Normal(mean, sd)`.
pub(super) fn mean_softplus(mean: f64, sd: f64) -> f64 {
    if sd > STEEP {
        let at = mean / sd;
        let density = (-0.5 * at * at - LN_SQRT_2PI).exp();
        // E max(x, 0), and the integral of ln(1 + e^-|x|), pi^2 / 6, where x is about 0
        let bend = std::f64::consts::PI.powi(2) / 6.0;
        return mean * log_normal_cdf(at).exp() + density * (sd + bend / sd);
    }
    average(mean, sd, super::softplus)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Midpoints, many of them.
    fn plain(mean: f64, sd: f64, f: impl Fn(f64) -> f64) -> f64 {
        let n = 1_000_000;
        let h = 24.0 / n as f64;
        let one = |i: usize| {
            let z = -12.0 + (i as f64 + 0.5) * h;
            (-0.5 * z * z - LN_SQRT_2PI).exp() * h * f(mean + sd * z)
        };
        (0..n).map(one).sum()
    }

    #[test]
    fn averages_are_those_of_a_fine_grid() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        for sd in [0.0, 1e-3, 0.5, 1.0, 3.0, 20.0, 150.0, 499.0, 501.0, 5e3] {
            for at in [-3.0, -0.7, 0.0, 1.3] {
                let mean = at * f64::max(sd, 1.0);
                let (got, want) = (mean_sigmoid(mean, sd), plain(mean, sd, sigmoid));
                assert!((got - want).abs() < 1e-9, "sigmoid {mean} {sd}: {got} {want}");
                let got = mean_softplus(mean, sd);
                let want = plain(mean, sd, super::super::softplus);
                assert!((got - want).abs() < 1e-9 * (1.0 + sd), "{mean} {sd}: {got} {want}");
            }
        }
    }
}
