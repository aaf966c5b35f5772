//! `FixedNoise`: how noise that is drawn once is drawn.

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

/// How the draws of [`FixedDraws`](crate::FixedDraws) are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FixedNoise {
    /// Independent draws of the family's noise: the only ones whose standard errors
    /// [`LinearResponse`](crate::LinearResponse) can tell.
    Independent,
    /// Normal draws made to have mean 0 and covariance the identity, exactly, if there are more
    /// draws than dimensions: a normal posterior is then found without error. With fewer, pairs
    /// `eps, -eps` with every coordinate rescaled to variance 1. For families whose noise is
    /// standard normal.
    MomentMatched,
    /// Given by the caller.
    Given,
}

impl FixedNoise {
    /// `noise_dim x draws`, or `None` if they are given. `normal` fills a slice with noise.
    pub(super) fn draw(
        self,
        noise_dim: usize,
        draws: usize,
        normal: &mut dyn FnMut(&mut [f64]),
    ) -> Option<Vec<f64>> {
        let (k, n) = (noise_dim, draws);
        let mut eps = vec![0.0; n * k];
        match self {
            FixedNoise::Given => return None,
            FixedNoise::Independent => normal(&mut eps),
            FixedNoise::MomentMatched if n > k => {
                normal(&mut eps);
                // The columns of Q after the first are orthogonal to it, so they sum to zero.
                let with_ones =
                    DMatrix::from_fn(
                        n,
                        k + 1,
                        |s, j| if j == 0 { 1.0 } else { eps[s * k + j - 1] },
                    );
                let q = with_ones.qr().q();
                for s in 0..n {
                    for j in 0..k {
                        eps[s * k + j] = q[(s, j + 1)] * (n as f64).sqrt();
                    }
                }
            }
            FixedNoise::MomentMatched => {
                let half = n / 2 * k;
                normal(&mut eps[..half]);
                let (first, second) = eps.split_at_mut(half);
                second.iter_mut().zip(first).for_each(|(b, a)| *b = -*a);
                for j in 0..k {
                    let column = || (j..n * k).step_by(k);
                    let square: f64 = column().map(|i| eps[i] * eps[i]).sum();
                    let scale = if square > 0.0 { (n as f64 / square).sqrt() } else { 1.0 };
                    column().for_each(|i| eps[i] *= scale);
                }
            }
        }
        Some(eps)
    }
}
