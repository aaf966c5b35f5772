//! Columns explained by a few factors: EM against the closed form, and how many factors there are.

mod book;

use book::Figure;
use elbo::data::{IRIS, Observations};
use elbo::models::FactorAnalysis;
use elbo::models::factor_analysis::{BayesianFactors, FactorPosterior};
use elbo::{Anderson, EStep, Error, Fit, MStep, Options, Purpose, Squarem, Stop, fit, stream};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

const COLUMNS: usize = 10;
const PLANTED: usize = 3;
const ROWS: usize = 60;
/// The most factors that ten columns may have.
const MOST: usize = COLUMNS - 1;

fn main() -> Result<(), Error> {
    println!("How many factors explain ten columns, and who can tell?");
    em_meets_the_closed_form()?;
    let (seen, new) = (planted(ROWS, 0)?, planted(2000, 1)?);
    let table = by_number(&seen, &new)?;
    how_many(&seen, &table)?;
    gaps(&planted(200, 0)?)?;
    crawling(&seen)?;
    println!("OK: EM ends at the closed form, and relevance finds the {PLANTED} planted factors");
    Ok(())
}

// ANCHOR: em
fn em_meets_the_closed_form() -> Result<(), Error> {
    let iris = Observations::new(IRIS.iter().flatten().copied().collect(), 4)?;
    let model = FactorAnalysis::principal(iris, 2)?;
    let (exact, q) = (model.closed_form()?, model.start());
    let options = Options { stop: Stop::Exact { gain: 1e-13 }, ..Options::exact() };
    let em = fit(model, q, Squarem::new((EStep, MStep)), options)?;
    let reached = em.trace.last().and_then(|step| step.elbo).unwrap_or(f64::NAN);
    assert!((reached - exact.log_likelihood()).abs() < 1e-6);
    // loadings may be turned, the covariance they make may not
    for (a, b) in em.model.covariance().iter().zip(exact.covariance()) {
        assert!((a - b).abs() < 1e-4);
    }
    // ANCHOR_END: em
    println!("iris, two factors: EM {reached:.5}, closed form {:.5}", exact.log_likelihood());
    Ok(())
}

/// Ten columns by three factors and noise of sd 1: the same factors in both samples.
fn planted(rows: usize, sample: u64) -> Result<Observations, Error> {
    let mut shared = stream(5, Purpose::Data, 0);
    let mut rng = stream(5, Purpose::Data, 1 + sample);
    let w: Vec<f64> = (0..COLUMNS * PLANTED)
        .map(|at| {
            let size = [1.5, 1.0, 0.8][at % PLANTED];
            let normal: f64 = StandardNormal.sample(&mut shared);
            size * normal
        })
        .collect();
    let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
    let mut cells = Vec::with_capacity(rows * COLUMNS);
    for _ in 0..rows {
        let z: [f64; PLANTED] = std::array::from_fn(|_| normal());
        for w in w.chunks_exact(PLANTED) {
            cells.push(w.iter().zip(&z).map(|(w, z)| w * z).sum::<f64>() + normal());
        }
    }
    Observations::new(cells, COLUMNS)
}

// ANCHOR: bayes
fn bayesian(data: &Observations, factors: usize) -> Result<Bayes, Error> {
    let model = FactorAnalysis::principal(data.clone(), factors)?.bayesian();
    let q = model.start();
    let options = Options { stop: Stop::Exact { gain: 1e-12 }, ..Options::exact() };
    fit(model, q, Squarem::new(EStep), options)
}
// ANCHOR_END: bayes

type Bayes = Fit<BayesianFactors, FactorPosterior>;

/// For each number of factors: log likelihood, what the maximum says of new rows, the bound, and
/// what the posterior says of new rows; a row each, in nats a row.
type Row = [f64; 4];

