//! Importance weights of a group of draws, in logs: Renyi's bound, and what leaving one out gives.

/// `log mean_k w_k^(1 - alpha) / (1 - alpha)`, the mean of `log w_k` at `alpha = 1`, without
/// overflow and without loss of digits near 1; calls `visit(k, v)` with the shares `v_k`
/// proportional to `w_k^(1 - alpha)`, of sum 1.
///
/// # Panics
/// Without draws.
pub(crate) fn renyi(log_w: &[f64], alpha: f64, mut visit: impl FnMut(usize, f64)) -> f64 {
    let (n, power) = (log_w.len() as f64, 1.0 - alpha);
    if power == 0.0 {
        (0..log_w.len()).for_each(|k| visit(k, 1.0 / n));
        return log_w.iter().sum::<f64>() / n;
    }
    let top = log_w.iter().fold(log_w[0], |top, w| if power * w > power * top { *w } else { top });
    let sum: f64 = log_w.iter().map(|w| (power * (w - top)).exp()).sum();
    let above: f64 = log_w.iter().map(|w| (power * (w - top)).exp_m1()).sum();
    for (k, w) in log_w.iter().enumerate() {
        visit(k, (power * (w - top)).exp() / sum);
    }
    top + (above / n).ln_1p() / power
}

/// The importance-weighted bound `L = log mean_k w_k`; calls `visit(k, gain, share)` with the gain
/// `L - L_k` over the same bound where the mean of the other log weights stands for `log w_k`, and
/// with the share of `w_k` (Mnih and Rezende 2016). All in O(K).
///
/// # Panics
/// With fewer than 2 draws.
pub(crate) fn leave_one_out(log_w: &[f64], mut visit: impl FnMut(usize, f64, f64)) -> f64 {
    let n = log_w.len() as f64;
    let max = |w: &[f64]| w.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let top = max(log_w);
    let sum: f64 = log_w.iter().map(|w| (w - top).exp()).sum();
    let total: f64 = log_w.iter().sum();
    let bound = top + (sum / n).ln();
    for (k, &w) in log_w.iter().enumerate() {
        let share = (w - top).exp() / sum;
        // ln of the sum of the others: where one weight is more than half of it the difference
        // would lose digits, and that can be one draw only
        let others = if share > 0.5 {
            let (before, after) = (&log_w[..k], &log_w[k + 1..]);
            let top = max(before).max(max(after));
            top + before.iter().chain(after).map(|w| (w - top).exp()).sum::<f64>().ln()
        } else {
            top + (sum - (w - top).exp()).ln()
        };
        let stand_in = (total - w) / (n - 1.0);
        let (high, low) = (others.max(stand_in), others.min(stand_in));
        let without = high + (low - high).exp().ln_1p() - n.ln();
        visit(k, bound - without, share);
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, one logarithm at a time.
    #[test]
    fn leave_one_out_is_its_definition() {
        let log_mean = |w: &[f64]| (w.iter().map(|w| w.exp()).sum::<f64>() / w.len() as f64).ln();
        for log_w in [vec![0.3, -1.0], vec![-2.0, 0.1, 0.4, -0.7], vec![12.0, -9.0, -8.0, -8.5]] {
            let mut shares = 0.0;
            let bound = leave_one_out(&log_w, |k, gain, share| {
                let mut other = log_w.clone();
                other[k] = (log_w.iter().sum::<f64>() - log_w[k]) / (log_w.len() as f64 - 1.0);
                let want = log_mean(&log_w) - log_mean(&other);
                assert!((gain - want).abs() < 1e-13 * (1.0 + want.abs()), "{gain} {want}");
                shares += share;
            });
            assert!((bound - log_mean(&log_w)).abs() < 1e-14);
            assert!((shares - 1.0).abs() < 1e-14);
        }
    }

    /// One weight of `e^700` times the others: what is left of them is not lost.
    #[test]
    fn a_dominating_weight_is_left_out_exactly() {
        let log_w = [700.0, 0.0, 0.0];
        let mut gains = [0.0; 3];
        leave_one_out(&log_w, |k, gain, _| gains[k] = gain);
        // without the first: log mean of three ones, 0; L = 700 - ln 3
        assert!((gains[0] - (700.0 - 3f64.ln())).abs() < 1e-12, "{gains:?}");
        // 350 in place of 0, beside 700: nothing is gained
        assert!(gains[1].abs() < 1e-12);
    }

    #[test]
    fn renyi_at_its_ends() {
        let log_w = [-3.0, 0.5, 1000.0];
        let all = |alpha: f64| {
            let mut shares = [0.0; 3];
            let bound = renyi(&log_w, alpha, |k, v| shares[k] = v);
            (bound, shares)
        };
        let (iwae, shares) = all(0.0);
        assert!((iwae - (1000.0 - 3f64.ln())).abs() < 1e-12);
        assert_eq!(shares, [0.0, 0.0, 1.0]);
        assert_eq!(all(1.0), (997.5 / 3.0, [1.0 / 3.0; 3]));
        // continuous at 1: the slope in alpha is -var(log w) / 2
        let near = |by: f64| all(1.0 + by).0;
        assert!(
            (near(1e-9) - 997.5 / 3.0).abs() < 1e-3 && (near(-1e-9) - 997.5 / 3.0).abs() < 1e-3
        );
        // alpha = 2: minus the log of the mean of 1 / w
        let want = -((3f64.exp() + (-0.5f64).exp()) / 3.0).ln();
        assert!((all(2.0).0 - want).abs() < 1e-12);
    }
}
