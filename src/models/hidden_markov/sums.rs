//! `Sums`: what an M-step needs of the states, and the pass over all sequences that makes it.

use serde::{Deserialize, Serialize};

use super::chain::{Chain, Mode};
use super::densities::{Densities, Form, stride};
use super::kernel::{Backward, Forward, Stretch, Totals};
use super::parameters::expected_log_rows;
use super::{Sequences, logs};
use crate::error::Error;
use crate::models::components::{chunk, each_chunk, has_gap};
use crate::scratch::with_buffer;
use crate::simd::dispatch;

/// Expected counts over all sequences, and sums over rows about the means of the densities.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sums {
    /// `sum w ln p(x)`, but for what rows have in every state.
    pub(super) log_normalizer: f64,
    /// How often a sequence starts in a state.
    pub(super) first: Vec<f64>,
    /// How often a state is followed by another, `k` a state that is left.
    pub(super) steps: Vec<f64>,
    /// How many rows a state has.
    pub(super) occupancy: Vec<f64>,
    /// As [`Densities`] has its numbers.
    pub(super) rows: Vec<f64>,
    /// The means that the sums are about.
    pub(super) reference: Vec<f64>,
}

impl Sums {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    fn resize(&mut self, k: usize, densities: &Densities) {
        self.first.resize(k, 0.0);
        self.steps.resize(k * k, 0.0);
        self.occupancy.resize(k, 0.0);
        self.rows.resize(densities.numbers.len(), 0.0);
        self.reference.resize(densities.form.means().len() * stride(k), 0.0);
    }

    /// Sum `i` of state `k`.
    pub(super) fn row(&self, i: usize, k: usize) -> f64 {
        self.rows[i * stride(self.first.len()) + k]
    }

    /// The mean in column `j` that the sums of state `k` are about.
    pub(super) fn reference(&self, j: usize, k: usize) -> f64 {
        self.reference[j * stride(self.first.len()) + k]
    }

    /// `E[ln p(rows, states)]`, but for what rows have in every state.
    pub(super) fn expected_log_joint(&self, chain: &Chain, densities: &Densities) -> f64 {
        self.expected_log_chain(chain) + expected_log_rows(densities, self)
    }

    /// `E[ln p(states)]`
    pub(super) fn expected_log_chain(&self, chain: &Chain) -> f64 {
        let counts = self.first.iter().chain(&self.steps);
        let logs = chain.log_initial.iter().chain(&chain.log_transition);
        // what never happens may be impossible
        counts.zip(logs).filter(|(n, _)| **n > 0.0).map(|(n, l)| n * l).sum()
    }
}

/// Numbers kept of a direction over a stretch of rows; longer sequences are taken stretch by
/// stretch, the last one first, for which they are gone through twice.
const KEPT: usize = 1 << 20;

/// How the sums of a chunk lie one after another.
#[derive(Clone, Copy)]
struct Parts {
    side: usize,
    rows: usize,
}

impl Parts {
    fn new(densities: &Densities) -> Parts {
        Parts { side: stride(densities.k), rows: densities.numbers.len() }
    }
    fn len(self) -> usize {
        1 + 2 * self.side + 2 * self.side * self.side + self.rows
    }
    fn split(self, part: &mut [f64]) -> (&mut f64, Totals<'_>) {
        let (total, rest) = part.split_at_mut(1);
        let (first, rest) = rest.split_at_mut(self.side);
        let (occupancy, rest) = rest.split_at_mut(self.side);
        let (steps, rest) = rest.split_at_mut(self.side * self.side);
        let (whole_steps, rows) = rest.split_at_mut(self.side * self.side);
        (&mut total[0], Totals { first, occupancy, steps, whole_steps, rows })
    }
}

