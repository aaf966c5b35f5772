//! `GradientEstimator`: the mean over many estimates is the exact gradient of the ELBO, in `lambda`
//! and in `theta`, at random parameters; and there is no noise where there should be none.
//!
//! The exact ELBO is a sum over a grid of `q(z) (log p(x, z) - log q(z))`. Nothing in it but
//! `log_prob` and `log_joint` is the library's, so that an estimator and the family behind it
//! cannot be wrong in the same way.

use std::f64::consts::TAU;

use elbo::{
    Affine, Beta, DMatrix, Differentiable, Error, Family, FullRankGaussian, GradientEstimator,
    LowRankGaussian, MeanFieldGaussian, Model, NaturalScale, NonFinite, Product, Purpose,
    Reparameterization, ScoreFunction, Scored, Space, StickingTheLanding, Support, Transformed,
    Var, from_fn, stream,
};
use rand::Rng;

/// How many standard errors an estimate's mean may be off: a right estimator fails once in 16 000
/// comparisons. The streams are fixed, so that a test that has passed passes again.
pub const SIGMA: f64 = 4.0;
const ESTIMATES: usize = 20_000;

/// A log joint over coordinates of any support, coupled, with two parameters of its own:
/// `sum_i f(z_i) + b sum_i tanh(z_i) z_(i+1) - (a^2 + b^2) / 2`, `theta = [a, b]`, where `f` is
/// `-(1 + i) (z - a - 1/2)^2 / 2` on `R`, `2 ln z + 1.2 ln(1 - z) + a z` on `(0, 1)` and
/// `1.5 ln z - 2 z + a z` above 0.
#[derive(Clone)]
pub struct Coupled {
    pub supports: Vec<Support>,
    pub theta: [f64; 2],
}

impl Coupled {
    pub fn on<Q: Family>(q: &Q, theta: [f64; 2]) -> Coupled {
        Coupled { supports: (0..q.dim()).map(|i| q.support(i)).collect(), theta }
    }

    /// Value, slope in `z` and slope in `a` of `f`.
    fn own(&self, i: usize, z: f64) -> [f64; 3] {
        let a = self.theta[0];
        match self.supports[i] {
            Support::Real => {
                let (s, r) = (1.0 + i as f64, z - a - 0.5);
                [-0.5 * s * r * r, -s * r, s * r]
            }
            Support::Unit => {
                let value = 2.0 * z.ln() + 1.2 * (-z).ln_1p() + a * z;
                [value, 2.0 / z - 1.2 / (1.0 - z) + a, z]
            }
            Support::Positive => [1.5 * z.ln() + (a - 2.0) * z, 1.5 / z + a - 2.0, z],
            other => panic!("no case for {other:?}: add one"),
        }
    }
}

impl Model for Coupled {
    fn space(&self) -> Space {
        let mut space = Space::new();
        for (i, support) in self.supports.iter().enumerate() {
            space.one(&format!("z{i}"), *support);
        }
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        self.log_joint_grad(z, &mut vec![0.0; z.len()])
    }
    fn n_theta(&self) -> usize {
        2
    }
    fn theta(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.theta);
    }
    fn set_theta(&mut self, theta: &[f64]) {
        self.theta.copy_from_slice(theta);
    }
    fn add_theta_grad(&self, z: &[f64], weights: &[f64], grad: &mut [f64]) {
        let d = self.supports.len();
        for (z, w) in z.chunks_exact(d).zip(weights) {
            for i in 0..d {
                grad[0] += w * self.own(i, z[i])[2];
                grad[1] += w * z[i].tanh() * z[(i + 1) % d];
            }
            (0..2).for_each(|k| grad[k] -= w * self.theta[k]);
        }
    }
}

impl Differentiable for Coupled {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        let ([a, b], d) = (self.theta, z.len());
        grad.fill(0.0);
        let mut sum = -0.5 * (a * a + b * b);
        for i in 0..d {
            let ([value, slope, _], next, t) = (self.own(i, z[i]), (i + 1) % d, z[i].tanh());
            sum += value + b * t * z[next];
            grad[i] += slope + b * (1.0 - t * t) * z[next];
            grad[next] += b * t;
        }
        sum
    }
}

