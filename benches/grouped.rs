//! One step of a Poisson model with intercepts and slopes by group (12 500 rows, 388 groups of
//! heavy-tailed sizes, 781 parameters, 10 draws), and where its time goes. `--data DIR` takes the
//! rows of `DIR/data.json` instead of made-up ones.

use std::hint::black_box;
use std::time::Instant;

use elbo::density::{self, glm::Design};
use elbo::{
    Adam, Differentiable, Error, GradientAscent, MeanFieldGaussian, Model, Options,
    Reparameterization, Run, Space, Stop, from_fn,
};

const DRAWS: usize = 10;
const ROUNDS: usize = 15;

/// The rows: group and covariate of each, and its count; a covariate of each group.
#[derive(Clone)]
struct Rows {
    group: Vec<usize>,
    x: Vec<f64>,
    y: Vec<f64>,
    u: Vec<f64>,
}

impl Rows {
    fn made_up() -> Rows {
        let (n, groups) = (12_500, 388);
        let noise = |i: usize, k: usize| ((i * 7919 + k * 104_729) % 2003) as f64 / 1001.5 - 1.0;
        // the share of group g falls like 1 / (g + 3); rows of a group are not side by side
        let total: f64 = (0..groups).map(|g| 1.0 / (g as f64 + 3.0)).sum();
        let group = (0..n).map(|i| {
            let mut left = ((i * 4801) % n) as f64 / n as f64 * total;
            (0..groups - 1)
                .find(|&g| {
                    left -= 1.0 / (g as f64 + 3.0);
                    left < 0.0
                })
                .unwrap_or(groups - 1)
        });
        let x: Vec<f64> = (0..n).map(|i| noise(i, 1)).collect();
        let y = (0..n).map(|i| (1.0 + x[i] + 1.5 * noise(i, 2)).exp().floor()).collect();
        Rows { group: group.collect(), x, y, u: (0..groups).map(|g| noise(g, 3)).collect() }
    }

    fn read(folder: &str) -> Rows {
        let text = std::fs::read_to_string(format!("{folder}/data.json")).expect("data.json");
        let all: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let list = |key: &str| -> Vec<f64> {
            all[key].as_array().expect(key).iter().filter_map(|v| v.as_f64()).collect()
        };
        let first = list("g").iter().copied().fold(f64::INFINITY, f64::min);
        let group = list("g").iter().map(|&g| (g - first) as usize).collect();
        Rows { group, x: list("x"), y: list("y"), u: list("u") }
    }

    fn model(&self, priors: bool, rows: bool) -> Result<impl Differentiable + Sync + use<>, Error> {
        let groups = self.u.len();
        let likelihood = Design::columns::<Vec<f64>>(&[])
            .groups(&self.group, groups)
            .slopes(&self.x, 1)
            .poisson_log(&self.y)?;
        let mut space = Space::new();
        let (mu_a, gamma, mu_b) = (space.real("mu_a"), space.real("gamma"), space.real("mu_b"));
        let (sa, sb) = (space.positive("sa"), space.positive("sb"));
        let (a, b) = (space.reals("a", groups), space.reals("b", groups));
        let u = self.u.clone();
        let model = from_fn(space, move |z| {
            let mut lp = density::normal(z[mu_a], 0.0, 5.0)
                + density::normal(z[gamma], 0.0, 5.0)
                + density::normal(z[mu_b], 0.0, 5.0)
                + density::half_normal(z[sa], 1.0)
                + density::half_normal(z[sb], 1.0);
            if priors {
                for (&a, &u) in z[a].iter().zip(&u) {
                    lp += density::normal(a, z[mu_a] + z[gamma] * u, z[sa]);
                }
                lp += density::normals(&z[b], z[mu_b], z[sb]);
            }
            if rows {
                lp += likelihood.at(&[]).intercepts(&z[a]).slopes(&z[b]).log_prob();
            }
            lp
        });
        Ok(model.unconstrained())
    }
}

/// Seconds of processor time of all threads; 0 where the system does not say.
fn processor_seconds() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    tasks.filter_map(of).sum::<f64>() * 1e-9
}

/// A piece of work and the least microseconds it took, by the wall and by the processor.
struct Timed<'a> {
    name: &'a str,
    work: Box<dyn FnMut() + 'a>,
    wall: f64,
    processor: f64,
}

impl<'a> Timed<'a> {
    fn new(name: &'a str, work: impl FnMut() + 'a) -> Timed<'a> {
        Timed { name, work: Box::new(work), wall: f64::MAX, processor: f64::MAX }
    }
    fn round(&mut self, repeats: usize) {
        let (begun, processor) = (Instant::now(), processor_seconds());
        (0..repeats).for_each(|_| (self.work)());
        let each = 1e6 / repeats as f64;
        self.wall = self.wall.min(begun.elapsed().as_secs_f64() * each);
        self.processor = self.processor.min((processor_seconds() - processor) * each);
    }
}

fn steps<M: Differentiable>(model: M) -> Result<impl FnMut(), Error> {
    let q = MeanFieldGaussian::standard(model.dim());
    let ascent = GradientAscent::new(Reparameterization { draws: DRAWS }, Adam::rate(0.02));
    let options = Options { steps: usize::MAX, stop: Stop::Budget, ..Options::default() };
    let mut run = Run::new(model, q, ascent, options)?;
    Ok(move || {
        black_box(run.step().expect("a step"));
    })
}

fn gradients<M: Differentiable>(model: M) -> impl FnMut() {
    let d = model.dim();
    let z: Vec<f64> = (0..d * DRAWS).map(|i| 0.1 * ((i * 37 % 101) as f64 / 50.0 - 1.0)).collect();
    let mut grad = vec![0.0; d * DRAWS];
    move || {
        model.grad_batch(&z, DRAWS, &mut grad, &mut []);
        black_box(&grad);
    }
}

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().collect();
    let rows = match args.iter().position(|a| a == "--data") {
        Some(i) => Rows::read(&args[i + 1]),
        None => Rows::made_up(),
    };
    let mut all = [
        Timed::new("step", steps(rows.model(true, true)?)?),
        Timed::new("model and gradient", gradients(rows.model(true, true)?)),
        Timed::new("  priors alone", gradients(rows.model(true, false)?)),
        Timed::new("  likelihood alone", gradients(rows.model(false, true)?)),
    ];
    for _ in 0..ROUNDS {
        all.iter_mut().for_each(|timed| timed.round(100));
    }
    println!("{} rows, {} groups, {DRAWS} draws: least of {ROUNDS}", rows.y.len(), rows.u.len());
    for Timed { name, wall, processor, .. } in &all {
        println!("  {name:24} {wall:8.1} us wall, {processor:8.1} us processor");
    }
    Ok(())
}
