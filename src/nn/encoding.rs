//! Checks of an [`Encoding`] that somebody else has made.

use super::Encoding;
use crate::error::Error;
use crate::scalar::Scalar;

impl<T: Scalar> Encoding<T> {
    /// Refuses one that is not of `images` images with `latent` numbers each, or whose means are not
    /// finite or spreads not positive.
    pub(super) fn check(&self, images: usize, latent: usize) -> Result<(), Error> {
        let point = "a point of the decoder";
        Error::expect_len("a point of the encoding", self.latent, point, latent)?;
        for (what, numbers) in [("means", &self.mean), ("standard deviations", &self.sd)] {
            let what = format!("the {what} of the encoding");
            let whole = format!("{images} images with {latent} latent numbers");
            Error::expect_len(&what, numbers.len(), &whole, images * latent)?;
        }
        let bad = |(m, s): (&T, &T)| !(m.is_finite() && s.is_finite() && s.to_f64() > 0.0);
        let Some(i) = self.mean.iter().zip(&self.sd).position(bad) else { return Ok(()) };
        let value = format!("N({}, sd {})", self.mean[i].to_f64(), self.sd[i].to_f64());
        Err(Error::Data {
            place: format!("latent number {} of image {} of the encoding", i % latent, i / latent),
            value,
            count: String::new(),
            remedy: "Means must be finite and standard deviations positive".to_string(),
        })
    }
}
