//! Work in numbered parts, each with numbers of its own to write, on as many threads as there are.

use std::ops::Range;

/// What neighbouring parts write, which can be taken apart between two of them.
pub(super) trait Pieces: Send + Sized {
    /// What the parts before `at` write, and what the others do.
    fn split(self, at: usize) -> (Self, Self);
}

/// Does the work of each part.
pub(super) fn each<P: Pieces>(parts: Range<usize>, pieces: P, work: &(impl Fn(usize, P) + Sync)) {
    match parts.len() {
        0 => {}
        1 => work(parts.start, pieces),
        n => {
            let at = parts.start + n / 2;
            let (before, after) = pieces.split(at);
            join(|| each(parts.start..at, before, work), || each(at..parts.end, after, work));
        }
    }
}

#[cfg(feature = "parallel")]
fn join(a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
    rayon::join(a, b);
}

#[cfg(not(feature = "parallel"))]
fn join(a: impl FnOnce(), b: impl FnOnce()) {
    a();
    b();
}

/// Takes the numbers up to `at`, counted from `start`, off a slice.
pub(super) fn cut(numbers: &mut [f64], start: usize, at: usize) -> (&mut [f64], &mut [f64]) {
    numbers.split_at_mut(at - start)
}
