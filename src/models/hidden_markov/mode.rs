//! EM under a prior: it finds the mode of the posterior, and no state can collapse.

use super::belief::Belief;
use super::densities::{Densities, Form};
use super::parameters::Parameters;
use super::prior::covariance;
use super::{HiddenMarkov, Prior, StatePrior};
use crate::error::Error;
use crate::scratch::with_buffer;
use crate::special::log_gamma;
use crate::triangle;

/// What is added to the rows a state has, to divide a scatter by: the mode of a normal and an inverse
/// Wishart in a block of `dim` columns.
pub(super) fn extra(dim: usize, degrees: f64) -> f64 {
    degrees + dim as f64 + 2.0
}

impl Prior {
    /// A prior that hardly moves the answer and lets no state collapse, for `with_prior`: flat on
    /// probabilities; of normal states that of Fraley and Raftery (2007), means about that of the data
    /// with the weight of a hundredth of a row, covariances about that of the data divided by
    /// `K^(2 / d)` with `d + 2` degrees of freedom; rates `Gamma(1, 1e-3)`.
    pub fn weak(model: &HiddenMarkov) -> Prior {
        let rows = model.sequences().rows();
        let d = rows.dim();
        let state = match &model.parameters.form {
            Form::Discrete(_) => StatePrior::Columns { probabilities: 1.0, rates: (1.0, 1e-3) },
            _ => {
                let share = (model.len() as f64).powf(-2.0 / d as f64);
                let mut scale = covariance(rows);
                scale.iter_mut().for_each(|s| *s *= share);
                let (mean, degrees) = (rows.mean(), d as f64 + 2.0);
                StatePrior::Normal { mean, shrinkage: 0.01, degrees, scale }
            }
        };
        Prior { initial: 1.0, transitions: 1.0, state }
    }
}

impl HiddenMarkov {
    /// The same with a prior: the fit is the mode of the posterior, in probabilities, means and
    /// covariances, or rates, and the ELBO after an E-step the log likelihood plus the log density of
    /// the prior at the parameters. Steps that are impossible stay so, and the prior is one of the
    /// others.
    ///
    /// [`HiddenMarkov::bayesian`] has a prior of its own.
    ///
    /// ```
    /// use elbo::data::Observations;
    /// use elbo::models::hidden_markov::{HiddenMarkov, Prior, Sequences};
    /// // the sensor says 2 whenever it is busy: a state of variance 0
    /// let seen = [0.3, -0.1, 0.2, 2.0, 2.0, 2.0, 0.1, -0.2, 0.4, 2.0, 2.0, 0.0];
    /// let sequences = Sequences::one(Observations::new(seen.to_vec(), 1)?)?;
    /// let model = HiddenMarkov::gaussian(sequences, 2)?;
    /// let collapsed = model.fit(1).expect_err("no maximum").to_string();
    /// assert!(collapsed.contains("`.with_prior(Prior::weak(&model))`"));
    /// let prior = Prior::weak(&model);
    /// let best = model.with_prior(prior)?.fit(1)?;
    /// assert!((0..2).all(|k| best.fit.model.values(k, 0)[1] > 0.1));
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A prior for another kind of states, lengths that do not fit, numbers out of range, a scale that
    /// is no covariance, and concentrations or shapes below 1, which have no mode.
    pub fn with_prior(mut self, prior: Prior) -> Result<HiddenMarkov, Error> {
        let mut shapes = vec![("initial", prior.initial), ("transitions", prior.transitions)];
        if let StatePrior::Columns { probabilities, rates } = &prior.state {
            shapes.extend([("probabilities", *probabilities), ("the shape of rates", rates.0)]);
        }
        if let Some((name, x)) = shapes.into_iter().find(|(_, x)| *x < 1.0) {
            let remedy = "1 or more has a mode";
            return Err(Error::option(&format!("{name} of the prior"), x, remedy));
        }
        self.prior = Some(prior.belief(&self)?);
        Ok(self)
    }

    /// The log density of the prior at the parameters; 0 without one.
    pub fn log_prior(&self) -> f64 {
        let prior = self.prior.as_ref();
        prior.map_or(0.0, |prior| log_density(prior, &self.parameters, &self.densities))
    }
}

/// `ln p` of probabilities, and of means and covariances, or values of columns.
fn log_density(prior: &Belief, at: &Parameters, densities: &Densities) -> f64 {
    let k = prior.k;
    let mut sum = 0.0;
    for row in 0..=k {
        let concentration = prior.concentration[row * k];
        let own = row * k..(row + 1) * k;
        let possible = at.allowed[own.clone()].iter().zip(&at.probabilities[own]);
        let logs = possible.filter(|(allowed, _)| **allowed).map(|(_, p)| p.ln());
        let n = logs.clone().count() as f64;
        sum += log_gamma(n * concentration) - n * log_gamma(concentration);
        if concentration != 1.0 {
            sum += (concentration - 1.0) * logs.sum::<f64>();
        }
    }
    if let Form::Discrete(layout) = &at.form {
        with_buffer(layout.features, |coefficients| {
            for c in 0..k {
                (0..layout.features).for_each(|f| coefficients[f] = densities.get(f, c));
                for (kind, place) in layout.kinds() {
                    let features = place.features(&*kind);
                    let numbers = &prior.own(c)[features.clone()];
                    sum += kind.log_density(numbers, &coefficients[features]);
                }
            }
        });
        return sum;
    }
    let (blocks, dim) = at.form.blocks();
    let len = triangle::len(dim);
    for c in 0..k {
        let (means, factors) = at.values(c).split_at(blocks * dim);
        for b in 0..blocks {
            let factor = &factors[b * len..(b + 1) * len];
            sum += prior.log_density_of_block((c, b), &means[b..b + dim], factor);
            // from the density of the factor to that of the covariance, `dC = 2^d prod L_ii^(d - i) dL`
            for (i, row) in triangle::rows(factor).take(dim).enumerate() {
                sum -= 2f64.ln() + (dim - i) as f64 * row[i].ln();
            }
        }
    }
    sum
}
