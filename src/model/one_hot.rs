//! `OneHot`: a model over labels out of a differentiable model over their weights.

use crate::error::Error;
use crate::model::{Differentiable, Model, Relaxed};
use crate::scratch::with_buffer;
use crate::space::Space;

/// A model over labels, made of one that is written in one-hot vectors: a block of `n` weights on
/// the simplex becomes a label with `n` values. At a label the inner model sees 1 in its place and 0
/// elsewhere; between labels ([`Relaxed`]) it sees weights that sum to 1, and its gradient.
///
/// ```
/// use elbo::{density, from_fn, Model, OneHot, Relaxed, Space, Support};
/// let mut space = Space::new();
/// let kind = space.block("kind", 2, Support::Simplex);
/// // a draw of 1.0 from N(-1, 1) or N(2, 1)
/// let inner = from_fn(space, move |y| {
///     density::normal(y[kind][0] * -1.0 + y[kind][1] * 2.0, 1.0, 1.0)
/// });
/// let model = OneHot::new(inner)?;
/// assert_eq!(model.space().names(), ["kind"]);
/// assert_eq!(model.log_joint(&[1.0]), density::normal(2.0, 1.0, 1.0));
/// let mut slope = [0.0; 2];
/// model.relaxed_grad(&[0.5, 0.5], &mut slope);
/// assert_eq!(slope, [-0.5, 1.0]);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct OneHot<M> {
    inner: M,
    space: Space,
    /// where the weights of each label end
    ends: Vec<usize>,
}

impl<M: Model> OneHot<M> {
    /// `inner`, whose blocks must all be simplexes, seen as a model over labels.
    ///
    /// # Errors
    /// A block that is no simplex is named.
    pub fn new(inner: M) -> Result<OneHot<M>, Error> {
        let declared = inner.space();
        declared.check()?;
        let (space, lengths) = declared.labels_of_simplexes()?;
        let ends = lengths
            .iter()
            .scan(0, |end, n| {
                *end += n;
                Some(*end)
            })
            .collect();
        Ok(OneHot { inner, space, ends })
    }

    /// The model over the weights.
    pub fn inner(&self) -> &M {
        &self.inner
    }

    /// How many weights a point has.
    fn n_weights(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Lends `f` the one-hot vectors of the labels of each draw; what is no label has no weight that
    /// is a number.
    fn with_one_hot<R>(&self, z: &[f64], f: impl FnOnce(&[f64]) -> R) -> R {
        let (d, n) = (self.ends.len().max(1), self.n_weights());
        with_buffer(z.len() / d * n, |y| {
            y.fill(0.0);
            for (z, y) in z.chunks_exact(d).zip(y.chunks_exact_mut(n.max(1))) {
                let mut start = 0;
                for (&z, &end) in z.iter().zip(&self.ends) {
                    let y = &mut y[start..end];
                    match z >= 0.0 && z.fract() == 0.0 && z < y.len() as f64 {
                        true => y[z as usize] = 1.0,
                        false => y.fill(f64::NAN),
                    }
                    start = end;
                }
            }
            f(y)
        })
    }
}

impl<M: Model> Model for OneHot<M> {
    fn space(&self) -> Space {
        self.space.clone()
    }
    fn dim(&self) -> usize {
        self.ends.len()
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        self.with_one_hot(z, |y| self.inner.log_joint(y))
    }
    fn log_joint_batch(&self, z: &[f64], out: &mut [f64]) {
        self.with_one_hot(z, |y| self.inner.log_joint_batch(y, out));
    }
    fn n_theta(&self) -> usize {
        self.inner.n_theta()
    }
    fn theta(&self, out: &mut [f64]) {
        self.inner.theta(out);
    }
    fn set_theta(&mut self, theta: &[f64]) {
        self.inner.set_theta(theta);
    }
    fn add_theta_grad(&self, z: &[f64], weights: &[f64], grad: &mut [f64]) {
        self.with_one_hot(z, |y| self.inner.add_theta_grad(y, weights, grad));
    }
}

impl<M: Differentiable> Relaxed for OneHot<M> {
    fn relaxed_grad(&self, y: &[f64], grad: &mut [f64]) -> f64 {
        self.inner.log_joint_grad(y, grad)
    }
    fn relaxed_grad_batch(
        &self,
        y: &[f64],
        out: &mut [f64],
        grad_y: &mut [f64],
        grad_theta: &mut [f64],
    ) {
        self.inner.log_joint_grad_batch(y, out, grad_y, grad_theta);
    }
}
