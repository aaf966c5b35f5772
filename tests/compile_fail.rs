//! Wrong pairings do not compile, and the compiler's message begins with a sentence and ends with a
//! remedy, at the user's own call.
//!
//! The files beside this one are handed to `rustc` with the library that this test was built with,
//! and the message is searched for our sentences only: the rest of it belongs to the compiler.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// Compiles a file against one build of the library; what the compiler said if it refused.
fn compile(file: &str, library: &Path) -> Result<(), String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    // what the compiler writes: the program, and types too long for a message
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("compile_fail-{file}"));
    std::fs::create_dir_all(&out).expect("cargo's folder for tests can be written to");
    let mut externs = std::ffi::OsString::from("elbo=");
    externs.push(library);
    let mut dependencies = std::ffi::OsString::from("dependency=");
    dependencies.push(library.parent().expect("a file lies in a folder"));
    let output = Command::new(rustc)
        .args(["--edition", "2024", "--emit", "metadata", "--extern"])
        .arg(externs)
        .arg("-L")
        .arg(dependencies)
        .arg("--out-dir")
        .arg(&out)
        .arg(folder.join(file).with_extension("rs"))
        .output()
        .expect("the compiler can be started");
    std::fs::remove_dir_all(&out).expect("and cleared");
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// The newest build of the library beside this test that a right program compiles with: builds with
/// other features or by other compilers may lie there too.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let test = std::env::current_exe().expect("a test knows where it is");
        let folder = test.parent().expect("a file lies in a folder");
        let made = |path: &PathBuf| {
            path.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
        };
        let mut builds: Vec<PathBuf> = std::fs::read_dir(folder)
            .expect("the folder of this test can be listed")
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("libelbo-") && name.ends_with(".rlib")
            })
            .collect();
        builds.sort_by_key(|path| std::cmp::Reverse(made(path)));
        let mut said = "there is none".to_string();
        for build in builds {
            match compile("right", &build) {
                Ok(()) => return build,
                Err(message) => said = message,
            }
        }
        panic!("no build of the library in {} can be used: {said}", folder.display());
    })
}

/// The file does not compile; the first error says `what`, points into the file and names the
/// remedy.
#[track_caller]
fn refused(file: &str, what: &str, label: &str, remedy: &str) {
    let said = compile(file, library()).expect_err("a wrong pairing must not compile");
    // the compiler names the crate where two of its types have one name
    let said = said.replace("`elbo::", "`");
    let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.starts_with(&format!("error[E0277]: {what} --> ")), "{said}");
    assert!(said.contains(&format!("{file}.rs:")), "{said}");
    for part in [label, remedy] {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
}

#[test]
fn a_family_that_cannot_be_reparameterized() {
    refused(
        "no_reparameterization",
        "`Coins` cannot be reparameterized",
        "this family is not `Reparameterized`",
        "use the `ScoreFunction` estimator, which needs only `Scored`",
    );
}

#[test]
fn a_family_without_a_score() {
    refused(
        "no_score",
        "`Shift` has no score",
        "this family is not `Scored`",
        "use the `Reparameterization` estimator if the family is `Reparameterized`, or implement \
         `Scored` for it",
    );
}

#[test]
fn estimators_of_labels() {
    refused(
        "not_binary",
        "`Categorical` is not a family of coins",
        "this family is not `Binary`",
        "`Disarm` is for `Bernoulli`, whose latents are 0 or 1; use `ScoreFunction` or `Vimco`",
    );
    refused(
        "not_discrete",
        "`MeanFieldGaussian` is not a family of independent labels",
        "this family is not `Discrete`",
        "relaxed labels are for `Categorical` and `Bernoulli`; a `Reparameterized` family needs no \
         relaxation (`Reparameterization`), any other takes `ScoreFunction`",
    );
    refused(
        "not_relaxed",
        "`Dice` is not defined between its labels",
        "this model is not `Relaxed`",
        "write it in one-hot vectors (blocks on `Support::Simplex`) and wrap it in `OneHot::new`; \
         or use `ScoreFunction`, `Vimco`, `Disarm` or `Enumeration`, which need only `Model`",
    );
    refused(
        "no_path_through_labels",
        "`Categorical` cannot be reparameterized",
        "this family is not `Reparameterized`",
        "for labels `Enumeration`, `Vimco` or `GumbelSoftmax`",
    );
}

#[test]
fn a_family_whose_density_is_not_smooth() {
    refused(
        "not_smooth",
        "the log density of `Shift` has no gradient in `z`",
        "this family is not `Smooth`",
        "use the `Reparameterization` estimator, which needs only `Reparameterized`",
    );
}

#[test]
fn a_model_without_a_gradient() {
    let label = "this model is not `Differentiable`";
    let remedy = "wrap a `LogJoint` in `Autodiff::new`, or give a closure to `from_fn`; or \
                  implement `Differentiable` by hand; or use the `ScoreFunction` estimator, which \
                  needs only `Model`";
    refused("no_gradient", "`Bell` has no gradient in `z`", label, remedy);
    refused("no_gradient_unconstrained", "`Waiting` has no gradient in `z`", label, remedy);
}

#[test]
fn a_log_joint_that_was_not_wrapped() {
    let remedy = "wrap a `LogJoint` in `Autodiff::new`, or give a closure to `from_fn`; or \
                  implement `Model` by hand";
    refused("no_autodiff", "`Bell` is not a model", "this is not a `Model`", remedy);
}

#[test]
fn a_log_joint_is_not_yet_a_model() {
    refused(
        "not_a_model",
        "`Bell` is not a model",
        "this is not a `Model`",
        "wrap a `LogJoint` in `Autodiff::new`, or give a closure to `from_fn`; or implement \
         `Model` by hand",
    );
}

#[test]
fn parts_in_the_wrong_place() {
    refused(
        "no_optimizer",
        "`{float}` is not an optimizer",
        "the second part of this move is not an `Optimizer`",
        "give `GradientAscent::new` an estimator first and an optimizer second",
    );
    refused(
        "swapped",
        "`Adam` does not estimate gradients for this model and this family",
        "the first part of this move is not a `GradientEstimator`",
        "give `GradientAscent::new` an estimator first",
    );
    refused(
        "not_a_move",
        "`StickingTheLanding` is not a move on this model and this family",
        "this is not an `Ascent`",
        "an estimator and an optimizer make a move: `GradientAscent::new(StickingTheLanding { \
         draws: 10 }, Averaged::new(DoWG::new()))`",
    );
}
