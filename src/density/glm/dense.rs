//! Likelihoods without groups: rows in panels, several points at once, each row read once for all.

mod table;

use std::sync::Arc;

use super::kernel::{Data, Link, Shape};
use super::panels::Panels;
use super::product::pack;
use super::residual::{Noise, Want};
use crate::autodiff::Primitive;
use crate::scratch::with_buffer;
use crate::threads::{Chunks, Cut, Order, in_chunks};
use table::{Table, Which, pulled, sum_of};

/// Panels that are summed up on their own, the sums being added in order: what is added up does not
/// depend on how many chunks are worked on at the same time. Ten thousand rows are eight chunks.
const CHUNK: usize = 160;

/// All rows there are, and what links them to the predictor.
#[derive(Clone, Debug)]
struct Whole {
    link: Link,
    table: Table,
}

/// A likelihood over the rows it looks at now.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    shape: Shape,
    whole: Arc<Whole>,
    /// Which row of the beginning each row is; empty for all in order.
    arranged: Arc<Vec<u32>>,
    /// Whether only the rows of the subset are in use.
    partly: bool,
    subset: Box<Subset>,
    /// `n_data / rows`
    scale: f64,
    /// The sum of the constants of the rows in use.
    constant: f64,
}

/// The rows of a subsample.
#[derive(Clone, Debug, Default)]
struct Subset {
    /// Panels that are in it whole.
    panels: Vec<u32>,
    /// Other rows, and their copies.
    rows: Vec<u32>,
    copies: Table,
}

impl Chunks for Whole {
    fn chunk(&self, order: Order, inputs: &[f64], c: usize, part: &mut [f64]) {
        let Order { lanes, values, gradients } = order;
        let want = match (values, gradients) {
            (true, true) => Want::Both,
            (true, false) => Want::Values,
            _ => Want::Gradients,
        };
        let (packed, sd) = inputs.split_at(self.table.x.n_columns() * lanes);
        let noise = Noise { sd, turn: 0.0 };
        let which = self.table.all();
        self.table.add_up(self.link, want, lanes, packed, noise, which, c * CHUNK, part);
    }
}

