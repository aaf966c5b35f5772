//! Likelihoods with groups: equal to the likelihood written out for any number of draws, rows,
//! columns and slopes; a draw's numbers do not depend on the draws beside it.

use crate::support::{assert_all_close, assert_close};
use elbo::density::{self, glm::Design};
use elbo::{Autodiff, Differentiable, LogJoint, Model, Real, Space, Subsample};

/// Numbers between -1 and 1 without a pattern that a model could share.
fn spread(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f64 / 1001.5 - 1.0).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Bernoulli,
    Binomial,
    Poisson,
    Normal,
}

/// Rows of one kind of outcome; group 0 is large, the last is empty.
#[derive(Clone, Debug)]
struct Case {
    kind: Kind,
    rows: usize,
    columns: usize,
    groups: usize,
    slopes: usize,
}

impl Case {
    fn x(&self) -> Vec<f64> {
        spread(self.rows * self.columns, 1)
    }
    fn w(&self) -> Vec<f64> {
        spread(self.rows * self.slopes, 2)
    }
    fn offset(&self) -> Vec<f64> {
        if self.columns == 1 { Vec::new() } else { spread(self.rows, 3) }
    }
    fn group(&self) -> Vec<usize> {
        let most = self.groups.max(2) - 1;
        (0..self.rows).map(|i| if i % 3 == 0 { 0 } else { (i * i + i / 7) % most }).collect()
    }
    fn trials(&self) -> Vec<f64> {
        (0..self.rows).map(|i| (i % 7) as f64).collect()
    }
    fn y(&self) -> Vec<f64> {
        let u = spread(self.rows, 5).into_iter().zip(self.trials());
        u.map(|(u, n)| match self.kind {
            Kind::Bernoulli => f64::from(u > 0.1),
            Kind::Binomial => ((u + 1.0) / 2.0 * n).round(),
            Kind::Poisson => ((u + 1.0) * 2.0).round(),
            Kind::Normal => 2.0 * u,
        })
        .collect()
    }
    fn dim(&self) -> usize {
        self.columns + self.groups * (1 + self.slopes) + 1
    }
    fn points(&self, draws: usize) -> Vec<f64> {
        let (d, columns) = (self.dim(), self.columns as f64);
        let mut z = spread(draws * d, 9);
        for z in z.chunks_exact_mut(d) {
            z[..self.columns].iter_mut().for_each(|z| *z /= columns.sqrt());
            z[d - 1] = 1.3 + 0.5 * z[d - 1];
        }
        z
    }
}

/// The likelihood as one node.
#[derive(Clone)]
struct Fused {
    case: Case,
    node: Node,
}

#[derive(Clone)]
enum Node {
    Other(density::glm::Likelihood),
    Normal(density::glm::NormalLikelihood),
}

impl Fused {
    fn new(case: &Case) -> Fused {
        let (x, w, offset, group) = (case.x(), case.w(), case.offset(), case.group());
        let mut design = Design::rows(&x, case.columns).groups(&group, case.groups);
        if !offset.is_empty() {
            design = design.offset(&offset);
        }
        if case.slopes > 0 {
            design = design.slopes(&w, case.slopes);
        }
        let y = case.y();
        let node = match case.kind {
            Kind::Bernoulli => Node::Other(design.bernoulli_logit(&y).unwrap()),
            Kind::Binomial => Node::Other(design.binomial_logit(&y, &case.trials()).unwrap()),
            Kind::Poisson => Node::Other(design.poisson_log(&y).unwrap()),
            Kind::Normal => Node::Normal(design.normal(&y).unwrap()),
        };
        Fused { case: case.clone(), node }
    }
}

impl LogJoint for Fused {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("z", self.case.dim());
        space
    }
    fn log_joint<T: Real>(&self, z: &[T]) -> T {
        let (z, sd) = (&z[..z.len() - 1], z[z.len() - 1]);
        let (beta, groups) = z.split_at(self.case.columns);
        let (a, b) = groups.split_at(self.case.groups);
        match &self.node {
            Node::Other(l) => l.at(beta).intercepts(a).slopes(b).log_prob(),
            Node::Normal(l) => l.at(beta, sd).intercepts(a).slopes(b).log_prob(),
        }
    }
}

