//! Fused likelihoods: equal to the likelihood written out row by row, over all rows and over some,
//! and exact about what they refuse.

use crate::support::{assert_all_close, assert_close};
use elbo::density::{self, glm, glm::Design, glm::Likelihood, glm::NormalLikelihood};
use elbo::{
    Autodiff, Differentiable, LogJoint, Model, Real, Space, Subsample, TwiceDifferentiable,
};

/// Numbers between -1 and 1 without a pattern that a model could share.
fn spread(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f64 / 1001.5 - 1.0).collect()
}

/// The data of one likelihood, and how to write it out.
#[derive(Clone)]
struct Case {
    n: usize,
    x: Vec<f64>,
    columns: usize,
    offset: Option<Vec<f64>>,
    group: Option<(Vec<usize>, usize)>,
    w: Option<(Vec<f64>, usize)>,
    y: Vec<f64>,
    trials: Vec<f64>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Bernoulli,
    Binomial,
    Poisson,
    Normal,
}

#[derive(Clone)]
enum Fused {
    Other(Likelihood),
    Normal(NormalLikelihood),
}

impl Case {
    fn new(kind: Kind, n: usize, columns: usize) -> Case {
        let u = spread(n, 5);
        let trials: Vec<f64> = (0..n).map(|i| (i % 9) as f64).collect();
        let y = (0..n).map(|i| match kind {
            Kind::Bernoulli => f64::from(u[i] > 0.1),
            Kind::Binomial => ((u[i] + 1.0) / 2.0 * trials[i]).round(),
            Kind::Poisson => ((u[i] + 1.0) * 3.0).round(),
            Kind::Normal => u[i] * 2.0,
        });
        let (y, x) = (y.collect(), spread(n * columns, 1));
        Case { n, x, columns, offset: None, group: None, w: None, y, trials, kind }
    }

    fn grouped(kind: Kind, n: usize, columns: usize, groups: usize, slopes: usize) -> Case {
        Case {
            offset: Some(spread(n, 2)),
            group: Some(((0..n).map(|i| (i * i + i / 3) % groups).collect(), groups)),
            w: (slopes > 0).then(|| (spread(n * slopes, 3), slopes)),
            ..Case::new(kind, n, columns)
        }
    }

    fn n_groups(&self) -> usize {
        self.group.as_ref().map_or(0, |g| g.1)
    }
    fn n_slopes(&self) -> usize {
        self.w.as_ref().map_or(0, |w| w.1)
    }

    fn fused(&self) -> Fused {
        let mut design = Design::rows(&self.x, self.columns);
        if let Some(offset) = &self.offset {
            design = design.offset(offset);
        }
        if let Some((group, n)) = &self.group {
            design = design.groups(group, *n);
        }
        if let Some((w, q)) = &self.w {
            design = design.slopes(w, *q);
        }
        match self.kind {
            Kind::Bernoulli => Fused::Other(design.bernoulli_logit(&self.y).unwrap()),
            Kind::Binomial => Fused::Other(design.binomial_logit(&self.y, &self.trials).unwrap()),
            Kind::Poisson => Fused::Other(design.poisson_log(&self.y).unwrap()),
            Kind::Normal => Fused::Normal(design.normal(&self.y).unwrap()),
        }
    }

    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("z", self.columns + self.n_groups() * (1 + self.n_slopes()) + 1);
        space
    }

    /// Row by row, times `scale`.
    fn written_out<T: Real>(&self, z: &[T], rows: &[usize], scale: f64) -> T {
        let (p, g, q) = (self.columns, self.n_groups(), self.n_slopes());
        let mut lp = T::from(0.0);
        for &i in rows {
            let mut eta = T::dot(&self.x[i * p..(i + 1) * p], &z[..p]);
            eta += self.offset.as_ref().map_or(0.0, |o| o[i]);
            if let Some((group, _)) = &self.group {
                eta += z[p + group[i]];
                if let Some((w, _)) = &self.w {
                    let start = p + g + group[i] * q;
                    eta += T::dot(&w[i * q..(i + 1) * q], &z[start..start + q]);
                }
            }
            lp += match self.kind {
                Kind::Bernoulli => density::bernoulli_logit(self.y[i], eta),
                Kind::Binomial => density::binomial_logit(self.y[i], self.trials[i], eta),
                Kind::Poisson => density::poisson_log(self.y[i], eta),
                Kind::Normal => density::normal(T::from(self.y[i]), eta, z[z.len() - 1]),
            };
        }
        lp * scale
    }
}

