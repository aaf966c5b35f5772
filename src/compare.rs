//! `compare`: fits of one data set side by side, whatever the method that made them.

mod assignment;
mod entry;
mod parameter;
mod table;

pub use entry::{Entry, Objective, Quantity};
pub use parameter::Parameter;

use serde::{Deserialize, Serialize};

use crate::data::Fingerprint;
use crate::error::Error;

/// A fit, a posterior or an exact answer that can stand in a comparison.
///
/// An implementor names its parameters as others name the same ones: `mean[eruption]` of a
/// component `k` ([`Parameter::of_component`]), `transition` of a step from one state to another
/// ([`Parameter::of_step`]), `beta[1]`, .. (as a [`Space`](crate::Space) numbers them), `noise_sd`.
pub trait Compared {
    /// What it says, under the name of the method that found it.
    ///
    /// # Errors
    /// Whatever keeps it from saying it: a posterior that was never examined, for one.
    fn entry(&self, method: &str) -> Result<Entry, Error>;
}

/// Entries of one data set, side by side. Components of mixtures have the numbers of the first entry
/// that has components: those of the others were matched to them.
///
/// `Display` prints a line a method and then, parameter by parameter, what each method says of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The data that all are fits of.
    pub data: Fingerprint,
    /// One a method, in the order given.
    pub entries: Vec<Entry>,
}

/// Puts fits of one data set side by side: what each method says of each parameter, with its
/// interval, what it reached, and what that cost.
///
/// Mixtures do not order their components. Those of each entry are matched to those of the first
/// that has any: of all ways to pair them the one with the least sum of squared differences of the
/// estimates, in units of how much they vary (Kuhn 1955).
///
/// A bound, an evidence and a log likelihood at a point are not the same thing: bounds and evidences
/// compare with each other, a maximum of the likelihood with none of them.
///
/// ```
/// use elbo::models::normal::{Normal, NormalGamma};
/// use elbo::{Compared, EStep, Options, compare, fit};
/// let prior = NormalGamma { m: 0.0, kappa: 0.1, a: 2.0, b: 2.0 };
/// let model = Normal::new(&[1.7, 1.8, 2.5, 0.3, 1.1], prior)?;
/// let (exact, q) = (model.entry("exact")?, model.start());
/// let cavi = fit(model, q, EStep, Options::exact())?.entry("CAVI")?;
/// let both = compare([exact, cavi])?;
/// println!("{both}");
/// let (truth, found) = (both.find("exact", "mu")?, both.find("CAVI", "mu")?);
/// assert!((truth.estimate - found.estimate).abs() < 1e-9);
/// assert!(found.sd < truth.sd); // what is shared with tau is not seen
/// // another sample is refused
/// let other = Normal::new(&[1.7, 1.8, 2.5, 0.3, 9.9], prior)?.entry("other")?;
/// let mixed = compare([both.entries[0].clone(), other]).unwrap_err();
/// assert!(mixed.to_string().starts_with("E17 `exact` and `other` do not compare: they are fits of different data"));
/// # Ok::<(), elbo::Error>(())
/// ```
///
/// # Errors
/// No entries, two of one name, one that does not say what data it is of ([`Entry::of`]), and fits
/// of different data.
pub fn compare(entries: impl IntoIterator<Item = Entry>) -> Result<Comparison, Error> {
    let mut entries: Vec<Entry> = entries.into_iter().collect();
    let Some(first) = entries.first() else {
        return Err(Error::option("the number of fits", 0, "give at least one"));
    };
    let data = first.known_data()?;
    for (i, entry) in entries.iter().enumerate() {
        if entries[..i].iter().any(|e| e.method == entry.method) {
            let name = format!("`{}`", entry.method);
            return Err(Error::option("the name of a second fit", name, "give each its own"));
        }
        let other = entry.known_data()?;
        if other != data {
            return Err(Error::Incomparable {
                left: first.method.clone(),
                right: entry.method.clone(),
                reason: format!(
                    "they are fits of different data ({data} and {other}); fit both to the same rows"
                ),
            });
        }
    }
    if let Some(first) = entries.iter().position(|e| e.components() > 0) {
        let (reference, others) = entries[first..].split_at_mut(1);
        others.iter_mut().for_each(|other| other.match_to(&reference[0]));
    }
    Ok(Comparison { data, entries })
}

impl Comparison {
    /// The parameters, in the order in which the entries name them first.
    pub fn parameters(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for name in self.entries.iter().flat_map(|e| e.parameters.iter().map(Parameter::label)) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        all
    }

    /// The entry of a method.
    ///
    /// # Errors
    /// No such method: the message lists those there are.
    pub fn entry(&self, method: &str) -> Result<&Entry, Error> {
        self.entries.iter().find(|e| e.method == method).ok_or_else(|| {
            let there: Vec<&str> = self.entries.iter().map(|e| e.method.as_str()).collect();
            let there = format!("the methods are {}", there.join(", "));
            Error::option("method", format!("`{method}`"), &there)
        })
    }

    /// What a method says of a parameter.
    ///
    /// # Errors
    /// No such method, or a parameter it does not name.
    pub fn find(&self, method: &str, parameter: &str) -> Result<&Parameter, Error> {
        self.entry(method)?.parameter(parameter)
    }
}
