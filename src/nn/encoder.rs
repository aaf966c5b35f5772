//! `Encoder`: a family whose parameters are the weights of a network.

use std::fmt;
use std::sync::{Arc, Mutex};

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::likelihood::bounded;
use super::panel::{Rows, Spare, from_panel, lock, summed};
use super::{Network, room};
use crate::data::Images;
use crate::error::Error;
use crate::family::{Family, Reparameterized, Smooth};
use crate::noise::fill_normal;
use crate::pool::{each, threads};
use crate::scalar::Scalar;
use crate::special::LN_SQRT_2PI;

/// `q_lambda(z) = prod_i N(z_i; mean_i, diag(sd_i^2))`, where `[mean_i | raw_i] = g_lambda(x_i)` and
/// `ln sd_i^2 = 10 tanh(raw_i / 10)`: one network says for every image where its `z` is (amortized
/// inference; Kingma and Welling 2014).
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
/// use elbo::{Family, data::digits, nn::{Activation, Encoder, Mlp}};
/// let images = Arc::new(digits().0);
/// let network = Mlp::<f32>::new(&[64, 32, 2 * 2], Activation::Tanh, 1)?;
/// let encoder = Encoder::new(network, images.clone())?;
/// assert_eq!((encoder.latent(), encoder.dim()), (2, 2 * 1797));
/// let codes = encoder.encode(&images)?;
/// assert_eq!(codes.mean.len(), 2 * 1797);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound(
    serialize = "N: Serialize + Network<T>",
    deserialize = "N: Deserialize<'de> + Network<T>"
))]
pub struct Encoder<N: Network<T>, T: Scalar = f32> {
    network: N,
    #[serde(skip)]
    images: Arc<Images>,
    #[serde(skip)]
    rows: Rows,
    #[serde(skip)]
    spare: Spare<Activations<T, N::Tape>>,
}

impl<N: Network<T>, T: Scalar> fmt::Debug for Encoder<N, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoder({}, {} images)", self.network.describe(), self.images.len())
    }
}

impl<N: Network<T> + Clone, T: Scalar> Clone for Encoder<N, T> {
    fn clone(&self) -> Self {
        let (network, images) = (self.network.clone(), self.images.clone());
        Encoder { network, images, rows: self.rows.clone(), spare: Spare::default() }
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
    /// Means, then raw numbers, which become the logarithms of the variances.
    y: Vec<T>,
    /// The slope of the logarithm of the variance in the raw number, and the standard deviation.
    slope: Vec<T>,
    sd: Vec<T>,
    dy: Vec<T>,
    tape: Tape,
}

/// What the way forward keeps for the way back.
#[derive(Debug)]
pub struct Activations<T, Tape> {
    panels: Vec<Mutex<Panel<T, Tape>>>,
    count: usize,
    grads: Mutex<Vec<Vec<T>>>,
}

impl<T, Tape> Default for Activations<T, Tape> {
    fn default() -> Self {
        Activations { panels: Vec::new(), count: 0, grads: Mutex::default() }
    }
}

impl<N: Network<T>, T: Scalar> Encoder<N, T> {
    /// The network that reads an image, and the images.
    ///
    /// # Errors
    /// A network whose inputs are not the pixels of an image, or whose outputs are not twice a
    /// number of latents of at least 1.
    pub fn new(network: N, images: Arc<Images>) -> Result<Encoder<N, T>, Error> {
        let what = format!("the input of the encoder ({})", network.describe());
        let image = format!("an image of {} x {} pixels", images.height(), images.width());
        Error::expect_len(&what, network.inputs(), &image, images.size())?;
        let outputs = network.outputs();
        if outputs == 0 {
            let remedy = "the encoder needs at least one latent number an image";
            return Err(Error::option("the latent dimension", 0, remedy));
        }
        if !outputs.is_multiple_of(2) {
            let what = format!("the output of the encoder ({})", network.describe());
            let twice = "a mean and a variance for each latent number";
            Error::expect_len(&what, outputs, twice, outputs + 1)?;
        }
        let rows = Rows::all(&images);
        Ok(Encoder { network, images, rows, spare: Spare::default() })
    }

    /// How many latent numbers an image has.
    pub fn latent(&self) -> usize {
        self.network.outputs() / 2
    }

    /// The network.
    pub fn network(&self) -> &N {
        &self.network
    }

    /// The images.
    pub fn images(&self) -> &Arc<Images> {
        &self.images
    }

    /// The same weights with other images.
    ///
    /// # Errors
    /// As [`Encoder::new`].
    pub fn with_images(&self, images: Arc<Images>) -> Result<Encoder<N, T>, Error>
    where
        N: Clone,
    {
        Encoder::new(self.network.clone(), images)
    }

