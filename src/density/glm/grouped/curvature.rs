//! Hessian products of a likelihood with groups: `X' W X v` row by row, exact.

use super::super::kernel::{Link, Shape};
use super::super::link::logistic_slope;
use super::rows::Rows;

fn dot(x: &[f64], z: &[f64]) -> f64 {
    x.iter().zip(z).map(|(x, z)| x * z).sum()
}

fn add(by: f64, x: &[f64], sum: &mut [f64]) {
    sum.iter_mut().zip(x).for_each(|(s, x)| *s += by * x);
}

/// Writes the Hessian at `x` times `v` to `out`, not yet scaled for a subsample.
pub(super) fn hess_vec(shape: &Shape, rows: &Rows, x: &[f64], v: &[f64], out: &mut [f64]) {
    let Shape { n_columns: p, n_groups, n_slopes: q, .. } = *shape;
    let linear = shape.n_linear();
    let (sd, dsd) = (x.get(linear).copied(), v.get(linear).copied().unwrap_or(0.0));
    let sd = sd.unwrap_or(1.0);
    out.fill(0.0);
    let mut bend_sd = 0.0;
    for s in &rows.segments {
        let (a, b) = (p + s.group, p + n_groups + s.group * q);
        for i in s.start..s.end {
            let (columns, w) = (&rows.x[i * p..(i + 1) * p], &rows.w[i * q..(i + 1) * q]);
            let at = |z: &[f64]| z[a] + dot(columns, &z[..p]) + dot(w, &z[b..b + q]);
            let eta = at(x) + rows.offset.get(i).copied().unwrap_or(0.0);
            let turn = at(v);
            let bend = match shape.link {
                Link::BernoulliLogit => -turn * logistic_slope(eta),
                Link::BinomialLogit => -turn * rows.trials[i] * logistic_slope(eta),
                Link::PoissonLog => -turn * eta.exp(),
                Link::Normal => {
                    let u = (rows.y[i] - eta) / sd;
                    bend_sd -= (2.0 * u * turn + (3.0 * u * u - 1.0) * dsd) / (sd * sd);
                    -(turn + 2.0 * u * dsd) / (sd * sd)
                }
            };
            out[a] += bend;
            add(bend, columns, &mut out[..p]);
            add(bend, w, &mut out[b..b + q]);
        }
    }
    if let Some(o) = out.get_mut(linear) {
        *o = bend_sd;
    }
}
