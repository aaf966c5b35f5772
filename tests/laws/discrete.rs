//! Estimators over labels: the mean over many estimates is the exact gradient of what each climbs,
//! by enumeration; the exact one is a finite difference; baselines take noise away.

use elbo::{
    Bernoulli, Categorical, Disarm, Enumeration, Error, Family, GradientEstimator,
    MeanFieldGaussian, Model, NonFinite, Product, Purpose, Rng, ScoreFunction, Scored, Space,
    Support, Vimco, stream,
};

use crate::estimator::{SIGMA, at_random};
use crate::support::assert_all_close;

const ESTIMATES: usize = 40_000;

/// A log joint over labels, coupled, with two parameters of its own:
/// `sum_i cos(1 + 2 i + 3 z_i) + a sum_i z_i + b z_0 z_last - (a^2 + b^2) / 2`, `theta = [a, b]`.
#[derive(Clone)]
pub struct Puzzle {
    labels: Vec<u32>,
    theta: [f64; 2],
}

impl Puzzle {
    pub fn on<Q: Family>(q: &Q, theta: [f64; 2]) -> Puzzle {
        let labels = (0..q.dim()).map(|i| match q.support(i) {
            Support::Category(n) => n,
            other => panic!("{other:?} is no label"),
        });
        Puzzle { labels: labels.collect(), theta }
    }

    /// Every joint state, one after another.
    pub fn states(&self) -> Vec<Vec<f64>> {
        let mut all = vec![vec![]];
        for &n in &self.labels {
            let longer = |z: &Vec<f64>| {
                (0..n).map(|k| [z.as_slice(), &[f64::from(k)]].concat()).collect::<Vec<_>>()
            };
            all = all.iter().flat_map(longer).collect();
        }
        all
    }
}

impl Model for Puzzle {
    fn space(&self) -> Space {
        let mut space = Space::new();
        for (i, &n) in self.labels.iter().enumerate() {
            space.one(&format!("z{i}"), Support::Category(n));
        }
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let [a, b] = self.theta;
        let own = |(i, z): (usize, &f64)| (1.0 + 2.0 * i as f64 + 3.0 * z).cos() + a * z;
        let sum: f64 = z.iter().enumerate().map(own).sum();
        sum + b * z[0] * z[z.len() - 1] - 0.5 * (a * a + b * b)
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
        let d = self.labels.len();
        for (z, w) in z.chunks_exact(d).zip(weights) {
            grad[0] += w * (z.iter().sum::<f64>() - self.theta[0]);
            grad[1] += w * (z[0] * z[d - 1] - self.theta[1]);
        }
    }
}

/// The exact `E[log mean_k w_k]` of `k` draws, the ELBO at `k = 1`: a sum over all tuples of states.
fn exact<Q: Family>(model: &Puzzle, q: &Q, k: usize) -> f64 {
    let each: Vec<(f64, f64)> = model
        .states()
        .iter()
        .map(|z| (q.log_prob(z), model.log_joint(z) - q.log_prob(z)))
        .collect();
    let mut tuples = vec![(0.0, 0.0, 0.0)];
    for _ in 0..k {
        let longer = |&(log_mass, weights, log_weight): &(f64, f64, f64)| {
            let one = move |(log_q, log_w): &(f64, f64)| {
                (log_mass + log_q, weights + log_w.exp(), log_weight + log_w)
            };
            each.iter().map(one).collect::<Vec<_>>()
        };
        tuples = tuples.iter().flat_map(longer).collect();
    }
    let bound = |&(log_mass, weights, log_weight): &(f64, f64, f64)| {
        let value = if k == 1 { log_weight } else { f64::ln(weights / k as f64) };
        f64::exp(log_mass) * value
    };
    tuples.iter().map(bound).sum()
}

