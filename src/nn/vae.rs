//! `Vae`: what can be asked of a decoder and an encoder once they are fitted.

use std::sync::Arc;

use super::encoder::{Encoder, Encoding};
use super::head::{Head, MeanField, log_normal, normal_divergence};
use super::prior::LogSum;
use super::{Decoder, FixedDecoder, Network};
use crate::ascent::GradientAscent;
use crate::bijector::Support;
use crate::data::Images;
use crate::diagnostics::Estimate;
use crate::error::Error;
use crate::estimator::StickingTheLanding;
use crate::family::MeanFieldGaussian;
use crate::fit::{Options, fit};
use crate::noise::{Purpose, fill_normal, stream};
use crate::optimizer::{Adam, Schedule, Scheduled};
use crate::scalar::Scalar;
use crate::stop::Stop;

/// A decoder and an encoder side by side. Images it is asked about may be others than those it has
/// learned from.
///
/// ```
/// use std::sync::Arc;
/// use elbo::{data::digits, nn::{Activation, Decoder, Encoder, Likelihood, Mlp, Vae}};
/// let images = Arc::new(digits().0);
/// let decoder = Mlp::<f32>::new(&[2, 16, 64], Activation::Tanh, 1)?;
/// let encoder = Mlp::<f32>::new(&[64, 16, 4], Activation::Tanh, 2)?;
/// let decoder = Decoder::new(decoder, images.clone(), Likelihood::Bernoulli)?;
/// let encoder = Encoder::new(encoder, images.clone())?;
/// let vae = Vae { decoder: &decoder, encoder: &encoder };
/// let few = images.select(0..20)?;
/// let seen = vae.evaluate(&few, 10, 1)?;
/// assert!(seen.elbo.value < seen.bound.value);
/// assert_eq!(vae.reconstruct(&few)?.len(), 20 * 64);
/// assert_eq!(vae.generate(3, 1)?.len(), 3 * 64);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Debug)]
pub struct Vae<'a, D: Network<T>, E: Network<T>, T: Scalar = f32, H: Head<T> = MeanField> {
    /// Makes images of `z`.
    pub decoder: &'a Decoder<D, T>,
    /// Says where the `z` of an image is.
    pub encoder: &'a Encoder<E, T, H>,
}

impl<D: Network<T>, E: Network<T>, T: Scalar, H: Head<T>> Clone for Vae<'_, D, E, T, H> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<D: Network<T>, E: Network<T>, T: Scalar, H: Head<T>> Copy for Vae<'_, D, E, T, H> {}

/// How well images are explained, in nats an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// `E_q[log p(x | z)] - KL(q(z | x) || p(z))`: the mean over images with its standard error.
    pub elbo: Estimate,
    /// `E_q[log p(x | z)]`
    pub reconstruction: Estimate,
    /// `KL(q(z_k | x) || p(z_k))` of each latent number, the mean over images; one number for all of
    /// them, from the draws, where the divergence has no closed form.
    pub kl: Vec<f64>,
    /// `E log (1/K) sum_k p(x, z_k) / q(z_k | x)`, the importance-weighted bound (Burda, Grosse and
    /// Salakhutdinov 2016), at least as high as the ELBO and no higher than the evidence.
    pub bound: Estimate,
    /// `K`: how many draws of `z` an image.
    pub draws: usize,
}

impl Evaluation {
    /// `KL(q(z | x) || p(z))`, the mean over images.
    pub fn kl_total(&self) -> f64 {
        self.kl.iter().sum()
    }
}

/// A latent number counts as active where the variance over images of its mean is above this (Burda,
/// Grosse and Salakhutdinov 2016).
pub const ACTIVE: f64 = 0.01;

