//! What every model says of rows it has not seen, against the formula with its public parameters;
//! and that what it draws has the moments it says.

use elbo::data::{IRIS, NILE, OLD_FAITHFUL, Observations};
use elbo::models::discrete_mixture::{self, Column};
use elbo::models::hidden_markov::{Emission, Sequences};
use elbo::models::linear_regression::{Ard, BayesianArd, LinearRegression};
use elbo::models::normal::{Normal, NormalGamma};
use elbo::models::state_space::LocalTrend;
use elbo::models::{Covariance, DiscreteMixture, FactorAnalysis, GaussianMixture, HiddenMarkov};
use elbo::{EStep, Error, MStep, Options, Purpose, Squarem, fit, stream};
use nalgebra::{DMatrix, DVector};

use crate::moves::{last, message};
use crate::support::{assert_all_close, assert_close};

fn faithful() -> Result<Observations, Error> {
    Observations::new(OLD_FAITHFUL.iter().flatten().copied().collect(), 2)
}

/// `ln Normal(x; mean, covariance)`, `covariance` row by row.
fn log_normal(x: &[f64], mean: &[f64], covariance: &[f64]) -> f64 {
    let d = x.len();
    let covariance = DMatrix::from_row_slice(d, d, covariance);
    let off = DVector::from_iterator(d, x.iter().zip(mean).map(|(x, m)| x - m));
    let factor = covariance.clone().cholesky().expect("a covariance");
    let square = off.dot(&factor.solve(&off));
    -0.5 * (d as f64 * (2.0 * std::f64::consts::PI).ln() + covariance.determinant().ln() + square)
}

fn log_sum(logs: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = logs.clone().fold(f64::NEG_INFINITY, f64::max);
    top + logs.map(|l| (l - top).exp()).sum::<f64>().ln()
}

/// `ln p(value)` of a column with these values.
fn log_cell(column: Column, values: &[f64], x: f64) -> f64 {
    match column {
        Column::Binary => if x == 1.0 { values[0] } else { 1.0 - values[0] }.ln(),
        Column::Levels(_) => values[x as usize].ln(),
        Column::Count => {
            x * values[0].ln() - values[0] - (1..=x as usize).map(|n| (n as f64).ln()).sum::<f64>()
        }
    }
}

/// Rows that come after those the models have seen.
#[test]
fn mixtures_score_by_their_densities() -> Result<(), Error> {
    let new = Observations::new(vec![2.1, 50.0, 4.4, 84.0, 3.0, 66.0], 2)?;
    for covariance in Covariance::ALL {
        let model = GaussianMixture::of_kind(faithful()?, 3, covariance)?.fit(1)?.fit.model;
        let (score, labels) = (model.score(&new)?, model.responsibilities(&new)?);
        for (i, x) in new.rows().enumerate() {
            let one = |k: usize| {
                model.weights()[k].ln() + log_normal(x, model.mean(k), &model.covariance(k))
            };
            let total = log_sum((0..3).map(one));
            assert_close("score", score[i], total, 1e-11);
            for k in 0..3 {
                assert_close("label", labels[3 * i + k], (one(k) - total).exp(), 1e-11);
            }
        }
        let text = message(model.score(&Observations::new(vec![1.0, 2.0, 3.0], 3)?));
        assert!(text.starts_with("E03 a row has 3 values"), "{text}");
    }
    Ok(())
}

