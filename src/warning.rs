//! `Warning`: what a fit should not pass over in silence, with a stable code and what to try.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// What a warning is about. Displays and serializes as its stable code, such as `W07`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
        }

        impl Code {
            /// Every code there is, in order.
            pub const ALL: &[Code] = &[$(Code::$name),*];

            /// The stable code: three characters, `W` and two digits.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$name => $code,)*
                }
            }
        }
    };
}

codes! {
    /// The steps ran out before the stop rule fired.
    NotConverged = "W01",
    /// The ELBO lies within noise of its bound.
    WithinNoise = "W02",
    /// Draws were not finite, and their steps were rejected.
    Rejected = "W03",
    /// The gradient is not the slope of the log joint.
    Gradient = "W04",
    /// The steps are too large: the ELBO falls again.
    StepTooLarge = "W05",
    /// The likelihood does not scale with the number of rows.
    DataScaling = "W06",
    /// A few importance weights dominate: `q` is too narrow somewhere.
    HeavyWeights = "W07",
    /// Runs from different starts disagree.
    Multimodal = "W08",
    /// Mean field understates the variance.
    VarianceDeficit = "W09",
    /// Latent units that carry no information.
    CollapsedUnits = "W10",
    /// What was climbed is not a bound on the evidence.
    NotABound = "W11",
    /// A mixture component has shrunk onto a few points.
    CollapsedComponent = "W12",
    /// A column of the data is constant, or a copy of another.
    Collinear = "W13",
    /// The columns of the data differ in scale by more than a million.
    DataScale = "W14",
    /// A run was resumed with another model or other data.
    Resumed = "W15",
    /// The temperature was still high when the run stopped.
    Temperature = "W16",
    /// Too few effective draws for the digits asked for.
    TooFewDraws = "W17",
    /// A parameter sits at the edge of its support.
    AtBoundary = "W18",
    /// A checkpoint could not be written.
    Checkpoint = "W19",
    /// An option was changed to one that makes sense.
    Adjusted = "W20",
    /// Importance weights move a mean.
    MeanShift = "W21",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something to know before trusting an answer: what was seen, with its numbers and where, and at
/// most a few things to try.
///
/// ```
/// use elbo::warning::{Code, Warning};
/// let warning = Warning::new(Code::HeavyWeights, "k-hat is 0.81 in `log(tau)`; its spread is too small")
///     .try_this("write the model non-centred")
///     .try_this("FullRankGaussian");
/// assert_eq!(
///     warning.to_string(),
///     "W07 k-hat is 0.81 in `log(tau)`; its spread is too small\n    \
///      try: write the model non-centred\n    \
///      try: FullRankGaussian"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// What it is about.
    pub code: Code,
    /// What was seen, where, and what follows from it: one sentence with its numbers.
    pub message: String,
    /// What to try next, the best first; code where it can be.
    pub actions: Vec<String>,
}

impl Warning {
    /// A warning with nothing to try yet.
    pub fn new(code: Code, message: impl Into<String>) -> Warning {
        Warning { code, message: message.into(), actions: Vec::new() }
    }

    /// The same with one more thing to try.
    #[must_use]
    pub fn try_this(mut self, action: impl Into<String>) -> Warning {
        self.actions.push(action.into());
        self
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)?;
        self.actions.iter().try_for_each(|a| write!(f, "\n    try: {a}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_stable_in_text_and_json() {
        for (i, code) in Code::ALL.iter().enumerate() {
            assert_eq!(code.as_str(), format!("W{:02}", i + 1));
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<Code>(&json).unwrap(), *code);
        }
    }
}
