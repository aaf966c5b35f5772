//! Which way round should the divergence stand? One posterior with two modes, one normal to stand
//! for it, and both answers.

mod book;

use book::{Figure, grid, integrate};
use elbo::diagnostics::{MomentMatch, iwae_bound, moment_match};
use elbo::{
    Adam, Averaged, Differentiable, Error, Family, Fit, GradientAscent, MeanFieldGaussian, Model,
    Options, Schedule, Scheduled, Space, StickingTheLanding, Stop, density, fit, from_fn,
};

// ANCHOR: model
/// Half a normal at `-at`, half at `at`, both with standard deviation 1. Normalised: the log
/// evidence is zero, and the ELBO is minus the divergence.
fn two_modes(at: f64) -> impl Differentiable + Clone {
    let mut space = Space::new();
    let z = space.real("z");
    from_fn(space, move |x| {
        let parts = [density::normal(x[z], -at, 1.0), density::normal(x[z], at, 1.0)];
        density::mixture(&[0.5f64.ln().into(), 0.5f64.ln().into()], &parts)
    })
}
// ANCHOR_END: model

// ANCHOR: fits
/// Up the ELBO: `KL(q || p)`, reverse, by draws of `q`.
fn reverse<M: Differentiable>(
    model: M,
    start: MeanFieldGaussian,
) -> Result<Fit<M, MeanFieldGaussian>, Error> {
    let cooling = Scheduled::new(Adam::rate(0.05), Schedule::Cosine { steps: 4_000, floor: 0.01 });
    let ascent = GradientAscent::new(StickingTheLanding { draws: 32 }, Averaged::new(cooling));
    fit(model, start, ascent, Options { steps: 4_000, stop: Stop::Budget, ..Options::default() })
}

/// The normal with the posterior's mean and variance: `KL(p || q)`, forward, by weighted draws of
/// something wide.
fn forward<M: Differentiable>(model: &M) -> Result<MomentMatch, Error> {
    moment_match(model, &MeanFieldGaussian::new(vec![0.0], &[5.0])?, 40_000, 1)
}
// ANCHOR_END: fits

/// `KL(a || b)` of two log densities.
fn kl(a: impl Fn(f64) -> f64, b: impl Fn(f64) -> f64) -> f64 {
    integrate(-40.0, 40.0, 8_001, |z| a(z).exp() * (a(z) - b(z)))
}

