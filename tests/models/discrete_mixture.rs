//! Mixtures of Bernoullis, Poissons and categoricals, by EM and by variational Bayes.

use std::sync::Arc;

use elbo::data::Observations;
use elbo::models::discrete_mixture::{Column, Labels, MixturePosterior, Prior};
use elbo::models::{BayesianDiscreteMixture, DiscreteMixture};
use elbo::warning::Code;
use elbo::{
    EStep, Error, Family, Fit, MStep, Minibatch, Model, NaturalStep, Options, Purpose, Run,
    Squarem, Stop, fit, stream,
};
use rand::RngExt;
use statrs::function::gamma::ln_gamma;

use crate::moves::{elbo_is_the_mean_of_its_draws, last, message, never_descends};
use crate::support::{assert_all_close, assert_close, exact_cases, numbers};

/// A binary column, one of three levels and a count, with two kinds of rows and some cells missing.
fn mixed(n: usize, missing: bool) -> Observations {
    let mut rng = stream(11, Purpose::Data, 0);
    let mut cells = Vec::new();
    for i in 0..n {
        let kind = rng.random::<f64>() < 0.4;
        let (p, rate) = if kind { (0.8, 6.0) } else { (0.3, 1.5) };
        let binary = f64::from(u8::from(rng.random::<f64>() < p));
        let u: f64 = rng.random();
        let level = if kind { (u > 0.6) as u8 + (u > 0.9) as u8 } else { (u > 0.1) as u8 + 1 };
        let level = f64::from(level.min(2));
        let count = (0..40).filter(|_| rng.random::<f64>() < rate / 40.0).count() as f64;
        let mut row = [binary, level, count];
        if missing && i % 5 == 0 {
            row[i / 5 % 3] = f64::NAN;
        }
        cells.extend(row);
    }
    let names = ["bought", "colour", "visits"];
    Observations::with_missing(cells, 3).and_then(|d| d.named(names)).expect("fine")
}

const MIXED: [Column; 3] = [Column::Binary, Column::Levels(3), Column::Count];

fn weighted(n: usize) -> Observations {
    let weights = (0..n).map(|i| 0.5 + (i % 4) as f64).collect();
    mixed(n, true).weighted(weights).expect("fine")
}

/// `ln weight_k + sum_j ln p(x_j)`, by the definition.
fn logs(model: &DiscreteMixture, row: &[f64]) -> Vec<f64> {
    let cell = |k: usize, j: usize, x: f64| {
        let v = model.values(k, j);
        match model.columns()[j] {
            _ if x.is_nan() => 0.0,
            Column::Binary if x == 1.0 => v[0].ln(),
            Column::Binary => (1.0 - v[0]).ln(),
            Column::Levels(_) => v[x as usize].ln(),
            Column::Count => x * v[0].ln() - v[0] - ln_gamma(x + 1.0),
        }
    };
    let all = |k: usize| row.iter().enumerate().map(|(j, &x)| cell(k, j, x)).sum::<f64>();
    (0..model.len()).map(|k| model.weights()[k].ln() + all(k)).collect()
}

fn log_sum(logs: &[f64]) -> f64 {
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln()
}

fn log_likelihood(model: &DiscreteMixture) -> f64 {
    let data = model.data();
    data.rows().enumerate().map(|(i, x)| data.weight(i) * log_sum(&logs(model, x))).sum()
}

fn steps(steps: usize) -> Options {
    Options { steps, stop: Stop::Budget, ..Options::default() }
}

fn em(model: DiscreteMixture, options: Options) -> Result<Fit<DiscreteMixture, Labels>, Error> {
    let q = model.labels();
    fit(model, q, (EStep, MStep), options)
}

