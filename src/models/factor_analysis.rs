//! `FactorAnalysis` and probabilistic PCA: many columns explained by a few normal factors, by EM.

mod bayesian;
mod compared;
mod gaps;
mod missing;
mod predict;
mod scores;
mod search;

pub use bayesian::{BayesianFactors, FactorPosterior};
pub use scores::Scores;

use std::sync::Arc;

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use crate::data::Observations;
use crate::error::Error;
use crate::model::{Conjugate, Maximize, Model};
use crate::space::Space;
use crate::special::LN_SQRT_2PI;
use crate::warning::{Code, Warning};
use gaps::Gaps;
use search::principal;

/// The noise of the columns around what the factors explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uniqueness {
    /// A variance for each column: factor analysis (Rubin and Thayer 1982).
    Each,
    /// One variance for all: probabilistic PCA (Tipping and Bishop 1999).
    Shared,
}

/// `x = mu + W z + e`, `z ~ N(0, I_q)`, `e ~ N(0, diag(psi))`: `d` columns, `q` factors.
///
/// `z` holds the factors of one row after another (`q x n`). The mean `mu` is that of the data, which
/// is its maximum-likelihood value. `theta = (W column by column, ln psi)`, in units of the columns'
/// own spread, so that the scale of the data does not matter. The data are reduced to their
/// covariance once: a step costs `O(d^2 q)` whatever the number of rows.
///
/// Cells may be missing ([`Observations::with_missing`]), at random given the others: a row counts by
/// the cells it has, whose density is `N(x_o; mu_o, W_o W_o' + psi_oo)`, and says nothing where it has
/// none. The mean of the cells that are there is then no longer the best `mu`, which becomes the last
/// part of `theta`; each column is regressed on the factors of the rows that have it, and a step sees
/// the rows: it costs `O(n d q)`, and `O(d q^2 + q^3)` for each set of cells that some rows have.
/// [`FactorAnalysis::reconstruct`] fills the gaps.
///
/// `psi` is at least 1e-5 of the variance of its column: where a factor explains a column wholly the
/// likelihood has no maximum inside, and [`FactorAnalysis::warnings`] says so.
///
/// [`FactorAnalysis::bayesian`] is the model with a posterior for everything, which finds how many
/// factors there are.
///
/// ```
/// use elbo::data::Observations;
/// use elbo::models::factor_analysis::FactorAnalysis;
/// use elbo::{EStep, MStep, Options, Squarem, fit};
/// let x = vec![1.0, 2.1, 2.0, 3.9, 3.0, 6.2, 4.0, 8.1, 5.0, 9.8, 6.0, 12.1];
/// let model = FactorAnalysis::principal(Observations::new(x, 2)?, 1)?;
/// let (exact, q) = (model.closed_form()?, model.start());
/// let fit = fit(model, q, Squarem::new((EStep, MStep)), Options::exact())?;
/// let found = fit.trace.last().and_then(|s| s.elbo).expect("exact moves know it");
/// assert!((found - exact.log_likelihood()).abs() < 1e-4);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FactorAnalysis {
    data: Arc<Observations>,
    uniqueness: Uniqueness,
    /// Where the units begin: the mean of the cells there are.
    centre: DVector<f64>,
    /// `mu - centre`, in units; 0 where no cell is missing.
    shift: DVector<f64>,
    /// `mu`
    mean: DVector<f64>,
    /// The unit of each column: its sd, or one for all.
    unit: DVector<f64>,
    /// The covariance of the data in these units, divisor `n`; where cells are missing that of the
    /// cells there are, with the mean in the others' place.
    covariance: DMatrix<f64>,
    /// The rows, where cells are missing.
    gaps: Option<Arc<Gaps>>,
    /// `d x q`
    loadings: DMatrix<f64>,
    /// The logarithm of `psi`, `d` of them.
    log_noise: DVector<f64>,
}

/// No noise is less than this share of the variance of its column.
const LEAST: f64 = 1e-5;

/// What `q` and the likelihood need of `(W, psi)`.
struct Posterior {
    /// `M = I + W' psi^-1 W`
    factor: Cholesky<f64, Dyn>,
    /// `M^-1 W' psi^-1`: what the factors of a row are expected to be is this times the row.
    beta: DMatrix<f64>,
}

fn posterior(w: &DMatrix<f64>, log_noise: &DVector<f64>) -> Result<Posterior, Error> {
    let mut scaled = w.transpose();
    for (j, mut column) in scaled.column_iter_mut().enumerate() {
        column *= (-log_noise[j]).exp();
    }
    let m = &scaled * w + DMatrix::identity(w.ncols(), w.ncols());
    let factor = Cholesky::new(m).ok_or_else(|| Error::Ascent {
        block: "EStep".to_string(),
        reason: "the loadings are not finite; rescale the columns of the data".to_string(),
    })?;
    Ok(Posterior { beta: factor.solve(&scaled), factor })
}

