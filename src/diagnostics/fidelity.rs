//! How close `q` is to the posterior, as far as importance weights can tell.

use serde::{Deserialize, Serialize};

use super::elbo::{Estimate, check, elbo_of, evaluate, visit_draws};
use super::psis::{khat_threshold, psis};
use super::summary::{Correction, Row, Summary};
use crate::bijector::Support;
use crate::error::Error;
use crate::family::Family;
use crate::model::Model;
use crate::noise::{Purpose, stream};
use crate::posterior::any_number;
use crate::space::Space;

/// How many draws a report takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checks {
    /// Draws a k-hat.
    pub draws: usize,
    /// How often k-hat is estimated, from fresh draws each time: once is uncertain by about 0.1.
    pub repeats: usize,
}

impl Default for Checks {
    fn default() -> Self {
        Checks { draws: 4000, repeats: 5 }
    }
}

/// A parameter by name, with a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// The parameter.
    pub name: String,
    /// The number.
    #[serde(with = "any_number")]
    pub value: f64,
    /// Its Monte Carlo standard error.
    #[serde(with = "any_number")]
    pub mcse: f64,
}

/// What importance weights from `q` to the posterior say.
///
/// It cannot see a mode that no draw of `q` reaches: for that, start from several places.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// The mean k-hat over the repeats; minus infinity where there is no tail: all weights are
    /// equal, or those of a few labels, each seen many times.
    #[serde(with = "any_number")]
    pub khat: f64,
    /// The lowest of the repeats.
    #[serde(with = "any_number")]
    pub khat_low: f64,
    /// The highest of the repeats.
    #[serde(with = "any_number")]
    pub khat_high: f64,
    /// The k-hat above which the weights are unreliable.
    pub threshold: f64,
    /// Effective number of draws after smoothing, all repeats together.
    #[serde(with = "any_number")]
    pub ess: f64,
    /// The draws of all repeats.
    pub draws: usize,
    /// Draws at which the log joint was NaN or plus infinity.
    pub not_finite: usize,
    /// Draws at which the log joint was minus infinity: outside the posterior's support.
    pub outside: usize,
    /// Where `q` has no spread: a coordinate at which every draw is the same, or `q` as a whole
    /// where its entropy is minus infinity. The weights say nothing about it.
    #[serde(default)]
    pub point: Option<String>,
    /// The largest shift of a mean after correction, in corrected standard deviations.
    pub shift: Option<Named>,
    /// The largest change of a standard deviation: the logarithm of corrected over `q`'s.
    pub log_sd_ratio: Option<Named>,
}

impl Fidelity {
    /// Whether averages over these weights mean anything.
    pub fn usable(&self) -> bool {
        let light = self.khat < self.threshold || self.even();
        self.not_finite == 0 && light && self.shift.is_some()
    }

    /// Whether the weights are so even that the shape of their tail does not matter: at least 95 %
    /// of the draws are effective. By Cauchy and Schwarz no mean then moves by more than
    /// `sqrt(draws / ess - 1)`, 0.23 standard deviations. k-hat has no scale: where the weights
    /// pile up at a value and a few lie just above it, it is large though nothing is wrong.
    pub fn even(&self) -> bool {
        self.ess >= 0.95 * self.draws as f64
    }
}

/// What [`examine`] finds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Examined {
    /// The ELBO on the fresh draws.
    pub elbo: Estimate,
    /// What importance weights say.
    pub fidelity: Fidelity,
    /// The parameters on the natural scale.
    pub summary: Summary,
}

/// At most this many numbers are kept for quantiles.
const KEPT: usize = 20_000_000;

