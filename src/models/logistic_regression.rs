//! `LogisticRegression`: chances that depend on columns, with a full-covariance normal posterior by
//! coordinate ascent.

mod averages;
mod compared;
mod pass;
mod step;

use crate::data::{Fingerprint, Observations};
use crate::error::Error;
use crate::family::{Divergence, Family, FullRankGaussian};
use crate::model::{Differentiable, Model, Subsample};
use crate::space::Space;
use crate::special::{LN_SQRT_2PI, log_choose};
use averages::{mean_sigmoid, mean_softplus};

/// Successes out of trials whose chance depends on columns:
///
/// ```text
/// y_i ~ Binomial(trials_i, 1 / (1 + e^-(x_i' beta))),   beta_j ~ Normal(0, sd_j)
/// ```
///
/// `n` rows, `p` columns, and one trial a row unless told otherwise. `z = beta`, behind the intercept
/// where there is one. No posterior of this model has a closed form. [`EStep`](crate::EStep) is
/// coordinate ascent in a larger model that has the same posterior of `beta`: with a Polya-Gamma
/// variable `omega_i` for each row (Polson, Scott and Windle 2013) `beta` given `omega` is normal, and
/// the best `q(beta) q(omega)` has
///
/// ```text
/// q(beta) = Normal(mean, S),   S^-1 = diag(sd^-2) + sum_i E[omega_i] x_i x_i',
/// mean = S sum_i (y_i - trials_i / 2) x_i,
/// E[omega_i] = trials_i tanh(c_i / 2) / (2 c_i),   c_i^2 = E[(x_i' beta)^2]
/// ```
///
/// which are the updates of Jaakkola and Jordan (2000). The ELBO of a step is that of the larger
/// model, with every constant:
///
/// ```text
/// sum_i ln choose(trials_i, y_i) + (y_i - trials_i / 2) x_i' mean - trials_i ln(2 cosh(c_i / 2))
///       - E[omega_i] (E[(x_i' beta)^2] - c_i^2) / 2   -   KL(q(beta) || prior)
/// ```
///
/// and therefore a lower bound of [`LogisticRegression::elbo`], the ELBO of the same `q(beta)` in the
/// model itself, which is one of the evidence. A gradient ascent on the model itself ends higher; it
/// takes more and longer steps. A step looks at every row once, and costs `O(n p^2)`.
///
/// Columns that tell successes from failures for certain have no best `beta` without a prior; with
/// it the posterior is finite.
///
/// ```
/// use elbo::models::LogisticRegression;
/// use elbo::{EStep, Options, fit};
/// let hours = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0];
/// let passed = [0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0];
/// let model = LogisticRegression::new(&hours, 1, &passed, 5.0)?.with_intercept(10.0)?;
/// let q = model.start();
/// let fit = fit(model, q, EStep, Options::exact())?;
/// let bound = fit.trace.last().and_then(|s| s.elbo).expect("exact moves know it");
/// assert!(bound < fit.model.elbo(&fit.q));
/// let chances = fit.model.predict(&fit.q, &[1.0, 4.0])?;
/// assert!(chances[0] < 0.3 && chances[1] > 0.8);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LogisticRegression {
    /// Rows in units of the prior: `x_ij sd_j`, so that the prior is the same in every direction.
    x: Vec<f64>,
    p: usize,
    intercept: bool,
    /// The sd of the prior of each coefficient.
    sd: Vec<f64>,
    successes: Vec<f64>,
    trials: Vec<f64>,
    weights: Vec<f64>,
    /// `ln choose(trials_i, y_i)`
    ways: Vec<f64>,
    shown: Option<Vec<usize>>,
    /// Of the matrix and the outcomes, weights apart.
    given: Fingerprint,
}

fn positive(option: &str, value: f64) -> Result<(), Error> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::option(option, value, "it must be positive and finite"))
}

