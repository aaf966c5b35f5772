//! Recorded formulas at the edges: branches not taken, NaN, far tails, many points at once.

use elbo::autodiff::Dual;
use elbo::{Differentiable, Model, Real, Space, TwiceDifferentiable, Var, from_fn};

fn model(formula: impl Fn(Var) -> Var) -> impl TwiceDifferentiable {
    let mut space = Space::new();
    let x = space.real("x");
    from_fn(space, move |z| formula(z[x]))
}

/// Value and gradient at each point by itself, and at all of them at once: to the last bit.
fn same_alone_and_together(model: &impl Differentiable, points: &[f64]) -> Vec<f64> {
    let n = points.len();
    let (mut values, mut slopes) = (vec![0.0; n], vec![0.0; n]);
    model.log_joint_grad_batch(points, &mut values, &mut slopes, &mut []);
    for (i, x) in points.iter().enumerate() {
        let mut slope = [0.0];
        let value = model.log_joint_grad(&[*x], &mut slope);
        assert_eq!(value.to_bits(), values[i].to_bits(), "value at {x}");
        assert_eq!(slope[0].to_bits(), slopes[i].to_bits(), "slope at {x}");
    }
    slopes
}

#[test]
fn a_branch_not_taken_leaves_no_trace_however_infinite_it_is() {
    // at x = 1 the branch not taken is infinite, and so are its factors
    let product = model(|x| x.if_positive(x * 2.0, x * (x * 1e3).exp()));
    assert_eq!(same_alone_and_together(&product, &[1.0, -1.0])[0], 2.0);
    let sum = model(|x| {
        let far = Var::log_sum_exp(&[(x * 1e3).exp(), x]);
        x.if_positive(x * 2.0, far)
    });
    assert_eq!(same_alone_and_together(&sum, &[1.0, -1.0])[0], 2.0);
}

#[test]
fn mixtures_of_what_is_impossible_still_have_hessians() {
    // the inner mixture has no mass anywhere: the outer one is its other part, -x^2 / 2
    let nested = model(|x| {
        let nowhere = x.square() * -1.0 + x.log_indicator(1e3, 2e3);
        let inner = Var::log_sum_exp(&[nowhere, nowhere]);
        Var::log_sum_exp(&[inner, x.square() * -0.5])
    });
    let (mut grad, mut product) = ([0.0], [0.0]);
    nested.hess_vec(&[0.5], &[1.0], &mut grad, &mut product);
    assert_eq!((grad, product), ([-0.5], [-1.0]));
}

#[test]
fn the_larger_of_two_numbers_hides_no_nan() {
    fn floored<T: Real>(x: T) -> T {
        x.ln().max(T::from(-20.0)) + T::from(3.0).min(x.ln())
    }
    let recorded = model(floored);
    assert!(recorded.log_joint(&[-1.0]).is_nan());
    assert!(floored(-1.0).is_nan());
    assert!(floored(Dual::from(-1.0)).re.is_nan());
    assert_eq!(recorded.log_joint(&[2.0]), 2.0 * 2f64.ln());
}

#[test]
fn the_normal_tail_has_its_slope_however_far() {
    // phi(x) / Phi(x) = -x - 1/x + 2/x^3 - ... as x falls
    let tail = model(|x| x.log_normal_cdf());
    for x in [-1e2, -1e4, -1e8, -1e12] {
        let mut slope = [0.0];
        tail.log_joint_grad(&[x], &mut slope);
        let want = -x - 1.0 / x + 2.0 / (x * x * x);
        assert!((slope[0] / want - 1.0).abs() < 1e-9, "{} at {x}, not {want}", slope[0]);
    }
}

#[test]
fn a_coefficient_of_zero_means_absent_for_every_scalar() {
    fn linear<T: Real>(x: T) -> T {
        T::dot(&[0.0, 2.0], &[x.ln(), x])
    }
    assert_eq!(model(linear).log_joint(&[0.0]), 0.0);
    assert_eq!(linear(0.0), 0.0);
    assert_eq!(linear(Dual::variable(0.0)), Dual { re: 0.0, eps: 2.0 });
}
