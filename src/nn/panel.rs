//! Data in panels, panels on threads, and sums over them that do not depend on how many threads.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::data::Images;
use crate::pool::{both, threads};
use crate::scalar::Scalar;

/// Which rows of the data are shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    /// None: all of them.
    some: Option<Vec<usize>>,
    /// What pixels drawn anew each time are drawn from.
    pub key: u64,
}

impl Rows {
    pub fn all(images: &Images) -> Rows {
        Rows { some: None, key: images.key(None) }
    }

    pub fn show(&mut self, images: &Images, rows: &[usize]) {
        let some = self.some.get_or_insert_default();
        some.clear();
        some.extend_from_slice(rows);
        self.key = images.key(Some(rows));
    }

    pub fn show_all(&mut self, images: &Images) {
        *self = Rows::all(images);
    }

    pub fn len(&self, images: &Images) -> usize {
        self.some.as_ref().map_or(images.len(), Vec::len)
    }

    /// `n_data / rows`
    pub fn scale(&self, images: &Images) -> f64 {
        images.len() as f64 / self.len(images).max(1) as f64
    }

    /// Writes the shown rows `from .. from + columns` as a panel.
    pub fn panel<T: Scalar>(&self, images: &Images, from: usize, columns: usize, x: &mut [T]) {
        let row = |j: usize| self.some.as_ref().map_or(from + j, |some| some[from + j]);
        images.panel(self.key, from, columns, row, x);
    }
}

/// Writes data that stand one after another (`size` numbers each) as a panel.
pub(crate) fn to_panel<T: Scalar>(data: &[T], size: usize, panel: &mut [T]) {
    let columns = data.len() / size.max(1);
    for (j, datum) in data.chunks_exact(size.max(1)).enumerate() {
        for (i, &x) in datum.iter().enumerate() {
            panel[i * columns + j] = x;
        }
    }
}

/// The way back.
pub(crate) fn from_panel<T: Scalar>(panel: &[T], size: usize, data: &mut [T]) {
    let columns = data.len() / size.max(1);
    for (j, datum) in data.chunks_exact_mut(size.max(1)).enumerate() {
        for (i, x) in datum.iter_mut().enumerate() {
            *x = panel[i * columns + j];
        }
    }
}

/// Scratch that a method with `&self` takes and puts back; a copy starts without any.
#[derive(Debug)]
pub(crate) struct Spare<S>(Mutex<Vec<S>>);

impl<S> Default for Spare<S> {
    fn default() -> Self {
        Spare(Mutex::default())
    }
}

impl<S> Clone for Spare<S> {
    fn clone(&self) -> Self {
        Spare::default()
    }
}

impl<S: Default> Spare<S> {
    /// Lends one to `f`.
    pub fn lend<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        let mut one = lock(&self.0).pop().unwrap_or_default();
        let result = f(&mut one);
        lock(&self.0).push(one);
        result
    }
}

/// Works on each number, as many at a time as there are threads, each of which adds to a gradient of
/// its own (`grads`, 0 between calls); these are added to `grad` in the order of the numbers.
pub(crate) fn summed<T: Scalar>(
    range: Range<usize>,
    grads: &mut Vec<Vec<T>>,
    grad: &mut [T],
    work: &(impl Fn(usize, &mut [T]) + Sync),
) {
    let (n, width) = (grad.len(), threads());
    if grads.len() < width - 1 {
        grads.resize_with(width - 1, Vec::new);
    }
    for first in range.clone().step_by(width) {
        let others = &mut grads[..width.min(range.end - first) - 1];
        both(|| work(first, grad), || beside(first + 1, n, others, work));
        others.iter_mut().for_each(|own| add(own, grad));
    }
}

/// The numbers from `first` on, one for each gradient.
fn beside<T: Scalar>(
    first: usize,
    n: usize,
    grads: &mut [Vec<T>],
    work: &(impl Fn(usize, &mut [T]) + Sync),
) {
    match grads {
        [] => {}
        [own] => {
            // what has been added was set to 0 again
            if own.len() != n {
                own.clear();
                own.resize(n, T::default());
            }
            work(first, own);
        }
        _ => {
            let half = grads.len() / 2;
            let (a, b) = grads.split_at_mut(half);
            both(|| beside(first, n, a, work), || beside(first + half, n, b, work));
        }
    }
}

/// The one inside; nobody leaves it half done.
pub(crate) fn lock<S>(mutex: &Mutex<S>) -> MutexGuard<'_, S> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `to += from`, and `from` is 0 again; a long one in two halves side by side.
fn add<T: Scalar>(from: &mut [T], to: &mut [T]) {
    const LONG: usize = 1 << 16;
    if from.len() > LONG {
        let half = from.len() / 2;
        let ((a, b), (c, d)) = (from.split_at_mut(half), to.split_at_mut(half));
        both(|| add(a, c), || add(b, d));
        return;
    }
    crate::simd::dispatch(Add { from, to });
}

struct Add<'a, T> {
    from: &'a mut [T],
    to: &'a mut [T],
}

impl<T: Scalar> pulp::WithSimd for Add<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        for (to, from) in self.to.iter_mut().zip(self.from) {
            *to += *from;
            *from = T::default();
        }
    }
}
