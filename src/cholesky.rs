//! The Cholesky factor of a symmetric matrix, eight columns at a time.

use pulp::{Simd, WithSimd};

use crate::product::{ROWS, Row, STRETCH, pack, rows_by_points, with_panel};
use crate::simd::dispatch;
use crate::triangle::{len, rows};

/// Columns of the factor that are found together.
const COLUMNS: usize = 8;

/// Replaces the lower triangle of a positive definite matrix, row by row, by its Cholesky factor; a
/// number on the diagonal is 0 or not finite where the matrix is not.
pub(crate) fn factorize(m: &mut [f64]) {
    let dim = rows(m).count();
    with_panel(STRETCH.min(dim), COLUMNS, |panel| dispatch(Factorize { dim, m, panel }));
}

struct Factorize<'a> {
    dim: usize,
    m: &'a mut [f64],
    panel: &'a mut [f64],
}

impl WithSimd for Factorize<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Factorize { dim, m, panel } = self;
        for j in (0..dim).step_by(COLUMNS) {
            let width = COLUMNS.min(dim - j);
            // what the columns before take away from these
            for from in (0..j).step_by(STRETCH) {
                let n = STRETCH.min(j - from);
                pack::<S>(n, width, panel, |c, k| m[len(j + c) + from + k]);
                for i in (j..dim).step_by(ROWS) {
                    let count = ROWS.min(dim - i);
                    let row = |r: usize| Row { start: len(i + r.min(count - 1)) + from, len: n };
                    let rows: [Row; ROWS] = std::array::from_fn(row);
                    let mut sums = [[0.0; COLUMNS]; ROWS];
                    rows_by_points(simd, m, &rows[..count], (n, width), panel, |r, c, sum| {
                        sums[r][c] = sum;
                    });
                    for r in 0..count {
                        let row = &mut m[len(i + r) + j..len(i + r + 1)];
                        row.iter_mut().zip(&sums[r][..width]).for_each(|(m, sum)| *m -= sum);
                    }
                }
            }
            // the small triangle on the diagonal, and then every row below it
            let mut small = [[0.0; COLUMNS]; COLUMNS];
            let mut recip = [0.0; COLUMNS];
            for i in j..dim {
                let row = &mut m[len(i) + j..len(i + 1)];
                let below = width.min(i - j);
                for c in 0..below {
                    let mut rest = row[c];
                    for k in 0..c {
                        rest -= row[k] * small[c][k];
                    }
                    row[c] = rest * recip[c];
                }
                if i < j + width {
                    let c = i - j;
                    let square: f64 = row[..c].iter().map(|l| l * l).sum();
                    row[c] = (row[c] - square).sqrt();
                    recip[c] = row[c].recip();
                    small[c][..c].copy_from_slice(&row[..c]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;
    use pulp::Arch;

    use super::*;

    /// Backward stable: `L L^T` is off by a few eps d times the size of the matrix.
    #[test]
    fn a_factor_makes_its_matrix() {
        for d in [0, 1, 2, 7, 8, 9, 17, 63, 65, 300] {
            let root = DMatrix::from_fn(d, d, |i, j| ((i * 5 + j * 3) % 7) as f64 - 2.0);
            let m = &root * root.transpose() + DMatrix::identity(d, d) * (1.0 + d as f64);
            let packed: Vec<f64> =
                (0..d).flat_map(|i| (0..=i).map(move |j| (i, j))).map(|at| m[at]).collect();
            for arch in [Arch::Scalar, Arch::new()] {
                let mut l = packed.clone();
                let mut panel = vec![f64::NAN; STRETCH * COLUMNS];
                arch.dispatch(Factorize { dim: d, m: &mut l, panel: &mut panel });
                let l = DMatrix::from_fn(d, d, |i, j| if j <= i { l[len(i) + j] } else { 0.0 });
                let off = (&l * l.transpose() - &m).iter().fold(0.0, |a: f64, b| a.max(b.abs()));
                let size = m.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
                assert!(off <= 4.0 * d as f64 * f64::EPSILON * size, "{d} rows: {off:e}");
            }
        }
    }

    #[test]
    fn what_is_not_positive_definite_shows_on_the_diagonal() {
        // the second pivot is 1 - 4, and that of the third is 0
        for (mut m, bad) in
            [([1.0, 2.0, 1.0, 0.0, 0.0, 1.0], 1), ([1.0, 0.0, 1.0, 1.0, 0.0, 1.0], 2)]
        {
            factorize(&mut m);
            let pivot = m[len(bad + 1) - 1];
            assert!(pivot.is_nan() || pivot == 0.0, "{pivot}");
        }
    }
}
