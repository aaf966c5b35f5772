//! Series in time: an autoregression, changing volatility, predators and prey.

use elbo::{Error, Real, Space, Var, density};

use super::case::{Case, Data};

/// An autoregression of the fifth order; its first values are conditioned on.
#[allow(non_snake_case)]
pub fn arK(data: &Data) -> Result<Case, Error> {
    let (y, lags) = (data.numbers("y"), data.number("K") as usize);
    let mut space = Space::new();
    let (alpha, beta) = (space.real("alpha"), space.reals("beta", lags));
    let sigma = space.positive("sigma");
    Ok(Case::new(space, move |z| {
        let mean = |t: usize| {
            let before: Vec<f64> = (1..=lags).map(|k| y[t - k]).collect();
            z[alpha] + Var::dot(&before, &z[beta])
        };
        let means: Vec<Var> = (lags..y.len()).map(mean).collect();
        density::normal(z[alpha], 0.0, 10.0)
            + density::normals(&z[beta], 0.0, 10.0)
            + density::half_cauchy(z[sigma], 2.5)
            + density::normals_observed(&y[lags..], &means, &[z[sigma]])
    }))
}

/// Returns whose variance follows the last surprise and itself: GARCH(1, 1).
///
/// `beta1` lies between 0 and `1 - alpha1`, which depends on another coordinate: the model is
/// written in its share of that, `beta1 = share (1 - alpha1)`, and a flat prior on `beta1` is
/// `1 - alpha1` on the share.
pub fn garch11(data: &Data) -> Result<Case, Error> {
    let (y, sigma1) = (data.numbers("y"), data.number("sigma1"));
    let mut space = Space::new();
    let (mu, alpha0) = (space.real("mu"), space.positive("alpha0"));
    let (alpha1, share) = (space.unit("alpha1"), space.unit("share"));
    let case = Case::new(space, move |z| {
        let room = -z[alpha1] + 1.0;
        let beta1 = z[share] * room;
        let mut variance = Var::from(sigma1 * sigma1);
        let mut lp = room.ln();
        for &y in &y {
            let surprise = z[mu] - y;
            lp += density::normal(surprise, 0.0, variance.sqrt());
            variance = z[alpha0] + z[alpha1] * surprise.square() + beta1 * variance;
        }
        lp
    });
    Ok(case.reported(
        &[("share", "beta1")],
        move |z| z[share] *= 1.0 - z[alpha1],
        move |z| {
            z[share] /= 1.0 - z[alpha1];
            (1.0 - z[alpha1]).ln()
        },
    ))
}

/// Hare and lynx: `du/dt = (alpha - beta v) u`, `dv/dt = (-gamma + delta u) v`, observed each year.
pub fn lotka_volterra(data: &Data) -> Result<Case, Error> {
    let (first, pelts, years) = (data.numbers("y_init"), data.rows("y"), data.numbers("ts"));
    let mut space = Space::new();
    let (theta, start) = (space.positives("theta", 4), space.positives("z_init", 2));
    let sigma = space.positives("sigma", 2);
    Ok(Case::new(space, move |z| {
        let (theta, start, sigma) = (&z[theta], &z[start], &z[sigma]);
        let mut lp = density::normal(theta[0], 1.0, 0.5) + density::normal(theta[1], 0.05, 0.05);
        lp += density::normal(theta[2], 1.0, 0.5) + density::normal(theta[3], 0.05, 0.05);
        // The logs of both numbers stay finite where a step of the numbers would cross zero.
        let mut log_size = [start[0].ln(), start[1].ln()];
        for k in 0..2 {
            lp += density::log_normal(sigma[k], -1.0, 1.0);
            lp += density::log_normal(start[k], 10f64.ln(), 1.0);
            lp += density::log_normal(Var::from(first[k]), log_size[k], sigma[k]);
        }
        let mut now = 0.0;
        for (&year, pelts) in years.iter().zip(&pelts) {
            log_size = advance(theta, log_size, year - now);
            now = year;
            for k in 0..2 {
                lp += density::log_normal(Var::from(pelts[k]), log_size[k], sigma[k]);
            }
        }
        lp
    }))
}

/// The logs of hare and lynx after some time, by Runge and Kutta's fourth order in fixed steps.
fn advance(theta: &[Var], mut log_size: [Var; 2], time: f64) -> [Var; 2] {
    const STEPS: usize = 20;
    let h = time / STEPS as f64;
    let slope = |[u, v]: [Var; 2]| [theta[0] - theta[1] * v.exp(), theta[3] * u.exp() - theta[2]];
    let step = |x: [Var; 2], slope: [Var; 2], h: f64| [x[0] + slope[0] * h, x[1] + slope[1] * h];
    for _ in 0..STEPS {
        let k1 = slope(log_size);
        let k2 = slope(step(log_size, k1, h / 2.0));
        let k3 = slope(step(log_size, k2, h / 2.0));
        let k4 = slope(step(log_size, k3, h));
        for i in 0..2 {
            log_size[i] += (k1[i] + (k2[i] + k3[i]) * 2.0 + k4[i]) * (h / 6.0);
        }
    }
    log_size
}
