//! What each model says in a comparison: its own numbers, under names that others share.

use elbo::compare::Quantity;
use elbo::data::{Fingerprint, OLD_FAITHFUL, Observations, postcards};
use elbo::models::bayesian_mixture::BayesianMixture;
use elbo::models::gaussian_mixture::Prior;
use elbo::models::hidden_markov::Sequences;
use elbo::models::linear_regression::LinearRegression;
use elbo::models::{FactorAnalysis, GaussianMixture, HiddenMarkov, LogisticRegression, Topics};
use elbo::noise::fill_normal;
use elbo::{
    Compared, EStep, Entry, Error, Family, FixedDraws, FixedNoise, FullRankGaussian, MStep,
    MeanFieldGaussian, Model, Options, Purpose, Real, Space, Squarem, Support, TwiceDifferentiable,
    compare, density, fit, from_fn, stream,
};

use crate::moves::{last, message};
use crate::support::{assert_all_close, assert_close};

/// What an entry reached, and of what.
fn reached(entry: &Entry) -> (Quantity, f64) {
    entry.objective.map(|o| (o.quantity, o.reached.value)).expect("it says what it reached")
}

#[test]
fn factors_by_em_and_by_coordinate_ascent() -> Result<(), Error> {
    // one factor in four columns, of which none is explained wholly
    let mut noise = vec![0.0; 5 * 150];
    fill_normal(&mut stream(4, Purpose::Data, 0), &mut noise);
    let row = |e: &[f64]| [1.0, 2.0, -1.0, 0.5].map(|w| w * e[4]).into_iter().zip(e.to_vec());
    let row = |e: &[f64]| row(e).map(|(through, e)| through + e).collect::<Vec<f64>>();
    let data = Observations::new(noise.chunks_exact(5).flat_map(row).collect(), 4)?;
    for shared in [true, false] {
        let point = match shared {
            true => FactorAnalysis::principal(data.clone(), 1)?,
            false => FactorAnalysis::new(data.clone(), 1)?,
        };
        let q = point.start();
        let em = fit(point.clone(), q, Squarem::new((EStep, MStep)), Options::exact())?;
        let model = point.bayesian();
        let q = model.start();
        let vb = fit(model, q, Squarem::new(EStep), Options::exact())?;
        let all = compare([em.entry("EM")?, vb.entry("VB")?])?;
        assert_eq!(all.parameters().len(), 8);
        let (quantity, bound) = reached(all.entry("VB")?);
        assert_eq!(quantity, Quantity::Elbo);
        assert_close("bound", bound, last(&vb), 1e-12);
        let own = vb.model.uniquenesses(&vb.q);
        for (j, own) in own.iter().enumerate() {
            let name = format!("uniqueness[{j}]");
            let (em, vb) = (all.find("EM", &name)?, all.find("VB", &name)?);
            // the mean of the inverse of a Gamma of shape a is 1 + 1 / (a - 1) times the inverse mean
            let shape = 0.5 * if shared { 600.0 } else { 150.0 };
            assert_close(&name, vb.estimate, own * shape / (shape - 1.0), 1e-4);
            assert_close(&name, vb.sd.unwrap(), vb.estimate / (shape - 2.0).sqrt(), 1e-4);
            assert!(vb.q05.unwrap() < em.estimate && em.estimate < vb.q95.unwrap(), "{all}");
            let name = format!("communality[{j}]");
            let (em, vb) = (all.find("EM", &name)?, all.find("VB", &name)?);
            assert!((em.estimate - vb.estimate).abs() < 3.0 * vb.sd.unwrap(), "{all}");
        }
    }
    Ok(())
}

/// Two states, of which the second is left twice as often, and a second sequence.
fn chain(rows: &dyn Fn(bool, usize) -> f64) -> Result<Sequences, Error> {
    let second = |t: usize| t % 30 >= 20;
    let cells = (0..240).map(|t| rows(second(t), t)).collect();
    Sequences::new(Observations::with_names(cells, ["seen"])?, &[150, 90])
}

