//! How likely was damage to the rings of the Challenger at the temperature of its last launch? A
//! regression written three ways, fitted, and compared with quadrature.

mod book;

use book::{Figure, grid, integrate};
use elbo::data::CHALLENGER;
use elbo::diagnostics::{psis, quadrature};
use elbo::{
    Autodiff, DifferencedHessian, Differentiable, Draws, Error, Family, LogJoint, Model, Real,
    Space, Verdict, check_model, density, from_fn, infer,
};

/// Tens of degrees above 70, so that both coefficients are of the size of one.
fn warmth(fahrenheit: f64) -> f64 {
    (fahrenheit - 70.0) / 10.0
}

/// The temperature forecast for the launch of 28 January 1986.
const COLD: f64 = 31.0;

fn main() -> Result<(), Error> {
    println!("How likely was damage to a ring at {COLD} degrees Fahrenheit?");
    // ANCHOR: model
    let mut space = Space::new();
    let (level, slope) = (space.real("level"), space.real("slope"));
    let model = from_fn(space, move |z| {
        let mut lp = density::normal(z[level], 0.0, 2.5) + density::normal(z[slope], 0.0, 2.5);
        for launch in &CHALLENGER {
            let log_odds = z[level] + z[slope] * warmth(launch.fahrenheit);
            lp += log_odds * f64::from(launch.distress) - log_odds.softplus();
        }
        lp
    });
    // ANCHOR_END: model
    same_three_ways(&model)?;

    // ANCHOR: fit
    let posterior = infer(model.clone())?;
    println!("{posterior}");
    posterior.require(Verdict::UseWithCare)?;
    // ANCHOR_END: fit
    // ANCHOR: family
    // a normal in two dimensions: two means, three entries of a triangle
    assert_eq!(posterior.q.n_params(), 5);
    // ANCHOR_END: family

    // ANCHOR: exact
    let exact = quadrature(&model)?;
    for (i, row) in posterior.summary()?.rows.iter().enumerate() {
        let weighted = row.correction.expect("the report weighs its draws");
        let off = (row.mean - exact.mean[i]) / exact.sd[i]
            + weighted.shift * weighted.sd_ratio * row.sd / exact.sd[i];
        assert!(off.abs() < 4.0 * weighted.shift_mcse, "{}: {off}", row.name);
        let ratio = (row.sd * weighted.sd_ratio / exact.sd[i]).ln();
        assert!(ratio.abs() < 4.0 * weighted.log_sd_mcse, "{}: {ratio}", row.name);
    }
    // ANCHOR_END: exact

    // ANCHOR: predict
    let risk = |z: &[f64], fahrenheit| (z[level] + z[slope] * warmth(fahrenheit)).sigmoid();
    let mut draws = posterior.draws(20_000, 1)?;
    draws.derive("risk", |z| risk(z, COLD));
    let table = draws.summary();
    let cold = table.row("risk")?;
    println!(
        "risk at {COLD} F: {:.2}, 90 % between {:.2} and {:.2}",
        cold.mean, cold.q05, cold.q95
    );
    // ANCHOR_END: predict

    // ANCHOR: weigh
    let ratios: Vec<f64> =
        draws.rows().map(|z| model.log_joint(z) - posterior.q.log_prob(z)).collect();
    let weights = psis(&ratios)?.weights();
    // ANCHOR_END: weigh
    let truth = Exact::new(&exact.mean, &exact.sd);
    for fahrenheit in [COLD, 45.0, 60.0, 75.0] {
        // ANCHOR: claim
        let values: Vec<f64> = draws.rows().map(|z| risk(z, fahrenheit)).collect();
        let mean: f64 = values.iter().zip(&weights).map(|(f, w)| f * w).sum();
        let error = |(f, w): (&f64, &f64)| (w * (f - mean)).powi(2);
        let se = values.iter().zip(&weights).map(error).sum::<f64>().sqrt();
        assert!((mean - truth.risk(fahrenheit)).abs() < 4.0 * se, "at {fahrenheit}: {mean}");
        // ANCHOR_END: claim
    }

    let unused = forgotten_prior();
    println!("{}", unused.lines().next().unwrap_or_default());
    jacobian();
    draw(&draws, risk, &truth)?;
    println!("OK: three ways to one gradient, and fit and predictions agree with quadrature");
    Ok(())
}

// ANCHOR: log_joint
struct Rings;

impl LogJoint for Rings {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("level");
        space.real("slope");
        space
    }
    fn log_joint<T: Real>(&self, z: &[T]) -> T {
        let (level, slope) = (z[0], z[1]);
        let row = |l: &elbo::data::Launch| {
            let log_odds = level + slope * warmth(l.fahrenheit);
            log_odds * f64::from(l.distress) - log_odds.softplus()
        };
        density::normal(level, 0.0, 2.5)
            + density::normal(slope, 0.0, 2.5)
            + CHALLENGER.iter().map(row).sum::<T>()
    }
}
// ANCHOR_END: log_joint

