//! Floats in JSON without loss: infinities and NaN are written as words, which JSON numbers lack.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Clone, Copy)]
struct Float(f64);

impl Serialize for Float {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            x if x.is_finite() => serializer.serialize_f64(x),
            x if x.is_nan() => serializer.serialize_str("NaN"),
            x if x > 0.0 => serializer.serialize_str("inf"),
            _ => serializer.serialize_str("-inf"),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Number(f64),
    Word(String),
}

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Text::deserialize(deserializer)? {
            Text::Number(x) => Ok(Float(x)),
            Text::Word(word) => match word.as_str() {
                "NaN" => Ok(Float(f64::NAN)),
                "inf" => Ok(Float(f64::INFINITY)),
                "-inf" => Ok(Float(f64::NEG_INFINITY)),
                _ => Err(serde::de::Error::custom(format!("`{word}` is not a number"))),
            },
        }
    }
}

macro_rules! with {
    ($module:ident, $type:ty, $to:expr, $from:expr) => {
        pub(crate) mod $module {
            use super::*;

            pub(crate) fn serialize<S: Serializer>(x: &$type, s: S) -> Result<S::Ok, S::Error> {
                #[allow(clippy::redundant_closure_call)]
                ($to)(x).serialize(s)
            }
            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<$type, D::Error> {
                Deserialize::deserialize(d).map($from)
            }
        }
    };
}

with!(one, f64, |x: &f64| Float(*x), |x: Float| x.0);
with!(maybe, Option<f64>, |x: &Option<f64>| x.map(Float), |x: Option<Float>| x.map(|x| x.0));
with!(many, Vec<f64>, |x: &Vec<f64>| x.iter().copied().map(Float).collect::<Vec<_>>(), |x: Vec<
    Float,
>| x
    .into_iter()
    .map(|x| x.0)
    .collect());
with!(
    columns,
    Vec<Vec<f64>>,
    |x: &Vec<Vec<f64>>| {
        x.iter().map(|x| x.iter().copied().map(Float).collect()).collect::<Vec<Vec<_>>>()
    },
    |x: Vec<Vec<Float>>| x.into_iter().map(|x| x.into_iter().map(|x| x.0).collect()).collect()
);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Numbers {
        #[serde(with = "many")]
        many: Vec<f64>,
        #[serde(with = "maybe")]
        none: Option<f64>,
        #[serde(with = "one")]
        one: f64,
    }

    #[test]
    fn every_bit_comes_back() {
        let many =
            vec![0.1, -0.0, f64::MIN_POSITIVE / 8.0, f64::MAX, f64::NEG_INFINITY, f64::INFINITY];
        let json = serde_json::to_string(&Numbers { many, none: None, one: f64::NAN }).unwrap();
        let back: Numbers = serde_json::from_str(&json).unwrap();
        let again = serde_json::to_string(&back).unwrap();
        assert_eq!(json, again);
        assert_eq!(back.many[0].to_bits(), 0.1f64.to_bits());
        assert_eq!(back.many[1].to_bits(), (-0.0f64).to_bits());
        assert_eq!(back.many[5], f64::INFINITY);
        assert!(back.one.is_nan() && back.none.is_none());
    }
}
