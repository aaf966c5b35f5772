//! The known Gaussian as one node: equal to the density written out, exact in its derivatives, and
//! exact about what it refuses.

use crate::support::{assert_all_close, assert_close};
use elbo::density::{self, Gaussian};
use elbo::{
    Autodiff, DMatrix, Differentiable, LogJoint, Model, Real, Space, TwiceDifferentiable, from_fn,
};

fn number(k: usize) -> f64 {
    ((k * 7919 + 104_729) % 2003) as f64 / 1001.5 - 1.0
}

/// A well-conditioned factor.
fn factor(d: usize) -> DMatrix<f64> {
    DMatrix::from_fn(d, d, |i, j| match i.cmp(&j) {
        std::cmp::Ordering::Less => 0.0,
        std::cmp::Ordering::Equal => 1.0 + 0.3 * number(i),
        std::cmp::Ordering::Greater => number(31 * i + j) / d as f64,
    })
}

fn mean(d: usize) -> Vec<f64> {
    (0..d).map(|i| 2.0 * number(3 * i + 1)).collect()
}

fn model(known: Gaussian) -> impl TwiceDifferentiable {
    let mut space = Space::new();
    let x = space.reals("x", known.mean().len());
    from_fn(space, move |z| known.log_prob(&z[x]))
}

/// The same density by a triangular solve on the tape.
struct Composed {
    mean: Vec<f64>,
    lower: Vec<f64>,
}

impl LogJoint for Composed {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("x", self.mean.len());
        space
    }
    fn log_joint<T: Real>(&self, z: &[T]) -> T {
        let all = |x: &[f64]| x.iter().map(|&x| T::from(x)).collect::<Vec<T>>();
        density::multivariate_normal(z, &all(&self.mean), &all(&self.lower))
    }
}

#[test]
fn value_gradient_and_curvature_are_those_of_the_density_written_out() {
    for d in [1, 2, 7, 8, 9, 17, 40] {
        let l = factor(d);
        let covariance = &l * l.transpose();
        let precision = covariance.clone().try_inverse().unwrap();
        let lower = (0..d).flat_map(|i| (0..=i).map(move |j| (i, j))).map(|at| l[at]).collect();
        let plain = Autodiff::new(Composed { mean: mean(d), lower });
        for known in [
            Gaussian::from_cholesky(mean(d), &l).unwrap(),
            Gaussian::from_covariance(mean(d), &covariance).unwrap(),
            Gaussian::from_precision(mean(d), &precision).unwrap(),
        ] {
            let model = model(known);
            for draws in [1, 2, 7, 10, 17] {
                let z: Vec<f64> = (0..d * draws).map(|i| 3.0 * number(i)).collect();
                let (mut got, mut want) = (vec![0.0; draws], vec![0.0; draws]);
                let (mut grad, mut slope) = (vec![0.0; d * draws], vec![0.0; d * draws]);
                model.log_joint_grad_batch(&z, &mut got, &mut grad, &mut []);
                plain.log_joint_grad_batch(&z, &mut want, &mut slope, &mut []);
                // products of d terms with a condition below 100
                assert_all_close("value", &got, &want, 1e-12);
                assert_all_close("gradient", &grad, &slope, 1e-12);
                let mut alone = vec![0.0; d * draws];
                model.grad_batch(&z, draws, &mut alone, &mut []);
                assert_eq!(alone, grad);
                model.log_joint_batch(&z, &mut want);
                assert_eq!(want, got);
            }
            let (z, v) = (mean(d + 1), mean(d + 2));
            let (z, v) = (&z[1..], &v[2..]);
            let mut parts = [(); 4].map(|()| vec![0.0; d]);
            let [g, h, slope, bend] = &mut parts;
            model.hess_vec(z, v, g, h);
            plain.hess_vec(z, v, slope, bend);
            assert_all_close("gradient", g, slope, 1e-12);
            assert_all_close("Hessian product", h, bend, 1e-12);
        }
    }
}

#[test]
fn at_its_mean_it_is_the_normalizing_constant() {
    let variances = [4.0, 0.25, 9.0];
    let covariance = DMatrix::from_fn(3, 3, |i, j| if i == j { variances[i] } else { 0.0 });
    let known = Gaussian::from_covariance(vec![1.0, 2.0, 3.0], &covariance).unwrap();
    // -(1/2) ln det(2 pi C), det C = 9
    let want = -1.5 * std::f64::consts::TAU.ln() - 0.5 * 9.0f64.ln();
    assert_close("peak", known.log_prob(&[1.0, 2.0, 3.0]), want, 1e-15);
}

#[test]
fn a_point_that_is_not_finite_spoils_only_itself() {
    let known = Gaussian::from_cholesky(mean(9), &factor(9)).unwrap();
    let model = model(known);
    let good: Vec<f64> = (0..9).map(number).collect();
    for bad in [f64::NAN, f64::INFINITY, 1e200] {
        let mut spoiled = good.clone();
        spoiled[4] = bad;
        let z = [&good[..], &spoiled, &good].concat();
        let (mut out, mut grad) = ([0.0; 3], vec![0.0; 27]);
        model.log_joint_grad_batch(&z, &mut out, &mut grad, &mut []);
        assert!(!out[1].is_finite());
        for s in [0, 2] {
            assert_eq!(out[s], model.log_joint(&good));
            assert!(grad[9 * s..9 * (s + 1)].iter().all(|g| g.is_finite()));
        }
        model.grad_batch(&z, 3, &mut grad, &mut []);
        assert!(grad[9..18].iter().any(|g| !g.is_finite()), "the step must notice {bad}");
    }
}

#[track_caller]
fn refused(made: Result<Gaussian, elbo::Error>, says: &str) {
    assert_eq!(made.unwrap_err().to_string(), says);
}

#[test]
fn what_cannot_be_is_refused() {
    let m = |x: &[f64]| DMatrix::from_row_slice(2, 2, x);
    refused(
        Gaussian::from_precision(vec![0.0; 3], &m(&[1.0, 0.0, 0.0, 1.0])),
        "E03 the mean has 3 values but a row of the precision has 2; make them agree",
    );
    refused(
        Gaussian::from_precision(vec![0.0; 2], &m(&[1.0, 0.5, 0.0, 1.0])),
        "E04 the precision is not a covariance matrix: it is not symmetric: 0 in row 1, column 0 \
         but 0.5 in row 0, column 1; use (C + C^T) / 2 if that is rounding, else look at how it was \
         made",
    );
    refused(
        Gaussian::from_covariance(vec![0.0; 2], &m(&[1.0, 2.0, 2.0, 1.0])),
        "E04 the covariance is not a covariance matrix: its smallest eigenvalue is -1.000e0, mostly \
         along row 0; add 2.0e0 to the diagonal, or drop what is redundant",
    );
    refused(
        Gaussian::from_cholesky(vec![0.0; 2], &m(&[1.0, 1.0, 0.0, 1.0])),
        "E04 what the Cholesky factor stands for is not a covariance matrix: its entry in row 0, \
         column 1 is 1; give a lower triangle, with zeros above the diagonal",
    );
    refused(
        Gaussian::from_cholesky(vec![0.0, f64::NAN], &m(&[1.0, 0.0, 0.0, 1.0])),
        "E10 mean[1] is NaN; a mean must be finite",
    );
}

#[test]
#[should_panic(expected = "the Gaussian has 2 coordinates but was given 1")]
fn too_few_coordinates_are_said() {
    Gaussian::from_cholesky(vec![0.0; 2], &factor(2)).unwrap().log_prob(&[1.0]);
}
