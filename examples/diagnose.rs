//! Can a fit be trusted? Weights, corrected moments, replicated data and ranks, each with a case it
//! sees and a case it cannot see.

mod book;

use book::{Figure, grid};
use elbo::diagnostics::{Checks, Ending, Examined, Judgement, examine, psis};
use elbo::{
    Averaged, DoWG, Error, Family, FullRankGaussian, Gaussian, GradientAscent, Laplace,
    MeanFieldGaussian, Model, Options, Posterior, Purpose, Real, Space, StickingTheLanding,
    TwiceDifferentiable, Var, Verdict, density, fit, from_fn, infer, noise, stream,
};
use rand::Rng;
use rand_distr::{Distribution, Poisson};

// ANCHOR: correlated
/// The posterior `N(0, [[1, rho], [rho, 1]])` and the best `q` with independent coordinates, whose
/// variances are `1 - rho^2`.
fn correlated(rho: f64) -> Result<(impl Model, MeanFieldGaussian), Error> {
    let mut space = Space::new();
    let (a, b) = (space.real("a"), space.real("b"));
    let model = from_fn(space, move |z| {
        density::normal(z[a], 0.0, 1.0)
            + density::normal(z[b], z[a] * rho, (1.0 - rho * rho).sqrt())
    });
    let sd = (1.0 - rho * rho).sqrt();
    Ok((model, MeanFieldGaussian::new(vec![0.0; 2], &[sd; 2])?))
}

/// What weights say of `q`, and the word that follows.
fn judge(model: &impl Model, q: &impl Family, seed: u64) -> Result<(Examined, Judgement), Error> {
    let seen = examine(model, q, Checks { draws: 4000, repeats: 20 }, seed)?;
    let judgement =
        Judgement::new(&Ending::NotRun, &seen.elbo, &seen.fidelity, "MeanFieldGaussian", &[]);
    Ok((seen, judgement))
}

fn weights() -> Result<String, Error> {
    let mut rows = String::new();
    // one k-hat of 4000 draws scatters by 0.06 and 0.1: a mean of 20 by less than a quarter of that
    for (rho, want, scatter, word) in
        [(0.5, 0.46, 0.06, Verdict::Good), (0.9, 0.83, 0.1, Verdict::DoNotUse)]
    {
        let (model, q) = correlated(rho)?;
        let (seen, judgement) = judge(&model, &q, 1)?;
        let khat = seen.fidelity.khat;
        println!("correlation {rho}: k-hat {khat:.2}, verdict {}", judgement.verdict);
        assert!((khat - want).abs() < 4.0 * scatter / 20f64.sqrt(), "k-hat {khat}");
        assert_eq!(judgement.verdict, word);
        let fires = judgement.warnings.iter().any(|w| w.code.as_str() == "W07");
        assert_eq!(fires, rho == 0.9, "heavy weights are warned of at 0.9 only");
        rows += &format!(
            "| {rho} | {:.2} | {khat:.2} | {} | {} |\n",
            q.sd()[0],
            judgement.verdict,
            if fires { "W07" } else { "–" }
        );
    }
    Ok(rows)
}
// ANCHOR_END: correlated

// ANCHOR: reweigh
/// `q` off by 0.3 in the mean and a tenth too wide: the weights know both, and their error.
fn reweigh() -> Result<(), Error> {
    let mut space = Space::new();
    let z = space.real("z");
    let model = from_fn(space, move |all| density::normal(all[z], 0.0, 1.0));
    let q = MeanFieldGaussian::new(vec![0.3], &[1.1])?;
    let (seen, judgement) = judge(&model, &q, 2)?;
    let row = seen.summary.row("z")?;
    let by = row.correction.expect("there was a model to weigh with");
    let (mean, sd) = (row.mean + by.shift * row.sd * by.sd_ratio, row.sd * by.sd_ratio);
    println!("reweighted: mean {:.2} -> {mean:.3}, sd {:.2} -> {sd:.3}", row.mean, row.sd);
    assert!(mean.abs() < 4.0 * by.shift_mcse, "the exact mean is 0");
    assert!(sd.ln().abs() < 4.0 * by.log_sd_mcse, "the exact sd is 1");
    assert!(judgement.verdict > Verdict::Good, "and the verdict says that q is off");
    Ok(())
}
// ANCHOR_END: reweigh

