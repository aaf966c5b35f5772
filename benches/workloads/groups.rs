//! w3: a Poisson regression with an intercept and a slope for each of 388 groups, centred.

use elbo::density::{self, glm::Design};
use elbo::{MeanFieldGaussian, Model, Space, from_fn};
use statrs::function::gamma::ln_gamma;

use super::failure::Failure;
use super::quality::{Plain, log_normal};
use super::work::Job;
use super::{check, line, measure};

pub fn run(job: &Job) -> Result<(), Failure> {
    let plain = Counts::read(job)?;
    let n_groups = plain.u.len();
    let no_columns: [&[f64]; 0] = [];
    let likelihood = Design::columns(&no_columns)
        .groups(&plain.group, n_groups)
        .slopes(&plain.x, 1)
        .poisson_log(&plain.y)?;
    let u = plain.u.clone();
    let mut space = Space::new();
    let (mu_a, gamma, mu_b) = (space.real("mu_a"), space.real("gamma"), space.real("mu_b"));
    let (sd_a, sd_b) = (space.positive("sd_a"), space.positive("sd_b"));
    let (a, b) = (space.reals("a", n_groups), space.reals("b", n_groups));
    let model = from_fn(space, move |z| {
        let mut lp = density::normal(z[mu_a], 0.0, 5.0)
            + density::normal(z[gamma], 0.0, 5.0)
            + density::normal(z[mu_b], 0.0, 5.0)
            + density::half_normal(z[sd_a], 1.0)
            + density::half_normal(z[sd_b], 1.0)
            + density::normals(&z[b], z[mu_b], z[sd_b]);
        for (&a, &u) in z[a].iter().zip(&u) {
            lp += density::normal(a, z[mu_a] + z[gamma] * u, z[sd_a]);
        }
        lp + likelihood.at(&[]).intercepts(&z[a]).slopes(&z[b]).log_prob()
    })
    .unconstrained();
    if job.check {
        check::gradient(job, &model, &plain)?;
    }
    let d = plain.dim();
    let q = MeanFieldGaussian::new(vec![0.0; d], &vec![0.1; d])?;
    let record = match job.threads {
        1 => measure::all_rows(job, model, q)?,
        _ => measure::all_rows(job, model.parallel(), q)?,
    };
    line::mean_field(job, &record, &plain)
}

/// `mu_a`, `gamma`, `mu_b`, `log sd_a`, `log sd_b`, `a`, `b`.
struct Counts {
    group: Vec<usize>,
    x: Vec<f64>,
    y: Vec<f64>,
    u: Vec<f64>,
    /// `sum ln y!`
    log_factorials: f64,
}

impl Counts {
    fn read(job: &Job) -> Result<Counts, Failure> {
        let group = job.input("group")?.values.iter().map(|&g| g as usize).collect();
        let (x, y, u) = (job.input("x")?.values, job.input("y")?.values, job.input("u")?.values);
        let log_factorials = y.iter().map(|y| ln_gamma(y + 1.0)).sum();
        Ok(Counts { group, x, y, u, log_factorials })
    }
}

impl Plain for Counts {
    fn dim(&self) -> usize {
        5 + 2 * self.u.len()
    }
    fn log_joint(&self, z: &[f64], out: &mut [f64]) {
        for (z, out) in z.chunks_exact(self.dim()).zip(out) {
            let (a, b) = z[5..].split_at(self.u.len());
            let (sd_a, sd_b) = (z[3].exp(), z[4].exp());
            *out = z[..3].iter().map(|&m| log_normal(m, 0.0, 5.0)).sum::<f64>();
            for (sd, log_sd) in [(sd_a, z[3]), (sd_b, z[4])] {
                *out += 2f64.ln() + log_normal(sd, 0.0, 1.0) + log_sd;
            }
            for (j, &u) in self.u.iter().enumerate() {
                *out += log_normal(a[j], z[0] + z[1] * u, sd_a) + log_normal(b[j], z[2], sd_b);
            }
            for (i, &g) in self.group.iter().enumerate() {
                let eta = a[g] + b[g] * self.x[i];
                *out += self.y[i] * eta - eta.exp();
            }
            *out -= self.log_factorials;
        }
    }
}
