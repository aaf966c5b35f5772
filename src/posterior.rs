//! `Posterior`: what a fit is kept as. It draws, summarises and reports without model or data.

pub(crate) mod any_number;
mod draws;

pub use draws::Draws;

use std::fmt;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ascent::Step;
use crate::diagnostics::{
    Checks, Ending, Estimate, Examined, Fidelity, Judgement, Row, Summary, Verdict, examine,
    require,
};
use crate::error::Error;
use crate::family::Family;
use crate::fit::Fit;
use crate::model::Model;
use crate::noise::{Purpose, stream};
use crate::space::Space;
use crate::warning::Warning;

/// What a saved file calls itself.
const FORMAT: &str = "elbo-posterior";
/// The newest format this version reads, and the one it writes.
const VERSION: u64 = 1;

/// What is known about how `q` came to be and how good it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How the run ended.
    pub ending: Ending,
    /// Steps taken.
    pub steps: usize,
    /// Steps rejected because a draw was not finite.
    pub rejected: usize,
    /// Gradients of the log joint that the run computed, where it counted them; else 0.
    #[serde(default)]
    pub gradients: usize,
    /// The seed of the run.
    pub seed: u64,
    /// Wall-clock seconds of the run.
    pub seconds: f64,
    /// The model's own parameters, as learned.
    #[serde(with = "crate::lossless::many")]
    pub theta: Vec<f64>,
    /// The ELBO on fresh draws.
    pub elbo: Estimate,
    /// What the run climbed where that is not the ELBO (a bound of weighted draws, a relaxation):
    /// the mean over its last steps that recorded it.
    #[serde(default)]
    pub objective: Option<Estimate>,
    /// How close `q` comes to the posterior.
    pub fidelity: Fidelity,
    /// The parameters.
    pub summary: Summary,
    /// Three axes, a word and warnings.
    pub judgement: Judgement,
}

/// A fitted approximation with the names and supports of its parameters, and a report if it has
/// been examined; neither model nor data.
///
/// ```
/// use elbo::{density, fit, from_fn, Adam, Averaged, GradientAscent, MeanFieldGaussian, Model};
/// use elbo::{Options, Posterior, Real, Space, StickingTheLanding, Verdict};
/// let mut space = Space::new();
/// let rate = space.positive("rate");
/// // 50 waiting times that sum to 25
/// let model =
///     from_fn(space, move |z| density::exponential(z[rate], 1.0) + 50.0 * z[rate].ln() - 25.0 * z[rate])
///         .unconstrained();
/// let ascent = GradientAscent::new(StickingTheLanding { draws: 8 }, Averaged::new(Adam::rate(0.05)));
/// let options = Options { steps: 2_000, ..Options::default() };
/// let posterior = fit(model, MeanFieldGaussian::standard(1), ascent, options)?.posterior()?;
/// // the exact answer is Gamma(51, 26)
/// let row = posterior.row("rate")?;
/// assert!((row.mean - 51.0 / 26.0).abs() < 0.02);
/// posterior.require(Verdict::Good)?;
/// let text = posterior.to_json()?;
/// let again = Posterior::<MeanFieldGaussian>::from_json(&text)?;
/// assert_eq!(again.draws(10, 3)?, posterior.draws(10, 3)?);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Posterior<Q> {
    /// Names, supports, and the maps back to the natural scale.
    pub space: Space,
    /// The approximation, over the coordinates of `space`.
    pub q: Q,
    /// What was found with the model at hand.
    pub report: Option<Report>,
}

#[derive(Serialize)]
struct SavedRef<'a, Q> {
    format: &'a str,
    version: u64,
    family: &'a str,
    posterior: &'a Posterior<Q>,
}

#[derive(Deserialize)]
struct Header {
    format: Option<String>,
    version: Option<u64>,
    family: Option<String>,
    posterior: Option<serde_json::Value>,
}

pub(crate) fn file_error(file: &str, reason: impl ToString) -> Error {
    Error::File { file: file.to_string(), reason: reason.to_string() }
}

/// The name of a type without the path to it.
fn short_name<Q>() -> String {
    let full = std::any::type_name::<Q>();
    let plain = full.split('<').next().unwrap_or(full);
    plain.rsplit("::").next().unwrap_or(plain).to_string()
}

/// The mean of what the last steps climbed, where that is not the ELBO.
fn climbed(trace: &[Step]) -> Option<Estimate> {
    const STEPS: usize = 256;
    let last: Vec<f64> = trace.iter().rev().filter_map(|s| s.objective).take(STEPS).collect();
    (!last.is_empty()).then(|| Estimate::mean(&last))
}

