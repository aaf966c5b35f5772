//! Streams of randomness: one ChaCha8 stream a step, and normals drawn from it.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::scalar::Scalar;

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

/// Fills a slice with independent standard normals.
pub fn fill_normal<T: Scalar>(rng: &mut dyn Rng, out: &mut [T]) {
    for x in out {
        let normal: f64 = StandardNormal.sample(rng);
        *x = T::from_f64(normal);
    }
}
