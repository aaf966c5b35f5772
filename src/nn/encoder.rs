//! `Encoder`: a family whose parameters are the weights of a network.

mod pass;

use std::fmt;
use std::sync::Arc;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::Network;
use super::head::{Head, MeanField};
use super::panel::{Rows, Spare, lock};
use crate::bijector::Support;
use crate::data::Images;
use crate::error::Error;
use crate::family::{Family, LocalFamily, Reparameterized, Smooth};
use crate::noise::fill_normal;
use crate::scalar::Scalar;
pub use pass::Activations;

/// `q_lambda(z) = prod_i q(z_i; y_i = g_lambda(x_i))`: one network says for every image where its `z`
/// is (amortized inference; Kingma and Welling 2014). What it says is read by a [`Head`]: unless
/// another is given, `N(mean_i, diag(sd_i^2))` with `y_i = [mean_i | raw_i]` and
/// `ln sd_i^2 = 10 tanh(raw_i / 10)`.
///
/// `lambda` is made of the weights of the network; every value is valid. `z` is `latent x rows`,
/// image after image; with some rows shown `log q` is scaled by `n_data / rows`, as the
/// [`Decoder`](super::Decoder) scales its log joint.
///
/// Serialized it is the network alone: images are given back by
/// [`Run::resume_into`](crate::Run::resume_into) or [`Encoder::with_images`].
///
/// ```
/// use std::sync::Arc;
/// use elbo::{Family, data::digits, nn::{Activation, Encoder, FullCovariance, Mlp}};
/// let images = Arc::new(digits().0);
/// let network = Mlp::<f32>::new(&[64, 32, 2 * 2], Activation::Tanh, 1)?;
/// let encoder = Encoder::new(network, images.clone())?;
/// assert_eq!((encoder.latent(), encoder.dim()), (2, 2 * 1797));
/// let codes = encoder.encode(&images)?;
/// assert_eq!(codes.mean.len(), 2 * 1797);
/// // with a covariance of the two numbers of an image
/// let network = Mlp::<f32>::new(&[64, 32, 5], Activation::Tanh, 1)?;
/// let full = Encoder::with_head(network, images, FullCovariance)?;
/// assert_eq!(full.latent(), 2);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound(
    serialize = "N: Serialize + Network<T>",
    deserialize = "N: Deserialize<'de> + Network<T>"
))]
pub struct Encoder<N: Network<T>, T: Scalar = f32, H: Head<T> = MeanField> {
    network: N,
    #[serde(skip)]
    head: H,
    #[serde(skip)]
    images: Arc<Images>,
    #[serde(skip)]
    rows: Rows,
    #[serde(skip)]
    spare: Spare<Activations<T, N::Tape>>,
}

impl<N: Network<T>, T: Scalar, H: Head<T>> fmt::Debug for Encoder<N, T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, head) = (self.network.describe(), self.head.name());
        write!(f, "Encoder({what}, {head}, {} images)", self.images.len())
    }
}

impl<N: Network<T> + Clone, T: Scalar, H: Head<T>> Clone for Encoder<N, T, H> {
    fn clone(&self) -> Self {
        let (network, head) = (self.network.clone(), self.head.clone());
        let (images, rows) = (self.images.clone(), self.rows.clone());
        Encoder { network, head, images, rows, spare: Spare::default() }
    }
}

/// What an encoder says of some images: `latent` numbers each, image after image.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding<T = f32> {
    /// How many numbers an image has.
    pub latent: usize,
    /// The means.
    pub mean: Vec<T>,
    /// The standard deviations.
    pub sd: Vec<T>,
}

impl<N: Network<T>, T: Scalar> Encoder<N, T> {
    /// The network that reads an image, and the images.
    ///
    /// # Errors
    /// A network whose inputs are not the pixels of an image, or whose outputs are not twice a
    /// number of latents of at least 1.
    pub fn new(network: N, images: Arc<Images>) -> Result<Encoder<N, T>, Error> {
        Encoder::with_head(network, images, MeanField)
    }
}

