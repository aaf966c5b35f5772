//! Fits side by side: the same numbers as the fits themselves, labels matched, other data refused.

use elbo::compare::{Entry, Parameter, Quantity};
use elbo::data::{Fingerprint, IRIS, NILE, OLD_FAITHFUL, Observations};
use elbo::models::bayesian_mixture::Weights;
use elbo::models::linear_regression::{Ard, BayesianArd, LinearRegression};
use elbo::models::normal::{Normal, NormalGamma};
use elbo::models::state_space::LocalLevel;
use elbo::models::{BayesianMixture, Covariance, DiscreteMixture, GaussianMixture};
use elbo::models::{factor_analysis::FactorAnalysis, gaussian_mixture::Start};
use elbo::{
    Compared, Comparison, EStep, Error, FixedDraws, FullRankGaussian, MStep, Model, Options, Real,
    Space, Squarem, compare, density, fit, from_fn,
};

use crate::moves::{last, message};
use crate::support::{assert_all_close, assert_close};

const PRIOR: NormalGamma = NormalGamma { m: 0.5, kappa: 2.0, a: 1.5, b: 3.0 };
const Y: [f64; 7] = [1.3, -0.4, 2.2, 0.9, 3.1, -1.7, 0.6];

fn faithful() -> Observations {
    let cells = OLD_FAITHFUL.iter().flatten().copied().collect();
    Observations::with_names(cells, ["eruption", "waiting"]).expect("numbers")
}

fn normal(y: &[f64]) -> Normal {
    Normal::new(y, PRIOR).expect("fine")
}

/// The exact answer and coordinate ascent on one sample, and a black-box fit of the same model.
fn three() -> Result<Comparison, Error> {
    let model = normal(&Y);
    let q = model.start();
    let cavi = fit(model.clone(), q, EStep, Options::exact())?;
    let mut space = Space::new();
    let (mu, tau) = (space.real("mu"), space.positive("tau"));
    let black_box = from_fn(space, move |z| {
        let mut lp = density::gamma(z[tau], PRIOR.a, PRIOR.b);
        lp += density::normal(z[mu], PRIOR.m, (z[tau] * PRIOR.kappa).sqrt().recip());
        Y.iter().for_each(|y| lp += density::normal(z[mu] * -1.0 + *y, 0.0, z[tau].sqrt().recip()));
        lp
    })
    .unconstrained();
    let full =
        fit(black_box, FullRankGaussian::standard(2), FixedDraws::new(64), Options::default())?;
    let full = full.posterior()?.entry("full rank")?.of(Fingerprint::of(&[Y]))?;
    compare([model.entry("exact")?, cavi.entry("CAVI")?, full])
}

#[test]
fn what_is_compared_is_what_the_fits_say() -> Result<(), Error> {
    let all = three()?;
    let (exact, model) = (all.entry("exact")?, normal(&Y));
    assert_eq!(all.parameters(), ["mu", "tau"]);
    assert_eq!(exact.objective.map(|o| o.quantity), Some(Quantity::LogEvidence));
    let evidence = exact.objective.map_or(f64::NAN, |o| o.reached.value);
    assert_close("evidence", evidence, model.log_evidence(), 1e-14);
    let mu = all.find("exact", "mu")?;
    let (low, high) = model.posterior().mean_interval(0.9);
    assert_all_close("interval", &[mu.q05.unwrap(), mu.q95.unwrap()], &[low, high], 1e-9);
    for entry in &all.entries[1..] {
        let bound = entry.objective.expect("it has one").reached;
        assert!(bound.value < evidence + 4.0 * bound.mcse, "{}: {bound}", entry.method);
        assert!(entry.steps.is_some_and(|n| n > 0) && entry.seconds.is_some());
    }
    // mean field knows the mean, and not what mu and tau share
    let (truth, found) = (all.find("exact", "mu")?, all.find("CAVI", "mu")?);
    assert_close("mean", found.estimate, truth.estimate, 1e-8);
    assert!(found.sd < truth.sd);
    // of a Gamma of shape a the sd is the mean by the root of a
    let tau = all.find("exact", "tau")?;
    assert_close("sd", tau.sd.unwrap(), tau.estimate / model.posterior().a.sqrt(), 1e-12);
    Ok(())
}

