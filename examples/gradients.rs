//! Four estimators of one gradient: the same mean everywhere, very different noise.

mod book;

use book::Figure;
use elbo::{
    Adam, Differentiable, Divergence, Family, GradientAscent, GradientEstimator, MeanFieldGaussian,
    Model, NonFinite, Options, Purpose, Reparameterization, Rng, Run, ScoreFunction, Scored, Space,
    StickingTheLanding, Stop, Var, density, diagnostics, from_fn, stream,
};

const DRAWS: usize = 8;
const ESTIMATES: usize = 4_000;

// ANCHOR: score
/// The score function without its baseline, the textbook formula: mean of `f_s score(z_s)`.
struct NoBaseline;

impl<M: Model, Q: Scored> GradientEstimator<M, Q> for NoBaseline {
    type Scratch = ();
    fn estimate(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        _: &mut (),
        _grad_theta: &mut [f64],
        grad: &mut [f64],
    ) -> Result<f64, NonFinite> {
        let (mut z, mut sum) = (vec![0.0; q.dim()], 0.0);
        for _ in 0..DRAWS {
            q.sample(rng, &mut z);
            let f = model.log_joint(&z) - q.log_prob(&z);
            q.add_score(&z, f / DRAWS as f64, grad);
            sum += f;
        }
        Ok(sum / DRAWS as f64)
    }
}
// ANCHOR_END: score

/// Mean and variance of each coordinate of the gradient over many independent estimates.
fn moments<M, Q: Family, E>(mut estimator: E, model: &M, q: &Q) -> Vec<(f64, f64)>
where
    E: GradientEstimator<M, Q>,
{
    let mut scratch = E::Scratch::default();
    let (mut grad, mut sums) = (vec![0.0; q.n_params()], vec![(0.0, 0.0); q.n_params()]);
    for t in 0..ESTIMATES {
        grad.fill(0.0);
        let mut rng = stream(2, Purpose::Report, t as u64);
        estimator
            .estimate(model, q, &mut rng, &mut scratch, &mut [], &mut grad)
            .expect("a normal log density is finite everywhere");
        for ((mean, square), g) in sums.iter_mut().zip(&grad) {
            let off = g - *mean;
            *mean += off / (t + 1) as f64;
            *square += off * (g - *mean);
        }
    }
    sums.into_iter().map(|(mean, square)| (mean, square / (ESTIMATES - 1) as f64)).collect()
}

fn total_variance(moments: &[(f64, f64)]) -> f64 {
    moments.iter().map(|m| m.1).sum()
}

// ANCHOR: unbiased
/// Fails unless each mean lies within 4 standard errors of the exact gradient.
fn assert_unbiased(name: &str, moments: &[(f64, f64)], exact: &[f64]) {
    for (i, ((mean, variance), exact)) in moments.iter().zip(exact).enumerate() {
        let se = (variance / ESTIMATES as f64).sqrt();
        let off = (mean - exact).abs();
        assert!(off <= 4.0 * se + 1e-12, "{name}, lambda[{i}]: {mean} ± {se}, exact {exact}");
    }
}
// ANCHOR_END: unbiased

/// Independent normals, unnormalised as a posterior always is: the log evidence is -20.
fn normals(mean: Vec<f64>, sd: Vec<f64>) -> impl Differentiable + Clone {
    let mut space = Space::new();
    let z = space.reals("z", mean.len());
    from_fn(space, move |all| {
        let term = |(i, &z): (usize, &Var)| density::normal(z, mean[i], sd[i]);
        all[z].iter().enumerate().map(term).sum::<Var>() - 20.0
    })
}