/// Draws from `q` afresh, weighs the draws with the model, and says how large the ELBO is, how
/// close `q` comes to the posterior and what each parameter looks like.
///
/// # Errors
/// Fewer than 100 draws, no repeats, or a family and a model of different dimension.
pub fn examine<M: Model, Q: Family>(
    model: &M,
    q: &Q,
    checks: Checks,
    seed: u64,
) -> Result<Examined, Error> {
    let Checks { draws, repeats } = checks;
    if repeats == 0 {
        return Err(Error::option("repeats", 0, "estimate k-hat at least once"));
    }
    check(model, q, draws, 100)?;
    let space = model.space();
    let mut columns = Columns::new(&space, draws);
    let (mut log_p, mut log_q, mut khats) = (Vec::new(), Vec::new(), Vec::new());
    let mut broken = 0;
    let label = |i: usize| matches!(space.support(i), Support::Category(_));
    let labels = (0..space.dim()).all(label);
    for repeat in 0..repeats {
        let mut rng = stream(seed, Purpose::Report, repeat as u64);
        let keep = repeat == 0;
        let drawn = evaluate(model, q, draws, &mut rng, |z| columns.visit(&space, z, keep));
        let ratios: Vec<f64> = drawn.log_p.iter().zip(&drawn.log_q).map(|(p, q)| p - q).collect();
        broken += ratios.iter().filter(|r| r.is_nan() || **r == f64::INFINITY).count();
        let khat = if labels && few_values(&ratios) {
            f64::NEG_INFINITY
        } else {
            psis(&ratios).map_or(f64::INFINITY, |p| p.khat)
        };
        khats.push(khat);
        log_p.extend(drawn.log_p);
        log_q.extend(drawn.log_q);
    }
    let elbo = elbo_of(&log_p, &log_q, q.entropy());
    let ratios: Vec<f64> = log_p.iter().zip(&log_q).map(|(p, q)| p - q).collect();
    let outside = ratios.iter().filter(|r| **r == f64::NEG_INFINITY).count();
    let mut rows = columns.rows(&space.names());
    let smoothed = psis(&ratios).ok();
    let mut ess = 0.0;
    if let Some(smoothed) = &smoothed {
        ess = smoothed.ess;
        let weights = smoothed.weights();
        correct(q, &space, &weights, checks, seed, &mut rows);
    }
    let largest = |of: fn(&Correction) -> (f64, f64)| {
        let value = |row: &Row| {
            let (value, mcse) = of(row.correction.as_ref()?);
            Some(Named { name: row.name.clone(), value, mcse })
        };
        let size = |n: &Named| n.value.abs() + 2.0 * n.mcse;
        rows.iter().filter_map(value).max_by(|a, b| size(a).total_cmp(&size(b)))
    };
    let fidelity = Fidelity {
        khat: mean_khat(&khats),
        khat_low: khats.iter().copied().fold(f64::INFINITY, f64::min),
        khat_high: khats.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        threshold: khat_threshold(draws),
        ess,
        draws: draws * repeats,
        not_finite: broken,
        outside,
        point: point_of(q, &space, seed),
        shift: largest(|c| (c.shift, c.shift_mcse)),
        log_sd_ratio: largest(|c| (c.sd_ratio.ln(), c.log_sd_mcse)),
    };
    let summary = Summary { draws: draws * repeats, rows };
    Ok(Examined { elbo, fidelity, summary })
}

/// Where `q` has no spread, if anywhere: the coordinates that are the same in 50 draws.
fn point_of<Q: Family>(q: &Q, space: &Space, seed: u64) -> Option<String> {
    let d = q.dim().max(1);
    let mut z = vec![0.0; d * 50];
    q.sample(&mut stream(seed, Purpose::Report, 0), &mut z);
    let stays = |i: &usize| z.chunks_exact(d).all(|draw| draw[*i] == z[*i]);
    let names = space.coordinate_names();
    let mut fixed = (0..q.dim()).filter(stays).map(|i| format!("`{}`", names[i]));
    match (fixed.next(), fixed.count()) {
        (Some(name), 0) => Some(name),
        (Some(name), more) => Some(format!("{name} and {more} more")),
        (None, _) => (q.entropy() == Some(f64::NEG_INFINITY))
            .then(|| "a combination of coordinates".to_string()),
    }
}

/// Whether so few different weights occur that each is seen many times: those of a few joint labels,
/// which are bounded and have no tail.
fn few_values(ratios: &[f64]) -> bool {
    let mut sorted = ratios.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup();
    sorted.len() <= ratios.len() / 20 && sorted.iter().all(|r| r.is_finite())
}

