//! The same seed gives the same bits: again, on any number of threads, and across a checkpoint.

use std::ops::ControlFlow;
use std::path::PathBuf;

use elbo::observe::{StopToken, both, checkpoint, progress_line};
use elbo::{
    Adam, Ascent, Averaged, Differentiable, Family, Fit, GradientAscent, MeanFieldGaussian,
    Minibatch, Model, Options, Outcome, Paired, Real, Reparameterization, Run, ScoreFunction,
    Space, Step, StickingTheLanding, Stop, Subsample, Var, density, fit, fit_with, from_fn, trace,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

type Move = GradientAscent<StickingTheLanding, Averaged<Adam>>;

fn ascent() -> Move {
    GradientAscent::new(StickingTheLanding { draws: 20 }, Averaged::new(Adam::rate(0.05)))
}

fn eight_schools() -> impl Differentiable + Sync {
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

/// The mean of normal data, as a model that can be shown some rows, with a learned shift.
#[derive(Clone)]
struct Mean {
    data: Vec<f64>,
    rows: Vec<usize>,
    shift: f64,
    /// The order the rows are kept in; empty for a model that keeps its own.
    order: Vec<usize>,
}

impl Mean {
    fn new(n: usize) -> Mean {
        let data = (0..n).map(|i| 2.0 + ((i * 37) % 101) as f64 / 50.0 - 1.0).collect();
        Mean { data, rows: (0..n).collect(), shift: 0.0, order: vec![] }
    }
    fn scale(&self) -> f64 {
        self.data.len() as f64 / self.rows.len() as f64
    }
    fn residuals(&self, z: f64) -> impl Iterator<Item = f64> {
        self.rows.iter().map(move |&i| self.data[i] - self.shift - z)
    }
}

impl Model for Mean {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.real("mu");
        space
    }
    fn log_joint(&self, z: &[f64]) -> f64 {
        let square: f64 = self.residuals(z[0]).map(|r| r * r).sum();
        -0.5 * z[0] * z[0] - 0.5 * self.shift * self.shift - 0.5 * self.scale() * square
    }
    fn n_theta(&self) -> usize {
        1
    }
    fn theta(&self, out: &mut [f64]) {
        out[0] = self.shift;
    }
    fn set_theta(&mut self, theta: &[f64]) {
        self.shift = theta[0];
    }
    fn add_theta_grad(&self, z: &[f64], weights: &[f64], grad: &mut [f64]) {
        for (z, w) in z.iter().zip(weights) {
            grad[0] += w * (self.scale() * self.residuals(*z).sum::<f64>() - self.shift);
        }
    }
}

impl Differentiable for Mean {
    fn log_joint_grad(&self, z: &[f64], grad: &mut [f64]) -> f64 {
        grad[0] = self.scale() * self.residuals(z[0]).sum::<f64>() - z[0];
        self.log_joint(z)
    }
}

impl Subsample for Mean {
    fn n_data(&self) -> usize {
        self.data.len()
    }
    fn subsample(&mut self, rows: &[usize]) {
        self.rows.clear();
        self.rows.extend(rows.iter().map(|&i| *self.order.get(i).unwrap_or(&i)));
    }
    fn whole(&mut self) {
        self.rows.clear();
        self.rows.extend(0..self.data.len());
    }
    fn arrange(&mut self, order: &[usize]) -> bool {
        let takes = !self.order.is_empty();
        if takes {
            self.order = order.to_vec();
        }
        takes
    }
}

fn bits<M: Model, Q: Family>(fit: &Fit<M, Q>) -> (Vec<u64>, String, String) {
    let mut params = vec![0.0; fit.q.n_params() + fit.model.n_theta()];
    let (lambda, theta) = params.split_at_mut(fit.q.n_params());
    fit.q.params(lambda);
    fit.model.theta(theta);
    let params = params.iter().map(|p| p.to_bits()).collect();
    (params, trace::json(&fit.trace).unwrap(), fit.outcome.to_string())
}

fn options(steps: usize, stop: Stop) -> Options {
    Options { steps, seed: 11, stop, ..Options::default() }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_does_not() {
    let run = |seed| {
        let options = Options { seed, ..options(300, Stop::Budget) };
        bits(&fit(eight_schools(), MeanFieldGaussian::standard(10), ascent(), options).unwrap())
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11).0, run(12).0);
}

#[cfg(feature = "parallel")]
#[test]
fn any_number_of_threads_gives_the_same_bits() {
    fn on_threads<M: Differentiable + Send>(
        threads: usize,
        model: M,
    ) -> (Vec<u64>, String, String) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let q = MeanFieldGaussian::standard(model.dim());
        pool.install(move || bits(&fit(model, q, ascent(), options(200, Stop::Budget)).unwrap()))
    }
    let plain = {
        let q = MeanFieldGaussian::standard(10);
        bits(&fit(eight_schools(), q, ascent(), options(200, Stop::Budget)).unwrap())
    };
    let one = on_threads(1, eight_schools().parallel());
    assert_eq!(plain, one, "the unwrapped model");
    let learned = on_threads(1, Mean::new(50).parallel());
    for threads in [2, 8] {
        assert_eq!(one, on_threads(threads, eight_schools().parallel()), "{threads} threads");
        assert_eq!(learned, on_threads(threads, Mean::new(50).parallel()), "{threads} threads");
    }
}

