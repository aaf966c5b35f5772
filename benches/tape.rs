//! What a recorded formula costs against the same formula written out by hand, gradient and all.
//!
//! `cargo bench --bench tape`
//!
//! Three models, each recorded from scalar densities in loops, and by hand over all draws at once,
//! compiled for the widest registers of the machine. Both are run in turn; the smallest times count.

use std::hint::black_box;
use std::time::Instant;

use elbo::{Differentiable, Model, Space, Var, density, from_fn};
use pulp::{Arch, Simd, WithSimd};

const DRAWS: usize = 10;
const GROUPS: usize = 190;
const ROWS: usize = 8;

const EFFECT: [f64; 8] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
const SD: [f64; 8] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];

/// Rows `(group, x, y)` and outcomes.
struct Data {
    rows: Vec<(usize, f64, f64)>,
    outcome: Vec<bool>,
}

/// `mu`, `log tau`, `eta`; points coordinate by coordinate (`dim x DRAWS`), so that draws lie side by
/// side in registers.
#[inline(always)]
fn schools_by_hand(
    _: &Data,
    z: &[[f64; DRAWS]],
    out: &mut [f64; DRAWS],
    grad: &mut [[f64; DRAWS]],
) {
    let mut tau = [0.0; DRAWS];
    let mut grad_tau = [0.0; DRAWS];
    for l in 0..DRAWS {
        let mu = z[0][l];
        tau[l] = z[1][l].exp();
        let square = tau[l] * tau[l] / 25.0;
        out[l] = -mu * mu / 50.0 - square.ln_1p() + z[1][l];
        grad[0][l] = -mu / 25.0;
        grad_tau[l] = -2.0 * tau[l] / 25.0 / (1.0 + square);
    }
    for j in 0..8 {
        let (inverse, y) = (1.0 / SD[j], EFFECT[j]);
        for l in 0..DRAWS {
            let eta = z[2 + j][l];
            let off = (y - z[0][l] - tau[l] * eta) * inverse;
            let pull = off * inverse;
            out[l] -= 0.5 * (eta * eta + off * off);
            grad[0][l] += pull;
            grad_tau[l] += pull * eta;
            grad[2 + j][l] = pull * tau[l] - eta;
        }
    }
    for l in 0..DRAWS {
        grad[1][l] = grad_tau[l] * tau[l] + 1.0;
    }
}

/// `alpha` (one a group), `beta`, `mu`, `log tau`, `log sigma`: the part that both models share.
#[inline(always)]
fn groups_by_hand(
    z: &[[f64; DRAWS]],
    out: &mut [f64; DRAWS],
    grad: &mut [[f64; DRAWS]],
    mu: usize,
    log_tau: usize,
) {
    let mut inverse = [0.0; DRAWS];
    let (mut squares, mut sums) = ([0.0; DRAWS], [0.0; DRAWS]);
    for l in 0..DRAWS {
        inverse[l] = (-2.0 * z[log_tau][l]).exp();
    }
    for g in 0..GROUPS {
        for l in 0..DRAWS {
            let off = z[g][l] - z[mu][l];
            squares[l] += off * off;
            sums[l] += off;
            grad[g][l] -= off * inverse[l];
        }
    }
    for l in 0..DRAWS {
        let tau = z[log_tau][l].exp();
        let square = tau * tau;
        out[l] += -0.5 * squares[l] * inverse[l] - GROUPS as f64 * z[log_tau][l];
        out[l] += z[log_tau][l] - 0.5 * square - 0.005 * z[mu][l] * z[mu][l];
        grad[mu][l] = sums[l] * inverse[l] - 0.01 * z[mu][l];
        grad[log_tau][l] = squares[l] * inverse[l] - GROUPS as f64 + 1.0 - square;
    }
}

