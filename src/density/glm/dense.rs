//! Likelihoods without groups: rows in blocks, several points at once, each row read once for all.

use std::sync::Arc;

use super::grouped::{add_outer, add_product};
use super::kernel::{Data, Link, Shape, Used};
use super::link::{bernoulli_logit, binomial_logit, logistic_slope, normal, poisson_log};
use crate::autodiff::Primitive;
use crate::scratch::with_buffer;

/// A likelihood over the rows it looks at now.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    data: Arc<Data>,
    used: Used,
}

impl Dense {
    pub(super) fn new(data: Data) -> Dense {
        Dense { used: Used::all(&data), data: Arc::new(data) }
    }

    pub(super) fn shape(&self) -> Shape {
        self.data.shape()
    }

    pub(super) fn subsample(&mut self, rows: &[usize]) {
        self.used.subsample(&self.data, rows);
    }

    pub(super) fn whole(&mut self) {
        self.used = Used::all(&self.data);
    }

    /// Rows in a block: as many as keep their columns in a core's first cache.
    fn block(&self) -> usize {
        (2048 / self.data.n_columns.max(1)).clamp(8, 64)
    }

    /// Writes `eta` of the rows in use `from .. from + n` at each of `lanes` points, `n x lanes`; with
    /// the offset at the first `points` of them, the others being directions.
    fn predict(
        &self,
        from: usize,
        n: usize,
        lanes: usize,
        points: usize,
        z: &[f64],
        eta: &mut [f64],
    ) {
        let d = &*self.data;
        let p = d.n_columns;
        for r in 0..n {
            let i = self.used.row(from + r);
            let x = &d.x[i * p..(i + 1) * p];
            let eta = &mut eta[r * lanes..(r + 1) * lanes];
            eta[..points].fill(d.offset.get(i).copied().unwrap_or(0.0));
            eta[points..].fill(0.0);
            add_product(x, z, eta);
        }
    }

    /// The transpose of `predict`: adds to `grad` what the slopes `by` in `eta` make of it.
    fn pull_back(&self, from: usize, n: usize, lanes: usize, by: &[f64], grad: &mut [f64]) {
        let d = &*self.data;
        let p = d.n_columns;
        for r in 0..n {
            let i = self.used.row(from + r);
            let by = &by[r * lanes..(r + 1) * lanes];
            add_outer(&d.x[i * p..(i + 1) * p], by, grad);
        }
    }

    /// Adds the log probabilities of the rows in use from `from` on to `out` and turns `eta` into
    /// their slopes.
    fn link(&self, from: usize, lanes: usize, eta: &mut [f64], noise: &mut Noise, out: &mut [f64]) {
        let d = &*self.data;
        for (r, eta) in eta.chunks_exact_mut(lanes).enumerate() {
            let i = self.used.row(from + r);
            match d.link {
                Link::BernoulliLogit => bernoulli_logit(d.y[i], eta, out),
                Link::BinomialLogit => binomial_logit(d.y[i], d.trials[i], eta, out),
                Link::PoissonLog => poisson_log(d.y[i], eta, out),
                Link::Normal => normal(d.y[i], eta, noise.sd, noise.slope, out),
            }
        }
    }
}

/// The sd of normal errors at each point and the slope in it; empty for other links.
struct Noise<'a> {
    sd: &'a [f64],
    slope: &'a mut [f64],
}

impl Primitive for Dense {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        let mut out = [0.0];
        self.value_grad_lanes(1, x, &mut out, grad);
        out[0]
    }

    fn value_grad_lanes(&self, lanes: usize, x: &[f64], out: &mut [f64], grad: &mut [f64]) {
        let block = self.block();
        let linear = self.data.n_columns * lanes;
        grad.fill(0.0);
        out.fill(0.0);
        let (z, sd) = x.split_at(linear);
        let (grad_z, slope) = grad.split_at_mut(linear);
        let mut noise = Noise { sd, slope };
        let used = self.used.len;
        with_buffer(block * lanes, |eta| {
            for from in (0..used).step_by(block) {
                let n = block.min(used - from);
                let eta = &mut eta[..n * lanes];
                self.predict(from, n, lanes, lanes, z, eta);
                self.link(from, lanes, eta, &mut noise, out);
                self.pull_back(from, n, lanes, eta, grad_z);
            }
        });
        for (l, &sd) in sd.iter().enumerate() {
            out[l] -= used as f64 * sd.ln();
            noise.slope[l] -= used as f64 / sd;
        }
        out.iter_mut().for_each(|o| *o = (*o + self.used.constant) * self.used.scale);
        if self.used.scale != 1.0 {
            grad.iter_mut().for_each(|g| *g *= self.used.scale);
        }
    }

    /// `X' W X v` row by row, exact: with `eta` and its direction from one pass over the rows.
    fn hess_vec(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        let d = &*self.data;
        let block = self.block();
        let linear = self.data.n_columns;
        let (sd, dsd) = (x.get(linear).copied(), v.get(linear).copied().unwrap_or(0.0));
        let sd = sd.unwrap_or(1.0);
        let used = self.used.len;
        out.fill(0.0);
        let mut bend_sd = 0.0;
        with_buffer(2 * linear + 2 * block, |buffer| {
            let (pair, eta) = buffer.split_at_mut(2 * linear);
            for i in 0..linear {
                pair[2 * i] = x[i];
                pair[2 * i + 1] = v[i];
            }
            with_buffer(block, |bend| {
                for from in (0..used).step_by(block) {
                    let n = block.min(used - from);
                    self.predict(from, n, 2, 1, pair, &mut eta[..2 * n]);
                    for r in 0..n {
                        let i = self.used.row(from + r);
                        let (eta, turn) = (eta[2 * r], eta[2 * r + 1]);
                        let y = d.y[i];
                        bend[r] = match d.link {
                            Link::BernoulliLogit => -turn * logistic_slope(eta),
                            Link::BinomialLogit => -turn * d.trials[i] * logistic_slope(eta),
                            Link::PoissonLog => -turn * eta.exp(),
                            Link::Normal => {
                                let u = (y - eta) / sd;
                                bend_sd -= (2.0 * u * turn + (3.0 * u * u - 1.0) * dsd) / (sd * sd);
                                -(turn + 2.0 * u * dsd) / (sd * sd)
                            }
                        };
                    }
                    self.pull_back(from, n, 1, &bend[..n], &mut out[..linear]);
                }
            });
        });
        if let Some(o) = out.get_mut(linear) {
            *o = bend_sd;
        }
        out.iter_mut().for_each(|o| *o *= self.used.scale);
    }
}
