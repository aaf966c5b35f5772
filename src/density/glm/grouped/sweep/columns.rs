//! What is more than an intercept and a slope: columns that all groups share, and further slopes.

use pulp::Simd;

use super::{Chunk, Piece, Tiles};

/// Rows that go through the columns together.
const AT_ONCE: usize = 4;

impl<const VALUE: bool> Chunk<'_, VALUE> {
    /// `eta += w_j b_j[g]`
    #[inline(always)]
    pub(super) fn predict_slope<S: Simd, const T: usize>(
        &self,
        s: S,
        tiles: Tiles<T>,
        piece: Piece,
        j: usize,
        eta: &mut [f64],
    ) {
        let (lanes, q) = (self.lanes, self.shape.n_slopes);
        let b = tiles.load(s, self.slope(piece.group, j));
        for i in piece.start..piece.end {
            let row = (i - piece.block) * lanes;
            let w = s.splat_f64s(self.rows.w[i * q + j]);
            let mut sum = tiles.load_row::<S>(eta, row);
            for t in 0..T {
                sum[t] = s.mul_add_e_f64s(w, b[t], sum[t]);
            }
            tiles.store_row::<S>(sum, eta, row);
        }
    }

    /// The transpose of `predict_slope`.
    #[inline(always)]
    pub(super) fn pull_back_slope<S: Simd, const T: usize>(
        &mut self,
        s: S,
        tiles: Tiles<T>,
        piece: Piece,
        j: usize,
        residuals: &[f64],
    ) {
        let (lanes, q) = (self.lanes, self.shape.n_slopes);
        let mut b = tiles.load(s, self.sums(piece.index, 1 + j));
        for i in piece.start..piece.end {
            let w = s.splat_f64s(self.rows.w[i * q + j]);
            let r = tiles.load_row::<S>(residuals, (i - piece.block) * lanes);
            for t in 0..T {
                b[t] = s.mul_add_e_f64s(w, r[t], b[t]);
            }
        }
        tiles.store(s, b, self.sums(piece.index, 1 + j));
    }

    /// `eta += x_i . beta`, a few rows from `lo` on at a time.
    #[inline(always)]
    pub(super) fn predict_columns<S: Simd, const T: usize>(
        &self,
        s: S,
        tiles: Tiles<T>,
        lo: usize,
        eta: &mut [f64],
    ) {
        let (lanes, p) = (self.lanes, self.shape.n_columns);
        if p == 0 {
            return;
        }
        let beta = &self.x[..p * lanes];
        let mut x = &self.rows.x[lo * p..];
        for eta in eta.chunks_mut(AT_ONCE * lanes) {
            let n = eta.len() / lanes;
            let mut sum = [[s.splat_f64s(0.0); T]; AT_ONCE];
            if n == AT_ONCE {
                for (j, beta) in beta.chunks_exact(lanes).enumerate() {
                    let beta = tiles.load(s, beta);
                    for r in 0..AT_ONCE {
                        let x = s.splat_f64s(x[r * p + j]);
                        for t in 0..T {
                            sum[r][t] = s.mul_add_e_f64s(x, beta[t], sum[r][t]);
                        }
                    }
                }
            } else {
                for (j, beta) in beta.chunks_exact(lanes).enumerate() {
                    let beta = tiles.load(s, beta);
                    for r in 0..n {
                        let x = s.splat_f64s(x[r * p + j]);
                        for t in 0..T {
                            sum[r][t] = s.mul_add_e_f64s(x, beta[t], sum[r][t]);
                        }
                    }
                }
            }
            for (r, eta) in eta.chunks_exact_mut(lanes).enumerate() {
                tiles.add(s, sum[r], eta);
            }
            x = &x[n * p..];
        }
    }

    /// The transpose of `predict_columns`.
    #[inline(always)]
    pub(super) fn pull_back_columns<S: Simd, const T: usize>(
        &mut self,
        s: S,
        tiles: Tiles<T>,
        lo: usize,
        residuals: &[f64],
    ) {
        let (lanes, p) = (self.lanes, self.shape.n_columns);
        if p == 0 {
            return;
        }
        let mut x = &self.rows.x[lo * p..];
        for residuals in residuals.chunks(AT_ONCE * lanes) {
            let n = residuals.len() / lanes;
            // Rows that are not there have residuals of zero.
            let mut residual = [[s.splat_f64s(0.0); T]; AT_ONCE];
            for (r, row) in residuals.chunks_exact(lanes).enumerate() {
                residual[r] = tiles.load(s, row);
            }
            for (j, sums) in self.columns.chunks_exact_mut(lanes).enumerate() {
                let mut sum = [s.splat_f64s(0.0); T];
                if n == AT_ONCE {
                    for r in 0..AT_ONCE {
                        let x = s.splat_f64s(x[r * p + j]);
                        for t in 0..T {
                            sum[t] = s.mul_add_e_f64s(x, residual[r][t], sum[t]);
                        }
                    }
                } else {
                    for r in 0..n {
                        let x = s.splat_f64s(x[r * p + j]);
                        for t in 0..T {
                            sum[t] = s.mul_add_e_f64s(x, residual[r][t], sum[t]);
                        }
                    }
                }
                tiles.add(s, sum, sums);
            }
            x = &x[n * p..];
        }
    }
}
