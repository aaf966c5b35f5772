//! Mixtures of normal distributions by EM where cells are missing: the density of what is there, and
//! what is expected of the rest.

use std::f64::consts::PI;

use elbo::data::{IRIS, Observations};
use elbo::models::gaussian_mixture::{Labels, Prior, Start, select};
use elbo::models::{Covariance, GaussianMixture};
use elbo::{
    EStep, Error, Family, Fit, MStep, Minibatch, Model, NaturalStep, Options, Purpose, Run,
    Squarem, Stop, fit, stream,
};
use nalgebra::{DMatrix, DVector};
use rand::RngExt;

use crate::moves::{elbo_is_the_mean_of_its_draws, last, message, never_descends};
use crate::support::{assert_all_close, assert_close};

const NAN: f64 = f64::NAN;

fn steps(steps: usize) -> Options {
    Options { steps, stop: Stop::Budget, ..Options::default() }
}

fn em(model: GaussianMixture, options: Options) -> Result<Fit<GaussianMixture, Labels>, Error> {
    let q = model.labels();
    fit(model, q, (EStep, MStep), options)
}

/// Takes cells away at random, never all of a row.
pub fn with_holes(mut cells: Vec<f64>, dim: usize, share: f64, seed: u64) -> Observations {
    let mut rng = stream(seed, Purpose::Data, 0);
    for row in cells.chunks_exact_mut(dim) {
        let kept = rng.random_range(0..dim);
        for (j, x) in row.iter_mut().enumerate() {
            if rng.random::<f64>() < share && j != kept {
                *x = NAN;
            }
        }
    }
    Observations::with_missing(cells, dim).expect("numbers")
}

fn iris(columns: usize, share: f64) -> Observations {
    let cells = IRIS.iter().flat_map(|row| row[..columns].to_vec()).collect();
    with_holes(cells, columns, share, 3)
}

/// `ln Normal` of the cells that are there, from the block of the covariance that is theirs.
fn log_marginal(row: &[f64], mean: &[f64], covariance: &[f64]) -> f64 {
    let d = row.len();
    let there: Vec<usize> = (0..d).filter(|&j| !row[j].is_nan()).collect();
    let n = there.len();
    if n == 0 {
        return 0.0;
    }
    let block = DMatrix::from_fn(n, n, |a, b| covariance[d * there[a] + there[b]]);
    let y = DVector::from_fn(n, |a, _| row[there[a]] - mean[there[a]]);
    let square = y.dot(&(block.clone().try_inverse().expect("regular") * &y));
    -0.5 * (n as f64 * (2.0 * PI).ln() + block.determinant().ln() + square)
}

fn log_density(model: &GaussianMixture, row: &[f64]) -> f64 {
    let log =
        |k: usize| model.weights()[k].ln() + log_marginal(row, model.mean(k), &model.covariance(k));
    let logs: Vec<f64> = (0..model.len()).map(log).collect();
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln()
}

fn log_likelihood(model: &GaussianMixture, data: &Observations) -> f64 {
    data.rows().enumerate().map(|(i, x)| data.weight(i) * log_density(model, x)).sum()
}

fn theta(model: &GaussianMixture) -> Vec<f64> {
    let mut theta = vec![0.0; model.n_theta()];
    model.theta(&mut theta);
    theta
}

#[test]
fn a_row_counts_by_the_density_of_the_cells_it_has() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let data = iris(4, 0.3);
        let model = GaussianMixture::of_kind(data.clone(), 3, covariance)?;
        let fit = em(model, steps(3))?;
        let want: Vec<f64> = data.rows().map(|x| log_density(&fit.model, x)).collect();
        assert_all_close("score", &fit.model.score(&data)?, &want, 1e-12);
        let one: Vec<f64> = data.rows().map(|x| fit.model.log_density(x)).collect();
        assert_all_close("log density", &one, &want, 1e-12);
        // the labels by Bayes' rule
        let r = fit.model.responsibilities(&data)?;
        for (i, x) in data.rows().enumerate().take(40) {
            for k in 0..3 {
                let own = log_marginal(x, fit.model.mean(k), &fit.model.covariance(k));
                let share = (fit.model.weights()[k].ln() + own - want[i]).exp();
                assert_close("label", r[3 * i + k], share, 1e-11);
            }
        }
        // nothing is said of a row without a cell
        let none = Observations::with_gaps(vec![NAN; 4], 4)?;
        assert!(fit.model.score(&none)?[0].abs() < 1e-12);
        assert_all_close("labels", &fit.model.responsibilities(&none)?, fit.model.weights(), 1e-12);
    }
    Ok(())
}

