//! `Formula`: a recording with one result, evaluated at many points by its tape.

use std::cell::RefCell;
use std::sync::Arc;

use super::lower::lower;
use super::program::{Program, Want};
use super::sweep::{Room, Sweep};
use super::tape::Tape;
use super::{Dual, with_dual_workspace, with_workspace};
use crate::caught::FromDraw;
use crate::model::spoil;
use crate::scratch::with_buffer;
use crate::simd;
use crate::threads::{self, Chunks, Cut, Gauge, Order, WORTH_SHARING, in_chunks};

/// A program with one result and its tape. Where the tape finds what is not finite, the program is
/// replayed as it was written: what is infinite, NaN or not taken is decided there alone.
///
/// Where it may work on several threads, each takes blocks of points.
#[derive(Clone, Debug)]
pub(crate) struct Formula(Arc<Recorded>);

#[derive(Debug)]
struct Recorded {
    program: Program,
    tape: Option<Tape>,
    /// Whether a primitive shares its rows instead.
    together: bool,
    gauge: Gauge,
}

/// Points in a block at most: a register.
const BLOCK: usize = 8;

thread_local! {
    static ROOMS: RefCell<Vec<Room>> = const { RefCell::new(Vec::new()) };
}

impl Formula {
    /// With a tape, which costs more than a few replays do.
    pub fn new(program: Program) -> Formula {
        let tape = lower(&program);
        Formula::of(program, tape)
    }

    /// Without, for a recording that will soon be forgotten.
    pub fn passing(program: Program) -> Formula {
        Formula::of(program, None)
    }

    fn of(program: Program, tape: Option<Tape>) -> Formula {
        let together = program.primitives.iter().any(|p| p.operation.keeps_together());
        Formula(Arc::new(Recorded { program, tape, together, gauge: Gauge::default() }))
    }

    /// Room for another recording.
    pub fn emptied(self) -> Program {
        Arc::into_inner(self.0).map(|recorded| recorded.program.emptied()).unwrap_or_default()
    }

    /// Values (`columns` of them) and gradients (`dim x columns`) at the points `z`, as `want`
    /// says; what is not asked for may be empty.
    pub fn evaluate(
        &self,
        want: Want,
        columns: usize,
        z: &[f64],
        out: &mut [f64],
        grad: &mut [f64],
    ) {
        let recorded = &self.0;
        let alone = threads::allowed() < 2 || columns <= BLOCK || recorded.together;
        if alone {
            return recorded.evaluate(want, columns, z, out, grad);
        }
        let nanoseconds = recorded.gauge.nanoseconds(columns);
        if nanoseconds < WORTH_SHARING {
            let alone = || recorded.evaluate(want, columns, z, out, grad);
            return recorded.gauge.measure(columns, || threads::allow(1, alone));
        }
        let d = recorded.program.inputs;
        let chunks = columns.div_ceil(BLOCK);
        let block = columns.div_ceil(chunks);
        let (values, gradients) = (want.values(), want.gradients());
        let order = Order { lanes: block, values, gradients };
        let of_values = block * usize::from(values);
        let part = of_values + block * d * usize::from(gradients);
        let cut = Cut { chunks: columns.div_ceil(block), part, nanoseconds };
        in_chunks(recorded, order, z, cut, |c, part| {
            let (from, to) = (c * block, columns.min((c + 1) * block));
            let (own, own_grad) = part.split_at(of_values);
            if values {
                out[from..to].copy_from_slice(&own[..to - from]);
            }
            if gradients {
                grad[from * d..to * d].copy_from_slice(&own_grad[..(to - from) * d]);
            }
        });
    }

    /// The gradient at `z` and the Hessian there times `v`.
    pub fn hess_vec(&self, z: &[f64], v: &[f64], grad: &mut [f64], out: &mut [f64]) {
        self.0.hess_vec(z, v, grad, out);
    }
}

impl Chunks for Recorded {
    fn chunk(&self, order: Order, z: &[f64], c: usize, part: &mut [f64]) {
        let d = self.program.inputs;
        let want = match (order.values, order.gradients) {
            (true, true) => Want::Both,
            (true, false) => Want::Values,
            _ => Want::Gradients,
        };
        let block = order.lanes;
        let z = &z[c * block * d..];
        let columns = block.min(z.len() / d.max(1));
        let (out, grad) = part.split_at_mut(block * usize::from(order.values));
        let out = if order.values { &mut out[..columns] } else { out };
        let grad = if order.gradients { &mut grad[..columns * d] } else { grad };
        let _from = FromDraw(c * block);
        self.evaluate(want, columns, &z[..columns * d], out, grad);
    }
}