impl<N: Network<T>, T: Scalar, H: Head<T>> Encoder<N, T, H> {
    /// The same with another head.
    ///
    /// # Errors
    /// A network whose inputs are not the pixels of an image, or whose outputs are not those that the
    /// head reads of a number of latents of at least 1.
    pub fn with_head(network: N, images: Arc<Images>, head: H) -> Result<Encoder<N, T, H>, Error> {
        let what = format!("the input of the encoder ({})", network.describe());
        let image = format!("an image of {} x {} pixels", images.height(), images.width());
        Error::expect_len(&what, network.inputs(), &image, images.size())?;
        let outputs = network.outputs();
        if outputs == 0 {
            let remedy = "the encoder needs at least one latent number an image";
            return Err(Error::option("the latent dimension", 0, remedy));
        }
        let latent = latent(&head, outputs);
        let what = format!("the output of the encoder ({})", network.describe());
        let takes = format!("what the {} head reads of {latent} latent numbers", head.name());
        Error::expect_len(&what, outputs, &takes, head.outputs(latent))?;
        let rows = Rows::all(&images);
        Ok(Encoder { network, head, images, rows, spare: Spare::default() })
    }

    /// How many latent numbers an image has.
    pub fn latent(&self) -> usize {
        latent(&self.head, self.network.outputs())
    }

    /// The network.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// What reads the network's numbers.
    pub fn head(&self) -> &H {
        &self.head
    }

    /// The images.
    pub fn images(&self) -> &Arc<Images> {
        &self.images
    }

    /// The same weights with other images.
    ///
    /// # Errors
    /// As [`Encoder::with_head`].
    pub fn with_images(&self, images: Arc<Images>) -> Result<Encoder<N, T, H>, Error>
    where
        N: Clone,
    {
        Encoder::with_head(self.network.clone(), images, self.head.clone())
    }

    /// Means and standard deviations of `z` for each of the images, which may be others than those
    /// it learns from.
    ///
    /// # Errors
    /// Images of another size.
    pub fn encode(&self, images: &Images) -> Result<Encoding<T>, Error> {
        let (n, k) = (images.len(), self.latent());
        let mut codes =
            Encoding { latent: k, mean: vec![T::default(); n * k], sd: vec![T::default(); n * k] };
        let said = self.said(images)?;
        let each = codes.mean.chunks_exact_mut(k).zip(codes.sd.chunks_exact_mut(k));
        for (said, (mean, sd)) in said.chunks_exact(self.kept()).zip(each) {
            self.head.moments(said, mean, sd);
        }
        Ok(codes)
    }

    /// How many numbers are kept of what is said of an image.
    pub(super) fn kept(&self) -> usize {
        self.head.kept(self.latent())
    }

    /// What was read of each of the images.
    pub(super) fn said(&self, images: &Images) -> Result<Vec<T>, Error> {
        let what = format!("the input of the encoder ({})", self.network.describe());
        Error::expect_len(&what, self.network.inputs(), "an image", images.size())?;
        let kept = self.kept();
        let mut all = Vec::with_capacity(images.len() * kept);
        self.each_panel(images, &Rows::all(images), |panel| {
            all.extend_from_slice(&panel.said[..panel.columns * kept]);
        });
        Ok(all)
    }
}

/// The fewest latent numbers that these outputs may be of.
fn latent<T: Scalar>(head: &impl Head<T>, outputs: usize) -> usize {
    let mut latent = 1;
    while head.outputs(latent) < outputs {
        latent += 1;
    }
    latent
}

