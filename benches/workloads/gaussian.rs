//! w6a, w6b: a Gaussian with a precision matrix of condition 10^4, by a full-rank Gaussian.

use elbo::{DMatrix, Family, FullRankGaussian, Space, density, from_fn};
use nalgebra::DVector;

use super::failure::Failure;
use super::line::{self, Answer};
use super::quality::{LN_SQRT_2PI, Plain, Reference};
use super::work::Job;
use super::{check, measure};

pub fn run(job: &Job) -> Result<(), Failure> {
    let mean = job.input("mean")?.values;
    let d = mean.len();
    let covariance = DMatrix::from_row_slice(d, d, &job.input("cov")?.values);
    let Some(cholesky) = covariance.clone().cholesky() else {
        return Err(Failure::new(format!("{}: its covariance has no factor", job.work.name)));
    };
    let log_det = 2.0 * cholesky.l_dirty().diagonal().iter().map(|l| l.ln()).sum::<f64>();
    let precision = DMatrix::from_row_slice(d, d, &job.input("prec")?.values);
    let target = Target { mean: DVector::from_vec(mean), precision, log_det };
    let known =
        density::Gaussian::from_precision(target.mean.as_slice().to_vec(), &target.precision)?;
    let mut space = Space::new();
    let z = space.reals("z", d);
    let model = from_fn(space, move |x| known.log_prob(&x[z]));
    if job.check {
        check::gradient(job, &model, &target)?;
    }
    let q = FullRankGaussian::from_cholesky(vec![0.0; d], &(DMatrix::identity(d, d) * 0.1))?;
    let sd = covariance.diagonal().iter().map(|v| v.sqrt()).collect();
    drop(covariance);
    let reference = Reference { mean: target.mean.as_slice().to_vec(), sd };
    let record = measure::all_rows(job, model, q)?;
    line::print(job, &record, Some(reference), |q| -target.divergence(q))
}

impl Answer for FullRankGaussian {
    fn mean(&self) -> Vec<f64> {
        self.mean().to_vec()
    }
    fn sd(&self) -> Vec<f64> {
        self.sd()
    }
}

/// `N(mean, precision^-1)`.
struct Target {
    mean: DVector<f64>,
    precision: DMatrix<f64>,
    /// Of the covariance.
    log_det: f64,
}

impl Target {
    fn log_peak(&self) -> f64 {
        -0.5 * self.log_det - self.mean.len() as f64 * LN_SQRT_2PI
    }

    /// `KL(q || target)`
    fn divergence(&self, q: &FullRankGaussian) -> f64 {
        let d = self.mean.len() as f64;
        let r = DVector::from_column_slice(q.mean()) - &self.mean;
        let trace = self.precision.dot(&q.covariance());
        let entropy = q.entropy().unwrap_or(f64::NAN);
        let log_det_q = 2.0 * (entropy - 0.5 * d - d * LN_SQRT_2PI);
        0.5 * (trace + r.dot(&(&self.precision * &r)) - d + self.log_det - log_det_q)
    }
}

/// The plain formula, entry by entry.
impl Plain for Target {
    fn dim(&self) -> usize {
        self.mean.len()
    }
    fn log_joint(&self, z: &[f64], out: &mut [f64]) {
        let d = self.mean.len();
        for (z, out) in z.chunks_exact(d).zip(out) {
            let off: Vec<f64> = z.iter().zip(self.mean.iter()).map(|(z, m)| z - m).collect();
            let mut square = 0.0;
            for (column, off_j) in self.precision.as_slice().chunks_exact(d).zip(&off) {
                square += off_j * column.iter().zip(&off).map(|(p, o)| p * o).sum::<f64>();
            }
            *out = self.log_peak() - 0.5 * square;
        }
    }
}
