//! Work in chunks on several threads: the caller works, and helpers that sleep until there is work
//! join in.
//!
//! Chunks are handed out by a counter, so that a helper that comes late, because another process
//! has its core, only finds less to do: the caller waits for chunks that were begun, never for a
//! helper that is not there. What the chunks leave behind is taken in their order, so that nothing
//! depends on who worked on them. A helper without work looks for more for as long as it would take to
//! wake it, yielding its core to whoever wants it, and then sleeps.

use std::cell::Cell;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{Builder, Thread, available_parallelism, current, park};

use crate::caught::Caught;
use crate::clock::Clock;
use crate::scratch::with_buffer;

/// Work that falls into chunks.
pub(crate) trait Chunks: Send + Sync + 'static {
    /// Writes all of `part`: what chunk `c` makes of `x`.
    fn chunk(&self, order: Order, x: &[f64], c: usize, part: &mut [f64]);
}

/// What is told with a piece of work.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Order {
    /// How many points `x` has, or how many a chunk has.
    pub lanes: usize,
    /// Whether values are wanted.
    pub values: bool,
    /// Whether gradients are.
    pub gradients: bool,
}

/// How a piece of work falls into chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// How many chunks.
    pub chunks: usize,
    /// How many numbers a chunk leaves behind.
    pub part: usize,
    /// About how long all of it takes one thread.
    pub nanoseconds: f64,
}

/// What takes less is not shared: to wake a helper costs about a tenth of this.
pub(crate) const WORTH_SHARING: f64 = 1e5;

/// Seconds that a helper waits before it sleeps.
const LINGER: f64 = 4e-5;

thread_local! {
    /// How many threads this one may work with, itself included.
    static ALLOWED: Cell<usize> = const { Cell::new(1) };
    /// Whether work was met that is shared where it is allowed to be.
    static MET: Cell<bool> = const { Cell::new(false) };
    /// The last round of this thread, for its room.
    static SPARE: Cell<Option<Arc<Round>>> = const { Cell::new(None) };
}

/// Puts back how many threads were allowed.
struct Restore(usize);

impl Drop for Restore {
    fn drop(&mut self) {
        ALLOWED.set(self.0);
    }
}

/// Lets the work in `f` be shared among so many threads.
pub(crate) fn allow<R>(threads: usize, f: impl FnOnce() -> R) -> R {
    let _restore = Restore(ALLOWED.replace(threads.max(1)));
    f()
}

/// How many threads may share work met now.
pub(crate) fn allowed() -> usize {
    MET.set(true);
    ALLOWED.get()
}

/// Whether `f` meets work that is shared where it is allowed to be.
pub(crate) fn meets_shared_work(f: impl FnOnce()) -> bool {
    let before = MET.replace(false);
    f();
    MET.replace(before)
}

/// As many threads as the caller's pool has, or else as there are cores.
pub(crate) fn default_threads() -> usize {
    #[cfg(feature = "parallel")]
    if rayon::current_thread_index().is_some() {
        return rayon::current_num_threads();
    }
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| available_parallelism().map_or(1, NonZero::get))
}

/// The least time a point took on one thread, found out at the first evaluations. What is decided by
/// it changes no number, only who works on it.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Nanoseconds, as bits.
    least: AtomicU64,
    measured: AtomicU64,
}

impl Gauge {
    /// About how long so many points take; 0 while that is being found out.
    pub(crate) fn nanoseconds(&self, points: usize) -> f64 {
        if self.measured.load(Ordering::Relaxed) < 3 {
            return 0.0;
        }
        f64::from_bits(self.least.load(Ordering::Relaxed)) * points as f64
    }

    /// Works on so many points on one thread.
    pub(crate) fn measure<R>(&self, points: usize, work: impl FnOnce() -> R) -> R {
        let measured = self.measured.load(Ordering::Relaxed);
        if measured > 2 || points == 0 {
            return work();
        }
        let clock = Clock::start();
        let result = work();
        let each = clock.seconds() * 1e9 / points as f64;
        let before = f64::from_bits(self.least.load(Ordering::Relaxed));
        let least = if measured == 0 { each } else { each.min(before) };
        self.least.store(least.to_bits(), Ordering::Relaxed);
        self.measured.store(measured + 1, Ordering::Relaxed);
        result
    }
}

