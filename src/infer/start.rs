//! Where `infer` begins: the normal around the best of several modes, or a rough mean-field fit.

use rand::distr::{Distribution, Uniform};

use crate::ascent::GradientAscent;
use crate::error::Error;
use crate::estimator::StickingTheLanding;
use crate::family::{Affine, Bijection, MeanFieldGaussian};
use crate::fit::{Options, fit};
use crate::laplace::{ModeOptions, curvature, mode, start};
use crate::model::{Differentiable, Model, TwiceDifferentiable, Unconstrained};
use crate::noise::{Purpose, fill_normal, stream};
use crate::special::LN_SQRT_2PI;
use crate::stop::{Paired, Stop};
use crate::warning::{Code, Warning};

/// How many points around the origin are looked at.
const SPREAD: usize = 1024;
/// How many quarters of them, and how far they may be from it in each coordinate: a scale-free
/// parameter is most often within 2, but nobody promised.
const REACH: [(usize, f64); 3] = [(2, 2.0), (1, 8.0), (1, 32.0)];
/// From how many of them modes are climbed to, besides the origin.
const CLIMBS: usize = 5;
/// Up to this many coordinates; above, from one.
const SMALL: usize = 50;
/// Above this many coordinates curvatures are not computed: their matrix would cost more than the fit.
const DENSE: usize = 300;
/// Up to this many, where the log joint is quadratic: its one curvature is then the answer.
const QUADRATIC: usize = 2_000;
/// How far two Hessian products may be apart, relative to their size, for the Hessian to be the same.
const SAME: f64 = 1e-9;
/// Draws an ELBO of a candidate.
const DRAWS: usize = 200;
/// A mode whose Laplace evidence is further than this many nats below the best is not reported.
const RIVAL: f64 = 3.0;
/// The most steps of the rough fit.
const ROUGH: usize = 500;

/// A point and a scale around it.
pub(super) struct Start {
    pub map: Affine,
    /// Gradients and Hessian products that it took to find.
    pub evaluations: usize,
    pub warnings: Vec<Warning>,
}

/// A normal that may be a start.
struct Candidate {
    map: Affine,
    /// Its ELBO.
    elbo: f64,
    /// Laplace's approximation to the log evidence.
    evidence: f64,
}

/// Looks for modes, and falls back on a rough fit where the normals around them are no good.
///
/// # Errors
/// No finite start (E05), a coordinate without a prior (E08), an objective that is unbounded for
/// the rough fit too (E07).
pub(super) fn find<M: TwiceDifferentiable>(
    model: Unconstrained<M>,
    draws: usize,
    seed: u64,
) -> Result<(Unconstrained<M>, Start), Error> {
    let origin = start(&model, None, seed)?;
    let Climbed { mut modes, mut evaluations, unbounded } = climb(&model, &origin, seed)?;
    modes.sort_by(|a, b| b.elbo.total_cmp(&a.elbo));
    let warnings: Vec<Warning> = rivals(&model, &modes).into_iter().collect();
    // An ELBO close to the best that a curvature promises: the posterior is near that normal.
    let promised = modes.iter().fold(f64::NEG_INFINITY, |most, m| most.max(m.evidence));
    let slack = 0.5 + 0.05 * model.dim() as f64;
    let (model, best) = match modes.into_iter().next() {
        Some(best) if best.elbo > promised - slack => (model, best),
        best => {
            let (model, rough, gradients) = rough(model, &origin, draws, seed)?;
            evaluations += gradients;
            let better = best.filter(|b| b.elbo > rough.elbo || !rough.elbo.is_finite());
            let best = better.unwrap_or(rough);
            match unbounded {
                Some(error) if !best.elbo.is_finite() => return Err(error),
                _ => (model, best),
            }
        }
    };
    Ok((model, Start { map: best.map, evaluations, warnings }))
}

/// What climbing from several points found.
#[derive(Default)]
struct Climbed {
    /// The normals around the modes that were reached.
    modes: Vec<Candidate>,
    /// How many gradients and Hessian products it took.
    evaluations: usize,
    /// The error of a climb that had no end.
    unbounded: Option<Error>,
}

