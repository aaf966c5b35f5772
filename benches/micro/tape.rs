//! A recorded model replayed over many draws at once, one draw at a time, and its gradient by hand.

use std::hint::black_box;

use elbo::{Differentiable, Model, Space, Var, density, from_fn};

use super::Micro;
use super::batches::normals;
use super::schools::{ByHand, recorded};

const DRAWS: usize = 16;

pub fn measure(micro: &mut Micro) {
    pair(micro, "eight_schools", &recorded(), &ByHand);
    pair(micro, "hierarchy_of_200", &hierarchy(), &HierarchyByHand);
}

fn pair(
    micro: &mut Micro,
    name: &'static str,
    tape: &impl Differentiable,
    by_hand: &impl Differentiable,
) {
    let d = tape.dim();
    let z = normals(DRAWS * d);
    let mut grad = vec![0.0; DRAWS * d];
    let work = (DRAWS, "gradient");
    micro.measure((name, "tape_of_lanes"), work, || {
        tape.grad_batch(black_box(&z), DRAWS, &mut grad, &mut []);
    });
    micro.measure((name, "tape_one_draw_at_a_time"), work, || {
        for (z, grad) in z.chunks_exact(d).zip(grad.chunks_exact_mut(d)) {
            black_box(tape.log_joint_grad(black_box(z), grad));
        }
    });
    micro.measure((name, "by_hand"), work, || {
        for (z, grad) in z.chunks_exact(d).zip(grad.chunks_exact_mut(d)) {
            black_box(by_hand.log_joint_grad(black_box(z), grad));
        }
    });
}

/// Groups of `hierarchy`, each with a mean of its own and four observations.
const GROUPS: usize = 198;

fn observation(g: usize, k: usize) -> f64 {
    ((g * 7 + k * 3) % 11) as f64 * 0.3 - 1.5
}

/// `y_gk ~ N(a_g, 1)`, `a_g ~ N(mu, tau)`: 200 unknowns, no fused likelihood.
fn hierarchy() -> impl Differentiable {
    let mut space = Space::new();
    let (mu, tau, a) = (space.real("mu"), space.positive("tau"), space.reals("a", GROUPS));
    from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_normal(z[tau], 1.0);
        for (g, &a) in z[a].iter().enumerate() {
            lp += density::normal(a, z[mu], z[tau]);
            for k in 0..4 {
                lp += density::normal(Var::from(observation(g, k)), a, 1.0);
            }
        }
        lp
    })
    .unconstrained()
}

/// The same with its gradient written out.
struct HierarchyByHand;

impl Model for HierarchyByHand {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("z", GROUPS + 2);
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        self.log_joint_grad(z, &mut [0.0; GROUPS + 2])
    }
}

impl Differentiable for HierarchyByHand {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        let (mu, tau) = (z[0], z[1].exp());
        let mut lp = -mu * mu / 50.0 - 0.5 * tau * tau + z[1] - GROUPS as f64 * z[1];
        (grad[0], grad[1]) = (-mu / 25.0, 1.0 - tau * tau - GROUPS as f64);
        for (g, &a) in z[2..].iter().enumerate() {
            let off = (a - mu) / tau;
            lp -= 0.5 * off * off;
            grad[0] += off / tau;
            grad[1] += off * off;
            let mut slope = -off / tau;
            for k in 0..4 {
                let miss = observation(g, k) - a;
                lp -= 0.5 * miss * miss;
                slope += miss;
            }
            grad[2 + g] = slope;
        }
        lp
    }
}
