//! Mixtures of normal distributions whose parameters are latent too.

use std::f64::consts::PI;

use elbo::data::{IRIS, OLD_FAITHFUL, Observations};
use elbo::models::bayesian_mixture::{MixturePosterior, Weights};
use elbo::models::gaussian_mixture::{Prior, Start};
use elbo::models::{BayesianMixture, Covariance, GaussianMixture};
use elbo::{
    Conjugate, EStep, Error, Family, Fit, Minibatch, NaturalStep, Options, Purpose, Run, Squarem,
    Stop, fit, stream,
};
use nalgebra::{DMatrix, DVector};
use statrs::function::gamma::ln_gamma;

use crate::moves::{elbo_is_the_mean_of_its_draws, last, message, never_descends};
use crate::support::{assert_all_close, assert_close};

const WEIGHTS: [Weights; 2] = [Weights::Dirichlet, Weights::StickBreaking];

fn faithful() -> Observations {
    let cells = OLD_FAITHFUL.iter().flatten().copied().collect();
    Observations::new(cells, 2).expect("numbers")
}

fn iris() -> Observations {
    Observations::new(IRIS.iter().flatten().copied().collect(), 4).expect("numbers")
}

fn steps(steps: usize) -> Options {
    Options { steps, stop: Stop::Budget, ..Options::default() }
}

fn exactly(gain: f64) -> Options {
    Options { stop: Stop::Exact { gain }, ..Options::exact() }
}

type Vb = Fit<BayesianMixture, MixturePosterior>;

fn cavi(model: BayesianMixture, options: Options) -> Result<Vb, Error> {
    let q = model.posterior();
    fit(model, q, EStep, options)
}

/// A prior that is nothing special.
fn some_prior(d: usize) -> Prior {
    let mut scale = vec![0.0; d * d];
    for i in 0..d {
        for j in 0..d {
            scale[i * d + j] = if i == j { 1.5 + i as f64 } else { 0.3 };
        }
    }
    let mean = (0..d).map(|j| 0.5 * j as f64).collect();
    Prior { concentration: 0.7, mean, shrinkage: 0.6, degrees: d as f64 + 0.9, scale }
}

/// `ln` of the integral over mean and precision of the rows `x`, by the textbook (Murphy 2007).
fn log_evidence(x: &[&[f64]], prior: &Prior, covariance: Covariance) -> f64 {
    let (n, d) = (x.len() as f64, prior.mean.len());
    let m0 = DVector::from_column_slice(&prior.mean);
    let s0 = DMatrix::from_row_slice(d, d, &prior.scale);
    let mut mean = DVector::zeros(d);
    x.iter().for_each(|x| mean += DVector::from_column_slice(x) / n.max(1.0));
    let mut s = s0.clone();
    for x in x {
        let y = DVector::from_column_slice(x) - &mean;
        s += &y * y.transpose();
    }
    let (b0, bn) = (prior.shrinkage, prior.shrinkage + n);
    s += (&mean - &m0) * (&mean - &m0).transpose() * (b0 * n / bn);
    let nu = prior.degrees;
    let means = 0.5 * d as f64 * (b0 / bn).ln() - 0.5 * n * d as f64 * PI.ln();
    let gamma = |nu0: f64, nun: f64, s0: f64, sn: f64| {
        ln_gamma(0.5 * nun) - ln_gamma(0.5 * nu0) + 0.5 * (nu0 * s0.ln() - nun * sn.ln())
    };
    means
        + match covariance {
            Covariance::Full | Covariance::Tied => {
                let gammas = |nu: f64| (0..d).map(|j| ln_gamma(0.5 * (nu - j as f64))).sum::<f64>();
                gammas(nu + n) - gammas(nu) + 0.5 * nu * s0.determinant().ln()
                    - 0.5 * (nu + n) * s.determinant().ln()
            }
            Covariance::Diagonal => {
                (0..d).map(|j| gamma(nu, nu + n, s0[(j, j)], s[(j, j)])).sum::<f64>()
            }
            Covariance::Spherical => {
                // the prior's scale is the mean of its columns, the rows' the sum
                let prior = s0.trace() / d as f64;
                gamma(nu, nu + n * d as f64, prior, prior + (s.trace() - s0.trace()))
            }
        }
}

