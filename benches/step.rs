//! What a step costs: eight schools by autodiff against the same gradient by hand, and what is not
//! the model, in one run.
//!
//! `cargo bench --bench step`

use std::hint::black_box;

use cpu_time::ThreadTime;
use elbo::density::glm;
use elbo::{
    Adam, Ascent, Autodiff, Averaged, Differentiable, DoWG, Error, FullRankGaussian,
    GradientAscent, LogJoint, MeanFieldGaussian, Minibatch, Model, Optimizer, Options, Purpose,
    Real, Reparameterization, Run, Space, StickingTheLanding, Stop, Subsample, Var, density, fit,
    from_fn, stream,
};

const EFFECT: [f64; 8] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
const SD: [f64; 8] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];
const STEPS: usize = 4_000;
const DRAWS: usize = 10;
const RUNS: usize = 7;

/// `mu`, `log tau`, `eta`: the unconstrained log joint and its gradient, written out.
struct ByHand;

impl Model for ByHand {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("mu");
        space.real("log_tau");
        space.reals("eta", 8);
        space
    }
    fn dim(&self) -> usize {
        10
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        self.log_joint_grad(z, &mut [0.0; 10])
    }
}

impl Differentiable for ByHand {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        let (mu, tau) = (z[0], z[1].exp());
        let square = tau * tau / 25.0;
        let mut lp = -mu * mu / 50.0 - square.ln_1p() + z[1];
        grad[0] = -mu / 25.0;
        let mut grad_tau = -2.0 * tau / 25.0 / (1.0 + square);
        for j in 0..8 {
            let eta = z[2 + j];
            let off = (EFFECT[j] - mu - tau * eta) / SD[j];
            let pull = off / SD[j];
            lp -= 0.5 * (eta * eta + off * off);
            grad[0] += pull;
            grad_tau += pull * eta;
            grad[2 + j] = pull * tau - eta;
        }
        grad[1] = grad_tau * tau + 1.0;
        lp
    }
}

/// Median over the runs of the milliseconds of all steps.
fn milliseconds<M: Differentiable>(model: impl Fn() -> M) -> Result<f64, Error> {
    let mut times = Vec::new();
    for seed in 0..RUNS as u64 {
        let ascent = GradientAscent::new(Reparameterization { draws: DRAWS }, Adam::rate(0.02));
        let options = Options { steps: STEPS, seed, stop: Stop::Budget, ..Options::default() };
        let begun = ThreadTime::now();
        black_box(fit(model(), MeanFieldGaussian::standard(10), ascent, options)?);
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[RUNS / 2])
}

/// `-|z|^2 / 2`: next to no model.
struct Bowl(usize);

impl Model for Bowl {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("z", self.0);
        space
    }
    fn dim(&self) -> usize {
        self.0
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        z.iter().map(|z| -0.5 * z * z).sum()
    }
}

impl Differentiable for Bowl {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        grad.iter_mut().zip(z).for_each(|(g, z)| *g = -z);
        self.log_joint(z)
    }
    fn grad_batch(&self, z: &[f64], _: usize, grad: &mut [f64], _: &mut [f64]) {
        grad.iter_mut().zip(z).for_each(|(g, z)| *g = -z);
    }
}

/// Logistic regression that only tells its likelihood which rows to look at.
struct Logistic {
    likelihood: glm::Likelihood,
    columns: usize,
}

impl LogJoint for Logistic {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("beta", self.columns);
        space
    }
    fn log_joint<T: Real>(&self, z: &[T]) -> T {
        density::normals(z, 0.0, 1.0) + self.likelihood.log_prob(z)
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
    fn keeps_formula(&self) -> bool {
        true
    }
    fn arrange(&mut self, order: &[usize]) -> bool {
        self.likelihood.arrange(order)
    }
}

/// Nanoseconds of one call, least of the rounds.
fn nanoseconds(calls: usize, mut call: impl FnMut()) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        let begun = ThreadTime::now();
        (0..calls).for_each(|_| call());
        least = least.min(begun.elapsed().as_secs_f64() * 1e9 / calls as f64);
    }
    least
}

/// Nanoseconds of a step of a run.
fn a_step<M, Q, A>(model: M, q: Q, ascent: A, calls: usize) -> Result<f64, Error>
where
    M: Model,
    Q: elbo::Family,
    A: Ascent<M, Q>,
{
    let steps = 2 + calls * RUNS;
    let options = Options { steps, stop: Stop::Budget, elbo_every: steps, ..Options::default() };
    let mut run = Run::new(model, q, ascent, options)?;
    run.step()?;
    Ok(nanoseconds(calls, || drop(black_box(run.step()))))
}

