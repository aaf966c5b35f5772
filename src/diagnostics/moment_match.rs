//! The other direction of the divergence: the normal with the posterior's mean and covariance.

use nalgebra::DMatrix;

use super::elbo::{check, evaluate, visit_draws};
use super::psis::psis;
use crate::bijector::Support;
use crate::error::Error;
use crate::family::{Family, FullRankGaussian};
use crate::model::Model;
use crate::noise::{Purpose, stream};

/// What [`moment_match`] finds.
#[derive(Clone, Debug, PartialEq)]
pub struct MomentMatch {
    /// The normal with the mean and the covariance of the posterior, as the weights see them.
    pub q: FullRankGaussian,
    /// The shape of the tail of the weights: above 0.7 the moments cannot be trusted.
    pub khat: f64,
    /// How many of the draws were effective.
    pub ess: f64,
}

/// The normal closest to the posterior in the *forward* divergence `KL(p(z | x) || q)`: the one with
/// the posterior's mean and covariance (of all exponential families the closest member has the
/// expectations of the posterior: Bishop 2006, section 10.7). Moments are means over `draws` from
/// `proposal`, weighed by `p(x, z) / proposal(z)` with the largest weights smoothed ([`psis`]).
///
/// Fits climb the ELBO and so minimise the reverse divergence `KL(q || p(z | x))`, which needs draws
/// of `q` alone. This one needs a proposal that reaches all of the posterior: where it misses a
/// mode, so does the answer, and k-hat does not see it. Start from something wide.
///
/// # Errors
/// Fewer than 100 draws, dimensions that differ, a coordinate that does not range over `R` (move the
/// model there: [`Model::unconstrained`]), weights that are not finite, or so few effective draws
/// that their covariance is none.
///
/// ```
/// use elbo::{density, diagnostics::moment_match, from_fn, MeanFieldGaussian, Space};
/// let mut space = Space::new();
/// let z = space.real("z");
/// let two = [0.5f64.ln(); 2];
/// let model = from_fn(space, move |x| {
///     let parts = [density::normal(x[z], -3.0, 1.0), density::normal(x[z], 3.0, 1.0)];
///     density::mixture(&two.map(Into::into), &parts)
/// });
/// let wide = MeanFieldGaussian::new(vec![0.0], &[5.0])?;
/// let forward = moment_match(&model, &wide, 20_000, 1)?;
/// // mean 0, variance 1 + 3^2
/// assert!(forward.q.mean()[0].abs() < 0.1 && (forward.q.sd()[0] - 10f64.sqrt()).abs() < 0.05);
/// # Ok::<(), elbo::Error>(())
/// ```
pub fn moment_match<M: Model, Q: Family>(
    model: &M,
    proposal: &Q,
    draws: usize,
    seed: u64,
) -> Result<MomentMatch, Error> {
    check(model, proposal, draws, 100)?;
    let (space, d) = (model.space(), model.dim());
    if let Some(i) = (0..d).find(|&i| space.support(i) != Support::Real) {
        return Err(Error::SupportMismatch {
            name: space.coordinate_names().swap_remove(i),
            support: space.support(i).name(),
            family: Support::Real.name(),
        });
    }
    let rng = || stream(seed, Purpose::Report, 0);
    let drawn = evaluate(model, proposal, draws, &mut rng(), |_| {});
    let ratios: Vec<f64> = drawn.log_p.iter().zip(&drawn.log_q).map(|(p, q)| p - q).collect();
    let smoothed = psis(&ratios)?;
    let weights = smoothed.weights();
    // The same draws twice more: the mean, then the squares around it.
    let weighted = |add: &mut dyn FnMut(f64, &[f64])| {
        let mut weight = weights.iter();
        visit_draws(proposal, draws, &mut rng(), |z| {
            for (z, w) in z.chunks_exact(d.max(1)).zip(&mut weight) {
                add(*w, z);
            }
        });
    };
    let mut mean = vec![0.0; d];
    weighted(&mut |w, z| mean.iter_mut().zip(z).for_each(|(m, z)| *m += w * z));
    let mut covariance = DMatrix::zeros(d, d);
    weighted(&mut |w, z| {
        for i in 0..d {
            for j in 0..=i {
                covariance[(i, j)] += w * (z[i] - mean[i]) * (z[j] - mean[j]);
            }
        }
    });
    covariance.fill_upper_triangle_with_lower_triangle();
    let q = FullRankGaussian::new(mean, &covariance)?;
    Ok(MomentMatch { q, khat: smoothed.khat, ess: smoothed.ess })
}
