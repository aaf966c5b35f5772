//! Numbers in JSON that may be infinite or NaN: those are written as words, which JSON's own
//! numbers cannot say.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Word(String),
}

/// Writes `x`, or `"inf"`, `"-inf"`, `"NaN"`.
pub(crate) fn serialize<S: Serializer>(x: &f64, to: S) -> Result<S::Ok, S::Error> {
    if x.is_finite() { to.serialize_f64(*x) } else { to.serialize_str(&x.to_string()) }
}

/// Reads what [`serialize`] wrote.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    match Written::deserialize(from)? {
        Written::Number(x) => Ok(x),
        Written::Word(word) => {
            word.parse().map_err(|_| D::Error::custom(format!("`{word}` is not a number")))
        }
    }
}
