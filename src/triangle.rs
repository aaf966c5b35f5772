//! Lower triangles stored row by row: products, solves, and the Cholesky factor of a covariance.
//!
//! Row `i` holds `i + 1` numbers, its diagonal last.

use nalgebra::{Cholesky, DMatrix};

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

/// Writes `L x`.
pub(crate) fn multiply(l: &[f64], x: &[f64], out: &mut [f64]) {
    for (row, out) in rows(l).zip(out) {
        *out = dot(row, &x[..row.len()]);
    }
}

/// Replaces `x` by `L^-1 x`.
pub(crate) fn solve(l: &[f64], x: &mut [f64]) {
    for (i, row) in rows(l).enumerate().take(x.len()) {
        x[i] = (x[i] - dot(&row[..i], &x[..i])) / row[i];
    }
}

/// Replaces `x` by `L^-T x`.
pub(crate) fn solve_transposed(l: &[f64], x: &mut [f64]) {
    for i in (0..x.len()).rev() {
        let row = &l[len(i)..len(i + 1)];
        x[i] /= row[i];
        let (before, from) = x.split_at_mut(i);
        add_scaled(-from[0], &row[..i], before);
    }
}

/// `sum_i ln L_ii`
pub(crate) fn log_det(l: &[f64]) -> f64 {
    rows(l).map(|row| row[row.len() - 1].ln()).sum()
}

/// Replaces the lower triangle of a positive definite matrix by its Cholesky factor; not finite
/// where the matrix is not.
pub(crate) fn factorize(m: &mut [f64]) {
    let d = rows(m).count();
    for i in 0..d {
        let (above, rest) = m.split_at_mut(len(i));
        let row = &mut rest[..=i];
        for (j, upper) in rows(above).enumerate() {
            row[j] = (row[j] - dot(&row[..j], &upper[..j])) / upper[j];
        }
        row[i] = (row[i] - dot(&row[..i], &row[..i])).sqrt();
    }
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
    Ok(pack(d, factor))
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
    match Cholesky::new(m.clone()) {
        Some(cholesky) => Ok(pack(d, cholesky.l_dirty())),
        None => {
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

fn pack(d: usize, m: &DMatrix<f64>) -> Vec<f64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_makes_its_matrix() {
        let d = 6;
        let root = DMatrix::from_fn(d, d, |i, j| ((i * 5 + j * 3) % 7) as f64 - 2.0);
        let m = &root * root.transpose() + DMatrix::identity(d, d);
        let mut l = pack(d, &m);
        factorize(&mut l);
        let l = to_matrix(d, &l);
        assert!((&l * l.transpose() - &m).amax() < 1e-12 * m.amax());
    }

    #[test]
    fn products_and_solves_undo_each_other() {
        let d = 7;
        let l: Vec<f64> = (0..len(d)).map(|k| ((k * 7 + 3) % 11) as f64 / 5.0 + 0.3).collect();
        let x: Vec<f64> = (0..d).map(|i| i as f64 - 2.5).collect();
        let dense = to_matrix(d, &l);
        let mut y = vec![0.0; d];
        multiply(&l, &x, &mut y);
        let want = &dense * nalgebra::DVector::from_column_slice(&x);
        (0..d).for_each(|i| assert!((y[i] - want[i]).abs() < 1e-12));
        solve(&l, &mut y);
        (0..d).for_each(|i| assert!((y[i] - x[i]).abs() < 1e-9));
        let mut y = dense.tr_mul(&nalgebra::DVector::from_column_slice(&x)).as_slice().to_vec();
        solve_transposed(&l, &mut y);
        (0..d).for_each(|i| assert!((y[i] - x[i]).abs() < 1e-9));
        assert!((log_det(&l) - dense.determinant().ln()).abs() < 1e-12);
    }
}
