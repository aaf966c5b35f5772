//! Densities: against statrs and exact answers, in the tails and on the edges, their gradients by
//! both ways of differentiating, and their total mass.

use crate::support::{assert_all_close, assert_close};
use elbo::autodiff::Dual;
use elbo::{Differentiable, Model, Real, Space, TwiceDifferentiable, Var, density, from_fn};
use statrs::distribution as reference;
use statrs::distribution::{Continuous, Discrete};

const INFINITE: f64 = f64::INFINITY;
const NEVER: f64 = f64::NEG_INFINITY;

#[test]
fn continuous_densities_equal_statrs() {
    macro_rules! same {
        ($points:expr, $ours:expr, $theirs:expr) => {{
            let theirs = $theirs.unwrap();
            for x in $points {
                let (got, want): (f64, f64) = ($ours(x), theirs.ln_pdf(x));
                assert_close(&format!("{} at {x}", stringify!($ours)), got, want, 1e-12);
            }
        }};
    }
    let line = [-30.0, -3.2, -0.1, 0.0, 0.4, 1.0, 2.7, 40.0, 1e3];
    let half = [1e-12, 1e-3, 0.4, 1.0, 2.7, 40.0, 1e3];
    let unit = [1e-12, 1e-3, 0.4, 0.5, 0.97, 1.0 - 1e-9];
    same!(line, |x| density::normal(x, 0.3, 2.5), reference::Normal::new(0.3, 2.5));
    same!(line, |x| density::cauchy(x, 0.3, 2.5), reference::Cauchy::new(0.3, 2.5));
    same!(line, |x| density::laplace(x, 0.3, 2.5), reference::Laplace::new(0.3, 2.5));
    same!([-1.0, 0.3, 3.0], |x| density::uniform(x, -1.0, 3.0), reference::Uniform::new(-1.0, 3.0));
    for nu in [0.7, 3.0, 30.0, 45.5, 700.0] {
        same!(line, |x| density::student_t(x, nu, 0.3, 2.5), {
            reference::StudentsT::new(0.3, 2.5, nu)
        });
    }
    same!(half, |x| density::log_normal(x, 0.3, 1.5), reference::LogNormal::new(0.3, 1.5));
    same!(half, |x| density::exponential(x, 1.7), reference::Exp::new(1.7));
    for shape in [0.3, 1.0, 2.0, 60.0] {
        same!(half, |x| density::gamma(x, shape, 1.7), reference::Gamma::new(shape, 1.7));
        // statrs gives NaN nearer to 0
        same!(half[1..].iter().copied(), |x| density::inverse_gamma(x, shape, 1.7), {
            reference::InverseGamma::new(shape, 1.7)
        });
        for b in [0.5, 1.0, 7.0, 25.0] {
            same!(unit, |x| density::beta(x, shape, b), reference::Beta::new(shape, b));
        }
    }
    // Dirichlet by breaking the stick: one beta after another
    let x = [0.1, 0.2, 0.7];
    let want = reference::Beta::new(0.5, 32.0).unwrap().ln_pdf(x[0])
        + reference::Beta::new(2.0, 30.0).unwrap().ln_pdf(x[1] / 0.9)
        - 0.9f64.ln();
    assert_close("dirichlet", density::dirichlet(&x, &[0.5, 2.0, 30.0]), want, 1e-12);
}

