//! Functions of sums on a tape: values added up, slopes kept for the way back.

use pulp::Simd;

use super::elementary::{Elementary, elementary};
use super::program::{Op, Want};
use super::tape::{Operand, Run, Tape};

/// Rows of a run that are computed at once.
pub(super) const ROWS: usize = 8;

/// `sum_i f(row_i)`; the weighted slopes go to `d`.
#[inline(always)]
pub(super) fn forward_run<S: Simd, const N: usize>(
    s: S,
    tape: &Tape,
    run: &Run,
    want: Want,
    v: &[[S::f64s; N]],
    d: &mut [[S::f64s; N]],
    rows: &mut [[S::f64s; N]],
) -> [S::f64s; N] {
    let coefficients = run.coefficients.of(&tape.coefficients);
    match (run.op, run.operands.of(&tape.operands)) {
        (Op::Square, [a]) => squares(s, [*a], coefficients, run.weight, want, v, d),
        (Op::Square, [a, b]) => squares(s, [*a, *b], coefficients, run.weight, want, v, d),
        _ => mapped(s, tape, run, want, v, d, rows),
    }
}

/// Squares of rows over `T` operands: everything stays in registers.
#[inline(always)]
fn squares<S: Simd, const N: usize, const T: usize>(
    s: S,
    operands: [Operand; T],
    coefficients: &[f64],
    weight: f64,
    want: Want,
    v: &[[S::f64s; N]],
    d: &mut [[S::f64s; N]],
) -> [S::f64s; N] {
    let zero = [s.splat_f64s(0.0); N];
    let x: [[S::f64s; N]; T] = std::array::from_fn(|k| v[operands[k].slot as usize]);
    let (mut sum, mut slopes) = (zero, [zero; T]);
    for row in coefficients.chunks_exact(T + 1) {
        let c: [S::f64s; T] = std::array::from_fn(|k| s.splat_f64s(row[k + 1]));
        let constant = s.splat_f64s(row[0]);
        for j in 0..N {
            let mut r = constant;
            for k in 0..T {
                r = s.mul_add_e_f64s(c[k], x[k][j], r);
            }
            sum[j] = s.mul_add_e_f64s(r, r, sum[j]);
            for k in 0..T {
                slopes[k][j] = s.mul_add_e_f64s(c[k], r, slopes[k][j]);
            }
        }
    }
    if want.gradients() {
        let twice = s.splat_f64s(2.0 * weight);
        for k in 0..T {
            for j in 0..N {
                d[operands[k].slope as usize][j] = s.mul_f64s(twice, slopes[k][j]);
            }
        }
    }
    sum
}

/// Any function of rows over any number of operands, a few rows at once.
#[inline(always)]
fn mapped<S: Simd, const N: usize>(
    s: S,
    tape: &Tape,
    run: &Run,
    want: Want,
    v: &[[S::f64s; N]],
    d: &mut [[S::f64s; N]],
    room: &mut [[S::f64s; N]],
) -> [S::f64s; N] {
    let zero = [s.splat_f64s(0.0); N];
    let operands = run.operands.of(&tape.operands);
    let coefficients = run.coefficients.of(&tape.coefficients);
    let (x, rest) = room.split_at_mut(ROWS);
    let (value, slope) = rest.split_at_mut(ROWS);
    let stride = operands.len() + 1;
    let mut sum = zero;
    if want.gradients() {
        operands.iter().for_each(|o| d[o.slope as usize] = zero);
    }
    for rows in coefficients.chunks(ROWS * stride) {
        let count = rows.len() / stride;
        for (x, row) in x.iter_mut().zip(rows.chunks_exact(stride)) {
            *x = [s.splat_f64s(row[0]); N];
            for (o, &c) in operands.iter().zip(&row[1..]) {
                let (c, y) = (s.splat_f64s(c), &v[o.slot as usize]);
                for j in 0..N {
                    x[j] = s.mul_add_e_f64s(c, y[j], x[j]);
                }
            }
        }
        let (op, param) = (run.op, run.param);
        elementary(
            s,
            Elementary {
                op,
                param,
                want,
                x: x[..count].as_flattened(),
                value: value[..count].as_flattened_mut(),
                slope: slope[..count].as_flattened_mut(),
            },
        );
        if want.values() {
            for value in &value[..count] {
                for j in 0..N {
                    sum[j] = s.add_f64s(sum[j], value[j]);
                }
            }
        }
        if want.gradients() {
            for (k, o) in operands.iter().enumerate() {
                let mut total = d[o.slope as usize];
                for (slope, row) in slope.iter().zip(rows.chunks_exact(stride)) {
                    let c = s.splat_f64s(run.weight * row[k + 1]);
                    for j in 0..N {
                        total[j] = s.mul_add_e_f64s(c, slope[j], total[j]);
                    }
                }
                d[o.slope as usize] = total;
            }
        }
    }
    sum
}

/// `ln sum e^x` with the shares as slopes; NaN where no term is finite, or one is infinite.
#[inline(always)]
pub(super) fn log_sum_exp<S: Simd, const N: usize>(
    s: S,
    operands: &[Operand],
    v: &[[S::f64s; N]],
    d: &mut [[S::f64s; N]],
) -> [S::f64s; N] {
    let mut top = [s.splat_f64s(f64::NEG_INFINITY); N];
    for o in operands {
        for j in 0..N {
            let x = v[o.slot as usize][j];
            let higher = s.less_than_or_equal_f64s(x, top[j]);
            top[j] = s.select_f64s(higher, top[j], x);
        }
    }
    let mut sum = [s.splat_f64s(0.0); N];
    for o in operands {
        let mut below = v[o.slot as usize];
        for j in 0..N {
            below[j] = s.sub_f64s(below[j], top[j]);
        }
        let (e, mut unused) = (&mut d[o.slope as usize], below);
        let want = Want::Values;
        let (x, value, slope) = (&below[..], &mut e[..], &mut unused[..]);
        elementary(s, Elementary { op: Op::Exp, param: 0.0, want, x, value, slope });
        for j in 0..N {
            sum[j] = s.add_f64s(sum[j], e[j]);
        }
    }
    let (mut log, mut inverse) = (sum, sum);
    let (want, x) = (Want::Both, &sum[..]);
    let (value, slope) = (&mut log[..], &mut inverse[..]);
    elementary(s, Elementary { op: Op::Ln, param: 0.0, want, x, value, slope });
    for o in operands {
        let share = &mut d[o.slope as usize];
        for j in 0..N {
            share[j] = s.mul_f64s(share[j], inverse[j]);
        }
    }
    for j in 0..N {
        log[j] = s.add_f64s(log[j], top[j]);
    }
    log
}
