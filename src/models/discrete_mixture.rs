//! `DiscreteMixture`: rows of binary cells, levels or counts that come from one of `K` components,
//! which one unknown; by EM and by variational Bayes.

mod bayesian;
mod column;
pub(in crate::models) mod compared;
mod labels;
mod layout;
mod maximize;
mod parameters;
mod posterior;
mod predict;
mod predictive;
mod prior;
mod search;
mod start;
mod tally;

use std::sync::Arc;

pub use bayesian::BayesianDiscreteMixture;
pub use column::Column;
pub(crate) use column::{Kind, Levels};
pub use labels::Labels;
pub(crate) use layout::Layout;
pub use posterior::MixturePosterior;
pub use prior::Prior;

use crate::bijector::Support;
use crate::data::{Observations, View};
use crate::error::Error;
use crate::model::{Model, Subsample};
use crate::models::components::InMemory;
use crate::space::Space;
use parameters::Parameters;
use tally::Table;

/// A mixture of `K` components in which the columns are independent:
///
/// ```text
/// p(x_n, z_n = k) = weight_k prod_j p(x_nj; value_kj),   z_n in 0..K
/// ```
///
/// A column is binary (a mixture of Bernoullis), one of several levels (of categoricals: latent class
/// analysis, Lazarsfeld and Henry 1968), or a count (of Poissons); a data set may have all three. A
/// missing cell says nothing of its row: its factor is 1.
///
/// `z` are the labels of the rows and `theta` the weights and the values, as logits, logarithms of
/// ratios to the last level, and logarithms of rates. `(EStep, MStep)` is EM (Dempster, Laird and
/// Rubin 1977): after the E-step `q`, the [`Labels`], is the posterior of the labels, and the ELBO is
/// the log likelihood. Observation weights count a row as that many. Nothing of size `n x K` is kept.
///
/// Probabilities and rates stay at 1e-10 or above: where the likelihood is highest at 0, the best of
/// those allowed is at that limit. A [`Prior`] keeps them further inside.
/// [`DiscreteMixture::fit`] climbs from several starts and keeps the best, and
/// [`DiscreteMixture::bayesian`] is the same model with a posterior for its parameters too.
///
/// ```
/// use elbo::data::Observations;
/// use elbo::models::DiscreteMixture;
/// use elbo::{EStep, MStep, Options, fit};
/// // who bought which of three things
/// let cells = vec![1., 1., 0., 1., 1., 0., 1., 1., 0., 0., 0., 1., 0., 0., 1., 0., 1., 1.];
/// let model = DiscreteMixture::bernoulli(Observations::new(cells, 3)?, 2)?;
/// let q = model.labels();
/// let fit = fit(model, q, (EStep, MStep), Options::exact())?;
/// let labels = fit.model.predict(fit.model.data())?;
/// assert!(labels[0] == labels[2] && labels[3] == labels[5] && labels[0] != labels[3]);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DiscreteMixture {
    data: Arc<Observations>,
    layout: Layout,
    /// Those a minibatch shows.
    shown: Option<Vec<usize>>,
    /// `sum_n w_n h(x_n)`, what the log probabilities of the rows have in every component.
    base: f64,
    parameters: Parameters,
    table: Table,
    prior: Option<prior::Checked>,
}