impl Dense {
    pub(super) fn new(data: Data) -> Dense {
        let (shape, n) = (data.shape(), data.n_rows());
        let column = |values: Vec<f64>| match values.is_empty() {
            true => Panels::default(),
            false => Panels::in_place(values, n, 1, false),
        };
        let mut y = data.y;
        if data.link == Link::BernoulliLogit {
            y.iter_mut().for_each(|y| *y = 2.0 * *y - 1.0);
        }
        let table = Table {
            n_rows: n,
            x: data.panels,
            y: column(y),
            offset: column(data.offset),
            trials: column(data.trials),
            constants: column(data.constants),
        };
        let mut node = Dense {
            shape,
            whole: Arc::new(Whole { link: data.link, table }),
            arranged: Arc::default(),
            partly: false,
            subset: Box::default(),
            scale: 1.0,
            constant: 0.0,
        };
        node.whole();
        node
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn subsample(&mut self, rows: &[usize]) {
        let some = &mut *self.subset;
        self.partly = true;
        some.panels.clear();
        some.rows.clear();
        let mut rest = rows;
        while let Some(&first) = rest.first() {
            let run = rest.get(..8).filter(|run| {
                first % 8 == 0 && run.iter().enumerate().all(|(k, &row)| row == first + k)
            });
            match run {
                Some(_) => some.panels.push((first / 8) as u32),
                None => some.rows.push(first as u32),
            }
            rest = &rest[if run.is_some() { 8 } else { 1 }..];
        }
        some.copies.gather(&self.whole.table, &some.rows);
        self.scale = self.shape.n_rows as f64 / rows.len().max(1) as f64;
        let constants = self.whole.table.constants.eights();
        let whole = some.panels.iter().filter_map(|&q| constants.get(q as usize));
        self.constant = sum_of(whole) + sum_of(some.copies.constants.eights());
    }

    pub(super) fn whole(&mut self) {
        self.partly = false;
        self.scale = 1.0;
        self.constant = sum_of(self.whole.table.constants.eights());
    }

    /// Row `i` becomes the one that was row `order[i]` at the beginning.
    pub(super) fn arrange(&mut self, order: &[usize]) -> bool {
        let n = self.shape.n_rows;
        if order.len() != n {
            return false;
        }
        let mut place = vec![u32::MAX; n];
        for i in 0..n {
            let origin = self.arranged.get(i).map_or(i, |&origin| origin as usize);
            place[origin] = i as u32;
        }
        let mut from = Vec::with_capacity(n);
        for &origin in order {
            // Each row once: a place that is taken is none.
            match place.get_mut(origin).map(|place| std::mem::replace(place, u32::MAX)) {
                None | Some(u32::MAX) => return false,
                Some(i) => from.push(i),
            }
        }
        Arc::make_mut(&mut self.whole).table.each().into_iter().for_each(|p| p.permute(&from));
        self.arranged = Arc::new(order.iter().map(|&i| i as u32).collect());
        self.whole();
        true
    }

    fn subset(&self) -> Option<&Subset> {
        self.partly.then_some(&*self.subset)
    }

    fn n_used(&self) -> usize {
        self.subset().map_or(self.shape.n_rows, |some| 8 * some.panels.len() + some.rows.len())
    }

    /// Adds what the rows in use give to `grad`, coefficient by coefficient (one point out of two for
    /// a product), and returns the sums of each point in `sums`.
    fn add_up(
        &self,
        want: Want,
        lanes: usize,
        coefficients: &[f64],
        noise: Noise<'_>,
        grad: &mut [f64],
        sums: &mut [[f64; 3]],
    ) {
        let (p, link) = (self.shape.n_columns, self.shape.link);
        let slopes = p * pulled(want, lanes);
        let mut add = |part: &[f64]| {
            let (partial, partial_sums) = part.split_at(slopes);
            grad.iter_mut().zip(partial).for_each(|(grad, partial)| *grad += partial);
            let totals = sums.as_flattened_mut().iter_mut();
            totals.zip(partial_sums).for_each(|(total, partial)| *total += partial);
        };
        let size = slopes + 3 * lanes;
        with_buffer(p * lanes + noise.sd.len(), |inputs| {
            let (packed, sd) = inputs.split_at_mut(p * lanes);
            pack(coefficients, lanes, packed);
            sd.copy_from_slice(noise.sd);
            let mut alone = |table: &Table, which: Which<'_>| {
                let (packed, sd) = inputs.split_at(p * lanes);
                let noise = Noise { sd, turn: noise.turn };
                with_buffer(size, |part| {
                    for from in (0..which.len()).step_by(CHUNK) {
                        table.add_up(link, want, lanes, packed, noise, which, from, part);
                        add(part);
                    }
                });
            };
            match self.subset() {
                Some(some) => {
                    alone(&self.whole.table, Which::These(&some.panels));
                    alone(&some.copies, some.copies.all());
                }
                None if want == Want::Product => alone(&self.whole.table, self.whole.table.all()),
                None => {
                    let values = matches!(want, Want::Values | Want::Both);
                    let gradients = matches!(want, Want::Gradients | Want::Both);
                    let order = Order { lanes, values, gradients };
                    let chunks = self.whole.table.all().len().div_ceil(CHUNK);
                    let points = (self.shape.n_rows * lanes) as f64;
                    let nanoseconds = points * (1.0 + 0.04 * p as f64);
                    let cut = Cut { chunks, part: size, nanoseconds };
                    in_chunks(&self.whole, order, inputs, cut, |_, part| add(part));
                }
            }
        });
    }