// ANCHOR: number
fn by_number(seen: &Observations, new: &Observations) -> Result<Vec<Row>, Error> {
    let per_row = |scores: Vec<f64>| scores.iter().sum::<f64>() / scores.len() as f64;
    let mut table = Vec::new();
    for factors in 1..=MOST {
        let point = FactorAnalysis::principal(seen.clone(), factors)?.closed_form()?;
        let bayes = bayesian(seen, factors)?;
        let bound = bayes.trace.last().and_then(|step| step.elbo).unwrap_or(f64::NAN);
        assert!(bound < point.log_likelihood(), "no evidence is above the highest likelihood");
        table.push([
            point.log_likelihood() / seen.len() as f64,
            per_row(point.score(new)?),
            bound / seen.len() as f64,
            per_row(bayes.model.score(&bayes.q, new)?),
        ]);
    }
    let best = |column: usize| {
        let at = |row: &usize| table[*row - 1][column];
        (1..=MOST).max_by(|a, b| at(a).total_cmp(&at(b))).unwrap_or(0)
    };
    // the likelihood of what was seen wants all it can get
    assert_eq!(best(0), MOST);
    // of new rows the maximum says the less the more needless factors it has
    assert!(best(1) < MOST && table[PLANTED - 1][1] - table[MOST - 1][1] > 0.1);
    // needless factors cost the posterior next to nothing
    assert!(table[PLANTED - 1][3] - table[MOST - 1][3] < 0.01);
    assert!(best(2) == PLANTED);
    // ANCHOR_END: number
    println!("log likelihood is highest with {} factors, of new rows with {}", best(0), best(1));
    println!("the bound is highest with {}", best(2));
    let lines = (1..=MOST).map(|factors| {
        let [seen, new, bound, bayes] = table[factors - 1];
        format!("| {factors} | ${seen:.3}$ | ${new:.3}$ | ${bound:.3}$ | ${bayes:.3}$ |\n")
    });
    let head =
        "| factors | log likelihood | of new rows | bound | of new rows |\n|---|---|---|---|---|\n";
    book::fragment("ppca", &format!("{head}{}", lines.collect::<String>()));
    let at: Vec<f64> = (1..=MOST).map(|k| k as f64).collect();
    let column = |c: usize| table.iter().map(|row| row[c]).collect::<Vec<f64>>();
    Figure::new("What the number of factors does to new rows")
        .axes("factors allowed", "log density of a row, nats")
        .line("highest likelihood, rows seen", &at, &column(0))
        .line("the same, new rows", &at, &column(1))
        .line("posterior, new rows", &at, &column(3))
        .save_or_check("ppca_number");
    Ok(table)
}

// ANCHOR: relevant
fn how_many(seen: &Observations, table: &[Row]) -> Result<(), Error> {
    let bayes = bayesian(seen, MOST)?;
    assert_eq!(bayes.q.relevant().len(), PLANTED);
    let size = |loadings: &[f64], k: usize| {
        let squares = loadings.chunks_exact(MOST).map(|w| w[k] * w[k]);
        squares.sum::<f64>().sqrt()
    };
    let sizes = |loadings: Vec<f64>| {
        let mut sizes: Vec<f64> = (0..MOST).map(|k| size(&loadings, k)).collect();
        sizes.sort_by(|a, b| b.total_cmp(a));
        sizes
    };
    let point = FactorAnalysis::principal(seen.clone(), MOST)?.closed_form()?;
    let (by_likelihood, by_posterior) =
        (sizes(point.loadings()), sizes(bayes.model.loadings(&bayes.q)));
    // what is not needed is switched off, where the likelihood keeps it
    assert!(by_posterior[PLANTED] < 0.05 && by_likelihood[PLANTED] > 0.5);
    // ANCHOR_END: relevant
    let signal = bayes.q.signal();
    for k in bayes.q.relevant() {
        let alpha = bayes.q.precisions()[k];
        println!("factor {k}: signal {:.0}, alpha {alpha:.2}", signal[k]);
    }
    let noise = bayes.model.uniquenesses(&bayes.q)[0];
    println!(
        "variance of the noise {noise:.3} (planted: 1; by {MOST} factors of highest likelihood {:.3})",
        point.uniquenesses()[0]
    );
    assert!((noise - 1.0).abs() < 0.2 && point.uniquenesses()[0] < noise);
    let at: Vec<f64> = (1..=MOST).map(|k| k as f64).collect();
    Figure::new("Nine factors allowed, three planted")
        .axes("factor, the largest first", "length of its loadings")
        .points("highest likelihood", &at, &by_likelihood)
        .points("posterior mean, with relevance", &at, &by_posterior)
        .dashed("", &[1.0, MOST as f64], &[0.0; 2])
        .colour(6)
        .y_from(-0.2, 1.1 * by_likelihood[0])
        .save_or_check("ppca");
    println!(
        "of new rows, {MOST} factors: {:.3} by likelihood, {:.3} by posterior",
        table[MOST - 1][1],
        table[MOST - 1][3]
    );
    Ok(())
}

