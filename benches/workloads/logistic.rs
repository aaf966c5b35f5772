//! w2a, w2b, w9: logistic regression with all rows or some rows a step.

use elbo::density::{self, glm, glm::Design};
use elbo::{Autodiff, Model};
use elbo::{LogJoint, MeanFieldGaussian, Real, Space, Subsample, from_fn};

use super::failure::Failure;
use super::npy::Array;
use super::quality::{Plain, log_normal};
use super::work::Job;
use super::{check, line, measure};

pub fn run(job: &Job) -> Result<(), Failure> {
    let x = job.input("x")?;
    let d = x.columns();
    let likelihood = {
        let y = job.input("y")?.values;
        Design::owned_rows(x.values, d).bernoulli_logit(&y)?
    };
    let q = MeanFieldGaussian::new(vec![0.0; d], &vec![0.1; d])?;
    let record = match job.work.batch {
        None => {
            let mut space = Space::new();
            let beta = space.reals("beta", d);
            let model = from_fn(space, move |z| {
                density::normals(&z[beta], 0.0, 1.0) + likelihood.log_prob(&z[beta])
            });
            if job.check {
                check::gradient(job, &model, &Rows::read(job)?)?;
            }
            match job.threads {
                1 => measure::all_rows(job, model, q)?,
                _ => measure::all_rows(job, model.parallel(), q)?,
            }
        }
        Some(batch) => {
            let mut model = Autodiff::new(Logistic { d, likelihood });
            if job.check {
                let mut plain = Rows::read(job)?;
                check::gradient(job, &model, &plain)?;
                plain.rows = (0..batch).map(|i| i * plain.y.len() / batch).collect();
                model.subsample(&plain.rows);
                check::gradient(job, &model, &plain)?;
                model.whole();
            }
            measure::some_rows(job, model, q, batch)?
        }
    };
    line::mean_field(job, &record, &Rows::read(job)?)
}

/// The model of w9: it can be told to look at some rows.
struct Logistic {
    d: usize,
    likelihood: glm::Likelihood,
}

impl LogJoint for Logistic {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("beta", self.d);
        space
    }
    fn log_joint<T: Real>(&self, beta: &[T]) -> T {
        density::normals(beta, 0.0, 1.0) + self.likelihood.log_prob(beta)
    }
}

impl Subsample for Logistic {
    fn n_data(&self) -> usize {
        self.likelihood.n_data()
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.likelihood.subsample(rows);
    }
    fn whole(&mut self) {
        self.likelihood.whole();
    }
    fn arrange(&mut self, order: &[usize]) -> bool {
        self.likelihood.arrange(order)
    }
    fn keeps_formula(&self) -> bool {
        true
    }
}

/// The plain formula, over some rows or, where `rows` is empty, all.
struct Rows {
    x: Array,
    y: Vec<f64>,
    rows: Vec<usize>,
}

impl Rows {
    fn read(job: &Job) -> Result<Rows, Failure> {
        Ok(Rows { x: job.input("x")?, y: job.input("y")?.values, rows: Vec::new() })
    }
}

impl Plain for Rows {
    fn dim(&self) -> usize {
        self.x.columns()
    }
    fn log_joint(&self, z: &[f64], out: &mut [f64]) {
        let (d, n) = (self.dim(), self.y.len());
        let m = if self.rows.is_empty() { n } else { self.rows.len() };
        out.fill(0.0);
        for k in 0..m {
            let i = self.rows.get(k).copied().unwrap_or(k);
            let row = &self.x.values[i * d..(i + 1) * d];
            for (z, out) in z.chunks_exact(d).zip(out.iter_mut()) {
                let eta = dot(row, z);
                *out += self.y[i] * eta - eta.max(0.0) - (-eta.abs()).exp().ln_1p();
            }
        }
        for (z, out) in z.chunks_exact(d).zip(out) {
            *out *= n as f64 / m as f64;
            *out += z.iter().map(|&z| log_normal(z, 0.0, 1.0)).sum::<f64>();
        }
    }
}

/// `a . b` in eight sums side by side.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a8.zip(b8) {
        for k in 0..8 {
            sums[k] += a[k] * b[k];
        }
    }
    rest + sums.iter().sum::<f64>()
}
