//! The same passes in logarithms, state by state: slower, and right wherever the likelihood is not
//! 0; for chains with impossible steps, under which states may be lost.

use std::ops::Range;

use super::chain::Chain;
use super::densities::{Densities, stride};
use super::kernel::Totals;
use crate::data::Observations;
use crate::scratch::with_buffer;

/// `ln sum exp`
pub(super) fn log_sum(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return top;
    }
    top + logs.map(|l| (l - top).exp()).sum::<f64>().ln()
}

/// Adds the sums of one sequence and returns its log likelihood; where that is negative infinity
/// there are no sums.
pub(super) fn sequence(
    chain: &Chain,
    densities: &Densities,
    rows: &Observations,
    range: Range<usize>,
    weight: f64,
    into: Totals<'_>,
    marginals: Option<&mut [f64]>,
) -> f64 {
    let (k, n, side) = (chain.k, range.len(), stride(chain.k));
    with_buffer(2 * n * k + 3 * k, |room| {
        let (a, room) = room.split_at_mut(n * k);
        let (b, room) = room.split_at_mut(n * k);
        let (next, room) = room.split_at_mut(k);
        let (v, labels) = room.split_at_mut(k);
        for (t, row) in range.clone().map(|i| rows.row(i)).enumerate() {
            for j in 0..k {
                b[t * k + j] = densities.log_density(j, row);
                let ahead = match t {
                    0 => chain.log_initial[j],
                    _ => log_sum((0..k).map(|i| a[(t - 1) * k + i] + chain.step(i, j))),
                };
                a[t * k + j] = ahead + b[t * k + j];
            }
        }
        let total = log_sum(a[(n - 1) * k..].iter().copied());
        if total == f64::NEG_INFINITY {
            return total;
        }
        let mut marginals = marginals;
        for t in (0..n).rev() {
            let a = &a[t * k..(t + 1) * k];
            for i in 0..k {
                v[i] = match t + 1 == n {
                    true => 0.0,
                    false => log_sum((0..k).map(|j| chain.step(i, j) + next[j])),
                };
            }
            // the same as the total at all times, but for the digits that long sums lose
            let here = log_sum(a.iter().zip(&*v).map(|(a, v)| a + v));
            for i in 0..k {
                labels[i] = weight * (a[i] + v[i] - here).exp();
                into.occupancy[i] += labels[i];
                if t == 0 {
                    into.first[i] += labels[i];
                }
                if t + 1 < n {
                    for j in 0..k {
                        let step = a[i] + chain.step(i, j) + next[j] - here;
                        into.whole_steps[i * side + j] += weight * step.exp();
                    }
                }
            }
            let row = rows.row(range.start + t);
            densities.add(row, labels, into.rows);
            if let Some(out) = &mut marginals {
                out[t * k..(t + 1) * k].copy_from_slice(labels);
            }
            (0..k).for_each(|j| next[j] = b[t * k + j] + v[j]);
        }
        total
    })
}
