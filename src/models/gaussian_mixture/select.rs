//! `select`: how many components, and which covariances.

use std::fmt;

use super::{Covariance, Criteria, GaussianMixture, Labels};
use crate::data::Source;
use crate::error::Error;
use crate::restarts::Restarted;

/// One choice, and what came of it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// `K`
    pub components: usize,
    /// The kind of covariance.
    pub covariance: Covariance,
    /// How well it fits, or why it could not be fitted.
    pub result: Result<Criteria, Error>,
}

/// All choices, side by side, and the fit of the best.
#[derive(Clone, Debug)]
pub struct Selection {
    /// In the order asked for: for each number of components all kinds of covariance.
    pub candidates: Vec<Candidate>,
    /// Which of them has the lowest BIC.
    pub best: usize,
    /// Its fit.
    pub fit: Restarted<GaussianMixture, Labels>,
}

/// Fits a mixture for each number of components and each kind of covariance, each from ten starts,
/// and compares them by BIC. A choice that cannot be fitted is listed with its error.
///
/// ```
/// use elbo::data::{OLD_FAITHFUL, Observations};
/// use elbo::models::Covariance;
/// use elbo::models::gaussian_mixture::select;
/// let cells = OLD_FAITHFUL.iter().flatten().copied().collect();
/// let data = Observations::new(cells, 2)?;
/// let all = select(data, 2..=3, &[Covariance::Full, Covariance::Tied], 1)?;
/// let best = &all.candidates[all.best];
/// // as R's mclust chooses
/// assert_eq!((best.components, best.covariance), (3, Covariance::Tied));
/// # Ok::<(), elbo::Error>(())
/// ```
///
/// # Errors
/// No choices, or none that could be fitted: the error of the first.
pub fn select(
    data: impl Into<Source>,
    components: impl IntoIterator<Item = usize>,
    covariances: &[Covariance],
    seed: u64,
) -> Result<Selection, Error> {
    let data = data.into();
    let choices: Vec<(usize, Covariance)> =
        components.into_iter().flat_map(|k| covariances.iter().map(move |&c| (k, c))).collect();
    if choices.is_empty() {
        return Err(Error::option(
            "the list of choices",
            "empty",
            "give components and covariances",
        ));
    }
    let (mut candidates, mut best) = (Vec::new(), None);
    for (components, covariance) in choices {
        // the starts of each are spread over threads
        let fit = GaussianMixture::of_kind(data.clone(), components, covariance)
            .and_then(|model| model.fit(seed));
        let result = fit.as_ref().map(|best| best.fit.model.criteria()).map_err(Error::clone);
        if let (Ok(criteria), Ok(fit)) = (&result, fit)
            && best.as_ref().is_none_or(|(_, bic, _)| criteria.bic < *bic)
        {
            best = Some((candidates.len(), criteria.bic, fit));
        }
        candidates.push(Candidate { components, covariance, result });
    }
    match best {
        Some((best, _, fit)) => Ok(Selection { candidates, best, fit }),
        None => {
            let first = candidates.swap_remove(0).result.err();
            Err(first.unwrap_or(Error::NoData { what: "the list of choices".to_string() }))
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["log lik.", "p", "AIC", "BIC", "ICL"];
        let [l, p, aic, bic, icl] = names;
        writeln!(f, "{:>2}  {:<9}  {l:>11}  {p:>4}  {aic:>11}  {bic:>11}  {icl:>11}", "K", "")?;
        for (at, c) in self.candidates.iter().enumerate() {
            write!(f, "{:>2}  {:<9}", c.components, c.covariance.name())?;
            let mark = if at == self.best { " <" } else { "" };
            match &c.result {
                Ok(r) => writeln!(
                    f,
                    "  {:>11.3}  {:>4}  {:>11.3}  {:>11.3}  {:>11.3}{mark}",
                    r.log_likelihood, r.n_parameters, r.aic, r.bic, r.icl
                )?,
                Err(e) => writeln!(f, "  {e}")?,
            }
        }
        Ok(())
    }
}
