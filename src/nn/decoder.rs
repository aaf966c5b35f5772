//! `Decoder`: a model whose likelihood is a network.

mod pass;

use std::fmt;
use std::sync::Arc;

use rand::Rng;

use super::head::Head;
use super::likelihood::Likelihood;
use super::panel::{Rows, Spare, from_panel, to_panel};
use super::prior::{Learned, Prior};
use super::{Encoder, Network, room};
use crate::bijector::Support;
use crate::data::Images;
use crate::error::Error;
use crate::family::Reparameterized;
use crate::model::{Differentiable, KnownPrior, LocalModel, Model, Shares, Subsample, Weighed};
use crate::scalar::Scalar;
use crate::space::Space;
use pass::{Scratch, Want};

/// `log p_theta(x, z) = sum_i [ log p(x_i | y = f_theta(z_i)) + log p(z_i) ]`, one `z_i` of
/// `latent` numbers for each image (Kingma and Welling 2014; Rezende, Mohamed and Wierstra 2014),
/// from the standard normal unless another [`Prior`] is given.
///
/// `theta` is made of the weights of the network, after which come the raw number of a learned
/// variance ([`Noise::Learned`](super::Noise::Learned)) and what the prior learns. `z` is `latent x rows`, image after image;
/// with some rows shown all of the log joint is scaled by `n_data / rows`.
///
/// Inside a rayon pool the images of a batch are shared among its threads, 64 at a time, with the
/// same bits for any number of threads.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use elbo::{Model, data::digits, nn::{Activation, Decoder, Likelihood, Mlp}};
/// let images = Arc::new(digits().0);
/// let network = Mlp::<f32>::new(&[2, 32, 64], Activation::Tanh, 1)?;
/// let decoder = Decoder::new(network, images, Likelihood::Bernoulli)?;
/// assert_eq!((decoder.latent(), decoder.dim()), (2, 2 * 1797));
/// # Ok::<(), elbo::Error>(())
/// ```
pub struct Decoder<N: Network<T>, T: Scalar = f32> {
    network: N,
    images: Arc<Images>,
    likelihood: Likelihood,
    /// Of a learned variance.
    raw: Option<T>,
    prior: Learned<T>,
    rows: Rows,
    spare: Spare<Scratch<T, N::Tape>>,
}

impl<N: Network<T>, T: Scalar> fmt::Debug for Decoder<N, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoder({}, {} images)", self.network.describe(), self.images.len())
    }
}

impl<N: Network<T> + Clone, T: Scalar> Clone for Decoder<N, T> {
    fn clone(&self) -> Self {
        Decoder {
            network: self.network.clone(),
            images: self.images.clone(),
            likelihood: self.likelihood,
            raw: self.raw,
            prior: self.prior.clone(),
            rows: self.rows.clone(),
            spare: Spare::default(),
        }
    }
}

impl<N: Network<T>, T: Scalar> Decoder<N, T> {
    /// The network that makes an image of `z`, the images, and how their pixels spread.
    ///
    /// # Errors
    /// A network whose outputs are not those the likelihood takes for an image, a network without
    /// inputs, and what [`Likelihood::check`] refuses.
    pub fn new(
        network: N,
        images: Arc<Images>,
        likelihood: Likelihood,
    ) -> Result<Decoder<N, T>, Error> {
        likelihood.check(&images)?;
        if network.inputs() == 0 {
            let remedy = "the decoder needs at least one latent number an image";
            return Err(Error::option("the latent dimension", 0, remedy));
        }
        let takes = format!(
            "what {likelihood:?} takes for {} x {} pixels",
            images.height(),
            images.width()
        );
        let what = format!("the output of the decoder ({})", network.describe());
        Error::expect_len(&what, network.outputs(), &takes, likelihood.outputs(&images))?;
        let (rows, raw) = (Rows::all(&images), likelihood.raw());
        let prior = Learned::new(Prior::StandardNormal, network.inputs());
        Ok(Decoder { network, images, likelihood, raw, prior, rows, spare: Spare::default() })
    }

    /// The same with another prior.
    ///
    /// # Errors
    /// A mixture of no components.
    pub fn with_prior(self, prior: Prior) -> Result<Decoder<N, T>, Error> {
        prior.check()?;
        let prior = Learned::new(prior, self.latent());
        Ok(Decoder { prior, ..self })
    }

    /// Where `z` is expected.
    pub fn prior(&self) -> Prior {
        self.prior.kind
    }

    /// `log p(z)` of one datum, at what the prior has learned.
    ///
    /// # Errors
    /// Another number of latent numbers.
    pub fn log_prior(&self, z: &[T]) -> Result<f64, Error> {
        Error::expect_len("z", z.len(), "the latent numbers of the decoder", self.latent())?;
        Ok(self.prior.log_density(z))
    }

    /// Fills `z` (`latent` numbers a point) with draws from the prior.
    pub fn sample_prior(&self, rng: &mut dyn Rng, z: &mut [T]) {
        self.prior.kind.sample(&self.prior.params, self.latent(), rng, z);
    }