fn main() -> Result<(), elbo::Error> {
    println!("Which way of differentiating through randomness has the least noise, and where?");

    // ANCHOR: path
    let d = 10;
    let mean: Vec<f64> = (0..d).map(|i| 0.3 * i as f64 - 1.0).collect();
    let sd: Vec<f64> = (0..d).map(|i| 0.5 + 0.1 * i as f64).collect();
    let answer = MeanFieldGaussian::new(mean.clone(), &sd)?;
    let model = normals(mean.clone(), sd.clone());
    let ascent = GradientAscent::new(StickingTheLanding { draws: DRAWS }, Adam::rate(0.05));
    let options = Options { steps: 1_000, seed: 1, stop: Stop::Budget, ..Options::default() };
    let mut run = Run::new(model.clone(), MeanFieldGaussian::standard(d), ascent, options)?;
    println!("standard deviation of one estimate from {DRAWS} draws, along a fit of {d} normals");
    println!("  step      KL to go   score   with baseline   reparameterized   path alone");
    let (mut steps, mut noise) = (Vec::new(), Vec::new());
    for (step, next) in
        [0, 10, 20, 40, 60, 100, 150, 200, 300, 500, 500].windows(2).map(|w| (w[0], w[1]))
    {
        let exact: Vec<f64> = (0..d)
            .map(|i| (mean[i] - run.q.mean()[i]) / sd[i].powi(2))
            .chain((0..d).map(|i| 1.0 - (run.q.sd()[i] / sd[i]).powi(2)))
            .collect();
        let all = [
            ("score", moments(NoBaseline, &model, &run.q)),
            ("baseline", moments(ScoreFunction { draws: DRAWS }, &model, &run.q)),
            ("reparameterized", moments(Reparameterization { draws: DRAWS }, &model, &run.q)),
            ("path", moments(StickingTheLanding { draws: DRAWS }, &model, &run.q)),
        ];
        all.iter().for_each(|(name, moments)| assert_unbiased(name, moments, &exact));
        let sd = all.map(|(_, moments)| total_variance(&moments).sqrt());
        let ([a, b, c, e], to_go) = (sd, run.q.kl(&answer));
        println!("{step:6}  {to_go:12.2e}  {a:6.1}  {b:14.2e}  {c:16.2}  {e:11.2e}");
        steps.push(f64::from(step));
        noise.push(sd);
        for _ in step..next {
            run.step()?;
        }
    }
    // ANCHOR_END: path

    // ANCHOR: landing
    // At the exact answer the reparameterized gradient is `-eps / sd` and `1 - eps^2`: known noise.
    let entropy = total_variance(&moments(Reparameterization { draws: DRAWS }, &model, &answer));
    let path = total_variance(&moments(StickingTheLanding { draws: DRAWS }, &model, &answer));
    let known = sd.iter().map(|s| s.powi(-2) + 2.0).sum::<f64>() / DRAWS as f64;
    println!(
        "at the answer: reparameterized {:.3} ({:.3} by hand), path alone {:.0e}",
        entropy.sqrt(),
        known.sqrt(),
        path.sqrt()
    );
    let baseline = total_variance(&moments(ScoreFunction { draws: DRAWS }, &model, &answer));
    // The relative error of a variance over 4 000 estimates is about sqrt(2 / 4 000) = 2 %.
    assert!((entropy / known - 1.0).abs() < 0.1);
    assert!(path.sqrt() < 1e-12 && baseline.sqrt() < 1e-12);
    // ANCHOR_END: landing

    // ANCHOR: dimension
    // For q = N(1, I) and p = N(0, I) the score function's variance in a mean is
    // S / (S - 1) (d + 1) times that of the path.
    for d in [1, 10, 50] {
        let model = normals(vec![0.0; d], vec![1.0; d]);
        let q = MeanFieldGaussian::new(vec![1.0; d], &vec![1.0; d])?;
        let score = total_variance(&moments(ScoreFunction { draws: DRAWS }, &model, &q)[..d]);
        let path = total_variance(&moments(Reparameterization { draws: DRAWS }, &model, &q)[..d]);
        let (ratio, known) = (score / path, DRAWS as f64 / (DRAWS as f64 - 1.0) * (d as f64 + 1.0));
        println!(
            "d = {d:2}: the score function has {ratio:5.1} times the variance ({known:.1} by hand)"
        );
        // relative error of the ratio about 3 % at d = 1, where the products have heavy tails
        assert!((ratio / known - 1.0).abs() < 0.2, "{ratio} against {known}");
    }
    // ANCHOR_END: dimension

    // ANCHOR: draws
    let q = MeanFieldGaussian::standard(10);
    let once = diagnostics::elbo(&model, &q, 4_000, 1)?;
    let four = diagnostics::elbo(&model, &q, 16_000, 1)?;
    let ratio = once.mcse / four.mcse;
    println!("ELBO {once} from 4 000 draws, {four} from 16 000: {ratio:.2} times the error");
    assert!((1.8..2.2).contains(&ratio));
    // ANCHOR_END: draws

    show(&steps, &noise, known.sqrt());
    println!(
        "OK: all four are right on average; path alone and baseline lose their noise at the answer"
    );
    Ok(())
}

/// The figure and the table of the book.
fn show(steps: &[f64], noise: &[[f64; 4]], floor: f64) {
    let names = ["score function", "with baseline", "reparameterized", "path alone"];
    let mut figure = Figure::new("Noise of four gradients along one fit")
        .axes("step of the fit", "standard deviation of the gradient")
        .log_y();
    for (i, name) in names.iter().enumerate() {
        let sd: Vec<f64> = noise.iter().map(|row| row[i]).collect();
        figure = figure.line(name, steps, &sd).colour(i + 1).points("", steps, &sd).colour(i + 1);
    }
    figure
        .dashed("by hand, at the answer", &[steps[0], steps[steps.len() - 1]], &[floor; 2])
        .colour(6)
        .save_or_check("gradients");
    let row = |(step, [a, b, c, e]): (&f64, &[f64; 4])| {
        format!("| {step} | {a:.0} | {b:.4} | {c:.1} | {e:.4} |\n")
    };
    let some =
        steps.iter().zip(noise).filter(|&(&step, _)| [0.0, 20.0, 60.0, 200.0].contains(&step));
    let rows: String = some.map(row).collect();
    let head = format!("| step | {} |\n|---|---|---|---|---|\n", names.join(" | "));
    book::fragment("gradients", &(head + &rows));
}
