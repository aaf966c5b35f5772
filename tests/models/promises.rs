//! What holds for every model: the units of the data do not matter, and a run that was interrupted
//! ends like one that was not. Most have these tests among their own; here are the others.

use elbo::data::{OLD_FAITHFUL, Observations};
use elbo::models::hidden_markov::{Prior, Sequences};
use elbo::models::linear_regression::{Ard, BayesianArd, LinearRegression};
use elbo::models::normal::{Normal, NormalGamma};
use elbo::models::{Covariance, GaussianMixture, HiddenMarkov, gaussian_mixture};
use elbo::{
    Ascent, EStep, Error, Family, Fit, FullRankGaussian, Gamma, MStep, MeanFieldGaussian, Model,
    Options, Product, Run, Stop, fit,
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
        let model = chain(scale)?.bayesian()?;
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

/// Stops a run after some steps, writes it, reads it, and goes on.
fn interrupted<M, Q, A>(name: &str, model: M, q: Q, ascent: A) -> Result<(), Error>
where
    M: Model + Clone,
    Q: Family + Clone + Serialize + DeserializeOwned,
    A: Ascent<M, Q> + Clone + Serialize + DeserializeOwned,
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
    assert_eq!(lambda(&resumed.q), lambda(&whole.q), "{name}");
    Ok(())
}

#[test]
fn resumed_runs_end_with_the_same_bits() -> Result<(), Error> {
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
    interrupted("chain-with-prior", model, q, (EStep, MStep))
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
