//! `Shared`: the node of a likelihood where its recordings see it, though its rows may change.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::kernel::Node;
use crate::autodiff::Primitive;

/// A node in one place: what a formula has recorded of it looks at the rows in use now.
#[derive(Debug)]
pub(super) struct Shared(RwLock<Node>);

impl Shared {
    pub(super) fn new(node: Node) -> Shared {
        Shared(RwLock::new(node))
    }

    /// The node, for a while.
    pub(super) fn node(&self) -> RwLockReadGuard<'_, Node> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node, to look at other rows.
    pub(super) fn node_mut(&self) -> RwLockWriteGuard<'_, Node> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Primitive for Shared {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        self.node().value_grad(x, grad)
    }
    fn value_grad_lanes(&self, lanes: usize, x: &[f64], out: &mut [f64], grad: &mut [f64]) {
        self.node().value_grad_lanes(lanes, x, out, grad);
    }
    fn grad_lanes(&self, lanes: usize, x: &[f64], grad: &mut [f64]) {
        self.node().grad_lanes(lanes, x, grad);
    }
    fn value_lanes(&self, lanes: usize, x: &[f64], out: &mut [f64]) {
        self.node().value_lanes(lanes, x, out);
    }
    fn keeps_together(&self) -> bool {
        self.node().keeps_together()
    }
    fn hess_vec(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        self.node().hess_vec(x, v, out);
    }
}
