//! `BayesianDiscreteMixture`: the mixture with priors on its parameters, by coordinate ascent and by
//! stochastic variational inference.

use std::sync::Arc;

use super::column::{Column, Kind, Levels};
use super::layout::Layout;
use super::prior::Checked;
use super::search::{failures, options};
use super::start::guess;
use super::tally::{Table, Tally};
use super::{DiscreteMixture, Labels, MixturePosterior, Prior, labels};
use crate::ascent::{EStep, Squarem};
use crate::bijector::Support;
use crate::data::Observations;
use crate::error::Error;
use crate::fit::{Fit, Options, fit};
use crate::model::{Conjugate, Model, Subsample};
use crate::models::choose::groups;
use crate::models::components::InMemory;
use crate::restarts::{Restarted, restarts};
use crate::space::Space;

/// How many starts.
const STARTS: usize = 16;
/// How many rows a signature looks at.
const LOOKED: usize = 200;

/// The mixture of a [`DiscreteMixture`] whose weights, probabilities and rates have a [`Prior`] and
/// are latent, as the labels are: `z = (labels, weights, values)`.
///
/// The best `q(labels) q(weights) q(values)`, a [`MixturePosterior`], is found by coordinate ascent
/// (Attias 1999; Bishop 2006, section 10.2): [`EStep`] on this model. First the labels are made
/// anew, then the rest; the ELBO is exact, every constant kept. With a small prior on the weights,
/// such as the default `1 / K`, components that are not needed empty themselves.
/// `Minibatch::new(rows, NaturalStep::decaying(..))` is stochastic variational inference (Hoffman,
/// Blei, Wang and Paisley 2013).
///
/// ```
/// use elbo::data::Observations;
/// use elbo::models::DiscreteMixture;
/// // two kinds of rows, and room for four
/// let mut cells = [[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]].concat().repeat(20);
/// cells.extend([1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
/// let model = DiscreteMixture::bernoulli(Observations::new(cells, 4)?, 4)?.bayesian();
/// let best = model.fit(1)?;
/// let needed = (0..4).filter(|&k| best.fit.q.expected_count(k) > 0.5).count();
/// assert_eq!(needed, 2);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BayesianDiscreteMixture {
    data: Arc<Observations>,
    layout: Layout,
    shown: Option<Vec<usize>>,
    base: f64,
    k: usize,
    prior: Checked,
}

impl DiscreteMixture {
    /// The same mixture with a posterior for its parameters too: prior `1 / K` on the weights, flat
    /// on probabilities, and on the rates of a column `Gamma(1, 1 / mean)`, with the mean of that
    /// column.
    pub fn bayesian(&self) -> BayesianDiscreteMixture {
        let weights = 1.0 / self.len() as f64;
        let mut numbers = vec![1.0; self.layout.features];
        for (place, mean) in self.layout.places.iter().zip(self.data.mean()) {
            if place.column == Column::Count && mean > 0.0 {
                numbers[place.feature + 1] = 1.0 / mean;
            }
        }
        BayesianDiscreteMixture {
            data: Arc::clone(&self.data),
            layout: self.layout.clone(),
            shown: None,
            base: self.base,
            k: self.len(),
            prior: Checked { weights, numbers },
        }
    }
}

impl BayesianDiscreteMixture {
    /// The same with another prior.
    ///
    /// # Errors
    /// A number that is not positive and finite.
    pub fn with_prior(mut self, prior: Prior) -> Result<BayesianDiscreteMixture, Error> {
        self.prior = prior.checked(&self.layout)?;
        Ok(self)
    }

    /// `K`: how many components there may be.
    pub fn len(&self) -> usize {
        self.k
    }

    /// Never: there is at least one component.
    pub fn is_empty(&self) -> bool {
        self.k == 0
    }

    /// The data.
    pub fn data(&self) -> &Observations {
        &self.data
    }

    /// What the columns hold.
    pub fn columns(&self) -> Vec<Column> {
        self.layout.places.iter().map(|p| p.column).collect()
    }

    /// A first `q`: the posterior for labels guessed as [`DiscreteMixture::started`] guesses them.
    pub fn start(&self, seed: u64) -> MixturePosterior {
        self.start_at(seed, 0, self.k)
    }

    /// A first `q` of the user's own: the posterior for these labels, one a row.
    ///
    /// # Errors
    /// Another number of labels than rows, or a label that is none.
    pub fn start_from(&self, labels: &[usize]) -> Result<MixturePosterior, Error> {
        Error::expect_len("the list of labels", labels.len(), "the data", self.data.len())?;
        if let Some(i) = labels.iter().position(|l| *l >= self.k) {
            let remedy = format!("a label is one of 0 to {}", self.k - 1);
            return Err(Error::option(&format!("labels[{i}]"), labels[i], &remedy));
        }
        let mut sums = Tally::default();
        sums.resize(self.k, self.layout.features);
        let mut own = vec![0.0; self.k];
        for (i, (row, &label)) in self.data.rows().zip(labels).enumerate() {
            own.fill(0.0);
            own[label] = self.data.weight(i);
            sums.add(&self.layout, row, &own);
        }
        Ok(self.posterior(&sums))
    }

