//! Hidden Markov models: enumeration of all paths, reference answers, and the laws of their moves.

use elbo::data::{NILE, Observations};
use elbo::models::discrete_mixture::Column;
use elbo::models::hidden_markov::{
    Emission, HiddenMarkovPosterior, Prior, Sequences, StatePrior, States,
};
use elbo::models::{BayesianHiddenMarkov, HiddenMarkov};
use elbo::{
    Conjugate, EStep, Family, MStep, Maximize, Model, Options, Purpose, Run, Squarem, Stop, fit,
    stream,
};

use crate::moves::{elbo_is_the_mean_of_its_draws, last, message, never_descends};
use crate::support::{assert_all_close, assert_close, exact_cases, numbers};

/// What enumeration of all paths says of one sequence.
struct Enumerated {
    log_likelihood: f64,
    marginals: Vec<f64>,
    transitions: Vec<f64>,
    best: Vec<usize>,
}

/// Everything by the definition: the log joint of every path.
fn enumerate(model: &HiddenMarkov) -> Enumerated {
    let (k, n) = (model.len(), model.dim());
    let path = |code: usize| -> Vec<usize> { (0..n).map(|t| code / k.pow(t as u32) % k).collect() };
    let joint = |path: &[usize]| {
        let z: Vec<f64> = path.iter().map(|&z| z as f64).collect();
        model.log_joint(&z)
    };
    let all: Vec<Vec<usize>> = (0..k.pow(n as u32)).map(path).collect();
    let logs: Vec<f64> = all.iter().map(|path| joint(path)).collect();
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_likelihood = top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln();
    let (mut marginals, mut transitions) = (vec![0.0; n * k], vec![0.0; k * k]);
    for (path, log) in all.iter().zip(&logs) {
        let p = (log - log_likelihood).exp();
        path.iter().enumerate().for_each(|(t, z)| marginals[t * k + z] += p);
        let starts: Vec<usize> = model.sequences().ranges().map(|r| r.start).collect();
        for t in (1..n).filter(|t| !starts.contains(t)) {
            transitions[path[t - 1] * k + path[t]] += p;
        }
    }
    let best = logs.iter().position(|l| *l == top).map(|at| all[at].clone()).expect("a path");
    Enumerated { log_likelihood, marginals, transitions, best }
}

/// `ln Normal(x; m, C)` in two dimensions, by hand.
fn log_normal2(x: &[f64], m: &[f64], c: &[f64]) -> f64 {
    let det = c[0] * c[3] - c[1] * c[2];
    let y = [x[0] - m[0], x[1] - m[1]];
    let square = (c[3] * y[0] * y[0] - 2.0 * c[1] * y[0] * y[1] + c[0] * y[1] * y[1]) / det;
    -(2.0 * std::f64::consts::PI).ln() - 0.5 * det.ln() - 0.5 * square
}

/// Numbers between -1 and 1 that look like chance.
fn wobble(n: usize, seed: f64) -> Vec<f64> {
    (0..n).map(|i| (12.9898 * (i as f64 + 1.0) + 78.233 * seed).sin()).collect()
}

fn shares(n: usize, seed: f64) -> Vec<f64> {
    let raw: Vec<f64> = wobble(n, seed).iter().map(|x| 1.1 + x).collect();
    let total: f64 = raw.iter().sum();
    raw.iter().map(|x| x / total).collect()
}

fn rows_of_shares(rows: usize, n: usize, seed: f64) -> Vec<f64> {
    (0..rows).flat_map(|i| shares(n, seed + 3.7 * i as f64)).collect()
}

/// Small models of every kind, at parameters of no symmetry, with gaps where they are allowed.
fn small() -> Vec<(&'static str, HiddenMarkov)> {
    let nan = f64::NAN;
    let mut normal = wobble(14, 1.0);
    (normal[4], normal[5]) = (nan, nan);
    let data = Observations::with_gaps(normal, 2).expect("fine");
    let sequences = Sequences::new(data, &[4, 3]).expect("fine");
    let full = HiddenMarkov::gaussian(sequences, 2).and_then(|m| {
        let states = [0.3, -0.2, 0.5, 0.2, 0.2, 0.7, -0.4, 0.1, 0.3, -0.1, -0.1, 0.4];
        m.with_parameters(&shares(2, 2.0), &rows_of_shares(2, 2, 3.0), &states)
    });
    let mut cells = wobble(12, 4.0);
    (cells[3], cells[8], cells[9]) = (nan, nan, nan);
    let data = Observations::with_gaps(cells, 2).expect("fine");
    let diagonal = Sequences::one(data).and_then(|s| HiddenMarkov::diagonal(s, 3)).and_then(|m| {
        let states = [0.3, -0.2, 0.5, 0.7, -0.4, 0.1, 0.3, 0.4, 0.0, 0.6, 0.2, 0.9];
        m.with_parameters(&shares(3, 5.0), &rows_of_shares(3, 3, 6.0), &states)
    });
    let counts = vec![0.0, 3.0, 1.0, nan, 7.0, 2.0, 0.0];
    let data = Observations::with_gaps(counts, 1).expect("fine");
    let sequences = Sequences::new(data, &[2, 5]).expect("fine");
    let poisson = HiddenMarkov::poisson(sequences, 3).and_then(|m| {
        m.with_parameters(&shares(3, 7.0), &rows_of_shares(3, 3, 8.0), &[0.4, 2.5, 6.0])
    });
    let cells = vec![0.0, 1.0, 2.0, 0.0, 1.0, nan, 2.0, 1.0, 0.0, 0.0, 1.0, 1.0];
    let data = Observations::with_gaps(cells, 2).expect("fine");
    let levels = Sequences::one(data)
        .and_then(|s| {
            HiddenMarkov::new(s, 2, Emission::Columns(vec![Column::Levels(3), Column::Binary]))
        })
        .and_then(|m| {
            let states = [shares(3, 9.0), vec![0.3], shares(3, 10.0), vec![0.8]].concat();
            m.with_parameters(&shares(2, 11.0), &rows_of_shares(2, 2, 12.0), &states)
        });
    // a line of states that only goes one way
    let data = Observations::new(vec![0.1, 0.3, 1.2, 0.8, 2.2, 1.9], 1).expect("fine");
    let line = Sequences::one(data).and_then(|s| HiddenMarkov::gaussian(s, 3)).and_then(|m| {
        let steps = [0.6, 0.4, 0.0, 0.0, 0.7, 0.3, 0.0, 0.0, 1.0];
        m.with_parameters(&[1.0, 0.0, 0.0], &steps, &[0.0, 0.2, 1.0, 0.3, 2.0, 0.2])
    });
    vec![
        ("full", full.expect("fine")),
        ("diagonal", diagonal.expect("fine")),
        ("poisson", poisson.expect("fine")),
        ("levels", levels.expect("fine")),
        ("line", line.expect("fine")),
    ]
}

