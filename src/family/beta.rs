//! `Beta`: independent beta distributions on the unit interval, with exact path gradients.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Divergence, Family, Reparameterized, Scored, Smooth};
use crate::bijector::Support;
use crate::error::Error;
use crate::incomplete_beta::{log_beta, log_kernel, log_sigmoid, quantile, quantile_slopes};
use crate::noise::fill_normal;
use crate::special::polygamma;

/// Shapes stay above this.
const FLOOR: f64 = 1e-4;

/// `q(z) = prod_i z_i^(a_i - 1) (1 - z_i)^(b_i - 1) / B(a_i, b_i)` on `0 < z_i < 1`:
/// `lambda = [ln(a - 1e-4) | ln(b - 1e-4)]`.
///
/// A draw is the quantile of standard normal noise, `I_z(a, b) = Phi(eps)`, so that draws move
/// smoothly with the shapes; their slopes are implicit, `dz/da = -(dI_z/da) / q(z)` (Figurnov,
/// Mohamed and Mnih 2018), with `dI_z/da` in double precision from a differentiated continued
/// fraction. Draws that round to 0 or 1, as small shapes make them, are moved to the nearest
/// number inside.
///
/// ```
/// use elbo::{Beta, Family};
/// let q = Beta::new(&[15.0], &[9.0])?;
/// assert!((q.mean()[0] - 15.0 / 24.0).abs() < 1e-15);
/// assert!((q.shapes(0).0 - 15.0).abs() < 1e-12);
/// assert!(Beta::uniform(2).log_prob(&[0.3, 0.9]).abs() < 1e-15);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Beta {
    lambda: Vec<f64>,
    /// `[a | b]`, a function of `lambda`
    shapes: Vec<f64>,
    /// `ln B(a_i, b_i)`
    log_beta: Vec<f64>,
}

/// What a file keeps.
#[derive(Serialize, Deserialize)]
struct Saved {
    lambda: Vec<f64>,
}

impl From<Beta> for Saved {
    fn from(q: Beta) -> Saved {
        Saved { lambda: q.lambda }
    }
}

impl TryFrom<Saved> for Beta {
    type Error = Error;

    fn try_from(saved: Saved) -> Result<Beta, Error> {
        let mut q = Beta::uniform(saved.lambda.len() / 2);
        let (n, m) = (saved.lambda.len(), q.lambda.len());
        Error::expect_len("the saved lambda", n, "two numbers for each coordinate", m)?;
        q.set_params(&saved.lambda);
        Ok(q)
    }
}

impl Beta {
    /// Uniform in every coordinate: both shapes 1.
    pub fn uniform(dim: usize) -> Self {
        Beta::from_shapes(vec![1.0; 2 * dim])
    }

    /// Shapes `a` and `b` of each coordinate.
    ///
    /// # Errors
    /// Different lengths, or a shape that is not a number above `1e-4`.
    pub fn new(a: &[f64], b: &[f64]) -> Result<Self, Error> {
        Error::expect_len("a", a.len(), "b", b.len())?;
        for (name, shapes) in [("a", a), ("b", b)] {
            if let Some(i) = shapes.iter().position(|s| !(s.is_finite() && *s > FLOOR)) {
                let remedy = "a shape must be finite and above 1e-4";
                return Err(Error::option(&format!("{name}[{i}]"), shapes[i], remedy));
            }
        }
        Ok(Beta::from_shapes([a, b].concat()))
    }

    fn from_shapes(shapes: Vec<f64>) -> Self {
        let lambda = shapes.iter().map(|s| (s - FLOOR).ln()).collect();
        let log_beta = vec![0.0; shapes.len() / 2];
        let mut q = Beta { lambda, shapes, log_beta };
        q.refresh();
        q
    }

    /// The shapes `(a, b)` of coordinate `i`.
    ///
    /// # Panics
    /// Where there is no coordinate `i`.
    pub fn shapes(&self, i: usize) -> (f64, f64) {
        (self.shapes[i], self.shapes[self.dim() + i])
    }

    /// The means, `a / (a + b)`.
    pub fn mean(&self) -> Vec<f64> {
        self.pairs().map(|(a, b)| a / (a + b)).collect()
    }

    /// The standard deviations.
    pub fn sd(&self) -> Vec<f64> {
        self.pairs().map(|(a, b)| (a / (a + b) * (b / (a + b)) / (a + b + 1.0)).sqrt()).collect()
    }

    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> {
        let (a, b) = self.shapes.split_at(self.dim());
        a.iter().copied().zip(b.iter().copied())
    }

    /// Makes `shapes` and `log_beta` from `lambda`.
    fn refresh(&mut self) {
        self.shapes.iter_mut().zip(&self.lambda).for_each(|(s, l)| *s = FLOOR + l.exp());
        let (a, b) = self.shapes.split_at(self.log_beta.len());
        let shapes = a.iter().zip(b);
        self.log_beta.iter_mut().zip(shapes).for_each(|(l, (a, b))| *l = log_beta(*a, *b));
    }

    /// `dshape/dlambda`
    fn slope(&self, k: usize) -> f64 {
        self.shapes[k] - FLOOR
    }

    /// Adds `weight` times the gradient in `lambda` of `log q(z)`, `z` fixed.
    fn add_score_of(&self, i: usize, z: f64, weight: f64, grad: &mut [f64]) {
        let (a, b) = self.shapes(i);
        let common = polygamma(0, a + b);
        let d = self.dim();
        grad[i] += weight * self.slope(i) * (z.ln() + common - polygamma(0, a));
        grad[d + i] += weight * self.slope(d + i) * ((-z).ln_1p() + common - polygamma(0, b));
    }

