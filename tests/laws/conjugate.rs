//! The families of conjugate models, `Gamma` and `Dirichlet`: the laws, exact divergences.

use crate::family::{divergence, family, message, saved, scored};
use crate::support::{assert_close, exact_cases, numbers};
use elbo::{Dirichlet, Divergence, Family, Gamma};

#[test]
fn gamma() {
    let q = Gamma::new(&[1.0, 2.0], &[1.0, 3.0]).expect("fine");
    family(&q);
    saved(&q);
    scored(&q);
    divergence(&q);
}

#[test]
fn dirichlet() {
    let q = Dirichlet::new(&[1.0, 2.0, 0.5]).expect("fine");
    family(&q);
    saved(&q);
    scored(&q);
    divergence(&q);
}

#[test]
fn wrong_parameters_are_named() {
    message(Gamma::new(&[1.0, 0.0], &[1.0; 2]), &["E10 shape[1] is 0", "positive"]);
    message(Gamma::new(&[1.0], &[f64::INFINITY]), &["E10 rate[0] is inf", "finite"]);
    message(Gamma::new(&[1.0], &[1.0, 2.0]), &["E03 the shapes has 1 values"]);
    message(Dirichlet::new(&[1.0]), &["E10 concentrations is 1", "at least 2"]);
    message(Dirichlet::new(&[1.0, -1.0]), &["E10 concentration[1] is -1", "positive"]);
}

#[test]
fn exact_divergences_and_entropies() {
    for case in exact_cases("kl_gamma") {
        let gamma = |which: &str| {
            let at = |what: &str| numbers(&case["inputs"][which][what]);
            Gamma::new(&at("shape"), &at("rate")).expect("fine")
        };
        let want = |what: &str| case["expected"][what].as_f64().expect("a number");
        assert_close("kl_gamma", gamma("p").kl(&gamma("q")), want("kl"), 1e-12);
        let entropy = gamma("p").entropy().expect("known");
        assert_close("entropy of a gamma", entropy, want("entropy_p"), 1e-12);
    }
    for case in exact_cases("kl_dirichlet") {
        let dirichlet =
            |which: &str| Dirichlet::new(&numbers(&case["inputs"][which])).expect("fine");
        let want = |what: &str| case["expected"][what].as_f64().expect("a number");
        assert_close("kl_dirichlet", dirichlet("p").kl(&dirichlet("q")), want("kl"), 1e-12);
        let entropy = dirichlet("p").entropy().expect("known");
        assert_close("entropy of a Dirichlet", entropy, want("entropy_p"), 1e-12);
    }
}