#[test]
fn every_path_counted_gives_the_same_answers() {
    for (name, model) in small() {
        let want = enumerate(&model);
        let mut q = model.states();
        let elbo = model.natural_step(&mut q, 1.0).expect("fine");
        assert_close(&format!("{name}: log likelihood"), elbo, want.log_likelihood, 1e-13);
        assert_all_close(&format!("{name}: marginals"), &q.marginals(), &want.marginals, 1e-12);
        let steps = q.expected_transitions();
        assert_all_close(&format!("{name}: transitions"), steps, &want.transitions, 1e-12);
        let score: f64 = model.score(model.sequences()).expect("fine").iter().sum();
        assert_close(&format!("{name}: score"), score, want.log_likelihood, 1e-13);
        assert_eq!(model.path(model.sequences()).expect("fine"), want.best, "{name}: path");
        assert_all_close(
            name,
            &model.marginals(model.sequences()).expect("fine"),
            &want.marginals,
            1e-12,
        );
        let k = model.len();
        for (i, range) in model.sequences().ranges().enumerate() {
            let starts: Vec<f64> = want.marginals[range.start * k..][..k].to_vec();
            if model.sequences().len() == 1 {
                assert_all_close("starts", q.expected_starts(), &starts, 1e-12);
            }
            assert_eq!(model.sequences().weight(i), 1.0);
        }
        let count: f64 = (0..k).map(|c| q.expected_count(c)).sum();
        assert_close("rows", count, model.dim() as f64, 1e-12);
    }
}

/// The log joint, by hand, in the full case: constants and all.
#[test]
fn the_log_joint_is_its_definition() {
    let (_, model) = small().swap_remove(0);
    let z = [0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0];
    let mut want = 0.0;
    for (i, range) in model.sequences().ranges().enumerate() {
        assert_eq!(range.len(), [4, 3][i]);
        for t in range.clone() {
            let now = z[t] as usize;
            want += if t == range.start {
                model.initial()[now].ln()
            } else {
                model.transition(z[t - 1] as usize)[now].ln()
            };
            let row = model.sequences().rows().row(t);
            if !row[0].is_nan() {
                let covariance = model.covariance(now).expect("normal");
                want += log_normal2(row, &model.mean(now), &covariance);
            }
        }
    }
    assert_close("log joint", model.log_joint(&z), want, 1e-13);
    let (_, model) = small().swap_remove(2);
    let log_poisson = |x: f64, rate: f64| {
        x * rate.ln() - rate - (1..=x as u32).map(|i| f64::from(i).ln()).sum::<f64>()
    };
    let rates = [0.4, 2.5, 6.0];
    let z = [0.0, 2.0, 1.0, 1.0, 2.0, 0.0, 0.0];
    let mut want = 0.0;
    for t in 0..7 {
        let now = z[t] as usize;
        want += match t {
            0 | 2 => model.initial()[now].ln(),
            _ => model.transition(z[t - 1] as usize)[now].ln(),
        };
        let x = model.sequences().rows().row(t)[0];
        want += if x.is_nan() { 0.0 } else { log_poisson(x, rates[now]) };
    }
    assert_close("log joint", model.log_joint(&z), want, 1e-13);
}

#[test]
fn reference_answers() {
    for case in exact_cases("hmm") {
        let (input, want) = (&case["inputs"], &case["expected"]);
        let tolerance = case["tol"]["rel"].as_f64().expect("a number");
        let y = numbers(&input["y"]);
        let (initial, steps) = (numbers(&input["initial"]), numbers(&input["transition"]));
        let k = initial.len();
        let emission = &input["emission"];
        let sequences = || Sequences::one(Observations::new(y.clone(), 1)?);
        let model = match emission["kind"].as_str().expect("a kind") {
            "normal" => {
                let (mean, sd) = (numbers(&emission["mean"]), numbers(&emission["sd"]));
                let states: Vec<f64> = (0..k).flat_map(|c| [mean[c], sd[c] * sd[c]]).collect();
                sequences()
                    .and_then(|s| HiddenMarkov::gaussian(s, k))
                    .and_then(|m| m.with_parameters(&initial, &steps, &states))
            }
            kind => panic!("no case of kind {kind} was known"),
        };
        let model = model.expect("fine");
        let mut q = model.states();
        let log_likelihood = model.natural_step(&mut q, 1.0).expect("fine");
        let number = |name: &str| want[name].as_f64().expect("a number");
        assert_close("log likelihood", log_likelihood, number("log_likelihood"), tolerance);
        assert_all_close("smoothed", &q.marginals(), &numbers(&want["smoothed"]), tolerance);
        let transitions = numbers(&want["expected_transitions"]);
        assert_all_close("transitions", q.expected_transitions(), &transitions, tolerance);
        let path = model.path(model.sequences()).expect("fine");
        let best: Vec<usize> = numbers(&want["viterbi_path"]).iter().map(|z| *z as usize).collect();
        assert_eq!(path, best);
        let z: Vec<f64> = path.iter().map(|z| *z as f64).collect();
        assert_close("its log joint", model.log_joint(&z), number("viterbi_log_joint"), tolerance);
    }
}

/// A cycle of three, of which only every third row differs: more states than different rows.
#[test]
fn states_may_differ_in_what_comes_next_alone() {
    let cells = [0.0, 0.0, 1.0].repeat(60);
    let data = Observations::new(cells, 1).expect("fine");
    let model = Sequences::one(data).and_then(|s| HiddenMarkov::categorical(s, 3, &[2]));
    let best = model.and_then(|m| m.fit(1)).expect("fine");
    // nothing is left to chance but where the cycle starts, which EM knows, and the least probabilities
    assert!(last(&best.fit) > -1e-3, "{best}");
}

