//! `Parameters`: initial and transition probabilities, what the rows look like, and the flat `theta`
//! they stand for.

use super::belief::Belief;
use super::chain::Chain;
use super::densities::{Densities, Form};
use super::mode::extra;
use super::sums::Sums;
use crate::scratch::with_buffer;
use crate::triangle;

/// No probability of a state that is allowed is smaller: where the likelihood is highest at 0 they
/// stay here, so that a step unlike all others is unlikely rather than impossible.
const LEAST: f64 = 1e-10;
/// The share of a column's variance below which a state has none left.
const COLLAPSED: f64 = 1e-12;

/// What is learned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parameters {
    k: usize,
    pub(super) form: Form,
    /// The logarithms of `K` initial and `K x K` transition probabilities, up to their sums, then
    /// the coordinates of each state.
    pub(super) theta: Vec<f64>,
    /// Which of the probabilities are not 0 for ever.
    pub(super) allowed: Vec<bool>,
    /// Initial and transition probabilities.
    pub(super) probabilities: Vec<f64>,
    /// Means and factors of covariances, or values, a state after another.
    pub(super) values: Vec<f64>,
    /// Mean and standard deviation of each column: where coordinates have their zeros, and their
    /// units.
    pub(super) centre: Vec<f64>,
    pub(super) unit: Vec<f64>,
}

impl Form {
    /// How many numbers describe a state.
    pub(super) fn values(&self) -> usize {
        match self {
            Form::Full(d) => d + triangle::len(*d),
            Form::Diagonal(d) => 2 * d,
            Form::Discrete(layout) => layout.values,
        }
    }

    /// How many of them are free.
    pub(super) fn free(&self) -> usize {
        match self {
            Form::Discrete(layout) => layout.free,
            _ => self.values(),
        }
    }
}

/// What keeps a state from its best values.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lost {
    Emptied(usize),
    /// Nothing is left of the variance of a column.
    Collapsed(usize, usize),
}

/// Whether nothing is left of a variance, given its share; of one that is none, too.
fn is_nothing(share: f64) -> bool {
    share.is_nan() || share < COLLAPSED
}

/// Turns counts into shares, none below the least: those that would be stay at it, and the others
/// share the rest. The bound is concave, so this is the best of all that are allowed.
fn shares(counts: &mut [f64], allowed: &[bool]) {
    let places = || (0..allowed.len()).filter(|&j| allowed[j]);
    let total: f64 = places().map(|j| counts[j]).sum();
    let (mut least, mut above) = (0.0, total);
    loop {
        let scale = (1.0 - least * LEAST) / above;
        let low = |j: &usize| counts[*j] * scale < LEAST;
        let count = places().filter(low).count() as f64;
        if count <= least {
            break;
        }
        least = count;
        above = places().filter(|j| !low(j)).map(|j| counts[j]).sum();
    }
    let scale = (1.0 - least * LEAST) / above;
    for j in 0..counts.len() {
        counts[j] = if allowed[j] { (counts[j] * scale).max(LEAST) } else { 0.0 };
    }
}

impl Parameters {
    pub(super) fn new(k: usize, form: Form, centre: Vec<f64>, unit: Vec<f64>) -> Parameters {
        let n = k + k * k;
        let mut new = Parameters {
            k,
            theta: vec![0.0; n + k * form.free()],
            allowed: vec![true; n],
            probabilities: vec![0.0; n],
            values: vec![0.0; k * form.values()],
            form,
            centre,
            unit,
        };
        for i in 0..k {
            // a state that is left for any other half of the time
            for j in 0..k {
                let stay = if i == j { 0.5 } else { 0.0 };
                new.theta[k + i * k + j] = (stay + 0.5 / k as f64).ln();
            }
        }
        new
    }

    /// Where the coordinates of state `k` are.
    pub(super) fn coordinates(&mut self, k: usize) -> &mut [f64] {
        let (from, free) = (self.k + self.k * self.k, self.form.free());
        &mut self.theta[from + k * free..from + (k + 1) * free]
    }

