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

/// A fit as good as the best, within a nat, that claims something else.
#[derive(Clone, Debug)]
pub struct Rival<M, Q> {
    /// The fit.
    pub fit: Fit<M, Q>,
    /// The number of its start.
    pub start: usize,
    /// By how many nats its ELBO is lower than the best.
    pub below: f64,
}

/// The best of several fits, and what became of the others.
#[derive(Clone, Debug)]
pub struct Restarted<M, Q> {
    /// The fit with the highest ELBO.
    pub fit: Fit<M, Q>,
    /// The number of its start.
    pub start: usize,
    /// Another answer that the data hardly tell from it, the best of those there are: then the
    /// warnings of `fit` have W08.
    pub rival: Option<Rival<M, Q>>,
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
/// best, within a nat, but claims something else, is a warning (W08) of the fit, and kept as its
/// [`Rival`]. No other fit is.
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
/// assert!(best.fit.warnings.is_empty() && best.rival.is_none()); // all ended at the same place
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
    let Some(best) = best(&ended) else {
        let first = ended.swap_remove(0).attempt.elbo;
        return Err(first.err().unwrap_or(Error::NoData { what: "the starts".to_string() }));
    };
    let rival = rival(&ended, best).and_then(|at| {
        let below = ended[best].elbo() - ended[at].elbo();
        ended[at].fit.take().map(|fit| Rival { fit, start: ended[at].attempt.start, below })
    });
    let start = ended[best].attempt.start;
    let Some(mut fit) = ended[best].fit.take() else { unreachable!("it was just found") };
    fit.warnings.extend(rival.as_ref().map(|rival| as_good(rival, start, count)));
    let attempts = ended.into_iter().map(|e| e.attempt).collect();
    Ok(Restarted { fit, start, rival, attempts, seconds: clock.seconds() })
}

impl<M, Q> Ended<M, Q> {
    /// What it reached, or not a number.
    fn elbo(&self) -> f64 {
        self.attempt.elbo.as_ref().copied().unwrap_or(f64::NAN)
    }
}

/// All starts of a stretch, in order; of their fits only the best is kept, and its rival.
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
    a.append(&mut b);
    let best = best(&a);
    let rival = best.and_then(|best| rival(&a, best));
    for (at, ended) in a.iter_mut().enumerate() {
        if Some(at) != best && Some(at) != rival {
            ended.fit = None;
        }
    }
    a
}

/// Of the fits that are kept the one with the highest ELBO, the first of equals.
fn best<M, Q>(all: &[Ended<M, Q>]) -> Option<usize> {
    let kept = (0..all.len()).filter(|&at| all[at].fit.is_some());
    kept.reduce(|best, at| {
        let (high, elbo) = (all[best].elbo(), all[at].elbo());
        // not a number loses against any
        if elbo > high || (high.is_nan() && !elbo.is_nan()) { at } else { best }
    })
}

/// Of the others that are kept the best that is as good and claims something else.
fn rival<M, Q>(all: &[Ended<M, Q>], best: usize) -> Option<usize> {
    let own = &all[best].signature;
    let differs = |other: &[f64]| {
        let squares: f64 = own.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
        other.len() == own.len() && (squares / own.len().max(1) as f64).sqrt() > DIFFERENT
    };
    let rivals = (0..all.len()).filter(|&at| {
        let as_good = all[best].elbo() - all[at].elbo() < AS_GOOD;
        at != best && all[at].fit.is_some() && as_good && differs(&all[at].signature)
    });
    rivals.reduce(|first, at| if all[at].elbo() > all[first].elbo() { at } else { first })
}

fn as_good<M, Q>(rival: &Rival<M, Q>, start: usize, count: usize) -> Warning {
    let far = match rival.below {
        below if below < 0.005 => "as good as".to_string(),
        below => format!("{below:.2} nats below"),
    };
    let message = format!(
        "start {} of {count} reached another answer, {far} that of start {start}: the data hardly tell them apart",
        rival.start
    );
    let action = format!("look at both: `fit` of start {start} and `rival` of {}", rival.start);
    Warning::new(Code::Multimodal, message).try_this(action)
}

impl<M, Q> fmt::Display for Restarted<M, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>5}  {:>16}  {:>6}", "start", "ELBO", "steps")?;
        for Attempt { start, elbo, steps } in &self.attempts {
            let rival = self.rival.as_ref().map(|rival| rival.start);
            let mark = match *start {
                best if best == self.start => " <",
                other if Some(other) == rival => " ~",
                _ => "",
            };
            match elbo {
                Ok(elbo) => writeln!(f, "{start:>5}  {elbo:>16.6}  {steps:>6}{mark}")?,
                Err(e) => writeln!(f, "{start:>5}  {e}")?,
            }
        }
        Ok(())
    }
}
