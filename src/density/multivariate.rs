//! Densities of several dependent numbers, and the Cholesky factor they need.

use std::f64::consts::PI;

use super::log_gamma_ratio;
use crate::autodiff::Real;
use crate::special::{LN_SQRT_2PI, log_gamma};

/// Rows of the lower triangle with `entries` numbers, or `None` if no triangle has as many.
fn triangle_rows(entries: usize) -> Option<usize> {
    let rows = ((8.0 * entries as f64 + 1.0).sqrt() as usize).saturating_sub(1) / 2;
    (rows..=rows + 1).find(|r| r * (r + 1) / 2 == entries)
}

/// Row `i` of a lower triangle kept row by row.
fn row<T>(triangle: &[T], i: usize) -> &[T] {
    &triangle[i * (i + 1) / 2..][..i + 1]
}

fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    a.iter().zip(b).map(|(&a, &b)| a * b).sum()
}

/// `log N(x; mean, L L')` for the lower triangle `L` of the Cholesky factor of the covariance, row
/// by row: `-1/2 |L^-1 (x - mean)|^2 - sum_i ln L_ii - n ln sqrt(2 pi)`.
///
/// ```
/// use elbo::density;
/// // covariance [[4, 2], [2, 2]] = L L', L = [[2, 0], [1, 1]]
/// let lp = density::multivariate_normal(&[1.0, 0.0], &[0.0, 0.0], &[2.0, 1.0, 1.0]);
/// let by_hand = density::normal(1.0, 0.0, 2.0) + density::normal(0.0, 0.5, 1.0);
/// assert!((lp - by_hand).abs() < 1e-15);
/// ```
///
/// # Panics
/// If the lengths do not fit: `n`, `n` and `n (n + 1) / 2`.
pub fn multivariate_normal<T: Real>(x: &[T], mean: &[T], cholesky: &[T]) -> T {
    let n = x.len();
    assert!(
        mean.len() == n && triangle_rows(cholesky.len()) == Some(n),
        "multivariate_normal: {n} coordinates, {} means, {} entries of the factor; need {n} and {}",
        mean.len(),
        cholesky.len(),
        n * (n + 1) / 2,
    );
    let mut u: Vec<T> = Vec::with_capacity(n);
    let mut lp = T::from(-(n as f64) * LN_SQRT_2PI);
    for i in 0..n {
        let l = row(cholesky, i);
        let residual = x[i] - mean[i] - dot(&l[..i], &u);
        u.push(residual / l[i]);
        lp -= l[i].ln();
    }
    lp - dot(&u, &u) * 0.5
}

/// The Cholesky factor `L`, `L L' = A`, of a symmetric matrix given by its lower triangle, row by
/// row; `L` comes back in the same form. NaN where `A` is not positive definite.
///
/// A Gaussian process at three places, its length scale unknown:
/// ```
/// use elbo::{autodiff::Real, density};
/// fn log_prior<T: Real>(f: &[T], length: T, at: &[f64]) -> T {
///     let mut covariance = Vec::new();
///     for i in 0..at.len() {
///         for j in 0..=i {
///             let distance = T::from(at[i] - at[j]) / length;
///             let jitter = if i == j { 1e-9 } else { 0.0 };
///             covariance.push((distance.square() * -0.5).exp() + jitter);
///         }
///     }
///     let zero = vec![T::from(0.0); f.len()];
///     density::multivariate_normal(f, &zero, &density::cholesky(&covariance))
/// }
/// // far apart compared with the length scale: independent standard normals
/// let lp = log_prior(&[0.1, -0.4, 2.0], 0.01, &[0.0, 1.0, 2.0]);
/// assert!((lp - density::normals(&[0.1, -0.4, 2.0], 0.0, 1.0)).abs() < 1e-7);
/// ```
///
/// # Panics
/// If no triangle has as many entries.
pub fn cholesky<T: Real>(lower: &[T]) -> Vec<T> {
    let n = triangle_rows(lower.len());
    assert!(n.is_some(), "cholesky: {} entries; a lower triangle has n (n + 1) / 2", lower.len());
    let mut l: Vec<T> = Vec::with_capacity(lower.len());
    for i in 0..n.unwrap_or(0) {
        let start = l.len();
        for j in 0..i {
            let done = dot(row(&l, j).split_at(j).0, &l[start..]);
            let entry = (lower[start + j] - done) / row(&l, j)[j];
            l.push(entry);
        }
        let rest = lower[start + i] - dot(&l[start..], &l[start..]);
        // The square root of a negative number is NaN; that of 0 would divide by 0 later on.
        let pivot = rest.if_positive(rest, T::from(f64::NAN)).sqrt();
        l.push(pivot);
    }
    l
}

