//! `Support`: the map inverts, its log-determinant is that of its Jacobian, and extreme points stay
//! inside.

use crate::gradient::differentiable;
use crate::support::{assert_all_close, assert_close};
use elbo::autodiff::Dual;
use elbo::{Real, Space, Support, from_fn};
use nalgebra::DMatrix;

/// Coordinates of a block of `n` that the density is with respect to.
fn free_coordinates(support: Support, n: usize) -> Vec<usize> {
    match support {
        Support::Simplex => (0..n - 1).collect(),
        Support::Simplexes(each) => (0..n).filter(|i| i % each + 1 < each).collect(),
        Support::CorrelationCholesky { rows } => {
            (0..rows).flat_map(|i| (0..i).map(move |j| i * (i + 1) / 2 + j)).collect()
        }
        _ => (0..n).collect(),
    }
}

fn constrained<T: Real>(support: Support, n: usize, u: &[T]) -> (Vec<T>, T) {
    let mut x = vec![T::from(0.0); n];
    let log_det = support.constrain(u, &mut x);
    (x, log_det)
}

/// All laws of a support for blocks of `n`; `inside` says whether a point is in it or on its edge.
#[track_caller]
fn support(support: Support, n: usize, inside: impl Fn(&[f64]) -> bool) {
    let name = format!("{support:?} of {n}");
    let k = support.free_len(n);
    let point = |s: usize, size: f64| -> Vec<f64> {
        (0..k).map(|i| (((i * 37 + s * 23) % 17) as f64 / 8.0 - 1.0) * size).collect()
    };
    for s in 0..20 {
        let u = point(s, 3.0);
        let (x, log_det) = constrained(support, n, &u);
        assert!(inside(&x), "{name}: {u:?} goes to {x:?}");
        // the inverse: the condition number of these maps at |u| <= 3 stays below 1e4
        let mut back = vec![0.0; k];
        support.unconstrain(&x, &mut back);
        assert_all_close(&format!("{name}: back"), &back, &u, 1e-11);
        // the determinant
        let mut jacobian = DMatrix::zeros(k, k);
        for j in 0..k {
            let mut watched: Vec<Dual> = u.iter().map(|&u| Dual::from(u)).collect();
            watched[j] = Dual::variable(u[j]);
            let (x, _) = constrained(support, n, &watched);
            for (i, &free) in free_coordinates(support, n).iter().enumerate() {
                jacobian[(i, j)] = x[free].eps;
            }
        }
        let want = if k == 0 { 0.0 } else { jacobian.determinant().abs().ln() };
        assert_close(&format!("{name}: log|det J|"), log_det, want, 1e-11);
    }
    // the slopes of the map and of its log-determinant, recorded
    let points: Vec<Vec<f64>> = (0..6).map(|s| point(s, 1.5)).collect();
    for i in 0..=n {
        let mut space = Space::new();
        space.reals("u", k);
        let output = from_fn(space, move |u| {
            let (mut x, log_det) = constrained(support, n, u);
            x.push(log_det);
            x[i]
        });
        if k > 0 {
            differentiable(&output, &points);
        }
    }
    // extreme points: every pattern of -700, 0 and 700 in the first coordinates
    for pattern in 0..3usize.pow(k.min(6) as u32) {
        let u: Vec<f64> = (0..k)
            .map(|i| 700.0 * ((pattern / 3usize.pow(i.min(5) as u32)) % 3) as f64 - 700.0)
            .collect();
        let (x, log_det) = constrained(support, n, &u);
        assert!(x.iter().all(|x| x.is_finite()), "{name}: {u:?} goes to {x:?}");
        assert!(log_det.is_finite(), "{name}: log|det J| at {u:?} is {log_det}");
        assert!(inside(&x), "{name}: {u:?} goes to {x:?}, which is outside");
        let watched: Vec<Dual> = u.iter().map(|&u| Dual::variable(u)).collect();
        let (x, log_det) = constrained(support, n, &watched);
        assert!(x.iter().all(|x| x.eps.is_finite()) && log_det.eps.is_finite(), "{name}: {u:?}");
    }
}

fn climbs(x: &[f64]) -> bool {
    x.windows(2).all(|w| w[0] <= w[1])
}

