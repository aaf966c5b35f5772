//! One pass over a `Tape` and back, on registers: `N` of them hold the points of a block.

use pulp::{Simd, WithSimd, bytemuck};

use super::functions::{ROWS, forward_run, log_sum_exp};
use super::program::{Op, Want};
use super::tape::{Guard, Step, Tape};

/// Registers a block of points takes at most.
const MOST: usize = 4;

/// Everything one sweep writes; kept from one to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    values: Vec<f64>,
    slopes: Vec<f64>,
    adjoints: Vec<f64>,
    /// Rows of a run: arguments, values and slopes.
    rows: Vec<f64>,
    /// Operands, results and slopes of a primitive.
    x: Vec<f64>,
    y: Vec<f64>,
    dy: Vec<f64>,
    /// NaN at the points whose result is not to be trusted.
    pub doubt: Vec<f64>,
}

/// Values at `lanes` points, and gradients if asked for; the points stand one after another.
pub(super) struct Sweep<'a> {
    pub tape: &'a Tape,
    pub want: Want,
    pub lanes: usize,
    pub z: &'a [f64],
    pub out: &'a mut [f64],
    pub grad: &'a mut [f64],
    pub room: &'a mut Room,
}

impl WithSimd for Sweep<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let registers = self.lanes.div_ceil(S::F64_LANES);
        let blocks = registers.div_ceil(MOST);
        match registers.div_ceil(blocks) {
            1 => s.vectorize(Blocks::<1>(self, blocks)),
            2 => s.vectorize(Blocks::<2>(self, blocks)),
            3 => s.vectorize(Blocks::<3>(self, blocks)),
            _ => s.vectorize(Blocks::<4>(self, blocks)),
        }
    }
}

/// `count` numbers that start where a line of the cache does.
fn aligned(room: &mut Vec<f64>, count: usize) -> &mut [f64] {
    const LINE: usize = 8;
    if room.len() < count + LINE {
        room.resize(count + LINE, 0.0);
    }
    let start = room.as_ptr().align_offset(8 * LINE).min(LINE);
    &mut room[start..start + count]
}

struct Blocks<'a, const N: usize>(Sweep<'a>, usize);

impl<const N: usize> WithSimd for Blocks<'_, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Blocks(Sweep { tape, want, lanes, z, out, grad, room }, blocks) = self;
        let width = N * S::F64_LANES;
        let d = tape.inputs;
        let values = aligned(&mut room.values, blocks * tape.slots * width);
        let slopes = aligned(&mut room.slopes, blocks * tape.slopes * width);
        let adjoints = aligned(&mut room.adjoints, tape.slots * width);
        let rows = registers::<S, N>(aligned(&mut room.rows, 3 * ROWS * width));
        room.doubt.clear();
        room.doubt.resize(blocks * width, 0.0);
        let in_block = |b: usize| (lanes - b * width).min(width);
        // Lanes beyond the last point repeat it, so that they raise no doubts of their own.
        for (b, values) in values.chunks_exact_mut(tape.slots * width).enumerate() {
            let (points, count) = (&z[b * width * d..], in_block(b));
            for (i, values) in values.chunks_exact_mut(width).take(d).enumerate() {
                let coordinate = points[i..].iter().step_by(d).take(count);
                values.iter_mut().zip(coordinate).for_each(|(v, z)| *v = *z);
                let last = values[count - 1];
                values[count..].fill(last);
            }
        }
        let mut from = 0;
        loop {
            let rest = &tape.steps[from..];
            let count = match tape.primitives.len() {
                0 => rest.len(),
                _ => rest.iter().take_while(|s| !matches!(s, Step::Primitive { .. })).count(),
            };
            for b in 0..blocks {
                let values = &mut values[b * tape.slots * width..][..tape.slots * width];
                let slopes = &mut slopes[b * tape.slopes * width..][..tape.slopes * width];
                let (v, d) = (registers::<S, N>(values), registers::<S, N>(slopes));
                forward(s, tape, &rest[..count], want, v, d, rows);
            }
            let Some(&Step::Primitive { out, index, operands, needed }) = rest.get(count) else {
                break;
            };
            let operands = operands.of(&tape.operands);
            room.x.resize(operands.len() * lanes, 0.0);
            room.dy.resize(operands.len() * lanes, 0.0);
            room.y.resize(lanes, 0.0);
            for (x, o) in room.x.chunks_exact_mut(lanes).zip(operands) {
                for (b, x) in x.chunks_mut(width).enumerate() {
                    let at = (b * tape.slots + o.slot as usize) * width;
                    x.copy_from_slice(&values[at..at + x.len()]);
                }
            }
            let operation = &*tape.primitives[index as usize].operation;
            match want {
                Want::Values => operation.value_lanes(lanes, &room.x, &mut room.y),
                Want::Gradients if !needed => operation.grad_lanes(lanes, &room.x, &mut room.dy),
                _ => operation.value_grad_lanes(lanes, &room.x, &mut room.y, &mut room.dy),
            }
            if needed || want.values() {
                spread(&room.y, width, tape.slots, out as usize, values);
            }
            if want.gradients() {
                for (dy, o) in room.dy.chunks_exact(lanes).zip(operands) {
                    spread(dy, width, tape.slopes, o.slope as usize, slopes);
                }
            }
            from += count + 1;
        }
        for b in 0..blocks {
            let values = &mut values[b * tape.slots * width..][..tape.slots * width];
            let values = registers::<S, N>(values);
            let mut doubt = guarded(s, tape, values);
            let count = in_block(b);
            if !want.values() {
                for x in &values[..d] {
                    doubt = unless_below(s, x, f64::INFINITY, doubt);
                }
            }
            if want.values() {
                let value = values[tape.output as usize];
                doubt = unless_below(s, &value, f64::INFINITY, doubt);
                let value: &[f64] = bytemuck::cast_slice(&value);
                out[b * width..][..count].copy_from_slice(&value[..count]);
            }
            if want.gradients() {
                let slopes = &mut slopes[b * tape.slopes * width..][..tape.slopes * width];
                let g = registers::<S, N>(adjoints);
                reverse(s, tape, values, registers::<S, N>(slopes), g);
                // Where a value overflows that nobody asked for, its gradient is large.
                for g in &g[..d] {
                    doubt = unless_below(s, g, 1e100, doubt);
                }
                let grad = &mut grad[b * width * d..];
                for (i, adjoints) in adjoints.chunks_exact(width).take(d).enumerate() {
                    let coordinate = grad[i..].iter_mut().step_by(d);
                    coordinate.zip(&adjoints[..count]).for_each(|(g, a)| *g = *a);
                }
            }
            room.doubt[b * width..][..width].copy_from_slice(bytemuck::cast_slice(&doubt));
        }
    }
}

