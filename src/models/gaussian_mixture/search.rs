//! The whole fit in one call: EM from several starts, sped up, and what there is to be said of the
//! answer.

use super::maximize::OFFER;
use super::{Covariance, GaussianMixture, Labels, Start};
use crate::ascent::{EStep, MStep, Squarem};
use crate::error::Error;
use crate::fit::{Fit, Options, fit};
use crate::restarts::{Restarted, restarts};
use crate::stop::Stop;
use crate::warning::{Code, Warning};

/// From where, and how often, to climb.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// How many starts.
    pub starts: usize,
    /// Of which kind.
    pub start: Start,
    /// How each climb ends; its seed is that of the starts, too.
    pub options: Options,
}

impl Default for Search {
    fn default() -> Search {
        let options = Options { stop: Stop::Exact { gain: GAIN }, ..Options::exact() };
        Search { starts: 10, start: Start::KMeans, options }
    }
}

/// EM may crawl: it gains next to nothing a step where there is still much to be had.
const GAIN: f64 = 1e-12;
/// How many rows a signature looks at.
const LOOKED: usize = 200;

impl GaussianMixture {
    /// EM from ten starts by k-means++, the best kept: `fit` with [`Squarem`] of `(EStep, MStep)`
    /// from each, by [`restarts`].
    ///
    /// ```
    /// use elbo::data::{IRIS, Observations};
    /// use elbo::models::GaussianMixture;
    /// let data = Observations::new(IRIS.iter().flatten().copied().collect(), 4)?;
    /// let best = GaussianMixture::new(data, 3)?.fit(1)?;
    /// assert!((best.fit.model.criteria().log_likelihood + 180.1855).abs() < 1e-3);
    /// println!("{best}"); // what became of each start
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`GaussianMixture::fit_with`].
    pub fn fit(&self, seed: u64) -> Result<Restarted<GaussianMixture, Labels>, Error> {
        let search = Search::default();
        let options = Options { seed, ..search.options };
        self.fit_with(&Search { options, ..search })
    }

    /// The same with other settings.
    ///
    /// # Errors
    /// The first start's error where none came to an end: a component that collapsed or emptied,
    /// with its rows.
    pub fn fit_with(&self, search: &Search) -> Result<Restarted<GaussianMixture, Labels>, Error> {
        let seed = search.options.seed;
        let one = |start: usize| {
            let model = self.clone().started_at(search.start, seed, start as u64)?;
            let q = model.labels();
            fit(model, q, Squarem::new((EStep, MStep)), search.options.clone())
        };
        let step = self.data().len().div_ceil(LOOKED);
        let looked: Vec<usize> = (0..self.data().len()).step_by(step).collect();
        let looked = self.data().gather(&looked)?;
        let signature = |fit: &Fit<GaussianMixture, Labels>| {
            looked.chunks_exact(self.data().dim()).map(|x| fit.model.log_density(x)).collect()
        };
        let mut best = restarts(search.starts, one, signature)?;
        let said = best.fit.model.warnings(&best.fit.q);
        best.fit.warnings.extend(said.into_iter().chain(self.data().warnings()));
        let failed = best.attempts.iter().filter(|a| a.elbo.is_err()).count();
        if let Some(e) = best.attempts.iter().find_map(|a| a.elbo.as_ref().err()) {
            let message = format!("{failed} of {} starts failed; the first: {e}", search.starts);
            let warning = Warning::new(Code::CollapsedComponent, message);
            best.fit.warnings.push(warning.try_this(OFFER));
        }
        Ok(best)
    }

    /// Components that few rows hold up: their likelihood is that of chance.
    fn warnings(&self, q: &Labels) -> Vec<Warning> {
        let dim = self.components.dim;
        let least = match self.covariance {
            Covariance::Full => dim + 1,
            Covariance::Tied => 1,
            Covariance::Diagonal => 2,
            Covariance::Spherical => 2,
        };
        let few = (0..self.len()).filter(|&k| q.expected_count(k) < least as f64 + 0.5);
        few.filter(|_| self.prior.is_none())
            .map(|k| {
                let (n, members) = (q.expected_count(k), self.members(q, k));
                let message = match self.covariance {
                    Covariance::Tied => format!(
                        "component {k} rests on {n:.1} rows ({members}): its mean is theirs, and is no cluster"
                    ),
                    _ => format!(
                        "component {k} rests on {n:.1} rows, where a covariance alone takes {least} ({members})"
                    ),
                };
                Warning::new(Code::CollapsedComponent, message).try_this(OFFER)
            })
            .collect()
    }
}
