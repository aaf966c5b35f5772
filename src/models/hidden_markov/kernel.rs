//! The inner loops, states side by side in registers: forward over the rows of a sequence, then
//! backward, summing what the rows say of each state.
//!
//! Forward: `a_t = b_t * (A' a_(t-1)) / |a_(t-1)|`, with `b_t` the densities of row `t` over the
//! largest of them. Then `|a_t|` is how likely the row is, given those before it. Backward:
//! `u_t = b_t * v_t`, `v_t = A u_(t+1) / |u_(t+1)|`; the states have the probabilities
//! `a_t * v_t / (a_t . v_t)`. The division by the sum of the step before keeps the sums out of the
//! way: the next step waits for products alone (Rabiner 1989 divides by the sum of the same step).

use pulp::{Simd, WithSimd};

use super::chain::Chain;
use super::densities::{Densities, Form, stride};
use super::registers::{Diagonal, Discrete, Emission, Full, Gappy, Numbers};
use crate::data::Observations;
use crate::simd;

/// A row less likely than this, given those before it, or a product of both directions, costs
/// digits.
const LEAST: f64 = 1e-100;
const LEAST_PRODUCT: f64 = 1e-250;
/// A product this small is taken the logarithm of.
const SMALL: f64 = 1e-150;
/// What is smaller may have been lost.
const LOST: f64 = 1e-250;

/// What both directions look at: rows `start..start + count`, some of a sequence.
#[derive(Clone, Copy)]
pub(super) struct Stretch<'a> {
    pub(super) chain: &'a Chain,
    pub(super) densities: &'a Densities,
    pub(super) rows: &'a Observations,
    pub(super) start: usize,
    pub(super) count: usize,
    /// Whether states may be lost.
    pub(super) watch: bool,
}

/// Goes forward; returns the log likelihood of the rows, or nothing where digits are lost.
pub(super) struct Forward<'a> {
    pub(super) on: Stretch<'a>,
    /// `a` before the first row, or nothing where a sequence starts.
    pub(super) before: Option<&'a [f64]>,
    /// `b` of each row.
    pub(super) b: &'a mut [f64],
    /// `a` of each row.
    pub(super) a: &'a mut [f64],
}

/// Sums of a stretch, about the means of the densities.
pub(super) struct Totals<'a> {
    /// Of the first row of a sequence.
    pub(super) first: &'a mut [f64],
    pub(super) occupancy: &'a mut [f64],
    /// But for the factor `A`.
    pub(super) steps: &'a mut [f64],
    /// With it.
    pub(super) whole_steps: &'a mut [f64],
    pub(super) rows: &'a mut [f64],
}

/// Goes backward; returns whether no digits are lost.
pub(super) struct Backward<'a> {
    pub(super) on: Stretch<'a>,
    /// As [`Forward`] left them; `b` is used up.
    pub(super) b: &'a mut [f64],
    pub(super) a: &'a [f64],
    /// `u` after the last row, and before the first when done.
    pub(super) after: &'a mut [f64],
    /// Whether the sequence ends with this stretch, and whether it starts with it.
    pub(super) ends: bool,
    pub(super) starts: bool,
    /// How many sequences this one counts as.
    pub(super) weight: f64,
    pub(super) into: Totals<'a>,
    /// Room for one vector.
    pub(super) room: &'a mut [f64],
    /// Where the probabilities of the states go, row by row, where they are wanted.
    pub(super) marginals: Option<&'a mut [f64]>,
}

/// Runs `$body` with `$emission` of the right type.
macro_rules! with_emission {
    ($s:ident, $S:ident, $on:expr, |$emission:ident| $body:expr) => {{
        let Stretch { densities, rows, .. } = $on;
        let (at, _) = $S::as_simd_f64s(&densities.numbers);
        let numbers = Numbers::<$S> { at, wide: stride(densities.k) / $S::F64_LANES };
        match &densities.form {
            Form::Full(dim) if rows.has_missing() => {
                let whole = Full::<$S, 0> { numbers, dim: *dim };
                let $emission = Gappy::<$S> { whole, densities };
                $body
            }
            Form::Full(2) => {
                let $emission = Full::<$S, 2> { numbers, dim: 2 };
                $body
            }
            Form::Full(dim) => {
                let $emission = Full::<$S, 0> { numbers, dim: *dim };
                $body
            }
            Form::Diagonal(dim) => {
                let $emission = Diagonal::<$S> { numbers, dim: *dim };
                $body
            }
            Form::Discrete(layout) => {
                let $emission = Discrete::<$S> { numbers, layout };
                $body
            }
        }
    }};
}

