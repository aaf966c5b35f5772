//! Hidden Markov models under a prior: the mode of the posterior, from which no state is lost.

use elbo::data::Observations;
use elbo::models::HiddenMarkov;
use elbo::models::discrete_mixture::Column;
use elbo::models::hidden_markov::{Emission, Prior, Sequences, StatePrior};
use elbo::{Conjugate, EStep, Error, MStep, Model, Options, Purpose, Squarem, fit, stream};
use statrs::function::gamma::ln_gamma;

use crate::moves::{elbo_is_the_mean_of_its_draws, last, message, never_descends};
use crate::support::assert_close;

const LN_2PI: f64 = 1.837_877_066_409_345_3;

fn sequences(cells: Vec<f64>, dim: usize) -> Result<Sequences, Error> {
    let data = Observations::new(cells, dim)?;
    let n = data.len();
    Sequences::new(data, &[n - 40, 40])
}

/// Two states, rows of two columns of each kind.
fn every_kind() -> Result<Vec<(&'static str, HiddenMarkov, Prior)>, Error> {
    let busy = |t: usize| f64::from(t % 25 > 14);
    let wave = |t: usize, a: f64| (a * t as f64).sin();
    let normal: Vec<f64> = (0..120)
        .flat_map(|t| {
            let x = wave(t, 1.7) + 3.0 * busy(t);
            [x, 0.6 * x + wave(t, 2.9)]
        })
        .collect();
    let counts: Vec<f64> = (0..120)
        .flat_map(|t| {
            [(3.0 * busy(t) + 1.5 + wave(t, 1.3)).floor(), f64::from(wave(t, 0.7) > 0.5 * busy(t))]
        })
        .collect();
    let gaussian = Prior {
        initial: 2.0,
        transitions: 1.5,
        state: StatePrior::Normal {
            mean: vec![0.5, -0.5],
            shrinkage: 3.0,
            degrees: 4.0,
            scale: vec![2.0, 0.3, 0.3, 1.0],
        },
    };
    let columns = Prior {
        initial: 1.0,
        transitions: 3.0,
        state: StatePrior::Columns { probabilities: 2.0, rates: (2.0, 0.5) },
    };
    let mixed = Emission::Columns(vec![Column::Count, Column::Binary]);
    Ok(vec![
        ("full", HiddenMarkov::gaussian(sequences(normal.clone(), 2)?, 2)?, gaussian.clone()),
        ("diagonal", HiddenMarkov::diagonal(sequences(normal, 2)?, 2)?, gaussian),
        ("columns", HiddenMarkov::new(sequences(counts, 2)?, 2, mixed)?, columns),
    ])
}

/// The density of the prior at the parameters, from its definition.
fn by_definition(model: &HiddenMarkov, prior: &Prior) -> f64 {
    let dirichlet = |a: f64, p: &[f64]| -> f64 {
        let n = p.len() as f64;
        ln_gamma(n * a) - n * ln_gamma(a) + (a - 1.0) * p.iter().map(|p| p.ln()).sum::<f64>()
    };
    let mut sum = dirichlet(prior.initial, model.initial());
    for k in 0..2 {
        sum += dirichlet(prior.transitions, model.transition(k));
        match &prior.state {
            StatePrior::Columns { probabilities, rates: (a, b) } => {
                let (rate, p) = (model.values(k, 0)[0], model.values(k, 1)[0]);
                sum += a * b.ln() - ln_gamma(*a) + (a - 1.0) * rate.ln() - b * rate;
                sum += dirichlet(*probabilities, &[p, 1.0 - p]);
            }
            StatePrior::Normal { mean, shrinkage, degrees, scale } => {
                let c = model.covariance(k).expect("normal");
                let y = [model.mean(k)[0] - mean[0], model.mean(k)[1] - mean[1]];
                let det = c[0] * c[3] - c[1] * c[2];
                let inverse = [c[3] / det, -c[1] / det, -c[2] / det, c[0] / det];
                let square = inverse[0] * y[0] * y[0]
                    + 2.0 * inverse[1] * y[0] * y[1]
                    + inverse[3] * y[1] * y[1];
                sum += shrinkage.ln() - LN_2PI - 0.5 * det.ln() - 0.5 * shrinkage * square;
                sum += if c[1] == 0.0 {
                    let one = |j: usize| {
                        let (a, b) = (0.5 * degrees, 0.5 * scale[3 * j]);
                        let v = c[3 * j];
                        a * b.ln() - ln_gamma(a) - (a + 1.0) * v.ln() - b / v
                    };
                    one(0) + one(1)
                } else {
                    let det_scale = scale[0] * scale[3] - scale[1] * scale[2];
                    let trace: f64 = scale.iter().zip(inverse).map(|(s, i)| s * i).sum();
                    // ln Gamma_2(nu / 2)
                    let gamma = 0.5 * std::f64::consts::PI.ln()
                        + ln_gamma(0.5 * degrees)
                        + ln_gamma(0.5 * (degrees - 1.0));
                    0.5 * degrees * det_scale.ln()
                        - degrees * 2f64.ln()
                        - gamma
                        - 0.5 * (degrees + 3.0) * det.ln()
                        - 0.5 * trace
                };
            }
        }
    }
    sum
}

