//! Gaussian families: the laws, exact divergences, and the messages about wrong covariances.

use crate::family::{
    at_random, divergence, draws, family, message, reparameterized, saved, scored, smooth,
    transported,
};
use crate::support::{assert_all_close, assert_close, exact_cases, numbers};
use elbo::{
    DMatrix, Divergence, Family, FullRankGaussian, LowRankGaussian, MeanFieldGaussian,
    Reparameterized,
};

#[test]
fn mean_field_gaussian() {
    let q = MeanFieldGaussian::standard(3);
    family(&q);
    saved(&q);
    scored(&q);
    reparameterized(&q);
    transported(&q);
    smooth(&q);
    divergence(&q);
}

#[test]
fn full_rank_gaussian() {
    let q = FullRankGaussian::standard(4);
    family(&q);
    saved(&q);
    scored(&q);
    reparameterized(&q);
    transported(&q);
    smooth(&q);
    divergence(&q);
}

#[test]
fn low_rank_gaussian() {
    let q = LowRankGaussian::with_rank(4, 2);
    family(&q);
    saved(&q);
    scored(&q);
    reparameterized(&q);
    transported(&q);
    smooth(&q);
    divergence(&q);
}

/// The same distribution, its covariance formed.
#[test]
fn low_rank_is_its_full_rank_twin() {
    let twin = |q: &LowRankGaussian| {
        FullRankGaussian::new(q.mean().to_vec(), &q.covariance()).expect("a covariance")
    };
    let q = at_random(&LowRankGaussian::standard(9), 3, 0.6);
    let p = at_random(&LowRankGaussian::with_rank(9, 2), 4, 0.6);
    let (full_q, full_p) = (twin(&q), twin(&p));
    assert_eq!((q.rank(), q.noise_dim()), (3, 12));
    assert_all_close("sd", &q.sd(), &full_q.sd(), 1e-12);
    for z in draws(&q, 1).0.chunks_exact(9).take(20) {
        assert_close("log_prob", q.log_prob(z), full_q.log_prob(z), 1e-11);
    }
    assert_close("KL", q.kl(&p), full_q.kl(&full_p), 1e-11);
    assert_close("entropy", q.entropy().unwrap(), full_q.entropy().unwrap(), 1e-12);
}

#[test]
fn exact_divergences_of_normals() {
    for case in exact_cases("kl_normal") {
        let normal = |which: &str| {
            let v = numbers(&case["inputs"][which]);
            MeanFieldGaussian::new(vec![v[0]], &[v[1]]).expect("a normal")
        };
        let want = case["expected"]["kl"].as_f64().expect("a number");
        assert_close("kl_normal", normal("p").kl(&normal("q")), want, 1e-12);
    }
    for case in exact_cases("kl_mvn") {
        let normal = |which: &str| {
            let mean = numbers(&case["inputs"][which]["mean"]);
            let d = mean.len();
            let covariance = numbers(&case["inputs"][which]["cov"]);
            FullRankGaussian::new(mean, &DMatrix::from_row_slice(d, d, &covariance))
                .expect("a normal")
        };
        let want = |what: &str| case["expected"][what].as_f64().expect("a number");
        assert_close("kl_mvn", normal("p").kl(&normal("q")), want("kl"), 1e-12);
        let entropy = normal("p").entropy().expect("known");
        assert_close("entropy of a normal", entropy, want("entropy_p"), 1e-12);
    }
}

#[test]
fn wrong_covariances_are_named() {
    let matrix = |rows: &[f64]| DMatrix::from_row_slice(2, 2, rows);
    let new = |rows: &[f64]| FullRankGaussian::new(vec![0.0; 2], &matrix(rows));
    message(
        new(&[1.0, 2.0, 2.0, 1.0]),
        &["E04 the covariance", "smallest eigenvalue is -1.000e0", "add 2.0e0 to the diagonal"],
    );
    message(
        new(&[1.0, 0.5, 0.25, 1.0]),
        &["E04", "not symmetric: 0.25 in row 1, column 0 but 0.5 in row 0, column 1", "(C + C^T)"],
    );
    message(new(&[1.0, f64::NAN, 0.0, 1.0]), &["E04", "row 1, column 0 is NaN", "finite"]);
    message(
        FullRankGaussian::new(vec![0.0; 3], &matrix(&[1.0, 0.0, 0.0, 1.0])),
        &["E03 the mean has 3", "a row of the covariance has 2"],
    );
    message(
        FullRankGaussian::new(vec![0.0, f64::NAN], &matrix(&[1.0, 0.0, 0.0, 1.0])),
        &["E10 mean[1] is NaN", "finite"],
    );
    let factor = |rows: &[f64]| FullRankGaussian::from_cholesky(vec![0.0; 2], &matrix(rows));
    message(
        factor(&[1.0, 0.5, 0.5, 1.0]),
        &["E04", "row 0, column 1 is 0.5", "zeros above the diagonal"],
    );
    message(factor(&[1.0, 0.0, 0.5, -1.0]), &["E04", "row 1, column 1 is -1", "positive"]);
    message(factor(&[1.0, 0.0, f64::INFINITY, 1.0]), &["E04", "column 0 is inf", "finite"]);
    assert!(factor(&[1.0, 0.0, 0.5, 2.0]).is_ok());
}

#[test]
fn wrong_parts_of_a_low_rank_covariance_are_named() {
    let w = DMatrix::from_row_slice(2, 1, &[0.5, f64::NAN]);
    message(LowRankGaussian::from_parts(&[0.0; 2], &[1.0; 2], &w), &["E10 W[1, 0] is NaN"]);
    message(LowRankGaussian::from_parts(&[0.0; 3], &[1.0; 3], &w), &["E03 the mean has 3"]);
    message(LowRankGaussian::new(&[0.0; 2], &[1.0, -2.0], 1), &["E10 scale[1] is -2", "positive"]);
    message(LowRankGaussian::new(&[f64::INFINITY], &[1.0], 1), &["E10 mean[0] is inf", "finite"]);
    message(LowRankGaussian::new(&[0.0], &[1.0, 2.0], 1), &["E03 the mean has 1", "scale has 2"]);
    let w = DMatrix::from_row_slice(2, 1, &[0.5, -1.5]);
    let q = LowRankGaussian::from_parts(&[1.0, 2.0], &[2.0, 3.0], &w).expect("valid");
    assert_close("covariance", q.covariance()[(0, 1)], -4.5, 1e-14);
    assert_eq!(q.directions(), w);
    assert_all_close("scale", q.scale(), &[2.0, 3.0], 1e-15);
}

#[test]
fn a_damaged_file_is_refused() {
    let text = r#"{"dim":2,"lambda":[0.0,0.0,0.0,0.0]}"#;
    let error = serde_json::from_str::<FullRankGaussian>(text).expect_err("one number is missing");
    assert!(error.to_string().contains("E03 the saved lambda has 4 values"), "{error}");
}
