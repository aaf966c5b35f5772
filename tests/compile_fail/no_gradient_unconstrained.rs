//! A hand-written model without a gradient, moved to the whole line, under a path estimator.
use elbo::{
    Adam, GradientAscent, MeanFieldGaussian, Model, Options, Space, StickingTheLanding, fit,
};

struct Waiting;
impl Model for Waiting {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.positive("time");
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        -z[0]
    }
}

fn main() {
    let ascent = GradientAscent::new(StickingTheLanding { draws: 8 }, Adam::rate(0.01));
    let _ =
        fit(Waiting.unconstrained(), MeanFieldGaussian::standard(1), ascent, Options::default());
}
