//! What compiles, so that the other files fail for their own reasons.
use elbo::{Adam, Averaged, DoWG, GradientAscent, MeanFieldGaussian, Model, Options};
use elbo::{Reparameterization, ScoreFunction, Space, StickingTheLanding, density, fit, from_fn};

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
    let mut space = Space::new();
    let x = space.real("x");
    let model = from_fn(space, move |z| density::normal(z[x], 0.0, 1.0));
    let q = || MeanFieldGaussian::standard(1);
    let path = Reparameterization { draws: 8 };
    let landing = StickingTheLanding { draws: 8 };
    let averaged = Averaged::new(DoWG::new());
    let _ = fit(model.clone(), q(), GradientAscent::new(landing, averaged), Options::default());
    let score = ScoreFunction { draws: 8 };
    let _ = fit(Bell, q(), GradientAscent::new(score, Adam::rate(0.01)), Options::default());
    let _ = fit(model, q(), GradientAscent::new(path, Adam::rate(0.01)), Options::default());
}
