//! `DifferencedHessian`: Hessian products out of gradients alone.

use crate::model::{Differentiable, Model, Subsample, TwiceDifferentiable};
use crate::scratch::with_buffer;
use crate::space::Space;

/// `H v = (g(z + h v) - g(z - h v)) / 2h`, for a model that has a gradient `g` but no Hessian
/// products: two gradients each, accurate to about nine digits where the log joint is smooth.
///
/// The step moves no coordinate by more than `(machine epsilon)^(1/3) max(1, |z_i|)`, which balances
/// rounding against the third derivative where coordinates are of order one (Press and others 2007,
/// section 5.7). Everything else is the model's own.
///
/// ```
/// use elbo::{DifferencedHessian, Space, TwiceDifferentiable, density, from_fn};
/// let mut space = Space::new();
/// let x = space.real("x");
/// let model = from_fn(space, move |z| density::normal(z[x], 0.0, 0.5));
/// let (mut grad, mut product) = ([0.0], [0.0]);
/// DifferencedHessian::new(model).hess_vec(&[1.0], &[1.0], &mut grad, &mut product);
/// assert_eq!(grad, [-4.0]);
/// assert!((product[0] + 4.0).abs() < 1e-8);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DifferencedHessian<M> {
    inner: M,
}

impl<M> DifferencedHessian<M> {
    /// The model with differenced Hessian products.
    pub fn new(inner: M) -> DifferencedHessian<M> {
        DifferencedHessian { inner }
    }

    /// The model inside.
    pub fn inner(&self) -> &M {
        &self.inner
    }
}

impl<M: Model> Model for DifferencedHessian<M> {
    fn space(&self) -> Space {
        self.inner.space()
    }
    fn dim(&self) -> usize {
        self.inner.dim()
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        self.inner.log_joint(z)
    }
    fn log_joint_batch(&self, z: &[f64], out: &mut [f64]) {
        self.inner.log_joint_batch(z, out);
    }
    fn natural(&self, z: &[f64]) -> Vec<f64> {
        self.inner.natural(z)
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
        self.inner.add_theta_grad(z, weights, grad);
    }
}

impl<M: Differentiable> Differentiable for DifferencedHessian<M> {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        self.inner.log_joint_grad(z, grad)
    }
    fn log_joint_grad_batch(
        &self,
        z: &[f64],
        out: &mut [f64],
        grad_z: &mut [f64],
        grad_theta: &mut [f64],
    ) {
        self.inner.log_joint_grad_batch(z, out, grad_z, grad_theta);
    }
    fn grad_batch(&self, z: &[f64], draws: usize, grad_z: &mut [f64], grad_theta: &mut [f64]) {
        self.inner.grad_batch(z, draws, grad_z, grad_theta);
    }
}

impl<M: Differentiable> TwiceDifferentiable for DifferencedHessian<M> {
    fn hess_vec(&self, z: &[f64], v: &[f64], grad: &mut [f64], out: &mut [f64]) {
        let relative = |(v, z): (&f64, &f64)| v.abs() / z.abs().max(1.0);
        let size = v.iter().zip(z).map(relative).fold(0.0, f64::max);
        if size == 0.0 {
            out.fill(0.0);
        } else {
            let h = f64::EPSILON.cbrt() / size;
            with_buffer(z.len(), |point| {
                let mut look = |h: f64, grad: &mut [f64]| {
                    point.iter_mut().zip(z.iter().zip(v)).for_each(|(p, (z, v))| *p = z + h * v);
                    self.inner.log_joint_grad(point, grad);
                };
                look(h, out);
                look(-h, grad);
            });
            out.iter_mut().zip(&*grad).for_each(|(up, down)| *up = (*up - down) / (2.0 * h));
        }
        self.inner.log_joint_grad(z, grad);
    }
}

impl<M: Subsample> Subsample for DifferencedHessian<M> {
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