#[cfg(feature = "parallel")]
#[test]
fn rows_and_draws_shared_among_threads_give_the_same_bits() {
    use elbo::density::{glm, glm::Design};

    // Enough work that it is shared: rows of the first and the last, draws of the second.
    let noise = |n: usize, seed: usize| -> Vec<f64> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f64 / 1001.5 - 1.0).collect()
    };
    let logistic = || {
        let n = 20_000;
        let y: Vec<bool> = noise(n, 2).iter().map(|u| *u > 0.2).collect();
        let likelihood = glm::bernoulli_logit(&noise(10 * n, 1), 10, &y).unwrap();
        let mut space = Space::new();
        let beta = space.reals("beta", 10);
        from_fn(space, move |z| {
            density::normals(&z[beta], 0.0, 1.0) + likelihood.log_prob(&z[beta])
        })
    };
    let grouped = |n: usize| {
        let group: Vec<usize> = (0..n).map(|i| if i % 4 == 0 { 0 } else { i % 97 }).collect();
        let y: Vec<f64> = noise(n, 3).iter().map(|u| (2.0 * u + 2.0).floor()).collect();
        let likelihood = Design::columns(&[&noise(n, 4)])
            .groups(&group, 97)
            .slopes(&noise(n, 5), 1)
            .poisson_log(&y)
            .unwrap();
        let mut space = Space::new();
        let (beta, sd) = (space.reals("beta", 1), space.positive("sd"));
        let (a, b) = (space.reals("a", 97), space.reals("b", 97));
        from_fn(space, move |z| {
            density::half_normal(z[sd], 1.0)
                + density::normals(&z[beta], 0.0, 1.0)
                + density::normals(&z[a], 0.0, z[sd])
                + density::normals(&z[b], 0.0, z[sd])
                + likelihood.at(&z[beta]).intercepts(&z[a]).slopes(&z[b]).log_prob()
        })
        .unconstrained()
    };
    fn run<M: Differentiable>(model: M) -> (Vec<u64>, String, String) {
        let q = MeanFieldGaussian::standard(model.dim());
        bits(&fit(model, q, ascent(), options(20, Stop::Budget)).unwrap())
    }
    let (plain_logistic, plain_few, plain_many) =
        (run(logistic()), run(grouped(8000)), run(grouped(50_000)));
    for threads in [1, 2, 8] {
        let shared = run(logistic().parallel().threads(threads));
        assert_eq!(plain_logistic, shared, "logistic, {threads} threads");
        let shared = run(grouped(8000).parallel().threads(threads));
        assert_eq!(plain_few, shared, "few rows by group, {threads} threads");
        let shared = run(grouped(50_000).parallel().threads(threads));
        assert_eq!(plain_many, shared, "many rows by group, {threads} threads");
        // the caller's own pool says how many
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let shared = pool.install(|| run(grouped(8000).parallel()));
        assert_eq!(plain_few, shared, "few rows by group, a pool of {threads}");
    }
}

