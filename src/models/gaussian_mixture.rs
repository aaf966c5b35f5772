//! `GaussianMixture`: rows that come from one of `K` normal distributions, which one unknown; by EM.

mod compared;
mod covariance;
mod criteria;
mod labels;
mod maximize;
mod moves;
mod parameters;
mod predict;
mod prior;
mod search;
mod select;
mod standard_errors;
mod start;

pub use covariance::Covariance;
pub use criteria::Criteria;
pub use labels::Labels;
pub use prior::Prior;
pub use search::Search;
pub use select::{Candidate, Selection, select};
pub use standard_errors::StandardErrors;
pub use start::Start;

use crate::bijector::Support;
use crate::data::{Source, View};
use crate::error::Error;
use crate::model::{Model, Subsample};
use crate::models::components::{Components, Rows};
use crate::space::Space;
use parameters::Parameters;

/// A mixture of `K` normal distributions in `d` dimensions:
///
/// ```text
/// p(x_n, z_n = k) = weight_k Normal(x_n; mean_k, covariance_k),   z_n in 0..K
/// ```
///
/// `z` are the labels of the rows and `theta` the weights, means and covariances. `(EStep, MStep)`
/// is EM (Dempster, Laird and Rubin 1977): after the E-step `q`, the [`Labels`], is the posterior of
/// the labels, and the ELBO is the log likelihood. Observation weights count a row as that many.
/// Nothing of size `n x K` is kept: [`Labels::responsibilities`] are made when asked for.
///
/// The data may stay in a file: [`RowFile`](crate::data::RowFile). Each E-step then reads it once,
/// and [`Minibatch`](crate::Minibatch) of `(NaturalStep, MStep)`, which is online EM (Cappe and
/// Moulines 2009), some rows a step; answers have the same bits as with the rows in memory.
///
/// Cells may be missing ([`Observations::with_missing`](crate::data::Observations::with_missing),
/// [`RowFile::with_missing`](crate::data::RowFile::with_missing)): a row then counts by the density of the cells it has, whatever the kind of covariance, and the
/// moments of the M-step take what is expected of the others (Ghahramani and Jordan 1994). That they
/// are missing must not depend on what they would have been. The bound after an M-step is that of
/// labels and missing cells together.
///
/// Passes over 2000 rows and more are shared among threads: those of the rayon pool in which the
/// caller is (`pool.install(|| fit(..))`), or else as many as there are cores. Rows are shared in fixed
/// chunks that are summed in order, so that the number of threads changes no bit.
///
/// Parameters come in the units of the data. The coordinates of `theta` are free of units: means
/// from the mean of the data in standard deviations, and the logarithms and entries of Cholesky
/// factors in the same units; data of any scale give the same steps.
///
/// [`GaussianMixture::fit`] climbs from several starts and keeps the best; [`select`] compares
/// numbers of components and kinds of covariance. The likelihood has no upper limit: a component may
/// collapse onto a few rows, which is an error that names them; a [`Prior`] rules it out.
///
/// ```
/// use elbo::data::{OLD_FAITHFUL, Observations};
/// use elbo::models::GaussianMixture;
/// use elbo::{EStep, MStep, Options, fit};
/// let eruptions: Vec<f64> = OLD_FAITHFUL.iter().flatten().copied().collect();
/// let data = Observations::new(eruptions, 2)?.named(["eruption", "waiting"])?;
/// let model = GaussianMixture::new(data, 2)?;
/// let q = model.labels();
/// let fit = fit(model, q, (EStep, MStep), Options::exact())?;
/// let elbo = fit.trace.last().and_then(|step| step.elbo).expect("EM knows its ELBO");
/// assert!((elbo + 1130.264).abs() < 1e-3);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GaussianMixture {
    data: Source,
    /// Those a minibatch shows.
    shown: Option<Vec<usize>>,
    covariance: Covariance,
    parameters: Parameters,
    components: Components,
    prior: Option<prior::Checked>,
}

impl GaussianMixture {
    /// A mixture of `components` normal distributions, each with a covariance of its own, that
    /// starts where k-means++ with seed 0 puts it.
    ///
    /// # Errors
    /// No components, more than there are different rows, a column that is constant or that others
    /// determine ([`GaussianMixture::of_kind`] takes the last), a row or a column of which nothing is
    /// known.
    pub fn new(data: impl Into<Source>, components: usize) -> Result<GaussianMixture, Error> {
        GaussianMixture::of_kind(data, components, Covariance::Full)
    }

