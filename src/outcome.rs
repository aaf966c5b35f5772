//! `Outcome`: how a run ended. Whether `q` is any good is another question.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::witness::Witness;

/// How a run ended. Displays as a sentence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outcome {
    /// A stop rule fired, or the move knew by itself that it had arrived.
    Converged {
        /// Which rule, with its numbers.
        rule: String,
    },
    /// The steps ran out.
    StepLimit,
    /// The observer said stop.
    Stopped,
    /// The ELBO fell: twice in a row it was far below its best. The steps are too large.
    Descended {
        /// The check that saw it, with its numbers.
        rule: String,
    },
    /// Too many steps in a row were not finite; `q` is the last good iterate.
    Diverged {
        /// Where it happened.
        witness: Witness,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Converged { rule } => write!(f, "converged: {rule}"),
            Outcome::StepLimit => f.write_str("not converged: the steps ran out"),
            Outcome::Stopped => f.write_str("not converged: stopped by the observer"),
            Outcome::Descended { rule } => write!(f, "not converged: {rule}"),
            Outcome::Diverged { witness } => write!(f, "diverged: {witness}"),
        }
    }
}