#[test]
fn the_bound_touches_after_every_e_step_and_no_half_step_descends() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let weights = (0..150).map(|i| 0.5 + (i % 3) as f64).collect();
        let data = iris(4, 0.25).weighted(weights)?;
        let plain = GaussianMixture::of_kind(data.clone(), 2, covariance)?;
        let prior = Prior::weak(&data, 2);
        for model in [plain.clone(), plain.with_prior(prior)?] {
            let q = model.labels();
            let mut run = Run::new(model, q, (EStep, MStep), steps(25))?;
            let mut before = f64::NEG_INFINITY;
            for _ in 0..25 {
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
    Ok(())
}

#[test]
fn the_maximum_has_no_slope() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let data = iris(3, 0.2);
        let prior = Prior { shrinkage: 2.0, ..Prior::weak(&data, 2) };
        let plain = GaussianMixture::of_kind(data.clone(), 2, covariance)?;
        for model in [plain.clone(), plain.with_prior(prior)?] {
            let q = model.labels();
            let best = never_descends(model, q, Squarem::new((EStep, MStep)));
            let (at, mut moved) = (theta(&best.model), best.model.clone());
            let mut height = |j: usize, step: f64| {
                let mut theta = at.clone();
                theta[j] += step;
                moved.set_theta(&theta);
                log_likelihood(&moved, &data) + moved.log_prior()
            };
            for j in 0..at.len() {
                let (up, here, down) = (height(j, 1e-4), height(j, 0.0), height(j, -1e-4));
                let (slope, bend) = ((up - down) / 2e-4, (up - 2.0 * here + down) / 1e-8);
                // what is left along this coordinate, in nats
                let left = slope * slope / (2.0 * bend.abs().max(1.0));
                assert!(left < 1e-5, "{covariance:?}: slope {slope}, bend {bend} in {j}");
            }
        }
    }
    Ok(())
}

/// One normal in two columns, the second missing in the last rows: the first column's moments are
/// those of all rows, and the second follows by the regression on the first where both are there
/// (Anderson 1957).
#[test]
fn a_single_normal_with_one_gappy_column_is_a_regression() -> Result<(), Error> {
    let x: Vec<f64> = (0..40).map(|i| f64::from(i * i % 23) / 5.0).collect();
    let y: Vec<f64> = (0..40).map(|i| 1.0 + 0.7 * x[i] + (i % 5) as f64 / 3.0).collect();
    let seen = 25;
    let cells = (0..40).flat_map(|i| [x[i], if i < seen { y[i] } else { NAN }]).collect();
    let model = GaussianMixture::new(Observations::with_missing(cells, 2)?, 1)?;
    let found = em(model, Options { stop: Stop::Exact { gain: 1e-15 }, ..Options::exact() })?.model;
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let cross = |a: &[f64], b: &[f64]| {
        let (ma, mb) = (mean(a), mean(b));
        a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum::<f64>() / a.len() as f64
    };
    let (both, own) = (&x[..seen], &y[..seen]);
    let slope = cross(both, own) / cross(both, both);
    let rest = cross(own, own) - slope * cross(both, own);
    let (mx, vx) = (mean(&x), cross(&x, &x));
    assert_all_close("mean", found.mean(0), &[mx, mean(own) + slope * (mx - mean(both))], 1e-6);
    let want = [vx, slope * vx, slope * vx, rest + slope * slope * vx];
    assert_all_close("covariance", &found.covariance(0), &want, 1e-5);
    Ok(())
}

