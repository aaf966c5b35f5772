//! `Parallel`: columns of a batch over threads, with the same bits for any number of them.

use std::mem::take;
use std::sync::{Mutex, PoisonError};

use crate::caught::Caught;
use crate::model::{Differentiable, Model, Subsample, TwiceDifferentiable};
use crate::scalar::Scalar;
use crate::space::Space;

/// A model that evaluates a batch in blocks of a fixed number of draws, each through the inner
/// model's own batch method, on the threads of the current rayon pool.
///
/// A block is the same whoever computes it, and what is summed over blocks is summed in their
/// order: the numbers do not depend on the number of threads. Without the feature `parallel` the
/// blocks are computed one after another, with the same numbers again.
///
/// ```
/// use elbo::{density, from_fn, Model, Space};
/// let mut space = Space::new();
/// let x = space.real("x");
/// let model = from_fn(space, move |z| density::normal(z[x], 0.0, 1.0)).parallel();
/// let mut out = [0.0; 100];
/// model.log_joint_batch(&[0.5; 100], &mut out);
/// assert_eq!(out[99], model.log_joint(&[0.5]));
/// ```
#[derive(Debug)]
pub struct Parallel<M, T = f64> {
    inner: M,
    block: usize,
    /// One gradient in `theta` a block.
    parts: Mutex<Vec<T>>,
}

/// Draws in a block, unless told otherwise.
const BLOCK: usize = 8;

impl<M: Clone, T: Scalar> Clone for Parallel<M, T> {
    fn clone(&self) -> Self {
        Parallel::new(self.inner.clone()).blocks_of(self.block)
    }
}

impl<M, T: Scalar> Parallel<M, T> {
    /// Spreads the batches of `inner`.
    pub fn new(inner: M) -> Parallel<M, T> {
        Parallel { inner, block: BLOCK, parts: Mutex::default() }
    }

    /// The same with another number of draws in a block (at least one): fewer spread better, more
    /// share more work inside the inner model's batch.
    #[must_use]
    pub fn blocks_of(mut self, draws: usize) -> Self {
        self.block = draws.max(1);
        self
    }

    /// The model inside.
    pub fn inner(&self) -> &M {
        &self.inner
    }
}

/// A stretch of the batch: its first draw, how many draws, and what belongs to them. `out`, `grad`
/// and `parts` are empty where they are not wanted.
struct Stretch<'a, T> {
    start: usize,
    draws: usize,
    z: &'a [T],
    out: &'a mut [f64],
    grad: &'a mut [T],
    parts: &'a mut [T],
}