#[test]
fn the_bound_touches_after_every_e_step_and_no_half_step_descends() -> Result<(), Error> {
    for k in [1, 3, 9] {
        let prior = Prior { weights: 1.5, probabilities: 2.0, rates: (2.0, 0.5) };
        let plain = DiscreteMixture::new(weighted(60), k, &MIXED)?;
        for model in [plain.clone(), plain.with_prior(prior)?] {
            let q = model.labels();
            let mut run = Run::new(model, q, (EStep, MStep), steps(40))?;
            let mut before = f64::NEG_INFINITY;
            for _ in 0..40 {
                let evidence = log_likelihood(&run.model) + run.model.log_prior();
                run.step()?;
                let step = run.trace.last().expect("a step was taken");
                let (half, whole) = (step.between.expect("E"), step.elbo.expect("M"));
                assert!((half - evidence).abs() < 1e-9 * evidence.abs(), "{half} {evidence}");
                assert!(half >= before - 1e-10 * half.abs(), "{before} {half}");
                assert!(whole >= half - 1e-10 * half.abs(), "{half} {whole}");
                before = whole;
            }
        }
    }
    Ok(())
}

#[test]
fn the_m_step_leaves_no_slope() -> Result<(), Error> {
    let prior = Prior { weights: 1.5, probabilities: 2.0, rates: (2.0, 0.5) };
    let plain = DiscreteMixture::new(weighted(150), 2, &MIXED)?;
    for model in [plain.clone(), plain.with_prior(prior)?] {
        let fit = em(model, steps(3))?;
        let (r, data) = (fit.q.responsibilities(), weighted(150));
        let expected = |model: &DiscreteMixture| {
            let row = |(i, x): (usize, &[f64])| {
                let logs = logs(model, x);
                data.weight(i) * (0..2).map(|k| r[i * 2 + k] * logs[k]).sum::<f64>()
            };
            data.rows().enumerate().map(row).sum::<f64>() + model.log_prior()
        };
        let mut theta = vec![0.0; fit.model.n_theta()];
        fit.model.theta(&mut theta);
        assert_eq!(theta.len(), 1 + 2 * (1 + 2 + 1));
        let mut moved = fit.model.clone();
        for j in 0..theta.len() {
            const STEP: f64 = 1e-5;
            let mut at = |step: f64| {
                let mut theta = theta.clone();
                theta[j] += step;
                moved.set_theta(&theta);
                expected(&moved)
            };
            // third derivatives are of the size of a row's counts: below 1e-9 a row; rounding 1e-8
            let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP) / data.total_weight();
            assert!(slope.abs() < 1e-7, "slope {slope:e} a row in {j}");
        }
    }
    Ok(())
}

#[test]
fn the_elbo_is_the_mean_of_its_draws() -> Result<(), Error> {
    let model = DiscreteMixture::new(mixed(60, true), 2, &MIXED)?;
    let fit = em(model.clone(), steps(2))?;
    elbo_is_the_mean_of_its_draws(&fit.model, &fit.q, last(&fit));
    for k in [1, 2, 3] {
        let model = DiscreteMixture::new(mixed(40, true), k, &MIXED)?.bayesian();
        let prior = Prior { weights: 1.3, probabilities: 2.0, rates: (2.0, 0.5) };
        let model = model.with_prior(prior)?;
        let q = model.start(0);
        let fit = elbo::fit(model, q, EStep, steps(2))?;
        elbo_is_the_mean_of_its_draws(&fit.model, &fit.q, last(&fit));
        // and what the family says of itself agrees with its draws
        let (mut z, n) = (vec![0.0; fit.q.dim()], 4000);
        assert_eq!(fit.q.dim(), fit.model.dim());
        assert_eq!(fit.model.space().dim(), fit.model.dim());
        let mut rng = stream(3, Purpose::Data, 0);
        let mut terms = vec![0.0; n];
        for term in &mut terms {
            fit.q.sample(&mut rng, &mut z);
            *term = -fit.q.log_prob(&z);
        }
        let mean = terms.iter().sum::<f64>() / n as f64;
        let variance = terms.iter().map(|t| (t - mean) * (t - mean)).sum::<f64>() / n as f64;
        let off = mean - fit.q.entropy().expect("known");
        assert!(off.abs() < 4.0 * (variance / n as f64).sqrt(), "{off}");
        for i in 0..fit.q.dim() {
            let support = fit.model.space().support(i);
            assert_eq!(fit.q.support(i), support, "coordinate {i}");
        }
    }
    Ok(())
}

