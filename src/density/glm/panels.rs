//! `Panels`: a matrix in panels of eight rows, column by column inside a panel, for kernels whose
//! registers run over rows.

/// The numbers of one column in the rows of one panel.
pub(super) type Eight = [f64; 8];

/// Bytes that a register may be long; panels begin at a multiple of it.
const ALIGNMENT: usize = 64;

/// Numbers that may have to be skipped to reach an aligned one.
const SKIPPED: usize = ALIGNMENT / 8 - 1;

/// The aligned part of a buffer that was made [`room_for`] so many `Eight`s.
pub(super) fn aligned(buffer: &mut [f64], count: usize) -> &mut [Eight] {
    let start = start_of(buffer);
    &mut buffer[start..].as_chunks_mut().0[..count]
}

/// How many numbers a buffer needs to hold `count` aligned `Eight`s.
pub(super) fn room_for(count: usize) -> usize {
    8 * count + SKIPPED
}

fn start_of(buffer: &[f64]) -> usize {
    buffer.as_ptr().align_offset(ALIGNMENT).min(SKIPPED)
}

/// Element (row `8 q + r`, column `j`) is number `r` of `eights()[q * n_columns + j]`; rows beyond the
/// last are zeros.
#[derive(Debug, Default)]
pub(super) struct Panels {
    numbers: Vec<f64>,
    /// Where the first panel begins in `numbers`.
    start: usize,
    n_rows: usize,
    n_columns: usize,
}

impl Clone for Panels {
    fn clone(&self) -> Panels {
        let mut copy = Panels::default();
        copy.reset(self.n_rows, self.n_columns);
        copy.eights_mut().copy_from_slice(self.eights());
        copy
    }
}

impl Panels {
    /// Element (i, j) is `at(i, j)`.
    pub(super) fn new(n_rows: usize, n_columns: usize, at: impl Fn(usize, usize) -> f64) -> Panels {
        let mut panels = Panels::default();
        panels.reset(n_rows, n_columns);
        if n_columns > 0 {
            for (q, panel) in panels.eights_mut().chunks_exact_mut(n_columns).enumerate() {
                for r in 0..8.min(n_rows - 8 * q) {
                    for (j, eight) in panel.iter_mut().enumerate() {
                        eight[r] = at(8 * q + r, j);
                    }
                }
            }
        }
        panels
    }

    /// A matrix given row by row, laid out anew where it is; with a column of ones in front if
    /// `intercept`.
    pub(super) fn in_place(
        mut numbers: Vec<f64>,
        n_rows: usize,
        n_given: usize,
        intercept: bool,
    ) -> Panels {
        let n_columns = n_given + usize::from(intercept);
        let count = n_rows.div_ceil(8) * n_columns;
        numbers.reserve_exact(room_for(count).saturating_sub(numbers.len()));
        numbers.resize(room_for(count).max(numbers.len()), 0.0);
        let start = start_of(&numbers);
        // A panel ends up no earlier than its rows were: the last goes first.
        let mut rows = vec![0.0; 8 * n_given];
        for q in (0..n_rows.div_ceil(8)).rev() {
            let used = 8.min(n_rows - 8 * q);
            let given = &numbers[8 * q * n_given..][..used * n_given];
            rows[..given.len()].copy_from_slice(given);
            let panel = &mut numbers[start + 8 * q * n_columns..][..8 * n_columns];
            let (ones, others) = panel.split_at_mut(8 * usize::from(intercept));
            ones.fill(1.0);
            for (j, eight) in others.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                *eight =
                    std::array::from_fn(|r| if r < used { rows[r * n_given + j] } else { 0.0 });
            }
            if let Some(ones) = ones.get_mut(used..) {
                ones.fill(0.0);
            }
        }
        Panels { numbers, start, n_rows, n_columns }
    }

    /// Makes this a matrix of zeros, in the room it has.
    pub(super) fn reset(&mut self, n_rows: usize, n_columns: usize) {
        let room = room_for(n_rows.div_ceil(8) * n_columns);
        self.numbers.clear();
        self.numbers.resize(room, 0.0);
        self.start = start_of(&self.numbers);
        (self.n_rows, self.n_columns) = (n_rows, n_columns);
    }

    pub(super) fn n_columns(&self) -> usize {
        self.n_columns
    }

    pub(super) fn eights(&self) -> &[Eight] {
        let count = self.n_rows.div_ceil(8) * self.n_columns;
        self.numbers.get(self.start..).map_or(&[][..], |n| &n.as_chunks().0[..count])
    }

    fn eights_mut(&mut self) -> &mut [Eight] {
        let count = self.n_rows.div_ceil(8) * self.n_columns;
        &mut self.numbers[self.start..].as_chunks_mut().0[..count]
    }

    fn row(&self, i: usize) -> impl Iterator<Item = f64> {
        self.eights()[i / 8 * self.n_columns..][..self.n_columns].iter().map(move |e| e[i % 8])
    }

    /// Row `i` becomes `row`.
    fn set_row(&mut self, i: usize, row: impl Iterator<Item = f64>) {
        let p = self.n_columns;
        for (eight, x) in self.eights_mut()[i / 8 * p..][..p].iter_mut().zip(row) {
            eight[i % 8] = x;
        }
    }

    /// Becomes these rows of another matrix, in the room it has.
    pub(super) fn gather(&mut self, from: &Panels, rows: &[u32]) {
        if from.n_columns == 0 || from.n_rows == 0 {
            return self.reset(0, from.n_columns);
        }
        self.reset(rows.len(), from.n_columns);
        for (k, &i) in rows.iter().enumerate() {
            self.set_row(k, from.row(i as usize));
        }
    }

    /// Row `i` becomes what was row `from[i]`; `from` is a permutation.
    pub(super) fn permute(&mut self, from: &[u32]) {
        let (n, p) = (self.n_rows, self.n_columns);
        if n == 0 || p == 0 {
            return;
        }
        // Rows lie together meanwhile, which is how they are found fastest.
        let mut held = vec![0.0; 8 * p];
        let panels = self.eights_mut().as_flattened_mut();
        for panel in panels.chunks_exact_mut(8 * p) {
            transpose(panel, p, &mut held);
        }
        let mut done = vec![false; n];
        for first in 0..n {
            if done[first] {
                continue;
            }
            held[..p].copy_from_slice(&panels[first * p..][..p]);
            let mut i = first;
            loop {
                done[i] = true;
                let next = from[i] as usize;
                if next == first {
                    break;
                }
                panels.copy_within(next * p..(next + 1) * p, i * p);
                i = next;
            }
            panels[i * p..][..p].copy_from_slice(&held[..p]);
        }
        for panel in panels.chunks_exact_mut(8 * p) {
            transpose(panel, 8, &mut held);
        }
    }
}

