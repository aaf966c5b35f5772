//! What does an approximation with independent coordinates not see? Correlated normals, where every
//! number is known in closed form.

mod book;

use book::{Figure, grid};
use elbo::diagnostics::{elbo, iwae_bound};
use elbo::{
    Error, Family, Fit, FixedDraws, FixedNoise, FullRankGaussian, LowRankGaussian,
    MeanFieldGaussian, Options, Reparameterized, Space, TwiceDifferentiable, Verdict, density, fit,
    from_fn,
};

// ANCHOR: model
/// Two standard normals with correlation `rho`. The density is normalised: the log evidence is zero.
fn pair(rho: f64) -> impl TwiceDifferentiable + Clone {
    let mut space = Space::new();
    let (a, b) = (space.real("a"), space.real("b"));
    from_fn(space, move |z| {
        let rest = (1.0 - rho * rho).sqrt();
        density::normal(z[a], 0.0, 1.0) + density::normal(z[b], z[a] * rho, rest)
    })
}
// ANCHOR_END: model

// ANCHOR: fit
/// The best member of a family: draws that are made once, with exactly the moments of a standard
/// normal, leave no noise where the target is normal.
fn best<M: TwiceDifferentiable, Q: Reparameterized>(
    model: M,
    q: Q,
) -> Result<(Fit<M, Q>, FixedDraws), Error> {
    let noise = FixedNoise::MomentMatched;
    let ascent = FixedDraws { noise, ..FixedDraws::new(64) }.draw(q.noise_dim(), 1);
    Ok((fit(model, q, ascent.clone(), Options::default())?, ascent))
}

/// How far the bound is below the log evidence, zero.
fn gap<M, Q>(fit: &Fit<M, Q>) -> f64 {
    -fit.trace.last().and_then(|step| step.elbo).unwrap_or(f64::NAN)
}
// ANCHOR_END: fit

fn main() -> Result<(), Error> {
    println!("What does an approximation with independent coordinates not see?");
    let mut rows = String::from(
        "| $\\rho$ | sd, mean field | gap in nats | sd, full rank | sd, linear response |\n|---|---|---|---|---|",
    );
    let mut gaps = Vec::new();
    for rho in [0.0, 0.5, 0.9, 0.99] {
        // ANCHOR: claim
        let (narrow, ascent) = best(pair(rho), MeanFieldGaussian::standard(2))?;
        let rest: f64 = 1.0 - rho * rho;
        assert!((narrow.q.sd()[0] - rest.sqrt()).abs() < 1e-5);
        assert!((narrow.q.sd()[1] - rest.sqrt()).abs() < 1e-5);
        assert!((gap(&narrow) + 0.5 * rest.ln()).abs() < 1e-6);

        let (full, _) = best(pair(rho), FullRankGaussian::standard(2))?;
        assert!((full.q.covariance()[(0, 1)] - rho).abs() < 1e-4);
        assert!(gap(&full).abs() < 1e-6);
        // ANCHOR_END: claim

        // ANCHOR: response
        let response = ascent.linear_response(&narrow.model, &narrow.q)?.covariance;
        for (entry, exact) in [((0, 0), 1.0), ((1, 1), 1.0), ((0, 1), rho)] {
            assert!((response[entry] - exact).abs() < 1e-4, "{entry:?}: {}", response[entry]);
        }
        // ANCHOR_END: response
        let (sd, loss) = (narrow.q.sd()[0], gap(&narrow));
        gaps.push((rho, loss));
        let wide = [full.q.sd()[0], response[(0, 0)].sqrt()];
        println!(
            "rho {rho}: mean-field sd {sd:.4}, gap {loss:.4}; full rank sd {:.4}, response {:.4}",
            wide[0], wide[1]
        );
        rows += &format!("\n| {rho} | {sd:.4} | {loss:.4} | {:.4} | {:.4} |", wide[0], wide[1]);
    }
    book::fragment("meanfield", &rows);

    // ANCHOR: seen
    let (narrow, _) = best(pair(0.99), MeanFieldGaussian::standard(2))?;
    let posterior = narrow.posterior()?;
    assert_eq!(posterior.verdict(), Verdict::DoNotUse);
    // ANCHOR_END: seen
    println!("what its report says at 0.99: {}", posterior.verdict());

    // ANCHOR: estimate
    let (narrow, _) = best(pair(0.5), MeanFieldGaussian::standard(2))?;
    let below = elbo(&narrow.model, &narrow.q, 20_000, 1)?;
    let above = iwae_bound(&narrow.model, &narrow.q, 1_000, 500, 2)?;
    let (estimate, noise) = (above.value - below.value, above.mcse.hypot(below.mcse));
    let truth = -0.5 * 0.75_f64.ln();
    assert!(estimate < truth + 4.0 * noise && estimate > 0.8 * truth);
    // ANCHOR_END: estimate
    println!("gap at 0.5: {estimate:.3} ± {noise:.3} from weights alone; {truth:.4} in truth");

    many()?;
    draw(&gaps)?;
    println!(
        "OK: mean field loses -ln(1 - rho^2)/2 nats; full rank, low rank and linear response do not"
    );
    Ok(())
}

