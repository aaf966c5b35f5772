//! What does it cost that one network answers for every datum, and what does it save? A toy with one
//! latent number, so that a sum over a fine grid knows every evidence.

mod book;

use std::sync::Arc;
use std::time::Instant;

use book::{Figure, grid};
use elbo::data::Images;
use elbo::nn::{Activation, Decoder, Encoder, Encoding, FixedDecoder, Likelihood, Mlp, Noise, Vae};
use elbo::noise::fill_normal;
use elbo::{
    Adam, Error, GradientAscent, MeanFieldGaussian, Minibatch, Options, Purpose, Schedule,
    Scheduled, StickingTheLanding, Stop, density, fit, stream,
};

const ROWS: usize = 300;
/// The variance of the noise.
const NOISE: f64 = 0.04;
/// What a climb for a row by itself may lack, in nats.
const CLIMB: f64 = 1e-3;

// ANCHOR: data
/// Points along a wave, with noise: `(a / 2, sin 1.5 a)`.
fn wave() -> Result<Arc<Images>, Error> {
    let mut noise = vec![0.0f64; 3 * ROWS];
    fill_normal(&mut stream(1, Purpose::Data, 0), &mut noise);
    let point =
        |e: &[f64]| [0.5 * e[0] + NOISE.sqrt() * e[1], (1.5 * e[0]).sin() + NOISE.sqrt() * e[2]];
    let numbers = noise.chunks_exact(3).flat_map(point).map(|x| x as f32).collect();
    Ok(Arc::new(Images::new(numbers, 1, 2)?))
}
// ANCHOR_END: data

type Ascent = GradientAscent<StickingTheLanding, Scheduled<Adam<f64>>>;

fn climb() -> (Ascent, Options) {
    let steps = 4_000;
    let falling = Schedule::Cosine { steps: steps as u64, floor: 0.01 };
    let optimizer = Scheduled::new(Adam::rate(1e-2), falling);
    let ascent = GradientAscent::new(StickingTheLanding { draws: 2 }, optimizer);
    (ascent, Options { steps, stop: Stop::Budget, ..Options::default() })
}

// ANCHOR: exact
/// The log joint of each row on a grid of `z`, by which everything is a sum.
struct Exact {
    z: Vec<f64>,
    log_joint: Vec<Vec<f64>>,
}

impl Exact {
    fn new(decoder: &Decoder<Mlp<f64>, f64>) -> Result<Exact, Error> {
        let (z, images) = (grid(-7.0, 7.0, 1401), decoder.images().clone());
        let said = decoder.mean(&z)?;
        let log_joint = |row: usize| {
            let log_joint = z.iter().zip(said.chunks_exact(2)).map(|(&z, mean)| {
                let pixel = |p| density::normal(images.pixel(row, p), mean[p], NOISE.sqrt());
                density::normal(z, 0.0, 1.0) + pixel(0) + pixel(1)
            });
            log_joint.collect()
        };
        let log_joint = (0..images.len()).map(log_joint).collect();
        Ok(Exact { z, log_joint })
    }

    fn step(&self) -> f64 {
        self.z[1] - self.z[0]
    }

    fn integral(&self, of: impl Fn(usize) -> f64) -> f64 {
        self.step() * (0..self.z.len()).map(of).sum::<f64>()
    }

    /// `log p(x)` of a row.
    fn evidence(&self, row: usize) -> f64 {
        self.integral(|k| self.log_joint[row][k].exp()).ln()
    }

    fn elbo(&self, row: usize, mean: f64, sd: f64) -> f64 {
        self.integral(|k| {
            let log_q = density::normal(self.z[k], mean, sd);
            log_q.exp() * (self.log_joint[row][k] - log_q)
        })
    }

    /// `KL(q || p(z | x))` of a row.
    fn divergence(&self, row: usize, mean: f64, sd: f64) -> f64 {
        let evidence = self.evidence(row);
        self.integral(|k| {
            let (log_q, posterior) =
                (density::normal(self.z[k], mean, sd), self.log_joint[row][k] - evidence);
            log_q.exp() * (log_q - posterior)
        })
    }