/// The gradient in `[theta | lambda]` by central differences.
fn exact_gradient<Q: Family + Clone>(model: &Puzzle, q: &Q, k: usize) -> Vec<f64> {
    const STEP: f64 = 1e-4;
    let mut lambda = vec![0.0; q.n_params()];
    q.params(&mut lambda);
    let at = |i: usize, by: f64| {
        let (mut model, mut q, mut lambda) = (model.clone(), q.clone(), lambda.clone());
        match i {
            0 | 1 => model.theta[i] += by,
            _ => lambda[i - 2] += by,
        }
        q.set_params(&lambda);
        exact(&model, &q, k)
    };
    (0..2 + q.n_params()).map(|i| (at(i, STEP) - at(i, -STEP)) / (2.0 * STEP)).collect()
}

/// Means and variances of the ELBO, of the gradient in `[theta | lambda]` and of the objective.
pub fn moments<M, Q, E>(model: &M, q: &Q, estimator: &mut E, seed: u64) -> Vec<(f64, f64)>
where
    M: Model,
    Q: Family,
    E: GradientEstimator<M, Q>,
{
    assert_eq!(estimator.check(model, q), Ok(()));
    let n = model.n_theta();
    let mut sums = vec![(0.0, 0.0); 2 + n + q.n_params()];
    let (mut scratch, mut got) = (E::Scratch::default(), vec![0.0; sums.len()]);
    for t in 0..ESTIMATES {
        let mut rng = stream(seed, Purpose::Step, t as u64);
        got.fill(0.0);
        let (ends, grad) = got.split_at_mut(2);
        let (theta, lambda) = grad.split_at_mut(n);
        ends[0] = estimator
            .estimate(model, q, &mut rng, &mut scratch, theta, lambda)
            .expect("every draw is finite");
        ends[1] = estimator.last_objective(&scratch).unwrap_or(ends[0]);
        for ((mean, square), got) in sums.iter_mut().zip(&got) {
            let off = got - *mean;
            *mean += off / (t + 1) as f64;
            *square += off * (got - *mean);
        }
    }
    sums.iter().map(|(mean, square)| (*mean, square / (ESTIMATES - 1) as f64)).collect()
}

/// Fails unless each mean is what it should be: `[ELBO, objective | theta | lambda]`.
#[track_caller]
pub fn means_are(moments: &[(f64, f64)], want: &[f64], place: &str) {
    for (i, ((mean, variance), want)) in moments.iter().zip(want).enumerate() {
        let se = (variance / ESTIMATES as f64).sqrt();
        // the differences behind `want` are good to about 1e-8
        let off = ((mean - want).abs() - 1e-7 * (1.0 + want.abs())).max(0.0);
        assert!(off <= SIGMA * se, "{place}, [{i}]: mean {mean} ± {se:.1e}, exact {want}");
    }
}

/// Of the gradient in `lambda`.
fn total_variance(moments: &[(f64, f64)]) -> f64 {
    moments[4..].iter().map(|m| m.1).sum()
}

/// The law, at three random points; `k` is how many draws share a logarithm.
#[track_caller]
fn unbiased<Q, E>(q: &Q, k: usize, mut estimator: E)
where
    Q: Family + Clone,
    E: GradientEstimator<Puzzle, Q>,
{
    for seed in 1..=3 {
        let q = at_random(q, seed);
        let model = Puzzle::on(&q, [0.3 - 0.2 * seed as f64, 0.5]);
        let mut want = vec![exact(&model, &q, 1), exact(&model, &q, k)];
        want.extend(exact_gradient(&model, &q, k));
        let got = moments(&model, &q, &mut estimator, seed);
        means_are(&got, &want, &format!("point {seed}"));
    }
}

fn categorical() -> Categorical {
    Categorical::with_labels(&[3, 2]).expect("two labels or more")
}

fn both() -> Product<Bernoulli, Categorical> {
    Product::new(Bernoulli::even(1), Categorical::uniform(1, 3).expect("labels"))
}

#[test]
fn score_function() {
    unbiased(&categorical(), 1, ScoreFunction { draws: 3 });
    unbiased(&Bernoulli::even(3), 1, ScoreFunction { draws: 3 });
    unbiased(&both(), 1, ScoreFunction { draws: 3 });
}

