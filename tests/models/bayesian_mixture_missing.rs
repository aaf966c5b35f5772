//! Bayesian mixtures of normal distributions where cells are missing: these are latent too.

use std::f64::consts::PI;

use elbo::data::{IRIS, Observations};
use elbo::models::bayesian_mixture::{MixturePosterior, Weights};
use elbo::models::gaussian_mixture::Prior;
use elbo::models::{BayesianMixture, Covariance, GaussianMixture};
use elbo::{
    Conjugate, EStep, Error, Family, Fit, Minibatch, Model, NaturalStep, Options, Purpose, Run,
    Squarem, Stop, fit, stream,
};
use nalgebra::{DMatrix, DVector};
use rand_distr::{Distribution, StandardNormal};

use crate::gaussian_mixture_missing::{heaps, with_holes};
use crate::moves::{last, message, never_descends};
use crate::support::{assert_all_close, assert_close};

const NAN: f64 = f64::NAN;
const WEIGHTS: [Weights; 2] = [Weights::Dirichlet, Weights::StickBreaking];

type Vb = Fit<BayesianMixture, MixturePosterior>;

fn steps(steps: usize) -> Options {
    Options { steps, stop: Stop::Budget, ..Options::default() }
}

fn cavi(model: BayesianMixture, options: Options) -> Result<Vb, Error> {
    let q = model.posterior();
    fit(model, q, EStep, options)
}

/// Every fifth iris in so many columns.
fn few(columns: usize, share: f64) -> Observations {
    let cells = IRIS.iter().step_by(5).flat_map(|row| row[..columns].to_vec()).collect();
    with_holes(cells, columns, share, 6)
}

fn of_kind(
    data: Observations,
    k: usize,
    covariance: Covariance,
    prior: Prior,
) -> Result<BayesianMixture, Error> {
    BayesianMixture::of(GaussianMixture::of_kind(data, k, covariance)?)?.with_prior(prior)
}

fn some_prior(d: usize) -> Prior {
    let entry = |at: usize| if at.is_multiple_of(d + 1) { 1.5 } else { 0.3 };
    let scale = (0..d * d).map(entry).collect();
    let mean = (0..d).map(|j| 3.0 + 0.5 * j as f64).collect();
    Prior { concentration: 0.7, mean, shrinkage: 0.6, degrees: d as f64 + 0.9, scale }
}

/// The bound at a belief with the best labels and missing cells for it.
fn bound(model: &BayesianMixture, q: &MixturePosterior) -> Result<f64, Error> {
    model.natural_step(&mut q.clone(), 0.0)
}

/// Mean and Cholesky factor of the missing cells of a row, given the others and component `k`: by
/// the blocks of the expected precision.
fn given(q: &MixturePosterior, k: usize, row: &[f64]) -> (Vec<usize>, DVector<f64>, DMatrix<f64>) {
    let d = row.len();
    let inverse = DMatrix::from_row_slice(d, d, &q.covariance(k));
    let precision = inverse.try_inverse().expect("regular");
    let (m, o): (Vec<usize>, Vec<usize>) = (0..d).partition(|&j| row[j].is_nan());
    let part = |b: &[usize]| DMatrix::from_fn(m.len(), b.len(), |i, j| precision[(m[i], b[j])]);
    let own = part(&m).try_inverse().expect("regular");
    let y = DVector::from_fn(o.len(), |i, _| row[o[i]] - q.mean(k)[o[i]]);
    let centre = DVector::from_fn(m.len(), |i, _| q.mean(k)[m[i]]);
    let mean = centre - &own * part(&o) * y;
    (m, mean, own.cholesky().expect("positive definite").l())
}

