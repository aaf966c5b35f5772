//! The fit of one model, and what the table says about it.

use std::time::Instant;

use elbo::{Family, infer};

use super::case::LogJoint;

/// How many draws of `q` the moments are taken over.
const DRAWS: usize = 20_000;

/// A fit that has been examined.
pub struct Fitted {
    /// Unconstrained dimension.
    pub d: usize,
    /// The family of `q`.
    pub family: &'static str,
    /// Wall-clock seconds from the model to the verdict.
    pub seconds: f64,
    /// How often the gradient was evaluated.
    pub gradient_evaluations: usize,
    /// In nats.
    pub elbo: f64,
    /// Its Monte Carlo standard error.
    pub elbo_mcse: f64,
    /// The shape of the tail of the importance weights.
    pub khat: f64,
    /// One word for whether the result can be used.
    pub verdict: String,
    /// Draws on the natural scale, one after another.
    pub draws: Vec<f64>,
}

/// Fits a model, with no choice of its own.
pub fn fit(model: LogJoint) -> Result<Fitted, elbo::Error> {
    let begun = Instant::now();
    let posterior = infer(model)?;
    let seconds = begun.elapsed().as_secs_f64();
    let report = posterior.examined()?;
    Ok(Fitted {
        d: posterior.q.dim(),
        family: posterior.q.name(),
        seconds,
        gradient_evaluations: report.gradients,
        elbo: report.elbo.value,
        elbo_mcse: report.elbo.mcse,
        khat: report.fidelity.khat,
        verdict: report.judgement.verdict.to_string(),
        draws: posterior.draws(DRAWS, 1)?.rows().flatten().copied().collect(),
    })
}
