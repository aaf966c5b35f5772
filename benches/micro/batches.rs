//! Draws side by side against one after another, and a fused likelihood against one of many terms.

use std::hint::black_box;

use elbo::autodiff::Real;
use elbo::density::{self, glm};
use elbo::{Differentiable, Error, Purpose, Space, from_fn, stream};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use super::Micro;

const DRAWS: usize = 10;

pub fn measure(micro: &mut Micro) -> Result<(), Error> {
    let (n, d) = (10_000, 50);
    let (x, y) = rows(n, d);
    let model = fused(&x, &y, d)?;
    let z: Vec<f64> = normals(DRAWS * d).iter().map(|z| 0.1 * z).collect();
    let (mut out, mut grad) = (vec![0.0; DRAWS], vec![0.0; DRAWS * d]);
    let work = (DRAWS * n, "row and draw");
    micro.measure(("logistic_10000x50", "gradients_of_10_draws"), work, || {
        model.grad_batch(black_box(&z), DRAWS, &mut grad, &mut []);
    });
    micro.measure(("logistic_10000x50", "values_and_gradients"), work, || {
        model.log_joint_grad_batch(black_box(&z), &mut out, &mut grad, &mut []);
    });
    micro.measure(("logistic_10000x50", "one_draw_after_another"), work, || {
        for (z, grad) in z.chunks_exact(d).zip(grad.chunks_exact_mut(d)) {
            black_box(model.log_joint_grad(black_box(z), grad));
        }
    });

    let (n, d) = (500, 10);
    let (x, y) = rows(n, d);
    let (fused, composed) = (fused(&x, &y, d)?, composed(x, y, d));
    let z: Vec<f64> = normals(DRAWS * d).iter().map(|z| 0.1 * z).collect();
    let mut grad = vec![0.0; DRAWS * d];
    let work = (DRAWS * n, "row and draw");
    micro.measure(("logistic_500x10", "fused"), work, || {
        fused.grad_batch(black_box(&z), DRAWS, &mut grad, &mut []);
    });
    micro.measure(("logistic_500x10", "a_term_for_each_row"), work, || {
        composed.grad_batch(black_box(&z), DRAWS, &mut grad, &mut []);
    });
    Ok(())
}

pub fn normals(n: usize) -> Vec<f64> {
    let mut rng = stream(n as u64, Purpose::Data, 1);
    (0..n).map(|_| StandardNormal.sample(&mut rng)).collect()
}

/// `n` rows of `d` numbers, and an outcome each.
pub fn rows(n: usize, d: usize) -> (Vec<f64>, Vec<bool>) {
    let mut rng = stream(n as u64, Purpose::Data, 2);
    (normals(n * d), (0..n).map(|_| rng.random()).collect())
}

/// Logistic regression with all rows as one node.
pub fn fused(x: &[f64], y: &[bool], d: usize) -> Result<impl Differentiable + use<>, Error> {
    let likelihood = glm::bernoulli_logit(x, d, y)?;
    let mut space = Space::new();
    let beta = space.reals("beta", d);
    Ok(from_fn(space, move |z| {
        density::normals(&z[beta], 0.0, 1.0) + likelihood.log_prob(&z[beta])
    }))
}

/// The same, row by row on the tape.
fn composed(x: Vec<f64>, y: Vec<bool>, d: usize) -> impl Differentiable {
    let mut space = Space::new();
    let beta = space.reals("beta", d);
    from_fn(space, move |z| {
        let mut lp = density::normals(&z[beta], 0.0, 1.0);
        for (row, &y) in x.chunks_exact(d).zip(&y) {
            lp += density::bernoulli_logit(y, Real::dot(row, &z[beta]));
        }
        lp
    })
}