#[test]
fn probabilities_equal_statrs() {
    for p in [1e-9, 0.2, 0.5, 0.999] {
        let logit = (p / (1.0 - p)).ln();
        let bernoulli = reference::Bernoulli::new(p).unwrap();
        for y in [0u64, 1] {
            let want = bernoulli.ln_pmf(y);
            assert_close("bernoulli", density::bernoulli(y as u32, p), want, 1e-12);
            assert_close("bernoulli_logit", density::bernoulli_logit(y as u32, logit), want, 1e-12);
        }
        let binomial = reference::Binomial::new(p, 40).unwrap();
        let negative = reference::NegativeBinomial::new(3.5, p).unwrap();
        let mean = 3.5 * (1.0 - p) / p;
        for k in [0u64, 1, 7, 40] {
            let want = binomial.ln_pmf(k);
            assert_close("binomial", density::binomial(k as u32, 40, p), want, 1e-12);
            assert_close(
                "binomial_logit",
                density::binomial_logit(k as u32, 40, logit),
                want,
                1e-12,
            );
            let got = density::negative_binomial(k as u32, mean, 3.5);
            assert_close("negative_binomial", got, negative.ln_pmf(k), 1e-9);
        }
    }
    for rate in [1e-6, 0.7, 12.0, 900.0] {
        let poisson = reference::Poisson::new(rate).unwrap();
        for k in [0u64, 1, 13, 1000] {
            let want = poisson.ln_pmf(k);
            assert_close("poisson", density::poisson(k as u32, rate), want, 1e-12);
            assert_close("poisson_log", density::poisson_log(k as u32, rate.ln()), want, 1e-12);
        }
    }
    let p = [0.2, 0.5, 0.3];
    let logits = p.map(|p: f64| p.ln() + 7.0);
    for k in 0..3 {
        assert_close("categorical", density::categorical(k, &p), p[k].ln(), 1e-14);
        assert_close("categorical_logit", density::categorical_logit(k, &logits), p[k].ln(), 1e-14);
    }
    // 2 of 9 of the first kind, then 6 of the remaining 7 of the second
    let want = reference::Binomial::new(0.2, 9).unwrap().ln_pmf(2)
        + reference::Binomial::new(0.5 / 0.8, 7).unwrap().ln_pmf(6);
    assert_close("multinomial", density::multinomial(&[2u32, 6, 1], &p), want, 1e-12);
}

#[test]
fn discrete_probabilities_sum_to_one() {
    let total = |lp: &dyn Fn(u32) -> f64, most: u32| (0..=most).map(|k| lp(k).exp()).sum::<f64>();
    assert_close("binomial", total(&|k| density::binomial(k, 70, 0.31), 70), 1.0, 1e-13);
    assert_close(
        "binomial_logit",
        total(&|k| density::binomial_logit(k, 70, -0.9), 70),
        1.0,
        1e-13,
    );
    assert_close("poisson", total(&|k| density::poisson(k, 17.0), 120), 1.0, 1e-13);
    assert_close("poisson_log", total(&|k| density::poisson_log(k, 2.0), 100), 1.0, 1e-13);
    for dispersion in [0.4, 19.0, 21.0, 1e6] {
        // tail beyond 3000: below e^-100 for the first, nothing for the others
        let lp = |k| density::negative_binomial(k, 5.0, dispersion);
        assert_close("negative_binomial", total(&lp, 3000), 1.0, 1e-12);
    }
    let logits = [0.3, -2.0, 800.0, 799.0];
    let lp = |k: u32| density::categorical_logit(k as usize, &logits);
    assert_close("categorical_logit", total(&lp, 3), 1.0, 1e-13);
}

/// The integral of `e^lp` over the line by the tanh-sinh rule through `x = to(t)`, which converges
/// like `e^(-c / step)` for what is smooth inside its support.
fn mass(lp: impl Fn(f64) -> f64, to: impl Fn(f64) -> (f64, f64)) -> f64 {
    let step = 1.0 / 64.0;
    (-64 * 6..=64 * 6)
        .map(|k| {
            let (x, slope) = to(f64::from(k) * step);
            let term = lp(x).exp() * slope;
            if term.is_finite() { term * step } else { 0.0 }
        })
        .sum()
}

