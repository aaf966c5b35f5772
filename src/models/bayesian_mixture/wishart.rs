//! `Wishart`: the precision of some columns, by its degrees of freedom and the root of its scale.

use std::f64::consts::{LN_2, PI};

use rand::Rng;
use rand_distr::{ChiSquared, Distribution};

use crate::models::components::invert;
use crate::noise::fill_normal;
use crate::scratch::with_buffer;
use crate::special::{LN_SQRT_2PI, log_gamma, polygamma};
use crate::triangle;

/// A precision `P` of `dim` columns with, for `S = root root'`,
///
/// ```text
/// ln p(P) = (degrees - dim - 1) / 2 ln|P| - tr(S P) / 2 - log_normalizer
/// ```
///
/// in one dimension `P ~ Gamma(degrees / 2, rate S / 2)`. Draws and their densities are those of
/// the Cholesky factor `L` of the covariance, `P = (L L')^-1`, with respect to its lower triangle.
#[derive(Clone, Copy, Debug)]
pub(in crate::models) struct Wishart<'a> {
    pub(in crate::models) dim: usize,
    pub(in crate::models) degrees: f64,
    /// A lower triangle.
    pub(in crate::models) root: &'a [f64],
}

impl Wishart<'_> {
    fn each(&self) -> impl Iterator<Item = f64> + use<> {
        let degrees = self.degrees;
        (0..self.dim).map(move |i| 0.5 * (degrees - i as f64))
    }

    /// `E ln|P|`
    pub(in crate::models) fn mean_log_det(&self) -> f64 {
        let digammas: f64 = self.each().map(|a| polygamma(0, a)).sum();
        digammas + self.dim as f64 * LN_2 - 2.0 * triangle::log_det(self.root)
    }

    fn log_normalizer(&self) -> f64 {
        let d = self.dim as f64;
        let gammas: f64 = self.each().map(log_gamma).sum();
        let multigamma = 0.25 * d * (d - 1.0) * PI.ln() + gammas;
        0.5 * self.degrees * d * LN_2 + multigamma - self.degrees * triangle::log_det(self.root)
    }

    /// `KL(self || prior)` of precisions of one size.
    pub(in crate::models) fn kl(&self, prior: &Wishart<'_>) -> f64 {
        let trace = with_buffer(self.root.len(), |inverse| {
            invert(self.dim, self.root, inverse);
            square_of_product(inverse, prior.root)
        });
        let d = self.dim as f64;
        0.5 * (self.degrees - prior.degrees) * self.mean_log_det()
            + 0.5 * self.degrees * (trace - d)
            + (prior.log_normalizer() - self.log_normalizer())
    }

    /// Writes a draw of `L`: `root B^-1` with `B` a lower triangle of standard normals under a
    /// diagonal of square roots of chi-squares (Bartlett 1933, from the last column to the first).
    pub(in crate::models) fn sample(&self, mut rng: &mut dyn Rng, out: &mut [f64]) {
        with_buffer(2 * out.len(), |buffer| {
            let (b, inverse) = buffer.split_at_mut(out.len());
            fill_normal(rng, b);
            for i in 0..self.dim {
                let degrees = self.degrees - (self.dim - 1 - i) as f64;
                let square = ChiSquared::new(degrees).map_or(f64::NAN, |chi| chi.sample(&mut rng));
                b[triangle::len(i) + i] = square.max(f64::MIN_POSITIVE).sqrt();
            }
            invert(self.dim, b, inverse);
            multiply(self.root, inverse, out);
        });
    }

    /// The log density of a draw.
    pub(in crate::models) fn log_density(&self, l: &[f64]) -> f64 {
        let dim = self.dim;
        let diagonal = |t: &[f64], i: usize| t[triangle::len(i) + i];
        if (0..dim).any(|i| !(diagonal(l, i) > 0.0 && diagonal(l, i).is_finite())) {
            return f64::NEG_INFINITY;
        }
        with_buffer(2 * l.len(), |buffer| {
            let (inverse, b) = buffer.split_at_mut(l.len());
            invert(dim, l, inverse);
            multiply(inverse, self.root, b);
            let mut sum = 0.0;
            for (i, row) in triangle::rows(b).take(dim).enumerate() {
                let (off, on) = (&row[..i], row[i]);
                let degrees = self.degrees - (dim - 1 - i) as f64;
                sum += (1.0 - 0.5 * degrees) * LN_2 + (degrees - 1.0) * on.ln();
                sum += -0.5 * on * on - log_gamma(0.5 * degrees);
                sum += off.iter().map(|x| -0.5 * x * x - LN_SQRT_2PI).sum::<f64>();
                // from B to L^-1, and from there to L
                sum += (dim - i) as f64 * diagonal(self.root, i).ln();
                sum -= (dim + 1) as f64 * diagonal(l, i).ln();
            }
            sum
        })
    }
}

