//! `Emission`: what the rows look like in a state.

use serde::{Deserialize, Serialize};

use super::densities::Form;
use crate::data::Observations;
use crate::error::Error;
use crate::models::discrete_mixture::{Column, Layout};

/// What the rows look like in a state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Emission {
    /// Normal, with a covariance of its own for each state. A row may be missing as a whole.
    Gaussian,
    /// The same with independent columns. Single cells may be missing.
    DiagonalGaussian,
    /// Independent columns of binary cells, levels or counts, by column. Single cells may be missing.
    Columns(Vec<Column>),
}

impl Emission {
    /// Every column counts.
    pub fn poisson(columns: usize) -> Emission {
        Emission::Columns(vec![Column::Count; columns])
    }

    /// The form of the densities; refuses data that do not have it.
    pub(super) fn form(&self, data: &Observations) -> Result<Form, Error> {
        let d = data.dim();
        match self {
            Emission::Gaussian if d > 1 => {
                let whole = |row: &[f64]| {
                    let missing = row.iter().filter(|x| x.is_nan()).count();
                    missing == 0 || missing == d
                };
                let part = data.rows().position(|row| !whole(row));
                let Some(i) = part else { return Ok(Form::Full(d)) };
                let j = data.row(i).iter().position(|x| x.is_nan()).unwrap_or(0);
                Err(Error::Data {
                    place: format!("data[{i}, {}]", data.label(j)),
                    value: "NaN, while other cells of the row are not".to_string(),
                    count: String::new(),
                    remedy: format!(
                        "Take Emission::DiagonalGaussian, which allows for that, or make all of row {i} NaN (rows count from 0)"
                    ),
                })
            }
            Emission::Gaussian | Emission::DiagonalGaussian => Ok(Form::Diagonal(d)),
            Emission::Columns(columns) => {
                let layout = Layout::new(columns);
                layout.check(data)?;
                Ok(Form::Discrete(layout))
            }
        }
    }
}
