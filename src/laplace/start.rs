//! `start`: a point at which the log joint and its gradient are finite.

use rand::distr::{Distribution, Uniform};

use crate::error::Error;
use crate::model::Differentiable;
use crate::noise::{Purpose, stream};
use crate::space::Space;

/// How many random points are tried.
const TRIES: u64 = 100;
/// How many coordinates a message names.
const NAMED: usize = 12;

/// A point to start from, in the model's own coordinates: `at` if given, else the origin if the log
/// joint and its gradient are finite there, else the first such point of 100 drawn uniformly from
/// `(-2, 2)` in each coordinate.
///
/// # Errors
/// E03 if `at` has another length than the model; E05 with the point by names on the natural scale
/// if no point will do.
pub fn start<M: Differentiable>(
    model: &M,
    at: Option<&[f64]>,
    seed: u64,
) -> Result<Vec<f64>, Error> {
    let d = model.dim();
    let mut grad = vec![0.0; d];
    let mut look = |z: &[f64]| {
        let value = model.log_joint_grad(z, &mut grad);
        let slope = grad.iter().position(|g| !g.is_finite());
        (value, if value.is_finite() { slope } else { None })
    };
    let fine = |(value, slope): (f64, Option<usize>)| value.is_finite() && slope.is_none();
    if let Some(at) = at {
        Error::expect_len("the start", at.len(), "the model", d)?;
        let seen = look(at);
        if fine(seen) {
            return Ok(at.to_vec());
        }
        let remedy = "give a start inside the support, or leave it out and one is looked for";
        return Err(no_start(&model.space(), at, seen, remedy));
    }
    let mut z = vec![0.0; d];
    let origin = look(&z);
    if fine(origin) {
        return Ok(z);
    }
    let uniform = Uniform::new(-2.0, 2.0).map_err(|e| Error::option("start", e, "none"))?;
    for k in 0..TRIES {
        let mut rng = stream(seed, Purpose::Start, k);
        z.iter_mut().for_each(|z| *z = uniform.sample(&mut rng));
        if fine(look(&z)) {
            return Ok(z);
        }
    }
    let remedy = "100 points around it were no better: look for a logarithm or a division of zero \
                  in the log joint, or give a start";
    Err(no_start(&model.space(), &vec![0.0; d], origin, remedy))
}

fn no_start(space: &Space, z: &[f64], (value, slope): (f64, Option<usize>), remedy: &str) -> Error {
    let remedy = match slope.and_then(|i| space.coordinate_names().into_iter().nth(i)) {
        Some(name) => format!("its slope in `{name}` is not finite; {remedy}"),
        None => remedy.to_string(),
    };
    Error::Start { value, point: describe(space, z), remedy }
}

/// A point by name on the natural scale: `(mu = 0, tau = 1)`.
pub(crate) fn describe(space: &Space, z: &[f64]) -> String {
    let mut natural = vec![0.0; space.natural_dim()];
    space.constrain(z, &mut natural);
    let named = space.names().into_iter().zip(&natural).map(|(name, x)| format!("{name} = {x}"));
    let mut words: Vec<String> = named.take(NAMED).collect();
    if natural.len() > NAMED {
        words.push(format!("and {} more", natural.len() - NAMED));
    }
    format!("({})", words.join(", "))
}