#[test]
fn chains_by_em_and_by_variational_bayes() -> Result<(), Error> {
    // no order within a state, which a state more would find
    let share = |t: usize| (43758.5453 * (12.9898 * t as f64).sin()).rem_euclid(1.0);
    let few = |t: usize| [1.0, 0.0, 2.0][(3.0 * share(t)) as usize];
    let counts = chain(&|second, t| few(t) + if second { 7.0 } else { 0.0 })?;
    let odd = |t: usize| share(t) < 0.15;
    let levels = chain(&|second, t| f64::from(odd(t) != second))?;
    let normal = chain(&|second, t| (t as f64 * 1.7).sin() + if second { 6.0 } else { 0.0 })?;
    let models = [
        (HiddenMarkov::poisson(counts.clone(), 2)?, 4, "value[0, seen]"),
        (HiddenMarkov::categorical(levels, 2, &[2])?, 2, "value[0, seen, 1]"),
        (HiddenMarkov::gaussian(normal, 2)?, 2, "mean[0, seen]"),
    ];
    for (model, room, shown) in models {
        let best = model.fit(1)?;
        let em = &best.fit.model;
        // the same answer under other numbers
        let turned: Vec<usize> = vec![1, 0];
        let initial: Vec<f64> = turned.iter().map(|&i| em.initial()[i]).collect();
        let steps: Vec<f64> =
            turned.iter().flat_map(|&i| [em.transition(i)[1], em.transition(i)[0]]).collect();
        let values: Vec<f64> = turned
            .iter()
            .flat_map(|&i| match em.covariance(i) {
                Some(c) => [em.mean(i), c].concat(),
                None => em.values(i, 0),
            })
            .collect();
        let other = model.clone().with_parameters(&initial, &steps, &values)?;
        let q = other.states();
        let other = fit(other, q, (EStep, MStep), Options::exact())?;
        let room = HiddenMarkov::new(model.sequences().clone(), room, model.emission().clone())?;
        let vb = room.bayesian().fit(1)?;
        let all = compare([best.entry("EM")?, other.entry("turned")?, vb.entry("VB")?])?;
        let (quantity, likelihood) = reached(all.entry("EM")?);
        assert_eq!(quantity, Quantity::LogLikelihood);
        assert_close("log likelihood", likelihood, em.criteria()?.log_likelihood, 1e-12);
        assert_close("bound", reached(all.entry("VB")?).1, last(&vb.fit), 1e-12);
        for i in 0..2 {
            for j in 0..2 {
                let name = format!("transition[{i}, {j}]");
                let said = |method: &str| all.find(method, &name).cloned();
                assert_eq!(said("EM")?.estimate, em.transition(i)[j]);
                assert_close(&name, said("turned")?.estimate, em.transition(i)[j], 1e-5);
                // EM's point and the posterior agree to its width, and the posterior knows its width
                let (em, vb) = (said("EM")?, said("VB")?);
                assert!((em.estimate - vb.estimate).abs() < vb.sd.unwrap(), "{all}");
                assert!(em.sd.is_none() && !vb.x.is_empty());
            }
        }
        let (point, sure) = (all.find("EM", shown)?, all.find("VB", shown)?);
        assert!((point.estimate - sure.estimate).abs() < sure.sd.unwrap(), "{all}");
        assert_eq!(all.entry("VB")?.components(), vb.fit.q.occupied().len());
    }
    // one of two sequences is other data than one of all rows, which is that of its rows
    let (two, one) = (counts.fingerprint(), Sequences::one(counts.rows().clone())?.fingerprint());
    assert_ne!(two, one);
    assert_eq!(one, counts.rows().fingerprint());
    Ok(())
}

