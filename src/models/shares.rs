//! Probabilities of components: from logarithms, and the most probable of them.

/// Turns logarithms into shares that add up to 1, and returns the logarithm of their sum.
pub(crate) fn share(logs: &mut [f64]) -> f64 {
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logs.iter_mut().for_each(|l| *l = (*l - top).exp());
    let sum: f64 = logs.iter().sum();
    logs.iter_mut().for_each(|l| *l /= sum);
    top + sum.ln()
}

/// The most probable of `k` components in each row, whose probabilities stand side by side.
pub(crate) fn most_probable(all: &[f64], k: usize) -> Vec<usize> {
    let top = |row: &[f64]| {
        let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.map_or(0, |(k, _)| k)
    };
    all.chunks_exact(k).map(top).collect()
}
