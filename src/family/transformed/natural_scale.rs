//! `NaturalScale`: the map from `R^k` to the supports that a space declares.

use serde::{Deserialize, Serialize};

use super::Bijection;
use crate::autodiff::{Program, Want, record, with_workspace};
use crate::bijector::Support;
use crate::scratch::with_buffer;
use crate::space::Space;

/// From unconstrained coordinates to those of a [`Space`]: a family fitted to an
/// [`Unconstrained`](crate::Unconstrained) model becomes a density on the natural scale.
///
/// ```
/// use elbo::{Bijection, NaturalScale, Space};
/// let mut space = Space::new();
/// space.real("mu");
/// space.unit("bias");
/// let map = NaturalScale::new(&space);
/// let mut z = [0.0; 2];
/// let log_det = map.forward(&[3.0, 0.0], &mut z);
/// assert_eq!(z, [3.0, 0.5]);
/// assert!((log_det - 0.25f64.ln()).abs() < 1e-15);
/// assert_eq!(map.inverse(&[0.0, 1.5], &mut z), None);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Space", into = "Space")]
pub struct NaturalScale {
    /// Its blocks in `R^k`.
    moved: Space,
    natural: Space,
    /// Outputs: the natural coordinates, then `log|det J|`.
    program: Program,
}

impl PartialEq for NaturalScale {
    fn eq(&self, other: &Self) -> bool {
        self.moved == other.moved
    }
}

impl From<Space> for NaturalScale {
    fn from(space: Space) -> NaturalScale {
        NaturalScale::new(&space)
    }
}

impl From<NaturalScale> for Space {
    fn from(map: NaturalScale) -> Space {
        map.natural
    }
}

impl NaturalScale {
    /// The map onto the natural scale of `space`, whose blocks may have been moved or not.
    pub fn new(space: &Space) -> NaturalScale {
        let (moved, natural) = (space.unconstrained(), space.natural());
        let n = natural.dim();
        let program = record(moved.dim(), |u, outputs| {
            outputs.resize(n, 0.0.into());
            let log_det = moved.constrain(u, outputs);
            outputs.push(log_det);
        });
        NaturalScale { moved, natural, program }
    }

    /// Names and supports of the image.
    pub fn space(&self) -> &Space {
        &self.natural
    }
}

impl Bijection for NaturalScale {
    fn dim(&self) -> usize {
        self.moved.dim()
    }
    fn image_dim(&self) -> usize {
        self.natural.dim()
    }
    fn support(&self, i: usize) -> Support {
        self.natural.support(i)
    }
    fn forward(&self, y: &[f64], z: &mut [f64]) -> f64 {
        self.moved.constrain(y, z)
    }
    fn inverse(&self, z: &[f64], y: &mut [f64]) -> Option<f64> {
        self.moved.unconstrain(z, y).ok()?;
        Some(with_buffer(z.len(), |z| self.moved.constrain(&*y, z)))
    }
    fn pull_back(&self, y: &[f64], dz: &[f64], weight: f64, dy: &mut [f64]) {
        with_workspace(|ws| {
            self.program.forward(1, y, Want::Both, ws);
            self.program.clear(ws);
            dz.iter().enumerate().for_each(|(i, &dz)| self.program.seed(i, 0, dz, ws));
            self.program.seed(dz.len(), 0, weight, ws);
            with_buffer(y.len(), |pull| {
                self.program.reverse(ws, pull);
                dy.iter_mut().zip(&*pull).for_each(|(dy, p)| *dy += p);
            });
        });
    }
}
