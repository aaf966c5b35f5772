//! Automatic relevance determination: a precision for each coefficient, by EM and by coordinate ascent.

use nalgebra::{DMatrix, DVector};

use super::{LinearRegression, factor, positive};
use crate::error::Error;
use crate::family::{Family, FullRankGaussian, Gamma, Product};
use crate::model::{Conjugate, Maximize, Model};
use crate::space::Space;
use crate::special::{LN_SQRT_2PI, log_gamma};

/// `y ~ N(X beta, 1 / tau)`, `beta_j ~ N(0, 1 / alpha_j)`, with `theta = (ln alpha_1, .., ln tau)`
/// learned: EM maximizes the evidence (Tipping 2001; MacKay 1992). The `alpha` of a column that
/// explains nothing grows without end, and its coefficient goes to 0: plain EM crawls after it, so
/// speed it up by [`Anderson`](crate::Anderson).
///
/// ```
/// use elbo::models::linear_regression::{Ard, LinearRegression};
/// use elbo::{Anderson, EStep, MStep, Options, fit};
/// // the second column has nothing to do with y
/// let x = [1.0, 0.3, 2.0, -0.2, 3.0, -0.1, 4.0, 0.2, 5.0, -0.3];
/// let model = Ard::new(LinearRegression::new(&x, 2, &[2.1, 3.9, 6.1, 8.0, 9.9])?);
/// let q = model.start();
/// let fit = fit(model, q, Anderson::new((EStep, MStep)), Options::exact())?;
/// assert!((fit.q.mean()[0] - 2.0).abs() < 0.05);
/// assert!(fit.model.precisions()[1] > 10.0 * fit.model.precisions()[0]);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Ard {
    pub(super) data: LinearRegression,
    /// `ln alpha_j`, then `ln tau`.
    theta: Vec<f64>,
}

/// Ridge on the way to a start: as if each column had been seen a little.
fn first_guess(data: &LinearRegression) -> (f64, f64) {
    let p = data.n_columns() as f64;
    let outcome = (data.qy.norm_squared() + data.unexplained) / data.n;
    let column = data.r.norm_squared() / (data.n * p).max(1.0);
    let tau = if outcome > 0.0 { 2.0 / outcome } else { 1.0 };
    let alpha = if column > 0.0 && outcome > 0.0 { p * column / outcome } else { 1.0 };
    (alpha, tau)
}

impl Ard {
    /// Starts where half of the outcome is noise and the columns share the rest.
    pub fn new(data: LinearRegression) -> Ard {
        let (alpha, tau) = first_guess(&data);
        let mut theta = vec![alpha.ln(); data.n_columns()];
        theta.push(tau.ln());
        Ard { data, theta }
    }

    /// `alpha`: the precision of each coefficient.
    pub fn precisions(&self) -> Vec<f64> {
        self.theta[..self.data.n_columns()].iter().map(|a| a.exp()).collect()
    }

    /// The sd of the noise, `tau^(-1/2)`.
    pub fn noise_sd(&self) -> f64 {
        (-0.5 * self.theta[self.data.n_columns()]).exp()
    }

    /// A first `q`, which the first E-step replaces.
    pub fn start(&self) -> FullRankGaussian {
        FullRankGaussian::standard(self.data.n_columns())
    }

    fn elbo(&self, q: &FullRankGaussian) -> f64 {
        let (mean, covariance) = (DVector::from_column_slice(q.mean()), q.covariance());
        let residual = self.data.expected_residual(&mean, &covariance);
        let log_tau = self.theta[self.data.n_columns()];
        let data = self.data.n * (0.5 * log_tau - LN_SQRT_2PI) - 0.5 * log_tau.exp() * residual;
        let prior = |(j, log_alpha): (usize, &f64)| {
            let square = mean[j] * mean[j] + covariance[(j, j)];
            0.5 * log_alpha - LN_SQRT_2PI - 0.5 * log_alpha.exp() * square
        };
        let coefficients = self.theta[..mean.len()].iter().enumerate().map(prior);
        data + coefficients.sum::<f64>() + q.entropy().unwrap_or(f64::NAN)
    }
}