// ANCHOR: by_hand
struct ByHand;

impl Model for ByHand {
    fn space(&self) -> Space {
        LogJoint::space(&Rings)
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        LogJoint::log_joint(&Rings, z)
    }
}

impl Differentiable for ByHand {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        grad.copy_from_slice(&[-z[0] / 6.25, -z[1] / 6.25]);
        for launch in &CHALLENGER {
            let x = warmth(launch.fahrenheit);
            let surprise = f64::from(launch.distress) - (z[0] + z[1] * x).sigmoid();
            grad[0] += surprise;
            grad[1] += surprise * x;
        }
        self.log_joint(z)
    }
}
// ANCHOR_END: by_hand

fn same_three_ways(closure: &impl Differentiable) -> Result<(), Error> {
    // ANCHOR: gradients
    let recorded = Autodiff::new(Rings);
    for z in [[0.0, 0.0], [-1.0, -2.3], [3.0, 1.0], [-20.0, 8.0]] {
        let mut grads = [[0.0; 2]; 3];
        closure.log_joint_grad(&z, &mut grads[0]);
        recorded.log_joint_grad(&z, &mut grads[1]);
        ByHand.log_joint_grad(&z, &mut grads[2]);
        for i in 0..2 {
            let size = 1.0 + grads[0][i].abs();
            assert!((grads[0][i] - grads[1][i]).abs() < 1e-12 * size);
            assert!((grads[0][i] - grads[2][i]).abs() < 1e-12 * size);
            // the slope of a short chord; its error is near the square of the step
            let step = f64::EPSILON.cbrt() * (1.0 + z[i].abs());
            let (mut low, mut high) = (z, z);
            (low[i], high[i]) = (z[i] - step, z[i] + step);
            let chord = (ByHand.log_joint(&high) - ByHand.log_joint(&low)) / (high[i] - low[i]);
            assert!((chord - grads[0][i]).abs() < 1e-6 * size, "{chord} {}", grads[0][i]);
        }
    }
    // ANCHOR_END: gradients
    // ANCHOR: check_model
    let report = check_model(&ByHand);
    assert!(report.passed(), "{report}");
    // ANCHOR_END: check_model
    println!("{report}");
    // ANCHOR: fused
    let x: Vec<f64> = CHALLENGER.iter().flat_map(|l| [1.0, warmth(l.fahrenheit)]).collect();
    let y: Vec<bool> = CHALLENGER.iter().map(|l| l.distress).collect();
    let likelihood = density::glm::bernoulli_logit(&x, 2, &y)?;
    let mut space = Space::new();
    let beta = space.reals("beta", 2);
    let fused = from_fn(space, move |z| {
        density::normals(&z[beta], 0.0, 2.5) + likelihood.log_prob(&z[beta])
    });
    assert!((fused.log_joint(&[-1.0, -2.3]) - ByHand.log_joint(&[-1.0, -2.3])).abs() < 1e-12);
    // ANCHOR_END: fused
    // ANCHOR: fit_by_hand
    let (one, other) = (infer(recorded)?, infer(DifferencedHessian::new(ByHand))?);
    let (one, other) = (one.row("slope")?, other.row("slope")?);
    assert!((one.mean - other.mean).abs() < 4.0 * one.mcse.hypot(other.mcse));
    // ANCHOR_END: fit_by_hand
    Ok(())
}

/// The error where a coordinate is declared and then not used.
fn forgotten_prior() -> String {
    // ANCHOR: unused
    let mut space = Space::new();
    let (level, _slope) = (space.real("level"), space.real("slope"));
    let model = from_fn(space, move |z| density::normal(z[level], 0.0, 2.5));
    let error = infer(model).expect_err("slope has no prior");
    assert_eq!(error.code(), "E08");
    // ANCHOR_END: unused
    error.to_string()
}

// ANCHOR: exact_risk
/// The posterior on a grid of 161 x 161 points, eight standard deviations to each side, by code that
/// shares nothing with the library.
struct Exact {
    points: Vec<[f64; 3]>,
}

impl Exact {
    fn new(mean: &[f64], sd: &[f64]) -> Exact {
        let axis = |i: usize| grid(mean[i] - 8.0 * sd[i], mean[i] + 8.0 * sd[i], 161);
        let mut points = Vec::new();
        for a in axis(0) {
            for b in axis(1) {
                let mut p = (-(a * a + b * b) / 12.5).exp();
                for l in &CHALLENGER {
                    let odds = (a + b * (l.fahrenheit - 70.0) / 10.0).exp();
                    p *= if l.distress { odds / (1.0 + odds) } else { 1.0 / (1.0 + odds) };
                }
                points.push([a, b, p]);
            }
        }
        let total: f64 = points.iter().map(|p| p[2]).sum();
        points.iter_mut().for_each(|p| p[2] /= total);
        Exact { points }
    }

    fn risk(&self, fahrenheit: f64) -> f64 {
        let risk = |a: f64, b: f64| 1.0 / (1.0 + (-a - b * (fahrenheit - 70.0) / 10.0).exp());
        self.points.iter().map(|[a, b, p]| p * risk(*a, *b)).sum()
    }
}
// ANCHOR_END: exact_risk

