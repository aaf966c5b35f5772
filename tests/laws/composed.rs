//! `Delta`, and families made of families: `Product`, `Transformed` by `Affine` and `NaturalScale`.

use crate::family::{
    at_random, divergence, draws, every_vector_is_valid, family, message, reparameterized, saved,
    scored, smooth, transported,
};
use crate::support::assert_close;
use elbo::{
    Affine, Beta, DMatrix, Delta, Divergence, Family, FullRankGaussian, LowRankGaussian,
    MeanFieldGaussian, NaturalScale, Product, Reparameterized, Smooth, Space, Support, Transformed,
};

fn triangle_map() -> Affine {
    let rows = vec![2.0, -0.7, 0.4, 1.1, 0.3, 1.5];
    Affine::from_rows(vec![1.0, -2.0, 0.5], rows).expect("a map")
}

#[test]
fn affine_image_of_mean_field() {
    let q = Transformed::new(MeanFieldGaussian::standard(3), triangle_map()).expect("of one size");
    family(&q);
    saved(&q);
    scored(&q);
    reparameterized(&q);
    transported(&q);
    smooth(&q);
    divergence(&q);
}

#[test]
fn affine_image_of_low_rank() {
    let map = Affine::diagonal(vec![1.0, -2.0, 0.5], &[0.3, 2.0, 5.0]).expect("a map");
    let base = at_random(&LowRankGaussian::with_rank(3, 1), 8, 0.5);
    let q = Transformed::new(base.clone(), map).expect("of one size");
    family(&q);
    saved(&q);
    scored(&q);
    reparameterized(&q);
    transported(&q);
    smooth(&q);
    divergence(&q);
    let same = base.scaled(&[1.0, -2.0, 0.5], &[0.3, 2.0, 5.0]).expect("positive scales");
    let (mean, same_mean) = (base.mean(), same.mean());
    (0..3).for_each(|i| {
        let (shift, scale) = ([1.0, -2.0, 0.5][i], [0.3, 2.0, 5.0][i]);
        assert_close("mean", same_mean[i], shift + scale * mean[i], 1e-14);
    });
    let z = [0.3, -1.0, 2.0];
    assert_close("log_prob", q.log_prob(&z), same.log_prob(&z), 1e-12);
}

/// The image of a full-rank Gaussian, in closed form and through the map.
#[test]
fn affine_image_of_full_rank() {
    let base = at_random(&FullRankGaussian::standard(3), 2, 0.6);
    let diagonal = Affine::diagonal(vec![0.1, 0.2, 0.3], &[0.5, 2.0, 3.0]).expect("a map");
    for map in [triangle_map(), diagonal] {
        let image = base.affine_image(&map).expect("of one size");
        let through = Transformed::new(base.clone(), map).expect("of one size");
        for z in draws(&image, 1).0.chunks_exact(3).take(10) {
            assert_close("log_prob", image.log_prob(z), through.log_prob(z), 1e-12);
        }
        assert_close("entropy", image.entropy().unwrap(), through.entropy().unwrap(), 1e-13);
    }
}

#[test]
fn natural_scale() {
    let mut space = Space::new();
    space.real("mu");
    space.positive("tau");
    space.unit("bias");
    space.one("angle", Support::Interval(-1.0, 3.0));
    let map = NaturalScale::new(&space);
    let q = Transformed::new(FullRankGaussian::standard(4), map).expect("of one size");
    assert_eq!(q.support(1), Support::Positive);
    assert_eq!(q.log_prob(&[0.0, -1.0, 0.5, 0.0]), f64::NEG_INFINITY);
    family(&q);
    saved(&q);
    scored(&q);
    reparameterized(&q);
    transported(&q);
    divergence(&q);
}

/// Blocks whose coordinates are tied: more of them than are free.
#[test]
fn natural_scale_of_tied_blocks() {
    let mut space = Space::new();
    space.block("w", 3, Support::Simplex);
    space.block("cut", 2, Support::Ordered);
    space.correlation_cholesky("L", 2);
    let q = Transformed::new(LowRankGaussian::standard(5), NaturalScale::new(&space))
        .expect("of one size");
    assert_eq!((q.dim(), q.noise_dim()), (8, 8));
    saved(&q);
    scored(&q);
    reparameterized(&q);
    divergence(&q);
    let (z, _) = draws(&at_random(&q, 1, 0.5), 1);
    assert!(z.chunks_exact(8).all(|z| (z[0] + z[1] + z[2] - 1.0).abs() < 1e-14 && z[3] < z[4]));
}