/// The pass in registers and the one in logarithms agree; impossible steps choose the latter.
#[test]
fn what_is_lost_to_rounding_is_found_in_logarithms() {
    // state 0 only leads to state 1, from which nothing leads back; one row far out favours state 1
    // by thousands of nats, and all later rows favour state 0
    let mut y = vec![0.0; 60];
    y[20] = 60.0;
    let (one, two) = (1.0, 60.0);
    let data = Observations::new(y.clone(), 1).expect("fine");
    let model = Sequences::one(data).and_then(|s| HiddenMarkov::gaussian(s, 2)).expect("fine");
    let at = |leave: f64| {
        let steps = [1.0 - leave, leave, 0.0, 1.0];
        let model = model.clone().with_parameters(&[1.0, 0.0], &steps, &[0.0, one, 60.0, two]);
        let model = model.expect("fine");
        let mut q = model.states();
        (model.natural_step(&mut q, 1.0).expect("fine"), q)
    };
    // by the definition: the step is made before row t, or never
    let log_normal = |y: f64, m: f64, v: f64| {
        -0.5 * ((2.0 * std::f64::consts::PI * v).ln() + (y - m) * (y - m) / v)
    };
    for leave in [0.01, 1e-12] {
        let path = |change: usize| -> f64 {
            (0..60)
                .map(|t| {
                    let row = match t < change {
                        true => log_normal(y[t], 0.0, one),
                        false => log_normal(y[t], 60.0, two),
                    };
                    let step = match t {
                        0 => 0.0,
                        t if t < change => f64::ln(1.0 - leave),
                        t if t == change => leave.ln(),
                        _ => 0.0,
                    };
                    row + step
                })
                .sum()
        };
        let logs: Vec<f64> = (1..=60).map(path).collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let want = top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln();
        let (got, q) = at(leave);
        assert_close("log likelihood", got, want, 1e-12);
        let late: f64 = logs.iter().skip(20).map(|l| (l - want).exp()).sum();
        assert_close("state 0 at row 20", q.marginals()[40], late, 1e-9);
    }
}

#[test]
fn the_bound_is_what_its_draws_say_and_never_falls() {
    for (name, mut model) in small() {
        let mut q = model.states();
        let touched = model.natural_step(&mut q, 1.0).expect("fine");
        elbo_is_the_mean_of_its_draws(&model, &q, touched);
        match model.maximize(&q) {
            Ok(after) => {
                assert!(after > touched, "{name}");
                elbo_is_the_mean_of_its_draws(&model, &q, after);
            }
            // a handful of rows may leave nothing of a variance
            Err(e) => assert!(e.to_string().contains("has collapsed"), "{name}: {e}"),
        }
    }
}

/// Simulated sequences of every kind, long enough for all states.
fn simulated() -> Vec<(&'static str, HiddenMarkov)> {
    let steps = [0.9, 0.06, 0.04, 0.1, 0.8, 0.1, 0.05, 0.15, 0.8];
    let again = |name, model: HiddenMarkov, states: &[f64]| {
        let truth = model.with_parameters(&[0.5, 0.3, 0.2], &steps, states).expect("fine");
        let mut rng = stream(3, Purpose::Data, 0);
        let (a, _) = truth.sample(400, &mut rng);
        let (b, _) = truth.sample(150, &mut rng);
        let dim = truth.sequences().rows().dim();
        let data = Observations::new([a, b].concat(), dim).expect("fine");
        let sequences = Sequences::new(data, &[400, 150]).expect("fine");
        let model = HiddenMarkov::new(sequences, 3, truth.emission().clone()).expect("fine");
        (name, model)
    };
    let any = |dim: usize| {
        let cells = (0..6 * dim).map(|i| (i * i % 7) as f64).collect();
        Sequences::one(Observations::new(cells, dim).expect("fine")).expect("fine")
    };
    let bits = || {
        let cells = (0..12).map(|i| f64::from(i * i % 7 % 2)).collect();
        Sequences::one(Observations::new(cells, 2).expect("fine")).expect("fine")
    };
    let full = HiddenMarkov::gaussian(any(2), 3).expect("fine");
    let normal = [0., 0., 1., 0.3, 0.3, 1., 4., 0., 1., 0., 0., 2., 2., 4., 0.5, -0.2, -0.2, 0.5];
    let diagonal = HiddenMarkov::diagonal(any(2), 3).expect("fine");
    let apart = [0., 0., 1., 1., 4., 0., 1., 2., 2., 4., 0.5, 0.5];
    let poisson = HiddenMarkov::poisson(any(1), 3).expect("fine");
    let columns = Emission::Columns(vec![Column::Levels(2), Column::Binary]);
    let levels = HiddenMarkov::new(bits(), 3, columns).expect("fine");
    vec![
        again("full", full, &normal),
        again("diagonal", diagonal, &apart),
        again("poisson", poisson, &[1.0, 5.0, 15.0]),
        again("levels", levels, &[0.9, 0.1, 0.1, 0.2, 0.8, 0.4, 0.4, 0.6, 0.95]),
    ]
}

#[test]
fn em_never_descends_and_ends_where_the_slope_is_zero() {
    for (name, model) in simulated() {
        let q = model.states();
        let fit = never_descends(model, q, (EStep, MStep));
        let halves = fit.trace.iter().flat_map(|s| [s.between, s.elbo]).flatten();
        assert!(halves.count() > 4, "{name}");
        // one more M-step, and Q falls either way from there
        let (mut model, mut q) = (fit.model, fit.q);
        model.natural_step(&mut q, 1.0).expect("fine");
        model.maximize(&q).expect("fine");
        let mut theta = vec![0.0; model.n_theta()];
        model.theta(&mut theta);
        // the draws of q stand for it: E log p is a mean over them, whose slope is that over them
        let expected = |model: &HiddenMarkov| expected_log_joint(model, &q);
        const STEP: f64 = 1e-4;
        let middle = expected(&model);
        for i in 0..theta.len() {
            let mut slope = [0.0; 2];
            for (side, h) in [(0, -STEP), (1, STEP)] {
                let mut moved = theta.clone();
                moved[i] += h;
                model.set_theta(&moved);
                slope[side] = (expected(&model) - middle) / h;
            }
            let mean = 0.5 * (slope[0] + slope[1]);
            // a difference of second order and rounding, against 550 rows; probabilities that are at
            // their least have a slope of the size of their count
            assert!(mean.abs() < 1e-4, "{name}: slope {mean} in coordinate {i}");
        }
    }
}

