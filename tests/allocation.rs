//! No step allocates after the first: counted by an allocator that counts.
//!
//! The allocator is the only unsafe code: it hands every call on to the system's and adds one to a
//! counter of the calling thread.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use elbo::data::{OLD_FAITHFUL, Observations, RowFile, digits};
use elbo::models::bayesian_mixture::Weights;
use elbo::models::{BayesianMixture, Covariance, DiscreteMixture, GaussianMixture};
use elbo::nn::{
    Activation, BayesianNeuralNetwork, Decoder, Encoder, FullCovariance, Head, Likelihood,
    LocalReparameterization, Mlp, Noise, Prior,
};
use elbo::{
    Adam, AdamW, Affine, Anderson, Ascent, Averaged, Bernoulli, Beta, Categorical, ClipNorm,
    ClipValue, ClosedFormKl, Differentiable, Disarm, DoWG, DoublyReparameterized, EStep,
    Enumeration, Family, FullRankGaussian, GradientAscent, GradientEstimator, GumbelSoftmax,
    ImportanceWeighted, LowRankGaussian, MStep, MeanFieldGaussian, Minibatch, Model, NaturalStep,
    OneHot, Only, Options, Paired, PerDatum, Product, Real, Reparameterization, Run, Scalar,
    Schedule, Scheduled, ScoreFunction, Sgd, Space, Squarem, StickingTheLanding, Stop, Support,
    Transformed, Var, Vimco, density, from_fn,
};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // a thread that is ending has no counter any more
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: every method hands its arguments on to `System` unchanged; counting touches a `Cell` that
// is initialised at compile time, so it allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(at, layout, size) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// Takes `warm` steps, then counts what the next ones allocate.
#[track_caller]
fn allocates_nothing_after<T, M, Q, A>(warm: usize, stop: Stop, model: M, q: Q, ascent: A)
where
    T: Scalar,
    M: Model<T>,
    Q: Family<T>,
    A: Ascent<M, Q, T>,
{
    let options = Options { steps: warm + 200, stop, ..Options::default() };
    takes_steps(warm, options, model, q, ascent);
}

#[track_caller]
fn takes_steps<T, M, Q, A>(warm: usize, options: Options, model: M, q: Q, ascent: A)
where
    T: Scalar,
    M: Model<T>,
    Q: Family<T>,
    A: Ascent<M, Q, T>,
{
    let mut run = Run::new(model, q, ascent, options).expect("the pair fits");
    for _ in 0..warm {
        assert_eq!(run.step(), Ok(None));
    }
    let before = allocations();
    let mut per_step = [0; 200];
    for count in &mut per_step {
        let start = allocations();
        let outcome = run.step();
        *count = allocations() - start;
        assert_eq!(outcome, Ok(None));
    }
    let total = allocations() - before;
    let first = per_step.iter().position(|&n| n > 0);
    assert_eq!(total, 0, "200 steps allocated {total} times, first at {first:?} after {warm}");
    assert_eq!(run.rejected, 0);
}

#[track_caller]
fn allocates_nothing<T, M, Q, A>(model: M, q: Q, ascent: A)
where
    T: Scalar,
    M: Model<T>,
    Q: Family<T>,
    A: Ascent<M, Q, T>,
{
    allocates_nothing_after(1, Stop::Budget, model, q, ascent);
}

fn eight_schools() -> impl Differentiable {
    let effect = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
    let sd = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];
    let mut space = Space::new();
    let (mu, tau, eta) = (space.real("mu"), space.positive("tau"), space.reals("eta", 8));
    from_fn(space, move |z| {
        let mut lp = density::normal(z[mu], 0.0, 5.0) + density::half_cauchy(z[tau], 5.0);
        for (j, &eta) in z[eta].iter().enumerate() {
            lp += density::normal(eta, 0.0, 1.0);
            lp += density::normal(Var::from(effect[j]), z[mu] + z[tau] * eta, sd[j]);
        }
        lp
    })
    .unconstrained()
}

