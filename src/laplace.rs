//! The mode of a posterior and the normal around it: where to start, how to get there, how wide.
//!
//! [`start`] finds a point at which the log joint is finite, [`mode`] climbs from there to the top,
//! [`curvature`] turns the Hessian at the top into the covariance of a normal. The move
//! [`Laplace`](crate::Laplace) does all three; [`Whitened`](crate::Whitened) takes what they give.
//!
//! ```
//! use elbo::{Model, Real, Space, density, from_fn, laplace};
//! let mut space = Space::new();
//! let rate = space.positive("rate");
//! // 12 events in 4 hours under an exponential prior: the posterior is Gamma(13, 5)
//! let model = from_fn(space, move |z| {
//!     density::exponential(z[rate], 1.0) + 12.0 * z[rate].ln() - 4.0 * z[rate]
//! })
//! .unconstrained();
//! let start = laplace::start(&model, None, 1)?;
//! let mode = laplace::mode(&model, &start, &laplace::ModeOptions::default())?;
//! assert!((mode.z[0] - (13.0f64 / 5.0).ln()).abs() < 1e-9);
//! let around = laplace::curvature(&model, &mode.z)?;
//! assert!((around.cholesky()[(0, 0)] - 13f64.sqrt().recip()).abs() < 1e-12);
//! # Ok::<(), elbo::Error>(())
//! ```

mod curvature;
mod mode;
mod newton;
mod start;

pub use curvature::{Curvature, curvature};
pub(crate) use curvature::{factor_of_inverse, precision};
pub use mode::{Mode, ModeOptions, mode};
pub(crate) use start::describe;
pub use start::start;
