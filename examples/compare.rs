//! One regression by seven methods, side by side: what each says, how sure it is, and what it costs.

mod book;

use book::Figure;
use elbo::compare::Quantity;
use elbo::data::{OLD_FAITHFUL, Observations};
use elbo::density::glm;
use elbo::laplace::{self, ModeOptions};
use elbo::models::gaussian_mixture::Prior;
use elbo::models::linear_regression::{Ard, LinearRegression};
use elbo::models::{BayesianMixture, GaussianMixture};
use elbo::{
    Averaged, Compared, Comparison, Conjugate, DoWG, EStep, Entry, Error, Family, Fit, FixedDraws,
    FixedNoise, FullRankGaussian, GradientAscent, Laplace, LowRankGaussian, MStep,
    MeanFieldGaussian, Model, Options, Purpose, Real, Smooth, Space, StickingTheLanding, Stop,
    Support, TwiceDifferentiable, compare, compare::Parameter, density, fit, from_fn, infer, noise,
    stream,
};

/// The sd of the noise in minutes, and that of the prior of intercept and slope.
const NOISE: f64 = 6.0;
const PRIOR: f64 = 50.0;

fn main() -> Result<(), Error> {
    println!("Seven methods on one regression: what does each say, and how sure is it?");
    let all = seven()?;
    // the methods; below them the table has their rows for every parameter
    all.to_string().lines().take(8).for_each(|line| println!("{line}"));
    claims(&all)?;
    draw(&all)?;
    sizes()?;
    labels()?;
    println!(
        "OK: the full covariance agrees with the exact answer; mean field is too narrow by the factor known beforehand"
    );
    Ok(())
}

// ANCHOR: model
/// Minutes until the next eruption, from the minutes the last one took: rows of (1, minutes).
fn faithful() -> (Vec<f64>, Vec<f64>) {
    (OLD_FAITHFUL.iter().flat_map(|r| [1.0, r[0]]).collect(), OLD_FAITHFUL.map(|r| r[1]).to_vec())
}

/// The regression as a black box: a log density, and nothing known of its form.
fn black_box(
    (x, y): &(Vec<f64>, Vec<f64>),
    (noise, prior): (f64, f64),
) -> Result<impl TwiceDifferentiable + Clone + use<>, Error> {
    let p = x.len() / y.len();
    let likelihood = glm::normal(x, p, y)?;
    let mut space = Space::new();
    let beta = space.reals("beta", p);
    Ok(from_fn(space, move |z| {
        density::normals(&z[beta], 0.0, prior) + likelihood.log_prob(&z[beta], noise)
    }))
}
// ANCHOR_END: model

// ANCHOR: seven
fn seven() -> Result<Comparison, Error> {
    let data = faithful();
    let line = LinearRegression::new(&data.0, 2, &data.1)?;
    let model = black_box(&data, (NOISE, PRIOR))?;

    let exact = line.known_noise(NOISE, PRIOR)?.entry("exact")?;
    // a point: the mode
    let mode = laplace::mode(&model, &[0.0; 2], &ModeOptions::default())?;
    let mut map = Entry::new("mode").reached(Quantity::LogJoint, mode.log_joint);
    map.gradients = Some(mode.evaluations);
    let map =
        map.with((0..2).map(|j| Parameter::point(&format!("beta[{}]", j + 1), mode.z[j], None)));
    // EM learns noise and prior as well, as points
    let ard = Ard::new(line.clone());
    let q = ard.start();
    let em = fit(ard, q, (EStep, MStep), Options::exact())?.entry("EM")?;
    // independent coordinates, twice: in closed form, and by gradients
    let q = MeanFieldGaussian::standard(2);
    let stop = Stop::Exact { gain: 1e-14 };
    let cavi = fit(Coordinates::of(&data), q, EStep, Options { stop, ..Options::exact() })?;
    let narrow = fit(model.clone(), MeanFieldGaussian::standard(2), draws(), Options::default())?;
    // any covariance, twice: by gradients, and by the curvature at the mode
    let full = fit(model.clone(), FullRankGaussian::standard(2), draws(), Options::default())?;
    let bent = fit(model, FullRankGaussian::standard(2), Laplace::default(), Options::default())?;

    let black = [
        exact,
        map,
        cavi.posterior()?.entry("CAVI")?,
        narrow.posterior()?.entry("mean field")?,
        full.posterior()?.entry("full rank")?,
        bent.posterior()?.entry("Laplace")?,
    ];
    // those that do not know their data are told: `compare` refuses fits of different data
    let told = black.into_iter().map(|entry| entry.of(line.fingerprint()));
    compare(told.chain([Ok(em)]).collect::<Result<Vec<_>, Error>>()?)
}

