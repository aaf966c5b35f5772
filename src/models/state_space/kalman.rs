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

/// Expected squares: of the noise, of each part of a step, and of the first state about its mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sums<const M: usize> {
    pub noise: f64,
    pub drift: [f64; M],
    pub first: [f64; M],
}

impl<const M: usize> Default for Sums<M> {
    fn default() -> Self {
        Sums { noise: 0.0, drift: [0.0; M], first: [0.0; M] }
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

/// Fills `run` with one update a time.
pub(super) fn filter<const M: usize>(
    data: &Series<M>,
    noise: f64,
    drift: &[f64; M],
    run: &mut Filtered<M>,
) {
    let wander = SMatrix::from_diagonal(&SVector::from(*drift));
    let (mut ahead, mut spread) = (data.mean, SMatrix::from_diagonal(&data.variance));
    run.steps.clear();
    run.log_likelihood = 0.0;
    for y in &data.y {
        let (mut mean, mut covariance) = (ahead, spread);
        if !y.is_nan() {
            let (off, total) = (y - ahead[0], spread[(0, 0)] + noise);
            run.log_likelihood -= LN_SQRT_2PI + 0.5 * (total.ln() + off * off / total);
            let gain = spread.column(0) / total;
            mean += gain * off;
            // Joseph's form stays positive: (I - k e') P (I - k e')' + r k k'
            let mut keep = SMatrix::<f64, M, M>::identity();
            keep.column_mut(0).axpy(-1.0, &gain, 1.0);
            covariance = keep * spread * keep.transpose() + gain * gain.transpose() * noise;
        }
        run.steps.push(Update { mean, covariance, ahead, spread });
        ahead = data.transition * mean;
        spread = data.transition * covariance * data.transition.transpose() + wander;
    }
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
    pub fn smooth(&mut self, data: &Series<M>) {
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
                // E (a_(k+1) - T a_k)(..)', with Cov(a_(k+1), a_k) = V_(k+1) follow'
                let step = mean - t * now.0;
                let cross = t * follow * covariance;
                let square = step * step.transpose() + covariance + t * now.1 * t.transpose()
                    - cross
                    - cross.transpose();
                (0..M).for_each(|i| self.sums.drift[i] += square[(i, i)]);
            }
            let (mean, covariance) = self.smoothed[k];
            if !data.y[k].is_nan() {
                let off = data.y[k] - mean[0];
                self.sums.noise += off * off + covariance[(0, 0)];
            }
            if k == 0 {
                let off = mean - data.mean;
                (0..M).for_each(|i| self.sums.first[i] = off[i] * off[i] + covariance[(i, i)]);
            }
        }
    }
}