#[test]
fn one_component_has_no_gap() -> Result<(), Error> {
    let rows: Vec<f64> = IRIS[..20].iter().flatten().copied().collect();
    for d in [1, 4] {
        let cells: Vec<f64> = rows.chunks(4).flat_map(|r| r[..d].to_vec()).collect();
        for covariance in Covariance::ALL {
            for weights in WEIGHTS {
                let data = Observations::new(cells.clone(), d)?;
                let model = BayesianMixture::new(data.clone(), 1)?.with_covariance(covariance)?;
                let model = model.with_prior(some_prior(d))?.with_weights(weights)?;
                let fit = cavi(model, steps(1))?;
                let all: Vec<&[f64]> = data.rows().collect();
                let want = log_evidence(&all, &some_prior(d), covariance);
                assert_close(&format!("{covariance:?}, d = {d}"), last(&fit), want, 1e-12);
            }
        }
    }
    Ok(())
}

#[test]
fn the_evidence_is_the_product_of_predictions() -> Result<(), Error> {
    // ln p(x_1 .. x_n+1) - ln p(x_1 .. x_n) = ln p(x_n+1 | x_1 .. x_n)
    for covariance in Covariance::ALL {
        let on = |n: usize| {
            let data = Observations::new(IRIS[..n].iter().flatten().copied().collect(), 4)?;
            let model = BayesianMixture::new(data, 1)?.with_covariance(covariance)?;
            cavi(model.with_prior(some_prior(4))?, steps(1))
        };
        for n in [8, 30, 80] {
            let (few, more) = (on(n)?, on(n + 1)?);
            let got = few.q.log_density(&IRIS[n]);
            assert_close(&format!("{covariance:?}"), got, last(&more) - last(&few), 1e-10);
        }
    }
    Ok(())
}

/// The exact evidence of a few rows in one dimension, two components, over all their labels.
fn enumerated(x: &[f64], prior: &Prior, weights: Weights, tied: bool) -> f64 {
    let n = x.len();
    let a = prior.concentration;
    let log_beta = |a: f64, b: f64| ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
    let logs = (0..1usize << n).map(|labels| {
        let part = |k: usize| -> Vec<&[f64]> {
            let own = (0..n).filter(|i| labels >> i & 1 == k);
            own.map(|i| std::slice::from_ref(&x[i])).collect()
        };
        let (one, two) = (part(0), part(1));
        let (m, n) = (one.len() as f64, two.len() as f64);
        let labels = match weights {
            Weights::Dirichlet => log_beta(a + m, a + n) - log_beta(a, a),
            Weights::StickBreaking => log_beta(1.0 + m, a + n) - log_beta(1.0, a),
        };
        let rows = match tied {
            false => [&one, &two].map(|x| log_evidence(x, prior, Covariance::Full)).iter().sum(),
            true => {
                let (nu, b0, mut s) = (prior.degrees, prior.shrinkage, prior.scale[0]);
                let mut sum = -0.5 * (m + n) * PI.ln();
                for x in [&one, &two] {
                    let n = x.len() as f64;
                    let mean = x.iter().map(|x| x[0]).sum::<f64>() / n.max(1.0);
                    s += x.iter().map(|x| (x[0] - mean).powi(2)).sum::<f64>();
                    s += b0 * n / (b0 + n) * (mean - prior.mean[0]).powi(2);
                    sum += 0.5 * (b0 / (b0 + n)).ln();
                }
                sum + ln_gamma(0.5 * (nu + m + n)) - ln_gamma(0.5 * nu)
                    + 0.5 * nu * prior.scale[0].ln()
                    - 0.5 * (nu + m + n) * s.ln()
            }
        };
        labels + rows
    });
    let logs: Vec<f64> = logs.collect();
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln()
}

