//! Likelihoods with groups: rows sorted by group once, so that the numbers of a group are read once
//! and the sums over its rows are written once.

mod curvature;
mod rows;
mod sweep;
mod tiles;

use std::sync::Arc;

use rows::Rows;
use sweep::{Layout, Sweep};

use super::kernel::{Data, Link, Shape};
use crate::autodiff::Primitive;
use crate::scratch::with_buffer;
use crate::simd;
use crate::threads::{Chunks, Order, in_chunks};

/// A likelihood over the rows it looks at now.
#[derive(Clone, Debug)]
pub(super) struct Grouped {
    all: Arc<Table>,
    index: Arc<Index>,
    /// The rows of a subsample, or `None` for all.
    some: Option<Arc<Table>>,
    /// `n_data / rows`
    scale: f64,
    /// The sum of the constants of the rows in use.
    constant: f64,
}

/// Rows, and how many of everything they have.
#[derive(Clone, Debug)]
struct Table {
    shape: Shape,
    rows: Rows,
}

/// What is known of the caller's rows.
#[derive(Debug)]
struct Index {
    /// Where each is now.
    place: Vec<u32>,
    /// What each log probability has that no parameter touches; or none.
    constants: Vec<f64>,
}

impl Grouped {
    pub(super) fn new(data: Data) -> Grouped {
        let shape = data.shape();
        let constant = data.constants.iter().sum();
        let mut order: Vec<u32> = (0..shape.n_rows as u32).collect();
        order.sort_by_key(|&i| data.group[i as usize]);
        let mut place = vec![0; order.len()];
        for (k, &i) in order.iter().enumerate() {
            place[i as usize] = k as u32;
        }
        let rows = Rows::sorted(&data, &order);
        let index = Arc::new(Index { place, constants: data.constants });
        Grouped { all: Arc::new(Table { shape, rows }), index, some: None, scale: 1.0, constant }
    }

    pub(super) fn shape(&self) -> Shape {
        self.all.shape
    }

    pub(super) fn subsample(&mut self, rows: &[usize]) {
        let (shape, Index { place, constants }) = (self.all.shape, &*self.index);
        let empty = || Arc::new(Table { shape, rows: Rows::default() });
        let some = Arc::make_mut(self.some.get_or_insert_with(empty));
        some.rows.take(&shape, &self.all.rows, rows.iter().map(|&i| place[i]));
        self.scale = shape.n_rows as f64 / rows.len().max(1) as f64;
        self.constant = rows.iter().filter_map(|&i| constants.get(i)).sum();
    }

    pub(super) fn whole(&mut self) {
        self.some = None;
        self.scale = 1.0;
        self.constant = self.index.constants.iter().sum();
    }

    fn table(&self) -> &Arc<Table> {
        self.some.as_ref().unwrap_or(&self.all)
    }

    /// Writes gradients, and values where `out` has room for them.
    fn evaluate(&self, lanes: usize, x: &[f64], out: &mut [f64], grad: &mut [f64]) {
        let table = self.table();
        let Table { shape, rows } = &**table;
        let linear = shape.n_linear() * lanes;
        let layout = Layout::new(shape, rows, lanes);
        let order = Order { lanes, values: !out.is_empty(), gradients: true };
        grad.fill(0.0);
        out.fill(0.0);
        with_buffer(lanes, |squares| {
            squares.fill(0.0);
            in_chunks(table, order, &x[..linear], layout.cut(rows), |chunk, part| {
                let segments = rows.segments_of(chunk);
                layout.add(shape, segments, part, out, squares, &mut grad[..linear]);
            });
            if shape.link == Link::Normal {
                errors(rows.len() as f64, &x[linear..], squares, out, grad);
            }
        });
        out.iter_mut().for_each(|o| *o = (*o + self.constant) * self.scale);
        if self.scale != 1.0 {
            grad.iter_mut().for_each(|g| *g *= self.scale);
        }
    }
}

impl Chunks for Table {
    fn chunk(&self, order: Order, x: &[f64], chunk: usize, part: &mut [f64]) {
        let Table { shape, rows } = self;
        let layout = &Layout::new(shape, rows, order.lanes);
        with_buffer(layout.block_len(), |block| {
            if order.values {
                simd::dispatch(Sweep::<true> { shape, rows, layout, chunk, x, block, part });
            } else {
                simd::dispatch(Sweep::<false> { shape, rows, layout, chunk, x, block, part });
            }
        });
    }
}

/// What the sd of normal errors makes of sums of residuals and of their squares.
fn errors(n: f64, sd: &[f64], squares: &[f64], out: &mut [f64], grad: &mut [f64]) {
    let lanes = sd.len();
    let (linear, slope) = grad.split_at_mut(grad.len() - lanes);
    for sums in linear.chunks_exact_mut(lanes) {
        for (g, sd) in sums.iter_mut().zip(sd) {
            *g = *g / sd / sd;
        }
    }
    for (l, &sd) in sd.iter().enumerate() {
        let square = squares[l] / sd / sd;
        slope[l] = (square - n) / sd;
        if let Some(out) = out.get_mut(l) {
            *out = -0.5 * square - n * sd.ln();
        }
    }
}

impl Primitive for Grouped {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        let mut out = [0.0];
        self.evaluate(1, x, &mut out, grad);
        out[0]
    }

    fn value_grad_lanes(&self, lanes: usize, x: &[f64], out: &mut [f64], grad: &mut [f64]) {
        self.evaluate(lanes, x, out, grad);
    }

    fn grad_lanes(&self, lanes: usize, x: &[f64], grad: &mut [f64]) {
        self.evaluate(lanes, x, &mut [], grad);
    }

    fn hess_vec(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        let Table { shape, rows } = &**self.table();
        curvature::hess_vec(shape, rows, x, v, out);
        out.iter_mut().for_each(|o| *o *= self.scale);
    }
}