/// Climbs to the modes that can be reached.
///
/// # Errors
/// A coordinate without a prior (E08).
fn climb<M: TwiceDifferentiable>(
    model: &Unconstrained<M>,
    origin: &[f64],
    seed: u64,
) -> Result<Climbed, Error> {
    let mut climbed = Climbed::default();
    if model.dim() > DENSE && model.dim() <= QUADRATIC && is_quadratic(model, origin, seed) {
        return leap(model, origin, seed);
    }
    for at in points(model, origin, seed) {
        let top = match mode(model, &at, &ModeOptions::default()) {
            Ok(top) => top,
            Err(error @ Error::Improper { .. }) => return Err(error),
            Err(error) => {
                climbed.unbounded = Some(error);
                continue;
            }
        };
        climbed.evaluations += top.evaluations;
        if !top.arrived {
            continue;
        }
        let around = match curvature(model, &top.z) {
            Err(error @ Error::Improper { .. }) => return Err(error),
            Err(_) => continue,
            Ok(around) => around,
        };
        climbed.evaluations += model.dim();
        if around.repaired.is_none() {
            let evidence = around.log_evidence(top.log_joint);
            let map = Affine::from_rows(top.z, around.factor)?;
            climbed.modes.push(Candidate { elbo: elbo(model, &map, seed), map, evidence });
        }
    }
    Ok(climbed)
}

/// Whether the Hessian seems to be the same everywhere: in two directions, here and far from here.
fn is_quadratic<M: TwiceDifferentiable>(model: &M, origin: &[f64], seed: u64) -> bool {
    let d = origin.len();
    let mut rng = stream(seed, Purpose::Start, 3_000);
    let mut grad = vec![0.0; d];
    let [mut v, mut away, mut here, mut there] = [(); 4].map(|()| vec![0.0; d]);
    [1.0, 10.0].iter().all(|reach| {
        fill_normal(&mut rng, &mut v);
        fill_normal(&mut rng, &mut away);
        away.iter_mut().zip(origin).for_each(|(a, o)| *a = o + reach * *a);
        model.hess_vec(origin, &v, &mut grad, &mut here);
        model.hess_vec(&away, &v, &mut grad, &mut there);
        let size = here.iter().fold(0.0, |most: f64, h| most.max(h.abs()));
        let apart = here.iter().zip(&there).map(|(a, b)| (a - b).abs());
        size.is_finite() && apart.fold(0.0, f64::max) <= SAME * size
    })
}

/// One Newton step, which reaches the mode where the log joint is quadratic.
///
/// # Errors
/// A coordinate without a prior (E08).
fn leap<M: TwiceDifferentiable>(
    model: &Unconstrained<M>,
    origin: &[f64],
    seed: u64,
) -> Result<Climbed, Error> {
    let evaluations = model.dim() + 4;
    let none = Climbed { evaluations, ..Climbed::default() };
    let around = match curvature(model, origin) {
        Err(error @ Error::Improper { .. }) => return Err(error),
        Err(_) => return Ok(none),
        Ok(around) => around,
    };
    if around.repaired.is_some() {
        return Ok(none);
    }
    let (mut grad, mut up, mut top) = (origin.to_vec(), vec![0.0; origin.len()], origin.to_vec());
    model.log_joint_grad(origin, &mut grad);
    let step = Affine::from_rows(origin.to_vec(), around.factor.clone())?;
    step.add_turned_back(&grad, &mut up);
    step.forward(&up, &mut top);
    let evidence = around.log_evidence(model.log_joint(&top));
    let map = Affine::from_rows(top, around.factor)?;
    let mode = Candidate { elbo: elbo(model, &map, seed), map, evidence };
    Ok(Climbed { modes: vec![mode], evaluations, unbounded: None })
}

/// Where the climbs begin: at the origin, and at the best of many points spread around it.
fn points<M: Model>(model: &M, origin: &[f64], seed: u64) -> Vec<Vec<f64>> {
    let d = model.dim();
    let mut points = Vec::new();
    if d > DENSE {
        return points;
    }
    points.push(origin.to_vec());
    let mut z = vec![0.0; d * SPREAD];
    let mut rng = stream(seed, Purpose::Start, 1_000);
    let mut rest = &mut z[..];
    for (share, reach) in REACH {
        let (part, after) = rest.split_at_mut((share * SPREAD / 4 * d).min(rest.len()));
        if let Ok(uniform) = Uniform::new(-reach, reach) {
            part.iter_mut().for_each(|z| *z = uniform.sample(&mut rng));
        }
        rest = after;
    }
    let mut log_p = vec![0.0; SPREAD];
    model.log_joint_batch(&z, &mut log_p);
    let mut order: Vec<usize> = (0..SPREAD).filter(|&s| log_p[s].is_finite()).collect();
    order.sort_by(|&a, &b| log_p[b].total_cmp(&log_p[a]));
    let climbs = if d <= SMALL { CLIMBS } else { 1 };
    points.extend(order.iter().take(climbs).map(|&s| z[s * d..(s + 1) * d].to_vec()));
    points
}

