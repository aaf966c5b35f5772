//! Factors in the order in which the kernel reads them.

use super::{Components, Shape};

/// A lower triangle two rows at a time, the shorter filled with a zero: for the rows `2 t` and
/// `2 t + 1`, column after column, both entries. A last row without a partner gets a row of zeros.
pub(super) struct Pairs {
    /// The dimension, made even.
    pub(super) dim: usize,
}

impl Pairs {
    pub(super) fn new(dim: usize) -> Pairs {
        Pairs { dim: dim.next_multiple_of(2) }
    }
    /// How many numbers a triangle holds.
    pub(super) fn len(&self) -> usize {
        Pairs::start(self.dim / 2)
    }
    /// Where pair `t` begins.
    pub(super) const fn start(t: usize) -> usize {
        2 * t * (t + 1)
    }
    /// Where entry `(i, j)` stands.
    pub(super) const fn at(i: usize, j: usize) -> usize {
        Pairs::start(i / 2) + 2 * j + i % 2
    }
}

/// How many numbers of a factor, or of second moments, the kernel keeps a component.
pub(super) fn stride(shape: Shape, dim: usize) -> usize {
    match shape {
        Shape::Full => Pairs::new(dim).len(),
        Shape::Diagonal => dim,
    }
}

/// Writes the factors of all components as the kernel reads them.
pub(super) fn pack(components: &Components, out: &mut [f64]) {
    let (dim, shape) = (components.dim, components.shape);
    for (k, out) in out.chunks_exact_mut(stride(shape, dim)).enumerate() {
        let factor = components.factor(k);
        match shape {
            Shape::Diagonal => out.copy_from_slice(factor),
            Shape::Full => {
                out.fill(0.0);
                let mut entries = factor.iter();
                for i in 0..dim {
                    for j in 0..=i {
                        out[Pairs::at(i, j)] = entries.next().copied().unwrap_or(0.0);
                    }
                }
            }
        }
    }
}

/// The lower triangle, row by row, out of the kernel's order.
pub(super) fn unpack(shape: Shape, dim: usize, packed: &[f64], out: &mut [f64]) {
    match shape {
        Shape::Diagonal => out.copy_from_slice(&packed[..dim]),
        Shape::Full => {
            let mut out = out.iter_mut();
            for i in 0..dim {
                for (j, out) in (0..=i).zip(&mut out) {
                    *out = packed[Pairs::at(i, j)];
                }
            }
        }
    }
}
