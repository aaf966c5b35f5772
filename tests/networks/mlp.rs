//! `Mlp`: its way back is the slope of its way forward; single precision says the same.

use elbo::Scalar;
use elbo::nn::{Activation, Layer, Mlp, Network};

use super::support::assert_all_close;
use super::{normals, slopes};

const ALL: [Activation; 4] =
    [Activation::Tanh, Activation::Relu, Activation::Softplus, Activation::Gelu];

/// `<dy, f(x)>` with these parameters.
fn product(mlp: &Mlp<f64>, params: &[f64], x: &[f64], columns: usize, dy: &[f64]) -> f64 {
    let mut mlp = mlp.clone();
    mlp.set_params(params);
    let mut y = vec![0.0; dy.len()];
    mlp.forward(x, columns, &mut y, &mut Default::default());
    y.iter().zip(dy).map(|(y, d)| y * d).sum()
}

#[test]
fn the_way_back_is_the_slope_of_the_way_forward() {
    for activation in ALL {
        for (columns, widths) in [(1, &[3, 4, 2][..]), (5, &[3, 6, 5, 2]), (3, &[4, 3])] {
            let mut mlp = Mlp::<f64>::new(widths, activation, 9).expect("widths");
            // biases away from 0, and for relu no number at its kink
            let mut params = vec![0.0; mlp.n_params()];
            mlp.params(&mut params);
            let noise = normals(params.len(), 2);
            params.iter_mut().zip(&noise).for_each(|(p, n)| *p += 0.1 * n);
            mlp.set_params(&params);
            let x = normals(columns * mlp.inputs(), 3);
            let dy = normals(columns * mlp.outputs(), 4);
            let mut tape = Default::default();
            let mut y = vec![0.0; dy.len()];
            mlp.forward(&x, columns, &mut y, &mut tape);
            let start = 0.5;
            let (mut dx, mut grad) = (vec![9.0; x.len()], vec![start; params.len()]);
            mlp.backward(&x, columns, &mut dy.clone(), &mut dx, &mut tape, &mut grad);
            grad.iter_mut().for_each(|g| *g -= start);
            let name = activation.name();
            let want = slopes(&params, |p| product(&mlp, p, &x, columns, &dy));
            assert_all_close(&format!("{name} in the parameters"), &grad, &want, 1e-7);
            let want = slopes(&x, |x| product(&mlp, &params, x, columns, &dy));
            assert_all_close(&format!("{name} in the input"), &dx, &want, 1e-7);
        }
    }
}

/// Columns do not see each other, and single precision is double precision rounded: 1e-5 is some
/// hundred roundings of numbers of size 1.
#[test]
fn columns_are_apart_and_single_precision_agrees() {
    for activation in ALL {
        let double = Mlp::<f64>::new(&[7, 20, 20, 3], activation, 1).expect("widths");
        let single = Mlp::<f32>::new(&[7, 20, 20, 3], activation, 1).expect("widths");
        let columns = 64;
        let x = normals(columns * 7, 5);
        let mut all = vec![0.0; columns * 3];
        double.forward(&x, columns, &mut all, &mut Default::default());
        let x32: Vec<f32> = x.iter().map(|&x| f32::from_f64(x)).collect();
        let mut all32 = vec![0.0; columns * 3];
        single.forward(&x32, columns, &mut all32, &mut Default::default());
        for j in 0..columns {
            let column: Vec<f64> = (0..7).map(|i| x[i * columns + j]).collect();
            let mut alone = [0.0; 3];
            double.forward(&column, 1, &mut alone, &mut Default::default());
            let here: Vec<f64> = (0..3).map(|i| all[i * columns + j]).collect();
            assert_all_close("a column by itself", &alone, &here, 1e-12);
            let here32: Vec<f64> = (0..3).map(|i| f64::from(all32[i * columns + j])).collect();
            assert_all_close("single precision", &here32, &here, 1e-5);
        }
    }
}

#[test]
fn layers_come_back_as_they_went_in() {
    let mlp = Mlp::<f64>::new(&[3, 4, 2], Activation::Gelu, 2).expect("widths");
    let layers: Vec<Layer<f64>> = mlp.layers().collect();
    assert_eq!(layers[0].weights.len(), 12);
    assert_eq!(layers[1].activation, Activation::Linear);
    assert_eq!(Mlp::from_layers(layers).expect("they chain"), mlp);
    assert_eq!(mlp.describe(), "3-4-2 gelu");
    let json = serde_json::to_string(&mlp).expect("JSON");
    assert_eq!(serde_json::from_str::<Mlp<f64>>(&json).expect("JSON"), mlp);
}
