//! `BayesianMixture`: a mixture of normal distributions whose weights, means and covariances are
//! latent too; by coordinate ascent and by stochastic variational inference.

mod belief;
mod compared;
mod layout;
mod moves;
mod posterior;
mod predict;
mod prior;
mod search;
mod weights;
mod wishart;

pub use posterior::MixturePosterior;
pub use weights::Weights;
pub(in crate::models) use wishart::Wishart;

use crate::bijector::Support;
use crate::data::{Source, View};
use crate::error::Error;
use crate::model::{Model, Subsample};
use crate::models::components::{Components, Rows};
use crate::models::gaussian_mixture::{Prior, Start};
use crate::models::{Covariance, GaussianMixture};
use crate::space::Space;
use belief::Belief;
use layout::Layout;

/// A mixture of `K` normal distributions in `d` dimensions, all of it latent:
///
/// ```text
/// p(x_n, z_n = k | ..) = weight_k Normal(x_n; mean_k, covariance_k)
/// weights ~ Dirichlet(concentration, ..), or a Dirichlet process cut off after K (Weights)
/// mean_k | covariance_k ~ Normal(mean, covariance_k / shrinkage)
/// precision_k ~ Wishart(degrees, scale^-1)                              full, tied
/// precision ~ Gamma(degrees / 2, rate scale / 2)                        diagonal, spherical
/// ```
///
/// The numbers are those of a [`Prior`]. `q` is a [`MixturePosterior`]; [`EStep`](crate::EStep) is
/// coordinate ascent (Attias 2000; Bishop 2006, section 10.2; Blei and Jordan 2006), and
/// [`NaturalStep`](crate::NaturalStep) in a [`Minibatch`](crate::Minibatch) stochastic variational
/// inference (Hoffman, Blei, Wang and Paisley 2013). The ELBO has all its constants: it is a bound on
/// `ln p(x)`, so that values for other `K`, covariances and priors compare. A single component has no
/// gap.
///
/// Cells may be missing ([`Observations::with_missing`](crate::data::Observations::with_missing)):
/// they are latent too, and the best `q` of those of a row, given its label, is normal, about what the
/// others let expect. That they are missing must not depend on what they would have been. As `q`
/// takes them to be independent of the parameters, its intervals are somewhat narrower than what the
/// cells that are there say, the more of a column is missing.
///
/// `z` are the labels of the rows, the weights (where there are several), the means, and the factors
/// of the covariances: standard deviations, or the lower triangles of Cholesky factors. Observation
/// weights count a row as that many. Nothing of size `n x K` is kept, and nothing depends on the
/// units of the data.
///
/// ```
/// use elbo::data::{OLD_FAITHFUL, Observations};
/// use elbo::models::BayesianMixture;
/// use elbo::{EStep, Options, fit};
/// let eruptions: Vec<f64> = OLD_FAITHFUL.iter().flatten().copied().collect();
/// let data = Observations::new(eruptions, 2)?.named(["eruption", "waiting"])?;
/// let model = BayesianMixture::new(data, 2)?;
/// let q = model.posterior();
/// let fit = fit(model, q, EStep, Options::exact())?;
/// let long = fit.q.occupied()[0];
/// let [low, high] = fit.q.mean_interval(long, 0, 0.95);
/// assert!(low < 4.29 && 4.29 < high && high - low < 0.2); // minutes
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BayesianMixture {
    /// Data, kind of covariance, and where to start.
    mixture: GaussianMixture,
    /// Those a minibatch shows.
    shown: Option<Vec<usize>>,
    prior: Prior,
    belief: Belief,
}

impl BayesianMixture {
    /// A mixture of `components` normal distributions, each with a covariance of its own, under the
    /// prior [`Prior::one_row`]; it starts where k-means++ with seed 0 puts it.
    ///
    /// # Errors
    /// No components, more than there are different rows, a column that is constant or that others
    /// determine, a row or a column of which nothing is known.
    pub fn new(data: impl Into<Source>, components: usize) -> Result<BayesianMixture, Error> {
        BayesianMixture::of(GaussianMixture::new(data, components)?)
    }

    /// The same model with its parameters latent: data, components, covariances and, if it has one,
    /// the prior are those of `mixture`, and the fit starts from its parameters.
    ///
    /// ```
    /// use elbo::data::{OLD_FAITHFUL, Observations};
    /// use elbo::models::{BayesianMixture, GaussianMixture};
    /// use elbo::{EStep, Options, fit};
    /// let data = Observations::new(OLD_FAITHFUL.iter().flatten().copied().collect(), 2)?;
    /// let em = GaussianMixture::new(data, 2)?.fit(1)?.fit.model;
    /// let model = BayesianMixture::of(em.clone())?;
    /// let q = model.posterior();
    /// let vb = fit(model, q, EStep, Options::exact())?;
    /// // components keep their order, and each point of EM's lies in its interval
    /// for k in 0..2 {
    ///     let [low, high] = vb.q.mean_interval(k, 0, 0.95);
    ///     assert!(low < em.mean(k)[0] && em.mean(k)[0] < high);
    /// }
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// A prior of the mixture's that cannot be one here.
    pub fn of(mixture: GaussianMixture) -> Result<BayesianMixture, Error> {
        let prior = mixture.prior().cloned();
        let prior = prior.unwrap_or_else(|| Prior::one_row(mixture.data(), mixture.len()));
        BayesianMixture::build(mixture, prior, Weights::Dirichlet)
    }