/// Points and weights of the trapezoid rule in coordinates moved to `R`, where it converges faster
/// than any power of the step: 9 standard deviations each way for real coordinates (what is left
/// out is below 1e-17), 30 for others, whose logarithms have exponential tails.
pub fn grid<Q: Family>(q: &Q) -> (Vec<f64>, Vec<f64>) {
    const DRAWS: usize = 4_000;
    let d = q.dim();
    let mut draws = vec![0.0; d * DRAWS];
    q.sample(&mut stream(3, Purpose::Data, 0), &mut draws);
    let (mut points, mut weights) = (vec![vec![]], vec![1.0]);
    for i in 0..d {
        let support = q.support(i);
        let moved = |s: usize| {
            let mut u = [0.0];
            support.unconstrain(&draws[s * d + i..][..1], &mut u);
            u[0]
        };
        let mean = (0..DRAWS).map(moved).sum::<f64>() / DRAWS as f64;
        let variance = (0..DRAWS).map(|s| (moved(s) - mean).powi(2)).sum::<f64>() / DRAWS as f64;
        let (reach, step) =
            (if support == Support::Real { 36 } else { 120 }, 0.25 * variance.sqrt());
        let (before, old) = (std::mem::take(&mut points), std::mem::take(&mut weights));
        for k in -reach..=reach {
            let mut z = [0.0];
            let log_det: f64 = support.constrain(&[mean + step * f64::from(k)], &mut z);
            for (point, weight) in before.iter().zip(&old) {
                points.push([point.as_slice(), &z].concat());
                weights.push(weight * step * log_det.exp());
            }
        }
    }
    (points.concat(), weights)
}

/// The exact ELBO, up to the error of the trapezoid rule.
fn elbo<Q: Family>(model: &Coupled, q: &Q, (points, weights): &(Vec<f64>, Vec<f64>)) -> f64 {
    let mut sum = 0.0;
    for (z, weight) in points.chunks_exact(q.dim()).zip(weights) {
        let log_q = q.log_prob(z);
        let mass = weight * log_q.exp();
        if mass > 0.0 {
            sum += mass * (model.log_joint(z) - log_q);
        }
    }
    sum
}

/// The gradient in `[theta | lambda]` by central differences: error about 1e-8.
fn exact_gradient<Q: Family + Clone>(model: &Coupled, q: &Q) -> Vec<f64> {
    const STEP: f64 = 1e-4;
    let (grid, mut lambda) = (grid(q), vec![0.0; q.n_params()]);
    q.params(&mut lambda);
    let in_theta = (0..2).map(|k| {
        let at = |by: f64| {
            let mut moved = model.clone();
            moved.theta[k] += by;
            elbo(&moved, q, &grid)
        };
        (at(STEP) - at(-STEP)) / (2.0 * STEP)
    });
    let in_lambda = (0..lambda.len()).map(|k| {
        let at = |by: f64| {
            let (mut moved, mut lambda) = (q.clone(), lambda.clone());
            lambda[k] += by;
            moved.set_params(&lambda);
            elbo(model, &moved, &grid)
        };
        (at(STEP) - at(-STEP)) / (2.0 * STEP)
    });
    in_theta.chain(in_lambda).collect()
}

/// The family at parameters away from where it starts, so that no factor of one hides.
pub fn at_random<Q: Family + Clone>(q: &Q, seed: u64) -> Q {
    let mut rng = stream(seed, Purpose::Start, 0);
    let (mut moved, mut lambda) = (q.clone(), vec![0.0; q.n_params()]);
    let mut by = lambda.clone();
    elbo::noise::fill_normal(&mut rng, &mut by);
    q.params(&mut lambda);
    lambda.iter_mut().zip(&by).for_each(|(l, b)| *l += 0.4 * b);
    moved.set_params(&lambda);
    moved
}

