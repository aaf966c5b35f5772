//! `Parallel`: a batch over threads, with the same bits for any number of them.

use std::mem::take;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::caught::Caught;
use crate::model::{Differentiable, Model, Subsample, TwiceDifferentiable};
use crate::scalar::Scalar;
use crate::space::Space;
use crate::threads::{self, Gauge};

/// A model that evaluates a batch on several threads.
///
/// A model that is recorded ([`from_fn`](crate::from_fn), [`Autodiff`](crate::Autodiff)) shares its
/// draws, or, where a likelihood is one node with much data ([`density::glm`](crate::density::glm)),
/// its rows, so that the data are still read once for all draws; the helpers are threads of this
/// library that sleep while there is no work. Any other model is evaluated in blocks of a fixed
/// number of draws, each through its own batch method, on the current rayon pool.
///
/// Chunks of rows and blocks of draws are the same whoever computes them, and what is summed over
/// them is summed in their order: the numbers do not depend on the number of threads. Work too
/// small to gain from a second thread is not shared. Without the feature `parallel` blocks of draws
/// are computed one after another, with the same numbers again.
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
    /// As many as there are, where it is `None`.
    threads: Option<usize>,
    /// Whether the inner model shares its own work.
    shares: OnceLock<bool>,
    gauge: Gauge,
    /// One gradient in `theta` a block.
    parts: Mutex<Vec<T>>,
}

/// Draws in a block, unless told otherwise.
const BLOCK: usize = 8;

impl<M: Clone, T: Scalar> Clone for Parallel<M, T> {
    fn clone(&self) -> Self {
        let block = self.block;
        Parallel { block, threads: self.threads, ..Parallel::new(self.inner.clone()) }
    }
}

impl<M, T: Scalar> Parallel<M, T> {
    /// Spreads the batches of `inner`.
    pub fn new(inner: M) -> Parallel<M, T> {
        Parallel {
            inner,
            block: BLOCK,
            threads: None,
            shares: OnceLock::new(),
            gauge: Gauge::default(),
            parts: Mutex::default(),
        }
    }

    /// The same with so many threads, the caller's included. Unless told otherwise they are as many
    /// as the rayon pool has in which the caller is, or else as there are cores. Blocks of draws go
    /// to the threads of the current rayon pool, unless this is 1.
    ///
    /// ```
    /// use elbo::{density, density::glm, from_fn, Differentiable, Model, Space};
    /// let x: Vec<f64> = (0..40_000).map(|i| f64::from(i % 17) - 8.0).collect();
    /// let y: Vec<bool> = (0..10_000).map(|i| i % 3 == 0).collect();
    /// let likelihood = glm::bernoulli_logit(&x, 4, &y)?;
    /// let mut space = Space::new();
    /// let beta = space.reals("beta", 4);
    /// let model = from_fn(space, move |z| likelihood.log_prob(&z[beta]));
    /// let (mut one, mut two) = (vec![0.0; 80], vec![0.0; 80]);
    /// model.grad_batch(&[0.1; 80], 20, &mut one, &mut []);
    /// model.parallel().threads(2).grad_batch(&[0.1; 80], 20, &mut two, &mut []);
    /// assert_eq!(one, two);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    fn allowed(&self) -> usize {
        self.threads.unwrap_or_else(threads::default_threads)
    }

    /// The same with at most so many draws in a block (at least one): fewer spread better, more
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

/// Nanoseconds of work that are worth the threads of a rayon pool.
const WORTH_SPREADING: f64 = 3e5;

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
    share: bool,
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
    let first = || spread(share, block, n_theta, first, work);
    let second = || spread(share, block, n_theta, second, work);
    #[cfg(feature = "parallel")]
    if share {
        rayon::join(first, second);
        return;
    }
    first();
    second();
}

impl<T: Scalar, M: Model<T> + Sync> Parallel<M, T> {
    /// Whether the inner model shares its own work: found out once, at one draw.
    fn shares(&self, z: &[T], draws: usize) -> bool {
        *self.shares.get_or_init(|| {
            let first = z.chunks_exact((z.len() / draws.max(1)).max(1)).next();
            first.is_some_and(|first| {
                threads::meets_shared_work(|| self.inner.log_joint_batch(first, &mut [0.0]))
            })
        })
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
        let (inner, draws) = (&self.inner, out.len());
        if self.shares(z, draws) {
            return threads::allow(self.allowed(), || inner.log_joint_batch(z, out));
        }
        let whole = Stretch { start: 0, draws, z, out, grad: &mut [], parts: &mut [] };
        self.spread(0, whole, &|s: Stretch<'_, T>| inner.log_joint_batch(s.z, s.out));
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
        if self.shares(z, draws) {
            return threads::allow(self.allowed(), || {
                inner.log_joint_grad_batch(z, out, grad_z, grad_theta);
            });
        }
        if draws <= self.block {
            return inner.log_joint_grad_batch(z, out, grad_z, grad_theta);
        }
        self.spread_gradients(draws, z, out, grad_z, grad_theta, &|s: Stretch<'_, T>| {
            inner.log_joint_grad_batch(s.z, s.out, s.grad, s.parts);
        });
    }
    fn grad_batch(&self, z: &[T], draws: usize, grad_z: &mut [T], grad_theta: &mut [T]) {
        let inner = &self.inner;
        if self.shares(z, draws) {
            let threads = self.allowed();
            return threads::allow(threads, || inner.grad_batch(z, draws, grad_z, grad_theta));
        }
        if draws <= self.block {
            return inner.grad_batch(z, draws, grad_z, grad_theta);
        }
        self.spread_gradients(draws, z, &mut [], grad_z, grad_theta, &|s: Stretch<'_, T>| {
            inner.grad_batch(s.z, s.draws, s.grad, s.parts);
        });
    }
}

impl<T: Scalar, M> Parallel<M, T> {
    /// How many draws a block has: so many blocks as there must be, of nearly the same size.
    fn block(&self, draws: usize) -> usize {
        draws.div_ceil(draws.div_ceil(self.block).max(1)).max(1)
    }

    /// Works on a batch in blocks, on several threads if that is worth it.
    fn spread(
        &self,
        n_theta: usize,
        whole: Stretch<'_, T>,
        work: &(impl Fn(Stretch<'_, T>) + Sync),
    ) {
        let draws = whole.draws;
        let block = self.block(draws);
        if self.gauge.nanoseconds(draws) > WORTH_SPREADING && self.allowed() > 1 {
            return spread(true, block, n_theta, whole, work);
        }
        self.gauge.measure(draws, || spread(false, block, n_theta, whole, work));
    }

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
        let block = self.block(draws);
        parts.resize(draws.div_ceil(block) * n_theta, T::default());
        let whole = Stretch { start: 0, draws, z, out, grad: grad_z, parts: &mut parts };
        self.spread(n_theta, whole, work);
        for (b, part) in parts.chunks_exact(n_theta.max(1)).enumerate() {
            let columns = block.min(draws - b * block);
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