/// `sum_i x_i row_i` in register `r`, four sums side by side.
#[inline(always)]
fn product<S: Simd>(s: S, k: usize, rows: &Numbers<'_, S>, x: &[f64], r: usize) -> S::f64s {
    let zero = s.splat_f64s(0.0);
    let mut sums = [zero; 4];
    // rows of states that are none are zero
    for i in (0..k).step_by(4) {
        for (c, sum) in sums.iter_mut().enumerate() {
            *sum = s.mul_add_e_f64s(s.splat_f64s(x[i + c]), rows.get(i + c, r), *sum);
        }
    }
    s.add_f64s(s.add_f64s(sums[0], sums[1]), s.add_f64s(sums[2], sums[3]))
}

/// Whether some lane had something that has been lost.
#[inline(always)]
fn lost<S: Simd>(s: S, before: S::f64s, after: S::f64s) -> bool {
    let had = s.greater_than_f64s(before, s.splat_f64s(0.0));
    let little = s.less_than_f64s(after, s.splat_f64s(LOST));
    simd::any(s, s.and_m64s(had, little))
}

impl WithSimd for Forward<'_> {
    type Output = Option<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> Option<f64> {
        let one = stride(self.on.chain.k) == S::F64_LANES;
        with_emission!(s, S, self.on, |emission| if one {
            forward::<S, _, 1>(s, emission, self)
        } else {
            forward::<S, _, 0>(s, emission, self)
        })
    }
}

/// `W` registers hold the states; any number where it is 0.
#[inline(always)]
fn forward<S: Simd, E: Emission<S>, const W: usize>(
    s: S,
    emission: E,
    work: Forward<'_>,
) -> Option<f64> {
    let Forward { on, before, b, a } = work;
    let (k, side, dim) = (on.chain.k, stride(on.chain.k), on.rows.dim());
    let wide = if W > 0 { W } else { side / S::F64_LANES };
    let rows = Numbers::<S> { at: S::as_simd_f64s(&on.chain.onward).0, wide };
    let values = &on.rows.values()[on.start * dim..(on.start + on.count) * dim];
    let (mut total, mut fine) = (0.0, true);
    // logarithms of sums by the logarithm of their product, before that leaves the range
    let (mut likelihood, mut tops) = (1.0, 0.0);
    // the sum of the last `a`
    let mut sum = before.map_or(1.0, |a| a.iter().sum());
    for (t, row) in values.chunks_exact(dim).enumerate() {
        let (done, rest) = a.split_at_mut(t * side);
        let (here, _) = S::as_mut_simd_f64s(&mut rest[..side]);
        let (b, _) = S::as_mut_simd_f64s(&mut b[t * side..(t + 1) * side]);
        let mut top = s.splat_f64s(f64::NEG_INFINITY);
        if emission.is_missing(row) {
            b[..wide].fill(s.splat_f64s(0.0));
            top = s.splat_f64s(0.0);
        } else {
            for r in 0..wide {
                b[r] = emission.log_density(s, row, r);
                top = s.max_f64s(top, b[r]);
            }
        }
        let top = s.reduce_max_f64s(top);
        let splat = s.splat_f64s(top);
        (0..wide).for_each(|r| b[r] = simd::exp(s, s.sub_f64s(b[r], splat)));
        let last = match t {
            0 => before,
            _ => Some(&done[(t - 1) * side..]),
        };
        let scale = s.splat_f64s(1.0 / sum);
        let mut all = s.splat_f64s(0.0);
        for r in 0..wide {
            let ahead = match last {
                Some(last) => s.mul_f64s(product(s, k, &rows, last, r), scale),
                None => S::as_simd_f64s(&on.chain.initial).0[r],
            };
            here[r] = s.mul_f64s(ahead, b[r]);
            all = s.add_f64s(all, here[r]);
            if on.watch {
                fine &= !lost(s, ahead, here[r]);
            }
        }
        sum = s.reduce_sum_f64s(all);
        fine &= sum >= LEAST && top.is_finite();
        (likelihood, tops) = (likelihood * sum, tops + top);
        if !(SMALL..1e100).contains(&likelihood) {
            total += likelihood.ln() + tops;
            (likelihood, tops) = (1.0, 0.0);
        }
    }
    fine.then_some(total + likelihood.ln() + tops)
}