#[test]
fn the_bound_never_exceeds_the_evidence() -> Result<(), Error> {
    let x = [-2.1, -1.7, -1.5, -0.2, 0.1, 1.4, 1.9, 2.2];
    let prior = Prior { mean: vec![0.1], ..some_prior(1) };
    for weights in WEIGHTS {
        for covariance in Covariance::ALL {
            let exact = enumerated(&x, &prior, weights, covariance == Covariance::Tied);
            let model = BayesianMixture::new(Observations::new(x.to_vec(), 1)?, 2)?;
            let model = model.with_covariance(covariance)?.with_prior(prior.clone())?;
            let model = model.with_weights(weights)?;
            let mut best = f64::NEG_INFINITY;
            for seed in 0..20 {
                let fit = cavi(model.clone().started(Start::Labels, seed)?, exactly(1e-12))?;
                for step in &fit.trace {
                    let elbo = step.elbo.expect("known");
                    assert!(elbo < exact, "{weights:?} {covariance:?}: {elbo} above {exact}");
                }
                best = best.max(last(&fit));
            }
            // the gap of a q that factorizes: well under a nat a row
            assert!(exact - best < 4.0, "{weights:?} {covariance:?}: {best} of {exact}");
        }
    }
    Ok(())
}

#[test]
fn the_elbo_is_the_mean_of_its_draws() -> Result<(), Error> {
    let cells: Vec<f64> = IRIS.iter().step_by(5).flat_map(|r| r[..3].to_vec()).collect();
    for covariance in Covariance::ALL {
        for weights in WEIGHTS {
            let model = BayesianMixture::new(Observations::new(cells.clone(), 3)?, 3)?;
            let model = model.with_covariance(covariance)?.with_weights(weights)?;
            let fit = cavi(model.with_prior(some_prior(3))?, steps(2))?;
            elbo_is_the_mean_of_its_draws(&fit.model, &fit.q, last(&fit));
        }
    }
    Ok(())
}

#[test]
fn no_step_descends_sped_up_or_not() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        for weights in WEIGHTS {
            for (data, k) in [(faithful(), 5), (iris(), 4)] {
                let model = BayesianMixture::new(data, k)?.with_covariance(covariance)?;
                let model = model.with_weights(weights)?;
                let q = model.posterior();
                let plain = never_descends(model.clone(), q.clone(), EStep);
                let fast = never_descends(model, q, Squarem::new(EStep));
                assert!(fast.trace.len() * 3 < plain.trace.len());
            }
        }
    }
    Ok(())
}

/// `(worth, worth mean, degrees, scale + worth mean mean')` of a component: what a natural step is
/// linear in.
fn natural(q: &MixturePosterior, k: usize) -> Vec<f64> {
    let (worth, degrees, mean) = (q.shrinkage(k), q.degrees(k), q.mean(k));
    let d = mean.len();
    let mut all = vec![worth, degrees];
    all.extend(mean.iter().map(|m| worth * m));
    let scale = q.covariance(k);
    for i in 0..d {
        for j in 0..d {
            all.push(degrees * scale[i * d + j] + worth * mean[i] * mean[j]);
        }
    }
    all
}

#[test]
fn a_step_moves_the_natural_parameters_the_fraction_of_the_way() -> Result<(), Error> {
    let cells: Vec<f64> = IRIS[..40].iter().flat_map(|r| r[..2].to_vec()).collect();
    let model = BayesianMixture::new(Observations::new(cells, 2)?, 1)?;
    let start = model.clone().with_prior(Prior { shrinkage: 5.0, ..some_prior(2) })?.posterior();
    let at = |rates: &[f64]| -> Result<Vec<f64>, Error> {
        let mut q = start.clone();
        for &rate in rates {
            model.natural_step(&mut q, rate)?;
        }
        Ok(natural(&q, 0))
    };
    let (begin, once) = (natural(&start, 0), at(&[1.0])?);
    assert_all_close("rate 1 twice", &at(&[1.0, 1.0])?, &once, 1e-13);
    let way = |rate: f64| -> Vec<f64> {
        begin.iter().zip(&once).map(|(a, b)| (1.0 - rate) * a + rate * b).collect()
    };
    assert_all_close("rate 0.3", &at(&[0.3])?, &way(0.3), 1e-12);
    assert_all_close("0.3, then 0.4", &at(&[0.3, 0.4])?, &way(1.0 - 0.7 * 0.6), 1e-12);
    Ok(())
}

