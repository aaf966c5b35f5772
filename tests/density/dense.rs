//! Fused likelihoods without groups against the plain sums over rows, at every shape of their
//! registers, with bounds on the error that rounding explains.

use elbo::density::glm::{self, Design, Likelihood, NormalLikelihood};
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

const KINDS: [Kind; 4] = [Kind::Bernoulli, Kind::Binomial, Kind::Poisson, Kind::Normal];

#[derive(Clone)]
struct Data {
    kind: Kind,
    columns: usize,
    x: Vec<f64>,
    y: Vec<f64>,
    trials: Vec<f64>,
    offset: Vec<f64>,
}

impl Data {
    fn new(kind: Kind, n: usize, columns: usize) -> Data {
        let trials: Vec<f64> = (0..n).map(|i| (i % 9) as f64).collect();
        let u = spread(n, 5);
        let y = (0..n).map(|i| match kind {
            Kind::Bernoulli => f64::from(u[i] > 0.1),
            Kind::Binomial => ((u[i] + 1.0) / 2.0 * trials[i]).round(),
            Kind::Poisson => ((u[i] + 1.0) * 3.0).round(),
            Kind::Normal => u[i] * 2.0,
        });
        let (y, x) = (y.collect(), spread(n * columns, 1));
        Data { kind, columns, x, y, trials, offset: spread(n, 2) }
    }

    fn n(&self) -> usize {
        self.y.len()
    }

    /// The same rows in another order.
    fn permuted(&self, order: &[usize]) -> Data {
        let pick = |v: &[f64]| order.iter().map(|&i| v[i]).collect::<Vec<_>>();
        let row = |&i: &usize| self.x[i * self.columns..(i + 1) * self.columns].to_vec();
        Data {
            x: order.iter().flat_map(row).collect(),
            y: pick(&self.y),
            trials: pick(&self.trials),
            offset: pick(&self.offset),
            ..*self
        }
    }

    fn likelihood(&self, design: Design<'_>) -> Fused {
        match self.kind {
            Kind::Bernoulli => Fused::Other(design.bernoulli_logit(&self.y).unwrap()),
            Kind::Binomial => Fused::Other(design.binomial_logit(&self.y, &self.trials).unwrap()),
            Kind::Poisson => Fused::Other(design.poisson_log(&self.y).unwrap()),
            Kind::Normal => Fused::Normal(design.normal(&self.y).unwrap()),
        }
    }

    fn model(&self) -> Autodiff<AsOneNode> {
        let design = Design::rows(&self.x, self.columns).offset(&self.offset);
        Autodiff::new(AsOneNode(self.columns, self.likelihood(design)))
    }
}

#[derive(Clone)]
enum Fused {
    Other(Likelihood),
    Normal(NormalLikelihood),
}

/// A likelihood of coefficients and, last, an sd (which the other kinds have no use for).
#[derive(Clone)]
struct AsOneNode(usize, Fused);

impl LogJoint for AsOneNode {
    fn space(&self) -> Space {
        let mut space = Space::new();
        space.reals("z", self.0 + 1);
        space
    }
    fn log_joint<T: Real>(&self, z: &[T]) -> T {
        match &self.1 {
            Fused::Other(l) => l.log_prob(&z[..self.0]),
            Fused::Normal(l) => l.log_prob(&z[..self.0], z[self.0]),
        }
    }
}

impl Subsample for AsOneNode {
    fn n_data(&self) -> usize {
        match &self.1 {
            Fused::Other(l) => l.n_data(),
            Fused::Normal(l) => l.n_data(),
        }
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
    fn arrange(&mut self, order: &[usize]) -> bool {
        match &mut self.1 {
            Fused::Other(l) => l.arrange(order),
            Fused::Normal(l) => l.arrange(order),
        }
    }
}

/// A sum and how far off rounding may have put it.
#[derive(Clone, Copy, Default)]
struct Bounded {
    sum: f64,
    size: f64,
    error: f64,
}

impl Bounded {
    /// A term that is off by `error` itself.
    fn add(&mut self, term: f64, error: f64) {
        self.sum += term;
        self.size += term.abs();
        self.error += error;
    }