fn log_det(factor: &Cholesky<f64, Dyn>) -> f64 {
    2.0 * factor.l_dirty().diagonal().iter().map(|l| l.ln()).sum::<f64>()
}

impl FactorAnalysis {
    /// Factor analysis: a noise variance for each column. A climb starts at the principal components
    /// of the standardized columns; [`FactorAnalysis::fit`] tries other starts, too.
    ///
    /// # Errors
    /// Not between one factor and one fewer than columns, fewer than two rows, or a column that is
    /// constant or missing in every row.
    pub fn new(data: Observations, factors: usize) -> Result<FactorAnalysis, Error> {
        FactorAnalysis::with(data, factors, Uniqueness::Each)
    }

    /// Probabilistic PCA: one noise variance for all columns. A climb starts at random loadings:
    /// [`FactorAnalysis::closed_form`] is where it leads.
    ///
    /// # Errors
    /// As [`FactorAnalysis::new`]; a constant column is allowed.
    pub fn principal(data: Observations, factors: usize) -> Result<FactorAnalysis, Error> {
        FactorAnalysis::with(data, factors, Uniqueness::Shared)
    }

    fn with(data: Observations, q: usize, uniqueness: Uniqueness) -> Result<Self, Error> {
        let d = data.dim();
        if q == 0 || q >= d {
            let remedy = format!("{d} columns can be explained by 1 to {} factors", d - 1);
            return Err(Error::option("factors", q, &remedy));
        }
        if !data.has_distinct(2) {
            let remedy = "nothing varies: give at least two different rows";
            return Err(Error::option("rows of the data", data.len(), remedy));
        }
        let mean = DVector::from_vec(data.mean());
        if let Some(j) = (0..d).find(|&j| mean[j].is_nan()) {
            return Err(Error::Data {
                place: format!("column {}", data.label(j)),
                value: "missing in every row".to_string(),
                count: String::new(),
                remedy: "Drop it: nothing is known of it".to_string(),
            });
        }
        let mut covariance = missing::covariance(&data, &mean);
        let constant = |j: &usize| covariance[(*j, *j)] <= 1e-28 * mean[*j] * mean[*j];
        if uniqueness == Uniqueness::Each
            && let Some(j) = (0..d).find(constant)
        {
            return Err(Error::Data {
                place: format!("column {}", data.label(j)),
                value: format!("constant, {}", mean[j]),
                count: String::new(),
                remedy: "Drop it: it has no variance to explain".to_string(),
            });
        }
        if (0..d).all(|j| constant(&j)) {
            let remedy = "nothing varies: give at least two different cells of a column";
            return Err(Error::option("rows of the data", data.len(), remedy));
        }
        let (loadings, log_noise) = (DMatrix::zeros(d, q), DVector::zeros(d));
        let data = Arc::new(data);
        let shared = (covariance.trace() / d as f64).sqrt();
        let unit = DVector::from_fn(d, |j, _| match uniqueness {
            Uniqueness::Each => covariance[(j, j)].sqrt(),
            Uniqueness::Shared => shared,
        });
        for i in 0..d {
            for j in 0..d {
                covariance[(i, j)] /= unit[i] * unit[j];
            }
        }
        let gaps = data.has_missing().then(|| Arc::new(Gaps::new(&data, &mean, &unit)));
        let (centre, shift) = (mean.clone(), DVector::zeros(d));
        let mut model = FactorAnalysis {
            data,
            uniqueness,
            centre,
            shift,
            mean,
            unit,
            covariance,
            gaps,
            loadings,
            log_noise,
        };
        match uniqueness {
            Uniqueness::Each => model.restart_at_components(),
            // there the climb would begin where it ends
            Uniqueness::Shared => model.restart(0),
        }
        Ok(model)
    }

    /// The maximum of the likelihood of probabilistic PCA: `W = U (L - s2 I)^(1/2)` with the `q`
    /// largest eigenvalues `L` of the covariance and their vectors `U`, and `s2` the mean of the
    /// others (Tipping and Bishop 1999). Where `q` components leave no noise, as with columns that
    /// determine each other, the likelihood has no maximum and [`FactorAnalysis::log_likelihood`] is
    /// not finite.
    ///
    /// # Errors
    /// Missing cells: then there is no closed form.
    pub fn closed_form(&self) -> Result<FactorAnalysis, Error> {
        if self.gaps.is_some() {
            let remedy = "there is none where cells are missing: climb by EM, fit(model, q, Anderson::new((EStep, MStep)), Options::exact())";
            return Err(Error::option("the closed form", "asked for", remedy));
        }
        let (d, q) = self.loadings.shape();
        let mut best = self.clone();
        let shared = self.unit.norm() / (d as f64).sqrt();
        best.unit.fill(shared);
        for i in 0..d {
            for j in 0..d {
                best.covariance[(i, j)] *= self.unit[i] * self.unit[j] / (shared * shared);
            }
        }
        let (loadings, noise) = principal(&best.covariance, q);
        best.loadings = loadings;
        best.uniqueness = Uniqueness::Shared;
        best.log_noise.fill(noise.ln());
        Ok(best)
    }

