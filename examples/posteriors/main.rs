//! Fits the 20 public posteriors beside the project and scores each against what it really is.
//!
//! `cargo run --release --example posteriors -- ../shared/posteriors [--only NAME] [--json]`
//!
//! Every posterior is fitted by `infer` with no choices; the way a model is written is the only
//! thing of its own it has. A model is first compared with the reference values of its log joint;
//! one that does not match gets no row. The data are not part of the project: without them this
//! says so.

mod case;
mod counts;
mod fit;
mod gaussian_process;
mod hierarchical;
mod latent;
pub mod reference;
mod regression;
mod row;
mod series;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use case::{Case, Data};
use elbo::Error;
use row::Row;

/// The name of a posterior, and how its model is made from its data.
pub type Entry = (&'static str, Make);

/// A model out of its data.
pub type Make = fn(&Data) -> Result<Case, Error>;

/// All posteriors of the collection.
pub const POSTERIORS: [Entry; 20] = [
    ("eight_schools", hierarchical::eight_schools),
    ("earnings_interaction", regression::earnings_interaction),
    ("kidiq_interaction", regression::kidiq_interaction),
    ("logmesquite", regression::logmesquite),
    ("nes1980", regression::nes1980),
    ("sblri", regression::sblri),
    ("arK", series::arK),
    ("garch11", series::garch11),
    ("gp_regr", gaussian_process::gp_regr),
    ("low_dim_gauss_mix", latent::low_dim_gauss_mix),
    ("hmm_example", latent::hmm_example),
    ("hmm_drive_0", latent::hmm_drive_0),
    ("lotka_volterra", series::lotka_volterra),
    ("kilpisjarvi", regression::kilpisjarvi),
    ("wells", counts::wells),
    ("glm_poisson", counts::glm_poisson),
    ("dogs", counts::dogs),
    ("radon_hier", hierarchical::radon_hier),
    ("seeds", hierarchical::seeds),
    ("irt_2pl", hierarchical::irt_2pl),
];

/// How far, relatively, a model may be from the reference values of its log joint: rounding, and
/// for the differential equation the error of fixed steps.
pub fn tolerance(name: &str) -> f64 {
    if name == "lotka_volterra" { 1e-6 } else { 1e-8 }
}

fn main() -> ExitCode {
    sigpipe::reset();
    let (mut folder, mut only, mut json) = (None, None, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => json = true,
            "--only" => only = arguments.next(),
            _ => folder = Some(PathBuf::from(argument)),
        }
    }
    let Some(folder) = folder.filter(|folder| folder.is_dir()) else {
        println!("no folder of posteriors there: nothing was fitted");
        println!("usage: posteriors FOLDER [--only NAME] [--json]");
        return ExitCode::SUCCESS;
    };
    let chosen = |name: &str| only.as_deref().is_none_or(|only| only == name);
    if !POSTERIORS.iter().any(|(name, _)| chosen(name)) {
        eprintln!("no posterior is called `{}`; there are:", only.unwrap_or_default());
        POSTERIORS.iter().for_each(|(name, _)| eprintln!("  {name}"));
        return ExitCode::FAILURE;
    }
    if !json {
        println!("{}", row::header());
    }
    let mut rows = Vec::new();
    let mut failed = false;
    for (name, make) in POSTERIORS.iter().filter(|(name, _)| chosen(name)) {
        match posterior(name, *make, &folder.join(name)) {
            Ok(row) => {
                println!("{}", if json { row.json() } else { row.to_string() });
                rows.push(row);
            }
            Err(reason) => {
                eprintln!("{name}: {reason}");
                failed = true;
            }
        }
    }
    if !json {
        println!("{}", row::summary(&rows));
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Checks, fits and scores one posterior.
fn posterior(name: &'static str, make: Make, folder: &Path) -> Result<Row, String> {
    let (data, reference) = reference::read(folder)?;
    let case = make(&data).map_err(|e| e.to_string())?;
    reference.check(&case, tolerance(name))?;
    let mut fit = fit::fit(case.model).map_err(|e| e.to_string())?;
    let names = &case.report.names;
    fit.draws.chunks_exact_mut(names.len()).for_each(|z| case.report.apply(z));
    let score = reference.score(names, &fit.draws)?;
    let gap = reference.log_normaliser().map(|(value, _)| value - fit.elbo);
    Ok(Row {
        name,
        d: fit.d,
        family: fit.family,
        seconds: fit.seconds,
        gradient_evaluations: fit.gradient_evaluations,
        elbo: fit.elbo,
        elbo_mcse: fit.elbo_mcse,
        kl_gap: gap,
        z_mean: score.z_mean,
        z_max: score.z_max,
        r_mean: score.r_mean,
        r_abs: score.r_abs,
        khat: fit.khat,
        verdict: fit.verdict,
    })
}
