//! A progress line on a terminal; nothing where there is none.

use std::io::{IsTerminal, stderr};
use std::ops::ControlFlow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::progress_line;
use crate::fit::Run;

/// Shows step, ELBO with its error, steps a second and the time left, on one line of the standard
/// error. Silent where that is no terminal, or where `NO_COLOR` or `TERM=dumb` asks for plain
/// output: then not a byte is written.
pub fn progress<M, Q, A>() -> impl FnMut(&Run<M, Q, A>) -> ControlFlow<()> {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
        || std::env::var_os("TERM").is_some_and(|t| t == "dumb")
        || !stderr().is_terminal();
    let bar = if plain {
        ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
    } else {
        ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10))
    };
    if let Ok(style) = ProgressStyle::with_template("{msg}  {per_sec}  ETA {eta}") {
        bar.set_style(style);
    }
    let mut shown = Duration::MAX;
    move |run| {
        if plain {
            return ControlFlow::Continue(());
        }
        bar.set_length(run.options.steps as u64);
        bar.set_position(run.trace.len() as u64);
        let now = bar.elapsed();
        let last = run.trace.len() >= run.options.steps;
        if last || shown == Duration::MAX || now.saturating_sub(shown) > Duration::from_millis(100)
        {
            shown = now;
            bar.set_message(progress_line(&run.trace, run.options.steps));
        }
        ControlFlow::Continue(())
    }
}
