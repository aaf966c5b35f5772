//! `Differentiable`: the gradient is the slope, a batch is its columns; `TwiceDifferentiable` too.

use crate::support::assert_close;
use elbo::{
    Affine, DifferencedHessian, Model, Space, TwiceDifferentiable, Var, Whitened, density, from_fn,
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
