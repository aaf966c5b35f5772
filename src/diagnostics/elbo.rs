//! The ELBO on fresh draws, with its Monte Carlo standard error.

use std::fmt;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::family::Family;
use crate::model::Model;
use crate::noise::{Purpose, stream};

/// A number known up to Monte Carlo noise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    #[serde(with = "crate::posterior::any_number")]
    pub value: f64,
    /// Its Monte Carlo standard error.
    #[serde(with = "crate::posterior::any_number")]
    pub mcse: f64,
    /// From how many draws.
    pub n: usize,
}

impl Estimate {
    /// The mean of `terms`, with `sd / sqrt(n)`.
    ///
    /// ```
    /// use elbo::diagnostics::Estimate;
    /// let estimate = Estimate::mean(&[1.0, 2.0, 3.0]);
    /// assert_eq!(estimate.value, 2.0);
    /// assert!((estimate.mcse - (1.0f64 / 3.0).sqrt()).abs() < 1e-15);
    /// ```
    pub fn mean(terms: &[f64]) -> Estimate {
        let n = terms.len();
        let value = terms.iter().sum::<f64>() / n as f64;
        let square: f64 = terms.iter().map(|t| (t - value) * (t - value)).sum();
        let mcse = (square / (n as f64 - 1.0) / n as f64).sqrt();
        Estimate { value, mcse, n }
    }
}

/// `-31.42 ± 0.01`: two digits of the standard error, and the value as far as it is known.
impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.value.is_finite() || !self.mcse.is_finite() {
            return write!(f, "{} ± {}", self.value, self.mcse);
        }
        if self.value.abs() >= 1e15 || self.mcse >= 1e15 {
            return write!(f, "{:.3e} ± {:.1e}", self.value, self.mcse);
        }
        let digits = if self.mcse > 0.0 {
            (1.0 - self.mcse.log10().floor()).clamp(0.0, 9.0) as usize
        } else {
            9
        };
        write!(f, "{:.digits$} ± {:.digits$}", self.value, self.mcse)
    }
}

/// Draws from `q`, with both log densities.
pub(crate) struct Drawn {
    pub(crate) log_p: Vec<f64>,
    pub(crate) log_q: Vec<f64>,
}

/// At most this many numbers are held at once while draws are made.
const HELD: usize = 1 << 20;

/// Makes `draws` draws from stream `index` and shows them to `visit` in groups (`dim x group`).
/// The same arguments make the same draws.
pub(crate) fn visit_draws<Q: Family>(
    q: &Q,
    draws: usize,
    rng: &mut dyn Rng,
    mut visit: impl FnMut(&[f64]),
) {
    let d = q.dim().max(1);
    let group = (HELD / d).clamp(1, draws.max(1));
    let mut z = vec![0.0; group * d];
    for start in (0..draws).step_by(group) {
        let z = &mut z[..group.min(draws - start) * d];
        q.sample(rng, z);
        visit(z);
    }
}

/// Evaluates both log densities at draws made from `rng`, and shows the draws to `visit`.
pub(crate) fn evaluate<M: Model, Q: Family>(
    model: &M,
    q: &Q,
    draws: usize,
    rng: &mut dyn Rng,
    mut visit: impl FnMut(&[f64]),
) -> Drawn {
    let d = q.dim().max(1);
    let (mut log_p, mut log_q) = (vec![0.0; draws], vec![0.0; draws]);
    let mut start = 0;
    visit_draws(q, draws, rng, |z| {
        let end = start + z.len() / d;
        model.log_joint_batch(z, &mut log_p[start..end]);
        q.log_prob_batch(z, &mut log_q[start..end]);
        visit(z);
        start = end;
    });
    Drawn { log_p, log_q }
}

/// `ELBO = E_q[log p(x, z) - log q(z)]` by the mean over `draws` fresh draws (stream
/// [`Purpose::Report`]).
///
/// Where the entropy of `q` is known, `E_q[log p(x, z)] + H(q)` is the same number with other
/// noise; half of the draws says which of the two has less, for the other half, so that the choice
/// does not bias the answer. Near a good `q` the first is far better: its noise vanishes where `q`
/// is the posterior, and where a location-scale family is at its optimum no regression on its
/// noise improves it, the gradient of the ELBO being the covariance of the two.
///
/// # Errors
/// Fewer than 4 draws, or a family and a model of different dimension.
///
/// ```
/// use elbo::{density, diagnostics, from_fn, MeanFieldGaussian, Space};
/// let mut space = Space::new();
/// let mu = space.real("mu");
/// // y = 1.2 from N(mu, 1), mu from N(0, 1)
/// let model =
///     from_fn(space, move |z| density::normal(z[mu], 0.0, 1.0) + density::normal(z[mu], 1.2, 1.0));
/// let q = MeanFieldGaussian::new(vec![0.2], &[1.0])?;
/// let elbo = diagnostics::elbo(&model, &q, 10_000, 1)?;
/// assert!((elbo.value - -1.93893853).abs() < 4.0 * elbo.mcse);
/// // the exact posterior: the ELBO is the log evidence, without noise
/// let exact = MeanFieldGaussian::new(vec![0.6], &[0.5f64.sqrt()])?;
/// let elbo = diagnostics::elbo(&model, &exact, 100, 1)?;
/// assert!((elbo.value - -1.62551212).abs() < 1e-8 && elbo.mcse < 1e-12);
/// # Ok::<(), elbo::Error>(())
/// ```
pub fn elbo<M: Model, Q: Family>(
    model: &M,
    q: &Q,
    draws: usize,
    seed: u64,
) -> Result<Estimate, Error> {
    check(model, q, draws, 4)?;
    let drawn = evaluate(model, q, draws, &mut stream(seed, Purpose::Report, 0), |_| {});
    Ok(elbo_of(&drawn.log_p, &drawn.log_q, q.entropy()))
}

pub(crate) fn check<M: Model, Q: Family>(
    model: &M,
    q: &Q,
    draws: usize,
    least: usize,
) -> Result<(), Error> {
    if draws < least {
        return Err(Error::option("draws", draws, &format!("take at least {least}")));
    }
    Error::expect_len("the family", q.dim(), "the model", model.dim())
}

/// The estimate out of both log densities: see [`elbo`].
pub(crate) fn elbo_of(log_p: &[f64], log_q: &[f64], entropy: Option<f64>) -> Estimate {
    let mut terms: Vec<f64> = log_p.iter().zip(log_q).map(|(p, q)| p - q).collect();
    if let Some(entropy) = entropy.filter(|h| h.is_finite()) {
        let half = terms.len() / 2;
        let quieter = |part: std::ops::Range<usize>| {
            Estimate::mean(&log_p[part.clone()]).mcse < Estimate::mean(&terms[part]).mcse
        };
        let (first, second) = (quieter(half..terms.len()), quieter(0..half));
        for (s, term) in terms.iter_mut().enumerate() {
            if if s < half { first } else { second } {
                *term = log_p[s] + entropy;
            }
        }
    }
    Estimate::mean(&terms)
}