#[test]
fn a_single_normal_of_independent_columns_has_the_moments_of_each() -> Result<(), Error> {
    let data = iris(4, 0.4);
    let tight = Options { stop: Stop::Exact { gain: 1e-15 }, ..Options::exact() };
    let model = GaussianMixture::of_kind(data.clone(), 1, Covariance::Diagonal)?;
    let found = em(model, tight.clone())?.model;
    assert_all_close("mean", found.mean(0), &data.mean(), 1e-6);
    let variances: Vec<f64> = (0..4).map(|j| found.covariance(0)[5 * j]).collect();
    assert_all_close("variance", &variances, &data.variance(), 1e-6);
    // a ball weighs all cells alike
    let model = GaussianMixture::of_kind(data.clone(), 1, Covariance::Spherical)?;
    let found = em(model, tight)?.model;
    let mean = data.mean();
    let squares: Vec<f64> = data
        .rows()
        .flat_map(|x| x.iter().zip(&mean).map(|(x, m)| (x - m) * (x - m)).collect::<Vec<_>>())
        .filter(|s| !s.is_nan())
        .collect();
    let want = squares.iter().sum::<f64>() / squares.len() as f64;
    assert_close("variance", found.covariance(0)[0], want, 1e-6);
    Ok(())
}

#[test]
fn the_order_of_columns_does_not_matter_nor_do_units() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let plain = iris(3, 0.25);
        let order = [2, 0, 1];
        let cells = plain.rows().flat_map(|x| order.map(|j| x[j])).collect();
        let turned = Observations::with_missing(cells, 3)?;
        let climb = |data: &Observations, means: &[f64], sd: f64| {
            let spread = match covariance {
                Covariance::Spherical => vec![sd * sd; 2],
                Covariance::Diagonal => vec![sd * sd; 6],
                _ => {
                    let ball: Vec<f64> =
                        (0..9).map(|at| if at % 4 == 0 { sd * sd } else { 0.0 }).collect();
                    if covariance == Covariance::Tied { ball } else { ball.repeat(2) }
                }
            };
            let model = GaussianMixture::of_kind(data.clone(), 2, covariance)?;
            em(model.with_parameters(&[0.5, 0.5], means, &spread)?, steps(20))
        };
        let means = [5.0, 3.4, 1.5, 6.3, 2.9, 5.0];
        let permuted = [1.5, 5.0, 3.4, 5.0, 6.3, 2.9];
        let (a, b) = (climb(&plain, &means, 0.5)?, climb(&turned, &permuted, 0.5)?);
        assert_close("ELBO", last(&a), last(&b), 1e-10);
        for k in 0..2 {
            let mean = order.map(|j| a.model.mean(k)[j]);
            assert_all_close("mean", b.model.mean(k), &mean, 1e-10);
            let (whole, turned) = (a.model.covariance(k), b.model.covariance(k));
            let want: Vec<f64> =
                (0..9).map(|at| whole[3 * order[at / 3] + order[at % 3]]).collect();
            assert_all_close("covariance", &turned, &want, 1e-9);
        }
        let there = plain.values().iter().filter(|x| !x.is_nan()).count() as f64;
        for scale in [1e12, 1e-12] {
            let cells = plain.values().iter().map(|x| scale * x).collect();
            let data = Observations::with_missing(cells, 3)?;
            let c = climb(&data, &means.map(|m| scale * m), 0.5 * scale)?;
            assert_close("ELBO", last(&c) + there * f64::ln(scale), last(&a), 1e-9);
        }
    }
    Ok(())
}

