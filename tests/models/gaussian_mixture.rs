//! Mixtures of normal distributions by EM.

use std::f64::consts::PI;

use elbo::data::{IRIS, OLD_FAITHFUL, Observations};
use elbo::models::gaussian_mixture::{Labels, Prior, Search, Start, select};
use elbo::models::{Covariance, GaussianMixture};
use elbo::warning::Code;
use elbo::{
    EStep, Error, Fit, MStep, Minibatch, Model, NaturalStep, Options, Purpose, Run, Squarem, Stop,
    fit, stream,
};
use nalgebra::{DMatrix, DVector};

use crate::moves::{elbo_is_the_mean_of_its_draws, last, message, never_descends};
use crate::support::{assert_all_close, assert_close, exact_cases, numbers};

/// `ln weight_k + ln Normal(x; mean_k, covariance_k)`, by the definition.
struct Plain(Vec<(f64, DMatrix<f64>, DVector<f64>)>);

impl Plain {
    fn of(model: &GaussianMixture) -> Plain {
        let d = model.data().dim();
        let part = |k: usize| {
            let c = DMatrix::from_row_slice(d, d, &model.covariance(k));
            let cholesky = c.cholesky().expect("positive definite");
            let log_det: f64 = cholesky.l_dirty().diagonal().iter().map(|l| l.ln()).sum();
            let constant = model.weights()[k].ln() - log_det - 0.5 * d as f64 * (2.0 * PI).ln();
            (constant, cholesky.inverse(), DVector::from_column_slice(model.mean(k)))
        };
        Plain((0..model.len()).map(part).collect())
    }

    fn logs(&self, x: &[f64]) -> Vec<f64> {
        let x = DVector::from_column_slice(x);
        let log = |(constant, precision, mean): &(f64, DMatrix<f64>, DVector<f64>)| {
            let y = &x - mean;
            constant - 0.5 * y.dot(&(precision * &y))
        };
        self.0.iter().map(log).collect()
    }

    fn log_density(&self, x: &[f64]) -> f64 {
        let logs = self.logs(x);
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln()
    }
}

fn log_likelihood(model: &GaussianMixture, data: &Observations) -> f64 {
    let plain = Plain::of(model);
    data.rows().enumerate().map(|(i, x)| data.weight(i) * plain.log_density(x)).sum()
}

fn faithful() -> Observations {
    let cells = OLD_FAITHFUL.iter().flatten().copied().collect();
    Observations::new(cells, 2).expect("numbers")
}

fn iris() -> Observations {
    Observations::new(IRIS.iter().flatten().copied().collect(), 4).expect("numbers")
}

fn exactly(gain: f64) -> Options {
    Options { stop: Stop::Exact { gain }, ..Options::exact() }
}

fn steps(steps: usize) -> Options {
    Options { steps, stop: Stop::Budget, ..Options::default() }
}

type Em = (EStep, MStep);

fn em(model: GaussianMixture, options: Options) -> Result<Fit<GaussianMixture, Labels>, Error> {
    let q = model.labels();
    fit(model, q, (EStep, MStep), options)
}

/// The components in the order of their first mean.
fn order(model: &GaussianMixture) -> Vec<usize> {
    let mut order: Vec<usize> = (0..model.len()).collect();
    order.sort_by(|&a, &b| model.mean(a)[0].total_cmp(&model.mean(b)[0]));
    order
}