/// A matrix row by row, `rows` of them, becomes its transpose where it is.
fn transpose(matrix: &mut [f64], rows: usize, held: &mut [f64]) {
    held.copy_from_slice(matrix);
    let columns = held.len() / rows;
    for (j, column) in matrix.chunks_exact_mut(rows).enumerate() {
        for (i, x) in column.iter_mut().enumerate() {
            *x = held[i * columns + j];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Panels;

    fn number(i: usize, j: usize) -> f64 {
        (100 * i + j + 1) as f64
    }

    fn rows(panels: &Panels) -> Vec<Vec<f64>> {
        (0..panels.n_rows).map(|i| panels.row(i).collect()).collect()
    }

    fn padding(panels: &Panels) -> Vec<f64> {
        let end = panels.n_rows.next_multiple_of(8);
        (panels.n_rows..end).flat_map(|i| panels.row(i)).collect()
    }

    #[test]
    fn every_way_in_gives_the_same_rows() {
        for n in [1, 7, 8, 9, 64, 65] {
            for p in [1, 2, 3, 8, 50] {
                let expected: Vec<Vec<f64>> =
                    (0..n).map(|i| (0..p).map(|j| number(i, j)).collect()).collect();
                let made = Panels::new(n, p, number);
                let given: Vec<f64> = expected.concat();
                let laid = Panels::in_place(given.clone(), n, p, false);
                let copied = made.clone();
                for panels in [&made, &laid, &copied] {
                    assert_eq!(rows(panels), expected, "{n} x {p}");
                    assert!(padding(panels).iter().all(|x| *x == 0.0));
                    assert_eq!(panels.eights().as_ptr().align_offset(super::ALIGNMENT), 0);
                }
                let with_ones = Panels::in_place(given, n, p, true);
                for (i, row) in rows(&with_ones).iter().enumerate() {
                    assert_eq!((row[0], &row[1..]), (1.0, &expected[i][..]), "{n} x {p}");
                }
                assert!(padding(&with_ones).iter().all(|x| *x == 0.0));
            }
        }
    }

    #[test]
    fn rows_are_gathered_and_permuted() {
        let n = 21;
        let from: Vec<u32> = (0..n).map(|i| (i * 8 + 3) % n).collect();
        let whole = Panels::new(n as usize, 3, number);
        let expected: Vec<Vec<f64>> =
            from.iter().map(|&i| (0..3).map(|j| number(i as usize, j)).collect()).collect();
        let mut permuted = whole.clone();
        permuted.permute(&from);
        assert_eq!(rows(&permuted), expected);
        assert!(padding(&permuted).iter().all(|x| *x == 0.0));
        let mut some = Panels::default();
        for count in [21, 5, 16] {
            some.gather(&whole, &from[..count]);
            assert_eq!(rows(&some), expected[..count]);
            assert!(padding(&some).iter().all(|x| *x == 0.0));
        }
    }
}