#[cfg(feature = "parallel")]
#[test]
fn a_panic_on_a_thread_names_the_draw_of_the_whole_batch() {
    #[derive(Debug)]
    struct Panics;
    impl Model for Panics {
        fn space(&self) -> Space {
            let mut space = Space::new();
            space.real("x");
            space
        }
        fn log_joint(&self, z: &[f64]) -> f64 {
            assert!(z[0] != 21.0, "twenty-one");
            -0.5 * z[0] * z[0]
        }
    }
    struct Feeds;
    impl<M: Model, Q> Ascent<M, Q> for Feeds {
        fn finishes(&self) -> bool {
            true
        }
        fn step(
            &mut self,
            model: &mut M,
            _: &mut Q,
            _: &mut dyn rand::Rng,
        ) -> Result<elbo::Step, elbo::Error> {
            let z: Vec<f64> = (0..40).map(f64::from).collect();
            model.log_joint_batch(&z, &mut [0.0; 40]);
            Ok(elbo::Step::default())
        }
    }
    let q = MeanFieldGaussian::standard(1);
    let error = fit(Panics.parallel(), q, Feeds, Options::default()).unwrap_err().to_string();
    assert!(error.contains("E13") && error.contains("twenty-one"), "{error}");
    assert!(error.contains("(draw 21, z = [21.0000])"), "{error}");
}

fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("reproducibility");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// Stops and resumes at each of the cuts, and compares with never having stopped.
#[track_caller]
fn resumed_is_uninterrupted<M, A>(
    name: &str,
    model: impl Fn() -> M,
    ascent: impl Fn() -> A,
    o: Options,
    cuts: &[usize],
) where
    M: Model,
    A: Ascent<M, MeanFieldGaussian> + Serialize + DeserializeOwned,
{
    let q = || MeanFieldGaussian::standard(model().dim());
    let whole = fit(model(), q(), ascent(), o.clone()).unwrap();
    let file = file(name);
    let mut run = Run::new(model(), q(), ascent(), o).unwrap();
    for &cut in cuts {
        while run.trace.len() < cut {
            assert_eq!(run.step().unwrap(), None, "ended before {cut}");
        }
        run.save(&file).unwrap();
        run = Run::resume(&file, model()).unwrap();
    }
    let resumed = run.finish().unwrap();
    assert_eq!(bits(&whole), bits(&resumed));
    assert_eq!(whole.warnings, resumed.warnings);
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    let o = options(400, Stop::Budget);
    resumed_is_uninterrupted("budget.json", eight_schools, ascent, o, &[1, 137, 399]);
}

#[test]
fn the_paired_stop_rule_resumes_with_its_memory() {
    // 60 steps a check: the cuts lie between checks and beyond the renewal of the noise
    let paired = Paired { every: 60, draws: 64, tolerance: Some(0.05) };
    let o = options(20_000, Stop::Paired(paired));
    let q = MeanFieldGaussian::standard(10);
    let whole = fit(eight_schools(), q, ascent(), o.clone()).unwrap();
    assert!(matches!(whole.outcome, Outcome::Converged { .. }), "{}", whole.outcome);
    let steps = whole.trace.len();
    let cuts = [60, 61, steps / 2, steps - 1];
    resumed_is_uninterrupted("paired.json", eight_schools, ascent, o, &cuts);
}

/// Runs with the ELBO evaluated at every step and at one in 50, and compares all but the ELBO.
#[track_caller]
fn the_elbo_costs_no_bit<M: Model, A: Ascent<M, MeanFieldGaussian>>(
    model: impl Fn() -> M,
    ascent: impl Fn() -> A,
) {
    let run = |elbo_every| {
        let o = Options { elbo_every, ..options(180, Stop::Budget) };
        fit(model(), MeanFieldGaussian::standard(model().dim()), ascent(), o).unwrap()
    };
    let (with, without) = (run(1), run(50));
    assert_eq!(bits(&with).0, bits(&without).0);
    assert_eq!(with.warnings, without.warnings);
    for (t, (a, b)) in with.trace.iter().zip(&without.trace).enumerate() {
        let grad_norm = |s: &Step| s.grad_norm.map(f64::to_bits);
        assert_eq!(grad_norm(a), grad_norm(b), "step {t}");
        // In JSON, where not a number equals itself.
        let rejected = |s: &Step| serde_json::to_string(&s.rejected).unwrap();
        assert_eq!(rejected(a), rejected(b), "step {t}");
        if b.elbo.is_some() {
            assert_eq!(a.elbo.map(f64::to_bits), b.elbo.map(f64::to_bits), "step {t}");
        }
        if t % 50 == 0 || t == 179 {
            assert_eq!(a.elbo.is_some(), b.elbo.is_some(), "step {t}");
        }
    }
}