// ANCHOR: blind
/// Two modes, and `q` exactly right on one of them: no draw ever sees the other.
fn blind() -> Result<(), Error> {
    let mut space = Space::new();
    let z = space.real("z");
    let model = from_fn(space, move |all| {
        let modes = [-6.0, 6.0].map(|mean| density::normal(all[z], mean, 1.0));
        Var::log_sum_exp(&modes) - 2f64.ln()
    });
    let q = MeanFieldGaussian::new(vec![6.0], &[1.0])?;
    let (seen, judgement) = judge(&model, &q, 3)?;
    println!("one of two modes: k-hat {:.2}, verdict {}", seen.fidelity.khat, judgement.verdict);
    assert_eq!(judgement.verdict, Verdict::Good, "which is wrong, and cannot be seen from here");
    // the log evidence is 0; the bound is short by the logarithm of the share it sees
    assert!((seen.elbo.value + 2f64.ln()).abs() < 1e-8, "{}", seen.elbo);
    Ok(())
}
// ANCHOR_END: blind

// ANCHOR: schools
const EFFECT: [f64; 8] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
const SD: [f64; 8] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];

/// Eight schools (Rubin 1981), written in one of two ways that mean the same.
fn schools(centred: bool) -> Result<Posterior<Gaussian>, Error> {
    let mut space = Space::new();
    let (mu, tau, x) = (space.real("mu"), space.positive("tau"), space.reals("x", 8));
    infer(from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
        for (j, &x) in z[x].iter().enumerate() {
            let theta = if centred { x } else { z[mu] + z[tau] * x };
            lp += if centred {
                density::normal(x, z[mu], z[tau])
            } else {
                density::normal(x, 0.0, 1.0)
            };
            lp += density::normal(Var::from(EFFECT[j]), theta, SD[j]);
        }
        lp
    }))
}

fn funnel() -> Result<(), Error> {
    let heavy = |p: &Posterior<Gaussian>| {
        p.warnings().iter().find(|w| w.code.as_str() == "W07").map(ToString::to_string)
    };
    let (centred, other) = (schools(true)?, schools(false)?);
    println!("eight schools: centred {}, non-centred {}", centred.verdict(), other.verdict());
    let warning = heavy(&centred).expect("the centred formula is a funnel");
    println!("  {}", warning.lines().next().unwrap_or_default());
    assert!(warning.contains("try: a non-centred formula"), "{warning}");
    assert_eq!(heavy(&other), None, "following the advice clears the warning");
    Ok(())
}
// ANCHOR_END: schools

// ANCHOR: predictive
/// Fits a Poisson rate to counts, then asks how often data replicated from the posterior scatter as
/// much as the data do.
fn predictive(counts: &[f64], seed: u64) -> Result<(Verdict, f64), Error> {
    let (n, total) = (counts.len() as f64, counts.iter().sum::<f64>());
    let mut space = Space::new();
    let rate = space.positive("rate");
    let posterior = infer(from_fn(space, move |z| {
        density::exponential(z[rate], 0.1) + total * z[rate].ln() - n * z[rate]
    }))?;
    let scatter = |y: &[f64]| {
        let mean = y.iter().sum::<f64>() / n;
        y.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / (n - 1.0) / mean
    };
    let mut rng = stream(seed, Purpose::Data, 1);
    let (draws, mut as_much) = (posterior.draws(1000, seed)?, 0);
    for z in draws.rows() {
        let poisson = Poisson::new(z[0]).expect("a rate is positive");
        let replicated: Vec<f64> = counts.iter().map(|_| poisson.sample(&mut rng)).collect();
        as_much += usize::from(scatter(&replicated) >= scatter(counts));
    }
    Ok((posterior.verdict(), as_much as f64 / draws.len() as f64))
}
// ANCHOR_END: predictive

// ANCHOR: calibration
/// `z ~ N(0, I)` in the plane, `y ~ N(z_1 + z_2, NOISE^2)`: the posterior is a normal along a line.
const NOISE: f64 = 0.3;

fn sum_seen(y: f64) -> impl TwiceDifferentiable {
    let mut space = Space::new();
    let z = space.reals("z", 2);
    from_fn(space, move |all| {
        let z = &all[z];
        let prior = density::normal(z[0], 0.0, 1.0) + density::normal(z[1], 0.0, 1.0);
        prior + density::normal(Var::from(y), z[0] + z[1], NOISE)
    })
}

/// The rank of the true `z_1` among 99 draws of `q`.
fn rank(q: &impl Family, truth: f64, rng: &mut dyn Rng) -> usize {
    let mut draws = [0.0; 2 * 99];
    q.sample(rng, &mut draws);
    draws.chunks(2).filter(|z| z[0] < truth).count()
}

