//! `FixedDraws`: noise drawn once, an ELBO without noise, climbed to its top by L-BFGS.

mod linear_response;
mod noise;

pub use linear_response::LinearResponse;
pub use noise::FixedNoise;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::gradient::{check_pair, read, write};
use super::{Ascent, Step};
use crate::error::Error;
use crate::estimator::NonFinite;
use crate::family::Reparameterized;
use crate::laplace::describe;
use crate::minimize::{Ending, Limits, minimize};
use crate::model::{Differentiable, Model};

/// Maximizes `(1/N) sum_n [log p(x, T_lambda(eps_n)) - log q(T_lambda(eps_n))]` over
/// `[theta | lambda]` with `eps_1 .. eps_N` drawn once: deterministic ADVI (Giordano, Ingram and
/// Broderick 2024), or sample average approximation (Burroni, Domke and Sheldon 2023).
///
/// The objective has no noise, so L-BFGS climbs it to the top and knows when it is there: the
/// solver's own reason for stopping is passed on in [`Step::converged`]. A step that runs out of
/// iterations is continued by the next, on the same draws.
///
/// The ELBO a step reports is that over its own draws (with the entropy in closed form where the
/// family has one). The parameters were chosen to make it high, so it is optimistic: judge a fit
/// by fresh draws.
///
/// A full covariance needs more draws than coordinates, or the objective is unbounded: refused with
/// E07.
///
/// Each step allocates: the solver keeps its own vectors.
///
/// ```
/// use elbo::{FixedDraws, FixedNoise, MeanFieldGaussian, Options, Space, density, fit, from_fn};
/// let mut space = Space::new();
/// let (a, b) = (space.real("a"), space.real("b"));
/// let model = from_fn(space, move |z| {
///     density::normal(z[a], 1.0, 2.0) + density::normal(z[b], z[a], 1.0)
/// });
/// // draws matched to the moments of the noise make the answer for a normal posterior exact
/// let ascent = FixedDraws { noise: FixedNoise::MomentMatched, ..FixedDraws::new(8) }.draw(2, 1);
/// let fit = fit(model, MeanFieldGaussian::standard(2), ascent.clone(), Options::default())?;
/// assert!((fit.q.mean()[1] - 1.0).abs() < 1e-7);
/// assert!((fit.q.sd()[0] - 1.25f64.sqrt().recip()).abs() < 1e-7);
/// // mean field is too narrow; its linear response is not
/// let response = ascent.linear_response(&fit.model, &fit.q)?;
/// assert!((response.covariance[(0, 0)] - 4.0).abs() < 1e-6);
/// assert!((response.covariance[(1, 1)] - 5.0).abs() < 1e-6);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FixedDraws {
    /// `N`: how many draws.
    pub draws: usize,
    /// How they are drawn, if they are.
    pub noise: FixedNoise,
    /// Length of the gradient, relative to `max(1, |ELBO|)`, at which the top is reached.
    pub tolerance: f64,
    /// The most iterations of L-BFGS in one step.
    pub iterations: u64,
    /// The draws, `noise_dim x N`, one after another; empty until they are made.
    pub eps: Vec<f64>,
}

impl FixedDraws {
    /// `draws` independent draws, made at the first step; 30 are the authors' default.
    pub fn new(draws: usize) -> FixedDraws {
        let noise = FixedNoise::Independent;
        FixedDraws { draws, noise, tolerance: 1e-8, iterations: 2000, eps: Vec::new() }
    }

    /// These draws of the noise, one after another: `noise_dim x draws` numbers.
    pub fn with_draws(eps: &[f64], draws: usize) -> FixedDraws {
        FixedDraws { noise: FixedNoise::Given, eps: eps.to_vec(), ..FixedDraws::new(draws) }
    }

    /// Draws the noise now, as standard normals from a seed, instead of at the first step: a copy
    /// kept aside still knows it when the fit is over, as [`FixedDraws::linear_response`] needs.
    pub fn draw(mut self, noise_dim: usize, seed: u64) -> FixedDraws {
        let mut rng = crate::noise::stream(seed, crate::noise::Purpose::Step, 0);
        let mut normal = |eps: &mut [f64]| crate::noise::fill_normal(&mut rng, eps);
        self.eps = self.noise.draw(noise_dim, self.draws, &mut normal).unwrap_or(self.eps);
        self
    }

    /// Says what is wrong with draws for noise of this dimension.
    fn check_noise(&self, noise_dim: usize) -> Result<(), Error> {
        if self.draws < 2 {
            let remedy = "take 2 or more: with one, spreading out costs nothing";
            return Err(Error::option("draws", self.draws, remedy));
        }
        if self.noise == FixedNoise::Given {
            let right = format!("{} draws of dimension {noise_dim}", self.draws);
            Error::expect_len("the given noise", self.eps.len(), &right, self.draws * noise_dim)?;
        }
        if let Some(i) = self.eps.iter().position(|e| !e.is_finite()) {
            let (draw, coordinate) = (i / noise_dim.max(1) + 1, i % noise_dim.max(1) + 1);
            return Err(Error::Data {
                place: format!("the given noise, draw {draw}, coordinate {coordinate},"),
                value: self.eps[i].to_string(),
                count: String::new(),
                remedy: "Noise must be finite.".to_string(),
            });
        }
        Ok(())
    }
}