#[test]
fn steps_are_the_same_whether_or_not_the_elbo_is_evaluated() {
    let adam = || Averaged::new(Adam::rate(0.05));
    let path = || GradientAscent::new(Reparameterization { draws: 20 }, adam());
    the_elbo_costs_no_bit(eight_schools, ascent);
    the_elbo_costs_no_bit(eight_schools, path);
    the_elbo_costs_no_bit(|| eight_schools().parallel(), path);
    the_elbo_costs_no_bit(
        || eight_schools().unconstrained(),
        || Box::new(path()) as Box<dyn Ascent<_, _>>,
    );
    the_elbo_costs_no_bit(eight_schools, || (path(), ascent()));
    the_elbo_costs_no_bit(|| Mean::new(103), || Minibatch::new(10, path()));
    let score = || GradientAscent::new(ScoreFunction { draws: 20 }, adam());
    the_elbo_costs_no_bit(eight_schools, score);
    // outside the support in about a draw of a hundred: the slope is finite, the log joint is not
    let cut = || {
        let mut space = Space::new();
        let x = space.real("x");
        from_fn(space, move |z| density::normal(z[x], 0.0, 1.0) + z[x].log_indicator(-2.5, 2.5))
    };
    the_elbo_costs_no_bit(cut, path);
    the_elbo_costs_no_bit(cut, ascent);
    let o = Options { elbo_every: 50, ..options(180, Stop::Budget) };
    let run = fit(cut(), MeanFieldGaussian::standard(1), path(), o).unwrap();
    assert!((1..100).contains(&run.rejected), "{} rejected", run.rejected);
    let spoiled = run.trace.iter().find_map(|s| s.rejected.as_ref()).unwrap();
    assert!(spoiled.log_joint == f64::NEG_INFINITY && spoiled.z[0].abs() > 2.5);
}

#[test]
fn a_step_that_is_not_asked_for_its_elbo_says_so() {
    let o = Options { elbo_every: 1_000, ..options(300, Stop::Budget) };
    resumed_is_uninterrupted("sparse.json", eight_schools, ascent, o.clone(), &[1, 137, 299]);
    let run = fit(eight_schools(), MeanFieldGaussian::standard(10), ascent(), o.clone()).unwrap();
    let known: Vec<usize> = (0..300).filter(|&t| run.trace[t].elbo.is_some()).collect();
    assert_eq!(known, [0, 63, 127, 191, 255, 299], "at the looks for an objective without limit");
    let text = trace::csv(&run.trace).unwrap();
    let row: Vec<&str> = text.lines().nth(2).unwrap().split(',').collect();
    assert_eq!(row[..2], ["1", ""]);
    assert_eq!(trace::from_json(&trace::json(&run.trace).unwrap()).unwrap(), run.trace);
    let line = progress_line(&run.trace[..299], 300);
    assert!(
        line.starts_with("step 299 of at most 300  ELBO -3") && !line.contains("NaN"),
        "{line}"
    );
    let line = progress_line(&run.trace[..60], 300);
    assert!(line.contains("ELBO -"), "{line}");
    // the rules that read the ELBO still get it
    let paired = Paired { every: 60, draws: 64, tolerance: Some(0.05) };
    let run = |elbo_every| {
        let o = Options { elbo_every, ..options(20_000, Stop::Paired(paired.clone())) };
        let q = MeanFieldGaussian::standard(10);
        fit(eight_schools(), q, ascent(), o).unwrap().outcome.to_string()
    };
    assert_eq!(run(1), run(1_000));
}

