//! A row of weight two is a row twice: in what is said of a fit, for every model; and standard errors
//! are those of the scores of single rows.

use elbo::compare::{Compared, Entry};
use elbo::data::{OLD_FAITHFUL, Observations};
use elbo::models::hidden_markov::Sequences;
use elbo::models::linear_regression::{Ard, BayesianArd, LinearRegression};
use elbo::models::normal::{Normal, NormalGamma};
use elbo::models::{Covariance, FactorAnalysis, GaussianMixture, HiddenMarkov, gaussian_mixture};
use elbo::{EStep, Error, MStep, Options, Stop, fit};
use nalgebra::DMatrix;

use crate::moves::{last, message};
use crate::support::{assert_all_close, assert_close};

fn steps(steps: usize) -> Options {
    Options { steps, stop: Stop::Budget, ..Options::exact() }
}

/// Eruptions of which some count twice, some not at all; and the same rows written out.
fn eruptions() -> Result<(Observations, Observations), Error> {
    let times = |i: usize| [1, 2, 0, 1][i % 4];
    let weights: Vec<f64> = (0..272).map(|i| times(i) as f64).collect();
    let out = OLD_FAITHFUL.iter().enumerate().flat_map(|(i, x)| x.repeat(times(i)));
    let cells = OLD_FAITHFUL.iter().flatten().copied().collect();
    Ok((Observations::new(cells, 2)?.weighted(weights)?, Observations::new(out.collect(), 2)?))
}

fn shape(covariance: Covariance) -> Vec<f64> {
    match covariance {
        Covariance::Full => vec![0.5, 1.0, 1.0, 50.0, 0.25, 0.2, 0.2, 30.0],
        Covariance::Tied => vec![0.5, 1.0, 1.0, 50.0],
        Covariance::Diagonal => vec![0.5, 50.0, 0.25, 30.0],
        Covariance::Spherical => vec![20.0, 30.0],
    }
}

/// What is said of parameters, and of the ones after some steps from there.
fn assert_same_entries(a: &Entry, b: &Entry, tol: f64) {
    let numbers = |entry: &Entry| -> Vec<f64> {
        let each = entry.parameters.iter().flat_map(|p| [Some(p.estimate), p.sd]);
        each.flatten().collect()
    };
    assert_all_close("entry", &numbers(a), &numbers(b), tol);
}

#[test]
fn mixtures_their_criteria_and_standard_errors() -> Result<(), Error> {
    let (weighted, out) = eruptions()?;
    for covariance in Covariance::ALL {
        for under_prior in [false, true] {
            let at = |data: &Observations| {
                let model = GaussianMixture::of_kind(data.clone(), 2, covariance)?;
                let (means, shape) = ([2.0, 55.0, 4.0, 80.0], shape(covariance));
                let model = model.with_parameters(&[0.4, 0.6], &means, &shape)?;
                let model = match under_prior {
                    true => model.with_prior(gaussian_mixture::Prior::weak(data, 2))?,
                    false => model,
                };
                let q = model.labels();
                fit(model, q, (EStep, MStep), steps(8))
            };
            let (a, b) = (at(&weighted)?, at(&out)?);
            assert_close("ELBO", last(&a), last(&b), 1e-10);
            let (x, y) = (a.model.criteria(), b.model.criteria());
            assert_eq!(x.n_parameters, y.n_parameters);
            let both = [(x.aic, y.aic), (x.bic, y.bic), (x.icl, y.icl), (x.entropy, y.entropy)];
            for (x, y) in both {
                assert_close("criterion", x, y, 1e-9);
            }
            // the sum of the weights counts, and what is free of each kind
            let free = 1 + 4 + covariance.n_parameters(2, 2);
            assert_eq!(x.n_parameters, free);
            let n = weighted.total_weight();
            assert_eq!(n, out.len() as f64);
            assert_close("BIC", x.bic, free as f64 * n.ln() - 2.0 * x.log_likelihood, 1e-13);
            assert_close("AIC", x.aic, 2.0 * free as f64 - 2.0 * x.log_likelihood, 1e-13);
            let score = b.model.score(&out)?;
            assert_close("log likelihood", x.log_likelihood, score.iter().sum(), 1e-10);
            let r = b.model.responsibilities(&out)?;
            let entropy: f64 = r.iter().filter(|r| **r > 0.0).map(|r| -r * r.ln()).sum();
            assert_close("ICL", x.icl, x.bic + 2.0 * entropy, 1e-9);
            let (s, t) = (a.model.standard_errors()?, b.model.standard_errors()?);
            assert_all_close("weights", &s.weights, &t.weights, 1e-9);
            assert_all_close("means", &s.means, &t.means, 1e-9);
            assert_all_close("covariances", &s.covariances, &t.covariances, 1e-8);
            assert_same_entries(&a.entry("a")?, &b.entry("b")?, 1e-8);
        }
    }
    Ok(())
}

