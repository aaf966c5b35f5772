//! Where a climb starts, and the whole fit in one call: EM from several starts, sped up.

use nalgebra::{DMatrix, DVector};

use super::{FactorAnalysis, Scores};
use crate::ascent::{Anderson, EStep, MStep};
use crate::error::Error;
use crate::fit::{Fit, Options, fit};
use crate::noise::{Purpose, fill_normal, stream};
use crate::restarts::{Restarted, restarts};

/// How many starts.
const STARTS: usize = 10;
/// How many rows a signature looks at.
const LOOKED: usize = 200;
/// The least share of the variance of a column that is noise at a start.
const NOISE: f64 = 0.05;

impl FactorAnalysis {
    /// Starts over from random loadings that explain about half of each column.
    pub fn restart(&mut self, seed: u64) {
        self.restart_at(seed, 0);
    }

    fn restart_at(&mut self, seed: u64, index: u64) {
        let (d, q) = self.loadings.shape();
        let mut normals = vec![0.0; d * q];
        fill_normal(&mut stream(seed, Purpose::Start, index), &mut normals);
        let size = (0.5 / q as f64).sqrt();
        self.loadings.iter_mut().zip(normals).for_each(|(w, n)| *w = size * n);
        self.log_noise.fill(0.5f64.ln());
        self.forget_shift();
    }

    /// Starts over from the principal components of the columns in units: noise is what they leave,
    /// and at least a twentieth of a column.
    pub(super) fn restart_at_components(&mut self) {
        let (loadings, _) = principal(&self.covariance, self.loadings.ncols());
        let left = |j: usize| {
            let whole = self.covariance[(j, j)];
            (whole - loadings.row(j).norm_squared()).max(NOISE * whole).ln()
        };
        self.log_noise = DVector::from_fn(loadings.nrows(), |j, _| left(j));
        self.loadings = loadings;
        self.forget_shift();
    }

    fn forget_shift(&mut self) {
        self.shift.fill(0.0);
        self.mean.copy_from(&self.centre);
    }

    /// EM from ten starts, the best kept: `fit` with [`Anderson`] of `(EStep, MStep)` from each, by
    /// [`restarts`]. The first start is at the principal components, the others at random loadings.
    ///
    /// The likelihood of factor analysis may have several maxima: with fewer factors than there are
    /// groups of columns, each group may have one. That of probabilistic PCA has one, which
    /// [`FactorAnalysis::closed_form`] knows where no cell is missing.
    ///
    /// ```
    /// use elbo::data::{IRIS, Observations};
    /// use elbo::models::FactorAnalysis;
    /// let data = Observations::new(IRIS.iter().flatten().copied().collect(), 4)?;
    /// let best = FactorAnalysis::new(data, 1)?.fit(1)?;
    /// assert_eq!(best.attempts.len(), 10);
    /// println!("{best}"); // what became of each start
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// None but for data too extreme.
    pub fn fit(&self, seed: u64) -> Result<Restarted<FactorAnalysis, Scores>, Error> {
        self.fit_with(STARTS, &Options { seed, ..Options::exact() })
    }

    /// The same from as many starts as wanted, each climb ending as the options say; their seed is
    /// that of the starts, too.
    ///
    /// # Errors
    /// As [`FactorAnalysis::fit`].
    pub fn fit_with(
        &self,
        starts: usize,
        options: &Options,
    ) -> Result<Restarted<FactorAnalysis, Scores>, Error> {
        let one = |start: usize| {
            let mut model = self.clone();
            match start {
                0 => model.restart_at_components(),
                _ => model.restart_at(options.seed, start as u64),
            }
            let q = model.start();
            fit(model, q, Anderson::new((EStep, MStep)), options.clone())
        };
        let step = self.data.len().div_ceil(LOOKED);
        let signature = |fit: &Fit<FactorAnalysis, Scores>| {
            let scores = fit.model.score(&self.data).unwrap_or_default();
            scores.into_iter().step_by(step).collect()
        };
        restarts(starts, one, signature)
    }
}

/// `U (L - s2 I)^(1/2)` with the `q` largest eigenvalues `L` of a covariance and their vectors `U`, and
/// `s2`, the mean of the others, 0 where that is rounding.
pub(super) fn principal(covariance: &DMatrix<f64>, q: usize) -> (DMatrix<f64>, f64) {
    let d = covariance.nrows();
    let eigen = covariance.clone().symmetric_eigen();
    let mut order: Vec<usize> = (0..d).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let rest = order[q..].iter().map(|&k| eigen.eigenvalues[k].max(0.0)).sum::<f64>();
    // what is left of rounding is no noise
    let rounding = d as f64 * f64::EPSILON * eigen.eigenvalues[order[0]];
    let noise = if rest <= rounding { 0.0 } else { rest } / (d - q) as f64;
    let mut loadings = DMatrix::zeros(d, q);
    for (k, &from) in order[..q].iter().enumerate() {
        let size = (eigen.eigenvalues[from] - noise).max(0.0).sqrt();
        loadings.set_column(k, &(eigen.eigenvectors.column(from) * size));
    }
    (loadings, noise)
}
