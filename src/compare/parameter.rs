//! `Parameter`: what one method says of one number.

use serde::{Deserialize, Serialize};

use crate::diagnostics::summary::quantile;
use crate::lossless;
use crate::quantile::{beta_quantile, gamma_quantile, student_t_quantile};

/// How many standard deviations from the middle of a normal its 5 % and 95 % quantiles lie.
const NORMAL_95: f64 = 1.644_853_626_951_472_2;
/// How many points a density is given at.
const POINTS: usize = 129;
/// Bins that draws are sorted into before they are smoothed.
const BINS: usize = 512;

/// What a method says of a parameter: an estimate, an interval where it has one, and the density
/// where it has that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// What it is called, without its component.
    pub name: String,
    /// The component of a mixture, or the state of a chain, that it belongs to.
    pub component: Option<usize>,
    /// The component it leads to, as the probability of a step between states does.
    #[serde(default)]
    pub towards: Option<usize>,
    /// The point of a point estimate, the mean of a posterior.
    #[serde(with = "lossless::one")]
    pub estimate: f64,
    /// The standard error of a point estimate, the standard deviation of a posterior.
    #[serde(with = "lossless::maybe")]
    pub sd: Option<f64>,
    /// 5 % quantile.
    #[serde(with = "lossless::maybe")]
    pub q05: Option<f64>,
    /// 95 % quantile.
    #[serde(with = "lossless::maybe")]
    pub q95: Option<f64>,
    /// Where the density is known, ascending; nowhere for a point estimate.
    #[serde(with = "lossless::many")]
    pub x: Vec<f64>,
    /// The density there.
    #[serde(with = "lossless::many")]
    pub density: Vec<f64>,
}

impl Parameter {
    /// A point estimate, with its standard error if it has one: the interval is that of a normal.
    pub fn point(name: &str, estimate: f64, standard_error: Option<f64>) -> Parameter {
        let at = |side: f64| standard_error.map(|se| estimate + side * NORMAL_95 * se);
        Parameter {
            name: name.to_string(),
            component: None,
            towards: None,
            estimate,
            sd: standard_error,
            q05: at(-1.0),
            q95: at(1.0),
            x: Vec::new(),
            density: Vec::new(),
        }
    }

    /// A normal posterior.
    ///
    /// ```
    /// use elbo::compare::Parameter;
    /// let mu = Parameter::normal("mu", 1.0, 2.0);
    /// assert!((mu.q95.unwrap_or(0.0) - (1.0 + 2.0 * 1.6449)).abs() < 1e-4);
    /// let middle = mu.density.iter().copied().fold(0.0, f64::max);
    /// assert!((middle - 0.5 * 0.3989).abs() < 1e-4);
    /// ```
    pub fn normal(name: &str, mean: f64, sd: f64) -> Parameter {
        let mut new = Parameter::point(name, mean, Some(sd));
        let peak = 1.0 / (sd * (2.0 * std::f64::consts::PI).sqrt());
        for u in steps(POINTS).map(|share| 4.0 * (2.0 * share - 1.0)) {
            new.x.push(mean + sd * u);
            new.density.push(peak * (-0.5 * u * u).exp());
        }
        new
    }

    /// A posterior known by its quantile function; the density is the slope of its inverse.
    ///
    /// ```
    /// use elbo::compare::Parameter;
    /// // uniform between 2 and 4
    /// let p = Parameter::quantiles("p", 3.0, (1.0f64 / 3.0).sqrt(), |share| 2.0 + 2.0 * share);
    /// assert_eq!((p.q05, p.q95), (Some(2.1), Some(3.9)));
    /// assert!(p.density.iter().all(|d| (d - 0.5).abs() < 1e-9));
    /// ```
    pub fn quantiles(name: &str, mean: f64, sd: f64, quantile: impl Fn(f64) -> f64) -> Parameter {
        let mut new = Parameter::point(name, mean, None);
        (new.sd, new.q05, new.q95) = (Some(sd), Some(quantile(0.05)), Some(quantile(0.95)));
        // shares evenly spaced in log odds, out to 1 in 3000 on either side: tails are seen
        let logit = |share: f64| 1.0 / (1.0 + (-8.0 * (2.0 * share - 1.0)).exp());
        let shares: Vec<f64> = steps(POINTS + 1).map(logit).collect();
        let at: Vec<f64> = shares.iter().map(|&share| quantile(share)).collect();
        for (x, share) in at.windows(2).zip(shares.windows(2)) {
            let slope = (share[1] - share[0]) / (x[1] - x[0]);
            if slope.is_finite() {
                new.x.push(0.5 * (x[0] + x[1]));
                new.density.push(slope);
            }
        }
        new
    }

    /// A Student t of a location, a scale and so many degrees of freedom; its sd is infinite up to 2.
    pub fn student(name: &str, location: f64, scale: f64, freedom: f64) -> Parameter {
        let sd =
            if freedom > 2.0 { scale * (freedom / (freedom - 2.0)).sqrt() } else { f64::INFINITY };
        let at = |share: f64| location + scale * student_t_quantile(share, freedom);
        Parameter::quantiles(name, location, sd, at)
    }

