//! Where a climb starts: rows far apart, and every row with the nearest of them.

use rand::{Rng, RngExt};

use super::DiscreteMixture;
use super::layout::Layout;
use super::tally::Tally;
use crate::data::Observations;
use crate::models::choose::pick;
use crate::noise::{Purpose, stream};

/// The most rows a start looks at.
const LOOK: usize = 20_000;
/// What is shared among all components of a row whose component is guessed.
const SHARED: f64 = 0.2;
/// Apart from the stream that a run looks at its start with.
const STREAM: u64 = 1 << 32;

impl DiscreteMixture {
    /// The same mixture at another start: a function of the data and the seed alone. Rows are drawn
    /// far from each other as k-means++ does (Arthur and Vassilvitskii 2007), and the components
    /// take most of the rows nearest to them.
    #[must_use]
    pub fn started(self, seed: u64) -> DiscreteMixture {
        self.started_at(seed, 0)
    }

    /// Start `index` of those of a seed.
    pub(in crate::models) fn started_at(mut self, seed: u64, index: u64) -> DiscreteMixture {
        let k = self.len();
        let sums = guess(&self.data, &self.layout, (k, k), seed, index);
        // every component has a share in every row
        if self.maximize_from(&sums).is_err() {
            unreachable!("no component is empty");
        }
        self
    }
}

/// The sums that a guess of the labels makes, scaled up to all rows: rows are dealt to the first
/// `groups` of `k` components.
pub(super) fn guess(
    data: &Observations,
    layout: &Layout,
    (groups, k): (usize, usize),
    seed: u64,
    index: u64,
) -> Tally {
    let mut rng = stream(seed, Purpose::Start, STREAM + index);
    let mut rows: Vec<usize> = (0..data.len()).filter(|&i| data.weight(i) > 0.0).collect();
    if rows.len() > LOOK {
        for i in 0..LOOK {
            let j = rng.random_range(i..rows.len());
            rows.swap(i, j);
        }
        rows.truncate(LOOK);
    }
    let nearest = nearest(data, layout, &rows, groups, &mut rng);
    let mut sums = Tally::default();
    sums.resize(k, layout.features);
    let mut labels = vec![0.0; k];
    let mut seen = 0.0;
    for (&i, &own) in rows.iter().zip(&nearest) {
        let weight = data.weight(i);
        seen += weight;
        labels[..groups].fill(SHARED * weight / groups as f64);
        labels[own] += (1.0 - SHARED) * weight;
        sums.add(layout, data.row(i), &labels);
    }
    sums.scale(data.total_weight() / seen);
    sums
}

/// The nearest of `k` rows drawn far apart, for each row.
fn nearest(
    data: &Observations,
    layout: &Layout,
    rows: &[usize],
    k: usize,
    rng: &mut dyn Rng,
) -> Vec<usize> {
    let mut own = vec![0; rows.len()];
    let mut left = vec![f64::INFINITY; rows.len()];
    let mut chance: Vec<f64> = rows.iter().map(|&i| data.weight(i)).collect();
    for k in 0..k {
        let centre = data.row(rows[pick(&chance, rng)]);
        for (at, &i) in rows.iter().enumerate() {
            let far = layout.distance(data.row(i), centre);
            if far < left[at] {
                (left[at], own[at]) = (far, k);
            }
            chance[at] = left[at] * data.weight(i);
        }
    }
    own
}
