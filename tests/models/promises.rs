//! What holds for every model: the units of the data do not matter, and a run that was interrupted
//! ends like one that was not. Most have these tests among their own; here are the others.

use elbo::data::{NILE, OLD_FAITHFUL, Observations};
use elbo::models::discrete_mixture::Column;
use elbo::models::hidden_markov::{Prior, Sequences};
use elbo::models::linear_regression::{Ard, BayesianArd, LinearRegression};
use elbo::models::normal::{Normal, NormalGamma};
use elbo::models::state_space::{LocalLevel, LocalTrend};
use elbo::models::{
    BayesianMixture, Covariance, DiscreteMixture, FactorAnalysis, GaussianMixture, HiddenMarkov,
    LogisticRegression, gaussian_mixture,
};
use elbo::restarts::Restarted;
use elbo::{
    Ascent, EStep, Error, Family, Fit, FullRankGaussian, Gamma, MStep, MeanFieldGaussian, Model,
    Options, Product, Run, Squarem, Stop, fit,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::moves::{last, message};
use crate::support::{assert_all_close, assert_close};

const SCALES: [f64; 2] = [1e12, 1e-12];

/// Minutes until the next eruption, by the minutes of the last one and a column that says nothing.
fn regression(x_scale: f64, y_scale: f64) -> Result<LinearRegression, Error> {
    let x: Vec<f64> = OLD_FAITHFUL
        .iter()
        .enumerate()
        .flat_map(|(i, r)| [1.0, r[0], (i * i % 17) as f64].map(|x| x * x_scale))
        .collect();
    LinearRegression::new(&x, 3, &OLD_FAITHFUL.map(|r| y_scale * r[1]))
}

fn finely() -> Options {
    Options { stop: Stop::Exact { gain: 1e-14 }, ..Options::exact() }
}

#[test]
fn relevance_by_em_follows_the_units() -> Result<(), Error> {
    let at = |x: f64, y: f64| {
        let model = Ard::new(regression(x, y)?);
        let q = model.start();
        fit(model, q, (EStep, MStep), finely())
    };
    let plain = at(1.0, 1.0)?;
    let n = OLD_FAITHFUL.len() as f64;
    for scale in SCALES {
        for (x, y) in [(1.0, scale), (scale, 1.0)] {
            let other = at(x, y)?;
            assert_close("evidence", last(&other) + n * y.ln(), last(&plain), 1e-6);
            let back: Vec<f64> = other.q.mean().iter().map(|b| b * x / y).collect();
            assert_all_close("coefficients", &back[..2], &plain.q.mean()[..2], 1e-5);
            assert_close("noise", other.model.noise_sd() / y, plain.model.noise_sd(), 1e-6);
        }
    }
    Ok(())
}

/// The priors follow the units: by themselves, and as a user would write them.
#[test]
fn relevance_by_coordinate_ascent_follows_the_units() -> Result<(), Error> {
    let at = |x: f64, y: f64, own: bool| {
        let square = y * y;
        let mut model = BayesianArd::new(regression(x, y)?);
        if own {
            model = model.with_priors((1.0, square / (x * x)), (1.0, square))?;
        }
        let q = model.start();
        fit(model, q, EStep, finely())
    };
    let n = OLD_FAITHFUL.len() as f64;
    for own in [false, true] {
        let plain = at(1.0, 1.0, own)?;
        for (x, y) in SCALES.iter().flat_map(|s| [(1.0, *s), (*s, 1.0)]) {
            let other = at(x, y, own)?;
            assert_close("bound", last(&other) + n * y.ln(), last(&plain), 1e-6);
            let back: Vec<f64> = other.q.first().mean().iter().map(|b| b * x / y).collect();
            assert_all_close("coefficients", &back, plain.q.first().mean(), 1e-5);
        }
    }
    Ok(())
}

#[test]
fn principal_components_and_trends_follow_the_units() -> Result<(), Error> {
    let rows = many_rows(60)?;
    let factors = |scale: f64| {
        let cells = rows.values().iter().map(|x| scale * x).collect();
        let model = FactorAnalysis::principal(Observations::new(cells, 4)?, 2)?;
        let q = model.start();
        fit(model, q, (EStep, MStep), finely())
    };
    let trend = |scale: f64| {
        let y: Vec<f64> = NILE.iter().map(|y| scale * y).collect();
        let model = LocalTrend::trend(&y)?;
        let q = model.start();
        fit(model, q, Squarem::new((EStep, MStep)), finely())
    };
    let (by_factors, by_trend) = (factors(1.0)?, trend(1.0)?);
    for scale in SCALES {
        let other = factors(scale)?;
        let shift = 240.0 * scale.ln();
        assert_close("log likelihood", last(&other) + shift, last(&by_factors), 1e-6);
        let square = scale * scale;
        let back: Vec<f64> = other.model.covariance().iter().map(|c| c / square).collect();
        assert_all_close("covariance", &back, &by_factors.model.covariance(), 1e-6);
        let other = trend(scale)?;
        let shift = 100.0 * scale.ln();
        assert_close("log likelihood", last(&other) + shift, last(&by_trend), 1e-6);
        let ahead = |fit: &Fit<LocalTrend, _>, scale: f64| -> Vec<f64> {
            fit.model.forecast(5).iter().flat_map(|(m, sd)| [m / scale, sd / scale]).collect()
        };
        assert_all_close("forecast", &ahead(&other, scale), &ahead(&by_trend, 1.0), 1e-6);
    }
    Ok(())
}

/// Two states, normal rows of two columns.
fn chain(scale: f64) -> Result<HiddenMarkov, Error> {
    let cells: Vec<f64> = (0..160)
        .flat_map(|t| {
            let x = (1.7 * f64::from(t)).sin() + if t % 40 >= 25 { 3.0 } else { 0.0 };
            [x, 0.6 * x + (2.9 * f64::from(t)).sin()].map(|x| scale * x)
        })
        .collect();
    HiddenMarkov::gaussian(Sequences::one(Observations::new(cells, 2)?)?, 2)
}

#[test]
fn chains_under_a_prior_follow_the_units() -> Result<(), Error> {
    let em = |scale: f64| {
        let model = chain(scale)?;
        let prior = Prior::weak(&model);
        let model = model.with_prior(prior)?;
        let q = model.states();
        fit(model, q, (EStep, MStep), finely())
    };
    let vb = |scale: f64| {
        let model = chain(scale)?.bayesian();
        let q = model.start(1)?;
        fit(model, q, EStep, finely())
    };
    let (by_em, by_vb) = (em(1.0)?, vb(1.0)?);
    for scale in SCALES {
        let other = em(scale)?;
        let score = |fit: &Fit<HiddenMarkov, _>| fit.model.score(fit.model.sequences());
        let shift = 320.0 * scale.ln();
        assert_close("log likelihood", score(&other)?[0] + shift, score(&by_em)?[0], 1e-6);
        let back: Vec<f64> = other.model.mean(1).iter().map(|m| m / scale).collect();
        assert_all_close("mean", &back, &by_em.model.mean(1), 1e-6);
        let other = vb(scale)?;
        assert_close("bound", last(&other) + shift, last(&by_vb), 1e-6);
        let values =
            |fit: &Fit<_, elbo::models::hidden_markov::HiddenMarkovPosterior>| fit.q.values(0);
        let units = [scale, scale, scale * scale, scale * scale, scale * scale, scale * scale];
        let back: Vec<f64> = values(&other).iter().zip(units).map(|(v, u)| v / u).collect();
        assert_all_close("values", &back, &values(&by_vb), 1e-6);
    }
    Ok(())
}

/// What `f` makes where so many threads may work.
fn on<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.expect("threads").install(f)
}