    /// The same with covariances of a kind: diagonal and spherical ones allow for columns that
    /// determine each other, too.
    ///
    /// ```
    /// use elbo::data::Observations;
    /// use elbo::models::{Covariance, GaussianMixture};
    /// // the second column is twice the first
    /// let data = Observations::new(vec![0.0, 0.0, 1.0, 2.0, 7.0, 14.0, 9.0, 18.0], 2)?;
    /// assert!(GaussianMixture::new(data.clone(), 2).is_err());
    /// let model = GaussianMixture::of_kind(data, 2, Covariance::Diagonal)?;
    /// assert_eq!(model.fit(1)?.fit.model.len(), 2);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`GaussianMixture::new`]; columns that determine each other where covariances are full or
    /// tied.
    pub fn of_kind(
        data: impl Into<Source>,
        components: usize,
        covariance: Covariance,
    ) -> Result<GaussianMixture, Error> {
        let data = data.into();
        data.view().known()?;
        if components == 0 {
            return Err(Error::option("components", 0, "take at least one"));
        }
        let most = data.view().distinct(components)?;
        if most < components {
            let remedy = format!("the data have only {most} different rows; take at most {most}");
            return Err(Error::option("components", components, &remedy));
        }
        covariance.check(data.view())?;
        let parameters = Parameters::new(data.view(), components, covariance);
        let components = parameters.components();
        let prior = None;
        let model =
            GaussianMixture { data, shown: None, covariance, parameters, components, prior };
        model.started(Start::KMeans, 0)
    }

    /// The same with covariances of another kind, started anew.
    ///
    /// # Errors
    /// Columns that depend on each other, where covariances are full or tied.
    pub fn with_covariance(mut self, covariance: Covariance) -> Result<GaussianMixture, Error> {
        covariance.check(self.data())?;
        self.covariance = covariance;
        self.parameters = Parameters::new(self.data(), self.len(), covariance);
        self.components = self.parameters.components();
        self.started(Start::KMeans, 0)
    }

    /// The posterior of the labels, not yet known: the `q` to fit with.
    pub fn labels(&self) -> Labels {
        Labels::new(self.data.clone(), self.components.clone())
    }

    /// `K`: how many components there are.
    pub fn len(&self) -> usize {
        self.components.len()
    }

    /// Never: there is at least one component.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The data, in memory or in a file.
    pub fn data(&self) -> View<'_> {
        self.data.view()
    }

    /// The same, to be kept along.
    pub(in crate::models) fn source(&self) -> &Source {
        &self.data
    }

    /// The prior, if there is one.
    pub fn prior(&self) -> Option<&Prior> {
        self.prior.as_ref().map(|checked| &checked.prior)
    }

    /// How the covariances are restricted.
    pub fn covariance_kind(&self) -> Covariance {
        self.covariance
    }

    /// The weights of the components; they add up to 1.
    pub fn weights(&self) -> &[f64] {
        &self.parameters.weights
    }

    /// The mean of component `k`.
    ///
    /// # Panics
    /// If there is no such component.
    pub fn mean(&self, k: usize) -> &[f64] {
        self.components.mean(k)
    }

    /// The covariance of component `k`, `d x d`, row by row.
    ///
    /// # Panics
    /// If there is no such component.
    pub fn covariance(&self, k: usize) -> Vec<f64> {
        self.parameters.covariance(k)
    }

    fn rows(&self) -> Rows<'_> {
        Rows::new(&self.data, self.shown.as_deref())
    }

    /// Makes `theta` from the parameters, and the components.
    fn settle(&mut self) {
        self.parameters.settle();
        self.parameters.write_components(&mut self.components);
    }
}

impl Model for GaussianMixture {
    fn space(&self) -> Space {
        let mut space = Space::new();
        let kinds = u32::try_from(self.len()).unwrap_or(u32::MAX);
        space.block("label", self.data().len(), Support::Category(kinds));
        space
    }
    fn dim(&self) -> usize {
        self.data().len()
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        self.components.log_joint(self.data(), z) + self.log_prior()
    }
    fn n_theta(&self) -> usize {
        self.parameters.n_theta()
    }
    fn theta(&self, out: &mut [f64]) {
        out.copy_from_slice(self.parameters.theta());
    }
    fn set_theta(&mut self, theta: &[f64]) {
        self.parameters.set_theta(theta);
        self.parameters.write_components(&mut self.components);
    }
}

impl Subsample for GaussianMixture {
    fn n_data(&self) -> usize {
        self.data().len()
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
