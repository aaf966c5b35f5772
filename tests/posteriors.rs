//! The models of the `posteriors` example against the reference values of their log joints.

#[allow(dead_code)]
#[path = "../examples/posteriors/main.rs"]
mod example;
mod support;

use example::{POSTERIORS, reference, tolerance};
use support::shared;

#[test]
fn every_model_has_the_log_joint_of_its_description() {
    for (name, make) in POSTERIORS {
        let Some(folder) = shared(&format!("posteriors/{name}")) else { continue };
        let (data, reference) = reference::read(&folder).expect("the folder is complete");
        let checked =
            reference.check(&make(&data).expect("the data are in order"), tolerance(name));
        checked.unwrap_or_else(|reason| panic!("{name}: {reason}"));
    }
}

#[test]
fn a_model_that_does_not_match_is_refused() {
    let Some(folder) = shared("posteriors/sblri") else { return };
    let (mut data, reference) = reference::read(&folder).expect("the folder is complete");
    let make = POSTERIORS.iter().find(|(name, _)| *name == "sblri").expect("it is there").1;
    data.0["y"][0] = 0.0.into();
    let refused = reference
        .check(&make(&data).expect("they are numbers"), 1e-8)
        .expect_err("the data are others");
    assert!(refused.starts_with("at check point 1 the log joint is"), "{refused}");
}
