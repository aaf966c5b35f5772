//! Checkpoints: a run on disk, from which it goes on bit for bit as if it had never stopped.

use std::any::type_name;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use rand::Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ascent::{Ascent, Step, short_name};
use crate::caught::Caught;
use crate::error::Error;
use crate::family::Family;
use crate::fit::{History, Options, Run};
use crate::lossless;
use crate::model::Model;
use crate::noise::{Purpose, fill_normal, stream};
use crate::scalar::Scalar;
use crate::space::Space;
use crate::warning::Warning;

const FORMAT: &str = "elbo checkpoint";
const VERSION: u32 = 1;

/// What tells one model with its data from another: its coordinates, the number of its
/// parameters, and its log joint at a fixed point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    space: Space,
    n_theta: usize,
    n_params: usize,
    /// Only where the model has no parameters of its own.
    #[serde(with = "lossless::maybe")]
    log_joint: Option<f64>,
    /// What model and family say of their architecture.
    #[serde(default)]
    architecture: [String; 2],
}

impl Fingerprint {
    pub(crate) fn of<T: Scalar, M: Model<T>, Q: Family<T>>(model: &M, q: &Q) -> Fingerprint {
        let (space, n_theta, n_params) = (model.space(), model.n_theta(), q.n_params());
        // no point made of normals has labels, however many rows it would be made for
        let known = n_theta == 0 && !space.has_labels();
        let at = known.then(|| inside(&space, &mut stream(0, Purpose::Start, 2))).flatten();
        let log_joint = at.and_then(|z| {
            let z: Vec<T> = z.into_iter().map(T::from_f64).collect();
            Caught::by(|| model.log_joint(&z)).ok()
        });
        let architecture = [model.architecture(), q.architecture()];
        Fingerprint { space, n_theta, n_params, log_joint, architecture }
    }

    /// An error that names the first difference.
    fn expect(&self, now: &Fingerprint) -> Result<(), Error> {
        let names = |f: &Fingerprint| {
            let names = f.space.coordinate_names();
            let shown = names.iter().take(6).cloned().collect::<Vec<_>>().join(", ");
            format!("{} ({shown}{})", names.len(), if names.len() > 6 { ", .." } else { "" })
        };
        let differ = |what: &str, saved: String, now: String| {
            Err(Error::Mismatch { what: what.to_string(), saved, now })
        };
        if self.space != now.space {
            return differ("the space of coordinates", names(self), names(now));
        }
        let parts = ["the architecture of the model", "the architecture of the family"];
        for (i, what) in parts.into_iter().enumerate() {
            let [saved, now] = [self, now].map(|f| f.architecture[i].clone());
            if saved != now {
                return differ(what, saved, now);
            }
        }
        let count = |f: &Fingerprint| f.n_theta.to_string();
        if self.n_theta != now.n_theta {
            return differ("the number of the model's parameters", count(self), count(now));
        }
        let (Some(a), Some(b)) = (self.log_joint, now.log_joint) else { return Ok(()) };
        if a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * (1.0 + a.abs()) {
            return Ok(());
        }
        differ("log_joint at a fixed point (the data or the density)", a.to_string(), b.to_string())
    }
}

/// A point inside the support, made from half a normal in each unconstrained coordinate.
pub(crate) fn inside(space: &Space, rng: &mut dyn Rng) -> Option<Vec<f64>> {
    let free = space.unconstrained();
    let (mut u, mut natural) = (vec![0.0; free.dim()], vec![0.0; free.natural_dim()]);
    fill_normal(rng, &mut u);
    u.iter_mut().for_each(|u| *u *= 0.5);
    free.constrain(&u, &mut natural);
    let mut z = vec![0.0; space.dim()];
    space.unconstrain(&natural, &mut z).ok().map(|()| z)
}

#[derive(Serialize)]
struct Saving<'a, Q, A> {
    format: &'static str,
    version: u32,
    family: &'static str,
    ascent_name: &'static str,
    model: &'a Fingerprint,
    options: &'a Options,
    theta: Vec<f64>,
    q: &'a Q,
    ascent: &'a A,
    rejected: usize,
    history: &'a History,
    warnings: &'a [Warning],
    trace: &'a [Step],
}

#[derive(Deserialize)]
struct Saved<Q, A> {
    model: Fingerprint,
    options: Options,
    theta: Vec<f64>,
    q: Q,
    ascent: A,
    rejected: usize,
    history: History,
    warnings: Vec<Warning>,
    trace: Vec<Step>,
}

/// What is read first, to say what is wrong with the rest.
#[derive(Deserialize)]
struct Header {
    format: Option<String>,
    version: Option<u32>,
    family: Option<String>,
    ascent_name: Option<String>,
}

fn file_error(path: &Path, reason: String) -> Error {
    Error::File { file: path.display().to_string(), reason }
}

/// The byte at which reading failed.
fn byte(text: &str, error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    (lines.map(str::len).sum::<usize>() + error.column()).min(text.len())
}

/// Writes beside the file first, so that a crash never leaves half a checkpoint.
fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part: PathBuf = path.with_file_name(name);
    let mut out = BufWriter::new(File::create(&part)?);
    write(&mut out)?;
    out.flush()?;
    out.get_ref().sync_all()?;
    fs::rename(&part, path)
}