/// Black-box variational inference on draws made once, with the mean and covariance of their law.
fn draws() -> FixedDraws {
    FixedDraws { noise: FixedNoise::MomentMatched, ..FixedDraws::new(16) }
}
// ANCHOR_END: seven

// ANCHOR: cavi
/// The same log density as a quadratic, `c + b'z - z'Pz / 2`. With the other coordinate fixed the best
/// `q(z_j)` is `Normal((b_j - P_ji m_i) / P_jj, 1 / P_jj)`.
struct Coordinates {
    p: [[f64; 2]; 2],
    b: [f64; 2],
    c: f64,
}

impl Conjugate<MeanFieldGaussian> for Coordinates {
    fn natural_step(&self, q: &mut MeanFieldGaussian, rate: f64) -> Result<f64, Error> {
        let mut m = [q.mean()[0], q.mean()[1]];
        for j in 0..2 {
            let best = (self.b[j] - self.p[j][1 - j] * m[1 - j]) / self.p[j][j];
            m[j] += rate * (best - m[j]);
        }
        *q = MeanFieldGaussian::new(m.to_vec(), &[0, 1].map(|j| self.p[j][j].powf(-0.5)))?;
        // E[z'Pz] is m'Pm and P_jj times the variance, which is 1, for each coordinate
        Ok(self.log_joint(&m) - 1.0 + q.entropy().unwrap_or(f64::NAN))
    }
}
// ANCHOR_END: cavi

impl Coordinates {
    fn of((x, y): &(Vec<f64>, Vec<f64>)) -> Coordinates {
        let (tau, alpha) = (NOISE.powi(-2), PRIOR.powi(-2));
        let rows = || x.chunks_exact(2).zip(y);
        let entry = |i: usize, j: usize| {
            let prior = if i == j { alpha } else { 0.0 };
            tau * rows().map(|(x, _)| x[i] * x[j]).sum::<f64>() + prior
        };
        let p = [0, 1].map(|i| [0, 1].map(|j| entry(i, j)));
        let b = [0, 1].map(|i| tau * rows().map(|(x, y)| x[i] * y).sum::<f64>());
        let ln_2pi = (2.0 * std::f64::consts::PI).ln();
        let squares: f64 = y.iter().map(|y| y * y).sum();
        let n = y.len() as f64;
        let c = -0.5 * (n * (ln_2pi - tau.ln()) + tau * squares) - ln_2pi + alpha.ln();
        Coordinates { p, b, c }
    }
}

impl Model for Coordinates {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("beta", 2);
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let linear = self.b[0] * z[0] + self.b[1] * z[1];
        let mixed = 2.0 * self.p[0][1] * z[0] * z[1];
        self.c + linear - 0.5 * (self.p[0][0] * z[0] * z[0] + mixed + self.p[1][1] * z[1] * z[1])
    }
}

