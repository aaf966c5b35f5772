//! An estimator where a move belongs.
use elbo::{MeanFieldGaussian, Options, Space, StickingTheLanding};
use elbo::{density, fit, from_fn};

fn main() {
    let mut space = Space::new();
    let x = space.real("x");
    let model = from_fn(space, move |z| density::normal(z[x], 0.0, 1.0));
    let estimator = StickingTheLanding { draws: 8 };
    let _ = fit(model, MeanFieldGaussian::standard(1), estimator, Options::default());
}
