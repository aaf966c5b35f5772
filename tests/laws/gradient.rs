//! `Differentiable`: the gradient is the slope, a batch is its columns; `TwiceDifferentiable` too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::support::assert_close;
use elbo::{
    Affine, DifferencedHessian, Differentiable, Model, Primitive, Real, Space, TwiceDifferentiable,
    Var, Whitened, density, from_fn,
};

/// Gradient and Hessian product against central differences, batch against columns.
#[track_caller]
pub fn differentiable(model: &impl TwiceDifferentiable, points: &[Vec<f64>]) {
    let d = model.dim();
    let h = 1e-5;
    for (k, z) in points.iter().enumerate() {
        let mut grad = vec![0.0; d];
        let value = model.log_joint_grad(z, &mut grad);
        assert_close("value", value, model.log_joint(z), 1e-12);
        let v: Vec<f64> = (0..d).map(|i| ((i * 7 + k) % 5) as f64 - 1.5).collect();
        let (mut again, mut product) = (vec![0.0; d], vec![0.0; d]);
        model.hess_vec(z, &v, &mut again, &mut product);
        let shifted = |by: &dyn Fn(usize) -> f64| -> Vec<f64> {
            z.iter().enumerate().map(|(i, z)| z + by(i)).collect()
        };
        let mut along = [vec![0.0; d], vec![0.0; d]];
        model.log_joint_grad(&shifted(&|i| h * v[i]), &mut along[0]);
        model.log_joint_grad(&shifted(&|i| -h * v[i]), &mut along[1]);
        for i in 0..d {
            let step = |s: f64| shifted(&|j| if j == i { s } else { 0.0 });
            let slope = (model.log_joint(&step(h)) - model.log_joint(&step(-h))) / (2.0 * h);
            assert_close(&format!("gradient[{i}]"), grad[i], slope, 1e-6);
            assert_close(&format!("gradient again[{i}]"), again[i], grad[i], 1e-12);
            let bend = (along[0][i] - along[1][i]) / (2.0 * h);
            assert_close(&format!("Hessian product[{i}]"), product[i], bend, 1e-5);
        }
    }
    let z: Vec<f64> = points.concat();
    let (mut out, mut grad) = (vec![0.0; points.len()], vec![0.0; z.len()]);
    model.log_joint_grad_batch(&z, &mut out, &mut grad, &mut []);
    for (k, z) in points.iter().enumerate() {
        let mut column = vec![0.0; d];
        assert_close("batch value", out[k], model.log_joint_grad(z, &mut column), 1e-12);
        for i in 0..d {
            assert_close("batch gradient", grad[k * d + i], column[i], 1e-12);
        }
    }
}

/// The gradient alone has the bits it has beside the value; where the value is not finite neither
/// is the gradient.
#[track_caller]
pub fn gradient_alone<M: Differentiable>(model: &M, points: &[Vec<f64>]) {
    let (d, n_theta) = (model.dim(), model.n_theta());
    for draws in [1, 2, 7, 8, 9, 10, 17, points.len()] {
        let z: Vec<f64> = points.iter().cycle().take(draws).flatten().copied().collect();
        let (mut values, mut theta) = (vec![0.0; draws], vec![0.5; n_theta]);
        let (mut with, mut alone) = (vec![0.0; d * draws], vec![1.0; d * draws]);
        let mut theta_alone = theta.clone();
        model.log_joint_grad_batch(&z, &mut values, &mut with, &mut theta);
        model.grad_batch(&z, draws, &mut alone, &mut theta_alone);
        let bits = |x: &[f64]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for (s, value) in values.iter().enumerate() {
            let (with, alone) = (&with[s * d..][..d], &alone[s * d..][..d]);
            if value.is_finite() {
                assert_eq!(bits(with), bits(alone), "draw {s} of {draws}");
            } else {
                assert!(alone.iter().any(|g| !g.is_finite()), "draw {s} of {draws}: {value}");
            }
        }
        if values.iter().all(|v| v.is_finite()) {
            assert_eq!(bits(&theta), bits(&theta_alone));
        }
    }
}

/// `-|x|^2 / 2` as one node, counting how often its value was asked for.
struct HalfSquare(Arc<AtomicUsize>);

impl Primitive for HalfSquare {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        self.0.fetch_add(1, Relaxed);
        self.grad_lanes(1, x, grad);
        x.iter().map(|x| -0.5 * x * x).sum()
    }
    fn grad_lanes(&self, _: usize, x: &[f64], grad: &mut [f64]) {
        grad.iter_mut().zip(x).for_each(|(g, x)| *g = -x);
    }
}

#[test]
fn the_gradient_alone() {
    gradient_alone(&eight_schools(), &points(70, 10));
    gradient_alone(&eight_schools().parallel(), &points(70, 10));
    gradient_alone(&eight_schools().parallel().unconstrained(), &points(70, 10));
    gradient_alone(&DifferencedHessian::new(eight_schools()), &points(70, 10));
    let map = Affine::diagonal(vec![0.3; 10], &[0.7; 10]).unwrap();
    gradient_alone(&Whitened::new(eight_schools(), map).unwrap(), &points(70, 10));
}

