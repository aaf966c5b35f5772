//! `Subsample`: the mean over an epoch is the whole; adapters hand a batch on as a batch.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::support::{assert_all_close, assert_close};
use elbo::density::{self, glm};
use elbo::{
    Adam, Affine, Ascent, Autodiff, DifferencedHessian, Differentiable, Family, GradientAscent,
    LogJoint, MeanFieldGaussian, Minibatch, Model, Options, Purpose, Real, Reparameterization, Rng,
    ScoreFunction, Scored, Space, Stop, Subsample, Whitened, check_model, fit, stream,
};

/// The mean over the batches of an epoch, weighted by their sizes, is the value on all rows; so is
/// that of the gradient; and `whole` brings all rows back.
#[track_caller]
pub fn subsample<M: Differentiable + Subsample>(model: &mut M, points: &[Vec<f64>]) {
    let (n, d) = (model.n_data(), model.dim());
    let rows: Vec<usize> = (0..n).map(|i| (i * 7 + 3) % n).collect();
    let all: std::collections::BTreeSet<_> = rows.iter().collect();
    assert_eq!(all.len(), n, "choose a number of rows that 7 does not divide");
    for z in points {
        let mut whole = vec![0.0; d];
        let value = model.log_joint_grad(z, &mut whole);
        for size in [1, 4, n] {
            let (mut mean, mut slope) = (0.0, vec![0.0; d]);
            for batch in rows.chunks(size) {
                model.subsample(batch);
                let mut grad = vec![0.0; d];
                let weight = batch.len() as f64 / n as f64;
                mean += weight * model.log_joint_grad(z, &mut grad);
                slope.iter_mut().zip(&grad).for_each(|(s, g)| *s += weight * g);
            }
            model.whole();
            assert_close(&format!("mean over batches of {size}"), mean, value, 1e-10);
            for i in 0..d {
                assert_close(
                    &format!("gradient[{i}], batches of {size}"),
                    slope[i],
                    whole[i],
                    1e-10,
                );
            }
        }
        let mut again = vec![0.0; d];
        assert_eq!(value.to_bits(), model.log_joint_grad(z, &mut again).to_bits());
    }
}

/// A straight line through points, with all rows or some.
struct Line {
    xy: Vec<[f64; 2]>,
    rows: Vec<usize>,
    seen: Mutex<Vec<Vec<usize>>>,
}

impl Line {
    fn new(n: usize) -> Line {
        let xy = (0..n).map(|i| [i as f64 / n as f64, ((i * 37) % 11) as f64 / 5.0]).collect();
        Line { xy, rows: (0..n).collect(), seen: Mutex::default() }
    }
}

impl Model for Line {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("intercept");
        space.real("slope");
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        self.log_joint_grad(z, &mut [0.0; 2])
    }
}

impl Differentiable for Line {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        let scale = self.xy.len() as f64 / self.rows.len() as f64;
        let mut value = -0.5 * (z[0] * z[0] + z[1] * z[1]);
        grad.copy_from_slice(&[-z[0], -z[1]]);
        for &[x, y] in self.rows.iter().map(|&i| &self.xy[i]) {
            let r = y - z[0] - z[1] * x;
            value -= 0.5 * scale * r * r;
            grad[0] += scale * r;
            grad[1] += scale * r * x;
        }
        value
    }
}

impl Subsample for Line {
    fn n_data(&self) -> usize {
        self.xy.len()
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.seen.lock().unwrap().push(rows.to_vec());
        self.rows.clear();
        self.rows.extend_from_slice(rows);
    }
    fn whole(&mut self) {
        self.rows.clear();
        self.rows.extend(0..self.xy.len());
    }
}

#[test]
fn rows_of_a_hand_written_model() {
    let points = vec![vec![0.3, -1.2], vec![2.0, 0.5]];
    subsample(&mut Line::new(23), &points);
    subsample(&mut Line::new(23).unconstrained(), &points);
    subsample(&mut Line::new(23).parallel(), &points);
    subsample(&mut DifferencedHessian::new(Line::new(23)), &points);
    let map = Affine::from_rows(vec![0.1, 0.2], vec![0.5, 0.1, 2.0]).unwrap();
    subsample(&mut Whitened::new(Line::new(23), map).unwrap(), &points);
}