    /// `log p(x)`, every row counted with its weight; not finite where the noise has vanished.
    pub fn log_likelihood(&self) -> f64 {
        if let Some(gaps) = &self.gaps {
            return self.log_likelihood_with_gaps(gaps);
        }
        posterior(&self.loadings, &self.log_noise).map_or(f64::NAN, |p| self.total(&p))
    }

    fn total(&self, p: &Posterior) -> f64 {
        let d = self.mean.len();
        // tr(C^-1 S) = tr(psi^-1 S) - tr(psi^-1 W beta S)
        let explained = &p.beta * &self.covariance;
        let quadratic = |j: usize| {
            let through = (0..p.beta.nrows()).map(|k| self.loadings[(j, k)] * explained[(k, j)]);
            (self.covariance[(j, j)] - through.sum::<f64>()) * (-self.log_noise[j]).exp()
        };
        let quadratic: f64 = (0..d).map(quadratic).sum();
        let log_det = log_det(&p.factor) + self.log_noise.sum() + 2.0 * self.log_units();
        self.data.total_weight() * (-(d as f64) * LN_SQRT_2PI - 0.5 * (log_det + quadratic))
    }

    /// `sum_j ln unit_j`: what the densities of rows in units lack.
    fn log_units(&self) -> f64 {
        self.unit.iter().map(|u| u.ln()).sum()
    }

    /// The data.
    pub fn data(&self) -> &Observations {
        &self.data
    }

    /// The mean of the columns.
    pub fn mean(&self) -> &[f64] {
        self.mean.as_slice()
    }

    /// `W`, `d x q`, row by row; any rotation of its columns describes the data as well.
    pub fn loadings(&self) -> Vec<f64> {
        let (d, q) = self.loadings.shape();
        let place = |j: usize| (0..q).map(move |k| (j, k));
        (0..d).flat_map(place).map(|(j, k)| self.unit[j] * self.loadings[(j, k)]).collect()
    }

    /// `psi`: the variance of each column that no factor explains.
    pub fn uniquenesses(&self) -> Vec<f64> {
        self.log_noise.iter().zip(&self.unit).map(|(l, u)| u * u * l.exp()).collect()
    }

    /// `W W' + diag(psi)`, `d x d`, row by row.
    pub fn covariance(&self) -> Vec<f64> {
        let mut c = &self.loadings * self.loadings.transpose();
        (0..self.mean.len()).for_each(|j| c[(j, j)] += self.log_noise[j].exp());
        for j in 0..self.mean.len() {
            c.column_mut(j).component_mul_assign(&self.unit);
            c.column_mut(j).scale_mut(self.unit[j]);
        }
        c.as_slice().to_vec()
    }

    /// Columns of the data that carry nothing, and columns whose own noise has vanished (a Heywood
    /// case): the factors explain them wholly, and the likelihood has no maximum inside. Columns with
    /// fewer cells than mean, loadings and noise take.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut all = self.data.warnings();
        all.extend(self.thin_columns());
        for j in 0..self.mean.len() {
            let share = self.log_noise[j].exp() / self.covariance[(j, j)];
            if share < 1.001 * LEAST {
                let message = format!(
                    "the factors explain column {} wholly (a Heywood case): its noise is at its \
                     least, {LEAST:.0e} of the variance",
                    self.data.label(j)
                );
                all.push(Warning::new(Code::AtBoundary, message).try_this("fewer factors"));
            }
        }
        all
    }

    /// A first `q`, at the model's parameters.
    pub fn start(&self) -> Scores {
        let shift = self.gaps.is_some().then(|| self.shift.clone());
        let mut q = Scores::at(self.loadings.clone(), self.log_noise.clone(), shift);
        q.attach(self);
        q
    }
}