/// The moments of a normal state, against draws of the belief itself.
#[test]
fn what_is_said_of_a_state_is_what_is_believed() -> Result<(), Error> {
    let cells: Vec<f64> = (0..80)
        .flat_map(|t| {
            let x = (t as f64 * 1.7).sin() + if t % 20 >= 10 { 4.0 } else { 0.0 };
            [x, 0.5 * x + (t as f64 * 2.3).cos()]
        })
        .collect();
    for diagonal in [false, true] {
        let rows = Sequences::one(Observations::new(cells.clone(), 2)?)?;
        let model = match diagonal {
            true => HiddenMarkov::diagonal(rows, 2)?,
            false => HiddenMarkov::gaussian(rows, 2)?,
        };
        let fit = model.bayesian().fit(1)?.fit;
        let entry = fit.entry("VB")?;
        // draws: rows, then 2 + 4 probabilities, then means and factors of one state after another
        let (q, each) = (&fit.q, if diagonal { 4 } else { 5 });
        let mut rng = stream(5, Purpose::Report, 0);
        let mut z = vec![0.0; q.dim()];
        const DRAWS: usize = 4_000;
        let mut drawn = vec![[0.0; 4]; DRAWS];
        let first = q.occupied()[0];
        for out in &mut drawn {
            q.sample(&mut rng, &mut z);
            let own = &z[80 + 6 + first * each..][..each];
            let variance = |j: usize| match (diagonal, j) {
                (true, j) => own[2 + j].powi(2),
                (false, 0) => own[2].powi(2),
                (false, _) => own[3].powi(2) + own[4].powi(2),
            };
            *out = [own[0], own[1], variance(0), variance(1)];
        }
        let names = ["mean[0, 0]", "mean[0, 1]", "covariance[0, 0, 0]", "covariance[0, 1, 1]"];
        for (at, name) in names.iter().enumerate() {
            let p = entry.parameter(name)?;
            let mean = drawn.iter().map(|d| d[at]).sum::<f64>() / DRAWS as f64;
            let square = drawn.iter().map(|d| (d[at] - mean).powi(2)).sum::<f64>();
            let sd = (square / DRAWS as f64).sqrt();
            let se = sd / (DRAWS as f64).sqrt();
            assert!((p.estimate - mean).abs() < 4.0 * se, "{name}: {} {mean}", p.estimate);
            // the sd of an sd is its share 1 / sqrt(2 n) for a normal, and some more with longer tails
            assert!((p.sd.unwrap() / sd - 1.0).abs() < 0.08, "{name}: {:?} {sd}", p.sd);
            let below = drawn.iter().filter(|d| d[at] < p.q05.unwrap()).count() as f64;
            let se = (0.05f64 * 0.95 * DRAWS as f64).sqrt();
            assert!((below - 0.05 * DRAWS as f64).abs() < 4.0 * se, "{name}: {below}");
        }
    }
    Ok(())
}

/// The same of a mixture: `z` are labels, weights, means and factors.
#[test]
fn variances_of_a_mixture_are_those_of_its_draws() -> Result<(), Error> {
    let model = BayesianMixture::new(eruptions()?, 2)?;
    let q = model.posterior();
    let fit = fit(model, q, EStep, Options::exact())?;
    let entry = fit.entry("VB")?;
    let name = |k: usize| format!("covariance[{k}, eruption, eruption]");
    let first = fit.q.occupied()[0];
    let (mut z, mut rng) = (vec![0.0; fit.q.dim()], stream(6, Purpose::Report, 0));
    let mut drawn = Vec::new();
    for _ in 0..4_000 {
        fit.q.sample(&mut rng, &mut z);
        drawn.push(z[OLD_FAITHFUL.len() + 4 + first].powi(2));
    }
    let mean = drawn.iter().sum::<f64>() / 4e3;
    let p = entry.parameter(&name(0))?;
    assert!((p.estimate - mean).abs() < 4.0 * p.sd.unwrap() / 4e3f64.sqrt(), "{p:?} {mean}");
    Ok(())
}

