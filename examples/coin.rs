//! A coin's bias: the exact posterior, the family that contains it, and one that does not.

mod book;

use std::ops::ControlFlow;

use book::{Figure, grid, integrate};
use elbo::{
    Adam, Ascent, Averaged, Beta, Differentiable, Divergence, Error, Family, Fit, GradientAscent,
    MeanFieldGaussian, Model, Options, Real, Reparameterization, ScoreFunction, Space,
    StickingTheLanding, Stop, density, diagnostics::quadrature, fit_with, from_fn,
};

// ANCHOR: model
/// Seven heads in ten flips; before, every bias was equally likely.
fn coin() -> impl Differentiable {
    let mut space = Space::new();
    let bias = space.unit("bias");
    from_fn(space, move |z| {
        let bias = z[bias];
        density::beta(bias, 1.0, 1.0) + bias.ln() * 7.0 + (-bias).ln_1p() * 3.0
    })
}
// ANCHOR_END: model

fn main() -> Result<(), Error> {
    println!("How biased is a coin that fell on heads seven times in ten?");

    // ANCHOR: exact
    let model = coin();
    let joint = |bias: f64| model.log_joint(&[bias]).exp();
    let inside = 1e-9; // the density is zero at both ends
    let evidence = integrate(inside, 1.0 - inside, 10_001, joint);
    let log_evidence = (1.0 / 1320.0_f64).ln(); // B(8, 4) = 7! 3! / 11!
    assert!((evidence.ln() - log_evidence).abs() < 1e-10);

    let posterior = |bias: f64| joint(bias) / evidence;
    let moment = |k: i32| integrate(inside, 1.0 - inside, 10_001, |b| b.powi(k) * posterior(b));
    let (mean, sd) = (moment(1), (moment(2) - moment(1).powi(2)).sqrt());
    assert!((mean - 8.0 / 12.0).abs() < 1e-9);
    assert!((sd - (8.0 * 4.0 / (12.0 * 12.0 * 13.0_f64)).sqrt()).abs() < 1e-9);
    // The library's own quadrature finds its grid by itself, in up to three dimensions.
    let found = quadrature(&coin().unconstrained())?;
    assert!((found.log_evidence - log_evidence).abs() < 1e-10);
    assert!((found.mean[0] - mean).abs() < 1e-9 && (found.sd[0] - sd).abs() < 1e-9);
    // ANCHOR_END: exact
    println!("exact: log evidence {log_evidence:.6}, mean {mean:.4}, sd {sd:.4}");

    // ANCHOR: beta
    let climb = |watched: &mut Vec<f64>, ascent: Box<dyn Ascent<_, Beta>>| {
        let options = Options { steps: 3000, seed: 7, stop: Stop::Budget, ..Options::default() };
        let exact = Beta::new(&[8.0], &[4.0])?;
        fit_with(coin(), Beta::uniform(1), ascent, options, |run| {
            watched.push(log_evidence - run.q.kl(&exact)); // the ELBO, exactly
            ControlFlow::Continue(())
        })
    };
    let adam = || Averaged::new(Adam::rate(0.03));
    let (mut by_score, mut by_path) = (Vec::new(), Vec::new());
    let fits: [Fit<_, Beta>; 2] = [
        climb(&mut by_score, Box::new(GradientAscent::new(ScoreFunction { draws: 16 }, adam())))?,
        climb(
            &mut by_path,
            Box::new(GradientAscent::new(StickingTheLanding { draws: 16 }, adam())),
        )?,
    ];
    for (name, fit) in ["score function", "path gradient"].iter().zip(&fits) {
        let (a, b) = fit.q.shapes(0);
        println!("{name:>15}: Beta({a:.4}, {b:.4})");
        assert!((a - 8.0).abs() < 1e-3 && (b - 4.0).abs() < 1e-3);
    }
    // ANCHOR_END: beta

    // The gradient with the noise of the score left in finds the same place, less sharply.
    let noisy = GradientAscent::new(Reparameterization { draws: 16 }, adam());
    let (a, b) = climb(&mut Vec::new(), Box::new(noisy))?.q.shapes(0);
    println!("{:>15}: Beta({a:.2}, {b:.2})", "with its noise");
    assert!((a / 8.0 - 1.0).abs() < 0.1 && (b / 4.0 - 1.0).abs() < 0.1);

    // ANCHOR: normal
    let model = coin().unconstrained(); // u = log(bias / (1 - bias)), with its Jacobian
    let ascent = GradientAscent::new(StickingTheLanding { draws: 64 }, adam());
    let options = Options { steps: 3000, seed: 7, stop: Stop::Budget, ..Options::default() };
    let mut path = Vec::new();
    let exact_elbo = |q: &MeanFieldGaussian, model: &dyn Fn(f64) -> f64| {
        let (m, s) = (q.mean()[0], q.sd()[0]);
        integrate(m - 10.0 * s, m + 10.0 * s, 201, |u| {
            let log_q = q.log_prob(&[u]);
            log_q.exp() * (model(u) - log_q)
        })
    };
    let normal = fit_with(model, MeanFieldGaussian::standard(1), ascent, options, |run| {
        path.push(exact_elbo(&run.q, &|u| run.model.log_joint(&[u])));
        ControlFlow::Continue(())
    })?;
    let bound = exact_elbo(&normal.q, &|u| normal.model.log_joint(&[u]));
    let gap = log_evidence - bound;
    // The best normal in the log odds has mean 0.7559, sd 0.6379 and a gap of 0.0037250.
    assert!((0.003_724_9..0.003_730).contains(&gap), "{gap}");
    // ANCHOR_END: normal
    let (m, s) = (normal.q.mean()[0], normal.q.sd()[0]);
    println!("{:>15}: N({m:.3}, {s:.3}^2) in the log odds, gap {gap:.5}", "normal");

    let table = format!(
        "| family | fitted | ELBO | gap |\n|---|---|---|---|\n\
         | Beta, by either gradient | Beta({:.2}, {:.2}) | ${log_evidence:.4}$ | 0 |\n\
         | normal in the log odds | mean ${m:.2}$, sd ${s:.2}$ | ${bound:.4}$ | {gap:.4} |",
        fits[0].q.shapes(0).0,
        fits[0].q.shapes(0).1,
    );
    book::fragment("coin", &table);
    book::fragment("coin_grid", &grid_costs(&joint));
    draw(&[by_score, by_path, path], log_evidence, &posterior, (m, s));
    dark_room();
    println!(
        "OK: both gradients find Beta(8, 4), the exact posterior; a normal stays {gap:.4} nats below"
    );
    Ok(())
}