#[test]
fn a_weight_of_two_is_the_row_twice_and_of_none_is_no_row() -> Result<(), Error> {
    let once = iris(3, 0.3);
    let weights: Vec<f64> = (0..150).map(|i| [2.0, 1.0, 0.0][i % 3]).collect();
    let mut cells = Vec::new();
    for i in 0..150 {
        (0..[2, 1, 0][i % 3]).for_each(|_| cells.extend_from_slice(once.row(i)));
    }
    let twice = Observations::with_missing(cells, 3)?;
    for covariance in Covariance::ALL {
        let climb = |data: Observations| {
            let start = em(GaussianMixture::of_kind(once.clone(), 2, covariance)?, steps(2))?.model;
            let mut model = GaussianMixture::of_kind(data, 2, covariance)?;
            let spread: Vec<f64> = match covariance {
                Covariance::Full => [start.covariance(0), start.covariance(1)].concat(),
                Covariance::Tied => start.covariance(0),
                Covariance::Diagonal => {
                    (0..6).map(|at| start.covariance(at / 3)[4 * (at % 3)]).collect()
                }
                Covariance::Spherical => (0..2).map(|k| start.covariance(k)[0]).collect(),
            };
            let means = [start.mean(0), start.mean(1)].concat();
            model = model.with_parameters(start.weights(), &means, &spread)?;
            em(model, steps(6))
        };
        let (a, b) = (climb(once.clone().weighted(weights.clone())?)?, climb(twice.clone())?);
        assert_close("ELBO", last(&a), last(&b), 1e-10);
        for k in 0..2 {
            assert_all_close("mean", a.model.mean(k), b.model.mean(k), 1e-10);
            assert_all_close("covariance", &a.model.covariance(k), &b.model.covariance(k), 1e-9);
        }
    }
    Ok(())
}

#[test]
fn entropies_are_those_of_the_labels_and_draws_say_the_same() -> Result<(), Error> {
    for covariance in [Covariance::Full, Covariance::Spherical] {
        let data = iris(4, 0.3);
        let model = GaussianMixture::of_kind(data.clone(), 3, covariance)?;
        let mut best = em(model, steps(8))?;
        // an E-step more, after which there is no gap
        let elbo = elbo::Conjugate::natural_step(&best.model, &mut best.q, 1.0)?;
        elbo_is_the_mean_of_its_draws(&best.model, &best.q, elbo);
        let r = best.q.responsibilities();
        let want: f64 = r.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
        assert_close("entropy of q", best.q.entropy().expect("known"), want, 1e-9);
        let criteria = best.model.criteria();
        assert_close("entropy", criteria.entropy, want, 1e-9);
        assert_close("log likelihood", criteria.log_likelihood, elbo, 1e-12);
        assert_close("ICL", criteria.icl, criteria.bic + 2.0 * want, 1e-9);
    }
    Ok(())
}

/// Three heaps in four columns, each with correlations of its own.
pub fn heaps() -> Result<GaussianMixture, Error> {
    let any = GaussianMixture::new(iris(4, 0.0), 3)?;
    let ball =
        |a: f64| -> Vec<f64> { (0..16).map(|at| if at % 5 == 0 { 1.0 } else { a }).collect() };
    let means = [0.0, 0.0, 0.0, 0.0, 5.0, 1.0, -3.0, 2.0, -1.0, 6.0, 4.0, 5.0];
    any.with_parameters(&[0.5, 0.3, 0.2], &means, &[ball(0.6), ball(-0.2), ball(0.0)].concat())
}

