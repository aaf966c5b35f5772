//! Bad data: what is wrong, where it is and what to do, for every model that takes rows.

use elbo::data::{Csv, NILE, OLD_FAITHFUL, Observations};
use elbo::models::factor_analysis::FactorAnalysis;
use elbo::models::gaussian_mixture::Prior;
use elbo::models::hidden_markov::Sequences;
use elbo::models::linear_regression::LinearRegression;
use elbo::models::normal::{Normal, NormalGamma};
use elbo::models::state_space::{LocalLevel, LocalTrend};
use elbo::models::{BayesianMixture, Covariance, DiscreteMixture, GaussianMixture, HiddenMarkov};
use elbo::warning::Code;
use elbo::{EStep, Error, MStep, Options, fit};

use crate::moves::message;
use crate::support::{assert_all_close, assert_close};

fn named(cells: &[f64], names: &[&str]) -> Observations {
    Observations::with_names(cells.to_vec(), names.iter().copied()).expect("numbers")
}

fn faithful() -> Observations {
    let cells: Vec<f64> = OLD_FAITHFUL.iter().flatten().copied().collect();
    named(&cells, &["eruption", "waiting"])
}

#[test]
fn a_missing_cell_is_named_by_row_and_column() -> Result<(), Error> {
    let table = Csv::read("a,b,c\n1,2,3\n2,1,5\n4,,4\n3,3,NA\n".as_bytes())?;
    let want =
        "E01 data[2, \"b\"] is NaN (2 of 4 rows). Drop or impute rows 2, 3 (rows count from 0).";
    assert_eq!(message(table.observations()), want);
    let gaps = table.with_missing()?;
    // models that handle what is missing take it
    FactorAnalysis::new(gaps.clone(), 1)?;
    GaussianMixture::new(gaps.clone(), 1)?;
    BayesianMixture::new(gaps.clone(), 1)?;
    DiscreteMixture::poisson(gaps, 1)?;
    Ok(())
}

#[test]
fn an_infinite_cell_is_refused_by_all() {
    let cells = vec![1.0, 2.0, 3.0, f64::NEG_INFINITY];
    let want =
        "E01 data[1, \"b\"] is -inf (1 of 2 rows). Drop or impute row 1 (rows count from 0).";
    assert_eq!(message(Observations::with_names(cells, ["a", "b"])), want);
    let x = [1.0, f64::INFINITY];
    assert!(
        message(LinearRegression::new(&x, 1, &[1.0, 2.0])).starts_with("E01 data[1, 0] is inf")
    );
    assert!(message(LocalLevel::level(&[1.0, f64::INFINITY])).starts_with("E01 y[1] is inf"));
}

#[test]
fn more_components_than_rows() -> Result<(), Error> {
    let rows = named(&[1.0, 2.0, 4.0, 4.0], &["x"]);
    assert_eq!(
        message(GaussianMixture::new(rows.clone(), 5)),
        "E10 components is 5; the data have only 3 different rows; take at most 3"
    );
    // a row that does not count is no row
    let weighted = rows.weighted(vec![1.0, 0.0, 1.0, 1.0])?;
    let text = message(GaussianMixture::new(weighted, 3));
    assert!(text.contains("only 2 different rows; take at most 2"), "{text}");
    Ok(())
}

#[test]
fn weights_that_are_negative_or_all_zero() {
    let weighted = |w: [f64; 3]| named(&[1.0, 2.0, 4.0], &["x"]).weighted(w.to_vec());
    let negative = message(weighted([1.0, 1.0, -0.5]));
    assert_eq!(negative, "E01 weights[2] is -0.5. A weight must be 0 or more, and finite");
    assert!(message(weighted([1.0, f64::NAN, 1.0])).starts_with("E01 weights[1] is NaN."));
    assert_eq!(message(weighted([0.0; 3])), "E01 weights is 0. All weights are 0: nothing counts");
    let bad = LinearRegression::weighted(&[1.0, 2.0], 1, &[1.0, 2.0], &[1.0, -1.0]);
    assert!(message(bad).starts_with("E01 weights[1] is -1."));
}