    /// The ELBO of each row, each with a normal of its own.
    fn elbos(&self, mean: &[f64], sd: &[f64]) -> Vec<f64> {
        (0..ROWS).map(|row| self.elbo(row, mean[row], sd[row])).collect()
    }

    /// The ELBO of each row, all with the same normal.
    fn elbos_of_one(&self, mean: f64, sd: f64) -> Vec<f64> {
        let log_q: Vec<f64> = self.z.iter().map(|&z| density::normal(z, mean, sd)).collect();
        let there: Vec<usize> = (0..self.z.len()).filter(|&k| log_q[k] > -30.0).collect();
        let weights: Vec<f64> = there.iter().map(|&k| self.step() * log_q[k].exp()).collect();
        let sum = |of: &[f64]| there.iter().zip(&weights).map(|(&k, w)| w * of[k]).sum::<f64>();
        let entropy = -sum(&log_q);
        self.log_joint.iter().map(|log_joint| sum(log_joint) + entropy).collect()
    }
}
// ANCHOR_END: exact

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

fn main() -> Result<(), Error> {
    println!("What does it cost that one network answers for every datum, and what does it save?");
    // ANCHOR: learn
    let rows = wave()?;
    let network = Mlp::<f64>::new(&[1, 32, 2], Activation::Tanh, 1)?;
    let noise = Likelihood::Gaussian(Noise::Fixed(NOISE));
    let decoder = Decoder::new(network, rows.clone(), noise)?;
    let encoder = |hidden: &[usize], seed| {
        let widths = [&[2], hidden, &[2]].concat();
        Encoder::new(Mlp::new(&widths, Activation::Tanh, seed)?, rows.clone())
    };
    let (ascent, options) = climb();
    let fitted = fit(decoder, encoder(&[32], 2)?, Minibatch::new(100, ascent), options)?;
    let (decoder, together) = (fitted.model, fitted.q);
    // ANCHOR_END: learn
    let exact = Exact::new(&decoder)?;
    let evidence: Vec<f64> = (0..ROWS).map(|row| exact.evidence(row)).collect();

    // ANCHOR: best
    let start = together.encode(&rows)?;
    let each = MeanFieldGaussian::new(start.mean, &start.sd)?;
    let falling = Schedule::Cosine { steps: 600, floor: 1e-3 };
    let ascent = GradientAscent::new(
        StickingTheLanding { draws: 32 },
        Scheduled::new(Adam::rate(0.05), falling),
    );
    let options = Options { steps: 600, stop: Stop::Budget, ..Options::default() };
    let each = fit(FixedDecoder::new(decoder.clone()), each, ascent, options)?.q;
    let best = exact.elbos(each.mean(), each.sd());
    // ANCHOR_END: best

    // ANCHOR: everywhere
    // every mean and every spread is tried: none is better, by more than the noise of the climb
    for mean in grid(-3.0, 3.0, 61) {
        for log_sd in grid(-3.0, 0.3, 34) {
            for (here, best) in exact.elbos_of_one(mean, log_sd.exp()).iter().zip(&best) {
                assert!(*here < best + CLIMB);
            }
        }
    }
    // ANCHOR_END: everywhere

    // ANCHOR: split
    let mut encoders = Vec::new();
    for hidden in [&[][..], &[4], &[32]] {
        let (ascent, options) = climb();
        let fixed = FixedDecoder::new(decoder.clone());
        let encoder = fit(fixed, encoder(hidden, 3)?, Minibatch::new(100, ascent), options)?.q;
        let said = encoder.encode(&rows)?;
        let bound = exact.elbos(&said.mean, &said.sd);
        for row in 0..ROWS {
            let two = [(said.mean[row], said.sd[row]), (each.mean()[row], each.sd()[row])];
            let [whole, approximation] = two.map(|(mean, sd)| exact.divergence(row, mean, sd));
            // what a bound lacks is the divergence from the posterior, computed on its own
            assert!((evidence[row] - bound[row] - whole).abs() < 1e-9);
            assert!((evidence[row] - best[row] - approximation).abs() < 1e-9);
            assert!(approximation >= 0.0 && whole - approximation > -CLIMB);
        }
        encoders.push((encoder, mean(&bound)));
    }
    // ANCHOR_END: split
    let (evidence, best) = (mean(&evidence), mean(&best));
    let bounds: Vec<f64> = encoders.iter().map(|(_, bound)| *bound).collect();
    assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "wider encoders lose less");
    println!("evidence {evidence:.4}, best q of each row {best:.4}, nats a row");
    let names = ["none", "4", "32"];
    let mut table = String::from(
        "| hidden units | ELBO | approximation gap | amortization gap |\n|---|---|---|---|",
    );
    for (name, bound) in names.iter().zip(&bounds) {
        let (family, network) = (evidence - best, best - bound);
        println!("hidden units {name:>4}: {bound:.4} lacks {family:.4} + {network:.4}");
        table += &format!("\n| {name} | ${bound:.3}$ | {family:.3} | {network:.3} |");
    }
    table += &format!(
        "\n\nThe log evidence is ${evidence:.3}$, the best normal of each row reaches ${best:.3}$."
    );
    book::fragment("amortization", &table);
    assert!(best - bounds[0] > 3.0 * (evidence - best), "here most of the gap is amortization");

    // ANCHOR: time
    let linear = Vae { decoder: &decoder, encoder: &encoders[0].0 };
    let clock = Instant::now();
    linear.encode(&rows)?;
    let pass = clock.elapsed().as_secs_f64() / ROWS as f64;
    let clock = Instant::now();
    let refined = linear.refine(&rows, 500, 1)?;
    let each_row = clock.elapsed().as_secs_f64() / ROWS as f64;
    let refined = mean(&exact.elbos(&refined.mean, &refined.sd));
    assert!(each_row > 100.0 * pass, "one pass against a climb for each row");
    assert!(refined > best - 0.01, "the climb gets back what amortization lost");
    // ANCHOR_END: time
    println!(
        "no hidden units: a pass is {:.0e} times as fast as a climb, which lifts {:.3} to {refined:.3}",
        each_row / pass,
        bounds[0]
    );

    // ANCHOR: shared
    // one q for all rows: the best there is has the density p(z) prod_n p(x_n | z)^(1/N)
    let middle = |k: usize| exact.log_joint.iter().map(|row| row[k]).sum::<f64>() / ROWS as f64;
    let middle: Vec<f64> = (0..exact.z.len()).map(middle).collect();
    let shared = exact.integral(|k| middle[k].exp()).ln();
    // and no decoder can make it better than one that says the mean whatever z is
    let spread = |p: usize| {
        let pixels: Vec<f64> = (0..ROWS).map(|row| rows.pixel(row, p)).collect();
        let centre = mean(&pixels);
        mean(&pixels.iter().map(|x| density::normal(*x, centre, NOISE.sqrt())).collect::<Vec<_>>())
    };
    let limit = spread(0) + spread(1);
    assert!(shared <= limit && bounds[0] > limit + 5.0);
    // ANCHOR_END: shared
    println!("one q for all rows: {shared:.2}, and with any decoder {limit:.2} at most");
    book::fragment(
        "amortization_shared",
        &format!(
            "| | nats a row |\n|---|---|\n| one $q$ for all rows, the best for this decoder | ${shared:.1}$ |\n| the same, the most that any decoder can have | ${limit:.1}$ |\n| the encoder without hidden units | ${:.2}$ |",
            bounds[0]
        ),
    );

    // ANCHOR: prior
    let density_of = |row: usize| {
        let (mean, sd) = (each.mean()[row], each.sd()[row]);
        exact.z.iter().map(move |&z| density::normal(z, mean, sd).exp())
    };
    // its logarithm exists everywhere
    let mut average = vec![1e-300; exact.z.len()];
    for row in 0..ROWS {
        average.iter_mut().zip(density_of(row)).for_each(|(a, q)| *a += q / ROWS as f64);
    }
    let paid = |prior: &dyn Fn(usize) -> f64| {
        let one = |row: usize| {
            let q: Vec<f64> = density_of(row).collect();
            exact.integral(|k| if q[k] > 0.0 { q[k] * (q[k].ln() - prior(k)) } else { 0.0 })
        };
        mean(&(0..ROWS).map(one).collect::<Vec<_>>())
    };
    let least = paid(&|k| average[k].ln());
    let of_all = exact.integral(|k| middle[k].exp()).ln();
    let priors: [&dyn Fn(usize) -> f64; 3] = [
        &|k| density::normal(exact.z[k], 0.0, 1.0),
        &|k| density::normal(exact.z[k], 0.3, 1.2),
        &|k| middle[k] - of_all,
    ];
    for prior in priors {
        let more = exact.integral(|k| average[k] * (average[k].ln() - prior(k)));
        assert!(more > 0.0);
        assert!((paid(prior) - least - more).abs() < 1e-9, "KL(average || prior) is wasted");
    }
    // ANCHOR_END: prior
    println!(
        "divergence from the prior {:.3}, from the average of the posteriors {least:.3}",
        paid(priors[0])
    );
    draw(&exact, (evidence, best, &bounds), &each, &encoders[0].0.encode(&rows)?);
    println!(
        "OK: what a bound lacks is what the family cannot do plus what the encoder does not; one q for all is no alternative"
    );
    Ok(())
}

