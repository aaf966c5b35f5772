//! `Product`: two independent families side by side.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::{Divergence, Family, Reparameterized, Scored, Smooth};
use crate::bijector::Support;
use crate::scratch::with_buffer;

/// `q(z) = first(z_1) second(z_2)`, `z = [z_1 | z_2]`, `lambda = [lambda_1 | lambda_2]`: it can do
/// what both can. More than two: a product of products.
///
/// ```
/// use elbo::{Beta, Family, MeanFieldGaussian, Product, Support};
/// let q = Product::new(MeanFieldGaussian::standard(2), Beta::uniform(1));
/// assert_eq!((q.dim(), q.n_params()), (3, 6));
/// assert_eq!(q.support(2), Support::Unit);
/// assert!((q.log_prob(&[0.0, 0.0, 0.4]) + 1.8378770664093453).abs() < 1e-12);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Product<A, B> {
    first: A,
    second: B,
}

/// What a draw of [`Product`] keeps for the way back.
#[derive(Clone, Debug, Default)]
pub struct Both<A, B> {
    first: A,
    second: B,
}

impl<A, B> Product<A, B> {
    /// `first` for the leading coordinates, `second` for those after.
    pub fn new(first: A, second: B) -> Self {
        Product { first, second }
    }

    /// The family of the leading coordinates.
    pub fn first(&self) -> &A {
        &self.first
    }

    /// The family of the coordinates after them.
    pub fn second(&self) -> &B {
        &self.second
    }

    /// Both, to be changed: for moves that know the best of one given the other.
    pub fn parts_mut(&mut self) -> (&mut A, &mut B) {
        (&mut self.first, &mut self.second)
    }
}

/// Splits columns of `n + m` numbers into two batches of columns.
fn part(whole: &[f64], n: usize, m: usize, first: &mut [f64], second: &mut [f64]) {
    for (s, column) in whole.chunks_exact((n + m).max(1)).enumerate() {
        first[s * n..(s + 1) * n].copy_from_slice(&column[..n]);
        second[s * m..(s + 1) * m].copy_from_slice(&column[n..]);
    }
}

/// Joins two batches of columns of `n` and `m` numbers.
fn join(first: &[f64], second: &[f64], n: usize, m: usize, whole: &mut [f64]) {
    for (s, column) in whole.chunks_exact_mut((n + m).max(1)).enumerate() {
        column[..n].copy_from_slice(&first[s * n..(s + 1) * n]);
        column[n..].copy_from_slice(&second[s * m..(s + 1) * m]);
    }
}

/// Lends two buffers of `n` and `m` numbers for each of `draws`.
fn with_two<T>(draws: usize, n: usize, m: usize, f: impl FnOnce(&mut [f64], &mut [f64]) -> T) -> T {
    with_buffer(draws * (n + m), |both| {
        let (first, second) = both.split_at_mut(draws * n);
        f(first, second)
    })
}

impl<A: Family, B: Family> Product<A, B> {
    fn dims(&self) -> (usize, usize) {
        (self.first.dim(), self.second.dim())
    }
}

impl<A: Family, B: Family> Family for Product<A, B> {
    fn dim(&self) -> usize {
        self.first.dim() + self.second.dim()
    }
    fn support(&self, i: usize) -> Support {
        match i.checked_sub(self.first.dim()) {
            Some(i) => self.second.support(i),
            None => self.first.support(i),
        }
    }
    fn n_params(&self) -> usize {
        self.first.n_params() + self.second.n_params()
    }
    fn params(&self, out: &mut [f64]) {
        let (first, second) = out.split_at_mut(self.first.n_params());
        self.first.params(first);
        self.second.params(second);
    }
    fn set_params(&mut self, params: &[f64]) {
        let (first, second) = params.split_at(self.first.n_params());
        self.first.set_params(first);
        self.second.set_params(second);
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        let (n, m) = self.dims();
        with_two(z.len() / (n + m).max(1), n, m, |first, second| {
            self.first.sample(rng, first);
            self.second.sample(rng, second);
            join(first, second, n, m, z);
        });
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let (first, second) = z.split_at(self.first.dim());
        self.first.log_prob(first) + self.second.log_prob(second)
    }
    fn entropy(&self) -> Option<f64> {
        Some(self.first.entropy()? + self.second.entropy()?)
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.first.subsample(rows);
        self.second.subsample(rows);
    }
}