#[test]
fn no_step_descends_sped_up_or_not() -> Result<(), Error> {
    let model = DiscreteMixture::new(mixed(200, true), 2, &MIXED)?;
    let q = model.labels();
    let plain = never_descends(model.clone(), q.clone(), (EStep, MStep));
    let fast = never_descends(model.clone(), q, Squarem::new((EStep, MStep)));
    assert_close("ELBO", last(&fast), last(&plain), 1e-7);
    assert!(fast.trace.len() < plain.trace.len());
    let bayesian = model.bayesian();
    let q = bayesian.start(0);
    let plain = never_descends(bayesian.clone(), q.clone(), EStep);
    let fast = never_descends(bayesian, q, Squarem::new(EStep));
    assert_close("ELBO", last(&fast), last(&plain), 1e-6);
    Ok(())
}

/// `ln p(x, labels)`, weights and values integrated out, by the conjugate formulas.
fn log_joint_of_labels(data: &Observations, labels: &[usize], k: usize, prior: &Prior) -> f64 {
    let beta = |a: &[f64]| a.iter().map(|a| ln_gamma(*a)).sum::<f64>() - ln_gamma(a.iter().sum());
    let mut of_labels = vec![prior.weights; k];
    labels.iter().for_each(|&l| of_labels[l] += 1.0);
    let mut sum = beta(&of_labels) - beta(&vec![prior.weights; k]);
    for c in 0..k {
        for (j, column) in MIXED.iter().enumerate() {
            let own = data.rows().zip(labels).filter(|(_, l)| **l == c).map(|(x, _)| x[j]);
            let own: Vec<f64> = own.filter(|x| !x.is_nan()).collect();
            match column {
                Column::Count => {
                    let (a, b) = prior.rates;
                    let (total, n) = (own.iter().sum::<f64>(), own.len() as f64);
                    sum += a * b.ln() - ln_gamma(a) + ln_gamma(a + total)
                        - (a + total) * (b + n).ln()
                        - own.iter().map(|x| ln_gamma(x + 1.0)).sum::<f64>();
                }
                other => {
                    let n = if *other == Column::Binary { 2 } else { 3 };
                    let mut of_levels = vec![prior.probabilities; n];
                    own.iter().for_each(|&x| of_levels[x as usize] += 1.0);
                    sum += beta(&of_levels) - beta(&vec![prior.probabilities; n]);
                }
            }
        }
    }
    sum
}

/// `ln p(x, labels)` for all labels of a small data set.
fn all_log_joints(data: &Observations, k: usize, prior: &Prior) -> Vec<f64> {
    let n = data.len();
    let all = (0..k.pow(n as u32)).map(|mut code| {
        let mut next = || {
            let label = code % k;
            code /= k;
            label
        };
        let labels: Vec<usize> = (0..n).map(|_| next()).collect();
        log_joint_of_labels(data, &labels, k, prior)
    });
    all.collect()
}

fn log_evidence(data: &Observations, k: usize, prior: &Prior) -> f64 {
    log_sum(&all_log_joints(data, k, prior))
}

#[test]
fn the_bound_lies_below_the_evidence_and_touches_it_with_one_component() -> Result<(), Error> {
    let prior = Prior { weights: 0.7, probabilities: 1.4, rates: (2.0, 0.5) };
    for missing in [false, true] {
        let data = Arc::new(mixed(8, missing));
        for k in [1, 2, 3] {
            let model = DiscreteMixture::new(Arc::clone(&data), k, &MIXED)?.bayesian();
            let model = model.with_prior(prior)?;
            let bound = last(&model.fit(1)?.fit);
            let all = all_log_joints(&data, k, &prior);
            let evidence = log_sum(&all);
            if k == 1 {
                assert_close("bound", bound, evidence, 1e-12);
                continue;
            }
            assert!(bound < evidence, "{bound} {evidence}");
            // The best labels for certain, and the posterior of the rest, is a q whose ELBO is
            // ln p(x, labels): from there it only goes up.
            let (best, top) =
                all.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("some");
            let labels: Vec<usize> = (0..8).map(|i| best / k.pow(i) % k).collect();
            let q = model.start_from(&labels)?;
            let fit = never_descends(model, q, EStep);
            assert!(last(&fit) >= top - 1e-9 && last(&fit) < evidence, "{} {top}", last(&fit));
        }
    }
    Ok(())
}

