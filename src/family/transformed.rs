//! `Transformed`: a family seen through a fixed one-to-one map, with the Jacobian accounted for.

mod affine;
mod natural_scale;

pub use affine::Affine;
pub use natural_scale::NaturalScale;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Divergence, Family, Reparameterized, Scored, Smooth};
use crate::bijector::Support;
use crate::error::Error;
use crate::scratch::with_buffer;

/// Points that are looked at together.
const AT_ONCE: usize = 40;

/// A smooth one-to-one map `z = f(y)` from `R^k`, fixed: it has nothing to learn.
pub trait Bijection {
    /// `k`: how many coordinates `y` has.
    fn dim(&self) -> usize;
    /// How many coordinates `z` has: more than `y` where they are tied, as on a simplex.
    fn image_dim(&self) -> usize {
        self.dim()
    }
    /// Where coordinate `i` of `z` lives.
    fn support(&self, _i: usize) -> Support {
        Support::Real
    }
    /// Writes `z = f(y)` and returns `log|det df/dy|`.
    fn forward(&self, y: &[f64], z: &mut [f64]) -> f64;
    /// Writes `y = f^-1(z)` and returns `log|det df/dy|` there; `None` where no `y` maps to `z`.
    fn inverse(&self, z: &[f64], y: &mut [f64]) -> Option<f64>;
    /// [`Bijection::forward`] of every point, one after another. Override to share work.
    fn forward_batch(&self, y: &[f64], z: &mut [f64], log_det: &mut [f64]) {
        let (k, d) = (self.dim().max(1), self.image_dim().max(1));
        let points = y.chunks_exact(k).zip(z.chunks_exact_mut(d));
        for ((y, z), log_det) in points.zip(log_det) {
            *log_det = self.forward(y, z);
        }
    }
    /// [`Bijection::inverse`] of every point; where no `y` maps to `z`, `y` is 0 and `log_det`
    /// infinite. Override to share work.
    fn inverse_batch(&self, z: &[f64], y: &mut [f64], log_det: &mut [f64]) {
        let (k, d) = (self.dim().max(1), self.image_dim().max(1));
        let points = y.chunks_exact_mut(k).zip(z.chunks_exact(d));
        for ((y, z), log_det) in points.zip(log_det) {
            *log_det = self.inverse(z, y).unwrap_or_else(|| {
                y.fill(0.0);
                f64::INFINITY
            });
        }
    }
    /// Adds to `dy` the gradient in `y` of `<dz, f(y)> + weight log|det df/dy|`.
    fn pull_back(&self, y: &[f64], dz: &[f64], weight: f64, dy: &mut [f64]);
    /// `log|det df/dy|` where it is the same everywhere.
    fn constant_log_det(&self) -> Option<f64> {
        None
    }
}

/// The distribution of `z = f(y)`, `y` from `base`: `log q(z) = log base(y) - log|det df/dy|`.
/// Its parameters are those of `base`; it can do what `base` can.
///
/// ```
/// use elbo::{Affine, Family, MeanFieldGaussian, NaturalScale, Space, Transformed};
/// // a log-normal
/// let mut space = Space::new();
/// space.positive("tau");
/// let q = Transformed::new(MeanFieldGaussian::standard(1), NaturalScale::new(&space))?;
/// assert!((q.log_prob(&[2.0]) - (-0.5 * 2f64.ln().powi(2) - 2f64.ln() - 0.9189385332)).abs() < 1e-9);
/// // a normal with mean 3 and sd 2
/// let q = Transformed::new(MeanFieldGaussian::standard(1), Affine::diagonal(vec![3.0], &[2.0])?)?;
/// assert!((q.log_prob(&[5.0]) - (-0.5 - 2f64.ln() - 0.9189385332)).abs() < 1e-9);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transformed<Q, F> {
    base: Q,
    map: F,
}

/// What a draw of [`Transformed`] keeps for the way back.
#[derive(Clone, Debug, Default)]
pub struct Kept<R> {
    base: R,
    y: Vec<f64>,
}

impl<Q: Family, F: Bijection> Transformed<Q, F> {
    /// `base` seen through `map`.
    ///
    /// # Errors
    /// Dimensions that do not agree; a base that does not live on `R^k`.
    pub fn new(base: Q, map: F) -> Result<Self, Error> {
        Error::expect_len("the base family", base.dim(), "the map", map.dim())?;
        if let Some(i) = (0..base.dim()).find(|&i| base.support(i) != Support::Real) {
            let name = format!("coordinate {i} of the map's domain");
            let (support, family) = (Support::Real.name(), base.support(i).name());
            return Err(Error::SupportMismatch { name, support, family });
        }
        Ok(Transformed { base, map })
    }

    /// The family before the map.
    pub fn base(&self) -> &Q {
        &self.base
    }

