//! `Decoder`: a model whose likelihood is a network.

use std::fmt;
use std::sync::{Arc, Mutex};

use super::likelihood::Likelihood;
use super::panel::{Rows, Spare, from_panel, lock, summed, to_panel};
use super::{Encoder, Network, room};
use crate::data::Images;
use crate::error::Error;
use crate::family::Reparameterized;
use crate::model::{Differentiable, KnownPrior, Model, Subsample};
use crate::pool::threads;
use crate::scalar::Scalar;
use crate::space::Space;
use crate::special::LN_SQRT_2PI;

/// `log p_theta(x, z) = sum_i [ log p(x_i | y = f_theta(z_i)) + log N(z_i; 0, I) ]`, one `z_i` of
/// `latent` numbers for each image (Kingma and Welling 2014; Rezende, Mohamed and Wierstra 2014).
///
/// `theta` is made of the weights of the network, after which comes the raw number of a learned
/// variance ([`Noise::Learned`](super::Noise::Learned)). `z` is `latent x rows`, image after image;
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
            rows: self.rows.clone(),
            spare: Spare::default(),
        }
    }
}

/// Some images of one draw.
#[derive(Debug, Default)]
struct Panel<T, Tape> {
    draw: usize,
    from: usize,
    columns: usize,
    x: Vec<T>,
    z: Vec<T>,
    y: Vec<T>,
    dz: Vec<T>,
    values: Vec<f64>,
    tape: Tape,
}

/// A panel for each thread, and gradients for all but one.
#[derive(Debug)]
struct Scratch<T, Tape> {
    panels: Vec<Mutex<Panel<T, Tape>>>,
    grads: Vec<Vec<T>>,
}

impl<T, Tape> Default for Scratch<T, Tape> {
    fn default() -> Self {
        Scratch { panels: Vec::new(), grads: Vec::new() }
    }
}

/// Images, and where their `z` are in each of some draws.
#[derive(Clone, Copy)]
struct Batch<'a, T> {
    images: &'a Images,
    rows: &'a Rows,
    z: &'a [T],
    draws: usize,
}

/// What is wanted of a batch.
#[derive(Clone, Copy, PartialEq)]
struct Want {
    values: bool,
    in_z: bool,
    /// Whether the prior counts.
    prior: bool,
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
        Ok(Decoder { network, images, likelihood, raw, rows, spare: Spare::default() })
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
        other.raw = self.raw;
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

    fn shown(&self) -> usize {
        self.rows.len(&self.images)
    }

    /// Writes the log likelihood of each of these images, which may be others than its own, at its
    /// point in `z` (`latent x images`), without any factor.
    pub(super) fn log_likelihoods(&self, images: &Images, z: &[T], out: &mut [f64]) {
        let want = Want { values: true, in_z: false, prior: false };
        let batch = Batch { images, rows: &Rows::all(images), z, draws: 1 };
        self.each_round(
            batch,
            |_| None,
            want,
            &mut [],
            |panel, _| {
                out[panel.from..panel.from + panel.columns].copy_from_slice(&panel.values);
            },
        );
    }

    fn batch<'a>(&'a self, z: &'a [T], draws: usize) -> Batch<'a, T> {
        Batch { images: &self.images, rows: &self.rows, z, draws }
    }

    /// Goes over the panels of all draws, several at a time. `weight` of a draw is the factor of its
    /// gradient in `theta`, which is added to `grad`; none where that is not wanted.
    fn each_round(
        &self,
        batch: Batch<'_, T>,
        weight: impl Fn(usize) -> Option<T> + Sync,
        want: Want,
        grad: &mut [T],
        mut take: impl FnMut(&Panel<T, N::Tape>, &[T]),
    ) {
        let Batch { z, draws, .. } = batch;
        let (rows, k) = (batch.rows.len(batch.images), self.latent());
        let most = self.network.panel().max(1);
        let a_draw = rows.div_ceil(most);
        self.spare.lend(|Scratch { panels, grads }| {
            let width = threads();
            if panels.len() < width {
                panels.resize_with(width, Mutex::default);
            }
            let count = draws * a_draw;
            let of = |panel: &Panel<T, N::Tape>| {
                let first = (panel.draw * rows + panel.from) * k;
                &z[first..first + panel.columns * k]
            };
            for start in (0..count).step_by(width) {
                let round = &panels[..width.min(count - start)];
                for (i, panel) in round.iter().enumerate() {
                    let mut panel = lock(panel);
                    panel.draw = (start + i) / a_draw;
                    panel.from = (start + i) % a_draw * most;
                    panel.columns = most.min(rows - panel.from);
                }
                summed(0..round.len(), grads, grad, &|i: usize, grad: &mut [T]| {
                    let mut panel = lock(&round[i]);
                    let z = of(&panel);
                    self.work(batch, &mut panel, z, &weight, want, grad);
                });
                for panel in round {
                    let panel = lock(panel);
                    let z = of(&panel);
                    take(&panel, z);
                }
            }
        });
    }

