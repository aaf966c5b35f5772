//! EM climbs the ELBO in half steps, and the log likelihood with it; what is no longer true when a
//! half is not exact.

mod book;

use book::Figure;
use elbo::data::{IRIS, OLD_FAITHFUL, Observations};
use elbo::models::gaussian_mixture::Labels;
use elbo::models::{Covariance, GaussianMixture};
use elbo::{
    EStep, Error, Family, Fit, MStep, Maximize, MeanFieldGaussian, Model, Options, Purpose, Run,
    Space, Stop, fit, stream,
};
use rand::RngExt;

/// `ln(2 pi)`
const LN_2PI: f64 = 1.8378770664093453;

fn main() -> Result<(), Error> {
    println!("Does every half step of EM climb, and what does it climb?");
    let staircase = staircase()?;
    draw(&staircase);
    recovers()?;
    gaps()?;
    let table = format!("{}{}", inexact()?, recounted()?);
    book::fragment("em_gmm", &format!("| | before | after |\n|---|---|---|\n{table}"));
    println!(
        "OK: with both halves exact the ELBO and the likelihood rise; with one inexact only the ELBO must"
    );
    Ok(())
}

/// The ELBO after each half step, the log likelihood before each step, and the fit.
struct Staircase {
    halves: Vec<f64>,
    evidence: Vec<f64>,
    fit: Fit<GaussianMixture, Labels>,
}

// ANCHOR: staircase
fn staircase() -> Result<Staircase, Error> {
    let cells = OLD_FAITHFUL.iter().flatten().copied().collect();
    let data = Observations::new(cells, 2)?.named(["eruption", "waiting"])?;
    // a poor start: two wide components side by side in the middle
    let (means, wide) = ([3.0, 70.0, 4.0, 72.0], [1.3, 0.0, 0.0, 185.0]);
    let model = GaussianMixture::new(data, 2)?;
    let model = model.with_parameters(&[0.5, 0.5], &means, &[wide, wide].concat())?;
    let q = model.labels();
    let options = Options { stop: Stop::Exact { gain: 1e-13 }, ..Options::exact() };
    let mut run = Run::new(model, q, (EStep, MStep), options)?;
    let (mut halves, mut evidence) = (Vec::<f64>::new(), Vec::new());
    loop {
        let before = run.model.criteria().log_likelihood;
        let ended = run.step()?.is_some();
        let step = &run.trace[run.trace.len() - 1];
        let (after_e, after_m) = (step.between.unwrap_or(f64::NAN), step.elbo.unwrap_or(f64::NAN));
        assert!(
            (after_e - before).abs() < 1e-9 * before.abs(),
            "the bound touches after an E-step"
        );
        let last = halves.last().copied().unwrap_or(f64::NEG_INFINITY);
        let slack = 1e-10 * before.abs();
        assert!(after_e >= last - slack && after_m >= after_e - slack, "no half step descends");
        halves.extend([after_e, after_m]);
        evidence.push(before);
        if ended {
            break;
        }
    }
    // ANCHOR_END: staircase
    let fit = run.finish()?;
    let top = fit.model.criteria().log_likelihood;
    assert!((top + 1130.264).abs() < 1e-3);
    println!("{} steps to the maximum {top:.4}, no half step down", fit.trace.len());
    e_step_is_the_posterior(&fit)?;
    m_step_is_a_weighted_fit(&fit);
    Ok(Staircase { halves, evidence, fit })
}

// ANCHOR: posterior
/// `KL(q || posterior)`, the posterior by Bayes' rule on the densities.
fn e_step_is_the_posterior(fit: &Fit<GaussianMixture, Labels>) -> Result<(), Error> {
    let model = &fit.model;
    let mut q = model.labels();
    elbo::Conjugate::natural_step(model, &mut q, 1.0)?;
    let r = q.responsibilities();
    let mut divergence = 0.0;
    let data = model.data().memory().expect("in memory");
    for (n, row) in data.rows().enumerate() {
        let joint = [0, 1].map(|k| {
            let (c, m) = (model.covariance(k), model.mean(k));
            let (a, b) = (row[0] - m[0], row[1] - m[1]);
            let det = c[0] * c[3] - c[1] * c[1];
            let square = (c[3] * a * a - 2.0 * c[1] * a * b + c[0] * b * b) / det;
            (model.weights()[k].ln() - LN_2PI - 0.5 * det.ln() - 0.5 * square).exp()
        });
        for k in 0..2 {
            let posterior = joint[k] / (joint[0] + joint[1]);
            let q = r[2 * n + k];
            divergence += if q > 0.0 { q * (q / posterior).ln() } else { 0.0 };
        }
    }
    assert!(divergence.abs() < 1e-12 * 272.0, "{divergence:e}");
    println!("KL from the posterior after an E-step: {:.0e} a row", divergence.abs() / 272.0);
    Ok(())
}
// ANCHOR_END: posterior