#[test]
fn continuous_densities_integrate_to_one() {
    use std::f64::consts::FRAC_PI_2;
    // all of R, the positive half, the unit interval
    let line = |t: f64| {
        let u = FRAC_PI_2 * t.sinh();
        (u.sinh(), u.cosh() * FRAC_PI_2 * t.cosh())
    };
    let half = |t: f64| {
        let x = (2.0 * t.sinh()).exp();
        (x, x * 2.0 * t.cosh())
    };
    let unit = |t: f64| {
        let u = FRAC_PI_2 * t.sinh();
        let x = (2.0 * u).sigmoid();
        (x, 2.0 * x * (-2.0 * u).sigmoid() * FRAC_PI_2 * t.cosh())
    };
    let tol = 1e-9;
    assert_close("normal", mass(|x| density::normal(x, 1.0, 2.0), line), 1.0, tol);
    assert_close("student_t", mass(|x| density::student_t(x, 2.5, 0.0, 2.0), line), 1.0, tol);
    assert_close("student_t", mass(|x| density::student_t(x, 80.0, 0.0, 2.0), line), 1.0, tol);
    assert_close("cauchy", mass(|x| density::cauchy(x, 0.5, 2.0), line), 1.0, tol);
    assert_close("laplace", mass(|x| density::laplace(x, 0.0, 2.0), half), 0.5, tol);
    assert_close("half_normal", mass(|x| density::half_normal(x, 2.0), half), 1.0, tol);
    assert_close("half_cauchy", mass(|x| density::half_cauchy(x, 2.0), half), 1.0, tol);
    assert_close("half_student_t", mass(|x| density::half_student_t(x, 4.0, 2.0), half), 1.0, tol);
    assert_close("log_normal", mass(|x| density::log_normal(x, 0.0, 1.0), half), 1.0, tol);
    assert_close("exponential", mass(|x| density::exponential(x, 2.0), half), 1.0, tol);
    assert_close("gamma", mass(|x| density::gamma(x, 2.5, 2.0), half), 1.0, tol);
    assert_close("inverse_gamma", mass(|x| density::inverse_gamma(x, 2.5, 2.0), half), 1.0, tol);
    assert_close("beta", mass(|x| density::beta(x, 2.5, 1.5), unit), 1.0, tol);
    // the correlation of two, and of a pair within three with the rest summed out by nesting
    let lkj = |r: f64| density::lkj_cholesky(&[1.0, r, (1.0 - r * r).sqrt()], 2.3);
    let both = |t: f64| {
        let (x, slope) = unit(t);
        (2.0 * x - 1.0, 2.0 * slope)
    };
    assert_close("lkj of two", mass(lkj, both), 1.0, tol);
    // three rows: sum over the disc of the last row and the interval of the second
    let radius = |s: f64| (1.0 - s * s).sqrt();
    let inner = |r: f64| {
        mass(
            |a| {
                mass(
                    |b| {
                        let (x, y) = (a, b * radius(a));
                        let rest = (radius(a) * radius(b)).max(0.0);
                        density::lkj_cholesky(&[1.0, r, radius(r), x, y, rest], 1.3)
                            + radius(a).ln()
                    },
                    both,
                )
                .ln()
            },
            both,
        )
    };
    // the rows are independent: the integral over the last is the same constant times the second
    let at = |r: f64| inner(r).ln();
    let power = 2.0 * (1.3 - 1.0) + 1.0;
    let flat = at(0.2) - power * radius(0.2).ln();
    assert_close("rows", at(-0.7) - power * radius(-0.7).ln(), flat, 1e-8);
    assert_close("lkj of three", mass(|r| flat + power * radius(r).ln(), both), 1.0, 1e-8);
}