/// A hand-written model with a parameter of its own, on the provided batch methods.
struct Shifted(f64);

impl<T: Scalar> Model<T> for Shifted {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("z", 2);
        space
    }
    fn log_joint(&self, z: &[T]) -> f64 {
        z.iter().map(|z| -0.5 * (z.to_f64() - self.0).powi(2)).sum::<f64>() - self.0 * self.0
    }
    fn n_theta(&self) -> usize {
        1
    }
    fn theta(&self, out: &mut [T]) {
        out[0] = T::from_f64(self.0);
    }
    fn set_theta(&mut self, theta: &[T]) {
        self.0 = theta[0].to_f64();
    }
    fn add_theta_grad(&self, z: &[T], weights: &[T], grad: &mut [T]) {
        for (z, &w) in z.chunks_exact(2).zip(weights) {
            grad[0] += w * T::from_f64(z[0].to_f64() + z[1].to_f64() - 4.0 * self.0);
        }
    }
}

impl<T: Scalar> Differentiable<T> for Shifted {
    fn log_joint_grad(&self, z: &[T], grad: &mut [T]) -> f64 {
        grad.iter_mut().zip(z).for_each(|(g, &z)| *g = T::from_f64(self.0) - z);
        self.log_joint(z)
    }
}

#[test]
fn estimators() {
    let q = || MeanFieldGaussian::standard(10);
    let adam = || Adam::rate(0.01);
    let path = Reparameterization { draws: 10 };
    allocates_nothing(eight_schools(), q(), GradientAscent::new(path, adam()));
    let landing = StickingTheLanding { draws: 100 };
    allocates_nothing(eight_schools(), q(), GradientAscent::new(landing, adam()));
    let score = ScoreFunction { draws: 10 };
    allocates_nothing(eight_schools(), q(), GradientAscent::new(score, adam()));
}

/// Bounds of weighted draws, with a parameter of the model's own and under the paired stop rule,
/// whose terms are groups of draws.
#[test]
fn weighted_estimators() {
    let q = || MeanFieldGaussian::<f64>::standard(2);
    let adam = || Adam::rate(0.01);
    let plain = ImportanceWeighted { draws: 8, alpha: 0.5 };
    allocates_nothing(Shifted(1.0), q(), GradientAscent::new(plain, adam()));
    let doubly = DoublyReparameterized { draws: 8, alpha: 0.0 };
    allocates_nothing(Shifted(1.0), q(), GradientAscent::new(doubly, adam()));
    let paired = Paired { every: 20, draws: 16, tolerance: Some(1e-12) };
    let ascent = GradientAscent::new(doubly, adam());
    allocates_nothing_after(21, Stop::Paired(paired), Shifted(1.0), q(), ascent);
    allocates_nothing(Shifted(1.0), q(), GradientAscent::new(Vimco { draws: 8 }, Sgd::rate(1e-3)));
}

/// Labels: sums, scores, opposite coins, relaxed.
#[test]
fn estimators_of_labels() {
    let model = || {
        let mut space = Space::new();
        let (a, b) = (space.block("a", 2, Support::Simplex), space.block("b", 2, Support::Simplex));
        let inner =
            from_fn(space, move |z| z[a][1] * 0.4 - z[a][0] * z[b][1] * 1.3 + z[b][0].exp());
        OneHot::new(inner).expect("two simplexes")
    };
    let coins = || Bernoulli::even(2);
    let labels = || Categorical::uniform(2, 2).expect("labels");
    let adam = || Adam::rate(0.01);
    allocates_nothing(model(), labels(), GradientAscent::new(Enumeration, adam()));
    allocates_nothing(model(), coins(), GradientAscent::new(Disarm { pairs: 4 }, adam()));
    allocates_nothing(model(), labels(), GradientAscent::new(Vimco { draws: 4 }, adam()));
    allocates_nothing(model(), labels(), GradientAscent::new(ScoreFunction { draws: 4 }, adam()));
    let relaxed = GumbelSoftmax::new(4, Schedule::Anneal { from: 1.0, rate: 1e-3, floor: 0.1 });
    allocates_nothing(model(), labels(), GradientAscent::new(relaxed.clone(), adam()));
    allocates_nothing(model(), coins(), GradientAscent::new(relaxed.straight_through(), adam()));
}

