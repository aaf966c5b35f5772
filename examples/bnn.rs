//! Does a network know where it does not know? Weights get a distribution, and far from the data
//! the functions it stands for disagree.

mod book;

use book::Figure;
use elbo::nn::{
    Activation, BayesianNeuralNetwork, LocalReparameterization, Mlp, Network, Prediction,
};
use elbo::{
    Adam, Averaged, ClipNorm, Draws, Error, Family, GradientAscent, GradientEstimator,
    LowRankGaussian, MeanFieldGaussian, Model, Options, Posterior, Purpose, StickingTheLanding,
    Unconstrained, fit, stream,
};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

const NOISE: f64 = 0.1;
const LEVEL: f64 = 0.9;
const DRAWS: usize = 300;

fn truth(x: f64) -> f64 {
    (2.5 * x).sin() + 0.3 * x
}

/// Rows with `x` in `(-1.5, -0.5)` or `(0.5, 1.5)`.
fn simulated(n: usize, index: u64) -> (Vec<f64>, Vec<f64>) {
    let mut rng = stream(3, Purpose::Data, index);
    let x: Vec<f64> = (0..n)
        .map(|_| {
            let side = if rng.random::<bool>() { 1.0 } else { -1.0 };
            side * (0.5 + rng.random::<f64>())
        })
        .collect();
    let noise = |rng: &mut _| -> f64 { NOISE * Distribution::<f64>::sample(&StandardNormal, rng) };
    let y = x.iter().map(|&x| truth(x) + noise(&mut rng)).collect();
    (x, y)
}

fn main() -> Result<(), Error> {
    println!("Does a network know where it does not know?");
    let (x, y) = simulated(120, 0);
    let (new_x, new_y) = simulated(500, 1);

    // ANCHOR: model
    let network = Mlp::new(&[1, 20, 1], Activation::Gelu, 1)?;
    let model = BayesianNeuralNetwork::new(network, &x, &y)?.wider(2.0)?;
    // ANCHOR_END: model

    // ANCHOR: start
    let d = model.dim();
    let mut start = vec![-1.8; d]; // the last is the logarithm of the noise
    model.network().params(&mut start[..d - 1]);
    let sd = vec![0.02; d];
    // ANCHOR_END: start

    // ANCHOR: fit
    let optimizer = || (ClipNorm(1000.0), Averaged::new(Adam::rate(0.01)));
    let options = Options { steps: 4_000, ..Options::default() };
    let q = MeanFieldGaussian::new(start.clone(), &sd)?;
    let ascent = GradientAscent::new(LocalReparameterization { draws: 1 }, optimizer());
    let narrow = fit(model.clone().unconstrained(), q, ascent, options.clone())?;
    let q = LowRankGaussian::new(&start, &sd, 8)?;
    let ascent = GradientAscent::new(StickingTheLanding { draws: 8 }, optimizer());
    let wide = fit(model.clone().unconstrained(), q, ascent, options)?;
    // ANCHOR_END: fit
    let elbo = |trace: &[elbo::Step]| {
        let last = trace.iter().rev().filter_map(|s| s.elbo).take(200);
        last.sum::<f64>() / 200.0
    };
    let elbos = [elbo(&narrow.trace), elbo(&wide.trace)];
    let quieter = noise_of_the_gradients(&narrow.model, &narrow.q);
    let draws = [
        Posterior::new(narrow.model.space(), narrow.q)?.draws(DRAWS, 1)?,
        Posterior::new(wide.model.space(), wide.q)?.draws(DRAWS, 1)?,
    ];

    let mut table = String::from(
        "| family | ELBO | noise (0.1) | 90 % interval holds | sd inside | sd at the edge of the picture |\n|---|---|---|---|---|---|\n",
    );
    let grid: Vec<f64> = (0..=160).map(|i| -4.0 + 0.05 * f64::from(i)).collect();
    let mut pictures = Vec::new();
    for ((name, elbo), draws) in
        [("mean field", elbos[0]), ("low rank", elbos[1])].iter().zip(&draws)
    {
        let (covered, inside) = inside(&model, draws, &new_x, &new_y)?;
        let picture = model.predict(draws.rows(), &grid, LEVEL)?;
        let far = picture.sd[0].min(picture.sd[grid.len() - 1]);
        let noise = draws.mean_of(|z| z[d - 1]);
        println!(
            "{name:10}  noise {noise:.2}  covered {covered:.2}  sd inside {inside:.2}, at the edge {far:.2}"
        );
        table += &format!(
            "| {name} | {elbo:.0} | {noise:.2} | {:.0} % | {inside:.2} | {far:.1} |\n",
            100.0 * covered
        );
        // ANCHOR: claim
        assert!((0.8..=0.97).contains(&covered), "{name}: the interval holds {covered}");
        assert!(far > 2.0 * inside, "{name}: sd {far} far away, {inside} among the data");
        // ANCHOR_END: claim
        pictures.push(picture);
    }
    book::fragment("bnn", &table);
    let [means, log_sds] = quieter;
    println!("drawing units, not weights: variance {means:.0} and {log_sds:.0} times smaller");
    book::fragment(
        "bnn_noise",
        &format!(
            "| gradient in | variance with drawn weights, against drawn units |\n|---|---|\n| means | {means:.0} times |\n| log sds | {log_sds:.0} times |"
        ),
    );
    // ANCHOR: quieter
    assert!(means > 10.0 && log_sds > 10.0, "{means} and {log_sds} times");
    // ANCHOR_END: quieter
    draw(&grid, &x, &y, &pictures[1]);
    println!(
        "OK: intervals hold what they say among the data, and are at least twice as wide away from them"
    );
    Ok(())
}

