//! Products of dense matrices, over the crate `gemm`: the one place that knows it.
//!
//! `gemm` takes pointers, so this is a file with unsafe code; what it asks for is checked here, and the
//! rest of the crate sees slices.
#![allow(unsafe_code)]

use std::any::TypeId;

use gemm::Parallelism;

use crate::scalar::Scalar;

/// A matrix inside a slice: entry `(i, j)` is number `i * down + j * across`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a, T> {
    pub numbers: &'a [T],
    pub down: usize,
    pub across: usize,
}

/// Whether a product replaces what was there or is added to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Into {
    Replace,
    Add,
}

/// The most terms of a sum that one call takes, so that sums are cut at the same places whatever the
/// size of the matrices is: a part of a product then has the bits it has in the whole.
const STRETCH: usize = 512;

/// The number of entries a slice must have to hold a matrix of this size.
fn reach(rows: usize, columns: usize, down: usize, across: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * down + (columns - 1) * across + 1 }
}

/// `out = a b` or `out = out + a b`, where `a` is `m x k`, `b` is `k x n` and `out` is `m x n`, one
/// column after another.
///
/// # Panics
/// A slice that is too short for its matrix.
pub(crate) fn multiply<T: Scalar>(
    (m, n, k): (usize, usize, usize),
    into: Into,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    out: &mut [T],
) {
    assert!(a.numbers.len() >= reach(m, k, a.down, a.across), "the first factor is too short");
    assert!(b.numbers.len() >= reach(k, n, b.down, b.across), "the second factor is too short");
    assert!(out.len() >= m * n, "the product is too short");
    let scalar = TypeId::of::<T>();
    assert!(
        scalar == TypeId::of::<f32>() || scalar == TypeId::of::<f64>(),
        "products are of f32 or f64"
    );
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 && into == Into::Replace {
        return out[..m * n].fill(T::default());
    }
    let pieces = k.div_ceil(STRETCH);
    for piece in 0..pieces {
        let (from, to) = (piece * k / pieces, (piece + 1) * k / pieces);
        let one = T::from_f64(1.0);
        // SAFETY: the three slices hold every entry that is read or written, as asserted above: for
        // all i < m, j < n and from <= l < to <= k, the offsets i * a.down + l * a.across,
        // l * b.down + j * b.across and i + j * m lie inside them. `out` is borrowed mutably, so it
        // overlaps neither factor. T is f32 or f64, for which `gemm` is defined; it keeps no pointer.
        unsafe {
            gemm::gemm(
                m,
                n,
                to - from,
                out.as_mut_ptr(),
                m as isize,
                1,
                into == Into::Add || piece > 0,
                a.numbers[from * a.across..].as_ptr(),
                a.across as isize,
                a.down as isize,
                b.numbers[from * b.down..].as_ptr(),
                b.across as isize,
                b.down as isize,
                one,
                one,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{Purpose, fill_normal, stream};

    fn normals<T: Scalar>(n: usize, index: u64) -> Vec<T> {
        let mut x = vec![T::default(); n];
        fill_normal(&mut stream(7, Purpose::Data, index), &mut x);
        x
    }

    /// Every layout of the factors, small sizes and ones that are cut, against sums of products.
    fn products_are_sums<T: Scalar>(epsilon: f64) {
        for (m, n, k) in
            [(1, 1, 1), (2, 3, 4), (64, 10, 20), (7, 1, 33), (1, 9, 600), (64, 40, 1300)]
        {
            let (a, b) = (normals::<T>(m * k, 1), normals::<T>(k * n, 2));
            let start = normals::<T>(m * n, 3);
            for (a_down, a_across) in [(1, m), (k, 1)] {
                for (b_down, b_across) in [(1, k), (n, 1)] {
                    for into in [Into::Replace, Into::Add] {
                        let mut out = start.clone();
                        let left = Matrix { numbers: &a, down: a_down, across: a_across };
                        let right = Matrix { numbers: &b, down: b_down, across: b_across };
                        multiply((m, n, k), into, left, right, &mut out);
                        for i in 0..m {
                            for j in 0..n {
                                let first = start[i + j * m].to_f64();
                                let mut want = if into == Into::Add { first } else { 0.0 };
                                let mut size = want.abs();
                                for l in 0..k {
                                    let x = a[i * a_down + l * a_across].to_f64();
                                    let y = b[l * b_down + j * b_across].to_f64();
                                    want += x * y;
                                    size += (x * y).abs();
                                }
                                // rounding of k products and sums
                                let slack = (k + 2) as f64 * epsilon * size;
                                let got = out[i + j * m].to_f64();
                                assert!((got - want).abs() <= slack, "{m} {n} {k}: {got} {want}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn products_are_sums_of_products() {
        products_are_sums::<f32>(f64::from(f32::EPSILON));
        products_are_sums::<f64>(f64::EPSILON);
    }

    #[test]
    #[should_panic(expected = "the second factor is too short")]
    fn a_short_factor_is_noticed() {
        let a = Matrix { numbers: &[1.0f32; 6], down: 1, across: 2 };
        let b = Matrix { numbers: &[1.0f32; 5], down: 1, across: 3 };
        multiply((2, 2, 3), Into::Replace, a, b, &mut [0.0; 4]);
    }
}
