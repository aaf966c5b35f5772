//! What an [`Evaluation`] says of latent units without information, and how it reads.

use std::fmt;

use super::Evaluation;
use crate::collapse;
use crate::warning::Warning;

impl Evaluation {
    /// The latent units whose divergence from the prior is below a hundredth of a nat: their
    /// `q(z_k | x)` is the prior whatever the image, so that they carry no information (posterior
    /// collapse; Bowman and others 2016; Lucas, Tucker, Grosse and Norouzi 2019).
    pub fn collapsed(&self) -> Vec<usize> {
        collapse::collapsed(&self.kl)
    }

    /// What should not be passed over in silence: units that have collapsed, by their numbers. A fit
    /// by [`ClosedFormKl`](crate::ClosedFormKl) warns of them by itself.
    pub fn warnings(&self) -> Vec<Warning> {
        collapse::warning(&self.kl).into_iter().collect()
    }
}

/// The bound and its terms in a line, and a line for each warning.
impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Evaluation { elbo, reconstruction, bound, draws, .. } = self;
        write!(
            f,
            "ELBO {elbo} = reconstruction {reconstruction} - divergence {:.3}; bound of {draws} draws {bound}, in nats an image",
            self.kl_total()
        )?;
        self.warnings().iter().try_for_each(|warning| write!(f, "\n{warning}"))
    }
}
