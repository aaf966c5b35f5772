//! Optimizer and estimator in the wrong order.
use elbo::{Adam, GradientAscent, MeanFieldGaussian, Options, Space, StickingTheLanding};
use elbo::{density, fit, from_fn};

fn main() {
    let mut space = Space::new();
    let x = space.real("x");
    let model = from_fn(space, move |z| density::normal(z[x], 0.0, 1.0));
    let ascent = GradientAscent::new(Adam::<f64>::rate(0.01), StickingTheLanding { draws: 8 });
    let _ = fit(model, MeanFieldGaussian::standard(1), ascent, Options::default());
}
