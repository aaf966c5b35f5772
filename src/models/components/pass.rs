//! Passes over the rows: in chunks of fixed size, on as many threads as there are, summed in order.

use super::kernel::{BLOCK, Known, Look, Pass};
use super::packed::{pack, stride};
use super::{Components, Moments, Rows};
use crate::scratch::with_buffer;
use crate::simd::dispatch;

/// The least rows worth a thread.
const CHUNK: usize = 1024;
/// The most chunks there are.
const CHUNKS: usize = 64;

/// Rows in a chunk: a function of their number alone, so that sums have the same bits on any
/// number of threads.
pub(crate) fn chunk(n: usize) -> usize {
    n.div_ceil(CHUNKS).max(CHUNK).next_multiple_of(BLOCK)
}

fn with_known<R>(components: &Components, f: impl FnOnce(Known<'_>) -> R) -> R {
    let (shape, dim) = (components.shape, components.dim);
    with_buffer(components.len() * stride(shape, dim), |factor| {
        pack(components, factor);
        let (constant, mean) = (&components.constant, &components.mean);
        f(Known { shape, dim, constant, mean, factor })
    })
}

/// Gives each row its labels, and sums what follows from them: one pass, in memory that does not
/// grow with the number of rows.
pub(crate) fn moments(components: &Components, rows: Rows<'_>, out: &mut Moments) {
    out.resize(components.len(), components.dim, components.shape);
    let (n, chunk) = (rows.len(), chunk(rows.len()));
    with_known(components, |known| {
        let total = known.total();
        with_buffer(n.div_ceil(chunk) * total, |parts| {
            let work = |(c, out): (usize, &mut [f64])| {
                let (start, end) = (c * chunk, ((c + 1) * chunk).min(n));
                with_buffer(known.room(), |room| {
                    dispatch(Pass { known, rows, start, end, room, out });
                });
            };
            each_chunk(parts, total, &work);
            let (sums, rest) = parts.split_at_mut(total);
            for part in rest.chunks_exact(total) {
                sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            }
            out.read(&components.mean, sums);
        });
    });
}

/// Does the work of each chunk, whose sums are `len` numbers of `parts`.
#[cfg(feature = "parallel")]
pub(crate) fn each_chunk(
    parts: &mut [f64],
    len: usize,
    work: &(impl Fn((usize, &mut [f64])) + Sync),
) {
    use rayon::iter::{IndexedParallelIterator, ParallelIterator};
    use rayon::slice::ParallelSliceMut;
    if parts.len() == len {
        return work((0, parts));
    }
    parts.par_chunks_exact_mut(len).enumerate().for_each(work);
}

/// Does the work of each chunk, whose sums are `len` numbers of `parts`.
#[cfg(not(feature = "parallel"))]
pub(crate) fn each_chunk(parts: &mut [f64], len: usize, work: &impl Fn((usize, &mut [f64]))) {
    parts.chunks_exact_mut(len).enumerate().for_each(work);
}

/// Writes the probabilities of the labels, `components.len()` a row, and the log normaliser of
/// each row where there is room for them.
pub(crate) fn labels(
    components: &Components,
    rows: Rows<'_>,
    probabilities: &mut [f64],
    normalizers: &mut [f64],
) {
    let (k, n) = (components.len(), rows.len());
    with_known(components, |known| {
        with_buffer(known.room() + BLOCK * (k + 1), |room| {
            let (block, room) = room.split_at_mut(BLOCK * k);
            let (tops, room) = room.split_at_mut(BLOCK);
            for start in (0..n).step_by(BLOCK) {
                let look =
                    Look { known, rows, start, room, probabilities: block, normalizers: tops };
                dispatch(look);
                for r in 0..BLOCK.min(n - start) {
                    for (k, p) in probabilities[(start + r) * k..][..k].iter_mut().enumerate() {
                        *p = block[k * BLOCK + r];
                    }
                    if let Some(out) = normalizers.get_mut(start + r) {
                        *out = tops[r];
                    }
                }
            }
        });
    });
}