#[test]
fn one_component_gives_the_reference_posteriors_and_evidence() -> Result<(), Error> {
    let fit_one = |data: Observations, columns: &[Column], prior: Prior| {
        let model = DiscreteMixture::new(data, 1, columns)?.bayesian().with_prior(prior)?;
        let q = model.start(0);
        fit(model, q, EStep, steps(2))
    };
    for case in exact_cases("gamma_poisson") {
        let input = |name: &str| case["inputs"][name].clone();
        let rates = (numbers(&input("prior_shape"))[0], numbers(&input("prior_rate"))[0]);
        let data = Observations::new(numbers(&input("y")), 1)?;
        let fit = fit_one(data, &[Column::Count], Prior { rates, ..Prior::flat() })?;
        let want = |name: &str| numbers(&case["expected"][name])[0];
        assert_close("evidence", last(&fit), want("log_evidence"), 1e-10);
        let post = fit.q.hyperparameters(0, 0);
        assert_all_close("posterior", &post, &[want("post_shape"), want("post_rate")], 1e-12);
    }
    for case in exact_cases("beta_bernoulli") {
        let input = |name: &str| numbers(&case["inputs"][name])[0];
        if input("prior_a") != input("prior_b") {
            continue;
        }
        let cells = (0..input("n") as usize).map(|i| f64::from(u8::from((i as f64) < input("k"))));
        let data = Observations::new(cells.collect(), 1)?;
        let prior = Prior { probabilities: input("prior_a"), ..Prior::flat() };
        let fit = fit_one(data, &[Column::Binary], prior)?;
        let want = |name: &str| numbers(&case["expected"][name])[0];
        assert_close("evidence", last(&fit), want("log_evidence_of_ordered_sequence"), 1e-10);
        let (mean, sd) = fit.q.values(0, 0);
        assert_close("mean", mean[0], want("mean"), 1e-12);
        assert_close("sd", sd[0], want("sd"), 1e-12);
    }
    for case in exact_cases("dirichlet_categorical") {
        let alpha = numbers(&case["inputs"]["alpha"]);
        if alpha.iter().any(|a| *a != alpha[0]) {
            continue;
        }
        let counts = numbers(&case["inputs"]["counts"]);
        let cells = counts.iter().enumerate().flat_map(|(l, n)| vec![l as f64; *n as usize]);
        let data = Observations::new(cells.collect(), 1)?;
        let prior = Prior { probabilities: alpha[0], ..Prior::flat() };
        let fit = fit_one(data, &[Column::Levels(alpha.len())], prior)?;
        let want = numbers(&case["expected"]["log_evidence_of_ordered_sequence"])[0];
        assert_close("evidence", last(&fit), want, 1e-10);
    }
    Ok(())
}

/// The chain rule: what a row adds to the evidence is what was predicted of it.
#[test]
fn predictions_integrate_the_parameters_out() -> Result<(), Error> {
    let prior = Prior { weights: 0.7, probabilities: 1.4, rates: (2.0, 0.5) };
    let data = mixed(9, false);
    let (seen, new) = data.values().split_at(24);
    let seen = Observations::new(seen.to_vec(), 3)?;
    let model = DiscreteMixture::new(seen.clone(), 1, &MIXED)?.bayesian().with_prior(prior)?;
    let q = model.start(0);
    let fit = fit(model, q, EStep, steps(1))?;
    let score = fit.q.score(&Observations::new(new.to_vec(), 3)?)?;
    let added = log_evidence(&data, 1, &prior) - log_evidence(&seen, 1, &prior);
    assert_close("score", score[0], added, 1e-11);
    Ok(())
}

