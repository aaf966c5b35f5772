//! `Laplace`: the normal with the curvature of the log joint at its mode.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::gradient::check_pair;
use super::{Ascent, Step};
use crate::error::Error;
use crate::family::{Family, FullRankGaussian};
use crate::laplace::{ModeOptions, curvature, mode, start};
use crate::model::TwiceDifferentiable;

/// `q = N(z*, (-H(z*))^-1)`, with `z*` a mode of the log joint and `H` its Hessian there (Laplace
/// 1774; Tierney and Kadane 1986).
///
/// One step does it all, and says so in [`Step::converged`], with the reason of the search for the
/// mode, Laplace's approximation to the log evidence, and whatever had to be repaired. The search
/// starts at the mean of `q`, or where [`laplace::start`](crate::laplace::start) finds the log joint
/// finite. Exact where the posterior is normal.
///
/// ```
/// use elbo::{FullRankGaussian, Laplace, Options, Space, density, fit, from_fn};
/// let mut space = Space::new();
/// let (mu, x) = (space.real("mu"), space.real("x"));
/// let model = from_fn(space, move |z| {
///     density::normal(z[mu], 1.0, 2.0) + density::normal(z[x], z[mu], 3.0)
/// });
/// let fit = fit(model, FullRankGaussian::standard(2), Laplace::default(), Options::default())?;
/// assert!((fit.q.mean()[1] - 1.0).abs() < 1e-12);
/// assert!((fit.q.covariance()[(1, 1)] - 13.0).abs() < 1e-12);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Laplace {
    /// How hard to look for the mode.
    pub options: ModeOptions,
    /// Seed for the points tried if the log joint is not finite at the mean of `q`.
    pub seed: u64,
}

impl<M: TwiceDifferentiable> Ascent<M, FullRankGaussian> for Laplace {
    fn check(&self, model: &M, q: &FullRankGaussian) -> Result<(), Error> {
        check_pair(model, q)?;
        self.options.check()
    }

    fn finishes(&self) -> bool {
        true
    }

    fn step(
        &mut self,
        model: &mut M,
        q: &mut FullRankGaussian,
        _rng: &mut dyn Rng,
    ) -> Result<Step, Error> {
        let at = match start(model, Some(q.mean()), self.seed) {
            Ok(at) => at,
            Err(_) => start(model, None, self.seed)?,
        };
        let top = mode(model, &at, &self.options)?;
        if !top.arrived {
            let reason = format!(
                "no mode was reached: {}; allow more steps, start nearer to the mode, or choose a \
                 move that needs none",
                top.reason
            );
            return Err(Error::Ascent { block: "Laplace".to_string(), reason });
        }
        let around = curvature(model, &top.z)?;
        let mut words = format!(
            "mode: {}; Laplace log evidence {:.4}",
            top.reason,
            around.log_evidence(top.log_joint)
        );
        if let Some(repaired) = &around.repaired {
            words = format!("{words}; repaired: {repaired}");
        }
        debug_assert_eq!(q.dim(), top.z.len());
        *q = FullRankGaussian::from_triangle(top.z, &around.factor)?;
        Ok(Step { grad_norm: Some(top.grad_norm), converged: Some(words), ..Step::default() })
    }
}
