//! `Support`: where a block of `z` lives, and the smooth map from `R^k` onto it with `log|det J|`.

use serde::{Deserialize, Serialize};

use crate::autodiff::Real;

/// The set a block of coordinates lives on.
///
/// Each has a map from unconstrained `u` in `R^k` onto it ([`Support::constrain`]), the map back
/// ([`Support::unconstrain`]), and `log|det J|` of the first: Stan Reference Manual (2024),
/// "Constraint transforms", has the same maps. `n` below is the number of coordinates in a block.
///
/// ```
/// use elbo::Support;
/// let mut x = [0.0];
/// let log_det = Support::Positive.constrain(&[2.0], &mut x);
/// assert!((x[0] - 2f64.exp()).abs() < 1e-12 && log_det == 2.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Support {
    /// All of `R`: the identity.
    Real,
    /// `x > 0`: `x = e^u`.
    Positive,
    /// `x > low`: `x = low + e^u`.
    Lower(f64),
    /// `x < high`: `x = high - e^u`.
    Upper(f64),
    /// `low < x < high`: `x = low + (high - low) sigmoid(u)`.
    Interval(f64, f64),
    /// `0 < x < 1`: `x = sigmoid(u)`.
    Unit,
    /// `x_1 < x_2 < ...`: `x_1 = u_1`, `x_i = x_(i-1) + e^(u_i)`.
    Ordered,
    /// `0 < x_1 < x_2 < ...`: `x_1 = e^(u_1)`, `x_i = x_(i-1) + e^(u_i)`.
    PositiveOrdered,
    /// `x_i > 0`, `sum x_i = 1`: stick breaking, `k = n - 1`; `log|det J|` is that of the first
    /// `n - 1` coordinates, the density being with respect to them.
    Simplex,
    /// Simplexes of so many coordinates each, side by side, each as [`Support::Simplex`].
    Simplexes(usize),
    /// The Cholesky factor of a `rows x rows` correlation matrix: its lower triangle with the
    /// diagonal, row by row, `n = rows (rows + 1) / 2`, `k = rows (rows - 1) / 2`; `log|det J|` is
    /// with respect to the entries below the diagonal (Lewandowski, Kurowicka and Joe 2009).
    CorrelationCholesky {
        /// Rows (and columns) of the matrix.
        rows: usize,
    },
    /// A label: one of the whole numbers `0, 1, .., n - 1`. There is no smooth map onto it: a block
    /// of labels stays as it is.
    Category(u32),
}

impl Support {
    /// `k`: how many unconstrained numbers make a block of `n` coordinates.
    pub fn free_len(&self, n: usize) -> usize {
        match *self {
            Support::Simplex => n.saturating_sub(1),
            Support::Simplexes(each) => n - n / each.max(1),
            Support::CorrelationCholesky { rows } => rows * rows.saturating_sub(1) / 2,
            _ => n,
        }
    }

    /// Writes the image of `u` into `x` and returns `log|det J|`. Lengths `k` and `n`.
    pub fn constrain<T: Real>(&self, u: &[T], x: &mut [T]) -> T {
        match *self {
            Support::Real | Support::Category(_) => {
                x.copy_from_slice(u);
                T::from(0.0)
            }
            Support::Positive => each(u, x, |u| (u.exp(), u)),
            Support::Lower(low) => each(u, x, |u| (u.exp() + low, u)),
            Support::Upper(high) => each(u, x, |u| (-u.exp() + high, u)),
            Support::Unit => each(u, x, |u| (u.sigmoid(), log_slope(u))),
            Support::Interval(low, high) => {
                // rounded so that `low + width` is not beyond `high`
                let width = high - low;
                let width = if low + width > high { width.next_down() } else { width };
                each(u, x, |u| (u.sigmoid() * width + low, log_slope(u) + width.ln()))
            }
            Support::Ordered => {
                let Some((&first, rest)) = u.split_first() else { return T::from(0.0) };
                x[0] = first;
                climb(rest, x)
            }
            Support::PositiveOrdered => {
                let Some((&first, rest)) = u.split_first() else { return T::from(0.0) };
                x[0] = first.exp();
                climb(rest, x) + first
            }
            Support::Simplex => break_stick(u, x),
            Support::Simplexes(n) => {
                let each =
                    u.chunks_exact(n.saturating_sub(1).max(1)).zip(x.chunks_exact_mut(n.max(1)));
                each.map(|(u, x)| break_stick(u, x)).sum()
            }
            Support::CorrelationCholesky { rows } => correlation(rows, u, x),
        }
    }