/// `E_q[ln p(x, z)]`, from the marginals of rows and pairs of rows.
fn expected_log_joint(model: &HiddenMarkov, q: &States) -> f64 {
    let (k, marginals) = (model.len(), q.marginals());
    let mut sum = 0.0;
    for j in 0..k {
        sum += q.expected_starts()[j] * model.initial()[j].ln();
        for i in 0..k {
            sum += q.expected_transitions()[i * k + j] * model.transition(i)[j].ln();
        }
    }
    // the log density of a row in a state: a path that stays there, less its steps
    for c in 0..k {
        for (t, row) in model.sequences().rows().rows().enumerate() {
            sum += marginals[t * k + c] * log_density(model, c, row);
        }
    }
    sum
}

fn log_density(model: &HiddenMarkov, c: usize, row: &[f64]) -> f64 {
    match model.emission() {
        Emission::Gaussian if row.len() == 2 => {
            log_normal2(row, &model.mean(c), &model.covariance(c).expect("normal"))
        }
        Emission::Gaussian | Emission::DiagonalGaussian => (0..row.len())
            .map(|j| {
                let v = model.values(c, j);
                let z = (row[j] - v[0]) / v[1];
                -0.5 * (2.0 * std::f64::consts::PI).ln() - v[1].ln() - 0.5 * z * z
            })
            .sum(),
        Emission::Columns(columns) => (0..row.len())
            .map(|j| {
                let v = model.values(c, j);
                match columns[j] {
                    Column::Count => row[j] * v[0].ln() - v[0],
                    Column::Binary => (if row[j] == 1.0 { v[0] } else { 1.0 - v[0] }).ln(),
                    Column::Levels(_) => v[row[j] as usize].ln(),
                }
            })
            .sum(),
    }
}

#[test]
fn what_was_simulated_is_found_again() {
    let sequences = Sequences::one(Observations::new(wobble(60, 1.0), 2).expect("fine"));
    let any = sequences.and_then(|s| HiddenMarkov::gaussian(s, 3)).expect("fine");
    let steps = [0.95, 0.03, 0.02, 0.05, 0.9, 0.05, 0.02, 0.08, 0.9];
    let normal = [0., 0., 1., 0.3, 0.3, 1., 3., 0., 1., 0., 0., 2., 1., 4., 0.5, -0.2, -0.2, 0.5];
    let truth = any.with_parameters(&[1.0, 0.0, 0.0], &steps, &normal).expect("fine");
    let (rows, states) = truth.sample(4_000, &mut stream(1, Purpose::Data, 0));
    let data = Sequences::one(Observations::new(rows, 2).expect("fine")).expect("fine");
    let best =
        HiddenMarkov::gaussian(data, 3).and_then(|m| m.fit_with(3, &options())).expect("fine");
    let model = &best.fit.model;
    // states by their mean: columns 1 of 0, 3 and (1, 4)
    let own = |c: usize| -> usize {
        let far = |m: &[f64]| (m[0] - normal[6 * c]).powi(2) + (m[1] - normal[6 * c + 1]).powi(2);
        let all = (0..3).map(|k| far(&model.mean(k)));
        all.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map(|(k, _)| k).expect("three")
    };
    let order = [own(0), own(1), own(2)];
    for i in 0..3 {
        for j in 0..3 {
            let (got, want) = (model.transition(order[i])[order[j]], steps[i * 3 + j]);
            // some 400 to 2000 steps leave each state
            let se = (want * (1.0 - want) / 400.0).sqrt();
            assert!((got - want).abs() < 4.0 * se, "step {i} to {j}: {got}, not {want}");
        }
        let covariance = model.covariance(order[i]).expect("normal");
        assert_all_close("covariance", &covariance, &normal[6 * i + 2..6 * i + 6], 0.15);
    }
    let path = model.path(model.sequences()).expect("fine");
    let right = path.iter().zip(&states).filter(|(z, s)| **z == order[**s]).count();
    assert!(right as f64 > 0.95 * 4_000.0, "{right} states of 4000");
    // the log likelihood of the truth is lower, that of held-out rows about the same
    let elbo = last(&best.fit);
    let at_truth: f64 = truth.score(model.sequences()).expect("fine").iter().sum();
    assert!(elbo > at_truth && elbo < at_truth + 40.0, "{elbo} {at_truth}");
    let (new, _) = truth.sample(4_000, &mut stream(2, Purpose::Data, 0));
    let new = Sequences::one(Observations::new(new, 2).expect("fine")).expect("fine");
    let gap = truth.score(&new).expect("fine")[0] - model.score(&new).expect("fine")[0];
    // half the number of parameters on average
    assert!(gap.abs() < 40.0, "{gap}");
}

fn options() -> Options {
    Options { stop: Stop::Exact { gain: 1e-10 }, ..Options::exact() }
}

#[test]
fn a_hundred_thousand_rows_do_not_underflow() {
    let (_, model) = simulated().swap_remove(2);
    let model =
        model.with_parameters(&[1.0, 1.0, 1.0], &[0.9, 0.05, 0.05].repeat(3), &[1.0, 5.0, 15.0]);
    let model = model.expect("fine");
    let (rows, _) = model.sample(100_000, &mut stream(5, Purpose::Data, 0));
    let whole = Sequences::one(Observations::new(rows.clone(), 1).expect("fine")).expect("fine");
    let all = model.score(&whole).expect("fine")[0];
    // rows do not depend on the row before here: the same as many sequences
    let lengths = vec![100; 1000];
    let parts = Sequences::new(Observations::new(rows, 1).expect("fine"), &lengths).expect("fine");
    let starts = [0.9, 0.05, 0.05];
    let model = model.with_parameters(&starts, &[0.9, 0.05, 0.05].repeat(3), &[1.0, 5.0, 15.0]);
    let model = model.expect("fine");
    let each: f64 = model.score(&parts).expect("fine").iter().sum();
    assert!(all.is_finite() && (all - each).abs() < 3.0, "{all} {each}");
}

