//! The verdict: how the run ended, how noisy the ELBO is, how close `q` is, and one word for all.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::elbo::Estimate;
use super::fidelity::{Fidelity, Named};
use crate::error::Error;
use crate::fit::Outcome;
use crate::warning::{Code, Warning};
use crate::witness::{Witness, sentence};

/// One word for whether a result can be used; the worst compares greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// Nothing speaks against it.
    Good,
    /// Something does; the warnings say what.
    UseWithCare,
    /// The numbers should not be used for anything.
    DoNotUse,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Good => "GOOD",
            Verdict::UseWithCare => "USE WITH CARE",
            Verdict::DoNotUse => "DO NOT USE",
        })
    }
}

/// How a run ended, without the details that only the run itself needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// A stop rule fired.
    Converged {
        /// Which, with its numbers.
        rule: String,
    },
    /// The steps ran out.
    StepLimit,
    /// An observer said stop.
    Stopped,
    /// The ELBO fell.
    Descended {
        /// By how much, with its numbers.
        rule: String,
    },
    /// Too many steps in a row were not finite.
    Diverged {
        /// The step.
        step: usize,
        /// The point, by name.
        place: String,
    },
    /// No run: `q` came from elsewhere.
    NotRun,
}

impl Ending {
    pub(crate) fn of(outcome: &Outcome) -> Ending {
        match outcome {
            Outcome::Converged { rule } => Ending::Converged { rule: rule.clone() },
            Outcome::StepLimit => Ending::StepLimit,
            Outcome::Stopped => Ending::Stopped,
            Outcome::Descended { rule } => Ending::Descended { rule: rule.clone() },
            Outcome::Diverged { witness } => {
                let Witness { step, names, z, .. } = witness;
                Ending::Diverged { step: *step, place: sentence(names, z) }
            }
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Converged { rule } => write!(f, "converged: {rule}"),
            Ending::StepLimit => write!(f, "the steps ran out before a stop rule fired"),
            Ending::Stopped => write!(f, "stopped from outside"),
            Ending::Descended { rule } => f.write_str(rule),
            Ending::Diverged { step, place } => write!(f, "diverged at step {step}, {place}"),
            Ending::NotRun => write!(f, "no run"),
        }
    }
}

/// A mean that is off by this much, in standard deviations, is not good.
pub const SHIFT_LIMIT: f64 = 0.3;
/// A standard deviation whose logarithm is off by this much is not good.
pub const LOG_SD_LIMIT: f64 = 0.25;

/// The share of draws that must be effective. Where q is far too narrow in a direction, the draws
/// that would show it are missing; on normals with equal correlations, in 2 to 100 dimensions,
/// k-hat alone let sds pass that were off by up to `e^0.45`, this share let none pass `e^0.25`.
const OVERLAP: f64 = 0.2;
/// With a smaller share than this the corrections stand on a few draws, and fall far short.
const NO_OVERLAP: f64 = 0.05;
/// An sd that is off by this factor cannot be used for anything.
const FAR: f64 = 2.0;
/// The same where the corrections fall short: for mean field on two normals with correlation 0.9
/// they see a factor of 1.6 where it is 2.3.
const FAR_UNSEEN: f64 = 1.4;

/// Three separate questions, a word for each, and the worst of them.
///
/// A flat objective, a small Monte Carlo error and a good approximation are three facts. The one
/// exception to "the worst of the three": where light or even importance weights confirm the
/// answer itself, it does not matter how the run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Whether the run arrived.
    pub optimisation: Verdict,
    /// Whether the ELBO is known to half a nat.
    pub monte_carlo: Verdict,
    /// Whether `q` is close to the posterior.
    pub fidelity: Verdict,
    /// The word.
    pub verdict: Verdict,
    /// What was seen, and what to try.
    pub warnings: Vec<Warning>,
}

