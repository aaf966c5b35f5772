//! `Whitened`: a model seen from a point, in units of a scale matrix: `z = shift + L w`.

use std::cell::RefCell;

use crate::model::{Differentiable, Model, Subsample, TwiceDifferentiable};
use crate::space::Space;

/// `log p(x, shift + L w) + log|det L|` over `w`, with `L` lower triangular: where `shift` is the
/// mode and `L L^T` the covariance there, the posterior over `w` is near a standard normal, and
/// any step rule finds it well scaled.
///
/// ```
/// use elbo::{density, from_fn, Model, Space, Whitened};
/// let mut space = Space::new();
/// let x = space.real("x");
/// let model = from_fn(space, move |z| density::normal(z[x], 3.0, 2.0));
/// // seen from its mean in units of its sd, it is a standard normal
/// let white = Whitened::new(model, vec![3.0], vec![2.0]);
/// assert!((white.log_joint(&[0.5]) - density::normal(0.5, 0.0, 1.0)).abs() < 1e-12);
/// ```
#[derive(Clone, Debug)]
pub struct Whitened<M> {
    inner: M,
    shift: Vec<f64>,
    /// Rows of the lower triangle, one after another.
    rows: Vec<f64>,
    log_det: f64,
}

thread_local! {
    static POINTS: RefCell<Vec<Vec<f64>>> = const { RefCell::new(Vec::new()) };
}

/// Lends a vector of this thread's.
fn with_points<R>(len: usize, f: impl FnOnce(&mut [f64]) -> R) -> R {
    let mut points = POINTS.with_borrow_mut(Vec::pop).unwrap_or_default();
    points.resize(len, 0.0);
    let result = f(&mut points);
    POINTS.with_borrow_mut(|pool| pool.push(points));
    result
}

impl<M: Model> Whitened<M> {
    /// `inner` seen from `shift` in units of the lower triangular `L`, given row by row
    /// (`d (d + 1) / 2` numbers with a positive diagonal).
    ///
    /// # Panics
    /// Where the lengths do not match the model's dimension.
    pub fn new(inner: M, shift: Vec<f64>, rows: Vec<f64>) -> Whitened<M> {
        let d = inner.dim();
        assert_eq!((shift.len(), rows.len()), (d, d * (d + 1) / 2), "shift and L match the model");
        let log_det = (0..d).map(|i| rows[i * (i + 3) / 2].ln()).sum();
        Whitened { inner, shift, rows, log_det }
    }

    /// The model inside.
    pub fn into_inner(self) -> M {
        self.inner
    }

    /// The point in the inner model's coordinates.
    fn image(&self, w: &[f64], z: &mut [f64]) {
        self.direction(w, z);
        let d = self.shift.len().max(1);
        for z in z.chunks_exact_mut(d) {
            z.iter_mut().zip(&self.shift).for_each(|(z, s)| *z += s);
        }
    }

    /// `L w`
    fn direction(&self, w: &[f64], z: &mut [f64]) {
        let d = self.shift.len().max(1);
        for (w, z) in w.chunks_exact(d).zip(z.chunks_exact_mut(d)) {
            let mut rest = &self.rows[..];
            for i in 0..d {
                let (row, below) = rest.split_at(i + 1);
                z[i] = row.iter().zip(w).map(|(l, w)| l * w).sum::<f64>();
                rest = below;
            }
        }
    }

    /// `grad_w = L^T grad_z`
    fn pull_back(&self, grad_z: &[f64], grad_w: &mut [f64]) {
        let d = self.shift.len().max(1);
        for (gz, gw) in grad_z.chunks_exact(d).zip(grad_w.chunks_exact_mut(d)) {
            gw.fill(0.0);
            let mut rest = &self.rows[..];
            for i in 0..d {
                let (row, below) = rest.split_at(i + 1);
                gw.iter_mut().zip(row).for_each(|(g, l)| *g += l * gz[i]);
                rest = below;
            }
        }
    }
}

impl<M: Model> Model for Whitened<M> {
    fn space(&self) -> Space {
        self.inner.space()
    }
    fn dim(&self) -> usize {
        self.shift.len()
    }
    fn log_joint(&self, w: &[f64]) -> f64 {
        with_points(w.len(), |z| {
            self.image(w, z);
            self.inner.log_joint(z) + self.log_det
        })
    }
    fn log_joint_batch(&self, w: &[f64], out: &mut [f64]) {
        with_points(w.len(), |z| {
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
        with_points(w.len(), |z| {
            self.image(w, z);
            self.inner.add_theta_grad(z, weights, grad);
        });
    }
}

impl<M: Differentiable> Differentiable for Whitened<M> {
    fn log_joint_grad(&self, w: &[f64], grad: &mut [f64]) -> f64 {
        with_points(2 * w.len(), |buffer| {
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
        with_points(2 * w.len(), |buffer| {
            let (z, grad_z) = buffer.split_at_mut(w.len());
            self.image(w, z);
            self.inner.log_joint_grad_batch(z, out, grad_z, grad_theta);
            self.pull_back(grad_z, grad_w);
        });
        out.iter_mut().for_each(|o| *o += self.log_det);
    }
}

impl<M: TwiceDifferentiable> TwiceDifferentiable for Whitened<M> {
    fn hess_vec(&self, w: &[f64], v: &[f64], grad: &mut [f64], out: &mut [f64]) {
        let d = w.len();
        with_points(4 * d, |buffer| {
            let (z, rest) = buffer.split_at_mut(d);
            let (turned, rest) = rest.split_at_mut(d);
            let (grad_z, bent) = rest.split_at_mut(d);
            self.image(w, z);
            self.direction(v, turned);
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
}