impl<M: Model, Q: Family + Clone> Fit<M, Q> {
    /// What to keep of this fit: examined with the model, independent of it from now on.
    ///
    /// # Errors
    /// As [`examine`].
    pub fn posterior(&self) -> Result<Posterior<Q>, Error> {
        self.posterior_with(Checks::default())
    }

    /// [`Fit::posterior`] with another number of draws.
    ///
    /// # Errors
    /// As [`examine`].
    pub fn posterior_with(&self, checks: Checks) -> Result<Posterior<Q>, Error> {
        let space = self.model.space();
        let Examined { elbo, fidelity, summary } =
            examine(&self.model, &self.q, checks, self.seed)?;
        let ending = Ending::of(&self.outcome);
        let family = short_name::<Q>();
        let judgement = Judgement::new(&ending, &elbo, &fidelity, &family, &self.warnings);
        let mut theta = vec![0.0; self.model.n_theta()];
        self.model.theta(&mut theta);
        let report = Report {
            ending,
            steps: self.trace.len(),
            rejected: self.rejected,
            gradients: 0,
            seed: self.seed,
            seconds: self.seconds,
            theta,
            elbo,
            objective: climbed(&self.trace),
            fidelity,
            summary,
            judgement,
        };
        Ok(Posterior { space, q: self.q.clone(), report: Some(report) })
    }
}

impl<Q: Family> Posterior<Q> {
    /// An approximation over a space, not examined.
    ///
    /// # Errors
    /// Different dimensions.
    pub fn new(space: Space, q: Q) -> Result<Posterior<Q>, Error> {
        Error::expect_len("the family", q.dim(), "the space", space.dim())?;
        Ok(Posterior { space, q, report: None })
    }

    /// Draws on the natural scale, with names; the same seed gives the same draws.
    ///
    /// # Errors
    /// No draws asked for.
    pub fn draws(&self, n: usize, seed: u64) -> Result<Draws, Error> {
        if n == 0 {
            return Err(Error::option("draws", 0, "ask for at least one"));
        }
        let (d, k) = (self.space.dim(), self.space.natural_dim());
        let mut u = vec![0.0; d * n];
        // streams 0, 1, .. of this purpose belong to the examination
        self.q.sample(&mut stream(seed, Purpose::Report, 1 << 32), &mut u);
        let mut z = vec![0.0; k * n];
        for s in 0..n {
            self.space.constrain(&u[s * d..(s + 1) * d], &mut z[s * k..(s + 1) * k]);
        }
        Ok(Draws::new(self.space.names(), z, n))
    }
}

impl<Q> Posterior<Q> {
    /// The report, if there is one.
    ///
    /// # Errors
    /// The posterior has not been examined with a model.
    pub fn examined(&self) -> Result<&Report, Error> {
        self.report.as_ref().ok_or_else(|| {
            Error::option("report", "missing", "make the posterior with `fit.posterior()`")
        })
    }

    /// The table of the examination.
    ///
    /// # Errors
    /// The posterior has not been examined with a model.
    pub fn summary(&self) -> Result<&Summary, Error> {
        Ok(&self.examined()?.summary)
    }

    /// The row of one parameter.
    ///
    /// # Errors
    /// No such parameter, or not examined.
    pub fn row(&self, name: &str) -> Result<&Row, Error> {
        self.summary()?.row(name)
    }

    /// The word; [`Verdict::DoNotUse`] where nothing has been examined.
    pub fn verdict(&self) -> Verdict {
        self.report.as_ref().map_or(Verdict::DoNotUse, |r| r.judgement.verdict)
    }

    /// What the reader should know.
    pub fn warnings(&self) -> &[Warning] {
        self.report.as_ref().map_or(&[], |r| &r.judgement.warnings)
    }

    /// A gate for pipelines: an error unless the verdict is this good or better.
    ///
    /// # Errors
    /// The first warning, with what to try.
    pub fn require(&self, wanted: Verdict) -> Result<(), Error> {
        require(&self.examined()?.judgement, wanted)
    }
}

impl<Q: Serialize> Posterior<Q> {
    /// The posterior as JSON, every digit kept.
    ///
    /// # Errors
    /// A family that cannot be written.
    pub fn to_json(&self) -> Result<String, Error> {
        let family = short_name::<Q>();
        let saved = SavedRef { format: FORMAT, version: VERSION, family: &family, posterior: self };
        serde_json::to_string_pretty(&saved).map_err(|e| file_error("the posterior", e))
    }

    /// Writes [`Posterior::to_json`] to a file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let text = self.to_json()?;
        let write = std::fs::write(path, text);
        write.map_err(|e| file_error(&path.display().to_string(), format!("cannot write: {e}")))
    }
}

impl<Q: DeserializeOwned> Posterior<Q> {
    /// Reads what [`Posterior::to_json`] wrote.
    ///
    /// # Errors
    /// Text that is cut off, from elsewhere, from a newer version or of another family.
    pub fn from_json(text: &str) -> Result<Posterior<Q>, Error> {
        Posterior::read("the text", text)
    }