#[test]
fn the_reference_optima_are_found_from_the_default_start() -> Result<(), Error> {
    for case in exact_cases("gmm_em") {
        let inputs = &case["inputs"];
        let name = inputs["dataset"].as_str().expect("a name");
        let data = match name {
            n if n.starts_with("iris") => iris(),
            n if n.ends_with("1-D)") => {
                Observations::new(OLD_FAITHFUL.iter().map(|r| r[0]).collect(), 1)?
            }
            _ => faithful(),
        };
        let k = inputs["components"].as_u64().expect("a number") as usize;
        let covariance = match inputs["covariance"].as_str() {
            Some("tied") => Covariance::Tied,
            _ => Covariance::Full,
        };
        let model = GaussianMixture::new(data, k)?.with_covariance(covariance)?;
        let want = |what: &str| numbers(&case["expected"][what]);
        for seed in 0..5 {
            let best = model.fit(seed)?.fit.model;
            let criteria = best.criteria();
            let what = format!("{name}, {covariance:?}, seed {seed}");
            let off = criteria.log_likelihood - want("log_likelihood")[0];
            assert!(off.abs() < 1e-3, "{what}: off by {off}");
            assert_eq!(criteria.n_parameters as f64, want("n_parameters")[0]);
            assert_close("BIC", -criteria.bic, want("bic_mclust_sign")[0], 1e-6);
            assert_close("AIC", criteria.aic, want("aic")[0], 1e-6);
            let order = order(&best);
            let all = |f: &dyn Fn(usize) -> Vec<f64>| -> Vec<f64> {
                order.iter().flat_map(|&k| f(k)).collect()
            };
            assert_all_close(&what, &all(&|k| vec![best.weights()[k]]), &want("weights"), 1e-3);
            assert_all_close(&what, &all(&|k| best.mean(k).to_vec()), &want("means"), 1e-3);
            let covariances = match covariance {
                Covariance::Tied => best.covariance(0),
                _ => all(&|k| best.covariance(k)),
            };
            assert_all_close(&what, &covariances, &want("covariances"), 1e-3);
        }
    }
    Ok(())
}

/// R's mclust stops at -1126.326 on the second.
#[test]
fn at_least_95_of_100_seeds_find_the_optimum() -> Result<(), Error> {
    for (data, k, covariance, optimum) in [
        (faithful(), 2, Covariance::Full, -1130.264),
        (faithful(), 3, Covariance::Tied, -1126.316),
        (iris(), 3, Covariance::Full, -180.1855),
    ] {
        let model = GaussianMixture::new(data, k)?.with_covariance(covariance)?;
        let mut found = 0;
        for seed in 0..100 {
            let reached = model.fit(seed)?.fit.model.criteria().log_likelihood;
            assert!(reached < optimum + 1e-3, "{covariance:?}, seed {seed}: {reached}");
            found += usize::from((reached - optimum).abs() < 1e-3);
        }
        println!("{k} components, {covariance:?}: {found} of 100 seeds");
        assert!(found >= 95, "{k} components, {covariance:?}: {found} of 100");
    }
    Ok(())
}

