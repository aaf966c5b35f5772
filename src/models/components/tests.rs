//! The fused pass against row after row by the definition.

use std::f64::consts::PI;

use nalgebra::{DMatrix, DVector};

use super::{Components, Moments, Rows, Shape, labels, moments};
use crate::data::Observations;
use crate::noise::{Purpose, fill_normal, stream};
use crate::triangle;

fn numbers(seed: u64, len: usize) -> Vec<f64> {
    let mut out = vec![0.0; len];
    fill_normal(&mut stream(seed, Purpose::Data, 9), &mut out);
    out
}

fn components(k: usize, dim: usize, shape: Shape, far: f64) -> Components {
    let mut c = Components::new(k, dim, shape);
    c.constant.copy_from_slice(&numbers(1, k));
    c.mean = numbers(2, k * dim).iter().map(|m| 2.0 * m + far).collect();
    c.factor = numbers(3, k * shape.len(dim)).iter().map(|w| 0.5 * w).collect();
    c
}

/// The largest of `|a - b|` against the size of what was summed.
fn close(what: &str, a: f64, b: f64, size: f64) {
    assert!((a - b).abs() <= 1e-13 * size.max(1e-300), "{what}: {a} {b}, terms of {size:e}");
}

#[test]
fn sums_are_those_of_the_definition_at_all_sizes() {
    for shape in [Shape::Full, Shape::Diagonal] {
        for (n, dim, k) in
            [(1, 1, 1), (7, 3, 2), (63, 8, 3), (65, 5, 1), (1000, 2, 4), (2500, 10, 8)]
        {
            for far in [0.0, 1e6] {
                let rows: Vec<f64> = numbers(4, n * dim).iter().map(|x| 2.0 * x + far).collect();
                let weights: Vec<f64> = (0..n).map(|i| (i % 3) as f64 + 0.5).collect();
                let data = Observations::new(rows, dim).and_then(|d| d.weighted(weights));
                let data = data.expect("numbers");
                let components = components(k, dim, shape, far);
                let some: Vec<usize> = (0..n).rev().step_by(2).collect();
                for rows in [Rows::new(&data, None), Rows::new(&data, Some(&some))] {
                    check(
                        &components,
                        rows,
                        &data,
                        if rows.len() == n { None } else { Some(&some) },
                    );
                }
            }
        }
    }
}

fn check(components: &Components, rows: Rows<'_>, data: &Observations, some: Option<&[usize]>) {
    let (k, dim, n) = (components.len(), components.dim, rows.len());
    let mut got = Moments::default();
    moments(components, rows, &mut got).expect("in memory");
    let (mut p, mut tops) = (vec![0.0; n * k], vec![0.0; n]);
    labels(components, rows, &mut p, &mut tops).expect("in memory");
    let len = components.shape.len(dim);
    let (mut total, mut total_size) = (0.0, 0.0f64);
    let mut count = vec![0.0; k];
    let mut scatter = vec![(0.0, 0.0f64); k * len];
    let mut first = vec![(0.0, 0.0f64); k * dim];
    for i in 0..n {
        let at = some.map_or(i, |some| some[i]);
        let (x, w) = (data.row(at), data.weight(at));
        let mut r = vec![0.0; k];
        let top = components.probabilities(x, &mut r);
        // a square of size 1e3 carries its own rounding into the exponent
        close("normaliser", tops[i], top, 10.0 * top.abs().max(1.0));
        total += w * top;
        total_size += w * top.abs().max(1.0);
        for k in 0..k {
            let slack = (top.abs() + 30.0) * 10.0;
            assert!(
                (p[i * components.len() + k] - r[k]).abs() < 1e-14 * slack,
                "{} {}",
                p[i],
                r[k]
            );
            count[k] += w * r[k];
            let y: Vec<f64> = x.iter().zip(components.mean(k)).map(|(x, m)| x - m).collect();
            for a in 0..dim {
                let term = w * r[k] * y[a];
                first[k * dim + a].0 += term;
                first[k * dim + a].1 += term.abs();
                let mut add = |at: usize, term: f64| {
                    scatter[k * len + at].0 += term;
                    scatter[k * len + at].1 += term.abs();
                };
                match components.shape {
                    Shape::Diagonal => add(a, term * y[a]),
                    Shape::Full => (0..=a).for_each(|b| add(triangle::len(a) + b, term * y[b])),
                }
            }
        }
    }
    close("normalisers", got.log_normalizer, total, 10.0 * total_size);
    for k in 0..k {
        // probabilities carry the rounding of their exponents, of the size of ln rho
        let slack = 100.0;
        close("count", got.count(k), count[k], slack * count[k]);
        let mut s = vec![0.0; len];
        got.scatter(k, components.mean(k), &mut s);
        for at in 0..len {
            let (want, size) = scatter[k * len + at];
            close("scatter", s[at], want, slack * size);
        }
        if count[k] > 1e-3 {
            let mut mean = vec![0.0; dim];
            got.mean(k, (0.0, &[]), &mut mean);
            for j in 0..dim {
                let (sum, size) = first[k * dim + j];
                let want = components.mean(k)[j] + sum / count[k];
                let rounding = want.abs() / 100.0 + size / count[k];
                close("mean", mean[j], want, slack * rounding);
            }
        }
    }
}