    /// Writes the preimage of `x` into `u`; not finite where `x` is not inside the support.
    pub fn unconstrain(&self, x: &[f64], u: &mut [f64]) {
        let pairs = || x.iter().copied();
        match *self {
            Support::Real => u.copy_from_slice(x),
            Support::Category(n) => fill(
                u,
                pairs().map(|x| {
                    let label = x.fract() == 0.0 && x >= 0.0 && x < f64::from(n);
                    if label { x } else { f64::NAN }
                }),
            ),
            Support::Positive => fill(u, pairs().map(f64::ln)),
            Support::Lower(low) => fill(u, pairs().map(|x| (x - low).ln())),
            Support::Upper(high) => fill(u, pairs().map(|x| (high - x).ln())),
            Support::Unit => fill(u, pairs().map(|x| x.ln() - (-x).ln_1p())),
            Support::Interval(low, high) => {
                fill(u, pairs().map(|x| (x - low).ln() - (high - x).ln()))
            }
            Support::Ordered | Support::PositiveOrdered => {
                for i in (0..u.len()).rev() {
                    u[i] = match i {
                        0 if *self == Support::Ordered => x[0],
                        0 => x[0].ln(),
                        _ => (x[i] - x[i - 1]).ln(),
                    };
                }
            }
            Support::Simplex => {
                let whole: f64 = x.iter().sum();
                for (i, u) in u.iter_mut().enumerate() {
                    let after: f64 = x[i + 1..].iter().sum();
                    let ahead = (x.len() - i - 1) as f64;
                    *u = (x[i] / after).ln() + ahead.ln() + unless_one(whole);
                }
            }
            Support::Simplexes(n) => {
                for (x, u) in
                    x.chunks_exact(n.max(1)).zip(u.chunks_exact_mut(n.saturating_sub(1).max(1)))
                {
                    Support::Simplex.unconstrain(x, u);
                }
            }
            Support::CorrelationCholesky { rows } => {
                let row = |i: usize| &x[i * (i + 1) / 2..][..i + 1];
                let squares = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>();
                let diagonal = |x: f64| if x >= 0.0 { 0.0 } else { f64::NAN };
                let outside: f64 =
                    (0..rows).map(|i| unless_one(squares(row(i))) + diagonal(row(i)[i])).sum();
                let pairs = (0..rows).flat_map(|i| (0..i).map(move |j| (i, j)));
                // What is left of the length behind entry j comes from the entries there: one less
                // the others would cancel.
                fill(
                    u,
                    pairs.map(|(i, j)| {
                        (row(i)[j] / squares(&row(i)[j + 1..]).sqrt()).asinh() + outside
                    }),
                );
            }
        }
    }

    /// What a reader calls it, as in an error message.
    pub fn name(&self) -> String {
        match *self {
            Support::Lower(low) => format!("Lower({low})"),
            Support::Upper(high) => format!("Upper({high})"),
            Support::Interval(low, high) => format!("Interval({low}, {high})"),
            Support::Category(n) => format!("Category({n})"),
            Support::Simplexes(n) => format!("Simplexes({n})"),
            other => format!("{other:?}").split(' ').next().unwrap_or_default().to_string(),
        }
    }
}

/// 0 for what is 1 but for rounding (six digits, so that numbers read from a table pass), else NaN.
fn unless_one(sum: f64) -> f64 {
    if (sum - 1.0).abs() < 1e-6 { 0.0 } else { f64::NAN }
}

fn fill(u: &mut [f64], values: impl Iterator<Item = f64>) {
    for (u, v) in u.iter_mut().zip(values) {
        *u = v;
    }
}

/// A map coordinate by coordinate: `f` gives the image and the log of the slope.
fn each<T: Real>(u: &[T], x: &mut [T], f: impl Fn(T) -> (T, T)) -> T {
    u.iter()
        .zip(x)
        .map(|(&u, x)| {
            let (image, log_slope) = f(u);
            *x = image;
            log_slope
        })
        .sum()
}

/// `ln(sigmoid(u) sigmoid(-u))`
fn log_slope<T: Real>(u: T) -> T {
    u.log_sigmoid() + (-u).log_sigmoid()
}

/// Steps up by `e^u` from `x[0]`.
fn climb<T: Real>(u: &[T], x: &mut [T]) -> T {
    for (i, &u) in u.iter().enumerate() {
        x[i + 1] = x[i] + u.exp();
    }
    u.iter().copied().sum()
}

/// Each `u` says which share of what is left of the stick to take; 0 takes an equal share. Kept in
/// logs, so that no remainder is lost to rounding.
fn break_stick<T: Real>(u: &[T], x: &mut [T]) -> T {
    let n = u.len() + 1;
    let mut log_left = T::from(0.0);
    let mut log_det = T::from(0.0);
    for (i, &u) in u.iter().enumerate() {
        let v = u - ((n - i - 1) as f64).ln();
        let log_share = v.log_sigmoid();
        let log_rest = (-v).log_sigmoid();
        x[i] = (log_left + log_share).exp();
        log_det += log_left + log_share + log_rest;
        log_left += log_rest;
    }
    x[n - 1] = log_left.exp();
    log_det
}

/// Row `i`: partial correlations `tanh(u)`, each taking its part of what is left of length 1.
fn correlation<T: Real>(rows: usize, u: &[T], x: &mut [T]) -> T {
    let mut log_det = T::from(0.0);
    let (mut free, mut start) = (u.iter(), 0);
    for i in 0..rows {
        // ln of what is left of the squared length
        let mut log_left = T::from(0.0);
        for j in 0..i {
            let Some(&u) = free.next() else { return log_det };
            // ln(1 - tanh^2 u) = ln sigmoid(2u) + ln sigmoid(-2u) + ln 4
            let log_rest = log_slope(u * 2.0) + 4f64.ln();
            x[start + j] = u.tanh() * (log_left * 0.5).exp();
            log_det += log_rest + log_left * 0.5;
            log_left += log_rest;
        }
        x[start + i] = (log_left * 0.5).exp();
        start += i + 1;
    }
    log_det
}
