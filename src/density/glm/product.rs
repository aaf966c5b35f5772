//! Products of a matrix in panels with skinny ones: predictors of all rows at several points, and
//! back from the rows to the coefficients. Accumulators stay in registers, and every loop reads the
//! matrix in the order it lies in memory.

use pulp::Simd;

use super::panels::Eight;

/// Points that are worked on together; what is more is done in several sweeps over a block.
const WIDEST: usize = 12;

/// The register number `h` of an `Eight`.
#[inline(always)]
pub(super) fn load<S: Simd>(eight: &Eight, h: usize) -> S::f64s {
    S::as_simd_f64s(eight).0[h]
}

#[inline(always)]
pub(super) fn store<S: Simd>(eight: &mut Eight, h: usize, value: S::f64s) {
    S::as_mut_simd_f64s(eight).0[h] = value;
}

/// Cuts `lanes` points into sweeps of at most [`WIDEST`], as even as can be: `(first, width)`.
fn sweeps(lanes: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = lanes.div_ceil(WIDEST).max(1);
    let edge = move |k: usize| k * lanes / count;
    (0..count).map(move |k| (edge(k), edge(k + 1) - edge(k)))
}

/// Puts coefficients, one row of `lanes` points a coefficient, in the order that [`predict`] reads:
/// sweep after sweep.
pub(super) fn pack(coefficients: &[f64], lanes: usize, packed: &mut [f64]) {
    let n = coefficients.len() / lanes.max(1);
    for (first, width) in sweeps(lanes) {
        let packed = &mut packed[first * n..(first + width) * n];
        let rows = coefficients.chunks_exact(lanes.max(1));
        for (to, row) in packed.chunks_exact_mut(width.max(1)).zip(rows) {
            to.copy_from_slice(&row[first..first + width]);
        }
    }
}

/// A matrix and which of its panels are meant.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub x: &'a [Eight],
    pub n_columns: usize,
    pub panels: &'a [usize],
}

macro_rules! by_width {
    ($width:expr, $call:ident) => {
        match $width {
            1 => $call!(1),
            2 => $call!(2),
            3 => $call!(3),
            4 => $call!(4),
            5 => $call!(5),
            6 => $call!(6),
            7 => $call!(7),
            8 => $call!(8),
            9 => $call!(9),
            10 => $call!(10),
            11 => $call!(11),
            _ => $call!(12),
        }
    };
}

/// `eta[k, l] = X b_l` for panel number `k` of the block and point `l`; `packed` holds the points.
#[inline(always)]
pub(super) fn predict<S: Simd>(
    s: S,
    block: Block<'_>,
    packed: &[f64],
    lanes: usize,
    eta: &mut [Eight],
) {
    let p = block.n_columns;
    for (first, width) in sweeps(lanes) {
        let packed = &packed[first * p..(first + width) * p];
        let eta = &mut eta[first..];
        macro_rules! sweep {
            ($l:literal) => {
                // Sums in flight: about eight hide what an addition takes.
                predict_sweep::<S, { 8usize.div_ceil($l) }, $l>(s, block, packed, lanes, eta)
            };
        }
        by_width!(width, sweep);
    }
}

#[inline(always)]
fn predict_sweep<S: Simd, const U: usize, const L: usize>(
    s: S,
    block: Block<'_>,
    packed: &[f64],
    lanes: usize,
    eta: &mut [Eight],
) {
    let p = block.n_columns;
    let (points, rest) = packed.as_chunks::<L>().0[..p].as_chunks::<U>();
    for (k, &q) in block.panels.iter().enumerate() {
        let (panel, panel_rest) = block.x[q * p..][..p].as_chunks::<U>();
        let eta = &mut eta[k * lanes..][..L];
        for h in 0..8 / S::F64_LANES {
            let mut sum = [[s.splat_f64s(0.0); L]; U];
            for (x, points) in panel.iter().zip(points) {
                for u in 0..U {
                    let x = load::<S>(&x[u], h);
                    for l in 0..L {
                        sum[u][l] = s.mul_add_e_f64s(x, s.splat_f64s(points[u][l]), sum[u][l]);
                    }
                }
            }
            for (x, point) in panel_rest.iter().zip(rest) {
                let x = load::<S>(x, h);
                for l in 0..L {
                    sum[0][l] = s.mul_add_e_f64s(x, s.splat_f64s(point[l]), sum[0][l]);
                }
            }
            for l in 0..L {
                let mut total = sum[0][l];
                for u in 1..U {
                    total = s.add_f64s(total, sum[u][l]);
                }
                store::<S>(&mut eta[l], h, total);
            }
        }
    }
}

/// Adds `X' r_l` to `grad[j, l]`, eight partial sums each, for `lanes` points out of the `stride`
/// that `r` has a panel.
#[inline(always)]
pub(super) fn pull_back<S: Simd>(
    s: S,
    block: Block<'_>,
    r: &[Eight],
    stride: usize,
    lanes: usize,
    grad: &mut [Eight],
) {
    for (first, width) in sweeps(lanes) {
        let (r, grad) = (&r[first..], &mut grad[first..]);
        macro_rules! sweep {
            ($l:literal) => {
                pull_sweep::<S, $l>(s, block, r, stride, lanes, grad)
            };
        }
        by_width!(width, sweep);
    }
}

/// Columns go together, as many as leave their sums in registers.
#[inline(always)]
fn pull_sweep<S: Simd, const L: usize>(
    s: S,
    block: Block<'_>,
    r: &[Eight],
    stride: usize,
    lanes: usize,
    grad: &mut [Eight],
) {
    let room = if S::F64_LANES >= 8 { 24 } else { 12 };
    let mut j = 0;
    macro_rules! columns {
        ($c:literal) => {
            if $c * L <= room {
                while block.n_columns - j >= $c {
                    let grad = &mut grad[j * lanes..];
                    pull_columns::<S, $c, L>(s, block, j, r, stride, lanes, grad);
                    j += $c;
                }
            }
        };
    }
    columns!(8);
    columns!(4);
    columns!(2);
    columns!(1);
}

#[inline(always)]
fn pull_columns<S: Simd, const C: usize, const L: usize>(
    s: S,
    block: Block<'_>,
    j: usize,
    r: &[Eight],
    stride: usize,
    lanes: usize,
    grad: &mut [Eight],
) {
    for h in 0..8 / S::F64_LANES {
        let mut sum = [[s.splat_f64s(0.0); L]; C];
        for c in 0..C {
            for l in 0..L {
                sum[c][l] = load::<S>(&grad[c * lanes + l], h);
            }
        }
        for (&q, r) in block.panels.iter().zip(r.chunks(stride)) {
            let (columns, r) = (&block.x[q * block.n_columns + j..][..C], &r[..L]);
            let mut x = [s.splat_f64s(0.0); C];
            for c in 0..C {
                x[c] = load::<S>(&columns[c], h);
            }
            for l in 0..L {
                let r = load::<S>(&r[l], h);
                for c in 0..C {
                    sum[c][l] = s.mul_add_e_f64s(x[c], r, sum[c][l]);
                }
            }
        }
        for c in 0..C {
            for l in 0..L {
                store::<S>(&mut grad[c * lanes + l], h, sum[c][l]);
            }
        }
    }
}