/// A line whose rows can be put in another order: row `i` is what was row `order[i]` at first.
struct Arranged {
    line: Line,
    order: Vec<usize>,
    /// Asked for how many orders.
    asked: usize,
}

impl Arranged {
    fn new(n: usize) -> Arranged {
        Arranged { line: Line::new(n), order: (0..n).collect(), asked: 0 }
    }
}

impl Model for Arranged {
    fn space(&self) -> Space {
        self.line.space()
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        self.line.log_joint(z)
    }
}

impl Differentiable for Arranged {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        self.line.log_joint_grad(z, grad)
    }
}

impl Subsample for Arranged {
    fn n_data(&self) -> usize {
        self.line.n_data()
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.line.seen.lock().unwrap().push(rows.to_vec());
        self.line.rows.clear();
        self.line.rows.extend(rows.iter().map(|&i| self.order[i]));
    }
    fn whole(&mut self) {
        self.line.whole();
    }
    fn arrange(&mut self, order: &[usize]) -> bool {
        self.asked += 1;
        self.order = order.to_vec();
        true
    }
}

/// A normal that notes which rows it is told of.
#[derive(Clone)]
struct Notes(MeanFieldGaussian, Vec<usize>);

impl Family for Notes {
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
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        self.0.sample(rng, z);
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        self.0.log_prob(z)
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.1 = rows.to_vec();
    }
}

impl Scored for Notes {
    fn add_score(&self, z: &[f64], weight: f64, grad: &mut [f64]) {
        self.0.add_score(z, weight, grad);
    }
}

/// Model and family speak of the same rows, which come in runs of eight neighbours, every row once
/// an epoch and the runs in an order of their own.
#[test]
fn an_arranged_model_is_shown_runs_of_neighbours() {
    for (n, batch) in [(104, 16), (104, 20), (103, 16), (103, 5), (104, 3), (6, 4)] {
        let (mut model, mut q) = (Arranged::new(n), Notes(MeanFieldGaussian::standard(2), vec![]));
        let inner = GradientAscent::new(ScoreFunction { draws: 2 }, Adam::rate(0.01));
        let mut ascent = Minibatch::new(batch, inner);
        let aligned = n % 8 == 0 && batch >= 8;
        let per_epoch = if aligned { (n / 8).div_ceil(batch / 8) } else { n.div_ceil(batch) };
        for step in 0..3 * per_epoch {
            let rng = &mut stream(4, Purpose::Step, step as u64);
            ascent.step(&mut model, &mut q, rng).unwrap();
            assert_eq!(model.line.rows, q.1, "family and model are told of the same rows");
        }
        assert_eq!(model.asked, 1);
        assert!(n < 8 || model.order.windows(2).any(|w| w[1] != w[0] + 1), "no order at all");
        let seen = model.line.seen.lock().unwrap();
        let epochs: Vec<Vec<usize>> = seen.chunks(per_epoch).map(|e| e.concat()).collect();
        for epoch in &epochs {
            let mut rows = epoch.clone();
            rows.sort_unstable();
            assert_eq!(rows, (0..n).collect::<Vec<_>>());
        }
        assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
        for rows in seen.iter() {
            assert!(!rows.is_empty() && rows.len() <= batch, "{} rows of {batch}", rows.len());
            let breaks = rows.windows(2).filter(|w| w[1] != w[0] + 1 && w[1] % 8 != 0).count();
            assert!(breaks <= 1, "a run begins inside only where the ring closes: {rows:?}");
            if aligned {
                assert!(rows.chunks(8).all(|run| run.len() == 8 && run[0] % 8 == 0), "{rows:?}");
            }
        }
    }
}