#[test]
fn expectation_maximization() {
    let cells = OLD_FAITHFUL.iter().flatten().copied().collect();
    let data = Arc::new(Observations::new(cells, 2).expect("numbers"));
    for covariance in Covariance::ALL {
        let model = GaussianMixture::new(Arc::clone(&data), 2).expect("two kinds of eruptions");
        let model = model.with_covariance(covariance).expect("no column is redundant");
        let q = model.labels();
        allocates_nothing(model.clone(), q.clone(), (EStep, MStep));
        // the first step makes room for the points that are looked ahead from
        allocates_nothing(model.clone(), q.clone(), Squarem::new((EStep, MStep)));
        allocates_nothing(model.clone(), q, Anderson::new((EStep, MStep)));
        for weights in [Weights::Dirichlet, Weights::StickBreaking] {
            let model = BayesianMixture::of(model.clone()).and_then(|m| m.with_weights(weights));
            let model = model.expect("the data make a prior");
            let q = model.posterior();
            allocates_nothing(model.clone(), q.clone(), EStep);
            allocates_nothing(model, q, Squarem::new(EStep));
        }
    }
}

#[test]
fn mixtures_of_rows_with_gaps() {
    // both columns by turns, and more rows than a block
    let gap = |(at, x): (usize, &f64)| if [3, 6].contains(&(at % 10)) { f64::NAN } else { *x };
    let cells = OLD_FAITHFUL.iter().flatten().enumerate().map(gap).collect();
    let data = Arc::new(Observations::with_missing(cells, 2).expect("a cell in each row"));
    for covariance in Covariance::ALL {
        let model = GaussianMixture::of_kind(Arc::clone(&data), 2, covariance).expect("two kinds");
        let q = model.labels();
        allocates_nothing(model.clone(), q.clone(), (EStep, MStep));
        let online = Minibatch::new(50, (NaturalStep::decaying(1.0, 0.6), MStep));
        allocates_nothing_after(3, Stop::Budget, model.clone(), q, online);
        let model = BayesianMixture::of(model).expect("the data make a prior");
        let q = model.posterior();
        allocates_nothing(model.clone(), q.clone(), EStep);
        allocates_nothing(model, q, Squarem::new(EStep));
    }
}

#[test]
fn discrete_mixtures() {
    use elbo::models::discrete_mixture::Column;
    let cells = (0..3 * 400).map(|i| f64::from((i * i / 7 % 11 > 4) as u8)).collect();
    let data = Observations::new(cells, 3).expect("numbers");
    let columns = [Column::Binary, Column::Levels(3), Column::Count];
    let model = DiscreteMixture::new(data, 2, &columns).expect("cells of their kinds");
    let q = model.labels();
    allocates_nothing(model.clone(), q.clone(), (EStep, MStep));
    allocates_nothing(model.clone(), q, Squarem::new((EStep, MStep)));
    let model = model.bayesian();
    let q = model.start(0);
    allocates_nothing(model.clone(), q.clone(), EStep);
    allocates_nothing(model, q, Squarem::new(EStep));
}

#[test]
fn bayesian_factors() {
    use elbo::models::FactorAnalysis;
    let cells = elbo::data::IRIS.iter().flatten().copied().collect();
    let data = Observations::new(cells, 4).expect("numbers");
    let model = FactorAnalysis::new(data, 2).expect("four columns").bayesian();
    let q = model.start();
    allocates_nothing(model.clone(), q.clone(), EStep);
    allocates_nothing(model, q, Squarem::new(EStep));
}