    #[track_caller]
    fn check(&self, what: &str, got: f64, terms: usize, scale: f64) {
        let want = self.sum * scale;
        if want.is_finite() {
            let bound = scale * (self.error + (terms + 4) as f64 * f64::EPSILON * self.size);
            assert!((got - want).abs() <= bound, "{what}: {got:e}, not {want:e} within {bound:e}");
        } else {
            assert!(!got.is_finite(), "{what}: {got:e}, not {want:e}");
        }
    }
}

/// `log p` of a row, its slope in `eta` and a bound of its curvature, by the standard library.
fn row(kind: Kind, y: f64, n: f64, eta: f64, sd: f64) -> (f64, f64, f64) {
    let sigmoid = |t: f64| 1.0 / (1.0 + (-t).exp());
    let softplus = |t: f64| t.max(0.0) + (-t.abs()).exp().ln_1p();
    match kind {
        Kind::Bernoulli if y == 1.0 => (-softplus(-eta), sigmoid(-eta), 1.0),
        Kind::Bernoulli => (-softplus(eta), -sigmoid(eta), 1.0),
        Kind::Binomial => {
            let constant = elbo::density::binomial_logit(y, n, 0.0) + n * 2f64.ln();
            let value = constant - y * softplus(-eta) - (n - y) * softplus(eta);
            (value, y * sigmoid(-eta) - (n - y) * sigmoid(eta), n)
        }
        Kind::Poisson => {
            let constant = elbo::density::poisson_log(y, 0.0) + 1.0;
            (constant + y * eta - eta.exp(), y - eta.exp(), eta.exp())
        }
        Kind::Normal => {
            let u = (y - eta) / sd;
            let value = -0.5 * u * u - sd.ln() - 0.5 * (2.0 * std::f64::consts::PI).ln();
            (value, u / sd, 1.0 / (sd * sd))
        }
    }
}

/// Value and gradient at `z` over these rows, summed up plainly.
fn plain(data: &Data, rows: &[usize], z: &[f64]) -> (Bounded, Vec<Bounded>) {
    let (p, sd) = (data.columns, z[z.len() - 1]);
    let (mut value, mut grad) = (Bounded::default(), vec![Bounded::default(); p + 1]);
    for &i in rows {
        let x = &data.x[i * p..(i + 1) * p];
        let eta: f64 = data.offset[i] + x.iter().zip(z).map(|(x, z)| x * z).sum::<f64>();
        let size: f64 =
            data.offset[i].abs() + x.iter().zip(z).map(|(x, z)| (x * z).abs()).sum::<f64>();
        let (y, n) = (data.y[i], data.trials[i]);
        let (log_p, slope, curvature) = row(data.kind, y, n, eta, sd);
        let off = f64::EPSILON * ((p + 2) as f64 * size + y.abs());
        // What the parts of a row's log probability are at most, each good to a few units.
        let parts = log_p.abs() + (y + n) * (eta.abs() + 1.0) + curvature + 10.0;
        let parts = if data.kind == Kind::Normal { log_p.abs() + 4.0 } else { parts };
        value.add(log_p, slope.abs() * off + 8.0 * f64::EPSILON * parts);
        let slope_off =
            curvature * off + 8.0 * f64::EPSILON * (slope.abs() + (y + n) * slope.abs().min(1.0));
        for (g, x) in grad.iter_mut().zip(x) {
            g.add(x * slope, x.abs() * slope_off);
        }
        if data.kind == Kind::Normal {
            let u = (y - eta) / sd;
            let off = 2.0 * (u / sd).abs() * off / sd + 8.0 * f64::EPSILON * (u * u + 1.0) / sd;
            grad[p].add((u * u - 1.0) / sd, off);
        }
    }
    (value, grad)
}

/// Every way to ask at these points, against the plain sums.
#[track_caller]
fn check(what: &str, model: &Autodiff<AsOneNode>, data: &Data, rows: &[usize], z: &[f64]) {
    let d = data.columns + 1;
    let draws = z.len() / d;
    let scale = data.n() as f64 / rows.len() as f64;
    let (mut values, mut alone) = (vec![0.0; draws], vec![0.0; draws]);
    let (mut grad, mut grad_alone) = (vec![0.0; z.len()], vec![0.0; z.len()]);
    model.log_joint_grad_batch(z, &mut values, &mut grad, &mut []);
    model.log_joint_batch(z, &mut alone);
    model.grad_batch(z, draws, &mut grad_alone, &mut []);
    for (l, z) in z.chunks_exact(d).enumerate() {
        let what = format!("{what}, point {l} of {draws}");
        let (value, expected) = plain(data, rows, z);
        value.check(&format!("{what}: value"), values[l], rows.len(), scale);
        assert_eq!(values[l].to_bits(), alone[l].to_bits(), "{what}: value alone");
        let (grad, alone) = (&grad[l * d..][..d], &grad_alone[l * d..][..d]);
        if values[l].is_finite() {
            for (j, expected) in expected.iter().enumerate() {
                expected.check(&format!("{what}: slope {j}"), grad[j], rows.len(), scale);
                assert_eq!(grad[j].to_bits(), alone[j].to_bits(), "{what}: slope {j} alone");
            }
        } else {
            assert!(alone.iter().any(|g| !g.is_finite()), "{what}: a slope tells");
        }
    }
}

/// Points whose predictors are of the size of `size`.
fn points(d: usize, count: usize, size: f64) -> Vec<f64> {
    let mut z: Vec<f64> = spread(d * count, 9).iter().map(|z| z * size).collect();
    z.chunks_exact_mut(d).for_each(|z| z[d - 1] = 1.3 + 0.4 * (z[d - 1] / size));
    z
}

fn all(data: &Data) -> Vec<usize> {
    (0..data.n()).collect()
}

#[test]
fn every_number_of_points() {
    for kind in KINDS {
        let data = Data::new(kind, 65, 8);
        for draws in (1..=14).chain([16, 17, 23, 24, 25, 64, 70]) {
            check(&format!("{kind:?}"), &data.model(), &data, &all(&data), &points(9, draws, 1.0));
        }
    }
}

#[test]
fn every_shape_of_data() {
    for kind in KINDS {
        for n in [1, 7, 8, 9, 63, 64, 65, 257, 1000] {
            for columns in [1, 2, 3, 8, 50] {
                let data = Data::new(kind, n, columns);
                for draws in [1, 3, 10] {
                    let z = points(columns + 1, draws, 1.0);
                    check(
                        &format!("{kind:?} {n} x {columns}"),
                        &data.model(),
                        &data,
                        &all(&data),
                        &z,
                    );
                }
            }
        }
    }
}

#[test]
fn more_rows_than_a_chunk() {
    for kind in KINDS {
        let data = Data::new(kind, 9001, 3);
        for draws in [1, 10] {
            check(&format!("{kind:?}"), &data.model(), &data, &all(&data), &points(4, draws, 1.0));
        }
    }
}

#[test]
fn more_columns_than_a_block() {
    let data = Data::new(Kind::Bernoulli, 100, 2100);
    check("wide", &data.model(), &data, &all(&data), &points(2101, 10, 0.1));
}

#[test]
fn predictors_far_out() {
    for kind in KINDS {
        let data = Data::new(kind, 65, 1);
        for size in [1e-300, 1e-8, 20.0, 40.0, 300.0, 709.0, 720.0, 760.0, 800.0, 1e5] {
            let z = points(2, 10, size);
            check(&format!("{kind:?} {size}"), &data.model(), &data, &all(&data), &z);
        }
    }
}

/// A point that is not a number spoils itself and no other.
#[test]
fn a_broken_point_is_told_and_keeps_to_itself() {
    for kind in KINDS {
        let (data, d) = (Data::new(kind, 100, 3), 4);
        let model = data.model();
        let sound = points(d, 10, 1.0);
        let mut expected = vec![0.0; sound.len()];
        model.grad_batch(&sound, 10, &mut expected, &mut []);
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308] {
            let mut z = sound.clone();
            z[6 * d + 1] = bad;
            let (mut values, mut grad) = (vec![0.0; 10], vec![0.0; z.len()]);
            model.grad_batch(&z, 10, &mut grad, &mut []);
            model.log_joint_batch(&z, &mut values);
            for l in 0..10 {
                let (grad, expected) = (&grad[l * d..][..d], &expected[l * d..][..d]);
                if l != 6 {
                    assert_eq!(grad, expected, "{kind:?} {bad:e}: point {l}");
                } else if !values[l].is_finite() {
                    assert!(grad.iter().any(|g| !g.is_finite()), "{kind:?} {bad:e}");
                }
            }
            assert!(bad == 1e308 || !values[6].is_finite(), "{kind:?} {bad:e}: {}", values[6]);
        }
    }
    let model = Data::new(Kind::Normal, 10, 1).model();
    for sd in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut grad = [0.0; 2];
        model.grad_batch(&[0.3, sd], 1, &mut grad, &mut []);
        assert!(grad.iter().any(|g| !g.is_finite()), "sd {sd}: {grad:?}");
    }
}