/// A model that keeps its rows where they are, in a file say, is shown runs as long as is asked for.
#[test]
fn runs_of_neighbours_are_as_long_as_is_asked_for() {
    for (n, batch, run) in [(96, 24, 12), (97, 24, 12), (97, 5, 12), (10, 4, 40)] {
        let (mut model, mut q) = (Arranged::new(n), Notes(MeanFieldGaussian::standard(2), vec![]));
        let inner = GradientAscent::new(ScoreFunction { draws: 2 }, Adam::rate(0.01));
        let mut ascent = Minibatch::new(batch, inner).in_runs_of(run);
        let per_epoch = n.div_ceil(batch);
        for step in 0..2 * per_epoch {
            let rng = &mut stream(4, Purpose::Step, step as u64);
            ascent.step(&mut model, &mut q, rng).unwrap();
        }
        assert_eq!(model.asked, 0, "the rows stay in their order");
        let seen = model.line.seen.lock().unwrap();
        for epoch in seen.chunks(per_epoch) {
            let mut rows = epoch.concat();
            let breaks = rows.windows(2).filter(|w| w[1] != w[0] + 1).count();
            assert!(breaks <= n.div_ceil(run), "{breaks} breaks in {rows:?}");
            rows.sort_unstable();
            assert_eq!(rows, (0..n).collect::<Vec<_>>());
        }
        assert!(n < 12 || seen[0] != seen[per_epoch], "the order is new in each epoch");
    }
}

fn inner() -> GradientAscent<Reparameterization, Adam> {
    GradientAscent::new(Reparameterization { draws: 2 }, Adam::rate(0.01))
}

#[test]
fn an_epoch_shows_every_row_once_in_an_order_of_its_own() {
    let (n, batch) = (103, 10);
    let (mut model, mut q) = (Line::new(n), MeanFieldGaussian::standard(2));
    let mut ascent = Minibatch::new(batch, inner());
    let per_epoch = n.div_ceil(batch);
    for step in 0..3 * per_epoch {
        let rng = &mut stream(4, Purpose::Step, step as u64);
        ascent.step(&mut model, &mut q, rng).unwrap();
    }
    let seen = model.seen.lock().unwrap();
    let epochs: Vec<Vec<usize>> = seen.chunks(per_epoch).map(|e| e.concat()).collect();
    for epoch in &epochs {
        let mut rows = epoch.clone();
        rows.sort_unstable();
        assert_eq!(rows, (0..n).collect::<Vec<_>>());
    }
    assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
    let sizes: Vec<usize> = seen.iter().map(Vec::len).collect();
    assert!(sizes.iter().all(|s| [9, 10].contains(s)), "{sizes:?}");
}

#[test]
fn the_answer_is_on_all_rows_and_right() {
    // posterior precision I + X'X, by hand
    let model = Line::new(60);
    let (mut a, mut b) = ([[1.0, 0.0], [0.0, 1.0]], [0.0; 2]);
    for [x, y] in &model.xy {
        a[0][0] += 1.0;
        a[0][1] += x;
        a[1][1] += x * x;
        b[0] += y;
        b[1] += x * y;
    }
    let det = a[0][0] * a[1][1] - a[0][1] * a[0][1];
    let exact = [(a[1][1] * b[0] - a[0][1] * b[1]) / det, (a[0][0] * b[1] - a[0][1] * b[0]) / det];
    let sd = [a[0][0], a[1][1]].map(|p: f64| p.sqrt().recip());
    let averaged =
        GradientAscent::new(Reparameterization { draws: 4 }, elbo::Averaged::new(Adam::rate(0.02)));
    let options = Options { steps: 8_000, stop: Stop::Budget, ..Options::default() };
    let q = MeanFieldGaussian::standard(2);
    let fit = fit(model, q, Minibatch::new(12, averaged), options).unwrap();
    assert_eq!(fit.model.rows.len(), 60);
    for i in 0..2 {
        let off = (fit.q.mean()[i] - exact[i]) / sd[i];
        assert!(off.abs() < 0.1, "mean[{i}] is off by {off} sd");
        let log_sd = (fit.q.sd()[i] / sd[i]).ln();
        assert!(log_sd.abs() < 0.1, "log sd[{i}] is off by {log_sd}");
    }
}

