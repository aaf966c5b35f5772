//! What the links of grouped likelihoods share.

/// `sigmoid(t) sigmoid(-t)`
pub(super) fn logistic_slope(t: f64) -> f64 {
    let e = (-t.abs()).exp();
    e / ((1.0 + e) * (1.0 + e))
}
