//! `LinearRegression`: exact conjugate posteriors and evidence; automatic relevance determination.

mod ard;
mod compared;
mod predict;

pub use ard::{Ard, BayesianArd};

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use crate::data::{Fingerprint, Observations};
use crate::error::Error;
use crate::special::{LN_SQRT_2PI, log_gamma};

/// `y = X beta + noise`, `n` rows and `p` columns, reduced once to what every posterior of `beta`
/// needs: `X = Q R`, so that `|y - X beta|^2 = |Q'y - R beta|^2 + |y - Q Q'y|^2` without cancellation.
///
/// ```
/// use elbo::models::linear_regression::LinearRegression;
/// let (x, y) = ([1.0, 0.0, 1.0, 1.0, 1.0, 2.0], [0.9, 3.2, 4.9]);
/// let regression = LinearRegression::new(&x, 2, &y)?;
/// let posterior = regression.known_noise(0.2, 10.0)?;
/// assert!((posterior.mean[1] - 2.0).abs() < 0.1);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LinearRegression {
    /// The sum of the weights: rows, where each counts once.
    n: f64,
    /// `min(n, p) x p`
    r: DMatrix<f64>,
    /// `Q'y`
    qy: DVector<f64>,
    /// What no `beta` explains: `|y - Q Q'y|^2`.
    unexplained: f64,
    data: Fingerprint,
}

/// A normal posterior of the coefficients, and the evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Coefficients {
    /// `E[beta | y]`
    pub mean: Vec<f64>,
    /// The covariance, `p x p`, row by row.
    pub covariance: Vec<f64>,
    /// `log p(y)`
    pub log_evidence: f64,
    /// The sd of the noise that was given.
    pub noise_sd: f64,
}

/// A normal inverse-gamma posterior: `beta | s2 ~ N(mean, s2 P^-1)`, `s2 ~ InvGamma(a, b)`.
#[derive(Clone, Debug, PartialEq)]
pub struct UnknownNoise {
    /// `E[beta | y]`
    pub mean: Vec<f64>,
    /// `P`, `p x p`, row by row.
    pub precision: Vec<f64>,
    /// The covariance of `beta` with `s2` integrated out; not finite where `a <= 1`.
    pub covariance: Vec<f64>,
    /// The shape of the variance of the noise.
    pub a: f64,
    /// Its scale.
    pub b: f64,
    /// `log p(y)`
    pub log_evidence: f64,
}

fn positive(option: &str, value: f64) -> Result<(), Error> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::option(option, value, "it must be positive and finite"))
}

/// The factor of a matrix that is positive definite by its making, unless the data are extreme: then
/// what is left of a column, given those before it, is rounding.
fn factor(precision: DMatrix<f64>) -> Result<Cholesky<f64, Dyn>, Error> {
    let rounding = precision.nrows() as f64 * f64::EPSILON;
    let whole: Vec<f64> = precision.diagonal().iter().copied().collect();
    let factor = Cholesky::new(precision).ok_or_else(singular)?;
    let pivots = factor.l_dirty().diagonal();
    let lost = pivots.iter().zip(whole).any(|(l, whole)| l * l <= 4.0 * rounding * whole);
    if lost { Err(singular()) } else { Ok(factor) }
}

fn singular() -> Error {
    Error::NotPositiveDefinite {
        what: "the posterior precision of the coefficients".to_string(),
        reason: "columns of the design repeat each other, or differ too much in scale".to_string(),
        remedy: "drop one of them, rescale, or choose a tighter prior".to_string(),
    }
}

fn log_det(factor: &Cholesky<f64, Dyn>) -> f64 {
    2.0 * factor.l_dirty().diagonal().iter().map(|l| l.ln()).sum::<f64>()
}

fn rows(m: &DMatrix<f64>) -> Vec<f64> {
    m.transpose().as_slice().to_vec()
}

impl LinearRegression {
    /// A matrix row by row, with `n_columns` numbers a row, and the outcomes.
    ///
    /// # Errors
    /// Lengths that do not fit, or a number that is not finite, by row and column.
    pub fn new(x: &[f64], n_columns: usize, y: &[f64]) -> Result<LinearRegression, Error> {
        LinearRegression::weighted(x, n_columns, y, &vec![1.0; y.len()])
    }

