//! `Fingerprint`: which data a fit is of, in one number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Corpus, Observations};

/// A number that tells data from other data: equal for equal numbers in the same order, different
/// for any others, but for a chance of one in 10^19. Models that know their data make it; for a
/// model that does not, [`Fingerprint::of`] takes its numbers.
///
/// ```
/// use elbo::data::{Fingerprint, Observations};
/// let y = vec![1.0, 2.0, 6.0];
/// let data = Observations::new(y.clone(), 1)?;
/// assert_eq!(data.fingerprint(), Fingerprint::of(&[&y]));
/// assert_ne!(data.fingerprint(), Fingerprint::of(&[[2.0, 1.0, 6.0]]));
/// assert_eq!(data.fingerprint().to_string().len(), 16);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of the numbers of several lists: the cells, then the outcomes, the weights, or what else
    /// there is. All that is missing (NaN) is alike, and so are the two zeros.
    pub fn of<C: AsRef<[f64]>>(lists: &[C]) -> Fingerprint {
        let mut seen = Fingerprint(0);
        for list in lists {
            let list = list.as_ref();
            seen.list_of(list.len());
            list.iter().for_each(|x| seen.see(*x));
        }
        seen
    }

    /// Before the first number of a list of so many.
    pub(crate) fn begun(len: usize) -> Fingerprint {
        let mut seen = Fingerprint(0);
        seen.list_of(len);
        seen
    }

    fn list_of(&mut self, len: usize) {
        self.0 = mixed(self.0 ^ len as u64);
    }

    /// Takes in the next number.
    pub(crate) fn see(&mut self, x: f64) {
        let bits = match x {
            x if x.is_nan() => f64::NAN.to_bits(),
            0.0 => 0,
            x => x.to_bits(),
        };
        self.0 = mixed(self.0 ^ bits);
    }

    /// The same with weights, which are left out where each row counts once.
    pub(crate) fn weighted(lists: &[&[f64]], weights: Option<&[f64]>) -> Fingerprint {
        Fingerprint::of(lists).and_weights(weights.unwrap_or_default())
    }

    /// With one more list behind those seen: weights, if any is not 1.
    pub(crate) fn and_weights(mut self, weights: &[f64]) -> Fingerprint {
        if weights.iter().any(|w| *w != 1.0) {
            self.list_of(weights.len());
            weights.iter().for_each(|w| self.see(*w));
        }
        self
    }
}

impl Observations {
    /// Which data these are: [`Fingerprint::of`] the cells, row after row, and the weights if there
    /// are any. Names do not matter.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::weighted(&[self.values()], self.weights())
    }
}

impl Corpus {
    /// Which documents these are: the size of the vocabulary, then of each document its words by number
    /// and how often each occurs, and the weights if there are any. What words are called does not
    /// matter.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut seen = Fingerprint::begun(self.n_words());
        for d in 0..self.len() {
            let (words, counts) = self.document(d);
            seen.list_of(words.len());
            words.iter().chain(counts).for_each(|n| seen.see(f64::from(*n)));
        }
        let weights: Vec<f64> = (0..self.len()).map(|d| self.weight(d)).collect();
        seen.and_weights(&weights)
    }
}

/// A bijection of 64 bits in which every bit of the answer hangs on every bit given (Steele, Lea
/// and Flood 2014).
fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Sixteen digits to the base 16.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Fingerprint, Self::Err> {
        u64::from_str_radix(text, 16).map(Fingerprint)
    }
}

/// As text: JSON's numbers have no room for 64 bits.
impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Fingerprint, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_numbers_are_other_data() {
        let one = Fingerprint::of(&[[1.0, 2.0], [3.0, 4.0]]);
        assert_eq!(one, Fingerprint::of(&[vec![1.0, 2.0], vec![3.0, 4.0]]));
        let others = [
            Fingerprint::of(&[vec![1.0, 2.0, 3.0, 4.0]]),
            Fingerprint::of(&[vec![1.0], vec![2.0, 3.0, 4.0]]),
            Fingerprint::of(&[vec![3.0, 4.0], vec![1.0, 2.0]]),
            Fingerprint::of(&[vec![1.0, 2.0], vec![3.0, 4.0 + 1e-15]]),
        ];
        assert!(others.iter().all(|other| *other != one));
        assert_eq!(Fingerprint::of(&[[0.0, f64::NAN]]), Fingerprint::of(&[[-0.0, -f64::NAN]]));
        let text = serde_json::to_string(&one).expect("text");
        assert_eq!(serde_json::from_str::<Fingerprint>(&text).expect("the same"), one);
    }

    #[test]
    fn weights_count_unless_they_are_ones() {
        let data = || Observations::new(vec![1.0, 2.0], 1).expect("fine");
        let weighted = |w: [f64; 2]| data().weighted(w.to_vec()).expect("fine").fingerprint();
        assert_eq!(weighted([1.0, 1.0]), data().fingerprint());
        assert_ne!(weighted([1.0, 2.0]), data().fingerprint());
    }
}
