//! Images through a decoder: values, and gradients in `z` and in `theta`, panel by panel.

use std::sync::Mutex;

use super::Decoder;
use crate::data::Images;
use crate::model::{Shares, Weighed};
use crate::nn::panel::{Rows, from_panel, lock, summed, to_panel};
use crate::nn::{Network, room};
use crate::pool::threads;
use crate::scalar::Scalar;

/// Some images at some draws.
#[derive(Debug, Default)]
pub(super) struct Panel<T, Tape> {
    pub draw: usize,
    pub from: usize,
    pub columns: usize,
    x: Vec<T>,
    /// Images without their draws.
    few: Vec<T>,
    z: Vec<T>,
    at: Vec<T>,
    y: Vec<T>,
    pub dz: Vec<T>,
    pub values: Vec<f64>,
    shares: Vec<f64>,
    /// What the images of the panel add to the objective.
    sum: f64,
    /// The factor of the gradient of each column.
    weights: Vec<T>,
    /// The gradient of each column in the raw number of a learned variance.
    raws: Vec<T>,
    /// In what the prior learns.
    dprior: Vec<T>,
    tape: Tape,
}

/// A panel for each thread, and gradients for all but one.
#[derive(Debug)]
pub(super) struct Scratch<T, Tape> {
    panels: Vec<Mutex<Panel<T, Tape>>>,
    grads: Vec<Vec<T>>,
    /// Of a divergence in what the prior learns.
    pub dprior: Vec<T>,
}

impl<T, Tape> Default for Scratch<T, Tape> {
    fn default() -> Self {
        Scratch { panels: Vec::new(), grads: Vec::new(), dprior: Vec::new() }
    }
}

/// Images, and where their `z` are in each of some draws.
#[derive(Clone, Copy)]
pub(super) struct Batch<'a, T> {
    pub images: &'a Images,
    pub rows: &'a Rows,
    pub z: &'a [T],
    pub draws: usize,
}

/// What is wanted of a batch.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Want {
    pub values: bool,
    pub in_z: bool,
    /// Whether the prior counts.
    pub prior: bool,
}

impl<N: Network<T>, T: Scalar> Decoder<N, T> {
    pub(super) fn shown(&self) -> usize {
        self.rows.len(&self.images)
    }

    /// Writes the log likelihood of each of these images, which may be others than its own, at its
    /// point in `z` (`latent x images`), without any factor.
    pub(in crate::nn) fn log_likelihoods(&self, images: &Images, z: &[T], out: &mut [f64]) {
        let want = Want { values: true, in_z: false, prior: false };
        let batch = Batch { images, rows: &Rows::all(images), z, draws: 1 };
        self.each_round(
            batch,
            |_| None,
            want,
            &mut [],
            |panel, _| {
                out[panel.from..panel.from + panel.columns].copy_from_slice(&panel.values);
            },
        );
    }

    pub(super) fn batch<'a>(&'a self, z: &'a [T], draws: usize) -> Batch<'a, T> {
        Batch { images: &self.images, rows: &self.rows, z, draws }
    }

    /// Goes over the panels of all draws, several at a time. `weight` of a draw is the factor of its
    /// gradient in `theta`, which is added to `grad`; none where that is not wanted.
    pub(super) fn each_round(
        &self,
        batch: Batch<'_, T>,
        weight: impl Fn(usize) -> Option<T> + Sync,
        want: Want,
        grad: &mut [T],
        mut take: impl FnMut(&Panel<T, N::Tape>, &[T]),
    ) {
        let Batch { z, draws, .. } = batch;
        let (rows, k) = (batch.rows.len(batch.images), self.latent());
        let most = self.network.panel().max(1);
        let a_draw = rows.div_ceil(most);
        let of = |panel: &Panel<T, N::Tape>| {
            let first = (panel.draw * rows + panel.from) * k;
            &z[first..first + panel.columns * k]
        };
        let place = |i: usize, panel: &mut Panel<T, N::Tape>| {
            panel.draw = i / a_draw;
            panel.from = i % a_draw * most;
            panel.columns = most.min(rows - panel.from);
        };
        let work = |panel: &mut Panel<T, N::Tape>, grad: &mut [T]| {
            let z = of(panel);
            self.work(batch, panel, z, &weight, want, grad);
        };
        self.rounds(draws * a_draw, grad, place, work, |panel| take(panel, of(panel)));
    }

