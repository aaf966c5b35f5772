//! The cheapest way to pair the members of two groups (Kuhn 1955; Munkres 1957).

/// For each of `rows` the one of `columns` it is paired with, none twice, so that the sum of
/// `cost[row * columns + column]` over the pairs is least; some stay alone where the groups differ in
/// size. Takes of the order of `n^3` operations.
pub(super) fn assign(rows: usize, columns: usize, cost: &[f64]) -> Vec<Option<usize>> {
    if rows > columns {
        let turned: Vec<f64> =
            (0..columns * rows).map(|at| cost[(at % rows) * columns + at / rows]).collect();
        let mut out = vec![None; rows];
        for (column, row) in assign(columns, rows, &turned).into_iter().enumerate() {
            if let Some(row) = row {
                out[row] = Some(column);
            }
        }
        return out;
    }
    // Prices of rows and columns under which no pair costs less than nothing, and those in use cost
    // nothing; rows join one by one, along the shortest path of changes. Place 0 is nobody.
    let (mut row_price, mut column_price) = (vec![0.0; rows + 1], vec![0.0; columns + 1]);
    let mut row_of = vec![0; columns + 1];
    for row in 1..=rows {
        row_of[0] = row;
        let (mut least, mut from) = (vec![f64::INFINITY; columns + 1], vec![0; columns + 1]);
        let mut reached = vec![false; columns + 1];
        let mut at = 0;
        while row_of[at] != 0 {
            reached[at] = true;
            let (i, mut step, mut next) = (row_of[at], f64::INFINITY, 0);
            for j in (1..=columns).filter(|&j| !reached[j]) {
                let spare = cost[(i - 1) * columns + j - 1] - row_price[i] - column_price[j];
                if spare < least[j] {
                    (least[j], from[j]) = (spare, at);
                }
                if least[j] < step || next == 0 {
                    (step, next) = (least[j], j);
                }
            }
            for j in 0..=columns {
                if reached[j] {
                    row_price[row_of[j]] += step;
                    column_price[j] -= step;
                } else {
                    least[j] -= step;
                }
            }
            at = next;
        }
        while at != 0 {
            row_of[at] = row_of[from[at]];
            at = from[at];
        }
    }
    let mut out = vec![None; rows];
    for column in 1..=columns {
        if row_of[column] > 0 {
            out[row_of[column] - 1] = Some(column - 1);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least cost by trying everything.
    fn least(rows: usize, columns: usize, cost: &[f64], used: &mut Vec<bool>, row: usize) -> f64 {
        if row == rows {
            return 0.0;
        }
        let mut best = f64::INFINITY;
        for column in 0..columns {
            if !used[column] {
                used[column] = true;
                let rest = least(rows, columns, cost, used, row + 1);
                best = best.min(cost[row * columns + column] + rest);
                used[column] = false;
            }
        }
        best
    }

    #[test]
    fn no_other_pairing_is_cheaper() {
        let mut state = 7u64;
        for (rows, columns) in [(1, 1), (2, 2), (4, 4), (6, 6), (3, 6), (2, 5)] {
            for _ in 0..40 {
                let mut number = || {
                    state =
                        state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (state >> 58) as f64
                };
                let cost: Vec<f64> = (0..rows * columns).map(|_| number()).collect();
                let pairs = assign(rows, columns, &cost);
                let mut used = vec![false; columns];
                let mut sum = 0.0;
                for (row, column) in pairs.iter().enumerate() {
                    let column = column.expect("every row of the smaller group has one");
                    assert!(!std::mem::replace(&mut used[column], true));
                    sum += cost[row * columns + column];
                }
                assert_eq!(sum, least(rows, columns, &cost, &mut vec![false; columns], 0));
                // the other way round
                let turned: Vec<f64> =
                    (0..columns * rows).map(|at| cost[(at % rows) * columns + at / rows]).collect();
                let back = assign(columns, rows, &turned);
                assert_eq!(back.iter().flatten().count(), rows);
                let total: f64 = back
                    .iter()
                    .enumerate()
                    .filter_map(|(column, row)| Some(cost[(*row)? * columns + column]))
                    .sum();
                assert_eq!(total, sum);
            }
        }
    }
}