impl Default for FixedDraws {
    fn default() -> Self {
        FixedDraws::new(30)
    }
}

/// What one evaluation of the objective writes to.
#[derive(Default)]
struct Buffers<R> {
    z: Vec<f64>,
    log_p: Vec<f64>,
    log_q: Vec<f64>,
    dz: Vec<f64>,
    dlog_q: Vec<f64>,
    residuals: R,
}

/// The mean of `log p - log q` over the draws, and its gradient in `[theta | lambda]`, which is
/// overwritten.
fn objective<M: Differentiable, Q: Reparameterized>(
    model: &M,
    q: &Q,
    eps: &[f64],
    b: &mut Buffers<Q::Residuals>,
    grad: &mut [f64],
) -> f64 {
    let n = b.log_p.len();
    let share = 1.0 / n as f64;
    grad.fill(0.0);
    let (grad_theta, grad_lambda) = grad.split_at_mut(model.n_theta());
    q.transport(eps, &mut b.z, &mut b.log_q, &mut b.residuals);
    model.log_joint_grad_batch(&b.z, &mut b.log_p, &mut b.dz, grad_theta);
    b.dz.iter_mut().for_each(|d| *d *= share);
    b.dlog_q.fill(-share);
    q.pull_back(eps, &b.residuals, &b.dz, &b.dlog_q, grad_lambda);
    b.log_p.iter().zip(&b.log_q).map(|(p, q)| p - q).sum::<f64>() * share
}

impl<M: Differentiable, Q: Reparameterized> Ascent<M, Q> for FixedDraws {
    fn check(&self, model: &M, q: &Q) -> Result<(), Error> {
        check_pair(model, q)?;
        self.check_noise(q.noise_dim())?;
        if !(self.tolerance.is_finite() && self.tolerance > 0.0) {
            let remedy = "it must be positive; 1e-8 is a good value";
            return Err(Error::option("tolerance", self.tolerance, remedy));
        }
        if self.iterations == 0 {
            return Err(Error::option("iterations", 0, "allow at least one"));
        }
        let d = q.dim();
        if self.draws <= d && q.n_params() >= d * (d + 3) / 2 {
            return Err(Error::Unbounded {
                what: format!(
                    "{} draws leave directions of the {d} coordinates unseen, in which a full \
                     covariance can grow for nothing",
                    self.draws
                ),
                remedy: format!("take more than {d} draws, or a mean-field or low-rank family"),
            });
        }
        Ok(())
    }

    fn finishes(&self) -> bool {
        true
    }

    fn step(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<Step, Error> {
        let (n, k, d) = (self.draws, q.noise_dim(), q.dim());
        if self.eps.len() != n * k {
            let mut fill = |eps: &mut [f64]| q.draw_noise(rng, eps);
            self.eps = self.noise.draw(k, n, &mut fill).unwrap_or_default();
            self.check_noise(k)?;
        }
        let mut b = Buffers::<Q::Residuals> {
            z: vec![0.0; n * d],
            log_p: vec![0.0; n],
            log_q: vec![0.0; n],
            dz: vec![0.0; n * d],
            dlog_q: vec![0.0; n],
            residuals: Q::Residuals::default(),
        };
        let mut start = Vec::new();
        read(&*model, &*q, &mut start);
        let limits = Limits { iterations: self.iterations, gradient: self.tolerance, change: 0.0 };
        let mut downhill = |params: &[f64], grad: &mut [f64]| {
            write(model, q, params);
            let value = objective(&*model, &*q, &self.eps, &mut b, grad);
            grad.iter_mut().for_each(|g| *g = -*g);
            -value
        };
        let found = minimize(&mut downhill, &start, &limits);
        let Some(found) = found else {
            write(model, q, &start);
            return Err(bad_start(model, d, &b));
        };
        write(model, q, &found.point);
        let mut elbo = -found.value;
        if let Some(entropy) = q.entropy().filter(|e| e.is_finite()) {
            q.transport(&self.eps, &mut b.z, &mut b.log_q, &mut b.residuals);
            elbo += entropy + b.log_q.iter().sum::<f64>() / n as f64;
        }
        let size = found.gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let arrived = found.ending != Ending::Limit;
        let converged = arrived.then(|| format!("{n} fixed draws: {}", found.reason));
        Ok(Step { elbo: Some(elbo), grad_norm: Some(size), converged, ..Step::default() })
    }
}

/// Names the draw of the starting `q` at which the model is not finite.
fn bad_start<M: Model, R>(model: &M, d: usize, b: &Buffers<R>) -> Error {
    let bad = NonFinite::find(d, &b.z, &b.log_p, &b.log_q, &b.dz);
    let (z, value, draw) = match &bad {
        Some(bad) => (&bad.z[..], bad.log_joint, bad.draw + 1),
        None => (&b.z[..d], b.log_p[0], 1),
    };
    Error::Start {
        value,
        point: describe(&model.space(), z),
        remedy: format!(
            "that is draw {draw} of {} of the starting q; start from a q whose draws the model can \
             take, narrower or elsewhere",
            b.log_p.len()
        ),
    }
}