#[test]
fn classes_score_by_their_probabilities() -> Result<(), Error> {
    let columns = [Column::Binary, Column::Count, Column::Levels(3)];
    let cells: Vec<f64> = (0..80)
        .flat_map(|i| [f64::from(i % 3 == 0), f64::from(i * i % 7), f64::from((i / 5) % 3)])
        .collect();
    let seen = Observations::new(cells, 3)?;
    let model = DiscreteMixture::new(seen, 2, &columns)?.fit(1)?.fit.model;
    let new = Observations::with_missing(vec![1.0, 9.0, 2.0, f64::NAN, 0.0, 1.0], 3)?;
    let (score, labels) = (model.score(&new)?, model.responsibilities(&new)?);
    for (i, x) in new.rows().enumerate() {
        let one = |k: usize| {
            let seen = (0..3).filter(|&j| !x[j].is_nan());
            model.weights()[k].ln()
                + seen.map(|j| log_cell(columns[j], model.values(k, j), x[j])).sum::<f64>()
        };
        let total = log_sum((0..2).map(one));
        assert_close("score", score[i], total, 1e-12);
        assert_close("label", labels[2 * i], (one(0) - total).exp(), 1e-12);
    }
    let text = message(model.score(&Observations::new(vec![1.0, 1.5, 0.0], 3)?));
    assert!(text.starts_with("E01 data[0, 1] is 1.5"), "{text}");
    Ok(())
}

#[test]
fn chains_score_by_all_their_paths() -> Result<(), Error> {
    let columns = vec![Column::Count, Column::Binary];
    let cells: Vec<f64> =
        (0..60).flat_map(|t| [f64::from(t * t % 5 + 6 * (t / 20)), f64::from(t % 2)]).collect();
    let seen = Sequences::one(Observations::new(cells, 2)?)?;
    let model = HiddenMarkov::new(seen, 2, Emission::Columns(columns.clone()))?;
    let model = model.fit(1)?.fit.model;
    let new = Observations::new(vec![3.0, 1.0, 8.0, 0.0, 0.0, 1.0, 2.0, 0.0, 9.0, 1.0], 2)?;
    let new = Sequences::new(new, &[2, 3])?;
    let rows: Vec<&[f64]> = new.rows().rows().collect();
    let row = |k: usize, t: usize| -> f64 {
        (0..2).map(|j| log_cell(columns[j], &model.values(k, j), rows[t][j])).sum()
    };
    let all = |from: usize, n: usize| {
        log_sum((0..1 << n).map(|path| {
            let state = |t: usize| (path >> t) & 1;
            let steps = (1..n).map(|t| model.transition(state(t - 1))[state(t)].ln());
            let seen = (0..n).map(|t| row(state(t), from + t));
            model.initial()[state(0)].ln() + steps.chain(seen).sum::<f64>()
        }))
    };
    assert_all_close("score", &model.score(&new)?, &[all(0, 2), all(2, 3)], 1e-11);
    let text = message(Sequences::new(Observations::new(vec![3.0, 1.0], 2)?, &[1]));
    assert!(text.contains("a sequence needs at least 2 rows"), "{text}");
    Ok(())
}

#[test]
fn factors_score_by_their_covariance() -> Result<(), Error> {
    let seen = Observations::new(IRIS.iter().flatten().copied().collect(), 4)?;
    let new = Observations::new(vec![5.0, 3.0, 2.0, 0.5, 6.5, 2.7, 5.0, 1.9], 4)?;
    for model in [FactorAnalysis::new(seen.clone(), 1)?, FactorAnalysis::principal(seen, 2)?] {
        let q = model.start();
        let model = fit(model, q, Squarem::new((EStep, MStep)), Options::exact())?.model;
        let (w, psi) = (model.loadings(), model.uniquenesses());
        let k = w.len() / 4;
        let w = DMatrix::from_row_slice(4, k, &w);
        let psi = DMatrix::from_diagonal(&DVector::from_row_slice(&psi));
        let covariance = &w * w.transpose() + &psi;
        assert_all_close("covariance", &model.covariance(), covariance.as_slice(), 1e-12);
        let score = model.score(&new)?;
        let factors = model.predict(&new)?;
        let inverse = covariance.clone().try_inverse().expect("regular");
        for (i, x) in new.rows().enumerate() {
            let want = log_normal(x, model.mean(), covariance.as_slice());
            assert_close("score", score[i], want, 1e-10);
            let off = DVector::from_iterator(4, x.iter().zip(model.mean()).map(|(x, m)| x - m));
            let z = w.transpose() * &inverse * off;
            assert_all_close("factors", &factors[k * i..k * (i + 1)], z.as_slice(), 1e-10);
        }
        let text = message(model.predict(&faithful()?));
        assert!(text.starts_with("E03 a row has 2 values"), "{text}");
        // what is held out, of bayesian factors, by the same formula at the means
        let bayesian = model.bayesian();
        let q = bayesian.start();
        let fit = fit(bayesian, q, EStep, Options { steps: 20, ..Options::exact() })?;
        let w = DMatrix::from_row_slice(4, k, &fit.model.loadings(&fit.q));
        let psi = fit.model.uniquenesses(&fit.q);
        let covariance =
            &w * w.transpose() + DMatrix::from_diagonal(&DVector::from_row_slice(&psi));
        let score = fit.model.score(&fit.q, &new)?;
        for (i, x) in new.rows().enumerate() {
            let want = log_normal(x, &fit.model.mean(&fit.q), covariance.as_slice());
            assert_close("score", score[i], want, 1e-10);
        }
    }
    Ok(())
}