/// Numbers of all points, into the blocks; what is beyond repeats the last.
fn spread(from: &[f64], width: usize, slots: usize, slot: usize, to: &mut [f64]) {
    for (b, from) in from.chunks(width).enumerate() {
        let to = &mut to[(b * slots + slot) * width..][..width];
        to[..from.len()].copy_from_slice(from);
        to[from.len()..].fill(from[from.len() - 1]);
    }
}

#[inline(always)]
fn registers<S: Simd, const N: usize>(x: &mut [f64]) -> &mut [[S::f64s; N]] {
    S::as_mut_simd_f64s(x).0.as_chunks_mut().0
}

/// NaN where `|x|` is not below `most`, otherwise what was there.
#[inline(always)]
fn unless_below<S: Simd, const N: usize>(
    s: S,
    x: &[S::f64s; N],
    most: f64,
    mut doubt: [S::f64s; N],
) -> [S::f64s; N] {
    for j in 0..N {
        let fine = s.less_than_f64s(s.abs_f64s(x[j]), s.splat_f64s(most));
        doubt[j] = s.select_f64s(fine, doubt[j], s.splat_f64s(f64::NAN));
    }
    doubt
}

/// NaN where a guard does not hold, otherwise 0.
#[inline(always)]
fn guarded<S: Simd, const N: usize>(s: S, tape: &Tape, v: &[[S::f64s; N]]) -> [S::f64s; N] {
    let mut doubt = [s.splat_f64s(0.0); N];
    for g in &tape.guards {
        let x = &v[g.slot as usize];
        for j in 0..N {
            doubt[j] = s.select_f64s(inside(s, g, x[j]), doubt[j], s.splat_f64s(f64::NAN));
        }
    }
    doubt
}

#[inline(always)]
fn inside<S: Simd>(s: S, g: &Guard, x: S::f64s) -> S::m64s {
    let (low, high) = (s.splat_f64s(g.low), s.splat_f64s(g.high));
    s.and_m64s(s.greater_than_or_equal_f64s(x, low), s.less_than_or_equal_f64s(x, high))
}

