//! A look at the place where a fit would start, before any step is taken.

use rand::Rng;

use crate::bijector::Support;
use crate::caught::Caught;
use crate::error::Error;
use crate::family::Family;
use crate::model::Model;
use crate::scalar::Scalar;
use crate::witness::sentence;

/// How many draws may be tried before the start counts as hopeless.
const DRAWS: usize = 10;
/// Up to how many coordinates each is looked at by itself.
const COORDINATES: usize = 128;

/// Fails where no draw of `q` has a finite log joint, and where the log joint does not depend on
/// a coordinate.
pub(crate) fn look<T: Scalar, M: Model<T>, Q: Family<T>>(
    model: &M,
    q: &Q,
    rng: &mut dyn Rng,
) -> Result<(), Error> {
    let mut z = vec![T::default(); q.dim()];
    let mut first = None;
    for _ in 0..DRAWS {
        q.sample(rng, &mut z);
        let log_joint = model.log_joint(&z);
        if log_joint.is_finite() {
            return depends_on_all(model, &z, log_joint);
        }
        first.get_or_insert((model.natural(&z), log_joint));
    }
    let Some((point, value)) = first else { return Ok(()) };
    let remedy = if value == f64::NEG_INFINITY {
        "every draw of q lies outside the support: declare the supports of the coordinates (space.positive, space.unit, ..), or start q where the density is not zero"
    } else if value == f64::INFINITY {
        "a log density is never infinite: look for a scale of 0 or a division by 0"
    } else {
        "look there for the logarithm or root of a negative number, or 0/0; or start q elsewhere"
    };
    let point = sentence(&model.space().names(), &point);
    Err(Error::Start { value, point, remedy: remedy.to_string() })
}

/// Far away in every unbounded coordinate, on both sides, a posterior must have fallen.
pub(crate) fn depends_on_all<T: Scalar, M: Model<T>>(
    model: &M,
    z: &[T],
    here: f64,
) -> Result<(), Error> {
    let space = model.space();
    if z.len() > COORDINATES || z.len() != space.dim() {
        return Ok(());
    }
    for i in 0..z.len() {
        let Some((support, moved)) = space.coordinate(i) else { continue };
        // The two far values, and by how much a log joint without z_i differs there.
        let at = z[i].to_f64();
        let far = match (support, moved) {
            (Support::Real, _) => [(at - 1e8, 0.0), (at + 1e8, 0.0)],
            (Support::Positive | Support::Lower(_) | Support::Upper(_), true) => {
                [(at - 18.0, -18.0), (at + 18.0, 18.0)]
            }
            (Support::Positive, false) => [(at * 1e-8, 0.0), (at * 1e8, 0.0)],
            _ => continue,
        };
        let same = far.iter().all(|&(to, change)| {
            let mut there = z.to_vec();
            there[i] = T::from_f64(to);
            let value = Caught::by(|| model.log_joint(&there));
            value.is_ok_and(|v| (v - here - change).abs() <= 1e-6 * (1.0 + 1e-6 * here.abs()))
        });
        if same {
            return Err(Error::Improper { name: space.names().swap_remove(i) });
        }
    }
    Ok(())
}