impl<A: Scored, B: Scored> Scored for Product<A, B> {
    fn add_score(&self, z: &[f64], weight: f64, grad: &mut [f64]) {
        let (z1, z2) = z.split_at(self.first.dim());
        let (grad1, grad2) = grad.split_at_mut(self.first.n_params());
        self.first.add_score(z1, weight, grad1);
        self.second.add_score(z2, weight, grad2);
    }
}

impl<A: Reparameterized, B: Reparameterized> Reparameterized for Product<A, B> {
    type Residuals = Both<A::Residuals, B::Residuals>;

    fn noise_dim(&self) -> usize {
        self.first.noise_dim() + self.second.noise_dim()
    }
    fn draw_noise(&self, rng: &mut dyn Rng, eps: &mut [f64]) {
        let (n, m) = (self.first.noise_dim(), self.second.noise_dim());
        with_two(eps.len() / (n + m).max(1), n, m, |first, second| {
            self.first.draw_noise(rng, first);
            self.second.draw_noise(rng, second);
            join(first, second, n, m, eps);
        });
    }
    fn transport(
        &self,
        eps: &[f64],
        z: &mut [f64],
        log_q: &mut [f64],
        residuals: &mut Self::Residuals,
    ) {
        let (draws, (n, m)) = (log_q.len(), self.dims());
        let (p, q) = (self.first.noise_dim(), self.second.noise_dim());
        with_two(draws, p, q, |eps1, eps2| {
            part(eps, p, q, eps1, eps2);
            with_two(draws, n, m, |z1, z2| {
                with_buffer(draws, |log_q2| {
                    self.first.transport(eps1, z1, log_q, &mut residuals.first);
                    self.second.transport(eps2, z2, log_q2, &mut residuals.second);
                    log_q.iter_mut().zip(&*log_q2).for_each(|(l, l2)| *l += l2);
                });
                join(z1, z2, n, m, z);
            });
        });
    }
    fn pull_back(
        &self,
        eps: &[f64],
        residuals: &Self::Residuals,
        dz: &[f64],
        dlog_q: &[f64],
        grad: &mut [f64],
    ) {
        let (draws, (n, m)) = (dlog_q.len(), self.dims());
        let (p, q) = (self.first.noise_dim(), self.second.noise_dim());
        let (grad1, grad2) = grad.split_at_mut(self.first.n_params());
        with_two(draws, p, q, |eps1, eps2| {
            part(eps, p, q, eps1, eps2);
            with_two(draws, n, m, |dz1, dz2| {
                part(dz, n, m, dz1, dz2);
                self.first.pull_back(eps1, &residuals.first, dz1, dlog_q, grad1);
                self.second.pull_back(eps2, &residuals.second, dz2, dlog_q, grad2);
            });
        });
    }
}

impl<A: Smooth, B: Smooth> Smooth for Product<A, B> {
    fn log_prob_grad(&self, eps: &[f64], residuals: &Self::Residuals, z: &[f64], grad: &mut [f64]) {
        let (n, m) = self.dims();
        let draws = z.len() / (n + m).max(1);
        let (p, q) = (self.first.noise_dim(), self.second.noise_dim());
        with_two(draws, p, q, |eps1, eps2| {
            part(eps, p, q, eps1, eps2);
            with_two(draws, n, m, |z1, z2| {
                part(z, n, m, z1, z2);
                with_two(draws, n, m, |grad1, grad2| {
                    self.first.log_prob_grad(eps1, &residuals.first, z1, grad1);
                    self.second.log_prob_grad(eps2, &residuals.second, z2, grad2);
                    join(grad1, grad2, n, m, grad);
                });
            });
        });
    }
}

impl<A: Divergence, B: Divergence> Divergence for Product<A, B> {
    fn kl(&self, p: &Self) -> f64 {
        self.first.kl(&p.first) + self.second.kl(&p.second)
    }
}
