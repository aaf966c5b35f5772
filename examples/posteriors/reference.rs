//! `Reference`: what a posterior really is, and how far a fit is from it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::case::{Case, Data};

/// A file with data, and a file with the reference.
pub fn read(folder: &Path) -> Result<(Data, Reference), String> {
    let json = |name: &str| {
        let file = folder.join(name);
        let text = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        serde_json::from_str::<Value>(&text).map_err(|e| format!("{}: {e}", file.display()))
    };
    let reference = serde_json::from_value(json("reference.json")?).map_err(|e| e.to_string())?;
    Ok((Data(json("data.json")?), reference))
}

/// The part of `reference.json` that is used here.
#[derive(Deserialize)]
pub struct Reference {
    parameters: BTreeMap<String, Moments>,
    exact: Option<Exact>,
    log_normaliser: Option<LogNormaliser>,
    log_joint_check: Check,
}

#[derive(Clone, Copy, Deserialize)]
struct Moments {
    mean: f64,
    sd: f64,
}

#[derive(Deserialize)]
struct Exact {
    mean: BTreeMap<String, f64>,
    sd: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct LogNormaliser {
    value: f64,
    se: f64,
    reliable: Option<bool>,
}

#[derive(Deserialize)]
struct Check {
    points: Vec<Point>,
}

#[derive(Deserialize)]
struct Point {
    parameters: BTreeMap<String, Value>,
    log_joint: f64,
}

/// How far a fit is from the reference, over the reported parameters.
pub struct Score {
    /// Average of `|mean - true mean| / true sd`.
    pub z_mean: f64,
    /// The largest of the same.
    pub z_max: f64,
    /// Average of `log(sd / true sd)`.
    pub r_mean: f64,
    /// Average of its absolute value.
    pub r_abs: f64,
}

impl Reference {
    /// The log normaliser and its standard error, where it can be relied on.
    pub fn log_normaliser(&self) -> Option<(f64, f64)> {
        let known = self.log_normaliser.as_ref()?;
        (known.reliable != Some(false)).then_some((known.value, known.se))
    }

    /// Compares the model's log joint with the reference values at some points.
    pub fn check(&self, case: &Case, tolerance: f64) -> Result<(), String> {
        for (k, point) in self.log_joint_check.points.iter().enumerate() {
            let named = flat(&point.parameters);
            let want = point.log_joint;
            let got = case
                .log_joint_at(|name| named.get(name).copied())
                .ok_or(format!("check point {} lacks a parameter of the model", k + 1))?;
            let off = (got - want).abs() / want.abs().max(1.0);
            if off.is_nan() || off > tolerance {
                return Err(format!(
                    "at check point {} the log joint is {got}, not {want}: off by {off:.1e}, \
                     allowed {tolerance:.0e}",
                    k + 1
                ));
            }
        }
        Ok(())
    }

    /// Scores draws of the reported parameters, one draw after another.
    pub fn score(&self, names: &[String], draws: &[f64]) -> Result<Score, String> {
        let count = (draws.len() / names.len()) as f64;
        let (mut z, mut r) = (Vec::new(), Vec::new());
        for (i, name) in names.iter().enumerate() {
            let truth = self.moments(name).ok_or(format!("no reference for `{name}`"))?;
            let values = || draws.iter().skip(i).step_by(names.len());
            let mean = values().sum::<f64>() / count;
            let variance = values().map(|x| (x - mean).powi(2)).sum::<f64>() / (count - 1.0);
            z.push((mean - truth.mean).abs() / truth.sd);
            r.push(variance.sqrt().ln() - truth.sd.ln());
        }
        let average = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
        Ok(Score {
            z_mean: average(&z),
            z_max: z.iter().copied().fold(0.0, f64::max),
            r_mean: average(&r),
            r_abs: average(&r.iter().map(|r| r.abs()).collect::<Vec<_>>()),
        })
    }

    /// By quadrature where there is one, else from the reference draws.
    fn moments(&self, name: &str) -> Option<Moments> {
        let exact = self.exact.as_ref().and_then(|exact| {
            Some(Moments { mean: *exact.mean.get(name)?, sd: *exact.sd.get(name)? })
        });
        exact.or_else(|| self.parameters.get(name).copied())
    }
}

/// `{"mu": 1, "theta": [2, 3]}` as `mu`, `theta[1]`, `theta[2]`.
fn flat(parameters: &BTreeMap<String, Value>) -> BTreeMap<String, f64> {
    let mut named = BTreeMap::new();
    for (name, value) in parameters {
        match value {
            Value::Array(values) => named.extend(
                values
                    .iter()
                    .enumerate()
                    .filter_map(|(i, v)| Some((format!("{name}[{}]", i + 1), v.as_f64()?))),
            ),
            value => named.extend(value.as_f64().map(|v| (name.clone(), v))),
        }
    }
    named
}
