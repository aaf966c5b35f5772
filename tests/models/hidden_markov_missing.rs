//! Hidden Markov models with covariances and single cells missing: the marginal density of what is
//! there, and what is expected of the rest.

use elbo::data::Observations;
use elbo::models::HiddenMarkov;
use elbo::models::hidden_markov::Sequences;
use elbo::{
    Conjugate, EStep, Error, Family, MStep, Maximize, Model, Options, Purpose, Squarem, Stop, fit,
    stream,
};
use rand::RngExt;

use crate::moves::{elbo_is_the_mean_of_its_draws, last, message, never_descends};
use crate::support::{assert_all_close, assert_close};

const LN_2PI: f64 = 1.837_877_066_409_345_3;
const NAN: f64 = f64::NAN;

/// Seven rows of three columns with every kind of gap.
const CELLS: [f64; 21] = [
    0.3, -0.5, 1.1, NAN, 0.4, 0.2, 0.9, NAN, NAN, NAN, NAN, NAN, 1.2, 0.1, NAN, NAN, NAN, 0.7,
    -0.2, 0.8, 0.5,
];
const STATES: [f64; 24] = [
    0.1, 0.3, -0.2, 1.0, 0.4, -0.3, 0.4, 0.8, 0.2, -0.3, 0.2, 1.5, //
    -0.5, 0.6, 0.9, 0.5, -0.2, 0.1, -0.2, 0.9, 0.3, 0.1, 0.3, 0.7,
];

fn three_columns() -> Result<HiddenMarkov, Error> {
    let sequences = Sequences::new(Observations::with_gaps(CELLS.to_vec(), 3)?, &[4, 3])?;
    HiddenMarkov::gaussian(sequences, 2)?.with_parameters(
        &[0.6, 0.4],
        &[0.7, 0.3, 0.2, 0.8],
        &STATES,
    )
}

/// `ln Normal` of the cells that are there, from the block of the covariance that is theirs.
fn log_marginal(row: &[f64], mean: &[f64], covariance: &[f64]) -> f64 {
    let there: Vec<usize> = (0..3).filter(|&j| !row[j].is_nan()).collect();
    let n = there.len();
    if n == 0 {
        return 0.0;
    }
    let block = nalgebra::DMatrix::from_fn(n, n, |a, b| covariance[3 * there[a] + there[b]]);
    let y = nalgebra::DVector::from_fn(n, |a, _| row[there[a]] - mean[there[a]]);
    let square = y.dot(&(block.clone().try_inverse().expect("regular") * &y));
    -0.5 * (n as f64 * LN_2PI + block.determinant().ln() + square)
}

#[test]
fn every_path_counted_with_marginal_densities() -> Result<(), Error> {
    let model = three_columns()?;
    let starts = [0, 4];
    let path = |code: usize| -> Vec<usize> { (0..7).map(|t| code >> t & 1).collect() };
    let joint = |z: &[usize]| -> f64 {
        (0..7)
            .map(|t| {
                let step = match starts.contains(&t) {
                    true => model.initial()[z[t]],
                    false => model.transition(z[t - 1])[z[t]],
                };
                let (mean, own) = STATES[12 * z[t]..12 * (z[t] + 1)].split_at(3);
                step.ln() + log_marginal(&CELLS[3 * t..3 * t + 3], mean, own)
            })
            .sum()
    };
    let all: Vec<Vec<usize>> = (0..128).map(path).collect();
    let logs: Vec<f64> = all.iter().map(|z| joint(z)).collect();
    for (z, log) in all.iter().zip(&logs) {
        let z: Vec<f64> = z.iter().map(|z| *z as f64).collect();
        assert_close("log joint", model.log_joint(&z), *log, 1e-12);
    }
    let likelihood = logs.iter().map(|l| l.exp()).sum::<f64>().ln();
    let mut q = model.states();
    let elbo = model.natural_step(&mut q, 1.0)?;
    assert_close("log likelihood", elbo, likelihood, 1e-12);
    assert_close("score", model.score(model.sequences())?.iter().sum(), likelihood, 1e-12);
    let share = |t: usize| -> f64 {
        let own = all.iter().zip(&logs).filter(|(z, _)| z[t] == 1);
        own.map(|(_, l)| (l - likelihood).exp()).sum()
    };
    let marginals: Vec<f64> = (0..7).flat_map(|t| [1.0 - share(t), share(t)]).collect();
    assert_all_close("marginals", &q.marginals(), &marginals, 1e-12);
    // the entropy of q is that of the paths
    let entropy: f64 = logs.iter().map(|l| -(l - likelihood) * (l - likelihood).exp()).sum();
    assert_close("entropy", q.entropy().expect("known"), entropy, 1e-11);
    assert_close("entropy", model.criteria()?.entropy, entropy, 1e-11);
    elbo_is_the_mean_of_its_draws(&model, &q, elbo);
    Ok(())
}

/// A chain of two states, rows of two columns that go together, a fifth of the cells missing.
fn simulated(n: usize) -> Result<HiddenMarkov, Error> {
    let any = Observations::new((0..12).map(|i| f64::from(i * i % 7)).collect(), 2)?;
    let truth = HiddenMarkov::gaussian(Sequences::one(any)?, 2)?.with_parameters(
        &[0.5, 0.5],
        &[0.9, 0.1, 0.2, 0.8],
        &[0.0, 0.0, 1.0, 0.7, 0.7, 1.0, 3.0, 1.0, 1.0, -0.5, -0.5, 0.8],
    )?;
    let mut rng = stream(8, Purpose::Data, 0);
    let (mut cells, _) = truth.sample(n, &mut rng);
    for x in &mut cells {
        if rng.random::<f64>() < 0.2 {
            *x = NAN;
        }
    }
    HiddenMarkov::gaussian(Sequences::new(Observations::with_gaps(cells, 2)?, &[n / 2; 2])?, 2)
}

