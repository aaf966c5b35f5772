//! Can a family, an estimator, a move and an operation of your own take part? One of each, held to
//! the laws and to exact answers.

mod book;

use std::sync::Arc;

use book::{Figure, grid, integrate};
use elbo::diagnostics::{elbo as bound, quadrature};
use elbo::laws::{self, Broken};
use elbo::{
    Ascent, Averaged, Differentiable, DoWG, Error, Family, GradientAscent, GradientEstimator,
    MeanFieldGaussian, Model, NonFinite, Options, Primitive, Purpose, Real, Reparameterization,
    Reparameterized, Rng, Scored, Smooth, Space, Step, StickingTheLanding, TwiceDifferentiable,
    Var, Verdict, density, fit, from_fn, infer, stream,
};
use rand_distr::{Distribution, Open01};

// ANCHOR: family
/// Independent logistic distributions: `z_i = m_i + s_i eps_i`, `eps_i = ln(u / (1 - u))`,
/// `lambda = [m | ln s]`. Their tails fall like `e^-|z|`, those of a normal like `e^(-z^2 / 2)`.
#[derive(Clone, Debug, PartialEq)]
struct Logistic {
    lambda: Vec<f64>,
}

impl Logistic {
    fn standard(dim: usize) -> Logistic {
        Logistic { lambda: vec![0.0; 2 * dim] }
    }
    fn centre(&self, i: usize) -> f64 {
        self.lambda[i]
    }
    fn scale(&self, i: usize) -> f64 {
        self.lambda[self.dim() + i].exp()
    }
}

impl Family for Logistic {
    fn dim(&self) -> usize {
        self.lambda.len() / 2
    }
    fn n_params(&self) -> usize {
        self.lambda.len()
    }
    fn params(&self, out: &mut [f64]) {
        out.copy_from_slice(&self.lambda);
    }
    fn set_params(&mut self, params: &[f64]) {
        self.lambda.copy_from_slice(params);
    }
    fn sample(&self, rng: &mut dyn Rng, z: &mut [f64]) {
        self.draw_noise(rng, z);
        for z in z.chunks_exact_mut(self.dim()) {
            (0..z.len()).for_each(|i| z[i] = self.centre(i) + self.scale(i) * z[i]);
        }
    }
    fn log_prob(&self, z: &[f64]) -> f64 {
        let term = |i: usize| {
            let eps = (z[i] - self.centre(i)) / self.scale(i);
            eps.log_sigmoid() + (-eps).log_sigmoid() - self.scale(i).ln()
        };
        (0..z.len()).map(term).sum()
    }
    fn entropy(&self) -> Option<f64> {
        Some((0..self.dim()).map(|i| self.scale(i).ln() + 2.0).sum())
    }
}
// ANCHOR_END: family

// ANCHOR: gradients
impl Reparameterized for Logistic {
    /// Nothing needs keeping: `eps` is enough for the way back.
    type Residuals = ();

    fn draw_noise(&self, rng: &mut dyn Rng, eps: &mut [f64]) {
        for eps in eps {
            let u: f64 = Open01.sample(rng);
            *eps = u.ln() - (-u).ln_1p();
        }
    }
    fn transport(&self, eps: &[f64], z: &mut [f64], log_q: &mut [f64], _: &mut ()) {
        let d = self.dim();
        for (s, log_q) in log_q.iter_mut().enumerate() {
            let (eps, z) = (&eps[s * d..(s + 1) * d], &mut z[s * d..(s + 1) * d]);
            (0..d).for_each(|i| z[i] = self.centre(i) + self.scale(i) * eps[i]);
            *log_q = self.log_prob(z);
        }
    }
    /// With `eps` fixed, `dz/dm = 1`, `dz/d(ln s) = s eps`, and `log q` changes by `-1` in `ln s`.
    fn pull_back(&self, eps: &[f64], _: &(), dz: &[f64], dlog_q: &[f64], grad: &mut [f64]) {
        let d = self.dim();
        for (s, dlog_q) in dlog_q.iter().enumerate() {
            for i in 0..d {
                let k = s * d + i;
                grad[i] += dz[k];
                grad[d + i] += dz[k] * self.scale(i) * eps[k] - dlog_q;
            }
        }
    }
}