#[test]
fn a_shorter_natural_step_climbs_too() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let model = BayesianMixture::new(iris(), 4)?.with_covariance(covariance)?;
        let q = model.posterior();
        let fit = fit(model, q, NaturalStep::constant(0.4), steps(60))?;
        let elbos: Vec<f64> = fit.trace.iter().filter_map(|s| s.elbo).collect();
        for pair in elbos.windows(2) {
            assert!(pair[1] >= pair[0] - 1e-10 * pair[0].abs(), "{covariance:?} {pair:?}");
        }
    }
    Ok(())
}

#[test]
fn a_minibatch_of_everything_is_a_step_with_everything() -> Result<(), Error> {
    for weights in WEIGHTS {
        let model = BayesianMixture::new(iris(), 4)?.with_weights(weights)?;
        let whole = cavi(model.clone(), steps(8))?;
        let q = model.posterior();
        let shuffled = fit(model, q, Minibatch::new(150, NaturalStep::constant(1.0)), steps(8))?;
        assert_close("ELBO", last(&shuffled), last(&whole), 1e-12);
        for k in 0..4 {
            assert_all_close("mean", shuffled.q.mean(k), whole.q.mean(k), 1e-12);
            assert_all_close("scale", &natural(&shuffled.q, k), &natural(&whole.q, k), 1e-11);
        }
    }
    Ok(())
}

#[test]
fn stochastic_steps_come_close_to_the_bound_of_all_rows() -> Result<(), Error> {
    let truth = GaussianMixture::new(faithful(), 2)?.fit(1)?.fit.model;
    let (rows, _) = truth.sample(20_000, &mut stream(5, Purpose::Data, 0));
    let model = BayesianMixture::new(Observations::new(rows, 2)?, 2)?;
    let best = cavi(model.clone(), exactly(1e-12))?;
    let q = model.posterior();
    let moves = Minibatch::new(200, NaturalStep::decaying(1.0, 0.6));
    let online = fit(model, q, moves, steps(300))?;
    let mut q = online.q.clone();
    // one exact step says what the parameters are worth
    let reached = online.model.natural_step(&mut q, 1.0)?;
    let lost = (last(&best) - reached) / 20_000.0;
    assert!((0.0..5.5e-3).contains(&lost), "{lost} nats a row below the bound");
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
        let shape = match covariance {
            Covariance::Full => vec![0.5, 0.0, 0.0, 50.0, 0.5, 0.0, 0.0, 50.0],
            Covariance::Tied => vec![0.5, 0.0, 0.0, 50.0],
            Covariance::Diagonal => vec![0.5, 50.0, 0.5, 50.0],
            Covariance::Spherical => vec![20.0, 20.0],
        };
        let climb = |data: Observations| {
            let start = GaussianMixture::new(data, 2)?.with_covariance(covariance)?;
            let start = start.with_parameters(&[0.4, 0.6], &[2.0, 55.0, 4.0, 80.0], &shape)?;
            cavi(BayesianMixture::of(start)?, steps(5))
        };
        let (a, b) = (climb(weighted)?, climb(Observations::new(twice, 2)?)?);
        assert_close("ELBO", last(&a), last(&b), 1e-11);
        for k in 0..2 {
            assert_all_close("component", &natural(&a.q, k), &natural(&b.q, k), 1e-10);
        }
    }
    Ok(())
}

#[test]
fn the_answer_follows_the_units_and_the_origin() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let plain = BayesianMixture::new(faithful(), 4)?.with_covariance(covariance)?.fit(3)?;
        for (scale, shift) in [(1e12, 0.0), (1e-12, 0.0), (1.0, 1e6), (1e-12, 1e-5)] {
            let cells = faithful().values().iter().map(|x| scale * x + shift).collect();
            let model = BayesianMixture::new(Observations::new(cells, 2)?, 4)?;
            let other = model.with_covariance(covariance)?.fit(3)?;
            let elbo = last(&other.fit) + 272.0 * 2.0 * f64::ln(scale);
            assert_close("ELBO", elbo, last(&plain.fit), 1e-7);
            let (a, b) = (&plain.fit.q, &other.fit.q);
            assert_eq!(a.occupied().len(), b.occupied().len());
            for (a_k, b_k) in a.occupied().into_iter().zip(b.occupied()) {
                assert_close("count", b.expected_count(b_k), a.expected_count(a_k), 1e-6);
                for j in 0..2 {
                    let (want, got) = (a.mean(a_k)[j], b.mean(b_k)[j]);
                    assert_close("mean", (got - shift) / scale, want, 1e-6);
                }
                let back: Vec<f64> = b.covariance(b_k).iter().map(|c| c / scale / scale).collect();
                assert_all_close("covariance", &back, &a.covariance(a_k), 1e-6);
            }
        }
    }
    Ok(())
}

