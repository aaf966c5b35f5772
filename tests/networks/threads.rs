//! The same bits for any number of threads.

#[cfg(feature = "parallel")]
#[test]
fn threads_do_not_matter() {
    use super::{decoder, encoder, normals, pictures};
    use elbo::nn::Likelihood;
    use elbo::{Differentiable, Family, Model, Reparameterized};

    // 150 images: panels of 64, 64 and 22, of two draws
    let images = pictures(150);
    let (model, q) = (decoder(&images, Likelihood::Bernoulli), encoder(&images));
    let d = model.dim();
    let (eps, dz) = (normals(2 * d, 20), normals(2 * d, 21));
    let run = || {
        let mut kept = Default::default();
        let (mut z, mut log_q) = (vec![0.0; 2 * d], vec![0.0; 2]);
        q.transport(&eps, &mut z, &mut log_q, &mut kept);
        let mut in_lambda = vec![0.0; q.n_params()];
        q.pull_back(&eps, &kept, &dz, &[0.1, 0.2], &mut in_lambda);
        let (mut out, mut in_z) = (vec![0.0; 2], vec![0.0; 2 * d]);
        let mut in_theta = vec![0.0; model.n_theta()];
        model.log_joint_grad_batch(&z, &mut out, &mut in_z, &mut in_theta);
        (z, log_q, in_lambda, out, in_z, in_theta, q.encode(&images).expect("the same size"))
    };
    let alone = run();
    for threads in [1, 2, 3, 8] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        assert!(pool.install(run) == alone, "{threads} threads");
    }
}
