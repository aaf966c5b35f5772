//! The whole fit in one call: EM from several starts, sped up.

use super::{DiscreteMixture, Labels};
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
/// How many rows a signature looks at.
const LOOKED: usize = 200;

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

impl DiscreteMixture {
    /// EM from ten starts, the best kept: `fit` with [`Squarem`] of `(EStep, MStep)` from each, by
    /// [`restarts`]. Columns that are constant or repeat another are warnings.
    ///
    /// ```
    /// use elbo::data::Observations;
    /// use elbo::models::DiscreteMixture;
    /// let cells = vec![0., 2., 0., 2., 1., 0., 1., 0., 0., 2., 1., 1.];
    /// let best = DiscreteMixture::categorical(Observations::new(cells, 2)?, 2)?.fit(1)?;
    /// println!("{best}"); // what became of each start
    /// assert_eq!(best.attempts.len(), 10);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// The first start's error where none came to an end: a component that emptied.
    pub fn fit(&self, seed: u64) -> Result<Restarted<DiscreteMixture, Labels>, Error> {
        self.fit_with(STARTS, &options(seed))
    }

    /// The same from as many starts as wanted, each climb ending as the options say; their seed is
    /// that of the starts, too.
    ///
    /// # Errors
    /// As [`DiscreteMixture::fit`].
    pub fn fit_with(
        &self,
        starts: usize,
        options: &Options,
    ) -> Result<Restarted<DiscreteMixture, Labels>, Error> {
        let one = |start: usize| {
            let model = self.clone().started_at(options.seed, start as u64);
            let q = model.labels();
            fit(model, q, Squarem::new((EStep, MStep)), options.clone())
        };
        let step = self.data.len().div_ceil(LOOKED);
        let signature = |fit: &Fit<DiscreteMixture, Labels>| {
            self.data.rows().step_by(step).map(|x| fit.model.log_probability(x)).collect()
        };
        let mut best = restarts(starts, one, signature)?;
        let redundant = self.data.warnings().into_iter().filter(|w| w.code == Code::Collinear);
        best.fit.warnings.extend(redundant);
        failures(&mut best);
        Ok(best)
    }
}