#[test]
fn wrong_maps_are_named() {
    let new = |rows: &[f64]| Affine::from_rows(vec![0.0; 2], rows.to_vec());
    message(new(&[1.0, 2.0]), &["E03 the triangle has 2", "has 3"]);
    message(new(&[1.0, f64::NAN, 1.0]), &["E10 A[1, 0] is NaN", "finite"]);
    message(new(&[1.0, 2.0, 0.0]), &["E10 A[1, 1] is 0", "positive"]);
    message(Affine::diagonal(vec![0.0], &[-1.0]), &["E10 A[0, 0] is -1", "positive"]);
    message(Affine::diagonal(vec![f64::NAN], &[1.0]), &["E10 shift[0] is NaN", "finite"]);
    let upper = DMatrix::from_row_slice(2, 2, &[1.0, 0.5, 0.0, 1.0]);
    message(Affine::new(vec![0.0; 2], &upper), &["E04", "row 0, column 1 is 0.5"]);
    let small = MeanFieldGaussian::standard(2);
    message(
        Transformed::new(small, triangle_map()),
        &["E03 the base family has 2 values but the map has 3"],
    );
    let map = Affine::diagonal(vec![0.0; 2], &[1.0; 2]).expect("a map");
    message(FullRankGaussian::standard(3).affine_image(&map), &["E03 the family has 3"]);
    let one = MeanFieldGaussian::standard(1);
    let mut space = Space::new();
    space.positive("tau");
    let positive = Transformed::new(one, NaturalScale::new(&space)).expect("of one size");
    let map = Affine::diagonal(vec![0.0], &[1.0]).expect("a map");
    message(Transformed::new(positive, map), &["E06", "coordinate 0", "covers Positive"]);
    let (a, b) = (triangle_map(), Affine::diagonal(vec![0.0; 3], &[1.0; 3]).expect("a map"));
    let q = MeanFieldGaussian::standard(3);
    let through = |map| Transformed::new(q.clone(), map).expect("of one size");
    assert!(through(a).kl(&through(b)).is_nan());
}

#[test]
fn delta() {
    let q = Delta::new(vec![0.0; 3]);
    every_vector_is_valid(&q);
    saved(&q);
    reparameterized(&q);
    let mut grad = [1.0; 3];
    q.log_prob_grad(&[], &(), q.point(), &mut grad);
    assert_eq!((grad, q.entropy()), ([0.0; 3], Some(f64::NEG_INFINITY)));
}

#[test]
fn product() {
    let pair = Product::new(LowRankGaussian::with_rank(2, 1), Beta::uniform(1));
    let q = Product::new(pair, FullRankGaussian::standard(2));
    assert_eq!((q.dim(), q.noise_dim(), q.support(2)), (5, 6, Support::Unit));
    family(&q);
    saved(&q);
    scored(&q);
    reparameterized(&q);
    transported(&q);
    smooth(&q);
    divergence(&q);
    let q = Product::new(Delta::new(vec![0.5]), MeanFieldGaussian::standard(1));
    every_vector_is_valid(&q);
    reparameterized(&q);
}

/// A family that notes which rows it was told to look at.
#[derive(Clone)]
struct Noted(MeanFieldGaussian, Vec<usize>);

impl Family for Noted {
    fn dim(&self) -> usize {
        self.0.dim()
    }
    fn n_params(&self) -> usize {
        self.0.n_params()
    }
    fn params(&self, out: &mut [f64]) {
        self.0.params(out);
    }
    fn set_params(&mut self, params: &[f64]) {
        self.0.set_params(params);
    }
    fn sample(&self, rng: &mut dyn rand::Rng, z: &mut [f64]) {
        self.0.sample(rng, z);
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        self.0.log_prob(z)
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.1 = rows.to_vec();
    }
}

#[test]
fn rows_reach_the_families_inside() {
    let noted = || Noted(MeanFieldGaussian::standard(1), Vec::new());
    let map = Affine::diagonal(vec![0.0], &[2.0]).expect("a map");
    let moved = Transformed::new(noted(), map).expect("of one size");
    let mut q = Product::new(noted(), moved);
    q.subsample(&[4, 2]);
    assert_eq!((&q.first().1[..], &q.second().base().1[..]), (&[4, 2][..], &[4, 2][..]));
}
