//! A normal sample: exact posterior, exact evidence, and the fixed point of coordinate ascent.

use crate::moves::{elbo_is_the_mean_of_its_draws, last, message, never_descends};
use crate::support::{assert_close, exact_cases, numbers};
use elbo::models::normal::{Normal, NormalGamma};
use elbo::{EStep, NaturalStep, Options, Stop, fit};

const PRIOR: NormalGamma = NormalGamma { m: 0.5, kappa: 2.0, a: 1.5, b: 3.0 };
const Y: [f64; 7] = [1.3, -0.4, 2.2, 0.9, 3.1, -1.7, 0.6];

#[test]
fn reference_answers() {
    for case in exact_cases("normal_gamma") {
        let input = |name: &str| case["inputs"][name].as_f64().expect("a number");
        let prior =
            NormalGamma { m: input("m0"), kappa: input("kappa0"), a: input("a0"), b: input("b0") };
        let model = Normal::new(&numbers(&case["inputs"]["y"]), prior).expect("fine");
        let want = |name: &str| case["expected"][name].as_f64().expect("a number");
        let exact = model.posterior();
        assert_close("m_n", exact.m, want("m_n"), 1e-9);
        assert_close("kappa_n", exact.kappa, want("kappa_n"), 1e-9);
        assert_close("a_n", exact.a, want("a_n"), 1e-9);
        assert_close("b_n", exact.b, want("b_n"), 1e-9);
        assert_close("log evidence", model.log_evidence(), want("log_evidence"), 1e-9);
        let best = &case["expected"]["cavi"];
        let want = |name: &str| best[name].as_f64().expect("a number");
        let q = model.start();
        let fit = never_descends(model, q, EStep);
        let (mu, tau) = (fit.q.first(), fit.q.second());
        // 1e-13 of the ELBO in the gain is its square root in the parameters
        assert_close("mean of mu", mu.mean()[0], want("mu_mean"), 1e-6);
        assert_close("precision of mu", mu.sd()[0].powi(-2), want("mu_precision"), 1e-5);
        assert_close("shape", tau.shape(0), want("a"), 1e-9);
        assert_close("rate", tau.rate(0), want("b"), 1e-5);
        assert_close("ELBO", last(&fit), want("elbo"), 1e-9);
    }
}

#[test]
fn the_elbo_is_what_its_draws_say() {
    let model = Normal::new(&Y, PRIOR).expect("fine");
    let q = model.start();
    let options = Options { steps: 2, stop: Stop::Budget, ..Options::exact() };
    let fit = fit(model, q, NaturalStep::constant(0.4), options).expect("fine");
    elbo_is_the_mean_of_its_draws(&fit.model, &fit.q, last(&fit));
}

/// The posterior mean interval: Student's t with 10 degrees of freedom has 2.228 at 97.5 %.
#[test]
fn the_interval_of_the_mean_is_that_of_students_t() {
    let q = NormalGamma { m: 1.0, kappa: 4.0, a: 5.0, b: 5.0 };
    let (low, high) = q.mean_interval(0.95);
    assert_close("low", low, 1.0 - 0.5 * 2.228138851964939, 1e-9);
    assert_close("high", high, 1.0 + 0.5 * 2.228138851964939, 1e-9);
}

#[test]
fn bad_input_is_named() {
    assert!(message(Normal::new(&[], PRIOR)).starts_with("E02"));
    assert!(message(Normal::new(&[1.0, f64::NAN], PRIOR)).starts_with("E01 data[1, 0] is NaN"));
    let bad = NormalGamma { b: 0.0, ..PRIOR };
    assert_eq!(
        message(Normal::new(&Y, bad)),
        "E10 b of the prior is 0; it must be positive and finite"
    );
}