#[test]
fn disarm() {
    unbiased(&Bernoulli::even(3), 1, Disarm { pairs: 1 });
    unbiased(&Bernoulli::even(2), 1, Disarm { pairs: 2 });
}

#[test]
fn vimco() {
    unbiased(&categorical(), 2, Vimco { draws: 2 });
    unbiased(&categorical(), 3, Vimco { draws: 3 });
    unbiased(&Bernoulli::even(3), 3, Vimco { draws: 3 });
    unbiased(&both(), 3, Vimco { draws: 3 });
}

/// The sum over labels is the ELBO and its gradient to rounding; the difference quotient is good to
/// about 1e-8.
#[track_caller]
fn enumerated<Q: Scored + Clone>(q: &Q) {
    for seed in 1..=5 {
        let q = at_random(q, seed);
        let model = Puzzle::on(&q, [0.4, -0.3]);
        let (mut scratch, mut grad) = (Default::default(), vec![0.0; 2 + q.n_params()]);
        let (theta, lambda) = grad.split_at_mut(2);
        let mut rng = stream(1, Purpose::Step, 0);
        let mut estimator = Enumeration;
        assert_eq!(estimator.check(&model, &q), Ok(()));
        let elbo = estimator.estimate(&model, &q, &mut rng, &mut scratch, theta, lambda);
        let elbo = elbo.expect("every state is finite");
        assert!((elbo - exact(&model, &q, 1)).abs() < 1e-13);
        assert_all_close("gradient", &grad, &exact_gradient(&model, &q, 1), 1e-8);
    }
}

#[test]
fn enumeration() {
    enumerated(&categorical());
    enumerated(&Bernoulli::even(4));
    enumerated(&both());
    // more states than fit into one batch
    enumerated(&Categorical::uniform(4, 5).expect("labels"));
}

/// At the posterior every state weighs the same: nothing is left to differ.
#[test]
fn no_noise_at_the_answer() {
    let model = Puzzle { labels: vec![3], theta: [0.2, -0.1] };
    let p: Vec<f64> = (0..3).map(|k| model.log_joint(&[f64::from(k)]).exp()).collect();
    let q = Categorical::new(&[&p]).expect("probabilities");
    let evidence = p.iter().sum::<f64>().ln();
    fn still<E: GradientEstimator<Puzzle, Categorical>>(
        model: &Puzzle,
        q: &Categorical,
        evidence: f64,
        mut estimator: E,
    ) {
        let mut scratch = E::Scratch::default();
        for t in 0..50 {
            let (mut theta, mut grad) = ([0.0; 2], [0.0; 3]);
            let mut rng = stream(3, Purpose::Step, t);
            let elbo = estimator.estimate(model, q, &mut rng, &mut scratch, &mut theta, &mut grad);
            assert!((elbo.expect("finite") - evidence).abs() < 1e-12);
            let objective = estimator.last_objective(&scratch);
            assert!(objective.is_none_or(|o| (o - evidence).abs() < 1e-12));
            assert!(grad.iter().all(|g| g.abs() < 1e-12), "{grad:?}");
        }
    }
    still(&model, &q, evidence, Enumeration);
    still(&model, &q, evidence, ScoreFunction { draws: 2 });
}

/// The score function of the same bound without a baseline.
struct PlainScore(usize);

impl<M: Model, Q: Scored> GradientEstimator<M, Q> for PlainScore {
    type Scratch = ();
    fn estimate(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        _: &mut (),
        theta: &mut [f64],
        lambda: &mut [f64],
    ) -> Result<f64, NonFinite> {
        let d = q.dim();
        let mut z = vec![0.0; d * self.0];
        q.sample(rng, &mut z);
        let log_w: Vec<f64> =
            z.chunks_exact(d).map(|z| model.log_joint(z) - q.log_prob(z)).collect();
        let sum: f64 = log_w.iter().map(|w| w.exp()).sum();
        let bound = (sum / self.0 as f64).ln();
        for (z, w) in z.chunks_exact(d).zip(&log_w) {
            q.add_score(z, bound - w.exp() / sum, lambda);
            model.add_theta_grad(z, &[w.exp() / sum], theta);
        }
        Ok(log_w.iter().sum::<f64>() / self.0 as f64)
    }
}

