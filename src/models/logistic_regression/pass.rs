//! One pass over the rows: what a step needs of them, in blocks on registers.

use pulp::{Simd, WithSimd};

use super::LogisticRegression;
use crate::models::components::{chunk, each_chunk};
use crate::scratch::with_buffer;
use crate::simd::{self, dispatch};
use crate::triangle;

/// Rows in a block: a column of it is 512 bytes.
const BLOCK: usize = 64;

/// Sums over rows at the `c` of a normal `q`, in units of the prior, one after another:
/// `sum ln choose - trials ln(2 cosh(c / 2)) + omega c^2 / 2`; `sum (y - trials / 2) x` (`p`);
/// `sum omega x x'` (a lower triangle).
pub(super) fn len(p: usize) -> usize {
    1 + p + triangle::len(p)
}

/// Writes the sums for a `q` of this mean and this factor of its covariance, `L` row by row.
pub(super) fn sums(model: &LogisticRegression, mean: &[f64], lower: &[f64], out: &mut [f64]) {
    let (n, p) = (model.rows(), model.p);
    let (chunk, total) = (chunk(n), len(p));
    with_buffer(n.div_ceil(chunk) * total, |parts| {
        let work = |(c, out): (usize, &mut [f64])| {
            let (start, end) = (c * chunk, ((c + 1) * chunk).min(n));
            with_buffer(BLOCK * (p + 4), |room| {
                dispatch(Pass { model, mean, lower, start, end, room, out });
            });
        };
        each_chunk(parts, total, &work);
        out.fill(0.0);
        for part in parts.chunks_exact(total) {
            out.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
    });
}

struct Pass<'a> {
    model: &'a LogisticRegression,
    mean: &'a [f64],
    lower: &'a [f64],
    start: usize,
    end: usize,
    room: &'a mut [f64],
    out: &'a mut [f64],
}

impl WithSimd for Pass<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Pass { model, mean, lower, start, end, room, out } = self;
        let p = model.p;
        let wide = BLOCK / S::F64_LANES;
        out.fill(0.0);
        let (x, rest) = room.split_at_mut(BLOCK * p);
        let (kappa, rest) = rest.split_at_mut(BLOCK);
        let (trials, rest) = rest.split_at_mut(BLOCK);
        let (omega, through) = rest.split_at_mut(BLOCK);
        for first in (start..end).step_by(BLOCK) {
            let count = BLOCK.min(end - first);
            for r in 0..BLOCK {
                // past the end, rows that count for nothing
                let i = model.at(first + r.min(count - 1));
                let weight = if r < count { model.weights[i] } else { 0.0 };
                for (j, value) in model.row(i).iter().enumerate() {
                    x[j * BLOCK + r] = *value;
                }
                trials[r] = weight * model.trials[i];
                kappa[r] = weight * (model.successes[i] - 0.5 * model.trials[i]);
            }
            out[0] += (first..first + count).map(|i| model.ways(i)).sum::<f64>();
            let (x, _) = S::as_simd_f64s(&*x);
            let (omega, _) = S::as_mut_simd_f64s(&mut *omega);
            let (through, _) = S::as_mut_simd_f64s(&mut through[..BLOCK]);
            let zero = s.splat_f64s(0.0);
            let combine = |weights: &mut dyn Iterator<Item = (usize, f64)>, to: &mut [S::f64s]| {
                to.fill(zero);
                for (j, w) in weights {
                    let w = s.splat_f64s(w);
                    for (t, x) in to.iter_mut().zip(&x[j * wide..(j + 1) * wide]) {
                        *t = s.mul_add_e_f64s(w, *x, *t);
                    }
                }
            };
            // omega holds c^2 for now: the squares of x' mean and of the columns of x' L
            combine(&mut mean.iter().copied().enumerate(), through);
            omega.iter_mut().zip(&*through).for_each(|(o, t)| *o = s.mul_f64s(*t, *t));
            for column in 0..p {
                let entry = |j: usize| (j, lower[triangle::len(j) + column]);
                combine(&mut (column..p).map(entry), through);
                for (o, t) in omega.iter_mut().zip(&*through) {
                    *o = s.mul_add_e_f64s(*t, *t, *o);
                }
            }
            let (kappa, _) = S::as_simd_f64s(&*kappa);
            let (trials, _) = S::as_simd_f64s(&*trials);
            let (half, least) = (s.splat_f64s(0.5), s.splat_f64s(1e-8));
            let mut bound = zero;
            for (o, m) in omega.iter_mut().zip(trials) {
                // at c = 0 the limit is 1 / 4, which 1e-8 gives to the last digit
                let c = s.max_f64s(least, s.sqrt_f64s(*o));
                let h = s.mul_f64s(half, c);
                *o = s.mul_f64s(*m, s.div_f64s(simd::tanh(s, h), s.add_f64s(c, c)));
                // ln(2 cosh(c / 2)) = c / 2 + ln(1 + e^-c)
                let cosh = s.add_f64s(h, simd::softplus(s, s.neg_f64s(c)));
                bound = s.sub_f64s(bound, s.mul_f64s(*m, cosh));
                bound = s.mul_add_e_f64s(s.mul_f64s(*o, h), c, bound);
            }
            out[0] += s.reduce_sum_f64s(bound);
            let dot = |a: &[S::f64s], b: &[S::f64s]| {
                let mut sums = [zero; 2];
                for (a, b) in a.chunks(2).zip(b.chunks(2)) {
                    for ((a, b), sum) in a.iter().zip(b).zip(&mut sums) {
                        *sum = s.mul_add_e_f64s(*a, *b, *sum);
                    }
                }
                s.reduce_sum_f64s(s.add_f64s(sums[0], sums[1]))
            };
            let (pulls, gram) = out[1..].split_at_mut(p);
            for (i, pull) in pulls.iter_mut().enumerate() {
                let own = &x[i * wide..(i + 1) * wide];
                *pull += dot(kappa, own);
                let weighted = through.iter_mut().zip(own).zip(&*omega);
                weighted.for_each(|((t, x), o)| *t = s.mul_f64s(*x, *o));
                let row = &mut gram[triangle::len(i)..triangle::len(i + 1)];
                for (g, other) in row.iter_mut().zip(x.chunks_exact(wide)) {
                    *g += dot(through, other);
                }
            }
        }
    }
}