    /// The same with row `i` counted `weights[i]` times. A row of weight 0 is left out.
    ///
    /// # Errors
    /// As [`LinearRegression::new`]; weights that are negative or all zero.
    pub fn weighted(
        x: &[f64],
        n_columns: usize,
        y: &[f64],
        weights: &[f64],
    ) -> Result<LinearRegression, Error> {
        let what = format!("{} rows (as many as y) of {n_columns} columns", y.len());
        Error::expect_len("the matrix", x.len(), &what, y.len() * n_columns)?;
        Observations::new(x.to_vec(), n_columns)?;
        let data = Fingerprint::weighted(&[x, y], Some(weights));
        let outcomes = Observations::with_names(y.to_vec(), ["y"])?;
        let outcomes = outcomes.weighted(weights.to_vec())?;
        let kept: Vec<usize> = (0..y.len()).filter(|&i| weights[i] > 0.0).collect();
        let root: Vec<f64> = kept.iter().map(|&i| weights[i].sqrt()).collect();
        let x =
            DMatrix::from_fn(kept.len(), n_columns, |k, j| root[k] * x[kept[k] * n_columns + j]);
        let mut y = DVector::from_fn(kept.len(), |k, _| root[k] * y[kept[k]]);
        let qr = x.qr();
        qr.q_tr_mul(&mut y);
        let rank = kept.len().min(n_columns);
        Ok(LinearRegression {
            n: outcomes.total_weight(),
            r: qr.r(),
            qy: y.rows(0, rank).into_owned(),
            unexplained: y.rows(rank, kept.len() - rank).norm_squared(),
            data,
        })
    }

    /// How many coefficients.
    pub fn n_columns(&self) -> usize {
        self.r.ncols()
    }

    /// Which data these are: [`Fingerprint::of`] matrix, outcomes, and weights where not all are 1.
    pub fn fingerprint(&self) -> Fingerprint {
        self.data
    }

    /// `X'X`
    fn gram(&self) -> DMatrix<f64> {
        self.r.transpose() * &self.r
    }

    /// `X'y`
    fn moment(&self) -> DVector<f64> {
        self.r.transpose() * &self.qy
    }

    /// `|y - X beta|^2`
    fn residual(&self, beta: &DVector<f64>) -> f64 {
        self.unexplained + (&self.qy - &self.r * beta).norm_squared()
    }

    /// `E |y - X beta|^2` for `beta` of a mean and a covariance.
    fn expected_residual(&self, mean: &DVector<f64>, covariance: &DMatrix<f64>) -> f64 {
        let spread = (&self.r * covariance).component_mul(&self.r).sum();
        self.residual(mean) + spread
    }

    /// The exact posterior for noise of known sd and `beta_j ~ N(0, prior_sd)`.
    ///
    /// # Errors
    /// An sd that is not positive and finite, or a design too extreme to be solved for.
    pub fn known_noise(&self, noise_sd: f64, prior_sd: f64) -> Result<Coefficients, Error> {
        positive("noise_sd", noise_sd)?;
        positive("prior_sd", prior_sd)?;
        let p = self.n_columns();
        let (tau, prior) = (noise_sd.powi(-2), prior_sd.powi(-2));
        let precision = self.gram() * tau + DMatrix::identity(p, p) * prior;
        let factor = factor(precision)?;
        let mean = factor.solve(&(self.moment() * tau));
        let fit = tau * self.residual(&mean) + prior * mean.norm_squared();
        let log_evidence = 0.5 * p as f64 * prior.ln() - 0.5 * log_det(&factor) - 0.5 * fit
            + self.n * (0.5 * tau.ln() - LN_SQRT_2PI);
        let covariance = rows(&factor.inverse());
        Ok(Coefficients { mean: mean.as_slice().to_vec(), covariance, log_evidence, noise_sd })
    }

    /// The exact posterior for `beta | s2 ~ N(0, s2 prior_sd^2)` and noise variance
    /// `s2 ~ InvGamma(a, b)`.
    ///
    /// # Errors
    /// A number that is not positive and finite, or a design too extreme to be solved for.
    pub fn unknown_noise(&self, prior_sd: f64, a: f64, b: f64) -> Result<UnknownNoise, Error> {
        for (name, x) in [("prior_sd", prior_sd), ("a", a), ("b", b)] {
            positive(name, x)?;
        }
        let p = self.n_columns();
        let prior = prior_sd.powi(-2);
        let precision = self.gram() + DMatrix::identity(p, p) * prior;
        let factor = factor(precision.clone())?;
        let mean = factor.solve(&self.moment());
        let a_n = a + 0.5 * self.n;
        let b_n = b + 0.5 * (self.residual(&mean) + prior * mean.norm_squared());
        let log_evidence = 0.5 * p as f64 * prior.ln() - 0.5 * log_det(&factor) + a * b.ln()
            - a_n * b_n.ln()
            + log_gamma(a_n)
            - log_gamma(a)
            - self.n * LN_SQRT_2PI;
        let spread = if a_n > 1.0 { b_n / (a_n - 1.0) } else { f64::INFINITY };
        Ok(UnknownNoise {
            mean: mean.as_slice().to_vec(),
            precision: rows(&precision),
            covariance: rows(&(factor.inverse() * spread)),
            a: a_n,
            b: b_n,
            log_evidence,
        })
    }
}
