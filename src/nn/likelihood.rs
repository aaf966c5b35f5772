//! `Likelihood`: how pixels spread around what a decoder says, with the gradient.

use pulp::{Simd, WithSimd};
use serde::{Deserialize, Serialize};

use crate::data::Images;
use crate::error::Error;
use crate::scalar::Scalar;
use crate::simd::dispatch;
use crate::special::LN_SQRT_2PI;

/// `log p(x | y)` of the pixels `x` of an image, where `y` comes from the decoder's network; pixels
/// are independent given `y`.
///
/// | likelihood | pixel | numbers of `y` a pixel |
/// |---|---|---|
/// | `Bernoulli` | `x ln s(y) + (1 - x) ln(1 - s(y))`, `s` the logistic function | 1 |
/// | `Gaussian` | `N(x; y, sigma^2)` | 1, or 2 with [`Noise::PerPixel`] |
/// | `Categorical` | `softmax(y)` at the level of the pixel | as many as there are levels |
///
/// A Bernoulli likelihood takes grey pixels too, as shares of black and white; its value is then no
/// log density of the image (Loaiza-Ganem and Cunningham 2019).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Likelihood {
    /// Black or white, from logits.
    Bernoulli,
    /// Normal around what the network says.
    Gaussian(Noise),
    /// One of the levels of the images, from as many logits.
    Categorical,
}

/// The variance of a Gaussian likelihood.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Noise {
    /// This `sigma^2`.
    Fixed(f64),
    /// One `sigma^2` for all pixels, part of `theta`, which starts at this value; it stays between
    /// `e^-10` and `e^10`.
    Learned(f64),
    /// Each pixel its own, from the network: the first half of its outputs are means, the second
    /// half are mapped to `ln sigma^2` in `(-10, 10)`.
    PerPixel,
}

/// `ln sigma^2` lies between minus this and this.
pub(super) const WIDEST: f64 = 10.0;

/// A smooth map of the line onto `(-WIDEST, WIDEST)` that is the identity near 0, and its slope.
#[inline(always)]
pub(super) fn bounded<T: Scalar>(raw: T) -> (T, T) {
    let t = (raw * T::from_f64(1.0 / WIDEST)).quick_tanh();
    (T::from_f64(WIDEST) * t, T::from_f64(1.0) - t * t)
}

impl Likelihood {
    /// How many numbers of `y` an image takes.
    pub fn outputs(&self, images: &Images) -> usize {
        let each = match self {
            Likelihood::Gaussian(Noise::PerPixel) => 2,
            Likelihood::Bernoulli | Likelihood::Gaussian(_) => 1,
            Likelihood::Categorical => images.levels().unwrap_or(0),
        };
        each * images.size()
    }

    /// Refuses pixels that the likelihood has no value for, and a variance that is none.
    ///
    /// # Errors
    /// Pixels outside `[0, 1]` for `Bernoulli`, pixels that are no levels for `Categorical`, a
    /// variance that is not between `e^-10` and `e^10`.
    pub fn check(&self, images: &Images) -> Result<(), Error> {
        match self {
            Likelihood::Bernoulli => images.check_unit(),
            Likelihood::Categorical if images.levels().is_none() || images.is_anew() => {
                let remedy = "it takes images of fixed levels: make them by Images::from_levels";
                Err(Error::option("likelihood", "Categorical", remedy))
            }
            Likelihood::Gaussian(Noise::Fixed(v) | Noise::Learned(v))
                if v.is_nan() || *v <= 0.0 || v.ln().abs() >= WIDEST =>
            {
                let remedy = "the variance must lie between e^-10 and e^10; rescale the pixels";
                Err(Error::option("sigma^2", v, remedy))
            }
            _ => Ok(()),
        }
    }

    /// What `theta` has for a learned variance at the start.
    pub(super) fn raw<T: Scalar>(&self) -> Option<T> {
        match self {
            Likelihood::Gaussian(Noise::Learned(v)) => {
                Some(T::from_f64(WIDEST * (v.ln() / WIDEST).atanh()))
            }
            _ => None,
        }
    }

    /// Adds the log likelihood of each of the `values.len()` images in the panel `x` to `values`,
    /// unless that is empty; replaces `y` by `weight` times its gradient, and adds that in the raw
    /// number of a learned variance to `raws`, column by column. `levels` of a pixel where there are any.
    pub(super) fn evaluate<T: Scalar>(
        &self,
        (x, y): (&[T], &mut [T]),
        columns: usize,
        (raw, levels): (Option<T>, usize),
        weight: T,
        values: &mut [f64],
        raws: &mut [T],
    ) {
        match self {
            Likelihood::Bernoulli if values.is_empty() => {
                dispatch(Logistic::<T, false> { x, y, weight, values, columns });
            }
            Likelihood::Bernoulli => {
                dispatch(Logistic::<T, true> { x, y, weight, values, columns });
            }
            Likelihood::Categorical => softmax((x, y), columns, levels, weight, values),
            Likelihood::Gaussian(noise) => {
                let (log_variance, slope) = match (noise, raw) {
                    (Noise::Learned(_), Some(raw)) => bounded(raw),
                    (Noise::Fixed(v), _) => (T::from_f64(v.ln()), T::default()),
                    _ => (T::default(), T::default()),
                };
                let each = (*noise == Noise::PerPixel).then_some(());
                let weights = (weight, weight * slope);
                dispatch(Normal { x, y, weights, values, columns, log_variance, raws, each });
            }
        }
    }