#[test]
fn a_run_that_was_interrupted_ends_with_the_same_bits() -> Result<(), Error> {
    let path = std::env::temp_dir().join(format!("elbo-bayes-{}.json", std::process::id()));
    let model = BayesianMixture::new(iris(), 4)?.with_weights(Weights::StickBreaking)?;
    let moves = || Minibatch::new(40, NaturalStep::decaying(2.0, 0.7));
    let start = || Run::new(model.clone(), model.posterior(), moves(), steps(20));
    let whole = start()?.finish()?;
    let mut half = start()?;
    for _ in 0..7 {
        half.step()?;
    }
    half.save(&path)?;
    type Moves = Minibatch<NaturalStep>;
    let resumed: Run<BayesianMixture, MixturePosterior, Moves> = Run::resume(&path, model.clone())?;
    let resumed = resumed.finish()?;
    assert_eq!(resumed.trace, whole.trace);
    for k in 0..4 {
        assert_eq!(natural(&resumed.q, k), natural(&whole.q, k));
    }
    let start = || Run::new(model.clone(), model.posterior(), Squarem::new(EStep), steps(9));
    let whole = start()?.finish()?;
    let mut half = start()?;
    for _ in 0..4 {
        half.step()?;
    }
    half.save(&path)?;
    let resumed: Run<BayesianMixture, MixturePosterior, Squarem<EStep>> =
        Run::resume(&path, model.clone())?;
    std::fs::remove_file(&path).expect("the checkpoint was written");
    assert_eq!(resumed.finish()?.trace, whole.trace);
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> Result<(), Error> {
    let (rows, _) = GaussianMixture::new(iris(), 3)?.sample(5000, &mut stream(2, Purpose::Data, 0));
    let model = BayesianMixture::new(Observations::new(rows, 4)?, 3)?;
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads").install(|| cavi(model.clone(), steps(5)))
    };
    let (one, two, eight) = (on(1)?, on(2)?, on(8)?);
    assert_eq!(one.trace, two.trace);
    assert_eq!(one.trace, eight.trace);
    assert_eq!(natural(&one.q, 1), natural(&eight.q, 1));
    Ok(())
}

#[test]
fn any_parameters_are_valid_and_come_back() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        for weights in WEIGHTS {
            let model = BayesianMixture::new(faithful(), 3)?.with_covariance(covariance)?;
            let mut q = cavi(model.with_weights(weights)?, steps(3))?.q;
            let mut lambda = vec![0.0; q.n_params()];
            q.params(&mut lambda);
            let before: Vec<f64> = (0..3).flat_map(|k| natural(&q, k)).collect();
            q.set_params(&lambda);
            let after: Vec<f64> = (0..3).flat_map(|k| natural(&q, k)).collect();
            assert_all_close("the same", &after, &before, 1e-12);
            elbo::laws::parameters(&q).expect("the law");
        }
    }
    Ok(())
}

