//! The exact step: the Polya-Gamma variables at the `q` there is, and the best normal for them.

use super::LogisticRegression;
use super::pass::{len, sums};
use crate::error::Error;
use crate::family::{Family, FullRankGaussian};
use crate::model::Conjugate;
use crate::scratch::with_buffer;
use crate::triangle::{self, add_scaled, dot, factorize, invert};

/// Replaces the lower triangle of a precision by the factor `L` of the covariance, `L L'`; `false`
/// where it is not positive definite. In the reverse order of the coordinates the precision is
/// `C C'`, hence in their own `U U'` with `U` upper triangular, and `L` is the inverse of `U'`.
fn covariance_factor(dim: usize, precision: &mut [f64]) -> bool {
    with_buffer(precision.len(), |reversed| {
        let at = |i: usize, j: usize| triangle::len(i) + j;
        let back = |i: usize| dim - 1 - i;
        for i in 0..dim {
            for j in 0..=i {
                reversed[at(i, j)] = precision[at(back(j), back(i))];
            }
        }
        factorize(reversed);
        let fine = |i: usize| reversed[at(i, i)] > 0.0 && reversed[at(i, i)].is_finite();
        if !(0..dim).all(fine) {
            return false;
        }
        for i in 0..dim {
            for j in 0..=i {
                precision[at(i, j)] = reversed[at(back(j), back(i))];
            }
        }
        invert(dim, precision);
        true
    })
}

/// `L x`, or `L' x`.
fn multiply(l: &[f64], x: &[f64], out: &mut [f64]) {
    triangle::rows(l).zip(out).for_each(|(row, out)| *out = dot(row, &x[..row.len()]));
}
fn multiply_transposed(l: &[f64], x: &[f64], out: &mut [f64]) {
    out.fill(0.0);
    triangle::rows(l).zip(x).for_each(|(row, x)| add_scaled(*x, row, out));
}

/// `<A, B>` of two symmetric matrices of which the lower triangles are given.
fn inner(a: &[f64], b: impl Fn(usize, usize) -> f64) -> f64 {
    let row = |(i, row): (usize, &[f64])| {
        let below: f64 = (0..i).map(|j| row[j] * b(i, j)).sum();
        2.0 * below + row[i] * b(i, i)
    };
    triangle::rows(a).enumerate().map(row).sum()
}

impl LogisticRegression {
    /// Mean and factor of a `q`, in units of the prior.
    fn read(&self, q: &FullRankGaussian, mean: &mut [f64], lower: &mut [f64]) {
        let p = self.p;
        let each = q.mean().iter().zip(&self.sd);
        mean.iter_mut().zip(each).for_each(|(m, (mean, sd))| *m = mean / sd);
        with_buffer(q.n_params(), |params| {
            q.params(params);
            let (logs, below) = params[p..].split_at(p);
            let mut below = below.iter();
            for i in 0..p {
                let scale = logs[i].exp() / self.sd[i];
                let row = &mut lower[triangle::len(i)..triangle::len(i + 1)];
                row[i] = scale;
                row[..i].iter_mut().zip(&mut below).for_each(|(l, u)| *l = scale * u);
            }
        });
    }

    fn write(&self, q: &mut FullRankGaussian, mean: &[f64], lower: &[f64]) {
        let p = self.p;
        with_buffer(q.n_params(), |params| {
            let (means, rest) = params.split_at_mut(p);
            let (logs, below) = rest.split_at_mut(p);
            let mut below = below.iter_mut();
            for (i, row) in triangle::rows(lower).take(p).enumerate() {
                means[i] = mean[i] * self.sd[i];
                logs[i] = (row[i] * self.sd[i]).ln();
                (&mut below).zip(&row[..i]).for_each(|(u, l)| *u = l / row[i]);
            }
            q.set_params(params);
        });
    }
}

impl Conjugate<FullRankGaussian> for LogisticRegression {
    fn natural_step(&self, q: &mut FullRankGaussian, rate: f64) -> Result<f64, Error> {
        let (p, tri) = (self.p, triangle::len(self.p));
        with_buffer(len(p) + 3 * p + 2 * tri, |room| {
            let (sum, room) = room.split_at_mut(len(p));
            let (mean, room) = room.split_at_mut(p);
            let (pull, room) = room.split_at_mut(p);
            let (spare, room) = room.split_at_mut(p);
            let (lower, precision) = room.split_at_mut(tri);
            self.read(q, mean, lower);
            sums(self, mean, lower, sum);
            let scale = self.scale();
            sum.iter_mut().for_each(|x| *x *= scale);
            let (constant, rest) = sum.split_at(1);
            let (kappa, gram) = rest.split_at(p);
            // the natural parameters of the best q
            precision.copy_from_slice(gram);
            (0..p).for_each(|i| precision[triangle::len(i + 1) - 1] += 1.0);
            pull.copy_from_slice(kappa);
            if rate < 1.0 {
                // P = M' M with M the inverse of the factor
                invert(p, lower);
                let entry = |i: usize, j: usize| {
                    (i..p).map(|m| lower[triangle::len(m) + i] * lower[triangle::len(m) + j]).sum()
                };
                multiply(lower, mean, spare);
                multiply_transposed(lower, spare, mean);
                for i in 0..p {
                    for j in 0..=i {
                        let old: f64 = entry(i, j);
                        let new = &mut precision[triangle::len(i) + j];
                        *new = old + rate * (*new - old);
                    }
                    pull[i] = mean[i] + rate * (pull[i] - mean[i]);
                }
            }
            if !covariance_factor(p, precision) {
                let reason = "the posterior precision is not positive definite: the columns are too \
                              extreme; rescale them, or choose a tighter prior";
                let (block, reason) = ("EStep".to_string(), reason.to_string());
                return Err(Error::Ascent { block, reason });
            }
            let lower = precision;
            multiply_transposed(lower, pull, spare);
            multiply(lower, spare, mean);
            self.write(q, mean, lower);
            let row = |i: usize| &lower[triangle::len(i)..triangle::len(i + 1)];
            let square = |i: usize, j: usize| dot(&row(i)[..=j], row(j)) + mean[i] * mean[j];
            let expected = dot(kappa, mean) - 0.5 * inner(gram, square);
            let traces: f64 = (0..p).map(|i| square(i, i)).sum();
            let logs: f64 = (0..p).map(|i| row(i)[i].ln()).sum();
            let kl = 0.5 * (traces - p as f64) - logs;
            Ok(constant[0] + expected - kl)
        })
    }
}