/// Every density integrates to what lies between its ends, and its mean is the estimate.
#[test]
fn densities_are_densities() -> Result<(), Error> {
    let all = three()?;
    let mut seen = 0;
    for p in all.entries.iter().flat_map(|e| &e.parameters) {
        let pairs = || p.x.windows(2).zip(p.density.windows(2));
        let mass: f64 = pairs().map(|(x, d)| 0.5 * (x[1] - x[0]) * (d[0] + d[1])).sum();
        let mean: f64 =
            pairs().map(|(x, d)| 0.5 * (x[1] - x[0]) * (x[0] * d[0] + x[1] * d[1])).sum::<f64>();
        // cut off at 1 in 1000 on either side, and smoothed by a tenth of an sd
        assert!((mass - 1.0).abs() < 0.01, "{}: mass {mass}", p.name);
        assert!((mean - p.estimate).abs() < 0.03 * p.sd.unwrap(), "{}: {mean}", p.name);
        seen += 1;
    }
    assert_eq!(seen, 6);
    Ok(())
}

#[test]
fn components_are_matched_and_not_only_numbered() -> Result<(), Error> {
    let mut entries = Vec::new();
    // the same answer under other numbers: EM from starts that number the components differently
    let best = GaussianMixture::new(faithful(), 2)?.fit(1)?.fit.model;
    let (w, m): (Vec<f64>, Vec<f64>) =
        (best.weights().to_vec(), (0..2).flat_map(|k| best.mean(k).to_vec()).collect());
    let c: Vec<f64> = (0..2).flat_map(|k| best.covariance(k)).collect();
    let turned = |x: &[f64]| {
        let (a, b) = x.split_at(x.len() / 2);
        [b, a].concat()
    };
    for (name, (w, m, c)) in
        [("one", (w.clone(), m.clone(), c.clone())), ("two", (turned(&w), turned(&m), turned(&c)))]
    {
        let model = GaussianMixture::new(faithful(), 2)?.with_parameters(&w, &m, &c)?;
        let q = model.labels();
        entries.push(fit(model, q, (EStep, MStep), Options::exact())?.entry(name)?);
    }
    assert!((entries[0].parameters[0].estimate - entries[1].parameters[0].estimate).abs() > 0.1);
    let vb = BayesianMixture::new(faithful(), 6)?;
    let q = vb.posterior();
    let vb = fit(vb, q, EStep, Options::exact())?;
    entries.push(vb.entry("VB")?);
    let all = compare(entries)?;
    for name in ["weight[0]", "mean[1, waiting]", "covariance[0, eruption, waiting]"] {
        let (a, b) = (all.find("one", name)?, all.find("two", name)?);
        assert_close(name, a.estimate, b.estimate, 1e-6);
        assert_close(name, a.sd.unwrap(), b.sd.unwrap(), 1e-5);
    }
    for k in 0..2 {
        let name = format!("mean[{k}, eruption]");
        let (em, vb) = (all.find("one", &name)?, all.find("VB", &name)?);
        assert!((em.estimate - vb.estimate).abs() < 0.1, "{all}");
        assert!(!vb.x.is_empty() && em.x.is_empty());
    }
    Ok(())
}

#[test]
fn components_left_over_come_last() -> Result<(), Error> {
    let data = Fingerprint::of(&[[1.0]]);
    let entry = |name: &str, means: &[f64]| {
        let mean = |(k, m): (usize, &f64)| Parameter::point("mean", *m, None).of_component(k);
        Entry::new(name).with(means.iter().enumerate().map(mean)).of(data)
    };
    let all = compare([entry("two", &[5.0, 1.0])?, entry("four", &[9.0, 1.1, 3.0, 5.1])?])?;
    let of = |k: usize| all.find("four", &format!("mean[{k}]")).map(|p| p.estimate);
    assert_eq!([of(0)?, of(1)?, of(2)?, of(3)?], [5.1, 1.1, 9.0, 3.0]);
    let all = compare([entry("four", &[9.0, 1.1, 3.0, 5.1])?, entry("two", &[5.0, 1.0])?])?;
    assert_eq!(all.find("two", "mean[3]")?.estimate, 5.0);
    assert_eq!(all.find("two", "mean[1]")?.estimate, 1.0);
    // blocks of a model of one's own
    let named = |i: usize, x: f64| Parameter::point(&format!("mu[{i}]"), x, None);
    let own = Entry::new("own").with([named(0, 1.0), named(1, 2.0), named(2, 8.0), named(3, 9.0)]);
    let own = own.with_components(["mu"], 2)?;
    assert_eq!(own.parameter("mu[1, 0]")?.estimate, 8.0);
    assert!(own.without_components().parameters.is_empty());
    let odd = Entry::new("odd").with([named(0, 1.0)]).with_components(["mu"], 2);
    assert_eq!(message(odd), "E10 components is 2; `mu` has 1 numbers, which is no multiple of it");
    Ok(())
}

