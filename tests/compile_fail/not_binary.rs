//! Labels with more than two values, under an estimator for coins.
use elbo::{Adam, Categorical, Disarm, GradientAscent, Model, Options, Space, Support, fit};

struct Dice;
impl Model for Dice {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.one("die", Support::Category(3));
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        -z[0]
    }
}

fn main() {
    let ascent = GradientAscent::new(Disarm { pairs: 4 }, Adam::rate(0.01));
    let q: Categorical = Categorical::uniform(1, 3).unwrap();
    let _ = fit(Dice, q, ascent, Options::default());
}