#[test]
fn the_bound_has_the_density_of_the_prior() -> Result<(), Error> {
    for (name, model, prior) in every_kind()? {
        let plain = model.score(model.sequences())?.iter().sum::<f64>();
        let model = model.with_prior(prior.clone())?;
        let mut q = model.states();
        let elbo = model.natural_step(&mut q, 1.0)?;
        assert_close(name, model.log_prior(), by_definition(&model, &prior), 1e-12);
        assert_close(name, elbo, plain + model.log_prior(), 1e-12);
        elbo_is_the_mean_of_its_draws(&model, &q, elbo);
        // the prior is no part of a score, nor of the criteria
        let criteria = model.criteria()?.log_likelihood;
        assert_close(name, criteria, plain, 1e-12);
    }
    Ok(())
}

#[test]
fn steps_climb_to_a_point_without_slope() -> Result<(), Error> {
    for (name, model, prior) in every_kind()? {
        let model = model.with_prior(prior)?;
        let q = model.states();
        let best = never_descends(model, q, Squarem::new((EStep, MStep)));
        let mut theta = vec![0.0; best.model.n_theta()];
        best.model.theta(&mut theta);
        let at = |theta: &[f64]| -> f64 {
            let mut moved = best.model.clone();
            moved.set_theta(theta);
            let score = moved.score(moved.sequences()).expect("fine");
            score.iter().sum::<f64>() + moved.log_prior()
        };
        assert_close(name, at(&theta), last(&best), 1e-10);
        for i in 0..theta.len() {
            let mut beside = theta.clone();
            let h = 1e-4;
            beside[i] = theta[i] + h;
            let up = at(&beside);
            beside[i] = theta[i] - h;
            let slope = (up - at(&beside)) / (2.0 * h);
            // a gain of 1e-13 of some 300 nats a step, and central differences of 1e-4
            assert!(slope.abs() < 2e-3, "{name}: slope {slope} in coordinate {i}");
        }
    }
    Ok(())
}

#[test]
fn a_state_that_collapses_or_empties_fits_under_a_prior() -> Result<(), Error> {
    // three rows at one place
    let data = Observations::new(vec![0.0, 0.0, 0.0, 4.0, 5.0, 6.5, 4.5], 1)?;
    let model = HiddenMarkov::gaussian(Sequences::one(data)?, 2)?;
    let bad = message(model.fit(1));
    assert!(bad.contains("has collapsed: nothing is left of its variance in column 0"), "{bad}");
    assert!(
        bad.contains(
            "take a prior, under which that cannot be, `.with_prior(Prior::weak(&model))`"
        )
    );
    let prior = Prior::weak(&model);
    let best = model.clone().with_prior(prior.clone())?.fit(1)?;
    assert!(best.fit.warnings.is_empty() && (0..2).all(|k| best.fit.model.values(k, 0)[1] > 0.1));
    // the state with the rows at one place is found, and is as wide as the prior makes it
    let path = best.fit.model.path(best.fit.model.sequences())?;
    assert!(path[..3].iter().all(|z| *z == path[0]) && path[3..].iter().all(|z| *z != path[0]));
    // one that is far from all rows comes back
    let far = model.with_parameters(&[0.5, 0.5], &[0.5; 4], &[0.0, 0.01, 900.0, 0.01])?;
    let far = far.with_prior(prior)?;
    let q = far.states();
    let back = fit(far, q, (EStep, MStep), Options::exact())?;
    assert!((0..2).all(|k| back.model.mean(k)[0].abs() < 10.0));
    Ok(())
}