#[test]
fn the_truth_is_found_within_its_standard_errors() -> Result<(), Error> {
    let truth = heaps()?;
    let (rows, labels) = truth.sample(3000, &mut stream(4, Purpose::Data, 0));
    let data = with_holes(rows, 4, 0.25, 5);
    let best = GaussianMixture::new(data.clone(), 3)?.fit(1)?.fit;
    let se = best.model.standard_errors()?;
    let order: Vec<usize> = (0..3)
        .map(|t| {
            let off = |k: usize| -> f64 {
                let pairs = best.model.mean(k).iter().zip(truth.mean(t));
                pairs.map(|(a, b)| (a - b) * (a - b)).sum()
            };
            (0..3).min_by(|a, b| off(*a).total_cmp(&off(*b))).unwrap_or(0)
        })
        .collect();
    // 42 numbers at 4.5 standard errors: one in 3 500 such tests is off by chance
    for (t, &k) in order.iter().enumerate() {
        let z = (best.model.weights()[k] - truth.weights()[t]) / se.weights[k];
        assert!(z.abs() < 4.5, "weight {t}: {z}");
        for j in 0..4 {
            let z = (best.model.mean(k)[j] - truth.mean(t)[j]) / se.means[4 * k + j];
            assert!(z.abs() < 4.5, "mean {t} {j}: {z}");
            for i in 0..=j {
                let at = 4 * j + i;
                let off = best.model.covariance(k)[at] - truth.covariance(t)[at];
                let z = off / se.covariances[16 * k + at];
                assert!(z.abs() < 4.5, "covariance {t} {i} {j}: {z}");
            }
        }
    }
    // the heaps lie far apart in most pairs of columns
    let found = best.model.predict(&data)?;
    let right = found.iter().zip(&labels).filter(|(f, t)| **f == order[**t]).count();
    assert!(right > 2880, "{right} of 3000");
    Ok(())
}

/// Standard errors from slopes of single rows' log densities, taken by differences.
#[test]
fn standard_errors_are_those_of_the_slopes_of_rows() -> Result<(), Error> {
    let data = iris(2, 0.3);
    let best = GaussianMixture::new(data.clone(), 2)?.fit(1)?.fit.model;
    let at = |numbers: &[f64]| -> Vec<f64> {
        let (weights, rest) = numbers.split_at(1);
        let (means, c) = rest.split_at(4);
        let spread = [c[0], c[1], c[1], c[2], c[3], c[4], c[4], c[5]];
        let model = best.clone().with_parameters(&[weights[0], 1.0 - weights[0]], means, &spread);
        model.and_then(|m| m.score(&data)).expect("near the best")
    };
    let (a, b) = (best.covariance(0), best.covariance(1));
    let mut here = vec![best.weights()[0]];
    here.extend([best.mean(0), best.mean(1)].concat());
    here.extend([a[0], a[1], a[3], b[0], b[1], b[3]]);
    let slopes: Vec<Vec<f64>> = (0..11)
        .map(|i| {
            let beside = |step: f64| {
                let mut there = here.clone();
                there[i] += step;
                at(&there)
            };
            let (up, down) = (beside(1e-6), beside(-1e-6));
            up.iter().zip(&down).map(|(u, d)| (u - d) / 2e-6).collect()
        })
        .collect();
    let information = DMatrix::from_fn(11, 11, |i, j| {
        slopes[i].iter().zip(&slopes[j]).map(|(a, b)| a * b).sum::<f64>()
    });
    let inverse = information.try_inverse().expect("regular");
    let want: Vec<f64> = (0..11).map(|i| inverse[(i, i)].sqrt()).collect();
    let se = best.standard_errors()?;
    let c = &se.covariances;
    let mut got = vec![se.weights[0]];
    got.extend(&se.means);
    got.extend([c[0], c[1], c[3], c[4], c[5], c[7]]);
    assert_all_close("standard errors", &got, &want, 1e-5);
    Ok(())
}

