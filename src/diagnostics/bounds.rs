//! Tighter bounds from the same weights, and the three forms of the ELBO.

use super::elbo::{Estimate, check, evaluate, visit_draws};
use super::psis::log_sum_exp;
use crate::error::Error;
use crate::family::Family;
use crate::model::{Model, Unconstrained};
use crate::noise::{Purpose, stream};

/// `ln mean_s exp(x_s)`, without overflow.
///
/// ```
/// use elbo::diagnostics::log_mean_exp;
/// assert!((log_mean_exp(&[1000.0, 1000.0 + 3f64.ln()]) - (1000.0 + 2f64.ln())).abs() < 1e-12);
/// assert_eq!(log_mean_exp(&[f64::NEG_INFINITY]), f64::NEG_INFINITY);
/// ```
pub fn log_mean_exp(x: &[f64]) -> f64 {
    log_sum_exp(x) - (x.len() as f64).ln()
}

/// The importance-weighted bound `E[ln (1/K) sum_k p(x, z_k) / q(z_k)]`, `z_k` from `q`
/// (Burda, Grosse and Salakhutdinov 2016): the ELBO at `K = 1`, rising with `K` to `ln p(x)`. The
/// mean over `repeats` independent groups of `K` draws.
///
/// # Errors
/// No draws in a group, fewer than 4 repeats, or different dimensions.
///
/// ```
/// use elbo::{diagnostics, density, from_fn, MeanFieldGaussian, Space};
/// let mut space = Space::new();
/// let mu = space.real("mu");
/// let model =
///     from_fn(space, move |z| density::normal(z[mu], 0.0, 1.0) + density::normal(z[mu], 1.2, 1.0));
/// let q = MeanFieldGaussian::new(vec![0.2], &[1.0])?;
/// let bounds: Vec<f64> = [1, 5, 50]
///     .iter()
///     .map(|&k| Ok(diagnostics::iwae_bound(&model, &q, k, 2_000, 1)?.value))
///     .collect::<Result<_, elbo::Error>>()?;
/// let log_evidence = -1.62551212;
/// assert!(bounds[0] < bounds[1] && bounds[1] < bounds[2] && bounds[2] < log_evidence + 0.02);
/// # Ok::<(), elbo::Error>(())
/// ```
pub fn iwae_bound<M: Model, Q: Family>(
    model: &M,
    q: &Q,
    k: usize,
    repeats: usize,
    seed: u64,
) -> Result<Estimate, Error> {
    if k == 0 {
        return Err(Error::option("k", 0, "average at least one weight"));
    }
    check(model, q, repeats, 4)?;
    let mut rng = stream(seed, Purpose::Report, 0);
    let drawn = evaluate(model, q, k * repeats, &mut rng, |_| {});
    let ratios: Vec<f64> = drawn.log_p.iter().zip(&drawn.log_q).map(|(p, q)| p - q).collect();
    let bounds: Vec<f64> = ratios.chunks_exact(k).map(log_mean_exp).collect();
    Ok(Estimate::mean(&bounds))
}

/// A model whose log joint is known in its two parts: `log p(x, z) = log p(x | z) + log p(z)`.
pub trait PriorAndLikelihood: Model {
    /// `log p(z)`, normalised, in the model's own coordinates.
    fn log_prior(&self, z: &[f64]) -> f64;

    /// `log p(x | z)`: what is left of the log joint.
    fn log_likelihood(&self, z: &[f64]) -> f64 {
        self.log_joint(z) - self.log_prior(z)
    }
}

impl<M: PriorAndLikelihood> PriorAndLikelihood for Unconstrained<M> {
    fn log_prior(&self, u: &[f64]) -> f64 {
        let inside = self.inner().space();
        let mut z = vec![0.0; inside.dim()];
        let log_det = self.space().constrain_to(&inside, u, &mut z);
        self.inner().log_prior(&z) + log_det
    }
}

/// The parts of the ELBO, all from the same draws, so that
/// `reconstruction - kl_to_prior = energy + entropy = elbo` holds to rounding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ElboTerms {
    /// `E_q[log p(x | z)]`
    pub reconstruction: Estimate,
    /// `KL(q || p(z)) = E_q[log q(z) - log p(z)]`
    pub kl_to_prior: Estimate,
    /// `E_q[log p(x, z)]`
    pub energy: Estimate,
    /// `-E_q[log q(z)]`
    pub entropy: Estimate,
    /// `E_q[log p(x, z) - log q(z)]`
    pub elbo: Estimate,
}

impl ElboTerms {
    /// `-ELBO`, what other toolkits minimise. Here the ELBO is maximised everywhere.
    pub fn loss(&self) -> f64 {
        -self.elbo.value
    }
}

/// Estimates each part of the ELBO from fresh draws.
///
/// # Errors
/// Fewer than 4 draws, or different dimensions.
///
/// ```
/// use elbo::diagnostics::{PriorAndLikelihood, elbo_terms};
/// use elbo::{MeanFieldGaussian, Model, Space, density};
/// struct One;
/// impl Model for One {
///     fn space(&self) -> Space {
///         let mut space = Space::new();
///         space.real("z");
///         space
///     }
///     fn log_joint(&self, z: &[f64]) -> f64 {
///         self.log_prior(z) + density::normal(1.2, z[0], 1.0)
///     }
/// }
/// impl PriorAndLikelihood for One {
///     fn log_prior(&self, z: &[f64]) -> f64 {
///         density::normal(z[0], 0.0, 1.0)
///     }
/// }
/// let q = MeanFieldGaussian::new(vec![0.2], &[1.0])?;
/// let terms = elbo_terms(&One, &q, 10_000, 1)?;
/// let first = terms.reconstruction.value - terms.kl_to_prior.value;
/// let third = terms.energy.value + terms.entropy.value;
/// assert!((first - third).abs() < 1e-9 && (first + terms.loss()).abs() < 1e-9);
/// // KL(N(0.2, 1) || N(0, 1)) = 0.02
/// assert!((terms.kl_to_prior.value - 0.02).abs() < 4.0 * terms.kl_to_prior.mcse);
/// # Ok::<(), elbo::Error>(())
/// ```
pub fn elbo_terms<M: PriorAndLikelihood, Q: Family>(
    model: &M,
    q: &Q,
    draws: usize,
    seed: u64,
) -> Result<ElboTerms, Error> {
    check(model, q, draws, 4)?;
    let (mut prior, mut likelihood, mut log_q) = (Vec::new(), Vec::new(), Vec::new());
    visit_draws(q, draws, &mut stream(seed, Purpose::Report, 0), |z| {
        for z in z.chunks_exact(q.dim().max(1)) {
            prior.push(model.log_prior(z));
            likelihood.push(model.log_likelihood(z));
            log_q.push(q.log_prob(z));
        }
    });
    let of =
        |term: &dyn Fn(usize) -> f64| Estimate::mean(&(0..draws).map(term).collect::<Vec<f64>>());
    Ok(ElboTerms {
        reconstruction: of(&|s| likelihood[s]),
        kl_to_prior: of(&|s| log_q[s] - prior[s]),
        energy: of(&|s| likelihood[s] + prior[s]),
        entropy: of(&|s| -log_q[s]),
        elbo: of(&|s| likelihood[s] + prior[s] - log_q[s]),
    })
}
