//! `Draws`: a named table of draws on the natural scale.

use std::io::Write;

use serde::{Deserialize, Serialize};

use crate::diagnostics::{Row, Summary};
use crate::error::Error;

/// Draws from a posterior on the scale the model was written on: one row a draw, one named column a
/// number, and further columns derived from them.
///
/// ```
/// use elbo::{MeanFieldGaussian, Posterior, Space};
/// let mut space = Space::new();
/// let (mu, tau) = (space.real("mu"), space.positive("tau"));
/// let q = MeanFieldGaussian::new(vec![1.0, 0.0], &[0.1, 0.2])?;
/// let mut draws = Posterior::new(space.unconstrained(), q)?.draws(1000, 7)?;
/// draws.derive("mu / tau", |z| z[mu] / z[tau]);
/// assert_eq!(draws.names(), ["mu", "tau", "mu / tau"]);
/// let (mu, tau, ratio) =
///     (draws.column("mu")?, draws.column("tau")?, draws.column("mu / tau")?);
/// assert!(tau.iter().all(|t| *t > 0.0));
/// assert_eq!(ratio[17], mu[17] / tau[17]);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draws {
    names: Vec<String>,
    /// The parameters, draw after draw.
    #[serde(with = "crate::lossless::many")]
    values: Vec<f64>,
    len: usize,
    /// The derived columns, each of `len`.
    #[serde(with = "crate::lossless::columns")]
    derived: Vec<Vec<f64>>,
}

impl Draws {
    pub(crate) fn new(names: Vec<String>, values: Vec<f64>, len: usize) -> Draws {
        Draws { names, values, len, derived: Vec::new() }
    }

    /// How many draws.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The columns' names: the parameters, then what was derived.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    fn width(&self) -> usize {
        self.names.len() - self.derived.len()
    }

    /// The parameters of draw `s`; typed handles read it, `row[mu]`.
    ///
    /// # Panics
    /// If there is no draw `s`.
    pub fn row(&self, s: usize) -> &[f64] {
        &self.values[s * self.width()..(s + 1) * self.width()]
    }

    /// The parameters of each draw in turn.
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        (0..self.len).map(|s| self.row(s))
    }

    /// The values of one column, in the order of the draws.
    ///
    /// # Errors
    /// No column has this name: the message lists those there are.
    pub fn column(&self, name: &str) -> Result<Vec<f64>, Error> {
        let Some(i) = self.names.iter().position(|n| n == name) else {
            let mut there = self.names.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
            if self.names.len() > 12 {
                there += ", ...";
            }
            return Err(Error::option(
                "column",
                format!("`{name}`"),
                &format!("there are {there}"),
            ));
        };
        Ok(self.at(i))
    }

    pub(crate) fn at(&self, i: usize) -> Vec<f64> {
        match i.checked_sub(self.width()) {
            Some(derived) => self.derived[derived].clone(),
            None => self.rows().map(|row| row[i]).collect(),
        }
    }

    /// Adds a column computed from each draw: a prediction, a contrast, a probability.
    pub fn derive(&mut self, name: &str, f: impl Fn(&[f64]) -> f64) -> &mut Draws {
        let column = self.rows().map(f).collect();
        self.names.push(name.to_string());
        self.derived.push(column);
        self
    }

    /// Mean of `f` over the draws: `draws.mean_of(|z| if z[mu] > 0.0 { 1.0 } else { 0.0 })` is the
    /// probability of `mu > 0`.
    pub fn mean_of(&self, f: impl Fn(&[f64]) -> f64) -> f64 {
        self.rows().map(f).sum::<f64>() / self.len as f64
    }

    /// One summary row a column.
    pub fn summary(&self) -> Summary {
        let row = |(i, name): (usize, &String)| Row::of(name, self.at(i));
        Summary { draws: self.len, rows: self.names.iter().enumerate().map(row).collect() }
    }

    /// Writes a header and one line a draw.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_csv(&self, to: impl Write) -> Result<(), Error> {
        let mut csv = csv::Writer::from_writer(to);
        let mut write = || -> Result<(), csv::Error> {
            csv.write_record(&self.names)?;
            for s in 0..self.len {
                let derived = self.derived.iter().map(|column| &column[s]);
                csv.write_record(self.row(s).iter().chain(derived).map(f64::to_string))?;
            }
            Ok(csv.flush()?)
        };
        write().map_err(|e| super::file_error("the table of draws", e))
    }
}