/// Moves the natural parameters of `q` the fraction `rate` of the way to precision `p` and
/// precision times mean `b`.
fn move_to(
    q: &mut FullRankGaussian,
    p: DMatrix<f64>,
    b: DVector<f64>,
    rate: f64,
) -> Result<(), Error> {
    let (p, b) = if rate == 1.0 {
        (p, b)
    } else {
        let old = factor(q.covariance())?.inverse();
        let pull = &old * DVector::from_column_slice(q.mean());
        (old * (1.0 - rate) + p * rate, pull * (1.0 - rate) + b * rate)
    };
    let factor = factor(p)?;
    let mean = factor.solve(&b).as_slice().to_vec();
    let mut covariance = factor.inverse();
    // symmetric in the last digit too
    covariance.fill_upper_triangle_with_lower_triangle();
    *q = FullRankGaussian::new(mean, &covariance)?;
    Ok(())
}

fn with_diagonal(mut m: DMatrix<f64>, diagonal: impl Iterator<Item = f64>) -> DMatrix<f64> {
    for (j, a) in diagonal.enumerate() {
        m[(j, j)] += a;
    }
    m
}

impl Model for Ard {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("beta", self.data.n_columns());
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let log_tau = self.theta[z.len()];
        let residual = self.data.residual(&DVector::from_column_slice(z));
        let data = self.data.n * (0.5 * log_tau - LN_SQRT_2PI) - 0.5 * log_tau.exp() * residual;
        let prior = |(z, a): (&f64, &f64)| 0.5 * a - LN_SQRT_2PI - 0.5 * a.exp() * z * z;
        data + z.iter().zip(&self.theta).map(prior).sum::<f64>()
    }
    fn n_theta(&self) -> usize {
        self.theta.len()
    }
    fn theta(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.theta);
    }
    fn set_theta(&mut self, theta: &[f64]) {
        self.theta.copy_from_slice(theta);
    }
}

impl Conjugate<FullRankGaussian> for Ard {
    fn natural_step(&self, q: &mut FullRankGaussian, rate: f64) -> Result<f64, Error> {
        let tau = self.theta[self.data.n_columns()].exp();
        let p = with_diagonal(self.data.gram() * tau, self.precisions().into_iter());
        move_to(q, p, self.data.moment() * tau, rate)?;
        Ok(self.elbo(q))
    }
}

impl Maximize<FullRankGaussian> for Ard {
    fn maximize(&mut self, q: &FullRankGaussian) -> Result<f64, Error> {
        let (mean, covariance) = (DVector::from_column_slice(q.mean()), q.covariance());
        for j in 0..mean.len() {
            self.theta[j] = -(mean[j] * mean[j] + covariance[(j, j)]).ln();
        }
        let residual = self.data.expected_residual(&mean, &covariance);
        self.theta[mean.len()] = (self.data.n / residual).ln();
        Ok(self.elbo(q))
    }
}

/// The same with `alpha_j ~ Gamma(a, rate b)` and `tau ~ Gamma(c, rate d)` as latent variables
/// too: `z = (beta, alpha, tau)` and `q(beta) q(alpha) q(tau)` by coordinate ascent (Bishop 2006,
/// section 10.3, with a precision for each coefficient).
///
/// ```
/// use elbo::models::linear_regression::{BayesianArd, LinearRegression};
/// use elbo::{Anderson, EStep, Options, fit};
/// let x = [1.0, 0.3, 2.0, -0.2, 3.0, -0.1, 4.0, 0.2, 5.0, -0.3];
/// let data = LinearRegression::new(&x, 2, &[2.1, 3.9, 6.1, 8.0, 9.9])?;
/// let model = BayesianArd::new(data);
/// let q = model.start();
/// let fit = fit(model, q, Anderson::new(EStep), Options::exact())?;
/// let beta = fit.q.first();
/// assert!((beta.mean()[0] - 2.0).abs() < 0.05 && beta.sd()[0] > 0.0);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BayesianArd {
    pub(super) data: LinearRegression,
    alpha: (f64, f64),
    tau: (f64, f64),
}

impl BayesianArd {
    /// With priors that say next to nothing: shapes and rates 1e-6 (Tipping 2001), rates in units of
    /// half the mean square of the outcome and of what that makes of a coefficient, so that the units
    /// of the data do not matter.
    pub fn new(data: LinearRegression) -> BayesianArd {
        let (alpha, tau) = first_guess(&data);
        BayesianArd { data, alpha: (1e-6, 1e-6 / alpha), tau: (1e-6, 1e-6 / tau) }
    }