#[test]
fn a_probe_sees_the_same_rows_for_the_same_noise() {
    let (mut model, mut q) = (Line::new(500), MeanFieldGaussian::standard(2));
    let mut ascent = Minibatch::new(5, inner());
    let mut probe = |index: u64| {
        let mut terms = [0.0; 8];
        let rng = &mut stream(1, Purpose::Probe, index);
        assert!(ascent.probe(&mut model, &mut q, rng, &mut terms));
        (model.seen.lock().unwrap().pop().unwrap(), terms)
    };
    let (first, again, other) = (probe(0), probe(0), probe(1));
    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
    let mut rows = first.0;
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), 50);
}

#[test]
fn batches_that_make_no_sense() {
    let with = |batch| {
        let options = Options { steps: 3, stop: Stop::Budget, ..Options::default() };
        let q = MeanFieldGaussian::standard(2);
        fit(Line::new(20), q, Minibatch::new(batch, inner()), options)
    };
    let error = with(0).err().map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(error, "E10 batch is 0; show at least one row a step");
    let fit = with(21).unwrap();
    let text = fit.warnings[0].to_string();
    assert!(text.starts_with("W20 a batch of 21 rows was asked for, the data have 20"), "{text}");
    assert!(text.contains("try: Minibatch::new(2, ..)"), "{text}");
    let empty = Options { steps: 3, stop: Stop::Budget, ..Options::default() };
    let q = MeanFieldGaussian::standard(2);
    let error = elbo::fit(Line::new(0), q, Minibatch::new(2, inner()), empty).err().unwrap();
    assert!(error.to_string().starts_with("E02 the model has no observations"), "{error}");
}

/// Counts calls by kind: one draw or a batch.
#[derive(Default)]
struct Counting {
    one: AtomicUsize,
    batch: AtomicUsize,
}

impl Model for Counting {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("z", 3);
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        self.one.fetch_add(1, Relaxed);
        z.iter().map(|z| -0.5 * z * z).sum()
    }
    fn log_joint_batch(&self, z: &[f64], out: &mut [f64]) {
        self.batch.fetch_add(1, Relaxed);
        for (z, out) in z.chunks_exact(3).zip(out) {
            *out = z.iter().map(|z| -0.5 * z * z).sum();
        }
    }
}

impl Differentiable for Counting {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        grad.iter_mut().zip(z).for_each(|(g, z)| *g = -z);
        self.log_joint(z)
    }
    fn log_joint_grad_batch(&self, z: &[f64], out: &mut [f64], grad: &mut [f64], _: &mut [f64]) {
        grad.iter_mut().zip(z).for_each(|(g, z)| *g = -z);
        self.log_joint_batch(z, out);
    }
}

/// However many draws, the inner model sees batches only, and not one for each draw.
#[track_caller]
fn hands_batches_on<A: Differentiable>(adapter: &A, inner: impl Fn(&A) -> &Counting) {
    let draws = 64;
    let z: Vec<f64> = (0..3 * draws).map(|i| (i as f64 * 0.37).sin()).collect();
    let (mut out, mut grad) = (vec![0.0; draws], vec![0.0; 3 * draws]);
    adapter.log_joint_batch(&z, &mut out);
    adapter.log_joint_grad_batch(&z, &mut out, &mut grad, &mut []);
    adapter.grad_batch(&z, draws, &mut grad, &mut []);
    let Counting { one, batch } = inner(adapter);
    assert_eq!(one.load(Relaxed), 0, "draws were handed on one by one");
    let calls = batch.load(Relaxed);
    assert!((3..=draws / 2).contains(&calls), "{calls} calls for three batches of {draws}");
}

#[test]
fn adapters_do_not_lose_the_batch() {
    hands_batches_on(&Counting::default().parallel(), |a| a.inner());
    hands_batches_on(&Counting::default().unconstrained(), |a| a.inner());
    hands_batches_on(&DifferencedHessian::new(Counting::default()), |a| a.inner());
    hands_batches_on(&Counting::default().parallel().unconstrained(), |a| a.inner().inner());
    hands_batches_on(&Counting::default().unconstrained().parallel(), |a| a.inner().inner());
}

/// A gradient that is wrong in one coordinate.
struct WrongSlope(f64);

impl Model for WrongSlope {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("a");
        space.real("b");
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        -0.5 * z[0] * z[0] - z[1].powi(4)
    }
}

impl Differentiable for WrongSlope {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        grad.copy_from_slice(&[-z[0], -4.0 * z[1].powi(3) * self.0]);
        self.log_joint(z)
    }
}