    fn log_density(&self, i: usize, z: f64) -> f64 {
        if !(z > 0.0 && z < 1.0) {
            return f64::NEG_INFINITY;
        }
        let (a, b) = self.shapes(i);
        let (ln_x, ln_y) = (z.ln(), (-z).ln_1p());
        if a.min(b) < 10.0 {
            return (a - 1.0) * ln_x + (b - 1.0) * ln_y - self.log_beta[i];
        }
        log_kernel(a, b, ln_x, ln_y) - ln_x - ln_y
    }
}

/// `sigmoid(w)`, strictly inside the unit interval.
fn inside(w: f64) -> f64 {
    log_sigmoid(w).exp().clamp(f64::MIN_POSITIVE, 1.0 - 0.5 * f64::EPSILON)
}

impl Family for Beta {
    fn dim(&self) -> usize {
        self.log_beta.len()
    }
    fn support(&self, _i: usize) -> Support {
        Support::Unit
    }
    fn n_params(&self) -> usize {
        self.lambda.len()
    }
    fn params(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.lambda);
    }
    fn set_params(&mut self, params: &[f64]) {
        self.lambda.copy_from_slice(params);
        self.refresh();
    }
    /// By the quantile, not by rejection, so that one stream of noise gives comparable draws at
    /// different parameters.
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        fill_normal(rng, z);
        for z in z.chunks_exact_mut(self.dim().max(1)) {
            for (z, (a, b)) in z.iter_mut().zip(self.pairs()) {
                *z = inside(quantile(a, b, *z));
            }
        }
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        z.iter().enumerate().map(|(i, &z)| self.log_density(i, z)).sum()
    }
    fn entropy(&self) -> Option<f64> {
        let psi = |x| polygamma(0, x);
        let term = |((a, b), log_beta): ((f64, f64), f64)| {
            log_beta - (a - 1.0) * psi(a) - (b - 1.0) * psi(b) + (a + b - 2.0) * psi(a + b)
        };
        Some(self.pairs().zip(self.log_beta.iter().copied()).map(term).sum())
    }
}

impl Scored for Beta {
    fn add_score(&self, z: &[f64], weight: f64, grad: &mut [f64]) {
        for (i, &z) in z.iter().enumerate() {
            self.add_score_of(i, z, weight, grad);
        }
    }
}

/// What a draw of [`Beta`] keeps for the way back.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    z: Vec<f64>,
    /// `dz/dlambda_a` and `dz/dlambda_b` of each coordinate of each draw
    slopes: Vec<[f64; 2]>,
}

impl Reparameterized for Beta {
    type Residuals = Paths;

    fn transport(&self, eps: &[f64], z: &mut [f64], log_q: &mut [f64], paths: &mut Paths) {
        let d = self.dim().max(1);
        paths.slopes.resize(z.len(), [0.0; 2]);
        let draws = eps.chunks_exact(d).zip(z.chunks_exact_mut(d));
        for ((draw, log_q), slopes) in draws.zip(log_q).zip(paths.slopes.chunks_exact_mut(d)) {
            let (eps, z) = draw;
            for (i, (a, b)) in self.pairs().enumerate() {
                let w = quantile(a, b, eps[i]);
                let [wa, wb] = quantile_slopes(a, b, eps[i], w);
                // dz/dw = z (1 - z)
                let bend = (log_sigmoid(w) + log_sigmoid(-w)).exp();
                slopes[i] = [bend * wa * self.slope(i), bend * wb * self.slope(d + i)];
                z[i] = inside(w);
            }
            *log_q = self.log_prob(z);
        }
        paths.z.clear();
        paths.z.extend_from_slice(z);
    }

    fn pull_back(&self, _eps: &[f64], paths: &Paths, dz: &[f64], dlog_q: &[f64], grad: &mut [f64]) {
        let d = self.dim().max(1);
        let draws = paths.z.chunks_exact(d).zip(paths.slopes.chunks_exact(d));
        for (((z, slopes), dz), &c) in draws.zip(dz.chunks_exact(d)).zip(dlog_q) {
            for (i, (a, b)) in self.pairs().enumerate() {
                let pull = dz[i] + c * ((a - 1.0) / z[i] - (b - 1.0) / (1.0 - z[i]));
                grad[i] += pull * slopes[i][0];
                grad[d + i] += pull * slopes[i][1];
                if c != 0.0 {
                    self.add_score_of(i, z[i], c, grad);
                }
            }
        }
    }
}

impl Smooth for Beta {
    fn log_prob_grad(&self, _eps: &[f64], _: &Paths, z: &[f64], grad: &mut [f64]) {
        let d = self.dim().max(1);
        for (z, grad) in z.chunks_exact(d).zip(grad.chunks_exact_mut(d)) {
            for (i, (a, b)) in self.pairs().enumerate() {
                grad[i] = (a - 1.0) / z[i] - (b - 1.0) / (1.0 - z[i]);
            }
        }
    }
}

impl Divergence for Beta {
    fn kl(&self, p: &Self) -> f64 {
        let psi = |x| polygamma(0, x);
        let term = |i: usize| {
            let ((a, b), (pa, pb)) = (self.shapes(i), p.shapes(i));
            p.log_beta[i] - self.log_beta[i]
                + (a - pa) * psi(a)
                + (b - pb) * psi(b)
                + (pa - a + pb - b) * psi(a + b)
        };
        (0..self.dim()).map(term).sum()
    }
}
