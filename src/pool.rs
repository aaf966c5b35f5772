//! Work on borrowed numbers shared among the threads of the rayon pool that the caller is in; outside of
//! a pool, or without the feature `parallel`, it is done in order.

use std::ops::Range;

/// How many threads there are: those of the rayon pool this is called in, and outside of a pool one.
pub(crate) fn threads() -> usize {
    #[cfg(feature = "parallel")]
    if rayon::current_thread_index().is_some() {
        return rayon::current_num_threads();
    }
    1
}

/// Both, side by side where there is a second thread.
pub(crate) fn both<A: Send, B: Send>(
    a: impl FnOnce() -> A + Send,
    b: impl FnOnce() -> B + Send,
) -> (A, B) {
    #[cfg(feature = "parallel")]
    if threads() > 1 {
        return rayon::join(a, b);
    }
    (a(), b())
}

/// Works on each number, side by side.
pub(crate) fn each(range: Range<usize>, work: &(impl Fn(usize) + Sync)) {
    match range.len() {
        0 => {}
        1 => work(range.start),
        n => {
            let half = range.start + n / 2;
            both(|| each(range.start..half, work), || each(half..range.end, work));
        }
    }
}