impl DiscreteMixture {
    /// A mixture of `components` components over columns of these kinds, at start 0.
    ///
    /// # Errors
    /// No components, more than there are different rows, a cell that is not of its column's kind
    /// (named by row and column), a column of which nothing is known.
    pub fn new(
        data: impl Into<Arc<Observations>>,
        components: usize,
        columns: &[Column],
    ) -> Result<DiscreteMixture, Error> {
        let data = data.into();
        if let Some((j, n)) = columns.iter().enumerate().find_map(|(j, c)| match c {
            Column::Levels(n) if *n < 2 => Some((j, *n)),
            _ => None,
        }) {
            let option = format!("levels of column {j}");
            return Err(Error::option(&option, n, "a column has at least 2 levels"));
        }
        let layout = Layout::new(columns);
        layout.check(&data)?;
        View::from(&data).known_columns()?;
        if components == 0 {
            return Err(Error::option("components", 0, "take at least one"));
        }
        if !data.has_distinct(components) {
            let most = (1..components).rev().find(|&k| data.has_distinct(k)).unwrap_or(1);
            let remedy = format!("the data have only {most} different rows; take at most {most}");
            return Err(Error::option("components", components, &remedy));
        }
        let base = data.rows().enumerate().map(|(i, x)| data.weight(i) * layout.base(x)).sum();
        let table = Table::new(components, layout.features);
        let parameters = Parameters::new(components, &layout);
        let (shown, prior) = (None, None);
        let model = DiscreteMixture { data, layout, shown, base, parameters, table, prior };
        Ok(model.started(0))
    }

    /// A mixture of Bernoullis: every cell is 0 or 1.
    ///
    /// # Errors
    /// As [`DiscreteMixture::new`].
    pub fn bernoulli(
        data: impl Into<Arc<Observations>>,
        components: usize,
    ) -> Result<DiscreteMixture, Error> {
        let data = data.into();
        let columns = vec![Column::Binary; data.dim()];
        DiscreteMixture::new(data, components, &columns)
    }

    /// A mixture of Poissons: every cell is a count.
    ///
    /// ```
    /// use elbo::data::Observations;
    /// use elbo::models::DiscreteMixture;
    /// let goals = Observations::new(vec![0.0, 1.0, 0.0, 1.0, 9.0, 11.0, 10.0], 1)?;
    /// let best = DiscreteMixture::poisson(goals, 2)?.fit(1)?;
    /// let mut rates: Vec<f64> = (0..2).map(|k| best.fit.model.values(k, 0)[0]).collect();
    /// rates.sort_by(f64::total_cmp);
    /// assert!((rates[0] - 0.5).abs() < 0.01 && (rates[1] - 10.0).abs() < 0.01);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`DiscreteMixture::new`].
    pub fn poisson(
        data: impl Into<Arc<Observations>>,
        components: usize,
    ) -> Result<DiscreteMixture, Error> {
        let data = data.into();
        let columns = vec![Column::Count; data.dim()];
        DiscreteMixture::new(data, components, &columns)
    }

    /// Latent class analysis: every cell is a level, one of `0, 1, .., levels - 1`, as many as the
    /// data show in its column.
    ///
    /// # Errors
    /// As [`DiscreteMixture::new`]; a level that is as large as the number of rows and above 1000,
    /// which is a number rather than a level.
    pub fn categorical(
        data: impl Into<Arc<Observations>>,
        components: usize,
    ) -> Result<DiscreteMixture, Error> {
        let data = data.into();
        let most = data.len().max(1000) as f64;
        let level = |_: usize, x: f64| x >= 0.0 && x < most && x.fract() == 0.0;
        data.expect_cells(level, |_| "a level, one of the numbers 0, 1, 2, ..".to_string())?;
        let mut top = vec![1.0f64; data.dim()];
        for row in data.rows() {
            top.iter_mut().zip(row).for_each(|(top, x)| *top = top.max(*x));
        }
        let columns: Vec<Column> = top.iter().map(|t| Column::Levels(*t as usize + 1)).collect();
        DiscreteMixture::new(data, components, &columns)
    }

    /// The posterior of the labels, not yet known: the `q` to fit with.
    pub fn labels(&self) -> Labels {
        Labels::new(Arc::clone(&self.data), self.layout.clone(), self.table.clone())
    }

    /// `K`: how many components there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Never: there is at least one component.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The data.
    pub fn data(&self) -> &Observations {
        &self.data
    }

    /// What the columns hold.
    pub fn columns(&self) -> Vec<Column> {
        self.layout.places.iter().map(|p| p.column).collect()
    }

