//! Every example runs, asks its question, proves its claim, and draws what the book shows.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Those that print a report and not a claim.
const REPORTS: [&str; 1] = ["posteriors"];

/// Those that need a feature, and are run with it by `.ci/run`.
const FEATURES: [&str; 1] = ["burn_vae"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `examples/NAME.rs` and `examples/NAME/main.rs`.
fn examples() -> Vec<String> {
    let folder = std::fs::read_dir(root().join("examples")).expect("there is a folder of examples");
    let mut names: Vec<String> = folder
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs") || path.join("main.rs").exists())
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .filter(|name| !FEATURES.contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

fn run(command: &mut Command) -> Output {
    command.current_dir(root()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// Builds the examples in the profile of this test, which is no work when cargo already has, and
/// says where they are.
fn build() -> PathBuf {
    let here = std::env::current_exe().expect("a test has a path");
    let folder = here.parent().and_then(Path::parent).expect("tests live in target/PROFILE/deps");
    let profile = if folder.ends_with("release") { "release" } else { "test" };
    let mut cargo = Command::new(env!("CARGO"));
    let built = run(cargo.args(["build", "--quiet", "--examples", "--profile", profile]));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    folder.join("examples")
}

/// What git says has changed, or nothing where there is no git.
fn changes() -> String {
    let status = Command::new("git").args(["status", "--porcelain"]).current_dir(root()).output();
    status.map(|s| String::from_utf8_lossy(&s.stdout).into_owned()).unwrap_or_default()
}

#[test]
fn every_example_proves_its_claim() {
    let (folder, before) = (build(), changes());
    let mut wrong = Vec::new();
    for name in examples() {
        let output = run(Command::new(folder.join(&name)).env("ELBO_FIGURES", "check"));
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<&str> = text.lines().collect();
        let mut expect = |ok: bool, what: &str| {
            if !ok {
                let error = String::from_utf8_lossy(&output.stderr);
                wrong.push(format!("{name}: {what}\n{text}{error}"));
            }
        };
        expect(output.status.success(), "it failed");
        if REPORTS.contains(&name.as_str()) {
            continue;
        }
        let (first, last) = (lines.first().unwrap_or(&""), lines.last().unwrap_or(&""));
        expect(first.ends_with('?'), "the first line is not a question");
        expect(last.starts_with("OK: "), "the last line is not `OK: ` and the claim");
        expect(lines.len() <= 25, "more than 25 lines");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(before, changes(), "an example changed files of the project");
}

/// As in `quickstart | head -n 1`.
#[cfg(unix)]
#[test]
fn output_that_nobody_reads_is_no_panic() {
    let mut child = Command::new(build().join("quickstart"))
        .current_dir(root())
        .env("ELBO_FIGURES", "check")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the example was built");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!error.contains("panicked"), "{error}");
}
