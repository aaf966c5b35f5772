//! `Entry`: what one method says, and what it cost.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::assignment::assign;
use super::{Compared, Parameter};
use crate::data::Fingerprint;
use crate::diagnostics::Estimate;
use crate::error::Error;
use crate::family::Family;
use crate::fit::Fit;
use crate::posterior::{Draws, Posterior};
use crate::restarts::Restarted;

/// Which number a method makes as large as it can, or knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Quantity {
    /// The evidence lower bound.
    Elbo,
    /// `log p(x)`, everything unknown integrated out.
    LogEvidence,
    /// `log p(x)` at the parameters found.
    LogLikelihood,
    /// `log p(x, z)` at the point found.
    LogJoint,
}

/// As it stands in a table.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Quantity::Elbo => "ELBO",
            Quantity::LogEvidence => "log evidence",
            Quantity::LogLikelihood => "log likelihood",
            Quantity::LogJoint => "log joint",
        })
    }
}

/// What a method reached.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// Of what.
    pub quantity: Quantity,
    /// The number in nats, with its Monte Carlo standard error: 0 where it is exact.
    pub reached: Estimate,
}

/// What one method says of the parameters, what it reached and what that cost.
///
/// ```
/// use elbo::compare::{Entry, Parameter, Quantity};
/// use elbo::data::Fingerprint;
/// // what another program said, of the same numbers
/// let other = Entry::new("Stan")
///     .of(Fingerprint::of(&[[1.7, 1.8, 2.5]]))?
///     .reached(Quantity::LogEvidence, -4.2)
///     .with([Parameter::normal("mu", 1.9, 0.3)]);
/// assert_eq!(other.parameter("mu")?.sd, Some(0.3));
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The method's name.
    pub method: String,
    /// The data it saw; without it an entry does not stand beside others.
    pub data: Option<Fingerprint>,
    /// What it reached.
    pub objective: Option<Objective>,
    /// Wall-clock seconds.
    pub seconds: Option<f64>,
    /// Steps taken.
    pub steps: Option<usize>,
    /// Gradients of the log joint computed, where they were counted.
    pub gradients: Option<usize>,
    /// What it says.
    pub parameters: Vec<Parameter>,
}

/// How many draws a posterior is looked at with.
const DRAWS: usize = 4_000;
/// At most this many numbers are drawn, unless that is fewer than 100 draws.
const HELD: usize = 1 << 24;

impl Entry {
    /// An entry that says nothing yet.
    pub fn new(method: &str) -> Entry {
        Entry {
            method: method.to_string(),
            data: None,
            objective: None,
            seconds: None,
            steps: None,
            gradients: None,
            parameters: Vec::new(),
        }
    }

    /// Says which data it is of, for a method that does not know.
    ///
    /// # Errors
    /// It knows, and it is of other data.
    pub fn of(mut self, data: Fingerprint) -> Result<Entry, Error> {
        if let Some(known) = self.data.filter(|known| *known != data) {
            return Err(Error::Incomparable {
                left: self.method,
                right: "the data given".to_string(),
                reason: format!(
                    "it is a fit of {known}, not of {data}; give the data it was fitted to"
                ),
            });
        }
        self.data = Some(data);
        Ok(self)
    }

    /// With the number it reached, known exactly.
    #[must_use]
    pub fn reached(self, quantity: Quantity, value: f64) -> Entry {
        self.estimated(quantity, Estimate { value, mcse: 0.0, n: 1 })
    }

    /// With the number it reached, known up to Monte Carlo noise.
    #[must_use]
    pub fn estimated(mut self, quantity: Quantity, reached: Estimate) -> Entry {
        self.objective = Some(Objective { quantity, reached });
        self
    }

    /// With the seconds and steps of a run.
    #[must_use]
    pub fn spent<M, Q>(mut self, fit: &Fit<M, Q>) -> Entry {
        (self.seconds, self.steps) = (Some(fit.seconds), Some(fit.trace.len()));
        self
    }