#[test]
fn number_by_number() {
    support(Support::Real, 3, |_| true);
    support(Support::Positive, 3, |x| x.iter().all(|&x| x > 0.0));
    support(Support::Lower(-2.5), 2, |x| x.iter().all(|&x| x >= -2.5));
    support(Support::Upper(1e3), 2, |x| x.iter().all(|&x| x <= 1e3));
    support(Support::Unit, 3, |x| x.iter().all(|x| (0.0..=1.0).contains(x)));
    for (low, high) in
        [(0.1, 0.3), (-1.0, 5.0), (1e3, 1e3 + 1.0), (0.3, 0.9), (-0.7, -0.1), (0.1, 1.7)]
    {
        support(Support::Interval(low, high), 2, |x| x.iter().all(|x| (low..=high).contains(x)));
    }
}

#[test]
fn one_after_another() {
    for n in [1, 2, 5] {
        support(Support::Ordered, n, climbs);
        support(Support::PositiveOrdered, n, |x| climbs(x) && x[0] >= 0.0);
    }
}

#[test]
fn simplex() {
    for n in [2, 3, 6] {
        support(Support::Simplex, n, |x| {
            let sum: f64 = x.iter().sum();
            x.iter().all(|&x| x >= 0.0) && (sum - 1.0).abs() < 1e-14
        });
    }
}

#[test]
fn simplexes() {
    for (each, n) in [(2, 4), (3, 3), (3, 9)] {
        support(Support::Simplexes(each), n, |x| {
            let sums = x.chunks_exact(each).map(|x| x.iter().sum::<f64>());
            x.iter().all(|&x| x >= 0.0) && sums.map(|s| s - 1.0).all(|s| s.abs() < 1e-14)
        });
    }
}

#[test]
fn correlation_cholesky() {
    for rows in [1, 2, 3, 4] {
        let n = rows * (rows + 1) / 2;
        support(Support::CorrelationCholesky { rows }, n, |x| {
            (0..rows).all(|i| {
                let row = &x[i * (i + 1) / 2..][..i + 1];
                (row.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-13 && row[i] >= 0.0
            })
        });
    }
}

#[test]
fn far_out_the_inverse_of_what_can_be_told_apart_still_inverts() {
    // tanh(u) is 1 to all digits at u = 25, but the factor's other entries know
    let u = [25.0, -12.0, 18.0];
    let kind = Support::CorrelationCholesky { rows: 3 };
    let (x, _) = constrained(kind, 6, &u);
    let mut back = [0.0; 3];
    kind.unconstrain(&x, &mut back);
    assert_all_close("back", &back, &u, 1e-12);
}

#[test]
fn a_point_outside_has_no_preimage() {
    for (kind, x) in [
        (Support::Positive, vec![-1.0]),
        (Support::Lower(2.0), vec![1.0]),
        (Support::Upper(2.0), vec![3.0]),
        (Support::Unit, vec![1.5]),
        (Support::Interval(1.0, 2.0), vec![2.5]),
        (Support::Ordered, vec![2.0, 1.0]),
        (Support::PositiveOrdered, vec![-1.0, 1.0]),
        (Support::Simplex, vec![0.5, 0.9]),
        (Support::Simplex, vec![-0.5, 1.5]),
        (Support::CorrelationCholesky { rows: 2 }, vec![1.0, 0.9, 0.9]),
        (Support::CorrelationCholesky { rows: 2 }, vec![1.0, 0.6, -0.8]),
        (Support::CorrelationCholesky { rows: 2 }, vec![0.5, 0.6, 0.8]),
    ] {
        let mut u = vec![0.0; kind.free_len(x.len())];
        kind.unconstrain(&x, &mut u);
        assert!(u.iter().any(|u| !u.is_finite()), "{kind:?}: {x:?} came from {u:?}");
    }
}

#[test]
fn a_declaration_that_makes_no_sense_is_refused() {
    let refused = |kind: Support, len: usize| {
        let mut space = Space::new();
        space.block("w", len, kind);
        space.check().unwrap_err().to_string()
    };
    assert_eq!(
        refused(Support::CorrelationCholesky { rows: 3 }, 5),
        "E14 `w` holds the lower triangle of 3 rows, which has 6 coordinates, not 5; declare it with \
         `correlation_cholesky`"
    );
    assert_eq!(refused(Support::Simplex, 1), "E14 the simplex `w` needs at least 2 coordinates");
    assert_eq!(
        refused(Support::Simplexes(3), 7),
        "E14 `w` holds simplexes of 3 coordinates in 7 numbers; a simplex needs at least 2, and all \
         of them the same"
    );
    assert_eq!(
        refused(Support::Interval(2.0, 1.0), 1),
        "E14 `w` lives on Interval(2, 1); need low < high"
    );
}