// ANCHOR: claims
fn claims(all: &Comparison) -> Result<(), Error> {
    let evidence = all.entry("exact")?.objective.map_or(f64::NAN, |o| o.reached.value);
    // the correlation of intercept and slope under the posterior, known before any fit
    let p = Coordinates::of(&faithful()).p;
    let rho = -p[0][1] / (p[0][0] * p[1][1]).sqrt();
    let (factor, gap) = ((1.0 - rho * rho).sqrt(), -0.5 * (1.0 - rho * rho).ln());
    println!("correlation {rho:.3}: mean field narrower by {factor:.3}, {gap:.3} nats short");
    let mut rows = String::new();
    for entry in &all.entries {
        let mut width = 0.0;
        for name in ["beta[1]", "beta[2]"] {
            let (truth, found) = (all.find("exact", name)?, entry.parameter(name)?);
            let sd = truth.sd.unwrap_or(f64::NAN);
            assert!((found.estimate - truth.estimate).abs() < 0.1 * sd, "no mean is off");
            let ratio = found.sd.map(|found| found / sd);
            match entry.method.as_str() {
                // 4000 draws know an sd to 1.1 %
                "CAVI" | "mean field" => {
                    assert!(ratio.is_some_and(|r| (r / factor - 1.0).abs() < 0.05))
                }
                "mode" => assert!(ratio.is_none(), "a point has no width"),
                "EM" => assert!(ratio.is_some_and(|r| (r - 1.0).abs() < 0.05)),
                _ => assert!(ratio.is_some_and(|r| (r - 1.0).abs() < 0.05)),
            }
            width = ratio.unwrap_or(f64::NAN);
        }
        let reached = entry.objective.map_or(f64::NAN, |o| o.reached.value);
        let short = evidence - reached;
        match entry.method.as_str() {
            "full rank" | "Laplace" => assert!(short.abs() < 0.01, "{short}"),
            "CAVI" | "mean field" => assert!((short - gap).abs() < 0.1, "{short}"),
            _ => (),
        }
        rows += &row(entry, short, width)?;
    }
    book::fragment(
        "compare",
        &format!(
            "| method | says | nats short of the evidence | slope | 5 % to 95 % | width |\n|---|---|---|---|---|---|\n{rows}"
        ),
    );
    Ok(())
}
// ANCHOR_END: claims

fn row(entry: &Entry, short: f64, width: f64) -> Result<String, Error> {
    let slope = entry.parameter("beta[2]")?;
    let says = entry.objective.map_or(String::new(), |o| o.quantity.to_string());
    let interval = match (slope.q05, slope.q95) {
        (Some(a), Some(b)) => format!("{a:.1} to {b:.1}"),
        _ => "–".to_string(),
    };
    let short = match entry.objective.map(|o| o.quantity) {
        Some(Quantity::Elbo) => format!("{:.2}", short.abs()),
        Some(Quantity::LogEvidence) => "0".to_string(),
        _ => "not to be compared".to_string(),
    };
    let width = if width.is_nan() { "none".to_string() } else { format!("{width:.2}") };
    let (name, slope) = (&entry.method, slope.estimate);
    Ok(format!("| {name} | {says} | {short} | {slope:.1} | {interval} | {width} |\n"))
}

fn draw(all: &Comparison) -> Result<(), Error> {
    let mut figure = Figure::new("The slope by four methods").axes("minutes a minute", "density");
    for method in ["exact", "mean field", "full rank"] {
        let p = all.find(method, "beta[2]")?;
        figure = figure.line(method, &p.x, &p.density);
    }
    let (at, exact) = (all.find("mode", "beta[2]")?.estimate, all.find("exact", "beta[2]")?);
    let top = exact.density.iter().copied().fold(0.0, f64::max);
    figure.dashed("mode", &[at; 2], &[0.0, 3.2 * top]).save_or_check("compare");
    Ok(())
}

// ANCHOR: sizes
/// A regression with `p` columns that correlate by 0.8, 400 rows.
fn simulated(p: usize) -> (Vec<f64>, Vec<f64>) {
    let mut e = vec![0.0; 400 * (p + 2)];
    noise::fill_normal(&mut stream(p as u64, Purpose::Data, 0), &mut e);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for e in e.chunks_exact(p + 2) {
        let row: Vec<f64> =
            e[..p].iter().map(|u| 0.2f64.sqrt() * u + 0.8f64.sqrt() * e[p]).collect();
        y.push(e[p + 1] + row.iter().enumerate().map(|(j, x)| [0.5, -0.5][j % 2] * x).sum::<f64>());
        x.extend(row);
    }
    (x, y)
}