#[test]
fn the_square_is_the_trace_and_shifts_are_exact() {
    for shape in [Shape::Full, Shape::Diagonal] {
        let (n, dim, k) = (50, 4, 2);
        let data = Observations::new(numbers(5, n * dim), dim).expect("numbers");
        let components = components(k, dim, shape, 0.0);
        let mut got = Moments::default();
        moments(&components, Rows::new(&data, None), &mut got).expect("in memory");
        let c = numbers(6, dim);
        for k in 0..k {
            let want: f64 = (0..n)
                .map(|i| {
                    let mut r = vec![0.0; components.len()];
                    components.probabilities(data.row(i), &mut r);
                    let mut about = components.clone();
                    about.constant[k] = 0.0;
                    about.mean[k * dim..(k + 1) * dim].copy_from_slice(&c);
                    r[k] * -2.0 * about.log_rho(k, data.row(i))
                })
                .sum();
            close("square", got.square(k, &c, components.factor(k)), want, 10.0 * want);
        }
    }
}

#[test]
fn a_blend_about_other_references_is_the_blend_of_the_sums() {
    let (n, dim, k) = (80, 3, 2);
    let data = Observations::new(numbers(7, n * dim), dim).expect("numbers");
    let (a, mut b) = (components(k, dim, Shape::Full, 0.0), components(k, dim, Shape::Full, 0.0));
    b.mean.iter_mut().for_each(|m| *m += 0.7);
    let (mut one, mut two) = (Moments::default(), Moments::default());
    moments(&a, Rows::new(&data, None), &mut one).expect("in memory");
    moments(&b, Rows::new(&data, None), &mut two).expect("in memory");
    let c = [0.1, 0.2, 0.3];
    let len = triangle::len(dim);
    let (mut s, mut t, mut got) = (vec![0.0; len], vec![0.0; len], vec![0.0; len]);
    one.scatter(1, &c, &mut s);
    two.scatter(1, &c, &mut t);
    let mut mixed = one.clone();
    mixed.blend(0.3, &two);
    mixed.scatter(1, &c, &mut got);
    for i in 0..len {
        close("scatter", got[i], 0.7 * s[i] + 0.3 * t[i], 100.0 * (s[i].abs() + t[i].abs()));
    }
    close("count", mixed.count(1), 0.7 * one.count(1) + 0.3 * two.count(1), 100.0);
}

/// `ln rho` of the cells that are there, what is expected of a row, and how far its missing cells
/// spread: by the inverse of the whole precision.
fn by_blocks(c: &Components, k: usize, x: &[f64]) -> (f64, DVector<f64>, DMatrix<f64>) {
    let (dim, ln_2pi) = (c.dim, (2.0 * PI).ln());
    let w = match c.shape {
        Shape::Full => triangle::to_matrix(dim, c.factor(k)),
        Shape::Diagonal => DMatrix::from_diagonal(&DVector::from_column_slice(c.factor(k))),
    };
    let sigma = (w.transpose() * &w).try_inverse().expect("regular");
    let (o, m): (Vec<usize>, Vec<usize>) = (0..dim).partition(|&j| !x[j].is_nan());
    let part =
        |a: &[usize], b: &[usize]| DMatrix::from_fn(a.len(), b.len(), |i, j| sigma[(a[i], b[j])]);
    let y = DVector::from_fn(o.len(), |i, _| x[o[i]] - c.mean(k)[o[i]]);
    let own = part(&o, &o).try_inverse().unwrap_or_else(|| DMatrix::zeros(0, 0));
    let slopes = part(&m, &o) * &own;
    let (guess, left) = (&slopes * &y, part(&m, &m) - &slopes * part(&o, &m));
    // a normal of all cells has this constant, so that of some has
    let whole = c.constant[k] + 0.5 * (dim as f64 * ln_2pi + sigma.determinant().ln());
    let log_det = part(&o, &o).determinant().ln();
    let log = whole - 0.5 * (o.len() as f64 * ln_2pi + log_det + y.dot(&(&own * &y)));
    let (mut all, mut spread) = (DVector::zeros(dim), DMatrix::zeros(dim, dim));
    (0..o.len()).for_each(|i| all[o[i]] = y[i]);
    for a in 0..m.len() {
        all[m[a]] = guess[a];
        (0..m.len()).for_each(|b| spread[(m[a], m[b])] = left[(a, b)]);
    }
    (log, all, spread)
}