#[test]
fn a_resumed_run_ends_with_the_same_bits() {
    for (at, (name, model)) in simulated().into_iter().enumerate() {
        let options = Options { steps: 12, stop: Stop::Budget, ..Options::exact() };
        let (m, q) = (model.clone(), model.states());
        let whole = fit(m, q, Squarem::new((EStep, MStep)), options.clone()).expect("fine");
        let (m, q) = (model.clone(), model.states());
        let mut run = Run::new(m, q, Squarem::new((EStep, MStep)), options).expect("fine");
        (0..5).for_each(|_| assert_eq!(run.step().expect("fine"), None));
        let file =
            std::env::temp_dir().join(format!("elbo-states-{at}-{}.json", std::process::id()));
        run.save(&file).expect("written");
        let resumed: Run<_, States, Squarem<(EStep, MStep)>> =
            Run::resume(&file, model).expect("read");
        let resumed = resumed.finish().expect("fine");
        std::fs::remove_file(&file).expect("it was there");
        assert_eq!(resumed.trace, whole.trace, "{name}");
        let theta = |model: &HiddenMarkov| {
            let mut theta = vec![0.0; model.n_theta()];
            model.theta(&mut theta);
            theta
        };
        assert_eq!(theta(&resumed.model), theta(&whole.model), "{name}");
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let (_, model) = simulated().swap_remove(0);
    let (rows, _) = model.sample(20_000, &mut stream(6, Purpose::Data, 0));
    let data = Observations::new(rows, 2).expect("fine");
    let sequences = Sequences::new(data, &[2_500; 8]).expect("fine");
    let model = HiddenMarkov::gaussian(sequences, 3).expect("fine");
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let options = Options { steps: 5, stop: Stop::Budget, ..Options::exact() };
        pool.install(|| fit(model.clone(), model.states(), (EStep, MStep), options).expect("fine"))
    };
    let one = on(1);
    for threads in [2, 8] {
        let other = on(threads);
        assert_eq!(other.trace, one.trace);
        assert_eq!(other.q.expected_transitions(), one.q.expected_transitions());
    }
}

#[test]
fn a_sequence_that_counts_twice_is_two() {
    let (_, model) = simulated().swap_remove(0);
    let rows = model.sequences().rows();
    let (a, b) = rows.values().split_at(800);
    let weighted = Observations::new(rows.values().to_vec(), 2)
        .and_then(|d| d.weighted([vec![2.0; 400], vec![1.0; 150]].concat()))
        .and_then(|d| Sequences::new(d, &[400, 150]));
    let twice =
        Observations::new([a, a, b].concat(), 2).and_then(|d| Sequences::new(d, &[400, 400, 150]));
    let theta = {
        let mut theta = vec![0.0; model.n_theta()];
        model.theta(&mut theta);
        theta
    };
    let step = |sequences: Sequences| {
        let mut model = HiddenMarkov::gaussian(sequences, 3).expect("fine");
        model.set_theta(&theta);
        let mut q = model.states();
        let e = model.natural_step(&mut q, 1.0).expect("fine");
        let m = model.maximize(&q).expect("fine");
        (e, m, q.expected_transitions().to_vec())
    };
    let (a, b) = (step(weighted.expect("fine")), step(twice.expect("fine")));
    // coordinates are in units of the data, which hardly differ
    assert_close("E", a.0, b.0, 1e-12);
    assert_close("M", a.1, b.1, 1e-12);
    assert_all_close("transitions", &a.2, &b.2, 1e-11);
}

#[test]
fn the_scale_of_the_data_does_not_matter() {
    let at = |scale: f64| {
        let (_, model) = simulated().swap_remove(0);
        let cells = model.sequences().rows().values().iter().map(|x| scale * x).collect();
        let data = Observations::new(cells, 2).expect("fine");
        let sequences = Sequences::new(data, &[400, 150]).expect("fine");
        let model = HiddenMarkov::gaussian(sequences, 3).expect("fine");
        let q = model.states();
        let options = Options { steps: 20, stop: Stop::Budget, ..Options::exact() };
        let fit = fit(model, q, (EStep, MStep), options).expect("fine");
        (
            last(&fit) + 1100.0 * scale.ln(),
            fit.model.transition(0).to_vec(),
            fit.model.mean(1)[0] / scale,
        )
    };
    let one = at(1.0);
    for scale in [1e12, 1e-12] {
        let other = at(scale);
        assert_close("ELBO", other.0, one.0, 1e-9);
        assert_all_close("transitions", &other.1, &one.1, 1e-6);
        assert_close("mean", other.2, one.2, 1e-6);
    }
}

#[test]
fn what_comes_next_follows_from_the_last_state() {
    let (_, model) = small().swap_remove(0);
    let marginals = model.marginals(model.sequences()).expect("fine");
    let ahead = model.states_ahead(model.sequences(), 1).expect("fine");
    assert_eq!(ahead.len(), 4);
    for (i, row) in [3, 6].into_iter().enumerate() {
        let p = &marginals[row * 2..row * 2 + 2];
        for j in 0..2 {
            let want = p[0] * model.transition(0)[j] + p[1] * model.transition(1)[j];
            assert_close("next state", ahead[2 * i + j], want, 1e-14);
        }
    }
    let row = model.row_ahead(model.sequences(), 1).expect("fine");
    let want = ahead[0] * model.mean(0)[1] + ahead[1] * model.mean(1)[1];
    assert_close("next row", row[1], want, 1e-14);
}

#[test]
fn restarts_find_the_change_of_the_nile() {
    let flows = Sequences::one(Observations::new(NILE.to_vec(), 1).expect("fine")).expect("fine");
    let best = HiddenMarkov::gaussian(flows, 2).and_then(|m| m.fit(1)).expect("fine");
    assert!(best.attempts.iter().filter(|a| a.elbo.is_ok()).count() >= 8, "{best}");
    let criteria = best.fit.model.criteria().expect("fine");
    assert_close("log likelihood", criteria.log_likelihood, last(&best.fit), 1e-8);
    assert_eq!(criteria.n_parameters, 1 + 2 + 4);
    let mut q = best.fit.model.states();
    best.fit.model.natural_step(&mut q, 1.0).expect("fine");
    assert_close("entropy", criteria.entropy, q.entropy().expect("known"), 1e-8);
}