impl Judgement {
    /// Judges; `family` is the name of `q`'s family, which decides what to try next, and `noticed`
    /// what the run itself warned of.
    pub fn new(
        ending: &Ending,
        elbo: &Estimate,
        seen: &Fidelity,
        family: &str,
        noticed: &[Warning],
    ) -> Judgement {
        let mut warnings = noticed.to_vec();
        let monte_carlo = match elbo.mcse {
            m if m < 0.5 => Verdict::Good,
            m if m.is_finite() => Verdict::UseWithCare,
            _ => Verdict::DoNotUse,
        };
        let optimisation = match ending {
            Ending::Converged { .. } | Ending::NotRun => Verdict::Good,
            Ending::StepLimit | Ending::Stopped | Ending::Descended { .. } => {
                let message = format!("{ending}; the answer may still be moving");
                let more = "more steps: Options { steps: 2 * steps, .. }, from this q";
                add(&mut warnings, Warning::new(Code::NotConverged, message).try_this(more));
                Verdict::UseWithCare
            }
            Ending::Diverged { .. } => {
                let message = format!("{ending}; the last finite q is shown");
                let less = "a smaller rate, or a start nearer the posterior";
                add(&mut warnings, Warning::new(Code::NotConverged, message).try_this(less));
                Verdict::DoNotUse
            }
        };
        let mut fidelity = judge_fidelity(seen, family, &mut warnings);
        // Weights see only what q reaches: another mode is bad news that they cannot contradict.
        if noticed.iter().any(|w| w.code == Code::Multimodal) {
            fidelity = fidelity.max(Verdict::UseWithCare);
        }
        let confirmed = fidelity == Verdict::Good && (seen.khat < 0.5 || seen.even());
        let ended = match optimisation {
            Verdict::UseWithCare if confirmed => Verdict::Good,
            other => other,
        };
        let verdict = ended.max(monte_carlo).max(fidelity);
        Judgement { optimisation, monte_carlo, fidelity, verdict, warnings }
    }
}

/// Adds a warning unless the run has said the same.
fn add(warnings: &mut Vec<Warning>, warning: Warning) {
    if warnings.iter().all(|w| w.code != warning.code) {
        warnings.push(warning);
    }
}

/// An error unless the verdict is at least as good as wanted.
pub(crate) fn require(judgement: &Judgement, wanted: Verdict) -> Result<(), Error> {
    if judgement.verdict <= wanted {
        return Ok(());
    }
    let first = judgement.warnings.first();
    let reason =
        first.map_or("the ELBO is too noisy".to_string(), |w| format!("{} {}", w.code, w.message));
    let remedy = first.and_then(|w| w.actions.first()).cloned();
    Err(Error::Verdict {
        verdict: judgement.verdict.to_string(),
        wanted: wanted.to_string(),
        reason,
        remedy: remedy.unwrap_or_else(|| "more draws in the report".to_string()),
    })
}

