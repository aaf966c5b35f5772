//! `Anderson`: an exact move, sped up by what its last steps had in common.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::squarem::{check_inner, left, read, write};
use super::{Ascent, Step};
use crate::error::Error;
use crate::family::Family;
use crate::lossless;
use crate::model::Model;

/// Anderson's acceleration of an exact move such as `(EStep, MStep)` (Anderson 1965; Henderson and
/// Varadhan 2019 for EM).
///
/// A move leads from `p` to `G(p)`; it has arrived where `f(p) = G(p) - p` is 0. The differences of
/// the last `depth` of these, `dF`, and of what they led to, `dG`, say how `f` changes from place to
/// place: the candidate is `G(p) - dG c` with the `c` that makes `|f - dF c|` smallest, which is
/// Newton's step as far as the directions walked so far go. One move is made from there, and the
/// result kept if its ELBO is at least as high as before; otherwise the run goes on from `G(p)` and
/// forgets the directions. `p` is the model's `theta` in its unconstrained coordinates, or the
/// parameters of `q` where the model has none.
///
/// A step costs one move, or two where the candidate is not kept, and never descends. Where EM crawls
/// ([`Squarem`](super::Squarem) looks ahead along one direction only) it often needs a hundredth of
/// the moves. Where a climb still speeds up, as on its way from a saddle, candidates are not kept, and
/// `Squarem` is the faster of the two. It remembers `4 (depth + 1)` times as many numbers as `p` has.
///
/// ```
/// use elbo::models::state_space::LocalTrend;
/// use elbo::{Anderson, EStep, MStep, Options, data::NILE, fit};
/// let model = LocalTrend::trend(&NILE)?;
/// let q = model.start();
/// // the drift of the slope vanishes: EM alone takes a hundred thousand steps
/// let fit = fit(model, q, Anderson::new((EStep, MStep)), Options::exact())?;
/// assert!(fit.trace.len() < 100 && fit.model.drift()[1] < 1e-6);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Anderson<A> {
    /// The move that is sped up.
    pub inner: A,
    /// How many differences are remembered.
    pub depth: usize,
    /// The last places, the oldest first, and what the move made of each.
    #[serde(with = "lossless::many")]
    from: Vec<f64>,
    #[serde(with = "lossless::many")]
    to: Vec<f64>,
    /// The ELBO of the last.
    #[serde(with = "lossless::maybe")]
    elbo: Option<f64>,
    #[serde(with = "lossless::maybe")]
    left: Option<f64>,
    #[serde(skip)]
    room: Room,
}

#[derive(Clone, Debug, Default)]
struct Room {
    /// Orthonormal differences of `f`, and what the same sums of differences are in `G(p)`.
    off: Vec<f64>,
    to: Vec<f64>,
    candidate: Vec<f64>,
    now: Vec<f64>,
}

/// The share of a difference that must be new beside the later ones: the rest is rounding.
const NEW: f64 = 1e-9;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn subtract(scale: f64, from: &[f64], out: &mut [f64]) {
    out.iter_mut().zip(from).for_each(|(o, x)| *o -= scale * x);
}

impl<A> Anderson<A> {
    /// Speeds up `inner`, remembering ten differences.
    pub fn new(inner: A) -> Anderson<A> {
        let (from, to) = (Vec::new(), Vec::new());
        Anderson { inner, depth: 10, from, to, elbo: None, left: None, room: Room::default() }
    }

    /// Makes room for all that will be remembered, so that no later step has to.
    fn make_room(&mut self, dim: usize) {
        let all = (self.depth + 1) * dim;
        for list in [&mut self.from, &mut self.to] {
            list.reserve_exact(all.saturating_sub(list.len()));
        }
        self.room.off.resize(self.depth * dim, 0.0);
        self.room.to.resize(self.depth * dim, 0.0);
    }