#[test]
fn fits_of_other_data_are_refused() -> Result<(), Error> {
    let (one, two) = (normal(&Y).entry("one")?, normal(&Y[..6]).entry("two")?);
    let text = message(compare([one.clone(), two]));
    assert!(
        text.starts_with("E17 `one` and `two` do not compare: they are fits of different data")
    );
    assert!(text.ends_with("fit both to the same rows"), "{text}");
    let text = message(compare([one.clone(), Entry::new("blind")]));
    let want = "E10 the data of `blind` is unknown; say which, as in `.of(data.fingerprint())`";
    assert_eq!(text, want);
    let text = message(compare([one.clone(), one.clone()]));
    assert_eq!(text, "E10 the name of a second fit is `one`; give each its own");
    assert!(message(compare([])).starts_with("E10 the number of fits is 0"));
    let other = Fingerprint::of(&[[1.0]]);
    assert!(message(one.clone().of(other)).starts_with("E17 `one` and `the data given`"));
    let all = compare([one])?;
    assert!(
        message(all.find("none", "mu")).starts_with("E10 method is `none`; the methods are one")
    );
    assert!(message(all.find("one", "nu")).contains("the parameters of `one` begin with mu, tau"));
    // the weights are part of the data
    let data = faithful();
    let twice = data.clone().weighted(vec![2.0; 272])?;
    assert_ne!(data.fingerprint(), twice.fingerprint());
    let (x, y) = ([1.0, 2.0, 3.0], [2.0, 4.1, 5.9]);
    let plain = LinearRegression::new(&x, 1, &y)?;
    assert_eq!(plain.fingerprint(), Fingerprint::of(&[x, y]));
    let weighted = LinearRegression::weighted(&x, 1, &y, &[1.0, 2.0, 1.0])?;
    assert_ne!(plain.fingerprint(), weighted.fingerprint());
    Ok(())
}

#[test]
fn every_model_says_what_it_found() -> Result<(), Error> {
    // a regression: exact, by EM and by coordinate ascent
    let x: Vec<f64> = (0..40).flat_map(|i| [1.0, f64::from(i) / 20.0]).collect();
    let y: Vec<f64> = (0..40).map(|i| 1.0 + f64::from(i) / 10.0 + 0.3 * f64::from(i % 3)).collect();
    let line = LinearRegression::new(&x, 2, &y)?;
    let exact = line.unknown_noise(10.0, 1.0, 1.0)?;
    let known = line.known_noise(exact_noise(&exact), 10.0)?;
    let ard = Ard::new(line.clone());
    let q = ard.start();
    let em = fit(ard, q, (EStep, MStep), Options::exact())?;
    let bayes = BayesianArd::new(line.clone());
    let q = bayes.start();
    let cavi = fit(bayes, q, EStep, Options::exact())?;
    let all = compare([
        exact.entry("exact")?.of(line.fingerprint())?,
        known.entry("known noise")?.of(line.fingerprint())?,
        em.entry("EM")?,
        cavi.entry("CAVI")?,
    ])?;
    for method in ["known noise", "EM", "CAVI"] {
        for name in ["beta[1]", "beta[2]"] {
            let (truth, found) = (all.find("exact", name)?, all.find(method, name)?);
            assert!((truth.estimate - found.estimate).abs() < 0.1 * truth.sd.unwrap(), "{all}");
            assert_close(name, found.sd.unwrap(), truth.sd.unwrap(), 0.1);
        }
    }
    assert!(all.find("EM", "noise_sd")?.sd.is_none());
    let noise = all.find("exact", "noise_sd")?;
    // E[s2] = b / (a - 1)
    let second = noise.estimate.powi(2) + noise.sd.unwrap().powi(2);
    assert_close("noise", second, exact.b / (exact.a - 1.0), 1e-10);

    let model = LocalLevel::level(&NILE)?;
    let q = model.start();
    let nile = fit(model, q, Squarem::new((EStep, MStep)), Options::exact())?.entry("EM")?;
    assert_close("noise", nile.parameter("variance[noise]")?.estimate, 15_098.0, 0.02);

    let data = Observations::new(IRIS.iter().flatten().copied().collect(), 4)?;
    let model = FactorAnalysis::principal(data, 2)?;
    let q = model.start();
    let factors = fit(model, q, (EStep, MStep), Options::exact())?.entry("EM")?;
    let explained = factors.parameter("communality[2]")?.estimate;
    assert!((0.9..1.0).contains(&explained), "{explained}");

    for covariance in Covariance::ALL {
        let model = GaussianMixture::new(faithful(), 2)?.with_covariance(covariance)?;
        let q = model.labels();
        let climbed = fit(model, q, (EStep, MStep), Options::exact())?;
        let entry = climbed.entry("EM")?;
        assert_eq!(entry.parameters.len(), climbed.model.n_parameters() + 1, "{covariance:?}");
        let reached = entry.objective.map_or(f64::NAN, |o| o.reached.value);
        assert_close("log likelihood", reached, last(&climbed), 1e-7);
        for weights in [Weights::Dirichlet, Weights::StickBreaking] {
            let model = BayesianMixture::new(faithful(), 3)?;
            let model = model.with_covariance(covariance)?.with_weights(weights)?;
            let model = model.started(Start::KMeans, 1)?;
            let q = model.posterior();
            let entry = fit(model, q, EStep, Options::exact())?.entry("VB")?;
            let weights: f64 = (0..entry.components())
                .map(|k| entry.parameter(&format!("weight[{k}]")).map_or(0.0, |p| p.estimate))
                .sum();
            assert!((0.95..1.0 + 1e-12).contains(&weights), "{covariance:?}: {weights}");
        }
    }
    let cells: Vec<f64> = (0..60).map(|i| f64::from(i / 30 * 9 + i % 4)).collect();
    let model = DiscreteMixture::poisson(Observations::new(cells, 1)?, 2)?;
    let em = model.fit(1)?.fit.entry("EM")?;
    let vb = model.bayesian().fit(1)?.fit.entry("VB")?;
    let all = compare([em, vb])?;
    for k in 0..2 {
        let name = format!("value[{k}, 0]");
        let (em, vb) = (all.find("EM", &name)?, all.find("VB", &name)?);
        assert!((em.estimate - vb.estimate).abs() < vb.sd.unwrap(), "{all}");
    }
    Ok(())
}

