//! `BadCells`: the cells of a table that may not be there, and the error that names them.

use crate::error::Error;

/// Rows that a message lists.
const SHOWN: usize = 5;

/// What was found so far, row after row.
#[derive(Debug, Default)]
pub(super) struct BadCells {
    first: Option<(usize, usize, f64)>,
    shown: Vec<String>,
    count: usize,
}

impl BadCells {
    /// Looks at row `i`.
    pub(super) fn look(&mut self, i: usize, row: &[f64], bad: impl Fn(usize, f64) -> bool) {
        let Some(j) = row.iter().enumerate().position(|(j, &x)| bad(j, x)) else { return };
        self.first.get_or_insert((i, j, row[j]));
        self.count += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(i.to_string());
        }
    }

    /// An error about the first cell, and how many of `n` rows have one; `remedy` says what to do,
    /// given the column and the rows.
    pub(super) fn refuse(
        self,
        n: usize,
        label: impl Fn(usize) -> String,
        remedy: impl Fn(usize, &str) -> String,
    ) -> Result<(), Error> {
        let Some((i, j, value)) = self.first else { return Ok(()) };
        let more = if self.count > SHOWN { ", ..." } else { "" };
        let plural = if self.count == 1 { "row" } else { "rows" };
        let rows = format!("{plural} {}{more} (rows count from 0).", self.shown.join(", "));
        Err(Error::Data {
            place: format!("data[{i}, {}]", label(j)),
            value: number(value),
            count: format!(" ({} of {n} rows)", self.count),
            remedy: remedy(j, &rows),
        })
    }
}

/// A number as it is read: one too long to be written out by its exponent.
pub(crate) fn number(x: f64) -> String {
    if x.is_finite() && x.abs() >= 1e16 { format!("{x:e}") } else { x.to_string() }
}
