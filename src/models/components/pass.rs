//! Passes over the rows: in chunks of fixed size, on as many threads as there are, summed in order.

use std::sync::{Mutex, PoisonError};

use super::gaps::Gaps;
use super::kernel::{BLOCK, Cells, Known, Look, Pass, Whole};
use super::packed::{pack, stride};
use super::{Components, Moments, Rows};
use crate::error::Error;
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
pub(crate) fn moments(
    components: &Components,
    rows: Rows<'_>,
    out: &mut Moments,
) -> Result<(), Error> {
    rows.unchanged()?;
    out.resize(components.len(), components.dim, components.shape);
    let (n, chunk) = (rows.len(), chunk(rows.len()));
    let failed = Mutex::new(None);
    with_known(components, |known| {
        let total = known.total();
        with_buffer(n.div_ceil(chunk) * total, |parts| {
            let work = |(c, out): (usize, &mut [f64])| {
                let (start, end) = (c * chunk, ((c + 1) * chunk).min(n));
                with_buffer(known.room() + rows.room(), |room| {
                    let (room, read) = room.split_at_mut(known.room());
                    let gaps = rows.has_missing();
                    let mut reader = rows.reader(end, read);
                    let rows = &mut reader;
                    match gaps {
                        false => {
                            let cells = Whole;
                            dispatch(Pass { known, cells, rows, start, end, room, out });
                        }
                        true => with_buffer(Gaps::room(&known), |gaps| {
                            let cells = Gaps::new(known, gaps);
                            dispatch(Pass { known, cells, rows, start, end, room, out });
                        }),
                    }
                    if let Err(error) = reader.finish() {
                        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    }
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
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
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
) -> Result<(), Error> {
    rows.unchanged()?;
    with_known(components, |known| match rows.has_missing() {
        false => labels_of(known, &mut Whole, rows, probabilities, normalizers),
        true => with_buffer(Gaps::room(&known), |gaps| {
            let mut cells = Gaps::new(known, gaps);
            labels_of(known, &mut cells, rows, probabilities, normalizers)
        }),
    })
}

fn labels_of(
    known: Known<'_>,
    cells: &mut impl Cells,
    rows: Rows<'_>,
    probabilities: &mut [f64],
    normalizers: &mut [f64],
) -> Result<(), Error> {
    let (k, n) = (known.len(), rows.len());
    with_buffer(known.room() + BLOCK * (k + 1) + rows.room(), |room| {
        let (block, room) = room.split_at_mut(BLOCK * k);
        let (tops, room) = room.split_at_mut(BLOCK);
        let (room, read) = room.split_at_mut(known.room());
        let mut rows = rows.reader(n, read);
        for start in (0..n).step_by(BLOCK) {
            let count = BLOCK.min(n - start);
            let (cells, rows, room) = (&mut *cells, &mut rows, &mut *room);
            let out = (&mut *block, &mut *tops);
            dispatch(Look { known, cells, rows, start, count, room, out });
            for r in 0..count {
                for (k, p) in probabilities[(start + r) * k..][..k].iter_mut().enumerate() {
                    *p = block[k * BLOCK + r];
                }
                if let Some(out) = normalizers.get_mut(start + r) {
                    *out = tops[r];
                }
            }
        }
        rows.finish()
    })
}
