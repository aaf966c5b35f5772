//! Products of matrices at the shapes of variational inference: ten draws wide, and square.

use std::hint::black_box;

use elbo::{DMatrix, Differentiable, Error, FullRankGaussian, Reparameterized};

use super::Micro;
use super::batches::{fused, normals, rows};

pub fn measure(micro: &mut Micro) -> Result<(), Error> {
    let (n, d, draws) = (20_000, 100, 10);
    let (x, y) = rows(n, d);
    let model = fused(&x, &y, d)?;
    let z: Vec<f64> = normals(draws * d).iter().map(|z| 0.1 * z).collect();
    let mut grad = vec![0.0; draws * d];
    let two_products = (4 * n * d * draws, "floating-point operation");
    micro.measure(("products", "logistic_20000x100x10"), two_products, || {
        model.grad_batch(black_box(&z), draws, &mut grad, &mut []);
    });
    let (x, z) = (DMatrix::from_vec(d, n, x), DMatrix::from_vec(d, draws, z));
    let (mut eta, mut back) = (DMatrix::zeros(n, draws), DMatrix::zeros(d, draws));
    micro.measure(("products", "the_same_two_by_nalgebra"), two_products, || {
        eta.gemm_tr(1.0, &x, black_box(&z), 0.0);
        back.gemm(1.0, &x, &eta, 0.0);
        black_box(&mut back);
    });

    let d = 1_000;
    let eps = normals(d * draws);
    let q = FullRankGaussian::standard(d);
    let (mut z, mut log_q, mut residuals) = (vec![0.0; d * draws], vec![0.0; draws], Vec::new());
    let triangle = (d * d * draws, "floating-point operation");
    micro.measure(("products", "full_rank_transport_1000x10"), triangle, || {
        q.transport(black_box(&eps), &mut z, &mut log_q, &mut residuals);
    });
    let square = DMatrix::from_vec(400, 400, normals(160_000));
    let mut product = square.clone();
    micro.measure(
        ("products", "square_400_by_nalgebra"),
        (2 * 400 * 400 * 400, "floating-point operation"),
        || {
            product.gemm(1.0, black_box(&square), &square, 0.0);
        },
    );
    Ok(())
}