/// The ELBO of the image of a standard normal; the same noise for every candidate.
fn elbo<M: Model>(model: &M, map: &Affine, seed: u64) -> f64 {
    let d = model.dim();
    let (mut eps, mut z) = (vec![0.0; d * DRAWS], vec![0.0; d * DRAWS]);
    fill_normal(&mut stream(seed, Purpose::Start, 2_000), &mut eps);
    let mut log_p = vec![0.0; DRAWS];
    map.forward_batch(&eps, &mut z, &mut log_p);
    model.log_joint_batch(&z, &mut log_p);
    let entropy = d as f64 * (0.5 + LN_SQRT_2PI) + map.constant_log_det().unwrap_or(0.0);
    let value = log_p.iter().sum::<f64>() / DRAWS as f64 + entropy;
    if value.is_finite() { value } else { f64::NEG_INFINITY }
}

/// A mean-field fit from the origin, and how many gradients it took.
fn rough<M: TwiceDifferentiable>(
    model: Unconstrained<M>,
    origin: &[f64],
    draws: usize,
    seed: u64,
) -> Result<(Unconstrained<M>, Candidate, usize), Error> {
    let q = MeanFieldGaussian::new(origin.to_vec(), &vec![0.1; origin.len()])?;
    let ascent = GradientAscent::new(StickingTheLanding { draws }, super::steps());
    let stop = Stop::Paired(Paired { every: 100, ..Paired::default() });
    let fit = fit(
        model,
        q,
        ascent,
        Options { steps: ROUGH, seed, stop, elbo_every: ROUGH, ..Options::default() },
    )?;
    let map = Affine::diagonal(fit.q.mean().to_vec(), fit.q.sd())?;
    let elbo = elbo(&fit.model, &map, seed);
    let gradients = fit.trace.len() * draws;
    Ok((fit.model, Candidate { map, elbo, evidence: elbo }, gradients))
}

/// A warning where another mode is about as good as the best, which comes first.
fn rivals<M: Model>(model: &M, modes: &[Candidate]) -> Option<Warning> {
    let (best, others) = modes.split_first()?;
    let names = model.space().coordinate_names();
    for other in others.iter().filter(|o| o.evidence > best.evidence - RIVAL) {
        // how far away, in units of the best one's own scale
        let (there, here) = (other.map.shift(), best.map.shift());
        let mut away = vec![0.0; here.len()];
        best.map.inverse(there, &mut away);
        if away.iter().map(|w| w * w).sum::<f64>() < 1.0 {
            continue;
        }
        let moved = |i: &usize| (there[*i] - here[*i]).abs();
        let most = (0..names.len()).max_by(|a, b| moved(a).total_cmp(&moved(b)))?;
        let message = format!(
            "another mode is about as good: `{}` is {:.4} there and {:.4} in the answer (Laplace \
             log evidence {:.2} and {:.2}); one Gaussian describes one of them",
            names[most], there[most], here[most], other.evidence, best.evidence
        );
        let order = "an ordered support where labels can be exchanged, a prior that chooses";
        return Some(Warning::new(Code::Multimodal, message).try_this(order));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::Real;
    use crate::space::Space;
    use crate::{DMatrix, Var, density, from_fn};

    /// Correlated neighbours: the condition is about 400.
    fn known(d: usize) -> density::Gaussian {
        let covariance = DMatrix::from_fn(d, d, |i, j| 0.9f64.powi(i.abs_diff(j) as i32));
        let mean = (0..d).map(|i| (i % 7) as f64 - 3.0).collect();
        density::Gaussian::from_covariance(mean, &covariance).unwrap()
    }

    fn found(add: impl Fn(&[Var]) -> Var + 'static) -> Climbed {
        let known = known(DENSE + 1);
        let mut space = Space::new();
        let x = space.reals("x", DENSE + 1);
        let model = from_fn(space, move |z| known.log_prob(&z[x]) + add(z)).unconstrained();
        climb(&model, &vec![0.5; DENSE + 1], 0).unwrap()
    }

    #[test]
    fn a_quadratic_log_joint_is_answered_by_its_one_curvature() {
        let climbed = found(|_| Var::from(1.5));
        let [mode] = &climbed.modes[..] else { panic!("one mode") };
        for (at, mean) in mode.map.shift().iter().zip(known(DENSE + 1).mean()) {
            assert!((at - mean).abs() < 1e-10, "{at} for {mean}");
        }
        assert!((mode.evidence - 1.5).abs() < 1e-8, "{}", mode.evidence);
        // the mean of as many draws of half a chi-square, within five standard errors
        let error = ((DENSE + 1) as f64 / 2.0 / DRAWS as f64).sqrt();
        assert!((mode.elbo - 1.5).abs() < 5.0 * error, "{}", mode.elbo);
    }

    #[test]
    fn what_is_not_quadratic_in_one_coordinate_is_seen() {
        assert!(found(|z| z[17].square() * z[17] * 1e-3).modes.is_empty());
    }
}
