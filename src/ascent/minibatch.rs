//! `Minibatch`: a move that looks at some rows of the data at a time, epoch after epoch.

use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Ascent, Step};
use crate::error::Error;
use crate::family::Family;
use crate::model::Subsample;
use crate::scalar::Scalar;
use crate::warning::{Code, Warning};

/// Shows `batch` rows at a time to model and family, and lets the inner move take its step on them
/// (Hoffman, Blei, Wang and Paisley 2013; Robbins and Monro 1951).
///
/// Each epoch sees every row once, in an order of its own, in batches whose sizes differ by at
/// most one row and do not exceed `batch`. The model scales the likelihood of the rows it is shown
/// by `n_data / rows.len()` ([`Subsample`]), so that a step is right on average. A step costs
/// O(`batch`), a new order O(`n_data`) once an epoch.
///
/// A probe of the paired stop rule looks at ten batches' worth of rows, drawn with the probe's own
/// noise: the same rows for two answers that are compared, new ones whenever the noise is
/// renewed. With data no larger than that it looks at all of them.
///
/// ```
/// use elbo::{Adam, GradientAscent, Minibatch, Reparameterization};
/// let inner = GradientAscent::new(Reparameterization { draws: 4 }, Adam::<f64>::rate(0.01));
/// let ascent = Minibatch::new(100, inner);
/// assert_eq!(ascent.batch, 100);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Minibatch<A> {
    /// Rows a step, at most.
    pub batch: usize,
    /// The move.
    pub inner: A,
    /// What the order of this epoch is made from, and how many of its batches have been seen.
    epoch: Option<(u64, usize)>,
    /// The order, made again from its key after a checkpoint.
    #[serde(skip)]
    order: Vec<usize>,
    /// `0..n_data`, but for the while of a draw, and the rows and exchanges of a probe.
    #[serde(skip)]
    all: Vec<usize>,
    #[serde(skip)]
    probed: Vec<usize>,
    #[serde(skip)]
    exchanges: Vec<usize>,
}

/// How many batches' worth of rows a probe looks at.
const PROBE: usize = 10;

impl<A> Minibatch<A> {
    /// The move `inner` on `batch` rows at a time.
    pub fn new(batch: usize, inner: A) -> Minibatch<A> {
        let (order, all, probed, exchanges) = Default::default();
        Minibatch { batch, inner, epoch: None, order, all, probed, exchanges }
    }

    /// The rows of the next step, as a stretch of `order`.
    fn next(&mut self, n: usize, rng: &mut dyn Rng) -> std::ops::Range<usize> {
        // Batch b of an epoch's `count` holds the rows b n / count up to (b + 1) n / count.
        let count = n.div_ceil(self.batch.clamp(1, n.max(1))).max(1);
        let (key, b) = match self.epoch {
            Some((key, b)) if b < count => (key, b),
            _ => (rng.next_u64(), 0),
        };
        if b == 0 || self.order.len() != n {
            self.order.clear();
            self.order.extend(0..n);
            self.order.shuffle(&mut ChaCha8Rng::seed_from_u64(key));
        }
        self.epoch = Some((key, b + 1));
        let edge = |b: usize| (b as u128 * n as u128 / count as u128) as usize;
        edge(b)..edge(b + 1)
    }

    /// Shows the rows of the next step to model and family.
    fn show_next<T: Scalar, M: Subsample, Q: Family<T>>(
        &mut self,
        model: &mut M,
        q: &mut Q,
        rng: &mut dyn Rng,
    ) {
        let stretch = self.next(model.n_data(), rng);
        let rows = &self.order[stretch];
        model.subsample(rows);
        q.subsample(rows);
    }

    /// Draws the rows of a probe without replacement: the first exchanges of a shuffle, undone
    /// afterwards.
    fn draw_probe(&mut self, n: usize, rng: &mut dyn Rng) {
        if self.all.len() != n {
            self.all.clear();
            self.all.extend(0..n);
        }
        self.probed.clear();
        self.exchanges.clear();
        for i in 0..self.batch.saturating_mul(PROBE).min(n) {
            let j = rng.random_range(i..n);
            self.all.swap(i, j);
            self.probed.push(self.all[i]);
            self.exchanges.push(j);
        }
        for (i, &j) in self.exchanges.iter().enumerate().rev() {
            self.all.swap(i, j);
        }
    }
}

impl<T, M, Q, A> Ascent<M, Q, T> for Minibatch<A>
where
    T: Scalar,
    M: Subsample,
    Q: Family<T>,
    A: Ascent<M, Q, T>,
{
    fn check(&self, model: &M, q: &Q) -> Result<(), Error> {
        if self.batch == 0 {
            return Err(Error::option("batch", 0, "show at least one row a step"));
        }
        if model.n_data() == 0 {
            return Err(Error::NoData { what: "the model".to_string() });
        }
        self.inner.check(model, q)
    }

    fn start(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<(), Error> {
        let rows: Vec<usize> = (0..self.batch.min(model.n_data())).collect();
        model.subsample(&rows);
        q.subsample(&rows);
        let looked = self.inner.start(model, q, rng);
        model.whole();
        q.whole();
        looked
    }

    fn warnings(&self, model: &M, q: &Q) -> Vec<Warning> {
        let mut all = self.inner.warnings(model, q);
        let n = model.n_data();
        if self.batch > n {
            let message = format!(
                "a batch of {} rows was asked for, the data have {n}: every step sees all of them",
                self.batch
            );
            let action =
                format!("Minibatch::new({}, ..), or the inner move alone", (n / 10).max(1));
            all.push(Warning::new(Code::Adjusted, message).try_this(action));
        }
        all
    }

    fn name(&self) -> String {
        format!("Minibatch<{}>", self.inner.name())
    }

    fn finishes(&self) -> bool {
        self.inner.finishes()
    }

    fn can_probe(&self) -> bool {
        self.inner.can_probe()
    }

    fn step(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng) -> Result<Step, Error> {
        self.show_next(model, q, rng);
        self.inner.step(model, q, rng)
    }

    fn step_without_elbo(
        &mut self,
        model: &mut M,
        q: &mut Q,
        rng: &mut dyn Rng,
    ) -> Result<Step, Error> {
        self.show_next(model, q, rng);
        self.inner.step_without_elbo(model, q, rng)
    }

    fn answer(&self, model: &mut M, q: &mut Q) {
        model.whole();
        q.whole();
        self.inner.answer(model, q);
    }

    fn probe(&mut self, model: &mut M, q: &mut Q, rng: &mut dyn Rng, terms: &mut [f64]) -> bool {
        let n = model.n_data();
        if n <= self.batch.saturating_mul(PROBE) {
            model.whole();
            q.whole();
        } else {
            self.draw_probe(n, rng);
            model.subsample(&self.probed);
            q.subsample(&self.probed);
        }
        self.inner.probe(model, q, rng, terms)
    }
}