/// The reported bound against the mean, over draws of labels, parameters and missing cells, of the
/// log joint of the completed rows less the log density of the draw, at four standard errors.
#[test]
fn the_elbo_is_the_mean_over_draws_of_the_missing_cells_too() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let data = few(3, 0.35);
        let model = of_kind(data.clone(), 2, covariance, some_prior(3))?;
        let before = cavi(model.clone(), steps(2))?.q;
        let mut q = before.clone();
        // labels and missing cells by what was believed before, parameters by these
        let elbo = model.natural_step(&mut q, 1.0)?;
        let given: Vec<_> = data
            .rows()
            .map(|x| x.iter().any(|x| x.is_nan()).then(|| [0, 1].map(|k| given(&before, k, x))))
            .collect();
        let mut rng = stream(9, Purpose::Report, 0);
        let mut z = vec![0.0; q.dim()];
        const DRAWS: usize = 1_500;
        let mut terms = Vec::with_capacity(DRAWS);
        for _ in 0..DRAWS {
            q.sample(&mut rng, &mut z);
            let (mut cells, mut log_q) = (data.values().to_vec(), q.log_prob(&z));
            for (i, own) in given.iter().enumerate() {
                let Some(own) = own else { continue };
                let (m, mean, root) = &own[z[i] as usize];
                let noise = DVector::from_fn(m.len(), |_, _| StandardNormal.sample(&mut rng));
                let x = mean + root * &noise;
                let half = 0.5 * m.len() as f64 * (2.0 * PI).ln();
                log_q -= half + root.determinant().ln() + 0.5 * noise.norm_squared();
                m.iter().zip(x.iter()).for_each(|(j, x)| cells[3 * i + j] = *x);
            }
            let whole = of_kind(Observations::new(cells, 3)?, 2, covariance, some_prior(3))?;
            terms.push(whole.log_joint(&z) - log_q);
        }
        let n = DRAWS as f64;
        let mean = terms.iter().sum::<f64>() / n;
        let variance = terms.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / n;
        let se = (variance / n).sqrt();
        assert!((mean - elbo).abs() < 4.0 * se, "{covariance:?}: {mean} ± {se}, {elbo}");
        assert!(se < 0.5, "{se}");
    }
    Ok(())
}

/// With one component and one missing cell the evidence is an integral over that cell.
#[test]
fn the_bound_is_below_the_evidence_by_little() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let mut cells: Vec<f64> = IRIS[..20].iter().flat_map(|row| row[..2].to_vec()).collect();
        let (centre, spread) = (cells[7], 0.3);
        let evidence = |x: f64, cells: &mut Vec<f64>| -> Result<f64, Error> {
            cells[7] = x;
            let data = Observations::new(cells.clone(), 2)?;
            Ok(last(&cavi(of_kind(data, 1, covariance, some_prior(2))?, steps(1))?))
        };
        // x = centre + spread tan(u), at midpoints
        const POINTS: usize = 400;
        let logs: Result<Vec<f64>, Error> = (0..POINTS)
            .map(|i| {
                let u = PI * ((i as f64 + 0.5) / POINTS as f64 - 0.5);
                let slope = spread / u.cos().powi(2);
                Ok(evidence(centre + spread * u.tan(), &mut cells)? + slope.ln())
            })
            .collect();
        let logs = logs?;
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().map(|l| (l - top).exp()).sum();
        let exact = top + (sum * PI / POINTS as f64).ln();
        cells[7] = NAN;
        let data = Observations::with_missing(cells, 2)?;
        let model = of_kind(data, 1, covariance, some_prior(2))?;
        let q = model.posterior();
        let gap = exact - last(&never_descends(model, q, EStep));
        // a cell of one in 20 rows does not tell means and variances alone: terms of 1 / n
        assert!(gap > 0.0 && gap < 3.0 / 20.0, "{covariance:?}: {gap}");
    }
    Ok(())
}

