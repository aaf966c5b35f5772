//! The whole fit in one call: EM from several starts, sped up.

use super::{HiddenMarkov, States};
use crate::ascent::{EStep, MStep, Squarem};
use crate::error::Error;
use crate::fit::{Fit, Options, fit};
use crate::restarts::{Restarted, restarts};
use crate::stop::Stop;
use crate::warning::{Code, Warning};

/// How many starts.
const STARTS: usize = 10;
/// EM may crawl: it gains next to nothing a step where there is still much to be had.
const GAIN: f64 = 1e-12;

/// How a climb ends.
pub(super) fn options(seed: u64) -> Options {
    Options { seed, stop: Stop::Exact { gain: GAIN }, ..Options::exact() }
}

/// What is said of a fit that several starts have been made for.
pub(super) fn failures<M, Q>(best: &mut Restarted<M, Q>) {
    let failed = best.attempts.iter().filter(|a| a.elbo.is_err()).count();
    if let Some(e) = best.attempts.iter().find_map(|a| a.elbo.as_ref().err()) {
        let message = format!("{failed} of {} starts failed; the first: {e}", best.attempts.len());
        best.fit.warnings.push(Warning::new(Code::CollapsedComponent, message));
    }
}

impl HiddenMarkov {
    /// EM from ten starts, the best kept: `fit` with [`Squarem`] of `(EStep, MStep)` from each, by
    /// [`restarts`]. The states begin at centres by k-means++ as the components of a mixture do; the
    /// probabilities of the steps are drawn at random at every second start, at the others states stay.
    ///
    /// ```
    /// use elbo::data::{NILE, Observations};
    /// use elbo::models::hidden_markov::{HiddenMarkov, Sequences};
    /// let flows = Sequences::one(Observations::new(NILE.to_vec(), 1)?)?;
    /// let best = HiddenMarkov::gaussian(flows, 2)?.fit(1)?;
    /// // less water since 1899, the year of row 28
    /// let path = best.fit.model.path(best.fit.model.sequences())?;
    /// let change = (1..100).find(|&t| path[t] != path[0]);
    /// assert_eq!(change, Some(28));
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first start's error where none came to an end: a state that emptied or collapsed.
    pub fn fit(&self, seed: u64) -> Result<Restarted<HiddenMarkov, States>, Error> {
        self.fit_with(STARTS, &options(seed))
    }

    /// The same from as many starts as wanted, each climb ending as the options say; their seed is
    /// that of the starts, too.
    ///
    /// # Errors
    /// As [`HiddenMarkov::fit`].
    pub fn fit_with(
        &self,
        starts: usize,
        options: &Options,
    ) -> Result<Restarted<HiddenMarkov, States>, Error> {
        let one = |start: usize| {
            let model = self.clone().started_at(options.seed, start as u64)?;
            let q = model.states();
            fit(model, q, Squarem::new((EStep, MStep)), options.clone())
        };
        let signature =
            |fit: &Fit<HiddenMarkov, States>| fit.model.score(&self.sequences).unwrap_or_default();
        let mut best = restarts(starts, one, signature)?;
        failures(&mut best);
        Ok(best)
    }
}