/// Works on all chunks, and hands what they leave behind to `take`, in their order.
pub(crate) fn in_chunks<W: Chunks>(
    work: &Arc<W>,
    order: Order,
    x: &[f64],
    cut: Cut,
    mut take: impl FnMut(usize, &[f64]),
) {
    let threads = allowed().min(cut.chunks);
    if threads < 2 || cut.nanoseconds < WORTH_SHARING {
        return with_buffer(cut.part, |part| {
            for c in 0..cut.chunks {
                work.chunk(order, x, c, part);
                take(c, part);
            }
        });
    }
    // A helper that came late may still look at the last round: then this one needs its own.
    let spare = SPARE.take().filter(|round| Arc::strong_count(round) == 1);
    let mut round = spare.unwrap_or_default();
    if let Some(own) = Arc::get_mut(&mut round) {
        own.prepare(work.clone(), order, x, cut);
    }
    crew().offer(&round, threads - 1);
    allow(1, || round.help());
    crew().withdraw(&round);
    while round.left.load(Ordering::Acquire) > 0 {
        park();
    }
    if let Some(caught) = lock(&round.caught).take() {
        caught.resume(0);
    }
    for (c, part) in round.parts[..cut.chunks].iter().enumerate() {
        take(c, &lock(part)[..cut.part]);
    }
    // The room is kept, the work is not.
    if let Some(own) = Arc::get_mut(&mut round) {
        own.work = None;
        SPARE.set(Some(round));
    }
}

/// A piece of work that is being shared, and the room for it.
#[derive(Default)]
struct Round {
    work: Option<Arc<dyn Chunks>>,
    order: Order,
    x: Vec<f64>,
    chunks: usize,
    part: usize,
    /// The next chunk that nobody works on.
    next: AtomicUsize,
    /// How many are not done.
    left: AtomicUsize,
    parts: Vec<Mutex<Vec<f64>>>,
    caught: Mutex<Option<Caught>>,
    caller: Option<Thread>,
}

impl Round {
    fn prepare(&mut self, work: Arc<dyn Chunks>, order: Order, x: &[f64], cut: Cut) {
        self.work = Some(work);
        self.order = order;
        self.x.clear();
        self.x.extend_from_slice(x);
        (self.chunks, self.part) = (cut.chunks, cut.part);
        *self.next.get_mut() = 0;
        *self.left.get_mut() = cut.chunks;
        if self.parts.len() < cut.chunks {
            self.parts.resize_with(cut.chunks, Mutex::default);
        }
        for part in &mut self.parts[..cut.chunks] {
            let part = part.get_mut().unwrap_or_else(PoisonError::into_inner);
            if part.len() < cut.part {
                part.resize(cut.part, 0.0);
            }
        }
        self.caller = Some(current());
    }

