//! `Lower`: products with a lower triangle and solves by it, for several points at once.

use pulp::{Simd, WithSimd};

use super::len;
use crate::product::{
    ROWS, Row, STRETCH, add_points_to_rows, add_rows_to_points, groups, pack, place,
    rows_by_points, with_panel,
};
use crate::simd::dispatch;

/// Rows taken at once.
const BLOCK: usize = 4;

/// A lower triangular matrix: the triangle stored row by row; or, with a `scale`, `diag(scale) U`,
/// of which only what is below the unit diagonal of `U` is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lower<'a> {
    dim: usize,
    entries: &'a [f64],
    scale: Option<&'a [f64]>,
}

impl<'a> Lower<'a> {
    /// The triangle of `dim` rows with its diagonal.
    pub(crate) fn new(dim: usize, entries: &'a [f64]) -> Lower<'a> {
        Lower { dim, entries, scale: None }
    }

    /// `diag(scale) U`
    pub(crate) fn scaled(scale: &'a [f64], below: &'a [f64]) -> Lower<'a> {
        Lower { dim: scale.len(), entries: below, scale: Some(scale) }
    }

    /// Where row `i` begins.
    fn start(&self, i: usize) -> usize {
        if self.scale.is_some() { len(i) - i } else { len(i) }
    }

    /// What is stored of row `i`.
    pub(crate) fn row(&self, i: usize) -> &'a [f64] {
        &self.entries[self.start(i)..self.start(i + 1)]
    }

    /// What is stored of up to `R` rows from `i` on in `n` columns from `from` on, and how many rows
    /// there are.
    fn rows<const R: usize>(&self, i: usize, from: usize, n: usize) -> ([Row; R], usize) {
        let count = R.min(self.dim - i);
        let row = |r: usize| {
            let i = i + r.min(count - 1);
            let stored = if self.scale.is_some() { i } else { i + 1 };
            let len = n.min(stored.saturating_sub(from));
            Row { start: self.start(i) + from.min(stored), len }
        };
        (std::array::from_fn(row), count)
    }

    /// Writes `L x` for every point in `x`, one after another.
    pub(crate) fn multiply(self, x: &[f64], out: &mut [f64]) {
        let points = x.len() / self.dim.max(1);
        with_panel(self.dim, points, |panel| {
            dispatch(Multiply { lower: self, points, x, out, panel });
        });
    }

    /// Replaces every point in `x` by `L^-1 x`.
    pub(crate) fn solve(self, x: &mut [f64]) {
        let points = x.len() / self.dim.max(1);
        with_panel(self.dim, points, |panel| {
            dispatch(Solve { lower: self, points, x, panel });
        });
    }

    /// Replaces every point in `x` by `L^-T x`.
    pub(crate) fn solve_transposed(self, x: &mut [f64]) {
        let points = x.len() / self.dim.max(1);
        with_panel(self.dim, points, |panel| {
            dispatch(SolveTransposed { lower: self, points, x, panel });
        });
    }

    /// Adds `L^T x` of every point in `x` to `out`.
    pub(crate) fn add_transposed(self, x: &[f64], out: &mut [f64]) {
        let points = x.len() / self.dim.max(1);
        with_panel(self.dim, points, |panel| {
            dispatch(AddTransposed { lower: self, points, x, out, panel });
        });
    }

    /// `L^-1`, row by row.
    pub(crate) fn inverse(self) -> Vec<f64> {
        self.columns_of(Lower::solve)
    }

    /// `(L L^T)^-1`, its lower triangle row by row.
    pub(crate) fn inverse_of_square(self) -> Vec<f64> {
        self.columns_of(|lower, columns| {
            lower.solve(columns);
            lower.solve_transposed(columns);
        })
    }

    /// The lower triangle of the matrix whose columns `solve` makes of those of the identity.
    fn columns_of(self, solve: impl Fn(Self, &mut [f64])) -> Vec<f64> {
        const AT_ONCE: usize = 40;
        let d = self.dim;
        let mut inverse = vec![0.0; len(d)];
        let mut columns = vec![0.0; AT_ONCE * d];
        for from in (0..d).step_by(AT_ONCE) {
            let columns = &mut columns[..AT_ONCE.min(d - from) * d];
            columns.fill(0.0);
            columns.chunks_exact_mut(d).enumerate().for_each(|(j, c)| c[from + j] = 1.0);
            solve(self, columns);
            for (j, column) in columns.chunks_exact(d).enumerate() {
                (from + j..d).for_each(|i| inverse[len(i) + from + j] = column[i]);
            }
        }
        inverse
    }

    /// Adds `sum_s y_s x_s^T` to `grad`, a triangle in the form of this one, with row `i` of the sum
    /// multiplied by `scale[i]`.
    pub(crate) fn add_outer(self, y: &[f64], x: &[f64], grad: &mut [f64]) {
        let points = x.len() / self.dim.max(1);
        with_panel(self.dim, points, |panel| {
            dispatch(AddOuter { lower: self, points, y, x, grad, panel });
        });
    }
}

