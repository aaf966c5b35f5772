//! What the tests share: reference data where it is present, and comparisons that read as sentences.
#![allow(dead_code)]

use std::path::PathBuf;

/// A file of reference answers beside the project, or `None` (said aloud) where it is not present.
pub fn shared(path: &str) -> Option<PathBuf> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path);
    if file.exists() {
        return Some(file);
    }
    eprintln!("reference data {path} not present: this comparison was not made");
    None
}

/// The reference cases of a group, as (id, inputs, expected, tol); empty where not present.
pub fn exact_cases(group: &str) -> Vec<serde_json::Value> {
    let Some(file) = shared("exact/cases.json") else { return Vec::new() };
    let text = std::fs::read_to_string(file).expect("the file of exact cases is readable");
    let all: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let cases = all["cases"].as_array().expect("it has cases");
    cases.iter().filter(|c| c["group"] == group).cloned().collect()
}

/// Numbers out of a JSON array, row by row if nested.
pub fn numbers(value: &serde_json::Value) -> Vec<f64> {
    match value {
        serde_json::Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().expect("a number")],
    }
}

/// Fails unless `|got - want| <= tol (1 + |want|)`.
#[track_caller]
pub fn assert_close(what: &str, got: f64, want: f64, tol: f64) {
    let off = (got - want).abs();
    assert!(off <= tol * (1.0 + want.abs()), "{what}: got {got}, want {want}, off by {off:e}");
}

/// The same for each pair.
#[track_caller]
pub fn assert_all_close(what: &str, got: &[f64], want: &[f64], tol: f64) {
    assert_eq!(got.len(), want.len(), "{what}: lengths differ");
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        assert_close(&format!("{what}[{i}]"), g, w, tol);
    }
}

/// The first columns of a file of reference data with a header, row after row; `None` (said aloud)
/// where it is not present.
pub fn table(path: &str, columns: usize) -> Option<Vec<f64>> {
    let mut reader = csv::Reader::from_path(shared(path)?).expect("the file is readable");
    let mut cells = Vec::new();
    for row in reader.records() {
        let row = row.expect("a row of a table");
        cells.extend((0..columns).map(|j| row[j].trim().parse::<f64>().expect("a number")));
    }
    Some(cells)
}
