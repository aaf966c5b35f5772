//! Where a climb starts: topics made from documents that lie far apart.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, Gamma};

use crate::data::Corpus;
use crate::noise::{Purpose, stream};

/// Cosine of the counts of one document with those of all.
fn cosines(corpus: &Corpus, one: usize, dense: &mut [f64], lengths: &[f64], out: &mut [f64]) {
    dense.fill(0.0);
    let (words, counts) = corpus.document(one);
    for (&w, &n) in words.iter().zip(counts) {
        dense[w as usize] = f64::from(n);
    }
    for (d, out) in out.iter_mut().enumerate() {
        let (words, counts) = corpus.document(d);
        let each = words.iter().zip(counts).map(|(&w, &n)| dense[w as usize] * f64::from(n));
        *out = each.sum::<f64>() / (lengths[d] * lengths[one]);
    }
}

/// `lambda`, a word after another: about 1, and the words of the documents nearest to each of `k`
/// that lie far apart. Those are dealt as k-means++ deals its centres (Arthur and Vassilvitskii
/// 2007), the best of a few candidates each time, by one less the cosine of their counts; half of the
/// documents in all are counted.
pub(super) fn far_apart(corpus: &Corpus, k: usize, (seed, index): (u64, u64)) -> Vec<f64> {
    let (n, v) = (corpus.len(), corpus.n_words());
    let mut rng = stream(seed, Purpose::Start, index);
    let near_one = Gamma::new(100.0, 0.01).ok();
    let mut lambda: Vec<f64> =
        (0..k * v).map(|_| near_one.map_or(1.0, |g| g.sample(&mut rng))).collect();
    let length = |d| corpus.document(d).1.iter().map(|&n| f64::from(n).powi(2)).sum::<f64>().sqrt();
    let lengths: Vec<f64> = (0..n).map(length).collect();
    let (mut dense, mut cosine) = (vec![0.0; v], vec![0.0; n]);
    let mut apart = vec![1.0f64; n];
    let candidates = 2 + (k as f64).ln() as usize;
    for topic in 0..k {
        let mut best: Option<(f64, Vec<f64>)> = None;
        for _ in 0..if topic == 0 { 1 } else { candidates } {
            let center = dealt(&apart, &mut rng);
            cosines(corpus, center, &mut dense, &lengths, &mut cosine);
            let left = apart.iter().zip(&cosine).map(|(a, c)| a.min((1.0 - c).max(0.0))).sum();
            if best.as_ref().is_none_or(|(least, _)| left < *least) {
                best = Some((left, cosine.clone()));
            }
        }
        let Some((_, cosine)) = best else { continue };
        apart.iter_mut().zip(&cosine).for_each(|(a, c)| *a = a.min((1.0 - c).max(0.0)));
        let mut nearest: Vec<usize> = (0..n).collect();
        nearest.sort_by(|&a, &b| cosine[b].total_cmp(&cosine[a]));
        for &d in &nearest[..n.div_ceil(2 * k)] {
            let (words, counts) = corpus.document(d);
            for (&w, &n) in words.iter().zip(counts) {
                lambda[w as usize * k + topic] += corpus.weight(d) * f64::from(n);
            }
        }
    }
    lambda
}

/// One of these, with probability in proportion to its weight.
fn dealt(weights: &[f64], rng: &mut dyn Rng) -> usize {
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    let hit = weights.iter().position(|w| {
        left -= w;
        left < 0.0
    });
    hit.unwrap_or_else(|| rng.random_range(0..weights.len()))
}