/// Means of the estimator's ELBO and gradient against the exact ones: the largest difference in
/// standard errors, and what it is.
fn worst_z<Q, E>(q: &Q, estimator: &mut E, seed: u64) -> (f64, String)
where
    Q: Family + Clone,
    E: GradientEstimator<Coupled, Q>,
{
    let q = at_random(q, seed);
    let model = Coupled::on(&q, [0.3 + 0.1 * seed as f64, -0.4]);
    assert_eq!(estimator.check(&model, &q), Ok(()));
    let mut want = vec![elbo(&model, &q, &grid(&q))];
    want.extend(exact_gradient(&model, &q));
    let (mut mean, mut square) = (vec![0.0; want.len()], vec![0.0; want.len()]);
    let (mut scratch, mut got) = (E::Scratch::default(), vec![0.0; want.len()]);
    for t in 0..ESTIMATES {
        let mut rng = stream(seed, Purpose::Step, t as u64);
        got.fill(0.0);
        let (theta, lambda) = got[1..].split_at_mut(2);
        got[0] = estimator
            .estimate(&model, &q, &mut rng, &mut scratch, theta, lambda)
            .expect("every draw is finite");
        for i in 0..got.len() {
            let off = got[i] - mean[i];
            mean[i] += off / (t + 1) as f64;
            square[i] += off * (got[i] - mean[i]);
        }
    }
    let mut worst = (0.0, String::new());
    for i in 0..want.len() {
        let se = (square[i] / (ESTIMATES * (ESTIMATES - 1)) as f64).sqrt();
        // the differences above are good to about 1e-8; ten times that is no noise at all
        let z = ((mean[i] - want[i]).abs() - 1e-7 * (1.0 + want[i].abs())).max(0.0) / se;
        if z > worst.0 {
            let what = match i {
                0 => "the ELBO".to_string(),
                1 | 2 => format!("theta[{}]", i - 1),
                _ => format!("lambda[{}]", i - 3),
            };
            let (mean, want) = (mean[i], want[i]);
            worst = (z, format!("{what}: mean {mean} ± {se:.1e}, exact {want}, z = {z:.1}"));
        }
    }
    worst
}

/// The law, at three random points.
#[track_caller]
fn unbiased<Q, E>(q: &Q, mut estimator: E)
where
    Q: Family + Clone,
    E: GradientEstimator<Coupled, Q>,
{
    for seed in 1..=3 {
        let (z, what) = worst_z(q, &mut estimator, seed);
        assert!(z < SIGMA, "biased at point {seed}: {what}");
    }
}

#[test]
fn mean_field_gaussian() {
    let q = MeanFieldGaussian::standard(2);
    unbiased(&q, Reparameterization { draws: 2 });
    unbiased(&q, StickingTheLanding { draws: 2 });
    unbiased(&q, ScoreFunction { draws: 3 });
}

#[test]
fn full_rank_gaussian() {
    let q = FullRankGaussian::standard(2);
    unbiased(&q, Reparameterization { draws: 2 });
    unbiased(&q, StickingTheLanding { draws: 2 });
    unbiased(&q, ScoreFunction { draws: 3 });
}

#[test]
fn low_rank_gaussian() {
    let q = LowRankGaussian::with_rank(2, 1);
    unbiased(&q, Reparameterization { draws: 2 });
    unbiased(&q, StickingTheLanding { draws: 2 });
    unbiased(&q, ScoreFunction { draws: 3 });
}

#[test]
fn affine_image() {
    let map = Affine::diagonal(vec![1.0, -0.5], &[0.5, 2.0]).expect("positive scales");
    let q = Transformed::new(FullRankGaussian::standard(2), map).expect("of one size");
    unbiased(&q, Reparameterization { draws: 2 });
    unbiased(&q, StickingTheLanding { draws: 2 });
    unbiased(&q, ScoreFunction { draws: 3 });
}