#[test]
fn the_bound_touches_after_every_e_step_and_no_half_step_descends() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        for (data, k, seed) in [(faithful(), 3, 1), (iris(), 2, 2)] {
            let prior = Prior::weak(&data, k);
            let plain = GaussianMixture::new(data.clone(), k)?.with_covariance(covariance)?;
            let plain = plain.started(Start::Labels, seed)?;
            for model in [plain.clone(), plain.with_prior(prior)?] {
                let q = model.labels();
                let mut run = Run::new(model, q, (EStep, MStep), steps(40))?;
                let mut before = f64::NEG_INFINITY;
                for _ in 0..40 {
                    let evidence = log_likelihood(&run.model, &data) + run.model.log_prior();
                    run.step()?;
                    let step = run.trace.last().expect("a step was taken");
                    let (half, whole) = (step.between.expect("E"), step.elbo.expect("M"));
                    assert!((half - evidence).abs() < 1e-9 * evidence.abs(), "{half} {evidence}");
                    assert!(half >= before - 1e-10 * half.abs(), "{covariance:?} {before} {half}");
                    assert!(whole >= half - 1e-10 * half.abs(), "{covariance:?} {half} {whole}");
                    before = whole;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn the_m_step_leaves_no_slope() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let weights: Vec<f64> = (0..150).map(|i| 0.5 + (i % 4) as f64).collect();
        let data = iris().weighted(weights)?;
        let prior = Prior { concentration: 2.0, shrinkage: 3.0, ..Prior::weak(&data, 3) };
        let plain = GaussianMixture::new(data.clone(), 3)?.with_covariance(covariance)?;
        for model in [plain.clone(), plain.with_prior(prior)?] {
            let fit = em(model, steps(3))?;
            let r = fit.q.responsibilities();
            let expected = |model: &GaussianMixture| {
                let plain = Plain::of(model);
                let row = |(i, x): (usize, &[f64])| {
                    let logs = plain.logs(x);
                    let mean: f64 = (0..3).map(|k| r[i * 3 + k] * logs[k]).sum();
                    data.weight(i) * mean
                };
                data.rows().enumerate().map(row).sum::<f64>() + model.log_prior()
            };
            let mut theta = vec![0.0; fit.model.n_theta()];
            fit.model.theta(&mut theta);
            let mut moved = fit.model.clone();
            for j in 0..theta.len() {
                // factors have entries of a tenth or so, hence third derivatives of 1e3 a row
                const STEP: f64 = 1e-5;
                let mut at = |step: f64| {
                    let mut theta = theta.clone();
                    theta[j] += step;
                    moved.set_theta(&theta);
                    expected(&moved)
                };
                let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP) / data.total_weight();
                assert!(slope.abs() < 1e-6, "{covariance:?}: slope {slope:e} a row in {j}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_elbo_is_the_mean_of_its_draws() -> Result<(), Error> {
    // half a step: q is the posterior of the theta before, so the bound does not touch
    let mut model = GaussianMixture::new(faithful(), 2)?.with_covariance(Covariance::Diagonal)?;
    model = model.with_prior(Prior::weak(&faithful(), 2))?.started(Start::Rows, 3)?;
    let fit = em(model, steps(2))?;
    elbo_is_the_mean_of_its_draws(&fit.model, &fit.q, last(&fit));
    Ok(())
}

#[test]
fn no_step_descends_sped_up_or_not() -> Result<(), Error> {
    let model = GaussianMixture::new(faithful(), 3)?.with_covariance(Covariance::Tied)?;
    let q = model.labels();
    let plain = never_descends(model.clone(), q.clone(), (EStep, MStep));
    let fast = never_descends(model, q, Squarem::new((EStep, MStep)));
    assert!((last(&plain) - last(&fast)).abs() < 1e-6);
    assert!(fast.trace.len() * 3 < plain.trace.len());
    Ok(())
}

#[test]
fn a_weight_of_two_is_the_row_twice() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let once: Vec<f64> = OLD_FAITHFUL.iter().flatten().copied().collect();
        let mut twice = once.clone();
        twice.extend_from_slice(&once[..200]);
        let weights = (0..272).map(|i| if i < 100 { 2.0 } else { 1.0 }).collect();
        let weighted = Observations::new(once, 2)?.weighted(weights)?;
        let start = (vec![0.4, 0.6], vec![2.0, 55.0, 4.0, 80.0]);
        let shape = match covariance {
            Covariance::Full => vec![0.5, 0.0, 0.0, 50.0, 0.5, 0.0, 0.0, 50.0],
            Covariance::Tied => vec![0.5, 0.0, 0.0, 50.0],
            Covariance::Diagonal => vec![0.5, 50.0, 0.5, 50.0],
            Covariance::Spherical => vec![20.0, 20.0],
        };
        let climb = |data: Observations| {
            let model = GaussianMixture::new(data, 2)?.with_covariance(covariance)?;
            em(model.with_parameters(&start.0, &start.1, &shape)?, steps(5))
        };
        let (a, b) = (climb(weighted)?, climb(Observations::new(twice, 2)?)?);
        assert_close("ELBO", last(&a), last(&b), 1e-11);
        for k in 0..2 {
            assert_all_close("mean", a.model.mean(k), b.model.mean(k), 1e-11);
            assert_all_close("covariance", &a.model.covariance(k), &b.model.covariance(k), 1e-10);
        }
    }
    Ok(())
}

#[test]
fn the_answer_follows_the_units_and_the_origin() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let plain = GaussianMixture::new(faithful(), 2)?.with_covariance(covariance)?.fit(3)?;
        for (scale, shift) in [(1e12, 0.0), (1e-12, 0.0), (1.0, 1e6), (1e-12, 1e-5)] {
            let cells = faithful().values().iter().map(|x| scale * x + shift).collect();
            let model = GaussianMixture::new(Observations::new(cells, 2)?, 2)?;
            let other = model.with_covariance(covariance)?.fit(3)?;
            let (a, b) = (order(&plain.fit.model), order(&other.fit.model));
            let elbo = last(&other.fit) + 272.0 * 2.0 * f64::ln(scale);
            assert_close("ELBO", elbo, last(&plain.fit), 1e-7);
            for (&a, &b) in a.iter().zip(&b) {
                for j in 0..2 {
                    let (want, got) = (plain.fit.model.mean(a)[j], other.fit.model.mean(b)[j]);
                    assert_close("mean", (got - shift) / scale, want, 1e-6);
                }
                let back: Vec<f64> =
                    other.fit.model.covariance(b).iter().map(|c| c / scale / scale).collect();
                assert_all_close("covariance", &back, &plain.fit.model.covariance(a), 1e-6);
            }
        }
    }
    Ok(())
}

