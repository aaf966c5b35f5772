//! `LocalReparameterization`: noise drawn for each unit and datum instead of for each weight.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::moments::{Pair, PairMut, Squares};
use super::{BayesianNeuralNetwork, Shown};
use crate::error::Error;
use crate::estimator::{GradientEstimator, NonFinite};
use crate::family::MeanFieldGaussian;
use crate::model::Unconstrained;
use crate::nn::Network;
use crate::nn::mlp::Plan;
use crate::nn::room;
use crate::noise::fill_normal;
use crate::special::LN_SQRT_2PI;

/// The gradient of the ELBO of a [`BayesianNeuralNetwork`] under independent normals, with noise for
/// each unit and datum (Kingma, Salimans and Welling 2015).
///
/// Under a [`MeanFieldGaussian`] what enters the units of a layer, given what left the one before,
/// is normal, independent between units:
///
/// ```text
/// a_j = sum_i h_i w_ij + b_j  ~  N(sum_i h_i E[w_ij] + E[b_j],  sum_i h_i^2 Var[w_ij] + Var[b_j])
/// ```
///
/// so that it can be drawn itself, anew for each datum: the noise of different data averages out,
/// where one draw of the weights spoils all data alike. Nothing is drawn that has an expectation in
/// closed form: the last layer (`E (y - f)^2 = (y - E f)^2 + Var f`), the noise
/// (`E noise^-2 = exp(-2 mean + 2 sd^2)` of its logarithm), the divergence of the weights from their
/// prior. The estimate is unbiased; without hidden layers it has no noise at all.
///
/// A draw takes two products where one of the weights takes one, and a normal for each unit and datum
/// instead of one for each weight: about 1.7 times as long (`cargo bench --bench micro -- uncertain`). Under families with covariances what enters the units is no sum of
/// independent normals: take [`StickingTheLanding`](crate::StickingTheLanding) there.
///
/// ```
/// use elbo::nn::{Activation, BayesianNeuralNetwork, LocalReparameterization, Mlp, Network};
/// use elbo::{Adam, GradientAscent, MeanFieldGaussian, Model, Options, fit};
/// let network = Mlp::new(&[1, 4, 1], Activation::Tanh, 1)?;
/// let (x, y) = ([-1.0, -0.5, 0.0, 0.5, 1.0], [0.8, 0.5, 0.1, -0.4, -0.9]);
/// let model = BayesianNeuralNetwork::new(network, &x, &y)?;
/// let mut start = vec![-1.0; model.dim()];
/// model.network().params(&mut start[..13]);
/// let q = MeanFieldGaussian::new(start, &[0.05; 14])?;
/// let ascent = GradientAscent::new(LocalReparameterization { draws: 1 }, Adam::rate(0.02));
/// let found = fit(model.unconstrained(), q, ascent, Options { steps: 300, ..Options::default() })?;
/// assert!(found.trace.last().unwrap().elbo > found.trace[0].elbo);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalReparameterization {
    /// Draws a step: of every unit before the last layer, at every datum that is shown.
    pub draws: usize,
}

/// Buffers of [`LocalReparameterization`].
#[derive(Debug, Default)]
pub struct UnitDraws {
    /// `Var[w]` of each weight.
    variance: Vec<f64>,
    /// Gradients in the means and variances of the weights.
    grad: [Vec<f64>; 2],
    layers: Vec<Units>,
    /// Gradients in what left a layer.
    delta: Vec<f64>,
}

/// The units of one layer at the columns of a panel.
#[derive(Debug, Default)]
struct Units {
    squares: Squares,
    /// The mean and variance of what enters them.
    mean: Vec<f64>,
    variance: Vec<f64>,
    eps: Vec<f64>,
    before: Vec<f64>,
    after: Vec<f64>,
    /// Gradients in the mean and the variance.
    d_mean: Vec<f64>,
    d_variance: Vec<f64>,
}