    fn start_at(&self, seed: u64, index: u64, groups: usize) -> MixturePosterior {
        self.posterior(&guess(&self.data, &self.layout, (groups, self.k), seed, index))
    }

    /// The posterior for sums over labelled rows.
    fn posterior(&self, sums: &Tally) -> MixturePosterior {
        let table = Table::new(self.k, self.layout.features);
        let labels = Labels::new(Arc::clone(&self.data), self.layout.clone(), table);
        let mut q = MixturePosterior::new(labels);
        q.move_to(&self.prior, sums, 1.0);
        q
    }

    /// Coordinate ascent from sixteen starts, sped up, the best kept: `fit` with [`Squarem`] of
    /// [`EStep`] from each, by [`restarts`]. Half of the starts deal the rows to fewer components than
    /// there are: empty ones gather rows more easily than full ones lose them.
    ///
    /// # Errors
    /// None but for data too extreme.
    pub fn fit(
        &self,
        seed: u64,
    ) -> Result<Restarted<BayesianDiscreteMixture, MixturePosterior>, Error> {
        self.fit_with(STARTS, &options(seed))
    }

    /// The same from as many starts as wanted, each climb ending as the options say; their seed is
    /// that of the starts, too.
    ///
    /// # Errors
    /// As [`BayesianDiscreteMixture::fit`].
    pub fn fit_with(
        &self,
        starts: usize,
        options: &Options,
    ) -> Result<Restarted<BayesianDiscreteMixture, MixturePosterior>, Error> {
        let one = |start: usize| {
            let q = self.start_at(options.seed, start as u64, groups(start, self.k));
            fit(self.clone(), q, Squarem::new(EStep), options.clone())
        };
        let step = self.data.len().div_ceil(LOOKED);
        let signature = |fit: &Fit<BayesianDiscreteMixture, MixturePosterior>| {
            self.data.rows().step_by(step).map(|x| fit.q.log_predictive(x)).collect()
        };
        let mut best = restarts(starts, one, signature)?;
        failures(&mut best);
        Ok(best)
    }

    fn rows(&self) -> InMemory<'_> {
        InMemory::of(&self.data, self.shown.as_deref())
    }

    fn base(&self) -> f64 {
        let Some(shown) = &self.shown else { return self.base };
        let (data, layout) = (&self.data, &self.layout);
        let sum: f64 = shown.iter().map(|&i| data.weight(i) * layout.base(data.row(i))).sum();
        sum * data.total_weight() / self.rows().weight()
    }
}

impl Model for BayesianDiscreteMixture {
    fn space(&self) -> Space {
        let mut space = Space::new();
        let kinds = u32::try_from(self.k).unwrap_or(u32::MAX);
        space.block("label", self.data.len(), Support::Category(kinds));
        if self.k > 1 {
            space.block("weight", self.k, Support::Simplex);
        }
        for k in 0..self.k {
            for ((kind, _), name) in self.layout.kinds().zip(self.data.names()) {
                let name = format!("{}({name}, {k})", kind.name());
                match kind.values() {
                    1 => drop(space.one(&name, kind.support())),
                    n => drop(space.block(&name, n, kind.support())),
                }
            }
        }
        space
    }
    fn dim(&self) -> usize {
        self.data.len() + usize::from(self.k > 1) * self.k + self.k * self.layout.values
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let (of_rows, parameters) = z.split_at(self.data.len());
        let one = [1.0];
        let (weights, values) = match self.k {
            1 => (&one[..], parameters),
            k => parameters.split_at(k),
        };
        let mut table = Table::new(self.k, self.layout.features);
        let mut sum = 0.0;
        let mut coefficients = vec![0.0; self.layout.features];
        for (k, values) in values.chunks_exact(self.layout.values).enumerate() {
            for (kind, place) in self.layout.kinds() {
                let values = &values[place.values(&*kind)];
                if !kind.fits(values) {
                    return f64::NEG_INFINITY;
                }
                let features = place.features(&*kind);
                kind.coefficients(values, &mut coefficients[features.clone()]);
                let prior = &self.prior.numbers[features.clone()];
                sum += kind.log_density(prior, &coefficients[features]);
            }
            coefficients.iter().enumerate().for_each(|(f, c)| table.set(k, f, *c));
        }
        let kind = Levels(self.k);
        if !kind.fits(weights) {
            return f64::NEG_INFINITY;
        }
        kind.coefficients(weights, &mut table.constant);
        sum += kind.log_density(&vec![self.prior.weights; self.k], &table.constant);
        sum + self.base + labels::log_joint(&self.data, &self.layout, &table, of_rows)
    }
}

impl Subsample for BayesianDiscreteMixture {
    fn n_data(&self) -> usize {
        self.data.len()
    }
    fn subsample(&mut self, rows: &[usize]) {
        let shown = self.shown.get_or_insert_default();
        shown.clear();
        shown.extend_from_slice(rows);
    }
    fn whole(&mut self) {
        self.shown = None;
    }
}

impl Conjugate<MixturePosterior> for BayesianDiscreteMixture {
    fn natural_step(&self, q: &mut MixturePosterior, rate: f64) -> Result<f64, Error> {
        q.label(&self.data, self.rows());
        q.update(&self.prior, rate);
        Ok(q.elbo(&self.prior) + self.base())
    }
}
