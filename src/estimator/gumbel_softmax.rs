//! `GumbelSoftmax`: labels softened until they can be differentiated.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{GradientEstimator, NonFinite, Objective, check_draws};
use crate::bijector::Support;
use crate::error::Error;
use crate::family::Discrete;
use crate::model::Relaxed;
use crate::noise::uniform;
use crate::optimizer::Schedule;
use crate::scalar::Scalar;
use crate::warning::{Code, Warning};

/// The path gradient through relaxed labels (Jang, Gu and Poole 2017; Maddison, Mnih and Teh 2017).
/// With Gumbel noise `G = -log(-log U)` and temperature `tau`, the label `argmax(log pi + G)` of a
/// coordinate is replaced by the weights `y = softmax((log pi + G) / tau)`; the gradient is that of
///
/// `E[log p(x, y)] + H(q)`,
///
/// the log joint between labels and the exact entropy. It is biased as a gradient of the ELBO: less
/// at a low temperature, where it has more noise. [`GumbelSoftmax::straight_through`] shows the
/// model the label itself and only differentiates through `y`: biased as well.
///
/// The temperature follows a [`Schedule`], one value for each step that was taken. What is climbed is
/// not the ELBO, nor a bound: [`Step::objective`](crate::Step) has it, beside the ELBO of the labels
/// of the same draws; reports and the paired stop rule look at that alone.
///
/// Needs a [`Relaxed`] model and a [`Discrete`] family.
///
/// ```
/// use elbo::{Adam, Categorical, GradientAscent, GumbelSoftmax, OneHot, Options, Schedule};
/// use elbo::{Space, Support, density, fit, from_fn};
/// let mut space = Space::new();
/// let kind = space.block("kind", 3, Support::Simplex);
/// let inner = from_fn(space, move |y| {
///     y[kind][0] * 0.2f64.ln() + y[kind][1] * 0.3f64.ln() + y[kind][2] * 0.5f64.ln()
/// });
/// let annealed = Schedule::Anneal { from: 1.0, rate: 2e-3, floor: 0.1 };
/// let ascent = GradientAscent::new(GumbelSoftmax::new(8, annealed), Adam::rate(0.02));
/// let fit = fit(OneHot::new(inner)?, Categorical::uniform(1, 3)?, ascent, Options { steps: 3_000, ..Options::default() })?;
/// assert!((fit.q.probabilities(0)[2] - 0.5).abs() < 0.1);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GumbelSoftmax {
    /// Draws a step.
    pub draws: usize,
    /// The temperature at step `t`.
    pub temperature: Schedule,
    /// Whether the model sees the labels, and only the gradient goes through the weights.
    pub straight_through: bool,
    steps: u64,
}

impl GumbelSoftmax {
    /// `draws` relaxed draws a step, at a temperature that follows a schedule.
    pub fn new(draws: usize, temperature: Schedule) -> Self {
        GumbelSoftmax { draws, temperature, straight_through: false, steps: 0 }
    }

    /// The same, but the model sees labels: `argmax` forward, `softmax` backward (Bengio, Leonard
    /// and Courville 2013).
    #[must_use]
    pub fn straight_through(self) -> Self {
        GumbelSoftmax { straight_through: true, ..self }
    }

    /// The temperature of the next step.
    pub fn now(&self) -> f64 {
        self.temperature.value(self.steps)
    }
}

/// Buffers of the relaxed draws.
#[derive(Debug, Default)]
pub struct RelaxedDraws<T> {
    /// Labels of each draw.
    z: Vec<T>,
    /// Weights of the labels, and where the model looks if not there.
    y: Vec<T>,
    hard: Vec<T>,
    slope: Vec<T>,
    row: Vec<f64>,
    weights: Vec<T>,
    relaxed: Vec<f64>,
    log_p: Vec<f64>,
    objective: f64,
}

/// How many labels coordinate `i` has.
fn labels<T: Scalar, Q: Discrete<T>>(q: &Q, i: usize) -> usize {
    match q.support(i) {
        Support::Category(n) => n as usize,
        _ => 0,
    }
}

impl<T: Scalar> RelaxedDraws<T> {
    /// Draws labels, and their weights at a temperature.
    fn draw<Q: Discrete<T>>(&mut self, (draws, tau): (usize, f64), q: &Q, rng: &mut dyn Rng) {
        let (d, masses) = (q.dim(), q.log_masses());
        let n = masses.len();
        self.z.resize(d * draws, T::default());
        self.y.resize(n * draws, T::default());
        self.hard.resize(n * draws, T::default());
        self.hard.fill(T::default());
        for s in 0..draws {
            let mut start = 0;
            for i in 0..d {
                let range = start..start + labels(q, i);
                self.row.clear();
                self.row.extend(masses[range.clone()].iter().map(|mass| {
                    let gumbel = -(-uniform(rng).ln()).ln();
                    (mass.to_f64() + gumbel) / tau
                }));
                let best =
                    |best: usize, k: usize| if self.row[k] > self.row[best] { k } else { best };
                let chosen = (0..self.row.len()).fold(0, best);
                let top = self.row[chosen];
                let sum: f64 = self.row.iter().map(|x| (x - top).exp()).sum();
                let y = &mut self.y[s * n + range.start..s * n + range.end];
                for (y, x) in y.iter_mut().zip(&self.row) {
                    *y = T::from_f64((x - top).exp() / sum);
                }
                self.hard[s * n + range.start + chosen] = T::from_f64(1.0);
                self.z[s * d + i] = T::from_f64(chosen as f64);
                start = range.end;
            }
        }
    }