#[test]
fn no_step_descends_and_the_end_has_no_slope() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        for weights in WEIGHTS {
            let data = few(3, 0.3);
            let model = of_kind(data, 2, covariance, some_prior(3))?.with_weights(weights)?;
            let q = model.posterior();
            never_descends(model.clone(), q.clone(), EStep);
            let best = never_descends(model.clone(), q, Squarem::new(EStep));
            let mut lambda = vec![0.0; best.q.n_params()];
            best.q.params(&mut lambda);
            assert_close("bound", bound(&model, &best.q)?, last(&best), 1e-9);
            let at = |i: usize, step: f64| {
                let (mut q, mut lambda) = (best.q.clone(), lambda.clone());
                lambda[i] += step;
                q.set_params(&lambda);
                bound(&model, &q)
            };
            for i in 0..lambda.len() {
                let (up, here, down) = (at(i, 1e-4)?, at(i, 0.0)?, at(i, -1e-4)?);
                let (slope, bend) = ((up - down) / 2e-4, (up - 2.0 * here + down) / 1e-8);
                let left = slope * slope / (2.0 * bend.abs().max(1.0));
                assert!(left < 1e-6, "{covariance:?} {weights:?}: slope {slope} in {i}");
            }
        }
    }
    Ok(())
}

/// What draws of labels and parameters say has no missing cells to pay for.
#[test]
fn the_bound_lies_below_that_of_labels_and_parameters_alone() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let model = of_kind(few(3, 0.3), 2, covariance, some_prior(3))?;
        let q = model.posterior();
        let best = never_descends(model, q, EStep);
        let mut rng = stream(2, Purpose::Report, 0);
        let mut z = vec![0.0; best.q.dim()];
        const DRAWS: usize = 2_000;
        let mut sum = 0.0;
        for _ in 0..DRAWS {
            best.q.sample(&mut rng, &mut z);
            sum += best.model.log_joint(&z) - best.q.log_prob(&z);
        }
        let (bound, drawn) = (last(&best), sum / DRAWS as f64);
        assert!(bound < drawn && drawn < bound + 10.0, "{covariance:?}: {bound} {drawn}");
    }
    Ok(())
}

#[test]
fn predictions_of_some_cells_are_those_of_all_integrated() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let model = of_kind(few(2, 0.2), 2, covariance, some_prior(2))?;
        let q = cavi(model, steps(20))?.q;
        for there in [4.4, 5.9] {
            const POINTS: usize = 4_000;
            let sum: f64 = (0..POINTS)
                .map(|i| {
                    let u = PI * ((i as f64 + 0.5) / POINTS as f64 - 0.5);
                    let other = 3.0 + 0.5 * u.tan();
                    q.log_density(&[there, other]).exp() * 0.5 / u.cos().powi(2)
                })
                .sum();
            let got = q.log_density(&[there, NAN]);
            let want = (sum * PI / POINTS as f64).ln();
            assert_close(&format!("{covariance:?} {there}"), got, want, 1e-9);
            let row = Observations::with_missing(vec![there, NAN], 2)?;
            assert_close("score", q.score(&row)?[0], got, 1e-14);
            assert_close("shares", q.responsibilities(&row)?.iter().sum(), 1.0, 1e-13);
        }
        assert!(q.log_density(&[NAN, NAN]).abs() < 1e-12);
        let none = Observations::with_gaps(vec![NAN; 2], 2)?;
        assert_all_close("shares", &q.responsibilities(&none)?, &q.weights(), 1e-12);
    }
    Ok(())
}

#[test]
fn components_that_are_not_needed_empty_themselves_with_gaps_too() -> Result<(), Error> {
    let truth = heaps()?;
    let (rows, labels) = truth.sample(900, &mut stream(3, Purpose::Data, 0));
    let data = with_holes(rows, 4, 0.25, 8);
    for weights in WEIGHTS {
        let model = BayesianMixture::new(data.clone(), 7)?.with_weights(weights)?;
        let best = model.fit(1)?.fit.q;
        let own = best.occupied();
        assert_eq!(own.len(), 3, "{weights:?}");
        // by size: the heaps have half, three and two tenths of the rows
        for (t, &k) in own.iter().enumerate() {
            for j in 0..4 {
                // some hundred rows and more, a standard error of a tenth
                let off = best.mean(k)[j] - truth.mean(t)[j];
                assert!(off.abs() < 0.4, "{weights:?} {t} {j}: {off}");
            }
        }
        let found = best.predict(&data)?;
        let right = found.iter().zip(&labels).filter(|(f, t)| **f == own[**t]).count();
        assert!(right > 850, "{right} of 900");
    }
    Ok(())
}