#[test]
fn a_logistic_regression_and_black_boxes_of_the_same_model() -> Result<(), Error> {
    let x: Vec<f64> = (0..60).flat_map(|i| [f64::from(i % 10) / 5.0, f64::from(i % 3)]).collect();
    let y: Vec<f64> = (0..60).map(|i| f64::from((i % 10) + (i % 4) > 6)).collect();
    let model = LogisticRegression::new(&x, 2, &y, 3.0)?.with_intercept(5.0)?;
    let q = model.start();
    let cavi = fit(model.clone(), q, EStep, Options::exact())?;
    let full = fit(model.clone(), FullRankGaussian::standard(3), draws(), Options::default())?;
    let narrow = fit(model.clone(), MeanFieldGaussian::standard(3), draws(), Options::default())?;
    let told = |entry: Entry| entry.of(model.fingerprint());
    let all = compare([
        cavi.entry("CAVI")?,
        full.entry("full rank")?,
        told(full.posterior()?.entry("by draws")?)?,
        told(narrow.posterior()?.entry("mean field")?)?,
    ])?;
    assert_eq!(all.parameters(), ["intercept", "beta[1]", "beta[2]"]);
    let bound = |method: &str| all.entry(method).map(|e| reached(e).1);
    assert_close("ELBO", bound("CAVI")?, cavi.model.elbo(&cavi.q), 1e-14);
    // the step reports a bound of that bound, and gradients climb higher in the same family
    assert!(last(&cavi) < bound("CAVI")? && bound("CAVI")? < bound("full rank")? + 1e-3);
    assert!((bound("by draws")? - bound("full rank")?).abs() < 0.1);
    for name in all.parameters() {
        let said = |method: &str| all.find(method, &name).cloned();
        let (exactly, drawn) = (said("full rank")?, said("by draws")?);
        assert_close(&name, drawn.estimate, exactly.estimate, 0.1 * exactly.sd.unwrap());
        assert!((said("CAVI")?.estimate - exactly.estimate).abs() < 0.5 * exactly.sd.unwrap());
    }
    // the matrix as it was given, and the outcomes
    assert_eq!(model.fingerprint(), Fingerprint::of(&[&x, &y]));
    let twice = model.clone().weighted(&vec![2.0; 60])?;
    assert_ne!(twice.fingerprint(), model.fingerprint());
    let q = twice.start();
    let other = fit(twice, q, EStep, Options::exact())?.entry("weighted")?;
    assert!(message(compare([cavi.entry("CAVI")?, other])).starts_with("E17"));
    Ok(())
}

#[test]
fn topics_are_matched_by_their_words() -> Result<(), Error> {
    let model = Topics::new(postcards()?.corpus, 3)?;
    let one = fit(model.clone(), model.start(1), EStep, Options::exact())?;
    // the same topics in another order
    let turned: Vec<f64> = [2, 0, 1].iter().flat_map(|&k| one.q.concentrations(k)).collect();
    let two = fit(model.clone(), model.start_from(&turned)?, EStep, Options::exact())?;
    let all = compare([one.entry("one")?, two.entry("two")?])?;
    assert_close("ELBO", reached(all.entry("one")?).1, last(&one), 1e-12);
    assert_eq!(all.entry("two")?.components(), 3);
    let words = model.corpus().vocabulary();
    for k in 0..3 {
        for word in one.q.top_words(k, 10) {
            let name = format!("word[{k}, {}]", words[word]);
            let said = all.find("one", &name)?;
            assert_close(&name, said.estimate, one.q.topic(k)[word], 1e-12);
            assert!(said.q05 < Some(said.estimate) && Some(said.estimate) < said.q95);
            assert!((all.find("two", &name)?.estimate - said.estimate).abs() < 0.01, "{name}");
        }
    }
    let fewer = model.corpus().select(0..model.corpus().len() - 1)?;
    assert_ne!(fewer.fingerprint(), model.corpus().fingerprint());
    let fewer = Topics::new(fewer, 3)?;
    let other = fit(fewer.clone(), fewer.start(1), EStep, Options::exact())?.entry("fewer")?;
    assert!(message(compare([one.entry("one")?, other])).starts_with("E17 `one` and `fewer`"));
    Ok(())
}