/// `log Dirichlet(x; alpha)` on the simplex, with respect to the first `n - 1` coordinates.
///
/// ```
/// use elbo::density;
/// // in two dimensions it is the beta density
/// let lp = density::dirichlet(&[0.3, 0.7], &[2.0, 5.0]);
/// assert!((lp - density::beta(0.3, 2.0, 5.0)).abs() < 1e-14);
/// ```
///
/// # Panics
/// If there are not as many concentrations as coordinates.
pub fn dirichlet<T: Real, A: Into<T> + Copy>(x: &[T], alpha: &[A]) -> T {
    let (n, m) = (x.len(), alpha.len());
    assert!(n == m, "dirichlet: {n} coordinates but {m} concentrations; give one for each");
    let mut lp = T::from(0.0);
    let mut sum: Option<T> = None;
    for (&x, &a) in x.iter().zip(alpha) {
        let a: T = a.into();
        lp += (a - 1.0).times_ln(x);
        // ln Gamma(sum) - sum ln Gamma, one coordinate at a time
        lp += match sum {
            None => T::from(0.0),
            Some(before) => -super::log_beta_function(before, a),
        };
        sum = Some(sum.map_or(a, |s| s + a));
    }
    lp
}

/// `log LKJ(L; eta)` for the Cholesky factor `L` of a correlation matrix, its lower triangle with the
/// diagonal row by row, as [`Support::CorrelationCholesky`](crate::Support) has it: `det(L L')^(eta -
/// 1)` carried over to the entries below the diagonal, `prod_i L_ii^(n - i + 2 eta - 2)` (Lewandowski,
/// Kurowicka and Joe 2009). With `eta = 1` correlation matrices are uniform.
///
/// ```
/// use elbo::density;
/// // two rows and eta = 1: the correlation is uniform on (-1, 1)
/// let (r, s) = (0.6, 0.8);
/// assert!((density::lkj_cholesky(&[1.0, r, s], 1.0) - 0.5f64.ln()).abs() < 1e-14);
/// ```
///
/// # Panics
/// If no triangle has as many entries.
pub fn lkj_cholesky<T: Real>(cholesky: &[T], eta: impl Into<T>) -> T {
    let eta = eta.into();
    let rows = triangle_rows(cholesky.len());
    assert!(
        rows.is_some(),
        "lkj_cholesky: {} entries; a lower triangle has n (n + 1) / 2",
        cholesky.len()
    );
    let n = rows.unwrap_or(0);
    let mut lp = T::from(0.0);
    for i in 1..n {
        // Row i + 1 is a point of the unit ball in i dimensions with density (1 - r^2)^power.
        let power = eta - 1.0 + (n - i - 1) as f64 * 0.5;
        let half = i as f64 * 0.5;
        lp += (power * 2.0).times_ln(row(cholesky, i)[i]);
        lp += log_gamma_ratio(power + 1.0, T::from(half));
        lp += T::from(-half * PI.ln());
    }
    lp
}

/// `log Multinomial(counts; p)`, the coefficient included.
///
/// # Panics
/// If there are not as many probabilities as counts.
pub fn multinomial<T: Real, K: Into<f64> + Copy>(counts: &[K], p: &[T]) -> T {
    let (n, m) = (counts.len(), p.len());
    assert!(n == m, "multinomial: {n} counts but {m} probabilities; give one for each");
    let mut lp = T::from(0.0);
    let mut total = 0.0;
    for (&k, &p) in counts.iter().zip(p) {
        let k: f64 = k.into();
        total += k;
        lp += T::from(k).times_ln(p);
        lp += -log_gamma(k + 1.0);
    }
    lp + log_gamma(total + 1.0)
}
