//! The rows a pass looks at: all of them, or some, by number.

use crate::data::Observations;

/// Rows of data, in an order.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    data: &'a Observations,
    some: Option<&'a [usize]>,
}

impl<'a> Rows<'a> {
    /// All of them, or those listed.
    pub(crate) fn new(data: &'a Observations, some: Option<&'a [usize]>) -> Rows<'a> {
        Rows { data, some }
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.some.map_or(self.data.len(), <[usize]>::len)
    }

    /// Row `i` of these, and how much it counts.
    pub(crate) fn get(&self, i: usize) -> (&'a [f64], f64) {
        let i = self.some.map_or(i, |some| some[i]);
        (self.data.row(i), self.data.weight(i))
    }

    /// The sum of the weights.
    pub(crate) fn weight(&self) -> f64 {
        match self.some {
            None => self.data.total_weight(),
            Some(some) => some.iter().map(|&i| self.data.weight(i)).sum(),
        }
    }

    /// Writes `count` rows from `start` on, one column of `block` numbers after another, and their
    /// weights. The rest of a column repeats the last row, with weight 0.
    #[inline(always)]
    pub(super) fn load(
        &self,
        (start, count): (usize, usize),
        block: usize,
        x: &mut [f64],
        weights: &mut [f64],
    ) {
        for r in 0..block {
            let (row, weight) = self.get(start + r.min(count - 1));
            for (j, &value) in row.iter().enumerate() {
                x[j * block + r] = value;
            }
            weights[r] = if r < count { weight } else { 0.0 };
        }
    }
}
