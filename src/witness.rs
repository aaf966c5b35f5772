//! `Witness`: a step that was not finite, in enough detail to look at it again.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::estimator::NonFinite;
use crate::lossless;
use crate::model::Model;
use crate::scalar::Scalar;

/// A draw at which the log joint, `log q` or the gradient was not finite. Displays as a sentence.
///
/// ```
/// use elbo::{from_fn, Model, Real, Space, Witness};
/// let mut space = Space::new();
/// let x = space.real("x");
/// let model = from_fn(space, move |z| z[x].ln());
/// let witness = Witness::at(&model, &[-1.0]);
/// assert!(witness.log_joint.is_nan() && witness.replay(&model).is_nan());
/// assert!(witness.to_string().contains("log_joint is NaN at x = -1"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Witness {
    /// The step, counted from 0.
    pub step: usize,
    /// Which of the step's draws; `None` where each was finite but their sum was not.
    pub draw: Option<usize>,
    /// The point in the model's own coordinates; empty without a draw.
    #[serde(with = "lossless::many")]
    pub z: Vec<f64>,
    /// Names of those coordinates, such as `log(tau)`.
    pub names: Vec<String>,
    /// The point on the natural scale.
    #[serde(with = "lossless::many")]
    pub natural: Vec<f64>,
    /// Names on the natural scale, such as `tau`.
    pub natural_names: Vec<String>,
    /// `log p(x, z)` there.
    #[serde(with = "lossless::one")]
    pub log_joint: f64,
    /// `log q(z)` there.
    #[serde(with = "lossless::one")]
    pub log_q: f64,
    /// The first coordinate whose gradient is not finite, where log joint and log q are.
    pub coordinate: Option<String>,
}

/// How many coordinates a sentence shows.
const SHOWN: usize = 8;

/// `mu = 1.5, tau = 0.2`
pub(crate) fn sentence(names: &[String], values: &[f64]) -> String {
    let shown = names.iter().zip(values).take(SHOWN).map(|(n, v)| format!("{n} = {}", short(*v)));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if values.len() > SHOWN {
        text += &format!(", .. ({} more)", values.len() - SHOWN);
    }
    text
}

/// Six significant digits at most, as short as they go.
pub(crate) fn short(x: f64) -> String {
    let rounded: f64 = format!("{x:.5e}").parse().unwrap_or(x);
    match rounded.abs() {
        0.0 => "0".to_string(),
        size if (1e-4..1e7).contains(&size) || !x.is_finite() => format!("{rounded}"),
        _ => format!("{rounded:e}"),
    }
}

impl Witness {
    /// The point `z` of a model, with its names on both scales and the log joint there.
    pub fn at<T: Scalar>(model: &impl Model<T>, z: &[f64]) -> Witness {
        let point: Vec<T> = z.iter().map(|&z| T::from_f64(z)).collect();
        let log_joint = model.log_joint(&point);
        let bad = NonFinite { draw: 0, z: z.to_vec(), log_joint, log_q: 0.0, coordinate: None };
        Witness::new(0, &bad, model)
    }

    pub(crate) fn new<T: Scalar>(step: usize, bad: &NonFinite, model: &impl Model<T>) -> Witness {
        let space = model.space();
        let NonFinite { draw, z, log_joint, log_q, coordinate } = bad.clone();
        let summed = z.is_empty() && space.dim() > 0;
        let coordinate = coordinate.map(|i| match space.coordinate_names().get(i) {
            Some(name) if !summed => name.clone(),
            _ => format!("parameter {i}"),
        });
        let known = !summed && z.len() == space.dim();
        let point: Vec<T> = z.iter().map(|&z| T::from_f64(z)).collect();
        Witness {
            step,
            draw: (!summed).then_some(draw),
            natural: if known { model.natural(&point) } else { Vec::new() },
            natural_names: if known { space.names() } else { Vec::new() },
            names: if known { space.coordinate_names() } else { Vec::new() },
            z,
            log_joint,
            log_q,
            coordinate,
        }
    }

    /// The log joint of `model` at the point, evaluated again: what a debugger wants to step into.
    pub fn replay<T: Scalar>(&self, model: &impl Model<T>) -> f64 {
        let z: Vec<T> = self.z.iter().map(|&z| T::from_f64(z)).collect();
        model.log_joint(&z)
    }

    /// The point on the natural scale and, where they differ, in the model's coordinates.
    fn point(&self) -> String {
        let natural = sentence(&self.natural_names, &self.natural);
        let moved = |i: &usize| self.natural_names.get(*i) != self.names.get(*i);
        let moved: Vec<usize> = (0..self.z.len()).filter(moved).collect();
        if moved.is_empty() || self.natural.len() != self.z.len() {
            return natural;
        }
        let names: Vec<String> = moved.iter().map(|&i| self.names[i].clone()).collect();
        let values: Vec<f64> = moved.iter().map(|&i| self.z[i]).collect();
        format!("{natural} ({})", sentence(&names, &values))
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}", self.step)?;
        let Some(draw) = self.draw else {
            let what = self.coordinate.as_deref().unwrap_or("its length");
            return write!(
                f,
                ": every draw was finite but the gradient of the ELBO was not ({what}); the step is too large or `q` has run away"
            );
        };
        let point = self.point();
        write!(f, ", draw {draw}: ")?;
        match &self.coordinate {
            _ if !self.log_joint.is_finite() => write!(f, "log_joint is {}", self.log_joint)?,
            _ if !self.log_q.is_finite() => write!(f, "log q is {}", self.log_q)?,
            Some(name) => write!(f, "the gradient in `{name}` is not finite")?,
            None => write!(f, "not finite")?,
        }
        write!(f, " at {point}")?;
        if self.log_joint == f64::INFINITY {
            write!(f, "; a log joint without limit has no best q")
        } else if self.log_joint == f64::NEG_INFINITY {
            write!(f, "; a coordinate outside its support? declare it (positive, unit, ..)")
        } else {
            Ok(())
        }
    }
}
