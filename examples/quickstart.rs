//! Eight schools.
use elbo::{
    Adam, Averaged, GradientAscent, MeanFieldGaussian, Model, Options, Space, StickingTheLanding,
    Var, density, fit, from_fn,
};

fn main() -> Result<(), elbo::Error> {
    println!("Does coaching help in the eight schools, and by how much?");
    let effect = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
    let sd = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];
    let mut space = Space::new();
    let (mu, tau, eta) = (space.real("mu"), space.positive("tau"), space.reals("eta", 8));
    let model = from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
        for (j, &eta) in z[eta].iter().enumerate() {
            lp += density::normal(eta, 0.0, 1.0);
            lp += density::normal(Var::from(effect[j]), z[mu] + z[tau] * eta, sd[j]);
        }
        lp
    })
    .unconstrained();
    let ascent =
        GradientAscent::new(StickingTheLanding { draws: 10 }, Averaged::new(Adam::rate(0.02)));
    let posterior = fit(
        model,
        MeanFieldGaussian::standard(10),
        ascent,
        Options { steps: 4_000, seed: 1, stop: elbo::Stop::Budget, ..Options::default() },
    )?;
    let (mean, sd) = (posterior.q.mean()[0], posterior.q.sd()[0]);
    println!("{:?} after {} steps", posterior.outcome, posterior.trace.len());
    println!("mean effect {mean:.1}, sd {sd:.1}");
    // The posterior of mu has mean 4.4 and sd 3.3 (long runs of Markov chain Monte Carlo).
    assert!((mean - 4.4).abs() < 0.3 && sd > 2.0 && sd < 4.0);
    println!("OK: coaching helps by a few points, give or take nearly as much");
    Ok(())
}
