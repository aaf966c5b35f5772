//! What an example hands to the book: figures as SVG and fragments of text with its numbers.
//!
//! Both are files under `book/src`. An example writes them when they are missing or out of date,
//! and with `ELBO_FIGURES=check` fails instead. Numbers may differ by one and a half units of
//! their last printed digit, because the mathematics library of another platform may round
//! differently.
#![allow(dead_code, unused_imports)]

mod figure;
mod pictures;

pub use figure::Figure;
pub use pictures::{heat, labels_in_a_plane, pictures};

use std::fs;
use std::path::PathBuf;

/// Writes or checks `book/src/generated/<name>.md`, which chapters include.
#[track_caller]
pub fn fragment(name: &str, text: &str) {
    settle(&format!("generated/{name}.md"), &format!("{}\n", text.trim()));
}

/// Points from `from` to `to`, both included.
pub fn grid(from: f64, to: f64, points: usize) -> Vec<f64> {
    let step = (to - from) / (points - 1) as f64;
    (0..points).map(|i| from + step * i as f64).collect()
}

/// Brings the file up to date, or says that it is not.
#[track_caller]
fn settle(path: &str, now: &str) {
    let book = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("book/src");
    if !book.is_dir() {
        return; // the crate without its book: there is nothing to keep up to date
    }
    let file = book.join(path);
    let before = fs::read_to_string(&file).unwrap_or_default();
    let reason = match difference(&before, now) {
        None => return,
        Some(reason) => reason,
    };
    assert!(
        std::env::var("ELBO_FIGURES").as_deref() != Ok("check"),
        "book/src/{path} is out of date ({reason}); run this example without ELBO_FIGURES=check and commit the file"
    );
    let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
    if let Err(error) = folder.and_then(|()| fs::write(&file, now)) {
        eprintln!("book/src/{path} was not written: {error}");
    }
}

/// The first place where two texts differ by more than rounding.
fn difference(before: &str, now: &str) -> Option<String> {
    let (a, b) = (tokens(before), tokens(now));
    if a.len() != b.len() {
        return Some(format!("{} pieces where there were {}", b.len(), a.len()));
    }
    let differs = |(a, b): &(&&str, &&str)| !same(a, b);
    a.iter().zip(&b).find(differs).map(|(a, b)| format!("`{b}` where there was `{a}`"))
}

/// Cuts a text into numbers and what stands between them.
fn tokens(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let numeric = |i: usize| bytes[i].is_ascii_digit() || bytes[i] == b'.';
    let mut cuts = vec![0];
    cuts.extend(
        (1..bytes.len()).filter(|&i| text.is_char_boundary(i) && numeric(i) != numeric(i - 1)),
    );
    cuts.push(bytes.len());
    cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect()
}

/// Equal, or two numbers within one and a half units of the last printed digit.
fn same(a: &str, b: &str) -> bool {
    let (Ok(x), Ok(y)) = (a.parse::<f64>(), b.parse::<f64>()) else { return a == b };
    let digits = |s: &str| s.find('.').map_or(0, |dot| s.len() - dot - 1);
    (x - y).abs() <= 1.5 * 10f64.powi(-(digits(a).min(digits(b)) as i32))
}

/// The integral of `f` over `[from, to]` by the trapezoidal rule with `points` points. For a smooth
/// function that has died away at both ends the error falls faster than any power of the spacing.
pub fn integrate(from: f64, to: f64, points: usize, f: impl Fn(f64) -> f64) -> f64 {
    let step = (to - from) / (points - 1) as f64;
    let inner: f64 = (1..points - 1).map(|i| f(from + step * i as f64)).sum();
    step * (inner + 0.5 * (f(from) + f(to)))
}