#[inline(always)]
fn radon_by_hand(
    data: &Data,
    z: &[[f64; DRAWS]],
    out: &mut [f64; DRAWS],
    grad: &mut [[f64; DRAWS]],
) {
    let (beta, mu, log_tau, log_sigma) = (GROUPS, GROUPS + 1, GROUPS + 2, GROUPS + 3);
    let n = data.rows.len() as f64;
    let mut inverse = [0.0; DRAWS];
    let (mut squares, mut slope) = ([0.0; DRAWS], [0.0; DRAWS]);
    for l in 0..DRAWS {
        inverse[l] = (-2.0 * z[log_sigma][l]).exp();
    }
    grad[..GROUPS].fill([0.0; DRAWS]);
    for &(g, x, y) in &data.rows {
        for l in 0..DRAWS {
            let off = y - z[g][l] - z[beta][l] * x;
            squares[l] += off * off;
            slope[l] += off * x;
            grad[g][l] += off * inverse[l];
        }
    }
    for l in 0..DRAWS {
        let square = (2.0 * z[log_sigma][l]).exp();
        out[l] = -0.5 * squares[l] * inverse[l] - n * z[log_sigma][l];
        out[l] += z[log_sigma][l] - 0.5 * square - 0.005 * z[beta][l] * z[beta][l];
        grad[beta][l] = slope[l] * inverse[l] - 0.01 * z[beta][l];
        grad[log_sigma][l] = squares[l] * inverse[l] - n + 1.0 - square;
    }
    groups_by_hand(z, out, grad, mu, log_tau);
}

#[inline(always)]
fn logistic_by_hand(
    data: &Data,
    z: &[[f64; DRAWS]],
    out: &mut [f64; DRAWS],
    grad: &mut [[f64; DRAWS]],
) {
    let (beta, mu, log_tau) = (GROUPS, GROUPS + 1, GROUPS + 2);
    let (mut total, mut slope) = ([0.0; DRAWS], [0.0; DRAWS]);
    grad[..GROUPS].fill([0.0; DRAWS]);
    for (&(g, x, _), &y) in data.rows.iter().zip(&data.outcome) {
        let y = f64::from(y);
        for l in 0..DRAWS {
            let eta = z[g][l] + z[beta][l] * x;
            let e = (-eta.abs()).exp();
            let p = if eta >= 0.0 { 1.0 } else { e } / (1.0 + e);
            total[l] += y * eta - eta.max(0.0) - e.ln_1p();
            slope[l] += (y - p) * x;
            grad[g][l] += y - p;
        }
    }
    for l in 0..DRAWS {
        out[l] = total[l] - 0.005 * z[beta][l] * z[beta][l];
        grad[beta][l] = slope[l] - 0.01 * z[beta][l];
    }
    groups_by_hand(z, out, grad, mu, log_tau);
}

#[derive(Default)]
struct Room {
    z: Vec<[f64; DRAWS]>,
    grad: Vec<[f64; DRAWS]>,
    out: [f64; DRAWS],
    gradient: Vec<f64>,
}

/// A kernel on the registers of this machine, from points that stand one after another.
struct Inlined<'a, K>(K, &'a Data, &'a [f64], &'a mut Room);

impl<K: Fn(&Data, &[[f64; DRAWS]], &mut [f64; DRAWS], &mut [[f64; DRAWS]])> WithSimd
    for Inlined<'_, K>
{
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Inlined(kernel, data, z, room) = self;
        let d = z.len() / DRAWS;
        room.z.resize(d, [0.0; DRAWS]);
        room.grad.resize(d, [0.0; DRAWS]);
        room.gradient.resize(z.len(), 0.0);
        for (l, z) in z.chunks_exact(d).enumerate() {
            room.z.iter_mut().zip(z).for_each(|(to, z)| to[l] = *z);
        }
        kernel(data, &room.z, &mut room.out, &mut room.grad);
        for (l, g) in room.gradient.chunks_exact_mut(d).enumerate() {
            g.iter_mut().zip(&room.grad).for_each(|(to, g)| *to = g[l]);
        }
    }
}

/// Smallest nanoseconds a call, of two things run in turn.
fn in_turn(mut a: impl FnMut(), mut b: impl FnMut()) -> (f64, f64) {
    let mut best = (f64::INFINITY, f64::INFINITY);
    let time = |f: &mut dyn FnMut(), calls: usize| {
        let begun = Instant::now();
        (0..calls).for_each(|_| f());
        begun.elapsed().as_secs_f64() * 1e9 / calls as f64
    };
    let calls = (2e5 / time(&mut a, 20)).ceil().max(1.0) as usize;
    for _ in 0..300 {
        best.0 = f64::min(best.0, time(&mut a, calls));
        best.1 = f64::min(best.1, time(&mut b, calls));
    }
    best
}