/// Three well separated components.
fn truth(columns: &[Column], n: usize) -> Result<(DiscreteMixture, Observations), Error> {
    let d = columns.len();
    let mut values = Vec::new();
    let mut rng = stream(4, Purpose::Data, 0);
    for k in 0..3 {
        for (j, column) in columns.iter().enumerate() {
            let high = j % 3 == k;
            match column {
                Column::Binary => values.push(if high { 0.9 } else { 0.15 }),
                Column::Count => values.push(if high { 12.0 } else { 3.0 }),
                Column::Levels(n) => values.extend((0..*n).map(|l| {
                    let rest = 0.2 / (*n as f64 - 1.0);
                    if l == (k + j) % n { 0.8 } else { rest }
                })),
            }
        }
    }
    // any data will do for a model whose parameters are given: here the first three rows
    let cells: Vec<f64> = (0..3 * d).map(|i| f64::from(u8::from(i % d == i / d))).collect();
    let truth = DiscreteMixture::new(Observations::new(cells, d)?, 3, columns)?;
    let truth = truth.with_parameters(&[0.5, 0.3, 0.2], &values)?;
    let (rows, _) = truth.sample(n, &mut rng);
    Ok((truth, Observations::new(rows, d)?))
}

#[test]
fn the_truth_is_found_and_spare_components_empty_themselves() -> Result<(), Error> {
    for column in [Column::Binary, Column::Levels(4), Column::Count] {
        let columns = [column; 9];
        let (truth, data) = truth(&columns, 3000)?;
        let weight = |k: usize| truth.weights()[k];
        let data = Arc::new(data);
        let best = DiscreteMixture::new(Arc::clone(&data), 3, &columns)?.fit(1)?.fit.model;
        let by_weight = |weights: &[f64]| {
            let mut order: Vec<usize> = (0..weights.len()).collect();
            order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
            order
        };
        let order = by_weight(best.weights());
        // 3 weights and up to 108 values, each off by more than 5 of the standard errors that known
        // labels would leave once in a million; rows whose label is in doubt leave a little more
        for (k, &at) in order.iter().enumerate() {
            let se = (weight(k) * (1.0 - weight(k)) / 3000.0).sqrt();
            assert!((best.weights()[at] - weight(k)).abs() < 5.0 * se);
            for j in 0..9 {
                for (v, got) in truth.values(k, j).iter().zip(best.values(at, j)) {
                    let variance = if column == Column::Count { *v } else { v * (1.0 - v) };
                    let se = (variance / (3000.0 * weight(k))).sqrt();
                    assert!((got - v).abs() < 5.0 * se, "{column:?} {k} {j}: {got} for {v}");
                }
            }
        }
        assert!(best.criteria().log_likelihood > log_likelihood(&best) - 1e-6);
        let bayesian = DiscreteMixture::new(data, 6, &columns)?.bayesian();
        let vb = bayesian.fit(1)?.fit.q;
        let needed = (0..6).filter(|&k| vb.expected_count(k) > 1.0);
        assert_eq!(needed.count(), 3, "{column:?}");
        let order = by_weight(&vb.mean_weights());
        for (k, &at) in order[..3].iter().enumerate() {
            for j in 0..9 {
                let (mean, sd) = vb.values(at, j);
                for ((m, s), v) in mean.iter().zip(sd).zip(truth.values(k, j)) {
                    assert!((m - v).abs() < 5.0 * s + 1e-2, "{column:?} {m} ± {s} for {v}");
                }
            }
        }
    }
    Ok(())
}

/// Two kinds of rows that overlap, and room for six: the bound is at least that of a climb from the true
/// labels.
#[test]
fn room_for_components_that_are_not_there_costs_nothing() -> Result<(), Error> {
    for seed in 0..5 {
        let mut rng = stream(seed, Purpose::Data, 1);
        let labels: Vec<usize> = (0..300).map(|_| usize::from(rng.random::<f64>() < 0.3)).collect();
        let cell = |label: usize, j: usize| if (j + label).is_multiple_of(2) { 0.7 } else { 0.3 };
        let places = labels.iter().flat_map(|&label| (0..8).map(move |j| (label, j)));
        let cells = places
            .map(|(label, j)| f64::from(u8::from(rng.random::<f64>() < cell(label, j))))
            .collect();
        let data = Observations::new(cells, 8)?;
        let model = DiscreteMixture::new(data, 6, &[Column::Binary; 8])?.bayesian();
        let found = last(&model.fit(1)?.fit);
        let start = model.start_from(&labels)?;
        let truth = last(&fit(model, start, Squarem::new(EStep), Options::exact())?);
        assert!(found >= truth - 1e-6 * truth.abs(), "{seed}: {found}, from the truth {truth}");
    }
    Ok(())
}

