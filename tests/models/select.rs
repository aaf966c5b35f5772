//! `select`: every choice is the fit it says, the best has the lowest BIC, of equals the first.

use elbo::Error;
use elbo::data::{OLD_FAITHFUL, Observations};
use elbo::models::gaussian_mixture::select;
use elbo::models::{Covariance, GaussianMixture};

use crate::moves::{last, message};

fn eruptions() -> Result<Observations, Error> {
    Observations::new(OLD_FAITHFUL.iter().flatten().copied().collect(), 2)
}

#[test]
fn the_table_is_that_of_its_fits_and_the_best_the_lowest() -> Result<(), Error> {
    let all = select(eruptions()?, 1..=3, &Covariance::ALL, 4)?;
    assert_eq!(all.candidates.len(), 3 * Covariance::ALL.len());
    for (at, c) in all.candidates.iter().enumerate() {
        let alone = GaussianMixture::of_kind(eruptions()?, c.components, c.covariance)?.fit(4)?;
        let (a, b) = (c.result.clone()?, alone.fit.model.criteria());
        assert_eq!(a, b, "{} {:?}", c.components, c.covariance);
        assert!(all.candidates[all.best].result.clone()?.bic <= a.bic);
        // rows of the table: a head, then one a choice, the best marked
        let text = all.to_string();
        let line = text.lines().nth(1 + at).expect("a line for each");
        assert_eq!(line.ends_with(" <"), at == all.best, "{line}");
        assert!(line.contains(c.covariance.name()) && line.contains(&format!("{:.3}", a.bic)));
    }
    let best = &all.candidates[all.best];
    assert_eq!(all.fit.fit.model.len(), best.components);
    assert_eq!(all.fit.fit.model.covariance_kind(), best.covariance);
    let reached = best.result.clone()?.log_likelihood;
    assert!((last(&all.fit.fit) - reached).abs() < 1e-6);
    Ok(())
}

/// The same choice twice is a tie; a choice that cannot be is listed, and never the best.
#[test]
fn of_equals_the_first_and_of_failures_none() -> Result<(), Error> {
    let kinds = [Covariance::Tied];
    let all = select(eruptions()?, [900, 3, 2, 3], &kinds, 4)?;
    assert_eq!(all.best, 1);
    let failed = all.candidates[0].result.clone().map(|_| ());
    assert!(message(failed).starts_with("E10 components is 900; the data have only 256"));
    assert!(all.to_string().lines().nth(1).is_some_and(|line| line.contains("components is 900")));
    let text = message(select(eruptions()?, [900, 901], &kinds, 4));
    assert!(text.starts_with("E10 components is 900"), "{text}");
    let text = message(select(eruptions()?, [], &kinds, 4));
    assert!(text.starts_with("E10 the list of choices is empty"), "{text}");
    Ok(())
}