/// Stops a run after some steps, writes it, reads it, and goes on; and runs it on 1, 2 and 8 threads.
fn interrupted<M, Q, A>(name: &str, model: M, q: Q, ascent: A) -> Result<(), Error>
where
    M: Model + Clone + Send + Sync,
    Q: Family + Clone + Serialize + DeserializeOwned + Send + Sync,
    A: Ascent<M, Q> + Clone + Serialize + DeserializeOwned + Send + Sync,
{
    let options = Options { steps: 12, stop: Stop::Budget, ..Options::exact() };
    let start = || Run::new(model.clone(), q.clone(), ascent.clone(), options.clone());
    let whole = start()?.finish()?;
    let mut half = start()?;
    (0..5).try_for_each(|_| half.step().map(drop))?;
    let file = std::env::temp_dir().join(format!("elbo-{name}-{}.json", std::process::id()));
    half.save(&file)?;
    let resumed: Run<M, Q, A> = Run::resume(&file, model.clone())?;
    let resumed = resumed.finish()?;
    let _ = std::fs::remove_file(&file);
    assert_eq!(resumed.trace, whole.trace, "{name}");
    let lambda = |q: &Q| {
        let mut out = vec![0.0; q.n_params()];
        q.params(&mut out);
        out
    };
    let theta = |model: &M| {
        let mut out = vec![0.0; model.n_theta()];
        model.theta(&mut out);
        out
    };
    let ends = |fit: &Fit<M, Q>| (lambda(&fit.q), theta(&fit.model));
    assert_eq!(ends(&resumed), ends(&whole), "{name}");
    for threads in [1, 2, 8] {
        let again = on(threads, || start().and_then(Run::finish))?;
        assert_eq!(again.trace, whole.trace, "{name}, {threads} threads");
        assert_eq!(ends(&again), ends(&whole), "{name}, {threads} threads");
    }
    Ok(())
}