impl Scored for Logistic {
    fn add_score(&self, z: &[f64], weight: f64, grad: &mut [f64]) {
        for (i, z) in z.iter().enumerate() {
            let eps = (z - self.centre(i)) / self.scale(i);
            grad[i] += weight * (0.5 * eps).tanh() / self.scale(i);
            grad[self.dim() + i] += weight * (eps * (0.5 * eps).tanh() - 1.0);
        }
    }
}

impl Smooth for Logistic {
    fn log_prob_grad(&self, eps: &[f64], _: &(), _z: &[f64], grad: &mut [f64]) {
        for (k, (eps, grad)) in eps.iter().zip(grad).enumerate() {
            *grad = -(0.5 * eps).tanh() / self.scale(k % self.dim());
        }
    }
}
// ANCHOR_END: gradients

// ANCHOR: laws
/// Asks at random parameters; a broken law comes back as a sentence with its numbers.
fn keeps_the_laws<Q: Smooth + Scored + Clone>(q: &Q) -> Result<(), Broken> {
    laws::family(q)?; // integrates to one, is what `sample` draws from, takes any parameters
    laws::scored(q)?; // the score is the slope of `log_prob`, and has mean 0
    laws::reparameterized(q)?; // `pull_back` is the slope of `transport`
    laws::transported(q)?; // `transport` draws from `log_prob` as well
    laws::smooth(q) // `log_prob_grad` is the slope of `log_prob` in z
}
// ANCHOR_END: laws

fn close(what: &str, got: &[f64], want: &[f64]) {
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() < 1e-7 * (1.0 + w.abs()), "{what}[{i}] is {g}, should be {w}");
    }
}

// ANCHOR: estimator
/// Draws in pairs `eps`, `-eps`: what is odd in the noise cancels.
struct Antithetic;

#[derive(Default)]
struct Pair<R> {
    eps: Vec<f64>,
    z: Vec<f64>,
    dz: Vec<f64>,
    residuals: R,
}

impl<M: Differentiable, Q: Reparameterized> GradientEstimator<M, Q> for Antithetic {
    type Scratch = Pair<Q::Residuals>;

    fn estimate(
        &mut self,
        model: &M,
        q: &Q,
        rng: &mut dyn Rng,
        Pair { eps, z, dz, residuals }: &mut Self::Scratch,
        grad_theta: &mut [f64],
        grad: &mut [f64],
    ) -> Result<f64, NonFinite> {
        let (d, n, mut log_p, mut log_q) = (q.dim(), q.noise_dim(), [0.0; 2], [0.0; 2]);
        eps.resize(2 * n, 0.0);
        z.resize(2 * d, 0.0);
        dz.resize(2 * d, 0.0);
        let (plus, minus) = eps.split_at_mut(n);
        q.draw_noise(rng, plus);
        minus.iter_mut().zip(plus).for_each(|(m, p)| *m = -*p);
        q.transport(eps, z, &mut log_q, residuals);
        model.log_joint_grad_batch(z, &mut log_p, dz, grad_theta);
        if let Some(bad) = NonFinite::find(d, z, &log_p, &log_q, dz) {
            return Err(bad);
        }
        dz.iter_mut().for_each(|g| *g *= 0.5);
        q.pull_back(eps, residuals, dz, &[-0.5; 2], grad);
        Ok(0.5 * (log_p[0] - log_q[0] + log_p[1] - log_q[1]))
    }
}
// ANCHOR_END: estimator

// ANCHOR: move
/// Coordinate ascent for a normal posterior: each factor in turn becomes what is best for it while
/// the others stay, `sd_i = (-H_ii)^(-1/2)` and a Newton step for the mean.
struct CoordinateAscent;

