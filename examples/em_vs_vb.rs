//! What does a distribution over the parameters of a mixture know that EM's point does not? How many
//! components there are, how sure each number is, and what the names of the components are worth.

mod book;

use book::Figure;
use elbo::data::{OLD_FAITHFUL, Observations};
use elbo::models::bayesian_mixture::MixturePosterior;
use elbo::models::gaussian_mixture::{Prior, Search};
use elbo::models::{BayesianMixture, GaussianMixture};
use elbo::{EStep, Error, Fit, Options, Purpose, fit, stream};
use statrs::function::gamma::ln_gamma;

fn main() -> Result<(), Error> {
    println!(
        "What does a distribution over the parameters of a mixture know that a point does not?"
    );
    pruning()?;
    criteria()?;
    intervals()?;
    labels()?;
    println!("OK: spare components empty themselves, and every number comes with its interval");
    Ok(())
}

// ANCHOR: truth
/// 600 rows from three heaps.
fn heaps(seed: u64) -> Result<Observations, Error> {
    let any = Observations::new((0..12).map(f64::from).map(|x| x * x).collect(), 2)?;
    let means = [0.0, 0.0, 4.0, 1.0, 1.0, 5.0];
    let covariances = [[1.0, 0.4, 0.4, 1.0], [1.0, -0.5, -0.5, 1.0], [1.5, 0.0, 0.0, 0.5]];
    let truth = GaussianMixture::new(any, 3)?;
    let truth = truth.with_parameters(&[0.5, 0.3, 0.2], &means, covariances.as_flattened())?;
    Observations::new(truth.sample(600, &mut stream(seed, Purpose::Data, 0)).0, 2)
}
// ANCHOR_END: truth

fn pruning() -> Result<(), Error> {
    // ANCHOR: pruning
    let em = GaussianMixture::new(heaps(1)?, 8)?.fit(1)?.fit;
    let vb = BayesianMixture::new(heaps(1)?, 8)?.fit(1)?.fit;
    assert!((0..8).all(|k| em.q.expected_count(k) > 1.0)); // EM keeps all eight
    let kept = vb.q.occupied();
    assert_eq!(kept.len(), 3);
    assert!((0..8).filter(|k| !kept.contains(k)).all(|k| vb.q.expected_count(k) < 1.0));
    for (&k, truth) in kept.iter().zip([0.5, 0.3, 0.2]) {
        let [low, high] = vb.q.weight_interval(k, 0.99);
        assert!(low < truth && truth < high);
    }
    // ANCHOR_END: pruning
    let sorted = |count: &dyn Fn(usize) -> f64| {
        let mut all: Vec<f64> = (0..8).map(count).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        all.iter().map(|n| format!("{n:.1}")).collect::<Vec<_>>()
    };
    let (em_counts, vb_counts) =
        (sorted(&|k| em.q.expected_count(k)), sorted(&|k| vb.q.expected_count(k)));
    println!("rows a component, EM: {}", em_counts.join(" "));
    println!("rows a component, VB: {}", vb_counts.join(" "));
    book::fragment(
        "em_vs_vb_counts",
        &format!(
            "| rows a component, the largest first | | | | | | | | |\n|---|{}\n| EM | {} |\n| variational | {} |\n| truth | 300 | 180 | 120 | – | – | – | – | – |",
            "---|".repeat(8),
            em_counts.join(" | "),
            vb_counts.join(" | ")
        ),
    );
    let data = em.model.data().memory().expect("in memory");
    let column = |j: usize| data.rows().map(|x| x[j]).collect::<Vec<f64>>();
    let mut figure = Figure::new("Three heaps, room for eight components")
        .axes("first column", "second column")
        .square()
        .points("rows", &column(0), &column(1))
        .colour(6);
    let plane = |m: &[f64], c: &[f64]| ([m[0], m[1]], [c[0], c[1], c[3]]);
    for k in 0..8 {
        let (mean, covariance) = plane(em.model.mean(k), &em.model.covariance(k));
        let name = if k == 0 { "EM" } else { "" };
        figure = figure.ellipse(name, mean, covariance, 2.0).colour(2);
    }
    for (i, &k) in kept.iter().enumerate() {
        let (mean, covariance) = plane(vb.q.mean(k), &vb.q.covariance(k));
        let name = if i == 0 { "variational" } else { "" };
        figure = figure.ellipse(name, mean, covariance, 2.0).colour(1);
    }
    figure.save_or_check("em_vs_vb_pruning");
    Ok(())
}

