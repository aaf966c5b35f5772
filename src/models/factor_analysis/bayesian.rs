//! `BayesianFactors`: Bayesian PCA and factor analysis with automatic relevance determination, by
//! coordinate ascent.

mod compared;
mod posterior;
mod search;
mod step;

pub use posterior::FactorPosterior;

use nalgebra::{DMatrix, DVector};
use rand::Rng;

use super::gaps::Columns;
use super::{FactorAnalysis, Uniqueness};
use crate::data::Observations;
use crate::error::Error;
use crate::model::Model;
use crate::space::Space;
use crate::special::{LN_SQRT_2PI, log_gamma};
use posterior::Sizes;

/// `x_n = mu + W z_n + e_n` with a posterior for everything (Bishop 1999, "Variational principal
/// components"):
///
/// ```text
/// z_n ~ Normal(0, I_q)          e_nj ~ Normal(0, 1 / tau_j), or one tau for all columns
/// W_jk ~ Normal(0, 1 / alpha_k)     alpha_k ~ Gamma(a, b)     tau ~ Gamma(c, d)
/// mu_j ~ Normal(centre_j, 1000)
/// ```
///
/// all in units of the columns' own spread about their means, so that scale and origin of the data
/// do not matter. A factor that explains nothing is switched off: its `alpha_k` grows until its
/// loadings are nothing ([`FactorPosterior::relevant`]). So give as many factors as there may be.
/// [`BayesianFactors::fit`] starts from every number of factors and keeps the highest bound: a single
/// start may keep a factor of noise.
///
/// The best `q(z) q(mu, W) q(alpha) q(tau)`, a [`FactorPosterior`], is found by
/// [`EStep`](crate::EStep): the factors of all rows, then `(mu, W)`, `alpha` and `tau`, each by its
/// exact optimum. The data are reduced to their covariance once, and a step costs
/// `O(d^2 q + d q^3)` whatever the number of rows. The ELBO is exact, every constant kept.
///
/// Cells may be missing: a row counts by the cells it has, mean and loadings of a column are known as
/// well as the rows that have it make them, and a step sees the rows.
/// [`BayesianFactors::reconstruct`] fills the gaps.
///
/// ```
/// use elbo::data::{IRIS, Observations};
/// use elbo::models::FactorAnalysis;
/// use elbo::{EStep, Options, Squarem, fit};
/// let data = Observations::new(IRIS.iter().flatten().copied().collect(), 4)?;
/// let model = FactorAnalysis::principal(data, 3)?.bayesian();
/// let q = model.start();
/// let fit = fit(model, q, Squarem::new(EStep), Options::exact())?;
/// println!("{} factors explain something", fit.q.relevant().len());
/// // no evidence is above the highest likelihood
/// let bound = fit.trace.last().and_then(|s| s.elbo).expect("exact moves know it");
/// assert!(bound < fit.model.point().closed_form()?.log_likelihood());
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BayesianFactors {
    point: FactorAnalysis,
    sizes: Sizes,
    alpha: (f64, f64),
    tau: (f64, f64),
}

/// The precision of the prior of `mu`, in units.
const MEAN: f64 = 1e-3;
/// The least share of the noise at the start.
const NOISE: f64 = 1e-3;

impl FactorAnalysis {
    /// The same model with a posterior for its parameters too, at priors that say next to nothing:
    /// shapes and rates 1e-3.
    pub fn bayesian(&self) -> BayesianFactors {
        let (d, q) = self.loadings.shape();
        let noises = if self.uniqueness == Uniqueness::Shared { 1 } else { d };
        let (alpha, tau) = ((1e-3, 1e-3), (1e-3, 1e-3));
        let sizes = Sizes { d, q, noises, gaps: self.gaps.is_some() };
        BayesianFactors { point: self.clone(), sizes, alpha, tau }
    }
}

impl BayesianFactors {
    /// Shape and rate of the prior of each `alpha`, and of `tau`.
    ///
    /// # Errors
    /// A number that is not positive and finite.
    pub fn with_priors(mut self, alpha: (f64, f64), tau: (f64, f64)) -> Result<Self, Error> {
        for (name, (shape, rate)) in [("alpha", alpha), ("tau", tau)] {
            for (what, x) in [("shape", shape), ("rate", rate)] {
                if !(x > 0.0 && x.is_finite()) {
                    let remedy = "it must be positive and finite";
                    return Err(Error::option(&format!("the {what} of {name}"), x, remedy));
                }
            }
        }
        (self.alpha, self.tau) = (alpha, tau);
        Ok(self)
    }

