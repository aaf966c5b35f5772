//! `Normal`: a normal sample of unknown mean and precision, the smallest model for coordinate ascent.

use crate::compare::{Compared, Entry, Parameter, Quantity};
use crate::data::{Fingerprint, Observations};
use crate::error::Error;
use crate::family::{Family, Gamma, MeanFieldGaussian, Product};
use crate::fit::Fit;
use crate::model::{Conjugate, Model};
use crate::quantile::student_t_quantile;
use crate::space::Space;
use crate::special::{LN_SQRT_2PI, log_gamma, polygamma};

/// The conjugate prior `mu | tau ~ N(m, 1 / (kappa tau))`, `tau ~ Gamma(a, rate b)` of mean and
/// precision, or the posterior of the same form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormalGamma {
    /// Where the mean is expected.
    pub m: f64,
    /// How many observations that expectation is worth.
    pub kappa: f64,
    /// The shape of the precision.
    pub a: f64,
    /// The rate of the precision.
    pub b: f64,
}

/// `y_i ~ N(mu, 1 / tau)` with a [`NormalGamma`] prior; `z = (mu, tau)` (Bishop 2006, section 10.1.3).
///
/// The exact posterior is known ([`Normal::posterior`]), and so is the best `q(mu) q(tau)`, which
/// coordinate ascent finds: how much the factorization costs can be read off.
///
/// ```
/// use elbo::models::normal::{Normal, NormalGamma};
/// use elbo::{EStep, Options, fit};
/// let prior = NormalGamma { m: 0.0, kappa: 1.0, a: 2.0, b: 2.0 };
/// let model = Normal::new(&[1.7, 1.8, 2.5, 0.3, 1.1], prior)?;
/// let evidence = model.log_evidence();
/// let q = model.start();
/// let fit = fit(model, q, EStep, Options::exact())?;
/// let gap = evidence - fit.trace.last().and_then(|s| s.elbo).expect("exact moves know it");
/// assert!(gap > 0.0 && gap < 0.1);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Normal {
    prior: NormalGamma,
    n: f64,
    mean: f64,
    /// `sum (y - mean)^2`
    squares: f64,
    data: Fingerprint,
}

impl Normal {
    /// The sample `y` under a prior.
    ///
    /// # Errors
    /// No observations, one that is not finite, or a prior whose `kappa`, `a` or `b` is not positive.
    pub fn new(y: &[f64], prior: NormalGamma) -> Result<Normal, Error> {
        Normal::weighted(y, &vec![1.0; y.len()], prior)
    }

    /// The same with observation `i` counted `weights[i]` times.
    ///
    /// # Errors
    /// As [`Normal::new`]; another number of weights, weights that are negative or all zero.
    pub fn weighted(y: &[f64], weights: &[f64], prior: NormalGamma) -> Result<Normal, Error> {
        let sample = Observations::new(y.to_vec(), 1)?.weighted(weights.to_vec())?;
        if !prior.m.is_finite() {
            return Err(Error::option("m of the prior", prior.m, "a mean must be finite"));
        }
        for (name, x) in [("kappa", prior.kappa), ("a", prior.a), ("b", prior.b)] {
            if !(x > 0.0 && x.is_finite()) {
                let remedy = "it must be positive and finite";
                return Err(Error::option(&format!("{name} of the prior"), x, remedy));
            }
        }
        let n = sample.total_weight();
        let each = || y.iter().zip(weights);
        let mean = each().map(|(y, w)| w * y).sum::<f64>() / n;
        let squares = each().map(|(y, w)| w * (y - mean) * (y - mean)).sum();
        Ok(Normal { prior, n, mean, squares, data: sample.fingerprint() })
    }

    /// The prior mean and precision as a first `q`.
    pub fn start(&self) -> Product<MeanFieldGaussian, Gamma> {
        let NormalGamma { m, kappa, a, b } = self.prior;
        let mut q = Product::new(
            MeanFieldGaussian::standard(1),
            Gamma::new(&[1.0], &[1.0]).unwrap_or_else(|_| unreachable!("1 is positive")),
        );
        q.set_params(&[m, 0.5 * (b / (a * kappa)).ln(), a.ln(), b.ln()]);
        q
    }

    /// The exact posterior.
    pub fn posterior(&self) -> NormalGamma {
        let NormalGamma { m, kappa, a, b } = self.prior;
        let (total, off) = (kappa + self.n, self.mean - m);
        NormalGamma {
            m: (kappa * m + self.n * self.mean) / total,
            kappa: total,
            a: a + 0.5 * self.n,
            b: b + 0.5 * (self.squares + kappa * self.n / total * off * off),
        }
    }

    /// `log p(y)`, exact.
    pub fn log_evidence(&self) -> f64 {
        let (prior, post) = (self.prior, self.posterior());
        log_gamma(post.a) - log_gamma(prior.a) + prior.a * prior.b.ln() - post.a * post.b.ln()
            + 0.5 * (prior.kappa / post.kappa).ln()
            - self.n * LN_SQRT_2PI
    }

    /// `E[log p(y, mu, tau)]` from `E[ln tau]`, `E[tau]` and `E[(mu - c)^2]` as a function of `c`,
    /// `mu` and `tau` being independent.
    fn expected(&self, log_tau: f64, tau: f64, square: impl Fn(f64) -> f64) -> f64 {
        let NormalGamma { m, kappa, a, b } = self.prior;
        let data = 0.5 * self.n * log_tau
            - self.n * LN_SQRT_2PI
            - 0.5 * tau * (self.squares + self.n * square(self.mean));
        let mean = 0.5 * (kappa.ln() + log_tau) - LN_SQRT_2PI - 0.5 * kappa * tau * square(m);
        data + mean + a * b.ln() - log_gamma(a) + (a - 1.0) * log_tau - b * tau
    }
}