fn exact_noise(exact: &elbo::models::linear_regression::UnknownNoise) -> f64 {
    (exact.b / (exact.a - 1.0)).sqrt()
}

#[test]
fn a_comparison_is_written_and_read() -> Result<(), Error> {
    let all = three()?;
    let back = Comparison::from_json(&all.to_json()?)?;
    assert_eq!(back, all);
    assert!(
        message(Comparison::from_json("{")).starts_with("E11 the text: not a saved comparison")
    );
    let mut bytes = Vec::new();
    all.write_csv(&mut bytes)?;
    let text = String::from_utf8(bytes).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1 + 2 * 3);
    assert!(lines[0].starts_with("parameter,method,estimate,sd,q05,q95,quantity,reached,mcse"));
    assert!(lines[1].starts_with("mu,exact,"), "{}", lines[1]);
    assert!(lines[1].ends_with(&format!(
        ",log evidence,{},0,,,,{}",
        normal(&Y).log_evidence(),
        all.data
    )));
    let shown = all.to_string();
    for part in ["method", "nats", "log evidence", "CAVI", "full rank", "tau", "95%"] {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }
    let points = compare([
        Entry::new("EM").of(all.data)?.reached(Quantity::LogLikelihood, -1.0),
        Entry::new("VB").of(all.data)?.reached(Quantity::Elbo, -2.0),
    ])?;
    assert!(
        points.to_string().ends_with("nats at a point do not compare with a bound or an evidence")
    );
    Ok(())
}

#[cfg(feature = "plot")]
#[test]
fn a_figure_has_a_panel_a_parameter() -> Result<(), Error> {
    let all = three()?;
    let em = Entry::new("EM").of(all.data)?.with([Parameter::point("mu", 0.9, Some(0.5))]);
    let mut entries = all.entries;
    entries.push(em);
    let all = compare(entries)?;
    let svg = all.to_svg(&[])?;
    // two panels with three densities each, and EM's point with its interval across one of them
    assert_eq!(svg.matches("stroke-width=\"12\"").count(), 4 + 2 * 3 + 1, "{svg}");
    // its interval, and the mark of a point in the legend
    assert_eq!(svg.matches("stroke-width=\"20\"").count(), 2);
    for part in ["<svg", ">\nmu\n", ">\ntau\n", ">\nexact\n", ">\nEM\n", "</svg>"] {
        assert!(svg.contains(part), "no {part:?} in the figure");
    }
    let one = all.to_svg(&["tau"])?;
    assert!(!one.contains(">\nmu\n"));
    assert!(
        message(all.to_svg(&["sigma"]))
            .starts_with("E10 parameter is `sigma`; the parameters begin with mu, tau")
    );
    // nothing known, and what is not finite, is drawn without complaint
    let empty = compare([Entry::new("none").of(all.data)?])?;
    assert!(empty.to_svg(&[])?.contains("none"));
    let broken =
        [Parameter::point("a", f64::NAN, None), Parameter::normal("b", 1.0, f64::INFINITY)];
    let broken = compare([Entry::new("broken").of(all.data)?.with(broken)])?;
    assert!(broken.to_svg(&[])?.contains("</svg>"));
    Ok(())
}
