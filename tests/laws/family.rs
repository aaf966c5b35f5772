//! What every family obeys, at random parameters: `Family`, `Scored`, `Reparameterized`, `Smooth`,
//! `Divergence`. A new family adds one line to `members`.
//!
//! Random tests compare a mean with its exact value at `SIGMA` standard errors: 6e-5 false alarms a
//! comparison were the seeds not fixed. Finite differences are central with step `H`: truncation
//! `H^2`, rounding `1e-16 / H`, both far below the tolerance of `SLOPE`.

use crate::support::{assert_all_close, assert_close, exact_cases, numbers};
use elbo::{
    Affine, Beta, DMatrix, Delta, Divergence, Family, FullRankGaussian, LowRankGaussian,
    MeanFieldGaussian, NaturalScale, Product, Purpose, Reparameterized, Scored, Smooth, Space,
    Support, Transformed, stream,
};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const SIGMA: f64 = 4.0;
const H: f64 = 1e-5;
const SLOPE: f64 = 1e-6;
const DRAWS: usize = 20_000;

fn normals(rng: &mut ChaCha8Rng, n: usize, sd: f64) -> Vec<f64> {
    (0..n).map(|_| Distribution::<f64>::sample(&StandardNormal, rng) * sd).collect()
}

/// The family at parameters drawn from `N(0, sd^2)`.
fn at_random<Q: Family + Clone>(q: &Q, seed: u64, sd: f64) -> Q {
    let mut q = q.clone();
    let params = normals(&mut stream(seed, Purpose::Start, 0), q.n_params(), sd);
    q.set_params(&params);
    q
}

fn params<Q: Family>(q: &Q) -> Vec<f64> {
    let mut lambda = vec![f64::NAN; q.n_params()];
    q.params(&mut lambda);
    lambda
}

fn with_params<Q: Family + Clone>(q: &Q, params: &[f64]) -> Q {
    let mut q = q.clone();
    q.set_params(params);
    q
}

/// Central differences of `f` at `x`, coordinate by coordinate.
fn slopes(x: &[f64], f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    slopes_by(x, &vec![H; x.len()], f)
}

/// Central differences with a step for each coordinate.
fn slopes_by(x: &[f64], steps: &[f64], mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let (mut x, n) = (x.to_vec(), x.len());
    let slope = |i: usize| {
        let centre = x[i];
        x[i] = centre + steps[i];
        let up = f(&x);
        x[i] = centre - steps[i];
        let down = f(&x);
        x[i] = centre;
        (up - down) / (2.0 * steps[i])
    };
    (0..n).map(slope).collect()
}

/// Mean and its standard error.
fn mean_se(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut n, mut mean, mut square) = (0.0, 0.0, 0.0);
    for v in values {
        n += 1.0;
        let off = v - mean;
        mean += off / n;
        square += off * (v - mean);
    }
    (mean, (square / (n - 1.0) / n).sqrt())
}

#[track_caller]
fn assert_mean(what: &str, values: impl Iterator<Item = f64>, want: f64) -> f64 {
    let (mean, se) = mean_se(values);
    let off = (mean - want).abs();
    assert!(off <= SIGMA * se + 1e-12, "{what}: mean {mean} ± {se}, want {want}");
    se
}

/// Draws through `sample`, and their log densities.
fn draws<Q: Family>(q: &Q, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let (mut z, mut log_q) = (vec![0.0; q.dim() * DRAWS], vec![0.0; DRAWS]);
    q.sample(&mut stream(seed, Purpose::Data, 0), &mut z);
    q.log_prob_batch(&z, &mut log_q);
    (z, log_q)
}

