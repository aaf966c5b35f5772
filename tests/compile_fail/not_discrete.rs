//! A family of numbers, under relaxed labels.
use elbo::{Adam, GradientAscent, GumbelSoftmax, MeanFieldGaussian, OneHot, Options, Schedule};
use elbo::{Space, Support, fit, from_fn};

fn main() {
    let mut space = Space::new();
    let y = space.block("y", 3, Support::Simplex);
    let model = OneHot::new(from_fn(space, move |z| z[y][0] - z[y][1])).unwrap();
    let ascent = GradientAscent::new(GumbelSoftmax::new(4, Schedule::Constant), Adam::rate(0.01));
    let _ = fit(model, MeanFieldGaussian::standard(1), ascent, Options::default());
}