#[inline(always)]
fn forward<S: Simd, const N: usize>(
    s: S,
    tape: &Tape,
    steps: &[Step],
    want: Want,
    v: &mut [[S::f64s; N]],
    d: &mut [[S::f64s; N]],
    rows: &mut [[S::f64s; N]],
) {
    for step in steps {
        match *step {
            Step::Sum { out, constant, multiples, products, runs, needed } => {
                let value = needed || want.values();
                let mut sum = [s.splat_f64s(constant); N];
                if value {
                    for m in multiples.of(&tape.multiples) {
                        let (c, x) = (s.splat_f64s(m.c), &v[m.slot as usize]);
                        for j in 0..N {
                            sum[j] = s.mul_add_e_f64s(c, x[j], sum[j]);
                        }
                    }
                    let mut other = [s.splat_f64s(0.0); N];
                    for p in products.of(&tape.products) {
                        let c = s.splat_f64s(p.c);
                        let (x, y) = (&v[p.a as usize], &v[p.b as usize]);
                        for j in 0..N {
                            let cx = s.mul_f64s(c, x[j]);
                            other[j] = s.mul_add_e_f64s(cx, y[j], other[j]);
                        }
                    }
                    for j in 0..N {
                        sum[j] = s.add_f64s(sum[j], other[j]);
                    }
                }
                let want = match (value, want.gradients()) {
                    (true, true) => Want::Both,
                    (true, false) => Want::Values,
                    _ => Want::Gradients,
                };
                for run in runs.of(&tape.runs) {
                    let of_run = forward_run(s, tape, run, want, v, d, rows);
                    let w = s.splat_f64s(run.weight);
                    for j in 0..N {
                        sum[j] = s.mul_add_e_f64s(w, of_run[j], sum[j]);
                    }
                }
                if value {
                    v[out as usize] = sum;
                }
            }
            Step::Choose { op, out, test, operands } => {
                let [a, b] = operands.of(&tape.operands) else { continue };
                let (x, y) = (v[a.slot as usize], v[b.slot as usize]);
                let test = v[test as usize];
                for j in 0..N {
                    let first = match op {
                        Op::Max => s.greater_than_or_equal_f64s(x[j], y[j]),
                        Op::Min => s.less_than_or_equal_f64s(x[j], y[j]),
                        _ => s.greater_than_f64s(test[j], s.splat_f64s(0.0)),
                    };
                    // Max and Min keep a NaN in front.
                    let nan = s.not_m64s(s.equal_f64s(x[j], x[j]));
                    let first = if op == Op::IfPositive { first } else { s.or_m64s(first, nan) };
                    let (zero, one) = (s.splat_f64s(0.0), s.splat_f64s(1.0));
                    v[out as usize][j] = s.select_f64s(first, x[j], y[j]);
                    d[a.slope as usize][j] = s.select_f64s(first, one, zero);
                    d[b.slope as usize][j] = s.select_f64s(first, zero, one);
                }
            }
            Step::Indicator { out, guard } => {
                let x = v[guard.slot as usize];
                for j in 0..N {
                    let outside = s.splat_f64s(f64::NEG_INFINITY);
                    let y = s.select_f64s(inside(s, &guard, x[j]), s.splat_f64s(0.0), outside);
                    let number = s.equal_f64s(x[j], x[j]);
                    v[out as usize][j] = s.select_f64s(number, y, x[j]);
                }
            }
            Step::LogSumExp { out, operands } => {
                v[out as usize] = log_sum_exp(s, operands.of(&tape.operands), v, d);
            }
            Step::Primitive { .. } => {}
        }
    }
}

/// What arrives at every slot, from the last to the first.
#[inline(always)]
fn reverse<S: Simd, const N: usize>(
    s: S,
    tape: &Tape,
    v: &[[S::f64s; N]],
    d: &[[S::f64s; N]],
    g: &mut [[S::f64s; N]],
) {
    for (slot, pull) in tape.pulls.iter().enumerate().rev() {
        let seed = if slot == tape.output as usize { 1.0 } else { 0.0 };
        let mut total = [s.splat_f64s(seed); N];
        for m in pull.multiples.of(&tape.pulled_multiples) {
            let (c, above) = (s.splat_f64s(m.c), &g[m.slot as usize]);
            for j in 0..N {
                total[j] = s.mul_add_e_f64s(c, above[j], total[j]);
            }
        }
        let mut other = [s.splat_f64s(0.0); N];
        for p in pull.products.of(&tape.pulled_products) {
            let c = s.splat_f64s(p.c);
            let (above, y) = (&g[p.a as usize], &v[p.b as usize]);
            for j in 0..N {
                let slope = s.mul_f64s(c, y[j]);
                other[j] = s.mul_add_e_f64s(slope, above[j], other[j]);
            }
        }
        for fan in pull.fans.of(&tape.pulled_fans) {
            let above = &g[fan.out as usize];
            let mut slopes = [s.splat_f64s(0.0); N];
            for slope in fan.slopes.of(d) {
                for j in 0..N {
                    slopes[j] = s.add_f64s(slopes[j], slope[j]);
                }
            }
            for j in 0..N {
                total[j] = s.mul_add_e_f64s(slopes[j], above[j], total[j]);
            }
        }
        for j in 0..N {
            total[j] = s.add_f64s(total[j], other[j]);
        }
        g[slot] = total;
    }
}