impl<N: Network<T>, T: Scalar, H: Head<T>> Family<T> for Encoder<N, T, H> {
    fn dim(&self) -> usize {
        self.latent() * self.shown()
    }
    fn support(&self, _: usize) -> Support {
        self.head.support()
    }
    fn n_params(&self) -> usize {
        self.network.n_params()
    }
    fn params(&self, out: &mut [T]) {
        self.network.params(out);
    }
    fn set_params(&mut self, params: &[T]) {
        self.network.set_params(params);
    }
    fn lent_params(&self) -> Option<&[T]> {
        self.network.lent_params()
    }
    fn swap_params(&mut self, params: &mut Vec<T>) {
        self.network.swap_params(params);
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [T]) {
        let k = self.latent();
        let d = (k * self.shown()).max(1);
        let mut eps = vec![T::default(); k];
        fill_normal(rng, z);
        self.each_panel(&self.images, &self.rows, |panel| {
            for z in z.chunks_exact_mut(d) {
                for (row, said) in panel.each_said(self.kept()) {
                    let z = &mut z[row * k..(row + 1) * k];
                    eps.copy_from_slice(z);
                    self.head.transport(said, &eps, z);
                }
            }
        });
    }
    fn log_prob(&self, z: &[T]) -> f64 {
        let mut out = [0.0];
        self.log_prob_batch(z, &mut out);
        out[0]
    }
    fn log_prob_batch(&self, z: &[T], out: &mut [f64]) {
        let k = self.latent();
        let (d, scale) = ((k * self.shown()).max(1), self.rows.scale(&self.images));
        out.fill(0.0);
        self.each_panel(&self.images, &self.rows, |panel| {
            for (z, out) in z.chunks_exact(d).zip(out.iter_mut()) {
                for (row, said) in panel.each_said(self.kept()) {
                    *out += scale * self.head.log_prob(said, &z[row * k..(row + 1) * k]);
                }
            }
        });
    }
    fn entropy(&self) -> Option<f64> {
        let mut sum = Some(0.0);
        self.each_panel(&self.images, &self.rows, |panel| {
            for (_, said) in panel.each_said(self.kept()) {
                sum = sum.and_then(|sum| Some(sum + self.head.entropy(said)?));
            }
        });
        Some(self.rows.scale(&self.images) * sum?)
    }
    fn architecture(&self) -> String {
        match self.head.name() {
            "mean field" => self.network.describe(),
            other => format!("{}, {other}", self.network.describe()),
        }
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.rows.show(&self.images, rows);
    }
    fn whole(&mut self) {
        self.rows.show_all(&self.images);
    }
}

impl<N: Network<T>, T: Scalar, H: Head<T>> Reparameterized<T> for Encoder<N, T, H> {
    type Residuals = Activations<T, N::Tape>;

    fn transport(&self, eps: &[T], z: &mut [T], log_q: &mut [f64], kept: &mut Self::Residuals) {
        log_q.fill(0.0);
        self.draw(eps, z, kept, |s, _, log| log_q[s] += log);
        let scale = self.rows.scale(&self.images);
        log_q.iter_mut().for_each(|log_q| *log_q *= scale);
    }

    fn pull_back(&self, eps: &[T], kept: &Self::Residuals, dz: &[T], dlog_q: &[T], grad: &mut [T]) {
        let scale = T::from_f64(self.rows.scale(&self.images));
        self.back((eps, kept), dz, &|s, _| scale * dlog_q[s], grad, &|_, _| {});
    }
}

impl<N: Network<T>, T: Scalar, H: Head<T>> LocalFamily<T> for Encoder<N, T, H> {
    fn transport_each(
        &self,
        eps: &[T],
        z: &mut [T],
        log_q: &mut [f64],
        kept: &mut Self::Residuals,
    ) {
        let rows = self.shown();
        self.draw(eps, z, kept, |s, row, log| log_q[s * rows + row] = log);
    }

    fn pull_back_each(
        &self,
        eps: &[T],
        kept: &Self::Residuals,
        dz: &[T],
        dlog_q: &[T],
        grad: &mut [T],
    ) {
        let (rows, scale) = (self.shown(), T::from_f64(self.rows.scale(&self.images)));
        self.back((eps, kept), dz, &|s, row| scale * dlog_q[s * rows + row], grad, &|_, _| {});
    }
}

impl<N: Network<T>, T: Scalar, H: Head<T>> Smooth<T> for Encoder<N, T, H> {
    fn log_prob_grad(&self, eps: &[T], kept: &Self::Residuals, z: &[T], grad: &mut [T]) {
        let (rows, k) = (self.shown(), self.latent());
        let scale = T::from_f64(self.rows.scale(&self.images));
        for panel in &kept.panels[..kept.count] {
            let panel = lock(panel);
            for s in 0..grad.len() / (rows * k).max(1) {
                for (row, said) in panel.each_said(self.kept()) {
                    let at = (s * rows + row) * k;
                    let here = at..at + k;
                    let grad = &mut grad[here.clone()];
                    self.head.log_prob_grad(said, &eps[here.clone()], &z[here], grad);
                    grad.iter_mut().for_each(|g| *g *= scale);
                }
            }
        }
    }
}