/// By differences of the log density in the parameters, for each kind of covariance.
#[test]
fn standard_errors_are_those_of_the_scores_of_rows() -> Result<(), Error> {
    let (weighted, _) = eruptions()?;
    for covariance in Covariance::ALL {
        let base = GaussianMixture::of_kind(weighted.clone(), 2, covariance)?;
        // the free numbers: a weight, means, covariances
        let shape = shape(covariance);
        let free: Vec<usize> = match covariance {
            Covariance::Full => vec![0, 1, 3, 4, 5, 7],
            Covariance::Tied => vec![0, 1, 3],
            _ => (0..shape.len()).collect(),
        };
        let p = 5 + free.len();
        let at = |step: &[f64]| {
            let means: Vec<f64> =
                [2.0, 55.0, 4.0, 80.0].iter().zip(&step[1..5]).map(|(m, s)| m + s).collect();
            let mut shape = shape.clone();
            for (place, s) in free.iter().zip(&step[5..]) {
                shape[*place] += s;
                // its mirror image
                if free.len() != shape.len() && place % 4 == 1 {
                    shape[place + 1] += s;
                }
            }
            let weight = 0.4 + step[0];
            base.clone().with_parameters(&[weight, 1.0 - weight], &means, &shape)
        };
        let h = 1e-5;
        let mut scores = DMatrix::zeros(272, p);
        for i in 0..p {
            let side = |h: f64| {
                let mut step = vec![0.0; p];
                step[i] = h;
                at(&step)
            };
            let (up, down) = (side(h)?, side(-h)?);
            for (n, x) in OLD_FAITHFUL.iter().enumerate() {
                let slope = (up.log_density(x) - down.log_density(x)) / (2.0 * h);
                scores[(n, i)] = weighted.weight(n).sqrt() * slope;
            }
        }
        let inverse = (scores.transpose() * scores).try_inverse().expect("regular");
        let want = |i: usize| inverse[(i, i)].sqrt();
        let se = at(&vec![0.0; p])?.standard_errors()?;
        assert_all_close("weights", &se.weights, &[want(0); 2], 1e-5);
        assert_all_close("means", &se.means, &(1..5).map(want).collect::<Vec<_>>(), 1e-5);
        let of: Vec<f64> = match covariance {
            Covariance::Full | Covariance::Tied => {
                free.iter().map(|place| se.covariances[*place]).collect()
            }
            Covariance::Diagonal => [0, 3, 4, 7].map(|c| se.covariances[c]).to_vec(),
            Covariance::Spherical => [0, 4].map(|c| se.covariances[c]).to_vec(),
        };
        assert_all_close("covariances", &of, &(5..p).map(want).collect::<Vec<_>>(), 1e-5);
    }
    Ok(())
}

#[test]
fn factors_and_what_is_said_of_them() -> Result<(), Error> {
    let cells = |i: usize| {
        let t = i as f64;
        let z = (1.3 * t).sin();
        [z + 0.4 * (2.9 * t).cos(), 2.0 * z + 0.5 * (4.1 * t).sin(), -z + (7.7 * t).cos()]
    };
    let weights: Vec<f64> = (0..50).map(|i| (i % 3) as f64).collect();
    let weighted = Observations::new((0..50).flat_map(cells).collect(), 3)?.weighted(weights)?;
    let out = (0..50).flat_map(|i| cells(i).repeat(i % 3)).collect();
    let out = Observations::new(out, 3)?;
    for each in [FactorAnalysis::new, FactorAnalysis::principal] {
        let at = |data: &Observations| {
            let model = each(data.clone(), 1)?;
            let q = model.start();
            fit(model, q, (EStep, MStep), steps(10))
        };
        let (a, b) = (at(&weighted)?, at(&out)?);
        assert_close("ELBO", last(&a), last(&b), 1e-10);
        assert_all_close("loadings", &a.model.loadings(), &b.model.loadings(), 1e-9);
        let sum: f64 = b.model.score(&out)?.iter().sum();
        assert_close("log likelihood", a.model.log_likelihood(), sum, 1e-10);
        assert_same_entries(&a.entry("a")?, &b.entry("b")?, 1e-9);
    }
    Ok(())
}