fn parts() -> Result<(), Error> {
    println!("\nmean field, {DRAWS} draws, gradients alone: ns a step");
    println!("       d      noise      model       step       rest   rest a draw and coordinate");
    for d in [10, 100, 1_000, 10_000, 100_000] {
        let calls = (2_000_000 / (d * DRAWS)).max(3);
        let q = || MeanFieldGaussian::standard(d);
        let (mut eps, mut grad) = (vec![0.0; d * DRAWS], vec![0.0; d * DRAWS]);
        let noise = nanoseconds(calls, || {
            elbo::noise::fill_normal(&mut stream(1, Purpose::Step, 0), &mut eps);
            black_box(&mut eps);
        });
        let model = nanoseconds(calls, || {
            Bowl(d).grad_batch(&eps, DRAWS, &mut grad, &mut []);
            black_box(&mut grad);
        });
        let ascent = GradientAscent::new(Reparameterization { draws: DRAWS }, Adam::rate(0.02));
        let step = a_step(Bowl(d), q(), ascent, calls)?;
        let rest = step - noise - model;
        let each = rest / (d * DRAWS) as f64;
        println!("{d:8} {noise:10.0} {model:10.0} {step:10.0} {rest:10.0} {each:10.2}");
    }
    println!("\noptimizers: ns a parameter");
    for n in [20, 10_000, 500_000] {
        let (params, mut next) = (vec![0.5; n], vec![0.1; n]);
        let mut each = |optimizer: &mut dyn Optimizer| {
            nanoseconds((1_000_000 / n).max(3), || {
                next.fill(0.1);
                black_box(optimizer.advance(&params, &mut next));
            }) / n as f64
        };
        let adam = each(&mut Adam::rate(0.01));
        let averaged = each(&mut Averaged::<_, f64>::new(Adam::rate(0.01)));
        let dowg = each(&mut Averaged::<_, f64>::new(DoWG::new()));
        println!("{n:8}  Adam {adam:.2}  Averaged<Adam> {averaged:.2}  Averaged<DoWG> {dowg:.2}");
    }
    println!("\nfull rank, 8 draws: ns a step");
    for d in [100, 1_000] {
        let ascent = GradientAscent::new(StickingTheLanding { draws: 8 }, Adam::rate(0.02));
        let step = a_step(Bowl(d), FullRankGaussian::standard(d), ascent, 1_000 / d)?;
        println!("{d:8} {step:10.0}");
    }
    println!("\nlogistic regression, 1 000 000 x 20, minibatches: ns a step of {DRAWS} draws");
    let (rows, columns) = (1_000_000, 20);
    let mut x = vec![0.0; rows * columns];
    elbo::noise::fill_normal(&mut stream(1, Purpose::Data, 0), &mut x);
    let y: Vec<bool> = x.chunks(columns).map(|x| x[0] + x[1] > 0.3).collect();
    for batch in [256, 1_000] {
        let model = Logistic { likelihood: glm::bernoulli_logit(&x, columns, &y)?, columns };
        let inner = GradientAscent::new(Reparameterization { draws: DRAWS }, Adam::rate(0.01));
        let q = MeanFieldGaussian::standard(columns);
        let step = a_step(Autodiff::new(model), q, Minibatch::new(batch, inner), 1_000)?;
        let mut model =
            Autodiff::new(Logistic { likelihood: glm::bernoulli_logit(&x, columns, &y)?, columns });
        let some: Vec<usize> = (0..batch).collect();
        let (z, mut grad) = (vec![0.1; columns * DRAWS], vec![0.0; columns * DRAWS]);
        model.subsample(&some);
        let near = nanoseconds(1_000, || {
            model.grad_batch(&z, DRAWS, &mut grad, &mut []);
            black_box(&mut grad);
        });
        let anew = nanoseconds(1_000, || {
            model.subsample(&some);
            model.grad_batch(&z, DRAWS, &mut grad, &mut []);
            black_box(&mut grad);
        });
        println!("{batch:8} {step:10.0}   rows in cache {near:.0}, and told of them {anew:.0}");
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    let recorded = milliseconds(|| {
        let mut space = Space::new();
        let (mu, tau, eta) = (space.real("mu"), space.positive("tau"), space.reals("eta", 8));
        from_fn(space, move |z| {
            let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
            for (j, &eta) in z[eta].iter().enumerate() {
                lp += density::normal(eta, 0.0, 1.0);
                lp += density::normal(Var::from(EFFECT[j]), z[mu] + z[tau] * eta, SD[j]);
            }
            lp
        })
        .unconstrained()
    })?;
    let by_hand = milliseconds(|| ByHand)?;
    println!(
        "eight schools, mean field, {STEPS} steps of {DRAWS} draws, one thread, median of {RUNS}"
    );
    println!("  autodiff {recorded:8.2} ms, {:.2} us a step", recorded * 1e3 / STEPS as f64);
    println!("  by hand  {by_hand:8.2} ms, {:.2} us a step", by_hand * 1e3 / STEPS as f64);
    println!("  ratio    {:8.2}", recorded / by_hand);
    parts()
}
