//! `Enumeration`: the exact gradient, by a sum over all labels there are.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{GradientEstimator, NonFinite};
use crate::bijector::Support;
use crate::error::Error;
use crate::family::{Family, Scored};
use crate::model::Model;
use crate::scalar::Scalar;

/// The exact ELBO and its exact gradient where every coordinate is a label: sums over all joint
/// states `z`, with `f(z) = log p(x, z) - log q(z)`,
///
/// `grad_lambda = sum_z q(z) (f(z) - ELBO) grad_lambda log q(z)`.
///
/// Needs any [`Model`] and a [`Scored`] family over labels ([`Support::Category`]), of at most
/// [`Enumeration::MOST`] joint states. It draws nothing: two steps from one place are the same.
///
/// ```
/// use elbo::{Adam, Categorical, Enumeration, GradientAscent, Model, Options, Space, Support, fit};
/// /// Which of three dice showed a six? One of them shows it half the time.
/// struct Dice;
/// impl Model for Dice {
///     fn space(&self) -> Space {
///         let mut space = Space::new();
///         space.one("die", Support::Category(3));
///         space
///     }
///     fn log_joint(&self, z: &[f64]) -> f64 {
///         let six = [1.0 / 6.0, 1.0 / 6.0, 0.5][z[0] as usize];
///         (1f64 / 3.0).ln() + f64::ln(six)
///     }
/// }
/// let ascent = GradientAscent::new(Enumeration, Adam::rate(0.05));
/// let options = Options { steps: 2_000, ..Options::default() };
/// let q = fit(Dice, Categorical::uniform(1, 3)?, ascent, options)?.q;
/// assert!((q.probabilities(0)[2] - 0.6).abs() < 1e-3);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Enumeration;

impl Enumeration {
    /// The most joint states that are summed over.
    pub const MOST: usize = 1 << 16;
}

/// States handed to the model at once.
const BLOCK: usize = 256;

/// Buffers of the enumeration.
#[derive(Debug, Default)]
pub struct States<T> {
    labels: Vec<u32>,
    z: Vec<T>,
    log_p: Vec<f64>,
    log_q: Vec<f64>,
    mass: Vec<T>,
}

/// How many labels coordinate `i` has; 0 where it is no label.
fn labels<T: Scalar, Q: Family<T>>(q: &Q, i: usize) -> usize {
    match q.support(i) {
        Support::Category(n) => n as usize,
        _ => 0,
    }
}

/// How many joint states the family has, or more than there are numbers.
fn states<T: Scalar, Q: Family<T>>(q: &Q) -> usize {
    (0..q.dim()).map(|i| labels(q, i)).fold(1, usize::saturating_mul)
}

impl<T: Scalar> States<T> {
    /// Writes the states from number `from` on, as many as `z` holds: the last label runs fastest.
    fn fill<Q: Family<T>>(&mut self, q: &Q, from: usize, count: usize) {
        let d = q.dim();
        self.labels.resize(d, 0);
        self.z.resize(d * count, T::default());
        let mut rest = from;
        for i in (0..d).rev() {
            let n = labels(q, i).max(1);
            self.labels[i] = (rest % n) as u32;
            rest /= n;
        }
        for z in self.z.chunks_exact_mut(d.max(1)) {
            z.iter_mut().zip(&self.labels).for_each(|(z, l)| *z = T::from_f64(f64::from(*l)));
            for i in (0..d).rev() {
                self.labels[i] += 1;
                if (self.labels[i] as usize) < labels(q, i) {
                    break;
                }
                self.labels[i] = 0;
            }
        }
    }
}

impl<T, M, Q> GradientEstimator<M, Q, T> for Enumeration
where
    T: Scalar,
    M: Model<T>,
    Q: Scored<T>,
{
    type Scratch = States<T>;

    fn check(&self, _: &M, q: &Q) -> Result<(), Error> {
        if let Some(i) = (0..q.dim()).find(|&i| labels(q, i) == 0) {
            let remedy = "Enumeration sums over labels (Support::Category); for other coordinates \
                          use `Reparameterization` or `ScoreFunction`";
            return Err(Error::option(
                &format!("the support of coordinate {i}"),
                q.support(i).name(),
                remedy,
            ));
        }
        let n = states(q);
        if n <= Enumeration::MOST {
            return Ok(());
        }
        let many = if n == usize::MAX { "beyond counting".to_string() } else { n.to_string() };
        let remedy = format!(
            "Enumeration sums over at most {}; draw instead: `ScoreFunction {{ draws: 8 }}`, \
             `Vimco {{ draws: 8 }}`, or `Disarm {{ pairs: 4 }}` for coins",
            Enumeration::MOST
        );
        Err(Error::option("the number of joint states", many, &remedy))
    }

    fn estimate(
        &mut self,
        model: &M,
        q: &Q,
        _: &mut dyn Rng,
        b: &mut Self::Scratch,
        grad_theta: &mut [T],
        grad_lambda: &mut [T],
    ) -> Result<f64, NonFinite> {
        let (d, n) = (q.dim(), states(q));
        b.log_p.resize(n, 0.0);
        b.log_q.resize(n, 0.0);
        let blocks = || (0..n).step_by(BLOCK).map(move |from| (from, (from + BLOCK).min(n)));
        let mut elbo = 0.0;
        for (from, to) in blocks() {
            b.fill(q, from, to - from);
            model.log_joint_batch(&b.z, &mut b.log_p[from..to]);
            q.log_prob_batch(&b.z, &mut b.log_q[from..to]);
            for s in from..to {
                let (log_joint, log_q) = (b.log_p[s], b.log_q[s]);
                let mass = log_q.exp();
                if mass == 0.0 {
                    continue;
                }
                if !log_joint.is_finite() || !log_q.is_finite() {
                    let z = &b.z[(s - from) * d..(s - from + 1) * d];
                    let z = z.iter().map(|z| z.to_f64()).collect();
                    return Err(NonFinite { draw: s, z, log_joint, log_q, coordinate: None });
                }
                elbo += mass * (log_joint - log_q);
            }
        }
        for (from, to) in blocks() {
            if n > BLOCK {
                b.fill(q, from, to - from);
            }
            b.mass.clear();
            for (s, z) in (from..to).zip(b.z.chunks_exact(d.max(1))) {
                let mass = b.log_q[s].exp();
                b.mass.push(T::from_f64(mass));
                if mass > 0.0 {
                    let above = b.log_p[s] - b.log_q[s] - elbo;
                    q.add_score(z, T::from_f64(mass * above), grad_lambda);
                }
            }
            if model.n_theta() > 0 {
                model.add_theta_grad(&b.z, &b.mass, grad_theta);
            }
        }
        Ok(elbo)
    }
}
