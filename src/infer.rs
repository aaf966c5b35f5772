//! `infer`: one call without choices, from a model to a posterior and a word on whether to trust it.

mod gaussian;
mod start;

pub use gaussian::Gaussian;

use crate::ascent::GradientAscent;
use crate::clock::Clock;
use crate::diagnostics::Checks;
use crate::error::Error;
use crate::estimator::{StickingTheLanding, check_draws};
use crate::family::{FullRankGaussian, LowRankGaussian, Smooth, Transformed};
use crate::fit::{Fit, Options, fit};
use crate::model::{Model, TwiceDifferentiable, Unconstrained, Whitened};
use crate::optimizer::{Averaged, ClipOutliers, DoWG};
use crate::posterior::Posterior;
use crate::stop::{Paired, Stop};

/// Up to this many coordinates the family is a Gaussian with any covariance.
const FULL_RANK: usize = 50;
/// Above this many coordinates k-hat is estimated once.
const MANY: usize = 100;
/// Steps between checks of the stop rule, at least.
const EVERY: usize = 50;

/// What [`infer_with`] may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InferOptions {
    /// Where all randomness comes from.
    pub seed: u64,
    /// Draws a gradient; `None` takes 16 up to 50 coordinates and 8 above, where the noise of one
    /// draw is shared by many parameters.
    pub draws: Option<usize>,
    /// The most steps to take.
    pub steps: usize,
}

impl Default for InferOptions {
    fn default() -> Self {
        InferOptions { seed: 0, draws: None, steps: 2_000 }
    }
}

/// A posterior for a model, with nothing to choose.
///
/// 1. The model is moved to `R^k`. From several starts the modes are found, and a normal around
///    each by the curvature there ([`laplace`](crate::laplace)); the one with the highest ELBO is
///    where the fit begins. (Above 300 coordinates only where the log joint is quadratic, which two
///    Hessian products tell.) Where none of them describes the posterior (a funnel, whose mode is far
///    from its mass) a mean-field fit from the origin takes their place.
/// 2. Seen from there ([`Whitened`]), the posterior is near a standard normal. A Gaussian with any
///    covariance, or above 50 coordinates one of low rank on top of the scale found in 1, climbs by
///    [`StickingTheLanding`] and averaged [`DoWG`], which has no rate ([`ClipOutliers`] keeps a draw
///    far out from spoiling it), until the paired test says
///    that nothing is gained any more.
/// 3. The answer is examined on fresh draws: [`Posterior::report`] has the ELBO with its error,
///    k-hat, a table on the natural scale and a verdict.
///
/// ```
/// use elbo::{density, infer, from_fn, Real, Space, Verdict};
/// let mut space = Space::new();
/// let rate = space.positive("rate");
/// // 50 waiting times that sum to 25: the exact answer is Gamma(51, 26)
/// let model =
///     from_fn(space, move |z| density::exponential(z[rate], 1.0) + 50.0 * z[rate].ln() - 25.0 * z[rate]);
/// let posterior = infer(model)?;
/// assert!((posterior.row("rate")?.mean - 51.0 / 26.0).abs() < 0.01);
/// posterior.require(Verdict::Good)?;
/// # Ok::<(), elbo::Error>(())
/// ```
///
/// # Errors
/// What the model lacks to be fitted: a finite start (E05), a prior on every coordinate (E08), a
/// bounded objective (E07), usable names and supports (E14).
pub fn infer<M: TwiceDifferentiable>(model: M) -> Result<Posterior<Gaussian>, Error> {
    infer_with(model, InferOptions::default())
}

/// [`infer`] with a seed, a number of draws and a budget of one's own.
///
/// # Errors
/// As [`infer`]; E10 for options that make no sense.
pub fn infer_with<M: TwiceDifferentiable>(
    model: M,
    options: InferOptions,
) -> Result<Posterior<Gaussian>, Error> {
    let clock = Clock::start();
    check_draws(options.draws.unwrap_or(1), 1, "a gradient needs at least one draw")?;
    model.space().check()?;
    let model = model.unconstrained();
    let d = model.dim();
    if d == 0 {
        let reason = "the space has no coordinates; declare at least one".to_string();
        return Err(Error::Space { reason });
    }
    let draws = options.draws.unwrap_or(if d <= FULL_RANK { 16 } else { 8 });
    let (model, start) = start::find(model, draws, options.seed)?;
    let map = start.map.clone();
    let white = Whitened::new(model, start.map)?;
    let mut fitted = if d <= FULL_RANK {
        let fit = climb(white, FullRankGaussian::standard(d), draws, options)?;
        let q = Gaussian::FullRank(fit.q.affine_image(&map)?);
        seen_from_outside(fit, q)
    } else {
        let fit = climb(white, LowRankGaussian::standard(d), draws, options)?;
        let q = Gaussian::LowRank(Transformed::new(fit.q.clone(), map)?);
        seen_from_outside(fit, q)
    };
    let gradients = start.evaluations + fitted.trace.len() * draws;
    fitted.warnings.extend(start.warnings);
    fitted.seconds = clock.seconds();
    // A draw from a dense scale costs d^2, and the report wants 20 000 of them.
    let repeats = if d <= MANY { Checks::default().repeats } else { 1 };
    let mut posterior = fitted.posterior_with(Checks { repeats, ..Checks::default() })?;
    if let Some(report) = &mut posterior.report {
        report.gradients = gradients;
    }
    Ok(posterior)
}

/// Steps without a rate that one draw far out cannot spoil.
fn steps() -> (ClipOutliers, Averaged<DoWG>) {
    (ClipOutliers::new(), Averaged::new(DoWG::new()))
}

/// The fit in whitened coordinates.
fn climb<M: TwiceDifferentiable, Q: Smooth>(
    model: Whitened<M>,
    q: Q,
    draws: usize,
    options: InferOptions,
) -> Result<Fit<Whitened<M>, Q>, Error> {
    let estimator = StickingTheLanding { draws };
    let options = Options {
        steps: options.steps,
        seed: options.seed,
        stop: Stop::Paired(Paired { every: EVERY, ..Paired::default() }),
        // The stop rule evaluates for itself, and so does the report.
        elbo_every: options.steps,
        ..Options::default()
    };
    fit(model, q, GradientAscent::new(estimator, steps()), options)
}

/// The fit with its answer in the model's own coordinates.
fn seen_from_outside<M: Model, Q>(
    fit: Fit<Whitened<Unconstrained<M>>, Q>,
    q: Gaussian,
) -> Fit<Unconstrained<M>, Gaussian> {
    Fit {
        model: fit.model.into_inner(),
        q,
        outcome: fit.outcome,
        trace: fit.trace,
        rejected: fit.rejected,
        seed: fit.seed,
        seconds: fit.seconds,
        warnings: fit.warnings,
    }
}
