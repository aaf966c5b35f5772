//! The prior of proportions and topics, and its best value by Newton's method.

use super::posterior::TopicsPosterior;
use super::{LEAST_ETA, Topics};
use crate::error::Error;
use crate::model::Maximize;
use crate::scratch::with_buffer;
use crate::special::{log_gamma, polygamma};

/// More rounds than any start takes.
const ROUNDS: usize = 200;

/// `sum_k ln Gamma(a_k) - ln Gamma(sum a)`
pub(super) fn log_beta(a: &[f64]) -> f64 {
    a.iter().map(|a| log_gamma(*a)).sum::<f64>() - log_gamma(a.iter().sum())
}

/// The same for `n` equal ones.
pub(super) fn log_beta_equal(a: f64, n: f64) -> f64 {
    n * log_gamma(a) - log_gamma(n * a)
}

/// `a . mean - log_beta(a)`: the mean log density of the logs of proportions, but for a constant.
/// Concave in `a`.
fn fit_of(a: &[f64], mean: &[f64]) -> f64 {
    a.iter().zip(mean).map(|(a, m)| a * m).sum::<f64>() - log_beta(a)
}

/// The concentrations of the Dirichlet distribution under which logs of proportions have this mean:
/// Newton's method on a concave function whose Hessian is a diagonal and a constant (Minka 2000).
pub(super) fn dirichlet_from_mean_log(start: &mut [f64], mean: &[f64]) {
    if start.len() < 2 {
        return; // of one proportion nothing can be learned
    }
    with_buffer(2 * start.len(), |room| {
        let (step, next) = room.split_at_mut(start.len());
        climb(start, mean, step, next);
    });
}

fn climb(start: &mut [f64], mean: &[f64], step: &mut [f64], next: &mut [f64]) {
    let mut value = fit_of(start, mean);
    for _ in 0..ROUNDS {
        let total: f64 = start.iter().sum();
        let (psi, common) = (polygamma(0, total), polygamma(1, total));
        // slope and curvature of each; the common part of the curvature is taken off by one number
        let (mut by_curvature, mut curvatures) = (0.0, 0.0);
        for ((step, &a), &m) in step.iter_mut().zip(&*start).zip(mean) {
            let (slope, curvature) = (psi - polygamma(0, a) + m, polygamma(1, a));
            by_curvature += slope / curvature;
            curvatures += 1.0 / curvature;
            *step = slope;
        }
        let shared = by_curvature / (1.0 / common - curvatures);
        for (step, &a) in step.iter_mut().zip(&*start) {
            *step = (*step + shared) / polygamma(1, a);
        }
        // at most nine tenths of the way to the edge, and only uphill
        let to_edge =
            step.iter().zip(&*start).map(|(step, a)| -0.9 * a / step).filter(|t| *t > 0.0);
        let mut length = to_edge.fold(1.0, f64::min);
        let higher = loop {
            let each = next.iter_mut().zip(&*start).zip(&*step);
            each.for_each(|((next, a), step)| *next = a + length * step);
            let new = fit_of(next, mean);
            if new > value {
                value = new;
                break true;
            }
            length *= 0.5;
            if length < 1e-9 {
                break false;
            }
        };
        let small = step.iter().zip(&*start).all(|(step, a)| step.abs() <= 1e-14 * a);
        if !higher || small {
            // what is left is below what the value can show: the step itself is still right
            let last = step.iter().zip(&*start).all(|(step, a)| step.abs() <= 1e-4 * a);
            if last {
                start.iter_mut().zip(&*step).for_each(|(a, step)| *a += step);
            }
            return;
        }
        start.copy_from_slice(next);
    }
}

/// The same for `n` equal concentrations whose logs have this mean, no smaller than `least`.
fn equal_from_mean_log(start: f64, n: f64, mean: f64, least: f64) -> f64 {
    // slope in a, of a concave function: psi(n a) - psi(a) + mean, over n
    let slope = |a: f64| polygamma(0, n * a) - polygamma(0, a) + mean;
    if slope(least) <= 0.0 {
        return least;
    }
    // In ln a, between two numbers that hold the root.
    let (mut low, mut high) = (least, start.max(2.0 * least));
    while slope(high) > 0.0 && high < 1e12 {
        (low, high) = (high, 4.0 * high);
    }
    let mut a = start.clamp(low, high);
    for _ in 0..ROUNDS {
        let s = slope(a);
        if s > 0.0 {
            low = a
        } else {
            high = a
        }
        let curvature = n * polygamma(1, n * a) - polygamma(1, a);
        let newton = a * (-s / (curvature * a)).exp();
        let next = if newton > low && newton < high { newton } else { (low * high).sqrt() };
        let done = (next - a).abs() <= 1e-15 * a;
        a = next;
        if done {
            break;
        }
    }
    a
}

impl Maximize<TopicsPosterior> for Topics {
    fn maximize(&mut self, q: &TopicsPosterior) -> Result<f64, Error> {
        let seen = &q.seen;
        if seen.log_theta.is_empty() {
            return Err(Error::Ascent {
                block: "MStep of the prior".to_string(),
                reason: "q has taken no step yet; let EStep go first, as in (EStep, MStep)"
                    .to_string(),
            });
        }
        let k = self.len() as f64;
        let words = self.corpus().n_words() as f64;
        let of_topics = |a: f64| a * seen.log_topic - k * log_beta_equal(a, words);
        let eta = equal_from_mean_log(self.eta, words, seen.log_topic / (k * words), LEAST_ETA);
        let moved = with_buffer(2 * self.len(), |room| {
            let (mean, alpha) = room.split_at_mut(self.len());
            mean.iter_mut().zip(&seen.log_theta).for_each(|(m, s)| *m = s / seen.weight);
            alpha.copy_from_slice(&self.alpha);
            dirichlet_from_mean_log(alpha, mean);
            self.set_prior(alpha, eta);
            match self.len() {
                1 => 0.0,
                _ => seen.weight * (fit_of(&self.alpha, mean) - fit_of(&seen.alpha, mean)),
            }
        });
        Ok(seen.bound.total() + moved + of_topics(self.eta) - of_topics(seen.eta))
    }
}
