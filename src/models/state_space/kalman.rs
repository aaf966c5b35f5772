//! The filter forward, the smoother back, and the expected squares an M-step needs.

use nalgebra::{SMatrix, SVector};

use super::Series;
use crate::special::LN_SQRT_2PI;

/// The state after the observation of its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Update<const M: usize> {
    pub mean: SVector<f64, M>,
    pub covariance: SMatrix<f64, M, M>,
    /// What was expected before the observation.
    pub ahead: SVector<f64, M>,
    pub spread: SMatrix<f64, M, M>,
}

/// Expected squares: of the noise, of each part of a step, and of the first state about its mean;
/// and by which share of itself the mean square of noise and steps differs from the variance there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sums<const M: usize> {
    pub noise: f64,
    pub drift: [f64; M],
    pub first: [f64; M],
    pub noise_change: f64,
    pub drift_change: [f64; M],
}

impl<const M: usize> Default for Sums<M> {
    fn default() -> Self {
        let (drift, first) = ([0.0; M], [0.0; M]);
        Sums { noise: 0.0, drift, first, noise_change: 0.0, drift_change: drift }
    }
}

/// A pass over the series; its buffers are used again.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filtered<const M: usize> {
    pub steps: Vec<Update<M>>,
    /// Mean and covariance of each state from all observations, once smoothed.
    pub smoothed: Vec<(SVector<f64, M>, SMatrix<f64, M, M>)>,
    pub log_likelihood: f64,
    pub sums: Sums<M>,
}

impl<const M: usize> Default for Filtered<M> {
    fn default() -> Self {
        let (steps, smoothed) = (Vec::new(), Vec::new());
        Filtered { steps, smoothed, log_likelihood: f64::NAN, sums: Sums::default() }
    }
}

/// Fills `run` with one update a time. Covariances are carried as their square roots (Potter; see
/// Bierman 1977): where next to nothing is known at first and the noise is small their differences
/// would be lost in rounding.
pub(super) fn filter<const M: usize>(
    data: &Series<M>,
    noise: f64,
    drift: &[f64; M],
    run: &mut Filtered<M>,
) {
    let wander = SMatrix::from_diagonal(&SVector::from(drift.map(f64::sqrt)));
    let (mut ahead, mut root) = (data.mean, SMatrix::from_diagonal(&data.variance.map(f64::sqrt)));
    run.steps.clear();
    run.log_likelihood = 0.0;
    for y in &data.y {
        let (mut mean, spread) = (ahead, root * root.transpose());
        if !y.is_nan() {
            let level: SVector<f64, M> = root.row(0).transpose();
            let (off, total) = (y - ahead[0], level.norm_squared() + noise);
            run.log_likelihood -= LN_SQRT_2PI + 0.5 * (total.ln() + off * off / total);
            let along = root * level;
            mean += along * (off / total);
            root -= along * level.transpose() / (total + (noise * total).sqrt());
        }
        let covariance = root * root.transpose();
        run.steps.push(Update { mean, covariance, ahead, spread });
        ahead = data.transition * mean;
        root = triangle([data.transition * root, wander]);
    }
}

/// The lower triangle `L` with `L L' = A A' + B B'`, by rotations of columns.
fn triangle<const M: usize>(mut parts: [SMatrix<f64, M, M>; 2]) -> SMatrix<f64, M, M> {
    for i in 0..M {
        for j in i + 1..2 * M {
            let (keep, other) = (parts[0][(i, i)], parts[j / M][(i, j % M)]);
            let length = keep.hypot(other);
            if length == 0.0 {
                continue;
            }
            let (cos, sin) = (keep / length, other / length);
            for row in i..M {
                let (a, b) = (parts[0][(row, i)], parts[j / M][(row, j % M)]);
                parts[0][(row, i)] = cos * a + sin * b;
                parts[j / M][(row, j % M)] = cos * b - sin * a;
            }
        }
    }
    parts[0].lower_triangle()
}

impl<const M: usize> Filtered<M> {
    /// `P_t T' P_(t+1|t)^-1`: how state `t` follows what is learned of state `t + 1`.
    pub fn follow(&self, t: usize, transition: &SMatrix<f64, M, M>) -> SMatrix<f64, M, M> {
        let next = &self.steps[t + 1].spread;
        let cross = transition * self.steps[t].covariance;
        // Positive definite: it has the drift in it.
        let solved = next.cholesky().map(|factor| factor.solve(&cross));
        solved.unwrap_or_else(|| SMatrix::repeat(f64::NAN)).transpose()
    }

    /// Goes back over the updates: means and covariances from all observations, and their sums.
    pub fn smooth(&mut self, data: &Series<M>, noise: f64, drift: &[f64; M]) {
        let n = self.steps.len();
        let t = data.transition;
        self.sums = Sums::default();
        self.smoothed.clear();
        self.smoothed.extend(self.steps.iter().map(|s| (s.mean, s.covariance)));
        for k in (0..n).rev() {
            if k + 1 < n {
                let follow = self.follow(k, &t);
                let (mean, covariance) = self.smoothed[k + 1];
                let next = self.steps[k + 1];
                let now = &mut self.smoothed[k];
                now.0 += follow * (mean - next.ahead);
                now.1 += follow * (covariance - next.spread) * follow.transpose();
            }
        }
        self.disturb(data, noise, drift);
    }

    /// The expected squares of noise and steps, by how far the observations pull each from 0
    /// (Koopman 1993): as differences of the states they would be lost in rounding where a variance
    /// is small beside the others.
    fn disturb(&mut self, data: &Series<M>, noise: f64, drift: &[f64; M]) {
        let t = data.transition;
        // What all later observations say of the state at k + 1: slope of the log likelihood, and
        // its expected square.
        let (mut pull, mut square) = (SVector::<f64, M>::zeros(), SMatrix::<f64, M, M>::zeros());
        let (mut of_noise, mut of_drift) = (0.0, [0.0; M]);
        for (k, step) in self.steps.iter().enumerate().rev() {
            if k + 1 < self.steps.len() {
                (0..M).for_each(|i| of_drift[i] += pull[i] * pull[i] - square[(i, i)]);
            }
            let mut through = t;
            if data.y[k].is_nan() {
                pull = t.transpose() * pull;
                square = t.transpose() * square * t;
                continue;
            }
            let (off, total) = (data.y[k] - step.ahead[0], step.spread[(0, 0)] + noise);
            let gain = t * step.spread.column(0) / total;
            let own = off / total - gain.dot(&pull);
            of_noise += own * own - 1.0 / total - gain.dot(&(square * gain));
            through.column_mut(0).axpy(-1.0, &gain, 1.0);
            pull = through.transpose() * pull;
            square = through.transpose() * square * through;
            pull[0] += off / total;
            square[(0, 0)] += 1.0 / total;
        }
        let (observed, steps) = (data.observed as f64, (self.steps.len() - 1) as f64);
        let sums = &mut self.sums;
        for (i, v) in data.variance.iter().enumerate() {
            sums.first[i] = v * (1.0 + v * (pull[i] * pull[i] - square[(i, i)]));
        }
        sums.noise_change = noise * of_noise / observed;
        sums.noise = observed * noise * (1.0 + sums.noise_change);
        for i in 0..M {
            sums.drift_change[i] = drift[i] * of_drift[i] / steps;
            sums.drift[i] = steps * drift[i] * (1.0 + sums.drift_change[i]);
        }
    }
}
