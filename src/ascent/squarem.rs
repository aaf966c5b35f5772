//! `Squarem`: an exact move, sped up by looking two steps ahead.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Ascent, Step};
use crate::error::Error;
use crate::family::Family;
use crate::model::Model;

/// Squared extrapolation of an exact move such as `(EStep, MStep)` (Varadhan and Roland 2008).
///
/// Two moves lead from `p0` over `p1` to `p2`. With `r = p1 - p0`, `v = (p2 - p1) - r` and
/// `a = -|r| / |v|` the candidate is `p0 - 2 a r + a^2 v`; one more move is made from there, and the
/// result kept if its ELBO is at least that at `p2`; otherwise the run goes on from `p2`. `p` is the
/// model's `theta` in its unconstrained coordinates, or the parameters of `q` where the model has
/// none. A step costs three moves, and never descends.
///
/// ```
/// use elbo::{EStep, MStep, Squarem};
/// let ascent = Squarem::new((EStep, MStep));
/// assert_eq!(ascent.inner, (EStep, MStep));
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Squarem<A> {
    /// The move that is sped up.
    pub inner: A,
    #[serde(skip)]
    points: [Vec<f64>; 3],
}

impl<A> Squarem<A> {
    /// Speeds up `inner`.
    pub fn new(inner: A) -> Squarem<A> {
        Squarem { inner, points: Default::default() }
    }
}

pub(super) fn read<M: Model, Q: Family>(model: &M, q: &Q, out: &mut Vec<f64>) {
    match model.n_theta() {
        0 => {
            out.resize(q.n_params(), 0.0);
            q.params(out);
        }
        n => {
            out.resize(n, 0.0);
            model.theta(out);
        }
    }
}

pub(super) fn write<M: Model, Q: Family>(model: &mut M, q: &mut Q, point: &[f64]) {
    match model.n_theta() {
        0 => q.set_params(point),
        _ => model.set_theta(point),
    }
}

/// `|r| / |v|`: how many moves like the first would go all the way that is left, if moves go on
/// becoming shorter as the second did.
fn reach([p0, p1, p2]: &[Vec<f64>; 3]) -> f64 {
    let (mut r2, mut v2) = (0.0, 0.0);
    for i in 0..p0.len() {
        let r = p1[i] - p0[i];
        let v = p2[i] - p1[i] - r;
        r2 += r * r;
        v2 += v * v;
    }
    (r2 / v2).sqrt()
}

/// What is left to gain after a move that gained `gain`, if moves go on becoming shorter by
/// `1 / reach`: what is left shrinks by the square of that.
pub(super) fn left(gain: f64, reach: f64) -> f64 {
    // A move that turns back has nothing to say.
    if gain > 0.0 && reach > 1.0 {
        let kept = (1.0 - 1.0 / reach).powi(2);
        gain * kept / (1.0 - kept)
    } else {
        0.0
    }
}

/// Overwrites `p0` by the candidate; `false` where the two moves went nowhere, or too far apart to
/// look ahead.
fn extrapolate([p0, p1, p2]: &mut [Vec<f64>; 3], reach: f64) -> bool {
    let a = -reach;
    // a = -1 is p2 itself
    if !a.is_finite() || a > -1.0 {
        return false;
    }
    for i in 0..p0.len() {
        let r = p1[i] - p0[i];
        let v = p2[i] - p1[i] - r;
        p0[i] += a * (a * v - 2.0 * r);
    }
    p0.iter().all(|p| p.is_finite())
}

/// What is sped up must be exact.
pub(super) fn check_inner<M: Model, Q: Family, A: Ascent<M, Q>>(
    name: &str,
    inner: &A,
    model: &M,
    q: &Q,
) -> Result<(), Error> {
    inner.check(model, q)?;
    if inner.exact() {
        return Ok(());
    }
    let remedy = "only an exact move can be sped up, such as (EStep, MStep)";
    Err(Error::option(&format!("the move of {name}"), inner.name(), remedy))
}

impl<M: Model, Q: Family, A: Ascent<M, Q>> Ascent<M, Q> for Squarem<A> {
    fn check(&self, model: &M, q: &Q) -> Result<(), Error> {
        check_inner("Squarem", &self.inner, model, q)
    }
    fn start(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<(), Error> {
        self.inner.start(model, q, rng)
    }
    fn exact(&self) -> bool {
        true
    }
    fn first_name(&self) -> String {
        self.inner.first_name()
    }
    fn step(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<Step, Error> {
        read(model, q, &mut self.points[0]);
        let first = self.inner.step(model, q, rng)?;
        read(model, q, &mut self.points[1]);
        let plain = self.inner.step(model, q, rng)?;
        read(model, q, &mut self.points[2]);
        let between = first.between.or(first.elbo);
        let reach = reach(&self.points);
        let left = first.elbo.zip(plain.elbo).map(|(first, plain)| {
            // less what may be rounding
            left(plain - first - 16.0 * f64::EPSILON * plain.abs(), reach)
        });
        if extrapolate(&mut self.points, reach) {
            write(model, q, &self.points[0]);
            // A candidate from which the move fails is one that is not taken.
            if let Ok(ahead) = self.inner.step(model, q, rng)
                && ahead.elbo >= plain.elbo
            {
                let gained = ahead.elbo.zip(plain.elbo).map_or(0.0, |(now, then)| now - then);
                let left = left.map(|left| (left - gained).max(0.0));
                return Ok(Step { between, left, ..ahead });
            }
            write(model, q, &self.points[1]);
            let again = self.inner.step(model, q, rng)?;
            return Ok(Step { between, left, ..again });
        }
        Ok(Step { between, left, ..plain })
    }
}