#[test]
fn a_component_that_empties_is_named_and_a_prior_offered() -> Result<(), Error> {
    // a component a hundred sds away from every row
    let model = || {
        GaussianMixture::new(faithful(), 2)?.with_parameters(
            &[0.5, 0.5],
            &[3.5, 70.0, 150.0, 70.0],
            &[1.3, 0.0, 0.0, 185.0, 1.3, 0.0, 0.0, 185.0],
        )
    };
    let climb = |model: GaussianMixture| {
        let q = model.labels();
        fit(model, q, (EStep, MStep), Options::exact())
    };
    let text = message(climb(model()?));
    let start = "E15 MStep: component 1 has emptied: it has ";
    assert!(text.starts_with(start), "{text}");
    for part in
        ["rows of 272 left", "(no row is mostly its own)", "`.with_prior(Prior::weak(&data, K))`"]
    {
        assert!(text.contains(part), "no {part} in {text}");
    }
    climb(model()?.with_prior(Prior::weak(&faithful(), 2))?)?;
    Ok(())
}

#[test]
fn columns_that_say_the_same_or_nothing() -> Result<(), Error> {
    let cells: Vec<f64> =
        OLD_FAITHFUL.iter().flat_map(|r| [r[0], r[1], r[1], 1e9 * r[0] * r[1]]).collect();
    let data = named(&cells, &["eruption", "waiting", "again", "huge"]);
    let text = message(GaussianMixture::new(data.clone(), 2));
    assert!(text.contains("determine column \"again\"") && text.contains("Covariance::Diagonal"));
    // what is only doubtful is a warning of the fit, once
    let cells: Vec<f64> = OLD_FAITHFUL.iter().flat_map(|r| [r[0], r[1]]).collect();
    let model = GaussianMixture::new(named(&cells, &["eruption", "waiting"]), 2)?;
    assert!(model.fit(1)?.fit.warnings.is_empty());
    let cells: Vec<f64> = OLD_FAITHFUL.iter().flat_map(|r| [r[0], 1e9 * r[1]]).collect();
    let model = GaussianMixture::new(named(&cells, &["eruption", "waiting"]), 2)?;
    let warnings = model.with_covariance(Covariance::Diagonal)?.fit(1)?.fit.warnings;
    let scale: Vec<_> = warnings.iter().filter(|w| w.code == Code::DataScale).collect();
    assert_eq!(scale.len(), 1, "{warnings:?}");
    assert!(scale[0].message.starts_with("the spread of column \"waiting\" is 1e10 times"));
    assert_eq!(scale[0].actions, ["rescale the columns"]);
    Ok(())
}

#[test]
fn a_regression_on_a_column_twice_shares_its_coefficient_or_says_why_not() -> Result<(), Error> {
    let x: Vec<f64> = (0..20).flat_map(|i| [1.0, f64::from(i), f64::from(i)]).collect();
    let y: Vec<f64> = (0..20).map(|i| 1.0 + 2.0 * f64::from(i) + f64::from(i % 3)).collect();
    let twice = LinearRegression::new(&x, 3, &y)?;
    let found = twice.known_noise(1.0, 10.0)?;
    assert_close("shared", found.mean[1], found.mean[2], 1e-9);
    assert!((found.mean[1] - 1.0).abs() < 0.05, "half of the slope each");
    // with a prior that says nothing the data would have to tell them apart
    let text = message(twice.known_noise(1.0, 1e9));
    assert!(text.starts_with("E04 the posterior precision of the coefficients"), "{text}");
    assert!(text.contains("columns of the design repeat each other"), "{text}");
    assert!(text.contains("drop one of them, rescale, or choose a tighter prior"), "{text}");
    Ok(())
}

#[test]
fn a_series_that_is_too_short() {
    for y in [&[][..], &[1.0], &[1.0, 2.0]] {
        let want = format!(
            "E10 observations of the series is {}; a level, its drift and the noise need at least 3 observations",
            y.len()
        );
        assert_eq!(message(LocalLevel::level(y)), want);
        assert_eq!(message(LocalTrend::trend(y)), want);
    }
    assert!(LocalLevel::level(&NILE[..3]).is_ok());
}

