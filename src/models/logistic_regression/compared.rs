//! What is believed of a logistic regression, for comparisons: `intercept`, and `beta[1]`, .., as a
//! `Space` numbers them.

use super::LogisticRegression;
use crate::compare::{Compared, Entry, Parameter, Quantity};
use crate::error::Error;
use crate::family::FullRankGaussian;
use crate::fit::Fit;
use crate::model::Model;
use crate::triangle;

/// Normal coefficients, and the [ELBO](LogisticRegression::elbo) of the `q` in the model itself,
/// whichever move found it: what coordinate ascent reports step by step is a lower bound of that.
impl Compared for Fit<LogisticRegression, FullRankGaussian> {
    fn entry(&self, method: &str) -> Result<Entry, Error> {
        let (model, q) = (&self.model, &self.q);
        let lower = q.triangle();
        let each = model.space().names().into_iter().zip(q.mean()).zip(triangle::rows(&lower));
        let one = |((name, mean), row): ((String, &f64), &[f64])| {
            Parameter::normal(&name, *mean, triangle::dot(row, row).sqrt())
        };
        let entry = Entry::new(method).of(model.fingerprint())?.spent(self);
        Ok(entry.reached(Quantity::Elbo, model.elbo(q)).with(each.map(one)))
    }
}
