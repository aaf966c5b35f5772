//! Normals, and elementary functions as a log joint has them, each with its slope.

use std::hint::black_box;

use elbo::autodiff::Real;
use elbo::noise::fill_normal;
use elbo::{Differentiable, Purpose, Space, Var, from_fn, stream};
use rand_distr::{Distribution, StandardNormal};

use super::Micro;
use super::batches::normals;

/// A function and its name.
type Named<T> = (&'static str, fn(T) -> T);

pub fn measure(micro: &mut Micro) {
    let mut rng = stream(0, Purpose::Step, 0);
    let mut out = vec![0.0f64; 1_000];
    let work = (out.len(), "normal");
    micro.measure(("normals", "fill_normal"), work, || fill_normal(&mut rng, black_box(&mut out)));
    micro.measure(("normals", "ziggurat_of_rand_distr"), work, || {
        out.iter_mut().for_each(|x| *x = StandardNormal.sample(&mut rng));
        black_box(&mut out);
    });

    let functions: [Named<Var>; 4] = [
        ("square", |x| x.square()),
        ("exp", |x| x.exp()),
        ("ln_1p_square", |x| x.ln_1p_square()),
        ("sigmoid", |x| x.sigmoid()),
    ];
    let (d, draws) = (200, 16);
    let z = normals(d * draws);
    let mut grad = vec![0.0; d * draws];
    for (name, f) in functions {
        let mut space = Space::new();
        let x = space.reals("x", d);
        let model = from_fn(space, move |z| z[x].iter().map(|&x| f(x)).sum());
        micro.measure(("on_the_tape", name), (d * draws, "function and slope"), || {
            model.grad_batch(black_box(&z), draws, &mut grad, &mut []);
        });
    }
    let plain: [Named<f64>; 2] =
        [("exp_of_std", f64::exp), ("sigmoid_of_std", |x| 1.0 / (1.0 + (-x).exp()))];
    for (name, f) in plain {
        micro.measure(("on_the_tape", name), (z.len(), "function"), || {
            grad.iter_mut().zip(black_box(&z)).for_each(|(g, &z)| *g = f(z));
            black_box(&mut grad);
        });
    }
}