#[test]
fn weights_minibatches_interruptions_and_threads_change_nothing() -> Result<(), Error> {
    let once = few(3, 0.3);
    let n = once.len();
    let weights: Vec<f64> = (0..n).map(|i| [2.0, 1.0, 0.0][i % 3]).collect();
    let mut cells = Vec::new();
    for i in 0..n {
        (0..[2, 1, 0][i % 3]).for_each(|_| cells.extend_from_slice(once.row(i)));
    }
    let twice = Observations::with_missing(cells, 3)?;
    for covariance in Covariance::ALL {
        // from the same belief
        let start = of_kind(once.clone(), 2, covariance, some_prior(3))?.posterior();
        let climb = |data: Observations, q: &MixturePosterior| {
            let model = of_kind(data, 2, covariance, some_prior(3))?;
            let mut q = q.clone();
            (0..4).map(|_| model.natural_step(&mut q, 1.0)).last().expect("four steps")
        };
        let (a, b) =
            (climb(once.clone().weighted(weights.clone())?, &start), climb(twice.clone(), &start));
        assert_close("ELBO", a?, b?, 1e-10);
    }
    let model = BayesianMixture::new(few(3, 0.3), 3)?;
    let whole = cavi(model.clone(), steps(6))?;
    let moves = Minibatch::new(n, NaturalStep::constant(1.0));
    let shuffled = fit(model.clone(), model.posterior(), moves, steps(6))?;
    assert_close("ELBO", last(&shuffled), last(&whole), 1e-11);
    let path = std::env::temp_dir().join(format!("elbo-gappy-vb-{}.json", std::process::id()));
    let start = || {
        let moves = Minibatch::new(10, NaturalStep::decaying(1.0, 0.7));
        Run::new(model.clone(), model.posterior(), moves, steps(20))
    };
    let whole = start()?.finish()?;
    let mut half = start()?;
    for _ in 0..7 {
        half.step()?;
    }
    half.save(&path)?;
    type Moves = Minibatch<NaturalStep>;
    let resumed: Run<BayesianMixture, MixturePosterior, Moves> = Run::resume(&path, model)?;
    std::fs::remove_file(&path).expect("the checkpoint was written");
    assert_eq!(resumed.finish()?.trace, whole.trace);
    let (rows, _) = heaps()?.sample(5000, &mut stream(2, Purpose::Data, 0));
    let model = BayesianMixture::new(with_holes(rows, 4, 0.3, 1), 4)?;
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads").install(|| cavi(model.clone(), steps(5)))
    };
    let one = on(1)?;
    assert_eq!(one.trace, on(2)?.trace);
    assert_eq!(one.trace, on(8)?.trace);
    Ok(())
}

#[test]
fn what_is_known_nowhere_is_named() -> Result<(), Error> {
    let gone = Observations::with_missing(vec![0.1, NAN, 0.4, NAN, 0.9, NAN], 2)?;
    let text = message(BayesianMixture::new(gone, 1));
    assert!(text.starts_with("E01 column 1 is missing in every row that counts"), "{text}");
    let cells = vec![0.1, 1.0, NAN, NAN, 0.9, 0.3];
    let text = message(BayesianMixture::new(Observations::with_gaps(cells, 2)?, 1));
    assert!(text.starts_with("E01 data[1] is missing altogether"), "{text}");
    Ok(())
}