    /// Places so many panels, as many at a time as there are threads, works on them side by side and
    /// looks at them in order.
    fn rounds(
        &self,
        count: usize,
        grad: &mut [T],
        place: impl Fn(usize, &mut Panel<T, N::Tape>),
        work: impl Fn(&mut Panel<T, N::Tape>, &mut [T]) + Sync,
        mut take: impl FnMut(&Panel<T, N::Tape>),
    ) {
        self.spare.lend(|Scratch { panels, grads, .. }| {
            let width = threads();
            if panels.len() < width {
                panels.resize_with(width, Mutex::default);
            }
            for start in (0..count).step_by(width) {
                let round = &panels[..width.min(count - start)];
                for (i, panel) in round.iter().enumerate() {
                    place(start + i, &mut lock(panel));
                }
                summed(0..round.len(), grads, grad, &|i: usize, grad: &mut [T]| {
                    work(&mut lock(&round[i]), grad);
                });
                round.iter().for_each(|panel| take(&lock(panel)));
            }
        });
    }

    /// One panel: forward, likelihood, and back where a gradient is wanted.
    fn work(
        &self,
        batch: Batch<'_, T>,
        panel: &mut Panel<T, N::Tape>,
        z: &[T],
        weight: &impl Fn(usize) -> Option<T>,
        want: Want,
        grad: &mut [T],
    ) {
        let columns = panel.columns;
        let x = room(&mut panel.x, columns * batch.images.size());
        batch.rows.panel(batch.images, panel.from, columns, x);
        let weight = weight(panel.draw);
        self.forward(panel, z, want, weight.unwrap_or_default());
        if let Some(weight) = weight {
            panel.weights.clear();
            panel.weights.resize(columns, weight);
            self.backward(panel, z, want, grad);
        }
    }

    /// Likelihoods of what is in `x` at these `z`, one a column, with gradients times `weight`.
    fn forward(&self, panel: &mut Panel<T, N::Tape>, z: &[T], want: Want, weight: T) {
        let Panel { columns, x, at, y, values, raws, tape, .. } = panel;
        let (columns, k) = (*columns, self.latent());
        let at = room(at, columns * k);
        to_panel(z, k, at);
        let y = room(y, columns * self.network.outputs());
        self.network.forward(at, columns, y, tape);
        values.clear();
        values.resize(if want.values { columns } else { 0 }, 0.0);
        raws.clear();
        raws.resize(if self.raw.is_some() { columns } else { 0 }, T::default());
        let levels = self.images.levels().unwrap_or(0);
        let x = &x[..columns * self.images.size()];
        self.likelihood.evaluate((x, y), columns, (self.raw, levels), weight, values, raws);
        if want.values && want.prior {
            for (value, z) in values.iter_mut().zip(z.chunks_exact(k)) {
                *value += self.prior.log_density(z);
            }
        }
    }

    /// The way back of `y`, and the prior where it counts.
    fn backward(&self, panel: &mut Panel<T, N::Tape>, z: &[T], want: Want, grad: &mut [T]) {
        let Panel { columns, at, y, dz, weights, raws, dprior, tape, .. } = panel;
        let (columns, k) = (*columns, self.latent());
        let dz = if want.in_z { room(dz, columns * k) } else { &mut [] };
        let asked = self.network.n_params().min(grad.len());
        let (in_network, rest) = grad.split_at_mut(asked);
        let (at, y) = (&at[..columns * k], &mut y[..columns * self.network.outputs()]);
        self.network.backward(at, columns, y, dz, tape, in_network);
        let (in_raw, in_prior) = rest.split_at_mut(rest.len().min(usize::from(self.raw.is_some())));
        in_raw.iter_mut().for_each(|g| *g += raws.iter().copied().sum());
        if !want.prior {
            return;
        }
        // what belongs to the panel is added up before it joins the rest, so that bits do not depend
        // on who adds up
        dprior.clear();
        dprior.resize(in_prior.len(), T::default());
        for (j, z) in z.chunks_exact(k).enumerate() {
            let pull = |i: usize, g: T| {
                if want.in_z {
                    dz[i * columns + j] += g;
                }
            };
            self.prior.kind.add_grad(&self.prior.params, z, weights[j], pull, dprior);
        }
        in_prior.iter_mut().zip(dprior).for_each(|(g, own)| *g += *own);
    }