// ANCHOR: gaps
fn gaps(whole: &Observations) -> Result<(), Error> {
    let mut rng = stream(6, Purpose::Data, 0);
    let hole = |x: &f64| if rng.random::<f64>() < 0.3 { f64::NAN } else { *x };
    let holed = whole.values().iter().map(hole).collect();
    let holed = Observations::with_missing(holed, COLUMNS)?;
    let model = FactorAnalysis::principal(holed.clone(), PLANTED)?;
    let q = model.start();
    let model = fit(model, q, Anderson::new((EStep, MStep)), Options::exact())?.model;
    // the cells that were taken away, and what they are taken for
    let filled = model.reconstruct(&holed)?;
    let (mean, variance) = (holed.mean(), holed.variance());
    let gone = || (0..filled.len()).filter(|&at| holed.values()[at].is_nan());
    let off = |guess: &dyn Fn(usize) -> f64| {
        let squares = gone().map(|at| (whole.values()[at] - guess(at)).powi(2));
        (squares.sum::<f64>() / gone().count() as f64).sqrt()
    };
    let by_rows = [off(&|at| filled[at]), off(&|at| mean[at % COLUMNS])];
    assert!(by_rows[0] < 0.8 * by_rows[1], "{by_rows:?}");
    // ln p(x_m | x_o) = ln p(x) - ln p(x_o), beside a normal for each column
    let all = |scores: Vec<f64>| scores.iter().sum::<f64>();
    let given = all(model.score(whole)?) - all(model.score(&holed)?);
    let alone = gone().map(|at| {
        let (x, j) = (whole.values()[at], at % COLUMNS);
        -0.5 * ((std::f64::consts::TAU * variance[j]).ln() + (x - mean[j]).powi(2) / variance[j])
    });
    let density = [given, alone.sum::<f64>()].map(|sum| sum / gone().count() as f64);
    assert!(density[0] > density[1] + 0.2, "{density:?}");
    // ANCHOR_END: gaps
    println!(
        "{} cells gone: off by {:.2} filled by factors, {:.2} by means",
        gone().count(),
        by_rows[0],
        by_rows[1]
    );
    let line =
        |name: &str, at: usize| format!("| {name} | {:.2} | ${:.2}$ |\n", by_rows[at], density[at]);
    let head = "| cells taken away, by | off by | log density of a cell |\n|---|---|---|\n";
    let table = line("the cells of their row", 0) + &line("their column alone", 1);
    book::fragment("ppca_gaps", &format!("{head}{table}"));
    Ok(())
}

/// Plain steps crawl where a factor is on its way out.
fn crawling(seen: &Observations) -> Result<(), Error> {
    let model = FactorAnalysis::principal(seen.clone(), MOST)?.bayesian();
    let q = model.start();
    let options = Options { stop: Stop::Exact { gain: 1e-12 }, ..Options::exact() };
    let plain = fit(model, q, EStep, options)?;
    let fast = bayesian(seen, MOST)?;
    let end = |fit: &Bayes| fit.trace.last().and_then(|step| step.elbo).unwrap_or(f64::NAN);
    assert!((end(&fast) - end(&plain)).abs() < 1e-3);
    println!("{} plain steps, or {} looking ahead", plain.trace.len(), fast.trace.len());
    Ok(())
}