#[test]
fn edges_and_outside() {
    assert_eq!(density::beta(0.0, 1.0, 1.0), 0.0);
    assert_eq!(density::beta(1.0, 1.0, 1.0), 0.0);
    assert_eq!(density::beta(0.0, 2.0, 1.0), NEVER);
    assert_eq!(density::beta(0.0, 0.5, 1.0), INFINITE);
    assert_eq!(density::beta(1.0, 0.5, 0.5), INFINITE);
    assert_eq!(density::beta(-0.1, 0.5, 0.5), NEVER);
    assert_eq!(density::beta(1.1, 0.5, 0.5), NEVER);
    assert_eq!(density::gamma(0.0, 1.0, 1.0), 0.0);
    assert_eq!(density::gamma(0.0, 2.0, 1.0), NEVER);
    assert_eq!(density::gamma(0.0, 0.5, 1.0), INFINITE);
    assert_eq!(density::gamma(-1.0, 0.5, 1.0), NEVER);
    assert_eq!(density::inverse_gamma(0.0, 2.0, 1.0), NEVER);
    assert_eq!(density::inverse_gamma(-1.0, 2.0, 1.0), NEVER);
    assert_eq!(density::log_normal(0.0, 0.0, 1.0), NEVER);
    assert_eq!(density::log_normal(-1.0, 0.0, 1.0), NEVER);
    assert_eq!(density::exponential(-1e-300, 1.0), NEVER);
    assert_eq!(density::exponential(0.0, 2.0), 2f64.ln());
    assert_eq!(density::half_normal(-1.0, 1.0), NEVER);
    assert_eq!(density::half_cauchy(-1.0, 1.0), NEVER);
    assert_eq!(density::half_student_t(-1.0, 3.0, 1.0), NEVER);
    assert_eq!(density::uniform(3.1, 1.0, 3.0), NEVER);
    assert_eq!(density::bernoulli(1, 0.0), NEVER);
    assert_eq!(density::bernoulli(1, 1.0), 0.0);
    assert_eq!(density::bernoulli(2, 0.5), NEVER);
    assert_eq!(density::bernoulli(0.5, 0.5), NEVER);
    assert_eq!(density::bernoulli(1, 1.5), NEVER);
    assert_eq!(density::bernoulli_logit(1, 700.0), 0.0 - (-700f64).exp());
    assert_eq!(density::bernoulli_logit(1, -700.0), -700.0);
    assert_eq!(density::binomial(41, 40, 0.5), NEVER);
    assert_eq!(density::binomial(-1, 40, 0.5), NEVER);
    assert_eq!(density::binomial(40, 40, 1.0), 0.0);
    assert_eq!(density::binomial_logit(40, 40, INFINITE), 0.0);
    assert_eq!(density::poisson(0, 0.0), 0.0);
    assert_eq!(density::poisson(3, 0.0), NEVER);
    assert_eq!(density::poisson(1.5, 1.0), NEVER);
    assert_eq!(density::poisson(1, -1.0), NEVER);
    assert_eq!(density::poisson_log(0, NEVER), 0.0);
    assert_eq!(density::negative_binomial(0, 0.0, 2.0), 0.0);
    assert_eq!(density::negative_binomial(2.5, 1.0, 2.0), NEVER);
    assert_eq!(density::categorical(3, &[0.2, 0.5, 0.3]), NEVER);
    assert_eq!(density::dirichlet(&[0.0, 1.0], &[1.0, 1.0]), 0.0);
    // far out
    assert_close(
        "student",
        density::student_t(1e300, 3.0, 0.0, 1.0),
        -4.0 * 1e300f64.ln() + {
            // c nu^2 with c = 2 / (pi sqrt 3)
            (2.0 / (std::f64::consts::PI * 3f64.sqrt())).ln() + 2.0 * 3f64.ln()
        },
        1e-12,
    );
    assert!(density::half_cauchy(1e300, 1.0) > -1400.0);
    let normal = density::normal(1.3, 0.2, 0.9);
    assert_close("dof", density::student_t(1.3, 1e14, 0.2, 0.9), normal, 1e-12);
    // what cannot be a parameter, and what is not a number, is not a number
    assert!(density::normal(0.0, 0.0, -1.0).is_nan());
    assert!(density::gamma(f64::NAN, 2.0, 1.0).is_nan());
    assert!(density::beta(f64::NAN, 2.0, 1.0).is_nan());
    assert!(density::gamma(1.0, -2.0, 1.0).is_nan());
    assert!(density::bernoulli(f64::NAN, 0.5).is_nan());
}

#[test]
fn the_vector_forms_are_sums() {
    let (y, mean, sd) = ([1.0, -2.0, 0.5], [0.3, 0.1, 0.0], [1.0, 2.0, 0.7]);
    let sum = |mean: &[f64], sd: &[f64]| -> f64 {
        (0..3).map(|i| density::normal(y[i], mean[i % mean.len()], sd[i % sd.len()])).sum()
    };
    for mean in [&mean[..], &mean[..1]] {
        for sd in [&sd[..], &sd[..1]] {
            assert_close("sum", density::normals_observed(&y, mean, sd), sum(mean, sd), 1e-14);
        }
    }
    assert_close("normals", density::normals(&y, 0.3, 1.0), sum(&[0.3], &[1.0]), 1e-14);
    assert_eq!(density::normals_observed(&[], &[1.0], &[1.0]), 0.0);
}

#[test]
fn multivariate_normal_by_matrix_algebra() {
    let covariance = [4.0, 1.0, 3.0, -0.5, 0.8, 2.0];
    let factor = density::cholesky(&covariance);
    let full = |l: &dyn Fn(usize, usize) -> f64| nalgebra::DMatrix::from_fn(3, 3, l);
    let at = |i: usize, j: usize| covariance[i.max(j) * (i.max(j) + 1) / 2 + i.min(j)];
    let matrix = full(&at);
    let l = full(&|i, j| if j <= i { factor[i * (i + 1) / 2 + j] } else { 0.0 });
    assert_close("L L'", (&l * l.transpose() - &matrix).norm(), 0.0, 1e-14);
    let (x, mean) = ([0.3, -1.0, 2.0], [0.0, 0.5, 1.0]);
    let off = nalgebra::DVector::from_iterator(3, (0..3).map(|i| x[i] - mean[i]));
    let inverse = matrix.clone().try_inverse().unwrap();
    let want = -0.5 * (off.transpose() * inverse * &off)[0]
        - 0.5 * (matrix * 2.0 * std::f64::consts::PI).determinant().ln();
    assert_close("log density", density::multivariate_normal(&x, &mean, &factor), want, 1e-14);
    assert!(density::cholesky(&[1.0, 2.0, 1.0])[2].is_nan());
    assert!(density::cholesky(&[1.0, 1.0, 1.0])[2].is_nan());
}

