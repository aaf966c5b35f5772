//! The rows a pass looks at: all of them, or some, by number; in memory, or read as they come.

use crate::data::{Observations, RowFile, View};
use crate::error::Error;

/// Rows of data, in an order.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, D = View<'a>> {
    data: D,
    some: Option<&'a [usize]>,
}

/// Rows that are in memory.
pub(crate) type InMemory<'a> = Rows<'a, &'a Observations>;

impl<'a> InMemory<'a> {
    /// All of them, or those listed.
    pub(crate) fn of(data: &'a Observations, some: Option<&'a [usize]>) -> InMemory<'a> {
        Rows { data, some }
    }

    /// Row `i` of these, and how much it counts.
    pub(crate) fn get(&self, i: usize) -> (&'a [f64], f64) {
        let i = self.number(i);
        (self.data.row(i), self.data.weight(i))
    }
}

impl<'a, D: Copy + Into<View<'a>>> Rows<'a, D> {
    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.some.map_or_else(|| self.data.into().len(), <[usize]>::len)
    }

    /// The sum of the weights.
    pub(crate) fn weight(&self) -> f64 {
        let data = self.data.into();
        match self.some {
            None => data.total_weight(),
            Some(some) => some.iter().map(|&i| data.weight(i)).sum(),
        }
    }

    /// The number that row `i` of these has in the data.
    fn number(&self, i: usize) -> usize {
        self.some.map_or(i, |some| some[i])
    }
}

impl<'a> Rows<'a> {
    /// All of them, or those listed.
    pub(crate) fn new(data: impl Into<View<'a>>, some: Option<&'a [usize]>) -> Rows<'a> {
        Rows { data: data.into(), some }
    }

    /// Whether a cell of the data is missing.
    pub(super) fn has_missing(&self) -> bool {
        self.data.has_missing()
    }

    /// An error if they are not what they were.
    pub(super) fn unchanged(&self) -> Result<(), Error> {
        match self.data {
            View::Memory(_) => Ok(()),
            View::File(file) => file.unchanged(),
        }
    }

    /// How many numbers a [`Reader`] works with.
    pub(super) fn room(&self) -> usize {
        match self.data {
            View::Memory(_) => 0,
            View::File(file) => file.together().max(super::kernel::BLOCK) * file.dim(),
        }
    }

    /// A reader of the rows before `end`.
    pub(super) fn reader(self, end: usize, room: &'a mut [f64]) -> Reader<'a> {
        Reader { rows: self, end, room, first: 0, held: 0, failed: None }
    }
}

/// Goes over rows from the first to the last, block by block.
pub(super) struct Reader<'a> {
    rows: Rows<'a>,
    end: usize,
    /// Of a file, the rows `first..first + held`.
    room: &'a mut [f64],
    first: usize,
    held: usize,
    failed: Option<Error>,
}

impl Reader<'_> {
    /// Writes `count` rows from `start` on, one column of `block` numbers after another, and their
    /// weights. The rest of a column repeats the last row, with weight 0. Where a file cannot be
    /// read all of it is 0, and [`Reader::finish`] says why.
    #[inline(always)]
    pub(super) fn load(
        &mut self,
        (start, count): (usize, usize),
        block: usize,
        x: &mut [f64],
        weights: &mut [f64],
    ) {
        match self.rows.data {
            View::Memory(data) => {
                for r in 0..block {
                    let i = self.rows.number(start + r.min(count - 1));
                    for (j, &value) in data.row(i).iter().enumerate() {
                        x[j * block + r] = value;
                    }
                    weights[r] = if r < count { data.weight(i) } else { 0.0 };
                }
            }
            View::File(file) => {
                if !self.hold(file, start, count) {
                    x.fill(0.0);
                    return weights.fill(0.0);
                }
                let dim = file.dim();
                for r in 0..block {
                    let at = start - self.first + r.min(count - 1);
                    for (j, &value) in self.room[at * dim..(at + 1) * dim].iter().enumerate() {
                        x[j * block + r] = value;
                    }
                    weights[r] = if r < count { 1.0 } else { 0.0 };
                }
            }
        }
    }

    /// Reads ahead unless these rows are there; whether they are.
    fn hold(&mut self, file: &RowFile, start: usize, count: usize) -> bool {
        if self.failed.is_some() {
            return false;
        }
        if self.first <= start && start + count <= self.first + self.held {
            return true;
        }
        let dim = file.dim();
        self.first = start;
        self.held = (self.room.len() / dim).min(self.end - start);
        let mut room = &mut self.room[..self.held * dim];
        let mut at = start;
        while !room.is_empty() {
            // neighbours in one go
            let first = self.rows.number(at);
            let left = room.len() / dim;
            let together = match self.rows.some {
                None => left,
                Some(some) => {
                    let next = some[at..at + left].iter().zip(first..);
                    next.take_while(|(i, want)| *i == want).count()
                }
            };
            let (here, rest) = room.split_at_mut(together * dim);
            if let Err(error) = file.read(first, here) {
                self.failed = Some(error);
                return false;
            }
            (room, at) = (rest, at + together);
        }
        true
    }

    /// Why rows could not be read.
    pub(super) fn finish(self) -> Result<(), Error> {
        self.failed.map_or(Ok(()), Err)
    }
}