    /// The numbers of state `k`.
    pub(super) fn values(&self, k: usize) -> &[f64] {
        let n = self.form.values();
        &self.values[k * n..(k + 1) * n]
    }

    /// How many numbers are free.
    pub(super) fn n_free(&self) -> usize {
        let rows = self.allowed.chunks_exact(self.k);
        let chain: usize = rows.map(|row| row.iter().filter(|a| **a).count().max(1) - 1).sum();
        chain + self.k * self.form.free()
    }

    /// Makes `theta` from probabilities and from values of the states.
    pub(super) fn set(&mut self, probabilities: &[f64], values: &[f64]) {
        for (at, &p) in probabilities.iter().enumerate() {
            self.allowed[at] = p > 0.0;
            self.theta[at] = if p > 0.0 { p.ln() } else { 0.0 };
        }
        let form = self.form.clone();
        for (k, values) in values.chunks_exact(form.values()).enumerate() {
            match &form {
                Form::Discrete(layout) => {
                    let theta = self.coordinates(k);
                    for (kind, place) in layout.kinds() {
                        let values = &values[place.values(&*kind)];
                        kind.coordinates(values, &mut theta[place.free(&*kind)]);
                    }
                }
                Form::Full(d) | Form::Diagonal(d) => {
                    let (mean, factor) = values.split_at(*d);
                    self.set_gaussian(k, mean, factor);
                }
            }
        }
    }

    /// Sets the coordinates of a Gaussian state.
    fn set_gaussian(&mut self, k: usize, mean: &[f64], factor: &[f64]) {
        let d = mean.len();
        let full = matches!(self.form, Form::Full(_));
        let (centre, unit) = (std::mem::take(&mut self.centre), std::mem::take(&mut self.unit));
        let theta = self.coordinates(k);
        for j in 0..d {
            theta[j] = (mean[j] - centre[j]) / unit[j];
        }
        let mut at = 0;
        for i in 0..d {
            for j in if full { 0..=i } else { i..=i } {
                let entry = factor[at] / unit[i];
                theta[d + at] = if i == j { entry.ln() } else { entry };
                at += 1;
            }
        }
        (self.centre, self.unit) = (centre, unit);
    }

    /// Makes the numbers from `theta`, and what the passes need.
    pub(super) fn write(&mut self, chain: &mut Chain, densities: &mut Densities) {
        let k = self.k;
        let rows = self.theta[..k + k * k].chunks_exact(k).zip(self.allowed.chunks_exact(k));
        for (at, (theta, allowed)) in rows.enumerate() {
            let logs = match at {
                0 => &mut chain.log_initial[..],
                i => &mut chain.log_transition[(i - 1) * k..i * k],
            };
            let each = || theta.iter().zip(allowed).filter(|(_, a)| **a).map(|(t, _)| *t);
            let total = super::logs::log_sum(each());
            for j in 0..k {
                logs[j] = if allowed[j] { theta[j] - total } else { f64::NEG_INFINITY };
                self.probabilities[at * k + j] = logs[j].exp();
            }
        }
        chain.settle();
        let (free, n) = (self.form.free(), self.form.values());
        let states = self.theta[k + k * k..].chunks_exact(free);
        for (k, (theta, values)) in states.zip(self.values.chunks_exact_mut(n)).enumerate() {
            match &self.form {
                Form::Discrete(layout) => with_buffer(layout.features, |coefficients| {
                    for (kind, place) in layout.kinds() {
                        let features = place.features(&*kind);
                        let theta = &theta[place.free(&*kind)];
                        let values = &mut values[place.values(&*kind)];
                        kind.natural(theta, &mut coefficients[features], values);
                    }
                    densities.set(k, coefficients.iter().copied());
                }),
                Form::Full(d) => {
                    let (mean, factor) = values.split_at_mut(*d);
                    for j in 0..*d {
                        mean[j] = self.centre[j] + self.unit[j] * theta[j];
                    }
                    for i in 0..*d {
                        for j in 0..=i {
                            let at = triangle::len(i) + j;
                            let entry = theta[d + at];
                            factor[at] = self.unit[i] * if i == j { entry.exp() } else { entry };
                        }
                    }
                    densities.set_values(k, values);
                }
                Form::Diagonal(d) => {
                    let (mean, sd) = values.split_at_mut(*d);
                    for j in 0..*d {
                        mean[j] = self.centre[j] + self.unit[j] * theta[j];
                        sd[j] = self.unit[j] * theta[d + j].exp();
                    }
                    densities.set_values(k, values);
                }
            }
        }
        densities.fill_up();
    }