#[test]
fn predictions_are_those_of_their_draws() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        let model = BayesianMixture::new(faithful(), 3)?.with_covariance(covariance)?;
        let q = cavi(model, steps(30))?.q;
        // the first column of short eruptions: by density on a grid, and by draws
        let (rows, labels) = q.predictive_sample(20_000, &mut stream(7, Purpose::Data, 0));
        let weights = q.weights();
        let n = labels.len() as f64;
        for k in 0..3 {
            let share = labels.iter().filter(|l| **l == k).count() as f64 / n;
            let se = (weights[k] * (1.0 - weights[k]) / n).sqrt();
            assert!((share - weights[k]).abs() < 4.0 * se + 1e-12, "{share} {}", weights[k]);
        }
        let inside = |x: &[f64]| (1.0..3.0).contains(&x[0]) && (40.0..70.0).contains(&x[1]);
        let share = rows.chunks(2).filter(|x| inside(x)).count() as f64 / n;
        const CELLS: usize = 200;
        let mut mass = 0.0;
        for i in 0..CELLS {
            for j in 0..CELLS {
                let at = |from: f64, to: f64, i: usize| {
                    from + (to - from) * (i as f64 + 0.5) / CELLS as f64
                };
                mass += q.log_density(&[at(1.0, 3.0, i), at(40.0, 70.0, j)]).exp();
            }
        }
        mass *= 2.0 * 30.0 / (CELLS * CELLS) as f64;
        let se = (mass * (1.0 - mass) / n).sqrt();
        assert!((share - mass).abs() < 4.0 * se, "{covariance:?}: {share} ± {se}, density {mass}");
        let all = q.responsibilities(&faithful())?;
        assert!(all.chunks(3).all(|r| (r.iter().sum::<f64>() - 1.0).abs() < 1e-12));
        assert_eq!(q.predict(&faithful())?.len(), 272);
        assert_close("score", q.score(&faithful())?[5], q.log_density(&OLD_FAITHFUL[5]), 1e-13);
    }
    Ok(())
}

#[test]
fn intervals_are_those_of_their_draws() -> Result<(), Error> {
    for weights in WEIGHTS {
        for covariance in Covariance::ALL {
            let model = BayesianMixture::new(faithful(), 2)?.with_covariance(covariance)?;
            let q = cavi(model.with_weights(weights)?, steps(40))?.q;
            let mut rng = stream(3, Purpose::Report, 0);
            let mut z = vec![0.0; q.dim()];
            const DRAWS: usize = 2_000;
            let (weight, mean) = (q.weight_interval(0, 0.8), q.mean_interval(1, 1, 0.8));
            let (mut in_weight, mut in_mean) = (0, 0);
            for _ in 0..DRAWS {
                q.sample(&mut rng, &mut z);
                let point = &z[272..];
                in_weight += usize::from(weight[0] < point[0] && point[0] < weight[1]);
                in_mean += usize::from(mean[0] < point[2 + 3] && point[5] < mean[1]);
            }
            let slack = 4.0 * (0.8f64 * 0.2 / DRAWS as f64).sqrt();
            for inside in [in_weight, in_mean] {
                let share = inside as f64 / DRAWS as f64;
                assert!((share - 0.8).abs() < slack, "{weights:?} {covariance:?} {share}");
            }
        }
    }
    Ok(())
}

/// Three heaps in two dimensions.
fn three() -> Result<Observations, Error> {
    let any = GaussianMixture::new(faithful(), 3)?;
    let means = [0.0, 0.0, 4.0, 1.0, 1.0, 5.0];
    // of every kind of covariance
    let round = [1.0, 0.0, 0.0, 1.0];
    let truth = any.with_parameters(&[0.5, 0.3, 0.2], &means, &round.repeat(3))?;
    Observations::new(truth.sample(600, &mut stream(11, Purpose::Data, 0)).0, 2)
}

#[test]
fn components_that_are_not_needed_empty_themselves() -> Result<(), Error> {
    let em = GaussianMixture::new(three()?, 8)?.fit(1)?.fit;
    assert!((0..8).all(|k| em.q.expected_count(k) > 1.0), "EM keeps all eight");
    for weights in WEIGHTS {
        for covariance in Covariance::ALL {
            for seed in 0..3 {
                let model = BayesianMixture::new(three()?, 8)?.with_covariance(covariance)?;
                let best = model.with_weights(weights)?.fit(seed)?;
                let q = &best.fit.q;
                let counts: Vec<f64> = (0..8).map(|k| q.expected_count(k)).collect();
                assert_eq!(q.occupied().len(), 3, "{weights:?} {covariance:?} {counts:?}");
                let found: Vec<f64> = q.occupied().iter().map(|&k| q.weights()[k]).collect();
                // 600 rows: a standard error of 0.02
                assert_all_close("weights", &found, &[0.5, 0.3, 0.2], 0.06);
            }
        }
    }
    Ok(())
}

