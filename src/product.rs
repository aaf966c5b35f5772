//! Dense products: rows of a matrix with several points at once, each row read once for all.
//!
//! The points are laid out in a panel: groups of up to ten, and within a group a register's width of
//! every point after another, so that a kernel reads them in one stream and keeps a sum for every
//! pair of a row and a point in a register.

use std::ops::Range;

use pulp::Simd;

use crate::scratch::with_buffer;

/// A register is at most this many numbers wide.
const WIDEST: usize = 8;

/// Lends room for a panel of `points` points of `n` coordinates, which begins where a line of the cache
/// does: registers that straddle two lines take twice as long to load.
pub(crate) fn with_panel<R>(n: usize, points: usize, f: impl FnOnce(&mut [f64]) -> R) -> R {
    with_buffer(n.next_multiple_of(WIDEST) * points + WIDEST, |buffer| {
        let skip = buffer.as_ptr().align_offset(size_of::<[f64; WIDEST]>());
        f(&mut buffer[skip.min(WIDEST)..])
    })
}

/// So many coordinates of ten points stay in a core's first cache: a product takes one such stretch
/// of the columns after another. The same for any number of points, so that a sum is too.
pub(crate) const STRETCH: usize = 256;

/// The groups that points are taken in: the first point and how many. Few registers take few.
#[inline(always)]
pub(crate) fn groups<S: Simd>(points: usize) -> impl Iterator<Item = (usize, usize)> {
    let tens = points.is_multiple_of(10) && S::REGISTER_COUNT > 16;
    let mut first = 0;
    std::iter::from_fn(move || {
        let width = match points - first {
            0 => return None,
            _ if tens => 10,
            8.. if S::REGISTER_COUNT > 16 => 8,
            4.. => 4,
            _ => 1,
        };
        first += width;
        Some((first - width, width))
    })
}

/// Where in a panel the group that begins with point `first` lies.
#[inline(always)]
pub(crate) fn span<S: Simd>(n: usize, first: usize, width: usize) -> Range<usize> {
    let n = n.next_multiple_of(S::F64_LANES);
    n * first..n * (first + width)
}

/// Lays out points, coordinate `i` of point `s` being `at(s, i)`; zeros fill the last register.
#[inline(always)]
pub(crate) fn pack<S: Simd>(
    n: usize,
    points: usize,
    panel: &mut [f64],
    at: impl Fn(usize, usize) -> f64,
) {
    for (first, width) in groups::<S>(points) {
        let panel = &mut panel[span::<S>(n, first, width)];
        for (k, block) in panel.chunks_exact_mut(width * S::F64_LANES).enumerate() {
            let from = k * S::F64_LANES;
            for (c, block) in block.chunks_exact_mut(S::F64_LANES).enumerate() {
                if from + S::F64_LANES <= n {
                    block.iter_mut().enumerate().for_each(|(j, b)| *b = at(first + c, from + j));
                } else {
                    let value = |i| if i < n { at(first + c, i) } else { 0.0 };
                    block.iter_mut().enumerate().for_each(|(j, b)| *b = value(from + j));
                }
            }
        }
    }
}

/// The numbers of the group of `C` points in a panel, by registers.
#[inline(always)]
fn registers<S: Simd, const C: usize>(panel: &[f64]) -> &[[S::f64s; C]] {
    S::as_simd_f64s(panel).0.as_chunks().0
}

/// Part of a row of a matrix that is stored row by row: where it begins, and how many numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub start: usize,
    pub len: usize,
}

/// The lanes below `n`.
#[inline(always)]
fn below<S: Simd>(simd: S, n: usize) -> S::m64s {
    let mut count = [0.0; WIDEST];
    count.iter_mut().enumerate().for_each(|(i, c)| *c = i as f64);
    simd.less_than_f64s(S::as_simd_f64s(&count).0[0], simd.splat_f64s(n as f64))
}

/// `m[at .. at + n]`, `n` less than a register, with zeros after it.
#[inline(always)]
fn load_part<S: Simd>(simd: S, m: &[f64], at: usize, n: usize) -> S::f64s {
    if let Some(window) = m.get(at..at + S::F64_LANES) {
        let all = S::as_simd_f64s(window).0[0];
        return simd.select_f64s(below(simd, n), all, simd.splat_f64s(0.0));
    }
    let mut part = [0.0; WIDEST];
    part[..n].copy_from_slice(&m[at..at + n]);
    S::as_simd_f64s(&part).0[0]
}

/// Calls `$f::<S, R, C>` for the number of points in a group.
macro_rules! by_width {
    ($width:expr, $f:ident($($x:expr),* $(,)?)) => {
        match $width {
            10 => $f::<S, 2, 10>($($x),*),
            8 => $f::<S, 2, 8>($($x),*),
            4 => $f::<S, 2, 4>($($x),*),
            _ => $f::<S, 4, 1>($($x),*),
        }
    };
}

