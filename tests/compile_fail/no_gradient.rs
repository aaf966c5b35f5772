//! A hand-written model without a gradient, under a path estimator.
use elbo::{
    Adam, GradientAscent, MeanFieldGaussian, Model, Options, Reparameterization, Space, fit,
};

struct Bell;
impl Model for Bell {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("x");
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        -0.5 * z[0] * z[0]
    }
}

fn main() {
    let ascent = GradientAscent::new(Reparameterization { draws: 8 }, Adam::rate(0.01));
    let _ = fit(Bell, MeanFieldGaussian::standard(1), ascent, Options::default());
}