#[test]
fn several_starts_cost_what_they_cost_together() -> Result<(), Error> {
    let best = GaussianMixture::new(eruptions()?, 3)?.fit(1)?;
    let entry = best.entry("EM")?;
    let steps: usize = best.attempts.iter().map(|a| a.steps).sum();
    assert_eq!((entry.steps, entry.seconds), (Some(steps), Some(best.seconds)));
    assert!(steps > best.fit.trace.len() && best.seconds > best.fit.seconds);
    Ok(())
}

fn eruptions() -> Result<Observations, Error> {
    Observations::with_names(OLD_FAITHFUL.map(|row| row[0]).to_vec(), ["eruption"])
}

/// Black-box variational inference on draws made once, with the mean and covariance of their law.
fn draws() -> FixedDraws {
    FixedDraws { noise: FixedNoise::MomentMatched, ..FixedDraws::new(32) }
}

/// Dirichlet weights; means normal, precisions Gamma, so that variances are inverse Gamma.
fn prior() -> Prior {
    Prior { concentration: 1.0, mean: vec![3.5], shrinkage: 0.1, degrees: 3.0, scale: vec![0.3] }
}

/// The mixture as a black box: no labels in it, each row has the sum over its components.
fn summed_out() -> Result<impl TwiceDifferentiable + Clone, Error> {
    let Prior { concentration, mean, shrinkage, degrees, scale } = prior();
    let mut space = Space::new();
    let (weight, m) = (space.block("weight", 2, Support::Simplex), space.reals("mean", 2));
    let v = space.positives("variance", 2);
    let rows = OLD_FAITHFUL.map(|row| row[0]);
    Ok(from_fn(space, move |z| {
        let (weight, m, v) = (&z[weight], &z[m], &z[v]);
        let mut lp = density::dirichlet(weight, &[concentration; 2]);
        for k in 0..2 {
            lp += density::inverse_gamma(v[k], 0.5 * degrees, 0.5 * scale[0]);
            lp += density::normal(m[k], mean[0], (v[k] / shrinkage).sqrt());
        }
        for x in rows {
            let of = [0, 1].map(|k| density::normal(-m[k] + x, 0.0, v[k].sqrt()));
            lp += density::mixture_of(weight, &of);
        }
        lp
    }))
}

/// Labels summed out of the log joint, components matched: four methods on one mixture.
#[test]
fn a_black_box_with_its_labels_summed_out_stands_beside_em_and_cavi() -> Result<(), Error> {
    let em = GaussianMixture::new(eruptions()?, 2)?.fit(1)?;
    let model = BayesianMixture::new(eruptions()?, 2)?.with_prior(prior())?;
    let q = model.posterior();
    let cavi = fit(model, q, EStep, Options::exact())?;
    let black_box = summed_out()?;
    // draws of the labels' q aside, the same q has a higher bound where the labels are summed out
    let (mut z, mut rng) = (vec![0.0; cavi.q.dim()], stream(7, Purpose::Report, 0));
    let n = OLD_FAITHFUL.len();
    let terms: Vec<f64> = (0..2_000)
        .map(|_| {
            cavi.q.sample(&mut rng, &mut z);
            let [w0, w1, m0, m1, f0, f1] = z[n..] else { unreachable!("two components") };
            let own = [w0, w1, m0, m1, f0 * f0, f1 * f1];
            let labels: f64 = (0..n)
                .map(|i| {
                    let x = OLD_FAITHFUL[i][0];
                    let log =
                        |w: f64, m: f64, f: f64| w.ln() - f.ln() - 0.5 * ((x - m) / f).powi(2);
                    let (a, b) = (log(w0, m0, f0), log(w1, m1, f1));
                    let own = if z[i] == 0.0 { a } else { b };
                    own - (a.exp() + b.exp()).ln()
                })
                .sum();
            // ln p(x, z, parameters) = ln p(x, parameters) + ln p(z | x, parameters)
            let joint = cavi.model.log_joint(&z);
            // densities of factors and of variances differ by the Jacobian of the square
            let jacobian = (2.0 * f0).ln() + (2.0 * f1).ln();
            joint - labels - jacobian - black_box.log_joint(&own)
        })
        .collect();
    assert_all_close("the same model", &terms, &vec![0.0; terms.len()], 1e-9);

    let black_box = black_box.unconstrained();
    let dim = black_box.dim();
    let full =
        fit(black_box.clone(), FullRankGaussian::standard(dim), draws(), Options::default())?;
    let narrow = fit(black_box, MeanFieldGaussian::standard(dim), draws(), Options::default())?;
    let told = |entry: Entry| -> Result<Entry, Error> {
        entry
            .of(eruptions()?.fingerprint())?
            .with_components(["weight", "mean", "variance"], 2)?
            .renamed("mean", "mean[eruption]")?
            .renamed("variance", "covariance[eruption, eruption]")
    };
    let all = compare([
        em.entry("EM")?,
        cavi.entry("CAVI")?,
        told(full.posterior()?.entry("full rank")?)?,
        told(narrow.posterior()?.entry("mean field")?)?,
    ])?;
    let bound = |method: &str| all.entry(method).map(|e| reached(e).1);
    // summing the labels out leaves less to be lost
    assert!(bound("full rank")? > bound("CAVI")?, "{all}");
    assert!(bound("full rank")? > bound("mean field")?, "{all}");
    for k in 0..2 {
        let variance = format!("covariance[{k}, eruption, eruption]");
        for name in [format!("weight[{k}]"), format!("mean[{k}, eruption]"), variance] {
            let point = all.find("EM", &name)?;
            for method in ["CAVI", "full rank", "mean field"] {
                let found = all.find(method, &name)?;
                let off = (found.estimate - point.estimate).abs();
                assert!(off < point.sd.unwrap(), "{name} by {method}\n{all}");
            }
        }
    }
    Ok(())
}