impl NormalGamma {
    /// The interval that holds `mu` with probability `mass`, in the middle: `mu` is Student t with
    /// `2 a` degrees of freedom and scale `sqrt(b / (a kappa))`.
    pub fn mean_interval(&self, mass: f64) -> (f64, f64) {
        let scale = (self.b / (self.a * self.kappa)).sqrt();
        let half = scale * student_t_quantile(0.5 + 0.5 * mass, 2.0 * self.a);
        (self.m - half, self.m + half)
    }

    /// The scale of a further observation, which is Student t about `m` with `2 a` degrees of freedom:
    /// `sqrt(b / a (1 + 1 / kappa))`.
    fn scale_of_next(&self) -> f64 {
        (self.b / self.a * (1.0 + self.kappa.recip())).sqrt()
    }

    /// The interval that holds a further observation with probability `mass`, in the middle.
    ///
    /// ```
    /// use elbo::models::normal::{Normal, NormalGamma};
    /// let prior = NormalGamma { m: 0.0, kappa: 1.0, a: 2.0, b: 2.0 };
    /// let posterior = Normal::new(&[1.7, 1.8, 2.5, 0.3, 1.1], prior)?.posterior();
    /// let (next, mean) = (posterior.next_interval(0.9), posterior.mean_interval(0.9));
    /// assert!(next.0 < mean.0 && mean.1 < next.1);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    pub fn next_interval(&self, mass: f64) -> (f64, f64) {
        let half = self.scale_of_next() * student_t_quantile(0.5 + 0.5 * mass, 2.0 * self.a);
        (self.m - half, self.m + half)
    }

    /// The log density of each of further observations, in nats, `mu` and `tau` averaged over.
    pub fn score(&self, y: &[f64]) -> Vec<f64> {
        let (scale, half) = (self.scale_of_next(), self.a + 0.5);
        let constant = log_gamma(half)
            - log_gamma(self.a)
            - 0.5 * (2.0 * self.a * std::f64::consts::PI).ln()
            - scale.ln();
        let one = |y: &f64| {
            let z = (y - self.m) / scale;
            constant - half * (z * z / (2.0 * self.a)).ln_1p()
        };
        y.iter().map(one).collect()
    }
}

impl Model for Normal {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("mu");
        space.positive("tau");
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let (mu, tau) = (z[0], z[1]);
        if tau <= 0.0 {
            return f64::NEG_INFINITY;
        }
        self.expected(tau.ln(), tau, |c| (mu - c) * (mu - c))
    }
}

impl Conjugate<Product<MeanFieldGaussian, Gamma>> for Normal {
    fn natural_step(
        &self,
        q: &mut Product<MeanFieldGaussian, Gamma>,
        rate: f64,
    ) -> Result<f64, Error> {
        let NormalGamma { m, kappa, a, b } = self.prior;
        let total = kappa + self.n;
        let mut p = [0.0; 4];
        q.params(&mut p);
        let (old, shape, slope) = ((-2.0 * p[1]).exp(), p[2].exp(), p[3].exp());
        // q(mu): precision, and precision times mean
        let tau = shape / slope;
        let precision = (1.0 - rate) * old + rate * total * tau;
        let pull = (1.0 - rate) * old * p[0] + rate * tau * (kappa * m + self.n * self.mean);
        let (mu, variance) = (pull / precision, precision.recip());
        let square = |c: f64| (mu - c) * (mu - c) + variance;
        // q(tau): shape and rate
        let to_b = b + 0.5 * (self.squares + self.n * square(self.mean) + kappa * square(m));
        let shape = (1.0 - rate) * shape + rate * (a + 0.5 * (self.n + 1.0));
        let slope = (1.0 - rate) * slope + rate * to_b;
        q.set_params(&[mu, 0.5 * variance.ln(), shape.ln(), slope.ln()]);
        let log_tau = polygamma(0, shape) - slope.ln();
        let entropy_mu = 0.5 + LN_SQRT_2PI + 0.5 * variance.ln();
        let entropy_tau =
            shape - slope.ln() + log_gamma(shape) + (1.0 - shape) * polygamma(0, shape);
        Ok(self.expected(log_tau, shape / slope, square) + entropy_mu + entropy_tau)
    }
}

/// The exact posterior and evidence: `mu` is Student t, `tau` a Gamma.
impl Compared for Normal {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let NormalGamma { m, kappa, a, b } = self.posterior();
        let mu = Parameter::student("mu", m, (b / (a * kappa)).sqrt(), 2.0 * a);
        let entry = Entry::new(method).of(self.data)?;
        let entry = entry.reached(Quantity::LogEvidence, self.log_evidence());
        Ok(entry.with([mu, Parameter::gamma("tau", a, b)]))
    }
}

/// Coordinate ascent: `mu` is normal, `tau` a Gamma, and the ELBO that of the last step.
impl Compared for Fit<Normal, Product<MeanFieldGaussian, Gamma>> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let (mu, tau) = (self.q.first(), self.q.second());
        let mut entry = Entry::new(method).of(self.model.data)?.spent(self);
        if let Some(elbo) = self.trace.iter().rev().find_map(|step| step.elbo) {
            entry = entry.reached(Quantity::Elbo, elbo);
        }
        let mu = Parameter::normal("mu", mu.mean()[0], mu.sd()[0]);
        Ok(entry.with([mu, Parameter::gamma("tau", tau.shape(0), tau.rate(0))]))
    }
}