/// `log r` at each draw, `r` independent normals in the unconstrained coordinates of each support,
/// centred on the draws and narrow enough that `r / q` has a variance. `r` is normalized by itself,
/// so a constant missing from `log q` is seen.
fn log_narrow(supports: &[Support], z: &[f64]) -> Vec<f64> {
    let d = supports.len();
    let n = z.len() / d;
    let mut u = DMatrix::<f64>::zeros(d, n);
    let mut log_det = vec![0.0; n];
    for s in 0..n {
        for i in 0..d {
            let (mut free, mut back) = ([0.0], [0.0]);
            supports[i].unconstrain(&z[s * d + i..s * d + i + 1], &mut free);
            u[(i, s)] = free[0];
            log_det[s] += supports[i].constrain(&free, &mut back);
        }
    }
    let mean = u.column_mean();
    u.column_iter_mut().for_each(|mut column| column -= &mean);
    let covariance = &u * u.transpose() / n as f64;
    let precision = covariance.try_inverse().expect("draws are not degenerate");
    let log_r = |s: usize| -> f64 {
        let term = |i: usize| {
            let sd = 0.8 / precision[(i, i)].sqrt();
            let x: f64 = u[(i, s)] / sd;
            -0.5 * x * x - sd.ln() - 0.9189385332046727
        };
        (0..d).map(term).sum::<f64>() - log_det[s]
    };
    (0..n).map(log_r).collect()
}

/// `log q` is normalized and is the density of `sample`; parameters come back; the entropy, where
/// known, is `-E[log q]`.
#[track_caller]
fn family<Q: Family + Clone>(q: &Q) {
    for seed in 0..3 {
        let q = at_random(q, seed, 0.5);
        let (z, log_q) = draws(&q, seed);
        let supports: Vec<Support> = (0..q.dim()).map(|i| q.support(i)).collect();
        let log_r = log_narrow(&supports, &z);
        let ratio = log_r.iter().zip(&log_q).map(|(r, q)| (r - q).exp());
        let se = assert_mean("E_q[r / q]", ratio, 1.0);
        assert!(se < 0.05, "E_q[r / q]: a standard error of {se} proves nothing");
        for s in 0..10 {
            let one = q.log_prob(&z[s * q.dim()..(s + 1) * q.dim()]);
            assert_close("log_prob in a batch", log_q[s], one, 1e-12);
        }
        if let Some(entropy) = q.entropy() {
            assert_mean("-E[log q]", log_q.iter().map(|l| -l), entropy);
        }
    }
    every_vector_is_valid(q);
}

/// Whether a draw was rounded to the boundary of its support, where the density is zero.
fn on_the_edge<Q: Family>(q: &Q, z: &[f64]) -> bool {
    let edge = |(i, z): (usize, &f64)| {
        let mut free = [0.0];
        q.support(i).unconstrain(&[*z], &mut free);
        !free[0].is_finite()
    };
    z.iter().enumerate().any(edge)
}

/// Any `lambda` comes back as it was set and gives draws with finite log densities.
#[track_caller]
fn every_vector_is_valid<Q: Family + Clone>(q: &Q) {
    for seed in 0..20 {
        let sd = if seed < 10 { 1.0 } else { 8.0 };
        let lambda = normals(&mut stream(seed, Purpose::Start, 1), q.n_params(), sd);
        let q = with_params(q, &lambda);
        assert_eq!(params(&q), lambda, "params after set_params");
        let mut z = vec![0.0; q.dim() * 50];
        q.sample(&mut stream(seed, Purpose::Data, 1), &mut z);
        for z in z.chunks_exact(q.dim()) {
            let log_q = q.log_prob(z);
            let rounded = on_the_edge(&q, z) && log_q == f64::NEG_INFINITY;
            assert!(log_q.is_finite() || rounded, "log q is {log_q} at its draw {z:?}");
        }
    }
}

/// A family that went through JSON is the same family.
#[track_caller]
fn saved<Q>(q: &Q)
where
    Q: Family + Clone + PartialEq + std::fmt::Debug,
    Q: serde::Serialize + serde::de::DeserializeOwned,
{
    let q = at_random(q, 5, 0.7);
    let text = serde_json::to_string(&q).expect("a family can be saved");
    assert_eq!(serde_json::from_str::<Q>(&text).expect("and read"), q);
}

/// The score is the slope of `log_prob` in `lambda`, and has mean 0.
#[track_caller]
fn scored<Q: Scored + Clone>(q: &Q) {
    for seed in 0..3 {
        let q = at_random(q, seed, 0.5);
        let (z, _) = draws(&q, seed);
        let (d, p, lambda) = (q.dim(), q.n_params(), params(&q));
        for z in z.chunks_exact(d).take(5) {
            let mut score = vec![1.0; p];
            q.add_score(z, -0.7, &mut score);
            let slope = slopes(&lambda, |lambda| with_params(&q, lambda).log_prob(z));
            let want: Vec<f64> = slope.iter().map(|s| 1.0 - 0.7 * s).collect();
            assert_all_close("score", &score, &want, SLOPE);
        }
        let mut scores = vec![0.0; p * DRAWS];
        for (z, score) in z.chunks_exact(d).zip(scores.chunks_exact_mut(p)) {
            q.add_score(z, 1.0, score);
        }
        for i in 0..p {
            assert_mean(&format!("score[{i}]"), (0..DRAWS).map(|s| scores[s * p + i]), 0.0);
        }
    }
}

