//! The network with uncertain weights: its formula, its gradient, some rows for all, bad input.

use elbo::nn::{Activation, BayesianNeuralNetwork, Mlp};
use elbo::{Differentiable, Error, Model, Subsample, density};

use super::{normals, slopes};

const ROWS: usize = 150;

fn model() -> BayesianNeuralNetwork {
    let network = Mlp::new(&[3, 5, 4, 1], Activation::Tanh, 2).expect("widths");
    BayesianNeuralNetwork::new(network, &normals(3 * ROWS, 2), &normals(ROWS, 3))
        .and_then(|m| m.wider(1.5))
        .and_then(|m| m.noise_scale(0.7))
        .expect("finite rows")
}

fn point(model: &BayesianNeuralNetwork) -> Vec<f64> {
    let mut z = normals(model.dim(), 4);
    z[model.dim() - 1] = 0.6;
    z
}

#[test]
fn the_log_joint_is_the_formula_written_down() -> Result<(), Error> {
    let (model, x, y) = (model(), normals(3 * ROWS, 2), normals(ROWS, 3));
    let z = point(&model);
    // layers 3-5, 5-4, 4-1: weights output after output for each input, then biases
    let (mut a, mut at, mut prior) = (x, 0, 0.0);
    for (inputs, outputs, last) in [(3, 5, false), (5, 4, false), (4, 1, true)] {
        let weights = &z[at..at + inputs * outputs];
        let bias = &z[at + inputs * outputs..at + (inputs + 1) * outputs];
        at += (inputs + 1) * outputs;
        let sd = 1.5 / (inputs as f64).sqrt();
        prior += weights.iter().map(|w| density::normal(*w, 0.0, sd)).sum::<f64>();
        prior += bias.iter().map(|b| density::normal(*b, 0.0, 1.5)).sum::<f64>();
        let mut next = Vec::new();
        for row in a.chunks_exact(inputs) {
            for j in 0..outputs {
                let sum = row.iter().enumerate().map(|(i, x)| x * weights[i * outputs + j]);
                let sum = sum.sum::<f64>() + bias[j];
                next.push(if last { sum } else { sum.tanh() });
            }
        }
        a = next;
    }
    let noise = z[at];
    let outcomes: f64 = a.iter().zip(&y).map(|(f, y)| density::normal(*y, *f, noise)).sum();
    let expected = prior + outcomes + density::half_normal(noise, 0.7);
    assert!((model.log_joint(&z) - expected).abs() < 1e-9 * expected.abs());
    let function = model.function(&z, &normals(3 * ROWS, 2))?;
    assert!(function.iter().zip(&a).all(|(f, a)| (f - a).abs() < 1e-12));
    Ok(())
}

#[test]
fn the_gradient_is_the_slope_also_of_some_rows() {
    let mut model = model();
    for rows in [None, Some(vec![3, 77, 140, 4])] {
        match &rows {
            Some(rows) => model.subsample(rows),
            None => model.whole(),
        }
        let z = point(&model);
        let mut grad = vec![0.0; z.len()];
        let value = model.log_joint_grad(&z, &mut grad);
        assert_eq!(value, model.log_joint(&z));
        for (i, (g, slope)) in grad.iter().zip(slopes(&z, |z| model.log_joint(z))).enumerate() {
            // differences of numbers of size |value|, over steps of 1e-5
            let tolerance = 1e-6 * (1.0 + g.abs()) + 1e-10 * value.abs();
            assert!((g - slope).abs() < tolerance, "coordinate {i}: {g} against {slope}");
        }
    }
}

#[test]
fn batches_of_an_epoch_add_up_to_all_rows() {
    let mut model = model();
    let z = point(&model);
    let whole = model.log_joint(&z);
    let order: Vec<usize> = (0..ROWS).map(|i| i * 7 % ROWS).collect();
    let batches: f64 = order
        .chunks(30)
        .map(|rows| {
            model.subsample(rows);
            model.log_joint(&z)
        })
        .sum();
    model.whole();
    assert_eq!(model.log_joint(&z), whole);
    assert!((batches / 5.0 - whole).abs() < 1e-10 * whole.abs());
}

#[test]
fn outside_the_support_the_log_joint_is_minus_infinity() {
    let model = model();
    let mut z = point(&model);
    *z.last_mut().expect("a noise") = -0.1;
    assert_eq!(model.log_joint(&z), f64::NEG_INFINITY);
}

/// Two draws, one function each: the mean is between them, the interval that of the mixture.
#[test]
fn predictions_are_those_of_the_mixture() -> Result<(), Error> {
    let network = Mlp::new(&[1, 1], Activation::Linear, 1)?;
    let model = BayesianNeuralNetwork::new(network, &[0.0, 1.0], &[0.0, 1.0])?;
    let draws = [[1.0, 0.0, 0.5], [-1.0, 0.0, 0.5]];
    let at = model.predict(draws.iter().map(|z| &z[..]), &[2.0], 0.5)?;
    assert_eq!((at.mean[0], at.function_sd[0]), (0.0, 2.0));
    assert!((at.sd[0] - 4.25f64.sqrt()).abs() < 1e-15);
    // a quarter of the mixture lies below the lower mean, up to what the other leaks (8 sd away)
    assert!((at.low[0] + 2.0).abs() < 1e-9 && (at.high[0] - 2.0).abs() < 1e-9, "{at:?}");
    Ok(())
}

#[test]
fn bad_input_is_named() {
    let network = |widths: &[usize]| Mlp::new(widths, Activation::Tanh, 1).expect("widths");
    let new = |widths: &[usize], x: &[f64], y: &[f64]| {
        BayesianNeuralNetwork::new(network(widths), x, y).map(|_| ()).unwrap_err().to_string()
    };
    let said = new(&[1, 2], &[0.0], &[0.0]);
    assert!(said.contains("outputs of the network") && said.contains("one unit"), "{said}");
    let said = new(&[2, 1], &[0.0; 5], &[0.0; 2]);
    assert!(said.contains("cells of x") && said.contains("2 inputs"), "{said}");
    let said = new(&[2, 1], &[0.0, 1.0, 2.0, f64::NAN], &[0.0; 2]);
    assert!(said.contains("row 1, column 1") && said.contains("NaN"), "{said}");
    let said = new(&[1, 1], &[0.0, 1.0], &[0.0, f64::INFINITY]);
    assert!(said.contains("y at row 1"), "{said}");
    let said = new(&[1, 1], &[], &[]);
    assert!(said.contains("no outcomes"), "{said}");
    let model = model();
    for (said, words) in [
        (model.clone().noise_scale(0.0).map(|_| ()).unwrap_err(), "noise_scale"),
        (model.clone().wider(f64::NAN).map(|_| ()).unwrap_err(), "factor"),
        (model.function(&[0.0], &[]).map(|_| ()).unwrap_err(), "the draw"),
        (model.function(&point(&model), &[0.0]).map(|_| ()).unwrap_err(), "rows of 3"),
        (model.predict([], &[], 0.9).map(|_| ()).unwrap_err(), "draws"),
        (model.predict([&point(&model)[..]], &[], 1.0).map(|_| ()).unwrap_err(), "level"),
    ] {
        assert!(said.to_string().contains(words), "{said}");
    }
}