#[test]
fn neither_an_interruption_nor_threads_change_a_bit() -> Result<(), Error> {
    let ard = Ard::new(regression(1.0, 1.0)?);
    let q: FullRankGaussian = ard.start();
    interrupted("ard", ard, q, (EStep, MStep))?;
    let bayes = BayesianArd::new(regression(1.0, 1.0)?);
    let q: Product<FullRankGaussian, Gamma> = bayes.start();
    interrupted("bayesian-ard", bayes, q, EStep)?;
    let prior = NormalGamma { m: 0.5, kappa: 2.0, a: 1.5, b: 3.0 };
    let normal = Normal::new(&[1.3, -0.4, 2.2, 0.9, 3.1], prior)?;
    let q: Product<MeanFieldGaussian, Gamma> = normal.start();
    interrupted("normal", normal, q, EStep)?;
    let model = chain(1.0)?;
    let prior = Prior::weak(&model);
    let model = model.with_prior(prior)?;
    let q = model.states();
    interrupted("chain-with-prior", model, q, (EStep, MStep))?;

    // more rows than a chunk of a pass holds
    let long = many_rows(2600)?;
    for (name, model) in [
        ("factors", FactorAnalysis::new(long.clone(), 2)?),
        ("principal", FactorAnalysis::principal(long.clone(), 2)?),
    ] {
        let q = model.start();
        interrupted(name, model.clone(), q.clone(), (EStep, MStep))?;
        interrupted(name, model, q, Squarem::new((EStep, MStep)))?;
    }
    let factors = FactorAnalysis::new(long.clone(), 3)?.bayesian();
    let q = factors.start();
    interrupted("bayesian-factors", factors.clone(), q.clone(), EStep)?;
    interrupted("bayesian-factors-squarem", factors, q, Squarem::new(EStep))?;
    let mut flows = NILE.to_vec();
    flows[7] = f64::NAN;
    let (level, trend) = (LocalLevel::level(&flows)?, LocalTrend::trend(&flows)?);
    let (of_level, of_trend) = (level.start(), trend.start());
    interrupted("level", level, of_level, Squarem::new((EStep, MStep)))?;
    interrupted("trend", trend, of_trend, (EStep, MStep))?;
    let columns = [Column::Binary, Column::Count, Column::Levels(3)];
    let classes = DiscreteMixture::new(discrete_rows(2600)?, 3, &columns)?;
    let q = classes.labels();
    interrupted("classes", classes.clone(), q.clone(), (EStep, MStep))?;
    interrupted("classes-squarem", classes.clone(), q, Squarem::new((EStep, MStep)))?;
    let bayesian = classes.bayesian();
    let q = bayesian.start(1);
    interrupted("bayesian-classes", bayesian, q, EStep)?;
    let cells: Vec<f64> = long.rows().flatten().copied().collect();
    let y: Vec<f64> = (0..2600).map(|i| f64::from(u8::from(cells[4 * i] > 0.3))).collect();
    let logistic = LogisticRegression::new(&cells, 4, &y, 2.0)?.with_intercept(5.0)?;
    let q = logistic.start();
    interrupted("logistic", logistic, q, EStep)
}