const DRAWS: usize = 100_000;

/// The mean of `f` over rows is `want`, within four standard errors.
#[track_caller]
fn assert_mean(what: &str, rows: &[f64], dim: usize, f: impl Fn(&[f64]) -> f64, want: f64) {
    let each: Vec<f64> = rows.chunks_exact(dim).map(f).collect();
    let n = each.len() as f64;
    let mean = each.iter().sum::<f64>() / n;
    let variance = each.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
    let slack = 4.0 * (variance / n).sqrt() + 1e-12;
    assert!((mean - want).abs() < slack, "{what}: {mean}, not {want} ± {slack}");
}

#[test]
fn draws_of_mixtures_have_their_moments() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let model = GaussianMixture::of_kind(faithful()?, 2, covariance)?.fit(1)?.fit.model;
        let (rows, labels) = model.sample(DRAWS, &mut stream(1, Purpose::Data, 0));
        let labels: Vec<f64> = labels.iter().map(|&l| l as f64).collect();
        assert_mean("label", &labels, 1, |l| l[0], model.weights()[1]);
        let mean =
            |j: usize| -> f64 { (0..2).map(|k| model.weights()[k] * model.mean(k)[j]).sum() };
        for i in 0..2 {
            assert_mean("mean", &rows, 2, |x| x[i], mean(i));
            for j in 0..=i {
                let want = (0..2).map(|k| {
                    let (m, c) = (model.mean(k), model.covariance(k));
                    model.weights()[k] * (c[2 * i + j] + (m[i] - mean(i)) * (m[j] - mean(j)))
                });
                let square = |x: &[f64]| (x[i] - mean(i)) * (x[j] - mean(j));
                assert_mean("covariance", &rows, 2, square, want.sum());
            }
        }
    }
    Ok(())
}

#[test]
fn draws_of_factors_have_their_covariance() -> Result<(), Error> {
    let seen = Observations::new(IRIS.iter().flatten().copied().collect(), 4)?;
    for model in [FactorAnalysis::new(seen.clone(), 2)?, FactorAnalysis::principal(seen, 2)?] {
        let rows = model.sample(DRAWS, 3);
        for i in 0..4 {
            assert_mean("mean", &rows, 4, |x| x[i], model.mean()[i]);
            for j in 0..=i {
                let square = |x: &[f64]| (x[i] - model.mean()[i]) * (x[j] - model.mean()[j]);
                assert_mean("covariance", &rows, 4, square, model.covariance()[4 * i + j]);
            }
        }
    }
    Ok(())
}