struct Multiply<'a> {
    lower: Lower<'a>,
    points: usize,
    x: &'a [f64],
    out: &'a mut [f64],
    panel: &'a mut [f64],
}

impl WithSimd for Multiply<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Multiply { lower, points, x, out, panel } = self;
        let d = lower.dim;
        out.fill(0.0);
        for from in (0..d).step_by(STRETCH) {
            let n = STRETCH.min(d - from);
            pack::<S>(n, points, panel, |s, i| x[s * d + from + i]);
            for i in (from..d).step_by(BLOCK) {
                let (rows, count) = lower.rows::<BLOCK>(i, from, n);
                let rows = &rows[..count];
                rows_by_points(simd, lower.entries, rows, (n, points), panel, |r, s, sum| {
                    out[s * d + i + r] += sum;
                });
            }
        }
        if let Some(scale) = lower.scale {
            for (out, x) in out.chunks_exact_mut(d.max(1)).zip(x.chunks_exact(d.max(1))) {
                for i in 0..d {
                    out[i] = scale[i] * (out[i] + x[i]);
                }
            }
        }
    }
}

struct Solve<'a> {
    lower: Lower<'a>,
    points: usize,
    x: &'a mut [f64],
    panel: &'a mut [f64],
}

impl WithSimd for Solve<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Solve { lower, points, x, panel } = self;
        let d = lower.dim;
        pack::<S>(d, points, panel, |s, i| x[s * d + i]);
        for i in (0..d).step_by(BLOCK) {
            // what is solved above goes to the other side, then the small triangle is left
            let (rows, count) = lower.rows::<BLOCK>(i, 0, i);
            let rows = &rows[..count];
            if let Some(scale) = lower.scale {
                let points = x.chunks_exact_mut(d);
                points.for_each(|x| (i..i + count).for_each(|i| x[i] /= scale[i]));
            }
            rows_by_points(simd, lower.entries, rows, (d, points), panel, |r, s, sum| {
                x[s * d + i + r] -= sum;
            });
            for group in groups::<S>(points) {
                for c in 0..group.1 {
                    let x = &mut x[(group.0 + c) * d..][..d];
                    for r in i..i + count {
                        let row = lower.row(r);
                        (i..r).for_each(|q| x[r] -= row[q] * x[q]);
                        if lower.scale.is_none() {
                            x[r] /= row[r];
                        }
                        panel[place::<S>(d, group, r, c)] = x[r];
                    }
                }
            }
        }
    }
}

struct SolveTransposed<'a> {
    lower: Lower<'a>,
    points: usize,
    x: &'a mut [f64],
    panel: &'a mut [f64],
}

