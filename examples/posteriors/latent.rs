//! Mixtures and hidden Markov chains, their states summed out.

use elbo::{Error, Real, Space, Support, Var, density};

use super::case::{Case, Data};

/// Two normal components.
pub fn low_dim_gauss_mix(data: &Data) -> Result<Case, Error> {
    let y = data.numbers("y");
    let mut space = Space::new();
    let (mu, sigma) = (space.block("mu", 2, Support::Ordered), space.positives("sigma", 2));
    let theta = space.unit("theta");
    Ok(Case::new(space, move |z| {
        let mut lp = density::beta(z[theta], 5.0, 5.0);
        for k in 0..2 {
            lp += density::normal(z[mu][k], 0.0, 2.0) + density::half_normal(z[sigma][k], 2.0);
        }
        let log_weight = [z[theta].ln(), (-z[theta]).ln_1p()];
        for &y in &y {
            let component = |k: usize| density::normal(Var::from(y), z[mu][k], z[sigma][k]);
            lp += density::mixture(&log_weight, &[component(0), component(1)]);
        }
        lp
    }))
}

/// A chain of two states, each seen through a normal.
pub fn hmm_example(data: &Data) -> Result<Case, Error> {
    let y = data.numbers("y");
    let mut space = Space::new();
    let theta1 = space.block("theta1", 2, Support::Simplex);
    let theta2 = space.block("theta2", 2, Support::Simplex);
    let mu = space.block("mu", 2, Support::PositiveOrdered);
    Ok(Case::new(space, move |z| {
        density::normal(z[mu][0], 3.0, 1.0)
            + density::normal(z[mu][1], 10.0, 1.0)
            + forward([&z[theta1], &z[theta2]], y.len(), |t, k| {
                density::normal(Var::from(y[t]), z[mu][k], 1.0)
            })
    }))
}

/// A drive in basketball: a chain of two states, seen through speed and distance.
pub fn hmm_drive_0(data: &Data) -> Result<Case, Error> {
    let (u, v, weights) = (data.numbers("u"), data.numbers("v"), data.rows("alpha"));
    let mut space = Space::new();
    let theta1 = space.block("theta1", 2, Support::Simplex);
    let theta2 = space.block("theta2", 2, Support::Simplex);
    let phi = space.block("phi", 2, Support::PositiveOrdered);
    let lambda = space.block("lambda", 2, Support::PositiveOrdered);
    Ok(Case::new(space, move |z| {
        let mut lp = density::dirichlet(&z[theta1], &weights[0]);
        lp += density::dirichlet(&z[theta2], &weights[1]);
        for rate in [&z[phi], &z[lambda]] {
            lp += density::normal(rate[0], 0.0, 1.0) + density::normal(rate[1], 3.0, 1.0);
        }
        lp + forward([&z[theta1], &z[theta2]], u.len(), |t, k| {
            density::exponential(Var::from(u[t]), z[phi][k])
                + density::exponential(Var::from(v[t]), z[lambda][k])
        })
    }))
}

/// `log p(y)` of a chain of two states by the forward recursion, with weight 1 on each state at the
/// start; row `j` of `transition` says where state `j` goes.
fn forward(transition: [&[Var]; 2], len: usize, emission: impl Fn(usize, usize) -> Var) -> Var {
    let log_transition = transition.map(|row| [row[0].ln(), row[1].ln()]);
    let mut log_alpha = [emission(0, 0), emission(0, 1)];
    for t in 1..len {
        log_alpha = [0, 1].map(|k| {
            let from = |j: usize| log_alpha[j] + log_transition[j][k];
            Var::log_sum_exp(&[from(0), from(1)]) + emission(t, k)
        });
    }
    Var::log_sum_exp(&log_alpha)
}