#[test]
fn draws_of_classes_have_their_shares() -> Result<(), Error> {
    let columns = [Column::Binary, Column::Count, Column::Levels(3)];
    let seen = Observations::new(vec![0.0, 3.0, 2.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0], 3)?;
    let values = [0.2, 4.0, 0.1, 0.3, 0.6, 0.9, 0.5, 0.7, 0.2, 0.1];
    let model = DiscreteMixture::new(seen, 2, &columns)?.with_parameters(&[0.3, 0.7], &values)?;
    let (rows, labels) = model.sample(DRAWS, &mut stream(1, Purpose::Data, 0));
    let labels: Vec<f64> = labels.iter().map(|&l| l as f64).collect();
    assert_mean("label", &labels, 1, |l| l[0], 0.7);
    assert_mean("binary", &rows, 3, |x| x[0], 0.3 * 0.2 + 0.7 * 0.9);
    assert_mean("count", &rows, 3, |x| x[1], 0.3 * 4.0 + 0.7 * 0.5);
    // E x^2 = rate + rate^2
    assert_mean("square", &rows, 3, |x| x[1] * x[1], 0.3 * 20.0 + 0.7 * 0.75);
    for (level, share) in [0.3 * 0.1 + 0.7 * 0.7, 0.3 * 0.3 + 0.7 * 0.2, 0.3 * 0.6 + 0.7 * 0.1]
        .into_iter()
        .enumerate()
    {
        assert_mean("level", &rows, 3, |x| f64::from(u8::from(x[2] == level as f64)), share);
    }
    let both = |x: &[f64]| x[0] * f64::from(u8::from(x[2] == 2.0));
    assert_mean("both", &rows, 3, both, 0.3 * 0.2 * 0.6 + 0.7 * 0.9 * 0.1);
    Ok(())
}

#[test]
fn draws_of_chains_have_their_steps_and_moments() -> Result<(), Error> {
    let cells: Vec<f64> = (0..40).flat_map(|t| [f64::from(t * t % 7), f64::from(t % 5)]).collect();
    let seen = Sequences::one(Observations::new(cells, 2)?)?;
    let steps = [0.9, 0.1, 0.3, 0.7];
    // mean and factor of the covariance
    let values = [1.0, -2.0, 1.5, 0.0, 0.0, 0.5, 4.0, 3.0, 1.0, 0.8, 0.8, 1.0];
    let model = HiddenMarkov::gaussian(seen, 2)?;
    let model = match model.clone().with_parameters(&[0.75, 0.25], &steps, &values) {
        Ok(model) => model,
        Err(e) => panic!("{e}"),
    };
    let (rows, states) = model.sample(DRAWS, &mut stream(1, Purpose::Data, 0));
    for from in 0..2 {
        let next: Vec<f64> =
            states.windows(2).filter(|w| w[0] == from).map(|w| w[1] as f64).collect();
        assert_mean("step", &next, 1, |x| x[0], model.transition(from)[1]);
        let own = rows.chunks_exact(2).zip(&states).filter(|(_, s)| **s == from);
        let own: Vec<f64> = own.flat_map(|(x, _)| x.to_vec()).collect();
        let (m, c) = (model.mean(from), model.covariance(from).expect("normal"));
        for i in 0..2 {
            assert_mean("mean", &own, 2, |x| x[i], m[i]);
            for j in 0..=i {
                let square = |x: &[f64]| (x[i] - m[i]) * (x[j] - m[j]);
                assert_mean("covariance", &own, 2, square, c[2 * i + j]);
            }
        }
    }
    Ok(())
}