/// The mixtures, factor analysis and state space models have tests of their own for this.
#[test]
fn regressions_and_normals_follow_the_units() -> Result<(), Error> {
    let x: Vec<f64> = (0..30).flat_map(|i| [1.0, f64::from(i * i % 17)]).collect();
    let y: Vec<f64> = (0..30).map(|i| f64::from(i % 7) + 0.5 * f64::from(i * i % 17)).collect();
    let plain = LinearRegression::new(&x, 2, &y)?.known_noise(2.0, 5.0)?;
    let prior = NormalGamma { m: 1.0, kappa: 2.0, a: 3.0, b: 4.0 };
    let normal = Normal::new(&y, prior)?;
    let q = normal.start();
    let cavi = fit(normal, q, EStep, Options::exact())?;
    for scale in [1e12, 1e-12] {
        let scaled: Vec<f64> = y.iter().map(|y| scale * y).collect();
        let (wide, n) = (x.iter().map(|x| scale * x).collect::<Vec<f64>>(), y.len() as f64);
        // outcomes in other units
        let other = LinearRegression::new(&x, 2, &scaled)?.known_noise(2.0 * scale, 5.0 * scale)?;
        let back: Vec<f64> = other.mean.iter().map(|m| m / scale).collect();
        assert_all_close("mean", &back, &plain.mean, 1e-6);
        let back: Vec<f64> = other.covariance.iter().map(|c| c / scale / scale).collect();
        assert_all_close("covariance", &back, &plain.covariance, 1e-6);
        let evidence = other.log_evidence + n * scale.ln();
        assert_close("evidence", evidence, plain.log_evidence, 1e-6);
        // columns in other units
        let other = LinearRegression::new(&wide, 2, &y)?.known_noise(2.0, 5.0 / scale)?;
        let back: Vec<f64> = other.mean.iter().map(|m| m * scale).collect();
        assert_all_close("mean", &back, &plain.mean, 1e-6);
        assert_close("evidence", other.log_evidence, plain.log_evidence, 1e-6);
        // a normal sample
        let units = NormalGamma { m: scale, b: 4.0 * scale * scale, ..prior };
        let model = Normal::new(&scaled, units)?;
        let q = model.start();
        let other = fit(model, q, EStep, Options::exact())?;
        assert_close("mean", other.q.first().mean()[0] / scale, cavi.q.first().mean()[0], 1e-6);
        assert_close("sd", other.q.first().sd()[0] / scale, cavi.q.first().sd()[0], 1e-6);
        let rate = other.q.second().rate(0) / scale / scale;
        assert_close("rate", rate, cavi.q.second().rate(0), 1e-6);
    }
    Ok(())
}

/// What is said of a component that rests on a row or two depends on what its covariance is made of.
#[test]
fn components_that_few_rows_hold_up() -> Result<(), Error> {
    let mut cells: Vec<f64> = (0..40).map(|i| (1.7 * f64::from(i)).sin()).collect();
    cells.push(30.0);
    let data = Observations::new(cells, 1)?;
    let said = |covariance: Covariance| {
        let best = GaussianMixture::of_kind(data.clone(), 2, covariance)?.fit(1)?;
        let warnings = best.fit.warnings.iter().filter(|w| w.code == Code::CollapsedComponent);
        Ok::<_, Error>(warnings.map(|w| w.message.clone()).collect::<Vec<_>>())
    };
    let tied = said(Covariance::Tied)?;
    assert!(
        tied[0].ends_with(
            "rests on 1.0 rows (its only row is 40): its mean is theirs, and is no cluster"
        ),
        "{tied:?}"
    );
    Ok(())
}

/// Where states have independent columns, these may determine each other, as in a mixture.
#[test]
fn states_with_columns_that_determine_each_other() -> Result<(), Error> {
    let x = |t: usize| (1.7 * t as f64).sin() + if t % 20 >= 12 { 4.0 } else { 0.0 };
    let rows = Observations::new((0..80).flat_map(|t| [x(t), -2.0 * x(t)]).collect(), 2)?;
    let sequences = Sequences::one(rows)?;
    let text = message(HiddenMarkov::gaussian(sequences.clone(), 2));
    assert!(text.contains("column 1"), "{text}");
    let best = HiddenMarkov::diagonal(sequences, 2)?.fit(1)?;
    let (a, b) = (best.fit.model.mean(0), best.fit.model.mean(1));
    assert!((a[0] - b[0]).abs() > 3.0 && (a[1] + 2.0 * a[0]).abs() < 1e-6, "{a:?} {b:?}");
    let bayesian = best.fit.model.bayesian().fit(1)?;
    assert_eq!(bayesian.fit.q.occupied().len(), 2);
    Ok(())
}

/// Numbers whose squares are none: a sentence, and no panic.
#[test]
fn numbers_whose_squares_overflow() {
    let text = message(Observations::new(vec![1.0, 2.0, 1e200, 3.0], 2));
    assert_eq!(
        text,
        "E01 data[1, 0] is 1e200 (1 of 2 rows). Its square is next to infinite: give the column another unit"
    );
    let text = message(LocalLevel::level(&[1.0, 2.0, -1e200, 3.0]));
    assert_eq!(text, "E01 y[2] is -1e200. Its square is next to infinite: take another unit");
    // what is as large as may be has a variance
    let large: Vec<f64> = (0..20).map(|i| 1e149 * (1.7 * f64::from(i)).sin()).collect();
    let data = Observations::new(large, 1).expect("finite squares");
    assert!(data.variance()[0].is_finite());
}
