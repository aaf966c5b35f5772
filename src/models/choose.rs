//! What starts choose: rows in proportion to weights, and how many groups there are at first.

use rand::{Rng, RngExt};

/// A number drawn in proportion to its weight; the first where all are zero.
pub(crate) fn pick(weights: &[f64], rng: &mut dyn Rng) -> usize {
    let total: f64 = weights.iter().sum();
    let mut left = rng.random::<f64>() * total;
    let hit = weights.iter().position(|w| {
        left -= w;
        left < 0.0
    });
    hit.unwrap_or(0)
}

/// In how many groups start number `start` takes the rows: every second one in as many as there are
/// components, those between in one fewer, two fewer, and so on down to two, and again.
pub(crate) fn groups(start: usize, components: usize) -> usize {
    match start % 2 {
        1 if components > 2 => components - 1 - start / 2 % (components - 2),
        _ => components,
    }
}

#[cfg(test)]
mod tests {
    use super::groups;

    #[test]
    fn every_second_start_has_all_groups_and_the_others_fewer() {
        let all: Vec<usize> = (0..12).map(|start| groups(start, 6)).collect();
        assert_eq!(all, [6, 5, 6, 4, 6, 3, 6, 2, 6, 5, 6, 4]);
        assert!((0..9).all(|start| groups(start, 2) == 2 && groups(start, 1) == 1));
        assert!((0..9).all(|start| (2..=3).contains(&groups(start, 3))));
    }
}
