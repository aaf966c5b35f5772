//! `restarts`: the same fit from several starts, the best kept and the others accounted for.

use std::fmt;

use crate::clock::Clock;
use crate::error::Error;
use crate::fit::Fit;
use crate::warning::{Code, Warning};

/// What became of one start.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Its number.
    pub start: usize,
    /// The ELBO it reached, or why it did not get there.
    pub elbo: Result<f64, Error>,
    /// How many steps it took.
    pub steps: usize,
}

/// The best of several fits, and what became of the others.
#[derive(Clone, Debug)]
pub struct Restarted<M, Q> {
    /// The fit with the highest ELBO.
    pub fit: Fit<M, Q>,
    /// The number of its start.
    pub start: usize,
    /// Every start, in order.
    pub attempts: Vec<Attempt>,
    /// Wall-clock seconds until all had ended.
    pub seconds: f64,
}

/// By how many nats a runner-up may lie below the best and still be as good: at one nat the data
/// hardly tell the two apart.
const AS_GOOD: f64 = 1.0;
/// The root mean square difference of two signatures, in nats, from which on answers are different.
const DIFFERENT: f64 = 0.1;

/// What is kept of a start that ended.
struct Ended<M, Q> {
    attempt: Attempt,
    signature: Vec<f64>,
    fit: Option<Fit<M, Q>>,
}

/// Runs a fit from the starts `0..count`, on as many threads as there are, and keeps the one with
/// the highest ELBO (of equals the first): the answer does not depend on the number of threads.
///
/// `run` makes the fit of a start from its number alone. A start that fails is listed with its
/// error; only where all fail is that an error. `signature` says in nats what an answer claims,
/// whatever its labels, such as the log densities of some rows: a runner-up that is as good as the
/// best, within a nat, but claims something else, is a warning (W08) of the fit.
///
/// ```
/// use elbo::models::GaussianMixture;
/// use elbo::{EStep, MStep, Options, data::{OLD_FAITHFUL, Observations}, fit};
/// use elbo::models::gaussian_mixture::Start;
/// use elbo::restarts::restarts;
/// let cells = OLD_FAITHFUL.iter().flatten().copied().collect();
/// let model = GaussianMixture::new(Observations::new(cells, 2)?, 2)?;
/// let best = restarts(
///     3,
///     |start| {
///         let model = model.clone().started(Start::KMeans, start as u64)?;
///         let q = model.labels();
///         fit(model, q, (EStep, MStep), Options::exact())
///     },
///     |fit| OLD_FAITHFUL[..20].iter().map(|x| fit.model.log_density(x)).collect(),
/// )?;
/// assert_eq!(best.attempts.len(), 3);
/// assert!(best.fit.warnings.is_empty()); // all starts ended at the same place
/// # Ok::<(), elbo::Error>(())
/// ```
///
/// # Errors
/// The first start's error where none succeeded; `count` 0.
pub fn restarts<M: Send, Q: Send>(
    count: usize,
    run: impl Fn(usize) -> Result<Fit<M, Q>, Error> + Sync,
    signature: impl Fn(&Fit<M, Q>) -> Vec<f64> + Sync,
) -> Result<Restarted<M, Q>, Error> {
    if count == 0 {
        return Err(Error::option("the number of starts", 0, "take at least one"));
    }
    let one = |start: usize| -> Vec<Ended<M, Q>> {
        vec![match run(start) {
            Err(e) => {
                let attempt = Attempt { start, elbo: Err(e), steps: 0 };
                Ended { attempt, signature: Vec::new(), fit: None }
            }
            Ok(fit) => {
                let elbo = fit.trace.iter().rev().find_map(|step| step.elbo).unwrap_or(f64::NAN);
                let attempt = Attempt { start, elbo: Ok(elbo), steps: fit.trace.len() };
                Ended { attempt, signature: signature(&fit), fit: Some(fit) }
            }
        }]
    };
    let clock = Clock::start();
    let mut ended = halves(0, count, &one);
    let Some(best) = ended.iter().position(|e| e.fit.is_some()) else {
        let first = ended.swap_remove(0).attempt.elbo;
        return Err(first.err().unwrap_or(Error::NoData { what: "the starts".to_string() }));
    };
    let (start, elbo) = (ended[best].attempt.start, ended[best].attempt.elbo.clone());
    let Some(mut fit) = ended[best].fit.take() else { unreachable!("it was just found") };
    if let Ok(elbo) = elbo {
        fit.warnings.extend(rival(&ended, start, elbo, &ended[best].signature));
    }
    let attempts = ended.into_iter().map(|e| e.attempt).collect();
    Ok(Restarted { fit, start, attempts, seconds: clock.seconds() })
}

/// All starts of a stretch, in order; of their fits only the best is kept.
fn halves<M: Send, Q: Send>(
    start: usize,
    end: usize,
    one: &(impl Fn(usize) -> Vec<Ended<M, Q>> + Sync),
) -> Vec<Ended<M, Q>> {
    if end - start == 1 {
        return one(start);
    }
    let half = start + (end - start) / 2;
    #[cfg(feature = "parallel")]
    let (mut a, mut b) = rayon::join(|| halves(start, half, one), || halves(half, end, one));
    #[cfg(not(feature = "parallel"))]
    let (mut a, mut b) = (halves(start, half, one), halves(half, end, one));
    let reached = |all: &[Ended<M, Q>]| {
        let kept = all.iter().position(|e| e.fit.is_some());
        kept.map(|at| (at, all[at].attempt.elbo.clone().unwrap_or(f64::NAN)))
    };
    if let (Some((i, left)), Some((j, right))) = (reached(&a), reached(&b)) {
        // not a number loses against any
        if right > left || (left.is_nan() && !right.is_nan()) {
            a[i].fit = None;
        } else {
            b[j].fit = None;
        }
    }
    a.append(&mut b);
    a
}

fn rival<M, Q>(all: &[Ended<M, Q>], start: usize, elbo: f64, best: &[f64]) -> Option<Warning> {
    let off = |other: &[f64]| {
        let squares: f64 = best.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
        (squares / best.len().max(1) as f64).sqrt()
    };
    let others = all.iter().filter_map(|e| Some((e, *e.attempt.elbo.as_ref().ok()?)));
    let rivals: Vec<_> = others
        .filter(|(e, other)| {
            let differs = e.signature.len() == best.len() && off(&e.signature) > DIFFERENT;
            e.attempt.start != start && elbo - other < AS_GOOD && differs
        })
        .collect();
    let (first, second) = rivals.iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let message = format!(
        "start {} reached another answer {:.2e} nats below that of start {start}, of {} starts: the data hardly tell them apart",
        first.attempt.start,
        elbo - second,
        all.len()
    );
    let action = format!("look at both: start {start} and start {}", first.attempt.start);
    Some(Warning::new(Code::Multimodal, message).try_this(action))
}

impl<M, Q> fmt::Display for Restarted<M, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>5}  {:>16}  {:>6}", "start", "ELBO", "steps")?;
        for Attempt { start, elbo, steps } in &self.attempts {
            let mark = if *start == self.start { " <" } else { "" };
            match elbo {
                Ok(elbo) => writeln!(f, "{start:>5}  {elbo:>16.6}  {steps:>6}{mark}")?,
                Err(e) => writeln!(f, "{start:>5}  {e}")?,
            }
        }
        Ok(())
    }
}
