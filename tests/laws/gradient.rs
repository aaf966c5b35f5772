//! `Differentiable`: the gradient is the slope, a batch is its columns; `TwiceDifferentiable` too.

use crate::support::assert_close;
use elbo::{Model, Space, TwiceDifferentiable, Var, density, from_fn};

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

#[test]
fn eight_schools() {
    let mut space = Space::new();
    let (mu, tau, eta) = (space.real("mu"), space.positive("tau"), space.reals("eta", 8));
    let model = from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
        for (j, &eta) in z[eta].iter().enumerate() {
            lp += density::normal(eta, 0.0, 1.0);
            lp += density::normal(Var::from(j as f64), z[mu] + z[tau] * eta, 3.0);
        }
        lp
    })
    .unconstrained();
    let points =
        (0..70).map(|k| (0..10).map(|i| ((i * 31 + k * 17) % 13) as f64 / 5.0 - 1.2).collect());
    differentiable(&model, &points.collect::<Vec<_>>());
}