    fn build(
        mixture: GaussianMixture,
        prior: Prior,
        weights: Weights,
    ) -> Result<BayesianMixture, Error> {
        let (covariance, dim) = (mixture.covariance_kind(), mixture.data().dim());
        let belief = prior.belief(mixture.len(), Layout { covariance, dim }, weights)?;
        Ok(BayesianMixture { mixture, shown: None, prior, belief })
    }

    /// The same with covariances of another kind, started anew.
    ///
    /// # Errors
    /// Columns that depend on each other, where covariances are full or tied.
    pub fn with_covariance(self, covariance: Covariance) -> Result<BayesianMixture, Error> {
        let mixture = self.mixture.with_covariance(covariance)?;
        BayesianMixture::build(mixture, self.prior, self.belief.weights)
    }

    /// The same with another distribution of the weights.
    ///
    /// ```
    /// use elbo::data::{OLD_FAITHFUL, Observations};
    /// use elbo::models::BayesianMixture;
    /// use elbo::models::bayesian_mixture::Weights;
    /// let data = Observations::new(OLD_FAITHFUL.iter().flatten().copied().collect(), 2)?;
    /// let model = BayesianMixture::new(data, 8)?.with_weights(Weights::StickBreaking)?;
    /// assert_eq!(model.fit(1)?.fit.q.occupied().len(), 2);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// None that a mixture that could be made has not met.
    pub fn with_weights(self, weights: Weights) -> Result<BayesianMixture, Error> {
        BayesianMixture::build(self.mixture, self.prior, weights)
    }

    /// The same under another prior.
    ///
    /// ```
    /// use elbo::data::{OLD_FAITHFUL, Observations};
    /// use elbo::models::BayesianMixture;
    /// use elbo::models::gaussian_mixture::Prior;
    /// let data = Observations::new(OLD_FAITHFUL.iter().flatten().copied().collect(), 2)?;
    /// let prior = Prior { concentration: 0.01, ..Prior::calibrated(&data, 6) };
    /// let model = BayesianMixture::new(data, 6)?.with_prior(prior)?;
    /// assert_eq!(model.prior().degrees, 2.0);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    ///
    /// # Errors
    /// Numbers of the wrong length or out of range, a scale that is no covariance.
    pub fn with_prior(self, prior: Prior) -> Result<BayesianMixture, Error> {
        BayesianMixture::build(self.mixture, prior, self.belief.weights)
    }

    /// The same at another start: a function of the data, the kind and the seed alone.
    ///
    /// # Errors
    /// None that a mixture that could be made has not met.
    pub fn started(self, start: Start, seed: u64) -> Result<BayesianMixture, Error> {
        Ok(BayesianMixture { mixture: self.mixture.started(start, seed)?, ..self })
    }

    /// The `q` to fit with: what would be believed after rows with exactly the weights, means and
    /// covariances of the start.
    pub fn posterior(&self) -> MixturePosterior {
        let mut belief = self.belief.clone();
        let n = self.data().total_weight();
        let counts: Vec<f64> = self.mixture.weights().iter().map(|w| n * w).collect();
        belief.weights.add_counts(1.0, |k| counts[k], &mut belief.concentration);
        for (k, &count) in counts.iter().enumerate() {
            belief.add_rows(k, count, self.mixture.mean(k), &self.mixture.covariance(k));
        }
        belief.factorize();
        MixturePosterior::new(self.mixture.source(), belief, self.prior.shrinkage)
    }

    /// `K`: how many components there are.
    pub fn len(&self) -> usize {
        self.mixture.len()
    }

    /// Never: there is at least one component.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The data.
    pub fn data(&self) -> View<'_> {
        self.mixture.data()
    }

    /// How the covariances are restricted.
    pub fn covariance_kind(&self) -> Covariance {
        self.mixture.covariance_kind()
    }

    /// The prior.
    pub fn prior(&self) -> &Prior {
        &self.prior
    }

    fn rows(&self) -> Rows<'_> {
        Rows::new(self.data(), self.shown.as_deref())
    }
}

impl Model for BayesianMixture {
    fn space(&self) -> Space {
        let mut space = Space::new();
        let kinds = u32::try_from(self.len()).unwrap_or(u32::MAX);
        space.block("label", self.data().len(), Support::Category(kinds));
        if self.len() > 1 {
            space.block("weight", self.len(), Support::Simplex);
        }
        space.reals("mean", self.belief.mean.len());
        self.belief.layout.declare(self.belief.degrees.len(), &mut space);
        space
    }
    fn dim(&self) -> usize {
        self.data().len() + self.belief.dim()
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let (data, layout) = (self.data(), self.belief.layout);
        let (labels, point) = z.split_at(data.len());
        let prior = self.belief.log_density(point);
        if prior == f64::NEG_INFINITY {
            return prior;
        }
        let (weights, means, factors) = self.belief.split(point);
        let mut components = Components::new(self.len(), layout.dim, layout.shape());
        components.mean.copy_from_slice(means);
        let (len, each) = (layout.len(), layout.shape().len(layout.dim));
        for k in 0..self.len() {
            let g = layout.group(k);
            let factor = &factors[g * len..(g + 1) * len];
            layout.write_precision(factor, &mut components.factor[k * each..(k + 1) * each]);
            let log_weight = weights.get(k).map_or(0.0, |w| w.ln());
            let normalizer = layout.dim as f64 * crate::special::LN_SQRT_2PI;
            components.constant[k] = log_weight - layout.log_det(factor) - normalizer;
        }
        components.log_joint(data, labels) + prior
    }
}

impl Subsample for BayesianMixture {
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