/// The baselines of VIMCO take away most of the noise of the plain score function. A variance over
/// 40 000 estimates is known to about 2 %.
#[test]
fn vimco_has_less_noise_than_the_plain_score() {
    let q = at_random(&Bernoulli::even(3), 2);
    let model = Puzzle::on(&q, [-0.7, 0.5]);
    for draws in [2, 5, 10] {
        let plain = moments(&model, &q, &mut PlainScore(draws), 1);
        let vimco = moments(&model, &q, &mut Vimco { draws }, 1);
        for (a, b) in plain[2..].iter().zip(&vimco[2..]) {
            let se = ((a.1 + b.1) / ESTIMATES as f64).sqrt();
            assert!((a.0 - b.0).abs() <= SIGMA * se, "the same mean");
        }
        let ratio = total_variance(&plain) / total_variance(&vimco);
        assert!(ratio > 2.0, "{draws} draws: {ratio}");
    }
}

/// With two evaluations each, opposite coins against two independent ones.
#[test]
fn disarm_has_less_noise_than_two_independent_draws() {
    let q = at_random(&Bernoulli::even(3), 3);
    let model = Puzzle::on(&q, [0.3, 0.5]);
    let pair = total_variance(&moments(&model, &q, &mut Disarm { pairs: 1 }, 1));
    let two = total_variance(&moments(&model, &q, &mut ScoreFunction { draws: 2 }, 1));
    assert!(pair < two, "{pair} against {two}");
}

#[test]
fn wrong_settings_are_refused() {
    let q = categorical();
    let model = Puzzle::on(&q, [0.0, 0.0]);
    let said = |e: Result<(), Error>| e.map_or_else(|e| e.to_string(), |()| "accepted".to_string());
    assert_eq!(
        said(Vimco { draws: 1 }.check(&model, &q)),
        "E10 draws is 1; VIMCO compares each draw with the others, so take 2 or more"
    );
    assert_eq!(
        said(Disarm { pairs: 0 }.check(&model, &Bernoulli::even(2))),
        "E10 pairs is 0; a gradient needs at least one pair of draws"
    );
    let wide = Bernoulli::even(17);
    assert_eq!(
        said(Enumeration.check(&model, &wide)),
        "E10 the number of joint states is 131072; Enumeration sums over at most 65536; draw \
         instead: `ScoreFunction { draws: 8 }`, `Vimco { draws: 8 }`, or `Disarm { pairs: 4 }` for \
         coins"
    );
    let vast = said(Enumeration.check(&model, &Bernoulli::even(1000)));
    assert!(vast.contains("the number of joint states is beyond counting"), "{vast}");
    assert_eq!(
        said(Enumeration.check(&model, &MeanFieldGaussian::standard(1))),
        "E10 the support of coordinate 0 is Real; Enumeration sums over labels (Support::Category); \
         for other coordinates use `Reparameterization` or `ScoreFunction`"
    );
}

/// A state that cannot be is no accident where `q` reaches it: it is named.
#[test]
fn an_impossible_state_is_named() {
    struct Never;
    impl Model for Never {
        fn space(&self) -> Space {
            let mut space = Space::new();
            space.block("z", 2, Support::Category(2));
            space
        }
        fn log_joint(&self, z: &[f64]) -> f64 {
            if z == [1.0, 0.0] { f64::NEG_INFINITY } else { 0.0 }
        }
    }
    let mut rng = stream(1, Purpose::Step, 0);
    let bad = Enumeration
        .estimate(
            &Never,
            &Bernoulli::even(2),
            &mut rng,
            &mut Default::default(),
            &mut [],
            &mut [0.0; 2],
        )
        .expect_err("the ELBO is minus infinity");
    assert_eq!((bad.draw, bad.z, bad.log_joint), (2, vec![1.0, 0.0], f64::NEG_INFINITY));
}