/// With hundreds of rows a state the weak prior is hardly seen.
#[test]
fn a_weak_prior_hardly_moves_the_answer() -> Result<(), Error> {
    let (_, model, _) = every_kind()?.swap_remove(0);
    let truth = model.with_parameters(
        &[0.5, 0.5],
        &[0.9, 0.1, 0.2, 0.8],
        &[0.0, 0.0, 1.0, 0.3, 0.3, 1.0, 4.0, 1.0, 1.0, -0.2, -0.2, 0.5],
    )?;
    let (rows, _) = truth.sample(2_000, &mut stream(5, Purpose::Data, 0));
    let model = HiddenMarkov::gaussian(sequences(rows, 2)?, 2)?;
    let prior = Prior::weak(&model);
    let (plain, under) = (model.fit(1)?, model.clone().with_prior(prior)?.fit(1)?);
    // which state is called the first depends on the start
    let means = |model: &HiddenMarkov| {
        let mut means = [model.mean(0), model.mean(1)];
        means.sort_by(|a, b| a[0].total_cmp(&b[0]));
        means.concat()
    };
    for (a, b) in means(&plain.fit.model).iter().zip(means(&under.fit.model)) {
        assert!((a - b).abs() < 2e-3, "{a} {b}");
    }
    let lost =
        plain.fit.model.criteria()?.log_likelihood - under.fit.model.criteria()?.log_likelihood;
    assert!((0.0..0.1).contains(&lost), "{lost}");
    Ok(())
}

/// Steps that are impossible stay so, and the prior is one of those that are not.
#[test]
fn impossible_steps_are_no_part_of_the_prior() -> Result<(), Error> {
    let cells = (0..60).map(|t| f64::from(t / 20) * 3.0 + (1.7 * f64::from(t)).sin()).collect();
    let line = HiddenMarkov::gaussian(Sequences::one(Observations::new(cells, 1)?)?, 3)?;
    let steps = [0.9, 0.1, 0.0, 0.0, 0.9, 0.1, 0.0, 0.0, 1.0];
    let states = [0.0, 1.0, 3.0, 1.0, 6.0, 1.0];
    let line = line.with_parameters(&[1.0, 0.0, 0.0], &steps, &states)?;
    let prior = Prior { transitions: 2.0, ..Prior::weak(&line) };
    let line = line.with_prior(prior)?;
    let q = line.states();
    let best = never_descends(line, q, (EStep, MStep));
    assert_eq!(best.model.transition(0)[2], 0.0);
    // the path is certain to a hundredth of a row: (19 + 1) / (20 + 2) of the steps stay
    assert_close("stay", best.model.transition(0)[0], 20.0 / 22.0, 0.02);
    assert_close("end", best.model.transition(2)[2], 1.0, 1e-12);
    Ok(())
}

#[test]
fn priors_without_a_mode_are_refused() -> Result<(), Error> {
    let mut all = every_kind()?;
    let (_, columns, prior) = all.remove(2);
    let (_, full, normal) = all.remove(0);
    let low = Prior { transitions: 0.5, ..normal.clone() };
    let text = message(full.clone().with_prior(low));
    assert_eq!(text, "E10 transitions of the prior is 0.5; 1 or more has a mode");
    let state = StatePrior::Columns { probabilities: 0.3, rates: (1.0, 1.0) };
    let text = message(columns.clone().with_prior(Prior { state, ..prior.clone() }));
    assert_eq!(text, "E10 probabilities of the prior is 0.3; 1 or more has a mode");
    assert!(message(columns.with_prior(normal)).contains("take StatePrior::Columns"));
    assert!(message(full.with_prior(prior)).contains("take StatePrior::Normal"));
    Ok(())
}
