//! `minimize`: L-BFGS on a smooth function of many variables. The only file that knows argmin.

mod line_search;
mod point;

use std::cell::RefCell;

use argmin::core::{
    CostFunction, Error, Executor, Gradient, State, TerminationReason, TerminationStatus,
};
use argmin::solver::quasinewton::LBFGS;

use line_search::Wolfe;
use point::Point;

/// When to stop.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The most iterations, over all restarts.
    pub iterations: u64,
    /// Euclidean length of the gradient, relative to `max(1, |f|)`, that counts as zero.
    pub gradient: f64,
    /// A change of the value between two iterations, relative to `max(1, |f|)`, not worth going on
    /// for.
    pub change: f64,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The gradient is zero to within the tolerance.
    Gradient,
    /// The value changes by less than the tolerance.
    Change,
    /// No step gains more than rounding.
    Stalled,
    /// The iterations ran out.
    Limit,
}

/// The best point found.
#[derive(Clone, Debug)]
pub(crate) struct Minimum {
    pub point: Vec<f64>,
    pub value: f64,
    pub gradient: Vec<f64>,
    pub evaluations: usize,
    pub ending: Ending,
    /// The solver's own reason for stopping, with numbers.
    pub reason: String,
}

/// The function, the last place it was evaluated at and the best one.
struct Memory<'a> {
    function: &'a mut dyn FnMut(&[f64], &mut [f64]) -> f64,
    last: Place,
    best: Place,
    evaluations: usize,
}