/// `<row, point>` for each of `R` rows of about the same length and each of `C` points.
#[inline(always)]
fn dots<S: Simd, const R: usize, const C: usize>(
    simd: S,
    m: &[f64],
    rows: [Row; R],
    panel: &[[S::f64s; C]],
) -> [[f64; C]; R] {
    let lanes = S::F64_LANES;
    let least = rows.iter().fold(usize::MAX, |n, r| n.min(r.len));
    let most = rows.iter().fold(0, |n, r| n.max(r.len));
    let (full, last) = (least / lanes, most.div_ceil(lanes));
    let (body, tail) = panel[..last].split_at(full);
    let heads = rows.map(|r| &S::as_simd_f64s(&m[r.start..r.start + r.len]).0[..full]);
    let mut sums = [[simd.splat_f64s(0.0); C]; R];
    for (k, points) in body.iter().enumerate() {
        for r in 0..R {
            let entry = heads[r][k];
            for c in 0..C {
                sums[r][c] = simd.mul_add_e_f64s(entry, points[c], sums[r][c]);
            }
        }
    }
    for (k, points) in tail.iter().enumerate() {
        let at = (full + k) * lanes;
        for r in 0..R {
            let n = rows[r].len.saturating_sub(at).min(lanes);
            let entry = load_part(simd, m, rows[r].start + at.min(rows[r].len), n);
            for c in 0..C {
                sums[r][c] = simd.mul_add_e_f64s(entry, points[c], sums[r][c]);
            }
        }
    }
    let mut out = [[0.0; C]; R];
    for r in 0..R {
        for c in 0..C {
            out[r][c] = simd.reduce_sum_f64s(sums[r][c]);
        }
    }
    out
}

#[inline(always)]
fn dots_of_group<S: Simd, const R: usize, const C: usize>(
    simd: S,
    m: &[f64],
    rows: &[Row],
    panel: &[f64],
    mut put: impl FnMut(usize, usize, f64),
) {
    let panel = registers::<S, C>(panel);
    let (blocks, rest) = rows.as_chunks::<R>();
    let mut i = 0;
    for block in blocks {
        let sums = dots::<S, R, C>(simd, m, *block, panel);
        for r in 0..R {
            (0..C).for_each(|c| put(i + r, c, sums[r][c]));
        }
        i += R;
    }
    for row in rest {
        let [sums] = dots::<S, 1, C>(simd, m, [*row], panel);
        (0..C).for_each(|c| put(i, c, sums[c]));
        i += 1;
    }
}

/// Hands `<row k, point s>` to `put(k, s, _)` for a few neighbouring rows and all points in the panel
/// of `n` coordinates.
#[inline(always)]
pub(crate) fn rows_by_points<S: Simd>(
    simd: S,
    m: &[f64],
    rows: &[Row],
    (n, points): (usize, usize),
    panel: &[f64],
    mut put: impl FnMut(usize, usize, f64),
) {
    for (first, width) in groups::<S>(points) {
        let panel = &panel[span::<S>(n, first, width)];
        let put = |i: usize, c: usize, sum: f64| put(i, first + c, sum);
        by_width!(width, dots_of_group(simd, m, rows, panel, put));
    }
}

/// Every number in all lanes of a register. (A closure given to `array::map` would be compiled without
/// the wide registers.)
#[inline(always)]
fn spread<S: Simd, const R: usize, const C: usize>(
    simd: S,
    by: [[f64; C]; R],
) -> [[S::f64s; C]; R] {
    let mut wide = [[simd.splat_f64s(0.0); C]; R];
    for r in 0..R {
        for c in 0..C {
            wide[r][c] = simd.splat_f64s(by[r][c]);
        }
    }
    wide
}

/// Adds `sum_s by[r][s] point_s` to each of `R` rows.
#[inline(always)]
fn outer<S: Simd, const R: usize, const C: usize>(
    simd: S,
    m: &mut [f64],
    rows: [Row; R],
    by: [[f64; C]; R],
    panel: &[[S::f64s; C]],
) {
    let lanes = S::F64_LANES;
    let by = spread(simd, by);
    let full = rows.iter().fold(usize::MAX, |n, r| n.min(r.len)) / lanes;
    let mut rest = &mut m[..];
    let mut done = 0;
    let heads = rows.map(|row| {
        let (_, from) = std::mem::take(&mut rest).split_at_mut(row.start - done);
        let (head, after) = from.split_at_mut(full * lanes);
        done = row.start + full * lanes;
        rest = after;
        S::as_mut_simd_f64s(head).0
    });
    for (k, points) in panel[..full].iter().enumerate() {
        let mut sums = [simd.splat_f64s(0.0); R];
        for c in 0..C {
            for r in 0..R {
                sums[r] = simd.mul_add_e_f64s(by[r][c], points[c], sums[r]);
            }
        }
        for r in 0..R {
            heads[r][k] = simd.add_f64s(heads[r][k], sums[r]);
        }
    }
    for r in 0..R {
        for k in full..rows[r].len.div_ceil(lanes) {
            let at = rows[r].start + k * lanes;
            let n = (rows[r].len - k * lanes).min(lanes);
            let mut sum = simd.splat_f64s(0.0);
            for c in 0..C {
                sum = simd.mul_add_e_f64s(by[r][c], panel[k][c], sum);
            }
            if let Some(window) = m.get_mut(at..at + lanes) {
                let to = &mut S::as_mut_simd_f64s(window).0[0];
                *to = simd.select_f64s(below(simd, n), simd.add_f64s(*to, sum), *to);
            } else {
                let mut part = [0.0; WIDEST];
                S::as_mut_simd_f64s(&mut part).0[0] = sum;
                m[at..at + n].iter_mut().zip(part).for_each(|(m, p)| *m += p);
            }
        }
    }
}