#[test]
fn missing_cells_are_what_their_components_expect() {
    for shape in [Shape::Full, Shape::Diagonal] {
        // more patterns than are kept, and as many columns as a number has bits and more
        for (n, dim, k) in [(3, 1, 2), (9, 2, 1), (70, 3, 3), (1500, 8, 2), (130, 70, 1)] {
            let mut c = components(k, dim, shape, 5.0);
            // near to independent, so that no digits are lost
            for k in 0..k {
                let factor = &mut c.factor[k * shape.len(dim)..(k + 1) * shape.len(dim)];
                factor.iter_mut().for_each(|w| *w *= 0.5 / (dim as f64).sqrt());
                for j in 0..dim {
                    let at = if shape == Shape::Full { triangle::len(j) + j } else { j };
                    factor[at] = 1.0 + 0.1 * (j + k) as f64 / dim as f64;
                }
            }
            let holes = numbers(8, n * dim);
            let cells = numbers(4, n * dim).into_iter().zip(holes).enumerate();
            let cells = cells.map(|(at, (x, hole))| match hole < -0.7 && at >= dim {
                true => f64::NAN,
                false => x + 5.0,
            });
            let data = Observations::with_gaps(cells.collect(), dim).expect("numbers");
            let weights = (0..n).map(|i| (i % 3) as f64 + 0.5).collect();
            let data = data.weighted(weights).expect("positive");
            let (mut got, mut p) = (Moments::default(), vec![0.0; n * k]);
            let mut tops = vec![0.0; n];
            moments(&c, Rows::new(&data, None), &mut got).expect("in memory");
            labels(&c, Rows::new(&data, None), &mut p, &mut tops).expect("in memory");
            let (mut total, mut entropy, mut size) = (0.0, 0.0, 1.0);
            let mut first = vec![DVector::zeros(dim); k];
            let mut second = vec![DMatrix::zeros(dim, dim); k];
            for (i, x) in data.rows().enumerate() {
                let each: Vec<_> = (0..k).map(|k| by_blocks(&c, k, x)).collect();
                let top = each.iter().map(|e| e.0).fold(f64::NEG_INFINITY, f64::max);
                let sum = top + each.iter().map(|e| (e.0 - top).exp()).sum::<f64>().ln();
                let tol = 1e-13 * (10.0 + sum.abs());
                assert!((tops[i] - sum).abs() < tol, "normaliser {} {sum}", tops[i]);
                total += data.weight(i) * sum;
                size += data.weight(i) * sum.abs();
                for (k, (log, y, spread)) in each.into_iter().enumerate() {
                    assert!((c.log_rho(k, x) - log).abs() < tol, "{} {log}", c.log_rho(k, x));
                    let r = (log - sum).exp();
                    assert!((p[i * c.len() + k] - r).abs() < 10.0 * tol);
                    let m: Vec<usize> = (0..dim).filter(|&j| x[j].is_nan()).collect();
                    let own = DMatrix::from_fn(m.len(), m.len(), |a, b| spread[(m[a], m[b])]);
                    let whole = m.len() as f64 * (1.0 + (2.0 * PI).ln());
                    let r = data.weight(i) * r;
                    entropy += 0.5 * r * (whole + own.determinant().ln());
                    first[k] += r * &y;
                    second[k] += r * (&y * y.transpose() + spread);
                }
            }
            close("normalisers", got.log_normalizer, total, 10.0 * size);
            close("entropy", got.entropy_of_missing, entropy, 10.0 * size);
            let mut scatter = vec![0.0; shape.len(dim)];
            for k in 0..k {
                let n = got.count(k);
                got.scatter(k, c.mean(k), &mut scatter);
                let mut mean = vec![0.0; dim];
                got.mean(k, (0.0, &[]), &mut mean);
                for i in 0..dim {
                    close("mean", n * (mean[i] - c.mean(k)[i]), first[k][i], 1e3 * n);
                    for j in 0..=i {
                        let at = match shape {
                            Shape::Full => triangle::len(i) + j,
                            Shape::Diagonal if i == j => i,
                            Shape::Diagonal => continue,
                        };
                        close("scatter", scatter[at], second[k][(i, j)], 1e3 * n);
                    }
                }
            }
        }
    }
}