#[test]
fn regressions_relevance_and_a_normal() -> Result<(), Error> {
    let row = |i: usize| {
        let t = i as f64;
        [1.0, (0.9 * t).sin(), (2.3 * t).cos()]
    };
    let y = |i: usize| 1.0 + 2.0 * row(i)[1] + 0.3 * (5.1 * i as f64).sin();
    let all: Vec<usize> = (0..30).collect();
    let out: Vec<usize> = all.iter().flat_map(|&i| vec![i; i % 3]).collect();
    let cells = |rows: &[usize]| rows.iter().flat_map(|&i| row(i)).collect::<Vec<_>>();
    let outcomes = |rows: &[usize]| rows.iter().map(|&i| y(i)).collect::<Vec<_>>();
    let weights: Vec<f64> = all.iter().map(|i| (i % 3) as f64).collect();
    let a = LinearRegression::weighted(&cells(&all), 3, &outcomes(&all), &weights)?;
    let b = LinearRegression::new(&cells(&out), 3, &outcomes(&out))?;
    let (s, t) = (a.unknown_noise(2.0, 1.5, 0.7)?, b.unknown_noise(2.0, 1.5, 0.7)?);
    assert_all_close("mean", &s.mean, &t.mean, 1e-12);
    assert_all_close("covariance", &s.covariance, &t.covariance, 1e-12);
    assert_all_close("noise", &[s.a, s.b], &[t.a, t.b], 1e-12);
    assert_close("evidence", s.log_evidence, t.log_evidence, 1e-12);
    let prior = NormalGamma { m: 0.5, kappa: 2.0, a: 1.5, b: 3.0 };
    let (s, t) =
        (Normal::weighted(&outcomes(&all), &weights, prior)?, Normal::new(&outcomes(&out), prior)?);
    assert_close("evidence", s.log_evidence(), t.log_evidence(), 1e-12);
    let (s, t) = (s.posterior(), t.posterior());
    assert_all_close("normal", &[s.m, s.kappa, s.a, s.b], &[t.m, t.kappa, t.a, t.b], 1e-12);
    let text = message(Normal::weighted(&[1.0, 2.0], &[0.0, 0.0], prior));
    assert!(text.contains("weights"), "{text}");
    let relevance = |data: &LinearRegression| {
        let model = Ard::new(data.clone());
        let q = model.start();
        fit(model, q, (EStep, MStep), steps(10))
    };
    let (s, t) = (relevance(&a)?, relevance(&b)?);
    assert_close("evidence", last(&s), last(&t), 1e-11);
    assert_all_close("mean", s.q.mean(), t.q.mean(), 1e-10);
    let relevance = |data: &LinearRegression| {
        let model = BayesianArd::new(data.clone());
        let q = model.start();
        fit(model, q, EStep, steps(10))
    };
    let (s, t) = (relevance(&a)?, relevance(&b)?);
    assert_close("bound", last(&s), last(&t), 1e-11);
    assert_all_close("mean", s.q.first().mean(), t.q.first().mean(), 1e-10);
    Ok(())
}

#[test]
fn chains_their_criteria_and_posteriors() -> Result<(), Error> {
    let row = |t: usize| {
        let x = (1.7 * t as f64).sin() + if t % 30 >= 18 { 3.0 } else { 0.0 };
        [x, 0.5 * x + (2.9 * t as f64).cos()]
    };
    let cells = |rows: std::ops::Range<usize>| rows.flat_map(row).collect::<Vec<_>>();
    let weights = [vec![2.0; 60], vec![1.0; 40]].concat();
    let weighted = Observations::new(cells(0..100), 2)?.weighted(weights)?;
    let weighted = Sequences::new(weighted, &[60, 40])?;
    let out = Observations::new([cells(0..60), cells(0..100)].concat(), 2)?;
    let out = Sequences::new(out, &[60, 60, 40])?;
    for each in [HiddenMarkov::gaussian, HiddenMarkov::diagonal] {
        let at = |sequences: &Sequences| {
            let model = each(sequences.clone(), 2)?;
            let values = match model.emission() {
                elbo::models::hidden_markov::Emission::Gaussian => {
                    vec![0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 3.0, 1.5, 1.0, 0.0, 0.0, 1.0]
                }
                _ => vec![0.0, 0.0, 1.0, 1.0, 3.0, 1.5, 1.0, 1.0],
            };
            model.with_parameters(&[0.5, 0.5], &[0.9, 0.1, 0.2, 0.8], &values)
        };
        let em = |sequences: &Sequences| {
            let model = at(sequences)?;
            let q = model.states();
            fit(model, q, (EStep, MStep), steps(8))
        };
        let (a, b) = (em(&weighted)?, em(&out)?);
        assert_close("ELBO", last(&a), last(&b), 1e-10);
        let (x, y) = (a.model.criteria()?, b.model.criteria()?);
        assert_eq!(x.n_parameters, y.n_parameters);
        for (x, y) in [(x.aic, y.aic), (x.bic, y.bic), (x.icl, y.icl)] {
            assert_close("criterion", x, y, 1e-10);
        }
        // one probability to start, one a state to go on, means and what is free of covariances
        let own = if x.n_parameters == 13 { 3 } else { 2 };
        assert_eq!(x.n_parameters, 1 + 2 + 2 * (2 + own));
        let free = x.n_parameters as f64;
        assert_close("BIC", x.bic, free * 160f64.ln() - 2.0 * x.log_likelihood, 1e-13);
        let score: f64 = b.model.score(&out)?.iter().sum();
        assert_close("log likelihood", x.log_likelihood, score, 1e-11);
        let vb = |sequences: &Sequences| {
            let start = at(sequences)?;
            let model = start.bayesian();
            let q = model.start_from(&start)?;
            fit(model, q, EStep, steps(8))
        };
        let (a, b) = (vb(&weighted)?, vb(&out)?);
        assert_close("bound", last(&a), last(&b), 1e-10);
        assert_all_close("values", &a.q.values(1), &b.q.values(1), 1e-9);
        assert_same_entries(&a.entry("a")?, &b.entry("b")?, 1e-8);
    }
    Ok(())
}