/// `|A B|^2` of two lower triangles.
fn square_of_product(a: &[f64], b: &[f64]) -> f64 {
    with_buffer(a.len(), |out| {
        multiply(a, b, out);
        out.iter().map(|x| x * x).sum()
    })
}

/// `A B` of two lower triangles.
pub(super) fn multiply(a: &[f64], b: &[f64], out: &mut [f64]) {
    for (i, row) in triangle::rows(a).enumerate() {
        for j in 0..=i {
            let term = |(m, a): (usize, &f64)| a * b[triangle::len(m) + j];
            out[triangle::len(i) + j] = row.iter().enumerate().skip(j).map(term).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;

    use super::*;
    use crate::noise::{Purpose, stream};

    const ROOT: [f64; 6] = [1.2, -0.4, 0.8, 0.3, 0.5, 1.5];

    fn wishart(degrees: f64) -> Wishart<'static> {
        Wishart { dim: 3, degrees, root: &ROOT }
    }

    /// The density of the covariance, by the textbook, times the determinant of the slopes of
    /// `L L'` by differences.
    #[test]
    fn the_density_of_a_factor_is_that_of_its_matrix() {
        let q = wishart(4.3);
        let mut l = [0.0; 6];
        q.sample(&mut stream(1, Purpose::Data, 0), &mut l);
        let lower = |l: &[f64]| -> Vec<f64> {
            let m = triangle::to_matrix(3, l);
            let c = &m * m.transpose();
            (0..3).flat_map(|i| (0..=i).map(|j| c[(i, j)]).collect::<Vec<_>>()).collect()
        };
        const STEP: f64 = 1e-5;
        let slopes = DMatrix::from_fn(6, 6, |i, j| {
            let (mut up, mut down) = (l, l);
            up[j] += STEP;
            down[j] -= STEP;
            (lower(&up)[i] - lower(&down)[i]) / (2.0 * STEP)
        });
        let root = triangle::to_matrix(3, &ROOT);
        let s = &root * root.transpose();
        let m = triangle::to_matrix(3, &l);
        let precision = (&m * m.transpose()).try_inverse().expect("regular");
        let log_wishart = 0.5 * (4.3 - 4.0) * precision.determinant().ln()
            - 0.5 * (&s * &precision).trace()
            - q.log_normalizer();
        // from the precision to the covariance
        let log_inverse = log_wishart + 4.0 * precision.determinant().ln();
        let want = log_inverse + slopes.determinant().abs().ln();
        assert!((q.log_density(&l) - want).abs() < 1e-8, "{} {want}", q.log_density(&l));
    }

    /// Means over draws, at 4 standard errors: one in 16 000 is off by chance.
    #[test]
    fn draws_have_the_expected_moments_and_the_divergence_is_their_mean() {
        let (q, p) =
            (wishart(6.5), Wishart { root: &[1.0, 0.0, 1.0, 0.0, 0.0, 1.0], ..wishart(4.0) });
        const DRAWS: usize = 20_000;
        let mut rng = stream(2, Purpose::Data, 0);
        let (mut log_dets, mut ratios, mut traces) = (Vec::new(), Vec::new(), Vec::new());
        let mut l = [0.0; 6];
        for _ in 0..DRAWS {
            q.sample(&mut rng, &mut l);
            log_dets.push(-2.0 * triangle::log_det(&l));
            ratios.push(q.log_density(&l) - p.log_density(&l));
            let m = triangle::to_matrix(3, &l);
            traces.push((&m * m.transpose()).try_inverse().expect("regular").trace());
        }
        let root = triangle::to_matrix(3, &ROOT);
        let mean_trace = 6.5 * (&root * root.transpose()).try_inverse().expect("regular").trace();
        for (what, values, want) in [
            ("ln det", &log_dets, q.mean_log_det()),
            ("KL", &ratios, q.kl(&p)),
            ("trace", &traces, mean_trace),
        ] {
            let n = DRAWS as f64;
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            let se = (variance / n).sqrt();
            assert!((mean - want).abs() < 4.0 * se, "{what}: {mean} ± {se}, want {want}");
        }
        assert!(q.kl(&q).abs() < 1e-12);
    }
}