#[test]
fn natural_scale() {
    let mut space = Space::new();
    space.positive("rate");
    space.unit("chance");
    let base = MeanFieldGaussian::new(vec![0.3, -0.4], &[0.3, 0.5]).expect("positive scales");
    let q = Transformed::new(base, NaturalScale::new(&space)).expect("of one size");
    unbiased(&q, Reparameterization { draws: 2 });
    unbiased(&q, ScoreFunction { draws: 3 });
}

#[test]
fn beta() {
    let q = Beta::new(&[3.0, 2.5], &[2.5, 3.5]).expect("shapes");
    unbiased(&q, Reparameterization { draws: 2 });
    unbiased(&q, StickingTheLanding { draws: 2 });
    unbiased(&q, ScoreFunction { draws: 3 });
}

#[test]
fn product() {
    let shapes = Beta::new(&[3.0], &[3.5]).expect("shapes");
    let q = Product::new(MeanFieldGaussian::standard(1), shapes);
    unbiased(&q, Reparameterization { draws: 2 });
    unbiased(&q, StickingTheLanding { draws: 2 });
    unbiased(&q, ScoreFunction { draws: 3 });
}

/// The error of dividing by the number of draws where one fewer is right.
struct ForgetsTheBaselineIsEstimated(ScoreFunction);

impl<Q: Scored> GradientEstimator<Coupled, Q> for ForgetsTheBaselineIsEstimated {
    type Scratch = <ScoreFunction as GradientEstimator<Coupled, Q>>::Scratch;
    fn estimate(
        &mut self,
        model: &Coupled,
        q: &Q,
        rng: &mut dyn Rng,
        scratch: &mut Self::Scratch,
        grad_theta: &mut [f64],
        grad_lambda: &mut [f64],
    ) -> Result<f64, NonFinite> {
        let elbo = self.0.estimate(model, q, rng, scratch, grad_theta, grad_lambda)?;
        let draws = self.0.draws as f64;
        grad_lambda.iter_mut().for_each(|g| *g *= (draws - 1.0) / draws);
        Ok(elbo)
    }
}

#[test]
fn a_biased_estimator_is_caught() {
    let mut wrong = ForgetsTheBaselineIsEstimated(ScoreFunction { draws: 3 });
    let (z, what) = worst_z(&MeanFieldGaussian::standard(2), &mut wrong, 1);
    assert!(z > 2.0 * SIGMA, "the law does not see that the gradient is a third short: {what}");
}

/// Where `q` is the posterior, each single estimate is right: the gradient is 0 and the ELBO is
/// the log evidence, up to rounding.
#[track_caller]
fn still_at_the_answer<M: Model, Q: Family, E>(model: &M, q: &Q, evidence: f64, mut estimator: E)
where
    E: GradientEstimator<M, Q>,
{
    let mut scratch = E::Scratch::default();
    for t in 0..100 {
        let mut grad = vec![0.0; q.n_params()];
        let mut rng = stream(5, Purpose::Step, t);
        let got = estimator.estimate(model, q, &mut rng, &mut scratch, &mut [], &mut grad);
        let got = got.expect("every draw is finite");
        assert!((got - evidence).abs() < 1e-11, "ELBO {got}, log evidence {evidence}");
        assert!(grad.iter().all(|g| g.abs() < 1e-11), "the gradient is {grad:?}, not 0");
    }
}

/// An unnormalised log joint whose posterior is a given normal and whose evidence is `e^-4`.
fn normal_posterior(mean: &[f64], covariance: DMatrix<f64>) -> impl Differentiable {
    let (mean, d) = (mean.to_vec(), mean.len());
    let log_scale = 0.5 * covariance.determinant().ln() + 0.5 * d as f64 * TAU.ln();
    let precision = covariance.try_inverse().expect("a covariance has an inverse");
    let mut space = Space::new();
    space.reals("z", d);
    from_fn(space, move |z| {
        let pairs = (0..d).flat_map(|i| (0..d).map(move |j| (i, j)));
        let term = |(i, j): (usize, usize)| (z[i] - mean[i]) * (z[j] - mean[j]) * precision[(i, j)];
        pairs.map(term).sum::<Var>() * -0.5 - log_scale - 4.0
    })
}