#[test]
fn bad_input_is_named() {
    let data = |cells: Vec<f64>| Observations::new(cells, 1).expect("fine");
    let bad = message(Sequences::new(data(vec![1.0; 5]), &[4, 1]));
    assert_eq!(
        bad,
        "E10 the length of sequence 1 is 1; a sequence needs at least 2 rows: drop it, or join it to another"
    );
    let bad = message(Sequences::new(data(vec![1.0; 5]), &[4, 2]));
    assert!(bad.starts_with("E03 the data has 5 values but all sequences together has 6"), "{bad}");
    let weighted = data(vec![1.0; 5]).weighted(vec![1.0, 1.0, 2.0, 1.0, 1.0]).expect("fine");
    let bad = message(Sequences::new(weighted, &[2, 3]));
    assert!(bad.starts_with("E01 weights[3] is 1. Row 2 of the same sequence, 1, has 2"), "{bad}");

    let infinite = message(Observations::with_gaps(vec![1.0, f64::INFINITY], 1));
    assert!(infinite.starts_with("E01 data[1, 0] is inf"), "{infinite}");

    let one = |cells: Vec<f64>| Sequences::one(data(cells)).expect("fine");
    let bad = message(HiddenMarkov::poisson(one(vec![1.0, -2.0, 3.0]), 2));
    assert!(bad.starts_with("E01 data[1, 0] is -2") && bad.contains("a count"), "{bad}");
    let bad = message(HiddenMarkov::categorical(one(vec![1.0, 0.0, 3.0]), 2, &[3]));
    assert!(bad.starts_with("E01 data[2, 0] is 3") && bad.contains("a level"), "{bad}");
    let bad = message(HiddenMarkov::gaussian(one(vec![1.0, 2.0, 1.0]), 3));
    assert!(bad.starts_with("E10 states is 3; the data have only 2 different rows"), "{bad}");
    let bad = message(HiddenMarkov::categorical(one(vec![1.0, 0.0, 1.0]), 4, &[2]));
    assert!(bad.starts_with("E10 states is 4; the data have only 3 rows"), "{bad}");
    assert!(message(HiddenMarkov::gaussian(one(vec![1.0, 2.0]), 0)).starts_with("E10 states is 0"));
    let bad = message(HiddenMarkov::gaussian(one(vec![5.0; 4]), 1));
    assert!(bad.starts_with("E01 column 0 is constant, 5"), "{bad}");

    let model = || HiddenMarkov::gaussian(one(vec![1.0, 2.0, 4.0, 3.0]), 2).expect("fine");
    let set = |initial: &[f64], steps: &[f64], states: &[f64]| {
        message(model().with_parameters(initial, steps, states))
    };
    let (half, fine) = ([0.5; 4], [1.0, 1.0, 2.0, 1.0]);
    assert!(set(&[1.0], &half, &fine).starts_with("E03 the initial probabilities has 1 values"));
    let bad = set(&[1.0, 1.0], &[0.5, -0.5, 0.5, 0.5], &fine);
    assert!(
        bad.starts_with("E10 transitions[0, 1] is -0.5; a probability must be 0 or more"),
        "{bad}"
    );
    assert!(set(&[0.0, 0.0], &half, &fine).contains("all probabilities are 0"));
    let bad = set(&[1.0, 1.0], &half, &[1.0, 0.0, 2.0, 1.0]);
    assert!(bad.starts_with("E10 the variance of state 0 in column 0 is 0"), "{bad}");
    let q = model().states();
    assert!(message(model().maximize(&q)).contains("no E-step has been made yet"));
    let mut q = model().states();
    assert!(
        message(model().natural_step(&mut q, 0.5)).starts_with("E10 rate of NaturalStep is 0.5")
    );
    let rows = Sequences::one(Observations::new(vec![1.0; 4], 2).expect("fine")).expect("fine");
    assert!(message(model().score(&rows)).starts_with("E03 a row has 2 values"));
}

#[test]
fn a_state_that_empties_or_collapses_is_named() {
    let data = Observations::new(vec![0.0, 0.1, -0.1, 0.2, 0.0, 0.1], 1).expect("fine");
    let model = Sequences::one(data).and_then(|s| HiddenMarkov::gaussian(s, 2)).expect("fine");
    let far = model.with_parameters(&[0.5, 0.5], &[0.5; 4], &[0.0, 0.01, 900.0, 0.01]);
    let mut far = far.expect("fine");
    let mut q = far.states();
    far.natural_step(&mut q, 1.0).expect("fine");
    let bad = message(far.maximize(&q));
    assert!(
        bad.starts_with("E15 MStep: state 1 has emptied: it has 0.0e0 rows of 6 left"),
        "{bad}"
    );
    assert!(bad.contains("or fewer states, or another start"), "{bad}");
    // three rows at one place
    let data = Observations::new(vec![0.0, 0.0, 0.0, 4.0, 5.0, 6.5, 4.5], 1).expect("fine");
    let model = Sequences::one(data).and_then(|s| HiddenMarkov::gaussian(s, 2)).expect("fine");
    let q = model.states();
    let bad = message(fit(model, q, (EStep, MStep), Options::exact()));
    assert!(bad.contains("has collapsed: nothing is left of its variance in column 0"), "{bad}");
    assert!(bad.contains("its 3 rows are 0, 1, 2"), "{bad}");
    // a sequence that no path leads through
    let data = Observations::new(vec![0.0, 1.0, 0.0, 1.0], 1).expect("fine");
    let model = Sequences::one(data).and_then(|s| HiddenMarkov::gaussian(s, 2)).expect("fine");
    let stuck = model.with_parameters(&[1.0, 0.0], &[0.0, 1.0, 0.0, 1.0], &[0.0, 1.0, 1.0, 1.0]);
    let mut q = stuck.as_ref().expect("fine").states();
    assert!(stuck.expect("fine").natural_step(&mut q, 1.0).is_ok());
}

