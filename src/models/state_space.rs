//! `StateSpace`: a level (and a slope) that wander, seen through noise; EM for the variances.

mod compared;
mod kalman;
mod path;

pub use path::Path;

use std::sync::Arc;

use nalgebra::{SMatrix, SVector};

use crate::data::number;
use crate::error::Error;
use crate::model::{Conjugate, Maximize, Model};
use crate::noise::{Purpose, fill_normal, stream};
use crate::space::Space;
use crate::special::LN_SQRT_2PI;
use crate::warning::{Code, Warning};
use kalman::{Filtered, filter};

/// `y_t = a_t[0] + e_t`, `e_t ~ N(0, r)`; `a_(t+1) = T a_t + u_t`, `u_t ~ N(0, diag(q))`;
/// `a_1 ~ N(m, diag(v))`, with a state of `M` numbers (Durbin and Koopman 2012, chapters 2 to 4).
///
/// `theta = (ln r, ln q)`; `z` holds the states, one time after another (`M x n`). The E-step is the
/// smoother of Rauch, Tung and Striebel (1965), the M-step closed (Shumway and Stoffer 1982).
/// Observations that are missing, written NaN, are passed over.
///
/// ```
/// use elbo::models::state_space::LocalLevel;
/// use elbo::{Anderson, EStep, MStep, Options, fit};
/// let flows = [1120.0, 1160.0, 963.0, 1210.0, 1160.0, f64::NAN, 813.0, 1230.0, 1370.0, 1140.0];
/// let model = LocalLevel::level(&flows)?;
/// let q = model.start();
/// let fit = fit(model, q, Anderson::new((EStep, MStep)), Options::exact())?;
/// let (level, sd) = fit.model.smoothed()[5];
/// assert!(level > 900.0 && level < 1300.0 && sd > 0.0);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct StateSpace<const M: usize> {
    data: Arc<Series<M>>,
    log_noise: f64,
    log_drift: [f64; M],
}

/// A level that walks at random: `T = 1`.
pub type LocalLevel = StateSpace<1>;
/// A level and its slope, both of which walk at random: `T = [[1, 1], [0, 1]]`.
pub type LocalTrend = StateSpace<2>;

/// Below which share of the largest number of a series standard deviations are lost in its last digits.
const LAST_DIGITS: f64 = 1e-8;

/// What is known before any variance is.
#[derive(Clone, Debug, PartialEq)]
struct Series<const M: usize> {
    y: Vec<f64>,
    transition: SMatrix<f64, M, M>,
    mean: SVector<f64, M>,
    variance: SVector<f64, M>,
    observed: usize,
    /// The variance of what was observed.
    spread: f64,
}

/// Refuses a series with an observation that is infinite, or whose square is.
fn finite_or_missing(y: &[f64]) -> Result<(), Error> {
    let Some(t) = y.iter().position(|y| y.abs() > 1e150) else { return Ok(()) };
    let remedy = match y[t].is_infinite() {
        true => "Write NaN for what is missing (times count from 0)",
        false => "Its square is next to infinite: take another unit",
    };
    Err(Error::Data {
        place: format!("y[{t}]"),
        value: number(y[t]),
        count: String::new(),
        remedy: remedy.to_string(),
    })
}

impl StateSpace<1> {
    /// A level that walks at random. Before the first observation it is `N(y_1, 100 var(y))`: next to
    /// nothing is known of it.
    ///
    /// # Errors
    /// Fewer than three observations that are not missing, one that is infinite, or a series that
    /// is constant.
    pub fn level(y: &[f64]) -> Result<LocalLevel, Error> {
        StateSpace::new(y, SMatrix::identity())
    }
}

