//! Every function against the standard library, on dense grids, at edges and at random bits, on
//! every instruction set of this machine.

use pulp::{Arch, Simd, WithSimd};
use rand::Rng;

use super::on_each;
use super::slices::{
    Digamma, Elementwise, Exp, ExpDigamma, ExpM1, InPlace, Ln, Ln1p, LogGamma, Sigmoid, Softplus,
    Tanh, To,
};
use crate::autodiff::Real;
use crate::noise::{Purpose, stream};
use crate::special;

/// A copy of `x`, each number replaced by its value.
struct Map<'a, F>(F, &'a [f64]);

impl<F: Elementwise> WithSimd for Map<'_, F> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) -> Vec<f64> {
        let mut out = vec![f64::NAN; self.1.len()];
        To(self.0, self.1, &mut out).with_simd(s);
        out
    }
}

/// Grids between `low` and `high`, of absolute and of relative spacing, numbers next to powers of
/// two, edges, and random bits.
fn points(low: f64, high: f64) -> Vec<f64> {
    let n = 20_000;
    let mut x: Vec<f64> =
        (0..=n).map(|i| low + (high - low) * f64::from(i) / f64::from(n)).collect();
    for k in -1074..1024 {
        let power = 2f64.powi(k / 2) * 2f64.powi(k - k / 2);
        for f in
            [1.0, 1.0 - f64::EPSILON / 2.0, 1.0 + f64::EPSILON, 1.234_567, std::f64::consts::SQRT_2]
        {
            x.extend([power * f, -power * f]);
        }
    }
    let edges = [0.0, f64::INFINITY, f64::NAN, f64::MAX, f64::MIN_POSITIVE, 5e-324, 1.0, 2.0, 0.5];
    let turns = [
        708.0,
        708.396_418_532_264_1,
        708.5,
        709.0,
        709.436,
        709.782_712_893_383_9,
        709.782_712_893_384_1,
        710.0,
        710.5,
        745.0,
        745.133_219_101_941_2,
        745.2,
        746.0,
        747.0,
        800.0,
        1e5,
        std::f64::consts::LN_2 / 2.0,
        0.346_573_7,
        1.039_72,
        36.7,
        37.5,
        1e300,
        2e300,
    ];
    x.extend(edges.iter().chain(&turns).flat_map(|&x| [x, -x]));
    let mut rng = stream(3, Purpose::Data, 0);
    x.extend((0..n).map(|_| f64::from_bits(rng.next_u64())));
    x
}

/// How many numbers lie between two, with one more for each step; NaN is next to NaN alone, and a
/// zero differs from one of other sign.
fn apart(a: f64, b: f64) -> u64 {
    if a.is_nan() || b.is_nan() {
        return if a.is_nan() && b.is_nan() { 0 } else { u64::MAX };
    }
    let ordered = |x: f64| {
        let bits = x.to_bits() as i64;
        i128::from(if bits < 0 { i64::MIN - bits } else { bits }) - i128::from(bits < 0)
    };
    (ordered(a) - ordered(b)).unsigned_abs() as u64
}

/// `f` is within `bound` of `plain`, and instruction sets within `bound` of each other.
fn follows<F: Elementwise>(f: F, bound: u64, range: (f64, f64), plain: impl Fn(f64) -> f64) {
    let x = points(range.0, range.1);
    let results = on_each(|| Map(f, &x));
    let mut worst = 0;
    for (name, y) in &results {
        for i in 0..x.len() {
            let (want, first) = (plain(x[i]), results[0].1[i]);
            let off = apart(y[i], want);
            assert!(off <= bound, "{name}: at {:e}, {:e} is {off} from {want:e}", x[i], y[i]);
            assert!(apart(y[i], first) <= bound, "{name}: at {:e}, {:e} but {first:e}", x[i], y[i]);
            worst = worst.max(off);
        }
    }
    println!("{}: {worst}", std::any::type_name::<F>());
}

#[test]
fn functions_follow_the_standard_library() {
    // Twice the documented bound at most: the plain value has an error too.
    follows(Exp, 2, (-750.0, 720.0), f64::exp);
    follows(ExpM1, 3, (-2.0, 2.0), f64::exp_m1);
    follows(Ln, 2, (0.0, 4.0), f64::ln);
    follows(Ln1p, 3, (-1.0, 3.0), f64::ln_1p);
    follows(Tanh, 5, (-3.0, 3.0), f64::tanh);
    follows(Sigmoid, 5, (-40.0, 40.0), Real::sigmoid);
    follows(Softplus, 6, (-40.0, 40.0), Real::softplus);
    follows(LogSigmoid, 6, (-40.0, 40.0), |x| -Real::softplus(-x));
    follows(LogSigmoidSlope, 6, (-40.0, 40.0), |x| Real::sigmoid(-x));
}

