//! `Tiles`: the numbers at several points of one row, in registers that cover them.

use pulp::Simd;

/// `T` registers that cover some of the lanes: where each starts, and how many lanes it holds.
#[derive(Clone, Copy)]
pub(super) struct Tiles<const T: usize> {
    pub(super) at: [usize; T],
    pub(super) len: usize,
}

impl<const T: usize> Tiles<T> {
    #[inline(always)]
    pub(super) fn load<S: Simd>(self, s: S, row: &[f64]) -> [S::f64s; T] {
        let mut registers = [s.splat_f64s(0.0); T];
        for t in 0..T {
            let lanes = &row[self.at[t]..self.at[t] + self.len];
            registers[t] = match S::as_simd_f64s(lanes).0 {
                [whole, ..] => *whole,
                [] => s.partial_load_f64s(lanes),
            };
        }
        registers
    }

    #[inline(always)]
    pub(super) fn store<S: Simd>(self, s: S, registers: [S::f64s; T], row: &mut [f64]) {
        for t in 0..T {
            let lanes = &mut row[self.at[t]..self.at[t] + self.len];
            match S::as_mut_simd_f64s(lanes).0 {
                [whole, ..] => *whole = registers[t],
                [] => s.partial_store_f64s(lanes, registers[t]),
            }
        }
    }

    /// Whole registers from number `row` of a block on: where the lanes do not fill one, the rest is
    /// of the next rows, or of the room after the last.
    #[inline(always)]
    pub(super) fn load_row<S: Simd>(self, block: &[f64], row: usize) -> [S::f64s; T] {
        let mut registers = [whole::<S>(&block[row + self.at[0]..]); T];
        for t in 1..T {
            registers[t] = whole::<S>(&block[row + self.at[t]..]);
        }
        registers
    }

    /// The same for a store, which changes the next rows.
    #[inline(always)]
    pub(super) fn store_row<S: Simd>(self, registers: [S::f64s; T], block: &mut [f64], row: usize) {
        for t in 0..T {
            let lanes = &mut block[row + self.at[t]..][..S::F64_LANES];
            S::as_mut_simd_f64s(lanes).0[0] = registers[t];
        }
    }

    /// `row += registers`; all are loaded before any is stored, as they may overlap.
    #[inline(always)]
    pub(super) fn add<S: Simd>(self, s: S, registers: [S::f64s; T], row: &mut [f64]) {
        let mut sum = self.load(s, row);
        for t in 0..T {
            sum[t] = s.add_f64s(sum[t], registers[t]);
        }
        self.store(s, sum, row);
    }
}

/// The first register of a slice.
#[inline(always)]
fn whole<S: Simd>(from: &[f64]) -> S::f64s {
    S::as_simd_f64s(&from[..S::F64_LANES]).0[0]
}

/// Runs `$body` with tiles that cover the lanes, up to two registers at a time, all of them full
/// unless the lanes do not fill one.
macro_rules! over_tiles {
    ($s:ty, $lanes:expr, $tiles:ident => $body:expr) => {
        let width = <$s>::F64_LANES;
        let times = $lanes.div_ceil(2 * width);
        for k in 0..times {
            let at = k * $lanes / times;
            let n = (k + 1) * $lanes / times - at;
            if n > width {
                let $tiles = $crate::density::glm::grouped::tiles::Tiles {
                    at: [at, at + n - width],
                    len: width,
                };
                $body;
            } else {
                let $tiles = $crate::density::glm::grouped::tiles::Tiles { at: [at], len: n };
                $body;
            }
        }
    };
}

pub(super) use over_tiles;
