//! The ELBO with the noise of its draws regressed out.

use nalgebra::{DMatrix, DVector};

use super::elbo::{Estimate, check};
use crate::error::Error;
use crate::family::Reparameterized;
use crate::model::Model;
use crate::noise::{Purpose, stream};

/// In how many parts the draws are divided: each is corrected by what the others teach.
const FOLDS: usize = 4;
/// Draws a coefficient that a regression needs.
const DRAWS_PER_COEFFICIENT: usize = 20;

/// The ELBO like [`super::elbo`], less what `eps_j` and `eps_j^2 - 1` explain of
/// `log p(x, z) - log q(z)`, `eps` being the standard normal noise behind the draws.
///
/// Both have mean 0, so any multiple of them may be taken off; the coefficients come from the
/// three quarters of the draws that they are not used on, so that the mean stays unbiased. With
/// fewer than `20 (2 k + 1)` draws for noise of dimension `k` nothing is taken off.
///
/// It pays away from the optimum: in a trace, after few steps. Where a location-scale family is at
/// its optimum there is nothing left to take off, for the gradient of the ELBO is the covariance
/// with this very noise, and [`super::elbo`] is as good and needs no regression.
///
/// # Errors
/// Fewer than 4 draws, different dimensions, or a family whose noise is not standard normal.
///
/// ```
/// use elbo::{density, diagnostics, from_fn, MeanFieldGaussian, Space};
/// let mut space = Space::new();
/// let mu = space.real("mu");
/// let model = from_fn(space, move |z| density::normal(z[mu], 0.0, 1.0));
/// let q = MeanFieldGaussian::new(vec![3.0], &[0.5])?;
/// let plain = diagnostics::elbo(&model, &q, 1_000, 1)?;
/// let regressed = diagnostics::elbo_by_regression(&model, &q, 1_000, 1)?;
/// // a quadratic is explained entirely
/// assert!(plain.mcse > 0.01 && regressed.mcse < 1e-10);
/// assert!((regressed.value - (0.5 - 0.5 * 9.25 + 0.5f64.ln())).abs() < 1e-10);
/// # Ok::<(), elbo::Error>(())
/// ```
pub fn elbo_by_regression<M: Model, Q: Reparameterized>(
    model: &M,
    q: &Q,
    draws: usize,
    seed: u64,
) -> Result<Estimate, Error> {
    check(model, q, draws, FOLDS)?;
    let k = q.noise_dim();
    let mut eps = vec![0.0; k * draws];
    let mut z = vec![0.0; q.dim() * draws];
    let (mut log_p, mut log_q) = (vec![0.0; draws], vec![0.0; draws]);
    q.draw_noise(&mut stream(seed, Purpose::Report, 0), &mut eps);
    check_noise(&eps, k)?;
    q.transport(&eps, &mut z, &mut log_q, &mut Default::default());
    model.log_joint_batch(&z, &mut log_p);
    let terms: Vec<f64> = log_p.iter().zip(&log_q).map(|(p, q)| p - q).collect();
    if draws < DRAWS_PER_COEFFICIENT * (2 * k + 1) || terms.iter().any(|t| !t.is_finite()) {
        return Ok(Estimate::mean(&terms));
    }
    Ok(Estimate::mean(&cross_fitted(&eps, k, &terms).unwrap_or(terms)))
}

/// Refuses noise whose first two moments are not those of a standard normal, at 6 standard errors.
fn check_noise(eps: &[f64], k: usize) -> Result<(), Error> {
    let n = (eps.len() / k.max(1)) as f64;
    for j in 0..k {
        let column = || eps.iter().skip(j).step_by(k);
        let mean = column().sum::<f64>() / n;
        let square = column().map(|e| e * e).sum::<f64>() / n;
        if mean.abs() * n.sqrt() > 6.0 || (square - 1.0).abs() * (n / 2.0).sqrt() > 6.0 {
            let found = format!("mean {mean:.3} and mean square {square:.3} in coordinate {j}");
            let remedy = "regression needs standard normal noise; use `elbo` for this family";
            return Err(Error::option("the family's noise", found, remedy));
        }
    }
    Ok(())
}

/// Each term less its regression on `(eps_j, eps_j^2 - 1)`, with coefficients from the other parts.
fn cross_fitted(eps: &[f64], k: usize, terms: &[f64]) -> Option<Vec<f64>> {
    let (n, p) = (terms.len(), 2 * k + 1);
    let features = DMatrix::from_fn(n, p, |s, j| match j {
        0 => 1.0,
        j if j <= k => eps[s * k + j - 1],
        j => eps[s * k + j - k - 1].powi(2) - 1.0,
    });
    let y = DVector::from_column_slice(terms);
    let parts: Vec<std::ops::Range<usize>> =
        (0..FOLDS).map(|f| f * n / FOLDS..(f + 1) * n / FOLDS).collect();
    let moments: Vec<(DMatrix<f64>, DVector<f64>)> = parts
        .iter()
        .map(|part| {
            let x = features.rows(part.start, part.len());
            (x.tr_mul(&x), x.tr_mul(&y.rows(part.start, part.len())))
        })
        .collect();
    let mut corrected = terms.to_vec();
    for (f, part) in parts.iter().enumerate() {
        let mut gram = DMatrix::zeros(p, p);
        let mut right = DVector::zeros(p);
        for (_, (g, r)) in moments.iter().enumerate().filter(|(other, _)| *other != f) {
            gram += g;
            right += r;
        }
        let mut coefficients = gram.cholesky()?.solve(&right);
        // the constant is what is being estimated
        coefficients[0] = 0.0;
        let explained = features.rows(part.start, part.len()) * coefficients;
        for (term, e) in corrected[part.clone()].iter_mut().zip(explained.iter()) {
            *term -= e;
        }
    }
    Some(corrected)
}