fn eruptions() -> Result<Observations, Error> {
    Observations::with_names(OLD_FAITHFUL.as_flattened().to_vec(), ["eruption", "waiting"])
}

/// The ELBO a fit reached.
fn bound<M, Q>(fit: &Fit<M, Q>) -> f64 {
    fit.trace.last().and_then(|step| step.elbo).unwrap_or(f64::NAN)
}

/// Log likelihood and bound as there is room for more components.
fn criteria() -> Result<(), Error> {
    // ANCHOR: criteria
    let (mut likelihood, mut bounds) = (Vec::new(), Vec::new());
    for k in 1..=6 {
        let em = GaussianMixture::new(eruptions()?, k)?.fit(1)?.fit;
        let prior = Prior { concentration: 1.0, ..Prior::one_row(&eruptions()?, k) };
        let vb = BayesianMixture::new(eruptions()?, k)?.with_prior(prior)?.fit(1)?.fit;
        likelihood.push(em.model.criteria().log_likelihood);
        // the components have k! orders, and q knows one
        bounds.push(bound(&vb) + ln_gamma(k as f64 + 1.0));
    }
    assert!(likelihood.windows(2).all(|pair| pair[1] > pair[0])); // never enough
    let best = (0..6).max_by(|&a, &b| bounds[a].total_cmp(&bounds[b])).map(|i| i + 1);
    assert_eq!(best, Some(2));
    // ANCHOR_END: criteria
    let text = |all: &[f64]| all.iter().map(|x| format!("{x:.1}")).collect::<Vec<_>>().join(" ");
    println!("log likelihood for 1 to 6 components: {}", text(&likelihood));
    println!("bound plus ln K!: {}", text(&bounds));
    let k: Vec<f64> = (1..=6).map(f64::from).collect();
    Figure::new("Old Faithful: the likelihood always wants one more component")
        .axes("components", "nats")
        .line("log likelihood at EM's point", &k, &likelihood)
        .line("bound on the log evidence, plus ln K!", &k, &bounds)
        .save_or_check("em_vs_vb_criteria");
    Ok(())
}

fn intervals() -> Result<(), Error> {
    // ANCHOR: intervals
    let em = GaussianMixture::new(eruptions()?, 2)?.fit(1)?.fit.model;
    let se = em.standard_errors()?;
    let model = BayesianMixture::of(em.clone())?; // starts at EM's point, keeps its order
    let q = model.posterior();
    let vb = fit(model, q, EStep, Options::exact())?;
    let mut rows = Vec::new();
    for k in 0..2 {
        let kind = if em.mean(k)[0] < 3.0 { "short" } else { "long" };
        let weight = (em.weights()[k], se.weights[k], vb.q.weight_interval(k, 0.95));
        rows.push((format!("share of {kind} eruptions"), weight));
        for (j, unit) in ["minutes", "minutes to the next"].iter().enumerate() {
            let interval = vb.q.mean_interval(k, j, 0.95);
            let name = format!("mean of {kind} eruptions, {unit}");
            rows.push((name, (em.mean(k)[j], se.means[2 * k + j], interval)));
        }
    }
    for (name, (point, se, [low, high])) in &rows {
        assert!(low < point && point < high, "{name}");
        // many rows, little overlap: the interval is that of the standard error
        let ratio = (high - low) / (2.0 * 1.96 * se);
        assert!((0.85..1.15).contains(&ratio), "{name}: {ratio}");
    }
    // ANCHOR_END: intervals
    rows.sort_by(|a, b| b.0.cmp(&a.0));
    let mut table = String::from(
        "| | EM's point | 1.96 standard errors | variational 95 % interval |\n|---|---|---|---|\n",
    );
    for (name, (point, se, [low, high])) in &rows {
        println!("{name}: {point:.3} ± {:.3}, 95 % in {low:.3} to {high:.3}", 1.96 * se);
        table += &format!("| {name} | {point:.3} | {:.3} | {low:.3} to {high:.3} |\n", 1.96 * se);
    }
    book::fragment("em_vs_vb_intervals", &table);
    draw_mean(&em, &se.means, &vb.q);
    calibration()
}