impl<M: TwiceDifferentiable> Ascent<M, MeanFieldGaussian> for CoordinateAscent {
    fn finishes(&self) -> bool {
        true
    }
    fn step(
        &mut self,
        model: &mut M,
        q: &mut MeanFieldGaussian,
        _rng: &mut dyn Rng,
    ) -> Result<Step, Error> {
        let (mut mean, mut sd, mut moved) = (q.mean().to_vec(), q.sd().to_vec(), 0.0_f64);
        let (mut grad, mut column) = (mean.clone(), mean.clone());
        for i in 0..mean.len() {
            let mut unit = vec![0.0; mean.len()];
            unit[i] = 1.0;
            model.hess_vec(&mean, &unit, &mut grad, &mut column);
            let by = -grad[i] / column[i];
            mean[i] += by;
            sd[i] = (-column[i]).sqrt().recip();
            moved = moved.max(by.abs() / sd[i]);
        }
        *q = MeanFieldGaussian::new(mean, &sd)?;
        let converged = (moved < 1e-12).then(|| "no mean moved".to_string());
        Ok(Step { converged, ..Step::default() })
    }
}
// ANCHOR_END: move

// ANCHOR: primitive
/// Kepler's equation: the `E` with `E - e sin E = M`, found by iteration, which a formula cannot
/// do. Its slopes follow from the equation alone: `dE/de = sin E / (1 - e cos E)`.
struct Kepler {
    m: f64,
}

impl Primitive for Kepler {
    fn value_grad(&self, x: &[f64], grad: &mut [f64]) -> f64 {
        let (e, mut big_e) = (x[0], self.m);
        for _ in 0..50 {
            big_e -= (big_e - e * big_e.sin() - self.m) / (1.0 - e * big_e.cos());
        }
        grad[0] = big_e.sin() / (1.0 - e * big_e.cos());
        big_e
    }
}

/// Positions of a planet, each seen with error 0.02; how eccentric is its orbit?
fn orbit() -> impl TwiceDifferentiable {
    let mut space = Space::new();
    let e = space.unit("e");
    let seen = [(0.5, 0.72), (1.0, 1.29), (2.0, 2.25), (2.6, 2.73), (0.2, 0.28)];
    let kepler = seen.map(|(m, _)| Arc::new(Kepler { m }));
    from_fn(space, move |z| {
        let at = |(kepler, (_, y)): (&Arc<Kepler>, (f64, f64))| {
            density::normal(Var::from(y), Var::primitive(&[z[e]], kepler), 0.02)
        };
        kepler.iter().zip(seen).map(at).sum()
    })
}
// ANCHOR_END: primitive

// ANCHOR: target
/// The log odds of a coin after one head and one tail, the prior `1 / (p (1 - p))`: the posterior
/// is `sigmoid(u) sigmoid(-u)`, the standard logistic, and the log evidence is 0.
fn one_of_each() -> impl Differentiable {
    let mut space = Space::new();
    let u = space.real("u");
    from_fn(space, move |z| z[u].log_sigmoid() + (-z[u]).log_sigmoid())
}