#[test]
fn a_column_missing_in_some_rows_is_as_if_its_factor_were_one() -> Result<(), Error> {
    let model = DiscreteMixture::new(mixed(60, true), 2, &MIXED)?;
    let row = [1.0, f64::NAN, 4.0];
    let score = model.score(&Observations::with_missing(row.to_vec(), 3)?)?;
    // all levels of what is missing, added up
    let each = |l: f64| Observations::new(vec![1.0, l, 4.0], 3).and_then(|r| model.score(&r));
    let all: Vec<f64> = [each(0.0)?, each(1.0)?, each(2.0)?].concat();
    assert_close("score", score[0], log_sum(&all), 1e-12);
    Ok(())
}

#[test]
fn a_weight_of_two_is_the_row_twice() -> Result<(), Error> {
    let data = mixed(40, true);
    let weights: Vec<f64> = (0..40).map(|i| (1 + i % 2) as f64).collect();
    let twice: Vec<f64> = data.rows().enumerate().flat_map(|(i, x)| x.repeat(1 + i % 2)).collect();
    let twice = Observations::with_missing(twice, 3)?;
    let start = [0.7, 0.2, 0.3, 0.5, 5.0, 0.4, 0.3, 0.3, 0.4, 2.0];
    let climb = |data: Observations| {
        let model = DiscreteMixture::new(data, 2, &MIXED)?;
        em(model.with_parameters(&[1.0, 2.0], &start)?, steps(5))
    };
    let (a, b) = (climb(data.weighted(weights)?)?, climb(twice)?);
    assert_close("ELBO", last(&a), last(&b), 1e-12);
    assert_all_close("weights", a.model.weights(), b.model.weights(), 1e-12);
    assert_close("BIC", a.model.criteria().bic, b.model.criteria().bic, 1e-12);
    Ok(())
}

#[test]
fn criteria_count_what_is_free() -> Result<(), Error> {
    let model = DiscreteMixture::new(mixed(100, true), 3, &MIXED)?.fit(1)?.fit.model;
    let criteria = model.criteria();
    assert_eq!(criteria.n_parameters, 2 + 3 * (1 + 2 + 1));
    let l = log_likelihood(&model);
    assert_close("log likelihood", criteria.log_likelihood, l, 1e-12);
    assert_close("BIC", criteria.bic, 14.0 * 100f64.ln() - 2.0 * l, 1e-12);
    let r = model.responsibilities(model.data())?;
    let entropy = -r.iter().filter(|r| **r > 0.0).map(|r| r * r.ln()).sum::<f64>();
    assert_close("ICL", criteria.icl, criteria.bic + 2.0 * entropy, 1e-9);
    Ok(())
}

#[test]
fn a_minibatch_of_everything_is_a_step_with_everything_and_small_ones_come_close()
-> Result<(), Error> {
    let (_, data) = truth(&[Column::Binary; 9], 3000)?;
    let model = DiscreteMixture::bernoulli(data, 3)?.bayesian();
    let q = model.start(5);
    let whole = fit(model.clone(), q.clone(), EStep, steps(5))?;
    let all = Minibatch::new(3000, NaturalStep::constant(1.0));
    let shuffled = fit(model.clone(), q.clone(), all, steps(5))?;
    assert_close("ELBO", last(&shuffled), last(&whole), 1e-12);
    let best = fit(model.clone(), q.clone(), EStep, Options::exact())?;
    let small = Minibatch::new(100, NaturalStep::decaying(1.0, 0.7));
    let online = fit(model, q, small, steps(600))?;
    let mut after = fit(online.model, online.q, EStep, steps(1))?;
    // 27 probabilities and 2 weights within half a nat each of the best
    let lost = last(&best) - last(&after);
    assert!((0.0..15.0).contains(&lost), "{lost}");
    after.q.set_params(&vec![0.0; after.q.n_params()]);
    assert!(after.q.concentrations().iter().all(|a| *a == 1.0));
    Ok(())
}

