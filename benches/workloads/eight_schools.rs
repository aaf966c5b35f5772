//! w1: eight schools, not centred, written without fused likelihoods (Rubin 1981).

use elbo::{MeanFieldGaussian, Model, Space, Var, density, from_fn};

use super::failure::Failure;
use super::quality::{Plain, log_normal};
use super::work::Job;
use super::{check, line, measure};

pub fn run(job: &Job) -> Result<(), Failure> {
    let (effect, sd) = (job.input("y")?.values, job.input("sigma")?.values);
    let plain = Schools { effect: effect.clone(), sd: sd.clone() };
    let mut space = Space::new();
    let (mu, tau) = (space.real("mu"), space.positive("tau"));
    let eta = space.reals("eta", effect.len());
    let model = from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
        for (j, &eta) in z[eta].iter().enumerate() {
            lp += density::normal(eta, 0.0, 1.0);
            lp += density::normal(Var::from(effect[j]), z[mu] + z[tau] * eta, sd[j]);
        }
        lp
    })
    .unconstrained();
    if job.check {
        check::gradient(job, &model, &plain)?;
    }
    let d = plain.dim();
    let q = MeanFieldGaussian::new(vec![0.0; d], &vec![0.1; d])?;
    line::mean_field(job, &measure::all_rows(job, model, q)?, &plain)
}

/// `mu`, `log tau`, `eta`.
struct Schools {
    effect: Vec<f64>,
    sd: Vec<f64>,
}

impl Plain for Schools {
    fn dim(&self) -> usize {
        2 + self.effect.len()
    }
    fn log_joint(&self, z: &[f64], out: &mut [f64]) {
        for (z, out) in z.chunks_exact(self.dim()).zip(out) {
            let (mu, log_tau) = (z[0], z[1]);
            let tau = log_tau.exp();
            let cauchy = (2.0 / (std::f64::consts::PI * 5.0)).ln() - (tau / 5.0).powi(2).ln_1p();
            *out = log_normal(mu, 0.0, 5.0) + cauchy + log_tau;
            for (j, &eta) in z[2..].iter().enumerate() {
                *out += log_normal(eta, 0.0, 1.0);
                *out += log_normal(self.effect[j], mu + tau * eta, self.sd[j]);
            }
        }
    }
}