    /// Sets the coordinates to their best values, under a prior if there is one.
    pub(super) fn maximize(&mut self, sums: &Sums, prior: Option<&Belief>) -> Result<(), Lost> {
        let k = self.k;
        with_buffer(k, |counts| {
            for at in 0..=k {
                let from = match at {
                    0 => &sums.first[..],
                    i => &sums.steps[(i - 1) * k..i * k],
                };
                let worth = prior.map_or(0.0, |p| p.concentration[at * k] - 1.0);
                counts.iter_mut().zip(from).for_each(|(n, from)| *n = from + worth);
                let place = at * k..(at + 1) * k;
                let allowed = &self.allowed[place.clone()];
                // a state that is never left keeps its row
                if counts.iter().sum::<f64>() > 0.0 {
                    shares(counts, allowed);
                    let theta = self.theta[place].iter_mut().zip(counts.iter().zip(allowed));
                    theta.for_each(|(t, (p, a))| *t = if *a { p.ln() } else { 0.0 });
                }
            }
        });
        let form = std::mem::replace(&mut self.form, Form::Full(0));
        let done = (0..k).try_for_each(|c| self.maximize_state(&form, c, sums, prior));
        self.form = form;
        done
    }

    fn maximize_state(
        &mut self,
        form: &Form,
        c: usize,
        sums: &Sums,
        prior: Option<&Belief>,
    ) -> Result<(), Lost> {
        let free = form.free();
        let from = self.k + self.k * self.k + c * free;
        let (centre, unit) = (&self.centre, &self.unit);
        let theta = &mut self.theta[from..from + free];
        match form {
            Form::Discrete(layout) => with_buffer(layout.features, |statistics| {
                for (f, out) in statistics.iter_mut().enumerate() {
                    *out = sums.row(f, c);
                }
                for (kind, place) in layout.kinds() {
                    let features = place.features(&*kind);
                    if let Some(prior) = prior {
                        let own = &prior.own(c)[features.clone()];
                        let each = statistics[features.clone()].iter_mut().zip(own).enumerate();
                        each.for_each(|(at, (sum, own))| *sum += own - kind.less(at));
                    }
                    kind.best(&statistics[features], &mut theta[place.free(&*kind)]);
                }
                Ok(())
            }),
            Form::Diagonal(d) => {
                for j in 0..*d {
                    let (n, first) = (sums.row(j, c), sums.row(d + j, c));
                    let second = sums.row(2 * d + j, c);
                    let (step, variance) = match prior {
                        None => (first / n, second / n - (first / n) * (first / n)),
                        Some(prior) => {
                            let (pull, centre, before) = prior.block(c, j);
                            let off = centre[0] - sums.reference(j, c);
                            let step = (first + pull * off) / (n + pull);
                            let scatter = second
                                + (n * step - 2.0 * first) * step
                                + pull * (off - step) * (off - step);
                            let scale = before.root[0] * before.root[0];
                            (step, (scatter + scale) / (n + extra(1, before.degrees)))
                        }
                    };
                    if is_nothing(variance / (unit[j] * unit[j])) {
                        return Err(Lost::Collapsed(c, j));
                    }
                    theta[j] = (sums.reference(j, c) + step - centre[j]) / unit[j];
                    theta[d + j] = (variance.sqrt() / unit[j]).ln();
                }
                Ok(())
            }
            Form::Full(d) => with_buffer(triangle::len(*d), |l| {
                let (n, before) = (sums.row(0, c), prior.map(|prior| prior.block(c, 0)));
                let first = |j: usize| sums.row(1 + j, c);
                let off = |j: usize| before.map_or(0.0, |(_, m, _)| m[j] - sums.reference(j, c));
                let pull = before.map_or(0.0, |(pull, _, _)| pull);
                let step = |j: usize| match before {
                    None => first(j) / n,
                    Some(_) => (first(j) + pull * off(j)) / (n + pull),
                };
                for i in 0..*d {
                    theta[i] = (sums.reference(i, c) + step(i) - centre[i]) / unit[i];
                    for j in 0..=i {
                        let at = triangle::len(i) + j;
                        let second = sums.row(1 + d + at, c);
                        l[at] = match before {
                            None => second / n - step(i) * step(j),
                            Some((_, _, wishart)) => {
                                let (a, b) = (step(i), step(j));
                                let scatter = second - first(i) * b - a * first(j) + n * a * b;
                                let shift = pull * (off(i) - a) * (off(j) - b);
                                let row = |i: usize| &wishart.root[triangle::len(i)..];
                                let scale = triangle::dot(&row(i)[..=j], &row(j)[..=j]);
                                (scatter + shift + scale) / (n + extra(*d, wishart.degrees))
                            }
                        };
                    }
                }
                triangle::factorize(l);
                for i in 0..*d {
                    for j in 0..=i {
                        let at = triangle::len(i) + j;
                        let entry = l[at] / unit[i];
                        if i == j && is_nothing(entry * entry) {
                            return Err(Lost::Collapsed(c, i));
                        }
                        theta[d + at] = if i == j { entry.ln() } else { entry };
                    }
                }
                Ok(())
            }),
        }
    }
}