impl WithSimd for SolveTransposed<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let SolveTransposed { lower, points, x, panel } = self;
        let d = lower.dim;
        pack::<S>(d, points, panel, |s, i| x[s * d + i]);
        for i in (0..d).step_by(ROWS).rev() {
            let (rows, count) = lower.rows::<ROWS>(i, 0, i);
            for group in groups::<S>(points) {
                for c in 0..group.1 {
                    let x = &mut x[(group.0 + c) * d..][..d];
                    let own = &mut x[i..i + count];
                    for r in 0..count {
                        own[r] = panel[place::<S>(d, group, i + r, c)];
                    }
                    for r in (0..count).rev() {
                        let row = lower.row(i + r);
                        if lower.scale.is_none() {
                            own[r] /= row[i + r];
                        }
                        (0..r).for_each(|q| own[q] -= row[i + q] * own[r]);
                    }
                }
            }
            let by = |r: usize, s: usize| -x[s * d + i + r];
            add_rows_to_points(simd, lower.entries, &rows[..count], (d, points), panel, by);
        }
        if let Some(scale) = lower.scale {
            for x in x.chunks_exact_mut(d.max(1)) {
                x.iter_mut().zip(scale).for_each(|(x, s)| *x /= s);
            }
        }
    }
}

struct AddTransposed<'a> {
    lower: Lower<'a>,
    points: usize,
    x: &'a [f64],
    out: &'a mut [f64],
    panel: &'a mut [f64],
}

impl WithSimd for AddTransposed<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let AddTransposed { lower, points, x, out, panel } = self;
        let d = lower.dim;
        let by = |s: usize, i: usize| lower.scale.map_or(1.0, |scale| scale[i]) * x[s * d + i];
        // what a unit diagonal adds, which is not stored, comes first
        match lower.scale {
            Some(_) => pack::<S>(d, points, panel, by),
            None => panel.fill(0.0),
        }
        for i in (0..d).step_by(ROWS) {
            let (rows, count) = lower.rows::<ROWS>(i, 0, d);
            let by = |r: usize, s: usize| by(s, i + r);
            add_rows_to_points(simd, lower.entries, &rows[..count], (d, points), panel, by);
        }
        for group in groups::<S>(points) {
            for c in 0..group.1 {
                for (i, out) in out[(group.0 + c) * d..][..d].iter_mut().enumerate() {
                    *out += panel[place::<S>(d, group, i, c)];
                }
            }
        }
    }
}

struct AddOuter<'a> {
    lower: Lower<'a>,
    points: usize,
    y: &'a [f64],
    x: &'a [f64],
    grad: &'a mut [f64],
    panel: &'a mut [f64],
}

