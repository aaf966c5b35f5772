//! Likelihoods without groups: rows in panels, several points at once, each row read once for all.

use std::sync::Arc;

use pulp::{Simd, WithSimd};

use super::kernel::{Data, Link, Shape};
use super::panels::{Eight, Panels, aligned, room_for};
use super::product::{Block, pack, predict, pull_back};
use super::residual::{Noise, Rows, Sums, Want, residuals};
use crate::autodiff::Primitive;
use crate::scratch::with_buffer;
use crate::simd::dispatch;
use crate::threads::{Chunks, Cut, Order, in_chunks};

/// Panels that are summed up on their own, the sums being added in order: what is added up does not
/// depend on how many chunks are worked on at the same time. Ten thousand rows are eight chunks.
const CHUNK: usize = 160;

/// Panels of a block at most: its slopes, at ten points, stay in a core's first cache.
const BLOCK: usize = 32;

/// Numbers of a block at most: it stays in a core's second cache.
const BLOCK_NUMBERS: usize = 1 << 16;

/// Rows of data, and what is known of each; what a likelihood has no use for is empty.
#[derive(Clone, Debug, Default)]
struct Table {
    n_rows: usize,
    x: Panels,
    /// Of a Bernoulli likelihood 1 and -1 for 1 and 0.
    y: Panels,
    offset: Panels,
    trials: Panels,
    /// What each row's log probability has that no parameter touches.
    constants: Panels,
}

impl Table {
    fn each(&mut self) -> [&mut Panels; 5] {
        [&mut self.x, &mut self.y, &mut self.offset, &mut self.trials, &mut self.constants]
    }

    fn gather(&mut self, from: &Table, rows: &[u32]) {
        self.n_rows = rows.len();
        self.x.gather(&from.x, rows);
        self.y.gather(&from.y, rows);
        self.offset.gather(&from.offset, rows);
        self.trials.gather(&from.trials, rows);
        self.constants.gather(&from.constants, rows);
    }

    /// All of its panels.
    fn all(&self) -> Which<'static> {
        Which::UpTo(self.n_rows.div_ceil(8))
    }

    /// Writes `part`: the gradient of the chunk that begins with panel `from` of those that are
    /// meant, coefficient by coefficient, and the sums of each point.
    #[expect(clippy::too_many_arguments, reason = "what a chunk is told")]
    fn add_up(
        &self,
        link: Link,
        want: Want,
        lanes: usize,
        packed: &[f64],
        noise: Noise<'_>,
        which: Which<'_>,
        from: usize,
        part: &mut [f64],
    ) {
        let p = self.x.n_columns();
        let pulled = pulled(want, lanes);
        let block = (BLOCK_NUMBERS / (8 * p.max(1))).clamp(4, BLOCK);
        let count = block * lanes + p * pulled + 3 * lanes;
        with_buffer(room_for(count), |buffer| {
            let (eta, all) = aligned(buffer, count).split_at_mut(block * lanes);
            let (grad, sums) = all.split_at_mut(p * pulled);
            let to = which.len().min(from + CHUNK);
            dispatch(Chunk {
                table: self,
                which,
                from,
                to,
                block,
                link,
                want,
                lanes,
                pulled,
                packed,
                noise,
                eta,
                grad: &mut *grad,
                sums: sums.as_chunks_mut::<3>().0,
            });
            for (part, eight) in part.iter_mut().zip(grad.iter().chain(&*sums)) {
                *part = sum(eight);
            }
        });
    }

    /// The number of the last panel, and which of its rows there are.
    fn last(&self) -> (usize, Eight) {
        let last = self.n_rows.div_ceil(8).saturating_sub(1);
        (last, std::array::from_fn(|r| f64::from(u8::from(8 * last + r < self.n_rows))))
    }
}

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

/// How many points have a gradient that is summed up.
fn pulled(want: Want, lanes: usize) -> usize {
    match want {
        Want::Values => 0,
        Want::Product => 1,
        Want::Gradients | Want::Both => lanes,
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

/// Some panels of a table.
#[derive(Clone, Copy)]
enum Which<'a> {
    UpTo(usize),
    These(&'a [u32]),
}

impl Which<'_> {
    fn len(self) -> usize {
        match self {
            Which::UpTo(count) => count,
            Which::These(panels) => panels.len(),
        }
    }

    fn panel(self, k: usize) -> usize {
        match self {
            Which::UpTo(_) => k,
            Which::These(panels) => panels[k] as usize,
        }
    }
}

/// The sums over panels `from..to` of those that are meant; what they are written to is overwritten.
struct Chunk<'a> {
    table: &'a Table,
    which: Which<'a>,
    from: usize,
    to: usize,
    block: usize,
    link: Link,
    want: Want,
    lanes: usize,
    pulled: usize,
    packed: &'a [f64],
    noise: Noise<'a>,
    eta: &'a mut [Eight],
    grad: &'a mut [Eight],
    /// Of each point.
    sums: &'a mut [Sums],
}

impl WithSimd for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        let Chunk { table, which, lanes, grad, sums, .. } = self;
        grad.fill([0.0; 8]);
        sums.fill([[0.0; 8]; 3]);
        let mut numbers = [0; BLOCK];
        for from in (self.from..self.to).step_by(self.block) {
            let panels = &mut numbers[..self.block.min(self.to - from)];
            for (k, number) in panels.iter_mut().enumerate() {
                *number = which.panel(from + k);
            }
            let eta = &mut self.eta[..panels.len() * lanes];
            let block = Block { x: table.x.eights(), n_columns: table.x.n_columns(), panels };
            predict(s, block, self.packed, lanes, eta);
            let rows = Rows {
                panels,
                y: table.y.eights(),
                trials: table.trials.eights(),
                offset: table.offset.eights(),
                last: table.last(),
            };
            residuals(s, self.link, self.want, rows, self.noise, eta, sums);
            if self.pulled > 0 {
                pull_back(s, block, eta, lanes, self.pulled, grad);
            }
        }
    }
}

/// The sum of eight numbers, the same on every machine.
fn sum(a: &Eight) -> f64 {
    ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
}

fn sum_of<'a>(eights: impl IntoIterator<Item = &'a Eight>) -> f64 {
    eights.into_iter().map(sum).sum()
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
