//! Eight generators side by side, one step of all at a time.

use rand::Rng;

/// How many generators there are; the same on every machine.
pub(super) const LANES: usize = 8;

/// How many bytes they start from.
pub(super) const SEED: usize = 32 * LANES;

/// xoshiro256++ (Blackman and Vigna 2021) in eight lanes, each with 256 bits of its own to start
/// from.
pub(super) struct Lanes {
    state: [[u64; LANES]; 4],
}

impl Lanes {
    /// Takes [`SEED`] bytes from `rng`.
    pub(super) fn from_rng(rng: &mut dyn Rng) -> Self {
        let mut seed = [0; SEED];
        rng.fill_bytes(&mut seed);
        let mut state = [[0; LANES]; 4];
        let words = seed.as_chunks::<8>().0;
        for (word, bytes) in state.as_flattened_mut().iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
        // A generator of zeros would stay there; xor keeps every other start as likely as it was.
        for (lane, word) in (1..).zip(&mut state[0]) {
            *word ^= 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(lane);
        }
        Lanes { state }
    }

    /// The next number of every lane.
    #[inline(always)]
    pub(super) fn next(&mut self) -> [u64; LANES] {
        let [a, b, c, d] = &mut self.state;
        let (mut out, mut shifted) = ([0; LANES], [0; LANES]);
        // A loop for each operation: one instruction each.
        (0..LANES).for_each(|l| out[l] = a[l].wrapping_add(d[l]));
        (0..LANES).for_each(|l| out[l] = out[l].rotate_left(23));
        (0..LANES).for_each(|l| out[l] = out[l].wrapping_add(a[l]));
        (0..LANES).for_each(|l| shifted[l] = b[l] << 17);
        (0..LANES).for_each(|l| c[l] ^= a[l]);
        (0..LANES).for_each(|l| d[l] ^= b[l]);
        (0..LANES).for_each(|l| b[l] ^= c[l]);
        (0..LANES).for_each(|l| a[l] ^= d[l]);
        (0..LANES).for_each(|l| c[l] ^= shifted[l]);
        (0..LANES).for_each(|l| d[l] = d[l].rotate_left(45));
        out
    }
}