    /// How many latent numbers an image has.
    pub fn latent(&self) -> usize {
        self.network.inputs()
    }

    /// The network.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// The images.
    pub fn images(&self) -> &Arc<Images> {
        &self.images
    }

    /// How pixels spread.
    pub fn likelihood(&self) -> Likelihood {
        self.likelihood
    }

    /// The variance of a Gaussian likelihood that is one number.
    pub fn variance(&self) -> Option<f64> {
        match (self.likelihood, self.raw) {
            (Likelihood::Gaussian(super::Noise::Fixed(v)), _) => Some(v),
            (_, Some(raw)) => Some(super::likelihood::bounded(raw).0.to_f64().exp()),
            _ => None,
        }
    }

    /// The same weights with other images.
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub fn with_images(&self, images: Arc<Images>) -> Result<Decoder<N, T>, Error>
    where
        N: Clone,
    {
        let mut other = Decoder::new(self.network.clone(), images, self.likelihood)?;
        (other.raw, other.prior) = (self.raw, self.prior.clone());
        Ok(other)
    }

    /// What the pixels are on average for each latent point (`latent` numbers each): `size` numbers
    /// an image.
    ///
    /// # Errors
    /// A number of latent numbers that is not that of whole points.
    pub fn mean(&self, z: &[T]) -> Result<Vec<T>, Error> {
        let (k, size) = (self.latent(), self.images.size());
        let whole = format!("{} latent points of {k} numbers", z.len() / k);
        Error::expect_len("z", z.len(), &whole, z.len() / k * k)?;
        let (outputs, levels) = (self.network.outputs(), self.images.levels().unwrap_or(0));
        let mut means = vec![T::default(); z.len() / k * size];
        let (mut panel, mut y, mut said) = (Vec::new(), Vec::new(), Vec::new());
        let mut tape = N::Tape::default();
        let most = self.network.panel();
        for (z, means) in z.chunks(most * k).zip(means.chunks_mut(most * size)) {
            let columns = z.len() / k;
            to_panel(z, k, room(&mut panel, z.len()));
            self.network.forward(&panel, columns, room(&mut y, columns * outputs), &mut tape);
            from_panel(&y, outputs, room(&mut said, columns * outputs));
            for (said, mean) in said.chunks_exact(outputs).zip(means.chunks_exact_mut(size)) {
                self.likelihood.mean(said, levels, mean);
            }
        }
        Ok(means)
    }
}

impl<N: Network<T>, T: Scalar> Decoder<N, T> {
    /// Whether `theta` is the weights of the network alone.
    fn is_network(&self) -> bool {
        self.raw.is_none() && self.prior.params.is_empty()
    }

    /// The prior with what it has learned.
    pub(super) fn learned_prior(&self) -> &Learned<T> {
        &self.prior
    }
}

impl<N: Network<T>, T: Scalar> Model<T> for Decoder<N, T> {
    fn space(&self) -> Space {
        let mut space = Space::new();
        match self.prior.kind.support() {
            Support::Unit => space.units("z", self.dim()),
            _ => space.reals("z", self.dim()),
        };
        space
    }
    fn dim(&self) -> usize {
        self.latent() * self.shown()
    }
    fn log_joint(&self, z: &[T]) -> f64 {
        let mut out = [0.0];
        self.log_joint_batch(z, &mut out);
        out[0]
    }
    fn log_joint_batch(&self, z: &[T], out: &mut [f64]) {
        let scale = self.rows.scale(&self.images);
        let want = Want { values: true, in_z: false, prior: true };
        let draws = out.len();
        out.fill(0.0);
        self.each_round(
            self.batch(z, draws),
            |_| None,
            want,
            &mut [],
            |panel, _| {
                out[panel.draw] += scale * panel.values.iter().sum::<f64>();
            },
        );
    }

    fn architecture(&self) -> String {
        let words = format!("{}, {:?}", self.network.describe(), self.likelihood);
        match self.prior.kind {
            Prior::StandardNormal => words,
            Prior::Mixture { components, .. } => format!("{words}, a mixture of {components}"),
            other => format!("{words}, {other:?}"),
        }
    }
    fn n_theta(&self) -> usize {
        self.network.n_params() + usize::from(self.raw.is_some()) + self.prior.params.len()
    }
    fn theta(&self, out: &mut [T]) {
        let (weights, rest) = out.split_at_mut(self.network.n_params());
        self.network.params(weights);
        let (own, learned) = rest.split_at_mut(usize::from(self.raw.is_some()));
        own.iter_mut().zip(self.raw).for_each(|(out, raw)| *out = raw);
        learned.copy_from_slice(&self.prior.params);
    }
    fn set_theta(&mut self, theta: &[T]) {
        let (weights, rest) = theta.split_at(self.network.n_params());
        let (own, learned) = rest.split_at(usize::from(self.raw.is_some()));
        self.network.set_params(weights);
        self.raw = own.first().copied();
        self.prior.set(learned);
    }
    fn lent_theta(&self) -> Option<&[T]> {
        if self.is_network() { self.network.lent_params() } else { None }
    }
    fn swap_theta(&mut self, theta: &mut Vec<T>) {
        if self.is_network() {
            self.network.swap_params(theta);
        } else {
            self.set_theta(theta);
        }
    }
    fn add_theta_grad(&self, z: &[T], weights: &[T], grad: &mut [T]) {
        let scale = T::from_f64(self.rows.scale(&self.images));
        let want = Want { values: false, in_z: false, prior: true };
        let weight = |s: usize| Some(scale * weights[s]);
        self.each_round(self.batch(z, weights.len()), weight, want, grad, |_, _| {});
    }
}