/// 2000 steps, each by the gradients of 8 fresh draws; no rate to choose.
fn climb<M: TwiceDifferentiable, Q: Smooth>(model: M, q: Q) -> Result<Fit<M, Q>, Error> {
    let ascent = GradientAscent::new(StickingTheLanding { draws: 8 }, Averaged::new(DoWG::new()));
    fit(model, q, ascent, Options { steps: 2_000, stop: Stop::Budget, ..Options::default() })
}

fn sizes() -> Result<(), Error> {
    let mut rows = String::new();
    for p in [2, 20, 100] {
        let data = simulated(p);
        let exact = LinearRegression::new(&data.0, p, &data.1)?.known_noise(1.0, 1.0)?;
        let model = black_box(&data, (1.0, 1.0))?;
        let mut cells = String::new();
        let mut lost = Vec::new();
        for entry in [
            climb(model.clone(), MeanFieldGaussian::standard(p))?
                .posterior()?
                .entry("mean field")?,
            climb(model.clone(), LowRankGaussian::with_rank(p, 2.min(p)))?
                .posterior()?
                .entry("low rank")?,
            climb(model.clone(), FullRankGaussian::standard(p))?.posterior()?.entry("full rank")?,
            infer(model)?.entry("infer")?,
        ] {
            let short = exact.log_evidence - entry.objective.map_or(f64::NAN, |o| o.reached.value);
            let ratio = |j: usize| {
                let sd = entry.parameters[j].sd.unwrap_or(f64::NAN);
                sd / exact.covariance[j * p + j].sqrt()
            };
            let ratio = (0..p).map(ratio).sum::<f64>() / p as f64;
            cells += &format!(" {:.1} | {ratio:.2} |", short.abs());
            lost.push(short);
        }
        assert!(lost[3].abs() < 0.05 && lost[0] > lost[3], "{lost:?}");
        rows += &format!("| {p} |{cells}\n");
    }
    let head = "| columns | mean field: nats short | sd | low rank: nats short | sd | full rank: nats short | sd | `infer`: nats short | sd |\n|---|---|---|---|---|---|---|---|---|";
    book::fragment("compare_sizes", &format!("{head}\n{rows}"));
    Ok(())
}
// ANCHOR_END: sizes

// ANCHOR: labels
/// Two heaps of eruptions as a black box: no labels, each row has the sum over its components.
fn two_heaps(prior: &Prior) -> Result<impl TwiceDifferentiable + Clone + use<>, Error> {
    let Prior { concentration, mean, shrinkage, degrees, scale } = prior.clone();
    let mut space = Space::new();
    let weight = space.block("weight", 2, Support::Simplex);
    let (mean_of, variance) = (space.reals("mean", 2), space.positives("variance", 2));
    let rows = OLD_FAITHFUL.map(|row| row[0]);
    Ok(from_fn(space, move |z| {
        let (w, m, v) = (&z[weight], &z[mean_of], &z[variance]);
        let mut lp = density::dirichlet(w, &[concentration; 2]);
        for k in 0..2 {
            lp += density::inverse_gamma(v[k], 0.5 * degrees, 0.5 * scale[0]);
            lp += density::normal(m[k], mean[0], (v[k] / shrinkage).sqrt());
        }
        for x in rows {
            lp += density::mixture_of(
                w,
                &[0, 1].map(|k| density::normal(m[k] - x, 0.0, v[k].sqrt())),
            );
        }
        lp
    }))
}