    /// Writes the candidate; `false` where there is nothing to look ahead by.
    fn look_ahead(&mut self, dim: usize) -> bool {
        let known = self.from.len() / dim.max(1);
        if known < 2 {
            return false;
        }
        let Room { off, to, candidate, now } = &mut self.room;
        let f = |k: usize, i: usize| self.to[k * dim + i] - self.from[k * dim + i];
        candidate.clear();
        candidate.extend_from_slice(&self.to[(known - 1) * dim..]);
        now.clear();
        now.extend((0..dim).map(|i| f(known - 1, i)));
        let mut kept = 0;
        // the latest difference first: what it says holds nearest by
        for k in (0..known - 1).rev() {
            let (done, own) = off.split_at_mut(kept * dim);
            let (done_to, own_to) = to.split_at_mut(kept * dim);
            let (own, own_to) = (&mut own[..dim], &mut own_to[..dim]);
            for i in 0..dim {
                own[i] = f(k + 1, i) - f(k, i);
                own_to[i] = self.to[(k + 1) * dim + i] - self.to[k * dim + i];
            }
            let whole = dot(own, own).sqrt();
            // twice, for what rounding leaves
            for _ in 0..2 {
                for (d, t) in done.chunks_exact(dim).zip(done_to.chunks_exact(dim)) {
                    let along = dot(d, own);
                    subtract(along, d, own);
                    subtract(along, t, own_to);
                }
            }
            let new = dot(own, own).sqrt();
            if new.is_nan() || new <= NEW * whole {
                continue;
            }
            own.iter_mut().for_each(|x| *x /= new);
            own_to.iter_mut().for_each(|x| *x /= new);
            subtract(dot(own, now), own_to, candidate);
            kept += 1;
        }
        kept > 0 && candidate.iter().all(|p| p.is_finite())
    }

    /// Remembers that the move led from `from` to `to`.
    fn remember<M: Model, Q: Family>(&mut self, model: &M, q: &Q, dim: usize) {
        if self.from.len() > self.depth * dim {
            self.from.drain(..dim);
            self.to.drain(..dim);
        }
        read(model, q, &mut self.room.now);
        self.from.extend_from_slice(&self.room.candidate);
        self.to.extend_from_slice(&self.room.now);
    }

    /// `|f_1| / |f_2 - f_1|` of the last two places, one of which led to the other.
    fn reach(&self, dim: usize) -> f64 {
        let Some(first) = self.from.len().checked_sub(2 * dim) else { return 0.0 };
        let (mut r2, mut v2) = (0.0, 0.0);
        for i in first..first + dim {
            let r = self.to[i] - self.from[i];
            let v = self.to[i + dim] - self.from[i + dim] - r;
            r2 += r * r;
            v2 += v * v;
        }
        (r2 / v2).sqrt()
    }
}

impl<M: Model, Q: Family, A: Ascent<M, Q>> Ascent<M, Q> for Anderson<A> {
    fn check(&self, model: &M, q: &Q) -> Result<(), Error> {
        check_inner("Anderson", &self.inner, model, q)?;
        if self.depth == 0 {
            let remedy = "remember at least one difference, or use the move without Anderson";
            return Err(Error::option("depth of Anderson", 0, remedy));
        }
        Ok(())
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
        read(model, q, &mut self.room.now);
        let dim = self.room.now.len();
        self.make_room(dim);
        if self.look_ahead(dim) {
            write(model, q, &self.room.candidate);
            // A candidate from which the move fails is one that is not taken.
            if let Ok(ahead) = self.inner.step(model, q, rng)
                && ahead.elbo >= self.elbo
            {
                let gained = ahead.elbo.zip(self.elbo).map_or(0.0, |(now, then)| now - then);
                self.left = self.left.map(|left| (left - gained).max(0.0));
                self.elbo = ahead.elbo;
                self.remember(model, q, dim);
                return Ok(Step { between: None, left: self.left, ..ahead });
            }
            let last = self.to.len() - dim;
            write(model, q, &self.to[last..]);
            self.from.drain(..last);
            self.to.drain(..last);
        }
        read(model, q, &mut self.room.candidate);
        let step = self.inner.step(model, q, rng)?;
        self.remember(model, q, dim);
        let reach = self.reach(dim);
        self.left = self.elbo.zip(step.elbo).map(|(before, now)| {
            // less what may be rounding
            left(now - before - 16.0 * f64::EPSILON * now.abs(), reach)
        });
        self.elbo = step.elbo;
        Ok(Step { left: self.left, ..step })
    }
}
