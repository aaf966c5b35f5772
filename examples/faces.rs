//! One bound, three ways to write it, and what a wrong sign does.

mod book;

use std::ops::ControlFlow;

use book::{Figure, grid, integrate};
use elbo::{
    Adam, Averaged, Divergence, Error, Family, GradientAscent, MeanFieldGaussian, Model, Options,
    Purpose, Real, Space, StickingTheLanding, Stop, density, fit_with, from_fn, stream,
};
use rand::RngExt;

// ANCHOR: model
const HEADS: f64 = 7.0;
const FLIPS: f64 = 10.0;

/// Seven heads in ten flips; the log odds `u` of heads have a standard normal prior.
fn coin() -> impl elbo::Differentiable {
    let mut space = Space::new();
    let u = space.real("log_odds");
    from_fn(space, move |z| {
        density::normal(z[u], 0.0, 1.0) + z[u] * HEADS - z[u].softplus() * FLIPS
    })
}

/// `log p(x | u)`, the part of the log joint that is not the prior.
fn log_likelihood(u: f64) -> f64 {
    HEADS * u - FLIPS * Real::softplus(u)
}
// ANCHOR_END: model

/// The mean of `f` under `q`, by quadrature over ten standard deviations to each side.
fn mean(q: &MeanFieldGaussian, f: impl Fn(f64) -> f64) -> f64 {
    let (m, s) = (q.mean()[0], q.sd()[0]);
    integrate(m - 10.0 * s, m + 10.0 * s, 401, |u| q.log_prob(&[u]).exp() * f(u))
}

// ANCHOR: terms
/// What the three forms are made of, in nats.
struct Terms {
    reconstruction: f64,
    kl_prior: f64,
    energy: f64,
    entropy: f64,
    kl_posterior: f64,
}

fn terms(model: &impl Model, q: &MeanFieldGaussian, log_evidence: f64) -> Terms {
    let prior = MeanFieldGaussian::standard(1);
    Terms {
        reconstruction: mean(q, log_likelihood),
        kl_prior: q.kl(&prior), // closed form
        energy: mean(q, |u| model.log_joint(&[u])),
        entropy: q.entropy().unwrap_or(f64::NAN), // closed form
        kl_posterior: mean(q, |u| q.log_prob(&[u]) - (model.log_joint(&[u]) - log_evidence)),
    }
}
// ANCHOR_END: terms

fn main() -> Result<(), Error> {
    println!("Are the three ways to write the bound the same number, and does a sign matter?");
    let model = coin();
    let log_evidence = integrate(-12.0, 12.0, 2001, |u| model.log_joint(&[u]).exp()).ln();

    // ANCHOR: forms
    let mut rng = stream(1, Purpose::Data, 0);
    let mut worst = 0.0_f64;
    for _ in 0..100 {
        let (m, s) = (rng.random_range(-2.0..2.0), rng.random_range(-2.0_f64..0.5).exp());
        let q = MeanFieldGaussian::new(vec![m], &[s])?;
        let t = terms(&model, &q, log_evidence);
        let forms =
            [t.reconstruction - t.kl_prior, log_evidence - t.kl_posterior, t.energy + t.entropy];
        let spread = (forms[0] - forms[1]).abs().max((forms[0] - forms[2]).abs());
        assert!(spread < 1e-9, "N({m}, {s}): {forms:?}");
        worst = worst.max(spread);
        // The KL as the notes write it, one coordinate: minus half of (1 + log s^2 - m^2 - s^2).
        let half_sum = 0.5 * (1.0 + (s * s).ln() - m * m - s * s);
        assert!((t.kl_prior - -half_sum).abs() < 1e-12);
        let by_quadrature = mean(&q, |u| q.log_prob(&[u]) - density::normal(u, 0.0, 1.0));
        assert!((t.kl_prior - by_quadrature).abs() < 1e-10);
    }
    // ANCHOR_END: forms
    println!("100 random q: the three forms differ by at most {worst:.1e}");

    sampled(&model)?;

    // ANCHOR: watch
    let ascent =
        GradientAscent::new(StickingTheLanding { draws: 8 }, Averaged::new(Adam::rate(0.02)));
    let options = Options { steps: 400, stop: Stop::Budget, ..Options::default() };
    let start = MeanFieldGaussian::new(vec![-2.0], &[0.1])?;
    let mut watched = vec![terms(&model, &start, log_evidence)];
    let fitted = fit_with(coin(), start, ascent, options, |run| {
        watched.push(terms(&run.model, &run.q, log_evidence));
        ControlFlow::Continue(())
    })?;
    // ANCHOR_END: watch
    let end = terms(&model, &fitted.q, log_evidence);
    assert!(end.kl_posterior < 0.01, "the fit ends {} nats below", end.kl_posterior);
    assert!(watched[0].reconstruction < end.reconstruction && watched[0].entropy < end.entropy);
    println!(
        "a fit: reconstruction {:.2} -> {:.2}, KL to the prior {:.2} -> {:.2}",
        watched[0].reconstruction, end.reconstruction, watched[0].kl_prior, end.kl_prior
    );

    // ANCHOR: sign
    let m = fitted.q.mean()[0];
    let objective = |s: f64, sign: f64| {
        let half_sum = 0.5 * (1.0 + (s * s).ln() - m * m - s * s);
        MeanFieldGaussian::new(vec![m], &[s]).map(|q| mean(&q, log_likelihood) + sign * half_sum)
    };
    let mut rows = String::new();
    for s in [0.3, 0.1, 0.01, 1e-4, 1e-8] {
        let (right, wrong) = (objective(s, 1.0)?, objective(s, -1.0)?);
        assert!(right <= log_evidence, "the bound is a bound");
        rows += &format!("| {s} | ${right:.2}$ | ${wrong:.2}$ |\n");
    }
    let (near, far) = (objective(1e-6, -1.0)?, objective(1e-9, -1.0)?);
    assert!((far - near - 1000f64.ln()).abs() < 1e-6, "each factor e in s gains one nat");
    // ANCHOR_END: sign
    println!(
        "with the wrong sign, s = 1e-9 scores {far:.2}; the log evidence is {log_evidence:.2}"
    );

    let table = format!(
        "| sd of $q$ | right sign | wrong sign |\n|---|---|---|\n{rows}\nThe log evidence is ${log_evidence:.2}$."
    );
    book::fragment("faces", &table);
    draw(&watched, log_evidence, &objective)?;
    println!("OK: three forms, one bound; with the wrong sign there is no bound at all");
    Ok(())
}