/// One mixture by four methods: with labels in `q`, and with labels summed out.
fn four() -> Result<Comparison, Error> {
    let data = Observations::with_names(OLD_FAITHFUL.map(|r| r[0]).to_vec(), ["eruption"])?;
    let prior = Prior {
        concentration: 1.0,
        mean: vec![3.5],
        shrinkage: 0.1,
        degrees: 3.0,
        scale: vec![0.3],
    };
    let em = GaussianMixture::new(data.clone(), 2)?.fit(1)?.entry("EM")?;
    let model = BayesianMixture::new(data.clone(), 2)?.with_prior(prior.clone())?;
    let q = model.posterior();
    let cavi = fit(model, q, EStep, Options::exact())?.entry("CAVI")?;
    let model = two_heaps(&prior)?.unconstrained();
    let ascent = || FixedDraws { noise: FixedNoise::MomentMatched, ..FixedDraws::new(32) };
    let dim = model.dim();
    let narrow = MeanFieldGaussian::standard(dim);
    let narrow = fit(model.clone(), narrow, ascent(), Options::default())?.posterior()?;
    let full = fit(model, FullRankGaussian::standard(dim), ascent(), Options::default())?;
    let mut all = vec![em, cavi];
    for entry in [narrow.entry("mean field")?, full.posterior()?.entry("full rank")?] {
        // told which blocks are a component's, an entry is matched to the others
        let entry =
            entry.of(data.fingerprint())?.with_components(["weight", "mean", "variance"], 2)?;
        let entry = entry.renamed("mean", "mean[eruption]")?;
        all.push(entry.renamed("variance", "covariance[eruption, eruption]")?);
    }
    compare(all)
}
// ANCHOR_END: labels

/// The parameters of the mixture, and what the figure and the table call them.
const HEAPS: [(&str, &str); 3] = [
    ("weight[0]", "share of short eruptions"),
    ("mean[0, eruption]", "their mean, minutes"),
    ("covariance[0, eruption, eruption]", "their variance"),
];

// ANCHOR: labels_claims
fn labels() -> Result<(), Error> {
    let all = four()?;
    let reached =
        |name: &str| all.entry(name).map(|e| e.objective.map_or(f64::NAN, |o| o.reached.value));
    // a label in q is one more thing that q takes for independent
    let won = reached("mean field")? - reached("CAVI")?;
    assert!(won > 0.2 && reached("full rank")? > reached("mean field")?);
    for (name, _) in HEAPS {
        let sd = |method: &str| all.find(method, name).map(|p| p.sd.unwrap_or(f64::NAN));
        for method in ["CAVI", "mean field", "full rank"] {
            let off = all.find(method, name)?.estimate - all.find("EM", name)?.estimate;
            assert!(off.abs() < sd("EM")?, "components are the same ones");
        }
    }
    // a mean is surer of itself where its rows are taken for certain
    let sd = |method: &str| all.find(method, HEAPS[1].0).map(|p| p.sd.unwrap_or(f64::NAN));
    assert!(sd("full rank")? > 1.03 * sd("CAVI")?);
    // ANCHOR_END: labels_claims
    println!("two heaps: labels summed out leave {won:.2} nats more than labels in q");
    let short = if all.find("EM", HEAPS[1].0)?.estimate < 3.0 { 0 } else { 1 };
    let name = |name: &str| name.replacen("[0", &format!("[{short}"), 1);
    let mut rows = String::new();
    for entry in &all.entries {
        let Some(objective) = &entry.objective else { continue };
        let mut cells = String::new();
        for (of, _) in HEAPS {
            let p = entry.parameter(&name(of))?;
            cells += &format!(" {:.3} ± {:.3} |", p.estimate, p.sd.unwrap_or(f64::NAN));
        }
        let (method, quantity) = (&entry.method, objective.quantity);
        rows += &format!("| {method} | {quantity} {:.1} |{cells}\n", objective.reached.value);
    }
    let head: String = HEAPS.iter().map(|(_, called)| format!(" {called} |")).collect();
    book::fragment(
        "compare_labels",
        &format!("| method | nats |{head}\n|---|---|---|---|---|\n{rows}"),
    );
    let mut figure = Figure::new("The mean of short eruptions, labels in q or summed out");
    figure = figure.axes("minutes", "density");
    for method in ["CAVI", "mean field", "full rank"] {
        let p = all.find(method, &name(HEAPS[1].0))?;
        figure = figure.line(method, &p.x, &p.density);
    }
    let point = all.find("EM", &name(HEAPS[1].0))?;
    let cavi = all.find("CAVI", &name(HEAPS[1].0))?;
    let top = cavi.density.iter().copied().fold(0.0, f64::max);
    figure.dashed("EM's point", &[point.estimate; 2], &[0.0, top]).save_or_check("compare_labels");
    Ok(())
}