#[test]
fn factors_of_rows_with_gaps() {
    use elbo::models::FactorAnalysis;
    // one factor, and noise in every column: where a column has none the best place is at the edge, and
    // a candidate beyond it is an error, made and dropped
    let cell = |i: usize| match (i % 7, (i / 5) as f64) {
        (3, _) => f64::NAN,
        (_, row) => row.sin() + (row * (1.3 + (i % 5) as f64)).cos(),
    };
    let data = Observations::with_missing((0..750).map(cell).collect(), 5).expect("numbers");
    let model = FactorAnalysis::new(data.clone(), 1).expect("five columns");
    let q = model.start();
    allocates_nothing(model.clone(), q.clone(), (EStep, MStep));
    allocates_nothing(model, q, Anderson::new((EStep, MStep)));
    let model = FactorAnalysis::new(data, 2).expect("five columns").bayesian();
    let q = model.start();
    allocates_nothing(model.clone(), q.clone(), EStep);
    allocates_nothing(model, q, Anderson::new(EStep));
}

#[test]
fn logistic_regression() {
    use elbo::models::LogisticRegression;
    let x: Vec<f64> = (0..600).map(|i| (i * 37 % 101) as f64 / 50.0 - 1.0).collect();
    let y: Vec<f64> = x.chunks_exact(3).map(|x| f64::from(u8::from(x[0] > x[1]))).collect();
    let model = LogisticRegression::new(&x, 3, &y, 1.0).expect("fine");
    let q = model.start();
    allocates_nothing(model.clone(), q.clone(), EStep);
    allocates_nothing(model, q, Squarem::new(EStep));
}

#[test]
fn hidden_markov_models() {
    use elbo::models::hidden_markov::{self, Emission, HiddenMarkov, Sequences};
    for (emission, columns) in
        [(Emission::Gaussian, 2), (Emission::DiagonalGaussian, 2), (Emission::poisson(1), 1)]
    {
        let cells = (0..600 * columns).map(|i| (i * i % 23 + i / 97 % 2 * 20) as f64).collect();
        let data = Observations::new(cells, columns).expect("numbers");
        let sequences = Sequences::new(data, &[250, 350]).expect("two sequences");
        let model = HiddenMarkov::new(sequences, 2, emission).expect("two states");
        let q = model.states();
        allocates_nothing(model.clone(), q, (EStep, MStep));
        let prior = hidden_markov::Prior::weak(&model);
        let under = model.clone().with_prior(prior).expect("it has a mode");
        let q = under.states();
        allocates_nothing(under, q, (EStep, MStep));
        let model = model.bayesian();
        let q = model.start(0).expect("a start");
        allocates_nothing(model, q, EStep);
    }
    // single cells missing
    let cell = |i: usize| if i % 7 == 3 { f64::NAN } else { (i * i % 23 + i / 97 % 2 * 20) as f64 };
    let data = Observations::with_gaps((0..1200).map(cell).collect(), 2).expect("numbers");
    let model =
        Sequences::one(data).and_then(|s| HiddenMarkov::gaussian(s, 2)).expect("two states");
    let q = model.states();
    allocates_nothing(model, q, (EStep, MStep));
}

#[test]
fn rows_in_a_file() {
    let path = std::env::temp_dir().join(format!("elbo-allocation-{}.npy", std::process::id()));
    let file = RowFile::create(&path, 2, OLD_FAITHFUL).expect("a file of numbers");
    let model = GaussianMixture::new(file, 2).expect("two kinds of eruptions");
    let online = Minibatch::new(50, (NaturalStep::decaying(1.0, 0.6), MStep));
    allocates_nothing(model.clone(), model.labels(), (EStep, MStep));
    // the second step is the first that keeps some of what was there, the third has a row more
    for moves in [online.clone(), online.in_runs_of(8)] {
        allocates_nothing_after(3, Stop::Budget, model.clone(), model.labels(), moves);
    }
    std::fs::remove_file(path).expect("it was written");
}