// ANCHOR: sampled
/// The same three forms from 10 000 draws, each within four of its standard errors.
fn sampled(model: &impl Model) -> Result<(), Error> {
    let q = MeanFieldGaussian::new(vec![0.5], &[0.7])?;
    let exact = mean(&q, |u| model.log_joint(&[u]) - q.log_prob(&[u]));
    let mut z = vec![0.0; 10_000];
    q.sample(&mut stream(2, Purpose::Data, 0), &mut z);
    let (entropy, kl_prior) =
        (q.entropy().unwrap_or(f64::NAN), q.kl(&MeanFieldGaussian::standard(1)));
    let report = |name: &str, form: &dyn Fn(f64) -> f64| {
        let n = z.len() as f64;
        let estimate = z.iter().map(|&u| form(u)).sum::<f64>() / n;
        let square: f64 = z.iter().map(|&u| (form(u) - estimate).powi(2)).sum();
        let error = (square / n / n).sqrt();
        assert!((estimate - exact).abs() < 4.0 * error, "{name}: {estimate}, exact {exact}");
        println!("{name:>20}: {estimate:.4} ± {error:.4}, exact {exact:.4}");
    };
    report("reconstruction - KL", &|u| log_likelihood(u) - kl_prior);
    report("energy + entropy", &|u| model.log_joint(&[u]) + entropy);
    report("log p - log q", &|u| model.log_joint(&[u]) - q.log_prob(&[u]));
    Ok(())
}
// ANCHOR_END: sampled

fn draw(
    watched: &[Terms],
    log_evidence: f64,
    objective: &dyn Fn(f64, f64) -> Result<f64, Error>,
) -> Result<(), Error> {
    let steps = grid(0.0, (watched.len() - 1) as f64, watched.len());
    let series = |f: fn(&Terms) -> f64| watched.iter().map(f).collect::<Vec<_>>();
    Figure::new("The terms along a fit that starts too low and too narrow")
        .axes("step", "nats")
        .line("reconstruction", &steps, &series(|t| t.reconstruction))
        .line("minus KL to the prior", &steps, &series(|t| -t.kl_prior))
        .line("ELBO, their sum", &steps, &series(|t| t.reconstruction - t.kl_prior))
        .dashed("log evidence", &[0.0, steps[steps.len() - 1]], &[log_evidence; 2])
        .colour(6)
        .save_or_check("faces");

    let sds: Vec<f64> = grid(-6.0, 0.5, 60).iter().map(|e| 10f64.powf(*e)).collect();
    let curve = |sign| sds.iter().map(|&s| objective(s, sign)).collect::<Result<Vec<_>, _>>();
    Figure::new("The right sign has a summit, the wrong one runs off as the sd goes to zero")
        .axes("standard deviation of q", "nats")
        .log_x()
        .line("right sign", &sds, &curve(1.0)?)
        .line("wrong sign", &sds, &curve(-1.0)?)
        .dashed("log evidence", &[1e-6, 10f64.powf(0.5)], &[log_evidence; 2])
        .colour(6)
        .save_or_check("faces_sign");
    Ok(())
}