#[test]
fn no_noise_at_the_answer() {
    let q = at_random(&MeanFieldGaussian::standard(3), 9);
    let variances = q.sd().iter().map(|s| s * s).collect::<Vec<_>>();
    let model = normal_posterior(q.mean(), DMatrix::from_diagonal(&variances.into()));
    still_at_the_answer(&model, &q, -4.0, StickingTheLanding { draws: 1 });
    still_at_the_answer(&model, &q, -4.0, ScoreFunction { draws: 2 });

    let q = at_random(&FullRankGaussian::standard(3), 9);
    let model = normal_posterior(q.mean(), q.covariance());
    still_at_the_answer(&model, &q, -4.0, StickingTheLanding { draws: 1 });
    still_at_the_answer(&model, &q, -4.0, ScoreFunction { draws: 2 });

    let q = at_random(&LowRankGaussian::with_rank(3, 2), 9);
    let model = normal_posterior(q.mean(), q.covariance());
    still_at_the_answer(&model, &q, -4.0, StickingTheLanding { draws: 1 });
    still_at_the_answer(&model, &q, -4.0, ScoreFunction { draws: 2 });
}

/// The same noise in single precision gives the same gradient, to single precision.
#[test]
fn single_precision() {
    struct Bell;
    impl<T: elbo::Scalar> Model<T> for Bell {
        fn space(&self) -> Space {
            let mut space = Space::new();
            space.real("z");
            space
        }
        fn log_joint(&self, z: &[T]) -> f64 {
            -0.5 * (z[0].to_f64() - 2.0).powi(2)
        }
    }
    impl<T: elbo::Scalar> Differentiable<T> for Bell {
        fn log_joint_grad(&self, z: &[T], grad: &mut [T]) -> f64 {
            grad[0] = T::from_f64(2.0) - z[0];
            self.log_joint(z)
        }
    }
    fn gradient<T, E>(mut estimator: E) -> Vec<f64>
    where
        T: elbo::Scalar,
        E: GradientEstimator<Bell, MeanFieldGaussian<T>, T>,
    {
        let q = MeanFieldGaussian::new(vec![T::from_f64(0.5)], &[T::from_f64(0.75)])
            .expect("a positive standard deviation");
        let mut grad = [T::default(); 2];
        let mut rng = stream(2, Purpose::Step, 0);
        let elbo =
            estimator.estimate(&Bell, &q, &mut rng, &mut Default::default(), &mut [], &mut grad);
        grad.iter().map(|g| g.to_f64()).chain(elbo).collect()
    }
    fn same<E>(estimator: E)
    where
        E: Copy
            + GradientEstimator<Bell, MeanFieldGaussian<f32>, f32>
            + GradientEstimator<Bell, MeanFieldGaussian<f64>, f64>,
    {
        let (single, double) = (gradient::<f32, E>(estimator), gradient::<f64, E>(estimator));
        crate::support::assert_all_close("f32 against f64", &single, &double, 1e-5);
    }
    same(Reparameterization { draws: 4 });
    same(StickingTheLanding { draws: 4 });
    same(ScoreFunction { draws: 4 });
}

#[test]
fn too_few_draws_are_refused() {
    let q = MeanFieldGaussian::standard(1);
    let model = Coupled::on(&q, [0.0, 0.0]);
    let said = |e: Result<(), Error>| e.map_or_else(|e| e.to_string(), |()| "accepted".to_string());
    assert_eq!(
        said(ScoreFunction { draws: 1 }.check(&model, &q)),
        "E10 draws is 1; the score function compares each draw with the others, so take 2 or more"
    );
    let none = "E10 draws is 0; a gradient needs at least one draw";
    assert_eq!(said(Reparameterization { draws: 0 }.check(&model, &q)), none);
    assert_eq!(said(StickingTheLanding { draws: 0 }.check(&model, &q)), none);
}