/// Gradient by both ways and Hessian product against central differences, at several points at once.
#[track_caller]
fn check_slopes(
    name: &str,
    plain: impl Fn(&[f64]) -> f64,
    dual: impl Fn(&[Dual]) -> Dual,
    recorded: impl Fn(&[Var]) -> Var,
    points: &[&[f64]],
) {
    let d = points[0].len();
    let mut space = Space::new();
    space.reals("z", d);
    let model = from_fn(space, recorded);
    let all = points.concat();
    let (mut out, mut grads) = (vec![0.0; points.len()], vec![0.0; all.len()]);
    model.log_joint_grad_batch(&all, &mut out, &mut grads, &mut []);
    for (k, &z) in points.iter().enumerate() {
        let what = format!("{name} at {z:?}");
        assert_close(&what, out[k], plain(z), 1e-13);
        let v: Vec<f64> = (0..d).map(|i| 1.0 - 0.7 * i as f64).collect();
        let (mut grad, mut product) = (vec![0.0; d], vec![0.0; d]);
        model.hess_vec(z, &v, &mut grad, &mut product);
        let (mut up, mut down) = (vec![0.0; d], vec![0.0; d]);
        // central differences err by h^2 times a third derivative of order 1 / z^3, and eps / h
        let moved = |i: usize, h: f64| -> Vec<f64> {
            z.iter().enumerate().map(|(j, &z)| if i == j { z + h } else { z }).collect()
        };
        for i in 0..d {
            let h = 1e-5 * z[i].abs().max(0.1);
            let slope = (plain(&moved(i, h)) - plain(&moved(i, -h))) / (2.0 * h);
            let mut watched: Vec<Dual> = z.iter().map(|&z| Dual::from(z)).collect();
            watched[i] = Dual::variable(z[i]);
            let forward = dual(&watched);
            assert_close(&format!("{what}: value"), forward.re, plain(z), 1e-14);
            assert_close(&format!("{what}: forward [{i}]"), forward.eps, slope, 1e-7);
            assert_close(&format!("{what}: reverse [{i}]"), grads[k * d + i], forward.eps, 1e-11);
            assert_close(&format!("{what}: again [{i}]"), grad[i], forward.eps, 1e-11);
            model.log_joint_grad(&moved(i, h), &mut up);
            model.log_joint_grad(&moved(i, -h), &mut down);
            // the row of the Hessian, times v
            let bend: f64 = (0..d).map(|j| (up[j] - down[j]) / (2.0 * h) * v[j]).sum();
            assert_close(&format!("{what}: Hessian [{i}]"), product[i], bend, 1e-6);
        }
    }
}

macro_rules! slopes {
    ($($z:ident => $formula:expr; $points:expr)*) => {
        #[test]
        fn slopes_are_those_of_the_densities() {
            $({
                fn formula<T: Real>($z: &[T]) -> T {
                    $formula
                }
                let points: &[&[f64]] = $points;
                check_slopes(stringify!($formula), formula, formula, formula, points);
            })*
        }
    };
}

