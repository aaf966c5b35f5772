//! What regressions say of outcomes that have not been seen.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use super::{Ard, BayesianArd, Coefficients, UnknownNoise};
use crate::data::Observations;
use crate::error::Error;
use crate::family::{FullRankGaussian, Gamma, Product};
use crate::special::{LN_SQRT_2PI, log_gamma};

/// Calls `f` with each row of a matrix of `p` columns.
fn each_row<T>(x: &[f64], p: usize, f: impl FnMut(&[f64]) -> T) -> Result<Vec<T>, Error> {
    if p == 0 || !x.len().is_multiple_of(p) {
        let rows = x.len().div_ceil(p.max(1));
        let whole = format!("{rows} whole rows of {p} columns");
        Error::expect_len("the matrix", x.len(), &whole, rows * p)?;
    }
    Observations::new(x.to_vec(), p)?;
    Ok(x.chunks_exact(p).map(f).collect())
}

/// `x' mean`, and `x' covariance x`.
fn linear(x: &[f64], mean: &[f64], covariance: impl Fn(usize, usize) -> f64) -> (f64, f64) {
    let p = mean.len();
    let at = x.iter().zip(mean).map(|(x, m)| x * m).sum();
    let row = |i: usize| x[i] * (0..p).map(|j| covariance(i, j) * x[j]).sum::<f64>();
    (at, (0..p).map(row).sum::<f64>().max(0.0))
}

/// Checks that there is an outcome for each row, all of them finite.
fn outcomes(y: &[f64], rows: usize) -> Result<(), Error> {
    Error::expect_len("the outcomes", y.len(), "the matrix in rows", rows)?;
    Observations::with_names(y.to_vec(), ["y"]).map(drop)
}

fn log_normal((mean, sd): (f64, f64), y: f64) -> f64 {
    let z = (y - mean) / sd;
    -LN_SQRT_2PI - sd.ln() - 0.5 * z * z
}

impl Coefficients {
    /// Mean and sd of a new outcome for each row of a matrix, row by row: `x' E[beta]`, and the root of
    /// `x' cov(beta) x + noise_sd^2`.
    ///
    /// ```
    /// use elbo::models::linear_regression::LinearRegression;
    /// let (x, y) = ([1.0, 0.0, 1.0, 1.0, 1.0, 2.0], [0.9, 3.2, 4.9]);
    /// let posterior = LinearRegression::new(&x, 2, &y)?.known_noise(0.2, 10.0)?;
    /// let ahead = posterior.predict(&[1.0, 3.0, 1.0, 9.0])?;
    /// assert!((ahead[0].0 - 7.0).abs() < 0.1 && ahead[0].1 > 0.2);
    /// assert!(ahead[1].1 > ahead[0].1); // further from what was seen
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// Rows of another length, or a number that is not finite.
    pub fn predict(&self, x: &[f64]) -> Result<Vec<(f64, f64)>, Error> {
        let p = self.mean.len();
        each_row(x, p, |x| {
            let (mean, spread) = linear(x, &self.mean, |i, j| self.covariance[i * p + j]);
            (mean, spread.sqrt().hypot(self.noise_sd))
        })
    }

    /// The log density of each outcome, one for each row of a matrix, in nats.
    ///
    /// # Errors
    /// As [`Coefficients::predict`]; another number of outcomes than rows.
    pub fn score(&self, x: &[f64], y: &[f64]) -> Result<Vec<f64>, Error> {
        let all = self.predict(x)?;
        outcomes(y, all.len())?;
        Ok(all.into_iter().zip(y).map(|(at, y)| log_normal(at, *y)).collect())
    }
}

impl UnknownNoise {
    fn factor(&self) -> Result<Cholesky<f64, Dyn>, Error> {
        let p = self.mean.len();
        Cholesky::new(DMatrix::from_row_slice(p, p, &self.precision)).ok_or_else(super::singular)
    }