    /// A Gamma of a shape and a rate.
    pub fn gamma(name: &str, shape: f64, rate: f64) -> Parameter {
        let at = |share: f64| gamma_quantile(share, shape, rate);
        Parameter::quantiles(name, shape / rate, shape.sqrt() / rate, at)
    }

    /// A number whose inverse is a Gamma of a shape and a rate, such as a variance; its mean is
    /// infinite up to shape 1, its sd up to 2.
    ///
    /// ```
    /// use elbo::compare::Parameter;
    /// let v = Parameter::inverse_gamma("variance", 3.0, 4.0);
    /// assert!((v.estimate - 2.0).abs() < 1e-12 && v.sd == Some(2.0));
    /// ```
    pub fn inverse_gamma(name: &str, shape: f64, rate: f64) -> Parameter {
        let mean = if shape > 1.0 { rate / (shape - 1.0) } else { f64::INFINITY };
        let sd = if shape > 2.0 { mean / (shape - 2.0).sqrt() } else { f64::INFINITY };
        let at = |share: f64| 1.0 / gamma_quantile(1.0 - share, shape, rate);
        Parameter::quantiles(name, mean, sd, at)
    }

    /// A Beta, such as one probability of a Dirichlet and the rest of them; 1 where `b` is 0.
    pub fn beta(name: &str, a: f64, b: f64) -> Parameter {
        if b <= 0.0 {
            return Parameter::point(name, 1.0, None);
        }
        let sd = (a * b / (a + b + 1.0)).sqrt() / (a + b);
        Parameter::quantiles(name, a / (a + b), sd, |share| beta_quantile(share, a, b))
    }

    /// A posterior known by draws; the density is smoothed by a normal kernel (Silverman 1986,
    /// section 3.4.2).
    ///
    /// ```
    /// use elbo::compare::Parameter;
    /// let draws: Vec<f64> = (0..1000).map(|i| f64::from(i) / 999.0).collect();
    /// let u = Parameter::draws("u", &draws);
    /// assert!((u.estimate - 0.5).abs() < 1e-12 && (u.q05.unwrap_or(0.0) - 0.05).abs() < 1e-12);
    /// assert!((u.density[64] - 1.0).abs() < 0.02);
    /// ```
    pub fn draws(name: &str, draws: &[f64]) -> Parameter {
        let n = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / n;
        let sd = (draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let mut sorted = draws.to_vec();
        sorted.sort_by(f64::total_cmp);
        let mut new = Parameter::point(name, mean, None);
        let at = |share: f64| quantile(&sorted, share);
        (new.sd, new.q05, new.q95) = (Some(sd), Some(at(0.05)), Some(at(0.95)));
        let width = 0.9 * sd.min((at(0.75) - at(0.25)) / 1.349) * n.powf(-0.2);
        let (low, high) = (at(0.0), at(1.0));
        // a kernel narrower than a bin of its own range, or none at all
        if !(width > 0.0 && width.is_finite() && (high - low) / width < 1e4) {
            return new;
        }
        let bin = (high - low) / BINS as f64;
        let mut counts = vec![0.0; BINS];
        for x in draws {
            counts[(((x - low) / bin) as usize).min(BINS - 1)] += 1.0;
        }
        let (from, to) = (at(0.001), at(0.999));
        let peak = 1.0 / (n * width * (2.0 * std::f64::consts::PI).sqrt());
        for x in steps(POINTS).map(|share| from + share * (to - from)) {
            let kernel = |(b, count): (usize, &f64)| {
                let u = (x - low - (b as f64 + 0.5) * bin) / width;
                if u.abs() < 6.0 { count * (-0.5 * u * u).exp() } else { 0.0 }
            };
            new.x.push(x);
            new.density.push(peak * counts.iter().enumerate().map(kernel).sum::<f64>());
        }
        new
    }

    /// The same parameter of component `k`.
    #[must_use]
    pub fn of_component(mut self, k: usize) -> Parameter {
        self.component = Some(k);
        self
    }

    /// The same of a step from component `k` to component `to`.
    #[must_use]
    pub fn of_step(mut self, k: usize, to: usize) -> Parameter {
        (self.component, self.towards) = (Some(k), Some(to));
        self
    }

    /// What it is called with its component: `mean[eruption]` of component 1 is `mean[1, eruption]`,
    /// `weight` is `weight[1]`, and `transition` of a step from 1 to 0 is `transition[1, 0]`.
    ///
    /// ```
    /// use elbo::compare::Parameter;
    /// let mean = Parameter::point("mean[eruption]", 2.0, None).of_component(1);
    /// assert_eq!(mean.label(), "mean[1, eruption]");
    /// ```
    pub fn label(&self) -> String {
        let Some(k) = self.component else { return self.name.clone() };
        let k = self.towards.map_or(k.to_string(), |to| format!("{k}, {to}"));
        match self.name.split_once('[') {
            Some((block, index)) => format!("{block}[{k}, {index}"),
            None => format!("{}[{k}]", self.name),
        }
    }
}

/// `n` shares from 0 to 1.
fn steps(n: usize) -> impl Iterator<Item = f64> {
    (0..n).map(move |i| i as f64 / (n - 1) as f64)
}
