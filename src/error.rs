//! `Error`: what went wrong, where, and what to do about it.

use serde::{Deserialize, Serialize};

/// Why a fit, a check or a file could not go on. Every message says what, where and what to do;
/// [`Error::code`] is stable.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Error {
    /// A number in the data is missing, infinite or out of range.
    #[error("E01 {place} is {value}{count}. {remedy}")]
    Data {
        /// Which cell, as in `data[17, "income"]`.
        place: String,
        /// What stands there.
        value: String,
        /// How many more there are, as in ` (3 of 1000 rows)`; may be empty.
        count: String,
        /// What to do.
        remedy: String,
    },
    /// There is nothing to learn from.
    #[error("E02 {what} has no observations; give it at least one row")]
    NoData {
        /// Which data.
        what: String,
    },
    /// Two things that must have the same length do not.
    #[error("E03 {left} has {left_len} values but {right} has {right_len}; make them agree")]
    Length {
        /// The first thing.
        left: String,
        /// Its length.
        left_len: usize,
        /// The second thing.
        right: String,
        /// Its length.
        right_len: usize,
    },
    /// A matrix that must be a covariance is not.
    #[error("E04 {what} is not a covariance matrix: {reason}; {remedy}")]
    NotPositiveDefinite {
        /// Which matrix.
        what: String,
        /// Smallest eigenvalue or largest asymmetry, with its place.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// The log joint is NaN or infinite where the fit would start.
    #[error("E05 log_joint is {value} at the start, z = {point}; {remedy}")]
    Start {
        /// What the log joint is.
        #[serde(with = "crate::lossless::one")]
        value: f64,
        /// The point by name, on the natural scale.
        point: String,
        /// What to do.
        remedy: String,
    },
    /// A coordinate lies outside its declared support.
    #[error(
        "E06 `{name}` = {value} is outside its support {support}; move it inside or declare another support"
    )]
    OutsideSupport {
        /// The coordinate.
        name: String,
        /// Its value.
        #[serde(with = "crate::lossless::one")]
        value: f64,
        /// The support it was declared on.
        support: String,
    },
    /// The family lives on another support than the model.
    #[error(
        "E06 `{name}` lives on {support} but the family covers {family}; transform the model with `.unconstrained()` or choose another family"
    )]
    SupportMismatch {
        /// The coordinate.
        name: String,
        /// The model's support for it.
        support: String,
        /// The family's.
        family: String,
    },
    /// The ELBO grows without limit.
    #[error("E07 the objective is unbounded: {what}; {remedy}")]
    Unbounded {
        /// Which parameter runs away, and where to.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// The posterior is not a distribution.
    #[error(
        "E08 the posterior looks improper: log_joint does not depend on `{name}`; give it a prior or remove it"
    )]
    Improper {
        /// The coordinate.
        name: String,
    },
    /// An option has a value that makes no sense.
    #[error("E10 {option} is {value}; {remedy}")]
    Option {
        /// The option.
        option: String,
        /// Its value.
        value: String,
        /// What it may be.
        remedy: String,
    },
    /// A checkpoint or saved posterior cannot be read.
    #[error("E11 {file}: {reason}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// A saved run belongs to another model or other data.
    #[error(
        "E12 {what} differs between the checkpoint and this run: {saved} there, {now} here; resume with the same model, data and options"
    )]
    Mismatch {
        /// What differs.
        what: String,
        /// As saved.
        saved: String,
        /// As it is now.
        now: String,
    },
    /// The user's density panicked.
    #[error("E13 the model panicked at step {step}: {message}")]
    Panicked {
        /// The step.
        step: usize,
        /// The panic's message, with the draw where it is known.
        message: String,
    },
    /// The declaration of the coordinates is not usable.
    #[error("E14 {reason}")]
    Space {
        /// What is wrong and what to do.
        reason: String,
    },
    /// An exact or deterministic move lost ground, or could not go on.
    #[error("E15 {block}: {reason}")]
    Ascent {
        /// Which move or block.
        block: String,
        /// What happened and what to do.
        reason: String,
    },
    /// A result is not as good as was required.
    #[error("E16 the verdict is {verdict} where {wanted} was required: {reason}; try {remedy}")]
    Verdict {
        /// The verdict.
        verdict: String,
        /// What was required.
        wanted: String,
        /// The first warning.
        reason: String,
        /// What to try next.
        remedy: String,
    },
    /// Fits that do not belong side by side.
    #[error("E17 `{left}` and `{right}` do not compare: {reason}")]
    Incomparable {
        /// The first.
        left: String,
        /// The second.
        right: String,
        /// Why not, and what to do.
        reason: String,
    },
}

impl Error {
    /// The stable code the message starts with, such as `E05`.
    pub fn code(&self) -> String {
        self.to_string().chars().take(3).collect()
    }

    /// An error unless the two lengths agree.
    pub(crate) fn expect_len(left: &str, n: usize, right: &str, m: usize) -> Result<(), Error> {
        if n == m {
            return Ok(());
        }
        let (left, right) = (left.to_string(), right.to_string());
        Err(Error::Length { left, left_len: n, right, right_len: m })
    }

    /// An error about an option.
    pub(crate) fn option(option: &str, value: impl ToString, remedy: &str) -> Error {
        Error::Option {
            option: option.to_string(),
            value: value.to_string(),
            remedy: remedy.to_string(),
        }
    }
}