    /// Means and standard deviations of `z` for each of the images, which may be others than those
    /// it learns from.
    ///
    /// # Errors
    /// Images of another size.
    pub fn encode(&self, images: &Images) -> Result<Encoding<T>, Error> {
        let what = format!("the input of the encoder ({})", self.network.describe());
        Error::expect_len(&what, self.network.inputs(), "an image", images.size())?;
        Ok(self.codes(images, &Rows::all(images)))
    }

    fn codes(&self, images: &Images, rows: &Rows) -> Encoding<T> {
        let (n, k) = (rows.len(images), self.latent());
        let mut codes =
            Encoding { latent: k, mean: vec![T::default(); n * k], sd: vec![T::default(); n * k] };
        self.each_panel(images, rows, |panel| {
            let span = panel.from * k..(panel.from + panel.columns) * k;
            from_panel(&panel.y, k, &mut codes.mean[span.clone()]);
            from_panel(&panel.sd, k, &mut codes.sd[span]);
        });
        codes
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
        let (k, most) = (self.latent(), self.network.panel().max(1));
        kept.count = range.len().div_ceil(most);
        if kept.panels.len() < kept.count {
            kept.panels.resize_with(kept.count, Mutex::default);
        }
        let panels = &kept.panels;
        each(0..kept.count, &|i| {
            let Panel { from, columns, x, y, slope, sd, tape, .. } = &mut *lock(&panels[i]);
            *from = range.start + i * most;
            *columns = most.min(range.end - *from);
            let x = room(x, *columns * self.network.inputs());
            rows.panel(images, *from, *columns, x);
            let y = room(y, 2 * k * *columns);
            self.network.forward(x, *columns, y, tape);
            let heads = k * *columns;
            let (slope, sd) = (room(slope, heads), room(sd, heads));
            for ((raw, slope), sd) in y[heads..].iter_mut().zip(slope).zip(sd) {
                (*raw, *slope) = bounded(*raw);
                *sd = (T::from_f64(0.5) * *raw).quick_exp();
            }
        });
    }

    fn shown(&self) -> usize {
        self.rows.len(&self.images)
    }

    /// The way back of `dz`, with what each mean and each log variance adds to its own gradient: a
    /// function of the latent number, the mean and the standard deviation.
    fn back(
        &self,
        (eps, kept): (&[T], &Activations<T, N::Tape>),
        dz: &[T],
        draws: usize,
        grad: &mut [T],
        own: &(impl Fn(usize, T, T) -> (T, T) + Sync),
    ) {
        let (rows, k, half) = (self.shown(), self.latent(), T::from_f64(0.5));
        let grads = &mut *lock(&kept.grads);
        summed(0..kept.count, grads, grad, &|i: usize, grad: &mut [T]| {
            let Panel { from, columns, x, y, slope, sd, dy, tape } = &mut *lock(&kept.panels[i]);
            let columns = *columns;
            let heads = k * columns;
            let dy = room(dy, 2 * heads);
            let (means, raws) = dy.split_at_mut(heads);
            means.fill(T::default());
            raws.fill(T::default());
            for s in 0..draws {
                let first = (s * rows + *from) * k;
                for j in 0..columns {
                    for i in 0..k {
                        let (at, here) = (first + j * k + i, i * columns + j);
                        means[here] += dz[at];
                        raws[here] += dz[at] * eps[at];
                    }
                }
            }
            for here in 0..heads {
                let (in_mean, in_log_variance) = own(here / columns, y[here], sd[here]);
                means[here] += in_mean;
                raws[here] = (half * raws[here] * sd[here] + in_log_variance) * slope[here];
            }
            self.network.backward(x, columns, dy, &mut [], tape, grad);
        });
    }

    /// `KL(q(z_k | x) || N(0, 1))` of each latent number, summed over all data.
    pub(super) fn divergences(&self, kept: &Activations<T, N::Tape>, out: &mut [f64]) {
        let (k, scale) = (self.latent(), self.rows.scale(&self.images));
        out.fill(0.0);
        for panel in &kept.panels[..kept.count] {
            let panel = lock(panel);
            let heads = k * panel.columns;
            for here in 0..heads {
                let (mean, log_variance) = (panel.y[here].to_f64(), panel.y[heads + here].to_f64());
                let variance = panel.sd[here].to_f64().powi(2);
                let term = 0.5 * (mean * mean + variance - 1.0 - log_variance);
                out[here / panel.columns] += scale * term;
            }
        }
    }