impl Recorded {
    fn evaluate(&self, want: Want, columns: usize, z: &[f64], out: &mut [f64], grad: &mut [f64]) {
        let d = self.program.inputs;
        let Some(tape) = &self.tape else {
            return self.plainly(want, columns, z, out, grad);
        };
        if want == Want::Gradients && tape.hides {
            return with_buffer(columns, |out| {
                self.evaluate(Want::Both, columns, z, out, grad);
                spoil(out, grad);
            });
        }
        let width = tape.lanes();
        let mut room = ROOMS.with_borrow_mut(Vec::pop).unwrap_or_default();
        for start in (0..columns).step_by(width) {
            let end = (start + width).min(columns);
            let out = if want.values() { &mut out[start..end] } else { &mut [] };
            let grad = if want.gradients() { &mut grad[start * d..end * d] } else { &mut [] };
            let (z, lanes) = (&z[start * d..end * d], end - start);
            let sweep =
                Sweep { tape, want, lanes, z, out: &mut *out, grad: &mut *grad, room: &mut room };
            simd::dispatch(sweep);
            for l in (0..lanes).filter(|&l| room.doubt[l].is_nan()) {
                let out = if want.values() { &mut out[l..l + 1] } else { &mut [] };
                let grad = if want.gradients() { &mut grad[l * d..(l + 1) * d] } else { &mut [] };
                self.plainly(want, 1, &z[l * d..(l + 1) * d], out, grad);
            }
        }
        ROOMS.with_borrow_mut(|rooms| rooms.push(room));
    }

    fn hess_vec(&self, z: &[f64], v: &[f64], grad: &mut [f64], out: &mut [f64]) {
        with_dual_workspace(|ws, point| {
            point.clear();
            point.extend(z.iter().zip(v).map(|(&re, &eps)| Dual { re, eps }));
            self.program.forward(1, point, Want::Both, ws);
            self.program.clear(ws);
            self.program.seed(0, 0, Dual::from(1.0), ws);
            self.program.reverse(ws, point);
            for (i, p) in point.iter().enumerate() {
                (grad[i], out[i]) = (p.re, p.eps);
            }
        });
    }

    /// The same as it was written down, without the tape.
    fn plainly(&self, want: Want, columns: usize, z: &[f64], out: &mut [f64], grad: &mut [f64]) {
        if want == Want::Gradients {
            return with_buffer(columns, |out| {
                self.replay(want, z, out, grad);
                spoil(out, grad);
            });
        }
        self.replay(want, z, out, grad);
    }

    /// Without values, all that `out` says is where they are not finite.
    fn replay(&self, want: Want, z: &[f64], out: &mut [f64], grad: &mut [f64]) {
        let (program, d) = (&self.program, self.program.inputs);
        let width = program.lanes(out.len());
        with_workspace(|ws| {
            for start in (0..out.len()).step_by(width) {
                let end = (start + width).min(out.len());
                let lanes = end - start;
                program.forward(lanes, &z[start * d..end * d], want, ws);
                program.output(0, ws, &mut out[start..end]);
                if want.gradients() {
                    program.clear(ws);
                    (0..lanes).for_each(|l| program.seed(0, l, 1.0, ws));
                    program.reverse(ws, &mut grad[start * d..end * d]);
                }
            }
        });
    }
}

impl Tape {
    /// How many points at once keep what a sweep writes inside a core's own cache.
    fn lanes(&self) -> usize {
        const CACHE: usize = 512 * 1024;
        let most = if self.primitives.is_empty() { 32 } else { 64 };
        let bytes = 8 * (2 * self.slots + self.slopes).max(1);
        (CACHE / bytes / 8 * 8).clamp(8, most)
    }
}

#[cfg(test)]
impl Formula {
    pub fn has_tape(&self) -> bool {
        self.0.tape.is_some()
    }

    pub fn steps(&self) -> usize {
        self.0.tape.as_ref().map_or(0, |tape| tape.steps.len())
    }

    /// Bounds of what a relative error of 1 in every operation does to the value and to a slope, to
    /// first order: `sum |value| |adjoint|` and the like.
    pub fn scales(&self, z: &[f64]) -> (f64, f64) {
        with_workspace(|ws| {
            self.0.program.forward(1, z, Want::Both, ws);
            self.0.program.clear(ws);
            self.0.program.seed(0, 0, 1.0, ws);
            self.0.program.reverse(ws, &mut vec![0.0; z.len()]);
            ws.scales()
        })
    }
}
