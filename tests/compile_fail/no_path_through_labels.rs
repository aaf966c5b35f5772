//! Labels, under an estimator that differentiates through draws.
use elbo::{Adam, Categorical, GradientAscent, Options, Reparameterization, Space, fit, from_fn};

fn main() {
    let mut space = Space::new();
    let x = space.real("x");
    let model = from_fn(space, move |z| -z[x]);
    let ascent = GradientAscent::new(Reparameterization { draws: 8 }, Adam::rate(0.01));
    let q: Categorical = Categorical::uniform(1, 3).unwrap();
    let _ = fit(model, q, ascent, Options::default());
}