/// Goes over all sequences, in chunks whose size depends on their lengths alone, and adds the chunks
/// up in order.
///
/// # Errors
/// A sequence that has probability 0.
pub(super) fn sums(
    chain: &Chain,
    densities: &Densities,
    sequences: &Sequences,
    out: &mut Sums,
) -> Result<(), Error> {
    let (k, parts) = (chain.k, Parts::new(densities));
    out.resize(k, densities);
    let (n, side) = (sequences.rows().len(), parts.side);
    let chunk = chunk(n);
    with_buffer(n.div_ceil(chunk) * parts.len(), |room| {
        let work = |(c, part): (usize, &mut [f64])| {
            part.fill(0.0);
            for i in sequences.starting_in(c * chunk..(c + 1) * chunk) {
                let weight = sequences.weight(i);
                let total = one(chain, densities, sequences, i, weight, parts, part, None);
                part[0] += weight * total;
            }
        };
        each_chunk(room, parts.len(), &work);
        let (whole, rest) = room.split_at_mut(parts.len());
        for part in rest.chunks_exact(parts.len()) {
            whole.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        let (total, into) = parts.split(whole);
        out.log_normalizer = *total;
        out.first.copy_from_slice(&into.first[..k]);
        out.occupancy.copy_from_slice(&into.occupancy[..k]);
        for (i, steps) in out.steps.chunks_exact_mut(k).enumerate() {
            let from = into.steps[i * side..].iter().zip(&chain.onward[i * side..]);
            let from = from.zip(&into.whole_steps[i * side..]);
            steps.iter_mut().zip(from).for_each(|(out, ((sum, p), whole))| *out = sum * p + whole);
        }
        out.rows.copy_from_slice(into.rows);
    });
    let means = densities.form.means();
    out.reference.copy_from_slice(&densities.numbers[means.start * side..means.end * side]);
    if out.log_normalizer == f64::NEG_INFINITY {
        return Err(impossible(chain, densities, sequences));
    }
    Ok(())
}

fn impossible(chain: &Chain, densities: &Densities, sequences: &Sequences) -> Error {
    let of = |i: usize| log_likelihood(chain, densities, sequences, i);
    let which = (0..sequences.len()).find(|&i| of(i) == f64::NEG_INFINITY).unwrap_or(0);
    let reason = format!(
        "sequence {which} has probability 0: no path of states that the initial and transition probabilities allow leads through it; allow more, with probabilities above 0"
    );
    Error::Ascent { block: "EStep".to_string(), reason }
}

/// The log likelihood of one sequence, whatever its weight.
pub(super) fn log_likelihood(
    chain: &Chain,
    densities: &Densities,
    sequences: &Sequences,
    i: usize,
) -> f64 {
    let parts = Parts::new(densities);
    with_buffer(parts.len(), |part| {
        part.fill(0.0);
        one(chain, densities, sequences, i, 1.0, parts, part, None)
    })
}

/// Writes the probabilities of the states of all rows, `k` a row; the log likelihoods are returned.
pub(super) fn marginals(
    chain: &Chain,
    densities: &Densities,
    sequences: &Sequences,
    out: &mut [f64],
) -> Vec<f64> {
    let (k, parts) = (chain.k, Parts::new(densities));
    let mut rest = out;
    let mut each = Vec::with_capacity(sequences.len());
    for i in 0..sequences.len() {
        let (own, after) = rest.split_at_mut(sequences.range(i).len() * k);
        rest = after;
        each.push(with_buffer(parts.len(), |part| {
            part.fill(0.0);
            one(chain, densities, sequences, i, 1.0, parts, part, Some(own))
        }));
    }
    each
}

/// The entropy of cells that are missing in rows of full states, given their states and the other
/// cells: what the entropy of states and missing cells together has more than that of the states.
pub(super) fn entropy_of_missing(
    chain: &Chain,
    densities: &Densities,
    sequences: &Sequences,
) -> f64 {
    let (Form::Full(_), rows) = (&densities.form, sequences.rows()) else { return 0.0 };
    if !rows.has_missing() {
        return 0.0;
    }
    let k = chain.k;
    let mut labels = vec![0.0; rows.len() * k];
    marginals(chain, densities, sequences, &mut labels);
    let gappy = |(_, row): &(usize, &[f64])| has_gap(row) && !row.iter().all(|x| x.is_nan());
    let one = |(i, row): (usize, &[f64])| {
        let own = |c: usize| labels[i * k + c] * densities.partial(c, row, |at| at.entropy());
        rows.weight(i) * (0..k).map(own).sum::<f64>()
    };
    rows.rows().enumerate().filter(gappy).map(one).sum()
}

/// Adds the sums of sequence `i` to a part; returns its log likelihood.
#[allow(clippy::too_many_arguments)]
fn one(
    chain: &Chain,
    densities: &Densities,
    sequences: &Sequences,
    i: usize,
    weight: f64,
    parts: Parts,
    part: &mut [f64],
    marginals: Option<&mut [f64]>,
) -> f64 {
    let (rows, range) = (sequences.rows(), sequences.range(i));
    let mut marginals = marginals;
    let quick = match chain.mode {
        Mode::Logs => None,
        _ => with_buffer(part.len(), |before| {
            before.copy_from_slice(part);
            let done = quick(chain, densities, sequences, i, weight, parts, part, &mut marginals);
            if done.is_none() {
                part.copy_from_slice(before);
            }
            done
        }),
    };
    quick.unwrap_or_else(|| {
        let (_, into) = parts.split(part);
        logs::sequence(chain, densities, rows, range, weight, into, marginals)
    })
}

/// The same in registers, or nothing where that loses digits: then the part is spoilt.
#[allow(clippy::too_many_arguments)]
fn quick(
    chain: &Chain,
    densities: &Densities,
    sequences: &Sequences,
    i: usize,
    weight: f64,
    parts: Parts,
    part: &mut [f64],
    marginals: &mut Option<&mut [f64]>,
) -> Option<f64> {
    let (rows, range, side) = (sequences.rows(), sequences.range(i), parts.side);
    let most = (KEPT / side).max(1);
    let stretches = range.len().div_ceil(most);
    let kept = most.min(range.len()) * side;
    let watch = chain.mode == Mode::Watch;
    with_buffer(2 * kept + (stretches + 2) * side + 8, |room| {
        let skip = room.as_ptr().align_offset(64).min(8);
        let (b, room) = room[skip..].split_at_mut(kept);
        let (a, room) = room.split_at_mut(kept);
        let (after, room) = room.split_at_mut(side);
        let (v, room) = room.split_at_mut(side);
        let (ends, _) = room.split_at_mut(stretches * side);
        let stretch = |c: usize| {
            let start = range.start + c * most;
            Stretch { chain, densities, rows, start, count: most.min(range.end - start), watch }
        };
        let mut total = 0.0;
        for c in 0..stretches {
            let on = stretch(c);
            let (done, here) = ends.split_at_mut(c * side);
            let before = (c > 0).then(|| &done[(c - 1) * side..]);
            total += dispatch(Forward { on, before, b, a })?;
            here[..side].copy_from_slice(&a[(on.count - 1) * side..on.count * side]);
        }
        after.fill(1.0);
        for c in (0..stretches).rev() {
            let on = stretch(c);
            if c + 1 < stretches {
                let before = (c > 0).then(|| &ends[(c - 1) * side..c * side]);
                dispatch(Forward { on, before, b, a })?;
            }
            let (_, into) = parts.split(part);
            let from = (on.start - range.start) * chain.k;
            let out = marginals.as_mut().map(|m| &mut m[from..from + on.count * chain.k]);
            let (room, ends, starts) = (&mut *v, c + 1 == stretches, c == 0);
            let work =
                Backward { on, b, a, after, ends, starts, weight, into, room, marginals: out };
            if !dispatch(work) {
                return None;
            }
        }
        Some(total)
    })
}