impl Units {
    /// Draws what enters the units, and sends it through them.
    fn draw(&mut self, plan: &Plan, columns: usize, rng: &mut dyn Rng) {
        let size = columns * plan.outputs;
        let (eps, after) = (room(&mut self.eps, size), room(&mut self.after, size));
        fill_normal(rng, eps);
        let moments = self.mean.iter().zip(&self.variance);
        for ((after, eps), (mean, variance)) in after.iter_mut().zip(eps).zip(moments) {
            *after = mean + variance.sqrt() * *eps;
        }
        let needed = if plan.activation.needs_before() { size } else { 0 };
        plan.activation.forward(after, size, &[0.0], room(&mut self.before, needed));
    }

    /// Takes the gradient in what left the units to those in mean and variance, and adds it there.
    fn pull_back(&mut self, plan: &Plan, delta: &mut [f64]) {
        plan.activation.backward(delta, &self.after, &self.before);
        let d = self.d_mean.iter_mut().zip(&mut self.d_variance);
        for ((d, delta), (eps, variance)) in d.zip(&*delta).zip(self.eps.iter().zip(&self.variance))
        {
            *d.0 += delta;
            *d.1 += 0.5 * delta * eps / variance.sqrt();
        }
    }

    /// Gradients of no value.
    fn clear(&mut self, size: usize) {
        room(&mut self.d_mean, size).fill(0.0);
        room(&mut self.d_variance, size).fill(0.0);
    }
}

impl UnitDraws {
    /// `E sum_n (y_n - f_n)^2` over the rows that are shown, by so many draws, and `weight` times its
    /// gradient in the means and the variances of the weights, in `self.grad`.
    fn squares(
        &mut self,
        (plan, mean, shown, width): (&[Plan], &[f64], &Shown, usize),
        draws: usize,
        weight: f64,
        rng: &mut dyn Rng,
    ) -> f64 {
        let UnitDraws { variance, grad: [grad_mean, grad_variance], layers, delta } = self;
        for grad in [&mut *grad_mean, &mut *grad_variance] {
            room(grad, mean.len()).fill(0.0);
        }
        layers.resize_with(plan.len(), Units::default);
        let weights = Pair { mean, variance };
        let grad = &mut PairMut { mean: grad_mean, variance: grad_variance };
        let last = plan.len() - 1;
        // without hidden units nothing is drawn
        let draws = if last == 0 { 1 } else { draws };
        let share = 1.0 / draws as f64;
        let mut total = 0.0;
        let panels = shown.x.chunks(width * plan[0].inputs).zip(shown.y.chunks(width));
        for (x, y) in panels {
            let columns = y.len();
            let forward = |units: &mut Units, plan: &Plan, x: &[f64]| {
                let size = columns * plan.outputs;
                let Units { squares, mean, variance, .. } = units;
                let (mean, variance) = (room(mean, size), room(variance, size));
                squares.forward(plan, weights, x, columns, &mut PairMut { mean, variance });
            };
            // what enters the first layer is known: its moments serve all draws
            forward(&mut layers[0], &plan[0], x);
            layers[0].clear(columns * plan[0].outputs);
            for _ in 0..draws {
                for l in 1..=last {
                    let (below, here) = layers.split_at_mut(l);
                    let below = &mut below[l - 1];
                    below.draw(&plan[l - 1], columns, rng);
                    forward(&mut here[0], &plan[l], &below.after[..columns * plan[l].inputs]);
                    here[0].clear(columns * plan[l].outputs);
                }
                let Units { mean, variance, d_mean, d_variance, .. } = &mut layers[last];
                let f = mean.iter().zip(&*variance).zip(d_mean.iter_mut().zip(d_variance));
                for (((mean, variance), d), y) in f.zip(y) {
                    let off = mean - y;
                    total += share * (off * off + variance);
                    *d.0 += share * weight * 2.0 * off;
                    *d.1 += share * weight;
                }
                for l in (1..=last).rev() {
                    let (below, here) = layers.split_at_mut(l);
                    let (below, here) = (&mut below[l - 1], &mut here[0]);
                    let entered = &below.after[..columns * plan[l].inputs];
                    let size = columns * plan[l].outputs;
                    let d = Pair { mean: &here.d_mean[..size], variance: &here.d_variance[..size] };
                    here.squares.weights(&plan[l], entered, columns, d, grad);
                    let delta = room(delta, entered.len());
                    here.squares.inputs(&plan[l], weights, entered, columns, d, delta);
                    below.pull_back(&plan[l - 1], delta);
                }
            }
            let first = &layers[0];
            let size = columns * plan[0].outputs;
            let d = Pair { mean: &first.d_mean[..size], variance: &first.d_variance[..size] };
            first.squares.weights(&plan[0], x, columns, d, grad);
        }
        total
    }
}

