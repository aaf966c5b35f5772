//! Chapter 8.

use elbo::density::{self, glm};
use elbo::{
    Autodiff, Averaged, DoWG, Error, GradientAscent, LogJoint, MeanFieldGaussian, Minibatch,
    Options, Purpose, Real, Space, StickingTheLanding, Stop, Subsample, fit, from_fn, infer,
    stream,
};
use rand::RngExt;

pub fn solutions() -> Result<(), Error> {
    averaged_not_summed()?;
    noise_of_a_batch();
    logistic()
}

// ANCHOR: one
fn averaged_not_summed() -> Result<(), Error> {
    // rows with mean 2 that count as `weight` rows: 1 when averaged, 50 unscaled, 5 000 when right
    for weight in [1.0, 50.0, 5_000.0] {
        let mut space = Space::new();
        let mu = space.real("mu");
        let model = from_fn(space, move |z| {
            density::normal(z[mu], 0.0, 100.0) + density::normal(z[mu], 2.0, 1.0) * weight
        });
        let sd = infer(model)?.row("mu")?.sd;
        // of 4 000 draws: known to 1.1 %
        assert!((sd * f64::sqrt(weight) - 1.0).abs() < 0.045, "{weight}: {sd}");
    }
    Ok(())
}
// ANCHOR_END: one

// ANCHOR: two
fn noise_of_a_batch() {
    let (n, batch, repeats) = (1_000, 100, 20_000);
    let mut rng = stream(1, Purpose::Data, 0);
    let slope: Vec<f64> = (0..n).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect(); // sum 0
    let mut square = 0.0;
    for _ in 0..repeats {
        let rows = rand::seq::index::sample(&mut rng, n, batch);
        let estimate = rows.iter().map(|i| slope[i]).sum::<f64>() * n as f64 / batch as f64;
        square += estimate * estimate / f64::from(repeats);
    }
    let predicted = (n * n / batch) as f64 * (n - batch) as f64 / (n - 1) as f64;
    // the relative error of a variance of 20 000 near-normal numbers is 1 %
    assert!((square / predicted - 1.0).abs() < 0.04);
}
// ANCHOR_END: two

// ANCHOR: three
/// Logistic regression on a likelihood of the library, which scales the rows it is shown.
#[derive(Clone)]
struct Logistic {
    likelihood: glm::Likelihood,
}

impl LogJoint for Logistic {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("beta", 2);
        space
    }
    fn log_joint<T: Real>(&self, z: &[T]) -> T {
        density::normals(z, 0.0, 2.5) + self.likelihood.log_prob(z)
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
    // Two more lines make a step faster: the formula stays, and rows may be kept in another order.
    fn keeps_formula(&self) -> bool {
        true
    }
    fn arrange(&mut self, order: &[usize]) -> bool {
        self.likelihood.arrange(order)
    }
}

fn logistic() -> Result<(), Error> {
    let mut rng = stream(2, Purpose::Data, 0);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for _ in 0..5_000 {
        let dose = rng.random_range(-1.0..1.0_f64);
        x.extend([1.0, dose]);
        y.push(rng.random::<f64>() < 1.0 / (1.0 + (-0.5 - dose).exp()));
    }
    let model = Autodiff::new(Logistic { likelihood: glm::bernoulli_logit(&x, 2, &y)? });
    let steps = 5_000;
    let move_by =
        |draws| GradientAscent::new(StickingTheLanding { draws }, Averaged::new(DoWG::new()));
    let options = |steps| Options { steps, stop: Stop::Budget, ..Options::default() };
    let start = MeanFieldGaussian::standard(2);
    let all = fit(model.clone(), start.clone(), move_by(4), options(500))?;
    let some = fit(model, start, Minibatch::new(100, move_by(32)), options(steps))?;
    // noise of one step in units of the sd: sqrt(N / B) = 7 in a mean; averaged, 7 sqrt(4.8 / steps)
    let noise = (50.0 * 4.8 / steps as f64).sqrt();
    for i in 0..2 {
        let sd = all.q.sd()[i];
        let off = (some.q.mean()[i] - all.q.mean()[i]) / sd;
        assert!(off.abs() < 4.0 * noise, "{off}");
        // in log sd the same noise over 2 sqrt(draws)
        assert!((some.q.sd()[i] / sd).ln().abs() < 4.0 * noise / (2.0 * f64::sqrt(32.0)) + 0.01);
    }
    Ok(())
}
// ANCHOR_END: three