impl Model for FactorAnalysis {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("z", self.loadings.ncols() * self.data.len());
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let ((d, q), units) = (self.loadings.shape(), self.log_units());
        let one = |(i, z): (usize, &[f64])| {
            let z = DVector::from_column_slice(z);
            if self.gaps.is_some() {
                return self.data.weight(i) * self.log_joint_of_part(self.data.row(i), &z);
            }
            let off = self.off(self.data.row(i)) - &self.loadings * &z;
            let terms = (0..d).map(|j| off[j] * off[j] * (-self.log_noise[j]).exp());
            self.data.weight(i)
                * (-((d + q) as f64) * LN_SQRT_2PI
                    - units
                    - 0.5 * (self.log_noise.sum() + terms.sum::<f64>() + z.norm_squared()))
        };
        z.chunks_exact(q).enumerate().map(one).sum()
    }
    fn n_theta(&self) -> usize {
        let noise = if self.uniqueness == Uniqueness::Each { self.mean.len() } else { 1 };
        let means = if self.gaps.is_some() { self.mean.len() } else { 0 };
        self.loadings.len() + noise + means
    }
    fn theta(&self, out: &mut [f64]) {
        let (w, rest) = out.split_at_mut(self.loadings.len());
        w.copy_from_slice(self.loadings.as_slice());
        let means = if self.gaps.is_some() { self.mean.len() } else { 0 };
        let (noise, shift) = rest.split_at_mut(rest.len() - means);
        let kept = noise.len();
        noise.copy_from_slice(&self.log_noise.as_slice()[..kept]);
        shift.copy_from_slice(&self.shift.as_slice()[..means]);
    }
    fn set_theta(&mut self, theta: &[f64]) {
        let (w, rest) = theta.split_at(self.loadings.len());
        self.loadings.copy_from_slice(w);
        let means = if self.gaps.is_some() { self.mean.len() } else { 0 };
        let (noise, shift) = rest.split_at(rest.len() - means);
        match self.uniqueness {
            Uniqueness::Each => self.log_noise.copy_from_slice(noise),
            Uniqueness::Shared => self.log_noise.fill(noise[0]),
        }
        if means > 0 {
            self.set_shift(|j| shift[j]);
        }
    }
}

impl Conjugate<Scores> for FactorAnalysis {
    /// # Errors
    /// A rate other than 1: the scores are local, and cost nothing to make anew.
    fn natural_step(&self, q: &mut Scores, rate: f64) -> Result<f64, Error> {
        if rate != 1.0 {
            let remedy = "factors belong to single rows: use EStep";
            return Err(Error::option("rate of NaturalStep", rate, remedy));
        }
        q.attach(self);
        if let Some(gaps) = &self.gaps {
            return self.step_with_gaps(gaps, q);
        }
        let p = posterior(&self.loadings, &self.log_noise)?;
        q.replace(&self.loadings, &self.log_noise, &p.beta, &p.factor);
        Ok(self.total(&p))
    }
}

impl Maximize<Scores> for FactorAnalysis {
    fn maximize(&mut self, q: &Scores) -> Result<f64, Error> {
        if let Some(gaps) = self.gaps.clone() {
            return self.maximize_with_gaps(&gaps, q);
        }
        let (beta, spread) = (q.beta(), q.covariance());
        // averages over the rows of E[z x'] and E[z z']
        let b = beta * &self.covariance;
        let a = spread + &b * beta.transpose();
        let factor = Cholesky::new(a).ok_or_else(|| Error::Ascent {
            block: "MStep".to_string(),
            reason: "the expected squares of the factors are not positive definite; look at the \
                     data for extreme values"
                .to_string(),
        })?;
        self.loadings = factor.solve(&b).transpose();
        let d = self.mean.len();
        let left = |j: usize| {
            let through = (0..b.nrows()).map(|k| self.loadings[(j, k)] * b[(k, j)]);
            self.covariance[(j, j)] - through.sum::<f64>()
        };
        let left: Vec<f64> = (0..d).map(left).collect();
        // The bound falls on either side of its best psi: the limit is the best of those allowed.
        let mean_left = left.iter().sum::<f64>() / d as f64;
        for j in 0..d {
            let (best, whole) = match self.uniqueness {
                Uniqueness::Each => (left[j], self.covariance[(j, j)]),
                Uniqueness::Shared => (mean_left, 1.0),
            };
            self.log_noise[j] = best.max(LEAST * whole).ln();
        }
        let n_factors = self.loadings.ncols() as f64;
        let quadratic: f64 = (0..d).map(|j| left[j] * (-self.log_noise[j]).exp()).sum();
        let a = spread + &b * beta.transpose();
        let mean = -(d as f64) * LN_SQRT_2PI - 0.5 * (self.log_noise.sum() + quadratic + a.trace());
        let mean = mean - self.log_units();
        let entropy = 0.5 * (n_factors - q.log_det());
        Ok(self.data.total_weight() * (mean + entropy))
    }
}