/// What is predicted of a further row is the evidence of all rows over that of the ones before.
#[test]
fn predictions_multiply_to_the_evidence() -> Result<(), Error> {
    let x: Vec<f64> =
        (0..12).flat_map(|i| [1.0, (1.3 * f64::from(i)).sin(), f64::from(i % 3)]).collect();
    let y: Vec<f64> = (0..12).map(|i| 0.5 + 0.4 * f64::from(i * i % 7)).collect();
    let regression = |n: usize| LinearRegression::new(&x[..3 * n], 3, &y[..n]);
    let (before, after) = (regression(11)?, regression(12)?);
    let (new, outcome) = (&x[33..], &y[11..]);
    let (a, b) = (before.known_noise(0.7, 2.0)?, after.known_noise(0.7, 2.0)?);
    let ratio = b.log_evidence - a.log_evidence;
    assert_close("known noise", a.score(new, outcome)?[0], ratio, 1e-11);
    let (a, b) = (before.unknown_noise(2.0, 1.5, 0.8)?, after.unknown_noise(2.0, 1.5, 0.8)?);
    let ratio = b.log_evidence - a.log_evidence;
    assert_close("unknown noise", a.score(new, outcome)?[0], ratio, 1e-11);
    let prior = NormalGamma { m: 0.5, kappa: 2.0, a: 1.5, b: 3.0 };
    let (a, b) = (Normal::new(&y[..11], prior)?, Normal::new(&y, prior)?);
    let ratio = b.log_evidence() - a.log_evidence();
    assert_close("normal", a.posterior().score(outcome)[0], ratio, 1e-12);
    let mut flows = NILE.to_vec();
    flows[95] = f64::NAN;
    let at = |n: usize| {
        let model = LocalTrend::trend(&flows[..n])?.starting_at([900.0, 0.0], [1e5, 1e2])?;
        model.with_variances(12e3, [2e3, 9.0])
    };
    let (a, b) = (at(90)?, at(100)?);
    let score = a.score(&flows[90..])?;
    assert_eq!(score[5], 0.0);
    let ratio = b.log_likelihood() - a.log_likelihood();
    assert_close("trend", score.iter().sum(), ratio, 1e-12);
    let (mean, sd) = a.forecast(1)[0];
    assert_close("next", score[0], log_normal(&flows[90..91], &[mean], &[sd * sd]), 1e-12);
    let text = message(a.score(&[f64::INFINITY]));
    assert_eq!(text, "E01 y[0] is inf. Write NaN for what is missing (times count from 0)");
    // of one component coordinate ascent is exact
    let columns = [Column::Binary, Column::Count, Column::Levels(3)];
    let cells: Vec<f64> = (0..20)
        .flat_map(|i| [f64::from(i % 3 == 0), f64::from(i * i % 7), f64::from((i / 5) % 3)])
        .collect();
    let bound = |n: usize| {
        let prior = discrete_mixture::Prior { weights: 1.0, probabilities: 0.7, rates: (2.0, 0.4) };
        let data = Observations::new(cells[..3 * n].to_vec(), 3)?;
        let model = DiscreteMixture::new(data, 1, &columns)?.bayesian().with_prior(prior)?;
        let q = model.start(0);
        fit(model, q, EStep, Options::exact())
    };
    let (a, b) = (bound(19)?, bound(20)?);
    let score = a.q.score(&Observations::new(cells[57..].to_vec(), 3)?)?;
    assert_close("classes", score[0], last(&b) - last(&a), 1e-10);
    Ok(())
}

