//! A number where an optimizer belongs.
use elbo::{GradientAscent, MeanFieldGaussian, Options, Reparameterization, Space};
use elbo::{density, fit, from_fn};

fn main() {
    let mut space = Space::new();
    let x = space.real("x");
    let model = from_fn(space, move |z| density::normal(z[x], 0.0, 1.0));
    let ascent = GradientAscent::new(Reparameterization { draws: 8 }, 0.01);
    let _ = fit(model, MeanFieldGaussian::standard(1), ascent, Options::default());
}
