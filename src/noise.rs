//! Streams of randomness: one ChaCha8 stream a step, and normals drawn from it.
//!
//! A stream is ChaCha8 (Bernstein 2008) keyed by the seed; purpose and index are its nonce, so
//! streams never overlap. Pairs of random words become pairs of normals by the transform of Box and
//! Muller (1958). The words of a short fill are those of the stream; for a longer one, 256 bytes of
//! the stream start eight generators xoshiro256++ (Blackman and Vigna 2021) that go side by side.
//! All of it is integer arithmetic and IEEE 754 operations, each rounded by itself, so the bits are
//! the same on every machine and at every register width. A radius comes of 53 bits and is never 0
//! or infinite: the tails are right to 8.57 standard deviations, beyond which lies less than
//! `2^-53`.

mod box_muller;
mod lanes;
#[cfg(test)]
mod tests;

use pulp::{Simd, WithSimd};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::scalar::Scalar;
use crate::simd::dispatch;
use box_muller::box_muller;
use lanes::{LANES, Lanes, SEED};

/// What a stream is for. Streams of different purposes never overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// Step `index` of a fit.
    Step = 0,
    /// Probe `index` of a stop rule.
    Probe = 1,
    /// Draws for a report on a fit.
    Report = 2,
    /// Where a fit starts.
    Start = 3,
    /// Simulated data.
    Data = 4,
}

/// The generator of stream `index` for a purpose: a function of `(seed, purpose, index)` alone, the
/// same on every platform.
///
/// ```
/// use elbo::{stream, Purpose};
/// use rand::Rng;
/// let (mut a, mut b) = (stream(1, Purpose::Data, 0), stream(1, Purpose::Data, 0));
/// assert_eq!(a.next_u64(), b.next_u64());
/// assert_ne!(a.next_u64(), stream(1, Purpose::Data, 1).next_u64());
/// ```
pub fn stream(seed: u64, purpose: Purpose, index: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream((purpose as u64) << 56 | index);
    rng
}

/// Fills a slice with independent standard normals, whatever the machine bit for bit the same.
///
/// Up to 32 numbers take 16 bytes of `rng` a pair. A longer fill takes 256 bytes, whatever its
/// length, so that its numbers begin those of a longer one still.
///
/// ```
/// use elbo::{stream, Purpose, noise::fill_normal};
/// let (mut short, mut long) = ([0.0; 40], [0.0; 99]);
/// fill_normal(&mut stream(1, Purpose::Data, 0), &mut short);
/// fill_normal(&mut stream(1, Purpose::Data, 0), &mut long);
/// assert_eq!(short, long[..40]);
/// ```
pub fn fill_normal<T: Scalar>(rng: &mut dyn Rng, out: &mut [T]) {
    if out.len() <= 2 * BLOCK {
        let mut bytes = [0; SEED];
        let bytes = &mut bytes[..16 * out.len().div_ceil(2)];
        rng.fill_bytes(bytes);
        dispatch(Pairs { bytes, out });
    } else {
        dispatch(Fill { lanes: Lanes::from_rng(rng), out });
    }
}

/// A number uniform between 0 and 1, both left out, of 52 bits: one word of the stream.
///
/// ```
/// use elbo::{stream, Purpose, noise::uniform};
/// let u = uniform(&mut stream(1, Purpose::Data, 0));
/// assert!(u > 0.0 && u < 1.0);
/// ```
pub fn uniform(rng: &mut dyn Rng) -> f64 {
    ((rng.next_u64() >> 12) as f64 + 0.5) * f64::EPSILON
}

/// Two normals of each lane.
const BLOCK: usize = 2 * LANES;

/// A pair of normals for every 16 bytes.
struct Pairs<'a, T> {
    bytes: &'a [u8],
    out: &'a mut [T],
}

impl<T: Scalar> WithSimd for Pairs<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (bytes, out) in self.bytes.chunks(SEED / 2).zip(self.out.chunks_mut(BLOCK)) {
            let mut words = [[0; 2]; LANES];
            for (word, bytes) in words.as_flattened_mut().iter_mut().zip(bytes.as_chunks().0) {
                *word = u64::from_le_bytes(*bytes);
            }
            let (first, second) = normals(&words.map(|w| w[0]), &words.map(|w| w[1]));
            for (pair, (a, b)) in out.chunks_mut(2).zip(first.iter().zip(second)) {
                pair[0] = T::from_f64(*a);
                if let Some(x) = pair.get_mut(1) {
                    *x = T::from_f64(b);
                }
            }
        }
    }
}

/// Blocks of two normals of each lane: first all cosines, then all sines.
struct Fill<'a, T> {
    lanes: Lanes,
    out: &'a mut [T],
}

impl<T: Scalar> WithSimd for Fill<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Fill { mut lanes, out } = self;
        let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
        for block in blocks {
            let (first, second) = normals(&lanes.next(), &lanes.next());
            for l in 0..LANES {
                block[l] = T::from_f64(first[l]);
                block[LANES + l] = T::from_f64(second[l]);
            }
        }
        if !rest.is_empty() {
            let (first, second) = normals(&lanes.next(), &lanes.next());
            let normals = first.iter().chain(&second);
            rest.iter_mut().zip(normals).for_each(|(x, normal)| *x = T::from_f64(*normal));
        }
    }
}

/// Two normals of every lane.
#[inline(always)]
fn normals(radius: &[u64; LANES], angle: &[u64; LANES]) -> ([f64; LANES], [f64; LANES]) {
    let (mut first, mut second) = ([0.0; LANES], [0.0; LANES]);
    for l in 0..LANES {
        (first[l], second[l]) = box_muller(radius[l], angle[l]);
    }
    (first, second)
}