/// Halves the stretch, at an edge between blocks, until a block is left, and works on that. A panic
/// is marked with the draw in the whole batch.
fn spread<T: Scalar>(
    block: usize,
    n_theta: usize,
    stretch: Stretch<'_, T>,
    work: &(impl Fn(Stretch<'_, T>) + Sync),
) {
    if stretch.draws <= block {
        let start = stretch.start;
        return Caught::by(|| work(stretch)).unwrap_or_else(|caught| caught.resume(start));
    }
    let Stretch { start, draws, z, out, grad, parts } = stretch;
    let half = draws.div_ceil(block).div_ceil(2) * block;
    let d = z.len() / draws;
    let (out_half, grad_half) = (out.len().min(half), grad.len().min(half * d));
    let part_half = parts.len().min(half / block * n_theta);
    let (z, z_rest) = z.split_at(half * d);
    let (out, out_rest) = out.split_at_mut(out_half);
    let (grad, grad_rest) = grad.split_at_mut(grad_half);
    let (parts, parts_rest) = parts.split_at_mut(part_half);
    let first = Stretch { start, draws: half, z, out, grad, parts };
    let second = Stretch {
        start: start + half,
        draws: draws - half,
        z: z_rest,
        out: out_rest,
        grad: grad_rest,
        parts: parts_rest,
    };
    let first = || spread(block, n_theta, first, work);
    let second = || spread(block, n_theta, second, work);
    #[cfg(feature = "parallel")]
    rayon::join(first, second);
    #[cfg(not(feature = "parallel"))]
    {
        first();
        second();
    }
}

impl<T: Scalar, M: Model<T> + Sync> Model<T> for Parallel<M, T> {
    fn space(&self) -> Space {
        self.inner.space()
    }
    fn dim(&self) -> usize {
        self.inner.dim()
    }
    fn natural(&self, z: &[T]) -> Vec<f64> {
        self.inner.natural(z)
    }
    fn log_joint(&self, z: &[T]) -> f64 {
        self.inner.log_joint(z)
    }
    fn log_joint_batch(&self, z: &[T], out: &mut [f64]) {
        let draws = out.len();
        let whole = Stretch { start: 0, draws, z, out, grad: &mut [], parts: &mut [] };
        let inner = &self.inner;
        spread(self.block, 0, whole, &|s: Stretch<'_, T>| inner.log_joint_batch(s.z, s.out));
    }
    fn n_theta(&self) -> usize {
        self.inner.n_theta()
    }
    fn theta(&self, out: &mut [T]) {
        self.inner.theta(out);
    }
    fn set_theta(&mut self, theta: &[T]) {
        self.inner.set_theta(theta);
    }
    fn add_theta_grad(&self, z: &[T], weights: &[T], grad: &mut [T]) {
        self.inner.add_theta_grad(z, weights, grad);
    }
}

impl<T: Scalar, M: Differentiable<T> + Sync> Differentiable<T> for Parallel<M, T> {
    fn log_joint_grad(&self, z: &[T], grad: &mut [T]) -> f64 {
        self.inner.log_joint_grad(z, grad)
    }
    fn log_joint_grad_batch(
        &self,
        z: &[T],
        out: &mut [f64],
        grad_z: &mut [T],
        grad_theta: &mut [T],
    ) {
        let (inner, draws) = (&self.inner, out.len());
        if draws <= self.block {
            return inner.log_joint_grad_batch(z, out, grad_z, grad_theta);
        }
        self.spread_gradients(draws, z, out, grad_z, grad_theta, &|s: Stretch<'_, T>| {
            inner.log_joint_grad_batch(s.z, s.out, s.grad, s.parts);
        });
    }
    fn grad_batch(&self, z: &[T], draws: usize, grad_z: &mut [T], grad_theta: &mut [T]) {
        let inner = &self.inner;
        if draws <= self.block {
            return inner.grad_batch(z, draws, grad_z, grad_theta);
        }
        self.spread_gradients(draws, z, &mut [], grad_z, grad_theta, &|s: Stretch<'_, T>| {
            inner.grad_batch(s.z, s.draws, s.grad, s.parts);
        });
    }
}

impl<T: Scalar, M> Parallel<M, T> {
    /// Spreads `work`, and adds its gradients in `theta`, weighted by the draws of each block.
    fn spread_gradients(
        &self,
        draws: usize,
        z: &[T],
        out: &mut [f64],
        grad_z: &mut [T],
        grad_theta: &mut [T],
        work: &(impl Fn(Stretch<'_, T>) + Sync),
    ) {
        let n_theta = grad_theta.len();
        // Taken out, not held: while it waits, this thread may be lent to another batch.
        let mut parts = take(&mut *self.parts.lock().unwrap_or_else(PoisonError::into_inner));
        parts.clear();
        parts.resize(draws.div_ceil(self.block) * n_theta, T::default());
        let whole = Stretch { start: 0, draws, z, out, grad: grad_z, parts: &mut parts };
        spread(self.block, n_theta, whole, work);
        for (b, part) in parts.chunks_exact(n_theta.max(1)).enumerate() {
            let columns = self.block.min(draws - b * self.block);
            let share = T::from_f64(columns as f64 / draws as f64);
            grad_theta.iter_mut().zip(part).for_each(|(g, p)| *g += *p * share);
        }
        *self.parts.lock().unwrap_or_else(PoisonError::into_inner) = parts;
    }
}

impl<M: TwiceDifferentiable + Sync> TwiceDifferentiable for Parallel<M> {
    fn hess_vec(&self, z: &[f64], v: &[f64], grad: &mut [f64], out: &mut [f64]) {
        self.inner.hess_vec(z, v, grad, out);
    }
}

impl<M: Subsample, T> Subsample for Parallel<M, T> {
    fn n_data(&self) -> usize {
        self.inner.n_data()
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.inner.subsample(rows);
    }
    fn whole(&mut self) {
        self.inner.whole();
    }
    fn arrange(&mut self, order: &[usize]) -> bool {
        self.inner.arrange(order)
    }
}