// ANCHOR: weighted
/// The M-step: weights, means and covariances are those of the rows, each counting as much as its
/// label is probable.
fn m_step_is_a_weighted_fit(fit: &Fit<GaussianMixture, Labels>) {
    let (r, data) = (fit.q.responsibilities(), fit.model.data().memory().expect("in memory"));
    let sum = |k: usize, f: &dyn Fn(&[f64]) -> f64| -> f64 {
        data.rows().enumerate().map(|(n, row)| r[2 * n + k] * f(row)).sum()
    };
    for k in 0..2 {
        let n = sum(k, &|_| 1.0);
        assert!((fit.model.weights()[k] - n / 272.0).abs() < 1e-8);
        let mean = [0, 1].map(|j| sum(k, &|row| row[j]) / n);
        for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let scatter = sum(k, &|row| (row[i] - mean[i]) * (row[j] - mean[j])) / n;
            assert!((fit.model.mean(k)[j] - mean[j]).abs() < 1e-8);
            assert!((fit.model.covariance(k)[2 * i + j] - scatter).abs() < 1e-8);
        }
    }
}
// ANCHOR_END: weighted

// ANCHOR: recovers
/// Two thousand rows of a known mixture: the means come back within their standard errors.
fn recovers() -> Result<(), Error> {
    let rows = simulated(2000, 4)?;
    let best = GaussianMixture::new(rows, 2)?.fit(1)?.fit.model;
    let se = best.standard_errors()?;
    for k in 0..2 {
        let (mean, se) = (best.mean(k)[0], se.means[k]);
        let truth = if mean < 1.0 { 0.0 } else { 2.0 };
        println!("mean {truth} came back as {mean:.3} ± {se:.3}");
        assert!((mean - truth).abs() < 3.0 * se);
    }
    Ok(())
}
// ANCHOR_END: recovers

// ANCHOR: gaps
/// Iris with every tenth cell taken away at random, ten times: the same three clusters are found,
/// and nearly the same densities. Rows with gaps dropped, or filled with means, do worse each time.
fn gaps() -> Result<(), Error> {
    let rows = |cells: Vec<f64>| Observations::with_missing(cells, 4);
    let best = |rows: Observations| GaussianMixture::new(rows, 3)?.fit(1).map(|b| b.fit.model);
    let whole = rows(IRIS.iter().flatten().copied().collect())?;
    let top = best(whole.clone())?;
    let clusters = top.predict(&whole)?;
    let height = |model: &GaussianMixture| model.score(&whole).map(|s| s.iter().sum::<f64>());
    // nats below the best of the whole rows, and how many rows are in their cluster
    let (mut lost, mut least) = ([0.0; 3], [150; 3]);
    for seed in 0..10 {
        let mut rng = stream(seed, Purpose::Data, 0);
        let hole = |x: &f64| if rng.random::<f64>() < 0.1 { f64::NAN } else { *x };
        let holed = rows(IRIS.iter().flatten().map(hole).collect())?;
        let full = holed.rows().filter(|row| row.iter().all(|x| !x.is_nan()));
        let full = full.flatten().copied().collect();
        let mean = holed.mean();
        let fill = |(at, x): (usize, &f64)| if x.is_nan() { mean[at % 4] } else { *x };
        let filled = holed.values().iter().enumerate().map(fill).collect();
        let models = [best(holed.clone())?, best(rows(full)?)?, best(rows(filled)?)?];
        by_the_columns_that_are_there(&models[0], &holed, seed as usize)?;
        for (at, model) in models.iter().enumerate() {
            lost[at] += 0.1 * (height(&top)? - height(model)?);
            least[at] = least[at].min(agree(&model.predict(&holed)?, &clusters));
        }
        let [em, dropped, filled] = [0, 1, 2].map(|at| height(&models[at]));
        assert!(em.clone()? > dropped? && em? > filled?);
    }
    assert!(lost[0] < 10.0 && least[0] > 130, "{lost:?} {least:?}");
    // ANCHOR_END: gaps
    println!("a tenth of the cells of iris gone, ten times: nats lost, rows in their cluster");
    let names = ["as they are", "rows with gaps dropped", "gaps filled with means"];
    let mut table =
        String::from("| cells missing | nats lost | least in their cluster |\n|---|---|---|\n");
    for ((name, lost), least) in names.iter().zip(lost).zip(least) {
        println!("{name}: {lost:.0}, at least {least} of 150");
        table += &format!("| {name} | {lost:.0} | {least} |\n");
    }
    book::fragment("em_gmm_gaps", &table);
    Ok(())
}

/// How many rows are in the same cluster, whatever the clusters are called.
fn agree(a: &[usize], b: &[usize]) -> usize {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let same = |order: [usize; 3]| a.iter().zip(b).filter(|(a, b)| order[**a] == **b).count();
    orders.into_iter().map(same).max().unwrap_or(0)
}