#[test]
fn regressions_predict_mean_and_sd() -> Result<(), Error> {
    let x: Vec<f64> =
        (0..12).flat_map(|i| [1.0, (1.3 * f64::from(i)).sin(), f64::from(i % 3)]).collect();
    let y: Vec<f64> = (0..12).map(|i| 0.5 + 0.4 * f64::from(i * i % 7)).collect();
    let data = LinearRegression::new(&x, 3, &y)?;
    let new = [1.0, 0.3, 2.0];
    // the square of the sd of x' beta
    let spread = |covariance: &dyn Fn(usize, usize) -> f64| -> f64 {
        (0..9).map(|c| new[c / 3] * covariance(c / 3, c % 3) * new[c % 3]).sum()
    };
    let at = |mean: &[f64]| -> f64 { new.iter().zip(mean).map(|(x, b)| x * b).sum() };
    let known = data.known_noise(0.7, 2.0)?;
    let (mean, sd) = known.predict(&new)?[0];
    assert_close("mean", mean, at(&known.mean), 1e-14);
    let own = spread(&|i, j| known.covariance[3 * i + j]);
    assert_close("sd", sd, (own + 0.49).sqrt(), 1e-13);
    let unknown = data.unknown_noise(2.0, 1.5, 0.8)?;
    let (mean, sd) = unknown.predict(&new)?[0];
    assert_close("mean", mean, at(&unknown.mean), 1e-14);
    let own = spread(&|i, j| unknown.covariance[3 * i + j]);
    assert_close("sd", sd, (own + unknown.b / (unknown.a - 1.0)).sqrt(), 1e-12);
    let model = Ard::new(data.clone());
    let q = model.start();
    let ard = fit(model, q, (EStep, MStep), Options::exact())?;
    let (mean, sd) = ard.model.predict(&ard.q, &new)?[0];
    assert_close("mean", mean, at(ard.q.mean()), 1e-14);
    let covariance = ard.q.covariance();
    let own = spread(&|i, j| covariance[(i, j)]);
    assert_close("sd", sd, (own + ard.model.noise_sd().powi(2)).sqrt(), 1e-12);
    let score = ard.model.score(&ard.q, &new, &[1.5])?[0];
    assert_close("score", score, log_normal(&[1.5], &[mean], &[sd * sd]), 1e-12);
    let model = BayesianArd::new(data);
    let q = model.start();
    let ard = fit(model, q, EStep, Options::exact())?;
    let (mean, sd) = ard.model.predict(&ard.q, &new)?[0];
    let (beta, tau) = (ard.q.first(), ard.q.second());
    assert_close("mean", mean, at(beta.mean()), 1e-14);
    let covariance = beta.covariance();
    let own = spread(&|i, j| covariance[(i, j)]);
    assert_close("sd", sd, (own + tau.rate(3) / (tau.shape(3) - 1.0)).sqrt(), 1e-12);
    let text = message(known.predict(&[1.0, 2.0]));
    assert!(text.starts_with("E03 the matrix has 2 values but 1 whole rows of 3"), "{text}");
    let text = message(known.predict(&[1.0, f64::NAN, 2.0]));
    assert!(text.starts_with("E01 data[0, 1] is NaN"), "{text}");
    let text = message(unknown.score(&new, &[1.0, 2.0]));
    assert!(text.starts_with("E03 the outcomes has 2 values"), "{text}");
    Ok(())
}

#[test]
fn draws_of_what_is_believed_of_classes() -> Result<(), Error> {
    let columns = [Column::Binary, Column::Count, Column::Levels(3)];
    let cells: Vec<f64> = (0..30)
        .flat_map(|i| [f64::from(i % 3 == 0), f64::from(i * i % 7), f64::from((i / 5) % 3)])
        .collect();
    let seen = Observations::new(cells, 3)?;
    let q = DiscreteMixture::new(seen.clone(), 2, &columns)?.bayesian().fit(1)?.fit.q;
    let (rows, labels) = q.predictive_sample(DRAWS, &mut stream(1, Purpose::Data, 0));
    let labels: Vec<f64> = labels.iter().map(|&l| l as f64).collect();
    assert_mean("label", &labels, 1, |l| l[0], q.mean_weights()[1]);
    for row in [[1.0, 2.0, 0.0], [0.0, 4.0, 2.0]] {
        let share = q.score(&Observations::new(row.to_vec(), 3)?)?[0].exp();
        assert_mean("row", &rows, 3, |x| f64::from(u8::from(x == row)), share);
    }
    let (r, best) = (q.responsibilities(&seen)?, q.predict(&seen)?);
    for (r, best) in r.chunks_exact(2).zip(best) {
        assert_close("sum", r[0] + r[1], 1.0, 1e-12);
        assert!(r[best] >= 0.5);
    }
    Ok(())
}