/// `pull_back` is the transpose of the slope of `transport`, whose `log_q` is `log_prob`.
#[track_caller]
fn reparameterized<Q: Reparameterized + Clone>(q: &Q) {
    for seed in 0..3 {
        let q = at_random(q, seed, 0.5);
        let (d, s) = (q.dim(), 4);
        let mut rng = stream(seed, Purpose::Data, 2);
        let mut eps = vec![0.0; q.noise_dim() * s];
        q.draw_noise(&mut rng, &mut eps);
        let (dz, dlog_q) = (normals(&mut rng, d * s, 1.0), normals(&mut rng, s, 1.0));
        let mut residuals = Q::Residuals::default();
        let (mut z, mut log_q) = (vec![0.0; d * s], vec![0.0; s]);
        q.transport(&eps, &mut z, &mut log_q, &mut residuals);
        for (z, log_q) in z.chunks_exact(d).zip(&log_q) {
            assert_close("log_q of transport", *log_q, q.log_prob(z), 1e-10);
        }
        let mut grad = vec![0.5; q.n_params()];
        q.pull_back(&eps, &residuals, &dz, &dlog_q, &mut grad);
        let objective = |lambda: &[f64]| {
            let (mut z, mut log_q) = (vec![0.0; d * s], vec![0.0; s]);
            let mut residuals = Q::Residuals::default();
            with_params(&q, lambda).transport(&eps, &mut z, &mut log_q, &mut residuals);
            let along: f64 = z.iter().zip(&dz).map(|(z, g)| z * g).sum();
            along + log_q.iter().zip(&dlog_q).map(|(l, g)| l * g).sum::<f64>()
        };
        let want: Vec<f64> = slopes(&params(&q), objective).iter().map(|g| g + 0.5).collect();
        assert_all_close("pull_back", &grad, &want, SLOPE);
    }
}

/// Draws made by `transport` have the density `log_q` says.
#[track_caller]
fn transported<Q: Reparameterized + Clone>(q: &Q) {
    let q = at_random(q, 7, 0.5);
    let (mut z, mut log_q) = (vec![0.0; q.dim() * DRAWS], vec![0.0; DRAWS]);
    let mut eps = vec![0.0; q.noise_dim() * DRAWS];
    q.draw_noise(&mut stream(7, Purpose::Data, 3), &mut eps);
    q.transport(&eps, &mut z, &mut log_q, &mut Q::Residuals::default());
    let supports: Vec<Support> = (0..q.dim()).map(|i| q.support(i)).collect();
    let log_r = log_narrow(&supports, &z);
    let ratio = log_r.iter().zip(&log_q).map(|(r, q)| (r - q).exp());
    let se = assert_mean("E_q[r / q] of transported noise", ratio, 1.0);
    assert!(se < 0.05, "a standard error of {se} proves nothing");
}

/// `log_prob_grad` is the slope of `log_prob` in `z`.
#[track_caller]
fn smooth<Q: Smooth + Clone>(q: &Q) {
    for seed in 0..3 {
        let q = at_random(q, seed, 0.5);
        let (d, s) = (q.dim(), 3);
        let mut eps = vec![0.0; q.noise_dim() * s];
        q.draw_noise(&mut stream(seed, Purpose::Data, 4), &mut eps);
        let (mut z, mut log_q) = (vec![0.0; d * s], vec![0.0; s]);
        let mut residuals = Q::Residuals::default();
        q.transport(&eps, &mut z, &mut log_q, &mut residuals);
        let mut grad = vec![f64::NAN; d * s];
        q.log_prob_grad(&eps, &residuals, &z, &mut grad);
        for (z, grad) in z.chunks_exact(d).zip(grad.chunks_exact(d)) {
            // on the unit interval, in proportion to the nearer end
            let step = |(i, z): (usize, &f64)| match q.support(i) {
                Support::Unit => H * z * (1.0 - z),
                _ => H,
            };
            let steps: Vec<f64> = z.iter().enumerate().map(step).collect();
            let want = slopes_by(z, &steps, |z| q.log_prob(z));
            assert_all_close("log_prob_grad", grad, &want, SLOPE);
        }
    }
}