#[test]
fn em_climbs_to_a_point_without_slope_and_finds_the_truth() -> Result<(), Error> {
    let model = simulated(1200)?;
    let q = model.states();
    let best = never_descends(model, q, Squarem::new((EStep, MStep)));
    let mut theta = vec![0.0; best.model.n_theta()];
    best.model.theta(&mut theta);
    let at = |theta: &[f64]| -> f64 {
        let mut moved = best.model.clone();
        moved.set_theta(theta);
        moved.score(moved.sequences()).expect("fine").iter().sum()
    };
    assert_close("log likelihood", at(&theta), last(&best), 1e-10);
    // but for the initial state, which two sequences take to an edge
    for i in 2..theta.len() {
        let mut beside = theta.clone();
        beside[i] = theta[i] + 1e-4;
        let up = at(&beside);
        beside[i] = theta[i] - 1e-4;
        let slope = (up - at(&beside)) / 2e-4;
        assert!(slope.abs() < 5e-3, "slope {slope} in coordinate {i}");
    }
    let low = usize::from(best.model.mean(0)[0] > best.model.mean(1)[0]);
    // some 700 rows a state and a fifth of the cells gone: standard errors of a twentieth
    let want = [[0.0, 0.0], [3.0, 1.0]];
    for (k, want) in [low, 1 - low].into_iter().zip(want) {
        for (found, want) in best.model.mean(k).iter().zip(want) {
            assert!((found - want).abs() < 0.2, "{found} {want}");
        }
    }
    let cross = |k: usize| best.model.covariance(k).expect("normal")[1];
    assert!((cross(low) - 0.7).abs() < 0.2 && (cross(1 - low) + 0.5).abs() < 0.2);
    Ok(())
}

/// The bound after an M-step is that of states and missing cells: no more than what draws of the
/// states alone say, and no less than before.
#[test]
fn an_m_step_has_a_bound_of_states_and_missing_cells() -> Result<(), Error> {
    let mut model = simulated(60)?;
    let mut q = model.states();
    let before = model.natural_step(&mut q, 1.0)?;
    let after = model.maximize(&q)?;
    let likelihood: f64 = model.score(model.sequences())?.iter().sum();
    assert!(before < after && after < likelihood, "{before} {after} {likelihood}");
    Ok(())
}

#[test]
fn independent_columns_are_the_diagonal_model() -> Result<(), Error> {
    let cells = vec![0.1, NAN, 0.4, 0.3, NAN, 1.0, 0.9, -0.2, 0.5, 0.4, NAN, NAN, 0.8, 0.2];
    let sequences = Sequences::one(Observations::with_gaps(cells, 2)?)?;
    let (initial, steps) = ([0.5, 0.5], [0.8, 0.2, 0.3, 0.7]);
    let full = HiddenMarkov::gaussian(sequences.clone(), 2)?.with_parameters(
        &initial,
        &steps,
        &[0.1, 0.2, 0.5, 0.0, 0.0, 0.7, 0.9, -0.1, 0.3, 0.0, 0.0, 0.6],
    )?;
    let diagonal = HiddenMarkov::diagonal(sequences, 2)?.with_parameters(
        &initial,
        &steps,
        &[0.1, 0.2, 0.5, 0.7, 0.9, -0.1, 0.3, 0.6],
    )?;
    let score = |m: &HiddenMarkov| m.score(m.sequences());
    assert_all_close("score", &score(&full)?, &score(&diagonal)?, 1e-13);
    let (full_path, diagonal_path) =
        (full.path(full.sequences())?, diagonal.path(full.sequences())?);
    assert_eq!(full_path, diagonal_path);
    Ok(())
}

#[test]
fn the_variational_bound_never_falls_and_is_a_bound() -> Result<(), Error> {
    let model = simulated(200)?.bayesian();
    let q = model.start(1)?;
    let best = never_descends(model, q, EStep);
    // what draws of states and parameters say has no missing cells to pay for
    let mut rng = stream(2, Purpose::Report, 0);
    let mut z = vec![0.0; best.q.dim()];
    let mut sum = 0.0;
    const DRAWS: usize = 1_000;
    for _ in 0..DRAWS {
        best.q.sample(&mut rng, &mut z);
        sum += best.model.log_joint(&z) - best.q.log_prob(&z);
    }
    let (bound, drawn) = (last(&best), sum / DRAWS as f64);
    assert!(bound < drawn && drawn < bound + 10.0, "{bound} {drawn}");
    Ok(())
}

#[test]
fn threads_change_no_bit_and_columns_without_a_cell_are_named() -> Result<(), Error> {
    let model = simulated(8_000)?;
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let options = Options { steps: 4, stop: Stop::Budget, ..Options::exact() };
        pool.install(|| fit(model.clone(), model.states(), (EStep, MStep), options).expect("fine"))
    };
    let one = on(1);
    for threads in [2, 8] {
        assert_eq!(on(threads).trace, one.trace);
    }
    let cells = vec![0.1, NAN, 0.4, NAN, 0.9, NAN];
    let gone = Sequences::one(Observations::with_gaps(cells, 2)?)?;
    let text = message(HiddenMarkov::gaussian(gone, 2));
    assert!(text.starts_with("E01 column 1 is missing in every row"), "{text}");
    Ok(())
}