#[inline(always)]
fn outer_of_group<S: Simd, const R: usize, const C: usize>(
    simd: S,
    m: &mut [f64],
    rows: &[Row],
    panel: &[f64],
    by: impl Fn(usize, usize) -> f64,
) {
    let panel = registers::<S, C>(panel);
    let (blocks, rest) = rows.as_chunks::<R>();
    let mut i = 0;
    for block in blocks {
        let by = std::array::from_fn(|r| std::array::from_fn(|c| by(i + r, c)));
        outer::<S, R, C>(simd, m, *block, by, panel);
        i += R;
    }
    for row in rest {
        let by = [std::array::from_fn(|c| by(i, c))];
        outer::<S, 1, C>(simd, m, [*row], by, panel);
        i += 1;
    }
}

/// Adds `sum_s by(k, s) point_s` to row `k` of a few neighbouring rows, which lie in this order.
#[inline(always)]
pub(crate) fn add_points_to_rows<S: Simd>(
    simd: S,
    m: &mut [f64],
    rows: &[Row],
    (n, points): (usize, usize),
    panel: &[f64],
    by: impl Fn(usize, usize) -> f64,
) {
    for (first, width) in groups::<S>(points) {
        let panel = &panel[span::<S>(n, first, width)];
        let by = |i: usize, c: usize| by(i, first + c);
        by_width!(width, outer_of_group(simd, m, rows, panel, by));
    }
}

/// The most rows that [`add_rows_to_points`] takes.
pub(crate) const ROWS: usize = 8;

/// Adds `sum_r by(r, s) row_r` to the first coordinates of each of `C` points, `K` registers at a
/// time.
#[inline(always)]
fn rows_to_group<S: Simd, const K: usize, const C: usize>(
    simd: S,
    m: &[f64],
    rows: &[Row],
    panel: &mut [f64],
    by: impl Fn(usize, usize) -> f64,
) {
    let lanes = S::F64_LANES;
    let panel = S::as_mut_simd_f64s(panel).0.as_chunks_mut::<C>().0;
    let mut values = [[0.0; C]; ROWS];
    for (r, values) in values[..rows.len()].iter_mut().enumerate() {
        (0..C).for_each(|c| values[c] = by(r, c));
    }
    let full = rows.iter().fold(usize::MAX, |n, r| n.min(r.len)) / lanes;
    let (blocks, _) = panel[..full].as_chunks_mut::<K>();
    let from = blocks.len() * K;
    for (b, block) in blocks.iter_mut().enumerate() {
        let mut sums = *block;
        for (row, values) in rows.iter().zip(&values) {
            let at = row.start + b * K * lanes;
            let (entries, _) = S::as_simd_f64s(&m[at..at + K * lanes]);
            for k in 0..K {
                for c in 0..C {
                    let value = simd.splat_f64s(values[c]);
                    sums[k][c] = simd.mul_add_e_f64s(entries[k], value, sums[k][c]);
                }
            }
        }
        *block = sums;
    }
    let last = rows.iter().fold(0, |n, r| n.max(r.len)).div_ceil(lanes);
    for (k, points) in panel[..last].iter_mut().enumerate().skip(from) {
        let mut sums = *points;
        for (row, values) in rows.iter().zip(&values) {
            let at = row.len.min(k * lanes);
            let entry = load_part(simd, m, row.start + at, (row.len - at).min(lanes));
            for c in 0..C {
                sums[c] = simd.mul_add_e_f64s(entry, simd.splat_f64s(values[c]), sums[c]);
            }
        }
        *points = sums;
    }
}

/// Adds `sum_k by(k, s) row_k` to the first coordinates of every point `s` in the panel, for up to
/// [`ROWS`] rows.
#[inline(always)]
pub(crate) fn add_rows_to_points<S: Simd>(
    simd: S,
    m: &[f64],
    rows: &[Row],
    (n, points): (usize, usize),
    panel: &mut [f64],
    by: impl Fn(usize, usize) -> f64,
) {
    for (first, width) in groups::<S>(points) {
        let panel = &mut panel[span::<S>(n, first, width)];
        let by = |i: usize, c: usize| by(i, first + c);
        by_width!(width, rows_to_group(simd, m, rows, panel, by));
    }
}

/// Where coordinate `i` of point `s` lies in a panel.
#[inline(always)]
pub(crate) fn place<S: Simd>(
    n: usize,
    (first, width): (usize, usize),
    i: usize,
    c: usize,
) -> usize {
    let lanes = S::F64_LANES;
    n.next_multiple_of(lanes) * first + (i / lanes * width + c) * lanes + i % lanes
}
