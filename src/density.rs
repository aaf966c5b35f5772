//! Log densities over any `Real`, for writing models; whole likelihoods as one node in [`glm`].
//!
//! All constants are kept, so that an ELBO is a bound on the log evidence. Outside its support a
//! density is negative infinity; on the edge of it, its limit. A parameter that makes no sense (a
//! negative scale) gives NaN.
//!
//! Of a continuous density the first argument fixes the scalar, the others may be `f64`; counts and
//! outcomes are data and may be of any type that turns into `f64` (`u32`, `bool`, ...).
//!
//! ```
//! use elbo::{density, from_fn, Model, Space};
//! let mut space = Space::new();
//! let (mu, sd) = (space.real("mu"), space.positive("sd"));
//! let y = [1.2, -0.3, 0.7];
//! let model = from_fn(space, move |z| {
//!     density::normal(z[mu], 0.0, 5.0)
//!         + density::half_normal(z[sd], 2.0)
//!         + density::normals_observed(&y, &[z[mu]], &[z[sd]])
//! });
//! assert!((model.log_joint(&[0.5, 1.0]) + 6.9191306).abs() < 1e-6);
//! ```

mod continuous;
mod discrete;
mod gaussian;
pub mod glm;
mod mixture;
mod multivariate;

pub use continuous::*;
pub use discrete::*;
pub use gaussian::Gaussian;
pub use mixture::*;
pub use multivariate::*;

use crate::autodiff::Real;

/// `ln Gamma(x + k) - ln Gamma(x)` for `x > 0`, `k >= 0`, without the cancellation that the plain
/// difference suffers at large `x`: there Stirling's series of both, large parts cancelled by hand.
fn log_gamma_ratio<T: Real>(x: T, k: T) -> T {
    let error = |x: T| {
        // B_2k / (2k (2k - 1)) x^(1 - 2k)
        let r = x.recip();
        let s = r.square();
        r * (s * (s * (s * (s * (1.0 / 1188.0) - 1.0 / 1680.0) + 1.0 / 1260.0) - 1.0 / 360.0)
            + 1.0 / 12.0)
    };
    let test = x - 20.0;
    let large = test.if_positive(x, T::from(20.0));
    let top = large + k;
    let far =
        k * large.ln() + ((top - 0.5) * (k / large).ln_1p() - k) + (error(top) - error(large));
    test.if_positive(far, (x + k).log_gamma() - x.log_gamma())
}

/// `ln B(a, b)`, the log of the beta function.
fn log_beta_function<T: Real>(a: T, b: T) -> T {
    // One test for both, so that equal arguments are not one argument twice.
    let order = b - a;
    let (small, large) = (order.if_positive(a, b), order.if_positive(b, a));
    small.log_gamma() - log_gamma_ratio(large, small)
}