fn climb<Q: Smooth>(q: Q) -> Result<Q, Error> {
    let ascent = GradientAscent::new(StickingTheLanding { draws: 8 }, Averaged::new(DoWG::new()));
    let options = Options { steps: 4_000, ..Options::default() };
    Ok(fit(one_of_each(), q, ascent, options)?.q)
}
// ANCHOR_END: target

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("Can a family, an estimator, a move and an operation of my own take part?");

    // ANCHOR: fit
    keeps_the_laws(&Logistic::standard(3))?;
    println!("a logistic family keeps the laws at random parameters");
    let mut start = Logistic::standard(1);
    start.set_params(&[1.5, 0.6]);
    let normal = climb(MeanFieldGaussian::standard(1))?;
    let q = climb(start)?;
    let best = bound(&one_of_each(), &q, 20_000, 1)?;
    let short = bound(&one_of_each(), &normal, 20_000, 1)?;
    println!("centre {:.5}, scale {:.5}: the exact posterior has 0 and 1", q.centre(0), q.scale(0));
    println!("ELBO {best}; of the best normal {short}; log evidence 0");
    assert!(q.centre(0).abs() < 1e-3 && (q.scale(0) - 1.0).abs() < 1e-3);
    assert!(best.value.abs() < 1e-5, "the family contains the posterior: nothing is lost");
    assert!(short.value < -4.0 * short.mcse, "no normal is logistic");
    // ANCHOR_END: fit

    // ANCHOR: antithetic
    let mut space = Space::new();
    let x = space.real("x");
    let model = from_fn(space, move |z| density::normal(z[x], 1.0, 1.0));
    let q = MeanFieldGaussian::standard(1);
    let slope = |estimator: &mut dyn FnMut(&mut dyn Rng, &mut [f64])| {
        let mut at = |k| {
            let mut grad = [0.0; 2];
            estimator(&mut stream(2, Purpose::Step, k), &mut grad);
            grad[0]
        };
        (0..1000).map(|k| (at(k) - 1.0).abs()).fold(0.0, f64::max)
    };
    let (mut pair, mut draws) = (Pair::default(), Default::default());
    let in_pairs = slope(&mut |rng, grad| {
        Antithetic.estimate(&model, &q, rng, &mut pair, &mut [], grad).expect("finite");
    });
    let plain = slope(&mut |rng, grad| {
        let mut two = Reparameterization { draws: 2 };
        two.estimate(&model, &q, rng, &mut draws, &mut [], grad).expect("finite");
    });
    println!(
        "worst error of 1000 slopes in a mean: {plain:.1} from two draws, {in_pairs:.0e} paired"
    );
    assert!(in_pairs < 1e-12 && plain > 1.0);
    // ANCHOR_END: antithetic

    // ANCHOR: coordinate
    let mut space = Space::new();
    let (a, b) = (space.real("a"), space.real("b"));
    let model = from_fn(space, move |z| {
        density::normal(z[a], 2.0, 1.0) + density::normal(z[b], (z[a] - 2.0) * 0.8 - 1.0, 0.6)
    });
    let exact = fit(model, MeanFieldGaussian::standard(2), CoordinateAscent, Options::default())?;
    let (mean, sd) = (exact.q.mean(), exact.q.sd());
    println!("coordinate ascent: {} steps, means {mean:.3?}, sds {sd:.3?}", exact.trace.len());
    close("mean", mean, &[2.0, -1.0]);
    close("sd", sd, &[0.6, 0.6]);
    // ANCHOR_END: coordinate

    // ANCHOR: kepler
    let posterior = infer(orbit())?;
    let (row, exact) = (posterior.row("e")?, quadrature(&orbit().unconstrained())?);
    println!("eccentricity {:.3} ± {:.3}, by quadrature {:.3}", row.mean, row.sd, exact.mean[0]);
    posterior.require(Verdict::Good)?;
    assert!((row.mean - exact.mean[0]).abs() < 0.1 * exact.sd[0]);
    // ANCHOR_END: kepler

    let x = grid(-8.0, 8.0, 81);
    let heights = |q: &dyn Family| x.iter().map(|x| q.log_prob(&[*x]).exp()).collect::<Vec<_>>();
    let mut exact = Logistic::standard(1);
    exact.set_params(&[0.0, 0.0]);
    assert!((integrate(-40.0, 40.0, 4001, |x| exact.log_prob(&[x]).exp()) - 1.0).abs() < 1e-12);
    Figure::new("The log odds after one head and one tail")
        .axes("log odds", "density")
        .log_y()
        .y_from(1e-6, 1.0)
        .line("exact posterior, and the fitted logistic", &x, &heights(&exact))
        .line("best normal: its tails are too thin", &x, &heights(&normal))
        .save_or_check("custom_family");
    println!("OK: each takes part by its trait alone, and gives the exact answer");
    Ok(())
}