/// How many times as large the variance of the gradient is where weights are drawn and not units: in the
/// means, and in the logarithms of the sds.
fn noise_of_the_gradients(
    model: &Unconstrained<BayesianNeuralNetwork>,
    q: &MeanFieldGaussian,
) -> [f64; 2] {
    let weights = variances(StickingTheLanding { draws: 1 }, model, q);
    let units = variances(LocalReparameterization { draws: 1 }, model, q);
    [weights[0] / units[0], weights[1] / units[1]]
}

fn variances<E>(
    mut estimator: E,
    model: &Unconstrained<BayesianNeuralNetwork>,
    q: &MeanFieldGaussian,
) -> [f64; 2]
where
    E: GradientEstimator<Unconstrained<BayesianNeuralNetwork>, MeanFieldGaussian>,
{
    const ESTIMATES: usize = 500;
    let (mut rng, mut scratch) = (stream(5, Purpose::Step, 0), E::Scratch::default());
    let gradients: Vec<Vec<f64>> = (0..ESTIMATES)
        .map(|_| {
            let mut grad = vec![0.0; q.n_params()];
            let elbo = estimator.estimate(model, q, &mut rng, &mut scratch, &mut [], &mut grad);
            assert!(elbo.is_ok(), "a draw was not finite");
            grad
        })
        .collect();
    let variance = |i: usize| {
        let mean = gradients.iter().map(|g| g[i]).sum::<f64>() / ESTIMATES as f64;
        gradients.iter().map(|g| (g[i] - mean).powi(2)).sum::<f64>() / (ESTIMATES - 1) as f64
    };
    let d = q.dim();
    // all but the noise, the last of each
    [(0..d - 1).map(variance).sum(), (d..2 * d - 1).map(variance).sum()]
}

/// How many of the new outcomes lie in their interval, and the mean sd there.
fn inside(
    model: &BayesianNeuralNetwork,
    draws: &Draws,
    x: &[f64],
    y: &[f64],
) -> Result<(f64, f64), Error> {
    // ANCHOR: predict
    let prediction = model.predict(draws.rows(), x, LEVEL)?;
    let bounds = prediction.low.iter().zip(&prediction.high);
    let held = y.iter().zip(bounds).filter(|(y, (low, high))| low <= y && y <= high).count();
    // ANCHOR_END: predict
    let n = y.len() as f64;
    Ok((held as f64 / n, prediction.sd.iter().sum::<f64>() / n))
}

fn draw(grid: &[f64], x: &[f64], y: &[f64], prediction: &Prediction) {
    let Prediction { mean, sd, function_sd, .. } = prediction;
    let band = |sd: &[f64], sign: f64| -> Vec<f64> {
        mean.iter().zip(sd).map(|(m, sd)| m + 1.645 * sign * sd).collect()
    };
    let truth: Vec<f64> = grid.iter().map(|&x| truth(x)).collect();
    Figure::new("What the network says, and how sure it is")
        .axes("x", "y")
        .band("90 % of outcomes", grid, &band(sd, -1.0), &band(sd, 1.0))
        .band("90 % of functions", grid, &band(function_sd, -1.0), &band(function_sd, 1.0))
        .dashed("truth", grid, &truth)
        .line("mean", grid, mean)
        .points("data", x, y)
        .save_or_check("bnn");
}