fn compare<K>(name: &str, model: &impl Differentiable, data: &Data, kernel: K)
where
    K: Fn(&Data, &[[f64; DRAWS]], &mut [f64; DRAWS], &mut [[f64; DRAWS]]) + Copy,
{
    let d = model.dim();
    // between -1 and 1, no two alike
    let z: Vec<f64> = (0..d * DRAWS).map(|i| ((i * 7919) % 2003) as f64 / 1001.5 - 1.0).collect();
    let (mut out, mut grad) = ([0.0; DRAWS], vec![0.0; d * DRAWS]);
    let mut room = Room::default();
    let arch = Arch::new();
    model.log_joint_grad_batch(&z, &mut out, &mut grad, &mut []);
    arch.dispatch(Inlined(kernel, data, &z, &mut room));
    // Values differ by constants, gradients by nothing.
    for (g, h) in grad.iter().zip(&room.gradient) {
        assert!((g - h).abs() < 1e-9 * (1.0 + g.abs()), "{name}: gradients {g} and {h}");
    }
    for l in 1..DRAWS {
        let (a, b) = (out[l] - out[0], room.out[l] - room.out[0]);
        assert!((a - b).abs() < 1e-9 * (1.0 + out[0].abs()), "{name}: values {a} and {b}");
    }
    let (tape, hand) = in_turn(
        || model.log_joint_grad_batch(black_box(&z), &mut out, &mut grad, &mut []),
        || arch.dispatch(Inlined(kernel, data, black_box(&z), &mut room)),
    );
    let mut alone = vec![0.0; d * DRAWS];
    let mut values = [0.0; DRAWS];
    let (gradient, value) = in_turn(
        || model.grad_batch(black_box(&z), DRAWS, &mut alone, &mut []),
        || model.log_joint_batch(black_box(&z), &mut values),
    );
    println!(
        "{name:12} {d:4} {tape:10.0} {hand:10.0} {:8.2} {gradient:10.0} {value:10.0}",
        tape / hand
    );
}

fn main() {
    let mut rows = Vec::new();
    for g in 0..GROUPS {
        for i in 0..ROWS {
            let x = ((g * 31 + i * 17) % 23) as f64 / 11.0 - 1.0;
            let y = ((g * 13 + i * 29) % 37) as f64 / 18.0 - 1.0;
            rows.push((g, x, y));
        }
    }
    let outcome = rows.iter().map(|r| r.2 > 0.0).collect();
    let data = Data { rows, outcome };
    println!("value and gradient at {DRAWS} draws, ns a call");
    println!(
        "{:12} {:>4} {:>10} {:>10} {:>8} {:>10} {:>10}",
        "model", "dim", "recorded", "by hand", "ratio", "gradient", "value"
    );

    let mut space = Space::new();
    let (mu, tau, eta) = (space.real("mu"), space.positive("tau"), space.reals("eta", 8));
    let schools = from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
        for (j, &eta) in z[eta].iter().enumerate() {
            lp += density::normal(eta, 0.0, 1.0);
            lp += density::normal(Var::from(EFFECT[j]), z[mu] + z[tau] * eta, SD[j]);
        }
        lp
    })
    .unconstrained();
    compare("schools", &schools, &data, schools_by_hand);

    let mut space = Space::new();
    let alpha = space.reals("alpha", GROUPS);
    let (beta, mu) = (space.real("beta"), space.real("mu"));
    let (tau, sigma) = (space.positive("tau"), space.positive("sigma"));
    let rows = data.rows.clone();
    let radon = from_fn(space, move |z| {
        let mut lp = density::normal(z[beta], 0.0, 10.0) + density::normal(z[mu], 0.0, 10.0);
        lp += density::half_normal(z[tau], 1.0) + density::half_normal(z[sigma], 1.0);
        for &alpha in &z[alpha] {
            lp += density::normal(alpha, z[mu], z[tau]);
        }
        for &(g, x, y) in &rows {
            lp += density::normal(Var::from(y), z[alpha][g] + z[beta] * x, z[sigma]);
        }
        lp
    })
    .unconstrained();
    compare("radon", &radon, &data, radon_by_hand);

    let mut space = Space::new();
    let alpha = space.reals("alpha", GROUPS);
    let (beta, mu, tau) = (space.real("beta"), space.real("mu"), space.positive("tau"));
    let (rows, outcome) = (data.rows.clone(), data.outcome.clone());
    let logistic = from_fn(space, move |z| {
        let mut lp = density::normal(z[beta], 0.0, 10.0) + density::normal(z[mu], 0.0, 10.0);
        lp += density::half_normal(z[tau], 1.0);
        for &alpha in &z[alpha] {
            lp += density::normal(alpha, z[mu], z[tau]);
        }
        for (&(g, x, _), &y) in rows.iter().zip(&outcome) {
            lp += density::bernoulli_logit(y, z[alpha][g] + z[beta] * x);
        }
        lp
    })
    .unconstrained();
    compare("logistic", &logistic, &data, logistic_by_hand);
}