impl Subsample for Fused {
    fn n_data(&self) -> usize {
        self.case.rows
    }
    fn subsample(&mut self, rows: &[usize]) {
        match &mut self.node {
            Node::Other(l) => l.subsample(rows),
            Node::Normal(l) => l.subsample(rows),
        }
    }
    fn whole(&mut self) {
        match &mut self.node {
            Node::Other(l) => l.whole(),
            Node::Normal(l) => l.whole(),
        }
    }
}

/// Some rows, one after another, as often as they are named.
struct WrittenOut {
    case: Case,
    rows: Vec<usize>,
}

impl LogJoint for WrittenOut {
    fn space(&self) -> Space {
        Fused::new(&self.case).space()
    }
    fn log_joint<T: Real>(&self, z: &[T]) -> T {
        let Case { kind, columns: p, groups, slopes: q, .. } = self.case;
        let (x, w, offset, group) =
            (self.case.x(), self.case.w(), self.case.offset(), self.case.group());
        let (y, trials) = (self.case.y(), self.case.trials());
        let sum: T = self
            .rows
            .iter()
            .map(|&i| {
                let start = p + groups + group[i] * q;
                let eta = T::dot(&x[i * p..(i + 1) * p], &z[..p])
                    + z[p + group[i]]
                    + T::dot(&w[i * q..(i + 1) * q], &z[start..start + q])
                    + offset.get(i).copied().unwrap_or(0.0);
                match kind {
                    Kind::Bernoulli => density::bernoulli_logit(y[i], eta),
                    Kind::Binomial => density::binomial_logit(y[i], trials[i], eta),
                    Kind::Poisson => density::poisson_log(y[i], eta),
                    Kind::Normal => density::normal(T::from(y[i]), eta, z[z.len() - 1]),
                }
            })
            .sum();
        sum * (self.case.rows as f64 / self.rows.len() as f64)
    }
}

/// Value and gradient of both; and the gradient alone, which has the same bits.
#[track_caller]
fn same(what: &str, case: &Case, fused: &Autodiff<Fused>, written: &WrittenOut, draws: usize) {
    let (d, z) = (case.dim(), case.points(draws));
    let (mut value, mut want) = (vec![0.0; draws], vec![0.0; draws]);
    let (mut slopes, mut expected) = (vec![0.0; draws * d], vec![0.0; draws * d]);
    fused.log_joint_grad_batch(&z, &mut value, &mut slopes, &mut []);
    let rows = written.rows.len();
    let written = Autodiff::new(WrittenOut { case: case.clone(), rows: written.rows.clone() });
    written.log_joint_grad_batch(&z, &mut want, &mut expected, &mut []);
    // A sum of so many terms of ordinary size, each rounded a few times.
    let tolerance = 1e-15 * (10.0 + rows as f64) * case.rows as f64 / rows as f64;
    assert_all_close(&format!("{what}, value"), &value, &want, tolerance);
    assert_all_close(&format!("{what}, gradient"), &slopes, &expected, 10.0 * tolerance);
    let mut alone = vec![0.0; draws * d];
    fused.grad_batch(&z, draws, &mut alone, &mut []);
    assert_eq!(alone, slopes, "{what}: the gradient alone");
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in [Kind::Bernoulli, Kind::Binomial, Kind::Poisson, Kind::Normal] {
        // one row, fewer than a register, around a block, more than a chunk
        let shapes = [
            (1, 0, 1, 0),
            (7, 1, 3, 1),
            (63, 3, 5, 2),
            (65, 0, 70, 1),
            (130, 8, 9, 3),
            (1100, 0, 40, 1),
            (1100, 50, 3, 0),
        ];
        for (rows, columns, groups, slopes) in shapes {
            cases.push(Case { kind, rows, columns, groups, slopes });
        }
    }
    cases
}

#[test]
fn rows_by_group_are_the_likelihood_written_out() {
    for case in cases() {
        let fused = Autodiff::new(Fused::new(&case));
        let written = WrittenOut { case: case.clone(), rows: (0..case.rows).collect() };
        let many = case.rows > 1000;
        for draws in if many { &[10][..] } else { &[1, 2, 7, 8, 9, 10, 17, 35][..] } {
            same(&format!("{case:?}, {draws} draws"), &case, &fused, &written, *draws);
        }
    }
}

