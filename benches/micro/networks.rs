//! The gradient of a network with uncertain weights: weights drawn, or units.

use std::hint::black_box;

use elbo::nn::{Activation, BayesianNeuralNetwork, LocalReparameterization, Mlp};
use elbo::{
    Error, Family, GradientEstimator, MeanFieldGaussian, Model, Purpose, StickingTheLanding,
    Unconstrained, stream,
};

use crate::Micro;

/// 120 rows of one input, 20 units; 1000 rows of eight, twice 50 units.
const SIZES: [(&str, &[usize], usize); 2] =
    [("uncertain small network", &[1, 20, 1], 120), ("uncertain network", &[8, 50, 50, 1], 1000)];

pub fn measure(micro: &mut Micro) -> Result<(), Error> {
    for (pair, widths, rows) in SIZES {
        let wave = |n: usize| -> Vec<f64> { (0..n).map(|i| (i as f64).sin()).collect() };
        let network = Mlp::new(widths, Activation::Gelu, 1)?;
        let model = BayesianNeuralNetwork::new(network, &wave(widths[0] * rows), &wave(rows))?
            .unconstrained();
        let d = model.dim();
        let q = MeanFieldGaussian::new(vec![0.1; d], &vec![0.1; d])?;
        one(micro, (pair, "weights"), StickingTheLanding { draws: 1 }, &model, &q);
        one(micro, (pair, "units"), LocalReparameterization { draws: 1 }, &model, &q);
    }
    Ok(())
}

fn one<E>(
    micro: &mut Micro,
    names: (&'static str, &'static str),
    mut estimator: E,
    model: &Unconstrained<BayesianNeuralNetwork>,
    q: &MeanFieldGaussian,
) where
    E: GradientEstimator<Unconstrained<BayesianNeuralNetwork>, MeanFieldGaussian>,
{
    let (mut rng, mut scratch) = (stream(1, Purpose::Step, 0), E::Scratch::default());
    let mut grad = vec![0.0; q.n_params()];
    micro.measure(names, (1, "gradients"), || {
        grad.fill(0.0);
        let done = estimator.gradient(model, q, &mut rng, &mut scratch, &mut [], &mut grad);
        let _ = black_box((done, &grad));
    });
}