/// The posterior of a mean, from its quantiles, and the normal of EM's point and standard error.
fn draw_mean(em: &GaussianMixture, se: &[f64], q: &MixturePosterior) {
    let k = usize::from(em.mean(0)[0] > em.mean(1)[0]);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for i in 1..100 {
        // the density is mass over width
        let [a, b] = [f64::from(i), f64::from(i - 1)].map(|i| q.mean_interval(k, 0, i / 100.0));
        for (outer, inner) in [(a[0], b[0]), (a[1], b[1])] {
            x.push(0.5 * (outer + inner));
            y.push(0.005 / (outer - inner).abs());
        }
    }
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&i, &j| x[i].total_cmp(&x[j]));
    let at = |v: &[f64]| order.iter().map(|&i| v[i]).collect::<Vec<f64>>();
    let (x, y) = (at(&x), at(&y));
    let (point, sd) = (em.mean(k)[0], se[2 * k]);
    let grid = book::grid(point - 3.0 * sd, point + 3.0 * sd, 61);
    let normal = |x: &f64| {
        let u = (x - point) / sd;
        (-0.5 * u * u).exp() / (sd * std::f64::consts::TAU.sqrt())
    };
    let heights: Vec<f64> = grid.iter().map(normal).collect();
    let top = y.iter().copied().fold(0.0, f64::max);
    Figure::new("The mean length of short eruptions")
        .axes("minutes", "density")
        .line("variational posterior", &x, &y)
        .line("a normal from EM's point and standard error", &grid, &heights)
        .dashed("EM's point", &[point; 2], &[0.0, top])
        .save_or_check("em_vs_vb_interval");
}

// ANCHOR: coverage
/// Of 400 data sets of two heaps `apart` standard deviations from each other, the shares in which a
/// 95 % interval for the first mean holds it: EM's point and standard errors, the variational one.
fn coverage(rows: usize, apart: f64) -> Result<[f64; 2], Error> {
    let any = Observations::new(vec![0.0, 1.0, 2.0, 4.0], 1)?;
    let truth = GaussianMixture::new(any, 2)?;
    let truth = truth.with_parameters(&[0.5, 0.5], &[0.0, apart], &[1.0, 1.0])?;
    // vague, but of the size of a heap
    let mean = vec![0.5 * apart];
    let prior = Prior { concentration: 1.0, mean, shrinkage: 0.01, degrees: 2.0, scale: vec![2.0] };
    let search = Search { starts: 2, ..Search::default() };
    let (mut held, mut sets) = ([0.0; 2], 0.0);
    for seed in 0..400 {
        let cells = truth.sample(rows, &mut stream(seed, Purpose::Data, 0)).0;
        // where a component of EM's collapses there is nothing to compare
        let em = GaussianMixture::new(Observations::new(cells, 1)?, 2)?.fit_with(&search);
        let Ok(em) = em.map(|best| best.fit.model) else { continue };
        let Ok(se) = em.standard_errors() else { continue };
        let model = BayesianMixture::of(em.clone())?.with_prior(prior.clone())?;
        let q = model.posterior();
        let vb = fit(model, q, EStep, Options::exact())?.q;
        let first = usize::from(em.mean(0)[0] > em.mean(1)[0]);
        let [low, high] = vb.mean_interval(first, 0, 0.95);
        held[0] += f64::from(em.mean(first)[0].abs() < 1.96 * se.means[first]);
        held[1] += f64::from(low < 0.0 && 0.0 < high);
        sets += 1.0;
    }
    Ok(held.map(|n| n / sets))
}