#[test]
fn minibatches_interruptions_and_threads_change_nothing() -> Result<(), Error> {
    let data = iris(4, 0.2);
    let model = GaussianMixture::new(data, 3)?;
    let whole = em(model.clone(), steps(6))?;
    let moves = Minibatch::new(150, (NaturalStep::constant(1.0), MStep));
    let shuffled = fit(model.clone(), model.labels(), moves, steps(6))?;
    assert_close("ELBO", last(&shuffled), last(&whole), 1e-11);
    // online EM, and a checkpoint in the midst of it
    let path = std::env::temp_dir().join(format!("elbo-gappy-{}.json", std::process::id()));
    let start = || {
        let moves = Minibatch::new(30, (NaturalStep::decaying(1.0, 0.6), MStep));
        Run::new(model.clone(), model.labels(), moves, steps(20))
    };
    let whole = start()?.finish()?;
    let mut half = start()?;
    for _ in 0..7 {
        half.step()?;
    }
    half.save(&path)?;
    type Moves = Minibatch<(NaturalStep, MStep)>;
    let resumed: Run<GaussianMixture, Labels, Moves> = Run::resume(&path, model.clone())?;
    std::fs::remove_file(&path).expect("the checkpoint was written");
    let resumed = resumed.finish()?;
    assert_eq!(resumed.trace, whole.trace);
    assert_eq!(theta(&resumed.model), theta(&whole.model));
    let (rows, _) = heaps()?.sample(5000, &mut stream(2, Purpose::Data, 0));
    for covariance in [Covariance::Full, Covariance::Diagonal] {
        let model = GaussianMixture::of_kind(with_holes(rows.clone(), 4, 0.3, 1), 3, covariance)?;
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("threads").install(|| em(model.clone(), steps(5)))
        };
        let one = on(1)?;
        assert_eq!(one.trace, on(2)?.trace);
        assert_eq!(one.trace, on(8)?.trace);
    }
    Ok(())
}

#[test]
fn all_starts_and_the_choice_of_components_take_gaps() -> Result<(), Error> {
    let (rows, _) = heaps()?.sample(600, &mut stream(7, Purpose::Data, 0));
    let data = with_holes(rows, 4, 0.2, 2);
    let best = GaussianMixture::new(data.clone(), 3)?.fit(1)?;
    for start in [Start::KMeans, Start::Rows, Start::Labels] {
        let model = GaussianMixture::new(data.clone(), 3)?.started(start, 4)?;
        let q = model.labels();
        let reached = last(&never_descends(model, q, Squarem::new((EStep, MStep))));
        assert!(reached < last(&best.fit) + 1e-4, "{start:?}");
        // k-means finds heaps that lie apart at once
        assert!(start != Start::KMeans || reached > last(&best.fit) - 1e-3, "{reached}");
    }
    let all = select(data, 2..=4, &Covariance::ALL, 1)?;
    let chosen = &all.candidates[all.best];
    assert_eq!((chosen.components, chosen.covariance), (3, Covariance::Full));
    Ok(())
}

#[test]
fn what_is_known_nowhere_is_named() -> Result<(), Error> {
    let cells = vec![0.1, NAN, 0.4, NAN, 0.9, NAN, NAN, 2.0];
    let gone = Observations::with_missing(cells, 2)?.named(["a", "b"])?;
    // the only cell of the column is in a row that does not count
    let gone = gone.weighted(vec![1.0, 1.0, 1.0, 0.0])?;
    assert_eq!(
        message(GaussianMixture::new(gone, 1)),
        "E01 column \"b\" is missing in every row that counts. Drop it: it says nothing"
    );
    let cells = vec![0.1, 1.0, NAN, NAN, 0.9, 0.3, 0.4, 2.0];
    let text = message(GaussianMixture::new(Observations::with_gaps(cells, 2)?, 1));
    assert!(text.starts_with("E01 data[1] is missing altogether. Drop row 1"), "{text}");
    let cells = vec![0.1, 1.0, NAN, 1.0, 0.9, NAN, 0.4, 1.0];
    let flat = Observations::with_missing(cells, 2)?;
    let text = message(GaussianMixture::new(flat, 1));
    assert!(text.starts_with("E01 column 1 is constant, 1"), "{text}");
    // a row counts once, whatever is missing in it
    let cells = vec![0.1, NAN, 0.1, NAN, 0.9, 0.3];
    let text = message(GaussianMixture::new(Observations::with_missing(cells, 2)?, 3));
    assert!(text.contains("only 2 different rows"), "{text}");
    let data = iris(2, 0.1);
    let prior = Prior { mean: vec![0.0, NAN], ..Prior::weak(&data, 1) };
    let text = message(GaussianMixture::new(data, 1)?.with_prior(prior));
    assert!(text.starts_with("E10 mean[1] of the prior is NaN"), "{text}");
    Ok(())
}