#[test]
fn a_run_that_was_interrupted_ends_with_the_same_bits() -> Result<(), Error> {
    let file = |name: &str| {
        std::env::temp_dir().join(format!("elbo-discrete-{name}-{}.json", std::process::id()))
    };
    let model = DiscreteMixture::new(mixed(80, true), 3, &MIXED)?;
    let start = || Run::new(model.clone(), model.labels(), (EStep, MStep), steps(20));
    let (path, whole) = (file("em"), start()?.finish()?);
    let mut half = start()?;
    (0..7).try_for_each(|_| half.step().map(drop))?;
    half.save(&path)?;
    let resumed: Run<DiscreteMixture, Labels, (EStep, MStep)> = Run::resume(&path, model.clone())?;
    std::fs::remove_file(&path).expect("the checkpoint was written");
    let resumed = resumed.finish()?;
    assert_eq!(resumed.trace, whole.trace);
    assert_eq!(resumed.model.values(2, 1), whole.model.values(2, 1));
    let model = model.bayesian();
    let start = || Run::new(model.clone(), model.start(0), Squarem::new(EStep), steps(20));
    let (path, whole) = (file("vb"), start()?.finish()?);
    let mut half = start()?;
    (0..7).try_for_each(|_| half.step().map(drop))?;
    half.save(&path)?;
    let resumed: Run<BayesianDiscreteMixture, MixturePosterior, Squarem<EStep>> =
        Run::resume(&path, model.clone())?;
    std::fs::remove_file(&path).expect("the checkpoint was written");
    let resumed = resumed.finish()?;
    assert_eq!(resumed.trace, whole.trace);
    assert_eq!(resumed.q.values(2, 1), whole.q.values(2, 1));
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Result<(), Error> {
    let model = DiscreteMixture::new(mixed(5000, true), 3, &MIXED)?;
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads").install(|| {
            let bayesian = model.bayesian();
            let q = bayesian.start(1);
            let vb = fit(bayesian, q, EStep, steps(5))?;
            Ok::<_, Error>((em(model.clone(), steps(5))?.trace, vb.trace))
        })
    };
    let (one, two, eight) = (on(1)?, on(2)?, on(8)?);
    assert_eq!(one, two);
    assert_eq!(one, eight);
    Ok(())
}

/// Where a component has only ones, the best probability is at the limit, and nothing is not finite.
#[test]
fn certainty_stays_within_its_limit() -> Result<(), Error> {
    let cells = [[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]].concat().repeat(10);
    let data = Observations::new(cells, 4)?;
    let fit = never_descends(
        DiscreteMixture::bernoulli(data.clone(), 2)?,
        DiscreteMixture::bernoulli(data, 2)?.labels(),
        (EStep, MStep),
    );
    assert_close("log likelihood", last(&fit), 20.0 * 0.5f64.ln(), 1e-8);
    let mut p: Vec<f64> = (0..2).map(|k| fit.model.values(k, 3)[0]).collect();
    p.sort_by(f64::total_cmp);
    assert_close("the least", p[0] * 1e10, 1.0, 1e-6);
    assert!(p[1] < 1.0);
    let zero = Observations::new(vec![0.0; 5], 1)?;
    let fit = em(DiscreteMixture::poisson(zero, 1)?, steps(2))?;
    assert_close("rate", fit.model.values(0, 0)[0] * 1e10, 1.0, 1e-9);
    Ok(())
}

