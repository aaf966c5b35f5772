//! A family with a score but without a path from noise to draws, under a path estimator.
use elbo::{Adam, Family, GradientAscent, Options, Reparameterization, Scored, Space};
use elbo::{density, fit, from_fn};

#[derive(Clone)]
struct Coins(f64);
impl Family for Coins {
    fn dim(&self) -> usize {
        1
    }
    fn n_params(&self) -> usize {
        1
    }
    fn params(&self, out: &mut [f64]) {
        out[0] = self.0;
    }
    fn set_params(&mut self, params: &[f64]) {
        self.0 = params[0];
    }
    fn sample(&self, _: &mut dyn elbo::Rng, z: &mut [f64]) {
        z.fill(self.0);
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        -(z[0] - self.0).abs()
    }
}
impl Scored for Coins {
    fn add_score(&self, z: &[f64], weight: f64, grad: &mut [f64]) {
        grad[0] += weight * (z[0] - self.0).signum();
    }
}

fn main() {
    let mut space = Space::new();
    let x = space.real("x");
    let model = from_fn(space, move |z| density::normal(z[x], 0.0, 1.0));
    let ascent = GradientAscent::new(Reparameterization { draws: 8 }, Adam::rate(0.01));
    let _ = fit(model, Coins(0.0), ascent, Options::default());
}