/// `KL(q || q) = 0`, and `KL(q || p)` is the mean of `log q - log p`.
#[track_caller]
fn divergence<Q: Divergence + Clone>(q: &Q) {
    for seed in 0..3 {
        let (q, p) = (at_random(q, seed, 0.4), at_random(q, seed + 50, 0.4));
        assert_close("KL(q || q)", q.kl(&q), 0.0, 1e-12);
        let (z, log_q) = draws(&q, seed);
        let mut log_p = vec![0.0; DRAWS];
        p.log_prob_batch(&z, &mut log_p);
        assert_mean("KL(q || p)", log_q.iter().zip(&log_p).map(|(q, p)| q - p), q.kl(&p));
    }
}

#[test]
fn mean_field_gaussian() {
    let q = MeanFieldGaussian::standard(3);
    family(&q);
    saved(&q);
    scored(&q);
    reparameterized(&q);
    transported(&q);
    smooth(&q);
    divergence(&q);
}

#[test]
fn full_rank_gaussian() {
    let q = FullRankGaussian::standard(4);
    family(&q);
    saved(&q);
    scored(&q);
    reparameterized(&q);
    transported(&q);
    smooth(&q);
    divergence(&q);
}

#[test]
fn low_rank_gaussian() {
    let q = LowRankGaussian::with_rank(4, 2);
    family(&q);
    saved(&q);
    scored(&q);
    reparameterized(&q);
    transported(&q);
    smooth(&q);
    divergence(&q);
}

/// The same distribution, its covariance formed.
#[test]
fn low_rank_is_its_full_rank_twin() {
    let twin = |q: &LowRankGaussian| {
        FullRankGaussian::new(q.mean().to_vec(), &q.covariance()).expect("a covariance")
    };
    let q = at_random(&LowRankGaussian::standard(9), 3, 0.6);
    let p = at_random(&LowRankGaussian::with_rank(9, 2), 4, 0.6);
    let (full_q, full_p) = (twin(&q), twin(&p));
    assert_eq!((q.rank(), q.noise_dim()), (3, 12));
    assert_all_close("sd", &q.sd(), &full_q.sd(), 1e-12);
    for z in draws(&q, 1).0.chunks_exact(9).take(20) {
        assert_close("log_prob", q.log_prob(z), full_q.log_prob(z), 1e-11);
    }
    assert_close("KL", q.kl(&p), full_q.kl(&full_p), 1e-11);
    assert_close("entropy", q.entropy().unwrap(), full_q.entropy().unwrap(), 1e-12);
}

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
fn beta() {
    let q = Beta::uniform(2);
    family(&q);
    saved(&q);
    scored(&q);
    reparameterized(&q);
    transported(&q);
    smooth(&q);
    divergence(&q);
}

/// Paths and scores at shapes far from 1.
#[test]
fn beta_of_every_size() {
    let shapes = [0.05, 0.3, 5.0, 200.0];
    for a in shapes {
        let q = Beta::new(&[a; 4], &shapes).expect("shapes");
        let mut eps = vec![0.0; 4 * 6];
        q.draw_noise(&mut stream(1, Purpose::Data, 0), &mut eps);
        let (mut z, mut log_q, mut paths) = (vec![0.0; 24], vec![0.0; 6], Default::default());
        q.transport(&eps, &mut z, &mut log_q, &mut paths);
        for column in 0..6 {
            let span = column * 4..column * 4 + 4;
            let eps = &eps[span.clone()];
            let mut paths = Default::default();
            q.transport(eps, &mut z[span.clone()], &mut log_q[..1], &mut paths);
            let mut grad = vec![0.0; 8];
            q.pull_back(eps, &paths, &[1.0; 4], &[0.0], &mut grad);
            let sum = |lambda: &[f64]| {
                let mut z = [0.0; 4];
                with_params(&q, lambda).transport(eps, &mut z, &mut [0.0], &mut Default::default());
                z.iter().sum()
            };
            assert_all_close("dz/dlambda", &grad, &slopes(&params(&q), sum), SLOPE);
            let (z, mut score) = (&z[span], vec![0.0; 8]);
            q.add_score(z, 1.0, &mut score);
            let want = slopes(&params(&q), |lambda| with_params(&q, lambda).log_prob(z));
            assert_all_close("score", &score, &want, SLOPE);
        }
    }
}