#[test]
fn a_minibatch_of_everything_is_a_step_with_everything() -> Result<(), Error> {
    let model = GaussianMixture::new(iris(), 3)?;
    let q = model.labels();
    let whole = fit(model.clone(), q.clone(), (EStep, MStep), steps(6))?;
    let moves = (NaturalStep::constant(1.0), MStep);
    let shuffled = fit(model, q, Minibatch::new(150, moves), steps(6))?;
    assert_close("ELBO", last(&shuffled), last(&whole), 1e-12);
    let theta = |fit: &Fit<GaussianMixture, Labels>| {
        let mut theta = vec![0.0; fit.model.n_theta()];
        fit.model.theta(&mut theta);
        theta
    };
    assert_all_close("theta", &theta(&shuffled), &theta(&whole), 1e-11);
    Ok(())
}

#[test]
fn online_em_comes_close_to_the_maximum_in_a_few_epochs() -> Result<(), Error> {
    let truth = GaussianMixture::new(faithful(), 2)?.fit(1)?.fit.model;
    let (rows, _) = truth.sample(20_000, &mut stream(5, Purpose::Data, 0));
    let data = std::sync::Arc::new(Observations::new(rows, 2)?);
    let model = GaussianMixture::new(data.clone(), 2)?;
    let best = em(model.clone(), exactly(1e-12))?;
    let q = model.labels();
    // 0.6 as Cappe and Moulines (2009) advise
    let moves = Minibatch::new(200, (NaturalStep::decaying(1.0, 0.6), MStep));
    let online = fit(model, q, moves, steps(300))?;
    let lost =
        (log_likelihood(&best.model, &data) - log_likelihood(&online.model, &data)) / 20_000.0;
    // eleven parameters within half a nat a thousand rows: what 1000 rows would leave is 5.5e-3
    assert!((0.0..5.5e-3).contains(&lost), "{lost} nats a row below the maximum");
    Ok(())
}

#[test]
fn a_run_that_was_interrupted_ends_with_the_same_bits() -> Result<(), Error> {
    let path = std::env::temp_dir().join(format!("elbo-mixture-{}.json", std::process::id()));
    let model = GaussianMixture::new(iris(), 3)?;
    let start = || Run::new(model.clone(), model.labels(), (EStep, MStep), steps(20));
    let whole = start()?.finish()?;
    let mut half = start()?;
    for _ in 0..7 {
        half.step()?;
    }
    half.save(&path)?;
    let resumed: Run<GaussianMixture, Labels, Em> = Run::resume(&path, model.clone())?;
    std::fs::remove_file(&path).expect("the checkpoint was written");
    let resumed = resumed.finish()?;
    assert_eq!(resumed.trace, whole.trace);
    for k in 0..3 {
        assert_eq!(resumed.model.mean(k), whole.model.mean(k));
        assert_eq!(resumed.model.covariance(k), whole.model.covariance(k));
    }
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Result<(), Error> {
    let (rows, _) = GaussianMixture::new(iris(), 3)?.sample(5000, &mut stream(2, Purpose::Data, 0));
    let model = GaussianMixture::new(Observations::new(rows, 4)?, 3)?;
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads").install(|| em(model.clone(), steps(5)))
    };
    let (one, two, eight) = (on(1)?, on(2)?, on(8)?);
    assert_eq!(one.trace, two.trace);
    assert_eq!(one.trace, eight.trace);
    Ok(())
}