#[test]
fn topics() {
    use elbo::data::Corpus;
    use elbo::models::Topics;
    use elbo::{Minibatch, NaturalStep};
    let all = (0..16).flat_map(|d| (0..9).map(move |w| (d, (d + w * w) % 20, 1.0)));
    let model = Topics::new(Corpus::from_triples(all, 16, 20).expect("counts"), 3).expect("three");
    let q = model.start(0);
    allocates_nothing(model.clone(), q.clone(), EStep);
    allocates_nothing(model.clone(), q.clone(), (EStep, MStep));
    // the first epoch makes room for its longest batch
    let moves = Minibatch::new(8, NaturalStep::decaying(64.0, 0.7));
    allocates_nothing_after(2, Stop::Budget, model, q, moves);
}

#[test]
fn families() {
    let q = || FullRankGaussian::standard(10);
    let dowg = || Averaged::new(DoWG::new());
    let path = Reparameterization { draws: 10 };
    allocates_nothing(eight_schools(), q(), GradientAscent::new(path, dowg()));
    let landing = StickingTheLanding { draws: 10 };
    allocates_nothing(eight_schools(), q(), GradientAscent::new(landing, dowg()));
    let score = ScoreFunction { draws: 10 };
    allocates_nothing(eight_schools(), q(), GradientAscent::new(score, Adam::rate(1e-3)));
    let low_rank = LowRankGaussian::standard(10);
    allocates_nothing(eight_schools(), low_rank.clone(), GradientAscent::new(landing, dowg()));
    let map = Affine::diagonal(vec![0.0; 10], &[0.5; 10]).expect("positive scales");
    let moved = Transformed::new(low_rank, map).expect("of one size");
    allocates_nothing(eight_schools(), moved, GradientAscent::new(landing, dowg()));
}

/// Families on the unit interval, alone and beside another.
#[test]
fn bounded_families() {
    let coins = |bent: bool| {
        let mut space = Space::new();
        let (shift, chance) =
            (if bent { Some(space.real("shift")) } else { None }, space.unit("p"));
        from_fn(space, move |z| {
            let prior = shift.map_or(Var::from(0.0), |s| density::normal(z[s], 0.0, 1.0));
            prior + 7.0 * z[chance].ln() + 3.0 * (1.0 - z[chance]).ln()
        })
    };
    let beta = || Beta::new(&[3.0], &[3.0]).expect("shapes");
    let both = || Product::new(MeanFieldGaussian::standard(1), beta());
    let path = GradientAscent::new(Reparameterization { draws: 10 }, Adam::rate(0.01));
    allocates_nothing(coins(false), beta(), path.clone());
    allocates_nothing(coins(true), both(), path);
    let landing = GradientAscent::new(StickingTheLanding { draws: 10 }, Adam::rate(0.01));
    allocates_nothing(coins(false), beta(), landing.clone());
    allocates_nothing(coins(true), both(), landing);
    let score = GradientAscent::new(ScoreFunction { draws: 10 }, Adam::rate(1e-3));
    allocates_nothing(coins(false), beta(), score.clone());
    allocates_nothing(coins(true), both(), score);
}

#[test]
fn models_with_parameters_of_their_own() {
    let path = Reparameterization { draws: 100 };
    let ascent = || GradientAscent::new(path, AdamW::rate(0.01));
    allocates_nothing::<f64, _, _, _>(Shifted(1.0), MeanFieldGaussian::standard(2), ascent());
    let ascent = GradientAscent::new(path, AdamW::rate(0.01));
    allocates_nothing::<f32, _, _, _>(Shifted(1.0), MeanFieldGaussian::standard(2), ascent);
    let score = GradientAscent::new(ScoreFunction { draws: 4 }, Sgd::rate(0.01));
    allocates_nothing::<f64, _, _, _>(Shifted(1.0), MeanFieldGaussian::standard(2), score);
    // more draws than are moved to the natural scale at once
    let path = GradientAscent::new(Reparameterization { draws: 300 }, Sgd::rate(0.01));
    let model = Model::<f64>::unconstrained(Shifted(1.0));
    allocates_nothing(model, MeanFieldGaussian::standard(2), path);
}

