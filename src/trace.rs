//! The trace of a run as CSV or JSON: one row a step, no clock in it, so that equal runs give equal
//! bytes.

use serde::Serialize;

use crate::ascent::Step;
use crate::error::Error;

/// One row: the columns of [`csv`].
#[derive(Serialize)]
struct Row<'a> {
    step: usize,
    elbo: Option<f64>,
    between: Option<f64>,
    grad_norm: Option<f64>,
    rejected: u8,
    converged: Option<&'a str>,
    objective: Option<f64>,
}

fn failed(what: &str, error: impl std::fmt::Display) -> Error {
    Error::File { file: format!("the trace as {what}"), reason: error.to_string() }
}

/// The trace as CSV with a header. Columns: `step` (from 0), `elbo` (nats, an estimate from the
/// step's own draws unless the move is exact), `between` (the ELBO between the two moves of a pair),
/// `grad_norm` (Euclidean), `rejected` (1 where the
/// step was not finite and nothing moved), `converged` (the reason of a move that says by itself
/// that it has arrived), `objective` (what was climbed, where that is not the ELBO). What is not known or was not evaluated is empty. Numbers have as many digits as they need to
/// be read back exactly.
///
/// ```
/// use elbo::{trace, Step};
/// let steps = [Step { elbo: Some(-1.5), ..Step::default() }, Step::default()];
/// assert_eq!(trace::csv(&steps)?, "step,elbo,between,grad_norm,rejected,converged,objective\n0,-1.5,,,0,,\n1,,,,0,,\n");
/// # Ok::<(), elbo::Error>(())
/// ```
///
/// # Errors
/// Never, unless memory runs out.
pub fn csv(trace: &[Step]) -> Result<String, Error> {
    let mut out = csv::Writer::from_writer(Vec::new());
    for (step, s) in trace.iter().enumerate() {
        let row = Row {
            step,
            elbo: s.elbo,
            between: s.between,
            grad_norm: s.grad_norm,
            rejected: u8::from(s.rejected.is_some()),
            converged: s.converged.as_deref(),
            objective: s.objective,
        };
        out.serialize(row).map_err(|e| failed("CSV", e))?;
    }
    let bytes = out.into_inner().map_err(|e| failed("CSV", e))?;
    String::from_utf8(bytes).map_err(|e| failed("CSV", e))
}

/// The trace as a JSON array of [`Step`]s, rejected draws included; `null` is what is not known,
/// and `"inf"`, `"-inf"` and `"NaN"` stand for themselves.
///
/// # Errors
/// Never, unless memory runs out.
pub fn json(trace: &[Step]) -> Result<String, Error> {
    serde_json::to_string(trace).map_err(|e| failed("JSON", e))
}

/// The trace that [`json`] wrote, bit for bit.
///
/// ```
/// use elbo::{trace, Step};
/// let steps = vec![Step { elbo: Some(0.1 + 0.2), ..Step::default() }];
/// assert_eq!(trace::from_json(&trace::json(&steps)?)?, steps);
/// # Ok::<(), elbo::Error>(())
/// ```
///
/// # Errors
/// Text that is no trace.
pub fn from_json(text: &str) -> Result<Vec<Step>, Error> {
    serde_json::from_str(text).map_err(|e| failed("JSON", e))
}