#[test]
fn the_truth_is_found_within_its_standard_errors() -> Result<(), Error> {
    let d = 2;
    let (weights, means) = ([0.3, 0.7], [0.0, 0.0, 3.0, 1.0]);
    let covariances = [1.0, 0.5, 0.5, 2.0, 0.5, -0.2, -0.2, 1.0];
    let truth = GaussianMixture::new(faithful(), 2)?;
    let truth = truth.with_parameters(&weights, &means, &covariances)?;
    let (rows, labels) = truth.sample(4000, &mut stream(3, Purpose::Data, 0));
    let best = GaussianMixture::new(Observations::new(rows, d)?, 2)?.fit(0)?.fit.model;
    let (order, se) = (order(&best), best.standard_errors()?);
    // 15 numbers, each off by more than 4 standard errors once in 16 000
    for (k, &at) in order.iter().enumerate() {
        assert!((best.weights()[at] - weights[k]).abs() < 4.0 * se.weights[at]);
        for j in 0..d {
            let off = (best.mean(at)[j] - means[k * d + j]).abs();
            assert!(off < 4.0 * se.means[at * d + j], "{off} {}", se.means[at * d + j]);
            assert!(se.means[at * d + j] < 0.1);
        }
        for c in 0..d * d {
            let off = (best.covariance(at)[c] - covariances[k * d * d + c]).abs();
            assert!(off < 4.0 * se.covariances[at * d * d + c]);
        }
    }
    // where labels overlap little, nearly all are found
    let found = best.predict(best.data())?;
    let right = labels.iter().zip(&found).filter(|(truth, found)| order[**truth] == **found);
    assert!(right.count() > 3700);
    let density = best.log_density(&[1.0, 1.0]);
    assert_close("density", density, Plain::of(&best).log_density(&[1.0, 1.0]), 1e-12);
    assert_close(
        "score",
        best.score(best.data())?.iter().sum(),
        log_likelihood(&best, best.data().memory().expect("in memory")),
        1e-11,
    );
    Ok(())
}

#[test]
fn standard_errors_of_a_single_normal_are_those_of_the_textbook() -> Result<(), Error> {
    // with every row its mirror image, so that third moments are 0
    let cells = IRIS.iter().flatten().copied().chain(IRIS.iter().flatten().map(|x| -x)).collect();
    let data = Observations::new(cells, 4)?;
    for covariance in [Covariance::Full, Covariance::Tied] {
        let model = GaussianMixture::new(data.clone(), 1)?.with_covariance(covariance)?;
        let fit = em(model, steps(2))?.model;
        let se = fit.standard_errors()?;
        for j in 0..4 {
            let textbook = (fit.covariance(0)[j * 5] / 300.0).sqrt();
            assert_close("standard error", se.means[j], textbook, 1e-9);
        }
        assert_eq!(se.weights, [0.0]);
    }
    let few = GaussianMixture::new(Observations::new(vec![0.0, 0.5, 1.0, 4.0, 4.5, 5.5], 1)?, 3)?;
    let text = message(few.standard_errors());
    assert!(text.contains("6 rows do not tell 8 parameters apart"), "{text}");
    Ok(())
}