impl<D: Network<T>, E: Network<T>, T: Scalar, H: Head<T>> Vae<'_, D, E, T, H> {
    fn check(&self) -> Result<(), Error> {
        let (decoder, encoder) = (self.decoder.latent(), self.encoder.latent());
        Error::expect_len("a point of the decoder", decoder, "one of the encoder", encoder)
    }

    /// Means and standard deviations of `z` for each image.
    ///
    /// # Errors
    /// Images of another size.
    pub fn encode(&self, images: &Images) -> Result<Encoding<T>, Error> {
        self.encoder.encode(images)
    }

    /// Each image from the mean of its `z`: `size` numbers an image.
    ///
    /// # Errors
    /// Images of another size, or a decoder and an encoder that do not fit.
    pub fn reconstruct(&self, images: &Images) -> Result<Vec<T>, Error> {
        self.check()?;
        self.decoder.mean(&self.encode(images)?.mean)
    }

    /// The means of so many images from the prior: `size` numbers an image.
    ///
    /// # Errors
    /// None that these parts can cause.
    pub fn generate(&self, count: usize, seed: u64) -> Result<Vec<T>, Error> {
        let mut z = vec![T::default(); count * self.decoder.latent()];
        self.decoder.sample_prior(&mut stream(seed, Purpose::Report, 1 << 32), &mut z);
        self.decoder.mean(&z)
    }

    /// `steps` images on the straight line of `z` from the mean of one image to that of another,
    /// both ends included.
    ///
    /// # Errors
    /// Fewer than two steps, images that are not there, or a decoder and an encoder that do not fit.
    pub fn interpolate(
        &self,
        images: &Images,
        from: usize,
        to: usize,
        steps: usize,
    ) -> Result<Vec<T>, Error> {
        self.check()?;
        if steps < 2 {
            return Err(Error::option("steps", steps, "both ends are shown: take at least 2"));
        }
        let mean = self.encode(&images.select([from, to])?)?.mean;
        let (a, b) = mean.split_at(self.encoder.latent());
        let mut z = Vec::with_capacity(steps * a.len());
        for k in 0..steps {
            let t = T::from_f64(k as f64 / (steps - 1) as f64);
            z.extend(a.iter().zip(b).map(|(&a, &b)| a + t * (b - a)));
        }
        self.decoder.mean(&z)
    }

    /// The latent numbers that carry information: those whose mean varies from image to image by a
    /// variance above [`ACTIVE`].
    ///
    /// # Errors
    /// Images of another size.
    pub fn active_units(&self, images: &Images) -> Result<Vec<usize>, Error> {
        let Encoding { latent, mean, .. } = self.encode(images)?;
        let n = images.len() as f64;
        let variance = |k: usize| {
            let values = || mean.iter().skip(k).step_by(latent).map(|m| m.to_f64());
            let centre = values().sum::<f64>() / n;
            values().map(|m| (m - centre) * (m - centre)).sum::<f64>() / n
        };
        Ok((0..latent).filter(|&k| variance(k) > ACTIVE).collect())
    }

    /// The best `q(z | x)` of each image by itself: from the encoder's answer a mean-field Gaussian
    /// over the `z` of all these images is climbed by `steps` steps of [`fit`](crate::fit()), the
    /// decoder staying as it is. What is gained is what amortization costs (Cremer, Li and Duvenaud
    /// 2018).
    ///
    /// # Errors
    /// As [`Vae::evaluate`], and latent numbers that do not live on the whole line.
    pub fn refine(
        &self,
        images: &Arc<Images>,
        steps: usize,
        seed: u64,
    ) -> Result<Encoding<T>, Error>
    where
        D: Clone,
    {
        self.check()?;
        if self.encoder.head().support() != Support::Real {
            let remedy = "refine takes latent numbers on the whole line";
            return Err(Error::option("the head", self.encoder.head().name(), remedy));
        }
        let Encoding { latent, mean, sd } = self.encode(images)?;
        let model = FixedDecoder::new(self.decoder.with_images(images.clone())?);
        let q = MeanFieldGaussian::new(mean, &sd)?;
        let falling = Schedule::Cosine { steps: steps as u64, floor: 0.02 };
        let optimizer = Scheduled::new(Adam::rate(0.05), falling);
        let ascent = GradientAscent::new(StickingTheLanding { draws: 8 }, optimizer);
        let every = steps.max(1);
        let options =
            Options { steps, seed, stop: Stop::Budget, elbo_every: every, ..Options::default() };
        let q = fit(model, q, ascent, options)?.q;
        Ok(Encoding { latent, mean: q.mean().to_vec(), sd: q.sd().to_vec() })
    }

    /// The ELBO of these images and its terms from `draws` draws an image, and the
    /// importance-weighted bound of as many.
    ///
    /// # Errors
    /// No draws, images of another size or with pixels that the likelihood does not take, or a
    /// decoder and an encoder that do not fit.
    pub fn evaluate(&self, images: &Images, draws: usize, seed: u64) -> Result<Evaluation, Error> {
        self.check()?;
        let (head, said) = (self.encoder.head(), self.encoder.said(images)?);
        let kept = self.encoder.kept();
        let of = |i: usize| &said[i * kept..(i + 1) * kept];
        let transport = |i: usize, eps: &[T], z: &mut [T]| head.transport(of(i), eps, z);
        let normal = self.decoder.learned_prior().normal();
        let divergence = |i: usize, out: &mut [f64]| head.divergence(of(i), normal, out);
        self.evaluate_with(images, transport, divergence, (draws, seed))
    }

    /// [`Vae::evaluate`] with means and standard deviations of normals in place of what the encoder
    /// says, from the same noise where the seed is the same.
    ///
    /// # Errors
    /// As [`Vae::evaluate`], and an encoding of other images or with a spread that is none.
    pub fn evaluate_at(
        &self,
        images: &Images,
        encoding: &Encoding<T>,
        draws: usize,
        seed: u64,
    ) -> Result<Evaluation, Error> {
        self.check()?;
        let Encoding { latent, mean, sd } = encoding;
        encoding.check(images.len(), self.decoder.latent())?;
        let k = *latent;
        let of =
            |i: usize| mean[i * k..][..k].iter().copied().zip(sd[i * k..][..k].iter().copied());
        let transport = |i: usize, eps: &[T], z: &mut [T]| {
            let mut log_q = 0.0;
            for ((z, &eps), (mean, sd)) in z.iter_mut().zip(eps).zip(of(i)) {
                *z = mean + sd * eps;
                log_q += log_normal(eps.to_f64(), 2.0 * sd.to_f64().ln());
            }
            log_q
        };
        let prior = self.decoder.learned_prior().normal();
        let divergence = |i: usize, out: &mut [f64]| {
            let each = out.iter_mut().zip(of(i)).zip(prior.0.iter().zip(prior.1));
            for ((out, (mean, sd)), (&m, &log_v)) in each {
                let (mean, sd, m) = (mean.to_f64(), sd.to_f64(), m.to_f64());
                *out += normal_divergence((mean, sd * sd, 2.0 * sd.ln()), (m, log_v.to_f64()));
            }
            true
        };
        self.evaluate_with(images, transport, divergence, (draws, seed))
    }

    /// From how `z` of an image is drawn, with its `log q`, and how the divergence of each latent
    /// number is known, if it is.
    fn evaluate_with(
        &self,
        images: &Images,
        transport: impl Fn(usize, &[T], &mut [T]) -> f64,
        divergence: impl Fn(usize, &mut [f64]) -> bool,
        (draws, seed): (usize, u64),
    ) -> Result<Evaluation, Error> {
        self.decoder.likelihood().check(images)?;
        if draws == 0 {
            return Err(Error::option("draws", 0, "an estimate needs at least one draw"));
        }
        let (n, latent) = (images.len(), self.decoder.latent());
        let prior = self.decoder.learned_prior();
        let mut kl = vec![0.0; latent];
        let mut kls = vec![0.0; n];
        let closed = !prior.normal().0.is_empty() && {
            let mut here = vec![0.0; latent];
            kls.iter_mut().enumerate().all(|(i, total)| {
                here.fill(0.0);
                let known = divergence(i, &mut here);
                *total = here.iter().sum();
                kl.iter_mut().zip(&here).for_each(|(kl, here)| *kl += here / n as f64);
                known
            })
        };
        let (mut fit, mut weights) = (vec![0.0; n], vec![LogSum::default(); n]);
        let (mut eps, mut z) = (vec![T::default(); n * latent], vec![T::default(); n * latent]);
        let (mut apart, mut likelihoods) = (vec![0.0; n], vec![0.0; n]);
        for s in 0..draws {
            fill_normal(&mut stream(seed, Purpose::Report, s as u64), &mut eps);
            let each = eps.chunks_exact(latent).zip(z.chunks_exact_mut(latent));
            for (i, (eps, z)) in each.enumerate() {
                apart[i] = transport(i, eps, z) - prior.log_density(z);
            }
            self.decoder.log_likelihoods(images, &z, &mut likelihoods);
            for i in 0..n {
                fit[i] += likelihoods[i] / draws as f64;
                weights[i].add(likelihoods[i] - apart[i]);
                if !closed {
                    kls[i] += apart[i] / draws as f64;
                }
            }
        }
        if !closed {
            kl = vec![kls.iter().sum::<f64>() / n as f64];
        }
        let elbos: Vec<f64> = fit.iter().zip(&kls).map(|(fit, kl)| fit - kl).collect();
        let bounds: Vec<f64> =
            weights.iter().map(|sum| sum.value() - (draws as f64).ln()).collect();
        Ok(Evaluation {
            elbo: Estimate::mean(&elbos),
            reconstruction: Estimate::mean(&fit),
            kl,
            bound: Estimate::mean(&bounds),
            draws,
        })
    }
}
