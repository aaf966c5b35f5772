//! A family with a path but without a score, under the score function.
use elbo::{Adam, Family, GradientAscent, Options, Reparameterized, ScoreFunction, Space};
use elbo::{density, fit, from_fn};

struct Shift(f64);
impl Family for Shift {
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
impl Reparameterized for Shift {
    type Residuals = ();
    fn transport(&self, eps: &[f64], z: &mut [f64], _log_q: &mut [f64], _: &mut ()) {
        z.copy_from_slice(eps);
    }
    fn pull_back(&self, _: &[f64], _: &(), dz: &[f64], _: &[f64], grad: &mut [f64]) {
        grad[0] += dz.iter().sum::<f64>();
    }
}

fn main() {
    let mut space = Space::new();
    let x = space.real("x");
    let model = from_fn(space, move |z| density::normal(z[x], 0.0, 1.0));
    let ascent = GradientAscent::new(ScoreFunction { draws: 8 }, Adam::rate(0.01));
    let _ = fit(model, Shift(0.0), ascent, Options::default());
}
