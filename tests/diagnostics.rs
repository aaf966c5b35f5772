//! Is it any good? Weights, bounds, tables and verdicts against exact answers.

mod support;

use elbo::diagnostics::psis;
use support::{assert_close, exact_cases, numbers};

#[test]
fn psis_equals_the_reference() {
    for case in exact_cases("psis") {
        let id = &case["id"];
        let got = psis(&numbers(&case["inputs"]["log_weights"])).unwrap();
        let want = &case["expected"];
        let tol = case["tol"]["abs"].as_f64().unwrap();
        let is = |what: &str, got: f64, want: &serde_json::Value| {
            let want = want.as_f64().unwrap();
            assert!((got - want).abs() < tol, "{id} {what}: got {got}, want {want}");
        };
        is("khat", got.khat, &want["khat"]);
        is("ess", got.ess, &want["ess_of_smoothed"]);
        let mut weights = got.weights();
        weights.sort_by(|a, b| b.total_cmp(a));
        for (i, w) in want["largest_normalised_weights"].as_array().unwrap().iter().enumerate() {
            is("weight", weights[i], w);
        }
        assert_close("sum of weights", weights.iter().sum(), 1.0, 1e-12);
    }
}