impl StateSpace<2> {
    /// A level and its slope. Before the first observation the level is `N(y_1, 100 var(y))` and the
    /// slope `N(0, 100 var(y))`.
    ///
    /// # Errors
    /// As [`StateSpace::level`].
    pub fn trend(y: &[f64]) -> Result<LocalTrend, Error> {
        StateSpace::new(y, SMatrix::<f64, 2, 2>::new(1.0, 1.0, 0.0, 1.0))
    }
}

impl<const M: usize> StateSpace<M> {
    fn new(y: &[f64], transition: SMatrix<f64, M, M>) -> Result<Self, Error> {
        finite_or_missing(y)?;
        let seen: Vec<f64> = y.iter().copied().filter(|y| !y.is_nan()).collect();
        let n = seen.len() as f64;
        if seen.len() < 3 {
            let remedy = "a level, its drift and the noise need at least 3 observations";
            return Err(Error::option("observations of the series", seen.len(), remedy));
        }
        let mean = seen.iter().sum::<f64>() / n;
        let spread = seen.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>() / n;
        if spread <= 1e-28 * mean * mean {
            return Err(Error::Data {
                place: "y".to_string(),
                value: format!("constant, {mean}"),
                count: String::new(),
                remedy: "There is no variance to explain".to_string(),
            });
        }
        let mut first = SVector::zeros();
        first[0] = seen[0];
        let variance = SVector::repeat(100.0 * spread);
        let (y, observed) = (y.to_vec(), seen.len());
        let data = Series { y, transition, mean: first, variance, observed, spread };
        let log_noise = (0.5 * spread).ln();
        let log_drift = [(0.1 * spread).ln(); M];
        Ok(StateSpace { data: Arc::new(data), log_noise, log_drift })
    }

    /// What is known of the state before the first observation: means and variances.
    ///
    /// # Errors
    /// A mean that is not finite, or a variance that is not positive and finite.
    pub fn starting_at(mut self, mean: [f64; M], variance: [f64; M]) -> Result<Self, Error> {
        for i in 0..M {
            if !mean[i].is_finite() {
                return Err(Error::option(&format!("mean[{i}]"), mean[i], "it must be finite"));
            }
            if !(variance[i] > 0.0 && variance[i].is_finite()) {
                let remedy = "it must be positive and finite";
                return Err(Error::option(&format!("variance[{i}]"), variance[i], remedy));
            }
        }
        let data = Arc::make_mut(&mut self.data);
        (data.mean, data.variance) = (SVector::from(mean), SVector::from(variance));
        Ok(self)
    }

    /// With variances that are known: of the noise, and of the drift of each part of the state.
    ///
    /// # Errors
    /// A variance that is not positive and finite.
    pub fn with_variances(mut self, noise: f64, drift: [f64; M]) -> Result<Self, Error> {
        for (name, v) in std::iter::once(("noise", noise)).chain(drift.map(|v| ("drift", v))) {
            if !(v > 0.0 && v.is_finite()) {
                let remedy = "it must be positive and finite";
                return Err(Error::option(&format!("the variance of the {name}"), v, remedy));
            }
        }
        self.log_noise = noise.ln();
        self.log_drift = drift.map(f64::ln);
        Ok(self)
    }

    /// `r`: the variance of the noise.
    pub fn noise(&self) -> f64 {
        self.log_noise.exp()
    }

    /// `q`: the variance of a step of each part of the state.
    pub fn drift(&self) -> [f64; M] {
        self.log_drift.map(f64::exp)
    }

    fn filtered(&self) -> Filtered<M> {
        let mut steps = Filtered::default();
        filter(&self.data, self.noise(), &self.drift(), &mut steps);
        steps
    }

    /// `log p(y)`, by the filter of Kalman (1960).
    pub fn log_likelihood(&self) -> f64 {
        self.filtered().log_likelihood
    }

    /// Mean and sd of the level at each time, from the observations up to then.
    pub fn filtered_level(&self) -> Vec<(f64, f64)> {
        self.filtered().steps.iter().map(|s| (s.mean[0], s.covariance[(0, 0)].sqrt())).collect()
    }

