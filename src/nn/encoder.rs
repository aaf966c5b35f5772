//! `Encoder`: a family whose parameters are the weights of a network.

use std::fmt;
use std::sync::{Arc, Mutex};

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::head::{Head, MeanField};
use super::panel::{Rows, Spare, from_panel, lock, summed, to_panel};
use super::{Network, room};
use crate::bijector::Support;
use crate::data::Images;
use crate::error::Error;
use crate::family::{Family, LocalFamily, Reparameterized, Smooth};
use crate::noise::fill_normal;
use crate::pool::{each, threads};
use crate::scalar::Scalar;

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

/// Some images on their way through the network.
#[derive(Debug, Default)]
struct Panel<T, Tape> {
    from: usize,
    columns: usize,
    x: Vec<T>,
    /// What the network says, and its gradient.
    y: Vec<T>,
    /// What was read of each image, one after another, and the gradient in what the network says.
    said: Vec<T>,
    dy: Vec<T>,
    tape: Tape,
}

impl<T, Tape> Panel<T, Tape> {
    /// What was read of each of its images, with the row.
    fn each_said(&self, kept: usize) -> impl Iterator<Item = (usize, &[T])> {
        let rows = self.from..self.from + self.columns;
        rows.zip(self.said.chunks_exact(kept))
    }
}

/// What the way forward keeps for the way back.
#[derive(Debug)]
pub struct Activations<T, Tape> {
    panels: Vec<Mutex<Panel<T, Tape>>>,
    count: usize,
    grads: Mutex<Vec<Vec<T>>>,
    /// Of the divergence of each latent number.
    weights: Mutex<Vec<T>>,
}

impl<T, Tape> Default for Activations<T, Tape> {
    fn default() -> Self {
        Activations {
            panels: Vec::new(),
            count: 0,
            grads: Mutex::default(),
            weights: Mutex::default(),
        }
    }
}