struct WrittenOut(Case, Vec<usize>, f64);
impl LogJoint for WrittenOut {
    fn space(&self) -> Space {
        self.0.space()
    }
    fn log_joint<T: Real>(&self, z: &[T]) -> T {
        self.0.written_out(z, &self.1, self.2)
    }
}

#[derive(Clone)]
struct AsOneNode(Case, Fused);
impl LogJoint for AsOneNode {
    fn space(&self) -> Space {
        self.0.space()
    }
    fn log_joint<T: Real>(&self, z: &[T]) -> T {
        let (p, g) = (self.0.columns, self.0.n_groups());
        let (beta, a) = (&z[..p], &z[p..p + g]);
        let b = &z[p + g..z.len() - 1];
        match &self.1 {
            Fused::Other(l) if g == 0 => l.log_prob(beta),
            Fused::Normal(l) if g == 0 => l.log_prob(beta, z[z.len() - 1]),
            Fused::Other(l) => l.at(beta).intercepts(a).slopes(b).log_prob(),
            Fused::Normal(l) => l.at(beta, z[z.len() - 1]).intercepts(a).slopes(b).log_prob(),
        }
    }
}
impl Subsample for AsOneNode {
    fn n_data(&self) -> usize {
        self.0.n
    }
    fn subsample(&mut self, rows: &[usize]) {
        match &mut self.1 {
            Fused::Other(l) => l.subsample(rows),
            Fused::Normal(l) => l.subsample(rows),
        }
    }
    fn whole(&mut self) {
        match &mut self.1 {
            Fused::Other(l) => l.whole(),
            Fused::Normal(l) => l.whole(),
        }
    }
}

fn points(d: usize, count: usize) -> Vec<f64> {
    let mut z = spread(d * count, 9);
    // the last coordinate is the sd of the normal errors
    z.chunks_exact_mut(d).for_each(|z| z[d - 1] = 1.3 + 0.5 * z[d - 1]);
    z
}