    /// Values and gradients at `lanes` points, either of them perhaps not wanted and then empty.
    fn evaluate(&self, want: Want, lanes: usize, x: &[f64], out: &mut [f64], grad: &mut [f64]) {
        let (coefficients, sd) = x.split_at(self.shape.n_columns * lanes);
        let used = self.n_used() as f64;
        grad.fill(0.0);
        with_buffer(3 * lanes, |buffer| {
            let sums = buffer.as_chunks_mut::<3>().0;
            sums.fill([0.0; 3]);
            let (grad_z, slope) = grad.split_at_mut(match want {
                Want::Values => 0,
                _ => coefficients.len(),
            });
            self.add_up(want, lanes, coefficients, Noise { sd, turn: 0.0 }, grad_z, sums);
            for (l, &mut [mut value, square, mut large]) in sums.iter_mut().enumerate() {
                if let Some(&sd) = sd.get(l) {
                    let log = sd.ln();
                    value -= 0.5 * square + used * log;
                    large += square + log;
                    if let Some(slope) = slope.get_mut(l) {
                        *slope = (square - used) / sd;
                    }
                }
                if let Some(out) = out.get_mut(l) {
                    *out = (value + self.constant) * self.scale;
                }
                if !large.is_finite() {
                    grad_z.iter_mut().skip(l).step_by(lanes).for_each(|g| *g = f64::NAN);
                }
            }
        });
        if self.scale != 1.0 {
            grad.iter_mut().for_each(|g| *g *= self.scale);
        }
    }
}

impl Primitive for Dense {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        let mut out = [0.0];
        self.evaluate(Want::Both, 1, x, &mut out, grad);
        out[0]
    }

    fn value_grad_lanes(&self, lanes: usize, x: &[f64], out: &mut [f64], grad: &mut [f64]) {
        self.evaluate(Want::Both, lanes, x, out, grad);
    }

    fn value_lanes(&self, lanes: usize, x: &[f64], out: &mut [f64]) {
        self.evaluate(Want::Values, lanes, x, out, &mut []);
    }

    fn grad_lanes(&self, lanes: usize, x: &[f64], grad: &mut [f64]) {
        self.evaluate(Want::Gradients, lanes, x, &mut [], grad);
    }

    /// `X' W X v`, exact: predictor and direction are two points of one pass over the rows.
    fn hess_vec(&self, x: &[f64], v: &[f64], out: &mut [f64]) {
        let p = self.shape.n_columns;
        let noise = Noise { sd: &x[p..], turn: v.get(p).copied().unwrap_or(0.0) };
        let mut sums = [[0.0; 3]; 2];
        out.fill(0.0);
        with_buffer(2 * p, |pairs| {
            for (pair, (x, v)) in pairs.as_chunks_mut().0.iter_mut().zip(x[..p].iter().zip(v)) {
                *pair = [*x, *v];
            }
            self.add_up(Want::Product, 2, pairs, noise, &mut out[..p], &mut sums);
        });
        if let (Some(out), Some(sd)) = (out.get_mut(p), noise.sd.first()) {
            let [_, square, _] = sums[0];
            *out = (self.n_used() as f64 * noise.turn - square) / (sd * sd);
        }
        out.iter_mut().for_each(|o| *o *= self.scale);
    }
}

#[cfg(test)]
mod tests {
    use crate::Subsample;
    use crate::density::glm::Design;
    use crate::threads::meets_shared_work;

    #[test]
    fn rows_are_shared_among_threads_and_those_of_a_subsample_are_not() {
        let x: Vec<f64> = (0..6_000).map(|i| f64::from(i % 13) - 6.0).collect();
        let y: Vec<bool> = (0..2_000).map(|i| i % 3 == 0).collect();
        let shares = |rows: Option<&[usize]>| {
            let mut likelihood = Design::rows(&x, 3).bernoulli_logit(&y).expect("a matrix");
            if let Some(rows) = rows {
                likelihood.subsample(rows);
            }
            let beta = [0.1; 3];
            meets_shared_work(|| assert!(likelihood.log_prob(&beta) < 0.0))
        };
        assert!(shares(None));
        assert!(!shares(Some(&[0, 5, 9])));
    }
}
