//! `LinearResponse`: the covariance that mean field lacks, from how its means move.

use nalgebra::DMatrix;

use super::FixedDraws;
use crate::error::Error;
use crate::family::{Family, MeanFieldGaussian};
use crate::laplace::{factor_of_inverse, precision};
use crate::model::TwiceDifferentiable;
use crate::triangle;

/// The most coordinates for which the whole matrix is built.
const DENSE: usize = 500;
/// Residual of conjugate gradients, relative to its start.
const RESIDUAL: f64 = 1e-10;

/// What the curvature of the fixed-draw objective says about the posterior and about the draws.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearResponse {
    /// The covariance of the posterior: exact where it is normal and the draws match its moments.
    pub covariance: DMatrix<f64>,
    /// Standard error of each mean, from there being so few draws; for independent ones.
    pub mean_error: Vec<f64>,
    /// The same of each logarithm of an sd.
    pub log_sd_error: Vec<f64>,
    /// What had to be changed to make the curvature positive definite; `None` if nothing.
    pub repaired: Option<String>,
}

/// One draw: its point, `sd * eps`, and the gradient of the log joint there.
struct Draw {
    z: Vec<f64>,
    spread: Vec<f64>,
    grad: Vec<f64>,
}

impl FixedDraws {
    /// With `F(mean, log_sd)` the negative objective, `covariance` is the `mean` block of
    /// `(grad^2 F)^-1` (Giordano, Broderick and Jordan 2018): what a small tilt of the posterior
    /// would do to the means. `q` must be where the objective is highest. The standard errors are
    /// `sqrt(phi^T F''^-1 C F''^-1 phi / N)`, with `C` the covariance over the draws of the
    /// gradient of one (Giordano, Ingram and Broderick 2024).
    ///
    /// # Errors
    /// Draws that were not made yet or do not fit; more than 500 coordinates, where
    /// [`FixedDraws::linear_response_of`] answers one question at a time; a Hessian that is not
    /// finite.
    pub fn linear_response<M: TwiceDifferentiable>(
        &self,
        model: &M,
        q: &MeanFieldGaussian,
    ) -> Result<LinearResponse, Error> {
        let d = self.check_response(model, q)?;
        if d > DENSE {
            let remedy = "up to 500 the whole covariance is built; use linear_response_of for the \
                          covariance with one quantity";
            return Err(Error::option("coordinates of linear_response", d, remedy));
        }
        let share = 1.0 / self.draws as f64;
        let mut hessian = DMatrix::zeros(2 * d, 2 * d);
        let mut slopes = Vec::with_capacity(self.draws);
        let mut draw = Draw { z: vec![0.0; d], spread: vec![0.0; d], grad: vec![0.0; d] };
        for eps in self.eps.chunks_exact(d) {
            draw.place(q, eps);
            let p = precision(model, &draw.z, &mut draw.grad);
            let (a, g) = (&draw.spread, &draw.grad);
            for j in 0..d {
                for i in 0..d {
                    let p = share * p[(i, j)];
                    hessian[(i, j)] += p;
                    hessian[(i, d + j)] += p * a[j];
                    hessian[(d + i, j)] += a[i] * p;
                    hessian[(d + i, d + j)] += a[i] * p * a[j];
                }
                hessian[(d + j, d + j)] -= share * g[j] * a[j];
            }
            slopes
                .push((0..2 * d).map(|i| if i < d { g[i] } else { g[i - d] * a[i - d] }).collect());
        }
        let names = || {
            let plain = model.space().coordinate_names();
            let sds: Vec<String> = plain.iter().map(|n| format!("log sd of {n}")).collect();
            plain.into_iter().chain(sds).collect::<Vec<_>>()
        };
        if let Some(i) = hessian.iter().position(|h: &f64| !h.is_finite()) {
            return Err(not_usable(&format!(
                "the Hessian is not finite in `{}` at one of the draws",
                names().swap_remove(i % (2 * d))
            )));
        }
        let (factor, repaired) = factor_of_inverse(hessian, &names);
        let lower = triangle::to_matrix(2 * d, &factor);
        let inverse = &lower * lower.transpose();
        let error = |i: usize| {
            let effect = |slope: &Vec<f64>| -> f64 {
                slope.iter().enumerate().map(|(j, s)| inverse[(i, j)] * s).sum()
            };
            standard_error(&slopes.iter().map(effect).collect::<Vec<_>>())
        };
        Ok(LinearResponse {
            covariance: inverse.view((0, 0), (d, d)).into_owned(),
            mean_error: (0..d).map(error).collect(),
            log_sd_error: (d..2 * d).map(error).collect(),
            repaired,
        })
    }

