//! `Whitened`: a model seen from a point, in units of a scale: `z = shift + A w`.

use crate::error::Error;
use crate::family::{Affine, Bijection};
use crate::model::{Differentiable, Model, Subsample, TwiceDifferentiable};
use crate::scratch::with_buffer;
use crate::space::Space;

/// `log p(x, shift + A w) + log|det A|` over `w`: where `shift` is the mode and `A A^T` the
/// covariance there, the posterior over `w` is near a standard normal, and any step rule finds it
/// well scaled. A family over `w` comes back by [`Transformed`](crate::Transformed), a full-rank
/// Gaussian by `affine_image`.
///
/// ```
/// use elbo::{density, from_fn, Affine, Model, Space, Whitened};
/// let mut space = Space::new();
/// let x = space.real("x");
/// let model = from_fn(space, move |z| density::normal(z[x], 3.0, 2.0));
/// // seen from its mean in units of its sd, it is a standard normal
/// let white = Whitened::new(model, Affine::diagonal(vec![3.0], &[2.0])?)?;
/// assert!((white.log_joint(&[0.5]) - density::normal(0.5, 0.0, 1.0)).abs() < 1e-12);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Whitened<M> {
    inner: M,
    map: Affine,
    log_det: f64,
}

impl<M> Whitened<M> {
    /// The map from `w` to the coordinates of the model inside.
    pub fn map(&self) -> &Affine {
        &self.map
    }

    /// The model inside.
    pub fn into_inner(self) -> M {
        self.inner
    }

    /// The points in the inner model's coordinates.
    fn image(&self, w: &[f64], z: &mut [f64]) {
        with_buffer(w.len() / self.map.dim().max(1), |log_det| {
            self.map.forward_batch(w, z, log_det);
        });
    }

    /// `grad_w = A^T grad_z`
    fn pull_back(&self, grad_z: &[f64], grad_w: &mut [f64]) {
        grad_w.fill(0.0);
        self.map.add_turned_back(grad_z, grad_w);
    }
}

impl<M: Model> Whitened<M> {
    /// `inner` seen through `map`.
    ///
    /// # Errors
    /// Dimensions that do not agree.
    pub fn new(inner: M, map: Affine) -> Result<Whitened<M>, Error> {
        Error::expect_len("the map", map.dim(), "the model", inner.dim())?;
        let log_det = map.constant_log_det().unwrap_or(0.0);
        Ok(Whitened { inner, map, log_det })
    }
}

impl<M: Model> Model for Whitened<M> {
    fn space(&self) -> Space {
        self.inner.space()
    }
    fn natural(&self, w: &[f64]) -> Vec<f64> {
        let mut z = vec![0.0; w.len()];
        self.image(w, &mut z);
        self.inner.natural(&z)
    }
    fn dim(&self) -> usize {
        self.map.dim()
    }
    fn log_joint(&self, w: &[f64]) -> f64 {
        with_buffer(w.len(), |z| {
            self.image(w, z);
            self.inner.log_joint(z) + self.log_det
        })
    }
    fn log_joint_batch(&self, w: &[f64], out: &mut [f64]) {
        with_buffer(w.len(), |z| {
            self.image(w, z);
            self.inner.log_joint_batch(z, out);
        });
        out.iter_mut().for_each(|o| *o += self.log_det);
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
    fn add_theta_grad(&self, w: &[f64], weights: &[f64], grad: &mut [f64]) {
        with_buffer(w.len(), |z| {
            self.image(w, z);
            self.inner.add_theta_grad(z, weights, grad);
        });
    }
}

impl<M: Differentiable> Differentiable for Whitened<M> {
    fn log_joint_grad(&self, w: &[f64], grad: &mut [f64]) -> f64 {
        with_buffer(2 * w.len(), |buffer| {
            let (z, grad_z) = buffer.split_at_mut(w.len());
            self.image(w, z);
            let value = self.inner.log_joint_grad(z, grad_z);
            self.pull_back(grad_z, grad);
            value + self.log_det
        })
    }
    fn log_joint_grad_batch(
        &self,
        w: &[f64],
        out: &mut [f64],
        grad_w: &mut [f64],
        grad_theta: &mut [f64],
    ) {
        with_buffer(2 * w.len(), |buffer| {
            let (z, grad_z) = buffer.split_at_mut(w.len());
            self.image(w, z);
            self.inner.log_joint_grad_batch(z, out, grad_z, grad_theta);
            self.pull_back(grad_z, grad_w);
        });
        out.iter_mut().for_each(|o| *o += self.log_det);
    }
    fn grad_batch(&self, w: &[f64], draws: usize, grad_w: &mut [f64], grad_theta: &mut [f64]) {
        with_buffer(2 * w.len(), |buffer| {
            let (z, grad_z) = buffer.split_at_mut(w.len());
            self.image(w, z);
            self.inner.grad_batch(z, draws, grad_z, grad_theta);
            self.pull_back(grad_z, grad_w);
        });
    }
}

impl<M: TwiceDifferentiable> TwiceDifferentiable for Whitened<M> {
    fn hess_vec(&self, w: &[f64], v: &[f64], grad: &mut [f64], out: &mut [f64]) {
        let d = w.len();
        with_buffer(4 * d, |buffer| {
            let (z, rest) = buffer.split_at_mut(d);
            let (turned, rest) = rest.split_at_mut(d);
            let (grad_z, bent) = rest.split_at_mut(d);
            self.image(w, z);
            self.map.turn(v, turned);
            self.inner.hess_vec(z, turned, grad_z, bent);
            self.pull_back(grad_z, grad);
            self.pull_back(bent, out);
        });
    }
}

impl<M: Subsample> Subsample for Whitened<M> {
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
