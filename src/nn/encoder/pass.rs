//! Images through an encoder: what is said of them, draws, and the way back, panel by panel.

use std::sync::Mutex;

use super::Encoder;
use crate::data::Images;
use crate::nn::head::Head;
use crate::nn::panel::{Rows, from_panel, lock, summed, to_panel};
use crate::nn::{Network, room};
use crate::pool::{each, threads};
use crate::scalar::Scalar;

/// Some images on their way through the network.
#[derive(Debug, Default)]
pub(super) struct Panel<T, Tape> {
    from: usize,
    pub columns: usize,
    x: Vec<T>,
    /// What the network says, and its gradient.
    y: Vec<T>,
    /// What was read of each image, one after another, and the gradient in what the network says.
    pub said: Vec<T>,
    dy: Vec<T>,
    tape: Tape,
}

impl<T, Tape> Panel<T, Tape> {
    /// What was read of each of its images, with the row.
    pub fn each_said(&self, kept: usize) -> impl Iterator<Item = (usize, &[T])> {
        let rows = self.from..self.from + self.columns;
        rows.zip(self.said.chunks_exact(kept))
    }
}

/// What the way forward keeps for the way back.
#[derive(Debug)]
pub struct Activations<T, Tape> {
    pub(super) panels: Vec<Mutex<Panel<T, Tape>>>,
    pub(super) count: usize,
    grads: Mutex<Vec<Vec<T>>>,
    /// Of the divergence of each latent number.
    weights: Mutex<Vec<T>>,
}

impl<T, Tape> Default for Activations<T, Tape> {
    fn default() -> Self {
        Activations {
            panels: Vec::new(),
            count: 0,
            grads: Mutex::default(),
            weights: Mutex::default(),
        }
    }
}

/// What a datum adds by itself on the way back: from what is said of it, to the gradient in what the
/// network says.
type Own<'a, T> = dyn Fn(&[T], &mut [T]) + Sync + 'a;

impl<N: Network<T>, T: Scalar, H: Head<T>> Encoder<N, T, H> {
    /// Sends the rows through the network, and looks at each panel in turn.
    pub(super) fn each_panel(
        &self,
        images: &Images,
        rows: &Rows,
        mut f: impl FnMut(&Panel<T, N::Tape>),
    ) {
        let (n, stride) = (rows.len(images), self.network.panel().max(1) * threads());
        self.spare.lend(|kept| {
            for from in (0..n).step_by(stride) {
                self.forward(images, rows, from..n.min(from + stride), kept);
                kept.panels[..kept.count].iter().for_each(|panel| f(&lock(panel)));
            }
        });
    }

    /// Sends the rows through the network, panel by panel.
    fn forward(
        &self,
        images: &Images,
        rows: &Rows,
        range: std::ops::Range<usize>,
        kept: &mut Activations<T, N::Tape>,
    ) {
        let (outputs, most) = (self.network.outputs(), self.network.panel().max(1));
        let kept_each = self.kept();
        kept.count = range.len().div_ceil(most);
        if kept.panels.len() < kept.count {
            kept.panels.resize_with(kept.count, Mutex::default);
        }
        let panels = &kept.panels;
        each(0..kept.count, &|i| {
            let Panel { from, columns, x, y, said, dy, tape } = &mut *lock(&panels[i]);
            *from = range.start + i * most;
            *columns = most.min(range.end - *from);
            let x = room(x, *columns * self.network.inputs());
            rows.panel(images, *from, *columns, x);
            let y = room(y, outputs * *columns);
            self.network.forward(x, *columns, y, tape);
            let apart = room(dy, outputs * *columns);
            from_panel(y, outputs, apart);
            let said = room(said, kept_each * *columns);
            let each = apart.chunks_exact(outputs).zip(said.chunks_exact_mut(kept_each));
            each.for_each(|(y, said)| self.head.read(y, said));
        });
    }

    pub(super) fn shown(&self) -> usize {
        self.rows.len(&self.images)
    }

