//! Observers for [`fit_with`](crate::fit_with): what to do after every step besides stepping.
//!
//! An observer is a closure that is shown the [`Run`] and says whether to go on. [`both`] makes one
//! of two.

#[cfg(feature = "progress")]
mod progress;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

#[cfg(feature = "progress")]
pub use progress::progress;

use crate::ascent::Step;
use crate::fit::Run;
use crate::warning::{Code, Warning};

/// Two observers as one: both see every step, and either may stop the run.
pub fn both<M, Q, A>(
    mut first: impl FnMut(&Run<M, Q, A>) -> ControlFlow<()>,
    mut second: impl FnMut(&Run<M, Q, A>) -> ControlFlow<()>,
) -> impl FnMut(&Run<M, Q, A>) -> ControlFlow<()> {
    move |run| {
        let (a, b) = (first(run), second(run));
        if a.is_break() { a } else { b }
    }
}

/// Saves the run ([`Run::save`]) after every `every` steps. Where the file cannot be written the
/// run goes on, with one warning.
pub fn checkpoint<M, Q: Serialize, A: Serialize>(
    path: impl Into<PathBuf>,
    every: usize,
) -> impl FnMut(&Run<M, Q, A>) -> ControlFlow<()> {
    let path = path.into();
    let mut warned = false;
    move |run| {
        if run.trace.len().is_multiple_of(every.max(1))
            && let Err(error) = run.save(&path)
            && !std::mem::replace(&mut warned, true)
        {
            let message = format!("no checkpoint was written: {error}");
            let action = "a path in a folder that exists, can be written to and has room";
            run.warn(Warning::new(Code::Checkpoint, message).try_this(action));
        }
        ControlFlow::Continue(())
    }
}

/// Stops runs from outside, such as a handler of Ctrl-C: the fit ends after the step under way, with
/// [`Outcome::Stopped`](crate::Outcome::Stopped) and everything it has found so far.
///
/// ```
/// use elbo::{density, fit_with, from_fn, Adam, GradientAscent, MeanFieldGaussian, Options};
/// use elbo::{observe::StopToken, Outcome, Reparameterization, Space};
/// let mut space = Space::new();
/// let x = space.real("x");
/// let model = from_fn(space, move |z| density::normal(z[x], 0.0, 1.0));
/// let ascent = GradientAscent::new(Reparameterization { draws: 4 }, Adam::rate(0.1));
/// let token = StopToken::new();
/// token.stop(); // from any thread
/// let q = MeanFieldGaussian::standard(1);
/// let fit = fit_with(model, q, ascent, Options::default(), token.observer())?;
/// assert_eq!(fit.outcome, Outcome::Stopped);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StopToken(Arc<AtomicBool>);

impl StopToken {
    /// A token that lets runs go on until told otherwise. Clones stop the same runs.
    pub fn new() -> StopToken {
        StopToken::default()
    }

    /// Stops every run that observes this token.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it has been told to stop.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The observer that heeds it.
    pub fn observer<M, Q, A>(&self) -> impl FnMut(&Run<M, Q, A>) -> ControlFlow<()> + use<M, Q, A> {
        let token = self.clone();
        move |_| {
            if token.is_stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
}

/// Steps the ELBO on the progress line is averaged over.
const WINDOW: usize = 100;

/// A progress line: `step 1200 of at most 20000  ELBO -7.189 ± 0.002`, the mean over those of the
/// last hundred steps that know it and its standard error; where none does, the last that was known.
pub fn progress_line(trace: &[Step], limit: usize) -> String {
    let mut line = format!("step {} of at most {limit}", trace.len());
    let recent = &trace[trace.len().saturating_sub(WINDOW)..];
    let elbos = || recent.iter().filter_map(|s| s.elbo);
    let n = elbos().count() as f64;
    if n > 0.0 {
        let mean = elbos().sum::<f64>() / n;
        let variance = elbos().map(|e| (e - mean).powi(2)).sum::<f64>() / (n - 1.0);
        line += &format!("  ELBO {mean:.3}");
        if n > 1.0 {
            line += &format!(" ± {:.1e}", (variance / n).sqrt());
        }
    } else if let Some(elbo) = trace.iter().rev().find_map(|s| s.elbo) {
        line += &format!("  ELBO {elbo:.3}");
    }
    let rejected = recent.iter().filter(|s| s.rejected.is_some()).count();
    if rejected > 0 {
        line += &format!("  {rejected} rejected");
    }
    line
}