    /// With more parameters.
    #[must_use]
    pub fn with(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Entry {
        self.parameters.extend(parameters);
        self
    }

    /// With a parameter for each column of a table of draws.
    #[must_use]
    pub fn with_draws(self, draws: &Draws) -> Entry {
        let column = |(i, name): (usize, &String)| Parameter::draws(name, &draws.at(i));
        let all: Vec<Parameter> = draws.names().iter().enumerate().map(column).collect();
        self.with(all)
    }

    /// Tells that the numbers of these blocks belong to `k` components, one component after
    /// another, as in `mean[0]`, `mean[1]`, ..: their order is then that of the other entries.
    ///
    /// # Errors
    /// No components, a block that is not there, or one whose numbers `k` does not divide.
    pub fn with_components<N: AsRef<str>>(
        mut self,
        blocks: impl IntoIterator<Item = N>,
        k: usize,
    ) -> Result<Entry, Error> {
        for block in blocks {
            let block = block.as_ref();
            let inside = |p: &Parameter| {
                let rest = p.name.strip_prefix(block);
                p.component.is_none() && rest.is_some_and(|r| r.is_empty() || r.starts_with('['))
            };
            let n = self.parameters.iter().filter(|p| inside(p)).count();
            if k == 0 || n == 0 || !n.is_multiple_of(k) {
                let remedy = format!("`{block}` has {n} numbers, which is no multiple of it");
                return Err(Error::option("components", k, &remedy));
            }
            let each = n / k;
            let own = self.parameters.iter_mut().filter(|p| inside(p));
            for (index, p) in own.enumerate() {
                p.component = Some(index / each);
                p.name = match each {
                    1 => block.to_string(),
                    _ => format!("{block}[{}]", index % each),
                };
            }
        }
        Ok(self)
    }

    /// Calls by another name, that of the other entries, what is called `from` without its component.
    ///
    /// ```
    /// use elbo::compare::{Entry, Parameter};
    /// let own = Entry::new("own").with([Parameter::point("mu", 1.0, None).of_component(0)]);
    /// let own = own.renamed("mu", "mean[eruption]")?;
    /// assert_eq!(own.parameter("mean[0, eruption]")?.estimate, 1.0);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// Nothing is called so.
    pub fn renamed(mut self, from: &str, to: &str) -> Result<Entry, Error> {
        if !self.parameters.iter().any(|p| p.name == from) {
            self.parameter(from)?;
        }
        for p in self.parameters.iter_mut().filter(|p| p.name == from) {
            p.name = to.to_string();
        }
        Ok(self)
    }

    /// The same without what belongs to single components: what is left needs no matching.
    #[must_use]
    pub fn without_components(mut self) -> Entry {
        self.parameters.retain(|p| p.component.is_none());
        self
    }

    /// How many components there are.
    pub fn components(&self) -> usize {
        self.parameters.iter().filter_map(|p| p.component).max().map_or(0, |k| k + 1)
    }

    /// What it says of a parameter, by its [label](Parameter::label).
    ///
    /// # Errors
    /// No such parameter.
    pub fn parameter(&self, label: &str) -> Result<&Parameter, Error> {
        self.parameters.iter().find(|p| p.label() == label).ok_or_else(|| {
            let there: Vec<String> =
                self.parameters.iter().take(12).map(Parameter::label).collect();
            let there =
                format!("the parameters of `{}` begin with {}", self.method, there.join(", "));
            Error::option("parameter", format!("`{label}`"), &there)
        })
    }

    /// The data, which must be known.
    pub(super) fn known_data(&self) -> Result<Fingerprint, Error> {
        self.data.ok_or_else(|| {
            let remedy = "say which, as in `.of(data.fingerprint())`";
            Error::option(&format!("the data of `{}`", self.method), "unknown", remedy)
        })
    }

    /// Gives the components the numbers of those of `other` that they are nearest to; what is left
    /// over keeps its order, behind them.
    pub(super) fn match_to(&mut self, other: &Entry) {
        let (here, there) = (self.components(), other.components());
        if here == 0 || there == 0 {
            return;
        }
        // what a step leads to has no number of its own before the components are matched
        let own = |entry: &Entry| -> Vec<(usize, String, f64)> {
            let of = |p: &Parameter| match p.towards {
                None => Some((p.component?, p.name.clone(), p.estimate)),
                Some(_) => None,
            };
            entry.parameters.iter().filter_map(of).collect()
        };
        let (a, b) = (own(self), own(other));
        let mut cost = vec![0.0; here * there];
        for (k, name, x) in &a {
            // in units of how much components differ in it
            let same = b.iter().filter(|(_, other, _)| other == name);
            let both = a.iter().filter(|(_, other, _)| other == name).chain(same.clone());
            let all: Vec<f64> = both.map(|(_, _, x)| *x).collect();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let spread = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / all.len() as f64;
            if spread > 0.0 {
                same.for_each(|(j, _, y)| cost[k * there + j] += (x - y).powi(2) / spread);
            }
        }
        let pairs = assign(here, there, &cost);
        let mut next = there..;
        let numbers: Vec<usize> =
            pairs.into_iter().map(|j| j.or_else(|| next.next()).unwrap_or(0)).collect();
        for p in &mut self.parameters {
            p.component = p.component.map(|k| numbers[k]);
            p.towards = p.towards.map(|k| numbers[k]);
        }
        // in the order of the new numbers, each name where it was
        let mut places: Vec<usize> = Vec::new();
        let mut order: Vec<&str> = Vec::new();
        for p in &self.parameters {
            let at = order.iter().position(|name| *name == p.name).unwrap_or_else(|| {
                order.push(&p.name);
                order.len() - 1
            });
            places.push(at);
        }
        let mut sorted: Vec<(usize, Parameter)> =
            places.into_iter().zip(std::mem::take(&mut self.parameters)).collect();
        sorted.sort_by_key(|(place, p)| (p.component, *place, p.towards));
        self.parameters = sorted.into_iter().map(|(_, p)| p).collect();
    }
}

/// The parameters on the scale the model was written on, by draws. What data they are of is not
/// known: say so with [`Entry::of`].
impl<Q: Family> Compared for Posterior<Q> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let report = self.examined()?;
        let most = HELD / self.space.natural_dim().max(1);
        let draws = self.draws(DRAWS.min(most.max(100)), report.seed)?;
        let mut entry =
            Entry::new(method).estimated(Quantity::Elbo, report.elbo).with_draws(&draws);
        (entry.seconds, entry.steps) = (Some(report.seconds), Some(report.steps));
        entry.gradients = (report.gradients > 0).then_some(report.gradients);
        Ok(entry)
    }
}

/// The best of several starts; the time is that until all had ended, the steps are those of all.
impl<M, Q> Compared for Restarted<M, Q>
where
    Fit<M, Q>: Compared,
{
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let mut entry = self.fit.entry(method)?;
        entry.seconds = Some(self.seconds);
        entry.steps = Some(self.attempts.iter().map(|a| a.steps).sum());
        Ok(entry)
    }
}