/// The sd of the noise, whose inverse square is a Gamma, by sums over a grid of its logarithm; from few
/// rows and from more than anyone has.
#[test]
fn the_noise_of_regressions_has_its_moments_and_quantiles() -> Result<(), Error> {
    let x: Vec<f64> = (0..6).flat_map(|i| [1.0, f64::from(i)]).collect();
    let y = [0.3, 1.1, 1.9, 3.2, 3.9, 5.3];
    for weight in [1.0, 1e3, 1e8] {
        let exact = LinearRegression::weighted(&x, 2, &y, &[weight; 6])?;
        let exact = exact.unknown_noise(2.0, 1.5, 0.3)?;
        let entry = exact.entry("exact")?;
        let noise = entry.parameter("noise_sd")?;
        let (a, b) = (exact.a, exact.b);
        // u = ln tau about its mode ln(a / b), of sd about 1 / sqrt(a)
        let steps = 200_000;
        let reach = 40.0 / a.sqrt();
        let at = |i: i32| reach * (2.0 * (f64::from(i) + 0.5) / f64::from(steps) - 1.0);
        let density = |u: f64| (a * (u - u.exp_m1())).exp();
        let sd_over = |u: f64| (-0.5 * u).exp_m1(); // sd over that at the mode, less 1
        let total: f64 = (0..steps).map(|i| density(at(i))).sum();
        let mean = |f: &dyn Fn(f64) -> f64| -> f64 {
            (0..steps).map(|i| density(at(i)) * f(at(i))).sum::<f64>() / total
        };
        let mode = (b / a).sqrt();
        let first = mean(&sd_over);
        let second = mean(&|u| (sd_over(u) - first).powi(2));
        assert_close("mean", noise.estimate / mode, 1.0 + first, 1e-9);
        assert_close("sd", noise.sd.unwrap_or(0.0) / (mode * second.sqrt()), 1.0, 1e-6);
        for (quantile, share) in [(noise.q05, 0.05), (noise.q95, 0.95)] {
            let q = quantile.expect("known") / mode;
            let below = mean(&|u| f64::from(u8::from(1.0 + sd_over(u) < q)));
            // a step of the grid has a share of less than 1e-3
            assert!((below - share).abs() < 1e-3, "{weight}: {below}");
        }
    }
    Ok(())
}
