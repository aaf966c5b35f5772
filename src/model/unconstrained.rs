//! `Unconstrained`: a model moved to `R^k`, with the Jacobian added once and for all.

use std::cell::RefCell;
use std::sync::OnceLock;

use crate::autodiff::{Dual, Formula, Program, Want, record, with_dual_workspace, with_workspace};
use crate::caught::FromDraw;
use crate::model::{Differentiable, Model, Subsample, TwiceDifferentiable, spoil};
use crate::space::Space;

/// `log p(x, z(u)) + log|det dz/du|` over unconstrained `u`: every algorithm works in `R^k`, names
/// and natural scale come back through [`Space`].
///
/// ```
/// use elbo::{from_fn, density, Model, Space};
/// let mut space = Space::new();
/// let rate = space.positive("rate");
/// let model = from_fn(space, move |z| density::exponential(z[rate], 1.0)).unconstrained();
/// // z = e^u, so the density over u is e^-z e^u
/// assert!((model.log_joint(&[0.5]) - (0.5 - 0.5f64.exp())).abs() < 1e-12);
/// ```
#[derive(Debug)]
pub struct Unconstrained<M> {
    inner: M,
    space: Space,
    dim: usize,
    /// Coordinates of the model inside.
    natural_dim: usize,
    /// Outputs: the inner coordinates, then the sum of `log|det J|`.
    map: Program,
    /// The map, the model and `log|det J|` in one, where the model is recorded.
    whole: OnceLock<Formula>,
    /// Whether the rows shown will soon be others.
    passing: bool,
}

impl<M: Clone> Clone for Unconstrained<M> {
    fn clone(&self) -> Self {
        Unconstrained {
            inner: self.inner.clone(),
            space: self.space.clone(),
            dim: self.dim,
            natural_dim: self.natural_dim,
            map: self.map.clone(),
            // Made anew: what it has recorded may belong to the inner model alone.
            whole: OnceLock::new(),
            passing: self.passing,
        }
    }
}

#[derive(Default)]
struct Buffers {
    z: Vec<f64>,
    grad: Vec<f64>,
    lane: Vec<f64>,
    log_det: Vec<f64>,
    theta: Vec<f64>,
}

thread_local! {
    static BUFFERS: RefCell<Vec<Buffers>> = const { RefCell::new(Vec::new()) };
}

fn with_buffers<R>(f: impl FnOnce(&mut Buffers) -> R) -> R {
    let mut buffers = BUFFERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    let result = f(&mut buffers);
    BUFFERS.with_borrow_mut(|pool| pool.push(buffers));
    result
}

impl<M: Model> Unconstrained<M> {
    /// Moves every block of the model's space to `R^k`; blocks that are there already stay.
    pub fn new(inner: M) -> Unconstrained<M> {
        let inside = inner.space();
        let space = inside.unconstrained();
        let (dim, natural_dim) = (space.dim(), inside.dim());
        let map = record(dim, |u, outputs| {
            outputs.resize(natural_dim, 0.0.into());
            let log_det = space.constrain_to(&inside, u, outputs);
            outputs.push(log_det);
        });
        Unconstrained {
            inner,
            space,
            dim,
            natural_dim,
            map,
            whole: OnceLock::new(),
            passing: false,
        }
    }

    /// The model inside, on its natural scale.
    pub fn inner(&self) -> &M {
        &self.inner
    }

    /// The model and the map as one formula, if the model is recorded for long.
    fn whole(&self) -> Option<&Formula> {
        let formula = self.inner.formula().filter(|_| !self.passing)?;
        Some(self.whole.get_or_init(|| {
            let inside = self.inner.space();
            Formula::new(record(self.dim, |u, outputs| {
                let mut z = vec![0.0.into(); self.natural_dim];
                let log_det = self.space.constrain_to(&inside, u, &mut z);
                outputs.push(formula.record(&z) + log_det);
            }))
        }))
    }

    /// Runs the map at the points `u`, as many at once as it takes, and hands each group to `f`:
    /// first column, columns, natural points, `log|det J|`, workspace.
    fn each_group(
        &self,
        u: &[f64],
        columns: usize,
        mut f: impl FnMut(usize, usize, &mut Buffers, &mut crate::autodiff::Workspace<f64>),
    ) {
        let width = self.map.lanes(columns);
        with_buffers(|b| {
            with_workspace(|ws| {
                for start in (0..columns).step_by(width) {
                    let lanes = width.min(columns - start);
                    let points = &u[start * self.dim..(start + lanes) * self.dim];
                    self.map.forward(lanes, points, Want::Both, ws);
                    b.z.resize(lanes * self.natural_dim, 0.0);
                    b.grad.resize(lanes * self.natural_dim, 0.0);
                    b.lane.resize(lanes, 0.0);
                    b.log_det.resize(lanes, 0.0);
                    for i in 0..self.natural_dim {
                        self.map.output(i, ws, &mut b.lane);
                        for l in 0..lanes {
                            b.z[l * self.natural_dim + i] = b.lane[l];
                        }
                    }
                    self.map.output(self.natural_dim, ws, &mut b.log_det);
                    let _from = FromDraw(start);
                    f(start, lanes, b, ws);
                }
            })
        });
    }
}

