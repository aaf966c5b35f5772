//! `Failure`: what went wrong, in a sentence, with what to do.

use std::fmt;

/// The sentence.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    pub fn new(message: impl Into<String>) -> Failure {
        Failure(message.into())
    }

    pub fn unknown(name: &str, known: &[&str]) -> Failure {
        Failure(format!("there is no workload \"{name}\": there are {}", known.join(" ")))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<elbo::Error> for Failure {
    fn from(error: elbo::Error) -> Failure {
        Failure(error.to_string())
    }
}
