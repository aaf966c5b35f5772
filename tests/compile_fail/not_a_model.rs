//! A `LogJoint` handed over without `Autodiff`, under an estimator that needs no gradient.
use elbo::{Adam, GradientAscent, LogJoint, MeanFieldGaussian, Options, Real, ScoreFunction};
use elbo::{Space, density, fit};

struct Bell;
impl LogJoint for Bell {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("x");
        space
    }
    fn log_joint<T: Real>(&self, z: &[T]) -> T {
        density::normal(z[0], 0.0, 1.0)
    }
}

fn main() {
    let ascent = GradientAscent::new(ScoreFunction { draws: 8 }, Adam::rate(0.01));
    let _ = fit(Bell, MeanFieldGaussian::standard(1), ascent, Options::default());
}