fn draw(
    exact: &Exact,
    (evidence, best, bounds): (f64, f64, &[f64]),
    each: &MeanFieldGaussian,
    linear: &Encoding<f64>,
) {
    let places = grid(0.0, 2.0, 3);
    let family = [evidence - best; 3];
    let whole: Vec<f64> = bounds.iter().map(|bound| evidence - bound).collect();
    Figure::new("What the bound lacks, and where it goes")
        .axes("hidden units of the encoder", "nats a row")
        .categories(&["none", "4", "32"])
        .bars("amortization: what this encoder misses", &places, 0.5, &family, &whole)
        .colour(2)
        .bars("approximation: what no normal can do", &places, 0.5, &[0.0; 3], &family)
        .colour(1)
        .y_from(0.0, 1.1 * whole[0])
        .save_or_check("amortization");

    // the row that shows both parts best
    let both = |row: usize| {
        let family = exact.divergence(row, each.mean()[row], each.sd()[row]);
        family.min(exact.divergence(row, linear.mean[row], linear.sd[row]) - family)
    };
    let row = (0..ROWS).max_by(|&a, &b| both(a).total_cmp(&both(b))).unwrap_or(0);
    let evidence = exact.evidence(row);
    let near = |k: &usize| (exact.z[*k] - each.mean()[row]).abs() < 1.2;
    let there: Vec<usize> = (0..exact.z.len()).filter(near).step_by(2).collect();
    let z: Vec<f64> = there.iter().map(|&k| exact.z[k]).collect();
    let normal =
        |mean, sd: f64| z.iter().map(|&z| density::normal(z, mean, sd).exp()).collect::<Vec<f64>>();
    let posterior = |&k: &usize| (exact.log_joint[row][k] - evidence).exp();
    Figure::new("One row, three answers")
        .axes("z", "density")
        .line("posterior", &z, &there.iter().map(posterior).collect::<Vec<_>>())
        .colour(6)
        .line("the best normal", &z, &normal(each.mean()[row], each.sd()[row]))
        .colour(1)
        .line("encoder without hidden units", &z, &normal(linear.mean[row], linear.sd[row]))
        .colour(2)
        .save_or_check("amortization_row");
}
