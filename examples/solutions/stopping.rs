//! Chapter 7.

use elbo::{
    Ascent, Averaged, Differentiable, Error, GradientAscent, MeanFieldGaussian, Only, Options,
    Reparameterization, Run, Sgd, Space, StickingTheLanding, Stop, density, from_fn,
};

pub fn solutions() -> Result<(), Error> {
    twice_the_inverse_curvature()?;
    the_floor()?;
    the_average()
}

/// A normal posterior around 0.
fn posterior(sd: f64) -> impl Differentiable {
    let mut space = Space::new();
    let z = space.real("z");
    from_fn(space, move |all| density::normal(all[z], 0.0, sd))
}

/// Steps in the mean of `q` alone: its sd, parameter 1, is held.
fn mean_only(rate: f64) -> (Only, Sgd) {
    (Only(0..1), Sgd::rate(rate))
}

fn budget(steps: usize, seed: u64) -> Options {
    Options { steps, seed, stop: Stop::Budget, ..Options::default() }
}

// ANCHOR: one
fn twice_the_inverse_curvature() -> Result<(), Error> {
    // where q has the posterior's sd, the path gradient in m is -m / sd^2 exactly: no noise
    let sd = 0.1;
    for rate_times_curvature in [0.5, 1.9, 2.1] {
        let start = MeanFieldGaussian::new(vec![1.0], &[sd])?;
        let optimizer = mean_only(rate_times_curvature * sd * sd);
        let ascent = GradientAscent::new(StickingTheLanding { draws: 1 }, optimizer);
        let fit = elbo::fit(posterior(sd), start, ascent, budget(30, 0))?;
        let predicted = (1.0f64 - rate_times_curvature).powi(30);
        assert!((fit.q.mean()[0] - predicted).abs() < 1e-9); // 17.4 for 2.1
    }
    Ok(())
}
// ANCHOR_END: one

// ANCHOR: two
fn the_floor() -> Result<(), Error> {
    // 1 draw, sd 1: curvature 1, noise of variance 1
    for rate in [0.1, 0.2] {
        let start = MeanFieldGaussian::standard(1);
        let ascent = GradientAscent::new(Reparameterization { draws: 1 }, mean_only(rate));
        let mut run = Run::new(posterior(1.0), start, ascent, budget(40_000, 1))?;
        let (mut squares, mut n) = (0.0, 0.0);
        while run.step()?.is_none() {
            if run.trace.len() > 1_000 {
                squares += run.q.mean()[0].powi(2);
                n += 1.0;
            }
        }
        // about n * rate independent iterates: standard error sqrt(2 / (n * rate)), 2 % or less
        assert!((squares / n / (rate / (2.0 - rate)) - 1.0).abs() < 0.1);
    }
    Ok(())
}
// ANCHOR_END: two

// ANCHOR: three
fn the_average() -> Result<(), Error> {
    let (runs, steps) = (200, 2_000);
    for rate in [0.1, 0.5] {
        let (mut last, mut average) = (0.0, 0.0);
        for seed in 0..runs {
            let start = MeanFieldGaussian::standard(1);
            let optimizer = Averaged::new(mean_only(rate));
            let ascent = GradientAscent::new(Reparameterization { draws: 1 }, optimizer);
            let mut run = Run::new(posterior(1.0), start, ascent, budget(steps, seed))?;
            while run.step()?.is_none() {}
            last += run.q.mean()[0].powi(2) / runs as f64;
            run.ascent.answer(&mut run.model, &mut run.q);
            average += run.q.mean()[0].powi(2) / runs as f64;
        }
        // each is known to sqrt(2 / 200) = 10 %
        assert!((last / (rate / (2.0 - rate)) - 1.0).abs() < 0.4);
        assert!((average / (81.0 / 17.0 / steps as f64) - 1.0).abs() < 0.4, "whatever the rate");
    }
    Ok(())
}
// ANCHOR_END: three