    /// Reads a file that [`Posterior::save`] wrote.
    ///
    /// # Errors
    /// As [`Posterior::from_json`], or no such file.
    pub fn load(path: impl AsRef<Path>) -> Result<Posterior<Q>, Error> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|e| file_error(&name, format!("cannot read: {e}")))?;
        Posterior::read(&name, &text)
    }

    fn read(name: &str, text: &str) -> Result<Posterior<Q>, Error> {
        let header: Header = serde_json::from_str(text).map_err(|e| {
            let reason = if e.is_eof() {
                format!("cut off at line {} column {}; save it again", e.line(), e.column())
            } else {
                format!("not a saved posterior: {e}")
            };
            file_error(name, reason)
        })?;
        if header.format.as_deref() != Some(FORMAT) {
            let there = header.format.unwrap_or_else(|| "another file".to_string());
            let reason = format!("this is {there}, not {FORMAT}; give a file that `save` wrote");
            return Err(file_error(name, reason));
        }
        match header.version {
            Some(VERSION) => {}
            Some(v) if v > VERSION => {
                let reason = format!("format version {v}, this elbo reads {VERSION}; update elbo");
                return Err(file_error(name, reason));
            }
            other => {
                let there = other.map_or("missing".to_string(), |v| v.to_string());
                return Err(file_error(name, format!("format version {there}; save it again")));
            }
        }
        let wanted = short_name::<Q>();
        if let Some(family) = header.family
            && family != wanted
        {
            let reason = format!("holds a {family}, read as {wanted}; load Posterior::<{family}>");
            return Err(file_error(name, reason));
        }
        let body = header.posterior.unwrap_or_default();
        serde_json::from_value(body).map_err(|e| file_error(name, format!("damaged: {e}")))
    }
}

/// The line broken at spaces into lines of at most 100 characters, all but the first indented.
fn wrapped(line: &str, indent: &str) -> String {
    let (mut out, mut width) = (String::new(), 0);
    let first = line.len() - line.trim_start().len();
    for (i, word) in line.trim_start().split(' ').enumerate() {
        let n = word.chars().count();
        if i == 0 {
            out.push_str(&line[..first]);
            width = first;
        } else if width + 1 + n > 100 {
            out.push('\n');
            out.push_str(indent);
            width = indent.len();
        } else {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += n;
    }
    out
}

/// Header, ELBO, table, verdict on three axes, warnings.
impl<Q> fmt::Display for Posterior<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}   {} parameters", short_name::<Q>(), self.space.natural_dim())?;
        let Some(r) = &self.report else {
            return write!(f, "   not examined");
        };
        write!(f, "   seed {}   {} steps   {:.2} s", r.seed, r.steps, r.seconds)?;
        if r.rejected > 0 {
            write!(f, "   {} steps rejected", r.rejected)?;
        }
        let seen = &r.fidelity;
        write!(f, "\nELBO  {}   (mean over {} fresh draws)", r.elbo, seen.draws)?;
        if let Some(climbed) = &r.objective {
            write!(f, "\nclimbed, not the ELBO: {climbed}   (mean over {} last steps)", climbed.n)?;
        }
        write!(f, "\n{}", r.summary)?;
        let j = &r.judgement;
        write!(f, "\nverdict: {}", j.verdict)?;
        let ending = format!("  optimisation  {}: {}", j.optimisation, r.ending);
        write!(f, "\n{}", wrapped(&ending, "                "))?;
        write!(f, "\n  Monte Carlo   {}: ELBO ± {:.1e} nats", j.monte_carlo, r.elbo.mcse)?;
        write!(f, "\n  fidelity      {}: {:.0} of {} ", j.fidelity, seen.ess, seen.draws)?;
        write!(f, "draws effective, k-hat {:.2}", seen.khat)?;
        match seen.even() {
            _ if seen.point.is_some() => write!(f, " (says nothing: a point has no spread)")?,
            _ if seen.khat == f64::NEG_INFINITY => write!(f, " (the weights have no tail)")?,
            true => write!(f, " (of no concern: the weights are even)")?,
            false => write!(f, " (limit {:.2})", seen.threshold)?,
        }
        if let (Some(shift), Some(spread)) = (&seen.shift, &seen.log_sd_ratio) {
            write!(f, "\n                largest shift {:+.2} sd ({})", shift.value, shift.name)?;
            write!(f, ", sd change x{:.2} ({})", spread.value.exp(), spread.name)?;
        }
        for warning in &j.warnings {
            for line in warning.to_string().lines() {
                write!(f, "\n{}", wrapped(line, "    "))?;
            }
        }
        Ok(())
    }
}