#[track_caller]
fn same(what: &str, fused: &impl TwiceDifferentiable, written: &impl TwiceDifferentiable) {
    let d = fused.dim();
    for lanes in [1, 2, 3, 8, 10, 19] {
        let z = points(d, lanes);
        let (mut got, mut want) = (vec![0.0; lanes], vec![0.0; lanes]);
        let (mut slopes, mut expected) = (vec![0.0; lanes * d], vec![0.0; lanes * d]);
        fused.log_joint_grad_batch(&z, &mut got, &mut slopes, &mut []);
        written.log_joint_grad_batch(&z, &mut want, &mut expected, &mut []);
        assert_all_close(&format!("{what}: value"), &got, &want, 1e-12);
        assert_all_close(&format!("{what}: gradient"), &slopes, &expected, 1e-11);
        let (z, v) = (&z[..d], spread(d, 4));
        let mut grad = vec![0.0; d];
        let (mut product, mut expected) = (vec![0.0; d], vec![0.0; d]);
        fused.hess_vec(z, &v, &mut grad, &mut product);
        written.hess_vec(z, &v, &mut grad, &mut expected);
        assert_all_close(&format!("{what}: Hessian product"), &product, &expected, 1e-11);
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in [Kind::Bernoulli, Kind::Binomial, Kind::Poisson, Kind::Normal] {
        cases.push(Case::new(kind, 150, 1));
        cases.push(Case::new(kind, 60, 11));
        cases.push(Case::new(kind, 10, 50));
        cases.push(Case::new(kind, 1000, 8));
        cases.push(Case::grouped(kind, 90, 3, 7, 0));
        cases.push(Case::grouped(kind, 90, 2, 4, 3));
        cases.push(Case::grouped(kind, 40, 0, 5, 0));
    }
    cases
}

#[test]
fn one_node_is_the_likelihood_written_out() {
    for case in cases() {
        let what =
            format!("{:?} {} {} {}", case.kind, case.columns, case.n_groups(), case.n_slopes());
        let written = Autodiff::new(WrittenOut(case.clone(), (0..case.n).collect(), 1.0));
        same(&what, &Autodiff::new(AsOneNode(case.clone(), case.fused())), &written);
    }
}

#[test]
fn some_rows_stand_for_all() {
    for case in cases() {
        let mut model = Autodiff::new(AsOneNode(case.clone(), case.fused()));
        let d = model.dim();
        let z = points(d, 1);
        let mut all = vec![0.0; d];
        let whole = model.log_joint_grad(&z, &mut all);
        let before = model.clone();
        // equal batches of one epoch, shuffled: their mean is the whole
        let order: Vec<usize> = (0..case.n).map(|i| (i * 7 + 3) % case.n).collect();
        let batches = case.n / 10;
        let (mut mean, mut mean_grad) = (0.0, vec![0.0; d]);
        for rows in order.chunks_exact(10) {
            model.subsample(rows);
            let written = WrittenOut(case.clone(), rows.to_vec(), case.n as f64 / 10.0);
            same("a batch", &model, &Autodiff::new(written));
            let mut grad = vec![0.0; d];
            mean += model.log_joint_grad(&z, &mut grad) / batches as f64;
            mean_grad.iter_mut().zip(&grad).for_each(|(m, g)| *m += g / batches as f64);
        }
        assert_close("mean over an epoch", mean, whole, 1e-12);
        assert_all_close("mean gradient over an epoch", &mean_grad, &all, 1e-11);
        // a clone made before still looks at all rows, and so does the model when told to
        assert_eq!(before.log_joint(&z), whole);
        model.whole();
        assert_eq!(model.log_joint(&z), whole);
        assert_eq!(model.n_data(), case.n);
    }
}

#[test]
fn extreme_predictors_stay_finite() {
    let x = [700.0, -700.0, 0.0];
    let mut grad = [0.0];
    for y in [[true, true, true], [false, false, false]] {
        let likelihood = glm::bernoulli_logit(&x, 1, &y).unwrap();
        let mut space = Space::new();
        let beta = space.reals("beta", 1);
        let model = elbo::from_fn(space, move |z| likelihood.log_prob(&z[beta]));
        for at in [1.0, -1.0, 100.0] {
            assert_close(
                "value",
                model.log_joint_grad(&[at], &mut grad),
                -700.0 * f64::abs(at) - 2f64.ln(),
                1e-14,
            );
            assert_eq!(grad[0].abs(), 700.0);
        }
    }
    let likelihood = glm::binomial_logit(&x, 1, &[3, 0, 1], &[3, 2, 2]).unwrap();
    assert_close("binomial", likelihood.log_prob(&[1.0]), 2f64.ln() - 4f64.ln(), 1e-14);
}

#[test]
fn constants_are_kept() {
    let poisson = glm::poisson_log(&[1.0, 1.0], 1, &[4u32, 0]).unwrap();
    let want = density::poisson(4, 2.5) + density::poisson(0, 2.5);
    assert_close("poisson", poisson.log_prob(&[2.5f64.ln()]), want, 1e-14);
    let normal = glm::normal(&[1.0], 1, &[0.4]).unwrap();
    assert_close("normal", normal.log_prob(&[0.1], 0.7), density::normal(0.4, 0.1, 0.7), 1e-14);
}

#[test]
fn an_intercept_is_a_column_of_ones() {
    let (x, y) = ([0.3, -0.5, 2.0], [1.0, 2.0, 4.0]);
    let with = Design::columns(&[&x]).intercept().normal(&y).unwrap();
    let by_hand = glm::normal(&[1.0, 0.3, 1.0, -0.5, 1.0, 2.0], 2, &y).unwrap();
    assert_eq!(with.log_prob(&[0.5, 0.7], 1.0), by_hand.log_prob(&[0.5, 0.7], 1.0));
}

#[track_caller]
fn refused<T>(result: Result<T, elbo::Error>, message: &str) {
    assert_eq!(result.err().map(|e| e.to_string()).as_deref(), Some(message));
}

#[test]
fn bad_numbers_are_named() {
    let mut income = vec![1.0; 1000];
    income[17] = f64::NAN;
    income[204] = f64::INFINITY;
    income[871] = f64::NAN;
    let (age, y) = (vec![30.0; 1000], vec![0.0; 1000]);
    let design = || Design::columns(&[&age, &income]).named(["age", "income"]);
    let message = "E01 data[17, \"income\"] is NaN (3 of 1000 rows). Drop or impute rows 17, 204, \
                   871 (rows count from 0).";
    refused(design().bernoulli_logit(&y), message);
    refused(design().poisson_log(&y), message);
    refused(design().binomial_logit(&y, &y), message);
    refused(design().normal(&y), message);
    refused(
        glm::normal(&[1.0, 2.0, f64::NEG_INFINITY, 4.0], 2, &[1.0, 2.0]),
        "E01 data[1, 0] is -inf (1 of 2 rows). Drop or impute row 1 (rows count from 0).",
    );
    refused(
        glm::normal(&[1.0, 2.0], 1, &[1.0, f64::NAN]),
        "E01 y[1] is NaN (1 of 2 rows). Drop or impute row 1 (rows count from 0).",
    );
    refused(
        Design::rows(&[1.0, 2.0], 1).offset(&[0.0, f64::NEG_INFINITY]).poisson_log(&[1, 2]),
        "E01 offset[1] is -inf (1 of 2 rows). Drop or impute row 1 (rows count from 0).",
    );
    refused(
        Design::rows(&[1.0, 2.0], 1)
            .groups(&[0, 1], 2)
            .slopes(&[1.0, 2.0, f64::NAN, 1.0], 2)
            .poisson_log(&[1, 2]),
        "E01 slopes[1, 0] is NaN (1 of 2 rows). Drop or impute row 1 (rows count from 0).",
    );
}

#[test]
fn no_data_and_lengths_that_disagree_are_named() {
    refused(
        glm::bernoulli_logit::<bool>(&[], 2, &[]),
        "E02 the bernoulli_logit likelihood has no observations; give it at least one row",
    );
    refused(
        glm::poisson_log(&[1.0, 2.0, 3.0], 2, &[1, 2]),
        "E03 the matrix has 3 values but 2 rows (as many as y) of 2 columns has 4; make them agree",
    );
    refused(
        Design::columns(&[&[1.0, 2.0][..], &[1.0][..]])
            .named(["age", "income"])
            .poisson_log(&[1, 2]),
        "E03 column \"income\" has 1 values but y has 2; make them agree",
    );
    refused(
        Design::rows(&[1.0, 2.0], 1).named(["a", "b"]).poisson_log(&[1, 2]),
        "E03 the list of names has 2 values but the matrix has 1; make them agree",
    );
    refused(
        Design::rows(&[1.0, 2.0], 1).offset(&[1.0]).poisson_log(&[1, 2]),
        "E03 the offset has 1 values but y has 2; make them agree",
    );
    refused(
        Design::rows(&[1.0, 2.0], 1).groups(&[0], 1).poisson_log(&[1, 2]),
        "E03 the group index has 1 values but y has 2; make them agree",
    );
    refused(
        glm::binomial_logit(&[1.0, 2.0], 1, &[1, 2], &[3]),
        "E03 trials has 1 values but y has 2; make them agree",
    );
}

#[test]
fn outcomes_that_cannot_be_are_named() {
    refused(
        glm::bernoulli_logit(&[1.0, 2.0, 3.0], 1, &[0.0, 0.3, 1.0]),
        "E01 y[1] is 0.3 (1 of 3 rows). An outcome must be 0 or 1; for shares of successes give \
         counts to `binomial_logit`: look at row 1 (rows count from 0).",
    );
    refused(
        glm::poisson_log(&[1.0, 2.0, 3.0], 1, &[0.0, 2.5, -1.0]),
        "E01 y[1] is 2.5 (2 of 3 rows). A count must be a whole number from 0 on: look at rows 1, 2 \
         (rows count from 0).",
    );
    refused(
        glm::binomial_logit(&[1.0, 2.0], 1, &[1, 5], &[1, 4]),
        "E01 y[1] is 5 in 4 trials. There cannot be more successes than trials; are the two columns \
         swapped?",
    );
    refused(
        Design::rows(&[1.0, 2.0], 1).groups(&[0, 3], 3).normal(&[1.0, 2.0]),
        "E01 groups[1] is 3 of 3 groups. Groups count from 0; give a larger number of groups or \
         renumber them.",
    );
    refused(
        Design::rows(&[1.0, 2.0], 1).slopes(&[1.0, 2.0], 1).normal(&[1.0, 2.0]),
        "E10 slopes is 1; they vary by group: call `groups`",
    );
}

#[test]
#[should_panic(expected = "the likelihood of poisson_log needs 2 coefficients but was given 1")]
fn too_few_coefficients_are_said() {
    glm::poisson_log(&[1.0, 2.0], 2, &[1]).unwrap().log_prob(&[1.0]);
}