    /// The linear-response covariance of every coordinate with `weights . z`, by conjugate
    /// gradients on Hessian products: for any number of coordinates. With a unit vector for
    /// `weights`, a column of the covariance.
    ///
    /// # Errors
    /// As [`FixedDraws::linear_response`]; E15 where the curvature is not positive definite.
    pub fn linear_response_of<M: TwiceDifferentiable>(
        &self,
        model: &M,
        q: &MeanFieldGaussian,
        weights: &[f64],
    ) -> Result<Vec<f64>, Error> {
        let d = self.check_response(model, q)?;
        Error::expect_len("weights", weights.len(), "the model", d)?;
        let mut draws: Vec<Draw> = Vec::with_capacity(self.draws);
        for eps in self.eps.chunks_exact(d) {
            let mut draw = Draw { z: vec![0.0; d], spread: vec![0.0; d], grad: vec![0.0; d] };
            draw.place(q, eps);
            draws.push(draw);
        }
        let (mut v, mut h) = (vec![0.0; d], vec![0.0; d]);
        let mut multiply = |x: &[f64], out: &mut [f64]| {
            out.fill(0.0);
            for draw in &mut draws {
                let a = &draw.spread;
                (0..d).for_each(|i| v[i] = x[i] + a[i] * x[d + i]);
                model.hess_vec(&draw.z, &v, &mut draw.grad, &mut h);
                for i in 0..d {
                    out[i] -= h[i] / self.draws as f64;
                    let bend = h[i] * a[i] + draw.grad[i] * a[i] * x[d + i];
                    out[d + i] -= bend / self.draws as f64;
                }
            }
        };
        // At the optimum of a normal target the diagonal is 1/sd^2 for means and 2 for log sds.
        let guess = |i: usize| if i < d { q.sd()[i] * q.sd()[i] } else { 0.5 };
        let mut x = vec![0.0; 2 * d];
        let mut r: Vec<f64> = weights.iter().copied().chain(vec![0.0; d]).collect();
        let mut s: Vec<f64> = (0..2 * d).map(|i| guess(i) * r[i]).collect();
        let (mut p, mut product) = (s.clone(), vec![0.0; 2 * d]);
        let mut size = triangle::dot(&r, &s);
        let enough = RESIDUAL * RESIDUAL * size;
        for _ in 0..20 * d + 100 {
            if size <= enough {
                return Ok(x[..d].to_vec());
            }
            multiply(&p, &mut product);
            let bend = triangle::dot(&p, &product);
            if bend.is_nan() || bend <= 0.0 {
                return Err(not_usable("the objective is not curved downwards here"));
            }
            let step = size / bend;
            for i in 0..2 * d {
                x[i] += step * p[i];
                r[i] -= step * product[i];
                s[i] = guess(i) * r[i];
            }
            let next = triangle::dot(&r, &s);
            (0..2 * d).for_each(|i| p[i] = s[i] + next / size * p[i]);
            size = next;
        }
        Err(not_usable("conjugate gradients did not settle: the curvature is near singular"))
    }

    fn check_response<M: TwiceDifferentiable>(
        &self,
        model: &M,
        q: &MeanFieldGaussian,
    ) -> Result<usize, Error> {
        let d = q.dim();
        Error::expect_len("the family", d, "the model", model.dim())?;
        if self.eps.is_empty() {
            let remedy = "draw them first with `draw`, before the fit, and keep a copy";
            return Err(Error::option("draws of linear_response", 0, remedy));
        }
        let right = format!("{} draws of dimension {d}", self.draws);
        Error::expect_len("the noise", self.eps.len(), &right, self.draws * d)?;
        Ok(d)
    }
}

impl Draw {
    fn place(&mut self, q: &MeanFieldGaussian, eps: &[f64]) {
        for i in 0..eps.len() {
            self.spread[i] = q.sd()[i] * eps[i];
            self.z[i] = q.mean()[i] + self.spread[i];
        }
    }
}

/// Sample sd over the square root of how many there are.
fn standard_error(x: &[f64]) -> f64 {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let square: f64 = x.iter().map(|x| (x - mean) * (x - mean)).sum();
    (square / (n - 1.0) / n).sqrt()
}

fn not_usable(reason: &str) -> Error {
    let reason = format!("{reason}; fit to the top first, or take more draws");
    Error::Ascent { block: "linear response".to_string(), reason }
}