    /// One panel: forward, likelihood, and back where a gradient is wanted.
    fn work(
        &self,
        batch: Batch<'_, T>,
        panel: &mut Panel<T, N::Tape>,
        z: &[T],
        weight: &impl Fn(usize) -> Option<T>,
        want: Want,
        grad: &mut [T],
    ) {
        let Panel { draw, from, columns, x, z: at, y, dz, values, tape, .. } = panel;
        let (columns, k) = (*columns, self.latent());
        let x = room(x, columns * batch.images.size());
        batch.rows.panel(batch.images, *from, columns, x);
        let at = room(at, columns * k);
        to_panel(z, k, at);
        let y = room(y, columns * self.network.outputs());
        self.network.forward(at, columns, y, tape);
        values.clear();
        if want.values {
            values.resize(columns, 0.0);
        }
        let weight = weight(*draw);
        let levels = self.images.levels().unwrap_or(0);
        let factor = weight.unwrap_or_default();
        let in_raw = self.likelihood.evaluate((x, y), columns, (self.raw, levels), factor, values);
        if want.values && want.prior {
            for (value, z) in values.iter_mut().zip(z.chunks_exact(k)) {
                *value += log_prior(z);
            }
        }
        if weight.is_none() {
            return;
        }
        let dz = if want.in_z { room(dz, columns * k) } else { &mut [] };
        let asked = self.network.n_params().min(grad.len());
        let (in_network, rest) = grad.split_at_mut(asked);
        self.network.backward(at, columns, y, dz, tape, in_network);
        if let Some(raw) = rest.first_mut() {
            *raw += in_raw;
        }
    }

    /// Gradients at the draws, and values unless `out` is empty.
    fn gradients(
        &self,
        z: &[T],
        draws: usize,
        out: &mut [f64],
        grad_z: &mut [T],
        grad_theta: &mut [T],
        prior: bool,
    ) {
        let (rows, k) = (self.shown(), self.latent());
        let scale = self.rows.scale(&self.images);
        let want = Want { values: !out.is_empty(), in_z: true, prior };
        let weight = T::from_f64(scale / draws.max(1) as f64);
        let (back, pull) =
            (T::from_f64(draws as f64), T::from_f64(if prior { scale } else { 0.0 }));
        out.fill(0.0);
        self.each_round(
            self.batch(z, draws),
            |_| Some(weight),
            want,
            grad_theta,
            |panel, z| {
                if want.values {
                    out[panel.draw] += scale * panel.values.iter().sum::<f64>();
                }
                let first = (panel.draw * rows + panel.from) * k;
                let grad = &mut grad_z[first..][..z.len()];
                from_panel(&panel.dz, k, grad);
                grad.iter_mut().zip(z).for_each(|(g, &z)| *g = *g * back - pull * z);
            },
        );
    }
}

/// `log N(z; 0, I)`
fn log_prior<T: Scalar>(z: &[T]) -> f64 {
    z.iter().map(|z| -0.5 * z.to_f64() * z.to_f64() - LN_SQRT_2PI).sum()
}

impl<N: Network<T>, T: Scalar> Model<T> for Decoder<N, T> {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("z", self.dim());
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
        format!("{}, {:?}", self.network.describe(), self.likelihood)
    }
    fn n_theta(&self) -> usize {
        self.network.n_params() + usize::from(self.raw.is_some())
    }
    fn theta(&self, out: &mut [T]) {
        let (weights, rest) = out.split_at_mut(self.network.n_params());
        self.network.params(weights);
        if let (Some(out), Some(raw)) = (rest.first_mut(), self.raw) {
            *out = raw;
        }
    }
    fn set_theta(&mut self, theta: &[T]) {
        let (weights, rest) = theta.split_at(self.network.n_params());
        self.network.set_params(weights);
        self.raw = rest.first().copied();
    }
    fn lent_theta(&self) -> Option<&[T]> {
        if self.raw.is_none() { self.network.lent_params() } else { None }
    }
    fn swap_theta(&mut self, theta: &mut Vec<T>) {
        if self.raw.is_none() {
            self.network.swap_params(theta);
        } else {
            self.set_theta(theta);
        }
    }
    fn add_theta_grad(&self, z: &[T], weights: &[T], grad: &mut [T]) {
        let scale = T::from_f64(self.rows.scale(&self.images));
        let want = Want { values: false, in_z: false, prior: false };
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

impl<N: Network<T>, E: Network<T>, T: Scalar> KnownPrior<Encoder<E, T>, T> for Decoder<N, T> {
    fn groups(&self, q: &Encoder<E, T>) -> usize {
        q.latent()
    }
    fn n_terms(&self, _: &Encoder<E, T>) -> usize {
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
        q: &Encoder<E, T>,
        kept: &<Encoder<E, T> as Reparameterized<T>>::Residuals,
        out: &mut [f64],
    ) {
        q.divergences(kept, out);
    }
    fn pull_back_with(
        &self,
        q: &Encoder<E, T>,
        (eps, kept): (&[T], &<Encoder<E, T> as Reparameterized<T>>::Residuals),
        dz: &[T],
        weights: &[T],
        grad_lambda: &mut [T],
    ) {
        q.pull_back_with(eps, kept, dz, weights, grad_lambda);
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