fn judge_fidelity(seen: &Fidelity, family: &str, warnings: &mut Vec<Warning>) -> Verdict {
    if seen.not_finite > 0 {
        let message = format!(
            "log_joint was NaN or +inf at {} of {} draws from the answer",
            seen.not_finite, seen.draws
        );
        let look = "Support of each parameter, and the formula at the edge of it";
        warnings.push(Warning::new(Code::Rejected, message).try_this(look));
        return Verdict::DoNotUse;
    }
    let mut verdict = Verdict::Good;
    if seen.outside > 0 {
        let message = format!(
            "log_joint was -inf at {} of {} draws: q reaches outside the posterior's support",
            seen.outside, seen.draws
        );
        let declare = "declare the parameter's support (positive, unit, ...) in the Space";
        warnings.push(Warning::new(Code::AtBoundary, message).try_this(declare));
        verdict = Verdict::UseWithCare;
    }
    if let Some(place) = &seen.point {
        let message = format!(
            "a point has no spread: all draws agree in {place}, so that the sd is 0 and the \
             weights cannot judge it"
        );
        let spread = "a family with a width, such as MeanFieldGaussian, or `infer(model)`";
        warnings.push(Warning::new(Code::VarianceDeficit, message).try_this(spread));
        verdict = Verdict::UseWithCare;
    }
    if seen.khat >= seen.threshold && !seen.even() {
        warnings.push(heavy_weights(seen, family));
        let effective = seen.ess / seen.draws as f64;
        let hopeless = seen.khat >= 1.0 && effective < 0.5;
        verdict = verdict.max(if hopeless { Verdict::DoNotUse } else { Verdict::UseWithCare });
    }
    if verdict == Verdict::Good && seen.ess < OVERLAP * seen.draws as f64 {
        let message = format!(
            "only {:.0} of {} draws are effective: q and the posterior overlap too little to \
             confirm every mean and sd",
            seen.ess, seen.draws
        );
        warnings.push(Warning::new(Code::TooFewDraws, message).try_this(richer_family(family)));
        verdict = Verdict::UseWithCare;
    }
    // What has not been said yet must be said now, even where it may be noise.
    let silent = verdict == Verdict::Good;
    let size = |n: &Named| n.value.abs() + 2.0 * n.mcse;
    let trust = trust(seen);
    if let Some(shift) = &seen.shift
        && size(shift) > SHIFT_LIMIT * trust
    {
        let lower = shift.value.abs() - 2.0 * shift.mcse;
        if silent || lower > SHIFT_LIMIT {
            let message = format!(
                "importance weights move the mean of `{}` by {:+.2} ± {:.2} sd",
                shift.name, shift.value, shift.mcse
            );
            let warning = Warning::new(Code::MeanShift, message).try_this(richer_family(family));
            warnings.push(warning.try_this("more steps, if the run had not converged"));
        }
        let far = seen.usable() && lower > 1.0;
        verdict = verdict.max(if far { Verdict::DoNotUse } else { Verdict::UseWithCare });
    }
    if let Some(spread) = &seen.log_sd_ratio
        && size(spread) > LOG_SD_LIMIT * trust
    {
        let ratio = spread.value.exp();
        let clear = spread.value.abs() > LOG_SD_LIMIT && spread.value.abs() > 2.0 * spread.mcse;
        if silent || clear {
            let word = if spread.value > 0.0 { "small" } else { "large" };
            let about = match (seen.usable() || spread.value < 0.0, clear) {
                (false, _) => "is too small: its sd is at least",
                (true, true) => &format!("is too {word}: its sd is about"),
                (true, false) => &format!("may be too {word}: its sd is perhaps"),
            };
            let message =
                format!("the spread of `{}` {about} {ratio:.2} times what q says", spread.name);
            let warning = Warning::new(Code::VarianceDeficit, message);
            warnings.push(warning.try_this(richer_family(family)));
        }
        let lower = spread.value.abs() - 2.0 * spread.mcse;
        let blind = seen.ess < NO_OVERLAP * seen.draws as f64;
        let far = lower > if blind { FAR_UNSEEN } else { FAR }.ln();
        verdict = verdict.max(if far { Verdict::DoNotUse } else { Verdict::UseWithCare });
    }
    verdict
}

/// How much of the limits may be used up: all where the weights have finite variance, less as
/// k-hat rises from 0.5, for the corrections then fall short of the truth. On eight schools, k-hat
/// 0.6, weights see two thirds of what the logarithm of the sd of `tau` lacks.
fn trust(seen: &Fidelity) -> f64 {
    if seen.even() { 1.0 } else { (2.0 - 2.0 * seen.khat).clamp(0.0, 1.0) }
}

fn heavy_weights(seen: &Fidelity, family: &str) -> Warning {
    let mut message = format!(
        "heavy importance weights: k-hat {:.2} is above {:.2} ({} draws, {:.0} of them effective)",
        seen.khat, seen.threshold, seen.draws, seen.ess
    );
    if let Some(shift) = &seen.shift {
        message += &format!("; most affected is `{}`", shift.name);
    }
    Warning::new(Code::HeavyWeights, message).try_this(richer_family(family)).try_this(
        "a non-centred formula where theta ~ normal(mu, tau) with tau unknown: eta ~ normal(0, 1) \
         and theta = mu + tau * eta",
    )
}

fn richer_family(family: &str) -> &'static str {
    if family.starts_with("MeanField") {
        "FullRankGaussian, which has correlations"
    } else if family.contains("Gaussian") {
        "a family that bends: a mixture or a flow"
    } else {
        "a richer family"
    }
}