    /// The gradient in `lambda` of the mean of `log p(x, y)` and of the entropy, out of the slopes at
    /// the weights.
    fn pull_back<Q: Discrete<T>>(&mut self, tau: f64, q: &Q, grad_lambda: &mut [T]) {
        let masses = q.log_masses();
        let (n, draws) = (masses.len(), self.relaxed.len());
        let share = 1.0 / (tau * draws as f64);
        self.weights.clear();
        self.weights.extend(masses.iter().map(|mass| -(mass.exp() * *mass)));
        for (y, slope) in self.y.chunks_exact(n.max(1)).zip(self.slope.chunks_exact(n.max(1))) {
            let mut start = 0;
            for i in 0..q.dim() {
                let range = start..start + labels(q, i);
                let (y, slope) = (&y[range.clone()], &slope[range.clone()]);
                let mean: f64 = y.iter().zip(slope).map(|(y, c)| y.to_f64() * c.to_f64()).sum();
                for ((w, y), c) in self.weights[range.clone()].iter_mut().zip(y).zip(slope) {
                    *w += T::from_f64(share * y.to_f64() * (c.to_f64() - mean));
                }
                start = range.end;
            }
        }
        q.add_masses_grad(&self.weights, grad_lambda);
    }

    /// The draw at which the model between labels was not finite.
    fn spoiled<Q: Discrete<T>>(&self, q: &Q) -> Option<NonFinite> {
        let (d, n) = (q.dim(), q.log_masses().len());
        let finite = |s: usize| {
            let slope = &self.slope[s * n..(s + 1) * n];
            self.relaxed[s].is_finite() && slope.iter().all(|c| c.is_finite())
        };
        let draw = (0..self.relaxed.len()).find(|s| !finite(*s))?;
        let z = &self.z[draw * d..(draw + 1) * d];
        let log_q = q.log_prob(z);
        let z = z.iter().map(|z| z.to_f64()).collect();
        Some(NonFinite { draw, z, log_joint: self.relaxed[draw], log_q, coordinate: None })
    }
}

impl GumbelSoftmax {
    /// Both gradients; the entropy.
    fn climb<T: Scalar, M: Relaxed<T>, Q: Discrete<T>>(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        b: &mut RelaxedDraws<T>,
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    ) -> Result<f64, NonFinite> {
        let (draws, tau) = (self.draws, self.now());
        b.draw((draws, tau), q, rng);
        b.relaxed.resize(draws, 0.0);
        b.slope.resize(b.y.len(), T::default());
        let at = if self.straight_through { &b.hard } else { &b.y };
        model.relaxed_grad_batch(at, &mut b.relaxed, &mut b.slope, grad_theta);
        if let Some(bad) = b.spoiled(q) {
            return Err(bad);
        }
        b.pull_back(tau, q, grad_lambda);
        let masses = q.log_masses().iter().map(|mass| mass.to_f64());
        let entropy: f64 = masses.map(|mass| -mass.exp() * mass).sum();
        b.objective = b.relaxed.iter().sum::<f64>() / draws as f64 + entropy;
        self.steps += 1;
        Ok(entropy)
    }
}

impl<T, M, Q> GradientEstimator<M, Q, T> for GumbelSoftmax
where
    T: Scalar,
    M: Relaxed<T>,
    Q: Discrete<T>,
{
    type Scratch = RelaxedDraws<T>;

    fn check(&self, _: &M, _: &Q) -> Result<(), Error> {
        check_draws(self.draws, 1, "a gradient needs at least one draw")?;
        self.temperature.check_positive("temperature")
    }

    fn objective(&self) -> Objective {
        Objective::Relaxed
    }

    fn last_objective(&self, scratch: &Self::Scratch) -> Option<f64> {
        Some(scratch.objective)
    }

    fn closing_warnings(&self) -> Vec<Warning> {
        let (now, limit) = (self.now(), self.temperature.limit());
        let low = if limit > 0.0 { limit } else { 1.0 / 3.0 };
        if now <= 1.5 * low {
            return Vec::new();
        }
        let message = format!(
            "the temperature was still {now:.2} after {} steps, on its way to {limit:.2}: the \
             relaxed labels are far from labels",
            self.steps
        );
        let action = "more steps, Stop::Budget, or a faster Schedule";
        vec![Warning::new(Code::Temperature, message).try_this(action)]
    }

    fn estimate(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        b: &mut Self::Scratch,
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    ) -> Result<f64, NonFinite> {
        let entropy = self.climb(model, q, rng, b, grad_theta, grad_lambda)?;
        let draws = self.draws as f64;
        if self.straight_through {
            return Ok(b.relaxed.iter().sum::<f64>() / draws + entropy);
        }
        b.log_p.resize(self.draws, 0.0);
        model.log_joint_batch(&b.z, &mut b.log_p);
        Ok(b.log_p.iter().sum::<f64>() / draws + entropy)
    }

    fn gradient(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        b: &mut Self::Scratch,
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    ) -> Result<(), NonFinite> {
        self.climb(model, q, rng, b, grad_theta, grad_lambda).map(drop)
    }
}