    /// The way back of `dz` and of `-sum_k weights[k] KL_k`.
    pub(super) fn pull_back_with(
        &self,
        eps: &[T],
        kept: &Activations<T, N::Tape>,
        dz: &[T],
        weights: &[T],
        grad: &mut [T],
    ) {
        let scale = T::from_f64(self.rows.scale(&self.images));
        let (one, half) = (T::from_f64(1.0), T::from_f64(0.5));
        let draws = dz.len() / self.dim().max(1);
        self.back((eps, kept), dz, draws, grad, &|k, mean, sd| {
            let weight = scale * weights[k];
            (-weight * mean, half * weight * (one - sd * sd))
        });
    }
}

/// `log N(z; mean, sd^2)` from noise and the logarithm of the variance.
fn log_density<T: Scalar>(eps: T, log_variance: T) -> f64 {
    let eps = eps.to_f64();
    -0.5 * (eps * eps + log_variance.to_f64()) - LN_SQRT_2PI
}

impl<N: Network<T>, T: Scalar> Family<T> for Encoder<N, T> {
    fn dim(&self) -> usize {
        self.latent() * self.shown()
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
        let (d, k) = (self.dim().max(1), self.latent());
        fill_normal(rng, z);
        self.each_panel(&self.images, &self.rows, |panel| {
            let span = panel.from * k..(panel.from + panel.columns) * k;
            for z in z.chunks_exact_mut(d) {
                for (at, z) in z[span.clone()].iter_mut().enumerate() {
                    let here = at % k * panel.columns + at / k;
                    *z = panel.y[here] + panel.sd[here] * *z;
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
        let (d, k) = (self.dim().max(1), self.latent());
        let scale = self.rows.scale(&self.images);
        out.fill(0.0);
        self.each_panel(&self.images, &self.rows, |panel| {
            let span = panel.from * k..(panel.from + panel.columns) * k;
            for (z, out) in z.chunks_exact(d).zip(out.iter_mut()) {
                for (at, &z) in z[span.clone()].iter().enumerate() {
                    let here = at % k * panel.columns + at / k;
                    let eps = (z - panel.y[here]) / panel.sd[here];
                    *out += scale * log_density(eps, panel.y[k * panel.columns + here]);
                }
            }
        });
    }
    fn entropy(&self) -> Option<f64> {
        let (mut sum, k) = (0.0, self.latent());
        self.each_panel(&self.images, &self.rows, |panel| {
            let log_variances = &panel.y[k * panel.columns..2 * k * panel.columns];
            sum += log_variances.iter().map(|v| 0.5 * v.to_f64() + LN_SQRT_2PI + 0.5).sum::<f64>();
        });
        Some(self.rows.scale(&self.images) * sum)
    }
    fn architecture(&self) -> String {
        self.network.describe()
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.rows.show(&self.images, rows);
    }
    fn whole(&mut self) {
        self.rows.show_all(&self.images);
    }
}

impl<N: Network<T>, T: Scalar> Reparameterized<T> for Encoder<N, T> {
    type Residuals = Activations<T, N::Tape>;

    fn transport(&self, eps: &[T], z: &mut [T], log_q: &mut [f64], kept: &mut Self::Residuals) {
        let (rows, k) = (self.shown(), self.latent());
        let scale = self.rows.scale(&self.images);
        self.forward(&self.images, &self.rows, 0..rows, kept);
        log_q.fill(0.0);
        for panel in &kept.panels[..kept.count] {
            let panel = lock(panel);
            let Panel { from, columns, y, sd, .. } = &*panel;
            for (s, log_q) in log_q.iter_mut().enumerate() {
                let first = (s * rows + from) * k;
                let mut sum = 0.0;
                for j in 0..*columns {
                    for i in 0..k {
                        let (at, here) = (first + j * k + i, i * columns + j);
                        z[at] = y[here] + sd[here] * eps[at];
                        sum += log_density(eps[at], y[k * columns + here]);
                    }
                }
                *log_q += scale * sum;
            }
        }
    }

    fn pull_back(&self, eps: &[T], kept: &Self::Residuals, dz: &[T], dlog_q: &[T], grad: &mut [T]) {
        let scale = T::from_f64(self.rows.scale(&self.images));
        // log q(T(eps)) depends on lambda through the log variances only
        let total: T = dlog_q.iter().copied().sum();
        let each = T::from_f64(-0.5) * scale * total;
        self.back((eps, kept), dz, dlog_q.len(), grad, &|_, _, _| (T::default(), each));
    }
}

impl<N: Network<T>, T: Scalar> Smooth<T> for Encoder<N, T> {
    fn log_prob_grad(&self, eps: &[T], kept: &Self::Residuals, _z: &[T], grad: &mut [T]) {
        let (rows, k) = (self.shown(), self.latent());
        let scale = T::from_f64(self.rows.scale(&self.images));
        let draws = grad.len() / (rows * k).max(1);
        for panel in &kept.panels[..kept.count] {
            let panel = lock(panel);
            for s in 0..draws {
                let first = (s * rows + panel.from) * k;
                for j in 0..panel.columns {
                    for i in 0..k {
                        let at = first + j * k + i;
                        grad[at] = -scale * eps[at] / panel.sd[i * panel.columns + j];
                    }
                }
            }
        }
    }
}
