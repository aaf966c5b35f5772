//! The evidence by quadrature: exact to many digits, in up to three dimensions.

use super::psis::log_sum_exp;
use crate::error::Error;
use crate::model::Model;
use crate::space::Space;

/// What a grid says about a posterior in few dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Quadrature {
    /// `ln p(x) = ln integral p(x, z) dz`
    pub log_evidence: f64,
    /// How much the last refinement of the grid changed it.
    pub error: f64,
    /// The posterior means on the natural scale.
    pub mean: Vec<f64>,
    /// The posterior standard deviations on the natural scale.
    pub sd: Vec<f64>,
    /// How often the log joint was evaluated.
    pub evaluations: usize,
}

/// The most dimensions a grid is good for.
const MOST_DIMENSIONS: usize = 3;
/// Refinements stop here, for 1, 2 and 3 dimensions: intervals an axis.
const FINEST: [usize; MOST_DIMENSIONS] = [1 << 16, 1 << 10, 1 << 7];
/// The grid reaches to where the density is below `e^-40` of its largest value.
const DEPTH: f64 = 40.0;
/// The refinement that is fine enough.
const FINE_ENOUGH: f64 = 1e-12;

/// Integrates `p(x, z)` over `R^d`, `d <= 3`: finds the box outside which the density is nil, then
/// halves the trapezoidal rule's step until nothing changes. For a smooth density that falls off on
/// all sides this rule converges faster than any power of the step (Trefethen and Weideman 2014).
/// Give it a model moved to `R^d` by [`Model::unconstrained`].
///
/// # Errors
/// More than three dimensions, a density that does not fall off, or one that is not a number.
///
/// ```
/// use elbo::{density, diagnostics::quadrature, from_fn, Model, Real, Space};
/// let mut space = Space::new();
/// let bias = space.unit("bias");
/// // 7 heads of 10, a uniform prior
/// let coin = from_fn(space, move |z| 7.0 * z[bias].ln() + 3.0 * (-z[bias]).ln_1p()).unconstrained();
/// let exact = quadrature(&coin)?;
/// // 1 / (11 binomial(10, 7))
/// assert!((exact.log_evidence + 1320f64.ln()).abs() < 1e-10);
/// assert!((exact.mean[0] - 2.0 / 3.0).abs() < 1e-10);
/// # Ok::<(), elbo::Error>(())
/// ```
pub fn quadrature<M: Model>(model: &M) -> Result<Quadrature, Error> {
    let space = model.space();
    let d = model.dim();
    if d == 0 || d > MOST_DIMENSIONS {
        let remedy = "a grid needs its points to the power of the dimension: quadrature goes up \
                      to 3; use `iwae_bound` or the ELBO for more";
        return Err(Error::option("dim", d, remedy));
    }
    let mut grid = Grid { model, space, center: vec![0.0; d], reach: vec![[1.0; 2]; d], count: 0 };
    grid.climb()?;
    grid.widen()?;
    let mut intervals = 16;
    let mut before = grid.integrate(intervals)?;
    loop {
        intervals *= 2;
        let mut now = grid.integrate(intervals)?;
        now.error = (now.log_evidence - before.log_evidence).abs();
        if now.error < FINE_ENOUGH * now.log_evidence.abs().max(1.0) || intervals >= FINEST[d - 1] {
            now.evaluations = grid.count;
            return Ok(now);
        }
        before = now;
    }
}

struct Grid<'a, M> {
    model: &'a M,
    space: Space,
    center: Vec<f64>,
    /// How far the box reaches below and above the center.
    reach: Vec<[f64; 2]>,
    count: usize,
}