    /// Gradients at the draws, and values unless `out` is empty.
    pub(super) fn gradients(
        &self,
        z: &[T],
        draws: usize,
        out: &mut [f64],
        grad_z: &mut [T],
        grad_theta: &mut [T],
        prior: bool,
    ) {
        let (rows, k) = (self.shown(), self.latent());
        let scale = self.rows.scale(&self.images);
        let want = Want { values: !out.is_empty(), in_z: true, prior };
        let weight = T::from_f64(scale / draws.max(1) as f64);
        let back = T::from_f64(draws as f64);
        out.fill(0.0);
        self.each_round(
            self.batch(z, draws),
            |_| Some(weight),
            want,
            grad_theta,
            |panel, z| {
                if want.values {
                    out[panel.draw] += scale * panel.values.iter().sum::<f64>();
                }
                let first = (panel.draw * rows + panel.from) * k;
                let grad = &mut grad_z[first..][..z.len()];
                from_panel(&panel.dz, k, grad);
                grad.iter_mut().for_each(|g| *g *= back);
            },
        );
    }

    /// Gradients weighed datum by datum: a panel holds all draws of some images.
    pub(super) fn weighted(
        &self,
        (z, log_q): (&[T], &[f64]),
        shares: &Shares<'_>,
        out: Weighed<'_, T>,
        grad_theta: &mut [T],
    ) -> f64 {
        let (rows, k, scale) = (self.shown(), self.latent(), self.rows.scale(&self.images));
        let draws = log_q.len() / rows.max(1);
        let most = (self.network.panel() / draws.max(1)).max(1);
        let Weighed { log_w, shares: all_shares, grad_z } = out;
        let place = |i: usize, panel: &mut Panel<T, N::Tape>| {
            panel.from = i * most;
            panel.columns = most.min(rows - panel.from) * draws;
        };
        let mut total = 0.0;
        self.rounds(
            rows.div_ceil(most),
            grad_theta,
            place,
            |panel, grad| self.weigh(panel, (z, log_q), draws, shares, grad),
            |panel| {
                total += panel.sum;
                for c in 0..panel.columns {
                    let at = c % draws * rows + panel.from + c / draws;
                    (log_w[at], all_shares[at]) = (panel.values[c], panel.shares[c]);
                    for (i, g) in grad_z[at * k..(at + 1) * k].iter_mut().enumerate() {
                        *g = panel.dz[i * panel.columns + c];
                    }
                }
            },
        );
        scale * total
    }

    /// One panel of [`Decoder::weighted`]: column `j S + s` is draw `s` of its image `j`.
    fn weigh(
        &self,
        panel: &mut Panel<T, N::Tape>,
        (z, log_q): (&[T], &[f64]),
        draws: usize,
        shares: &Shares<'_>,
        grad: &mut [T],
    ) {
        let (rows, k, size) = (self.shown(), self.latent(), self.images.size());
        let (from, columns) = (panel.from, panel.columns);
        let images = columns / draws;
        let few = room(&mut panel.few, images * size);
        self.rows.panel(&self.images, from, images, few);
        let x = room(&mut panel.x, columns * size);
        for (&few, x) in few.iter().zip(x.chunks_exact_mut(draws)) {
            x.fill(few);
        }
        let mut own = std::mem::take(&mut panel.z);
        let place = |c: usize| c % draws * rows + from + c / draws;
        own.clear();
        (0..columns).for_each(|c| own.extend_from_slice(&z[place(c) * k..(place(c) + 1) * k]));
        let want = Want { values: true, in_z: true, prior: true };
        self.forward(panel, &own, want, T::from_f64(1.0));
        let Panel { values, shares: own_shares, sum, weights, raws, y, .. } = panel;
        values.iter_mut().enumerate().for_each(|(c, value)| *value -= log_q[place(c)]);
        own_shares.clear();
        own_shares.resize(columns, 0.0);
        let each = values.chunks_exact(draws).zip(own_shares.chunks_exact_mut(draws));
        *sum = each.map(|(log_w, own)| shares(log_w, own)).sum();
        let scale = self.rows.scale(&self.images);
        weights.clear();
        weights.extend(own_shares.iter().map(|&share| T::from_f64(scale * share)));
        for y in y[..columns * self.network.outputs()].chunks_exact_mut(columns) {
            y.iter_mut().zip(&*weights).for_each(|(y, &w)| *y *= w);
        }
        raws.iter_mut().zip(&*weights).for_each(|(raw, &w)| *raw *= w);
        self.backward(panel, &own, want, grad);
        panel.z = own;
    }
}