/// What a datum pays by itself on the way back: its number, what is said of it, and the gradient that
/// is added to.
type Own<'a, T> = dyn Fn(&[T], &mut [T]) + Sync + 'a;

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

    /// Sends the rows through the network, and looks at each panel in turn.
    fn each_panel(&self, images: &Images, rows: &Rows, mut f: impl FnMut(&Panel<T, N::Tape>)) {
        let (n, stride) = (rows.len(images), self.network.panel().max(1) * threads());
        self.spare.lend(|kept| {
            for from in (0..n).step_by(stride) {
                self.forward(images, rows, from..n.min(from + stride), kept);
                kept.panels[..kept.count].iter().for_each(|panel| f(&lock(panel)));
            }
        });
    }

    /// Sends the rows through the network, panel by panel.
    fn forward(
        &self,
        images: &Images,
        rows: &Rows,
        range: std::ops::Range<usize>,
        kept: &mut Activations<T, N::Tape>,
    ) {
        let (outputs, most) = (self.network.outputs(), self.network.panel().max(1));
        let kept_each = self.kept();
        kept.count = range.len().div_ceil(most);
        if kept.panels.len() < kept.count {
            kept.panels.resize_with(kept.count, Mutex::default);
        }
        let panels = &kept.panels;
        each(0..kept.count, &|i| {
            let Panel { from, columns, x, y, said, dy, tape } = &mut *lock(&panels[i]);
            *from = range.start + i * most;
            *columns = most.min(range.end - *from);
            let x = room(x, *columns * self.network.inputs());
            rows.panel(images, *from, *columns, x);
            let y = room(y, outputs * *columns);
            self.network.forward(x, *columns, y, tape);
            let apart = room(dy, outputs * *columns);
            from_panel(y, outputs, apart);
            let said = room(said, kept_each * *columns);
            let each = apart.chunks_exact(outputs).zip(said.chunks_exact_mut(kept_each));
            each.for_each(|(y, said)| self.head.read(y, said));
        });
    }

    fn shown(&self) -> usize {
        self.rows.len(&self.images)
    }

    /// Draws, with `log q` of each datum at each draw through `take(draw, row, log q)`.
    fn draw(
        &self,
        eps: &[T],
        z: &mut [T],
        kept: &mut Activations<T, N::Tape>,
        mut take: impl FnMut(usize, usize, f64),
    ) {
        let (rows, k, kept_each) = (self.shown(), self.latent(), self.kept());
        self.forward(&self.images, &self.rows, 0..rows, kept);
        for panel in &kept.panels[..kept.count] {
            let panel = lock(panel);
            for s in 0..z.len() / (rows * k).max(1) {
                for (row, said) in panel.each_said(kept_each) {
                    let at = (s * rows + row) * k;
                    let log_q = self.head.transport(said, &eps[at..at + k], &mut z[at..at + k]);
                    take(s, row, log_q);
                }
            }
        }
    }

    /// The way back of `dz` and of the `log q` of each draw and row, with what each datum adds by
    /// itself.
    fn back(
        &self,
        (eps, kept): (&[T], &Activations<T, N::Tape>),
        dz: &[T],
        dlog_q: &(impl Fn(usize, usize) -> T + Sync),
        grad: &mut [T],
        own: &Own<'_, T>,
    ) {
        let (rows, k, outputs) = (self.shown(), self.latent(), self.network.outputs());
        let kept_each = self.kept();
        let draws = dz.len() / (rows * k).max(1);
        let grads = &mut *lock(&kept.grads);
        summed(0..kept.count, grads, grad, &|i: usize, grad: &mut [T]| {
            let Panel { from, columns, x, y, said, dy, tape } = &mut *lock(&kept.panels[i]);
            let columns = *columns;
            let said = &said[..columns * kept_each];
            let dy = room(dy, columns * outputs);
            dy.fill(T::default());
            for s in 0..draws {
                let each = said.chunks_exact(kept_each).zip(dy.chunks_exact_mut(outputs));
                for (j, (said, dy)) in each.enumerate() {
                    let at = (s * rows + *from + j) * k;
                    let (eps, dz) = (&eps[at..at + k], &dz[at..at + k]);
                    self.head.pull_back(said, eps, dz, dlog_q(s, *from + j), dy);
                }
            }
            let each = said.chunks_exact(kept_each).zip(dy.chunks_exact_mut(outputs));
            each.for_each(|(said, dy)| own(said, dy));
            let y = room(y, columns * outputs);
            to_panel(dy, outputs, y);
            self.network.backward(x, columns, y, &mut [], tape, grad);
        });
    }

    /// The divergence of each latent number from normals with these means and log variances, summed
    /// over all data.
    pub(super) fn divergences(
        &self,
        kept: &Activations<T, N::Tape>,
        prior: (&[T], &[T]),
        out: &mut [f64],
    ) {
        out.fill(0.0);
        for panel in &kept.panels[..kept.count] {
            for (_, said) in lock(panel).each_said(self.kept()) {
                self.head.divergence(said, prior, out);
            }
        }
        let scale = self.rows.scale(&self.images);
        out.iter_mut().for_each(|kl| *kl *= scale);
    }

    /// The way back of `dz` and of `-sum_k weights[k] KL_k`; the gradient of the latter in the means
    /// and log variances of the prior is added to `dprior` unless it is empty.
    pub(super) fn pull_back_with(
        &self,
        (eps, kept): (&[T], &Activations<T, N::Tape>),
        dz: &[T],
        (prior, weights): ((&[T], &[T]), &[T]),
        grad: &mut [T],
        dprior: &mut [T],
    ) {
        let scale = T::from_f64(self.rows.scale(&self.images));
        let scaled = &mut *lock(&kept.weights);
        scaled.clear();
        scaled.extend(weights.iter().map(|&w| scale * w));
        let weights = &scaled[..];
        self.back((eps, kept), dz, &|_, _| T::default(), grad, &|said, dy| {
            self.head.pull_back_divergence(said, prior, weights, dy, &mut []);
        });
        if dprior.is_empty() {
            return;
        }
        let (outputs, kept_each) = (self.network.outputs(), self.kept());
        for panel in &kept.panels[..kept.count] {
            let Panel { columns, said, dy, .. } = &mut *lock(panel);
            for said in said[..*columns * kept_each].chunks_exact(kept_each) {
                let spent = &mut dy[..outputs];
                self.head.pull_back_divergence(said, prior, weights, spent, dprior);
            }
        }
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