// ANCHOR: grid
/// What the trapezoidal rule costs, and how wrong it is, by the points an axis.
fn grid_costs(joint: &dyn Fn(f64) -> f64) -> String {
    let mut space = Space::new();
    let z = space.reals("z", 4);
    let four = from_fn(space, move |x| -Real::dot(&[1.0; 4], &x[z]).square());
    assert!(quadrature(&four).is_err_and(|e| e.to_string().contains("goes up to 3")));

    let mut rows = String::new();
    let mut last = f64::INFINITY;
    for points in [5, 9, 17, 33] {
        let error = (1320.0 * integrate(0.0, 1.0, points, |b| joint(b.clamp(1e-12, 1.0 - 1e-12)))
            - 1.0)
            .abs();
        assert!(error < last / 4.0, "twice the points, less than a quarter of the error");
        last = error;
        let cost = |d: f64| (points as f64).log10() * d;
        rows += &format!(
            "| {points} | {error:.1e} | $10^{{{:.0}}}$ | $10^{{{:.0}}}$ |\n",
            cost(3.0),
            cost(20.0)
        );
    }
    format!(
        "| points an axis | relative error, one dimension | evaluations for 3 | for 20 |\n|---|---|---|---|\n{rows}"
    )
}
// ANCHOR_END: grid

// ANCHOR: room
/// A noise in a dark room: three causes, how common each is, and how well it explains the noise.
fn dark_room() {
    let prior = [0.60, 0.39, 0.01]; // wind, cat, burglar
    let likelihood = [0.02, 0.30, 0.80];
    let joint: Vec<f64> = prior.iter().zip(likelihood).map(|(p, l)| p * l).collect();
    let evidence: f64 = joint.iter().sum();
    let posterior: Vec<f64> = joint.iter().map(|j| j / evidence).collect();
    assert!((posterior.iter().sum::<f64>() - 1.0).abs() < 1e-15);
    assert!(posterior[1] > 0.8); // it was the cat
    // ANCHOR_END: room
    let bars = |offset: f64| [offset, 1.0 + offset, 2.0 + offset];
    Figure::new("A noise in a dark room")
        .axes("", "probability")
        .categories(&["wind", "cat", "burglar"])
        .x_from(-0.5, 2.5)
        .bars("prior", &bars(-0.26), 0.22, &[0.0; 3], &prior)
        .bars("likelihood of the noise", &bars(0.0), 0.22, &[0.0; 3], &likelihood)
        .bars("posterior", &bars(0.26), 0.22, &[0.0; 3], &posterior)
        .save_or_check("coin_room");
}

fn draw(
    paths: &[Vec<f64>; 3],
    log_evidence: f64,
    posterior: &dyn Fn(f64) -> f64,
    (m, s): (f64, f64),
) {
    let mut figure = Figure::new("The bound rises to the log evidence, or to just below it")
        .axes("step", "log evidence minus ELBO, in nats")
        .log_y()
        .y_from(1e-6, 2.0);
    let names = ["Beta, score function", "Beta, path gradient", "normal in the log odds"];
    for (name, path) in names.iter().zip(paths) {
        let every = 20;
        let steps: Vec<f64> = (0..path.len()).step_by(every).map(|i| i as f64).collect();
        let gap = |elbo: &f64| (log_evidence - elbo).max(1e-6);
        let gaps: Vec<f64> = path.iter().step_by(every).map(gap).collect();
        figure = figure.line(name, &steps, &gaps);
    }
    figure.save_or_check("coin_elbo");

    let bias = grid(0.005, 0.995, 199);
    let exact: Vec<f64> = bias.iter().map(|&b| posterior(b)).collect();
    let normal = |b: &f64| {
        let log_odds = (b / (1.0 - b)).ln();
        density::normal(log_odds, m, s).exp() / (b * (1.0 - b))
    };
    let normal: Vec<f64> = bias.iter().map(normal).collect();
    Figure::new("What is known about the bias after seven heads in ten flips")
        .axes("bias", "density")
        .band("Beta(8, 4), the exact posterior", &bias, &vec![0.0; bias.len()], &exact)
        .line("normal in the log odds", &bias, &normal)
        .dashed("before", &[0.0, 1.0], &[1.0, 1.0])
        .colour(6)
        .save_or_check("coin");
}
