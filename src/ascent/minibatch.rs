//! `Minibatch`: a move that looks at some rows of the data at a time, epoch after epoch.

mod deal;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Ascent, Step};
use deal::Deal;

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
/// O(`batch`); a new epoch puts a list of row numbers back in order.
///
/// A model that can keep its rows in another order ([`Subsample::arrange`]) is asked once for a
/// random one, and is then shown eight neighbours at a time, whose order is new in each epoch; where
/// eight divides the number of rows, sizes of batches differ by at most eight.
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
    /// Neighbours that are shown together, where the user says how many.
    #[serde(default)]
    run: Option<usize>,
    /// What the order of this epoch is made from, and how many of its batches have been seen.
    epoch: Option<(u64, usize)>,
    /// What the order of the model's rows was made from, and whether it took it.
    arranged: Option<(u64, bool)>,
    #[serde(skip)]
    buffers: Buffers,
}

/// What is made again after a checkpoint.
#[derive(Clone, Debug, Default)]
struct Buffers {
    /// The rest of the epoch, and where its randomness comes from.
    epoch: Option<(Deal, ChaCha8Rng)>,
    /// The order the model keeps its rows in; empty where it is its own.
    order: Vec<u32>,
    /// Whether the model has been asked for it.
    asked: bool,
    /// The rows shown, by the numbers of the model and of the family.
    rows: Vec<usize>,
    named: Vec<usize>,
    probe: Deal,
}

/// Rows that an arranged model is shown together.
const RUN: usize = 8;
/// How many batches' worth of rows a probe looks at.
const PROBE: usize = 10;

impl<A> Minibatch<A> {
    /// The move `inner` on `batch` rows at a time.
    pub fn new(batch: usize, inner: A) -> Minibatch<A> {
        let (run, epoch, arranged, buffers) = Default::default();
        Minibatch { batch, inner, run, epoch, arranged, buffers }
    }

    /// Shows rows in runs of so many neighbours, `run k .. run (k + 1)`, whose order is new in each
    /// epoch: a file delivers them faster than rows from anywhere, and an epoch keeps one number a
    /// run instead of one a row. A step is as right on average as before, and as sure if neighbours
    /// are no more alike than other rows; where they are, as in data that came in some order, a step
    /// knows less than its number of rows says. The model is not asked to arrange its rows.
    ///
    /// ```
    /// use elbo::{MStep, Minibatch, NaturalStep};
    /// let moves = (NaturalStep::decaying(1.0, 0.6), MStep);
    /// let ascent = Minibatch::new(4096, moves).in_runs_of(64);
    /// # assert_eq!(ascent.batch, 4096);
    /// ```
    pub fn in_runs_of(mut self, rows: usize) -> Minibatch<A> {
        self.run = Some(rows);
        self
    }

    /// Asks the model, once, to keep its rows in a random order.
    fn arrange(&mut self, model: &mut impl Subsample, rng: &mut dyn Rng) {
        if self.run.is_some() || std::mem::replace(&mut self.buffers.asked, true) {
            return;
        }
        let (key, taken) = self.arranged.unwrap_or_else(|| (rng.next_u64(), true));
        let taken = taken && {
            let mut order: Vec<usize> = (0..model.n_data()).collect();
            order.shuffle(&mut ChaCha8Rng::seed_from_u64(key));
            let taken = model.arrange(&order);
            if taken {
                self.buffers.order = order.into_iter().map(|i| i as u32).collect();
            }
            taken
        };
        self.arranged = Some((key, taken));
    }

    /// How many neighbours are dealt together, and whether hands of `rows` need not cut a run.
    fn runs(&self, n: usize, rows: usize) -> (usize, bool) {
        match (self.run, self.arranged) {
            (None, Some((_, true))) => (RUN, n.is_multiple_of(RUN) && rows >= RUN),
            (Some(run), _) => (run, n.is_multiple_of(run) && rows >= run),
            _ => (1, true),
        }
    }

    /// Deals the rows of the next step.
    fn next(&mut self, n: usize, rng: &mut dyn Rng) {
        let (run, whole) = self.runs(n, self.batch);
        // Batch b of an epoch's `count` holds the units b total / count up to (b + 1) total / count.
        let unit = if whole { run } else { 1 };
        let total = n / unit;
        let count = total.div_ceil((self.batch / unit).clamp(1, total.max(1))).max(1);
        let edge = |b: usize| (b as u128 * total as u128 / count as u128) as usize;
        let size = |b: usize| (edge(b + 1) - edge(b)) * unit;
        let (key, b) = match self.epoch {
            Some((key, b)) if b < count => (key, b),
            _ => (rng.next_u64(), 0),
        };
        let Buffers { epoch, rows, .. } = &mut self.buffers;
        if epoch.is_none() || b == 0 {
            let mut rng = ChaCha8Rng::seed_from_u64(key);
            let mut deal = epoch.take().map(|(deal, _)| deal).unwrap_or_default();
            deal.begin(n, run, whole, &mut rng);
            (0..b).for_each(|b| deal.next(size(b), rows, &mut rng));
            *epoch = Some((deal, rng));
        }
        if let Some((deal, rng)) = epoch {
            deal.next(size(b), rows, rng);
        }
        self.epoch = Some((key, b + 1));
    }

    /// Draws the rows of a probe without replacement.
    fn draw_probe(&mut self, n: usize, rng: &mut dyn Rng) {
        let wanted = self.batch.saturating_mul(PROBE).min(n);
        let (run, whole) = self.runs(n, wanted);
        let unit = if whole { run } else { 1 };
        let Buffers { probe, rows, .. } = &mut self.buffers;
        probe.begin(n, run, whole, rng);
        probe.next(wanted / unit * unit, rows, rng);
    }

    /// Shows the rows that were dealt to model and family.
    fn show<T: Scalar>(&mut self, model: &mut impl Subsample, q: &mut impl Family<T>) {
        let Buffers { order, rows, named, .. } = &mut self.buffers;
        model.subsample(rows);
        if order.is_empty() {
            return q.subsample(rows);
        }
        named.clear();
        named.extend(rows.iter().map(|&i| order[i] as usize));
        q.subsample(named);
    }

    /// Shows the rows of the next step to model and family.
    fn show_next<T: Scalar, M: Subsample, Q: Family<T>>(
        &mut self,
        model: &mut M,
        q: &mut Q,
        rng: &mut dyn Rng,
    ) {
        self.arrange(model, rng);
        self.next(model.n_data(), rng);
        self.show(model, q);
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
        if self.run == Some(0) {
            return Err(Error::option("in_runs_of", 0, "a run has at least one row"));
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

    fn closing_warnings(&self) -> Vec<Warning> {
        self.inner.closing_warnings()
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
            self.show(model, q);
        }
        self.inner.probe(model, q, rng, terms)
    }
}