    /// Shape and rate of the prior of each `alpha`, and of `tau`.
    ///
    /// # Errors
    /// A number that is not positive and finite.
    pub fn with_priors(mut self, alpha: (f64, f64), tau: (f64, f64)) -> Result<Self, Error> {
        for (name, x) in [("shape", alpha.0), ("rate", alpha.1)] {
            positive(&format!("the {name} of alpha"), x)?;
        }
        for (name, x) in [("shape", tau.0), ("rate", tau.1)] {
            positive(&format!("the {name} of tau"), x)?;
        }
        (self.alpha, self.tau) = (alpha, tau);
        Ok(self)
    }

    /// A first `q`: precisions at the guess EM starts from.
    pub fn start(&self) -> Product<FullRankGaussian, Gamma> {
        let p = self.data.n_columns();
        let (alpha, tau) = first_guess(&self.data);
        let mut gamma = vec![0.0; 2 * (p + 1)];
        gamma[p + 1..].fill(-alpha.ln());
        gamma[2 * p + 1] = -tau.ln();
        let ones = vec![1.0; p + 1];
        let mut q = Gamma::new(&ones, &ones).unwrap_or_else(|_| unreachable!("1 is positive"));
        q.set_params(&gamma);
        Product::new(FullRankGaussian::standard(p), q)
    }

    /// `(prior shape, prior rate)` of coordinate `j` of `(alpha, tau)`.
    fn prior(&self, j: usize) -> (f64, f64) {
        if j < self.data.n_columns() { self.alpha } else { self.tau }
    }

    /// `E[log p(y, beta, alpha, tau)]` from the expectations.
    fn expected(&self, residual: f64, squares: &[f64], mean: &[f64], log: &[f64]) -> f64 {
        let p = squares.len();
        let data = self.data.n * (0.5 * log[p] - LN_SQRT_2PI) - 0.5 * mean[p] * residual;
        let beta = |j: usize| 0.5 * log[j] - LN_SQRT_2PI - 0.5 * mean[j] * squares[j];
        let prior = |j: usize| {
            let (a, b) = self.prior(j);
            a * b.ln() - log_gamma(a) + (a - 1.0) * log[j] - b * mean[j]
        };
        data + (0..p).map(beta).sum::<f64>() + (0..=p).map(prior).sum::<f64>()
    }
}

impl Model for BayesianArd {
    fn space(&self) -> Space {
        let (mut space, p) = (Space::new(), self.data.n_columns());
        space.reals("beta", p);
        space.positives("alpha", p);
        space.positive("tau");
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let (beta, precisions) = z.split_at(self.data.n_columns());
        if precisions.iter().any(|x| *x <= 0.0) {
            return f64::NEG_INFINITY;
        }
        let residual = self.data.residual(&DVector::from_column_slice(beta));
        let squares: Vec<f64> = beta.iter().map(|b| b * b).collect();
        let log: Vec<f64> = precisions.iter().map(|x| x.ln()).collect();
        self.expected(residual, &squares, precisions, &log)
    }
}

impl Conjugate<Product<FullRankGaussian, Gamma>> for BayesianArd {
    fn natural_step(
        &self,
        q: &mut Product<FullRankGaussian, Gamma>,
        rate: f64,
    ) -> Result<f64, Error> {
        let p = self.data.n_columns();
        let (beta, precisions) = q.parts_mut();
        let now = precisions.mean();
        let gram = with_diagonal(self.data.gram() * now[p], now[..p].iter().copied());
        move_to(beta, gram, self.data.moment() * now[p], rate)?;
        let (mean, covariance) = (DVector::from_column_slice(beta.mean()), beta.covariance());
        let residual = self.data.expected_residual(&mean, &covariance);
        let square = |j: usize| mean[j] * mean[j] + covariance[(j, j)];
        let squares: Vec<f64> = (0..p).map(square).collect();
        let (mut shape, mut slope) = (vec![0.0; p + 1], vec![0.0; p + 1]);
        for j in 0..=p {
            let (a, b) = self.prior(j);
            let (count, sum) = if j < p { (1.0, squares[j]) } else { (self.data.n, residual) };
            shape[j] = (1.0 - rate) * precisions.shape(j) + rate * (a + 0.5 * count);
            slope[j] = (1.0 - rate) * precisions.rate(j) + rate * (b + 0.5 * sum);
        }
        *precisions = Gamma::new(&shape, &slope)?;
        let expected =
            self.expected(residual, &squares, &precisions.mean(), &precisions.mean_log());
        Ok(expected + q.entropy().unwrap_or(f64::NAN))
    }
}