/// Truth from the prior, data from the truth, a fit to the data, the rank of the truth: 200 times.
fn ranks() -> Result<[[f64; 10]; 2], Error> {
    let mut bins = [[0.0; 10]; 2];
    for k in 0..200 {
        let mut rng = stream(5, Purpose::Data, k);
        let mut drawn = [0.0; 3];
        noise::fill_normal(&mut rng, &mut drawn);
        let [z1, z2, eps] = drawn;
        let model = || sum_seen(z1 + z2 + NOISE * eps);

        let exact = FullRankGaussian::standard(2);
        let exact = fit(model(), exact, Laplace::default(), Options::default())?.q;
        bins[0][rank(&exact, z1, &mut rng) / 10] += 1.0;

        let ascent =
            GradientAscent::new(StickingTheLanding { draws: 4 }, Averaged::new(DoWG::new()));
        let options = Options { steps: 400, seed: k, ..Options::default() };
        let narrow = fit(model(), MeanFieldGaussian::standard(2), ascent, options)?.q;
        bins[1][rank(&narrow, z1, &mut rng) / 10] += 1.0;
    }
    Ok(bins)
}

/// Pearson's statistic against equal shares: chi-square with 9 degrees of freedom if they are.
fn chi_square(bins: &[f64; 10]) -> f64 {
    let share = bins.iter().sum::<f64>() / 10.0;
    bins.iter().map(|b| (b - share).powi(2) / share).sum()
}
// ANCHOR_END: calibration

fn main() -> Result<(), Error> {
    println!("Can this fit be trusted, and what would tell if not?");
    let rows = weights()?;
    reweigh()?;
    blind()?;
    funnel()?;

    // ANCHOR: predictive_claim
    let clumped =
        [0., 9., 1., 0., 12., 3., 0., 7., 1., 0., 15., 2., 0., 1., 8., 0., 4., 0., 11., 1.];
    let poisson = Poisson::new(4.0).expect("a rate");
    let plain: Vec<f64> = poisson.sample_iter(stream(6, Purpose::Data, 0)).take(20).collect();
    let (verdict, wrong) = predictive(&clumped, 7)?;
    let (_, right) = predictive(&plain, 7)?;
    println!("share of replicated data that scatter as much: {wrong:.3} clumped, {right:.2} plain");
    assert_eq!(verdict, Verdict::Good, "the fit is right: it is the model that is wrong");
    assert!(wrong < 0.005);
    assert!((0.005..0.995).contains(&right), "one right model in a hundred falls outside");
    // ANCHOR_END: predictive_claim

    // ANCHOR: calibration_claim
    let bins = ranks()?;
    let [exact, narrow] = bins.each_ref().map(chi_square);
    println!(
        "ranks of the truth, chi-square on 9: exact family {exact:.1}, mean field {narrow:.0}"
    );
    assert!(exact < 33.7, "a right fit exceeds this once in 10 000 times");
    assert!(narrow > 44.8, "and this once in a million");
    assert!(bins[1][0] + bins[1][9] > 80.0, "too narrow: half of the truths in the outer fifth");
    // ANCHOR_END: calibration_claim

    let table = "| correlation | sd of $q$ (truth 1) | k-hat | verdict | heavy weights |\n";
    book::fragment("diagnose", &format!("{table}|---|---|---|---|---|\n{rows}"));
    draw(&bins)?;
    println!("OK: each check sees its own kind of failure, and only that");
    Ok(())
}

fn draw(bins: &[[f64; 10]; 2]) -> Result<(), Error> {
    let mut figure = Figure::new("The heaviest of 4000 importance weights")
        .axes("draw, heaviest first", "weight, in units of the mean weight")
        .log_x()
        .log_y();
    for (rho, name) in [(0.5, "correlation 0.5"), (0.9, "correlation 0.9")] {
        let (model, q) = correlated(rho)?;
        let mut z = vec![0.0; 8000];
        q.sample(&mut stream(1, Purpose::Report, 0), &mut z);
        let ratio = |z: &[f64]| model.log_joint(z) - q.log_prob(z);
        let mut smoothed = psis(&z.chunks(2).map(ratio).collect::<Vec<_>>())?.weights();
        smoothed.sort_by(|a, b| b.total_cmp(a));
        let places: Vec<usize> =
            (0..60).map(|i| (1000f64.powf(i as f64 / 59.0)) as usize).collect();
        let x: Vec<f64> = places.iter().map(|&i| i as f64).collect();
        let y: Vec<f64> = places.iter().map(|&i| 4000.0 * smoothed[i - 1]).collect();
        figure = figure.line(name, &x, &y);
    }
    figure
        .dashed("q is the posterior: all equal", &[1.0, 1000.0], &[1.0; 2])
        .save_or_check("diagnose_weights");

    let at = |by: f64| grid(by, 9.0 + by, 10);
    Figure::new("Where the truth ranks among draws of q, 200 simulated data sets")
        .axes("tenth of the ranks", "data sets")
        .bars("exact family", &at(0.3), 0.38, &[0.0; 10], &bins[0])
        .bars("mean field: too narrow", &at(0.7), 0.38, &[0.0; 10], &bins[1])
        .dashed("what is expected of a right fit", &[0.0, 10.0], &[20.0; 2])
        .save_or_check("diagnose_ranks");
    Ok(())
}