impl GradientEstimator<Unconstrained<BayesianNeuralNetwork>, MeanFieldGaussian>
    for LocalReparameterization
{
    type Scratch = UnitDraws;

    fn check(
        &self,
        _: &Unconstrained<BayesianNeuralNetwork>,
        _: &MeanFieldGaussian,
    ) -> Result<(), Error> {
        crate::estimator::check_draws(self.draws, 1, "a gradient needs at least one draw")
    }

    fn estimate(
        &mut self,
        model: &Unconstrained<BayesianNeuralNetwork>,
        q: &MeanFieldGaussian,
        rng: &mut dyn Rng,
        s: &mut UnitDraws,
        _: &mut [f64],
        grad_lambda: &mut [f64],
    ) -> Result<f64, NonFinite> {
        let model = model.inner();
        let n = model.sds.len();
        let ((mean, sd), (m, t)) = ((&q.mean()[..n], &q.sd()[..n]), (q.mean()[n], q.sd()[n]));
        s.variance.resize(n, 0.0);
        s.variance.iter_mut().zip(sd).for_each(|(variance, sd)| *variance = sd * sd);
        // u, the logarithm of the noise, is N(m, t^2)
        let precision = (2.0 * (t * t - m)).exp();
        let (rows, scale) = (model.shown.y.len() as f64, model.shown.scale);
        let network = (model.network.plan(), mean, &model.shown, model.network.panel());
        let squares = s.squares(network, self.draws, -0.5 * scale * precision, rng);
        let wide = (2.0 * (t * t + m)).exp() / (model.noise_scale * model.noise_scale);
        // the likelihood; the half-normal prior of e^u and the Jacobian of the map; the entropy of u
        let mut elbo = -scale * (rows * (LN_SQRT_2PI + m) + 0.5 * squares * precision)
            + std::f64::consts::LN_2
            - LN_SQRT_2PI
            - model.noise_scale.ln()
            - 0.5 * wide
            + m
            + (t.ln() + LN_SQRT_2PI + 0.5);
        let (grad_mean, grad_log_sd) = grad_lambda.split_at_mut(n + 1);
        grad_mean[n] += scale * (squares * precision - rows) - wide + 1.0;
        grad_log_sd[n] += 1.0 - 2.0 * t * t * (scale * squares * precision + wide);
        for i in 0..n {
            let prior = 1.0 / (model.sds[i] * model.sds[i]);
            let (mean, variance) = (mean[i], s.variance[i]);
            grad_mean[i] += s.grad[0][i] - mean * prior;
            grad_log_sd[i] += 2.0 * variance * s.grad[1][i] + 1.0 - variance * prior;
            // minus the divergence from the prior
            elbo += 0.5 * (1.0 - (mean * mean + variance) * prior) + 0.5 * (variance * prior).ln();
        }
        let gradient = grad_mean.iter().chain(&*grad_log_sd);
        let coordinate = gradient.clone().position(|g| !g.is_finite());
        if elbo.is_finite() && coordinate.is_none() {
            return Ok(elbo);
        }
        Err(NonFinite { draw: 0, z: Vec::new(), log_joint: elbo, log_q: 0.0, coordinate })
    }
}
