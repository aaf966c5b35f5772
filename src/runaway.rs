//! Notices an objective without limit: a coordinate of `q` that runs off and does not come back.

use std::any::Any;

use serde::{Deserialize, Serialize};

use crate::ascent::buffers_of;
use crate::bijector::Support;
use crate::error::Error;
use crate::family::Family;
use crate::model::Model;
use crate::noise::{Purpose, stream};
use crate::scalar::Scalar;
use crate::space::Space;
use crate::witness::short;

/// Steps between looks.
const EVERY: usize = 64;
/// No log evidence is as large as this.
const ELBO: f64 = 1e12;
/// Scales between e^-50 and e^50 are believed, and numbers up to 1e30.
const LOG_SCALE: f64 = 50.0;
const NUMBER: f64 = 1e30;

/// What the watch remembers.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Runaway {
    /// The coordinate farthest out at the last look, if it was too far, how far, and the ELBO.
    last: Option<(usize, f64, f64)>,
    #[serde(skip)]
    z: Option<Box<dyn Any + Send>>,
    #[serde(skip)]
    limits: Vec<f64>,
}

fn limit(space: &Space, i: usize) -> f64 {
    match space.coordinate(i) {
        Some((Support::Positive | Support::Lower(_) | Support::Upper(_), true)) => LOG_SCALE,
        Some((Support::Real, _)) | None => NUMBER,
        Some((_, true)) => 700.0,
        Some((_, false)) => NUMBER,
    }
}

impl Runaway {
    /// Whether it looks after so many steps: the first step makes the buffers.
    pub(crate) fn looks_at(steps: usize) -> bool {
        steps == 1 || steps.is_multiple_of(EVERY)
    }

    /// Looks at one draw of `q`, always made of the same noise.
    pub(crate) fn look<T: Scalar, M: Model<T>, Q: Family<T>>(
        &mut self,
        (steps, seed): (usize, u64),
        elbo: Option<f64>,
        model: &M,
        q: &Q,
    ) -> Result<(), Error> {
        let beyond_reason = elbo.is_some_and(|elbo| elbo > ELBO);
        if !Runaway::looks_at(steps) && !beyond_reason {
            return Ok(());
        }
        let d = q.dim();
        if self.limits.len() != d {
            let space = model.space();
            self.limits.clear();
            self.limits.extend((0..d).map(|i| limit(&space, i)));
        }
        let z = buffers_of::<Vec<T>>(&mut self.z);
        z.resize(d, T::default());
        q.sample(&mut stream(seed, Purpose::Start, 1), z);
        let far = |i: usize| z[i].to_f64().abs() / self.limits[i];
        let worst = (0..d).fold(0, |w, i| if far(i) > far(w) { i } else { w });
        let ratio = if d > 0 { far(worst) } else { 0.0 };
        let before = self.last.take();
        if ratio > 1.0 && ratio.is_finite() {
            self.last = Some((worst, ratio, elbo.unwrap_or(f64::MIN)));
        }
        // Iterates that fly apart run off too, but downhill.
        let going_on = match (before, self.last) {
            (Some((i, r, from)), Some((j, s, to))) => {
                i == j && s > r && to >= from - 0.1 * from.abs()
            }
            _ => false,
        };
        if !beyond_reason && !going_on {
            return Ok(());
        }
        let name = model.space().coordinate_names().get(worst).cloned().unwrap_or_default();
        let elbo = elbo.map(|elbo| format!(", ELBO {}", short(elbo))).unwrap_or_default();
        let at = z.get(worst).map(|z| short(z.to_f64())).unwrap_or_default();
        Err(Error::Unbounded {
            what: format!("after {steps} steps `{name}` has run to {at}{elbo}"),
            remedy: "look for a sign error, a scale that may shrink to 0 around a data point, or a missing prior".to_string(),
        })
    }
}