#[derive(Clone, Copy)]
struct LogSigmoid;
impl Elementwise for LogSigmoid {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::f64s) -> S::f64s {
        super::log_sigmoid_pair(s, x).0
    }
}

#[derive(Clone, Copy)]
struct LogSigmoidSlope;
impl Elementwise for LogSigmoidSlope {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::f64s) -> S::f64s {
        super::log_sigmoid_pair(s, x).1
    }
}

/// Against the plain functions, to so many units of what is added up on the way.
#[test]
fn the_gamma_function_follows_the_plain_one() {
    let mut x: Vec<f64> = (1..4_000).map(|i| f64::from(i) / 128.0).collect();
    x.extend((-80..240).map(|i| 10f64.powf(f64::from(i) / 8.0)));
    x.extend((1..400).map(|i| 10f64.powf(-f64::from(i) / 4.0)));
    fn check<F: Elementwise>(
        f: F,
        x: &[f64],
        want: impl Fn(f64) -> f64,
        size: impl Fn(f64) -> f64,
    ) {
        for (name, y) in on_each(|| Map(f, x)) {
            for (&x, &y) in x.iter().zip(&y) {
                let (want, slack) = (want(x), 4.0 * f64::EPSILON * size(x));
                assert!((y - want).abs() <= slack, "{name}: at {x:e}, {y:e} for {want:e}");
            }
        }
    }
    let digamma = |x: f64| special::polygamma(0, x);
    check(Digamma, &x, digamma, |x| 4.0 + 1.0 / x + x.ln().abs());
    // above 8 the terms that cancel are (x + 8) ln(x + 8) and x; below, those at 16
    // the plain one is itself off by up to 8e-15 of its value: 9 times 4 units of rounding
    let plain = |x: f64| 9.0 * special::log_gamma(x).abs();
    let large = |x: f64| 40.0 + x.ln().abs() + x * x.ln().abs() + plain(x);
    check(LogGamma, &x, special::log_gamma, large);
    let scaled = |x: f64| digamma(x).exp();
    check(ExpDigamma, &x, scaled, |x| scaled(x) * (4.0 + 1.0 / x + x.ln().abs()));
}

#[test]
fn limits_are_exact() {
    let infinity = f64::INFINITY;
    let at = |f: fn(&mut [f64]), x: f64| {
        let mut x = [x; 3];
        f(&mut x);
        x[2]
    };
    assert_eq!(at(super::exp_slice, infinity), infinity);
    assert_eq!(at(super::exp_slice, -infinity), 0.0);
    assert_eq!(at(super::exp_slice, 0.0), 1.0);
    assert_eq!(at(super::exp_slice, -745.0), 5e-324);
    assert_eq!(at(super::ln_slice, 0.0), -infinity);
    assert_eq!(at(super::ln_slice, -0.0), -infinity);
    assert_eq!(at(super::ln_slice, infinity), infinity);
    assert_eq!(at(super::ln_slice, 1.0), 0.0);
    assert!(at(super::ln_slice, -5e-324).is_nan());
    assert_eq!(at(super::sigmoid_slice, -infinity), 0.0);
    assert_eq!(at(super::sigmoid_slice, infinity), 1.0);
    assert_eq!(at(super::softplus_slice, -infinity), 0.0);
    assert_eq!(at(super::softplus_slice, infinity), infinity);
}

#[test]
fn a_value_does_not_depend_on_where_it_stands() {
    let x = points(-30.0, 30.0);
    fn check<F: Elementwise>(f: F, x: &[f64]) {
        for (name, whole) in on_each(|| Map(f, x)) {
            for (start, len) in (0..40).map(|k| (37 * k, k)).chain([(3, 1000)]) {
                let part = &x[start..start + len];
                let alone = on_each(|| Map(f, part)).into_iter().find(|r| r.0 == name).unwrap().1;
                for (a, b) in alone.iter().zip(&whole[start..]) {
                    assert!(apart(*a, *b) == 0, "{name}: {a:e} is not {b:e}");
                }
                let mut changed = part.to_vec();
                Arch::new().dispatch(InPlace(f, &mut changed));
                let dispatched = Arch::new().dispatch(Map(f, part));
                assert!(changed.iter().zip(&dispatched).all(|(a, b)| apart(*a, *b) == 0));
            }
        }
    }
    check(Exp, &x);
    check(ExpM1, &x);
    check(Ln, &x);
    check(Ln1p, &x);
    check(Tanh, &x);
    check(Sigmoid, &x);
    check(Softplus, &x);
    check(LogSigmoidSlope, &x);
}
