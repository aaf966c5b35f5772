//! `check_model`: is the gradient the slope of the log joint? Where not, which coordinate is worst?

use std::fmt;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::checkpoint::inside;
use crate::error::Error;
use crate::lossless;
use crate::model::Differentiable;
use crate::noise::{Purpose, stream};
use crate::start::depends_on_all;
use crate::warning::{Code, Warning};
use crate::witness::{Witness, short};

/// What [`check_model`] found. Displays on one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelCheck {
    /// How many points were looked at.
    pub points: usize,
    /// The coordinate whose gradient is worst, and where.
    pub worst: Option<Slope>,
    /// Whether every gradient was the slope, within the error of the differences.
    pub agrees: bool,
    /// A point at which the log joint or its gradient was not finite.
    pub not_finite: Option<Witness>,
    /// Whether the batch method gives what the method for one point gives, to rounding.
    pub batch_agrees: bool,
    /// A coordinate the log joint does not depend on: an improper posterior.
    pub flat: Option<String>,
}

/// A gradient beside the slope it should be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slope {
    /// The coordinate.
    pub name: String,
    /// What the model says.
    #[serde(with = "lossless::one")]
    pub gradient: f64,
    /// The central difference.
    #[serde(with = "lossless::one")]
    pub difference: f64,
    /// By how much they may differ, from rounding and curvature.
    #[serde(with = "lossless::one")]
    pub tolerance: f64,
    /// The point, in the model's own coordinates.
    #[serde(with = "lossless::many")]
    pub point: Vec<f64>,
}

impl Slope {
    /// How many tolerances they are apart.
    fn off(&self) -> f64 {
        let off = (self.gradient - self.difference).abs() / self.tolerance;
        if off.is_nan() { f64::INFINITY } else { off }
    }
}

impl ModelCheck {
    /// Whether nothing is wrong.
    pub fn passed(&self) -> bool {
        self.agrees && self.batch_agrees && self.not_finite.is_none() && self.flat.is_none()
    }

    /// The gradient warning, where the gradient is not the slope.
    pub fn warning(&self) -> Option<Warning> {
        let worst = self.worst.as_ref().filter(|_| !self.agrees)?;
        let message = format!(
            "the gradient in `{}` is {} but the slope of log_joint is {}",
            worst.name,
            short(worst.gradient),
            short(worst.difference)
        );
        let warning = Warning::new(Code::Gradient, message)
            .try_this("look at the terms of log_joint_grad that hold this coordinate");
        Some(warning.try_this("write the model as a LogJoint in Autodiff"))
    }
}

impl fmt::Display for ModelCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = self.points;
        if let Some(warning) = self.warning() {
            return write!(f, "{} {}", warning.code, warning.message);
        }
        if let Some(witness) = &self.not_finite {
            return write!(f, "not finite: {witness}");
        }
        if let Some(name) = &self.flat {
            return write!(f, "{}", Error::Improper { name: name.clone() });
        }
        if !self.batch_agrees {
            return write!(f, "log_joint_grad_batch differs from log_joint_grad draw by draw");
        }
        match &self.worst {
            Some(worst) => write!(
                f,
                "OK: the gradient is the slope at {points} points; worst `{}`: {} against {}",
                worst.name,
                short(worst.gradient),
                short(worst.difference)
            ),
            None => write!(f, "OK: nothing to differentiate"),
        }
    }
}

/// How many points [`check_model`] looks at.
const POINTS: u64 = 5;

/// Compares the gradient with central differences, the batch method with single draws, and looks
/// for a coordinate the log joint does not depend on, at five points inside the support.
///
/// The differences are taken with steps `h` and `2h`, `h` the cube root of the machine epsilon
/// times `max(1, |z_i|)`; their own disagreement and the rounding of the log joint say how well they
/// are known, and a gradient must lie within that.
///
/// ```
/// use elbo::{check_model, density, from_fn, Space};
/// let mut space = Space::new();
/// let tau = space.positive("tau");
/// let model = from_fn(space, move |z| density::exponential(z[tau], 1.0)).unconstrained();
/// # use elbo::Model;
/// let report = check_model(&model);
/// assert!(report.passed(), "{report}");
/// assert!(report.to_string().starts_with("OK: the gradient is the slope at 5 points"));
/// ```
pub fn check_model<M: Differentiable>(model: &M) -> ModelCheck {
    let space = model.space();
    let points = (0..POINTS).filter_map(|k| {
        let rng: &mut dyn Rng = &mut stream(k, Purpose::Start, 2);
        inside(&space, rng)
    });
    check_model_at(model, &points.collect::<Vec<_>>())
}

/// [`check_model`] at points of one's own.
pub fn check_model_at<M: Differentiable>(model: &M, points: &[Vec<f64>]) -> ModelCheck {
    let names = model.space().coordinate_names();
    let mut report = ModelCheck {
        points: points.len(),
        worst: None,
        agrees: true,
        not_finite: None,
        batch_agrees: true,
        flat: None,
    };
    let d = model.dim();
    let mut single = Vec::new();
    for z in points {
        let mut grad = vec![0.0; d];
        let here = model.log_joint_grad(z, &mut grad);
        let bad = grad.iter().position(|g| !g.is_finite());
        if !here.is_finite() || bad.is_some() {
            let mut witness = Witness::at(model, z);
            witness.coordinate = bad.and_then(|i| names.get(i).cloned());
            report.not_finite.get_or_insert(witness);
        } else {
            for i in 0..d {
                let name = names.get(i).cloned().unwrap_or_else(|| format!("z[{i}]"));
                let slope = slope(model, z, i, name, grad[i], here);
                report.agrees &= slope.off() <= 1.0;
                if report.worst.as_ref().is_none_or(|worst| slope.off() > worst.off()) {
                    report.worst = Some(slope);
                }
            }
            if let Err(Error::Improper { name }) = depends_on_all(model, z, here) {
                report.flat = Some(name);
            }
        }
        single.push((here, grad));
    }
    let (mut out, mut grads) = (vec![0.0; points.len()], vec![0.0; d * points.len()]);
    let mut theta = vec![0.0; model.n_theta()];
    model.log_joint_grad_batch(&points.concat(), &mut out, &mut grads, &mut theta);
    let same = |a: f64, b: f64| (a - b).abs() <= 1e-10 * (1.0 + a.abs()) || !a.is_finite();
    for (s, (here, grad)) in single.iter().enumerate() {
        let batch = &grads[s * d..(s + 1) * d];
        report.batch_agrees &=
            same(*here, out[s]) && grad.iter().zip(batch).all(|(&a, &b)| same(a, b));
    }
    report
}

/// The gradient in coordinate `i` beside its central difference.
fn slope<M: Differentiable>(
    model: &M,
    z: &[f64],
    i: usize,
    name: String,
    gradient: f64,
    here: f64,
) -> Slope {
    let h = f64::EPSILON.cbrt() * z[i].abs().max(1.0);
    let mut moved = z.to_vec();
    let mut at = |to: f64| {
        moved[i] = to;
        model.log_joint(&moved)
    };
    let mut central = |h: f64| {
        let (above, below) = (z[i] + h, z[i] - h);
        (at(above) - at(below)) / (above - below)
    };
    let (difference, wider) = (central(h), central(2.0 * h));
    // The error of the curvature is about a third of this, that of rounding a few units in the
    // last place of the log joint over the step.
    let rounding = 32.0 * f64::EPSILON * (1.0 + here.abs()) / h;
    let tolerance = (wider - difference).abs() + rounding;
    Slope { name, gradient, difference, tolerance, point: z.to_vec() }
}
