//! Mixtures of normal distributions by EM.

use elbo::data::{IRIS, OLD_FAITHFUL, Observations};
use elbo::models::{Covariance, GaussianMixture};
use elbo::{EStep, Error, Fit, MStep, Options, Run, Stop, fit};

use crate::support::{assert_all_close, assert_close, exact_cases, numbers};

type Labelled = elbo::models::gaussian_mixture::Labels;

/// The log likelihood from the parameters alone, by the definition.
fn log_likelihood(model: &GaussianMixture, data: &Observations) -> f64 {
    let d = data.dim();
    let terms: Vec<(nalgebra::DMatrix<f64>, f64)> = (0..model.len())
        .map(|k| {
            let c = nalgebra::DMatrix::from_row_slice(d, d, &model.covariance(k));
            let log_det = c.clone().cholesky().expect("positive").l().diagonal().map(f64::ln).sum();
            let constant = model.weights()[k].ln()
                - log_det
                - 0.5 * d as f64 * (2.0 * std::f64::consts::PI).ln();
            (c.try_inverse().expect("regular"), constant)
        })
        .collect();
    let row = |i: usize, x: &[f64]| {
        let logs: Vec<f64> = terms
            .iter()
            .enumerate()
            .map(|(k, (inverse, constant))| {
                let y = nalgebra::DVector::from_iterator(
                    d,
                    x.iter().zip(model.mean(k)).map(|(x, m)| x - m),
                );
                constant - 0.5 * (y.transpose() * inverse * &y)[(0, 0)]
            })
            .collect();
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        data.weight(i) * (top + logs.iter().map(|l| (l - top).exp()).sum::<f64>().ln())
    };
    data.rows().enumerate().map(|(i, x)| row(i, x)).sum()
}

fn faithful() -> Observations {
    let cells = OLD_FAITHFUL.iter().flatten().copied().collect();
    Observations::new(cells, 2).expect("numbers")
}

fn iris() -> Observations {
    Observations::new(IRIS.iter().flatten().copied().collect(), 4).expect("numbers")
}

fn em(model: GaussianMixture, gain: f64) -> Result<Fit<GaussianMixture, Labelled>, Error> {
    let q = model.labels();
    fit(model, q, (EStep, MStep), Options { stop: Stop::Exact { gain }, ..Options::exact() })
}

#[test]
fn old_faithful_has_two_kinds_of_eruptions() -> Result<(), Error> {
    let fit = em(GaussianMixture::new(faithful(), 2)?, 1e-13)?;
    let elbo = fit.trace.last().and_then(|s| s.elbo).expect("known");
    assert_close("log likelihood", log_likelihood(&fit.model, &faithful()), elbo, 1e-9);
    for case in exact_cases("gmm_em").iter().take(1) {
        assert_close(
            "maximum",
            elbo,
            numbers(&case["expected"]["log_likelihood"])[0],
            1e-3 / 1130.0,
        );
        let mut order = [0, 1];
        order.sort_by(|&a, &b| fit.model.mean(a)[0].total_cmp(&fit.model.mean(b)[0]));
        let collect =
            |f: &dyn Fn(usize) -> Vec<f64>| order.iter().flat_map(|&k| f(k)).collect::<Vec<_>>();
        let (w, m, c) = (
            collect(&|k| vec![fit.model.weights()[k]]),
            collect(&|k| fit.model.mean(k).to_vec()),
            collect(&|k| fit.model.covariance(k)),
        );
        assert_all_close("weights", &w, &numbers(&case["expected"]["weights"]), 1e-4);
        assert_all_close("means", &m, &numbers(&case["expected"]["means"]), 1e-4);
        assert_all_close("covariances", &c, &numbers(&case["expected"]["covariances"]), 1e-4);
    }
    Ok(())
}

#[test]
fn the_bound_touches_after_every_e_step_and_no_half_step_descends() -> Result<(), Error> {
    for covariance in Covariance::ALL {
        for (data, k) in [(faithful(), 3), (iris(), 2)] {
            let model = GaussianMixture::new(data.clone(), k)?.with_covariance(covariance)?;
            let q = model.labels();
            let options = Options { steps: 60, stop: Stop::Budget, ..Options::default() };
            let mut run = Run::new(model, q, (EStep, MStep), options)?;
            let mut last = f64::NEG_INFINITY;
            for _ in 0..60 {
                let evidence = log_likelihood(&run.model, &data);
                run.step()?;
                let step = run.trace.last().expect("a step was taken");
                let (half, whole) = (step.between.expect("E"), step.elbo.expect("M"));
                assert!((half - evidence).abs() < 1e-9 * evidence.abs(), "{half} {evidence}");
                assert!(half >= last - 1e-10 * half.abs(), "{covariance:?} {last} {half}");
                assert!(whole >= half - 1e-10 * half.abs(), "{covariance:?} {half} {whole}");
                last = whole;
            }
        }
    }
    Ok(())
}