/// A value is skipped where the gradient does not need it, and only there.
#[test]
fn a_value_that_only_adds_up_is_not_computed() {
    let asked = Arc::new(AtomicUsize::new(0));
    let node = Arc::new(HalfSquare(asked.clone()));
    let mut space = Space::new();
    let x = space.reals("x", 3);
    let inside = node.clone();
    let sum = from_fn(space.clone(), move |z| {
        2.0 - (density::normal(z[x][0], 1.0, 2.0) - Var::primitive(&z[x], &inside) * 3.0) / 2.0
    });
    let curved = from_fn(space, move |z| Var::primitive(&z[x], &node).exp() + z[x][0]);
    let (z, mut grad) = (vec![0.3; 12], vec![0.0; 12]);
    sum.grad_batch(&z, 4, &mut grad, &mut []);
    assert_eq!(asked.load(Relaxed), 0);
    gradient_alone(&sum, &points(20, 3));
    asked.store(0, Relaxed);
    curved.grad_batch(&z, 4, &mut grad, &mut []);
    assert_eq!(asked.load(Relaxed), 4);
    gradient_alone(&curved, &points(20, 3));
}

/// `-|x|^2 / 2` as one node, counting how often its gradient was asked for.
struct CountsGradients(Arc<AtomicUsize>);

impl Primitive for CountsGradients {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        self.0.fetch_add(1, Relaxed);
        grad.iter_mut().zip(x).for_each(|(g, x)| *g = -x);
        x.iter().map(|x| -0.5 * x * x).sum()
    }
    fn value_lanes(&self, lanes: usize, x: &[f64], out: &mut [f64]) {
        for (l, out) in out.iter_mut().enumerate() {
            *out = x.iter().skip(l).step_by(lanes).map(|x| -0.5 * x * x).sum();
        }
    }
}

/// A value costs no gradient, and is the one that comes with a gradient.
#[test]
fn a_value_alone_asks_no_gradient() {
    let asked = Arc::new(AtomicUsize::new(0));
    let node = Arc::new(CountsGradients(asked.clone()));
    let mut space = Space::new();
    let x = space.reals("x", 3);
    let model = from_fn(space, move |z| Var::primitive(&z[x], &node).exp());
    let z = [0.3, -0.1, 0.7, 1.0, 0.0, 2.0];
    let (mut values, mut with) = ([0.0; 2], [0.0; 2]);
    model.log_joint_batch(&z, &mut values);
    let first = model.log_joint(&z[..3]);
    assert_eq!(asked.load(Relaxed), 0);
    assert_eq!(values, [first, (-2.5f64).exp()]);
    model.log_joint_grad_batch(&z, &mut with, &mut [0.0; 6], &mut []);
    assert_eq!((values, asked.load(Relaxed)), (with, 2));
}

/// Outside a support the slope is 0 and the value minus infinity: the gradient alone must tell.
#[test]
fn the_gradient_alone_tells_of_values_that_are_not_finite() {
    let model = || {
        let mut space = Space::new();
        let x = space.reals("x", 2);
        from_fn(space, move |z| z[x][0].log_indicator(-0.5, 0.5) + z[x][1].square())
    };
    let half = |p: &Vec<f64>| (-0.5..=0.5).contains(&p[0]);
    let all = points(20, 2);
    assert!(all.iter().any(half) && !all.iter().all(half));
    gradient_alone(&model(), &all);
    gradient_alone(&model().unconstrained(), &all);
    gradient_alone(&model().parallel(), &all);
}

/// Points spread over a few units, different in every coordinate.
fn points(count: usize, dim: usize) -> Vec<Vec<f64>> {
    let at = |k: usize, i: usize| ((i * 31 + k * 17) % 13) as f64 / 5.0 - 1.2;
    (0..count).map(|k| (0..dim).map(|i| at(k, i)).collect()).collect()
}

fn eight_schools() -> impl TwiceDifferentiable {
    let mut space = Space::new();
    let (mu, tau, eta) = (space.real("mu"), space.positive("tau"), space.reals("eta", 8));
    from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
        for (j, &eta) in z[eta].iter().enumerate() {
            lp += density::normal(eta, 0.0, 1.0);
            lp += density::normal(Var::from(j as f64), z[mu] + z[tau] * eta, 3.0);
        }
        lp
    })
    .unconstrained()
}

#[test]
fn unconstrained() {
    differentiable(&eight_schools(), &points(70, 10));
}

#[test]
fn unconstrained_twice_is_once() {
    let (once, twice) = (eight_schools(), eight_schools().unconstrained());
    for z in points(3, 10) {
        assert_eq!(once.log_joint(&z), twice.log_joint(&z));
    }
    differentiable(&twice, &points(3, 10));
}

#[test]
fn whitened() {
    let row = |i: usize| (0..=i).map(move |j| if i == j { 0.5 } else { 0.1 / (1 + i + j) as f64 });
    let rows = (0..10).flat_map(row).collect();
    let map = Affine::from_rows(vec![0.3; 10], rows).unwrap();
    differentiable(&Whitened::new(eight_schools(), map).unwrap(), &points(5, 10));
    let map = Affine::diagonal(vec![0.3; 10], &[0.7; 10]).unwrap();
    differentiable(&Whitened::new(eight_schools(), map).unwrap(), &points(5, 10));
}

#[test]
fn differenced() {
    differentiable(&DifferencedHessian::new(eight_schools()), &points(5, 10));
}
