//! Write a log joint once; get its gradient and Hessian products. `Real`, `LogJoint`, `Autodiff`.

mod algebra;
mod dual;
mod elementary;
mod emit;
mod equals;
mod form;
mod formula;
mod functions;
mod lower;
mod program;
mod real;
mod record;
mod sweep;
mod tape;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::{Mutex, OnceLock, PoisonError};

pub use dual::Dual;
pub(crate) use formula::Formula;
pub(crate) use program::{Program, Want, Workspace};
pub use real::{Primitive, Real};
pub use record::Var;

use crate::model::{Differentiable, Model, Subsample, TwiceDifferentiable};
use crate::space::Space;

/// A log joint density written once, for `f64` and for every scalar that can be watched.
///
/// `log_joint` must be a pure function of `z` and of what the model holds: it is recorded once and
/// replayed. [`Autodiff`] turns it into a model with gradients.
///
/// ```
/// use elbo::{density, Autodiff, Differentiable, LogJoint, Real, Space};
///
/// struct Normal;
/// impl LogJoint for Normal {
///     fn space(&self) -> Space {
///         let mut space = Space::new();
///         space.real("x");
///         space
///     }
///     fn log_joint<T: Real>(&self, z: &[T]) -> T {
///         density::normal(z[0], 1.0, 2.0)
///     }
/// }
/// let mut grad = [0.0];
/// Autodiff::new(Normal).log_joint_grad(&[3.0], &mut grad);
/// assert_eq!(grad, [-0.5]);
/// ```
pub trait LogJoint {
    /// Names, sizes and supports of the coordinates of `z`.
    fn space(&self) -> Space;
    /// `log p(x, z)`
    fn log_joint<T: Real>(&self, z: &[T]) -> T;
}

/// What `Autodiff` needs: a formula it can record. Every [`LogJoint`] is one, and so is a closure
/// handed to [`from_fn`](crate::from_fn).
pub trait Recordable {
    /// Names, sizes and supports of the coordinates of `z`.
    fn space(&self) -> Space;
    /// Writes down the formula for `log p(x, z)`.
    fn record(&self, z: &[Var]) -> Var;
}

impl<L: LogJoint> Recordable for L {
    fn space(&self) -> Space {
        LogJoint::space(self)
    }
    fn record(&self, z: &[Var]) -> Var {
        self.log_joint(z)
    }
}

/// A model made from a log joint: its gradient comes from a recording that is made at the first
/// evaluation and replayed, several draws at a time, at every later one.
#[derive(Debug)]
pub struct Autodiff<L> {
    inner: L,
    space: Space,
    dim: usize,
    formula: OnceLock<Formula>,
    /// Whether the rows shown will soon be others: what is recorded is hardly worth a tape.
    passing: bool,
    /// A recording that has been forgotten: the next one takes its room.
    spare: Mutex<Program>,
}

impl<L: Clone> Clone for Autodiff<L> {
    fn clone(&self) -> Self {
        Autodiff {
            inner: self.inner.clone(),
            space: self.space.clone(),
            dim: self.dim,
            // Made anew: what it has recorded may belong to the inner model alone.
            formula: OnceLock::new(),
            passing: self.passing,
            spare: Mutex::default(),
        }
    }
}

thread_local! {
    static WORKSPACES: RefCell<Vec<Workspace<f64>>> = const { RefCell::new(Vec::new()) };
    static DUAL_WORKSPACES: RefCell<Vec<(Workspace<Dual>, Vec<Dual>)>> =
        const { RefCell::new(Vec::new()) };
}

/// Lends this thread's workspace; a nested call gets another.
pub(crate) fn with_workspace<R>(f: impl FnOnce(&mut Workspace<f64>) -> R) -> R {
    let mut ws = WORKSPACES.with_borrow_mut(Vec::pop).unwrap_or_default();
    let result = f(&mut ws);
    WORKSPACES.with_borrow_mut(|pool| pool.push(ws));
    result
}