#[test]
fn some_rows_are_the_likelihood_of_those_rows_written_out() {
    for case in cases() {
        let mut fused = Autodiff::new(Fused::new(&case));
        // in no order, and some of them twice
        let rows: Vec<usize> = (0..case.rows.min(50)).map(|i| (i * 37 + 11) % case.rows).collect();
        let twice = [&rows[..], &rows[..rows.len() / 2]].concat();
        for rows in [rows, twice] {
            fused.subsample(&rows);
            let written = WrittenOut { case: case.clone(), rows };
            same(&format!("{case:?}, some rows"), &case, &fused, &written, 10);
        }
        let whole = Autodiff::new(Fused::new(&case));
        fused.whole();
        let z = case.points(1);
        assert_eq!(fused.log_joint(&z), whole.log_joint(&z), "{case:?}");
    }
}

#[test]
fn a_draw_does_not_depend_on_the_draws_beside_it() {
    for case in cases() {
        let (fused, d) = (Autodiff::new(Fused::new(&case)), case.dim());
        let z = case.points(35);
        let mut alone = vec![0.0; d];
        for draws in [2, 7, 8, 9, 10, 17, 35] {
            let mut grad = vec![0.0; draws * d];
            let mut value = vec![0.0; draws];
            fused.log_joint_grad_batch(&z[..draws * d], &mut value, &mut grad, &mut []);
            for (s, (z, grad)) in z.chunks_exact(d).zip(grad.chunks_exact(d)).enumerate() {
                assert_eq!(value[s], fused.log_joint_grad(z, &mut alone), "{case:?}");
                assert_eq!(grad, alone, "{case:?}, {draws} draws");
            }
        }
    }
}

#[test]
fn a_draw_that_is_not_finite_is_seen_and_spoils_no_other() {
    for kind in [Kind::Bernoulli, Kind::Binomial, Kind::Poisson, Kind::Normal] {
        let case = Case { kind, rows: 65, columns: 1, groups: 4, slopes: 1 };
        let (fused, d) = (Autodiff::new(Fused::new(&case)), case.dim());
        let z = case.points(10);
        let mut clean = vec![0.0; 10 * d];
        fused.grad_batch(&z, 10, &mut clean, &mut []);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let (mut z, mut grad) = (z.clone(), vec![0.0; 10 * d]);
            z[6 * d + 1] = bad;
            fused.grad_batch(&z, 10, &mut grad, &mut []);
            for (s, (grad, clean)) in grad.chunks_exact(d).zip(clean.chunks_exact(d)).enumerate() {
                if s == 6 {
                    assert!(grad.iter().any(|g| !g.is_finite()), "{kind:?} at {bad}: {grad:?}");
                } else {
                    assert_eq!(grad, clean, "{kind:?} at {bad}, draw {s}");
                }
            }
        }
    }
}

#[test]
fn extreme_predictors_have_the_limits_they_should() {
    let group = [0, 0, 1];
    let model = |y: [f64; 3], trials: [f64; 3]| {
        let likelihood =
            Design::columns::<Vec<f64>>(&[]).groups(&group, 2).binomial_logit(&y, &trials).unwrap();
        let mut space = Space::new();
        let a = space.reals("a", 2);
        elbo::from_fn(space, move |z| likelihood.at(&[]).intercepts(&z[a]).log_prob())
    };
    let mut grad = [0.0; 2];
    let value = model([0.0, 1.0, 2.0], [1.0, 1.0, 2.0]).log_joint_grad(&[800.0, 800.0], &mut grad);
    assert_close("value", value, -800.0, 1e-15);
    assert_eq!(grad, [-1.0, 0.0]);
    let value = model([0.0, 1.0, 2.0], [1.0, 1.0, 2.0]).log_joint_grad(&[-800.0, 800.0], &mut grad);
    assert_close("value", value, -800.0, 1e-15);
    assert_eq!(grad, [1.0, 0.0]);
    // a Poisson rate of nothing is fine where nothing was counted
    let likelihood =
        Design::columns::<Vec<f64>>(&[]).groups(&group, 2).poisson_log(&[0, 0, 1]).unwrap();
    let value = likelihood.at(&[]).intercepts(&[-800.0, 0.0]).log_prob();
    assert_eq!(value, -1.0);
}