/// Runs of eight side by side, runs cut short and rows from anywhere, in one subsample.
#[test]
fn any_rows_stand_for_all() {
    for kind in KINDS {
        let data = Data::new(kind, 203, 5);
        let mut model = data.model();
        let runs = |runs: &[usize]| runs.iter().flat_map(|&k| 8 * k..8 * k + 8).collect::<Vec<_>>();
        let mut cut = vec![13, 14, 15];
        cut.extend(runs(&[7, 0, 24]));
        cut.extend([160, 161, 202, 3, 199]);
        for rows in [runs(&[3]), runs(&[9, 2, 3, 20]), cut, vec![202], vec![5, 5, 9], all(&data)] {
            model.subsample(&rows);
            for draws in [1, 10] {
                check(&format!("{kind:?} {rows:?}"), &model, &data, &rows, &points(6, draws, 1.0));
            }
        }
        model.whole();
        check(&format!("{kind:?} whole again"), &model, &data, &all(&data), &points(6, 3, 1.0));
    }
}

/// Arranged rows are the rows of data given in that order, to the last bit.
#[test]
fn arranged_rows_are_the_rows_in_that_order() {
    for kind in KINDS {
        let (n, z) = (203, points(6, 10, 1.0));
        let data = Data::new(kind, n, 5);
        let mut model = data.model();
        let before = model.clone();
        let evaluate = |model: &Autodiff<AsOneNode>| {
            let (mut values, mut grad) = (vec![0.0; 10], vec![0.0; z.len()]);
            model.log_joint_grad_batch(&z, &mut values, &mut grad, &mut []);
            (values, grad)
        };
        let untouched = evaluate(&before);
        model.subsample(&[4, 5]);
        for (a, b) in [(8, 3), (1, 0), (12, 50)] {
            let order: Vec<usize> = (0..n).map(|i| (i * a + b) % n).collect();
            assert!(model.arrange(&order));
            let mut written = data.permuted(&order).model();
            assert_eq!(evaluate(&model), evaluate(&written), "{kind:?} {a} {b}");
            let rows: Vec<usize> = (40..48).chain([1]).chain(8..16).collect();
            model.subsample(&rows);
            written.subsample(&rows);
            assert_eq!(evaluate(&model), evaluate(&written), "{kind:?} {a} {b}");
        }
        assert_eq!(evaluate(&before), untouched);
    }
}