/// The same for Hessian products, with a buffer for points and gradients.
pub(crate) fn with_dual_workspace<R>(
    f: impl FnOnce(&mut Workspace<Dual>, &mut Vec<Dual>) -> R,
) -> R {
    let (mut ws, mut buffer) = DUAL_WORKSPACES.with_borrow_mut(Vec::pop).unwrap_or_default();
    let result = f(&mut ws, &mut buffer);
    DUAL_WORKSPACES.with_borrow_mut(|pool| pool.push((ws, buffer)));
    result
}

/// Records a formula of `inputs` variables.
pub(crate) fn record(inputs: usize, formula: impl FnOnce(&[Var], &mut Vec<Var>)) -> Program {
    record::record(inputs, Program::default(), formula)
}

impl<L: Recordable> Autodiff<L> {
    /// A differentiable model out of a log joint.
    pub fn new(inner: L) -> Autodiff<L> {
        let space = inner.space();
        let dim = space.dim();
        Autodiff {
            inner,
            space,
            dim,
            formula: OnceLock::new(),
            passing: false,
            spare: Mutex::default(),
        }
    }

    /// The log joint inside.
    pub fn inner(&self) -> &L {
        &self.inner
    }

    /// Changes the log joint inside; what was recorded is forgotten.
    pub fn inner_mut(&mut self) -> &mut L {
        if let Some(formula) = self.formula.take() {
            self.spare = Mutex::new(formula.emptied());
        }
        &mut self.inner
    }

    fn recorded(&self) -> &Formula {
        self.formula.get_or_init(|| {
            let spare = self.spare.lock().map(|mut s| std::mem::take(&mut *s));
            let spare = spare.unwrap_or_else(|_: PoisonError<_>| Program::default());
            let formula = |z: &[Var], outputs: &mut Vec<Var>| outputs.push(self.inner.record(z));
            let program = record::record(self.dim, spare, formula);
            if self.passing { Formula::passing(program) } else { Formula::new(program) }
        })
    }
}

impl<L: Recordable> Model for Autodiff<L> {
    fn space(&self) -> Space {
        self.space.clone()
    }
    fn dim(&self) -> usize {
        self.dim
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let mut out = [0.0];
        self.recorded().evaluate(Want::Values, 1, z, &mut out, &mut []);
        out[0]
    }
    fn formula(&self) -> Option<&dyn Recordable> {
        Some(&self.inner)
    }
    fn log_joint_batch(&self, z: &[f64], out: &mut [f64]) {
        self.recorded().evaluate(Want::Values, out.len(), z, out, &mut []);
    }
}

impl<L: Recordable> Differentiable for Autodiff<L> {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        let mut out = [0.0];
        self.recorded().evaluate(Want::Both, 1, z, &mut out, grad);
        out[0]
    }
    fn log_joint_grad_batch(
        &self,
        z: &[f64],
        out: &mut [f64],
        grad_z: &mut [f64],
        _grad_theta: &mut [f64],
    ) {
        self.recorded().evaluate(Want::Both, out.len(), z, out, grad_z);
    }
    fn grad_batch(&self, z: &[f64], draws: usize, grad_z: &mut [f64], _grad_theta: &mut [f64]) {
        self.recorded().evaluate(Want::Gradients, draws, z, &mut [], grad_z);
    }
}

impl<L: Recordable> TwiceDifferentiable for Autodiff<L> {
    fn hess_vec(&self, z: &[f64], v: &[f64], grad: &mut [f64], out: &mut [f64]) {
        self.recorded().hess_vec(z, v, grad, out);
    }
}

impl<L: Subsample + Recordable> Autodiff<L> {
    /// The log joint inside, to look at other rows: what was recorded stays where it holds.
    fn rows_mut(&mut self) -> &mut L {
        if self.inner.keeps_formula() { &mut self.inner } else { self.inner_mut() }
    }
}

impl<L: Recordable + Subsample> Subsample for Autodiff<L> {
    fn n_data(&self) -> usize {
        self.inner.n_data()
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.passing = !self.inner.keeps_formula();
        self.rows_mut().subsample(rows);
    }
    fn whole(&mut self) {
        self.passing = false;
        self.rows_mut().whole();
    }
    fn keeps_formula(&self) -> bool {
        self.inner.keeps_formula()
    }
    fn arrange(&mut self, order: &[usize]) -> bool {
        self.rows_mut().arrange(order)
    }
}