#[test]
fn a_wrong_gradient_is_named() {
    let right = check_model(&WrongSlope(1.0));
    assert!(right.passed() && right.warning().is_none(), "{right}");
    // off by a part in ten thousand
    let wrong = check_model(&WrongSlope(1.0001));
    assert!(!wrong.passed());
    let text = wrong.to_string();
    assert!(text.starts_with("W04 the gradient in `b` is ") && text.contains(" but the slope"));
    assert!(!text.contains('\n'));
    assert_eq!(wrong.warning().unwrap().code.as_str(), "W04");
}

#[test]
fn what_else_a_check_finds() {
    struct Flat;
    impl Model for Flat {
        fn space(&self) -> Space {
            let mut space = Space::new();
            space.real("a");
            space.real("b");
            space
        }
        fn log_joint(&self, z: &[f64]) -> f64 {
            -0.5 * z[0] * z[0]
        }
    }
    impl Differentiable for Flat {
        fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
            grad.copy_from_slice(&[-z[0], 0.0]);
            self.log_joint(z)
        }
    }
    let text = check_model(&Flat).to_string();
    assert!(text.starts_with("E08") && text.contains("`b`"), "{text}");
    let nan = check_model(&WrongSlope(f64::NAN));
    assert!(
        !nan.passed() && nan.to_string().contains("the gradient in `b` is not finite"),
        "{nan}"
    );
}

/// Logistic regression that only tells its likelihood which rows to look at; counts recordings.
struct Logistic {
    likelihood: glm::Likelihood,
    recorded: AtomicUsize,
    keeps: bool,
}

impl Clone for Logistic {
    fn clone(&self) -> Self {
        Logistic { likelihood: self.likelihood.clone(), recorded: AtomicUsize::new(0), ..*self }
    }
}

impl LogJoint for Logistic {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("beta", 2);
        space
    }
    fn log_joint<T: Real>(&self, z: &[T]) -> T {
        self.recorded.fetch_add(1, Relaxed);
        density::normals(z, 0.0, 1.0) + self.likelihood.log_prob(z)
    }
}

impl Subsample for Logistic {
    fn n_data(&self) -> usize {
        self.likelihood.n_data()
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.likelihood.subsample(rows);
    }
    fn whole(&mut self) {
        self.likelihood.whole();
    }
    fn keeps_formula(&self) -> bool {
        self.keeps
    }
}

#[test]
fn a_formula_that_stays_is_recorded_once() {
    let x: Vec<f64> = (0..60).map(|i| f64::from(i * 7 % 13) / 6.0 - 1.0).collect();
    let y: Vec<bool> = (0..30).map(|i| i % 3 == 0).collect();
    let model = |keeps| {
        let likelihood = glm::bernoulli_logit(&x, 2, &y).unwrap();
        Autodiff::new(Logistic { likelihood, recorded: AtomicUsize::new(0), keeps })
    };
    let (mut kept, mut anew) = (model(true), model(false));
    let other = kept.clone();
    let z = [0.3, -0.7];
    let whole = other.log_joint(&z);
    for rows in [&[0, 5, 7][..], &[29], &[3, 4, 5, 6, 7, 8, 9, 10]] {
        kept.subsample(rows);
        anew.subsample(rows);
        let (mut a, mut b) = ([0.0; 2], [0.0; 2]);
        // A formula that is kept is made ready for many uses, one for this batch alone is not: the
        // same sums in another order.
        let (one, other_one) = (kept.log_joint_grad(&z, &mut a), anew.log_joint_grad(&z, &mut b));
        assert_close("log joint", one, other_one, 1e-13);
        assert_all_close("gradient", &a, &b, 1e-13);
        assert_eq!(other.log_joint(&z), whole, "a clone looks at rows of its own");
        assert_eq!(kept.clone().log_joint(&z), kept.log_joint(&z));
    }
    kept.whole();
    assert_eq!(kept.log_joint(&z), whole);
    assert_eq!(kept.inner().recorded.load(Relaxed), 1);
    assert_eq!(anew.inner().recorded.load(Relaxed), 3);
}
