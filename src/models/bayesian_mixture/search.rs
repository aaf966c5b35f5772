//! The whole fit in one call: coordinate ascent from several starts, sped up, the best kept.

use super::{BayesianMixture, MixturePosterior};
use crate::ascent::{EStep, Squarem};
use crate::error::Error;
use crate::fit::{Fit, Options, fit};
use crate::models::choose::groups;
use crate::models::gaussian_mixture::Search;
use crate::restarts::{Restarted, restarts};

/// How many rows a signature looks at.
const LOOKED: usize = 200;
/// How many starts there are unless told otherwise.
const STARTS: usize = 16;

impl BayesianMixture {
    /// Coordinate ascent from sixteen starts by k-means++, the best kept: `fit` with [`Squarem`] of
    /// [`EStep`] from each, by [`restarts`].
    ///
    /// Half of the starts take the rows in fewer groups than there are components, from one fewer down
    /// to two. The other components then have no rows and are what the prior says: they may gather
    /// rows, which is easier than to lose some. Groups are in the order of their size, which the
    /// weights expect where they are sticks.
    ///
    /// ```
    /// use elbo::data::{OLD_FAITHFUL, Observations};
    /// use elbo::models::BayesianMixture;
    /// let data = Observations::new(OLD_FAITHFUL.iter().flatten().copied().collect(), 2)?;
    /// let best = BayesianMixture::new(data, 6)?.fit(1)?;
    /// // there are short eruptions and long ones; the other components have emptied
    /// assert_eq!(best.fit.q.occupied().len(), 2);
    /// println!("{best}"); // what became of each start
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`BayesianMixture::fit_with`].
    pub fn fit(&self, seed: u64) -> Result<Restarted<BayesianMixture, MixturePosterior>, Error> {
        let search = Search::default();
        let options = Options { seed, ..search.options };
        self.fit_with(&Search { options, starts: STARTS, ..search })
    }

    /// The same with other settings.
    ///
    /// # Errors
    /// The first start's error where none came to an end.
    pub fn fit_with(
        &self,
        search: &Search,
    ) -> Result<Restarted<BayesianMixture, MixturePosterior>, Error> {
        let seed = search.options.seed;
        let one = |start: usize| {
            let (mixture, groups) = (self.mixture.clone(), groups(start, self.len()));
            let mixture = mixture.grouped_at(search.start, seed, start as u64, groups)?;
            let model = BayesianMixture { mixture, ..self.clone() };
            let q = model.posterior();
            fit(model, q, Squarem::new(EStep), search.options.clone())
        };
        let step = self.data().len().div_ceil(LOOKED);
        let looked: Vec<usize> = (0..self.data().len()).step_by(step).collect();
        let looked = self.data().gather(&looked)?;
        let signature = |fit: &Fit<BayesianMixture, MixturePosterior>| {
            looked.chunks_exact(self.data().dim()).map(|x| fit.q.log_density(x)).collect()
        };
        restarts(search.starts, one, signature)
    }
}
