//! Weighted moments of the rows under their labels.

use serde::{Deserialize, Serialize};

use super::Shape;
use super::packed::{stride, unpack};
use crate::triangle;

/// For each component `k`, over rows `x` of weight `w` and labels of probability `r_k`:
/// `sum w r_k`, `sum w r_k (x - c_k)` and `sum w r_k (x - c_k)(x - c_k)'` about a reference `c_k`
/// near the component's mean, so that no digits are lost far from the origin; and
/// `sum w ln sum_k rho_k(x)`. Of missing cells the moments are what is expected given the label and
/// the cells that are there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moments {
    /// The sum of the log normalisers.
    pub(crate) log_normalizer: f64,
    /// The entropy of missing cells given the labels, which the second moments take as unknown.
    #[serde(default)]
    pub(crate) entropy_of_missing: f64,
    dim: usize,
    shape: Option<Shape>,
    count: Vec<f64>,
    reference: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Moments {
    /// Makes room; does nothing where there is room.
    pub(super) fn resize(&mut self, k: usize, dim: usize, shape: Shape) {
        (self.dim, self.shape) = (dim, Some(shape));
        self.count.resize(k, 0.0);
        self.reference.resize(k * dim, 0.0);
        self.first.resize(k * dim, 0.0);
        self.second.resize(k * shape.len(dim), 0.0);
    }

    /// Reads what the kernel has summed, about these references.
    pub(super) fn read(&mut self, reference: &[f64], sums: &[f64]) {
        let (dim, shape) = (self.dim, self.shape());
        self.reference.copy_from_slice(reference);
        self.log_normalizer = sums[0];
        self.entropy_of_missing = sums[sums.len() - 1];
        let (each, len) = (1 + dim + stride(shape, dim), shape.len(dim));
        for (k, sums) in sums[1..].chunks_exact(each).enumerate() {
            self.count[k] = sums[0];
            self.first[k * dim..(k + 1) * dim].copy_from_slice(&sums[1..=dim]);
            let second = &mut self.second[k * len..(k + 1) * len];
            unpack(shape, dim, &sums[1 + dim..], second);
        }
    }

    /// That of the second moments.
    pub(crate) fn shape(&self) -> Shape {
        self.shape.unwrap_or(Shape::Diagonal)
    }

    /// Whether no rows have been seen yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.is_empty()
    }

    /// How many components.
    pub(crate) fn len(&self) -> usize {
        self.count.len()
    }

    /// `N_k`: how many rows component `k` has.
    pub(crate) fn count(&self, k: usize) -> f64 {
        self.count[k]
    }

    /// Writes the mean of the rows of component `k` and of `worth` rows at `prior`.
    pub(crate) fn mean(&self, k: usize, (worth, prior): (f64, &[f64]), out: &mut [f64]) {
        let from = k * self.dim;
        for (j, out) in out.iter_mut().enumerate() {
            let about = self.reference[from + j];
            let pull = if worth > 0.0 { worth * (prior[j] - about) } else { 0.0 };
            *out = about + (self.first[from + j] + pull) / (self.count[k] + worth);
        }
    }

    /// Writes `sum w r_k (x - c)(x - c)'` about any `c`: a lower triangle or a diagonal.
    pub(crate) fn scatter(&self, k: usize, c: &[f64], out: &mut [f64]) {
        let (dim, len) = (self.dim, self.shape().len(self.dim));
        let first = &self.first[k * dim..(k + 1) * dim];
        let step = |j: usize| self.reference[k * dim + j] - c[j];
        out.copy_from_slice(&self.second[k * len..(k + 1) * len]);
        let shifted = |i: usize, j: usize| {
            let (a, b) = (step(i), step(j));
            first[i] * b + a * first[j] + self.count[k] * a * b
        };
        match self.shape() {
            Shape::Diagonal => (0..dim).for_each(|j| out[j] += shifted(j, j)),
            Shape::Full => {
                for i in 0..dim {
                    let row = &mut out[triangle::len(i)..triangle::len(i + 1)];
                    row.iter_mut().enumerate().for_each(|(j, out)| *out += shifted(i, j));
                }
            }
        }
    }

    /// `sum w r_k |W (x - c)|^2`
    pub(crate) fn square(&self, k: usize, c: &[f64], w: &[f64]) -> f64 {
        let (dim, shape) = (self.dim, self.shape());
        crate::scratch::with_buffer(shape.len(dim), |s| {
            self.scatter(k, c, s);
            match shape {
                Shape::Diagonal => s.iter().zip(w).map(|(s, w)| s * w * w).sum(),
                Shape::Full => {
                    // row' S row for each row of W, S being symmetric
                    let form = |row: &[f64]| -> f64 {
                        let lower = triangle::rows(s).zip(row).map(|(s, w)| {
                            let (off, on) = (&s[..s.len() - 1], s[s.len() - 1]);
                            w * (2.0 * triangle::dot(off, &row[..off.len()]) + on * w)
                        });
                        lower.sum()
                    };
                    triangle::rows(w).take(dim).map(form).sum()
                }
            }
        })
    }

    /// Multiplies all sums by `a`.
    pub(crate) fn scale(&mut self, a: f64) {
        let parts = [&mut self.count, &mut self.first, &mut self.second];
        parts.into_iter().flatten().for_each(|x| *x *= a);
        self.log_normalizer *= a;
        self.entropy_of_missing *= a;
    }

    /// Moves the fraction `rate` of the way to `other`, and to its references.
    pub(crate) fn blend(&mut self, rate: f64, other: &Moments) {
        let (dim, len) = (self.dim, self.shape().len(self.dim));
        crate::scratch::with_buffer(len, |s| {
            for k in 0..self.len() {
                let c = &other.reference[k * dim..(k + 1) * dim];
                self.scatter(k, c, s);
                for j in 0..dim {
                    let step = self.reference[k * dim + j] - c[j];
                    self.first[k * dim + j] += self.count[k] * step;
                }
                self.second[k * len..(k + 1) * len].copy_from_slice(s);
            }
        });
        self.reference.copy_from_slice(&other.reference);
        let mix = |a: &mut [f64], b: &[f64]| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += rate * (b - *a));
        };
        mix(&mut self.count, &other.count);
        mix(&mut self.first, &other.first);
        mix(&mut self.second, &other.second);
        self.log_normalizer += rate * (other.log_normalizer - self.log_normalizer);
        self.entropy_of_missing += rate * (other.entropy_of_missing - self.entropy_of_missing);
    }
}
