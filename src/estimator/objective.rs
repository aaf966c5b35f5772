//! `Objective`: what an estimator climbs, and how to see it in the weights of draws.

use serde::{Deserialize, Serialize};

use super::weights::renyi;

/// What an estimator climbs. With `w_k = p(x, z_k) / q(z_k)` for draws `z_k` of `q`:
///
/// | | climbed | against `log p(x)` |
/// |---|---|---|
/// | `Elbo` | `E[log w]` | below |
/// | `Weighted`, `alpha = 0` | `E[log mean_k w_k]` of groups of draws (Burda, Grosse and Salakhutdinov 2016) | between the ELBO and it |
/// | `Weighted` | `E[log mean_k w_k^(1 - alpha)] / (1 - alpha)` (Li and Turner 2016); `alpha = 1` is the ELBO | below for `alpha >= 0`, no bound for `alpha < 0` |
/// | `WeightedPerDatum` | the same of each datum by itself, summed over data | as for one datum |
/// | `Relaxed` | the ELBO of a model between its labels | no bound |
///
/// ```
/// use elbo::Objective;
/// let iwae = Objective::Weighted { draws: 2, alpha: 0.0 };
/// assert!((iwae.of(&[1f64.ln(), 3f64.ln()]) - 2f64.ln()).abs() < 1e-15);
/// assert_eq!(Objective::Elbo.of(&[-3.0]), -3.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Objective {
    /// The evidence lower bound.
    Elbo,
    /// Renyi's bound of order `alpha` from groups of `draws`.
    Weighted {
        /// Draws that share a logarithm.
        draws: usize,
        /// The order: 0 for the importance-weighted bound, 1 for the ELBO.
        alpha: f64,
    },
    /// Renyi's bound of order `alpha` of each datum, from `draws` of its own coordinates.
    WeightedPerDatum {
        /// Draws that share a logarithm.
        draws: usize,
        /// The order: 0 for the importance-weighted bound, 1 for the ELBO.
        alpha: f64,
    },
    /// The ELBO of a relaxed model. A comparison of answers looks at the ELBO itself.
    Relaxed,
}

impl Objective {
    /// How many draws make one term of a comparison.
    pub fn draws(&self) -> usize {
        match *self {
            Objective::Weighted { draws, .. } => draws,
            _ => 1,
        }
    }

    /// The term that `log p(x, z_k) - log q(z_k)` of so many draws make.
    ///
    /// # Panics
    /// Without draws.
    pub fn of(&self, log_weights: &[f64]) -> f64 {
        match *self {
            Objective::Weighted { alpha, .. } => renyi(log_weights, alpha, |_, _| {}),
            _ => log_weights[0],
        }
    }
}