impl<M: Model> Model for Unconstrained<M> {
    fn space(&self) -> Space {
        self.space.clone()
    }
    fn dim(&self) -> usize {
        self.dim
    }
    fn log_joint(&self, u: &[f64]) -> f64 {
        let mut out = [0.0];
        self.log_joint_batch(u, &mut out);
        out[0]
    }
    fn log_joint_batch(&self, u: &[f64], out: &mut [f64]) {
        if let Some(whole) = self.whole() {
            return whole.evaluate(Want::Values, out.len(), u, out, &mut []);
        }
        let columns = out.len();
        self.each_group(u, columns, |start, lanes, b, _| {
            let out = &mut out[start..start + lanes];
            self.inner.log_joint_batch(&b.z, out);
            out.iter_mut().zip(&b.log_det).for_each(|(o, j)| *o += j);
        });
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
    fn add_theta_grad(&self, u: &[f64], weights: &[f64], grad: &mut [f64]) {
        self.each_group(u, weights.len(), |start, lanes, b, _| {
            self.inner.add_theta_grad(&b.z, &weights[start..start + lanes], grad);
        });
    }
}

impl<M: Differentiable> Differentiable for Unconstrained<M> {
    fn log_joint_grad(&self, u: &[f64], grad: &mut [f64]) -> f64 {
        let mut out = [0.0];
        let mut grad_theta = vec![0.0; self.n_theta()];
        self.log_joint_grad_batch(u, &mut out, grad, &mut grad_theta);
        out[0]
    }
    fn log_joint_grad_batch(
        &self,
        u: &[f64],
        out: &mut [f64],
        grad_u: &mut [f64],
        grad_theta: &mut [f64],
    ) {
        self.pulled_back(u, out.len(), Some(out), grad_u, grad_theta);
    }
    fn grad_batch(&self, u: &[f64], draws: usize, grad_u: &mut [f64], grad_theta: &mut [f64]) {
        self.pulled_back(u, draws, None, grad_u, grad_theta);
    }
}

impl<M: Differentiable> Unconstrained<M> {
    /// Gradients, and values where there is room for them.
    fn pulled_back(
        &self,
        u: &[f64],
        columns: usize,
        mut out: Option<&mut [f64]>,
        grad_u: &mut [f64],
        grad_theta: &mut [f64],
    ) {
        if let Some(whole) = self.whole() {
            return match out {
                Some(out) => whole.evaluate(Want::Both, columns, u, out, grad_u),
                None => whole.evaluate(Want::Gradients, columns, u, &mut [], grad_u),
            };
        }
        let (d, n) = (self.dim, self.natural_dim);
        // The inner model adds the mean over the draws it sees: with more than one group the
        // groups are weighted by hand.
        let one_group = self.map.lanes(columns) >= columns;
        let theta_by_hand = self.n_theta() > 0 && !one_group;
        self.each_group(u, columns, |start, lanes, b, ws| {
            let Buffers { z, grad, theta, log_det, .. } = b;
            let mut inner = |theta: &mut [f64]| match &mut out {
                Some(out) => {
                    let out = &mut out[start..start + lanes];
                    self.inner.log_joint_grad_batch(z, out, grad, theta);
                    out.iter_mut().zip(&*log_det).for_each(|(o, j)| *o += j);
                }
                None => {
                    self.inner.grad_batch(z, lanes, grad, theta);
                    spoil(log_det, grad);
                }
            };
            if theta_by_hand {
                theta.clear();
                theta.resize(grad_theta.len(), 0.0);
                inner(theta);
                let share = lanes as f64 / columns as f64;
                grad_theta.iter_mut().zip(&*theta).for_each(|(g, p)| *g += p * share);
            } else {
                inner(grad_theta);
            }
            self.map.clear(ws);
            for l in 0..lanes {
                for i in 0..n {
                    self.map.seed(i, l, grad[l * n + i], ws);
                }
                self.map.seed(n, l, 1.0, ws);
            }
            self.map.reverse(ws, &mut grad_u[start * d..(start + lanes) * d]);
        });
    }
}

impl<M: TwiceDifferentiable> TwiceDifferentiable for Unconstrained<M> {
    fn hess_vec(&self, u: &[f64], v: &[f64], grad: &mut [f64], out: &mut [f64]) {
        if let Some(whole) = self.whole() {
            return whole.hess_vec(u, v, grad, out);
        }
        let n = self.natural_dim;
        with_dual_workspace(|ws, point| {
            point.clear();
            point.extend(u.iter().zip(v).map(|(&re, &eps)| Dual { re, eps }));
            self.map.forward(1, point, Want::Both, ws);
            let (mut z, mut dz) = (vec![0.0; n], vec![0.0; n]);
            let (mut g, mut h) = (vec![0.0; n], vec![0.0; n]);
            let mut one = [Dual::from(0.0)];
            for i in 0..n {
                self.map.output(i, ws, &mut one);
                (z[i], dz[i]) = (one[0].re, one[0].eps);
            }
            self.inner.hess_vec(&z, &dz, &mut g, &mut h);
            self.map.clear(ws);
            for i in 0..n {
                self.map.seed(i, 0, Dual { re: g[i], eps: h[i] }, ws);
            }
            self.map.seed(n, 0, <Dual as From<f64>>::from(1.0), ws);
            self.map.reverse(ws, point);
            for (i, p) in point.iter().enumerate() {
                (grad[i], out[i]) = (p.re, p.eps);
            }
        });
    }
}

impl<M: Subsample> Unconstrained<M> {
    /// Lets go of what other rows would make another formula.
    fn forget(&mut self, passing: bool) {
        if !self.inner.keeps_formula() {
            self.passing = passing;
            self.whole.take();
        }
    }
}

impl<M: Subsample> Subsample for Unconstrained<M> {
    fn n_data(&self) -> usize {
        self.inner.n_data()
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.forget(true);
        self.inner.subsample(rows);
    }
    fn whole(&mut self) {
        self.forget(false);
        self.inner.whole();
    }
    fn keeps_formula(&self) -> bool {
        self.inner.keeps_formula()
    }
    fn arrange(&mut self, order: &[usize]) -> bool {
        self.forget(self.passing);
        self.inner.arrange(order)
    }
}
