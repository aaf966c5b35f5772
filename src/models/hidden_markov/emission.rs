//! `Emission`: what the rows look like in a state.

use serde::{Deserialize, Serialize};

use super::densities::Form;
use crate::data::Observations;
use crate::error::Error;
use crate::models::discrete_mixture::{Column, Layout};

/// What the rows look like in a state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Emission {
    /// Normal, with a covariance of its own for each state. Rows and single cells may be missing.
    Gaussian,
    /// The same with independent columns.
    DiagonalGaussian,
    /// Independent columns of binary cells, levels or counts, by column. Cells may be missing.
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
            Emission::Gaussian if d > 1 => Ok(Form::Full(d)),
            Emission::Gaussian | Emission::DiagonalGaussian => Ok(Form::Diagonal(d)),
            Emission::Columns(columns) => {
                let layout = Layout::new(columns);
                layout.check(data)?;
                Ok(Form::Discrete(layout))
            }
        }
    }
}
