//! `Clock`: wall-clock seconds, or none where there is no clock, as in a browser's sandbox.

use std::time::Instant;

/// A moment to count from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Option<Instant>);

impl Clock {
    /// Starts counting.
    pub(crate) fn start() -> Clock {
        Clock((!cfg!(target_family = "wasm")).then(Instant::now))
    }

    /// Seconds since the start; 0 without a clock.
    pub(crate) fn seconds(self) -> f64 {
        self.0.map_or(0.0, |start| start.elapsed().as_secs_f64())
    }
}