    /// Mean and sd of the level at each time, from all observations.
    pub fn smoothed(&self) -> Vec<(f64, f64)> {
        let mut steps = self.filtered();
        steps.smooth(&self.data, self.noise(), &self.drift());
        steps.smoothed.iter().map(|(m, v)| (m[0], v[(0, 0)].sqrt())).collect()
    }

    /// Mean and sd of the next `steps` observations.
    pub fn forecast(&self, steps: usize) -> Vec<(f64, f64)> {
        let run = self.filtered();
        // There are at least three steps.
        let Some(last) = run.steps.last() else { return Vec::new() };
        let (mut mean, mut covariance) = (last.mean, last.covariance);
        let (t, drift) = (self.data.transition, SVector::from(self.drift()));
        let mut next = || {
            mean = t * mean;
            covariance = t * covariance * t.transpose() + SMatrix::from_diagonal(&drift);
            (mean[0], (covariance[(0, 0)] + self.noise()).sqrt())
        };
        (0..steps).map(|_| next()).collect()
    }

    /// The log density of each observation that follows the series, in nats, given all before it; 0
    /// of one that is missing, written NaN.
    ///
    /// ```
    /// use elbo::data::NILE;
    /// use elbo::models::state_space::LocalLevel;
    /// let model = LocalLevel::level(&NILE[..80])?.with_variances(15e3, [1.5e3])?;
    /// let score = model.score(&NILE[80..])?;
    /// assert_eq!(score.len(), 20);
    /// assert!(score[0] < 0.0);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// An observation that is infinite.
    pub fn score(&self, next: &[f64]) -> Result<Vec<f64>, Error> {
        finite_or_missing(next)?;
        let mut data = (*self.data).clone();
        data.y.extend_from_slice(next);
        let mut run = Filtered::default();
        filter(&data, self.noise(), &self.drift(), &mut run);
        let one = |(step, y): (&kalman::Update<M>, &f64)| {
            let (off, total) = (y - step.ahead[0], step.spread[(0, 0)] + self.noise());
            if y.is_nan() { 0.0 } else { -LN_SQRT_2PI - 0.5 * (total.ln() + off * off / total) }
        };
        Ok(run.steps[self.data.y.len()..].iter().zip(next).map(one).collect())
    }

    /// A new series of as many times.
    pub fn sample(&self, seed: u64) -> Vec<f64> {
        let n = self.data.y.len();
        let mut normals = vec![0.0; n * (M + 1)];
        fill_normal(&mut stream(seed, Purpose::Data, 0), &mut normals);
        let drift = self.drift();
        let mut state: SVector<f64, M> = SVector::zeros();
        let one = |(t, e): (usize, &[f64])| {
            let moved = self.data.transition * state;
            for i in 0..M {
                state[i] = match t {
                    0 => self.data.mean[i] + self.data.variance[i].sqrt() * e[i],
                    _ => moved[i] + drift[i].sqrt() * e[i],
                };
            }
            state[0] + self.noise().sqrt() * e[M]
        };
        normals.chunks_exact(M + 1).enumerate().map(one).collect()
    }

    /// A variance that has vanished beside that of the series: the likelihood is highest without
    /// it, and its sd cannot be read as an uncertainty.
    pub fn warnings(&self) -> Vec<Warning> {
        let named = std::iter::once(("noise", self.noise()))
            .chain(self.drift().into_iter().zip(["level", "slope"]).map(|(v, name)| (name, v)));
        let small = named.filter(|(_, v)| *v < 1e-6 * self.data.spread);
        small
            .map(|(name, v)| {
                let message = format!("the variance of the {name} has shrunk to {v:.1e}");
                Warning::new(Code::AtBoundary, message).try_this("leave it out of the model")
            })
            .collect()
    }

    /// A first `q`, at the model's variances.
    pub fn start(&self) -> Path<M> {
        let mut q = Path::at(self.log_noise, self.log_drift);
        q.replace(&self.data, self.log_noise, self.log_drift);
        q
    }