/// `E[ln p(rows | states)]` but for what rows have in every state, from sums about any means.
pub(super) fn expected_log_rows(densities: &Densities, sums: &Sums) -> f64 {
    let form = &densities.form;
    let one = |k: usize| match form {
        Form::Discrete(layout) => {
            (0..layout.features).map(|f| densities.get(f, k) * sums.row(f, k)).sum::<f64>()
        }
        Form::Diagonal(d) => {
            let column = |j: usize| {
                let (n, first) = (sums.row(j, k), sums.row(d + j, k));
                let step = sums.reference(j, k) - densities.get(d + j, k);
                let square = sums.row(2 * d + j, k) + 2.0 * step * first + step * step * n;
                let w = densities.get(2 * d + j, k);
                n * densities.get(j, k) - 0.5 * w * w * square
            };
            (0..*d).map(column).sum()
        }
        Form::Full(d) => {
            let n = sums.row(0, k);
            let first = |j: usize| sums.row(1 + j, k);
            let step = |j: usize| sums.reference(j, k) - densities.get(1 + j, k);
            let scatter = |i: usize, j: usize| {
                let at = 1 + d + triangle::len(i.max(j)) + i.min(j);
                let cross = first(i) * step(j) + step(i) * first(j);
                sums.row(at, k) + cross + n * step(i) * step(j)
            };
            let w = |i: usize, j: usize| densities.get(1 + d + triangle::len(i) + j, k);
            let square = |i: usize| -> f64 {
                let pairs = (0..=i).flat_map(|a| (0..=i).map(move |b| (a, b)));
                pairs.map(|(a, b)| w(i, a) * w(i, b) * scatter(a, b)).sum()
            };
            n * densities.get(0, k) - 0.5 * (0..*d).map(square).sum::<f64>()
        }
    };
    (0..densities.k).map(one).sum()
}