    /// Location and scale of the Student t of `2 a` degrees of freedom of each new outcome.
    fn students(&self, x: &[f64]) -> Result<Vec<(f64, f64)>, Error> {
        let (p, factor) = (self.mean.len(), self.factor()?);
        each_row(x, p, |x| {
            let solved = factor.solve(&DVector::from_column_slice(x));
            let spread: f64 = solved.iter().zip(x).map(|(s, x)| s * x).sum();
            let location = x.iter().zip(&self.mean).map(|(x, m)| x * m).sum();
            (location, (self.b / self.a * (1.0 + spread)).sqrt())
        })
    }

    /// Mean and sd of a new outcome for each row of a matrix, row by row: Student t with `2 a` degrees
    /// of freedom about `x' E[beta]`, of scale `sqrt(b / a (1 + x' P^-1 x))`. The sd is not finite where
    /// `a <= 1`.
    ///
    /// # Errors
    /// Rows of another length, or a number that is not finite.
    pub fn predict(&self, x: &[f64]) -> Result<Vec<(f64, f64)>, Error> {
        let wider = if self.a > 1.0 { (self.a / (self.a - 1.0)).sqrt() } else { f64::INFINITY };
        let all = self.students(x)?;
        Ok(all.into_iter().map(|(location, scale)| (location, wider * scale)).collect())
    }

    /// The log density of each outcome, one for each row of a matrix, in nats.
    ///
    /// # Errors
    /// As [`UnknownNoise::predict`]; another number of outcomes than rows.
    pub fn score(&self, x: &[f64], y: &[f64]) -> Result<Vec<f64>, Error> {
        let all = self.students(x)?;
        outcomes(y, all.len())?;
        let half = self.a + 0.5;
        let constant = log_gamma(half) - log_gamma(self.a);
        let one = |((location, scale), y): ((f64, f64), &f64)| {
            let z = (y - location) / scale;
            constant
                - 0.5 * (2.0 * self.a * std::f64::consts::PI).ln()
                - scale.ln()
                - half * (z * z / (2.0 * self.a)).ln_1p()
        };
        Ok(all.into_iter().zip(y).map(one).collect())
    }
}

impl Ard {
    /// Mean and sd of a new outcome for each row of a matrix, row by row, at the learned precisions.
    ///
    /// # Errors
    /// Rows of another length, or a number that is not finite.
    pub fn predict(&self, q: &FullRankGaussian, x: &[f64]) -> Result<Vec<(f64, f64)>, Error> {
        let covariance = q.covariance();
        each_row(x, q.mean().len(), |x| {
            let (mean, spread) = linear(x, q.mean(), |i, j| covariance[(i, j)]);
            (mean, spread.sqrt().hypot(self.noise_sd()))
        })
    }

    /// The log density of each outcome, one for each row of a matrix, in nats.
    ///
    /// # Errors
    /// As [`Ard::predict`]; another number of outcomes than rows.
    pub fn score(&self, q: &FullRankGaussian, x: &[f64], y: &[f64]) -> Result<Vec<f64>, Error> {
        let all = self.predict(q, x)?;
        outcomes(y, all.len())?;
        Ok(all.into_iter().zip(y).map(|(at, y)| log_normal(at, *y)).collect())
    }
}

impl BayesianArd {
    /// Mean and sd of a new outcome for each row of a matrix, row by row: the variance of the noise is
    /// `E[1 / tau]`. The sd is not finite where the shape of `tau` is 1 or less.
    ///
    /// # Errors
    /// Rows of another length, or a number that is not finite.
    pub fn predict(
        &self,
        q: &Product<FullRankGaussian, Gamma>,
        x: &[f64],
    ) -> Result<Vec<(f64, f64)>, Error> {
        let (beta, tau) = (q.first(), q.second());
        let (p, covariance) = (beta.mean().len(), beta.covariance());
        let (shape, rate) = (tau.shape(p), tau.rate(p));
        let noise = if shape > 1.0 { rate / (shape - 1.0) } else { f64::INFINITY };
        each_row(x, p, |x| {
            let (mean, spread) = linear(x, beta.mean(), |i, j| covariance[(i, j)]);
            (mean, (spread + noise).sqrt())
        })
    }
}