// ANCHOR: crowd
/// `d` standard normals, each two of them with correlation `rho`; normalised.
fn crowd(d: usize, rho: f64) -> impl TwiceDifferentiable + Clone {
    let mut space = Space::new();
    let all = space.reals("z", d);
    let n = d as f64;
    let c = rho / (1.0 + (n - 1.0) * rho);
    let log_det = (n - 1.0) * (1.0 - rho).ln() + (1.0 + (n - 1.0) * rho).ln();
    from_fn(space, move |z| {
        let total: elbo::Var = z[all].iter().copied().sum();
        let squares: elbo::Var = z[all].iter().map(|x| *x * *x).sum();
        (squares - total * total * c) * (-0.5 / (1.0 - rho))
            - 0.5 * (log_det + n * std::f64::consts::TAU.ln())
    })
}
// ANCHOR_END: crowd

fn many() -> Result<(), Error> {
    // ANCHOR: many
    let (d, rho) = (20, 0.5);
    let n = d as f64;
    let precision = (1.0 - rho / (1.0 + (n - 1.0) * rho)) / (1.0 - rho); // of one, given the others
    let log_det = (n - 1.0) * (1.0 - rho).ln() + (1.0 + (n - 1.0) * rho).ln();

    let (narrow, _) = best(crowd(d, rho), MeanFieldGaussian::standard(d))?;
    assert!((narrow.q.sd()[7] - precision.recip().sqrt()).abs() < 1e-5);
    assert!((gap(&narrow) - 0.5 * (n * precision.ln() + log_det)).abs() < 1e-6);
    let (one, _) = best(crowd(d, rho), LowRankGaussian::with_rank(d, 1))?;
    assert!(gap(&one).abs() < 1e-6);

    // the sum of all: independent variances add, correlated ones add up to more
    let sum_sd = n.sqrt() * narrow.q.sd()[7];
    let exact_sd = (n * (1.0 + (n - 1.0) * rho)).sqrt();
    assert!(one.q.covariance().sum().sqrt() > 0.9999 * exact_sd);
    assert!(exact_sd / sum_sd > 4.0);
    // ANCHOR_END: many
    println!(
        "20 coordinates: each sd {:.3}, gap {:.3}; sd of their sum {sum_sd:.2}, exactly {exact_sd:.2}",
        narrow.q.sd()[7],
        gap(&narrow)
    );
    let rows = format!(
        "| family | numbers | gap in nats | sd of one | sd of the sum |\n|---|---|---|---|---|\n\
         | exact | | 0 | 1 | {exact_sd:.2} |\n| mean field | {} | {:.3} | {:.3} | {sum_sd:.2} |\n| rank one | {} | {:.3} | {:.3} | {:.2} |\n| full rank | {} | | | |",
        narrow.q.n_params(),
        gap(&narrow),
        narrow.q.sd()[7],
        one.q.n_params(),
        gap(&one).abs(),
        one.q.sd()[7],
        one.q.covariance().sum().sqrt(),
        FullRankGaussian::standard(d).n_params(),
    );
    book::fragment("meanfield_many", &rows);
    Ok(())
}

fn draw(gaps: &[(f64, f64)]) -> Result<(), Error> {
    let (narrow, _) = best(pair(0.9), MeanFieldGaussian::standard(2))?;
    let (full, _) = best(pair(0.9), FullRankGaussian::standard(2))?;
    let (v, c) = (narrow.q.sd()[0].powi(2), full.q.covariance());
    Figure::new("Where nine tenths of the mass are, rho = 0.9")
        .axes("a", "b")
        .square()
        .ellipse("full rank = posterior", [0.0; 2], [c[(0, 0)], c[(0, 1)], c[(1, 1)]], 2.146)
        .colour(6)
        .ellipse("mean field", [0.0; 2], [v, 0.0, v], 2.146)
        .colour(1)
        .save_or_check("meanfield");

    let rho = grid(0.0, 0.995, 200);
    let closed: Vec<f64> = rho.iter().map(|r| -0.5 * (1.0 - r * r).ln()).collect();
    let (x, y): (Vec<f64>, Vec<f64>) = gaps.iter().copied().unzip();
    Figure::new("What mean field loses")
        .axes("correlation", "gap, nats")
        .line("-ln(1 - rho^2)/2", &rho, &closed)
        .colour(6)
        .points("fitted", &x, &y)
        .colour(1)
        .save_or_check("meanfield_gap");
    Ok(())
}
