//! Networks of the burn framework: the same function and the same gradient as by hand; bad input.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use elbo::nn::{Activation, BurnNetwork, Layer, Mlp, Network};

use super::normals;

#[derive(Module, Debug)]
struct Two {
    first: Linear,
    second: Linear,
}

fn forward(two: &Two, x: Tensor<2>) -> Tensor<2> {
    two.second.forward(two.first.forward(x).tanh())
}

fn two(device: &Device) -> Two {
    Two {
        first: LinearConfig::new(3, 5).init(device),
        second: LinearConfig::new(5, 2).init(device),
    }
}

/// The same weights in both: burn keeps `inputs x outputs` row by row and then the bias, and so does
/// the perceptron.
fn both() -> (BurnNetwork<Two>, Mlp<f32>) {
    let device = Device::default().autodiff();
    let mut burn =
        BurnNetwork::new(two(&device), (3, 2), &device, "3-5-2", forward).expect("it fits");
    let single = |index, n| normals(n, index).iter().map(|x| *x as f32).collect::<Vec<f32>>();
    let layers = vec![
        Layer { weights: single(20, 15), bias: single(21, 5), activation: Activation::Tanh },
        Layer { weights: single(22, 10), bias: single(23, 2), activation: Activation::Linear },
    ];
    let mlp = Mlp::from_layers(layers).expect("they chain");
    let mut params = vec![0.0; mlp.n_params()];
    mlp.params(&mut params);
    burn.set_params(&params);
    (burn, mlp)
}

#[test]
fn the_same_weights_are_the_same_function_with_the_same_gradient() {
    let (burn, mlp) = both();
    assert_eq!(burn.n_params(), mlp.n_params());
    let columns = 7;
    let x: Vec<f32> = normals(3 * columns, 24).iter().map(|x| *x as f32).collect();
    let dy: Vec<f32> = normals(2 * columns, 25).iter().map(|x| *x as f32).collect();
    fn run<N: Network<f32>>(net: &N, x: &[f32], dy: &[f32], columns: usize) -> [Vec<f32>; 3] {
        let mut tape = N::Tape::default();
        let (mut y, mut dx) = (vec![0.0; 2 * columns], vec![0.0; 3 * columns]);
        let mut grad = vec![1.0; net.n_params()];
        net.forward(x, columns, &mut y, &mut tape);
        net.backward(x, columns, &mut dy.to_vec(), &mut dx, &mut tape, &mut grad);
        [y, dx, grad]
    }
    let (theirs, ours) = (run(&burn, &x, &dy, columns), run(&mlp, &x, &dy, columns));
    for (what, (theirs, ours)) in ["y", "dx", "grad"].iter().zip(theirs.iter().zip(&ours)) {
        for (i, (a, b)) in theirs.iter().zip(ours).enumerate() {
            // sums of at most 7 x 5 products of numbers of size 1, in single precision
            assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{what}[{i}]: {a} against {b}");
        }
    }
}

#[test]
fn parameters_go_in_and_come_out() {
    let (mut burn, _) = both();
    let new: Vec<f32> = (0..burn.n_params()).map(|i| i as f32 * 0.25 - 2.0).collect();
    burn.set_params(&new);
    let mut out = vec![0.0; new.len()];
    burn.params(&mut out);
    assert_eq!(out, new);
    let first: &Param<Tensor<2>> = &burn.module().first.weight;
    let inside = first.val().into_data().try_to_vec::<f32>().expect("f32");
    assert_eq!(inside, &new[..15]);
}

#[test]
fn what_does_not_fit_is_refused_with_a_sentence() {
    let device = Device::default().autodiff();
    let new = |shape, device: &Device, on: &Device| {
        let made = BurnNetwork::new(two(device), shape, on, "two", forward);
        made.map(|_| ()).unwrap_err().to_string()
    };
    let said = new((3, 4), &device, &device);
    assert!(said.contains("`two` gives for one row") && said.contains('4'), "{said}");
    let said = new((0, 2), &device, &device);
    assert!(said.contains("inputs and outputs"), "{said}");
    let plain = Device::default();
    let said = new((3, 2), &plain, &plain);
    assert!(said.contains("autodiff"), "{said}");
}