/// `ln(1 + e^x)`
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl LogisticRegression {
    /// A matrix row by row, with `n_columns` numbers a row, an outcome for each row, 0 or 1, and the
    /// sd of the prior of every coefficient.
    ///
    /// # Errors
    /// Lengths that do not fit, a number that is not finite or an outcome that is neither 0 nor 1,
    /// by row and column, an sd that is not positive.
    pub fn new(
        x: &[f64],
        n_columns: usize,
        outcomes: &[f64],
        prior_sd: f64,
    ) -> Result<LogisticRegression, Error> {
        LogisticRegression::binomial(x, n_columns, outcomes, &vec![1.0; outcomes.len()], prior_sd)
    }

    /// The same with `successes` out of `trials` in each row.
    ///
    /// # Errors
    /// As [`LogisticRegression::new`]; trials that are not whole and 1 or more, successes that are
    /// not whole numbers from 0 to the trials of the row.
    pub fn binomial(
        x: &[f64],
        n_columns: usize,
        successes: &[f64],
        trials: &[f64],
        prior_sd: f64,
    ) -> Result<LogisticRegression, Error> {
        let n = successes.len();
        let what = format!("{n} rows (as many as outcomes) of {n_columns} columns");
        Error::expect_len("the matrix", x.len(), &what, n * n_columns)?;
        Error::expect_len("the trials", trials.len(), "the outcomes", n)?;
        positive("prior_sd", prior_sd)?;
        Observations::new(x.to_vec(), n_columns)?;
        let trials_too = Observations::with_names(trials.to_vec(), ["trials"])?;
        let whole = |x: f64| x.fract() == 0.0;
        trials_too
            .expect_cells(|_, x| x >= 1.0 && whole(x), |_| "a whole number, 1 or more".into())?;
        let outcomes = Observations::with_names(successes.to_vec(), ["outcome"])?;
        let most = trials.iter().copied().fold(1.0, f64::max);
        let must = |_| match most {
            1.0 => "0 or 1".to_string(),
            _ => "a whole number from 0 to the trials of its row".to_string(),
        };
        outcomes.expect_cells(|_, y| y >= 0.0 && y <= most && whole(y), must)?;
        if let Some(i) = (0..n).find(|&i| successes[i] > trials[i]) {
            let remedy = format!("row {i} has {} trials", trials[i]);
            return Err(Error::option(&format!("successes[{i}]"), successes[i], &remedy));
        }
        let given = match most {
            1.0 => Fingerprint::of(&[x, successes]),
            _ => Fingerprint::of(&[x, successes, trials]),
        };
        Ok(LogisticRegression {
            x: x.iter().map(|x| x * prior_sd).collect(),
            p: n_columns,
            intercept: false,
            sd: vec![prior_sd; n_columns],
            successes: successes.to_vec(),
            trials: trials.to_vec(),
            weights: vec![1.0; n],
            ways: trials.iter().zip(successes).map(|(n, k)| log_choose(*n, *k)).collect(),
            shown: None,
            given,
        })
    }

    /// The same with an intercept, whose prior has this sd: the first coordinate of `z`.
    ///
    /// # Errors
    /// An sd that is not positive and finite, or an intercept there already is.
    pub fn with_intercept(mut self, prior_sd: f64) -> Result<LogisticRegression, Error> {
        positive("prior_sd of the intercept", prior_sd)?;
        if self.intercept {
            let remedy = "the model has an intercept already";
            return Err(Error::option("prior_sd of the intercept", prior_sd, remedy));
        }
        let rows = self.x.chunks_exact(self.p);
        self.x = rows.flat_map(|row| [&[prior_sd], row].concat()).collect();
        self.sd.insert(0, prior_sd);
        (self.p, self.intercept) = (self.p + 1, true);
        Ok(self)
    }

    /// The same with row `i` counted `weights[i]` times.
    ///
    /// # Errors
    /// Another number of weights than rows, weights that are negative or all zero.
    pub fn weighted(mut self, weights: &[f64]) -> Result<LogisticRegression, Error> {
        Observations::new(self.successes.clone(), 1)?.weighted(weights.to_vec())?;
        self.weights.copy_from_slice(weights);
        Ok(self)
    }

    /// How many coefficients, the intercept among them.
    pub fn n_coefficients(&self) -> usize {
        self.p
    }

    /// Which data these are: [`Fingerprint::of`] the matrix as it was given, the outcomes, the trials
    /// where any are more than 1, and the weights if there are any.
    pub fn fingerprint(&self) -> Fingerprint {
        self.given.and_weights(&self.weights)
    }

    /// The prior as a first `q`.
    pub fn start(&self) -> FullRankGaussian {
        let mut q = FullRankGaussian::standard(self.p);
        let mut params = vec![0.0; q.n_params()];
        for (j, sd) in self.sd.iter().enumerate() {
            params[self.p + j] = sd.ln();
        }
        q.set_params(&params);
        q
    }

    fn row(&self, i: usize) -> &[f64] {
        &self.x[i * self.p..(i + 1) * self.p]
    }

    fn rows(&self) -> usize {
        self.shown.as_ref().map_or(self.weights.len(), Vec::len)
    }

    fn at(&self, i: usize) -> usize {
        self.shown.as_ref().map_or(i, |shown| shown[i])
    }

    /// What the rows shown count for.
    fn scale(&self) -> f64 {
        let Some(shown) = &self.shown else { return 1.0 };
        let total: f64 = self.weights.iter().sum();
        total / shown.iter().map(|&i| self.weights[i]).sum::<f64>()
    }

    /// `ln choose(trials_i, y_i)` of the row shown as number `i`, weighted.
    fn ways(&self, i: usize) -> f64 {
        let i = self.at(i);
        self.weights[i] * self.ways[i]
    }

    /// Mean and sd of `x' beta` under a `q`, for a row in units of the prior.
    fn predictor(&self, row: &[f64], q: &FullRankGaussian, lower: &[f64]) -> (f64, f64) {
        let natural = |j: usize| row[j] / self.sd[j];
        let mean = q.mean().iter().enumerate().map(|(j, m)| natural(j) * m).sum();
        let mut through = vec![0.0; self.p];
        for (j, l) in crate::triangle::rows(lower).take(self.p).enumerate() {
            crate::triangle::add_scaled(natural(j), l, &mut through[..=j]);
        }
        (mean, crate::triangle::dot(&through, &through).sqrt())
    }

    /// The ELBO of a normal `q` in the model itself, `E[ln p(y | beta)] - KL(q || prior)`: a row's
    /// expectation is one of `x' beta` alone, done numerically to about ten digits. It lies above the
    /// ELBO that a step reports, and below the evidence.
    pub fn elbo(&self, q: &FullRankGaussian) -> f64 {
        let lower = q.triangle();
        let one = |i: usize| {
            let row = self.at(i);
            let (mean, sd) = self.predictor(self.row(row), q, &lower);
            let (y, trials) = (self.successes[row], self.trials[row]);
            self.ways(i) + self.weights[row] * (y * mean - trials * mean_softplus(mean, sd))
        };
        let data: f64 = (0..self.rows()).map(one).sum();
        data * self.scale() - q.kl(&self.start())
    }

    /// The probability of a success in each of these rows, averaged over `q`: `n_columns` numbers a
    /// row, without the intercept.
    ///
    /// # Errors
    /// Rows of another length, or numbers that are not finite.
    pub fn predict(&self, q: &FullRankGaussian, x: &[f64]) -> Result<Vec<f64>, Error> {
        let columns = self.p - usize::from(self.intercept);
        let rows = Observations::new(x.to_vec(), columns.max(1))?;
        let lower = q.triangle();
        let mut whole = Vec::with_capacity(self.p);
        let one = |row: &[f64]| {
            whole.clear();
            whole.extend(self.intercept.then_some(1.0).into_iter().chain(row.iter().copied()));
            whole.iter_mut().zip(&self.sd).for_each(|(x, sd)| *x *= sd);
            let (mean, sd) = self.predictor(&whole, q, &lower);
            mean_sigmoid(mean, sd)
        };
        Ok(rows.rows().map(one).collect())
    }

    /// Adds the gradient in units of the prior to `grad`, and returns `ln p(y | beta)`.
    fn likelihood(&self, beta: &[f64], mut grad: Option<&mut [f64]>) -> f64 {
        let mut sum = 0.0;
        for i in 0..self.rows() {
            let row = self.at(i);
            let x = self.row(row);
            let linear = crate::triangle::dot(x, beta);
            let (y, trials, weight) = (self.successes[row], self.trials[row], self.weights[row]);
            sum += self.ways(i) + weight * (y * linear - trials * softplus(linear));
            if let Some(grad) = grad.as_deref_mut() {
                let chance = (-softplus(-linear)).exp();
                crate::triangle::add_scaled(weight * (y - trials * chance), x, grad);
            }
        }
        sum
    }
}