impl WithSimd for AddOuter<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let AddOuter { lower, points, y, x, grad, panel } = self;
        let d = lower.dim;
        pack::<S>(d, points, panel, |s, i| x[s * d + i]);
        for i in (0..d).step_by(BLOCK) {
            let (rows, count) = lower.rows::<BLOCK>(i, 0, d);
            let by = |r: usize, s: usize| {
                y[s * d + i + r] * lower.scale.map_or(1.0, |scale| scale[i + r])
            };
            add_points_to_rows(simd, grad, &rows[..count], (d, points), panel, by);
        }
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;
    use pulp::Arch;

    use super::*;
    use crate::triangle::{log_det, lower_of, to_matrix};

    /// Every instruction set of this machine.
    fn archs() -> impl Iterator<Item = Arch> {
        #[cfg(target_arch = "x86_64")]
        let narrow = pulp::x86::V3::try_new().map(Arch::V3);
        #[cfg(not(target_arch = "x86_64"))]
        let narrow = None;
        [Arch::Scalar, Arch::new()].into_iter().chain(narrow)
    }

    /// Products and solves for several points against plain sums, with and without a stored
    /// diagonal. A product of n terms is off by n eps of the sum of their sizes.
    #[test]
    fn products_and_solves_for_many_points_are_the_plain_sums() {
        for d in [1, 2, 7, 8, 9, 17, 63, 65] {
            for points in [1, 2, 7, 8, 9, 10, 17, 20] {
                let number = |k: usize| ((k * 7 + 3) % 11) as f64 / 11.0 - 0.4;
                let scale: Vec<f64> = (0..d).map(|i| 0.5 + (i % 3) as f64).collect();
                let below: Vec<f64> = (0..len(d) - d).map(|k| number(k) / d as f64).collect();
                let factor = |i: usize, j: usize| match i.cmp(&j) {
                    std::cmp::Ordering::Less => 0.0,
                    std::cmp::Ordering::Equal => scale[i],
                    std::cmp::Ordering::Greater => scale[i] * below[len(i) - i + j],
                };
                let dense = DMatrix::from_fn(d, d, factor);
                let packed = lower_of(d, &dense);
                let x = DMatrix::from_fn(d, points, |i, s| number(5 * i + 31 * s));
                let close = |got: &[f64], want: &DMatrix<f64>, what: &str| {
                    let off = got.iter().zip(want.iter()).map(|(g, w)| (g - w).abs());
                    let off = off.fold(0.0, f64::max);
                    let bound = 20.0 * d as f64 * f64::EPSILON * want.amax().max(1.0);
                    assert!(off <= bound, "{what}, {d} rows, {points} points: {off:e}");
                };
                let mut panel = vec![f64::NAN; d.next_multiple_of(8) * points];
                let lowers = [Lower::new(d, &packed), Lower::scaled(&scale, &below)];
                for (arch, lower) in archs().flat_map(|a| lowers.map(|l| (a, l))) {
                    let (x_slice, panel) = (x.as_slice(), &mut panel[..]);
                    let mut out = vec![0.0; d * points];
                    arch.dispatch(Multiply { lower, points, x: x_slice, out: &mut out, panel });
                    close(&out, &(&dense * &x), "product");
                    arch.dispatch(Solve { lower, points, x: &mut out, panel });
                    close(&out, &x, "solve");
                    let mut out = dense.tr_mul(&x).as_slice().to_vec();
                    arch.dispatch(SolveTransposed { lower, points, x: &mut out, panel });
                    close(&out, &x, "transposed solve");
                    let mut out = vec![1.0; d * points];
                    let to = &mut out[..];
                    arch.dispatch(AddTransposed { lower, points, x: x_slice, out: to, panel });
                    close(&out, &dense.tr_mul(&x).add_scalar(1.0), "transposed product");
                    let y = DMatrix::from_fn(d, points, |i, s| number(3 * i + 17 * s + 1));
                    let mut grad = vec![1.0; lower.entries.len()];
                    let (y_slice, grad_slice) = (y.as_slice(), &mut grad[..]);
                    arch.dispatch(AddOuter {
                        lower,
                        points,
                        y: y_slice,
                        x: x_slice,
                        grad: grad_slice,
                        panel,
                    });
                    let sum = &y * x.transpose();
                    let entry = |i: usize, j: usize| match lower.scale {
                        Some(scale) => 1.0 + scale[i] * sum[(i, j)],
                        None => 1.0 + sum[(i, j)],
                    };
                    let columns = |i: usize| lower.row(i).len();
                    let want: Vec<f64> = (0..d)
                        .flat_map(|i| (0..columns(i)).map(move |j| (i, j)))
                        .map(|(i, j)| entry(i, j))
                        .collect();
                    let want = DMatrix::from_column_slice(want.len(), 1, &want);
                    close(&grad, &want, "outer product");
                }
            }
        }
    }

    #[test]
    fn products_and_solves_undo_each_other() {
        let d = 7;
        let l: Vec<f64> = (0..len(d)).map(|k| ((k * 7 + 3) % 11) as f64 / 5.0 + 0.3).collect();
        let x: Vec<f64> = (0..d).map(|i| i as f64 - 2.5).collect();
        let dense = to_matrix(d, &l);
        let mut y = vec![0.0; d];
        let lower = Lower::new(d, &l);
        lower.multiply(&x, &mut y);
        let want = &dense * nalgebra::DVector::from_column_slice(&x);
        (0..d).for_each(|i| assert!((y[i] - want[i]).abs() < 1e-12));
        lower.solve(&mut y);
        (0..d).for_each(|i| assert!((y[i] - x[i]).abs() < 1e-9));
        let mut y = dense.tr_mul(&nalgebra::DVector::from_column_slice(&x)).as_slice().to_vec();
        lower.solve_transposed(&mut y);
        (0..d).for_each(|i| assert!((y[i] - x[i]).abs() < 1e-9));
        assert!((log_det(&l) - dense.determinant().ln()).abs() < 1e-12);
    }
}
