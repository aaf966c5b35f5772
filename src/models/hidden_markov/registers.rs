//! The log density of a row for the states of one register, and the sums that go with it.

use pulp::Simd;

use super::densities::{Densities, SIDE};
use crate::models::components::has_gap;
use crate::models::discrete_mixture::Layout;

/// The log density of a row, and the sums that go with it, for the states of register `r`.
pub(super) trait Emission<S: Simd>: Copy {
    fn log_density(&self, s: S, row: &[f64], r: usize) -> S::f64s;
    fn add(&self, s: S, row: &[f64], label: S::f64s, r: usize, sums: &mut [S::f64s]);
    /// Whether nothing of a row is known.
    fn is_missing(&self, row: &[f64]) -> bool;
}

/// Numbers of all states, `wide` registers a number.
pub(super) struct Numbers<'a, S: Simd> {
    pub(super) at: &'a [S::f64s],
    pub(super) wide: usize,
}

impl<S: Simd> Clone for Numbers<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Simd> Copy for Numbers<'_, S> {}

impl<S: Simd> Numbers<'_, S> {
    #[inline(always)]
    pub(super) fn get(&self, i: usize, r: usize) -> S::f64s {
        self.at[i * self.wide + r]
    }
}

/// Of `D` dimensions; of any number where `D` is 0.
pub(super) struct Full<'a, S: Simd, const D: usize> {
    pub(super) numbers: Numbers<'a, S>,
    pub(super) dim: usize,
}

impl<S: Simd, const D: usize> Clone for Full<'_, S, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Simd, const D: usize> Copy for Full<'_, S, D> {}

impl<S: Simd, const D: usize> Full<'_, S, D> {
    #[inline(always)]
    fn dim(&self) -> usize {
        if D > 0 { D } else { self.dim }
    }
    #[inline(always)]
    fn off(&self, s: S, row: &[f64], j: usize, r: usize) -> S::f64s {
        s.sub_f64s(s.splat_f64s(row[j]), self.numbers.get(1 + j, r))
    }
}

impl<S: Simd, const D: usize> Emission<S> for Full<'_, S, D> {
    #[inline(always)]
    fn log_density(&self, s: S, row: &[f64], r: usize) -> S::f64s {
        let d = self.dim();
        let mut at = 1 + d;
        let mut square = s.splat_f64s(0.0);
        for i in 0..d {
            let mut z = s.mul_f64s(self.numbers.get(at, r), self.off(s, row, 0, r));
            for j in 1..=i {
                z = s.mul_add_e_f64s(self.numbers.get(at + j, r), self.off(s, row, j, r), z);
            }
            square = s.mul_add_e_f64s(z, z, square);
            at += i + 1;
        }
        s.mul_add_e_f64s(square, s.splat_f64s(-0.5), self.numbers.get(0, r))
    }
    #[inline(always)]
    fn add(&self, s: S, row: &[f64], label: S::f64s, r: usize, sums: &mut [S::f64s]) {
        let (d, wide) = (self.dim(), self.numbers.wide);
        sums[r] = s.add_f64s(sums[r], label);
        let mut at = 1 + d;
        for i in 0..d {
            let weighted = s.mul_f64s(label, self.off(s, row, i, r));
            let first = &mut sums[(1 + i) * wide + r];
            *first = s.add_f64s(*first, weighted);
            for j in 0..=i {
                let second = &mut sums[(at + j) * wide + r];
                *second = s.mul_add_e_f64s(weighted, self.off(s, row, j, r), *second);
            }
            at += i + 1;
        }
    }
    #[inline(always)]
    fn is_missing(&self, _: &[f64]) -> bool {
        false
    }
}

/// The same where cells may be missing: rows that have some are taken state by state.
pub(super) struct Gappy<'a, S: Simd> {
    pub(super) whole: Full<'a, S, 0>,
    pub(super) densities: &'a Densities,
}

impl<S: Simd> Clone for Gappy<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Simd> Copy for Gappy<'_, S> {}

