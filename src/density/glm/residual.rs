//! What a block of linear predictors becomes: the slopes of the rows' log probabilities in them, and
//! the sums over the rows.

use pulp::Simd;

use super::kernel::Link;
use super::panels::Eight;
use super::product::{load, store};
use crate::simd::{exp, softplus};

/// What a pass over the rows computes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Want {
    Values,
    Gradients,
    Both,
    /// A Hessian product at one point; each row has two predictors, that of the point and that of
    /// the direction.
    Product,
}

/// Sums over rows at one point, eight partial sums each: the log probabilities but for what the
/// other sums make of them; the squared residuals of the normal link in units of its sd, or what the
/// sd turns in a product; and the predictors magnified, not finite where they are too large to add up.
pub(super) type Sums = [Eight; 3];

/// The columns beside the matrix, and which panels are meant.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub panels: &'a [usize],
    /// Of a Bernoulli likelihood 1 and -1 for 1 and 0.
    pub y: &'a [Eight],
    pub trials: &'a [Eight],
    pub offset: &'a [Eight],
    /// Which rows of the last panel there are: ones, then zeros.
    pub last: (usize, Eight),
}

/// The sd of a normal likelihood at a point, and its direction in a Hessian product.
#[derive(Clone, Copy, Default)]
pub(super) struct Noise<'a> {
    pub sd: &'a [f64],
    pub turn: f64,
}

/// More than there are rows times trials: predictors that are finite so many times over have a finite
/// log probability.
const MAGNIFIED: f64 = 1e24;

const ALL: Eight = [1.0; 8];

/// Turns `eta[k, l]`, as it comes without offset, into slopes, and adds to the sums of each point.
/// Of a product only the first of two points is turned.
#[inline(always)]
pub(super) fn residuals<S: Simd>(
    s: S,
    link: Link,
    want: Want,
    rows: Rows<'_>,
    noise: Noise<'_>,
    eta: &mut [Eight],
    sums: &mut [Sums],
) {
    macro_rules! each {
        ($kind:expr) => {
            match want {
                Want::Values => each::<S, true, false>(s, rows, noise, eta, sums, $kind),
                Want::Gradients => each::<S, false, true>(s, rows, noise, eta, sums, $kind),
                Want::Both => each::<S, true, true>(s, rows, noise, eta, sums, $kind),
                Want::Product => bend(s, link, rows, noise, eta, sums),
            }
        };
    }
    match link {
        Link::BernoulliLogit => each!(Bernoulli),
        Link::BinomialLogit => each!(Binomial),
        Link::PoissonLog => each!(Poisson),
        Link::Normal => each!(Normal),
    }
}

/// One row at one point.
struct Row<S: Simd> {
    eta: S::f64s,
    y: S::f64s,
    trials: S::f64s,
    /// `1 / sd`
    precision: S::f64s,
}

/// What a row gives: the slope, the log probability if it is asked for, and the squared residual.
struct Given<S: Simd> {
    slope: S::f64s,
    value: S::f64s,
    square: S::f64s,
}

trait Residual: Copy {
    fn residual<S: Simd, const VALUE: bool>(self, s: S, row: Row<S>) -> Given<S>;
}

