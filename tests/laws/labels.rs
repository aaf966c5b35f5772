//! `Categorical` and `Bernoulli`: the laws, exact divergences, wrong input.

use crate::family::{discrete, divergence, family, message, saved, scored};
use crate::support::{assert_close, exact_cases, numbers};
use elbo::{Bernoulli, Beta, Categorical, Divergence, Family, Product, Purpose, stream};

#[test]
fn categorical() {
    let q = Categorical::with_labels(&[3, 2, 4]).expect("two labels or more");
    family(&q);
    saved(&q);
    scored(&q);
    discrete(&q);
    divergence(&q);
}

#[test]
fn bernoulli() {
    let q = Bernoulli::even(3);
    family(&q);
    saved(&q);
    scored(&q);
    discrete(&q);
    divergence(&q);
}

#[test]
fn labels_beside_a_number() {
    let q = Product::new(Beta::uniform(1), Categorical::uniform(2, 3).expect("labels"));
    family(&q);
    scored(&q);
}

/// The same number of words of the stream whatever the parameters: near answers are compared on the
/// same noise, and mostly agree.
#[test]
fn near_answers_draw_mostly_the_same_labels() {
    let draws = |p: f64| {
        let q = Categorical::new(&[&[p, 0.7 - p, 0.3]]).expect("probabilities");
        let mut z = vec![0.0; 10_000];
        q.sample(&mut stream(1, Purpose::Probe, 0), &mut z);
        z
    };
    let (a, b) = (draws(0.4), draws(0.41));
    let differ = a.iter().zip(&b).filter(|(a, b)| a != b).count();
    // one in a hundred: 100 of 10 000, standard deviation 10
    assert!((60..140).contains(&differ), "{differ}");
}

#[test]
fn what_is_no_label_has_no_probability() {
    let q = Categorical::uniform(1, 3).expect("labels");
    for z in [-1.0, 0.5, 3.0, f64::NAN] {
        assert_eq!(q.log_prob(&[z]), f64::NEG_INFINITY);
        assert_eq!(Bernoulli::even(1).log_prob(&[z]), f64::NEG_INFINITY);
    }
}

#[test]
fn wrong_labels_are_named() {
    message(Categorical::<f64>::uniform(2, 1), &["E10 labels[0] is 1", "at least 2"]);
    message(
        Categorical::<f64>::new(&[&[0.5, 0.5], &[0.5, 0.0]]),
        &["E10 probabilities[1][1] is 0", "positive and finite", "into the model"],
    );
    message(Bernoulli::<f64>::new(&[0.5, 1.0]), &["E10 chances[1] is 1", "strictly between"]);
    let text = r#"{"lambda":[0.0,0.0,0.0],"labels":[2]}"#;
    let error = serde_json::from_str::<Categorical>(text).expect_err("one logit too many");
    assert!(error.to_string().contains("E03 the saved lambda has 3"), "{error}");
}

#[test]
fn exact_divergences_of_labels() {
    for case in exact_cases("kl_categorical") {
        let of = |which: &str| {
            let p = numbers(&case["inputs"][which]);
            Categorical::new(&[&p]).expect("probabilities")
        };
        let want = |what: &str| case["expected"][what].as_f64().expect("a number");
        assert_close("kl_categorical", of("p").kl(&of("q")), want("kl"), 1e-12);
    }
    for case in exact_cases("kl_bernoulli") {
        let of = |which: &str| {
            let p = case["inputs"][which].as_f64().expect("a number");
            Bernoulli::new(&[p]).expect("a probability")
        };
        let want = |what: &str| case["expected"][what].as_f64().expect("a number");
        assert_close("kl_bernoulli", of("p").kl(&of("q")), want("kl"), 1e-12);
    }
}
