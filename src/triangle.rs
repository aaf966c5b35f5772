//! Lower triangles stored row by row: products, solves, and the Cholesky factor of a covariance.
//!
//! Row `i` holds `i + 1` numbers, its diagonal last.

mod lower;

pub(crate) use lower::Lower;

use nalgebra::DMatrix;

pub(crate) use crate::cholesky::factorize;
use crate::error::Error;

/// How many numbers a triangle of `d` rows holds.
pub(crate) fn len(d: usize) -> usize {
    d * (d + 1) / 2
}

/// The rows of the triangle, shortest first.
pub(crate) fn rows(l: &[f64]) -> impl Iterator<Item = &[f64]> {
    let mut rest = l;
    (1..).map_while(move |n| {
        let (row, after) = rest.split_at_checked(n)?;
        rest = after;
        Some(row)
    })
}

/// `<x, y>`, in four running sums so that it vectorizes.
pub(crate) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (xs, ys) = (x.chunks_exact(4), y.chunks_exact(4));
    let tail: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in xs.zip(ys) {
        for k in 0..4 {
            sums[k] += a[k] * b[k];
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + tail
}

/// Adds `a x` to `y`.
pub(crate) fn add_scaled(a: f64, x: &[f64], y: &mut [f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// Replaces a lower triangle by its inverse.
pub(crate) fn invert(dim: usize, l: &mut [f64]) {
    let at = |i: usize, j: usize| len(i) + j;
    for j in 0..dim {
        l[at(j, j)] = 1.0 / l[at(j, j)];
        for i in j + 1..dim {
            let sum: f64 = (j..i).map(|m| l[at(i, m)] * l[at(m, j)]).sum();
            l[at(i, j)] = -sum / l[at(i, i)];
        }
    }
}

/// `sum_i ln L_ii`
pub(crate) fn log_det(l: &[f64]) -> f64 {
    rows(l).map(|row| row[row.len() - 1].ln()).sum()
}

/// The square of the least number on the diagonal; 0 where one is not finite.
pub(crate) fn least_pivot(d: usize, l: &[f64]) -> f64 {
    let pivot = |i: usize| l[len(i) + i];
    let sound = (0..d).all(|i| pivot(i) > 0.0 && pivot(i).is_finite());
    let least = (0..d).map(pivot).fold(f64::INFINITY, f64::min);
    if sound { least * least } else { 0.0 }
}

/// As a matrix, zeros above the diagonal.
pub(crate) fn to_matrix(d: usize, l: &[f64]) -> DMatrix<f64> {
    DMatrix::from_fn(d, d, |i, j| if j <= i { l[len(i) + j] } else { 0.0 })
}

/// The lower triangle of a Cholesky factor, checked.
pub(crate) fn from_factor(what: &str, d: usize, factor: &DMatrix<f64>) -> Result<Vec<f64>, Error> {
    expect_square(what, d, factor)?;
    for i in 0..d {
        let at = |j: usize| format!("its entry in row {i}, column {j} is {}", factor[(i, j)]);
        for j in i + 1..d {
            if factor[(i, j)] != 0.0 {
                let remedy = "give a lower triangle, with zeros above the diagonal";
                return Err(not_a_factor(what, at(j), remedy));
            }
        }
        if let Some(j) = (0..i).find(|&j| !factor[(i, j)].is_finite()) {
            return Err(not_a_factor(what, at(j), "all entries must be finite"));
        }
        if !(factor[(i, i)] > 0.0 && factor[(i, i)].is_finite()) {
            let remedy =
                "the diagonal must be positive and finite; a column may be multiplied by -1";
            return Err(not_a_factor(what, at(i), remedy));
        }
    }
    Ok(lower_of(d, factor))
}

/// The Cholesky factor of a covariance, checked.
pub(crate) fn from_covariance(what: &str, d: usize, m: &DMatrix<f64>) -> Result<Vec<f64>, Error> {
    expect_square(what, d, m)?;
    let fail = |reason: String, remedy: &str| {
        let (what, remedy) = (what.to_string(), remedy.to_string());
        Err(Error::NotPositiveDefinite { what, reason, remedy })
    };
    let places = || (0..d).flat_map(|i| (0..=i).map(move |j| (i, j)));
    let finite = |&(i, j): &(usize, usize)| m[(i, j)].is_finite() && m[(j, i)].is_finite();
    if let Some((i, j)) = places().find(|p| !finite(p)) {
        let value = if m[(i, j)].is_finite() { m[(j, i)] } else { m[(i, j)] };
        let reason = format!("its entry in row {i}, column {j} is {value}");
        return fail(reason, "all entries must be finite");
    }
    let largest = m.amax();
    let gap = |&(i, j): &(usize, usize)| (m[(i, j)] - m[(j, i)]).abs();
    if let Some((i, j)) = places().max_by(|a, b| gap(a).total_cmp(&gap(b)))
        && gap(&(i, j)) > 1e-8 * largest
    {
        let reason = format!(
            "it is not symmetric: {} in row {i}, column {j} but {} in row {j}, column {i}",
            m[(i, j)],
            m[(j, i)]
        );
        return fail(reason, "use (C + C^T) / 2 if that is rounding, else look at how it was made");
    }
    let mut factor = lower_of(d, m);
    factorize(&mut factor);
    match least_pivot(d, &factor) > 0.0 {
        true => Ok(factor),
        false => {
            let eigen = m.clone().symmetric_eigen();
            let (k, smallest) = eigen.eigenvalues.argmin();
            let (i, _) = eigen.eigenvectors.column(k).iamax_full();
            let enough = (2.0 * smallest.abs()).max(1e-10 * largest);
            let reason = format!("its smallest eigenvalue is {smallest:.3e}, mostly along row {i}");
            let remedy = format!("add {enough:.1e} to the diagonal, or drop what is redundant");
            fail(reason, &remedy)
        }
    }
}

/// The lower triangle of a matrix, row by row.
pub(crate) fn lower_of(d: usize, m: &DMatrix<f64>) -> Vec<f64> {
    (0..d).flat_map(|i| (0..=i).map(move |j| m[(i, j)])).collect()
}

fn not_a_factor(what: &str, reason: String, remedy: &str) -> Error {
    let what = format!("what {what} stands for");
    Error::NotPositiveDefinite { what, reason, remedy: remedy.to_string() }
}

fn expect_square(what: &str, d: usize, m: &DMatrix<f64>) -> Result<(), Error> {
    Error::expect_len("the mean", d, &format!("a row of {what}"), m.ncols())?;
    Error::expect_len("the mean", d, &format!("a column of {what}"), m.nrows())
}