/// A likelihood that brings its own gradient, one point at a time.
#[test]
fn primitives() {
    let mut space = Space::new();
    let x = space.reals("x", 3);
    let bowl = Arc::new(|x: &[f64], grad: &mut [f64]| {
        grad.iter_mut().zip(x).for_each(|(g, x)| *g = -x);
        -0.5 * x.iter().map(|x| x * x).sum::<f64>()
    });
    let model = from_fn(space, move |z| Var::primitive(&z[x], &bowl));
    let path = GradientAscent::new(StickingTheLanding { draws: 16 }, Adam::rate(0.01));
    allocates_nothing(model, MeanFieldGaussian::standard(3), path);
}

/// A likelihood as one node: evaluated, and told to look at other rows.
#[test]
fn likelihoods() {
    use elbo::Subsample;
    let rows = 300;
    let x: Vec<f64> = (0..2 * rows).map(|i| (i % 17) as f64 / 8.0 - 1.0).collect();
    let (y, group): (Vec<bool>, Vec<usize>) = (0..rows).map(|i| (i % 3 == 0, i % 5)).unzip();
    let design = density::glm::Design::rows(&x, 2).groups(&group, 5);
    let mut likelihood = design.bernoulli_logit(&y).expect("the data are fine");
    let batches: Vec<Vec<usize>> =
        (0..20).map(|b| (0..30).map(|i| (7 * i + b) % rows).collect()).collect();
    likelihood.subsample(&batches[0]);
    let before = allocations();
    batches.iter().for_each(|rows| likelihood.subsample(rows));
    assert_eq!(allocations() - before, 0);
    likelihood.whole();
    let mut space = Space::new();
    let (beta, a) = (space.reals("beta", 2), space.reals("a", 5));
    let model = from_fn(space, move |z| {
        density::normals(&z[beta], 0.0, 1.0)
            + density::normals(&z[a], 0.0, 1.0)
            + likelihood.at(&z[beta]).intercepts(&z[a]).log_prob()
    });
    let path = GradientAscent::new(StickingTheLanding { draws: 16 }, Adam::rate(0.01));
    allocates_nothing(model, MeanFieldGaussian::standard(7), path);
}

/// Steps whose ELBO nobody reads: the first of them makes its buffers, as the first of the others.
#[test]
fn gradients_alone() {
    let options =
        || Options { steps: 202, stop: Stop::Budget, elbo_every: 50, ..Options::default() };
    let path = || GradientAscent::new(Reparameterization { draws: 10 }, Adam::rate(0.01));
    takes_steps(2, options(), eight_schools(), MeanFieldGaussian::standard(10), path());
    takes_steps::<f64, _, _, _>(2, options(), Shifted(1.0), MeanFieldGaussian::standard(2), path());
    let landing = GradientAscent::new(StickingTheLanding { draws: 10 }, Adam::rate(0.01));
    takes_steps(2, options(), eight_schools(), FullRankGaussian::standard(10), landing);
}

#[test]
fn optimizers() {
    let schedule = Schedule::Cosine { steps: 100, floor: 0.1 };
    let clipped = (ClipNorm(10.0), (ClipValue(1.0), Scheduled::new(Adam::rate(0.01), schedule)));
    let held = (Only(0..5), Averaged::new(Sgd::rate(1e-4).momentum(0.9)));
    let path = Reparameterization { draws: 4 };
    let q = || MeanFieldGaussian::standard(10);
    allocates_nothing(eight_schools(), q(), GradientAscent::new(path, clipped));
    allocates_nothing(eight_schools(), q(), GradientAscent::new(path, held));
}

/// The test for stopping allocates once, at its first two checks.
#[test]
fn the_paired_test() {
    let paired = Paired { every: 10, tolerance: Some(1e-9), ..Paired::default() };
    let path = GradientAscent::new(Reparameterization { draws: 4 }, Averaged::new(DoWG::new()));
    let q = MeanFieldGaussian::standard(10);
    allocates_nothing_after(20, Stop::Paired(paired), eight_schools(), q, path);
}

