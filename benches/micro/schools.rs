//! Eight schools, recorded and by hand.

use elbo::{Differentiable, Model, Space, Var, density, from_fn};

const EFFECT: [f64; 8] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
const SD: [f64; 8] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];

/// By autodiff.
pub fn recorded() -> impl Differentiable {
    let mut space = Space::new();
    let (mu, tau, eta) = (space.real("mu"), space.positive("tau"), space.reals("eta", 8));
    from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
        for (j, &eta) in z[eta].iter().enumerate() {
            lp += density::normal(eta, 0.0, 1.0);
            lp += density::normal(Var::from(EFFECT[j]), z[mu] + z[tau] * eta, SD[j]);
        }
        lp
    })
    .unconstrained()
}

/// `mu`, `log tau`, `eta`: the unconstrained log joint and its gradient, written out.
pub struct ByHand;

impl Model for ByHand {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("z", 10);
        space
    }
    fn dim(&self) -> usize {
        10
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        self.log_joint_grad(z, &mut [0.0; 10])
    }
}

impl Differentiable for ByHand {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        let (mu, tau) = (z[0], z[1].exp());
        let square = tau * tau / 25.0;
        let mut lp = -mu * mu / 50.0 - square.ln_1p() + z[1];
        grad[0] = -mu / 25.0;
        let mut grad_tau = -2.0 * tau / 25.0 / (1.0 + square);
        for j in 0..8 {
            let eta = z[2 + j];
            let off = (EFFECT[j] - mu - tau * eta) / SD[j];
            let pull = off / SD[j];
            lp -= 0.5 * (eta * eta + off * off);
            grad[0] += pull;
            grad_tau += pull * eta;
            grad[2 + j] = pull * tau - eta;
        }
        grad[1] = grad_tau * tau + 1.0;
        lp
    }
}