/// `ln B(a + n) / B(a)` of a Dirichlet: the evidence of counts in an order.
fn log_dirichlet(concentration: f64, counts: &[f64]) -> f64 {
    let total = counts.len() as f64 * concentration;
    let n: f64 = counts.iter().sum();
    let each = counts.iter().map(|c| ln_gamma(concentration + c) - ln_gamma(concentration));
    each.sum::<f64>() + ln_gamma(total) - ln_gamma(total + n)
}

fn ln_gamma(x: f64) -> f64 {
    statrs::function::gamma::ln_gamma(x)
}

/// `ln p(rows)` of one state, all its parameters integrated out, by textbook formulas; NaN passed over.
fn log_state_evidence(prior: &StatePrior, columns: Option<&[Column]>, rows: &[&[f64]]) -> f64 {
    let dim = rows.first().map_or(0, |row| row.len());
    match (prior, columns) {
        (StatePrior::Columns { probabilities, rates }, Some(columns)) => (0..dim)
            .map(|j| {
                let seen: Vec<f64> = rows.iter().map(|r| r[j]).filter(|x| !x.is_nan()).collect();
                match columns[j] {
                    Column::Count => {
                        let (a, b) = *rates;
                        let (n, sum) = (seen.len() as f64, seen.iter().sum::<f64>());
                        let ways: f64 = seen.iter().map(|x| ln_gamma(x + 1.0)).sum();
                        a * b.ln() - ln_gamma(a) + ln_gamma(a + sum)
                            - (a + sum) * (b + n).ln()
                            - ways
                    }
                    Column::Binary | Column::Levels(_) => {
                        let levels = if let Column::Levels(n) = columns[j] { n } else { 2 };
                        let mut counts = vec![0.0; levels];
                        seen.iter().for_each(|x| counts[*x as usize] += 1.0);
                        log_dirichlet(*probabilities, &counts)
                    }
                }
            })
            .sum(),
        (StatePrior::Normal { mean, shrinkage, degrees, scale }, None) => {
            // independent columns: a Normal-Gamma each (Murphy 2007, section 3.5)
            let column = |j: usize| {
                let seen: Vec<f64> = rows.iter().map(|r| r[j]).filter(|x| !x.is_nan()).collect();
                let n = seen.len() as f64;
                if n == 0.0 {
                    return 0.0;
                }
                let (k0, a0, b0) = (*shrinkage, 0.5 * degrees, 0.5 * scale[j * dim + j]);
                let average = seen.iter().sum::<f64>() / n;
                let spread: f64 = seen.iter().map(|x| (x - average).powi(2)).sum();
                let (kn, an) = (k0 + n, a0 + 0.5 * n);
                let bn = b0 + 0.5 * spread + k0 * n * (average - mean[j]).powi(2) / (2.0 * kn);
                ln_gamma(an) - ln_gamma(a0) + a0 * b0.ln() - an * bn.ln() + 0.5 * (k0 / kn).ln()
                    - 0.5 * n * (2.0 * std::f64::consts::PI).ln()
            };
            (0..dim).map(column).sum()
        }
        _ => panic!("a prior for other states"),
    }
}

/// The exact log evidence: over all paths, with every parameter integrated out.
fn log_evidence(model: &BayesianHiddenMarkov, prior: &Prior) -> f64 {
    let model = model.model();
    let (k, n) = (model.len(), model.dim());
    let columns = match model.emission() {
        Emission::Columns(columns) => Some(&columns[..]),
        _ => None,
    };
    let logs: Vec<f64> = (0..k.pow(n as u32))
        .map(|code| {
            let path: Vec<usize> = (0..n).map(|t| code / k.pow(t as u32) % k).collect();
            let (mut first, mut steps) = (vec![0.0; k], vec![0.0; k * k]);
            for range in model.sequences().ranges() {
                first[path[range.start]] += 1.0;
                range.skip(1).for_each(|t| steps[path[t - 1] * k + path[t]] += 1.0);
            }
            let mut sum = log_dirichlet(prior.initial, &first);
            for c in 0..k {
                sum += log_dirichlet(prior.transitions, &steps[c * k..(c + 1) * k]);
                let own = (0..n).filter(|t| path[*t] == c);
                let rows: Vec<&[f64]> = own.map(|t| model.sequences().rows().row(t)).collect();
                sum += log_state_evidence(&prior.state, columns, &rows);
            }
            sum
        })
        .collect();
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln()
}

/// Small models with priors of no symmetry, and as many states as wanted.
fn small_bayesian(states: usize) -> Vec<(&'static str, BayesianHiddenMarkov, Prior)> {
    let normal = StatePrior::Normal {
        mean: vec![0.2, -0.1],
        shrinkage: 0.7,
        degrees: 2.5,
        scale: vec![0.8, 0.0, 0.0, 1.3],
    };
    let columns = StatePrior::Columns { probabilities: 0.6, rates: (1.5, 0.4) };
    let pairs = [
        ("full", 0, normal.clone()),
        ("diagonal", 1, normal),
        ("poisson", 2, columns.clone()),
        ("levels", 3, columns),
    ];
    pairs
        .into_iter()
        .map(|(name, at, state)| {
            let (_, like) = small().swap_remove(at);
            let sequences = like.sequences().clone();
            let model = HiddenMarkov::new(sequences, states, like.emission().clone());
            let prior = Prior { initial: 0.8, transitions: 1.3, state };
            let model = model.map(|m| m.bayesian()).and_then(|m| m.with_prior(prior.clone()));
            (name, model.expect("fine"), prior)
        })
        .collect()
}

/// With one state there is nothing to approximate.
#[test]
fn one_state_has_no_gap() {
    for (name, model, prior) in small_bayesian(1) {
        let q = model.start(0).expect("fine");
        let fit = never_descends(model, q, EStep);
        let (got, want) = match name {
            "full" => (last(&fit), log_wishart_evidence(&fit.model, &prior)),
            _ => (last(&fit), log_evidence(&fit.model, &prior)),
        };
        assert_close(&format!("{name}: evidence"), got, want, 1e-12);
    }
}

