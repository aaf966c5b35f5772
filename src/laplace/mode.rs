//! `mode`: the highest point of a log joint that can be reached from a start.

use serde::{Deserialize, Serialize};

use super::curvature::depends_on;
use super::newton::{Ending, polish};
use super::start::describe;
use crate::error::Error;
use crate::minimize::{self, Limits, minimize};
use crate::model::TwiceDifferentiable;

/// How hard to look for a mode. Every field has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModeOptions {
    /// The most iterations of L-BFGS.
    pub iterations: u64,
    /// The most Newton steps after that.
    pub newton_steps: usize,
    /// The Newton decrement, `sqrt(g^T (-H)^-1 g)`, at which the top is reached: how many standard
    /// deviations away from it one still is.
    pub decrement: f64,
    /// Above this many coordinates no Hessian is built and L-BFGS has to do alone.
    pub dense: usize,
}

impl Default for ModeOptions {
    fn default() -> Self {
        ModeOptions { iterations: 1000, newton_steps: 100, decrement: 1e-6, dense: 500 }
    }
}

impl ModeOptions {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !(self.decrement.is_finite() && self.decrement > 0.0) {
            let remedy = "it must be positive; 1e-6 is a good value";
            return Err(Error::option("decrement", self.decrement, remedy));
        }
        if self.iterations == 0 && self.newton_steps == 0 {
            return Err(Error::option("iterations", 0, "allow at least one, or one Newton step"));
        }
        Ok(())
    }
}

/// A mode, or the highest point found on the way to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Mode {
    /// The point, in the model's own coordinates.
    pub z: Vec<f64>,
    /// The log joint there, in nats.
    pub log_joint: f64,
    /// Euclidean length of the gradient there.
    pub grad_norm: f64,
    /// The Newton decrement there, where a Hessian was built and is negative definite.
    pub decrement: Option<f64>,
    /// Gradients and Hessian products that were computed.
    pub evaluations: usize,
    /// Whether the tolerance was met; if not, `reason` says what happened instead.
    pub arrived: bool,
    /// Why the search ended, with its numbers.
    pub reason: String,
}

/// Gradient, relative to `max(1, |log joint|)`, at which L-BFGS stops.
const GRADIENT: f64 = 1e-8;
/// How often the search may go on from a higher point seen a few sd away.
const ROUNDS: usize = 5;
/// A coordinate that has been moved to the real line and is further from the start than this while
/// the log joint still rises in it has run away; for a coordinate on its own scale it is the other.
const RUNAWAY: (f64, f64) = (30.0, 1e8);

/// Climbs from `start` to a mode: L-BFGS, then damped Newton steps with the exact Hessian until the
/// Newton decrement is below the tolerance, then a look three sd to each side of every coordinate,
/// from where the climb goes on if it is higher there.
///
/// A search that ends short of the tolerance is not an error: `arrived` is false and `reason` says
/// why.
///
/// # Errors
/// E05 if the log joint is not finite at the start; E07 names the coordinate along which the log
/// joint rises or stays level without end; E08 names one that it does not depend on; E10 for
/// options that make no sense.
pub fn mode<M: TwiceDifferentiable>(
    model: &M,
    start: &[f64],
    options: &ModeOptions,
) -> Result<Mode, Error> {
    options.check()?;
    let d = model.dim();
    Error::expect_len("the start", start.len(), "the model", d)?;
    let mut from = start.to_vec();
    let mut evaluations = 0;
    let mut round = 0;
    loop {
        let (found, diagonal) = climb(model, &from, options, &mut evaluations)?;
        round += 1;
        if !found.arrived {
            if let Some(error) = runaway(model, start, &found) {
                return Err(error);
            }
            return Ok(found);
        }
        let Some(diagonal) = diagonal else { return Ok(found) };
        match look_around(model, &found, &diagonal, &mut evaluations)? {
            Some(higher) if round < ROUNDS => from = higher,
            _ => return Ok(Mode { evaluations, ..found }),
        }
    }
}