#[test]
fn minibatches_resume_in_the_middle_of_an_epoch() {
    let model = || Mean::new(103);
    let minibatch = || Minibatch::new(10, ascent());
    let o = options(300, Stop::Budget);
    resumed_is_uninterrupted("minibatch.json", model, minibatch, o, &[5, 11, 12, 150]);
    let paired = Paired { every: 50, draws: 32, tolerance: Some(1e-9) };
    let o = options(300, Stop::Paired(paired));
    resumed_is_uninterrupted("minibatch_paired.json", model, minibatch, o.clone(), &[55, 149]);
    let arranged = || Mean { order: (0..103).collect(), ..Mean::new(103) };
    resumed_is_uninterrupted("arranged.json", arranged, minibatch, o, &[5, 11, 12, 149]);
}

#[test]
fn observers_compose_and_checkpoints_are_written_whole() {
    let path = file("observed.json");
    let _ = std::fs::remove_file(&path);
    let token = StopToken::new();
    let mut seen = 0;
    let counting = |run: &Run<_, _, _>| {
        seen += 1;
        assert_eq!(run.trace.len(), seen);
        if seen == 57 {
            token.stop();
        }
        ControlFlow::Continue(())
    };
    let observer = both(both(checkpoint(&path, 25), counting), token.observer());
    let q = MeanFieldGaussian::standard(10);
    let o = options(400, Stop::Budget);
    let stopped = fit_with(eight_schools(), q.clone(), ascent(), o.clone(), observer).unwrap();
    assert_eq!((stopped.outcome.clone(), stopped.trace.len()), (Outcome::Stopped, 57));
    assert_eq!(seen, 57);
    assert!(stopped.warnings.is_empty(), "{:?}", stopped.warnings);
    assert!(!file("observed.json.part").exists());
    // the file holds step 50; what follows is what would have been
    let model = eight_schools();
    let resumed = resume_same(&path, model, &q).finish().unwrap();
    assert_eq!(bits(&resumed), bits(&fit(eight_schools(), q, ascent(), o).unwrap()));
}

/// Resumes with the type of `q`.
fn resume_same<M: Differentiable, Q>(path: &PathBuf, model: M, _: &Q) -> Run<M, Q, Move>
where
    Q: Family + DeserializeOwned,
    Move: Ascent<M, Q>,
{
    Run::resume(path, model).unwrap()
}

#[test]
fn a_folder_that_cannot_be_written_costs_one_warning() {
    // a file where the folder should be: no one may write below it, whatever his rights
    let blocked = file("not_a_folder");
    std::fs::write(&blocked, "").unwrap();
    let q = MeanFieldGaussian::standard(10);
    let observer = checkpoint(blocked.join("run.json"), 10);
    let o = options(100, Stop::Budget);
    let observed = fit_with(eight_schools(), q.clone(), ascent(), o.clone(), observer).unwrap();
    assert_eq!(bits(&observed), bits(&fit(eight_schools(), q, ascent(), o).unwrap()));
    let [warning] = &observed.warnings[..] else { panic!("{:?}", observed.warnings) };
    let text = warning.to_string();
    assert!(text.starts_with("W19 no checkpoint was written: E11"), "{text}");
    assert!(text.contains("run.json: cannot be written") && text.contains("try: "), "{text}");
}

#[test]
fn the_progress_line_is_plain_text() {
    let q = MeanFieldGaussian::standard(10);
    let fit = fit(eight_schools(), q, ascent(), options(200, Stop::Budget)).unwrap();
    let line = progress_line(&fit.trace, 400);
    assert!(line.starts_with("step 200 of at most 400  ELBO -3"), "{line}");
    assert!(line.contains(" ± ") && !line.chars().any(char::is_control), "{line:?}");
    assert_eq!(progress_line(&[], 400), "step 0 of at most 400");
}

#[test]
fn the_trace_reads_back_and_has_no_clock() {
    let run = || {
        let q = MeanFieldGaussian::standard(10);
        fit(eight_schools(), q, ascent(), options(50, Stop::Budget)).unwrap().trace
    };
    let (one, two) = (run(), run());
    assert_eq!(trace::csv(&one).unwrap(), trace::csv(&two).unwrap());
    assert_eq!(trace::from_json(&trace::json(&one).unwrap()).unwrap(), one);
    let text = trace::csv(&one).unwrap();
    let row: Vec<&str> = text.lines().nth(7).unwrap().split(',').collect();
    assert_eq!(row[0], "6");
    assert_eq!(row[1].parse::<f64>().unwrap().to_bits(), one[6].elbo.unwrap().to_bits());
}