#[test]
fn the_prior_pulls_as_much_as_it_says() -> Result<(), Error> {
    // the mode by hand
    let data = Observations::new(vec![1.0, 3.0], 1)?;
    let prior = Prior {
        concentration: 2.0,
        mean: vec![0.0],
        shrinkage: 1.0,
        degrees: 3.0,
        scale: vec![4.0],
    };
    let model = GaussianMixture::new(data, 1)?.with_prior(prior)?;
    let fit = em(model, steps(3))?;
    let mean = 4.0 / 3.0; // (1 + 3 + 0) / (2 + 1)
    let scatter = (1.0f64 - mean).powi(2) + (3.0f64 - mean).powi(2) + mean * mean;
    assert_close("mean", fit.model.mean(0)[0], mean, 1e-14);
    // nu + d + 2 + n
    assert_close("variance", fit.model.covariance(0)[0], (scatter + 4.0) / 8.0, 1e-14);
    Ok(())
}

#[test]
fn components_that_collapse_are_named_with_their_rows() -> Result<(), Error> {
    // one row each
    let data = Observations::new(vec![0.0, 1.0, 4.0], 1)?;
    let text = message(em(GaussianMixture::new(data.clone(), 3)?, exactly(1e-12)));
    assert!(text.starts_with("E15 MStep: component "), "{text}");
    assert!(text.contains("has collapsed: nothing is left of its variance in column 0"), "{text}");
    assert!(text.contains("its only row is "), "{text}");
    assert!(text.contains("`.with_prior(Prior::weak(&data, K))`"), "{text}");
    let prior = Prior::weak(&data, 3);
    em(GaussianMixture::new(data, 3)?.with_prior(prior)?, exactly(1e-12))?;
    // some starts of iris collapse: said, not hidden
    let best = GaussianMixture::new(iris(), 3)?.fit(0)?;
    assert!(best.attempts.iter().any(|a| a.elbo.is_err()));
    let warning = &best.fit.warnings[0];
    assert_eq!(warning.code, Code::CollapsedComponent);
    assert!(warning.message.contains("of 10 starts failed; the first: E15 MStep: component"));
    Ok(())
}

#[test]
fn data_that_cannot_be_fitted_are_refused() -> Result<(), Error> {
    let cells =
        |values: &[f64], dim: usize| Observations::new(values.to_vec(), dim).expect("numbers");
    let same = cells(&[1.0, 2.0, 1.0, 2.0, 3.0, 4.0], 2);
    assert_eq!(
        message(GaussianMixture::new(same, 3)),
        "E10 components is 3; the data have only 2 different rows; take at most 2"
    );
    assert!(message(GaussianMixture::new(faithful(), 0)).starts_with("E10 components is 0"));
    let flat = cells(&[1.0, 5.0, 2.0, 5.0, 4.0, 5.0], 2).named(["a", "b"])?;
    let text = message(GaussianMixture::new(flat, 2));
    assert!(text.starts_with("E01 column \"b\" is constant, 5. Drop it"), "{text}");
    let twin = cells(&[1.0, 2.0, 2.0, 4.0, 4.0, 8.0, 5.0, 10.0], 2);
    let text = message(GaussianMixture::new(twin, 2));
    assert!(
        text.starts_with("E04 the covariance of the data is not a covariance matrix"),
        "{text}"
    );
    assert!(text.contains("determine column 1") && text.contains("Covariance::Diagonal"), "{text}");
    let model = GaussianMixture::new(faithful(), 2)?;
    let text = message(model.clone().with_parameters(&[1.0, -1.0], &[0.0; 4], &[1.0; 8]));
    assert!(text.starts_with("E10 weights[1] is -1"), "{text}");
    let text = message(model.clone().with_parameters(&[1.0, 1.0], &[0.0; 4], &[1.0; 8]));
    assert!(text.starts_with("E04 covariance 0 is not a covariance matrix"), "{text}");
    assert!(message(model.score(&iris())).starts_with("E03 a row has 4 values"));
    let prior = Prior { shrinkage: 0.0, ..Prior::weak(&faithful(), 2) };
    assert!(message(model.with_prior(prior)).starts_with("E10 shrinkage is 0"));
    Ok(())
}

