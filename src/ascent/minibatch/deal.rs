//! `Deal`: rows without replacement, in runs of neighbours, some at a time.

use rand::{Rng, RngExt};

/// Rows `0..n` in a random order in which the rows of a run, `run k .. run (k + 1)`, stay together
/// (the last run may be shorter). Where a hand may end inside a run, the order is a ring that is
/// entered at a random row, so that each row is as likely as any other to be in each hand.
///
/// A hand costs as much as it has rows, a new deal O(runs) to put the runs back.
#[derive(Clone, Debug, Default)]
pub(super) struct Deal {
    n: usize,
    run: usize,
    /// The runs; those that have been dealt come first.
    runs: Vec<u32>,
    /// Number `at` of `runs` is being dealt: rows `from..to`.
    at: usize,
    from: usize,
    to: usize,
    /// What is left of the first run for the end of the deal.
    last: usize,
}

impl Deal {
    /// Puts all rows back, and says where the deal begins.
    pub(super) fn begin(&mut self, n: usize, run: usize, whole_runs: bool, rng: &mut dyn Rng) {
        let runs = n.div_ceil(run.max(1));
        self.runs.clear();
        self.runs.extend(0..runs as u32);
        (self.n, self.run, self.at) = (n, run.max(1), 0);
        (self.from, self.to, self.last) = (0, 0, 0);
        if n > 0 {
            let first = rng.random_range(0..n as u64) as usize;
            let (k, inside) = (first / self.run, first % self.run);
            self.runs.swap(0, k);
            self.last = if whole_runs { 0 } else { inside };
            self.from = k * self.run + self.last;
            self.to = self.end(k);
        }
    }

    fn end(&self, k: usize) -> usize {
        ((k + 1) * self.run).min(self.n)
    }

    /// Replaces `hand` by the next `count` rows; there must be that many.
    pub(super) fn next(&mut self, mut count: usize, hand: &mut Vec<usize>, rng: &mut dyn Rng) {
        hand.clear();
        loop {
            let take = count.min(self.to - self.from);
            hand.extend(self.from..self.from + take);
            self.from += take;
            count -= take;
            if count == 0 {
                return;
            }
            self.at += 1;
            let left = self.runs.len() as u64 - self.at.min(self.runs.len()) as u64;
            if left == 0 {
                // Around the ring.
                let k = self.runs[0] as usize;
                self.from = k * self.run;
                self.to = self.from + std::mem::take(&mut self.last);
                assert!(self.to > self.from, "more rows are dealt than there are");
                continue;
            }
            let pick = self.at + rng.random_range(0..left as u32) as usize;
            self.runs.swap(self.at, pick);
            let k = self.runs[self.at] as usize;
            self.from = k * self.run;
            self.to = self.end(k);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Deal;
    use crate::noise::{Purpose, stream};

    /// Every row once a deal, whatever the sizes; and each row equally often in each hand.
    #[test]
    fn each_row_once_and_equally_likely_in_each_hand() {
        let mut deal = Deal::default();
        for (n, run, hand, whole) in [
            (24, 8, 8, true),
            (20, 8, 8, false),
            (21, 8, 5, false),
            (24, 8, 3, false),
            (7, 8, 2, false),
            (9, 1, 4, true),
        ] {
            let hands = usize::div_ceil(n, hand);
            let size = |b: usize| hand.min(n - b * hand);
            const DEALS: usize = 20_000;
            let mut seen = vec![vec![0; n]; hands];
            let mut rows = Vec::new();
            for key in 0..DEALS as u64 {
                let rng = &mut stream(key, Purpose::Data, 0);
                deal.begin(n, run, whole, rng);
                let mut all = Vec::new();
                for b in 0..hands {
                    deal.next(size(b), &mut rows, rng);
                    rows.iter().for_each(|&i| seen[b][i] += 1);
                    all.extend_from_slice(&rows);
                }
                all.sort_unstable();
                assert_eq!(all, (0..n).collect::<Vec<_>>());
            }
            for (b, seen) in seen.iter().enumerate() {
                let p = size(b) as f64 / n as f64;
                // 5 standard errors: one comparison in 1.7 million fails by chance, of 170
                let slack = 5.0 * (DEALS as f64 * p * (1.0 - p)).sqrt();
                for (i, &count) in seen.iter().enumerate() {
                    let off = (f64::from(count) - DEALS as f64 * p).abs();
                    assert!(off <= slack, "n {n}, hand {b}: row {i} {count} times, off {off}");
                }
            }
        }
    }
}
