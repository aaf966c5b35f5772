//! Likelihoods with groups: rows sorted by group once, so that the numbers of a group are read once
//! and the sums over its rows are written once.

mod curvature;
mod rows;
mod sweep;

use std::sync::Arc;

use rows::Rows;
use sweep::Sweep;

use super::kernel::{Data, Link, Shape};
use crate::autodiff::Primitive;
use crate::scratch::with_buffer;
use crate::simd;

/// A likelihood over the rows it looks at now.
#[derive(Clone, Debug)]
pub(super) struct Grouped {
    shape: Shape,
    all: Arc<All>,
    /// The rows of a subsample, or `None` for all.
    some: Option<Rows>,
    /// `n_data / rows`
    scale: f64,
    /// The sum of the constants of the rows in use.
    constant: f64,
}

/// What never changes, so that clones share it.
#[derive(Debug)]
struct All {
    rows: Rows,
    /// Where a row of the caller's is now.
    place: Vec<u32>,
    /// By the caller's rows: what each log probability has that no parameter touches; or none.
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
        let all = Arc::new(All { rows, place, constants: data.constants });
        Grouped { shape, all, some: None, scale: 1.0, constant }
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn subsample(&mut self, rows: &[usize]) {
        let All { rows: all, place, constants } = &*self.all;
        let some = self.some.get_or_insert_default();
        some.take(&self.shape, all, rows.iter().map(|&i| place[i]));
        self.scale = self.shape.n_rows as f64 / rows.len().max(1) as f64;
        self.constant = rows.iter().filter_map(|&i| constants.get(i)).sum();
    }

    pub(super) fn whole(&mut self) {
        self.some = None;
        self.scale = 1.0;
        self.constant = self.all.constants.iter().sum();
    }

    fn rows(&self) -> &Rows {
        self.some.as_ref().unwrap_or(&self.all.rows)
    }

    /// Writes gradients, and with `VALUE` the values to `out`.
    fn evaluate<const VALUE: bool>(
        &self,
        lanes: usize,
        x: &[f64],
        out: &mut [f64],
        grad: &mut [f64],
    ) {
        let rows = self.rows();
        let linear = self.shape.n_linear() * lanes;
        grad.fill(0.0);
        out.fill(0.0);
        let layout = sweep::Layout::new(&self.shape, rows, lanes);
        with_buffer(lanes, |squares| {
            squares.fill(0.0);
            with_buffer(layout.part_len(), |part| {
                with_buffer(layout.block_len(), |block| {
                    for chunk in 0..layout.chunks() {
                        let (shape, x) = (&self.shape, &x[..linear]);
                        simd::dispatch(Sweep::<VALUE> {
                            shape,
                            rows,
                            layout: &layout,
                            chunk,
                            x,
                            block,
                            part,
                        });
                        let segments = layout.segments(rows, chunk);
                        layout.add(shape, segments, part, out, squares, &mut grad[..linear]);
                    }
                });
            });
            if self.shape.link == Link::Normal {
                errors(rows.len() as f64, &x[linear..], squares, out, grad);
            }
        });
        out.iter_mut().for_each(|o| *o = (*o + self.constant) * self.scale);
        if self.scale != 1.0 {
            grad.iter_mut().for_each(|g| *g *= self.scale);
        }
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
        self.evaluate::<true>(1, x, &mut out, grad);
        out[0]
    }

    fn value_grad_lanes(&self, lanes: usize, x: &[f64], out: &mut [f64], grad: &mut [f64]) {
        self.evaluate::<true>(lanes, x, out, grad);
    }

    fn grad_lanes(&self, lanes: usize, x: &[f64], grad: &mut [f64]) {
        self.evaluate::<false>(lanes, x, &mut [], grad);
    }

    fn hess_vec(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        curvature::hess_vec(&self.shape, self.rows(), x, v, out);
        out.iter_mut().for_each(|o| *o *= self.scale);
    }
}
/// `sum[l] += sum_j x_j z[j, l]`
pub(super) fn add_product(x: &[f64], z: &[f64], sum: &mut [f64]) {
    const WIDE: usize = 8;
    let lanes = sum.len();
    if lanes == 1 {
        let mut parts = [0.0; 4];
        let (xs, zs) = (x.chunks_exact(4), z.chunks_exact(4));
        let rest: f64 = xs.remainder().iter().zip(zs.remainder()).map(|(x, z)| x * z).sum();
        for (x, z) in xs.zip(zs) {
            for k in 0..4 {
                parts[k] += x[k] * z[k];
            }
        }
        sum[0] += (parts[0] + parts[1]) + (parts[2] + parts[3]) + rest;
        return;
    }
    let mut start = 0;
    while start + WIDE <= lanes {
        let mut parts = [0.0; WIDE];
        for (&x, z) in x.iter().zip(z.chunks_exact(lanes)) {
            for (part, z) in parts.iter_mut().zip(&z[start..start + WIDE]) {
                *part += x * z;
            }
        }
        for (s, part) in sum[start..start + WIDE].iter_mut().zip(parts) {
            *s += part;
        }
        start += WIDE;
    }
    if start < lanes {
        for (&x, z) in x.iter().zip(z.chunks_exact(lanes)) {
            for (s, z) in sum[start..].iter_mut().zip(&z[start..]) {
                *s += x * z;
            }
        }
    }
}

/// `grad[j, l] += x_j by_l`
pub(super) fn add_outer(x: &[f64], by: &[f64], grad: &mut [f64]) {
    if let [by] = by {
        for (g, x) in grad.iter_mut().zip(x) {
            *g += x * by;
        }
        return;
    }
    for (&x, g) in x.iter().zip(grad.chunks_exact_mut(by.len())) {
        for (g, b) in g.iter_mut().zip(by) {
            *g += x * b;
        }
    }
}