slopes! {
    z => density::normal(z[0], z[1], z[2]); &[&[0.3, 1.0, 2.0], &[-4.0, 2.0, 0.5]]
    z => density::normals(&z[..2], z[2], z[3]); &[&[0.3, 1.0, 2.0, 0.7]]
    z => density::normals_observed(&[0.3, 1.1, -1.0], &[z[0]], &[z[1]]); &[&[0.3, 1.0]]
    z => density::normals_observed(&[0.3, 1.1], &z[..2], &[z[2]]); &[&[0.3, 1.0, 0.8]]
    z => density::normals_observed(&[0.3, 1.1], &[z[0]], &z[1..]); &[&[0.3, 1.0, 0.8]]
    z => density::student_t(z[0], z[1], z[2], z[3]);
        &[&[0.3, 2.5, 1.0, 0.8], &[40.0, 45.0, 1.0, 0.8], &[-300.0, 1.5, 1.0, 0.8]]
    z => density::cauchy(z[0], z[1], z[2]); &[&[0.3, 1.0, 0.8], &[900.0, 1.0, 0.8]]
    z => density::half_normal(z[0], z[1]); &[&[0.3, 1.0]]
    z => density::half_cauchy(z[0], z[1]); &[&[0.3, 1.0], &[30.0, 0.1]]
    z => density::half_student_t(z[0], z[1], z[2]); &[&[0.3, 1.0, 2.0]]
    z => density::log_normal(z[0], z[1], z[2]); &[&[0.3, 1.0, 2.0], &[20.0, 1.0, 0.5]]
    z => density::exponential(z[0], z[1]); &[&[0.3, 1.0]]
    z => density::gamma(z[0], z[1], z[2]); &[&[0.3, 1.0, 2.0], &[5.0, 0.4, 0.5], &[2.0, 30.0, 5.0]]
    z => density::inverse_gamma(z[0], z[1], z[2]); &[&[0.3, 1.0, 2.0], &[5.0, 3.0, 0.5]]
    z => density::beta(z[0], z[1], z[2]); &[&[0.3, 1.0, 2.0], &[0.9, 0.4, 30.0], &[0.5, 1.0, 1.0]]
    z => density::uniform(z[0], -1.0, 2.0); &[&[0.3]]
    z => density::laplace(z[0], z[1], z[2]); &[&[0.3, 1.0, 2.0], &[2.0, 1.0, 2.0]]
    z => density::bernoulli(1, z[0]) + density::bernoulli(0, z[1]); &[&[0.3, 0.2]]
    z => density::bernoulli_logit(1, z[0]) + density::bernoulli_logit(0, z[1]);
        &[&[0.3, 0.2], &[-700.0, 700.0], &[700.0, -700.0]]
    z => density::binomial(3, 10, z[0]) + density::binomial_logit(3, 10, z[1]); &[&[0.3, 2.0]]
    z => density::poisson(3, z[0]) + density::poisson_log(3, z[1]); &[&[0.3, 2.0]]
    z => density::negative_binomial(3, z[0], z[1]); &[&[0.3, 2.0], &[4.0, 25.0], &[7.0, 500.0]]
    z => density::categorical(1, z); &[&[0.3, 0.2, 0.5]]
    z => density::categorical_logit(1, z); &[&[0.3, 0.2, -1.0], &[900.0, 0.2, -1.0]]
    z => density::dirichlet(&z[..3], &z[3..]); &[&[0.3, 0.2, 0.5, 1.0, 2.0, 30.0]]
    z => density::multinomial(&[1, 0, 4], z); &[&[0.3, 0.2, 0.5]]
    z => density::lkj_cholesky(z, 2.0); &[&[1.0, 0.6, 0.8, 0.1, 0.3, 0.9486832980505138]]
    z => density::lkj_cholesky(&[T::from(1.0), z[0], z[1]], z[2]); &[&[0.6, 0.8, 1.7]]
    z => density::multivariate_normal(&z[..2], &z[2..4], &z[4..]);
        &[&[0.3, 0.2, 0.5, -0.4, 2.0, 0.5, 1.3]]
    z => density::multivariate_normal(&z[..2], &[T::from(0.0); 2], &density::cholesky(&z[2..]));
        &[&[0.3, 0.2, 2.0, 0.5, 1.3]]
    z => density::mixture_of(&z[..2], &[density::normal(z[2], 0.0, 1.0), density::cauchy(z[2], 4.0, 1.0)]);
        &[&[0.3, 0.7, 2.0], &[0.3, 0.7, -9.0]]
}

#[test]
fn nothing_flows_back_from_outside_but_no_numbers_are_lost() {
    // one draw outside in a batch must not spoil its neighbours, and has no NaN of its own
    let mut space = Space::new();
    let (x, a) = (space.real("x"), space.real("a"));
    let model = from_fn(space, move |z| {
        density::gamma(z[x], z[a], 1.0)
            + density::beta(z[x], z[a], 2.0)
            + density::log_normal(z[x], 0.0, z[a])
    });
    let z = [0.5, 1.5, -0.5, 1.5, 0.0, 1.5, 0.25, 1.5];
    let (mut out, mut grad) = ([0.0; 4], [0.0; 8]);
    model.log_joint_grad_batch(&z, &mut out, &mut grad, &mut []);
    assert!(out[0].is_finite() && out[3].is_finite());
    assert_eq!(out[1..3], [NEVER, NEVER]);
    assert!(grad.iter().all(|g| g.is_finite()), "{grad:?}");
    let mut alone = [0.0; 2];
    assert_eq!(model.log_joint_grad(&z[6..], &mut alone), out[3]);
    assert_all_close("alone", &grad[6..], &alone, 1e-15);
    assert_eq!(model.log_joint(&z[..2]), out[0]);
}