    /// Works on chunks until all are begun.
    fn help(&self) {
        let Some(work) = &self.work else { return };
        loop {
            let c = self.next.fetch_add(1, Ordering::Relaxed);
            if c >= self.chunks {
                return;
            }
            let done = Caught::by(|| {
                let part = &mut lock(&self.parts[c])[..self.part];
                work.chunk(self.order, &self.x, c, part);
            });
            if let Err(caught) = done {
                lock(&self.caught).get_or_insert(caught);
            }
            if self.left.fetch_sub(1, Ordering::AcqRel) == 1
                && let Some(caller) = &self.caller
            {
                caller.unpark();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The helpers of this process, and what they are asked to help with.
#[derive(Default)]
struct Crew {
    board: Mutex<Board>,
    bell: Condvar,
    /// How often there was an offer.
    offered: AtomicUsize,
}

#[derive(Default)]
struct Board {
    helpers: usize,
    /// Rounds, and how many more may help.
    offers: Vec<(Arc<Round>, usize)>,
}

fn crew() -> &'static Crew {
    static CREW: OnceLock<Crew> = OnceLock::new();
    CREW.get_or_init(Crew::default)
}

impl Crew {
    fn offer(&'static self, round: &Arc<Round>, seats: usize) {
        let mut board = lock(&self.board);
        while board.helpers < seats {
            // Without a helper the caller does it all.
            let helper = Builder::new().name("elbo".to_string()).spawn(|| self.serve());
            if helper.is_err() {
                break;
            }
            board.helpers += 1;
        }
        board.offers.push((round.clone(), seats));
        self.offered.fetch_add(1, Ordering::Release);
        drop(board);
        (0..seats).for_each(|_| self.bell.notify_one());
    }

    fn withdraw(&self, round: &Arc<Round>) {
        lock(&self.board).offers.retain(|(offer, _)| !Arc::ptr_eq(offer, round));
    }

    /// Helps for as long as the process lives.
    fn serve(&self) {
        loop {
            let mut board = lock(&self.board);
            let round = loop {
                if let Some((round, seats)) = board.offers.iter_mut().find(|(_, seats)| *seats > 0)
                {
                    *seats -= 1;
                    break round.clone();
                }
                board = self.bell.wait(board).unwrap_or_else(PoisonError::into_inner);
            };
            drop(board);
            round.help();
            drop(round);
            self.linger();
        }
    }

    /// Waits a moment for the next offer, which in a fit comes soon, before sleeping: to be woken
    /// takes about as long. Whoever else wants this core gets it meanwhile.
    fn linger(&self) {
        let seen = self.offered.load(Ordering::Acquire);
        let clock = Clock::start();
        while self.offered.load(Ordering::Acquire) == seen && clock.seconds() < LINGER {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `x_l` times the number of the chunk, the odd ones slowly.
    struct Multiples;

    impl Chunks for Multiples {
        fn chunk(&self, order: Order, x: &[f64], c: usize, part: &mut [f64]) {
            assert!(c != 40, "chunk forty");
            for l in 0..order.lanes {
                part[l] = x[l] * c as f64;
            }
            if c % 2 == 1 {
                std::thread::yield_now();
            }
        }
    }

    fn run(threads: usize, chunks: usize, nanoseconds: f64) -> Vec<(usize, Vec<f64>)> {
        let mut taken = Vec::new();
        allow(threads, || {
            let (order, cut) = (
                Order { lanes: 2, values: true, gradients: false },
                Cut { chunks, part: 2, nanoseconds },
            );
            in_chunks(&Arc::new(Multiples), order, &[1.0, -0.5], cut, |c, part| {
                taken.push((c, part.to_vec()));
            });
        });
        taken
    }

    #[test]
    fn chunks_are_taken_in_order_whoever_worked_on_them() {
        let want: Vec<_> = (0..37).map(|c| (c, vec![c as f64, -0.5 * c as f64])).collect();
        for threads in [1, 2, 3, 8, 2, 1] {
            for _ in 0..20 {
                assert_eq!(run(threads, 37, 1e9), want, "{threads} threads");
            }
        }
        // another number of chunks in the same room
        assert_eq!(run(2, 3, 1e9), want[..3]);
        assert_eq!(run(2, 37, 1e9), want);
    }

    #[test]
    fn rounds_of_several_callers_do_not_mix() {
        let want = run(1, 39, 1e9);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..50).for_each(|_| assert_eq!(run(3, 39, 1e9), want)));
            }
        });
    }

    #[test]
    fn a_panic_in_a_chunk_is_that_of_the_caller() {
        for threads in [1, 2] {
            let caught = Caught::by(|| run(threads, 50, 1e9)).map(|_| ()).unwrap_err();
            let message = caught.at_step(0).to_string();
            assert!(message.contains("chunk forty"), "{message}");
        }
        assert_eq!(run(2, 3, 1e9).len(), 3);
    }

    #[test]
    fn shared_work_is_noticed_and_permission_ends() {
        assert!(meets_shared_work(|| drop(run(1, 3, 0.0))));
        assert!(!meets_shared_work(|| ()));
        allow(5, || assert_eq!(ALLOWED.get(), 5));
        assert_eq!(ALLOWED.get(), 1);
    }
}