/// Variational autoencoders: what is left is the room that products make for themselves, at most two
/// pieces each. A panel of a decoder needs 6 (2 forward, 4 back), one of an encoder 5.
#[test]
fn networks_allocate_no_more_than_their_products() {
    let images = Arc::new(digits().0);
    let network = |widths: &[usize]| Mlp::<f32>::new(widths, Activation::Tanh, 1).expect("widths");
    let model = |prior| {
        let learned = Likelihood::Gaussian(Noise::Learned(0.1));
        let model = Decoder::new(network(&[3, 32, 64]), images.clone(), learned);
        model.and_then(|model| model.with_prior(prior)).expect("it fits")
    };
    let plain = || Encoder::new(network(&[64, 32, 6]), images.clone()).expect("it fits");
    let full = || {
        let network = network(&[64, 32, 9]);
        Encoder::with_head(network, images.clone(), FullCovariance).expect("it fits")
    };
    let path = Reparameterization { draws: 1 };
    few(model(Prior::StandardNormal), plain(), path, 2 * (6 + 5));
    few(model(Prior::Normal), full(), ClosedFormKl::new(1), 2 * (6 + 5));
    // 21 images with their 3 draws make a panel
    let weighted = PerDatum(DoublyReparameterized { draws: 3, alpha: 0.0 });
    few(model(Prior::Mixture { components: 4, seed: 1 }), full(), weighted, 7 * 6 + 2 * 5);
}

fn few<H: Head, E>(model: Decoder<Mlp>, q: Encoder<Mlp, f32, H>, estimator: E, products: u64)
where
    E: GradientEstimator<Decoder<Mlp>, Encoder<Mlp, f32, H>, f32>,
{
    let inner = GradientAscent::new(estimator, Adam::rate(1e-3));
    let options = Options { steps: 202, stop: Stop::Budget, ..Options::default() };
    let ascent = Minibatch::new(128, inner);
    let mut run = Run::new(model, q, ascent, options).expect("the pair fits");
    // an epoch, in which batches of every size have been met
    (0..20).for_each(|_| assert_eq!(run.step(), Ok(None)));
    let before = allocations();
    (0..100).for_each(|_| assert_eq!(run.step(), Ok(None)));
    let total = allocations() - before;
    assert!(total <= 100 * 2 * products, "100 steps allocated {total} times");
}

#[test]
fn uncertain_weights_allocate_no_more_than_their_products() {
    let network = Mlp::new(&[2, 9, 7, 1], Activation::Gelu, 1).expect("widths");
    let wave = |n: usize| -> Vec<f64> { (0..n).map(|i| (i as f64).sin()).collect() };
    let model = BayesianNeuralNetwork::new(network, &wave(300), &wave(150)).expect("rows");
    let d = model.dim();
    let q = MeanFieldGaussian::new(vec![0.1; d], &vec![0.1; d]).expect("positive");
    let draws = LocalReparameterization { draws: 2 };
    let ascent = Minibatch::new(70, GradientAscent::new(draws, Adam::rate(1e-3)));
    let options = Options { steps: 202, stop: Stop::Budget, ..Options::default() };
    let mut run = Run::new(model.unconstrained(), q, ascent, options).expect("the pair fits");
    (0..20).for_each(|_| assert_eq!(run.step(), Ok(None)));
    let before = allocations();
    (0..100).for_each(|_| assert_eq!(run.step(), Ok(None)));
    let total = allocations() - before;
    // two panels: two products of the first layer there and two back, two layers with six for a draw
    assert!(total <= 100 * 2 * (2 * (4 + 2 * 2 * 6)), "100 steps allocated {total} times");
}

#[test]
fn the_counter_counts() {
    let before = allocations();
    let boxed = std::hint::black_box(Box::new(1));
    assert_eq!((allocations() - before, *boxed), (1, 1));
}
