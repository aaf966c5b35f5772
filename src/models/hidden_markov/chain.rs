//! `Chain`: where a sequence starts and how it goes on, ready for a pass.

use serde::{Deserialize, Serialize};

use super::densities::stride;
use crate::lossless;

/// How a pass has to go about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Every step is possible, and not too unlikely: a state that is lost to rounding is entered
    /// anew from the others at once, so that no digits are lost.
    Plain,
    /// Some steps are impossible: a state that is lost to rounding may be missed later.
    Watch,
    /// Some steps are possible and yet round to nothing.
    Logs,
}

/// `ln p(z_1 = k)` and `ln p(z_(t+1) = j | z_t = i)`, or what is expected of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Logs", into = "Logs")]
pub(super) struct Chain {
    pub(super) k: usize,
    pub(super) log_initial: Vec<f64>,
    /// `k` a state that is left.
    pub(super) log_transition: Vec<f64>,
    /// The same as probabilities, `stride` of them.
    pub(super) initial: Vec<f64>,
    /// `stride` a state that is left.
    pub(super) onward: Vec<f64>,
    /// `stride` a state that is entered.
    pub(super) backward: Vec<f64>,
    pub(super) mode: Mode,
}

#[derive(Clone, Serialize, Deserialize)]
struct Logs {
    #[serde(with = "lossless::many")]
    initial: Vec<f64>,
    #[serde(with = "lossless::many")]
    transition: Vec<f64>,
}

impl From<Chain> for Logs {
    fn from(chain: Chain) -> Logs {
        Logs { initial: chain.log_initial, transition: chain.log_transition }
    }
}

impl From<Logs> for Chain {
    fn from(logs: Logs) -> Chain {
        let mut chain = Chain::new(logs.initial.len());
        (chain.log_initial, chain.log_transition) = (logs.initial, logs.transition);
        chain.settle();
        chain
    }
}

/// Below this a step is too unlikely for [`Mode::Plain`].
const UNLIKELY: f64 = -345.0;
/// Below this a step rounds to nothing, or nearly.
const NOTHING: f64 = -690.0;

impl Chain {
    /// All states alike.
    pub(super) fn new(k: usize) -> Chain {
        let side = stride(k);
        let mut chain = Chain {
            k,
            log_initial: vec![-(k as f64).ln(); k],
            log_transition: vec![-(k as f64).ln(); k * k],
            initial: vec![0.0; side],
            onward: vec![0.0; side * side],
            backward: vec![0.0; side * side],
            mode: Mode::Plain,
        };
        chain.settle();
        chain
    }

    /// Makes the probabilities from their logarithms.
    pub(super) fn settle(&mut self) {
        let (k, side) = (self.k, stride(self.k));
        self.mode = Mode::Plain;
        for (i, row) in self.log_transition.chunks_exact(k).enumerate() {
            for (j, &log) in row.iter().enumerate() {
                let p = log.exp();
                (self.onward[i * side + j], self.backward[j * side + i]) = (p, p);
                let asks = match log {
                    f64::NEG_INFINITY => Mode::Watch,
                    l if l < NOTHING => Mode::Logs,
                    l if l < UNLIKELY => Mode::Watch,
                    _ => Mode::Plain,
                };
                if asks == Mode::Logs || self.mode == Mode::Plain {
                    self.mode = asks;
                }
            }
        }
        for (p, &log) in self.initial.iter_mut().zip(&self.log_initial) {
            *p = log.exp();
            if log < NOTHING && log > f64::NEG_INFINITY {
                self.mode = Mode::Logs;
            }
        }
    }

    /// Takes over the numbers of a chain of the same size.
    pub(super) fn copy_from(&mut self, other: &Chain) {
        self.log_initial.copy_from_slice(&other.log_initial);
        self.log_transition.copy_from_slice(&other.log_transition);
        self.initial.copy_from_slice(&other.initial);
        self.onward.copy_from_slice(&other.onward);
        self.backward.copy_from_slice(&other.backward);
        self.mode = other.mode;
    }

    /// `ln p(z_(t+1) = j | z_t = i)`
    pub(super) fn step(&self, i: usize, j: usize) -> f64 {
        self.log_transition[i * self.k + j]
    }
}