impl Model for LogisticRegression {
    fn space(&self) -> Space {
        let mut space = Space::new();
        if self.intercept {
            space.real("intercept");
        }
        space.reals("beta", self.p - usize::from(self.intercept));
        space
    }
    fn dim(&self) -> usize {
        self.p
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        crate::scratch::with_buffer(self.p, |beta| {
            let scaled = z.iter().zip(&self.sd).map(|(z, sd)| z / sd);
            beta.iter_mut().zip(scaled).for_each(|(b, z)| *b = z);
            self.scale() * self.likelihood(beta, None) + self.log_prior(beta)
        })
    }
}

impl LogisticRegression {
    /// The log density of `beta`, given in units of the prior.
    fn log_prior(&self, beta: &[f64]) -> f64 {
        let one = |(b, sd): (&f64, &f64)| -0.5 * b * b - LN_SQRT_2PI - sd.ln();
        beta.iter().zip(&self.sd).map(one).sum()
    }
}

impl Differentiable for LogisticRegression {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        crate::scratch::with_buffer(self.p, |beta| {
            let scaled = z.iter().zip(&self.sd).map(|(z, sd)| z / sd);
            beta.iter_mut().zip(scaled).for_each(|(b, z)| *b = z);
            grad.fill(0.0);
            let scale = self.scale();
            let data = self.likelihood(beta, Some(&mut *grad));
            let each = grad.iter_mut().zip(&*beta).zip(&self.sd);
            each.for_each(|((g, b), sd)| *g = (scale * *g - b) / sd);
            scale * data + self.log_prior(beta)
        })
    }
}

impl Subsample for LogisticRegression {
    fn n_data(&self) -> usize {
        self.weights.len()
    }
    fn subsample(&mut self, rows: &[usize]) {
        let shown = self.shown.get_or_insert_default();
        shown.clear();
        shown.extend_from_slice(rows);
    }
    fn whole(&mut self) {
        self.shown = None;
    }
}