fn main() -> Result<(), Error> {
    println!("One normal for two modes: which one is closest depends on the direction. How?");
    let model = two_modes(3.0);
    let log_p = |z: f64| model.log_joint(&[z]);

    // ANCHOR: reverse
    let right = reverse(model.clone(), MeanFieldGaussian::new(vec![2.5], &[1.0])?)?;
    let left = reverse(model.clone(), MeanFieldGaussian::new(vec![-2.5], &[1.0])?)?;
    let lost = kl(|z| right.q.log_prob(&[z]), log_p);
    for (q, mode) in [(&right.q, 3.0), (&left.q, -3.0)] {
        // the other mode pulls a little: the exact optimum is (2.984, 1.023)
        assert!((q.mean()[0] - mode).abs() < 0.03 && (q.sd()[0] - 1.0).abs() < 0.04);
    }
    // one mode fits, the other half of the mass is not there: log 2, less a little
    assert!((lost - 0.689).abs() < 2e-3, "{lost}");
    // ANCHOR_END: reverse

    // ANCHOR: forward
    let wide = forward(&model)?;
    let exact = MeanFieldGaussian::new(vec![0.0], &[10f64.sqrt()])?; // variance 1 + 3^2
    assert!(wide.khat < 0.5 && wide.q.mean()[0].abs() < 0.1);
    assert!((wide.q.sd()[0] - exact.sd()[0]).abs() < 0.05);
    let found = kl(log_p, |z| wide.q.log_prob(&[z]));
    let best = kl(log_p, |z| exact.log_prob(&[z]));
    assert!((best - 0.4620).abs() < 1e-4 && found - best < 1e-3, "{best} {found}");
    // ANCHOR_END: forward

    // ANCHOR: uses
    let between =
        |log_density: &dyn Fn(f64) -> f64| integrate(-1.5, 1.5, 2_001, |z| log_density(z).exp());
    let mass =
        [between(&log_p), between(&|z| right.q.log_prob(&[z])), between(&|z| exact.log_prob(&[z]))];
    assert!((mass[0] - 0.067).abs() < 1e-3 && (mass[2] - 0.365).abs() < 1e-3);
    // as a proposal: the one loses half the evidence, the other none
    let narrow_evidence = iwae_bound(&model, &right.q, 1_000, 100, 1)?;
    let wide_evidence = iwae_bound(&model, &wide.q, 1_000, 100, 1)?;
    assert!((narrow_evidence.value + 2f64.ln()).abs() < 0.1, "{narrow_evidence}");
    assert!(wide_evidence.value.abs() < 0.01, "{wide_evidence}");
    // ANCHOR_END: uses

    println!("                mean     sd   KL(q||p)  KL(p||q)  mass in |z| < 1.5  log evidence");
    println!("posterior      0.000  3.162                         {:.3}", mass[0]);
    let (m, s) = (right.q.mean()[0], right.q.sd()[0]);
    let missed = kl(log_p, |z| right.q.log_prob(&[z]));
    let covered = kl(|z| exact.log_prob(&[z]), log_p);
    println!(
        "reverse fit    {m:.3}  {s:.3}  {lost:7.3}  {missed:8.3}  {:16.3}       {narrow_evidence}",
        mass[1]
    );
    let (m, s) = (wide.q.mean()[0], wide.q.sd()[0]);
    println!(
        "forward fit   {m:.3}  {s:.3}  {covered:7.3}  {found:8.3}  {:16.3}       {wide_evidence}",
        mass[2]
    );
    book::fragment(
        "kl_directions",
        &format!(
            "| | mean | sd | $\\KL(q \\Vert p)$ | $\\KL(p \\Vert q)$ | mass in $\\lvert z \\rvert < 1.5$ |\n\
             |---|---|---|---|---|---|\n\
             | posterior | 0 | {:.3} | 0 | 0 | {:.3} |\n\
             | best in reverse | ±{:.2} | {:.2} | {lost:.3} | {missed:.2} | {:.3} |\n\
             | best forward | 0 | {:.3} | {covered:.3} | {best:.4} | {:.3} |",
            exact.sd()[0],
            mass[0],
            right.q.mean()[0],
            right.q.sd()[0],
            mass[1],
            exact.sd()[0],
            mass[2]
        ),
    );

    // ANCHOR: apart
    // As the modes move apart, the best reverse fit goes over from both of them to one.
    let mut rows = String::from(
        "| modes at | reverse: mean | sd | $\\KL(q \\Vert p)$ | forward: sd | $\\KL(p \\Vert q)$ |\n|---|---|---|---|---|---|",
    );
    for at in [1.0, 1.5, 2.0, 2.5, 3.0, 4.0] {
        let model = two_modes(at);
        let log_p = |z: f64| model.log_joint(&[z]);
        let from = |mean: f64, sd: f64| {
            let q = reverse(model.clone(), MeanFieldGaussian::new(vec![mean], &[sd])?)?.q;
            Ok::<_, Error>((kl(|z| q.log_prob(&[z]), log_p), q))
        };
        let (middle, side) = (from(0.0, at)?, from(at, 1.0)?);
        let (reversed, near) = if middle.0 < side.0 { middle } else { side };
        let sd = (1.0 + at * at).sqrt();
        let wide = MeanFieldGaussian::new(vec![0.0], &[sd])?;
        let forwards = kl(log_p, |z| wide.log_prob(&[z]));
        let one_mode = near.mean()[0] > 0.5 * at;
        assert_eq!(one_mode, at > 2.7, "modes at ±{at}: mean {}", near.mean()[0]);
        println!(
            "modes at ±{at}: reverse ({:.2}, {:.2}) KL {reversed:.3}, forward (0, {sd:.2}) KL {forwards:.3}",
            near.mean()[0].abs(),
            near.sd()[0]
        );
        let (m, s) = (near.mean()[0].abs(), near.sd()[0]);
        rows += &format!("\n| ±{at} | {m:.1} | {s:.2} | {reversed:.3} | {sd:.2} | {forwards:.3} |");
    }
    // ANCHOR_END: apart
    book::fragment("kl_directions_apart", &rows);

    let x = grid(-9.0, 9.0, 361);
    let density = |log_density: &dyn Fn(f64) -> f64| -> Vec<f64> {
        x.iter().map(|z| log_density(*z).exp()).collect()
    };
    Figure::new("Two modes, and the closest normal in each direction")
        .axes("z", "density")
        .dashed("posterior", &x, &density(&log_p))
        .colour(6)
        .line("reverse, KL(q || p)", &x, &density(&|z| right.q.log_prob(&[z])))
        .colour(1)
        .line("forward, KL(p || q)", &x, &density(&|z| exact.log_prob(&[z])))
        .colour(2)
        .save_or_check("kl_directions");
    println!(
        "OK: reverse fits one mode and loses log 2; forward has mean and variance right, and mass where there is none"
    );
    Ok(())
}
