//! Symmetric matrices times several points: each entry of the lower triangle is read once and used
//! for its row and for its column.

use pulp::{Simd, WithSimd};

use crate::product::{
    ROWS, Row, STRETCH, add_rows_to_points, groups, pack, place, rows_by_points, with_panel,
};
use crate::simd::dispatch;
use crate::triangle::len;

/// Columns at once: points and sums of points share the first cache.
const WIDTH: usize = STRETCH / 2;

/// Writes `A (x_l - center)` of each of `lanes` points; coordinate `i` of point `l` is at
/// `i * lanes + l`. `lower` holds the lower triangle of `A` row by row; no `center` is 0.
pub(crate) fn multiply(
    lower: &[f64],
    center: Option<&[f64]>,
    lanes: usize,
    x: &[f64],
    out: &mut [f64],
) {
    let dim = x.len() / lanes.max(1);
    let width = WIDTH.min(dim);
    with_panel(width, lanes, |panel| {
        with_panel(width, lanes, |columns| {
            dispatch(Multiply { dim, lower, center, lanes, x, out, panel, columns });
        });
    });
}

struct Multiply<'a> {
    dim: usize,
    lower: &'a [f64],
    center: Option<&'a [f64]>,
    lanes: usize,
    x: &'a [f64],
    out: &'a mut [f64],
    panel: &'a mut [f64],
    columns: &'a mut [f64],
}

impl WithSimd for Multiply<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Multiply { dim, lower, center, lanes, x, out, panel, columns } = self;
        let center = |i: usize| center.map_or(0.0, |c| c[i]);
        out.fill(0.0);
        for from in (0..dim).step_by(WIDTH) {
            let n = WIDTH.min(dim - from);
            pack::<S>(n, lanes, panel, |l, i| x[(from + i) * lanes + l] - center(from + i));
            columns.fill(0.0);
            for i in (from..dim).step_by(ROWS) {
                let count = ROWS.min(dim - i);
                let row = |stored: usize, r: usize| Row {
                    start: len(i + r) + from,
                    len: n.min(i + r + stored - from),
                };
                // the diagonal belongs to the rows alone
                let with: [Row; ROWS] = std::array::from_fn(|r| row(1, r.min(count - 1)));
                let without: [Row; ROWS] = std::array::from_fn(|r| row(0, r.min(count - 1)));
                rows_by_points(simd, lower, &with[..count], (n, lanes), panel, |r, l, sum| {
                    out[(i + r) * lanes + l] += sum;
                });
                let by = |r: usize, l: usize| x[(i + r) * lanes + l] - center(i + r);
                add_rows_to_points(simd, lower, &without[..count], (n, lanes), columns, by);
            }
            for group in groups::<S>(lanes) {
                for i in 0..n {
                    for c in 0..group.1 {
                        out[(from + i) * lanes + group.0 + c] +=
                            columns[place::<S>(n, group, i, c)];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;

    use super::*;

    /// A product of n terms is off by n eps of the sum of their sizes.
    #[test]
    fn a_product_from_the_lower_triangle_is_that_of_the_matrix() {
        for d in [1, 2, 7, 8, 9, 17, 65, 200] {
            for lanes in [1, 2, 7, 8, 9, 10, 17, 20] {
                let number = |k: usize| ((k * 7 + 3) % 11) as f64 / 11.0 - 0.4;
                let entry = |i: usize, j: usize| number(5 * i.max(j) + 3 * i.min(j));
                let a = DMatrix::from_fn(d, d, entry);
                let lower: Vec<f64> =
                    (0..d).flat_map(|i| (0..=i).map(move |j| entry(i, j))).collect();
                let x = DMatrix::from_fn(lanes, d, |l, i| number(13 * i + 7 * l));
                let center: Vec<f64> = (0..d).map(|i| number(i + 2)).collect();
                let off = DMatrix::from_fn(lanes, d, |l, i| x[(l, i)] - center[i]);
                for (center, want) in [(None, &x * &a), (Some(&center[..]), &off * &a)] {
                    let mut out = vec![f64::NAN; d * lanes];
                    multiply(&lower, center, lanes, x.as_slice(), &mut out);
                    for (out, want) in out.iter().zip(&want) {
                        assert!((out - want).abs() < 4.0 * d as f64 * f64::EPSILON * d as f64);
                    }
                }
            }
        }
    }
}