impl<M: Model> Grid<'_, M> {
    fn at(&mut self, z: &[f64]) -> Result<f64, Error> {
        self.count += 1;
        let value = self.model.log_joint(z);
        if value.is_nan() || value == f64::INFINITY {
            let remedy = "the log joint must be a number wherever its coordinates can be";
            return Err(Error::option("log_joint", format!("{value} at {z:?}"), remedy));
        }
        Ok(value)
    }

    /// Moves the center to the top: steps along the axes, longer after success, shorter after
    /// failure.
    fn climb(&mut self) -> Result<(), Error> {
        let mut z = self.center.clone();
        let mut best = self.at(&z)?;
        let mut step = vec![1.0; z.len()];
        for _ in 0..2000 {
            let mut moved = false;
            for i in 0..z.len() {
                for sign in [1.0, -1.0] {
                    let old = z[i];
                    z[i] += sign * step[i];
                    let value = self.at(&z)?;
                    if value > best {
                        best = value;
                        step[i] *= 2.0;
                        moved = true;
                        break;
                    }
                    z[i] = old;
                }
            }
            if !moved {
                step.iter_mut().for_each(|s| *s *= 0.5);
            }
            if step.iter().all(|s| *s < 1e-4) {
                break;
            }
            if z.iter().any(|z| z.abs() > 1e12) {
                return Err(does_not_fall());
            }
        }
        if best == f64::NEG_INFINITY {
            return Err(does_not_fall());
        }
        self.center = z;
        Ok(())
    }

    /// Reaches out until every face of the box is far below the top.
    fn widen(&mut self) -> Result<(), Error> {
        let d = self.center.len();
        let top = self.at(&self.center.clone())?;
        for i in 0..d {
            for side in 0..2 {
                // from where it has hardly fallen to where it has fallen far enough
                let mut reach: f64 = 1e-3;
                loop {
                    let mut z = self.center.clone();
                    z[i] += if side == 0 { -reach } else { reach };
                    if self.at(&z)? < top - DEPTH {
                        break;
                    }
                    reach *= 1.3;
                    if reach > 1e9 {
                        return Err(does_not_fall());
                    }
                }
                self.reach[i][side] = reach;
            }
        }
        // slices through the top miss what is correlated: look at the faces
        for _ in 0..60 {
            let high = self.highest_on_faces()?;
            let mut widened = false;
            for (i, sides) in high.iter().enumerate() {
                for (side, &value) in sides.iter().enumerate() {
                    if value > top - DEPTH {
                        self.reach[i][side] *= 1.3;
                        widened = true;
                    }
                }
            }
            if !widened {
                return Ok(());
            }
        }
        Err(does_not_fall())
    }

    fn highest_on_faces(&mut self) -> Result<Vec<[f64; 2]>, Error> {
        const POINTS: usize = 32;
        let d = self.center.len();
        let mut high = vec![[f64::NEG_INFINITY; 2]; d];
        for i in 0..d {
            for side in 0..2 {
                let on_face = POINTS.pow(d as u32 - 1);
                for index in 0..on_face {
                    let mut rest = index;
                    let z: Vec<f64> = (0..d)
                        .map(|j| {
                            let [below, above] = self.reach[j];
                            let from = self.center[j] - below;
                            if j == i {
                                return if side == 0 { from } else { self.center[j] + above };
                            }
                            let step = rest % POINTS;
                            rest /= POINTS;
                            from + (below + above) * step as f64 / (POINTS - 1) as f64
                        })
                        .collect();
                    high[i][side] = high[i][side].max(self.at(&z)?);
                }
            }
        }
        Ok(high)
    }

    /// The trapezoidal rule; the density being nil at the faces, all points count the same.
    fn integrate(&mut self, intervals: usize) -> Result<Quadrature, Error> {
        let d = self.center.len();
        let steps: Vec<f64> = self.reach.iter().map(|[b, a]| (b + a) / intervals as f64).collect();
        let cell: f64 = steps.iter().map(|s| s.ln()).sum();
        let points = intervals.pow(d as u32);
        let place = |index: usize, z: &mut [f64]| {
            let mut rest = index;
            for j in 0..d {
                z[j] = self.center[j] - self.reach[j][0] + steps[j] * (rest % intervals) as f64;
                rest /= intervals;
            }
        };
        let mut z = vec![0.0; d * points];
        z.chunks_exact_mut(d).enumerate().for_each(|(index, z)| place(index, z));
        let mut log_p = vec![0.0; points];
        self.model.log_joint_batch(&z, &mut log_p);
        self.count += points;
        if let Some(s) = log_p.iter().position(|v| v.is_nan() || *v == f64::INFINITY) {
            self.at(&z[s * d..(s + 1) * d])?;
        }
        let total = log_sum_exp(&log_p);
        let k = self.space.natural_dim();
        let (mut mean, mut square, mut natural) = (vec![0.0; k], vec![0.0; k], vec![0.0; k]);
        for (z, l) in z.chunks_exact(d).zip(&log_p) {
            let weight = (l - total).exp();
            if weight > 0.0 {
                self.space.constrain(z, &mut natural);
                for (m, x) in mean.iter_mut().zip(&natural) {
                    *m += weight * x;
                }
            }
        }
        for (z, l) in z.chunks_exact(d).zip(&log_p) {
            let weight = (l - total).exp();
            if weight > 0.0 {
                self.space.constrain(z, &mut natural);
                for ((s, x), m) in square.iter_mut().zip(&natural).zip(&mean) {
                    *s += weight * (x - m) * (x - m);
                }
            }
        }
        let sd = square.iter().map(|s| s.sqrt()).collect();
        Ok(Quadrature { log_evidence: total + cell, error: 0.0, mean, sd, evaluations: 0 })
    }
}

fn does_not_fall() -> Error {
    let remedy = "quadrature needs a density over all of R^d that falls off on every side; move \
                  the model with `.unconstrained()`, and check that the posterior is proper";
    Error::option("log_joint", "no single hill", remedy)
}