    /// The model whose parameters are a point, of the same data.
    pub fn point(&self) -> &FactorAnalysis {
        &self.point
    }

    fn rows(&self) -> f64 {
        self.point.data.total_weight()
    }

    /// A first `q`: the principal components of the data, as the closed form has them.
    pub fn start(&self) -> FactorPosterior {
        self.start_at(self.sizes.q)
    }

    /// The same with `on` factors, and the others switched off: they stay so.
    ///
    /// # Errors
    /// More factors than there may be.
    pub fn start_with(&self, on: usize) -> Result<FactorPosterior, Error> {
        let most = self.sizes.q;
        if on > most {
            let remedy = format!("the model has {most} factors");
            return Err(Error::option("factors that are on", on, &remedy));
        }
        Ok(self.start_at(on))
    }

    fn start_at(&self, on: usize) -> FactorPosterior {
        let Sizes { d, q, .. } = self.sizes;
        let eigen = self.point.covariance.clone().symmetric_eigen();
        let mut order: Vec<usize> = (0..d).collect();
        order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
        let rest: f64 = order[on..].iter().map(|&k| eigen.eigenvalues[k].max(0.0)).sum();
        let noise = (rest / (d - on) as f64).max(NOISE);
        let mut loadings = DMatrix::zeros(d, q);
        for (k, &from) in order[..on].iter().enumerate() {
            let size = (eigen.eigenvalues[from] - noise).max(NOISE * noise).sqrt();
            loadings.set_column(k, &(eigen.eigenvectors.column(from) * size));
        }
        let mut start = FactorPosterior::at(self.sizes, &loadings, 1.0 / noise, self.rows());
        start.attach(&self.point);
        start
    }

    /// `E[W]`, `d x q`, row by row, in the units of the data.
    pub fn loadings(&self, q: &FactorPosterior) -> Vec<f64> {
        let Sizes { d, .. } = self.sizes;
        let unit = &self.point.unit;
        (0..d).flat_map(|j| q.row(j)[1..].iter().map(move |w| unit[j] * w)).collect()
    }

    /// `E[mu]`
    pub fn mean(&self, q: &FactorPosterior) -> Vec<f64> {
        let (centre, unit) = (&self.point.centre, &self.point.unit);
        (0..self.sizes.d).map(|j| centre[j] + unit[j] * q.row(j)[0]).collect()
    }

    /// The variance of each column that no factor explains: `1 / E[tau]`.
    pub fn uniquenesses(&self, q: &FactorPosterior) -> Vec<f64> {
        let unit = &self.point.unit;
        (0..self.sizes.d).map(|j| unit[j] * unit[j] / q.tau(j)).collect()
    }

    /// The log density of each row of other data in nats, at the means of `mu`, `W` and `tau`; where
    /// cells are missing that of the others.
    ///
    /// # Errors
    /// Another number of columns.
    pub fn score(&self, q: &FactorPosterior, data: &Observations) -> Result<Vec<f64>, Error> {
        self.at_means(q).score(data)
    }

    /// What the factors of each row of data are expected to be, given the cells it has, one row after
    /// another (`q x n`).
    ///
    /// # Errors
    /// Another number of columns.
    pub fn predict(&self, q: &FactorPosterior, data: &Observations) -> Result<Vec<f64>, Error> {
        let Sizes { d, q: k, .. } = self.sizes;
        Error::expect_len("a row", data.dim(), "a row of the model", d)?;
        let mut out = vec![0.0; data.len() * k];
        if self.sizes.gaps || data.has_missing() {
            let mut columns = Columns::default();
            self.write_columns(q, &mut columns);
            self.point.factors_by(&columns, data, &mut out);
            return Ok(out);
        }
        for (row, out) in data.rows().zip(out.chunks_exact_mut(k)) {
            q.factors(&self.point.centre, &self.point.unit, row, out);
        }
        Ok(out)
    }

    /// The rows with their gaps filled, one row after another (`d x n`): a cell that is missing by what
    /// it is expected to be given those of its row that are there; the others as they are.
    ///
    /// # Errors
    /// Another number of columns.
    pub fn reconstruct(&self, q: &FactorPosterior, data: &Observations) -> Result<Vec<f64>, Error> {
        let z = self.predict(q, data)?;
        Ok(self.at_means(q).filled(data, &z))
    }