/// L-BFGS and Newton once; the diagonal of minus the Hessian, where it was built.
fn climb<M: TwiceDifferentiable>(
    model: &M,
    from: &[f64],
    options: &ModeOptions,
    evaluations: &mut usize,
) -> Result<(Mode, Option<Vec<f64>>), Error> {
    let d = from.len();
    let dense = d <= options.dense && options.newton_steps > 0;
    // With Newton to follow, L-BFGS needs to come near only: about the price of ten Hessians.
    let near = if dense { options.iterations.min(100 + 30 * d as u64) } else { options.iterations };
    let limits = Limits { iterations: near, gradient: GRADIENT, change: 0.0 };
    let mut downhill = |z: &[f64], grad: &mut [f64]| {
        let value = model.log_joint_grad(z, grad);
        grad.iter_mut().for_each(|g| *g = -*g);
        -value
    };
    let Some(low) = minimize(&mut downhill, from, &limits) else {
        let value = model.log_joint(from);
        let remedy = "start where the log joint and its gradient are finite".to_string();
        return Err(Error::Start { value, point: describe(&model.space(), from), remedy });
    };
    *evaluations += low.evaluations;
    let by = low.reason;
    if !dense {
        let grad_norm = norm(&low.gradient);
        let arrived = matches!(low.ending, minimize::Ending::Gradient | minimize::Ending::Stalled);
        let (z, log_joint, evaluations) = (low.point, -low.value, *evaluations);
        let mode =
            Mode { z, log_joint, grad_norm, decrement: None, evaluations, arrived, reason: by };
        return Ok((mode, None));
    }
    let top = polish(model, &low.point, options.decrement, options.newton_steps, evaluations);
    let unused = |i: usize| top.grad[i] == 0.0 && top.precision.row(i).iter().all(|&h| h == 0.0);
    let mut kink = None;
    for i in (0..d).filter(|&i| unused(i)) {
        let name = model.space().coordinate_names().swap_remove(i);
        if !depends_on(model, &top.z, i) {
            return Err(Error::Improper { name });
        }
        kink = Some(format!("slope and curvature in `{name}` are 0 at a kink or on a plateau"));
    }
    let grad_norm = norm(&top.grad);
    let steps = top.steps;
    let (arrived, decrement, end) = match top.ending {
        _ if kink.is_some() => (false, None, kink.unwrap_or_default()),
        Ending::Arrived { decrement } => {
            (true, Some(decrement), format!("Newton decrement {decrement:.1e}"))
        }
        Ending::Limit => (false, None, "Newton steps ran out".to_string()),
        Ending::Stuck => (false, None, "no Newton step gains anything".to_string()),
    };
    let reason =
        format!("{end} after {steps} Newton steps, gradient {grad_norm:.1e}; before: {by}");
    let diagonal = (0..d).map(|i| top.precision[(i, i)]).collect();
    let (z, log_joint, evaluations) = (top.z, top.log_joint, *evaluations);
    Ok((Mode { z, log_joint, grad_norm, decrement, evaluations, arrived, reason }, Some(diagonal)))
}

/// A point three sd away in one coordinate where the log joint is higher, if there is one.
///
/// # Errors
/// E07 where the log joint does not fall at all in a coordinate, however far.
fn look_around<M: TwiceDifferentiable>(
    model: &M,
    top: &Mode,
    diagonal: &[f64],
    evaluations: &mut usize,
) -> Result<Option<Vec<f64>>, Error> {
    let slack = 1e-6 + 1e-12 * top.log_joint.abs();
    let mut z = top.z.clone();
    let mut best: Option<(f64, Vec<f64>)> = None;
    for i in 0..z.len() {
        // The sd with the other coordinates held.
        let sd = diagonal[i].abs().max(f64::MIN_POSITIVE).sqrt().recip();
        for side in [-1.0, 1.0] {
            let mut at = |by: f64| {
                z[i] = top.z[i] + side * by * sd;
                *evaluations += 1;
                let value = model.log_joint(&z);
                let seen = (value, value.is_finite().then(|| z.clone()));
                z[i] = top.z[i];
                seen
            };
            let (value, point) = at(3.0);
            if value > top.log_joint + slack {
                if let Some(point) = point.filter(|_| best.as_ref().is_none_or(|b| value > b.0)) {
                    best = Some((value, point));
                }
            } else if value > top.log_joint - slack
                && [30.0, 300.0, 3000.0].iter().all(|&by| at(by).0 > top.log_joint - slack)
            {
                let way = if side > 0.0 { "infinity" } else { "minus infinity" };
                return Err(unbounded(model, i, &format!("does not fall as it goes to {way}")));
            }
        }
    }
    Ok(best.map(|(_, point)| point))
}

/// The coordinate that has gone furthest, if it went so far that no posterior reaches there.
fn runaway<M: TwiceDifferentiable>(model: &M, start: &[f64], found: &Mode) -> Option<Error> {
    let d = start.len();
    let mut grad = vec![0.0; d];
    let (space, log_joint) = (model.space(), model.log_joint_grad(&found.z, &mut grad));
    let (names, natural) = (space.coordinate_names(), space.names());
    let moved = |i: usize| found.z[i] - start[i];
    let limit = |i: usize| if natural.contains(&names[i]) { RUNAWAY.1 } else { RUNAWAY.0 };
    let gone = |&i: &usize| moved(i).abs() > limit(i) && grad[i] * moved(i) >= 0.0;
    let far = |i: usize| moved(i).abs() / limit(i);
    let i = (0..d).filter(gone).max_by(|&i, &j| far(i).total_cmp(&far(j)))?;
    let z = found.z[i];
    Some(unbounded(model, i, &format!("is {log_joint:.4e} and still rising where it is {z:.4e}")))
}

fn unbounded<M: TwiceDifferentiable>(model: &M, i: usize, what: &str) -> Error {
    let name = model.space().coordinate_names().swap_remove(i);
    Error::Unbounded {
        what: format!("`{name}` runs away: the log joint {what}"),
        remedy: "give it a proper prior; where a scale goes to zero with everything it scales, \
                 write the scaled terms as scale times a standard normal"
            .to_string(),
    }
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}