/// Infinite where one repeat is; equal weights (minus infinity) count as -1 beside others.
fn mean_khat(khats: &[f64]) -> f64 {
    if khats.iter().all(|k| *k == f64::NEG_INFINITY) {
        return f64::NEG_INFINITY;
    }
    khats.iter().map(|k| k.max(-1.0)).sum::<f64>() / khats.len() as f64
}

/// Running means and squares of each natural coordinate, and some draws for the quantiles.
struct Columns {
    n: f64,
    mean: Vec<f64>,
    square: Vec<f64>,
    natural: Vec<f64>,
    kept: Vec<f64>,
    most: usize,
}

impl Columns {
    fn new(space: &Space, draws: usize) -> Columns {
        let k = space.natural_dim();
        let most = draws.min((KEPT / k.max(1)).max(100));
        let zero = vec![0.0; k];
        let (mean, square, natural) = (zero.clone(), zero.clone(), zero);
        Columns { n: 0.0, mean, square, natural, kept: Vec::new(), most }
    }

    fn visit(&mut self, space: &Space, z: &[f64], keep: bool) {
        for u in z.chunks_exact(space.dim().max(1)) {
            space.constrain(u, &mut self.natural);
            self.n += 1.0;
            for (i, &x) in self.natural.iter().enumerate() {
                let off = x - self.mean[i];
                self.mean[i] += off / self.n;
                self.square[i] += off * (x - self.mean[i]);
            }
            if keep && self.kept.len() < self.most * self.natural.len() {
                self.kept.extend_from_slice(&self.natural);
            }
        }
    }

    fn rows(&self, names: &[String]) -> Vec<Row> {
        let k = self.natural.len().max(1);
        let row = |(i, name): (usize, &String)| {
            let column = self.kept.iter().skip(i).step_by(k).copied().collect();
            let sd = (self.square[i] / (self.n - 1.0)).sqrt();
            Row { mean: self.mean[i], sd, mcse: sd / self.n.sqrt(), ..Row::of(name, column) }
        };
        names.iter().enumerate().map(row).collect()
    }
}

/// Makes the same draws once more and fills in what the weights would change.
fn correct<Q: Family>(
    q: &Q,
    space: &Space,
    weights: &[f64],
    checks: Checks,
    seed: u64,
    rows: &mut [Row],
) {
    // For y = (x - mean) / sd: sum w y, sum w y^2, then sum w^2 y^k for k = 0 .. 4
    let mut sums = vec![[0.0; 7]; rows.len()];
    let mut natural = vec![0.0; rows.len()];
    let mut s = 0;
    for repeat in 0..checks.repeats {
        let mut rng = stream(seed, Purpose::Report, repeat as u64);
        visit_draws(q, checks.draws, &mut rng, |z| {
            for u in z.chunks_exact(space.dim().max(1)) {
                space.constrain(u, &mut natural);
                let w = weights[s];
                s += 1;
                for ((sum, row), x) in sums.iter_mut().zip(rows.iter()).zip(&natural) {
                    if row.sd > 0.0 && w > 0.0 {
                        let y = (x - row.mean) / row.sd;
                        let (ww, yy) = (w * w, y * y);
                        let terms = [w * y, w * yy, ww, ww * y, ww * yy, ww * yy * y, ww * yy * yy];
                        sum.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
                    }
                }
            }
        });
    }
    for (row, [m, second, w0, w1, w2, w3, w4]) in rows.iter_mut().zip(sums) {
        let variance = second - m * m;
        if !(row.sd > 0.0 && variance > 0.0) {
            continue;
        }
        // sum w^2 (y - m)^k
        let c2 = w2 - 2.0 * m * w1 + m * m * w0;
        let c4 = w4 - 4.0 * m * w3 + 6.0 * m * m * w2 - 4.0 * m.powi(3) * w1 + m.powi(4) * w0;
        let off = c4 / (variance * variance) - 2.0 * c2 / variance + w0;
        row.correction = Some(Correction {
            shift: m / variance.sqrt(),
            shift_mcse: (c2.max(0.0) / variance).sqrt(),
            sd_ratio: variance.sqrt(),
            log_sd_mcse: 0.5 * off.max(0.0).sqrt(),
        });
    }
}