    /// Draws `n` new rows, one after another, each with parameters of its own drawn from `q`.
    pub fn sample(&self, q: &FactorPosterior, n: usize, rng: &mut dyn Rng) -> Vec<f64> {
        let Sizes { d, q: k, noises, .. } = self.sizes;
        let mut parameters = vec![0.0; self.sizes.parameters()];
        let mut noise = vec![0.0; k + d];
        let mut rows = Vec::with_capacity(n * d);
        for _ in 0..n {
            q.sample_parameters(rng, &mut parameters);
            crate::noise::fill_normal(rng, &mut noise);
            let (z, e) = noise.split_at(k);
            let (loadings, precisions) = parameters.split_at(d * (k + 1));
            for (j, w) in loadings.chunks_exact(k + 1).enumerate() {
                let tau = precisions[k + j.min(noises - 1)];
                let through: f64 = w[1..].iter().zip(z).map(|(w, z)| w * z).sum();
                let x = w[0] + through + e[j] / tau.sqrt();
                rows.push(self.point.centre[j] + self.point.unit[j] * x);
            }
        }
        rows
    }

    /// The point model at the means of `q`.
    fn at_means(&self, q: &FactorPosterior) -> FactorAnalysis {
        let mut point = self.point.clone();
        for j in 0..self.sizes.d {
            point.shift[j] = q.row(j)[0];
            point.mean[j] = point.centre[j] + point.unit[j] * q.row(j)[0];
            point.log_noise[j] = -q.tau(j).ln();
            for k in 0..self.sizes.q {
                point.loadings[(j, k)] = q.row(j)[1 + k];
            }
        }
        point
    }
}

/// `z` is the factors of one row after another, then for each column its mean and its loadings, in
/// units, then `alpha` and `tau`.
impl Model for BayesianFactors {
    fn space(&self) -> Space {
        let (mut space, Sizes { d, q, noises, .. }) = (Space::new(), self.sizes);
        space.reals("z", q * self.point.data.len());
        space.reals("mu_and_w", d * (q + 1));
        space.positives("alpha", q);
        space.positives("tau", noises);
        space
    }
    fn dim(&self) -> usize {
        self.sizes.q * self.point.data.len() + self.sizes.parameters()
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let (Sizes { d, q, noises, .. }, data) = (self.sizes, &self.point.data);
        let (factors, rest) = z.split_at(q * data.len());
        let (w, precisions) = rest.split_at(d * (q + 1));
        if precisions.iter().any(|x| *x <= 0.0) {
            return f64::NEG_INFINITY;
        }
        let (alpha, tau) = precisions.split_at(q);
        let gamma =
            |x: f64, (a, b): (f64, f64)| a * b.ln() - log_gamma(a) + (a - 1.0) * x.ln() - b * x;
        let normal =
            |x: f64, precision: f64| 0.5 * precision.ln() - LN_SQRT_2PI - 0.5 * precision * x * x;
        let of_row = |(n, z): (usize, &[f64])| {
            let row = data.row(n);
            let off: DVector<f64> = self.point.off_centre(row);
            let cell = |(j, w): (usize, &[f64])| {
                if row[j].is_nan() {
                    return self.point.unit[j].ln();
                }
                let through: f64 = w[1..].iter().zip(z).map(|(w, z)| w * z).sum();
                normal(off[j] - w[0] - through, tau[j.min(noises - 1)])
            };
            let cells: f64 = w.chunks_exact(q + 1).enumerate().map(cell).sum();
            let own: f64 = z.iter().map(|z| normal(*z, 1.0)).sum();
            data.weight(n) * (cells + own - self.point.log_units())
        };
        let rows: f64 = factors.chunks_exact(q).enumerate().map(of_row).sum();
        let column = |w: &[f64]| {
            let loadings = w[1..].iter().zip(alpha).map(|(w, a)| normal(*w, *a));
            normal(w[0], MEAN) + loadings.sum::<f64>()
        };
        let columns: f64 = w.chunks_exact(q + 1).map(column).sum();
        let relevance: f64 = alpha.iter().map(|a| gamma(*a, self.alpha)).sum();
        rows + columns + relevance + tau.iter().map(|t| gamma(*t, self.tau)).sum::<f64>()
    }
}