#[test]
fn answers_as_good_but_different_are_reported() -> Result<(), Error> {
    // a square of four heaps, in two by two ways
    let mut rng = stream(8, Purpose::Data, 0);
    let heap = GaussianMixture::new(faithful(), 1)?.with_covariance(Covariance::Spherical)?;
    let mut cells = Vec::new();
    let (noise, _) = heap.with_parameters(&[1.0], &[0.0, 0.0], &[0.05])?.sample(50, &mut rng);
    for (a, b) in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] {
        // the same heap mirrored, so that the two ways are equally good
        cells.extend(noise.chunks(2).flat_map(|u| [a * (1.0 + u[0]), b * (1.0 + u[1])]));
        cells.extend(noise.chunks(2).flat_map(|u| [a * (1.0 + u[1]), b * (1.0 + u[0])]));
    }
    let model = GaussianMixture::new(Observations::new(cells, 2)?, 2)?;
    let search = Search { start: Start::Labels, ..Search::default() };
    let best = model.with_covariance(Covariance::Diagonal)?.fit_with(&search)?;
    let codes: Vec<Code> = best.fit.warnings.iter().map(|w| w.code).collect();
    assert!(codes.contains(&Code::Multimodal), "{best}");
    // the other way is kept, and says what its attempt said
    let rival = best.rival.as_ref().expect("it is as good");
    let reached = best.attempts[rival.start].elbo.clone()?;
    assert_eq!(rival.fit.model.criteria().log_likelihood, last(&rival.fit));
    assert_close("ELBO", last(&rival.fit), reached, 1e-14);
    assert_close("below", last(&best.fit) - reached, rival.below, 1e-12);
    assert!(rival.start != best.start && rival.below < 1.0);
    // one cuts the square across, the other along
    let across = |m: &GaussianMixture| (m.mean(0)[0] - m.mean(1)[0]).abs() > 1.0;
    assert!(across(&best.fit.model) != across(&rival.fit.model), "{best}");
    let text = best.fit.warnings.iter().find(|w| w.code == Code::Multimodal).expect("W08");
    assert!(text.message.contains(" of 10 reached another answer, "), "{text}");
    assert!(!text.message.contains("e0 nats") && text.to_string().contains("`rival`"), "{text}");
    let marked = best.to_string().lines().nth(1 + rival.start).expect("a line").to_string();
    assert!(marked.ends_with(" ~"), "{best}");
    Ok(())
}

#[test]
fn the_choice_of_components_lists_what_failed() -> Result<(), Error> {
    let data = Observations::new(vec![0.0, 0.1, 0.2, 0.3, 5.0, 5.2, 5.4, 5.5], 1)?;
    let kinds = [Covariance::Full, Covariance::Tied];
    let all = select(data, [1, 2, 9], &kinds, 0)?;
    assert_eq!(all.candidates.len(), 6);
    assert_eq!(
        (all.candidates[all.best].components, all.candidates[all.best].covariance),
        (2, Covariance::Tied)
    );
    assert!(all.candidates[4].result.is_err() && all.candidates[5].result.is_err());
    let text = all.to_string();
    assert!(text.contains("only 8 different rows"), "{text}");
    assert_eq!(text.lines().count(), 7);
    Ok(())
}

#[test]
fn columns_that_determine_each_other_fit_where_columns_are_independent() -> Result<(), Error> {
    let twice = |x: &[f64]| vec![x[0], x[1], 2.0 * x[0] + x[1]];
    let data = Observations::new(OLD_FAITHFUL.iter().flat_map(|x| twice(x)).collect(), 3)?;
    let said = message(GaussianMixture::new(data.clone(), 2));
    assert!(said.contains("determine column 2") && said.contains("of_kind"), "{said}");
    for covariance in [Covariance::Diagonal, Covariance::Spherical] {
        let model = GaussianMixture::of_kind(data.clone(), 2, covariance)?;
        assert!(model.fit(1)?.fit.model.criteria().log_likelihood.is_finite());
    }
    // so that a selection over kinds has those that can be
    let all = select(data, [2], &[Covariance::Full, Covariance::Diagonal], 1)?;
    assert!(all.candidates[0].result.is_err() && all.best == 1);
    Ok(())
}