#[test]
fn an_order_that_is_none_is_refused() {
    let data = Data::new(Kind::Poisson, 20, 2);
    let mut model = data.model();
    let twice: Vec<usize> = (0..20).map(|i| i / 2).collect();
    let short: Vec<usize> = (0..19).collect();
    let beyond: Vec<usize> = (1..21).collect();
    for order in [twice, short, beyond] {
        assert!(!model.arrange(&order));
    }
    check("as it was", &model, &data, &all(&data), &points(3, 2, 1.0));
}

/// However the matrix comes, the likelihood is the same to the last bit.
#[test]
fn numbers_taken_over_are_the_numbers_lent() {
    for (n, p) in [(1, 1), (9, 2), (64, 3), (1001, 5)] {
        for kind in KINDS {
            let data = Data::new(kind, n, p);
            let columns: Vec<Vec<f64>> =
                (0..p).map(|j| (0..n).map(|i| data.x[i * p + j]).collect()).collect();
            let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
            for intercept in [false, true] {
                let d = p + usize::from(intercept) + 1;
                let z = points(d, 3, 1.0);
                let results = [
                    Design::rows(&data.x, p),
                    Design::owned_rows(data.x.clone(), p),
                    Design::columns(&columns),
                ]
                .map(|design| {
                    let design = if intercept { design.intercept() } else { design };
                    let model = Autodiff::new(AsOneNode(d - 1, data.likelihood(design)));
                    let mut values = [0.0; 3];
                    model.log_joint_batch(&z, &mut values);
                    values
                });
                assert_eq!(results[0], results[1], "{kind:?} {n} x {p}");
                assert_eq!(results[0], results[2], "{kind:?} {n} x {p}");
            }
        }
    }
}

#[test]
fn numbers_taken_over_are_checked() {
    let bad = Design::owned_rows(vec![1.0, 2.0, 3.0, f64::NAN], 2).named(["a", "b"]);
    assert_eq!(
        bad.clone().poisson_log(&[1, 2]).unwrap_err().to_string(),
        "E01 data[1, \"b\"] is NaN (1 of 2 rows). Drop or impute row 1 (rows count from 0)."
    );
    assert_eq!(
        bad.poisson_log(&[1, 2, 3]).unwrap_err().to_string(),
        "E03 the matrix has 4 values but 3 rows (as many as y) of 2 columns has 6; make them agree"
    );
}

/// No column at all: the offset alone makes the predictor.
#[test]
fn an_offset_alone() {
    let (y, offset) = ([1u32, 0, 2], [0.3, -0.2, 0.9]);
    let likelihood = Design::columns::<[f64]>(&[]).offset(&offset).poisson_log(&y).unwrap();
    let want: f64 = (0..3).map(|i| elbo::density::poisson_log(f64::from(y[i]), offset[i])).sum();
    assert!((likelihood.log_prob::<f64>(&[]) - want).abs() < 1e-14);
    let shifted = glm::poisson_log(&[0.0; 3], 1, &y).unwrap();
    assert!((shifted.log_prob(&[5.0]) + 3.0 + 2f64.ln()).abs() < 1e-14);
}
