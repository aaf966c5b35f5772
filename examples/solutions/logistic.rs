//! Chapter 6.

use elbo::{Differentiable, Error, LogJoint, Model, Real, Space, density, from_fn};

pub fn solutions() -> Result<(), Error> {
    a_slip_in_a_gradient();
    vague_is_not_vague();
    a_formula_with_cases();
    Ok(())
}

// ANCHOR: one
/// One measurement 3 of z, with the prior N(0, 2); the gradient forgets to square the prior's sd.
struct Slip;

impl Model for Slip {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("z");
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        density::normal(z[0], 0.0, 2.0) + density::normal(3.0, z[0], 1.0)
    }
}

impl Differentiable for Slip {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        grad[0] = -z[0] / 2.0 + (3.0 - z[0]);
        self.log_joint(z)
    }
}

fn a_slip_in_a_gradient() {
    let disagreement = |z: f64| {
        let (h, mut grad) = (1e-5, [0.0]);
        Slip.log_joint_grad(&[z], &mut grad);
        let chord = (Slip.log_joint(&[z + h]) - Slip.log_joint(&[z - h])) / (2.0 * h);
        chord - grad[0]
    };
    assert!(disagreement(0.0).abs() < 1e-6); // the slip is invisible at the prior's mean
    assert!((disagreement(1.0) - 0.25).abs() < 1e-6); // -1/4 and not -1/2
    // and the climb would stop at 2 in place of 12/5
    let mut grad = [0.0];
    Slip.log_joint_grad(&[2.0], &mut grad);
    assert_eq!(grad, [0.0]);
}
// ANCHOR_END: one

// ANCHOR: two
fn vague_is_not_vague() {
    // probability that the risk itself is below 1 % or above 99 %, when its log odds are N(0, sd)
    let edge = (0.99f64 / 0.01).ln();
    let extreme = |sd: f64| 2.0 * (-edge / sd).log_normal_cdf().exp();
    assert!(extreme(1.5) < 0.003);
    assert!((0.06..0.07).contains(&extreme(2.5)));
    assert!(extreme(10.0) > 0.6);
    assert!(extreme(100.0) > 0.96);
}
// ANCHOR_END: two

// ANCHOR: three
/// Minus Huber's loss: a square near zero, straight lines beyond one.
struct Huber;

impl LogJoint for Huber {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("r");
        space
    }
    fn log_joint<T: Real>(&self, z: &[T]) -> T {
        let size = z[0].abs();
        let (near, far) = (z[0].square() * -0.5, -size + 0.5);
        (size - 1.0).if_positive(far, near)
    }
}

fn a_formula_with_cases() {
    let mut space = Space::new();
    let r = space.real("r");
    let closure = from_fn(space, move |z| Huber.log_joint(&[z[r]]));
    // recorded at one side, replayed at both
    for (r, slope) in [(0.3, -0.3), (-0.7, 0.7), (5.0, -1.0), (-5.0, 1.0)] {
        let mut grad = [0.0];
        closure.log_joint_grad(&[r], &mut grad);
        assert_eq!(grad, [slope]);
    }
}
// ANCHOR_END: three