#[derive(Clone)]
struct Place {
    point: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

impl Place {
    fn finite(&self) -> bool {
        self.value.is_finite() && self.gradient.iter().all(|g| g.is_finite())
    }
}

fn length(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

impl Memory<'_> {
    /// Evaluates at the point unless that was the last thing done.
    fn visit(&mut self, point: &[f64]) -> &Place {
        if self.evaluations == 0 || self.last.point != point {
            self.last.point.copy_from_slice(point);
            self.last.value = (self.function)(point, &mut self.last.gradient);
            self.evaluations += 1;
            if self.last.finite() {
                let rounding = ROUNDING * self.best.value.abs().max(1.0);
                let gain = self.best.value - self.last.value;
                let flatter = length(&self.last.gradient) < length(&self.best.gradient);
                if !self.best.finite() || gain > rounding || (gain > -rounding && flatter) {
                    self.best.clone_from(&self.last);
                }
            }
        }
        &self.last
    }
}

/// Two values closer than this, relative to their size, cannot be told apart.
const ROUNDING: f64 = 1e-13;
/// Pairs of steps and gradients remembered.
const HISTORY: usize = 20;
/// How often the history may be dropped, to start again along the gradient.
const RESTARTS: usize = 20;

/// What argmin sees: value and gradient, one evaluation for both.
struct Problem<'m, 'a>(&'m RefCell<Memory<'a>>);

impl CostFunction for Problem<'_, '_> {
    type Param = Point;
    type Output = f64;
    fn cost(&self, point: &Point) -> Result<f64, Error> {
        Ok(self.0.borrow_mut().visit(&point.0).value)
    }
}

impl Gradient for Problem<'_, '_> {
    type Param = Point;
    type Gradient = Point;
    fn gradient(&self, point: &Point) -> Result<Point, Error> {
        Ok(Point(self.0.borrow_mut().visit(&point.0).gradient.clone()))
    }
}

/// Minimizes a function that writes its gradient and returns its value; a value or gradient that is
/// not finite makes the line search turn back.
///
/// L-BFGS with twenty pairs (Liu and Nocedal 1989) and a strong Wolfe line search. Where it gives up,
/// the history is dropped and the search goes on along the gradient, as long as that gains
/// anything. `None` if the function is not finite at the start.
pub(crate) fn minimize(
    function: &mut dyn FnMut(&[f64], &mut [f64]) -> f64,
    start: &[f64],
    limits: &Limits,
) -> Option<Minimum> {
    let nowhere = Place {
        point: start.to_vec(),
        value: f64::INFINITY,
        gradient: vec![f64::INFINITY; start.len()],
    };
    let memory = Memory { function, last: nowhere.clone(), best: nowhere, evaluations: 0 };
    let memory = RefCell::new(memory);
    if !memory.borrow_mut().visit(start).finite() {
        return None;
    }
    let (mut iterations, mut fruitless) = (0, 0);
    let mut restarts = 0;
    let (ending, words) = loop {
        let from = memory.borrow().best.clone();
        let scale = from.value.abs().max(1.0);
        if length(&from.gradient) <= limits.gradient * scale {
            break (Ending::Gradient, TerminationReason::SolverConverged.to_string());
        }
        let left = limits.iterations.saturating_sub(iterations);
        if left == 0 {
            break (Ending::Limit, TerminationReason::MaxItersReached.to_string());
        }
        let (done, reason) = run(&memory, &from, limits, left);
        // A run that ends at once has still been tried.
        iterations += done.max(1);
        let memory = memory.borrow();
        let scale = memory.best.value.abs().max(1.0);
        if length(&memory.best.gradient) <= limits.gradient * scale {
            break (Ending::Gradient, reason.to_string());
        }
        if reason == TerminationReason::MaxItersReached {
            break (Ending::Limit, reason.to_string());
        }
        let gained = from.value - memory.best.value;
        if reason == TerminationReason::SolverConverged && gained <= limits.change * scale {
            break (Ending::Change, reason.to_string());
        }
        fruitless = if gained > ROUNDING * scale { 0 } else { fruitless + 1 };
        restarts += 1;
        if fruitless >= 2 || restarts > RESTARTS {
            break (Ending::Stalled, reason.to_string());
        }
    };
    let Memory { best, evaluations, .. } = memory.into_inner();
    // A whole search that found nothing lower or flatter will not find it when repeated either.
    let ending =
        if best.point == start && ending == Ending::Limit { Ending::Stalled } else { ending };
    let size = length(&best.gradient);
    let stalled = if ending == Ending::Stalled { "; no step gains more than rounding" } else { "" };
    let reason =
        format!("{words} (L-BFGS: gradient {size:.1e} after {iterations} iterations{stalled})");
    let Place { point, value, gradient } = best;
    Some(Minimum { point, value, gradient, evaluations, ending, reason })
}

/// One run of the solver without a history: how many iterations, and why it stopped.
fn run(
    memory: &RefCell<Memory<'_>>,
    from: &Place,
    limits: &Limits,
    iterations: u64,
) -> (u64, TerminationReason) {
    let scale = from.value.abs().max(1.0);
    let solver = LBFGS::new(Wolfe::default(), HISTORY)
        .with_tolerance_grad(limits.gradient * scale)
        .and_then(|s| s.with_tolerance_cost(limits.change * scale));
    let result = solver.and_then(|solver| {
        Executor::new(Problem(memory), solver)
            .configure(|state| {
                state
                    .param(Point(from.point.clone()))
                    .cost(from.value)
                    .gradient(Point(from.gradient.clone()))
                    .max_iters(iterations)
            })
            .ctrlc(false)
            .timer(false)
            .run()
    });
    match result {
        Ok(result) => {
            let reason = match result.state.get_termination_status() {
                TerminationStatus::Terminated(reason) => reason.clone(),
                TerminationStatus::NotTerminated => TerminationReason::default(),
            };
            (result.state.get_iter(), reason)
        }
        Err(error) => (0, TerminationReason::SolverExit(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { iterations: 1000, gradient: 1e-9, change: 0.0 }
    }

    #[test]
    fn a_curved_valley_is_followed_to_its_end() {
        let mut rosenbrock = |x: &[f64], g: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            g[0] = -2.0 * a - 400.0 * x[0] * b;
            g[1] = 200.0 * b;
            a * a + 100.0 * b * b
        };
        let found = minimize(&mut rosenbrock, &[-1.2, 1.0], &limits()).unwrap();
        assert_eq!(found.ending, Ending::Gradient, "{}", found.reason);
        assert!(found.point.iter().all(|x| (x - 1.0).abs() < 1e-8), "{:?}", found.point);
        assert!(found.evaluations < 100, "{}", found.evaluations);
        assert!(found.reason.starts_with("Solver converged"), "{}", found.reason);
    }

    #[test]
    fn a_badly_scaled_bowl_is_solved() {
        // curvatures from 1e-4 to 1e8; the first gradient is 1e8 long
        let scale = |i: usize| 10f64.powi(i as i32 - 4);
        let mut bowl = |x: &[f64], g: &mut [f64]| {
            let mut sum = 0.0;
            for i in 0..x.len() {
                g[i] = scale(i) * (x[i] - 1.0);
                sum += 0.5 * g[i] * (x[i] - 1.0);
            }
            sum
        };
        let found = minimize(&mut bowl, &[0.0; 13], &limits()).unwrap();
        assert_eq!(found.ending, Ending::Gradient, "{}", found.reason);
        for (i, x) in found.point.iter().enumerate() {
            assert!((x - 1.0).abs() <= 2e-9 / scale(i), "x[{i}] = {x}");
        }
    }

    #[test]
    fn walls_turn_the_search_back() {
        // x - ln x on x > 0, NaN elsewhere; the minimum is at 1, the wall close to the start
        let mut barrier = |x: &[f64], g: &mut [f64]| {
            g[0] = 1.0 - 1.0 / x[0];
            x[0] - x[0].ln()
        };
        for start in [1e-6, 0.5, 50.0, 1e4] {
            let found = minimize(&mut barrier, &[start], &limits()).unwrap();
            assert!((found.point[0] - 1.0).abs() < 1e-8, "from {start}: {found:?}");
        }
        assert!(minimize(&mut barrier, &[-1.0], &limits()).is_none());
    }

    #[test]
    fn the_limit_and_a_kink_are_reported_as_what_they_are() {
        let mut slope = |x: &[f64], g: &mut [f64]| {
            g[0] = -(-x[0]).exp();
            (-x[0]).exp() - x[0]
        };
        let short = Limits { iterations: 5, ..limits() };
        let found = minimize(&mut slope, &[0.0], &short).unwrap();
        assert_eq!(found.ending, Ending::Limit);
        assert!(found.reason.starts_with("Maximum number of iterations"), "{}", found.reason);

        let mut kink = |x: &[f64], g: &mut [f64]| {
            g[0] = x[0].signum();
            x[0].abs()
        };
        let found = minimize(&mut kink, &[0.3], &limits()).unwrap();
        assert_eq!(found.ending, Ending::Stalled, "{}", found.reason);
        assert!(found.value < 1e-6, "{}", found.value);
    }

    #[test]
    fn the_same_search_twice_is_the_same_to_the_last_bit() {
        let mut quartic = |x: &[f64], g: &mut [f64]| {
            for i in 0..x.len() {
                g[i] = 4.0 * x[i].powi(3) - 3.0 + i as f64;
            }
            x.iter().enumerate().map(|(i, x)| x.powi(4) - (3.0 - i as f64) * x).sum()
        };
        let start = [0.7, -0.2, 2.0, 5.0, 1.0];
        let first = minimize(&mut quartic, &start, &limits()).unwrap();
        let second = minimize(&mut quartic, &start, &limits()).unwrap();
        assert_eq!(first.point, second.point);
        assert_eq!(first.evaluations, second.evaluations);
    }
}
