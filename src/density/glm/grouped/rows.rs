//! `Rows`: rows of data side by side with those of their group.

use super::super::kernel::{Data, Shape};

/// Rows in a chunk, unless there would be too many chunks; a multiple of 8.
const CHUNK: usize = 512;
/// The most chunks.
const CHUNKS: usize = 256;

/// Rows in the order of their groups.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// The groups that have rows.
    pub segments: Vec<Segment>,
    /// The most segments that have rows in a chunk.
    pub most_segments: usize,
    /// Row by row.
    pub x: Vec<f64>,
    /// Row by row.
    pub w: Vec<f64>,
    pub y: Vec<f64>,
    /// One a row, or none.
    pub offset: Vec<f64>,
    /// One a row, or none.
    pub trials: Vec<f64>,
    /// Kept for its room.
    order: Vec<u32>,
}

/// Where the rows of a group are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub group: usize,
    pub start: usize,
    pub end: usize,
}

impl Rows {
    /// All rows of `data` in this order, which must be one of groups.
    pub(super) fn sorted(data: &Data, order: &[u32]) -> Rows {
        let mut rows = Rows::default();
        let columns = |from: &[f64], n: usize, to: &mut Vec<f64>| {
            to.reserve_exact(from.len());
            order.iter().for_each(|&i| to.extend_from_slice(&from[i as usize * n..][..n]));
        };
        columns(&data.x, data.n_columns, &mut rows.x);
        columns(&data.w, data.n_slopes, &mut rows.w);
        columns(&data.y, 1, &mut rows.y);
        columns(&data.offset, usize::from(!data.offset.is_empty()), &mut rows.offset);
        columns(&data.trials, usize::from(!data.trials.is_empty()), &mut rows.trials);
        order.iter().for_each(|&i| rows.extend_segments(data.group[i as usize] as usize));
        rows.count_segments();
        rows
    }

    /// Becomes some rows of `all`, which may repeat, in the order of their groups.
    pub(super) fn take(&mut self, shape: &Shape, all: &Rows, some: impl Iterator<Item = u32>) {
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(some);
        order.sort_unstable();
        self.segments.clear();
        let mut segment = 0;
        for &i in &order {
            while all.segments[segment].end <= i as usize {
                segment += 1;
            }
            self.extend_segments(all.segments[segment].group);
        }
        let take = |from: &[f64], n: usize, to: &mut Vec<f64>| {
            to.clear();
            order.iter().for_each(|&i| to.extend_from_slice(&from[i as usize * n..][..n]));
        };
        take(&all.x, shape.n_columns, &mut self.x);
        take(&all.w, shape.n_slopes, &mut self.w);
        take(&all.y, 1, &mut self.y);
        take(&all.offset, usize::from(!all.offset.is_empty()), &mut self.offset);
        take(&all.trials, usize::from(!all.trials.is_empty()), &mut self.trials);
        self.order = order;
        self.count_segments();
    }

    fn count_segments(&mut self) {
        let most = (0..self.chunks()).map(|chunk| self.segments_of(chunk).len()).max();
        self.most_segments = most.unwrap_or(0);
    }

    /// One more row, of this group.
    fn extend_segments(&mut self, group: usize) {
        match self.segments.last_mut() {
            Some(last) if last.group == group => last.end += 1,
            last => {
                let start = last.map_or(0, |last| last.end);
                self.segments.push(Segment { group, start, end: start + 1 });
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.y.len()
    }

    /// How many rows a chunk has: it depends on their number alone.
    pub(super) fn chunk(&self) -> usize {
        self.len().div_ceil(CHUNKS).next_multiple_of(8).max(CHUNK)
    }

    pub(super) fn chunks(&self) -> usize {
        self.len().div_ceil(self.chunk())
    }

    /// The rows of a chunk.
    pub(super) fn range(&self, chunk: usize) -> (usize, usize) {
        let from = chunk * self.chunk();
        (from, self.len().min(from + self.chunk()))
    }

    /// The segments with rows in a chunk.
    pub(super) fn segments_of(&self, chunk: usize) -> &[Segment] {
        let (from, to) = self.range(chunk);
        &self.segments[self.segment_at(from)..self.segment_at(to - 1) + 1]
    }

    /// The first segment with rows from `row` on.
    fn segment_at(&self, row: usize) -> usize {
        self.segments.partition_point(|s| s.end <= row)
    }
}