/// `E[d(z^k)/da]` against `d E[z^k]/da`, which is known. The mean over noise is a sum over a fine
/// grid: the integrand is smooth and dies out with the normal density.
#[test]
fn beta_paths_move_the_moments() {
    let step = 0.004;
    let eps: Vec<f64> = (-2250..=2250).map(|k| f64::from(k) * step).collect();
    let density = |e: f64| (-0.5 * e * e).exp() * step / (2.0 * std::f64::consts::PI).sqrt();
    for a in [0.05, 0.3, 1.0, 5.0, 200.0] {
        for b in [0.05, 0.7, 3.0, 200.0] {
            let q = Beta::new(&[a], &[b]).expect("shapes");
            let (mut z, mut log_q) = (vec![0.0; eps.len()], vec![0.0; eps.len()]);
            let mut paths = Default::default();
            q.transport(&eps, &mut z, &mut log_q, &mut paths);
            let none = vec![0.0; eps.len()];
            for k in 1..=3 {
                let power = |z: f64| f64::from(k) * z.powi(k - 1);
                let weighed = z.iter().zip(&eps).map(|(&z, &e)| density(e) * power(z));
                let mut grad = [0.0; 2];
                q.pull_back(&eps, &paths, &weighed.collect::<Vec<_>>(), &none, &mut grad);
                // E[z^k] = prod_j (a + j) / (a + b + j)
                let terms = || (0..k).map(f64::from);
                let moment: f64 = terms().map(|j| (a + j) / (a + b + j)).product();
                let in_s: f64 = terms().map(|j| 1.0 / (a + b + j)).sum();
                let in_a = moment * (terms().map(|j| 1.0 / (a + j)).sum::<f64>() - in_s);
                // lambda is the logarithm of the shape less its floor
                let got = [grad[0] / (a - 1e-4), grad[1] / (b - 1e-4)];
                for (what, got, want) in [("a", got[0], in_a), ("b", got[1], -moment * in_s)] {
                    let off = ((got - want) / want).abs();
                    assert!(off < 1e-8, "dE[z^{k}]/d{what} at ({a}, {b}): off by {off:e}");
                }
            }
        }
    }
}

