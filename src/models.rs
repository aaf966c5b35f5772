//! Models whose moves are exact: fitted by `EStep` and `MStep` in the loop that fits everything else.

pub mod linear_regression;
pub mod normal;
