//! Chapter 13.

use elbo::{
    Conjugate, EStep, Error, FixedDraws, FixedNoise, MStep, Maximize, MeanFieldGaussian, Model,
    Options, Purpose, Space, Stop, density, fit, from_fn, noise, stream,
};

pub fn solutions() -> Result<(), Error> {
    a_gradient_for_an_m_step()?;
    how_fast();
    one_q_for_all()
}

/// `ln(2 pi)`
const LN_2PI: f64 = 1.8378770664093453;

// ANCHOR: one
/// `z ~ Normal(0, 1)`, `x ~ Normal(2 z, s^2)`, `x = 3`; `theta = ln s^2`, whose M-step is whole or
/// half a step up the gradient.
#[derive(Clone)]
struct Line {
    log_s2: f64,
    by_gradient: bool,
}

impl Line {
    /// `E_q (x - 2 z)^2`
    fn square(q: &MeanFieldGaussian) -> f64 {
        (3.0 - 2.0 * q.mean()[0]).powi(2) + 4.0 * q.sd()[0].powi(2)
    }
    fn elbo(&self, q: &MeanFieldGaussian) -> f64 {
        let (m, v) = (q.mean()[0], q.sd()[0].powi(2));
        let likelihood = LN_2PI + self.log_s2 + Line::square(q) * (-self.log_s2).exp();
        -0.5 * (likelihood + LN_2PI + m * m + v) + 0.5 * (LN_2PI + 1.0 + v.ln())
    }
}

impl Conjugate<MeanFieldGaussian> for Line {
    fn natural_step(&self, q: &mut MeanFieldGaussian, _rate: f64) -> Result<f64, Error> {
        let precision = 1.0 + 4.0 * (-self.log_s2).exp();
        let mean = 6.0 * (-self.log_s2).exp() / precision;
        *q = MeanFieldGaussian::new(vec![mean], &[precision.powf(-0.5)])?;
        Ok(self.elbo(q))
    }
}

impl Maximize<MeanFieldGaussian> for Line {
    fn maximize(&mut self, q: &MeanFieldGaussian) -> Result<f64, Error> {
        let best = Line::square(q).ln();
        match self.by_gradient {
            true => self.log_s2 += 0.5 * (0.5 * (best - self.log_s2).exp() - 0.5),
            false => self.log_s2 = best,
        }
        Ok(self.elbo(q))
    }
}

fn a_gradient_for_an_m_step() -> Result<(), Error> {
    let end = |by_gradient: bool| -> Result<(f64, usize), Error> {
        let (line, q) = (Line { log_s2: 3.0, by_gradient }, MeanFieldGaussian::standard(1));
        // a half step down would be an error of `fit`
        let options = Options { stop: Stop::Exact { gain: 1e-14 }, ..Options::exact() };
        let fit = fit(line, q, (EStep, MStep), options)?;
        Ok((fit.model.log_s2.exp(), fit.trace.len()))
    };
    let ((exact, few), (gradient, many)) = (end(false)?, end(true)?);
    assert!((exact - 5.0).abs() < 1e-4 && (gradient - 5.0).abs() < 1e-4, "{exact} {gradient}");
    assert!(many > few);
    Ok(())
}
// ANCHOR_END: one

impl Model for Line {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("z");
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let off = 3.0 - 2.0 * z[0];
        let likelihood = LN_2PI + self.log_s2 + off * off * (-self.log_s2).exp();
        -0.5 * (likelihood + LN_2PI + z[0] * z[0])
    }
    fn n_theta(&self) -> usize {
        1
    }
    fn theta(&self, out: &mut [f64]) {
        out[0] = self.log_s2;
    }
    fn set_theta(&mut self, theta: &[f64]) {
        self.log_s2 = theta[0];
    }
}

// ANCHOR: two
fn how_fast() {
    let mut x = vec![0.0; 2000];
    noise::fill_normal(&mut stream(13, Purpose::Data, 0), &mut x);
    x.iter_mut().skip(1400).for_each(|x| *x += 2.0); // three in ten are of the second kind
    let densities = |x: f64| [0.0, 2.0].map(|mean| density::normal(x, mean, 1.0).exp());
    let step = |w: f64| {
        let share = |x: &f64| {
            let [f0, f1] = densities(*x);
            w * f1 / ((1.0 - w) * f0 + w * f1)
        };
        x.iter().map(share).sum::<f64>() / 2000.0
    };
    let mut path = vec![0.9];
    (0..200).for_each(|t| path.push(step(path[t])));
    let top = path[200];
    let measured = (path[20] - top) / (path[19] - top);
    let seen = |x: &f64| {
        let [f0, f1] = densities(*x);
        ((f1 - f0) / ((1.0 - top) * f0 + top * f1)).powi(2)
    };
    let (observed, complete) = (x.iter().map(seen).sum::<f64>(), 2000.0 / (top * (1.0 - top)));
    assert!((measured - (1.0 - observed / complete)).abs() < 1e-3);
    assert!((0.3..0.6).contains(&measured), "{measured}"); // about half of it is missing
}
// ANCHOR_END: two

// ANCHOR: three
fn one_q_for_all() -> Result<(), Error> {
    let mut space = Space::new();
    let z = space.real("z");
    let shared = from_fn(space, move |all| {
        let likelihood = |x: f64| density::normal(all[z] * -1.0 + x, 0.0, 0.5f64.sqrt());
        density::normal(all[z], 0.0, 1.0) + (likelihood(-2.0) + likelihood(3.0)) * 0.5
    });
    let ascent = FixedDraws { noise: FixedNoise::MomentMatched, ..FixedDraws::new(8) };
    let best = fit(shared, MeanFieldGaussian::standard(1), ascent, Options::default())?.q;
    let (mean, variance) = (best.mean()[0], best.sd()[0].powi(2));
    assert!((mean - 1.0 / 3.0).abs() < 1e-6 && (variance - 1.0 / 3.0).abs() < 1e-6);
    // each posterior is Normal(2 x / 3, 1 / 3): the variance of their average
    let means = [-2.0f64, 3.0].map(|x| 2.0 * x / 3.0);
    let middle = 0.5 * (means[0] + means[1]);
    let average = 1.0 / 3.0 + 0.5 * means.map(|m| (m - middle).powi(2)).iter().sum::<f64>();
    assert!((average - 3.11).abs() < 0.005);
    Ok(())
}
// ANCHOR_END: three
