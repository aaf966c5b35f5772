//! Priors of a Bayesian mixture: two that follow the data, and the check of any.

use nalgebra::DMatrix;

use super::belief::Belief;
use super::{Layout, Weights};
use crate::data::View;
use crate::error::Error;
use crate::models::gaussian_mixture::Prior;
use crate::triangle;

impl Prior {
    /// The prior a [`BayesianMixture`](super::BayesianMixture) takes unless told otherwise, which
    /// is that of scikit-learn (up to its divisor `n - 1`): concentration `1 / components`, means
    /// about the mean of the data with the weight of one row, `d` degrees of freedom and the
    /// covariance of the data as scale. It expects precisions `d` times that of the data.
    ///
    /// Where a file cannot be read any more the scale is NaN, which no mixture takes.
    pub fn one_row<'a>(data: impl Into<View<'a>>, components: usize) -> Prior {
        let data = data.into();
        let (dim, mean) = (data.dim(), data.mean());
        let scale = data.covariance().unwrap_or_else(|_| vec![f64::NAN; dim * dim]);
        let concentration = 1.0 / components.max(1) as f64;
        Prior { concentration, mean, shrinkage: 1.0, degrees: dim as f64, scale }
    }

    /// The same with `d` times that scale, which expects the precision of the data.
    pub fn calibrated<'a>(data: impl Into<View<'a>>, components: usize) -> Prior {
        let data = data.into();
        let mut prior = Prior::one_row(data, components);
        prior.scale.iter_mut().for_each(|s| *s *= data.dim() as f64);
        prior
    }

    /// The same as a distribution of the parameters of `k` components.
    pub(super) fn belief(
        &self,
        k: usize,
        layout: Layout,
        weights: Weights,
    ) -> Result<Belief, Error> {
        let dim = layout.dim;
        Error::expect_len("the mean of the prior", self.mean.len(), "a row", dim)?;
        Error::expect_len("the scale of the prior", self.scale.len(), "dim * dim", dim * dim)?;
        if let Some(j) = self.mean.iter().position(|m| !m.is_finite()) {
            let place = format!("mean[{j}] of the prior");
            return Err(Error::option(&place, self.mean[j], "it must be finite"));
        }
        let more_than = |name: &str, x: f64, least: f64, remedy: &str| {
            if x > least && x.is_finite() { Ok(()) } else { Err(Error::option(name, x, remedy)) }
        };
        more_than("concentration", self.concentration, 0.0, "take more than 0")?;
        more_than("shrinkage", self.shrinkage, 0.0, "take more than 0")?;
        let least = layout.block() as f64 - 1.0;
        let remedy = format!("take more than {least}: a density needs it");
        more_than("degrees", self.degrees, least, &remedy)?;
        let mut block = vec![0.0; layout.len()];
        layout.add_matrix(1.0 / layout.repeats(), |i, j| self.scale[i * dim + j], &mut block);
        if layout.block() > 1 {
            let matrix = DMatrix::from_row_slice(dim, dim, &self.scale);
            triangle::from_covariance("the scale of the prior", dim, &matrix)?;
        } else if let Some(j) = block.iter().position(|s| !(*s > 0.0 && s.is_finite())) {
            let place = format!("the scale of the prior in column {j}");
            return Err(Error::option(&place, block[j], "it must be positive and finite"));
        }
        let groups = layout.groups(k);
        let mut belief = Belief {
            layout,
            weights,
            concentration: weights.prior(k, self.concentration),
            worth: vec![self.shrinkage; k],
            mean: self.mean.repeat(k),
            degrees: vec![self.degrees; groups],
            root: vec![0.0; groups * block.len()],
            scale: block.repeat(groups),
        };
        belief.factorize();
        Ok(belief)
    }
}