/// Ten components where two to four are enough: starts that split the rows in ten do not find back.
/// The search is never a nat below the best of ten of them, and more than a nat above in a third of
/// the cases.
#[test]
fn starts_with_fewer_groups_find_what_those_with_all_do_not() -> Result<(), Error> {
    let mut better = 0;
    for data in [iris(), faithful()] {
        for covariance in Covariance::ALL {
            for weights in WEIGHTS {
                let model = BayesianMixture::new(data.clone(), 10)?.with_covariance(covariance)?;
                let model = model.with_weights(weights)?;
                let best = model.fit(1)?;
                assert_eq!(best.attempts.len(), 16);
                let all_groups = (0..10).map(|seed| {
                    let model = model.clone().started(Start::KMeans, seed)?;
                    let q = model.posterior();
                    fit(model, q, Squarem::new(EStep), exactly(1e-12)).map(|fit| last(&fit))
                });
                let reached: Result<Vec<f64>, Error> = all_groups.collect();
                let most = reached?.into_iter().fold(f64::NEG_INFINITY, f64::max);
                let gained = last(&best.fit) - most;
                assert!(gained > -1.0, "{covariance:?} {weights:?}: {gained}");
                better += usize::from(gained > 1.0);
            }
        }
    }
    assert!(better >= 16 / 3, "{better} of 16");
    Ok(())
}

#[test]
fn data_and_priors_that_cannot_be_are_refused() -> Result<(), Error> {
    let cells =
        |values: &[f64], dim: usize| Observations::new(values.to_vec(), dim).expect("numbers");
    let same = cells(&[1.0, 2.0, 1.0, 2.0, 3.0, 4.0], 2);
    assert_eq!(
        message(BayesianMixture::new(same, 3)),
        "E10 components is 3; the data have only 2 different rows; take at most 2"
    );
    assert!(message(BayesianMixture::new(faithful(), 0)).starts_with("E10 components is 0"));
    let flat = cells(&[1.0, 5.0, 2.0, 5.0, 4.0, 5.0], 2).named(["a", "b"])?;
    let text = message(BayesianMixture::new(flat, 2));
    assert!(text.starts_with("E01 column \"b\" is constant, 5. Drop it"), "{text}");
    let twin = cells(&[1.0, 2.0, 2.0, 4.0, 4.0, 8.0, 5.0, 10.0], 2);
    let text = message(BayesianMixture::new(twin, 2));
    assert!(text.contains("determine column 1") && text.contains("Covariance::Diagonal"), "{text}");
    let model = BayesianMixture::new(faithful(), 2)?;
    assert!(message(model.posterior().score(&iris())).starts_with("E03 a row has 4 values"));
    let with = |change: &dyn Fn(&mut Prior)| {
        let mut prior = Prior::one_row(&faithful(), 2);
        change(&mut prior);
        message(model.clone().with_prior(prior))
    };
    assert_eq!(
        with(&|p| p.degrees = 1.0),
        "E10 degrees is 1; take more than 1: a density needs it"
    );
    assert!(with(&|p| p.concentration = 0.0).starts_with("E10 concentration is 0"));
    assert!(with(&|p| p.shrinkage = -1.0).starts_with("E10 shrinkage is -1"));
    assert!(with(&|p| p.mean = vec![0.0]).starts_with("E03 the mean of the prior has 1 values"));
    assert!(with(&|p| p.mean[1] = f64::NAN).starts_with("E10 mean[1] of the prior is NaN"));
    assert!(with(&|p| p.scale[0] = -1.0).starts_with("E04 the scale of the prior is not"));
    let round = model.clone().with_covariance(Covariance::Diagonal)?;
    let bad = Prior { scale: vec![1.0, 0.0, 0.0, 0.0], ..Prior::one_row(&faithful(), 2) };
    let text = message(round.with_prior(bad));
    assert!(text.starts_with("E10 the scale of the prior in column 1 is 0"), "{text}");
    Ok(())
}

#[test]
fn one_row_a_component_is_no_trouble() -> Result<(), Error> {
    // a prior keeps every covariance regular
    let data = Observations::new(vec![0.0, 1.0, 4.0], 1)?;
    let fit = cavi(BayesianMixture::new(data, 3)?, exactly(1e-9))?;
    assert!(last(&fit).is_finite());
    Ok(())
}