fn calibration() -> Result<(), Error> {
    let few = coverage(10, 8.0)?;
    assert!(few[0] < 0.91 && few[1] > 0.92); // Student's t knows that ten rows are few
    let overlap = coverage(200, 3.0)?;
    assert!(overlap[0] > 0.87 && overlap[1] < 0.8); // labels are not as sure as q takes them
    // ANCHOR_END: coverage
    let mut table = String::from(
        "| intervals that should hold the truth in 95 % of data sets | EM, 1.96 standard errors | variational |\n|---|---|---|\n",
    );
    for (name, [em, vb]) in
        [("ten rows, two heaps 8 sd apart", few), ("200 rows, 3 sd apart", overlap)]
    {
        println!("{name}: EM holds the mean in {:.0} %, VB in {:.0} %", 100.0 * em, 100.0 * vb);
        table += &format!("| {name} | {:.0} % | {:.0} % |\n", 100.0 * em, 100.0 * vb);
    }
    book::fragment("em_vs_vb_coverage", &table);
    Ok(())
}

fn labels() -> Result<(), Error> {
    // ANCHOR: labels
    let x = [-2.3, -2.0, -1.9, -1.6, 1.5, 1.9, 2.1, 2.4];
    let prior = Prior {
        concentration: 1.0,
        mean: vec![0.0],
        shrinkage: 0.1,
        degrees: 4.0,
        scale: vec![0.5],
    };
    let exact = log_evidence(&x, &prior);
    let model = BayesianMixture::new(Observations::new(x.to_vec(), 1)?, 2)?.with_prior(prior)?;
    let best = model.fit(1)?;
    let gap = exact - bound(&best.fit);
    // the posterior has a twin with the names exchanged, and q is one of the two
    assert!(gap > 0.0 && (gap - 2f64.ln()).abs() < 0.05, "{gap}");
    // ANCHOR_END: labels
    println!("two heaps of four: the bound is {gap:.4} nats low, ln 2 = {:.4}", 2f64.ln());
    book::fragment(
        "em_vs_vb_labels",
        &format!(
            "| two heaps of four rows | nats |\n|---|---|\n| log evidence, over all $2^8$ labels | {exact:.4} |\n| bound | {:.4} |\n| gap | {gap:.4} |\n| $\\log 2!$ | {:.4} |",
            bound(&best.fit),
            2f64.ln()
        ),
    );
    Ok(())
}

// ANCHOR: evidence
/// `ln p(x)` of two components: the sum over all labels of the rows, each with its parameters
/// integrated out in closed form.
fn log_evidence(x: &[f64], prior: &Prior) -> f64 {
    let group = |own: &[f64]| {
        let n = own.len() as f64;
        let mean = own.iter().sum::<f64>() / n.max(1.0);
        let within: f64 = own.iter().map(|x| (x - mean).powi(2)).sum();
        let (b, nu, s) = (prior.shrinkage, prior.degrees, prior.scale[0]);
        let scale = s + within + b * n / (b + n) * (mean - prior.mean[0]).powi(2);
        0.5 * (b / (b + n)).ln() - 0.5 * n * std::f64::consts::PI.ln() + ln_gamma(0.5 * (nu + n))
            - ln_gamma(0.5 * nu)
            + 0.5 * nu * s.ln()
            - 0.5 * (nu + n) * scale.ln()
    };
    let n = x.len();
    let terms = (0..1_u32 << n).map(|labels| {
        let (one, two): (Vec<usize>, Vec<usize>) = (0..n).partition(|i| labels >> i & 1 == 0);
        let rows = |own: &[usize]| own.iter().map(|&i| x[i]).collect::<Vec<f64>>();
        // flat weights: the integral of w^a (1 - w)^b
        let (a, b) = (one.len() as f64, two.len() as f64);
        let labels = ln_gamma(a + 1.0) + ln_gamma(b + 1.0) - ln_gamma(a + b + 2.0);
        (labels + group(&rows(&one)) + group(&rows(&two))).exp()
    });
    terms.sum::<f64>().ln()
}
// ANCHOR_END: evidence