    /// Draws, with `log q` of each datum at each draw through `take(draw, row, log q)`.
    pub(super) fn draw(
        &self,
        eps: &[T],
        z: &mut [T],
        kept: &mut Activations<T, N::Tape>,
        mut take: impl FnMut(usize, usize, f64),
    ) {
        let (rows, k, kept_each) = (self.shown(), self.latent(), self.kept());
        self.forward(&self.images, &self.rows, 0..rows, kept);
        for panel in &kept.panels[..kept.count] {
            let panel = lock(panel);
            for s in 0..z.len() / (rows * k).max(1) {
                for (row, said) in panel.each_said(kept_each) {
                    let at = (s * rows + row) * k;
                    let log_q = self.head.transport(said, &eps[at..at + k], &mut z[at..at + k]);
                    take(s, row, log_q);
                }
            }
        }
    }

    /// The way back of `dz` and of the `log q` of each draw and row, with what each datum adds by
    /// itself.
    pub(super) fn back(
        &self,
        (eps, kept): (&[T], &Activations<T, N::Tape>),
        dz: &[T],
        dlog_q: &(impl Fn(usize, usize) -> T + Sync),
        grad: &mut [T],
        own: &Own<'_, T>,
    ) {
        let (rows, k, outputs) = (self.shown(), self.latent(), self.network.outputs());
        let kept_each = self.kept();
        let draws = dz.len() / (rows * k).max(1);
        let grads = &mut *lock(&kept.grads);
        summed(0..kept.count, grads, grad, &|i: usize, grad: &mut [T]| {
            let Panel { from, columns, x, y, said, dy, tape } = &mut *lock(&kept.panels[i]);
            let columns = *columns;
            let said = &said[..columns * kept_each];
            let dy = room(dy, columns * outputs);
            dy.fill(T::default());
            for s in 0..draws {
                let each = said.chunks_exact(kept_each).zip(dy.chunks_exact_mut(outputs));
                for (j, (said, dy)) in each.enumerate() {
                    let at = (s * rows + *from + j) * k;
                    let (eps, dz) = (&eps[at..at + k], &dz[at..at + k]);
                    self.head.pull_back(said, eps, dz, dlog_q(s, *from + j), dy);
                }
            }
            let each = said.chunks_exact(kept_each).zip(dy.chunks_exact_mut(outputs));
            each.for_each(|(said, dy)| own(said, dy));
            let y = room(y, columns * outputs);
            to_panel(dy, outputs, y);
            self.network.backward(x, columns, y, &mut [], tape, grad);
        });
    }

    /// The divergence of each latent number from normals with these means and log variances, summed
    /// over all data.
    pub(in crate::nn) fn divergences(
        &self,
        kept: &Activations<T, N::Tape>,
        prior: (&[T], &[T]),
        out: &mut [f64],
    ) {
        out.fill(0.0);
        for panel in &kept.panels[..kept.count] {
            for (_, said) in lock(panel).each_said(self.kept()) {
                self.head.divergence(said, prior, out);
            }
        }
        let scale = self.rows.scale(&self.images);
        out.iter_mut().for_each(|kl| *kl *= scale);
    }

    /// The way back of `dz` and of `-sum_k weights[k] KL_k`; the gradient of the latter in the means
    /// and log variances of the prior is added to `dprior` unless it is empty.
    pub(in crate::nn) fn pull_back_with(
        &self,
        (eps, kept): (&[T], &Activations<T, N::Tape>),
        dz: &[T],
        (prior, weights): ((&[T], &[T]), &[T]),
        grad: &mut [T],
        dprior: &mut [T],
    ) {
        let scale = T::from_f64(self.rows.scale(&self.images));
        let scaled = &mut *lock(&kept.weights);
        scaled.clear();
        scaled.extend(weights.iter().map(|&w| scale * w));
        let weights = &scaled[..];
        self.back((eps, kept), dz, &|_, _| T::default(), grad, &|said, dy| {
            self.head.pull_back_divergence(said, prior, weights, dy, &mut []);
        });
        if dprior.is_empty() {
            return;
        }
        let (outputs, kept_each) = (self.network.outputs(), self.kept());
        for panel in &kept.panels[..kept.count] {
            let Panel { columns, said, dy, .. } = &mut *lock(panel);
            for said in said[..*columns * kept_each].chunks_exact(kept_each) {
                let spent = &mut dy[..outputs];
                self.head.pull_back_divergence(said, prior, weights, spent, dprior);
            }
        }
    }
}
