//! `Wolfe`: a line search that turns back at walls, for argmin's L-BFGS.

use argmin::core::{
    CostFunction, Error, Gradient, IterState, KV, LineSearch, Problem, Solver, State,
    TerminationReason,
};
use argmin_math::{ArgminAdd, ArgminDot, ArgminMul};

use super::point::Point;
use super::{ROUNDING, length};

/// The value must fall by this share of what the slope promises.
const DECREASE: f64 = 1e-4;
/// The slope must shrink to this share.
const CURVATURE: f64 = 0.9;
/// The most trial points.
const TRIALS: usize = 60;

/// Strong Wolfe conditions by bracketing and cubic interpolation (Nocedal and Wright 2006, chapter
/// 3); within rounding of the first value, the slope alone decides (Hager and Zhang 2005). A point
/// where value or gradient is not finite counts as too far.
#[derive(Clone, Default)]
pub(super) struct Wolfe {
    direction: Option<Point>,
}

type Iteration = IterState<Point, Point, (), (), (), f64>;

/// A trial point along the line.
#[derive(Clone, Copy)]
struct Trial {
    at: f64,
    value: f64,
    slope: f64,
}

impl LineSearch<Point, f64> for Wolfe {
    fn search_direction(&mut self, direction: Point) {
        self.direction = Some(direction);
    }
    fn initial_step_length(&mut self, _: f64) -> Result<(), Error> {
        Ok(())
    }
}

impl<O> Solver<O, Iteration> for Wolfe
where
    O: CostFunction<Param = Point, Output = f64> + Gradient<Param = Point, Gradient = Point>,
{
    fn name(&self) -> &str {
        "strong Wolfe line search"
    }

    fn next_iter(
        &mut self,
        problem: &mut Problem<O>,
        mut state: Iteration,
    ) -> Result<(Iteration, Option<KV>), Error> {
        let parts = (state.take_param(), state.take_gradient(), self.direction.take());
        let (Some(start), Some(gradient), Some(direction)) = parts else {
            return Err(Error::msg("the line search was not given point, gradient and direction"));
        };
        let first = Trial { at: 0.0, value: state.get_cost(), slope: gradient.dot(&direction) };
        if first.slope.is_nan() || first.slope >= 0.0 {
            return Err(Error::msg("the direction does not lead downhill"));
        }
        // Without a history the direction is the gradient, whose length means nothing.
        let no_history = direction.0.iter().zip(&gradient.0).all(|(d, g)| *d == -g);
        let mut at = if no_history { (1.0 / length(&gradient.0)).min(1.0) } else { 1.0 };
        let slack = ROUNDING * first.value.abs().max(1.0);
        let (mut low, mut high): (Trial, Option<Trial>) = (first, None);
        let mut kept: Option<(Point, f64, Point)> = None;
        for _ in 0..TRIALS {
            let point = start.add(&direction.mul(&at));
            let value = problem.cost(&point)?;
            let gradient = problem.gradient(&point)?;
            let trial = Trial { at, value, slope: gradient.dot(&direction) };
            let finite = value.is_finite() && length(&gradient.0).is_finite();
            let falls = value <= first.value + DECREASE * at * first.slope
                || (value <= first.value + slack
                    && trial.slope <= (2.0 * DECREASE - 1.0) * first.slope);
            if finite && falls && trial.slope.abs() <= -CURVATURE * first.slope {
                return Ok((found(state, point, value, gradient), None));
            }
            if !finite || !falls || trial.slope >= 0.0 {
                high = Some(if finite { trial } else { Trial { value: f64::NAN, ..trial } });
                at = between(low, trial, finite);
            } else {
                at = match high {
                    Some(high) => between(trial, high, high.value.is_finite()),
                    None => beyond(low, trial),
                };
                low = trial;
                kept = Some((point, value, gradient));
            }
            let width = high.map_or(f64::INFINITY, |h| (h.at - low.at).abs());
            if width <= 1e-15 * at.abs() {
                break;
            }
        }
        // Lower, if not flatter: better than nothing, and the next direction starts from there.
        match kept {
            Some((point, value, gradient)) => Ok((found(state, point, value, gradient), None)),
            None => Err(Error::msg("no lower point along the line")),
        }
    }
}

fn found(state: Iteration, point: Point, value: f64, gradient: Point) -> Iteration {
    state
        .param(point)
        .cost(value)
        .gradient(gradient)
        .terminate_with(TerminationReason::SolverConverged)
}

/// The next trial between two ends: where the cubic through both has its minimum, not too close to
/// either.
fn between(low: Trial, high: Trial, finite: bool) -> f64 {
    let width = high.at - low.at;
    if !finite {
        return low.at + 0.2 * width;
    }
    let a = low.slope + high.slope - 3.0 * (high.value - low.value) / width;
    let root = (a * a - low.slope * high.slope).sqrt();
    let share = 1.0 - (high.slope + root - a) / (high.slope - low.slope + 2.0 * root);
    let share = if share.is_finite() { share.clamp(0.1, 0.9) } else { 0.5 };
    low.at + share * width
}

/// The next trial past a point that still leads steeply down: where the slope would vanish.
fn beyond(before: Trial, trial: Trial) -> f64 {
    let vanishes = trial.at - trial.slope * (trial.at - before.at) / (trial.slope - before.slope);
    let (least, most) = (2.0 * trial.at, 10.0 * trial.at);
    if vanishes.is_finite() && vanishes > trial.at { vanishes.clamp(least, most) } else { most }
}