#[test]
fn wrong_shapes_are_named() {
    message(Beta::new(&[1.0, 0.0], &[1.0; 2]), &["E10 a[1] is 0", "above 1e-4"]);
    message(Beta::new(&[1.0], &[f64::NAN]), &["E10 b[0] is NaN", "finite"]);
    message(Beta::new(&[1.0], &[1.0, 2.0]), &["E03 a has 1 values but b has 2"]);
    let text = r#"{"lambda":[0.0,0.0,0.0]}"#;
    let error = serde_json::from_str::<Beta>(text).expect_err("an odd number");
    assert!(error.to_string().contains("E03 the saved lambda has 3"), "{error}");
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

#[test]
fn exact_divergences_of_normals() {
    for case in exact_cases("kl_normal") {
        let normal = |which: &str| {
            let v = numbers(&case["inputs"][which]);
            MeanFieldGaussian::new(vec![v[0]], &[v[1]]).expect("a normal")
        };
        let want = case["expected"]["kl"].as_f64().expect("a number");
        assert_close("kl_normal", normal("p").kl(&normal("q")), want, 1e-12);
    }
    for case in exact_cases("kl_mvn") {
        let normal = |which: &str| {
            let mean = numbers(&case["inputs"][which]["mean"]);
            let d = mean.len();
            let covariance = numbers(&case["inputs"][which]["cov"]);
            FullRankGaussian::new(mean, &DMatrix::from_row_slice(d, d, &covariance))
                .expect("a normal")
        };
        let want = |what: &str| case["expected"][what].as_f64().expect("a number");
        assert_close("kl_mvn", normal("p").kl(&normal("q")), want("kl"), 1e-12);
        let entropy = normal("p").entropy().expect("known");
        assert_close("entropy of a normal", entropy, want("entropy_p"), 1e-12);
    }
}

#[test]
fn exact_divergences_of_betas() {
    for case in exact_cases("kl_beta") {
        let beta = |which: &str| {
            let v = numbers(&case["inputs"][which]);
            Beta::new(&v[..1], &v[1..]).expect("shapes")
        };
        let want = |what: &str| case["expected"][what].as_f64().expect("a number");
        assert_close("kl_beta", beta("p").kl(&beta("q")), want("kl"), 1e-12);
        let entropy = beta("p").entropy().expect("known");
        assert_close("entropy of a beta", entropy, want("entropy_p"), 1e-12);
    }
}

#[track_caller]
fn message<T: std::fmt::Debug>(result: Result<T, elbo::Error>, parts: &[&str]) {
    let text = result.expect_err("this is wrong input").to_string();
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

#[test]
fn wrong_covariances_are_named() {
    let matrix = |rows: &[f64]| DMatrix::from_row_slice(2, 2, rows);
    let new = |rows: &[f64]| FullRankGaussian::new(vec![0.0; 2], &matrix(rows));
    message(
        new(&[1.0, 2.0, 2.0, 1.0]),
        &["E04 the covariance", "smallest eigenvalue is -1.000e0", "add 2.0e0 to the diagonal"],
    );
    message(
        new(&[1.0, 0.5, 0.25, 1.0]),
        &["E04", "not symmetric: 0.25 in row 1, column 0 but 0.5 in row 0, column 1", "(C + C^T)"],
    );
    message(new(&[1.0, f64::NAN, 0.0, 1.0]), &["E04", "row 1, column 0 is NaN", "finite"]);
    message(
        FullRankGaussian::new(vec![0.0; 3], &matrix(&[1.0, 0.0, 0.0, 1.0])),
        &["E03 the mean has 3", "a row of the covariance has 2"],
    );
    message(
        FullRankGaussian::new(vec![0.0, f64::NAN], &matrix(&[1.0, 0.0, 0.0, 1.0])),
        &["E10 mean[1] is NaN", "finite"],
    );
    let factor = |rows: &[f64]| FullRankGaussian::from_cholesky(vec![0.0; 2], &matrix(rows));
    message(
        factor(&[1.0, 0.5, 0.5, 1.0]),
        &["E04", "row 0, column 1 is 0.5", "zeros above the diagonal"],
    );
    message(factor(&[1.0, 0.0, 0.5, -1.0]), &["E04", "row 1, column 1 is -1", "positive"]);
    message(factor(&[1.0, 0.0, f64::INFINITY, 1.0]), &["E04", "column 0 is inf", "finite"]);
    assert!(factor(&[1.0, 0.0, 0.5, 2.0]).is_ok());
}

#[test]
fn wrong_parts_of_a_low_rank_covariance_are_named() {
    let w = DMatrix::from_row_slice(2, 1, &[0.5, f64::NAN]);
    message(LowRankGaussian::from_parts(&[0.0; 2], &[1.0; 2], &w), &["E10 W[1, 0] is NaN"]);
    message(LowRankGaussian::from_parts(&[0.0; 3], &[1.0; 3], &w), &["E03 the mean has 3"]);
    message(LowRankGaussian::new(&[0.0; 2], &[1.0, -2.0], 1), &["E10 scale[1] is -2", "positive"]);
    message(LowRankGaussian::new(&[f64::INFINITY], &[1.0], 1), &["E10 mean[0] is inf", "finite"]);
    message(LowRankGaussian::new(&[0.0], &[1.0, 2.0], 1), &["E03 the mean has 1", "scale has 2"]);
    let w = DMatrix::from_row_slice(2, 1, &[0.5, -1.5]);
    let q = LowRankGaussian::from_parts(&[1.0, 2.0], &[2.0, 3.0], &w).expect("valid");
    assert_close("covariance", q.covariance()[(0, 1)], -4.5, 1e-14);
    assert_eq!(q.directions(), w);
    assert_all_close("scale", q.scale(), &[2.0, 3.0], 1e-15);
}

#[test]
fn a_damaged_file_is_refused() {
    let text = r#"{"dim":2,"lambda":[0.0,0.0,0.0,0.0]}"#;
    let error = serde_json::from_str::<FullRankGaussian>(text).expect_err("one number is missing");
    assert!(error.to_string().contains("E03 the saved lambda has 4 values"), "{error}");
}