    /// The weights of the components; they add up to 1.
    pub fn weights(&self) -> &[f64] {
        &self.parameters.weights
    }

    /// What column `j` is like in component `k`: the probability of a 1, those of the levels, or the
    /// rate.
    ///
    /// # Panics
    /// If there is no such component or column.
    pub fn values(&self, k: usize, j: usize) -> &[f64] {
        let place = self.layout.places[j];
        let of_component = &self.parameters.values[k * self.layout.values..];
        &of_component[place.values(&*place.column.kind())]
    }

    /// The same mixture at parameters of the user's own: `K` weights, and for each component what
    /// [`DiscreteMixture::values`] gives, column after column. Weights are made to add up to 1.
    ///
    /// ```
    /// use elbo::data::Observations;
    /// use elbo::models::DiscreteMixture;
    /// let data = Observations::new(vec![1.0, 0.0, 0.0, 1.0], 2)?;
    /// let model = DiscreteMixture::bernoulli(data, 2)?;
    /// let model = model.with_parameters(&[1.0, 1.0], &[0.9, 0.2, 0.3, 0.6])?;
    /// assert!((model.values(1, 0)[0] - 0.3).abs() < 1e-15);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// Lengths that do not fit, weights or rates that are not positive, probabilities that are not
    /// between 0 and 1 or do not add up to 1.
    pub fn with_parameters(
        mut self,
        weights: &[f64],
        values: &[f64],
    ) -> Result<DiscreteMixture, Error> {
        let k = self.len();
        Error::expect_len("the weights", weights.len(), "the list of components", k)?;
        Error::expect_len("the values", values.len(), "all columns", k * self.layout.values)?;
        if let Some(k) = weights.iter().position(|w| !(*w > 0.0 && w.is_finite())) {
            let remedy = "a weight must be positive and finite";
            return Err(Error::option(&format!("weights[{k}]"), weights[k], remedy));
        }
        for (k, values) in values.chunks_exact(self.layout.values).enumerate() {
            for (j, (kind, place)) in self.layout.kinds().enumerate() {
                let these = &values[place.values(&*kind)];
                if !kind.fits(these) {
                    let option = format!("{} of column {j} in component {k}", kind.name());
                    let remedy = "probabilities lie between 0 and 1 and add up to 1; rates are \
                                  positive and finite";
                    return Err(Error::option(&option, format!("{these:?}"), remedy));
                }
            }
        }
        self.parameters.set(&self.layout, weights, values);
        self.settle();
        Ok(self)
    }

    fn rows(&self) -> InMemory<'_> {
        InMemory::of(&self.data, self.shown.as_deref())
    }

    /// Makes the table from `theta`.
    fn settle(&mut self) {
        self.parameters.write(&self.layout, &mut self.table);
    }

    /// `sum w h(x)` of the rows shown, scaled up to all.
    fn base(&self) -> f64 {
        let Some(shown) = &self.shown else { return self.base };
        let (data, layout) = (&self.data, &self.layout);
        let sum: f64 = shown.iter().map(|&i| data.weight(i) * layout.base(data.row(i))).sum();
        sum * data.total_weight() / self.rows().weight()
    }
}

impl Model for DiscreteMixture {
    fn space(&self) -> Space {
        let mut space = Space::new();
        let kinds = u32::try_from(self.len()).unwrap_or(u32::MAX);
        space.block("label", self.data.len(), Support::Category(kinds));
        space
    }
    fn dim(&self) -> usize {
        self.data.len()
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        labels::log_joint(&self.data, &self.layout, &self.table, z) + self.base + self.log_prior()
    }
    fn n_theta(&self) -> usize {
        self.parameters.theta.len()
    }
    fn theta(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.parameters.theta);
    }
    fn set_theta(&mut self, theta: &[f64]) {
        self.parameters.theta.copy_from_slice(theta);
        self.settle();
    }
}

impl Subsample for DiscreteMixture {
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
