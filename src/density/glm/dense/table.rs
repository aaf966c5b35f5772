//! `Table`: rows in panels, and the pass over some of them.

use pulp::{Simd, WithSimd};

use super::CHUNK;
use crate::density::glm::kernel::Link;
use crate::density::glm::panels::{Eight, Panels, aligned, room_for};
use crate::density::glm::product::{Block, predict, pull_back};
use crate::density::glm::residual::{Noise, Rows, Sums, Want, residuals};
use crate::scratch::with_buffer;
use crate::simd::dispatch;

/// Panels of a block at most: its slopes, at ten points, stay in a core's first cache.
const BLOCK: usize = 32;

/// Numbers of a block at most: it stays in a core's second cache.
const BLOCK_NUMBERS: usize = 1 << 16;

/// Rows of data, and what is known of each; what a likelihood has no use for is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) n_rows: usize,
    pub(super) x: Panels,
    /// Of a Bernoulli likelihood 1 and -1 for 1 and 0.
    pub(super) y: Panels,
    pub(super) offset: Panels,
    pub(super) trials: Panels,
    /// What each row's log probability has that no parameter touches.
    pub(super) constants: Panels,
}

impl Table {
    pub(super) fn each(&mut self) -> [&mut Panels; 5] {
        [&mut self.x, &mut self.y, &mut self.offset, &mut self.trials, &mut self.constants]
    }

    pub(super) fn gather(&mut self, from: &Table, rows: &[u32]) {
        self.n_rows = rows.len();
        self.x.gather(&from.x, rows);
        self.y.gather(&from.y, rows);
        self.offset.gather(&from.offset, rows);
        self.trials.gather(&from.trials, rows);
        self.constants.gather(&from.constants, rows);
    }

    /// All of its panels.
    pub(super) fn all(&self) -> Which<'static> {
        Which::UpTo(self.n_rows.div_ceil(8))
    }

    /// Writes `part`: the gradient of the chunk that begins with panel `from` of those that are
    /// meant, coefficient by coefficient, and the sums of each point.
    #[expect(clippy::too_many_arguments, reason = "what a chunk is told")]
    pub(super) fn add_up(
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
    pub(super) fn last(&self) -> (usize, Eight) {
        let last = self.n_rows.div_ceil(8).saturating_sub(1);
        (last, std::array::from_fn(|r| f64::from(u8::from(8 * last + r < self.n_rows))))
    }
}

/// How many points have a gradient that is summed up.
pub(super) fn pulled(want: Want, lanes: usize) -> usize {
    match want {
        Want::Values => 0,
        Want::Product => 1,
        Want::Gradients | Want::Both => lanes,
    }
}

/// Some panels of a table.
#[derive(Clone, Copy)]
pub(super) enum Which<'a> {
    UpTo(usize),
    These(&'a [u32]),
}

impl Which<'_> {
    pub(super) fn len(self) -> usize {
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

pub(super) fn sum_of<'a>(eights: impl IntoIterator<Item = &'a Eight>) -> f64 {
    eights.into_iter().map(sum).sum()
}