// ANCHOR: jacobian
/// The posterior mean of sigma after `n` measurements of N(0, sigma) whose squares sum to `n`, with
/// every positive sigma equally likely at first.
fn mean_sigma(n: f64, with_jacobian: bool) -> f64 {
    let mut space = Space::new();
    let log_sigma = space.real("log_sigma");
    let model = from_fn(space, move |z| {
        let u = z[log_sigma];
        let log_likelihood = u * -n - (u * -2.0).exp() * (0.5 * n);
        if with_jacobian { log_likelihood + u } else { log_likelihood }
    });
    let weight = |u: f64| model.log_joint(&[u]).exp();
    let sum = |f: &dyn Fn(f64) -> f64| integrate(-4.0, 45.0, 4901, f);
    sum(&|u| u.exp() * weight(u)) / sum(&weight)
}
// ANCHOR_END: jacobian

fn jacobian() {
    let mut rows = String::from(
        "| measurements | $\\E[\\sigma]$ | without the Jacobian | off by |\n|---|---|---|---|",
    );
    for n in [3.0, 5.0, 20.0, 100.0] {
        // ANCHOR: closed
        let gamma = |x: f64| x.log_gamma();
        let closed = |n: f64, m: f64| {
            (n / 2.0).sqrt() * (gamma((m - 2.0) / 2.0) - gamma((m - 1.0) / 2.0)).exp()
        };
        let (right, wrong) = (mean_sigma(n, true), mean_sigma(n, false));
        assert!((right / closed(n, n) - 1.0).abs() < 1e-9);
        assert!((wrong / closed(n, n + 1.0) - 1.0).abs() < 1e-9); // as if one more had been measured
        // ANCHOR_END: closed
        let off = 100.0 * (1.0 - wrong / right);
        rows += &format!("\n| {n} | {right:.4} | {wrong:.4} | {off:.1} % |");
    }
    // ANCHOR: positive
    let mut space = Space::new();
    let sigma = space.positive("sigma");
    let model = from_fn(space, move |z| -(z[sigma].ln() * 3.0) - z[sigma].square().recip() * 1.5);
    let moved = model.unconstrained();
    for u in [-0.5, 0.0, 2.0_f64] {
        let by_hand = -3.0 * u - 1.5 * (-2.0 * u).exp() + u;
        assert!((moved.log_joint(&[u]) - by_hand).abs() < 1e-12);
    }
    // ANCHOR_END: positive
    assert!(mean_sigma(3.0, true) > 1.5 * mean_sigma(3.0, false));
    println!(
        "sigma from 3 points: {:.3}; without the Jacobian {:.3}",
        mean_sigma(3.0, true),
        mean_sigma(3.0, false)
    );
    book::fragment("logistic", &rows);
    let sigma = grid(0.2, 6.0, 117);
    let density = |power: f64| -> Vec<f64> {
        let raw = |u: f64| (-power * u - 1.5 * (-2.0 * u).exp()).exp();
        let total = integrate(-4.0, 45.0, 4901, |u| raw(u) * u.exp());
        sigma.iter().map(|s| raw(s.ln()) / total).collect()
    };
    Figure::new("What three measurements say about their spread")
        .axes("sigma", "posterior density")
        .line("with the Jacobian", &sigma, &density(3.0))
        .colour(1)
        .line("without", &sigma, &density(4.0))
        .colour(6)
        .save_or_check("logistic_jacobian");
}

fn draw(draws: &Draws, risk: impl Fn(&[f64], f64) -> f64, exact: &Exact) -> Result<(), Error> {
    let at = grid(30.0, 85.0, 56);
    let mut bands = draws.clone();
    for f in &at {
        bands.derive(&f.to_string(), |z| risk(z, *f));
    }
    let table = bands.summary();
    let rows = at.iter().map(|f| table.row(&f.to_string())).collect::<Result<Vec<_>, _>>()?;
    let column =
        |f: &dyn Fn(&elbo::diagnostics::Row) -> f64| rows.iter().map(|r| f(r)).collect::<Vec<_>>();
    let truth: Vec<f64> = at.iter().map(|f| exact.risk(*f)).collect();
    let (x, y): (Vec<f64>, Vec<f64>) =
        CHALLENGER.iter().map(|l| (l.fahrenheit, f64::from(l.distress))).unzip();
    Figure::new("Risk of damage to a ring, by temperature")
        .axes("degrees Fahrenheit", "probability")
        .y_from(-0.05, 1.05)
        .band("90 % interval", &at, &column(&|r| r.q05), &column(&|r| r.q95))
        .colour(1)
        .line("mean", &at, &column(&|r| r.mean))
        .colour(1)
        .dashed("exact mean", &at, &truth)
        .colour(6)
        .points("23 launches", &x, &y)
        .colour(3)
        .save_or_check("logistic");
    Ok(())
}