// ANCHOR: marginal
/// A row with gaps has the density that a mixture of the columns it has gives it: every tenth row.
fn by_the_columns_that_are_there(
    model: &GaussianMixture,
    data: &Observations,
    first: usize,
) -> Result<(), Error> {
    for row in data.rows().skip(first).step_by(10) {
        let there: Vec<usize> = (0..4).filter(|&j| !row[j].is_nan()).collect();
        let of = |x: &[f64]| there.iter().map(|&j| x[j]).collect::<Vec<f64>>();
        let block = |k: usize| {
            let whole = model.covariance(k);
            there.iter().flat_map(|i| of(&whole[4 * i..4 * i + 4])).collect::<Vec<f64>>()
        };
        let columns = Observations::new(IRIS.iter().flat_map(|x| of(x)).collect(), there.len())?;
        let means = [0, 1, 2].map(|k| of(model.mean(k))).concat();
        let part = GaussianMixture::new(columns, 3)?;
        let part = part.with_parameters(model.weights(), &means, &[0, 1, 2].map(block).concat())?;
        assert!((part.log_density(&of(row)) - model.log_density(row)).abs() < 1e-9);
    }
    Ok(())
}
// ANCHOR_END: marginal

fn simulated(n: usize, seed: u64) -> Result<Observations, Error> {
    let any = Observations::new(vec![0.0, 1.0, 2.0, 3.0], 1)?;
    let truth = GaussianMixture::new(any, 2)?;
    let truth = truth.with_parameters(&[0.4, 0.6], &[0.0, 2.0], &[1.0, 0.64])?;
    Observations::new(truth.sample(n, &mut stream(seed, Purpose::Data, 0)).0, 1)
}

// ANCHOR: inexact
/// `z ~ Normal(0, 1)`, `x ~ Normal(2 z, s^2)`, and `x = 2` was seen; `theta = ln s^2`.
struct Line {
    log_s2: f64,
}

impl Line {
    /// `ln p(x)`: `x ~ Normal(0, 4 + s^2)`.
    fn log_evidence(&self) -> f64 {
        let v = 4.0 + self.log_s2.exp();
        -0.5 * (LN_2PI + v.ln() + 4.0 / v)
    }
    fn elbo(&self, q: &MeanFieldGaussian) -> f64 {
        let (m, v, s2) = (q.mean()[0], q.sd()[0].powi(2), self.log_s2.exp());
        let square = (2.0 - 2.0 * m).powi(2) + 4.0 * v;
        let likelihood = -0.5 * (LN_2PI + s2.ln() + square / s2);
        let prior = -0.5 * (LN_2PI + m * m + v);
        likelihood + prior + 0.5 * (LN_2PI + 1.0 + v.ln())
    }
}

impl Maximize<MeanFieldGaussian> for Line {
    fn maximize(&mut self, q: &MeanFieldGaussian) -> Result<f64, Error> {
        let (m, v) = (q.mean()[0], q.sd()[0].powi(2));
        self.log_s2 = ((2.0 - 2.0 * m).powi(2) + 4.0 * v).ln();
        Ok(self.elbo(q))
    }
}

/// An M-step under a `q` that is not the posterior: the bound rises, what it bounds falls.
fn inexact() -> Result<String, Error> {
    let (line, q) = (Line { log_s2: 0.0 }, MeanFieldGaussian::new(vec![0.0], &[0.1])?);
    let before = (line.elbo(&q), line.log_evidence());
    let options = Options { steps: 1, stop: Stop::Budget, ..Options::default() };
    let fit = fit(line, q, MStep, options)?;
    let after = (fit.model.elbo(&fit.q), fit.model.log_evidence());
    assert!((fit.model.log_s2.exp() - 4.04).abs() < 1e-12);
    for (got, want) in [(before.0, -4.7465), (after.0, -3.9246)] {
        assert!((got - want).abs() < 5e-5, "{got}");
    }
    for (got, want) in [(before.1, -2.1237), (after.1, -2.2099)] {
        assert!((got - want).abs() < 5e-5, "{got}");
    }
    println!("with an inexact q the ELBO went from {:.4} to {:.4}", before.0, after.0);
    println!("and the log evidence from {:.4} down to {:.4}", before.1, after.1);
    Ok(format!(
        "| an M-step under an inexact $q$: ELBO | ${:.4}$ | ${:.4}$ |\n| the same: log likelihood | ${:.4}$ | ${:.4}$ |\n",
        before.0, after.0, before.1, after.1
    ))
}
// ANCHOR_END: inexact

