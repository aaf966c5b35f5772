//! `Beta`: the laws, path gradients at shapes of every size, exact divergences.

use crate::family::{
    SLOPE, divergence, family, message, params, reparameterized, saved, scored, slopes, smooth,
    transported, with_params,
};
use crate::support::{assert_all_close, assert_close, exact_cases, numbers};
use elbo::{Beta, Divergence, Family, Purpose, Reparameterized, Scored, stream};

#[test]
fn beta() {
    let q = Beta::uniform(2);
    family(&q);
    saved(&q);
    scored(&q);
    reparameterized(&q);
    transported(&q);
    smooth(&q);
    divergence(&q);
}

/// Paths and scores at shapes far from 1.
#[test]
fn beta_of_every_size() {
    let shapes = [0.05, 0.3, 5.0, 200.0];
    for a in shapes {
        let q = Beta::new(&[a; 4], &shapes).expect("shapes");
        let mut eps = vec![0.0; 4 * 6];
        q.draw_noise(&mut stream(1, Purpose::Data, 0), &mut eps);
        let (mut z, mut log_q, mut paths) = (vec![0.0; 24], vec![0.0; 6], Default::default());
        q.transport(&eps, &mut z, &mut log_q, &mut paths);
        for column in 0..6 {
            let span = column * 4..column * 4 + 4;
            let eps = &eps[span.clone()];
            let mut paths = Default::default();
            q.transport(eps, &mut z[span.clone()], &mut log_q[..1], &mut paths);
            let mut grad = vec![0.0; 8];
            q.pull_back(eps, &paths, &[1.0; 4], &[0.0], &mut grad);
            let sum = |lambda: &[f64]| {
                let mut z = [0.0; 4];
                with_params(&q, lambda).transport(eps, &mut z, &mut [0.0], &mut Default::default());
                z.iter().sum()
            };
            assert_all_close("dz/dlambda", &grad, &slopes(&params(&q), sum), SLOPE);
            let (z, mut score) = (&z[span], vec![0.0; 8]);
            q.add_score(z, 1.0, &mut score);
            let want = slopes(&params(&q), |lambda| with_params(&q, lambda).log_prob(z));
            assert_all_close("score", &score, &want, SLOPE);
        }
    }
}

/// `E[d(z^k)/da]` against `d E[z^k]/da`, which is known. The mean over noise is a sum over a fine
/// grid: the integrand is smooth and dies out with the normal density.
#[test]
fn beta_paths_move_the_moments() {
    let step = 0.004;
    let eps: Vec<f64> = (-2250..=2250).map(|k| f64::from(k) * step).collect();
    let density = |e: f64| (-0.5 * e * e).exp() * step / (2.0 * std::f64::consts::PI).sqrt();
    for a in [0.05, 0.3, 1.0, 5.0, 200.0] {
        for b in [0.05, 0.7, 3.0, 200.0] {
            let q = Beta::new(&[a], &[b]).expect("shapes");
            let (mut z, mut log_q) = (vec![0.0; eps.len()], vec![0.0; eps.len()]);
            let mut paths = Default::default();
            q.transport(&eps, &mut z, &mut log_q, &mut paths);
            let none = vec![0.0; eps.len()];
            for k in 1..=3 {
                let power = |z: f64| f64::from(k) * z.powi(k - 1);
                let weighed = z.iter().zip(&eps).map(|(&z, &e)| density(e) * power(z));
                let mut grad = [0.0; 2];
                q.pull_back(&eps, &paths, &weighed.collect::<Vec<_>>(), &none, &mut grad);
                // E[z^k] = prod_j (a + j) / (a + b + j)
                let terms = || (0..k).map(f64::from);
                let moment: f64 = terms().map(|j| (a + j) / (a + b + j)).product();
                let in_s: f64 = terms().map(|j| 1.0 / (a + b + j)).sum();
                let in_a = moment * (terms().map(|j| 1.0 / (a + j)).sum::<f64>() - in_s);
                // lambda is the logarithm of the shape less its floor
                let got = [grad[0] / (a - 1e-4), grad[1] / (b - 1e-4)];
                for (what, got, want) in [("a", got[0], in_a), ("b", got[1], -moment * in_s)] {
                    let off = ((got - want) / want).abs();
                    assert!(off < 1e-8, "dE[z^{k}]/d{what} at ({a}, {b}): off by {off:e}");
                }
            }
        }
    }
}

#[test]
fn wrong_shapes_are_named() {
    message(Beta::new(&[1.0, 0.0], &[1.0; 2]), &["E10 a[1] is 0", "above 1e-4"]);
    message(Beta::new(&[1.0], &[f64::NAN]), &["E10 b[0] is NaN", "finite"]);
    message(Beta::new(&[1.0], &[1.0, 2.0]), &["E03 a has 1 values but b has 2"]);
    let text = r#"{"lambda":[0.0,0.0,0.0]}"#;
    let error = serde_json::from_str::<Beta>(text).expect_err("an odd number");
    assert!(error.to_string().contains("E03 the saved lambda has 3"), "{error}");
}

#[test]
fn exact_divergences_of_betas() {
    for case in exact_cases("kl_beta") {
        let beta = |which: &str| {
            let v = numbers(&case["inputs"][which]);
            Beta::new(&v[..1], &v[1..]).expect("shapes")
        };
        let want = |what: &str| case["expected"][what].as_f64().expect("a number");
        assert_close("kl_beta", beta("p").kl(&beta("q")), want("kl"), 1e-12);
        let entropy = beta("p").entropy().expect("known");
        assert_close("entropy of a beta", entropy, want("entropy_p"), 1e-12);
    }
}