    /// The map.
    pub fn map(&self) -> &F {
        &self.map
    }

    /// Finds `y` and `log|det df/dy|` and hands them to `f`.
    fn with_preimage<T>(&self, z: &[f64], f: impl FnOnce(&[f64], f64) -> T) -> Option<T> {
        with_buffer(self.base.dim(), |y| {
            let log_det = self.map.inverse(z, y)?;
            Some(f(y, log_det))
        })
    }
}

impl<Q: Family, F: Bijection> Family for Transformed<Q, F> {
    fn dim(&self) -> usize {
        self.map.image_dim()
    }
    fn support(&self, i: usize) -> Support {
        self.map.support(i)
    }
    fn n_params(&self) -> usize {
        self.base.n_params()
    }
    fn params(&self, out: &mut [f64]) {
        self.base.params(out);
    }
    fn set_params(&mut self, params: &[f64]) {
        self.base.set_params(params);
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        let draws = z.len() / self.map.image_dim().max(1);
        with_buffer(draws * self.map.dim(), |y| {
            self.base.sample(rng, y);
            with_buffer(draws, |log_det| self.map.forward_batch(y, z, log_det));
        });
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        self.with_preimage(z, |y, log_det| self.base.log_prob(y) - log_det)
            .unwrap_or(f64::NEG_INFINITY)
    }
    fn log_prob_batch(&self, z: &[f64], out: &mut [f64]) {
        let (k, d) = (self.map.dim(), self.map.image_dim().max(1));
        for (z, out) in z.chunks(AT_ONCE * d).zip(out.chunks_mut(AT_ONCE)) {
            with_buffer(out.len() * (k + 1), |buffer| {
                let (log_det, y) = buffer.split_at_mut(out.len());
                self.map.inverse_batch(z, y, log_det);
                self.base.log_prob_batch(y, out);
                out.iter_mut().zip(log_det).for_each(|(o, det)| *o -= *det);
            });
        }
    }
    fn entropy(&self) -> Option<f64> {
        Some(self.base.entropy()? + self.map.constant_log_det()?)
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.base.subsample(rows);
    }
}

impl<Q: Scored, F: Bijection> Scored for Transformed<Q, F> {
    fn add_score(&self, z: &[f64], weight: f64, grad: &mut [f64]) {
        self.with_preimage(z, |y, _| self.base.add_score(y, weight, grad));
    }
}

impl<Q: Reparameterized, F: Bijection> Reparameterized for Transformed<Q, F> {
    type Residuals = Kept<Q::Residuals>;

    fn noise_dim(&self) -> usize {
        self.base.noise_dim()
    }
    fn draw_noise(&self, rng: &mut dyn Rng, eps: &mut [f64]) {
        self.base.draw_noise(rng, eps);
    }
    fn transport(
        &self,
        eps: &[f64],
        z: &mut [f64],
        log_q: &mut [f64],
        kept: &mut Kept<Q::Residuals>,
    ) {
        kept.y.resize(log_q.len() * self.map.dim(), 0.0);
        self.base.transport(eps, &mut kept.y, log_q, &mut kept.base);
        with_buffer(log_q.len(), |log_det| {
            self.map.forward_batch(&kept.y, z, log_det);
            log_q.iter_mut().zip(log_det).for_each(|(q, det)| *q -= *det);
        });
    }
    fn pull_back(
        &self,
        eps: &[f64],
        kept: &Kept<Q::Residuals>,
        dz: &[f64],
        dlog_q: &[f64],
        grad: &mut [f64],
    ) {
        let (k, d) = (self.map.dim().max(1), self.map.image_dim().max(1));
        with_buffer(kept.y.len(), |dy| {
            dy.fill(0.0);
            let draws = kept.y.chunks_exact(k).zip(dy.chunks_exact_mut(k));
            for (((y, dy), dz), c) in draws.zip(dz.chunks_exact(d)).zip(dlog_q) {
                self.map.pull_back(y, dz, -c, dy);
            }
            self.base.pull_back(eps, &kept.base, dy, dlog_q, grad);
        });
    }
}

impl<Q: Smooth> Smooth for Transformed<Q, Affine> {
    fn log_prob_grad(&self, eps: &[f64], kept: &Kept<Q::Residuals>, _z: &[f64], grad: &mut [f64]) {
        self.base.log_prob_grad(eps, &kept.base, &kept.y, grad);
        self.map.solve_transposed(grad);
    }
}

impl<Q: Divergence, F: Bijection + PartialEq> Divergence for Transformed<Q, F> {
    /// A one-to-one map leaves the divergence as it is; NaN where the two maps differ.
    fn kl(&self, p: &Self) -> f64 {
        if self.map == p.map { self.base.kl(&p.base) } else { f64::NAN }
    }
}
