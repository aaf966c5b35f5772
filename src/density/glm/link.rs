//! The links: log probabilities of rows and their slopes in the linear predictor.

/// `sigmoid(t) sigmoid(-t)`
pub(super) fn logistic_slope(t: f64) -> f64 {
    let e = (-t.abs()).exp();
    e / ((1.0 + e) * (1.0 + e))
}

/// One row: `eta` holds `eta` at each point and then the slope; `y` is 0 or 1.
pub(super) fn bernoulli_logit(y: f64, eta: &mut [f64], out: &mut [f64]) {
    let sign = 2.0 * y - 1.0;
    for (eta, out) in eta.iter_mut().zip(out) {
        let u = sign * *eta;
        let e = (-u.abs()).exp();
        *out += u.min(0.0) - e.ln_1p();
        let down = if u > 0.0 { e } else { 1.0 };
        *eta = sign * down / (1.0 + e);
    }
}

pub(super) fn binomial_logit(y: f64, n: f64, eta: &mut [f64], out: &mut [f64]) {
    for (eta, out) in eta.iter_mut().zip(out) {
        let t = *eta;
        let e = (-t.abs()).exp();
        *out -= n * e.ln_1p() + y * (-t).max(0.0) + (n - y) * t.max(0.0);
        let (up, down) = if t > 0.0 { (1.0, e) } else { (e, 1.0) };
        *eta = (y * down - (n - y) * up) / (1.0 + e);
    }
}

pub(super) fn poisson_log(y: f64, eta: &mut [f64], out: &mut [f64]) {
    for (eta, out) in eta.iter_mut().zip(out) {
        let rate = eta.exp();
        *out += y * *eta - rate;
        *eta = y - rate;
    }
}

/// Without `ln sd` and its slope, which are the same for every row.
pub(super) fn normal(y: f64, eta: &mut [f64], sd: &[f64], slope: &mut [f64], out: &mut [f64]) {
    for (((eta, out), &sd), slope) in eta.iter_mut().zip(out).zip(sd).zip(slope) {
        let u = (y - *eta) / sd;
        *out -= 0.5 * u * u;
        *eta = u / sd;
        *slope += u * u / sd;
    }
}