impl<S: Simd> Emission<S> for Gappy<'_, S> {
    #[inline(always)]
    fn log_density(&self, s: S, row: &[f64], r: usize) -> S::f64s {
        if !has_gap(row) {
            return self.whole.log_density(s, row, r);
        }
        let mut lanes = [0.0; SIDE];
        for (l, lane) in lanes[..S::F64_LANES].iter_mut().enumerate() {
            *lane = self.densities.log_density(r * S::F64_LANES + l, row);
        }
        S::as_simd_f64s(&lanes).0[0]
    }
    #[inline(always)]
    fn add(&self, s: S, row: &[f64], label: S::f64s, r: usize, sums: &mut [S::f64s]) {
        if !has_gap(row) {
            return self.whole.add(s, row, label, r, sums);
        }
        let lanes: &[f64] = pulp::bytemuck::cast_slice(std::slice::from_ref(&label));
        let sums: &mut [f64] = pulp::bytemuck::cast_slice_mut(sums);
        for (l, &p) in lanes.iter().enumerate() {
            self.densities.add_to(r * S::F64_LANES + l, row, p, sums);
        }
    }
    #[inline(always)]
    fn is_missing(&self, row: &[f64]) -> bool {
        row.iter().all(|x| x.is_nan())
    }
}

pub(super) struct Diagonal<'a, S: Simd> {
    pub(super) numbers: Numbers<'a, S>,
    pub(super) dim: usize,
}

impl<S: Simd> Clone for Diagonal<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Simd> Copy for Diagonal<'_, S> {}

impl<S: Simd> Emission<S> for Diagonal<'_, S> {
    #[inline(always)]
    fn log_density(&self, s: S, row: &[f64], r: usize) -> S::f64s {
        let (d, numbers) = (self.dim, &self.numbers);
        let (mut sum, half) = (s.splat_f64s(0.0), s.splat_f64s(-0.5));
        for j in 0..d {
            if row[j].is_nan() {
                continue;
            }
            let y = s.sub_f64s(s.splat_f64s(row[j]), numbers.get(d + j, r));
            let z = s.mul_f64s(numbers.get(2 * d + j, r), y);
            let term = s.mul_add_e_f64s(s.mul_f64s(z, half), z, numbers.get(j, r));
            sum = s.add_f64s(sum, term);
        }
        sum
    }
    #[inline(always)]
    fn add(&self, s: S, row: &[f64], label: S::f64s, r: usize, sums: &mut [S::f64s]) {
        let (d, wide) = (self.dim, self.numbers.wide);
        for j in 0..d {
            if row[j].is_nan() {
                continue;
            }
            let y = s.sub_f64s(s.splat_f64s(row[j]), self.numbers.get(d + j, r));
            let weighted = s.mul_f64s(label, y);
            let count = &mut sums[j * wide + r];
            *count = s.add_f64s(*count, label);
            let first = &mut sums[(d + j) * wide + r];
            *first = s.add_f64s(*first, weighted);
            let second = &mut sums[(2 * d + j) * wide + r];
            *second = s.mul_add_e_f64s(weighted, y, *second);
        }
    }
    #[inline(always)]
    fn is_missing(&self, _: &[f64]) -> bool {
        false
    }
}

pub(super) struct Discrete<'a, S: Simd> {
    pub(super) numbers: Numbers<'a, S>,
    pub(super) layout: &'a Layout,
}

impl<S: Simd> Clone for Discrete<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Simd> Copy for Discrete<'_, S> {}

impl<S: Simd> Emission<S> for Discrete<'_, S> {
    #[inline(always)]
    fn log_density(&self, s: S, row: &[f64], r: usize) -> S::f64s {
        let mut sum = s.splat_f64s(0.0);
        self.layout.each(row, |f, x| {
            sum = s.mul_add_e_f64s(s.splat_f64s(x), self.numbers.get(f, r), sum);
        });
        sum
    }
    #[inline(always)]
    fn add(&self, s: S, row: &[f64], label: S::f64s, r: usize, sums: &mut [S::f64s]) {
        let wide = self.numbers.wide;
        self.layout.each(row, |f, x| {
            let sum = &mut sums[f * wide + r];
            *sum = s.mul_add_e_f64s(label, s.splat_f64s(x), *sum);
        });
    }
    #[inline(always)]
    fn is_missing(&self, _: &[f64]) -> bool {
        false
    }
}
