//! `polish`: damped Newton steps with the exact Hessian, in units that do not matter.

use nalgebra::{DMatrix, DVector};

use super::curvature::{precision, rescale, unit_diagonal};
use crate::model::TwiceDifferentiable;
use crate::triangle::{self, Lower};

/// Values of the log joint closer than this, relative to their size, cannot be told apart.
const ROUNDING: f64 = 1e-13;
/// The first damping when there must be some, and the one beyond which no step is tried.
const DAMPING: (f64, f64) = (1e-3, 1e15);

/// How the steps ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The Newton decrement is below the tolerance, or as low as rounding lets it be.
    Arrived { decrement: f64 },
    /// The steps ran out.
    Limit,
    /// No step gains anything.
    Stuck,
}

/// Where the steps led.
#[derive(Debug)]
pub(super) struct Polished {
    pub z: Vec<f64>,
    pub log_joint: f64,
    pub grad: Vec<f64>,
    /// Minus the Hessian.
    pub precision: DMatrix<f64>,
    pub steps: usize,
    pub ending: Ending,
}

/// Maximizes the log joint by steps `(P + s D)^-1 g`, with `P` minus the Hessian, `D` its diagonal
/// and `s` as small as it can be (Levenberg 1944, Marquardt 1963): rescaling a coordinate changes
/// nothing, and with `s = 0` these are Newton's. `evaluations` counts gradients and products.
pub(super) fn polish<M: TwiceDifferentiable>(
    model: &M,
    start: &[f64],
    tolerance: f64,
    most: usize,
    evaluations: &mut usize,
) -> Polished {
    let d = start.len();
    let mut z = start.to_vec();
    let (mut grad, mut new_z, mut new_grad) = (vec![0.0; d], z.clone(), vec![0.0; d]);
    let mut log_joint = model.log_joint_grad(&z, &mut grad);
    *evaluations += 1;
    let mut damping = 0.0;
    let mut steps = 0;
    loop {
        let p = precision(model, &z, &mut grad);
        *evaluations += d;
        let end =
            |ending, z, grad, precision| Polished { z, log_joint, grad, precision, steps, ending };
        if p.iter().chain(&grad).any(|x| !x.is_finite()) {
            return end(Ending::Stuck, z, grad, p);
        }
        let scale = unit_diagonal(&p);
        let mut unit = p.clone();
        rescale(&mut unit, &scale);
        let slope = DVector::from_fn(d, |i, _| grad[i] * scale[i]);
        let noise = ROUNDING * log_joint.abs().max(1.0);
        loop {
            let mut factor = triangle::lower_of(d, &unit);
            (0..d).for_each(|i| factor[triangle::len(i) + i] += damping);
            triangle::factorize(&mut factor);
            if triangle::least_pivot(d, &factor) <= 1e-14 {
                if damping > DAMPING.1 {
                    return end(Ending::Stuck, z, grad, p);
                }
                damping = (4.0 * damping).max(DAMPING.0);
                continue;
            }
            let solve = |slope: &DVector<f64>| {
                let (mut step, lower) = (slope.clone(), Lower::new(d, &factor));
                lower.solve(step.as_mut_slice());
                lower.solve_transposed(step.as_mut_slice());
                step
            };
            let step = solve(&slope);
            let promised = 0.5 * (slope.dot(&step) + damping * step.norm_squared());
            let decrement = slope.dot(&step).max(0.0).sqrt();
            let arrived = damping == 0.0 && decrement <= tolerance;
            if steps >= most && !arrived {
                return end(Ending::Limit, z, grad, p);
            }
            for i in 0..d {
                new_z[i] = z[i] + scale[i] * step[i];
            }
            let value = model.log_joint_grad(&new_z, &mut new_grad);
            *evaluations += 1;
            if arrived {
                // One step more costs next to nothing, and squares what is left.
                let slope = DVector::from_fn(d, |i, _| new_grad[i] * scale[i]);
                let left = slope.dot(&solve(&slope)).max(0.0).sqrt();
                if value.is_finite() && left < decrement {
                    let ending = Ending::Arrived { decrement: left };
                    (z, grad, log_joint) = (new_z, new_grad, value);
                    return Polished { z, log_joint, grad, precision: p, steps: steps + 1, ending };
                }
                return end(Ending::Arrived { decrement }, z, grad, p);
            }
            let gain = value - log_joint;
            let finite = value.is_finite() && new_grad.iter().all(|g| g.is_finite());
            // Where the gain drowns in rounding, not losing more than that is all one can ask.
            let lost_in_noise = promised < 10.0 * noise && gain > -10.0 * noise;
            if finite && (gain >= 1e-4 * promised || lost_in_noise) {
                let ratio = gain / promised;
                if ratio > 0.75 || lost_in_noise {
                    damping = if damping < 1e-8 { 0.0 } else { 0.1 * damping };
                } else if ratio < 0.25 {
                    damping = (4.0 * damping).max(DAMPING.0);
                }
                std::mem::swap(&mut z, &mut new_z);
                std::mem::swap(&mut grad, &mut new_grad);
                log_joint = value;
                steps += 1;
                break;
            }
            if promised < noise && damping == 0.0 {
                return end(Ending::Arrived { decrement }, z, grad, p);
            }
            if damping > DAMPING.1 {
                return end(Ending::Stuck, z, grad, p);
            }
            damping = (4.0 * damping).max(DAMPING.0);
        }
    }
}