impl<M, Q, A> Run<M, Q, A> {
    /// Writes everything but the model's data to a file, as JSON: `theta`, `q`, the move with its
    /// optimizer's memory, options, trace and the state of the stop rule. A file that is there is
    /// replaced at once or not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error>
    where
        Q: Serialize,
        A: Serialize,
    {
        let path = path.as_ref();
        let warnings = self.warnings.borrow();
        let saving = Saving {
            format: FORMAT,
            version: VERSION,
            family: type_name::<Q>(),
            ascent_name: type_name::<A>(),
            model: &self.fingerprint,
            options: &self.options,
            theta: (self.theta)(&self.model),
            q: &self.q,
            ascent: &self.ascent,
            rejected: self.rejected,
            history: &self.history,
            warnings: &warnings,
            trace: &self.trace,
        };
        write_whole(path, |out| Ok(serde_json::to_writer(out, &saving)?))
            .map_err(|e| file_error(path, format!("cannot be written: {e}")))
    }

    /// The run in a file, to go on with: `model` is the one it was started with, its data
    /// included. Going on gives the same bits as never having stopped.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged, foreign or of a newer version; a model whose
    /// coordinates or data differ from those of the saved run.
    pub fn resume<T>(path: impl AsRef<Path>, model: M) -> Result<Self, Error>
    where
        T: Scalar,
        M: Model<T>,
        Q: Family<T> + DeserializeOwned,
        A: Ascent<M, Q, T> + DeserializeOwned,
    {
        Run::resumed(path.as_ref(), model, Ok)
    }

    /// [`Run::resume`] for a family that keeps data of its own, which no checkpoint holds, such as
    /// an [`Encoder`](crate::nn::Encoder): `q` is the one the run was started with, and is given the
    /// saved parameters.
    ///
    /// # Errors
    /// As [`Run::resume`], and a family of another architecture.
    pub fn resume_into<T>(path: impl AsRef<Path>, model: M, mut q: Q) -> Result<Self, Error>
    where
        T: Scalar,
        M: Model<T>,
        Q: Family<T> + DeserializeOwned,
        A: Ascent<M, Q, T> + DeserializeOwned,
    {
        Run::resumed(path.as_ref(), model, |saved: Q| {
            let words = |q: &Q| format!("{} ({} parameters)", q.architecture(), q.n_params());
            if saved.architecture() != q.architecture() || saved.n_params() != q.n_params() {
                let what = "the architecture of the family".to_string();
                return Err(Error::Mismatch { what, saved: words(&saved), now: words(&q) });
            }
            let mut lambda = vec![T::default(); q.n_params()];
            saved.params(&mut lambda);
            q.set_params(&lambda);
            Ok(q)
        })
    }

    fn resumed<T>(
        path: &Path,
        mut model: M,
        family: impl FnOnce(Q) -> Result<Q, Error>,
    ) -> Result<Self, Error>
    where
        T: Scalar,
        M: Model<T>,
        Q: Family<T> + DeserializeOwned,
        A: Ascent<M, Q, T> + DeserializeOwned,
    {
        let text = fs::read_to_string(path)
            .map_err(|e| file_error(path, format!("cannot be read: {e}")))?;
        let saved: Saved<Q, A> = read(path, &text)?;
        let mut q = family(saved.q)?;
        saved.model.expect(&Fingerprint::of(&model, &q))?;
        if !saved.theta.is_empty() {
            let theta: Vec<T> = saved.theta.iter().map(|&t| T::from_f64(t)).collect();
            model.set_theta(&theta);
        }
        q.whole();
        let mut run = Run::unstarted(model, q, saved.ascent, saved.options)?;
        run.fingerprint = saved.model;
        run.rejected = saved.rejected;
        run.history = saved.history;
        *run.warnings.borrow_mut() = saved.warnings;
        run.trace.extend(saved.trace);
        Ok(run)
    }

    /// [`Run::resume`] under options that must be those of the saved run, but for the number of
    /// steps, which may be raised.
    ///
    /// # Errors
    /// As [`Run::resume`], and options that differ.
    pub fn resume_with<T>(path: impl AsRef<Path>, model: M, options: Options) -> Result<Self, Error>
    where
        T: Scalar,
        M: Model<T>,
        Q: Family<T> + DeserializeOwned,
        A: Ascent<M, Q, T> + DeserializeOwned,
    {
        let mut run = Run::resume(path, model)?;
        run.options.steps = options.steps;
        if run.options != options {
            let (saved, now) = (format!("{:?}", run.options), format!("{options:?}"));
            return Err(Error::Mismatch { what: "the options".to_string(), saved, now });
        }
        Ok(run)
    }
}

/// All of it or an error; never a part.
fn read<Q: DeserializeOwned, A: DeserializeOwned>(
    path: &Path,
    text: &str,
) -> Result<Saved<Q, A>, Error> {
    let damaged = |e: serde_json::Error| {
        let place = format!("byte {} of {}", byte(text, &e), text.len());
        file_error(path, format!("damaged at {place}: {e}; use an earlier checkpoint"))
    };
    let foreign =
        |found: String| file_error(path, format!("{found}; give a file written by `Run::save`"));
    let header: Header = serde_json::from_str(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => foreign(format!("is no {FORMAT}")),
        _ => damaged(e),
    })?;
    if header.format.as_deref() != Some(FORMAT) {
        return Err(foreign(format!("is no {FORMAT}")));
    }
    match header.version {
        Some(VERSION) => {}
        Some(other) if other > VERSION => {
            let reason = format!(
                "has format version {other}, this program reads up to {VERSION}; update elbo"
            );
            return Err(file_error(path, reason));
        }
        _ => return Err(foreign("has no version this program knows".to_string())),
    }
    serde_json::from_str(text).map_err(|e| {
        let types = [
            ("the family", header.family, type_name::<Q>(), short_name::<Q>()),
            ("the move", header.ascent_name, type_name::<A>(), short_name::<A>()),
        ];
        for (what, saved, now, short) in types {
            if let Some(saved) = saved.filter(|saved| saved != now) {
                return Error::Mismatch { what: what.to_string(), saved, now: short };
            }
        }
        damaged(e)
    })
}