impl<N: Network<T>, T: Scalar> Differentiable<T> for Decoder<N, T> {
    fn log_joint_grad(&self, z: &[T], grad: &mut [T]) -> f64 {
        let mut out = [0.0];
        self.log_joint_grad_batch(z, &mut out, grad, &mut []);
        out[0]
    }
    fn log_joint_grad_batch(
        &self,
        z: &[T],
        out: &mut [f64],
        grad_z: &mut [T],
        grad_theta: &mut [T],
    ) {
        self.gradients(z, out.len(), out, grad_z, grad_theta, true);
    }
    fn grad_batch(&self, z: &[T], draws: usize, grad_z: &mut [T], grad_theta: &mut [T]) {
        self.gradients(z, draws, &mut [], grad_z, grad_theta, true);
    }
}

impl<N: Network<T>, T: Scalar> LocalModel<T> for Decoder<N, T> {
    fn rows(&self) -> usize {
        self.shown()
    }
    fn scale(&self) -> f64 {
        self.rows.scale(&self.images)
    }
    fn weighted_grad_batch(
        &self,
        z: &[T],
        log_q: &[f64],
        shares: &Shares<'_>,
        out: Weighed<'_, T>,
        grad_theta: &mut [T],
    ) -> f64 {
        self.weighted((z, log_q), shares, out, grad_theta)
    }
}

impl<N, E, T, H> KnownPrior<Encoder<E, T, H>, T> for Decoder<N, T>
where
    N: Network<T>,
    E: Network<T>,
    T: Scalar,
    H: Head<T>,
{
    fn known(&self, q: &Encoder<E, T, H>) -> Result<(), Error> {
        let remedy = "sample it: the estimators Reparameterization and StickingTheLanding do";
        let of = "the divergence in closed form";
        if self.prior.normal().0.is_empty() {
            return Err(Error::option(of, format!("unknown for {:?}", self.prior.kind), remedy));
        }
        let mut said = vec![T::default(); q.kept()];
        q.head().read(&vec![T::default(); q.network().outputs()], &mut said);
        let mut out = vec![0.0; q.latent()];
        if self.latent() != q.latent() || q.head().divergence(&said, self.prior.normal(), &mut out)
        {
            return Ok(());
        }
        Err(Error::option(of, format!("unknown for a {} head", q.head().name()), remedy))
    }
    fn groups(&self, q: &Encoder<E, T, H>) -> usize {
        q.latent()
    }
    fn n_terms(&self, _: &Encoder<E, T, H>) -> usize {
        self.images.len()
    }
    fn likelihood_grad_batch(
        &self,
        z: &[T],
        draws: usize,
        out: &mut [f64],
        grad_z: &mut [T],
        grad_theta: &mut [T],
    ) {
        self.gradients(z, draws, out, grad_z, grad_theta, false);
    }
    fn divergences(
        &self,
        q: &Encoder<E, T, H>,
        kept: &<Encoder<E, T, H> as Reparameterized<T>>::Residuals,
        out: &mut [f64],
    ) {
        q.divergences(kept, self.prior.normal(), out);
    }
    fn pull_back_with(
        &self,
        q: &Encoder<E, T, H>,
        noise: (&[T], &<Encoder<E, T, H> as Reparameterized<T>>::Residuals),
        dz: &[T],
        weights: &[T],
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    ) {
        let prior = (self.prior.normal(), weights);
        let learned = self.prior.params.len();
        if learned == 0 || grad_theta.is_empty() {
            q.pull_back_with(noise, dz, prior, grad_lambda, &mut []);
            return;
        }
        let from = grad_theta.len() - learned;
        self.spare.lend(|Scratch { dprior, .. }| {
            dprior.clear();
            dprior.resize(learned, T::default());
            q.pull_back_with(noise, dz, prior, grad_lambda, dprior);
            self.prior.pull_back_normal(dprior, &mut grad_theta[from..]);
        });
    }
}

impl<N: Network<T>, T: Scalar> Subsample for Decoder<N, T> {
    fn n_data(&self) -> usize {
        self.images.len()
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.rows.show(&self.images, rows);
    }
    fn whole(&mut self) {
        self.rows.show_all(&self.images);
    }
}
