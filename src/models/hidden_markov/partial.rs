//! A row of which some cells are missing, for a normal state: what remains of its density, and what
//! the missing cells are expected to be.

use super::densities::Densities;
use crate::scratch::with_buffer;
use crate::special::LN_SQRT_2PI;
use crate::triangle::{self, dot, factorize, len};

/// Whether some cells of a row are missing.
pub(super) fn has_gap(row: &[f64]) -> bool {
    row.iter().any(|x| x.is_nan())
}

/// The density of a full state is `exp(constant - |W y|^2 / 2)` of `y = x - mean`, a normal or what is
/// expected of the logarithm of one, with `P = W' W`. With the missing cells `m` integrated out of it,
///
/// ```text
/// ln density(x_o) = constant + |m| ln sqrt(2 pi) - ln|P_mm| / 2 - (|W y_o|^2 - b' P_mm^-1 b) / 2,   b = P_mo y_o
/// ```
///
/// and given the others the missing ones are normal, with `E[y_m] = -P_mm^-1 b` and covariance
/// `P_mm^-1`.
pub(super) struct Partial<'a> {
    /// `ln density(x_o)`
    pub(super) log_density: f64,
    /// `E[y]`, of cells that are there `y` itself.
    pub(super) y: &'a [f64],
    /// The numbers of the missing columns.
    pub(super) missing: &'a [f64],
    /// The Cholesky factor of `P_mm`.
    pub(super) factor: &'a [f64],
}

impl Partial<'_> {
    /// The entropy of the missing cells given the others.
    pub(super) fn entropy(&self) -> f64 {
        self.missing.len() as f64 * (0.5 + LN_SQRT_2PI) - triangle::log_det(self.factor)
    }
}

/// Calls `f` with what state `k`, of `d` columns, makes of a row.
pub(super) fn partial<R>(
    densities: &Densities,
    d: usize,
    k: usize,
    row: &[f64],
    f: impl FnOnce(Partial<'_>) -> R,
) -> R {
    let m = row.iter().filter(|x| x.is_nan()).count();
    with_buffer(3 * d + 2 * m + len(m), |room| {
        let (y, room) = room.split_at_mut(d);
        let (z, room) = room.split_at_mut(d);
        let (missing, room) = room.split_at_mut(m);
        let (b, room) = room.split_at_mut(m);
        let factor = &mut room[..len(m)];
        let mut next = 0;
        for (j, x) in row.iter().enumerate() {
            y[j] = if x.is_nan() { 0.0 } else { x - densities.get(1 + j, k) };
            if x.is_nan() {
                missing[next] = j as f64;
                next += 1;
            }
        }
        let w = |i: usize, j: usize| densities.get(1 + d + len(i) + j, k);
        for i in 0..d {
            z[i] = (0..=i).map(|j| w(i, j) * y[j]).sum();
        }
        for (a, &ja) in missing.iter().enumerate() {
            let ja = ja as usize;
            b[a] = (ja..d).map(|i| w(i, ja) * z[i]).sum();
            for (c, &jc) in missing[..=a].iter().enumerate() {
                factor[len(a) + c] = (ja..d).map(|i| w(i, ja) * w(i, jc as usize)).sum();
            }
        }
        factorize(factor);
        let lower = triangle::Lower::new(m, factor);
        lower.solve(b);
        let square = dot(z, z) - dot(b, b);
        let log_det = triangle::log_det(factor);
        let log_density = densities.get(0, k) + m as f64 * LN_SQRT_2PI - log_det - 0.5 * square;
        lower.solve_transposed(b);
        missing.iter().zip(&*b).for_each(|(j, b)| y[*j as usize] = -b);
        f(Partial { log_density, y, missing, factor })
    })
}

/// Adds such a row with probability `r` of state `k` to sums about the means.
pub(super) fn add(
    densities: &Densities,
    d: usize,
    k: usize,
    row: &[f64],
    r: f64,
    mut put: impl FnMut(usize, f64),
) {
    partial(densities, d, k, row, |at| {
        put(0, r);
        for i in 0..d {
            put(1 + i, r * at.y[i]);
            (0..=i).for_each(|j| put(1 + d + len(i) + j, r * at.y[i] * at.y[j]));
        }
        let m = at.missing.len();
        with_buffer(m, |column| {
            for (c, &jc) in at.missing.iter().enumerate() {
                // a column of the covariance
                column.fill(0.0);
                column[c] = 1.0;
                triangle::Lower::new(m, at.factor).solve(column);
                triangle::Lower::new(m, at.factor).solve_transposed(column);
                for (a, &ja) in at.missing.iter().enumerate().skip(c) {
                    put(1 + d + len(ja as usize) + jc as usize, r * column[a]);
                }
            }
        });
    });
}
