//! `Prior`: conjugate priors on probabilities and on what the rows look like.

use nalgebra::DMatrix;

use super::HiddenMarkov;
use super::belief::Belief;
use super::densities::Form;
use super::start::mostly_whole;
use crate::data::Observations;
use crate::error::Error;
use crate::models::discrete_mixture::Column;
use crate::triangle;

/// A prior on the parameters of a hidden Markov model, conjugate to it and the same for all states:
///
/// ```text
/// initial ~ Dirichlet(initial, ..),   transition_i ~ Dirichlet(transitions, ..)
/// ```
///
/// and for the rows a [`StatePrior`].
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    /// Concentration of the initial probabilities.
    pub initial: f64,
    /// Concentration of the steps from each state.
    pub transitions: f64,
    /// What the rows of a state look like.
    pub state: StatePrior,
}

/// What the rows of a state are expected to look like.
#[derive(Clone, Debug, PartialEq)]
pub enum StatePrior {
    /// `mean_k | covariance_k ~ Normal(mean, covariance_k / shrinkage)` and
    /// `precision_k ~ Wishart(degrees, scale^-1)`; of independent columns, each precision
    /// `Gamma(degrees / 2, rate scale_jj / 2)`.
    Normal {
        /// `d` numbers.
        mean: Vec<f64>,
        /// How many rows that mean is worth.
        shrinkage: f64,
        /// More than `d - 1`; more than 0 where columns are independent.
        degrees: f64,
        /// `d x d`, row by row.
        scale: Vec<f64>,
    },
    /// `Beta(probabilities, probabilities)` or `Dirichlet(probabilities, ..)` for probabilities, and
    /// `Gamma(rates.0, rates.1)`, shape and rate, for rates.
    Columns {
        /// Of probabilities.
        probabilities: f64,
        /// Of rates.
        rates: (f64, f64),
    },
}

fn positive(name: &str, x: f64) -> Result<(), Error> {
    if x > 0.0 && x.is_finite() {
        return Ok(());
    }
    let remedy = "a number of a prior must be positive and finite";
    Err(Error::option(&format!("{name} of the prior"), x, remedy))
}

impl Prior {
    /// The same as a distribution for the states of `model`.
    pub(super) fn belief(&self, model: &HiddenMarkov) -> Result<Belief, Error> {
        positive("initial", self.initial)?;
        positive("transitions", self.transitions)?;
        let (k, form) = (model.len(), &model.parameters.form);
        let d = model.sequences.rows().dim();
        let mut concentration = vec![self.initial; k];
        concentration.resize(k + k * k, self.transitions);
        let mut belief = Belief {
            k,
            form: form.clone(),
            concentration,
            worth: Vec::new(),
            degrees: Vec::new(),
            mean: Vec::new(),
            root: Vec::new(),
            numbers: Vec::new(),
        };
        match (&self.state, form) {
            (StatePrior::Columns { probabilities, rates }, Form::Discrete(layout)) => {
                positive("probabilities", *probabilities)?;
                positive("the shape of rates", rates.0)?;
                positive("the rate of rates", rates.1)?;
                let mut numbers = vec![*probabilities; layout.features];
                for place in layout.places.iter().filter(|p| p.column == Column::Count) {
                    (numbers[place.feature], numbers[place.feature + 1]) = *rates;
                }
                belief.numbers = numbers.repeat(k);
            }
            (
                StatePrior::Normal { mean, shrinkage, degrees, scale },
                Form::Full(_) | Form::Diagonal(_),
            ) => {
                Error::expect_len("the mean of the prior", mean.len(), "a row", d)?;
                Error::expect_len("the scale of the prior", scale.len(), "d * d", d * d)?;
                if let Some(j) = mean.iter().position(|m| !m.is_finite()) {
                    let place = format!("mean[{j}] of the prior");
                    return Err(Error::option(&place, mean[j], "it must be finite"));
                }
                positive("shrinkage", *shrinkage)?;
                let (blocks, dim) = form.blocks();
                let least = dim as f64 - 1.0;
                if !(*degrees > least && degrees.is_finite()) {
                    let remedy = format!("take more than {least}: a density needs it");
                    return Err(Error::option("degrees of the prior", degrees, &remedy));
                }
                let root = match form {
                    Form::Full(_) => {
                        let matrix = DMatrix::from_row_slice(d, d, scale);
                        triangle::from_covariance("the scale of the prior", d, &matrix)?
                    }
                    _ => {
                        let own = |j: usize| scale[j * d + j];
                        (0..d).try_for_each(|j| positive(&format!("scale[{j}, {j}]"), own(j)))?;
                        (0..d).map(|j| own(j).sqrt()).collect()
                    }
                };
                belief.worth = vec![*shrinkage; k * blocks];
                belief.degrees = vec![*degrees; k * blocks];
                belief.mean = mean.repeat(k);
                belief.root = root.repeat(k);
            }
            (StatePrior::Normal { .. }, _) => {
                let remedy = "the columns are discrete: take StatePrior::Columns";
                return Err(Error::option("state of the prior", "Normal", remedy));
            }
            (StatePrior::Columns { .. }, _) => {
                let remedy = "the states are normal: take StatePrior::Normal";
                return Err(Error::option("state of the prior", "Columns", remedy));
            }
        }
        Ok(belief)
    }
}

/// What a Bayesian model believes unless told otherwise: `1 / K` on probabilities; of normal states
/// means about that of the data with the weight of one row, `d` degrees and the covariance of the
/// data as scale; flat on the probabilities of columns, and on rates `Gamma(1, 1 / mean)` with the
/// mean of the column.
pub(super) fn default_belief(model: &HiddenMarkov) -> Belief {
    let rows = model.sequences.rows();
    let (d, share) = (rows.dim(), 1.0 / model.len() as f64);
    let state = match &model.parameters.form {
        Form::Discrete(_) => StatePrior::Columns { probabilities: 1.0, rates: (1.0, 1.0) },
        _ => {
            let (mean, degrees, scale) = (rows.mean(), d as f64, covariance(rows));
            StatePrior::Normal { mean, shrinkage: 1.0, degrees, scale }
        }
    };
    let belief = Prior { initial: share, transitions: share, state }.belief(model);
    let mut belief =
        belief.unwrap_or_else(|_| unreachable!("the columns were checked for a start"));
    if let Form::Discrete(layout) = &model.parameters.form {
        for (place, mean) in layout.places.iter().zip(rows.mean()) {
            if place.column == Column::Count && mean > 0.0 {
                for own in belief.numbers.chunks_exact_mut(layout.features) {
                    own[place.feature + 1] = 1.0 / mean;
                }
            }
        }
    }
    belief
}

/// The covariance of the rows that are whole, about the mean of all, row by row; where most are not,
/// the variances of the columns.
pub(super) fn covariance(rows: &Observations) -> Vec<f64> {
    let d = rows.dim();
    let (mean, mut out, mut total) = (rows.mean(), vec![0.0; d * d], 0.0);
    if !mostly_whole(rows) {
        rows.variance().iter().enumerate().for_each(|(j, v)| out[j * d + j] = *v);
        return out;
    }
    for (n, row) in rows.rows().enumerate() {
        if row.iter().any(|x| x.is_nan()) {
            continue;
        }
        total += rows.weight(n);
        for i in 0..d {
            for j in 0..d {
                out[i * d + j] += rows.weight(n) * (row[i] - mean[i]) * (row[j] - mean[j]);
            }
        }
    }
    out.iter_mut().for_each(|s| *s /= total);
    out
}