/// Four columns that two waves explain, each with a noise of its own.
fn many_rows(n: usize) -> Result<Observations, Error> {
    let one = |i: usize| {
        let t = i as f64;
        let (a, b) = ((0.7 * t).sin(), (1.9 * t + 1.0).cos());
        let noise = |j: f64| 0.3 * ((3.1 + 1.7 * j) * t * t * 0.01 + j).sin();
        [a + noise(0.0), a - b + noise(1.0), b + noise(2.0), 0.5 * a + 2.0 * b + noise(3.0)]
    };
    Observations::new((0..n).flat_map(one).collect(), 4)
}

/// A binary column, a count and one of three levels.
fn discrete_rows(n: usize) -> Result<Observations, Error> {
    let one = |i: usize| {
        let group = (i * i + i / 3) % 3;
        let x = (i * 7 + i / 5 + group) % 10;
        let binary = if x < 3 * group + 2 { 1.0 } else { 0.0 };
        [binary, (x % (2 + 3 * group)) as f64, if x < 6 { group as f64 } else { (x % 3) as f64 }]
    };
    Observations::new((0..n).flat_map(one).collect(), 3)
}

/// The starts of a search share threads: which is best, and what became of each, does not.
#[test]
fn searches_end_the_same_on_any_number_of_threads() -> Result<(), Error> {
    fn same<M: Send, Q: Family + Send>(
        name: &str,
        search: impl Fn() -> Result<Restarted<M, Q>, Error> + Sync,
    ) -> Result<(), Error> {
        let ends = |best: &Restarted<M, Q>| {
            let mut lambda = vec![0.0; best.fit.q.n_params()];
            best.fit.q.params(&mut lambda);
            (best.start, best.attempts.clone(), best.fit.trace.clone(), lambda)
        };
        let one = ends(&on(1, &search)?);
        for threads in [2, 8] {
            assert_eq!(ends(&on(threads, &search)?), one, "{name}, {threads} threads");
        }
        Ok(())
    }
    let rows = many_rows(300)?;
    let mixture = GaussianMixture::new(rows.clone(), 2)?;
    same("mixture", || mixture.fit(1))?;
    let bayesian = BayesianMixture::new(rows.clone(), 3)?;
    same("bayesian mixture", || bayesian.fit(1))?;
    let columns = [Column::Binary, Column::Count, Column::Levels(3)];
    let classes = DiscreteMixture::new(discrete_rows(300)?, 3, &columns)?;
    same("classes", || classes.fit(1))?;
    let bayesian = classes.bayesian();
    same("bayesian classes", || bayesian.fit(1))?;
    let chain = chain(1.0)?;
    same("chain", || chain.fit(1))?;
    let factors = FactorAnalysis::new(rows, 3)?.bayesian();
    same("factors", || factors.fit())
}

/// As many components as rows: each collapses onto its own, and is named with it; under a prior they
/// fit.
#[test]
fn one_row_a_component() -> Result<(), Error> {
    let data = Observations::new(vec![0.0, 1.0, 5.0, 4.5, 9.0, -1.0, 2.0, 7.0], 2)?;
    for covariance in [Covariance::Full, Covariance::Diagonal, Covariance::Spherical] {
        let model = GaussianMixture::new(data.clone(), 4)?.with_covariance(covariance)?;
        let text = message(model.fit(1));
        assert!(text.contains("has collapsed") || text.contains("has emptied"), "{text}");
        assert!(
            text.contains("its only row is") && text.contains("Prior::weak(&data, K)"),
            "{text}"
        );
        let prior = gaussian_mixture::Prior::weak(&data, 4);
        let best = model.with_prior(prior)?.fit(1)?;
        assert!(last(&best.fit).is_finite());
    }
    Ok(())
}