#[test]
fn data_that_cannot_be_fitted_are_refused() -> Result<(), Error> {
    let cells = |values: &[f64], dim: usize| Observations::new(values.to_vec(), dim);
    let text = message(DiscreteMixture::bernoulli(cells(&[0.0, 1.0, 2.0, 0.5], 2)?, 1));
    assert_eq!(
        text,
        "E01 data[1, 0] is 2 (1 of 2 rows). A cell here must be 0 or 1: recode row 1 (rows count from 0)."
    );
    let named = cells(&[0.0, 1.0, -3.0, 1.0], 2)?.named(["goals", "shots"])?;
    let text = message(DiscreteMixture::poisson(named, 1));
    assert!(text.starts_with("E01 data[1, \"goals\"] is -3 (1 of 2 rows). A cell here must be a"));
    let text = message(DiscreteMixture::poisson(cells(&[0.5, 1.0], 1)?, 1));
    assert!(text.starts_with("E01 data[0, 0] is 0.5"), "{text}");
    let text = message(DiscreteMixture::new(cells(&[0.0, 3.0], 1)?, 1, &[Column::Levels(3)]));
    assert!(text.contains("data[1, 0] is 3") && text.contains("numbers 0 to 2"), "{text}");
    let text = message(DiscreteMixture::categorical(cells(&[0.0, 1e6], 1)?, 1));
    assert!(text.contains("data[1, 0] is 1000000"), "{text}");
    let text = message(DiscreteMixture::new(cells(&[0.0, 1.0], 1)?, 1, &[Column::Levels(1)]));
    assert!(text.starts_with("E10 levels of column 0 is 1"), "{text}");
    let text = message(DiscreteMixture::bernoulli(cells(&[0.0, 1.0, 1.0], 1)?, 3));
    assert_eq!(text, "E10 components is 3; the data have only 2 different rows; take at most 2");
    let text = message(DiscreteMixture::bernoulli(cells(&[0.0, 1.0], 1)?, 0));
    assert!(text.starts_with("E10 components is 0"), "{text}");
    let text = message(cells(&[0.0, f64::NAN], 1));
    assert!(text.starts_with("E01 data[1, 0] is NaN"), "{text}");
    let gone = Observations::with_missing(vec![1.0, f64::NAN, 0.0, f64::NAN], 2)?;
    let text = message(DiscreteMixture::bernoulli(gone, 1));
    assert!(text.starts_with("E01 column 1 is missing in every row that counts"), "{text}");
    let model = DiscreteMixture::bernoulli(cells(&[0.0, 1.0], 1)?, 2)?;
    let text = message(model.clone().with_parameters(&[1.0, 1.0], &[0.5, 1.5]));
    assert!(text.starts_with("E10 probability of column 0 in component 1 is [1.5]"), "{text}");
    let text = message(model.clone().with_parameters(&[1.0, 0.0], &[0.5, 0.5]));
    assert!(text.starts_with("E10 weights[1] is 0"), "{text}");
    assert!(message(model.score(&cells(&[0.0, 1.0], 2)?)).starts_with("E03 a row has 2 values"));
    let text = message(model.clone().with_prior(Prior { weights: 0.5, ..Prior::flat() }));
    assert_eq!(text, "E10 weights of the prior is 0.5; 1 or more has a mode");
    let bad = Prior { rates: (0.0, 1.0), ..Prior::flat() };
    let text = message(model.bayesian().with_prior(bad));
    assert!(text.starts_with("E10 the shape of rates of the prior is 0"), "{text}");
    let model = DiscreteMixture::bernoulli(cells(&[0.0, 1.0], 1)?, 2)?;
    let text = message(model.bayesian().start_from(&[0, 2]));
    assert_eq!(text, "E10 labels[1] is 2; a label is one of 0 to 1");
    let early = message(fit(model.clone(), model.labels(), MStep, steps(1)));
    assert!(early.contains("use the pair (EStep, MStep)"), "{early}");
    Ok(())
}

#[test]
fn columns_that_say_nothing_are_noticed() -> Result<(), Error> {
    let cells = vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0];
    let data = Observations::with_names(cells, ["always", "a", "b"])?;
    let best = DiscreteMixture::bernoulli(data, 2)?.fit(1)?;
    let said = best.fit.warnings.iter().filter(|w| w.code == Code::Collinear);
    let said: Vec<&str> = said.map(|w| w.message.as_str()).collect();
    assert_eq!(said, ["column \"always\" is constant, 1", "column \"b\" repeats column \"a\""]);
    Ok(())
}