/// Point by point, so that the sums stay in registers.
#[inline(always)]
fn each<S: Simd, const VALUE: bool, const SLOPE: bool>(
    s: S,
    rows: Rows<'_>,
    noise: Noise<'_>,
    eta: &mut [Eight],
    sums: &mut [Sums],
    kind: impl Residual,
) {
    let (zero, lanes) = (s.splat_f64s(0.0), sums.len());
    for (l, sums) in sums.iter_mut().enumerate() {
        let precision = s.splat_f64s(noise.sd.get(l).map_or(1.0, |sd| 1.0 / sd));
        for h in 0..8 / S::F64_LANES {
            let [mut value, mut square, mut large] = [0, 1, 2].map(|k| load::<S>(&sums[k], h));
            for (k, &q) in rows.panels.iter().enumerate() {
                let eta = &mut eta[k * lanes + l];
                let mut row = Row {
                    eta: load::<S>(eta, h),
                    y: load::<S>(&rows.y[q], h),
                    trials: zero,
                    precision,
                };
                if let Some(offset) = rows.offset.get(q) {
                    row.eta = s.add_f64s(row.eta, load::<S>(offset, h));
                }
                if let Some(trials) = rows.trials.get(q) {
                    row.trials = load::<S>(trials, h);
                }
                large = s.mul_add_e_f64s(row.eta, s.splat_f64s(MAGNIFIED), large);
                let given = kind.residual::<S, VALUE>(s, row);
                if SLOPE {
                    store::<S>(eta, h, given.slope);
                }
                square = s.add_f64s(square, given.square);
                if VALUE {
                    let there = if q == rows.last.0 { &rows.last.1 } else { &ALL };
                    value = s.mul_add_e_f64s(load::<S>(there, h), given.value, value);
                }
            }
            for (sum, total) in sums.iter_mut().zip([value, square, large]) {
                store::<S>(sum, h, total);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Bernoulli;

impl Residual for Bernoulli {
    #[inline(always)]
    fn residual<S: Simd, const VALUE: bool>(self, s: S, row: Row<S>) -> Given<S> {
        let (zero, one) = (s.splat_f64s(0.0), s.splat_f64s(1.0));
        // With the sign of the outcome: log p = -ln(1 + e^-u), and its slope is sign / (1 + e^u).
        let u = s.mul_f64s(row.y, row.eta);
        let e = exp(s, u);
        let slope = s.div_f64s(row.y, s.add_f64s(one, e));
        let value = if VALUE { s.neg_f64s(softplus(s, s.neg_f64s(u))) } else { zero };
        Given { slope, value, square: zero }
    }
}

#[derive(Clone, Copy)]
struct Binomial;

impl Residual for Binomial {
    #[inline(always)]
    fn residual<S: Simd, const VALUE: bool>(self, s: S, row: Row<S>) -> Given<S> {
        let (zero, one) = (s.splat_f64s(0.0), s.splat_f64s(1.0));
        let Row { eta, y, trials, .. } = row;
        let positive = s.greater_than_f64s(eta, zero);
        let e = exp(s, s.neg_f64s(s.abs_f64s(eta)));
        let up = s.select_f64s(positive, one, e);
        let down = s.select_f64s(positive, e, one);
        let failures = s.sub_f64s(trials, y);
        let slope = s.sub_f64s(s.mul_f64s(y, down), s.mul_f64s(failures, up));
        let slope = s.div_f64s(slope, s.add_f64s(one, e));
        let mut value = zero;
        if VALUE {
            let against = s.select_f64s(positive, failures, s.neg_f64s(y));
            let cost = s.mul_add_e_f64s(
                trials,
                softplus(s, s.neg_f64s(s.abs_f64s(eta))),
                s.mul_f64s(against, eta),
            );
            value = s.neg_f64s(cost);
        }
        Given { slope, value, square: zero }
    }
}

#[derive(Clone, Copy)]
struct Poisson;

impl Residual for Poisson {
    #[inline(always)]
    fn residual<S: Simd, const VALUE: bool>(self, s: S, row: Row<S>) -> Given<S> {
        let zero = s.splat_f64s(0.0);
        let rate = exp(s, row.eta);
        let slope = s.sub_f64s(row.y, rate);
        let value = if VALUE { s.sub_f64s(s.mul_f64s(row.y, row.eta), rate) } else { zero };
        Given { slope, value, square: zero }
    }
}

#[derive(Clone, Copy)]
struct Normal;

impl Residual for Normal {
    #[inline(always)]
    fn residual<S: Simd, const VALUE: bool>(self, s: S, row: Row<S>) -> Given<S> {
        let u = s.mul_f64s(s.sub_f64s(row.y, row.eta), row.precision);
        let slope = s.mul_f64s(u, row.precision);
        Given { slope, value: s.splat_f64s(0.0), square: s.mul_f64s(u, u) }
    }
}

/// Turns the first of the two predictors of each row into how fast its slope changes in the
/// direction, and sums up how fast that of the sd does, but for `turn / sd^2` a row.
#[inline(always)]
fn bend<S: Simd>(
    s: S,
    link: Link,
    rows: Rows<'_>,
    noise: Noise<'_>,
    eta: &mut [Eight],
    sums: &mut [Sums],
) {
    let one = s.splat_f64s(1.0);
    let precision = s.splat_f64s(noise.sd.first().map_or(1.0, |sd| 1.0 / sd));
    let turn_sd = s.splat_f64s(noise.turn);
    let Some([_, square, _]) = sums.first_mut() else { return };
    for (&q, pair) in rows.panels.iter().zip(eta.as_chunks_mut::<2>().0) {
        for h in 0..8 / S::F64_LANES {
            let mut eta = load::<S>(&pair[0], h);
            let turn = load::<S>(&pair[1], h);
            if let Some(offset) = rows.offset.get(q) {
                eta = s.add_f64s(eta, load::<S>(offset, h));
            }
            let bend = match link {
                Link::BernoulliLogit | Link::BinomialLogit => {
                    let e = exp(s, s.neg_f64s(s.abs_f64s(eta)));
                    let sum = s.add_f64s(one, e);
                    let weight = s.div_f64s(e, s.mul_f64s(sum, sum));
                    match rows.trials.get(q) {
                        Some(trials) => s.mul_f64s(weight, load::<S>(trials, h)),
                        None => weight,
                    }
                }
                Link::PoissonLog => exp(s, eta),
                Link::Normal => {
                    let u = s.mul_f64s(s.sub_f64s(load::<S>(&rows.y[q], h), eta), precision);
                    let both = s.add_f64s(u, u);
                    let three =
                        s.mul_f64s(s.mul_f64s(s.splat_f64s(3.0), s.mul_f64s(u, u)), turn_sd);
                    let sum = s.mul_add_e_f64s(both, turn, three);
                    let total = s.add_f64s(load::<S>(square, h), sum);
                    store::<S>(square, h, total);
                    let all = s.mul_add_e_f64s(both, turn_sd, turn);
                    store::<S>(
                        &mut pair[0],
                        h,
                        s.neg_f64s(s.mul_f64s(all, s.mul_f64s(precision, precision))),
                    );
                    continue;
                }
            };
            store::<S>(&mut pair[0], h, s.neg_f64s(s.mul_f64s(turn, bend)));
        }
    }
}