    /// Replaces what the network says by the mean of the pixels, image after image.
    pub(super) fn mean<T: Scalar>(&self, y: &[T], levels: usize, mean: &mut [T]) {
        match self {
            Likelihood::Bernoulli => {
                mean.iter_mut().zip(y).for_each(|(m, y)| *m = y.sigmoid_softplus().0);
            }
            Likelihood::Gaussian(_) => mean.copy_from_slice(&y[..mean.len()]),
            Likelihood::Categorical => {
                // y is one pixel after another with all its levels
                for (m, y) in mean.iter_mut().zip(y.chunks_exact(levels)) {
                    let top = y.iter().fold(y[0], |top, &y| if y > top { y } else { top });
                    let (mut sum, mut first) = (T::default(), T::default());
                    for (k, &y) in y.iter().enumerate() {
                        let e = (y - top).exp();
                        sum += e;
                        first += e * T::from_f64(k as f64);
                    }
                    *m = first / sum / T::from_f64((levels - 1) as f64);
                }
            }
        }
    }
}

struct Logistic<'a, T, const VALUES: bool> {
    x: &'a [T],
    y: &'a mut [T],
    weight: T,
    values: &'a mut [f64],
    columns: usize,
}

impl<T: Scalar, const VALUES: bool> WithSimd for Logistic<'_, T, VALUES> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Logistic { x, y, weight, values, columns } = self;
        for (x, y) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns)) {
            if VALUES {
                for ((&x, y), value) in x.iter().zip(y).zip(values.iter_mut()) {
                    let (sigmoid, softplus) = y.sigmoid_softplus();
                    *value += (x * *y - softplus).to_f64();
                    *y = weight * (x - sigmoid);
                }
            } else {
                for (&x, y) in x.iter().zip(y) {
                    *y = weight * (x - y.sigmoid_softplus().0);
                }
            }
        }
    }
}

struct Normal<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
    /// That of `y`, and times the slope of a learned log variance.
    weights: (T, T),
    values: &'a mut [f64],
    columns: usize,
    log_variance: T,
    /// Gradients in the raw number of a learned log variance; empty where there is none.
    raws: &'a mut [T],
    /// Whether the second half of `y` has variances of its own.
    each: Option<()>,
}

impl<T: Scalar> WithSimd for Normal<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Normal { x, y, weights, values, columns, log_variance, raws, each } = self;
        let (weight, steep) = weights;
        let (half, one, constant) = (T::from_f64(0.5), T::from_f64(1.0), T::from_f64(LN_SQRT_2PI));
        let (means, others) = y.split_at_mut(x.len());
        let precision = (-log_variance).quick_exp();
        for (p, (x, y)) in x.chunks_exact(columns).zip(means.chunks_exact_mut(columns)).enumerate()
        {
            let mut raw = each.map(|()| &mut others[p * columns..(p + 1) * columns]);
            for j in 0..columns {
                let (log_variance, slope) = match &raw {
                    Some(raw) => bounded(raw[j]),
                    None => (log_variance, one),
                };
                let precision = if raw.is_some() { (-log_variance).quick_exp() } else { precision };
                let off = x[j] - y[j];
                let square = off * off * precision;
                if let Some(value) = values.get_mut(j) {
                    *value -= (half * (square + log_variance) + constant).to_f64();
                }
                y[j] = weight * off * precision;
                match &mut raw {
                    Some(raw) => raw[j] = weight * half * (square - one) * slope,
                    None => {
                        if let Some(sum) = raws.get_mut(j) {
                            *sum += steep * half * (square - one);
                        }
                    }
                }
            }
        }
    }
}

/// One pixel after another, each with all its levels.
fn softmax<T: Scalar>(
    (x, y): (&[T], &mut [T]),
    columns: usize,
    levels: usize,
    weight: T,
    values: &mut [f64],
) {
    let top_level = (levels - 1) as f64;
    for (x, y) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns * levels)) {
        for j in 0..columns {
            let level = (x[j].to_f64() * top_level).round() as usize;
            let at = |k: usize| k * columns + j;
            let top = (0..levels).fold(y[j], |top, k| if y[at(k)] > top { y[at(k)] } else { top });
            let here = y[at(level)] - top;
            let mut sum = T::default();
            for k in 0..levels {
                y[at(k)] = (y[at(k)] - top).quick_exp();
                sum += y[at(k)];
            }
            if let Some(value) = values.get_mut(j) {
                *value += (here - sum.ln()).to_f64();
            }
            let share = weight / sum;
            (0..levels).for_each(|k| y[at(k)] = -share * y[at(k)]);
            y[at(level)] += weight;
        }
    }
}
