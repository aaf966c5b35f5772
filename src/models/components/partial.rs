//! A row of which some cells are missing, for a normal: what remains of its density, and what the
//! missing cells are expected to be.

use crate::scratch::with_buffer;
use crate::special::LN_SQRT_2PI;
use crate::triangle::{self, dot, factorize, len};

/// Whether some cells of a row are missing.
pub(crate) fn has_gap(row: &[f64]) -> bool {
    row.iter().any(|x| x.is_nan())
}

/// The density of a whole row is `exp(constant - |W y|^2 / 2)` of `y = x - mean`, a normal or what is
/// expected of the logarithm of one, with `P = W' W`. Given the others the missing cells `m` are
/// normal, with
///
/// ```text
/// E[y_m] = -P_mm^-1 P_mo y_o,   covariance P_mm^-1
/// ```
///
/// and with them integrated out, `y` being completed by what is expected,
///
/// ```text
/// ln density(x_o) = constant + |m| ln sqrt(2 pi) - ln|P_mm| / 2 - |W y|^2 / 2
/// ```
pub(crate) struct Partial<'a> {
    /// `E[y]`, of cells that are there `y` itself.
    pub(crate) y: &'a [f64],
    /// The numbers of the missing columns.
    pub(crate) missing: &'a [f64],
    /// The Cholesky factor of `P_mm`.
    factor: &'a [f64],
    /// `|W y|^2`
    pub(crate) square: f64,
}

impl Partial<'_> {
    /// What the logarithm of the density has more than `constant - |W y|^2 / 2`.
    pub(crate) fn gain(&self) -> f64 {
        gain(self.missing.len(), self.factor)
    }

    /// The entropy of the missing cells given the others.
    pub(crate) fn entropy(&self) -> f64 {
        0.5 * self.missing.len() as f64 + self.gain()
    }

    /// Calls `f` with the entries of the lower triangle of the covariance of the missing cells, and
    /// their columns.
    pub(crate) fn each_covariance(&self, mut f: impl FnMut(usize, usize, f64)) {
        let m = self.missing.len();
        with_buffer(2 * len(m), |room| {
            let (covariance, inverse) = room.split_at_mut(len(m));
            write_covariance(m, self.factor, inverse, covariance);
            for (a, row) in triangle::rows(covariance).take(m).enumerate() {
                for (c, x) in row.iter().enumerate() {
                    f(self.missing[a] as usize, self.missing[c] as usize, *x);
                }
            }
        });
    }
}

/// `|m| ln sqrt(2 pi) - ln|P_mm| / 2`, from the Cholesky factor of `P_mm`.
pub(super) fn gain(m: usize, factor: &[f64]) -> f64 {
    m as f64 * LN_SQRT_2PI - triangle::log_det(factor)
}

/// Writes the Cholesky factor of `P_mm`.
pub(super) fn write_factor(
    missing: &[f64],
    precision: impl Fn(usize, usize) -> f64,
    factor: &mut [f64],
) {
    for (a, &i) in missing.iter().enumerate() {
        for (c, &j) in missing[..=a].iter().enumerate() {
            factor[len(a) + c] = precision(i as usize, j as usize);
        }
    }
    factorize(factor);
}

/// Writes the lower triangle of `P_mm^-1`; `inverse` is room for that of the factor.
pub(super) fn write_covariance(m: usize, factor: &[f64], inverse: &mut [f64], out: &mut [f64]) {
    super::invert(m, factor, inverse);
    for a in 0..m {
        for c in 0..=a {
            let terms = (a..m).map(|q| inverse[len(q) + a] * inverse[len(q) + c]);
            out[len(a) + c] = terms.sum();
        }
    }
}

/// Calls `f` with what a normal of this mean and `W` makes of a row of which some cells are missing.
pub(crate) fn partial<R>(
    row: &[f64],
    mean: impl Fn(usize) -> f64,
    w: impl Fn(usize, usize) -> f64,
    f: impl FnOnce(Partial<'_>) -> R,
) -> R {
    let d = row.len();
    let m = row.iter().filter(|x| x.is_nan()).count();
    with_buffer(2 * d + 2 * m + len(m), |room| {
        let (y, room) = room.split_at_mut(d);
        let (z, room) = room.split_at_mut(d);
        let (missing, room) = room.split_at_mut(m);
        let (b, room) = room.split_at_mut(m);
        let factor = &mut room[..len(m)];
        let mut next = 0;
        for (j, x) in row.iter().enumerate() {
            y[j] = if x.is_nan() { 0.0 } else { x - mean(j) };
            if x.is_nan() {
                missing[next] = j as f64;
                next += 1;
            }
        }
        let white = |y: &[f64], z: &mut [f64]| {
            (0..d).for_each(|i| z[i] = (0..=i).map(|j| w(i, j) * y[j]).sum());
        };
        white(y, z);
        for (b, &j) in b.iter_mut().zip(&*missing) {
            let j = j as usize;
            *b = (j..d).map(|i| w(i, j) * z[i]).sum();
        }
        write_factor(missing, |i, j| (i..d).map(|q| w(q, i) * w(q, j)).sum(), factor);
        let lower = triangle::Lower::new(m, factor);
        lower.solve(b);
        lower.solve_transposed(b);
        missing.iter().zip(&*b).for_each(|(j, b)| y[*j as usize] = -b);
        white(y, z);
        f(Partial { y, missing, factor, square: dot(z, z) })
    })
}
