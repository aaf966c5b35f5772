//! Is it any good? The ELBO with its error, importance weights, a table, a verdict.
//!
//! | question | answer |
//! |---|---|
//! | how large is the ELBO? | [`elbo`], an [`Estimate`] with its Monte Carlo error |
//! | how close is `q` to the posterior? | [`psis`]: k-hat and the effective number of draws |
//! | what would change? | [`Correction`]: shifts of means and sds under importance weights |
//! | what has the posterior's mean and covariance? | [`moment_match`]: the forward divergence |
//! | can I use it? | [`Judgement`]: three axes and a [`Verdict`] |

mod bounds;
mod elbo;
mod fidelity;
mod moment_match;
mod psis;
mod quadrature;
mod regression;
pub(crate) mod summary;
mod verdict;

pub use bounds::{ElboTerms, PriorAndLikelihood, elbo_terms, iwae_bound, log_mean_exp};
pub use elbo::{Estimate, elbo};
pub use fidelity::{Checks, Examined, Fidelity, Named, examine};
pub use moment_match::{MomentMatch, moment_match};
pub use psis::{Psis, WeightClass, khat_threshold, psis};
pub use quadrature::{Quadrature, quadrature};
pub use regression::elbo_by_regression;
pub use summary::{Correction, Row, Summary};
pub(crate) use verdict::require;
pub use verdict::{Ending, Judgement, LOG_SD_LIMIT, SHIFT_LIMIT, Verdict};
