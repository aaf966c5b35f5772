//! The exact moves: the posterior of the states, and the best parameters (Baum and Welch).

use super::parameters::Lost;
use super::{HiddenMarkov, States};
use crate::error::Error;
use crate::model::{Conjugate, Maximize};

/// The share of a row below which a state has no rows left.
const EMPTY: f64 = 1e-10;

impl Conjugate<States> for HiddenMarkov {
    /// # Errors
    /// A rate other than 1, which the states, made anew from the parameters, have no use for; a
    /// sequence that has probability 0.
    fn natural_step(&self, q: &mut States, rate: f64) -> Result<f64, Error> {
        if rate != 1.0 {
            let remedy = "the states are made anew from the parameters: use EStep";
            return Err(Error::option("rate of NaturalStep", rate, remedy));
        }
        q.replace(&self.sequences, &self.chain, &self.densities)?;
        Ok(q.sums.log_normalizer + self.base + self.log_prior())
    }
}

impl Maximize<States> for HiddenMarkov {
    fn maximize(&mut self, q: &States) -> Result<f64, Error> {
        if q.sums.is_empty() {
            let reason = "no E-step has been made yet; use the pair (EStep, MStep)".to_string();
            return Err(Error::Ascent { block: "MStep".to_string(), reason });
        }
        let empty = (0..self.len()).find(|&k| q.expected_count(k) < EMPTY).map(Lost::Emptied);
        let done = match empty {
            Some(lost) if self.prior.is_none() => Err(lost),
            _ => self.parameters.maximize(&q.sums, self.prior.as_ref()),
        };
        done.map_err(|lost| self.lost(q, lost))?;
        self.settle();
        let rows = q.sums.expected_log_joint(&self.chain, &self.densities);
        Ok(rows + q.entropy + self.base + self.log_prior())
    }
}

impl HiddenMarkov {
    /// The error about a state that cannot go on, with its rows.
    fn lost(&self, q: &States, lost: Lost) -> Error {
        let rows = self.sequences.rows();
        let (k, what) = match lost {
            Lost::Emptied(k) => {
                let left = q.expected_count(k);
                (k, format!("has emptied: it has {left:.1e} rows of {} left", rows.len()))
            }
            Lost::Collapsed(k, j) => {
                let label = rows.label(j);
                (k, format!("has collapsed: nothing is left of its variance in column {label}"))
            }
        };
        let marginals = q.marginals();
        let own: Vec<usize> =
            (0..rows.len()).filter(|i| marginals[i * self.len() + k] > 0.5).collect();
        const SHOWN: usize = 8;
        let shown: Vec<String> = own.iter().take(SHOWN).map(usize::to_string).collect();
        let more = if own.len() > SHOWN { ", .." } else { "" };
        let members = match own.len() {
            0 => "no row is mostly its own".to_string(),
            1 => format!("its only row is {}", shown[0]),
            n => format!("its {n} rows are {}{more}", shown.join(", ")),
        };
        let reason = format!(
            "state {k} {what} ({members}); take a prior, under which that cannot be, `.with_prior(Prior::weak(&model))`, or fewer states, or another start, or `.bayesian()`"
        );
        Error::Ascent { block: "MStep".to_string(), reason }
    }
}