    /// `E[log p(y, states)]` from the expected squares of noise and steps.
    fn expected(&self, sums: &kalman::Sums<M>) -> f64 {
        let squares = |n: f64, log_variance: f64, sum: f64| {
            -n * (LN_SQRT_2PI + 0.5 * log_variance) - 0.5 * sum * (-log_variance).exp()
        };
        let data = squares(self.data.observed as f64, self.log_noise, sums.noise);
        let steps = (self.data.y.len() - 1) as f64;
        let drift = (0..M).map(|i| squares(steps, self.log_drift[i], sums.drift[i]));
        let first = (0..M).map(|i| squares(1.0, self.data.variance[i].ln(), sums.first[i]));
        data + drift.sum::<f64>() + first.sum::<f64>()
    }
}

impl<const M: usize> Model for StateSpace<M> {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("state", M * self.data.y.len());
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let mut sums = kalman::Sums::default();
        let mut before: Option<SVector<f64, M>> = None;
        for (z, y) in z.chunks_exact(M).zip(&self.data.y) {
            let state = SVector::<f64, M>::from_column_slice(z);
            if !y.is_nan() {
                sums.noise += (y - state[0]).powi(2);
            }
            let (off, sum) = match before {
                None => (state - self.data.mean, &mut sums.first),
                Some(before) => (state - self.data.transition * before, &mut sums.drift),
            };
            (0..M).for_each(|i| sum[i] += off[i] * off[i]);
            before = Some(state);
        }
        self.expected(&sums)
    }
    fn n_theta(&self) -> usize {
        1 + M
    }
    fn theta(&self, out: &mut [f64]) {
        out[0] = self.log_noise;
        out[1..].copy_from_slice(&self.log_drift);
    }
    fn set_theta(&mut self, theta: &[f64]) {
        self.log_noise = theta[0];
        self.log_drift.copy_from_slice(&theta[1..]);
    }
}

impl<const M: usize> Conjugate<Path<M>> for StateSpace<M> {
    /// # Errors
    /// A rate other than 1: the path costs nothing to make anew.
    fn natural_step(&self, q: &mut Path<M>, rate: f64) -> Result<f64, Error> {
        if rate != 1.0 {
            let remedy = "the states are made anew from the variances: use EStep";
            return Err(Error::option("rate of NaturalStep", rate, remedy));
        }
        q.replace(&self.data, self.log_noise, self.log_drift);
        q.set_entropy(|log_likelihood, sums| log_likelihood - self.expected(sums));
        Ok(q.log_likelihood())
    }
}

impl<const M: usize> Maximize<Path<M>> for StateSpace<M> {
    /// # Errors
    /// Variances that have all vanished beside the series, as those of a straight line do: the
    /// likelihood grows without end.
    fn maximize(&mut self, q: &Path<M>) -> Result<f64, Error> {
        let sums = q.sums();
        let (log_noise, log_drift) = q.at_variances();
        self.log_noise = log_noise + sums.noise_change.ln_1p();
        for i in 0..M {
            self.log_drift[i] = log_drift[i] + sums.drift_change[i].ln_1p();
        }
        let largest = self.data.y.iter().fold(0.0, |most: f64, y| most.max(y.abs()));
        let digits = 2.0 * (LAST_DIGITS * largest).ln();
        if self.log_noise < digits && self.log_drift.iter().all(|v| *v < digits) {
            let name = if M == 1 { "constant" } else { "a straight line" };
            let reason = format!(
                "the noise has vanished, and all drift: to eight digits the series is {name}, and the \
                 likelihood grows without end. Give the variances (with_variances), or take that off \
                 the series"
            );
            return Err(Error::Ascent { block: "MStep".to_string(), reason });
        }
        Ok(self.expected(sums) + q.known_entropy())
    }
}