impl Model for Line {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("z");
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let off = 2.0 - 2.0 * z[0];
        let likelihood = LN_2PI + self.log_s2 + off * off / self.log_s2.exp();
        -0.5 * (likelihood + LN_2PI + z[0] * z[0])
    }
    fn n_theta(&self) -> usize {
        1
    }
    fn theta(&self, out: &mut [f64]) {
        out[0] = self.log_s2;
    }
    fn set_theta(&mut self, theta: &[f64]) {
        self.log_s2 = theta[0];
    }
}

// ANCHOR: recounted
/// EM, and the mistake of taking the labels' last probabilities for their prior in the next round:
/// every round counts the data once more.
fn recounted() -> Result<String, Error> {
    let data = simulated(2000, 5)?;
    let start = GaussianMixture::new(data.clone(), 2)?;
    let mut ends = Vec::new();
    for recount in [false, true] {
        let mut model = start.clone();
        let mut prior: Vec<f64> = Vec::new();
        let (mut path, mut r) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            path.push(model.criteria().log_likelihood);
            r = model.responsibilities(&data)?;
            if recount && !prior.is_empty() {
                for (i, r) in r.chunks_exact_mut(2).enumerate() {
                    // the densities without the weights, times the last probabilities
                    let joint = [0, 1].map(|k| r[k] / model.weights()[k] * prior[2 * i + k]);
                    (0..2).for_each(|k| r[k] = joint[k] / (joint[0] + joint[1]));
                }
            }
            prior.clone_from(&r);
            model = weighted_fit(model, &r)?;
        }
        let largest_fall = path.windows(2).map(|w| w[0] - w[1]).fold(0.0, f64::max);
        let hard = r.iter().filter(|r| **r > 0.999).count() as f64 / 2000.0;
        ends.push((path[path.len() - 1], largest_fall, hard));
    }
    let first = start.criteria().log_likelihood;
    let ((em, em_fall, em_hard), (off, off_fall, off_hard)) = (ends[0], ends[1]);
    assert!(em_fall < 1e-9 * em.abs() && off_fall > 1.0 && off < em - 10.0);
    assert!(em_hard < 0.3 && off_hard > 0.95);
    println!("EM ends at {em:.2} with {:.1} % of the labels beyond doubt", 100.0 * em_hard);
    println!(
        "recounting ends at {off:.2}, with {:.1} %, and fell by {off_fall:.1} in a step",
        100.0 * off_hard
    );
    Ok(format!(
        "| EM from a common start: log likelihood | ${first:.2}$ | ${em:.2}$ |\n| with yesterday's posterior as prior | ${first:.2}$ | ${off:.2}$ |\n"
    ))
}
// ANCHOR_END: recounted

/// The M-step by hand, in one dimension.
fn weighted_fit(model: GaussianMixture, r: &[f64]) -> Result<GaussianMixture, Error> {
    let x = model.data().memory().expect("in memory").values().to_vec();
    let sum = |k: usize, f: &dyn Fn(f64) -> f64| -> f64 {
        x.iter().enumerate().map(|(i, &x)| r[2 * i + k] * f(x)).sum()
    };
    let n = [0, 1].map(|k| sum(k, &|_| 1.0));
    let mean = [0, 1].map(|k| sum(k, &|x| x) / n[k]);
    let variance = [0, 1].map(|k| sum(k, &|x| (x - mean[k]).powi(2)) / n[k]);
    assert_eq!(model.covariance_kind(), Covariance::Full);
    model.with_parameters(&n, &mean, &variance)
}

fn draw(stairs: &Staircase) {
    let shown = stairs.halves.len().min(28);
    let top = stairs.evidence[stairs.evidence.len() - 1];
    // a half step is half a unit wide and as high as what it gained
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for (i, half) in stairs.halves[..shown].iter().enumerate() {
        x.extend([0.5 * i as f64, 0.5 * (i + 1) as f64]);
        y.extend([*half, *half]);
    }
    let steps = shown / 2;
    let at: Vec<f64> = (0..steps).map(|i| i as f64).collect();
    Figure::new("EM on Old Faithful, half step by half step")
        .axes("step", "nats")
        .line("ELBO after each half step", &x, &y)
        .points("log likelihood before the step", &at, &stairs.evidence[..steps])
        .dashed("maximum", &[0.0, steps as f64], &[top; 2])
        .colour(6)
        .save_or_check("em_gmm");
    let (model, q) = (&stairs.fit.model, &stairs.fit.q);
    println!(
        "the kinds of eruptions: {:.2} min ({:.0} %) and {:.2} min ({:.0} %); q has {} labels",
        model.mean(0)[0].min(model.mean(1)[0]),
        100.0 * model.weights()[usize::from(model.mean(0)[0] > model.mean(1)[0])],
        model.mean(0)[0].max(model.mean(1)[0]),
        100.0 * model.weights()[usize::from(model.mean(0)[0] < model.mean(1)[0])],
        q.dim()
    );
}