impl WithSimd for Backward<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> bool {
        let one = stride(self.on.chain.k) == S::F64_LANES;
        with_emission!(s, S, self.on, |emission| if one {
            backward::<S, _, 1>(s, emission, self)
        } else {
            backward::<S, _, 0>(s, emission, self)
        })
    }
}

#[inline(always)]
fn backward<S: Simd, E: Emission<S>, const W: usize>(
    s: S,
    emission: E,
    work: Backward<'_>,
) -> bool {
    let Backward { on, b, a, after, ends, starts, weight, into, room, mut marginals } = work;
    let (k, side, dim) = (on.chain.k, stride(on.chain.k), on.rows.dim());
    let wide = if W > 0 { W } else { side / S::F64_LANES };
    let columns = Numbers::<S> { at: S::as_simd_f64s(&on.chain.backward).0, wide };
    let values = &on.rows.values()[on.start * dim..(on.start + on.count) * dim];
    let (occupancy, _) = S::as_mut_simd_f64s(into.occupancy);
    let (steps, _) = S::as_mut_simd_f64s(into.steps);
    let (sums, _) = S::as_mut_simd_f64s(into.rows);
    let (first, _) = S::as_mut_simd_f64s(into.first);
    let (v, _) = S::as_mut_simd_f64s(room);
    let (one, mut fine) = (s.splat_f64s(1.0), true);
    let mut sum: f64 = after.iter().sum();
    for t in (0..on.count).rev() {
        let row = &values[t * dim..(t + 1) * dim];
        let (now, later) = b.split_at_mut((t + 1) * side);
        let (u, _) = S::as_mut_simd_f64s(&mut now[t * side..]);
        let a = &a[t * side..(t + 1) * side];
        let (forward, _) = S::as_simd_f64s(a);
        let is_last = ends && t + 1 == on.count;
        let next = if t + 1 == on.count { &*after } else { &later[..side] };
        let scale = 1.0 / sum;
        let splat = s.splat_f64s(scale);
        let mut product_of_both = s.splat_f64s(0.0);
        let mut all = s.splat_f64s(0.0);
        // u holds b until both directions have met
        for r in 0..wide {
            v[r] = match is_last {
                true => one,
                false => s.mul_f64s(product(s, k, &columns, next, r), splat),
            };
            product_of_both = s.mul_add_e_f64s(forward[r], v[r], product_of_both);
            let back = s.mul_f64s(u[r], v[r]);
            all = s.add_f64s(all, back);
            if on.watch {
                fine &= !lost(s, v[r], back);
            }
            u[r] = back;
        }
        let both = s.reduce_sum_f64s(product_of_both);
        fine &= both >= LEAST_PRODUCT;
        let share = weight / both;
        let shares = s.splat_f64s(share);
        if !is_last {
            let (next, _) = S::as_simd_f64s(next);
            let scaled = s.splat_f64s(share * scale);
            for r in 0..wide {
                let next = s.mul_f64s(next[r], scaled);
                for (i, a) in a[..k].iter().enumerate() {
                    let step = &mut steps[i * wide + r];
                    *step = s.mul_add_e_f64s(s.splat_f64s(*a), next, *step);
                }
            }
        }
        let missing = emission.is_missing(row);
        for r in 0..wide {
            let label = s.mul_f64s(s.mul_f64s(forward[r], v[r]), shares);
            occupancy[r] = s.add_f64s(occupancy[r], label);
            if starts && t == 0 {
                first[r] = s.add_f64s(first[r], label);
            }
            if !missing {
                emission.add(s, row, label, r, sums);
            }
            if let Some(out) = &mut marginals {
                let lane = std::slice::from_ref(&label);
                let from = r * S::F64_LANES;
                let until = k.min(from + S::F64_LANES);
                let lane: &[f64] = pulp::bytemuck::cast_slice(lane);
                if from < until {
                    out[t * k + from..t * k + until].copy_from_slice(&lane[..until - from]);
                }
            }
        }
        sum = s.reduce_sum_f64s(all);
        fine &= sum > 0.0;
    }
    after.copy_from_slice(&b[..side]);
    fine
}