/// Normal-Wishart, full covariance (Murphy 2007, section 9.3): by determinants.
fn log_wishart_evidence(model: &BayesianHiddenMarkov, prior: &Prior) -> f64 {
    let StatePrior::Normal { mean, shrinkage, degrees, scale } = &prior.state else {
        panic!("normal states");
    };
    let d = 2;
    let rows: Vec<&[f64]> =
        model.model().sequences().rows().rows().filter(|r| !r[0].is_nan()).collect();
    let n = rows.len() as f64;
    let average: Vec<f64> = (0..d).map(|j| rows.iter().map(|r| r[j]).sum::<f64>() / n).collect();
    let after = nalgebra::DMatrix::from_fn(d, d, |i, j| {
        let spread: f64 = rows.iter().map(|r| (r[i] - average[i]) * (r[j] - average[j])).sum();
        let pull = shrinkage * n / (shrinkage + n);
        scale[i * d + j] + spread + pull * (average[i] - mean[i]) * (average[j] - mean[j])
    });
    let before = nalgebra::DMatrix::from_row_slice(d, d, scale);
    let log_multigamma = |a: f64| ln_gamma(a) + ln_gamma(a - 0.5);
    log_multigamma(0.5 * (degrees + n)) - log_multigamma(0.5 * degrees)
        + 0.5 * degrees * before.determinant().ln()
        - 0.5 * (degrees + n) * after.determinant().ln()
        + (shrinkage / (shrinkage + n)).ln()
        - n * std::f64::consts::PI.ln()
}

#[test]
fn the_bound_is_below_the_evidence_of_all_paths() {
    for (name, model, prior) in small_bayesian(2).into_iter().skip(1) {
        let want = log_evidence(&model, &prior);
        let mut best = f64::NEG_INFINITY;
        for seed in 0..3 {
            let q = model.start(seed).expect("fine");
            best = best.max(last(&never_descends(model.clone(), q, EStep)));
        }
        assert!(best <= want + 1e-10, "{name}: {best} above {want}");
        assert!(best > want - 4.0, "{name}: {best} far below {want}");
    }
}

#[test]
fn the_variational_bound_is_what_its_draws_say() {
    for (name, model, _) in small_bayesian(2) {
        let q = model.start(1).expect("fine");
        let options = Options { steps: 3, stop: Stop::Budget, ..Options::exact() };
        let fit = fit(model, q, EStep, options).expect("fine");
        assert!(last(&fit).is_finite(), "{name}");
        assert_eq!(fit.q.dim(), fit.model.space().dim(), "{name}");
        for i in 0..fit.q.dim() {
            assert_eq!(fit.q.support(i), fit.model.space().support(i), "{name}: coordinate {i}");
        }
        elbo_is_the_mean_of_its_draws(&fit.model, &fit.q, last(&fit));
    }
}

#[test]
fn coordinate_ascent_never_descends_and_empties_spare_states() {
    for (name, model) in simulated() {
        let sequences = model.sequences().clone();
        let roomy = HiddenMarkov::new(sequences, 5, model.emission().clone()).expect("fine");
        let roomy = roomy.bayesian();
        let q = roomy.start(0).expect("fine");
        let fit = never_descends(roomy, q, Squarem::new(EStep));
        if name != "levels" {
            let counts: Vec<f64> = (0..5).map(|k| fit.q.expected_count(k)).collect();
            let small = counts.iter().filter(|n| **n < 30.0).count();
            assert!(fit.q.occupied().len() >= 3 && small >= 1, "{name}: {counts:?}");
        }
        let point = fit.model.at_mean(&fit.q).expect("fine");
        let score: f64 = point.score(point.sequences()).expect("fine").iter().sum();
        assert!(score > last(&fit), "{name}: what a prior costs is above 0");
    }
}

#[test]
fn a_resumed_variational_run_ends_with_the_same_bits_on_any_number_of_threads() {
    for (at, (name, model)) in simulated().into_iter().enumerate() {
        let model = model.bayesian();
        let options = Options { steps: 9, stop: Stop::Budget, ..Options::exact() };
        let start = || model.start(0).expect("fine");
        let whole =
            fit(model.clone(), start(), Squarem::new(EStep), options.clone()).expect("fine");
        let mut run = Run::new(model.clone(), start(), Squarem::new(EStep), options).expect("fine");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().expect("threads");
        pool.install(|| (0..4).for_each(|_| assert_eq!(run.step().expect("fine"), None)));
        let file =
            std::env::temp_dir().join(format!("elbo-vbhmm-{at}-{}.json", std::process::id()));
        run.save(&file).expect("written");
        let resumed: Run<_, HiddenMarkovPosterior, Squarem<EStep>> =
            Run::resume(&file, model).expect("read");
        let resumed = resumed.finish().expect("fine");
        std::fs::remove_file(&file).expect("it was there");
        assert_eq!(resumed.trace, whole.trace, "{name}");
        assert_eq!(resumed.q.concentrations(1), whole.q.concentrations(1), "{name}");
    }
}

#[test]
fn bad_priors_are_named() {
    let (_, model, prior) = small_bayesian(2).swap_remove(0);
    let with = |prior: Prior| message(model.clone().with_prior(prior));
    let bad = with(Prior { transitions: 0.0, ..prior.clone() });
    assert_eq!(
        bad,
        "E10 transitions of the prior is 0; a number of a prior must be positive and finite"
    );
    let columns = StatePrior::Columns { probabilities: 1.0, rates: (1.0, 1.0) };
    let bad = with(Prior { state: columns, ..prior.clone() });
    assert!(bad.contains("take StatePrior::Normal"), "{bad}");
    let normal = |degrees: f64, scale: Vec<f64>| StatePrior::Normal {
        mean: vec![0.0; 2],
        shrinkage: 1.0,
        degrees,
        scale,
    };
    let bad = with(Prior { state: normal(1.0, vec![1.0, 0.0, 0.0, 1.0]), ..prior.clone() });
    assert!(bad.starts_with("E10 degrees of the prior is 1; take more than 1"), "{bad}");
    let bad = with(Prior { state: normal(3.0, vec![1.0, 2.0, 2.0, 1.0]), ..prior });
    assert!(bad.starts_with("E04 the scale of the prior is not a covariance matrix"), "{bad}");
    let mut q = model.start(0).expect("fine");
    assert!(message(model.natural_step(&mut q, 0.5)).starts_with("E10 rate of NaturalStep"));
}
