//! Standard errors of the parameters, from how much the scores of single rows vary.

use nalgebra::DMatrix;

use super::{Covariance, GaussianMixture};
use crate::error::Error;
use crate::models::components::has_gap;
use crate::triangle;

/// Standard errors of the maximum-likelihood estimates, in the units of the parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct StandardErrors {
    /// One a component; 0 where there is only one.
    pub weights: Vec<f64>,
    /// `d` a component.
    pub means: Vec<f64>,
    /// `d x d` a component, row by row; 0 where an entry is not free.
    pub covariances: Vec<f64>,
}

impl GaussianMixture {
    /// Standard errors by the observed information, which is the sum over rows of the outer
    /// products of their scores `s_n`, the gradients of `ln p(x_n)` in the parameters (Louis 1982;
    /// McLachlan and Peel 2000, section 2.15):
    ///
    /// ```text
    /// cov(theta) = ( sum_n w_n s_n s_n' )^-1
    /// ```
    ///
    /// They are right where the mixture is the truth and the rows are many against the parameters;
    /// a prior is not counted. The score of a row with missing cells is that of the cells it has.
    ///
    /// ```
    /// use elbo::data::{OLD_FAITHFUL, Observations};
    /// use elbo::models::GaussianMixture;
    /// let cells = OLD_FAITHFUL.iter().flatten().copied().collect();
    /// let best = GaussianMixture::new(Observations::new(cells, 2)?, 2)?.fit(1)?;
    /// let se = best.fit.model.standard_errors()?;
    /// // nearly that of a share, as few rows are in doubt: sqrt(0.356 * 0.644 / 272)
    /// assert!((se.weights[0] - 0.0290).abs() < 0.0005);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// Rows too few, or components too alike, to tell all parameters apart.
    pub fn standard_errors(&self) -> Result<StandardErrors, Error> {
        let (k, dim) = (self.len(), self.components.dim);
        let scores = Scores::new(self);
        let p = scores.p;
        let mut information = DMatrix::<f64>::zeros(p, p);
        let (mut r, mut s) = (vec![0.0; k], vec![0.0; p]);
        self.data().each_row(|n, x| {
            self.components.probabilities(x, &mut r);
            scores.write(self, x, &r, &mut s);
            let w = self.data().weight(n);
            for i in 0..p {
                let a = w * s[i];
                (0..=i).for_each(|j| information[(i, j)] += a * s[j]);
            }
            true
        })?;
        information.fill_upper_triangle_with_lower_triangle();
        // in units in which every parameter by itself has a standard error of 1
        let unit: Vec<f64> = (0..p).map(|i| information[(i, i)].sqrt()).collect();
        let scaled = DMatrix::from_fn(p, p, |i, j| information[(i, j)] / (unit[i] * unit[j]));
        let fail = || Error::NotPositiveDefinite {
            what: "the inverse of the information".to_string(),
            reason: format!("{} rows do not tell {p} parameters apart", self.data().len()),
            remedy: "take fewer components or covariances with fewer parameters".to_string(),
        };
        let cholesky = scaled.cholesky().ok_or_else(fail)?;
        let least = cholesky.l_dirty().diagonal().min();
        if least.is_nan() || least * least < 1e-10 {
            return Err(fail());
        }
        let inverse = cholesky.inverse();
        let covariance = |i: usize, j: usize| inverse[(i, j)] / (unit[i] * unit[j]);
        let se = |i: usize| covariance(i, i).sqrt();
        let mut weights: Vec<f64> = (0..k - 1).map(se).collect();
        // the last weight is one less the others
        let last: f64 = (0..k - 1)
            .flat_map(|i| (0..k - 1).map(move |j| (i, j)))
            .map(|(i, j)| covariance(i, j))
            .sum();
        weights.push(last.max(0.0).sqrt());
        let means = (k - 1..k - 1 + k * dim).map(se).collect();
        let mut covariances = vec![0.0; k * dim * dim];
        for k in 0..k {
            for i in 0..dim {
                for j in 0..=i {
                    if let Some(at) = scores.entry(k, i, j) {
                        covariances[k * dim * dim + i * dim + j] = se(at);
                        covariances[k * dim * dim + j * dim + i] = se(at);
                    }
                }
            }
        }
        Ok(StandardErrors { weights, means, covariances })
    }
}

/// Where the parameters stand in a score: weights but the last, means, covariances.
struct Scores {
    p: usize,
    covariances: usize,
    dim: usize,
    covariance: Covariance,
    /// Precisions, `d x d` a component.
    precision: Vec<DMatrix<f64>>,
}

impl Scores {
    fn new(model: &GaussianMixture) -> Scores {
        let (k, dim) = (model.len(), model.components.dim);
        let precision = (0..k)
            .map(|k| {
                let factor = model.components.factor(k);
                match factor.len() == dim {
                    true => {
                        DMatrix::from_fn(
                            dim,
                            dim,
                            |i, j| if i == j { factor[i].powi(2) } else { 0.0 },
                        )
                    }
                    false => {
                        let w = triangle::to_matrix(dim, factor);
                        w.transpose() * w
                    }
                }
            })
            .collect();
        let covariances = k - 1 + k * dim;
        Scores {
            p: model.n_parameters(),
            covariances,
            dim,
            covariance: model.covariance,
            precision,
        }
    }

    /// Where entry `(i, j)`, `j <= i`, of covariance `k` stands.
    fn entry(&self, k: usize, i: usize, j: usize) -> Option<usize> {
        let lower = triangle::len(i) + j;
        let at = match self.covariance {
            Covariance::Full => k * triangle::len(self.dim) + lower,
            Covariance::Tied => lower,
            _ if i != j => return None,
            Covariance::Diagonal => k * self.dim + i,
            Covariance::Spherical => k,
        };
        Some(self.covariances + at)
    }

    /// Writes the gradient of `ln p(x)`: what is expected, given the label and the cells that are
    /// there, of the gradient with all of them.
    fn write(&self, model: &GaussianMixture, x: &[f64], r: &[f64], out: &mut [f64]) {
        let (k, dim) = (model.len(), self.dim);
        out.fill(0.0);
        let weights = model.weights();
        for c in 0..k - 1 {
            out[c] = r[c] / weights[c] - r[k - 1] / weights[k - 1];
        }
        let (mut y, mut pull) = (vec![0.0; dim], vec![0.0; dim]);
        for c in 0..k {
            let (p, mean) = (&self.precision[c], model.mean(c));
            let mut spread = None;
            if has_gap(x) {
                let covariance = spread.insert(DMatrix::zeros(dim, dim));
                model.components.partial(c, x, |at| {
                    y.copy_from_slice(at.y);
                    at.each_covariance(|i, j, x| {
                        (covariance[(i, j)], covariance[(j, i)]) = (x, x);
                    });
                });
            } else {
                (0..dim).for_each(|j| y[j] = x[j] - mean[j]);
            }
            // of a gap, how far the pull may be from what is expected
            let spread = spread.map(|covariance| p * covariance * p);
            for i in 0..dim {
                pull[i] = (0..dim).map(|j| p[(i, j)] * y[j]).sum();
                out[k - 1 + c * dim + i] = r[c] * pull[i];
            }
            for i in 0..dim {
                for j in 0..=i {
                    let Some(at) = self.entry(c, i, j) else { continue };
                    // an entry off the diagonal stands in two places
                    let places = if i == j { 0.5 } else { 1.0 };
                    let more = spread.as_ref().map_or(0.0, |s| s[(i, j)]);
                    out[at] += r[c] * places * (pull[i] * pull[j] + more - p[(i, j)]);
                }
            }
        }
    }
}
